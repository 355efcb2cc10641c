"""Importing the helpers costs little, and what a lesson does not use is not loaded."""

import json
import subprocess
import sys

import pytest

SUBMODULES = ("runtime", "data", "training", "plots", "widgets", "evaluate", "ruler", "exercises")
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


def test_the_command_line_starts_without_torch() -> None:
    code = "import sys, course_utils.cli; print('torch' in sys.modules, 'papermill' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
