"""The time that a call of a candidate may take, on machines that are busy, too."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from types import FrameType

PATIENCE = 8.0  # times as long it may take by the clock, on a busy machine
ASLEEP = 0.05  # what computes for so small a part of the time is not kept from it by others: it waits
ONCE = {"<frozen importlib": "importing", "/torch/_dynamo/": "compiling", "/torch/_inductor/": "compiling"}  # by files


class TimeIsOver(BaseException):
    """Raised inside the candidate when its time is over; no `except Exception` of the student's swallows it."""


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise `TimeIsOver` in this thread after `seconds` of the process's computing, of its waiting, or of `PATIENCE` times
    as many by the clock; or at the end if the candidate swallowed it.

    Works on every platform, for Python-level loops. A first import or compilation inside may take all of the patience:
    broken off half-way it would leave the process with half a library.
    """
    thread, over, fired = threading.current_thread(), threading.Event(), threading.Event()
    interrupt, last = ctypes.pythonapi.PyThreadState_SetAsyncExc, time.monotonic() + PATIENCE * seconds
    caller = sys._getframe(2)  # beyond contextlib

    def watch() -> None:
        wait = seconds
        while not _is_set(over, wait) and thread.is_alive():  # another may get the number of one that has ended
            wait = 0.2  # again, in case a bare `except:` swallowed it
            inside = _frames(sys._current_frames().get(thread.ident or 0), caller)
            if not fired.is_set() and time.monotonic() < last and once(inside):
                continue
            fired.set()
            interrupt(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(TimeIsOver))

    watcher = threading.Thread(target=watch, daemon=True)
    try:
        try:
            watcher.start()
            yield
        finally:
            over.set()  # the exception may arrive in this very line ...
    finally:
        over.set()  # ... and then the next one is still 0.2 seconds away
        if watcher.ident:
            watcher.join()
    if fired.is_set():  # this call also lets one arrive that is still on its way
        raise TimeIsOver


def _is_set(over: threading.Event, seconds: float) -> bool:
    """Wait until it is, but no longer than the process has computed so long, has slept so long, or `PATIENCE` times as
    long has passed."""
    began, start = time.process_time(), time.monotonic()
    while True:
        computed, passed = time.process_time() - began, time.monotonic() - start
        asleep = computed < ASLEEP * passed
        left = min(seconds - computed, (1.0 if asleep else PATIENCE) * seconds - passed)
        if left <= 0:
            return over.is_set()
        if over.wait(min(max(left, 0.002), 0.5)):
            return True


def once(frames: Iterable[FrameType]) -> str:
    """What is under way in these frames that is done only once, as `ONCE` calls it; or nothing."""
    files = [frame.f_code.co_filename.replace("\\", "/") for frame in frames]
    return next((work for part, work in ONCE.items() if any(part in file for file in files)), "")


def _frames(frame: FrameType | None, caller: FrameType) -> Iterator[FrameType]:
    """The calls that are under way, from the innermost out to `caller`, which is none of them."""
    while frame is not None and frame is not caller:
        yield frame
        frame = frame.f_back
