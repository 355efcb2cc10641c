"""When two values are the same in every bit."""

import struct
from typing import Any

import torch
from torch import Tensor

from course_utils.boxed.fixtures import Fixture
from course_utils.boxed.observe import Observation, Trial


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal in every bit and of the same types."""
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(_bits(a), _bits(b))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (Trial, Observation, Fixture)):
        return same(vars(a), vars(b))
    if isinstance(a, float):
        return struct.pack(">d", a) == struct.pack(">d", b)
    return a == b


def _bits(tensor: Tensor) -> Tensor:
    return (
        tensor.flatten().clone(memory_format=torch.contiguous_format).view(torch.uint8)
        if tensor.numel()
        else torch.zeros(0)
    )
