"""Leave torch's, numpy's and Python's global state as it was, whatever the code inside does to it."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch


@contextlib.contextmanager
def undisturbed(seed: int) -> Iterator[None]:
    """Run with seeded global generators, grad mode on and a single thread; then restore these and the default dtype.

    On tensors as small as an exercise's, a second thread only costs (on a busy machine, thousands of times over).
    """
    numpy_state, python_state = np.random.get_state(), random.getstate()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    try:
        with settings_kept(), torch.random.fork_rng(devices=devices):
            torch.default_generator.manual_seed(seed)
            for device in devices:
                torch.cuda.default_generators[device].manual_seed(seed)
            np.random.seed(seed % 2**32)
            random.seed(seed)
            torch.set_grad_enabled(True)
            torch.set_num_threads(1)
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)


@contextlib.contextmanager
def settings_kept() -> Iterator[None]:
    """Undo what the code inside does to torch's and Python's global settings."""
    settings: list[tuple[Callable[[], Any], Callable[[Any], Any]]] = [
        (torch.get_default_dtype, torch.set_default_dtype),
        (torch.get_default_device, _set_default_device),
        (torch.is_grad_enabled, torch.set_grad_enabled),
        (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
        (torch.get_num_threads, torch.set_num_threads),
        (sys.getrecursionlimit, sys.setrecursionlimit),
    ]
    before = [get() for get, _ in settings]
    try:
        yield
    finally:
        for (get, set_), value in zip(settings, before, strict=True):
            if get() != value:
                set_(value)


def _set_default_device(device: torch.device) -> None:
    torch.set_default_device(None if device.type == "cpu" else device)
