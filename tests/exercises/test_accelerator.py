"""A Mac, whose accelerator has no float64: results are compared on the CPU."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from course_utils import evaluate
from course_utils.exercises import check, define, names
from course_utils.exercises.catalogue import definition
from course_utils.exercises.define import place

THERE: Any = WeakIdKeyDictionary()  # the tensors that count as being on the accelerator


class Mac(TorchDispatchMode):
    """Follows tensors of the accelerator through every operation, and refuses float64 there as PyTorch does."""

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        there = any(isinstance(leaf, Tensor) and leaf in THERE for leaf in tree_leaves((arguments, named or {})))
        results = function(*arguments, **(named or {}))
        for leaf in tree_leaves(results) if there else ():
            if isinstance(leaf, Tensor):
                if leaf.dtype == torch.float64:
                    raise TypeError("Cannot convert a MPS Tensor to float64 dtype: the MPS framework has none.")
                THERE[leaf] = True
        return results


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tensors placed on "mps" are followed, until `.cpu()` fetches them."""

    def placed(value: Any, dtype: torch.dtype, device: torch.device | str) -> Any:
        made = place(value, dtype, "cpu" if str(device) == "mps" else device)
        if str(device) == "mps":
            for leaf in tree_leaves(made):
                if isinstance(leaf, Tensor):
                    THERE[leaf] = True
        return made

    def cpu(tensor: Tensor) -> Tensor:
        if tensor not in THERE:
            return tensor
        fetched = torch.empty_like(tensor.detach(), requires_grad=False)
        del THERE[fetched]
        with torch.utils._python_dispatch._disable_current_modes():
            return fetched.copy_(tensor.detach())

    monkeypatch.setattr(define, "place", placed)
    monkeypatch.setattr(Tensor, "cpu", cpu)
    with Mac():
        yield
    THERE.clear()


@pytest.mark.parametrize("name", names())
def test_every_reference_is_right_on_a_mac(name: str, mac: None) -> None:
    outcome = check(name, definition(name).reference, seed=1, device="mps")
    assert outcome.status == "right", outcome.message


@pytest.mark.parametrize("name", ["linear_backward", "rnn_step", "kl_to_standard_normal", "causal_attention"])
def test_every_mistake_is_named_on_a_mac(name: str, mac: None) -> None:
    for mistake in definition(name).mistakes.values():
        assert check(name, mistake.function, seed=1, device="mps").mistake == mistake.key


def test_the_pretended_mac_has_no_float64(mac: None) -> None:
    tensor = define.place(torch.ones(2), torch.float32, "mps")
    with pytest.raises(TypeError, match="MPS"):
        (tensor + 1).double()
    assert (tensor + 1).cpu().double().sum() == 4


def test_what_is_measured_needs_no_float64_on_a_mac(mac: None) -> None:
    rows = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    there = define.place(rows, torch.float32, "mps")
    draws = [evaluate.draw_like(some, 5, torch.Generator().manual_seed(1)) for some in (rows, there)]
    bounds = [evaluate.paired_bootstrap(some[:, 0], some[:, 1], resamples=50) for some in (rows, there)]
    assert torch.equal(*draws) and bounds[0] == bounds[1]
