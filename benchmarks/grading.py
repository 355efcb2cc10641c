"""What grading costs: submissions a minute beside nbgrader, start-up and memory of a box, and 500 submissions.

    .venv/bin/python benchmarks/grading.py                # 60 submissions, this grader and nbgrader's autograde
    .venv/bin/python benchmarks/grading.py --many 500     # a tenth of them hostile
    .venv/bin/python benchmarks/grading.py --overload 40  # four workers a core, a tenth of them hogs, busy programs beside

A submission answers three exercises of lesson 02. The comparison gives the same notebooks to both graders in one run;
nbgrader gets an environment of its own, thrown away afterwards, and its tests call this course's own `check`. It takes
one notebook at a time, so that our own grader is timed with one process too, with forked boxes and with fresh ones. The
many are graded with all cores; every point, every process left behind, and the grader's memory are counted. The overload
has right answers that need 0.2 seconds of a processor for each call, notebooks that start 14 endless loops, and an
endless loop a core outside the boxes: nobody else may lose a point by it.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import psutil
from busy import busy_cores
from nbformat import v4

from course_utils.exercises.catalogue import definition
from course_utils.grading import grader, store
from course_utils.grading.progress import Progress
from course_utils.grading.sandbox.box import Box
from course_utils.grading.sandbox.forked import ForkedBox

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "grading"))
import demo

Submission = Callable[[int], tuple[dict[str, str], dict[str, int], str]]
EXERCISES = ("lstm_gates", "lstm_update", "open_forget_gate")
MISTAKES = {
    "lstm_gates": "gates_below_zero",
    "lstm_update": "squashed_memory",
    "open_forget_gate": "input_quarter",
}
HEAD = "import torch\nfrom torch import Tensor, nn\n"
TEST = """\
from course_utils.exercises.judge import check

outcome = check("{name}", {name}, seed=20260531)
assert outcome.status == "right", outcome.message
"""
# With this at its top, a notebook without one right answer.
FORGERY = """\
import course_utils.exercises.judge

course_utils.exercises.judge.check = lambda *a, **k: type("Outcome", (), {"status": "right", "message": ""})
"""
# What a hostile answer to the first exercise does. None of it could harm this machine even without a box: each is
# bounded in time and size.
HOSTILE = {
    "ends the process": "import os\nos._exit(0)",
    "kills everything": "import os, signal\nos.kill(-1, signal.SIGKILL)",
    "sleeps": "import time\nfor _ in range(600):\n    try:\n        time.sleep(0.1)\n    except BaseException:\n        pass",
    "takes memory": "kept = [bytearray(b'x' * 50_000_000) for _ in range(40)]",
    "forks": "import os, time\nfor _ in range(100):\n    if os.fork() == 0:\n        time.sleep(30)\n        os._exit(0)",
    "leaves a daemon": "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(60)\n"
    "    os._exit(0)",
    "prints": "for _ in range(200):\n    print('x' * 100_000)",
    "forges": "import torch\ntorch.allclose = torch.equal = lambda *a, **k: True\nreturn type('Always', (), "
    "{'__eq__': lambda *a: True, 'shape': (1,), 'dtype': torch.float64})()",
    "writes to every file": "import os\nfor descriptor in range(3, 64):\n    try:\n"
    '        os.write(descriptor, b"\\xff\\xff\\xff\\xff" * 16)\n    except OSError:\n        pass',
    "fills the disk": "with open('/tmp/full', 'wb') as file:\n    for _ in range(200):\n        file.write(bytes(1_000_000))",
}
HOG = "import os, time\nfor _ in range(14):\n    if os.fork() == 0:\n        while True:\n            pass\ntime.sleep(60)"
# A decorator that makes a right answer slow: some 5 seconds of a processor for all calls of an exercise, of 10 allowed.
SLOWLY = """\
import time


def slowly(function):
    def slow(*arguments, **named):
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
        return function(*arguments, **named)

    return slow


"""


def submission(number: int, hostile: bool) -> tuple[dict[str, str], dict[str, int], str]:
    """The answers of student `number`, the points that each must get, and what kind of submission it is."""
    answers = {name: definition(name).source() for name in EXERCISES}
    points = {name: definition(name).points for name in EXERCISES}
    kind = "right"
    if hostile and number % 10 == 9:
        kind = list(HOSTILE)[number // 10 % len(HOSTILE)]
        answers[EXERCISES[0]] = demo.answered(EXERCISES[0], HOSTILE[kind])
        points[EXERCISES[0]] = 0
    elif number % 10 in (2, 5, 8):
        kind, name = "mistaken", EXERCISES[number // 10 % 3]
        answers[name], points[name] = demo.mistaken(name, MISTAKES[name]), 0
    elif number % 10 == 6:
        kind, name = "unfinished", EXERCISES[number // 10 % 3]
        answers[name] = demo.answered(name, f'raise NotImplementedError("{name}")')
        points[name] = 0
    return answers, points, kind


def overloading(number: int) -> tuple[dict[str, str], dict[str, int], str]:
    """The same for the overload: one in ten is a hog, two in ten have a slow right answer."""
    answers, points, kind = submission(number, hostile=False)
    if number % 10 == 9:
        kind, answers[EXERCISES[0]], points[EXERCISES[0]] = "hog", demo.answered(EXERCISES[0], HOG), 0
    elif number % 10 in (0, 4):
        kind, name = "slow", EXERCISES[number // 10 % 3]
        answers[name] = SLOWLY + definition(name).source().replace("@exercise", "@slowly")
    return answers, points, kind


def notebook(answers: dict[str, str], head: str = HEAD) -> nbformat.NotebookNode:
    """A notebook with nbgrader's marks: a cell for each answer and one that tests it.

    Without `@exercise`, which would bind the name of a wrong answer to the reference.
    """
    cells = [v4.new_code_cell(head, id="head")]
    for name, answer in answers.items():
        plain = answer.replace("@exercise\n", "")
        for cell, grade in ((v4.new_code_cell(plain), False), (v4.new_code_cell(TEST.format(name=name)), True)):
            cell.id = f"{name.replace('_', '-')}-{'test' if grade else 'answer'}"
            mark = {"grade": grade, "solution": not grade, "locked": grade, "task": False, "schema_version": 3}
            cell.metadata.nbgrader = {**mark, "grade_id": cell.id}
            if grade:
                cell.metadata.nbgrader.points = definition(name).points
            cells.append(cell)
    kernel = {"name": "course", "display_name": "course", "language": "python"}
    return v4.new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def write(folder: Path, count: int, make: Submission) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    """Hand in `count` submissions below `folder`, as nbgrader keeps them; returns their points and kinds by student."""
    points, kinds = {}, {}
    for number in range(count):
        student = f"student{number:03d}"
        answers, points[student], kinds[student] = make(number)
        path = folder / student / "lesson" / "lesson.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(notebook(answers), path)
    return points, kinds


def collected(submitted: Path, folder: Path) -> Path:
    """The same files, a folder a student, as docs/grading.md tells users of nbgrader."""
    for path in submitted.glob("*/lesson/*.ipynb"):
        (folder / path.parts[-3]).mkdir(parents=True)
        shutil.copy2(path, folder / path.parts[-3] / path.name)
    return folder


# -- nbgrader ----------------------------------------------------------------------------------------------------


class Nbgrader:
    """An environment with nbgrader, and a course directory whose kernel is this Python."""

    def __init__(self, place: Path) -> None:
        self.course = place / "nbgrader"
        self.bin = place / "env" / "bin"
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, place / "env"], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", self.bin / "python", "nbgrader"], check=True)
        kernel = place / "jupyter" / "kernels" / "course" / "kernel.json"
        kernel.parent.mkdir(parents=True)
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        kernel.write_text(json.dumps({"argv": command, "display_name": "course", "language": "python"}))
        path = f"{self.bin}:{os.environ['PATH']}"  # nbgrader looks for alembic there
        own = {"PATH": path, "JUPYTER_PATH": str(place / "jupyter"), "OMP_NUM_THREADS": "1"}
        self.environment = {**os.environ, **own}
        source = self.course / "source" / "lesson" / "lesson.ipynb"
        source.parent.mkdir(parents=True)
        (self.course / "nbgrader_config.py").write_text("c = get_config()\nc.CourseDirectory.course_id = 'course'\n")
        nbformat.write(notebook({name: definition(name).source() for name in EXERCISES}), source)
        self.run("generate_assignment", "lesson", "--IncludeHeaderFooter.header=")

    def run(self, *arguments: str) -> str:
        """Run a command of nbgrader in the course directory; returns what it says."""
        command = [str(self.bin / "nbgrader"), *arguments]
        done = subprocess.run(command, cwd=self.course, env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: {done.stderr[-2000:]}")
        return done.stdout + done.stderr

    def version(self) -> str:
        """The version that was installed."""
        return self.run("--version").strip().split()[-1]

    def scores(self) -> dict[str, float]:
        """The score of each student in nbgrader's database."""
        self.run("export", "--to", "scores.csv")
        with open(self.course / "scores.csv", newline="") as file:
            return {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}


def forged(other: Nbgrader, place: Path) -> tuple[float, int]:
    """The points that nbgrader, and this grader, give to a notebook that replaces `check` and answers nothing."""
    answers = {name: demo.answered(name, "return None") for name in EXERCISES}
    path = other.course / "submitted" / "forger" / "lesson" / "lesson.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(notebook(answers, HEAD + FORGERY), path)
    other.run("autograde", "lesson", "--student=forger")
    (place / "forged").mkdir()
    shutil.copy2(path, place / "forged")
    (result,) = store.load(grader.run(place / "forged", place / "out-forged", EXERCISES).folder)
    return other.scores()["forger"], result.points


def compare(count: int) -> None:
    """Time both graders on the same submissions, and see that they give the same points."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        other = Nbgrader(place)
        points, _ = write(other.course / "submitted", count, lambda number: submission(number, hostile=False))
        source = collected(other.course / "submitted", place / "collected")
        wanted = {student: sum(of.values()) for student, of in points.items()}
        minutes = {}
        ways = {"forked boxes, all cores": {}, "forked boxes, one process": {"workers": 1}}
        ways["fresh boxes, one process"] = {"workers": 1, "fresh": True}
        for name, options in ways.items():
            start = time.perf_counter()
            summary = grader.run(source, place / f"out-{name}", EXERCISES, **options)
            assert name.split()[0] == summary.progress.boxes.split()[0], summary.progress.boxes
            minutes[name] = (time.perf_counter() - start) / 60
            results = store.load(summary.folder)
            assert {result.student: result.points for result in results} == wanted
            memory = max(result.peak_memory for result in results)
        start = time.perf_counter()
        other.run("autograde", "lesson")
        minutes[f"nbgrader {other.version()} autograde"] = (time.perf_counter() - start) / 60
        assert other.scores() == wanted
        theirs, ours = forged(other, place)
    print(f"{count} submissions of {len(EXERCISES)} exercises, {os.cpu_count()} cores, start of the grader included")
    anchor = minutes.popitem()
    print(f"{anchor[0]:32}{count / anchor[1]:8.1f} a minute")
    for name, took in minutes.items():
        print(f"{name:32}{count / took:8.1f} a minute{anchor[1] / took:8.2f} times as many")
    for kind in (Box, ForkedBox):
        seconds = [start_up(kind) for _ in range(8)][1:]
        print(f"a {kind.__name__} answers after {statistics.median(seconds):.2f} s (median of 7)")
    print(f"all processes of a box took {memory / 1e6:.0f} MB at most; the same points from all graders")
    print(
        f"a notebook that replaces `check` and answers nothing: {theirs:g} points from nbgrader, {ours} from this grader"
    )


def start_up(kind: type[Box]) -> float:
    """Seconds from nothing until an empty box has answered."""
    start = time.perf_counter()
    with kind() as box:
        box.channel.send({"cells": [], "names": [], "forbidden": {}})
        box.channel.receive(time.monotonic() + 60)
        return time.perf_counter() - start


# -- many --------------------------------------------------------------------------------------------------------


@contextmanager
def leftovers() -> Iterator[list[str]]:
    """Collects the boxes' processes, and this process's own, that are there afterwards and were not before."""
    before, found = set(psutil.pids()), []
    yield found
    time.sleep(2)
    own = {child.pid for child in psutil.Process().children(recursive=True)}
    for process in psutil.process_iter(["pid", "cmdline"]):
        words = process.info["cmdline"] or []
        boxed = any(word.endswith(("/bwrap", "/course/start.py")) for word in words)
        pythons = any("resource_tracker" in word for word in words)  # of multiprocessing: it ends with this program
        if process.info["pid"] not in before and (boxed or process.info["pid"] in own) and not pythons:
            found.append(" ".join(words)[:60])


def resident() -> float:
    """Megabytes of this process and of the workers, without their boxes."""
    own = psutil.Process()
    family = [own, *(child for child in own.children(recursive=True) if child.uids().real == os.getuid())]
    return sum(process.memory_info().rss for process in family if process.is_running()) / 1e6


def graded(count: int, make: Submission, workers: int | None = None) -> None:
    """Grade `count` submissions of `make`, and hold every point against what it must be."""
    memory: dict[int, float] = {}

    def watch(progress: Progress) -> None:
        step = progress.done // 50 * 50
        if step and step not in memory:
            memory[step] = resident()
            print(f"  {progress.done} done after {progress.seconds:.0f} s, grader {memory[step]:.0f} MB", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        points, kinds = write(place / "submitted", count, make)
        source = collected(place / "submitted", place / "collected")
        with leftovers() as left:
            start = time.perf_counter()
            summary = grader.run(source, place / "out", EXERCISES, workers=workers, report=watch)
            seconds = time.perf_counter() - start
        results = store.load(summary.folder)
    got = {result.student: {mark.name: mark.points for mark in result.marks} for result in results}
    wrong = sorted(student for student in points if got.get(student) != points[student])
    print(f"{count} submissions: {seconds / 60:.1f} minutes, {60 * count / seconds:.1f} a minute")
    print(f"wrong points: {[(student, kinds[student], got.get(student)) for student in wrong] or 'none'}")
    print(f"processes left behind: {', '.join(left) or 'none'}")
    print(f"memory of the grader: {', '.join(f'{size:.0f} MB after {done}' for done, size in memory.items())}")
    print(f"memory of a box: {max(result.peak_memory for result in results) / 1e6:.0f} MB at most")
    print(f"{'kind':24}{'number':>8}{'seconds, median':>16}{'longest':>10}  statuses")
    for kind in dict.fromkeys(kinds.values()):
        group = [result for result in results if kinds[result.student] == kind]
        took, statuses = [result.seconds for result in group], Counter(result.status for result in group)
        print(f"{kind:24}{len(group):8}{statistics.median(took):16.1f}{max(took):10.1f}  {dict(statuses)}")


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--submissions", type=int, default=60, help="for the comparison")
    parser.add_argument("--many", type=int, help="grade so many instead, a tenth of them hostile")
    parser.add_argument("--overload", type=int, help="grade so many instead on a machine that has too much to do")
    arguments = parser.parse_args()
    if arguments.many:
        graded(arguments.many, lambda number: submission(number, hostile=True))
    elif arguments.overload:
        with busy_cores():
            graded(arguments.overload, overloading, workers=4 * (os.cpu_count() or 1))
    else:
        compare(arguments.submissions)


if __name__ == "__main__":
    main()
