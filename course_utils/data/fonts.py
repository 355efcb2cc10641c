"""Digits drawn from matplotlib's own fonts in a random pose, with every factor known."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from course_utils.data.images import PIXELS


class Glyphs(NamedTuple):
    """Drawn digits: images (N, 28, 28) float32 in [0, 1], labels (N,) int64, factors (N, 7) float32.

    The columns of `factors`, by `names`: `digit` 0..9; `font`, an index into `FONTS`; `weight`, the font's stroke width
    as a share of the digit's height; `slant` in degrees, to the right; `size`, the digit's height in pixels; `x` and
    `y`, the digit's place in pixels from the image's centre, to the right and down.
    """

    images: torch.Tensor
    labels: torch.Tensor
    factors: torch.Tensor

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns of `factors`."""
        return FACTORS

    def factor(self, name: str) -> torch.Tensor:
        """One column of `factors`, (N,) float32, by its name."""
        if name not in FACTORS:
            raise ValueError(f"there is no factor {name!r}: choose one of {', '.join(FACTORS)}")
        return self.factors[:, FACTORS.index(name)]


FACTORS = ("digit", "font", "weight", "slant", "size", "x", "y")


# matplotlib's own fonts whose ten digits stand on one line and look like digits, with the slant (degrees) they come
# with. Left out: dotted zeros (DejaVu Sans Mono), hanging digits (cmmi10), italics whose digits lean by different
# angles (STIX, cmti10), fonts without digits.
FONTS = {
    "DejaVuSans": 0.0,
    "DejaVuSans-Bold": 0.0,
    "DejaVuSans-Oblique": 11.0,
    "DejaVuSans-BoldOblique": 11.0,
    "DejaVuSerif": 0.0,
    "DejaVuSerif-Bold": 0.0,
    "DejaVuSerif-Italic": 11.0,
    "DejaVuSerif-BoldItalic": 11.0,
    "STIXGeneral": 0.0,
    "STIXGeneralBol": 0.0,
    "cmr10": 0.0,
    "cmb10": 0.0,
    "cmss10": 0.0,
    "cmtt10": 0.0,
}


# The ranges from which a glyph's pose is drawn, evenly; the widest digit in the widest pose still fits the image.
POSES = {"slant": (-8.0, 20.0), "size": (15.0, 20.0), "x": (-1.5, 1.5), "y": (-1.5, 1.5)}


_ATLAS_PIXELS = 64  # a digit's square in the atlas
_ATLAS_HEIGHT = 40  # the digit's own height in it: 2 to 2.7 times its height in a glyph


def draw(n: int, seed: int) -> Glyphs:
    """Draw the factors, then pose each digit of the atlas by them, a thousand at a time."""
    atlas, weights = _atlas()
    even = torch.rand(n, 6, generator=torch.Generator().manual_seed(seed))
    digit, font = (even[:, 0] * 10).long(), (even[:, 1] * len(FONTS)).long()
    pose = {name: low + (high - low) * even[:, 2 + i] for i, (name, (low, high)) in enumerate(POSES.items())}
    factors = torch.stack([digit, font, weights[font], *pose.values()], dim=1).float()
    own_slant = torch.tensor(list(FONTS.values()))[font]
    shear = torch.tan(torch.deg2rad(pose["slant"])) - torch.tan(torch.deg2rad(own_slant))
    images = torch.empty(n, PIXELS, PIXELS)
    for chosen in torch.arange(n).split(1000):
        place = (shear[chosen], *(pose[name][chosen] for name in ("size", "x", "y")))
        images[chosen] = _pose(atlas[font[chosen], digit[chosen]], *place)
    return Glyphs(images, digit, factors)


def _pose(
    squares: torch.Tensor, shear: torch.Tensor, size: torch.Tensor, x: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    """Atlas squares (n, 64, 64), sheared, scaled and moved into images (n, 28, 28); one shear and place for each.

    A pixel at (u, v) from the image's centre, v down, shows the atlas at ((u - x) / scale + shear (v - y) / scale,
    (v - y) / scale) from the square's centre.
    """
    zoom = PIXELS / _ATLAS_PIXELS * _ATLAS_HEIGHT / size  # both axes run from -1 to 1 in affine_grid
    across, down = 2 * x / PIXELS, 2 * y / PIXELS
    zero = torch.zeros_like(zoom)
    theta = torch.stack([zoom, zoom * shear, -zoom * (across + shear * down), zero, zoom, -zoom * down], dim=1)
    grid = F.affine_grid(theta.view(-1, 2, 3), [len(squares), 1, PIXELS, PIXELS], align_corners=False)
    return F.grid_sample(squares[:, None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[:, 0]


@cache
def _atlas() -> tuple[torch.Tensor, torch.Tensor]:
    """Every digit of every font, (fonts, 10, 64, 64) in [0, 1], centred and 40 pixels high; and the weights (fonts,).

    Blurred over the two to three pixels that one pixel of a glyph will cover, so that sampling it does not alias.
    A font's weight is the mean stroke width as a share of the digit's height: a stroke's area is its width times its
    length, and its outline is about twice its length.
    """
    import matplotlib

    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    atlas = torch.stack(
        [torch.stack([_rasterise(folder / f"{font}.ttf", str(digit)) for digit in range(10)]) for font in FONTS]
    )
    slope = torch.stack(torch.gradient(atlas, dim=(-2, -1))).square().sum(0).sqrt()
    weights = (2 * atlas.sum((-2, -1)) / slope.sum((-2, -1))).mean(1) / _ATLAS_HEIGHT
    blur = torch.tensor([0.25, 0.5, 0.25])
    return F.conv2d(atlas.view(-1, 1, *atlas.shape[2:]), torch.outer(blur, blur)[None, None], padding=1).view_as(
        atlas
    ), weights


def _rasterise(font: Path, digit: str) -> torch.Tensor:
    """One digit, drawn large, reduced to a height of 40 pixels and centred in a square of (64, 64)."""
    from PIL import Image, ImageDraw, ImageFont

    if not font.exists():
        raise FileNotFoundError(f"{font} is missing: reinstall matplotlib (pip install --force-reinstall matplotlib)")
    large = Image.new("L", (320, 320))
    ImageDraw.Draw(large).text((80, 40), digit, fill=255, font=ImageFont.truetype(str(font), 160))
    box = large.getbbox()
    assert box is not None
    cut = large.crop(box)
    width = round(cut.width * _ATLAS_HEIGHT / cut.height)
    small = cut.resize((width + width % 2, _ATLAS_HEIGHT), Image.Resampling.BOX)  # an even width can be centred
    square = Image.new("L", (_ATLAS_PIXELS, _ATLAS_PIXELS))
    square.paste(small, ((_ATLAS_PIXELS - small.width) // 2, (_ATLAS_PIXELS - _ATLAS_HEIGHT) // 2))
    return torch.from_numpy(np.asarray(square, dtype=np.float32) / 255)
