"""Finding the exercises of a notebook, whatever else is in its cells."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from lesson_numbers import lesson_numbers

from course_utils.boxed import extract
from course_utils.boxed.extract import Extract, definitions, filename, run
from course_utils.boxed.observe import Trial
from course_utils.boxed.serve import Runner
from course_utils.exercises.catalogue import names

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def result(*cells: str, name: str = "f", arguments: tuple = ()) -> Any:
    """What the function that was found returns."""
    found = definitions(cells, [name])
    return run(found, found.programs[name])[0](*arguments)


def remarks(*cells: str) -> list[str]:
    found = definitions(cells, ["f"])
    return run(found, found.programs["f"])[1]


def kept(*cells: str) -> list[int]:
    """The cells that play a part in the function."""
    return [statement.cell for statement in definitions(cells, ["f"]).programs["f"].statements]


# -- which definition, and what comes with it ---------------------------------------------------------------------


def test_the_last_definition_counts_with_a_note():
    cells = "def f():\n    return 1", "def f():\n    return 2", "def g():\n    return 3"
    assert result(*cells) == 2
    assert definitions(cells, ["f", "g"]).notes == ["f is defined 2 times; the last one counts (cell 2)"]


def test_the_courses_decorator_is_taken_off_and_others_stay():
    cell = "import functools\n@exercise\n@functools.cache\ndef f():\n    return 1"
    found = definitions([cell], ["f"])
    function, remarks = run(found, found.programs["f"])
    assert function() == 1
    assert function.cache_info().hits == 0
    assert remarks == []
    assert result("import course\n@course.exercise\ndef f():\n    return 4") == 4


def test_helpers_constants_and_imports_come_along_and_nothing_else():
    cells = (
        "import math, os",
        "SCALE = math.sqrt(16)",
        "def helper(x):\n    return x * SCALE",
        "other = undefined()",
        "def f():\n    return helper(2)",
        "class Unrelated(Missing): pass",
    )
    assert result(*cells) == 8.0
    assert kept(*cells) == [1, 2, 3, 5]
    assert remarks(*cells) == []


def test_what_a_helper_needs_at_one_remove_comes_along():
    cells = "a = 1", "b = a + 1", "class K:\n    value = b", "def g():\n    return K.value", "def f():\n    return g()"
    assert result(*cells) == 2


def test_names_mean_what_they_meant_at_the_definition():
    """A later cell of the lesson may use the name of a helper for something else."""
    cells = "def helper():\n    return 1", "def f():\n    return helper()", "def helper():\n    return 2", "helper = 5"
    assert result(*cells) == 1


def test_a_helper_that_only_comes_later_is_taken_from_there():
    """The cells were run in another order than they stand in."""
    cells = "def f():\n    return helper()", "def helper():\n    return K", "K = 3"
    assert result(*cells) == 3


def test_constants_may_be_changed_in_steps():
    cells = (
        "table = {}",
        "table['x'] = 1\nn = 1\nn += 2",
        "a, (b, *c) = 1, (2, 3)",
        "def f():\n    return table, n, a, b, c",
    )
    assert result(*cells) == ({"x": 1}, 3, 1, 2, [3])


def test_local_names_pull_nothing_in():
    cells = "loss = train_for_hours()", "def f(model=1):\n    loss = model\n    return [x for x in (loss,)]"
    assert kept(*cells) == [2]


def test_every_exercise_has_a_namespace_of_its_own():
    cells = ["n = [0]", "def f():\n    n[0] += 1\n    return n[0]", "def g():\n    return n[0]"]
    found = definitions(cells, ["f", "g"])
    assert run(found, found.programs["f"])[0]() == 1
    assert run(found, found.programs["g"])[0]() == 0


def test_the_name_may_be_assigned_where_there_is_no_function():
    assert result("import operator", "f = operator.neg", arguments=(3,)) == -3
    assert result("f = lambda: 1", "def f():\n    return 2", "f = None") == 2


def test_an_import_is_no_definition():
    assert definitions(["from os import path as f"], ["f"]).programs == {}


def test_functions_in_if_and_try_are_found():
    assert (
        result(
            "try:\n    import nothing_like_it as m\nexcept ImportError:\n    m = 7",
            "if True:\n    def f():\n        return m",
        )
        == 7
    )


def test_if_and_try_keep_what_is_cheap_in_them():
    cells = (
        "try:\n    import math\n    print('found')\nexcept ImportError:\n    print('install math')\n    raise",
        "if math:\n    for x in range(9): y = 3\n    def f():\n        return math.sqrt(4)\nelse:\n    !pip install math",
        "try:\n    x = 1\nfinally:\n    print(x)",
    )
    assert result(*cells) == 2.0
    assert remarks(*cells) == []
    with pytest.raises(NameError):
        result(*cells, "def g():\n    return y", name="g")


def test_what_annotations_and_defaults_and_bases_need_comes_along():
    cells = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\nBASE = 1",
        "@dataclass\nclass Pair:\n    a: int\n    b: Unknown = BASE",
        "def f(x: NotThere = BASE):\n    return Pair(x).b + x",
    )
    assert result(*cells) == 2
    assert remarks(*cells) == []


def test_star_imports_come_along():
    assert result("from math import *", "def f():\n    return sqrt(4)") == 2.0


def test_a_failing_statement_does_not_take_others_along():
    cells = (
        "from google.colab import drive\nimport math, no_such_module, os",
        "drive_at = drive.x",
        "def f(there=False):\n    return (drive, drive_at, no_such_module) if there else (math.pi, os.sep)",
    )
    assert result(*cells) == (3.141592653589793, "/")
    assert remarks(*cells) == [
        "cell 1, line 1: ModuleNotFoundError",
        "cell 1, line 2: ModuleNotFoundError",
        "cell 2, line 1: NameError",
    ]


def test_a_statement_that_leaves_python_does_not():
    assert result("import sys\nx = sys.exit(1)", "def f():\n    return 1 if True else x") == 1


# -- what is not run ----------------------------------------------------------------------------------------------

HEAVY = [
    "for n in range(3):\n    x = n",
    "while True:\n    x = 1",
    "with open('/dev/null') as x:\n    pass",
    "from course_utils import runtime\nx = runtime.start()",
    "from course_utils import runtime as r\nx = [r.start().device for _ in range(3)]",
    "import course_utils.training\nx = course_utils.training.steps(5).history",
    "from course_utils.data import verse\nx = {'a': verse()}",
    "x = await something()",
    "if True:\n    for x in (1, 2): pass",
    "try:\n    while True: x = 1\nexcept Exception: pass",
    "import sys\nif sys.exit():\n    while True: x = 1",
]


@pytest.mark.parametrize("cell", HEAVY)
def test_what_may_be_heavy_is_left_out(cell: str):
    cells = cell, "def f():\n    return x"
    assert kept(*cells) == [2]
    with pytest.raises(NameError):
        result(*cells)


def test_bare_calls_are_left_out():
    cells = "print('no')\nlog = []\nlog.append(1)", "def f():\n    return log"
    assert result(*cells) == []


def test_a_name_of_the_courses_may_be_taken_over():
    cells = "from course_utils.data import verse", "def verse():\n    return 3", "x = verse()", "def f():\n    return x"
    assert result(*cells) == 3


def test_printing_while_a_program_runs_goes_nowhere(capsys):
    result("def loud():\n    print('loud')\n    return 1\nx = loud()", "def f():\n    return x")
    assert capsys.readouterr().out == ""


# -- cells that are not quite Python ------------------------------------------------------------------------------

MAGICS = {
    "line": "%matplotlib inline\nx = 1",
    "shell": "!pip install -q torch && rm -rf x\nx = 1",
    "continued": "!pip install \\\n    -q \\\n  torch\nx = 1",
    "question": "?torch.nn\ntorch.nn??\nx = 1",
    "timed": "%%time\nx = 1",
    "captured": "  %%capture --no-stdout\nx = 1",
    "assigned": "files = !ls\nhere = %pwd\na, b = !ls\nx = 1",
    "inside if": "if True:\n    !ls\nx = 1",
    "inside def": "def g():\n    %timeit 1\n    return 0\nx = 1",
    "not a magic": "x = (7\n% 2)",
    "beside what is not": "!ls\nx = (7\n% 2)",
    "text": "x = len('''\n%\n''') - 2",
    "text beside a magic": "%time 1\nx = len('''\n%\n''') - 2",
    "indented": "\n\n%cd ..\n\nx = 1\n",
    "help at the end": "x = 1\nx?",
    "a cell with an indent": "\n  x = 1\n  if x:\n    y = 2\n\n  !ls\n",
    "a first comment with an indent": "  # mine\n  x = 1",
    "form feed": "# page 3\x0c of the book\nx = 1",
    "other ends of lines": "y = 'a\u2028b\x85c'  # one\x1c line\nx = 1",
    "ends of lines of other systems": "if True:\r\n    y = 1\r\nif y:\r    x = 1",
    "many": "!ls\n" * 50 + "!echo \\\n  %\nif True:\n    %time 1\nx = 1",
}


@pytest.mark.parametrize("cell", MAGICS.values(), ids=MAGICS.keys())
def test_magics_are_cut_out(cell: str):
    assert result(cell, "def f():\n    return x") == 1


def test_lines_keep_their_numbers_without_the_magics():
    found = definitions(["%%time\n!ls\n\ndef f():\n    return 1 / 0"], ["f"])
    function, _ = run(found, found.programs["f"])
    assert function.__code__.co_firstlineno == 4
    assert found.sources[1].splitlines()[4] == "    return 1 / 0"
    assert function.__code__.co_filename == filename(1)


LOST = {
    "syntax": ("x = = 1", "SyntaxError: invalid syntax (line 1)"),
    "indentation": (
        "if x:\ny = 1",
        "IndentationError: expected an indented block after 'if' statement on line 1 (line 2)",
    ),
    "other language": ("%%bash\nls -la", "it is in another language"),
    "null byte": ("x = 1\0", "null byte"),
    "half a character": ("x = '\ud800'", "surrogates not allowed"),
    "deep parentheses": ("x = " + "(" * 5000 + ")" * 5000, "SyntaxError: too many nested parentheses (line 1)"),
    "deep minus": ("x = " + "-" * 100_000 + "1", "RecursionError|MemoryError|nested too deeply"),
    "deep not": ("x = " + "not " * 50_000 + "1", "RecursionError|MemoryError|nested too deeply"),
    "long chain": ("x = a" + ".a" * 50_000, "RecursionError|MemoryError|nested too deeply"),
    "long sum": ("x = " + "+".join("1" * 50_000), "RecursionError|MemoryError|nested too deeply"),
    "many names": ("x = [" + "a," * 60_000 + "]", "nested too deeply, or too long"),
    "deep blocks": ("".join(" " * i + "if x:\n" for i in range(150)), "IndentationError: too many levels"),
    "questions": ("?\n" * 400_000, "nested too deeply, or too long"),
}


@pytest.mark.parametrize(("cell", "reason"), LOST.values(), ids=LOST.keys())
def test_a_cell_that_cannot_be_read_is_lost_alone_and_soon(cell: str, reason: str):
    import re

    start = time.perf_counter()
    cells = "y = 1", cell, "def f():\n    return y"
    found = definitions(cells, ["f"])
    assert time.perf_counter() - start < 20
    [note] = found.notes
    assert note.startswith("cell 2 is left out: ")
    assert any(part in note for part in reason.split("|")), re.sub(r"\s+", " ", note)[:200]
    assert result(*cells) == 1


def test_code_beyond_the_limit_is_not_looked_at():
    found = definitions(["def f(): pass", "#" * extract.SOURCE, "def g(): pass"], ["f", "g"])
    assert list(found.programs) == ["f"]
    assert found.notes == ["only the first 1 of 3 cells are looked at: it is too much code"]
    found = definitions([f"x{i} = 1" for i in range(extract.CELLS + 1)], [])
    assert found.notes == [
        f"only the first {extract.CELLS} of {extract.CELLS + 1} cells are looked at: it is too much code"
    ]


def test_notes_are_capped():
    assert len(definitions(["x = ="] * 1000, []).notes) == extract.NOTES


def test_a_statement_that_does_not_compile_is_left_out():
    assert result("return 5\nbreak\nx = 1", "def f():\n    return x") == 1


def test_an_exercise_in_a_lost_cell_says_why():
    program = definitions(["x = 1", "def f(a):\n    return a +", "def  f (b"], ["f"]).programs["f"]
    assert (program.cell, program.statements) == (3, ())
    assert program.lost == ("SyntaxError: '(' was never closed", 1, "def  f (b")
    assert definitions(["def f_two(:", "def f():\n    return 2"], ["f"]).programs["f"].lost is None


def test_an_error_of_the_definition_is_raised():
    found = definitions(["def f(x=missing):\n    return x"], ["f"])
    with pytest.raises(NameError, match="missing"):
        run(found, found.programs["f"])


# -- whole lessons ------------------------------------------------------------------------------------------------


def lesson_cells(lesson: str) -> list[str]:
    [path] = NOTEBOOKS.glob(f"{lesson}_*.ipynb")
    cells = json.loads(path.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("lesson", lesson_numbers())
def test_every_exercise_of_a_lesson_is_found_and_needs_nothing_heavy(lesson: str):
    asked = names(lesson)
    found: Extract = definitions(lesson_cells(lesson), asked)
    assert list(found.programs) == asked
    assert found.notes == []
    for program in found.programs.values():
        function, remarks = run(found, program)
        assert function.__name__ == program.name
        assert remarks == []
        assert function.__code__.co_filename == filename(program.cell)
    assert "notebook" in sys.modules


def test_what_a_lesson_needs_to_be_read_is_little():
    start = time.perf_counter()
    definitions(lesson_cells("02"), names("02"))
    assert time.perf_counter() - start < 1


# -- right in a notebook, and so here -----------------------------------------------------------------------------


def test_prompts_that_were_copied_along_are_taken_off():
    assert result(">>> @exercise\n>>> def f():\n...     x = 2\n...     return x") == 2
    assert result("In [1]: @exercise\n   ...: def f():\n   ...:     return 3") == 3
    assert result("x = (1,\n...\n)\ndef f():\n    return x[1]") is Ellipsis


def test_an_exercise_s_name_means_its_last_function_for_its_callers_too():
    cells = (
        "def g():\n    raise NotImplementedError",
        "def f():\n    return g() + 1",
        "SCALE = 4",
        "def g():\n    return SCALE",
    )
    found = definitions(cells, ["f", "g"])
    assert run(found, found.programs["f"])[0]() == 5


def test_hints_of_packages_that_are_missing_do_not_matter():
    assert result("from jaxtyping import Float\ndef f(x: Float[int, 'b h'] = 2):\n    return x") == 2


def test_a_function_that_does_not_come_to_be_does_not_hide_the_one_that_does():
    assert result("def f():\n    return 1", "OTHER = False\nif OTHER:\n    def f():\n        return 2") == 1


def test_the_module_is_main_as_in_a_notebook():
    assert result("if __name__ == '__main__':\n    X = 3", "def f():\n    return X") == 3


def test_a_function_in_a_loop_is_found():
    assert result("for _ in range(1):\n    @exercise\n    def f():\n        return 2") == 2


@pytest.mark.parametrize(
    "cell",
    [
        "T = {}\nfor i in range(3):\n    T[i] = i + 3",
        "T = [3, 4]\nT.append(5)",
        "import contextlib\nT = {}\nwith contextlib.suppress(ValueError):\n    T[2] = 5",
        "import builtins\nT = {}\nT.update({2: 5})",
    ],
)
def test_what_a_function_misses_is_run_with_the_whole_notebook(cell: str, monkeypatch):
    monkeypatch.setattr(extract, "WHOLE_SECONDS", 0.3)
    answer = "def f():\n    if 2 not in dict(enumerate(T)) and 2 not in T:\n        raise KeyError(2)\n    return T[2]"
    runner = Runner([cell, answer, "while True: pass"], ["f"])
    runner._define(runner.extract.programs["f"])
    assert runner._observe(Trial("f", {}, ("result",)), 3.0).outputs == {"result": 5}


def test_what_is_missing_in_the_whole_notebook_too_stays_the_error_that_it_is():
    runner = Runner(["def f():\n    return nowhere"], ["f"])
    runner._define(runner.extract.programs["f"])
    failure = runner._observe(Trial("f", {}, ("result",)), 3.0).failure
    assert failure is not None and (failure.kind, failure.line) == ("NameError", "return nowhere")
