"""Mistakes that nobody needs to list: the reference with one slip in one place, of the kinds that everybody makes.

A sign, a term or a step left out, an index off by one, an argument in another's place: an answer that does exactly
that on every trial is told so, by a `Mistake` that is made here as if the exercise's definition had named it.
"""

from __future__ import annotations

import ast
import copy
import functools
import inspect
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from course_utils.exercises.define import Definition, Mistake, source_of

Change = tuple[str, Any]  # what went wrong, in words, and the node that then stands in another's place

OPERATORS: dict[type[ast.operator], tuple[type[ast.operator], str]] = {
    ast.Add: (ast.Sub, "a minus stands where a plus belongs"),
    ast.Sub: (ast.Add, "a plus stands where a minus belongs"),
    ast.Mult: (ast.Div, "it is divided where it should be multiplied"),
    ast.Div: (ast.Mult, "it is multiplied where it should be divided"),
    ast.MatMult: (ast.Mult, "`*` stands where `@` belongs"),
    ast.Pow: (ast.Mult, "`*` stands where `**` belongs"),
    ast.FloorDiv: (ast.Div, "`/` stands where `//` belongs"),
    ast.Mod: (ast.FloorDiv, "`//` stands where `%` belongs"),
    ast.BitAnd: (ast.BitOr, "`|` stands where `&` belongs"),
    ast.BitOr: (ast.BitAnd, "`&` stands where `|` belongs"),
}
EXCHANGED: dict[type[ast.operator], str] = {
    ast.Sub: "a difference is taken the other way round",
    ast.Div: "a quotient is upside down",
    ast.MatMult: "the two sides of a matrix product are exchanged",
}
PARTS: dict[type[ast.operator], tuple[str, str]] = {  # what is missing with the left side alone, and the right one
    ast.Add: ("a term", "a term"),
    ast.Sub: ("a term with a minus", "the term before a minus"),
    ast.Mult: ("a factor", "a factor"),
    ast.Div: ("a division", "what is divided"),
    ast.MatMult: ("a matrix product", "a matrix product"),
    ast.Pow: ("a power", "what is raised to a power"),
    ast.FloorDiv: ("a division", "what is divided"),
    ast.BitAnd: ("a condition", "a condition"),
    ast.BitOr: ("a condition", "a condition"),
}
COMPARISONS: dict[type[ast.cmpop], tuple[str, tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: ("<", (ast.LtE, ast.Gt)),
    ast.LtE: ("<=", (ast.Lt, ast.GtE)),
    ast.Gt: (">", (ast.GtE, ast.Lt)),
    ast.GtE: (">=", (ast.Gt, ast.LtE)),
    ast.Eq: ("==", (ast.NotEq,)),
    ast.NotEq: ("!=", (ast.Eq,)),
}
CONFUSED = (  # functions, of which one is taken for another
    ("sum", "mean", "norm"),
    ("max", "min"),
    ("amax", "amin"),
    ("argmax", "argmin"),
    ("zeros", "ones"),
    ("zeros_like", "ones_like"),
    ("new_zeros", "new_ones"),
    ("exp", "log"),
    ("log", "log2"),
    ("tanh", "sigmoid", "relu"),
    ("softmax", "log_softmax", "sigmoid"),
    ("softplus", "relu", "exp"),
    ("sqrt", "square", "abs"),
    ("cat", "stack"),
    ("all", "any"),
    ("cumsum", "cumprod"),
    ("randn", "rand"),
    ("randn_like", "rand_like"),
    ("triu", "tril"),
    ("ceil", "floor"),
    ("sin", "cos"),
    ("outer", "dot"),
)


def slips(exercise: Definition) -> tuple[Mistake, ...]:
    """The reference of an exercise with one slip each; of slips that come to the same, any one."""
    return _slips(exercise.reference, exercise.gradients + exercise.updates)


@functools.cache
def _slips(reference: Callable, differentiated: tuple[str, ...]) -> tuple[Mistake, ...]:
    tree = ast.parse(source_of(reference))
    function = tree.body[0]
    if not isinstance(function, ast.FunctionDef):
        raise TypeError("the source of a reference must be a function")
    scope = dict(vars(inspect.getmodule(reference) or ast))
    maker = _Maker(function, {name for name, value in scope.items() if isinstance(value, ModuleType)}, differentiated)
    loops = any(isinstance(node, ast.While) for node in ast.walk(tree))
    made = []
    for holder, key, node in list(_places(function.body)):
        for words, new in maker.changes(node):
            _put(holder, key, ast.fix_missing_locations(ast.copy_location(new, node)))
            local: dict[str, Callable] = {}
            exec(compile(tree, f"<{reference.__name__} with a slip>", "exec"), scope, local)
            sentence = f"one slip gives exactly this: {words}."
            made.append(Mistake(f"generic:slip:{words}", sentence, local[function.name], loops))
        _put(holder, key, node)
    return tuple(made)


# -- where a slip can be made --------------------------------------------------------------------------------------


def _places(parent: Any) -> Iterator[tuple[Any, Any, ast.AST]]:
    """Every node below a node or a list of nodes: what holds it, under which field or index, and itself."""
    fields = enumerate(parent) if isinstance(parent, list) else ast.iter_fields(parent)
    for key, value in fields:
        if isinstance(value, ast.AST) and not isinstance(value, (ast.Raise, ast.JoinedStr)):
            yield parent, key, value
            if not _is_number(value):
                yield from _places(value)
        elif isinstance(value, list):
            yield from _places(value)


def _put(holder: Any, key: Any, node: ast.AST) -> None:
    if isinstance(holder, list):
        holder[key] = node
    else:
        setattr(holder, key, node)


def _is_number(node: ast.AST) -> bool:
    """Whether this is a number, or a minus before one."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return _is_number(node.operand)
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


# -- which slips can be made there ---------------------------------------------------------------------------------


class _Maker:
    """Knows what the names in a function mean, and which slips a node of it invites."""

    def __init__(self, function: ast.FunctionDef, modules: set[str], differentiated: tuple[str, ...]) -> None:
        self.arguments = [argument.arg for argument in function.args.args]
        self.modules, self.differentiated = modules, differentiated

    def changes(self, node: ast.AST) -> Iterator[Change]:
        """Every slip that can be made at this node."""
        if _is_number(node):
            yield from _of_number(node)
        elif isinstance(node, ast.Call):
            yield from self._of_call(node)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in self.modules:
            yield from self._of_name(node)
        else:
            for kind, make in MAKERS.items():
                if isinstance(node, kind):
                    yield from make(node)

    def _of_name(self, node: ast.Name) -> Iterator[Change]:
        for other in self.arguments if node.id in self.arguments else ():
            if other != node.id:
                yield f"`{other}` stands where `{node.id}` belongs", ast.Name(other, ast.Load())
        if self.differentiated and (node.id not in self.arguments or node.id in self.differentiated):
            words = "a part that belongs to the graph is cut from it (`.detach()`, `torch.no_grad()` …)"
            yield words, ast.Call(ast.Attribute(node, "detach", ast.Load()), [], [])

    def _of_call(self, node: ast.Call) -> Iterator[Change]:
        name = getattr(node.func, "attr", "") or getattr(node.func, "id", "")
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        owner = None if owner is None or self._is_module(owner) else owner
        inner = owner or (node.args[0] if node.args else None)
        if inner and not isinstance(inner, ast.Starred):
            yield f"the step `{name}` is left out", inner
        for group in CONFUSED:
            for other in group if name in group else ():
                if other != name:
                    yield f"`{other}` stands where `{name}` belongs", _renamed(node, other)
        for i in range(len(node.args) if owner or len(node.args) > 1 else 0):
            without = ast.Call(node.func, node.args[:i] + node.args[i + 1 :], node.keywords)
            yield f"an argument of `{name}` is left out", without
        for changed in _swapped(node, "args"):
            yield f"two arguments of `{name}` are exchanged", changed
        for i, keyword in enumerate(node.keywords):
            others = node.keywords[:i] + node.keywords[i + 1 :]
            yield f"the argument `{keyword.arg}` of `{name}` is left out", ast.Call(node.func, node.args, others)
            if keyword.arg in ("min", "max"):
                turned = "max" if keyword.arg == "min" else "min"
                words = f"`{turned}` stands where `{keyword.arg}` belongs"
                yield words, ast.Call(node.func, node.args, [*others, ast.keyword(turned, keyword.value)])
        if name == "len":
            yield from _beside(node, "a length")

    def _is_module(self, node: ast.expr) -> bool:
        while isinstance(node, ast.Attribute):
            node = node.value
        return isinstance(node, ast.Name) and node.id in self.modules


def _of_number(node: Any) -> Iterator[Change]:
    for new in (ast.BinOp(node, ast.Add(), ast.Constant(1)), ast.BinOp(node, ast.Sub(), ast.Constant(1))):
        direction = "large" if isinstance(new.op, ast.Add) else "small"
        yield f"a constant, an index, a size or a dimension is too {direction} by 1", new
    if isinstance(node, ast.UnaryOp):
        yield "a minus sign is missing", node.operand


def _of_operation(node: ast.BinOp) -> Iterator[Change]:
    kind = type(node.op)
    if kind in OPERATORS:
        other, words = OPERATORS[kind]
        yield words, ast.BinOp(node.left, other(), node.right)
    if kind in EXCHANGED:
        yield EXCHANGED[kind], ast.BinOp(node.right, node.op, node.left)
    for missing, kept in zip(PARTS.get(kind, ()), (node.left, node.right), strict=False):
        yield f"{missing} is missing", kept
    yield "there is one minus sign too many", ast.UnaryOp(ast.USub(), node)
    yield "there is one minus sign too many", ast.BinOp(ast.UnaryOp(ast.USub(), node.left), node.op, node.right)


def _of_sign(node: ast.UnaryOp) -> Iterator[Change]:
    yield ("a minus sign" if isinstance(node.op, ast.USub) else "a negation") + " is missing", node.operand


def _of_comparison(node: ast.Compare) -> Iterator[Change]:
    for position, operator in enumerate(node.ops):
        symbol, others = COMPARISONS.get(type(operator), ("", ()))
        for other in others:
            operators = [*node.ops[:position], other(), *node.ops[position + 1 :]]
            words = f"`{COMPARISONS[other][0]}` stands where `{symbol}` belongs"
            yield words, ast.Compare(node.left, operators, node.comparators)


def _of_logic(node: ast.BoolOp) -> Iterator[Change]:
    yield "`and` and `or` are taken for each other", ast.BoolOp(_other_logic(node.op), node.values)
    for value in node.values:
        yield "a condition is missing", value


def _other_logic(operator: ast.boolop) -> ast.boolop:
    return ast.Or() if isinstance(operator, ast.And) else ast.And()


def _of_truth(node: ast.Constant) -> Iterator[Change]:
    if isinstance(node.value, bool):
        yield f"{not node.value} stands where {node.value} belongs", ast.Constant(not node.value)


def _of_attribute(node: ast.Attribute) -> Iterator[Change]:
    if node.attr in ("T", "mT", "H"):
        yield f"a transpose (`.{node.attr}`) is missing", node.value


def _of_slice(node: ast.Slice) -> Iterator[Change]:
    words = {
        "lower": "a slice begins at the very start",
        "upper": "a slice goes on to the end",
        "step": "a slice takes every place",
    }
    for end, open_ended in words.items():
        value = getattr(node, end)
        beside = () if value is None or _is_number(value) else _beside(value, "a bound of a slice")
        for what, new in [(open_ended, None), *beside] if value else ():
            changed = copy.copy(node)
            setattr(changed, end, new)
            yield what, changed


def _of_subscript(node: ast.Subscript) -> Iterator[Change]:
    if isinstance(node.slice, ast.Name):
        for words, new in _beside(node.slice, "an index"):
            yield words, ast.Subscript(node.value, new, node.ctx)
    if isinstance(node.ctx, ast.Load):
        yield "an index or a slice is left out", node.value


def _of_tuple(node: ast.Tuple) -> Iterator[Change]:
    for changed in _swapped(node, "elts"):
        yield "two neighbours have changed places", changed


def _of_choice(node: ast.IfExp) -> Iterator[Change]:
    yield "a condition is turned round", ast.IfExp(node.test, node.orelse, node.body)
    yield "a condition always holds", node.body
    yield "a condition never holds", node.orelse


def _of_loop(node: Any) -> Iterator[Change]:
    for words, cut in (
        ("leaves out its first pass", "[1:]"),
        ("leaves out its last pass", "[:-1]"),
        ("runs backwards", "[::-1]"),
    ):
        changed = copy.copy(node)
        changed.iter = ast.parse(f"list({ast.unparse(node.iter)}){cut}", mode="eval").body
        yield f"a loop {words}", changed
    for position in range(len(getattr(node, "ifs", []))):
        changed = copy.copy(node)
        changed.ifs = node.ifs[:position] + node.ifs[position + 1 :]
        yield "a condition is missing", changed


def _of_test(node: ast.If | ast.While) -> Iterator[Change]:
    yield "a condition is turned round", type(node)(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    yield "a condition always holds", type(node)(ast.Constant(True), node.body, node.orelse)
    yield "a condition never holds", type(node)(ast.Constant(False), node.body, node.orelse)


def _of_context(node: ast.With) -> Iterator[Change]:
    yield f"`with {ast.unparse(node.items[0])}` is missing", ast.If(ast.Constant(True), node.body, [])


def _of_update(node: ast.AugAssign) -> Iterator[Change]:
    yield "a line is missing", ast.Pass()
    if type(node.op) in OPERATORS:
        other, words = OPERATORS[type(node.op)]
        yield words, ast.AugAssign(node.target, other(), node.value)
    yield "a value is replaced where it should be added to", ast.Assign([node.target], node.value)


def _of_assignment(node: ast.Assign) -> Iterator[Change]:
    name = getattr(node.targets[0], "id", "")
    if not name or any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(node.value)):
        yield "a line is missing", ast.Pass()


def _of_expression(node: ast.Expr) -> Iterator[Change]:
    if isinstance(node.value, ast.Call):
        yield "a line is missing", ast.Pass()


MAKERS: dict[Any, Callable[[Any], Iterator[Change]]] = {
    ast.BinOp: _of_operation,
    ast.UnaryOp: _of_sign,
    ast.Compare: _of_comparison,
    ast.BoolOp: _of_logic,
    ast.Constant: _of_truth,
    ast.Attribute: _of_attribute,
    ast.Slice: _of_slice,
    ast.Subscript: _of_subscript,
    ast.Tuple: _of_tuple,
    ast.IfExp: _of_choice,
    (ast.For, ast.comprehension): _of_loop,
    (ast.If, ast.While): _of_test,
    ast.With: _of_context,
    ast.AugAssign: _of_update,
    ast.Assign: _of_assignment,
    ast.Expr: _of_expression,
}


def _swapped(node: Any, field: str) -> Iterator[ast.AST]:
    items = getattr(node, field)
    for i in range(len(items) - 1):
        changed = copy.copy(node)
        setattr(changed, field, [*items[:i], items[i + 1], items[i], *items[i + 2 :]])
        yield changed


def _renamed(node: ast.Call, name: str) -> ast.Call:
    function = copy.copy(node.func)
    setattr(function, "attr" if isinstance(function, ast.Attribute) else "id", name)
    return ast.Call(function, node.args, node.keywords)


def _beside(value: ast.expr, what: str) -> Iterator[Change]:
    yield f"{what} is too large by 1", ast.BinOp(value, ast.Add(), ast.Constant(1))
    yield f"{what} is too small by 1", ast.BinOp(value, ast.Sub(), ast.Constant(1))
