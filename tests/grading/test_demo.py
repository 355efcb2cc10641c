"""The twelve sample submissions: reproducible, readable by the collector, and what they claim to be."""

import inspect
import json

import demo
import msgspec
import pytest
import torch
import typer
from samples import mark, result
from typer.testing import CliRunner

from course_utils.boxed.forbidden import calls
from course_utils.exercises.catalogue import definition, names
from course_utils.exercises.judge import check
from course_utils.grading import pool, submissions
from course_utils.grading.text import printable

pytestmark = pytest.mark.long
SAMPLES = {sample.student.split()[0]: sample for sample in demo.SAMPLES}
ORDINARY = ("Ada", "Ben", "Cleo", "Eva", "Léa")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("submissions")
    demo.write(folder)
    return folder


def answers(folder, sample):
    """The functions that a sample's cells define, run in this process: for the ordinary samples only."""
    cells = json.loads((folder / sample.file).read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    space = {"torch": torch, "exercise": lambda function: function}
    for source in sources:
        if "@exercise" in source:
            exec(source, space)
    return space


def test_the_same_course_gives_the_same_bytes(folder, tmp_path):
    demo.write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in folder.iterdir())
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes(), path.name


def test_there_are_twelve_and_each_is_somebody_elses():
    assert len(demo.SAMPLES) == 12
    assert len({sample.student for sample in demo.SAMPLES}) == len({sample.file for sample in demo.SAMPLES}) == 12


def test_expectations_name_exercises_and_mistakes_that_exist():
    for sample in demo.SAMPLES:
        assert set(sample.right) <= set(names(demo.LESSON)), sample.student
        assert set(sample.review) <= set(names(demo.LESSON)), sample.student
        kinds = (sample.right, sample.nearly, sample.mistakes, sample.review)
        assert len({name for kind in kinds for name in kind}) == sum(map(len, kinds)), sample.student
        assert ("needs_review" in sample.statuses) == bool(sample.review), sample.student
        for name, key in {**sample.nearly, **sample.mistakes}.items():
            assert key in definition(name).mistakes, sample.student


def test_a_right_answer_that_waits_for_a_person_is_one_with_a_forbidden_call(folder):
    waiting = [(sample, name) for sample in demo.SAMPLES for name in sample.review]
    assert waiting
    for sample, name in waiting:
        cells = json.loads((folder / sample.file).read_text(encoding="utf-8"))["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        assert calls(definition(name).forbidden, name, sources), sample.student


@pytest.mark.parametrize("who", ORDINARY)
def test_an_ordinary_sample_is_judged_as_it_claims(folder, who):
    sample, space = SAMPLES[who], answers(folder, SAMPLES[who])
    for name in names(demo.LESSON):
        outcome = check(name, space[name], seed=5)
        if name in sample.right + sample.review:
            assert outcome.status == "right", (name, outcome.message)
        else:
            mistake = {**sample.nearly, **sample.mistakes}.get(name)
            assert (outcome.status, outcome.mistake) == (status(sample, name, "not attempted"), mistake), (
                outcome.message
            )


def test_the_collector_finds_every_sample_with_its_student_and_lateness(folder):
    collection = submissions.collect(folder)
    found = {entry.student: entry.read() for entry in collection.entries}
    assert set(found) == {printable(sample.student) for sample in demo.SAMPLES}
    assert not collection.ignored and not collection.absent
    for sample in demo.SAMPLES:
        submission = found[printable(sample.student)]
        assert submission.late == sample.late, sample.student
        assert (submission.cells is None) == (sample.statuses == ("unreadable",)), submission.reason


def test_a_syntax_error_stays_in_its_cell(folder):
    cells = json.loads((folder / SAMPLES["Dan"].file).read_text(encoding="utf-8"))["cells"]
    broken = []
    for cell in cells:
        source = "".join(cell["source"])
        try:
            compile(source if cell["cell_type"] == "code" else "", "cell", "exec", flags=0x2000)  # top-level await
        except SyntaxError:
            broken.append(source)
    assert len(broken) == 1 and "def open_forget_gate(bias, value:" in broken[0]


@pytest.mark.parametrize("who", ["Iris", "Finn", "Gwen", "Hugo", "=1+2"])
def test_hostile_answers_are_python_under_the_exercises_own_signature(folder, who):
    sample = SAMPLES[who]
    space = answers(folder, sample)
    for name in set(names(demo.LESSON)) - set(sample.right):
        expected = list(inspect.signature(definition(name).reference).parameters)
        assert list(inspect.signature(space[name]).parameters) == expected


def status(sample, name, otherwise="wrong"):
    kinds = {"right": sample.right, "nearly right": sample.nearly}
    kinds |= {"diagnosed": sample.mistakes, "needs_review": sample.review}
    return next((kind for kind, exercises in kinds.items() if name in exercises), otherwise)


def points(sample, name):
    return 1 if name in sample.right else 0.5 if name in sample.nearly else 0


def as_expected(sample):
    marks = [
        mark(
            name, status(sample, name), points(sample, name), 1, mistake={**sample.nearly, **sample.mistakes}.get(name)
        )
        for name in names(demo.LESSON)
    ]
    student = printable(sample.student)
    return result(student, status=sample.statuses[0], late=sample.late, marks=marks)


def test_differences_are_found_and_named():
    results = [as_expected(sample) for sample in demo.SAMPLES]
    assert demo.differences(results) == []
    assert demo.differences(results[1:]) == ["Ada Example_1001: no result"]
    (place,) = (place for place, each in enumerate(results) if each.student.startswith("Hugo"))
    hugo = results[place]

    def differences(mark=None, **changes):
        marks = (msgspec.structs.replace(hugo.marks[0], **(mark or {})), *hugo.marks[1:])
        results[place] = msgspec.structs.replace(hugo, marks=marks, **changes)
        return demo.differences(results)

    assert differences({"points": 1}) == ["Hugo Example_1008: points for ['lstm_gates'] instead of []"]
    assert differences({"status": "needs_review"}) == [
        "Hugo Example_1008: waiting for a person ['lstm_gates'] instead of []"
    ]
    assert differences(status="infra_error", late=True) == [
        "Hugo Example_1008: late True instead of False",
        "Hugo Example_1008: infra_error instead of graded or student_error",
    ]


@pytest.mark.parametrize("kind", ["forked_box", "fresh_box"])
def test_the_whole_demo_in_real_boxes_comes_out_as_it_must(boxes, tmp_path, kind, monkeypatch):
    monkeypatch.setattr(pool, "forked_box", getattr(pool, kind))
    app = typer.Typer()
    app.command()(demo.main)
    told = CliRunner().invoke(app, [str(tmp_path)])
    assert told.exit_code == 0, told.output
    assert "All twelve came out as they must." in told.output
    pages = [tmp_path / "index.html", *(tmp_path / "feedback").glob("*.html")]
    assert len(pages) == 13
    assert not [page.name for page in pages if "<script" in page.read_text(encoding="utf-8").lower()]
