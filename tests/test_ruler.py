"""The ruler is trained once for each setting, never read from a damaged file, and measures what its names say."""

import hashlib
import io
import os
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils import data, evaluate, ruler, runtime, training

TINY = ruler.Recipe(channels=2, shown=320, batch=32, shift=1)
ABLE = ruler.Recipe(channels=4, shown=3_200, batch=32, rate=0.01, shift=1, compare=100)


@pytest.fixture(scope="module")
def drawn() -> data.Images:
    """Real enough, quick to draw, and in need of no download."""
    glyphs = data.glyphs(1100)
    parts = [data.Split(glyphs.images[a:b], glyphs.labels[a:b]) for a, b in ((0, 500), (500, 800), (800, 1100))]
    return data.Images(*parts, source="glyphs", real=True)


@pytest.fixture(scope="module")
def once(drawn: data.Images, tmp_path_factory: pytest.TempPathFactory) -> tuple[ruler.Ruler, Path]:
    """A ruler, and the file that it was kept in."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        settle(patch, cache, drawn, TINY)
        made = ruler.load(session())
    (path,) = (cache / "rulers").iterdir()
    return made, path


@pytest.fixture
def trained(
    once: tuple[ruler.Ruler, Path], drawn: data.Images, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> ruler.Ruler:
    """A ruler that a cache of the test's own holds."""
    cache = tmp_path / "cache"
    settle(monkeypatch, cache, drawn, TINY)
    (cache / "rulers").mkdir(parents=True)
    (cache / "rulers" / once[1].name).write_bytes(once[1].read_bytes())
    return once[0]


@pytest.fixture(scope="module")
def able(drawn: data.Images, tmp_path_factory: pytest.TempPathFactory) -> ruler.Ruler:
    """A ruler that knows most digits."""
    with pytest.MonkeyPatch.context() as patch:
        settle(patch, tmp_path_factory.mktemp("cache"), drawn, ABLE)
        return ruler.load(session())


def settle(patch: pytest.MonkeyPatch, cache: Path, images: data.Images, recipe: ruler.Recipe) -> None:
    patch.setenv("COURSE_CACHE", str(cache))
    patch.setattr(ruler, "RECIPES", dict.fromkeys(("smoke", "cpu", "gpu"), recipe))
    patch.setattr(data, "mnist", lambda: images)


def session(profile: str = "smoke", **changes: Any) -> runtime.Session:
    made = runtime.Session(profile, torch.device("cpu"), 0, "fp32", torch.Generator())
    return replace(made, **changes)


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "rulers").iterdir())


def equal(a: ruler.Ruler, b: ruler.Ruler) -> bool:
    """Bit for bit."""
    weights = zip(a.network.state_dict().values(), b.network.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in weights) and (a.accuracy, a.floor) == (b.accuracy, b.floor)


# --- the cache --------------------------------------------------------------------------------------------------


def test_it_is_trained_once_and_then_read(
    trained: ruler.Ruler, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (before,) = kept(tmp_path)
    again = ruler.load(session(seed=5))
    assert capsys.readouterr().out.startswith("Ruler: read from the cache; ")
    assert equal(again, trained) and kept(tmp_path) == [before]
    before.unlink()
    anew = ruler.load(session())
    shown = capsys.readouterr().out
    assert "Ruler: trained; " in shown and "cache" not in shown
    assert equal(anew, trained) and kept(tmp_path) == [before]
    assert list((tmp_path / "cache" / "checkpoints").iterdir()) == []


def other_code(patch: pytest.MonkeyPatch, path: Path) -> None:
    text = Path(ruler.__file__).read_text(encoding="utf-8")
    path.write_text(text + "\n", encoding="utf-8")
    patch.setattr(ruler, "__file__", str(path))


def other_images(patch: pytest.MonkeyPatch, part: str) -> None:
    images = data.mnist()
    split = getattr(images, part)
    changed = split.images.clone()
    changed[17, 3, 4] += 0.001
    altered = images._replace(**{part: split._replace(images=changed)})
    patch.setattr(data, "mnist", lambda: altered)


@pytest.mark.parametrize(
    "change",
    [
        *(partial(lambda p, _, part: other_images(p, part), part=part) for part in ("train", "validation", "test")),
        lambda patch, _: patch.setitem(ruler.RECIPES, "smoke", replace(TINY, seed=1)),
        lambda patch, _: patch.setitem(ruler.RECIPES, "smoke", replace(TINY, weight_decay=0.02)),
        lambda patch, path: other_code(patch, path / "ruler.py"),
    ],
    ids=["training images", "validation images", "test images", "seed", "setting", "code"],
)
def test_another_recipe_code_or_data_needs_another_ruler(
    change: Callable[[pytest.MonkeyPatch, Path], None],
    trained: ruler.Ruler,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change(monkeypatch, tmp_path)
    ruler.load(session())
    assert len(kept(tmp_path)) == 2


@pytest.mark.parametrize(
    "change", [{"profile": "cpu"}, {"precision": "bf16"}, {"device": torch.device("meta")}], ids=lambda c: next(iter(c))
)
def test_another_profile_precision_or_device_needs_another_ruler(change: dict[str, Any], trained: ruler.Ruler) -> None:
    keys = [ruler._key(made, TINY, data.mnist()) for made in (session(), session(seed=3), session(**change))]
    assert keys[0] == keys[1] != keys[2]


class Bomb:
    """Unpickled without care, it makes a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def cut(content: bytes, _: Path) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes, _: Path) -> bytes:
    return content[:-300] + bytes([content[-300] ^ 1]) + content[-299:]


def packed(state: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def with_code(content: bytes, path: Path) -> bytes:
    return packed({"network": Bomb(path), "accuracy": 0.0, "floor": 1.0})


def of_another_network(content: bytes, _: Path) -> bytes:
    return packed({"network": ruler.Classifier(3).state_dict(), "accuracy": 0.0, "floor": 1.0})


@pytest.mark.parametrize(
    "damage, rightly_named",
    [(cut, False), (cut, True), (flip, False), (with_code, False), (with_code, True), (of_another_network, True)],
)
def test_a_damaged_file_is_trained_anew_and_said(
    damage: Callable[[bytes, Path], bytes],
    rightly_named: bool,
    trained: ruler.Ruler,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (path,) = kept(tmp_path)
    content = damage(path.read_bytes(), tmp_path / "exploded")
    damaged = (
        path.with_name(f"{path.stem.rpartition('-')[0]}-{hashlib.sha256(content).hexdigest()[:16]}.pt")
        if rightly_named
        else path
    )
    path.unlink()
    damaged.write_bytes(content)
    again = ruler.load(session())
    shown = capsys.readouterr().out
    assert f"Ruler: {damaged.name} is damaged and passed over (" in shown and "Ruler: trained; " in shown
    assert equal(again, trained) and kept(tmp_path) == [path]
    assert not (tmp_path / "exploded").exists()


def test_an_interrupted_training_goes_on_and_ends_with_the_same_ruler(
    trained: ruler.Ruler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = kept(tmp_path)
    path.unlink()
    calls, cross_entropy = 0, F.cross_entropy

    def interrupted(*arguments: Any) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 7:
            raise KeyboardInterrupt
        return cross_entropy(*arguments)

    monkeypatch.setattr(training, "steps", partial(training.steps, every=-1.0))
    monkeypatch.setattr(F, "cross_entropy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ruler.load(session())
    assert kept(tmp_path) == []
    torch.manual_seed(99)
    again = ruler.load(session())
    assert "going on from step 6 of 10" in capsys.readouterr().out
    assert equal(again, trained) and kept(tmp_path) == [path]


def test_a_disk_that_fails_half_way_leaves_the_earlier_file_and_a_ruler(
    trained: ruler.Ruler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = kept(tmp_path)
    path.write_bytes(b"")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert equal(ruler.load(session()), trained)
    assert re.search(
        r"Ruler: it is not kept, since the disk of \S+ is full: \d\.\d MB are needed", capsys.readouterr().out
    )
    assert kept(tmp_path) == [path] and path.read_bytes() == b""


def test_where_nothing_can_be_written_it_is_trained_and_not_kept(
    trained: ruler.Ruler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "file"))
    assert equal(ruler.load(session()), trained)
    shown = capsys.readouterr().out
    assert "Ruler: it will not be kept (the course cannot write to " in shown and "Ruler: trained; " in shown


def test_the_global_generator_is_left_alone_and_does_not_matter(trained: ruler.Ruler, tmp_path: Path) -> None:
    for path in kept(tmp_path):
        path.unlink()
    torch.manual_seed(123)
    before = torch.get_rng_state()
    assert equal(ruler.load(session()), trained)
    assert torch.equal(torch.get_rng_state(), before)


# --- what it measures -------------------------------------------------------------------------------------------


def test_it_learns(able: ruler.Ruler, drawn: data.Images) -> None:
    images, labels = drawn.test.images.unsqueeze(1), drawn.test.labels
    assert able.accuracy == pytest.approx(100 * (able.classes(images) == labels).double().mean().item())
    assert able.accuracy > 85
    shares = able.shares(images)
    assert shares.sum().item() == pytest.approx(1)
    assert torch.allclose(shares * len(images), able.classes(images).bincount(minlength=10).float())


def test_features_are_the_last_hidden_layer_of_each_image_alone(able: ruler.Ruler, drawn: data.Images) -> None:
    images = drawn.train.images[:503].unsqueeze(1)
    features, logits = able.features(images), able.logits(images)
    assert features.shape == (500, ruler.WIDTH) and features.dtype == torch.float32 and features.amin() == 0
    assert torch.allclose(able.network.head(features), logits, atol=1e-4)
    assert torch.allclose(able.features(images[7:9]), features[7:9], atol=1e-4)
    assert not features.requires_grad and not able.network.training
    for kind in (torch.float64, torch.bfloat16):
        assert torch.allclose(able.features(images[:5].to(kind)), features[:5], rtol=0.1, atol=0.1)


def test_the_callers_autocast_does_not_change_the_measure(able: ruler.Ruler, drawn: data.Images) -> None:
    images = drawn.test.images.unsqueeze(1)
    expected = able.features(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(able.features(images), expected)


def test_real_images_score_the_floor(able: ruler.Ruler, drawn: data.Images) -> None:
    validation, test = drawn.validation.images.unsqueeze(1), drawn.test.images.unsqueeze(1)
    score = able.score(validation)
    assert score.frechet == able.floor == able.frechet(validation) and score.ratio == 1
    assert able.frechet(test, against="validation") == pytest.approx(able.floor, rel=1e-9)
    assert min(score.precision, score.recall) > 0.5 and score.covered == 10
    same = able.score(test)
    assert same.frechet < 1e-6 * able.floor and (same.precision, same.recall) == (1, 1)


def test_worse_images_score_worse(able: ruler.Ruler, drawn: data.Images) -> None:
    validation, labels = drawn.validation.images.unsqueeze(1), drawn.validation.labels
    noise = torch.rand(validation.shape, generator=torch.Generator().manual_seed(0))
    for worse in (noise, validation[labels == 3], F.avg_pool2d(validation, 5, 1, 2), 0.7 * validation + 0.3 * noise):
        assert able.score(worse).ratio > 2
    only_threes = able.score(drawn.train.images[drawn.train.labels == 3].unsqueeze(1))
    assert only_threes.recall < 0.5 < only_threes.shares[3] and only_threes.covered < 10


def test_a_class_is_covered_from_five_percent_on(able: ruler.Ruler, drawn: data.Images) -> None:
    images = drawn.train.images.unsqueeze(1)
    found = able.classes(images)
    digits = found.unique()[:2]
    many, few = (images[found == digit][:1] for digit in digits)
    for count, covered in ((5, 2), (4, 1)):
        mixed = torch.cat([many.expand(100 - count, -1, -1, -1), few.expand(count, -1, -1, -1)])
        assert able.score(mixed).covered == covered


def test_the_order_of_the_images_does_not_matter(able: ruler.Ruler, drawn: data.Images) -> None:
    validation, labels = drawn.validation
    sorted_images = validation[labels.argsort()].unsqueeze(1)
    mixed, in_order = able.score(validation.unsqueeze(1)), able.score(sorted_images)
    assert in_order.frechet == pytest.approx(mixed.frechet, rel=1e-6)
    assert in_order.recall == pytest.approx(mixed.recall, abs=0.2)  # of 100 of 300 images
    some = able._some(torch.arange(300.0).unsqueeze(1))
    assert len(some) == ABLE.compare and some.diff(dim=0).unique().numel() > 20  # no regular distance


@pytest.mark.parametrize("against", ["train", "Test", ""])
def test_only_two_parts_can_be_held_against(against: str, able: ruler.Ruler, drawn: data.Images) -> None:
    with pytest.raises(ValueError, match=f'held against "test" or "validation", not {against!r}'):
        able.frechet(drawn.test.images.unsqueeze(1), against)


@pytest.mark.parametrize("measure", ["features", "logits", "classes", "shares", "frechet", "score", "perceptual"])
@pytest.mark.parametrize(
    "images, message",
    [
        (torch.zeros(5, 28, 28), "add the channel with images.unsqueeze"),
        (torch.zeros(5, 1, 32, 32), r"32 x 32 pixels, and this classifier knows 28 x 28: resize"),
        (torch.zeros(5, 3, 28, 28), "have 3 channels"),
        (torch.zeros(0, 1, 28, 28), "there are no images"),
        (torch.zeros(5, 1, 28, 28, dtype=torch.uint8), "images are torch.uint8, not floats"),
        (torch.full((5, 1, 28, 28), torch.nan), "pixels that are NaN"),
    ],
    ids=lambda value: "" if isinstance(value, Tensor) else value[:20],
)
def test_what_is_no_set_of_images_is_refused(measure: str, images: Tensor, message: str, able: ruler.Ruler) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(able, measure)(images)


def test_levels_outside_the_unit_interval_are_refused_with_advice(able: ruler.Ruler) -> None:
    with pytest.raises(ValueError, match=r"images run from -1 to 1, outside .* \(images \+ 1\) / 2"):
        able.score(torch.linspace(-1, 1, 5 * 784).view(5, 1, 28, 28))


def test_perceptual_maps_let_gradients_through_to_the_images_alone(able: ruler.Ruler, drawn: data.Images) -> None:
    images = (1.2 * drawn.test.images[:4].unsqueeze(1) - 0.1).requires_grad_()  # levels outside [0, 1], as in training
    maps = able.perceptual(images)
    assert [tuple(m.shape) for m in maps] == [(4, 4, 28, 28), (4, 8, 14, 14), (4, 16, 7, 7)]
    sum(m.square().sum() for m in maps).backward()  # type: ignore[union-attr]
    assert images.grad is not None and images.grad.isfinite().all() and images.grad.abs().amax() > 0
    assert all(p.grad is None and not p.requires_grad for p in able.network.parameters())


def test_perceptual_maps_lead_to_the_features(able: ruler.Ruler, drawn: data.Images) -> None:
    images = drawn.test.images[:4].unsqueeze(1)
    hidden = able.network.hidden(able.perceptual(images)[-1].flatten(1)).relu()
    assert torch.allclose(hidden, able.features(images), atol=1e-5)


# --- moved images -----------------------------------------------------------------------------------------------


def test_images_are_moved_by_every_number_of_pixels_and_zeros_move_in() -> None:
    images = torch.zeros(2000, 2, 5, 7)
    images[:, 0, 2, 3], images[:, 1, 0, 6] = 1.0, 2.0  # the middle, and a corner that may be moved out
    moved = ruler.shifted(images, 2, torch.Generator().manual_seed(0))
    places = moved[:, 0].flatten(1).argmax(1)
    rows, columns = places // 7 - 2, places % 7 - 3
    assert (moved[:, 0].flatten(1).sum(1) == 1).all()
    counts = torch.bincount((rows + 2) * 5 + columns + 2, minlength=25)
    assert counts.amin() > 40 and counts.amax() < 125  # 80 each are expected
    stays = (rows >= 0) & (columns <= 0)
    assert torch.equal(moved[:, 1].flatten(1).sum(1), 2.0 * stays)
    for image, row, column in zip(moved[stays], rows[stays].tolist(), columns[stays].tolist(), strict=True):
        assert image[1, row, 6 + column] == 2


def test_a_move_by_nothing_changes_nothing_and_equal_generators_move_alike() -> None:
    images = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    assert torch.equal(ruler.shifted(images, 0, torch.Generator()), images)
    a, b, c = (ruler.shifted(images, 3, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)


@pytest.mark.parametrize("profile", ["smoke", "cpu", "gpu"])
def test_the_recipes_fit_their_profiles(profile: str) -> None:
    recipe = ruler.RECIPES[profile]
    assert recipe.shown >= 30 * recipe.batch and recipe.compare <= 10_000
    logits = ruler.Classifier(recipe.channels)(torch.zeros(2, 1, 28, 28))
    assert logits.shape == (2, 10) and evaluate.accuracy(logits, logits.argmax(1)) == 1
