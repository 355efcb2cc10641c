"""Grade many submissions at once, on this machine or a cluster, so that nothing is lost whatever dies.

Only this process writes results: one JSON file a submission (`store.py`); workers grade (`pool.py`). What has a result
already, of an earlier run, is not graded again.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_utils.exercises.catalogue import definition
from course_utils.grading import decisions, pool, reports, store
from course_utils.grading.progress import Progress, Report, live_table
from course_utils.grading.result import Result
from course_utils.grading.session import BoxFactory
from course_utils.grading.store import GradingError
from course_utils.grading.submissions import Collection, collect


@dataclass(frozen=True)
class Summary:
    """The end of a run: where the result files are, and what an instructor should know beside them."""

    folder: Path
    progress: Progress
    quarantined: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def run(
    source: Path | str,
    out: Path | str,
    names: Sequence[str],
    *,
    manifest: Path | str | None = None,
    secret_file: Path | str | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    fresh: bool = False,
    box_factory: BoxFactory | None = None,
    report: Report | None = None,
) -> Summary:
    """Grade the exercises `names` of all submissions in `source`; result files go to `out`/submissions.

    `scheduler`: the address of a dask scheduler; by default `workers` processes are started here, one a core.
    `fresh`: every box starts anew, none is forked. `box_factory` is for tests. `report` is called after every change. Results of an earlier run stand if nothing that
    they depend on has changed. Raises GradingError, SubmissionError, KeyError for an unknown exercise, and `box.NoBox`.
    """
    for name in names:
        definition(name)
    submissions = _submissions(Path(source), Path(out), manifest)
    folder = store.private_folders(Path(out))
    with store.alone(Path(out)):
        store.check_same_assignment(folder, names)
        secret = store.read_secret(Path(secret_file) if secret_file else Path(out) / "secret", make=secret_file is None)
        files = store.ResultFiles(folder, tuple(names), secret)
        ordinary = pool.fresh_box if fresh else pool.forked_box
        work = pool.Work(files, submissions, box_factory or ordinary, report or (lambda progress: None))
        waiting = work.not_yet_graded()
        first = next(waiting, None)
        if first is not None:
            with pool.connected(scheduler, workers) as client:
                work.grade(client, itertools.chain([first], waiting))
        files.tidy()
    return Summary(folder, work.progress, tuple(work.quarantined), submissions.ignored, submissions.absent)


def run_and_report(
    source: Path | str, out: Path, names: Sequence[str], title: str, console: Any = None, **options: Any
) -> tuple[Summary, list[Result], Path]:
    """`run` under a live table, then write all reports, with what a person has decided (`decisions.py`).

    Returns also the results as reported, and the page about the cohort. `title` names the assignment; `options` are
    those of `run`. Raises what `run`, `store.load` and `decisions.read` raise.
    """
    decisions.read(out / decisions.NAME)  # what is wrong with it is said before hours of grading, not after
    with live_table(console) as report:
        summary = run(source, out, names, report=report, **options)
    decided = decisions.read(out / decisions.NAME)
    results = decisions.apply(store.load(summary.folder), decided)
    try:
        decisions.ask(results, decided, out / decisions.NAME)
        page = reports.write(results, out, title, summary.absent, summary.ignored)[0]
    except OSError as error:
        raise GradingError(
            f"the reports in {out} cannot be written: {error.strerror}. All results are there; make room and run the same "
            "command again, it only writes the reports."
        ) from None
    return summary, results, page


def _submissions(source: Path, out: Path, manifest: Path | str | None) -> Collection:
    """What was handed in. Raises GradingError if nothing was, or if `out` lies in the folder of the submissions."""
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise GradingError(f"{out} lies in the folder of the submissions, {source}: choose an --out outside of it")
    submissions = collect(source, manifest)
    if not submissions.entries:
        others = f", only other files, such as {submissions.ignored[0]}" if submissions.ignored else ""
        raise GradingError(f"{source} holds no notebook (.ipynb){others}")
    return submissions
