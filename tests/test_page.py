"The demo and its page, in a real browser where there is one."

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import soundfile

from sonic.cream.artists import plan
from sonic.cream.demo import agree, demo, find, make_collection
from sonic.cream.page import Entry, write_page


def test_the_same_seed_makes_the_same_files(tmp_path):
    digests = []
    for name, jobs in (("one", 1), ("two", 2)):
        make_collection(tmp_path / name, tracks=3, seconds=3, jobs=jobs, progress=False)
        files = sorted((tmp_path / name).rglob("*.*"))
        digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in files])
    assert digests[0] == digests[1] and len(set(digests[0])) == 4
    make_collection(tmp_path / "other", tracks=3, seconds=3, seed=1, jobs=0, progress=False)
    others = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "other").rglob("*.*")}
    assert not others & set(digests[0])


def test_the_files_are_what_they_say(tmp_path):
    table = pd.read_csv(make_collection(tmp_path, tracks=3, seconds=4, jobs=0, progress=False))
    assert [Path(path).suffix for path in table["path"]] == [".mp3", ".flac", ".ogg"]
    for path in table["path"]:
        about = soundfile.info(tmp_path / path)
        assert abs(about.duration - 4) < 0.1 and about.channels == 2
        assert about.format == {".mp3": "MP3", ".flac": "FLAC", ".ogg": "OGG"}[Path(path).suffix]


def test_planted_tempo_and_key_are_in_the_sound(tmp_path):
    table = pd.read_csv(make_collection(tmp_path, tracks=8, seconds=20, jobs=2, progress=False))
    found = [find(str(tmp_path / path)) for path in table["path"]]
    assert sum(agree(bpm, planted) for (bpm, _), planted in zip(found, table["tempo"], strict=True)) >= 6
    assert sum(name == planted for (_, name), planted in zip(found, table["key"], strict=True)) >= 7


def test_songs_of_an_artist_share_a_style():
    songs = plan(tracks=64, seed=3)
    assert len({song.track_id for song in songs}) == 64
    genres = {song.artist: song.genre for song in songs}
    assert all(genres[song.artist] == song.genre for song in songs)
    assert len(set(genres.values())) >= 6 and len(genres) > len(set(genres.values()))


def test_the_page_shows_every_track(tmp_path):
    page = demo(tmp_path, tracks=3, seconds=3, jobs=0, progress=False)
    text = page.read_text(encoding="utf-8")
    assert text.count("<article") == 3 and text.count("<img") == 12
    for song in plan(tracks=3, seconds=3):
        assert song.title in text and song.artist in text


def test_a_hostile_title_is_text(tmp_path):
    bad = '</h2><script>alert(1)</script><img src=x onerror="alert(2)">'
    entry = Entry(bad, bad, bad, bad, {"mel": bad}, [(bad, bad, bad, True)])
    write_page(tmp_path / "page.html", [entry], title=bad, lead=bad)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count("<script") == 1 and text.count("<img") == 1 and 'onerror="alert' not in text
