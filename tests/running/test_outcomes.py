"""What became of a goal, in words, and the page that shows a run. Nothing is run here."""

from pathlib import Path

import nbformat
import pytest

from course_utils.notebooks import ipynb
from course_utils.notebooks.find import Lesson
from course_utils.running import index, outcomes
from course_utils.running.runs import Options, Run

REPORT = {"name": "loss", "value": 12345.6, "unit": "nats", "goal": "<= 1", "met": False}


@pytest.mark.parametrize(
    "report, verdict, words",
    [
        ({"goal": None, "met": None}, "no goal", "no goal"),
        ({"goal": "<= 1", "met": True}, "met", "✔ met"),
        ({"goal": "<= 1", "met": False}, "missed", "✘ missed"),
        ({"goal": "<= 1", "met": None, "why": "profile smoke"}, "not judged", "not judged (profile smoke)"),
    ],
)
def test_outcomes_say_met_missed_or_why_not_judged(report: dict, verdict: str, words: str) -> None:
    assert (outcomes.verdict(report), outcomes.outcome(report)) == (verdict, words)


def page(run: Run, out: Path) -> str:
    return index.write_index([run], Options(out=out)).read_text(encoding="utf-8")


def test_the_index_links_a_name_with_special_characters(tmp_path: Path) -> None:
    path = tmp_path / "50% #1 <a>.ipynb"
    path.write_text("{}")
    assert 'href="50%25%20%231%20%3Ca%3E.ipynb"' in page(Run(Lesson("x", path), "passed", executed=path), tmp_path)


def test_the_index_escapes_whatever_a_notebook_says(tmp_path: Path) -> None:
    hostile = "<script>alert('&')</script>"
    run = Run(Lesson(hostile, tmp_path / f"{hostile[:8]}.ipynb"), "failed", reasons=[hostile, "second"])
    run.reports = [REPORT | {"name": hostile, "unit": hostile, "goal": hostile, "met": None, "why": hostile}]
    told = page(run, tmp_path)
    assert "<script" not in told
    assert told.count("&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;") == 7
    assert "&lt;/script&gt;<br>second" in told


def test_the_index_writes_numbers_as_the_course_does_and_marks_misses(tmp_path: Path) -> None:
    told = page(Run(Lesson("02a", tmp_path / "02a_x.ipynb"), "passed", seconds=2.04, reports=[REPORT]), tmp_path)
    assert "<td>02a</td>" in told and '<td class="number">12,346 nats</td>' in told
    assert '<td class="missed">✘ missed</td>' in told and '<td class="number">2.0</td>' in told
    assert "Profile cpu. 1 run, 0 failed, 2 s." in told


def test_the_index_says_a_lessons_number_once(tmp_path: Path) -> None:
    path = tmp_path / "02a_x.ipynb"
    for title, told in {"Gates": "02a · Gates", "02a · Gates": "02a · Gates"}.items():
        ipynb.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# {title}")]), path)
        assert f'<a href="02a_x.ipynb">{told}</a>' in page(Run(Lesson("02a", path), executed=path), tmp_path)


def test_the_index_has_a_dark_variant(tmp_path: Path) -> None:
    assert "prefers-color-scheme: dark" in page(Run(Lesson("00", tmp_path / "00_x.ipynb")), tmp_path)
