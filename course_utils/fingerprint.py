"""What a training depends on, in comparable form: its code with the settings that it reads, and tensors' values."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import inspect
import linecache
import textwrap
from types import FrameType, FunctionType
from typing import Any

import torch
from torch import Tensor


def of_program(frame: FrameType) -> list[tuple[str, str]]:
    """The code that runs in `frame` (its whole notebook cell) with what it reads, as (name, text) pairs.

    That is, by name: the functions and classes of the lesson and of the course, those that they call in turn, and the
    numbers and texts that come from elsewhere. What the cell itself assigns is left out, since a loop changes it.
    """
    source = "".join(linecache.getlines(frame.f_code.co_filename))
    scope = {**frame.f_globals, **frame.f_locals}
    inside = frame.f_code.co_name != "<module>"
    settings = {name: repr(v) for name, v in frame.f_locals.items() if inside and _plain(v)}
    found = {"": source} | settings
    waiting = [(source, scope)]
    while waiting:
        text, scope = waiting.pop()
        for name in _names_only_read(text) - found.keys():
            value = scope.get(name)
            if _plain(value):
                found[name] = repr(value)
            elif _own(value, frame):
                found[name] = _source(value)
                waiting.append((found[name], getattr(value, "__globals__", scope)))
    return sorted(found.items())


def of_values(state: Any) -> str:
    """A hash of nested dicts and lists of tensors and plain values, such as a `state_dict`."""
    digest = hashlib.sha256()
    _feed(digest, state)
    return digest.hexdigest()


def of_parts(state: Any, place: str = "") -> dict[str, str]:
    """The hash of every tensor and plain value in nested dicts and lists, by place: {"optimizer.state.0.step": ...}."""
    if isinstance(state, dict):
        parts = state.items()
    elif isinstance(state, (list, tuple)):
        parts = enumerate(state)
    else:
        return {place: of_values(state)}
    found: dict[str, str] = {}
    for name, part in parts:
        found |= of_parts(part, f"{place}.{name}" if place else str(name))
    return found


def _feed(digest: Any, state: Any) -> None:
    if isinstance(state, Tensor):
        digest.update(f"{state.dtype}{tuple(state.shape)}".encode())
        digest.update(state.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    elif isinstance(state, dict):
        for name, part in state.items():
            digest.update(repr(name).encode())
            _feed(digest, part)
    elif isinstance(state, (list, tuple)):
        for part in state:
            _feed(digest, part)
    else:
        digest.update(repr(state).encode())


def _names_only_read(source: str) -> set[str]:
    try:
        nodes = [node for node in ast.walk(ast.parse(textwrap.dedent(source))) if isinstance(node, ast.Name)]
    except SyntaxError:
        return set()
    return {n.id for n in nodes if isinstance(n.ctx, ast.Load)} - {
        n.id for n in nodes if not isinstance(n.ctx, ast.Load)
    }


def _plain(value: Any) -> bool:
    return isinstance(value, (bool, int, float, str))


def _own(value: Any, frame: FrameType) -> bool:
    home = getattr(value, "__module__", None) or ""
    own = home == frame.f_globals.get("__name__") or home.split(".")[0] == __name__.split(".")[0]
    return own and isinstance(value, (FunctionType, type))


def _source(value: Any) -> str:
    """The source of a function, or of a class's methods (a class in a notebook has no source of its own)."""
    if isinstance(value, type):
        return "\n".join(_source(method) for method in vars(value).values() if isinstance(method, FunctionType))
    with contextlib.suppress(OSError, TypeError):
        return textwrap.dedent(inspect.getsource(value))
    return ""
