"""`course train-gpt`: several processes learn what one learns, a killed run goes on, bad input is refused early."""

import csv
import dataclasses
import errno
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from course_utils import data, evaluate, files, gpt, training
from course_utils.command.cli import app
from course_utils.command.train_gpt import Group, Settings, launch, load
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


def test_trained_weights_are_loaded_and_write_on(corpus: Path, alone: Path, tmp_path: Path) -> None:
    model, text = load(settings(corpus, alone))
    prompt, generator = text.encode(text.text[:5])[None], torch.Generator().manual_seed(0)
    written = text.decode(gpt.generate(model, prompt, 20, generator)[0])
    assert written.startswith(text.text[:5]) and len(written) >= 20
    assert evaluate.text_loss(model, text.validation, 32) < math.log(len(text.vocabulary)) - 0.1
    with pytest.raises(CourseError, match=r"there is no .*weights\.pt"):
        load(settings(corpus, tmp_path))
    with pytest.raises(CourseError, match="another profile or another text"):
        load(dataclasses.replace(settings(corpus, alone), profile="cpu"))


def test_another_seed_gives_another_curve(corpus: Path, alone: Path, tmp_path: Path) -> None:
    launch(settings(corpus, tmp_path, seed=1), processes=1)
    assert (curve(tmp_path) - curve(alone)).abs().max() > 1e-2


def started(run: Settings, processes: int = 1, **environment: str) -> "subprocess.Popen[str]":
    """`course train-gpt` in processes of its own, as in a terminal of its own; its output is one text."""
    command = [sys.executable, "-m", "course_utils", "train-gpt", *run.arguments(), f"--processes={processes}"]
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=os.environ | environment, start_new_session=True, **streams)


def wait_for_steps(process: "subprocess.Popen[str]", checkpoint: Path) -> None:
    """Wait until a checkpoint holds two steps or more."""
    deadline = time.monotonic() + 300
    while not (checkpoint.exists() and torch.load(checkpoint, weights_only=True)["done"] >= 2):
        assert process.poll() is None, "the run ended too soon"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def same_result(out: Path, other: Path) -> bool:
    ours, theirs = (torch.load(folder / "weights.pt", weights_only=True) for folder in (out, other))
    return torch.equal(curve(out), curve(other)) and all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_killed_run_goes_on_and_ends_with_the_same_curve_and_weights(
    corpus: Path, alone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = settings(corpus, tmp_path)
    process = started(run)
    wait_for_steps(process, run.checkpoint(STEPS))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    launch(run, processes=1)
    assert "going on from step" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loss.csv", "weights.pt"]
    assert same_result(tmp_path, alone)


LONG = 400


@pytest.fixture(scope="module")
def long_run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """By the number of processes: the results of undisturbed runs of `LONG` steps."""
    outs = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_DEVICE", "cpu")
        patch.setenv("OMP_NUM_THREADS", "1")
        for processes in (1, 2):
            outs[processes] = tmp_path_factory.mktemp("long")
            launch(Settings("smoke", corpus, LONG, outs[processes], precision="fp32"), processes)
    return outs


@pytest.mark.parametrize("processes", [1, 2])
def test_ctrl_c_ends_the_step_saves_it_and_says_how_to_go_on(
    processes: int, corpus: Path, long_run: dict[int, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = Settings("smoke", corpus, LONG, tmp_path, precision="fp32", save_every=0.5)
    process = started(run, processes)
    wait_for_steps(process, run.checkpoint(LONG))
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does: to all that it has started
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    stopped = re.search(rf"stopped after step (\d+) of {LONG}, and saved in (.*): started again, it goes on from", said)
    assert stopped and stopped[2] == str(run.checkpoint(LONG)) and said.rstrip().endswith("Interrupted.")
    assert torch.load(run.checkpoint(LONG), weights_only=True)["done"] == int(stopped[1])
    assert "Traceback" not in said and "death signal" not in said and "a process failed" not in said
    launch(run, processes)
    assert f"going on from step {stopped[1]} of {LONG}" in capfd.readouterr().out
    assert same_result(tmp_path, long_run[processes])


def test_processes_that_are_not_at_the_same_step_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    group, loss = Group(0, 2, torch.device("cpu")), torch.tensor(1.5)
    others = {"loss": 2.5, "stop": 0.0, "step": 7.0}
    monkeypatch.setattr("torch.distributed.all_reduce", lambda told: told.add_(torch.tensor(list(others.values()))))
    assert group.agree(7, loss, stop=False) == (torch.tensor(2.0), False)
    assert group.agree(7, loss, stop=True)[1] is True
    others["stop"] = 1.0
    assert group.agree(7, loss, stop=False)[1] is True
    with pytest.raises(CourseError, match=r"not at the same step \(8 here\).*a directory that all machines share"):
        group.agree(8, loss, stop=False)


def test_another_number_of_steps_leaves_the_unfinished_run_and_says_why(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = settings(corpus, tmp_path)
    unfinished = run.checkpoint(40)
    unfinished.write_bytes(b"40 steps")
    launch(run, processes=1)
    said = capsys.readouterr().out
    assert said.startswith(
        f"This run of {STEPS} steps starts from step 0. unfinished-smoke-40.pt stays, and goes on with --steps 40: the "
        "learning rate falls over the last 60 % of a run, so that another number of steps is another training."
    )
    assert unfinished.read_bytes() == b"40 steps" and not run.checkpoint(STEPS).exists()
    launch(settings(corpus, tmp_path / "elsewhere"), processes=1)
    assert "stays" not in capsys.readouterr().out


def test_another_precision_starts_anew_and_says_so(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(run: training.Steps) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training.Steps, "_end", stopped)
        launch(settings(corpus, tmp_path), processes=1)
    launch(dataclasses.replace(settings(corpus, tmp_path), precision="bf16"), processes=1)
    assert "the code or the settings have changed since the checkpoint; starting from step 0" in capsys.readouterr().out


def test_a_result_that_cannot_be_written_is_not_lost(
    corpus: Path, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, replacing = settings(corpus, tmp_path), files.replacing

    def full(path: Path, *arguments: Any) -> Any:
        if path.name == "weights.pt":
            raise OSError(errno.ENOSPC, "No space left on device")
        return replacing(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(files, "replacing", full)
        with pytest.raises(
            CourseError, match=r"result is not written: the disk of .* is full: 0\.\d MB are needed"
        ) as caught:
            launch(run, processes=1)
    assert f"Make room. Then start the same command again: it goes on from {run.checkpoint(STEPS)}." in str(
        caught.value
    )
    launch(run, processes=1)
    assert "was finished before" in capsys.readouterr().out
    assert same_result(tmp_path, alone) and not run.checkpoint(STEPS).exists()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_device_that_is_not_there_is_one_line(
    processes: int, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_DEVICE", "tpu")
    options = ["--profile=smoke", f"--corpus={corpus}", f"--out={tmp_path}/out", f"--processes={processes}"]
    done = CliRunner().invoke(app, ["train-gpt", *options])
    assert done.exit_code == 2 and "Traceback" not in done.output
    assert done.output.startswith("Error: COURSE_DEVICE is 'tpu', which is not on this machine; there is: cpu")
    assert not (tmp_path / "out").exists()


def test_a_sample_is_printed_whatever_the_encoding(tmp_path: Path) -> None:
    path = tmp_path / "smile.txt"
    path.write_text(
        "Gr\N{LATIN SMALL LETTER U WITH DIAERESIS}\N{SMILING FACE WITH SMILING EYES} \N{CJK UNIFIED IDEOGRAPH-4E2D} "
        * 300,
        "utf-8",
    )
    process = started(settings(path, tmp_path / "out"), PYTHONIOENCODING="ascii")
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "validation loss" in said and "?" in said and "Traceback" not in said


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


def test_a_directory_that_takes_no_files_is_refused_before_anything_starts(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    with pytest.raises(CourseError, match=r"cannot be written \(Read-only file system\): give another .* with --out"):
        launch(settings(corpus, tmp_path), processes=1)


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
