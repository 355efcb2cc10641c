"""Processes of this machine, as tests of boxes look for them."""

import contextlib
import os
import pathlib
import time


def alive(process):
    """Whether there is such a process, zombies included."""
    return os.path.exists(f"/proc/{process}")


def running(process):
    """Whether there is such a process, and it has not ended."""
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def children():
    """The processes that this one has started and not waited for; a thread may end while its list is read."""
    found = set()
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.update(map(int, pathlib.Path(f"/proc/self/task/{thread}/children").read_text().split()))
    return found


def wait_until(condition, seconds=5):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()
