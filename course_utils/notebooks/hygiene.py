"""Whether a lesson is fit to be committed: normalised, of bounded size, with its first cells, alt text and exercise cards."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from course_utils.conventions import lesson_number
from course_utils.notebooks.colab import badge, first_cells
from course_utils.notebooks.ipynb import code_cells, exercise_name, read, tags
from course_utils.notebooks.normalise import is_normalised

MAXIMUM_BYTES = 1_000_000
CARD = re.compile(r"^### Exercise (\d+[a-z]?)\.\d+ · \S.*$", re.MULTILINE)
CARD_EFFORT = re.compile(r"\*\d+([–-]\d+)? minutes · \d+ points?\*")
SESSION_CALL = "session = runtime.start(PROFILE, seed=0)"


def hygiene_problems(path: Path, root: Path) -> list[str]:
    """Everything that keeps the lesson in `path` from being committed, as sentences; empty when it may be."""
    notebook = read(path)
    problems = is_normalised(notebook)
    size = path.stat().st_size
    if size > MAXIMUM_BYTES:
        problems.append(f"it has {size / 1e6:.2f} MB; a notebook stays under {MAXIMUM_BYTES / 1e6:.0f} MB")
    problems += first_cell_problems(notebook, path.name, root) + figure_problems(notebook)
    return problems + card_problems(notebook, path.name.partition("_")[0])


def figure_problems(notebook: Any) -> list[str]:
    """Figures that nobody describes to someone who cannot see them."""
    problems = []
    for number, cell in enumerate(code_cells(notebook), 1):
        for output in cell.outputs:
            pictures = [kind for kind in output.get("data", {}) if kind.startswith("image/")]
            if pictures and not any(_alt_text(output, kind) for kind in pictures):
                problems.append(f"code cell {number} shows a figure without alt text")
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "markdown" and re.search(r"!\[\s*\]\(", cell.source):
            problems.append(f"cell {number} shows a picture without alt text: write ![what it shows](…)")
    return problems


def _alt_text(output: Any, kind: str) -> str:
    metadata = output.get("metadata", {})
    own = metadata.get(kind, {})
    return str((own.get("alt") if isinstance(own, dict) else "") or metadata.get("alt", "")).strip()


def card_problems(notebook: Any, lesson: str) -> list[str]:
    """Exercises whose cell has no card (`### Exercise 2.2 · Title`, *10 minutes · 2 points*) right above it.

    In a detour, whose `lesson` is "02a", say, the card's number begins with that of the detour: `Exercise 2a.1`.
    """
    problems = []
    for before, cell in zip([None, *notebook.cells], notebook.cells, strict=False):
        name = exercise_name(cell)
        if name is None:
            continue
        card = before.source if before is not None and before.cell_type == "markdown" else ""
        title = CARD.search(card)
        if title is None:
            problems.append(f"exercise {name} has no card above it (### Exercise N.M · Title)")
        elif lesson_number(title[1]) != lesson:
            problems.append(f"the card of exercise {name} has a number of lesson {title[1]}; this is lesson {lesson}")
        elif not CARD_EFFORT.search(card):
            problems.append(f"the card of exercise {name} does not say *N minutes · N points*")
    return problems


def first_cell_problems(notebook: Any, filename: str, root: Path) -> list[str]:
    """How the notebook's first cells differ from those that all lessons share."""
    cells, problems = notebook.cells, []
    opening = cells[0].source if cells and cells[0].cell_type == "markdown" else ""
    if not opening.startswith("# "):
        problems.append("it does not start with a markdown cell that opens with `# Title`")
    if badge(filename, root) not in opening:
        problems.append("its opening has no Colab badge for this file: `course colab` rewrites badges")
    for place, (source, wanted) in enumerate(first_cells(root), 1):
        cell = cells[place] if place < len(cells) else None
        if cell is None or cell.cell_type != "code" or cell.source != source or not set(wanted) <= set(tags(cell)):
            problems.append(f"cell {place + 1} is not the course's `{wanted[0]}` cell (notebooks/colab.py)")
    start = cells[3] if len(cells) > 3 else None
    if start is None or SESSION_CALL not in start.source or "nbval-ignore-output" not in tags(start):
        problems.append(f"cell 4 does not start the session: `{SESSION_CALL}`, tagged nbval-ignore-output")
    return problems
