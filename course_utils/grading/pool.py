"""The workers: dask.distributed spreads the submissions over processes, each of which starts the boxes of one at a time.

Whatever dies, nothing is lost: what a student is not to blame for is tried again, and a submission that takes every
worker with it is set aside, never a 0.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import queue
import secrets
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from course_utils.errors import CourseError
from course_utils.exercises.catalogue import definition
from course_utils.grading import checker, store
from course_utils.grading.progress import Progress, Report
from course_utils.grading.result import Graded
from course_utils.grading.session import BoxFactory
from course_utils.grading.store import GradingError
from course_utils.grading.submissions import Collection, Entry, Submission
from course_utils.grading.text import printable
from course_utils.notebooks import find

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

ATTEMPTS = 3  # at a submission, if the fault is the machine's
DEATHS = 1  # of workers that a submission survives in company; then it is tried once more, alone
CONNECT = 20.0  # seconds until a scheduler answers
WORKERS = 600.0  # seconds without any worker: a cluster's queue may be long
LOOK = 2.0  # seconds without a result, after which we look whether there are workers
LOST = "the connection to the workers is lost. Run the same command again; it goes on from there."


@dataclass(frozen=True)
class Needs:
    """What a worker must have: the code with this fingerprint, which `told` describes, and boxes: "fresh" or "forked" ones
    (or fresh ones, where those do not hold); "" in tests. `networks`: whether exercises are about them."""

    code: str
    told: str
    boxes: str
    networks: bool = False


@dataclass(frozen=True)
class Task:
    """What a worker needs to know to grade one submission."""

    cells: tuple[str, ...]
    names: tuple[str, ...]
    student: str
    secret: bytes
    needs: Needs
    shown: tuple[str, ...]


# -- in a worker -------------------------------------------------------------------------------------------------


def grade_task(task: Task, box_factory: BoxFactory) -> Graded:
    """Run in a worker: grade one submission. Raises what `require_fit` raises."""
    require_fit(task.needs)
    return checker.grade(task.cells, task.names, task.student, task.secret, box_factory, task.shown)


@functools.cache
def require_fit(needs: Needs) -> str:
    """Run in a worker: say which boxes it makes.

    Raises GradingError unless its course is the grader's, and NoBox unless it can make boxes.
    """
    if needs.code != store.exercise_fingerprint():
        raise GradingError(
            f"the worker on {socket.gethostname()} has another version of the course or of its packages, so that points "
            f"might differ: {find.version()}, {store.package_versions()}; the grader has {needs.told}. Install "
            "the same on both and start the workers again."
        )
    if not needs.boxes:
        return ""
    from course_utils.grading.sandbox import forked, tightness

    forked.imported_too = forked.NETWORKS if needs.networks else ()
    why_not = tightness.why_not_forked() if needs.boxes == "forked" else "as asked for"
    if why_not:
        tightness.require()
    return f"fresh ({why_not})" if why_not else "forked"


def fresh_box() -> AbstractContextManager[Any]:
    """A box with the ordinary limits, in which everything starts anew."""
    from course_utils.grading.sandbox.box import Box

    return Box()


def forked_box() -> AbstractContextManager[Any]:
    """A box with the ordinary limits; forked, unless this machine's forked boxes do not hold."""
    from course_utils.grading.sandbox import forked, tightness

    return fresh_box() if tightness.why_not_forked() else forked.ForkedBox()


# -- work --------------------------------------------------------------------------------------------------------


@dataclass
class _Try:
    """A submission that is being graded, for the how-manieth time."""

    submission: Submission
    fingerprint: str
    attempt: int = 1


class Work:
    """All submissions of a run on their way to a result. `files` keeps the results, `box_factory` makes the boxes."""

    def __init__(
        self, files: store.ResultFiles, submissions: Collection, box_factory: BoxFactory, report: Report
    ) -> None:
        self.files, self.entries, self._report = files, submissions.entries, report
        self.progress = Progress(len(submissions.entries))
        self.quarantined: list[str] = []
        self._box_factory = box_factory
        told = f"{files.version}, {store.package_versions()}"
        boxes = {fresh_box: "fresh", forked_box: "forked"}.get(box_factory, "")
        networks = any(trial.has_networks for name in files.names for trial in definition(name).trials(0))
        self._needs = Needs(files.code, told, boxes, networks)
        self._again: deque[_Try] = deque()
        self._suspects: deque[_Try] = deque()
        self._running: dict[Any, _Try] = {}
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def not_yet_graded(self) -> Iterator[tuple[Submission, str]]:
        """Read one submission after the other; those with a result, and unreadable ones, are done with at once."""
        for entry in self.entries:
            submission = _read(entry)
            fingerprint = self.files.fingerprint(submission)
            result = self.files.kept(submission, fingerprint)
            if result is not None:
                self.progress.kept += 1
                self._report(self.progress)
            elif submission.cells is None:
                blank = checker.blank("unreadable", submission.reason, self.files.names)
                self._finish(_Try(submission, fingerprint), blank)
            else:
                yield submission, fingerprint

    def grade(self, client: Client, waiting: Iterator[tuple[Submission, str]]) -> None:
        """Grade what is waiting, a few submissions at a time, and what killed its workers at the end and alone.

        Raises NoBox or GradingError where a worker does not fit, or none is left.
        """
        self._wait_for_workers(client)
        self.progress.boxes = _require_fit(client, self._needs)
        self._fill(client, waiting)
        while self._running:
            self._take(self._next(client))
            self._fill(client, waiting)
        while self._suspects or self._again:
            self._submit(client, (self._again or self._suspects).popleft())
            self._take(self._next(client), alone=True)

    def _wait_for_workers(self, client: Client) -> None:
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

    def _next(self, client: Client) -> Future:
        """The next submission that is through."""
        while True:
            try:
                return self._ended.get(timeout=LOOK)
            except queue.Empty:
                self._wait_for_workers(client)

    def _fill(self, client: Client, waiting: Iterator[tuple[Submission, str]]) -> None:
        """Keep every worker busy, and no more submissions in memory than that takes."""
        room = 2 * max(_threads(client), 1)
        while len(self._running) < room:
            following = next(waiting, None)
            if following is not None:
                self._submit(client, _Try(*following))
            elif self._again:
                self._submit(client, self._again.popleft())
            else:
                break

    def _submit(self, client: Client, attempt: _Try) -> None:
        submission, files = attempt.submission, self.files
        cells, shown = submission.cells or (), tuple(name for name in submission.shown if name in files.names)
        task = Task(cells, files.names, submission.student, files.secret, self._needs, shown)
        future = client.submit(grade_task, task, self._box_factory, pure=False, key=f"grade-{secrets.token_hex(8)}")
        self._running[future.key] = attempt
        self.progress.running = len(self._running)
        self._report(self.progress)
        future.add_done_callback(self._ended.put)

    def _take(self, future: Future, alone: bool = False) -> None:
        """Deal with a submission that is through, or that took its worker with it."""
        from distributed import KilledWorker

        graded, error = _graded_or_error(future)
        attempt = self._running.pop(future.key)
        self.progress.running = len(self._running)
        if graded is not None:
            self._finish_or_retry(attempt, graded)
        elif isinstance(error, KilledWorker):
            if alone:
                self._quarantine(attempt)
            else:
                self._suspects.append(attempt)
        elif isinstance(error, (CourseError, ImportError)):
            raise _unfit(error)
        else:
            blank = checker.blank("infra_error", f"the grader failed: {_words(error)}", self.files.names)
            self._finish_or_retry(attempt, blank)

    def _quarantine(self, attempt: _Try) -> None:
        self.quarantined.append(attempt.submission.file)
        reason = "quarantined: every worker that graded it died, also when it was alone. Look at it by hand."
        self._finish(attempt, checker.blank("infra_error", reason, self.files.names))

    def _finish_or_retry(self, attempt: _Try, graded: Graded) -> None:
        if graded.status == "infra_error" and attempt.attempt < ATTEMPTS:
            self.progress.retried += 1
            self._again.append(_Try(attempt.submission, attempt.fingerprint, attempt.attempt + 1))
            return
        self._finish(attempt, graded)

    def _finish(self, attempt: _Try, graded: Graded) -> None:
        self.progress.add(self.files.write(attempt.submission, attempt.fingerprint, graded))
        self._report(self.progress)


def _graded_or_error(future: Future) -> tuple[Graded | None, Any]:
    """What a worker has sent, or why it sent nothing. Raises GradingError when the scheduler is gone."""
    error: Any = future.exception()
    if future.cancelled():
        raise GradingError(LOST)
    if error is None:
        try:
            return future.result(), None
        except Exception as lost:  # the worker that kept it has died since, and so have those that made it anew
            error = lost
    return None, error


def _read(entry: Entry) -> Submission:
    """The submission; a fault of our own in reading one must not stop the others."""
    try:
        return entry.read()
    except (MemoryError, ValueError) as error:
        key = hashlib.sha256(entry.raw.encode("utf-8", "replace")).hexdigest()[:32]
        return Submission(key, entry.student, entry.file, None, f"it cannot be read ({_words(error)})")


def _words(error: BaseException) -> str:
    return printable(f"{type(error).__name__}: {error}", 300)


# -- the cluster -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def connected(scheduler: str | None, workers: int | None) -> Iterator[Client]:
    """A client of the scheduler at that address, or of processes started here: one a core, one thread each.

    Raises GradingError where no scheduler answers.
    """
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


def _require_fit(client: Client, needs: Needs) -> str:
    """Which boxes the workers make. Later workers are asked with their first task.

    Raises NoBox or GradingError unless every worker that there is fits.
    """
    told: Any = client.run(require_fit, needs, on_error="return")
    for problem in told.values():
        if isinstance(problem, BaseException):
            raise _unfit(problem)
    return "; ".join(sorted(set(told.values())))


def _unfit(error: BaseException) -> CourseError:
    """What is wrong with a worker, as an error to end the run with."""
    if isinstance(error, CourseError):
        return error
    return GradingError(f"a worker cannot grade: {_words(error)}. Install the same version of the course there.")
