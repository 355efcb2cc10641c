"""The class: one row a student, with the grade that may be passed on and no other."""

import re

from samples import HOSTILE, mark, result

from course_utils.grading import books
from course_utils.grading.cohort import feedback_name, students


def test_two_names_with_one_number_are_one_line_of_a_grade_book():
    """Of two lines with one number a grade book would take the last, whoever had put that number into a name."""
    cohort = students([result(), result("zed_1001", key="k2", marks=[mark(points=0)])])
    assert [(row.identifier, row.points, row.why) for row in cohort] == [
        ("1001", None, "2 files with different points")
    ]
    assert len(books.canvas_csv(cohort, "L").splitlines()) == 2, "no row beside the head's two"
    others = students([result("Ada"), result("Ben", key="k2"), result("Ada_1", key="k3")])
    assert [(row.login, row.identifier) for row in others] == [("Ada", ""), ("", "1"), ("Ben", "")]


def test_two_files_of_a_student_need_the_same_points():
    same = students([result(), result(key="k2")])
    assert len(same) == 1 and same[0].points == 2
    differ = students([result(), result(key="k2", marks=[mark()]), result(key="k3", marks=[mark(points=0)])])
    assert differ[0].points is None and differ[0].why == "3 files with different points"


def test_feedback_files_are_never_the_same_and_have_plain_names():
    names = {feedback_name(result(student, f"k{i}")) for i, student in enumerate(HOSTILE)}
    assert len(names) == len(HOSTILE)
    assert all(re.fullmatch(r"[a-z0-9-]{1,60}\.html", name) for name in names)
