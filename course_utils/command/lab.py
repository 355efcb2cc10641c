"""`course lab`: JupyterLab on the working copies, with defaults of the course's own and nobody's settings changed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from course_utils.errors import extra

CONFIG = Path(__file__).parent  # JupyterLab looks below it for labconfig/default_setting_overrides.json


def defaults() -> dict[str, str]:
    """The environment in which JupyterLab wraps long lines of code and asks nobody for news.

    These are defaults: what a person has chosen in JupyterLab's settings holds, and no file of theirs is touched.
    """
    others = os.environ.get("JUPYTER_CONFIG_PATH", "")
    return {"JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, [str(CONFIG), others]))}


def launch(folder: Path, arguments: Sequence[str]) -> None:
    """Run JupyterLab on the notebooks in `folder` until it is closed, with further `arguments` of its own.

    Raises CourseError where JupyterLab is not installed.
    """
    with extra("lab"):
        from jupyterlab.labapp import LabApp
    os.environ.update(defaults())
    LabApp.launch_instance([f"--notebook-dir={folder}", *arguments])
