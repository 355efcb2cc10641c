"""The command line: `course run`, `night`, `refresh`, `solve`, `copy`, `lab`, `grade`, `train-gpt`, `results`, `site`, `data`, `doctor`, `colab`.

This module only reads arguments and shows results; the work is in the modules beside it, and in
`running`, `notebooks` and `grading`. They are imported inside the commands, so that `course --help` is quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from course_utils.command.terminal import console, errors, profile_named, root_if_any, say, shown, user_errors
from course_utils.conventions import Precision, Profile, lesson_number
from course_utils.display import make_printable

if TYPE_CHECKING:
    from course_utils.running.runs import Options, Run

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="markdown",
)
data_app = typer.Typer(no_args_is_help=True, help="The data sets: `list` them, `verify` or `fetch` them.")
app.add_typer(data_app, name="data")


def _show_version(wanted: bool) -> None:
    if wanted:
        from course_utils.notebooks.find import version

        typer.echo(f"course {version()}")
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the course's version.")
    ] = False,
) -> None:
    """Run, study and maintain the course. Lessons are named by number: `course run 01`."""
    make_printable()


Lessons = Annotated[
    list[str] | None, typer.Argument(help="Lessons by number (01 or 1), or paths of notebooks. Default: all lessons.")
]
OneLesson = Annotated[str, typer.Argument(help="A lesson by number (01 or 1), or a notebook's path.")]
OutDir = Annotated[
    Path | None,
    typer.Option(
        help="Where executed notebooks, their HTML and index.html go. Default: out/ in the repository.", file_okay=False
    ),
]
Seconds = Annotated[int | None, typer.Option(min=1, help="Seconds that one cell may take. Default: by profile.")]


@app.command()
def run(
    lessons: Lessons = None,
    profile: Annotated[Profile, typer.Option(help="Sizes; auto means $COURSE_PROFILE, else cpu.")] = Profile.auto,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Lessons at a time.")] = 1,
    out: OutDir = None,
    record: Annotated[bool, typer.Option("--record", help="Merge results into results/PROFILE-DEVICE.json.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="A missed goal is a failure too.")] = False,
    solved: Annotated[
        bool, typer.Option("--solved", help="Run with every exercise solved; all must be right.")
    ] = False,
    timeout: Seconds = None,
    html: Annotated[bool, typer.Option(help="Save executed notebooks as HTML, too.")] = True,
) -> None:
    """Run lessons headless and show their results. Exit code 1 when a lesson fails.

    The notebooks themselves are not changed; `course refresh` does that. In profile night only what a lesson's headlines
    need is run; after an interruption the same command goes on where it was. `course night` tells how far it is.
    """
    from course_utils.errors import CourseError
    from course_utils.notebooks.find import find_root
    from course_utils.running.runs import Options

    with user_errors():
        named, size = lessons or [], profile_named(profile)
        only_paths = bool(named) and all(name.endswith(".ipynb") for name in named)
        root = root_if_any() if only_paths and not record else find_root()
        if record and (solved or size == "smoke"):
            why = "--solved runs another notebook" if solved else "profile smoke measures nothing"
            raise CourseError(f"--record refuses this run: {why}. Use --record with --profile cpu, night or gpu alone.")
        options = Options(size, jobs, out or (root or Path.cwd()) / "out", timeout, solved, html)
        runs = _run(named, root, options, record)
        failed = _show(runs, options)
        if record and root:
            failed |= _record(runs, root)
        if strict and any(run.missed for run in runs):
            say("--strict: missed goals count as failures.", "bold red")
            failed = True
    raise typer.Exit(1 if failed else 0)


def _run(named: list[str], root: Path | None, options: Options, record: bool) -> list[Run]:
    """Run these lessons, or all; in profile night those with headlines, each result recorded as it comes."""
    from course_utils.command.night import night_lessons, run_headlines
    from course_utils.notebooks.find import find_lessons, find_root
    from course_utils.running.runner import run_lessons

    if options.profile == "night":
        return run_headlines(night_lessons(named, find_root()), options, root if record else None)
    return run_lessons(find_lessons(named, root), options, console)


def _show(runs: list[Run], options: Options) -> bool:
    """Print results, failures and where everything lies; returns whether a lesson failed."""
    from course_utils.running.outcomes import results_table

    if any(run.reports for run in runs):
        console.print(results_table(runs))
    failures = [run for run in runs if run.state == "failed"]
    for run in failures:
        say(f"\n✘ {run.lesson.path.name} failed:", "bold red")
        for reason in run.reasons:
            say(f"  • {reason}")
    met = [report.get("met") for run in runs for report in run.reports if report.get("goal")]
    passed, seconds = len(runs) - len(failures), sum(run.seconds for run in runs)
    say(f"\n{passed} of {len(runs)} lessons passed in {seconds:.0f} s: see {shown(options.out / 'index.html')}")
    if met:
        say(f"Goals: {met.count(True)} met, {met.count(False)} missed, {met.count(None)} not judged.")
    return bool(failures)


def _record(runs: list[Run], root: Path, whole: bool = True) -> bool:
    """Record what may be recorded; returns whether a lesson that passed was refused."""
    from course_utils.command.results import record

    written, refused = record(runs, root, whole)
    for path in written:
        say(f"Recorded in {shown(path)}; `course results` puts it into the tables.")
    for sentence in refused:
        say(sentence, "bold red")
    return bool(refused)


@app.command()
def night(
    lessons: Lessons = None,
    gpu: Annotated[bool, typer.Option("--gpu", help="Run what is left on this machine's GPU, and record it.")] = False,
    out: OutDir = None,
) -> None:
    """Tell which headlines of the night (`course run NN --profile night --record`) are done, running, or left.

    With --gpu they are run at profile gpu instead, the quickest lesson first, and each result is recorded as it comes; the
    same command goes on after an interruption. Exit code 1 when a lesson fails.
    """
    from course_utils.command import night as nights
    from course_utils.notebooks.find import find_root
    from course_utils.running.runs import Options

    with user_errors():
        root = find_root()
        if not gpu:
            for line in nights.told(nights.headlines(nights.night_lessons(lessons or [], root), root)):
                say(line)
            return
        options = Options("gpu", out=out or root / "out", headlines=True)
        failed = False
        for lesson in nights.left_on_gpu(nights.night_lessons(lessons or [], root), root):
            runs = nights.run_headlines([lesson], options, root)
            failed |= _show(runs, options) | _record(runs, root, whole=False)
    raise typer.Exit(1 if failed else 0)


@app.command()
def refresh(
    lessons: Annotated[list[str], typer.Argument(help="The lessons to refresh, by number.")],
    stand_in: Annotated[bool, typer.Option("--stand-in", help="Accept outputs that come from stand-in data.")] = False,
    record: Annotated[bool, typer.Option("--record", help="Merge the results into results/cpu-DEVICE.json.")] = False,
    timeout: Seconds = None,
) -> None:
    """Run lessons at profile cpu and write their cleaned outputs back into the notebooks.

    A notebook is only written when its run succeeds and its outputs hold no path of this machine. With --record the
    recorded results are those that the notebook shows.
    """
    import tempfile

    from course_utils.notebooks.find import find_lessons, find_root
    from course_utils.running.runner import run_lessons
    from course_utils.running.runs import Options
    from course_utils.running.storing import write_back

    failed = False
    with user_errors(), tempfile.TemporaryDirectory() as directory:
        root = find_root()
        chosen, refreshed = find_lessons(lessons, root), []
        before = {lesson: lesson.path.read_bytes() for lesson in chosen}
        options = Options("cpu", out=Path(directory), timeout=timeout, html=False)
        for result in run_lessons(chosen, options, console):
            reasons = result.reasons or write_back(result, before[result.lesson], stand_in)
            failed |= bool(reasons)
            name = result.lesson.path.name
            say(
                f"✘ {name} is left as it was:" if reasons else f"✔ {name} refreshed", "bold red" if reasons else "green"
            )
            for reason in reasons:
                say(f"  • {reason}")
            refreshed += [] if reasons else [result]
        if record and refreshed:
            failed |= _record(refreshed, root)
    raise typer.Exit(1 if failed else 0)


@app.command()
def solve(
    lesson: OneLesson,
    out: Annotated[
        Path | None, typer.Option(help="Where to write it. Default: work/NN_topic.solved.ipynb.", dir_okay=False)
    ] = None,
) -> None:
    """Write a lesson with every exercise filled in with its reference solution."""
    from course_utils import errors
    from course_utils.notebooks import find, ipynb, solve

    with user_errors():
        root = find.find_root()
        chosen = find.find_lessons([lesson], root)[0]
        target = out or root / "work" / f"{chosen.path.stem}.solved.ipynb"
        if target.exists() and "solved" not in ipynb.read(target).metadata.get("course", {}):
            raise errors.CourseError(f"{target} exists and was not made by `course solve`: choose another --out")
        solved = solve.solve(ipynb.read(chosen.path))
        ipynb.write(solved, target)
        say(f"{', '.join(solved.metadata['course']['solved'])} solved in {shown(target)}")


@app.command()
def copy(
    lesson: Annotated[
        str | None, typer.Argument(help="A lesson by number. Default: all that have no copy yet.")
    ] = None,
) -> None:
    """Make working copies of lessons in `work/`, which git ignores: your answers survive the next `git pull`."""
    from course_utils.notebooks.copies import working_copy
    from course_utils.notebooks.find import find_lessons, find_root

    with user_errors():
        root = find_root()
        if lesson is None:
            _copy_all(root)
            return
        chosen = find_lessons([lesson], root)[0]
        target = working_copy(chosen, root)
        if target.name != chosen.path.name:
            say(f"{shown(target.with_name(chosen.path.name))} exists and stays as it is.")
        say(f"Your copy is {shown(target)}")


def _copy_all(root: Path) -> None:
    """See to it that every lesson has its copy, and tell what was done."""
    from course_utils.notebooks.copies import FOLDER, State, working_copies

    for lesson, state in working_copies(root):
        name = lesson.path.name
        if state is State.BEHIND:
            say(f"{name} has changed since your copy: `course copy {lesson.number}` puts the new one beside yours.")
        elif state is not State.KEPT:
            say(f"{FOLDER}/{name}: {state}")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def lab(context: typer.Context) -> None:
    """Open JupyterLab on your working copies, which are made where there are none; options of `jupyter lab` may follow.

    Long lines of code are wrapped there. That is a default of this command: your own settings hold, and stay as they are.
    """
    from course_utils.command.lab import launch
    from course_utils.notebooks.copies import FOLDER
    from course_utils.notebooks.find import find_root

    with user_errors():
        root = find_root()
        _copy_all(root)
        launch(root / FOLDER, context.args)


@app.command("train-gpt")
def train_gpt(
    profile: Annotated[Profile, typer.Option(help="The recipe; auto means $COURSE_PROFILE, else cpu.")] = Profile.auto,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that share each batch, on this machine: one for each GPU.")
    ] = 1,
    corpus: Annotated[Path | None, typer.Option(help="A text file (UTF-8) of your own. Default: Shakespeare.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps. Default: the recipe's.")] = None,
    out: Annotated[Path, typer.Option(help="Where curve, weights and checkpoint go.", file_okay=False)] = Path(
        "out/gpt"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Of the initial weights, the batches and the sample.")] = 0,
    precision: Annotated[
        Precision, typer.Option(help="auto: bf16 where the hardware multiplies it fast.")
    ] = Precision.auto,
    save_every: Annotated[float, typer.Option(min=0, help="Seconds between checkpoints.")] = 10.0,
) -> None:
    """Train detour 09a's GPT, on one process or several (DistributedDataParallel).

    A run that was interrupted goes on from its checkpoint when it is started again. On several machines, start it
    with torchrun: `torchrun --nnodes 2 --nproc-per-node 8 … -m course_utils train-gpt`.
    """
    from course_utils.command.train_gpt import Settings, launch

    with user_errors():
        settings = Settings(profile_named(profile), corpus, steps, out, seed, precision.value, save_every)
        launch(settings, processes)


@app.command()
def results() -> None:
    """Write what lessons store into README.md and results/README.md: results as tables, and README's pictures."""
    from course_utils.command.pictures import write_pictures
    from course_utils.command.tables import write_tables
    from course_utils.notebooks.find import find_root

    with user_errors():
        root = find_root()
        changed = [*write_tables(root), *write_pictures(root)]
        for path in changed:
            say(f"{path.relative_to(root)} is new.")
        if not changed:
            say("README.md, its pictures and results/README.md are up to date.")


@app.command()
def site(
    out: OutDir = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Build the course as static pages of the stored outputs: nothing is run, nothing is fetched. Default: out/site."""
    from course_utils.notebooks.find import find_root
    from course_utils.site.build import build

    with user_errors():
        root = find_root()
        built = build(root, (out or root / "out" / "site").resolve())
        say(f"{built.pages} pages, {built.megabytes:.1f} MB, in {built.seconds:.0f} s: see {shown(built.index)}")
        if show:
            typer.launch(built.index.as_uri())


@app.command()
def grade(
    submissions: Annotated[Path, typer.Argument(help="A folder of notebooks, or an LMS's zip.", metavar="SUBMISSIONS")],
    out: Annotated[Path, typer.Option(help="Where results, grade books and pages go.", file_okay=False)],
    lesson: Annotated[list[str] | None, typer.Option(help="A lesson by number; may be repeated.")] = None,
    exercise: Annotated[list[str] | None, typer.Option(help="A single exercise by name; may be repeated.")] = None,
    manifest: Annotated[Path | None, typer.Option(help="Who handed in what. Default: manifest.csv there.")] = None,
    secret: Annotated[Path | None, typer.Option(help="The file with the secret. Default: OUT/secret.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="A dask scheduler's address. Default: processes here.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes here. Default: one a core.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start every box anew: slower, nothing shared.")] = False,
) -> None:
    """Grade notebooks in boxes that they cannot get out of. `docs/grading.md` shows the whole route.

    Exit code 1 when a submission waits for a person, or could not be graded because of the machine.
    """
    from course_utils.errors import extra

    with user_errors(), extra("grading"):
        names = _exercises(lesson or [], exercise or [])
        from course_utils.grading import decisions, grader, reports
        from course_utils.grading.progress import table

        options = {"manifest": manifest, "secret_file": secret, "scheduler": scheduler, "workers": workers}
        title = f"Lesson {', '.join(map(lesson_number, lesson))}" if lesson else "Exercises"
        try:
            summary, results, page = grader.run_and_report(
                submissions, out, names, title, console, fresh=fresh, **options
            )
        except KeyboardInterrupt:
            errors.print("What has been graded is kept: the same command goes on from there.")
            raise
    console.print(table(summary.progress))
    say(f"Look: {shown(page)}")
    if summary.ignored:
        say(f"Not graded, because they are no notebooks: {len(summary.ignored)}. The page names them.")
    waiting = reports.what_waits(results, shown(page.with_name(decisions.NAME)))
    for line in waiting:
        say(line)
    raise typer.Exit(1 if waiting else 0)


def _exercises(lessons: list[str], chosen: list[str]) -> list[str]:
    """The names of all exercises of these lessons, and of these. Raises CourseError for one that is not there, or none."""
    from course_utils.errors import CourseError
    from course_utils.exercises import names

    unknown = [name for name in chosen if name not in names()] + [number for number in lessons if not names(number)]
    if unknown or not lessons + chosen:
        problem = f"there is no lesson or exercise {', '.join(unknown)}" if unknown else "it is not said what to grade"
        raise CourseError(f"{problem}: name lessons, as in --lesson 02, or exercises, as in --exercise lstm_update")
    return list(dict.fromkeys([name for number in lessons for name in names(number)] + chosen))


@app.command()
def doctor(
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Check versions, device, kernel, data and disk, and say what to do about each problem.

    Exit code 1 when something is broken that lessons cannot do without.
    """
    from course_utils.command.doctor import BROKEN, WARNING, as_json, examine

    with user_errors():
        findings = examine(root_if_any())
    if json:
        typer.echo(as_json(findings))
    for finding in [] if json else findings:
        _show_finding(finding)
    broken = sum(finding.state == BROKEN for finding in findings)
    warnings = sum(finding.state == WARNING for finding in findings)
    if not json:
        say(f"\n{broken} broken, {warnings} warnings." if broken or warnings else "\nEverything is in order.")
    raise typer.Exit(1 if broken else 0)


def _show_finding(finding: Any) -> None:
    mark, style = {"ok": ("✔", "green"), "warning": ("!", "yellow"), "broken": ("✘", "bold red")}[finding.state]
    text = f"[{style}]{mark}[/] [bold]{escape(finding.topic)}[/]: {escape(finding.text)}"
    console.print(text, soft_wrap=True, highlight=False)
    if finding.remedy:
        say(f"    → {finding.remedy}")


@data_app.command("list")
def list_data() -> None:
    """Show each data set with its size, and where it lies on this machine."""
    from course_utils.command.doctor import data_sets, locate
    from course_utils.data import drawings

    with user_errors():
        for dataset in data_sets():
            place, _ = locate(dataset)
            size = sum(file.size for file in dataset.files) / 1e6
            say(f"{dataset.name}: {size:.1f} MB, {f'in {place}' if place else 'not here'}")
        say(f"emoji: {drawings.whereabouts()}")
        say("In installed packages: digits (scikit-learn), temperature (statsmodels), glyphs (matplotlib's fonts)")
        say("Generated: verse, Mackey-Glass")


@data_app.command()
def verify() -> None:
    """Check size and SHA-256 of every file. Exit code 1 when a set is missing or damaged."""
    from course_utils.command.doctor import data_sets, locate

    bad = False
    with user_errors():
        for dataset in data_sets():
            place, faults = locate(dataset)
            bad |= place is None
            told = f": all files in {place} are sound" if place else " is not here in full"
            say(f"{'✔' if place else '✘'} {dataset.name}{told}")
            for fault in faults:
                say(f"  • {fault}")
    if bad:
        say("`course data fetch` downloads what is missing and replaces what is damaged.")
    raise typer.Exit(1 if bad else 0)


@data_app.command()
def fetch() -> None:
    """Download what is missing and replace what is damaged. Exit code 1 when a set cannot be had."""
    from course_utils.command.doctor import data_sets
    from course_utils.data import download

    failed = False
    with user_errors():
        for dataset in data_sets():
            try:
                say(f"✔ {dataset.name} is in {download.find_or_fetch(dataset)}")
            except RuntimeError as error:  # unavailable, or nowhere to keep it: the message says which
                failed = True
                say(f"✘ {dataset.name}: {error}", "bold red")
    raise typer.Exit(1 if failed else 0)


@app.command()
def colab(
    repository: Annotated[str, typer.Option(help="OWNER/NAME on GitHub.")],
    ref: Annotated[str, typer.Option(help="The branch or tag that Colab opens and installs.")] = "main",
) -> None:
    """Point badges, first cells and pyproject.toml at a fork."""
    from course_utils.notebooks import colab, find

    with user_errors():
        root = find.find_root()
        changed = colab.move_repository(repository, ref, root)
        for path in changed:
            say(f"rewritten: {path.relative_to(root)}")
        say(f"{len(changed)} files now point at {repository}@{ref}.")
