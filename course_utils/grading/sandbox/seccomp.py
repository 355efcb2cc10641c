"""The system calls that code in a box may not make: a list of refusals, compiled for the kernel.

A box's program needs files, memory, threads and pipes. Refused is what widens the kernel's surface without need
(mounting, tracing, BPF, key rings, new namespaces), and memory that no limit of a box counts: System V segments,
memfd, shared anonymous memory (of which pages stay after they are unmapped), the buffers of sockets.
"""

from __future__ import annotations

import errno
import functools
import os
import tempfile

from course_utils.grading.sandbox.mounts import NoBox

REFUSED = """
ptrace process_vm_readv process_vm_writev process_madvise kcmp pidfd_getfd
mount umount umount2 pivot_root chroot move_mount open_tree open_tree_attr fsopen fsconfig fsmount fspick mount_setattr
swapon swapoff quotactl quotactl_fd open_by_handle_at name_to_handle_at fanotify_init
unshare setns bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register lookup_dcookie
keyctl add_key request_key
memfd_create memfd_secret shmget shmat shmctl semget semop semctl msgget msgsnd msgctl mq_open
socket socketpair connect bind listen accept accept4 sendto sendmsg sendmmsg recvmmsg
kexec_load kexec_file_load init_module finit_module delete_module create_module reboot syslog acct
settimeofday clock_settime clock_adjtime adjtimex stime sethostname setdomainname iopl ioperm modify_ldt vm86 vm86old
personality mbind set_mempolicy set_mempolicy_home_node migrate_pages move_pages mlock mlock2 mlockall vmsplice tee
landlock_create_ruleset seccomp nfsservctl uselib ustat sysfs vhangup
"""
NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET
SHARED_ANONYMOUS = 0x21  # MAP_SHARED | MAP_ANONYMOUS


@functools.cache
def program() -> bytes:
    """The filter as BPF, for `bwrap --seccomp`. Raises NoBox where libseccomp is missing."""
    try:
        import pyseccomp
    except (ImportError, OSError, RuntimeError) as error:
        raise NoBox(
            f"system calls cannot be filtered ({error}). Run `python -m pip install pyseccomp` and "
            "`sudo apt-get install libseccomp2`"
        ) from None
    made = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    no = pyseccomp.ERRNO(errno.EPERM)
    for name in REFUSED.split():
        if _is_known(pyseccomp, name):
            made.add_rule(no, name)
    for bit in (1 << i for i in range(32)):
        if bit & NEW_NAMESPACES:
            made.add_rule(no, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, bit, bit))
    made.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")  # its flags cannot be seen; libc then falls back to clone
    made.add_rule(no, "mmap", pyseccomp.Arg(3, pyseccomp.MASKED_EQ, SHARED_ANONYMOUS, SHARED_ANONYMOUS))
    with tempfile.TemporaryFile() as file:
        made.export_bpf(file)
        file.flush()
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        return file.read()


def _is_known(library: object, name: str) -> bool:
    """Whether this libseccomp, on this architecture, has that system call; negative numbers stand for absent ones."""
    try:
        return library.resolve_syscall(library.Arch.NATIVE, name) != -1  # type: ignore[attr-defined]
    except (ValueError, OSError):
        return False
