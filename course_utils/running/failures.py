"""What went wrong in an executed notebook, as sentences; also what papermill and nbclient let pass.

Papermill reports success after `sys.exit(0)` half-way, an exception in a widget's callback or in a thread, a failing
`!command`, or an unknown parameter. Each of them counts as a failure here. `preflight` looks before the run,
`find_failures` after it.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from course_utils.conventions import OUTCOME_TYPE
from course_utils.errors import CourseError
from course_utils.notebooks.ipynb import code_cells, exercise_name, first_line, tags

WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
IN_THREAD = re.compile(r"Exception in thread .*?^(\w[\w.]*(?:Error|Exception|Interrupt|Exit)?(?:: .*)?)$", re.S | re.M)
LOST_TASK = re.compile(r"Task exception was never retrieved.*?^(\w[\w.]*: .*)$", re.S | re.M)


def preflight(notebook: Any, parameter: str = "PROFILE") -> list[str]:
    """What makes running the notebook pointless: no code, a parameter that it does not have, tags that hide errors."""
    if not code_cells(notebook):
        return ["the notebook has no code to run"]
    problems = []
    if not any("parameters" in tags(cell) and _assigns(cell, parameter) for cell in code_cells(notebook)):
        problems.append(
            f"unknown parameter {parameter}: no cell tagged `parameters` assigns it, so the notebook would run at "
            f'its own profile. Tag the cell {parameter} = "auto" with `parameters`.'
        )
    for number, cell in enumerate(code_cells(notebook), 1):
        for tag in {"raises-exception", "skip-execution"} & set(tags(cell)):
            problems.append(f"{name_cell(number, cell)} is tagged {tag}, which hides errors: use runtime.expect_error")
    return problems


def _assigns(cell: Any, name: str) -> bool:
    try:
        body = ast.parse(cell.source).body
    except SyntaxError:
        return False
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in body if isinstance(node, ast.AnnAssign)]
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


def find_failures(notebook: Any, findings: dict[str, Any] | None, fatal: str = "") -> list[str]:
    """The failures of an executed notebook in order of importance, without duplicates; empty when it passed.

    `findings` is what `in_kernel.report` said (None if the kernel could not be asked); `fatal` is why the run itself
    broke off, if it did. Execution counts must still be the kernel's.
    """
    reasons = [fatal] if fatal else []
    shown = _cell_errors(notebook)
    reasons += [text for _, _, text in shown]
    known = {(name, value) for name, value, _ in shown}
    reasons += _widget_errors(notebook, findings, known)
    reasons += _thread_errors(notebook, findings)
    reasons += _unfinished(notebook, bool(reasons))
    moved = (findings or {}).get("moved")
    if moved:
        where = _cell_with_count(notebook, moved.get("count")) or "a cell"
        reasons.append(
            f"{where} left the kernel's working directory changed, to {moved['directory']}: "
            "go back in the same cell (with contextlib.chdir(…):)"
        )
    return list(dict.fromkeys(reasons))


def _cell_errors(notebook: Any) -> list[tuple[str, str, str]]:
    """(name, value, sentence) of every error that a cell shows."""
    errors = []
    for number, cell in enumerate(code_cells(notebook), 1):
        for output in cell.outputs:
            if output.output_type != "error":
                continue
            where = name_cell(number, cell)
            if output.ename == "SystemExit":
                left = _cells_after(notebook, number)
                text = f"{where} called sys.exit({output.evalue or 0}), and {left} never ran"
            elif output.ename == "CalledProcessError" and re.search(r"(?m)^\s*(\w+ *= *)?[!%]", cell.source):
                text = f"{where}: a shell command failed. {output.evalue}"
            else:
                text = f"{where} raised {error_text(output.ename, output.evalue)}"
            errors.append((output.ename, output.evalue, text))
    return errors


def _widget_errors(notebook: Any, findings: dict[str, Any] | None, known: set[tuple[str, str]]) -> list[str]:
    """Exceptions that a widget swallowed: tracebacks seen by the kernel, or left in an Output widget's state."""
    reasons, seen = [], set(known)
    for item in (findings or {}).get("tracebacks", []):
        if (item["name"], item["value"]) not in seen:
            seen.add((item["name"], item["value"]))
            where = _cell_with_count(notebook, item.get("count"))
            reasons.append(_swallowed(item["name"], item["value"], where))
    states = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    for widget in states.values():
        for output in widget.get("state", {}).get("outputs") or []:
            error = (output.get("ename", ""), output.get("evalue", ""))
            if output.get("output_type") == "error" and error not in seen:
                seen.add(error)
                reasons.append(_swallowed(*error, where=""))
    return reasons


def _swallowed(name: str, value: str, where: str) -> str:
    place = f"{where}: an" if where else "an"
    return f"{place} exception inside a widget's callback or Output, which hides it: {error_text(name, value)}"


def _thread_errors(notebook: Any, findings: dict[str, Any] | None) -> list[str]:
    noticed = [
        f"exception in thread {item['thread']}: {error_text(item['name'], item['value'])}"
        for item in (findings or {}).get("threads", [])
    ]
    reasons = list(noticed)
    for number, cell in enumerate(code_cells(notebook), 1):
        for output in cell.outputs:
            if output.output_type != "stream" or output.name != "stderr":
                continue
            patterns = [] if noticed else [(IN_THREAD, "exception in a thread")]
            for pattern, what in [*patterns, (LOST_TASK, "exception in an asyncio task")]:
                reasons += [f"{name_cell(number, cell)}: {what}: {m[1].strip()}" for m in pattern.finditer(output.text)]
    return reasons


def _unfinished(notebook: Any, explained: bool) -> list[str]:
    """Cells that never ran although nothing said why."""
    pending = [n for n, cell in enumerate(code_cells(notebook), 1) if cell.execution_count is None]
    if not pending or explained:
        return []
    return [f"the run ended before code cell {pending[0]}: {_cells_after(notebook, pending[0] - 1)} never ran"]


def unsolved_exercises(notebook: Any) -> list[str]:
    """Exercises of an executed notebook that were not judged right (for the solved version of a lesson)."""
    reasons = []
    for cell in code_cells(notebook):
        try:
            name = exercise_name(cell)
        except CourseError:
            continue
        if name is None:
            continue
        bundles = [output.get("data", {}) for output in cell.outputs]
        shown = next((bundle for bundle in bundles if OUTCOME_TYPE in bundle), None)
        if shown is None or shown[OUTCOME_TYPE]["status"] != "right":
            feedback = shown["text/plain"] if shown else "It shows no feedback."
            reasons.append(f"exercise {name}: the reference is not judged right. {feedback}")
    return reasons


def name_cell(number: int, cell: Any) -> str:
    """How messages name a cell: by its place among the code cells, and its first line."""
    return f"code cell {number} (`{first_line(cell)}`)"


def error_text(name: str, value: str) -> str:
    """`ValueError: what it says`, shortened to one line."""
    text = " ".join(value.split())
    text = text if len(text) <= 300 else text[:299] + "…"
    return f"{name}: {text}" if text else name


def _cell_with_count(notebook: Any, count: int | None) -> str:
    for number, cell in enumerate(code_cells(notebook), 1):
        if count is not None and cell.execution_count == count:
            return name_cell(number, cell)
    return ""


def _cells_after(notebook: Any, number: int) -> str:
    left = len(code_cells(notebook)) - number
    return {0: "no further cell", 1: "the 1 cell after it"}.get(left, f"the {left} cells after it")
