"""What holds for every exercise: its stub, its reference, its mistakes, its hints, and its cell in the notebook."""

import ast
import inspect
import itertools
import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from lesson_numbers import lesson_numbers

from course_utils.boxed.observe import observe
from course_utils.exercises import check, names
from course_utils.exercises.catalogue import definition
from course_utils.exercises.findings import OnlyOnEdge, Status
from course_utils.notebooks import find, ipynb

NOTEBOOKS = [lesson.path for lesson in find.lessons(Path(__file__).parents[2])]
CASES = {name: definition(name).made_cases(torch.Generator().manual_seed(0)) for name in names()}
EDGES = {name: {case.label: case.stated for case in cases if case.label} for name, cases in CASES.items()}
SECONDS = 0.5  # of a processor: a check answers at once

every_exercise = pytest.mark.parametrize("name", names())
every_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def built(source: str, name: str) -> Callable:
    """The function of that name from a piece of source code."""
    namespace: dict = {"torch": torch}
    exec(compile(source, "<a notebook's cell>", "exec"), namespace)
    return namespace[name]


def stub_of(reference: Callable) -> str:
    """What the notebook shows of a reference: its signature and docstring."""
    documentation = f'    """{reference.__doc__}"""\n'
    return f"def {reference.__name__}{inspect.signature(reference)}:\n{documentation}    raise NotImplementedError\n"


# -- the definition ------------------------------------------------------------------------------------------------


def test_each_case_is_made_from_a_seed_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator keeps the low 32 bits of a seed: whoever guessed those of one case would know the others."""
    exercise, seeds = definition("relu_backward"), []
    cases = exercise._cases
    assert cases is not None

    def spied(generator: torch.Generator) -> Iterator:
        for case in cases(generator):
            seeds.append(generator.initial_seed() % 2**32)
            yield case

    monkeypatch.setattr(exercise, "_cases", spied)
    for seed in (1, 1 + 2**40):
        exercise.trials(seed)
    assert len(seeds) > 20 and len(set(seeds)) == len(seeds)


@every_exercise
def test_the_stub_is_not_attempted(name: str) -> None:
    outcome = check(name, built(stub_of(definition(name).reference), name))
    assert (outcome.status, outcome.mistake) == ("not attempted", None)
    assert "not attempted" in outcome.message


@every_exercise
@pytest.mark.parametrize("seed", [0, 1, 2, 2**31 - 1])
def test_the_reference_is_right(name: str, seed: int) -> None:
    outcome = check(name, definition(name).reference, seed)
    assert outcome.status == "right", outcome.message
    assert int(outcome.message.split()[2]) >= 25


@every_exercise
@pytest.mark.parametrize("seed", [0, 7])
def test_each_mistake_is_told_with_its_own_sentence(name: str, seed: int) -> None:
    for mistake in definition(name).mistakes.values():
        outcome = check(name, mistake.function, seed)
        assert outcome.mistake == mistake.key, outcome.message
        if outcome.status == "nearly right":
            (finding,) = outcome.findings
            assert isinstance(finding, OnlyOnEdge) and finding.label in EDGES[name]
            assert outcome.message.removeprefix("nearly right, except where ").endswith(f": {mistake.sentence}")
        else:
            assert (outcome.status, outcome.message) == ("diagnosed", mistake.sentence)


@every_exercise
def test_no_two_mistakes_say_the_same(name: str) -> None:
    sentences = [mistake.sentence for mistake in definition(name).mistakes.values()]
    assert len(set(sentences)) == len(sentences)


@every_exercise
def test_there_are_three_mistakes_two_hints_and_points(name: str) -> None:
    exercise = definition(name)
    assert len(exercise.mistakes) >= 3
    assert len(exercise.staged_hints) >= 2
    assert exercise.points >= 1
    assert exercise.lesson in lesson_numbers()


@every_exercise
def test_mistakes_take_the_same_arguments_as_the_reference(name: str) -> None:
    exercise = definition(name)
    parameters = list(inspect.signature(exercise.reference).parameters)
    for mistake in exercise.mistakes.values():
        assert list(inspect.signature(mistake.function).parameters) == parameters, mistake.key


@every_exercise
def test_the_reference_is_documented_and_short(name: str) -> None:
    reference = definition(name).reference
    assert reference.__doc__, "the docstring is the exercise's text"
    assert len(inspect.getsource(reference).splitlines()) < 40


# -- its edge cases ------------------------------------------------------------------------------------------------


def told() -> dict[str, str]:
    """What a student reads of each exercise before writing it: its card and its docstring, in one line."""
    texts = {}
    for path in NOTEBOOKS:
        cells = ipynb.read(path).cells
        for card, stub in itertools.pairwise(cells):
            if card.cell_type == "markdown" and (function := ipynb.exercise_function(stub)):
                docstring = ast.get_docstring(function, clean=False) or ""
                texts[function.name] = " ".join(f"{card.source} {docstring}".split())
    return texts


TOLD = told()


@every_exercise
def test_no_edge_case_is_tested_that_the_card_or_the_docstring_does_not_state(name: str) -> None:
    unsaid = {label: stated for label, stated in EDGES[name].items() if " ".join(stated.split()) not in TOLD[name]}
    assert not unsaid
    assert all(len(stated.split()) >= 2 for stated in EDGES[name].values()), "a word alone states nothing"


@every_exercise
def test_refusing_bad_input_is_an_edge_case(name: str) -> None:
    reference = definition(name).reference
    for seed in range(3):
        refused = [
            trial.label for trial in definition(name).trials(seed) if observe(reference, trial).event == "raised"
        ]
        assert all(refused), "a student who writes no refusal has the function right"


@every_exercise
def test_a_nearly_right_answer_loses_the_points_of_its_edge_cases(name: str) -> None:
    exercise = definition(name)
    lost = exercise.points - exercise.earned(Status.NEARLY_RIGHT)
    assert lost == exercise.edge_points == (1 if exercise.points >= 2 else 0.5)
    assert [exercise.earned(status) for status in Status if "right" not in status] == [0] * (len(Status) - 2)
    assert exercise.earned(Status.RIGHT) == exercise.points


@every_exercise
def test_ordinary_cases_come_first_and_show_a_right_answer_alone(name: str) -> None:
    exercise = definition(name)
    edges = [bool(trial.label) for trial in exercise.trials(0)]
    assert edges == sorted(edges) and not all(edges)


# -- the check -----------------------------------------------------------------------------------------------------


@every_exercise
def test_a_check_is_quick(name: str) -> None:
    fastest = float("inf")
    for _ in range(5):
        start = time.process_time()
        check(name, definition(name).reference)
        fastest = min(fastest, time.process_time() - start)
        if fastest <= SECONDS:
            return
    pytest.fail(f"a check takes {fastest:.2f} s")


@every_exercise
def test_the_same_seed_gives_the_same_outcome(name: str) -> None:
    exercise = definition(name)
    mistake = next(iter(exercise.mistakes.values()))
    broken = built(f"def {name}(*arguments):\n    return nothing\n", name)
    for answer in (exercise.reference, mistake.function, broken):
        assert check(name, answer, seed=5) == check(name, answer, seed=5)


@every_exercise
def test_different_seeds_give_different_cases(name: str) -> None:
    assert repr(definition(name).trials(0)) == repr(definition(name).trials(0))
    assert repr(definition(name).trials(0)) != repr(definition(name).trials(1))


def global_state() -> list:
    return [
        torch.get_rng_state().tolist(),
        repr(np.random.get_state()),
        random.getstate(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
    ]


@every_exercise
def test_a_check_leaves_global_state_alone(name: str) -> None:
    exercise = definition(name)
    before = global_state()
    for answer in (exercise.reference, next(iter(exercise.mistakes.values())).function):
        check(name, answer)
        assert global_state() == before


@every_exercise
def test_a_check_does_not_depend_on_global_state(name: str) -> None:
    exercise = definition(name)
    mistake = next(iter(exercise.mistakes.values()))
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            assert check(name, exercise.reference).status == "right"
            assert check(name, mistake.function).mistake == mistake.key
    finally:
        torch.set_default_dtype(default)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@every_exercise
def test_one_case_runs_on_the_accelerator_too(name: str) -> None:
    exercise = definition(name)
    assert check(name, exercise.reference, device="cuda").status == "right"
    for mistake in exercise.mistakes.values():
        assert check(name, mistake.function, device="cuda").mistake == mistake.key


# -- the notebook --------------------------------------------------------------------------------------------------


def exercise_cells(notebook: Path) -> dict[str, str]:
    """The source of each cell with an `@exercise`, by the function's name, in the notebook's order."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    found = {}
    for source in sources:
        if source.lstrip().startswith("@exercise"):
            found[stub_in(source).name] = source
    return found


def stub_in(source: str) -> ast.FunctionDef:
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    assert len(functions) == 1, "an exercise is one function in a cell of its own"
    return functions[0]


@every_notebook
def test_a_lesson_holds_all_its_exercises_in_order(notebook: Path) -> None:
    assert list(exercise_cells(notebook)) == names(notebook.name.partition("_")[0])


@every_notebook
def test_stub_and_reference_agree_in_name_signature_and_docstring(notebook: Path) -> None:
    for name, source in exercise_cells(notebook).items():
        stub, reference = stub_in(source), ast.parse(definition(name).source()).body[0]
        assert isinstance(reference, ast.FunctionDef)
        assert stub.name == reference.name
        assert ast.unparse(stub.args) == ast.unparse(reference.args)
        assert ast.get_docstring(stub) == ast.get_docstring(reference)


@every_notebook
def test_the_stub_in_the_notebook_is_not_attempted(notebook: Path) -> None:
    for name, source in exercise_cells(notebook).items():
        stub = built(source.replace("@exercise", "", 1), name)
        assert check(name, stub).status == "not attempted"
