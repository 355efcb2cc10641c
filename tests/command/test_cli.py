"""The `course` command: what it prints, what it writes, and its exit codes. Lessons are small and import no torch."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from typer.testing import CliRunner, Result

from course_utils.command import doctor, tables
from course_utils.command.cli import app
from course_utils.data import download
from course_utils.notebooks import find, ipynb, normalise
from course_utils.notebooks.find import Lesson
from course_utils.running import runner
from course_utils.running.runs import Options, Run

PROJECT = '[project]\nname = "generative-networks-course"\nrequires-python = ">=3.11"\ndependencies = ["rich>=13"]\n'
PROJECT += '[project.urls]\nrepository = "https://github.com/OWNER/NAME"\n'
SESSION = """
from IPython.display import display
session = {"profile": "cpu" if PROFILE == "auto" else PROFILE, "device": "cpu", "seed": 0}
display({"text/plain": "session", "application/vnd.course.session+json": session}, raw=True)
"""
REPORT = """
result = {"name": "loss [nats]", "value": 0.5, "unit": "nats", "goal": "<= 1", "met": True, "seed": 0, "data": []}
display({"text/plain": "loss", "application/vnd.course.report+json": result}, raw=True)
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two small lessons, and the working directory in it."""
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    write_lesson(tmp_path, "00_zero.ipynb", [SESSION, REPORT, "print('done')"])
    write_lesson(tmp_path, "01_one.ipynb", ["1 / 0"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COURSE_PROFILE", raising=False)
    return tmp_path


def write_lesson(root: Path, name: str, cells: list[str]) -> Path:
    notebook = new_notebook(
        cells=[new_markdown_cell(f"# Lesson {name.partition('_')[0]}"), new_code_cell('PROFILE = "auto"')]
    )
    notebook.cells[1].metadata["tags"] = ["parameters"]
    notebook.cells += [new_code_cell(source) for source in cells]
    ipynb.write(notebook, root / "notebooks" / name)
    return root / "notebooks" / name


def course(*arguments: str) -> Result:
    """Run the command line as a user would, with lines that are not wrapped."""
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference for every exercise, which doubles, without importing the engine (and torch)."""
    define = types.ModuleType("course_utils.exercises.catalogue")
    define.definition = lambda name: types.SimpleNamespace(source=lambda: f"def {name}(x):\n    return 2 * x\n")  # type: ignore
    monkeypatch.setitem(sys.modules, "course_utils.exercises", types.ModuleType("course_utils.exercises"))
    monkeypatch.setitem(sys.modules, "course_utils.exercises.catalogue", define)


@pytest.fixture
def outcome_of_runs(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`outcome_of_runs(reasons=…, met=…, real=…)` makes every run end like that, without running anything."""

    def arrange(reasons: list[str] | None = None, met: bool | None = True, real: bool = True) -> None:
        def run_lessons(lessons: list[Lesson], options: Options, console: object) -> list[Run]:
            data = [{"name": "MNIST", "source": "MNIST" if real else "stand-in: glyphs", "real": real}]
            report = {
                "name": "loss",
                "value": 2.0,
                "unit": "",
                "goal": "<= 1",
                "met": met,
                "data": data,
                "why": "smoke",
            }
            return [
                Run(
                    lesson,
                    "failed" if reasons else "passed",
                    reasons=reasons or [],
                    reports=[report],
                    session={"profile": "cpu", "device": "cpu"},
                    executed=lesson.path,
                )
                for lesson in lessons
            ]

        monkeypatch.setattr(runner, "run_lessons", run_lessons)

    return arrange


# --- help and errors --------------------------------------------------------------------------------------------


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from course_utils.command.cli import app; app(['--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'papermill', 'nbformat', 'matplotlib', 'numpy', 'ipywidgets', 'pooch'}\n"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or 0)"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 5  # 0.5 s on a quiet machine


def test_the_version_is_told() -> None:
    result = course("--version")
    assert result.exit_code == 0
    assert re.fullmatch(r"course \d+\.\d+\.\d+( \(.+\))?", result.output.strip()), result.output


@pytest.mark.parametrize(
    "command", ["run", "refresh", "solve", "copy", "results", "doctor", "colab", "data", "data fetch", "data verify"]
)
def test_every_command_explains_itself(command: str) -> None:
    result = course(*command.split(), "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output


@pytest.mark.parametrize("command", [["run", "7"], ["refresh", "7"], ["solve", "7"], ["copy", "7"]])
def test_an_unknown_lesson_is_an_error_that_lists_the_lessons(command: list[str], root: Path) -> None:
    result = course(*command)
    assert result.exit_code == 2
    assert "no lesson '7'. There are: 00 zero; 01 one" in result.output
    assert "Traceback" not in result.output


# --- run --------------------------------------------------------------------------------------------------------


def test_run_executes_records_and_leaves_the_notebook_alone(root: Path) -> None:
    before = (root / "notebooks" / "00_zero.ipynb").read_bytes()
    result = course("run", "0", "--record")
    assert result.exit_code == 0, result.output
    assert "00  running" in result.output and "00  passed  4/4 cells" in result.output
    assert "loss [nats]" in result.output and "✔ met" in result.output
    assert (root / "notebooks" / "00_zero.ipynb").read_bytes() == before
    page = (root / "out" / "index.html").read_text()
    assert 'href="00_zero.html">00 · Lesson 00' in page
    assert "done" in (root / "out" / "00_zero.html").read_text()
    (recorded,) = json.loads((root / "results" / "cpu-cpu.json").read_text())["results"]
    assert (recorded["lesson"], recorded["name"], recorded["value"], recorded["commit"]) == (
        "00",
        "loss [nats]",
        0.5,
        None,
    )
    assert recorded["seconds"] > 0 and recorded["peak_gb"] > 0


def test_a_failed_lesson_gives_exit_code_1_and_the_reason(root: Path, outcome_of_runs: Callable[..., None]) -> None:
    outcome_of_runs(reasons=["code cell 3 raised ValueError: [bold]no[/]"])
    result = course("run", "1")
    assert result.exit_code == 1
    assert "01_one.ipynb failed" in result.output
    assert "code cell 3 raised ValueError: [bold]no[/]" in result.output


def test_an_interrupt_ends_the_run_and_its_kernels(root: Path) -> None:
    write_lesson(root, "01_one.ipynb", ["open('started', 'w').close()\nwhile True: pass"])
    command = [sys.executable, "-m", "course_utils", "run", "1"]
    process = subprocess.Popen(command, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    try:
        deadline = time.monotonic() + 60
        while not (root / "notebooks" / "started").exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 2  # the worker and its kernel
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        _, alive = psutil.wait_procs(family, timeout=5)
        assert alive == []
    finally:
        process.kill()


def test_a_missed_goal_is_shown_and_fails_only_with_strict(root: Path, outcome_of_runs: Callable[..., None]) -> None:
    outcome_of_runs(met=False)
    result = course("run", "0")
    assert result.exit_code == 0
    assert "✘ missed" in result.output and "1 missed" in result.output
    assert course("run", "0", "--strict").exit_code == 1


def test_a_goal_that_was_not_judged_says_why(root: Path, outcome_of_runs: Callable[..., None]) -> None:
    outcome_of_runs(met=None)
    result = course("run", "0", "--strict")
    assert result.exit_code == 0
    assert "not judged (smoke)" in result.output


@pytest.mark.parametrize("arguments", [["--profile", "smoke"], ["--solved"]])
def test_record_refuses_before_running_what_measures_nothing(arguments: list[str], root: Path) -> None:
    result = course("run", "0", "--record", *arguments)
    assert result.exit_code == 2
    assert "--record refuses this run" in result.output


def test_record_refuses_smoke_from_the_environment(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_PROFILE", "smoke")
    assert "profile smoke measures nothing" in course("run", "0", "--record").output


def test_record_refuses_stand_in_data(root: Path, outcome_of_runs: Callable[..., None]) -> None:
    outcome_of_runs(real=False)
    result = course("run", "0", "--record")
    assert result.exit_code == 1
    assert "it ran on stand-in: glyphs" in result.output
    assert not (root / "results").exists()


def test_a_commit_with_changes_is_marked(root: Path, outcome_of_runs: Callable[..., None]) -> None:
    def git(*arguments: str) -> str:
        options = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *options, *arguments], cwd=root, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def recorded() -> str:
        assert course("run", "0", "--record").exit_code == 0
        return json.loads((root / "results" / "cpu-cpu.json").read_text())["results"][0]["commit"]

    outcome_of_runs()
    git("init", "-q")
    assert recorded() is None
    git("add", ".")
    git("commit", "-qm", "first")
    head = git("rev-parse", "--short", "HEAD")
    assert recorded() == head
    write_lesson(root, "00_zero.ipynb", ["2"])
    assert recorded() == head + "+changes"


def test_outputs_go_to_the_repository_and_messages_follow_the_working_directory(
    root: Path, monkeypatch: pytest.MonkeyPatch, outcome_of_runs: Callable[..., None]
) -> None:
    outcome_of_runs()
    assert "see out/index.html" in course("run", "0").output
    (root / "elsewhere").mkdir()
    monkeypatch.chdir(root / "elsewhere")
    assert f"see {root / 'out' / 'index.html'}" in course("run", "0").output
    assert "see mine/index.html" in course("run", "0", "--out", "mine").output
    assert f"Your copy is {root / 'work' / '00_zero.ipynb'}" in course("copy", "0").output


def test_a_profile_from_the_environment_counts_as_if_it_were_given(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[str] = []
    monkeypatch.setattr(runner, "run_lessons", lambda lessons, options, console: used.append(options.profile) or [])
    for value in ("", "auto", "gpu"):
        monkeypatch.setenv("COURSE_PROFILE", value)
        assert course("run", "0").exit_code == 0
    assert used == ["cpu", "cpu", "gpu"]
    monkeypatch.setenv("COURSE_PROFILE", "huge")
    result = course("run", "0")
    assert (result.exit_code, "COURSE_PROFILE is 'huge'" in result.output) == (2, True)


@pytest.fixture
def outside(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of somebody who installed the package and has no repository."""
    directory = tmp_path_factory.mktemp("outside")
    monkeypatch.chdir(directory)
    monkeypatch.setattr(find, "checkout", lambda: None)
    return directory


def test_without_the_repository_a_notebook_is_run_by_its_path(
    outside: Path, outcome_of_runs: Callable[..., None]
) -> None:
    outcome_of_runs()
    write_lesson(outside, "mine.ipynb", ["1"])
    result = course("run", "notebooks/mine.ipynb")
    assert result.exit_code == 0, result.output
    assert "1 of 1 lessons passed" in result.output and "see out/index.html" in result.output
    for arguments in (["notebooks/mine.ipynb", "--record"], ["1"], []):
        result = course("run", *arguments)
        assert (result.exit_code, "not inside the course's repository" in result.output) == (2, True)


def test_without_the_repository_the_doctor_examines_the_rest(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("check_device", "check_kernel", "check_data", "check_disk"):
        monkeypatch.setattr(doctor, name, lambda root: iter([doctor.Finding("x", "ok", "fine")]))
    result = course("doctor", "--json")
    assert result.exit_code == 0
    assert [item["topic"] for item in json.loads(result.output)] == ["repository", "x", "x", "x", "x"]


def test_record_refuses_a_notebook_that_is_no_lesson(root: Path, outcome_of_runs: Callable[..., None]) -> None:
    outcome_of_runs()
    result = course("run", str(write_lesson(root, "mine.ipynb", ["1"])), "--record")
    assert result.exit_code == 1
    assert "mine is not recorded: it is not a lesson of the course" in result.output
    assert not (root / "results").exists()


# --- refresh ----------------------------------------------------------------------------------------------------


def test_refresh_writes_a_normalised_notebook_with_its_outputs_and_hash(root: Path) -> None:
    result = course("refresh", "0", "--record")
    assert result.exit_code == 0, result.output
    (recorded,) = json.loads((root / "results" / "cpu-cpu.json").read_text())["results"]
    assert recorded["lesson"] == "00"
    notebook = ipynb.read(root / "notebooks" / "00_zero.ipynb")
    assert normalise.is_normalised(notebook) == []
    assert notebook.cells[-1].outputs[0].text == "done\n"
    assert notebook.cells[2].outputs[0].data["application/vnd.course.session+json"]["profile"] == "cpu"
    assert [cell.source for cell in notebook.cells[1:3]] == ['PROFILE = "auto"', SESSION]


def refreshed_badly(root: Path, name: str) -> str:
    """What `course refresh` says about a notebook that it must not write; checks that it did not, nor recorded."""
    path = root / "notebooks" / name
    before = path.read_bytes()
    result = course("refresh", name.partition("_")[0], "--record")
    assert result.exit_code == 1
    assert not (root / "results").exists()
    assert "is left as it was" in result.output
    assert path.read_bytes() == before
    return result.output


def test_refresh_leaves_a_notebook_whose_run_fails(root: Path, outcome_of_runs: Callable[..., None]) -> None:
    outcome_of_runs(reasons=["code cell 2 raised ZeroDivisionError"])
    assert "ZeroDivisionError" in refreshed_badly(root, "01_one.ipynb")


def test_refresh_refuses_stand_in_data(root: Path, outcome_of_runs: Callable[..., None]) -> None:
    outcome_of_runs(real=False)
    assert "it ran on stand-in: glyphs" in refreshed_badly(root, "00_zero.ipynb")


def test_refresh_refuses_outputs_with_a_path_of_this_machine(root: Path, outcome_of_runs: Callable[..., None]) -> None:
    path = root / "notebooks" / "00_zero.ipynb"
    notebook = ipynb.read(path)
    for cell in ipynb.code_cells(notebook):
        cell.execution_count = 1
    printed = {"output_type": "stream", "name": "stdout", "text": f"saved in {root}/x\n"}
    notebook.cells[-1].outputs = [type(notebook)(printed)]
    ipynb.write(notebook, path)
    outcome_of_runs()
    assert "shows a path of this machine" in refreshed_badly(root, "00_zero.ipynb")


def test_refresh_does_not_overwrite_what_was_edited_meanwhile(
    root: Path, monkeypatch: pytest.MonkeyPatch, outcome_of_runs: Callable[..., None]
) -> None:
    outcome_of_runs()
    instant, path = runner.run_lessons, root / "notebooks" / "00_zero.ipynb"

    def edit_while_running(*arguments: Any) -> list[Run]:
        path.write_text(path.read_text().replace("done", "edited"))
        return instant(*arguments)

    monkeypatch.setattr(runner, "run_lessons", edit_while_running)
    result = course("refresh", "0")
    assert result.exit_code == 1
    assert "the file changed while it ran" in result.output
    assert "edited" in path.read_text()


# --- detours ----------------------------------------------------------------------------------------------------


def test_a_detour_is_run_recorded_and_refreshed_like_a_lesson(root: Path) -> None:
    path = write_lesson(root, "00a_detour.ipynb", [SESSION, REPORT])
    result = course("refresh", "0a", "--record")
    assert result.exit_code == 0, result.output
    assert "✔ 00a_detour.ipynb refreshed" in result.output
    assert normalise.is_normalised(ipynb.read(path)) == []
    result = course("run", "00a", "0", "--record", "--no-html")
    assert result.exit_code == 0, result.output
    assert "00a  passed  3/3 cells" in result.output and "00  passed  4/4 cells" in result.output
    assert 'href="00a_detour.ipynb">00a · Lesson 00a' in (root / "out" / "index.html").read_text()
    recorded = json.loads((root / "results" / "cpu-cpu.json").read_text())["results"]
    assert [entry["lesson"] for entry in recorded] == ["00", "00a"]


def test_all_lessons_are_run_each_with_its_detours_behind_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lesson(root, "00a_detour.ipynb", ["1"])
    numbers: list[str] = []
    monkeypatch.setattr(runner, "run_lessons", lambda lessons, *_: numbers.extend(x.number for x in lessons) or [])
    course("run")
    assert numbers == ["00", "00a", "01"]


def test_a_detour_is_solved_and_copied_under_its_own_name(root: Path, reference: None) -> None:
    write_lesson(root, "00a_detour.ipynb", ["@exercise\ndef step(x):\n    raise NotImplementedError"])
    assert "step solved in work/00a_detour.solved.ipynb" in course("solve", "0a").output
    assert "return 2 * x" in (root / "work" / "00a_detour.solved.ipynb").read_text()
    assert "Your copy is work/00a_detour.ipynb" in course("copy", "00a").output


# --- solve, copy, colab, results --------------------------------------------------------------------------------


def test_solve_writes_a_notebook_and_does_not_overwrite_somebodys_own(root: Path, reference: None) -> None:
    write_lesson(root, "02_two.ipynb", ["@exercise\ndef step(x):\n    raise NotImplementedError"])
    assert course("solve", "2").exit_code == 0
    result = course("solve", "2")  # its own work may be written again
    assert result.exit_code == 0, result.output
    assert "return 2 * x" in (root / "work" / "02_two.solved.ipynb").read_text()
    assert "step solved in" in result.output
    result = course("solve", "2", "--out", "notebooks/00_zero.ipynb")
    assert result.exit_code == 2
    assert "was not made by `course solve`" in result.output
    result = course("solve", "2", "--out", "notebooks")
    assert result.exit_code == 2
    assert "is a directory" in result.output


def test_a_file_that_cannot_be_written_is_one_line(root: Path) -> None:
    (root / "work").write_text("a file where the directory belongs")
    result = course("copy", "0")
    assert result.exit_code == 2
    assert result.output.strip() == f"Error: {root / 'work'}: File exists"


def test_copy_says_where_the_copy_is_and_keeps_an_older_one(root: Path) -> None:
    assert "Your copy is work/00_zero.ipynb" in course("copy", "0").output
    result = course("copy", "00")
    assert "work/00_zero.ipynb exists and stays as it is" in result.output
    assert "work/00_zero-2.ipynb" in result.output


def test_copy_of_all_names_what_it_made_and_what_has_changed_since(root: Path) -> None:
    write_lesson(root, "00_zero.ipynb", ["x = 1"])
    assert "work/00_zero.ipynb: new" in course("copy").output
    assert course("copy").output == ""
    for place, source in (("work", "x = 'mine'"), ("notebooks", "x = 2")):
        notebook = ipynb.read(root / place / "00_zero.ipynb")
        notebook.cells[-1].source = source
        if place == "notebooks":
            notebook.metadata["course"] = {"source_hash": normalise.source_hash(notebook)}
        ipynb.write(notebook, root / place / "00_zero.ipynb")
    told = course("copy").output
    assert "00_zero.ipynb has changed since your copy: `course copy 00` puts the new one beside yours." in told
    assert "x = 'mine'" in ipynb.read(root / "work" / "00_zero.ipynb").cells[-1].source


def test_colab_needs_an_owner_and_a_name(root: Path) -> None:
    result = course("colab", "--repository", "jane/gans", "--ref", "v1")
    assert result.exit_code == 0
    assert "files now point at jane/gans@v1" in result.output
    assert course("colab", "--repository", "jane").exit_code == 2


def test_results_writes_the_tables_or_says_what_is_missing(
    root: Path, outcome_of_runs: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "HEADLINES", (("00", "loss"),))
    (root / "README.md").write_text("# A\n<!-- results -->\n<!-- /results -->\n")
    result = course("results")
    assert (result.exit_code, "'loss' of lesson 00 is not among the results" in result.output) == (2, True)
    outcome_of_runs(met=False)
    course("run", "0", "--record")
    result = course("results")
    assert result.exit_code == 0
    assert "README.md is new" in result.output and "results/README.md is new" in result.output
    assert "| loss | cpu-cpu | 2 | ✘ <= 1 missed |" in (root / "README.md").read_text()
    assert "| cpu-cpu | loss | 2 | ✘ <= 1 missed |" in (root / "results" / "README.md").read_text()
    assert "up to date" in course("results").output
    (root / "README.md").write_text("# A\n")
    assert "put these two lines" in course("results").output


# --- doctor and data --------------------------------------------------------------------------------------------


def findings(check: Callable[[Path], Any], root: Path) -> dict[str, doctor.Finding]:
    return {finding.state: finding for finding in check(root)}


def test_the_doctor_finds_packages_that_are_missing_or_too_old(root: Path) -> None:
    (root / "pyproject.toml").write_text(
        '[project]\nname = "a"\ndependencies = ["rich>=13", "typer>=99", "nowhere>=1"]\n'
    )
    found = list(doctor.check_packages(root))
    texts = {finding.text: finding.state for finding in found}
    assert "nowhere is not installed" in texts
    assert any("typer" in text and "too old: >=99" in text for text, state in texts.items() if state == "broken")
    assert any(text.startswith("rich") for text, state in texts.items() if state == "ok")
    assert all(finding.remedy for finding in found if finding.state != "ok")


def test_the_doctor_says_in_words_that_nothing_can_be_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    (found,) = doctor.check_disk(root)
    assert found.state == doctor.WARNING and "Errno" not in found.text
    assert found.text.startswith("the course cannot write to ") and found.text.endswith("neither data nor checkpoints")
    assert found.remedy == "Set COURSE_CACHE to a directory that can be written"


def test_the_doctor_finds_an_old_python(root: Path) -> None:
    assert set(findings(doctor.check_python, root)) == {"ok"}
    (root / "pyproject.toml").write_text('[project]\nname = "a"\nrequires-python = ">=4"\n')
    assert "install Python >=4" in findings(doctor.check_python, root)["broken"].remedy


def test_the_doctor_finds_a_missing_or_foreign_kernel(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jupyter_client import kernelspec

    assert set(findings(doctor.check_kernel, root)) == {"ok"}

    def spec(program: str) -> None:
        made = kernelspec.KernelSpec(argv=[program], display_name="Python 3")
        monkeypatch.setattr(kernelspec.KernelSpecManager, "get_kernel_spec", lambda self, name: made)

    spec("/nowhere/python")
    assert "is not there" in findings(doctor.check_kernel, root)["broken"].text
    spec("/bin/sh")
    assert "not this environment" in findings(doctor.check_kernel, root)["warning"].text

    def missing(self: object, name: str) -> None:
        raise kernelspec.NoSuchKernel(name)

    monkeypatch.setattr(kernelspec.KernelSpecManager, "get_kernel_spec", missing)
    assert "ipykernel install" in findings(doctor.check_kernel, root)["broken"].remedy


def test_the_doctor_names_a_notebook_that_cannot_be_read(root: Path) -> None:
    (root / "notebooks" / "01_one.ipynb").write_text("<<<<<<< HEAD")
    assert "git checkout" in findings(doctor.check_notebooks, root)["broken"].remedy


def test_a_check_that_fails_is_a_finding(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check_device(root: Path) -> Any:
        raise OSError("libcuda is missing")

    for name in ("check_device", "check_data", "check_disk"):
        monkeypatch.setattr(doctor, name, check_device)
    result = course("doctor")
    assert result.exit_code == 1
    assert "✘ device: cannot be examined: OSError: libcuda is missing" in result.output
    assert "→" in result.output


def test_the_doctor_says_how_the_address_is_set(root: Path) -> None:
    assert findings(doctor.check_address, root)["warning"].remedy.endswith("`course colab --repository OWNER/NAME`")
    assert course("colab", "--repository", "jane/gans", "--ref", "v1").exit_code == 0
    assert findings(doctor.check_address, root)["ok"].text == "jane/gans at v1"


def test_the_doctor_is_content_when_all_is_well(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert course("colab", "--repository", "jane/gans").exit_code == 0
    for name in ("check_device", "check_data", "check_disk"):
        monkeypatch.setattr(doctor, name, lambda root: iter([doctor.Finding("x", "ok", "fine")]))
    result = course("doctor")
    assert (result.exit_code, "Everything is in order." in result.output) == (0, True)
    assert {item["state"] for item in json.loads(course("doctor", "--json").output)} == {"ok"}


@pytest.fixture
def data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One small data set, whose only file lies in $COURSE_DATA; returns that file. No mirror is ever asked."""
    import hashlib

    given = tmp_path / "given"
    given.mkdir()
    (given / "letters.txt").write_text("abc")
    file = download.File("letters.txt", 3, hashlib.sha256(b"abc").hexdigest())
    monkeypatch.setattr(doctor, "data_sets", lambda: [download.Dataset("letters", ("http://127.0.0.1:1/",), (file,))])
    monkeypatch.setenv("COURSE_DATA", str(given))
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    return given / "letters.txt"


def test_data_list_and_verify_say_where_a_set_lies(root: Path, data_set: Path) -> None:
    listed = course("data", "list").output
    assert f"in {data_set.parent}" in listed and "\nemoji: " in listed
    result = course("data", "verify")
    assert result.exit_code == 0
    assert "✔ letters: all files in" in result.output
    assert f"✔ letters is in {data_set.parent}" in course("data", "fetch").output


def test_data_verify_finds_damage_and_loss(root: Path, data_set: Path) -> None:
    data_set.write_text("abd")
    result = course("data", "verify")
    assert result.exit_code == 1
    assert "letters.txt has the wrong SHA-256" in result.output
    data_set.unlink()
    result = course("data", "verify")
    assert "is missing" in result.output and "course data fetch" in result.output


def test_data_fetch_says_why_it_cannot(root: Path, data_set: Path) -> None:
    data_set.unlink()
    result = course("data", "fetch")
    assert result.exit_code == 1
    assert "✘ letters: COURSE_OFFLINE is set" in result.output


def test_output_in_a_narrow_encoding_is_readable_and_keeps_the_exit_code(tmp_path: Path) -> None:
    """As on Windows, where a file or a pipe is written in cp1252."""
    command = [sys.executable, "-m", "course_utils", "data", "verify"]
    places = {name: str(tmp_path) for name in ("COURSE_DATA", "COURSE_CACHE")}
    environment = {**os.environ, **places, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    said = (done.stdout + done.stderr).decode("cp1252")
    assert "Traceback" not in said
    assert "is not here in full" in said or "are sound" in said
    assert done.returncode == int("is not here in full" in said)
