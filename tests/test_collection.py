"Collections: what a folder, a table, a playlist or a data set on disk becomes, and what must not go wrong."

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import unicodedata
from pathlib import Path

import mutagen
import mutagen.id3
import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st

from sonic.config import SonicError
from sonic.cream.audio import load
from sonic.cream.collection import TAGS, find_audio, make_id, read_folder, read_tags
from sonic.cream.decode import AUDIO_SUFFIXES
from sonic.cream.layouts import LAYOUTS, find_layout, open_collection
from sonic.cream.tables import read_playlist, read_table

SHARED = Path(__file__).resolve().parents[2] / "shared"


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def song(path: Path, **tags: str | list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.random.default_rng(0).normal(0, 0.1, 2000), 22050)
    audio = mutagen.File(path, easy=True)
    audio.update(tags)
    audio.save()
    return path


# Ids


names = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=8)
raw_names = st.binary(min_size=1, max_size=8).filter(lambda b: b"/" not in b and b"\0" not in b).map(os.fsdecode)
spelt = st.lists(st.sampled_from(["\\", "u", "d", "c", "f", "\udcff", "\udcfe"]), min_size=1, max_size=9).map("".join)


@given(st.lists(st.one_of(names, raw_names, spelt), unique=True, max_size=20))
def test_different_names_have_different_ids_in_valid_unicode(paths: list[str]) -> None:
    ids = [make_id(path) for path in paths]
    assert len(set(ids)) == len(paths)
    "".join(ids).encode("utf-8")


def test_ids_do_not_depend_on_place_order_or_company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = ["rock/Sun.mp3", "jazz/Sun.mp3", "rock/Sun.flac", "a b/é.ogg"]
    here = touch(tmp_path / "here", *few)
    there = touch(tmp_path / "deep" / "er", *few[::-1], "rock/Aaa.mp3", "Sun.mp3", "zzz/x.wav")
    ids = open_collection(here).track_id
    assert sorted(ids) == sorted(few)
    assert set(ids) <= set(open_collection(there).track_id)
    assert list(ids) == sorted(few)
    monkeypatch.chdir(tmp_path)
    relative = open_collection("here")
    assert list(relative.track_id) == list(ids)
    assert list(relative.path) == [str(here / name) for name in ids]


def test_names_of_all_kinds(tmp_path: Path) -> None:
    twins = [unicodedata.normalize(form, "Café.mp3") for form in ("NFC", "NFD")]
    odd = [
        *twins,
        "CAFÉ.mp3",
        "🎵.mp3",
        "-rf.mp3",
        "two\nlines.mp3",
        'it\'s "it".mp3',
        "%FF.mp3",
        "b\\xff.mp3",
        "dot. .mp3",
    ]
    odd += [
        "x" * 240 + ".mp3",
        os.fsdecode(b"b\xff.mp3"),
        os.fsdecode(b"b\xfe.mp3"),
        "=cmd().mp3",
        "<img onerror=1>.mp3",
    ]
    touch(tmp_path, *odd, os.fsdecode(b"caf\xe9/x.mp3"))
    tracks = open_collection(tmp_path, genre_from_folder=True)
    assert len(tracks) == len(odd) + 1 and tracks.track_id.is_unique
    assert all(os.path.isfile(path) for path in tracks.path)  # the path opens the file, whatever its bytes
    stored = tmp_path / "t.parquet"
    tracks.drop(columns="path").to_parquet(stored)  # ids and labels are valid Unicode
    assert list(pd.read_parquet(stored).track_id) == list(tracks.track_id)


# Folders


def test_endings_are_compared_case_blind(tmp_path: Path) -> None:
    endings = sorted(AUDIO_SUFFIXES)
    assert {".mp3", ".flac", ".wav", ".ogg", ".au"} <= set(endings)
    touch(
        tmp_path,
        *(f"a{ending}" for ending in endings),
        *(f"B{ending.upper()}" for ending in endings),
        "c.mp3.txt",
        "mp3",
    )
    tracks = open_collection(tmp_path, tags=False)
    assert len(tracks) == 2 * len(endings)
    assert tracks.attrs["skipped"] == ["2 not audio by its ending (c.mp3.txt, mp3)"]
    assert tracks.attrs["root"] == str(tmp_path)


def test_what_is_no_file_of_the_library_is_passed_over_and_said(tmp_path: Path) -> None:
    root = touch(tmp_path / "library", "a/one.mp3", ".hidden.mp3", ".git/two.mp3", "cover.jpg", "folder.mp3/three.mp3")
    outside = touch(tmp_path, "outside/four.mp3") / "outside"
    (root / "loop").symlink_to(root)
    (root / "a" / "up").symlink_to("..")
    (root / "out").symlink_to(outside)
    (root / "out.mp3").symlink_to(outside / "four.mp3")
    (root / "self.mp3").symlink_to("self.mp3")
    (root / "gone.mp3").symlink_to("nowhere.mp3")
    (root / "in.mp3").symlink_to("a/one.mp3")
    os.mkfifo(root / "pipe.mp3")
    tracks = open_collection(root)  # would wait for ever if it opened the pipe
    assert list(tracks.track_id) == ["a/one.mp3", "folder.mp3/three.mp3", "in.mp3"]
    assert tracks.attrs["skipped"] == [
        "3 device, pipe or broken link (gone.mp3, pipe.mp3, self.mp3)",
        "2 hidden (.git, .hidden.mp3)",
        "1 link out of the folder (out.mp3)",
        "3 linked folder (a/up, loop, out)",
        "1 not audio by its ending (cover.jpg)",
    ]


def test_a_library_behind_a_link_is_read(tmp_path: Path) -> None:
    touch(tmp_path / "real", "a/one.mp3")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "two.mp3").symlink_to("a/one.mp3")
    assert list(open_collection(tmp_path / "link").track_id) == ["a/one.mp3", "two.mp3"]


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder", "loop", "broken link", "loop of two"])
def test_no_file_by_the_name_of_one(tmp_path: Path, kind: str) -> None:
    root, odd = touch(tmp_path / "library", "a.mp3"), tmp_path / "library" / "odd.mp3"
    with socket.socket(socket.AF_UNIX) as plug:
        if kind == "pipe":
            os.mkfifo(odd)
        elif kind == "socket":
            plug.bind(str(odd))
        elif kind == "device":
            odd.symlink_to("/dev/zero")
        elif kind == "folder":
            odd.mkdir()
        else:
            odd.symlink_to({"loop": "odd.mp3", "broken link": "gone.mp3", "loop of two": "other.mp3"}[kind])
            if kind == "loop of two":
                (root / "other.mp3").symlink_to("odd.mp3")
        tracks = open_collection(root)  # none of them is opened: a pipe would be waited for, a device has no end
        assert list(tracks.track_id) == ["a.mp3"]
        names = "odd.mp3" if kind != "loop of two" else "odd.mp3, other.mp3"
        number = 1 + names.count(",")
        said = [] if kind == "folder" else [f"{number} device, pipe or broken link ({names})"]
        assert tracks.attrs["skipped"] == said
        if kind == "folder":
            return
        for listed in (pd.DataFrame({"path": [str(odd)]}), *([odd] if odd.exists() else [])):
            (path,) = open_collection(listed).path
            with pytest.raises(SonicError, match=r"^odd.mp3: (not a regular file|no such file)$"):
                load(path)


def test_links_of_all_kinds(tmp_path: Path) -> None:
    root = touch(tmp_path / "music", "a.mp3", "in/b.mp3")
    touch(tmp_path / "music2", "c.mp3")  # a folder whose name begins like the library's
    (root / "hop.mp3").symlink_to("step.mp3")
    (root / "step.mp3").symlink_to("../music2/c.mp3")  # out, by way of a link that is in
    (root / "near.mp3").symlink_to(tmp_path / "music2" / "c.mp3")
    (root / "round.mp3").symlink_to("../music2/../music/a.mp3")  # out and in again
    (root / "in.mp3").symlink_to("in")
    os.link(root / "a.mp3", root / "hard.mp3")  # one file of two names: two tracks
    os.link(tmp_path / "music2" / "c.mp3", root / "held.mp3")
    tracks = open_collection(root)
    assert list(tracks.track_id) == ["a.mp3", "hard.mp3", "held.mp3", "in/b.mp3", "round.mp3"]
    assert tracks.attrs["skipped"] == [
        "3 link out of the folder (hop.mp3, near.mp3, step.mp3)",
        "1 linked folder (in.mp3)",
    ]


def test_a_file_that_goes_while_the_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.mp3", "b.mp3")
    tracks = open_collection(tmp_path)
    (tmp_path / "a.mp3").unlink()
    assert read_tags(tmp_path / "a.mp3") == {}
    with pytest.raises(SonicError, match=r"^a.mp3: no such file$"):
        load(tracks.path[0])
    scandir = os.scandir

    def gone(path: str):
        with scandir(path) as entries:
            found = list(entries)
        (tmp_path / "b.mp3").unlink(missing_ok=True)
        return contextlib.nullcontext(found)

    monkeypatch.setattr(os, "scandir", gone)
    assert list(open_collection(tmp_path).track_id) == ["b.mp3"]  # rendering will say what became of it


def test_what_may_not_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    song(tmp_path / "a.wav")
    (tmp_path / "l.m3u").write_text("a.wav\n")
    (tmp_path / "t.csv").write_text("path\na.wav\n")

    def deny(path: str | Path, *_: object, **__: object):  # the tests may run as root, whom no permission stops
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", deny)
    for name in ("l.m3u", "t.csv"):
        with pytest.raises(SonicError, match=rf"{name} cannot be read.*Permission denied$"):
            open_collection(tmp_path / name)
    monkeypatch.setattr("builtins.open", deny)
    monkeypatch.setattr(Path, "open", deny)
    with pytest.raises(SonicError, match=r"^a.wav: cannot be read: Permission denied$"):
        load(tmp_path / "a.wav")
    with pytest.raises(SonicError, match="cannot be read: File name too long"):
        open_collection(tmp_path / ("x" * 300 + ".mp3"))


def test_a_folder_is_walked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, *(f"{i % 5}/{i}.mp3" for i in range(200)))
    asked: list[str] = []
    scandir, stat = os.scandir, os.stat
    monkeypatch.setattr(os, "scandir", lambda path: asked.append(path) or scandir(path))
    monkeypatch.setattr(os, "stat", lambda path, **how: asked.append(path) or stat(path, **how))
    assert len(open_collection(tmp_path, tags=False)) == 200
    assert len(asked) < 40  # six folders, and a few looks at where tables of data sets could be


def test_notes_are_short_and_printable(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp3", *(f"{i}\x1b[31m.txt" for i in range(500)), os.fsdecode(b"\xff.txt"))
    (note,) = find_audio(tmp_path)[1]
    assert note.startswith("501 not audio") and len(note) < 120 and note.isprintable()


def test_an_unreadable_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.mp3", "locked/b.mp3")
    scandir = os.scandir

    def deny(path: str):  # the tests may run as root, whom no permission stops
        if os.path.basename(path) == "locked":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", deny)
    tracks = open_collection(tmp_path)
    assert list(tracks.track_id) == ["a.mp3"]
    assert tracks.attrs["skipped"] == ["1 unreadable (locked)"]


def test_a_folder_without_audio_names_itself_and_the_endings(tmp_path: Path) -> None:
    touch(tmp_path, "cover.jpg")
    message = r"holds no file that ends in .*\.mp3.*; 1 not audio by its ending \(cover.jpg\)"
    with pytest.raises(SonicError, match=message) as error:
        open_collection(tmp_path)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


# Tags


@pytest.mark.parametrize("ending", ["mp3", "flac", "ogg", "opus"])
def test_tags_come_back(tmp_path: Path, ending: str) -> None:
    if ending == "opus":
        path = tmp_path / "a.opus"
        sf.write(path, np.zeros(4800), 48000, format="OGG", subtype="OPUS")
        audio = mutagen.File(path, easy=True)
        audio.update(title="Ä", artist=["A", "B"], album="C", genre="Rock", date="2001")
        audio.save()
    else:
        path = song(tmp_path / f"a.{ending}", title="Ä", artist=["A", "B"], album="C", genre="Rock", date="2001-02-03")
    assert read_tags(path) == {"title": "Ä", "artist": "A;B", "album": "C", "genre": "Rock", "year": "2001"}


@pytest.mark.parametrize("ending", ["wav", "aiff"])
def test_tags_of_formats_with_plain_id3(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    sf.write(path, np.zeros(2000), 22050)
    audio = mutagen.File(path)
    audio.add_tags()
    audio.tags.add(mutagen.id3.TIT2(3, ["Ä"]))
    audio.tags.add(mutagen.id3.TCON(3, ["(17)"]))
    audio.tags.add(mutagen.id3.TDRC(3, ["1999-12-31"]))
    audio.save()
    assert read_tags(path) == {"title": "Ä", "genre": "Rock", "year": "1999"}


ERRORS = [mutagen.MutagenError, MemoryError, UnicodeDecodeError("utf-8", b"", 0, 1, ""), RecursionError, IndexError]


@pytest.mark.parametrize("error", ERRORS)
def test_broken_tags_cost_no_track(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    song(tmp_path / "good.flac", title="Good")
    touch(tmp_path, "bad.flac")
    whole = mutagen.File

    def fail(path: str, **options: bool):
        if path.endswith("bad.flac"):
            raise error
        return whole(path, **options)

    monkeypatch.setattr(mutagen, "File", fail)
    tracks = open_collection(tmp_path).set_index("track_id")
    assert tracks.title["good.flac"] == "Good" and tracks.loc["bad.flac", list(TAGS)].isna().all()


def test_cut_files_cost_no_track(tmp_path: Path) -> None:
    data = song(tmp_path / "whole.mp3", title="T" * 50, artist="A").read_bytes()
    for length in range(0, 400, 7):
        (tmp_path / f"{length:03}.mp3").write_bytes(data[:length])
    tracks = open_collection(tmp_path)
    assert len(tracks) == 59
    assert list(tracks.columns) == ["track_id", "path", *TAGS]


def test_columns_are_the_same_without_any_tag(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp3")
    assert list(open_collection(tmp_path).columns) == ["track_id", "path", *TAGS]
    assert list(open_collection(tmp_path, tags=False).columns) == ["track_id", "path"]


def test_nothing_is_drawn_when_nobody_looks(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    touch(tmp_path, *(f"{i}.mp3" for i in range(30)))
    open_collection(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_the_folder_is_the_genre_only_when_asked(tmp_path: Path) -> None:
    song(tmp_path / "jazz" / "a.flac", genre="Rock", title="A")
    touch(tmp_path, "b.mp3")
    assert open_collection(tmp_path).genre.dropna().tolist() == ["Rock"]
    asked = open_collection(tmp_path, genre_from_folder=True).set_index("track_id")
    assert asked.genre["jazz/a.flac"] == "jazz" and asked.title["jazz/a.flac"] == "A" and pd.isna(asked.genre["b.mp3"])


# Tables


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "path,genre\nx.mp3,Rock\n"),
        ("a.csv", "genre;Filename\nRock;x.mp3\n"),
        ("a.tsv", "AUDIO\tgenre\nx.mp3\tRock\n"),
        ("a.CSV", '\ufeff"file_path","genre"\r\n"x.mp3","Rock"\r\n'),
        ("a.csv", "genre|file\nRock|./x.mp3\n"),
        ("a.csv", "path,genre\nx.mp3,Rock,\n"),  # a comma too many does not move the columns
    ],
)
def test_tables_of_many_spellings(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    tracks = open_collection(tmp_path / name)
    assert tracks[["track_id", "path", "genre"]].values.tolist() == [["x.mp3", str(tmp_path / "x.mp3"), "Rock"]]


def test_labels_of_a_table_are_kept_as_they_are(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "split": ["train", "test"],
            "id": ["01", "2"],
            "path": ["a/x.mp3", "/music/y.mp3"],
            "bpm": [120.5, np.nan],
            "artist": ["NULL", "nan"],
        }
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_parquet(tmp_path / "t.parquet")
    expected = [str(tmp_path / "a" / "x.mp3"), "/music/y.mp3"]
    for file in ("t.csv", "t.parquet"):
        tracks = open_collection(tmp_path / file)
        assert list(tracks.columns) == ["track_id", "path", "split", "bpm", "artist"]
        assert list(tracks.track_id) == ["01", "2"] and list(tracks.path) == expected
        assert list(tracks.artist) == ["NULL", "nan"] and tracks.bpm.isna().tolist() == [False, True]
    assert list(table.columns) == ["split", "id", "path", "bpm", "artist"]  # a table that is given is not changed


def test_a_frame_indexed_by_id_and_a_collection_are_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    indexed = pd.DataFrame({"path": ["x.mp3"], "genre": ["Rock"]}, index=pd.Index([7], name="track_id"))
    tracks = open_collection(indexed)
    assert tracks[["track_id", "path"]].values.tolist() == [["7", str(tmp_path / "x.mp3")]]
    pd.testing.assert_frame_equal(open_collection(tracks), tracks)
    assert list(open_collection(tracks[tracks.genre == "Rock"]).track_id) == ["7"]


def test_ids_from_paths_of_a_table(tmp_path: Path) -> None:
    home = tmp_path / "lists"
    home.mkdir()
    rows = ["a/x.mp3", "./a//y.mp3", "../b/x.mp3", f"{home}/z.mp3", "/music/x.mp3"]
    (home / "t.csv").write_text("path\n" + "\n".join(rows), encoding="utf-8")
    assert list(open_collection(home / "t.csv").track_id) == [
        "a/x.mp3",
        "a/y.mp3",
        "../b/x.mp3",
        "z.mp3",
        "/music/x.mp3",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("song,genre\nx,Rock\n", "has no column of paths: it has song, genre; one must be called path or file"),
        ("id,path\n7,x.mp3\n8,y.mp3\n7,z.mp3\n", "track_id '7' stands for .*x.mp3' and for .*z.mp3'"),
        ("path\nx.mp3\n./x.mp3\n", "track_id 'x.mp3' stands for"),
        ("id,path\n7,x.mp3\n,y.mp3\n", "row 2 has no id"),
        ("id,path\n7,\n8,y.mp3\n", "row 1 has no path"),
        ("path,genre\n", "lists no track"),
        ("", "cannot be read as a table: No columns"),
    ],
)
def test_tables_that_cannot_be_right(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(SonicError, match=message) as error:
        open_collection(tmp_path / "t.csv")
    assert "\n" not in str(error.value) and "t.csv" in str(error.value)


def test_a_table_that_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1 but not really")
    (tmp_path / "t.csv").write_bytes(bytes(range(256)) * 3)
    for name in ("t.parquet", "t.csv"):
        with pytest.raises(SonicError, match=name):
            open_collection(tmp_path / name)


# Playlists


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_playlists_in_their_encodings(tmp_path: Path, encoding: str, end: str) -> None:
    lines = ["#EXTM3U", "#EXTINF:12,Motörhead - Ace, of Spades", "rock/Motörhead.mp3", "", "# a remark", "plain.ogg"]
    (tmp_path / "l.m3u").write_bytes(end.join(lines).encode(encoding))
    tracks = open_collection(tmp_path / "l.m3u")
    assert list(tracks.track_id) == ["rock/Motörhead.mp3", "plain.ogg"]  # in the order of the list
    assert tracks.title[0] == "Motörhead - Ace, of Spades" and pd.isna(tracks.title[1])


def test_lines_of_a_playlist(tmp_path: Path) -> None:
    song(tmp_path / "music" / "Sun.flac", title="Sun", artist="Lamps")
    touch(tmp_path / "music", "a\\b.mp3")
    home = tmp_path / "lists"
    home.mkdir()
    lines = [
        "#EXTINF:1,Lamps - Sun",
        "..\\music\\Sun.flac",
        f"file://{tmp_path}/music/My%20Song.mp3",
        "HTTP://radio.example/live.mp3",
        "https://[radio.example/x",
        "../music/Sun.flac",
        "../music/a\\b.mp3",
    ]
    (home / "l.m3u8").write_text("\n".join(lines), encoding="utf-8")
    tracks = open_collection(home / "l.m3u8")
    names = ["Sun.flac", "My Song.mp3", "a\\b.mp3"]
    assert list(tracks.path) == [str(tmp_path / "music" / name) for name in names]
    assert list(tracks.title[:1]) == ["Sun"] and list(tracks.artist[:1]) == ["Lamps"]  # the tag, not the comment
    assert tracks.track_id[0] == "../music/Sun.flac"
    assert tracks.attrs["skipped"] == [
        "2 on the web (HTTP://radio.example/live.mp3, https://[radio.example/x)",
        "1 listed before (../music/Sun.flac)",
    ]
    assert read_playlist(home / "l.m3u8", tags=False).title[0] == "Lamps - Sun"


def test_a_playlist_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "l.m3u").write_text("#EXTM3U\nhttp://a.example\n")
    with pytest.raises(SonicError, match=r"l.m3u lists no track; skipped 1 on the web \(http://a.example\)"):
        open_collection(tmp_path / "l.m3u")


# Data sets


def fma(root: Path, *, folder: str = "fma_small") -> Path:
    touch(root, f"{folder}/000/000002.mp3", f"{folder}/000/000005.mp3", f"{folder}/134/134105.mp3")
    (root / "fma_metadata").mkdir(exist_ok=True)
    (root / "fma_metadata" / "tracks.csv").write_text(
        ",album,album,artist,set,set,track,track\n,comments,title,name,split,subset,genre_top,title\ntrack_id,,,,,,,\n"
        '2,0,Life,AWOL,training,small,Hip-Hop,Food\n3,0,Life,AWOL,test,medium,,"Electric\nAve"\n134105,1,None,NA,validation,small,Rock,7"\n',
        encoding="utf-8",
    )
    return root


@pytest.mark.parametrize("folder", ["fma_small", "fma_full"])
def test_fma(tmp_path: Path, folder: str) -> None:
    fma(tmp_path, folder=folder)
    for source in (tmp_path, tmp_path / folder):
        tracks = open_collection(source).set_index("track_id")
        assert tracks.loc["2", ["title", "artist", "album", "genre", "split", "subset"]].tolist() == [
            "Food", "AWOL", "Life", "Hip-Hop", "training", "small",
        ]  # fmt: skip
        assert tracks.loc["134105", ["artist", "album", "title"]].tolist() == ["NA", "None", '7"']
        assert tracks.loc["5"].drop("path").isna().all()
        assert all(os.path.isfile(path) for path in tracks.path)
    assert tracks.attrs["skipped"][:2] == ["1 listed without audio (3)", "1 without labels (5)"]


def test_two_copies_of_a_data_set_are_not_mixed(tmp_path: Path) -> None:
    fma(tmp_path)
    fma(tmp_path, folder="fma_large")
    with pytest.raises(SonicError, match="track_id '134105' stands for|track_id '2' stands for"):
        open_collection(tmp_path)
    assert len(open_collection(tmp_path / "fma_large")) == 3


def test_music4all(tmp_path: Path) -> None:
    ids = ["0009fFIM1eYThaPg", "002Jyd0vN4HyCpqL"]
    touch(tmp_path, *(f"audios/{key}.mp3" for key in ids), *(f"lyrics/{key}.txt" for key in ids), "readme.txt")
    tables = {
        "information": "id\tartist\tsong\talbum_name\n"
        "0009fFIM1eYThaPg\tCheryl\tRain on Me\t3 Words\n002Jyd0vN4HyCpqL\tNA\tnull\tNone\n",
        "genres": "id\tgenres\n0009fFIM1eYThaPg\tpop\n002Jyd0vN4HyCpqL\thard rock,rock,classic rock\n",
        "tags": "id\ttags\n002Jyd0vN4HyCpqL\trock,loud\n0009fFIM1eYThaPg\tpop,british\n",
        "lang": "id\tlang\n0009fFIM1eYThaPg\ten\n002Jyd0vN4HyCpqL\ten\n",
        "metadata": "id\tspotify_id\tpopularity\trelease\tkey\tduration_ms\n"
        "0009fFIM1eYThaPg\t3eObKIfHKJ2nAkh2wUFPGc\t12.0\t2009\t4.0\t232387\n002Jyd0vN4HyCpqL\t1\t3.5\t1988\t0.0\t1\n",
    }
    for name, text in tables.items():
        (tmp_path / f"id_{name}.csv").write_text(text, encoding="utf-8")
    tracks = open_collection(tmp_path)
    assert find_layout(tmp_path) == "music4all"
    columns = [
        "artist",
        "title",
        "album",
        "genre",
        "tags",
        "lang",
        "spotify_id",
        "popularity",
        "year",
        "key",
        "duration_ms",
    ]
    assert list(tracks.columns) == ["track_id", "path", *columns]
    assert list(tracks.track_id) == ids
    expected = ["Cheryl", "Rain on Me", "3 Words", "pop", "pop;british", "en", "3eObKIfHKJ2nAkh2wUFPGc"]
    assert tracks.loc[0, columns[:7]].tolist() == expected
    assert tracks.loc[1, columns[:4]].tolist() == ["NA", "null", "None", "hard rock;rock;classic rock"]
    assert list(tracks.year) == [2009, 1988]
    assert list(open_collection(tmp_path / "audios").track_id) == ids


@pytest.mark.parametrize("base", ["genres", "genres_original", "Data/genres_original"])
@pytest.mark.parametrize("ending", ["wav", "au"])
def test_gtzan(tmp_path: Path, base: str, ending: str) -> None:
    touch(tmp_path, *(f"{base}/{key[:-6]}/{key}.{ending}" for key in ("blues.00000", "hiphop.00099", "jazz.00054")))
    tracks = open_collection(tmp_path)
    assert list(tracks.track_id) == ["blues.00000", "hiphop.00099", "jazz.00054"]  # the corrupt one stays
    assert list(tracks.genre) == ["blues", "hiphop", "jazz"]


JAMENDO = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"


def jamendo(root: Path, *, data: str = "data", low: str = "") -> Path:
    touch(root, f"audio/14/214{low}.mp3", f"audio/56/1376256{low}.mp3")
    rows = {
        214: "track_0000214\tartist_000014\talbum_000031\t14/214.mp3\t124.6\t",
        1376256: "track_1376256\tartist_490499\talbum_161779\t56/1376256.mp3\t166.0\t",
    }
    tables = {
        "autotagging.tsv": rows[214]
        + "genre---punkrock\n"
        + rows[1376256]
        + "genre---easylistening\tgenre---chillout\t"
        "mood/theme---commercial\tinstrument---piano\n",
        "splits/split-0/autotagging_genre-train.tsv": rows[214] + "genre---punkrock\n",
        "splits/split-0/autotagging-validation.tsv": rows[1376256] + "genre---chillout\n",
        "splits/split-1/autotagging-test.tsv": rows[214] + "genre---punkrock\n",
    }
    for name, text in tables.items():
        path = root / data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(JAMENDO + text, encoding="utf-8")
    return root


@pytest.mark.parametrize("data", ["data", "."])
@pytest.mark.parametrize("low", ["", ".low"])
def test_jamendo(tmp_path: Path, data: str, low: str) -> None:
    tracks = open_collection(jamendo(tmp_path, data=data, low=low)).set_index("track_id")
    assert list(tracks.index) == ["track_0000214", "track_1376256"]
    labels = ["genre", "mood", "instrument", "split", "artist", "album", "duration"]
    expected = ["chillout;easylistening", "commercial", "piano", "validation", "artist_490499", "album_161779", 166.0]
    assert tracks.loc["track_1376256", labels].tolist() == expected
    assert tracks.loc["track_0000214", ["genre", "split"]].tolist() == ["punkrock", "train"]
    assert pd.isna(tracks.loc["track_0000214", "mood"])


def test_names_of_jamendo(tmp_path: Path) -> None:
    jamendo(tmp_path)
    (tmp_path / "data" / "raw.meta.tsv").write_text(
        "TRACK_ID\tARTIST_ID\tALBUM_ID\tTRACK_NAME\tARTIST_NAME\tALBUM_NAME\tRELEASEDATE\tURL\n"
        'track_0000214\tartist_000014\talbum_000031\tAn "odd\tFive\tPunk\t2004-12-28\thttp://a\n'
        "track_1376256\tartist_490499\talbum_161779\tWith a gap\t\tSix\tCalm\t2016-01-01\thttp://b\n"
        "track_0000009\tartist_000009\talbum_000009\tNot here\tNo\tNo\t2016-01-01\thttp://c\n",
        encoding="utf-8",
    )
    tracks = open_collection(tmp_path)
    assert tracks[["title", "artist", "album", "released"]].values.tolist() == [
        ['An "odd', "Five", "Punk", "2004-12-28"],
        ["With a gap", "Six", "Calm", "2016-01-01"],
    ]
    assert list(tracks.artist_id) == ["artist_000014", "artist_490499"]


def test_a_library_is_not_taken_for_a_data_set(tmp_path: Path) -> None:
    touch(tmp_path, "blues/blues.00001.wav", "rock/Sun.mp3", "rock/Moon.mp3", "14/214.mp3", "000/000123.mp3")
    assert find_layout(tmp_path) == "folder"
    (tmp_path / "id_information.csv").write_text("id\tartist\tsong\talbum_name\n")
    assert find_layout(tmp_path) == "folder"
    for name in LAYOUTS:
        if name != "gtzan":
            with pytest.raises(SonicError, match=f"is not laid out like {name}: it has no"):
                open_collection(tmp_path, layout=name)
    assert list(open_collection(tmp_path, layout="gtzan").track_id) == ["blues.00001"]
    skipped = open_collection(tmp_path, layout="gtzan").attrs["skipped"]
    assert skipped[0].startswith("4 not a track of gtzan (000/000123.mp3")


def test_a_data_set_read_as_a_folder(tmp_path: Path) -> None:
    fma(tmp_path)
    assert "fma_small/000/000002.mp3" in set(open_collection(tmp_path, layout="folder").track_id)


# The door


def test_one_file(tmp_path: Path) -> None:
    path = song(tmp_path / "a" / "Sun.FLAC", title="Sun")
    tracks = open_collection(str(path))
    assert tracks[["track_id", "path", "title"]].values.tolist() == [["Sun.FLAC", str(path), "Sun"]]


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt")
    with pytest.raises(SonicError, match="nowhere is not there"):
        open_collection(tmp_path / "nowhere")
    with pytest.raises(SonicError, match=r"notes.txt is no folder and ends in none of .csv .tsv .parquet .m3u .*\.mp3"):
        open_collection(tmp_path / "notes.txt")
    with pytest.raises(SonicError, match="layout=spotify must be one of music4all, fma, jamendo, gtzan, folder"):
        open_collection(tmp_path, layout="spotify")


def test_importing_stays_light() -> None:
    heavy = ["pandas", "torch", "librosa", "matplotlib", "mutagen", "rich"]
    code = f"import sonic.cream.layouts, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(not (SHARED / "audio").is_dir(), reason="no shared recordings here")
def test_real_recordings() -> None:
    tracks = open_collection(SHARED / "audio")
    assert len(tracks) == sum(path.suffix in AUDIO_SUFFIXES for path in (SHARED / "audio").iterdir())
    assert tracks.attrs["skipped"] == ["1 not audio by its ending (CREDITS.md)"]


@pytest.mark.skipif(not (SHARED / "broken").is_dir(), reason="no shared broken files here")
def test_broken_recordings(tmp_path: Path) -> None:
    tracks = open_collection(SHARED / "broken").set_index("track_id")
    assert tracks.artist["tags/id3_multiple_artists.mp3"] == ";".join(f"artist{i}" for i in range(1, 8))
    assert tracks.title.notna().sum() > 10
    for name in ("tags/test3.m4a", "tags/test2.wma"):  # read by their own kind of tag
        assert read_tags(SHARED / "broken" / name).get("artist")
    shutil.copytree(SHARED / "broken", tmp_path / "elsewhere")
    assert list(read_folder(tmp_path / "elsewhere").track_id) == list(tracks.index)


def test_a_manifest_is_a_table(tmp_path: Path) -> None:
    touch(tmp_path, "x.mp3")
    manifest = pd.DataFrame({"track_id": ["x"], "path": [str(tmp_path / "x.mp3")], "status": ["done"]})
    manifest.to_parquet(tmp_path / "manifest.parquet")
    assert list(read_table(tmp_path / "manifest.parquet").columns) == ["track_id", "path", "status"]
