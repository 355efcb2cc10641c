"""What a box sees of this machine: an interpreter, its packages, shared libraries, and the course's folder `boxed`.

The definitions of the exercises, and with them the references, are never among it. Everything is mounted read-only
and under the path that it has outside. A grader that is root runs its boxes as `NOBODY`; what that user cannot
reach (an interpreter under /root) is copied once to `CACHE`.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

import course_utils
from course_utils.errors import CourseError

PACKAGE = Path(course_utils.__file__).parent
NOBODY = 65534  # the user and group inside a box, and outside too when the grader is root
CACHE = Path("/var/cache/generative-networks-course")  # for root alone; other users need no copy
COURSE = "/course"  # where the box files are
PACKAGES = ("torch", "numpy", "safetensors")  # without these, in whichever directories, no box is of use
UNUSED = ("site-packages", "dist-packages", "test", "idlelib", "lib2to3", "tkinter", "turtledemo", "ensurepip")
START = """\
import gc, os, runpy, sys
gc.disable()  # looking for garbage among the thousands of objects that importing makes takes a fifth of its time
low, high = sorted(map(int, sys.argv[1:3]))
for first, last in (3, low), (low + 1, high), (high + 1, 1 << 20):  # some bubblewraps leave their own open
    os.closerange(first, last)
module, packages = sys.argv[3], sys.argv[4:]
sys.path[:] = ["/course", *sys.path, *packages]
del sys.argv[3:]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


class NoBox(CourseError):  # noqa: N818 - an instructor reads it
    """No box can be made on this machine; the message says why, and what to do."""


def course_files() -> list[str]:
    """The files of the course that are put into a box, by their paths below `course_utils`: the whole folder `boxed`."""
    return ["__init__.py", *(f"boxed/{path.name}" for path in sorted((PACKAGE / "boxed").glob("*.py")))]


def box_files() -> dict[str, bytes]:
    """The contents of the files that are put into every box, by their paths there."""
    files = {f"{COURSE}/course_utils/{name}": (PACKAGE / name).read_bytes() for name in course_files()}
    return files | {f"{COURSE}/start.py": START.encode()}


def interpreter() -> str:
    """The path of this Python itself, which is the same in a box."""
    return os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)


def package_folders() -> list[str]:
    """The directories that hold the third-party packages, in order. Raises NoBox for a package that is missing."""
    folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise NoBox(f"the package {name} is missing here. Run `make lab` in the repository")
        folders.append(str(Path(spec.origin).parents[1]))
    return [path for path in dict.fromkeys(map(os.path.realpath, folders)) if os.path.isdir(path)]


def mounts(uid: int) -> list[str]:
    """bwrap's arguments for everything read-only that a box of this user sees. Raises NoBox if it cannot be had."""
    arguments = [*_system(), *_python(uid)]
    packages = package_folders()
    for folder in packages:
        if not reachable(folder, uid):
            raise NoBox(
                f"the unprivileged user that runs the boxes (uid {uid}) cannot read {folder}. Put the virtual "
                "environment where everybody can read it, such as /opt, or start the grader without root"
            )
        arguments += ["--ro-bind", folder, folder]
    for folder in packages:
        arguments += _hidden(os.path.join(folder, "course_utils"))
    return arguments


def reachable(path: str, uid: int) -> bool:
    """Whether that user, to whom nothing here belongs, can open this file or directory. True for oneself."""
    if uid == os.geteuid():
        return True
    steps = [Path(path), *Path(path).parents]
    needed = [0o5 if steps[0].is_dir() else 0o4] + [0o1] * (len(steps) - 1)
    return all(step.stat().st_mode & mode == mode for step, mode in zip(steps, needed, strict=True))


def _system() -> list[str]:
    """The shared libraries of the distribution, and the one program that sets a box's limits."""
    arguments = []
    for path in ("/usr/lib", "/usr/lib64", "/lib", "/lib64"):
        if os.path.islink(path):
            arguments += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            arguments += ["--ro-bind", path, path]
    for path in ("/etc/ld.so.cache", "/etc/alternatives", "/proc/cpuinfo"):
        arguments += ["--ro-bind-try", path, path]
    prlimit = program("prlimit")
    return [*arguments, "--ro-bind", os.path.realpath(prlimit), prlimit]


def program(name: str) -> str:
    """The path of a program of the system. Raises NoBox, with the Debian package, where it is missing."""
    path = shutil.which(name, path="/usr/bin:/bin:/usr/local/bin")
    if path is None:
        package = "bubblewrap" if name == "bwrap" else "util-linux"
        raise NoBox(f"{name} is not installed. Run `sudo apt-get install {package}` (on Fedora: dnf)")
    return path


def _python(uid: int) -> list[str]:
    """The interpreter and its standard library; outside of /usr its libraries are a folder of their own."""
    python, library = interpreter(), os.path.realpath(f"{sys.base_prefix}/lib")
    if library == os.path.realpath("/usr/lib"):
        return ["--ro-bind", python, python]
    if not (reachable(library, uid) and reachable(python, uid)):
        copy = staged()
        return ["--ro-bind", copy[0], python, "--ro-bind", copy[1], library]
    arguments = ["--ro-bind", python, python, "--ro-bind", library, library]
    own = sysconfig.get_path("purelib", vars={"base": sys.base_prefix})
    return arguments if os.path.realpath(own) in package_folders() else [*arguments, *_hidden(own)]


def _hidden(folder: str) -> list[str]:
    """Arguments that put an empty directory in the place of this one, if there is one."""
    path = os.path.realpath(folder)
    return ["--perms", "0555", "--tmpfs", path, "--remount-ro", path] if os.path.isdir(path) else []


@functools.cache
def staged() -> tuple[str, str]:
    """A copy of the interpreter and of its library that everybody can read, made once. Raises NoBox if it cannot be."""
    python, library = interpreter(), Path(os.path.realpath(f"{sys.base_prefix}/lib"))
    version = f"{python}\n{sys.version}\n{os.stat(python).st_mtime_ns}"
    target = CACHE / f"python-{hashlib.sha256(version.encode()).hexdigest()[:16]}"
    try:
        CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
        _check_owner(CACHE)
        if not target.is_dir():
            _copy_interpreter(python, library, target)
        _check_owner(target)
    except OSError as error:
        raise NoBox(
            f"{python} is not readable for the unprivileged user that runs the boxes, and cannot be copied to "
            f"{target} ({error}). Use a Python outside of /root, or start the grader without root"
        ) from None
    if not reachable(str(target / "python"), NOBODY):
        raise NoBox(f"{target} is not readable for everybody. Run `chmod a+rx {CACHE}` and try again")
    return str(target / "python"), str(target / "lib")


def _check_owner(folder: Path) -> None:
    state = folder.lstat()
    if state.st_uid != os.geteuid() or state.st_mode & 0o022:
        raise NoBox(f"{folder} can be changed by others than user {os.geteuid()}. Remove it and try again")


def _copy_interpreter(python: str, library: Path, target: Path) -> None:
    """Copy to a directory beside `target`, then rename: whoever comes second throws the own copy away."""
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="copy-", ignore_cleanup_errors=True) as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        shutil.copy2(python, made / "python")
        ignored = shutil.ignore_patterns(*UNUSED, "config-*", "*.a", "pkgconfig")
        shutil.copytree(library, made / "lib", symlinks=True, ignore=ignored)
        for folder, _, files in os.walk(made):
            os.chmod(folder, 0o755)
            for name in files:
                if not os.path.islink(path := os.path.join(folder, name)):
                    os.chmod(path, 0o755 if os.access(path, os.X_OK) else 0o644)
        try:
            os.rename(made, target)
        except OSError:
            if not target.is_dir():
                raise
