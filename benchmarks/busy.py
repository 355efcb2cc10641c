"""What other work on the machine costs a lesson: its seconds alone, and beside as many endless loops as there are cores.

    .venv/bin/python benchmarks/busy.py                      # all lessons in profile smoke, on a quiet machine
    .venv/bin/python benchmarks/busy.py 00 --profile cpu     # one lesson at the sizes of a laptop

A student's laptop runs a browser and a video call beside the kernel. The two runs of a lesson follow each other; the aim
is at most 2.5 times the seconds. Wall time of papermill's run, without the kernel's start. Each lesson is kept in
`out/busy.json` as soon as it is measured: broken off and started again, the benchmark goes on with the next one. What was
measured at another commit is measured anew.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from course_utils import files
from course_utils.conventions import PROFILES
from course_utils.notebooks.find import Lesson, find_lessons, find_root
from course_utils.running.runner import run_lessons
from course_utils.running.runs import Options

AIM = 2.5
LINE = "{:40}{:>10}{:>10}{:>8}{:>8}"


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


def measure(lesson: Lesson, profile: str) -> dict[str, float]:
    """A lesson's seconds `alone` and `busy`; `others` is what the machine did beside before, in percent of its cores."""
    others = psutil.cpu_percent(interval=1.0)
    alone = seconds(lesson, profile)
    with busy_cores():
        return {"alone": alone, "busy": seconds(lesson, profile), "others": others}


def line(name: str, result: dict[str, float]) -> str:
    """One line of the table."""
    ratio = result["busy"] / result["alone"]
    columns = (f"{result['alone']:.1f} s", f"{result['busy']:.1f} s", f"{ratio:.2f}", f"{result['others']:.0f} %")
    return LINE.format(name, *columns)


def main(arguments: list[str]) -> None:
    """Measure what has not been measured yet, and print one line a lesson."""
    parser = argparse.ArgumentParser()
    parser.add_argument("lessons", nargs="*")
    parser.add_argument("--profile", default="smoke", choices=PROFILES)
    asked = parser.parse_args(arguments)
    root = find_root()
    kept = root / "out" / "busy.json"
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True).stdout.strip()
    known: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    done = known.get(commit, {})
    print(
        LINE.format(f"lesson ({asked.profile})", "alone", "busy", "ratio", "others"),
        f" (aim: at most {AIM})",
        flush=True,
    )
    ratios = []
    for lesson in find_lessons(asked.lessons, root):
        place = f"{lesson.path.stem} {asked.profile}"
        if place not in done:
            done[place] = measure(lesson, asked.profile)
            files.write_text(json.dumps({commit: done}, indent=1), kept)
        ratios.append(done[place]["busy"] / done[place]["alone"])
        print(line(lesson.path.stem, done[place]), flush=True)
    missed = sum(ratio > AIM for ratio in ratios)
    print(f"{len(ratios) - missed} of {len(ratios)} lessons within the aim; largest ratio {max(ratios):.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
