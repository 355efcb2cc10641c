"""The course's data: shapes, units, sources, stand-ins, and that nothing depends on a hidden state."""

import ast
import hashlib
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from course_utils import data, runtime
from course_utils.data import delay, download, fonts, images, texts
from course_utils.data.download import Dataset, File, StorageError

pytestmark = pytest.mark.usefixtures("no_data")


def idx(values: np.ndarray) -> bytes:
    """MNIST's file format: two zeros, the type (8: bytes), the number of axes, their lengths, the values."""
    return bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape) + values.tobytes()


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset]:
    """Files of MNIST's layout and size; each image's first pixels spell its number, its label is the last digit."""
    root, files = tmp_path_factory.mktemp("planted"), []
    (root / "MNIST/raw").mkdir(parents=True)
    for name, count in (("train", 60_000), ("t10k", 10_000)):
        images = np.zeros((count, 28, 28), np.uint8)
        images[:, 0, 0], images[:, 0, 1] = np.arange(count) // 256, np.arange(count) % 256
        labels = (np.arange(count) % 10).astype(np.uint8)
        for kind, content in (("images-idx3", idx(images)), ("labels-idx1", idx(labels))):
            path = f"MNIST/raw/{name}-{kind}-ubyte"
            (root / path).write_bytes(content)
            files.append(File(path, len(content), hashlib.sha256(content).hexdigest()))
    return root, Dataset("MNIST", ("http://mirror.invalid/",), tuple(files))


@pytest.fixture
def with_planted(planted: tuple[Path, Dataset], monkeypatch: pytest.MonkeyPatch) -> None:
    root, dataset = planted
    monkeypatch.setattr(download, "MNIST", dataset)
    monkeypatch.setenv("COURSE_DATA", str(root))


# MNIST and its stand-in


def test_mnist_holds_out_the_last_ten_thousand_of_the_training_set(with_planted: None) -> None:
    images = data.mnist()
    numbers = [(part.images[:, 0, 0] * 256 * 255 + part.images[:, 0, 1] * 255).round().long() for part in images[:3]]
    expected = [torch.arange(50_000), torch.arange(50_000, 60_000), torch.arange(10_000)]
    for part, number, counted in zip(images[:3], numbers, expected, strict=True):
        assert part.images.shape == (len(counted), 28, 28) and part.images.dtype == torch.float32
        assert part.labels.dtype == torch.int64 and torch.equal(part.labels, counted % 10)
        assert torch.equal(number, counted)
        assert part.images.min() == 0 and part.images.max() == 1
    assert images.source == "MNIST" and images.real is True
    assert data.mnist() is images


def test_without_mnist_glyphs_stand_in_and_one_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    images = data.mnist()
    data.mnist()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("MNIST is not on this machine and could not be downloaded (COURSE_OFFLINE is set)")
    assert "`glyphs`" in lines[0] and "COURSE_DATA" in lines[0] and "internet" in lines[0]
    assert [part.images.shape for part in images[:3]] == [(10_000, 28, 28), (2_000, 28, 28), (2_000, 28, 28)]
    assert images.source == "stand-in: glyphs" and images.real is False
    assert runtime.sources_in_use() == [{"name": "MNIST", "source": "stand-in: glyphs", "real": False}]
    assert data.mnist() is images


def test_the_stand_in_gives_way_when_course_data_is_set(
    planted: tuple[Path, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MNIST", planted[1])
    assert not data.mnist().real
    monkeypatch.setenv("COURSE_DATA", str(planted[0]))
    assert data.mnist().real
    assert runtime.sources_in_use() == [{"name": "MNIST", "source": "MNIST", "real": True}]


def test_a_machine_that_cannot_keep_mnist_gets_an_error_and_no_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(dataset: Dataset) -> Path:
        raise StorageError("the disk is full")

    monkeypatch.setattr(download, "find_or_fetch", full)
    with pytest.raises(StorageError):
        data.mnist()
    assert runtime.sources_in_use() == []


def test_mnist_is_read_as_torchvision_reads_it(planted: tuple[Path, Dataset], monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import MNIST

    root, dataset = planted
    monkeypatch.setattr(download, "MNIST", dataset)
    monkeypatch.setenv("COURSE_DATA", str(root))
    ours = data.mnist()
    training, test = MNIST(str(root), train=True), MNIST(str(root), train=False)
    assert torch.equal(torch.cat([ours.train.images, ours.validation.images]), training.data.float() / 255)
    assert torch.equal(torch.cat([ours.train.labels, ours.validation.labels]), training.targets)
    assert torch.equal(ours.test.images, test.data.float() / 255)
    assert torch.equal(ours.test.labels, test.targets)


def only_where_there_is(dataset: download.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the test on a machine without the real files; else let it look where everybody looks."""
    monkeypatch.undo()
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    try:
        download.find_or_fetch(dataset)
    except download.UnavailableError:
        pytest.skip(f"{dataset.name} is not on this machine")


def test_the_real_mnist_is_read_where_it_is_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    only_where_there_is(download.MNIST, monkeypatch)
    train, validation, test, source, real = data.mnist()
    assert real and source == "MNIST"
    assert torch.bincount(torch.cat([train.labels, validation.labels])).tolist() == [
        *(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
    ]
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert test.images.mean().item() == pytest.approx(0.1325, abs=1e-4)


# Black and white


def test_binarised_mnist_scores_everybody_on_the_same_zeros_and_ones(with_planted: None) -> None:
    grey, images = data.mnist(), data.binarised_mnist()
    assert images.train is grey.train and images.real is True
    for part, static in ((grey.validation, images.validation), (grey.test, images.test)):
        assert static.images.dtype == torch.float32 and static.images.shape == part.images.shape
        assert torch.equal(static.images.unique(), torch.tensor([0.0, 1.0])) and static.labels is part.labels
        assert torch.equal(static.images[part.images == 0].unique(), torch.tensor([0.0]))  # and certain ones are 1:
        assert torch.equal(static.images[part.images == 1].unique(), torch.tensor([1.0]))
    expected = grey.validation.images.double().sum().item()
    assert images.validation.images.sum().item() == pytest.approx(expected, abs=5 * (expected / 4 + 1) ** 0.5 + 1)
    assert data.binarised_mnist() is images


def test_a_report_names_the_binarisation(with_planted: None) -> None:
    source = f"MNIST, validation and test binarised once, seed {data.BINARISATION_SEED}"
    assert data.binarised_mnist().source == source
    assert runtime.sources_in_use() == [{"name": "binarised MNIST", "source": source, "real": True}]
    data.mnist()
    assert [source["name"] for source in runtime.sources_in_use()] == ["binarised MNIST", "MNIST"]


def test_without_mnist_the_stand_in_is_binarised_and_still_says_that_it_is_one(
    planted: tuple[Path, Dataset], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = data.binarised_mnist()
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert images.real is False and images.source.startswith("stand-in: glyphs, validation and test binarised once")
    # 2 000 images of 784 pixels whose mean is 0.126: the standard error is below 0.0003
    assert images.test.images.mean().item() == pytest.approx(data.mnist().test.images.mean().item(), abs=0.001)
    monkeypatch.setattr(download, "MNIST", planted[1])
    monkeypatch.setenv("COURSE_DATA", str(planted[0]))
    assert data.binarised_mnist().real is True


def test_the_real_static_binarisation_never_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    only_where_there_is(download.MNIST, monkeypatch)
    images = data.binarised_mnist()
    assert (int(images.validation.images.sum()), int(images.test.images.sum())) == (1_013_171, 1_039_090)
    for part, start in ((images.validation, "d36336eaf66c4cfb"), (images.test, "5f00d4b67ac8befe")):
        assert hashlib.sha256(part.images.bool().numpy().tobytes()).hexdigest().startswith(start)


def test_a_pixel_is_one_as_often_as_it_is_bright() -> None:
    levels = torch.linspace(0, 1, 11).expand(20_000, 11)
    drawn = data.binarise(levels, torch.Generator().manual_seed(0))
    assert drawn.dtype == torch.float32 and drawn.shape == levels.shape
    share = drawn.mean(0)
    assert share[0] == 0 and share[-1] == 1
    torch.testing.assert_close(share, levels[0], rtol=0, atol=5 * 0.5 / 20_000**0.5)  # five standard errors


def test_binarising_draws_anew_from_the_generator_and_repeats_with_its_seed() -> None:
    generator, grey = torch.Generator().manual_seed(3), torch.full((4, 28, 28), 0.5)
    first, second = data.binarise(grey, generator), data.binarise(grey, generator)
    assert not torch.equal(first, second)
    assert torch.equal(first, data.binarise(grey, torch.Generator().manual_seed(3)))
    assert torch.equal(grey, torch.full((4, 28, 28), 0.5))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_drawn_numbers_do_not_depend_on_the_precision_of_the_levels(dtype: torch.dtype) -> None:
    grey = torch.full((50, 8, 8), 0.25)
    expected = data.binarise(grey, torch.Generator().manual_seed(1))
    assert torch.equal(data.binarise(grey.to(dtype), torch.Generator().manual_seed(1)), expected)


# Choosing and refusing images


def some_images(labels: list[int]) -> data.Split:
    return data.Split(torch.arange(len(labels)).view(-1, 1, 1).expand(-1, 28, 28) / 100, torch.tensor(labels))


def test_select_keeps_the_wanted_digits_in_their_order() -> None:
    chosen = data.select(some_images([3, 1, 4, 1, 5, 9, 2, 6]), [1, 9, 9, 3])
    assert isinstance(chosen, data.Split) and chosen.labels.tolist() == [3, 1, 1, 9]
    assert (chosen.images[:, 0, 0] * 100).round().tolist() == [0, 1, 3, 5]


@pytest.mark.parametrize(
    ("digits", "advice"),
    [
        ([3, 10], r"digits must name some of the labels 0 to 9, not \[10\]: for example \[3, 5\]"),
        ([-1], r"not \[-1\]"),
        ([2.5], r"not \[2\.5\]"),
        ([], r"not \[\]"),
        ([1, 7, 8], "these 4 images have none of 7, 8: take another part of the data"),
    ],
)
def test_an_impossible_or_empty_class_is_refused(digits: list[int], advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        data.select(some_images([3, 1, 4, 1]), digits)


def test_sound_images_pass_the_check() -> None:
    for sound in (torch.rand(3, 1, 28, 28), torch.zeros(1, 1, 5, 9), torch.ones(2, 1, 4, 4).bfloat16()):
        data.check_images(sound)
    data.check_images(torch.rand(2, 3, 8, 8), channels=3)
    data.check_images(torch.rand(2, 1, 8, 8), side=8)


@pytest.mark.parametrize("shape", [(2, 1, 8, 9), (2, 1, 9, 8), (2, 1, 4, 4)])
def test_images_of_another_size_are_refused_where_one_is_asked(shape: tuple[int, ...]) -> None:
    size = f"{shape[2]}x{shape[3]}"
    with pytest.raises(ValueError, match=f"must have 8x8 pixels, not {size}: resize them"):
        data.check_images(torch.rand(shape), side=8)


@pytest.mark.parametrize(
    ("wrong", "channels", "advice"),
    [
        (torch.rand(5, 28, 28), 1, r"shape \(5, 28, 28\), not \(N, 1, H, W\): add the channel with .*unsqueeze\(1\)"),
        (torch.rand(28, 28), 1, r"shape \(28, 28\), not \(N, 1, H, W\): one row an image"),
        (torch.rand(5, 28, 28), 3, r"shape \(5, 28, 28\), not \(N, 3, H, W\): one row an image"),
        (
            torch.rand(5, 3, 8, 8),
            1,
            r"have 3 channels in shape \(5, 3, 8, 8\), not 1: .*images\.mean\(1, keepdim=True\)",
        ),
        (torch.rand(5, 8, 8, 1), 1, r"have 8 channels in shape \(5, 8, 8, 1\), not 1: .*movedim\(-1, 1\)"),
        (torch.rand(5, 1, 8, 8), 3, r"have 1 channels in shape \(5, 1, 8, 8\), not 3"),
        (torch.rand(0, 1, 8, 8), 1, r"no images in shape \(0, 1, 8, 8\): is the class .* empty\?"),
        (
            torch.full((2, 1, 8, 8), 200, dtype=torch.uint8),
            1,
            r"torch\.uint8, not floats in \[0, 1\]: .*float\(\) / 255",
        ),
        (torch.full((2, 1, 8, 8), 255.0), 1, r"run from 255 to 255, outside \[0, 1\]: divide them by 255"),
        (torch.linspace(-1, 1, 64).view(1, 1, 8, 8), 1, r"run from -1 to 1, outside \[0, 1\]: .*\(images \+ 1\) / 2"),
        (
            torch.linspace(-0.1, 1.2, 64).view(1, 1, 8, 8),
            1,
            r"run from -0\.1 to 1\.2, outside \[0, 1\]: .*clamp\(0, 1\)",
        ),
        (torch.tensor([0.5, float("nan")]).view(1, 1, 1, 2), 1, "NaN: look for a division by zero"),
        (torch.tensor([0.5, float("inf")]).view(1, 1, 1, 2), 1, "run from 0.5 to inf, outside"),
    ],
)
def test_images_that_a_model_would_misread_are_refused_with_advice(
    wrong: torch.Tensor, channels: int, advice: str
) -> None:
    with pytest.raises(ValueError, match=advice):
        data.check_images(wrong, channels)


@pytest.mark.parametrize("wrong", [255.0, -0.01, float("nan")])
def test_levels_that_are_no_probabilities_are_not_binarised(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"outside|NaN"):
        data.binarise(torch.tensor([0.5, wrong]), torch.Generator())
    with pytest.raises(ValueError, match=r"torch\.int64, not floats"):
        data.binarise(torch.ones(3, dtype=torch.int64), torch.Generator())
    assert data.binarise(torch.rand(0, 28, 28), torch.Generator()).shape == (0, 28, 28)


# Texts


@pytest.fixture
def with_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Something in the place of Shakespeare's file."""
    text = "".join(chr(97 + i * i % 23) + ("\n" if i % 40 == 0 else "") for i in range(3001))
    path = tmp_path / "given" / "shakespeare" / "input.txt"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    file = File("shakespeare/input.txt", len(text), hashlib.sha256(text.encode()).hexdigest())
    monkeypatch.setattr(download, "SHAKESPEARE", Dataset("tiny Shakespeare", ("http://mirror.invalid/",), (file,)))
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "given"))
    return text


def test_shakespeare_is_read_whole_and_split_nine_to_one(with_text: str) -> None:
    text = data.shakespeare()
    n = len(with_text)
    assert text.text == with_text and (len(text.train), len(text.validation)) == (int(0.9 * n), n - int(0.9 * n))
    assert text.vocabulary == "".join(sorted(set(with_text))) and text.train.dtype == torch.int64
    assert text.decode(torch.cat([text.train, text.validation])) == with_text
    assert text.source == "tiny Shakespeare" and text.real is True
    assert data.shakespeare() is text
    assert runtime.sources_in_use() == [{"name": "tiny Shakespeare", "source": "tiny Shakespeare", "real": True}]


def test_the_inner_split_is_the_last_twentieth_of_the_training_part(with_text: str) -> None:
    text = data.shakespeare()
    fit, tune = text.inner_split()
    assert torch.equal(torch.cat([fit, tune]), text.train) and len(fit) == int(0.95 * len(text.train))


def test_the_real_shakespeare_is_read_where_it_is_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    only_where_there_is(download.SHAKESPEARE, monkeypatch)
    text = data.shakespeare()
    assert text.real and len(text.text) == 1_115_394
    assert (len(text.train), len(text.validation), len(text.vocabulary)) == (1_003_854, 111_540, 65)
    assert text.vocabulary.startswith("\n !$&',-.3:;?ABC") and text.text.startswith("First Citizen:\nBefore we proceed")
    assert text.decode(text.encode(text.text)) == text.text


def test_without_shakespeare_verse_stands_in_and_one_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    text = data.shakespeare()
    data.shakespeare()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("tiny Shakespeare is not on this machine and could not be downloaded (COURSE_OFFLINE is")
    assert "`verse`" in lines[0] and "COURSE_DATA" in lines[0] and "internet" in lines[0]
    assert (len(text.train), len(text.validation)) == (450_000, 50_000)
    assert text.text == data.verse(500_000).text
    assert runtime.sources_in_use()[0] == {"name": "tiny Shakespeare", "source": "stand-in: verse", "real": False}


def test_verse_is_real_when_asked_for_by_name() -> None:
    text = data.verse(12_345, seed=2)
    assert len(text.text) == 12_345 and (len(text.train), len(text.validation)) == (11_110, 1_235)
    assert text.text.startswith(data.verse(1000, seed=2).text) and text.text != data.verse(12_345).text
    assert text.decode(text.train) == text.text[:11_110]
    (source,) = runtime.sources_in_use()
    assert source["name"] == "verse" and source["real"] is True
    assert 0.3 < data.verse_entropy() < 1
    torch.testing.assert_close(data.verse_surprise(text.text).mean().item(), data.verse_entropy(), rtol=0.05, atol=0)


def test_encoding_and_decoding_are_each_others_inverse() -> None:
    text = data.verse(1000)
    tokens = text.encode("The king,\n")
    assert tokens.shape == (10,) and tokens.dtype == torch.int64
    assert text.decode(tokens) == "The king,\n"
    assert "".join(text.vocabulary[token] for token in tokens) == "The king,\n"
    assert text.encode("").shape == (0,) and text.encode("").dtype == torch.int64
    assert text.decode(text.encode("")) == text.decode(torch.tensor([])) == ""
    assert text.decode(tokens.int()) == "The king,\n"


def test_what_is_no_text_and_what_is_no_token_are_refused() -> None:
    text = data.verse(1000)
    with pytest.raises(ValueError, match=r"characters outside the vocabulary: '%', 'é'\. It knows "):
        text.encode("a café at ten %%")
    with pytest.raises(TypeError, match="encode needs a string, not list"):
        text.encode(["a"])  # type: ignore[arg-type]
    size = len(text.vocabulary)
    with pytest.raises(ValueError, match=f"tokens lie between 0 and {size - 1}; these run from 3 to {size}"):
        text.decode(torch.tensor([3, size]))
    with pytest.raises(ValueError, match="these run from -1"):
        text.decode(torch.tensor([-1]))
    for wrong in (torch.zeros(3), torch.zeros(2, 2).long()):
        with pytest.raises(ValueError, match=r"decode needs whole numbers \(T,\), not"):
            text.decode(wrong)


def test_a_corpus_is_your_own_file(tmp_path: Path) -> None:
    path = tmp_path / "tagebuch.txt"
    path.write_bytes(b"\xef\xbb\xbf" + ("Heute \u00fcber\U0001f600 \u4e2d\r\n" * 200).encode())
    text = data.corpus(path)
    assert text.text == "Heute über\U0001f600 中\n" * 200 and text.vocabulary == "\n Hbertuü中\U0001f600"
    assert text.decode(text.encode("über 中\U0001f600")) == "über 中\U0001f600"
    assert len(text.train) == int(0.9 * len(text.text)) and text.real is True
    assert runtime.sources_in_use() == [{"name": "tagebuch.txt", "source": "your own file tagebuch.txt", "real": True}]
    assert data.corpus(str(path)).text == text.text


@pytest.mark.parametrize(
    ("content", "error", "advice"),
    [
        (b"", ValueError, r"own\.txt is empty \(0 bytes\): a text needs at least 1000, better a million"),
        (b"short", ValueError, r"own\.txt has 5 characters: a text needs at least 1000"),
        (b"a" * 1500 + "é".encode("latin1") + b"a", ValueError, r"own\.txt is not UTF-8: byte 0xe9 at offset 1500\."),
        ("Ein Text".encode("utf-16") * 200, ValueError, r"not UTF-8: byte 0xff at offset 0\. Save it as UTF-8"),
        (
            b"text " * 300 + b"\0",
            ValueError,
            r"has NUL characters, which no text has\. Save it as UTF-8 .* if it is a text",
        ),
        (
            ("für " * 400).encode()[:-3],
            ValueError,
            r"ends in the middle of a character: it was cut off\. Get the whole",
        ),
        (
            "Съешь ещё булок. ".encode("cp1251") * 99,
            ValueError,
            r"Save it as UTF-8 in an editor in which it can be read",
        ),
        (bytes(range(256)) * 8, ValueError, r"is not UTF-8: byte 0x80 at offset 128\. .* if it is a text at all"),
        (None, FileNotFoundError, r"there is no file .*own\.txt: check its name, or give the full path"),
    ],
)
def test_a_corpus_that_cannot_be_read_is_refused_with_advice(
    tmp_path: Path, content: bytes | None, error: type[Exception], advice: str
) -> None:
    if content is not None:
        (tmp_path / "own.txt").write_bytes(content)
    with pytest.raises(error, match=advice):
        data.corpus(tmp_path / "own.txt")
    assert runtime.sources_in_use() == []


WINDOWS = "The quick “brown” fox – said: “jumps”, café.\n"
RUSSIAN = "Съешь ещё этих мягких французских булок, да выпей чаю.\n"
CHINESE = "天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。寒来暑往，秋收冬藏。\n"


@pytest.mark.parametrize(
    ("text", "encoding", "name"),
    [
        (WINDOWS, "cp1252", "CP1252"),
        (WINDOWS, "utf-16", "UTF-16"),  # with a mark, as Windows saves "Unicode"
        (WINDOWS.encode("ascii", "ignore").decode(), "utf-16-le", "UTF-16LE"),  # valid UTF-8, with NUL in between
        *(
            (text, f"utf-16-{order}e", f"UTF-16{order.upper()}E")
            for text in (WINDOWS, RUSSIAN, CHINESE)
            for order in "lb"
        ),
        *(
            (text, f"utf-32-{order}e", f"UTF-32{order.upper()}E")
            for text in (WINDOWS, RUSSIAN, CHINESE)
            for order in "lb"
        ),
        (CHINESE, "utf-32", "UTF-32"),
    ],
)
def test_the_remedy_names_the_encoding_and_works(
    text: str, encoding: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text *= 1 + 1000 // len(text)
    monkeypatch.chdir(tmp_path)
    Path("my own.txt").write_bytes(text.encode(encoding))
    with pytest.raises(ValueError, match=rf"iconv -f {name} -t UTF-8 .* \(it seems to be {name}\)$") as caught:
        data.corpus("my own.txt")
    if shutil.which("iconv"):
        command = str(caught.value).partition("or convert it: ")[2].rpartition(" (it seems")[0]
        subprocess.run(command, shell=True, check=True)
        assert data.corpus("my own-utf8.txt").text.removeprefix("\ufeff") == text


@pytest.mark.posix
def test_a_link_that_leads_back_to_itself_is_no_corpus(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(OSError, match="a is a symbolic link that leads back to itself: give the path of the text"):
        data.corpus(tmp_path / "a")


def test_a_directory_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a directory: give the path of a text file in it"):
        data.corpus(tmp_path)


# Glyphs


@pytest.fixture(scope="module")
def drawn() -> data.Glyphs:
    return data.glyphs(3000, seed=1)


def test_glyphs_have_the_shape_and_range_of_mnist(drawn: data.Glyphs) -> None:
    assert drawn.images.shape == (3000, 28, 28) and drawn.images.dtype == torch.float32
    assert drawn.labels.shape == (3000,) and drawn.labels.dtype == torch.int64
    assert drawn.images.min() >= 0 and drawn.images.max() <= 1
    assert 0.09 < drawn.images.mean() < 0.16  # MNIST: 0.131
    assert drawn.images.flatten(1).amax(1).min() > 0.8


def test_the_same_seed_draws_the_same_glyphs_and_more_begin_with_the_same(drawn: data.Glyphs) -> None:
    fewer, other = data.glyphs(1234, seed=1), data.glyphs(1234, seed=2)
    for few, many in zip(fewer, drawn, strict=True):
        assert torch.equal(few, many[:1234])
    assert not torch.equal(fewer.labels, other.labels)
    assert data.glyphs(1).images.shape == (1, 28, 28)


def test_no_glyph_is_cut_off_by_the_frame(drawn: data.Glyphs) -> None:
    frame = torch.cat([drawn.images[:, [0, -1]].flatten(1), drawn.images[:, :, [0, -1]].flatten(1)], dim=1)
    assert frame.max() < 0.05


def test_all_factors_are_recorded_by_name(drawn: data.Glyphs) -> None:
    assert drawn.names == ("digit", "font", "weight", "slant", "size", "x", "y")
    assert drawn.factors.shape == (3000, 7)
    assert torch.equal(drawn.factor("digit").long(), drawn.labels)
    assert torch.bincount(drawn.labels, minlength=10).min() > 200
    assert torch.bincount(drawn.factor("font").long()).shape == (len(data.FONTS),)
    for name, (low, high) in data.POSES.items():
        assert low <= drawn.factor(name).min() and drawn.factor(name).max() <= high
    with pytest.raises(ValueError, match="no factor 'colour': choose one of digit, font"):
        drawn.factor("colour")


def test_the_factors_are_independent_but_for_font_and_weight(drawn: data.Glyphs) -> None:
    correlation = torch.corrcoef(drawn.factors.T) - torch.eye(7)
    font, weight = drawn.names.index("font"), drawn.names.index("weight")
    correlation[font, weight] = correlation[weight, font] = 0
    assert correlation.abs().max() < 4 / 3000**0.5  # four standard errors


def test_place_and_size_are_those_that_the_image_shows(drawn: data.Glyphs) -> None:
    rows, columns = drawn.images.amax(2) > 0.5, drawn.images.amax(1) > 0.5
    pixels = torch.arange(28.0)

    def edges(lit: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        first = torch.where(lit, pixels, torch.inf).amin(1)
        return first, torch.where(lit, pixels, -torch.inf).amax(1) + 1

    (top, bottom), (left, right) = edges(rows), edges(columns)
    for measured, name in (((top + bottom) / 2 - 14, "y"), (bottom - top, "size")):
        error = measured - drawn.factor(name)
        assert error.abs().mean() < 0.5 and error.mean().abs() < 0.4, name
    upright = drawn.factor("slant").abs() < 2  # a slanted digit's box is centred elsewhere
    error = ((left + right) / 2 - 14 - drawn.factor("x"))[upright]
    assert error.abs().mean() < 0.5 and error.mean().abs() < 0.2


def test_the_slant_is_the_one_that_the_image_shows(drawn: data.Glyphs) -> None:
    """Shearing moves each row by its height times tan(slant): so do the rows' centres, digit by digit."""
    v, u = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    for digit in (0, 8):  # symmetric ones: upright, their rows are centred above each other
        chosen = drawn.labels == digit
        mass = drawn.images[chosen] / drawn.images[chosen].sum((1, 2), keepdim=True)
        du, dv = u - (mass * u).sum((1, 2), keepdim=True), v - (mass * v).sum((1, 2), keepdim=True)
        lean = -(mass * du * dv).sum((1, 2)) / (mass * dv**2).sum((1, 2))
        assert (torch.rad2deg(torch.atan(lean)) - drawn.factor("slant")[chosen]).abs().max() < 4


def test_bold_fonts_weigh_more(drawn: data.Glyphs) -> None:
    weights = dict(zip(data.FONTS, fonts._atlas()[1].tolist(), strict=True))
    for regular, bold in (("DejaVuSans", "DejaVuSans-Bold"), ("STIXGeneral", "STIXGeneralBol"), ("cmr10", "cmb10")):
        assert weights[bold] > 1.2 * weights[regular]
    heavy = drawn.factor("weight") > drawn.factor("weight").median()
    assert drawn.images[heavy].mean() > 1.2 * drawn.images[~heavy].mean()


def test_glyphs_look_like_their_labels(drawn: data.Glyphs) -> None:
    known, asked = drawn.images[:2500].flatten(1), drawn.images[2500:].flatten(1)
    nearest = torch.cdist(asked, known).argmin(1)
    assert (drawn.labels[nearest] == drawn.labels[2500:]).float().mean() > 0.9


# The other sets


def test_digits_are_the_handwritten_ones_of_scikit_learn() -> None:
    train, validation, test, source, real = data.digits()
    assert [len(part.images) for part in (train, validation, test)] == [1197, 300, 300]
    assert train.images.shape[1:] == (8, 8) and train.images.dtype == torch.float32
    assert train.images.min() == 0 and train.images.max() == 1 and train.labels.dtype == torch.int64
    assert train.labels[:10].tolist() == list(range(10)) and real and "scikit-learn" in source


def test_temperatures_are_those_that_statsmodels_loads() -> None:
    from statsmodels.datasets import elnino

    table = torch.tensor(elnino.load_pandas().data.to_numpy(), dtype=torch.float64)
    assert torch.equal(data.temperature().values, table[:, 1:].flatten())


def test_temperatures_run_monthly_from_1950_to_2010() -> None:
    series = data.temperature()
    assert series.values.shape == series.years.shape == series.months.shape == (732,)
    assert series.values.dtype == torch.float64 and series.years.dtype == series.months.dtype == torch.int64
    assert (series.years[0], series.years[-1]) == (1950, 2010)
    assert torch.equal(series.months[:13], torch.tensor([*range(1, 13), 1]))
    assert torch.equal(series.years * 12 + series.months, torch.arange(732) + 1950 * 12 + 1)
    assert series.values.min() > 18 and series.values.max() < 30 and series.real  # °C


def test_mackey_glass_obeys_its_equation() -> None:
    """With samples 0.1 apart: the central difference equals the right-hand side, to the difference's own error."""
    x, lag = data.mackey_glass(3000, every=0.1), 170
    slope = (x[lag + 1 :] - x[lag - 1 : -2]) / 0.2
    now, delayed = x[lag:-1], x[: -lag - 1]
    error = slope - (0.2 * delayed / (1 + delayed**10) - 0.1 * now)
    assert error.abs().max() < 1e-4 and slope.abs().max() > 0.05


@pytest.mark.parametrize("tau", [17.0, 17.3, 30.0])
def test_halving_the_step_divides_the_error_of_mackey_glass_by_sixteen(tau: float) -> None:
    coarse, middle, fine = (delay.solve(1.2, tau, h, round(200 / h)) for h in (0.1, 0.05, 0.025))
    first, second = np.abs(coarse - fine[::4]).max(), np.abs(middle - fine[::2]).max()
    assert first < 1e-7
    assert 14 < first / second < 20  # (1 - 1/256) / (1/16 - 1/256) = 17


def test_mackey_glass_samples_one_solution_at_any_interval() -> None:
    torch.testing.assert_close(data.mackey_glass(50, every=3)[1::2], data.mackey_glass(25, every=6), rtol=0, atol=1e-9)


def test_mackey_glass_depends_on_the_seed_alone() -> None:
    x = data.mackey_glass(500)
    assert x.shape == (500,) and x.dtype == torch.float64
    assert torch.equal(x[:100], data.mackey_glass(100)) and not torch.equal(x, data.mackey_glass(500, seed=1))
    assert x.min() > 0.2 and x.max() < 1.5 and x.std() > 0.15  # on the attractor, not at the fixed point x = 1
    assert data.mackey_glass(1).shape == (1,)


# What holds for all


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda: data.glyphs(0), r"n must be a whole number of at least 1, not 0: for example data\.glyphs\(1000\)"),
        (lambda: data.glyphs(-3), "not -3"),
        (lambda: data.glyphs(2.5), r"not 2\.5"),  # type: ignore[arg-type]
        (lambda: data.glyphs(5, seed=None), "seed must be a whole number, not None"),  # type: ignore[arg-type]
        (
            lambda: data.verse(999),
            r"n_characters must be a whole number of at least 1000, not 999: for example data\.verse",
        ),
        (lambda: data.verse(1e6), "not 1000000.0"),  # type: ignore[arg-type]
        (lambda: data.mackey_glass(0), "length must be a whole number of at least 1, not 0"),
        (lambda: data.mackey_glass(5, tau=0), r"tau must be a number of at least 0\.1, not 0: for example 17\.0"),
        (lambda: data.mackey_glass(5, every=0), r"every must be a number of at least 0\.01, not 0: for example 6\.0"),
        (lambda: data.mackey_glass(5, every=-6.0), r"not -6\.0"),
        (lambda: data.mackey_glass(5, tau=float("nan")), "not nan"),
        (lambda: data.mackey_glass(5, every=float("inf")), "not inf"),
    ],
)
def test_bad_input_is_refused_with_advice(call: Callable[[], object], advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        call()
    assert runtime.sources_in_use() == []


def test_the_global_generators_are_left_alone() -> None:
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    data.mnist(), data.digits(), data.temperature(), data.glyphs(20, seed=3), data.mackey_glass(20, seed=3)
    data.shakespeare(), data.verse(1000, seed=3), data.binarised_mnist()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), before[1], strict=True))
    assert random.getstate() == before[2]


def test_the_sources_in_use_are_those_that_were_asked_for() -> None:
    assert runtime.sources_in_use() == []
    data.glyphs(5), data.mackey_glass(5), data.digits(), data.digits(), data.temperature()
    sources = runtime.sources_in_use()
    assert [source["name"] for source in sources] == ["glyphs", "Mackey-Glass", "digits", "temperature"]
    assert all(source["real"] is True and source["source"] for source in sources)
    sources.clear()
    assert len(runtime.sources_in_use()) == 4


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        (data, {"numpy", "torch", "course_utils"}),
        (images, {"numpy", "torch"}),
        (texts, {"numpy", "torch"}),
        (download, {"course_utils"}),
    ],
    ids=["data", "images", "texts", "download"],
)
def test_nothing_heavy_is_imported_before_it_is_needed(module: ModuleType, allowed: set[str]) -> None:
    imported: set[str] = set()
    for statement in ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            imported.add(str(statement.module).split(".")[0])
    assert imported - sys.stdlib_module_names <= allowed
