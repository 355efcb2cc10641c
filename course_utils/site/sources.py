"""What Sphinx makes pages of: notebooks, documents and the landing page, written to a folder of their own."""

from __future__ import annotations

import base64
import re
import shutil
from importlib import metadata
from pathlib import Path

from course_utils import templates
from course_utils.errors import CourseError, extra
from course_utils.files import write_text
from course_utils.notebooks.colab import published
from course_utils.notebooks.ipynb import to_text
from course_utils.site.contents import BELOW, DOCUMENTS, SECTIONS, LessonPage, origins, section
from course_utils.site.links import Links
from course_utils.site.notebook_page import cover, notebook_page
from course_utils.site.settings import TEMPLATES

OWN = Path(__file__).parent / "static"
# The parts of MathJax that the course's formulas need; all of it would be 15 MB.
MATHJAX = (
    "startup.js",
    "core.js",
    "input/tex.js",
    "output/chtml.js",
    "output/chtml/fonts/tex.js",
    "a11y/assistive-mml.js",
)
MATHJAX_FONTS = "output/chtml/fonts/woff-v2"


def write_sources(root: Path, sources: Path, pages: list[LessonPage]) -> None:
    """Write to `sources` all that the site of the course in `root` is made of. Raises CourseError where README lacks it."""
    repository = published(root)
    known = {file: file for file in origins(pages).values()} | {"README.md": "index.md"}
    links = Links(known, "https://github.com/{}/blob/{}".format(*repository) if repository else None)
    readme = (root / "README.md").read_text(encoding="utf-8")
    covers = [(page, _write_lesson(page, links, sources)) for page in pages]
    for name in DOCUMENTS:
        write_text(links.rewrite((root / name).read_text(encoding="utf-8"), name, name), sources / name)
    for name in SECTIONS:
        write_text(links.rewrite(_of_readme(readme, name), "README.md", f"{name}.md"), sources / f"{name}.md")
    blocks = re.findall(r"^```bash\n.*?^```$", section(readme, "Start"), re.MULTILINE | re.DOTALL)
    if not blocks:
        raise CourseError('README.md shows no commands (```bash) under "## Start": the site begins with them')
    environment = templates.environment(TEMPLATES)
    environment.autoescape = False  # they make Markdown
    for name, values in (("index.md", {"covers": covers, "start": blocks[0]}), ("lessons.md", {"lessons": pages})):
        write_text(environment.get_template(name).render(values), sources / name)
    (sources / "docutils.conf").write_text("[general]\nimage_loading: lazy\n", encoding="utf-8")
    for path in OWN.iterdir():
        _copy(path, sources / "_static" / path.name)
    _copy_mathjax(sources / "_static" / "mathjax")


def _write_lesson(page: LessonPage, links: Links, sources: Path) -> str:
    """Write a lesson's page, its notebook to download and its cover; returns the cover's alt text, "" without one."""
    notebook = notebook_page(page.lesson, links, f"{page.name}.ipynb")
    write_text(to_text(notebook), sources / f"{page.name}.ipynb")
    _copy(page.lesson.path, sources / "_static" / "notebooks" / page.lesson.path.name)
    picture = cover(notebook)
    if not picture:
        return ""
    target = sources / "_static" / "covers" / f"{page.number}.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(base64.b64decode(picture[0]))
    return picture[1]


def _of_readme(readme: str, name: str) -> str:
    """The page that README's sections make, with what hangs below it."""
    headings = SECTIONS[name]
    parts = [(f"## {heading}\n\n" if len(headings) > 1 else "") + section(readme, heading) for heading in headings]
    below = "\n".join(["```{toctree}", ":hidden:", "", *BELOW[name], "```\n"])
    return "\n".join([f"# {name.capitalize()}\n", *parts, below])


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)


def _copy_mathjax(target: Path) -> None:
    """Copy what typesets formulas to `target`, from the package that carries MathJax."""
    with extra("site"):
        files = metadata.files("sphinx-mathjax-offline") or []
    startup = next(file for file in files if file.parts[-2:] == ("mathjax", "startup.js"))
    folder = Path(str(startup.locate())).parent
    for path in [folder / name for name in MATHJAX] + sorted((folder / MATHJAX_FONTS).iterdir()):
        _copy(path, target / path.relative_to(folder))
