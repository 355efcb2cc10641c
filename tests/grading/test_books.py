"""Grade books and Gradescope's files: exact columns, sums that add up, and no cell that a spreadsheet would compute."""

import csv
import io
import json
import re

import msgspec
import pytest
from samples import HOSTILE, hostile_result, mark, result

from course_utils.grading import books
from course_utils.grading.cohort import students


def rows(text):
    return list(csv.reader(io.StringIO(text, newline="")))


# -- injection ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_no_cell_is_a_formula_whatever_separates_the_columns(text, delimiter):
    cohort = students(
        [hostile_result(text), msgspec.structs.replace(hostile_result(text, text + "_12", "k2"), status="graded")]
    )
    for table in (books.grades_csv(cohort), books.canvas_csv(cohort, text), books.moodle_csv(cohort)):
        for row in csv.reader(io.StringIO(table, newline=""), delimiter=delimiter):
            for cell in row:
                if delimiter == "," and cell == "-":
                    continue  # Moodle's own sign for no date
                bad = re.match(r"[\s\"]*[=+@|%＝＋＠\-－−]", cell)
                assert bad is None or cell.startswith("'"), repr(cell)
        assert not re.search(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]", table)


def test_a_name_cannot_add_rows_or_columns():
    cohort = students([result('a","9"\r\n"b;\n'), result("c", "k2")])
    table = rows(books.canvas_csv(cohort, "Lesson 02"))
    assert [len(row) for row in table] == [6] * 4


def test_a_student_called_points_possible_does_not_set_the_maximum():
    table = rows(books.canvas_csv(students([result("points POSSIBLE_7")]), "Lesson 02"))
    assert sum("points possible" in row[0].lower() for row in table) == 1
    assert table[2][0] == "points_possible" and table[2][1] == "7"


def test_terminal_codes_do_not_reach_gradescope():
    text = json.dumps(books.gradescope(hostile_result("\x1b[31mred\x07\u202e")), ensure_ascii=False)
    assert "red" in text and not re.search(r"\\u00|[\x00-\x1f\x7f-\x9f\u202e]", text)


# -- tables ------------------------------------------------------------------------------------------------------


def test_canvas_gets_its_columns_in_its_order():
    cohort = students([result("Ada Example_1001"), result("ben", "k2")])
    assert rows(books.canvas_csv(cohort, "Lesson 02")) == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Lesson 02"],
        ["    Points Possible", "", "", "", "", "3"],
        ["Ada Example", "1001", "", "", "", "2"],
        ["ben", "", "", "ben", "", "2"],
    ]


def test_moodle_gets_its_columns_and_only_participants():
    cohort = students([result("Ada Example_1001"), result("ben", "k2")])
    assert rows(books.moodle_csv(cohort)) == [
        ["Identifier", "Full name", "Grade", "Maximum Grade", "Last modified (grade)", "Feedback comments"],
        ["Participant 1001", "Ada Example", "2", "3", "-", "Right: lstm_gates. Not yet: lstm_update."],
    ]


def test_the_overview_has_a_column_an_exercise_and_the_points_add_up():
    unreadable = result("Cid_3", "k3", "unreadable", [mark(status="missing", points=0)], reason="no notebook")
    cohort = students([result(), result("Ben_2", "k2", late=True), unreadable])
    head, *lines = rows(books.grades_csv(cohort))
    assert tuple(head) == (*books.OVERVIEW_COLUMNS, "02 lstm_gates", "02 lstm_update")
    for line in lines:
        row = dict(zip(head, line, strict=True))
        exercises = [float(row[name]) for name in head[-2:] if row[name]]
        assert float(row["Points"]) == float(row["Grade"]) == sum(exercises)
    assert [line[head.index("Late")] for line in lines] == ["", "late", ""]
    assert [line[head.index("Notes")] for line in lines] == ["", "", "no notebook"]


@pytest.mark.parametrize("status", ["needs_review", "infra_error"])
def test_an_open_submission_has_no_grade_rather_than_zero(status):
    cohort = students([result(status=status)])
    assert cohort[0].points is None
    assert len(rows(books.canvas_csv(cohort, "L"))) == 2, "Canvas would take an empty cell for: take the grade away"
    assert len(rows(books.moodle_csv(cohort))) == 1
    head, line = rows(books.grades_csv(cohort))
    assert (line[head.index("Grade")], line[head.index("Why no grade")]) == ("", status)


def test_half_a_point_reaches_every_book():
    nearly = mark("open_forget_gate", "nearly right", 0.5, 1, message="nearly right, except where the value is 0.")
    half = result(marks=[mark(), nearly, mark("lstm_update", "wrong", 0, 1)])
    cohort = students([half])
    head, line = rows(books.grades_csv(cohort))
    assert (line[head.index("Grade")], line[head.index("02 open_forget_gate")]) == ("2.5", "0.5")
    assert rows(books.canvas_csv(cohort, "L"))[2][-1] == "2.5"
    moodle = rows(books.moodle_csv(cohort))[1]
    assert moodle[2:4] == ["2.5", "4"]
    assert moodle[5] == "Right: lstm_gates. Nearly right: open_forget_gate. Not yet: lstm_update."
    content = books.gradescope(half)
    assert content["score"] == 2.5
    assert [(test["score"], test["status"]) for test in content["tests"]] == [
        (2, "passed"),
        (0.5, "failed"),
        (0, "failed"),
    ]


# -- Gradescope --------------------------------------------------------------------------------------------------


def test_gradescope_gets_one_test_an_exercise():
    content = books.gradescope(result(notes=("a note",), reason="the reason"))
    assert set(content) == {
        *(
            "score",
            "execution_time",
            "output",
            "output_format",
            "visibility",
            "stdout_visibility",
            "tests",
            "extra_data",
        )
    }
    assert content["score"] == sum(test["score"] for test in content["tests"]) == 2
    assert content["output"] == "the reason\na note"
    assert content["tests"][1] == {
        **{"name": "02 lstm_update", "score": 0, "max_score": 1, "status": "failed", "output": "no."},
        **{"output_format": "text", "name_format": "text", "visibility": "visible"},
    }


def test_gradescope_gets_no_score_for_what_was_not_graded():
    with pytest.raises(ValueError, match="was not graded"):
        books.gradescope(result(status="infra_error"))
