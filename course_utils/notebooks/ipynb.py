"""Notebooks as files: read and write them, and what their cells are."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

from course_utils.errors import CourseError
from course_utils.files import write_text

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {"name": "python", "file_extension": ".py", "mimetype": "text/x-python", "pygments_lexer": "ipython3"}


def _nbformat() -> Any:
    """nbformat, without the parser of addresses that jsonschema would load with it: 0.9 CPU seconds, for nothing that a
    notebook has. jsonschema does without it where it is not installed; so it is hidden."""
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    import nbformat

    return nbformat


def read(path: Path) -> Any:
    """The notebook in `path`, as version 4. Raises CourseError for a file that is not one."""
    nbformat = _nbformat()
    try:
        text = path.read_text(encoding="utf-8")
        if not text.strip():
            raise CourseError(f"{path.name} is empty, not a notebook")
        notebook = nbformat.from_dict(json.loads(text))
        if notebook.get("nbformat", 0) < 4:
            raise CourseError(f"{path.name} is not a notebook of format 4: open it in JupyterLab and save it")
        complete_ids(notebook)
        nbformat.validate(notebook)
    except (OSError, ValueError) as error:
        raise CourseError(f"{path.name} is not a notebook: it cannot be read as JSON ({error})") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise CourseError(f"{path.name} is not a notebook: its JSON has another structure ({error!r})") from error
    except nbformat.ValidationError as error:
        raise CourseError(f"{path.name} is not a valid notebook: {str(error).splitlines()[0]}") from error
    return notebook


def to_text(notebook: Any) -> str:
    """The notebook as it is written to disk: one-space indent, unescaped characters, a newline at the end."""
    nbformat = _nbformat()
    return nbformat.writes(notebook, version=nbformat.NO_CONVERT).rstrip("\n") + "\n"


def write(notebook: Any, path: Path) -> None:
    """Write the notebook so that an interruption leaves either the old file or the new one."""
    write_text(to_text(notebook), path)


def tags(cell: Any) -> list[str]:
    """The cell's tags."""
    return list(cell.metadata.get("tags", []))


def code_cells(notebook: Any) -> list[Any]:
    """The code cells that have something to run, in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def complete_ids(notebook: Any) -> None:
    """Give cells without an id, or with one that another has, an id that follows from their content and place."""
    notebook["nbformat_minor"] = max(5, notebook.get("nbformat_minor", 0))
    seen: set[str] = set()
    for place, cell in enumerate(notebook.get("cells", [])):
        if not re.fullmatch(r"[a-zA-Z0-9-_]{1,64}", str(cell.get("id", ""))) or cell["id"] in seen:
            cell["id"] = hashlib.sha256(f"{place} {''.join(cell.get('source', ''))}".encode()).hexdigest()[:8]
        seen.add(cell["id"])
        if isinstance(cell.get("source"), list):
            cell["source"] = "".join(cell["source"])
        for output in cell.get("outputs", []):
            join_lines(output)


def join_lines(output: Any) -> None:
    """Turn the lists of lines in which files store text into one string each, in place."""
    if isinstance(output.get("text"), list):
        output["text"] = "".join(output["text"])
    for kind, value in output.get("data", {}).items():
        if isinstance(value, list) and all(isinstance(line, str) for line in value):
            output["data"][kind] = "".join(value)


def renumber(notebook: Any) -> None:
    """Count the cells that ran 1 … n, in the order in which they stand."""
    number = 0
    for cell in notebook.cells:
        if cell.cell_type != "code" or cell.execution_count is None:
            continue
        number += 1
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = number


def first_line(cell: Any) -> str:
    """The first line of the cell that says something, shortened, to name it in a message."""
    lines = [line.strip() for line in cell.source.splitlines() if line.strip()]
    line = next((line for line in lines if not line.startswith(("#", "@", "import ", "from "))), "".join(lines[:1]))
    return line if len(line) <= 50 else line[:49] + "…"


def exercise_function(cell: Any) -> ast.FunctionDef | None:
    """The function under `@exercise` in this cell, or None. Raises CourseError if the cell cannot be parsed."""
    if cell.cell_type != "code" or "@exercise" not in cell.source:
        return None
    try:
        tree = ast.parse(cell.source)
    except SyntaxError as error:
        raise CourseError(f"the exercise cell ({first_line(cell)}) is not valid Python: {error}") from error
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and any(ast.unparse(d) == "exercise" for d in node.decorator_list):
            return node
    return None


def exercise_name(cell: Any) -> str | None:
    """The name of the exercise in this cell, or None."""
    function = exercise_function(cell)
    return function.name if function else None


def clear_outputs(notebook: Any) -> None:
    """Remove all outputs and counts, in place."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
