"""What the site shows: the lessons with what README and their first cells say of them, and the documents beside them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from course_utils.errors import CourseError
from course_utils.notebooks.find import Lesson, lessons
from course_utils.notebooks.ipynb import read

ROW = re.compile(r"^\| *(\d\d[a-z]?) *\| *\[([^]]+)\]\(([^)]+)\) *\| *([^|]+?) *\| *([\d.]+) *\|", re.MULTILINE)
NEEDS = re.compile(r"\*\*You need\*\*(.*)")
STUDY = re.compile(r"\*\*Time:?\*\*:? *(?:about )?(\S[^.,;]*?(?:hour|minute)[^.,;]*?)(?= with | to study|[.,;])")
# Pages made of sections of README, with the documents that hang below them in the table of contents.
SECTIONS = {"studying": ("Start", "Studying"), "teaching": ("Teaching",)}
BELOW = {"studying": ("data/README.md",), "teaching": ("docs/grading.md", "docs/nbgrader.md")}
# Documents with a page of their own.
DOCUMENTS = (*BELOW["studying"], *BELOW["teaching"], "results/README.md", "CONTRIBUTING.md", "docs/diagnoses.md")


@dataclass(frozen=True)
class LessonPage:
    """A lesson as lists show it. `needs` are the numbers of the lessons that it builds on, `study` a time in words."""

    lesson: Lesson
    title: str
    builds: str
    minutes: str
    needs: tuple[str, ...]
    study: str

    @property
    def number(self) -> str:
        """The lesson's number: "02", or "02a" for a detour."""
        return self.lesson.number

    @property
    def name(self) -> str:
        """The page's name, from the site's root and without an ending."""
        return f"notebooks/{self.lesson.path.stem}"

    @property
    def detour(self) -> bool:
        """Whether the main line does not need it."""
        return not self.number.isdigit()


def lesson_pages(root: Path) -> list[LessonPage]:
    """All lessons in order. Raises CourseError for one that README's table lacks, or that does not say what it takes."""
    rows = {row[0]: row for row in ROW.findall((root / "README.md").read_text(encoding="utf-8"))}
    pages = []
    for lesson in lessons(root):
        opening = read(lesson.path).cells[0].source
        needs, study = NEEDS.search(opening), STUDY.search(opening)
        if lesson.number not in rows:
            raise CourseError(f"README.md has no row for lesson {lesson.number}: its table of lessons is the site's")
        if not needs or not study:
            raise CourseError(
                f"the first cell of {lesson.path.name} does not say what the lesson takes: it needs a paragraph "
                '"**You need** …" and one "**Time**: about … hours"'
            )
        _, title, _, builds, minutes = rows[lesson.number]
        known = tuple(dict.fromkeys(re.findall(r"lesson (\d\d[a-z]?)", needs[1])))
        pages.append(LessonPage(lesson, title, builds, minutes, known, study[1]))
    return pages


def section(readme: str, heading: str) -> str:
    """The part of README under `## heading`, without the heading. Raises CourseError if there is none."""
    _, found, rest = readme.partition(f"\n## {heading}\n")
    if not found:
        raise CourseError(f'README.md has no section "## {heading}", of which the site makes a page')
    return re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0].strip() + "\n"


def origins(pages: list[LessonPage]) -> dict[str, str]:
    """The file of the repository behind each page that has one, by the page's name."""
    return {name.removesuffix(".md"): name for name in DOCUMENTS} | {page.name: f"{page.name}.ipynb" for page in pages}
