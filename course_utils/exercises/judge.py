"""Judge what a candidate did: right, a known mistake, an error, or different — and say why.

The trusted half of an exercise: it knows references, mistakes and claims, and works on recorded `Observation`s
only, so the candidate may have run anywhere. Order of judgement: not attempted, named mistake, exception or time
limit, generic transformation (`diagnose`), structural slip, plain difference.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_utils.boxed.fixtures import Fixture
from course_utils.boxed.observe import GRADIENT, STATE, TIME_LIMIT, Observation, Trial, describe, observe
from course_utils.exercises.catalogue import definition
from course_utils.exercises.define import Claim, Definition, Mistake
from course_utils.exercises.diagnose import FLOOR, TOLERANCE, Pair, close, explain, not_finite

TOTAL_LIMIT = 10.0  # seconds for all calls of a candidate together
REFERENCE_LIMIT = 60.0  # seconds for one call of a reference, which takes milliseconds: beyond, the machine stood still

# What torch's own words leave out, by a part of its message.
ADVICE = {
    "Boolean value of Tensor with more than one value is ambiguous": (
        "\n    A tensor has many truths, `if` wants one: multiply by a mask (`x > 0`), or use `torch.where`."
    ),
    "does not require grad and does not have a grad_fn": (
        "\n    No graph leads here. Was it computed under `torch.no_grad()`, or cut off by `.detach()` or `.item()`? If it "
        "only depends on arguments, which carry no graph: compute the gradient yourself, or build a graph from copies."
    ),
    "One of the differentiated Tensors does not require grad": (
        "\n    Gradients are taken only with respect to tensors that want one: `x.requires_grad_()` before x is used."
    ),
    "Expected target size": (
        "\n    `cross_entropy` wants the classes in dimension 1: flatten batch and time into one dimension first."
    ),
}


@dataclass(frozen=True)
class Outcome:
    """The result of a check. `status` is "right", "diagnosed", "wrong", "error" or "not attempted".

    `message` is what the student reads; `mistake` is the key of the recognised mistake, or None: a name from the
    definition, or "generic:…" for one of the transformations that every exercise knows; several, joined by "+", where
    different results are wrong in different ways.
    """

    status: str
    message: str
    mistake: str | None = None


@dataclass(frozen=True)
class _Seen:
    """One trial with what the reference did and what the candidate did."""

    trial: Trial
    expected: Observation
    actual: Observation
    right: bool


def trials(name: str, seed: int, device: torch.device | str = "cpu") -> list[Trial]:
    """The trials of an exercise: the same seed gives the same trials."""
    return definition(name).trials(seed, device)


def check(name: str, candidate: Callable, seed: int = 0, device: torch.device | str = "cpu") -> Outcome:
    """Run and judge `candidate` in this process. Displays nothing; the same seed gives the same outcome.

    Raises KeyError for an unknown exercise and TypeError when `candidate` cannot be called.
    """
    if not callable(candidate):
        raise TypeError(f"the answer to {name} must be a function, not {type(candidate).__name__}")
    asked = trials(name, seed, device)
    observations, left = [], TOTAL_LIMIT
    for trial in asked:
        observations.append(observe(candidate, trial, min(TIME_LIMIT, left)))
        left = max(left - observations[-1].seconds, 0.0)
        if observations[-1].event in ("timed out", "not attempted"):
            break
    return judge(name, asked, observations)


def first_failure(name: str, candidate: Callable, seed: int = 0) -> Trial | None:
    """The first trial on which `candidate` is not right, or None. Quick: the mutation tester's question."""
    exercise = definition(name)
    if exercise.claims:
        asked = trials(name, seed)
        return None if check(name, candidate, seed).status == "right" else asked[0]
    for trial in trials(name, seed):
        if not _agrees(exercise, observe(exercise.reference, trial), observe(candidate, trial, 1.0)):
            return trial
    return None


def judge(name: str, asked: list[Trial], observations: list[Observation]) -> Outcome:
    """The outcome of an exercise from what was observed; `observations` may stop early at a time limit.

    Raises RuntimeError if the machine stood still while a reference ran.
    """
    exercise = definition(name)
    if any(o.event == "not attempted" for o in observations):
        return _not_attempted(name, observations[0])
    seen = []
    for trial, actual in zip(asked, observations, strict=False):
        expected = _expected(exercise, trial)
        seen.append(_Seen(trial, expected, actual, _agrees(exercise, expected, actual)))
    if exercise.claims:
        if any(_is_too_large(s) for s in seen):
            return _unnamed(exercise, seen, [])
        broken = _broken_claims(exercise, [(s.trial, s.actual) for s in seen])
        if not broken and all(s.right for s in seen):
            return Outcome("right", f"right on {len(seen)} random cases.")
        return _named_by_claims(exercise, seen, broken) or _unnamed(exercise, seen, broken)
    if all(s.right for s in seen):
        return Outcome("right", f"right on {len(seen)} random cases.")
    return _named(exercise, seen) or _unnamed(exercise, seen, [])


def _expected(exercise: Definition, trial: Trial) -> Observation:
    """What the reference does. Raises RuntimeError when it cannot tell in time, which is nobody's mistake."""
    seen = observe(exercise.reference, trial, REFERENCE_LIMIT)
    if seen.event == "timed out":
        raise RuntimeError(
            f"the reference of {exercise.name} took more than {REFERENCE_LIMIT:g} seconds. Check it again."
        )
    return seen


def _unnamed(exercise: Definition, seen: list[_Seen], broken: list[str]) -> Outcome:
    """What to say when no named mistake of the exercise explains the answer."""
    outcome = _error(exercise, seen)
    if outcome is None and not exercise.claims:
        outcome = _generic(exercise, seen)
    outcome = outcome or _slip(exercise, seen)
    if outcome is None and broken:
        outcome = Outcome("wrong", exercise.claims[broken[0]].sentence)
    return outcome or _difference(exercise, seen)


def _not_attempted(name: str, observation: Observation) -> Outcome:
    text = "not attempted yet. The lesson goes on with the reference."
    if observation.printed:
        text += " (`raise NotImplementedError` is still reached: delete that line once your code returns a result.)"
    return Outcome("not attempted", text)


# -- agreement ---------------------------------------------------------------------------------------------------


def _agrees(exercise: Definition, expected: Observation, actual: Observation) -> bool:
    """Whether the candidate did what the reference did, in every respect that the exercise asks for."""
    if expected.event == "raised":
        return _same_exception(expected, actual)
    if actual.event != "returned" or actual.changed or (exercise.fresh and actual.shared):
        return False
    if exercise.claims:
        return _same_form(expected, actual)
    return _same_values(expected, actual)


def _same_exception(expected: Observation, actual: Observation) -> bool:
    if expected.failure is None or actual.failure is None or actual.event != "raised":
        return False
    return expected.failure.kind in actual.failure.parents


def _same_form(expected: Observation, actual: Observation) -> bool:
    return expected.outputs.keys() == actual.outputs.keys() and all(
        _form(value) == _form(actual.outputs[name]) for name, value in expected.outputs.items()
    )


def _form(value: Any) -> Any:
    return (value.shape, value.dtype, value.device) if isinstance(value, Tensor) else type(value)


def _same_values(expected: Observation, actual: Observation) -> bool:
    return expected.outputs.keys() == actual.outputs.keys() and all(
        _same(value, actual.outputs[name], expected) or _no_gradient(name, value, actual.outputs[name])
        for name, value in expected.outputs.items()
    )


def _no_gradient(name: str, expected: Any, actual: Any) -> bool:
    """Whether no gradient arrives where it should be zero everywhere: as good as zeros."""
    return name.startswith(GRADIENT) and actual is None and isinstance(expected, Tensor) and not expected.any()


def _same(expected: Any, actual: Any, among: Observation) -> bool:
    """Whether a result is `expected`, one of the results `among` those of the reference."""
    if isinstance(expected, Tensor):
        same_kind = type(actual) is Tensor and actual.dtype == expected.dtype and actual.device == expected.device
        return same_kind and close(actual, expected)
    if not _same_kind(expected, actual):
        return False
    if isinstance(expected, (int, float)):
        return abs(actual - expected) <= TOLERANCE[among.dtype] * max(abs(expected), FLOOR)
    return actual == expected


def _same_kind(expected: Any, actual: Any) -> bool:
    """Whether a value that is no tensor has the type asked for: an int does for a float, a bool for neither."""
    if type(expected) is float and type(actual) is int:
        return abs(actual) <= sys.float_info.max
    return type(actual) is type(expected) or (type(expected) is float and isinstance(actual, float))


# -- named mistakes ----------------------------------------------------------------------------------------------


def _named(exercise: Definition, seen: list[_Seen]) -> Outcome | None:
    """The first mistake that does, on every trial, exactly what the candidate did.

    Failing that, the first that does so on all but the edge cases on which the candidate broke down: no window was
    left to stack, no step to walk. Then an ordinary trial must be wrong too, or nothing would speak for the mistake.
    """
    telling = any(not s.right and not s.trial.label for s in seen)
    broken = [s for s in seen if telling and _breaks_down(s)]
    intact = sorted((s for s in seen if not (telling and _breaks_down(s))), key=lambda s: s.right)

    def explains(mistake: Mistake, some: list[_Seen]) -> bool:
        return all(_behaves_alike(exercise, observe(mistake.function, s.trial, 1.0), s.actual) for s in some)

    likely = [mistake for mistake in exercise.mistakes.values() if explains(mistake, intact)]
    likely.sort(key=lambda mistake: not explains(mistake, broken))
    return Outcome("diagnosed", likely[0].sentence, likely[0].key) if likely else None


def _breaks_down(s: _Seen) -> bool:
    """Whether the candidate raised an exception on an edge case, or returned something of another form there."""
    if s.right or not s.trial.label:
        return False
    return s.actual.event == "raised" or (s.actual.event == "returned" and not _same_form(s.expected, s.actual))


def _behaves_alike(exercise: Definition, mistake: Observation, actual: Observation) -> bool:
    if mistake.event != actual.event:
        return False
    if mistake.event == "raised":
        return _same_exception(mistake, actual)
    same_sharing = not exercise.fresh or mistake.shared == actual.shared
    return mistake.changed == actual.changed and same_sharing and _same_values(mistake, actual)


def _broken_claims(exercise: Definition, observed: list[tuple[Trial, Observation]]) -> list[str]:
    """The keys of the claims that do not hold; a claim that cannot be evaluated counts as broken."""
    return [key for key, claim in exercise.claims.items() if not _holds(claim, observed)]


def _holds(claim: Claim, observed: list[tuple[Trial, Observation]]) -> bool:
    """Whether a claim holds on every trial that returned a result, or across all of these."""
    returned = [(trial, observation) for trial, observation in observed if observation.event == "returned"]
    try:
        results = [_result(trial, observation) for trial, observation in returned]
        arguments = [trial.arguments for trial, _ in returned]
        if claim.across:
            return claim.holds(arguments, results)
        return all(claim.holds(a, r) for a, r in zip(arguments, results, strict=True))
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError):
        return False


def _result(trial: Trial, observation: Observation) -> Any:
    """What a claim is told: the result, or the tuple of them; with networks among the arguments, all outputs by name."""
    if trial.has_networks:
        return {name.removeprefix(STATE): value for name, value in observation.outputs.items()}
    values = [observation.outputs[name] for name in trial.outputs]
    return values[0] if len(values) == 1 else tuple(values)


def _is_too_large(s: _Seen) -> bool:
    """Whether a result is so much larger than asked for that no claim should compute with it: what claims compare is
    broadcast, and two columns of a megabyte make a table of terabytes."""

    def entries(value: Any) -> int:
        return value.numel() if isinstance(value, Tensor) else 0

    expected = s.expected.outputs
    return any(entries(v) > max(2 * entries(expected.get(name)), 1000) for name, v in s.actual.outputs.items())


def _named_by_claims(exercise: Definition, seen: list[_Seen], broken: list[str]) -> Outcome | None:
    """The mistake that breaks exactly the same claims, fails on the same trials and in the same way."""
    for mistake in exercise.mistakes.values():
        if _breaks_alike(exercise, mistake, seen, broken):
            return Outcome("diagnosed", mistake.sentence, mistake.key)
    return None


def _breaks_alike(exercise: Definition, mistake: Mistake, seen: list[_Seen], broken: list[str]) -> bool:
    kept = [claim for key, claim in exercise.claims.items() if key not in broken and not claim.across]
    tried = []
    for s in seen:
        other = observe(mistake.function, s.trial, 1.0)
        same_way = other.event == s.actual.event and other.changed == s.actual.changed
        if not same_way or _agrees(exercise, s.expected, other) != s.right:
            return False
        if not all(_holds(claim, [(s.trial, other)]) for claim in kept):
            return False
        tried.append((s.trial, other))
    return all(_holds(claim, tried) == (key not in broken) for key, claim in exercise.claims.items())


# -- errors ------------------------------------------------------------------------------------------------------


def _error(exercise: Definition, seen: list[_Seen]) -> Outcome | None:
    for s in seen:
        if s.actual.event == "timed out":
            return Outcome("error", _too_long(seen))
        if s.actual.event == "raised" and not s.right:
            return Outcome("error", _exception(exercise, s))
    return None


def _too_long(seen: list[_Seen]) -> str:
    if sum(s.actual.seconds for s in seen) >= TOTAL_LIMIT:
        return (
            f"stopped after {TOTAL_LIMIT:g} seconds for all cases together: far too slow. Do without the inner loops."
        )
    return f"stopped after {TIME_LIMIT:g} seconds{_when(seen[-1].trial)}: a loop that never ends?"


def _exception(exercise: Definition, s: _Seen) -> str:
    failure = s.actual.failure
    if failure is None:
        raise ValueError("a raised observation without its failure")
    if failure.kind == "WrongSignature":
        return (
            f"cannot be called with the arguments ({', '.join(s.trial.arguments)}): {failure.message}. "
            "Keep the parameters as they stand in the exercise."
        )
    where = f"\n    line {failure.line_number}: {failure.line}" if failure.line_number else ""
    if failure.kind == "RecursionError":
        return f"`{exercise.name}` calls itself without end{_when(s.trial)}.{where}"
    if failure.kind == "SystemExit":
        return f"the function leaves Python (`exit`) instead of returning a result.{where}"
    text = f"{failure.kind}: {failure.message}" if failure.message else failure.kind
    asked = s.expected.failure
    instead = f" {asked.kind} is asked for here ({asked.message})." if asked else ""
    advice = next((words for part, words in ADVICE.items() if part in failure.message), "")
    return f"{text}{_when(s.trial)}{instead and '.' + instead}{where}{advice}"


def _when(trial: Trial) -> str:
    return f" (when {trial.label})" if trial.label else ""


# -- generic transformations -------------------------------------------------------------------------------------


def _generic(exercise: Definition, seen: list[_Seen]) -> Outcome | None:
    """One transformation per wrong output that explains it on every trial; or one kind of edge case that fails."""
    found = _everywhere(exercise, seen) or _edge_only(exercise, seen)
    if found is None:
        return None
    keys = [key if key in exercise.mistakes else f"generic:{key}" for key in found[0].split("+")]
    return Outcome("diagnosed", found[1], "+".join(keys))


def _everywhere(exercise: Definition, seen: list[_Seen]) -> tuple[str, str] | None:
    returned = [s for s in seen if s.expected.event == "returned"]
    if any(s.actual.event != "returned" or s.actual.changed for s in returned) or not all(
        s.right for s in seen if s.expected.event == "raised"
    ):
        return None
    if any(s.expected.outputs.keys() != s.actual.outputs.keys() for s in returned):
        return None
    return _other_order(returned) or _cut(returned) or _transformed(exercise, returned)


def _other_order(seen: list[_Seen]) -> tuple[str, str] | None:
    names = seen[0].trial.outputs
    if len(names) < 2 or any(name not in seen[0].expected.outputs for name in names):
        return None
    for order in list(itertools.permutations(names))[1:]:
        if all(
            _same(s.expected.outputs[source], s.actual.outputs[name], s.expected)
            for s in seen
            for name, source in zip(names, order, strict=True)
        ):
            return "order", f"the results come in the order ({', '.join(order)}); ({', '.join(names)}) is asked for."
    return None


def _cut(seen: list[_Seen]) -> tuple[str, str] | None:
    """Values right, gradients missing: the result was cut from the graph; or there, where none should be."""
    wrong = {n for s in seen for n, e in s.expected.outputs.items() if not _same(e, s.actual.outputs[n], s.expected)}
    if not wrong or not all(name.startswith(GRADIENT) for name in wrong):
        return None
    if all(s.actual.outputs[name] is None for s in seen for name in wrong):
        names = ", ".join(f"`{name.rsplit(' ', 1)[1]}`" for name in sorted(wrong))
        return "cut", (
            f"the values are right, but no gradient arrives at {names}: the result is cut from the graph "
            "(`.detach()`, `.data`, `.item()`, `torch.tensor(...)`, numpy or `torch.no_grad()` on the way)."
        )
    if all(s.expected.outputs[name] is None for s in seen for name in wrong):
        return "not-cut", "the values are right, but gradients flow where none should."
    return None


def _transformed(exercise: Definition, seen: list[_Seen]) -> tuple[str, str] | None:
    """Every wrong result explained by a transformation, or by a mistake that gets just this result wrong so.

    The gradients of a wrong result are wrong too, so they are looked at only where all results are right.
    """
    wrong = {
        n: None for s in seen for n, e in s.expected.outputs.items() if not _same(e, s.actual.outputs[n], s.expected)
    }
    results = [name for name in wrong if not name.startswith(GRADIENT)]
    if any(name.startswith(STATE) for name in results):
        return None  # a parameter's new value is its old one plus a step: no transformation of it tells anything
    explained: dict[str, list[str]] = {}
    sentences = {}
    for name in results or wrong:
        having = [s for s in seen if name in s.expected.outputs]
        pairs = [_pair(name, s) for s in having]
        found = _mistake_in(exercise, name, having)
        if found is None and None not in pairs:
            found = explain([p for p in pairs if p is not None])
        if found is None:
            return None
        explained.setdefault(found[0], []).append(name)
        sentences.setdefault(found[0], found[1])
    text = " ".join(
        sentences[key] + (f" The same holds for {', '.join(f'`{n}`' for n in names[1:])}." if names[1:] else "")
        for key, names in explained.items()
    )
    return ("+".join(explained), text) if explained else None


def _mistake_in(exercise: Definition, name: str, seen: list[_Seen]) -> tuple[str, str] | None:
    """A named mistake that makes this one of several results what it is on every trial."""
    if len(seen[0].trial.outputs) == 1:
        return None
    for mistake in exercise.mistakes.values():
        tried = [(observe(mistake.function, s.trial, 1.0), s.actual) for s in seen]
        if all(_same(t.outputs.get(name), actual.outputs[name], t) for t, actual in tried):
            return mistake.key, f"`{name}`: {mistake.sentence}"
    return None


def _pair(name: str, s: _Seen) -> Pair | None:
    expected, actual = s.expected.outputs[name], s.actual.outputs[name]
    if isinstance(expected, Tensor) and type(actual) is Tensor:
        # A wrong dtype or device is told as such, not as a transformation.
        same_kind = actual.dtype == expected.dtype and actual.device == expected.device
        return Pair(name, expected, actual, s.trial.arguments) if same_kind else None
    if isinstance(expected, float) and _same_kind(expected, actual):
        as_tensor = [torch.tensor(float(v), dtype=s.expected.dtype) for v in (expected, actual)]
        return Pair(name, as_tensor[0], as_tensor[1], s.trial.arguments)
    return None


def _edge_only(exercise: Definition, seen: list[_Seen]) -> tuple[str, str] | None:
    """Right on every ordinary case, wrong on one kind of edge case."""
    labels = {s.trial.label for s in seen if not s.right}
    if "" in labels or len(labels) != 1 or not any(s.right for s in seen if not s.trial.label):
        return None
    label = labels.pop()
    wrong = [s for s in seen if not s.right]
    found = _everywhere(exercise, wrong)
    text = found[1] if found else _slip_text(exercise, wrong[0]) or _overflow(wrong[0], seen) or _compare(wrong[0])
    return f"edge:{label}", f"right on ordinary cases, but not when {label}: {text}"


# -- structural slips and plain differences ----------------------------------------------------------------------


def _slip(exercise: Definition, seen: list[_Seen]) -> Outcome | None:
    """Wrong in form: None, a wrong number of results, wrong type, shape, dtype, device; NaN; changed arguments."""
    for s in sorted(seen, key=lambda s: bool(s.trial.label)):  # ordinary cases first: they are easier to imagine
        if s.right:
            continue
        text = _slip_text(exercise, s) or _overflow(s, seen)
        if text:
            return Outcome("wrong", text + (f" (This is the case where {s.trial.label}.)" if s.trial.label else ""))
    return None


def _overflow(s: _Seen, seen: list[_Seen]) -> str:
    """NaN or inf in an output that is finite in every case."""
    for name, expected in s.expected.outputs.items():
        actual = s.actual.outputs.get(name)
        if isinstance(expected, Tensor) and isinstance(actual, Tensor) and not actual.isfinite().all():
            others = (other.expected.outputs.get(name) for other in seen)
            if all(value.isfinite().all() for value in others if isinstance(value, Tensor)):
                return not_finite(name, actual)
    return ""


def _slip_text(exercise: Definition, s: _Seen) -> str:
    expected, actual = s.expected, s.actual
    if expected.event == "raised" and expected.failure is not None:
        return f"should raise {expected.failure.kind} here ({expected.failure.message}); yours returned a result."
    if actual.structure == "None" and expected.structure != "None":
        if actual.printed:
            return "printed its result, but returned None. Replace `print(...)` by `return ...`."
        return "returned None. Did you forget `return`?"
    if actual.structure == "generator":
        return "returned a generator: use `return` instead of `yield`."
    if actual.outputs.keys() != expected.outputs.keys():
        return f"should return {_ask(s.trial.outputs, expected)}; yours returned {actual.structure}."
    values_right = all(_fine(name, s) for name in s.trial.outputs)
    for name, value in expected.outputs.items():
        if name.startswith(GRADIENT) and not values_right:
            continue  # first the values, then what follows from them
        text = _leaf_slip(name, value, actual.outputs.get(name), s.trial)
        if text:
            return text
    if actual.changed:
        names = ", ".join(f"`{name}`" for name in actual.changed)
        cure = "Work on a new tensor (`x = x + 1`, not `x += 1`; no `…_()`)."
        if isinstance(s.trial.arguments[actual.changed[0]], list):
            cure = "Work on a copy (`list(...)`), or read it without `pop`, `append` or `del`."
        return f"changes its argument {names} in place. {cure}"
    if exercise.fresh and actual.shared:
        name, argument = next(iter(actual.shared.items()))
        return f"`{name}` shares its memory with the argument `{argument}`; a fresh tensor is asked for (`.clone()`)."
    return ""


def _ask(names: tuple[str, ...], expected: Observation) -> str:
    if len(names) == 1:
        return f"`{names[0]}`, a {expected.structure}"
    return f"{len(names)} results, ({', '.join(names)}), of type {expected.structure}"


def _leaf_slip(name: str, expected: Any, actual: Any, trial: Trial) -> str:
    if isinstance(expected, Tensor):
        if not isinstance(actual, Tensor):
            return f"`{name}` should be a tensor of shape {tuple(expected.shape)}; yours is {_a(actual)}."
        if type(actual) is not Tensor:
            return f"`{name}` should be a plain tensor; yours is {_a(actual)}."
        if actual.shape != expected.shape:
            return f"`{name}` should have shape {tuple(expected.shape)}; yours has {tuple(actual.shape)}."
        if actual.dtype != expected.dtype:
            given = any(isinstance(a, Tensor) and a.dtype == expected.dtype for a in trial.arguments.values())
            like = ", like the arguments" if given else ""
            return f"`{name}` should have dtype {expected.dtype}{like}; yours has {actual.dtype}."
        if actual.device != expected.device:
            return f"`{name}` should be on {expected.device}, where the arguments are; yours is on {actual.device}."
    elif not _same_kind(expected, actual):
        return f"`{name}` should be {_a(expected)}; yours is {_a(actual)}."
    return ""


def _a(value: Any) -> str:
    """The type of a value in words, with its article."""
    kind = type(value).__name__ if isinstance(value, (list, tuple)) else describe(value)
    if type(value).__module__ == "numpy":
        kind = f"numpy {kind}"
    return kind if value is None else f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _difference(exercise: Definition, seen: list[_Seen]) -> Outcome:
    wrong = [s for s in seen if not s.right]
    share = f"{len(wrong)} of {len(seen)} random cases"
    fine = [name for name in seen[0].trial.outputs if all(_fine(name, s) for s in seen)]
    rest = f" Right already: {', '.join(f'`{n}`' for n in fine)}." if fine and not exercise.claims else ""
    return Outcome("wrong", f"{_compare(wrong[0])} Different on {share}.{rest}")


def _fine(result: str, s: _Seen) -> bool:
    """Whether one of the results, a tensor or a list of them, is what it should be."""
    return all(
        _same(value, s.actual.outputs.get(leaf), s.expected)
        for leaf, value in s.expected.outputs.items()
        if leaf == result or leaf.startswith(f"{result}[")
    )


def _compare(s: _Seen) -> str:
    """The worst entry of the first output that differs."""
    if s.expected.event == "raised" and s.expected.failure is not None:
        return f"{s.expected.failure.kind} should be raised ({s.expected.failure.message})."
    for name, expected in s.expected.outputs.items():
        actual = s.actual.outputs.get(name)
        if _same(expected, actual, s.expected):
            continue
        if not isinstance(expected, Tensor) or not isinstance(actual, Tensor) or actual.shape != expected.shape:
            got = f"has shape {tuple(actual.shape)}" if isinstance(actual, Tensor) else f"is {_number(actual)}"
            want = f"shape {tuple(expected.shape)}" if isinstance(expected, Tensor) else _number(expected)
            return f"`{name}` {got}; {want} was expected{_asked(s.trial)}."
        infinite = _infinite(name, expected, actual)
        if infinite:
            return infinite
        gap = (actual.double() - expected.double()).abs()
        gap = gap.nan_to_num(float("inf")).masked_fill(actual == expected, 0.0)  # inf - inf is no difference
        place = [int(i) for i in np.unravel_index(int(gap.argmax()), gap.shape)]
        at = f" at {place}" if place else ""
        kind = f"shape {tuple(expected.shape)}, {expected.dtype}"
        yours, asked = _apart(actual[tuple(place)].item(), expected[tuple(place)].item())
        return (
            f"`{name}` differs from the expected value (largest difference {gap.max().item():.3g}{at}: "
            f"yours {yours}, expected {asked}; {kind})."
        )
    return "the result is right, but not the way it is made."


def _infinite(name: str, expected: Tensor, actual: Tensor) -> str:
    """What to say when infinities are part of the right result and stand in other places."""
    should, does = expected.isinf(), actual.isinf()
    missing, surplus = int((should & ~does).sum()), int((does & ~should).sum())
    if not should.any() or not missing + surplus:
        return ""
    value = f"{expected[should][0].item():g}".replace("-", "−")
    found = [f"{missing} that should be {value} are not"] * bool(missing)
    found += [f"{surplus} that should be finite are infinite"] * bool(surplus)
    first = [int(i) for i in (should != does).nonzero()[0]]
    return (
        f"`{name}` has other entries at {value}: of {expected.numel()}, {' and '.join(found)} (the first at {first})."
    )


def _apart(yours: Any, expected: Any) -> tuple[str, str]:
    """Two different values with as many digits as it takes to see the difference."""
    digits = next((d for d in (4, 6, 9) if f"{yours:.{d}g}" != f"{expected:.{d}g}"), 17)
    return _number(yours, digits), _number(expected, digits)


def _number(value: Any, digits: int = 4) -> str:
    return f"{value + 0.0:.{digits}g}" if isinstance(value, float) else repr(value)  # adding 0 turns -0 into 0


def _asked(trial: Trial) -> str:
    """The arguments, where they are few plain values: then the student can redo the sum by hand."""
    if any(isinstance(value, (Tensor, Fixture)) for value in trial.arguments.values()):
        return ""
    return " for " + ", ".join(f"{name}={value}" for name, value in trial.arguments.items())
