"""A lesson that is fit to be committed, and the repository around it."""

from pathlib import Path
from typing import Any

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_utils.notebooks import colab, hygiene, ipynb, normalise

PROJECT = """[project]
name = "generative-networks-course"
requires-python = ">=3.11"

[project.urls]
# the one place
repository = "https://github.com/OWNER/NAME"

[tool.other]
ref = "untouched"
"""
CARD = "### Exercise 1.1 · A step\n\n*10 minutes · 2 points*\n\nDo it."
STUB = '@exercise\ndef step(x):\n    """Double."""\n    raise NotImplementedError'


def lesson(root: Path, filename: str = "01_one.ipynb") -> Any:
    """A lesson as somebody has written and run it, free of litter."""
    opening = f"# The first lesson\n\nWhy? {colab.badge(filename, root)}"
    cells = [new_markdown_cell(opening)]
    for source, tags in colab.first_cells(root):
        cells.append(new_code_cell(source, metadata={"tags": tags}))
    start = f"from course_utils import runtime\n\n{hygiene.SESSION_CALL}"
    cells.append(new_code_cell(start, metadata={"tags": ["nbval-ignore-output"]}))
    picture = new_output("display_data", {"image/png": "iVBO", "text/plain": "[figure]"})
    picture["metadata"] = {"image/png": {"alt": "A line that rises."}}
    cells += [new_code_cell("plot()", outputs=[picture]), new_markdown_cell(CARD), new_code_cell(STUB)]
    for number, cell in enumerate((cell for cell in cells if cell.cell_type == "code"), 1):
        cell.execution_count = number
    return new_notebook(cells=cells)


def fresh(notebook: Any) -> Any:
    """The notebook as `course refresh` would write it."""
    clean = normalise.normalise(notebook)
    clean.metadata["course"] = {"source_hash": normalise.source_hash(clean)}
    return clean


def problems(root: Path, change: Any = None) -> str:
    """All hygiene problems of the lesson after `change(notebook)`, with a fresh hash."""
    path = root / "notebooks" / "01_one.ipynb"
    notebook = ipynb.read(path)
    if change:
        change(notebook)
        notebook.metadata.setdefault("course", {})["source_hash"] = normalise.source_hash(notebook)
        ipynb.write(notebook, path)
    return "\n".join(hygiene.hygiene_problems(path, root))
