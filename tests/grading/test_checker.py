"""Points are made outside the box, from inputs that nobody knows, and no word of the box reaches a student."""

import dataclasses
import subprocess
import sys
import time
from contextlib import contextmanager

import msgspec
import pytest
import torch
from fake_box import FakeBox, Gone
from msgspec.structs import replace

from course_utils.boxed import frames, wire
from course_utils.boxed.observe import Failure, Observation, observe
from course_utils.exercises import judge
from course_utils.exercises.advice import ADVICE
from course_utils.exercises.catalogue import definition, names
from course_utils.exercises.judge import check
from course_utils.exercises.words import for_grader
from course_utils.grading import checker, session
from course_utils.grading.result import Graded
from course_utils.grading.sandbox.box import Times

SECRET = b"a secret of this test"
RELU = "def relu_backward(x, grad_output):\n    return grad_output * (x > 0)"
IMPORT = "import torch\nfrom torch import nn"


def source(name):
    """The reference as a student would have to write it, with what stands around it in its module."""
    return definition(name).source()


def grade(cells, names, student="ann", secret=SECRET, boxes=None, **options):
    """The result and the boxes it took."""
    boxes = [] if boxes is None else boxes

    @contextmanager
    def factory():
        with FakeBox(**options) as box:
            boxes.append(box)
            yield box

    return checker.grade([IMPORT, *cells], names, student, secret, factory), boxes


def only(result):
    (exercise,) = result.marks
    return exercise


def test_a_right_answer_gets_all_points_and_a_wrong_one_none():
    result, boxes = grade([source("relu_backward"), "def linear_backward(*a): return 0"], ["relu_backward"])
    mark = only(result)
    assert (mark.status, mark.points, mark.max_points, mark.lesson) == ("right", 1, 1, "00")
    assert (result.status, result.reason, result.peak_memory, len(boxes)) == ("graded", "", 7, 1)
    wrong = only(grade(["def relu_backward(x, grad_output):\n    return grad_output"], ["relu_backward"])[0])
    assert (wrong.status, wrong.points) == ("diagnosed", 0)
    assert wrong.mistake and wrong.message
    assert msgspec.json.decode(msgspec.json.encode(result), type=Graded) == result


def test_what_is_missing_or_not_attempted_is_told_apart():
    stub = "def relu_backward(x, grad_output):\n    raise NotImplementedError"
    result, _ = grade([stub], ["relu_backward", "rnn_step"])
    assert [mark.status for mark in result.marks] == ["not attempted", "missing"]
    assert "rnn_step" in result.marks[1].message


def test_seeds_differ_by_student_exercise_trial_and_secret_and_fill_63_bits():
    asked = [("ann", "a"), ("bob", "a"), ("ann", "b"), ("anna", ""), ("ann", "a", 0), ("ann", "a", 1)]
    seeds = {checker.seed(SECRET, *parts) for parts in asked} | {checker.seed(b"other", "ann", "a")}
    assert len(seeds) == len(asked) + 1
    assert all(0 <= seed < 2**63 for seed in seeds) and max(seeds) > 2**56


def test_seeds_do_not_depend_on_the_process():
    code = f"from course_utils.grading.checker import seed; print(seed({SECRET!r}, 'ann', 'relu_backward'))"
    told = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "1", "PYTHONPATH": "."}, check=True, capture_output=True
    )
    assert told.stdout.decode() == f"{checker.seed(SECRET, 'ann', 'relu_backward')}\n"


def test_two_students_get_other_inputs_and_no_trial_tells_the_seed_of_the_others():
    _, (ann,) = grade([RELU], ["relu_backward"])
    _, (again,) = grade([RELU], ["relu_backward"])
    _, (bob,) = grade([RELU], ["relu_backward"], student="bob")
    values = [[trial.arguments["grad_output"] for trial in box.asked] for box in (ann, again, bob)]
    assert all(torch.equal(a, b) for a, b in zip(values[0], values[1], strict=True))
    assert sum(a.shape == b.shape and torch.equal(a, b) for a, b in zip(values[0], values[2], strict=True)) == 0
    assert len({trial.seed for trial in ann.asked}) == len(ann.asked)
    assert checker.seed(SECRET, "ann", "relu_backward") not in {trial.seed for trial in ann.asked}
    assert {trial.label for trial in ann.asked} == {""}


def test_the_same_submission_gets_the_same_result_twice():
    cells = [
        "def relu_backward(x, grad_output):\n    return grad_output * (x >= 0)",
        "def rnn_step(*a):\n    return a[0]",
    ]
    results = [grade(cells, ["relu_backward", "rnn_step"])[0] for _ in range(2)]
    untimed = [
        replace(result, seconds=0, marks=tuple(replace(mark, seconds=0) for mark in result.marks)) for result in results
    ]
    assert untimed[0] == untimed[1]


def forge_right_values_of_other_inputs(trial, candidate, count):
    other = definition(trial.exercise).trials(12345)[count - 1]
    return wire.observation_to_wire(observe(definition(trial.exercise).reference, other))


def forge_outcome(trial, candidate, count):
    return {"status": "right", "message": "right on 25 random cases.", "mistake": None, "points": 99}, {}


def forge_empty(trial, candidate, count):
    return wire.observation_to_wire(Observation("returned"))


def forge_subset(trial, candidate, count):
    seen = observe(definition(trial.exercise).reference, trial)
    seen.outputs = dict(list(seen.outputs.items())[:-1])
    return wire.observation_to_wire(seen)


def forge_exception(trial, candidate, count):
    return {
        "event": "raised",
        "outputs": [],
        "states": [],
        "gradients": [],
        "structure": "",
        "failure": {
            "kind": "ValueError",
            "parents": ["ValueError", "NotImplementedError", "object"],
            "message": "",
            "line_number": None,
            "line": "",
        },
        "changed": [],
        "shared": [],
        "printed": "",
        "seconds": ["float", "0x0p+0"],
    }, {}


def forge_length(trial, candidate, count):
    return b"\xff\xff\xff\xff"


def forge_pickle(trial, candidate, count):
    return b"\0\0\0\x10" + b"\x80\x04cos\nsystem\n..."


@pytest.mark.parametrize(
    "forged",
    [
        forge_right_values_of_other_inputs,
        forge_outcome,
        forge_empty,
        forge_subset,
        forge_exception,
        forge_length,
        forge_pickle,
    ],
)
@pytest.mark.parametrize("name", ["relu_backward", "lstm_gates", "next_character"])
def test_a_forged_observation_wins_nothing(name, forged):
    result, boxes = grade([f"def {name}(*a): return 0"], [name], answer=forged)
    mark = only(result)
    assert (mark.points, mark.status in ("diagnosed", "wrong", "error")) == (0, True), mark
    assert boxes[0].asked


RELU_GRADIENT = "(grad_output * (x > 0))"
RIGHT_FORMS = {
    "as asked for": RELU_GRADIENT,
    "another memory format": f"{RELU_GRADIENT}.T.contiguous().T if x.dim() == 2 else {RELU_GRADIENT}",
    "rounded": f"{RELU_GRADIENT} * (1 + 1e-14)",
    "always float64": f"{RELU_GRADIENT}.double()",
    "always float32": f"{RELU_GRADIENT}.float()",
}
OTHER_KINDS = {
    "subclass": f"{RELU_GRADIENT}.as_subclass(Own)",
    "subclass that equals everything": f"{RELU_GRADIENT}.as_subclass(Equal)",
    "half precision": f"{RELU_GRADIENT}.half()",
    "complex": f"{RELU_GRADIENT} + 0j",
    "one more dimension": f"{RELU_GRADIENT}[None]",
    "one dimension": f"{RELU_GRADIENT}.flatten()",
    "repeated": f"torch.stack([{RELU_GRADIENT}] * 2)",
    "numbers": f"{RELU_GRADIENT}.tolist()",
    "numpy": f"{RELU_GRADIENT}.numpy()",
    "in a tuple": f"({RELU_GRADIENT},)",
}
KINDS = """
class Own(torch.Tensor): pass
class Equal(torch.Tensor):
    __eq__ = lambda self, other: True
"""


def answered(expression, name="relu_backward", arguments="x, grad_output"):
    return only(grade([f"{KINDS}\ndef {name}({arguments}):\n    return {expression}"], [name])[0])


@pytest.mark.parametrize("expression", RIGHT_FORMS.values(), ids=RIGHT_FORMS.keys())
def test_the_form_of_a_right_result_may_differ_where_it_does_not_matter(expression):
    assert answered(expression).status == "right"


@pytest.mark.parametrize("expression", OTHER_KINDS.values(), ids=OTHER_KINDS.keys())
def test_a_result_of_another_kind_is_wrong_though_its_numbers_are_right(expression):
    mark = answered(expression)
    assert (mark.points, mark.status in ("wrong", "diagnosed")) == (0, True), mark


FILTER = "logits.masked_fill(logits < logits.topk(min(k, logits.shape[-1]), -1).values[..., -1:], {})"


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_what_is_not_finite_is_wrong_but_where_the_reference_is_not(value):
    number = f"float('{value}')"
    for expression in (f"{RELU_GRADIENT} * {number}", f"{RELU_GRADIENT}.index_fill(0, torch.tensor([0]), {number})"):
        assert answered(expression).points == 0
    mark = answered(FILTER.format(number), "top_k_filter", "logits, k")
    assert (mark.status == "right") == (value == "-inf"), mark
    assert answered(FILTER.format("-1e300"), "top_k_filter", "logits, k").points == 0, "large is not infinite"


IN_PLACE = {
    "the inputs made fit for the result": "x.zero_()\n    grad_output.zero_()\n    return grad_output",
    "an input that is the result": f"grad_output.copy_({RELU_GRADIENT})\n    return grad_output",
    "a right result": f"right = {RELU_GRADIENT}\n    x.add_(1)\n    return right",
}


@pytest.mark.parametrize("body", IN_PLACE.values(), ids=IN_PLACE.keys())
def test_changing_the_inputs_in_place_wins_nothing(body):
    mark = only(grade([f"def relu_backward(x, grad_output):\n    {body}"], ["relu_backward"])[0])
    assert mark.points == 0 and mark.status in ("wrong", "diagnosed"), mark


def test_two_frames_for_one_trial_win_nothing():
    def twice(trial, candidate, count):
        first = frames.pack(*wire.observation_to_wire(observe(definition(trial.exercise).reference, trial)))
        return (len(first).to_bytes(4, "big") + first) * 2

    mark = only(grade([RELU], ["relu_backward"], answer=twice)[0])
    assert mark.points == 0


def test_right_on_too_few_trials_is_not_right():
    exercise = definition("relu_backward")
    trials = checker.hidden_trials(exercise, SECRET, "ann")
    seen = [observe(exercise.reference, trial) for trial in trials[:-1]]
    talk = session.Session([RELU], [exercise], FakeBox)
    assert checker._judged(exercise, trials, seen, talk).status == "needs_review"


def test_a_judge_that_fails_costs_no_student_and_stops_no_run(monkeypatch):
    def broken(*_):
        raise RuntimeError("secret value 0.123")

    monkeypatch.setattr(checker, "judge", broken)
    result, _ = grade([RELU], ["relu_backward"])
    assert (only(result).status, result.status) == ("needs_review", "needs_review")
    assert "0.123" not in str(result)


def test_a_box_that_dies_costs_that_exercise_only():
    cells = [RELU, "def rnn_step(*a):\n    raise Gone", source("truncate")]
    result, boxes = grade(cells, ["relu_backward", "rnn_step", "truncate"])
    assert [mark.status for mark in result.marks] == ["right", "error", "right"]
    assert "exited with status 1" in result.marks[1].message
    assert (result.status, result.reason) == ("student_error", "rnn_step: it exited with status 1")
    assert len(boxes) == 3  # one for the first two, one to see whether a fresh one dies too, one for the third


def test_a_death_that_the_machine_may_have_caused_gets_a_second_try():
    result, boxes = grade([RELU, "def rnn_step(*a):\n    raise Gone"], ["rnn_step", "relu_backward"], reason="killed")
    assert [mark.status for mark in result.marks] == ["error", "right"]
    assert [len(box.asked) > 0 for box in boxes] == [True, False, True, True]  # the second one: is the machine well?


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("memory", "more memory"),
        ("time", "time limit"),
        ("cpu", "computing time"),
        ("killed", "killed"),
        ("0.123 x", "its process ended"),
    ],
)
def test_a_death_is_told_in_words_of_our_own(reason, text):
    result, _ = grade(["def rnn_step(*a):\n    raise Gone"], ["rnn_step"], reason=reason)
    assert text in only(result).message and "0.123" not in str(result)


@pytest.mark.parametrize("first", ["raise ValueError", "while True: pass"])
def test_what_a_failing_exercise_leaves_behind_does_not_cost_the_next_one(first, monkeypatch):
    monkeypatch.setattr(session, "TIME_LIMIT", 0.3)
    spoil = f"import torch\ndef relu_backward(*a):\n    torch.spoilt = True\n    {first}"
    cells = [spoil, "def truncate(state):\n    if torch.spoilt: raise OSError\n    return state.detach()"]
    monkeypatch.setattr(torch, "spoilt", False, raising=False)

    def clean(trial, candidate, count):  # each box begins with a clean torch, as a process would
        monkeypatch.setattr(torch, "spoilt", vars(torch)["spoilt"] and count > 1)

    result, _ = grade(cells, ["relu_backward", "truncate"], answer=clean)
    assert [mark.status for mark in result.marks] == ["error", "right"]


def test_a_death_in_a_used_box_is_believed_only_if_a_fresh_one_dies_too():
    def tired(trial, candidate, count):
        if count == 30:  # the box is used up
            raise Gone

    cells = [RELU, "def truncate(state):\n    return state.detach()"]
    result, boxes = grade(cells, ["relu_backward", "truncate"], answer=tired)
    assert [mark.status for mark in result.marks] == ["right", "right"]
    assert (result.status, len(boxes)) == ("graded", 2)


def test_a_notebook_that_kills_every_box_does_so_twice_only():
    result, boxes = grade(["raise Gone"], ["relu_backward", "rnn_step", "truncate"])
    assert [mark.status for mark in result.marks] == ["error"] * 3
    assert (len(boxes), result.status) == (3, "student_error")


LEAK = 0.123456789
HOSTILE = [
    "raise ValueError(f'x is {secret()}')",
    "raise type(f'E{secret()}', (ValueError,), {})()",
    "print(secret())",
    "return type(f'T{secret()}', (), {})()",
    "return secret()",
    "return str(secret())",
    "return (secret(), {'a': secret()}, [secret()])",
    "return torch.full((12345, 2), secret())",
    "return grad_output * 0.123456789",
    "return x + 0.123456789",
    "return torch.zeros(7654321, dtype=torch.bool)",
    "return {f'k{secret()}': 1}",
    "return grad_output[:, :1] if grad_output.dim() > 1 else 12345",
    "return grad_output / x.shape[0]",
    "assert False, 'Expected target size 7'",
]


@pytest.mark.parametrize("body", HOSTILE)
def test_no_word_and_no_number_of_the_box_reaches_the_student(body):
    cell = f"def secret(): return {LEAK}\n\ndef relu_backward(x, grad_output):\n    print('seen', x)\n    {body}"
    result, _ = grade([cell], ["relu_backward"])
    mark = only(result)
    assert mark.points == 0 and mark.message
    told = mark.message.replace(body, "")  # the student's own line may stand there, and our own advice
    for advice in ADVICE.values():
        told = told.replace(advice, "")
    assert not any(sign.isdigit() for sign in told), told
    assert not any(sign.isdigit() for sign in (mark.mistake or "")) and "seen" not in told


def test_a_line_is_shown_only_if_it_stands_in_the_notebook():
    def other_line(trial, candidate, count):
        message, tensors = forge_exception(trial, candidate, count)
        failure = {**message["failure"], "kind": "ValueError", "line": "the value is 0.123", "line_number": 123456}
        return {**message, "failure": failure}, tensors

    assert "0.123" not in only(grade([RELU], ["relu_backward"], answer=other_line)[0]).message
    cell = "def relu_backward(x, grad_output):\n    return x.no_such_thing  # here"
    told = only(grade([cell], ["relu_backward"], answer=own_line)[0]).message
    assert "in the line: return x.no_such_thing  # here" in told and told.startswith("AttributeError.")


def own_line(trial, candidate, count):
    message, tensors = forge_exception(trial, candidate, count)
    own = {"kind": "AttributeError", "line": "return x.no_such_thing  # here", "line_number": 2}
    return {**message, "failure": {**message["failure"], **own}}, tensors


def test_a_named_mistake_keeps_its_sentence_with_its_numbers():
    for name in ("relu_backward", "lstm_gates", "kl_to_standard_normal"):
        exercise = definition(name)
        for mistake in exercise.mistakes.values():
            outcome = check(name, mistake.function)
            assert for_grader(outcome.findings) == outcome.message and outcome.message.endswith(mistake.sentence)


def test_the_name_of_an_edge_case_is_told_and_the_values_there_are_not():
    cell = "def relu_backward(x, grad_output):\n    return grad_output * (x > 0) + (x == 0) * 0.25"
    mark = only(grade([cell], ["relu_backward"])[0])
    assert mark.message == "nearly right, except where some inputs are exactly 0." and "0.25" not in mark.message, mark


NEARLY = "def relu_backward(x, grad_output):\n    return grad_output * (x >= 0)"


def test_a_function_under_a_name_that_is_nearly_right_is_named():
    cell = "def my_relu_backward(x, grad_output):\n    return x\n\ndef relu_backward_helper_of_mine(x):\n    return x"
    mark = grade([cell, source("truncate")], ["relu_backward", "truncate"])[0].marks[0]
    assert (mark.status, mark.points) == ("missing", 0)
    assert mark.message == (
        "the notebook has no function `relu_backward`. It has `my_relu_backward`: give it the name that stands in the exercise."
    )
    other = "def linear_backward(x, weight, grad_output):\n    return x"
    mark = grade([other, source("truncate")], ["relu_backward", "truncate"])[0].marks[0]
    assert mark.message == "the notebook has no function `relu_backward`."


def test_a_notebook_of_another_lesson_waits_for_a_person():
    other = ["def rnn_step(*a):\n    return a", "def truncate(state):\n    return state.detach()"]
    result, _ = grade(other, ["lstm_gates", "lstm_update"])
    assert (result.status, result.points) == ("needs_review", 0)
    assert [mark.status for mark in result.marks] == ["needs_review", "missing"], "one line in decisions.csv is enough"
    assert "None of these exercises is in the notebook" in result.marks[0].message
    assert "It has exercises of lesson 01." in result.marks[0].message


def test_what_the_saved_notebook_shows_as_right_is_never_a_final_0():
    wrong, right = "def relu_backward(x, grad_output):\n    return x", source("truncate")
    cells, names = [wrong, right, "def rnn_step(*a):\n    raise OSError"], ["relu_backward", "truncate", "rnn_step"]
    boxes = lambda: FakeBox()  # noqa: E731
    result = checker.grade([IMPORT, *cells], names, "ann", SECRET, boxes, shown=names)
    assert [(mark.status, mark.points) for mark in result.marks] == [
        ("needs_review", 0), ("right", 1), ("needs_review", 0),
    ]  # fmt: skip
    assert "the notebook shows it as right, as it was saved" in result.marks[0].message
    assert result.status == "needs_review"


def test_an_error_for_want_of_a_package_is_for_a_person():
    use = ["import no_such_package", "def relu_backward(x, grad_output):\n    return no_such_package.relu(x)"]
    mark = only(grade(use, ["relu_backward"])[0])
    assert (mark.status, mark.points) == ("needs_review", 0)
    assert "It needs `no_such_package`, which the grader does not have." in mark.message
    unneeded = f"try:\n    import no_such_package\nexcept ImportError:\n    pass\n\n{RELU}"
    assert only(grade([unneeded], ["relu_backward"])[0]).status == "right"


def test_which_line_raises_tells_nothing_about_hidden_inputs():
    lines = ["raise ValueError  # one", "raise ValueError  # two"]
    cell = f"def relu_backward(x, grad_output):\n    {lines[0]}\n    {lines[1]}"

    def by_input(trial, candidate, count):
        message, tensors = own_line(trial, candidate, count)
        line = lines[int(trial.arguments["grad_output"].sum() > 0)]
        return {**message, "failure": {**message["failure"], "kind": "ValueError", "line": line}}, tensors

    told = {only(grade([cell], ["relu_backward"], student=f"student{n}", answer=by_input)[0]).message for n in range(8)}
    assert len(told) == 1 and "in the line: raise ValueError" in told.pop()


def test_a_nearly_right_answer_earns_all_points_but_those_of_the_edge_cases():
    result, _ = grade([NEARLY], ["relu_backward"])
    mark = only(result)
    assert (result.status, result.points, result.max_points) == ("graded", 0.5, 1)
    assert (mark.status, mark.points, mark.mistake) == ("nearly right", 0.5, "open_at_zero")
    assert mark.message.startswith("nearly right, except where some inputs are exactly 0: you let the gradient through")


def test_of_two_points_a_nearly_right_answer_earns_one():
    name = "softmax_cross_entropy_backward"
    body = (
        "p = logits.exp() / logits.exp().sum(1, keepdim=True)\n    p[range(len(p)), target] -= 1\n    return p / len(p)"
    )
    mark = only(grade([f"def {name}(logits, target):\n    {body}"], [name])[0])
    assert (mark.status, mark.points, mark.max_points) == ("nearly right", 1, 2), mark


def test_a_loop_that_an_edge_case_starts_is_nearly_right_and_one_on_ordinary_cases_an_error():
    endless = "def relu_backward(x, grad_output):\n    while {}:\n        pass\n    return grad_output * (x > 0)"
    mark = only(grade([endless.format("(x == 0).any()")], ["relu_backward"])[0])
    assert (mark.status, mark.points) == ("nearly right", 0.5)
    mark = only(grade([endless.format("True")], ["relu_backward"])[0])
    assert (mark.status, mark.points) == ("error", 0)


def test_a_nearly_right_answer_by_a_forbidden_call_earns_nothing_before_a_person_has_looked():
    body = "x = x.clone().requires_grad_()\n    return torch.autograd.grad(torch.relu(x), x, grad_output)[0]"
    cell = f"def relu_backward(x, grad_output):\n    {body} + grad_output * (x == 0)"
    mark = only(grade([cell], ["relu_backward"])[0])
    assert (mark.status, mark.points) == ("needs_review", 0)
    assert mark.message.startswith("nearly right, except where") and "it uses `torch.autograd`" in mark.message


def test_remarks_of_the_first_box_only_are_kept_and_are_printable():
    result, _ = grade(["raise ValueError", "def rnn_step(*a):\n    raise Gone", RELU], ["rnn_step", "relu_backward"])
    assert result.notes == ("a cell failed: ValueError",)


def test_an_endless_loop_gets_a_second_try_and_then_the_time_limit(monkeypatch):
    monkeypatch.setattr(session, "TIME_LIMIT", 0.3)
    result, boxes = grade(["def relu_backward(*a):\n    while True: pass"], ["relu_backward"])
    assert (only(result).status, len(boxes)) == ("error", 3)
    assert "stopped after" in only(result).message


def test_what_a_stopped_call_was_doing_is_told_in_none_of_the_boxs_words():
    lines, kept = {"time.sleep(9)"}, []
    for said, line in (("waiting", "time.sleep(9)"), ("the input was 3.7", "x = 3.7")):
        failure = checker._sanitised_failure(Failure("TimeIsOver", (), said, 4, line), lines)
        kept.append((failure.message, failure.line_number, failure.line))
    assert kept == [("waiting", 1, "time.sleep(9)"), ("", None, "")]


def test_a_first_try_that_the_machine_slowed_down_costs_nothing():
    slow = iter([True])

    def late_once(trial, candidate, count):
        return wire.observation_to_wire(Observation("timed out", seconds=3.0)) if next(slow, False) else None

    assert only(grade([RELU], ["relu_backward"], answer=late_once)[0]).status == "right"


def test_no_box_or_a_busy_machine_is_nobodys_fault(monkeypatch):
    def nowhere():
        raise OSError("no bubblewrap")

    result = checker.grade([RELU], ["relu_backward"], "ann", SECRET, nowhere)
    assert (result.status, only(result).status, only(result).points) == ("infra_error", "infra_error", 0)
    assert "no bubblewrap" in result.reason
    monkeypatch.setattr(session, "SLOW_START", 0.0)
    result, _ = grade(["def rnn_step(*a):\n    raise Gone"], ["rnn_step"], reason="killed")
    assert result.status == "infra_error" and "too slow" in result.reason


@pytest.mark.parametrize(
    ("computed", "delayed", "status"),
    [(0.4, 2.9, "infra_error"), (3.1, 20.0, "error"), (0.0, 0.0, "error"), (3.1, 0.0, "error")],
)
def test_a_time_out_without_processor_time_is_the_machine_s_and_not_a_result(computed, delayed, status, monkeypatch):
    """What the box has computed, and how long it was kept from it, in 3.2 seconds: so it hardly got a processor, computed,
    slept, or computed alone on the machine."""
    now = Times(0.0)

    def answer(trial, candidate, count):
        nonlocal now
        now = Times(now.clock + 3.2, now.cpu_seconds + computed, now.delayed + delayed)
        return wire.observation_to_wire(Observation("timed out", seconds=3.0))

    monkeypatch.setattr(FakeBox, "times", lambda self: now)
    result, _ = grade([RELU], ["relu_backward"], answer=answer)
    assert (only(result).status, only(result).points) == (status, 0)
    assert result.status == ("infra_error" if status == "infra_error" else "graded")


def test_what_a_first_call_imports_does_not_count(monkeypatch):
    def answer(trial, candidate, count):
        nonlocal computed
        computed += 3.0
        return wire.observation_to_wire(Observation("timed out", seconds=3.0)) if count == 1 else None

    computed = 0.0
    monkeypatch.setattr(FakeBox, "times", lambda self: Times(computed, computed))
    result, boxes = grade([RELU], ["relu_backward"], answer=answer)
    assert (only(result).status, len(boxes)) == ("right", 1)
    first, again, second, *_ = [trial.seed for trial in boxes[0].asked]
    assert first == again != second, "the first trial is asked twice, in the same box"


def test_a_call_that_sleeps_is_not_waited_for_twice_in_one_box():
    """It has not imported anything; a second try in another box is enough."""
    asked = []

    def answer(trial, candidate, count):
        asked.append(trial)
        return wire.observation_to_wire(Observation("timed out", seconds=3.0))

    result, boxes = grade([RELU], ["relu_backward"], answer=answer)
    assert [len(box.asked) for box in boxes] == [1, 0, 1] and only(result).points == 0


def test_judging_has_a_deadline(monkeypatch):
    def endless(*_):
        while True:
            pass

    monkeypatch.setattr(checker, "JUDGING_LIMIT", 0.2)
    monkeypatch.setattr(checker, "judge", endless)
    assert only(grade([RELU], ["relu_backward"])[0]).status == "needs_review"


HIDDEN = {
    "relu_backward": "z = x.clone().requires_grad_()\n    return getattr(torch, 're' + 'lu')(z).grad_fn(grad_output)",
    "stamp": "return getattr(F, 'conv_tran' + 'spose2d')(x, weight, stride=stride)",
}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_forbidden_operator_is_seen_under_whatever_name_it_is_called(name):
    head = definition(name).source().split(":", 1)[0]
    code = f"import torch.nn.functional as F\n\n{head}:\n    {HIDDEN[name]}"
    mark = only(grade([code], [name])[0])
    assert (mark.status, mark.points) == ("needs_review", 0), mark
    operator = {"relu_backward": "threshold_backward", "stamp": "conv_transpose2d"}[name]
    assert f"it uses `{operator}`" in mark.message and "of torch (seen on case " in mark.message
    assert only(grade([source(name)], [name])[0]).status == "right"


def test_code_that_fits_in_no_frame_is_unreadable():
    result, boxes = grade(["#" * 1_100_000], ["relu_backward"])
    assert (result.status, only(result).status, boxes) == ("unreadable", "missing", [])


def test_a_right_answer_by_a_forbidden_call_is_left_to_a_person_and_a_wrong_one_is_just_wrong():
    gradient = (
        "(gradient,) = torch.autograd.grad(torch.relu(x.requires_grad_()), x, grad_output)\n    return {}gradient"
    )
    answer = f"def relu_backward(x, grad_output):\n    x = x.clone()\n    {gradient}"
    result, _ = grade([answer.format("")], ["relu_backward"])
    mark = only(result)
    assert (result.status, mark.status, mark.points) == ("needs_review", "needs_review", 0)
    assert mark.message.startswith("right on ") and "But it uses `torch.autograd` and `" in mark.message
    assert only(grade([answer.format("-")], ["relu_backward"])[0]).status == "diagnosed"


def test_calls_elsewhere_in_the_notebook_are_no_part_of_an_answer():
    lesson = "def by_torch(x):\n    x.sum().backward()\n    return torch.autograd.grad"
    assert only(grade([lesson, RELU, "by_torch"], ["relu_backward"])[0]).status == "right"


def test_the_reference_of_every_exercise_is_right_across_the_wire():
    def reference(trial, candidate, count):
        return wire.observation_to_wire(observe(definition(trial.exercise).reference, trial))

    every = names()
    result, _ = grade([f"def {name}(): pass" for name in every], every, answer=reference)
    assert {mark.name: mark.status for mark in result.marks} == dict.fromkeys(every, "right")
    assert result.status == "graded"


def test_a_machine_that_stands_still_while_the_reference_runs_costs_nobody_a_point(monkeypatch):
    """The run is stopped with Ctrl-Z for a while, say, or its virtual machine is paused."""

    def interrupted(x, grad_output):
        for _ in range(100):
            time.sleep(0.01)
        return grad_output * (x > 0)

    monkeypatch.setattr(judge, "REFERENCE_LIMIT", 0.1)
    monkeypatch.setattr(definition("relu_backward"), "reference", interrupted)
    result, _ = grade([RELU], ["relu_backward"])
    assert (result.status, only(result).status) == ("needs_review", "needs_review")


def test_a_result_that_is_far_too_large_is_not_computed_with(monkeypatch):
    """Broadcast against what was asked for, some hundred kilobytes would fill gigabytes outside of the box."""
    asked = []

    def noted(claim):
        return dataclasses.replace(claim, holds=lambda *given: asked.append(claim.key) or claim.holds(*given))

    claims = {key: noted(claim) for key, claim in definition("adding_problem").claims.items()}
    monkeypatch.setattr(definition("adding_problem"), "claims", claims)
    for rows, looked_at in ((600, True), (30_000, False)):
        asked.clear()
        code = f"def adding_problem(batch, length, generator):\n    return torch.ones(batch, length, 2), torch.ones({rows}, 1)"
        mark = only(grade([code], ["adding_problem"])[0])
        assert (mark.status, mark.points, bool(asked)) == ("wrong", 0, looked_at)


def slow_death(*_):
    time.sleep(0.3)
    raise Gone


def test_a_submission_does_not_hold_the_grader_for_each_of_its_exercises_anew(monkeypatch):
    names = ["relu_backward", "rnn_step", "flop_ratio"]
    cells = [f"def {name}(*a): return 1" for name in names]
    monkeypatch.setattr(session, "SUBMISSION_LIMIT", 0.5)
    monkeypatch.setattr(session, "EXERCISE_LIMIT", 0.0)
    result, boxes = grade(cells, names, answer=slow_death)
    assert [box.asked == [] for box in boxes] == [
        False,
        False,
        True,
    ]  # the last one only shows that the machine is well
    assert [mark.status for mark in result.marks] == ["error"] * 3
    assert result.status == "student_error" and "all exercises together" in result.reason
    monkeypatch.setattr(session, "SLOW_START", 0.0)
    assert grade(cells, names, answer=slow_death)[0].status == "infra_error"


def test_a_pause_of_the_machine_does_not_use_up_a_submissions_time(monkeypatch):
    def paused(trial, candidate, count):
        if count == 1 and not pauses:
            pauses.append(time.sleep(1.0))
            raise Gone

    pauses = []
    monkeypatch.setattr(session, "SUBMISSION_LIMIT", 0.5)
    monkeypatch.setattr(session, "EXERCISE_LIMIT", 0.2)
    result, _ = grade([RELU], ["relu_backward"], answer=paused, reason="killed")
    assert only(result).status == "right" and len(pauses) == 1


STEP = "discriminator_step"
LOSS = "discriminator_loss"


@pytest.mark.parametrize(
    "loss", ["raise NotImplementedError", "return real_logits.mean()", ""], ids=["open", "wrong", "missing"]
)
def test_an_exercise_that_calls_one_that_failed_is_for_a_person(loss):
    """In the notebook the name of an exercise that is not right means the reference, so the caller was right there."""
    cells = [f"def {LOSS}(real_logits, fake_logits):\n    {loss}"] if loss else []
    result, _ = grade([*cells, source(STEP)], [LOSS, STEP])
    first, second = result.marks
    assert first.status in ("not attempted", "wrong", "missing") and first.points == 0
    assert (second.status, result.status) == ("needs_review", "needs_review")
    assert f"`{LOSS}`" in second.message


def test_an_exercise_that_only_mentions_one_that_failed_is_judged():
    stub = f'def {STEP}(discriminator, generator_net, real, noise, optimizer):\n    """One update by `{LOSS}`."""\n'
    code = f"{stub}    # not {LOSS}\n    raise NotImplementedError\n\nprint({LOSS})"
    result, _ = grade([f"def {LOSS}(real_logits, fake_logits):\n    return 0\n\n{code}"], [LOSS, STEP])
    assert [mark.status for mark in result.marks] == ["wrong", "not attempted"]
