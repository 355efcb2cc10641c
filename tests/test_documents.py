"""What people read names only what there is: files, modules, commands, links; and CONTRIBUTING's map names every module."""

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest
import structure

from course_utils.command import cli
from course_utils.notebooks import find, ipynb
from course_utils.site import contents

ROOT = Path(__file__).parents[1]
PAGES = ("*.md", "docs/*.md", "data/README.md", "results/README.md")
SETTINGS = ("Makefile", "LICENSE", "environment.yml", "pyproject.toml", ".ci/*", ".github/workflows/*.yml")
DOCUMENTS = sorted(str(path.relative_to(ROOT)) for pattern in PAGES + SETTINGS for path in ROOT.glob(pattern))
PYTHON = sorted(path for folder in ("course_utils", "benchmarks", "tests") for path in (ROOT / folder).rglob("*.py"))
SOURCES = [str(path.relative_to(ROOT)) for path in PYTHON if "tests" not in path.relative_to(ROOT).parts]
A_PATH = re.compile(r"(?<![\w./-])(?:\.\./)?((?:course_utils|tests|benchmarks|docs|\.ci|\.github)/[\w./-]*[\w/])")
A_FILE = re.compile(r"(?<![\w./-])(\w+\.py)\b")
A_TARGET = re.compile(r"(?:`|run: |^)make ([a-z][a-z-]*)", re.MULTILINE)
A_COMMAND = re.compile(r"(?:`|run: |^)(?:\.venv/bin/)?course ([a-z][a-z-]*)", re.MULTILINE)
A_LINK = re.compile(r"\]\(([^)\s#]*)(#[^)\s]*)?\)")
# Placeholders, and the files that a document tells its reader to make, or that another program has.
OF_OTHERS = {"benchmarks/NAME.py", "NAME.py", "lNN_topic.py", "slurm_workers.py", "nbgrader_config.py", "start.py"}

every_document = pytest.mark.parametrize("document", DOCUMENTS)


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def exists(path: str) -> bool:
    return (ROOT / path).exists() or path in OF_OTHERS


def test_there_are_documents_to_read() -> None:
    some = {"README.md", "CONTRIBUTING.md", "docs/grading.md", "Makefile", ".ci/run", ".github/workflows/weekly.yml"}
    assert some <= set(DOCUMENTS) and "course_utils/display.py" in SOURCES


@pytest.mark.parametrize("name", [*DOCUMENTS, *SOURCES])
def test_every_path_that_is_named_exists(name: str) -> None:
    assert [path for path in A_PATH.findall(text(name)) if not exists(path)] == []


@every_document
def test_every_file_of_python_that_is_named_exists(document: str) -> None:
    known = {path.name for path in PYTHON} | OF_OTHERS
    assert [name for name in A_FILE.findall(text(document)) if name not in known] == []


@every_document
def test_every_module_that_is_named_exists(document: str) -> None:
    assert [name for name in structure.IN_TEXT.findall(text(document)) if not defined(name)] == []


def defined(dotted: str) -> bool:
    """Whether `course_utils.a.b.c` is a module, or something that a module defines or hands on."""
    known, parts = structure.modules(), dotted.split(".")[1:]
    for length in range(len(parts), 0, -1):
        path = known.get(".".join(parts[:length]))
        if path is not None:
            return length == len(parts) or parts[length] in names_in(path)
    return False


@every_document
def test_every_name_that_is_said_to_be_in_a_file_is_defined_there(document: str) -> None:
    said = re.findall(r"`(\w+)` in `(course_utils/[\w/]+\.py)`", text(document))
    assert [name for name, path in said if name not in names_in(ROOT / path)] == []


def names_in(path: Path) -> set[str]:
    names = set[str]()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


@pytest.mark.parametrize("there", ["display", "display.show", "data.mnist", "data.download.MNIST", "notebooks.find"])
def test_a_module_or_name_that_is_not_there_is_noticed(there: str) -> None:
    assert defined(f"course_utils.{there}") and not defined(f"course_utils.{there}_")


@every_document
def test_every_target_of_make_and_every_command_that_is_named_exists(document: str) -> None:
    rules = re.findall(r"(?m)^([a-z][a-z -]*):(?!=)", text("Makefile"))
    commands = {
        command.name or command.callback.__name__ for command in cli.app.registered_commands if command.callback
    }
    commands |= {group.name for group in cli.app.registered_groups if group.name}
    assert set(A_TARGET.findall(text(document))) - {target for rule in rules for target in rule.split()} == set()
    assert set(A_COMMAND.findall(text(document))) - commands == set()


def test_the_script_with_colabs_versions_installs_every_dependency_that_the_course_has() -> None:
    project = tomllib.loads(text("pyproject.toml"))["project"]
    needed = {re.split(r"[<>=]", requirement)[0] for requirement in project["dependencies"]}
    installed = re.search(r"packages=\((.*?)\)", text(".ci/colab"), re.DOTALL)  # the course itself comes with --no-deps
    assert installed and needed - set(re.findall(r"[\w-]+", installed[1])) == set()


# -- links -------------------------------------------------------------------------------------------------------


def headings(markdown: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    without_code = re.sub(r"(?ms)^```.*?^```", "", markdown)
    titles = re.findall(r"(?m)^#+ +(.+)$", without_code)
    return {"#" + re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(markdown: str, folder: Path) -> list[str]:
    """The links to files, and to headings of pages, that lead nowhere."""
    broken = []
    for target, anchor in A_LINK.findall(markdown):
        if re.match(r"\w+:", target):
            continue
        path = folder / target
        if not path.exists():
            broken.append(target + anchor)
        elif anchor and (not target or path.suffix == ".md"):
            page = path.read_text(encoding="utf-8") if target else markdown
            broken += [target + anchor] if anchor.lower() not in headings(page) else []
    return broken


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if name.endswith(".md")])
def test_every_link_of_a_page_leads_somewhere(document: str) -> None:
    assert broken_links(text(document), (ROOT / document).parent) == []


@pytest.mark.parametrize("lesson", find.lessons(ROOT), ids=lambda lesson: lesson.number)
def test_every_link_of_a_lesson_leads_somewhere(lesson: find.Lesson) -> None:
    cells = ipynb.read(lesson.path).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert broken_links(prose, lesson.path.parent) == []


def test_a_link_to_a_missing_detour_or_heading_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "02a_detour.ipynb").write_text("{}")
    (tmp_path / "page.md").write_text("# One · two\n```\n# no heading\n```\n")
    good = "[a](02a_detour.ipynb) [b](page.md#one--two) [c](#here) [d](https://x.y/z)\n## Here"
    assert broken_links(good, tmp_path) == []
    bad = "[a](02b_detour.ipynb) [b](page.md#no-heading) [c](#there)\n## Here"
    assert broken_links(bad, tmp_path) == ["02b_detour.ipynb", "page.md#no-heading", "#there"]


# -- what README says that it takes ------------------------------------------------------------------------------


def test_readme_says_what_the_lessons_take() -> None:
    readme = text("README.md")
    assert len(readme.splitlines()) <= 150
    minutes = [float(row[-1]) for row in contents.ROW.findall(readme)]
    assert f"runs in {min(minutes):g} to {max(minutes):g} minutes" in readme

    said = re.search(r"\*\*Memory\*\*: up to ([\d.]+) GB", readme)
    files = [json.loads(path.read_text(encoding="utf-8")) for path in ROOT.glob("results/cpu-*.json")]
    peak = max(result["peak_gb"] for file in files for result in file["results"])
    assert said and peak - 0.05 <= float(said[1]) <= peak + 1


WORDS = [
    "a minute",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
]  # a minute is one too


def test_readme_and_the_lessons_say_the_same_of_their_minutes() -> None:
    for page in contents.lesson_pages(ROOT):
        opening = ipynb.read(page.lesson.path).cells[0].source
        told = re.search(
            r"(?s)\*\*Time:?\*\*(?:[^.]*?, |.*?code runs (?:in|for) )(?:about )?([a-z ]+ minutes?|half a minute)",
            opening,
        )
        assert told, page.number
        counts = [max(1, number) for number, word in enumerate(WORDS) if re.search(rf"\b{word}\b", told[1])]
        assert min(counts) <= float(page.minutes) <= max(counts) or "first time" in opening, (page.number, told[1])


# -- the map -----------------------------------------------------------------------------------------------------


def test_the_map_names_every_module_in_its_place_and_no_other() -> None:
    rows = re.findall(r"(?m)^\| `course_utils/([\w/]*)` \|.*\| ([^|]+) \|$", text("CONTRIBUTING.md"))
    drawn = {folder.strip("/").replace("/", "."): set(re.findall(r"`(\w+)`", modules)) for folder, modules in rows}
    there: dict[str, set[str]] = {}
    for name, path in structure.modules().items():
        folder, _, module = name.rpartition(".")
        if path.name == "__init__.py":
            there.setdefault(name, set())
        elif name != "__main__":
            there.setdefault(folder, set()).add(re.sub(r"^l\d\d[a-z]?_\w+$", "lNN_topic", module))
    differing = {place: drawn.get(place, set()) ^ there.get(place, set()) for place in drawn.keys() | there.keys()}
    assert {f"course_utils/{place}": names for place, names in differing.items() if names} == {}
    assert drawn.keys() == there.keys()


def test_the_table_of_benchmarks_names_all_that_can_be_run() -> None:
    rows = re.findall(
        r"(?m)^\| `(\w+)` \| ", text("CONTRIBUTING.md").partition("## Benchmarks")[2].partition("\n## ")[0]
    )
    runnable = [path.stem for path in PYTHON if path.parent == ROOT / "benchmarks" and "__main__" in path.read_text()]
    assert sorted(rows) == sorted(runnable)
