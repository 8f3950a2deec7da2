"""A fault costs the track that has it, whatever it does to the process; a run that is stopped goes on where it stopped.

The numbers are those of the table of faults that the render was built against.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import psutil
import pytest
from injection import (
    Disk,
    Program,
    environment,
    leftovers,
    openings,
    processes,
    rows,
    tree,
    wait_until,
    write_track,
)

from sonic import SonicError, render
from sonic.journal import read_journal

SIZE = {"picture.width": 32, "picture.height": 24}
OPTIONS = ["-q", "--size", "32x24"]
JOURNAL = ".journal.jsonl"


def write_music(folder: Path, sounds: int, *faults: str, each: str = "") -> Path:
    "So many good tracks, and one for every fault, named after it, which comes after them."
    for number in range(sounds):
        write_track(folder / f"{number:03}.wav", number, fault=each)
    for fault in faults:
        write_track(folder / f"{fault}.wav", fault=fault)
    return folder


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    "Workers in which faults happen to the music in `tmp_path`; a log of what they open."
    (tmp_path / "once").mkdir()
    env = environment(log=tmp_path / "log", watch=tmp_path / "music", once=tmp_path / "once")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "log"


def draw(music: Path, out: Path, **more) -> pd.DataFrame:
    return render(music, out, progress=False, **{"jobs": 0, **SIZE, **more})


def statuses(manifest: pd.DataFrame) -> dict[str, str]:
    return dict(zip(manifest["track_id"], manifest["status"], strict=True))


# ---- a worker dies, hangs, or takes all memory: 31, 32 ---------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("jobs", "deadly"), [(1, ["exit"]), (2, ["segfault", "sigkill"]), (4, ["segfault"])], ids=str)
def test_a_worker_that_dies_costs_the_track_that_killed_it(faulty, tmp_path, jobs, deadly):
    music = write_music(tmp_path / "music", 10, *deadly, "raise")
    write_track(music / "zz.wav", 99)  # comes after them
    manifest = draw(music, tmp_path / "out", jobs=jobs)
    found = statuses(manifest)
    assert {name: status for name, status in found.items() if status != "done"} == {
        **{f"{fault}.wav": "crashed" for fault in deadly},
        "raise.wav": "failed",
    }
    reasons = manifest.set_index("track_id")["reason"]
    assert reasons["raise.wav"] == "unexpected RuntimeError: injected fault"
    assert all("\n" not in reason and "Traceback" not in reason for reason in reasons)
    opened = openings(faulty)
    assert opened.keys() == found.keys()
    innocent = sum(opened[name] - 1 for name in found if found[name] == "done")
    assert innocent <= len(deadly) * (jobs - 1)  # those that other workers were at when a pool broke
    assert not leftovers(tmp_path / "out")
    again = draw(music, tmp_path / "out", jobs=jobs)
    assert again.attrs["drawn"] == 0 and again.equals(manifest) and openings(faulty) == opened  # none is tried again


@pytest.mark.slow
def test_who_is_killed_once_is_tried_again(faulty, tmp_path):
    music = write_music(tmp_path / "music", 4, "once-sigkill")
    manifest = draw(music, tmp_path / "out", jobs=2)
    assert set(manifest["status"]) == {"done"}


@pytest.mark.slow
def test_a_pool_that_breaks_while_others_write_leaves_nothing_half_written(faulty, tmp_path, monkeypatch):
    monkeypatch.setenv("SONIC_FAULT_SLOW", "0.3")
    music = write_music(tmp_path / "music", 4, "segfault")
    write_track(music / "!.wav", fault="sleep=0.15")  # so that the workers are out of step
    manifest = draw(music, tmp_path / "out", jobs=2)
    assert list(manifest["status"]) == ["done"] * 5 + ["crashed"]
    assert not leftovers(tmp_path / "out")


@pytest.mark.slow
def test_workers_that_are_killed_from_outside_cost_nothing(tmp_path):
    music = write_music(tmp_path / "music", 16, each="sleep=0.1")
    env = environment(log=tmp_path / "log", watch=music)
    run = Program("render", music, tmp_path / "out", "-j", "2", *OPTIONS, env=env)
    for mark in (3, 8):
        wait_until(lambda mark=mark: len(openings(tmp_path / "log", but=run.pid)) > mark, process=run)
        busy = [child for child in psutil.Process(run.pid).children() if "resource_tracker" not in str(child.cmdline())]
        busy[mark % len(busy)].kill()
    said = run.said(60)
    assert run.returncode == 0, said
    assert {row["status"] for row in rows(tmp_path / "out").values()} == {"done"}
    assert len(rows(tmp_path / "out")) == 16


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_decoder_that_hangs_costs_its_deadline(faulty, tmp_path, jobs):
    "One that lets other threads run, and one that does not."
    music = write_music(tmp_path / "music", 5, "stuck", *["hang"][: jobs - 1])
    write_track(music / "zz.wav", 99)
    manifest = draw(music, tmp_path / "out", jobs=jobs, **{"limits.deadline": 3})
    found = statuses(manifest)
    assert found.pop("stuck.wav") == found.pop("hang.wav", "timed_out") == "timed_out"
    assert set(found.values()) == {"done"}
    assert manifest.set_index("track_id").loc["stuck.wav", "reason"].startswith("took longer than 3 s")


@pytest.mark.slow
def test_a_decoder_that_takes_all_memory_is_refused_it(faulty, tmp_path):
    music = write_music(tmp_path / "music", 3, "memory")
    manifest = draw(music, tmp_path / "out", jobs=1, **{"limits.memory": 0.6})
    found = statuses(manifest)
    assert found.pop("memory.wav") in ("failed", "crashed") and set(found.values()) == {"done"}
    assert "memory" in manifest.set_index("track_id").loc["memory.wav", "reason"]


# ---- the run itself is killed, interrupted, or there twice: 33, 34, 35 -----------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_do_not_outlive_a_run_and_the_next_goes_on(tmp_path, how):
    "Not even those that hang, or compute for ever."
    music = write_music(tmp_path / "music", 6, "hang", "stuck")
    env = environment(log=tmp_path / "log", watch=music, tag=f"orphans-{os.getpid()}-{how}")
    run = Program("render", music, tmp_path / "out", "-j", "2", *OPTIONS, env=env)
    wait_until(lambda: len(openings(tmp_path / "log", but=run.pid)) == 8, process=run)
    wait_until(lambda: len(read_journal(tmp_path / "out" / JOURNAL)[0]) == 6, process=run)
    run.send_signal(how)
    run.wait()
    wait_until(lambda: not processes(env["SONIC_FAULT_TAG"]), seconds=5)
    for name in ("hang", "stuck"):
        write_track(music / f"{name}.wav", 50)
    again = draw(music, tmp_path / "out")
    assert again.attrs["drawn"] == 2 and set(again["status"]) == {"done"}
    draw(music, tmp_path / "clean")
    assert tree(tmp_path / "out") == tree(tmp_path / "clean")


@pytest.mark.slow
def test_ctrl_c_finishes_what_is_begun(tmp_path):
    music = write_music(tmp_path / "music", 30, each="sleep=0.4")
    env = environment(log=tmp_path / "log", watch=music, tag=f"ctrl-c-{os.getpid()}")
    run = Program("render", music, tmp_path / "out", "-j", "2", *OPTIONS, env=env)
    wait_until(lambda: len(openings(tmp_path / "log", but=run.pid)) > 3, process=run)
    os.killpg(run.pid, signal.SIGINT)  # a terminal sends it to all processes
    said = run.said(5)
    assert run.returncode == 130 and "Traceback" not in said and "goes on from here" in said, said
    wait_until(lambda: not processes(env["SONIC_FAULT_TAG"]), seconds=5)
    assert not leftovers(tmp_path / "out")
    table, begun = rows(tmp_path / "out"), openings(tmp_path / "log", but=run.pid)
    assert table.keys() == begun.keys() and {row["status"] for row in table.values()} == {"done"}
    again = draw(music, tmp_path / "out")
    assert again.attrs["kept"] == len(table) and len(again) == 30


@pytest.mark.slow
def test_ctrl_c_twice_stops_at_once(tmp_path):
    music = write_music(tmp_path / "music", 4, "hang", "stuck")
    env = environment(log=tmp_path / "log", watch=music, tag=f"twice-{os.getpid()}")
    run = Program("render", music, tmp_path / "out", "-j", "2", *OPTIONS, env=env)
    wait_until(lambda: len(openings(tmp_path / "log", but=run.pid)) == 6, process=run)
    os.killpg(run.pid, signal.SIGINT)
    time.sleep(0.5)
    assert run.poll() is None
    os.killpg(run.pid, signal.SIGINT)
    said = run.said(5)
    assert run.returncode == 130 and "Traceback" not in said, said
    wait_until(lambda: not processes(env["SONIC_FAULT_TAG"]), seconds=5)
    assert statuses(pd.DataFrame(rows(tmp_path / "out").values())) == {
        f"{number:03}.wav": "done" for number in range(4)
    }
    assert not leftovers(tmp_path / "out")


@pytest.mark.slow
def test_a_second_run_on_one_output_is_turned_away(tmp_path):
    music = write_music(tmp_path / "music", 2, "hang")
    env = environment(log=tmp_path / "log", watch=music, tag=f"second-{os.getpid()}")
    run = Program("render", music, tmp_path / "out", "-j", "1", *OPTIONS, env=env)
    wait_until(lambda: len(openings(tmp_path / "log", but=run.pid)) == 3, process=run)
    before = tree(tmp_path / "out")
    second = Program("render", music, tmp_path / "out", "-j", "1", *OPTIONS, env=env)
    said = second.said(20)
    assert second.returncode == 5 and f"process {run.pid}" in said and len(said.splitlines()) == 1, said
    assert tree(tmp_path / "out") == before
    with pytest.raises(SonicError, match="is being written by"):
        draw(music, tmp_path / "out")
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    (music / "hang.wav").unlink()
    assert len(draw(music, tmp_path / "out")) == 3 - 1 + (1 if "hang.wav" in rows(tmp_path / "out") else 0)


@pytest.mark.slow
def test_the_bench_of_faults_keeps_its_goals(tmp_path):
    bench = Path(__file__).parents[1] / "bench" / "faults.py"
    command = [sys.executable, bench, "--tracks", "30", "--kills", "2", "--poison", "0.05", "--jobs", "2"]
    found = subprocess.run([*command, "--out", tmp_path / "faults.json"], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


# ---- the disk: 21, 22, 23 --------------------------------------------------------------------------------------------


def test_an_output_that_cannot_be_written_is_refused_before_the_work(faulty, tmp_path):
    music = write_music(tmp_path / "music", 1)
    if os.geteuid():
        (tmp_path / "locked").mkdir(mode=0o555)
    out = tmp_path / "locked" / "out" if os.geteuid() else Path("/sys/out")  # where not even root may make a folder
    run = Program("render", music, out, "-j", "1", *OPTIONS, env=dict(os.environ))
    said = run.said(30)
    assert run.returncode == 2 and "choose another" in said and len(said.splitlines()) == 1, said
    assert not openings(faulty, but=run.pid)


@pytest.mark.slow
def test_a_disk_that_fills_up_ends_the_run(tmp_path):
    music = write_music(tmp_path / "music", 12, each="sleep=0.1")
    full = tmp_path / "full"
    env = environment(log=tmp_path / "log", watch=music, full=full, tag=f"full-{os.getpid()}")
    run = Program("render", music, tmp_path / "out", "-j", "2", *OPTIONS, env=env)
    wait_until(lambda: len(openings(tmp_path / "log", but=run.pid)) > 5, process=run)
    full.touch()
    said = run.said(20)
    assert run.returncode == 4 and "no space left" in said.lower() and "Traceback" not in said, said
    wait_until(lambda: not processes(env["SONIC_FAULT_TAG"]), seconds=5)
    full.unlink()
    assert set(draw(music, tmp_path / "out")["status"]) == {"done"}
    draw(music, tmp_path / "clean")
    assert tree(tmp_path / "out") == tree(tmp_path / "clean")


@pytest.fixture
def tiny_disk(tmp_path: Path):
    "A disk of 200 kB, and what makes it larger."
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield disk, lambda: subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.slow
def test_a_disk_that_is_full_is_full_for_all(tiny_disk, tmp_path):
    "Even the journal and the manifest find no room."
    disk, enlarge = tiny_disk
    music = write_music(tmp_path / "music", 20)
    run = Program("render", music, disk / "out", "-j", "2", "-q", "--size", "96x64", env=dict(os.environ))
    said = run.said(30)
    assert run.returncode == 4 and "no space left" in said.lower() and "Traceback" not in said, said
    enlarge()
    kept = {path: path.stat().st_mtime_ns for path in (disk / "out").rglob("*.png")}
    for out in (disk / "out", tmp_path / "clean"):
        draw(music, out, **{"picture.width": 96, "picture.height": 64})
    assert tree(disk / "out") == tree(tmp_path / "clean")
    assert sum(path.stat().st_mtime_ns == stamp for path, stamp in kept.items()) >= len(kept) - 3 * 4


@pytest.mark.slow
@pytest.mark.parametrize(("error", "for_good"), [(errno.ENOSPC, True), (errno.EIO, False)])
def test_whichever_write_fails_the_next_run_heals_it(tmp_path, error, for_good):
    "Each creating, writing, renaming and syncing of a render of three tracks fails in turn; then it is run again."
    music = tmp_path / "music"
    for number in range(3):
        write_track(music / f"{number}.wav", number, seconds=0.3)
    draw(music, tmp_path / "clean")
    clean, wrong = tree(tmp_path / "clean"), []
    for at in range(1000):
        out = tmp_path / f"out{at}"
        with Disk(out, at, error=error, for_good=for_good).patched() as disk:
            try:
                failed = [row for row in draw(music, out).to_dict("records") if row["status"] != "done"]
                if failed:  # a disk that does not take a picture is no fault of the track
                    wrong.append((at, disk.done[at], f"status {failed[0]['status']}"))
            except SonicError as fault:
                if "\n" in str(fault) or getattr(fault, "exit_code", 2) not in (2, 4):
                    wrong.append((at, disk.done[at], f"{type(fault).__name__}: {fault}"))
            except OSError as fault:
                wrong.append((at, disk.done[at], f"no plain line: {fault!r}"))
        if len(disk.done) <= at:  # all was well before its turn came
            break
        pictures = {name: digest for name, digest in tree(out).items() if name.endswith(".png")}
        if not pictures.items() <= clean.items():
            wrong.append((at, disk.done[at], "half a picture"))
        draw(music, out)
        if (found := tree(out)) != clean:
            names = sorted(name for name in found.keys() | clean.keys() if found.get(name) != clean.get(name))
            wrong.append((at, disk.done[at], f"not healed: {names}"))
    assert not wrong, "\n".join(map(str, wrong))
    assert 50 < at < 200


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import pandas, pyarrow.parquet, sonic, sonic.cream.render
from injection import Disk
sonic.views(sonic.load(next(Path(sys.argv[2]).iterdir())))  # loads what all children need
for at in range(1000):
    child = os.fork()
    if not child:
        out = Path(sys.argv[3]) / f"out{at}"
        with Disk(out, at, error=None).patched():
            size = {"picture.width": 32, "picture.height": 24}
            sonic.cream.render.render(sys.argv[2], out, jobs=0, progress=False, **size)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 0:
        break
    assert code == 9, code
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks")
def test_killed_at_whichever_write_the_next_run_goes_on(tmp_path):
    "The process ends in each creating, writing, renaming and syncing in turn, with half of it done."
    music = write_music(tmp_path / "music", 2)
    draw(music, tmp_path / "clean")
    clean = tree(tmp_path / "clean")
    subprocess.run([sys.executable, "-c", KILLED, Path(__file__).parent, music, tmp_path], check=True)
    number = len(list(tmp_path.glob("out*"))) - 1  # the last one came through
    assert 30 < number < 200 and tree(tmp_path / f"out{number}") == clean
    for at in range(number):
        out = tmp_path / f"out{at}"
        pictures = {name: digest for name, digest in tree(out).items() if name.endswith(".png")}
        assert pictures.items() <= clean.items(), f"half a picture after operation {at}"
        entered = {row["track_id"] for row in read_journal(out / JOURNAL)[0]}
        again = draw(music, out)
        assert again.attrs["drawn"] <= len(set(os.listdir(music)) - entered), f"redone after operation {at}"
        assert tree(out) == clean, f"not gone on after operation {at}"


# ---- records and files that are not what they were: 24, 36, 37, 38 ---------------------------------------------------


def left_off(music: Path, out: Path) -> bytes:
    "Draw all, but fail to write the manifest; what the journal holds."
    with Disk(out).patched() as disk:
        draw(music, out)
    at = next(at for at, what in enumerate(disk.done) if ".manifest" in what)
    shutil.rmtree(out)
    with Disk(out, at, for_good=True).patched(), suppress(SonicError, OSError):
        draw(music, out)
    assert not (out / "manifest.parquet").exists()
    return (out / JOURNAL).read_bytes()


def test_a_journal_that_is_torn_or_damaged_costs_those_lines(tmp_path):
    music = write_music(tmp_path / "music", 4)
    draw(music, tmp_path / "clean")
    whole = left_off(music, tmp_path / "out")
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 4
    ends = [sum(map(len, lines[:count])) for count in range(5)]
    cuts = [end + beyond for end in ends for beyond in (-1, 0, 9) if 0 <= end + beyond < ends[-1]]
    torn = [(whole[:cut], sum(end - 1 > cut for end in ends[1:])) for cut in cuts]  # the last newline may be missing
    flipped = bytearray(whole)
    flipped[ends[1] + 50] ^= 1
    damaged = [(bytes(flipped), 1), (b"", 4), (b"\0" * 5000 + b"\n" + whole, 0), (whole + b'{"track_id": "00', 0)]
    for journal, missing in torn + damaged:
        (tmp_path / "out" / JOURNAL).write_bytes(journal)
        (tmp_path / "out" / "manifest.parquet").unlink(missing_ok=True)
        assert draw(music, tmp_path / "out").attrs["drawn"] == missing, journal[-80:]
        assert tree(tmp_path / "out") == tree(tmp_path / "clean")


def test_files_of_another_time(tmp_path, monkeypatch):
    "Files dated tomorrow, and a clock that jumps while the run goes on."
    music = write_music(tmp_path / "music", 3)
    soon = time.time() + 86400
    for path in music.iterdir():
        os.utime(path, (soon, soon))
    hours = iter(range(10**6))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600 * (next(hours) * 7919 % 100 - 50))
    first = draw(music, tmp_path / "out", jobs=2)
    assert set(first["status"]) == {"done"}
    for path in (tmp_path / "out").rglob("*.png"):
        os.utime(path, (1, 1))
    again = draw(music, tmp_path / "out")
    assert again.attrs["drawn"] == 0
    changed = music / "001.wav"
    stamp = changed.stat().st_mtime
    write_track(changed, 40)
    os.utime(changed, (stamp - 7200, stamp - 7200))  # as an archive from an hour that happened twice would leave it
    assert draw(music, tmp_path / "out").attrs["drawn"] == 1


def test_verify_finds_the_byte_that_changed(tmp_path):
    music = write_music(tmp_path / "music", 4)
    first = draw(music, tmp_path / "out")
    clean = tree(tmp_path / "out")
    picture = tmp_path / "out" / first.set_index("track_id").loc["002.wav", "chroma"]
    data = bytearray(picture.read_bytes())
    stamp = picture.stat().st_mtime_ns
    data[len(data) // 2] ^= 1
    picture.write_bytes(data)
    os.utime(picture, ns=(stamp, stamp))
    assert draw(music, tmp_path / "out").attrs["drawn"] == 0
    verified = draw(music, tmp_path / "out", verify=True)
    assert verified.attrs["drawn"] == 1 and tree(tmp_path / "out") == clean
    assert draw(music, tmp_path / "out", verify=True).attrs["drawn"] == 0
    sound = music / "001.wav"
    stamp = sound.stat().st_mtime_ns
    data = bytearray(sound.read_bytes())
    data[-4000:-2000] = bytes(2000)
    sound.write_bytes(data)
    os.utime(sound, ns=(stamp, stamp))
    assert draw(music, tmp_path / "out").attrs["drawn"] == 0  # same size and date: it is taken for the same
    assert draw(music, tmp_path / "out", verify=True).attrs["drawn"] == 1
    assert tree(tmp_path / "out") != clean


def test_a_picture_that_is_gone_is_drawn_again(tmp_path):
    music = write_music(tmp_path / "music", 3)
    first = draw(music, tmp_path / "out")
    clean = tree(tmp_path / "out")
    (tmp_path / "out" / first["fft"][1]).unlink()
    assert draw(music, tmp_path / "out").attrs["drawn"] == 1 and tree(tmp_path / "out") == clean


@pytest.mark.slow
def test_files_that_vanish_or_change_while_the_run_goes_on(tmp_path):
    music = write_music(tmp_path / "music", 3, "sleep=2")
    (music / "sleep=2.wav").rename(music / "001a.wav")
    env = environment(log=tmp_path / "log", watch=music)
    run = Program("render", music, tmp_path / "out", "-j", "1", *OPTIONS, env=env)
    wait_until(lambda: "001a.wav" in openings(tmp_path / "log", but=run.pid), process=run)
    gone = (music / "002.wav").rename(tmp_path / "002.wav")
    write_track(music / "001a.wav", 7, seconds=0.7)  # while its decoder sleeps
    said = run.said(30)
    table = rows(tmp_path / "out")
    assert run.returncode == 3, said
    assert table["002.wav"]["status"] == "failed" and "no such file" in table["002.wav"]["reason"].lower()
    assert table["001a.wav"]["status"] != "done" or table["001a.wav"]["seconds"] == pytest.approx(0.7)
    gone.rename(music / "002.wav")
    draw(music, tmp_path / "out")
    draw(music, tmp_path / "clean")
    assert tree(tmp_path / "out") == tree(tmp_path / "clean")


# ---- what is no file: 25, 26 -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders")
def test_what_is_no_file_is_passed_over(tmp_path):
    "A pipe would be waited for, a device would never end."
    music = write_music(tmp_path / "music", 2)
    os.mkfifo(music / "pipe.mp3")
    (music / "folder.mp3").mkdir()
    write_track(music / "folder.mp3" / "inside.wav", 3)
    (music / "zero.wav").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(music)  # the name of a socket may only be short
        try:
            listening.bind("socket.ogg")
        finally:
            os.chdir(here)
        manifest = draw(music, tmp_path / "out")
    assert statuses(manifest) == dict.fromkeys(["000.wav", "001.wav", "folder.mp3/inside.wav"], "done")
    assert "pipe.mp3" in str(manifest.attrs["skipped"]) and "socket.ogg" in str(manifest.attrs["skipped"])
    table = pd.DataFrame({"track_id": ["a", "b"], "path": [str(music / "pipe.mp3"), "/dev/zero"]})
    listed = draw(table, tmp_path / "listed")
    assert set(listed["status"]) == {"failed"} and set(listed["reason"]) == {"not a regular file"}


def test_links_in_a_circle_and_out_of_the_folder(tmp_path):
    music = write_music(tmp_path / "music", 2)
    elsewhere = write_track(tmp_path / "elsewhere.wav", 5)
    (music / "loop").symlink_to(music, target_is_directory=True)
    (music / "a.wav").symlink_to(music / "b.wav")
    (music / "b.wav").symlink_to(music / "a.wav")
    (music / "out.wav").symlink_to(elsewhere)
    (music / "in.wav").symlink_to(music / "000.wav")
    os.link(music / "001.wav", music / "hard.wav")
    manifest = draw(music, tmp_path / "out")
    assert statuses(manifest) == dict.fromkeys(["000.wav", "001.wav", "hard.wav", "in.wav"], "done")
    skipped = str(manifest.attrs["skipped"])
    assert "out.wav" in skipped and "a.wav" in skipped and "loop" in skipped
    same = manifest.set_index("track_id")
    for one, other in (("000.wav", "in.wav"), ("001.wav", "hard.wav")):
        assert same.loc[one, "sound_hash"] == same.loc[other, "sound_hash"]
        assert same.loc[one, "mel"] != same.loc[other, "mel"]
