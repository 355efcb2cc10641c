"""A fork's address is rewritten everywhere, and the first cell installs the course on Colab only."""

import sys
import types
from pathlib import Path

import pytest
from specimen import PROJECT, fresh, lesson, problems

from course_utils.errors import CourseError
from course_utils.notebooks import colab, ipynb


def test_moving_to_a_fork_rewrites_everything_and_keeps_the_notebook_committable(root: Path) -> None:
    (root / "CONTRIBUTING.md").write_text(
        "See https://github.com/OWNER/NAME/issues and https://github.com/OWNER/NAMES\n"
    )
    ipynb.write(fresh(lesson(root, "01a_detour.ipynb")), root / "notebooks" / "01a_detour.ipynb")
    (root / "docs").mkdir()
    (root / "docs" / "hub.md").write_text("pip install git+https://github.com/OWNER/NAME\n")
    changed = colab.move_repository("jane/gans", "v1.2", root)
    moved = {"pyproject.toml", "README.md", "CONTRIBUTING.md", "01_one.ipynb", "01a_detour.ipynb", "hub.md"}
    assert {path.name for path in changed} == moved
    assert (root / "docs" / "hub.md").read_text() == "pip install git+https://github.com/jane/gans\n"
    assert "blob/v1.2/notebooks/01a_detour.ipynb" in (root / "notebooks" / "01a_detour.ipynb").read_text()
    assert colab.address(root) == ("https://github.com/jane/gans", "v1.2")
    assert 'ref = "untouched"' in (root / "pyproject.toml").read_text()
    text = (root / "notebooks" / "01_one.ipynb").read_text()
    assert "git+https://github.com/jane/gans@v1.2" in text and "OWNER" not in text
    assert "github/jane/gans/blob/v1.2/notebooks/01_one.ipynb" in (root / "README.md").read_text()
    assert "jane/gans/issues and https://github.com/OWNER/NAMES" in (root / "CONTRIBUTING.md").read_text()
    assert problems(root) == ""


def test_moving_there_and_back_restores_every_byte(root: Path) -> None:
    paths = [root / "README.md", root / "pyproject.toml", root / "notebooks" / "01_one.ipynb"]
    before = [path.read_bytes() for path in paths]
    colab.move_repository("jane/gans", "v1", root)
    colab.move_repository("OWNER/NAME", "main", root)
    assert [path.read_bytes() for path in paths] == before
    assert colab.move_repository("OWNER/NAME", "main", root) == []


def test_the_ref_keeps_the_company_that_it_has_in_its_table(root: Path) -> None:
    project = root / "pyproject.toml"
    project.write_text(PROJECT + '\n[tool.course]\nref = "v1"\nkept = 1\n\n[tool.last]\nref = "untouched"\n')
    for ref, line in (("v2", 'ref = "v2"\n'), ("main", ""), ("v3", 'ref = "v3"\n')):
        colab.move_repository("OWNER/NAME", ref, root)
        expected = f'\n[tool.course]\n{line}kept = 1\n\n[tool.last]\nref = "untouched"\n'
        assert project.read_text() == PROJECT + expected
        assert colab.address(root)[1] == ref


def test_moving_leaves_a_stale_hash_stale(root: Path) -> None:
    path = root / "notebooks" / "01_one.ipynb"
    path.write_text(path.read_text().replace("plot()", "plot(1)"))
    colab.move_repository("jane/gans", "main", root)
    assert "stale" in problems(root)


@pytest.mark.parametrize(
    "repository", ["gans", "a/b/c", "a b/c", "", "https://gitlab.com/a/b", "-a/b", "_/b", "a/..", "a/.", "é/b"]
)
def test_an_address_that_is_none_is_refused(repository: str, root: Path) -> None:
    with pytest.raises(CourseError, match="OWNER/NAME"):
        colab.move_repository(repository, "main", root)


def run_colab_cell(root: Path, monkeypatch: pytest.MonkeyPatch, on_colab: bool, installed: bool) -> list[list[str]]:
    """The commands that the first cell runs, in a world with or without Colab and the package."""
    commands: list[list[str]] = []
    package = types.ModuleType("course_utils")

    def run(command: list[str], check: bool) -> None:
        commands.append(command)
        monkeypatch.setitem(sys.modules, "course_utils", package)

    monkeypatch.setitem(sys.modules, "course_utils", package if installed else None)
    monkeypatch.setattr("subprocess.run", run)
    if on_colab:
        monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    cell: dict[str, object] = {}
    exec(compile(colab.colab_cell(root), "cell", "exec"), cell)
    assert ("course_utils" in cell) == (installed or on_colab)
    return commands


def test_the_first_cell_installs_on_colab_only(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (command,) = run_colab_cell(root, monkeypatch, on_colab=True, installed=False)
    assert command[1:] == ["-m", "pip", "install", "-q", "--no-deps", "git+https://github.com/OWNER/NAME@main"]
    assert run_colab_cell(root, monkeypatch, on_colab=True, installed=True) == []
    assert capsys.readouterr().out == ""


def test_the_first_cell_elsewhere_only_says_how_to_install(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert run_colab_cell(root, monkeypatch, on_colab=False, installed=False) == []
    assert 'pip install "git+https://github.com/OWNER/NAME@main"' in capsys.readouterr().out
    assert run_colab_cell(root, monkeypatch, on_colab=False, installed=True) == []
    assert capsys.readouterr().out == ""
