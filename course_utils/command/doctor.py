"""`course doctor`: is everything here that the lessons need, and what to do where it is not."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from course_utils.data.download import Dataset

OK, WARNING, BROKEN = "ok", "warning", "broken"
INSTALL = "run `make lab`, or `python -m pip install -e '.[lab]'` in the repository"
FREE_GB = 2.0
EXTRAS = ("run", "lab")  # what a student's environment should hold; a missing one is a warning


@dataclass(frozen=True)
class Finding:
    """One line of the report. `state` is "ok", "warning" or "broken"; `remedy` says what to do about it."""

    topic: str
    state: str
    text: str
    remedy: str = ""


def examine(root: Path | None) -> list[Finding]:
    """All findings. A check that itself fails is a finding too. Without the repository some checks cannot be made."""
    checks: list[Callable[[Path], Iterator[Finding]]]
    checks = [
        check_python,
        check_packages,
        check_device,
        check_kernel,
        check_notebooks,
        check_address,
        check_data,
        check_disk,
        check_grading,
    ]
    findings: list[Finding] = []
    if root is None:
        checks = [check_device, check_kernel, check_data, check_disk]
        text = "this is not the course's repository: python, packages and notebooks are not checked"
        findings.append(Finding("repository", WARNING, text, "change to the folder that you cloned and try again"))
    for check in checks:
        try:
            findings += check(root or Path.cwd())
        except Exception as error:
            topic = check.__name__.removeprefix("check_")
            findings.append(Finding(topic, BROKEN, f"cannot be examined: {type(error).__name__}: {error}", INSTALL))
    return findings


def check_python(root: Path) -> Iterator[Finding]:
    """The interpreter's version against pyproject's `requires-python`."""
    from packaging.specifiers import SpecifierSet

    wanted, here = _project(root).get("requires-python", ""), platform.python_version()
    good = SpecifierSet(wanted).contains(here, prereleases=True)
    remedy = "" if good else f"install Python {wanted}, remove .venv and run `make lab` again"
    yield Finding("python", OK if good else BROKEN, f"{here} at {sys.prefix} (wanted: {wanted})", remedy)


def check_packages(root: Path) -> Iterator[Finding]:
    """Every package of pyproject against its lower bound; those of the extras only cost warnings."""
    project = _project(root)
    yield from _requirements("packages", project.get("dependencies", []), BROKEN)
    optional = project.get("optional-dependencies", {})
    for extra in EXTRAS:
        wanted = [line for line in optional.get(extra, []) if not line.startswith(project["name"])]
        yield from _requirements(f"extra [{extra}]", wanted, WARNING)


def _requirements(topic: str, lines: list[str], severity: str) -> Iterator[Finding]:
    from importlib.metadata import PackageNotFoundError, version

    from packaging.requirements import Requirement

    good = []
    for requirement in map(Requirement, lines):
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            here = version(requirement.name)
        except PackageNotFoundError:
            yield Finding(topic, severity, f"{requirement.name} is not installed", INSTALL)
            continue
        if requirement.specifier.contains(here, prereleases=True):
            good.append(f"{requirement.name} {here.split('+')[0]}")
        else:
            yield Finding(topic, severity, f"{requirement.name} {here} is too old: {requirement.specifier}", INSTALL)
    if good:
        yield Finding(topic, OK, ", ".join(good))


def check_device(root: Path) -> Iterator[Finding]:
    """What lessons compute on, and whether a matrix product there gives the right answer."""
    import torch

    from course_utils import runtime

    device = runtime.pick_device()
    precision = "bf16" if runtime.multiplies_bf16_fast(device) else "fp32"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    product = (torch.eye(3, device=device) @ torch.ones(3, 2, device=device)).sum().item()
    if product != 6.0:
        yield Finding("device", BROKEN, f"{device} multiplies wrongly", "set COURSE_DEVICE=cpu, update the driver")
        return
    yield Finding("device", OK, f"{device.type} ({name}), matrix products in {precision}, torch {torch.__version__}")
    if device.type == "cpu" and shutil.which("nvidia-smi"):
        remedy = "install a torch built for this driver: see pytorch.org/get-started"
        yield Finding("device", WARNING, "there is an NVIDIA driver, but torch finds no GPU that it can use", remedy)


def check_kernel(root: Path) -> Iterator[Finding]:
    """The Jupyter kernel `python3`: present, and started by this very interpreter."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    remedy = "run `python -m ipykernel install --sys-prefix --name python3` in this environment"
    try:
        spec = KernelSpecManager().get_kernel_spec("python3")
    except NoSuchKernel:
        yield Finding("kernel", BROKEN, "there is no Jupyter kernel called python3", remedy)
        return
    program = shutil.which(spec.argv[0]) or spec.argv[0]
    if not Path(program).exists():
        yield Finding("kernel", BROKEN, f"the kernel python3 starts {program}, which is not there", remedy)
    elif "/" in spec.argv[0] and not _same_environment(Path(program)):
        yield Finding("kernel", WARNING, f"the kernel python3 starts {program}, not this environment", remedy)
    else:
        yield Finding("kernel", OK, f"python3 ({spec.display_name})")


def _same_environment(program: Path) -> bool:
    return program.parent.resolve() == Path(sys.executable).parent.resolve()


def check_notebooks(root: Path) -> Iterator[Finding]:
    """The lessons: there, and readable."""
    from course_utils.errors import CourseError
    from course_utils.notebooks.find import lessons
    from course_utils.notebooks.ipynb import read

    there = lessons(root)
    if not there:
        yield Finding("notebooks", BROKEN, f"no lessons in {root / 'notebooks'}", "clone the repository again")
    for lesson in there:
        try:
            read(lesson.path)
        except CourseError as error:
            yield Finding("notebooks", BROKEN, str(error), f"get it back: git checkout -- notebooks/{lesson.path.name}")
    if there:
        yield Finding("notebooks", OK, f"{len(there)} lessons: {', '.join(lesson.number for lesson in there)}")


def check_address(root: Path) -> Iterator[Finding]:
    """Whether the lessons' badges and first cells lead to a repository that somebody has published."""
    from course_utils.notebooks.colab import published

    place = published(root)
    if place is None:
        text = "this copy is published nowhere: Colab's badges, and the first cells there, lead to OWNER/NAME"
        yield Finding("address", WARNING, text, "once it is published: `course colab --repository OWNER/NAME`")
    else:
        yield Finding("address", OK, "{} at {}".format(*place))


def check_data(root: Path) -> Iterator[Finding]:
    """Each data set: where it lies, or that the stand-in will be used."""
    for dataset in data_sets():
        place, faults = locate(dataset)
        if place is not None:
            yield Finding("data", OK, f"{dataset.name} in {place}")
            continue
        text = f"{dataset.name} is not here; lessons fetch it, or use their stand-in when offline"
        if damaged := [fault for fault in faults if "is missing" not in fault]:
            text = f"{dataset.name}: {damaged[0]}"
        yield Finding("data", WARNING, text, "run `course data fetch`, or point COURSE_DATA at a directory that has it")


def check_disk(root: Path) -> Iterator[Finding]:
    """Room for data and checkpoints, in a directory that can be written."""
    from course_utils.conventions import cache_dir

    try:
        cache = cache_dir()
    except OSError as error:
        problem, _, remedy = str(error).partition(". ")
        yield Finding("disk", WARNING, f"{problem}: lessons keep neither data nor checkpoints", remedy.rstrip("."))
        return
    free = shutil.disk_usage(cache).free / 1e9
    remedy = "" if free >= FREE_GB else f"free {FREE_GB:g} GB, or set COURSE_CACHE to a directory on another disk"
    yield Finding("disk", OK if free >= FREE_GB else WARNING, f"{free:.1f} GB free for {cache}", remedy)
    if os.environ.get("COURSE_DATA") and not Path(os.environ["COURSE_DATA"]).expanduser().is_dir():
        text = f"COURSE_DATA is {os.environ['COURSE_DATA']}, which is not a directory"
        yield Finding("data", WARNING, text, "unset it, or point it at the directory that holds the data")


def check_grading(root: Path) -> Iterator[Finding]:
    """Whether a box can be made, and holds against what is tried to get out of it. Only teachers need one."""
    if sys.platform != "linux":
        yield Finding("grading", OK, "only teachers need it, and it needs Linux")
        return
    missing = [name for name in ("distributed", "pyseccomp", "safetensors") if find_spec(name) is None]
    if missing:
        yield Finding(
            "grading", OK, f"not installed ({', '.join(missing)}); only teachers need it: the extra `grading`"
        )
        return
    from course_utils.grading.sandbox import tightness
    from course_utils.grading.sandbox.mounts import NoBox

    try:
        for tried in tightness.examine():
            remedy = "" if tried.holds else "grade on another machine; `docs/grading.md` says what it needs"
            yield Finding(f"box, {tried.name}", OK if tried.holds else WARNING, tried.text, remedy)
        tightness.try_runner()
        yield Finding("box, runner", OK, "the grader's own program answers in it")
        why_not = tightness.why_not_forked()
        text = (
            f"every box starts anew, which takes about four times as long: {why_not}" if why_not else "boxes are forked"
        )
        yield Finding("box, speed", OK, text)
    except NoBox as error:
        yield Finding("grading", WARNING, f"nothing can be graded here: {error}", "see docs/grading.md")


def _project(root: Path) -> dict[str, Any]:
    import tomllib

    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


# --- data sets, for `course data` as well -----------------------------------------------------------------------


def data_sets() -> list[Dataset]:
    """Every data set that the course can download."""
    from course_utils.data import download

    return [value for value in vars(download).values() if isinstance(value, download.Dataset)]


def locate(dataset: Dataset) -> tuple[Path | None, list[str]]:
    """The directory that holds a complete, undamaged copy (None if there is none), and what is wrong elsewhere."""
    from course_utils.data import download

    faults = []
    for place in download.places():
        wrong = [
            f"{place / file.path} {fault}"
            for file in dataset.files
            if (fault := download.find_fault(place / file.path, file))
        ]
        if not wrong:
            return place, []
        faults += wrong
    return None, faults


def as_json(findings: list[Finding]) -> str:
    """The findings for programs."""
    return json.dumps([vars(finding) for finding in findings], indent=1)
