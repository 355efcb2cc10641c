"""Show something in a cell's output; how the course's messages write numbers, code and colours."""

from __future__ import annotations

import codecs
import contextlib
import html
import re
import sys
import unicodedata
from typing import Any

# The ink of a verdict, for white paper; `ink` makes it legible on any.
RIGHT, NEARLY, WRONG, OPEN, REVIEW = "#0b7a4b", "#9a5c00", "#c0312a", "#5f6368", "#6a59c6"

# The sign of an exercise's status, under its cell and in grading; "missing" and "infra_error" are grading's alone.
SIGNS = {
    "right": "✔",
    "nearly right": "◐",
    "needs_review": "✎",
    "diagnosed": "✘",
    "wrong": "✘",
    "error": "✘",
    "not attempted": "…",
    "missing": "…",
    "infra_error": "?",
}

# How the course's symbols are written where the output's encoding has no place for them.
_PLAIN: dict[str, str] = dict(zip("✔✘◐✎•·−–—×≈“”„‘’", 'vx~-*----x~"""\'\'', strict=True))
_PLAIN |= {"→": "->", "←": "<-", "↔": "<->", "…": "...", "≤": "<=", "≥": ">=", "σ": "sigma", "μ": "mu"}


def make_printable() -> None:
    """Let every text be printed, whatever the encoding of stdout and stderr: programs call it once, at their start.

    Windows writes into a file or a pipe in cp1252, which knows neither ✔ nor most of the world's letters. Such a character
    then becomes a plain one that is like it, or "?"; what the encoding has stays as it is.
    """
    codecs.register_error("course_plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # a notebook's stream, or none, or a closed one
            if stream.errors in ("strict", "surrogateescape") or stream is sys.stderr:
                stream.reconfigure(errors="course_plain")  # type: ignore[union-attr]


def _plain(error: UnicodeError) -> tuple[str, int]:
    """What stands in for the characters that cannot be encoded, and where to go on: a handler of `codecs`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    strange = error.object[error.start : error.end]
    return "".join(_like(character, error.encoding) for character in strange), error.end


def _like(character: str, encoding: str) -> str:
    for text in (_PLAIN.get(character, ""), unicodedata.normalize("NFKD", character)):
        text = text.encode(encoding, "ignore").decode(encoding)
        if text:
            return text
    return "?"


def show(bundle: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
    """Display a bundle of MIME types as a cell's output; outside IPython, print its "text/plain"."""
    from IPython.core.getipython import get_ipython
    from IPython.display import display

    if get_ipython() is None:
        print(bundle["text/plain"])
    else:
        display(bundle, metadata=metadata, raw=True)


def number(value: float | None) -> str:
    """A result's value, to four significant digits."""
    if value is None:
        return "not a number"
    return f"{value:.4g}" if not abs(value) >= 10_000 else f"{value:,.0f}"


def ink(colour: str) -> str:
    """CSS that writes in a colour mixed with that of the text around: darker in a light theme, lighter in a dark one.

    It goes by the page's own theme, JupyterLab's or a web site's, which need not be that of the system. The colour itself
    stands first for programs that cannot mix.
    """
    return f"color:{colour};color:color-mix(in srgb,{colour} 72%,currentColor)"


def code_as_html(text: str) -> str:
    """One line of text as HTML, escaped, with `code` between backticks."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))
