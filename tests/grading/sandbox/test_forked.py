"""What only forked boxes have: a parent, which must be fit to be one, and a way to do without it.

That they are as tight as fresh ones is tested in `test_box.py`, with the same programs.
"""

import os
import pathlib

import pytest
from watching import alive, children, wait_until

from course_utils.grading import pool
from course_utils.grading.sandbox import forked, tightness
from course_utils.grading.sandbox.box import Box
from course_utils.grading.sandbox.forked import ForkedBox, Parent
from course_utils.grading.sandbox.mounts import NoBox
from course_utils.grading.sandbox.processes import descendants

pytestmark = pytest.mark.usefixtures("box_is_possible")
SLEEPS = "import time; print('up', flush=True); time.sleep(20)"
READY = "    asked.send(json.dumps("


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Parents that import nothing, so that they are there soon; none is left."""
    started = Parent.__init__

    def start(self):
        started(self)
        self._program = self._program.replace("IMPORTED + json.loads(asked.recv(REQUEST))", "asked.recv(REQUEST)[:0]")

    monkeypatch.setattr(Parent, "__init__", start)
    forked.end_parents()
    tightness.why_not_forked.cache_clear()
    yield
    forked.end_parents()
    tightness.why_not_forked.cache_clear()


@pytest.mark.parametrize("kind", [Box, ForkedBox])
def test_no_process_of_a_box_has_privileges(kind):
    with kind(program=SLEEPS) as box:
        assert wait_until(lambda: b"up" in box.output)
        own = descendants(box._pid)[1 if kind is Box else 0 :]  # bubblewrap is process 1 of a fresh one
        status = [pathlib.Path(f"/proc/{process}/status").read_text() for process in own]
    said = [{line.split()[0]: line.split()[-1] for line in text.splitlines()} for text in status]
    assert len(said) > 0
    for lines in said:
        assert {lines[f"Cap{name}:"] for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
        assert (lines["NoNewPrivs:"], lines["Seccomp:"]) == ("1", "2")


def test_a_parent_is_replaced_now_and_then_and_none_is_left(monkeypatch):
    monkeypatch.setattr(forked, "FORKS", 2)
    before, used = children(), []
    with ForkedBox(program=SLEEPS) as first:
        for _ in range(4):
            with ForkedBox(program="print(1)") as box:
                box.wait(5)
            assert box.output == b"1\n"
            used.append(forked._parents[-1]._pid)
        assert wait_until(lambda: b"up" in first.output) and first.why() == ""
        assert len(forked._parents) == 2, "the first one is kept for the box that it has"
    assert len(set(used)) == 3 and len(forked._parents) == 1
    forked.end_parents()
    assert not any(map(alive, used)) and children() == before


def test_a_dead_parent_is_replaced():
    with ForkedBox(program="print(1)") as box:
        box.wait(5)
    os.kill(forked._parents[-1]._pid, 9)
    assert wait_until(lambda: not forked._parents[-1].is_alive())
    with ForkedBox(program="print(2)") as box:
        box.wait(5)
    assert box.output == b"2\n"


@pytest.mark.parametrize(
    "planted",
    [
        "    import threading, time; threading.Thread(target=time.sleep, args=(20,), daemon=True).start()\n",
        "    import mmap; kept = mmap.mmap(-1, 4096)\n",
    ],
)
def test_a_parent_with_a_second_thread_or_memory_that_it_would_share_forks_nothing(monkeypatch, planted):
    started = Parent.__init__

    def start(self):
        started(self)
        self._program = self._program.replace(READY, planted + READY)

    monkeypatch.setattr(Parent, "__init__", start)
    before = children()
    with pytest.raises(NoBox, match="more than one thread, or memory that it shares"):
        ForkedBox(program="").__enter__()
    assert children() == before


def test_where_no_box_can_be_forked_fresh_ones_do_and_it_is_said(monkeypatch):
    monkeypatch.setattr(Parent, "files", Box.files)  # as in a container that lets nobody mount /proc
    assert "did not get ready" in tightness.why_not_forked()
    assert type(pool.forked_box()) is Box
    pool.require_fit.cache_clear()
    needs = pool.Needs(pool.store.exercise_fingerprint(), "", "forked")
    assert pool.require_fit(needs).startswith("fresh (the parent of forked boxes did not get ready")


def test_a_forked_box_that_is_not_tight_is_not_used(monkeypatch):
    sound = ForkedBox.request
    monkeypatch.setattr(ForkedBox, "request", lambda self: sound(self) | {"filter": ""})
    assert tightness.why_not_forked().startswith("a forked box is not tight: made a socket")
    assert type(pool.forked_box()) is Box


def test_fresh_boxes_can_be_asked_for():
    pool.require_fit.cache_clear()
    needs = pool.Needs(pool.store.exercise_fingerprint(), "", "fresh")
    assert pool.require_fit(needs) == "fresh (as asked for)" and type(pool.fresh_box()) is Box
    assert pool.require_fit(pool.Needs(needs.code, "", "forked")) == "forked"
    assert type(pool.forked_box()) is ForkedBox
