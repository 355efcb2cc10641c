"""The form in which a notebook is committed: with its outputs, without what differs from run to run or machine to machine.

`course refresh` writes such notebooks; `is_normalised` says what keeps one from being so.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import course_utils
from course_utils.notebooks.ipynb import (
    KERNELSPEC,
    LANGUAGE,
    code_cells,
    complete_ids,
    first_line,
    join_lines,
    renumber,
    tags,
)

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
KEPT_NOTEBOOK_METADATA = ("course", "kernelspec", "language_info")
KEPT_CELL_METADATA = ("jupyter", "tags")
PROGRESS = re.compile(r"\r|\d+%\|| \d*\.?\d+(it|s|batch|step)s?/(s|it)\b|\[\d\d:\d\d<")
# Directories that only one machine has. The lookbehind keeps URLs and relative paths out.
OTHER_MACHINES = re.compile(r"(?<![\w.:/~<-])(/home/\w+/|/Users/\w+/|/root/|/tmp/|/content/|[A-Z]:\\\\?Users\\)")


def source_hash(notebook: Any) -> str:
    """A hash of what determines the outputs: the cells' types, sources and tags, in order."""
    content = [[cell.cell_type, cell.source, sorted(tags(cell))] for cell in notebook.cells]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:16]


def normalise(notebook: Any) -> Any:
    """A copy without anything that differs between runs or machines; outputs that carry meaning stay.

    Removed are papermill's cells and metadata, widget state and views, timestamps, Colab's additions and progress
    bars. Cells count 1 … n. Paths of this machine are not rewritten: `local_paths` finds them.
    """
    clean = copy.deepcopy(notebook)
    clean.cells = [cell for cell in clean.cells if not _is_scaffolding(cell)]
    clean.metadata = type(clean)({key: clean.metadata[key] for key in KEPT_NOTEBOOK_METADATA if key in clean.metadata})
    clean.metadata["kernelspec"], clean.metadata["language_info"] = dict(KERNELSPEC), dict(LANGUAGE)
    clean["nbformat"], clean["nbformat_minor"] = 4, 5
    for cell in clean.cells:
        cell.metadata = type(clean)({key: cell.metadata[key] for key in KEPT_CELL_METADATA if cell.metadata.get(key)})
        if cell.cell_type == "code":
            cell.outputs = [kept for output in cell.outputs if (kept := _clean_output(output)) is not None]
    complete_ids(clean)
    renumber(clean)
    return clean


def _is_scaffolding(cell: Any) -> bool:
    return bool({"injected-parameters", "papermill-error-cell-tag"} & set(tags(cell)))


def remove_scaffolding(notebook: Any) -> None:
    """Take out the cells that papermill put in, in place."""
    notebook.cells = [cell for cell in notebook.cells if not _is_scaffolding(cell)]


def _clean_output(output: Any) -> Any | None:
    """The output without litter, or None where nothing is left of it."""
    output = copy.deepcopy(output)
    join_lines(output)
    if WIDGET_VIEW in output.get("data", {}):
        return None
    if output.output_type == "stream" and output.name == "stderr":
        kept = [line for line in output.text.splitlines(keepends=True) if not PROGRESS.search(line)]
        output.text = "".join(kept)
        if not output.text.strip():
            return None
    output.get("metadata", {}).pop("needs_background", None)
    return output


def _texts(output: Any) -> Iterator[str]:
    yield str(output.get("text", ""))
    yield "\n".join(output.get("traceback", []))
    for kind, value in output.get("data", {}).items():
        if kind.startswith("text/") or kind == "image/svg+xml":
            yield value if isinstance(value, str) else "".join(value)
        elif kind.endswith("json"):
            yield json.dumps(value, ensure_ascii=False)


def local_paths(notebook: Any) -> list[str]:
    """Where outputs show a path of the machine on which the notebook ran, as sentences."""
    problems = []
    own = {str(Path.home()), sys.prefix, tempfile.gettempdir(), str(Path(course_utils.__file__).resolve().parents[1])}
    mine = re.compile("|".join(rf"(?<![\w.:/~<-]){re.escape(path)}(?![\w.-])" for path in own if len(path) > 1))
    for number, cell in enumerate(code_cells(notebook), 1):
        for text in (text for output in cell.outputs for text in _texts(output)):
            match = mine.search(text) or OTHER_MACHINES.search(text)
            if match:
                shown = text[max(0, match.start() - 20) : match.end() + 40].replace("\n", " ").strip()
                problems.append(f"code cell {number} shows a path of this machine in its output: … {shown} …")
    return problems


def is_normalised(notebook: Any) -> list[str]:
    """What keeps the notebook from being in the form that `course refresh` writes; empty when it is."""
    problems = []
    clean = normalise(notebook)
    dropped = sorted(set(notebook.metadata) - set(KEPT_NOTEBOOK_METADATA))
    if dropped:
        problems.append(f"the notebook carries metadata of a run: {', '.join(dropped)}")
    elif notebook.metadata != clean.metadata:
        problems.append("kernelspec or language_info is not the course's (python3, no version)")
    if len(notebook.cells) != len(clean.cells):
        return [*problems, "it holds cells that papermill put in"]
    for number, (cell, wanted) in enumerate(zip(notebook.cells, clean.cells, strict=True), 1):
        where = f"cell {number} ({first_line(cell)})"
        if cell.metadata != wanted.metadata:
            extra = sorted(set(cell.metadata) - set(wanted.metadata))
            problems.append(f"{where} carries metadata that is empty or of a run: {', '.join(extra)}")
        if cell.cell_type == "code" and cell.outputs != wanted.outputs:
            problems.append(f"{where} has widget views, progress bars or other litter in its outputs")
        if cell.cell_type == "code" and cell.get("execution_count") != wanted.get("execution_count"):
            problems.append(f"{where} has execution count {cell.execution_count}, not {wanted.execution_count}")
    problems += [f"code cell {n} has not been run" for n in _not_run(notebook)]
    return problems + local_paths(notebook) + hash_problems(notebook)


def _not_run(notebook: Any) -> list[int]:
    return [number for number, cell in enumerate(code_cells(notebook), 1) if cell.execution_count is None]


def hash_problems(notebook: Any) -> list[str]:
    """Whether the stored hash is that of the cells: what is wrong with it, or nothing."""
    stored = notebook.metadata.get("course", {}).get("source_hash")
    if stored is None:
        return ["it has no source hash: it was never refreshed"]
    return [] if stored == source_hash(notebook) else ["its cells changed after its outputs were made (stale hash)"]
