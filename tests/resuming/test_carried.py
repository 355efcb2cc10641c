"""What a loop changes and does not keep is said when a run goes on; what it does not change, or what is kept, is not."""

import ast
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from interrupted import Interrupts, Notebook
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from course_utils import training
from course_utils.resuming import carried

NOTEBOOKS = sorted(Path(__file__).parents[2].glob("notebooks/*.ipynb"))

MADE = """
torch.manual_seed(0)
x = torch.ones(4, 3)
net = nn.Linear(3, 1)
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
{made}
"""
LOOP = """
run = training.steps({batches}, 12, "cell", keep={{"net": net, "optimizer": optimizer{kept}}}, checkpoint=path, every=-1)
for step, batch in run:
    loss = net(x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    interrupt(step)
    optimizer.step()
    {body}
    run.log(loss=loss)
"""


def said_on_going_on(
    path: Path, capsys: pytest.CaptureFixture[str], fresh: bool, made: str = "", body: str = "pass", kept: str = ""
) -> str:
    """What is printed when a loop goes on that was interrupted: in the same process, or with the first cell run again."""
    loop = LOOP.format(body=body, kept=kept, batches="range(12)")
    notebook = Notebook(training=training, torch=torch, nn=nn, path=path, interrupt=Interrupts(7), carried=carried)
    notebook.names |= {"CosineAnnealingLR": CosineAnnealingLR, "session": SimpleNamespace(generator=torch.Generator())}
    notebook.run(MADE.format(made=made))
    with pytest.raises(KeyboardInterrupt):
        notebook.run(loop)
    if fresh:
        notebook.run(MADE.format(made=made))
        training._LEFT.clear()
    capsys.readouterr()
    notebook.run(loop)
    said = capsys.readouterr().out
    assert "cell: going on from step 7 of 12" in said
    return said


@pytest.mark.parametrize("fresh", [False, True], ids=["same process", "fresh"])
@pytest.mark.parametrize(
    ("name", "made", "body"),
    [
        ("schedule", "schedule = CosineAnnealingLR(optimizer, 12)", "schedule.step()"),
        ("average", "average = torch.zeros(3)", "average.mul_(0.9).add_(0.1 * net.weight.detach()[0])"),
        ("average", "average = torch.zeros(3)", "average += net.weight.detach()[0]"),
        ("average", "average = torch.zeros(3)", "average = 0.9 * average + 0.1 * net.weight.detach()[0]"),
        ("beta", "beta = 0.0", "beta = min(1.0, beta + 0.1)"),
        ("beta", "beta = 0.0", "beta += 0.1"),
        ("net", "", "net = net.to(torch.float32)"),
        ("best", "best = 9.0", "if loss < best:\n        best = loss.item()"),
        ("other", "other = nn.BatchNorm1d(3)", "other(x)"),
        ("moments", "moments = {'w': torch.zeros(1, 3)}", "moments['w'] = moments['w'] + net.weight.detach()"),
        ("moments", "moments = [torch.zeros(1, 3)]", "moments[0] += net.weight.detach()"),
        (
            "another",
            "another = torch.optim.Adam([net.bias], lr=0.1)",
            "net(x).sum().backward()\n    another.step()",
        ),
    ],
)
def test_what_the_loop_changes_and_does_not_keep_is_named(
    name: str, made: str, body: str, fresh: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = said_on_going_on(tmp_path / "run.pt", capsys, fresh, made, body)
    assert f"cell: the loop changes `{name}`, which `keep` lacks: the result may differ" in said


@pytest.mark.parametrize("fresh", [False, True], ids=["same process", "fresh"])
@pytest.mark.parametrize(
    ("made", "body", "kept"),
    [
        ("schedule = CosineAnnealingLR(optimizer, 12)", "schedule.step()", ', "schedule": schedule'),
        ("average = torch.zeros(3)", "average += 1", ', "average": average'),
        ("moments = {'w': torch.zeros(1, 3)}", "moments['w'] += net.weight.detach()", ', "moments": moments'),
        ("", "beta = min(1.0, step / 10)\n    x_step = beta * x", ""),
        ("weight = net.weight", "weight.data.mul_(0.9)", ""),  # kept: it is a part of the network
        ("wrapped = nn.Sequential(net)", "wrapped(x)", ""),
        ("judge = nn.BatchNorm1d(3).eval()", "score = judge(x).sum()", ""),
        ("score = 0.0", "score = loss.item() if loss > 1 else 0.0", ""),
        ("noise = torch.Generator()", "torch.randn(3, generator=noise)", ""),  # put back, though it is not kept
        ("", "torch.randn(3, generator=session.generator)", ""),
        ("", "total = sum(size for value in net.parameters() if (size := value.numel()) > 1)", ""),
        ("", "f = lambda total: total + step", ""),
        ("sizes = {3: 'a'}", "def name(size):\n        return sizes[size]", ""),
        ("", "for value in net.parameters():\n        value.data.mul_(0.99)", ""),
    ],
)
def test_what_is_kept_or_made_in_each_step_is_not_named(
    made: str, body: str, kept: str, fresh: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "which `keep` lacks" not in said_on_going_on(tmp_path / "run.pt", capsys, fresh, made, body, kept)


def test_a_generator_of_the_session_goes_on_where_it_was(tmp_path: Path) -> None:
    body = "drawn.append(torch.rand((), generator=session.generator).item())"
    loop = LOOP.format(body=body, kept="", batches="range(12)")
    wanted: list[float] = []
    for interrupt in (Interrupts(), Interrupts(7)):
        notebook = Notebook(
            training=training, torch=torch, nn=nn, path=tmp_path / "a.pt", interrupt=interrupt, drawn=[]
        )
        notebook.names["session"] = SimpleNamespace(generator=torch.Generator().manual_seed(1))
        notebook.run(MADE.format(made=""))
        if interrupt.steps:
            with pytest.raises(KeyboardInterrupt):
                notebook.run(loop)
        notebook.names["session"].generator.manual_seed(1)
        notebook.run(loop)
        wanted = wanted or notebook.names["drawn"]
    assert notebook.names["drawn"] == wanted


def test_a_large_view_is_recognised_without_being_copied() -> None:
    windows = torch.arange(3_000_000.0).unfold(0, 1000, 1)  # 12 GB if it were copied
    before = carried.marks({"windows": windows})
    assert before == carried.marks({"windows": windows})
    windows[0, 0] += 1
    assert before != carried.marks({"windows": windows})


def loops(notebook: Path) -> list[ast.For]:
    """The loops over `run` of a lesson that keeps checkpoints."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    nodes = [node for source in sources if "checkpoint=" in source for node in ast.walk(ast.parse(source))]
    return [node for node in nodes if isinstance(node, ast.For) and ast.unparse(node.iter) == "run"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_no_loop_of_a_lesson_carries_a_value_on_that_it_does_not_keep(notebook: Path) -> None:
    assert [carried.rebound_in(loop) for loop in loops(notebook)] == [[] for _ in loops(notebook)]


def test_there_are_lessons_to_look_at() -> None:
    assert sum(len(loops(notebook)) for notebook in NOTEBOOKS) >= 6


def test_code_that_cannot_be_read_carries_nothing(tmp_path: Path) -> None:
    scope: dict[str, Any] = {"training": training, "w": torch.zeros(1), "path": tmp_path / "a.pt"}
    exec("for step, _ in training.steps(range(3), 3, 't', keep={'w': w}, checkpoint=path): w += 1", scope)
    assert scope["w"].item() == 3
