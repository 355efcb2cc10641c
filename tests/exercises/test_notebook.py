"""What a student meets in a notebook: `@exercise`, `hint`, `solution`, the summary; and what a grading box holds."""

import json
import time
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


def wrong_answer():
    def relu_backward(x, grad_output):
        return grad_output * (x >= 0)

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
    assert shown[0]["text/plain"] == f"✘ relu_backward: {reference.mistakes['open_at_zero'].sentence}"


def test_a_right_but_slow_answer_counts_and_the_lesson_goes_on_with_the_reference(
    exercise: Exercise, shown: list[dict]
) -> None:
    def relu_backward(x, grad_output):
        time.sleep(0.01)
        return RIGHT(x, grad_output)

    assert exercise(relu_backward) is definition("relu_backward").reference
    assert exercise.outcomes["relu_backward"].status == "right"
    assert "✔" in shown[0]["text/plain"]
    assert "times as long as the reference" in shown[0]["text/plain"]


def test_what_a_wrong_answer_printed_is_shown_once(exercise: Exercise, shown: list[dict]) -> None:
    def relu_backward(x, grad_output):
        print("the shape is", x.ndim)

    exercise(relu_backward)
    assert "printed its result, but returned None" in shown[0]["text/plain"]
    assert shown[0]["text/plain"].count("the shape is") == 1


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
        {**facts, "exercise": "relu_backward", "status": "diagnosed", "mistake": "open_at_zero", "max_points": 1},
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
    check = notebook.check
    monkeypatch.setattr(notebook, "check", lambda name, answer, seed, device: seeds.append(seed) or check(name, answer))
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


def test_a_renamed_function_is_told_the_names_there_are(exercise: Exercise) -> None:
    def my_backward(x):
        return x

    with pytest.raises(KeyError, match=r"my_backward.*relu_backward"):
        exercise(my_backward)


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
