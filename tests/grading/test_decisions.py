"""A person's decisions: asked for, read back, and applied to the reports alone."""

import csv

import pytest
from samples import mark, result

from course_utils.errors import CourseError
from course_utils.grading import decisions

WAITS = mark("lstm_gates", "needs_review", 0)
DONE = result(marks=[mark("lstm_update", "right", 2)])


def waiting(student="Eva Example_1005", key="k1", marks=(WAITS, *DONE.marks), **fields):
    """A submission one of whose exercises waits for a person."""
    return result(student, key, "needs_review", marks, **fields)


def rows(path):
    assert path.read_bytes().startswith(b"\xef\xbb\xbf"), "else Excel spoils the names"
    with open(path, newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def fill(path, **cells):
    """Fill in the first line, as a person would."""
    lines = rows(path)
    lines[0] |= cells
    with open(path, "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, decisions.COLUMNS)
        writer.writeheader()
        writer.writerows(lines)


def around(results, path):
    """What a run does with the file: read, apply, ask."""
    said = decisions.read(path)
    after = decisions.apply(results, said)
    return after, decisions.ask(after, said, path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / decisions.NAME


def test_without_anything_to_decide_there_is_no_file(path):
    done = [DONE]
    assert around(done, path) == (done, 0)
    assert not path.exists()


def test_an_exercise_that_waits_gets_a_line_and_nothing_changes(path):
    results = [waiting()]
    assert around(results, path) == (results, 1)
    (line,) = rows(path)
    assert (line["key"], line["exercise"], line["maximum"], line["points"]) == ("k1", "lstm_gates", "2", "")
    assert around(results, path) == (results, 1)
    assert len(rows(path)) == 1


def test_a_reason_that_was_filled_in_without_points_stays(path):
    around([waiting()], path)
    fill(path, reason="Ask Eva first.")
    assert around([waiting()], path)[1] == 1
    assert [(line["points"], line["reason"]) for line in rows(path)] == [("", "Ask Eva first.")]


@pytest.mark.parametrize(("points", "status"), [("2", "accepted"), ("0.5", "accepted"), ("0", "declined")])
def test_points_that_were_filled_in_settle_the_submission(path, points, status):
    results = [waiting()]
    around(results, path)
    fill(path, points=points, reason="Shown in the tutorial.")
    (after,), count = around(results, path)
    assert count == 0 and after.status == "graded"
    assert after.marks[0] == mark("lstm_gates", status, float(points), message="Shown in the tutorial.")
    assert (after.points, after.max_points) == (2 + float(points), 4)
    assert results == [waiting()], "the results themselves stay as they were graded"
    assert around(results, path)[0] == [after], "the line stays"


def test_a_settled_submission_whose_process_had_ended_says_so(path):
    ended = waiting(reason="lstm_update: its process was killed")
    around([ended], path)
    fill(path, points="2")
    (after,), count = around([ended], path)
    assert count == 0 and after.status == "student_error"


def test_another_version_of_the_file_waits_again(path):
    around([waiting()], path)
    fill(path, points="2")
    (after,), count = around([waiting(key="k2")], path)
    assert count == 1 and after.status == "needs_review"
    assert [line["key"] for line in rows(path)] == ["k2", "k1"]


def test_while_another_exercise_waits_the_submission_waits(path):
    two = waiting(marks=[mark(name, "needs_review", 0) for name in ("lstm_gates", "lstm_update")])
    around([two], path)
    fill(path, points="2")
    (after,), count = around([two], path)
    assert count == 1 and after.status == "needs_review"


def test_a_person_may_overrule_any_exercise(path):
    around([waiting()], path)
    fill(path, points="1", exercise="lstm_update")
    mistaken = mark("lstm_update", "diagnosed", 0, mistake="squashed_memory")
    (after,), _ = around([waiting(marks=[WAITS, mistaken])], path)
    assert after.marks[1] == mark("lstm_update", "accepted", 1, message="a person has looked at it.")
    assert after.status == "needs_review"


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"points": "two"}, "row 2: 'two' is no number"),
        ({"points": "3"}, "k1.ipynb: lstm_gates gives 0 to 2 points, not 3"),
        ({"points": "-1"}, "not -1"),
        ({"points": "nan"}, "not nan"),
        ({"points": "inf"}, "not inf"),
        ({"points": "1", "exercise": "lstm_gate"}, "has no exercise 'lstm_gate'"),
    ],
)
def test_a_line_that_makes_no_sense_is_refused_and_nothing_is_lost(path, cells, said):
    around([waiting()], path)
    fill(path, **cells)
    before = path.read_bytes()
    with pytest.raises(CourseError, match=said):
        around([waiting()], path)
    assert path.read_bytes() == before


def test_a_reason_without_points_is_not_lost(path):
    around([waiting()], path)
    fill(path, reason="ask Eva first")
    (_,), count = around([waiting()], path)
    assert count == 1
    assert [(line["points"], line["reason"]) for line in rows(path)] == [("", "ask Eva first")]


def test_a_file_with_other_columns_is_refused(path):
    path.write_text("student;points\nEva;2\n")
    with pytest.raises(CourseError, match="with commas"):
        decisions.read(path)


def test_names_cannot_become_formulas(path):
    around([waiting(student="=1+2_7")], path)
    assert rows(path)[0]["student"].startswith("'=")
