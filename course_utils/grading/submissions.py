"""What students handed in: the notebooks in a folder or an LMS zip, hostile files included, and whose they are.

Nothing is executed here: `untrusted.py` reads a file, and it is parsed as JSON. Whatever goes wrong concerns one
submission, which is then unreadable, with the reason.

Who a file belongs to is told by a manifest, by the list in a Gradescope export, or by the names that Canvas and Moodle give
to downloads.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import io
import itertools
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from course_utils.conventions import OUTCOME_TYPE
from course_utils.grading import untrusted
from course_utils.grading.result import NOBODY
from course_utils.grading.text import NAME_LIMIT, printable, spoken
from course_utils.grading.untrusted import Refused, SubmissionError

VALUE_LIMIT = 2_000_000  # values in a notebook, counted by its punctuation: parsed, each takes some hundred bytes
CELL_LIMIT = 100_000  # characters of one code cell; a longer one is left out
CODE_LIMIT = 300_000  # characters of all code cells together
CELLS = 3_000  # code cells
PATH_LIMIT = 1_000  # characters of a path that are compared with a manifest's
MANIFEST_LIMIT = 5_000_000  # bytes

CANVAS = re.compile(r"(?P<name>.+?)_(?P<late>LATE_)?(?P<id>[0-9]{1,18})_[0-9]+_(?P<file>.+)", re.DOTALL | re.IGNORECASE)
MOODLE = re.compile(r"(?P<name>.+?)_(?P<id>[0-9]{1,18})_assignsubmission_file(_.*)?", re.DOTALL)
MOODLE_FOLDER = re.compile(MOODLE.pattern.replace(".+?", ".+"), re.DOTALL)  # the last number is Moodle's own
GRADESCOPE = re.compile(r"\Asubmission_([0-9]+)\Z")  # a folder of its export
HASH = 16  # hexadecimal digits of a key's parts


@dataclass(frozen=True)
class Submission:
    """One notebook that was handed in.

    `file` is its path in the folder or zip, and `student` who it belongs to, both made safe to print. `cells` are the
    sources of its code cells, or None with a `reason`. `key` follows from the student, the path and the content.
    `deadline` is ISO 8601, or "" where there is none. `shown` names the exercises that the notebook, as it was saved,
    shows as right or nearly right.
    """

    key: str
    student: str
    file: str
    cells: tuple[str, ...] | None
    reason: str = ""
    late: bool = False
    deadline: str = ""
    notes: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A notebook that is listed but not yet read: `read()` gives the `Submission`. `time` is in seconds (POSIX)."""

    student: str
    file: str
    raw: str  # the path as it stands in the folder or zip
    load: Callable[[], bytes]  # raises what `untrusted.refusals` catches
    time: float | None = None
    late: bool = False
    deadline: str = ""
    notes: tuple[str, ...] = ()

    def read(self) -> Submission:
        """The submission; unreadable rather than an exception for anything that is wrong with the file."""
        digest, cells, reason, notes, shown = hashlib.sha256(b"unread"), None, "", list(self.notes), ()
        try:
            with untrusted.refusals():
                data = self.load()
                digest = hashlib.sha256(data)
                notebook = read_cells(data)
                cells, remarks = code_cells(notebook)
                notes += remarks
                shown = shown_as_right(notebook)
        except Refused as refused:
            reason = str(refused)
        who = hashlib.sha256("\0".join((self.student, self.raw)).encode("utf-8", "surrogatepass"))
        key = f"{who.hexdigest()[:HASH]}-{digest.hexdigest()[:HASH]}"
        return Submission(key, self.student, self.file, cells, reason, self.late, self.deadline, tuple(notes), shown)


@dataclass(frozen=True)
class Collection:
    """What was handed in: notebooks in a fixed order, other files by name, and students of the manifest without any."""

    entries: tuple[Entry, ...]
    ignored: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Row:
    """A manifest's line about one file; times are in seconds (POSIX)."""

    student: str
    deadline: float | None = None
    submitted: float | None = None


def collect(source: Path | str, manifest: Path | str | None = None) -> Collection:
    """Find the notebooks in a folder or zip. `manifest` defaults to a `manifest.csv` in or beside it, if there is one.

    Raises SubmissionError if the source or the manifest as a whole is unusable.
    """
    source = Path(source)
    path = Path(manifest) if manifest else default_manifest(source)
    rows = read_manifest(path) if path else {}
    files = untrusted.list_files(source)
    own = {"manifest.csv"} if path and path.parent == source else set()
    top = _top([notebook.path for notebook in files.notebooks])
    submitters: dict[str, list[str]] = {}
    if not rows and (export := _export(files)) is not None:
        submitters = read_submitters(export, files.metadata[export])
        own |= {_below(export, untrusted.METADATA)}
    notebooks = sorted(files.notebooks, key=lambda notebook: notebook.path)
    entries = [entry for notebook in notebooks for entry in _together(_entry(notebook, top, rows), submitters)]
    absent = {row.student for row in rows.values()} - {entry.student for entry in entries}
    others = tuple(printable(name) for name in sorted(files.others) if name not in own)
    return Collection(tuple(_mark_duplicates(entries)), others, tuple(sorted(absent)))


# -- the JSON of a notebook --------------------------------------------------------------------------------------


def read_cells(data: bytes) -> list[Any]:
    """The code cells of a notebook, as they stand. Raises Refused with the reason."""
    return _cells(_parse(data))


def code_cells(notebook: list[Any]) -> tuple[tuple[str, ...], list[str]]:
    """The sources of these code cells, and notes on what was left out. Raises Refused with the reason."""
    cells, notes, total = [], [], 0
    for number, cell in enumerate(notebook, 1):
        source = _source(cell)
        if source is None:
            notes.append(f"cell {number} is damaged and was left out")
        elif len(source) > CELL_LIMIT:
            notes.append(f"cell {number} has {len(source)} characters and was left out; at most {CELL_LIMIT} are read")
        elif source.strip():
            cells.append(source.encode("utf-8", "replace").decode())
            total += len(source)
    if total > CODE_LIMIT or len(cells) > CELLS:
        raise Refused(
            f"{len(cells)} code cells with {total} characters; at most {CELLS} cells and {CODE_LIMIT} characters are read"
        )
    return tuple(cells), notes[:20]


def shown_as_right(notebook: list[Any]) -> tuple[str, ...]:
    """The exercises that these code cells' saved outputs show as right or nearly right; the last output about one counts."""
    statuses: dict[str, Any] = {}
    for cell in notebook:
        outputs = cell.get("outputs") if isinstance(cell, dict) else None
        for output in outputs if isinstance(outputs, list) else ():
            bundle = output.get("data") if isinstance(output, dict) else None
            told = bundle.get(OUTCOME_TYPE) if isinstance(bundle, dict) else None
            if isinstance(told, dict) and isinstance(name := told.get("exercise"), str):
                statuses[name] = told.get("status")
    return tuple(name for name, status in statuses.items() if status in ("right", "nearly right"))


def _parse(data: bytes) -> Any:
    if len(data) > untrusted.FILE_LIMIT:
        raise Refused(f"it has more than {untrusted.FILE_LIMIT} bytes. Clear the outputs and hand it in again.")
    if not data.strip():
        raise Refused("the file is empty")
    if sum(data.count(mark) for mark in (b",", b"[", b"{", b":")) > VALUE_LIMIT:
        raise Refused(f"it has more than {VALUE_LIMIT} values. Clear the outputs and hand it in again.")
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Refused("no notebook: it is not UTF-8 text") from None
    except RecursionError:
        raise Refused("no notebook: its JSON is nested too deeply") from None
    except ValueError as error:
        raise Refused(f"no notebook: its JSON is damaged ({printable(str(error))})") from None


def _cells(notebook: Any) -> list[Any]:
    """The code cells, of format 4 or 3, as they stand."""
    if isinstance(notebook, dict):
        sheets = notebook.get("worksheets")
        groups = [notebook, *(sheets if isinstance(sheets, list) else [])]
        lists = [group["cells"] for group in groups if isinstance(group, dict) and isinstance(group.get("cells"), list)]
        if lists:
            everything = [cell for cells in lists for cell in cells]
            return [cell for cell in everything if not isinstance(cell, dict) or cell.get("cell_type") == "code"]
    raise Refused("no notebook: the JSON has no list of cells")


def _source(cell: Any) -> str | None:
    source = cell.get("source", cell.get("input")) if isinstance(cell, dict) else None
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        return "".join(source)
    return source if isinstance(source, str) else None


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
        rows = [
            (reader.line_num, row) for row in reader if any(map(_text, row.values()))
        ]  # a spreadsheet leaves ,,, behind
    except UnicodeDecodeError as error:
        raise SubmissionError(f"{path} is no UTF-8 text ({error}). Save it as CSV UTF-8, with commas.") from None
    except (OSError, csv.Error) as error:
        raise SubmissionError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not rows:
        raise SubmissionError(f"{path} names no file. Complete it, or take it away: then names of files decide.")
    row_of: dict[str, _Row] = {}
    for number, row in rows:
        name, student = _normal((row.get("file") or "").strip()), printable(row.get("student") or "")
        if not name or not student:
            raise SubmissionError(f"{path}, row {number}: both file and student must be given")
        if name in row_of:
            raise SubmissionError(f"{path}, row {number}: {printable(name)} stands there twice")
        times = [_time(row.get(column) or "", f"{path}, row {number}") for column in ("deadline", "submitted")]
        row_of[name] = _Row(student, *times)
    return row_of


def read_submitters(folder: str, load: Callable[[], bytes]) -> dict[str, list[str]]:
    """Who handed in each folder of a Gradescope export, as its `submission_metadata.yml` says: name, and student ID or else
    address. Raises SubmissionError where it cannot be read."""
    import yaml

    try:
        with untrusted.refusals():
            listed = yaml.load(load(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        people = {own: submission[":submitters"] for own, submission in listed.items()}
        return {own: list(filter(None, map(_submitter, several))) for own, several in people.items()}
    except (Refused, yaml.YAMLError, RecursionError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise SubmissionError(
            f"{_below(folder, untrusted.METADATA)} does not say who handed in what ({printable(repr(error))}). Export "
            "anew, or make a manifest, or take that file away: then the number of a submission stands for the student."
        ) from None


def _submitter(person: dict[str, Any]) -> str:
    """A student of Gradescope's list, with what a grade book finds them by."""
    number = person.get(":sid") or person.get(":email")
    name = printable(str(person.get(":name") or ""), NAME_LIMIT - 20)
    return "_".join(filter(None, (name, printable(str(number or "")))))


def _text(value: str | list[str] | None) -> str:
    """What stands in a field of a row; beyond the last column there is a list of them."""
    return "".join(value or "").strip()


def _normal(path: str) -> str:
    """A path as a manifest and a folder agree on it: a Mac writes an é in two parts, a shell puts ./ before it."""
    return unicodedata.normalize("NFC", path[:PATH_LIMIT].removeprefix("./"))


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


def identify(path: str, top: str = "") -> tuple[str, bool]:
    """Student and lateness as a path tells them: Moodle's folder, a folder per student, Canvas's name, else the name.

    `top` is the folder that all files have in common. A student chooses the end of the name only: the outermost part
    decides, and in it the first number.
    """
    below = _parts(path)[len(_parts(top)) :]
    name = below[-1]
    folder = next((match for part in _parts(path)[:-1] if (match := MOODLE_FOLDER.fullmatch(part))), None)
    if folder is None and len(below) > 1:
        own = GRADESCOPE.sub(r"submission \1", below[0])  # a number of the submission's, and nobody's ID
        return printable(own) or "unnamed", False
    matches = [match for pattern in (MOODLE, CANVAS) if (match := pattern.fullmatch(name))]
    match = folder or min(matches, key=lambda match: match.start("id"), default=None)
    if match is None:
        return printable(name[: -len(".ipynb")]) or "unnamed", False
    return _numbered(match), bool(match.groupdict().get("late"))


def _numbered(match: re.Match[str]) -> str:
    """Name and number, which a long name does not cut off."""
    return f"{printable(match['name'], NAME_LIMIT - 20)}_{match['id']}"


def _export(files: untrusted.Files) -> str | None:
    """The folder of a Gradescope export: its list lies there, and every notebook in a folder of a submission below. A list
    that a student has handed in, to be taken for somebody else, lies in that student's folder, beside other students'."""
    paths = [notebook.path.lstrip("/") for notebook in files.notebooks]
    exports = (folder for folder in files.metadata if all(GRADESCOPE.search(_first(path, folder)) for path in paths))
    return next(exports, None)


def _first(path: str, folder: str) -> str:
    """The folder directly in `folder` that a path leads through; "" where it does not."""
    start = _below(folder, "")
    return path[len(start) :].rpartition("/")[0].partition("/")[0] if path.startswith(start) else ""


def _below(folder: str, path: str) -> str:
    """The path of something in a folder, "" being the outermost one."""
    return f"{folder}/{path}".lstrip("/")


def _together(entry: Entry, submitters: dict[str, list[str]]) -> list[Entry]:
    """An entry for each student who, as Gradescope's list says, handed this file in; the entry as it is without a list."""
    own = next((part for part in _parts(entry.raw)[:-1] if GRADESCOPE.search(part)), "")
    students = submitters.get(own) or [entry.student]
    notes = (f"handed in by {len(students)} students together; each gets its points",) if len(students) > 1 else ()
    return [replace(entry, student=student, notes=entry.notes + notes) for student in students]


def _top(paths: list[str]) -> str:
    """The folder in which all notebooks lie, such as the one that a zip's files are packed in; "" for one alone."""
    if len(paths) < 2:
        return ""
    levels = zip(*(_parts(path)[:-1] for path in paths), strict=False)
    return "/".join(part for part, *_ in itertools.takewhile(lambda level: len(set(level)) == 1, levels))


def _parts(path: str) -> tuple[str, ...]:
    """The parts of a path, which in a zip may claim to start at the root."""
    return PurePosixPath(path.lstrip("/")).parts


def _entry(notebook: untrusted.Notebook, top: str, rows: dict[str, _Row]) -> Entry:
    """The entry of a file; the manifest, if there is one, is believed rather than the file's name."""
    path, load, time = notebook
    student, late = identify(path, top)
    row = rows.get(_normal(path)) or rows.get(_normal("/".join(_parts(path)[len(_parts(top)) :])))
    if row is None and rows:
        notes = ("this file is not in the manifest, and belongs to nobody: is the student enrolled?",)
        return Entry(f"{NOBODY}{printable(path)}", printable(path), path, load, time, late, "", notes)
    if row is None:
        return Entry(student, printable(path), path, load, time, late)
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
