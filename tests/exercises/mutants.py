"""Machine-made wrong versions of the exercises' references: does the check reject every one of them?

Each mutant differs from its reference in one place: an operator, a constant, a dropped line, swapped arguments, a
missing transpose … `test_mutation.py` demands that all are rejected, or listed as equivalent with the reason.
Run as a program, `tests/exercises/mutants.py [EXERCISE …]` tells how many of them a student would get a diagnosis for, and
with `--write` keeps that in a page, `docs/diagnoses.md`.
"""

from __future__ import annotations

import ast
import copy
import difflib
import inspect
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from course_utils import files
from course_utils.boxed.observe import observe
from course_utils.exercises import check, names
from course_utils.exercises.agree import agrees
from course_utils.exercises.catalogue import definition
from course_utils.exercises.findings import Status
from course_utils.exercises.judge import trials

PAGE = Path(__file__).parents[2] / "docs" / "diagnoses.md"

Steps = tuple[tuple[str, int | None], ...]  # the way from a tree's root to a node: field, and index in a list
Change = tuple[str, ast.AST]  # the kind of a change, and what stands in the node's place

OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
COMMUTATIVE = (ast.Add, ast.Mult, ast.BitAnd, ast.BitOr)
COMPARISONS = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
PAIRS = (
    "sum mean, max min, amax amin, argmax argmin, zeros_like ones_like, zeros ones, new_zeros new_ones, exp log, "
    "tanh sigmoid, relu sigmoid, softmax log_softmax, sqrt square, cat stack, all any, any all, cumsum cumprod, "
    "randn rand, randn_like rand_like, triu tril, ceil floor, sin cos, norm sum, outer dot, logical_and logical_or, "
    "clamp_min clamp_max, argsort sort, range reversed, pairwise enumerate"
)
TWINS: dict[str, list[str]] = {}
for one, other in (pair.split() for pair in PAIRS.split(", ")):
    TWINS.setdefault(one, []).append(other)
    TWINS.setdefault(other, []).append(one)


@dataclass(frozen=True)
class Mutant:
    """One wrong version: what was changed, its source beside the reference's, and the function itself."""

    exercise: str
    kind: str
    change: str
    diff: str
    function: Callable


def mutants(name: str) -> list[Mutant]:
    """All mutants of an exercise's reference, no two of them alike."""
    exercise = definition(name)
    tree = ast.parse(exercise.source())
    original, seen, made = ast.unparse(tree), set(), []
    counts: Counter[str] = Counter()
    for kind, change, changed in _changes(tree, differentiated=bool(exercise.gradients or exercise.updates)):
        source = ast.unparse(ast.fix_missing_locations(changed))
        if source == original or source in seen:
            continue
        seen.add(source)
        counts[change] += 1
        change += f" (place {counts[change]})" if counts[change] > 1 else ""
        made.append(Mutant(name, kind, change, _diff(original, source), _compiled(source, exercise.reference)))
    return made


def survives(mutant: Mutant, seed: int = 0) -> bool:
    """Whether the check takes the mutant for a right answer. Stops at the first trial on which it is not."""
    exercise = definition(mutant.exercise)
    if exercise.claims:
        return check(mutant.exercise, mutant.function, seed).status == "right"
    return all(
        agrees(exercise, observe(exercise.reference, trial), observe(mutant.function, trial, 1.0), not exercise.exact)
        for trial in trials(mutant.exercise, seed)
    )


def _compiled(source: str, reference: Callable) -> Callable:
    namespace = dict(vars(inspect.getmodule(reference)))
    exec(compile(source, f"<mutant of {reference.__name__}>", "exec"), namespace)
    return namespace[reference.__name__]


def _diff(original: str, source: str) -> str:
    lines = difflib.unified_diff(original.splitlines(), source.splitlines(), lineterm="", n=0)
    return "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))


# -- where a change can be made ------------------------------------------------------------------------------------


def _changes(tree: ast.Module, differentiated: bool) -> Iterator[tuple[str, str, ast.Module]]:
    """Every (kind of change, description, changed copy of the tree)."""
    function = tree.body[0]
    if not isinstance(function, ast.FunctionDef):
        raise TypeError("the source of a reference must be a function")
    first = 1 if ast.get_docstring(function) is not None else 0
    parameters = [argument.arg for argument in function.args.args]
    for position in range(first, len(function.body)):
        for steps, node in _nodes(function.body[position], (("body", 0), ("body", position))):
            for kind, new in _replacements(node, parameters, differentiated):
                yield kind, f"{_short(node)} → {_short(new)}", _replaced(tree, steps, new)


def _nodes(node: ast.AST, steps: Steps) -> Iterator[tuple[Steps, ast.AST]]:
    yield steps, node
    if isinstance(node, (ast.Raise, ast.JoinedStr)):
        return  # nobody compares the wording of messages
    for field, value in ast.iter_fields(node):
        if isinstance(value, ast.AST):
            yield from _nodes(value, (*steps, (field, None)))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, ast.AST):
                    yield from _nodes(item, (*steps, (field, index)))


def _replaced(tree: ast.Module, steps: Steps, new: ast.AST) -> ast.Module:
    changed = copy.deepcopy(tree)
    place: Any = changed
    for field, index in steps[:-1]:
        place = getattr(place, field) if index is None else getattr(place, field)[index]
    field, index = steps[-1]
    if index is None:
        setattr(place, field, copy.deepcopy(new))
    else:
        getattr(place, field)[index] = copy.deepcopy(new)
    return changed


def _short(node: ast.AST) -> str:
    text = ast.unparse(node).strip().split("\n")[0]
    return "nothing" if text == "pass" else text


# -- what can be changed -------------------------------------------------------------------------------------------


def _replacements(node: ast.AST, parameters: list[str], differentiated: bool) -> Iterator[Change]:
    makers = {
        ast.BinOp: _of_operation,
        ast.UnaryOp: lambda n: iter([("an operator left out", n.operand)]),
        ast.Compare: _of_comparison,
        ast.BoolOp: _of_logic,
        ast.Constant: _of_constant,
        ast.Call: _of_call,
        ast.Attribute: _of_attribute,
        ast.Slice: _of_slice,
        ast.Subscript: _of_subscript,
        ast.Tuple: lambda n: _swapped(n, "elts", "entries exchanged"),
        ast.IfExp: _of_choice,
        ast.comprehension: _of_loop,
    }
    if type(node) in makers:
        yield from makers[type(node)](node)
    if isinstance(node, ast.stmt) and not isinstance(node, ast.Return):
        yield "a statement left out", ast.Pass()
        yield from _of_statement(node)
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and not _is_module(node):
        if node.id in parameters:
            yield from (("another argument", ast.Name(other, ast.Load())) for other in parameters if other != node.id)
        if differentiated:
            yield "cut from the graph", _method(node, "detach")


def _of_operation(node: ast.BinOp) -> Iterator[Change]:
    if type(node.op) in OPERATORS:
        yield "another operator", ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right)
    if not isinstance(node.op, COMMUTATIVE):
        yield "operands exchanged", ast.BinOp(node.right, node.op, node.left)
    yield "an operand left out", node.left
    yield "an operand left out", node.right
    yield "another sign", ast.UnaryOp(ast.USub(), node)
    yield "another sign", ast.BinOp(ast.UnaryOp(ast.USub(), node.left), node.op, node.right)


def _of_comparison(node: ast.Compare) -> Iterator[Change]:
    for position, operator in enumerate(node.ops):
        for other in COMPARISONS[type(operator)]:
            operators = [*node.ops[:position], other(), *node.ops[position + 1 :]]
            yield "another comparison", ast.Compare(node.left, operators, node.comparators)


def _of_logic(node: ast.BoolOp) -> Iterator[Change]:
    yield "another condition", ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    yield from (("another condition", value) for value in node.values)


def _of_choice(node: ast.IfExp) -> Iterator[Change]:
    for new in (node.body, node.orelse, ast.IfExp(_negated(node.test), node.body, node.orelse)):
        yield "another condition", new


def _of_constant(node: ast.Constant) -> Iterator[Change]:
    if isinstance(node.value, bool):
        yield "another constant", ast.Constant(not node.value)
    elif isinstance(node.value, (int, float)):
        yield "another constant", ast.Constant(node.value + 1)
        yield "another constant", _number(node.value - 1)


def _of_call(node: ast.Call) -> Iterator[Change]:
    yield from _swapped(node, "args", "arguments exchanged")
    if (node.args and len(node.args) + len(node.keywords) > 1) or isinstance(node.func, ast.Attribute):
        yield from (
            ("an argument left out", ast.Call(node.func, node.args[:i] + node.args[i + 1 :], node.keywords))
            for i in range(len(node.args))
        )
    for i, keyword in enumerate(node.keywords):
        others = node.keywords[:i] + node.keywords[i + 1 :]
        yield "an argument left out", ast.Call(node.func, node.args, others)
        if keyword.arg in ("min", "max"):
            turned = ast.keyword("max" if keyword.arg == "min" else "min", keyword.value)
            yield "another function", ast.Call(node.func, node.args, [*others, turned])
    for twin in TWINS.get(_called(node), []):
        function = copy.deepcopy(node.func)
        setattr(function, "attr" if isinstance(function, ast.Attribute) else "id", twin)
        yield "another function", ast.Call(function, node.args, node.keywords)
    if isinstance(node.func, ast.Attribute) and not _is_module(node.func.value):
        yield (
            "a call left out",
            node.func.value,
        )  # a method less in the chain: no .detach(), .clone(), .clamp(), .sum() …
    elif len(node.args) == 1:
        yield "a call left out", node.args[0]
    if _called(node) == "len":
        yield from (("a length off by one", new) for new in _beside(node))


def _of_attribute(node: ast.Attribute) -> Iterator[Change]:
    if node.attr in ("T", "mT", "H", "data"):
        yield "a call left out", node.value


def _of_slice(node: ast.Slice) -> Iterator[Change]:
    for end in ("lower", "upper", "step"):
        value = getattr(node, end)
        if value is not None:
            for new in (None, *(() if isinstance(value, ast.Constant) else _beside(value))):
                bounds = {"lower": node.lower, "upper": node.upper, "step": node.step} | {end: new}
                yield "another slice", ast.Slice(**bounds)


def _of_subscript(node: ast.Subscript) -> Iterator[Change]:
    if isinstance(node.slice, ast.Name):
        for new in _beside(node.slice):
            yield "an index off by one", ast.Subscript(node.value, new, node.ctx)
    if isinstance(node.ctx, ast.Load):
        yield "an index left out", node.value


def _of_loop(node: ast.For | ast.comprehension) -> Iterator[Change]:
    source = ast.unparse(node.iter)
    for text in (f"list({source})[1:]", f"list({source})[:-1]", f"list({source})[::-1]"):
        changed = copy.copy(node)
        changed.iter = ast.parse(text, mode="eval").body
        yield "another loop", changed
    for position in range(len(getattr(node, "ifs", []))):
        changed = copy.copy(node)
        changed.ifs = node.ifs[:position] + node.ifs[position + 1 :]
        yield "another condition", changed


def _of_statement(node: ast.stmt) -> Iterator[Change]:
    if isinstance(node, ast.AugAssign):
        target = copy.deepcopy(node.target)
        if type(node.op) in OPERATORS:
            yield "another operator", ast.AugAssign(target, OPERATORS[type(node.op)](), node.value)
        yield "an operand left out", ast.Assign([target], node.value, lineno=0)
    elif isinstance(node, ast.For):
        yield from _of_loop(node)
    elif isinstance(node, (ast.If, ast.While)):
        for test in (_negated(node.test), ast.Constant(True)):
            yield "another condition", type(node)(test, node.body, node.orelse)
    elif isinstance(node, ast.With):
        yield "a context left out", ast.If(ast.Constant(True), node.body, [])  # without the context: torch.no_grad() …
    elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        yield "another exception", ast.Raise(ast.Call(ast.Name("ArithmeticError", ast.Load()), node.exc.args, []))


def _swapped(node: Any, field: str, kind: str) -> Iterator[Change]:
    items = getattr(node, field)
    for position in range(len(items) - 1):
        changed = copy.copy(node)
        pair = [items[position + 1], items[position]]
        setattr(changed, field, [*items[:position], *pair, *items[position + 2 :]])
        yield kind, changed


def _beside(value: ast.expr) -> list[ast.expr]:
    return [ast.BinOp(value, operator, ast.Constant(1)) for operator in (ast.Add(), ast.Sub())]


def _negated(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), test)


def _number(value: float) -> ast.expr:
    return ast.Constant(value) if value >= 0 else ast.UnaryOp(ast.USub(), ast.Constant(-value))


def _method(value: ast.expr, name: str) -> ast.expr:
    return ast.Call(ast.Attribute(value, name, ast.Load()), [], [])


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", "") or getattr(node.func, "id", "")


def _is_module(node: ast.expr) -> bool:
    return ast.unparse(node).split(".")[0] in ("torch", "math", "F", "nn", "np", "itertools")


# -- how many wrong answers are named ------------------------------------------------------------------------------


def tally(name: str, every: int = 1) -> Iterator[tuple[str, Status]]:
    """The kind of change and the status of each mutant of an exercise, or of every so many."""
    yield from ((mutant.kind, check(name, mutant.function).status) for mutant in mutants(name)[::every])


def unlisted(name: str, every: int = 1) -> Iterator[Status]:
    """The status of each of an exercise's named mistakes, or of every so many, where its definition does not name them."""
    exercise = definition(name)
    listed = exercise.mistakes
    exercise.mistakes = {}
    try:
        yield from (check(name, mistake.function).status for mistake in list(listed.values())[::every])
    finally:
        exercise.mistakes = listed


@dataclass(frozen=True)
class Told:
    """Of an exercise's mutants, or of all: how many are wrong, and what is told of them; then the same of its `listed`
    mistakes, were they not listed."""

    wrong: int
    named: int
    nearly: int
    stopped: int
    difference: int
    listed: int
    found: int

    @classmethod
    def of(cls, mutants: Counter[Status], mistakes: Counter[Status]) -> Told:
        """The counts by status of mutants, and of mistakes that are not listed."""
        told = (Status.DIAGNOSED, Status.NEARLY_RIGHT, Status.ERROR, Status.WRONG)
        counts = [mutants[status] for status in told]
        return cls(sum(counts), *counts, mistakes.total(), mistakes[Status.DIAGNOSED])

    def line(self, name: str) -> str:
        """A row of the page's table."""
        named, found = f"{self.named} ({self.named / self.wrong:.0%})", f"{self.found} ({self.found / self.listed:.0%})"
        cells = (name, self.wrong, named, self.nearly, self.stopped, self.difference, self.listed, found)
        return f"| {' | '.join(map(str, cells))} |"


def read(page: str) -> dict[str, Told]:
    """The rows of a page, by exercise."""
    cells = re.findall(r"^\| `(\w+)` \|(.*)\|$", page, re.MULTILINE)
    return {name: Told(*(int(cell.split()[0]) for cell in row.split("|"))) for name, row in cells}


def page(rows: dict[str, Told]) -> str:
    """The page about these exercises, and about all of them together."""
    together = Told(*(sum(column) for column in zip(*map(astuple, rows.values()), strict=True)))
    lines = [row.line(f"`{name}`") for name, row in rows.items()]
    return "\n".join([TITLE, *lines, together.line("**all**"), ""])


TITLE = """# How many wrong answers are named

By `.venv/bin/python tests/exercises/mutants.py --write`, which takes some minutes; with names of exercises it renews their
rows. A mutant is an exercise's reference with one change made by machine. *Named* are those whose mistake is told: by one of
the exercise's own sentences, by a transformation, or by a slip; *nearly right* those that fail edge cases only, which are
named. The others stop with an exception, which is shown with the student's line, or are shown the difference.

A slip (`course_utils/exercises/slips.py`) is a change in one place as well, so the share of named mutants flatters it. The
last two columns do not: they count the mistakes that an exercise's definition lists, written by people as students make them,
and those of them whose mistake would be told if nobody had listed them.

| exercise | wrong | named | nearly right | stopped | difference | listed | named if not listed |
|---|---:|---:|---:|---:|---:|---:|---:|"""


def main(arguments: list[str]) -> None:
    """Print the rows of the exercises named, or of all, and what is named of each kind of change; `--write` keeps the rows
    in docs/diagnoses.md, one by one."""
    warnings.simplefilter("ignore")  # mutants do strange things
    rows = read(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
    kinds: Counter[tuple[str, Status]] = Counter()
    for name in [name for name in arguments if name != "--write"] or names():
        made = list(tally(name))
        kinds.update(made)
        rows[name] = Told.of(Counter(status for _, status in made), Counter(unlisted(name)))
        print(rows[name].line(f"`{name}`"), flush=True)
        if "--write" in arguments:
            files.write_text(page({known: rows[known] for known in names() if known in rows}), PAGE)
    for kind in dict.fromkeys(kind for kind, _ in kinds):
        wrong = sum(n for (of, status), n in kinds.items() if of == kind and status != Status.RIGHT)
        print(f"{kind}: {kinds[kind, Status.DIAGNOSED]} of {wrong} named")


if __name__ == "__main__":
    main(sys.argv[1:])
