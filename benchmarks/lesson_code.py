"""The code of a lesson, for benchmarks: what is measured is what the lesson shows, and there is no copy of it."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from course_utils import exercises
from course_utils.exercises.catalogue import definition
from course_utils.notebooks import find, ipynb

ROOT = Path(__file__).resolve().parents[1]


def load(lesson: str, *wanted: str, **given: Any) -> SimpleNamespace:
    """The functions and classes with these names from the notebook of a lesson ("02").

    The lesson's imports are run, and the `wanted` definitions; its exercises mean their references, and names that other
    cells would have bound are `given` by value (session=...). Nothing else runs.
    Raises LookupError for a lesson that is not there, or a name that it does not define at the top of a cell.
    """
    paths = [found.path for found in find.lessons(ROOT) if found.number == lesson]
    if not paths:
        raise LookupError(f"there is no lesson {lesson!r}")
    cells = ipynb.code_cells(ipynb.read(paths[0]))
    nodes = [node for cell in cells if "colab" not in ipynb.tags(cell) for node in ast.parse(cell.source).body]
    scope: dict = {name: definition(name).reference for name in exercises.names(lesson)} | given
    missing = set(wanted) - {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    if missing:
        raise LookupError(f"{paths[0].stem} defines no {', '.join(sorted(missing))}")
    for node in nodes:
        defines = isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in wanted
        if defines or isinstance(node, (ast.Import, ast.ImportFrom)):
            exec(compile(ast.Module([node], []), paths[0].name, "exec"), scope)
    return SimpleNamespace(**{name: scope[name] for name in wanted})
