"""Forbidden calls, in sources that nobody thought of: text of any kind, and Python put together at random."""

import ast
import textwrap
import time

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from course_utils.boxed.forbidden import called, calls

CALL = "nn.LSTM(3, 4)(x)"
WORDS = ("def answer(x):", "class A:", "answer(", "nn.LSTM", "from torch.nn import LSTM as L", "import torch as t")
SIGNS = (
    "'",
    '"',
    "'''",
    '"""',
    "\\",
    "#",
    "(",
    ")",
    "\n",
    "    ",
    "\t",
    "\f",
    "\r",
    "=",
    ".",
    "é",
    "\0",
    "\ud800",
    "f'",
    "%",
)
near_python = st.lists(st.sampled_from(WORDS + SIGNS) | st.text(st.characters(), max_size=3), max_size=30).map("".join)
any_source = st.text(st.characters()) | near_python


@given(st.lists(any_source, max_size=4), any_source, st.lists(any_source, max_size=3))
def test_any_text_is_searched_without_an_error(cells: list[str], name: str, forbidden: list[str]) -> None:
    assert set(calls(forbidden, name, cells)) <= set(forbidden)
    assert name not in called(name, cells)


def seconds(source: str) -> float:
    """Processor time of this thread: the best of three searches."""
    taken = []
    for _ in range(3):
        start = time.thread_time()
        calls(["nn.LSTM"], "answer", [source])
        taken.append(time.thread_time() - start)
    return min(taken)


@given(near_python.filter(bool), st.sampled_from(["", *WORDS, *SIGNS]))
@settings(max_examples=30)
def test_time_grows_with_the_length_of_a_text_and_not_with_its_square(piece: str, ending: str) -> None:
    short, long = (seconds(piece * (length // len(piece)) + ending) for length in (10_000, 160_000))
    assert long < 16 * 5 * short + 0.02, "16 times the length; its square would be 256 times the time"


# -- code --------------------------------------------------------------------------------------------------------

# What an answer may be made of: each has a place for a line or an expression inside, and names no call of its own.
text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6) | st.just(CALL) | st.just(f"\n{CALL}\n")
quotes = st.sampled_from(['"""', "'''"])
comments = text.map(lambda words: "# " + " ".join(words.split()))
one_line = text.map(repr)
several_lines = st.builds(
    lambda quote, words: f"{quote}{words.replace(chr(92), '').replace(quote[0], '')} {quote}", quotes, text
)
raw = text.map(lambda words: "r'" + "".join(c for c in words if c not in "'\\\n\r") + "'")
strings = one_line | several_lines | raw
expressions = st.sampled_from(
    ["{}", "[{} for _ in range(2)]", "{{'a': {}}}", "(lambda: {})()", "({}, x)", "x + {} * 2", "f({})"]
)
frames = st.sampled_from(
    ["y = {}", "return {}", "if {}:\n    pass", "for a in {}:\n    pass", "with {} as a:\n    pass"]
)
harmless = st.builds(str.format, frames, st.builds(str.format, expressions, strings)) | comments | several_lines
guilty = st.builds(str.format, frames, st.builds(str.format, expressions, st.just(CALL)))


@st.composite
def answers(draw: st.DrawFn, middle: st.SearchStrategy[str]) -> str:
    """A function of a few statements, with one of `middle` among them, followed and preceded by other cells' code."""
    before, after = draw(st.lists(harmless, max_size=3)), draw(st.lists(harmless, max_size=3))
    lines = [*before, draw(middle), *after, "return x"]
    # what stands inside a string must not be indented: a string over several lines keeps its text
    body = "\n".join(textwrap.indent(line, "    ") for line in lines)
    source = f"def answer(x):\n{body}\n"
    try:
        ast.parse(source)
    except (SyntaxError, ValueError):
        assume(False)
    return source


@given(st.lists(harmless.filter(lambda line: not line.startswith("return")), max_size=2), answers(harmless))
def test_a_call_in_a_string_or_a_comment_is_never_found(cells: list[str], answer: str) -> None:
    event(f"spoken of: {CALL in answer}")
    assert calls(["nn.LSTM"], "answer", [*cells, answer]) == []


@given(st.lists(harmless, max_size=2), answers(guilty))
def test_a_call_in_code_is_always_found(cells: list[str], answer: str) -> None:
    assert calls(["nn.LSTM"], "answer", [*cells, answer]) == ["nn.LSTM"]
    assert calls(["nn.LSTM"], "other", [*cells, answer]) == []
    assert calls(["nn.LSTM"], "other", [*cells, answer, "def other(x):\n    return answer(x)"]) == ["nn.LSTM"]
