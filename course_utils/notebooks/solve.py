"""A lesson with its exercises filled in by the references."""

from __future__ import annotations

import ast
import copy
from typing import Any

from course_utils.errors import CourseError
from course_utils.notebooks.ipynb import clear_outputs, exercise_function


def solve(notebook: Any) -> Any:
    """A copy with every exercise's function replaced by the reference, and without outputs. Imports torch.

    Raises CourseError for a notebook without exercises, or with one that the course does not define.
    """
    from course_utils.exercises.catalogue import definition

    solved, names = copy.deepcopy(notebook), []
    for cell in solved.cells:
        function = exercise_function(cell)
        if function is not None:
            try:
                reference = definition(function.name).source()
            except KeyError as error:
                raise CourseError(str(error.args[0])) from error
            cell.source = replace_function(cell.source, function, "@exercise\n" + reference)
            names.append(function.name)
    if not names:
        raise CourseError("this notebook has no exercise (a function under @exercise)")
    clear_outputs(solved)
    solved.metadata["course"] = {"solved": names}
    return solved


def replace_function(source: str, function: ast.FunctionDef, replacement: str) -> str:
    """`source` with the lines of `function`, decorators included, replaced; the rest of the cell stays."""
    lines = source.splitlines()
    first = min(node.lineno for node in (function, *function.decorator_list)) - 1
    return "\n".join([*lines[:first], *replacement.rstrip().splitlines(), *lines[function.end_lineno :]])
