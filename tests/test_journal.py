"Journals, locks, whole files and places: torn lines, full disks, killed holders, and who comes first."

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import signal
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

import sonic.lock
from sonic.files import file_stamp, save_file, sweep, whole_file, write_file
from sonic.journal import open_journal, read_journal
from sonic.lock import Busy, held
from sonic.places import is_remote, local_copy, place
from sonic.sections import SonicError

ROWS = [
    {"track_id": f"{number} \u00e9\udce9\n{'x' * number}", "status": "done", "n": number / 3} for number in range(6)
]
OTHERS = multiprocessing.get_context("forkserver")  # from a process of one thread
OTHERS.set_forkserver_preload(["pytest", "sonic.files", "sonic.journal", "sonic.lock"])


def written(path: Path, rows=ROWS) -> bytes:
    "A journal of these rows."
    with open_journal(path) as write:
        for row in rows:
            write(row)
    return path.read_bytes()


# ---- journal ---------------------------------------------------------------------------------------------------------


def test_a_journal_that_is_cut_anywhere_loses_only_the_torn_line(tmp_path):
    path = tmp_path / "journal"
    whole = written(path)
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        with open_journal(path) as write:
            write({"after": cut})
            write({"after": -1})
        kept = whole[: cut + 1].count(b"\n")  # a line that lacks its newline alone is whole
        torn = whole[:cut].rpartition(b"\n")[2] and whole[cut : cut + 1] != b"\n"
        assert read_journal(path) == ([*ROWS[:kept], {"after": cut}, {"after": -1}], int(bool(torn))), cut


def test_no_changed_byte_makes_a_wrong_row(tmp_path):
    path = tmp_path / "journal"
    whole = written(path, ROWS[:3])
    first, second = (len(line) + 1 for line in whole.split(b"\n")[:2])
    for at in range(first, first + second):
        for bit in range(8):
            changed = bytearray(whole)
            changed[at] ^= 1 << bit
            path.write_bytes(changed)
            rows, damaged = read_journal(path)
            assert all(row in ROWS[:3] for row in rows) and rows[0] == ROWS[0] and damaged, (at, bit)
            assert at == first + second - 1 or rows == [ROWS[0], ROWS[2]]  # a lost newline takes two lines with it


@pytest.mark.parametrize(
    "junk", [b"\0" * 100, b"null\n", b"[1, 2]\n", b"\n\n", b"74234e98 null\n", b"\xff\xfe\r\n", b"{}"]
)
def test_what_is_no_row_is_passed_over(tmp_path, junk):
    path = tmp_path / "journal"
    whole = written(path, ROWS[:1])
    path.write_bytes(whole + junk)
    written(path, ROWS[1:])
    assert read_journal(path)[0] == ROWS


@pytest.mark.parametrize("fail_at", range(4))
@pytest.mark.parametrize("part", [0, 1, 20, 10_000])
def test_a_full_disk_costs_the_rows_that_it_refuses_and_no_other(tmp_path, monkeypatch, fail_at, part):
    "The N-th write takes a part of the line, or nothing, and the disk stays full until the next row."
    path, real, calls = tmp_path / "journal", os.write, []

    def full(file, data):
        if len(calls) < fail_at:
            calls.append(1)
            return real(file, data)
        if full.part:
            taken, full.part = real(file, data[: full.part]), 0
            return taken
        raise OSError(errno.ENOSPC, "No space left on device")

    full.part = part
    with open_journal(path) as write:
        refused = []
        for row in ROWS:
            with monkeypatch.context() as patched:
                if len(refused) == 0:
                    patched.setattr(os, "write", full)
                try:
                    write(row)
                except OSError as error:
                    assert error.errno == errno.ENOSPC
                    refused.append(row)
    rows, damaged = read_journal(path)
    if part == 10_000:  # a write that took all of the line is a line, even if the disk is full afterwards
        assert refused == [ROWS[fail_at + 1]]
    else:
        assert refused == [ROWS[fail_at]]
    assert rows == [row for row in ROWS if row not in refused] and damaged == (0 < part < 10_000)
    written(path, refused)
    assert sorted(map(str, read_journal(path)[0])) == sorted(map(str, ROWS))


def test_a_real_limit_of_the_system_is_said_as_it_is(tmp_path):
    path = tmp_path / "journal"
    size = len(written(path, ROWS[:2]))
    code = f"""
import resource, signal
from sonic.journal import open_journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 30}, resource.RLIM_INFINITY))
with open_journal({str(path)!r}) as write:
    try:
        write({{"track_id": "x" * 100}})
    except OSError as error:
        print(error.errno)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(told.stdout) == errno.EFBIG and path.stat().st_size == size + 30  # a real short write
    written(path, ROWS[2:])
    assert read_journal(path) == (ROWS, 1)


def scribble(path: Path, name: int) -> None:
    "Write two hundred rows, as one of several."
    with open_journal(path) as write:
        for number in range(200):
            write({"name": name, "number": number, "text": "x" * (number * 37 % 3000)})


def test_lines_of_several_processes_do_not_mix(tmp_path):
    path = tmp_path / "journal"
    writers = [OTHERS.Process(target=scribble, args=(path, name)) for name in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    rows, damaged = read_journal(path)
    assert damaged == 0 and len(rows) == 800
    assert all([row["number"] for row in rows if row["name"] == name] == list(range(200)) for name in range(4))


def dictate(path: Path, told) -> None:
    "Write row after row, and say each time that it is written."
    with open_journal(path) as write:
        for number in range(10**9):
            write({"number": number, "text": "x" * 500})
            os.write(told.fileno(), b".")


def test_a_writer_killed_at_any_moment_leaves_what_it_said_it_wrote(tmp_path):
    rng = random.Random(0)
    for trial in range(5):
        path, (told, tell) = tmp_path / f"{trial}", OTHERS.Pipe(duplex=False)
        writer = OTHERS.Process(target=dictate, args=(path, tell))
        writer.start()
        tell.close()
        said = len(os.read(told.fileno(), 1))  # it has begun
        time.sleep(rng.uniform(0, 0.05))
        writer.kill()
        writer.join()
        while block := os.read(told.fileno(), 1 << 16):
            said += len(block)
        told.close()
        rows, damaged = read_journal(path)
        assert [row["number"] for row in rows] == list(range(len(rows)))
        assert said <= len(rows) <= said + 1 and damaged <= 1 and said


def test_a_journal_of_embeddings_takes_only_whole_lines_of_its_recipe(tmp_path):
    import numpy as np

    from sonic.tails.journal import earlier_rows, journal_path, taken_down

    out, recipe = tmp_path / "vectors.parquet", {"fingerprint": "a"}
    vector = np.arange(3, dtype=np.float32)
    with taken_down(out, recipe) as take:
        for key in "xyz":
            take(key, {"vector": vector, "bytes": 1})
        with pytest.raises(Busy, match=rf"vectors.parquet is being written by process {os.getpid()} on"):
            taken_down(out, recipe).__enter__()
    whole = journal_path(out).read_bytes()
    at = whole.index(b"\n") + 60  # in the vector of y, where JSON would not notice
    journal_path(out).write_bytes(whole[:at] + (b"B" if whole[at : at + 1] == b"A" else b"A") + whole[at + 1 :])
    assert list(earlier_rows(out, recipe)) == ["x", "z"]
    assert os.listdir(tmp_path) == [".vectors.parquet.journal"]


# ---- lock ------------------------------------------------------------------------------------------------------------


def hold(lock: Path, begun) -> None:
    "Hold a lock until somebody ends it."
    with held(lock):
        begun.set()
        time.sleep(60)


def test_a_killed_holder_frees_its_lock_at_once(tmp_path):
    lock, begun = tmp_path / "out" / ".lock", OTHERS.Event()
    holder = OTHERS.Process(target=hold, args=(lock, begun))
    holder.start()
    assert begun.wait(20)
    said = rf"^{tmp_path}/out is being written by process {holder.pid} on \S+ since \d\d:\d\d:\d\d; "
    said += "wait for it, or choose another folder$"
    with pytest.raises(Busy, match=said) as caught, held(lock):
        pass
    assert caught.value.exit_code == 5 and isinstance(caught.value, SonicError)
    assert json.loads(lock.read_text())["pid"] == holder.pid  # who was refused has changed nothing
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert lock.exists()
    with held(lock):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert not lock.exists()


def test_an_ended_block_frees_its_lock_whatever_ended_it(tmp_path):
    lock = tmp_path / ".lock"
    for error in (KeyboardInterrupt, SystemExit, ValueError):
        with pytest.raises(error), held(lock):
            raise error
        assert not lock.exists()


def test_a_process_that_was_forked_off_does_not_end_the_lock(tmp_path):
    code = """
import os, sys
from sonic.lock import Busy, held
with held(sys.argv[1]):
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        assert os.path.exists(sys.argv[1])
        try:
            with held(sys.argv[1]):
                print("two of us")
        except Busy:
            print("busy")
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path / ".lock"], capture_output=True, text=True, check=True)
    assert done.stdout == "busy\n" and not (tmp_path / ".lock").exists()


def rush(lock: Path, inside: Path, begin, counts) -> None:
    "Ask for a lock again and again, and look whether somebody else is inside."
    sonic.lock._holder = lambda path: "another process"  # which waits a little; here is no time
    begin.wait(20)
    entered = refused = 0
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        try:
            with held(lock):
                os.close(os.open(inside, os.O_CREAT | os.O_EXCL))  # raises if there are two
                entered += 1
                os.unlink(inside)
        except Busy:
            refused += 1
    counts.put((entered, refused))


def test_of_ten_processes_one_at_a_time_comes_in(tmp_path):
    lock, inside, counts, begin = tmp_path / ".lock", tmp_path / "inside", OTHERS.Queue(), OTHERS.Barrier(10)
    crowd = [OTHERS.Process(target=rush, args=(lock, inside, begin, counts)) for _ in range(10)]
    for process in crowd:
        process.start()
    told = [counts.get(timeout=20) for _ in crowd]
    for process in crowd:
        process.join()
    assert [process.exitcode for process in crowd] == [0] * 10
    assert sum(entered for entered, _ in told) > 100 and sum(refused for _, refused in told) > 10
    assert not lock.exists() and not inside.exists()


def test_a_lock_that_lost_its_name_while_it_was_asked_for_is_asked_for_again(tmp_path, monkeypatch):
    "Its holder removes the file between our opening and our locking it, and somebody makes it anew."
    lock, real = tmp_path / ".lock", sonic.lock._lock

    def late(file):
        monkeypatch.setattr(sonic.lock, "_lock", real)
        lock.unlink()
        lock.write_text("")
        return real(file)

    monkeypatch.setattr(sonic.lock, "_lock", late)
    with held(lock):
        assert json.loads(lock.read_text())["pid"] == os.getpid()  # in the file that has the name
        with pytest.raises(Busy), held(lock):
            pass


def test_where_nothing_can_be_locked_it_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(SonicError, match="cannot be written: .*; choose another place"),
        held(tmp_path / "file" / ".lock"),
    ):
        pass
    monkeypatch.setattr(
        "sonic.lock._lock", lambda file: (_ for _ in ()).throw(OSError(errno.ENOLCK, "No locks available"))
    )
    with pytest.raises(SonicError, match="No locks available"), held(tmp_path / ".lock"):
        pass


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("call", ["write", "fsync", "replace", "open"])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_failing_step_leaves_the_old_file_or_the_new_one_and_nothing_else(tmp_path, monkeypatch, call, durable, old):
    path = tmp_path / "song.png"
    if old:
        path.write_bytes(old)
    full = OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patched:
        if call in ("fsync", "replace"):
            patched.setattr(os, call, lambda *_: (_ for _ in ()).throw(full))
        elif call == "open":
            patched.setattr("builtins.open", lambda *_, **__: (_ for _ in ()).throw(full))
        failed = False
        try:
            with whole_file(path, durable=durable) as file:
                file.write(b"new")
                if call == "write":
                    raise full
        except OSError:
            failed = True
    assert failed == (durable or call != "fsync")
    assert (path.read_bytes() if path.exists() else None) == (old if failed else b"new")
    assert os.listdir(tmp_path) == (["song.png"] if path.exists() else [])


def test_durable_waits_for_the_file_and_then_for_its_name(tmp_path, monkeypatch):
    steps, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda f: (steps.append(stat.S_ISDIR(os.fstat(f).st_mode)), fsync(f))[1])
    monkeypatch.setattr(os, "replace", lambda *names: (steps.append("name"), replace(*names))[1])
    write_file(tmp_path / "a", b"quick")
    assert steps == ["name"]
    write_file(tmp_path / "a", b"sure", durable=True)
    assert steps[1:] == [False, "name", True]


def test_sweeping_takes_what_killed_writers_left_and_no_file_of_the_user(tmp_path):
    hostile = "a\nb \u00e9" * 30 + ".png"
    code = "import sys, os; from sonic.files import whole_file\nwith whole_file(sys.argv[1]): os.kill(os.getpid(), 9)"
    for name in ("song.png", hostile):
        subprocess.run([sys.executable, "-c", code, tmp_path / name])
    left = os.listdir(tmp_path)
    assert len(left) == 2
    mine = (
        ".tmp",
        ".a.tmp",
        ".a.1.tmp",
        "a.1.2.tmp",
        ".a.1.2.tmp~",
        ".a.1.2.TMP",
        ".a.1.-2.tmp",
        ".a.\u0661.2.tmp",
        ".1.2.tmp",
    )
    for name in mine:
        (tmp_path / name).write_bytes(b"mine")
    (tmp_path / ".folder.1.2.tmp").mkdir()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / ".a.1.2.tmp").write_bytes(b"")
    assert sweep(tmp_path) == 2 and sweep(tmp_path) == 0
    assert sorted(os.listdir(tmp_path)) == sorted([*mine, ".folder.1.2.tmp", "below"])
    assert sweep(tmp_path / "below") == 1 and sweep(tmp_path / "none") == sweep("memory://anything") == 0


# ---- places ----------------------------------------------------------------------------------------------------------


def test_a_remote_file_is_written_whole_or_not_at_all():
    path = place("memory://test_journal/deep/song.png")
    write_file(path, b"old")
    with pytest.raises(RuntimeError), whole_file(path, durable=True) as file:
        file.write(b"new")
        raise RuntimeError
    assert path.read_bytes() == b"old" and len([*path.parent.iterdir()]) == 1
    write_file(str(path), b"new")
    assert path.read_bytes() == b"new"


def test_every_name_round_trips_through_a_url():
    for number, name in enumerate(
        (
            " blank ",
            "#1?x=1&y.mp3",
            "100%41.mp3",
            "a\nb\t",
            "'\"<img>.mp3",
            os.fsdecode(b"\xff\xfe"),
            "夜曲",
            "-rf",
            "[a]*",
            "x" * 400,
        )
    ):
        path = place("memory://test_names") / name
        write_file(path, f"{number}".encode())
        with local_copy(str(path)) as copy:
            assert copy.read_bytes() == f"{number}".encode() and path.name == name


def test_an_archive_is_read_wherever_it_lies(tmp_path):
    with zipfile.ZipFile(tmp_path / "a lbum.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cd 1/song #1.mp3", b"la")
        archive.writestr("bomb.flac", bytes(10_000_000))
    write_file("memory://test_zip/album.zip", (tmp_path / "a lbum.zip").read_bytes())
    for where in (f"{tmp_path}/a lbum.zip", f"file://{tmp_path}/a lbum.zip", "memory://test_zip/album.zip"):
        song = f"zip://cd 1/song #1.mp3::{where}"
        with local_copy(song, most=2) as copy:
            assert copy.read_bytes() == b"la" and copy.suffix == ".mp3"
        assert file_stamp(song)["bytes"] == 2
        with (
            pytest.raises(SonicError, match="bomb.flac holds more than"),
            local_copy(f"zip://bomb.flac::{where}", most=5_000_000),
        ):
            pass
        with pytest.raises(FileNotFoundError), local_copy(f"zip://none.mp3::{where}"):
            pass
        with pytest.raises(SonicError, match="cannot be written"):
            save_file(f"zip://new::{where}", b"")


def test_what_looks_like_a_url_to_a_careless_eye_is_a_path(tmp_path):
    for name in ("s3:", "C://x", "memory:", "zip::x", "://x", "1s://x", ".//memory://x"):
        assert not is_remote(name) and place(name) == Path(name), name
    assert is_remote("zip://a::/b.zip") and is_remote("simplecache::memory://x") and is_remote("S3://bucket/x")
    assert place(f"file://{tmp_path}/100%41 #.mp3") == tmp_path / "100%41 #.mp3" and not is_remote(f"file://{tmp_path}")
    with pytest.raises(SonicError, match="cannot be reached"):
        place("nowhere://x")


def test_the_packages_for_urls_are_loaded_for_urls_alone(tmp_path):
    code = "import sys, sonic.files, sonic.lock, sonic.journal; sonic.files.write_file(sys.argv[1], b'')\n"
    code += "print({'upath', 'fsspec'} & {*sys.modules})"
    told = subprocess.run(
        [sys.executable, "-c", code, f"file://{tmp_path}/x"], capture_output=True, text=True, check=True
    )
    assert told.stdout == "set()\n" and (tmp_path / "x").exists()


def test_stamps_of_remote_files_tell_a_change_of_the_same_length():
    path = "memory://test_stamp/song"
    stamps = []
    for data in (b"one", b"two"):
        write_file(path, data)
        stamps.append(file_stamp(path))
        assert file_stamp(place(path)) == stamps[-1]
        time.sleep(0.01)
    assert stamps[0]["bytes"] == stamps[1]["bytes"] == 3 and stamps[0] != stamps[1]
    assert file_stamp("memory://test_stamp/none") == {}
