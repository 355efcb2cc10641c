"""Names that students chose become names that can be shown, and names of files."""

import unicodedata
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import HOSTILE, result

from course_utils.grading import reports
from course_utils.grading.cohort import feedback_name, plain_name
from course_utils.grading.submissions import collect, identify
from course_utils.grading.text import NAME_LIMIT, printable
from course_utils.grading.untrusted import SubmissionError

PIECES = (
    "/",
    "//",
    "..",
    ".",
    "\\",
    "_",
    "_LATE_",
    "_12",
    "_34_56_",
    "assignsubmission_file",
    "Ada",
    " ",
    "\n",
    "C:",
    "é",
)
texts = st.text(st.characters(), max_size=40) | st.lists(st.sampled_from(PIECES), max_size=10).map("".join)
texts |= st.sampled_from(HOSTILE)
paths = texts.map(lambda text: f"{text}.ipynb")


def assert_fit_to_be_shown(name: str) -> None:
    """One line, not empty, not too long, of characters that can be seen and written to any file."""
    assert 0 < len(name) <= NAME_LIMIT
    assert name == " ".join(name.split())
    assert not [character for character in name if unicodedata.category(character)[0] == "C"]
    name.encode()


@given(texts, st.integers(1, 200))
def test_what_is_printable_stays_as_it_is(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert len(shown) <= limit
    assert printable(shown, limit) == shown
    assert not [character for character in shown if unicodedata.category(character)[0] == "C"]


@given(paths, st.integers(0, 3))
def test_every_path_belongs_to_somebody_with_a_name_that_can_be_shown(path: str, levels: int) -> None:
    folders = path.lstrip("/").split("/")[:-1]
    student, late = identify(path, "/".join(folders[:levels]))
    assert_fit_to_be_shown(student)
    assert isinstance(late, bool)


@given(texts, st.text())
def test_feedback_is_named_as_its_pattern_says_and_by_no_student_alone(student: str, key: str) -> None:
    name = feedback_name(result(student, key))
    assert reports.FEEDBACK_NAME.fullmatch(name)
    assert len(name) <= 60
    assert feedback_name(result(student, key + "'")) != name


@given(texts)
def test_a_plain_name_is_a_name_on_every_system(name: str) -> None:
    assert set(plain_name(name)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert 0 < len(plain_name(name)) <= 40


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(paths | texts.filter(bool), max_size=4))
def test_every_zip_is_listed_with_names_that_can_be_shown_or_refused_as_a_whole(
    tmp_path: Path, names: list[str]
) -> None:
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name.encode("utf-8", "replace").decode(), "{}")
    try:
        collection = collect(path)
    except SubmissionError:
        return
    for entry in collection.entries:
        assert_fit_to_be_shown(entry.student)
        assert_fit_to_be_shown(entry.file)
        submission = entry.read()
        assert submission.reason or submission.cells is not None
