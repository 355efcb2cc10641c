"""What was measured before and is kept in `results/`: so a lesson quotes a long run without having done it.

print(recorded.text("08", "gated PixelCNN, test (static binarisation)", "night-cpu"))
"""

from __future__ import annotations

import json
from typing import Any

from course_utils.conventions import checkout
from course_utils.display import number

MISSING = "not run yet"


def row(lesson: str, name: str, where: str) -> dict[str, Any] | None:
    """The recorded result of that name; None where it is not recorded, or this is an installed package without results.

    `lesson` is "08", `where` a profile and a device, such as "night-cpu". The row has value, unit, goal, met, and more.
    """
    root = checkout()
    path = root / "results" / f"{where}.json" if root else None
    if path is None or not path.exists():
        return None
    entries = json.loads(path.read_text(encoding="utf-8"))["results"]
    return next((entry for entry in entries if (entry["lesson"], entry["name"]) == (lesson, name)), None)


def value(lesson: str, name: str, where: str) -> float | None:
    """The recorded value, or None."""
    found = row(lesson, name, where)
    return found["value"] if found else None


def text(lesson: str, name: str, where: str) -> str:
    """The recorded value in words, with its unit and what it cost; or that it has not been run."""
    return in_words(row(lesson, name, where))


def in_words(found: dict[str, Any] | None) -> str:
    """A row as people read it."""
    if found is None:
        return MISSING
    cost = f" after {number(found['core_hours'])} core-hours" if "core_hours" in found else ""
    return f"{number(found['value'])} {found['unit']}".strip() + cost
