"""The notebooks as files: find them by number, keep them clean, fill in solutions, point them at a fork.

A committed notebook is *normalised*: it keeps its outputs and loses whatever differs from run to run or machine to
machine. `course refresh` writes such notebooks, `hygiene_problems` checks them. Nothing here imports torch, save
`solve`, which needs the reference solutions.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAXIMUM_BYTES = 1_000_000
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {"name": "python", "file_extension": ".py", "mimetype": "text/x-python", "pygments_lexer": "ipython3"}
KEPT_NOTEBOOK_METADATA = ("course", "kernelspec", "language_info")
KEPT_CELL_METADATA = ("jupyter", "tags")
PROGRESS = re.compile(r"\r|\d+%\|| \d*\.?\d+(it|s|batch|step)s?/(s|it)\b|\[\d\d:\d\d<")
# Directories that only one machine has. The lookbehind keeps URLs and relative paths out.
OTHER_MACHINES = re.compile(r"(?<![\w.:/~<-])(/home/\w+/|/Users/\w+/|/root/|/tmp/|/content/|[A-Z]:\\\\?Users\\)")
CARD = re.compile(r"^### Exercise \d+\.\d+ · \S.*$", re.MULTILINE)
CARD_EFFORT = re.compile(r"\*\d+([–-]\d+)? minutes · \d+ points?\*")

BADGE_IMAGE = "https://colab.research.google.com/assets/colab-badge.svg"
BADGE_LINK = re.compile(r"https://colab\.research\.google\.com/github/[^/\s)]+/[^/\s)]+/blob/[^/\s)]+/notebooks/")
COLAB_CELL = """\
# On Google Colab this cell installs the course's helpers. Anywhere else it does nothing while they are there.
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("course_utils") is None:
    course = "git+{address}@{ref}"
    if "google.colab" in sys.modules:
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", course], check=True)
        importlib.invalidate_caches()
    else:
        print(f'course_utils is missing. Install it with:  python -m pip install "{{course}}"')"""
PARAMETERS_CELL = 'PROFILE = "auto"'
PROJECT_NAME = 'name = "generative-networks-course"'
SESSION_CALL = "session = runtime.start(PROFILE, seed=0)"


class CourseError(Exception):
    """Something that the user can put right; the message says what is wrong and what to do."""


# --- where things are -------------------------------------------------------------------------------------------


def find_root() -> Path:
    """The course's repository: the working directory or one above it, else where this package was installed from."""
    here = Path.cwd().resolve()
    for directory in (here, *here.parents, Path(__file__).resolve().parents[1]):
        project = directory / "pyproject.toml"
        text = project.read_text(encoding="utf-8", errors="replace") if project.is_file() else ""
        if (directory / "notebooks").is_dir() and PROJECT_NAME in text.splitlines():
            return directory
    raise CourseError(
        f"{here} is not inside the course's repository (no pyproject.toml of the course beside notebooks/). "
        "Change to the folder that you cloned and try again."
    )


@dataclass(frozen=True)
class Lesson:
    """A notebook on disk. `number` is "00" … "09", or the file's stem for a notebook outside the course."""

    number: str
    path: Path

    @property
    def title(self) -> str:
        """The first heading, else the file's name; a file that cannot be read has its name too."""
        with contextlib.suppress(CourseError):
            for cell in read(self.path).cells:
                heading = re.search(r"^# +(.+)$", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else None
                if heading:
                    return heading[1].strip()
        return self.path.stem


def lessons(root: Path) -> list[Lesson]:
    """All lessons of the course, in order."""
    return [Lesson(path.name[:2], path) for path in sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))]


def find_lessons(wanted: list[str], root: Path | None) -> list[Lesson]:
    """The lessons called `01`, `1`, `01_recurrent_networks` or by a notebook's path; all of them when none is named.

    Raises CourseError, listing what exists, for one that is not there. Without a `root` only paths are found.
    """
    existing = lessons(root) if root else []
    if not wanted and not existing:
        raise CourseError(f"there are no lessons (NN_topic.ipynb) in {root / 'notebooks' if root else 'reach'}")
    found = [_find(name, existing) for name in wanted] if wanted else existing
    return list(dict.fromkeys(found))


def _find(name: str, existing: list[Lesson]) -> Lesson:
    if name.endswith(".ipynb"):
        path = Path(name).resolve()
        if not path.is_file():
            raise CourseError(f"there is no notebook {name}")
        return next((lesson for lesson in existing if lesson.path.resolve() == path), Lesson(path.stem, path))
    number = f"{int(name):02d}" if name.isdecimal() else name
    for lesson in existing:
        if number in (lesson.number, lesson.path.stem):
            return lesson
    there = "; ".join(f"{lesson.number} {lesson.path.stem[3:].replace('_', ' ')}" for lesson in existing)
    raise CourseError(f"there is no lesson {name!r}. There are: {there or 'none yet'}. Or give a notebook's path.")


# --- reading and writing ----------------------------------------------------------------------------------------


def read(path: Path) -> Any:
    """The notebook in `path`, as version 4. Raises CourseError for a file that is not one."""
    import nbformat

    try:
        text = path.read_text(encoding="utf-8")
        if not text.strip():
            raise CourseError(f"{path.name} is empty, not a notebook")
        notebook = nbformat.from_dict(json.loads(text))
        if notebook.get("nbformat", 0) < 4:
            raise CourseError(f"{path.name} is not a notebook of format 4: open it in JupyterLab and save it")
        _complete_ids(notebook)
        nbformat.validate(notebook)
    except (OSError, ValueError) as error:
        raise CourseError(f"{path.name} is not a notebook: it cannot be read as JSON ({error})") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise CourseError(f"{path.name} is not a notebook: its JSON has another structure ({error!r})") from error
    except nbformat.ValidationError as error:
        raise CourseError(f"{path.name} is not a valid notebook: {str(error).splitlines()[0]}") from error
    return notebook


def to_text(notebook: Any) -> str:
    """The notebook as it is written to disk: one-space indent, unescaped characters, a newline at the end."""
    import nbformat

    return nbformat.writes(notebook, version=nbformat.NO_CONVERT).rstrip("\n") + "\n"


def write(notebook: Any, path: Path) -> None:
    """Write the notebook so that an interruption leaves either the old file or the new one."""
    write_text(to_text(notebook), path)


def write_text(text: str, path: Path, mode: int = 0o644) -> None:
    """Write `text` to `path` in UTF-8 as `write_bytes` does."""
    write_bytes(text.encode("utf-8"), path, mode)


def write_bytes(content: bytes, path: Path, mode: int = 0o644) -> None:
    """Write `content` to `path` atomically, making the directory if need be; a new file gets the permissions `mode`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, path.stat().st_mode & 0o777 if path.exists() else mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def tags(cell: Any) -> list[str]:
    """The cell's tags."""
    return list(cell.metadata.get("tags", []))


def code_cells(notebook: Any) -> list[Any]:
    """The code cells that have something to run, in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def _complete_ids(notebook: Any) -> None:
    """Give cells without an id, or with one that another has, an id that follows from their content and place."""
    notebook["nbformat_minor"] = max(5, notebook.get("nbformat_minor", 0))
    seen: set[str] = set()
    for place, cell in enumerate(notebook.get("cells", [])):
        if not re.fullmatch(r"[a-zA-Z0-9-_]{1,64}", str(cell.get("id", ""))) or cell["id"] in seen:
            cell["id"] = hashlib.sha256(f"{place} {''.join(cell.get('source', ''))}".encode()).hexdigest()[:8]
        seen.add(cell["id"])
        if isinstance(cell.get("source"), list):
            cell["source"] = "".join(cell["source"])
        for output in cell.get("outputs", []):
            _join_lines(output)


def _join_lines(output: Any) -> None:
    """Turn the lists of lines in which files store text into one string each, in place."""
    if isinstance(output.get("text"), list):
        output["text"] = "".join(output["text"])
    for kind, value in output.get("data", {}).items():
        if isinstance(value, list) and all(isinstance(line, str) for line in value):
            output["data"][kind] = "".join(value)


# --- normalising ------------------------------------------------------------------------------------------------


def source_hash(notebook: Any) -> str:
    """A hash of what determines the outputs: the cells' types, sources and tags, in order."""
    content = [[cell.cell_type, cell.source, sorted(tags(cell))] for cell in notebook.cells]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:16]


def normalise(notebook: Any) -> Any:
    """A copy without anything that differs between runs or machines; outputs that carry meaning stay.

    Removed are papermill's cells and metadata, widget state and views, timestamps, Colab's additions and progress
    bars. Cells count 1 … n. Paths of this machine are not rewritten: `local_paths` finds them.
    """
    clean = copy.deepcopy(notebook)
    clean.cells = [cell for cell in clean.cells if not _is_scaffolding(cell)]
    clean.metadata = type(clean)({key: clean.metadata[key] for key in KEPT_NOTEBOOK_METADATA if key in clean.metadata})
    clean.metadata["kernelspec"], clean.metadata["language_info"] = dict(KERNELSPEC), dict(LANGUAGE)
    clean["nbformat"], clean["nbformat_minor"] = 4, 5
    for cell in clean.cells:
        cell.metadata = type(clean)({key: cell.metadata[key] for key in KEPT_CELL_METADATA if cell.metadata.get(key)})
        if cell.cell_type == "code":
            cell.outputs = [kept for output in cell.outputs if (kept := _clean_output(output)) is not None]
    _complete_ids(clean)
    renumber(clean)
    return clean


def renumber(notebook: Any) -> None:
    """Count the cells that ran 1 … n, in the order in which they stand."""
    number = 0
    for cell in notebook.cells:
        if cell.cell_type != "code" or cell.execution_count is None:
            continue
        number += 1
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = number


def _is_scaffolding(cell: Any) -> bool:
    return bool({"injected-parameters", "papermill-error-cell-tag"} & set(tags(cell)))


def remove_scaffolding(notebook: Any) -> None:
    """Take out the cells that papermill put in, in place."""
    notebook.cells = [cell for cell in notebook.cells if not _is_scaffolding(cell)]


def _clean_output(output: Any) -> Any | None:
    """The output without litter, or None where nothing is left of it."""
    output = copy.deepcopy(output)
    _join_lines(output)
    if WIDGET_VIEW in output.get("data", {}):
        return None
    if output.output_type == "stream" and output.name == "stderr":
        kept = [line for line in output.text.splitlines(keepends=True) if not PROGRESS.search(line)]
        output.text = "".join(kept)
        if not output.text.strip():
            return None
    output.get("metadata", {}).pop("needs_background", None)
    return output


def _texts(output: Any) -> Iterator[str]:
    yield str(output.get("text", ""))
    yield "\n".join(output.get("traceback", []))
    for kind, value in output.get("data", {}).items():
        if kind.startswith("text/") or kind == "image/svg+xml":
            yield value if isinstance(value, str) else "".join(value)
        elif kind.endswith("json"):
            yield json.dumps(value, ensure_ascii=False)


def local_paths(notebook: Any) -> list[str]:
    """Where outputs show a path of the machine on which the notebook ran, as sentences."""
    problems = []
    own = {str(Path.home()), sys.prefix, tempfile.gettempdir(), str(Path(__file__).resolve().parents[1])}
    mine = re.compile("|".join(rf"(?<![\w.:/~<-]){re.escape(path)}(?![\w.-])" for path in own if len(path) > 1))
    for number, cell in enumerate(code_cells(notebook), 1):
        for text in (text for output in cell.outputs for text in _texts(output)):
            match = mine.search(text) or OTHER_MACHINES.search(text)
            if match:
                shown = text[max(0, match.start() - 20) : match.end() + 40].replace("\n", " ").strip()
                problems.append(f"code cell {number} shows a path of this machine in its output: … {shown} …")
    return problems


def is_normalised(notebook: Any) -> list[str]:
    """What keeps the notebook from being in the form that `course refresh` writes; empty when it is."""
    problems = []
    clean = normalise(notebook)
    dropped = sorted(set(notebook.metadata) - set(KEPT_NOTEBOOK_METADATA))
    if dropped:
        problems.append(f"the notebook carries metadata of a run: {', '.join(dropped)}")
    elif notebook.metadata != clean.metadata:
        problems.append("kernelspec or language_info is not the course's (python3, no version)")
    if len(notebook.cells) != len(clean.cells):
        return [*problems, "it holds cells that papermill put in"]
    for number, (cell, wanted) in enumerate(zip(notebook.cells, clean.cells, strict=True), 1):
        where = f"cell {number} ({first_line(cell)})"
        if cell.metadata != wanted.metadata:
            extra = sorted(set(cell.metadata) - set(wanted.metadata))
            problems.append(f"{where} carries metadata that is empty or of a run: {', '.join(extra)}")
        if cell.cell_type == "code" and cell.outputs != wanted.outputs:
            problems.append(f"{where} has widget views, progress bars or other litter in its outputs")
        if cell.cell_type == "code" and cell.get("execution_count") != wanted.get("execution_count"):
            problems.append(f"{where} has execution count {cell.execution_count}, not {wanted.execution_count}")
    problems += [f"code cell {n} has not been run" for n in _not_run(notebook)]
    return problems + local_paths(notebook) + _hash_problems(notebook)


def _not_run(notebook: Any) -> list[int]:
    return [number for number, cell in enumerate(code_cells(notebook), 1) if cell.execution_count is None]


def _hash_problems(notebook: Any) -> list[str]:
    stored = notebook.metadata.get("course", {}).get("source_hash")
    if stored is None:
        return ["it has no source hash: it was never refreshed"]
    return [] if stored == source_hash(notebook) else ["its cells changed after its outputs were made (stale hash)"]


def first_line(cell: Any) -> str:
    """The first line of the cell that says something, shortened, to name it in a message."""
    lines = [line.strip() for line in cell.source.splitlines() if line.strip()]
    line = next((line for line in lines if not line.startswith(("#", "@", "import ", "from "))), "".join(lines[:1]))
    return line if len(line) <= 50 else line[:49] + "…"


# --- hygiene ----------------------------------------------------------------------------------------------------


def hygiene_problems(path: Path, root: Path) -> list[str]:
    """Everything that keeps the lesson in `path` from being committed, as sentences; empty when it may be."""
    notebook = read(path)
    problems = is_normalised(notebook)
    size = path.stat().st_size
    if size > MAXIMUM_BYTES:
        problems.append(f"it has {size / 1e6:.2f} MB; a notebook stays under {MAXIMUM_BYTES / 1e6:.0f} MB")
    return (
        problems + first_cell_problems(notebook, path.name, root) + figure_problems(notebook) + card_problems(notebook)
    )


def figure_problems(notebook: Any) -> list[str]:
    """Figures that nobody describes to someone who cannot see them."""
    problems = []
    for number, cell in enumerate(code_cells(notebook), 1):
        for output in cell.outputs:
            pictures = [kind for kind in output.get("data", {}) if kind.startswith("image/")]
            if pictures and not any(_alt_text(output, kind) for kind in pictures):
                problems.append(f"code cell {number} shows a figure without alt text")
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "markdown" and re.search(r"!\[\s*\]\(", cell.source):
            problems.append(f"cell {number} shows a picture without alt text: write ![what it shows](…)")
    return problems


def _alt_text(output: Any, kind: str) -> str:
    metadata = output.get("metadata", {})
    own = metadata.get(kind, {})
    return str((own.get("alt") if isinstance(own, dict) else "") or metadata.get("alt", "")).strip()


def card_problems(notebook: Any) -> list[str]:
    """Exercises whose cell has no card (`### Exercise 2.2 · Title`, *10 minutes · 2 points*) right above it."""
    problems = []
    for before, cell in zip([None, *notebook.cells], notebook.cells, strict=False):
        name = exercise_name(cell)
        if name is None:
            continue
        card = before.source if before is not None and before.cell_type == "markdown" else ""
        if not CARD.search(card):
            problems.append(f"exercise {name} has no card above it (### Exercise N.M · Title)")
        elif not CARD_EFFORT.search(card):
            problems.append(f"the card of exercise {name} does not say *N minutes · N points*")
    return problems


# --- exercises --------------------------------------------------------------------------------------------------


def exercise_function(cell: Any) -> ast.FunctionDef | None:
    """The function under `@exercise` in this cell, or None. Raises CourseError if the cell cannot be parsed."""
    if cell.cell_type != "code" or "@exercise" not in cell.source:
        return None
    try:
        tree = ast.parse(cell.source)
    except SyntaxError as error:
        raise CourseError(f"the exercise cell ({first_line(cell)}) is not valid Python: {error}") from error
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and any(ast.unparse(d) == "exercise" for d in node.decorator_list):
            return node
    return None


def exercise_name(cell: Any) -> str | None:
    """The name of the exercise in this cell, or None."""
    function = exercise_function(cell)
    return function.name if function else None


def solve(notebook: Any) -> Any:
    """A copy with every exercise's function replaced by the reference, and without outputs. Imports torch.

    Raises CourseError for a notebook without exercises, or with one that the course does not define.
    """
    from course_utils.exercises.define import definition

    solved, names = copy.deepcopy(notebook), []
    for cell in solved.cells:
        function = exercise_function(cell)
        if function is not None:
            try:
                reference = definition(function.name).source()
            except KeyError as error:
                raise CourseError(str(error.args[0])) from error
            cell.source = replace_function(cell.source, function, "@exercise\n" + reference)
            names.append(function.name)
    if not names:
        raise CourseError("this notebook has no exercise (a function under @exercise)")
    clear_outputs(solved)
    solved.metadata["course"] = {"solved": names}
    return solved


def replace_function(source: str, function: ast.FunctionDef, replacement: str) -> str:
    """`source` with the lines of `function`, decorators included, replaced; the rest of the cell stays."""
    lines = source.splitlines()
    first = min(node.lineno for node in (function, *function.decorator_list)) - 1
    return "\n".join([*lines[:first], *replacement.rstrip().splitlines(), *lines[function.end_lineno :]])


def clear_outputs(notebook: Any) -> None:
    """Remove all outputs and counts, in place."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None


# --- first cells and the repository's address -------------------------------------------------------------------


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


def first_cell_problems(notebook: Any, filename: str, root: Path) -> list[str]:
    """How the notebook's first cells differ from those that all lessons share."""
    cells, problems = notebook.cells, []
    opening = cells[0].source if cells and cells[0].cell_type == "markdown" else ""
    if not opening.startswith("# "):
        problems.append("it does not start with a markdown cell that opens with `# Title`")
    if badge(filename, root) not in opening:
        problems.append("its opening has no Colab badge for this file: `course colab` rewrites badges")
    for place, (source, wanted) in enumerate(first_cells(root), 1):
        cell = cells[place] if place < len(cells) else None
        if cell is None or cell.cell_type != "code" or cell.source != source or not set(wanted) <= set(tags(cell)):
            problems.append(f"cell {place + 1} is not the course's `{wanted[0]}` cell (notebook_files.first_cells)")
    start = cells[3] if len(cells) > 3 else None
    if start is None or SESSION_CALL not in start.source or "nbval-ignore-output" not in tags(start):
        problems.append(f"cell 4 does not start the session: `{SESSION_CALL}`, tagged nbval-ignore-output")
    return problems


def move_repository(repository: str, ref: str, root: Path) -> list[Path]:
    """Point pyproject.toml, the badges and every notebook's first cell at OWNER/NAME; returns the files changed."""
    repository = repository.removeprefix("https://github.com/").removesuffix(".git").strip("/")
    if not re.fullmatch(r"[A-Za-z0-9][\w-]*/(?!\.+$)[\w.-]+", repository, re.ASCII):
        raise CourseError(f"a repository reads OWNER/NAME, as in jane/generative-networks, not {repository!r}")
    if not re.fullmatch(r"[\w.-]+", ref):
        raise CourseError(f"--ref is a branch or tag without a slash, not {ref!r}")
    old, changed = slug(address(root)[0]), []
    documents = [root / name for name in ("README.md", "CONTRIBUTING.md", "data/README.md")]
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
    fresh = not _hash_problems(notebook)
    for cell in notebook.cells:
        if "colab" in tags(cell):
            cell.source = colab
        elif cell.cell_type == "markdown":
            cell.source = _move_links(cell.source, old, repository, ref)
    if fresh:  # only addresses changed, which no output depends on
        notebook.metadata["course"]["source_hash"] = source_hash(notebook)
    return to_text(notebook)


# --- working copies ---------------------------------------------------------------------------------------------


def working_copy(lesson: Lesson, root: Path) -> Path:
    """Copy the lesson to the git-ignored `work/`, under a new number if it is there already; returns the new path."""
    target = root / "work" / lesson.path.name
    count = 1
    while True:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("xb") as file:
                file.write(lesson.path.read_bytes())
            return target
        except FileExistsError:
            count += 1
            target = root / "work" / f"{lesson.path.stem}-{count}.ipynb"
