"""Diagrams of networks for images: what they say of shapes and weights is what the layers do."""

from typing import Any

import pytest
import torch
from torch import nn

from course_utils import display, image_diagrams


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The alt texts of the figures that are shown."""
    texts: list[str] = []

    def keep(data: dict[str, Any], metadata: dict[str, Any]) -> None:
        assert data["image/png"]
        texts.append(metadata["image/png"]["alt"])

    monkeypatch.setattr(display, "show", keep)
    return texts


def halves() -> tuple[nn.Sequential, nn.Sequential]:
    encoder = nn.Sequential(nn.Conv2d(1, 3, 4, 2, 1), nn.SiLU(), nn.Flatten(), nn.Linear(48, 4))
    decoder = nn.Sequential(nn.Linear(2, 48), nn.Unflatten(1, (3, 4, 4)), nn.ConvTranspose2d(3, 1, 4, 2, 1))
    return encoder, decoder


def test_stages_are_where_the_shape_changes_with_their_weights() -> None:
    encoder, _ = halves()
    assert image_diagrams.stages(encoder, torch.zeros(1, 1, 8, 8)) == [
        ("image", (1, 8, 8), 0),
        ("Conv", (3, 4, 4), 3 * 16 + 3),
        ("Flatten", (48,), 0),
        ("Linear", (4,), 48 * 4 + 4),
    ]


def test_an_autoencoder_is_drawn_with_its_shapes(shown: list[str]) -> None:
    encoder, decoder = halves()
    encoder[3] = nn.Linear(48, 2)
    image_diagrams.autoencoder(encoder, decoder, torch.zeros(1, 1, 8, 8))
    assert "Linear (2,); Linear (48,); Unflatten (3, 4, 4); ConvTranspose (1, 8, 8)" in shown[0]


def test_a_vae_is_drawn_with_its_code_and_its_logits(shown: list[str]) -> None:
    image_diagrams.vae(*halves(), torch.zeros(1, 1, 8, 8))
    assert "log sigma squared, 2 each" in shown[0] and "logits (1, 8, 8)" in shown[0]


@pytest.mark.parametrize(("k", "stride", "padding", "outputs"), [(4, 2, 1, 7), (3, 1, 1, 14), (3, 2, 0, 6)])
def test_a_convolution_is_drawn_with_as_many_windows_as_it_has(
    shown: list[str], k: int, stride: int, padding: int, outputs: int
) -> None:
    layer = nn.Conv2d(2, 5, k, stride, padding)
    image_diagrams.convolution(layer, 14)
    assert layer(torch.zeros(1, 2, 14, 14)).shape[2] == outputs
    assert f"and {outputs} windows of {k} pixels, {stride} apart" in shown[0]
