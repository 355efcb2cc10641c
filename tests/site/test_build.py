"""The course's own site holds together, and a small one shows what is done to a lesson and what is refused."""

import inspect
import re
from pathlib import Path

import pytest
from nbformat import v4
from typer.testing import CliRunner

from course_utils.command import cli
from course_utils.errors import CourseError
from course_utils.exercises.catalogue import definition, names
from course_utils.notebooks import colab, ipynb
from course_utils.notebooks.find import lessons
from course_utils.site import build, contents

ROOT = Path(__file__).parents[2]
LESSON = "notebooks/02_gates.html"


def page(built: build.Built, name: str) -> str:
    return (built.index.parent / name).read_text(encoding="utf-8")


def text(built: build.Built, name: str) -> str:
    """The words of a page without its marks, so that highlighted code reads as code."""
    return re.sub(r"<[^>]+>", "", page(built, name))


# --- the course ---------------------------------------------------------------------------------------------------


def test_every_lesson_and_document_has_a_page_and_the_first_page_leads_to_every_lesson(site: build.Built) -> None:
    stems = [lesson.path.stem for lesson in lessons(ROOT)]
    named = [*(name.removesuffix(".md") for name in contents.DOCUMENTS), *contents.SECTIONS]
    made = {str(path.relative_to(site.index.parent)) for path in site.index.parent.rglob("*.html")}
    assert {f"notebooks/{stem}.html" for stem in stems} | {f"{name}.html" for name in named} <= made
    first = page(site, "index.html")
    assert all('<a class="lesson' in first and f'href="notebooks/{stem}.html"' in first for stem in stems)


def test_pages_are_light(site: build.Built) -> None:
    assert site.megabytes <= 25
    for path in site.index.parent.glob("notebooks/*.html"):
        html = path.read_text(encoding="utf-8")
        assert "data:image/png" not in html, path.name
        assert all('loading="lazy"' in picture for picture in re.findall(r"<img[^>]*_images[^>]*>", html)), path.name


def test_exercises_are_cards_with_a_folded_hint_and_no_solution(site: build.Built) -> None:
    for lesson in lessons(ROOT):
        html, words = page(site, f"notebooks/{lesson.path.stem}.html"), text(site, f"notebooks/{lesson.path.stem}.html")
        exercises = names(lesson.number)
        assert len(re.findall(r'<div class="exercise docutils container">', html)) == len(exercises), lesson.number
        assert len(re.findall(r"<details[^>]*>(?:(?!</details>).)*A first hint", html, re.DOTALL)) == len(exercises)
        assert "<details open" not in html
        for name in exercises:
            body = inspect.getsource(definition(name).reference).split('"""')[-1].strip().splitlines()
            assert "\n".join(body) not in words, name


def test_every_formula_is_left_to_mathjax_and_mathjax_is_there(site: build.Built) -> None:
    html = page(site, next(site.index.parent.glob("notebooks/00_*.html")).relative_to(site.index.parent).as_posix())
    source = re.search(r'<script[^>]*src="([^"]*mathjax/startup\.js[^"]*)"', html)
    assert source and not re.search(r"<p>[^<]*\$\$", html)
    assert (site.index.parent / "notebooks" / source[1].split("?")[0]).is_file()


# --- a small repository -------------------------------------------------------------------------------------------


def test_a_lesson_page_has_its_card_its_figure_and_its_notebook(repository: Path, tmp_path: Path) -> None:
    built = build.build(repository, tmp_path / "site")
    html = page(built, LESSON)
    card = html.partition('<div class="exercise')[2]
    assert (
        card.index("10 minutes")
        < card.index("lstm_gates")
        < card.index("A first hint")
        < card.index("Below the exercise")
    )
    assert re.search(r'<img alt="A dot."[^>]*loading="lazy"', html)
    assert "builds on 00" in html and "two hours" in html
    assert (built.index.parent / "_static/notebooks/02_gates.ipynb").read_bytes() == (
        repository / "notebooks/02_gates.ipynb"
    ).read_bytes()
    assert "Open in Colab" not in html and 'href="https://github.com' not in html


def test_a_published_course_leads_to_colab_and_to_its_sources(repository: Path, tmp_path: Path) -> None:
    colab.move_repository("jane/course", "autumn", repository)
    built = build.build(repository, tmp_path / "site")
    html = page(built, LESSON)
    assert "https://colab.research.google.com/github/jane/course/blob/autumn/notebooks/02_gates.ipynb" in html
    assert "https://github.com/jane/course/edit/autumn/notebooks/02_gates.ipynb" in html
    assert "https://github.com/jane/course/blob/autumn/LICENSE" in page(built, "studying.html")


def test_the_picture_with_the_tag_cover_stands_for_its_lesson(repository: Path, tmp_path: Path) -> None:
    path = repository / "notebooks" / "02_gates.ipynb"
    notebook = ipynb.read(path)
    chosen = v4.new_output("display_data", {"image/png": "aGVsbG8=", "text/plain": "[figure]"})
    chosen["metadata"] = {"image/png": {"alt": "The best one."}}
    notebook.cells.append(v4.new_code_cell("plot(2)", outputs=[chosen], metadata={"tags": ["cover"]}))
    ipynb.write(notebook, path)
    built = build.build(repository, tmp_path / "site")
    assert 'alt="The best one."' in page(built, "index.html")
    assert (built.index.parent / "_static/covers/02.png").read_bytes() == b"hello"


@pytest.mark.parametrize(
    ("path", "old", "new", "said"),
    [
        ("README.md", "docs/grading.md#points", "docs/grading.md#nothing", "nothing"),
        ("README.md", "| 02 |", "| 03 |", "README.md has no row for lesson 02"),
        ("README.md", "## Teaching", "## Taught", 'README.md has no section "## Teaching"'),
        ("README.md", "```bash", "```text", "README.md shows no commands"),
        ("notebooks/02_gates.ipynb", "**You need**", "**It needs**", "does not say what the lesson takes"),
        ("notebooks/02_gates.ipynb", '"alt": "A dot."', '"alt": ""', "has no alt text"),
        ("docs/grading.md", "Text.", "![A](https://example.org/a.png)", "is asked of another host"),
    ],
)
def test_what_is_wrong_fails_the_build_and_is_named(
    repository: Path, tmp_path: Path, path: str, old: str, new: str, said: str
) -> None:
    before = (repository / path).read_text(encoding="utf-8")
    assert old in before
    (repository / path).write_text(before.replace(old, new), encoding="utf-8")
    with pytest.raises(CourseError, match=re.escape(said)):
        build.build(repository, tmp_path / "site")


def test_a_folder_of_somebody_elses_is_left_alone(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(CourseError, match="is not a site"):
        build.build(repository, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_the_command_says_where_the_site_is(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    done = CliRunner().invoke(cli.app, ["site", "--out", str(tmp_path / "site")])
    assert done.exit_code == 0 and "site/index.html" in done.output
    (repository / "README.md").write_text("# nothing\n")
    done = CliRunner().invoke(cli.app, ["site", "--out", str(tmp_path / "site")])
    assert done.exit_code == 2 and "README.md has no row" in done.stderr
