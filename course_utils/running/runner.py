"""Run lessons headless, each in a process of its own, and tell what came of them.

A lesson that crashes, hangs or is killed cannot harm the runner or the other lessons: `worker` runs papermill in a
subprocess and sends events, this module starts the workers, shows their progress and writes the index.
"""

from __future__ import annotations

import contextlib
import html
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from course_utils.errors import CourseError
from course_utils.notebooks.find import Lesson
from course_utils.running.watch import Job

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

TIMEOUTS = {"smoke": 300, "cpu": 1200, "gpu": 3600}  # seconds a cell may take, for each profile


@dataclass
class Run:
    """One lesson's run. `state` goes from "waiting" over "running" to "passed" or "failed"."""

    lesson: Lesson
    state: str = "waiting"
    cell: int = 0
    cells: int = 0
    label: str = ""
    seconds: float = 0.0
    peak_gb: float = 0.0
    reasons: list[str] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    session: dict[str, Any] = field(default_factory=dict)
    executed: Path | None = None
    page: Path | None = None
    began: float = 0.0

    @property
    def message(self) -> str:
        """What to show beside the state: the cell at hand, or the first reason for a failure."""
        if self.state == "running":
            return self.label
        more = f" (and {len(self.reasons) - 1} more)" if len(self.reasons) > 1 else ""
        return self.reasons[0] + more if self.reasons else ""

    @property
    def missed(self) -> list[dict[str, Any]]:
        """The reports whose goal was judged and not met."""
        return [report for report in self.reports if report.get("met") is False]


@dataclass(frozen=True)
class Options:
    """How to run. `timeout` is in seconds a cell; None means the profile's own."""

    profile: str = "cpu"
    jobs: int = 1
    out: Path = Path("out")
    timeout: int | None = None
    solved: bool = False
    html: bool = True


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
    shown = _live(runs, console) if console.is_terminal else _plain(runs, console)
    stop = threading.Event()
    with shown as changed, ThreadPoolExecutor(max(1, options.jobs)) as pool:
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
        timeout=options.timeout or TIMEOUTS[options.profile],
        solved=options.solved,
        html=options.html,
    )
    run.state, run.began = "running", time.perf_counter()
    changed(run)
    with _worker(job, options.jobs) as process:
        threading.Thread(target=_stop_on, args=(stop, process), daemon=True).start()
        ended = _follow(process, run, changed)
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


def _follow(process: subprocess.Popen[str], run: Run, changed: Callable[[Run], None]) -> bool:
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
        for name in ("cell", "cells", "label", "seconds", "peak_gb", "reasons", "reports", "session"):
            if name in event:
                setattr(run, name, event[name])
        if not ended:
            changed(run)
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


# --- what is shown ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _live(runs: list[Run], console: Console) -> Iterator[Callable[[Run], None]]:
    """A table that changes in place. It redraws itself, so that seconds go on counting."""
    from rich.live import Live

    class Progress:
        def __rich__(self) -> Table:
            return progress_table(runs)

    with Live(Progress(), console=console, refresh_per_second=4):
        yield lambda run: None


@contextlib.contextmanager
def _plain(runs: list[Run], console: Console) -> Iterator[Callable[[Run], None]]:
    """One line when a lesson starts and one when it ends, for logs."""
    from rich.markup import escape

    lock = threading.Lock()
    told = {id(run): "waiting" for run in runs}

    def changed(run: Run) -> None:
        with lock:
            if told[id(run)] == run.state:
                return
            told[id(run)] = run.state
            line = f"{run.lesson.number}  {run.state}"
            if run.state != "running":
                line += f"  {run.cell}/{run.cells} cells  {run.seconds:.1f} s  {run.peak_gb:.2f} GB  {run.message}"
            console.print(escape(line.rstrip()), soft_wrap=True, highlight=False)

    yield changed


STYLES = {"waiting": "dim", "running": "cyan", "passed": "green", "failed": "bold red"}


def progress_table(runs: list[Run]) -> Table:
    """The lessons with state, cells, seconds, memory, and what there is to say."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("lesson", "state", "cells", "seconds", "GB"):
        table.add_column(column, justify="left" if column in ("lesson", "state") else "right", no_wrap=True)
    table.add_column("", overflow="ellipsis", no_wrap=True)
    for run in runs:
        seconds = time.perf_counter() - run.began if run.state == "running" else run.seconds
        table.add_row(
            escape(run.lesson.path.stem),
            f"[{STYLES[run.state]}]{run.state}[/]",
            f"{run.cell}/{run.cells}" if run.cells else "",
            f"{seconds:.1f}" if seconds else "",
            f"{run.peak_gb:.2f}" if run.peak_gb else "",
            escape(run.message),
        )
    return table


def outcome(report: dict[str, Any]) -> str:
    """A report's goal in words: met, missed, not judged (why), or that there is none."""
    if not report.get("goal"):
        return "no goal"
    if report.get("met") is None:
        return f"not judged ({report.get('why') or 'reason unknown'})"
    return "✔ met" if report["met"] else "✘ missed"


def number(value: float | None) -> str:
    """A result's value, to four significant digits."""
    if value is None:
        return "not a number"
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def results_table(runs: list[Run]) -> Table:
    """All reported results with their goals."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Results", title_justify="left", box=None, pad_edge=False)
    for column in ("lesson", "result", "value", "goal", "outcome"):
        table.add_column(column, justify="right" if column == "value" else "left")
    styles = {"✔": "green", "✘": "bold red", "n": "dim"}
    for run in runs:
        for report in run.reports:
            words = outcome(report)
            table.add_row(
                run.lesson.number,
                escape(report["name"]),
                escape(f"{number(report['value'])} {report.get('unit', '')}".strip()),
                escape(report.get("goal") or "—"),
                f"[{styles[words[0]]}]{escape(words)}[/]",
            )
    return table


# --- the index --------------------------------------------------------------------------------------------------

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Course: executed lessons</title>
<meta name="viewport" content="width=device-width">
<style>body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; width: 100%; margin: 1rem 0 2rem }}
th, td {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top }}
td.n {{ text-align: right; white-space: nowrap }} .failed, .missed {{ color: #b3261e; font-weight: 600 }}
.passed, .met {{ color: #0b7a4b }}</style></head>
<body><h1>Executed lessons</h1>
<p>{summary}</p>
<table><tr><th>lesson</th><th>state</th><th>seconds</th><th>peak GB</th><th></th></tr>
{lessons}</table>
<h2>Results</h2>
<table><tr><th>lesson</th><th>result</th><th>value</th><th>goal</th><th>outcome</th></tr>
{results}</table></body></html>
"""


def write_index(runs: list[Run], options: Options) -> Path:
    """Write `index.html` with links to the executed lessons, their states and all results; returns its path."""
    from course_utils.files import write_text

    failed = sum(run.state == "failed" for run in runs)
    summary = f"Profile {options.profile}. {len(runs)} run, {failed} failed, {sum(run.seconds for run in runs):.0f} s."
    page = PAGE.format(
        summary=html.escape(summary),
        lessons="\n".join(_lesson_row(run) for run in runs),
        results="\n".join(_result_row(run, report) for run in runs for report in run.reports),
    )
    write_text(page, options.out / "index.html")
    return options.out / "index.html"


def _lesson_row(run: Run) -> str:
    target = next((path for path in (run.page, run.executed) if path is not None and path.exists()), None)
    title = html.escape(f"{run.lesson.number} · {run.lesson.title}")
    link = f'<a href="{quote(target.name)}">{title}</a>' if target else title
    reasons = "<br>".join(html.escape(reason) for reason in run.reasons)
    return (
        f'<tr><td>{link}</td><td class="{run.state}">{run.state}</td><td class="n">{run.seconds:.1f}</td>'
        f'<td class="n">{run.peak_gb:.2f}</td><td>{reasons}</td></tr>'
    )


def _result_row(run: Run, report: dict[str, Any]) -> str:
    words = outcome(report)
    kind = {"✔": "met", "✘": "missed"}.get(words[0], "")
    cells = (run.lesson.number, report["name"], f"{number(report['value'])} {report.get('unit', '')}".strip())
    cells += (report.get("goal") or "—",)
    return "<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in cells) + f'<td class="{kind}">{words}</td></tr>'
