"""What a tree of processes takes together: memory, processor time, files in its /tmp. Read from /proc, by nobody's word.

A box is a process namespace: whoever loses its parent there becomes a child of the box's first process, so that
everything in it is always among that one's descendants.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass

PAGE = os.sysconf("SC_PAGE_SIZE")
LARGE = 50_000_000  # bytes
TICKS = os.sysconf("SC_CLK_TCK")  # a second


@dataclass(frozen=True)
class Usage:
    """Bytes, seconds of processor time and files of a box. Processes that have ended count in `cpu_seconds`.

    `delayed`: the seconds that the process that waited longest has waited for a processor while it could have computed.
    """

    memory: int = 0
    cpu_seconds: float = 0.0
    delayed: float = 0.0
    tmp_files: int = 0


def usage(first: int, enough: int) -> Usage:
    """What this process 1 of a box and all its descendants take; the memory of its own, which is not the program's, aside.

    Memory is what they have made, not the files that they map, which others may map too. What they share counts once if
    there are two large ones, or more than `enough` bytes of it: telling it apart takes the kernel some milliseconds.
    """
    everyone = descendants(first)
    made = sorted(_made(process) for process in everyone[1:])
    memory = sum(made)
    if memory > enough or sum(made[:-1]) > LARGE:
        memory = sum(_proportional(process) for process in everyone[1:])
    delayed = max(map(_delayed, everyone))
    return Usage(memory, sum(map(_cpu_seconds, everyone)), delayed, _tmp_files(first))


def computing(first: int) -> Usage:
    """What they have computed and waited alone, which is sooner read."""
    everyone = descendants(first)
    return Usage(cpu_seconds=sum(map(_cpu_seconds, everyone)), delayed=max(map(_delayed, everyone)))


def descendants(first: int) -> list[int]:
    """This process and its children, and theirs, as far as they are alive."""
    alive, new = [], [first]
    while new:
        process = new.pop()
        alive.append(process)
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{process}/task"):
                new += map(int, _read(f"/proc/{process}/task/{thread}/children").split())
    return alive


def _made(process: int) -> int:
    """Resident memory without that of files."""
    fields = _read(f"/proc/{process}/statm").split()
    return (int(fields[1]) - int(fields[2])) * PAGE if fields else 0


def _proportional(process: int) -> int:
    """The same, of which what n processes share counts 1/n; all of it where the kernel does not tell."""
    told = re.search(r"^Pss_Anon: *(\d+) kB", _read(f"/proc/{process}/smaps_rollup"), re.MULTILINE)
    return int(told[1]) * 1024 if told else _made(process)


def _cpu_seconds(process: int) -> float:
    """Its own, and that of its children that have ended and been waited for."""
    fields = _read(f"/proc/{process}/stat").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS if fields else 0.0


def _delayed(process: int) -> float:
    fields = _read(f"/proc/{process}/schedstat").split()
    return int(fields[1]) / 1e9 if len(fields) > 1 else 0.0


def _tmp_files(process: int) -> int:
    """The files in its /tmp; none as long as that is still this machine's own, while its file systems are being made."""
    place = f"/proc/{process}/root/tmp"
    try:
        if os.stat(place).st_dev == os.stat("/tmp").st_dev:
            return 0
        state = os.statvfs(place)
    except OSError:
        return 0
    return state.f_files - state.f_ffree


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
