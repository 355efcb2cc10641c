"""Hostile notebooks all the way: through the checker, in real boxes, with the points that come of it.

The attacks are bounded, and each is shown to work where the grader's protection is missing.
"""

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import types

import demo
import pytest
import torch
from watching import children, running

from course_utils.boxed import frames
from course_utils.boxed.observe import observe
from course_utils.exercises.catalogue import definition
from course_utils.grading import checker, session, submissions
from course_utils.grading.sandbox import forked, mounts
from course_utils.grading.sandbox.box import Box
from course_utils.grading.sandbox.forked import ForkedBox
from course_utils.grading.sandbox.mounts import NoBox

SECRET = b"a secret of this test"
KIND = Box
RELU = definition("relu_backward").source()
TRUNCATE = definition("truncate").source()
STEP = definition("rnn_step").source()


@pytest.fixture(params=[Box, ForkedBox], autouse=True)
def kind(request, box_is_possible, monkeypatch):
    """Both kinds of boxes: `grade` takes this one."""
    try:
        with request.param(program=""):
            monkeypatch.setitem(globals(), "KIND", request.param)
    except NoBox as error:
        pytest.skip(f"no box can be forked here: {error}")
    return request.param


@pytest.fixture(scope="module", autouse=True)
def no_parents_left():
    yield
    forked.end_parents()


def grade(names, *cells, student="ann", boxes=None):
    """What the checker makes of the cells; the boxes that it took go to `boxes`."""

    def factory():
        box = KIND()
        if boxes is not None:
            boxes.append(box)
        return box

    return checker.grade(["import torch", *cells], names, student, SECRET, factory)


def marks(result):
    return {mark.name: (mark.status, mark.points) for mark in result.marks}


# -- what ends a process ---------------------------------------------------------------------------------------


def test_whoever_ends_the_process_loses_that_exercise_only():
    deaths = {
        "lstm_update": "import os\nos._exit(0)",
        "truncate": "import ctypes\nctypes.string_at(0)",
        "relu_backward": "import sys\nsys.exit(0)",
    }
    result = grade([*deaths, "rnn_step"], *(demo.answered(name, body) for name, body in deaths.items()), STEP)
    assert marks(result) == {**dict.fromkeys(deaths, ("error", 0)), "rnn_step": ("right", 2)}
    assert result.status == "student_error"
    assert result.reason == "lstm_update: it exited with status 0; truncate: its process was killed"


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
    monkeypatch.setattr(session, "TIME_LIMIT", 0.5)
    monkeypatch.setattr(session, "FIRST_GRACE", 3.0)
    boxes, before = [], children()
    result = grade(["truncate", "rnn_step"], demo.answered("truncate", NEVER_ENDS), STEP, boxes=boxes)
    assert marks(result) == {"truncate": ("error", 0), "rnn_step": ("right", 2)}
    assert result.reason == "truncate: it ran longer than the time limit"
    assert len(boxes) == 4  # two for the attempts, one for whether the machine is well, one for the next exercise
    assert not any(running(box._pid) for box in boxes) and children() == before


SPINS = "import time\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass"


def test_on_a_busy_machine_a_slow_right_answer_is_as_right_as_alone(monkeypatch):
    """Beside six processes that never rest, a call that may compute 0.4 seconds, and takes 0.15, takes longer by the clock."""
    monkeypatch.setattr(session, "TIME_LIMIT", 0.4)
    slow = "import time\nend = time.process_time() + 0.15\nwhile time.process_time() < end: pass\n"
    answer = demo.answered("relu_backward", slow + "return grad_output * (x > 0)")
    busy = [subprocess.Popen([sys.executable, "-c", SPINS]) for _ in range(6 * len(os.sched_getaffinity(0)) // 2)]
    try:
        assert marks(grade(["relu_backward"], answer)) == {"relu_backward": ("right", 1)}
    finally:
        for process in busy:
            process.kill()
            process.wait()


# -- notebooks that were changed -------------------------------------------------------------------------------

ASKED = ["lstm_gates", "lstm_update"]


def as_handed_in():
    """Lesson 02's notebook with one right and one mistaken answer."""
    return json.loads(demo.notebook({"lstm_update": demo.mistaken("lstm_update", "squashed_memory")}))


def stripped(notebook):
    for cell in notebook["cells"]:
        del cell["metadata"]
        cell.pop("id", None)
    del notebook["metadata"]


def with_other_points(notebook):
    for cell in notebook["cells"]:
        cell["metadata"] = {"points": 99, "nbgrader": {"grade": True, "points": 99, "solution": True}}
        if cell["cell_type"] == "code":
            cell["source"] = "".join(cell["source"]) + "\npoints = max_points = 99\n"


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
def test_what_was_done_to_the_rest_of_the_notebook_changes_no_point(change, kind):
    notebook = as_handed_in()
    change(notebook)
    cells, _ = submissions.code_cells(submissions.read_cells(json.dumps(notebook).encode()))
    result = checker.grade(cells, ASKED, "ann", SECRET, kind)
    assert marks(result) == {"lstm_gates": ("right", 2), "lstm_update": ("diagnosed", 0)}
    assert [mark.max_points for mark in result.marks] == [2, 2]


def test_the_last_definition_counts_with_a_note():
    wrong = demo.answered("truncate", "return state")
    result = grade(["relu_backward", "truncate"], RELU, wrong, TRUNCATE, demo.answered("relu_backward", "return x"))
    assert {name: points for name, (_, points) in marks(result).items()} == {"relu_backward": 0, "truncate": 1}
    assert result.notes == (
        "relu_backward is defined 2 times; the last one counts (cell 5)",
        "truncate is defined 2 times; the last one counts (cell 4)",
    )


# -- forged results --------------------------------------------------------------------------------------------

ALWAYS = """
class Always:
    shape, dtype, device = (), None, None
    __eq__ = __ne__ = __le__ = __ge__ = lambda self, other: True
    __sub__ = __rsub__ = __abs__ = __getitem__ = lambda self, *_: self
    __hash__ = None
return Always()
"""
FORGERIES = {  # what a function does, and a comparison in its own process that is fooled by it
    "torch.allclose patched": (
        "torch.allclose = torch.equal = lambda *_, **__: True\nreturn x * 0",
        "torch.allclose(actual, expected) and torch.equal(actual, expected)",
    ),
    "equal to everything": (ALWAYS, "(actual == expected) is True and abs(actual - expected) <= 1e-6"),
    "builtins patched": (
        "import builtins\nbuiltins.all = builtins.isinstance = lambda *_: True\nreturn None",
        "isinstance(actual, torch.Tensor) and all(a == e for a, e in zip('actual', 'expect'))",
    ),
    "import hook": (
        "import sys, types\nsys.modules['judge'] = types.SimpleNamespace(same=lambda *_: True)\nreturn x * 0",
        "__import__('judge').same(actual, expected)",
    ),
    "the caller's names": (
        "import sys\nsys._getframe(1).f_globals['close'] = lambda *_: True\nreturn x * 0",
        "close(actual, expected)",
    ),
    "the runner's own parts": (
        "import sys\nrunner = sys.modules['__main__']\n"
        "runner.observe = runner.Runner.answer = lambda *_: {'status': 'right', 'points': 99}\nreturn x * 0",
        "Runner.answer()['points'] == 99",
    ),
}


def fools(body, comparison):
    """Whether this comparison, made where the function ran, takes its result for the right one."""

    def compare():
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        scope = vars(main)
        scope.update(torch=torch, close=torch.equal, exercise=lambda f: f, x=torch.tensor([1.0, -1.0]))
        scope.update(expected=torch.tensor([1.0, 0.0]), Runner=types.SimpleNamespace(answer=lambda: {"points": 0}))
        exec(demo.answered("relu_backward", body) + "\nactual = relu_backward(x, x)", scope)
        os._exit(0 if eval(comparison, scope) else 1)

    process = multiprocessing.get_context("fork").Process(target=compare)
    process.start()
    process.join(10)
    return process.exitcode == 0


@pytest.mark.parametrize("name", FORGERIES)
def test_what_fools_a_comparison_in_the_same_process_fools_no_grader(name):
    body, comparison = FORGERIES[name]
    assert fools(body, comparison) and not fools("return x * 0", comparison)
    result = grade(["relu_backward", "truncate"], demo.answered("relu_backward", body), TRUNCATE)
    assert marks(result)["relu_backward"][1] == 0
    assert marks(result)["truncate"] == ("right", 1), "and the next exercise does not suffer"


class Unpickled:
    def __reduce__(self):
        return os.mkdir, (UNPICKLED,)


UNPICKLED = f"/tmp/unpickled-{os.getpid()}"
SENDS = """
import os, sys, time
writer = int(sys.argv[2])
os.set_blocking(writer, True)
for part in {parts}:
    os.write(writer, part)
    time.sleep(0.02)
os.set_blocking(writer, False)
return x * 0
"""


def framed(data):
    return [len(data).to_bytes(4, "big") + data]


FRAMES = {
    "4 GB": [b"\xff\xff\xff\xff"],
    "pickle": framed(pickle.dumps(Unpickled())),
    "verdict": framed(frames.pack({"status": "right", "points": 99, "event": "returned"})),
    "dribbled": [b"\0\0\x10\0", *[b"x"] * 500],
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames_that_the_code_sends_itself_win_nothing(name, monkeypatch):
    monkeypatch.setattr(session, "TIME_LIMIT", 0.5)
    monkeypatch.setattr(session, "FIRST_GRACE", 3.0)
    monkeypatch.setattr(checker, "_doubtful", lambda answers: False)  # no second try for what was late
    result = grade(
        ["relu_backward", "truncate"], demo.answered("relu_backward", SENDS.format(parts=FRAMES[name])), TRUNCATE
    )
    assert marks(result) == {"relu_backward": ("error", 0), "truncate": ("right", 1)}
    said = "time limit" if name == "dribbled" else "interfered with the grader"
    assert said in result.marks[0].message
    assert not os.path.exists(UNPICKLED)


# -- looking around --------------------------------------------------------------------------------------------

SEARCH = """
import gc, importlib, os, sys
{planted}
wanted = grad_output * (x > 0)
for name in ("define", "judge", "lessons.l00_backpropagation"):
    try:
        importlib.import_module("course_utils.exercises." + name)
        os._exit(42)
    except ImportError:
        continue
frame, things = sys._getframe(1), gc.get_objects()
while frame:
    things += frame.f_locals.values()
    frame = frame.f_back
for thing in things:
    kind = type(thing).__name__
    if kind in ("Definition", "Mistake", "Outcome") or (kind == "Trial" and thing.label):
        os._exit(42)
    if kind == "Tensor" and thing is not wanted and thing.shape == wanted.shape and thing.dtype == wanted.dtype:
        if wanted.any() and torch.equal(thing.detach(), wanted):
            os._exit(42)
raise LookupError
"""
PLANTED = ["planted = [grad_output * (x > 0)]", "class Outcome: pass\nplanted = Outcome()"]


def found(planted="pass"):
    """What comes of a function that knows what it looks for, and ends its process as soon as it finds it."""
    result = grade(["relu_backward"], demo.answered("relu_backward", SEARCH.format(planted=planted)))
    return result.reason.removeprefix("relu_backward: it exited with ") or result.marks[0].message


def test_nothing_in_the_process_tells_the_reference_or_the_right_result(monkeypatch):
    assert found().startswith("LookupError.")
    assert [found(planted) for planted in PLANTED] == ["status 42"] * 2
    everything = [str(path.relative_to(mounts.PACKAGE)) for path in mounts.PACKAGE.rglob("*.py")]
    monkeypatch.setattr(mounts, "course_files", lambda: everything)
    forked.end_parents()  # the next one sees them
    try:
        assert found() == "status 42"
    finally:
        forked.end_parents()


def test_results_kept_from_an_earlier_run_win_nothing():
    """A table of right results, as somebody would need it who has noted the inputs: good for nobody else's run."""
    exercise = definition("relu_backward")
    asked = checker.hidden_trials(exercise, SECRET, "ann")
    table = [observe(exercise.reference, trial).outputs["grad_x"].tolist() for trial in asked]
    answer = demo.answered(
        "relu_backward", "calls.append(1)\nreturn torch.tensor(table[len(calls) - 1], dtype=x.dtype)"
    )
    points = [
        marks(grade(["relu_backward"], f"calls, table = [], {table}", answer, student=name)) for name in ("ben", "ann")
    ]
    assert [mark["relu_backward"][1] for mark in points] == [0, 1]
