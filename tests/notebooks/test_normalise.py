"""What runs leave in a notebook is removed, and its hash follows what was written."""

import copy
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_output
from specimen import fresh, lesson

from course_utils.notebooks import ipynb, normalise


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
