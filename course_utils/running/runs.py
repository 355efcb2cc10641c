"""What is asked of a run of lessons, and what is known of each lesson's run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course_utils.notebooks.find import Lesson

TIMEOUTS = {"smoke": 300, "cpu": 1200, "night": 30_000, "gpu": 3600}  # seconds a cell may take, for each profile


@dataclass
class Run:
    """One lesson's run. `state` goes from "waiting" over "running" to "passed" or "failed".

    `reasons` say why it failed, `remark` what else should be known.
    """

    lesson: Lesson
    state: str = "waiting"
    cell: int = 0
    cells: int = 0
    label: str = ""
    seconds: float = 0.0
    peak_gb: float = 0.0
    reasons: list[str] = field(default_factory=list)
    remark: str = ""
    reports: list[dict[str, Any]] = field(default_factory=list)
    session: dict[str, Any] = field(default_factory=dict)
    executed: Path | None = None
    page: Path | None = None
    began: float = 0.0

    @property
    def message(self) -> str:
        """What to show beside the state: the cell at hand, the first reason for a failure, or a remark."""
        if self.state == "running":
            return self.label
        more = f" (and {len(self.reasons) - 1} more)" if len(self.reasons) > 1 else ""
        return self.reasons[0] + more if self.reasons else self.remark

    @property
    def missed(self) -> list[dict[str, Any]]:
        """The reports whose goal was judged and not met."""
        return [report for report in self.reports if report.get("met") is False]


@dataclass(frozen=True)
class Options:
    """How to run. `timeout` is in seconds a cell; None means the profile's own.

    With `headlines` only the cells that a lesson's headlines need are run; in profile night it is always so. `reported` is
    called, in any thread, with each run that has reported results and goes on.
    """

    profile: str = "cpu"
    jobs: int = 1
    out: Path = Path("out")
    timeout: int | None = None
    solved: bool = False
    html: bool = True
    headlines: bool = False
    reported: Callable[[Run], None] = lambda run: None

    @property
    def short(self) -> bool:
        """Whether a lesson is run no further than its headlines need."""
        return self.headlines or self.profile == "night"

    @property
    def cell_seconds(self) -> int:
        """The seconds that one cell may take."""
        return self.timeout or TIMEOUTS[self.profile]
