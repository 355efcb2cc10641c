"""How many images a second does the course's loop train a VAE on, against PyTorch's published example?

    COURSE_DATA=/somewhere .venv/bin/python benchmarks/vae_throughput.py [epochs] [seeds]

The example is `vae` of https://github.com/pytorch/examples, written anew from what it does: torchvision's MNIST, turned
into tensors image by image in a DataLoader, an MLP 784-400-20-400-784 with a sigmoid at its end, binary cross-entropy of
the grey levels plus KL, summed over a batch of 128, Adam at 1e-3. Without a GPU it asks for no worker; one worker, as it
has with a GPU, is measured beside it. The course trains the same sizes, on logits, from one tensor in memory, with the
lesson's own loss, in `session.autocast()`, with the fused form of the same Adam. Last comes what the lesson really runs,
its `train` on its `VAE`, whose convolutional halves are exchanged for the example's dense ones: AdamW with a schedule, and
images drawn in black and white for every batch, so that its loss would be another one.

All see the 50 000 training images (the example's 60 000 less the validation part), take turns epoch by epoch, and run on
one thread each. Core-seconds count the workers' as well. The loss is that of the validation images after equally many
epochs: -ELBO in nats an image, with the cross-entropy of the grey levels (not binarised: not comparable with the
likelihoods of lesson 05), in fp32, and the same noise for all.
"""

from __future__ import annotations

import contextlib
import io
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils import data, runtime, training
from course_utils.data import download
from course_utils.exercises.catalogue import definition
from course_utils.notebooks import lesson_code

BATCH, HIDDEN, LATENT, RATE = 128, 400, 20, 1e-3
EPOCHS, SEEDS = 3, 2


class VAE(nn.Module):
    """The MLP that both train; `forward` maps images (B, 784) and noise (B, latent) to logits, mu and logvar."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.mu, self.logvar = nn.Linear(784, HIDDEN), nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)
        self.decoder = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 784))

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.hidden(x).relu()
        mu, logvar = self.mu(h), self.logvar(h)
        return self.decoder(mu + noise * torch.exp(0.5 * logvar)), mu, logvar


class Example:
    """The published example: `epoch()` trains on `images` images."""

    images = 50_000

    def __init__(self, root: Path, workers: int, seed: int) -> None:
        from torchvision import datasets, transforms

        torch.manual_seed(seed)
        self.net = VAE()
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=RATE)
        every = datasets.MNIST(str(root), train=True, transform=transforms.ToTensor())
        part = torch.utils.data.Subset(every, range(self.images))
        self.loader = torch.utils.data.DataLoader(part, batch_size=BATCH, shuffle=True, num_workers=workers)

    def epoch(self) -> None:
        total = 0.0
        for images, _ in self.loader:
            x = images.view(-1, 784)
            self.optimizer.zero_grad()
            logits, mu, logvar = self.net(x, torch.randn(len(x), LATENT))
            cross_entropy = F.binary_cross_entropy(torch.sigmoid(logits), x, reduction="sum")
            loss = cross_entropy - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
            loss.backward()
            total += loss.item()
            self.optimizer.step()


class Course:
    """The course's loop on the same net: `epoch()` trains on `images` images."""

    def __init__(self, session: runtime.Session, images: Tensor, precision: str, seed: int) -> None:
        torch.manual_seed(seed)
        self.session = replace(session, precision=precision, generator=torch.Generator().manual_seed(seed))
        self.net = VAE()
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=RATE, fused=True)
        shuffled = training.batches(images.flatten(1), size=BATCH, seed=seed)
        self.batches, self.steps, self.images = iter(shuffled), shuffled.per_epoch, shuffled.per_epoch * BATCH
        self.loss = definition("negative_elbo").reference

    def epoch(self) -> None:
        run = training.steps(self.batches, self.steps, title="VAE")
        for _, (x,) in run:
            noise = torch.randn(len(x), LATENT, generator=self.session.generator)
            with self.session.autocast():
                logits, mu, logvar = self.net(x, noise)
            loss = self.loss(logits.float(), x, mu.float(), logvar.float(), beta=1.0)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            run.log(loss=loss)


class Lesson:
    """Lesson 05's own loop on dense halves of these sizes: `epoch()` trains on `images` images."""

    def __init__(self, session: runtime.Session, images: Tensor, seed: int) -> None:
        names = "Residual", "VAE", "answer", "bound", "train"
        generator = torch.Generator().manual_seed(seed)
        lesson = lesson_code.load("05", *names, session=session, chance=generator)
        self.train, self.bound, self.grey = lesson.train, lesson.bound, images.unsqueeze(1)
        self.net = lesson.VAE(LATENT, channels=1, width=1)
        self.net.encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * LATENT))
        self.net.decoder = nn.Sequential(
            nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 784), nn.Unflatten(1, (1, 28, 28))
        )
        self.steps = len(images) // BATCH
        self.images = self.steps * BATCH

    def epoch(self) -> None:
        self.train(self.net, self.grey, self.steps, "VAE", self.bound(), size=BATCH, peak=RATE)


Candidate = Example | Course | Lesson


@torch.no_grad()
def validation_loss(net: VAE, images: Tensor) -> float:
    """-ELBO in nats an image, grey cross-entropy, one draw of the noise for each image, the same for every net."""
    generator, x = torch.Generator().manual_seed(0), images.flatten(1)
    logits, mu, logvar = net(x, torch.randn(len(x), LATENT, generator=generator))
    return definition("negative_elbo").reference(logits, x, mu, logvar, beta=1.0).item()


def seconds(run: Callable[[], None]) -> tuple[float, float]:
    """Core-seconds of a call, its child processes' included, and wall seconds."""

    def core() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    before, start = core(), time.perf_counter()
    run()
    return core() - before, time.perf_counter() - start


def candidates(session: runtime.Session, images: data.Images, seed: int) -> dict[str, Candidate]:
    """All that take part, untrained, by name; the example is the first."""
    root = download.find_or_fetch(download.MNIST)
    found: dict[str, Candidate] = {
        "the example": Example(root, 0, seed),
        "the example, 1 worker": Example(root, 1, seed),
        "the course, fp32": Course(session, images.train.images, "fp32", seed),
    }
    if session.precision != "fp32":
        found[f"the course, {session.precision}"] = Course(session, images.train.images, session.precision, seed)
    return found | {"lesson 05": Lesson(session, images.train.images, seed)}


def train(nets: dict[str, Candidate], epochs: int) -> dict[str, Tensor]:
    """Each one's images per core-second and per second (epochs, 2); they take turns, another first in each epoch."""
    names = list(nets)
    speeds = {name: torch.zeros(epochs, 2) for name in names}
    for epoch in range(epochs):
        for name in (names[(epoch + place) % len(names)] for place in range(len(names))):
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                speeds[name][epoch] = nets[name].images / torch.tensor(seconds(nets[name].epoch))
    return speeds


def main() -> None:
    """Print images a second, the ratios to the example, and the losses: medians over epochs, means over seeds."""
    torch.set_num_threads(1)
    epochs, seeds = (int(given) for given in sys.argv[1:] + [EPOCHS, SEEDS][len(sys.argv) - 1 :])
    session, images = runtime.start("cpu"), data.mnist()
    speeds: dict[str, list[Tensor]] = {}
    losses: dict[str, list[float]] = {}
    for seed in range(seeds):
        nets = candidates(session, images, seed)
        for name, speed in train(nets, epochs).items():
            speeds.setdefault(name, []).append(speed)
            if isinstance(net := nets[name].net, VAE):
                losses.setdefault(name, []).append(validation_loss(net, images.validation.images))
    example = torch.cat(speeds["the example"])
    print(f"\n{epochs} epochs, {seeds} seeds{'images/core-s':>22}{'ratio':>9}{'images/s':>12}{'ratio':>9}{'-ELBO':>10}")
    for name, found in speeds.items():
        core, wall = torch.cat(found).median(0).values.tolist()
        core_ratio, wall_ratio = (torch.cat(found) / example).median(0).values.tolist()
        shown = ""
        if name in losses:
            shown = f"{sum(losses[name]) / seeds:10.2f}  ({min(losses[name]):.2f} to {max(losses[name]):.2f})"
        print(f"{name:27}{core:13,.0f}{core_ratio:8.2f} x{wall:11,.0f}{wall_ratio:8.2f} x{shown}")


if __name__ == "__main__":
    main()
