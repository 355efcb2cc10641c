"""Twelve sample submissions of lesson 02: right, mistaken, unfinished, broken and hostile ones, with a manifest.

    python tests/grading/demo.py OUT [--open]

makes them in OUT/handed-in, grades them, and writes the reports into OUT (`make grade-demo`). They are made from the
committed notebook, the references and the named mistakes, so nothing is copied here, and the same course gives the same
bytes. `SAMPLES` says what must come out of grading them.
Nothing in them could harm the machine even without a box: the loops sleep, and no file is written.
"""

from __future__ import annotations

import ast
import copy
import inspect
import re
import textwrap
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import Annotated, Any

import typer

from course_utils.command.cli import user_errors
from course_utils.exercises.catalogue import definition, names
from course_utils.files import write_text
from course_utils.grading.books import csv_text
from course_utils.grading.result import Result
from course_utils.grading.text import printable
from course_utils.notebooks import find, ipynb, solve

LESSON = "02"
DEADLINE = "2026-05-31T23:59:00+00:00"
IN_TIME, TOO_LATE = "2026-05-30T18:00:00+00:00", "2026-06-01T08:30:00+00:00"


@dataclass(frozen=True)
class Sample:
    """One submission: who, which bytes, and what grading it must give.

    `right` names the exercises that earn all their points, `nearly` those that fail edge cases only and earn their share,
    and `mistakes` those that are wrong, both by the mistake's key; `review` those that wait for a person. All others earn
    nothing. `statuses` are those that the submission may have.
    """

    student: str
    shows: str
    build: Callable[[], bytes]
    right: tuple[str, ...] = ()
    mistakes: dict[str, str] = field(default_factory=dict)
    nearly: dict[str, str] = field(default_factory=dict)
    review: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ("graded",)
    late: bool = False

    @property
    def file(self) -> str:
        """The file's name, as Canvas gives it to a download."""
        name, _, number = self.student.rpartition("_")
        last_first = "".join(reversed(re.findall(r"[a-z]+", name.lower()))) or "student"
        return f"{last_first[:30]}_{number}_{int(number) + 4000}_02_lstm_gates.ipynb"


def write(folder: Path) -> list[Path]:
    """Write the twelve notebooks and `manifest.csv` into `folder`; returns the paths of the notebooks."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for sample in SAMPLES:
        path = folder / sample.file
        path.write_bytes(sample.build())
        paths.append(path)
    write_text(manifest(), folder / "manifest.csv")
    return paths


def manifest() -> str:
    """The manifest of the samples: file, student, deadline, and when it was handed in."""
    rows = [(sample.file, sample.student, DEADLINE, TOO_LATE if sample.late else IN_TIME) for sample in SAMPLES]
    return csv_text([("file", "student", "deadline", "submitted"), *rows])


def differences(results: Sequence[Result]) -> list[str]:
    """What grading the samples gave other than it must, in words; empty when all is well."""
    of = {result.student: result for result in results}
    return [
        f"{sample.student}: {problem}"
        for sample in SAMPLES
        for problem in _differences(sample, of.get(printable(sample.student)))
    ]


def _differences(sample: Sample, result: Result | None) -> list[str]:
    if result is None:
        return ["no result"]
    right = {mark.name for mark in result.marks if mark.points == mark.max_points}
    share = {mark.name for mark in result.marks if 0 < mark.points < mark.max_points}
    review = {mark.name for mark in result.marks if mark.status == "needs_review"}
    nearly = {mark.name: mark.mistake for mark in result.marks if mark.status == "nearly right"}
    mistakes = {mark.name: mark.mistake for mark in result.marks if mark.status == "diagnosed"}
    compared = (
        ("points for", sorted(right), sorted(sample.right)),
        ("a share of the points for", sorted(share), sorted(sample.nearly)),
        ("nearly right", nearly, sample.nearly),
        ("known mistakes", mistakes, sample.mistakes),
        ("waiting for a person", sorted(review), sorted(sample.review)),
        ("late", result.late, sample.late),
    )
    problems = [f"{what} {is_} instead of {must}" for what, is_, must in compared if is_ != must]
    if result.status not in sample.statuses:
        problems.append(f"{result.status} instead of {' or '.join(sample.statuses)}")
    return problems


def main(
    out: Annotated[Path, typer.Argument(help="Where samples, results and pages go.", file_okay=False)],
    show: Annotated[bool, typer.Option("--open", help="Show the page about the cohort in a browser.")] = False,
) -> None:
    """Make the samples in OUT/handed-in, grade them, and write the reports into OUT.

    Exit code 1 if anything comes out other than it must.
    """
    with user_errors():
        from course_utils.grading import grader

        write(out / "handed-in")
        _, results, page = grader.run_and_report(out / "handed-in", out, names(LESSON), f"Lesson {LESSON}")
    problems = differences(results)
    typer.echo("\n".join([*(problems or ["All twelve came out as they must."]), f"Look: {page.resolve()}"]))
    if show:
        webbrowser.open(page.resolve().as_uri())
    raise typer.Exit(1 if problems else 0)


# -- answers -----------------------------------------------------------------------------------------------------


def reference(name: str) -> str:
    """The reference's source, as a student would have written it."""
    return "@exercise\n" + definition(name).source()


def mistaken(name: str, key: str) -> str:
    """The source of a named mistake under the exercise's name, after the helpers that it calls."""
    function = definition(name).mistakes[key].function
    own = re.sub(rf"def {key}\b", f"def {name}", _source(function), count=1)
    return "\n\n".join([*_helpers(function), "@exercise\n" + own])


def _source(function: Any) -> str:
    """A function's source without decorators and annotations, whose names the notebook may not know."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.decorator_list, node.returns = [], None
        elif isinstance(node, ast.arg):
            node.annotation = None
    return ast.unparse(tree) + "\n"


def _helpers(function: Any) -> list[str]:
    """The sources of the functions of its own module that a function calls, the innermost first."""
    sources: list[str] = []
    for value in inspect.getclosurevars(function).globals.values():
        if isinstance(value, FunctionType) and value.__module__ == function.__module__:
            sources += [*_helpers(value), _source(value)]
    return list(dict.fromkeys(sources))


def answered(name: str, body: str) -> str:
    """The exercise's own signature over another body (dedented source)."""
    head = definition(name).source().split('"""', 1)[0]
    return f"@exercise\n{head.rstrip()}\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n"


def notebook(answers: dict[str, str], before: str = "", after: str = "") -> bytes:
    """The lesson's notebook with these exercises answered, all others right; cells put first and last if wanted.

    An answer of "" leaves the exercise as it was handed out.
    """
    root = find.find_root()
    (lesson,) = find.find_lessons([LESSON], root)
    page = ipynb.read(lesson.path)
    template = next(cell for cell in page.cells if cell.cell_type == "code")
    for cell in page.cells:
        function = ipynb.exercise_function(cell)
        answer = answers.get(function.name, reference(function.name)) if function else ""
        if function and answer:
            cell.source = solve.replace_function(cell.source, function, answer)
    for place, source in ((0, before), (len(page.cells) + 1, after)):
        if source:
            extra = copy.deepcopy(template)
            extra.update(source=textwrap.dedent(source).strip(), id=f"demo-{place}")
            extra.metadata.clear()
            page.cells.insert(place, extra)
    ipynb.clear_outputs(page)
    return ipynb.to_text(page).encode()


# -- the twelve --------------------------------------------------------------------------------------------------

MAGICS = """
%matplotlib inline
!pip install --quiet einops
from google.colab import drive
drive.mount("/content/drive")
import a_module_that_only_my_laptop_has
"""

LIBRARY = """
def gate(n, loud=1):
    ih, hh, b = (loud * part.chunk(4)[n] for part in (weight_ih, weight_hh, bias))
    four = ih.repeat(4, 1), hh.repeat(4, 1), b.repeat(4)
    full, empty = (torch.lstm_cell(x, (h, torch.full_like(h, c)), *four)[1] for c in (1.0, 0.0))
    return full - empty  # what this gate keeps of a full cell, as a forget gate

return gate(0), gate(1), 2 * gate(2, loud=2) - 1, gate(3)
"""

ENDLESS = """
import time
while True:
    time.sleep(0.01)
"""

FORGERY = """
import builtins
import torch

class Always:
    shape, dtype, device = (1,), torch.float64, torch.device("cpu")
    def __eq__(self, other):
        return True
    def __sub__(self, other):
        return 0
    __hash__ = None

torch.allclose = torch.equal = lambda *a, **k: True
torch.testing.assert_close = lambda *a, **k: None
builtins.all = lambda *a: True
"""

BURGLARY = """
import gc, importlib, pathlib, sys
try:
    from course_utils.exercises.catalogue import definition
    return definition("{name}").reference(*{arguments})
except Exception:
    pass
for place in sys.path:
    for path in pathlib.Path(place or ".").glob("course_utils/exercises/lessons/l02_lstm_gates.py"):
        space = {{}}
        exec(path.read_text(), space)
        return space["{name}"].reference(*{arguments})
for thing in gc.get_objects():
    if type(thing).__name__ == "Definition" and thing.name == "{name}":
        return thing.reference(*{arguments})
raise LookupError("no reference in this box")
"""

MARKUP = """
print("</pre><script>alert('printed')</script>")
raise ValueError("<img src=x onerror=alert(1)> \\x1b[31mred\\x1b[0m =1+2")
"""


def _burglary(name: str) -> str:
    arguments = f"({', '.join(inspect.signature(definition(name).reference).parameters)},)"
    return answered(name, BURGLARY.format(name=name, arguments=arguments))


def _but(*wrong: str) -> tuple[str, ...]:
    """All exercises of the lesson without some."""
    return tuple(name for name in names(LESSON) if name not in wrong)


def _ordinary() -> tuple[Sample, ...]:
    return (
        Sample("Ada Example_1001", "everything is right", lambda: notebook({}), _but()),
        Sample(
            "Ben Example_1002",
            "two mistakes that the course knows",
            lambda: notebook(_ben()),
            _but("lstm_gates", "lstm_update"),
            {"lstm_gates": "output_before_candidate", "lstm_update": "squashed_memory"},
        ),
        Sample(
            "Cleo Example_1003",
            "unfinished: one exercise as it was handed out; one mistake, and one that shows at temperature 0 only",
            lambda: notebook(_cleo()),
            ("lstm_gates", "open_forget_gate"),
            {"lstm_update": "squashed_memory"},
            {"next_character": "divided_by_zero"},
        ),
    )


def _broken() -> tuple[Sample, ...]:
    return (
        Sample(
            "Dan Example_1004",
            "a syntax error: only that exercise is lost",
            lambda: notebook({"open_forget_gate": "@exercise\ndef open_forget_gate(bias, value:\n    return bias\n"}),
            _but("open_forget_gate"),
        ),
        Sample(
            "Eva Example_1005",
            "magics, pip and Colab's drive; torch's own LSTM cell where the gates were to be written",
            lambda: notebook({"lstm_gates": answered("lstm_gates", LIBRARY)}, before=MAGICS),
            _but("lstm_gates"),
            review=("lstm_gates",),
            statuses=("needs_review",),
        ),
        Sample(
            "Finn Example_1006",
            "a loop without end",
            lambda: notebook({"lstm_update": answered("lstm_update", ENDLESS)}),
            _but("lstm_update"),
            statuses=("graded", "student_error"),
        ),
        Sample(
            "Gwen Example_1007",
            "sys.exit in one exercise, os._exit in another",
            lambda: notebook(
                {
                    "lstm_gates": answered("lstm_gates", "import sys\nsys.exit(0)"),
                    "open_forget_gate": answered("open_forget_gate", "import os\nos._exit(0)"),
                }
            ),
            _but("lstm_gates", "open_forget_gate"),
            statuses=("student_error",),
        ),
    )


def _ben() -> dict[str, str]:
    return {
        "lstm_gates": mistaken("lstm_gates", "output_before_candidate"),
        "lstm_update": mistaken("lstm_update", "squashed_memory"),
    }


def _cleo() -> dict[str, str]:
    return {
        "adding_problem": "",
        "lstm_update": mistaken("lstm_update", "squashed_memory"),
        "next_character": mistaken("next_character", "divided_by_zero"),
    }


def _hostile() -> tuple[Sample, ...]:
    return (
        Sample(
            "Hugo Example_1008",
            "an object that equals everything, torch.allclose and builtins patched",
            lambda: notebook({name: answered(name, "return Always()") for name in names(LESSON)}, before=FORGERY),
            statuses=("graded", "student_error"),
        ),
        Sample(
            "Iris Example_1009",
            "looks for the references on the disk and in memory",
            lambda: notebook({name: _burglary(name) for name in names(LESSON)}),
            statuses=("graded", "student_error"),
        ),
        Sample(
            "Jack Example_1010",
            "a web page saved under the name of a notebook",
            lambda: b"<!doctype html><title>Sign in</title><p>Please sign in to download this file.</p>",
            statuses=("unreadable",),
        ),
        Sample(
            "=1+2 Kim <script>alert('name')</script>_1011",
            "markup, colours and formulas in the name and in messages",
            lambda: notebook({"lstm_gates": answered("lstm_gates", MARKUP)}),
            _but("lstm_gates"),
        ),
        Sample(
            "Léa Example_1012",
            "late; two exercises answered twice: the last answer counts",
            lambda: notebook(_ben(), after=f"{reference('lstm_gates')}\n\n{mistaken('adding_problem', LAST_WORD)}"),
            _but("lstm_update", "adding_problem"),
            {"lstm_update": "squashed_memory", "adding_problem": LAST_WORD},
            late=True,
        ),
    )


LAST_WORD = "marks_anywhere"
SAMPLES = (*_ordinary(), *_broken(), *_hostile())

if __name__ == "__main__":
    typer.run(main)
