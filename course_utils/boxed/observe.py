"""Call a candidate on one trial and write down everything it did.

This is the half of an exercise that may run beside untrusted code (see `CONTRIBUTING.md`): it knows neither
references nor mistakes nor expected values, and imports nothing that does. A `Trial` says what to call the
candidate with and what to look at; an `Observation` is the record: values, gradients, changed arguments,
shared memory, what was printed, or the exception with the candidate's own line.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import inspect
import io
import linecache
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.boxed.deadline import ASLEEP, TimeIsOver, deadline, once
from course_utils.boxed.fixtures import Fixture
from course_utils.boxed.undisturbed import settings_kept, undisturbed

TIME_LIMIT = 3.0  # seconds of computing for one call of a candidate
KEPT_OUTPUT = 4_000  # characters of a candidate's printing that are kept


@dataclass(frozen=True)
class Trial:
    """One call of an exercise.

    `arguments` maps parameter names, in order, to tensors, numbers, lists of these, or `Fixture`s. `outputs`
    names the results. `gradients` lists the arguments for which the gradient of a fixed random projection of
    all results is recorded too; a network stands for all its parameters. `updates` lists the networks whose own
    gradients may change. `label` names an edge case ("" for an ordinary one).
    """

    exercise: str
    arguments: dict[str, Any]
    outputs: tuple[str, ...]
    gradients: tuple[str, ...] = ()
    label: str = ""
    seed: int = 0
    updates: tuple[str, ...] = ()

    @property
    def has_networks(self) -> bool:
        """Whether there are networks, or optimisers of networks, among the arguments."""
        return any(isinstance(value, Fixture) and value.has_state for value in self.arguments.values())


@dataclass(frozen=True)
class Failure:
    """An exception as the student should see it: its kind, its message, and the line of the student's code."""

    kind: str
    parents: tuple[str, ...]
    message: str
    line_number: int | None
    line: str


@dataclass
class Observation:
    """What one call did. `event` is "returned", "raised", "timed out" or "not attempted".

    The `failure` of a call that timed out says where it stood, and as its message "importing", "compiling", "waiting" or
    nothing. `seconds` are those of computing.

    Three dicts map names to leaves (tensors, numbers, strings, None …). `outputs` holds the results: "loss", or "grads[0]"
    in a list. `states` holds what became of networks among the arguments: "net.0.weight", its left-over gradient
    "net.0.weight.grad", "net.training". `gradients` holds the gradients with respect to arguments, "x", and to the
    parameters of networks, "net.0.weight"; None where no gradient arrives.

    `structure` describes the result's type, e.g. "(tensor, [tensor, tensor])". `dtype` is float32 where an argument is:
    what follows from it, a plain number too, is no more exact than that. `shared` names, for each result that lies in the
    memory of an argument, that argument.
    """

    event: str
    outputs: dict[str, Any] = field(default_factory=dict)
    states: dict[str, Any] = field(default_factory=dict)
    gradients: dict[str, Any] = field(default_factory=dict)
    structure: str = ""
    dtype: torch.dtype = torch.float64
    failure: Failure | None = None
    changed: tuple[str, ...] = ()
    shared: dict[str, str] = field(default_factory=dict)
    printed: str = ""
    seconds: float = 0.0


def observe(
    candidate: Callable,
    trial: Trial,
    time_limit: float | None = TIME_LIMIT,
    within: Callable[[], AbstractContextManager] = contextlib.nullcontext,
) -> Observation:
    """Call `candidate` on fresh copies of the trial's arguments and record what happens. Never raises for
    anything the candidate does, and leaves global state (random generators, default dtype, grad mode) alone.

    Without a time limit (None), which is quicker, `candidate` must be known to end. It is called `within()`.
    """
    _warm_up(trial.has_networks)
    printed = _Tail()
    with undisturbed(trial.seed), _called_by_its_own_name(candidate), contextlib.redirect_stdout(printed), _no_input():
        leaves, passed = _arguments(trial)
        before = {name: _snapshot(value) for name, value in passed.items()}
        start = time.process_time()
        try:
            result, seconds = _call(candidate, passed, time_limit, within)
            record = _returned(result, trial, passed, leaves)
            record.changed = tuple(name for name in passed if _differs(before[name], passed[name]))
        except TimeIsOver as error:
            seconds = time.process_time() - start
            waited = seconds < 2 * ASLEEP * (time_limit or 0.0)
            record = Observation("timed out", failure=_stop(error, candidate, waited))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            seconds = time.process_time() - start
            failure = failure_of(error, _file_of(candidate))
            # torch raises NotImplementedError too, always with a message; a stub raises it bare.
            is_stub = isinstance(error, NotImplementedError) and not failure.message
            record = Observation("not attempted" if is_stub else "raised", failure=failure)
    record.printed, record.seconds = printed.text(), seconds
    return record


def results(function: Callable, trial: Trial) -> dict[str, Any] | None:
    """The results alone, by name, of a trusted function that is known to end; None where it raises. Much quicker than
    `observe`; to be called within `undisturbed`."""
    torch.default_generator.manual_seed(trial.seed)
    try:
        outputs = _flatten(function(*_arguments(trial)[1].values()), trial.outputs)
    except Exception:
        return None
    return {name: value.detach() if isinstance(value, Tensor) else value for name, value in outputs.items()}


def _call(
    candidate: Callable, passed: dict[str, Any], time_limit: float | None, within: Callable[[], AbstractContextManager]
) -> tuple[Any, float]:
    """The candidate's result, and the seconds of computing that it took."""
    _bind(candidate, passed)
    with settings_kept(), contextlib.nullcontext() if time_limit is None else deadline(time_limit), within():
        start = time.process_time()
        result = candidate(*passed.values())
        return result, time.process_time() - start


def _returned(result: Any, trial: Trial, passed: dict[str, Any], leaves: dict[str, Tensor]) -> Observation:
    """The record of a call that returned: its results, the state of networks and the gradients. A network that is handed
    back is no result: what became of it is recorded as it is."""
    if any(result is value for value in passed.values() if isinstance(value, nn.Module)):
        result = None
    outputs = _flatten(result, trial.outputs)
    shared = _shared_memory(outputs, passed)
    states = _states(trial, passed)
    gradients = _gradients(outputs, leaves, trial) if trial.gradients else {}
    outputs, gradients = (
        {name: value.detach().clone() if isinstance(value, Tensor) else value for name, value in part.items()}
        for part in (outputs, gradients)
    )
    return Observation("returned", outputs, states, gradients, describe(result), precision(trial), shared=shared)


@functools.cache
def _warm_up(networks: bool) -> None:
    """What takes seconds once in a process must not be blamed on a candidate: the first gradient and, in exercises with
    networks, the first one of several results, for which torch imports a large library."""
    leaf = torch.ones(2, requires_grad=True)
    given = torch.ones(2) if networks else None
    torch.autograd.grad(leaf * 2 if networks else leaf.sum(), leaf, given)


def describe(value: Any) -> str:
    """The shape of a result in words: "tensor", "(tensor, tensor)", "[int, int]", "None"."""
    if isinstance(value, Tensor):
        return "tensor" if type(value) is Tensor else type(value).__name__
    if isinstance(value, tuple):
        return f"({', '.join(describe(v) for v in value)})"
    if isinstance(value, list):
        return f"[{', '.join(describe(v) for v in value)}]"
    return "None" if value is None else type(value).__name__


@contextlib.contextmanager
def _no_input() -> Iterator[None]:
    """Let `input()` fail at once: nobody would know what it waits for, and in a box nobody is there."""

    def refuse(prompt: object = "") -> str:
        raise EOFError("an answer reads no input: all that it needs are its arguments")

    earlier, builtins.input = builtins.input, refuse
    try:
        yield
    finally:
        builtins.input = earlier


class WrongSignature(TypeError):  # noqa: N818 - its name is what a `Failure` reports
    """The candidate does not take the exercise's arguments."""


def _bind(candidate: Callable, passed: dict[str, Any]) -> None:
    """Raise WrongSignature when the candidate does not take these arguments."""
    try:
        signature = inspect.signature(candidate)
    except ValueError:  # something built in, which does not tell its parameters
        return
    try:
        signature.bind(*passed.values())
    except TypeError as error:
        raise WrongSignature(str(error)) from None


@contextlib.contextmanager
def _called_by_its_own_name(candidate: Callable) -> Iterator[None]:
    """While it runs, the candidate's name means the candidate.

    In a notebook the name may be bound to the reference from an earlier run of the cell: a function that calls
    itself would then be judged by the reference's work.
    """
    scope, name = getattr(candidate, "__globals__", {}), getattr(candidate, "__name__", "")
    bound, earlier = name in scope, scope.get(name)
    if name:
        scope[name] = candidate
    try:
        yield
    finally:
        if bound:
            scope[name] = earlier
        else:
            scope.pop(name, None)


class _Tail(io.StringIO):
    """Keeps the first characters that are printed and throws the rest away."""

    def write(self, text: str) -> int:
        room = KEPT_OUTPUT - self.tell()
        if room > 0:
            super().write(text[:room])
        return len(text)

    def text(self) -> str:
        return self.getvalue()


def _arguments(trial: Trial) -> tuple[dict[str, Tensor], dict[str, Any]]:
    leaves: dict[str, Tensor] = {}
    passed: dict[str, Any] = {}
    for name, value in trial.arguments.items():
        if isinstance(value, Fixture):
            passed[name] = value.build(passed)
            if name in trial.gradients:
                leaves |= {f"{name}.{key}": parameter for key, parameter in passed[name].named_parameters()}
        elif name in trial.gradients:
            leaves[name] = value.detach().clone().requires_grad_()
            passed[name] = leaves[name].clone()  # not a leaf, as in the middle of a real computation
        else:
            passed[name] = _copy(value)
    return leaves, passed


def precision(trial: Trial) -> torch.dtype:
    """float32 where an argument is, else float64: results are no more exact than that."""
    single = any(tensor.dtype == torch.float32 for value in trial.arguments.values() for tensor in _tensors(value))
    return torch.float32 if single else torch.float64


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, (list, tuple)):
        return type(value)(_copy(v) for v in value)
    return value


def _snapshot(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone(), value.grad_fn
    if isinstance(value, (list, tuple)):
        return [_snapshot(v) for v in value]
    return None if isinstance(value, torch.Generator) else value


def _differs(before: Any, value: Any) -> bool:
    if isinstance(value, Tensor):
        old, graph = before
        same = old.shape == value.shape and old.dtype == value.dtype and graph is value.grad_fn
        return not (same and torch.equal(old.nan_to_num(0.125), value.detach().nan_to_num(0.125)))
    if isinstance(value, (list, tuple)):
        return len(before) != len(value) or any(_differs(b, v) for b, v in zip(before, value, strict=True))
    return False if isinstance(value, (torch.Generator, nn.Module)) else before != value


def _states(trial: Trial, passed: dict[str, Any]) -> dict[str, Any]:
    """What the networks among the arguments hold now, whether they are in training mode and their parameters want
    gradients; and, save for `updates`, the gradients left on them."""
    states: dict[str, Any] = {}
    for name, module in passed.items():
        if not isinstance(module, nn.Module):
            continue
        for key, value in module.state_dict().items():
            states[f"{name}.{key}"] = value.clone()
        for key, parameter in module.named_parameters() if name not in trial.updates else ():
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
            states[f"{name}.{key}.grad"] = gradient.detach()
        states[f"{name}.training"] = all(part.training for part in module.modules())
        states[f"{name}.requires_grad"] = all(part.requires_grad for part in module.parameters())
    return states


def _flatten(result: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """The leaves of a result, or of a tuple of results, by name."""
    first, *others = names
    if not others or not isinstance(result, (tuple, list)):
        return dict(_leaves(result, first))
    named = [*names, *(f"result {position + 1}" for position in range(len(names), len(result)))]
    return {leaf: part for name, value in zip(named, result, strict=False) for leaf, part in _leaves(value, name)}


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (list, tuple)) and not all(isinstance(v, (int, str)) for v in value):
        for position, item in enumerate(value):
            yield from _leaves(item, f"{name}[{position}]")
    else:
        yield name, value


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


def _shared_memory(outputs: dict[str, Any], passed: dict[str, Any]) -> dict[str, str]:
    owner = {t.untyped_storage().data_ptr(): name for name, value in passed.items() for t in _tensors(value)}
    shared = {}
    for name, value in outputs.items():
        if isinstance(value, Tensor) and value.numel() and value.untyped_storage().data_ptr() in owner:
            shared[name] = owner[value.untyped_storage().data_ptr()]
    return shared


def _gradients(outputs: dict[str, Any], leaves: dict[str, Tensor], trial: Trial) -> dict[str, Tensor | None]:
    """The gradient of a fixed random projection of the results; None where no gradient arrives.

    A result on another device than the arguments takes no part: it is wrong as it stands.
    """
    generator = torch.Generator().manual_seed(trial.seed)
    devices = {leaf.device for leaf in leaves.values()}
    total: Any = None
    for value in outputs.values():
        if isinstance(value, Tensor) and value.is_floating_point():
            direction = torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value)
            if value.requires_grad and value.device in devices:
                part = (value * direction).sum()
                total = part if total is None else total + part
    if total is None:
        return dict.fromkeys(leaves)
    return dict(zip(leaves, torch.autograd.grad(total, list(leaves.values()), allow_unused=True), strict=True))


def _file_of(candidate: Callable) -> str | None:
    """The file of the student's code, also beneath a decorator that says what it wraps."""
    with contextlib.suppress(ValueError):  # decorators in a circle
        candidate = inspect.unwrap(candidate)
    return getattr(getattr(candidate, "__code__", None), "co_filename", None)


def _stop(error: TimeIsOver, candidate: Callable, waited: bool) -> Failure:
    """Where a call was stopped, and what was under way there."""
    what = once(frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return failure_of(error, _file_of(candidate), what or "waiting" * waited)


def failure_of(error: BaseException, file: str | None, message: str | None = None) -> Failure:
    """An exception as a `Failure`, with the innermost line of `file` that led to it: the file of the student's code.

    The `message` is the exception's own where none is given.
    """
    number, line = None, ""
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == file:
            number, line = frame.lineno, linecache.getline(frame.filename, frame.lineno or 0).strip()
    parents = tuple(kind.__name__ for kind in type(error).__mro__)
    return Failure(type(error).__name__, parents, _message(error) if message is None else message, number, line)


def _message(error: BaseException) -> str:
    """What the exception says; a student's own exception may fail to say it."""
    try:
        return str(error)[:500]
    except Exception:
        return "its message cannot be shown"
