"""Calls that an exercise is to be written without: what is found in an answer, what is not, and where it is said."""

import inspect
import linecache
import time

import pytest
import torch

from course_utils import display
from course_utils.boxed.forbidden import called, calls
from course_utils.exercises import hint, names
from course_utils.exercises.catalogue import definition
from course_utils.exercises.define import Definition
from course_utils.notebooks import find, ipynb

LSTM = ("nn.LSTM", "nn.LSTMCell", "torch.lstm_cell")
FORBIDDING = [name for name in names() if definition(name).forbidden]

# -- what is found -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (["def answer(x):\n    return nn.LSTM(3, 4)(x)"], ["nn.LSTM"]),
        (["@exercise\ndef answer(x):\n    cell = torch.nn.LSTMCell\n    return cell(3, 4)(x)"], ["nn.LSTMCell"]),
        (["def answer(x):\n    return torch . lstm_cell(x) + nn.LSTM(3, 4)(x)"], ["nn.LSTM", "torch.lstm_cell"]),
        (["import torch.nn as n", "def answer(x):\n    return n.LSTM(3, 4)(x)"], ["nn.LSTM"]),
        (["from torch.nn import LSTM", "def answer(x):\n    return LSTM(3, 4)(x)"], ["nn.LSTM"]),
        (["from torch.nn import (\n    GRU,\n    LSTM as L,\n)\n\ndef answer(x):\n    return L(3, 4)(x)"], ["nn.LSTM"]),
        (["from torch.nn import GRU, \\\n    LSTM as L", "def answer(x):\n    return L(3, 4)(x)"], ["nn.LSTM"]),
        (["def answer(x):\n    from torch.nn import LSTM as L\n    return L(3, 4)(x)"], ["nn.LSTM"]),
        (["from torch.nn import *", "def answer(x):\n    return LSTM(3, 4)(x)"], ["nn.LSTM"]),
        (["def helper(x):\n    return nn.LSTM(3, 4)(x)\n\ndef answer(x):\n    return helper(x)"], ["nn.LSTM"]),
        (["def a(x): return nn.LSTM(3, 4)(x)", "def b(x): return a(x)", "def answer(x): return b(x)"], ["nn.LSTM"]),
        (["class Cell:\n    inner = nn.LSTM(3, 4)", "def answer(x):\n    return Cell().inner(x)"], ["nn.LSTM"]),
        (["layer = nn.LSTM(3, 4)", "def answer(x):\n    return layer(x)"], ["nn.LSTM"]),
        (["try:\n    def answer(x):\n        return nn.LSTM(3, 4)(x)\nexcept ImportError:\n    pass"], ["nn.LSTM"]),
        (["def answer(x):\n    return x", "def answer(x):\n    return nn.LSTM(3, 4)(x)"], ["nn.LSTM"]),
        (["def answer(x):\n    from torch import nn as n\n    return n.LSTM(3, 4)(x)"], ["nn.LSTM"]),
        (["n = torch.nn", "def answer(x):\n    return n.LSTM(3, 4)(x)"], ["nn.LSTM"]),
        (["def answer(x):\n    n = torch.nn\n    return n.LSTM(3, 4)(x)"], ["nn.LSTM"]),
        (["layer: nn.Module = nn.LSTM(3, 4)", "def answer(x):\n    return layer(x)"], ["nn.LSTM"]),
        (["def answer(x):\n    assert isinstance(x, nn.LSTM)\n    return nn.LSTMCell(3, 4)(x)"], ["nn.LSTMCell"]),
        (["from torch.nn import LSTM", "def answer(x):\n    return list(map(LSTM, x))"], ["nn.LSTM"]),
        (["%matplotlib inline\n!echo (don't\n?x\ndef answer(x):\n    return nn.LSTM(3, 4)(x)"], ["nn.LSTM"]),
    ],
)
def test_a_forbidden_call_is_found_under_any_name_and_in_what_the_answer_calls(cells, found):
    assert calls(LSTM, "answer", cells) == found


@pytest.mark.parametrize(
    "cells",
    [
        ['def answer(x):\n    """Like nn.LSTM."""\n    return x  # not nn.LSTM()', "note = 'nn.LSTM'"],
        ['def answer(x):\n    """\ndef answer(x): return nn.LSTM(3, 4)(x)\n"""\n    return x'],
        ["def answer(x):\n    return x\n\ntorch_cell = nn.LSTM(3, 4)\nprint(nn.LSTM(3, 4)(x))"],
        ["def answer(x):\n    return nn.LSTM(3, 4)(x)", "def answer(x):\n    return x"],
        ["def LSTM(x):\n    return x\n\ndef answer(x):\n    return LSTM(x)"],
        ["from torch.nn import *", "class LSTM:\n    pass\n\ndef answer(x):\n    return LSTM()"],
        ["from torch.nn import LSTM", "def answer(x):\n    return x"],
        ["from torch.nn import LSTM", "def answer(x):\n    LSTM = x + 1\n    return LSTM.sum()"],
        ["helper = nn.LSTM(3, 4)", "def answer(x):\n    helper = x\n    return helper + LSTM"],
        ["def answer(x):\n    nn_LSTM, LSTMs = x, x\n    return x.LSTMs(nn.LSTMS)"],
        ["def other(x):\n    return nn.LSTM(3, 4)(x)"],
        ["class Cell:\n    def LSTM(self, x):\n        return x", "def answer(x):\n    return Cell().LSTM(x)"],
        ["def answer(x, model):\n    return model.lstm_cell(x) + model.LSTM.weight"],
        ["def answer(x):\n    return 0 if isinstance(x, nn.LSTM) or isinstance(x, (int, nn.LSTM)) else x"],
        ["from mine import LSTM", "def answer(x):\n    return LSTM(x)"],
        ["class nn:\n    LSTM = abs", "def answer(x):\n    return nn.LSTM(x)"],
        [],
    ],
)
def test_text_own_names_and_what_the_answer_does_not_call_are_no_forbidden_calls(cells):
    assert calls(LSTM, "answer", cells) == []


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "(",
            "'''",
            '\\"""\n',
            "'",
            "\\",
            "\n",
            "  x\n y",
            "\0",
            "é",
            "a",
            "a:",
            ".",
            "from a import (",
            "import a as",
        ),
        *(
            " ",
            "def ",
            "a=",
            "a(",
            "def a(a:\n a(\n",
            "#",
            '"',
            "a b",
            "from a import a as a\n",
            "\n\t",
            "1.",
            "if a:\n",
        ),
    ],
)
def test_no_source_stops_the_search_or_makes_it_slow(piece: str) -> None:
    source = piece * (1_000_000 // len(piece))
    start = time.process_time()
    assert calls(LSTM, "a", [source]) == []
    assert time.process_time() - start < 3, "a few tenths of a second a megabyte, never its square"


OWN_LAYER = "class Linear:\n    def backward(self, x, g):\n        return g @ self.weight, g.T @ x, g.sum(0)"
CALLER = "def linear_backward(x, weight, grad_output):\n    return Linear(weight).backward(x, grad_output)"


def test_an_own_class_may_have_a_method_called_like_torchs() -> None:
    forbidden = definition("linear_backward").forbidden
    assert calls(forbidden, "linear_backward", [OWN_LAYER, CALLER]) == []
    assert calls(forbidden, "linear_backward", [OWN_LAYER, "layer = Linear(3)", CALLER.replace("Linear(", "(")]) == [
        "Tensor.backward"
    ], "of a class that the answer does not use"
    kept = f"{CALLER.split('return')[0]}layer = Linear(weight)\n    return layer.backward(x, grad_output)"
    assert calls(forbidden, "linear_backward", [OWN_LAYER, kept]) == []
    for cheat in (
        "(x @ weight.T).backward(grad_output)",
        "y = x.sum()\n    y.backward()",
        "y = torch.Tensor.backward(x)",
    ):
        own = CALLER.split("return")[0] + cheat
        assert calls(forbidden, "linear_backward", [OWN_LAYER, own]) == ["Tensor.backward"], cheat


def test_a_divergence_of_ones_own_is_not_the_librarys() -> None:
    forbidden, name = definition("kl_to_standard_normal").forbidden, "kl_to_standard_normal"
    own = f"def {name}(mu, logvar):\n    return helpers.kl_divergence(mu, logvar)"
    assert calls(forbidden, name, [own]) == []
    for before in ("import torch.distributions as helpers", "from torch import distributions as helpers"):
        assert calls(forbidden, name, [before, own]) == list(forbidden)


def test_every_statement_is_read_once_however_many_names_it_defines() -> None:
    """Six thousand functions in one block took 98 seconds: the block was read once for each of them."""
    block = "if True:\n" + "".join(f"    def f{n}(x):\n        return f{n + 1}(x)\n" for n in range(3_000))
    start = time.process_time()
    assert calls(LSTM, "f0", [block, "def f3000(x):\n    return nn.LSTM(3, 4)(x)"]) == ["nn.LSTM"]
    assert time.process_time() - start < 1


# -- the definitions -----------------------------------------------------------------------------------------------


def sources(exercise: Definition) -> dict[str, str]:
    """The module of the exercise, followed by its reference or one of its mistakes under the exercise's name."""
    module = inspect.getsource(inspect.getmodule(exercise.reference))
    made = {"reference": exercise.source()}
    for key, mistake in exercise.mistakes.items():
        made[key] = inspect.getsource(mistake.function).replace(f"def {key}(", f"def {exercise.name}(")
    return {key: f"{module}\n\n{source[source.index('def ') :]}" for key, source in made.items()}


@pytest.mark.parametrize("name", FORBIDDING)
def test_neither_the_reference_nor_a_mistake_uses_what_its_exercise_forbids(name):
    exercise = definition(name)
    for key, source in sources(exercise).items():
        assert calls(exercise.forbidden, name, [source]) == [], key


@pytest.mark.parametrize("name", FORBIDDING)
def test_the_lessons_own_code_raises_no_alarm_about_an_answer_written_by_hand(name):
    exercise = definition(name)
    root = find.find_root()
    (lesson,) = find.find_lessons([exercise.lesson], root)
    cells = [cell.source for cell in ipynb.read(lesson.path).cells if cell.cell_type == "code"]
    assert any(f"def {name}(" in cell for cell in cells)
    answered = [exercise.source() if f"def {name}(" in cell else cell for cell in cells]
    assert calls(exercise.forbidden, name, answered) == []
    assert calls(exercise.forbidden, name, [*answered, f"def {name}():\n    {exercise.forbidden[0]}"]) != []


@pytest.mark.parametrize("name", FORBIDDING)
def test_the_card_above_the_exercise_says_what_to_do_without(name):
    (lesson,) = find.find_lessons([definition(name).lesson], find.find_root())
    cells = ipynb.read(lesson.path).cells
    (place,) = (n for n, cell in enumerate(cells) if (f := ipynb.exercise_function(cell)) and f.name == name)
    assert cells[place - 1].cell_type == "markdown"
    assert any(f"`{call}`" in cells[place - 1].source for call in definition(name).forbidden)


def test_what_an_answer_calls_is_found_through_its_helpers():
    cells = ["def loss(x): return x", "def helper(x): return loss(x)", "def step(x):\n    return helper(x) + other(x)"]
    assert called("step", cells) == {"helper", "loss", "other"}
    assert called("loss", cells) == set()
    assert called("step", [*cells, "def step(x):\n    '''loss(x)'''\n    return x  # loss(x)"]) == set()


def test_the_helpers_of_references_and_mistakes_are_searched_too():
    exercise = definition("stamp")
    assert calls(("F.fold",), "stamp", [sources(exercise)["one_channel_prints"]]) == ["F.fold"]
    assert calls(("F.fold",), "stamp", [sources(exercise)["reference"]]) == []


@pytest.mark.parametrize("name", FORBIDDING)
def test_no_hint_advises_what_the_exercise_forbids(name):
    exercise = definition(name)
    advice = "\n".join(exercise.staged_hints).replace("`", " ")
    assert calls(exercise.forbidden, name, [f"def {name}():\n    {advice}".replace("\n", "\n    ")]) == []


def test_every_forbidden_name_is_one_that_exists():
    import sklearn.decomposition
    import torch.nn.functional

    import course_utils.evaluate

    roots = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional, "Tensor": torch.Tensor}
    roots |= {"sklearn": sklearn, "course_utils": course_utils}
    for name in FORBIDDING:
        for call in definition(name).forbidden:
            root, *parts = call.split(".")
            thing = roots[root]
            for part in parts:
                thing = getattr(thing, part)
            assert parts, call


def test_the_exercises_that_rebuild_something_forbid_it():
    assert "nn.LSTM" in definition("lstm_gates").forbidden and "nn.LSTM" in definition("lstm_update").forbidden
    assert {definition(name).lesson for name in FORBIDDING} == {"00", "01", "02", "02a", "03", "04", "05", "09", "11"}


# -- what a student reads ------------------------------------------------------------------------------------------

BY_TORCH = """
def relu_backward(x, grad_output):
    x = x.clone().requires_grad_()
    (grad_x,) = torch.autograd.grad(torch.relu(x), x, grad_output)
    return {sign}grad_x
"""


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that is displayed, as plain text."""
    texts: list[str] = []
    monkeypatch.setattr(display, "show", lambda bundle: texts.append(bundle["text/plain"]))
    return texts


def run(cell: str, history: tuple[str, ...] = ()):
    """The function that a notebook's cell defines, after others have been run."""
    scope = {"torch": torch, "In": ["", *history, cell]}
    place = f"<cell {len(linecache.cache)}>"
    linecache.cache[place] = (len(cell), None, cell.splitlines(keepends=True), place)
    for source in (*history, cell):
        exec(compile(source, place, "exec"), scope)
    return scope["relu_backward"]


def test_a_right_answer_by_a_forbidden_call_is_told_so_used_and_not_counted(exercise, shown):
    function = run(BY_TORCH.format(sign=""))
    assert exercise(function) is function
    assert shown[0].startswith("✎ relu_backward: right on ")
    assert "it uses `torch.autograd` and `backward pass`" in shown[0] and "write that part yourself" in shown[0]
    assert "a person will decide" in shown[0]
    assert exercise.outcomes["relu_backward"].status == "needs_review"
    exercise.summary()
    line = next(line for line in shown[1].splitlines() if "relu_backward" in line)
    assert line.split() == ["✎", "relu_backward", "a", "person", "decides", "0", "of", "1"]


def test_a_wrong_answer_is_told_of_its_forbidden_call_as_well(exercise, shown):
    assert exercise(run(BY_TORCH.format(sign="-"))) is definition("relu_backward").reference
    assert shown[0].startswith("✘ relu_backward: ") and "Besides, it uses `torch.autograd`" in shown[0]
    assert exercise.outcomes["relu_backward"].status == "diagnosed"


def test_a_helper_or_an_import_in_an_earlier_cell_is_found(exercise, shown):
    whole = BY_TORCH.format(sign="")
    helper = whole.replace("relu_backward", "helper")
    caller = "def relu_backward(x, grad_output):\n    return helper(x, grad_output)\n"
    imported = ("from torch.autograd import grad as slope\n",)
    for cell, history in ((caller, (helper,)), (whole.replace("torch.autograd.grad", "slope"), imported)):
        exercise(run(cell, history))
        assert "`torch.autograd`" in shown[-1] and shown[-1].startswith("✎"), shown[-1]


def test_an_answer_written_by_hand_counts_whatever_else_the_notebook_does(exercise, shown):
    own = "def relu_backward(x, grad_output):\n    return grad_output * (x > 0)\n"
    check = "\ngrad = torch.autograd.grad\n"
    function = run(own + check, (BY_TORCH.format(sign=""),))
    assert exercise(function) is function
    assert exercise.outcomes["relu_backward"].status == "right" and shown[0].startswith("✔")


def test_a_stub_that_names_a_forbidden_call_is_not_attempted(exercise, shown):
    exercise(run("def relu_backward(x, grad_output):\n    torch.autograd\n    raise NotImplementedError\n"))
    assert shown == ["… relu_backward: not attempted yet. The lesson goes on with the reference."]


def test_a_hint_says_what_to_do_without(exercise, shown):
    hint("lstm_gates")
    assert "To be written without `nn.LSTM`, `nn.LSTMCell`, " in shown[0]
    hint("make_windows")
    assert "without" not in shown[1]
