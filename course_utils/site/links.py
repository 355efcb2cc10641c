"""Links of the repository's documents and notebooks, as they must read on the site."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

A_BADGE = re.compile(r"\[!\[[^]]*\]\([^)]*\)\]\(https://colab\.[^)]*\)")
A_LINK = re.compile(r"(?<!!)\[([^\[\]]+)\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Links:
    """Turns links between files of the repository into links between pages.

    `pages` maps the path of a file to the name of its page, with an ending that Sphinx knows. `files` is the web address
    below which the repository's files can be looked at, or None where the course is published nowhere.
    """

    pages: Mapping[str, str]
    files: str | None

    def rewrite(self, text: str, origin: str, page: str) -> str:
        """The Markdown of the file `origin`, with its links as they must read on `page`.

        A link to a file that has no page leads to the published repository; where there is none, its words remain. Badges
        of Colab are left out: their pictures come from another host, and a page has a link of its own.
        """
        return A_LINK.sub(lambda match: self._link(match[1], match[2], origin, page), A_BADGE.sub("", text))

    def _link(self, words: str, target: str, origin: str, page: str) -> str:
        path, mark, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:", target):
            return f"[{words}]({target})"
        file = _normal(PurePosixPath(origin).parent / path)
        if file in self.pages:
            return f"[{words}]({relative(self.pages[file], page)}{mark}{anchor})"
        return f"[{words}]({self.files}/{file}{mark}{anchor})" if self.files else words


def relative(page: str, origin: str) -> str:
    """The way from the page `origin` to another, both from the site's root."""
    return os.path.relpath(page, PurePosixPath(origin).parent).replace(os.sep, "/")


def _normal(path: PurePosixPath) -> str:
    return os.path.normpath(path).replace(os.sep, "/")
