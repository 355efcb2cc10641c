"""`course grade`: what it refuses, and a small class from the folder to the page."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import demo
import pytest
from samples import mark, result
from typer.testing import CliRunner

from course_utils.command.cli import app
from course_utils.grading import grader
from course_utils.grading.progress import Progress


def course(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "it is not said what to grade"),
        (("--lesson", "22"), "there is no lesson or exercise 22"),
        (("--lesson", "02", "--exercise", "lstm_updat"), "there is no lesson or exercise lstm_updat"),
    ],
)
def test_what_to_grade_must_be_named(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    code, output = course("grade", tmp_path, "--out", tmp_path / "out", *arguments)
    assert code == 2
    assert said in output
    assert "--lesson 02" in output
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    code, output = course("grade", tmp_path / "nowhere", "--out", tmp_path / "out", "--lesson", "02")
    assert code == 2
    assert "there is no such folder or zip file" in output


def test_without_its_extra_grading_says_in_one_line_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['safetensors'] = None; from course_utils.command.cli import app; app()"
    command = [sys.executable, "-c", code, "grade", str(tmp_path), "--out", str(tmp_path / "out"), "--lesson", "02"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert " ".join(done.stderr.split()) == (
        "Error: the package safetensors is missing. Run `python -m pip install -e '.[grading]'` in the repository"
    )


def test_what_was_graded_before_ctrl_c_is_said_to_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(grader, "run_and_report", interrupted)
    code, output = course("grade", tmp_path, "--out", tmp_path / "out", "--lesson", "02")
    assert code == 130
    assert "the same command goes on from there" in output


def test_what_is_left_to_a_person_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = result("Ada_1", "k1", marks=[mark(status="wrong", points=0)])
    second = result("Ada_1", "k2", marks=[mark(points=2)])
    summary = grader.Summary(tmp_path, Progress(2), ignored=("report.pdf",))
    page = tmp_path / "index.html"
    monkeypatch.setattr(grader, "run_and_report", lambda *arguments, **options: (summary, [first, second], page))
    code, output = course("grade", tmp_path, "--out", tmp_path / "out", "--lesson", "02")
    assert code == 1
    assert "because they are no notebooks: 1." in output
    assert "1 of 1 students handed in several files with different points: take away" in output
    assert "decisions.csv" not in output


def test_a_small_class_is_graded_from_the_folder_to_the_page(boxes: None, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    for sample in demo.SAMPLES[:2]:
        (given / sample.file).write_bytes(sample.build())
    code, output = course("grade", given, "--out", tmp_path / "out", "--exercise", "lstm_update", "--workers", "1")
    assert code == 0, output
    assert "2 of 2 submissions" in output
    assert (tmp_path / "out" / "index.html").is_file()
    rows = list(csv.DictReader((tmp_path / "out" / "grades.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert len(rows) == 2
    again = course("grade", given, "--out", tmp_path / "out", "--exercise", "lstm_update", "--workers", "1")[1]
    assert "kept from an earlier run │ 2" in again


def test_who_waits_for_a_person_gets_a_grade_from_one(boxes: None, tmp_path: Path) -> None:
    (eva,) = (sample for sample in demo.SAMPLES if sample.review)
    given, out = tmp_path / "given", tmp_path / "out"
    given.mkdir()
    (given / eva.file).write_bytes(eva.build())
    command = ("grade", given, "--out", out, "--exercise", eva.review[0], "--workers", "1")
    code, output = course(*command)
    assert code == 1
    assert "1 of 1 wait for a person: write points into" in output
    path = out / "decisions.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(",2,,", ",2,1.5,Half of it"), encoding="utf-8")
    code, output = course(*command)
    assert code == 0, output
    assert "kept from an earlier run │ 1" in output
    (row,) = csv.DictReader((out / "grades.csv").read_text(encoding="utf-8-sig").splitlines())
    assert (row["Grade"], row["Status"], row[f"02 {eva.review[0]}"]) == ("1.5", "graded", "1.5")
    (feedback,) = (out / "feedback").glob("*.html")
    assert "Half of it" in feedback.read_text(encoding="utf-8")
