"""What the helpers cost a student: seconds to import them beyond torch, and to check one exercise.

    .venv/bin/python benchmarks/helpers.py          # all exercises
    .venv/bin/python benchmarks/helpers.py 02 05    # those of some lessons

CPU seconds on one thread, the best of five. A check is timed for the reference, for the named mistake that takes longest
when each is tried once, and for an answer that nobody recognises (`tests/exercises/answers.py`), at which is looked longest.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "exercises"))

MODULES = ("runtime", "data", "training", "plots", "widgets", "evaluate", "exercises")
IMPORTS = "import time, torch; start = time.process_time(); import course_utils, {}; print(time.process_time() - start)"


def import_seconds() -> float:
    """CPU seconds of importing every helper that lessons use, after torch."""
    code = IMPORTS.format(", ".join(f"course_utils.{name}" for name in MODULES))
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(5)]
    return min(float(run.stdout) for run in runs)


def check_seconds(name: str) -> tuple[float, float, float]:
    """CPU seconds of checking the reference, the slowest named mistake, and an answer that is not recognised."""
    from answers import unheard_of

    from course_utils import exercises
    from course_utils.exercises.catalogue import definition

    def seconds(candidate: Callable, times: int) -> float:
        runs = []
        for _ in range(times):
            start = time.process_time()
            exercises.check(name, candidate)
            runs.append(time.process_time() - start)
        return min(runs)

    exercise = definition(name)
    right = seconds(exercise.reference, 5)
    slowest = max((mistake.function for mistake in exercise.mistakes.values()), key=lambda wrong: seconds(wrong, 1))
    return right, seconds(slowest, 5), seconds(unheard_of(name), 5)


def main(lessons: list[str]) -> None:
    """Print the seconds of importing, and a line for each exercise."""
    import torch

    from course_utils import exercises
    from course_utils.exercises.catalogue import definition

    torch.set_num_threads(1)
    print(f"import course_utils and {', '.join(MODULES)}, beyond torch: {import_seconds():.2f} s")
    print(f"\n{'exercise':32}{'right':>10}{'known mistake':>16}{'unrecognised':>15}", flush=True)
    for name in exercises.names():
        if not lessons or definition(name).lesson in lessons:
            right, known, unknown = check_seconds(name)
            print(f"{name:32}{right:8.3f} s{known:14.3f} s{unknown:13.3f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
