"""A solved notebook has the references in place of the stubs."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from specimen import STUB, lesson

from course_utils.errors import CourseError
from course_utils.notebooks import ipynb, solve


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exercise called `step`, without importing the engine (and torch)."""

    def definition(name: str) -> Any:
        if name != "step":
            raise KeyError(f"there is no exercise called {name!r}; there are: step")
        return types.SimpleNamespace(source=lambda: 'def step(x):\n    """Double."""\n    return 2 * x\n')

    define = types.ModuleType("course_utils.exercises.catalogue")
    define.definition = definition  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "course_utils.exercises", types.ModuleType("course_utils.exercises"))
    monkeypatch.setitem(sys.modules, "course_utils.exercises.catalogue", define)


def test_solving_replaces_the_function_and_keeps_the_decorator_and_the_rest(root: Path, reference: None) -> None:
    notebook = lesson(root)
    notebook.cells[6].source = f"# before\nk = 1\n{STUB}  # inside\n\nafter = step(k)"
    solved = solve.solve(notebook)
    expected = '# before\nk = 1\n@exercise\ndef step(x):\n    """Double."""\n    return 2 * x\n\nafter = step(k)'
    assert solved.cells[6].source == expected
    assert [c.source for c in solved.cells[:6]] == [c.source for c in notebook.cells[:6]]
    assert all(c.outputs == [] and c.execution_count is None for c in ipynb.code_cells(solved))
    assert solved.metadata["course"] == {"solved": ["step"]}
    assert notebook.cells[6].outputs == [] and "NotImplementedError" in notebook.cells[6].source


def test_an_undefined_exercise_or_none_at_all_is_a_clear_error(root: Path, reference: None) -> None:
    notebook = lesson(root)
    notebook.cells[6].source = STUB.replace("step", "leap")
    with pytest.raises(CourseError, match="no exercise called 'leap'"):
        solve.solve(notebook)
    notebook.cells.pop(6)
    with pytest.raises(CourseError, match="has no exercise"):
        solve.solve(notebook)


def test_an_exercise_cell_that_is_not_python_is_a_clear_error(root: Path, reference: None) -> None:
    notebook = lesson(root)
    notebook.cells[6].source = "@exercise\ndef step(x:"
    with pytest.raises(CourseError, match="not valid Python"):
        solve.solve(notebook)
