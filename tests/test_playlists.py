"Playlists: limits that hold whatever is asked, orders and ways whose best is known, files that come back as they were."

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lab import wait

from sonic.config import Config, SonicError
from sonic.cream.artists import plan
from sonic.cream.music import write_song
from sonic.cream.tables import read_playlist
from sonic.rouge.playlistfile import open_playlist, save_playlist
from sonic.rouge.playlists import continue_playlist, from_history, from_seeds, path
from sonic.rouge.plays import Plays, make_plays
from sonic.rouge.recommender import Recommender
from sonic.rouge.walks import progress, smooth_order, way
from sonic.tails.index import Index, make_index
from sonic.tails.names import names_in, song_of
from sonic.tails.neighbours import score_rows
from sonic.tails.table import Table, make_table

AS_THEY_ARE = {"neighbours.centre": "no", "neighbours.standardise": "no"}


def collection(seed: int, count: int = 60) -> Table:
    "Tracks of few artists and albums, with guests, versions of songs, twins, a silent one and unknown ones."
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, 6))
    vectors[1] = vectors[0]  # the same recording twice
    artists = rng.choice(["Ann", "Ann feat. Bob", "Bob", "Cleo; Ann", "Dan", "Unknown", None], count)
    songs = [f"Song {n // 2}{' (Live)' * (n % 2)}" for n in range(count)]
    labels = {
        "title": songs,
        "artist": artists,
        "album": rng.choice(["One", "Two", "Three", None], count),
        "reason": "",
    }
    table = make_table(vectors, [f"t{n:02}" for n in range(count)], labels=pd.DataFrame(labels))
    table.tracks.loc["t09", "reason"] = "the clip is silent"
    return table


class Planted(Recommender):
    "Always likes the last tracks of the catalogue best."

    name = "planted"

    def learn(self, plays, *, sound, progress):
        return {}

    def score(self, history):
        return np.tile(np.arange(len(self.tracks), dtype=np.float32), (len(history.users), 1))


def ways_to_ask(table: Table, limits: dict[str, int]) -> dict[str, tuple[pd.DataFrame, set[str], set[str]]]:
    "Every kind of playlist: what came, what may never come, and what counts towards the limits beside it."
    ids = ["t02", "t03", "t17"]
    plays = make_plays(pd.DataFrame({"user_id": "me", "track_id": ids, "plays": [5, 1, 2]}))
    liked = Planted().fit(make_plays(pd.DataFrame({"user_id": "x", "track_id": table.ids})))
    more = {f"neighbours.{name}": value for name, value in limits.items()}
    there = path(table, "t02", "t17", k=7, **more)
    return {
        "seeds": (from_seeds(table, ids, negatives="t21", k=12, **more), {*ids, "t21"}, set()),
        "path": (there, set(), set()),
        "continue": (continue_playlist(table, [*ids, "t02"], k=9, **more), {*ids}, {*ids}),
        "continue, recommended": (continue_playlist(table, ids, k=9, recommender=liked, **more), {*ids}, {*ids}),
        "history": (from_history(table, plays, k=9, **more), {*ids}, set()),
        "history, recommended": (from_history(table, plays, k=9, recommender=liked, **more), {*ids}, set()),
    }


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 6))
def test_limits_hold_whatever_is_asked(seed, per_artist, per_album):
    table = collection(seed)
    limits = {"artist": per_artist, "album": per_album}
    for way_, (found, never, counted) in ways_to_ask(table, {f"per_{n}": most for n, most in limits.items()}).items():
        came = list(found["track_id"])
        assert len(set(came)) == len(came) and not never & {*came} and "t09" not in came, way_
        ends = {came[0], came[-1]} if way_ == "path" else counted  # which were asked for
        new = [key for key in came if key not in ends]
        for column, most in limits.items():
            named = lambda keys, column=column: Counter(  # noqa: E731
                name for key in keys for name in names_in(table.tracks.at[key, column])
            )
            have, given_ = named([*new, *ends]), named(ends)
            assert all(count <= max(most, given_[name]) for name, count in have.items() if name in named(new)), way_
        song = {key: song_of(*table.tracks.loc[key, ["title", "artist"]]) for key in [*new, *never, *ends]}
        fresh = [song[key] for key in new if song[key]]
        assert len(set(fresh)) == len(fresh) and not {*fresh} & {song[key] for key in {*never, *ends} - {"t21"}}, way_
        assert not {"t00", "t01"} <= {*came}, way_
        if way_ != "path":
            assert list(found["rank"]) == list(range(1, len(found) + 1))


def test_the_same_question_has_the_same_answer_in_whatever_order_the_tracks_stand():
    table = collection(3)
    shuffled = table.take(list(np.random.default_rng(1).permutation(table.ids)))
    for one, two in zip(ways_to_ask(table, {}).values(), ways_to_ask(shuffled, {}).values(), strict=True):
        assert list(one[0]["track_id"]) == list(two[0]["track_id"])


def test_labels_are_kept():
    table = collection(4)
    where = {"album": ["One", "Two"]}
    plays = make_plays(pd.DataFrame({"user_id": "me", "track_id": ["t02"]}))
    liked = Planted().fit(make_plays(pd.DataFrame({"user_id": "x", "track_id": table.ids})))
    lists = [from_seeds(table, "t02", where=where), path(table, "t02", "t17", where=where)[1:-1]]
    lists += [continue_playlist(table, ["t02"], where=where, recommender=one) for one in (None, liked)]
    lists += [from_history(table, plays, where=where, recommender=one) for one in (None, liked)]
    assert all(len(found) and set(found["album"]) <= {"One", "Two"} for found in lists)


# ---- order


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("aaabcd"), min_size=1, max_size=14), st.sampled_from("ae"), st.integers(0, 99))
def test_nobody_is_heard_twice_in_a_row_more_often_than_must_be(artists, heard, seed):
    vectors = np.random.default_rng(seed).normal(size=(len(artists), 3))
    labels = pd.DataFrame({"artist": artists})
    index = make_index(make_table(vectors, [f"{n:02}" for n in range(len(artists))], labels=labels), **AS_THEY_ARE)
    found = smooth_order(index, range(len(artists)), start=index.vectors[0], heard=heard)
    assert sorted(found) == list(range(len(artists)))
    walk = [heard, *(artists[row] for row in found)]
    again = sum(one == other for one, other in zip(walk, walk[1:], strict=False))
    counts = Counter(artists)
    assert again == max(0, *(2 * counts[name] - len(artists) - 1 + (name == heard) for name in counts))


def test_unknown_artists_are_not_one_artist():
    index = make_index(make_table(np.eye(3), list("abc"), labels=pd.DataFrame({"artist": [None, "Unknown", ""]})))
    assert sorted(smooth_order(index, range(3), start=index.vectors[0])) == [0, 1, 2]


# ---- ways


def on_an_arc(seed: int, *, count: int = 9, others: int = 400) -> Index:
    "Tracks at even angles between the first and the last, among others that lie elsewhere."
    rng = np.random.default_rng(seed)
    angles = np.linspace(0, 2.2, count)
    vectors = rng.normal(size=(count + others, 24))
    vectors[:count] = rng.normal(0, 0.02, (count, 24))
    vectors[:count, :2] += np.stack([np.cos(angles), np.sin(angles)], 1)
    return make_index(make_table(vectors, [f"{n:04}" for n in range(count + others)]), **AS_THEY_ARE)


@pytest.mark.parametrize("hubs", ["mutual", "none"])
def test_a_planted_line_is_walked_in_its_order(hubs):
    for seed in range(3):
        index = on_an_arc(seed)
        there = path(index, "0000", "0008", k=7, **{"neighbours.hubs": hubs})
        assert list(there["track_id"]) == [f"{n:04}" for n in range(9)]
        back = path(index, "0008", "0000", k=7, **{"neighbours.hubs": hubs})
        assert list(back["track_id"]) == [f"{n:04}" for n in range(8, -1, -1)]
        assert np.allclose(there["progress"], np.linspace(0, 1, 9), atol=0.05)
        assert np.isnan(there["jump"][0]) and there["jump"][1:].max() < 0.08


def test_a_way_has_no_jump_that_could_be_avoided():
    "Against all ways there are, in a collection that is small enough to try them."
    rng = np.random.default_rng(0)
    for _ in range(5):
        index = make_index(make_table(rng.normal(size=(14, 4)), [f"{n:02}" for n in range(14)]), **AS_THEY_ARE)
        chosen = Config().replace(**{"neighbours.hubs": "none", "neighbours.versions": "all"}).neighbours
        found = [0, *way(index, 0, 1, k=3, may=np.ones(14, bool), settings=chosen), 1]
        gone, cost = progress(index, 0, 1), (1 - index.vectors @ index.vectors.T) ** 4
        least = min(
            cost[0, a] + cost[a, b] + cost[b, c] + cost[c, 1]
            for a in range(2, 14)
            for b in range(2, 14)
            for c in range(2, 14)
            if gone[a] < gone[b] < gone[c]
        )
        assert sum(cost[a, b] for a, b in zip(found, found[1:], strict=False)) == pytest.approx(least, rel=1e-4)


def test_a_way_is_as_long_as_there_are_tracks_for_it():
    index = on_an_arc(0, others=3)
    assert len(path(index, "0000", "0008", k=50)) <= 12
    labels = pd.DataFrame({"artist": ["Ann", "Ann", "Bob", "Ann", "Bob", "Cleo"]})
    six = make_index(make_table(np.random.default_rng(0).normal(size=(6, 3)), list("abcdef"), labels=labels))
    found = path(six, "a", "b", k=4, **{"neighbours.per_artist": 1})
    assert set(found["artist"][1:-1]) <= {"Bob", "Cleo"} and found["artist"][1:-1].is_unique
    with pytest.raises(SonicError, match="k=0 must be at least 1"):
        path(six, "a", "b", k=0)


# ---- on from a playlist, and from a history


def two_kinds() -> Table:
    "Twenty tracks of one kind, a00 on, and twenty of another, b00 on."
    rng = np.random.default_rng(0)
    middles = np.repeat(np.eye(2, 8) * 5, 20, axis=0)
    return make_table(middles + rng.normal(size=(40, 8)), [f"{kind}{n:02}" for kind in "ab" for n in range(20)])


def test_the_last_tracks_of_a_playlist_count_most():
    table = two_kinds()
    ones, others = [f"a{n:02}" for n in range(8)], [f"b{n:02}" for n in range(8)]
    for begun, kind in ((ones + others, "b"), (others + ones, "a")):
        found = continue_playlist(table, begun, k=6)
        assert sum(key[0] == kind for key in found["track_id"]) >= 5


def test_a_weight_counts_like_as_many_seeds():
    index = make_index(two_kinds())
    rows, free, none = np.array([0, 30]), np.arange(5, 25), np.array([], int)
    chosen = Config().neighbours
    weighted = score_rows(index, rows, none, free, settings=chosen, weights=np.array([2.0, 1.0]))
    repeated = score_rows(index, np.array([0, 0, 30]), none, free, settings=chosen)
    assert np.allclose(weighted, repeated, atol=1e-6)


def test_both_tastes_of_a_listener_are_served_and_the_greater_one_more():
    plays = pd.DataFrame({"user_id": "me", "track_id": ["a00", "a01", "a02", "b00", "b01", "b02"]})
    even = from_history(two_kinds(), make_plays(plays), k=20)
    lopsided = from_history(two_kinds(), make_plays(plays.assign(plays=[50] * 3 + [1] * 3)), k=10)
    count = Counter(key[0] for key in even["track_id"])
    assert min(count["a"], count["b"]) >= 6
    assert {key[0] for key in lopsided["track_id"]} == {"a"}


def test_a_recommender_says_what_comes_next_but_only_what_is_in_the_table():
    table = two_kinds()
    catalogue = [*table.ids, "x1", "x2"]  # which it likes best, and which nobody has vectors of
    liked = Planted().fit(make_plays(pd.DataFrame({"user_id": "x", "track_id": catalogue}), tracks=catalogue))
    found = continue_playlist(table, ["a00", "b19"], k=3, recommender=liked)
    assert set(found["track_id"]) == {"b18", "b17", "b16"} and list(found.sort_values("score")["score"]) == [36, 37, 38]
    history = make_plays(pd.DataFrame({"user_id": ["me", "me", "you"], "track_id": ["b19", "gone", "b18"]}))
    assert set(from_history(table, history, user="me", k=2, recommender=liked)["track_id"]) == {"b18", "b17"}


class Seen(Planted):
    "Notes the history that it was asked about."

    def score(self, history):
        self.history = history
        return super().score(history)


def test_a_recommender_gets_a_playlist_in_its_order():
    table = two_kinds()
    seen = Seen().fit(make_plays(pd.DataFrame({"user_id": "x", "track_id": table.ids})))
    continue_playlist(table, ["b03", "a07", "b01", "b03"], recommender=seen)
    history: Plays = seen.history
    assert [history.tracks[column] for column in history.track] == ["b03", "a07", "b01"]
    assert list(history.count) == [2, 1, 1] and list(history.last) == [4, 2, 3]


# ---- files

NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1, max_size=20
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 200 and len(name.splitlines()) == 1)


@settings(max_examples=15, deadline=None)
@given(names=st.lists(NAMES.filter(lambda name: name == name.rstrip()), min_size=1, max_size=4, unique=True))
def test_an_m3u_comes_back_here_and_as_a_collection(names, tmp_path_factory):
    root = tmp_path_factory.mktemp("files")
    files = [root / "mu sic#" / f"{name}.ogg" for name in names]
    files[0].parent.mkdir()
    for file in files:
        file.touch()
    tracks = pd.DataFrame({"path": [str(file) for file in files]}, index=[f"id {n}" for n in range(len(files))])
    found = pd.DataFrame({"track_id": tracks.index[::-1]})
    for where in (root, root / "mu sic#", root / "li%20sts"):
        save_playlist(found, tracks, where / "list.m3u8")
        assert open_playlist(where / "list.m3u8", tracks) == (list(found["track_id"]), [])
        came = read_playlist(where / "list.m3u8", tags=False)["path"]
        assert list(came) == list(tracks["path"])[::-1]
        assert str(root) not in (where / "list.m3u8").read_text(encoding="utf-8")  # it may be moved with its music


@settings(max_examples=25, deadline=None)
@given(
    names=st.lists(
        st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
    ),
    title=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
def test_a_jspf_holds_any_name(names, title, tmp_path_factory):
    root = tmp_path_factory.getbasetemp()
    names = sorted({name for name in names if name not in (".", "..")} | {"line\nbreak", "a:b", "100%25"})
    tracks = pd.DataFrame({"path": [f"{root}/music/{name}" for name in names], "title": title}, index=names)
    found = pd.DataFrame({"track_id": names})
    save_playlist(found, tracks, root / "any.jspf", title=title)
    assert open_playlist(root / "any.jspf", tracks) == (names, [])
    elsewhere = tracks.assign(path=None)
    assert open_playlist(root / "any.jspf", elsewhere) == (names, [])  # by the identifiers
    for track in json.loads((root / "any.jspf").read_text(encoding="utf-8"))["playlist"]["track"]:
        assert all(uri.isascii() and " " not in uri for uri in track["location"] + track["identifier"])


def test_a_track_that_an_m3u_cannot_hold_is_refused_and_nothing_is_written_over(tmp_path):
    file = tmp_path / "list.m3u"
    file.write_text("mine")
    for name in ("two\nlines.ogg", "re\rturn.ogg", "feed\x0c.ogg", "line\u2028.ogg", "end.ogg ", "\udcff.ogg"):
        tracks = pd.DataFrame({"path": [str(tmp_path / name)]}, index=["bad\nid"], dtype=object)
        with pytest.raises(SonicError, match="cannot stand in an M3U") as told:
            save_playlist(pd.DataFrame({"track_id": ["bad\nid"]}), tracks, file)
        assert r"'bad\nid'" in str(told.value) and len(str(told.value).splitlines()) == 1
    assert file.read_text() == "mine"


def test_titles_cannot_break_an_m3u(tmp_path):
    tracks = pd.DataFrame(
        {"path": [str(tmp_path / "a.ogg")], "title": ["x\n/etc/passwd\r#"], "artist": ["A,\u2028B"]}, index=["a"]
    )
    save_playlist(pd.DataFrame({"track_id": ["a"]}), tracks, tmp_path / "one.m3u8", title="no\nyes.ogg")
    lines = (tmp_path / "one.m3u8").read_text(encoding="utf-8").splitlines()
    assert lines == ["#EXTM3U", "#PLAYLIST:no yes.ogg", "#EXTINF:-1,A, B - x /etc/passwd #", "a.ogg"]


def test_a_playlist_in_a_linked_folder_has_absolute_paths(tmp_path):
    (tmp_path / "deep" / "lists").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "lists")
    tracks = pd.DataFrame({"path": [str(tmp_path / "music" / "a.ogg")]}, index=["a"])
    save_playlist(pd.DataFrame({"track_id": ["a"]}), tracks, tmp_path / "link" / "one.m3u8")
    assert (tmp_path / "link" / "one.m3u8").read_text().splitlines()[-1] == str(tmp_path / "music" / "a.ogg")
    assert open_playlist(tmp_path / "deep" / "lists" / "one.m3u8", tracks) == (["a"], [])


def test_playlists_of_other_programs(tmp_path):
    tracks = pd.DataFrame(
        {"path": ["/music/Ann/Blue.mp3", "/music/b.mp3", None], "title": ["Blue", "Red", "Red"], "artist": "Ann"},
        index=["blue", "red", "also red"],
    )
    (tmp_path / "a.m3u").write_bytes(b"file:///music/Ann/Blue.mp3\r\n#EXTINF:3,ann - BLUE\r\nD:\\x.mp3\r\n/no.mp3")
    assert open_playlist(tmp_path / "a.m3u", tracks) == (["blue", "blue"], ["/no.mp3"])
    entries = [
        {"location": "file:///music/b.mp3"},
        {"title": "Blue", "creator": "Ann", "identifier": ["https://musicbrainz.org/recording/1"]},
        {"title": "Red", "creator": "Ann"},  # which of the two?
        {"location": ["https://radio.example/b.mp3"]},
    ]
    (tmp_path / "b.jspf").write_text(json.dumps({"playlist": {"track": entries}}))
    assert open_playlist(tmp_path / "b.jspf", tracks) == (["red", "blue"], ["Ann - Red", "a track without a name"])


# ---- cards that play on


@pytest.mark.slow
def test_a_playlist_plays_on_and_passes_over_what_cannot_be_heard(notebook, tmp_path):
    files = [str(write_song(song, tmp_path, format="ogg")) for song in plan(tracks=4, seconds=2)]
    rows = [{"path": file, "title": title} for file, title in zip(files, ["One", "Two", "Three", "Four"], strict=True)]
    cell = f"""
from pathlib import Path
import numpy as np, pandas as pd
from sonic.explore import gallery, playlist
from sonic.tails.table import make_table
table = make_table(np.eye(4), list("abcd"), labels=pd.DataFrame({rows!r}))
shown = playlist(["c", "b", "a", "d"], table, seconds=1)
Path({files[1]!r}).unlink()  # gone before it is played
alone = gallery(table.tracks.loc[["c", "d"]], seconds=1)
"""
    tab = notebook(cell, "shown", "alone")
    tab.page.evaluate("""() => {
        window.began = []
        document.addEventListener('sonic-play', () => setTimeout(() => {
            began.push(document.querySelector('.card.playing .name')?.textContent)
        }, 100))
    }""")
    tab.run_all()
    first, second = tab.page.locator(".sonic.cards").nth(0), tab.page.locator(".sonic.cards").nth(1)
    first.locator(".card .play").first.click()
    wait(tab, "() => began.length === 3 && !document.querySelector('.card.playing')")
    assert tab.page.evaluate("began") == ["Three", "One", "Four"]
    assert "no such file" in first.locator(".card").nth(1).inner_text()
    second.locator(".card .play").first.click()
    wait(tab, "() => began.length === 4 && !document.querySelector('.card.playing')")
    tab.page.wait_for_timeout(300)
    assert tab.page.evaluate("began.length") == 4  # a gallery is no playlist
    assert not tab.errors
