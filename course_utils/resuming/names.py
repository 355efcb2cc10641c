"""The names in a piece of code, in the order in which it runs. No torch here."""

from __future__ import annotations

import ast
from collections.abc import Iterator


def uses(node: ast.AST) -> Iterator[tuple[str, bool]]:
    """The names in a piece of code in the order in which it runs, each with whether it is assigned there or read.

    What stands under a condition counts; what a function does when it is called does not.
    """
    match node:
        case ast.Name():
            yield node.id, not isinstance(node.ctx, ast.Load)
        case ast.FunctionDef():
            yield node.name, True
        case ast.Lambda():
            pass
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            own = {name for generator in node.generators for name, _ in uses(generator.target)}
            yield from (use for part in _parts(node) for use in uses(part) if use[0] not in own)
        case _:
            if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                yield node.target.id, False
            for part in _parts(node):
                yield from uses(part)


def _parts(node: ast.AST) -> list[ast.AST]:
    """What a piece of code consists of, in the order in which it runs."""
    match node:
        case ast.Assign():
            return [node.value, *node.targets]
        case ast.AnnAssign():
            return [node.value, node.target] if node.value else []
        case ast.AugAssign() | ast.NamedExpr():
            return [node.value, node.target]
        case ast.For():
            return [node.iter, node.target, *node.body, *node.orelse]
        case ast.comprehension():
            return [node.iter, node.target, *node.ifs]
        case ast.DictComp():
            return [*node.generators, node.key, node.value]
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
            return [*node.generators, node.elt]
    return list(ast.iter_child_nodes(node))
