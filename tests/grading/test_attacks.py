"""Hostile notebooks all the way: through the checker, in real boxes, with the points that come of it.

The attacks are bounded, and each is shown to work where the grader's protection is missing.
"""

import json

import pytest
from test_box import LITTLE, children, running, wait_until

from course_utils.exercises.define import definition
from course_utils.exercises.observe import observe
from course_utils.grading import checker, demo, layout, submissions
from course_utils.grading.box import Box, NoBox

SECRET = b"a secret of this test"
RELU = definition("relu_backward").source()
TRUNCATE = definition("truncate").source()
STEP = definition("rnn_step").source()
UPDATE = definition("lstm_update").source()


@pytest.fixture(autouse=True, scope="module")
def box_is_possible():
    try:
        with Box(LITTLE, "") as box:
            box.wait(10)
    except NoBox as error:
        pytest.skip(f"no box can be made here: {error}")


def doing(name, body):
    """The exercise answered by this body."""
    return demo.answered(name, body)


def grade(names, *cells, student="ann", boxes=None):
    """The result file's fields; the boxes that it took go to `boxes`."""

    def factory():
        box = Box()
        if boxes is not None:
            boxes.append(box)
        return box

    return checker.grade(["import torch", *cells], names, student, SECRET, factory)


def marks(result):
    return {mark["name"]: (mark["status"], mark["points"]) for mark in result["exercises"]}


# -- what ends a process ---------------------------------------------------------------------------------------


def test_whoever_ends_the_process_loses_that_exercise_only():
    deaths = {
        "relu_backward": "import sys\nsys.exit(0)",
        "lstm_update": "import os\nos._exit(0)",
        "truncate": "import ctypes\nctypes.string_at(0)",
    }
    result = grade([*deaths, "rnn_step"], *(doing(name, body) for name, body in deaths.items()), STEP)
    assert marks(result) == {**dict.fromkeys(deaths, ("error", 0)), "rnn_step": ("right", 2)}
    assert result["status"] == "student_error"
    assert result["reason"] == "lstm_update: it exited with status 0; truncate: its process was killed"


NEVER_ENDS = """
import signal
for number in set(range(1, 65)) - {9, 19, 32, 33}:
    signal.signal(number, signal.SIG_IGN)
while True:
    try:
        while True:
            pass
    except BaseException:
        pass
"""


def test_a_function_that_never_ends_costs_its_exercise_and_leaves_no_process(monkeypatch):
    monkeypatch.setattr(checker, "TIME_LIMIT", 0.3)
    monkeypatch.setattr(checker, "FIRST_GRACE", 2.0)
    boxes, before = [], children()
    result = grade(["truncate", "rnn_step"], doing("truncate", NEVER_ENDS), STEP, boxes=boxes)
    assert marks(result) == {"truncate": ("error", 0), "rnn_step": ("right", 2)}
    assert result["reason"] == "truncate: it ran longer than the time limit"
    assert len(boxes) == 4  # two for the attempts, one for whether the machine is well, one for the next exercise
    assert not any(running(box._pid) for box in boxes) and children() == before


# -- notebooks that were changed -------------------------------------------------------------------------------

ASKED = ["lstm_gates", "lstm_update"]


def as_handed_in():
    """Lesson 02's notebook with one right and one mistaken answer."""
    return json.loads(demo._notebook({"lstm_update": demo.mistaken("lstm_update", "squashed_memory")}))


def stripped(notebook):
    for cell in notebook["cells"]:
        del cell["metadata"]
        cell.pop("id", None)
    del notebook["metadata"]


def with_other_points(notebook):
    for cell in notebook["cells"]:
        cell["metadata"] = {"points": 99, "nbgrader": {"grade": True, "points": 99, "solution": True}}
        if cell["cell_type"] == "code":
            source = "".join(cell["source"])
            cell["source"] = source + "\npoints = 99\nlstm_update = globals().get('lstm_update')\n"


def with_more_cells(notebook):
    more = ["x = [", "%matplotlib inline", "raise SystemExit", "def check(*anything): pass", "c = i = f = g = o = None"]
    added = [{"cell_type": "code", "source": source, "metadata": {}} for source in more]
    notebook["cells"] = [cell for old in notebook["cells"] for cell in (*added[:1], old, *added[1:])][:1500]


def moved(notebook):
    notebook["cells"].reverse()


def without_the_rest(notebook):
    notebook["cells"] = [cell for cell in notebook["cells"] if "def lstm_" in "".join(cell["source"])]
    notebook["cells"].insert(0, {"cell_type": "code", "source": "import torch"})


def doubled(notebook):
    notebook["cells"] += notebook["cells"]


CHANGES = [stripped, with_other_points, with_more_cells, moved, without_the_rest, doubled]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_was_done_to_the_rest_of_the_notebook_changes_no_point(change):
    notebook = as_handed_in()
    change(notebook)
    cells, _ = submissions.code_cells(json.dumps(notebook).encode())
    result = checker.grade(cells, ASKED, "ann", SECRET, Box)
    assert marks(result) == {"lstm_gates": ("right", 2), "lstm_update": ("diagnosed", 0)}
    assert [mark["max_points"] for mark in result["exercises"]] == [2, 2]


def test_the_last_definition_counts_with_a_note():
    wrong = doing("truncate", "return state")
    result = grade(["relu_backward", "truncate"], RELU, wrong, TRUNCATE, doing("relu_backward", "return x"))
    assert {name: points for name, (_, points) in marks(result).items()} == {"relu_backward": 0, "truncate": 1}
    assert result["notes"] == [
        "relu_backward is defined 2 times; the last one counts (cell 5)",
        "truncate is defined 2 times; the last one counts (cell 4)",
    ]
