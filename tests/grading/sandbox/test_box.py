"""The box: the traps of grading, each met by a box that holds and by one that was weakened to show the test failing.

Nothing here can harm the machine: all bounds are small, also in the weakened boxes.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from watching import alive, children, running, wait_until

from course_utils.command import doctor
from course_utils.exercises.catalogue import definition
from course_utils.grading import checker
from course_utils.grading.sandbox import forked, mounts, tightness
from course_utils.grading.sandbox.box import Box, Limits, NoBox, Times
from course_utils.grading.sandbox.forked import ForkedBox
from course_utils.grading.sandbox.processes import descendants

LITTLE = Limits(
    cpu_seconds=5,
    wall_seconds=10,
    memory_bytes=200_000_000,
    total_memory_bytes=150_000_000,
    tasks=12,
    tmp_bytes=4_000_000,
    tmp_files=200,
    output_bytes=10_000,
)
TORCH = {
    "memory_bytes": 850_000_000,
    "total_memory_bytes": 420_000_000,
}  # what a parent has imported counts in a forked box
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to give up")
pytestmark = pytest.mark.usefixtures("box_is_possible")


# -- weakened boxes --------------------------------------------------------------------------------------------


class Unfiltered(Box):
    def filter(self):
        return []


class Connected(Box):
    def namespaces(self):
        own = ["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent"]
        return [*own, "--uid", "65534", "--gid", "65534"]


class ConnectedUnfiltered(Connected, Unfiltered):
    pass


class Root(Box):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.uid = os.geteuid()


class ReadsAll(Root):
    def files(self):
        return [*super().files(), "--ro-bind", "/etc", "/etc"]


class Talkative(Box):
    def environment(self):
        return dict(os.environ)


class ShowsProcesses(Talkative):
    def files(self):
        return [*super().files(), "--proc", "/proc"]


class SharesProcesses(Box):
    def namespaces(self):
        return ["--unshare-user", "--unshare-net", "--uid", "65534", "--gid", "65534", "--die-with-parent"]


class Writable(Box):
    def files(self):
        arguments = super().files()
        at = max(i for i, part in enumerate(arguments) if part == "--remount-ro")
        return arguments[:at] + arguments[at + 2 :]


class Roomy(Box):
    def files(self):
        arguments = super().files()
        at = arguments.index("--size")
        return arguments[:at] + arguments[at + 2 :]


class Ungrouped(Box):
    def group(self):
        return None


class Unlimited(Ungrouped):
    def process_limits(self):
        return [mounts.program("prlimit"), "--core=0:0"]


class Unwatched(Box):  # but for the time
    def _exceeded(self, used, seconds):
        return "time" if seconds > self.limits.wall_seconds else ""


class Starved(Box):
    """As where the processes of all boxes count together, and others have nearly used them up."""

    def process_limits(self):
        return [*super().process_limits(), "--nproc=2:2"]


class UnfilteredFork(ForkedBox):
    def request(self):
        return super().request() | {"filter": ""}


class UnlimitedFork(ForkedBox):
    def request(self):
        return super().request() | {"bounds": {}}

    def group(self):
        return None


class RoomyFork(ForkedBox):
    def request(self):
        return super().request() | {"tmp_bytes": 10**9}


class UnwatchedFork(ForkedBox, Unwatched):
    pass


class UngroupedFork(ForkedBox):
    def group(self):
        return None


class PatientFork(ForkedBox):
    def _exceeded(self, used, seconds):
        return ""


class Patient(Box):
    def _exceeded(self, used, seconds):
        return ""


def little(kind, **others):
    """Small limits for what the program takes itself."""
    limits = replace(LITTLE, **others)
    if not issubclass(kind, ForkedBox):
        return limits
    return replace(limits, **{name: getattr(limits, name) + size for name, size in TORCH.items()})


def run(program, kind=Box, limits=None, seconds=12):
    """A box in which this program has ended, or was ended."""
    with kind(limits or little(kind), program) as box:
        box.wait(seconds)
    return box


@pytest.fixture(params=[Box, ForkedBox])
def kind(request, box_is_possible):
    """Both kinds of boxes, which must hold alike."""
    return request.param


@pytest.fixture(scope="module")
def why_no_forks(box_is_possible):
    """Why no box can be forked here, if so; the parent of forked boxes lives while these tests run."""
    why = ""
    try:
        with ForkedBox(program=""):
            pass
    except NoBox as error:
        why = str(error)
    yield why
    forked.end_parents()


@pytest.fixture(autouse=True)
def forks_where_needed(request, why_no_forks):
    """Skips a test of forked boxes where there are none."""
    kinds = getattr(request.node, "callspec", None)
    forks = kinds and any(isinstance(one, type) and issubclass(one, ForkedBox) for one in kinds.params.values())
    if why_no_forks and forks:
        pytest.skip(f"no box can be forked here: {why_no_forks}")


def last_line(box):
    lines = box.output.decode().strip().splitlines()
    assert lines, f"nothing was printed; the box ended with {box.why()!r}"
    return lines[-1]


# -- all escapes at once ---------------------------------------------------------------------------------------


def leaks(kind):
    return {tried.name for tried in tightness.examine(kind, little(kind)) if not tried.holds}


def test_a_box_holds_against_all_escapes(kind):
    assert leaks(kind) == set()
    assert [tried.name for tried in tightness.examine(kind, little(kind))] == list(tightness.CLAIMS)


@pytest.mark.parametrize(
    "kind, leak",
    [
        (ConnectedUnfiltered, {"network", "privileges"}),
        (Unfiltered, {"network", "privileges"}),
        pytest.param(ReadsAll, {"files", "privileges"}, marks=root_only),
        (Talkative, {"environment"}),
        (SharesProcesses, {"environment"}),
        (Writable, {"writing"}),
        (Roomy, {"writing"}),
        (Unlimited, {"limits"}),
        (Starved, {"limits"}),
        (UnfilteredFork, {"network", "privileges"}),
        (RoomyFork, {"writing"}),
        (UnlimitedFork, {"limits"}),
    ],
)
def test_the_escapes_find_what_is_missing_in_a_weakened_box(kind, leak):
    assert leaks(kind) >= leak


def test_a_leaky_box_is_not_graded_in(monkeypatch):
    monkeypatch.setattr(tightness, "Box", Talkative)
    with pytest.raises(NoBox, match=r"not tight: saw the variable .*Nothing is graded"):
        tightness.require()


def test_10_a_box_in_which_the_grader_s_program_does_not_run_is_not_graded_in(monkeypatch):
    """Packages that a box does not see, say: no escape would notice."""
    folders = [folder for folder in mounts.package_folders() if not os.path.isdir(f"{folder}/torch")]
    monkeypatch.setattr(mounts, "package_folders", lambda: folders)
    with pytest.raises(NoBox, match=r"program does not run in a box \(exited 1\).*No module named 'torch'"):
        tightness.require()
    found = {finding.topic: finding for finding in doctor.check_grading(pathlib.Path())}
    assert "does not run in a box" in found["grading"].text


def test_the_real_box_is_graded_in():
    tightness.require()


# -- the traps -------------------------------------------------------------------------------------------------

IDS_OUTSIDE = "import time; print('up', flush=True); time.sleep(8)"


def users_outside(kind):
    with kind(little(kind), IDS_OUTSIDE) as box:
        assert wait_until(lambda: b"up" in box.output)
        status = [pathlib.Path(f"/proc/{process}/status").read_text() for process in descendants(box._pid)]
        return {line.split()[1] for text in status for line in text.splitlines() if line.startswith("Uid")}


@root_only
def test_1_root_is_given_up_outside_too(kind):
    assert users_outside(kind) == {"65534"}
    assert users_outside(Root) == {"0"}


OPEN_FILES = """
import os, sys
for descriptor in set(range(3, 256)) - set(map(int, sys.argv[1:3])):
    try:
        print(descriptor, os.fstat(descriptor).st_size)
    except OSError:
        pass
print("done")
"""


def test_no_open_file_of_the_grader_is_inherited(monkeypatch, tmp_path):
    (tmp_path / "secret").write_text("s3cr3t")
    with open(tmp_path / "secret") as file:

        class Leaky(Box):
            def filter(self):
                self._given.append(file.fileno())
                return super().filter()

        os.set_inheritable(file.fileno(), True)
        assert run(OPEN_FILES).output == b"done\n"
        assert run(OPEN_FILES, Leaky).output == b"done\n"
        monkeypatch.setattr(mounts, "START", mounts.START.replace("os.closerange(first, last)", "pass"))
        assert b" 6\n" in run(OPEN_FILES, Leaky).output


def test_2_the_grader_s_environment_is_nowhere(monkeypatch, kind):
    monkeypatch.setenv("COURSE_TEST_TOKEN", "s3cr3t")
    program = """
import os
try:
    first = open("/proc/1/environ").read()
except OSError:
    first = ""
print("s3cr3t" in first, os.environ.get("COURSE_TEST_TOKEN"))
"""
    assert last_line(run(program, kind)) == "False None"
    assert last_line(run(program, Talkative)) == "False s3cr3t"
    assert last_line(run(program, ShowsProcesses)) == "True s3cr3t"


FORKS = """
import os, signal, sys, time
count = 0
try:
    while count < 30:
        if os.fork() == 0:
            time.sleep(20)
            os._exit(0)
        count += 1
except OSError:
    pass
print(count, flush=True)
"""


@pytest.mark.parametrize("kind, unlimited", [(Box, Unlimited), (ForkedBox, UnlimitedFork)])
def test_3_a_fork_bomb_is_bounded(kind, unlimited):
    assert 0 < int(last_line(run(FORKS, kind))) < LITTLE.tasks
    assert int(last_line(run(FORKS, unlimited))) == 30


class LimitedOutside(Box):
    def identity(self):
        return [*super().identity(), mounts.program("prlimit"), f"--nproc={self.limits.tasks}"]


def forks_beside_a_bomb(kind):
    try:
        with kind(little(kind), FORKS + "time.sleep(8)") as bomb:
            assert wait_until(lambda: bomb.output.strip())
            return int(last_line(run(FORKS, kind)))
    except (NoBox, AssertionError):
        return 0


@root_only
def test_3_a_fork_bomb_does_not_starve_the_neighbour(kind):
    assert forks_beside_a_bomb(kind) == int(last_line(run(FORKS, kind)))
    assert forks_beside_a_bomb(LimitedOutside) == 0


@pytest.mark.parametrize("kind, unlimited", [(Box, Unlimited), (ForkedBox, UnlimitedFork)])
def test_3_a_thread_bomb_is_bounded(kind, unlimited):
    program = """
import threading, time
count = 0
try:
    while count < 30:
        threading.Thread(target=time.sleep, args=(20,), daemon=True).start()
        count += 1
except RuntimeError:
    pass
print(count, flush=True)
"""
    assert 0 < int(last_line(run(program, kind))) < LITTLE.tasks
    assert int(last_line(run(program, unlimited))) == 30


WRITES = """
import os
places = []
for place in ("/", "/dev", "/dev/shm", "/course", "/usr/lib", "/etc", "/proc"):
    try:
        open(place + "/x", "wb").write(bytes(10))
        places.append(place)
    except OSError:
        pass
print(places)
"""


def test_4_only_tmp_can_be_written_to(kind):
    assert last_line(run(WRITES, kind)) == "[]"
    assert "/" in last_line(run(WRITES, Writable))


FILLS = """
size = 0
try:
    for i in range(8):
        file = open(f"/tmp/{i}", "wb", buffering=0)
        for _ in range(20):
            size += file.write(bytes(100_000))
except OSError:
    pass
print(size)
"""


@pytest.mark.parametrize("kind, roomy", [(Box, Roomy), (ForkedBox, RoomyFork)])
def test_4_tmp_is_bounded(kind, roomy):
    assert 0 < int(last_line(run(FILLS, kind))) <= LITTLE.tmp_bytes
    assert int(last_line(run(FILLS, roomy))) == 16_000_000


@pytest.mark.parametrize("kind, unwatched", [(Box, Unwatched), (ForkedBox, UnwatchedFork)])
def test_4_so_is_the_number_of_files_in_it(kind, unwatched):
    program = "import time\nfor i in range(400):\n    open(f'/tmp/{i}', 'w').close()\ntime.sleep(0.5)"
    assert run(program, kind).why() == "files"
    assert run(program, unwatched).why() == "exited 0"


def test_4_nor_are_this_machine_s_files_counted_while_a_box_is_being_made(kind, monkeypatch):
    """On a busy machine the watch may look before bubblewrap has made the box's own /tmp."""
    monkeypatch.setattr("course_utils.grading.sandbox.box.INTERVAL", 0.0)
    assert os.statvfs("/").f_files - os.statvfs("/").f_ffree > LITTLE.tmp_files
    assert [run("print(1)", kind).why() for _ in range(8)] == ["exited 0"] * 8


BOMB = "import time; kept = bytearray(b'x') * {size}; print(len(kept), flush=True); time.sleep({seconds})"
BOMBS = """
import os, time
for _ in range(5):
    if os.fork() == 0:
        kept = bytearray(b"x") * 60_000_000
        time.sleep(1)
        os._exit(0)
for _ in range(5):
    os.wait()
"""


@pytest.mark.parametrize("kind, unlimited", [(Box, Unlimited), (ForkedBox, UnlimitedFork)])
def test_5_memory_of_one_process_is_bounded(kind, unlimited):
    program = BOMB.format(size=240_000_000, seconds=0)
    assert last_line(run(program, kind)) == "MemoryError"
    assert last_line(run(program, unlimited, replace(LITTLE, total_memory_bytes=10**9))) == "240000000"


class UnwatchedUngrouped(Unwatched, Ungrouped):
    pass


class UnwatchedUngroupedFork(UngroupedFork, Unwatched):
    pass


@pytest.mark.parametrize(
    "ungrouped, neither", [(Ungrouped, UnwatchedUngrouped), (UngroupedFork, UnwatchedUngroupedFork)]
)
def test_5_memory_of_many_processes_is_bounded_by_the_watch(ungrouped, neither):
    limits = replace(LITTLE, memory_bytes=10**9)
    box = run(BOMBS, ungrouped, limits)
    assert box.why() == "memory"
    assert LITTLE.total_memory_bytes < box.peak_memory
    assert run(BOMBS, neither, limits).why() == "exited 0"


@pytest.mark.parametrize("kind, ungrouped", [(Box, Ungrouped), (ForkedBox, UngroupedFork)])
def test_5_memory_of_many_processes_is_bounded_by_the_kernel_where_there_are_control_groups(
    monkeypatch, kind, ungrouped
):
    with Box(LITTLE, "") as box:
        if box.group() is None:
            pytest.skip("no control group can be made here")
    monkeypatch.setattr("course_utils.grading.sandbox.box.INTERVAL", 60.0)
    limits = replace(LITTLE, memory_bytes=10**9)
    assert run(BOMBS, kind, limits).why() == "memory"
    assert run(BOMBS, ungrouped, limits).why() == "exited 0"


def test_5_what_processes_share_counts_once(kind):
    program = """
import os, time
kept = bytearray(b"x") * 80_000_000
for _ in range(4):
    if os.fork() == 0:
        time.sleep(0.5)
        os._exit(0)
for _ in range(4):
    os.wait()
"""
    assert run(program, kind).why() == "exited 0"


def test_5_peak_memory_is_what_the_program_took(kind):
    box, own = run(BOMB.format(size=80_000_000, seconds=0.3), kind), TORCH["total_memory_bytes"] * (kind is ForkedBox)
    assert 80_000_000 < box.peak_memory < 120_000_000 + own


class KeepsTmp(Unwatched):
    """All boxes of a place share its /tmp; nobody counts the files of the file system that it lies in."""

    place = ""

    def files(self):
        arguments = super().files()
        at = arguments.index("--tmpfs")
        return [*arguments[: at - 4], "--bind", self.place, *arguments[at + 1 :]]


WRITES_AND_LOOKS = """
import os
print({*os.listdir('/tmp'), *os.listdir('.')} or [])
for place in ('/tmp/inputs', 'inputs'):
    open(place, 'w').write('noted')
"""


def test_what_a_box_writes_is_not_there_in_the_next(tmp_path, monkeypatch, kind):
    assert [last_line(run(WRITES_AND_LOOKS, kind)) for _ in range(2)] == ["[]", "[]"]
    place = tempfile.mkdtemp(dir="/var/tmp")
    os.chmod(place, 0o777)
    monkeypatch.setattr(KeepsTmp, "place", place)
    try:
        assert [last_line(run(WRITES_AND_LOOKS, KeepsTmp)) for _ in range(2)] == ["[]", "{'inputs'}"]
    finally:
        shutil.rmtree(place)


LESSON = "exercises/lessons/l02_lstm_gates.py"
REFERENCE = "c_next = f * c + i * g"  # a line of lesson 02's reference
FINDS = f"""
import os
found = []
for folder, inner, names in os.walk("/"):
    for name in names if "/course_utils" in folder or folder.startswith("/course") else []:
        path = os.path.join(folder, name)
        if name != "program.py" and {REFERENCE!r} in open(path, errors="replace").read():
            found.append(path)
print(found)
"""


def test_6_the_references_are_not_on_the_box_s_disk(monkeypatch, kind):
    assert REFERENCE in (mounts.PACKAGE / LESSON).read_text()
    assert last_line(run(FINDS, kind)) == "[]"
    files = [*mounts.course_files(), LESSON]
    monkeypatch.setattr(mounts, "course_files", lambda: files)
    assert last_line(run(FINDS)) == f"['/course/course_utils/{LESSON}']"


@pytest.fixture
def installed_course():
    """A folder of packages in which the whole course is installed, and readable for everybody."""
    folder = tempfile.mkdtemp(dir="/var/tmp")
    os.chmod(folder, 0o755)
    place = pathlib.Path(folder, "course_utils", LESSON)
    place.parent.mkdir(parents=True)
    shutil.copy(mounts.PACKAGE / LESSON, place)
    yield folder
    shutil.rmtree(folder)


def test_6_nor_where_the_course_is_installed(monkeypatch, installed_course):
    folders = [*mounts.package_folders(), installed_course]
    monkeypatch.setattr(mounts, "package_folders", lambda: folders)
    assert last_line(run(FINDS)) == "[]"
    monkeypatch.setattr(mounts, "_hidden", lambda folder: [])
    assert last_line(run(FINDS)) == f"['{installed_course}/course_utils/{LESSON}']"


def test_packages_below_the_system_s_temporary_directory_are_seen(monkeypatch):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        pathlib.Path(folder, "below_tmp.py").write_text("there = 'found'")
        folders = [*mounts.package_folders(), folder]
        monkeypatch.setattr(mounts, "package_folders", lambda: folders)
        assert last_line(run("import below_tmp; print(below_tmp.there)")) == "found"
        with pytest.raises(NoBox, match="below /tmp"):
            forked.Parent().__enter__()


@root_only
def test_6_packages_that_the_unprivileged_user_cannot_read_are_reported(monkeypatch, installed_course):
    os.chmod(installed_course, 0o700)
    monkeypatch.setattr(mounts, "package_folders", lambda: [installed_course])
    with pytest.raises(NoBox, match=f"cannot read {installed_course}.*Put the virtual environment"):
        Box(LITTLE, "").__enter__()


class KillsTheOuterOne(Box):
    def _end(self):
        self._process.kill()  # and nobody waits


@pytest.mark.parametrize("program", ["", "import time; time.sleep(20)", FORKS + "time.sleep(20)"])
def test_7_no_process_and_no_zombie_is_left(program, kind):
    before = children()
    with kind(little(kind), program) as box:
        if program:
            assert wait_until(lambda: len(descendants(box._pid)) > 1)
        processes = {*([box._process.pid] if kind is Box else []), *descendants(box._pid)}
        if not program:
            box.wait(5)
    assert not [process for process in processes if alive(process)]
    assert children() == before


def test_7_the_check_sees_a_zombie():
    with KillsTheOuterOne(LITTLE, "import time; print('up', flush=True); time.sleep(20)") as box:
        assert wait_until(lambda: box.output)  # earlier, process 1 would not die with it
    assert wait_until(lambda: not running(box._process.pid))
    assert alive(box._process.pid) and box._process.pid in children()
    box._process.wait()


def test_7_nothing_survives_the_grader(kind):
    program = f"""
import time
from {kind.__module__} import {kind.__name__}
with {kind.__name__}(program="import time; print('up', flush=True); time.sleep(30)") as box:
    while not box.output:
        time.sleep(0.01)
    print(box._pid, flush=True)
    time.sleep(30)
"""
    grader = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert grader.stdout is not None
    with grader.stdout as lines:
        process = int(lines.readline())
        assert running(process)
        grader.kill()
        grader.wait()
    assert wait_until(lambda: not running(process))


PRINTS = "import sys\nfor _ in range(30):\n    sys.stdout.write('x' * 100_000)\nsys.stdout.flush()"


def test_8_output_is_capped_while_it_streams(kind):
    box = run(PRINTS, kind)
    assert (len(box.output), box.why()) == (LITTLE.output_bytes, "exited 0")
    assert len(run(PRINTS, kind, little(kind, output_bytes=10**9)).output) == 3_000_000


ENDLESS = "import os\nwhile True:\n    os.write(1, b'x' * 10_000)"


@pytest.mark.parametrize("kind, patient", [(Box, Patient), (ForkedBox, PatientFork)])
def test_8_endless_output_ends_at_the_time_limit(kind, patient):
    limits = little(kind, wall_seconds=0.5)
    box = run(ENDLESS, kind, limits)
    assert (len(box.output), box.why()) == (LITTLE.output_bytes, "time")
    assert run(ENDLESS, patient, limits, seconds=1.5).why() == ""


def test_9_a_failing_statement_does_not_lose_the_definitions_after_it(kind):
    cells = [
        "from google.colab import drive\ndrive.mount('/content')",
        "import torch",
        definition("lstm_update").source().replace("    c_next =", "    later = lambda: drive\n    c_next ="),
    ]
    result = checker.grade(cells, ["lstm_update"], "student", b"secret", kind)
    assert [(mark.name, mark.status) for mark in result.marks] == [("lstm_update", "right")]
    cells[2] = cells[2].replace("f * c", "f + c")
    result = checker.grade(cells, ["lstm_update"], "student", b"secret", kind)
    assert result.marks[0].points == 0


def test_10_without_bubblewrap_nothing_runs(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name, path: None if name == "bwrap" else f"/usr/bin/{name}")
    with pytest.raises(NoBox, match=r"bwrap is not installed\. Run `sudo apt-get install bubblewrap`"):
        Box(LITTLE, "").__enter__()


def test_10_the_doctor_says_so_with_the_remedy(monkeypatch):
    monkeypatch.setattr(tightness, "Box", Talkative)
    found = {finding.topic: finding for finding in doctor.check_grading(pathlib.Path())}
    assert [name for name, finding in found.items() if finding.state != doctor.OK] == ["box, environment"]
    assert "grade on another machine" in found["box, environment"].remedy
    monkeypatch.setattr(shutil, "which", lambda name, path: None if name == "bwrap" else f"/usr/bin/{name}")
    [finding] = doctor.check_grading(pathlib.Path())
    assert finding.state == doctor.WARNING
    assert "nothing can be graded here: bwrap is not installed. Run `sudo apt-get install bubblewrap`" in finding.text


@pytest.mark.parametrize(
    "said, remedy",
    [
        ("bwrap: setting up uid map: Permission denied", "AppArmor"),
        ("bwrap: No permissions to create new namespace", "seccomp=unconfined"),
        ("bwrap: something else", "course doctor"),
        ("", "does not answer"),
    ],
)
def test_10_where_namespaces_are_forbidden_nothing_runs(monkeypatch, said, remedy):
    class Forbidden(Box):
        def identity(self):
            return ["/bin/sh", "-c", f"echo '{said}' >&2; exit 1"]

    before = children()
    with pytest.raises(NoBox, match=remedy) as caught:
        Forbidden(LITTLE, "print('it ran')").__enter__()
    assert said in str(caught.value) and "it ran" not in str(caught.value)
    assert children() == before


def test_10_without_a_filter_of_system_calls_nothing_runs(monkeypatch):
    from course_utils.grading.sandbox import seccomp

    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    seccomp.program.cache_clear()
    with pytest.raises(NoBox, match="pip install pyseccomp"):
        Box(LITTLE, "").__enter__()


# -- behaviour -------------------------------------------------------------------------------------------------

IGNORES = "import signal\nfor n in set(range(1, 65)) - {9, 19, 32, 33}:\n    signal.signal(n, signal.SIG_IGN)\n"


@pytest.mark.parametrize("program", ["import time; time.sleep(20)", IGNORES + "while True: pass", "print(1)"])
def test_time_is_bounded_whatever_the_program_ignores(program, kind):
    start = time.monotonic()
    with kind(little(kind, wall_seconds=0.7), program) as box:
        box.wait(6)
    assert box.why() == ("exited 0" if program == "print(1)" else "time")
    assert time.monotonic() - start < 4
    assert not alive(box._pid)


SPINS = (
    "import os, time\nfor _ in range(3):\n    if os.fork() == 0: break\n{ignores}while time.process_time() < 0.5: pass"
)


@pytest.mark.parametrize("kind, unwatched", [(Box, Unwatched), (ForkedBox, UnwatchedFork)])
def test_processor_time_of_all_processes_together_is_bounded(kind, unwatched):
    program = SPINS.format(ignores=IGNORES)
    assert run(program, kind, little(kind, cpu_seconds=0.5)).why() == "cpu"
    assert run(program, unwatched, little(unwatched, cpu_seconds=0.5)).why() != "cpu"


UNCOUNTED = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children, so that nobody counts what they computed
for _ in range(5):
    if os.fork() == 0:
        while time.process_time() < 0.3: pass
        os._exit(0)
    try:
        os.wait()
    except ChildProcessError:
        continue
time.sleep(0.5)
"""


@pytest.mark.parametrize("kind, ungrouped", [(Box, Ungrouped), (ForkedBox, UngroupedFork)])
def test_processor_time_of_children_that_nobody_waits_for_counts_where_there_are_control_groups(kind, ungrouped):
    with Box(LITTLE, "") as box:
        if box.group() is None:
            pytest.skip("no control group can be made here")
    assert run(UNCOUNTED, kind, little(kind, cpu_seconds=1.0, wall_seconds=30), 30).why() == "cpu"
    assert run(UNCOUNTED, ungrouped, little(ungrouped, cpu_seconds=1.0, wall_seconds=30), 30).why() != "cpu"


def test_time_counts_in_which_a_box_sleeps_or_computes_but_not_that_in_which_others_had_the_processors():
    start = Times(100.0, 2.0, 1.0)
    assert Times(110.0, 2.0, 1.0).since(start) == 10.0, "it slept"
    assert Times(110.0, 12.0, 1.0).since(start) == 10.0, "it computed"
    assert Times(110.0, 4.5, 8.0).since(start) == 3.0, "and slept for half a second"
    assert Times(110.0, 11.0, 10.5).since(start) == 9.0, "its own processes had the processors"
    assert Times(180.0, 2.5, 80.5).charged(start) == 10.0, "however long it is kept waiting, it ends some day"


@pytest.mark.parametrize(
    "program, why",
    [
        ("", "exited 0"),
        ("import sys; sys.exit(3)", "exited 3"),
        ("import os; os._exit(7)", "exited 7"),
        ("1 / 0", "exited 1"),
        ("import os; os.abort()", "killed"),
        ("import ctypes; ctypes.string_at(0)", "killed"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed"),
    ],
)
def test_why_tells_how_it_ended(program, why, kind):
    assert run(program, kind).why() == why


def test_a_running_box_has_not_ended(kind):
    with kind(little(kind), "import time; time.sleep(20)") as box:
        assert box.why() == ""
    assert box.why() == ""


def test_the_program_cannot_forge_how_it_ended(kind):
    program = """
import os
for descriptor in range(3, 256):
    try:
        os.write(descriptor, b'{ "exit-code": 0 }')
    except OSError:
        pass
os._exit(9)
"""
    assert run(program, kind).why() == "exited 9"


LISTS = """
import os
for descriptor in range(1024):
    try:
        os.fstat(descriptor)
        print(descriptor)
    except OSError:
        pass
"""


def test_a_program_starts_with_its_own_descriptors_alone_whatever_bubblewrap_leaves_open(tmp_path):
    (tmp_path / "lists.py").write_text(LISTS)
    with contextlib.ExitStack() as files:
        given = [files.enter_context(open(os.devnull)).fileno() for _ in range(300)]
        arguments = [str(given[0]), str(given[-2]), "lists", str(tmp_path)]
        command = [sys.executable, "-I", "-S", "-c", mounts.START, *arguments]
        told = subprocess.run(command, pass_fds=given, capture_output=True, text=True).stdout
    assert told.split() == ["0", "1", "2", *arguments[:2]]


ECHOES = "import os, sys\nr, w = map(int, sys.argv[1:])\nwhile part := os.read(r, 100): os.write(w, part)"


def answers(box):
    os.set_blocking(box.channel.reader, True)
    os.write(box.channel.writer, b"hello")
    return os.read(box.channel.reader, 100) == b"hello"


EVERYBODY = """
if os.fork() == 0:
    os.kill(-1, signal.SIGKILL)
signal.pause()
"""
FIRST = "import os, signal; os.kill(1, signal.SIGKILL); os.kill(1, signal.SIGINT)"


def test_kill_everybody_reaches_the_own_box_only(kind):
    with kind(little(kind), ECHOES) as neighbour:
        assert answers(neighbour)
        assert run(FIRST + EVERYBODY, kind).why() == "killed"
        assert answers(neighbour)
        assert run("import os, signal; os.kill(0, signal.SIGKILL)", kind).why() == "killed"  # its process group
        assert answers(neighbour)


def test_kill_everybody_does_reach_everybody_in_a_box():
    sleeper = "import os, signal, time\nif os.fork() == 0:\n    time.sleep(1)\n    print('alive', flush=True)\n    {}"
    assert last_line(run(sleeper.format("os._exit(0)\nos.wait()"))) == "alive"
    assert run(sleeper.format("os._exit(0)") + EVERYBODY).output == b""


DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        for descriptor in range(3):
            os.close(descriptor)
        time.sleep(20)
    os._exit(0)
os.wait()
print('ready', flush=True)
{end}
"""


@pytest.mark.parametrize("end", ["time.sleep(0.5)", "time.sleep(20)"])
def test_daemons_die_with_the_box(end, kind):
    with kind(little(kind), DAEMON.format(end=end)) as box:
        assert wait_until(lambda: b"ready" in box.output)
        processes = descendants(box._pid)
        assert len(processes) == 3, "the daemon is not among them"
        if end == "time.sleep(0.5)":
            assert wait_until(lambda: not any(map(running, processes)))
    assert not any(map(alive, processes))


def test_daemons_outlive_a_box_without_processes_of_its_own():
    box = run(DAEMON.format(end=""), SharesProcesses)
    [daemon] = [int(word) for word in box.output.split() if word != b"ready"]
    assert running(daemon)
    os.kill(daemon, signal.SIGKILL)
    os.waitpid(daemon, 0)


@pytest.mark.parametrize(
    "attempt",
    [
        "os.memfd_create('x')",
        "mmap.mmap(-1, 4096)",
        "socket.socketpair()",
        "socket.socket()",
        "ctypes.CDLL(None).shmget(0, 4096, 0o1600) + 1 or 1 / 0",
    ],
)
@pytest.mark.parametrize("kind, unfiltered", [(Box, Unfiltered), (ForkedBox, UnfilteredFork)])
def test_memory_that_nobody_counts_is_refused(attempt, kind, unfiltered):
    program = (
        f"import ctypes, mmap, os, socket\ntry:\n    {attempt}\n    print('made')\nexcept Exception: print('refused')"
    )
    assert last_line(run(program, kind)) == "refused"
    assert last_line(run(program, unfiltered)) == "made"


@pytest.mark.parametrize(
    "kind, reached", [(Unfiltered, False), (UnfilteredFork, False), (Connected, False), (ConnectedUnfiltered, True)]
)
def test_no_network_twice_over(kind, reached):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        program = (
            f"import socket\ntry: socket.create_connection(('127.0.0.1', {port}), 1); print(True)\n"
            "except OSError: print(False)"
        )
        assert last_line(run(program, kind)) == str(reached)


def test_torch_works_in_a_box_and_says_nothing(kind):
    program = "import torch\nx = torch.ones(3, requires_grad=True)\n(x * x).sum().backward()\nprint(x.grad.tolist())"
    box = run(program, kind, Limits(), seconds=30)
    assert box.output.decode() == "[2.0, 2.0, 2.0]\n"
    assert box.peak_memory < Limits().total_memory_bytes / 2


def test_a_compiled_function_runs_as_it_stands(kind):
    program = "import torch\nf = torch.compile(lambda x: x + 1)\nprint(f(torch.ones(2)).tolist())"
    assert run(program, kind, Limits(), seconds=60).output.decode() == "[2.0, 2.0]\n"


def test_a_copied_interpreter_is_complete_and_unwritable(monkeypatch, installed_course):
    monkeypatch.setattr(mounts, "CACHE", pathlib.Path(installed_course, "cache"))
    mounts.staged.cache_clear()
    try:
        python, library = mounts.staged()
        assert mounts.reachable(python, mounts.NOBODY) and mounts.reachable(library, mounts.NOBODY)
        assert not any("site-packages" in folders for _, folders, _ in os.walk(library))
        loose = [path for path in pathlib.Path(python).parent.rglob("*") if stat.S_IMODE(path.lstat().st_mode) & 0o022]
        assert [path for path in loose if not path.is_symlink()] == []
        os.chmod(mounts.CACHE, 0o777)
        mounts.staged.cache_clear()
        with pytest.raises(NoBox, match="can be changed by others"):
            mounts.staged()
    finally:
        mounts.staged.cache_clear()


def test_no_descriptors_are_left_open(kind):
    run("", kind)
    before = len(os.listdir("/proc/self/fd"))
    for program in ("", "import time; time.sleep(20)", "1 / 0"):
        with kind(little(kind), program):
            pass
    assert len(os.listdir("/proc/self/fd")) == before


def refused(*_, **__):
    raise BlockingIOError("no more processes")


@pytest.mark.parametrize("place", ["course_utils.grading.sandbox.mounts.program", "subprocess.Popen"])
def test_nothing_is_left_of_a_box_that_cannot_be_started(monkeypatch, place):
    run("")
    descriptors, processes = os.listdir("/proc/self/fd"), children()
    box = Box(LITTLE, "import time; time.sleep(20)")
    with monkeypatch.context() as patched:
        patched.setattr(place, refused)
        with pytest.raises(BlockingIOError):
            box.__enter__()
    assert (os.listdir("/proc/self/fd"), children()) == (descriptors, processes)
    assert not any(folder.exists() for folder in getattr(box._group, "folders", []))


def test_after_all_of_this_no_process_is_left():
    forked.end_parents()
    names = [path.read_bytes() for path in pathlib.Path("/proc").glob("[0-9]*/cmdline") if _is_ours(path)]
    assert [name for name in names if b"/course/start.py" in name] == []


def _is_ours(path):
    """Whether this process is its ancestor, or nobody any more."""
    try:
        parent = int((path.parent / "stat").read_text().rpartition(")")[2].split()[1])
        return parent in (1, os.getpid())
    except (OSError, IndexError):
        return False


def test_several_threads_may_end_a_box_at_once(kind):
    with kind(little(kind), "import time\ntime.sleep(30)") as box, ThreadPoolExecutor(8) as threads:
        for _ in threads.map(lambda _: box._end(), range(8)):
            pass
        assert box.why() == "killed"
