"""Named mistakes: tried only as far as they explain the answer, and no further."""

import time
from collections import Counter
from typing import Any

import pytest
from answers import unheard_of

from course_utils.exercises import check, mistakes, names
from course_utils.exercises.agree import Comparison
from course_utils.exercises.catalogue import definition

SECONDS = 0.15  # of a processor, for a wrong answer that nobody knows


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each mistake is run."""
    counted: Counter[str] = Counter()
    observe = mistakes.observe

    def counting(candidate: Any, *arguments: Any) -> Any:
        counted[candidate.__name__] += 1
        return observe(candidate, *arguments)

    monkeypatch.setattr(mistakes, "observe", counting)
    return counted


@pytest.mark.parametrize("name", [name for name in names() if not definition(name).claims])
def test_a_mistake_that_disagrees_once_is_not_tried_again(name: str, calls: Counter[str]) -> None:
    check(name, unheard_of(name))
    results = len(definition(name).outputs)
    del calls[name]  # slips in the reference, which bear its name
    assert calls.total() <= 2 * results * len(definition(name).mistakes)


@pytest.mark.parametrize("name", names())
def test_no_mistake_is_run_twice_on_a_trial(name: str, calls: Counter[str]) -> None:
    exercise = definition(name)
    check(name, list(exercise.mistakes.values())[-1].function)
    assert max(calls.values()) <= len(exercise.trials(0))


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("name", [name for name in names() if definition(name).claims])
def test_a_mistake_always_breaks_the_claim_that_it_is_told_by(name: str, seed: int) -> None:
    exercise, tried = definition(name), mistakes.Tried(definition(name))
    trials = exercise.trials(seed)
    assert any(mistake.breaks for mistake in exercise.mistakes.values())
    for mistake in exercise.mistakes.values():
        done = [tried(mistake, trial).observation for trial in trials if mistake.breaks]
        rows = [Comparison(trial, one, one, True) for trial, one in zip(trials, done, strict=False)]
        assert not mistake.breaks or mistake.breaks in mistakes.Broken(exercise, rows).witnesses, mistake.key


@pytest.mark.parametrize("name", names())
def test_an_answer_that_nobody_knows_is_told_at_once(name: str) -> None:
    """In 0.15 seconds or, in exercises whose right answers take long already, in two and a half times that."""

    def seconds(answer: Any) -> float:
        start = time.process_time()
        check(name, answer)
        return time.process_time() - start

    for _ in range(6):
        if seconds(unheard_of(name)) <= max(SECONDS, 2.5 * seconds(definition(name).reference)):
            return
    pytest.fail(f"a wrong answer to {name} takes too long")
