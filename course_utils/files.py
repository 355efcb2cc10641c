"""Write files so that an interruption, a full disk or a second process leaves the old file or the new one, never half."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """Yield the path of an empty file beside `path` to write to; it takes the place of `path` when the block ends well.

    The directory is made if need be. A new file gets the permissions `mode`, one that is replaced hands its own on. After
    an exception `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
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
