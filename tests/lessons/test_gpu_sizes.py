"""One training step of each headline at its size for a GPU, with a batch of two: no shape surprises there, and it fits.

The memory is that of weights, gradients and AdamW's two moments, and of what autograd keeps for the way back, measured for
two rows and extrapolated to the batch; it is printed. In float32: in bf16 a GPU keeps about half of the latter.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from interrupted import run_cell
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from course_utils import training
from course_utils.notebooks import find, headlines, ipynb

ROOT = Path(__file__).parents[2]
PATHS = {lesson.number: lesson.path for lesson in find.lessons(ROOT)}
ROWS = 2  # the fewest with which batch normalisation has something to do
LARGEST = 80e9  # bytes: of an A100 or H100

# The last cell with these words holds the headline's training, or the function that is called after it.
HEADLINES = {
    "02": ("checkpoint=", ""),
    "03": ("checkpoint=", ""),
    "05": ('checkpoint="lesson05_forty"', ""),
    "06": ("def play_digits", 'play_digits("DCGAN", 2)'),
    "07": ('"Conditional GAN"', ""),
    "08": ('checkpoint="08-gated"', ""),
    "08a": ('checkpoint="08a-levels"', ""),
    "09": ('checkpoint="09-gpt-shakespeare"', ""),
    "10": ('checkpoint="lesson10_digits"', ""),
}


class Enough(Exception):  # noqa: N818 - no error: the first step is over
    """The first training step has been logged."""


class Account:
    """What a training step takes: the batch that was asked for, weights, and what autograd keeps."""

    def __init__(self) -> None:
        self.asked = 0
        self.logged: dict[str, float] = {}
        self.kept: dict[int, torch.UntypedStorage] = {}  # held, so that no address is used twice
        self.weights: dict[int, Tensor] = {}

    def batches(self, *tensors: Tensor, size: int, seed: int = 0) -> training.Batches:
        self.asked = size
        return training.Batches(*tensors, size=ROWS, seed=seed)

    def log(self, _: training.Steps, **values: float | Tensor) -> None:
        self.logged = {name: torch.as_tensor(value).detach().item() for name, value in values.items()}
        raise Enough

    def keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        self.kept[storage.data_ptr()] = storage
        return tensor

    def stepped(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for group in optimizer.param_groups:
            self.weights |= {id(weight): weight for weight in group["params"]}

    @property
    def bytes(self) -> tuple[float, float]:
        """Of weights with gradients and moments, and of what is kept for the way back of a whole batch."""
        theirs = {weight.untyped_storage().data_ptr() for weight in self.weights.values()}
        rest = sum(storage.nbytes() for place, storage in self.kept.items() if place not in theirs)
        return 4.0 * sum(w.numel() * w.element_size() for w in self.weights.values()), rest * self.asked / ROWS


def first_step(sources: list[str], account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run cells until a training has logged its first step."""
    monkeypatch.setattr(training, "batches", account.batches)
    monkeypatch.setattr(training.Steps, "log", lambda run, **values: account.log(run, **values))
    hook = register_optimizer_step_post_hook(account.stepped)
    names: dict[str, Any] = {"__name__": "__main__"}
    try:
        with torch.autograd.graph.saved_tensors_hooks(account.keep, lambda tensor: tensor), pytest.raises(Enough):
            for number, source in enumerate(sources):
                run_cell(source, names, f"<gpu {id(account)} {number}>")
    finally:
        hook.remove()


@pytest.mark.nightly
@pytest.mark.parametrize("number", HEADLINES)
def test_a_headline_takes_a_step_at_its_size_for_a_gpu(
    number: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shown: list[Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = {"COURSE_PROFILE": "gpu", "COURSE_DEVICE": "cpu", "COURSE_CACHE": str(tmp_path), "COURSE_OFFLINE": "1"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    words, call = HEADLINES[number]
    cells = ipynb.code_cells(ipynb.read(PATHS[number]))
    sources = [cell.source for cell in cells if "colab" not in ipynb.tags(cell)]
    last = max(place for place, source in enumerate(sources) if words in source)
    account = Account()
    first_step([*(sources[place] for place in sorted(headlines.needed(sources, [last]))), call], account, monkeypatch)
    weights, kept = account.bytes
    with capsys.disabled():
        print(f"\n{number}: {weights / 16e6:.2f} M weights, batch {account.asked}: {(weights + kept) / 1e9:.2f} GB")
    assert account.logged and all(map(math.isfinite, account.logged.values()))
    assert account.asked > ROWS and 0 < weights < weights + kept < LARGEST


def test_the_account_is_right_for_a_network_that_can_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
import torch
from course_utils import training
net = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1))
optimizer = torch.optim.AdamW(net.parameters())
for step, (x,) in (run := training.steps(training.batches(torch.ones(8, 3), size=8), 9, "counted")):
    loss = net(x).sum()
    loss.backward()
    optimizer.step()
    run.log(loss=loss)
"""
    account = Account()
    first_step([source], account, monkeypatch)
    assert account.bytes == (4 * 4 * (15 + 5 + 5 + 1), 8 * 4 * (3 + 5))  # x, and what tanh gave
