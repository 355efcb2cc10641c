"""A box: one process for a student's code, which can reach nothing but two pipes.

    with Box(Limits()) as box:
        box.channel.send({"cells": cells, "names": names, "forbidden": {}})
        message, tensors = box.channel.receive(time.monotonic() + 40)
    box.why()  # "" or what ended it

bubblewrap gives it namespaces of its own (no network, no other processes), an empty environment, and the files of
`mounts.py`, read-only; `seccomp.py` says which system calls it may not make. Limits of one process are set by prlimit
inside; what all its processes take together is held by a control group where one can be made (`cgroup.py`), and watched
from outside, twenty times a second. Everything in it dies when the box is left, when its program ends, and when the
grader dies, or the thread that has opened the box.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import re
import select
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import IO

from course_utils.boxed.deadline import PATIENCE
from course_utils.boxed.frames import Channel
from course_utils.grading.sandbox import mounts, seccomp
from course_utils.grading.sandbox.cgroup import Group
from course_utils.grading.sandbox.mounts import NOBODY, NoBox
from course_utils.grading.sandbox.processes import Usage, computing, usage

START_SECONDS = 20.0  # until bubblewrap has made the namespaces
LIBRARIES = 8_000_000_000  # bytes of address space for mapped files: a torch built for CUDA maps 2.4 GB of them
OWN_TASKS = 4  # of setpriv and bubblewrap in a box's control group
END_SECONDS = 5.0  # until everything in it is gone
INTERVAL = 0.05  # seconds between two looks at what a box takes
SET_CHILD_SUBREAPER = 36  # of Linux' prctl
MAIN = "course_utils.boxed.serve"
PROGRAM = f"{mounts.COURSE}/program.py"
ENVIRONMENT = {
    "PATH": "/usr/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",  # spares torch a look at the metadata of every package
    "TORCHDYNAMO_DISABLE": "1",  # there is no compiler in a box: what `torch.compile` decorates runs as it stands
}
HINTS = {
    "setting up uid map": "On Ubuntu 24.04 AppArmor forbids user namespaces: install /etc/apparmor.d/bwrap as "
    "https://bugs.launchpad.net/bugs/2046844 shows, or `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`",
    "namespace": "In Docker: --security-opt seccomp=unconfined --security-opt apparmor=unconfined. In Kubernetes: a "
    "node with user namespaces and seccompProfile Unconfined. Elsewhere: `sudo sysctl user.max_user_namespaces=10000`",
}


@dataclass(frozen=True)
class Limits:
    """What one box may take. Sizes in bytes, times in seconds; `wall_seconds` are those of `Times.charged`.

    `cpu_seconds`, `tasks` (processes and threads), `total_memory_bytes`, `tmp_bytes` and `tmp_files` hold for all its
    processes together, `memory_bytes` is what each may map for itself (data, not the libraries it maps).
    `output_bytes` of what they print are kept.
    """

    cpu_seconds: float = 60.0
    wall_seconds: float = 120.0
    memory_bytes: int = 2_000_000_000
    total_memory_bytes: int = 1_500_000_000
    tasks: int = 64
    tmp_bytes: int = 64_000_000
    tmp_files: int = 5_000
    output_bytes: int = 64_000


@dataclass(frozen=True)
class Times:
    """The clock at some moment, what a box has computed until then, and how long it was kept from it, in seconds."""

    clock: float
    cpu_seconds: float = 0.0
    delayed: float = 0.0

    def since(self, earlier: Times) -> float:
        """The seconds that a box has used, asleep or computing: not those in which others had the processors."""
        waited = max(self.delayed - earlier.delayed, 0.0)
        return max(self.clock - earlier.clock - waited, self.cpu_seconds - earlier.cpu_seconds)

    def charged(self, earlier: Times) -> float:
        """The same, but never so little that a box could wait for ever."""
        return max(self.since(earlier), (self.clock - earlier.clock) / PATIENCE)


class Box:
    """A context manager: inside, `channel` leads to the program in the box. Raises NoBox where none can be made.

    The program is `boxed.serve`, or the text of another one; it finds two descriptors' numbers in `sys.argv[1:]`.
    """

    channel: Channel

    def __init__(self, limits: Limits | None = None, program: str | None = None) -> None:
        self.limits = limits or Limits()
        self.output = b""  # what was printed, standard error included, up to `output_bytes`
        self.peak_memory = 0  # bytes of all processes together
        self.uid = NOBODY if os.geteuid() == 0 else os.geteuid()
        self._program = program
        self._reason = ""
        self._status = b""
        self._over, self._output_ended = threading.Event(), threading.Event()
        self._ours, self._theirs = contextlib.ExitStack(), contextlib.ExitStack()
        self._group: Group | None = None
        self._given: list[int] = []  # the descriptors that go into the box

    # -- what it is made of: one method each, so that the tests can take one away and see it missed ---------------

    def environment(self) -> dict[str, str]:
        """The environment of bubblewrap itself, which is process 1 in the box."""
        return {}

    def identity(self) -> list[str]:
        """The command that gives up root; empty for any other user."""
        if self.uid == os.geteuid():
            return []
        ids = [f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", "--no-new-privs"]
        return [mounts.program("setpriv"), *ids]

    def namespaces(self) -> list[str]:
        """Own users, processes, network, IPC, host name; no capabilities; nothing outlives the box."""
        ids = ["--uid", str(NOBODY), "--gid", str(NOBODY), "--hostname", "box"]
        return ["--unshare-user", "--unshare-all", *ids, "--die-with-parent", "--new-session", "--cap-drop", "ALL"]

    def files(self) -> list[str]:
        """Every path in the box; the only one that can be written to is /tmp."""
        devices = [part for name in ("null", "urandom") for part in ("--dev-bind", f"/dev/{name}", f"/dev/{name}")]
        arguments = ["--perms", "0700", "--size", str(self.limits.tmp_bytes), "--tmpfs", "/tmp"]
        arguments += [*mounts.mounts(self.uid), *devices]  # after /tmp, which may hold packages
        contents = mounts.box_files()
        if self._program is not None:
            contents[PROGRAM] = self._program.encode()
        for path, data in contents.items():
            arguments += ["--perms", "0444", "--file", str(self._memory_file(data)), path]
        return [*arguments, "--remount-ro", "/", "--chdir", "/tmp"]

    def filter(self) -> list[str]:
        """The refused system calls."""
        return ["--seccomp", str(self._memory_file(seccomp.program()))]

    def group(self) -> Group | None:
        """A control group for all its processes; None where the kernel or this user's rights allow none."""
        try:
            return Group(self.limits.total_memory_bytes, self.limits.tasks + OWN_TASKS)
        except OSError:
            return None

    def bounds(self) -> dict[str, int]:
        """The limits of each process in it, by the names of setrlimit."""
        limits = self.limits
        return {
            "cpu": int(limits.cpu_seconds) + 2,  # the watch looks at all processes, and is to be first
            "data": limits.memory_bytes,
            "as": limits.memory_bytes + LIBRARIES,
            "nproc": limits.tasks,
            "fsize": limits.tmp_bytes,
            "nofile": 128,
            "core": 0,
            "memlock": 0,
        }

    def process_limits(self) -> list[str]:
        """The command that sets limits inside, where they count for this box alone."""
        return [mounts.program("prlimit"), *(f"--{name}={bound}:{bound}" for name, bound in self.bounds().items())]

    # -- its life -----------------------------------------------------------------------------------------------

    def __enter__(self) -> Box:
        try:
            with self._theirs:
                self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._ours.close()

    def why(self) -> str:
        """What ended it: "time", "cpu", "memory", "files", "killed" (by a signal) or "exited N"; "" while it runs."""
        if not self._over.is_set():
            self._learn_the_end(0.5)  # its pipes may close a moment earlier
        return self._reason

    def times(self) -> Times:
        """What it has taken until now."""
        return self._times(computing(self._pid))

    def wait(self, seconds: float) -> str:
        """Wait until it has ended, at most so long; returns `why()`."""
        self._output_ended.wait(END_SECONDS if self._has_ended(seconds) else 0.0)
        return self.why()

    def _learn_the_end(self, seconds: float) -> None:
        """Note how the program ended, if it has or does so within these seconds, unless it is the watch's doing."""
        if not self._has_ended(seconds):
            return
        self._read_status(0.0)
        told = re.search(rb'"exit-code": *(\d+)', self._status)
        code = int(told[1]) if told else 128 + signal.SIGKILL
        ended = "cpu" if code == 128 + signal.SIGXCPU else "killed" if code > 128 else f"exited {code}"
        self._reason = self._reason or ("memory" if self._out_of_memory() else ended)

    def _has_ended(self, seconds: float) -> bool:
        """Whether bubblewrap has ended, or does so within these seconds; `Popen.wait` would look only now and then."""
        if not readable(self._bubblewrap, seconds):
            return False
        self._process.wait()
        return True

    def _start(self) -> None:
        """Start bubblewrap and wait for its first process. Raises NoBox."""
        ends = self._connect()
        self._status_pipe, status = self._pipe()
        command = self._command(status, *ends)
        _adopt_orphans()
        self._process = subprocess.Popen(
            command,
            bufsize=0,
            env=self.environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=self._given,
            start_new_session=True,
        )
        self._theirs.close()
        self._bubblewrap, self._first = os.pidfd_open(self._process.pid), -1
        self._ours.callback(os.close, self._bubblewrap)
        self._ours.callback(self._finish)
        threading.Thread(target=self._keep_output, args=(self._process.stdout,), daemon=True).start()
        self._pid = self._await_first_process()
        with contextlib.suppress(ProcessLookupError):  # it may have ended already
            self._first = os.pidfd_open(self._pid)
        self._begin_to_watch()

    def _begin_to_watch(self) -> None:
        watch = threading.Thread(target=self._watch, daemon=True)
        watch.start()
        self._ours.callback(watch.join)

    def _connect(self) -> tuple[int, int]:
        """Make the channel; returns its ends in the box, to read from and to write to."""
        to_box, from_us = self._pipe(inwards=True)
        from_box, to_us = self._pipe()
        self.channel = Channel(from_box, from_us)
        return to_box, to_us

    def _command(self, status: int, reader: int, writer: int) -> list[str]:
        """What starts the box, which is given these descriptors. Raises NoBox."""
        command = []
        self._group = self.group()
        if self._group is not None:
            self._ours.callback(self._group.close)
            command += self._group.command()
        command += [*self.identity(), mounts.program("bwrap"), *self.namespaces(), *self.files(), *self.filter()]
        for name, value in ENVIRONMENT.items():
            command += ["--setenv", name, value]
        command += ["--json-status-fd", str(status), "--", *self.process_limits()]
        command += [mounts.interpreter(), "-I", "-S", "-B", f"{mounts.COURSE}/start.py", str(reader), str(writer)]
        return [*command, MAIN if self._program is None else "program", *mounts.package_folders()]

    def _await_first_process(self) -> int:
        """Wait until the namespaces stand; returns the number that process 1 is said to have.

        Raises NoBox, with what is said instead, if they do not.
        """
        deadline = time.monotonic() + START_SECONDS
        while not (told := re.search(rb'"child-pid": *(\d+)', self._status)):
            if not self._read_status(deadline - time.monotonic()):
                self._end()
                self._output_ended.wait(END_SECONDS)
                said = self.output.decode(errors="replace").strip()[:500] or "bwrap does not answer"
                hint = next((text for part, text in HINTS.items() if part in said), "Run `course doctor`")
                raise NoBox(f"no box can be made here: {said}. {hint}")
        return int(told[1])

    def _end(self) -> None:
        """Kill the box's first process, and with it all others; bubblewrap then reaps it, and we reap bubblewrap."""
        with contextlib.suppress(OSError):
            if self._first >= 0:
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
        if not self._has_ended(END_SECONDS if self._first >= 0 else 0.1):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # what has no session of its own yet dies with it
            self._process.wait()

    def _finish(self) -> None:
        """End it and reap it. A program that ended by itself leaves process 1 behind, which is then our child."""
        self._learn_the_end(0.0)
        self._end()
        if self._first >= 0:
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, self._first, os.WEXITED)
            os.close(self._first)
        self._output_ended.wait(END_SECONDS)

    def _watch(self) -> None:
        """Kill the box when all of its processes together exceed a limit."""
        start, over = self.times(), False
        while not over and not self._has_ended(0.0):
            over = self._over.wait(INTERVAL)  # and then it is looked at once more
            used = usage(self._pid, self.limits.total_memory_bytes)
            reason = self._exceeded(used, self._times(used).charged(start))
            if self._has_ended(0.0):
                return  # and perhaps another process has its number by now
            self.peak_memory = max(self.peak_memory, used.memory)
            if reason:
                self._reason = reason
                self._end()
                return

    def _times(self, used: Usage) -> Times:
        counted = self._group.cpu_seconds() if self._group is not None else 0.0
        return Times(time.monotonic(), max(used.cpu_seconds, counted), used.delayed)

    def _exceeded(self, used: Usage, seconds: float) -> str:
        limits = self.limits
        if seconds > limits.wall_seconds:
            return "time"
        if self._times(used).cpu_seconds > limits.cpu_seconds:
            return "cpu"
        if used.tmp_files > limits.tmp_files:
            return "files"
        return "memory" if used.memory > limits.total_memory_bytes or self._out_of_memory() else ""

    def _out_of_memory(self) -> bool:
        return self._group is not None and self._group.out_of_memory()

    def _keep_output(self, printed: IO[bytes]) -> None:
        """Read everything that is printed, so that nobody has to wait, and keep the beginning."""
        with printed:
            while part := printed.read(65536):
                self.output += part[: self.limits.output_bytes - len(self.output)]
        self._output_ended.set()

    def _read_status(self, seconds: float) -> bool:
        """Read what bubblewrap says about the box; False when there is nothing more within this time."""
        part = os.read(self._status_pipe, 4096) if readable(self._status_pipe, seconds) else b""
        self._status += part
        return bool(part)

    def _pipe(self, inwards: bool = False) -> tuple[int, int]:
        """A pipe. One end goes into the box and is closed here when it has been started, ours when it is left."""
        reader, writer = os.pipe()
        given, kept = (reader, writer) if inwards else (writer, reader)
        self._give(given)
        self._ours.callback(os.close, kept)
        return reader, writer

    def _memory_file(self, data: bytes) -> int:
        """A descriptor of a file with these contents, for bubblewrap to read."""
        descriptor = os.memfd_create("box")
        self._give(descriptor)
        os.write(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor

    def _give(self, descriptor: int) -> None:
        self._given.append(descriptor)
        self._theirs.callback(os.close, descriptor)


def readable(descriptor: int, seconds: float) -> bool:
    """Whether there is something to read, or within these seconds; of a process, whether it has ended."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(0.0, seconds) * 1000))


@functools.cache
def _adopt_orphans() -> None:
    """Make the grader the parent of whatever below it loses its own: not every system's process 1 reaps."""
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
