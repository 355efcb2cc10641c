"""Recording: what a run's results look like in `results/PROFILE-DEVICE.json`, and what is not recorded."""

import json
import platform
from pathlib import Path

import nbformat
import pytest

from course_utils import errors
from course_utils.command import results
from course_utils.notebooks import ipynb
from course_utils.notebooks.find import Lesson
from course_utils.running.runs import Run


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the lessons 00 and 01 and the detour 00a, and the working directory in it."""
    for number in ("00", "00a", "01"):
        ipynb.write(nbformat.v4.new_notebook(), tmp_path / "notebooks" / f"{number}_x.ipynb")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def its_lesson(number: str) -> Lesson:
    return Lesson(number, Path(f"notebooks/{number}_x.ipynb"))


def finished(number: str, value: float, profile: str = "cpu", real: bool = True, seconds: float = 2.0) -> Run:
    """A lesson's run as it is after passing, with one report."""
    data = [{"name": "MNIST", "source": "MNIST" if real else "stand-in: glyphs", "real": real}]
    report = {
        "name": "loss",
        "value": value,
        "unit": "nats",
        "goal": "<= 1",
        "met": value <= 1,
        "seed": 3,
        "data": data,
    }
    session = {"profile": profile, "device": "cpu"}
    return Run(its_lesson(number), "passed", seconds=seconds, reports=[report], session=session)


def test_results_are_merged_by_lesson_and_keep_seed_data_and_commit(root: Path) -> None:
    results.record([finished("00", 0.5), finished("01", 0.7)], root)
    written, refused = results.record([finished("01", 0.6)], root)
    assert (written, refused) == ([root / "results" / "cpu-cpu.json"], [])
    content = json.loads(written[0].read_text())
    assert [(r["lesson"], r["value"]) for r in content["results"]] == [("00", 0.5), ("01", 0.6)]
    expected = {"lesson": "01", "name": "loss", "value": 0.6, "unit": "nats", "goal": "<= 1", "met": True}
    expected |= {"seconds": 2.0, "peak_gb": 0.0, "seed": 3, "data": ["MNIST"], "commit": None}
    assert content["results"][1] == expected
    assert content["versions"]["python"] and content["machine"]["cores"] >= 1
    assert platform.node() not in written[0].read_text()


def test_results_of_parts_of_a_lesson_take_the_place_of_those_with_their_names(root: Path) -> None:
    results.record([finished("00", 0.5)], root)
    part = finished("00", 0.25)
    part.reports.append(part.reports[0] | {"name": "more", "core_seconds": 7200.0})
    part.state, part.reports[0] = "running", part.reports[0] | {"name": "less"}
    ((path,), _) = results.record([part], root, whole=False)
    kept = {entry["name"]: entry for entry in results.load(path)["results"]}
    assert list(kept) == ["loss", "less", "more"]
    assert kept["more"]["core_hours"] == 2.0 and "core_hours" not in kept["less"]
    assert [name for name, entry in kept.items() if entry.get("unfinished")] == ["less", "more"]
    part.state = "passed"
    results.record([part], root, whole=False)
    assert [entry.get("unfinished") for entry in results.load(path)["results"]] == [None, None, None]


def test_a_result_from_another_machine_says_so() -> None:
    old = {"machine": {"cpu": "old"}, "versions": {"torch": "2"}, "results": [{"lesson": "00"}, {"lesson": "01"}]}
    here = {"machine": {"cpu": "new"}, "versions": {"torch": "2"}}
    merged = results.merge(old, here, [{"lesson": "01"}], ["01"])
    assert merged["results"] == [{"lesson": "00", "machine": {"cpu": "old"}}, {"lesson": "01"}]
    assert results.merge(merged, here, [{"lesson": "01"}], ["01"]) == merged


@pytest.mark.parametrize(
    "run, why",
    [
        (finished("00", 0.5, profile="smoke"), "smoke measures nothing"),
        (finished("00", 0.5, real=False), "stand-in: glyphs"),
        (Run(its_lesson("00"), "failed"), "failed"),
        (Run(its_lesson("00"), "passed"), "no session"),
        (Run(Lesson("00", Path("work/00_x.ipynb")), "passed"), "not a lesson of the course"),
    ],
)
def test_what_is_no_measurement_is_not_recorded(run: Run, why: str, root: Path) -> None:
    written, refused = results.record([run], root)
    assert written == [] and not (root / "results").exists()
    assert "lesson 00 is not recorded" in refused[0] and why in refused[0]


@pytest.mark.parametrize("change", [{"results": [1]}, {"results": [{"lesson": 1}]}, {"machine": {}}, {"versions": []}])
def test_a_results_file_of_another_structure_is_a_clear_error(change: dict, root: Path) -> None:
    ((path,), _) = results.record([finished("00", 0.5)], root)
    content = results.load(path)
    for wrong in ([content], content | change):
        path.write_text(json.dumps(wrong))
        with pytest.raises(errors.CourseError, match=r"cpu-cpu.json does not hold what"):
            results.load(path)
    path.write_bytes(b"\xff")
    with pytest.raises(errors.CourseError, match="not valid JSON"):
        results.load(path)


def test_a_result_that_carries_half_a_machine_is_a_clear_error(root: Path) -> None:
    ((path,), _) = results.record([finished("00", 0.5)], root)
    content = json.loads(path.read_text())
    content["results"][0]["machine"] = {"cpu": "old"}
    path.write_text(json.dumps(content))
    with pytest.raises(errors.CourseError, match=r"cpu-cpu.json does not hold what"):
        results.load(path)


def test_a_detour_is_recorded_between_its_lesson_and_the_next(root: Path) -> None:
    results.record([finished(number, 0.5) for number in ("01", "00a", "00")], root)
    ((path,), _) = results.record([finished("00a", 0.25)], root)
    recorded = [(entry["lesson"], entry["value"]) for entry in results.load(path)["results"]]
    assert recorded == [("00", 0.5), ("00a", 0.25), ("01", 0.5)]
