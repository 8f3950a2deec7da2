"Music behind a URL is the same music: the same tracks, labels and samples as on disk, and faults of one line."

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from fsspec.exceptions import FSTimeoutError
from fsspec.implementations.memory import MemoryFileSystem
from poison import good_track
from test_collection import fma

from sonic import fetch, open_images, render
from sonic.cream.audio import info, load
from sonic.cream.collection import TAGS, add_tags, find_audio
from sonic.cream.layouts import find_layout, open_collection
from sonic.cream.outcome import Halted
from sonic.cream.paths import absolute, locate, parent, relative, url_parts
from sonic.sections import SonicError

SONGS = ["rock/Sun.flac", "rock/100% #1?.wav", "jazz/blå måne.mp3", "two\nlines.ogg", "Rain.WAV", "-rf.wav", "a:b.wav"]
EXTRA = ["cover.jpg", ".hidden.mp3", ".trash/old.mp3", ".trash/deep/older.mp3", "rock/notes.txt", "rock/.DS_Store"]
KINDS = ["memory", "memory in a folder", "zip", "zip in memory", "file"]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "Seven songs whose names are not made for URLs, what else lies in a library, and two lists."
    root = tmp_path_factory.mktemp("shelf") / "library"
    for seed, name in enumerate(SONGS):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).normal(0, 0.1, (8000, 1 + seed % 2))
        sf.write(root / name, noise, 22050)
    for name in EXTRA:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    table = pd.DataFrame({"id": ["01", "02", "03"], "path": [*SONGS[:2], "./jazz//blå måne.mp3"]})
    table["genre"], table["bpm"] = ["Rock", "NA", "Jazz"], [120.5, 90.0, None]
    table.to_csv(root / "songs.csv", index=False)
    table.to_parquet(root / "songs.parquet")
    (root / "lists").mkdir()
    lines = ["#EXTINF:1,The Sun", "..\\rock\\Sun.flac", "http://radio.example/live", "../jazz/blå måne.mp3", "none.mp3"]
    (root / "lists" / "list.m3u8").write_text("\n".join(lines), encoding="utf-8")
    return root


def copied(folder: Path, url: str) -> str:
    "The same files behind a URL."
    store, path = fsspec.core.url_to_fs(url)
    store.put(f"{folder}/", path, recursive=True)
    return url


@pytest.fixture(params=KINDS)
def away(request: pytest.FixtureRequest, library: Path, tmp_path: Path) -> Iterator[tuple[str, str]]:
    "What stands before and behind a path in the URL of the library."
    memory = fsspec.filesystem("memory")
    if request.param == "file":
        yield f"file://{library}", ""
    elif request.param.startswith("memory"):
        url = "memory://music" if request.param == "memory" else "memory:///deep/er/music"
        yield copied(library, url), ""
    else:
        archive = shutil.make_archive(str(tmp_path / "all"), "zip", library)
        if request.param == "zip in memory":
            memory.pipe("/archives/all.zip", Path(archive).read_bytes())
            archive = "memory://archives/all.zip"
        yield "zip:/", f"::{archive}"
    for name in ("/music", "/deep", "/archives"):
        if memory.exists(name):
            memory.rm(name, recursive=True)


def same(far: pd.DataFrame, near: pd.DataFrame) -> None:
    "The same tracks in the same order, with the same labels, and of each the same bytes."
    pd.testing.assert_frame_equal(far.drop(columns="path"), near.drop(columns="path"))
    assert far.attrs["skipped"] == near.attrs["skipped"]
    for there, here in zip(far.path, near.path, strict=True):
        if os.path.exists(here):
            with fsspec.open(there) as file:
                assert file.read() == Path(here).read_bytes()


# The same music


@pytest.mark.parametrize("options", [{}, {"genre_from_folder": True}], ids=["plain", "genre_from_folder"])
def test_a_folder(away: tuple[str, str], library: Path, options: dict[str, bool]) -> None:
    near = open_collection(library, tags=False, **options)
    assert set(near.track_id) == set(SONGS) and len(near.attrs["skipped"]) == 2
    same(open_collection(f"{away[0]}/{away[1]}", tags=False, **options), near)
    assert find_audio(f"{away[0]}/{away[1]}") == find_audio(library)
    same(open_collection(f"{away[0]}/rock{away[1]}", tags=False), open_collection(library / "rock", tags=False))


@pytest.mark.parametrize("name", ["songs.csv", "songs.parquet", "lists/list.m3u8", "Rain.WAV", "rock/100% #1?.wav"])
def test_a_list_or_a_song(away: tuple[str, str], library: Path, name: str) -> None:
    same(open_collection(f"{away[0]}/{name}{away[1]}", tags=False), open_collection(library / name, tags=False))


def test_samples(away: tuple[str, str], library: Path) -> None:
    near = open_collection(library, tags=False)
    far = open_collection(f"{away[0]}/{away[1]}", tags=False)
    for there, here in zip(far.path, near.path, strict=True):
        one, other = load(there), load(here)
        np.testing.assert_array_equal(one.samples, other.samples)
        assert (one.sample_rate, one.notes) == (other.sample_rate, other.notes)
        assert info(there).path == there and info(there).size == os.path.getsize(here)


def test_a_data_set(tmp_path: Path) -> None:
    fma(tmp_path / "fma")
    url = copied(tmp_path / "fma", "memory://sets/fma")
    for name in ("", "/fma_small"):
        assert find_layout(url + name) == "fma"
        same(open_collection(url + name), open_collection(f"{tmp_path}/fma{name}"))
    with pytest.raises(SonicError, match="memory://sets/fma is not laid out like music4all: it has no"):
        open_collection(url, layout="music4all")
    fsspec.filesystem("memory").rm("/sets", recursive=True)


def test_a_frame_of_urls(library: Path, away: tuple[str, str]) -> None:
    far = open_collection(f"{away[0]}/{away[1]}", tags=False)
    pd.testing.assert_frame_equal(open_collection(far), far)
    bare = open_collection(far[["path"]])
    assert list(bare.path) == list(far.path) and bare.track_id.is_unique


def test_an_archive_is_found_from_any_folder(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = shutil.make_archive(str(tmp_path / "all"), "zip", library)
    monkeypatch.chdir(tmp_path)
    tracks = open_collection("zip://rock::all.zip", tags=False)
    monkeypatch.chdir("/")
    assert list(tracks.path) == [f"zip://rock/{name}::{archive}" for name in ("100% #1?.wav", "Sun.flac")]
    assert load(tracks.path[0]).seconds > 0.3


# How it is read


def test_a_folder_is_listed_once_and_no_file_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = fsspec.filesystem("memory")
    for number in range(200):
        memory.pipe(f"/many/{number % 7}/{number}.mp3", b"x")
    asked: list[str] = []
    for name in ("find", "_open"):
        whole = getattr(MemoryFileSystem, name)
        monkeypatch.setattr(MemoryFileSystem, name, lambda *a, n=name, w=whole, **o: asked.append(n) or w(*a, **o))
    tracks = open_collection("memory://many")
    assert len(tracks) == 200 and asked == ["find"]
    assert tracks.attrs["untagged"] == list(TAGS)
    memory.rm("/many", recursive=True)


def test_a_store_that_remembers_is_asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    forgot: list[bool] = []
    monkeypatch.setattr(MemoryFileSystem, "invalidate_cache", lambda *_, **__: forgot.append(True))
    fsspec.filesystem("memory").pipe("/asked/a.mp3", b"x")
    open_collection("memory://asked")
    assert forgot
    fsspec.filesystem("memory").rm("/asked", recursive=True)


def test_a_name_that_no_url_can_hold_is_said() -> None:
    memory = fsspec.filesystem("memory")
    for name in ("a::b.mp3", "c.mp3"):
        memory.pipe(f"/odd/{name}", b"x")
    tracks = open_collection("memory://odd")
    assert list(tracks.track_id) == ["c.mp3"]
    assert tracks.attrs["skipped"] == ["1 whose name no URL can hold (a::b.mp3)"]
    memory.rm("/odd", recursive=True)


# Lists from elsewhere


@pytest.mark.parametrize("name", ["/etc/x.mp3", "file:///etc/x.mp3", "zip://x.mp3::/srv/all.zip", "../../../x.mp3"])
@pytest.mark.parametrize("kind", ["csv", "m3u"])
def test_a_list_from_elsewhere_leads_to_no_file_here(name: str, kind: str) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe(f"/lists/a.{kind}", f"{'path' if kind == 'csv' else '#EXTM3U'}\n{name}\nsong.mp3\n".encode())
    if kind == "m3u" and name.startswith("zip"):  # of a playlist, addresses are passed over
        assert list(open_collection(f"memory://lists/a.{kind}").track_id) == ["song.mp3"]
    else:
        with pytest.raises(SonicError, match="a file of this machine: a list in memory://lists|leads out of memory://"):
            open_collection(f"memory://lists/a.{kind}")
    memory.rm("/lists", recursive=True)


def test_a_list_here_leads_anywhere(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "path\n/srv/a.mp3\nfile:///srv/b.mp3\ns3://bucket/c.mp3\nzip://d.mp3::/srv/all.zip\n"
    )
    tracks = open_collection(tmp_path / "t.csv")
    assert list(tracks.path) == ["/srv/a.mp3", "/srv/b.mp3", "s3://bucket/c.mp3", "zip://d.mp3::/srv/all.zip"]
    assert list(tracks.track_id) == list(tracks.path)


@pytest.mark.parametrize("root", ["/music", "memory://music", "memory:///music", "s3://b/a", "zip://a::s3://b/all.zip"])
@pytest.mark.parametrize("name", ["x.mp3", "a b/#?%20.mp3", "../x.mp3", "é/ü.mp3", "a\nb.mp3", "a:b/c.mp3"])
def test_names_go_there_and_back(root: str, name: str) -> None:
    path = locate(name, root=root)
    assert relative(name, root=root) == name
    assert locate(path, root=root) == path == absolute(path)
    if not name.startswith("../"):
        assert relative(path, root=root) == name
        assert locate(os.path.basename(name), root=parent(path)) == path
    if "://" in root:
        assert "".join(url_parts(path)) == path


# Faults


FAULTS = {
    "missing": (FileNotFoundError(2, "No such file"), "is not there", "no such file"),
    "forbidden": (PermissionError("Forbidden"), "cannot be read: Forbidden", "cannot be read: Forbidden"),
    "late": (FSTimeoutError(), "cannot be read: FSTimeoutError", "cannot be read: FSTimeoutError"),
    "its own": (RuntimeError("No\nkeys"), "cannot be read: No keys", "cannot be read: No keys"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_faults_of_the_other_side_are_one_line(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error, in_collection, in_file = FAULTS[kind]

    def fail(*_: object, **__: object) -> None:
        raise error

    for name in ("info", "_open", "find"):
        monkeypatch.setattr(MemoryFileSystem, name, fail)
    for name in ("", "/songs.csv", "/list.m3u", "/a.mp3"):
        with pytest.raises(SonicError, match=f"^memory://far{name} {in_collection}$"):
            open_collection(f"memory://far{name}")
    with pytest.raises(SonicError, match=f"^a.mp3: {in_file}$"):
        load("memory://far/a.mp3")


def test_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_bytes(b"no archive")
    for url, message in {
        "memory://nowhere": "memory://nowhere is not there",
        "memory://nowhere/a.mp3": "memory://nowhere/a.mp3 is not there",
        f"zip://::{tmp_path}/none.zip": "none.zip is not there",
        f"zip://::{tmp_path}/no.zip": "no.zip cannot be read: File is not a zip file",
        "nowhere://music": "nowhere://music cannot be reached: Protocol not known: nowhere",
    }.items():
        with pytest.raises(SonicError, match=message):
            open_collection(url)


def test_too_large_a_file_is_refused(monkeypatch: pytest.MonkeyPatch, library: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/large/Sun.flac", (library / "rock" / "Sun.flac").read_bytes())
    assert load("memory://large/Sun.flac").seconds > 0.3
    assert fetch.FETCHED == 1 << 31
    monkeypatch.setattr(fetch, "FETCHED", 1000)
    with pytest.raises(SonicError, match=r"^Sun.flac: holds [\d,]+ bytes, more than the 1,000 that are fetched$"):
        load("memory://large/Sun.flac")
    whole = MemoryFileSystem.info  # a store that does not say how large a file is
    monkeypatch.setattr(MemoryFileSystem, "info", lambda *given, **how: whole(*given, **how) | {"size": None})
    with pytest.raises(SonicError, match=r"^Sun.flac: holds more than the 1,000 bytes that are allowed$"):
        load("memory://large/Sun.flac")
    monkeypatch.undo()
    memory.rm("/large", recursive=True)


def test_no_copy_is_left(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    memory = fsspec.filesystem("memory")
    memory.pipe("/left/Sun.flac", (library / "rock" / "Sun.flac").read_bytes())
    memory.pipe("/left/bad.flac", b"fLaC and no more")
    load("memory://left/Sun.flac")
    with pytest.raises(SonicError, match=r"^bad.flac: damaged or incomplete FLAC"):
        load("memory://left/bad.flac")
    assert not list(tmp_path.iterdir())
    memory.rm("/left", recursive=True)


# Tags that wait


def test_tags_are_read_later_of_some(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracks = open_collection(library, tags=False)
    assert tracks.attrs["untagged"] == list(TAGS)
    read: list[str] = []
    monkeypatch.setattr("sonic.cream.collection.read_tags", lambda path: read.append(path) or {"title": "Read"})
    labels = dict.fromkeys(TAGS) | {"title": "Known"}
    known = {key: labels for key in tracks.track_id[:5]} | {tracks.track_id[5]: {"title": "of a table"}, "gone": labels}
    done = add_tags(tracks, known=known)
    assert list(done.title) == ["Known"] * 5 + ["Read"] * 2 and read == list(tracks.path[5:])
    assert done.attrs["untagged"] == [] and list(tracks.columns) == ["track_id", "path"]
    pd.testing.assert_frame_equal(add_tags(done), done)
    assert len(read) == 2  # what has its labels is not asked again


# ---- what is written to a URL ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shards", [None, 2])
def test_pictures_go_to_a_url_as_they_go_to_a_folder(tmp_path, shards):
    music = tmp_path / "music"
    music.mkdir()
    for number in range(3):
        good_track(music / f"{number}.wav", number)
    how = {"jobs": 0, "shards": shards, "progress": False, "picture.width": 32, "picture.height": 24}
    here, there = render(music, tmp_path / "out", **how), render(music, f"memory://out/{shards}", **how)
    pd.testing.assert_frame_equal(here, there)
    files = {p.relative_to(tmp_path / "out").as_posix(): p.read_bytes() for p in (tmp_path / "out").rglob("*.*")}
    store = fsspec.filesystem("memory")
    found = {name.removeprefix(f"/out/{shards}/"): store.cat(name) for name in store.find(f"/out/{shards}")}
    assert found == files
    again = render(music, f"memory://out/{shards}", **how)
    assert again.attrs["drawn"] == 0
    np.testing.assert_array_equal(
        open_images(f"memory://out/{shards}").levels("mel"), open_images(tmp_path / "out").levels("mel")
    )


def test_a_store_that_refuses_ends_the_run(tmp_path, monkeypatch):
    "Whatever its own error is called, it is no fault of the tracks."
    (tmp_path / "music").mkdir()
    good_track(tmp_path / "music" / "a.wav", 0)
    puts = []

    def refuse(self, here, there, **more):
        puts.append(there)
        if there.endswith(".png"):
            raise RuntimeError("AccessDenied: no quota left")
        return put(self, here, there, **more)

    put = MemoryFileSystem.put_file
    monkeypatch.setattr(MemoryFileSystem, "put_file", refuse)
    with pytest.raises(Halted, match="AccessDenied: no quota left|accessdenied: no quota left"):
        render(tmp_path / "music", "memory://refused", jobs=0, progress=False)
    assert any(name.endswith(".png") for name in puts)


def test_an_archive_is_not_written_into(tmp_path):
    (tmp_path / "music").mkdir()
    good_track(tmp_path / "music" / "a.wav", 0)
    with pytest.raises(SonicError, match="is in an archive, which can only be read"):
        render(tmp_path / "music", f"zip://set::{tmp_path}/out.zip", jobs=0, progress=False)
