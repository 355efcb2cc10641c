"""Finding and fetching data sets, against a mirror on this machine with planted faults."""

import errno
import gzip
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from course_utils.data import download
from course_utils.data.download import Dataset, File, StorageError, UnavailableError

RAW = {"one": bytes(range(256)) * 800, "two": b"labels" * 50}  # 205 kB and 300 bytes
ARCHIVES = {name: gzip.compress(raw, mtime=0) for name, raw in RAW.items()}
REPOSITORY = Path(download.__file__).parents[2]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Mirror:
    """An HTTP server on this machine; `faults` maps a file's name to what goes wrong with it, once or always."""

    def __init__(self) -> None:
        self.contents = {f"{name}.gz": archive for name, archive in ARCHIVES.items()} | RAW
        self.faults: dict[str, str] = {}
        self.asked: list[str] = []
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.send_response(403)
                self.end_headers()

            def do_GET(self) -> None:
                mirror.serve(self)

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        name = handler.path.rsplit("/", 1)[1]
        self.asked.append(name)
        fault = self.faults.get(name, "")
        if fault.endswith(" once"):
            del self.faults[name]
        if fault.startswith("missing"):
            return handler.send_error(404)
        content = self.contents[name]
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if fault.startswith("cut"):
            content = content[: len(content) // 2]
        if fault.startswith("wrong"):
            content = bytes(len(content))
        if fault.startswith("slow"):
            handler.wfile.write(content[:10])
            time.sleep(1.2)
            content = content[10:]
        handler.wfile.write(content)


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    mirror = Mirror()
    yield mirror
    mirror.server.shutdown()
    mirror.server.server_close()


@pytest.fixture
def second_mirror() -> Iterator[Mirror]:
    mirror = Mirror()
    yield mirror
    mirror.server.shutdown()
    mirror.server.server_close()


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """$COURSE_DATA, a checkout's data/ (also where downloads go), and nothing of this machine's own."""
    places = {"given": tmp_path / "given", "data": tmp_path / "data"}
    for place in places.values():
        place.mkdir()
    monkeypatch.setattr(download, "_checkout_directory", lambda: places["data"])
    monkeypatch.setattr(download, "cache_dir", lambda: places["data"])
    monkeypatch.setattr(download, "_said", set())
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("COURSE_OFFLINE", raising=False)
    monkeypatch.delenv("COURSE_DATA", raising=False)
    return places


def tiny(*mirrors: Mirror | str) -> Dataset:
    """A set of two gzipped files, served by the given mirrors."""
    files = tuple(File(f"tiny/{name}", len(raw), sha256(raw), sha256(ARCHIVES[name])) for name, raw in RAW.items())
    return Dataset("tiny", tuple(m if isinstance(m, str) else m.address for m in mirrors), files)


def put(place: Path, **contents: bytes) -> None:
    (place / "tiny").mkdir(exist_ok=True)
    for name, content in contents.items():
        (place / "tiny" / name).write_bytes(content)


def files_below(place: Path) -> dict[str, bytes]:
    """Every file below `place` but the lock."""
    found = (path for path in place.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(place)): path.read_bytes() for path in found}


WHOLE = {f"tiny/{name}": raw for name, raw in RAW.items()}


def closed_address() -> str:
    """An address on this machine at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/"


# Where a set is found


def test_course_data_comes_first(mirror: Mirror, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    put(places["given"], **RAW)
    put(places["data"], **RAW)
    monkeypatch.setenv("COURSE_DATA", str(places["given"]))
    assert download.find_or_fetch(tiny(mirror)) == places["given"]
    monkeypatch.delenv("COURSE_DATA")
    assert download.find_or_fetch(tiny(mirror)) == places["data"]
    assert mirror.asked == []


def test_course_data_without_the_set_is_said_in_one_line(
    mirror: Mirror, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COURSE_DATA", str(places["given"]))
    assert download.find_or_fetch(tiny(mirror)) == places["data"]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 and str(places["given"] / "tiny/one") in lines[0] and "is missing" in lines[0]


def test_a_set_spread_over_two_places_is_brought_together(
    mirror: Mirror, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(places["given"], one=RAW["one"])
    monkeypatch.setenv("COURSE_DATA", str(places["given"]))
    assert download.find_or_fetch(tiny(mirror)) == places["data"]
    assert files_below(places["data"]) == WHOLE and mirror.asked == ["two.gz"]


def test_an_archive_placed_by_hand_is_unpacked_without_a_network(places: dict[str, Path]) -> None:
    put(places["data"], **{f"{name}.gz": archive for name, archive in ARCHIVES.items()})
    assert download.find_or_fetch(tiny(closed_address())) == places["data"]
    assert WHOLE.items() <= files_below(places["data"]).items()


PACKED_ANEW = {name: gzip.compress(raw, compresslevel=1, mtime=99) for name, raw in RAW.items()}


@pytest.mark.parametrize("suffix", [".gz", ""], ids=["beside the missing files", "in their place"])
@pytest.mark.parametrize("where", ["given", "data"])
def test_files_that_somebody_else_packed_are_taken(
    suffix: str,
    where: str,
    places: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert PACKED_ANEW != ARCHIVES
    put(places[where], **{f"{name}{suffix}": archive for name, archive in PACKED_ANEW.items()})
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    if where == "given":
        monkeypatch.setenv("COURSE_DATA", str(places["given"]))
    before = files_below(places["given"])
    assert download.find_or_fetch(tiny(closed_address())) == places["data"]
    assert WHOLE.items() <= files_below(places["data"]).items()
    assert files_below(places["given"]) == before
    said = capsys.readouterr().out
    if where == "given":
        assert ("is missing (one.gz is there, which has it and will be unpacked)" in said) == (suffix == ".gz")
    assert ("is packed with gzip: it has" in said) == (suffix == "")


def test_a_set_without_archives_is_unpacked_as_well(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    put(places["data"], **{"two.gz": PACKED_ANEW["two"]})
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    download.find_or_fetch(
        Dataset("two", (closed_address(),), (File("tiny/two", len(RAW["two"]), sha256(RAW["two"])),))
    )
    assert files_below(places["data"])["tiny/two"] == RAW["two"]


WITHOUT_THE_FILE = {
    "of another file": gzip.compress(b"another file", mtime=0),
    "cut off": PACKED_ANEW["one"][:99],
    "none": b"no archive",
    "empty": b"",
}


@pytest.mark.parametrize("archive", WITHOUT_THE_FILE.values(), ids=WITHOUT_THE_FILE)
def test_an_archive_without_the_file_is_named_and_left_alone(
    archive: bytes, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(places["given"], **{"one.gz": archive, "two": RAW["two"]})
    monkeypatch.setenv("COURSE_DATA", str(places["given"]))
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    with pytest.raises(UnavailableError):
        download.find_or_fetch(tiny(closed_address()))
    assert "is missing (one.gz is there, which does not have it, or not whole)" in capsys.readouterr().out
    assert files_below(places["given"])["tiny/one.gz"] == archive


def test_the_checkouts_own_directory_is_the_repositorys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert download._checkout_directory() == REPOSITORY / "data"


# Downloads that work


def test_a_download_is_unpacked_checked_and_shown(
    mirror: Mirror, places: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert download.find_or_fetch(tiny(mirror)) == places["data"]
    assert files_below(places["data"]) == WHOLE
    shown = capsys.readouterr()
    assert "one.gz:" in shown.err and "two.gz:" in shown.err and shown.out == ""
    assert download.find_or_fetch(tiny(mirror)) == places["data"]
    assert mirror.asked == ["one.gz", "two.gz"]


def test_a_set_without_archives_is_downloaded_as_it_is(mirror: Mirror, places: dict[str, Path]) -> None:
    plain = Dataset("plain text", (mirror.address,), (File("text/two", len(RAW["two"]), sha256(RAW["two"])),))
    assert download.find_or_fetch(plain) == places["data"]
    assert files_below(places["data"]) == {"text/two": RAW["two"]}


def test_the_second_mirror_gives_what_the_first_lacks(
    mirror: Mirror, second_mirror: Mirror, places: dict[str, Path]
) -> None:
    mirror.faults["one.gz"] = "missing"
    download.find_or_fetch(tiny(mirror, second_mirror))
    assert files_below(places["data"]) == WHOLE
    assert second_mirror.asked == ["one.gz"] and mirror.asked == ["one.gz", "two.gz"]


def test_a_mirror_out_of_reach_is_not_asked_for_every_file(mirror: Mirror, places: dict[str, Path]) -> None:
    download.find_or_fetch(tiny(closed_address(), mirror))
    assert files_below(places["data"]) == WHOLE


def test_a_cut_download_is_restarted(mirror: Mirror, places: dict[str, Path]) -> None:
    mirror.faults["one.gz"] = "cut once"
    download.find_or_fetch(tiny(mirror))
    assert files_below(places["data"]) == WHOLE and mirror.asked == ["one.gz", "one.gz", "two.gz"]


def test_a_damaged_file_in_data_is_replaced(
    mirror: Mirror, places: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    put(places["data"], one=bytes(len(RAW["one"])), two=RAW["two"])
    assert download.find_or_fetch(tiny(mirror)) == places["data"]
    assert files_below(places["data"]) == WHOLE and mirror.asked == ["one.gz"]
    assert "has the wrong SHA-256" in capsys.readouterr().out


def test_a_damaged_file_in_course_data_is_reported_and_left_alone(
    mirror: Mirror, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(places["given"], one=RAW["one"][:100], two=RAW["two"])
    before = files_below(places["given"])
    monkeypatch.setenv("COURSE_DATA", str(places["given"]))
    assert download.find_or_fetch(tiny(mirror)) == places["data"]
    assert files_below(places["given"]) == before and files_below(places["data"]) == WHOLE
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 and "has 100 bytes instead of 204,800" in lines[0] and "left as it is" in lines[0]


# Downloads that fail


@pytest.mark.parametrize(
    ("fault", "reason"), [("cut", "connection cut"), ("wrong", "wrong SHA-256"), ("missing", "HTTP 404")]
)
def test_a_failed_download_leaves_nothing_behind(
    mirror: Mirror, places: dict[str, Path], fault: str, reason: str
) -> None:
    mirror.faults["one.gz"] = fault
    with pytest.raises(UnavailableError, match=reason):
        download.find_or_fetch(tiny(mirror))
    assert files_below(places["data"]) == {} and list((places["data"] / "tiny").iterdir()) == []


def test_a_damaged_file_stays_until_a_sound_one_has_come(mirror: Mirror, places: dict[str, Path]) -> None:
    put(places["data"], one=b"damaged", two=RAW["two"])
    mirror.faults["one.gz"] = "wrong"
    with pytest.raises(UnavailableError):
        download.find_or_fetch(tiny(mirror))
    assert files_below(places["data"]) == {"tiny/one": b"damaged", "tiny/two": RAW["two"]}


def test_an_archive_that_unpacks_to_something_else_is_refused(mirror: Mirror, places: dict[str, Path]) -> None:
    content = gzip.compress(b"not what was meant")
    mirror.contents["one.gz"] = content
    other = Dataset("tiny", (mirror.address,), (File("tiny/one", 18, sha256(b"something else"), sha256(content)),))
    with pytest.raises(UnavailableError, match="after decompression"):
        download.find_or_fetch(other)
    assert files_below(places["data"]) == {}


# Offline


def test_course_offline_sends_no_request(
    mirror: Mirror, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    with pytest.raises(UnavailableError, match="COURSE_OFFLINE"):
        download.find_or_fetch(tiny(mirror))
    assert mirror.asked == []
    monkeypatch.setenv("COURSE_OFFLINE", "0")
    download.find_or_fetch(tiny(mirror))


def test_a_refused_connection_says_so() -> None:
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:\d+: no connection"):
        download.find_or_fetch(tiny(closed_address()))


def test_silent_mirrors_cost_one_time_limit_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "ANSWER_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        silent = [f"http://127.0.0.1:{server.getsockname()[1]}/" for server in (first, second)]
        start = time.perf_counter()
        with pytest.raises(UnavailableError, match="no answer"):
            download.find_or_fetch(tiny(*silent))
        assert time.perf_counter() - start < 1.5


def test_a_name_look_up_that_hangs_does_not_hold_the_lesson(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "ANSWER_SECONDS", 0.3)

    def hang(*arguments: Any, **named: Any) -> None:
        time.sleep(2)
        raise socket.gaierror("Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    start = time.perf_counter()
    with pytest.raises(UnavailableError, match=r"example\.invalid: no answer within 0\.3 s"):
        download.find_or_fetch(tiny("http://example.invalid/"))
    assert time.perf_counter() - start < 1.5


# A machine that cannot keep what it downloads


def no_space(*arguments: Any, **named: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["pooch.HTTPDownloader.__call__", "pooch.Decompress.__call__"])
def test_a_disk_that_fills_up_is_said_and_leaves_nothing(
    mirror: Mirror, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(step, no_space)
    with pytest.raises(StorageError, match=r"disk of .* is full .*COURSE_CACHE") as caught:
        download.find_or_fetch(tiny(mirror))
    assert caught.value.__suppress_context__
    assert files_below(places["data"]) == {}


def test_a_full_disk_is_noticed_before_the_download(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1000))  # type: ignore
    with pytest.raises(StorageError, match=r"0\.4 MB are needed and 0\.0 MB are free"):
        download.find_or_fetch(tiny(mirror))
    assert mirror.asked == []


def test_a_directory_that_cannot_be_made_is_not_taken_for_being_offline(
    mirror: Mirror, places: dict[str, Path]
) -> None:
    (places["data"] / "tiny").write_text("a file where a directory must be")
    with pytest.raises(StorageError, match=r"tiny cannot be written .*COURSE_CACHE"):
        download.find_or_fetch(tiny(mirror))


@pytest.mark.parametrize("call", ["tempfile.mkdtemp", "filelock.FileLock.acquire", "os.replace"])
def test_a_read_only_directory_is_not_taken_for_being_offline(
    mirror: Mirror, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def read_only(*arguments: Any, **named: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(places["data"] / "tiny"))

    monkeypatch.setattr(call, read_only)
    with pytest.raises(StorageError, match=r"data/tiny cannot be written \(Read-only file system\).*COURSE_CACHE"):
        download.find_or_fetch(tiny(mirror))


def test_no_writable_directory_at_all_is_said(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise OSError("none of these directories can be written: /a, /b. Set COURSE_CACHE to one that can.")

    monkeypatch.setattr(download, "cache_dir", nowhere)
    with pytest.raises(StorageError, match="Set COURSE_CACHE"):
        download.find_or_fetch(tiny(mirror))
    monkeypatch.setenv("COURSE_OFFLINE", "1")  # what cannot be had need not be kept: the stand-in will do
    with pytest.raises(UnavailableError):
        download.find_or_fetch(tiny(mirror))


def test_a_file_system_without_locks_is_no_obstacle(
    mirror: Mirror, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*arguments: Any, **named: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("filelock.FileLock.acquire", no_locks)
    download.find_or_fetch(tiny(mirror))
    assert files_below(places["data"]) == WHOLE


# Two processes

FETCH = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from course_utils.data import download
from course_utils.data.download import Dataset, File
download.cache_dir = download._checkout_directory = lambda: Path(sys.argv[2])
print(download.find_or_fetch(eval(sys.argv[3])))
"""


@pytest.fixture
def start(places: dict[str, Path], mirror: Mirror) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts another process that fetches the tiny set into `data`."""
    started: list[subprocess.Popen[str]] = []
    command = [sys.executable, "-c", FETCH, str(REPOSITORY), str(places["data"]), repr(tiny(mirror))]

    def start() -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=os.environ))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the other process did not get so far"
        time.sleep(0.01)


def test_two_processes_at_once_download_each_file_once(
    start: Callable[[], subprocess.Popen[str]], mirror: Mirror, places: dict[str, Path]
) -> None:
    mirror.faults["one.gz"] = "slow"
    other = start()
    wait_for(lambda: mirror.asked != [])
    assert download.find_or_fetch(tiny(mirror)) == places["data"]
    out, err = other.communicate(timeout=15)
    assert other.returncode == 0 and out.strip() == str(places["data"]), err
    assert files_below(places["data"]) == WHOLE and sorted(mirror.asked) == ["one.gz", "two.gz"]


@pytest.mark.posix
def test_what_a_killed_process_leaves_is_swept_away(
    start: Callable[[], subprocess.Popen[str]], mirror: Mirror, places: dict[str, Path]
) -> None:
    mirror.faults["one.gz"] = "slow once"
    other = start()
    wait_for(lambda: mirror.asked != [])
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert list((places["data"] / "tiny").glob(".fetching-*"))
    download.find_or_fetch(tiny(mirror))
    assert files_below(places["data"]) == WHOLE and len(list((places["data"] / "tiny").iterdir())) == 2


# The course's own sets


@pytest.mark.parametrize(
    "dataset", [download.MNIST, download.SHAKESPEARE, download.CHORALES], ids=lambda dataset: dataset.name
)
def test_the_sums_are_those_of_the_files(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for place in download.places():
        if all((place / file.path).exists() for file in dataset.files):
            assert {download.find_fault(place / file.path, file) for file in dataset.files} == {""}
            return
    pytest.skip(f"{dataset.name} is not on this machine")


@pytest.mark.parametrize(
    "dataset", [download.MNIST, download.SHAKESPEARE, download.CHORALES], ids=lambda dataset: dataset.name
)
def test_each_set_has_two_hosts_and_whole_sums(dataset: Dataset) -> None:
    assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in dataset.mirrors)
    assert len({mirror.split("/")[2] for mirror in dataset.mirrors}) == 2
    assert all(len(file.sha256) == 64 and len(file.archive_sha256) in (0, 64) for file in dataset.files)


def test_shakespeare_is_downloaded_as_it_is_and_a_wrong_copy_is_not_kept(
    mirror: Mirror, second_mirror: Mirror, places: dict[str, Path]
) -> None:
    content = b"First Citizen:\nSpeak.\n" * 50
    mirror.contents = second_mirror.contents = {"input.txt": content}
    mirror.faults["input.txt"] = "wrong"
    file = File("shakespeare/input.txt", len(content), sha256(content))
    dataset = Dataset("tiny Shakespeare", (mirror.address, second_mirror.address), (file,))
    assert download.find_or_fetch(dataset) == places["data"]
    assert files_below(places["data"]) == {"shakespeare/input.txt": content}
    assert mirror.asked == second_mirror.asked == ["input.txt"]
