"""What the runner tells a worker, and what the worker and papermill's client tell back while a notebook runs."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TextIO

from course_utils.running.silence import Silence


@dataclass
class Job:
    """One notebook to run; paths are absolute. `parent` is the process that waits for it; 0 where nobody does."""

    source: str
    target: str
    directory: str
    profile: str
    timeout: int
    solved: bool = False
    html: bool = True
    headlines: bool = False
    parent: int = 0


@dataclass
class Watch:
    """What is known while the notebook runs: the cell at hand, the kernel's findings, why it broke off.

    `silence` is there as soon as there is a kernel; `lost` says that the kernel slept for good and was killed.
    """

    events: TextIO
    cell: int = 0
    label: str = ""
    findings: dict[str, Any] | None = None
    problem: str = ""
    peak: float = 0.0
    silence: Silence | None = None
    lost: bool = False
    parent: int = 0
    reports: list[dict[str, Any]] = field(default_factory=list)
    session: dict[str, Any] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)

    def send(self, **event: Any) -> None:
        """Tell the parent; it may be gone."""
        with contextlib.suppress(OSError):
            self.events.write(json.dumps(event) + "\n")
            self.events.flush()

    def enter(self, label: str) -> None:
        """The next code cell begins."""
        self.cell, self.label = self.cell + 1, label
        self.send(event="cell", cell=self.cell, label=label, peak_gb=self.peak)

    def note(self, reports: list[dict[str, Any]], session: dict[str, Any]) -> None:
        """What a cell has reported, told at once: a run of hours may be cut off."""
        self.reports, self.session = self.reports + reports, session or self.session
        if reports:
            self.send(event="reported", reports=self.reports, session=self.session, peak_gb=self.peak)

    def again(self) -> Watch:
        """What to begin with when the lesson is started once more."""
        return Watch(self.events, peak=self.peak, parent=self.parent)

    def follow(self) -> None:
        """Keep the largest memory (GB, resident) of the kernel and its children, and kill a kernel that sleeps for good; end
        with it when the parent was killed, so that none goes on unseen. Runs in a thread."""
        import psutil

        me, began = psutil.Process(), psutil.Process().create_time()
        while not self.done.wait(0.2):
            used = computed = 0.0
            kernels = me.children(recursive=True)
            if self.parent and _has_ended(self.parent, began):
                _kill(kernels)
                os._exit(1)
            for process in kernels:
                with contextlib.suppress(psutil.Error):
                    used += process.memory_info().rss
                    computed += sum(process.cpu_times()[:2])
            self.peak = max(self.peak, used / 1e9)
            if self.silence and not self.lost and self.silence.lost(computed):
                self.lost = True
                _kill(kernels)
        if self.silence:
            self.silence.close()


def _has_ended(number: int, before: float) -> bool:
    """Whether the process of that number, which was there `before`, is gone, a zombie, or another one.

    `os.getppid` would not do: in a virtual environment of Windows a small program stands between parent and child.
    """
    import psutil

    with contextlib.suppress(psutil.AccessDenied):
        try:
            process = psutil.Process(number)
            return process.status() == psutil.STATUS_ZOMBIE or process.create_time() > before
        except psutil.NoSuchProcess:
            return True
    return False


def _kill(processes: Iterable[Any]) -> None:
    import psutil

    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
