"""What the helpers cost a student: seconds to import them beyond torch, and to check one exercise.

    .venv/bin/python benchmarks/helpers.py

CPU seconds on one thread, the best of five; a check is timed for the reference and for each named mistake, because
a wrong answer is looked at more closely than a right one.
"""

import subprocess
import sys
import time

MODULES = ("runtime", "data", "training", "plots", "widgets", "evaluate", "exercises")
IMPORTS = "import time, torch; start = time.process_time(); import course_utils, {}; print(time.process_time() - start)"


def import_seconds() -> float:
    """CPU seconds of importing every helper that lessons use, after torch."""
    code = IMPORTS.format(", ".join(f"course_utils.{name}" for name in MODULES))
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(5)]
    return min(float(run.stdout) for run in runs)


def check_seconds(name: str) -> tuple[float, float]:
    """CPU seconds of checking the reference, and of the slowest named mistake."""
    from course_utils import exercises
    from course_utils.exercises.catalogue import definition

    def once(candidate) -> float:
        start = time.process_time()
        exercises.check(name, candidate)
        return time.process_time() - start

    exercise = definition(name)
    slowest = max(min(once(mistake.function) for _ in range(5)) for mistake in exercise.mistakes.values())
    return min(once(exercise.reference) for _ in range(5)), slowest


def main() -> None:
    """Print both tables."""
    import torch

    from course_utils import exercises

    torch.set_num_threads(1)
    print(f"import course_utils and {', '.join(MODULES)}, beyond torch: {import_seconds():.2f} s")
    print(f"\n{'exercise':32}{'right':>10}{'slowest mistake':>18}")
    for name in exercises.names():
        right, wrong = check_seconds(name)
        print(f"{name:32}{right:8.3f} s{wrong:16.3f} s")


if __name__ == "__main__":
    main()
