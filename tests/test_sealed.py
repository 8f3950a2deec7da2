"What is sealed stays sealed: no artist, play or track of the test reaches a search, and each opening is written down."

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sonic.chain import TuneSettings
from sonic.config import Config
from sonic.cream.artists import plan
from sonic.rouge.log import make_log, open_log, save_log
from sonic.rouge.simulator import simulate
from sonic.sections import SonicError
from sonic.shadow.objectives import Problem
from sonic.shadow.sealed import Seal, open_seal, open_test, openings, save_seal, seal_log, seal_tracks, search_log
from sonic.tails.splits import leaks

HALF = Config().replace(**{"bench.train": 100, "bench.test": 30, "bench.cold": 0.2})


@pytest.fixture(scope="module")
def tracks():
    songs = [(s.track_id, s.artist, s.genre, s.tempo) for s in plan(240)]
    return pd.DataFrame(songs, columns=["track_id", "artist", "genre", "tempo"]).set_index("track_id").sort_index()


@pytest.fixture(scope="module")
def log(tracks):
    return simulate(tracks, users=80, days=200, plays=50).log


@pytest.fixture(scope="module")
def sealed(log, tracks):
    return seal_log(log, list(tracks.index), config=HALF)


def rows(log):
    "All rows as a set of tuples and their number."
    frame = pd.concat([batch.to_pandas() for batch in log.batches()])
    return sorted(frame.itertuples(index=False, name=None))


# ---- tracks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.2, 0.5])
def test_no_artist_is_on_both_sides_and_each_label_is_on_both(tracks, share, seed):
    seal = seal_tracks(tracks, label="genre", share=share, seed=seed)
    assert sorted([*seal.search, *seal.test]) == list(tracks.index)
    assert leaks(tracks, seal.search, seal.test)["artist"] == 0
    counts = tracks.loc[list(seal.test), "genre"].value_counts()
    assert len(counts) == 8 and abs(counts.sum() / 240 - share) < 0.12


def test_other_seeds_seal_other_tracks_and_the_order_of_the_table_says_nothing(tracks):
    one = seal_tracks(tracks)
    assert seal_tracks(tracks, seed=1).test != one.test
    assert seal_tracks(tracks.iloc[::-1]) == one and seal_tracks(tracks.reset_index()) == one


def test_an_album_keeps_tracks_of_several_artists_on_one_side(tracks):
    albums = tracks.assign(album=[f"album {n % 40} {genre}" for n, genre in enumerate(tracks["genre"])], artist=None)
    seal = seal_tracks(albums)
    assert leaks(albums, seal.search, seal.test)["album"] == 0


def test_tracks_without_a_label_and_labels_of_one_artist_are_on_no_side(tracks):
    odd = tracks.copy()
    odd.loc[odd.index[:5], "genre"] = None
    odd.loc[odd.index[5:9], ["genre", "artist"]] = ["polka", "one band"]
    seal = seal_tracks(odd)
    assert not {*odd.index[:9]} & {*seal.search, *seal.test}
    assert "5 tracks (no genre)" in seal.note and "4 tracks (genre polka has too few groups" in seal.note


def test_a_side_that_could_not_be_judged_is_refused():
    few = pd.DataFrame({"genre": list("aaabbb")}, index=pd.Index(list("uvwxyz"), name="track_id"))
    with pytest.raises(SonicError, match=r"the test side has too few tracks by genre .* change tune.test=0.3"):
        seal_tracks(few)


# ---- a log -----------------------------------------------------------------------------------------------------------


def test_the_log_of_the_search_is_all_that_is_early_and_of_open_tracks(log, sealed):
    seal, left = sealed
    wanted = [row for row in rows(log) if row[2] < seal.begins and row[1] in set(seal.search)]
    assert rows(left) == wanted and 0 < len(wanted) < len(log)
    assert seal.begins == log.span[1] + 1 - 30 * 86400


def test_a_file_and_memory_give_the_same_log(log, sealed, tmp_path):
    save_log(log, tmp_path / "log.parquet")
    seal, left = seal_log(
        open_log(tmp_path / "log.parquet"),
        sealed[0].search + sealed[0].test,
        config=HALF,
        out=tmp_path / "left.parquet",
    )
    assert seal == sealed[0] and rows(left) == rows(sealed[1])
    assert left.source == tmp_path / "left.parquet" and left.span == sealed[1].span


def test_nothing_that_happens_later_changes_the_seal_or_the_log(log, sealed, tracks):
    "All plays of the test are shuffled among listeners and tracks, some of them new; only the last second stays."
    frame, rng = log.source.to_pandas().astype({"user_id": object, "track_id": object}), np.random.default_rng(1)
    late = np.flatnonzero(frame["time"] >= sealed[0].begins)
    frame.loc[late, "track_id"] = rng.choice(tracks.index.to_numpy(object), len(late))
    frame.loc[late, "user_id"] = rng.choice([f"nobody {n}" for n in range(9)], len(late))
    frame.loc[late, "time"] = rng.integers(sealed[0].begins, log.span[1], len(late))
    frame.loc[late[0], "time"] = log.span[1]
    seal, left = seal_log(make_log(frame), list(tracks.index), config=HALF)
    assert seal == sealed[0] and rows(left) == rows(sealed[1])


def test_no_play_of_a_sealed_track_counts(log, sealed):
    "All their plays go to other listeners at other times, ten times as often."
    seal, left = sealed
    frame, rng = log.source.to_pandas().astype({"user_id": object, "track_id": object}), np.random.default_rng(2)
    shut = frame["track_id"].isin(seal.test)
    fake = pd.concat([frame[shut]] * 10).assign(time=lambda some: rng.integers(*log.span, len(some)))
    fake["user_id"] = rng.permutation(fake["user_id"].to_numpy())
    changed = make_log(pd.concat([frame[~shut], fake], ignore_index=True))
    assert rows(search_log(changed, seal)) == rows(left)


def test_the_splits_of_the_search_lie_before_the_seal_and_hide_other_tracks(sealed):
    seal, left = sealed
    problem = Problem(("cold",), "genre", None, seal, left, TuneSettings(splits=3), HALF)
    assert len(problem.log_splits) == 3
    for split in problem.log_splits:
        assert set(split.train.tracks) == set(seal.search)
        assert split.ends <= seal.begins and max(p.last.max() for p in (split.train, split.test)) < seal.begins
    hidden = [frozenset(np.array(s.train.tracks)[s.cold]) for s in problem.log_splits]
    assert len(set(hidden)) == 3


def test_the_whole_log_and_a_log_with_sealed_tracks_are_refused(log, sealed):
    seal, left = sealed
    with pytest.raises(SonicError, match="the log holds what is sealed"):
        Problem(("warm",), "genre", None, seal, log, TuneSettings())
    early = search_log(log, replace(seal, search=tuple(sorted(seal.search + seal.test)), test=()))
    with pytest.raises(SonicError, match="the log holds what is sealed"):
        Problem(("warm",), "genre", None, seal, early, TuneSettings())


def test_both_seals_together_keep_artists_apart(log, tracks):
    labels = seal_tracks(tracks)
    both, left = seal_log(log, list(tracks.index), config=HALF, beside=labels)
    assert set(labels.test) <= set(both.test) and not set(left.tracks()) & set(both.test)
    assert leaks(tracks, both.search, labels.test)["artist"] == 0


# ---- on disk ---------------------------------------------------------------------------------------------------------


def test_a_seal_comes_back_as_it_was(sealed, tmp_path):
    save_seal(sealed[0], tmp_path / "deep" / "seal.json")
    assert open_seal(tmp_path / "deep" / "seal.json") == sealed[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "{}",
        '{"sonic_seal": 2}',
        '{"sonic_seal": 1, "search": ["b", "a"], "test": [], "begins": 0, "note": ""}',
    ],
)
def test_what_is_no_seal_is_refused(text, tmp_path):
    (tmp_path / "seal.json").write_text(text)
    with pytest.raises(SonicError):
        open_seal(tmp_path / "seal.json")


def test_a_seal_is_known_by_what_it_seals():
    one = Seal(("a",), ("b",), 0, "note")
    assert one.mark == replace(one, note="other").mark
    assert len({one.mark, replace(one, begins=1).mark, replace(one, test=("c",)).mark}) == 3


# ---- openings --------------------------------------------------------------------------------------------------------


def test_opening_twice_is_written_down_twice(sealed, tmp_path):
    book = tmp_path / "deep" / "openings.jsonl"
    assert openings(book) == []
    for purpose in ("a look", "a look"):
        opened = open_test(sealed[0], book, configs={"default": Config(), "best": HALF}, purpose=purpose)
        assert openings(book)[-1] == opened.opening
    assert len(openings(book)) == 2 and {each.seal for each in openings(book)} == {sealed[0].mark}
    assert len(set(opened.opening.configs.values())) == 2


def test_what_cannot_be_written_down_is_not_opened(sealed, tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "openings.jsonl"):
        with pytest.raises(SonicError, match="the test stays sealed"):
            open_test(sealed[0], path, configs={}, purpose="a look")


def test_several_at_once_write_whole_lines(tmp_path):
    def look(_):
        return open_test(Seal(("a",), ("b",), 0, "x"), tmp_path / "book", configs={"a": Config()}, purpose="y" * 5000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(look, range(100)))
    assert [each.purpose for each in openings(tmp_path / "book")] == ["y" * 5000] * 100


def test_a_book_that_was_spoilt_is_told(tmp_path):
    (tmp_path / "book").write_text("{}\n")
    with pytest.raises(SonicError, match="does not list openings"):
        openings(tmp_path / "book")
