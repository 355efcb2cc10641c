"""What students call runs where there is no fcntl, no fork, none of POSIX's signals, and no UTF-8: Windows.

Pyright knows what each module has on Windows, and looks at every line; a run shows what imports and notebooks do. The
workflow `systems` runs unit tests and two lessons on Windows and macOS themselves.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WITHOUT_POSIX = ROOT / "tests" / "without_posix"
LESSON = "02a"  # one of the quickest
OF_LINUX = ("course_utils/grading/", "course_utils/boxed/frames.py")  # grading needs Linux
# Names that are only used where they are there, after a look that pyright does not understand.
LOOKED_FOR = {("course_utils/files.py", name) for name in ("flock", "LOCK_EX", "LOCK_NB")}
LOOKED_FOR |= {("course_utils/command/results.py", "sched_getaffinity")}
AN_ERROR = re.compile(r"(course_utils/\S+?):\d+:\d+ - error: (?:\"(\w+)\")?")


def bare(tmp_path: Path) -> dict[str, str]:
    """The environment of a Windows console that is as poor as they come: letters of ASCII, and nothing of POSIX."""
    poor = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "PYTHONIOENCODING": "cp1252"}
    course = {"COURSE_PROFILE": "smoke", "COURSE_OFFLINE": "1", "COURSE_CACHE": str(tmp_path / "cache")}
    log = {"WITHOUT_POSIX_LOG": str(tmp_path / "log"), "PYTHONPATH": str(WITHOUT_POSIX)}
    return {name: value for name, value in os.environ.items() if name != "LANG"} | poor | course | log


def python(tmp_path: Path, *arguments: str) -> str:
    """What Python says in there. Fails where it ends with an error."""
    command, place = [sys.executable, *arguments], ROOT
    done = subprocess.run(command, cwd=place, env=bare(tmp_path), capture_output=True, encoding="cp1252", timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("line", ["import fcntl", "import os; os.fork", "from signal import SIGKILL"])
def test_what_windows_lacks_is_hidden_from_the_course_alone(line: str, tmp_path: Path) -> None:
    refused = f"exec({line!r}, {{'__name__': 'course_utils.files'}})"
    told = f"try: {refused}\n    except (ImportError, AttributeError) as e: print(e)".replace("\n    ", "\n")
    assert "Windows" in python(tmp_path, "-c", told) or "cannot import name" in python(tmp_path, "-c", told)
    assert python(tmp_path, "-c", f"exec({line!r}, {{'__name__': 'psutil'}})") == ""


def test_files_are_written_without_locks(tmp_path: Path) -> None:
    code = "from pathlib import Path; from course_utils import files; print(files.fcntl)\n"
    code += f"for word in ('one', 'two'): files.write_text(word, Path({str(tmp_path / 'file')!r}))"
    assert python(tmp_path, "-c", code) == "None\n"
    assert (tmp_path / "file").read_text() == "two" and not list(tmp_path.glob(".file*"))


@pytest.mark.long
def test_a_lesson_runs_and_so_do_the_commands_of_students(tmp_path: Path) -> None:
    out = tmp_path / "out"
    course = ("-m", "course_utils")
    assert "1 of 1 lessons passed" in python(tmp_path, *course, "run", LESSON, "--out", str(out))
    kernels = [line for line in (tmp_path / "log").read_text().splitlines() if "ipykernel" in line]
    assert len(kernels) == 1  # so it was hidden there, too
    assert "lessons: " in python(tmp_path, *course, "doctor")
    assert "solved in" in python(tmp_path, *course, "solve", LESSON, "--out", str(tmp_path / "solved.ipynb"))
    text = tmp_path / "my.txt"
    text.write_text("To be, or not to be: that is the question. " * 200)
    trained = python(tmp_path, *course, "train-gpt", "--corpus", str(text), "--steps", "2", "--out", str(out / "gpt"))
    assert "Written: " in trained


@pytest.mark.long
def test_no_line_that_students_reach_names_what_windows_or_macos_lacks() -> None:
    for platform in ("Windows", "Darwin"):
        command = [sys.executable, "-m", "pyright", f"--pythonplatform={platform}"]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8").stdout
        wrong = [AN_ERROR.search(line.replace("\\", "/")) for line in said.splitlines() if " - error: " in line]
        assert wrong and all(wrong), said  # of Linux there is much, so it has looked
        found = {match.groups() for match in wrong if match}
        assert {(file, name) for file, name in found - LOOKED_FOR if not file.startswith(OF_LINUX)} == set(), platform
