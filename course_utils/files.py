"""Write files so that an interruption, a full disk or a second process leaves the old file or the new one, never half."""

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None

FORGOTTEN_SECONDS = 3600.0  # where files cannot be locked, a partial one untouched for so long has no writer any more

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def replacing(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """Yield the path of an empty file beside `path` to write to; it takes the place of `path` when the block ends well.

    The directory is made if need be. A new file gets the permissions `mode`, one that is replaced hands its own on. After
    an exception `path` is as it was. The partial file of a writer that was killed is taken over by the next. Write into
    the file that is there: one put in its place would not be locked.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, handle = _partial(path)
    with _held(handle):
        try:
            yield temporary
            temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else mode)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_bytes(content: bytes, path: Path, mode: int = 0o644) -> None:
    """Write `content` to `path` as `replacing` does."""
    with replacing(path, mode) as temporary:
        temporary.write_bytes(content)


def write_text(text: str, path: Path, mode: int = 0o644) -> None:
    """Write `text` to `path` in UTF-8 as `replacing` does."""
    write_bytes(text.encode("utf-8"), path, mode)


def sweep(path: Path) -> None:
    """Remove what killed writers of `path` left beside it; the files of writers at work stay."""
    for name in _names(path):
        with contextlib.suppress(OSError):
            if os.path.lexists(name) and (handle := _take(name)) is not None:
                with _held(handle):
                    name.unlink(missing_ok=True)


def trouble(error: BaseException, path: Path, size: int | None = None) -> str:
    """Why `path` could not be written, in plain words without a full stop; `size` in bytes is what it would have had.

    torch.save hides the operating system's own error behind one of its zip writer: it is looked up in the chain.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return f"{path} cannot be written ({error})"
    if cause.errno not in _FULL:
        return f"{path} cannot be written ({cause.strerror or cause})"
    numbers = [] if size is None else [f"{size / 1e6:,.1f} MB are needed"]
    with contextlib.suppress(OSError):
        numbers.append(f"{shutil.disk_usage(path.parent).free / 1e6:,.1f} MB are free")
    return f"the disk of {path.parent} is full" + (f": {' and '.join(numbers)}" if numbers else "")


# A writer of `path` writes to the first of .path.0.part, .path.1.part, … that nobody else has locked, and keeps it locked
# until the file has its final name: what can be locked has no writer. So no directory is listed, however full it is.


def _names(path: Path) -> list[Path]:
    return [path.with_name(f".{path.name}.{number}.part") for number in range(20)]


def _partial(path: Path) -> tuple[Path, int]:
    """An empty partial file beside `path`, and the open descriptor that locks it."""
    for name in _names(path):
        try:
            handle = _take(name)
        except OSError:
            if os.path.lexists(name):
                continue  # another user's, or a link
            raise
        if handle is not None:
            os.truncate(handle, 0)
            return name, handle
    raise FileExistsError(errno.EEXIST, "it has too many writers at once", str(path))


def _take(name: Path) -> int | None:
    """Open and lock a partial file, which is made if need be; None when it has a writer."""
    try:
        handle, made = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), True
    except FileExistsError:
        try:
            handle, made = os.open(name, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)), False
        except FileNotFoundError:
            return None  # its writer has just finished
    locked = _lock(handle)
    if locked is None:
        free = made or time.time() - os.fstat(handle).st_mtime > FORGOTTEN_SECONDS
    else:
        free = locked and _is_at(name, handle)  # else its writer finished between our opening and our locking
    if free:
        return handle
    os.close(handle)
    return None


def _lock(handle: int) -> bool | None:
    """Lock an open file; False when another has it, None where files cannot be locked."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True


def _is_at(name: Path, handle: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.stat(name), os.fstat(handle))
    return False


@contextlib.contextmanager
def _held(handle: int) -> Iterator[None]:
    """Keep a partial file locked. Windows, where it is not, renames and removes no open file: there it is closed."""
    if fcntl is None:
        os.close(handle)
        yield
        return
    try:
        yield
    finally:
        os.close(handle)
