"""What makes a notebook unfit to be committed is named."""

from pathlib import Path

import pytest
from specimen import CARD, fresh, lesson, problems

from course_utils.notebooks import hygiene, ipynb


def test_a_changed_cell_makes_the_hash_stale(root: Path) -> None:
    path = root / "notebooks" / "01_one.ipynb"
    assert hygiene.hygiene_problems(path, root) == []
    path.write_text(path.read_text().replace("plot()", "plot(1)"))
    assert hygiene.hygiene_problems(path, root) == ["its cells changed after its outputs were made (stale hash)"]


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
