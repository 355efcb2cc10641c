"""What a student meets in a notebook: `@exercise`, `hint`, `solution`, the summary; and what a grading box holds."""

import functools
import inspect
import json
import pydoc
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from course_utils import display
from course_utils.conventions import OUTCOME_TYPE
from course_utils.exercises import hint, names, notebook, solution
from course_utils.exercises.catalogue import definition
from course_utils.exercises.notebook import Exercise

PACKAGE = Path(notebook.__file__).parent.parent


def relu_backward(x, grad_output):
    return grad_output * (x > 0)


RIGHT = relu_backward
with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # students still meet it
    SCRIPTED = torch.jit.script(RIGHT)


def wrong_answer():
    def relu_backward(x, grad_output):
        return (x > 0).to(x.dtype)

    return relu_backward


def stub():
    def linear_backward(x, weight, grad_output):
        raise NotImplementedError

    return linear_backward


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Everything that is displayed, as bundles of MIME types."""
    bundles: list[dict] = []
    monkeypatch.setattr(display, "show", bundles.append)
    return bundles


# -- the decorator -------------------------------------------------------------------------------------------------


def test_a_stub_is_left_for_later_and_its_name_means_the_reference(exercise: Exercise, shown: list[dict]) -> None:
    assert exercise(stub()) is definition("linear_backward").reference
    assert shown[0]["text/plain"] == ("… linear_backward: not attempted yet. The lesson goes on with the reference.")


def test_a_right_answer_is_used_from_here_on(exercise: Exercise, shown: list[dict]) -> None:
    assert exercise(RIGHT) is RIGHT
    assert shown[0]["text/plain"].startswith("✔ relu_backward: right on ")
    assert exercise.outcomes["relu_backward"].status == "right"


def test_a_wrong_answer_is_told_why_and_the_lesson_goes_on_with_the_reference(
    exercise: Exercise, shown: list[dict]
) -> None:
    reference = definition("relu_backward")
    assert exercise(wrong_answer()) is reference.reference
    assert shown[0]["text/plain"] == (
        f"✘ relu_backward: {reference.mistakes['slopes_alone'].sentence}\n    The lesson goes on with the "
        "reference; your own function is `exercise.mine.relu_backward`."
    )


def test_a_nearly_right_answer_is_told_so_first_earns_its_share_and_the_lesson_goes_on_with_the_reference(
    exercise: Exercise, shown: list[dict]
) -> None:
    def relu_backward(x, grad_output):
        return grad_output * (x >= 0)

    assert exercise(relu_backward) is definition("relu_backward").reference
    text = shown[0]["text/plain"]
    assert text.startswith(
        "◐ relu_backward: nearly right, except where some inputs are exactly 0: you let the gradient"
    )
    assert text.endswith("The lesson goes on with the reference; your own function is `exercise.mine.relu_backward`.")
    assert f'<span style="{display.ink(display.NEARLY)};font-weight:bold">◐</span>' in shown[0]["text/html"]
    data = {"exercise": "relu_backward", "lesson": "00", "status": "nearly right", "mistake": "open_at_zero"}
    assert shown[0][OUTCOME_TYPE] == {**data, "points": 0.5, "max_points": 1}
    exercise.summary()
    rows = {row.split()[1]: row.split() for row in shown[1]["text/plain"].splitlines()[1:-1]}
    assert rows["relu_backward"] == ["◐", "relu_backward", "nearly", "right", "0.5", "of", "1"]
    assert shown[1]["text/plain"].endswith("0.5 of 8")


def test_ones_own_function_stays_at_hand_whatever_its_name_means(exercise: Exercise, shown: list[dict]) -> None:
    wrong = wrong_answer()
    assert exercise(wrong) is not wrong
    assert exercise.mine.relu_backward is wrong
    assert "relu_backward" in dir(exercise.mine), "Tab finds it"
    exercise(RIGHT)
    assert exercise.mine.relu_backward is RIGHT
    with pytest.raises(AttributeError, match=r"no answer called 'rnn_step' has been judged.*There are: relu_backward"):
        exercise.mine.rnn_step  # noqa: B018


def test_a_right_but_slow_answer_counts_and_the_lesson_goes_on_with_the_reference(
    exercise: Exercise, shown: list[dict]
) -> None:
    def relu_backward(x, grad_output):
        start = time.process_time()
        while time.process_time() < start + 0.01:
            pass
        return RIGHT(x, grad_output)

    assert exercise(relu_backward) is definition("relu_backward").reference
    assert exercise.outcomes["relu_backward"].status == "right"
    assert "✔" in shown[0]["text/plain"]
    assert "times as long as the reference" in shown[0]["text/plain"]


@pytest.mark.parametrize(
    "ending", ["return None", "return grad_output * (x > 0)", "1 / 0", "raise NotImplementedError"]
)
def test_what_an_answer_printed_is_shown_once_in_a_font_of_fixed_width(
    exercise: Exercise, shown: list[dict], ending: str
) -> None:
    scope: dict = {"torch": torch}
    exec(f"def relu_backward(x, grad_output):\n    print('x < y', torch.eye(2))\n    {ending}", scope)
    exercise(scope["relu_backward"])
    (bundle,) = shown
    assert bundle["text/plain"].endswith(
        "    It printed:\n        x < y tensor([[1., 0.],\n                [0., 1.]])"
    ), "also when it raises, or is right"
    assert ">x &lt; y tensor([[1., 0.],\n        [0., 1.]])</pre>" in bundle["text/html"]


def test_the_print_of_the_case_that_raised_is_shown(exercise: Exercise, shown: list[dict]) -> None:
    def linear_backward(x, weight, grad_output):
        print("rows:", len(x))
        return x.cholesky() if len(x) == 1 else definition("linear_backward").reference(x, weight, grad_output)

    exercise(linear_backward)
    assert shown[0]["text/plain"].startswith("◐") and shown[0]["text/plain"].endswith("rows: 1")


def test_a_long_print_is_cut(exercise: Exercise, shown: list[dict]) -> None:
    def relu_backward(x, grad_output):
        print("z" * 5_000)
        return RIGHT(x, grad_output)

    exercise(relu_backward)
    assert shown[0]["text/plain"].count("z") == notebook.PRINTED and shown[0]["text/plain"].endswith(" …")


def test_stderr_shows_once_and_not_for_every_case(
    exercise: Exercise, shown: list[dict], capsys: pytest.CaptureFixture
) -> None:
    def relu_backward(x, grad_output):
        print("looking", file=sys.stderr)
        return RIGHT(x, grad_output)

    exercise(relu_backward)
    assert capsys.readouterr().err == "looking\n"


def test_one_verdict_is_one_output_in_text_and_in_html(exercise: Exercise, shown: list[dict]) -> None:
    def relu_backward(x, grad_output):
        raise ValueError("is 1 < 2 & `x` > 0?")

    exercise(relu_backward)
    (bundle,) = shown
    assert "is 1 < 2 & `x` > 0?" in bundle["text/plain"]
    assert "is 1 &lt; 2 &amp; <code>x</code> &gt; 0?" in bundle["text/html"]
    assert "raise ValueError(" in bundle["text/plain"].splitlines()[1], "the student's own line"
    assert notebook.COLOURS["✘"] in bundle["text/html"]


def test_an_outcome_is_data_too(exercise: Exercise, shown: list[dict]) -> None:
    exercise(RIGHT)
    exercise(stub())
    exercise(wrong_answer())
    points = definition("linear_backward").points
    facts = {"lesson": "00", "mistake": None, "points": 0}
    assert [bundle[OUTCOME_TYPE] for bundle in shown] == [
        {**facts, "exercise": "relu_backward", "status": "right", "points": 1, "max_points": 1},
        {**facts, "exercise": "linear_backward", "status": "not attempted", "max_points": points},
        {**facts, "exercise": "relu_backward", "status": "diagnosed", "mistake": "slopes_alone", "max_points": 1},
    ]
    assert json.loads(json.dumps(shown)) == shown


def test_the_text_of_a_stub_and_of_a_right_answer_is_the_same_every_time(exercise: Exercise, shown: list[dict]) -> None:
    for _ in range(3):
        exercise(stub())
        exercise(RIGHT)
    assert len({bundle["text/plain"] for bundle in shown}) == 2
    assert len({bundle["text/html"] for bundle in shown}) == 2


def test_every_run_of_a_cell_asks_with_fresh_numbers(
    exercise: Exercise, shown: list[dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = []
    trials = notebook.trials
    monkeypatch.setattr(notebook, "trials", lambda name, seed, device: seeds.append(seed) or trials(name, seed))
    for _ in range(3):
        exercise(RIGHT)
    assert len(set(seeds)) == 3


def test_running_an_exercise_leaves_the_global_generator_alone(exercise: Exercise, shown: list[dict]) -> None:
    before = torch.get_rng_state()
    exercise(RIGHT)
    exercise(wrong_answer())
    assert torch.equal(torch.get_rng_state(), before)


def test_solving_it_later_replaces_the_verdict(exercise: Exercise, shown: list[dict]) -> None:
    exercise(wrong_answer())
    assert exercise.outcomes["relu_backward"].status == "diagnosed"
    exercise(RIGHT)
    assert exercise.outcomes["relu_backward"].status == "right"


# -- answers in disguise -------------------------------------------------------------------------------------------


def own_decorator(function):
    def inner(*arguments):
        return function(*arguments)

    return inner


@pytest.mark.parametrize(
    "disguised",
    [
        own_decorator(RIGHT),
        functools.wraps(RIGHT)(own_decorator(RIGHT)),
        own_decorator(own_decorator(RIGHT)),
        functools.partial(RIGHT),
        functools.lru_cache(RIGHT),
        SCRIPTED,
        torch.no_grad()(RIGHT),
    ],
    ids=["decorated", "wrapped", "twice", "partial", "cached", "script", "no_grad"],
)
def test_a_decorated_answer_is_judged_like_any_other(
    exercise: Exercise, shown: list[dict], disguised: Callable
) -> None:
    assert exercise(disguised) is disguised
    assert shown[0]["text/plain"].startswith("✔ relu_backward: right on ")


def test_the_decorator_may_be_called(exercise: Exercise, shown: list[dict]) -> None:
    assert exercise()(RIGHT) is RIGHT
    assert shown[0]["text/plain"].startswith("✔ relu_backward")


@pytest.mark.parametrize("slip", ["relu_backwards", "my_relu_backward", "Relu_backward"])
def test_a_misspelt_name_is_told_the_right_one_and_the_lesson_goes_on(
    exercise: Exercise, shown: list[dict], slip: str
) -> None:
    scope: dict = {}
    exec(f"def {slip}(x, grad_output):\n    return grad_output * (x > 0)", scope)
    assert exercise(scope[slip]) is scope[slip]
    assert shown[0]["text/plain"].startswith(f"✘ No exercise `{slip}`; did you mean `relu_backward`?")
    assert scope["relu_backward"] is definition("relu_backward").reference
    assert exercise.outcomes == {}


def test_a_misspelt_name_takes_no_other_functions_place(exercise: Exercise, shown: list[dict]) -> None:
    scope: dict = {"relu_backward": RIGHT}
    exec("def relu_backwards(x, grad_output):\n    pass", scope)
    exercise(scope["relu_backwards"])
    assert scope["relu_backward"] is RIGHT


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (lambda x, grad_output: x, "a lambda has no name. Write `def NAME(...):`"),
        (3, "this is int, no function"),
        ("relu_backward", "this is str, no function"),
        (print, "No exercise `print`. A function is judged by its name"),
    ],
    ids=["lambda", "number", "text", "built in"],
)
def test_what_is_no_answer_gets_a_sentence(exercise: Exercise, shown: list[dict], thing: object, words: str) -> None:
    assert exercise(thing) is thing
    assert shown[0]["text/plain"].startswith("✘ ") and words in shown[0]["text/plain"]


# -- hints and solutions -------------------------------------------------------------------------------------------


def test_hints_come_one_by_one_and_the_last_one_stays(exercise: Exercise, shown: list[dict]) -> None:
    hints = definition("relu_backward").staged_hints
    for _ in range(len(hints) + 1):
        hint(RIGHT)
    texts = [bundle["text/plain"].split("\n")[0] for bundle in shown]
    expected = [f"Hint {i + 1} of {len(hints)}: {text}" for i, text in enumerate(hints)]
    assert texts == [*expected, expected[-1]]


def test_each_exercise_has_its_own_hints_and_may_be_named_by_text(exercise: Exercise, shown: list[dict]) -> None:
    hint("relu_backward")
    hint(exercise(stub()))
    texts = [bundle["text/plain"] for bundle in shown]
    assert definition("relu_backward").staged_hints[0] in texts[0]
    assert definition("linear_backward").staged_hints[0] in texts[-1]


def test_asking_for_a_hint_by_a_misspelt_name_names_the_right_one(exercise: Exercise, shown: list[dict]) -> None:
    hint("relu_backwards")
    assert shown[0]["text/plain"].endswith(
        "There is no exercise called `relu_backwards`. Did you mean `relu_backward`?"
    )


@pytest.mark.parametrize("nonsense", ["nonsense", len, 3])
def test_asking_about_something_else_is_answered(exercise: Exercise, shown: list[dict], nonsense: object) -> None:
    hint(nonsense)  # type: ignore[arg-type]
    solution(nonsense)  # type: ignore[arg-type]
    assert all("no exercise called" in bundle["text/plain"] for bundle in shown)
    assert len(shown) == 2


@pytest.mark.parametrize("name", names())
def test_the_solution_is_the_reference_and_right(exercise: Exercise, shown: list[dict], name: str) -> None:
    solution(name)
    source = shown[0]["text/plain"]
    assert source.startswith(f"def {name}(")
    assert source in shown[0]["text/markdown"]
    assert "@define" not in source


@pytest.mark.parametrize("word", ["off", "OFF", "0", "no"])
def test_an_instructor_can_switch_solutions_off(
    exercise: Exercise, shown: list[dict], monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setenv("COURSE_SOLUTIONS", word)
    solution("relu_backward")
    assert "switched off" in shown[0]["text/plain"]
    assert "def " not in shown[0]["text/plain"]


def test_with_solutions_switched_off_nothing_shows_the_reference_to_help_or_inspection(
    exercise: Exercise, shown: list[dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_SOLUTIONS", "off")
    reference = definition("relu_backward").reference
    stand_in = exercise(wrong_answer())
    x, message = torch.randn(3), torch.randn(3)
    assert torch.equal(stand_in(x, grad_output=message), reference(x, message))
    assert inspect.signature(stand_in) == inspect.signature(reference) and stand_in.__doc__ == reference.__doc__
    seen = inspect.getsource(stand_in) + inspect.getsource(inspect.unwrap(stand_in)) + pydoc.render_doc(stand_in)
    seen += repr(inspect.getclosurevars(stand_in)) + str(inspect.getfile(stand_in))
    body = definition("relu_backward").source().split('"""')[-1].strip()
    assert body not in seen and "l00_backpropagation" not in seen
    assert all(value is not reference for value in inspect.getclosurevars(stand_in).nonlocals.values())
    assert exercise(stand_in) is stand_in and shown[-1]["text/plain"].startswith("✔"), "the cell may be run again"


# -- the summary ---------------------------------------------------------------------------------------------------


def test_the_summary_counts_what_is_done(exercise: Exercise, shown: list[dict]) -> None:
    exercise(RIGHT)
    exercise(stub())
    shown.clear()
    exercise.summary()
    rows = shown[0]["text/plain"].splitlines()
    of_lesson = names("00")
    points = {name: definition(name).points for name in of_lesson}
    by_name = dict(zip(of_lesson, rows[1:-1], strict=True))
    assert by_name["relu_backward"].startswith("✔") and "right" in by_name["relu_backward"]
    assert by_name["relu_backward"].endswith(f"{points['relu_backward']} of {points['relu_backward']}")
    assert "not attempted" in by_name["linear_backward"]
    assert by_name["linear_backward"].endswith(f"0 of {points['linear_backward']}")
    assert "cell not run" in by_name["flop_ratio"]
    assert rows[-1].endswith(f"{points['relu_backward']} of {sum(points.values())}")
    assert shown[0]["text/html"].count("<tr>") == len(rows)


def test_a_wrong_answer_is_not_yet_right_in_the_summary(exercise: Exercise, shown: list[dict]) -> None:
    exercise(wrong_answer())
    exercise.summary()
    row = next(line for line in shown[-1]["text/plain"].splitlines() if "relu_backward" in line)
    assert row.startswith("✘") and "not yet right" in row and row.endswith("0 of 1")
