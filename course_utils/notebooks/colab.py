"""The cells that every notebook starts with, and the repository's address in them: Colab's badge and installation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from course_utils.errors import CourseError
from course_utils.files import write_text
from course_utils.notebooks.find import find_root, lessons
from course_utils.notebooks.ipynb import read, tags, to_text
from course_utils.notebooks.normalise import hash_problems, source_hash

BADGE_IMAGE = "https://colab.research.google.com/assets/colab-badge.svg"
BADGE_LINK = re.compile(r"https://colab\.research\.google\.com/github/[^/\s)]+/[^/\s)]+/blob/[^/\s)]+/notebooks/")
NOBODYS = "OWNER/NAME"  # stands for the address until `course colab --repository` sets it
COLAB_CELL = """\
# On Google Colab this cell installs the course's helpers. Anywhere else it imports them: before PyTorch, because they
# keep its threads from burning the time of other programs.
import importlib
import subprocess
import sys

try:
    import course_utils
except ModuleNotFoundError:
    course = "git+{address}@{ref}"
    if "google.colab" in sys.modules:
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", course], check=True)
        importlib.invalidate_caches()
        import course_utils
    else:
        print(f'course_utils is missing. Install it with:  python -m pip install "{{course}}"')"""
PARAMETERS_CELL = 'PROFILE = "auto"'


def address(root: Path) -> tuple[str, str]:
    """The repository's web address and the branch or tag that Colab uses, as pyproject.toml gives them."""
    import tomllib

    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    try:
        url = project["project"]["urls"]["repository"]
    except KeyError:
        raise CourseError(
            "pyproject.toml has no [project.urls] repository: the course's address stands there"
        ) from None
    return url.removesuffix(".git").rstrip("/"), project.get("tool", {}).get("course", {}).get("ref", "main")


def published(root: Path) -> tuple[str, str] | None:
    """OWNER/NAME and the branch or tag where the course is published; None where no address has been set yet."""
    url, ref = address(root)
    return None if slug(url) == NOBODYS else (slug(url), ref)


def slug(url: str) -> str:
    """OWNER/NAME of a repository's address."""
    return "/".join(url.split("/")[-2:])


def badge(filename: str, root: Path) -> str:
    """The "Open in Colab" badge of a notebook, as Markdown."""
    url, ref = address(root)
    link = f"https://colab.research.google.com/github/{slug(url)}/blob/{ref}/notebooks/{filename}"
    return f"[![Open in Colab]({BADGE_IMAGE})]({link})"


def colab_cell(root: Path) -> str:
    """The source of every notebook's first code cell."""
    url, ref = address(root)
    return COLAB_CELL.format(address=url, ref=ref)


def first_cells(root: Path | None = None) -> list[tuple[str, list[str]]]:
    """Source and tags of the two code cells that every notebook starts with, after its opening."""
    return [(colab_cell(root or find_root()), ["colab"]), (PARAMETERS_CELL, ["parameters"])]


def move_repository(repository: str, ref: str, root: Path) -> list[Path]:
    """Point pyproject.toml, the badges and every notebook's first cell at OWNER/NAME; returns the files changed."""
    repository = repository.removeprefix("https://github.com/").removesuffix(".git").strip("/")
    if not re.fullmatch(r"[A-Za-z0-9][\w-]*/(?!\.+$)[\w.-]+", repository, re.ASCII):
        raise CourseError(f"a repository reads OWNER/NAME, as in jane/generative-networks, not {repository!r}")
    if not re.fullmatch(r"[\w.-]+", ref):
        raise CourseError(f"--ref is a branch or tag without a slash, not {ref!r}")
    old, changed = slug(address(root)[0]), []
    documents = [root / name for name in ("README.md", "CONTRIBUTING.md", "data/README.md")]
    documents += sorted((root / "docs").glob("*.md"))
    project = root / "pyproject.toml"
    rewritten = {project: _move_project(project.read_text(encoding="utf-8"), repository, ref)}
    for path in (path for path in documents if path.exists()):
        rewritten[path] = _move_links(path.read_text(encoding="utf-8"), old, repository, ref)
    colab = COLAB_CELL.format(address=f"https://github.com/{repository}", ref=ref)
    for lesson in lessons(root):
        rewritten[lesson.path] = _move_notebook(read(lesson.path), colab, old, repository, ref)
    for path, text in rewritten.items():
        if text != path.read_text(encoding="utf-8"):
            write_text(text, path)
            changed.append(path)
    return changed


def _move_project(text: str, repository: str, ref: str) -> str:
    text = re.sub(r'(?m)^(repository\s*=\s*)"[^"]*"', rf'\g<1>"https://github.com/{repository}"', text)
    line = r"(?m)^(\[tool\.course\]\n(?:(?!\[).*\n)*?)ref\s*=.*\n?"
    if ref == "main":  # the default: neither the line nor a table that held nothing else stays
        return re.sub(r"\n\[tool\.course\]\n(?=\n*(\[|\Z))", "", re.sub(line, r"\1", text))
    if re.search(line, text):
        return re.sub(line, rf'\g<1>ref = "{ref}"\n', text)
    if re.search(r"(?m)^\[tool\.course\]$", text):
        return re.sub(r"(?m)^\[tool\.course\]$", f'[tool.course]\nref = "{ref}"', text)
    return text.rstrip("\n") + f'\n\n[tool.course]\nref = "{ref}"\n'


def _move_links(text: str, old: str, repository: str, ref: str) -> str:
    link = f"https://colab.research.google.com/github/{repository}/blob/{ref}/notebooks/"
    text = BADGE_LINK.sub(link, text)
    return re.sub(rf"(github\.com/){re.escape(old)}(?![\w-])", rf"\g<1>{repository}", text)


def _move_notebook(notebook: Any, colab: str, old: str, repository: str, ref: str) -> str:
    fresh = not hash_problems(notebook)
    for cell in notebook.cells:
        if "colab" in tags(cell):
            cell.source = colab
        elif cell.cell_type == "markdown":
            cell.source = _move_links(cell.source, old, repository, ref)
    if fresh:  # only addresses changed, which no output depends on
        notebook.metadata["course"]["source_hash"] = source_hash(notebook)
    return to_text(notebook)
