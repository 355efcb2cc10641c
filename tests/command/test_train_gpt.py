"""`course train-gpt`: several processes learn what one learns, a killed run goes on, bad input is refused early."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from course_utils import data, gpt
from course_utils.command.cli import app
from course_utils.command.train_gpt import Settings, launch
from course_utils.errors import CourseError

STEPS = 12


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_DEVICE", "cpu")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "verse.txt"
    path.write_text(data.verse(20_000).text, encoding="utf-8")
    return path


def settings(corpus: Path, out: Path, seed: int = 0) -> Settings:
    return Settings("smoke", corpus, STEPS, out, seed, precision="fp32", save_every=0.0)


def curve(out: Path) -> torch.Tensor:
    """The losses (steps,) float64 of a run."""
    with open(out / "loss.csv", encoding="utf-8", newline="") as file:
        return torch.tensor([float(row["loss"]) for row in csv.DictReader(file)], dtype=torch.float64)


@pytest.fixture(scope="module")
def alone(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone")
    launch(settings(corpus, out), processes=1)
    return out


def test_two_processes_follow_the_curve_of_one(
    corpus: Path, alone: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert gpt.RECIPES["smoke"].dropout == 0, "with dropout the processes draw other masks than one"
    launch(settings(corpus, tmp_path), processes=2)
    assert capfd.readouterr().out.count("validation loss") == 1, "only one process speaks"
    one, two = curve(alone), curve(tmp_path)
    assert one.shape == (STEPS,)
    torch.testing.assert_close(two, one, rtol=0, atol=2e-4)
    assert one[0] - one[-1] > 0.1, "the loss hardly moved: equal curves would prove little"


def test_another_seed_gives_another_curve(corpus: Path, alone: Path, tmp_path: Path) -> None:
    launch(settings(corpus, tmp_path, seed=1), processes=1)
    assert (curve(tmp_path) - curve(alone)).abs().max() > 1e-2


def test_a_killed_run_goes_on_and_ends_with_the_same_curve_and_weights(
    corpus: Path, alone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = settings(corpus, tmp_path)
    command = [sys.executable, "-m", "course_utils", "train-gpt", *run.arguments()]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    checkpoint, deadline = run.checkpoint(STEPS), time.monotonic() + 120
    while not (checkpoint.exists() and torch.load(checkpoint, weights_only=True)["done"] >= 2):
        assert started.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    started.send_signal(signal.SIGKILL)
    started.communicate()
    launch(run, processes=1)
    assert "going on from step" in capsys.readouterr().out
    assert not checkpoint.exists()
    assert torch.equal(curve(tmp_path), curve(alone))
    ours, theirs = (torch.load(out / "weights.pt", weights_only=True) for out in (tmp_path, alone))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "0 bytes|empty"), (b"caf\xe9 " * 1000, "UTF-8"), (None, "missing.txt")]
)
def test_a_corpus_that_cannot_be_read_is_refused(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "missing.txt"
    if content is not None:
        path.write_bytes(content)
    for processes in (1, 2):
        with pytest.raises(CourseError, match=message):
            launch(settings(path, tmp_path / "out"), processes)
    assert not (tmp_path / "out").exists()


def test_a_batch_that_cannot_be_shared_is_refused_before_anything_starts(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--profile=smoke", f"--corpus={corpus}", f"--out={out}", "--processes=7"]
    done = CliRunner().invoke(app, ["train-gpt", *options])
    assert done.exit_code == 2
    assert "cannot be shared equally by 7 processes" in done.output
    assert not out.exists()


def test_a_directory_that_cannot_be_written_is_refused_before_anything_starts(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(app, ["train-gpt", "--profile=smoke", f"--corpus={corpus}", f"--out={tmp_path}/file/out"])
    assert done.exit_code == 2
    assert "file/out: Not a directory" in done.output


def test_a_process_that_fails_is_reported(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(CourseError, match=r"a process failed \(exit code 1\)"):
        launch(settings(corpus, tmp_path), processes=2)


def test_a_text_of_many_characters_gets_no_table_of_pairs(tmp_path: Path) -> None:
    path = tmp_path / "many.txt"
    path.write_text("".join(map(chr, range(0x4E00, 0x4E00 + 2000))), encoding="utf-8")
    many, few = Settings("smoke", path), Settings("smoke")
    assert not many.recipe(many.text()).bigram
    assert few.recipe(data.verse(1000)).bigram


def test_settings_survive_the_way_to_another_process() -> None:
    run = Settings("smoke", Path("a b.txt"), None, Path("o"), 3, "bf16", 0.5)
    given = dict(argument.removeprefix("--").split("=", 1) for argument in run.arguments())
    assert given == {
        "profile": "smoke",
        "corpus": "a b.txt",
        "out": "o",
        "seed": "3",
        "precision": "bf16",
        "save-every": "0.5",
    }
    assert "steps" not in given and os.environ.get("RANK") is None
