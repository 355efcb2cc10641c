"""The bookkeeping around a training loop that stays visible: batches, progress, history, checkpoints.

run = training.steps(batches, total=1000, title="A small network", keep={"weights": weights})
for step, (x, y) in run:
    ...                      # forward, backward, update: the lesson
    run.log(loss=loss)
run.history.plot(title=..., alt=...)
"""

from __future__ import annotations

import hashlib
import json
import math
import operator
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import count, islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from course_utils import fingerprint
from course_utils.conventions import cache_dir
from course_utils.files import replacing

Batch = TypeVar("Batch")
# Of each checkpoint that a loop in this process left behind: hashes of the values at its start, and when it was left.
_LEFT: dict[Path, tuple[dict[str, str], dict[str, str]]] = {}


class Diverged(RuntimeError):  # noqa: N818 - read in a lesson as `expect_error(training.Diverged)`
    """A logged value became NaN or infinite: training has failed and going on would waste time."""


class Batches:
    """Shuffled batches without end: `batches[step]` depends on `seed` and `step` alone.

    Every epoch is a new permutation of the rows; the last, incomplete batch of an epoch is left out. Because any
    step can be asked for directly, a resumed run sees exactly the batches that an uninterrupted one would.
    """

    def __init__(self, *tensors: Tensor, size: int, seed: int = 0) -> None:
        lengths = {len(t) for t in tensors}
        if len(lengths) != 1:
            raise ValueError(f"batches need tensors of one length, got {[len(t) for t in tensors]}")
        if not 1 <= size <= len(tensors[0]):
            raise ValueError(f"the batch size must lie between 1 and the {len(tensors[0])} rows, not {size}")
        self.tensors, self.size, self.seed = tensors, size, seed
        self.per_epoch = len(tensors[0]) // size
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return (self[step] for step in count())

    def describe(self) -> list[Any]:
        """Size, seed, and of each tensor its shape and a hash of its first and last row, to recognise the batches."""
        ends = [fingerprint.of_values(t[[0, -1]]) for t in self.tensors]
        return [self.size, self.seed, [list(t.shape) for t in self.tensors], ends]

    def __getitem__(self, step: int) -> Any:
        if isinstance(step, slice):
            raise TypeError("batches[step] takes one step, not a slice: batches have no end")
        if step < 0:
            raise IndexError(f"batches have no end to count from: the step must be at least 0, not {step}")
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._order = torch.randperm(len(self.tensors[0]), generator=generator)
            self._epoch = epoch
        index = self._order[place * self.size : (place + 1) * self.size].to(self.tensors[0].device)
        return tuple(t[index] for t in self.tensors)


def batches(*tensors: Tensor, size: int, seed: int = 0) -> Batches:
    """Endless shuffled batches of `size` rows from `tensors`, which share their first dimension. See `Batches`."""
    return Batches(*tensors, size=size, seed=seed)


class History:
    """What was logged: `history["loss"]` is a list with one number a step; `seconds` the time in the loop."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {}
        self.steps: dict[str, list[int]] = {}
        self.seconds = 0.0

    def __getitem__(self, name: str) -> list[float]:
        if name not in self.values:
            raise KeyError(f"{name!r} was never logged; there is: {', '.join(self.values) or 'nothing'}")
        return self.values[name]

    def last(self) -> str:
        """The latest value of everything, as text."""
        return ", ".join(f"{name} {numbers[-1]:.4g}" for name, numbers in self.values.items())

    def smooth(self, name: str, window: int = 20) -> Tensor:
        """The mean of each value with up to `window` - 1 values before it. Raises ValueError for a `window` below 1."""
        if window < 1:
            raise ValueError(f"the window must be at least 1 value, not {window}")
        total = torch.tensor([0.0, *self[name]], dtype=torch.float64).cumsum(0)
        end = torch.arange(1, len(total))
        start = (end - window).clamp(min=0)
        return (total[end] - total[start]) / (end - start)

    def plot(self, *names: str, title: str, alt: str, window: int = 20, log: str = "", ylabel: str = "") -> None:
        """Draw the logged curves, smoothed over `window` values."""
        from course_utils import plots

        chosen = names or tuple(self.values)
        curves = {name: (self.steps[name], self.smooth(name, window)) for name in chosen}
        plots.lines(curves, title=title, alt=alt, xlabel="step", ylabel=ylabel or ", ".join(chosen), log=log)


class Steps(Generic[Batch]):
    """An iterable of (step, batch) that keeps the books. Made by `steps`."""

    def __init__(
        self,
        batches: Iterable[Batch],
        total: int,
        title: str,
        keep: Mapping[str, Any],
        checkpoint: Path | None,
        every: float,
        program: list[tuple[str, str]],
        lead: bool,
        reuse: bool,
    ) -> None:
        self.batches, self.total, self.title, self.keep = batches, total, title, dict(keep)
        self.checkpoint, self.every, self._program, self.lead = checkpoint, every, program, lead
        self.reuse = reuse
        self.history = History()
        self._recipe = ""
        self._start: dict[str, str] = {}
        self._step = 0
        self._finite: dict[str, float] = {}
        self._bar: Any = None

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        first, batches = self._begin()
        self._step = first - 1
        self._bar = _bar(self.total, first, self.title, shown=self.lead)
        before, start = self.history.seconds, time.perf_counter()
        saved = start
        try:
            for step, batch in zip(range(first, self.total), batches, strict=False):
                self._step = step
                yield step, batch
                self._bar.update()
                self.history.seconds = before + time.perf_counter() - start
                if self.checkpoint and time.perf_counter() - saved > self.every:
                    self._save(step + 1)
                    saved = time.perf_counter()
        finally:
            self._bar.close()
            self._remember()
        if self._step + 1 < self.total:
            raise ValueError(f"{self.title}: the batches ended after {self._step + 1} of {self.total} steps")
        if self.checkpoint:
            _LEFT.pop(self.checkpoint, None)
            if self.reuse:
                self._save(self.total)
            elif self.lead:
                self.checkpoint.unlink(missing_ok=True)
        self._say(f"{self.total} steps in {self.history.seconds:.1f} s; {self.history.last()}")

    def log(self, **values: float | Tensor) -> None:
        """Record numbers for this step. Raises `Diverged` when one of them is NaN or infinite."""
        for name, value in values.items():
            number = float(value.detach() if isinstance(value, Tensor) else value)
            if not math.isfinite(number):
                earlier = f"it was {self._finite[name]:.4g} before" if name in self._finite else "from the start"
                raise Diverged(
                    f"{self.title}: {name} became {number} at step {self._step} ({earlier}). Lower the learning rate, "
                    "clip the gradients, or look for a division by zero or the logarithm of zero."
                )
            self._finite[name] = number
            self.history.values.setdefault(name, []).append(number)
            self.history.steps.setdefault(name, []).append(self._step)
        if self._bar is not None:
            self._bar.set_postfix_str(self.history.last(), refresh=False)

    def _begin(self) -> tuple[int, Iterator[Batch]]:
        """Go back to the latest checkpoint of this recipe, or note the start; returns the step and the batches."""
        self._recipe = self._describe()
        state = self._load()
        if state:
            self._start = state["start"]
            try:
                batches = _from(self.batches, state["done"])  # before restoring: it may draw from a generator kept
                self._restore(state)
            finally:
                self._remember()  # an interrupt half-way leaves values that are part of this run, too
            return state["done"], batches
        self.history.values, self.history.steps, self.history.seconds = {}, {}, 0.0
        self._finite = {}
        self._start = fingerprint.of_parts(self._kept()) if self.checkpoint else {}
        self._save(0)  # an interrupt in the first seconds finds its way back, too
        return 0, _from(self.batches, 0)

    def _save(self, done: int) -> None:
        """Write the state after `done` steps; a crash half-way leaves the earlier checkpoint as it was."""
        if self.checkpoint is None or not self.lead:
            return
        state = {"done": done, "recipe": self._recipe, "start": self._start, "kept": self._kept()}
        state |= {"history": [self.history.values, self.history.steps, self.history.seconds]}
        state |= {"random": torch.get_rng_state()}
        if torch.cuda.is_initialized():
            state["random_cuda"] = torch.cuda.get_rng_state_all()
        try:
            with replacing(self.checkpoint) as partial:
                torch.save(state, partial)
        except (OSError, RuntimeError) as error:  # a full disk: training is worth more than its checkpoint
            self._say(f"no checkpoints from step {done} on; {self.checkpoint} cannot be written ({error})")
            self.every = math.inf

    def _load(self) -> dict[str, Any] | None:
        """The latest checkpoint, if it belongs to this recipe and these starting values; else says why it does not."""
        if self.checkpoint is None or not self.checkpoint.exists():
            return None
        try:
            state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
            recipe, start = state["recipe"], dict(state["start"])
        except Exception as error:
            self._say(f"the checkpoint cannot be read ({type(error).__name__}); starting from step 0.")
            return None
        problem = "the code or the settings have changed since the checkpoint" if recipe != self._recipe else ""
        other = self._first_other(start)
        if not problem and other:
            problem = f"the checkpoint began with other values ({other} differs; another seed or setting?)"
        if problem:
            self._say(f"{problem}; starting from step 0.")
        return None if problem else state

    def _first_other(self, start: dict[str, str]) -> str:
        """What was first changed from outside: it is neither as at the run's start nor as the run's loop left it."""
        assert self.checkpoint is not None
        began, left = _LEFT.get(self.checkpoint, ({}, {}))
        left = left if began == start else {}  # else that was another run with the same checkpoint
        now = fingerprint.of_parts(self._kept())
        return next((place for place, value in now.items() if value not in (start.get(place), left.get(place))), "")

    def _remember(self) -> None:
        if self.checkpoint is not None:
            _LEFT[self.checkpoint] = self._start, fingerprint.of_parts(self._kept())

    def _restore(self, state: dict[str, Any]) -> None:
        for name, thing in self.keep.items():
            _restore(thing, state["kept"][name])
        torch.set_rng_state(state["random"])
        if "random_cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["random_cuda"])
        self.history.values, self.history.steps, self.history.seconds = state["history"]
        self._finite = {name: numbers[-1] for name, numbers in self.history.values.items()}
        where = f"checkpoint {self.checkpoint.name}; delete it to start anew" if self.checkpoint else ""
        done = state["done"]
        how = "was finished before" if done == self.total else f"going on from step {done} of {self.total}"
        self._say(f"{how} ({where}).")

    def _say(self, text: str) -> None:
        if self.lead:
            print(f"{self.title}: {text}")

    def _kept(self) -> dict[str, Any]:
        return {name: _state(thing) for name, thing in self.keep.items()}

    def _describe(self) -> str:
        """A fingerprint of what is trained and how: shapes, seeds, batches, number of steps, the code with its settings."""
        seeds = [
            torch.initial_seed(),
            *(g.initial_seed() for g in self.keep.values() if isinstance(g, torch.Generator)),
        ]
        shuffled = self.batches.describe() if isinstance(self.batches, Batches) else []
        text = json.dumps([self.title, self.total, _signature(self._kept()), seeds, shuffled, self._program])
        return hashlib.sha256(text.encode()).hexdigest()


def steps(
    batches: Iterable[Batch],
    total: int,
    title: str,
    keep: Mapping[str, Any] | None = None,
    checkpoint: str | Path | None = None,
    every: float = 10.0,
    lead: bool = True,
    reuse: bool = False,
) -> Steps[Batch]:
    """Iterate over (step, batch) for `total` steps with a progress bar, a history and, on request, checkpoints.

    `batches` is a `Batches` or any iterable that lasts long enough. `keep` names what makes up the state of the
    training: modules, optimisers, schedulers (anything with `state_dict`), generators, and tensors that are
    updated in place. With `checkpoint` (a name or a path) that state is saved every `every` seconds; after an
    interrupt, run the same cell again and it goes on from there with the same final result. A run that ends
    removes its checkpoint; with `reuse` it leaves it, and the same run takes its result from there when it is asked for
    again: so a lesson with several long trainings can be finished in several sittings. A checkpoint of other code,
    settings or starting values is passed over, and says so: whatever is kept must be as it was when that run began or,
    in the same process, as the interrupt left it. When several processes train together, one leads; with `lead` False
    the others read its checkpoints, and show and write nothing.
    Raises ValueError or TypeError for a bad `total` and ValueError for a checkpoint with nothing to keep.
    """
    try:
        total = operator.index(total)
    except TypeError:
        raise TypeError(f"total must be a whole number of steps, not {total!r}") from None
    if total < 1:
        raise ValueError(f"total must be at least 1 step, not {total}")
    if checkpoint is not None and not keep:
        raise ValueError("a checkpoint needs `keep`: name what must be saved, as in keep={'model': model}")
    path = None
    if checkpoint is not None:
        path = Path(checkpoint)
        if path.parent == Path("."):
            path = cache_dir() / "checkpoints" / f"{checkpoint}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
    program = fingerprint.of_program(sys._getframe(1)) if path else []
    return Steps(batches, total, title, keep or {}, path, every, program, lead, reuse)


def _from(batches: Iterable[Batch], first: int) -> Iterator[Batch]:
    """The batches from number `first` on: `Batches` are asked directly, others are run through up to there."""
    if isinstance(batches, Batches):
        return (batches[step] for step in count(first))
    iterator = iter(batches)
    next(islice(iterator, first, first), None)
    return iterator


def _bar(total: int, first: int, title: str, shown: bool) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, initial=first, desc=title, leave=False, mininterval=0.5, disable=not shown)


def _state(thing: Any) -> Any:
    if isinstance(thing, Tensor):
        return thing.detach()
    if isinstance(thing, torch.Generator):
        return thing.get_state()
    if hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict"):
        return thing.state_dict()
    if isinstance(thing, (list, tuple)):
        return [_state(part) for part in thing]
    if isinstance(thing, dict):
        return {name: _state(part) for name, part in thing.items()}
    raise TypeError(f"cannot keep a {type(thing).__name__}: it has no state_dict, and is no tensor or generator")


def _restore(thing: Any, state: Any) -> None:
    if isinstance(thing, Tensor):
        with torch.no_grad():
            thing.copy_(state)
    elif isinstance(thing, torch.Generator):
        thing.set_state(state)
    elif isinstance(thing, (list, tuple)):
        for part, saved in zip(thing, state, strict=True):
            _restore(part, saved)
    elif isinstance(thing, dict):
        for name, part in thing.items():
            _restore(part, state[name])
    else:
        thing.load_state_dict(state)


def _signature(state: Any) -> Any:
    """Structure and shapes, without the values that training changes."""
    if isinstance(state, Tensor):
        return [str(state.dtype), list(state.shape)]
    if isinstance(state, dict) and "param_groups" in state:
        return [len(group["params"]) for group in state["param_groups"]]
    if isinstance(state, dict):
        return {str(name): _signature(part) for name, part in state.items() if name != "state"}
    if isinstance(state, (list, tuple)):
        return [_signature(part) for part in state]
    return None if isinstance(state, (int, float)) else str(state)
