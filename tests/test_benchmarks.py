"""Benchmarks that take minutes fail in their first second or not at all: what they name of the course is there."""

import ast
import runpy
from pathlib import Path

import pytest

from course_utils.exercises.catalogue import definition
from course_utils.notebooks import find, ipynb

ROOT = Path(__file__).parents[1]


def loads() -> list[tuple[str, str, list[str]]]:
    """Each `lesson_code.load` of a benchmark: the benchmark, the lesson, and the names that it asks for."""
    found = []
    for path in sorted(ROOT.glob("benchmarks/*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        bound = {
            target.id: node.value
            for node in nodes
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in nodes:
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "lesson_code.load":
                given = [bound[ast.unparse(a.value)].elts if isinstance(a, ast.Starred) else [a] for a in node.args]
                lesson, *names = [ast.literal_eval(name) for several in given for name in several]
                found.append((path.stem, lesson, names))
    return found


def test_the_benchmarks_that_run_a_lesson_are_found() -> None:
    assert {"lstm_loop", "learning_rates", "dcgan_throughput", "vae_throughput"} <= {name for name, _, _ in loads()}


@pytest.mark.parametrize(("benchmark", "lesson", "names"), loads())
def test_what_a_benchmark_runs_of_a_lesson_is_defined_there(benchmark: str, lesson: str, names: list[str]) -> None:
    (path,) = (found.path for found in find.lessons(ROOT) if found.number == lesson)
    nodes = [node for cell in ipynb.code_cells(ipynb.read(path)) for node in ast.parse(cell.source).body]
    assert set(names) <= {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}


def test_the_submissions_that_grading_is_measured_with_can_be_made() -> None:
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "grading.py"))
    made = [benchmark["submission"](number, hostile=True) for number in range(120)]
    full = {name: definition(name).points for name in benchmark["EXERCISES"]}
    assert {kind for _, _, kind in made} == {"right", "mistaken", "unfinished", *benchmark["HOSTILE"]}
    for answers, points, kind in made:
        assert answers.keys() == points.keys() == full.keys()
        assert (points == full) == (kind == "right")
