"""What is true of the whole test session."""

import base64
import os
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Property tests draw the same examples everywhere and every time, so that none fails by luck.
settings.register_profile(
    "course", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("course")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes is begun first, so that none of it comes last, with one process at work and the others idle."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    for item in items if os.name == "nt" else []:
        if item.get_closest_marker("posix"):
            item.add_marker(pytest.mark.skip(reason="Windows has no such links, permissions or signals"))


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests set profile and device themselves."""
    for name in ("COURSE_PROFILE", "COURSE_DEVICE", "COURSE_SOLUTIONS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing loaded yet, nothing of this machine's own found, and no network."""
    from course_utils import runtime
    from course_utils.data import download, loading

    monkeypatch.setattr(loading, "kept", {})
    monkeypatch.setattr(runtime, "_sources", {})
    monkeypatch.setattr(download, "_said", set())
    monkeypatch.setattr(download, "_checkout_directory", lambda: None)
    monkeypatch.setattr(download, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.delenv("COURSE_DATA", raising=False)


@pytest.fixture
def exercise(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The decorator of a notebook that has just been started."""
    from course_utils.exercises import notebook

    fresh = notebook.Exercise()
    monkeypatch.setattr(notebook, "exercise", fresh)
    return fresh


class Shown:
    """One output: what a cell would display."""

    def __init__(self, bundle: dict[str, Any], metadata: dict[str, Any] | None) -> None:
        self.bundle, self.metadata = bundle, metadata or {}

    @property
    def text(self) -> str:
        return self.bundle["text/plain"]

    @property
    def png(self) -> bytes:
        return base64.b64decode(self.bundle["image/png"])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return struct.unpack(">II", self.png[16:24])


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Shown]:
    """Everything that the code under test displays."""
    from course_utils import display

    outputs: list[Shown] = []
    monkeypatch.setattr(display, "show", lambda bundle, metadata=None: outputs.append(Shown(bundle, metadata)))
    return outputs


@pytest.fixture
def alts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The alt texts of the figures that are shown."""
    texts: list[str] = []

    def keep(data: dict[str, Any], metadata: dict[str, Any]) -> None:
        assert data["image/png"]
        texts.append(metadata["image/png"]["alt"])

    from course_utils import display

    monkeypatch.setattr(display, "show", keep)
    return texts


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line with the mutation score of all exercises (also when several processes shared the tests)."""
    totals: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, counts in getattr(report, "user_properties", []):
                if name == "mutation" and report.when == "call":
                    totals.update(counts)
    if totals:
        killed, equivalent, survived = (totals[word] for word in ("killed", "equivalent", "survived"))
        terminalreporter.write_line(
            f"mutation: {killed + equivalent + survived} mutants, {killed} killed, {equivalent} equivalent, "
            f"{survived} survived"
        )
