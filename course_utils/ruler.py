"""The ruler for generated digits: a small classifier of MNIST, trained once, whose features say how far images are from
real ones (lessons 06 and 07).

`ruler = ruler.load(session)` trains it, or reads it from the cache. `ruler.score(images)` gives the Fréchet distance to
real images and its ratio to the distance between two real sets, precision and recall, and the share of each class.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils import data, evaluate, fingerprint, kept, runtime, training

WIDTH = 64  # features of an image
COVERED = 0.05  # the least share of the images that makes a class a covered one
_BATCH = 500  # images measured at once


@dataclass(frozen=True)
class Recipe:
    """How the classifier is built, trained and used.

    Its first stage has `channels`. It is shown `shown` images in batches of `batch`, each moved by up to `shift` pixels in
    both directions, with AdamW, whose rate rises to `rate` and falls to nothing (`OneCycleLR`). Precision and recall
    `compare` at most so many images of each set: their cost grows with the square.
    """

    channels: int = 16
    shown: int = 150_000
    batch: int = 128
    rate: float = 3e-3
    weight_decay: float = 0.01
    shift: int = 0
    seed: int = 0
    compare: int = 5_000


RECIPES = {  # "cpu" chosen on the validation images; "gpu" by analogy, not measured
    "smoke": Recipe(channels=4, shown=5_120, compare=1_000),
    "cpu": Recipe(),
    "gpu": Recipe(channels=32, shown=1_000_000, batch=256, shift=2),
}


class Score(NamedTuple):
    """What `Ruler.score` says of a set of images.

    `frechet`, the distance to real images, and `ratio`, the same divided by the ruler's floor; `precision` and `recall`
    in [0, 1]; `shares` (10,), the share of the images in each class; `covered`, how many classes have 5 % or more.
    """

    frechet: float
    ratio: float
    precision: float
    recall: float
    shares: Tensor
    covered: int


class Classifier(nn.Module):
    """Images (N, 1, 28, 28) to logits (N, 10): three stages of convolutions at 28, 14 and 7 pixels, then two layers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide, wider = 2 * channels, 4 * channels
        self.stages = nn.ModuleList(
            [
                nn.Sequential(*_convolution(1, channels)),
                nn.Sequential(*_convolution(channels, wide, stride=2), *_convolution(wide, wide)),
                nn.Sequential(*_convolution(wide, wider, stride=2), *_convolution(wider, wider)),
            ]
        )
        self.hidden, self.head = nn.Linear(wider * 7 * 7, WIDTH), nn.Linear(WIDTH, 10)

    def maps(self, images: Tensor) -> list[Tensor]:
        """What each stage makes of the images: (N, c, 28, 28), (N, 2c, 14, 14), (N, 4c, 7, 7)."""
        found = []
        for stage in self.stages:
            images = stage(images)
            found.append(images)
        return found

    def features(self, images: Tensor) -> Tensor:
        """The last hidden layer after its non-linearity: (N, 64)."""
        return self.hidden(self.maps(images)[-1].flatten(1)).relu()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 10)."""
        return self.head(self.features(images))


@dataclass(eq=False, repr=False)
class Ruler:
    """A trained classifier and what it measures; made by `load`. `images` everywhere: float (N, 1, 28, 28) in [0, 1].

    `accuracy` is that of the test images, in percent. `floor` is the Fréchet distance between two real sets, the validation
    images and the test images: a yardstick and no bound, for other real images may lie nearer or further. Images of other
    shapes, dtypes or levels are refused by a ValueError that says what to do; they may lie on any device. Results are
    float32 on the CPU, computed in float32 whatever the precision of the training.
    """

    network: Classifier
    recipe: Recipe
    session: runtime.Session
    real: data.Images
    accuracy: float = 0.0
    floor: float = 0.0
    _known: dict[str, Tensor] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"{self.accuracy:.2f} % of the test images right, floor of the Fréchet distance {self.floor:.4g}"

    def features(self, images: Tensor) -> Tensor:
        """The classifier's last hidden layer after its non-linearity, (N, 64)."""
        return self._measure(images)[0]

    def logits(self, images: Tensor) -> Tensor:
        """The classifier's logits, (N, 10)."""
        return self._measure(images)[1]

    def classes(self, images: Tensor) -> Tensor:
        """The digit that the classifier takes each image for, (N,) int64."""
        return self.logits(images).argmax(1)

    def shares(self, images: Tensor) -> Tensor:
        """The share of the images in each class, (10,)."""
        return _shares(self.logits(images))

    def frechet(self, images: Tensor, against: str = "test") -> float:
        """The Fréchet distance of the images' features to those of the real "test" or "validation" images.

        Choose settings on "validation". Fewer images lie further away, by chance: the floor is that of 10 000 images.
        """
        return evaluate.frechet_distance(self.features(images), self._reference(against))

    def score(self, images: Tensor, against: str = "test") -> Score:
        """Everything at once, in one pass over the images: see `Score`.

        Precision and recall are those of at most 5 000 images of each set (1 000 in profile smoke), drawn by a fixed seed:
        they can be compared between sets of equal size.
        """
        reference = self._reference(against)
        features, logits = self._measure(images)
        frechet = evaluate.frechet_distance(features, reference)
        precision, recall = evaluate.precision_recall(self._some(reference), self._some(features))
        shares = _shares(logits)
        covered = int((shares >= COVERED).sum())
        return Score(frechet, frechet / self.floor, precision, recall, shares, covered)

    def perceptual(self, images: Tensor) -> list[Tensor]:
        """What the classifier's three stages make of the images: (N, c, 28, 28), (N, 2c, 14, 14), (N, 4c, 7, 7).

        Gradients flow to the images, never into the classifier; the caller's autocast holds. Levels outside [0, 1] are
        allowed here, because a network in training may overshoot. The maps lie on the session's device.
        """
        _check(images.detach().clamp(0, 1))
        return self.network.maps(self._placed(images))

    def _placed(self, images: Tensor) -> Tensor:
        return images.to(self.session.device).contiguous(memory_format=self.session.memory_format)

    def _some(self, features: Tensor) -> Tensor:
        """As many rows as precision and recall compare, drawn, so that no order of the images matters."""
        order = torch.randperm(len(features), generator=torch.Generator().manual_seed(0))
        return features[order[: self.recipe.compare]]

    @torch.no_grad()
    def _measure(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, 64) and logits (N, 10)."""
        _check(images)
        features, logits = [], []
        with torch.autocast(self.session.device.type, enabled=False):
            for batch in images.split(_BATCH):
                features.append(self.network.features(self._placed(batch).float()))
                logits.append(self.network.head(features[-1]))
        return torch.cat(features).cpu(), torch.cat(logits).cpu()

    def _examine(self) -> None:
        """Find out accuracy and floor."""
        self._known["test"], logits = self._measure(self.real.test.images.unsqueeze(1))
        self.accuracy = 100 * evaluate.accuracy(logits, self.real.test.labels)
        self.floor = self.frechet(self.real.validation.images.unsqueeze(1))

    def _reference(self, part: str) -> Tensor:
        """The features of the real images of a part, measured once."""
        if part not in ("test", "validation"):
            raise ValueError(f'images are held against "test" or "validation", not {part!r}')
        if part not in self._known:
            self._known[part] = self.features(getattr(self.real, part).images.unsqueeze(1))
        return self._known[part]


def load(session: runtime.Session) -> Ruler:
    """The ruler of this profile and device: read from the cache, or trained and kept there. One line says which.

    It is trained on `data.mnist()`'s training images alone, always with the same seed, and leaves the global random
    generators alone. A kept one is used only if it comes from exactly this code, recipe, profile, data and kind of device,
    and if its file is whole; an interrupted training goes on where it stopped. Where the cache cannot be written, the
    ruler is trained and not kept.
    """
    recipe, images = session.choose(**RECIPES), data.mnist()
    key, folder = _key(session, recipe, images), kept.folder("rulers", "Ruler")
    with torch.random.fork_rng([session.device] if session.device.type == "cuda" else []):
        ruler = _read(session, images, folder, key) if folder else None
        if ruler:
            print(f"Ruler: read from the cache; {ruler}.")
            return ruler
        ruler = _untrained(session, images)
        _train(ruler, f"ruler-{key}" if folder else None)
    ruler._examine()
    print(f"Ruler: trained; {ruler}.")
    if folder:
        state = {"network": ruler.network.state_dict(), "accuracy": ruler.accuracy, "floor": ruler.floor}
        kept.write(state, folder, f"ruler-{key}", "Ruler")
    return ruler


def _untrained(session: runtime.Session, images: data.Images) -> Ruler:
    """A ruler with the weights that its training starts from; seeds the global generator."""
    recipe = session.choose(**RECIPES)
    torch.default_generator.manual_seed(recipe.seed)
    network = Classifier(recipe.channels).to(session.device).to(memory_format=session.memory_format)
    return Ruler(network, recipe, session, images)


def _train(ruler: Ruler, checkpoint: str | None) -> None:
    """Train the ruler's network, and freeze it."""
    network, recipe, session = ruler.network, ruler.recipe, ruler.session
    generator = torch.Generator().manual_seed(recipe.seed)
    images, labels = (part.to(session.device) for part in ruler.real.train)
    batches, total = training.batches(images.unsqueeze(1), labels, size=recipe.batch), recipe.shown // recipe.batch
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=total, pct_start=0.2)
    keep = {"network": network, "optimizer": optimizer, "schedule": schedule, "generator": generator}
    run = training.steps(batches, total, title="Ruler", keep=keep, checkpoint=checkpoint)
    network.train()
    for step, (x, y) in run:
        x = ruler._placed(shifted(x, recipe.shift, generator))
        with session.autocast():
            logits = network(x)
        loss = F.cross_entropy(logits.float(), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 20 == 0:
            run.log(loss=loss)
    optimizer.zero_grad()
    network.eval().requires_grad_(False)


def shifted(images: Tensor, by: int, generator: torch.Generator) -> Tensor:
    """Each image (N, c, H, W) moved by whole pixels, drawn evenly from -by..by in both directions; zeros move in."""
    if by == 0:
        return images
    n, _, height, width = images.shape
    start = torch.randint(2 * by + 1, (2, n, 1), generator=generator)
    rows, columns = ((s + torch.arange(size)).to(images.device) for s, size in zip(start, (height, width), strict=True))
    padded = F.pad(images, (by, by, by, by)).movedim(1, -1)  # (N, H + 2 by, W + 2 by, c)
    index = torch.arange(n, device=images.device).view(-1, 1, 1)
    return padded[index, rows.unsqueeze(2), columns.unsqueeze(1)].movedim(-1, 1)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    layer = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return [layer, nn.BatchNorm2d(outputs), nn.ReLU()]


def _check(images: Tensor) -> None:
    data.check_images(images)
    if images.shape[2:] != (data.PIXELS, data.PIXELS):
        height, width = images.shape[2:]
        raise ValueError(
            f"images have {height} x {width} pixels, and this classifier knows {data.PIXELS} x {data.PIXELS}: resize them, "
            "for example with F.interpolate(images, size=28)"
        )


def _shares(logits: Tensor) -> Tensor:
    return torch.bincount(logits.argmax(1), minlength=10) / len(logits)


def _key(session: runtime.Session, recipe: Recipe, images: data.Images) -> str:
    """A hash of everything that the trained ruler depends on."""
    parts = [fingerprint.of_values(list(part)) for part in (images.train, images.validation, images.test)]
    code = Path(__file__).read_text(encoding="utf-8")
    settings = [dataclasses.asdict(recipe), session.profile, session.device.type, session.precision]
    return kept.key(code, settings, parts)


def _read(session: runtime.Session, images: data.Images, folder: Path, key: str) -> Ruler | None:
    """The kept ruler, if there is one that is whole."""
    found: list[Ruler] = []

    def use(state: dict[str, Any]) -> None:
        ruler = _untrained(session, images)
        ruler.network.load_state_dict(state["network"])
        ruler.accuracy, ruler.floor = state["accuracy"], state["floor"]
        ruler.network.eval().requires_grad_(False)
        found.append(ruler)

    return found[0] if kept.read(folder, f"ruler-{key}", "Ruler", use) else None
