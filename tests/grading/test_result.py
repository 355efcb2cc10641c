"""A result is a type: nothing but a result can be read or made, and what is wrong with a file is said by name."""

import json
import math
import re

import msgspec
import pytest
from samples import hostile_result, mark, result

from course_utils.errors import CourseError
from course_utils.grading import result as results
from course_utils.grading.result import Graded, Mark, Result, from_json, points_text, to_json

# As version 1 has written it from the start: it must load for as long as the version is 1.
FILE = """{
 "version": 1,
 "key": "fadd149dabce599a-809ced4e53bcb1d7",
 "student": "Léa Example_1012",
 "file": "exampleal_1012_5012_02_lstm_gates.ipynb",
 "status": "graded",
 "reason": "",
 "seconds": 3.571,
 "peak_memory": 542343168,
 "notes": [
  "late: handed in at 2026-06-01 08:30:00 UTC, says the manifest"
 ],
 "exercises": [
  {
   "name": "lstm_update",
   "lesson": "02",
   "points": 0,
   "max_points": 2,
   "status": "diagnosed",
   "mistake": "squashed_memory",
   "message": "you squash the cell before storing it.",
   "seconds": 0.412
  },
  {
   "name": "lstm_gates",
   "lesson": "02",
   "points": 1.5,
   "max_points": 2,
   "status": "accepted",
   "mistake": null,
   "message": "Half of it",
   "seconds": 0.034
  }
 ],
 "late": true,
 "deadline": "2026-05-31T23:59:00+00:00",
 "course_version": "0.1.0 (autumn-2026)",
 "fingerprint": "0123456789abcdef0123456789abcdef"
}
"""


def file(**changes):
    """The file with other fields; `...` for a field leaves it out."""
    return json.dumps({name: value for name, value in (json.loads(FILE) | changes).items() if value is not Ellipsis})


def marks(**changes):
    """The exercises of the file, the second one with other fields."""
    first, second = json.loads(FILE)["exercises"]
    return [first, {name: value for name, value in (second | changes).items() if value is not Ellipsis}]


def test_todays_file_loads_and_is_written_back_as_it_was():
    loaded = from_json(FILE.encode())
    assert (loaded.student, loaded.late, loaded.points, loaded.max_points) == ("Léa Example_1012", True, 1.5, 4)
    assert loaded.marks[0].mistake == "squashed_memory" and loaded.marks[1].is_solved
    assert json.loads(to_json(loaded)) == json.loads(FILE)
    assert to_json(loaded).decode().splitlines()[:14] == FILE.splitlines()[:14], "one line a field, whose it is first"


@pytest.mark.parametrize(
    "one", [result(), result(marks=[]), hostile_result('"\\\u2028\x00é')], ids=["plain", "empty", "odd"]
)
def test_a_result_is_read_back_as_it_was(one):
    assert from_json(to_json(one)) == one


def test_fields_that_came_later_may_be_missing_and_others_may_be_there():
    older = file(
        deadline=..., course_version=..., peak_memory=..., fingerprint=..., exercises=marks(mistake=..., seconds=...)
    )
    assert from_json(older.encode()).marks[1] == msgspec.structs.replace(from_json(FILE.encode()).marks[1], seconds=0.0)
    newer = file(grader="another", exercises=marks(colour="green"))
    assert from_json(newer.encode()) == from_json(FILE.encode())


NO_TEXT, NO_NUMBER, NO_LIST = (None, 3, ["x"]), (None, "3", True), (None, "x", {})
FIELDS = {
    **dict.fromkeys(
        ("key", "student", "file", "status", "reason", "deadline", "course_version", "fingerprint"), NO_TEXT
    ),
    **{
        "seconds": NO_NUMBER,
        "peak_memory": NO_NUMBER,
        "late": (None, 1, "true"),
        "notes": NO_LIST,
        "exercises": NO_LIST,
    },
}
MARK_FIELDS = {
    **dict.fromkeys(("name", "lesson", "status", "message"), NO_TEXT),
    **{"points": NO_NUMBER, "max_points": NO_NUMBER, "mistake": (3, ["x"]), "seconds": NO_NUMBER},
}


def refusal(data):
    with pytest.raises(CourseError, match="not a result of this grader") as refused:
        from_json(data.encode())
    assert str(refused.value).endswith("Delete the file and grade again.")
    return str(refused.value)


def test_every_field_is_among_those_tried():
    assert {*FIELDS, "version"} == {field.encode_name for field in msgspec.structs.fields(Result)}
    assert {*MARK_FIELDS} == {field.encode_name for field in msgspec.structs.fields(Mark)}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in FIELDS.items() for value in values])
def test_a_field_of_another_type_is_named_with_its_value(field, value):
    assert f": {field} is {value!r} (expected " in refusal(file(**{field: value}))


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in MARK_FIELDS.items() for value in values]
)
def test_a_field_of_an_exercise_that_has_another_type_is_named_with_its_value(field, value):
    assert f": exercises[1].{field} is {value!r} (expected " in refusal(file(exercises=marks(**{field: value})))


@pytest.mark.parametrize(
    "field", ["key", "student", "file", "status", "reason", "late", "seconds", "notes", "exercises"]
)
def test_a_field_that_is_missing_is_named(field):
    assert f"missing required field `{field}`" in refusal(file(**{field: ...}))


@pytest.mark.parametrize("field", ["name", "lesson", "points", "max_points", "status", "message"])
def test_a_field_of_an_exercise_that_is_missing_is_named(field):
    assert f"exercises[1]: Object missing required field `{field}`" in refusal(file(exercises=marks(**{field: ...})))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 2}, "version 1 was expected, and it is 2"),
        ({"version": ...}, "version 1 was expected, and it is None"),
        ({"status": "fine"}, "the status is 'fine', not one of graded, student_error"),
        ({"exercises": ["x"]}, "exercises[0] is 'x' (expected `object`"),
        ({"notes": ["fine", 3]}, "notes[1] is 3 (expected `str`"),
        ({"exercises": marks(points=3)}, "exercises[1]: 3 of 2 points"),
        ({"exercises": marks(points=-1)}, "exercises[1]: -1 of 2 points"),
        ({"exercises": marks(points=math.nan)}, "exercises[1]: nan of 2 points"),
        ({"exercises": marks(max_points=math.inf)}, "exercises[1]: 1.5 of inf points"),
        ({"exercises": marks(status="great")}, "exercises[1]: the status is 'great', not one of right, nearly right"),
        ({"seconds": math.inf}, "inf seconds"),
        ({"student": "\x1b[31m" + "x" * 1000, "late": "\x1b[31m" + "x" * 1000}, "late is '\\x1b[31mxxx"),
    ],
)
def test_what_no_result_can_have_is_named(changes, said):
    told = refusal(file(**changes))
    assert said in told and len(told) < 400 and told.isprintable()


@pytest.mark.parametrize("data", ["", "{", "[]", "null", '"x"', "[" * 100_000, FILE[:200], "\ud800"])
def test_what_is_no_json_object_is_refused(data):
    with pytest.raises(CourseError, match="grade again"):
        from_json(data.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("points", [-1, 3, math.nan, math.inf])
def test_points_out_of_bounds_cannot_be_made(points):
    with pytest.raises(ValueError, match="of 2 points"):
        mark(points=points)
    with pytest.raises(ValueError, match="of 2 points"):
        msgspec.structs.replace(mark(), points=points)


def test_a_status_without_words_cannot_be_made():
    with pytest.raises(ValueError, match="'great'"):
        mark(status="great")
    with pytest.raises(ValueError, match="'great'"):
        Graded(status="great", reason="", seconds=0.0, notes=(), marks=())


def test_nothing_of_a_result_can_be_changed_in_place():
    with pytest.raises(AttributeError):
        result().status = "graded"
    with pytest.raises(AttributeError):
        mark().points = 2


def test_points_are_written_without_superfluous_digits():
    assert [points_text(value) for value in (2, 2.0, 0, 0.5, 1.255, 100)] == ["2", "2", "0", "0.5", "1.25", "100"]


def test_every_group_of_statuses_has_a_place_in_the_bars():
    from course_utils.grading.pages import GROUPS

    assert {word.group for word in results.WORDS.values()} == set(GROUPS)
    assert set(results.NOT_FINAL) < set(results.STATES)


def test_a_name_loses_only_the_number_of_an_lms():
    names = ["Ada Example_1001", "ada_b_7", "ada", "ada_x", "_7", "\u202e_7"]
    assert [results.display_name(name) for name in names] == ["Ada Example", "ada_b", "ada", "ada_x", "_7", "�"]
    assert re.fullmatch(r"[^_]+", result().display_name)
