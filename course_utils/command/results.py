"""Measured results: `results/<profile>-<device>.json`, and the table that README shows of them."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from course_utils.errors import CourseError
from course_utils.files import write_text
from course_utils.notebooks.find import lessons
from course_utils.running.runner import Run, number

PACKAGES = ("torch", "numpy", "matplotlib", "scikit-learn", "statsmodels", "ipywidgets")
SOURCES = ("course_utils", "notebooks", "pyproject.toml")  # what a result depends on
START, END = "<!-- results -->", "<!-- /results -->"
ENTRY = {"lesson": str, "name": str, "value": float | int | None, "unit": str, "goal": str | None, "met": bool | None}
ENTRY |= {"seconds": float | int, "peak_gb": float | int}  # what the table shows of a result


def refusal(run: Run, root: Path) -> str:
    """Why the results of a run must not be recorded, or "" where they may be."""
    if run.lesson.path.resolve() not in [lesson.path.resolve() for lesson in lessons(root)]:
        return "it is not a lesson of the course"
    if run.state != "passed":
        return "it failed"
    if not run.session:
        return "it shows no session (runtime.start), so profile and device are unknown"
    if run.session.get("profile") == "smoke":
        return "profile smoke measures nothing: run with --profile cpu or gpu"
    for report in run.reports:
        for source in report.get("data", []):
            if not source.get("real", True):
                return f"it ran on {source['source']}: fetch the real data with `course data fetch`"
    return ""


def record(runs: list[Run], root: Path) -> tuple[list[Path], list[str]]:
    """Merge the runs' results by lesson into one file a profile and device.

    Returns the files written, and a sentence for each lesson that was refused.
    """
    refused = [f"lesson {run.lesson.number} is not recorded: {why}" for run in runs if (why := refusal(run, root))]
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if not refusal(run, root):
            device = str(run.session["device"]).split(":")[0]
            groups.setdefault(f"{run.session['profile']}-{device}", []).append(run)
    written, now = [], commit(root)
    for name, group in groups.items():
        path = root / "results" / f"{name}.json"
        entries = [entry for run in group for entry in _entries(run, now)]
        here = {"machine": machine(name.split("-")[1]), "versions": versions()}
        merged = merge(load(path), here, entries, [run.lesson.number for run in group])
        write_text(json.dumps(merged, indent=1, ensure_ascii=False, allow_nan=False) + "\n", path)
        written.append(path)
    return written, refused


def _entries(run: Run, now: str | None) -> Iterable[dict[str, Any]]:
    for report in run.reports:
        value = report["value"]
        yield {
            "lesson": run.lesson.number,
            "name": report["name"],
            "value": value if value is not None and math.isfinite(value) else None,
            "unit": report.get("unit", ""),
            "goal": report.get("goal"),
            "met": report.get("met"),
            "seconds": round(run.seconds, 1),
            "peak_gb": round(run.peak_gb, 2),
            "seed": report.get("seed"),
            "data": sorted({source["source"] for source in report.get("data", [])}),
            "commit": now,
        }


def merge(
    old: dict[str, Any], here: dict[str, Any], entries: list[dict[str, Any]], replaced: list[str]
) -> dict[str, Any]:
    """`old` with the results of the lessons `replaced` exchanged for `entries`, sorted by lesson.

    "machine" and "versions" describe the latest run; a kept result that comes from others carries its own.
    """
    kept = []
    for entry in old.get("results", []):
        if entry["lesson"] not in replaced:
            own = {key: entry.get(key, old.get(key)) for key in here}
            rest = {key: value for key, value in entry.items() if key not in here}
            kept.append(rest | {key: value for key, value in own.items() if value != here[key]})
    return here | {"results": sorted([*kept, *entries], key=lambda entry: entry["lesson"])}


def load(path: Path) -> dict[str, Any]:
    """The recorded results in a file; {} where there is none. Raises CourseError for one that cannot be read."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CourseError(f"{path} is not valid JSON ({error}): put it right or remove it") from error
    if not _is_record(content):
        raise CourseError(f"{path} does not hold what `course run --record` writes: put it right or remove it")
    return content


def _is_record(content: Any) -> bool:
    if not isinstance(content, dict) or not isinstance(content.get("results"), list):
        return False
    for part, keys in {"machine": ("cpu", "cores", "memory_gb"), "versions": ("torch",)}.items():
        if not isinstance(content.get(part), dict) or not content[part].keys() >= set(keys):
            return False
    return all(
        isinstance(entry, dict) and all(isinstance(entry.get(key, ...), kind) for key, kind in ENTRY.items())
        for entry in content["results"]
    )


def machine(device: str = "cpu") -> dict[str, Any]:
    """Processor, cores, memory and accelerator of this machine; no name of it."""
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = {"cpu": cpu_model(), "cores": cores, "memory_gb": round(psutil.virtual_memory().total / 1e9)}
    if device == "cuda":
        import torch

        found["gpu"] = torch.cuda.get_device_name()
    return found


def cpu_model() -> str:
    """The processor's name, as far as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    match = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.M) if cpuinfo.exists() else None
    return match[1].strip() if match else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """The versions on which results depend."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit(root: Path) -> str | None:
    """The short hash of HEAD, with "+changes" when the sources differ from it; None outside git."""
    try:
        head = _git(root, "rev-parse", "--short", "--verify", "HEAD")
        return head + ("+changes" if _git(root, "status", "--porcelain", "--", *SOURCES) else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def readme_table(root: Path) -> str:
    """All recorded results as a Markdown table, lesson by lesson, then the machines; misses are shown as misses."""
    rows, machines = [], []
    for path in sorted((root / "results").glob("*.json")):
        recorded = load(path)
        entries = recorded.get("results", [])
        if entries:
            machines.append(f"{path.stem}: {_machine_text(recorded)}.")
        for lesson in sorted({entry["lesson"] for entry in entries}):
            mine = [entry for entry in entries if entry["lesson"] == lesson]
            cost = f"{mine[0]['seconds']:.0f} s, {mine[0]['peak_gb']:.1f} GB"
            rows.append((lesson, path.stem, "*the whole notebook*", cost, "—"))
            rows += [(lesson, path.stem, *_result_cells(entry)) for entry in mine]
    rows.sort(key=lambda row: row[:2])
    lines = ["| lesson | profile-device | result | value | goal |", "|---|---|---|---|---|"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([*lines, "", *machines])


def _result_cells(entry: dict[str, Any]) -> tuple[str, str, str]:
    value = f"{number(entry['value'])} {entry['unit']}".strip()
    goal = {True: f"✔ {entry['goal']}", False: f"✘ {entry['goal']} missed", None: "—"}[entry["met"]]
    return entry["name"], value, goal


def _machine_text(recorded: dict[str, Any]) -> str:
    here = recorded["machine"]
    gpu = f", {here['gpu']}" if "gpu" in here else ""
    return f"{here['cpu']}, {here['cores']} cores, {here['memory_gb']} GB{gpu}, torch {recorded['versions']['torch']}"


def write_readme(root: Path) -> bool:
    """Put the table between README's markers; returns whether the file changed. Raises CourseError without them."""
    path = root / "README.md"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise CourseError(f"README.md has no {START} … {END}: put these two lines where the table belongs")
    new = f"{before}{START}\n{readme_table(root)}\n{END}{after}"
    if new != text:
        write_text(new, path)
    return new != text
