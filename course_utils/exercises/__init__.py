"""Exercises that answer at once, and say why.

In a notebook: `from course_utils.exercises import exercise, hint, solution`.
For programs: `check(name, candidate, seed=0) -> Outcome` and `names(lesson=None)`.
"""

from course_utils.exercises.catalogue import names
from course_utils.exercises.judge import Outcome, check
from course_utils.exercises.notebook import exercise, hint, solution

__all__ = ["Outcome", "check", "exercise", "hint", "names", "solution"]
