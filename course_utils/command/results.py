"""Measured results: recorded after a run, in `results/<profile>-<device>.json`."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from course_utils.errors import CourseError
from course_utils.files import write_text
from course_utils.notebooks.find import commit, lessons
from course_utils.running.runs import Run

PACKAGES = ("torch", "numpy", "matplotlib", "scikit-learn", "statsmodels", "ipywidgets")
ENTRY = {"lesson": str, "name": str, "value": float | int | None, "unit": str, "goal": str | None, "met": bool | None}
ENTRY |= {"seconds": float | int, "peak_gb": float | int}  # what tables show of a result
WHERE = {"machine": ("cpu", "cores", "memory_gb"), "versions": ("torch",)}  # … and of where it was measured


def refusal(run: Run, root: Path) -> str:
    """Why the results of a run must not be recorded, or "" where they may be."""
    if run.lesson.path.resolve() not in [lesson.path.resolve() for lesson in lessons(root)]:
        return "it is not a lesson of the course"
    if run.state == "failed":
        return "it failed"
    if not run.session:
        return "it shows no session (runtime.start), so profile and device are unknown"
    if run.session.get("profile") == "smoke":
        return "profile smoke measures nothing: run with --profile cpu, night or gpu"
    for report in run.reports:
        for source in report.get("data", []):
            if not source.get("real", True):
                return f"it ran on {source['source']}: fetch the real data with `course data fetch`"
    return ""


def record(runs: list[Run], root: Path, whole: bool = True) -> tuple[list[Path], list[str]]:
    """Merge the runs' results into one file a profile and device.

    Those of a `whole` lesson take the place of all that it had; else each takes the place of one with its name.
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
        merged = merge(load(path), here, entries, [run.lesson.number for run in group] if whole else [])
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
            "seconds": round(run.seconds or time.perf_counter() - run.began, 1),
            "peak_gb": round(run.peak_gb, 2),
            "seed": report.get("seed"),
            "data": sorted({source["source"] for source in report.get("data", [])}),
            "commit": now,
        } | _extras(run, report)


def _extras(run: Run, report: dict[str, Any]) -> dict[str, Any]:
    """What only some results have: the core-hours of a long training, and that the lesson has not come to its end."""
    spent = report.get("core_seconds")
    extras = {} if spent is None else {"core_hours": round(spent / 3600, 6)}
    return extras | ({"unfinished": True} if run.state == "running" else {})


def merge(
    old: dict[str, Any], here: dict[str, Any], entries: list[dict[str, Any]], replaced: list[str]
) -> dict[str, Any]:
    """`old` with `entries` in the place of all results of the lessons `replaced`, and of those with their names, by lesson.

    "machine" and "versions" describe the latest run; a kept result that comes from others carries its own.
    """
    kept, new = [], {(entry["lesson"], entry.get("name")) for entry in entries}
    for entry in old.get("results", []):
        if entry["lesson"] not in replaced and (entry["lesson"], entry.get("name")) not in new:
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
    if not isinstance(content, dict) or not isinstance(content.get("results"), list) or not _says_where(content):
        return False
    return all(
        isinstance(entry, dict)
        and all(isinstance(entry.get(key, ...), kind) for key, kind in ENTRY.items())
        and _says_where(content | entry)  # one from another machine or with other versions carries its own
        for entry in content["results"]
    )


def _says_where(measured: dict[str, Any]) -> bool:
    """Whether "machine" and "versions" hold what tables show of them."""
    return all(
        isinstance(measured.get(part), dict) and measured[part].keys() >= set(keys) for part, keys in WHERE.items()
    )


def machine(device: str = "cpu") -> dict[str, Any]:
    """Processor, cores, memory and accelerator of this machine; no name of it."""
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    told = {"cpu": cpu_model(), "cores": cores, "memory_gb": round(psutil.virtual_memory().total / 1e9)}
    if device == "cuda":
        import torch

        told["gpu"] = torch.cuda.get_device_name()
    return told


def cpu_model() -> str:
    """The processor's name, as far as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    match = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.M) if cpuinfo.exists() else None
    return match[1].strip() if match else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """The versions on which results depend."""
    from importlib.metadata import PackageNotFoundError, version

    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed
