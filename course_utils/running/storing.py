"""An executed lesson becomes the committed one: its cleaned outputs are written back into the notebook."""

from __future__ import annotations

from course_utils.notebooks import ipynb, normalise
from course_utils.running.runs import Run


def write_back(result: Run, before: bytes, stand_in: bool) -> list[str]:
    """Normalise the executed notebook and write it over the lesson; returns why not, if it was not."""
    assert result.executed is not None
    notebook = normalise.normalise(ipynb.read(result.executed))
    notebook.metadata["course"] = {"source_hash": normalise.source_hash(notebook)}
    reasons = normalise.is_normalised(notebook)
    sources = {s["source"] for report in result.reports for s in report.get("data", []) if not s.get("real", True)}
    if sources and not stand_in:
        reasons.append(
            f"it ran on {', '.join(sorted(sources))}: `course data fetch` first, or allow it with --stand-in"
        )
    if result.lesson.path.read_bytes() != before:
        reasons.append("the file changed while it ran: save it and refresh again")
    if not reasons:
        ipynb.write(notebook, result.lesson.path)
    return reasons
