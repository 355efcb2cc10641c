"""The code of a lesson, for lesson 11, benchmarks and tests: what they use is what the lesson shows, and there is no copy."""

from __future__ import annotations

import ast
import sysconfig
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from course_utils import fingerprint
from course_utils.errors import CourseError
from course_utils.exercises.catalogue import definition, names
from course_utils.notebooks import find, ipynb

# Where the package's lessons lie when it is installed without its repository.
INSTALLED = "share/generative-networks-course"


def load(lesson: str, *wanted: str, **given: Any) -> SimpleNamespace:
    """The functions and classes with these names from the notebook of a lesson ("02"), and as `code` the text of all that.

    The lesson's imports are run, and the `wanted` definitions; its exercises mean their references, and names that other
    cells would have bound are `given` by value (session=...). Nothing else runs.
    Raises LookupError for a lesson that is not there, or a name that it does not define at the top of a cell.
    """
    path = _notebook(lesson)
    cells = ipynb.code_cells(ipynb.read(path))
    nodes = [node for cell in cells if "colab" not in ipynb.tags(cell) for node in ast.parse(cell.source).body]
    answers = {name: definition(name) for name in names(lesson)}
    scope: dict = {name: answer.reference for name, answer in answers.items()} | given
    missing = set(wanted) - {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    if missing:
        raise LookupError(f"{path.stem} defines no {', '.join(sorted(missing))}")
    code, used = [], set()
    for node in nodes:
        defines = isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in wanted
        if defines or isinstance(node, (ast.Import, ast.ImportFrom)):
            exec(compile(ast.Module([node], []), path.name, "exec"), scope)
        if defines:
            code.append(ast.unparse(node))
            used |= fingerprint.names_read(code[-1])
    code += [answer.source() for name, answer in answers.items() if name in used]
    return SimpleNamespace(**{name: scope[name] for name in wanted}, code="\n".join(code))


def _notebook(lesson: str) -> Path:
    """The lesson's notebook: in the repository, or beside the installed package."""
    try:
        root = find.find_root()
    except CourseError:
        root = Path(sysconfig.get_path("data")) / INSTALLED
    paths = [found.path for found in find.lessons(root) if found.number == lesson]
    if not paths:
        raise LookupError(f"there is no lesson {lesson!r} in {root / 'notebooks'}: install the course anew")
    return paths[0]
