"""Importing the helpers costs little, and what a lesson does not use is not loaded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import structure

SUBMODULES = ("runtime", "data", "training", "plots", "diagrams", "widgets", "evaluate", "ruler", "exercises")
LATE = (
    "matplotlib",
    "ipywidgets",
    "pandas",
    "sklearn",
    "statsmodels",
    "IPython",
    "scipy",
    "pooch",
    "torchvision",
    "tqdm",
)
SECONDS = 0.3
PROBE = """
import json, sys, time
import torch
before, began, seconds = set(sys.modules), time.process_time(), {}
for name in sys.argv[1:]:
    started = time.process_time()
    __import__(name)
    seconds[name] = time.process_time() - started
seconds["all"] = time.process_time() - began
print(json.dumps([seconds, sorted(set(sys.modules) - before)]))
"""


def probe(*names: str) -> tuple[dict[str, float], set[str]]:
    """CPU seconds of each import after `import torch` in a fresh process, and the modules that came with them."""
    done = subprocess.run([sys.executable, "-c", PROBE, *names], capture_output=True, text=True, check=True)
    seconds, modules = json.loads(done.stdout)
    return seconds, set(modules)


@pytest.fixture(scope="module")
def probes() -> list[tuple[dict[str, float], set[str]]]:
    names = ["course_utils", *(f"course_utils.{name}" for name in SUBMODULES)]
    return [probe(*names) for _ in range(3)]


def test_all_helpers_together_cost_little_beyond_torch(probes: list[tuple[dict[str, float], set[str]]]) -> None:
    best = min((seconds for seconds, _ in probes), key=lambda seconds: seconds["all"])
    assert best["all"] <= SECONDS, f"CPU seconds: {best}"


@pytest.mark.parametrize("name", LATE)
def test_heavy_libraries_are_imported_when_they_are_used(
    name: str, probes: list[tuple[dict[str, float], set[str]]]
) -> None:
    loaded = {module for module in probes[0][1] if module.split(".")[0] == name}
    assert not loaded


@pytest.mark.parametrize("module", ["command.cli", "command.night", "running.runner", "running.worker"])
def test_commands_and_those_who_run_lessons_start_without_torch(module: str) -> None:
    code = f"import sys, course_utils.{module}; print('torch' in sys.modules, 'papermill' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("given", [{}, {"GOMP_SPINCOUNT": "7", "KMP_BLOCKTIME": "7"}])
def test_threads_that_wait_leave_the_core_to_others(given: dict[str, str]) -> None:
    names = ("GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    code = f"import course_utils, os; print(*(os.environ[name] for name in {names}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment | given
    )
    assert done.stdout.split() == ([*given.values()] or ["1000", "0"])


# -- the house ---------------------------------------------------------------------------------------------------

# From the ground up. A module imports from its own part and from those before it, never from one behind.
PARTS = (
    *(
        "errors",
        "conventions",
        "files",
        "display",
        "recorded",
        "templates",
        "boxed",
        "fingerprint",
        "resuming",
        "runtime",
        "causality",
        "coder",
        "evaluate",
        "sound",
        "plots",
        "widgets",
        "diagrams",
        "image_diagrams",
        "games",
        "muon",
        "plane",
        "pixel_diagrams",
        "stamp_diagrams",
        "attention_diagrams",
        "family_diagrams",
        "flow_diagrams",
    ),
    *(
        "data",
        "gpt",
        "training",
        "kept",
        "ruler",
        "classify",
        "exercises",
        "notebooks",
        "running",
        "grading.sandbox",
        "grading",
    ),
    "site",
    *("command", "__main__"),
)
LONGEST_MODULE, LONGEST_FUNCTION = 500, 40  # lines


def part(module: str) -> str:
    return max((part for part in PARTS if f"{module}.".startswith(f"{part}.")), key=len, default="")


def test_every_module_has_its_place_in_the_house() -> None:
    assert [name for name in structure.modules() if not part(name)] == []
    assert [name for name in PARTS if name not in {part(module) for module in structure.modules()}] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert structure.circles(structure.arrows()) == []


def test_imports_only_go_down() -> None:
    up = [
        f"{module} → {other}"
        for module, others in structure.arrows().items()
        for other in others
        if PARTS.index(part(other)) > PARTS.index(part(module))
    ]
    assert up == []


def test_the_wall_of_the_box_is_a_folder_that_imports_nothing_of_the_course_outside_itself() -> None:
    assert {
        part(other) for module, others in structure.arrows().items() if part(module) == "boxed" for other in others
    } == {"boxed"}


def test_what_teaches_or_grades_is_not_too_long_to_read() -> None:
    long = [
        f"{name}: {structure.length(path)} lines"
        for name, path in structure.modules().items()
        if structure.length(path) > LONGEST_MODULE and not name.startswith("exercises.lessons.")
    ]
    long += [
        f"{name}.{function}: {size} lines"
        for name, path in structure.modules().items()
        for size, function in structure.functions(path)
        if size > LONGEST_FUNCTION
    ]
    assert long == []


CIRCLE = {
    "a": "from course_utils import b",
    "b": "def late():\n    from course_utils.c import x",
    "c": "import sys\nx = sys.modules.get('course_utils.a')",
    "d": '"""Not an arrow: course_utils.a."""\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import course_utils.c',
}


def test_a_circle_is_seen_however_late_or_hidden_its_imports_are(tmp_path: Path) -> None:
    (tmp_path / "course_utils").mkdir()
    for name, text in ({"__init__": ""} | CIRCLE).items():
        (tmp_path / "course_utils" / f"{name}.py").write_text(text)
    drawn = structure.arrows(tmp_path)
    assert drawn == {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"c"}}
    assert structure.circles(drawn) == [["a", "b", "c"]]
    assert structure.floors({name: others - {"a"} for name, others in drawn.items()}) == {
        "a": 3,
        "b": 2,
        "c": 1,
        "d": 2,
    }
