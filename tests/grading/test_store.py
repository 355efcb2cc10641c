"""What a run keeps on the disk: whole or absent, for its owner alone; and what results depend on."""

import json
import re
import resource
import shutil
import stat
from pathlib import Path

import msgspec
import pytest
import structure
from samples import mark, result

from course_utils.errors import CourseError
from course_utils.grading import store
from course_utils.grading.checker import blank
from course_utils.grading.result import to_json
from course_utils.grading.store import GradingError
from course_utils.grading.submissions import Submission

NAMES = ["relu_backward", "truncate"]
MARK = msgspec.to_builtins(mark())


def test_a_result_that_the_system_really_refuses_to_write_leaves_no_half_file(tmp_path):
    files = store.ResultFiles(tmp_path, tuple(NAMES), b"secret")
    submission = Submission("key", "ann", "ann.ipynb", ())
    graded = blank("unreadable", "x", NAMES)
    files.write(submission, "f", graded)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(GradingError, match=r"key\.json cannot be written: File too large"):
            files.write(submission, "f", msgspec.structs.replace(graded, reason="x" * 100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["key.json"]
    assert json.loads((tmp_path / "key.json").read_text())["reason"] == "x"


def test_the_secret_is_made_once_readable_for_its_owner_only_and_another_may_be_given(tmp_path):
    path = tmp_path / "secret"
    made = store.read_secret(path, make=True)
    assert store.read_secret(path, make=True) == made and len(made) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert store.read_secret(tmp_path / "other", make=True) != made
    path.chmod(0o640)
    with pytest.raises(GradingError, match=r"mode 640\)\. Run: chmod 600"):
        store.read_secret(path, make=False)
    path.chmod(0o600)
    path.write_text("short")
    with pytest.raises(GradingError, match="5 bytes; at least 16"):
        store.read_secret(path, make=False)
    with pytest.raises(GradingError, match="cannot be read"):
        store.read_secret(tmp_path / "nowhere", make=False)


def test_the_course_version_says_which_commit_the_exercises_are_of():
    import importlib.metadata

    from course_utils.notebooks import find

    told = find.version()
    assert told.startswith(importlib.metadata.version("generative-networks-course") + " (")


DECIDE = [
    *("boxed/observe", "boxed/wire", "exercises/judge", "exercises/lessons/l02_lstm_gates", "grading/checker"),
    *("grading/result", "grading/submissions", "grading/untrusted", "grading/sandbox/box"),
]


@pytest.mark.parametrize("module", DECIDE)
def test_the_fingerprint_follows_the_code(monkeypatch, tmp_path, module):
    package = Path(store.__file__).parents[1]
    for folder in store.DECISIVE:
        shutil.copytree(package / folder, tmp_path / folder)
    monkeypatch.setattr(store, "__file__", str(tmp_path / "grading" / "store.py"))
    as_it_is = store.exercise_fingerprint()
    (tmp_path / f"{module}.py").write_text("x = 1")
    assert store.exercise_fingerprint() != as_it_is


def test_no_code_outside_of_the_fingerprint_decides_about_points():
    """What the checker, a box, and whoever reads submissions import lies in its folders, save what computes nothing."""
    arrows, reached = structure.arrows(), set()
    pending = ["grading.checker", "grading.submissions", "grading.sandbox.box", "boxed.serve"]
    while pending:
        reached.add(pending[-1])
        pending += arrows[pending.pop()] - reached
    assert {module for module in reached if module.split(".")[0] not in store.DECISIVE} == {
        "errors",
        "conventions",
        "display",
    }


def test_the_fingerprint_follows_the_packages(monkeypatch):
    as_it_is = store.exercise_fingerprint()
    monkeypatch.setattr("safetensors.__version__", "0.0")
    assert store.exercise_fingerprint() != as_it_is


# -- read back ---------------------------------------------------------------------------------------------------


def write(folder, one):
    (folder / f"{one.key}.json").write_bytes(to_json(one))


def test_results_are_read_back_in_order(tmp_path):
    for one in (result("b", "k1"), result("a", "k2")):
        write(tmp_path, one)
    assert [one.student for one in store.load(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "version 1"),
        ({"status": "fine"}, "the status is 'fine'"),
        ({"student": None}, "student is None"),
        ({"exercises": [{**MARK, "points": 3}]}, "3 of 2 points"),
        ({"exercises": [{**MARK, "points": float("nan")}]}, "nan of 2"),
        ({"exercises": [{**MARK, "status": "great"}]}, "'great'"),
        ({"exercises": ["x"]}, "exercises[0] is 'x'"),
    ],
)
def test_a_file_that_is_no_result_is_named(tmp_path, change, said):
    (tmp_path / "r.json").write_text(json.dumps({**json.loads(to_json(result())), **change}), encoding="utf-8")
    with pytest.raises(CourseError, match=re.escape(said)) as error:
        store.load(tmp_path)
    assert "r.json" in str(error.value) and "grade again" in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "r.json").mkdir()
    with pytest.raises(CourseError, match=r"r\.json cannot be read: Is a directory"):
        store.load(tmp_path)


def test_a_folder_without_results_is_said(tmp_path):
    with pytest.raises(CourseError, match="no results"):
        store.load(tmp_path)
