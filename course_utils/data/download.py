"""Find a data set on this machine, or fetch it: $COURSE_DATA, then `data/`, then $COURSE_CACHE, then the internet.

A `Dataset` lists its files with their SHA-256 sums and the mirrors that serve them. `find_or_fetch(dataset)` returns a
directory in which every one of those files lies and has the right sum. Adding a data set is adding one `Dataset` here.
"""

import contextlib
import errno
import gzip
import hashlib
import os
import shutil
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_utils.conventions import cache_dir, checkout

ANSWER_SECONDS = 5.0  # a mirror that does not answer within this is taken as out of reach
STALL_SECONDS = 30.0  # a download that sends nothing for this long is taken as cut
LOCK_SECONDS = 600.0  # after this a second process stops waiting for the first, and downloads too

_WORK_PREFIX = ".fetching-"
_said: set[str] = set()


class UnavailableError(RuntimeError):
    """The data set is not on this machine and no mirror could give it; the message says why."""


class StorageError(RuntimeError):
    """A mirror has the data set, but this machine cannot keep it: the directory is read-only or the disk is full."""


@dataclass(frozen=True)
class File:
    """One file of a data set.

    `path` is relative to the data directory, `size` in bytes, `sha256` in hexadecimal. `archive_sha256` is the sum of
    the gzip archive that the mirrors serve in its place; when it is empty they serve the file as it is.
    """

    path: str
    size: int
    sha256: str
    archive_sha256: str = ""

    @property
    def remote(self) -> str:
        """The file's name on the mirrors: a mirror's address ends in `/`, and this follows."""
        return Path(self.path).name + (".gz" if self.archive_sha256 else "")


@dataclass(frozen=True)
class Dataset:
    """A named set of files, with the mirrors' addresses (each ending in `/`) in the order in which they are tried."""

    name: str
    mirrors: tuple[str, ...]
    files: tuple[File, ...]


MNIST = Dataset(
    name="MNIST",
    mirrors=("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    files=(
        File(
            "MNIST/raw/train-images-idx3-ubyte",
            size=47_040_016,
            sha256="ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            archive_sha256="440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        File(
            "MNIST/raw/train-labels-idx1-ubyte",
            size=60_008,
            sha256="65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            archive_sha256="3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        File(
            "MNIST/raw/t10k-images-idx3-ubyte",
            size=7_840_016,
            sha256="0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            archive_sha256="8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        File(
            "MNIST/raw/t10k-labels-idx1-ubyte",
            size=10_008,
            sha256="ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            archive_sha256="f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
)

SHAKESPEARE = Dataset(
    name="tiny Shakespeare",
    mirrors=(
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/",
        "https://cdn.jsdelivr.net/gh/karpathy/char-rnn@master/data/tinyshakespeare/",
    ),
    files=(
        File(
            "shakespeare/input.txt",
            size=1_115_394,
            sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        ),
    ),
)

CHORALES = Dataset(
    name="JSB chorales",
    mirrors=(
        "https://raw.githubusercontent.com/czhuang/JSB-Chorales-dataset/9a7f733ddb4ed91f48da64ac7f0f621c34aadd4d/",
        "https://cdn.jsdelivr.net/gh/czhuang/JSB-Chorales-dataset@9a7f733ddb4ed91f48da64ac7f0f621c34aadd4d/",
    ),
    files=(
        File(
            "jsb_chorales/jsb-chorales-8th.json",
            size=870_990,
            sha256="88fb80b22829a815e8105da538d94ae803773158507e2145938351f35142390a",
        ),
    ),
)


def find_or_fetch(dataset: Dataset) -> Path:
    """The directory that holds every file of `dataset`, each with the right SHA-256, downloading them if need be.

    Raises `UnavailableError` when the files are not here and cannot be had (offline, COURSE_OFFLINE, all mirrors
    failed), and `StorageError` when they could be had but not kept. A damaged file in $COURSE_DATA is reported and left
    alone; one in the course's own data directory is replaced.
    """
    for place in places():
        faults = [(file, fault) for file in dataset.files if (fault := find_fault(place / file.path, file))]
        if not faults:
            return place
        _report(dataset, place, faults)
    missing = [file for file in dataset.files if _at_hand(file) is None]
    mirrors = _mirrors_in_reach(dataset) if missing else []
    root = _store(dataset)
    with _storage_errors(dataset, root), _alone(root, dataset.name) as alone:
        for file in dataset.files:
            if alone:
                _sweep((root / file.path).parent)
            if find_fault(root / file.path, file):  # looked at again: another process may have just put it there
                _install(file, mirrors, root)
    return root


def offline() -> bool:
    """Whether COURSE_OFFLINE forbids downloads (set, and not to 0, false or no)."""
    return os.environ.get("COURSE_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def say_once(text: str) -> None:
    """Print one line, the first time that it is said in this process."""
    if text not in _said:
        _said.add(text)
        print(text, flush=True)


def _given_directory() -> Path | None:
    """$COURSE_DATA, which the course reads and does not write (unless it is the course's own `data/`)."""
    given = os.environ.get("COURSE_DATA", "").strip()
    return Path(given).expanduser().resolve() if given else None


def _checkout_directory() -> Path | None:
    """The repository's `data/`, when this module runs from a checkout."""
    repository = checkout()
    return repository / "data" if repository else None


def places() -> list[Path]:
    """The directories that may hold data sets, in the order in which they are searched."""
    searched = [_given_directory(), _checkout_directory()]
    with contextlib.suppress(OSError):
        searched.append(cache_dir())
    return list(dict.fromkeys(place for place in searched if place is not None))


def find_fault(path: Path, file: File) -> str:
    """What is wrong with `path` as a copy of `file`; empty when nothing is."""
    try:
        found = path.stat().st_size
        if found != file.size:
            packed = "is packed with gzip: it " if _is_packed(path) else ""
            return f"{packed}has {found:,} bytes instead of {file.size:,}"
        with path.open("rb") as stream:
            return "" if hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256 else "has the wrong SHA-256"
    except (FileNotFoundError, NotADirectoryError):
        archive = _archive_of(path)
        if not archive.exists():
            return "is missing"
        what = "has it and will be unpacked" if _holds(archive, file) else "does not have it, or not whole"
        return f"is missing ({archive.name} is there, which {what})"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _archive_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.gz")


def _is_packed(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _holds(archive: Path, file: File) -> bool:
    """Whether `file` is what a gzip archive has in it, whoever packed it: two programs' archives differ."""
    digest, size = hashlib.sha256(), 0
    try:
        with gzip.open(archive) as stream:
            while size <= file.size and (part := stream.read(1 << 20)):
                digest.update(part)
                size += len(part)
    except (OSError, EOFError, zlib.error):  # not there, no archive, or one that is cut off
        return False
    return digest.hexdigest() == file.sha256


def _report(dataset: Dataset, place: Path, faults: Sequence[tuple[File, str]]) -> None:
    """One line about files that are not as they should be. That a set was never put in `data/` is no news."""
    given = place == _given_directory() != _checkout_directory()
    damaged = [(file, fault) for file, fault in faults if not fault.startswith("is missing")]
    if not given and not damaged:
        return
    file, fault = (damaged or list(faults))[0]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    then = "COURSE_DATA is left as it is, looking elsewhere" if given else "a fresh copy is needed"
    say_once(f"{dataset.name}: {place / file.path} {fault}{more}: {then}.")


def _at_hand(file: File) -> Path | None:
    """A sound copy of the file, or an archive that has it, anywhere on this machine."""
    for place in places():
        path = place / file.path
        if not find_fault(path, file):
            return path
        for archive in (_archive_of(path), path):
            if _holds(archive, file):
                return archive
    return None


def _mirrors_in_reach(dataset: Dataset) -> list[str]:
    """The mirrors that answer at all, found within `ANSWER_SECONDS`; raises `UnavailableError` when there are none.

    All are asked at once, each in a thread of its own: a host name that does not resolve, or one with many addresses
    behind a silent firewall, holds a plain connection for far longer than its time limit.
    """
    if offline():
        raise UnavailableError("COURSE_OFFLINE is set")
    import requests

    answers: dict[str, str] = {}

    def ask(mirror: str) -> None:
        try:
            requests.head(mirror, timeout=ANSWER_SECONDS, allow_redirects=False)
            answers[mirror] = ""
        except (OSError, ValueError) as error:  # RequestException is an OSError; a bad host name is a ValueError
            answers[mirror] = _why(error)

    threads = [threading.Thread(target=ask, args=(mirror,), daemon=True) for mirror in dataset.mirrors]
    deadline = time.monotonic() + ANSWER_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    silent = f"no answer within {ANSWER_SECONDS:g} s"
    reasons = {mirror: answers.get(mirror, silent) for mirror in dataset.mirrors}
    if all(reasons.values()):
        raise UnavailableError("; ".join(f"{_host(mirror)}: {reason}" for mirror, reason in reasons.items()))
    return [mirror for mirror, reason in reasons.items() if not reason]


def _store(dataset: Dataset) -> Path:
    """The directory into which files are downloaded; raises `StorageError` when there is none with enough room."""
    try:
        root = cache_dir()
    except OSError as error:
        raise StorageError(f"{dataset.name} cannot be kept on this machine: {error}") from None
    wanted = [file.size for file in dataset.files if find_fault(root / file.path, file)]
    needed = sum(wanted) + max(wanted, default=0)  # the largest file's archive lies beside it for a while
    free = shutil.disk_usage(root).free
    if free < needed:
        raise StorageError(_full(dataset, root, f"{needed / 1e6:.1f} MB are needed and {free / 1e6:.1f} MB are free"))
    return root


def _full(dataset: Dataset, root: Path, numbers: str) -> str:
    return (
        f"{dataset.name} cannot be kept: the disk of {root} is full ({numbers}). Make room there, or set COURSE_CACHE "
        "to a directory on another disk, or COURSE_DATA to one that already has the files."
    )


@contextlib.contextmanager
def _storage_errors(dataset: Dataset, root: Path) -> Iterator[None]:
    """Turn an error in writing below `root` into a `StorageError` that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            size = sum(file.size for file in dataset.files) / 1e6
            raise StorageError(_full(dataset, root, f"the set takes {size:.1f} MB")) from None
        raise StorageError(
            f"{dataset.name} cannot be kept: {error.filename or root} cannot be written ({error.strerror or error}). "
            "Set COURSE_CACHE to a directory that you can write, or COURSE_DATA to one that already has the files."
        ) from None


@contextlib.contextmanager
def _alone(root: Path, name: str) -> Iterator[bool]:
    """Let one process at a time fetch into `root`; yields whether it is so. Where locks do not work it is not, and
    nothing is lost but a second download: each process works in a directory of its own and replaces files atomically.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(root / f".{name.replace(' ', '_')}.lock")
    try:
        lock.acquire(timeout=1.0)
    except Timeout:
        say_once(f"{name}: another process is downloading it: waiting.")
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=LOCK_SECONDS)
    except NotImplementedError:
        pass
    except OSError as error:  # a file system without locks is no obstacle; any other error is
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
    try:
        yield lock.is_locked
    finally:
        lock.release()


def _sweep(directory: Path) -> None:
    """Remove what a killed process left in `directory`."""
    for leftover in directory.glob(f"{_WORK_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _install(file: File, mirrors: Sequence[str], root: Path) -> None:
    """Put a sound copy of `file` below `root`: from this machine if it can be, else from a mirror."""
    target = root / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_WORK_PREFIX, dir=target.parent, ignore_cleanup_errors=True) as name:
        work = Path(name)
        source = _at_hand(file)
        if source is None:
            fetched = _download(file, mirrors, work)
        else:
            fetched = Path(shutil.copyfile(source, work / source.name))
        if find_fault(fetched, file) and _is_packed(fetched):
            import pooch

            with _quiet_pooch():
                unpack = pooch.Decompress(method="gzip", name="decompressed")
                fetched = Path(unpack(str(fetched), "download", None))
        if fault := find_fault(fetched, file):
            raise UnavailableError(f"{file.remote} {fault} after decompression")
        with contextlib.suppress(OSError):
            fetched.chmod(0o644)  # pooch's temporary files are the owner's alone
        os.replace(fetched, target)


def _download(file: File, mirrors: Sequence[str], work: Path) -> Path:
    """Download `file.remote` into `work` from the first mirror that gives the right bytes; two rounds for cut ones."""
    import requests

    refused: dict[str, str] = {}
    for mirror in (*mirrors, *mirrors):
        if refused.get(mirror, "").startswith(("HTTP", "wrong")):
            continue
        try:
            return _retrieve(mirror + file.remote, file, work)
        except requests.RequestException as error:
            refused[mirror] = _why(error)
        except ValueError:  # pooch: the hash does not match
            refused[mirror] = "wrong SHA-256"
    raise UnavailableError(f"{file.remote}: " + "; ".join(f"{_host(mirror)}: {why}" for mirror, why in refused.items()))


def _retrieve(url: str, file: File, work: Path) -> Path:
    """One attempt at one address, with a progress bar; pooch checks the SHA-256 and removes what does not pass."""
    import pooch
    from tqdm.auto import tqdm

    bar: Any = tqdm(total=file.size, desc=file.remote, unit="B", unit_scale=True, leave=False)
    with _quiet_pooch(), bar:
        fetch: Any = pooch.HTTPDownloader(bar, chunk_size=1 << 16, timeout=(ANSWER_SECONDS, STALL_SECONDS))
        known = f"sha256:{file.archive_sha256 or file.sha256}"
        return Path(pooch.retrieve(url, known, file.remote, str(work), downloader=fetch))


@contextlib.contextmanager
def _quiet_pooch() -> Iterator[None]:
    """Keep pooch's own log lines off the screen: the progress bar is enough."""
    import pooch

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)


def _host(mirror: str) -> str:
    return mirror.split("/")[2]


def _why(error: Exception) -> str:
    """A download's failure in a few words."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code}"
    kinds = (
        (requests.Timeout, "no answer in time"),
        (requests.exceptions.SSLError, "certificate refused"),
        (requests.exceptions.ProxyError, "the proxy refused"),
        (requests.exceptions.ChunkedEncodingError, "connection cut"),
        (requests.ConnectionError, "no connection"),
    )
    return next((text for kind, text in kinds if isinstance(error, kind)), type(error).__name__)
