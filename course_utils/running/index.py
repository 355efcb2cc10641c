"""The page that shows a run: the executed lessons with their states, and all results."""

from __future__ import annotations

from pathlib import Path

from course_utils import templates
from course_utils.files import write_text
from course_utils.running.outcomes import outcome, verdict
from course_utils.running.runs import Options, Run

TEMPLATES = Path(__file__).parent / "templates"


def write_index(runs: list[Run], options: Options) -> Path:
    """Write `index.html` with links to the executed lessons, their states and all results; returns its path."""
    page = templates.render(
        TEMPLATES,
        "index.html",
        profile=options.profile,
        runs=[(run, _target(run)) for run in runs],
        failed=sum(run.state == "failed" for run in runs),
        seconds=sum(run.seconds for run in runs),
        outcome=outcome,
        verdict=verdict,
    )
    write_text(page, options.out / "index.html")
    return options.out / "index.html"


def _target(run: Run) -> str | None:
    """The file, beside the index, that shows the executed lesson; None where there is none."""
    return next((path.name for path in (run.page, run.executed) if path is not None and path.exists()), None)
