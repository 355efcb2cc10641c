"""A run that goes on draws what an uninterrupted one would have drawn, from whichever generator; or says that it cannot."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interrupted import Interrupts
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from course_utils import fingerprint, training
from course_utils.resuming import keeping, randomness

TOTAL = 24
ROWS = torch.randn(40, 3, generator=torch.Generator().manual_seed(7))


class Augmented(Dataset):
    """Rows with noise from torch's global generator, drawn anew whenever one is asked for."""

    def __len__(self) -> int:
        return len(ROWS)

    def __getitem__(self, index: int) -> tuple[Tensor]:
        return (ROWS[index] + 0.1 * torch.randn(3),)


def again_and_again(loader: DataLoader) -> Iterator[tuple[Tensor]]:
    while True:
        yield from loader


def noise(generator: torch.Generator) -> Iterator[tuple[Tensor]]:
    while True:
        yield (torch.randn(8, 3, generator=generator),)


def in_order() -> Any:
    return training.batches(ROWS, size=8)


def shuffled(rows: Dataset = TensorDataset(ROWS), size: int = 8, generator: Any = None) -> DataLoader:  # noqa: B008
    return DataLoader(rows, batch_size=size, shuffle=True, generator=generator)


class Training:
    """What the cells before the loop make, in a process of its own; the network has dropout, so the loop draws as well."""

    def __init__(self, path: Path | None, kind: str) -> None:
        torch.manual_seed(1), np.random.seed(1), random.seed(1)
        self.path, self.kind = path, kind
        self.model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.3), nn.Tanh(), nn.Linear(8, 1))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.of_torch, self.of_numpy = torch.Generator().manual_seed(2), np.random.default_rng(2)
        self.of_python = random.Random(2)

    def fit(self, interrupt: Interrupts, total: int = TOTAL) -> list[Any]:
        """The loop's cell; returns everything that must be equal, bit for bit."""
        of_torch, of_numpy, of_python = self.of_torch, self.of_numpy, self.of_python  # names that the code reads
        keep = {"model": self.model, "optimizer": self.optimizer} | self._also_kept()
        batches, shift = BATCHES[self.kind](self), SHIFTS.get(self.kind, lambda self: 0.0)
        run = training.steps(batches, total, self.kind, keep=keep, checkpoint=self.path, every=-1)
        for step, (x,) in run:
            loss = self.model(x + shift(self)).square().mean()
            self.optimizer.zero_grad()
            loss.backward()
            interrupt(step)
            self.optimizer.step()
            run.log(loss=loss)
        generators = [randomness.state_of(generator) for generator in (of_torch, of_numpy, of_python)]
        results = [keeping.state(keep), generators, randomness.everywhere(), run.history["loss"]]
        return sorted(fingerprint.of_parts(results).items())

    def _also_kept(self) -> dict[str, Any]:
        if not self.kind.endswith("kept"):
            return {}
        return {"generators": [self.of_torch, self.of_numpy], "another": self.of_python}


BATCHES: dict[str, Callable[[Training], Any]] = {
    "torch's generator": lambda _: in_order(),
    "numpy's generator": lambda _: in_order(),
    "Python's generator": lambda _: in_order(),
    "a generator of torch": lambda _: in_order(),
    "a generator of numpy": lambda _: in_order(),
    "a generator of Python": lambda _: in_order(),
    "a generator of numpy, kept": lambda _: in_order(),
    "a generator of Python, kept": lambda _: in_order(),
    "a shuffled DataLoader": lambda _: again_and_again(shuffled()),
    "a shuffled DataLoader, once": lambda _: shuffled(size=1),
    "a shuffled DataLoader with its generator": lambda self: again_and_again(shuffled(generator=self.of_torch)),
    "a shuffled DataLoader with its generator, kept": lambda self: again_and_again(shuffled(generator=self.of_torch)),
    "a shuffled DataLoader that augments": lambda _: again_and_again(shuffled(Augmented())),
    "noise": lambda self: noise(self.of_torch),
    "noise, kept": lambda self: noise(self.of_torch),
    "a list": lambda _: [(ROWS[8 * (step % 5) : 8 * (step % 5 + 1)],) for step in range(TOTAL)],
}
SHIFTS: dict[str, Callable[[Training], Any]] = {
    "torch's generator": lambda _: torch.randn(3),
    "numpy's generator": lambda _: float(np.random.randn()),
    "Python's generator": lambda _: random.gauss(0, 1),
    "a generator of torch": lambda self: torch.randn(3, generator=self.of_torch),
    "a generator of numpy": lambda self: float(self.of_numpy.normal()),
    "a generator of Python": lambda self: self.of_python.random(),
    "a generator of numpy, kept": lambda self: float(self.of_numpy.normal()),
    "a generator of Python, kept": lambda self: self.of_python.random(),
    "a shuffled DataLoader with its generator, kept": lambda self: torch.randn(3, generator=self.of_torch),
    "noise": lambda self: torch.randn(3, generator=self.of_torch),
    "noise, kept": lambda self: torch.randn(3, generator=self.of_torch),
}


def interrupted(path: Path, kind: str, anew: bool, *steps: int) -> list[Any]:
    """The result of a training that was interrupted and run again, in the same process or with all made anew."""
    cells, interrupt = Training(path, kind), Interrupts(*steps)
    for _ in steps:
        with pytest.raises(KeyboardInterrupt):
            cells.fit(interrupt)
        if anew:
            cells = Training(path, kind)
        else:
            torch.rand(5), np.random.rand(5), random.random()  # other cells draw as well
    return cells.fit(interrupt)


@pytest.mark.parametrize("anew", [False, True], ids=["same process", "all made anew"])
@pytest.mark.parametrize("kind", BATCHES)
def test_what_is_drawn_after_an_interrupt_is_what_would_have_been_drawn(
    kind: str, anew: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Training(None, kind).fit(Interrupts())
    assert interrupted(tmp_path / "run.pt", kind, anew, 3, 13, 14) == whole
    said = capsys.readouterr().out
    assert said.count("going on from step") == 3 and "differ" not in said


def test_with_other_draws_the_result_would_be_another() -> None:
    results = []
    for seed in (1, 2):
        cells = Training(None, "a shuffled DataLoader")
        torch.manual_seed(seed)
        results.append(cells.fit(Interrupts()))
    assert results[0] != results[1]


@pytest.mark.parametrize("kind", ["a shuffled DataLoader", "noise, kept"])
def test_few_noted_states_do_for_long_runs(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(randomness, "MOST_STATES", 2)
    whole = Training(None, kind).fit(Interrupts())
    assert interrupted(tmp_path / "run.pt", kind, True, 17) == whole


def test_batches_that_cannot_be_found_again_are_named_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(randomness, "MOST_STATES", 2)  # of the many that augmentation needs
    kind = "a shuffled DataLoader that augments"
    assert interrupted(tmp_path / "run.pt", kind, True, 18) != Training(None, kind).fit(Interrupts())
    said = capsys.readouterr().out
    assert f"{kind}: going on from step 18 of {TOTAL}" in said
    assert (
        "the batches before step 18 cannot be found again (`again_and_again` gives others now), so that the result"
        in said
    )


def test_an_iterator_from_another_cell_is_further_on_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    once, weight, interrupt = iter(torch.arange(100.0)), torch.zeros(()), Interrupts(5)

    def fit() -> None:
        run = training.steps(once, 10, "once", keep={"weight": weight}, checkpoint=tmp_path / "run.pt", every=-1)
        for step, x in run:
            interrupt(step)
            weight.add_(x)

    with pytest.raises(KeyboardInterrupt):
        fit()
    fit()
    assert "the batches before step 5 cannot be found again" in capsys.readouterr().out
    assert weight.item() != sum(range(10))


def test_what_is_the_same_everywhere_need_not_be_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Thing:
        """Something without a value: only its kind can be recognised."""

    def fit(interrupt: Interrupts) -> None:
        things = (Thing() for _ in range(9))
        run = training.steps(things, 9, "things", keep={"w": torch.zeros(1)}, checkpoint=tmp_path / "a.pt", every=-1)
        for step, _ in run:
            interrupt(step)

    with pytest.raises(KeyboardInterrupt):
        fit(Interrupts(4))
    fit(Interrupts())
    assert "cannot be found" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.Philox, np.random.MT19937, np.random.SFC64])
def test_the_state_of_every_numpy_generator_survives_a_file(kind: Any, tmp_path: Path) -> None:
    generator = np.random.Generator(kind(3))
    generator.random(7), generator.integers(9, size=3, dtype=np.int32)
    torch.save(randomness.state_of(generator), tmp_path / "state.pt")
    wanted = generator.random(100).tolist()
    other = np.random.Generator(kind(4))
    randomness.put_back(other, torch.load(tmp_path / "state.pt", weights_only=True))
    assert other.random(100).tolist() == wanted


def test_the_global_generators_are_brought_back_together(tmp_path: Path) -> None:
    random.gauss(0, 1), np.random.randn()  # each keeps a second number in hand
    torch.save(randomness.everywhere(), tmp_path / "states.pt")
    draw = lambda: [torch.rand(3).tolist(), np.random.randn(3).tolist(), random.gauss(0, 1), random.random()]  # noqa: E731
    wanted = draw()
    assert draw() != wanted
    randomness.put_back_everywhere(torch.load(tmp_path / "states.pt", weights_only=True))
    assert draw() == wanted
