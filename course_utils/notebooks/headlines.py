"""What a headline needs of a lesson, and nothing else: the cells with a size for the night, and those that they rest on.

A lesson says in its `session.choose(…, night=…)` what the night is for. Of the other cells it takes those that bind a name
which is read there, and so on. A cell is taken whole. What a cell changes in place is followed where it is written as an
assignment (`place["x"] = 1`), not where a function does it: so a network is made and trained in cells with a size for the
night.
"""

from __future__ import annotations

import ast
import builtins
import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from course_utils.errors import CourseError
from course_utils.notebooks.ipynb import code_cells, tags
from course_utils.resuming.names import uses

ALWAYS = {"colab", "parameters"}  # tags of cells that every run begins with


def only_headlines(notebook: Any) -> Any:
    """A copy of the notebook with the code cells that its headlines need. Raises CourseError where it has none."""
    cells = code_cells(notebook)
    wanted = [number for number, cell in enumerate(cells) if has_night_size(cell.source)]
    if not wanted:
        raise CourseError(
            "it has no size for the night (session.choose(…, night=…)): there is nothing to train for long"
        )
    first = {number for number, cell in enumerate(cells) if ALWAYS & set(tags(cell))}
    kept = needed([cell.source for cell in cells], wanted) | first
    short = copy.copy(notebook)
    short.cells = [copy.deepcopy(cell) for number, cell in enumerate(cells) if number in kept]
    return short


def has_headlines(notebook: Any) -> bool:
    """Whether a lesson has something to train for a night."""
    return any(has_night_size(cell.source) for cell in code_cells(notebook))


def has_night_size(source: str) -> bool:
    """Whether a cell chooses a size for the night."""
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "choose"
        and any(given.arg == "night" for given in node.keywords)
        for node in ast.walk(ast.parse(source))
    )


def names_checkpoint(text: str, lesson: str) -> bool:
    """Whether a text is the name of a checkpoint of that lesson, "08", say: "08-gated", "lesson08_gated", "lesson-08"."""
    return re.fullmatch(rf"{lesson}[-_][\w-]+|lesson[-_]?{lesson}([-_][\w-]+)?", text) is not None


def checkpoints(notebook: Any, lesson: str) -> list[str]:
    """The names of the checkpoints of a lesson's long trainings, in order: those in cells with a size for the night."""
    sources = [cell.source for cell in code_cells(notebook) if has_night_size(cell.source)]
    texts = [node.value for source in sources for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    return [text for text in dict.fromkeys(texts) if isinstance(text, str) and names_checkpoint(text, lesson)]


def needed(sources: list[str], wanted: list[int]) -> set[int]:
    """The numbers of the cells that the `wanted` ones need, and theirs: those that bind what is read, the latest before."""
    names = [_Names.of(source) for source in sources]
    kept, waiting = set[int](), list(wanted)
    while waiting:
        number = waiting.pop()
        if number in kept:
            continue
        kept.add(number)
        for name in names[number].at_once:
            waiting += _latest(name, names[:number])
        for name in names[number].later:
            found = _latest(name, names[: number + 1])
            waiting += found or [other for other, its in enumerate(names) if name in its.bound][:1]
    return kept


def _latest(name: str, before: list[_Names]) -> list[int]:
    return [number for number, its in enumerate(before) if name in its.bound][-1:]


@dataclass(frozen=True)
class _Names:
    """What a cell reads before it binds it, what its functions read when they are called, and what it binds or changes."""

    at_once: frozenset[str]
    later: frozenset[str]
    bound: frozenset[str]

    @classmethod
    def of(cls, source: str) -> _Names:
        tree = ast.parse(source)
        at_once, later, bound = set[str](), set[str](), set[str]()
        for statement in tree.body:
            for name, is_assigned in _uses(statement):
                if is_assigned:
                    bound.add(name)
                elif name not in bound:
                    at_once.add(name)
            bound |= _changed(statement)
        for function in _functions(tree):
            later |= _free(function)
        known = set(dir(builtins))
        return cls(frozenset(at_once - known), frozenset(later - known - at_once), frozenset(bound))


def _uses(statement: ast.stmt) -> Iterator[tuple[str, bool]]:
    """The names in a statement as it runs, each with whether it is bound there; what a function does is left out."""
    match statement:
        case ast.Import() | ast.ImportFrom():
            yield from (((alias.asname or alias.name).partition(".")[0], True) for alias in statement.names)
        case ast.FunctionDef():
            defaults = [*statement.decorator_list, *statement.args.defaults, *filter(None, statement.args.kw_defaults)]
            yield from (use for part in defaults for use in uses(part))
            yield statement.name, True
        case ast.ClassDef():
            outside = [*statement.decorator_list, *statement.bases, *statement.keywords]
            yield from (use for part in outside for use in uses(part))
            inside = [use for part in statement.body for use in _uses(part)]
            yield from ((name, False) for name, is_assigned in inside if not is_assigned)
            yield statement.name, True
        case ast.With() | ast.If() | ast.Try() if any(isinstance(part, ast.FunctionDef) for part in statement.body):
            yield from (use for part in statement.body for use in _uses(part))
        case _:
            yield from uses(statement)


def _changed(statement: ast.stmt) -> set[str]:
    """The names whose things a statement changes by an assignment to an item or an attribute."""
    changed = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store):
            root: ast.expr = node
            while isinstance(root, ast.Subscript | ast.Attribute):
                root = root.value
            if isinstance(root, ast.Name):
                changed.add(root.id)
    return changed


def _functions(node: ast.AST) -> Iterator[ast.FunctionDef | ast.Lambda]:
    """The functions in a piece of code, those inside of classes, too, but not those inside of functions."""
    for part in ast.iter_child_nodes(node):
        if isinstance(part, ast.FunctionDef | ast.Lambda):
            yield part
        else:
            yield from _functions(part)


def _free(function: ast.FunctionDef | ast.Lambda) -> set[str]:
    """The names that a function reads and does not bind itself."""
    inside = list(ast.walk(function))
    read = {node.id for node in inside if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    own = {node.id for node in inside if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    own |= {node.arg for node in inside if isinstance(node, ast.arg)}
    own |= {node.name for node in inside if isinstance(node, ast.FunctionDef)}
    return read - own
