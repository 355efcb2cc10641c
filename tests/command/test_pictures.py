"""README shows what the lessons' notebooks store."""

import base64
import re
from pathlib import Path

import nbformat
import pytest

from course_utils.command.pictures import A_PICTURE, write_pictures
from course_utils.errors import CourseError
from course_utils.notebooks import ipynb

ROOT = Path(__file__).parents[2]


def cell(content: bytes, *tags: str) -> nbformat.NotebookNode:
    picture = nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(content).decode()})
    picture.metadata["image/png"] = {"alt": "a picture"}
    return nbformat.v4.new_code_cell(outputs=[picture], metadata={"tags": list(tags)})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with one lesson of two pictures, whose second is its cover."""
    notebook = nbformat.v4.new_notebook(cells=[cell(b"first"), cell(b"second", "cover")])
    ipynb.write(notebook, tmp_path / "notebooks" / "07_x.ipynb")
    (tmp_path / "README.md").write_text("![digits](docs/made/07.png)\n")
    return tmp_path


def test_a_lessons_cover_is_written_once(root: Path) -> None:
    path = root / "docs" / "made" / "07.png"
    assert write_pictures(root) == [path] and path.read_bytes() == b"second"
    assert write_pictures(root) == []


@pytest.mark.parametrize("number", ["08", "07a"])
def test_a_picture_of_no_lesson_is_refused(root: Path, number: str) -> None:
    (root / "README.md").write_text(f"![digits](docs/made/{number}.png)\n")
    with pytest.raises(CourseError, match=f"no lesson {number}"):
        write_pictures(root)


def test_the_pictures_in_the_repository_are_those_of_the_notebooks() -> None:
    assert len(A_PICTURE.findall((ROOT / "README.md").read_text(encoding="utf-8"))) >= 4
    assert write_pictures(ROOT) == []


def test_what_readme_quotes_was_written_by_lesson_09() -> None:
    quoted = re.findall("“(.+?)”", (ROOT / "README.md").read_text(encoding="utf-8"))
    notebook = ipynb.read(next((ROOT / "notebooks").glob("09_*.ipynb")))
    written = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert quoted and all(text.replace(" / ", "↵") in written for text in quoted)
