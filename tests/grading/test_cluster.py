"""Schedulers and workers of their own, started as docs/grading.md says: whatever dies or does not fit, nothing is lost.

The boxes are real where a test says so; elsewhere they are none (`fake_box`), so that many submissions take no time.
"""

import contextlib
import functools
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
from dask import config
from distributed import Client
from distributed.security import Security
from rich.console import Console
from test_grader import LUCKY, NAMES, RIGHT, deadly, hand_in, inline, results, slow, steady
from test_submissions import notebook

from course_utils.grading import grader, pool
from course_utils.grading.grader import run
from course_utils.grading.sandbox.mounts import NoBox
from course_utils.grading.store import GradingError

ROOT = Path(grader.__file__).parents[2]


class Cluster:
    """A scheduler on this machine, and its workers; all of them end with the context."""

    def __init__(self, folder, *arguments, **settings):
        self.folder, self.workers = folder, []
        self.file = folder / "scheduler.json"
        places = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--dashboard-address", "127.0.0.1:0")
        self._started = contextlib.ExitStack()
        self.scheduler = self._start("scheduler", *places, "--scheduler-file", str(self.file), *arguments, **settings)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._started.close()

    @property
    def address(self):
        wait_until(lambda: self.file.exists() and self.file.stat().st_size)
        return json.loads(self.file.read_text())["address"]

    def worker(self, *arguments, **settings):
        """Start one as the page says; returns its nanny's process."""
        places = ("--host", "127.0.0.1", "--local-directory", str(self.folder), "--no-dashboard")
        made = self._start("worker", self.address, "--nthreads", "1", *places, *arguments, **settings)
        self.workers.append(made)
        return made

    def _start(self, what, *arguments, **settings):
        search = os.pathsep.join([settings.pop("first", ""), str(Path(__file__).parent), *sys.path]).strip(os.pathsep)
        with open(self.folder / f"{what}.log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", what, *arguments],
                env={**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1", **settings},
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        self._started.callback(end, process)
        return process


def end(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until(true, seconds=60.0):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "in vain"
        time.sleep(0.02)


def once(true, action):
    """Do this in a thread as soon as that holds."""
    thread = threading.Thread(target=lambda: (wait_until(true), action()), daemon=True)
    thread.start()
    return thread


def written(out, least):
    return lambda: len(list((out / "submissions").glob("*.json"))) >= least


def name(process):
    """A process's name, or "" if it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.name() if process.is_running() and process.status() != psutil.STATUS_ZOMBIE else ""
    return ""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two workers, and a scheduler that gives a task up after one death: stricter than ours and than dask's default."""
    with Cluster(tmp_path_factory.mktemp("cluster"), DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as cluster:
        cluster.worker()
        cluster.worker()
        yield cluster


@pytest.fixture(scope="module")
def local():
    """A client of the cluster that is started on this machine by default."""
    with pool.connected(None, 1) as client:
        yield client


@pytest.fixture
def alone(tmp_path):
    """A scheduler without workers."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    with Cluster(folder) as cluster:
        yield cluster


def test_the_same_secret_gives_the_same_points_elsewhere_and_another_secret_others(
    cluster, local, tmp_path, monkeypatch
):
    folder = hand_in(tmp_path / "in", **{f"student{n}": notebook(LUCKY) for n in range(12)})

    def points(out, secret, **options):
        file = tmp_path / secret
        file.write_text(secret * 64)
        file.chmod(0o600)
        run(folder, tmp_path / out, NAMES[:1], box_factory=steady, secret_file=file, **options)
        return {name: result["exercises"][0]["points"] for name, result in results(tmp_path / out).items()}

    there = points("there", "a", scheduler=cluster.address)
    monkeypatch.setattr(pool, "connected", lambda *_: contextlib.nullcontext(local))
    assert set(there.values()) == {0, 1}
    assert points("here", "a") == there
    assert points("others", "b") != there


@pytest.mark.parametrize("victim", ["worker", "machine"])
def test_a_worker_that_dies_half_way_loses_nothing(cluster, tmp_path, victim):
    folder = hand_in(tmp_path / "in", **{f"student{n}": notebook(RIGHT, f"n = {n}") for n in range(12)})
    nanny = cluster.workers[-1]

    def kill():
        if victim == "machine":
            end(nanny)
        else:
            (worker,) = (p for p in psutil.Process(nanny.pid).children() if "spawn_main" in " ".join(p.cmdline()))
            worker.kill()

    killer = once(written(tmp_path / "out", 2), kill)
    summary = run(folder, tmp_path / "out", NAMES, scheduler=cluster.address, box_factory=slow)
    killer.join()
    assert (summary.progress.counts, summary.quarantined) == ({"graded": 12}, ())
    assert [result["exercises"][0]["points"] for result in results(tmp_path / "out").values()] == [1] * 12
    if victim == "machine":
        cluster.worker()


def test_a_grader_that_is_killed_leaves_no_process_and_whole_files_and_another_cluster_goes_on(
    boxes, cluster, tmp_path
):
    folder = hand_in(tmp_path / "in", **{f"student{n}": notebook(RIGHT, f"n = {n}") for n in range(4)})
    out, below = tmp_path / "out", []
    command = ["grade", folder, "--out", out, "--exercise", NAMES[0], "--workers", "1"]
    process = subprocess.Popen([sys.executable, "-m", "course_utils", *map(str, command)], stdout=subprocess.DEVNULL)

    def in_the_midst():
        below[:] = psutil.Process(process.pid).children(recursive=True)
        return written(out, 1)() and "bwrap" in map(name, below)

    wait_until(in_the_midst)
    process.kill()
    process.wait()
    wait_until(lambda: not any(map(name, below)), 5.0)
    before = {path: path.stat().st_mtime_ns for path in out.glob("submissions/*.json")}
    assert 1 <= len(before) < 4
    (out / "submissions" / ".half.json.a1b2c3").write_text('{"version": 1, "poi')  # a kill may come in mid-write
    summary = run(folder, out, NAMES[:1], scheduler=cluster.address)
    assert (summary.progress.kept, summary.progress.done) == (len(before), 4)
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert len(list((out / "submissions").iterdir())) == 4
    assert [result["exercises"][0]["points"] for result in results(out).values()] == [1] * 4


def test_under_another_schedulers_rules_too_only_the_deadly_submission_is_quarantined(cluster, tmp_path):
    names = {f"student{n}": notebook(RIGHT, "KILL = 1" if n == 1 else f"n = {n}") for n in range(5)}
    factory = functools.partial(deadly, "")
    folder = hand_in(tmp_path / "in", **names)
    summary = run(folder, tmp_path / "out", NAMES, scheduler=cluster.address, box_factory=factory)
    found = results(tmp_path / "out")
    assert summary.quarantined == ("student1.ipynb",)
    poison = found.pop("student1")
    assert poison["status"] == "infra_error" and "every worker that graded it died" in poison["reason"]
    assert [result["exercises"][0]["points"] for result in found.values()] == [1] * 4


def test_a_run_without_workers_says_what_it_waits_for_and_ends(alone, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "WORKERS", 1.0)
    folder = hand_in(tmp_path / "in", ann=notebook(RIGHT))
    said = io.StringIO()
    console = Console(file=said, width=200)
    start = time.monotonic()
    with pytest.raises(GradingError, match=r"no worker for 1 seconds.*run the same command again"):
        grader.run_and_report(folder, tmp_path / "out", NAMES, "", console, scheduler=alone.address, box_factory=steady)
    assert time.monotonic() - start < 20
    assert said.getvalue().count("Waiting for a worker") == 1


def test_a_run_whose_scheduler_or_last_worker_is_gone_says_so_and_is_resumed(alone, tmp_path, monkeypatch):
    folder = hand_in(tmp_path / "in", **{f"student{n}": notebook(RIGHT, f"n = {n}") for n in range(6)})
    out, options = tmp_path / "out", {"scheduler": alone.address, "box_factory": slow}
    monkeypatch.setattr(pool, "LOOK", 0.5)
    monkeypatch.setattr(pool, "WORKERS", 0.5)
    first = alone.worker()
    with Client(alone.address) as client:
        client.wait_for_workers(1, timeout=60)
    once(written(out, 1), lambda: end(first))
    with pytest.raises(GradingError, match="had no worker"):
        run(folder, out, NAMES, **options)
    before = len(results(out))
    monkeypatch.setattr(pool, "WORKERS", 60.0)
    alone.worker()
    once(written(out, before + 1), alone.scheduler.kill)
    with pytest.raises(GradingError, match=r"connection to the workers is lost\. Run the same command again"):
        run(folder, out, NAMES, **options)
    assert 1 <= before < len(results(out)) < 6
    assert {result["exercises"][0]["points"] for result in results(out).values()} == {1}


def test_a_worker_with_another_version_is_refused_by_name(alone, tmp_path):
    shutil.copytree(ROOT / "course_utils", tmp_path / "other" / "course_utils")
    with open(tmp_path / "other" / "course_utils" / "exercises" / "lessons" / "l02_lstm_gates.py", "a") as file:
        file.write("# changed")
    alone.worker(first=str(tmp_path / "other"))
    folder = hand_in(tmp_path / "in", ann=notebook(RIGHT))
    with pytest.raises(
        GradingError, match=rf"worker on {socket.gethostname()} has another version of the course.*torch"
    ):
        run(folder, tmp_path / "out", NAMES, scheduler=alone.address, box_factory=steady)
    assert not results(tmp_path / "out")


def test_a_worker_that_comes_late_and_does_not_fit_ends_the_run(tmp_path, monkeypatch):
    inline(monkeypatch)
    monkeypatch.setattr(pool, "_require_fit", lambda *_: None)
    others = pool.Needs("other code", "other course", "")
    monkeypatch.setattr(pool, "Needs", lambda *_, **__: others)
    with pytest.raises(GradingError, match=r"another version of the course.*the grader has other course"):
        run(hand_in(tmp_path / "in", ann=notebook(RIGHT)), tmp_path / "out", NAMES, box_factory=steady)
    assert not results(tmp_path / "out")


def test_a_worker_that_cannot_make_boxes_is_refused(alone, tmp_path):
    (tmp_path / "preload.py").write_text("import shutil\nshutil.which = lambda *_, **__: None")
    alone.worker("--preload", str(tmp_path / "preload.py"))
    folder = hand_in(tmp_path / "in", ann=notebook(RIGHT))
    with pytest.raises(NoBox, match="is not installed"):
        run(folder, tmp_path / "out", NAMES, scheduler=alone.address)
    assert not results(tmp_path / "out")


def connects(address, security=None, seconds=2.0):
    """Whether a client with these certificates is let in; dask has many words for no."""
    with contextlib.suppress(Exception), Client(address, security=security, timeout=seconds) as client:
        return client.status == "running"
    return False


def test_the_clusters_own_address_wants_its_certificate(local):
    address = local.scheduler.address
    assert address.startswith("tls://127.0.0.1:")
    assert connects(address, local.security, 30.0)
    for other in ((address.replace("tls", "tcp"),), (address,), (address, Security.temporary())):
        assert not connects(*other)


def test_the_cluster_opens_ports_on_this_machine_only_and_shows_no_pages(local):
    (worker,) = local.run(os.getpid).values()
    connections = [c for process in (os.getpid(), worker) for c in psutil.Process(process).net_connections("inet")]
    ports = [connection.laddr for connection in connections if connection.status == psutil.CONN_LISTEN]
    assert len(ports) >= 4  # scheduler and worker, and a web server of each
    assert {address.ip for address in ports} == {"127.0.0.1"} and 8787 not in {address.port for address in ports}
    web = local.cluster.scheduler.http_server.port
    for page in ("", "info/main/workers.html", "json/counts.json", "metrics"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{web}/{page}")


def test_as_many_processes_are_started_as_asked_for(local):
    with contextlib.closing(pool._cluster(2)) as cluster:
        assert len(cluster.workers) == 2
    assert len(local.nthreads()) == 1


def with_settings(folder):
    """As if dask had been started with the yaml files of this folder."""
    return config.set(config.merge(config.config, *config.collect_yaml([str(folder)])))


def test_the_pages_tls_recipe_works_and_keeps_others_out(tmp_path, monkeypatch):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    page = (ROOT / "docs" / "grading.md").read_text(encoding="utf-8").partition("### TLS")[2]
    commands, settings = re.findall(r"^```(?:yaml)?\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[:2]
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
        subprocess.run(["bash", "-ec", commands], cwd=tmp_path / name, check=True, capture_output=True)
        (tmp_path / name / "tls.yaml").write_text(settings.replace("/home/grader/tls", str(tmp_path / name)))
    monkeypatch.setattr(pool, "CONNECT", 3.0)
    ours = {"DASK_CONFIG": str(tmp_path / "ours")}
    folder = hand_in(tmp_path / "in", ann=notebook(RIGHT))
    with Cluster(tmp_path, "--protocol", "tls", **ours) as cluster:
        cluster.worker(**ours)
        assert cluster.address.startswith("tls://")
        for who, why in (("nobody", "ssl_context"), ("theirs", "certificate does not match")):
            with with_settings(tmp_path / who), pytest.raises(GradingError, match=f"no scheduler answers.*{why}"):
                run(folder, tmp_path / "out", NAMES, scheduler=cluster.address, box_factory=steady)
        with with_settings(tmp_path / "ours"):
            run(folder, tmp_path / "out", NAMES, scheduler=cluster.address, box_factory=steady)
            with pytest.raises(GradingError, match="encryption required"), pool.connected("tcp://127.0.0.1:9", None):
                pass
    assert results(tmp_path / "out")["ann"]["exercises"][0]["points"] == 1
