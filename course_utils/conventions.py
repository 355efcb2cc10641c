"""What lessons and the command line agree on: profiles, how results lie in outputs, where things are kept. No torch here."""

import contextlib
import enum
import os
import tempfile
from pathlib import Path


class Profile(enum.StrEnum):
    """The sizes at which lessons run; `auto` means $COURSE_PROFILE, else `cpu`."""

    auto = "auto"
    smoke = "smoke"
    cpu = "cpu"
    night = "night"
    gpu = "gpu"


class Precision(enum.StrEnum):
    """The precision of matrix products in training."""

    auto = "auto"
    bf16 = "bf16"
    fp32 = "fp32"


PROFILES = tuple(profile.value for profile in Profile if profile is not Profile.auto)
LONG = ("night", "gpu")  # where the result of a finished training is kept, to go on from after an interruption
REPORT_TYPE = "application/vnd.course.report+json"  # in a cell's output: one result of `session.report`
SESSION_TYPE = "application/vnd.course.session+json"  # … and what `runtime.start` chose
OUTCOME_TYPE = "application/vnd.course.outcome+json"  # … and how an exercise's answer was judged


def resolve_profile(profile: str) -> str:
    """The profile that `profile` means: for "auto" that of COURSE_PROFILE if it is set, else "cpu".

    Raises ValueError, saying where it comes from, for a profile that does not exist.
    """
    origin = "COURSE_PROFILE" if profile == "auto" else "PROFILE"
    if profile == "auto":
        profile = os.environ.get("COURSE_PROFILE", "")
        profile = "cpu" if profile in ("", "auto") else profile
    if profile not in PROFILES:
        raise ValueError(f"{origin} is {profile!r}; it must be 'auto' or one of {', '.join(PROFILES)}")
    return profile


def lesson_number(text: str) -> str:
    """The number of a lesson as its file bears it: "02" for "2", and "02a" for its detour "2a"."""
    return text.zfill(2 + text[-1:].isalpha())


def checkout() -> Path | None:
    """The repository that this package runs from; None when it is installed elsewhere, as in Colab."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "pyproject.toml").exists() else None


def cache_dir() -> Path:
    """A writable directory for what the course keeps: $COURSE_CACHE if that is set, else the first of the
    repository's `data/` and the user's cache directory. Raises OSError, saying what to do, when it cannot be written."""
    import platformdirs

    repository = checkout()
    if os.environ.get("COURSE_CACHE"):
        wanted = [Path(os.environ["COURSE_CACHE"]).expanduser()]
    else:
        wanted = [repository / "data"] if repository else []
        wanted.append(platformdirs.user_cache_path("generative-networks-course", appauthor=False))
    for directory in wanted:
        with contextlib.suppress(OSError):
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):
                return directory
    tried = ", ".join(str(d) for d in wanted)
    raise OSError(f"the course cannot write to {tried}. Set COURSE_CACHE to a directory that can be written.")
