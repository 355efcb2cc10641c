"""The reports: all of them written, linked, and none left over from an earlier run."""

import re
import zipfile

from samples import HOSTILE, mark, result

from course_utils.grading import reports
from course_utils.grading.cohort import feedback_name


def feedback(out):
    """The pages by the plain names of their students."""
    return {path.stem.rpartition("-")[0]: path.read_bytes() for path in (out / "feedback").glob("*.html")}


def test_all_reports_are_written_and_linked(tmp_path):
    results = [result(), result("Ben_2", "k2", "infra_error"), result(HOSTILE[0], "../../k3")]
    paths = reports.write(results, tmp_path, "Lesson 02")
    assert paths[0] == tmp_path / "index.html" and all(path.is_file() for path in paths)
    assert all(tmp_path in path.resolve().parents for path in paths)
    links = re.findall(r'href="([^"]+)"', paths[0].read_text(encoding="utf-8"))
    assert links and all((tmp_path / link).is_file() for link in links)
    assert len(list(tmp_path.glob("feedback/*.html"))) == 3
    assert len(list(tmp_path.glob("gradescope/*/results.json"))) == 2, "none for the one that was not graded"
    before = {path: path.read_bytes() for path in paths}
    assert {path: path.read_bytes() for path in reports.write(results, tmp_path, "Lesson 02")} == before


def test_moodle_gets_the_pages_of_those_who_have_a_grade_under_names_that_last(tmp_path):
    waits = result("Bo_1002", "k2", "needs_review", [mark(status="needs_review", points=0)])
    many = [result("Zoë van der Ä_x_1003", key) for key in ("k3", "k4")]
    reports.write([result(), waits, result("ben", "k5"), *many], tmp_path)
    with zipfile.ZipFile(tmp_path / "feedback-moodle.zip") as archive:
        pages_of = {name: archive.read(name) for name in archive.namelist()}
    sent = {name: page in pages_of.values() for name, page in feedback(tmp_path).items()}
    assert sent == {"ada-example": True, "bo": False, "ben": False, "zoe-van-der-a-x": True}
    folders = "ada-example_1001_assignsubmission_file", "zoe-van-der-a-x_1003_assignsubmission_file"
    wanted = [f"{folders[0]}/feedback.html", f"{folders[1]}/feedback.html", f"{folders[1]}/feedback-2.html"]
    assert list(pages_of) == wanted
    for name in wanted:  # as Moodle reads them
        _, number, kind, plugin = name.split("/")[0].split("_", 4)
        assert number.isdecimal() and (kind, plugin) == ("assignsubmission", "file")
    reports.write([result(key="another", status="unreadable", marks=[mark(status="missing", points=0)])], tmp_path)
    with zipfile.ZipFile(tmp_path / "feedback-moodle.zip") as archive:
        assert archive.namelist() == wanted[:1] and archive.read(wanted[0]) != pages_of[wanted[0]]


def test_feedback_of_an_earlier_run_does_not_stay(tmp_path):
    reports.write([result(), result("Ben_2", "k2")], tmp_path)
    mine = tmp_path / "feedback" / "read-me.html"
    mine.write_text("the instructor's own", encoding="utf-8")
    reports.write([result(key="handed in again")], tmp_path)
    left = {path.name for path in tmp_path.glob("feedback/*")}
    assert left == {mine.name, feedback_name(result(key="handed in again"))}
    assert len(list(tmp_path.glob("gradescope/*"))) == 1


def test_excel_is_told_that_the_overview_is_utf_8_and_the_grade_books_stay_plain(tmp_path):
    reports.write([result("Zoë_1")], tmp_path)
    starts = {path.name: path.read_bytes()[:3] for path in tmp_path.glob("*.csv")}
    assert starts == {"grades.csv": b"\xef\xbb\xbf", "grades-canvas.csv": b"Stu", "grades-moodle.csv": b"Ide"}
