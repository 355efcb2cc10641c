"""Show something in a cell's output; how the course's messages write numbers, code and colours."""

from __future__ import annotations

import html
import re
from typing import Any

# The ink of a verdict, legible on white and, in a cell's output, on black.
RIGHT, NEARLY, WRONG, OPEN = "#0b7a4b", "#8a5200", "#b3261e", "#5f6368"


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


def code_as_html(text: str) -> str:
    """One line of text as HTML, escaped, with `code` between backticks."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))
