"""Notebooks as files: found by number, normalised, hashed, solved, moved to a fork. No kernel runs here."""

import copy
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_utils import files
from course_utils.errors import CourseError
from course_utils.notebooks import colab, find, hygiene, ipynb, normalise, solve

PROJECT = """[project]
name = "generative-networks-course"
requires-python = ">=3.11"

[project.urls]
# the one place
repository = "https://github.com/OWNER/NAME"

[tool.other]
ref = "untouched"
"""
CARD = "### Exercise 1.1 · A step\n\n*10 minutes · 2 points*\n\nDo it."
STUB = '@exercise\ndef step(x):\n    """Double."""\n    raise NotImplementedError'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small repository with one lesson that is fit to be committed."""
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "README.md").write_text(f"# Course\n{colab.badge('01_one.ipynb', tmp_path)}\n")
    notebook = fresh(lesson(tmp_path))
    ipynb.write(notebook, tmp_path / "notebooks" / "01_one.ipynb")
    return tmp_path


def lesson(root: Path, filename: str = "01_one.ipynb") -> Any:
    """A lesson as somebody has written and run it, free of litter."""
    opening = f"# The first lesson\n\nWhy? {colab.badge(filename, root)}"
    cells = [new_markdown_cell(opening)]
    for source, tags in colab.first_cells(root):
        cells.append(new_code_cell(source, metadata={"tags": tags}))
    start = f"from course_utils import runtime\n\n{hygiene.SESSION_CALL}"
    cells.append(new_code_cell(start, metadata={"tags": ["nbval-ignore-output"]}))
    picture = new_output("display_data", {"image/png": "iVBO", "text/plain": "[figure]"})
    picture["metadata"] = {"image/png": {"alt": "A line that rises."}}
    cells += [new_code_cell("plot()", outputs=[picture]), new_markdown_cell(CARD), new_code_cell(STUB)]
    for number, cell in enumerate((cell for cell in cells if cell.cell_type == "code"), 1):
        cell.execution_count = number
    return new_notebook(cells=cells)


def fresh(notebook: Any) -> Any:
    """The notebook as `course refresh` would write it."""
    clean = normalise.normalise(notebook)
    clean.metadata["course"] = {"source_hash": normalise.source_hash(clean)}
    return clean


def problems(root: Path, change: Any = None) -> str:
    """All hygiene problems of the lesson after `change(notebook)`, with a fresh hash."""
    path = root / "notebooks" / "01_one.ipynb"
    notebook = ipynb.read(path)
    if change:
        change(notebook)
        notebook.metadata.setdefault("course", {})["source_hash"] = normalise.source_hash(notebook)
        ipynb.write(notebook, path)
    return "\n".join(hygiene.hygiene_problems(path, root))


# --- finding ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["1", "01", "01_one", "notebooks/01_one.ipynb"])
def test_a_lesson_is_found_by_number_name_or_path(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    (found,) = find.find_lessons([name], root)
    assert (found.number, found.path.name, found.title) == ("01", "01_one.ipynb", "The first lesson")


def test_an_unknown_lesson_lists_what_there_is(root: Path) -> None:
    with pytest.raises(CourseError, match=r"no lesson '7'. There are: 01 one"):
        find.find_lessons(["7"], root)
    with pytest.raises(CourseError, match="no notebook nowhere"):
        find.find_lessons(["nowhere.ipynb"], root)


def test_any_notebook_can_be_named_by_its_path(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.ipynb"
    path.write_text("{}")
    assert find.find_lessons([str(path)], root)[0].number == "mine"


def test_all_lessons_are_meant_when_none_is_named_and_none_is_taken_twice(root: Path) -> None:
    assert [found.number for found in find.find_lessons([], root)] == ["01"]
    assert len(find.find_lessons(["1", "01"], root)) == 1


def test_a_detour_follows_its_lesson_and_is_found_by_its_number(root: Path) -> None:
    for name in ("02_two.ipynb", "01b_far.ipynb", "01a_near.ipynb", "10_ten.ipynb", "1c_no.ipynb", "01ab_no.ipynb"):
        (root / "notebooks" / name).write_text("{}")
    assert [found.number for found in find.lessons(root)] == ["01", "01a", "01b", "02", "10"]
    wanted = find.find_lessons(["1b", "01a", "01a_near", "1"], root)
    assert [found.path.name for found in wanted] == ["01b_far.ipynb", "01a_near.ipynb", "01_one.ipynb"]
    with pytest.raises(CourseError, match=r"no lesson '2a'. There are: 01 one; 01a near; 01b far; 02 two"):
        find.find_lessons(["2a"], root)


def test_the_repository_is_found_from_inside(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root / "notebooks")
    assert find.find_root() == root


def test_another_project_with_notebooks_is_not_taken_for_the_course(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "inner" / "notebooks").mkdir(parents=True)
    (root / "inner" / "pyproject.toml").write_text('[project]\nname = "mine"\n')
    monkeypatch.chdir(root / "inner")
    assert find.find_root() == root
    (root / "pyproject.toml").write_text('[project]\nname = "another"\n')
    monkeypatch.setattr(find, "checkout", lambda: None)
    with pytest.raises(CourseError, match="not inside the course's repository"):
        find.find_root()


# --- normalising ------------------------------------------------------------------------------------------------


def litter(notebook: Any) -> Any:
    """What papermill, Colab, widgets and progress bars leave in a notebook."""
    messy = copy.deepcopy(notebook)
    messy.metadata.update(widgets={"state": {}}, papermill={"duration": 1.0}, colab={"provenance": []})
    messy.metadata.language_info["version"] = "3.11.7"
    for cell in messy.cells:
        cell.metadata.update(papermill={"status": "completed"}, execution={"iopub": "2026"}, id="aB3", outputId="x")
    injected = new_code_cell('PROFILE = "cpu"', metadata={"tags": ["injected-parameters"]}, execution_count=3)
    messy.cells.insert(3, injected)
    for cell in messy.cells[4:]:
        if cell.cell_type == "code":
            cell.execution_count += 1
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "a"}, "text/plain": "interactive(…)"}
    bar = "training:  50%|█████     | 5/10 [00:01<00:01, 3.21it/s]\r\n"
    messy.cells[4].metadata.setdefault("tags", [])
    messy.cells[5].metadata["tags"] = []
    messy.cells[5].outputs += [new_output("display_data", view), new_output("stream", name="stderr", text=bar)]
    return messy


def test_normalising_removes_what_runs_leave_and_nothing_else(root: Path) -> None:
    clean = fresh(lesson(root))
    assert normalise.is_normalised(clean) == []
    assert normalise.normalise(litter(clean)) == clean


def test_normalising_twice_changes_nothing(root: Path) -> None:
    clean = normalise.normalise(litter(fresh(lesson(root))))
    assert ipynb.to_text(normalise.normalise(clean)) == ipynb.to_text(clean)


def test_writing_and_reading_keep_a_normalised_notebook_byte_for_byte(root: Path) -> None:
    path = root / "notebooks" / "01_one.ipynb"
    before = path.read_bytes()
    ipynb.write(ipynb.read(path), path)
    assert path.read_bytes() == before


def test_litter_is_named(root: Path) -> None:
    found = "\n".join(normalise.is_normalised(litter(fresh(lesson(root)))))
    assert "colab, papermill, widgets" in found
    assert "cells that papermill put in" in found


def test_warnings_on_stderr_are_kept_and_progress_bars_are_not(root: Path) -> None:
    notebook = fresh(lesson(root))
    text = "UserWarning: look here\n 10%|█         | 1/10 [00:00<?, ?it/s]\nlosses: 3.5 after 10 steps\n"
    notebook.cells[4].outputs.append(new_output("stream", name="stderr", text=text))
    kept = normalise.normalise(notebook).cells[4].outputs[-1].text
    assert kept == "UserWarning: look here\nlosses: 3.5 after 10 steps\n"


def test_alt_text_reports_and_feedback_survive(root: Path) -> None:
    notebook = fresh(lesson(root))
    report = {"name": "loss", "value": 1.0}
    notebook.cells[4].outputs.append(
        new_output("display_data", {"text/plain": "loss", "application/vnd.course.report+json": report})
    )
    outputs = normalise.normalise(notebook).cells[4].outputs
    assert outputs[0].metadata["image/png"]["alt"] == "A line that rises."
    assert outputs[1].data["application/vnd.course.report+json"] == report


def test_cells_get_ids_that_are_the_same_each_time(root: Path) -> None:
    notebook = lesson(root)
    for cell in notebook.cells:
        cell["id"] = "same"
    ids = [[cell.id for cell in normalise.normalise(copy.deepcopy(notebook)).cells] for _ in range(2)]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == len(ids[0])


@pytest.mark.parametrize("where", ["/home/jane/x.py", "/Users/jane/x", tempfile.gettempdir() + "/a", sys.prefix])
def test_a_path_of_this_machine_is_reported_and_not_rewritten(where: str, root: Path) -> None:
    notebook = fresh(lesson(root))
    notebook.cells[4].outputs.append(new_output("stream", name="stdout", text=f"saved in {where}\n"))
    clean = normalise.normalise(notebook)
    assert where in clean.cells[4].outputs[-1].text
    (problem,) = normalise.local_paths(clean)
    assert "code cell 4" in problem and where[:20] in problem


def test_addresses_and_relative_paths_are_not_taken_for_paths_of_this_machine(root: Path) -> None:
    notebook = fresh(lesson(root))
    text = "https://a.org/home/jane/x data/MNIST ../tmp/x 1/2 </root> see a/home/b/c"
    notebook.cells[4].outputs.append(new_output("stream", name="stdout", text=text))
    assert normalise.local_paths(notebook) == []


# --- the source hash --------------------------------------------------------------------------------------------


def test_the_hash_follows_sources_types_and_tags_and_nothing_else(root: Path) -> None:
    notebook = lesson(root)
    known = normalise.source_hash(notebook)
    notebook.cells[4].outputs, notebook.cells[4].metadata["id"] = [], "x"
    assert normalise.source_hash(notebook) == known
    for change in (
        lambda n: n.cells[4].update(source="plot(2)"),
        lambda n: n.cells[4].metadata.update(tags=["colab"]),
        lambda n: n.cells[0].update(cell_type="raw"),
        lambda n: n.cells.append(n.cells.pop(0)),
    ):
        changed = copy.deepcopy(notebook)
        change(changed)
        assert normalise.source_hash(changed) != known


def test_a_changed_cell_makes_the_hash_stale(root: Path) -> None:
    path = root / "notebooks" / "01_one.ipynb"
    assert hygiene.hygiene_problems(path, root) == []
    path.write_text(path.read_text().replace("plot()", "plot(1)"))
    assert hygiene.hygiene_problems(path, root) == ["its cells changed after its outputs were made (stale hash)"]


# --- hygiene ----------------------------------------------------------------------------------------------------


def test_a_big_notebook_is_refused(root: Path) -> None:
    assert "1.00 MB" in problems(root, lambda n: n.cells[4].outputs[0].data.update({"image/png": "A" * 1_000_000}))


def test_a_figure_without_alt_text_is_named(root: Path) -> None:
    found = problems(root, lambda n: n.cells[4].outputs[0].update(metadata={}))
    assert found == "code cell 4 shows a figure without alt text"
    assert "cell 1 shows a picture" in problems(
        root, lambda n: n.cells[0].update(source=n.cells[0].source + "![](a.png)")
    )


def test_an_exercise_without_a_card_is_named(root: Path) -> None:
    assert problems(root, lambda n: n.cells[5].update(source=CARD.replace("2 points", "some points"))) == (
        "the card of exercise step does not say *N minutes · N points*"
    )
    assert "exercise step has no card" in problems(root, lambda n: n.cells.pop(5))


@pytest.mark.parametrize("number, fits", [("1a.1", True), ("1a.12", True), ("1.1", False), ("1b.1", False)])
def test_the_card_of_a_detour_bears_the_number_of_the_detour(number: str, fits: bool, root: Path) -> None:
    notebook = lesson(root, "01a_detour.ipynb")
    notebook.cells[5].source = CARD.replace("1.1", number)
    path = root / "notebooks" / "01a_detour.ipynb"
    ipynb.write(fresh(notebook), path)
    complaint = f"the card of exercise step has a number of lesson {number[:-2]}; this is lesson 01a"
    assert hygiene.hygiene_problems(path, root) == ([] if fits else [complaint])


@pytest.mark.parametrize(
    "place, words", [(0, "Colab badge"), (1, "`colab` cell"), (2, "`parameters` cell"), (3, "start the session")]
)
def test_first_cells_that_differ_are_named(place: int, words: str, root: Path) -> None:
    assert words in problems(root, lambda n: n.cells[place].update(source="# other"))


def test_a_cell_that_was_not_run_is_named(root: Path) -> None:
    assert "code cell 5 has not been run" in problems(root, lambda n: n.cells[6].update(execution_count=None))


# --- solving ----------------------------------------------------------------------------------------------------


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exercise called `step`, without importing the engine (and torch)."""

    def definition(name: str) -> Any:
        if name != "step":
            raise KeyError(f"there is no exercise called {name!r}; there are: step")
        return types.SimpleNamespace(source=lambda: 'def step(x):\n    """Double."""\n    return 2 * x\n')

    define = types.ModuleType("course_utils.exercises.catalogue")
    define.definition = definition  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "course_utils.exercises", types.ModuleType("course_utils.exercises"))
    monkeypatch.setitem(sys.modules, "course_utils.exercises.catalogue", define)


def test_solving_replaces_the_function_and_keeps_the_decorator_and_the_rest(root: Path, reference: None) -> None:
    notebook = lesson(root)
    notebook.cells[6].source = f"# before\nk = 1\n{STUB}  # inside\n\nafter = step(k)"
    solved = solve.solve(notebook)
    expected = '# before\nk = 1\n@exercise\ndef step(x):\n    """Double."""\n    return 2 * x\n\nafter = step(k)'
    assert solved.cells[6].source == expected
    assert [c.source for c in solved.cells[:6]] == [c.source for c in notebook.cells[:6]]
    assert all(c.outputs == [] and c.execution_count is None for c in ipynb.code_cells(solved))
    assert solved.metadata["course"] == {"solved": ["step"]}
    assert notebook.cells[6].outputs == [] and "NotImplementedError" in notebook.cells[6].source


def test_an_undefined_exercise_or_none_at_all_is_a_clear_error(root: Path, reference: None) -> None:
    notebook = lesson(root)
    notebook.cells[6].source = STUB.replace("step", "leap")
    with pytest.raises(CourseError, match="no exercise called 'leap'"):
        solve.solve(notebook)
    notebook.cells.pop(6)
    with pytest.raises(CourseError, match="has no exercise"):
        solve.solve(notebook)


def test_an_exercise_cell_that_is_not_python_is_a_clear_error(root: Path, reference: None) -> None:
    notebook = lesson(root)
    notebook.cells[6].source = "@exercise\ndef step(x:"
    with pytest.raises(CourseError, match="not valid Python"):
        solve.solve(notebook)


# --- the repository's address -----------------------------------------------------------------------------------


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
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if installed else None)
    monkeypatch.setattr("subprocess.run", lambda command, check: commands.append(command))
    if on_colab:
        monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    exec(compile(colab.colab_cell(root), "cell", "exec"), {})
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


# --- files ------------------------------------------------------------------------------------------------------


def test_a_working_copy_never_overwrites_one(root: Path) -> None:
    (found,) = find.lessons(root)
    first = find.working_copy(found, root)
    first.write_text("my answers")
    second, third = (find.working_copy(found, root) for _ in range(2))
    assert first.read_text() == "my answers"
    assert [path.name for path in (first, second, third)] == ["01_one.ipynb", "01_one-2.ipynb", "01_one-3.ipynb"]
    assert second.read_bytes() == found.path.read_bytes()


def test_a_failed_write_leaves_the_old_file_and_no_litter(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    before = (root / "README.md").read_text()
    with pytest.raises(OSError, match="disk full"):
        files.write_text("new", root / "README.md")
    assert (root / "README.md").read_text() == before
    assert not list(root.glob(".README*"))


def test_an_old_notebook_without_ids_is_read(root: Path) -> None:
    path = root / "notebooks" / "02_two.ipynb"
    notebook = nbformat.v4.new_notebook(cells=[new_code_cell("1"), new_code_cell("1")])
    for cell in notebook.cells:
        del cell["id"]
    notebook["nbformat_minor"] = 4
    path.write_text(nbformat.writes(notebook, version=nbformat.NO_CONVERT))
    ids = [[cell.id for cell in ipynb.read(path).cells] for _ in range(2)]
    assert ids[0] == ids[1] and ids[0][0] != ids[0][1]
