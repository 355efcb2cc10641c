"""What all commands share: how they print, what a path is called, and how a user's mistake is shown."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape

from course_utils.conventions import Profile

console = Console()
if not console.is_terminal:
    console.width = 140  # logs have no width; do not fold tables at 80
errors = Console(stderr=True)


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Show what the user can put right as one line, with exit code 2, instead of a traceback."""
    from course_utils.errors import CourseError

    try:
        yield
    except CourseError as error:
        errors.print(f"[bold red]Error:[/] {escape(str(error))}", soft_wrap=True, highlight=False)
        raise typer.Exit(2) from None
    except BrokenPipeError:  # nobody reads on, as after `course results | head`: typer ends quietly
        raise
    except OSError as error:
        text = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        errors.print(f"[bold red]Error:[/] {escape(text)}", soft_wrap=True, highlight=False)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        errors.print("Interrupted.")
        raise typer.Exit(130) from None


def profile_named(profile: Profile) -> str:
    """The profile that the option means. Raises CourseError for a COURSE_PROFILE that does not exist."""
    from course_utils.conventions import resolve_profile
    from course_utils.errors import CourseError

    try:
        return resolve_profile(profile.value)
    except ValueError as error:
        raise CourseError(str(error)) from None


def say(text: str, style: str = "") -> None:
    """Print one line as it is: no markup, no wrapping."""
    console.print(escape(text), style=style, soft_wrap=True, highlight=False)


def shown(path: Path) -> Path:
    """The path as messages give it: from the working directory when it lies in there, else absolute."""
    path = path.resolve()
    return path.relative_to(Path.cwd().resolve()) if path.is_relative_to(Path.cwd().resolve()) else path


def root_if_any() -> Path | None:
    """The course's repository; None outside it, where an installed package still runs notebooks by their paths."""
    from course_utils.errors import CourseError
    from course_utils.notebooks.find import find_root

    with contextlib.suppress(CourseError):
        return find_root()
    return None
