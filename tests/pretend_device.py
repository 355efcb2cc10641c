"""A second torch device that needs no hardware: it computes on the CPU, and refuses what a GPU would refuse.

It guards the lessons' way onto a GPU on machines that have none. Importing this module makes its name known to torch;
`install()` lets tensors lie on `DEVICE`, and `serve_lessons()` makes it the device of `runtime.start`. Neither can be
taken back: use a process of its own.

What it refuses, as CUDA does:

* an operation on tensors of both devices; tensors without dimensions may lie on the CPU, and so may indices;
* a generator of one device for numbers on the other;
* `.numpy()` of a tensor that lies on it, and with it `np.asarray` and matplotlib.

What it does not know: autocast (its sessions compute in float32), streams, memory, torch.compile, kernels that a GPU
lacks, sizes that change in place (`resize_`). Its numbers are the CPU's. A saved tensor is read as one of the CPU, which
is what `torch.load(map_location="cpu")` makes of a GPU's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

NAME = "pretend"
MAY_MIX = {"aten::copy_", "aten::_to_copy", "aten::is_same_size"}
INDEXING = {"aten::index", "aten::_unsafe_index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}


class _Backend(backend_registration._DummyBackendModule):
    """What torch asks of a device's module: one device, without generators and streams of its own."""

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def manual_seed_all(self, seed: int) -> None:
        pass

    def synchronize(self, *_: Any) -> None:
        pass

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16, torch.float32]

    def get_rng_state(self, *_: Any) -> Tensor:
        return torch.empty(0, dtype=torch.uint8)

    def set_rng_state(self, *_: Any) -> None:
        pass


backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
DEVICE = torch.device(NAME, 0)


def install() -> None:
    """Let tensors and generators of this process lie on `DEVICE`, for good."""
    torch.__future__.set_swap_module_params_on_conversion(True)  # `.to()` and `.double()` of modules swap parameters
    torch.Generator = Generator  # type: ignore[misc]
    _Watch().__enter__()


def serve_lessons() -> None:
    """Install the device, and let it be the one that `runtime.start` picks."""
    from course_utils import runtime

    install()
    runtime.pick_device = lambda: DEVICE


class DeviceTensor(Tensor):
    """A tensor that lies on the pretended device; `inner`, on the CPU, has its numbers."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> DeviceTensor:
        made = Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=DEVICE,
        )
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, operator: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return dispatch(operator, args, kwargs or {})

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.inner.untyped_storage()

    def tolist(self) -> Any:
        return self.inner.tolist()

    def numpy(self, *, force: bool = False) -> Any:
        if force:
            return self.inner.numpy(force=True)
        raise TypeError(
            f"can't convert {DEVICE} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
        )

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self.numpy()

    def __repr__(self, **_: Any) -> str:
        return f"{NAME}:{self.inner!r}"

    def __format__(self, spec: str) -> str:
        return format(self.inner.item() if self.dim() == 0 else repr(self), spec)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.inner.detach().__reduce_ex__(protocol)

    def __deepcopy__(self, memo: dict) -> Any:
        if id(self) in memo:
            return memo[id(self)]
        copied: Tensor = DeviceTensor(self.inner.clone())
        if isinstance(self, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied, self.requires_grad)
        else:
            copied.requires_grad_(self.requires_grad)
        if self.grad is not None:
            copied.grad = self.grad.__deepcopy__(memo)
        memo[id(self)] = copied
        return copied


class Generator(torch.Generator):
    """torch's generator, which may belong to the pretended device; its numbers are the CPU's."""

    def __new__(cls, device: Any = "cpu") -> Generator:
        there = torch.device(device).type == NAME
        made = super().__new__(cls, "cpu" if there else device)
        if there:
            _GENERATORS[made._cdata] = made
        return made

    @property
    def device(self) -> torch.device:
        return DEVICE if self._cdata in _GENERATORS else torch.device("cpu")


# Those of the device, by the address under which torch knows them: an operation is handed other objects for the same ones.
_GENERATORS: WeakValueDictionary[int, Generator] = WeakValueDictionary()


class _Watch(TorchDispatchMode):
    """Sees every operation, also those on the CPU's tensors alone."""

    def __torch_dispatch__(self, operator: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return dispatch(operator, args, kwargs or {})


# --- one operation ----------------------------------------------------------------------------------------------


def dispatch(operator: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Do on the CPU what is asked of the pretended device, and put the results there. Raises RuntimeError for a mixture."""
    leaves, form = tree_flatten((args, kwargs))
    asked = kwargs.get("device")
    lies_there = any(isinstance(leaf, DeviceTensor) for leaf in leaves)
    made_there = asked is not None and torch.device(asked).type == NAME
    if lies_there:
        _refuse_two_devices(operator, args, leaves)
    _refuse_strange_generators(operator, leaves, lies_there or made_there)
    if not lies_there and not made_there:
        return operator(*args, **kwargs)
    here = [_here(leaf) for leaf in leaves]
    args, kwargs = tree_unflatten(here, form)
    kwargs.pop("pin_memory", None)
    results = STAND_INS.get(operator._schema.name, operator)(*args, **kwargs)
    if asked is not None and not made_there:
        return results  # `.cpu()`, or a tensor made on the CPU in the likeness of one that lies there
    given = {id(inner): leaf for inner, leaf in zip(here, leaves, strict=True) if isinstance(leaf, Tensor)}
    return tree_map(lambda result: _there(result, given), results)


def _here(leaf: Any) -> Any:
    if isinstance(leaf, DeviceTensor):
        return leaf.inner
    return torch.device("cpu") if isinstance(leaf, torch.device) and leaf.type == NAME else leaf


def _there(result: Any, given: dict[int, Tensor]) -> Any:
    """A result on the pretended device; what changed an argument in place returns that very argument."""
    if not isinstance(result, Tensor):
        return result
    return given[id(result)] if id(result) in given else DeviceTensor(result)


def _refuse_two_devices(operator: Any, args: tuple, leaves: list[Any]) -> None:
    name = operator._schema.name
    if name in INDEXING:
        if not isinstance(args[0], DeviceTensor):
            raise RuntimeError(
                f"indices should be either on cpu or on the same device as the indexed tensor (cpu): {operator}"
            )
        leaves = tree_flatten(args[2:])[0]  # the second argument are the indices
    strange = [
        leaf for leaf in leaves if isinstance(leaf, Tensor) and not isinstance(leaf, DeviceTensor) and leaf.dim() > 0
    ]
    if strange and name not in MAY_MIX:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {DEVICE} and cpu! "
            f"({operator}, a tensor of shape {tuple(strange[0].shape)} is on the cpu)"
        )


def _refuse_strange_generators(operator: Any, leaves: list[Any], there: bool) -> None:
    for leaf in leaves:
        if isinstance(leaf, torch._C.Generator) and (leaf._cdata in _GENERATORS) != there:
            wanted, found = (NAME, "cpu") if there else ("cpu", NAME)
            raise RuntimeError(f"Expected a '{wanted}' device type for generator but found '{found}' ({operator})")


# --- what torch computes in one piece on a GPU, and the CPU does not have ---------------------------------------


def lstm_cell(inputs: Tensor, hidden: Tensor, cell: Tensor, *biases: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The shares of input and hidden state in the gates i, f, g, o (N, 4h), and the cell (N, h): state, cell, gates."""
    gates = sum((bias for bias in biases if bias is not None), inputs + hidden)
    i, f, g, o = gates.chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    cell = f * cell + i * g
    return o * cell.tanh(), cell, torch.cat([i, f, g, o], 1)


def lstm_cell_backward(
    grad_state: Tensor | None, grad_cell: Tensor | None, before: Tensor, after: Tensor, gates: Tensor, has_bias: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The gradients of the gates' shares (N, 4h), of the cell before (N, h), and of a bias (4h,)."""
    i, f, g, o = gates.chunk(4, 1)
    grad_state = torch.zeros_like(after) if grad_state is None else grad_state
    squashed = after.tanh()
    grad = grad_state * o * (1 - squashed**2) + (0 if grad_cell is None else grad_cell)
    parts = (
        grad * g * i * (1 - i),
        grad * before * f * (1 - f),
        grad * i * (1 - g**2),
        grad_state * squashed * o * (1 - o),
    )
    grad_gates = torch.cat(parts, 1)
    return grad_gates, grad * f, grad_gates.sum(0) if has_bias else None


def gru_cell(
    inputs: Tensor, hidden: Tensor, state: Tensor, input_bias: Tensor | None = None, hidden_bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The shares of input and hidden state in r, z, n (N, 3h), and the state (N, h): the next state, and what was met."""
    inputs = inputs if input_bias is None else inputs + input_bias
    hidden = hidden if hidden_bias is None else hidden + hidden_bias
    (ir, iz, i_n), (hr, hz, hn) = inputs.chunk(3, 1), hidden.chunk(3, 1)
    r, z = (ir + hr).sigmoid(), (iz + hz).sigmoid()
    n = (i_n + r * hn).tanh()
    return n + z * (state - n), torch.cat([r, z, n, state, hn], 1)


def gru_cell_backward(grad: Tensor, met: Tensor, has_bias: bool) -> tuple[Tensor | None, ...]:
    """The gradients of both shares (N, 3h), of the state before (N, h), and of two biases (3h,)."""
    r, z, n, state, hn = met.chunk(5, 1)
    grad_n = grad * (1 - z) * (1 - n**2)
    grad_z, grad_r = grad * (state - n) * z * (1 - z), grad_n * hn * r * (1 - r)
    inputs, hidden = torch.cat([grad_r, grad_z, grad_n], 1), torch.cat([grad_r, grad_z, grad_n * r], 1)
    biases = (inputs.sum(0), hidden.sum(0)) if has_bias else (None, None)
    return inputs, hidden, grad * z, *biases


STAND_INS: dict[str, Callable[..., Any]] = {
    "aten::_thnn_fused_lstm_cell": lstm_cell,
    "aten::_thnn_fused_lstm_cell_backward_impl": lstm_cell_backward,
    "aten::_thnn_fused_gru_cell": gru_cell,
    "aten::_thnn_fused_gru_cell_backward": gru_cell_backward,
}


# --- what torch's own C++ asks of a device ----------------------------------------------------------------------


def _empty(size: Any, *, dtype: Any = None, memory_format: Any = None, **_: Any) -> Tensor:
    return DeviceTensor(torch.empty(size, dtype=dtype, memory_format=memory_format or torch.contiguous_format))


def _empty_strided(size: Any, stride: Any, *, dtype: Any = None, **_: Any) -> Tensor:
    return DeviceTensor(torch.empty_strided(size, stride, dtype=dtype))


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    _here(target).copy_(_here(source))
    return target


_library = torch.library.Library("aten", "IMPL")
for _name, _function in {
    "empty.memory_format": _empty,
    "empty_strided": _empty_strided,
    "_copy_from": _copy_from,
}.items():
    _library.impl(_name, _function, "PrivateUse1")
