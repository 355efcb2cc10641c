"""A control group for one box: the kernel itself holds the memory, the number of its processes and what they compute
within limits, and keeps account of it.

Root can make one on most machines. Where none can be made, the watch of `box.py` alone limits what the processes of a
box take together. Both versions are understood: Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst of Linux.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterable
from pathlib import Path

PREFIX = "course-box-"
NEEDED = ("memory", "pids")  # the controllers; version 2 has one hierarchy for all, version 1 often one for each
WELCOME = ("cpu", "cpuacct")  # what does without is looked at and limited by `box.py` alone
PERIOD = 100_000  # microseconds, in which a group computes for as long on one processor, or half as long on two
_numbers = itertools.count()


class Group:
    """A group that is made now and has no members yet. Raises OSError where none can be made."""

    def __init__(self, memory: int, tasks: int) -> None:
        """With at most `memory` bytes, swap included, and `tasks` processes and threads for all members together."""
        self.folders: list[Path] = []
        try:
            for parents, needed in _hierarchies():
                with contextlib.nullcontext() if needed else contextlib.suppress(OSError):
                    self.folders.append(_make(parents))
                    _limit(self.folders[-1], memory, tasks)
        except OSError:
            self.close()
            raise

    def command(self) -> list[str]:
        """What joins the group and then runs the command that follows."""
        joins = 'echo $$ > "$1/cgroup.procs" && shift && ' * len(self.folders)
        return ["/bin/sh", "-c", f'{joins}exec "$@"', "sh", *map(str, self.folders)]

    def add(self, process: int) -> None:
        """Take a process in. Raises OSError."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(f"{process}\n")

    def cpu_seconds(self) -> float:
        """What all members have computed, those that have ended included; 0 where nobody keeps account."""
        for folder in self.folders:
            if used := re.search(r"^usage_usec (\d+)", _text(folder / "cpu.stat"), re.MULTILINE):
                return int(used[1]) / 1e6
            if used := _text(folder / "cpuacct.usage"):
                return int(used) / 1e9
        return 0.0

    def out_of_memory(self) -> bool:
        """Whether the kernel has killed a member because of this group's limit, and not because the machine is full."""
        return any(map(_was_full, self.folders))

    def close(self) -> None:
        """Remove the group, if its members are gone."""
        for folder in self.folders:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _hierarchies() -> list[tuple[list[Path], bool]]:
    """For each hierarchy the directories in which a group may be made, and whether it is needed.

    Raises OSError if one that is needed is missing.
    """
    mounts, own = _text(Path("/proc/self/mountinfo")), _text(Path("/proc/self/cgroup"))
    parents_of: dict[Path, list[Path]] = {}
    found: dict[Path, set[str]] = {}
    for line in mounts.splitlines():
        fields, _, kind = line.partition(" - ")
        top, system, options = Path(fields.split()[4]), kind.split()[0], kind.split()[-1].split(",")
        for name in {*NEEDED, *WELCOME} & set(options if system == "cgroup" else ()):
            parents_of[top] = _existing(top, rf"^\d+:(?:[^:]*,)?{name}(?:,[^:]*)?:(.*)$", own)
            found.setdefault(top, set()).add(name)
        if system == "cgroup2":
            passing = [folder for folder in _existing(top, r"^0::(.*)$", own) if _passes_on(folder)]
            if passing:
                return [(passing, True)]
    if not set(NEEDED) <= set().union(*found.values()):
        raise OSError("no control groups for memory and processes")
    return [(parents, bool(found[top] & set(NEEDED))) for top, parents in parents_of.items()]


def _existing(top: Path, pattern: str, own: str) -> list[Path]:
    """The directory of this process in a hierarchy, and the topmost one."""
    path = re.search(pattern, own, re.MULTILINE)
    candidates = (top / path[1].lstrip("/") if path else top, top)
    return [folder for folder in dict.fromkeys(candidates) if folder.is_dir()]


def _passes_on(folder: Path) -> bool:
    """Whether groups in this one of version 2 may be limited."""
    return set(NEEDED) <= set(_text(folder / "cgroup.subtree_control").split())


def _make(parents: Iterable[Path]) -> Path:
    """A new directory in the first of these where that is possible. Raises OSError."""
    for parent in parents:
        for old in parent.glob(f"{PREFIX}*"):  # of graders that were killed
            if not Path("/proc", old.name.removeprefix(PREFIX).partition("-")[0]).exists():
                with contextlib.suppress(OSError):
                    old.rmdir()
        with contextlib.suppress(OSError):
            folder = parent / f"{PREFIX}{os.getpid()}-{next(_numbers)}"
            folder.mkdir()
            return folder
    raise OSError("no control group can be made here")


def _limit(folder: Path, memory: int, tasks: int) -> None:
    """Write the limits into those files that this hierarchy and kernel have. Raises OSError if there are none."""
    limits = {
        "memory.limit_in_bytes": memory,
        "memory.memsw.limit_in_bytes": memory,
        "memory.max": memory,
        "memory.swap.max": 0,
        "memory.oom.group": 1,
        "pids.max": tasks,
        "cpu.max": f"{PERIOD} {PERIOD}",
        "cpu.cfs_period_us": PERIOD,
        "cpu.cfs_quota_us": PERIOD,
    }
    files = [folder / name for name in limits if (folder / name).exists()]
    for path in files:
        path.write_text(f"{limits[path.name]}\n")
    if not files and not (folder / "cpuacct.usage").exists():
        raise OSError(f"{folder} has no limits")


def _was_full(folder: Path) -> bool:
    """Whether a group's own limit has cost a member its life. Version 1 counts also kills for want of memory elsewhere."""
    if re.search(r"^oom [1-9]", _text(folder / "memory.events"), re.MULTILINE):
        return True
    killed = re.search(r"^oom_kill [1-9]", _text(folder / "memory.oom_control"), re.MULTILINE)
    names = ("max_usage", "memsw.max_usage", "limit")
    *peaks, limit = (int(_text(folder / f"memory.{name}_in_bytes") or 0) for name in names)
    return killed is not None and max(peaks) > 0.99 * limit


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
