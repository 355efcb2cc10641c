"""The runner that will live in the box, here as a plain process: real exercises of lesson 02, well and badly done."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from course_utils.boxed import wire
from course_utils.boxed.frames import Channel, Closed, Late
from course_utils.boxed.observe import Observation
from course_utils.exercises.catalogue import definition
from course_utils.exercises.judge import Outcome, judge

SEED = 77
NAMES = ["lstm_update", "open_forget_gate", "lstm_gates"]
IMPORTS = "import torch\nfrom course_utils.exercises import exercise, hint"
UPDATE = """
@exercise
def lstm_update(c, i, f, g, o):
    {body}
    c_next = f * c + i * g
    return o * torch.tanh(c_next), c_next
"""
GATES = definition("lstm_gates").source()


class Process:
    """The runner in a process of its own, without a box; asked as the grader asks."""

    def __init__(self, cells: list[str], output: Path, names: list[str]) -> None:
        there, writer = os.pipe()
        reader, back = os.pipe()
        command = [sys.executable, "-m", "course_utils.boxed.serve", str(there), str(back)]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                command, pass_fds=(there, back), stdout=file, stderr=file, stdin=subprocess.DEVNULL, env=environment
            )
        os.close(there)
        os.close(back)
        self.output = output
        self.channel = Channel(reader, writer)
        forbidden = {name: list(definition(name).forbidden) for name in names}
        self.channel.send({"cells": cells, "names": names, "forbidden": forbidden})
        self.found = self.channel.receive(time.monotonic() + 40)[0]

    def ask(self, name: str, limit: float = 3.0, most: int = 1000) -> list[Observation]:
        """What it does on the trials of an exercise, up to the first time limit."""
        observations = []
        for trial in definition(name).trials(SEED)[:most]:
            message, tensors = wire.trial_to_wire(trial)
            self.channel.send({"trial": message, "time_limit": limit}, tensors, time.monotonic() + 10)
            observations.append(wire.observation_from_wire(*self.channel.receive(time.monotonic() + limit + 8), trial))
            if observations[-1].event in ("timed out", "not attempted"):
                break
        return observations

    def outcome(self, name: str, limit: float = 3.0) -> Outcome:
        return judge(name, definition(name).trials(SEED), self.ask(name, limit))

    def close(self) -> None:
        self.channel.close()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def begin(*cells: str, names: list[str] = NAMES) -> Process:
        started.append(Process([IMPORTS, *cells], tmp_path / "output", names))
        return started[-1]

    yield begin
    for process in started:
        process.close()


def doing(body: str) -> str:
    """The right answer, but with this before it."""
    return UPDATE.format(body=body.replace("\n", "\n    "))


RIGHT = doing("pass")


def test_right_answers_are_right_and_a_mistake_is_told(start):
    mistake = "def open_forget_gate(bias, value):\n    return bias + value"
    here = judge("open_forget_gate", *_asked("open_forget_gate", mistake))
    process = start(RIGHT, "@exercise\n" + GATES, mistake)
    found = process.found["found"]
    cells = {name: entry["cell"] for name, entry in found.items()}
    assert cells == {"lstm_update": 2, "lstm_gates": 3, "open_forget_gate": 4}
    assert all(
        entry == {"cell": cells[name], "forbidden": [], "calls": [], "lacks": []} for name, entry in found.items()
    )
    assert process.outcome("lstm_update").status == "right"
    assert process.outcome("open_forget_gate") == here
    assert here.status != "right"
    assert process.outcome("lstm_gates").status == "right"


def test_what_reading_a_notebook_tells_is_told_before_any_of_it_runs(start):
    helper = "import no_such_package\n\ndef helper(x):\n    return lstm_gates(nn.LSTM(3, 4)(x))"
    process = start("import os\nos._exit(1)", helper, doing("no_such_package; helper(c)"), GATES)
    assert process.found["found"]["lstm_update"] == {
        "cell": 4, "forbidden": ["nn.LSTM"], "calls": ["lstm_gates"], "lacks": ["no_such_package"],
    }  # fmt: skip
    assert process.found["defined"] == ["helper", "lstm_update", "lstm_gates"]


def test_the_operators_of_torch_that_a_function_uses_are_told(start):
    process = start(doing("getattr(torch, 'con' + 'v1d')(c[None], c[None, :1])"))
    message, tensors = wire.trial_to_wire(definition("lstm_update").trials(SEED)[0])
    process.channel.send({"trial": message, "time_limit": 3.0, "watched": True}, tensors)
    seen = process.channel.receive(time.monotonic() + 20)[0]["operators"]
    assert {"conv1d", "convolution"} <= set(seen)


def _asked(name: str, source: str) -> tuple[Any, Any]:
    from course_utils.boxed.observe import observe

    scope: dict[str, Any] = {}
    exec(source, scope)
    asked = definition(name).trials(SEED)
    return asked, [observe(scope[name], trial) for trial in asked]


def test_named_mistakes_are_recognised_from_afar(start):
    import inspect
    import textwrap

    exercise = definition("lstm_update")
    for key in list(exercise.mistakes)[:3]:
        source = textwrap.dedent(inspect.getsource(exercise.mistakes[key].function))
        body = source[source.index("def ") :].replace(f"def {key}", "def lstm_update", 1)
        outcome = start(body).outcome("lstm_update")
        assert (outcome.status, outcome.mistake) == ("diagnosed", key)


def test_generators_and_networks_are_built_alike_on_both_sides(start):
    asked = ["reparameterise", "corrupt", "gradient_penalty", "discriminator_step"]
    helper = definition("discriminator_loss").source()
    process = start(
        "from torch.nn import functional as F", helper, *(definition(n).source() for n in asked), names=asked
    )
    assert [process.outcome(name).status for name in asked] == ["right"] * 4


def test_a_stub_is_not_attempted(start):
    process = start(doing("raise NotImplementedError"))
    assert [o.event for o in process.ask("lstm_update")] == ["not attempted"]


def test_only_what_is_there_is_found(start):
    assert start("x = 1").found["found"] == {}


def test_an_exception_comes_with_the_students_line(start):
    [seen] = start(doing("c = undefined_name")).ask("lstm_update", most=1)
    assert seen.failure is not None
    assert (seen.failure.kind, seen.failure.line_number, seen.failure.line) == ("NameError", 4, "c = undefined_name")


def test_leaving_python_is_an_exception_and_the_next_exercise_goes_on(start):
    process = start(doing("import sys; sys.exit(3)"), GATES)
    outcome = process.outcome("lstm_update")
    assert (outcome.status, "leaves Python" in outcome.message) == ("error", True)
    assert process.outcome("lstm_gates").status == "right"


@pytest.mark.parametrize("line", ["raise KeyboardInterrupt", "raise GeneratorExit", "raise BaseException('so')"])
def test_other_ways_out_are_exceptions_too(start, line: str):
    process = start(doing(line), GATES)
    assert process.outcome("lstm_update").status == "error"
    assert process.outcome("lstm_gates").status == "right"


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("import os; os._exit(7)", 7),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9),
        ("import ctypes; ctypes.string_at(0)", -11),
    ],
)
def test_a_process_that_is_gone_is_closed(start, line: str, status: int):
    process = start(doing(line))
    with pytest.raises(Closed):
        process.ask("lstm_update")
    assert process.process.wait(5) == status


def test_an_endless_loop_ends_and_the_next_exercise_goes_on(start):
    process = start(doing("while True: pass"), GATES)
    assert [o.event for o in process.ask("lstm_update", limit=0.5)] == ["timed out"]
    assert process.outcome("lstm_gates").status == "right"


def test_a_sleep_that_nothing_wakes_is_late(start):
    process = start(doing("import time; time.sleep(60)"))
    trial = definition("lstm_update").trials(SEED)[0]
    message, tensors = wire.trial_to_wire(trial)
    process.channel.send({"trial": message, "time_limit": 0.3}, tensors)
    with pytest.raises(Late):
        process.channel.receive(time.monotonic() + 3)
    process.process.kill()


FLOODS = {
    "print": "print('x' * 3_000_000)",
    "many": "for _ in range(30_000): print('line')",
    "descriptor": "import os; os.write(1, b'x' * 3_000_000); os.write(2, b'y' * 1000)",
}


@pytest.mark.parametrize("body", FLOODS.values(), ids=FLOODS.keys())
def test_floods_of_output_never_reach_the_protocol(start, body: str):
    process = start(doing(body))
    seen = process.ask("lstm_update", most=3)
    assert [o.event for o in seen] == ["returned"] * 3
    assert all(len(o.printed) <= 4000 for o in seen)
    assert bool(seen[0].printed) == ("print" in body)


def test_what_a_notebook_prints_while_it_is_read_is_thrown_away(start):
    process = start("def loud():\n    print('loud')\nnoise = loud()\n" + doing("noise"))
    assert process.outcome("lstm_update").status == "right"
    assert b"loud" not in process.output.read_bytes()


STATES = {
    "dtype": "torch.set_default_dtype(torch.float64)",
    "grad mode": "torch._C._set_grad_enabled(False)",
    "threads": "torch.set_num_threads(2)",
    "seed of torch": "torch.manual_seed(0)",
    "seed of Python": "random.seed(0)",
    "recursion": "sys.setrecursionlimit(5000)",
    "anomaly": "torch.autograd.set_detect_anomaly(True)",
}
WITNESS = """
import random, sys

def open_forget_gate(bias, value):
    undone
    found = [torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads(), torch.is_anomaly_enabled()]
    found += [sys.getrecursionlimit(), torch.rand(1).item(), random.random(), globals().get("left", "nothing")]
    raise ValueError(str(found))
"""


@pytest.fixture(scope="module")
def untouched(tmp_path_factory) -> str:
    """What the witness says where nobody has changed anything."""
    process = Process([IMPORTS, f"undone = None\n{WITNESS}"], tmp_path_factory.mktemp("untouched") / "output", NAMES)
    [seen] = process.ask("open_forget_gate", most=1)
    process.close()
    assert seen.failure is not None
    return seen.failure.message


@pytest.mark.parametrize("body", STATES.values(), ids=STATES.keys())
def test_global_state_does_not_reach_the_next_exercise(start, untouched: str, body: str):
    process = start(
        "import random, sys", doing(f"global left; left = 1; {body}"), f"import sys\nundone = {body}\n{WITNESS}"
    )
    process.ask("lstm_update", most=2)
    [seen] = process.ask("open_forget_gate", most=1)
    assert seen.failure is not None
    assert seen.failure.message == untouched
    assert "'nothing'" in seen.failure.message


def test_a_definition_that_fails_is_an_error_of_that_exercise_alone(start):
    process = start("@no_such_decorator\n" + RIGHT.replace("@exercise", "").strip(), GATES)
    [seen] = process.ask("lstm_update", most=1)
    assert seen.failure is not None
    assert (seen.failure.kind, seen.failure.line) == ("NameError", "@no_such_decorator")
    assert process.outcome("lstm_gates").status == "right"


def test_a_syntax_error_is_told_with_its_line(start):
    process = start(RIGHT.replace("c_next = f * c", "c_next = = c"), GATES)
    [seen] = process.ask("lstm_update", most=1)
    assert seen.failure is not None
    assert (seen.failure.kind, seen.failure.line_number) == ("SyntaxError", 5)
    assert seen.failure.line == "c_next = = c + i * g"
    assert "SyntaxError: invalid syntax" in process.outcome("lstm_update").message
    assert process.outcome("lstm_gates").status == "right"


def test_a_failing_import_is_remarked_and_the_rest_runs(start):
    process = start("from google.colab import drive\nscale = 1.0", doing("c = c * scale; helper = lambda: drive"))
    trial = definition("lstm_update").trials(SEED)[0]
    message, tensors = wire.trial_to_wire(trial)
    process.channel.send({"trial": message}, tensors)
    answer, _ = process.channel.receive(time.monotonic() + 10)
    assert answer["notes"] == ["cell 2, line 1: ModuleNotFoundError"]
    assert answer["event"] == "returned"
    assert process.outcome("lstm_update").status == "right"


def test_a_forked_copy_does_not_answer_too(start):
    process = start(doing("import os; os.fork()"))
    assert process.outcome("lstm_update").status == "right"


def test_left_threads_do_not_keep_the_process_alive(start):
    process = start(doing("import threading, time; threading.Thread(target=time.sleep, args=(30,)).start()"))
    process.ask("lstm_update", most=1)
    process.channel.close()
    assert process.process.wait(5) == 0


def test_nonsense_ends_the_runner_with_a_trace(start):
    process = start(RIGHT)
    process.channel.send({"trial": {}})
    assert process.process.wait(5) == 1
    assert b"Malformed" in process.output.read_bytes()


def test_changed_inputs_are_the_box_s_own_copies(start):
    """The expected values do not follow what the code does to its arguments."""
    asked = definition("lstm_update").trials(SEED)
    before = [trial.arguments["c"].clone() for trial in asked]
    seen = start("def lstm_update(c, i, f, g, o):\n    for part in (c, i, f, g, o): part.zero_()\n    return c, c").ask(
        "lstm_update"
    )
    assert all(torch.equal(trial.arguments["c"], c) for trial, c in zip(asked, before, strict=True))
    assert {o.changed for o in seen} == {("c", "i", "f", "g", "o")}
    assert judge("lstm_update", asked, seen).status != "right"
