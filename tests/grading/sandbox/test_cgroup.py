"""Control groups: real ones where this machine lets us make them, and both versions' files in a directory tree."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from course_utils.grading.sandbox import cgroup
from course_utils.grading.sandbox.cgroup import Group

V1 = """\
31 23 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 23 0:28 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
33 23 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
OWN = {1: "8:pids:/\n4:memory:/user/session\n0::/\n", 2: "0::/user.slice/session\n"}


@pytest.fixture
def group():
    try:
        group = Group(60_000_000, 8)
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    yield group
    group.close()
    assert not any(folder.exists() for folder in group.folders)


def run(group, program):
    return subprocess.run([*group.command(), sys.executable, "-c", program], capture_output=True, text=True)


def test_a_member_gets_its_memory_and_no_more(group):
    assert run(group, "print(len(bytearray(b'x') * 20_000_000))").stdout == "20000000\n"
    assert not group.out_of_memory()
    assert run(group, "print(len(bytearray(b'x') * 90_000_000))").returncode == -9
    assert group.out_of_memory()


@pytest.mark.parametrize(
    ("files", "full"),
    [
        ({"memory.events": "max 9\noom 1\noom_kill 1\n"}, True),
        ({"memory.events": "max 9\noom 0\noom_kill 1\noom_group_kill 1\n"}, False),
        ({"memory.oom_control": "oom_kill 1\n", "memory.max_usage_in_bytes": "999\n"}, True),
        ({"memory.oom_control": "oom_kill 1\n", "memory.memsw.max_usage_in_bytes": "999\n"}, True),
        ({"memory.oom_control": "oom_kill 1\n", "memory.max_usage_in_bytes": "700\n"}, False),
        ({"memory.oom_control": "oom_kill 0\n", "memory.max_usage_in_bytes": "1000\n"}, False),
    ],
)
def test_a_kill_because_the_machine_is_full_is_not_the_groups_fault(tmp_path, files, full):
    for name, text in {"memory.limit_in_bytes": "1000\n", **files}.items():
        (tmp_path / name).write_text(text)
    assert cgroup._was_full(tmp_path) is full


def test_members_are_counted(group):
    program = """
import threading, time
try:
    for n in range(20):
        threading.Thread(target=time.sleep, args=(0.5,)).start()
except RuntimeError:
    print(n)
"""
    assert 0 < int(run(group, program).stdout) < 8


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A hierarchy of either version below tmp_path, in the place of this machine's own."""

    def make(version, mounts, files):
        for name in files:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("memory pids\n" if path.name == "cgroup.subtree_control" else "")
        told = {"mountinfo": mounts.replace("/sys/fs/cgroup", str(tmp_path)), "cgroup": OWN[version]}
        real = cgroup._text
        monkeypatch.setattr(cgroup, "_text", lambda path: told[path.name] if path.name in told else real(path))
        return tmp_path

    return make


def with_limits(monkeypatch, *names):
    """Let new directories have these files, as those of a real hierarchy have."""
    made = Path.mkdir

    def mkdir(path, *arguments, **options):
        made(path, *arguments, **options)
        for name in names:
            (path / name).write_text("max\n")

    monkeypatch.setattr(Path, "mkdir", mkdir)


def read(folder):
    return {path.name: path.read_text().strip() for path in folder.iterdir()}


def test_version_2_has_one_group_with_all_limits(tree, monkeypatch):
    root = tree(2, V2, ["user.slice/session/cgroup.procs", "cgroup.subtree_control"])
    with_limits(monkeypatch, "memory.max", "memory.swap.max", "memory.oom.group", "pids.max")
    (folder,) = Group(1000, 7).folders
    assert folder.parent == root, "the own group passes no controllers on, so the topmost one must do"
    assert read(folder) == {"memory.max": "1000", "memory.swap.max": "0", "memory.oom.group": "1", "pids.max": "7"}


def test_version_1_has_a_group_for_memory_and_one_for_processes(tree, monkeypatch):
    root = tree(1, V1, ["memory/user/session/x", "pids/x", "unified/cgroup.subtree_control"])
    (root / "unified" / "cgroup.subtree_control").write_text("")
    with_limits(monkeypatch, "memory.limit_in_bytes", "pids.max")
    group = Group(1000, 7)
    assert [folder.parent for folder in group.folders] == [root / "memory" / "user" / "session", root / "pids"]
    memory, pids = map(read, group.folders)
    assert (memory["memory.limit_in_bytes"], pids["pids.max"]) == ("1000", "7")


CPU = """\
34 23 0:30 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
35 23 0:31 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
"""


def test_one_processor_is_for_a_group_where_there_is_a_controller_for_that(tree, monkeypatch):
    root = tree(1, V1 + CPU, ["memory/user/session/x", "pids/x", "cpu/x", "cpuacct/x"])
    with_limits(monkeypatch, "pids.max", "cpu.cfs_period_us", "cpu.cfs_quota_us")
    folders = {folder.parent.name: folder for folder in Group(1000, 7).folders}
    assert folders.keys() == {"session", "pids", "cpu", "cpuacct"} and folders["cpu"].parent == root / "cpu"
    assert read(folders["cpu"]) == {"pids.max": "7", "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "100000"}


def test_in_version_2_too(tree, monkeypatch):
    tree(2, V2, ["cgroup.subtree_control"])
    with_limits(monkeypatch, "memory.max", "cpu.max")
    (folder,) = Group(1000, 7).folders
    assert read(folder)["cpu.max"] == "100000 100000"


@pytest.mark.parametrize(
    ("files", "seconds"),
    [({"cpu.stat": "usage_usec 2500000\nuser_usec 1\n"}, 2.5), ({"cpuacct.usage": "1500000000\n"}, 1.5), ({}, 0.0)],
)
def test_the_account_of_what_members_have_computed_is_read(tmp_path, files, seconds):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    group = Group.__new__(Group)
    group.folders = [tmp_path / "memory", tmp_path]
    assert group.cpu_seconds() == seconds


@pytest.mark.parametrize(("mounts", "files"), [(V2, ["user.slice/session/x"]), (V1, ["memory/x"]), ("", [])])
def test_without_a_hierarchy_that_can_limit_there_is_no_group(tree, mounts, files):
    root = tree(1, mounts, files)
    before = sorted(root.rglob("*"))
    with pytest.raises(OSError):
        Group(1000, 7)
    assert sorted(root.rglob("*")) == before


def test_groups_of_graders_that_were_killed_are_removed(tree, monkeypatch):
    root = tree(2, V2, ["cgroup.subtree_control"])
    gone, alive = root / "course-box-999999999-0", root / f"course-box-{os.getpid()}-999"
    gone.mkdir()
    alive.mkdir()
    with_limits(monkeypatch, "memory.max", "pids.max")
    Group(1000, 7)
    assert not gone.exists() and alive.exists()
