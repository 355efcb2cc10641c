"""A box that is forked: as tight as a fresh one, without the seconds that Python and torch take to start.

    with ForkedBox(Limits()) as box:  # used like a `Box`

A parent (`forking.py`), which is a box itself, has imported torch and forks a process for each box; that one gets
namespaces, limits and a filter of system calls of its own, those of a fresh box, before it reads a byte of a notebook.
No box is used twice, and nothing that a student's code has run in is forked. Boxes of one parent share the layout of
its memory, so a parent is replaced after `FORKS` of them. Where one cannot be had, NoBox is raised: take fresh boxes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from course_utils.grading.sandbox import mounts, seccomp
from course_utils.grading.sandbox.box import END_SECONDS, Box, readable
from course_utils.grading.sandbox.mounts import NoBox

FORKS = 100  # boxes of one parent
# What the first gradient of several results imports, and the first optimiser: seconds that every box would take again.
NETWORKS = ("torch.fx.experimental.symbolic_shapes", "torch._dynamo")
imported_too: tuple[str, ...] = NETWORKS  # by the next parent
READY_SECONDS = 180.0  # until a parent has imported torch, which takes some 7 seconds alone on a core


class Parent(Box):
    """The box in which torch is imported and others are forked; it must be entered by a thread that outlives it."""

    def __init__(self) -> None:
        super().__init__(program=(Path(__file__).parent / "forking.py").read_text())
        self.forked = 0  # so many boxes, of which `alive` are still there
        self.alive = 0
        self.retired = threading.Event()
        self.keeper = threading.current_thread()
        self._lock = threading.Lock()

    def files(self) -> list[str]:
        """Those of a box, and /proc, without which no users can be mapped."""
        return [*super().files(), "--proc", "/proc"]

    def filter(self) -> list[str]:
        """Nothing: it runs no code but ours, and its children take the filter upon themselves."""
        return []

    def group(self) -> None:
        """None: each of its children has one."""

    def process_limits(self) -> list[str]:
        """None: its children set theirs."""
        return [mounts.program("prlimit"), "--core=0:0"]

    def fork(self, request: bytes, descriptors: Sequence[int]) -> int:
        """Have a box forked, which gets these descriptors; returns one of its process 1. Raises NoBox."""
        with self._lock:
            try:
                socket.send_fds(self._socket, [request], descriptors)
                told, given, _, _ = socket.recv_fds(self._socket, 4096, 1, socket.MSG_CMSG_CLOEXEC)
            except OSError as error:
                raise NoBox(f"the parent of forked boxes does not answer ({error})") from None
        if not given:
            raise NoBox(f"no box can be forked here: {told.decode(errors='replace')[:500]}")
        return given[0]

    def is_alive(self) -> bool:
        """Whether it is still there."""
        return not self._has_ended(0.0)

    def _connect(self) -> tuple[int, int]:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.enter_context(self._socket)
        self._socket.settimeout(READY_SECONDS)
        self._give(theirs.detach())
        return self._given[-1], self._given[-1]

    def _start(self) -> None:
        needed = [*mounts.package_folders(), mounts.interpreter(), sys.base_prefix]
        if any(Path(path).is_relative_to("/tmp") for path in needed):
            raise NoBox("Python or its packages lie below /tmp, in whose place each forked box has a folder of its own")
        super()._start()
        try:
            self._socket.send(json.dumps(imported_too).encode())
            told = json.loads(self._socket.recv(1000))
        except (OSError, ValueError):
            said = self.output.decode(errors="replace").strip()[-500:]
            raise NoBox(f"the parent of forked boxes did not get ready: {said}") from None
        if told != {"threads": 1, "shared": 0}:
            raise NoBox(f"the parent of forked boxes has more than one thread, or memory that it shares: {told}")

    def _watch(self) -> None:
        """Nothing: each of its children is watched."""


class ForkedBox(Box):
    """See `Box`, whose limits and whose tightness it has."""

    def request(self) -> dict[str, Any]:
        """What makes it a box beside the namespaces: limits, the size of its /tmp, and the refused system calls."""
        bounds, bpf = self.bounds(), seccomp.program().hex()
        return {"program": self._program, "bounds": bounds, "tmp_bytes": self.limits.tmp_bytes, "filter": bpf}

    def _start(self) -> None:
        parent = self._ours.enter_context(_lent())
        self._group = self.group()
        if self._group is not None:
            self._ours.callback(self._group.close)
        ends = self._connect()
        self._status_pipe, status = self._pipe()
        printed, out = os.pipe()
        self._give(out)
        threading.Thread(target=self._keep_output, args=(os.fdopen(printed, "rb", 0),), daemon=True).start()
        self._first = parent.fork(json.dumps(self.request()).encode(), [*ends, out, status])
        self._ours.callback(self._finish)
        self._theirs.close()
        self._pid = _process(self._first)
        if self._group is not None:
            self._group.add(self._pid)
        os.write(self.channel.writer, b"\n")  # only now does it go on
        self._await_first_process()
        self._begin_to_watch()

    def _has_ended(self, seconds: float) -> bool:
        return readable(self._first, seconds)

    def _end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._first, signal.SIGKILL)
        self._has_ended(END_SECONDS)

    def _finish(self) -> None:
        """End it, and wait until its parent's process 1 has reaped it."""
        self._learn_the_end(0.0)
        self._end()
        deadline = time.monotonic() + END_SECONDS
        with contextlib.suppress(ProcessLookupError):
            while time.monotonic() < deadline:
                signal.pidfd_send_signal(self._first, 0)
                time.sleep(0.001)
        os.close(self._first)
        self._output_ended.wait(END_SECONDS)


def _process(descriptor: int) -> int:
    """The number of the process that a descriptor stands for, as it is seen here."""
    text = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("Pid:")))


# -- parents -----------------------------------------------------------------------------------------------------

_lock = threading.Lock()
_parents: list[Parent] = []  # of this process: the last one forks


@contextlib.contextmanager
def _lent() -> Iterator[Parent]:
    """A parent for one more box, kept until that is left. Raises NoBox."""
    with _lock:
        if not _parents or _parents[-1].forked >= FORKS or not _parents[-1].is_alive():
            _parents.append(_new_parent())
        parent = _parents[-1]
        parent.forked += 1
        parent.alive += 1
    try:
        yield parent
    finally:
        with _lock:
            parent.alive -= 1
            _retire(_parents[:-1])


def end_parents() -> None:
    """End the parents of this process that have no boxes any more; the next box gets a new one."""
    with _lock:
        _retire(_parents)


def _retire(parents: Sequence[Parent]) -> None:
    for parent in [parent for parent in parents if not parent.alive]:
        parent.retired.set()
        parent.keeper.join()
        _parents.remove(parent)


def _new_parent() -> Parent:
    """A parent, held by a thread of its own: with the thread that has started it, bubblewrap ends."""
    parent, started = Parent(), Future[None]()
    parent.keeper = threading.Thread(target=_keep, args=(parent, started), daemon=True)
    parent.keeper.start()
    started.result()
    return parent


def _keep(parent: Parent, started: Future[None]) -> None:
    try:
        with parent:
            started.set_result(None)
            parent.retired.wait()
    except BaseException as error:
        started.set_exception(error)
