"""What a run keeps on the disk: one JSON file a submission, whole or absent, and the secret; and what results depend on.

So the next run goes on where this one stopped: a result stands as long as nothing that it depends on has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import filelock
import msgspec
import safetensors
import torch

from course_utils.errors import CourseError
from course_utils.files import write_bytes
from course_utils.grading.result import VERSION, Graded, Result, from_json, to_json
from course_utils.grading.submissions import Submission
from course_utils.notebooks import find

SECRET_BYTES = 32
FINAL = ("graded", "student_error", "unreadable", "needs_review")  # not asked for again by the next run
FOLDER = "submissions"  # below OUT: the result files
DECISIVE = ("boxed", "exercises", "grading")  # the folders of the course on which points depend


class GradingError(CourseError):
    """Grading cannot start or go on; the text says why, and what to do."""


class ResultFiles:
    """The result files of one run."""

    def __init__(self, folder: Path, names: tuple[str, ...], secret: bytes) -> None:
        self.folder, self.names, self.secret = folder, names, secret
        self.version, self.code = find.version(), exercise_fingerprint()
        self._mine: set[str] = set()

    def fingerprint(self, submission: Submission) -> str:
        """What a result depends on beside the notebook's content, which is in the key."""
        told = [
            VERSION,
            self.version,
            self.code,
            self.names,
            submission.student,
            submission.file,
            submission.reason,
        ]
        told += [submission.late, submission.deadline, submission.notes]
        return hmac.new(self.secret, json.dumps(told).encode(), hashlib.sha256).hexdigest()[:32]

    def kept(self, submission: Submission, fingerprint: str) -> Result | None:
        """The final result of an earlier run, if it would be the same now."""
        self._mine.add(f"{submission.key}.json")
        try:
            result = from_json((self.folder / f"{submission.key}.json").read_bytes())
        except (OSError, CourseError):
            return None
        return result if result.fingerprint == self._sealed(result, fingerprint) and result.status in FINAL else None

    def write(self, submission: Submission, fingerprint: str, graded: Graded) -> Result:
        """Write a result file, whole or not at all. Raises GradingError when the disk is full, say."""
        fields: dict[str, Any] = msgspec.structs.asdict(graded) | {"notes": (*submission.notes, *graded.notes)}
        result = Result(
            key=submission.key,
            student=submission.student,
            file=submission.file,
            late=submission.late,
            deadline=submission.deadline,
            course_version=self.version,
            **fields,
        )
        result = msgspec.structs.replace(result, fingerprint=self._sealed(result, fingerprint))
        _write(to_json(result), self.folder / f"{submission.key}.json", 0o600)
        return result

    def _sealed(self, result: Result, fingerprint: str) -> str:
        """What a result depends on together with what it says: a file that somebody has edited is not believed."""
        content = to_json(msgspec.structs.replace(result, fingerprint=fingerprint))
        return hmac.new(self.secret, content, hashlib.sha256).hexdigest()[:32]

    def tidy(self) -> None:
        """Move results of notebooks that are no longer among the submissions to a folder beside; drop half-written ones."""
        for unfinished in self.folder.glob(".*.json.*"):
            unfinished.unlink()
        for path in self.folder.glob("*.json"):
            if path.name not in self._mine:
                aside = self.folder.with_name("superseded")
                aside.mkdir(mode=0o700, exist_ok=True)
                os.replace(path, aside / path.name)


def load(folder: Path) -> list[Result]:
    """The results in `folder`/*.json, by student and file. Raises CourseError for a file that is no result."""
    loaded = []
    for path in folder.glob("*.json"):
        try:
            loaded.append(from_json(path.read_bytes()))
        except OSError as error:
            raise CourseError(f"{path} cannot be read: {error.strerror}. Delete it and grade again.") from None
        except CourseError as error:
            raise CourseError(f"{path}: {error}") from None
    if not loaded:
        raise CourseError(f"there are no results in {folder}; `course grade` writes one JSON file a submission there")
    return sorted(loaded, key=lambda result: (result.student, result.file, result.key))


def _write(data: bytes, path: Path, mode: int) -> None:
    """Write a file, whole or not at all. Raises GradingError when the disk is full, say."""
    try:
        write_bytes(data, path, mode)
    except OSError as error:
        raise GradingError(
            f"{path} cannot be written: {error.strerror}. Results written so far are whole; make room and run the "
            "same command again, it goes on from there."
        ) from None


# -- the folder --------------------------------------------------------------------------------------------------


def private_folders(out: Path) -> Path:
    """Make `out` and the folder of the result files, closed to other users; what exists keeps its mode."""
    folder = out / FOLDER
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise GradingError(f"{folder} cannot be made: {error.strerror}. Choose another --out") from None
    return folder


@contextlib.contextmanager
def alone(out: Path) -> Iterator[None]:
    """Two runs that write into one folder would set aside each other's results. Raises GradingError for the second."""
    try:
        with filelock.FileLock(out / ".lock", timeout=0):
            yield
    except filelock.Timeout:
        raise GradingError(f"another run is writing to {out}; wait for its end, or choose another --out") from None


def check_same_assignment(folder: Path, names: Sequence[str]) -> None:
    """Raise GradingError if the results that are there are all about other exercises: they would be written over."""
    there = set()
    for path in folder.glob("*.json"):
        with contextlib.suppress(OSError, CourseError):
            there |= {mark.name for mark in from_json(path.read_bytes()).marks}
    if there and there.isdisjoint(names):
        raise GradingError(
            f"{folder.parent} holds the results of another assignment ({', '.join(sorted(there)[:3])}, …), which these "
            "would replace: choose another --out"
        )


def read_secret(path: Path, make: bool) -> bytes:
    """The secret from which hidden inputs follow, made at random if it is not there and may be made.

    Raises GradingError if it is missing, too short, or open to other users of the machine.
    """
    if make and not path.exists():
        _write(f"{secrets.token_hex(SECRET_BYTES)}\n".encode(), path, 0o600)
    try:
        mode, text = path.stat().st_mode, path.read_bytes().strip()
    except OSError as error:
        raise GradingError(f"the secret {path} cannot be read: {error.strerror}") from None
    if mode & 0o077:
        raise GradingError(f"other users may read the secret {path} (mode {mode & 0o777:o}). Run: chmod 600 {path}")
    if len(text) < SECRET_BYTES // 2:
        raise GradingError(f"the secret {path} has {len(text)} bytes; at least {SECRET_BYTES // 2} are needed")
    return text


# -- versions ----------------------------------------------------------------------------------------------------


def package_versions() -> str:
    """The packages whose versions may change a number, or what travels into a box."""
    return f"torch {torch.__version__}, safetensors {safetensors.__version__}"


def exercise_fingerprint() -> str:
    """A hash of all code on which points depend, the folders `DECISIVE` as a whole, and of its packages' versions."""
    package = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256(package_versions().encode())
    for path in sorted(path for folder in DECISIVE for path in (package / folder).rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
