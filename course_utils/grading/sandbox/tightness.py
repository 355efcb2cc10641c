"""Is a box of this machine tight? Tries the escapes from inside one, in half a second and without doing harm. And is it
of use: does the grader's own program answer in one?

`course doctor` shows what `examine` and `try_runner` find, and grading begins with `require`.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import course_utils
from course_utils.boxed.frames import WireError
from course_utils.grading.sandbox.box import ENVIRONMENT, Box, Limits
from course_utils.grading.sandbox.forked import ForkedBox
from course_utils.grading.sandbox.mounts import NoBox

SECONDS = 20.0  # for all escapes together
RUNNER_SECONDS = 120.0  # until the grader's own program has answered, which takes some two seconds
LIMITS = Limits(wall_seconds=SECONDS, cpu_seconds=SECONDS)
OWN_PROCESSES = 50  # a new box has fewer; among its own, a number says nothing
CLAIMS = {
    "network": "no network",
    "files": "neither the machine's secrets nor the references can be read",
    "environment": "no variables, open files or processes of the grader",
    "writing": "nothing can be written but a bounded /tmp",
    "privileges": "no further privileges, namespaces or uncounted memory",
    "limits": "memory and processes are bounded",
}


@dataclass(frozen=True)
class Property:
    """A property of a box, one of `CLAIMS`: whether it holds; `text` is the claim, or what could be done against it."""

    name: str
    holds: bool
    text: str


def examine(kind: type[Box] | None = None, limits: Limits = LIMITS) -> list[Property]:
    """Try to get out of a box of this kind (a fresh one), which is made and ended. Raises NoBox where there is none."""
    box = (kind or Box)(limits, escapes())
    with socket.create_server(("127.0.0.1", 0)) as server, box:
        given = json.dumps(_targets(box, server.getsockname()[1])) + "\n"
        os.write(box.channel.writer, given.encode())
        why = box.wait(SECONDS)
        root = box.uid == 0
    try:
        leaks = json.loads(box.output)
    except ValueError:
        said = box.output.decode(errors="replace")[-500:]
        raise NoBox(f"the box did not finish its test ({why or 'time'}): {said}. Run `course doctor`") from None
    leaks["privileges"] += ["it belongs to root outside"] if root else []
    return [Property(name, not leaks[name], "; ".join(leaks[name]) or claim) for name, claim in CLAIMS.items()]


def try_runner(kind: type[Box] | None = None) -> None:
    """Have a notebook of one function read in a box of this kind (a fresh one). Raises NoBox, with what the box says, unless
    that function is found: packages that a box does not see, say, no escape would notice."""
    with (kind or Box)() as box:
        opening = {"cells": ["def here(x):\n    return x"], "names": ["here"], "forbidden": {}}
        try:
            box.channel.send(opening, deadline=time.monotonic() + SECONDS)
            found = box.channel.receive(time.monotonic() + RUNNER_SECONDS)[0].get("found")
        except WireError:
            found = None
        why = box.why() or "no answer"
        *_, said = box.output.decode(errors="replace").strip().splitlines() or ["it says nothing"]
    if not isinstance(found, dict) or "here" not in found:
        raise NoBox(f"the grader's own program does not run in a box ({why}): {said[-500:]}")


def escapes() -> str:
    """The program that tries to get out."""
    return (Path(__file__).parent / "escapes.py").read_text()


def require() -> None:
    """Raise NoBox, with what to do about it, unless a box can be made here, holds, and runs the grader's own program.
    There is no grading without."""
    leaks = _leaks()
    if leaks:
        raise NoBox(
            f"a box on this machine is not tight: {leaks}. Nothing is graded here; update bubblewrap and the kernel, or "
            "grade on another machine"
        )
    try_runner()


@functools.cache
def why_not_forked() -> str:
    """Why no forked box may be used here, where fresh ones have to do; "" where it holds as a fresh one does."""
    try:
        leaks = _leaks(ForkedBox)
        if not leaks:
            try_runner(ForkedBox)
    except NoBox as error:
        return str(error)
    return f"a forked box is not tight: {leaks}" if leaks else ""


def _leaks(kind: type[Box] | None = None) -> str:
    return "; ".join(tried.text for tried in examine(kind) if not tried.holds)


def _targets(box: Box, port: int) -> dict[str, object]:
    """What the escapes are aimed at: places and processes outside that exist and are to be out of reach."""
    package = Path(course_utils.__file__).parent
    reference, notebooks = str(package / "exercises" / "judge.py"), str(package.parent / "notebooks")
    return {
        "port": port,
        "secret": ["/etc/shadow", "/etc/passwd", "/var/log", str(Path.home() / ".ssh"), reference, notebooks],
        "processes": [process for process in (os.getpid(), os.getppid()) if process > OWN_PROCESSES],
        "variables": [*ENVIRONMENT, "PWD"],
        "tmp_bytes": box.limits.tmp_bytes,
        "memory_bytes": box.limits.memory_bytes,
        "tasks": box.limits.tasks,
    }
