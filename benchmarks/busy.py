"""What other work on the machine costs a lesson: its seconds alone, and beside as many endless loops as there are cores.

    .venv/bin/python benchmarks/busy.py                    # all lessons in profile smoke
    .venv/bin/python benchmarks/busy.py 00 --profile cpu   # one lesson at the sizes of a laptop

A student's laptop runs a browser and a video call beside the kernel. The two runs of a lesson follow each other; the aim
is at most 2.5 times the seconds. Wall time of papermill's run, without the kernel's start.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from course_utils.notebooks.find import Lesson, find_lessons, find_root
from course_utils.running.runner import run_lessons
from course_utils.running.runs import Options

AIM = 2.5


@contextlib.contextmanager
def busy_cores() -> Iterator[None]:
    """Keep every core busy with an endless loop while the block runs."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def seconds(lesson: Lesson, profile: str) -> float:
    """Seconds of one run. Raises SystemExit when the lesson fails."""
    with tempfile.TemporaryDirectory() as directory:
        options = Options(profile, out=Path(directory), html=False)
        (run,) = run_lessons([lesson], options, Console(quiet=True))
    if run.reasons:
        raise SystemExit(f"{lesson.path.name}: {run.message}")
    return run.seconds


def main(arguments: list[str]) -> None:
    """Print one line a lesson."""
    profile = "smoke"
    if "--profile" in arguments:
        place = arguments.index("--profile")
        profile = arguments[place + 1]
        del arguments[place : place + 2]
    print(f"{'lesson':40}{'alone':>10}{'busy':>10}{'ratio':>8}  (aim: at most {AIM})")
    for lesson in find_lessons(arguments, find_root()):
        alone = seconds(lesson, profile)
        with busy_cores():
            beside = seconds(lesson, profile)
        print(f"{lesson.path.stem:40}{alone:8.1f} s{beside:8.1f} s{beside / alone:8.2f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
