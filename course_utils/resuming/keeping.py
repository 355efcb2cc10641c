"""What a training keeps: modules, optimisers, schedules, generators, tensors. Their state, and how it is brought back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from course_utils.resuming import randomness


def state(thing: Any) -> Any:
    """The state of a thing, or of all in nested dicts and lists, of tensors and plain values.

    Raises TypeError for a thing that has none.
    """
    if isinstance(thing, Tensor):
        return thing.detach()
    if isinstance(thing, randomness.KINDS):
        return randomness.state_of(thing)
    if hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict"):
        return thing.state_dict()
    if isinstance(thing, (list, tuple)):
        return [state(part) for part in thing]
    if isinstance(thing, dict):
        return {name: state(part) for name, part in thing.items()}
    raise TypeError(f"cannot keep a {type(thing).__name__}: it has no state_dict, and is no tensor or generator")


def restore(thing: Any, saved: Any) -> None:
    """Bring a thing, in place, to a state that `state` gave."""
    if isinstance(thing, Tensor):
        with torch.no_grad():
            thing.copy_(saved)
    elif isinstance(thing, randomness.KINDS):
        randomness.put_back(thing, saved)
    elif isinstance(thing, (list, tuple)):
        for part, saved_part in zip(thing, saved, strict=True):
            restore(part, saved_part)
    elif isinstance(thing, dict):
        for name, part in thing.items():
            restore(part, saved[name])
    else:
        thing.load_state_dict(saved)


def signature(saved: Any) -> Any:
    """Structure and shapes of a state, without the values that training changes."""
    if isinstance(saved, Tensor):
        return [str(saved.dtype), list(saved.shape)]
    if isinstance(saved, dict) and "param_groups" in saved:
        return [len(group["params"]) for group in saved["param_groups"]]
    if isinstance(saved, dict):
        return {str(name): signature(part) for name, part in saved.items() if name != "state"}
    if isinstance(saved, (list, tuple)):
        return [signature(part) for part in saved]
    return None if isinstance(saved, (int, float)) else str(saved)
