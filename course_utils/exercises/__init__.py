"""Exercises that answer at once, and say why.

In a notebook: `from course_utils.exercises import exercise, hint, solution`.
For programs: `check(name, candidate, seed=0) -> Outcome` and `names(lesson=None)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from course_utils.exercises.notebook import exercise, hint, solution

if TYPE_CHECKING:
    from course_utils.exercises.define import names
    from course_utils.exercises.judge import Outcome, check

__all__ = ["Outcome", "check", "exercise", "hint", "names", "solution"]


def __getattr__(name: str) -> Any:
    """The trusted part is imported on first use: it is absent from a grading box, and not needed to import."""
    if name == "names":
        from course_utils.exercises import define

        return define.names
    if name in ("Outcome", "check"):
        from course_utils.exercises import judge

        return getattr(judge, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
