"""Text that a student had a hand in, made fit to be shown: names, paths, messages."""

from __future__ import annotations

import unicodedata

NAME_LIMIT = 150  # characters of a student's or a file's name
ROOM = 8  # times as many are looked at: normal form makes a text shorter, and takes the square of its length
LINE_LIMIT = 600  # characters of one line of a message
LINES = 12  # lines of a message


def printable(text: str, limit: int = NAME_LIMIT) -> str:
    """One line of normal form that can be shown anywhere: no control, formatting or half characters, not too long."""
    text = unicodedata.normalize("NFC", text[: ROOM * limit].encode("utf-8", "replace").decode())
    text = "".join(c if unicodedata.category(c)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for c in text)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def plain(text: str) -> str:
    """A message of several lines with nothing in it that steers a terminal or turns a line round."""
    lines = text.split("\n")
    kept = [printable(line, LINE_LIMIT) for line in lines[:LINES]]
    indents = ["    " if line.startswith("    ") else "" for line in lines]
    return "\n".join(indent + line for indent, line in zip(indents, kept, strict=False))


def spoken(time: str) -> str:
    """An ISO 8601 time in UTC as people write it."""
    return time.replace("T", " ").replace("+00:00", " UTC")
