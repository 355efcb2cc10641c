"""Start a lesson: pick the device and the profile, choose sizes, report results.

`session = runtime.start(PROFILE, seed=0)` is the first thing that every lesson calls.
"""

from __future__ import annotations

import contextlib
import html
import math
import operator
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

from course_utils import display
from course_utils.conventions import REPORT_TYPE, SESSION_TYPE, resolve_profile
from course_utils.display import show as show
from course_utils.errors import CourseError

COMPARISONS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}

Choice = TypeVar("Choice")


class DeviceError(CourseError, RuntimeError):
    """COURSE_DEVICE names a device that this machine does not have."""


_sources: dict[str, dict[str, Any]] = {}  # by name: what `data` has handed out in this process
_device = torch.device("cpu")  # of the session that was started last
_profile = "cpu"  # … and its profile


def note_source(name: str, source: str, real: bool) -> None:
    """Enter a data set that is in use; `real` is False for a stand-in only. Reports of results list all of them."""
    _sources[name] = {"name": name, "source": source, "real": real}


def sources_in_use() -> list[dict[str, Any]]:
    """The data sets used in this process, each as `{"name", "source", "real"}`."""
    return [dict(source) for source in _sources.values()]


def session_device() -> torch.device:
    """The device of the session that was started last; the CPU before the first."""
    return _device


def session_profile() -> str:
    """The profile of the session that was started last; "cpu" before the first."""
    return _profile


@dataclass
class Session:
    """Where and how a lesson runs. Made by `start`.

    `generator` is a CPU generator seeded with `seed`: pass it to whatever draws random numbers. `precision` is
    "bf16" where the hardware multiplies bf16 matrices faster than float32 ones, else "fp32".
    """

    profile: str
    device: torch.device
    seed: int
    precision: str
    generator: torch.Generator
    reports: list[dict[str, Any]] = field(default_factory=list)

    def choose(self, *, smoke: Choice, cpu: Choice, gpu: Choice, night: Choice | None = None) -> Choice:
        """The value for the current profile: the only place where the sizes of a lesson differ.

        Only what a headline needs has a size for the night; where there is none, it is that of profile cpu.
        """
        return {"smoke": smoke, "cpu": cpu, "gpu": gpu, "night": cpu if night is None else night}[self.profile]

    def autocast(self) -> contextlib.AbstractContextManager:
        """Mixed precision for the forward pass where it pays, else a context that does nothing."""
        if self.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout of images in which convolutions run faster here: for a model and for its input alike.

        `model.to(session.device, memory_format=session.memory_format)`, `x.contiguous(memory_format=...)`. It is
        channels_last on a CPU with oneDNN, where small convolutional nets mostly run 1.1 to 2.0 times as fast in it, in
        either precision (`benchmarks/memory_format.py`), and on a GPU that computes in bf16, whose tensor cores want the
        channels side by side (not measured); elsewhere contiguous.
        """
        on_cpu = self.device.type == "cpu" and torch.backends.mkldnn.is_available()
        on_gpu = self.device.type == "cuda" and self.precision == "bf16"
        return torch.channels_last if on_cpu or on_gpu else torch.contiguous_format

    def place(self, network: torch.nn.Module) -> torch.nn.Module:
        """The network on this session's device and in its layout, in a module that runs it in the session's precision.

        What goes in may be float32 and of any layout, what comes out is float32; the parameters are the network's own.
        """
        return Placed(network.to(self.device, memory_format=self.memory_format), self)  # type: ignore[call-overload]

    def report(
        self,
        name: str,
        value: float | torch.Tensor,
        unit: str = "",
        goal: str | None = None,
        core_seconds: float | None = None,
    ) -> None:
        """Show a headline result and store it in the output as data for `course run`.

        `goal` is "<= number", ">= number" or None. It is judged on real data only, never in profile smoke, and a
        missed goal is shown, not raised. `core_seconds` is what the training behind the value took of the processor, as
        its history has it. Raises ValueError for a goal that cannot be read.
        """
        value, test = float(value.detach() if isinstance(value, torch.Tensor) else value), _goal(goal)
        sources = sources_in_use()
        why = "profile smoke" if self.profile == "smoke" else ""
        why = why or next((s["source"] for s in sources if not s["real"]), "")
        met = test(value) if test and not why else None
        result = {"name": name, "value": value if math.isfinite(value) else None, "unit": unit, "goal": goal}
        result |= {"met": met, "judged": met is not None, "why": why if goal else "", "seed": self.seed}
        result |= {"profile": self.profile, "device": self.device.type, "data": sources}
        result |= {} if core_seconds is None else {"core_seconds": core_seconds}
        self.reports.append(result)
        text, page = _report_text(name, value, unit, goal, met, why)
        display.show({"text/plain": text, "text/html": page, REPORT_TYPE: result})


class Placed(torch.nn.Module):
    """A network, `network`, run in a session's precision; made by `Session.place`."""

    def __init__(self, network: torch.nn.Module, session: Session) -> None:
        super().__init__()
        self.network, self._session = network, session

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """What the network makes of the inputs, in float32."""
        with self._session.autocast():
            return self.network(*inputs).float()


def start(profile: str = "auto", seed: int = 0) -> Session:
    """Choose profile and device, and say in one line what the lesson runs on.

    `profile`: "smoke", "cpu", "night", "gpu", or "auto": the value of COURSE_PROFILE if that is set, else "cpu" sizes on the
    best device there is. COURSE_DEVICE (cpu, cuda, mps) overrides the device. Raises ValueError for an unknown
    profile and DeviceError for a device that is not there. The line also says when the sizes fit neither the text's
    numbers nor the machine.
    """
    global _device, _profile
    chosen = _profile = resolve_profile(profile)
    device = _device = pick_device()
    precision = "bf16" if multiplies_bf16_fast(device) else "fp32"
    session = Session(chosen, device, seed, precision, torch.Generator().manual_seed(seed))
    data = {"profile": chosen, "device": device.type, "threads": torch.get_num_threads(), "precision": precision}
    data |= {"torch": torch.__version__, "seed": seed}
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    line = f"Profile {chosen} on {device.type} ({where}), matrix products in {precision}; "
    line += f"torch {torch.__version__.split('+')[0]}, {_caution(chosen, device)}seed {seed}."
    display.show({"text/plain": line, SESSION_TYPE: data})
    return session


def _caution(profile: str, device: torch.device) -> str:
    if profile == "smoke":
        return "sizes for a trial (the numbers in the text are those of profile cpu), "
    if profile == "night":
        return "sizes for a night where a headline needs them, "
    return "sizes for a GPU (there is none here), " if profile == "gpu" and device.type == "cpu" else ""


def multiplies_bf16_fast(device: torch.device) -> bool:
    """Whether the hardware has matrix instructions for bf16: AMX or AVX512-BF16 on a CPU, tensor cores on a GPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu" and sys.platform == "linux":
        with contextlib.suppress(OSError):
            flags = Path("/proc/cpuinfo").read_text(errors="replace")
            return "avx512_bf16" in flags or "amx_bf16" in flags
    return False


@contextlib.contextmanager
def expect_error(kind: type[Exception]) -> Iterator[None]:
    """Show that the code inside fails, and go on: for lessons that break something on purpose.

    Raises AssertionError when no error of that kind comes.
    """
    try:
        yield
    except kind as error:
        display.show({"text/plain": f"As expected, {type(error).__name__}: {error}"})
    else:
        raise AssertionError(f"this code was expected to raise {kind.__name__}, and did not")


def pick_device() -> torch.device:
    """The device named by COURSE_DEVICE, else the best one there is. Raises DeviceError if the named one is not."""
    wanted = os.environ.get("COURSE_DEVICE", "").strip().lower()
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not wanted:
        return torch.device("cuda" if there["cuda"] else "mps" if there["mps"] else "cpu")
    if not there.get(wanted):
        found = ", ".join(name for name, present in there.items() if present)
        raise DeviceError(
            f"COURSE_DEVICE is {wanted!r}, which is not on this machine; there is: {found}. Set it to one of these, or "
            "unset it, and start again."
        )
    return torch.device(wanted)


def _goal(goal: str | None) -> Callable[[float], bool] | None:
    if goal is None:
        return None
    sign, _, number = goal.partition(" ")
    try:
        bound = float(number)
        compare = COMPARISONS[sign]
        if not math.isfinite(bound):
            raise ValueError
    except (KeyError, ValueError):
        raise ValueError(f"a goal reads '<= 0.5' or '>= 97', not {goal!r}") from None
    return lambda value: compare(value, bound)


def _report_text(name: str, value: float, unit: str, goal: str | None, met: bool | None, why: str) -> tuple[str, str]:
    shown = f"{display.number(value)} {unit}".strip()
    verdict, colour = "", ""
    if goal and met is None:
        verdict = f"goal {goal}, not judged ({why})"
    elif goal:
        verdict, colour = (f"goal {goal} reached", display.RIGHT) if met else (f"goal {goal} missed", display.WRONG)
    mark = {True: "✔ ", False: "✘ ", None: ""}[met]
    text = f"{mark}{name}: {shown}" + (f"   ({verdict})" if verdict else "")
    style = display.ink(colour) if colour else ""
    page = (
        f'<div style="margin:4px 0;padding:6px 10px;border-left:4px solid {colour or display.OPEN}">{html.escape(name)}: '
        f'<b>{html.escape(shown)}</b> <span style="{style}">{mark}{html.escape(verdict)}</span></div>'
    )
    return text, page
