"""What lessons and the command line agree on: profiles, how results lie in outputs, where a checkout is. No torch here."""

import os
from pathlib import Path

PROFILES = ("smoke", "cpu", "gpu")
REPORT_TYPE = "application/vnd.course.report+json"  # in a cell's output: one result of `session.report`
SESSION_TYPE = "application/vnd.course.session+json"  # … and what `runtime.start` chose


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


def checkout() -> Path | None:
    """The repository that this package runs from; None when it is installed elsewhere, as in Colab."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "pyproject.toml").exists() else None
