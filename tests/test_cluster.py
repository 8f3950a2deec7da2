"A real Dask scheduler and two workers: the same bytes as at home, whoever dies."

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from test_render import SMALL, tree, write_music

from sonic import SonicError, render
from sonic.cream import backends
from sonic.cream.backends import cluster
from sonic.cream.jobs import Halted, run

TRACKS = 24
# Workers, and their children, end where they open a track named poison, and wait where it is named hanging.
TRAP = """
import os, signal, sys, time
def trap(event, details):
    if event == "open" and "poison" in str(details[0]):
        os.kill(os.getpid(), signal.SIGKILL)
    if event == "open" and "hanging" in str(details[0]):
        time.sleep(600)
sys.addaudithook(trap)
"""


@dataclass
class Machines:
    "A scheduler and its workers."

    folder: Path
    nanny: bool = False
    address: str = ""
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def _start(self, program: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.{program}", *options]
        paths = os.pathsep.join([str(self.folder), str(Path(__file__).parents[1])])
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        with open(self.folder / "log", "ab") as log:
            return subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def start_scheduler(self) -> None:
        told = self.folder / "scheduler.json"
        options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(told)]
        self.scheduler = self._start("dask_scheduler", *options)
        while not told.exists() or not told.read_text().endswith("}"):
            time.sleep(0.02)
            assert self.scheduler.poll() is None, (self.folder / "log").read_text()
        self.address = json.loads(told.read_text())["address"]

    def add_worker(self) -> None:
        nanny = "--nanny" if self.nanny else "--no-nanny"
        options = [self.address, "--host", "127.0.0.1", "--nthreads", "1", "--no-dashboard", nanny]
        self.workers.append(self._start("dask_worker", *options, "--local-directory", str(self.folder)))

    def stop(self) -> None:
        for process in [*self.workers, self.scheduler]:
            if process:
                children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
                for each in [process, *children]:
                    try:
                        each.kill()
                    except psutil.NoSuchProcess:
                        pass
                process.wait()


@contextmanager
def machines(folder: Path, *, workers: int, nanny: bool = False) -> Iterator[Machines]:
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(TRAP)
    started = Machines(folder, nanny)
    try:
        started.start_scheduler()
        for _ in range(workers):
            started.add_worker()
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    "A scheduler and two workers that nobody restarts."
    with machines(tmp_path_factory.mktemp("cluster"), workers=2) as started:
        yield started


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_music(tmp_path_factory.mktemp("sound"), TRACKS)


@pytest.fixture(scope="module")
def at_home(music: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("home") / "out"
    render(music, out, jobs=1, progress=False, **SMALL)
    return tree(out)


def renders(music: Path, out: Path, two: Machines, **settings):
    with cluster("dask", scheduler=two.address):
        return render(music, out, progress=False, **SMALL, **settings)


def soon(happens: Callable[[], object], seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


def workers_there(two: Machines, count: int) -> Callable[[], bool]:
    def there() -> bool:
        with cluster("dask", scheduler=two.address) as slots:
            return slots == count

    return there


def test_a_cluster_writes_the_bytes_of_this_machine(two, music, at_home, tmp_path):
    soon(workers_there(two, 2))
    manifest = renders(music, tmp_path / "out", two)
    assert list(manifest["status"]) == ["done"] * TRACKS
    assert tree(tmp_path / "out") == at_home
    assert renders(music, tmp_path / "out", two).attrs["kept"] == TRACKS


def test_the_work_is_shared_and_done_by_children_of_the_workers(two):
    def whose(number: int) -> int:
        time.sleep(0.05)
        return os.getppid()

    with cluster("dask", scheduler=two.address) as slots:
        assert slots == 2
        parents = {outcome.value for outcome in run(whose, range(12), progress=False)}
    assert parents == {worker.pid for worker in two.workers}


def test_what_kills_or_stops_its_process_costs_one_row(two, music, at_home, tmp_path):
    sounds = write_music(tmp_path / "music", TRACKS)
    (sounds / "track003.flac").rename(sounds / "poison.flac")
    (sounds / "track009.flac").rename(sounds / "hanging.flac")
    manifest = renders(sounds, tmp_path / "out", two, **{"limits.deadline": 6}).set_index("track_id")
    faults = manifest[manifest["status"] != "done"]["status"].to_dict()
    assert {Path(name).stem: status for name, status in faults.items()} == {"poison": "crashed", "hanging": "timed_out"}
    assert len(manifest) == TRACKS
    assert all(worker.poll() is None for worker in two.workers), "a worker of the cluster died"
    drawn = {name: data for name, data in tree(tmp_path / "out").items() if name.endswith(".png")}
    assert drawn == {name: data for name, data in at_home.items() if name in drawn}
    assert len(drawn) == 4 * (TRACKS - 2)


def test_a_worker_killed_in_the_middle_loses_nothing(two, music, at_home, tmp_path):
    journal = tmp_path / "out" / ".journal.jsonl"
    children = psutil.Process(two.workers[0].pid).children(recursive=True)

    def kill() -> None:
        soon(lambda: journal.exists() and journal.read_bytes().count(b'"done"') >= 3)
        os.kill(two.workers[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    manifest = renders(music, tmp_path / "out", two)
    killer.join()
    assert two.workers.pop(0).wait() == -signal.SIGKILL
    assert list(manifest["status"]) == ["done"] * TRACKS
    assert tree(tmp_path / "out") == at_home
    assert not psutil.wait_procs(children, timeout=5)[1], "a child outlived its worker"


def test_a_run_ends_when_its_scheduler_does_and_goes_on_elsewhere(music, at_home, tmp_path):
    journal = tmp_path / "out" / ".journal.jsonl"
    with machines(tmp_path / "cluster", workers=1, nanny=True) as one:

        def kill() -> None:
            soon(lambda: journal.exists() and journal.read_bytes().count(b'"done"') >= 3)
            one.scheduler.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(Halted, match="the cluster has gone away"):
            renders(music, tmp_path / "out", one)
        killer.join()
        one.stop()  # what it had begun is finished, or not, but not now
    assert render(music, tmp_path / "out", jobs=1, progress=False, **SMALL).attrs["kept"] >= 3
    assert tree(tmp_path / "out") == at_home


def refusal(engine: str, scheduler: str, *, seconds: float = 8) -> str:
    start = time.monotonic()
    with pytest.raises(SonicError) as error, cluster(engine, scheduler=scheduler):
        pass
    assert time.monotonic() - start < seconds
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_is_missing_is_said_in_one_line(two, tmp_path, monkeypatch, capfd):
    assert "nobody answers at tcp://127.0.0.1:9;" in refusal("dask", "tcp://127.0.0.1:9")
    assert "dask cannot be reached at here: missing port" in refusal("dask", "here")
    assert "there are dask, ray, spark" in refusal("slurm", two.address)
    with machines(tmp_path / "cluster", workers=0) as none:
        with monkeypatch.context() as patience:
            patience.setattr(backends, "WAIT", 5)
            assert "has no worker; start one with `dask worker tcp://" in refusal("dask", none.address, seconds=12)
    monkeypatch.setattr(backends, "__version__", "9.9")
    assert "and this machine 9.9; install the same on both" in refusal("dask", two.address)
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert refusal("dask", two.address) == 'dask is not installed: pip install "sonic-recsys[dask]"'
    assert capfd.readouterr() == ("", "")
