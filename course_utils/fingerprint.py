"""What a training depends on, in comparable form: its code with the settings that it reads, and tensors' values."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import hashlib
import inspect
import linecache
import re
import textwrap
from collections.abc import Iterator
from types import FrameType, FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor


def of_program(frame: FrameType) -> list[tuple[str, str]]:
    """The code that runs in `frame` (its whole notebook cell) with what it reads, as (name, text) pairs.

    That is, by name: the functions and classes of the lesson and of the course, those that they call in turn, and the
    settings that come from elsewhere: numbers and texts, tuples of them, and frozen dataclasses. What the cell itself
    assigns is left out, since a loop changes it.
    """
    source = source_of(frame)
    scope = {**frame.f_globals, **frame.f_locals}
    inside = frame.f_code.co_name != "<module>"
    settings = {name: repr(v) for name, v in frame.f_locals.items() if inside and v is not None and _is_setting(v)}
    found = {"": source} | settings
    waiting = [(source, scope)]
    while waiting:
        text, scope = waiting.pop()
        for name in _names_only_read(text) - found.keys():
            value = scope.get(name)
            if value is not None and _is_setting(value):
                found[name] = repr(value)
            elif _own(value, frame):
                found[name] = _source(value)
                waiting.append((found[name], getattr(value, "__globals__", scope)))
    return sorted(found.items())


def source_of(frame: FrameType) -> str:
    """The text of the file or of the notebook cell whose code runs in `frame`; empty where it is not known."""
    return "".join(linecache.getlines(frame.f_code.co_filename))


def nodes(source: str) -> list[ast.AST]:
    """The syntax tree of a piece of code as a list; empty if it cannot be parsed."""
    try:
        return list(ast.walk(ast.parse(textwrap.dedent(source))))
    except SyntaxError:
        return []


def names_read(source: str) -> set[str]:
    """The names that a piece of code reads, be it to add to them (`total += 1`); none if it cannot be parsed."""
    found = nodes(source)
    augmented = {node.target for node in found if isinstance(node, ast.AugAssign)}
    return {n.id for n in found if isinstance(n, ast.Name) and (isinstance(n.ctx, ast.Load) or n in augmented)}


def of_values(state: Any) -> str:
    """A hash of nested dicts and lists of tensors, arrays and plain values, such as a `state_dict`."""
    digest = hashlib.sha256()
    _feed(digest, state)
    return digest.hexdigest()


def of_sample(batch: Any) -> str:
    """A hash by which a batch is recognised: of about a thousand values from each tensor and array in it."""
    return of_values(_sample(batch))


def of_parts(state: Any, place: str = "") -> dict[str, str]:
    """The hash of every tensor and plain value in nested dicts and lists, by place: {"optimizer.state.0.step": ...}."""
    return {place: of_values(leaf) for place, leaf in leaves(state, place)}


def leaves(state: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every tensor and plain value in nested dicts and lists, with its place: ("optimizer.state.0.step", ...)."""
    if isinstance(state, dict):
        parts = state.items()
    elif isinstance(state, (list, tuple)):
        parts = enumerate(state)
    else:
        yield place, state
        return
    for name, part in parts:
        yield from leaves(part, f"{place}.{name}" if place else str(name))


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
    elif isinstance(state, np.ndarray):
        digest.update(f"{state.dtype}{state.shape}".encode())
        digest.update(state.tobytes())
    else:
        digest.update(re.sub(r" at 0x[0-9a-fA-F]+", "", repr(state)).encode())  # an address says nothing


def _sample(batch: Any) -> Any:
    if isinstance(batch, np.ndarray) or (isinstance(batch, Tensor) and batch.layout is torch.strided):
        along = round(1000 ** (1 / max(1, batch.ndim)))  # values in each dimension
        return [list(batch.shape), batch[tuple(slice(None, None, max(1, n // along)) for n in batch.shape)]]
    if isinstance(batch, dict):
        return {name: _sample(part) for name, part in batch.items()}
    return [_sample(part) for part in batch] if isinstance(batch, (list, tuple)) else batch


def _names_only_read(source: str) -> set[str]:
    names = [node for node in nodes(source) if isinstance(node, ast.Name)]
    return names_read(source) - {node.id for node in names if not isinstance(node.ctx, ast.Load)}


def _is_setting(value: Any) -> bool:
    """Whether a value says how something is done, and cannot be changed by doing it."""
    if isinstance(value, tuple):
        return all(map(_is_setting, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        frozen = type(value).__dataclass_params__.frozen  # type: ignore[attr-defined]
        return frozen and all(_is_setting(getattr(value, field.name)) for field in dataclasses.fields(value))
    return value is None or isinstance(value, (bool, int, float, str))


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
