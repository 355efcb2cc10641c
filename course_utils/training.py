"""The bookkeeping around a training loop that stays visible: batches, progress, history, checkpoints.

run = training.steps(batches, total=1000, title="A small network", keep={"weights": weights})
for step, (x, y) in run:
    ...                      # forward, backward, update: the lesson
    run.log(loss=loss)
run.history.plot(title=..., alt=...)
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import operator
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from course_utils import files, fingerprint, runtime
from course_utils.conventions import LONG, cache_dir
from course_utils.resuming import carried, keeping, randomness, spoilt

FORMAT = 3  # of checkpoints: one of another format is passed over

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
    """What was logged: `history["loss"]` is a list with one number a step.

    `seconds` is the time in the loop, and `core_seconds` what the process computed meanwhile, on all cores; both with what
    came before an interruption.
    """

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {}
        self.steps: dict[str, list[int]] = {}
        self.seconds = self.core_seconds = 0.0

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
        self._step, self._pace = 0, 0.0  # the pace in seconds per step, since the loop began or went on
        self._finite: dict[str, float] = {}
        self._bar: Any = None
        self._draws: randomness.Draws[Batch] | None = None  # how the batches were drawn, when they are not `Batches`
        self._generators: dict[str, randomness.Generator] = {}  # those of `keep`, and others that the loop's code names
        self._beside: dict[str, Any] = {}  # what else the loop could change and does not keep
        self._marks: dict[str, str] = {}  # by which to see whether it did
        self._lost: set[str] = set()  # what of it did change before the latest checkpoint
        self._useless = ""  # what was spoilt before the first step, in words
        self._fresh = True  # no finite number was logged since the loop began or went on
        self._unsaved = self._stopping = False

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        first, batches = self._begin(sys._getframe(1))
        self._step = first - 1
        self._bar = _bar(self.total, first, self.title, shown=self.lead)
        start = saved = time.perf_counter()
        before, cores = self.history.seconds, self.history.core_seconds - time.process_time()
        try:
            for step, batch in zip(range(first, self.total), batches, strict=False):
                self._step = step
                yield step, batch
                self._bar.update()
                self.history.seconds = before + time.perf_counter() - start
                self.history.core_seconds = cores + time.process_time()
                self._pace = (time.perf_counter() - start) / (step + 1 - first)
                if self.checkpoint and (self._stopping or time.perf_counter() - saved > self.every):
                    self._save(step + 1)
                    saved = time.perf_counter()
                if self._stopping and step + 1 < self.total:
                    self._say_stopped(step + 1)
                    raise KeyboardInterrupt
        finally:
            self._bar.close()
            self._remember()
            self._beside, self._generators = {}, {}  # nothing is held longer than needed
        if self._step + 1 < self.total:
            raise ValueError(f"{self.title}: the batches ended after {self._step + 1} of {self.total} steps")
        self._end()
        self._say(f"{self.total} steps in {self.history.seconds:.1f} s; {self.history.last()}")

    def log(self, **values: float | Tensor) -> None:
        """Record numbers for this step. Raises `Diverged` when one of them is NaN or infinite."""
        for name, value in values.items():
            number = float(value.detach() if isinstance(value, Tensor) else value)
            if not math.isfinite(number):
                raise Diverged(self._diagnosis(name, number, sys._getframe(1)))
            self._finite[name] = number
            self.history.values.setdefault(name, []).append(number)
            self.history.steps.setdefault(name, []).append(self._step)
        self._fresh = False
        if self._bar is not None:
            self._bar.set_postfix_str(self.history.last(), refresh=False)

    def stop(self) -> None:
        """Let the loop end with KeyboardInterrupt after the step that is under way, saved: for handlers of signals."""
        self._stopping = True

    def _begin(self, loop: FrameType) -> tuple[int, Iterator[Batch]]:
        """Go back to the latest checkpoint of this recipe, or note the start; returns the step and the batches."""
        self._fresh, self._unsaved, self._stopping = True, False, False
        self._look_around(loop)
        self._recipe = self._describe()
        if self.checkpoint and self.lead:
            files.sweep(self.checkpoint)
        state = self._load()
        if state:
            self._start, self._lost = state["start"], self._lost_by(state)
            try:
                batches, found = self._again(state)  # before restoring: it may draw from a generator kept
                self._restore(state)
            finally:
                self._remember()  # an interrupt half-way leaves values that are part of this run, too
            self._say_going_on(state["done"], found, self._lost.union(carried.rebound(loop)))
            self._useless = _hopeless("In the checkpoint", self._kept(), f"delete {self.checkpoint}")
            return state["done"], batches
        vars(self.history).update(vars(History()))
        self._finite = {}
        self._useless = _hopeless("Before the first step", keeping.state(self.keep or spoilt.trained(loop)))
        self._start = fingerprint.of_parts(self._kept()) if self.checkpoint else {}
        self._lost = set()
        self._save(0)  # an interrupt in the first seconds finds its way back, too
        return 0, self._from(0)

    def _look_around(self, loop: FrameType) -> None:
        """Find what the loop's code could change beside what is kept."""
        around = carried.changeable(loop, self.keep) if self.checkpoint else {}
        named = fingerprint.leaves({**around, **self.keep})
        self._generators = {place: thing for place, thing in named if isinstance(thing, randomness.KINDS)}
        restored = self._generators.keys()
        self._beside = {
            name: thing for name, thing in around.items() if dict(fingerprint.leaves(thing, name)).keys() - restored
        }
        self._marks = carried.marks(self._beside)

    def _from(self, first: int) -> Iterator[Batch]:
        if isinstance(self.batches, Batches):
            batches = self.batches
            return (batches[step] for step in count(first))
        if not self.checkpoint:
            return iter(self.batches)
        self._draws = randomness.Draws(self.batches, self._generators)
        return self._draws

    def _again(self, state: dict[str, Any]) -> tuple[Iterator[Batch], bool]:
        """The batches that follow those of a checkpoint, and whether those were found again."""
        batches = self._from(state["done"])
        found = self._draws is None or state["done"] == 0 or self._draws.again(state["draws"], state["done"])
        return batches, found

    def _save(self, done: int) -> None:
        """Write the state after `done` steps; a crash half-way leaves the earlier checkpoint as it was."""
        if self.checkpoint is None or not self.lead:
            return
        self._lost |= self._changed_since(self._marks)
        state = {"done": done, "recipe": self._recipe, "start": self._start, "kept": self._kept()}
        state |= {"title": self.title, "total": self.total, "pace": self._pace, "history": vars(self.history)}
        state |= {
            "random": randomness.everywhere(self._generators),
            "draws": self._draws.notes() if self._draws else None,
        }
        state |= {"marks": self._marks, "lost": sorted(self._lost)}
        try:
            with files.replacing(self.checkpoint) as partial, partial.open("wb") as file:
                torch.save(state, file)
        except (OSError, RuntimeError) as error:  # a full disk: training is worth more than its checkpoint
            if not self._unsaved:
                size = sum(part.nbytes for _, part in fingerprint.leaves(state) if isinstance(part, Tensor))
                why = files.trouble(error, self.checkpoint, size)
                then = " Training goes on, and tries again later." if done < self.total else ""
                self._say(f"step {done} is not saved, since {why}.{then}")
            self._unsaved = True
        else:
            if self._unsaved:
                self._say(f"saved again, at step {done}.")
            self._unsaved = False

    def _load(self) -> dict[str, Any] | None:
        """The latest checkpoint, if it belongs to this recipe and these starting values; else says why it does not."""
        if self.checkpoint is None:
            return None
        try:
            state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
            recipe, start = state["recipe"], dict(state["start"])
        except FileNotFoundError:
            return None
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
        keeping.restore(self.keep, state["kept"])
        randomness.put_back_everywhere(state["random"], self._generators)
        vars(self.history).update(state["history"])
        self._finite = {name: numbers[-1] for name, numbers in self.history.values.items()}

    def _changed_since(self, marks: dict[str, str]) -> set[str]:
        now = carried.marks(self._beside)
        return {name for name, mark in now.items() if name in marks and mark != marks[name]}

    def _lost_by(self, state: dict[str, Any]) -> set[str]:
        """What is not kept and was changed before a checkpoint, or after it by a loop in this process."""
        assert self.checkpoint is not None
        here = _LEFT.get(self.checkpoint, ({}, {}))[0] == state["start"]
        return set(state["lost"]) | (self._changed_since(state["marks"]) if here else set())

    def _end(self) -> None:
        """Remove the checkpoint of a run that has ended; or, if it is to be used again, save its result."""
        if self.checkpoint is None:
            return
        _LEFT.pop(self.checkpoint, None)
        if self.reuse or runtime.session_profile() in LONG:
            self._save(self.total)
        elif self.lead:
            with contextlib.suppress(OSError):
                self.checkpoint.unlink(missing_ok=True)

    def _say(self, text: str) -> None:
        if self.lead:
            print(f"{self.title}: {text}")

    def _say_going_on(self, done: int, found: bool, lost: set[str]) -> None:
        anew = f"; to train anew, delete {self.checkpoint}"
        if done == 0:
            self._say("begun again: it was interrupted before its first checkpoint.")
        elif done == self.total:
            self._say(f"was finished before{anew}.")
        else:
            self._say(f"going on from step {done} of {self.total}{anew}.")
        if not found and done < self.total:
            self._say(
                f"the batches before step {done} cannot be found again ({_described(self.batches)} gives others now), so "
                "that the result will differ from an uninterrupted run's. Make it in the loop's own cell, or take "
                "`training.batches`."
            )
        if lost:
            names = ", ".join(f"`{name}`" for name in sorted(lost))
            self._say(
                f"the loop changes {names}, which `keep` lacks: the result may differ from an uninterrupted run's. Keep it "
                "(a number as a tensor that is changed in place), or compute it from the step."
            )

    def _say_stopped(self, done: int) -> None:
        where = f", and saved in {self.checkpoint}: started again, it goes on from there" if self.checkpoint else ""
        self._say(f"stopped after step {done} of {self.total}{'' if self._unsaved else where}.")

    def _diagnosis(self, name: str, number: float, frame: FrameType) -> str:
        """What `Diverged` says: what became what, whether that could have been helped, and what to run next."""
        before = self._finite.get(name)
        earlier = "from the start" if before is None else f"it was {before:.4g} before"
        then = "Lower the learning rate, clip the gradients, or look for a division by zero or the logarithm of zero"
        if self._useless and (self._fresh or abs(before or 0.0) > spoilt.USELESS):
            then = self._useless
        things = self.keep or spoilt.trained(frame)
        again = spoilt.remedy((t for t in things.values() if not isinstance(t, randomness.KINDS)), frame)
        then += f"; then {again}" if again else ""
        return f"{self.title}: {name} became {number} at step {self._step} ({earlier}). {then}."

    def _kept(self) -> dict[str, Any]:
        return keeping.state(self.keep)

    def _describe(self) -> str:
        """A fingerprint of what is trained and how: shapes, seeds, batches, number of steps, the code with its settings."""
        generators = [self._generators[place] for place in sorted(self._generators)]
        seeds = [torch.initial_seed(), *(g.initial_seed() for g in generators if isinstance(g, torch.Generator))]
        shuffled = self.batches.describe() if isinstance(self.batches, Batches) else []
        parts = [FORMAT, self.title, self.total, keeping.signature(self._kept()), seeds, shuffled, self._program]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


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
    training: modules, optimisers, schedulers (anything with `state_dict`), generators (torch's, numpy's, Python's), and
    tensors that are updated in place. With `checkpoint` (a name or a path) that state is saved every `every` seconds, with
    all global generators; after an interrupt, run the same cell again and it goes on from there with the same final
    result. Where that cannot be, because the batches are others or the loop changes what is not kept, it says so. A run
    that ends removes its checkpoint; with `reuse`, and in profiles night and gpu, it leaves it, and the same run takes its
    result from there when it is asked for again: so a lesson with several long trainings can be finished in several
    sittings. Each profile but cpu has a folder of checkpoints of its own. A checkpoint of other
    code, settings or starting values is passed over, and says so: whatever is kept must be as it was when that run began
    or, in the same process, as the interrupt left it. Where nothing can be written, training goes on without checkpoints.
    When several processes train together, one leads; with `lead` False the others read its checkpoints, and show and write
    nothing. So does a run whose `title` is empty: one of many, of which the lesson prints a table. Raises ValueError or
    TypeError for a bad `total` and ValueError for a checkpoint with nothing to keep.
    """
    try:
        total = operator.index(total)
    except TypeError:
        raise TypeError(f"total must be a whole number of steps, not {total!r}") from None
    if total < 1:
        raise ValueError(f"total must be at least 1 step, not {total}")
    if checkpoint is not None and not keep:
        raise ValueError("a checkpoint needs `keep`: name what must be saved, as in keep={'model': model}")
    path, why_not = (None, "") if checkpoint is None else _place(checkpoint)
    lead = lead and bool(title)
    if why_not and lead:
        print(f"{title}: trains without checkpoints, since none can be kept ({why_not})")
    program = fingerprint.of_program(sys._getframe(1)) if path else []
    return Steps(batches, total, title, keep or {}, path, every, program, lead, reuse)


def ramp(step: int, total: int, warm_up: int = 100) -> float:
    """A learning rate's factor: up along a line for `warm_up` steps (or a quarter of all), then down along one to 0."""
    return min((step + 1) / min(warm_up, total / 4), 1 - step / total)


@torch.no_grad()
def first_weights(model: Any) -> Any:
    """Give the dense and convolutional layers of a model first weights that keep a signal's size through SiLU, in place.

    Variances are 2.8 / fan-in, since a standard normal's mean square after SiLU is 0.356 (lesson 03); biases are 0. Returns
    the model. Source of the rule: He et al., 2015, "Delving deep into rectifiers", whose 2 is ReLU's.
    """
    from torch import nn

    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            fan_in = layer.weight[0].numel()
            if isinstance(layer, nn.ConvTranspose2d):  # of k² weights, k² / stride² reach one pixel
                fan_in = layer.weight[:, 0].numel() / (layer.stride[0] * layer.stride[1])
            layer.weight.normal_(0, math.sqrt(2.8 / fan_in))
            if layer.bias is not None:
                layer.bias.zero_()
    return model


def checkpoint_path(name: str, profile: str) -> Path:
    """Where the checkpoint of that name lies in a profile. Raises OSError where no cache can be written."""
    folder = cache_dir() / "checkpoints"
    return (folder if profile == "cpu" else folder / profile) / f"{name}.pt"


def _place(checkpoint: str | Path) -> tuple[Path | None, str]:
    """Where a checkpoint of that name or path lies, in a directory that is made; or None, and why that cannot be."""
    path = Path(checkpoint)
    try:
        if path.parent == Path("."):
            path = checkpoint_path(str(checkpoint), runtime.session_profile())
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return None, str(error)
    return path, ""


def _hopeless(when: str, state: Any, *advice: str) -> str:
    """Why no learning rate helps, if a part of the state is spoilt; else nothing."""
    useless = spoilt.places(state)
    return "; ".join([f"{when} already, {useless}: no learning rate helps now", *advice]) if useless else ""


def _described(batches: Iterable[Any]) -> str:
    return f"`{getattr(batches, '__name__', type(batches).__name__)}`"


def _bar(total: int, first: int, title: str, shown: bool) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, initial=first, desc=title, leave=False, mininterval=0.5, disable=not shown)
