"""What a training loop takes from one step to the next beside what it keeps: a run that goes on has lost that."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from types import FrameType, ModuleType
from typing import Any

import torch
from torch import Tensor

from course_utils import fingerprint
from course_utils.resuming import randomness
from course_utils.resuming.names import uses


def changeable(frame: FrameType, keep: Mapping[str, Any]) -> dict[str, Any]:
    """What the code in `frame` (its whole notebook cell) could change in place and `keep` does not hold, by name.

    Tensors, generators (also those of a session or a DataLoader), whatever has a `state_dict`, and lists and dicts of them.
    """
    scope = {**frame.f_globals, **frame.f_locals}
    kept = set(_identities(dict(keep)))
    named = {name: scope[name] for name in fingerprint.names_read(fingerprint.source_of(frame)) if name in scope}
    named |= {f"{name}.generator": vars(thing)["generator"] for name, thing in named.items() if _has_generator(thing)}
    return {name: thing for name, thing in sorted(named.items()) if _can_change(thing) and not _lies_in(thing, kept)}


def marks(things: Mapping[str, Any]) -> dict[str, str]:
    """For each thing a text that becomes another when it changes."""
    return {name: fingerprint.of_values(_mark(thing)) for name, thing in things.items()}


def rebound(frame: FrameType) -> list[str]:
    """The names that the `for` loop at which `frame` stands reads before it assigns them: their values are carried on.

    A tensor to which something is added (`total += loss`) stays the same tensor, and is none of them.
    """
    for node in fingerprint.nodes(fingerprint.source_of(frame)):
        if isinstance(node, ast.For) and node.lineno <= frame.f_lineno < node.body[0].lineno:
            scope, augmented = {**frame.f_globals, **frame.f_locals}, _only_augmented(node)
            return [n for n in rebound_in(node) if not (n in augmented and isinstance(scope.get(n), Tensor))]
    return []


def rebound_in(loop: ast.For) -> list[str]:
    """The names that a loop reads before it assigns them."""
    assigned, read_first = {name for name, _ in uses(loop.target)}, set[str]()
    for name, is_assigned in (use for statement in loop.body for use in uses(statement)):
        if is_assigned:
            assigned.add(name)
        elif name not in assigned:
            read_first.add(name)
    return sorted(read_first & assigned)


def _only_augmented(loop: ast.For) -> set[str]:
    targets = {node.target for node in ast.walk(loop) if isinstance(node, ast.AugAssign)}
    names = [node for node in ast.walk(loop) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)]
    return {node.id for node in names if node in targets} - {node.id for node in names if node not in targets}


def _has_generator(thing: Any) -> bool:
    return not isinstance(thing, (type, ModuleType)) and isinstance(
        getattr(thing, "__dict__", {}).get("generator"), randomness.KINDS
    )


def _has_state(thing: Any) -> bool:
    return not isinstance(thing, type) and hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict")


def _can_change(thing: Any) -> bool:
    if isinstance(thing, dict):
        thing = list(thing.values())
    if isinstance(thing, (list, tuple)):
        return bool(thing) and all(map(_can_change, thing))
    if isinstance(thing, Tensor):
        return not thing.is_inference()
    return isinstance(thing, randomness.KINDS) or _has_state(thing)


def _identities(thing: Any) -> Iterator[int]:
    """By which things are the same: the memory of tensors, else the object."""
    if isinstance(thing, Tensor):
        yield thing.untyped_storage().data_ptr() if thing.layout is torch.strided else id(thing)
    elif isinstance(thing, dict):
        for part in thing.values():
            yield from _identities(part)
    elif isinstance(thing, (list, tuple)):
        for part in thing:
            yield from _identities(part)
    else:
        yield id(thing)
        if _has_state(thing):
            yield from _memory(thing)


def _memory(thing: Any) -> Iterator[int]:
    for _, leaf in fingerprint.leaves(thing.state_dict()):
        if isinstance(leaf, Tensor):
            yield from _identities(leaf)


def _lies_in(thing: Any, kept: set[int]) -> bool:
    """Whether all of a thing is kept: itself, or (as with a model's wrapper) every tensor of its state."""
    if isinstance(thing, dict):
        thing = list(thing.values())
    if isinstance(thing, (list, tuple)):
        return all(_lies_in(part, kept) for part in thing)
    if isinstance(thing, Tensor):
        return kept.issuperset(_identities(thing))
    memory = set(_memory(thing)) if _has_state(thing) else set()
    return id(thing) in kept or (bool(memory) and memory <= kept)


def _mark(thing: Any) -> Any:
    if isinstance(thing, Tensor):
        return [thing._version, fingerprint.of_sample(thing)]
    if isinstance(thing, randomness.KINDS):
        return randomness.state_of(thing)
    if _has_state(thing):
        return _mark(thing.state_dict())
    if isinstance(thing, dict):
        return {name: _mark(part) for name, part in thing.items()}
    return [_mark(part) for part in thing] if isinstance(thing, (list, tuple)) else thing
