"Neighbours: what a list may never hold, what it must be beside plain loops, the measures, and the reasons."

from __future__ import annotations

from collections import Counter
from math import exp

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from sonic.sections import SonicError
from sonic.tails.hubs import closeness
from sonic.tails.index import make_index
from sonic.tails.measures import interval, knn_accuracy, precision_at, report
from sonic.tails.names import membership, names_in, song_of
from sonic.tails.neighbours import neighbours
from sonic.tails.reasons import explain, fit_reasons
from sonic.tails.table import Table, make_table

SEEDS = st.integers(0, 2**32 - 1)
GENRES, ARTISTS, ALBUMS = (
    ["waltz", "house", "rock;pop", None],
    ["Ann", "Bob", "Ann feat. Cy", None, "-"],
    ["One", "Two", ""],
)


def random_table(seed: int, count: int = 40) -> Table:
    "Tracks with labels at random, some twice, some versions of others, some silent."
    rng = np.random.default_rng(seed)
    made = rng.normal(0, 1, (count, 6))
    made[: count // 4] = made[count // 2 : count // 2 + count // 4]  # the same recordings again
    titles = [f"Song {n}" for n in range(count)]
    titles[3:9] = ["Blue", "Blue (Live)", "Blue - Remaster 2011", "Green", "Green [Demo]", "Green"]
    picks = {"artist": ARTISTS, "album": ALBUMS, "genre": GENRES, "reason": ["", "", "", "the clip is silent", None]}
    labels = {name: [values[n] for n in rng.integers(0, len(values), count)] for name, values in picks.items()}
    ids = [f"id {n:02}" for n in rng.permutation(count)]
    return make_table(made, ids, labels=pd.DataFrame({"title": titles} | labels))


hows = st.fixed_dictionaries(
    {
        "neighbours.hubs": st.sampled_from(["mutual", "none"]),
        "neighbours.per_artist": st.none() | st.integers(1, 3),
        "neighbours.per_album": st.none() | st.integers(1, 5),
        "neighbours.versions": st.sampled_from(["one", "all"]),
        "neighbours.away": st.floats(0, 2),
    }
)


@settings(max_examples=150, deadline=None)
@given(SEEDS, hows, st.integers(1, 50), st.integers(1, 3), st.integers(0, 2), st.sampled_from([None, "pop", "waltz"]))
def test_a_list_never_holds_what_it_may_not(seed, how, k, seeds, negatives, genre):
    table = random_table(seed)
    tracks = table.tracks
    silent = tracks["reason"] == "the clip is silent"
    names = list(tracks.index[~silent])
    asked, down = names[:seeds], names[seeds : seeds + negatives]
    where = None if genre is None else {"genre": genre}
    found = neighbours(table, asked, negatives=down, k=k, where=where, **how)
    ids = list(found["track_id"])
    assert len(ids) <= k and len({*ids}) == len(ids)
    assert not {*ids} & {*asked, *down} and not silent[ids].any()
    assert list(found["rank"]) == list(range(1, len(ids) + 1))
    assert (np.diff(found["score"]) <= 0).all()
    assert where is None or all(genre in str(cell).split(";") for cell in tracks.loc[ids, "genre"])
    for column in ("artist", "album"):
        limit = how[f"neighbours.per_{column}"]
        given = Counter(name for cell in tracks.loc[ids, column] for name in names_in(cell))
        assert limit is None or max(given.values(), default=0) <= limit
    if how["neighbours.versions"] == "one":
        songs = Counter(song for key in ids if (song := song_of(*tracks.loc[key, ["title", "artist"]])))
        assert max(songs.values(), default=0) <= 1
        assert not {*songs} & {song_of(*tracks.loc[key, ["title", "artist"]]) for key in asked}
        index = make_index(table)
        rows = index.tracks.index.get_indexer([*asked, *ids])
        angles = index.vectors[rows] @ index.vectors[rows].T
        twins = np.triu(angles, 1)[:, len(asked) :] >= 0.98
        assert not twins.any()


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from(["mutual", "none"]), st.floats(0, 2))
def test_a_list_is_what_the_formula_says(seed, hubs, away):
    "Every score by hand, every track that may come, in the order of the scores."
    table = random_table(seed)
    index = make_index(table)
    heard = [row for row in range(len(index)) if index.heard[row]]
    asked, down, rest = heard[:2], heard[2:3], heard[3:]
    names = list(index.tracks.index)
    how = {"neighbours.hubs": hubs, "neighbours.away": away, "neighbours.versions": "all"}
    found = neighbours(table, [names[row] for row in asked], negatives=names[down[0]], k=50, **how)

    def alike(x, y):
        cosine = float(np.clip(index.vectors[x] @ index.vectors[y], -1, 1))
        if hubs == "none":
            return cosine
        return exp(closeness(np.array([[cosine]]), index.spread[[x]], index.spread[[y]])[0, 0])

    scores = {names[x]: sum(alike(x, s) for s in asked) / 2 - away * alike(x, down[0]) for x in rest}
    assert {*found["track_id"]} == {*scores}
    np.testing.assert_allclose(found["score"], [scores[key] for key in found["track_id"]], atol=1e-4)
    best = sorted(scores.values(), reverse=True)
    np.testing.assert_allclose(found["score"], best, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(SEEDS, hows)
def test_the_order_of_the_rows_changes_nothing(seed, how):
    table = random_table(seed)
    order = np.random.default_rng(seed).permutation(len(table))
    shuffled = table.take([table.ids[row] for row in order])
    key = next(key for key in table.ids if table.tracks.at[key, "reason"] != "the clip is silent")
    pd.testing.assert_frame_equal(neighbours(table, key, **how), neighbours(shuffled, key, **how))


def kinds(count: int = 300, size: int = 40, *, seed: int = 0, noise: float = 1.0) -> Table:
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 6, count)
    made = rng.normal(0, 1, (6, size))[kind] + noise * rng.normal(0, 1, (count, size)) + 1
    labels = pd.DataFrame({"title": [f"Song {n}" for n in range(count)], "genre": [f"kind {k}" for k in kind]})
    labels["artist"] = [f"Artist {n}" for n in rng.integers(0, 40, count)]
    return make_table(made, [f"id {n:03}" for n in range(count)], labels=labels)


def test_vectors_of_two_tracks_that_are_swapped_are_noticed():
    table = kinds()
    genres = table.tracks["genre"]
    other = next(key for key in table.ids if genres[key] != genres["id 000"])
    vectors = table.vectors.copy()
    rows = table.rows(["id 000", other])
    vectors[rows] = vectors[rows[::-1]]
    swapped = make_table(vectors, table.ids, labels=table.tracks.reset_index(drop=True))
    right, wrong = (neighbours(one, "id 000")["genre"].eq(genres["id 000"]).mean() for one in (table, swapped))
    assert right > 0.8 and wrong < 0.2


def test_no_planted_version_is_in_any_list_of_twenty():
    "Each of sixty songs is there five times: live, remastered, demo, and the same recording under another name."
    rng = np.random.default_rng(0)
    base = rng.normal(0, 1, (60, 80))
    noise = np.array([0.0, 0.5, 0.3, 0.4, 0.01])
    made = (base[:, None] + noise[:, None] * rng.normal(0, 1, (60, 5, 80))).reshape(300, 80)
    forms = ["Song {}", "Song {} (Live at Home)", "song {} - 2011 Remaster", "SONG {} [Demo]", "Track no. {}"]
    titles = [form.format(n) for n in range(60) for form in forms]
    artists = ["-" if m == 4 else f"Artist {n}" for n in range(60) for m in range(5)]
    table = make_table(made, [f"{n}" for n in range(300)], labels=pd.DataFrame({"title": titles, "artist": artists}))
    index = make_index(table)
    for song in range(60):
        found = neighbours(index, f"{5 * song}", k=20)["track_id"].astype(int) // 5
        assert len(found) == 20 and song not in set(found) and found.is_unique


def test_of_several_versions_the_best_is_kept():
    table = kinds()
    found = neighbours(table, "id 000", k=3)
    labels = table.tracks.reset_index(drop=True)
    rows = table.rows(list(found["track_id"]))
    labels.loc[rows, "title"], labels.loc[rows, "artist"] = ["Blue", "Blue (Live)", "Blue - Mono"], "Ann"
    again = neighbours(make_table(table.vectors, table.ids, labels=labels), "id 000", k=3)
    assert again["track_id"][0] == found["track_id"][0]
    assert not {*again["track_id"]} & {*found["track_id"][1:]}


def test_more_of_what_is_turned_down_means_less_of_it():
    "The neighbours move away from the kind of a negative as its weight rises."
    table = kinds()
    genres = table.tracks["genre"]
    seed = table.ids[0]
    down = next(key for key in table.ids if genres[key] != genres[seed])
    index = make_index(table)
    mean = []
    for away in (0.0, 0.5, 1.0, 2.0):
        found = neighbours(index, seed, negatives=down, k=30, **{"neighbours.away": away})
        rows = index.tracks.index.get_indexer(found["track_id"])
        mean.append(float((index.vectors[rows] @ index.vectors[index.tracks.index.get_loc(down)]).mean()))
    assert mean == sorted(mean, reverse=True) and mean[0] > mean[3] + 0.05


def test_several_seeds_find_what_lies_between():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (2, 50))
    made = np.concatenate([[a, b], a + 0.6 * rng.normal(0, 1, (20, 50)), b + 0.6 * rng.normal(0, 1, (20, 50))])
    made = np.concatenate([made, (a + b) + 0.6 * rng.normal(0, 1, (5, 50)), rng.normal(0, 1, (200, 50))])
    table = make_table(made, [f"{n}" for n in range(len(made))])
    assert {*neighbours(table, ["0", "1"], k=5)["track_id"]} == {f"{n}" for n in range(42, 47)}


def test_questions_without_an_answer():
    table = kinds(30)
    for message, question in {
        "no track is called Sonk 3; did you mean Song 3": lambda: neighbours(table, "Sonk 3"),
        "no column mood; there are title, genre, artist": lambda: neighbours(table, "id 001", where={"mood": 1}),
        "neighbours.per_artist=0 must be": lambda: neighbours(table, "id 001", **{"neighbours.per_artist": 0}),
        "neighbours.whiten=300 must be at most 40": lambda: neighbours(table, "id 001", **{"neighbours.whiten": 300}),
    }.items():
        with pytest.raises(SonicError, match=message):
            question()
    assert not len(neighbours(table, "id 001", where={"genre": "nobody's"}))
    assert list(neighbours(table, "id 001", where={"genre": "nobody's"}).columns[:4]) == [
        "rank",
        "track_id",
        "score",
        "cosine",
    ]
    assert len(neighbours(make_table(np.eye(2), ["a", "b"]), "a")) == 1


def test_a_table_of_one_track_has_no_neighbours():
    with pytest.raises(SonicError, match="none of 1 tracks has a sound and a vector of its own"):
        neighbours(make_table(np.ones((1, 4)), ["a"]), "a")


# ---- measures --------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 9), st.sampled_from([None, "artist", ["artist", "album"]]))
def test_measures_are_what_loops_say(seed, k, exclude):
    table = random_table(seed, 30)
    how = {"neighbours.hubs": "none"}
    index = make_index(table)
    tracks, columns = index.tracks, [exclude] if isinstance(exclude, str) else exclude or []
    asked = [row for row in range(30) if index.heard[row] and isinstance(tracks["genre"].iloc[row], str)]
    hits, right, guesses = [], [], []
    for row in asked:
        others = [other for other in asked if other != row]
        for column in columns:
            mine = {*names_in(tracks[column].iloc[row])}
            others = [other for other in others if not mine & {*names_in(tracks[column].iloc[other])}]
        nearest = sorted(others, key=lambda other: (-min(1, index.vectors[row] @ index.vectors[other]), other))
        same = [tracks["genre"].iloc[other] == tracks["genre"].iloc[row] for other in nearest]
        if same:
            labels = [tracks["genre"].iloc[other] for other in nearest[:k]]
            most = max(labels.count(label) for label in labels)
            told = next(label for label in labels if labels.count(label) == most)
            hits.append(np.mean(same[:k]))
            guesses.append(np.mean(same))
            right.append(told == tracks["genre"].iloc[row])
    if not hits:
        return
    precision = precision_at(table, "genre", k=k, exclude_same=exclude, **how)
    assert (precision.value, precision.chance) == (pytest.approx(np.mean(hits)), pytest.approx(np.mean(guesses)))
    accuracy = knn_accuracy(table, "genre", k=k, exclude_same=exclude, **how)
    assert (accuracy.value, accuracy.tracks) == (pytest.approx(np.mean(right)), len(hits))
    assert precision.low <= precision.value <= precision.high


@pytest.mark.parametrize("k", [1, 3, 7])
def test_accuracy_is_that_of_scikit_learn(k):
    "With two labels and an odd number of votes there are no ties."
    table = kinds()
    labels = pd.DataFrame({"half": table.tracks["genre"].isin(["kind 0", "kind 1", "kind 2"]).to_numpy()})
    halves = make_table(table.vectors, table.ids, labels=labels)
    index = make_index(halves)
    right = 0
    for row in range(300):
        rest = np.arange(300) != row
        learned = KNeighborsClassifier(k, metric="cosine").fit(index.vectors[rest], index.tracks["half"][rest])
        right += learned.predict(index.vectors[[row]])[0] == index.tracks["half"].iloc[row]
    assert knn_accuracy(halves, "half", k=k, **{"neighbours.hubs": "none"}).value == pytest.approx(right / 300)


def test_the_interval_is_that_of_a_bootstrap():
    rng = np.random.default_rng(0)
    for values in (rng.random(80), rng.integers(0, 2, 300).astype(float), np.ones(5)):
        plain = np.quantile([rng.choice(values, len(values)).mean() for _ in range(3000)], [0.025, 0.975])
        np.testing.assert_allclose(interval(values), plain, atol=0.012)


def test_measures_know_when_labels_are_shuffled():
    "A canary: with labels of other tracks, chance lies within the interval."
    table = kinds()
    labels = table.tracks.reset_index(drop=True)
    inside = []
    for seed in range(10):
        mixed = labels.assign(genre=labels["genre"].to_numpy()[np.random.default_rng(seed).permutation(300)])
        found = precision_at(make_table(table.vectors, table.ids, labels=mixed), "genre")
        inside.append(abs(found.value - found.chance) < 0.03)
    assert sum(inside) >= 9


def test_a_report_shows_both_sides():
    said = report(kinds(noise=2.5), "genre", exclude_same="artist")
    assert list(said.columns) == ["value", "low", "high", "chance", "before"]
    precision = said.loc["precision@10"]
    assert precision["low"] > 2 * precision["chance"] and precision["value"] > precision["before"] - 0.03
    assert said.loc["hubness", "value"] < said.loc["hubness", "before"] / 2


def test_membership_is_who_is_named():
    cells = ["Ann; Bob", "Bob feat. Cy", None, "ann", "-"]
    shared = (membership(cells) @ membership(cells).T).toarray()
    names = [{*names_in(cell)} for cell in cells]
    assert [[bool(x & y) for y in names] for x in names] == shared.astype(bool).tolist()
    assert membership([None, "-"]).shape == (2, 1)


# ---- reasons ---------------------------------------------------------------------------------------------------------

PARTS = [["mel", 30], ["fft", 20], ["chroma", 12], ["tempogram", 25]]


def factors(seed: int = 0) -> Table:
    "Every combination of four tempos, keys and timbres, twice; each part of the vector knows one of the three."
    rng = np.random.default_rng(seed)
    grid = np.array([(t, k, s) for t in range(4) for k in range(4) for s in range(4) for _ in range(2)])
    which = {"mel": 2, "fft": 2, "chroma": 1, "tempogram": 0}
    made = [
        rng.normal(0, 1, (4, size))[grid[:, which[name]]] + 0.1 * rng.normal(0, 1, (128, size)) for name, size in PARTS
    ]
    made = [part * 10 ** rng.uniform(-2, 2) for part in made]
    labels = pd.DataFrame(grid, columns=["tempo", "key", "timbre"])
    return make_table(np.hstack(made), [f"{n:03}" for n in range(128)], labels=labels, recipe={"parts": PARTS})


def test_each_reason_finds_its_own_factor_and_no_other():
    table = factors()
    reasons = fit_reasons(table)
    shares = reasons.shares(np.arange(128), np.arange(128))
    for reason, own in {"rhythm": "tempo", "harmony": "key", "timbre": "timbre"}.items():
        for factor in ("tempo", "key", "timbre"):
            value = reasons.tracks[factor].to_numpy()
            same = (value[:, None] == value) & ~np.eye(128, dtype=bool)
            alike, others = shares[reason][same], shares[reason][value[:, None] != value]
            if factor == own:
                assert alike.min() >= 1 - same.sum() / (128 * 127) > others.max()  # the last quarter of all pairs
            else:
                assert abs(alike.mean() - others.mean()) < 0.1


def test_a_share_is_a_share_of_the_pairs():
    "Uniform over the pairs of the collection."
    rng = np.random.default_rng(1)
    table = make_table(rng.normal(0, 1, (60, 87)), [f"{n:02}" for n in range(60)], recipe={"parts": PARTS})
    for share in fit_reasons(table).shares(np.arange(60), np.arange(60)).values():
        pairs = np.sort(share[np.triu_indices(60, 1)])
        np.testing.assert_allclose(pairs, np.arange(len(pairs)) / len(pairs), atol=1e-9)


def test_reasons_do_not_depend_on_the_order_of_the_rows():
    table = factors()
    order = np.random.default_rng(0).permutation(128)
    shuffled = table.take([table.ids[row] for row in order])
    found = neighbours(table, "005")
    pd.testing.assert_frame_equal(explain(table, "005", found), explain(shuffled, "005", found))


def test_reasons_of_one_table_for_neighbours_of_another():
    table = factors()
    other = make_table(np.random.default_rng(0).normal(0, 1, (128, 9)), table.ids)
    told = explain(table, "005", neighbours(other, "005"))
    assert list(told.columns) == ["rank", "track_id", "score", "cosine", "rhythm", "harmony", "timbre", "why"]
    assert told["why"].str.fullmatch(r"rhythm [01]?\.\d\d, harmony [01]?\.\d\d, timbre [01]?\.\d\d").all()
