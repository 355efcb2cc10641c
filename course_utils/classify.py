"""A small classifier of pictures in colour (lesson 10): trained on a few hundred, to say what made ones are taken for."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils import evaluate, ruler, runtime, training

SHIFT = 3  # pixels by which pictures are moved in training, at most


def evenly(labels: Tensor) -> Tensor:
    """Indices of rows such that each of the labels (N,), from 0 on, occurs as often as the most frequent one: rows of rarer
    labels are repeated, in their order."""
    most = int(torch.bincount(labels).max())
    rows = ((labels == label).nonzero().flatten() for label in range(int(labels.max()) + 1))
    return torch.cat([row.repeat(-(-most // len(row)))[:most] for row in rows])


class Classifier(nn.Module):
    """Pictures (N, 3, H, W), levels in [0, 1], H and W multiples of 8, to logits (N, classes): three stages, one layer."""

    def __init__(self, classes: int, side: int, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, width), (width, 2 * width), (2 * width, 4 * width)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(4 * width * (side // 8) ** 2, classes)
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (N, classes)."""
        return self.layers(pictures)


def train_classifier(
    session: runtime.Session,
    pictures: Tensor,
    labels: Tensor,
    total: int,
    title: str = "Classifier",
    rate: float = 2e-3,
) -> Classifier:
    """A classifier after `total` steps on pictures (N, 3, H, H) in [0, 1] on white, and labels (N,) from 0 on.

    Each picture is moved by up to three pixels, and mirrored in every second step, so that few suffice. All chance comes
    from seed 0, first weights and dropout included; the global generator is left as it was.
    """
    chance = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Classifier(int(labels.max()) + 1, pictures.shape[-1])
        model = model.to(session.device).to(memory_format=session.memory_format)
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05, fused=True)
        batches = training.batches(pictures, labels, size=min(64, len(pictures)))
        for step, (x, y) in (run := training.steps(batches, total, title=title)):
            x = 1 - ruler.shifted(1 - (x.flip(3) if step % 2 else x), SHIFT, chance)  # white moves in
            with session.autocast():
                logits = model(x.to(session.device, memory_format=session.memory_format))
                loss = F.cross_entropy(logits.float(), y.to(session.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.param_groups[0]["lr"] = rate * training.ramp(step, total)
            optimizer.step()
            run.log(loss=loss)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def share_right(model: Classifier, pictures: Tensor, labels: Tensor) -> float:
    """The share in percent of the pictures (N, 3, H, H), cut to [0, 1], that the classifier takes for their labels (N,)."""
    device = next(model.parameters()).device
    return 100 * evaluate.accuracy(model(pictures.clamp(0, 1).to(device)), labels.to(device))
