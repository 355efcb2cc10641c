"""What became of the goals of a run's results, as a fact, in words, and as a table in the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from course_utils.conventions import REPORT_TYPE, SESSION_TYPE
from course_utils.display import number
from course_utils.running.runs import Run

if TYPE_CHECKING:
    from rich.table import Table

STYLES = {"met": "green", "missed": "bold red", "not judged": "dim", "no goal": "dim"}


def collect(cells: Iterable[Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The reports in the outputs of code cells, in order, and the description of their session ({} if there is none)."""
    reports, session = [], {}
    for data in (output.get("data", {}) for cell in cells for output in cell.outputs):
        if REPORT_TYPE in data:
            reports.append(dict(data[REPORT_TYPE]))
        session = dict(data.get(SESSION_TYPE, session))
    return reports, session


def verdict(report: dict[str, Any]) -> str:
    """What became of a report's goal: "met", "missed", "not judged", or "no goal" where it has none."""
    if not report.get("goal"):
        return "no goal"
    return {True: "met", False: "missed", None: "not judged"}[report.get("met")]


def outcome(report: dict[str, Any]) -> str:
    """A report's verdict as people read it; one that was not judged says why."""
    why = report.get("why") or "reason unknown"
    words = {"met": "✔ met", "missed": "✘ missed", "not judged": f"not judged ({why})"}
    return words.get(verdict(report), "no goal")


def results_table(runs: list[Run]) -> Table:
    """All reported results with their goals."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Results", title_justify="left", box=None, pad_edge=False)
    for column in ("lesson", "result", "value", "goal", "outcome"):
        table.add_column(column, justify="right" if column == "value" else "left")
    for run in runs:
        for report in run.reports:
            table.add_row(
                run.lesson.number,
                escape(report["name"]),
                escape(f"{number(report['value'])} {report.get('unit', '')}".strip()),
                escape(report.get("goal") or "—"),
                f"[{STYLES[verdict(report)]}]{escape(outcome(report))}[/]",
            )
    return table
