"""Many submissions: nothing is lost, nothing is half written, and no fault of a machine is a student's 0.

The boxes here are none (`fake_box`): what a worker does is under test, not what a box keeps in.
"""

import errno
import functools
import json
import os
import shutil
import signal
import stat
import subprocess
import time
from contextlib import contextmanager
from typing import Any

import pytest
from distributed import KilledWorker
from fake_box import FakeBox
from test_submissions import notebook

from course_utils.conventions import OUTCOME_TYPE
from course_utils.grading import grader, pool, store
from course_utils.grading.grader import run
from course_utils.grading.store import GradingError

NAMES = ["relu_backward", "truncate"]
RIGHT = "def relu_backward(x, grad_output):\n    return grad_output * (x > 0)"


def hand_in(folder, **notebooks):
    folder.mkdir(exist_ok=True)
    for name, text in notebooks.items():
        (folder / f"{name}.ipynb").write_text(text)
    return folder


def results(out):
    found = [json.loads(path.read_text()) for path in (out / "submissions").glob("*.json")]
    return {result["student"]: result for result in found}


def steady():
    return FakeBox()


@contextmanager
def deadly(flag):
    """A box whose worker dies with it: once, if `flag` is a path that the first death makes; else each time."""
    with FakeBox() as box:
        send = box.channel.send

        def killing_send(message, *rest, **options):
            if any("KILL" in cell for cell in message.get("cells", ())) and not (flag and os.path.exists(flag)):
                if flag:
                    open(flag, "x").close()
                os.kill(os.getpid(), signal.SIGKILL)
            send(message, *rest, **options)

        box.channel.send = killing_send
        yield box


@contextmanager
def failing(log, times):
    """No box at all for the first `times` attempts."""
    with open(log, "a") as file:
        file.write("x")
    if os.path.getsize(log) <= times:
        raise OSError("no more processes")
    with FakeBox() as box:
        yield box


@contextmanager
def slow():
    time.sleep(0.3)
    with FakeBox() as box:
        yield box


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """One run over a right, a wrong, an empty and a broken notebook."""
    base = tmp_path_factory.mktemp("cohort")
    wrong = "def relu_backward(x, grad_output):\n    return grad_output"
    hand_in(base / "in", ann=notebook(RIGHT), ben=notebook(wrong), cleo=notebook("x = 1"), dan="not a notebook")
    seen = []
    summary = run(base / "in", base / "out", NAMES, workers=2, box_factory=steady,
                  report=lambda progress: seen.append(progress.done))  # fmt: skip
    return base, summary, seen


def test_every_submission_has_one_result_with_the_agreed_fields(cohort):
    base, summary, seen = cohort
    found = results(base / "out")
    assert {name: result["status"] for name, result in found.items()} == {
        "ann": "graded", "ben": "graded", "cleo": "needs_review", "dan": "unreadable",
    }  # fmt: skip
    points = {name: [e["points"] for e in result["exercises"]] for name, result in found.items()}
    assert points == {"ann": [1, 0], "ben": [0, 0], "cleo": [0, 0], "dan": [0, 0]}
    assert "damaged" in found["dan"]["reason"]
    fields = {"version", "key", "student", "file", "status", "reason", "late", "deadline", "course_version", "seconds",
              "peak_memory", "notes", "exercises", "fingerprint"}  # fmt: skip
    marks = {"name", "lesson", "points", "max_points", "status", "mistake", "message", "seconds"}
    for result in found.values():
        assert result.keys() == fields and result["version"] == 1
        assert all(exercise.keys() == marks for exercise in result["exercises"])
        assert [exercise["name"] for exercise in result["exercises"]] == NAMES
    assert (summary.progress.counts["graded"], summary.progress.points, seen[-1]) == (2, 1, 4)


def test_a_second_run_resumes_and_starts_no_worker(cohort, monkeypatch):
    base, _, _ = cohort
    before = {path: path.read_bytes() for path in (base / "out" / "submissions").iterdir()}
    monkeypatch.setattr(pool, "connected", None)
    progress = run(base / "in", base / "out", NAMES, box_factory=steady).progress
    assert (progress.kept, progress.counts.total(), progress.done) == (4, 0, 4)
    assert before == {path: path.read_bytes() for path in (base / "out" / "submissions").iterdir()}


def inline(monkeypatch):
    """Grade in this process: a client that runs a task where it is submitted, enough where no worker dies."""
    from concurrent.futures import Future

    class Client:
        def nthreads(self):
            return {"here": 1}

        def run(self, function, *arguments, on_error):
            return {"here": function(*arguments)}

        def submit(self, function, *arguments, pure, key):
            future: Any = Future()
            future.key = key
            try:
                future.set_result(function(*arguments))
            except Exception as error:
                future.set_exception(error)
            return future

    @contextmanager
    def client(scheduler, workers):
        yield Client()

    monkeypatch.setattr(pool, "connected", client)


@pytest.mark.parametrize("change", ["content", "deadline", "code", "names", "secret", "damage", "emptied"])
def test_what_a_result_depends_on_leads_to_a_new_one(tmp_path, monkeypatch, change):
    inline(monkeypatch)
    folder, out, names = hand_in(tmp_path / "in", ann=notebook(RIGHT)), tmp_path / "out", NAMES
    run(folder, out, names, box_factory=steady)
    if change == "content":
        hand_in(folder, ann=notebook(RIGHT, "x = 1"))
    elif change == "deadline":
        (folder / "manifest.csv").write_text("file,student,deadline\nann.ipynb,ann,2001-01-01\n")
    elif change == "code":
        monkeypatch.setattr(store, "exercise_fingerprint", lambda: "other")
    elif change == "names":
        names = NAMES[:1]
    elif change == "secret":
        (out / "secret").write_text("another secret of the same length")
    else:
        (path,) = (out / "submissions").iterdir()
        path.write_text(path.read_text()[:100] if change == "damage" else "")
    progress = run(folder, out, names, box_factory=steady).progress
    assert (progress.kept, progress.counts.total()) == (0, 1)
    (result,) = results(out).values()
    assert result["exercises"][0]["points"] == 1 and result["late"] == (change == "deadline")
    assert len(list((out / "superseded").glob("*"))) == (1 if change == "content" else 0)


def test_a_worker_that_dies_half_way_loses_nothing(tmp_path):
    names = {f"student{n}": notebook(RIGHT, "KILL = 1" if n == 1 else f"n = {n}") for n in range(5)}
    factory = functools.partial(deadly, str(tmp_path / "died"))
    summary = run(hand_in(tmp_path / "in", **names), tmp_path / "out", NAMES, workers=2, box_factory=factory)
    assert (tmp_path / "died").exists()
    assert {result["exercises"][0]["points"] for result in results(tmp_path / "out").values()} == {1}
    assert (summary.progress.counts, summary.quarantined) == ({"graded": 5}, ())


def test_a_submission_that_kills_every_worker_is_quarantined_and_no_other_suffers(tmp_path):
    names = {f"student{n}": notebook(RIGHT, "KILL = 1" if n == 1 else f"n = {n}") for n in range(5)}
    factory = functools.partial(deadly, "")
    summary = run(hand_in(tmp_path / "in", **names), tmp_path / "out", NAMES, workers=2, box_factory=factory)
    found = results(tmp_path / "out")
    assert summary.quarantined == ("student1.ipynb",)
    poison = found.pop("student1")
    assert poison["status"] == "infra_error" and "quarantined" in poison["reason"]
    assert {exercise["status"] for exercise in poison["exercises"]} == {"infra_error"}
    assert [result["exercises"][0]["points"] for result in found.values()] == [1] * 4


def test_the_machines_fault_is_tried_again_and_never_a_result(tmp_path, monkeypatch):
    inline(monkeypatch)
    folder = hand_in(tmp_path / "in", ann=notebook(RIGHT))
    factory = functools.partial(failing, str(tmp_path / "log"), 3)  # a first attempt asks once per exercise
    progress = run(folder, tmp_path / "out", NAMES, box_factory=factory).progress
    assert (progress.retried, progress.counts) == (2, {"graded": 1})
    assert results(tmp_path / "out")["ann"]["exercises"][0]["points"] == 1


def test_the_machines_fault_is_tried_again_also_after_a_workers_death(tmp_path, monkeypatch):
    inline(monkeypatch)
    ends, grade_task = [KilledWorker("it", None, 1), OSError("no more processes")], pool.grade_task

    def task(*arguments):
        if ends:
            raise ends.pop(0)
        return grade_task(*arguments)

    monkeypatch.setattr(pool, "grade_task", task)
    folder = hand_in(tmp_path / "in", ann=notebook(RIGHT))
    progress = run(folder, tmp_path / "out", NAMES, box_factory=steady).progress
    assert (progress.retried, progress.done, progress.counts) == (1, 1, {"graded": 1})


def test_a_result_that_dies_with_its_worker_before_it_is_here_is_made_again(tmp_path, monkeypatch):
    inline(monkeypatch)
    taken, real = [], pool._graded_or_error

    class Lost:
        """A future whose result was there when it was announced."""

        def __init__(self, future):
            self.exception, self.cancelled = future.exception, future.cancelled

        def result(self):
            raise KilledWorker("it", None, 2)

    def first_is_lost(future):
        taken.append(future)
        return real(Lost(future) if len(taken) == 1 else future)

    monkeypatch.setattr(pool, "_graded_or_error", first_is_lost)
    summary = run(hand_in(tmp_path / "in", ann=notebook(RIGHT)), tmp_path / "out", NAMES, box_factory=steady)
    assert (summary.progress.counts, summary.quarantined, len(taken)) == ({"graded": 1}, (), 2)


def test_a_fault_that_stays_is_reported_and_the_next_run_tries_again(tmp_path, monkeypatch):
    inline(monkeypatch)
    folder = hand_in(tmp_path / "in", ann=notebook(RIGHT))
    never = functools.partial(failing, str(tmp_path / "log"), 10_000)
    assert run(folder, tmp_path / "out", NAMES, box_factory=never).progress.counts == {"infra_error": 1}
    result = results(tmp_path / "out")["ann"]
    assert result["status"] == "infra_error" and "no more processes" in result["reason"]
    assert run(folder, tmp_path / "out", NAMES, box_factory=steady).progress.counts == {"graded": 1}


@pytest.mark.parametrize("place", ["write", "replace"])
def test_a_full_disk_leaves_no_half_file_and_the_run_goes_on_later(tmp_path, monkeypatch, place):
    inline(monkeypatch)
    folder, out = hand_in(tmp_path / "in", ann=notebook(RIGHT), ben=notebook(RIGHT)), tmp_path / "out"
    out.mkdir()
    store.read_secret(out / "secret", make=True)
    real, calls = os.replace, []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    with monkeypatch.context() as patch:
        if place == "replace":
            patch.setattr("course_utils.files.os.replace", full)
        else:
            write = store.write_bytes
            patch.setattr(
                store, "write_bytes", lambda *a: write(*a) if not calls and not calls.append(a) else full("", "")
            )
        with pytest.raises(GradingError, match="No space left on device"):
            run(folder, out, NAMES, box_factory=steady)
    assert set(results(out)) == {"ann"}
    assert len(list((out / "submissions").iterdir())) == 1
    assert run(folder, out, NAMES, box_factory=steady).progress.kept == 1
    assert set(results(out)) == {"ann", "ben"}


def test_a_disk_that_is_really_full_costs_no_result_and_no_secret(tmp_path, monkeypatch):
    inline(monkeypatch)
    folder = hand_in(tmp_path / "in", **{f"student{n}": notebook(RIGHT, f"n = {n}") for n in range(3)})
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(disk)]  # 8 pages: a file takes at least one
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        for full, left in ((32, 0), (24, 1)):  # thousands of bytes taken by something else; files that fit beside
            (disk / "other").write_bytes(b"x" * full * 1024)
            with pytest.raises(GradingError, match=r"cannot be written: No space left on device.*make room"):
                run(folder, disk / "out", NAMES, box_factory=steady)
            assert (disk / "out" / "secret").exists() == bool(left)
            assert len(list((disk / "out" / "submissions").iterdir())) == left
        (disk / "other").unlink()
        assert run(folder, disk / "out", NAMES, box_factory=steady).progress.kept == 1
        assert len(results(disk / "out")) == 3
        (disk / "other").write_bytes(b"x" * 12 * 1024)
        with pytest.raises(GradingError, match=r"reports in .* cannot be written.*All results are there"):
            grader.run_and_report(folder, disk / "out", NAMES, "title", box_factory=steady)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_what_is_made_is_closed_to_other_users_and_a_folder_that_exists_keeps_its_mode(tmp_path, monkeypatch):
    inline(monkeypatch)
    folder = hand_in(tmp_path / "in", ann=notebook(RIGHT))
    (tmp_path / "open").mkdir(mode=0o755)
    for out, mode in ((tmp_path / "made" / "out", 0o700), (tmp_path / "open", 0o755)):
        run(folder, out, NAMES, box_factory=steady)
        hand_in(folder, ann=notebook(RIGHT, f"x = {mode}"))
        run(folder, out, NAMES, box_factory=steady)  # sets the first result aside
        assert stat.S_IMODE(out.stat().st_mode) == mode
        for inner in ("submissions", "superseded"):
            assert stat.S_IMODE((out / inner).stat().st_mode) == 0o700
            assert [stat.S_IMODE(path.stat().st_mode) for path in (out / inner).iterdir()] == [0o600]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GradingError, match="file/out/submissions cannot be made: Not a directory"):
        run(hand_in(tmp_path / "in", ann=notebook(RIGHT)), tmp_path / "file" / "out", NAMES)


LUCKY = """
luck = []
def relu_backward(x, grad_output):
    luck.append(grad_output.sum().item() > 0)
    return grad_output * (x > 0) if luck[0] else None
"""


def test_the_same_secret_gives_the_same_points_elsewhere(tmp_path, monkeypatch):
    """Whether these are right is up to the hidden inputs, so that their points tell these apart."""
    folder = hand_in(tmp_path / "in", **{f"student{n}": notebook(LUCKY) for n in range(6)})
    points = {}
    for place, secret in (("here", "a"), ("there", "a"), ("other", "b")):
        (tmp_path / secret).write_text(secret * 64)
        (tmp_path / secret).chmod(0o600)
        run(folder, tmp_path / place, NAMES[:1], workers=1, box_factory=steady, secret_file=tmp_path / secret)
        found = results(tmp_path / place)
        points[place] = [found[student]["exercises"][0]["points"] for student in sorted(found)]
        inline(monkeypatch)  # the first run is in another process
    assert points["here"] == points["there"] != points["other"]
    assert set(points["here"]) == {0, 1}


def test_two_runs_do_not_write_into_one_folder(tmp_path):
    folder, out = hand_in(tmp_path / "in", ann=notebook(RIGHT)), tmp_path / "out"
    out.mkdir()
    with store.alone(out), pytest.raises(GradingError, match="another run"):
        run(folder, out, NAMES, box_factory=steady)
    assert not (out / "secret").exists()


def test_the_secret_is_in_no_result_file(cohort):
    base, _, _ = cohort
    secret = (base / "out" / "secret").read_text().strip()
    assert not any(secret in path.read_text() for path in (base / "out" / "submissions").iterdir())


def test_students_who_handed_in_nothing_and_files_that_are_no_notebooks_are_reported(tmp_path, monkeypatch):
    inline(monkeypatch)
    folder = hand_in(tmp_path / "in", ann=notebook(RIGHT))
    (folder / "report.pdf").write_text("%PDF")
    (folder / "manifest.csv").write_text("file,student\nann.ipynb,ann\nben.ipynb,Ben\n")
    summary = run(folder, tmp_path / "out", NAMES, box_factory=steady)
    assert (summary.ignored, summary.absent) == (("report.pdf",), ("Ben",))


@pytest.mark.parametrize("other", ["", "report.pdf"])
def test_a_folder_without_a_notebook_is_refused_before_anything_is_written(tmp_path, other):
    folder = hand_in(tmp_path / "in")
    if other:
        (folder / other).write_text("%PDF")
    with pytest.raises(GradingError, match=rf"in holds no notebook \(\.ipynb\).*{other}"):
        run(folder, tmp_path / "out", NAMES, box_factory=steady)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("out", [".", "graded/02"])
def test_results_are_not_written_among_the_submissions(tmp_path, out):
    folder = hand_in(tmp_path / "in", ann=notebook(RIGHT))
    with pytest.raises(GradingError, match="choose an --out outside of it"):
        run(folder, folder / out, NAMES, box_factory=steady)
    assert [path.name for path in folder.iterdir()] == ["ann.ipynb"]


def test_results_of_another_assignment_are_not_replaced(tmp_path, monkeypatch):
    inline(monkeypatch)
    folder, out = hand_in(tmp_path / "in", ann=notebook(RIGHT)), tmp_path / "out"
    run(folder, out, NAMES[:1], box_factory=steady)
    before = results(out)
    with pytest.raises(GradingError, match=rf"results of another assignment \({NAMES[0]}"):
        run(folder, out, NAMES[1:], box_factory=steady)
    assert results(out) == before
    assert run(folder, out, NAMES, box_factory=steady).progress.counts["graded"] == 1, "one more exercise may come"


def test_a_result_that_somebody_has_edited_is_not_believed(tmp_path, monkeypatch):
    inline(monkeypatch)
    folder, out = hand_in(tmp_path / "in", ann=notebook(RIGHT)), tmp_path / "out"
    run(folder, out, NAMES, box_factory=steady)
    (path,) = (out / "submissions").iterdir()
    content = json.loads(path.read_text())
    content["exercises"][1] |= {"status": "right", "points": 1}
    path.write_text(json.dumps(content))
    assert run(folder, out, NAMES, box_factory=steady).progress.kept == 0
    assert [mark["points"] for mark in results(out)["ann"]["exercises"]] == [1, 0]


def test_what_the_notebook_shows_as_right_reaches_the_checker(tmp_path, monkeypatch):
    inline(monkeypatch)
    page = json.loads(notebook("def relu_backward(x, grad_output):\n    return x"))
    data = {OUTCOME_TYPE: {"exercise": "relu_backward", "status": "right"}}
    page["cells"][0]["outputs"] = [{"output_type": "display_data", "data": data}]
    run(hand_in(tmp_path / "in", ann=json.dumps(page)), tmp_path / "out", NAMES, box_factory=steady)
    assert results(tmp_path / "out")["ann"]["exercises"][0]["status"] == "needs_review"


def test_no_more_submissions_are_in_memory_than_keep_the_workers_busy(tmp_path, monkeypatch):
    inline(monkeypatch)
    hand_in(tmp_path / "in", **{f"student{n}": notebook(RIGHT, f"n = {n}") for n in range(9)})
    running = []
    run(tmp_path / "in", tmp_path / "out", NAMES[:1], box_factory=steady, report=lambda p: running.append(p.running))
    assert max(running) == 2


def test_a_scheduler_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(pool, "CONNECT", 0.5)
    with pytest.raises(GradingError, match=r"answers at tcp://127\.0\.0\.1:9"):
        with pool.connected("tcp://127.0.0.1:9", None):
            pass


@pytest.mark.parametrize("fresh", [False, True])
def test_in_real_boxes_a_right_answer_wins_and_one_that_looks_around_finds_nothing(boxes, tmp_path, fresh):
    thief = (
        "def relu_backward(x, grad_output):\n"
        "    from course_utils.exercises.lessons.l00_backpropagation import relu_backward as reference\n"
        "    return reference(x, grad_output)"
    )
    folder = hand_in(tmp_path / "in", ann=notebook("from google.colab import drive", RIGHT), ben=notebook(thief))
    summary = run(folder, tmp_path / "out", NAMES[:1], workers=2, fresh=fresh)
    assert summary.progress.boxes == "fresh (as asked for)" if fresh else "forked"
    found = {name: result["exercises"][0] for name, result in results(tmp_path / "out").items()}
    assert {name: mark["points"] for name, mark in found.items()} == {"ann": 1, "ben": 0}
    assert found["ben"]["message"].startswith("ModuleNotFoundError.")
    assert summary.progress.counts == {"graded": 2}
    assert all(result["peak_memory"] > 10**8 for result in results(tmp_path / "out").values())
