"""Grade many submissions at once, on this machine or a cluster, so that nothing is lost whatever dies.

dask.distributed spreads the submissions over processes; each starts the boxes of one submission at a time. Only this
process writes: one JSON file a submission, whole or absent, so that the next run goes on where this one stopped. What
a student is not to blame for is tried again, and never a 0.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import itertools
import json
import logging
import os
import queue
import secrets
import socket
import subprocess
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import safetensors
import torch

from course_utils.command import results as recorded
from course_utils.errors import CourseError
from course_utils.exercises.catalogue import definition
from course_utils.files import write_text
from course_utils.grading import checker, decisions, pages, reports
from course_utils.grading.submissions import Collection, Entry, Submission, collect, printable
from course_utils.notebooks.find import find_root

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

ATTEMPTS = 3  # at a submission, if the fault is the machine's
DEATHS = 1  # of workers that a submission survives in company; then it is tried once more, alone
SECRET_BYTES = 32
FINAL = ("graded", "student_error", "unreadable", "needs_review")  # not asked for again by the next run
CONNECT = 20.0  # seconds until a scheduler answers
WORKERS = 600.0  # seconds without any worker: a cluster's queue may be long
LOOK = 2.0  # seconds without a result, after which we look whether there are workers
LOST = "the connection to the workers is lost. Run the same command again; it goes on from there."
FOLDER = "submissions"  # below OUT: the result files


class GradingError(CourseError):
    """Grading cannot start or go on; the text says why, and what to do."""


@dataclass(frozen=True)
class Task:
    """What a worker needs to know to grade one submission."""

    cells: tuple[str, ...]
    names: tuple[str, ...]
    student: str
    secret: bytes
    needs: Needs


@dataclass(frozen=True)
class Needs:
    """What a worker must have: the code with this fingerprint, which `told` describes, and boxes unless for tests."""

    code: str
    told: str
    boxes: bool


@dataclass
class Progress:
    """How far a run is. `counts` has the statuses of this run's results, `kept` counts those of earlier runs.

    `waits_for` says what is missing if nothing goes on.
    """

    total: int
    kept: int = 0
    retried: int = 0
    running: int = 0
    waits_for: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    points: float = 0
    max_points: float = 0
    last: deque[str] = field(default_factory=lambda: deque(maxlen=5))
    started: float = field(default_factory=time.perf_counter)

    @property
    def done(self) -> int:
        """Submissions with a result, from this run or an earlier one."""
        return self.kept + self.counts.total()

    @property
    def seconds(self) -> float:
        """Since the start of the run."""
        return time.perf_counter() - self.started


@dataclass(frozen=True)
class Summary:
    """The end of a run: where the result files are, and what an instructor should know beside them."""

    folder: Path
    progress: Progress
    quarantined: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


Report = Callable[[Progress], None]


def run(
    source: Path | str,
    out: Path | str,
    names: Sequence[str],
    *,
    manifest: Path | str | None = None,
    secret_file: Path | str | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    box_factory: checker.BoxFactory | None = None,
    report: Report | None = None,
) -> Summary:
    """Grade the exercises `names` of all submissions in `source`; result files go to `out`/submissions.

    `scheduler`: the address of a dask scheduler; by default `workers` processes are started here, one a core.
    `box_factory` is for tests. `report` is called after every change. Results of an earlier run stand if nothing that
    they depend on has changed. Raises GradingError, SubmissionError, KeyError for an unknown exercise, and `box.NoBox`.
    """
    for name in names:
        definition(name)
    factory = box_factory or real_box
    found = _found(Path(source), Path(out), manifest)
    folder = _private_folders(Path(out))
    with _alone(Path(out)):
        _check_same_assignment(folder, names)
        secret = read_secret(Path(secret_file) if secret_file else Path(out) / "secret", make=secret_file is None)
        book = _Book(folder, tuple(names), secret)
        work = _Work(book, found, report or (lambda progress: None))
        waiting = work.not_yet_graded()
        first = next(waiting, None)
        if first is not None:
            with _client(scheduler, workers) as client:
                work.wait_for_workers(client)
                _require_fit(client, book.needs(factory))
                work.grade(client, itertools.chain([first], waiting), factory)
        book.tidy()
    return Summary(folder, work.progress, tuple(work.quarantined), found.ignored, found.absent)


def run_and_report(
    source: Path | str, out: Path, names: Sequence[str], title: str, console: Any = None, **options: Any
) -> tuple[Summary, list[dict[str, Any]], Path]:
    """`run` under a live table, then write all reports, with what a person has decided (`decisions.py`).

    Returns also the results as reported, and the page about the cohort. `title` names the assignment; `options` are
    those of `run`. Raises what `run`, `reports.load` and `decisions.read` raise.
    """
    decisions.read(out / decisions.NAME)  # what is wrong with it is said before hours of grading, not after
    with live_table(console) as report:
        summary = run(source, out, names, report=report, **options)
    decided = decisions.read(out / decisions.NAME)
    results = decisions.apply(reports.load(summary.folder), decided)
    try:
        decisions.ask(results, decided, out / decisions.NAME)
        page = reports.write(results, out, title, summary.absent, summary.ignored)[0]
    except OSError as error:
        raise GradingError(
            f"the reports in {out} cannot be written: {error.strerror}. All results are there; make room and run the same "
            "command again, it only writes the reports."
        ) from None
    return summary, results, page


def real_box() -> AbstractContextManager[Any]:
    """A box with the ordinary limits."""
    from course_utils.grading.sandbox.box import Box, Limits

    return Box(Limits())


def grade_task(task: Task, box_factory: checker.BoxFactory) -> dict[str, Any]:
    """Run in a worker: grade one submission. Raises what `require_fit` raises."""
    require_fit(task.needs)
    return checker.grade(task.cells, task.names, task.student, task.secret, box_factory)


# -- secret and versions -----------------------------------------------------------------------------------------


def read_secret(path: Path, make: bool) -> bytes:
    """The secret from which hidden inputs follow, made at random if it is not there and may be made.

    Raises GradingError if it is missing, too short, or open to other users of the machine.
    """
    if make and not path.exists():
        _write(secrets.token_hex(SECRET_BYTES) + "\n", path, 0o600)
    try:
        mode, text = path.stat().st_mode, path.read_bytes().strip()
    except OSError as error:
        raise GradingError(f"the secret {path} cannot be read: {error.strerror}") from None
    if mode & 0o077:
        raise GradingError(f"other users may read the secret {path} (mode {mode & 0o777:o}). Run: chmod 600 {path}")
    if len(text) < SECRET_BYTES // 2:
        raise GradingError(f"the secret {path} has {len(text)} bytes; at least {SECRET_BYTES // 2} are needed")
    return text


def course_version() -> str:
    """The course's version as git tells it: the tag that was handed out, if this is one; else the package's number."""
    from importlib.metadata import version

    number = version("generative-networks-course")
    with contextlib.suppress(CourseError, OSError, subprocess.CalledProcessError):
        root = find_root()
        command = ["git", "-C", str(root), "describe", "--tags", "--always"]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        changed = "+changes" in (recorded.commit(root) or "")
        return f"{number} ({told}{', changed' if changed else ''})"
    return number


def package_versions() -> str:
    """The packages whose versions may change a number, or what travels into a box."""
    return f"torch {torch.__version__}, safetensors {safetensors.__version__}"


def exercise_fingerprint() -> str:
    """A hash of all code on which points depend: the exercises, and what grades them; and of its packages' versions."""
    here = Path(__file__).resolve().parent
    paths = [here / f"{name}.py" for name in ("grader", "submissions", "checker")]
    for folder in (here / "sandbox", here.parent / "boxed", here.parent / "exercises"):
        paths += sorted(folder.rglob("*.py"))
    digest = hashlib.sha256(package_versions().encode())
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


# -- result files ------------------------------------------------------------------------------------------------


def _write(text: str, path: Path, mode: int) -> None:
    """Write a file, whole or not at all. Raises GradingError when the disk is full, say."""
    try:
        write_text(text, path, mode)
    except OSError as error:
        raise GradingError(
            f"{path} cannot be written: {error.strerror}. Results written so far are whole; make room and run the "
            "same command again, it goes on from there."
        ) from None


class _Book:
    """The result files of one run."""

    def __init__(self, folder: Path, names: tuple[str, ...], secret: bytes) -> None:
        self.folder, self.names, self.secret = folder, names, secret
        self.version, self._code = course_version(), exercise_fingerprint()
        self._mine: set[str] = set()

    def fingerprint(self, submission: Submission) -> str:
        """What a result depends on beside the notebook's content, which is in the key."""
        told = [
            reports.VERSION,
            self.version,
            self._code,
            self.names,
            submission.student,
            submission.file,
            submission.reason,
        ]
        told += [submission.late, submission.deadline, submission.notes]
        return hmac.new(self.secret, json.dumps(told).encode(), hashlib.sha256).hexdigest()[:32]

    def needs(self, factory: checker.BoxFactory) -> Needs:
        """What every worker must have for these results."""
        return Needs(self._code, f"{self.version}, {package_versions()}", factory is real_box)

    def kept(self, submission: Submission, fingerprint: str) -> dict[str, Any] | None:
        """The final result of an earlier run, if it would be the same now."""
        self._mine.add(f"{submission.key}.json")
        try:
            result = json.loads((self.folder / f"{submission.key}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        known = isinstance(result, dict) and result.get("fingerprint") == fingerprint
        return result if known and result.get("status") in FINAL else None

    def write(self, submission: Submission, fingerprint: str, graded: dict[str, Any]) -> dict[str, Any]:
        """Write a result file, whole or not at all. Raises GradingError when the disk is full, say."""
        result = {
            "version": reports.VERSION,
            "key": submission.key,
            "student": submission.student,
            "file": submission.file,
            **graded,
            "late": submission.late,
            "deadline": submission.deadline,
            "course_version": self.version,
            "notes": [*submission.notes, *graded["notes"]],
            "fingerprint": fingerprint,
        }
        path = self.folder / f"{submission.key}.json"
        _write(json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n", path, 0o600)
        return result

    def tidy(self) -> None:
        """Move results of notebooks that are no longer among the submissions to a folder beside; drop half-written ones."""
        for unfinished in self.folder.glob(".*.json.*"):
            unfinished.unlink()
        for path in self.folder.glob("*.json"):
            if path.name not in self._mine:
                aside = self.folder.with_name("superseded")
                aside.mkdir(mode=0o700, exist_ok=True)
                os.replace(path, aside / path.name)


def _found(source: Path, out: Path, manifest: Path | str | None) -> Collection:
    """What was handed in. Raises GradingError if nothing was, or if `out` lies in the folder of the submissions."""
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise GradingError(f"{out} lies in the folder of the submissions, {source}: choose an --out outside of it")
    found = collect(source, manifest)
    if not found.entries:
        others = f", only other files, such as {found.ignored[0]}" if found.ignored else ""
        raise GradingError(f"{source} holds no notebook (.ipynb){others}")
    return found


def _check_same_assignment(folder: Path, names: Sequence[str]) -> None:
    """Raise GradingError if the results that are there are all about other exercises: they would be written over."""
    there = set()
    for path in folder.glob("*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            there |= {mark["name"] for mark in json.loads(path.read_text(encoding="utf-8"))["exercises"]}
    if there and there.isdisjoint(names):
        raise GradingError(
            f"{folder.parent} holds the results of another assignment ({', '.join(sorted(there)[:3])}, …), which these "
            "would replace: choose another --out"
        )


def _private_folders(out: Path) -> Path:
    """Make `out` and the folder of the result files, closed to other users; what exists keeps its mode."""
    folder = out / FOLDER
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise GradingError(f"{folder} cannot be made: {error.strerror}. Choose another --out") from None
    return folder


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Two runs that write into one folder would set aside each other's results."""
    try:
        with filelock.FileLock(out / ".lock", timeout=0):
            yield
    except filelock.Timeout:
        raise GradingError(f"another run is writing to {out}; wait for its end, or choose another --out") from None


# -- work --------------------------------------------------------------------------------------------------------


@dataclass
class _Try:
    """A submission that is being graded, for the how-manieth time."""

    submission: Submission
    fingerprint: str
    attempt: int = 1


class _Work:
    """All submissions of a run on their way to a result."""

    def __init__(self, book: _Book, found: Collection, report: Report) -> None:
        self.book, self.entries, self._report = book, found.entries, report
        self.progress = Progress(len(found.entries))
        self.quarantined: list[str] = []
        self._again: deque[_Try] = deque()
        self._suspects: deque[_Try] = deque()
        self._running: dict[Any, _Try] = {}
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def not_yet_graded(self) -> Iterator[tuple[Submission, str]]:
        """Read one submission after the other; those with a result, and unreadable ones, are done with at once."""
        for entry in self.entries:
            submission = _read(entry)
            fingerprint = self.book.fingerprint(submission)
            result = self.book.kept(submission, fingerprint)
            if result is not None:
                self.progress.kept += 1
                self._report(self.progress)
            elif submission.cells is None:
                blank = checker.blank("unreadable", submission.reason, self.book.names)
                self._finish(_Try(submission, fingerprint), blank)
            else:
                yield submission, fingerprint

    def wait_for_workers(self, client: Client) -> None:
        """Wait, and say so, until there is a worker. Raises GradingError if none comes."""
        end = time.monotonic() + WORKERS
        while not _threads(client):
            if time.monotonic() > end:
                raise GradingError(
                    f"the scheduler has had no worker for {WORKERS:.0f} seconds. Start some (docs/grading.md shows "
                    "how) and run the same command again; it goes on from there."
                )
            self.progress.waits_for = f"a worker, at most {WORKERS:.0f} seconds: the scheduler has none"
            self._report(self.progress)
            time.sleep(LOOK / 10)
        self.progress.waits_for = ""

    def grade(self, client: Client, waiting: Iterator[tuple[Submission, str]], factory: checker.BoxFactory) -> None:
        """Grade what is waiting, a few submissions at a time, and what killed its workers at the end and alone."""
        self._fill(client, waiting, factory)
        while self._running:
            self._take(self._next(client))
            self._fill(client, waiting, factory)
        while self._suspects or self._again:
            self._submit(client, (self._again or self._suspects).popleft(), factory)
            self._take(self._next(client), alone=True)

    def _next(self, client: Client) -> Future:
        """The next submission that is through."""
        while True:
            try:
                return self._ended.get(timeout=LOOK)
            except queue.Empty:
                self.wait_for_workers(client)

    def _fill(self, client: Client, waiting: Iterator[Any], factory: checker.BoxFactory) -> None:
        """Keep every worker busy, and no more submissions in memory than that takes."""
        room = 2 * max(_threads(client), 1)
        while len(self._running) < room:
            following = next(waiting, None)
            if following is not None:
                self._submit(client, _Try(*following), factory)
            elif self._again:
                self._submit(client, self._again.popleft(), factory)
            else:
                break

    def _submit(self, client: Client, attempt: _Try, factory: checker.BoxFactory) -> None:
        submission = attempt.submission
        needs = self.book.needs(factory)
        task = Task(submission.cells or (), self.book.names, submission.student, self.book.secret, needs)
        future = client.submit(grade_task, task, factory, pure=False, key=f"grade-{secrets.token_hex(8)}")
        self._running[future.key] = attempt
        self.progress.running = len(self._running)
        self._report(self.progress)
        future.add_done_callback(self._ended.put)

    def _take(self, future: Future, alone: bool = False) -> None:
        """Deal with a submission that is through, or that took its worker with it."""
        from distributed import KilledWorker

        error: Any = future.exception()
        attempt = self._running.pop(future.key)
        self.progress.running = len(self._running)
        if future.cancelled():
            raise GradingError(LOST)
        if isinstance(error, KilledWorker):
            if alone:
                self._quarantine(attempt)
            else:
                self._suspects.append(attempt)
        elif isinstance(error, (CourseError, ImportError)):
            raise _unfit(error)
        elif error is not None:
            graded = checker.blank("infra_error", f"the grader failed: {_words(error)}", self.book.names)
            self._finish_or_retry(attempt, graded)
        else:
            self._finish_or_retry(attempt, future.result())

    def _quarantine(self, attempt: _Try) -> None:
        self.quarantined.append(attempt.submission.file)
        reason = "quarantined: every worker that graded it died, also when it was alone. Look at it by hand."
        self._finish(attempt, checker.blank("infra_error", reason, self.book.names))

    def _finish_or_retry(self, attempt: _Try, graded: dict[str, Any]) -> None:
        if graded["status"] == "infra_error" and attempt.attempt < ATTEMPTS:
            self.progress.retried += 1
            self._again.append(_Try(attempt.submission, attempt.fingerprint, attempt.attempt + 1))
            return
        self._finish(attempt, graded)

    def _finish(self, attempt: _Try, graded: dict[str, Any]) -> None:
        result = self.book.write(attempt.submission, attempt.fingerprint, graded)
        points, most = pages.total(result)
        self.progress.counts[result["status"]] += 1
        self.progress.points += points
        self.progress.max_points += most
        shown = "no grade yet" if result["status"] == "infra_error" else f"{points} of {most}"
        self.progress.last.append(f"{attempt.submission.file}: {result['status']}, {shown}")
        self._report(self.progress)


def _read(entry: Entry) -> Submission:
    """The submission; a fault of our own in reading one must not stop the others."""
    try:
        return entry.read()
    except (MemoryError, ValueError) as error:
        key = hashlib.sha256(entry.raw.encode("utf-8", "replace")).hexdigest()[:32]
        return Submission(key, entry.student, entry.file, None, f"it cannot be read ({_words(error)})")


def _words(error: BaseException) -> str:
    return printable(f"{type(error).__name__}: {error}", 300)


# -- workers -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _client(scheduler: str | None, workers: int | None) -> Iterator[Client]:
    """A client of the scheduler at that address, or of processes started here: one a core, one thread each."""
    from distributed import Client

    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what it has to say, our errors say
    with contextlib.ExitStack() as stack:
        try:
            client = Client(scheduler, timeout=CONNECT) if scheduler else Client(stack.enter_context(_cluster(workers)))
        except Exception as error:  # whatever listens there may send anything
            if not scheduler:
                raise
            raise GradingError(
                f"no scheduler answers at {scheduler} ({printable(str(error), 200)}). Is it running, does a firewall "
                "let this machine through, and do certificate and tcp:// or tls:// fit? docs/grading.md shows all of it"
            ) from None
        yield stack.enter_context(client)


def _cluster(workers: int | None) -> LocalCluster:
    """Processes on this machine, behind certificates for this run alone: other users cannot send them commands.

    The web servers that dask opens beside them listen on this machine only, on free ports, and have no pages.
    """
    from dask import config
    from dask.system import CPU_COUNT
    from distributed import LocalCluster
    from distributed.security import Security

    settings = {
        "distributed.scheduler.allowed-failures": DEATHS,
        "distributed.scheduler.worker-saturation": 1.0,  # who waits behind a deadly submission is not suspected too
        "distributed.worker.profile.enabled": False,  # it grows as long as a worker lives
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
    }
    with config.set(settings):
        return LocalCluster(
            n_workers=workers or CPU_COUNT,
            threads_per_worker=1,
            host="127.0.0.1",
            memory_limit=0,
            security=Security.temporary(),
            silence_logs=logging.CRITICAL,
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
        )


def _threads(client: Client) -> int:
    """How many submissions the workers can grade at once. Raises GradingError when the scheduler is gone."""
    try:
        threads: Any = client.nthreads()
        return sum(threads.values())
    except (OSError, RuntimeError):
        raise GradingError(LOST) from None


def _require_fit(client: Client, needs: Needs) -> None:
    """Raise NoBox or GradingError unless every worker that there is fits; later ones are asked with their first task."""
    told: Any = client.run(require_fit, needs, on_error="return")
    for problem in told.values():
        if isinstance(problem, BaseException):
            raise _unfit(problem)


@functools.cache
def require_fit(needs: Needs) -> None:
    """Run in a worker: raise GradingError unless its course is the grader's, and NoBox unless it can make boxes."""
    if needs.code != exercise_fingerprint():
        raise GradingError(
            f"the worker on {socket.gethostname()} has another version of the course or of its packages, so that points "
            f"might differ: {course_version()}, {package_versions()}; the grader has {needs.told}. Install the same "
            "on both and start the workers again."
        )
    if needs.boxes:
        from course_utils.grading.sandbox import tightness

        tightness.require()


def _unfit(error: BaseException) -> CourseError:
    """What is wrong with a worker, as an error to end the run with."""
    if isinstance(error, CourseError):
        return error
    return GradingError(f"a worker cannot grade: {_words(error)}. Install the same version of the course there.")


# -- the table while it runs -------------------------------------------------------------------------------------


@contextlib.contextmanager
def live_table(console: Any = None) -> Iterator[Report]:
    """A `report` for `run` that keeps a table on the terminal up to date."""
    from rich.live import Live

    said = ""

    def report(progress: Progress) -> None:
        nonlocal said
        if progress.waits_for not in ("", said):  # said once, also where there is no terminal
            live.console.print(f"Waiting for {progress.waits_for}.", markup=False)
        said = progress.waits_for
        live.update(table(progress))

    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield report


def table(progress: Progress) -> Any:
    """The state of a run as a table of rich's; file names stand there as plain text, whatever markup they hold."""
    from rich.table import Table
    from rich.text import Text

    seconds = progress.seconds
    graded = progress.counts.total()
    rate = 60 * graded / seconds if graded else 0.0
    left = progress.total - progress.done
    shown = Table(title=f"{progress.done} of {progress.total} submissions", show_header=False)
    for status, count in sorted(progress.counts.items()):
        shown.add_row(status, str(count))
    shown.add_row("kept from an earlier run", str(progress.kept))
    shown.add_row("tried again", str(progress.retried))
    shown.add_row("points of this run", f"{progress.points} of {progress.max_points}")
    to_go = f", {max(left / rate, 1):.0f} min to go" if rate and left else ""
    shown.add_row("speed", f"{rate:.0f} a minute{to_go}")
    for line in progress.last:
        shown.add_row("", Text(line))
    return shown
