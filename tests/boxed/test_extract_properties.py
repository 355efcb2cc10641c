"""Exercises are found in notebooks that nobody thought of: text of any kind, and cells that are nearly Python."""

import textwrap
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from course_utils.boxed.extract import Extract, definitions, run

MAGICS = ("%%time\n", "%%bash\n", "%matplotlib inline\n", "!ls (\n", "x = !ls\n", "?x\n", "x?\n", "%%timeit -n 1\n")
PIECES = (
    *(
        "def f(x):",
        "async def f():",
        "class A:",
        "@exercise\n",
        "import math, os",
        "from a import *",
        "from . import b",
    ),
    *("from __future__ import annotations", "from __future__ import nothing", "from course_utils import data as f"),
    *(
        "x = 1",
        "f = g",
        "global f",
        "nonlocal x",
        "return 1",
        "await f",
        "yield",
        "if x:",
        "else:",
        "try:",
        "except* E:",
    ),
    *("for f in x:", "match x:", "case f:", "lambda: f", "[f for f in x]", "x: int = 3", "del f", "f += 1", "(f := 2)"),
    *(
        "'",
        '"',
        "'''",
        "f'{",
        "}",
        "\\",
        "#",
        "(",
        ")",
        "[",
        "0x",
        "1_",
        "1e999",
        "\0",
        "\x0c",
        "\r",
        "\u2028",
        "\ud800",
    ),
    *("\n", "\n    ", "\n\t", " ", ";", ",", ":", "=", "é", "ﬁ", "not", "print(1)"),
)
fragments = st.lists(st.sampled_from(PIECES + MAGICS), max_size=25).map("".join)
any_cell = st.text(st.characters(), max_size=40) | fragments
ANSWER = "def answer(x):\n    return x + 1"


@given(
    st.lists(any_cell, max_size=4), st.lists(st.sampled_from(["f", "x", "A", "("]) | st.text(max_size=3), max_size=3)
)
@example(["def f(x):\n    return x\x0c"], ["f"])
def test_any_cells_are_searched_without_an_error(cells: list[str], names: list[str]) -> None:
    found = definitions(cells, names)
    assert set(found.programs) <= set(names)
    assert all(1 <= program.cell <= len(cells) for program in found.programs.values())


def answer(found: Extract) -> Any:
    """What the function that was found answers to 1."""
    return run(found, found.programs["answer"])[0](1)


unrelated = any_cell.filter(lambda cell: "answer" not in cell)


@given(st.lists(unrelated, max_size=3), st.lists(unrelated, max_size=3))
def test_a_plain_function_is_found_wherever_unrelated_cells_stand(before: list[str], after: list[str]) -> None:
    found = definitions([*before, ANSWER, *after], ["answer"])
    assert found.programs["answer"].cell == len(before) + 1
    assert answer(found) == 2


comments = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"])).map("# {}".format)
docstrings = st.text(st.characters(exclude_characters='"\\\r\0', exclude_categories=["Cs"])).map('"""{}"""'.format)


@given(
    st.sampled_from(["", *MAGICS]).filter(lambda magic: magic != "%%bash\n"),
    st.sampled_from(["", "  ", "\t"]),
    comments,
    docstrings,
)
def test_magics_indents_and_what_stands_in_comments_and_texts_hide_no_function(
    magic: str, indent: str, comment: str, docstring: str
) -> None:
    cell = f"def answer(x):  {comment}\n    {docstring}\n    return x + 1"
    assert answer(definitions([magic + cell], ["answer"])) == 2
    assert answer(definitions([textwrap.indent(ANSWER, indent) + f"  {comment}"], ["answer"])) == 2
