"""The data of the course: MNIST, digits, glyphs, sea-surface temperatures, the Mackey-Glass series, texts, chorales.

Every call returns tensors on the CPU and leaves the global random generators alone. What is loaded from disk is kept in
memory and handed out again: copy it before writing into it. Sources, licences and sums: `data/README.md`.
"""

import math
import os
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from course_utils import download
from course_utils.chorales import Chorales, read_chorales
from course_utils.chorales import generate as generate_chorales
from course_utils.images import Images, Split, binarise
from course_utils.images import check_images as check_images
from course_utils.images import select as select
from course_utils.texts import LEAST, Text, read_text_file, split_text

PIXELS = 28  # height and width of MNIST's images and of the glyphs
BINARISATION_SEED = 2008  # of the generator that makes MNIST's validation and test images black and white


class Series(NamedTuple):
    """A monthly series: values (T,) float64, calendar years (T,) int64, months (T,) int64 in 1..12."""

    values: torch.Tensor
    years: torch.Tensor
    months: torch.Tensor
    source: str
    real: bool


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

_loaded: dict[str, Any] = {}
_sources: dict[str, dict[str, Any]] = {}


def sources_in_use() -> list[dict[str, Any]]:
    """The sets loaded in this process, each as `{"name", "source", "real"}`; `real` is False for a stand-in only.

    Glyphs and the Mackey-Glass series are generated, and real when asked for by name: no other data is meant.
    """
    return [dict(source) for source in _sources.values()]


def mnist() -> Images:
    """MNIST's handwritten digits: 50 000 training, 10 000 validation and 10 000 test images of 28x28 pixels.

    The validation set is the last 10 000 of the original training set. The files are looked for in $COURSE_DATA, then
    in `data/`, and downloaded otherwise. Where that cannot be, one line says so and 10 000 / 2 000 / 2 000 `glyphs`
    stand in, with `real` False. Raises `download.StorageError` when they could be downloaded but not kept.
    Source: LeCun, Bottou, Bengio and Haffner, 1998, "Gradient-based learning applied to document recognition".
    """
    return _note("MNIST", _find_mnist())


def binarised_mnist() -> Images:
    """MNIST in black and white: validation and test images are zeros and ones, drawn once ("static binarisation").

    Each pixel is 1 with probability equal to its grey level, drawn for the validation images and then for the test
    images by one generator with the seed `BINARISATION_SEED`: everybody scores the same pixels. The training images
    stay grey; `binarise` draws them anew for every batch ("dynamic binarisation"). All else is as in `mnist`.
    """
    key = _key("binarised MNIST")
    if key not in _loaded:
        grey, generator = _find_mnist(), torch.Generator().manual_seed(BINARISATION_SEED)
        validation, test = (Split(binarise(p.images, generator), p.labels) for p in (grey.validation, grey.test))
        source = f"{grey.source}, validation and test binarised once, seed {BINARISATION_SEED}"
        _loaded[key] = Images(grey.train, validation, test, source, grey.real)
    return _note("binarised MNIST", _loaded[key])


def shakespeare() -> Text:
    """Tiny Shakespeare: 1 115 394 characters of his plays, 65 different ones; train 1 003 854, validation 111 540.

    The file is looked for in $COURSE_DATA, then in `data/`, and downloaded otherwise. Where that cannot be, one line
    says so and 500 000 characters of `verse` stand in, with `real` False. Raises `download.StorageError` when it could
    be downloaded but not kept.
    Source: Karpathy, 2015, https://github.com/karpathy/char-rnn, data/tinyshakespeare.
    """
    fallback = "`verse`, plays from the course's own grammar"
    found = _find(download.SHAKESPEARE, _read_shakespeare, _stand_in_for_shakespeare, fallback)
    return _note("tiny Shakespeare", found)


def verse(n_characters: int, seed: int = 0) -> Text:
    """`n_characters` of plays from the course's own random grammar (`course_utils/verse.py`), whose entropy is known.

    The same seed gives the same text, and a longer one begins with a shorter one; the vocabulary is always that of the
    grammar. Raises ValueError when `n_characters` is not a whole number of at least 1 000.
    """
    _whole("n_characters", n_characters, least=LEAST, example="data.verse(500_000)")
    _whole("seed", seed)
    result = _verse(n_characters, seed, "the course's own grammar", real=True)
    return _note("verse", result)


def verse_entropy() -> float:
    """The entropy of `verse` in nats per character, exact: no model's expected loss on endless verse is lower."""
    from course_utils import verse

    return verse.entropy()


def verse_surprise(text: str) -> torch.Tensor:
    """-log p of each character of an excerpt of `verse`, given those before it in the excerpt: (T,) float64, nats.

    It is the loss of a reader who knows the grammar, but not what came before: the least that a model can expect. Its
    mean over a long text tends to `verse_entropy()`. Raises ValueError where no play could go on in this way.
    """
    from course_utils import verse

    return verse.surprise(text)


def corpus(path: str | Path) -> Text:
    """A text file of your own, in UTF-8, of at least 1 000 characters; train and validation as for `shakespeare`.

    Raises FileNotFoundError or IsADirectoryError when `path` is no file, and ValueError when the file is empty, too
    short, or not UTF-8.
    """
    path = Path(path).expanduser()
    return _note(path.name, read_text_file(path))


def chorales() -> Chorales:
    """J. S. Bach's chorales at eighth-note steps: 229 for training, 76 for validation, 77 for testing; (T, 4) each.

    Each row has the MIDI pitches of soprano, alto, tenor and bass; a silent voice is -1. The split is the file's. It is
    looked for in $COURSE_DATA, then in `data/`, and downloaded otherwise. Where that cannot be, one line says so and
    120 / 40 / 40 pieces of four-part harmony by rule (`course_utils/chorales.py`) stand in, with `real` False. Raises
    `download.StorageError` when it could be downloaded but not kept.
    Source: https://github.com/czhuang/JSB-Chorales-dataset, with the split of Boulanger-Lewandowski, Bengio and
    Vincent, "Modeling temporal dependencies in high-dimensional sequences", ICML 2012.
    """
    found = _find(download.CHORALES, _read_chorales, _stand_in_for_chorales, "four-part harmony made by rule")
    return _note("JSB chorales", found)


def digits() -> Images:
    """scikit-learn's handwritten digits: 1 197 training, 300 validation and 300 test images of 8x8 pixels, in [0, 1].

    The parts follow each other in the file's order. Source: Alpaydin and Kaynak, 1998, "Optical recognition of
    handwritten digits", UCI Machine Learning Repository (its test set), https://doi.org/10.24432/C50P49.
    """
    if "digits" not in _loaded:
        from sklearn.datasets import load_digits

        bunch: Any = load_digits()
        images = torch.from_numpy(bunch.images).float() / 16
        labels = torch.from_numpy(bunch.target).long()
        _loaded["digits"] = Images(*_three_parts(images, labels, 1197, 300), "scikit-learn's digits", True)
    return _note("digits", _loaded["digits"])


def temperature() -> Series:
    """Monthly sea-surface temperatures off Peru and Ecuador (0-10° S, 80-90° W), 1950 to 2010: 732 values in °C.

    Source: statsmodels' `elnino`: NOAA's ERSST.V3B, region Niño 1+2.
    """
    if "temperature" not in _loaded:
        package = find_spec("statsmodels")  # importing it would take two seconds, for one table
        if package is None or not package.submodule_search_locations:
            raise ModuleNotFoundError("the temperatures come with statsmodels: pip install statsmodels")
        path = Path(package.submodule_search_locations[0]) / "datasets" / "elnino" / "elnino.csv"
        table = np.loadtxt(path, delimiter=",", skiprows=1)  # (years, 13): the year, then its 12 months
        values = torch.from_numpy(table[:, 1:].flatten())
        years = torch.from_numpy(table[:, 0].astype(np.int64))
        months = torch.arange(1, 13).repeat(len(years))
        _loaded["temperature"] = Series(values, years.repeat_interleave(12), months, "statsmodels' El Niño", True)
    return _note("temperature", _loaded["temperature"])


def glyphs(n: int, seed: int = 0) -> Glyphs:
    """`n` digits drawn from matplotlib's own fonts in a random pose, 28x28 pixels, with every factor known.

    The same seed gives the same glyphs, and a larger `n` begins with those of a smaller one. Digit, font and pose are
    drawn evenly and independently of each other (`FONTS`, `POSES`). Raises ValueError when `n` is not a whole number
    of at least 1.
    """
    _whole("n", n, least=1, example="data.glyphs(1000)")
    _whole("seed", seed)
    result = _draw_glyphs(n, seed)
    _sources["glyphs"] = {"name": "glyphs", "source": "drawn from matplotlib's fonts", "real": True}
    return result


def mackey_glass(length: int, tau: float = 17.0, every: float = 6.0, seed: int = 0) -> torch.Tensor:
    """`length` samples, `every` time units apart, of the Mackey-Glass delay differential equation: (length,) float64.

    dx/dt = 0.2 x(t - tau) / (1 + x(t - tau)^10) - 0.1 x(t), chaotic from tau = 16.8 on. The seed draws the constant
    history before time 0 from [1.1, 1.3); the first 1 000 time units (or 20 tau, if that is more) are left out. Solved
    by a fourth-order Runge-Kutta method with steps of at most 0.1 and cubic interpolation of the delayed value.
    Raises ValueError when length < 1, tau < 0.1 or every < 0.01.
    Source: Mackey and Glass, 1977, "Oscillation and chaos in physiological control systems", Science 197.
    """
    _whole("length", length, least=1, example="data.mackey_glass(1000)")
    _whole("seed", seed)
    _at_least("tau", tau, 0.1, "17.0, the delay of the chaotic series in the literature")
    _at_least("every", every, 0.01, "6.0, six time units between samples")
    history = 1.1 + 0.2 * torch.rand((), generator=torch.Generator().manual_seed(seed), dtype=torch.float64).item()
    per_sample = math.ceil(round(every / min(0.1, tau), 9))
    skipped = math.ceil(max(1000.0, 20 * tau) / every)
    x = _solve_mackey_glass(history, tau, step=every / per_sample, steps=(skipped + length) * per_sample)
    _sources["Mackey-Glass"] = {"name": "Mackey-Glass", "source": "the Mackey-Glass equation", "real": True}
    return torch.from_numpy(x[(skipped + 1) * per_sample :: per_sample].copy())


def _find_mnist() -> Images:
    fallback = "`glyphs`, digits drawn from matplotlib's fonts"
    return _find(download.MNIST, _read_mnist, _stand_in_for_mnist, fallback)


def _find(dataset: download.Dataset, read: Callable[[Path], Any], stand_in: Callable[[], Any], fallback: str) -> Any:
    """A set that is a download: read it, or say once that it is out of reach and make its stand-in."""
    name = dataset.name
    key = _key(name)
    if key not in _loaded:
        try:
            _loaded[key] = read(download.find_or_fetch(dataset))
        except download.UnavailableError as error:
            download.say_once(
                f"{name} is not on this machine and could not be downloaded ({error}): using {fallback}, in its place. "
                "Set COURSE_DATA or connect to the internet, and restart."
            )
            _loaded[key] = stand_in()
    return _loaded[key]


def _key(name: str) -> str:
    """Under which a set is kept in memory: other places to look for it may hold other data."""
    places = "COURSE_DATA", "COURSE_CACHE", "COURSE_OFFLINE"
    return f"{name} " + "|".join(os.environ.get(place, "") for place in places)


def _note(name: str, loaded: Any) -> Any:
    """Enter a loaded set among the `sources_in_use`, and hand it on."""
    _sources[name] = {"name": name, "source": loaded.source, "real": loaded.real}
    return loaded


def _whole(name: str, value: int, least: int | None = None, example: str = "seed=0") -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or (least is not None and value < least):
        bound = "" if least is None else f" of at least {least}"
        raise ValueError(f"{name} must be a whole number{bound}, not {value!r}: for example {example}")


def _at_least(name: str, value: float, least: float, example: str) -> None:
    if not (math.isfinite(value) and value >= least):
        raise ValueError(f"{name} must be a number of at least {least}, not {value!r}: for example {example}")


def _read_mnist(root: Path) -> Images:
    """MNIST from the files below `root`, in torchvision's layout; their sums have been verified.

    torchvision would read them too, but importing it takes 4 seconds in every notebook. A test compares the two.
    """
    raw = root / "MNIST" / "raw"
    parts = []
    for name in ("train", "t10k"):
        # The IDX format: 4 bytes and one 4-byte size for each dimension, then the values.
        images = np.fromfile(raw / f"{name}-images-idx3-ubyte", dtype=np.uint8, offset=16).reshape(-1, 28, 28)
        labels = np.fromfile(raw / f"{name}-labels-idx1-ubyte", dtype=np.uint8, offset=8)
        parts.append((torch.from_numpy(images).float().div_(255), torch.from_numpy(labels).long()))
    (images, labels), (test_images, test_labels) = parts
    train, validation = Split(images[:50_000], labels[:50_000]), Split(images[50_000:], labels[50_000:])
    return Images(train, validation, Split(test_images, test_labels), source="MNIST", real=True)


def _stand_in_for_mnist() -> Images:
    drawn = _draw_glyphs(14_000, seed=0)
    return Images(*_three_parts(drawn.images, drawn.labels, 10_000, 2_000), "stand-in: glyphs", False)


def _read_shakespeare(root: Path) -> Text:
    text = (root / download.SHAKESPEARE.files[0].path).read_text(encoding="utf-8")
    return split_text(text, "tiny Shakespeare", real=True)


def _stand_in_for_shakespeare() -> Text:
    return _verse(500_000, 0, "stand-in: verse", real=False)


def _read_chorales(root: Path) -> Chorales:
    return read_chorales(root / download.CHORALES.files[0].path)


def _stand_in_for_chorales() -> Chorales:
    pieces = generate_chorales(200, seed=0)
    return Chorales(pieces[:120], pieces[120:160], pieces[160:], "stand-in: harmony by rule", False)


def _verse(n_characters: int, seed: int, source: str, real: bool) -> Text:
    from course_utils import verse

    return split_text(verse.generate(n_characters, seed), source, real, verse.vocabulary())


def _three_parts(images: torch.Tensor, labels: torch.Tensor, train: int, validation: int) -> tuple[Split, Split, Split]:
    """Consecutive parts of the given sizes; the test part is what is left."""
    first, second, third = slice(0, train), slice(train, train + validation), slice(train + validation, None)
    return (
        Split(images[first], labels[first]),
        Split(images[second], labels[second]),
        Split(images[third], labels[third]),
    )


def _draw_glyphs(n: int, seed: int) -> Glyphs:
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


def _solve_mackey_glass(history: float, tau: float, step: float, steps: int) -> np.ndarray:
    """The solution at times 0, step, …, steps * step: (steps + 1,) float64, from the constant `history`; step <= tau.

    It advances in blocks that are no longer than the delay: within one, all delayed values are known beforehand.
    """
    x = np.full(steps + 1, history)
    slope = np.zeros(steps + 1)
    block = max(1, math.floor(round(tau / step, 9)))
    for start in range(0, steps, block):
        stop = min(start + block, steps)
        times = np.arange(2 * start, 2 * stop + 1) / 2 - tau / step  # delayed, in steps: nodes and midpoints
        delayed = _hermite(x[: start + 1], slope[: start + 1], times, step, history)
        growth = 0.2 * delayed / (1 + delayed**10)
        x[start + 1 : stop + 1] = _runge_kutta(x[start], growth.tolist(), step)
        slope[start : stop + 1] = growth[::2] - 0.1 * x[start : stop + 1]
    return x


def _runge_kutta(x: float, growth: list[float], step: float) -> list[float]:
    """Classical Runge-Kutta steps of dx/dt = growth(t) - 0.1 x; `growth` is given at nodes and midpoints in turn."""
    path = []
    for i in range(0, len(growth) - 1, 2):
        at_start, at_middle, at_end = growth[i : i + 3]
        k1 = at_start - 0.1 * x
        k2 = at_middle - 0.1 * (x + step / 2 * k1)
        k3 = at_middle - 0.1 * (x + step / 2 * k2)
        k4 = at_end - 0.1 * (x + step * k3)
        x += step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        path.append(x)
    return path


def _hermite(x: np.ndarray, slope: np.ndarray, times: np.ndarray, step: float, history: float) -> np.ndarray:
    """The solution at `times` (in steps) by cubic Hermite interpolation of its known nodes; `history` before time 0."""
    node = np.clip(np.floor(times).astype(int), 0, max(len(x) - 2, 0))
    after = np.minimum(node + 1, len(x) - 1)
    s = np.clip(times - node, 0.0, 1.0)
    left = (1 + 2 * s) * x[node] + s * step * slope[node]
    right = (3 - 2 * s) * x[after] - (1 - s) * step * slope[after]
    between = (1 - s) ** 2 * left + s**2 * right
    return np.where(times <= 0, history, between)
