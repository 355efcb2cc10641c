"""`course results`: all recorded results in results/README.md, headlines in README.md; ours are up to date."""

import json
from pathlib import Path

import nbformat
import pytest

from course_utils.command import tables
from course_utils.errors import CourseError
from course_utils.notebooks import find, ipynb

ROOT = Path(__file__).parents[2]
MARKED = "# Course\n<!-- results -->\nold\n<!-- /results -->\nafter\n"
MACHINE = {"cpu": "Z80", "cores": 1, "memory_gb": 1}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a lesson, its detour and the next, all recorded, and a README with markers and two headlines."""
    for number in ("00", "00a", "01"):
        cells = [nbformat.v4.new_markdown_cell(f"# Lesson {number} on x | y")]
        ipynb.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "notebooks" / f"{number}_x.ipynb")
    record(
        tmp_path, "cpu-cpu", entry("00", "loss", 1.5), entry("00a", "gain", 12345.0, None), entry("01", "loss", 0.25)
    )
    (tmp_path / "README.md").write_text(MARKED)
    monkeypatch.setattr(tables, "HEADLINES", (("00", "loss"), ("01", "loss")))
    return tmp_path


def entry(lesson: str, name: str, value: float, goal: str | None = "<= 1", **more: object) -> dict[str, object]:
    """A recorded result; its goal, if it has one, is met by a value of at most 1."""
    return {
        "lesson": lesson,
        "name": name,
        "value": value,
        "unit": "nats",
        "goal": goal,
        "met": None if goal is None else value <= 1,
        "seconds": 2.0,
        "peak_gb": 0.5,
    } | more


def test_a_night_has_the_headlines_that_it_has(root: Path) -> None:
    record(root, "night-cpu", entry("00", "price", 80.654, core_hours=3.9))
    tables.write_tables(root)
    assert "| night-cpu | price | 80.65 nats after 3.9 core-hours | ✘ <= 1 missed |" in (root / tables.ALL).read_text()
    assert "| night-cpu | *the headlines alone* |" in (root / tables.ALL).read_text()
    assert "| night-cpu |" not in (root / "README.md").read_text()


def record(root: Path, name: str, *entries: dict[str, object]) -> None:
    content = {"machine": MACHINE, "versions": {"torch": "3"}, "results": list(entries)}
    (root / "results").mkdir(exist_ok=True)
    (root / "results" / f"{name}.json").write_text(json.dumps(content))


def readme(root: Path) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


def page(root: Path) -> str:
    return (root / tables.ALL).read_text(encoding="utf-8")


# -- ours --------------------------------------------------------------------------------------------------------


def test_the_tables_in_the_repository_are_those_of_the_recorded_results() -> None:
    recorded = tables.all_recorded(ROOT)
    assert tables.headlines(recorded) == readme(ROOT).split(tables.START)[1].split(tables.END)[0].strip()
    assert tables.all_results(recorded, ROOT) == page(ROOT)


def test_every_lesson_of_the_main_line_has_one_headline_in_order() -> None:
    main_line = [lesson.number for lesson in find.lessons(ROOT) if lesson.number.isdecimal()]
    assert [lesson for lesson, _ in tables.HEADLINES] == main_line


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len(readme(ROOT).splitlines()) <= 150


# -- what is written ---------------------------------------------------------------------------------------------


def test_readme_shows_the_headlines_alone_and_missed_goals_as_missed(root: Path) -> None:
    assert tables.write_tables(root) == [root / "README.md", root / "results" / "README.md"]
    text = readme(root)
    assert "| [00](results/README.md#lesson-00) | loss | cpu-cpu | 1.5 nats | ✘ <= 1 missed |" in text
    assert "| [01](results/README.md#lesson-01) | loss | cpu-cpu | 0.25 nats | ✔ <= 1 |" in text
    assert "`cpu-cpu`: of 2 goals 1 met, 1 missed: [loss](results/README.md#lesson-00)." in text
    assert "gain" not in text
    assert "old" not in text and text.startswith("# Course\n") and text.endswith("<!-- /results -->\nafter\n")


def test_the_page_shows_everything_in_a_section_for_each_lesson_detours_too(root: Path) -> None:
    tables.write_tables(root)
    before, *sections = page(root).split("\n## ")
    assert [section.splitlines()[0] for section in sections] == ["Lesson 00", "Lesson 00a", "Lesson 01", "Machines"]
    assert "[00a](#lesson-00a)" in before and "`profile-device` says" in before
    assert "| cpu-cpu | *the whole notebook* | 2 s, 0.5 GB | — |" in sections[0]
    assert "| cpu-cpu | loss | 1.5 nats | ✘ <= 1 missed |" in sections[0]
    assert "[Lesson 00a on x | y](../notebooks/00a_x.ipynb)" in sections[1]
    assert "| cpu-cpu | gain | 12,345 nats | — |" in sections[1]
    assert "* `cpu-cpu`, lessons 00, 00a, 01: Z80, 1 cores, 1 GB, torch 3" in sections[3]


def test_what_is_up_to_date_is_not_written_again(root: Path) -> None:
    tables.write_tables(root)
    assert tables.write_tables(root) == []
    (root / "results" / "README.md").unlink()
    assert tables.write_tables(root) == [root / "results" / "README.md"]


def test_each_profile_and_device_has_its_own_row(root: Path) -> None:
    record(root, "gpu-cuda", entry("01", "loss", 0.125, machine=MACHINE | {"gpu": "H200"}))
    tables.write_tables(root)
    rows = [line for line in readme(root).splitlines() if line.startswith("| [01]")]
    assert [row.split(" | ")[2:4] for row in rows] == [["cpu-cpu", "0.25 nats"], ["gpu-cuda", "0.125 nats"]]
    assert "torch 3.\n\n`gpu-cuda`: of 1 goals 1 met" in readme(root)
    assert "* `gpu-cuda`, lessons 01: Z80, 1 cores, 1 GB, H200, torch 3" in page(root)


def test_results_that_were_kept_from_another_machine_say_so(root: Path) -> None:
    record(root, "cpu-cpu", entry("00", "loss", 1.0, machine=MACHINE | {"cpu": "6502"}), entry("01", "loss", 1.0))
    tables.write_tables(root)
    assert "lessons 00: 6502, 1 cores" in page(root) and "lessons 01: Z80, 1 cores" in page(root)


def test_a_bar_in_a_name_does_not_break_the_table(root: Path) -> None:
    record(root, "cpu-cpu", entry("00", "loss", 1.0), entry("00", "|r|", 0.5), entry("01", "loss", 1.0))
    tables.write_tables(root)
    assert "| cpu-cpu | \\|r\\| | 0.5 nats | ✔ <= 1 |" in page(root)


# -- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "entries, missing",
    [
        ([entry("00", "loss", 1.0), entry("01", "accuracy", 1.0)], "'loss' of lesson 01 .* in results/cpu-cpu.json"),
        ([entry("00", "loss", 1.0)], "'loss' of lesson 01 .* in results/:"),
        ([], "'loss' of lesson 00 .* in results/:"),
    ],
)
def test_a_headline_that_was_not_recorded_is_named_and_nothing_is_written(
    entries: list[dict[str, object]], missing: str, root: Path
) -> None:
    record(root, "cpu-cpu", *entries)
    with pytest.raises(CourseError, match=f"the headline {missing}"):
        tables.write_tables(root)
    assert readme(root) == MARKED and not (root / tables.ALL).exists()


def test_readme_without_markers_is_left_alone_with_a_clear_error(root: Path) -> None:
    (root / "README.md").write_text("# Course\n")
    with pytest.raises(CourseError, match="put these two lines"):
        tables.write_tables(root)
    assert readme(root) == "# Course\n" and not (root / tables.ALL).exists()
