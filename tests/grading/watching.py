"""Processes of this machine, as tests of boxes look for them."""

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
    return {
        int(child)
        for thread in os.listdir("/proc/self/task")
        for child in pathlib.Path(f"/proc/self/task/{thread}/children").read_text().split()
    }


def wait_until(condition, seconds=5):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()
