"""Run lessons headless, each in a process of its own.

A lesson that crashes, hangs or is killed cannot harm the runner or the other lessons: `worker` runs papermill in a
subprocess and sends events; this module starts the workers, takes in what they say, and ends them.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from course_utils.errors import CourseError
from course_utils.notebooks.find import Lesson
from course_utils.running.index import write_index
from course_utils.running.progress import progress
from course_utils.running.runs import Options, Run
from course_utils.running.watch import Job

if TYPE_CHECKING:
    from rich.console import Console


def run_lessons(lessons: list[Lesson], options: Options, console: Console) -> list[Run]:
    """Run the lessons, `options.jobs` at a time, showing progress; returns their runs in the same order.

    Executed notebooks, their HTML and logs, and `index.html` are in `options.out` afterwards. Raises CourseError for
    two notebooks of one name, whose output would go to the same file, and for a notebook that its own output would
    replace.
    """
    paths: dict[str, Path] = {}
    for lesson in lessons:
        other = paths.setdefault(lesson.path.name, lesson.path)
        if other != lesson.path:
            raise CourseError(f"{other} and {lesson.path} have the same name: run them one after the other")
        if lesson.path.resolve().parent == options.out.resolve():
            raise CourseError(f"{lesson.path} lies where its own output would go: choose another directory with --out")
    options.out.mkdir(parents=True, exist_ok=True)
    runs = [Run(lesson) for lesson in lessons]
    stop = threading.Event()
    with progress(runs, console) as changed, ThreadPoolExecutor(max(1, options.jobs)) as pool:
        waiting = [pool.submit(_run_one, run, options, changed, stop) for run in runs]
        try:
            for future in waiting:
                future.result()
        except BaseException:  # an interrupt stops the workers, and with them their kernels
            stop.set()
            for future in waiting:
                future.cancel()
            raise
    write_index(runs, options)
    return runs


def _run_one(run: Run, options: Options, changed: Callable[[Run], None], stop: threading.Event) -> None:
    """Start a worker for the lesson and follow its events until it ends."""
    if stop.is_set():
        return
    out, stem = options.out.resolve(), run.lesson.path.stem + (".solved" if options.solved else "")
    for suffix in (".ipynb", ".html", ".log"):
        (out / (stem + suffix)).unlink(missing_ok=True)
    run.executed = out / f"{stem}.ipynb"
    job = Job(
        source=str(run.lesson.path.resolve()),
        target=str(run.executed),
        directory=str(run.lesson.path.resolve().parent),
        profile=options.profile,
        timeout=options.cell_seconds,
        solved=options.solved,
        html=options.html,
        headlines=options.short,
        parent=os.getpid(),
    )
    run.state, run.began = "running", time.perf_counter()
    changed(run)
    with _worker(job, options.jobs) as process:
        threading.Thread(target=_stop_on, args=(stop, process), daemon=True).start()
        ended = _follow(process, run, changed, options.reported)
    if stop.is_set():  # it did not end by itself, and nobody wants to hear how
        return
    run.seconds = run.seconds or time.perf_counter() - run.began
    if not ended:
        log = run.executed.with_suffix(".log")
        run.reasons = [f"the process that ran it ended with code {process.returncode}: see {log}{_last_line(log)}"]
    run.state = "failed" if run.reasons else "passed"
    changed(run)


@contextlib.contextmanager
def _worker(job: Job, jobs: int) -> Iterator[subprocess.Popen[str]]:
    environment = dict(os.environ)
    if jobs > 1:  # several lessons at once share the cores instead of fighting over them
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "job.json"
        file.write_text(json.dumps(asdict(job)), encoding="utf-8")
        command = [sys.executable, "-P", "-m", "course_utils.running.worker", str(file)]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=environment
        )
        try:
            yield process
        finally:
            _end(process)


def _follow(
    process: subprocess.Popen[str], run: Run, changed: Callable[[Run], None], reported: Callable[[Run], None]
) -> bool:
    """Take in the worker's events; returns whether it came to its end."""
    assert process.stdout is not None
    ended = False
    for line in process.stdout:
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue
        ended = event["event"] == "end"
        if ended and event.get("html"):
            run.page = run.executed.with_name(event["html"]) if run.executed else None
        for name in ("cell", "cells", "label", "seconds", "peak_gb", "reasons", "reports", "session", "remark"):
            if name in event:
                setattr(run, name, event[name])
        if not ended:
            changed(run)
        if event["event"] == "reported":
            reported(run)
    process.wait()
    return ended


def _stop_on(stop: threading.Event, process: subprocess.Popen[str]) -> None:
    while process.poll() is None:
        if stop.wait(0.5):
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """Kill the worker and its kernel, if they are still there."""
    import psutil

    if process.poll() is not None:
        return
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
    process.kill()
    process.wait()


def _last_line(log: Path) -> str:
    with contextlib.suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f" ({last[:200]})" if last else ""
    return ""
