"""Random generators: their states, put back when a training goes on; and batches that are drawn again as they were."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from course_utils import fingerprint

Batch = TypeVar("Batch")
Generator = torch.Generator | np.random.Generator | random.Random
KINDS = (torch.Generator, np.random.Generator, random.Random)

MOST_STATES = 1000  # of generators, kept by `Draws`: 5 MB


def state_of(generator: Generator) -> Any:
    """A generator's state, of tensors and plain values: what `torch.load(weights_only=True)` reads."""
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    return (
        generator.getstate() if isinstance(generator, random.Random) else _without_arrays(generator.bit_generator.state)
    )


def put_back(generator: Generator, state: Any) -> None:
    """Bring a generator to a state that `state_of` gave."""
    if isinstance(generator, torch.Generator):
        generator.set_state(state)
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    else:
        generator.bit_generator.state = _with_arrays(state)


def everywhere(named: Mapping[str, Generator] | None = None) -> dict[str, Any]:
    """The states of all global generators (torch's on every device in use, numpy's, Python's), and of those `named`."""
    states: dict[str, Any] = {"torch": torch.get_rng_state(), "python": random.getstate()}
    states["numpy"] = _without_arrays(np.random.get_state(legacy=False))
    if torch.cuda.is_initialized():
        states |= {f"cuda {place}": state for place, state in enumerate(torch.cuda.get_rng_state_all())}
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states | {f"named {name}": state_of(generator) for name, generator in (named or {}).items()}


def put_back_everywhere(states: Mapping[str, Any], named: Mapping[str, Generator] | None = None) -> None:
    """Bring the global generators and those `named` to states that `everywhere` gave; what is not there is left out."""
    for place, state in states.items():
        kind, _, name = place.partition(" ")
        if kind == "torch":
            torch.set_rng_state(state)
        elif kind == "python":
            random.setstate(state)
        elif kind == "numpy":
            np.random.set_state(_with_arrays(state))
        elif kind == "cuda" and torch.cuda.is_available() and int(name) < torch.cuda.device_count():
            torch.cuda.set_rng_state(state, int(name))
        elif kind == "mps" and torch.backends.mps.is_available():
            torch.mps.set_rng_state(state)
        elif kind == "named" and named and name in named:
            put_back(named[name], state)


class Draws(Generic[Batch]):
    """The batches of an iterable that draws random numbers as it goes, such as a shuffled DataLoader.

    Its draws and those of the loop's body take turns at the same generators: the global ones and those `named`. The states
    that it met when it drew are noted; so `again` makes it draw the same batches once more.
    """

    def __init__(self, source: Iterable[Batch], named: Mapping[str, Generator]) -> None:
        self.source, self._named = source, named
        self._iterator: Iterator[Batch] | None = None
        self._position = 0  # 0: `iter(source)`; n: the n-th batch
        self._met: dict[int, dict[str, Any]] = {}  # by position: the states of the generators from which it drew there
        self._left: dict[str, Any] = {}  # of each generator from which it has drawn: the state after the last draw
        self._last = ""  # by which the last batch is recognised

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        iterator = self._begin() if self._iterator is None else self._iterator
        batch = self._draw(lambda: next(iterator))
        self._last = fingerprint.of_sample(batch)
        return batch

    def notes(self) -> dict[str, Any]:
        """What `again` needs."""
        return {"met": self._met, "last": self._last}

    def again(self, notes: Mapping[str, Any], number: int) -> bool:
        """Draw the first `number` batches again; returns whether the last is the one that was drawn then."""
        self._met, self._last = {}, ""
        met, wanted = notes["met"], notes["last"]
        with contextlib.suppress(StopIteration):
            for position in range(number + 1):
                put_back_everywhere(met.get(position, {}), self._named)
                if position == 0:
                    self._begin()
                else:
                    next(self)
        found = number == 0 or self._last == wanted
        self._met = dict(met)
        return found

    def _begin(self) -> Iterator[Batch]:
        self._iterator = iterator = self._draw(lambda: iter(self.source))
        return iterator

    def _draw(self, take: Callable[[], Any]) -> Any:
        before = everywhere(self._named)
        taken = take()
        after = everywhere(self._named)
        drawn = {name for name, state in before.items() if not _same(state, after[name])}
        moved = {name: before[name] for name in drawn if not _same(before[name], self._left.get(name))}
        if moved:
            if len(self._met) >= MOST_STATES:  # the newest is worth more: it may be all that the batches depend on
                self._met.popitem()
            self._met[self._position] = moved
        self._left = {name: after[name] for name in drawn | self._left.keys()}
        self._position += 1
        return taken


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[name], b[name]) for name in a)
    return type(a) is type(b) and not isinstance(a, torch.Tensor) and a == b


def _without_arrays(state: Any) -> Any:
    if isinstance(state, dict):
        return {name: _without_arrays(part) for name, part in state.items()}
    if isinstance(state, np.ndarray):
        return {"array": torch.from_numpy(state.astype(np.int64)), "of": state.dtype.str}
    return state


def _with_arrays(state: Any) -> Any:
    if not isinstance(state, dict):
        return state
    if state.keys() == {"array", "of"}:
        return state["array"].numpy().astype(state["of"])
    return {name: _with_arrays(part) for name, part in state.items()}
