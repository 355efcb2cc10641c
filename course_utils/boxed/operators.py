"""Which operators of torch a function really uses, under whatever name it calls them.

`forbidden.py` reads names; here a function is called once more while torch tells what it is asked for. What it returns
does not matter then, and what goes wrong neither: a candidate that cannot be watched has done nothing noteworthy.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from course_utils.boxed.observe import Trial, observe

KEPT = 200  # names of operators
BACKWARD = "backward pass"  # what runs inside of autograd's engine
TRANSPOSED = "transposed convolution"
LSTM = ("lstm", "lstm_cell", "mkldnn_rnn_layer", "_thnn_fused_lstm_cell")
RNN = ("rnn_tanh", "rnn_tanh_cell", "rnn_relu", "rnn_relu_cell")
DERIVED = (BACKWARD, "*_backward", "run_backward")
STAMPS = (TRANSPOSED, "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution_backward")
ATTENTION = ("scaled_dot_product_attention", "_scaled_dot_product_*", "multi_head_attention_forward")
# The operators behind a call that an exercise may forbid; a * stands for any beginning or end.
BEHIND = {
    **dict.fromkeys(("nn.LSTM", "nn.LSTMCell", "torch.lstm", "torch.lstm_cell"), LSTM),
    **dict.fromkeys(("nn.RNN", "nn.RNNCell", "torch.rnn_tanh", "torch.rnn_tanh_cell"), RNN),
    **dict.fromkeys(("torch.autograd", "torch.func", "Tensor.backward"), DERIVED),
    **dict.fromkeys(("F.conv_transpose2d", "nn.ConvTranspose2d"), STAMPS),
    "F.scaled_dot_product_attention": ATTENTION,
    "F.multi_head_attention_forward": ATTENTION,
}


def watched(candidate: Callable, trial: Trial, time_limit: float) -> list[str]:
    """The names of the operators that a call of `candidate` uses, in order: "conv2d", "threshold_backward"; at most `KEPT`."""
    seen: dict[str, None] = {}
    observe(candidate, trial, time_limit, lambda: _watching(seen))
    return list(seen)[:KEPT]


def behind(forbidden: Iterable[str], seen: Sequence[str], usual: Sequence[str]) -> list[str]:
    """Those of the operators `seen` that do a forbidden call's work; not those that the reference uses too, `usual`."""
    patterns = {pattern for call in forbidden for pattern in BEHIND.get(call, ())}
    return [name for name in seen if name not in usual and any(_fits(name, pattern) for pattern in patterns)]


def is_one(name: str) -> bool:
    """Whether torch has an operator of this name; the box that tells of it may have made it up."""
    known = {BACKWARD, TRANSPOSED, *(pattern for patterns in BEHIND.values() for pattern in patterns)}
    return name in known or (name.isidentifier() and hasattr(torch.ops.aten, name))


def _fits(name: str, pattern: str) -> bool:
    if pattern.startswith("*"):
        return name.endswith(pattern[1:])
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


@contextlib.contextmanager
def _watching(seen: dict[str, None]) -> Iterator[None]:
    with _Operators(seen), _Functions(seen):
        yield


class _Functions(TorchFunctionMode):
    """Notes what Python asks of torch: `torch.lstm` is made of many operators."""

    def __init__(self, seen: dict[str, None]) -> None:
        super().__init__()
        self._seen = seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._seen[str(getattr(func, "__name__", ""))] = None
        return func(*args, **(kwargs or {}))


class _Operators(TorchDispatchMode):
    """Notes what is computed in the end, whoever asks for it."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import its compiler, which takes seconds, to keep it away from here

    def __init__(self, seen: dict[str, None]) -> None:
        super().__init__()
        self._seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self._seen[name] = None
        if name == "convolution" and len(args) > 6 and args[6]:
            self._seen[TRANSPOSED] = None
        if torch._C._current_graph_task_id() != -1:
            self._seen[BACKWARD] = None
        return func(*args, **(kwargs or {}))
