"""What a box must not allow, tried. `tightness.py` runs this text as the program of a box; it imports nothing of ours.

One line of JSON comes in: the numbers and paths of the grader that are to be out of reach. One goes out, printed:
for every kind of escape a list of what could be done, which should be empty.
"""

import ctypes
import json
import mmap
import os
import resource
import socket
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
NEW_USER, NEW_NETWORK, PTRACE_TRACEME = 0x10000000, 0x40000000, 0


def could(text, action, *arguments):
    """[text] if the action works, [] if the system refuses it."""
    try:
        return [] if action(*arguments) is False else [text]
    except (OSError, ValueError, MemoryError):
        return []


def look(path):
    """Read a directory or the first byte of a file."""
    if os.path.isdir(path):
        return os.listdir(path)
    with open(path, "rb") as file:
        return file.read(1)


def network(given):
    """Sockets, and with them every connection."""
    possible = could("made a socket for the Internet", lambda: socket.socket().close())
    for host in ("127.0.0.1", "1.1.1.1"):
        possible += could(f"connected to {host}", lambda h=host: socket.create_connection((h, given["port"]), 0.5))
    return possible


def files(given):
    """The machine's secrets and the course's references."""
    possible = []
    for path in given["secret"]:
        possible += could(f"read {path}", look, path)
    for folder in sys.path:
        for module in ("judge", "define", "lessons/l02_lstm_gates"):
            path = f"{folder}/course_utils/exercises/{module}.py"
            possible += could(f"read {path}", look, path)
    return possible


def environment(given):
    """Variables, descriptors and processes of the grader."""
    possible = [f"saw the variable {name}" for name in os.environ if name not in given["variables"]]
    possible += could("read /proc/1/environ", look, "/proc/1/environ")
    if os.path.islink("/proc/self") and os.readlink("/proc/self") != str(os.getpid()):
        possible.append("saw in /proc the processes of others")
    allowed = {0, 1, 2, *map(int, sys.argv[1:3])}
    for descriptor in set(range(256)) - allowed:
        possible += could(f"used the open file {descriptor}", os.fstat, descriptor)
    for process in given["processes"]:
        possible += could(f"saw process {process}", exists, process)
    return possible


def exists(process):
    """Whether there is such a process, be it somebody else's."""
    try:
        os.kill(process, 0)
    except PermissionError:
        return True


def writing(given):
    """Files outside of /tmp, and more in it than allowed."""
    possible = []
    for folder, inner, _ in os.walk("/"):
        if folder.count("/") > 2 or folder == "/tmp":
            inner.clear()
        if folder == "/tmp":
            continue
        possible += could(f"wrote to {folder}", lambda f=folder: os.close(os.open(f"{f}/x", os.O_CREAT | os.O_WRONLY)))
    return possible + could(f"filled /tmp with {given['tmp_bytes']} bytes", fill, given["tmp_bytes"])


def fill(size):
    """Write one byte more than this, in several files; then remove them."""
    names = [f"/tmp/fill{i}" for i in range(4)]
    try:
        for name in names:
            with open(name, "wb", buffering=0) as file:
                for _ in range(0, size // 4 + 1, 65536):
                    file.write(bytes(65536))
    finally:
        for name in names:
            if os.path.exists(name):
                os.unlink(name)


def privileges(given):
    """Root, new namespaces, tracing, and memory that no limit counts."""
    possible = could("became root", os.setuid, 0)
    for text, flag in (("user", NEW_USER), ("network", NEW_NETWORK)):
        possible += could(f"made a {text} namespace", lambda f=flag: LIBC.unshare(f) == 0)
    possible += could("traced a process", trace)
    possible += could("made a file of memory", os.memfd_create, "x")
    possible += could("made a System V segment", lambda: LIBC.shmget(0, 4096, 0o1600) >= 0)
    return possible + could("made shared anonymous memory", lambda: mmap.mmap(-1, 4096).close())


def trace():
    """Be traced, in a child: a program that is stops at its next signal."""
    child = os.fork()
    if child == 0:
        os._exit(LIBC.ptrace(PTRACE_TRACEME, 0, 0, 0) != 0)
    return os.waitpid(child, 0)[1] == 0


def take(size):
    """Map so much memory without touching it."""
    mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()


def limits(given):
    """More memory, more processes, and higher limits; or less than a box is to have."""
    possible = could(f"took {given['memory_bytes']} bytes", take, given["memory_bytes"])
    for name in ("DATA", "AS", "NPROC", "CPU"):
        kind = getattr(resource, f"RLIMIT_{name}")
        top = resource.getrlimit(kind)[1] + 1
        possible += could(f"raised the limit {name}", resource.setrlimit, kind, (top, top)) if top else [f"no {name}"]
    possible += could(f"started {given['tasks']} processes", fork, given["tasks"])
    few = given["tasks"] // 4
    if not could("it can", fork, few):
        possible += [
            f"cannot start even {few} processes; before Linux 5.14 the limit counts those of all boxes together"
        ]
    return possible


def fork(count):
    """Have so many children at once; they end with this program's first process."""
    reader, writer = os.pipe()
    children = []
    try:
        for _ in range(count):
            child = os.fork()
            if child == 0:
                os.close(writer)
                os.read(reader, 1)
                os._exit(0)
            children.append(child)
    finally:
        os.close(writer)
        for child in children:
            os.waitpid(child, 0)


if __name__ == "__main__":
    with open(int(sys.argv[1])) as lines:
        wanted = json.loads(lines.readline())
    escapes = (network, files, environment, writing, privileges, limits)
    print(json.dumps({escape.__name__: escape(wanted) for escape in escapes}))
