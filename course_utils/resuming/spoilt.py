"""After a training that diverged: what holds nothing useful any more, and which cell of a notebook makes it anew."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from course_utils import fingerprint
from course_utils.resuming import names

USELESS = 1e15  # no weight is so large, and its square is near the end of float32's range


def trained(frame: FrameType) -> dict[str, Any]:
    """What the code in `frame` (its whole notebook cell) trains, if nothing else is said: the modules that it names, and
    the tensors with gradients."""
    scope = {**frame.f_globals, **frame.f_locals}
    named = {name: scope[name] for name in fingerprint.names_read(fingerprint.source_of(frame)) if name in scope}
    return {name: named[name] for name in sorted(named) if _is_trained(named[name])}


def places(state: Any, most: int = 2) -> str:
    """Which tensors of nested dicts and lists hold NaN, infinity or numbers beyond use, in words; empty if none does."""
    held = [f"{place} held {what}" for place, leaf in fingerprint.leaves(state) if (what := _uselessness(leaf))]
    return " and ".join(held[:most]) + (f" (and {len(held) - most} more like it)" if len(held) > most else "")


def remedy(things: Iterable[Any], frame: FrameType) -> str:
    """How to make anew what an earlier cell has made, as a clause: "run the cell that makes `net` (In [3]), then this one".

    Empty where the code in `frame` makes everything itself. IPython has the text of every cell that was run in `In`.
    """
    names = sorted({name for thing in things for name in _global_names(thing, frame.f_globals)[:1]})
    cells = frame.f_globals.get("In")
    if not names:
        return ""
    if not isinstance(cells, list):
        return f"make {_listed(names)} anew"
    makers = {name: _maker(name, cells) for name in names}
    here = len(cells) - 1
    others = sorted(name for name in names if makers[name] != here)
    if not others:
        return ""
    numbers = sorted({makers[name] for name in others} - {0})
    where = f" (In {', '.join(f'[{number}]' for number in numbers)})" if numbers else ""
    return f"run the cell{'s' * (len(numbers) > 1)} again that make{'s' * (len(numbers) < 2)} {_listed(others)}{where}, then this one"


def _is_trained(thing: Any) -> bool:
    return isinstance(thing, nn.Module) or (isinstance(thing, Tensor) and thing.is_leaf and thing.requires_grad)


def _uselessness(leaf: Any) -> str:
    if not isinstance(leaf, Tensor) or not leaf.is_floating_point() or not leaf.numel():
        return ""
    largest = leaf.detach().abs().max().item()
    if largest != largest:
        return "NaN"
    if largest == torch.inf:
        return "infinity"
    return f"numbers up to {largest:.0e}" if largest > USELESS else ""


def _global_names(thing: Any, scope: Mapping[str, Any]) -> list[str]:
    return sorted(name for name, value in scope.items() if value is thing and not name.startswith("_"))


def _maker(name: str, cells: list[str]) -> int:
    """The number of the last cell that assigns `name` without having read it; 0 if there is none."""
    for number in range(len(cells) - 1, 0, -1):
        try:
            uses = [assigned for used, assigned in names.uses(ast.parse(cells[number])) if used == name]
        except SyntaxError:
            continue
        if uses and uses[0]:
            return number
    return 0


def _listed(names: list[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[1:] else quoted)
