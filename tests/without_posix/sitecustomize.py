"""With this folder in PYTHONPATH, the course's modules and notebooks find nothing that only POSIX has, in every process.

Other packages find everything: they know their own ways on Windows. It hides names, nothing else; that an open file
cannot be renamed there, say, only Windows shows.
"""

import builtins
import os
import sys
import types
from typing import Any

MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
NAMES = {
    "os": {
        *("fork", "forkpty", "getpgid", "getpgrp", "getpriority", "getsid", "getuid", "geteuid", "getgid", "getegid"),
        *("killpg", "setpgid", "setsid", "setuid", "setgid", "nice", "uname", "sysconf", "statvfs", "getloadavg"),
        *("sched_getaffinity", "sched_setaffinity", "posix_spawn", "wait", "wait3", "wait4", "waitid", "WNOHANG"),
        *("chown", "lchown", "chroot", "fchmod", "fchown", "mkfifo", "mknod", "openpty", "pidfd_open", "memfd_create"),
        *("O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "O_DIRECTORY", "O_SYNC", "register_at_fork", "set_blocking"),
    },
    "select": {"poll", "epoll", "POLLIN", "POLLOUT"},
    "signal": {
        *("SIGKILL", "SIGALRM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGSTOP", "SIGCONT", "SIGPIPE"),
        *("alarm", "setitimer", "getitimer", "pause", "pthread_kill", "pthread_sigmask", "sigwait", "siginterrupt"),
    },
    "socket": {"AF_UNIX", "socketpair"},
    "time": {"tzset"},
}
OURS = ("course_utils", "__main__")

_import = builtins.__import__
_seen: dict[str, types.ModuleType] = {}


class Partial(types.ModuleType):
    """A module without some of its names."""

    def __init__(self, module: types.ModuleType) -> None:
        super().__init__(module.__name__, module.__doc__)
        self.__dict__["_whole"] = module

    def __getattr__(self, name: str) -> Any:
        if name in NAMES[self.__name__]:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} (on Windows)")
        return getattr(self.__dict__["_whole"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["_whole"], name, value)


def without_posix(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
    """`import`, for modules of the course without what Windows lacks."""
    importer = (globals or {}).get("__name__", "").partition(".")[0]
    if level or importer not in OURS or not _is_ours(globals):
        return _import(name, globals, locals, fromlist, level)
    if name in MODULES:
        raise ModuleNotFoundError(f"No module named {name!r} (on Windows)", name=name)
    module = _import(name, globals, locals, fromlist, level)
    if module.__name__ in NAMES:
        return _seen.setdefault(module.__name__, Partial(module))
    return module


def _is_ours(globals: Any) -> bool:
    """Whether these are the course's: `__main__` is, where it is a notebook or `python -m course_utils`."""
    return globals["__name__"] != "__main__" or "In" in globals or "course_utils" in str(globals.get("__file__", ""))


builtins.__import__ = without_posix
sys.modules["pyseccomp"] = None  # type: ignore[assignment]  # it is installed on Linux alone
if os.environ.get("WITHOUT_POSIX_LOG"):
    with open(os.environ["WITHOUT_POSIX_LOG"], "a", encoding="utf-8") as log:
        log.write(" ".join(sys.orig_argv) + "\n")
