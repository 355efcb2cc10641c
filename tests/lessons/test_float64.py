"""A Mac's accelerator has no float64: what lies on the session's device goes to the CPU before it is made double.

Read from the cells' code, without running it: a name may lie on the device if what it is made of does. What functions
get as arguments is not followed.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from course_utils.notebooks import find, ipynb

ROOT = Path(__file__).parents[2]
FETCHED = {"cpu", "item", "tolist", "numpy", "shape", "size", "dim", "numel", "dtype"}
ON_THE_CPU = {"evaluate", "judge", "float", "int", "len", "range", "str", "session"}  # whose results lie there


def may_be_there(node: ast.AST, there: set[str]) -> bool:
    """Whether the value of an expression may lie on the session's device, where the values of these names do."""
    if isinstance(node, ast.Call) and isinstance(node.func, (ast.Attribute, ast.Name)):
        root = node.func
        while isinstance(root, ast.Attribute):
            root = root.value
        if isinstance(root, ast.Name) and root.id in ON_THE_CPU:
            return False
        if ast.unparse(node.func) == "copy.deepcopy":
            return True  # networks are
    if isinstance(node, ast.Attribute) and (node.attr in FETCHED or node.attr == "device"):
        return node.attr == "device"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in FETCHED:
        return False
    if isinstance(node, (ast.ListComp, ast.GeneratorExp)):
        return may_be_there(node.elt, there | set(_targets(node, there)))
    if isinstance(node, ast.Name):
        return node.id == "device" or node.id in there
    inner = () if isinstance(node, ast.Lambda) else ast.iter_child_nodes(node)
    return any(may_be_there(child, there) for child in inner)


def _targets(node: ast.ListComp | ast.GeneratorExp, there: set[str]) -> Iterator[str]:
    for loop in node.generators:
        if may_be_there(loop.iter, there):
            yield from _names(loop.target)


def _names(target: ast.AST) -> Iterator[str]:
    return (node.id for node in ast.walk(target) if isinstance(node, ast.Name))


def _note(target: ast.expr, value: ast.expr, there: set[str]) -> None:
    """Take down where the names in `target` lie now."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        for pair in zip(target.elts, value.elts, strict=True):
            _note(*pair, there)
    elif may_be_there(value, there):
        there.update(_names(target))
    else:
        there.difference_update(_names(target))


class Reader(ast.NodeVisitor):
    """Reads code in order, and finds each `.double()` of what may lie on the session's device."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.found: list[str] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outside = self.there
        self.there = outside - {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}
        self.generic_visit(node)
        self.there = outside

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        _note(node.targets[0], node.value, self.there)

    def visit_For(self, node: ast.For) -> None:
        if may_be_there(node.iter, self.there):
            self.there.update(_names(node.target))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        of = node.func.value if isinstance(node.func, ast.Attribute) and node.func.attr == "double" else None
        if of and may_be_there(of, self.there):
            self.found.append(ast.unparse(node))
        self.generic_visit(node)


def made_double_there(code: list[str]) -> list[str]:
    """What is made double where it may lie on the session's device."""
    reader = Reader()
    for source in code:
        reader.visit(ast.parse(source))
    return reader.found


@pytest.mark.parametrize("path", [lesson.path for lesson in find.lessons(ROOT)], ids=lambda path: path.stem)
def test_a_lesson_makes_nothing_double_on_the_device(path: Path) -> None:
    cells = [cell.source for cell in ipynb.code_cells(ipynb.read(path))]
    found = made_double_there([code for code in cells if not code.startswith(("%", "!"))])
    assert found == [], "call `.cpu()` before `.double()`"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("x = y.to(session.device)\nx.double()", True),
        ("x = y.to(session.device)\nx.cpu().double()", False),
        ("x = torch.zeros(3, device=device)\nz = (x.flatten() - 1).mean()\nz.double().cpu()", True),
        ("x, y = z.to(device), z\ny.double()", False),
        ("parts = [model(z.to(device)).cpu() for z in codes]\nparts[0].double()", False),
        ("for z in codes.to(device):\n    z.double()", True),
        ("def f(x):\n    y = x.to(device)\n    return y\ny = 3\ny.double()", False),
        ("copy.deepcopy(net).double()", True),
        ("copy.deepcopy(net).cpu().double()", False),
    ],
)
def test_what_may_lie_on_the_device_is_found(code: str, found: bool) -> None:
    assert bool(made_double_there([code])) == found
