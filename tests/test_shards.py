"Shards: readers of WebDataset get every byte back, and a kill at any step changes nothing in the end."

from __future__ import annotations

import hashlib
import json
import os
import random
import tarfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from sonic.cream.imageset import open_images
from sonic.cream.render import render
from sonic.cream.shard import open_shard, picture_bytes, sample_key, write_shard
from sonic.cream.shardlist import read_index
from sonic.cream.shards import Shards
from sonic.files import file_stem, sweep, write_file
from sonic.places import place
from sonic.sections import SonicError

VIEWS = ["mel", "chroma", "fft", "tempogram"]
HOSTILE = [
    "<img onerror>.flac",
    "a.b.c/01. \n.flac",
    "=cmd().flac",
    "../../x.flac",
    "夜曲.flac",
    "e\u0301.flac",
    "é.flac",
]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# A renderer of its own, which draws in no time; it keeps its books as the real one does: a line of the journal once a
# track is settled, the manifest at the end, the list of shards before it.


def picture_of(track_id: str, view: str, edition: int) -> bytes:
    return f"{view} of {track_id!r}, edition {edition} ".encode() * (50 if view == "mel" else 5)


def tracks_of(
    names: Sequence[str], *, edition: int = 1, bad: Sequence[str] = (), genre: str = "rock"
) -> dict[str, Any]:
    return {n: {"edition": edition, "bad": n in bad, "genre": genre if len(n) % 2 else None} for n in names}


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def books_of(out: Path) -> dict[str, dict[str, Any]]:
    return {row["track_id"]: row for name in ("manifest.json", "journal.json") for row in lines_of(out / name)}


def render_fake(
    tracks: dict[str, Any], out: Path, *, size: int, order: Callable[[list[str]], Any] = list, arrays: bool = False
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    "The rows, and the tracks that were drawn."
    out.mkdir(parents=True, exist_ok=True)
    for folder in [out, *(path for path in out.rglob("*") if path.is_dir())]:
        sweep(folder)
    rows = books_of(out)
    ids = [*tracks, *(name for name in rows if name not in tracks)]
    genres = [tracks[name]["genre"] if name in tracks else rows[name]["genre"] for name in ids]
    shards = Shards(out, pd.DataFrame({"genre": genres}, index=ids, dtype=object), rows, size=size)

    def stale(name: str) -> bool:
        row = rows.get(name)
        if row is None or row["edition"] != tracks[name]["edition"]:
            return True
        return row["status"] == "done" and not all(shards.holds(name, view, array=arrays) for view in VIEWS)

    work = [name for name in tracks if stale(name)]
    with open(out / "journal.json", "a") as journal:
        shards.start(work)
        for name in order(work):
            track = tracks[name]
            row = rows.get(name, {}) | {"track_id": name, "edition": track["edition"], "genre": track["genre"]}
            row |= {"status": "failed" if track["bad"] else "done", "reason": "bad" if track["bad"] else ""}
            if not track["bad"]:
                for view in VIEWS:
                    row[view] = f"{view}/{file_stem(name)}.png"
                    data = picture_of(name, view, track["edition"])
                    row[f"{view}_hash"] = hashlib.sha256(data).hexdigest()[:16]
                    write_file(out / row[view], data)
                    if arrays:
                        write_file(out / "arrays" / view / f"{file_stem(name)}.npy", b"array of " + data)
            row["shard"] = shards.shard_of(name)
            rows[name] = row
            journal.write(json.dumps(row) + "\n")
            journal.flush()
            shards.settled(name)
    shards.finish()
    write_file(out / "manifest.json", "".join(json.dumps(rows[n], sort_keys=True) + "\n" for n in ids).encode())
    (out / "journal.json").unlink()
    return rows, work


def pictures_are_right(tracks: dict[str, Any], rows: dict[str, dict[str, Any]], out: Path) -> None:
    for name, track in tracks.items():
        for view in VIEWS:
            if track["bad"]:
                assert rows[name].get(view) is None
            else:
                assert picture_bytes(out, rows[name][view]) == picture_of(name, view, track["edition"])


def shuffled(seed: int, names: list[str]) -> list[str]:
    return random.Random(seed).sample(names, len(names))


NAMES = [f"album {n % 3}/song {n}.mp3" for n in range(11)]


def test_bytes_do_not_depend_on_who_finished_first(tmp_path: Path) -> None:
    tracks = tracks_of(NAMES, bad=NAMES[2:3])
    rows, _ = render_fake(tracks, tmp_path / "a", size=3)
    for seed in range(3):
        render_fake(tracks, tmp_path / f"b{seed}", size=3, order=partial(shuffled, seed))
        assert tree(tmp_path / f"b{seed}") == tree(tmp_path / "a")
    assert sorted(tree(tmp_path / "a")) == [
        "manifest.json",
        *(f"shards/00000{n}.tar" for n in range(4)),
        "shards/index.json",
    ]
    pictures_are_right(tracks, rows, tmp_path / "a")
    assert [rows[name]["shard"][7:13] for name in NAMES] == [f"00000{n // 3}" for n in range(11)]  # failed ones too


STEPS = ["replace", "unlink", "rmdir", "fsync", "open", "scandir", "remove"]


def killed_at(step: int, work: Callable[[], Any]) -> bool:
    "Do the work in a child that dies, as if by kill -9, just before its n-th step on the disk; whether it died."
    pid = os.fork()
    if pid:
        status = os.waitpid(pid, 0)[1]
        assert os.waitstatus_to_exitcode(status) in (0, 9)
        return os.waitstatus_to_exitcode(status) == 9
    try:
        left = [step]

        def fatal(before: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                left[0] -= 1
                if left[0] < 0:
                    os._exit(9)
                return before(*args, **kwargs)

            return call

        for name in STEPS:
            setattr(os, name, fatal(getattr(os, name)))
        work()
        os._exit(0)
    except BaseException:
        os._exit(1)


def changed(tracks: dict[str, Any]) -> dict[str, Any]:
    "One track that was drawn is another now, one is bad, one that was bad is good, one has another label."
    tracks = {name: dict(track) for name, track in tracks.items()}
    tracks[NAMES[0]]["edition"] = 2
    tracks[NAMES[1]] |= {"edition": 2, "bad": False}
    tracks[NAMES[2]] |= {"edition": 2, "bad": True}
    tracks[NAMES[4]]["genre"] = "jazz"
    return tracks


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("what", ["from nothing", "from an older set", "with arrays"])
def test_a_kill_at_any_step_ends_in_the_same_tree(tmp_path: Path, what: str) -> None:
    arrays = what == "with arrays"
    first = tracks_of(NAMES[:3] if arrays else NAMES[:5], bad=NAMES[1:2])
    wanted = changed(first) if what == "from an older set" else first

    def begin(out: Path) -> None:
        if what != "from nothing":
            render_fake(first, out, size=2)

    begin(tmp_path / "clean")
    rows, work = render_fake(wanted, tmp_path / "clean", size=2, arrays=arrays)
    assert len(work) == {"from nothing": 5, "from an older set": 3, "with arrays": 2}[what]
    pictures_are_right(wanted, rows, tmp_path / "clean")
    clean, step, died = tree(tmp_path / "clean"), 0, True
    while died:
        out = tmp_path / f"killed {step}"
        begin(out)
        died = killed_at(step, partial(render_fake, wanted, out, size=2, arrays=arrays))
        finished = {row["track_id"] for row in lines_of(out / "journal.json")}
        _, again = render_fake(wanted, out, size=2, arrays=arrays)
        assert tree(out) == clean, f"killed before step {step}"
        assert finished.isdisjoint(again), f"killed before step {step}"
        step += 1
    assert step > 30


def test_a_track_that_changed_is_drawn_alone(tmp_path: Path) -> None:
    tracks = tracks_of(NAMES)
    render_fake(tracks, tmp_path, size=4)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("shards/*.tar")}
    tracks[NAMES[5]]["edition"] = 2
    rows, work = render_fake(tracks, tmp_path, size=4)
    assert work == [NAMES[5]]
    assert [n for n, t in before.items() if (tmp_path / "shards" / n).stat().st_mtime_ns != t] == ["000001.tar"]
    pictures_are_right(tracks, rows, tmp_path)
    assert render_fake(tracks, tmp_path, size=4)[1] == []


def test_new_tracks_fill_new_shards_and_those_that_left_stay(tmp_path: Path) -> None:
    first, second = tracks_of(NAMES[3:9]), tracks_of([*NAMES[:3], *NAMES[5:]])
    old, _ = render_fake(first, tmp_path, size=2)
    was, bytes_were = {name: row["shard"] for name, row in old.items()}, tree(tmp_path / "shards")
    rows, work = render_fake(second, tmp_path, size=2)
    assert work == [*NAMES[:3], *NAMES[9:]]
    assert {name: rows[name]["shard"] for name in was} == was
    assert [rows[name]["shard"][12] for name in work] == ["3", "3", "4", "4", "5"]
    assert {n: b for n, b in tree(tmp_path / "shards").items() if n in bytes_were and n != "index.json"} == {
        n: b for n, b in bytes_were.items() if n != "index.json"
    }
    pictures_are_right(first | second, rows, tmp_path)


def test_an_unpacked_set_is_packed_and_nothing_drawn(tmp_path: Path) -> None:
    tracks = tracks_of(NAMES)
    render_fake(tracks, tmp_path / "a", size=3)
    rows = books_of(tmp_path / "a")
    for name, row in rows.items():  # as if it had been rendered without shards
        row |= {view: f"{view}/{file_stem(name)}.png" for view in VIEWS} | {"shard": None}
        for view in VIEWS:
            write_file(tmp_path / "b" / row[view], picture_of(name, view, 1))
    for view in VIEWS:
        write_file(tmp_path / "b" / view / "metadata.jsonl", b"{}\n")
    write_file(tmp_path / "b" / "manifest.json", "".join(json.dumps(row) + "\n" for row in rows.values()).encode())
    assert render_fake(tracks, tmp_path / "b", size=3)[1] == []
    assert tree(tmp_path / "b") == tree(tmp_path / "a")


def test_a_shard_that_lost_its_end_is_drawn_again(tmp_path: Path) -> None:
    tracks = tracks_of(NAMES)
    render_fake(tracks, tmp_path, size=4)
    clean = tree(tmp_path)
    tar = tmp_path / "shards/000001.tar"
    tar.write_bytes(tar.read_bytes()[:9000])
    _, work = render_fake(tracks, tmp_path, size=4)
    assert set(work) <= set(NAMES[4:8]) and len(work) > 0
    assert tree(tmp_path) == clean


def test_what_was_changed_behind_our_back_is_not_packed(tmp_path: Path) -> None:
    tracks = tracks_of(NAMES[:4])
    _, work = render_fake(tracks, tmp_path, size=4)
    tar = tmp_path / "shards/000000.tar"
    data = bytearray(tar.read_bytes())
    at = data.index(picture_of(NAMES[0], "mel", 1))
    data[at] ^= 1
    tar.write_bytes(data)
    tracks[NAMES[1]]["edition"] = 2
    with pytest.raises(SonicError, match="mel picture of album 0/song 0.mp3 .* lost or changed"):
        render_fake(tracks, tmp_path, size=4)
    assert tar.read_bytes() == data  # nothing was lost on top


def test_a_set_without_a_single_picture_has_no_shard(tmp_path: Path) -> None:
    render_fake(tracks_of(NAMES[:4], bad=NAMES[:4]), tmp_path, size=3)
    assert list(tree(tmp_path)) == ["manifest.json"]


def test_a_shard_is_never_held_in_memory(tmp_path: Path) -> None:
    import tracemalloc

    big = os.urandom(1 << 20)
    tracemalloc.start()
    write_shard(tmp_path / "a.tar", ((f"k{n:03}", {"mel.png": bytes(big)}) for n in range(40)), contents="")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "a.tar").stat().st_size > 40 << 20 and peak < 4 << 20


def test_keys_never_interleave(tmp_path: Path) -> None:
    a, b = ("a-1", {"mel.png": b"1"}), ("b-2", {"mel.png": b"2"})
    for samples in ([b, a], [a, b, a], [a, a]):
        with pytest.raises(SonicError, match="cannot follow"):
            write_shard(tmp_path / "a.tar", samples, contents="")
    assert list(tmp_path.iterdir()) == []


def test_a_hostile_tar_writes_nothing_and_gives_only_its_own_bytes(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        link = tarfile.TarInfo("link.mel.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("../../evil.json"))
    shard = open_shard(tmp_path / "a.tar")
    with pytest.raises(SonicError, match="holds no"):
        shard.read("link.mel.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_shards_at_a_url(tmp_path: Path) -> None:
    out = place(f"memory://shards-{os.getpid()}/out")
    here = tracks_of(NAMES[:5])
    local, _ = render_fake(here, tmp_path, size=2)
    rows: dict[str, dict[str, Any]] = {}
    for name, row in local.items():
        rows[name] = row | {view: f"{view}/{file_stem(name)}.png" for view in VIEWS} | {"shard": None}
        for view in VIEWS:
            write_file(out / rows[name][view], picture_of(name, view, 1))
    labels = pd.DataFrame({"genre": [here[name]["genre"] for name in rows]}, index=list(rows), dtype=object)
    for _ in range(2):  # the second time there is nothing left to be done
        shards = Shards(out, labels, rows, size=2)
        shards.start([])
        shards.finish()
    assert read_index(out) == read_index(tmp_path)
    for n in range(3):
        assert (out / f"shards/00000{n}.tar").read_bytes() == (tmp_path / f"shards/00000{n}.tar").read_bytes()
    pictures_are_right(here, rows, out)
    assert sorted(path.name for path in out.rglob("*.*")) == ["000000.tar", "000001.tar", "000002.tar", "index.json"]


# The real renderer, and the readers of others.


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, Path, dict[tuple[str, str], bytes]]:
    "Seven tracks with hostile ids, one of them broken, in shards of three; and the pictures as loose files."
    folder = tmp_path_factory.mktemp("real")
    time = np.arange(11025) / 22050
    for n in range(7):
        soundfile.write(folder / f"{n}.flac", 0.3 * np.sin(2 * np.pi * 110 * (n + 2) * time), 22050)
    (folder / "3.flac").write_text("no sound")
    tracks = pd.DataFrame({"track_id": HOSTILE, "path": [str(folder / f"{n}.flac") for n in range(7)]})
    tracks["genre"] = [None] * 6 + ["rock"]  # unknown in the first samples that a reader takes types from
    tracks["year"] = range(1990, 1997)
    small: dict[str, Any] = {"picture.width": 64, "picture.height": 48}
    loose = render(tracks, folder / "loose", jobs=0, progress=False, **small)
    packed = render(tracks, folder / "out", shards=3, jobs=0, progress=False, **small)
    render(tracks, folder / "two", shards=3, jobs=2, progress=False, **small)
    assert tree(folder / "out") == tree(folder / "two")
    pictures = {
        (row["track_id"], view): (folder / "loose" / row[view]).read_bytes()
        for row in loose.to_dict("records")
        for view in VIEWS
        if row["status"] == "done"
    }
    assert len(pictures) == 24
    assert packed["status"].tolist() == loose["status"].tolist()
    return packed, folder / "out", pictures


def check(samples: dict[str, tuple[dict[str, Any], dict[str, bytes]]], pictures: dict[tuple[str, str], bytes]) -> None:
    assert {(name, view): data for name, (_, by) in samples.items() for view, data in by.items()} == pictures
    assert {name: (facts["genre"], facts["year"]) for name, (facts, _) in samples.items()} == {
        name: ("rock" if n == 6 else "", 1990 + n) for n, name in enumerate(HOSTILE) if n != 3
    }


Real = tuple[pd.DataFrame, Path, dict[tuple[str, str], bytes]]


def test_our_own_reader(real: Real) -> None:
    packed, out, pictures = real
    for (name, view), data in pictures.items():
        path = str(packed.set_index("track_id").at[name, view])
        assert picture_bytes(out, path) == data
        assert path == f"shards/00000{HOSTILE.index(name) // 3}.tar/{sample_key(name)}.{view}.png"
    images, loose = open_images(out), open_images(out.parent / "loose")
    for view in VIEWS:
        assert np.array_equal(images.levels(view), loose.levels(view))


def test_webdataset_reads_them(real: Real) -> None:
    webdataset = pytest.importorskip("webdataset")
    _, out, pictures = real
    urls = sorted(map(str, out.glob("shards/*.tar")))
    assert len(urls) == 3
    samples = {}
    for sample in webdataset.WebDataset(urls, shardshuffle=False):
        facts = json.loads(sample["json"])
        assert sample["__key__"] == sample_key(facts["track_id"])
        samples[facts["track_id"]] = facts, {view: sample[f"{view}.png"] for view in VIEWS}
    check(samples, pictures)
    decoded = next(iter(webdataset.WebDataset(urls, shardshuffle=False).decode("l8").to_tuple("mel.png")))[0]
    assert decoded.shape == (48, 64)


def test_wids_reads_them_by_number(real: Real, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    wids = pytest.importorskip("wids")
    _, out, pictures = real
    index = json.loads((out / "shards/index.json").read_text())
    for entry in index["shardlist"]:
        data = (out / "shards" / entry["url"]).read_bytes()
        assert (entry["filesize"], entry["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    os.environ["WIDS_CACHE"] = str(tmp_path)
    dataset = wids.ShardListDataset(
        str(out / "shards/index.json"), cache_dir=str(tmp_path), transformations=[], keep=True
    )
    assert len(dataset) == 6
    samples = {}
    for number in reversed(range(6)):
        sample = dataset[number]
        facts = json.loads(sample[".json"].read())
        samples[facts["track_id"]] = facts, {view: sample[f".{view}.png"].read() for view in VIEWS}
    check(samples, pictures)
    dataset.close()


def test_hugging_face_reads_them(real: Real, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    _, out, pictures = real
    datasets.disable_progress_bars()
    files = {"train": str(out / "shards/*.tar")}
    samples = {}
    loaded = datasets.load_dataset("webdataset", data_files=files, cache_dir=str(tmp_path), split="train")
    assert isinstance(loaded.features["mel.png"], datasets.Image)
    for view in VIEWS:
        loaded = loaded.cast_column(f"{view}.png", datasets.Image(decode=False))
    for sample in loaded:
        facts = sample["json"]
        samples[facts["track_id"]] = facts, {view: sample[f"{view}.png"]["bytes"] for view in VIEWS}
    check(samples, pictures)
