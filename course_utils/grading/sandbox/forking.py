"""The parent of forked boxes: `forked.py` runs this text as the program of a box that no student's code ever enters.

It imports once what every box imports, and what the grader names beside that, has one thread and no memory that it could share, computes nothing, and forks a
process for each box that is asked for. What becomes a student's process leaves the parent's namespaces first; then, as
process 1 of its own, it waits until the grader has put it into a control group, takes the limits and the filter of
system calls upon itself, says so, and forks the one that runs the program. Only that one reads what the grader sends.

A request is JSON with four descriptors: the box's end of both pipes, where it prints, and where process 1 tells how it
ended, in bubblewrap's words. The answer is a descriptor of process 1, or what went wrong.
"""

import ctypes
import gc
import importlib
import json
import os
import resource
import runpy
import signal
import socket
import struct
import sys
import traceback
import types

IMPORTED = ["course_utils.boxed.extract", "course_utils.boxed.observe", "course_utils.boxed.operators"]
IMPORTED += ["course_utils.boxed.wire", "course_utils.boxed.forbidden"]
NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET
PRIVATE = 0x44000  # MS_REC | MS_PRIVATE
READ_ONLY, NO_SUID, NO_DEVICES, NO_PROGRAMS, REMOUNT = 1, 2, 4, 8, 32  # of mount
HARMLESS = NO_SUID | NO_DEVICES | NO_PROGRAMS
DROP_FROM_BOUNDING_SET, NO_NEW_PRIVILEGES, SECCOMP, FILTER = 24, 38, 22, 2  # of prctl
CAPABILITIES = 64  # at most
CAPABILITY_VERSION = 0x20080522
REQUEST = 200_000  # bytes

LIBC = ctypes.CDLL(None, use_errno=True)


def checked(result):
    """Raise OSError where a call of the C library has failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def mount(kind, place, flags, options=b""):
    """Mount a file system of this kind; without one, change how the mounts below `place` spread."""
    checked(LIBC.mount(kind, place, kind, ctypes.c_ulong(flags), options))


def write(path, text):
    """Write to a file of /proc, in one piece."""
    with open(path, "wb", buffering=0) as file:
        file.write(text)


def only(*kept):
    """Close all descriptors above 2 but these."""
    last = 2
    for descriptor in [*sorted(kept), 1 << 20]:
        os.closerange(last + 1, descriptor)
        last = descriptor


def leave(request):
    """Leave the parent's namespaces: own users, files, network and so on; the next child is process 1."""
    os.setsid()  # signals to a process group do not stop at namespaces
    ids = f"{os.getuid()} {os.getuid()} 1".encode(), f"{os.getgid()} {os.getgid()} 1".encode()
    checked(LIBC.unshare(NAMESPACES))
    write("/proc/self/setgroups", b"deny")
    write("/proc/self/uid_map", ids[0])
    write("/proc/self/gid_map", ids[1])
    mount(None, b"/", PRIVATE)
    mount(b"tmpfs", b"/tmp", NO_SUID | NO_DEVICES, f"size={request['tmp_bytes']},mode=0700".encode())
    os.chdir("/tmp")


def confine(request):
    """Take limits and filter upon oneself, for good: no processes in /proc, no capabilities, no way to get any."""
    with open("/proc/cpuinfo", "rb") as file:
        cpuinfo = file.read()
    mount(b"tmpfs", b"/proc", HARMLESS, b"size=4m")
    write("/proc/cpuinfo", cpuinfo)
    mount(None, b"/proc", HARMLESS | REMOUNT | READ_ONLY)
    for name, bound in request["bounds"].items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), (bound, bound))
    for capability in range(CAPABILITIES):
        LIBC.prctl(DROP_FROM_BOUNDING_SET, capability, 0, 0, 0)  # fails beyond the last one that there is
    checked(LIBC.capset(struct.pack("<II", CAPABILITY_VERSION, 0), bytes(24)))
    checked(LIBC.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    bpf = bytes.fromhex(request["filter"])
    if bpf:
        program = ctypes.create_string_buffer(bpf, len(bpf))
        checked(LIBC.prctl(SECCOMP, FILTER, struct.pack("HxxxxxxP", len(bpf) // 8, ctypes.addressof(program)), 0, 0))


def first_process(request, reader, writer, out, status):
    """Process 1 of a box: returns only in its child, which runs the program; ends, and all with it, when that one does."""
    for descriptor in (1, 2):
        os.dup2(out, descriptor)
    only(reader, writer, status)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # what process 1 does not handle does not reach it
    if not os.read(reader, 1):
        os._exit(1)  # the grader is gone
    confine(request)
    child = os.fork()
    if child == 0:
        os.close(status)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return
    only(status)
    os.write(status, b'{ "child-pid": 1 }\n')
    while True:
        ended, how = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(how)
            os.write(status, b'{ "exit-code": %d }\n' % (code if code >= 0 else 128 - code))
            os._exit(0)


def fork(asked, request, given):
    """In a new child of the parent: leave it, tell the grader of process 1, and end. Returns as `first_process` does."""
    leave(request)
    child = os.fork()
    if child == 0:
        try:
            return first_process(request, *given)
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}".encode())
            os._exit(1)
    socket.send_fds(asked, [b"forked"], [os.pidfd_open(child)])
    os._exit(0)


def students_process(asked):
    """Fork boxes as long as they are asked for. Returns in a box, to run the program there: its text, and both pipes."""
    while True:
        data, given, _, _ = socket.recv_fds(asked, REQUEST, 4)
        if not data:
            os._exit(0)
        child = os.fork()
        if child == 0:
            try:
                request = json.loads(data)
                fork(asked, request, given)
                return request["program"], given[:2]
            except BaseException as error:
                asked.send(f"{type(error).__name__}: {error}".encode())
                os._exit(1)
        for descriptor in given:
            os.close(descriptor)
        os.waitpid(child, 0)


def shared_memory():
    """How many pieces of memory it would share with its children."""
    with open("/proc/self/maps") as maps:
        return sum(line.split()[1].startswith("rw") and line.split()[1].endswith("s") for line in maps)


def run(program):
    """Run a box's program as if it had been started there. Returns its exit status."""
    try:
        if program is None:
            runpy.run_module("course_utils.boxed.serve", run_name="__main__", alter_sys=True)
        else:
            main = sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(program, "program.py", "exec"), vars(main))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main():
    """Fork boxes, and in each of them run its program."""
    asked, environment = socket.socket(fileno=int(sys.argv[1])), dict(os.environ)
    for name in IMPORTED + json.loads(asked.recv(REQUEST)):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    asked.send(json.dumps({"threads": len(os.listdir("/proc/self/task")), "shared": shared_memory()}).encode())
    program, pipes = students_process(asked)
    sys.argv[1:] = map(str, pipes)
    for name in os.environ.keys() - environment:  # libraries note things there when they are imported
        del os.environ[name]
    gc.enable()
    status = run(program)
    sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
