"""Read what students handed in: a folder or an LMS zip of notebooks, hostile files included.

Nothing is unpacked or executed here, and no link is followed: a file is opened, found to be a regular one, read up to
a cap, and parsed as JSON. Whatever goes wrong concerns one submission, which is then unreadable, with the reason.

Who a file belongs to is told by a manifest, or by the names that Canvas and Moodle give to downloads.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import io
import itertools
import json
import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from course_utils.errors import CourseError

FILE_LIMIT = 30_000_000  # bytes of one notebook; figures among its outputs included
VALUE_LIMIT = 2_000_000  # values in its JSON, counted by its punctuation: parsed, each takes some hundred bytes
CELL_LIMIT = 100_000  # characters of one code cell; a longer one is left out
CODE_LIMIT = 300_000  # characters of all code cells together
CELLS = 3_000  # code cells
ENTRIES = 20_000  # files in a folder or zip
DIRECTORY_LIMIT = 16_000_000  # bytes of a zip's table of contents
MANIFEST_LIMIT = 5_000_000  # bytes
DEPTH = 8  # nested folders
NAME_LIMIT = 150  # characters of a student's or a file's name

CANVAS = re.compile(r"(?P<name>.+?)_(?P<late>LATE_)?(?P<id>[0-9]{1,18})_[0-9]+_(?P<file>.+)", re.DOTALL | re.IGNORECASE)
MOODLE = re.compile(r"(?P<name>.+?)_(?P<id>[0-9]{1,18})_assignsubmission_file(_.*)?", re.DOTALL)
MOODLE_FOLDER = re.compile(MOODLE.pattern.replace(".+?", ".+"), re.DOTALL)  # the last number is Moodle's own
SKIPPED = ("__MACOSX", ".ipynb_checkpoints", ".git")
HASH = 16  # hexadecimal digits of a key's parts


class SubmissionError(CourseError):
    """The folder, zip or manifest as a whole cannot be used; the text says why."""


class _Refused(Exception):  # noqa: N818
    """One submission cannot be read; the text says why."""


@dataclass(frozen=True)
class Submission:
    """One notebook that was handed in.

    `file` is its path in the folder or zip, and `student` who it belongs to, both made safe to print. `cells` are the
    sources of its code cells, or None with a `reason`. `key` follows from the student, the path and the content.
    `deadline` is ISO 8601, or "" where there is none.
    """

    key: str
    student: str
    file: str
    cells: tuple[str, ...] | None
    reason: str = ""
    late: bool = False
    deadline: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A notebook that was found but not yet read: `read()` gives the `Submission`. `time` is in seconds (POSIX)."""

    student: str
    file: str
    raw: str  # the path as it stands in the folder or zip
    load: Callable[[], bytes]  # raises _Refused, OSError, or what zipfile raises
    time: float | None = None
    late: bool = False
    deadline: str = ""
    notes: tuple[str, ...] = ()

    def read(self) -> Submission:
        """The submission; unreadable rather than an exception for anything that is wrong with the file."""
        digest, cells, reason, notes = hashlib.sha256(b"unread"), None, "", list(self.notes)
        try:
            data = self.load()
            digest = hashlib.sha256(data)
            cells, found = code_cells(data)
            notes += found
        except _Refused as refused:
            reason = str(refused)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            reason = f"this part of the zip is damaged: {printable(str(error))}"
        except OSError as error:
            reason = f"it cannot be opened: {error.strerror or printable(str(error))}"
        who = hashlib.sha256("\0".join((self.student, self.raw)).encode("utf-8", "surrogatepass"))
        key = f"{who.hexdigest()[:HASH]}-{digest.hexdigest()[:HASH]}"
        return Submission(key, self.student, self.file, cells, reason, self.late, self.deadline, tuple(notes))


@dataclass(frozen=True)
class Collection:
    """What was found: notebooks in a fixed order, other files by name, and students of the manifest without any."""

    entries: tuple[Entry, ...]
    ignored: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Row:
    """A manifest's line about one file; times are in seconds (POSIX)."""

    student: str
    deadline: float | None = None
    submitted: float | None = None


_Found = tuple[str, Callable[[], bytes], float | None]  # a notebook's path, what loads it, and its time


@dataclass
class _Files:
    """The files of a folder or zip: those that may be notebooks, with how to load them and their time, and others."""

    notebooks: list[_Found] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def add(self, path: str, load: Callable[[], bytes], time: float | None) -> None:
        parts = PurePosixPath(path).parts
        if any(part in SKIPPED for part in parts) or (parts and parts[-1].startswith("._")):
            return
        if len(self.notebooks) + len(self.others) >= ENTRIES:
            raise SubmissionError(f"there are more than {ENTRIES} files; hand over the submissions of one course only")
        if path.lower().endswith(".ipynb"):
            self.notebooks.append((path, load, time))
        else:
            self.others.append(path)


def collect(source: Path | str, manifest: Path | str | None = None) -> Collection:
    """Find the notebooks in a folder or zip. `manifest` defaults to a `manifest.csv` in or beside it, if there is one.

    Raises SubmissionError if the source or the manifest as a whole is unusable.
    """
    source = Path(source)
    path = Path(manifest) if manifest else default_manifest(source)
    rows = read_manifest(path) if path else {}
    files = _Files()
    if source.is_dir():
        _walk(source, files)
    elif source.is_file():
        _list_zip(source, files)
    else:
        problem = "neither a folder nor a zip file" if source.exists() else "there is no such folder or zip file"
        raise SubmissionError(f"{source}: {problem}. Give the path of the downloaded submissions.")
    known = {"manifest.csv"} if path and path.parent == source else set()
    top = _top([path for path, _, _ in files.notebooks])
    entries = [_entry(file, top, rows) for file in sorted(files.notebooks, key=lambda file: file[0])]
    absent = {row.student for row in rows.values()} - {entry.student for entry in entries}
    others = tuple(printable(name) for name in sorted(files.others) if name not in known)
    return Collection(tuple(_mark_duplicates(entries)), others, tuple(sorted(absent)))


def printable(text: str, limit: int = NAME_LIMIT) -> str:
    """One line of normal form that can be shown anywhere: no control, formatting or half characters, not too long."""
    text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode())
    text = "".join(c if unicodedata.category(c)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for c in text)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


# -- the JSON of a notebook --------------------------------------------------------------------------------------


def code_cells(data: bytes) -> tuple[tuple[str, ...], list[str]]:
    """The sources of a notebook's code cells, and notes on what was left out. Raises _Refused with the reason."""
    cells, notes, total = [], [], 0
    for number, cell in enumerate(_cells(_parse(data)), 1):
        source = _source(cell)
        if source is None:
            notes.append(f"cell {number} is damaged and was left out")
        elif len(source) > CELL_LIMIT:
            notes.append(f"cell {number} has {len(source)} characters and was left out; at most {CELL_LIMIT} are read")
        elif source.strip():
            cells.append(source.encode("utf-8", "replace").decode())
            total += len(source)
    if total > CODE_LIMIT or len(cells) > CELLS:
        raise _Refused(
            f"{len(cells)} code cells with {total} characters; at most {CELLS} cells and {CODE_LIMIT} characters are read"
        )
    return tuple(cells), notes[:20]


def _parse(data: bytes) -> Any:
    if len(data) > FILE_LIMIT:
        raise _Refused(f"it has more than {FILE_LIMIT} bytes. Clear the outputs and hand it in again.")
    if not data.strip():
        raise _Refused("the file is empty")
    if sum(data.count(mark) for mark in (b",", b"[", b"{", b":")) > VALUE_LIMIT:
        raise _Refused(f"it has more than {VALUE_LIMIT} values. Clear the outputs and hand it in again.")
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise _Refused("no notebook: it is not UTF-8 text") from None
    except RecursionError:
        raise _Refused("no notebook: its JSON is nested too deeply") from None
    except ValueError as error:
        raise _Refused(f"no notebook: its JSON is damaged ({printable(str(error))})") from None


def _cells(notebook: Any) -> list[Any]:
    """The code cells, of format 4 or 3, as they stand."""
    if isinstance(notebook, dict):
        sheets = notebook.get("worksheets")
        groups = [notebook, *(sheets if isinstance(sheets, list) else [])]
        lists = [group["cells"] for group in groups if isinstance(group, dict) and isinstance(group.get("cells"), list)]
        if lists:
            everything = [cell for cells in lists for cell in cells]
            return [cell for cell in everything if not isinstance(cell, dict) or cell.get("cell_type") == "code"]
    raise _Refused("no notebook: the JSON has no list of cells")


def _source(cell: Any) -> str | None:
    source = cell.get("source", cell.get("input")) if isinstance(cell, dict) else None
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        return "".join(source)
    return source if isinstance(source, str) else None


# -- folders -----------------------------------------------------------------------------------------------------


def _walk(root: Path, files: _Files) -> None:
    """List a folder without following links; what is in a linked folder is not looked at."""
    pending = [""]
    while pending:
        folder = pending.pop()
        descriptor = _open_folder(root, folder)
        try:
            with os.scandir(descriptor) as found:
                for item in found:
                    path = f"{folder}/{item.name}".lstrip("/")
                    if item.is_dir(follow_symlinks=False) and not item.name.lower().endswith(".ipynb"):
                        if path.count("/") >= DEPTH:
                            raise SubmissionError(f"{printable(path)}: folders nested more than {DEPTH} deep")
                        pending += [path] if item.name not in SKIPPED else []
                    else:
                        time = item.stat(follow_symlinks=False).st_mtime
                        files.add(path, lambda path=path: _load_file(root, path), time)
        finally:
            os.close(descriptor)


def _open_folder(root: Path, folder: str) -> int:
    """A descriptor of a folder below `root`, none of whose parts below it may be a link."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    descriptor = os.open(root, flags)
    for part in PurePosixPath(folder).parts:
        try:
            inner = os.open(part, flags | os.O_NOFOLLOW, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def _load_file(root: Path, path: str) -> bytes:
    """The bytes of a regular file below `root`. Raises _Refused for anything else, without waiting for it."""
    folder, _, name = path.rpartition("/")
    parent = _open_folder(root, folder)
    try:
        _check_regular(os.stat(name, dir_fd=parent, follow_symlinks=False))
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=parent)
    finally:
        os.close(parent)
    with os.fdopen(descriptor, "rb") as file:
        _check_regular(os.fstat(descriptor))
        return _read_capped(file)


def _check_regular(state: os.stat_result) -> None:
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    if not stat.S_ISREG(state.st_mode):
        raise _Refused(f"it is {kinds.get(stat.S_IFMT(state.st_mode), 'no file')}, not a file")
    if state.st_nlink > 1:
        raise _Refused("it is a hard link: the file has other names too. Copy it, and grade the copy.")
    if state.st_size > FILE_LIMIT:
        raise _Refused(f"it has {state.st_size} bytes; at most {FILE_LIMIT} are read. Clear the outputs.")


def _read_capped(file: Any) -> bytes:
    """All bytes, but at most one more than `FILE_LIMIT`."""
    data = bytearray()
    while len(data) <= FILE_LIMIT and (part := file.read(min(1 << 20, FILE_LIMIT + 1 - len(data)))):
        data += part
    return bytes(data)


# -- zip files ---------------------------------------------------------------------------------------------------


def _list_zip(path: Path, files: _Files) -> None:
    """List a zip's members. Nothing is ever written to disk, so a member's name is only a name."""
    try:
        with path.open("rb") as file:
            _check_directory(file)
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, OSError) as error:
        raise SubmissionError(f"{path}: neither a folder nor a zip that can be read ({error}).") from None
    for member in members:
        if not member.is_dir():
            time = _zip_time(member)
            files.add(member.filename, lambda member=member: _load_member(path, member), time)


def _check_directory(file: BinaryIO) -> None:
    """Refuse a zip whose table of contents would fill the memory: zipfile reads it whole."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 66_000, 0))
    tail = file.read()
    end = tail.rfind(b"PK\5\6")
    if end < 0:
        raise ValueError("it has no table of contents; was the download cut off?")
    count, length = struct.unpack_from("<HL", tail, end + 10)
    if end >= 20 and tail[end - 20 : end - 16] == b"PK\6\7":  # the larger numbers of a zip64
        place = struct.unpack_from("<Q", tail, end - 12)[0]
        file.seek(min(place, size))
        record = file.read(56).ljust(56, b"\0")
        count, length = struct.unpack_from("<QQ", record, 32)
    file.seek(0)
    if length > DIRECTORY_LIMIT or count > 2 * ENTRIES:
        raise ValueError(
            f"{count} files in a table of contents of {length} bytes; at most {2 * ENTRIES} files are read"
        )


def _load_member(path: Path, member: zipfile.ZipInfo) -> bytes:
    """The bytes of a member. Raises _Refused for what is no plain file with a plain name."""
    parts = re.split(r"[/\\]", member.filename)
    if ".." in parts or parts[0] == "" or re.match(r"[A-Za-z]:", member.filename):
        raise _Refused("its name points out of the zip")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise _Refused("it is a link or a device, not a file")
    if member.flag_bits & 1:
        raise _Refused("it is encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _Refused(f"it is compressed by method {member.compress_type}; use an ordinary zip")
    if member.file_size > FILE_LIMIT:
        raise _Refused(f"it has {member.file_size} bytes; at most {FILE_LIMIT} are read. Clear the outputs.")
    with zipfile.ZipFile(path) as archive, archive.open(member) as file:
        return _read_capped(file)


def _zip_time(member: zipfile.ZipInfo) -> float | None:
    """When a member was last changed, in seconds (POSIX); a zip tells local time, and may tell nonsense."""
    try:
        return datetime.datetime(*member.date_time).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


# -- whose it is -------------------------------------------------------------------------------------------------


def default_manifest(source: Path) -> Path | None:
    """`manifest.csv` in the folder of submissions, or beside it or the zip."""
    inside = [source / "manifest.csv"] if source.is_dir() else []
    return next((path for path in [*inside, source.parent / "manifest.csv"] if path.is_file()), None)


def read_manifest(path: Path) -> dict[str, _Row]:
    """The rows of a manifest by file: columns `file` and `student`, and if wanted `deadline` and `submitted` (ISO 8601).

    A time without a zone is local. Raises SubmissionError with the line number.
    """
    try:
        if path.stat().st_size > MANIFEST_LIMIT:
            raise SubmissionError(f"{path}: more than {MANIFEST_LIMIT} bytes; is this the manifest?")
        text = path.read_text(encoding="utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        columns = [name.strip().lower() for name in reader.fieldnames or []]
        reader.fieldnames = columns
        if not {"file", "student"} <= set(columns):
            raise SubmissionError(
                f"{path}: the first line must name the columns file and student, with a comma between; it is {columns}"
            )
        rows = list(reader)
    except UnicodeDecodeError as error:
        raise SubmissionError(f"{path} is no UTF-8 text ({error}). Save it as CSV UTF-8, with commas.") from None
    except (OSError, csv.Error) as error:
        raise SubmissionError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not rows:
        raise SubmissionError(f"{path} names no file. Complete it, or take it away: then names of files decide.")
    found: dict[str, _Row] = {}
    for number, row in enumerate(rows, 2):
        name, student = _normal((row.get("file") or "").strip()), printable(row.get("student") or "")
        if not name or not student:
            raise SubmissionError(f"{path}, row {number}: both file and student must be given")
        if name in found:
            raise SubmissionError(f"{path}, row {number}: {printable(name)} stands there twice")
        times = [_time(row.get(column) or "", f"{path}, row {number}") for column in ("deadline", "submitted")]
        found[name] = _Row(student, *times)
    return found


def _normal(path: str) -> str:
    """A path as a manifest and a folder agree on it: a Mac writes an é in two parts, a shell puts ./ before it."""
    return unicodedata.normalize("NFC", path.removeprefix("./"))


def _time(text: str, where: str) -> float | None:
    if not text.strip():
        return None
    try:
        seconds = datetime.datetime.fromisoformat(text.strip()).timestamp()
        _iso(seconds)
        return seconds
    except (ValueError, OverflowError):
        raise SubmissionError(f"{where}: {printable(text)!r} is no time; write it as 2026-05-31T23:59") from None


def _iso(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")


def spoken(time: str) -> str:
    """An ISO 8601 time in UTC as people write it."""
    return time.replace("T", " ").replace("+00:00", " UTC")


def identify(path: str, top: str = "") -> tuple[str, bool]:
    """Student and lateness as a path tells them: Moodle's folder, a folder per student, Canvas's name, else the name.

    `top` is the folder that all files have in common. A student chooses the end of the name only, and the outermost
    part decides.
    """
    below = _parts(path)[len(_parts(top)) :]
    name = below[-1]
    moodle = next((match for part in _parts(path)[:-1] if (match := MOODLE_FOLDER.fullmatch(part))), None)
    if moodle is None and len(below) > 1:
        return printable(below[0]) or "unnamed", False
    canvas = CANVAS.fullmatch(name)
    if moodle is None and canvas:
        return _numbered(canvas), bool(canvas["late"])
    moodle = moodle or MOODLE.fullmatch(name)
    if moodle:
        return _numbered(moodle), False
    return printable(name[: -len(".ipynb")]) or "unnamed", False


def _numbered(match: re.Match[str]) -> str:
    """Name and number, which a long name does not cut off."""
    return f"{printable(match['name'], NAME_LIMIT - 20)}_{match['id']}"


def _top(paths: list[str]) -> str:
    """The folder in which all notebooks lie, such as the one that a zip's files are packed in; "" for one alone."""
    if len(paths) < 2:
        return ""
    levels = zip(*(_parts(path)[:-1] for path in paths), strict=False)
    return "/".join(part for part, *_ in itertools.takewhile(lambda level: len(set(level)) == 1, levels))


def _parts(path: str) -> tuple[str, ...]:
    """The parts of a path, which in a zip may claim to start at the root."""
    return PurePosixPath(path.lstrip("/")).parts


def _entry(file: _Found, top: str, rows: dict[str, _Row]) -> Entry:
    """The entry of a file; the manifest, if there is one, is believed rather than the file's name."""
    path, load, time = file
    student, late = identify(path, top)
    row = rows.get(_normal(path)) or rows.get(_normal("/".join(_parts(path)[len(_parts(top)) :])))
    if row is None:
        notes = ("this file is not in the manifest: is the student enrolled?",) if rows else ()
        return Entry(student, printable(path), path, load, time, late, "", notes)
    entry = Entry(row.student, printable(path), path, load, time)
    if row.deadline is None:
        return replace(entry, late=late)
    submitted = row.submitted if row.submitted is not None else time
    entry = replace(entry, deadline=_iso(row.deadline))
    if submitted is None:
        return replace(entry, late=late, notes=("when it was handed in is not known",))
    late = late or submitted > row.deadline
    source = "the manifest" if row.submitted is not None else "the file's date"
    note = (f"late: handed in at {spoken(_iso(submitted))}, says {source}",) if late else ()
    return replace(entry, late=late, notes=note)


def _mark_duplicates(entries: list[Entry]) -> Iterator[Entry]:
    """Note on each file of a student who handed in several, or whose path stands in a zip twice."""
    students = Counter(entry.student for entry in entries)
    for entry in entries:
        count = students[entry.student]
        note = (f"one of {count} files of this student; each is graded",) if count > 1 else ()
        yield replace(entry, notes=entry.notes + note)
