"""A lesson's notebook as a page: hints under the exercises, setting up folded away, nothing from another host."""

from __future__ import annotations

from typing import Any

from nbformat import v4

from course_utils.exercises.catalogue import definition
from course_utils.notebooks.find import Lesson
from course_utils.notebooks.ipynb import exercise_name, read, tags
from course_utils.site.links import Links

SETTING_UP = ("colab", "parameters")
PICTURE = "image/png"
SHOWN = (PICTURE, "text/html", "text/markdown", "text/plain")  # a widget shows nothing without a kernel


def notebook_page(lesson: Lesson, links: Links, page: str) -> Any:
    """The notebook of `lesson` as Sphinx shall read it: outputs as they are stored, and no reference solution."""
    notebook = read(lesson.path)
    cells = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = links.rewrite(cell.source, f"notebooks/{lesson.path.name}", page)
        elif set(SETTING_UP) & set(tags(cell)):
            cell.metadata["tags"] = [*tags(cell), "hide-cell"]
        for output in cell.get("outputs", []):
            if "data" in output:
                output["data"] = {kind: value for kind, value in output["data"].items() if kind in SHOWN}
        alt = " ".join(alt_texts(cell))
        if alt:
            cell.metadata["mystnb"] = {"image": {"alt": alt}}  # MyST-NB knows one alt text a cell
        cells.append(cell)
        name = exercise_name(cell)
        if name:
            cell.metadata["tags"] = [*tags(cell), "exercise"]
            cells.append(v4.new_markdown_cell(first_hint(name), id=f"hint-{cell['id']}"))
    notebook.cells = cells
    return notebook


def first_hint(name: str) -> str:
    """The first hint of an exercise, folded."""
    hint = definition(name).staged_hints[0]
    return f":::{{dropdown}} A first hint\n{hint}\n:::"


def alt_texts(cell: Any) -> list[str]:
    """What is said of the pictures that a cell shows."""
    kept = [output for output in cell.get("outputs", []) if PICTURE in output.get("data", {})]
    return [output.metadata.get(PICTURE, {}).get("alt", "") for output in kept]


def cover(notebook: Any) -> tuple[str, str] | None:
    """The picture that stands for a lesson, as base64 PNG, with its alt text: that of the cell with the tag `cover`, else
    the first; None for a lesson without a picture."""
    shown = sorted(notebook.cells, key=lambda cell: "cover" not in tags(cell))
    for cell in shown:
        for output in cell.get("outputs", []):
            if PICTURE in output.get("data", {}):
                return output["data"][PICTURE], alt_texts(cell)[0]
    return None
