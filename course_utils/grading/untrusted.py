"""Read the files of a folder or zip that anybody may have filled: nothing is unpacked, and no link is followed.

A file is opened, found to be a regular one, and read up to a cap. What is wrong with one file is said when it is read;
what makes a folder or zip unusable as a whole, when it is listed.
"""

from __future__ import annotations

import datetime
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from course_utils.errors import CourseError
from course_utils.grading.text import printable

FILE_LIMIT = 30_000_000  # bytes of one notebook; figures among its outputs included
ENTRIES = 20_000  # files in a folder or zip
DIRECTORY_LIMIT = 16_000_000  # bytes of a zip's table of contents
DEPTH = 8  # nested folders
UTF8 = 0x800  # the flag of a zip's member whose name is UTF-8
METADATA = "submission_metadata.yml"  # who handed in what, in a Gradescope export
SKIPPED = ("__MACOSX", ".ipynb_checkpoints", ".git")


class SubmissionError(CourseError):
    """The folder, zip or manifest as a whole cannot be used; the text says why."""


class Refused(Exception):  # noqa: N818
    """One file cannot be read; the text says why."""


class Notebook(NamedTuple):
    """A file that may be a notebook: its path in the folder or zip, what loads it, its time in seconds (POSIX).

    `load` raises what `refusals` catches.
    """

    path: str
    load: Callable[[], bytes]
    time: float | None


@dataclass
class Files:
    """The files of a folder or zip: those that may be notebooks, and the paths of others.

    `metadata` are the files among those others that Gradescope writes beside its folders, and how to load them, by the folder
    that they lie in ("" for the outermost).
    """

    notebooks: list[Notebook] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    metadata: dict[str, Callable[[], bytes]] = field(default_factory=dict)

    def add(self, path: str, load: Callable[[], bytes], time: float | None) -> None:
        """Take a file in, unless it is one that a system or an editor has left. Raises SubmissionError for too many."""
        parts = PurePosixPath(path).parts
        if any(part in SKIPPED for part in parts) or (parts and parts[-1].startswith("._")):
            return
        if len(self.notebooks) + len(self.others) >= ENTRIES:
            raise SubmissionError(f"there are more than {ENTRIES} files; hand over the submissions of one course only")
        if path.lower().endswith(".ipynb"):
            self.notebooks.append(Notebook(path, load, time))
        else:
            self.others.append(path)
            if parts[-1:] == (METADATA,):
                self.metadata["/".join(parts[:-1])] = load

    def leave_out(self, folder: str, why: str) -> None:
        """Name a folder that is not looked into: what is in it concerns whoever handed it in, and nobody else."""
        self.others.append(f"{folder} ({why})")


def list_files(source: Path) -> Files:
    """The files of a folder or zip. Raises SubmissionError if it is neither, or unusable as a whole."""
    files = Files()
    if source.is_dir():
        _walk(source, files)
    elif source.is_file():
        _list_zip(source, files)
    else:
        problem = "neither a folder nor a zip file" if source.exists() else "there is no such folder or zip file"
        raise SubmissionError(f"{source}: {problem}. Give the path of the downloaded submissions.")
    return files


@contextmanager
def refusals() -> Iterator[None]:
    """Whatever may go wrong with one file, as a `Refused` that says so."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise Refused(f"this part of the zip is damaged: {printable(str(error))}") from None
    except OSError as error:
        raise Refused(f"it cannot be opened: {error.strerror or printable(str(error))}") from None


# -- folders -----------------------------------------------------------------------------------------------------


def _walk(root: Path, files: Files) -> None:
    """List a folder without following links; a folder in it that is linked, too deep or closed is named and not entered."""
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            descriptor = _open_folder(root, folder)
        except OSError as error:
            if not folder:
                raise
            files.leave_out(folder, f"a folder that cannot be opened: {error.strerror}")
            continue
        try:
            with os.scandir(descriptor) as items:
                for item in items:
                    path = f"{folder}/{item.name}".lstrip("/")
                    if not item.is_dir(follow_symlinks=False) or item.name.lower().endswith(".ipynb"):
                        time = item.stat(follow_symlinks=False).st_mtime
                        files.add(path, lambda path=path: _load_file(root, path), time)
                    elif path.count("/") >= DEPTH:
                        files.leave_out(path, f"folders nested more than {DEPTH} deep")
                    elif item.name not in SKIPPED:
                        pending.append(path)
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
    """The bytes of a regular file below `root`. Raises Refused for anything else, without waiting for it."""
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
        raise Refused(f"it is {kinds.get(stat.S_IFMT(state.st_mode), 'no file')}, not a file")
    if state.st_nlink > 1:
        raise Refused("it is a hard link: the file has other names too. Copy it, and grade the copy.")
    if state.st_size > FILE_LIMIT:
        raise Refused(f"it has {state.st_size} bytes; at most {FILE_LIMIT} are read. Clear the outputs.")


def _read_capped(file: IO[bytes]) -> bytes:
    """All bytes, but at most one more than `FILE_LIMIT`."""
    data = bytearray()
    while len(data) <= FILE_LIMIT and (part := file.read(min(1 << 20, FILE_LIMIT + 1 - len(data)))):
        data += part
    return bytes(data)


# -- zip files ---------------------------------------------------------------------------------------------------


def _list_zip(path: Path, files: Files) -> None:
    """List a zip's members. Nothing is ever written to disk, so a member's name is only a name."""
    try:
        with path.open("rb") as file:
            _check_directory(file)
        archive = zipfile.ZipFile(path)  # stays open: to read the table of contents again for each member takes long
        members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, OSError) as error:
        raise SubmissionError(f"{path}: neither a folder nor a zip that can be read ({error}).") from None
    for member in members:
        if not member.is_dir():
            files.add(_zip_name(member), lambda member=member: _load_member(archive, member), _zip_time(member))


def _check_directory(file: IO[bytes]) -> None:
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


def _load_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """The bytes of a member. Raises Refused for what is no plain file with a plain name."""
    parts = re.split(r"[/\\]", member.filename)
    if ".." in parts or parts[0] == "" or re.match(r"[A-Za-z]:", member.filename):
        raise Refused("its name points out of the zip")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise Refused("it is a link or a device, not a file")
    if member.flag_bits & 1:
        raise Refused("it is encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Refused(f"it is compressed by method {member.compress_type}; use an ordinary zip")
    if member.file_size > FILE_LIMIT:
        raise Refused(f"it has {member.file_size} bytes; at most {FILE_LIMIT} are read. Clear the outputs.")
    with archive.open(member) as file:
        return _read_capped(file)


def _zip_name(member: zipfile.ZipInfo) -> str:
    """A member's path. Macs write UTF-8 and do not say so, and zipfile takes it for code page 437."""
    if member.flag_bits & UTF8:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return member.filename


def _zip_time(member: zipfile.ZipInfo) -> float | None:
    """When a member was last changed, in seconds (POSIX); a zip tells local time, and may tell nonsense."""
    try:
        return datetime.datetime(*member.date_time).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
