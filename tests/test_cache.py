"What stages made: found again byte for byte, made again whatever happens to the files, and never more than the limit."

from __future__ import annotations

import copy
import errno
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from sonic.arrays import save_arrays
from sonic.meter import measured
from sonic.sections import SonicError
from sonic.shadow.cache import Cache, key_of, told

BLOCK = 4096  # bytes on disk of a small entry


def burn(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def made(value=1.0, *, count=3, notes=None):
    return lambda: ({"values": np.full(count, value, np.float32)}, notes or {})


def entry_file(cache, stage, facts, version=1):
    key = key_of(stage, facts, version=version)
    return cache.folder / stage / key[:2] / f"{key}.safetensors"


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if not path.is_dir())


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


# ---- keys ------------------------------------------------------------------------------------------------------------


def test_a_key_does_not_depend_on_order_or_process():
    facts = {"b": {"y": [1, 2.5], "x": None}, "a": "Zoë \udcff"}
    turned = {"a": "Zoë \udcff", "b": {"x": None, "y": (1, 2.5)}}
    assert key_of("mel", facts) == key_of("mel", turned)
    code = "from sonic.shadow.cache import key_of; print(key_of('mel', {'b': {'x': 1}, 'a': [2]}))"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": "7"}
    )
    assert run.stdout.strip() == key_of("mel", {"a": [2], "b": {"x": 1}}), run.stderr


def test_every_fact_the_stage_and_the_version_change_the_key():
    facts = {"gain": 1.0, "name": "a", "list": [1, 2], "none": None, "deep": {"x": 1}}
    changed = [
        {"gain": np.nextafter(1.0, 2)},
        {"gain": 1},
        {"gain": True},
        {"name": "A"},
        {"name": ""},
        {"list": [2, 1]},
    ]
    changed += [
        {"list": [1, 2, 3]},
        {"none": 0},
        {"none": "None"},
        {"deep": {"x": 2}},
        {"deep": {"y": 1}},
        {"more": None},
    ]
    keys = [key_of("mel", facts)] + [key_of("mel", facts | change) for change in changed]
    keys += [key_of("mel", {k: v for k, v in facts.items() if k != name}) for name in facts]
    keys += [key_of("fft", facts), key_of("mel", facts, version=2), key_of("mel", {"facts": facts})]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 64 and int(key, 16) >= 0 for key in keys)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32(1), np.zeros(1), {1}, object(), b"x"])
def test_what_is_no_json_is_refused_before_anything_is_made(cache, value):
    with pytest.raises(SonicError, match="the facts of stage mel must be JSON"):
        cache.fetch("mel", {"deep": [value]}, lambda: pytest.fail("made"))


@pytest.mark.parametrize("stage", ["", "..", ".hidden", "a/b", "a\\b", "a b", "mel\n", "ä"])
def test_a_stage_is_a_plain_name(cache, stage):
    for store in (cache, Cache(None)):
        with pytest.raises(SonicError, match="must be made of letters"):
            store.fetch(stage, {}, made())


# ---- found again -----------------------------------------------------------------------------------------------------

NUMBERS = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]


def test_what_is_found_is_what_was_made_byte_for_byte(cache):
    random_bytes = np.random.default_rng(0).integers(0, 2, 48, np.uint8)
    arrays = {
        f"{order}{code}": random_bytes.astype(f"{order}{code}").reshape(6, 8) for code in NUMBERS for order in "<>"
    }
    arrays |= {"one": np.array(2.5), "none": np.zeros((0, 3)), "turned": np.arange(6.0).reshape(2, 3).T}
    arrays |= {"nan": np.array([np.nan, -0.0, np.inf], np.float32), "steps": np.arange(20)[::3]}
    notes = {"unit": "dB", "odd": "\udcff Zoë", "scores": [1, 2.5, None, True], "pair": (1, 2), "deep": {"a": {}}}
    first = cache.fetch("mel", {"n": 1}, lambda: (arrays, notes))
    again = Cache(cache.folder).fetch("mel", {"n": 1}, lambda: pytest.fail("made"))
    assert (first.hit, again.hit) == (False, True)
    assert (first.key, first.about, first.seconds, first.memory) == (
        again.key,
        again.about,
        again.seconds,
        again.memory,
    )
    assert again.about == json.loads(json.dumps(notes))
    assert set(first.arrays) == set(again.arrays) == set(arrays)
    for name, array in arrays.items():
        for found in (first.arrays[name], again.arrays[name]):
            assert found.shape == array.shape and found.dtype == array.dtype.newbyteorder("=")
            assert found.tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()
            assert not found.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        again.arrays["one"][...] = 0


def test_nothing_but_numbers_is_kept(cache):
    for odd in (np.array([{}]), np.array(["a"]), np.array([b"a"]), np.zeros(2, "M8[s]"), np.zeros(2, complex), None):
        for store in (cache, Cache(None)):
            with pytest.raises(SonicError, match="stage mel made odd of"):
                store.fetch("mel", {}, lambda odd=odd: ({"odd": odd}, {}))
    with pytest.raises(SonicError, match="the notes of stage mel must be JSON"):
        cache.fetch("mel", {}, lambda: ({}, {"array": np.zeros(2)}))
    assert files(cache.folder.parent) == []


def test_an_entry_of_notes_alone(cache):
    cache.fetch("score", {}, lambda: ({}, {"macro_f1": 0.5}))
    found = cache.fetch("score", {}, lambda: pytest.fail("made"))
    assert (found.arrays, found.about, found.hit) == ({}, {"macro_f1": 0.5}, True)


def test_a_failing_maker_leaves_nothing_behind(cache):
    for error in (ValueError("too short"), KeyboardInterrupt()):

        def make(error=error):
            raise error

        with pytest.raises(type(error)):
            cache.fetch("mel", {}, make)
    assert files(cache.folder.parent) == [] and cache.counts == {} and not cache.has("mel", {})
    assert cache.fetch("mel", {}, made()).hit is False


def test_without_a_folder_everything_is_made_each_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bare, calls = Cache(None), []
    for _ in range(3):
        entry = bare.fetch("mel", {}, lambda: calls.append(1) or made(2.0)())
        assert not entry.hit and not entry.arrays["values"].flags.writeable and entry.key == key_of("mel", {})
    assert len(calls) == 3 and bare.counts["mel"].misses == 3
    assert (bare.size(), bare.trim(), bare.has("mel", {}), files(tmp_path)) == (0, 0, False, [])


# ---- prices and counts -----------------------------------------------------------------------------------------------


def test_a_hit_costs_what_making_it_did(cache):
    first = cache.fetch("mel", {}, lambda: (burn(0.1), made()())[1])
    for _ in range(3):
        assert cache.fetch("mel", {}, made()).seconds == first.seconds == pytest.approx(0.1, abs=0.04)
    count = cache.take_counts()["mel"]
    assert (count.hits, count.misses) == (3, 1)
    assert (count.saved, count.spent) == (pytest.approx(3 * first.seconds), first.seconds)
    assert cache.take_counts() == {}
    assert told({"mel": count}) == "mel 3 of 4 (75 %)"


def test_every_second_counts_once_found_or_made_or_failed(cache):
    def broken():
        burn(0.1)
        raise ValueError

    def inner(n):
        return lambda: (burn(0.1), made()())[1]

    def outer():
        burn(0.05)
        for n in range(2):
            cache.fetch("inner", {"n": n}, inner(n))
        with pytest.raises(ValueError):
            cache.fetch("broken", {}, broken)
        return made()()

    def outermost():
        burn(0.05)
        cache.fetch("outer", {"turn": turn}, outer)
        return made()()

    for turn, inner_hits in ((0, 0), (1, 2)):
        began = time.process_time()
        entry = cache.fetch("outermost", {"turn": turn}, outermost)
        whole, counts = time.process_time() - began, cache.take_counts()
        assert entry.seconds == pytest.approx(0.05, abs=0.03)
        assert counts["outer"].spent == pytest.approx(0.05, abs=0.03)
        assert counts["inner"].hits == inner_hits
        assert counts["inner"].spent + counts["inner"].saved == pytest.approx(0.2, abs=0.05)
        paid = sum(count.spent for count in counts.values()) + 0.1  # what failed has no entry to bear its price
        assert paid == pytest.approx(whole, abs=0.06)


needs_peaks = pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="no peak that can be set back")


@needs_peaks
def test_an_outer_maker_peaks_as_high_as_the_inner_ones(cache):
    def fetch(name, megabytes):
        return cache.fetch(name, {}, lambda: (np.ones(megabytes * 10**6, np.uint8).sum(), made()())[1])

    def outer():
        entries.extend([fetch("low", 1), fetch("high", 60), fetch("late", 1)])
        return made()()

    entries = []
    whole = cache.fetch("outer", {}, outer)
    low, high, late = (entry.memory for entry in entries)
    assert whole.memory >= high > low + 50
    assert late < high - 50  # what was high before is not held against it
    after = cache.fetch("after", {}, made()).memory
    assert after < high - 50


@needs_peaks
def test_a_meter_in_another_thread_does_not_hide_a_peak():
    def begin_and_end():
        with measured():
            pass

    with measured() as low:
        pass
    with measured() as high:
        np.ones(60 * 10**6, np.uint8).sum()
        thread = threading.Thread(target=begin_and_end)
        thread.start()
        thread.join()
    assert high.memory > low.memory + 50


def test_where_the_peak_cannot_be_told_it_is_nought(cache, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refuse)
    entry = cache.fetch("mel", {}, lambda: (burn(0.02), made()())[1])
    assert entry.memory == 0.0 and entry.seconds >= 0.02


def test_a_copy_for_a_worker_counts_for_itself(cache):
    cache.fetch("mel", {}, made())
    other = copy.copy(cache)
    assert (other.folder, other.limit, other.counts) == (cache.folder, cache.limit, {})
    assert other.fetch("mel", {}, made()).hit


# ---- damage ----------------------------------------------------------------------------------------------------------


def check_repair(cache, damaged):
    "Whatever lies there, the answer is right, and it is found the next time."
    path = entry_file(cache, "mel", {})
    path.write_bytes(damaged)
    entry = cache.fetch("mel", {}, made(7.0, notes={"unit": "dB"}))
    assert entry.arrays["values"].tolist() == [7.0] * 3 and entry.about == {"unit": "dB"}
    if not entry.hit:
        assert cache.fetch("mel", {}, lambda: pytest.fail("made")).arrays["values"].tolist() == [7.0] * 3
    return entry.hit


def test_an_entry_cut_off_anywhere_is_made_again(cache):
    cache.fetch("mel", {}, made(7.0, notes={"unit": "dB"}))
    whole = entry_file(cache, "mel", {}).read_bytes()
    assert check_repair(cache, whole)
    for length in range(len(whole)):
        assert not check_repair(cache, whole[:length]), length
    for more in (b"\0", whole):
        assert not check_repair(cache, whole + more)


def test_an_entry_with_any_changed_byte_gives_the_right_answer(cache):
    cache.fetch("mel", {}, made(7.0, notes={"unit": "dB"}))
    whole, rng, hits = entry_file(cache, "mel", {}).read_bytes(), random.Random(0), 0
    for place in range(len(whole)):
        hits += check_repair(cache, whole[:place] + bytes([whole[place] ^ 1 << rng.randrange(8)]) + whole[place + 1 :])
    assert hits == 0


def header(entries):
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text


FOREIGN = {
    "nothing": b"",
    "text": b"once upon a time" * 100,
    "huge header": (2**63 - 1).to_bytes(8, "little") + b"{}",
    "no metadata": header({}),
    "odd type": header({"x": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}) + b"\0",
    "half floats of another kind": header({"x": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}) + b"\0\0",
    "odd metadata": header({"__metadata__": {"sonic": "x y"}}),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_is_no_entry_is_made_again(cache, what):
    cache.fetch("mel", {}, made(7.0))
    assert not check_repair(cache, FOREIGN[what])


@pytest.mark.parametrize("about", [[], {}, {"format": 1}, {"format": 2, "key": "mel"}, {"format": 1, "key": 5}])
def test_whole_files_that_are_no_entries_are_made_again(cache, about):
    cache.fetch("mel", {}, made(7.0))
    path = entry_file(cache, "mel", {})
    save_arrays(path, {"values": np.zeros(3)}, about=about)
    assert not check_repair(cache, path.read_bytes())


def test_the_file_of_another_entry_is_no_answer(cache):
    cache.fetch("mel", {}, made(7.0))
    cache.fetch("mel", {"n": 2}, made(8.0))
    assert not check_repair(cache, entry_file(cache, "mel", {"n": 2}).read_bytes())


def test_a_folder_in_the_place_of_an_entry_or_of_the_cache(cache, tmp_path):
    entry_file(cache, "mel", {}).mkdir(parents=True)
    assert not any(cache.fetch("mel", {}, made()).hit for _ in range(2)) and cache.unwritten == 2
    (tmp_path / "file").write_text("mine")
    blocked = Cache(tmp_path / "file")
    assert blocked.fetch("mel", {}, made(3.0)).arrays["values"].tolist() == [3.0] * 3
    assert (blocked.size(), blocked.trim(), blocked.unwritten) == (0, 0, 1)
    assert (tmp_path / "file").read_text() == "mine" and entry_file(cache, "mel", {}).is_dir()


def test_the_folder_may_vanish_at_any_time(cache):
    def make():
        shutil.rmtree(cache.folder, ignore_errors=True)
        return made()()

    for _ in range(2):
        assert not cache.fetch("mel", {}, make).hit
        assert cache.fetch("mel", {}, make).hit
        shutil.rmtree(cache.folder)
        assert (cache.size(), cache.trim()) == (0, 0)
    assert cache.unwritten == 0


def test_the_folder_vanishes_between_making_it_and_writing(cache, monkeypatch):
    replace, times = os.replace, []

    def late(temporary, path):
        if not times:
            shutil.rmtree(cache.folder)
        times.append(1)
        return replace(temporary, path)

    monkeypatch.setattr(os, "replace", late)
    cache.fetch("mel", {}, made())
    assert len(times) > 1 and cache.unwritten == 0 and cache.has("mel", {})


# ---- a full disk -----------------------------------------------------------------------------------------------------


def test_a_full_disk_loses_nothing_and_says_so_once(cache, monkeypatch):
    cache.fetch("mel", {"n": 0}, made())

    def full(temporary, path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        for n in (1, 2):
            entry = cache.fetch("mel", {"n": n}, made(5.0))
            assert not entry.hit and entry.arrays["values"].tolist() == [5.0] * 3
        assert cache.fetch("mel", {"n": 0}, made()).hit
    assert cache.unwritten == 2
    assert cache.warning == f"what is made is not kept: {cache.folder} cannot be written: No space left on device"
    assert len(files(cache.folder)) == 1
    cache.fetch("mel", {"n": 1}, made(5.0))
    assert cache.fetch("mel", {"n": 1}, made()).hit


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of the size of files")
def test_a_file_that_breaks_off_in_writing(tmp_path):
    code = """if True:
        import resource, sys, numpy as np
        from sonic.shadow.cache import Cache
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        cache = Cache(sys.argv[1])
        for count, hits in ((10, True), (100_000, False)):
            for n in range(2):
                entry = cache.fetch("mel", {"n": count}, lambda: ({"values": np.ones(count)}, {}))
                assert entry.arrays["values"].sum() == count and entry.hit == (hits and n == 1)
        assert cache.unwritten == 2, cache.warning
    """
    run = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert len(files(tmp_path)) == 1


# ---- the limit -------------------------------------------------------------------------------------------------------


def test_the_limit_holds_after_every_entry(tmp_path):
    cache, rng = Cache(tmp_path, limit=300_000), random.Random(1)
    kept = 0
    for n in range(100):
        count = int(10 ** rng.uniform(0, 4.9))
        cache.fetch("mel", {"n": n}, made(count=count))
        kept += cache.has("mel", {"n": n})
        assert cache.size() <= cache.limit
        assert sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors")) <= cache.limit
    assert cache.size() > 0.5 * cache.limit and 60 < kept < 100


def test_what_was_used_longest_ago_goes_first(tmp_path):
    cache, now = Cache(tmp_path, limit=10 * BLOCK), time.time()
    for n in range(8):
        cache.fetch("mel", {"n": n}, made())
        os.utime(entry_file(cache, "mel", {"n": n}), (now - 1000 + n,) * 2)
    for n in (0, 3):
        assert cache.fetch("mel", {"n": n}, made()).hit
    cache.limit = 5 * BLOCK  # 90 %: four of them
    assert cache.trim() == 4 * BLOCK and cache.size() == 4 * BLOCK
    assert [n for n in range(8) if cache.has("mel", {"n": n})] == [0, 3, 6, 7]
    assert cache.trim() == 0


def test_a_use_is_written_down_once_a_minute(cache):
    cache.fetch("mel", {}, made())
    path, now = entry_file(cache, "mel", {}), time.time()
    for age, renewed in ((30, False), (90, True), (-500, True)):
        os.utime(path, (now - age,) * 2)
        cache.fetch("mel", {}, made())
        assert (abs(path.stat().st_mtime - now) < 20) == renewed
        cache.has("mel", {})


def test_an_entry_beyond_the_limit_is_handed_out_and_not_kept(tmp_path):
    cache = Cache(tmp_path, limit=5 * BLOCK)
    cache.fetch("mel", {"n": 0}, made())
    big = cache.fetch("mel", {"n": 1}, made(2.0, count=10_000))
    assert big.arrays["values"].sum() == 20_000
    assert not cache.has("mel", {"n": 1}) and cache.has("mel", {"n": 0}) and cache.unwritten == 0
    nothing = Cache(tmp_path / "nothing", limit=0)
    assert not nothing.fetch("mel", {}, made()).hit and files(tmp_path / "nothing") == []
    for limit in (-1, float("nan")):
        with pytest.raises(SonicError, match="must be at least 0 bytes"):
            Cache(tmp_path, limit=limit)


def test_files_of_others_stay(tmp_path):
    key, part = "ab" + "0" * 62, "." + "0" * 32 + ".part"
    outside = tmp_path / "outside.safetensors"
    outside.write_bytes(bytes(50_000))
    folder = tmp_path / "music"
    others = ["song.flac", f"{key}.safetensors", f"mel/{key}.safetensors", f"mel/ab/deep/{key}.safetensors"]
    others += [f"mel/cd/{key}.safetensors", "mel/ab/model.safetensors", f"mel/ab/{key}.flac", f"mel/ab/{key}.tmp"]
    others += [f"mel/ab/{key.upper()}.safetensors", "mel/ab/.other.part", f"mel/{part}", "mel/ab/.hidden"]
    ours = [f"mel/ab/{part}", f"mel/ab/.{part}.123.45.tmp", f"mel/ab/.{part[:-1]}u.part"]
    others.append(ours.pop())
    fresh = f"mel/ab/.{'1' * 32}.part"
    for name in [*others, *ours, fresh]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(50_000))
        if name != fresh:
            os.utime(path, (time.time() - 4000,) * 2)
    (folder / "mel/ab" / f"{'ab' + '1' * 62}.safetensors").symlink_to(outside)
    cache = Cache(folder, limit=3 * BLOCK)
    for n in range(10):
        cache.fetch("mel", {"n": n}, made())
    cache.trim()
    left = files(folder)
    assert set(others) | {fresh} <= set(left) and not set(ours) & set(left)
    assert outside.stat().st_size == 50_000
    assert len(left) == len(others) + 1 + 2


# ---- together --------------------------------------------------------------------------------------------------------

HAMMER = """if True:
    import sys, random, threading, numpy as np
    from sonic.shadow.cache import Cache
    def hammer(seed):
        cache, rng = Cache(sys.argv[1], limit=8 * 4096), random.Random(seed)
        for _ in range(100):
            n = rng.randrange(12)
            entry = cache.fetch("mel", {"n": n}, lambda: ({"values": np.full(200, n)}, {"n": n}))
            assert entry.arrays["values"].tolist() == [n] * 200 and entry.about == {"n": n}
            hits.append(entry.hit)
        done.append(cache.warning)
    hits, done = [], []
    threads = [threading.Thread(target=hammer, args=(f"{sys.argv[2]} {n}",)) for n in range(2)]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    assert len(done) == 2
    print(sum(hits), len(hits))
"""


@pytest.mark.parametrize("deleting", [False, True])
def test_processes_and_threads_share_a_folder(tmp_path, deleting):
    folder = tmp_path / "cache"
    command = [sys.executable, "-c", HAMMER, folder]
    runs = [
        subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for n in range(4)
    ]
    while deleting and any(run.poll() is None for run in runs):
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.005)
    answers = [run.communicate() for run in runs]
    assert [run.returncode for run in runs] == [0] * 4, answers
    found, asked = (sum(int(out.split()[n]) for out, _ in answers) for n in (0, 1))
    assert asked == 4 * 2 * 100 and found > 0 and not any(err for _, err in answers)
    assert [name for name in files(tmp_path) if not name.endswith(".safetensors")] == []
    assert Cache(folder).size() <= 8 * BLOCK + 7 * BLOCK  # each of eight writers may have made room for its own entry


def test_threads_that_make_the_same_entry_at_once(cache):
    both = threading.Barrier(4)

    def make():
        both.wait(10)
        return made(4.0, count=100_000)()

    entries = []
    threads = [threading.Thread(target=lambda: entries.append(cache.fetch("mel", {}, make))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.arrays["values"].sum() for entry in entries] == [400_000] * 4
    assert (cache.counts["mel"].misses, cache.unwritten, len(files(cache.folder))) == (4, 0, 1)
    assert cache.fetch("mel", {}, made()).hit
