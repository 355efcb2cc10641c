"""A text as tokens: one for each character."""

import codecs
import errno
import os
import shlex
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

LEAST = 1000  # characters of a text: its validation part should hold more than a line or two

# The encodings with more than one byte a character: by a file's first bytes (UTF-32's begin with those of UTF-16), and by
# where, of every four bytes, many are zero.
_MARKS = ((codecs.BOM_UTF32_LE, "UTF-32"), (codecs.BOM_UTF32_BE, "UTF-32"))
_MARKS += ((codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16"))
_ZEROS = {"x0x0": "UTF-16LE", "0x0x": "UTF-16BE", "xx00": "UTF-32LE", "x000": "UTF-32LE", "00xx": "UTF-32BE"}
_ZEROS |= {"000x": "UTF-32BE"}


class Text(NamedTuple):
    """A text as tokens, one for each character: its place in `vocabulary`, which lists the characters in order.

    `train` (N,) and `validation` (M,), int64, are the first 90 % and the last 10 % of `text`.
    """

    text: str
    vocabulary: str
    train: torch.Tensor
    validation: torch.Tensor
    source: str
    real: bool

    def encode(self, text: str) -> torch.Tensor:
        """The tokens of `text`, (T,) int64; (0,) for "".

        Raises TypeError for anything but a string, ValueError for characters that the vocabulary does not have.
        """
        if not isinstance(text, str):
            raise TypeError(f"encode needs a string, not {type(text).__name__}: for example encode('O')")
        return _tokens(text, self.vocabulary)

    def decode(self, tokens: torch.Tensor) -> str:
        """The text of `tokens`, (T,) whole numbers. Raises ValueError for a number that is no token."""
        tokens = torch.as_tensor(tokens).cpu()
        if tokens.dim() != 1 or (tokens.numel() and tokens.is_floating_point()):
            raise ValueError(f"decode needs whole numbers (T,), not {tokens.dtype} {tuple(tokens.shape)}")
        size = len(self.vocabulary)
        if tokens.numel() and not 0 <= tokens.min() <= tokens.max() < size:
            raise ValueError(
                f"tokens lie between 0 and {size - 1}; these run from {tokens.min().item()} to {tokens.max().item()}"
            )
        return _codes_to_text(_codes(self.vocabulary)[tokens.long().numpy()])

    def inner_split(self) -> tuple[torch.Tensor, torch.Tensor]:
        """`train` without its last 5 %, and that last 5 %: choose settings on it, so that `validation` stays unseen."""
        cut = int(0.95 * len(self.train))
        return self.train[:cut], self.train[cut:]


def split_text(text: str, source: str, real: bool, vocabulary: str | None = None) -> Text:
    """A `Text` whose first int(0.9 n) characters are for training, as is usual for tiny Shakespeare.

    `vocabulary` is a string of characters in order; those of the text unless given.
    """
    if vocabulary is None:
        vocabulary = "".join(sorted(set(text)))
    tokens = _tokens(text, vocabulary)
    cut = int(0.9 * len(tokens))
    return Text(text, vocabulary, tokens[:cut], tokens[cut:], source, real)


def read_text_file(path: Path) -> Text:
    """A `Text` from a UTF-8 file of at least 1 000 characters; a byte-order mark and Windows' line ends are removed.

    Raises FileNotFoundError, IsADirectoryError or another OSError when `path` is no file that can be read, and ValueError
    when the file is empty, too short, or not UTF-8; it then names the encoding that the file seems to have.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory: give the path of a text file in it")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"there is no file {os.path.abspath(path)}: check its name, or give the full path"
        ) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(f"{path} is a symbolic link that leads back to itself: give the path of the text") from None
        raise
    try:
        text = content.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        if error.end == len(content) > error.start and not content[: error.start].isascii():
            raise ValueError(f"{path} ends in the middle of a character: it was cut off. Get the whole file") from None
        problem = f"is not UTF-8: byte {content[error.start]:#04x} at offset {error.start}"
        raise ValueError(f"{path} {problem}. {_remedy(path, content)}") from None
    if "\0" in text:
        raise ValueError(f"{path} has NUL characters, which no text has. {_remedy(path, content)}")
    if len(text) < LEAST:
        found = f"has {len(text)} characters" if content else "is empty (0 bytes)"
        raise ValueError(f"{path} {found}: a text needs at least {LEAST}, better a million")
    return split_text(text, f"your own file {path.name}", real=True)


def _remedy(path: Path, content: bytes) -> str:
    """How to make UTF-8 of a file that is not, for the encoding that it seems to have."""
    encoding = _encoding(content)
    if not encoding:
        return "Save it as UTF-8 in an editor in which it can be read, if it is a text at all"
    source, target = shlex.quote(str(path)), shlex.quote(f"{path.stem}-utf8{path.suffix}")
    convert = f"iconv -f {encoding} -t UTF-8 {source} > {target}"
    return f"Save it as UTF-8 in your editor, or convert it: {convert} (it seems to be {encoding})"


def _encoding(content: bytes) -> str:
    """The encoding that a file seems to have which is not UTF-8, by the name that iconv knows; empty if none fits."""
    for mark, name in _MARKS:
        if content.startswith(mark):
            return name
    zeros = [content[place::4].count(0) > 0.02 * len(content) / 4 for place in range(4)]  # the blanks' upper bytes are
    if any(zeros):
        return _ZEROS.get("".join("0" if zero else "x" for zero in zeros), "")
    if 0 in content or sum(byte >= 0x80 for byte in content[:100_000]) > 0.25 * min(len(content), 100_000):
        return ""  # the high bytes of a Western text are few
    try:
        content.decode("cp1252")
    except UnicodeDecodeError:
        return ""
    return "CP1252"


def _codes(text: str) -> np.ndarray:
    """The code points of `text`, (T,) uint32."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def _tokens(text: str, vocabulary: str) -> torch.Tensor:
    """Each character's place in the sorted `vocabulary`, (T,) int64."""
    codes, known = _codes(text), _codes(vocabulary)
    tokens = np.searchsorted(known, codes)
    strange = known[np.minimum(tokens, len(known) - 1)] != codes
    if strange.any():
        names = ", ".join(map(repr, sorted(set(_codes_to_text(codes[strange])))[:10]))
        raise ValueError(f"the text has characters outside the vocabulary: {names}. It knows {vocabulary!r}")
    return torch.from_numpy(tokens.astype(np.int64))


def _codes_to_text(codes: np.ndarray) -> str:
    return codes.tobytes().decode("utf-32-le", "surrogatepass")
