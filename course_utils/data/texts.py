"""A text as tokens: one for each character."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

LEAST = 1000  # characters of a text: its validation part should hold more than a line or two


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

    Raises FileNotFoundError or IsADirectoryError when `path` is no file, and ValueError when the file is empty, too
    short, or not UTF-8.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory: give the path of a text file in it")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path.resolve()}: check its name, or give the full path")
    content = path.read_bytes()
    try:
        text = content.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8: byte {content[error.start]:#04x} at offset {error.start}. Save it as UTF-8 in your "
            "editor, or convert it: iconv -f latin1 -t utf-8"
        ) from None
    if len(text) < LEAST:
        found = f"has {len(text)} characters" if content else "is empty (0 bytes)"
        raise ValueError(f"{path} {found}: a text needs at least {LEAST}, better a million")
    return split_text(text, f"your own file {path.name}", real=True)


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
