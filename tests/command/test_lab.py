"""`course lab`: JupyterLab on the copies, with the course's defaults and without a touch to anybody's settings."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from jupyterlab.labapp import LabApp
from jupyterlab_server.settings_utils import _get_overrides
from typer.testing import CliRunner

from course_utils.command import lab
from course_utils.command.cli import app

ROOT = Path(__file__).parents[2]
NOTEBOOKS = "@jupyterlab/notebook-extension:tracker"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The starts of JupyterLab, which does not start: its arguments, and what defaults it would have had."""
    starts: list[dict[str, Any]] = []

    def start(arguments: list[str]) -> None:
        starts.append({"arguments": arguments, "defaults": _get_overrides("nowhere")[0]})

    monkeypatch.setattr(LabApp, "launch_instance", start)
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "")  # put back afterwards
    return starts


def test_the_lab_opens_on_copies_with_lines_wrapped_and_hands_options_on(
    started: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notebooks").mkdir()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(ROOT / "notebooks/02a_fast_recurrence.ipynb", tmp_path / "notebooks")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["lab", "--no-browser", "--port", "9999"])
    assert done.exit_code == 0 and "work/02a_fast_recurrence.ipynb: new" in done.output
    assert started[0]["arguments"] == [f"--notebook-dir={tmp_path / 'work'}", "--no-browser", "--port", "9999"]
    assert started[0]["defaults"][NOTEBOOKS]["codeCellConfig"] == {"lineWrap": True}


def test_defaults_of_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "labconfig").mkdir()
    theirs = {"@jupyterlab/apputils-extension:themes": {"theme": "JupyterLab Dark"}}
    (tmp_path / "labconfig/default_setting_overrides.json").write_text(json.dumps(theirs))
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", str(tmp_path))
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", lab.defaults()["JUPYTER_CONFIG_PATH"])
    merged, _ = _get_overrides("nowhere")
    assert merged["@jupyterlab/apputils-extension:themes"] == {"theme": "JupyterLab Dark"}
    assert merged[NOTEBOOKS]["codeCellConfig"] == {"lineWrap": True}


def test_without_jupyterlab_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jupyterlab.labapp", None)
    before = os.environ.get("JUPYTER_CONFIG_PATH")
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("course_utils.command.cli._copy_all", lambda root: None)
    done = CliRunner().invoke(app, ["lab"])
    assert done.exit_code == 2 and ".[lab]" in done.stderr
    assert os.environ.get("JUPYTER_CONFIG_PATH") == before
