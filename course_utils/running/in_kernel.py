"""What `course run` asks a kernel to notice, because a notebook's outputs do not show it reliably.

`install()` runs in the kernel before the first cell and `report()` after the last one, both as silent requests, so
that nothing of it shows in the executed notebook. Standard library only.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from typing import Any

_start = ""
_moved: dict[str, Any] = {}
_tracebacks: list[dict[str, Any]] = []
_threads: list[dict[str, Any]] = []


def install() -> None:
    """Watch this kernel: tracebacks, exceptions in threads, failing `!commands`, changes of directory."""
    from IPython.core.getipython import get_ipython

    shell: Any = get_ipython()
    global _start
    _start = os.getcwd()
    _watch_tracebacks(shell)
    _watch_threads()
    _let_commands_fail(shell)
    shell.events.register("post_run_cell", _after_cell)


def report() -> str:
    """What was noticed, as JSON: `{"start", "moved", "tracebacks", "threads"}`."""
    return json.dumps({"start": _start, "moved": _moved, "tracebacks": _tracebacks, "threads": _threads})


def _watch_tracebacks(shell: Any) -> None:
    """ipywidgets shows the exceptions of callbacks in an Output widget, from where a later redraw removes them."""
    show = shell._showtraceback

    def showtraceback(kind: type, value: BaseException, traceback: Any) -> Any:
        _tracebacks.append({"name": kind.__name__, "value": str(value)})
        return show(kind, value, traceback)

    shell._showtraceback = showtraceback


def _watch_threads() -> None:
    """The output of a thread that outlives its cell reaches no cell."""
    hook = threading.excepthook

    def excepthook(arguments: threading.ExceptHookArgs) -> None:
        thread = arguments.thread.name if arguments.thread else "?"
        _threads.append({"name": arguments.exc_type.__name__, "value": str(arguments.exc_value), "thread": thread})
        hook(arguments)

    threading.excepthook = excepthook


def _let_commands_fail(shell: Any) -> None:
    """A failing `!command` only leaves a number in `_exit_code`; make it raise CalledProcessError."""
    if hasattr(shell, "system_raise_on_error"):  # IPython 9
        shell.system_raise_on_error = True
        return
    original = shell.system

    def system(command: str) -> None:
        original(command)
        code = shell.user_ns.get("_exit_code", 0)
        if code:
            raise subprocess.CalledProcessError(code, command)

    shell.system = system


def _after_cell(result: Any = None) -> None:
    """Note to which cell the new tracebacks belong, and the first cell that left the directory changed."""
    count = getattr(result, "execution_count", None)
    for traceback in _tracebacks:
        traceback.setdefault("count", count)
    try:
        here = os.getcwd()
    except FileNotFoundError:
        here = "a directory that was deleted"
    if here != _start and not _moved:
        _moved.update(directory=here, count=count)
