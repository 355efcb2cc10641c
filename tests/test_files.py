"""Writing files: whole or not at all, whoever is killed, however many write, and in plain words when it cannot be."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from course_utils import files


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.posix
def test_a_file_is_replaced_whole_and_hands_its_permissions_on(tmp_path: Path) -> None:
    path = tmp_path / "below" / "a.txt"
    files.write_text("one", path, mode=0o640)
    assert path.stat().st_mode & 0o777 == 0o640
    path.chmod(0o600)
    files.write_text("two", path)
    assert path.read_text() == "two" and path.stat().st_mode & 0o777 == 0o600
    assert names(path.parent) == ["a.txt"]


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    path = tmp_path / "README.md"
    path.write_text("old")
    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_text("new", path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_after_an_exception_the_old_file_is_there_and_nothing_else(tmp_path: Path) -> None:
    files.write_text("old", tmp_path / "a")
    with pytest.raises(KeyboardInterrupt), files.replacing(tmp_path / "a") as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "old"


WRITER = """
import pathlib, sys, time
from course_utils import files
with files.replacing(pathlib.Path(sys.argv[1])) as partial:
    partial.write_text("from another process")
    print("writing", flush=True)
    sys.stdin.read()
"""


def writer(path: Path) -> "subprocess.Popen[str]":
    """A process that is writing `path`, and goes on until its input ends."""
    command = [sys.executable, "-c", WRITER, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "writing\n"
    return process


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("cure", ["the next write", "sweep"])
def test_what_a_killed_writer_left_is_gone_after(cure: str, tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    killed = [writer(path) for _ in range(2)]  # two at once, so that two files are left
    for process in killed:
        process.kill()
        process.communicate()
    assert len(names(tmp_path)) == 2
    if cure == "sweep":
        files.sweep(path)
        assert names(tmp_path) == []
    else:
        files.write_text("new", path)
        files.sweep(path)
        assert names(tmp_path) == ["run.pt"] and path.read_text() == "new"


@pytest.mark.skipif(files.fcntl is None, reason="needs locks")
def test_a_writer_at_work_is_left_alone_however_long_it_takes(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    slow = writer(path)
    (theirs,) = tmp_path.iterdir()
    os.utime(theirs, (0, 0))
    files.sweep(path)
    files.write_text("mine", path)
    assert path.read_text() == "mine" and theirs.exists()
    slow.communicate("")
    assert slow.returncode == 0 and path.read_text() == "from another process"
    assert names(tmp_path) == ["run.pt"]


def test_many_writers_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    path, texts = tmp_path / "a", [str(number) * 50_000 for number in range(8)]

    def write(text: str) -> None:
        for _ in range(25):
            files.write_text(text, path)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in texts and names(tmp_path) == ["a"]


def test_the_partial_files_of_other_targets_are_not_touched(tmp_path: Path) -> None:
    for name in (".b.0.part", ".a.b.0.part", ".a.part", ".a.0.parts", "a.0.part"):
        (tmp_path / name).write_text("")
    before = names(tmp_path)
    files.write_text("new", tmp_path / "a")
    files.sweep(tmp_path / "a")
    assert names(tmp_path) == sorted([*before, "a"])


@pytest.mark.parametrize(
    "locks", ["not on this system", pytest.param("not on this file system", marks=pytest.mark.posix)]
)
def test_without_locks_a_partial_file_is_forgotten_by_its_age(
    locks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    if locks == "not on this system":
        monkeypatch.setattr(files, "fcntl", None)
    else:
        monkeypatch.setattr(files.fcntl, "flock", refused)
    young, old = tmp_path / ".a.0.part", tmp_path / ".a.1.part"
    young.write_text("its writer may be at work")
    old.write_text("its writer is gone")
    os.utime(old, (time.time() - files.FORGOTTEN_SECONDS - 9,) * 2)
    files.write_text("new", tmp_path / "a")
    assert names(tmp_path) == [".a.0.part", "a"] and (tmp_path / "a").read_text() == "new"


@pytest.mark.posix
def test_a_link_in_the_place_of_a_partial_file_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / ".a.0.part").symlink_to(precious)
    files.write_text("new", tmp_path / "a")
    assert precious.read_text() == "mine" and (tmp_path / "a").read_text() == "new"


# What could not be written, in words


def test_a_full_disk_is_told_with_what_is_needed_and_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 300_000))  # type: ignore[attr-defined]
    error = OSError(errno.ENOSPC, "No space left on device")
    said = files.trouble(error, tmp_path / "a.pt", 4_200_000)
    assert said == f"the disk of {tmp_path} is full: 4.2 MB are needed and 0.3 MB are free"


def test_the_systems_error_is_found_behind_the_one_that_hides_it(tmp_path: Path) -> None:
    try:
        try:
            raise OSError(errno.EROFS, "Read-only file system")
        except OSError:
            raise RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 64 vs 0")  # noqa: B904
    except RuntimeError as error:
        assert files.trouble(error, tmp_path / "a") == f"{tmp_path / 'a'} cannot be written (Read-only file system)"
