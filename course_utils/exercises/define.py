"""The vocabulary in which an exercise is defined: its reference, cases, named mistakes, claims and hints.

One definition serves the feedback in the notebook, the points in the gradebook and the mutation tests.
`CONTRIBUTING.md` shows how to write one. References live here, so this module is never mounted in a grading box.
"""

from __future__ import annotations

import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from course_utils.boxed.fixtures import Fixture
from course_utils.boxed.observe import Trial
from course_utils.exercises.findings import Status

MINIMUM_TRIALS = 25
GRADIENT = "gradient with respect to "  # how the name of a gradient begins for students and for claims
AUTOGRAD = ("torch.autograd", "torch.func", "Tensor.backward")  # forbidden where a gradient is to be derived by hand
registry: dict[str, Definition] = {}  # filled by importing the modules of `lessons`; `catalogue` does that


@dataclass(frozen=True)
class Mistake:
    """A wrong version of an exercise, and what a good teacher would say to someone who wrote it.

    `breaks`: the key of a claim that it breaks whatever the seed, by which it is told from others before it is run.
    """

    key: str
    sentence: str
    function: Callable
    may_not_end: bool = False
    breaks: str = ""


@dataclass(frozen=True)
class Claim:
    """A property that a random result must have; `holds(arguments, result)` false-alarms below 1e-9.

    `result` is the result, or the tuple of them. With networks among the arguments it is a dict of all that was recorded:
    results by name, "net.0.weight" and the like for what networks hold after the call, and f"{GRADIENT}x" for gradients.

    `across`: `holds` compares trials, and gets the lists of the arguments and of the results of all of them.
    """

    key: str
    sentence: str
    holds: Callable[[Any, Any], bool]
    across: bool = False


@dataclass(frozen=True)
class Case:
    """Arguments for one trial; `label` names an edge case, as in "right, but not when {label}", which the exercise's card
    or docstring announces in the words `stated`."""

    arguments: dict[str, Any]
    label: str = ""
    stated: str = ""


def edge(label: str, /, *, stated: str, **arguments: Any) -> Case:
    """An edge case: an answer that fails nothing else is nearly right. A student reads of it in the card or in the
    docstring, in the words `stated`; what is not worth a sentence there is not tested."""
    return Case(arguments, label, stated)


def randn(generator: torch.Generator, *shape: int) -> Tensor:
    """Standard normal arguments of this shape, float64."""
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@dataclass
class Definition:
    """One exercise. Built by `define`, completed by its methods `cases`, `mistake`, `claim`, `hints`, `typical`."""

    name: str
    lesson: str
    points: int
    edge_points: float
    reference: Callable
    outputs: tuple[str, ...]
    gradients: tuple[str, ...] = ()
    fresh: bool = False
    updates: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    exact: bool = False
    mistakes: dict[str, Mistake] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    staged_hints: tuple[str, ...] = ()
    _cases: Callable[[torch.Generator], Iterator[dict | Case]] | None = None
    _typical: Callable[[torch.Generator], dict] | None = None

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the reference."""
        return self.reference(*arguments, **named)

    def cases(self, function: Callable) -> Callable:
        """Decorator: a generator function `cases(generator)` yielding dicts of float64 arguments, or `edge(…)`."""
        self._cases = function
        return function

    def typical(self, function: Callable) -> Callable:
        """Decorator: `typical(generator)` returns arguments of the size the lesson uses, to compare speeds."""
        self._typical = function
        return function

    def mistake(self, sentence: str, breaks: str = "") -> Callable[[Callable], Callable]:
        """Decorator: a wrong version that works like the reference, named, with its sentence. See `Mistake`."""

        def register(function: Callable) -> Callable:
            self.mistakes[function.__name__] = Mistake(function.__name__, sentence, function, breaks=breaks)
            return function

        return register

    def claim(self, sentence: str, across: bool = False) -> Callable[[Callable], Callable]:
        """Decorator: `claim(arguments, result) -> bool`, for exercises whose result is random. See `Claim`."""

        def register(function: Callable) -> Callable:
            self.claims[function.__name__] = Claim(function.__name__, sentence, function, across)
            return function

        return register

    def hints(self, *texts: str) -> None:
        """Hints from gentle to nearly the answer."""
        self.staged_hints = texts

    def source(self) -> str:
        """The reference's source code, without its decorators."""
        return source_of(self.reference)

    def earned(self, status: str) -> float:
        """The points of an answer of this status: all for a right one, all but `edge_points` for a nearly right one."""
        if status == Status.RIGHT:
            return self.points
        return self.points - self.edge_points if status == Status.NEARLY_RIGHT else 0

    def made_cases(self, generator: torch.Generator) -> list[Case]:
        """One round of cases, as random as `generator` makes them; each is made from a seed of its own.

        A generator keeps 32 bits of a seed: whoever guesses them from one case knows nothing of the others.
        """
        if self._cases is None:
            raise LookupError(f"exercise {self.name} defines no cases")
        made, seed = [], generator.initial_seed()
        for case in self._cases(generator):
            made.append(case if isinstance(case, Case) else Case(case))
            generator.manual_seed(_mixed(seed, len(made)))
        return made

    def trials(self, seed: int, device: torch.device | str = "cpu") -> list[Trial]:
        """At least 25 trials, every case in float64 and float32; with an accelerator, one more round there.

        The ordinary ones come first: an answer that an edge case stops for good has been asked all of them by then.
        """
        rounds: list[tuple[torch.dtype, str]] = [(torch.float64, "cpu"), (torch.float32, "cpu")]
        made: list[Trial] = []
        while rounds or len(made) < MINIMUM_TRIALS:
            dtype, where = rounds.pop(0) if rounds else (torch.float64, "cpu")
            generator = torch.Generator().manual_seed(_mixed(seed, -1 - len(made)))
            for case in self.made_cases(generator):
                arguments = {name: place(value, dtype, where) for name, value in case.arguments.items()}
                made.append(self._trial(arguments, case.label, seed + len(made)))
        if torch.device(device).type != "cpu":
            case = self.made_cases(torch.Generator().manual_seed(_mixed(seed, -1 - len(made))))[0]
            arguments = {name: place(value, torch.float32, device) for name, value in case.arguments.items()}
            made.append(self._trial(arguments, f"the tensors are on {device}", seed + len(made)))
        return sorted(made, key=lambda trial: bool(trial.label))

    def typical_trial(self, seed: int) -> Trial | None:
        """One trial of the lesson's own size, or None where the definition gives none."""
        if self._typical is None:
            return None
        arguments = self._typical(torch.Generator().manual_seed(seed))
        return self._trial({name: place(v, torch.float32, "cpu") for name, v in arguments.items()}, "", seed)

    def _trial(self, arguments: dict[str, Any], label: str, seed: int) -> Trial:
        expected = tuple(inspect.signature(self.reference).parameters)
        if tuple(arguments) != expected:
            raise TypeError(f"exercise {self.name}: a case gives {tuple(arguments)}, the reference takes {expected}")
        return Trial(self.name, arguments, self.outputs, self.gradients, label, seed, self.updates)


def _mixed(seed: int, number: int) -> int:
    """Another seed, of which all bits depend on all bits of this one."""
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:8], "big") >> 1


def define(
    lesson: str,
    points: int,
    outputs: str | tuple[str, ...],
    gradients: tuple[str, ...] = (),
    fresh: bool = False,
    updates: tuple[str, ...] = (),
    forbidden: tuple[str, ...] = (),
    edge_points: float | None = None,
    exact: bool = False,
) -> Callable[[Callable], Definition]:
    """Decorator that turns a reference function into a registered `Definition`.

    `outputs` names the result(s); `gradients` names the arguments whose gradient is compared as well; `fresh`
    says that a result must not share memory with an argument; `updates` names the networks that the function trains:
    of any other network among the arguments, the gradients too must be as the reference leaves them. `forbidden` names
    the calls that would do the exercise's work, such as "nn.LSTM": a right answer that uses one is told so in the
    notebook, and waits for a person in grading (see `forbidden.calls`). `edge_points` are lost by an answer that fails
    edge cases only: 1 where there are two points or more, one half where there is one, unless given. `exact`: the card
    asks for the very type or dtype, so that single precision, or a tensor in place of a plain number, will not do.
    """
    lost = (1 if points >= 2 else 0.5) if edge_points is None else edge_points

    def register(reference: Callable) -> Definition:
        name = reference.__name__
        if name in registry and registry[name].reference.__code__ != reference.__code__:
            raise ValueError(f"there are two exercises called {name}")
        names = (outputs,) if isinstance(outputs, str) else outputs
        registry[name] = Definition(
            name, lesson, points, lost, reference, names, gradients, fresh, updates, forbidden, exact
        )
        return registry[name]

    return register


def source_of(reference: Callable) -> str:
    """A function's source code, without its decorators."""
    source = textwrap.dedent(inspect.getsource(reference))
    return source[source.index("def ") :].rstrip() + "\n"


def place(value: Any, dtype: torch.dtype, device: torch.device | str) -> Any:
    """A copy of `value` on `device` in which floating-point tensors, and networks to be built, have `dtype`."""
    if isinstance(value, Fixture) and value.has_state:
        return replace(value, dtype=dtype, device=str(device))
    if isinstance(value, Tensor):
        return value.to(device=device, dtype=dtype if value.is_floating_point() else value.dtype)
    if isinstance(value, (list, tuple)):
        return type(value)(place(v, dtype, device) for v in value)
    return value
