"""A kernel that sleeps for good is noticed by what it does not do; a cell that waits for something is left alone."""

import io
import json
from pathlib import Path

import nbformat
import pytest

from course_utils.notebooks import ipynb
from course_utils.notebooks.find import Lesson
from course_utils.running import silence, worker
from course_utils.running.index import write_index
from course_utils.running.runs import Options, Run
from course_utils.running.silence import PATIENCE, Silence
from course_utils.running.watch import Job, Watch

# -- the rule, with a clock and a connection of its own -----------------------------------------------------------------


class Kernel:
    """What a `Silence` sees of a kernel; time passes by `wait`."""

    def __init__(self) -> None:
        self.now = self.computed = 0.0
        self.rate = 0.002  # of a processor: what a kernel that sleeps takes
        self.asked = 0
        self.free = True  # it answers questions
        self.silence = Silence(lambda: self, lambda: self.now)

    def ask(self) -> str:
        self.asked += 1
        return f"question {self.asked}"

    def answers(self) -> set[str]:
        return {f"question {self.asked}"} if self.free else set()

    def close(self) -> None:
        self.asked = -1

    def wait(self, seconds: float) -> bool:
        """Whether the kernel was found to be lost in so many seconds."""
        for _ in range(round(5 * seconds)):
            self.now, self.computed = self.now + 0.2, self.computed + 0.2 * self.rate
            if self.silence.lost(self.computed):
                return True
        return False


def test_a_request_that_is_never_taken_up_is_lost_when_the_patience_is_over() -> None:
    kernel = Kernel()
    kernel.free = False
    with kernel.silence.waiting():
        assert not kernel.wait(PATIENCE - 1)
        assert kernel.wait(2)


def test_a_kernel_that_has_begun_and_answers_another_question_has_lost_the_end() -> None:
    kernel = Kernel()
    with kernel.silence.waiting():
        kernel.silence.hear()
        assert not kernel.wait(PATIENCE - 1)
        assert kernel.wait(2)


def test_a_cell_that_waits_is_left_alone_however_long_it_takes() -> None:
    kernel = Kernel()
    kernel.free = False
    with kernel.silence.waiting():
        kernel.silence.hear()
        assert not kernel.wait(20 * PATIENCE)
    assert kernel.asked == 1


def test_a_kernel_that_computes_is_not_asked() -> None:
    kernel = Kernel()
    kernel.rate = 0.5
    with kernel.silence.waiting():
        assert not kernel.wait(3 * PATIENCE)
    assert kernel.asked == 0


def test_an_answer_counts_only_for_the_silence_in_which_the_question_was_asked() -> None:
    """Asked while a cell waited, it is answered after the cell's end, when the next one waits already."""
    kernel = Kernel()
    kernel.free = False
    for _ in range(2):
        with kernel.silence.waiting():
            kernel.silence.hear()
            assert not kernel.wait(0.8 * PATIENCE)
    kernel.answers = lambda: {"question 1"}  # type: ignore[method-assign]
    with kernel.silence.waiting():
        kernel.silence.hear()
        assert not kernel.wait(2 * PATIENCE)


def test_nothing_is_lost_while_nothing_is_waited_for() -> None:
    kernel = Kernel()
    with kernel.silence.waiting():
        pass
    assert not kernel.wait(2 * PATIENCE)


# -- kernels ----------------------------------------------------------------------------------------------------------

# A cell after which the kernel loses one message, in the first run only.
ONCE = """
from pathlib import Path
kernel, first = get_ipython().kernel, not Path("planted").exists()
Path("planted").touch()
"""
NEVER_READ = """
dispatch = kernel.dispatch_shell
async def overlook(*message, **options):
    kernel.dispatch_shell = dispatch
if first:
    kernel.dispatch_shell = overlook
"""
NO_REPLY = """
handlers, execute = kernel.shell_handlers, kernel.shell_handlers["execute_request"]
def overlook(*message):
    handlers["execute_request"] = execute
if first:
    handlers["execute_request"] = overlook
"""
NO_END = """
publish = kernel._publish_status
def overlook(status, *place, **options):
    if status == "busy":
        return publish(status, *place, **options)
    kernel._publish_status = publish
if first:
    kernel._publish_status = overlook
"""
ALWAYS = "first = True"


def run(directory: Path, *cells: str) -> tuple[dict, list[dict]]:
    """What the worker returns for a notebook of these cells, and the events that it sent."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in ('PROFILE = "auto"', *cells)]
    )
    notebook.cells[0].metadata["tags"] = ["parameters"]
    ipynb.write(notebook, directory / "lesson.ipynb")
    job = Job(str(directory / "lesson.ipynb"), str(directory / "out.ipynb"), str(directory), "smoke", 60, html=False)
    events = io.StringIO()
    result = worker.run_job(job, Watch(events))
    return result, [json.loads(line) for line in events.getvalue().splitlines()]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "PATIENCE", 3.0)


@pytest.mark.parametrize("loses", [NEVER_READ, NO_REPLY, NO_END], ids=["request", "reply", "end"])
def test_a_lesson_whose_kernel_loses_a_message_is_started_once_more(
    loses: str, tmp_path: Path, impatient: None
) -> None:
    result, events = run(tmp_path, ONCE + loses, "print('it ran')", "1 + 1")
    assert result["reasons"] == []
    assert result["remark"].startswith("started twice: the kernel lost a message at code cell ")
    assert [event["label"] for event in events if event["event"] == "again"] == [result["remark"]]
    executed = ipynb.read(tmp_path / "out.ipynb")
    assert [cell.execution_count for cell in executed.cells] == [1, 2, 3, 4]
    assert executed.cells[2].outputs[0].text == "it ran\n"


def test_the_page_says_that_a_lesson_was_started_twice(tmp_path: Path) -> None:
    ipynb.write(nbformat.v4.new_notebook(), tmp_path / "lesson.ipynb")
    passed = Run(Lesson("02", tmp_path / "lesson.ipynb"), state="passed", remark="started twice: it lost a message")
    assert "started twice: it lost a message</td>" in write_index([passed], Options("smoke", out=tmp_path)).read_text()


def test_a_lesson_whose_kernel_sleeps_twice_has_failed(tmp_path: Path, impatient: None) -> None:
    result, _ = run(tmp_path, ONCE + ALWAYS + NEVER_READ, "print('it ran')")
    (reason,) = result["reasons"]
    assert reason == "the kernel lost a message at code cell 3 (`print('it ran')`), and slept for good"


def test_cells_that_wait_are_waited_for(tmp_path: Path, impatient: None) -> None:
    waits = (
        "import time\ntime.sleep(4)",
        "import asyncio\nawait asyncio.sleep(4)",
        "!sleep 4",
        "import socket\na, b = socket.socketpair()\na.settimeout(4)\ntry:\n    a.recv(1)\nexcept TimeoutError:\n    pass",
    )
    result, _ = run(tmp_path, *waits)
    assert result["reasons"] == [] and result["remark"] == ""
