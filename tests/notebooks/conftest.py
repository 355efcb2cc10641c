"""What tests of notebooks share."""

from pathlib import Path

import pytest
from specimen import PROJECT, fresh, lesson

from course_utils.notebooks import colab, ipynb


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small repository with one lesson that is fit to be committed."""
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "README.md").write_text(f"# Course\n{colab.badge('01_one.ipynb', tmp_path)}\n")
    notebook = fresh(lesson(tmp_path))
    ipynb.write(notebook, tmp_path / "notebooks" / "01_one.ipynb")
    return tmp_path
