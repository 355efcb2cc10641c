"""Builds the site: sources first, pages of them by Sphinx with MyST-NB, then every link of the pages followed."""

from __future__ import annotations

import io
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_utils.errors import CourseError, extra
from course_utils.site.check import problems
from course_utils.site.contents import lesson_pages
from course_utils.site.settings import settings
from course_utils.site.sources import write_sources


@dataclass(frozen=True)
class Built:
    """A site that stands: its first page, how many pages it has, and what it took and weighs."""

    index: Path
    pages: int
    seconds: float
    megabytes: float


def build(root: Path, out: Path) -> Built:
    """Build the site of the course in `root` into `out`; what it is made of lies beside it, in `out` with "-sources".

    Raises CourseError, with all that is wrong, when Sphinx warns, when a link inside leads nowhere, when a page would ask
    another host for something, and when a picture has no alt text; without Sphinx, with the way to get it.
    """
    began, sources = time.monotonic(), out.with_name(f"{out.name}-sources")
    if out.exists() and not (out / "index.html").exists() and any(out.iterdir()):
        raise CourseError(f"{out} is not a site, and building one would delete it: choose another --out")
    for folder in (out, sources):
        shutil.rmtree(folder, ignore_errors=True)
    pages = lesson_pages(root)
    write_sources(root, sources, pages)
    wrong = [*_sphinx(sources, out, settings(root, sources, pages)), *problems(out)]
    if wrong:
        raise CourseError("the site has faults:\n" + "\n".join(f"  {line}" for line in wrong))
    files = [path for path in out.rglob("*") if path.is_file()]
    count = len([path for path in files if path.suffix == ".html" and "_static" not in path.parts])
    return Built(out / "index.html", count, time.monotonic() - began, sum(path.stat().st_size for path in files) / 1e6)


def _sphinx(sources: Path, out: Path, chosen: dict[str, Any]) -> list[str]:
    """Make the pages; returns Sphinx's warnings."""
    with extra("site"):
        from sphinx.application import Sphinx
        from sphinx.errors import SphinxError
        from sphinx.util.docutils import docutils_namespace, patch_docutils

    said = io.StringIO()
    with patch_docutils(str(sources)), docutils_namespace():
        try:
            doctrees = out.with_name(f"{out.name}-sources") / ".doctrees"
            app = Sphinx(sources, None, out, doctrees, "html", chosen, status=None, warning=said, freshenv=True)
            app.build()
        except SphinxError as error:
            raise CourseError(f"Sphinx cannot build the site: {error}") from error
    plain = re.sub(r"\x1b\[[0-9;]*m", "", said.getvalue()).replace(f"{sources}/", "")
    return [line for line in plain.splitlines() if line.strip()]
