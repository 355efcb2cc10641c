"""The headlines that take a night: what is done of them, what is running, and what is left; and the same on a GPU.

A lesson has headlines if it chooses sizes for the night. Its long trainings are those with a checkpoint in such a cell.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from course_utils import recorded
from course_utils.command import results
from course_utils.command.terminal import console
from course_utils.conventions import cache_dir
from course_utils.errors import CourseError
from course_utils.notebooks import find, ipynb
from course_utils.notebooks.find import Lesson
from course_utils.notebooks.headlines import checkpoints, has_headlines
from course_utils.running.runs import Options, Run

LEAST_FIRST = ("09", "05", "06", "10", "08a", "08")  # on a GPU, by the work of their recipes: a short while tells most


@dataclass(frozen=True)
class Training:
    """One long training of a lesson, as its checkpoint tells it; `pace` is in seconds per step."""

    name: str
    done: int = 0
    total: int = 0
    core_seconds: float = 0.0
    pace: float = 0.0
    saved: float = 0.0  # when, in seconds since 1970

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return 0 < self.total == self.done

    @property
    def left(self) -> float:
        """The seconds that it still takes, if it goes on at the pace of its latest sitting."""
        return (self.total - self.done) * self.pace


@dataclass(frozen=True)
class Headline:
    """A lesson with long trainings; `recorded` are its results, `running` says that somebody is at it."""

    lesson: Lesson
    trainings: list[Training]
    recorded: list[dict[str, Any]]
    running: bool

    def is_recorded(self, commit: str | None) -> bool:
        """Whether a run at this commit came to its end and recorded all."""
        whole = all("unfinished" not in entry for entry in self.recorded)
        return whole and any(entry.get("commit") == commit and "core_hours" in entry for entry in self.recorded)


def night_lessons(wanted: list[str], root: Path) -> list[Lesson]:
    """The lessons that choose sizes for the night, or those `wanted` (as `find_lessons` takes them).

    Raises CourseError for one that does not.
    """
    chosen = find.find_lessons(wanted, root)
    there = [lesson for lesson in chosen if has_headlines(ipynb.read(lesson.path))]
    if wanted and (strange := [lesson.number for lesson in chosen if lesson not in there]):
        others = ", ".join(lesson.number for lesson in night_lessons([], root)) or "none yet"
        raise CourseError(f"lesson {strange[0]} has nothing to train for a night; there is: {others}")
    return there


def headlines(lessons: list[Lesson], root: Path, profile: str = "night") -> list[Headline]:
    """How far each of them is in a profile, on whatever device. Reads checkpoints and `results/`."""
    files = sorted((root / "results").glob(f"{profile}-*.json"))
    known = [entry for path in files for entry in results.load(path)["results"]]
    return [
        Headline(
            lesson,
            [training(name, profile) for name in checkpoints(ipynb.read(lesson.path), lesson.number)],
            [entry for entry in known if entry["lesson"] == lesson.number],
            _is_running(lesson, profile),
        )
        for lesson in lessons
    ]


def run_headlines(lessons: list[Lesson], options: Options, root: Path | None) -> list[Run]:
    """Run what the headlines of these lessons need. With a `root`, each result is recorded there as soon as it is shown."""
    from course_utils.running.runner import run_lessons

    if root:
        headlines([], root, options.profile)  # a file that cannot be read is better found before the night
        options = replace(options, reported=_recorder(root))
    with alone(lessons, options.profile):
        return run_lessons(lessons, options, console)


def _recorder(root: Path) -> Callable[[Run], None]:
    lock = threading.Lock()

    def keep(run: Run) -> None:
        with lock:
            results.record([run], root, whole=False)

    return keep


def training(name: str, profile: str) -> Training:
    """How far the training with that checkpoint is; one that is missing or cannot be read counts as not begun."""
    import torch

    from course_utils.training import checkpoint_path

    path = checkpoint_path(name, profile)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        spent = state["history"]["core_seconds"]
        return Training(name, state["done"], state["total"], spent, state["pace"], path.stat().st_mtime)
    except Exception:  # of a version before, or half a file: `training.steps` begins anew, too
        return Training(name)


# --- one process at a time --------------------------------------------------------------------------------------


def _lock(lesson: Lesson, profile: str, patience: float) -> Any:
    from filelock import FileLock

    folder = cache_dir() / "checkpoints" / profile
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{lesson.number}.lock", timeout=patience)


def _is_running(lesson: Lesson, profile: str) -> bool:
    from filelock import Timeout

    try:
        with _lock(lesson, profile, 0):
            return False
    except Timeout:
        return True


@contextlib.contextmanager
def alone(lessons: list[Lesson], profile: str) -> Iterator[None]:
    """Keep others from training the same lessons in this profile meanwhile. Raises CourseError if somebody does so now."""
    from filelock import Timeout

    with contextlib.ExitStack() as held:
        for lesson in lessons:
            try:
                held.enter_context(_lock(lesson, profile, 2))  # who only looks has it for a moment
            except Timeout:
                raise CourseError(
                    f"lesson {lesson.number} is being run in profile {profile} by another process, and two would write "
                    "the same checkpoints: wait for it, or end it and start again; it goes on where it was"
                ) from None
        yield


# --- on a GPU ---------------------------------------------------------------------------------------------------


def left_on_gpu(lessons: list[Lesson], root: Path) -> list[Lesson]:
    """Those whose headlines are not all recorded on a GPU at this commit, the ones with the least work first.

    Raises CourseError where there is no GPU.
    """
    from course_utils import runtime

    if runtime.pick_device().type == "cpu":
        raise CourseError("there is no GPU here that torch can use (`course doctor` says more): nothing is run")
    now = find.commit(root)
    left = [headline.lesson for headline in headlines(lessons, root, "gpu") if not headline.is_recorded(now)]
    place = {number: place for place, number in enumerate(LEAST_FIRST)}
    return sorted(left, key=lambda lesson: place.get(lesson.number, len(place)))


# --- in words ---------------------------------------------------------------------------------------------------


def told(found: list[Headline]) -> list[str]:
    """What to say of each lesson, of its trainings and of what is recorded, in lines; and how much is left in all."""
    lines = []
    for headline in found:
        lines.append(f"{headline.lesson.title}{', running' if headline.running else ''}")
        lines += [f"    {one.name}: {_state(one, headline.running)}" for one in headline.trainings]
        lines += [f"    ✔ {_result(entry)}" for entry in headline.recorded if "core_hours" in entry]
        if not headline.recorded and not headline.running:
            lines.append(f"    → course run {headline.lesson.number} --profile night --record")
    trainings = [one for headline in found for one in headline.trainings]
    finished = sum(one.finished for one in trainings)
    return [*lines, f"{finished} of {len(trainings)} trainings are done."]


def _state(one: Training, running: bool) -> str:
    if not one.total:
        return "left"
    spent = f"{one.core_seconds / 3600:.2f} core-hours"
    if one.finished:
        return f"trained, {one.total:,} steps in {spent}"
    left = f"about {_duration(one.left)} left" if one.pace else "its pace not known yet"
    share = f"step {one.done:,} of {one.total:,} ({one.done / one.total:.0%}) after {spent}"
    saved = f"saved {_duration(time.time() - one.saved)} ago"
    return f"{'running' if running else 'interrupted'}, {share}, {left} at its latest pace; {saved}"


def _result(entry: dict[str, Any]) -> str:
    goal = f", goal {entry['goal']} {'met' if entry['met'] else 'missed'}" if entry["goal"] else ""
    return f"{entry['name']}: {recorded.in_words(entry)}{goal}"


def _duration(seconds: float) -> str:
    minutes, hours = round(seconds / 60), round(seconds) // 3600
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{hours} h {minutes % 60} min"
