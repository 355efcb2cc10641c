"""Recognise the mistakes that an exercise's definition names: by what they do, or by the claims that they break."""

from __future__ import annotations

import contextlib
import copy
import functools
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from course_utils.boxed.fixtures import Fixture
from course_utils.boxed.observe import Observation, Trial, observe, precision, results
from course_utils.boxed.undisturbed import undisturbed
from course_utils.exercises.agree import Comparison, agrees, behaves_alike, same, same_form
from course_utils.exercises.define import GRADIENT, Claim, Definition, Mistake
from course_utils.exercises.findings import NamedMistake, leaves
from course_utils.exercises.slips import slips

WITNESSES = 5  # trials on which an answer breaks a claim, of which one must speak for a mistake, before all are tried
SLIP_LIMIT = 0.005  # seconds for a slip that may never end, in a loop over an exercise's few arguments
FIRST = 2  # the same, where the answer breaks the claim on every trial; and for claims across trials


class Tried:
    """What the mistakes of an exercise do: each runs only when it is asked for, and once on each trial."""

    def __init__(self, exercise: Definition) -> None:
        self.exercise = exercise
        self._runs: dict[tuple[Mistake, int], Run] = {}

    def __call__(self, mistake: Mistake, trial: Trial) -> Run:
        """What this mistake does on this trial. Mistakes are trusted."""
        place = mistake, id(trial)
        if place not in self._runs:
            limit = SLIP_LIMIT if mistake.may_not_end else None
            self._runs[place] = Run(trial, observe(mistake.function, trial, limit))  # keeping the trial keeps its id
        return self._runs[place]


@dataclass(frozen=True)
class Run:
    """A trial and what came of it, as claims are told: each is asked about it once."""

    trial: Trial
    observation: Observation
    _held: dict[str, bool] = field(default_factory=dict)

    def holds(self, claim: Claim) -> bool:
        """Whether a claim about single trials holds; it does where no result was returned."""
        if claim.key not in self._held:
            returned = self.observation.event == "returned"
            self._held[claim.key] = not returned or _says_yes(lambda: claim.holds(self.arguments, self.result))
        return self._held[claim.key]

    @functools.cached_property
    def arguments(self) -> dict[str, Any]:
        """The trial's arguments."""
        return {name: on_cpu(value) for name, value in self.trial.arguments.items()}

    @functools.cached_property
    def result(self) -> Any:
        """The result, or the tuple of them; with networks among the arguments, all leaves by name."""
        observation = self.observation
        if self.trial.has_networks:
            gradients = {f"{GRADIENT}{name}": value for name, value in observation.gradients.items()}
            return {name: on_cpu(v) for name, v in {**observation.outputs, **observation.states, **gradients}.items()}
        values = [on_cpu(observation.outputs[name]) for name in self.trial.outputs]
        return values[0] if len(values) == 1 else tuple(values)


# -- by what they do -----------------------------------------------------------------------------------------------


def named(
    tried: Tried, rows: list[Comparison], lenient: bool = False, among: Iterable[Mistake] | None = None
) -> NamedMistake | None:
    """The first mistake that does, on every trial, exactly what the candidate did; `lenient` as in `agrees`, `among` the
    mistakes that the exercise names unless others are given.

    Failing that, the first that does so on all but the edge cases on which the candidate broke down: no window was
    left to stack, no step to walk. Then an ordinary trial must be wrong too, or nothing would speak for the mistake.
    """
    telling = any(not row.right and not row.trial.label for row in rows)
    broken = [row for row in rows if telling and _breaks_down(row)]
    intact = sorted((row for row in rows if not (telling and _breaks_down(row))), key=lambda row: row.right)

    def explains(mistake: Mistake, some: list[Comparison]) -> bool:
        return all(
            behaves_alike(tried.exercise, tried(mistake, row.trial).observation, row.actual, lenient) for row in some
        )

    known = tried.exercise.mistakes.values() if among is None else among
    likely = [mistake for mistake in known if explains(mistake, intact)]
    likely.sort(key=lambda mistake: not explains(mistake, broken))
    return NamedMistake(likely[0].key, likely[0].sentence) if likely else None


def slip(tried: Tried, rows: list[Comparison]) -> NamedMistake | None:
    """The slip in the reference (see `slips`) that does, on every trial, exactly what the candidate did."""
    exercise, lenient = tried.exercise, not tried.exercise.exact
    first = min(rows, key=lambda row: (row.right, bool(row.trial.label)))

    def likely(made: Mistake) -> bool:
        quick = not made.may_not_end and first.expected.structure != "None"  # results tell nothing where there are none
        return not quick or gives(made.function, first.trial, first.actual, lenient)

    with warnings.catch_warnings(), undisturbed(first.trial.seed), contextlib.redirect_stdout(None):
        warnings.simplefilter("ignore")  # torch's, of what slips do
        return named(tried, rows, lenient, [made for made in slips(exercise) if likely(made)])


def gives(function: Callable, trial: Trial, actual: Observation, lenient: bool) -> bool:
    """Whether a function that is known to end gives the results that were observed; to be called within `undisturbed`."""
    given = results(function, trial) or {}
    return given.keys() == actual.outputs.keys() and all(
        same(value, actual.outputs[name], Observation("returned", dtype=precision(trial)), lenient)
        for name, value in given.items()
    )


def _breaks_down(row: Comparison) -> bool:
    """Whether the candidate raised an exception on an edge case, or returned something of another form there."""
    if row.right or not row.trial.label:
        return False
    actual = row.actual
    return actual.event == "raised" or (actual.event == "returned" and not same_form(row.expected, actual))


# -- by the claims that they break ---------------------------------------------------------------------------------


class Broken:
    """Which claims of an exercise hold for an answer: of each claim that does not, the trials that show it.

    A claim that cannot be evaluated counts as broken.
    """

    def __init__(self, exercise: Definition, rows: list[Comparison]) -> None:
        self.exercise, self.rows = exercise, rows
        self._runs = [Run(row.trial, row.actual) for row in rows]
        self.witnesses: dict[str, list[Comparison]] = {}
        for key, claim in exercise.claims.items():
            if claim.across:
                shown = [] if _holds(claim, self._runs) else rows
            else:
                shown = [row for row, run in zip(rows, self._runs, strict=True) if not run.holds(claim)]
            if shown:
                self.witnesses[key] = shown

    def with_rows(self, rows: list[Comparison]) -> Broken:
        """The same of the same trials, compared in another way: no claim depends on that."""
        changed, place = copy.copy(self), {id(row): new for row, new in zip(self.rows, rows, strict=True)}
        changed.rows = rows
        changed.witnesses = {key: [place[id(row)] for row in shown] for key, shown in self.witnesses.items()}
        return changed

    def among(self, rows: list[Comparison]) -> Iterator[str]:
        """The claims that are broken by some of the trials, taken by themselves."""
        if rows is self.rows:
            yield from self.witnesses
            return
        chosen = {id(row) for row in rows}
        for key, shown in self.witnesses.items():
            if not self.exercise.claims[key].across and any(id(row) in chosen for row in shown):
                yield key
        runs = [run for row, run in zip(self.rows, self._runs, strict=True) if id(row) in chosen]
        for claim in self.across:
            if not _holds(claim, runs):
                yield claim.key

    def is_right(self, rows: list[Comparison]) -> bool:
        """Whether the answer is right in all that these trials ask."""
        return all(row.right for row in rows) and not any(self.among(rows))

    @functools.cached_property
    def across(self) -> list[Claim]:
        """The claims that compare trials."""
        return [claim for claim in self.exercise.claims.values() if claim.across]

    @functools.cached_property
    def soon(self) -> list[Claim]:
        """Those of them that the answer breaks, and breaks on the first trials already."""
        first = self._runs[:FIRST]
        return [claim for claim in self.across if claim.key in self.witnesses and not _holds(claim, first)]

    @property
    def first(self) -> str | None:
        """The first claim that is broken."""
        return next(iter(self.witnesses), None)


def named_by_claims(tried: Tried, broken: Broken) -> NamedMistake | None:
    """The mistake that breaks exactly the same claims, fails on the same trials and in the same way."""
    for mistake in tried.exercise.mistakes.values():
        told = not mistake.breaks or mistake.breaks in broken.witnesses
        if told and _may_break_alike(tried, mistake, broken) and _breaks_alike(tried, mistake, broken):
            return NamedMistake(mistake.key, mistake.sentence)
    return None


def _may_break_alike(tried: Tried, mistake: Mistake, broken: Broken) -> bool:
    """Whether a few trials speak for the mistake, which is quickly asked and tells most mistakes apart.

    A claim that the answer breaks again and again, it breaks on one of the first trials that show it; and on the first
    trials of all, it breaks the same claims across trials. What is broken by chance on a few says nothing.
    """
    often = {key: rows for key, rows in broken.witnesses.items() if len(rows) >= WITNESSES}
    for key in sorted(often, key=lambda key: -len(often[key])):
        claim, always = tried.exercise.claims[key], len(often[key]) == len(broken.rows)
        shown = often[key][: FIRST if always else WITNESSES]
        if not claim.across and all(tried(mistake, row.trial).holds(claim) for row in shown):
            return False
    first = [tried(mistake, row.trial) for row in broken.rows[:FIRST] if broken.soon]
    return not any(_holds(claim, first) for claim in broken.soon)


def _breaks_alike(tried: Tried, mistake: Mistake, broken: Broken) -> bool:
    exercise = tried.exercise
    kept = [claim for key, claim in exercise.claims.items() if key not in broken.witnesses and not claim.across]
    runs = []
    for row in broken.rows:
        run = tried(mistake, row.trial)
        other = run.observation
        same_way = other.event == row.actual.event and other.changed == row.actual.changed
        if not same_way or agrees(exercise, row.expected, other) != row.right:
            return False
        if not all(run.holds(claim) for claim in kept):
            return False
        runs.append(run)
    others = [claim for key, claim in exercise.claims.items() if key in broken.witnesses or claim.across]
    return all(_holds(claim, runs) == (claim.key not in broken.witnesses) for claim in others)


def _holds(claim: Claim, runs: list[Run]) -> bool:
    """Whether a claim holds on every trial that returned a result, or across all of these."""
    if not claim.across:
        return all(run.holds(claim) for run in runs)
    returned = [run for run in runs if run.observation.event == "returned"]
    return _says_yes(lambda: claim.holds([run.arguments for run in returned], [run.result for run in returned]))


def _says_yes(asked: Callable[[], bool]) -> bool:
    """What a claim answers; no, where the results are such that it cannot even be asked."""
    try:
        return asked()
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError):
        return False


def on_cpu(value: Any) -> Any:
    """The value where claims compute, for not every device has float64."""
    if isinstance(value, Fixture) and value.device != "cpu":
        return replace(value, device="cpu")
    if isinstance(value, (list, tuple)):
        return type(value)(map(on_cpu, value))
    return value.cpu() if isinstance(value, Tensor) else value


def too_large_for_claims(row: Comparison) -> bool:
    """Whether a result is so much larger than asked for that no claim should compute with it: what claims compare is
    broadcast, and two columns of a megabyte make a table of terabytes."""

    def entries(value: Any) -> int:
        return value.numel() if isinstance(value, Tensor) else 0

    expected = leaves(row.expected)
    return any(entries(v) > max(2 * entries(expected.get(leaf)), 1000) for leaf, v in leaves(row.actual).items())
