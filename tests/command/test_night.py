"""Profile night: killed at any moment it goes on to the same numbers; `course night` tells how far everything is."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_utils import runtime
from course_utils.command import night
from course_utils.command.night import Headline, Training
from course_utils.errors import CourseError
from course_utils.notebooks import ipynb
from course_utils.notebooks.find import Lesson

PROJECT = '[project]\nname = "generative-networks-course"\nrequires-python = ">=3.11"\n'
START = """
import time
import torch
from course_utils import runtime, training
session = runtime.start(PROFILE, seed=0)
chance = torch.Generator().manual_seed(0)
"""
FIT = """
def fit(title, checkpoint, steps):
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    keep = {"net": net, "optimizer": optimizer, "chance": chance}
    run = training.steps(training.batches(torch.ones(8, 3), size=4), steps, title, keep, checkpoint, every=-1)
    for step, (x,) in run:
        loss = (net(x + torch.randn(x.shape, generator=chance)) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        time.sleep(0.01)
        run.log(loss=loss)
    return net.weight.detach().square().sum(), run.history
"""
FIRST = """
steps = session.choose(smoke=1, cpu=2, gpu=3, night=150)
value, history = fit("First", "00-first", steps)
session.report("first", value, "nats", core_seconds=history.core_seconds)
"""
SECOND = FIRST.replace("First", "Second").replace("first", "second")
BESIDE = "raise AssertionError('no headline needs this')"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a lesson that has two trainings for the night and one that has none, and the directory in it."""
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    for name, cells in {"00_zero": [START, FIT, FIRST, BESIDE, SECOND], "01_one": ["1"]}.items():
        notebook = new_notebook(cells=[new_markdown_cell(f"# {name}"), new_code_cell('PROFILE = "auto"')])
        notebook.cells[1].metadata["tags"] = ["parameters"]
        notebook.cells += map(new_code_cell, cells)
        ipynb.write(notebook, tmp_path / "notebooks" / f"{name}.ipynb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COURSE_DEVICE", "cpu")
    return tmp_path


def start(root: Path, cache: str = "cache") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "course_utils", "run", "0", "--profile", "night", "--record", "--no-html"]
    environment = os.environ | {"COURSE_CACHE": str(root / cache), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True)


def recorded(root: Path) -> dict[str, Any]:
    path = root / "results" / "night-cpu.json"
    return {entry["name"]: entry for entry in json.loads(path.read_text())["results"]} if path.exists() else {}


def lesson_00(root: Path) -> list[Lesson]:
    return night.night_lessons(["0"], root)


def steps_done() -> int:
    """Of both trainings together, as their checkpoints tell it."""
    return sum(night.training(name, "night").done for name in ("00-first", "00-second"))


def wait_until(true: Any, seconds: float = 900) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.long
def test_a_night_that_is_killed_again_and_again_ends_with_the_numbers_of_one_that_is_not(root: Path) -> None:
    for at in (1, 100, 200):  # in the first training's first steps, in its middle, and in the second training
        process = start(root)
        try:
            wait_until(lambda at=at: steps_done() >= at)
            kernels = psutil.Process(process.pid).children(recursive=True)
            assert kernels
        finally:
            process.kill()
            process.wait()
        wait_until(lambda kernels=kernels: not any(kernel.is_running() for kernel in kernels))  # none goes on unseen
        assert steps_done() < 300
    assert recorded(root)["first"]["unfinished"], "recorded as it came"
    assert "second" not in recorded(root)
    output, _ = start(root).communicate()
    assert "1 of 1 lessons passed" in output
    ended = recorded(root)
    (root / "results" / "night-cpu.json").unlink()
    assert start(root, cache="another").wait() == 0
    straight = recorded(root)
    assert [entry["value"] for entry in ended.values()] == [entry["value"] for entry in straight.values()]
    assert all("unfinished" not in entry and entry["core_hours"] > 0 for entry in ended.values())


def test_a_lesson_is_trained_by_one_process_at_a_time(root: Path) -> None:
    with night.alone(lesson_00(root), "night"):
        assert night.headlines(lesson_00(root), root)[0].running
        with pytest.raises(CourseError, match="lesson 00 is being run in profile night by another process"):
            with night.alone(lesson_00(root), "night"):
                raise AssertionError
        with night.alone(lesson_00(root), "gpu"):  # whose checkpoints are others
            pass
    assert not night.headlines(lesson_00(root), root)[0].running


def test_only_lessons_with_a_size_for_the_night_are_run(root: Path) -> None:
    assert [lesson.number for lesson in night.night_lessons([], root)] == ["00"]
    with pytest.raises(CourseError, match="lesson 01 has nothing to train for a night; there is: 00"):
        night.night_lessons(["1"], root)


def test_what_is_not_begun_is_left_and_its_command_told(root: Path) -> None:
    lines = night.told(night.headlines(lesson_00(root), root))
    assert lines[1:] == [
        "    00-first: left",
        "    00-second: left",
        "    → course run 00 --profile night --record",
        "0 of 2 trainings are done.",
    ]


def test_a_checkpoint_that_cannot_be_read_counts_as_none(root: Path) -> None:
    path = root / "cache" / "checkpoints" / "night" / "00-first.pt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half")
    assert night.headlines(lesson_00(root), root)[0].trainings[0] == Training("00-first")


ENTRY = {"name": "price", "value": 80.6543, "unit": "nats", "goal": "<= 79.9", "met": False, "core_hours": 3.9}


def lines_of(training: Training, running: bool, *entries: dict[str, Any]) -> list[str]:
    return night.told([Headline(Lesson("00", Path("00_zero.ipynb")), [training], list(entries), running)])[1:]


def test_a_training_says_how_far_it_is_and_what_is_left_at_its_latest_pace() -> None:
    half = Training("00-first", 500, 2000, 3600.0, 4.0, time.time() - 7)
    (line, last) = lines_of(half, True)
    assert line == (
        "    00-first: running, step 500 of 2,000 (25%) after 1.00 core-hours, about 1 h 40 min left at its latest pace; "
        "saved 7 s ago"
    )
    assert last == "0 of 1 trainings are done."
    assert "interrupted, step 500" in lines_of(half, False)[0]
    assert "its pace not known yet" in lines_of(Training("00-first", 0, 2000), True)[0]
    assert (
        lines_of(Training("00-first", 2000, 2000, 7200.0), False)[0]
        == "    00-first: trained, 2,000 steps in 2.00 core-hours"
    )


def test_what_is_recorded_is_told_with_its_goal_and_its_cost() -> None:
    done = Training("00-first", 2000, 2000, 7200.0)
    assert "    ✔ price: 80.65 nats after 3.9 core-hours, goal <= 79.9 missed" in lines_of(done, False, ENTRY)


def test_without_a_gpu_nothing_is_run_on_one(root: Path) -> None:
    with pytest.raises(CourseError, match="there is no GPU here"):
        night.left_on_gpu(lesson_00(root), root)


@pytest.mark.parametrize(("entry", "left"), [({}, False), ({"commit": "old"}, True), ({"unfinished": True}, True)])
def test_on_a_gpu_what_is_recorded_at_this_commit_is_not_run_again(
    entry: dict[str, Any], left: bool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "pick_device", lambda: torch.device("cuda"))
    whole = ENTRY | {"lesson": "00", "seconds": 1.0, "peak_gb": 1.0, "commit": None} | entry
    where = {"machine": {"cpu": "", "cores": 1, "memory_gb": 1}, "versions": {"torch": "3"}}
    (root / "results").mkdir()
    (root / "results" / "gpu-cuda.json").write_text(json.dumps(where | {"results": [whole]}))
    assert bool(night.left_on_gpu(lesson_00(root), root)) == left


def test_on_a_gpu_the_lesson_with_the_least_work_is_the_first(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "pick_device", lambda: torch.device("cuda"))
    text = (root / "notebooks" / "00_zero.ipynb").read_text()
    for number in ("05", "08", "09", "11"):
        (root / "notebooks" / f"{number}_x.ipynb").write_text(text)
    found = night.left_on_gpu(night.night_lessons([], root), root)
    assert [lesson.number for lesson in found] == ["09", "05", "08", "00", "11"]
