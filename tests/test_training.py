"""Training loops: batches, history, and checkpoints that bring back exactly what an interrupt took away."""

import dataclasses
import errno
import math
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from interrupted import Interrupts, run_cell
from torch import Tensor, nn
from torch.nn.functional import softplus

from course_utils import fingerprint, runtime, training
from course_utils.conventions import cache_dir
from course_utils.resuming import keeping

# --- batches ----------------------------------------------------------------------------------------------------


def test_batches_depend_on_seed_and_step_alone() -> None:
    rows = torch.arange(10)
    forwards = [training.batches(rows, size=3, seed=4)[step][0].tolist() for step in range(7)]
    backwards = training.batches(rows, size=3, seed=4)
    assert [backwards[step][0].tolist() for step in reversed(range(7))] == forwards[::-1]
    assert training.batches(rows, size=3, seed=5)[0][0].tolist() != forwards[0]


def test_an_epoch_visits_every_row_once_and_the_next_in_another_order() -> None:
    batches = training.batches(torch.arange(12), size=4)
    epochs = [torch.cat([batches[3 * epoch + i][0] for i in range(3)]).tolist() for epoch in (0, 1)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(12))
    assert epochs[0] != epochs[1]


def test_an_incomplete_batch_is_left_out() -> None:
    batches = training.batches(torch.arange(10), size=4)
    assert {len(batches[step][0]) for step in range(10)} == {4}
    assert batches.per_epoch == 2


def test_rows_of_several_tensors_stay_together() -> None:
    x = torch.arange(20)
    for a, b in (training.batches(x, 3 * x, size=6)[step] for step in range(6)):
        assert torch.equal(b, 3 * a)


@pytest.mark.parametrize("size", [0, -1, 11])
def test_a_batch_size_that_cannot_be_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"between 1 and the 10 rows, not {size}"):
        training.batches(torch.arange(10), size=size)


def test_tensors_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one length, got \[10, 9\]"):
        training.batches(torch.arange(10), torch.arange(9), size=2)


def test_batches_are_asked_for_by_one_step_from_0_on_or_run_through() -> None:
    batches: Any = training.batches(torch.arange(10), size=3)
    with pytest.raises(IndexError, match="at least 0, not -1"):
        batches[-1]
    with pytest.raises(TypeError, match="one step, not a slice"):
        batches[:2]
    assert not isinstance(batches, Sequence) and not hasattr(batches, "__len__")
    assert [rows.tolist() for (rows,) in islice(batches, 7)] == [batches[step][0].tolist() for step in range(7)]


def test_batches_that_end_early_are_an_error_that_says_when() -> None:
    with pytest.raises(ValueError, match="short: the batches ended after 2 of 5 steps"):
        for _ in training.steps([1, 2], 5, title="short"):
            pass


# --- history ----------------------------------------------------------------------------------------------------


def logged(values: list[Any], **named: Any) -> training.History:
    """The history of a run that logs these losses."""
    run = training.steps(values, len(values), title="run", **named)
    for _, value in run:
        run.log(loss=value)
    return run.history


def test_the_history_holds_every_logged_number_with_its_step() -> None:
    run = training.steps(range(4), 4, title="run")
    for step, value in run:
        if step % 2:
            run.log(loss=torch.tensor(value / 2, requires_grad=True))
    assert run.history["loss"] == [0.5, 1.5]
    assert run.history.steps["loss"] == [1, 3]
    assert run.history.seconds > 0


def test_smoothing_is_the_mean_over_the_window() -> None:
    smooth = logged([1.0, 2.0, 6.0, 4.0]).smooth("loss", window=2)
    assert smooth.tolist() == [1.0, 1.5, 4.0, 5.0]


@pytest.mark.parametrize("window", [0, -3])
def test_a_window_without_values_is_refused(window: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1 value, not {window}"):
        logged([1.0, 2.0]).smooth("loss", window=window)


def test_asking_for_what_was_never_logged_lists_what_was() -> None:
    with pytest.raises(KeyError, match="'accuracy' was never logged; there is: loss"):
        logged([1.0])["accuracy"]


def test_a_history_draws_itself(shown: list[Any]) -> None:
    logged([3.0, 2.0, 1.0]).plot(title="The loss falls", alt="A falling line.")
    assert len(shown) == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_divergence_names_the_value_the_step_and_what_it_was_before(bad: float) -> None:
    with pytest.raises(training.Diverged, match=rf"run: loss became {bad} at step 2 \(it was 0.25 before\)"):
        logged([0.5, 0.25, bad, 0.1])


def test_divergence_at_once_says_so() -> None:
    with pytest.raises(training.Diverged, match=r"at step 0 \(from the start\)"):
        logged([math.nan])


def test_the_summary_line_says_steps_and_last_values(capsys: pytest.CaptureFixture[str]) -> None:
    logged([0.5, 0.125])
    assert capsys.readouterr().out.startswith("run: 2 steps in ")


# --- going on after an interrupt --------------------------------------------------------------------------------

TOTAL = 30


class Student:
    """A network with dropout (global generator), Adam, a schedule, noise from a generator, a running mean kept."""

    every = -1.0  # seconds between checkpoints: one after every step

    def __init__(self, path: Path | None, seed: int = 0, lr: float = 1e-2, reuse: bool = False) -> None:
        torch.manual_seed(seed)
        self.path, self.reuse = path, reuse
        self.model = nn.Sequential(nn.Linear(5, 16), nn.Dropout(0.5), nn.Tanh(), nn.Linear(16, 1))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=lr)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, TOTAL)
        self.generator = torch.Generator().manual_seed(seed)
        self.mean = torch.zeros(())

    def train(self, interrupt: Callable[[int], None], noisy: Any = None) -> training.Steps:
        """The loop, with a checkpoint after every step."""
        keep = dict(model=self.model, optimizer=self.optimizer, schedule=self.schedule, generator=self.generator)
        data = torch.Generator().manual_seed(7)
        x, y = torch.randn(40, 5, generator=data), torch.randn(40, 1, generator=data)
        batches = training.batches(x, y, size=8) if noisy is None else noisy(self.generator)
        keep |= {"mean": [self.mean]}
        self.run = run = training.steps(
            batches, TOTAL, title="Student", keep=keep, checkpoint=self.path, every=self.every, reuse=self.reuse
        )
        for step, (x, y) in run:
            noise = 0.1 * torch.randn(x.shape, generator=self.generator)
            loss = (self.model(x + noise) - y).square().mean()
            self.optimizer.zero_grad()
            loss.backward()
            interrupt(step)  # the generators have moved on, the weights have not
            self.optimizer.step()
            self.schedule.step()
            self.mean += 0.1 * (loss.detach() - self.mean)
            run.log(loss=loss)
        return run

    def result(self, run: training.Steps) -> list[Any]:
        """Everything that must be equal, bit for bit."""
        weights = [p.detach().clone() for p in self.model.parameters()]
        moments = [s["exp_avg_sq"] for s in self.optimizer.state.values()]
        rest = [self.mean, self.generator.get_state(), torch.get_rng_state()]
        return [*weights, *moments, *rest, run.history["loss"], run.history.steps["loss"]]


def same(a: list[Any], b: list[Any]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x, y) if isinstance(x, Tensor) else x == y for x, y in zip(a, b, strict=True)
    )


@pytest.fixture(scope="module")
def uninterrupted() -> list[Any]:
    student = Student(None)
    return student.result(student.train(Interrupts()))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.pt"


@pytest.mark.parametrize("at", [[0], [1], [17], [29], [3, 4, 20]])
def test_an_interrupt_in_the_same_process_leaves_no_trace(at: list[int], path: Path, uninterrupted: list[Any]) -> None:
    student, interrupt = Student(path), Interrupts(*at)
    for _ in at:
        with pytest.raises(KeyboardInterrupt):
            student.train(interrupt)
    assert same(student.result(student.train(interrupt)), uninterrupted)
    assert list(path.parent.iterdir()) == []


def test_an_interrupt_before_the_first_regular_checkpoint_leaves_no_trace(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weight, interrupt = torch.zeros(3), Interrupts(2)

    def train() -> None:
        run = training.steps(range(5), 5, title="slow to save", keep={"weight": weight}, checkpoint=path, every=1e9)
        for step, _ in run:
            weight.add_(1)
            interrupt(step)
            run.log(sum=weight.sum())
        assert run.history["sum"] == [3, 6, 9, 12, 15]

    with pytest.raises(KeyboardInterrupt):
        train()
    train()
    assert capsys.readouterr().out.startswith(
        "slow to save: begun again: it was interrupted before its first checkpoint.\nslow to save: 5 steps in"
    )


def test_what_is_gone_on_with_is_named_with_its_full_path(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    student = Student(path)
    with pytest.raises(KeyboardInterrupt):
        student.train(Interrupts(4))
    student.train(Interrupts())
    assert f"Student: going on from step 4 of 30; to train anew, delete {path}.\n" in capsys.readouterr().out


@pytest.mark.parametrize("anew", [False, True])
def test_a_run_that_is_asked_to_stop_ends_its_step_saves_and_says_so(
    anew: bool, path: Path, uninterrupted: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    class Slow(Student):
        every = 1e9  # no checkpoint would be written but for the request

    student, asked = Slow(path), [12]

    def stop(step: int) -> None:
        if step in asked:
            asked.remove(step)
            student.run.stop()

    with pytest.raises(KeyboardInterrupt):
        student.train(stop)
    assert torch.load(path, weights_only=True)["done"] == 13
    assert f"Student: stopped after step 13 of 30, and saved in {path}: started again, it goes on from there.\n" in (
        capsys.readouterr().out
    )
    student = Slow(path) if anew else student
    assert same(student.result(student.train(stop)), uninterrupted)


def test_a_request_to_stop_in_the_last_step_is_fulfilled_already() -> None:
    run = training.steps(range(3), 3, "short")
    for step, _ in run:
        if step == 2:
            run.stop()


def test_without_a_checkpoint_stopping_promises_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    run = training.steps(range(3), 3, "short")
    with pytest.raises(KeyboardInterrupt):
        for _ in run:
            run.stop()
    assert capsys.readouterr().out == "short: stopped after step 1 of 3.\n"


def test_objects_made_anew_are_brought_to_where_they_were(path: Path, uninterrupted: list[Any]) -> None:
    with pytest.raises(KeyboardInterrupt):
        Student(path).train(Interrupts(11))
    student = Student(path)
    assert same(student.result(student.train(Interrupts())), uninterrupted)


class Duel:
    """Training by turns: two networks, one with batch normalisation, an optimiser for each, one generator of noise."""

    KEPT = "forger", "detective", "forger_steps", "detective_steps", "noise"

    def __init__(self, path: Path | None) -> None:
        torch.manual_seed(0)
        self.path = path
        self.forger = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
        self.detective = nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
        self.forger_steps = torch.optim.Adam(self.forger.parameters(), lr=0.01, betas=(0.5, 0.99))
        self.detective_steps = torch.optim.SGD(self.detective.parameters(), lr=0.05, momentum=0.9)
        self.noise = torch.Generator().manual_seed(1)
        self.history: list[Any] = []

    def keep(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.KEPT}

    def train(self, interrupt: Interrupts, forgotten: str = "") -> None:
        keep = {name: thing for name, thing in self.keep().items() if name != forgotten}
        real = torch.randn(60, 2, generator=torch.Generator().manual_seed(2))
        run = training.steps(
            training.batches(real, size=10), 20, title="Duel", keep=keep, checkpoint=self.path, every=-1.0
        )
        for step, (x,) in run:
            with torch.no_grad():
                fake = self.forger(torch.randn(10, 3, generator=self.noise))
            detective_loss = (softplus(-self.detective(x)) + softplus(self.detective(fake))).mean()
            self.detective_steps.zero_grad()
            detective_loss.backward()
            self.detective_steps.step()
            interrupt(step)  # one player has moved, the other has not
            forger_loss = softplus(-self.detective(self.forger(torch.randn(10, 3, generator=self.noise)))).mean()
            self.forger_steps.zero_grad()
            forger_loss.backward()
            self.forger_steps.step()
            run.log(detective=detective_loss, forger=forger_loss)
        self.history = [run.history["detective"], run.history["forger"]]

    def result(self) -> list[Any]:
        """Everything that must be equal, bit for bit: both players' weights, buffers and moments, noise and losses."""
        states = {name: keeping.state(thing) for name, thing in self.keep().items()}
        return [sorted(fingerprint.of_parts(states).items()), self.history]


@pytest.fixture(scope="module")
def undisturbed_duel() -> list[Any]:
    duel = Duel(None)
    duel.train(Interrupts())
    return duel.result()


@pytest.mark.parametrize("at", [[0], [9], [19], [3, 4, 12]])
@pytest.mark.parametrize("anew", [False, True], ids=["same objects", "objects made anew"])
def test_training_by_turns_goes_on_as_if_nothing_had_happened(
    at: list[int], anew: bool, path: Path, undisturbed_duel: list[Any]
) -> None:
    duel, interrupt = Duel(path), Interrupts(*at)
    for _ in at:
        with pytest.raises(KeyboardInterrupt):
            duel.train(interrupt)
        duel = Duel(path) if anew else duel
    duel.train(interrupt)
    assert duel.result() == undisturbed_duel


@pytest.mark.parametrize("forgotten", Duel.KEPT)
def test_a_player_that_is_not_brought_back_would_be_noticed(
    forgotten: str, path: Path, undisturbed_duel: list[Any]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        Duel(path).train(Interrupts(9), forgotten)
    duel = Duel(path)
    duel.train(Interrupts(), forgotten)
    assert duel.result() != undisturbed_duel


def noisy_batches(generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        x = torch.randn(8, 5, generator=generator)
        yield x, x.sum(1, keepdim=True)


def test_batches_that_draw_from_a_kept_generator_go_on_where_they_stopped(path: Path) -> None:
    whole = Student(None)
    wanted = whole.result(whole.train(Interrupts(), noisy_batches))
    with pytest.raises(KeyboardInterrupt):
        Student(path).train(Interrupts(13), noisy_batches)
    student = Student(path)
    assert same(student.result(student.train(Interrupts(), noisy_batches)), wanted)


SCRIPT = """
import os, pathlib, signal, sys
sys.path.insert(0, {tests!r})
import torch
from test_training import Interrupts, Student
torch.set_num_threads(1)

class Kill:
    def __call__(self, step):
        if step == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

student = Student(pathlib.Path(sys.argv[1]))
torch.save(student.result(student.train(Kill())), sys.argv[1] + ".result")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_process_is_continued_by_a_fresh_one_bit_for_bit(
    path: Path, uninterrupted: list[Any], capfd: pytest.CaptureFixture[str]
) -> None:
    script = SCRIPT.format(tests=str(Path(__file__).parent))
    codes = [
        subprocess.run(
            [sys.executable, "-c", script, str(path), at], env=os.environ | {"PYTHONHASHSEED": at}
        ).returncode
        for at in ("12", "99")
    ]
    assert codes == [-signal.SIGKILL, 0]
    assert sorted(file.name for file in path.parent.iterdir()) == ["run.pt.result"], "nothing half-written is left"
    assert "Student: going on from step 12 of 30" in capfd.readouterr().out
    assert same(torch.load(f"{path}.result"), uninterrupted)
    assert not path.exists()


@pytest.mark.parametrize("name", ["MultiStepLR", "OneCycleLR", "ReduceLROnPlateau", "LambdaLR"])
def test_schedules_can_be_kept(name: str, path: Path) -> None:
    arguments: dict[str, tuple] = {
        "MultiStepLR": ([2, 3],),
        "OneCycleLR": (0.1, 9),
        "LambdaLR": (lambda step: 0.5**step,),
    }
    weight, interrupt, rates = torch.zeros(2, requires_grad=True), Interrupts(3), []

    def train() -> None:
        optimizer = torch.optim.SGD([weight], lr=0.1)
        schedule = getattr(torch.optim.lr_scheduler, name)(optimizer, *arguments.get(name, ()))
        run = training.steps(
            range(5), 5, "rates", keep={"optimizer": optimizer, "schedule": schedule}, checkpoint=path, every=-1
        )
        for step, _ in run:
            interrupt(step)
            optimizer.step()
            schedule.step(*([1.0] if name == "ReduceLROnPlateau" else []))
            rates.append(optimizer.param_groups[0]["lr"])

    with pytest.raises(KeyboardInterrupt):
        train()
    train()
    halves, rates = rates, []
    train()
    assert halves == rates and len(rates) == 5


# --- checkpoints that must not be used --------------------------------------------------------------------------


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a fresh process does not know."""
    monkeypatch.setattr(training, "_LEFT", {})


def leave_a_checkpoint(path: Path, **named: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        Student(path, **named).train(Interrupts(5))
    assert path.exists()


def test_a_finished_run_removes_its_checkpoint_and_the_next_starts_anew(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        Student(path).train(Interrupts())
        assert not path.exists()
    assert "going on" not in capsys.readouterr().out


def test_a_finished_run_is_reused_on_request_without_a_step_and_its_result_is_the_same(
    path: Path, uninterrupted: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Student(path, reuse=True).train(Interrupts())
    monkeypatch.setattr(training, "_LEFT", {})  # as in a fresh process
    again = Student(path, reuse=True)
    run = again.train(Interrupts(*range(TOTAL)))  # any step would raise
    assert same(again.result(run), uninterrupted)
    assert "was finished before" in capsys.readouterr().out
    with pytest.raises(KeyboardInterrupt):
        Student(path, seed=1, reuse=True).train(Interrupts(0))  # another run is not answered with this one's result


@pytest.mark.parametrize("damage", ["truncate", "garbage", "empty", "other"])
def test_a_corrupt_checkpoint_is_passed_over_and_says_so(
    damage: str, path: Path, uninterrupted: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    leave_a_checkpoint(path)
    whole = path.read_bytes()
    path.write_bytes({"truncate": whole[: len(whole) // 2], "garbage": b"\x00" * 999, "empty": b""}.get(damage, whole))
    if damage == "other":
        torch.save({"something": "else"}, path)
    student = Student(path)
    assert same(student.result(student.train(Interrupts())), uninterrupted)
    assert "Student: the checkpoint cannot be read" in capsys.readouterr().out


class Bomb:
    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.target,)


def test_a_checkpoint_of_another_format_is_passed_over(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(training, "FORMAT", 1)
        leave_a_checkpoint(path)
    Student(path).train(Interrupts())
    assert "have changed since the checkpoint; starting from step 0" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_checkpoint_with_code_in_it_is_refused_and_the_code_never_runs(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = path.parent / "owned"
    torch.save({"recipe": "", "start": {}, "done": 1, "kept": Bomb(str(target))}, path)
    Student(path).train(Interrupts())
    path.write_bytes(pickle.dumps(Bomb(str(target))))
    Student(path).train(Interrupts())
    assert capsys.readouterr().out.count("cannot be read") == 2
    assert not target.exists()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"lr": 2e-2}, "began with other values (optimizer.param_groups.0.lr differs; another seed or setting?)"),
        ({"seed": 1}, "the code or the settings have changed since the checkpoint"),
    ],
)
def test_other_settings_start_anew_and_say_so(
    change: dict[str, Any], why: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Student(None, **change)
    wanted = whole.result(whole.train(Interrupts()))
    leave_a_checkpoint(path)
    student = Student(path, **change)
    assert same(student.result(student.train(Interrupts())), wanted)
    assert f"{why}; starting from step 0" in capsys.readouterr().out


def test_other_starting_values_start_anew_in_a_fresh_process(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    leave_a_checkpoint(path)
    forget(monkeypatch)
    student = Student(path)
    with torch.no_grad():
        student.model[0].weight[0, 0] += 1
    student.train(Interrupts())
    assert "began with other values" in capsys.readouterr().out


def descend(
    path: Path, optimizer: torch.optim.Optimizer, weight: Tensor, interrupt: Interrupts, schedule: Any = None
) -> list[float]:
    """Five steps in which `schedule`, a function of the step, sets the learning rate; returns the rates."""
    keep = {"weight": weight, "optimizer": optimizer}
    run = training.steps(range(5), 5, "descend", keep=keep, checkpoint=path, every=-1)
    for step, _ in run:
        if schedule:
            optimizer.param_groups[0]["lr"] = schedule(step)
        interrupt(step)
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()
        run.log(rate=optimizer.param_groups[0]["lr"])
    return run.history["rate"]


def weight_and_optimizer(value: float = 1.0, lr: float = 0.1) -> tuple[Tensor, torch.optim.Optimizer]:
    weight = torch.full((2,), value, requires_grad=True)
    return weight, torch.optim.Adam([weight], lr=lr)


def test_values_drawn_anew_with_another_seed_start_anew_in_the_same_process(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def draw(seed: int) -> Tensor:  # in a notebook: an earlier cell
        return torch.randn(3, generator=torch.Generator().manual_seed(seed))

    def train(w: Tensor, interrupt: Interrupts) -> Tensor:
        for step, _ in training.steps(range(5), 5, "cells", keep={"w": w}, checkpoint=path, every=-1):
            interrupt(step)
            w.mul_(0.5)
        return w

    with pytest.raises(KeyboardInterrupt):
        train(draw(0), Interrupts(3))
    assert torch.equal(train(draw(1), Interrupts()), draw(1) / 32)
    assert "began with other values (w differs; another seed or setting?); starting from step 0" in (
        capsys.readouterr().out
    )


def test_what_one_process_left_does_not_vouch_for_the_checkpoint_of_another(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, other = weight_and_optimizer(1.0), weight_and_optimizer(2.0)
    with pytest.raises(KeyboardInterrupt):
        descend(path, mine[1], mine[0], Interrupts(3))
    with monkeypatch.context() as another_process, pytest.raises(KeyboardInterrupt):
        forget(another_process)
        descend(path, other[1], other[0], Interrupts(3))
    capsys.readouterr()
    descend(path, mine[1], mine[0], Interrupts())
    assert "began with other values (weight differs" in capsys.readouterr().out


def test_an_optimizer_and_schedule_made_anew_beside_trained_weights_go_on(path: Path) -> None:
    def train(weight: Tensor, optimizer: Any, interrupt: Interrupts, checkpoint: Path | None) -> Tensor:
        optimizer = optimizer or torch.optim.Adam([weight], lr=0.1)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 6)
        keep = {"weight": weight, "optimizer": optimizer, "schedule": schedule}
        for step, _ in training.steps(range(6), 6, "cell", keep=keep, checkpoint=checkpoint, every=-1):
            interrupt(step)
            optimizer.zero_grad()
            weight.square().sum().backward()
            optimizer.step()
            schedule.step()
        return weight.detach()

    wanted = train(*weight_and_optimizer(), Interrupts(), None)
    for make in (weight_and_optimizer, lambda: (weight_and_optimizer()[0], None)):
        weight, optimizer = make()
        with pytest.raises(KeyboardInterrupt):
            train(weight, optimizer, Interrupts(4), path)
        assert torch.equal(train(weight, optimizer, Interrupts(), path), wanted)


def test_the_settings_of_an_optimizer_are_left_alone(path: Path) -> None:
    weight, optimizer = weight_and_optimizer()
    before = optimizer.state_dict()["param_groups"]
    for checkpoint in (None, path):
        training.steps([1], 1, "run", keep={"optimizer": optimizer}, checkpoint=checkpoint)
    descend(path, optimizer, weight, Interrupts())
    assert optimizer.state_dict()["param_groups"] == before


@pytest.mark.parametrize("anew", [False, True])
def test_a_learning_rate_changed_after_an_interrupt_is_not_undone(
    anew: bool, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weight, optimizer = weight_and_optimizer()
    with pytest.raises(KeyboardInterrupt):
        descend(path, optimizer, weight, Interrupts(3))
    if anew:
        weight, optimizer = weight_and_optimizer(lr=0.01)
    optimizer.param_groups[0]["lr"] = 0.01
    assert descend(path, optimizer, weight, Interrupts()) == [0.01] * 5
    assert "(optimizer.param_groups.0.lr differs; another seed or setting?); starting from step 0" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize("fresh", [False, True])
def test_a_schedule_written_in_the_loop_goes_on_after_an_interrupt(
    fresh: bool, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def schedule(step: int) -> float:
        return 0.1 * 0.5**step

    whole, optimizer = weight_and_optimizer()
    wanted = descend(path, optimizer, whole, Interrupts(), schedule)
    weight, optimizer = weight_and_optimizer()
    with pytest.raises(KeyboardInterrupt):
        descend(path, optimizer, weight, Interrupts(3), schedule)
    if fresh:
        forget(monkeypatch)
        weight, optimizer = weight_and_optimizer()
    assert descend(path, optimizer, weight, Interrupts(), schedule) == wanted
    assert torch.equal(weight, whole)
    assert "descend: going on from step 3 of 5" in capsys.readouterr().out


def test_an_interrupt_while_values_are_brought_back_leaves_no_trace(
    path: Path, uninterrupted: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    student = Student(path)
    with pytest.raises(KeyboardInterrupt):
        student.train(Interrupts(12))
    student = Student(path)

    restore = keeping.restore

    def interrupted(thing: Any, state: Any) -> None:
        if thing is student.schedule:
            raise KeyboardInterrupt
        restore(thing, state)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(keeping, "restore", interrupted)
        student.train(Interrupts())
    assert same(student.result(student.train(Interrupts())), uninterrupted)


CELL = """
run = training.steps(training.batches(rows, size=4), 6, title="cell", keep={"w": w}, checkpoint=path, every=-1)
for step, (x,) in run:
    loss = step_down(x)
    interrupt(step)
    notes.append([betas, recipe.momentum])
    run.log(loss=loss)
"""


@dataclasses.dataclass(frozen=True)
class Recipe:
    momentum: float
    warm_up: None = None


HELPERS = """
def gradient(x):
    return 2 * w

def step_down(x):
    global w
    w -= learning_rate * gradient(x)
    return w.sum()
"""


@pytest.mark.parametrize(
    "change",
    [
        "nothing",
        "the loop",
        "a helper",
        "a helper's helper",
        "a number in another cell",
        "a tuple in another cell",
        "a frozen dataclass in another cell",
        "the batches' seed",
        "the data",
    ],
)
def test_changed_code_or_settings_start_anew(change: str, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scope = {"training": training, "torch": torch, "path": path, "__name__": "__main__", "interrupt": Interrupts(3)}
    scope |= {"learning_rate": 0.1, "rows": torch.arange(20.0), "w": torch.ones(3)}
    scope |= {"betas": (0.9, 0.999), "recipe": Recipe(momentum=0.9), "notes": ["a list may grow"]}
    run_cell(HELPERS, scope, "<cell 1>")
    with pytest.raises(KeyboardInterrupt):
        run_cell(CELL, scope, "<cell 2>")
    cell, helpers = CELL, HELPERS
    if change == "the loop":
        cell = CELL.replace("loss = step_down(x)", "loss = 2 * step_down(x)")
    elif change == "a helper":
        helpers = HELPERS.replace("w.sum()", "w.mean()")
    elif change == "a helper's helper":
        helpers = HELPERS.replace("2 * w", "3 * w")
    elif change == "a number in another cell":
        scope["learning_rate"] = 0.2
    elif change == "a tuple in another cell":
        scope["betas"] = (0.9, 0.99)
    elif change == "a frozen dataclass in another cell":
        scope["recipe"] = Recipe(momentum=0.8)
    elif change == "the batches' seed":
        cell = CELL.replace("size=4", "size=4, seed=1")
    elif change == "the data":
        scope["rows"] = torch.arange(20.0) / 2
    run_cell(helpers, scope, "<cell 3>")
    run_cell(cell, scope, "<cell 4>")
    said = capsys.readouterr().out
    if change == "nothing":
        assert "cell: going on from step 3 of 6" in said
    else:
        assert "the code or the settings have changed since the checkpoint; starting from step 0" in said


def test_a_disk_that_takes_no_checkpoint_does_not_stop_the_training(
    path: Path, uninterrupted: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda state, file: save(state, Full(file)))
    student = Student(path)
    assert same(student.result(student.train(Interrupts())), uninterrupted)
    said = capsys.readouterr().out
    assert re.search(
        rf"Student: step 0 is not saved, since the disk of {path.parent} is full: 0\.\d MB are needed and .* MB are free\. "
        "Training goes on, and tries again later",
        said,
    )
    assert said.count("is full") == 1 and "inline_container" not in said
    assert list(path.parent.iterdir()) == []


class Full:
    """A file on a disk that takes a thousand bytes."""

    def __init__(self, file: Any) -> None:
        self.file, self.room = file, 1000

    def write(self, content: Any) -> int:
        self.room -= len(content)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(content)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def test_when_there_is_room_again_checkpoints_are_written_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save, weight = torch.save, torch.zeros(3)
    with monkeypatch.context() as full, pytest.raises(KeyboardInterrupt):
        full.setattr(torch, "save", lambda state, file: save(state, Full(file)))
        run = training.steps(range(9), 9, "room", keep={"weight": weight}, checkpoint=path, every=-1)
        for step, _ in run:
            if step == 4:
                full.setattr(torch, "save", save)
            if step == 7:
                raise KeyboardInterrupt
    said = capsys.readouterr().out
    assert said.count("is not saved") == 1 and said.count("room: saved again, at step 5.") == 1
    assert torch.load(path, weights_only=True)["done"] == 7


@pytest.mark.parametrize("where", ["cache", "given path"])
def test_where_nothing_can_be_written_training_goes_on_without_checkpoints(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "file" / "cache"))
    checkpoint = "lesson" if where == "cache" else tmp_path / "file" / "below" / "run.pt"
    run = training.steps(range(3), 3, "read-only", keep={"w": torch.zeros(1)}, checkpoint=checkpoint, every=-1)
    assert [step for step, _ in run] == [0, 1, 2]
    said = capsys.readouterr().out
    assert said.startswith("read-only: trains without checkpoints, since none can be kept (")
    assert said.count("checkpoints") == 1
    assert ("Set COURSE_CACHE to a directory that can be written" in said) == (where == "cache")


def test_a_directory_that_becomes_read_only_does_not_stop_the_training(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read_only(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    run = training.steps(range(3), 3, "read-only", keep={"w": torch.zeros(1)}, checkpoint=path, every=-1)
    with monkeypatch.context() as patch:
        for step, _ in run:
            if step == 1:
                patch.setattr(os, "replace", read_only)
                patch.setattr(os, "unlink", read_only)
                patch.setattr(Path, "unlink", read_only)
    assert "step 2 is not saved, since" in (said := capsys.readouterr().out) and "(Read-only file system)" in said


def test_what_killed_processes_left_half_written_is_swept_when_a_run_begins(path: Path) -> None:
    for number in range(3):
        path.with_name(f".run.pt.{number}.part").write_bytes(b"half")
    Student(path).train(Interrupts())
    assert list(path.parent.iterdir()) == []


def test_a_named_checkpoint_lies_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    run = training.steps([1], 1, title="run", keep={"w": torch.zeros(1)}, checkpoint="lesson")
    assert run.checkpoint == cache_dir() / "checkpoints" / "lesson.pt"
    assert run.checkpoint.is_relative_to(tmp_path)


@pytest.mark.parametrize("profile", ["smoke", "night", "gpu"])
def test_each_profile_but_cpu_has_checkpoints_of_its_own(
    profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(runtime, "_profile", profile)
    run = training.steps([1], 1, title="run", keep={"w": torch.zeros(1)}, checkpoint="lesson")
    assert run.checkpoint == tmp_path / "checkpoints" / profile / "lesson.pt"


@pytest.mark.parametrize("profile", ["smoke", "cpu", "night", "gpu"])
def test_where_trainings_are_long_the_result_of_a_finished_one_is_kept(
    profile: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "_profile", profile)
    Student(path).train(Interrupts())
    assert path.exists() == (profile in ("night", "gpu"))


def test_the_time_before_an_interruption_counts_and_the_pace_is_that_of_the_latest_sitting(path: Path) -> None:
    def busy(step: int) -> None:
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass
        if step == 9 and not path.with_suffix(".once").exists():
            path.with_suffix(".once").touch()
            raise KeyboardInterrupt

    student = Student(path)
    with pytest.raises(KeyboardInterrupt):
        student.train(busy)
    state = torch.load(path)
    assert (state["title"], state["done"], state["total"]) == ("Student", 9, TOTAL)
    assert state["history"]["core_seconds"] >= 9 * 0.02
    assert state["pace"] >= 0.02
    assert student.train(busy).history.core_seconds >= TOTAL * 0.02


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 step, not 0"):
        training.steps([], 0, title="none")
    with pytest.raises(TypeError, match=r"a whole number of steps, not 5\.0"):
        training.steps([], 5.0, title="none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a checkpoint needs `keep`"):
        training.steps([1], 1, title="none", checkpoint="x")


def test_what_cannot_be_kept_is_refused_before_the_first_step(path: Path) -> None:
    run = training.steps([1], 1, title="run", keep={"number": 3}, checkpoint=path)
    with pytest.raises(TypeError, match="cannot keep a int"):
        next(iter(run))


def test_a_ramp_rises_for_its_warm_up_and_falls_to_nothing() -> None:
    factors = [training.ramp(step, 1000) for step in range(1000)]
    assert factors[0] == 0.01 and factors[49] == 0.5 and max(factors) == pytest.approx(factors[91], abs=0.01)
    assert factors[500] == 0.5 and factors[999] == pytest.approx(0.001)
    assert [training.ramp(step, 4) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(300, 200),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_first_weights_keep_a_signal_s_size_through_silu(layer: nn.Module) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.SiLU(), layer)
    assert training.first_weights(model) is model
    x = torch.randn(200, 300) if isinstance(layer, nn.Linear) else torch.randn(64, layer.in_channels, 12, 12)  # type: ignore[arg-type]
    with torch.no_grad():
        y = model(x)
    inside = y if y.dim() == 2 else y[..., 2:-2, 2:-2]
    assert 0.85 < inside.var().item() < 1.18
    assert not list(layer.parameters())[1].any()


def test_a_run_without_a_title_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    run = training.steps([None] * 3, 3, "")
    for _ in run:
        run.log(loss=1.0)
    assert capsys.readouterr() == ("", "")
    assert run.history["loss"] == [1.0] * 3
