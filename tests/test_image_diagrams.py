"""Diagrams of networks for images: what they say of shapes and weights is what the layers do."""

import pytest
import torch
from torch import Tensor, nn

from course_utils import image_diagrams


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


def test_an_autoencoder_is_drawn_with_its_shapes(alts: list[str]) -> None:
    encoder, decoder = halves()
    encoder[3] = nn.Linear(48, 2)
    image_diagrams.autoencoder(encoder, decoder, torch.zeros(1, 1, 8, 8))
    assert "Linear (2,); Linear (48,); Unflatten (3, 4, 4); ConvTranspose (1, 8, 8)" in alts[0]


def test_a_vae_is_drawn_with_its_code_and_its_logits(alts: list[str]) -> None:
    image_diagrams.vae(*halves(), torch.zeros(1, 1, 8, 8))
    assert "log sigma squared, 2 each" in alts[0] and "logits (1, 8, 8)" in alts[0]


class Layers(nn.Module):
    """A network as `dcgan` wants it, with `layers`."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def test_a_dcgan_is_drawn_with_its_shapes_and_weights(alts: list[str]) -> None:
    generator = Layers(nn.Linear(2, 48), nn.Unflatten(1, (3, 4, 4)), nn.ReLU(), nn.ConvTranspose2d(3, 1, 4, 2, 1))
    discriminator = Layers(nn.Conv2d(1, 3, 4, 2, 1), nn.LeakyReLU(), nn.Flatten(), nn.Linear(48, 1))
    image_diagrams.dcgan(generator, discriminator, torch.zeros(5, 2))
    assert "noise (2,); Linear (3, 4, 4); ConvTranspose (1, 8, 8); Conv (3, 4, 4); Linear (1,)" in alts[0]


def test_the_game_is_drawn_with_both_ways_back(alts: list[str]) -> None:
    image_diagrams.game()
    assert "the discriminator's turn ends at D, the generator's turn passes through D and reaches G" in alts[0]
    assert "label" not in alts[0]


def test_the_conditional_game_is_the_same_with_a_label_for_both(alts: list[str]) -> None:
    image_diagrams.game()
    image_diagrams.game(labelled=True)
    assert alts[1] == alts[0] + " A label y goes into G and into D; the real x is one of that label."


def test_a_slope_of_one_is_drawn_with_its_walls(alts: list[str]) -> None:
    image_diagrams.lipschitz()
    assert "Two lines of slope 1 and −1 cross there" in alts[0]


@pytest.mark.parametrize("size", [4, 14])
def test_a_growing_generator_is_drawn_with_both_ways_out(alts: list[str], size: int) -> None:
    image_diagrams.growth(size)
    assert f"Feature maps of {size} pixels a side go two ways" in alts[0]
    assert f"enlarged to {2 * size} pixels, times one minus alpha" in alts[0]


def test_the_circle_is_drawn_with_what_is_compared(alts: list[str]) -> None:
    image_diagrams.cycle()
    assert "B(T(x)), which is compared with x" in alts[0] and "T(B(y)), which is compared with y" in alts[0]


@pytest.mark.parametrize(("k", "stride", "padding", "outputs"), [(4, 2, 1, 7), (3, 1, 1, 14), (3, 2, 0, 6)])
def test_a_convolution_is_drawn_with_as_many_windows_as_it_has(
    alts: list[str], k: int, stride: int, padding: int, outputs: int
) -> None:
    layer = nn.Conv2d(2, 5, k, stride, padding)
    image_diagrams.convolution(layer, 14)
    assert layer(torch.zeros(1, 2, 14, 14)).shape[2] == outputs
    assert f"and {outputs} windows of {k} pixels, {stride} apart" in alts[0]


class ToyUNet(nn.Module):
    """Two sizes, convolutions for blocks: what `unet` needs to know of a U-Net."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 2, 3, padding=1)
        self.down = nn.ModuleList([nn.Conv2d(2, 2, 1)])
        self.shrink = nn.ModuleList([nn.Conv2d(2, 4, 2, stride=2)])
        self.middle = nn.ModuleList([nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)])
        self.grow = nn.ModuleList([nn.ConvTranspose2d(4, 2, 2, stride=2)])
        self.up = nn.ModuleList([nn.Conv2d(4, 2, 1)])
        self.last = nn.Conv2d(2, 1, 1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        kept = self.down[0](self.first(x))
        x = self.middle[1](self.middle[0](self.shrink[0](kept)))
        return self.last(self.up[0](torch.cat([self.grow[0](x), kept], 1)))


def test_a_unet_is_drawn_as_it_runs(alts: list[str]) -> None:
    model, inputs = ToyUNet(), (torch.zeros(3, 1, 8, 8), torch.zeros(3))
    names = ("first", "down", "shrink", "middle", "middle", "grow", "up", "last")
    shapes = [(2, 8, 8)] * 2 + [(4, 4, 4)] * 3 + [(2, 8, 8)] * 2 + [(1, 8, 8)]
    depths = (0, 0, 1, 1, 1, 0, 0, 0)
    assert image_diagrams.unet_levels(model, *inputs) == list(zip(names, shapes, depths, strict=True))
    image_diagrams.unet(model, *inputs)
    assert "shrink (4, 4, 4); middle (4, 4, 4)" in alts[0]


def test_drawing_a_unet_leaves_no_hooks_behind_even_where_it_fails() -> None:
    model = ToyUNet()
    with pytest.raises(RuntimeError):
        image_diagrams.unet_levels(model, torch.zeros(3, 2, 8, 8), torch.zeros(3))
    assert not any(part._forward_hooks for part in model.modules())
