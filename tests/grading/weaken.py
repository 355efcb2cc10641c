"""Take one protection away from the grader at a time, and see its test fail: proof that the attack suite can.

    OMP_NUM_THREADS=1 python tests/grading/weaken.py                # all: about 15 minutes on one core
    OMP_NUM_THREADS=1 python tests/grading/weaken.py zip reports    # those whose case, file or test has such a word

The weakenings stand in `weakenings.py`. Each is made in a copy of the repository, never in place, and only its test is
run there, which must pass before. Prints a table; exits with 1 unless every weakening was caught. A weakened test may
start what the grader would have stopped: all attacks are bounded by themselves, and a run ends after 100 seconds.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from weakenings import ROOT, WEAKENINGS, Weakening, path_of

COPIED = ("course_utils", "notebooks", "tests", "pyproject.toml")
SECONDS = 100.0  # for one run of pytest; all tests together, once, get more


def main(words: Sequence[str]) -> int:
    """Run the weakenings that one of the words chooses, or all; 1 if one of them was not caught."""
    chosen = [one for one in WEAKENINGS if not words or any(word in f"{one} {one.file} {one.test}" for word in words)]
    if not chosen:
        print(f"no weakening has {' or '.join(words)} in its case, file or test")
        return 1
    with tempfile.TemporaryDirectory(prefix="weaken-") as folder:
        copy = Path(folder)
        copy_repository(copy)
        sound = unweakened(copy, sorted({one.test for one in chosen}))
        missed = [one for one in chosen if not report(one, sound[one.test] or weakened(copy, one))]
    print(f"{len(chosen) - len(missed)} of {len(chosen)} weakenings were caught")
    return 1 if missed else 0


def report(one: Weakening, outcome: str) -> bool:
    """Print a line of the table; whether the weakening was caught."""
    print(f"{outcome:<9} {one.test:<80} {one}", flush=True)
    return outcome == "caught"


def copy_repository(target: Path) -> None:
    """Copy what the tests need."""
    ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in COPIED:
        source = ROOT / name
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=ignored)
        else:
            shutil.copy(source, target / name)


def unweakened(copy: Path, tests: list[str]) -> dict[str, str]:
    """For each test "" if it passes as things are; "UNSOUND" if it fails or is skipped, and so proves nothing."""
    start = time.monotonic()
    lines = pytest(copy, tests, SECONDS * 10)[1].splitlines()
    found = {}
    for test in tests:
        known = re.compile(rf"(PASSED|FAILED|ERROR) {re.escape(called(test))}(?=\[| |$)")
        said = {match[1] for match in map(known.match, lines) if match}
        found[test] = "" if said == {"PASSED"} else "UNSOUND"
    seconds = time.monotonic() - start
    print(f"{list(found.values()).count('')} of {len(tests)} tests pass as things are ({seconds:.0f} s)", flush=True)
    return found


def weakened(copy: Path, one: Weakening) -> str:
    """ "caught" if the test fails with this weakening; else "SURVIVED", "BROKEN" (it did not run), or what is stale."""
    path = copy / one.file
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(one.applied(text), encoding="utf-8")
        code, output = pytest(copy, [one.test], SECONDS)
    except ValueError:
        return "STALE"
    finally:
        path.write_text(text, encoding="utf-8")
    summary = output.strip().rpartition("\n")[2]
    if code == 0:
        return "SURVIVED"
    return "caught" if code == 1 and "failed" in summary and "error" not in summary else "BROKEN"


def pytest(copy: Path, tests: list[str], seconds: float) -> tuple[int, str]:
    """The exit status and the output of these tests, run in the copy; -1 where they take too long."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "--tb=no", "-p", "no:cacheprovider", *map(called, tests)]
    if len(tests) == 1:
        command.append("-x")
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return -1, ""
    return done.returncode, done.stdout


def called(test: str) -> str:
    """What pytest calls a test."""
    module, _, name = test.partition("::")
    return f"{path_of(module).relative_to(ROOT)}::{name}"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
