"""Answers that tests make by machine: the reference's result, spoilt in a way that no teacher has a name for."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.exercises.catalogue import definition


def unheard_of(name: str) -> Callable:
    """An answer to an exercise that no named mistake and no transformation explains."""

    def answer(*arguments: Any) -> Any:
        result = definition(name).reference(*arguments)
        for module in arguments if result is None else ():
            if isinstance(module, nn.Module):
                _spoil_parameters(module)
        return _spoilt(result)

    return answer


@torch.no_grad()
def _spoil_parameters(module: nn.Module) -> None:
    for parameter in module.parameters():
        parameter.copy_(_spoilt(parameter))


def _spoilt(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(map(_spoilt, value))
    if isinstance(value, Tensor):
        ripple = torch.arange(value.numel(), dtype=torch.float64).reshape(value.shape)
        return (
            value + ripple.cos().mul(0.1).to(value) if value.is_floating_point() else value + ripple.to(value) % 2 * 3
        )
    if isinstance(value, bool):
        return not value
    return value * 1.1 + 0.37 if isinstance(value, float) else value * 2 + 3 if isinstance(value, int) else value
