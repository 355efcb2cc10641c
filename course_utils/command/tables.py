"""Recorded results as tables: all of them in `results/README.md`, a headline for each lesson in `README.md`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_utils.command.results import load
from course_utils.errors import CourseError
from course_utils.files import write_text
from course_utils.notebooks.find import lessons
from course_utils.recorded import in_words

# What README shows of each lesson: the one number that says most about it, by the name under which it is reported.
HEADLINES = (
    ("00", "by-hand network, test accuracy"),
    ("01", "characters: RNN, 256 units, validation loss, windows of 64, median"),
    ("02", "character LSTM, validation loss, windows of 64"),
    ("03", "reconstruction error at 32 numbers / PCA's, test"),
    ("04", "enlarging 7 × 7 to 28 × 28, test, the chosen network"),
    ("05", "forty latents, −ELBO, test (static binarisation)"),
    ("06", "DCGAN, squared Fréchet distance, test, 10 000 fakes"),
    ("07", "conditional: orders filled as the classifier sees it"),
    ("08", "gated PixelCNN, test (static binarisation)"),
    ("09", "GPT, validation"),
    ("10", "ring: energy distance of the flow's samples / of a second real sample"),
    ("11", "pairs of families, of 21, whose order no seed and no ruler contradicts"),
)
START, END = "<!-- results -->", "<!-- /results -->"
ALL = "results/README.md"
OPENING = """# Measured results

`course run --record` and `course refresh --record` run a lesson from top to bottom and keep here, in one JSON file for
each profile and device, what its `session.report` showed, with machine, versions, data, seed and commit; `course results`
writes this page and the headlines in [README.md](../README.md). `profile-device` says at which sizes the lesson ran
(`cpu`: a laptop's, `night`: the headlines alone, for hours, `gpu`: a data-centre GPU's) and on what it computed, so `cpu-cpu` is the laptop's size on a processor.

A goal is judged as it was set: ✔ met, ✘ missed, — none.
"""


@dataclass(frozen=True)
class Measurements:
    """The results of one profile on one device, as its JSON file holds them; `name` is "cpu-cpu", say."""

    name: str
    content: dict[str, Any]

    def of(self, lesson: str) -> list[dict[str, Any]]:
        """The lesson's results, in the order in which it reports them."""
        return [entry for entry in self.content["results"] if entry["lesson"] == lesson]

    def machines(self) -> dict[str, list[str]]:
        """What the results were measured on, in words, with the lessons measured there."""
        told: dict[str, list[str]] = {}
        for entry in self.content["results"]:
            lessons_there = told.setdefault(_machine(self.content | entry), [])
            lessons_there += [entry["lesson"]] if entry["lesson"] not in lessons_there else []
        return told


def write_tables(root: Path) -> list[Path]:
    """Write all results into `results/README.md` and the headlines between README's markers; returns what changed.

    Raises CourseError for a README without markers, and for a headline that is not among the recorded results; then
    neither file is changed.
    """
    recorded = all_recorded(root)
    path = root / "README.md"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise CourseError(f"README.md has no {START} … {END}: put these two lines where the table belongs")
    wanted = {path: f"{before}{START}\n{headlines(recorded)}\n{END}{after}", root / ALL: all_results(recorded, root)}
    changed = [p for p, new in wanted.items() if not p.exists() or p.read_text(encoding="utf-8") != new]
    for path in changed:
        write_text(wanted[path], path)
    return changed


def all_recorded(root: Path) -> list[Measurements]:
    """What `results/*.json` hold, by name; a file without results is passed over."""
    files = [Measurements(path.stem, load(path)) for path in sorted((root / "results").glob("*.json"))]
    return [file for file in files if file.content["results"]]


def headlines(recorded: list[Measurements]) -> str:
    """The results of HEADLINES as a Markdown table, and under it how many goals were met, which were missed, and where.

    Raises CourseError for a headline whose lesson is recorded without it at profile cpu, or is not recorded at all; what
    was run for the night or on a GPU may have been parts of lessons.
    """
    rows = []
    for lesson, name in HEADLINES:
        files = [file for file in recorded if file.of(lesson)]
        if not files:
            raise CourseError(_lost(lesson, name, "results/"))
        for file in files:
            entry = next((entry for entry in file.of(lesson) if entry["name"] == name), None)
            if entry is None and not file.name.startswith("cpu-"):
                continue
            if entry is None:
                raise CourseError(_lost(lesson, name, f"results/{file.name}.json"))
            rows.append((f"[{lesson}]({ALL}#lesson-{lesson})", name, file.name, _value(entry), _goal(entry)))
    table = _table(("lesson", "result", "profile-device", "value", "goal"), rows)
    return "\n".join([*table, "", "\n\n".join(map(_balance, recorded))])


def _lost(lesson: str, name: str, place: str) -> str:
    return (
        f"the headline {name!r} of lesson {lesson} is not among the results in {place}: run `course run {lesson} "
        "--record`, or change HEADLINES in course_utils/command/tables.py"
    )


def _balance(file: Measurements) -> str:
    entries = file.content["results"]
    met = sum(entry["met"] is True for entry in entries)
    missed = [f"[{_cell(entry['name'])}]({ALL}#lesson-{entry['lesson']})" for entry in entries if entry["met"] is False]
    which = f": {', '.join(missed)}" if missed else ""
    return (
        f"`{file.name}`: of {met + len(missed)} goals {met} met, {len(missed)} missed{which}. "
        f"Measured on {'; '.join(file.machines())}."
    )


def all_results(recorded: list[Measurements], root: Path) -> str:
    """The page of all results: a section for each lesson (`#lesson-02`), then the machines."""
    notebooks = {lesson.number: lesson for lesson in lessons(root)}
    numbers = sorted({entry["lesson"] for file in recorded for entry in file.content["results"]})
    lines = [OPENING, " · ".join(f"[{lesson}](#lesson-{lesson})" for lesson in numbers)]
    for lesson in numbers:
        here = notebooks.get(lesson)
        lines += ["", f"## Lesson {lesson}", ""]
        lines += [f"[{here.title}](../notebooks/{here.path.name})", ""] if here else []
        rows = [row for file in recorded for row in _rows(file, lesson)]
        lines += _table(("profile-device", "result", "value", "goal"), rows)
    lines += ["", "## Machines", ""]
    for file in recorded:
        lines += [f"* `{file.name}`, lessons {', '.join(there)}: {text}" for text, there in file.machines().items()]
    return "\n".join([*lines, ""])


def _rows(file: Measurements, lesson: str) -> Iterator[tuple[str, ...]]:
    entries = file.of(lesson)
    if entries:
        cost = f"{entries[0]['seconds']:.0f} s, {entries[0]['peak_gb']:.1f} GB"
        yield file.name, f"*the {'headlines alone' if file.name.startswith('night-') else 'whole notebook'}*", cost, "—"
    for entry in entries:
        yield file.name, entry["name"], _value(entry), _goal(entry)


def _value(entry: dict[str, Any]) -> str:
    return in_words(entry)


def _goal(entry: dict[str, Any]) -> str:
    return {True: f"✔ {entry['goal']}", False: f"✘ {entry['goal']} missed", None: "—"}[entry["met"]]


def _machine(measured: dict[str, Any]) -> str:
    here = measured["machine"]
    gpu = f", {here['gpu']}" if "gpu" in here else ""
    return f"{here['cpu']}, {here['cores']} cores, {here['memory_gb']} GB{gpu}, torch {measured['versions']['torch']}"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """The lines of a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
