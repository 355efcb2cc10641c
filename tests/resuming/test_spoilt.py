"""A training that diverged says what to run next; and when everything was lost before it began, it does not blame the rate."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from interrupted import Interrupts, Notebook
from torch import nn

from course_utils import training
from course_utils.resuming import spoilt

IMPORTS = "import torch\nfrom torch import nn\nfrom course_utils import training\nrows = torch.ones(8, 2)"
MODEL = "model = nn.Linear(2, 1)"
OPTIMIZER = "optimizer = torch.optim.SGD(model.parameters(), lr=rate)"
LOOP = """
run = training.steps(range(40), 40, "fit"{keep})
for step, _ in run:
    loss = model(rows).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    run.log(loss=loss)
"""
KEEP = ', keep={"model": model, "optimizer": optimizer}'


def diverged(notebook: Notebook, cell: str) -> str:
    with pytest.raises(training.Diverged) as caught:
        notebook.run(cell)
    return str(caught.value)


@pytest.mark.parametrize("keep", ["", KEEP], ids=["nothing kept", "kept"])
def test_the_advice_can_be_followed_and_helps(keep: str) -> None:
    loop, torch_seeded = LOOP.format(keep=keep), "torch.manual_seed(0)\n" + MODEL
    notebook = Notebook()
    for cell in (IMPORTS, torch_seeded, "rate = 1e9", OPTIMIZER):
        notebook.run(cell)
    first = diverged(notebook, loop)
    assert "(it was " in first and "Lower the learning rate" in first
    made = (
        "cells again that make `model` and `optimizer` (In [2], [4])"
        if keep
        else "cell again that makes `model` (In [2])"
    )
    assert first.endswith(f"; then run the {made}, then this one.")
    notebook.run("rate = 0.01")
    notebook.run(OPTIMIZER)
    second = diverged(notebook, loop)  # half of the advice: the weights are what they were
    assert "at step 0 (from the start). Before the first step already, model.weight held " in second
    assert ": no learning rate helps now; then run the cell" in second and "Lower" not in second
    assert "(In [2]" in second
    notebook.run(torch_seeded)
    notebook.run(OPTIMIZER)
    notebook.run(loop)
    assert notebook.names["run"].history["loss"][-1] < 0.1


def test_what_the_loops_own_cell_makes_need_not_be_made_elsewhere() -> None:
    notebook = Notebook(rate=1e9)
    notebook.run(IMPORTS)
    said = diverged(notebook, f"{MODEL}\n{OPTIMIZER}\n" + LOOP.format(keep=KEEP))
    assert said.endswith("or the logarithm of zero.")


def test_a_loop_in_a_function_names_the_cells_of_the_notebook() -> None:
    notebook = Notebook(rate=1e9)
    for cell in (IMPORTS, MODEL):
        notebook.run(cell)
    indented = "\n".join(f"    {line}" for line in LOOP.format(keep=KEEP).splitlines())
    notebook.run(f"def train(model):\n    {OPTIMIZER}\n{indented}")
    assert diverged(notebook, "train(model)").endswith(
        "; then run the cell again that makes `model` (In [2]), then this one."
    )


def test_the_cell_that_only_moves_a_thing_is_not_the_one_that_makes_it() -> None:
    notebook = Notebook(rate=1e9)
    for cell in (IMPORTS, MODEL, "model = model.to('cpu')", "%not python", "print(model)", OPTIMIZER):
        if not cell.startswith("%"):
            notebook.run(cell)
        else:
            notebook.names["In"].append(cell)
    assert "makes `model` (In [2])" in diverged(notebook, LOOP.format(keep=""))


def test_outside_a_notebook_the_names_are_given() -> None:
    notebook = Notebook(rate=1e9)
    for cell in (IMPORTS, MODEL, OPTIMIZER):
        notebook.run(cell)
    loop = LOOP.format(keep=KEEP)
    notebook.names = {name: value for name, value in notebook.names.items() if name != "In"}
    with pytest.raises(training.Diverged, match=r"zero; then make `model` and `optimizer` anew\.$"):
        exec(compile(loop, "script.py", "exec"), notebook.names)


def test_a_checkpoint_that_is_spoilt_is_named(tmp_path: Path) -> None:
    path, weight, interrupt = tmp_path / "run.pt", torch.zeros(2), Interrupts(7)

    def train() -> None:
        run = training.steps(range(9), 9, "rare", keep={"weight": weight}, checkpoint=path, every=-1)
        for step, _ in run:
            if step == 5:
                weight.fill_(math.nan)  # and nobody logs it yet
            interrupt(step)
            if step % 4 == 3:
                run.log(size=weight.sum())

    with pytest.raises(KeyboardInterrupt):
        train()
    with pytest.raises(training.Diverged) as caught:
        train()
    said = str(caught.value)
    assert f"In the checkpoint already, weight held NaN: no learning rate helps now; delete {path}" in said


def test_a_rate_that_is_too_high_is_blamed_though_something_unbounded_is_kept() -> None:
    best, losses = torch.tensor(math.inf), iter([1.0, 2.0, math.nan])
    run = training.steps(losses, 3, "best", keep={"best": best})
    with pytest.raises(training.Diverged, match=r"it was 2 before\)\. Lower the learning rate"):
        for _, loss in run:
            run.log(loss=loss)


NETWORK = nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"a": torch.ones(3), "b": [torch.tensor([1.0, math.nan])]}, "b.0 held NaN"),
        ({"a": torch.tensor(-math.inf)}, "a held infinity"),
        ({"a": torch.tensor([math.inf, math.nan])}, "a held NaN"),
        ({"a": torch.tensor([1e20, 1.0], dtype=torch.bfloat16)}, "a held numbers up to 1e+20"),
        ({name: torch.tensor(math.nan) for name in "abcd"}, "a held NaN and b held NaN (and 2 more like it)"),
        ({"step": torch.tensor(10**17), "text": "nan", "rate": math.nan, "none": torch.ones(0)}, ""),
        (NETWORK.state_dict(), ""),
    ],
)
def test_which_tensors_hold_nothing_useful(state: Any, said: str) -> None:
    assert spoilt.places(state) == said


@pytest.mark.parametrize("make", [dict, lambda: {"model": NETWORK}])
def test_a_run_that_goes_well_is_not_disturbed(make: Callable[[], Any]) -> None:
    run = training.steps(range(3), 3, "well", keep=make())
    for step, _ in run:
        run.log(loss=step)
    assert run.history["loss"] == [0, 1, 2]
