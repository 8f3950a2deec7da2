"Splits, probes and reports of genres: what must never be on both sides, and numbers that others agree with."

import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load
from scipy.stats import binomtest
from scipy.stats import t as student
from sklearn.metrics import accuracy_score, f1_score, recall_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from sonic.arrays import save_arrays
from sonic.sections import SonicError
from sonic.tails import genres
from sonic.tails.genres import fit, predict, report
from sonic.tails.groups import group_tracks, near_twins
from sonic.tails.names import names_in
from sonic.tails.probes import open_probe, save_probe, train_probe
from sonic.tails.scores import bounds, half_width
from sonic.tails.splits import leaks, split_tracks
from sonic.tails.table import make_table, open_table, save_table

QUICK = {"genres.seeds": 2}


def planted(*, artists=12, songs=4, size=6, artist=1.0, genre=1.5, seed=0, classes=("jazz", "polka", "rock")):
    "A table whose vectors are a genre, an artist and chance, each of known strength."
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(artists), songs)
    what = np.array([classes[w % len(classes)] for w in who])
    middle = genre * np.eye(len(classes), size)[[classes.index(w) for w in what]]
    vectors = middle + artist * rng.normal(size=(artists, size))[who] + 0.3 * rng.normal(size=(len(who), size))
    labels = pd.DataFrame({"artist": [f"artist {w}" for w in who], "genre": what})
    return make_table(vectors, [f"t{n:03}" for n in range(len(who))], labels=labels, recipe={"embedder": "planted"})


# ---- groups and splits -----------------------------------------------------------------------------------------------

NAME = st.sampled_from(["Ann", "ann", "Bo", "Cy;Di", "Di", "Ed feat. Bo", "", None, "Various Artists", "Flo"])


@st.composite
def collections(draw):
    "Tracks with random artists, albums and genres."
    size = draw(st.integers(2, 40))
    column = st.lists(NAME, min_size=size, max_size=size)
    album = st.lists(st.sampled_from(["One", "Two", "Three", "Four", None]), min_size=size, max_size=size)
    genre = st.lists(st.sampled_from(["jazz", "rock", "polka", None]), min_size=size, max_size=size)
    columns = {"artist": draw(column), "album": draw(album), "genre": draw(genre)}
    return pd.DataFrame(columns, index=[f"t{n:02}" for n in draw(st.permutations(range(size)))])


def closure(tracks, columns):
    "Groups by walking from track to track, an oracle for the connected components."
    names = [[{*names_in(cell)} for cell in tracks[column]] for column in columns]
    group = list(range(len(tracks)))
    changed = True
    while changed:
        changed = False
        for a in range(len(tracks)):
            for b in range(a):
                if group[a] != group[b] and any(column[a] & column[b] for column in names):
                    group = [group[b] if g == group[a] else g for g in group]
                    changed = True
    return group


def test_names_as_people_write_them():
    assert names_in("Björk; The  KNIFE (feat. Robyn)") == ["björk", "the knife", "robyn"]
    assert {*names_in("Ann ft. Bo")} == {*names_in("bo;ANN")} and names_in("Craft Spells") == ["craft spells"]
    assert not any(names_in(cell) for cell in (None, np.nan, pd.NA, "", " ", "Unknown Artist", "VA", "various artists"))


@settings(max_examples=40, deadline=None)
@given(collections(), st.sampled_from([["artist"], ["artist", "album"], []]))
def test_groups_are_all_that_is_tied(tracks, columns):
    ours, theirs = group_tracks(tracks, columns=columns), closure(tracks, columns)
    assert len(set(ours)) == len(set(theirs)) == len(set(zip(ours, theirs, strict=True)))


@settings(max_examples=40, deadline=None)
@given(
    collections(),
    st.integers(0, 3),
    st.sampled_from([0.1, 0.25, 0.5]),
    st.sampled_from([["artist"], ["artist", "album"]]),
)
def test_no_group_is_on_both_sides(tracks, seed, share, columns):
    ids = list(tracks.index)
    pairs = [(ids[0], ids[-1])]
    try:
        split = split_tracks(tracks, seed=seed, share=share, groups=columns, rare="leave", pairs=pairs)
    except SonicError:
        assume(False)
    assert not any(leaks(tracks, split.train, split.test, columns=columns, pairs=pairs).values())
    assert sorted([*split.train, *split.test, *split.left_out.index]) == sorted(ids)
    assert set(tracks.loc[split.train, "genre"]) == set(tracks.loc[split.test, "genre"])
    sides = split.groups.groupby(split.groups).apply(lambda group: group.index.isin(split.test).mean())
    assert sides.isin([0, 1]).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(1, 9), min_size=2, max_size=12), min_size=2, max_size=4), st.integers(0, 9))
def test_shares_are_met_within_a_group(sizes, seed):
    "Each class has groups of its own, of these sizes: its share can be missed by no more than its largest group."
    rows = [
        (f"genre {c}", f"{c} {g}") for c, groups in enumerate(sizes) for g, n in enumerate(groups) for _ in range(n)
    ]
    tracks = pd.DataFrame(rows, columns=["genre", "artist"], index=[f"t{n:03}" for n in range(len(rows))])
    split = split_tracks(tracks, share=0.25, seed=seed)
    for number, groups in enumerate(sizes):
        tested = (tracks.loc[split.test, "genre"] == f"genre {number}").sum()
        assert abs(tested - 0.25 * sum(groups)) <= max(groups)


def test_shares_are_close_where_groups_are_small():
    table = planted(artists=120, songs=2)
    for seed in range(3):
        tested = table.tracks.loc[split_tracks(table.tracks, seed=seed).test, "genre"].value_counts()
        assert (abs(tested / 80 - 0.25) < 0.02).all()


def test_the_check_sees_what_a_careless_split_shares():
    table = planted()
    torn = split_tracks(table.tracks, groups=None)
    assert leaks(table.tracks, torn.train, torn.test)["artist"] > len(torn.test) / 2
    assert leaks(table.tracks, torn.train, torn.train)["track"] == len(torn.train)


def test_classes_that_cannot_be_split():
    tracks = planted().tracks.copy()
    tracks.loc["t000":"t003", "genre"] = "ska"  # all by one artist
    with pytest.raises(SonicError, match="genre ska: 1 group of tracks, and 2 are needed"):
        split_tracks(tracks)
    left = split_tracks(tracks, rare="leave").left_out
    assert (
        set(left.index) == {"t000", "t001", "t002", "t003"} and left.iloc[0] == "genre ska has too few groups, 1 of 2"
    )
    with pytest.raises(SonicError, match="nothing to tell apart"):
        split_tracks(tracks.assign(artist=tracks["genre"]), rare="leave")  # every genre one artist
    tied = pd.DataFrame({"artist": ["Ann", "Ann", "Bo", "Bo", "Bo"], "genre": ["a", "b", "a", "b", "b"]})
    assert len(split_tracks(tied, share=0.5).test) in (2, 3)


def test_copies_stay_together_and_random_vectors_are_none():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 16)).astype(np.float32)
    ids = [f"t{n}" for n in range(300)]
    assert near_twins(vectors, ids) == []
    vectors[9] = vectors[4] + 1e-5
    assert near_twins(vectors * 1e6, ids) == near_twins(vectors, ids) == [("t4", "t9")]
    assert near_twins(np.ones((4, 3)), list("abcd")) == []  # nothing varies: nothing is known
    order = rng.permutation(300)
    assert {frozenset(p) for p in near_twins(vectors[order], [ids[n] for n in order])} == {frozenset(("t4", "t9"))}


# ---- probes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c")])
def test_a_perceptron_read_back_is_that_of_sklearn(classes, tmp_path):
    table = planted(classes=classes)
    names = table.tracks["genre"].to_numpy()
    save_probe(
        train_probe(table.vectors, names, kind="mlp", seed=3, setting={"alpha": 1.0}), tmp_path / "p.safetensors"
    )
    oracle = make_pipeline(StandardScaler(), MLPClassifier((64,), max_iter=200, tol=1e-3, random_state=3, alpha=1.0))
    with warnings.catch_warnings(action="ignore"):  # it need not settle to be the same
        theirs = oracle.fit(table.vectors, names).predict_proba(table.vectors)
    np.testing.assert_allclose(open_probe(tmp_path / "p.safetensors").probabilities(table.vectors), theirs, atol=1e-6)


@pytest.mark.parametrize("kind", ["logistic", "knn"])
def test_loading_changes_nothing(kind, tmp_path):
    table = planted()
    probe = train_probe(table.vectors, table.tracks["genre"].to_numpy(), kind=kind)
    paths = [tmp_path / f"{n}.safetensors" for n in range(2)]
    for path in paths:
        save_probe(probe, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    np.testing.assert_array_equal(open_probe(paths[0]).probabilities(table.vectors), probe.probabilities(table.vectors))


def test_neighbours_of_many_tracks_are_those_of_sklearn():
    table, rng = planted(artists=40), np.random.default_rng(1)
    names = table.tracks["genre"].to_numpy()
    probe = train_probe(table.vectors, names, kind="knn", setting={"n_neighbors": 5})
    oracle = make_pipeline(StandardScaler(), Normalizer(), KNeighborsClassifier(5, algorithm="brute"))
    asked = rng.normal(size=(2500, 6))
    np.testing.assert_allclose(
        probe.probabilities(asked), oracle.fit(table.vectors, names).predict_proba(asked), atol=1e-6
    )


def forged(path, **changes):
    "A probe file with something changed and a hash that fits it."
    weights = load(path.read_bytes())
    told = {"format": 1, "kind": "logistic", "classes": ["jazz", "polka", "rock"], "facts": {}} | changes
    weights |= told.pop("weights", {})
    save_arrays(path, weights, about=told)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"kind": "knn"},
        {"classes": ["jazz", "rock"]},
        {"weights": {"centre": np.zeros(5)}},
        {"weights": {"scale": np.full(6, np.nan)}},
        {"weights": {"matrix0": np.zeros((5, 3))}},
    ],
    ids=["format", "kind", "classes", "centre", "scale", "matrix"],
)
def test_a_probe_that_does_not_fit_together_is_refused(changes, tmp_path):
    table, path = planted(), tmp_path / "p.safetensors"
    save_probe(train_probe(table.vectors, table.tracks["genre"].to_numpy()), path)
    forged(path)
    assert open_probe(path).classes == ["jazz", "polka", "rock"]
    forged(path, **changes)
    with pytest.raises(SonicError, match="fit it again"):
        open_probe(path)


def test_every_flipped_byte_is_noticed(tmp_path):
    table, path = planted(), tmp_path / "p.safetensors"
    save_probe(train_probe(table.vectors, table.tracks["genre"].to_numpy()), path)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in [0, 8, 20, len(data) - 1, *rng.integers(0, len(data), 60)]:
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(SonicError):
            open_probe(path)
        path.write_bytes(data[:place])
        with pytest.raises(SonicError):
            open_probe(path)


# ---- reports ---------------------------------------------------------------------------------------------------------


def test_a_report_says_what_sklearn_says():
    table = planted()
    found = report(table, **{"genres.seeds": 3})
    rows = found.runs[found.runs["method"] == "probe"].set_index("seed")
    names, recalls = table.tracks["genre"], []
    for seed in range(3):
        split = split_tracks(table.tracks, seed=seed)
        numbers = split.groups[split.train].to_numpy()
        probe = train_probe(
            table.vectors[table.rows(split.train)], names[split.train].to_numpy(), groups=numbers, seed=seed
        )
        taken, truth = probe.predict(table.vectors[table.rows(split.test)]), names[split.test].to_numpy()
        assert rows.at[seed, "accuracy"] == pytest.approx(accuracy_score(truth, taken))
        assert rows.at[seed, "macro_f1"] == pytest.approx(f1_score(truth, taken, average="macro", zero_division=0))
        recalls.append(recall_score(truth, taken, average=None))
        assert set(names[split.train]) == set(names[split.test])
    np.testing.assert_allclose(found.classes["recall"], np.mean(recalls, axis=0))
    assert found.scores.at["probe", "accuracy"] == pytest.approx(rows["accuracy"].mean())
    low, high = student.interval(0.95, 2, rows["accuracy"].mean(), rows["accuracy"].sem())
    assert found.scores.at["probe", "accuracy_pm"] == pytest.approx((high - low) / 2)


def test_intervals():
    values = [0.5, 0.6, 0.8, 0.7]
    low, high = student.interval(0.95, 3, np.mean(values), np.std(values, ddof=1) / 2)
    assert half_width(values) == pytest.approx((high - low) / 2)
    assert half_width(values, ratio=1 / 3) == pytest.approx((high - low) * np.sqrt(1 / 4 + 1 / 3))
    wilson = binomtest(7, 9).proportion_ci(0.95, "wilson")
    np.testing.assert_allclose(bounds([7 / 9] * 5, ratio=0.3, tracks=9), wilson, atol=1e-4)


def test_the_scaler_sees_training_tracks_only(monkeypatch):
    table = planted()
    split, names = split_tracks(table.tracks), table.tracks["genre"]
    train = {row.tobytes() for row in table.vectors[table.rows(split.train)]}
    seen, whole = [], StandardScaler.fit

    def spy(self, X, *args, **kwargs):
        seen.append(X)
        return whole(self, X, *args, **kwargs)

    monkeypatch.setattr(StandardScaler, "fit", spy)
    report(table, **{"genres.seeds": 1})
    assert len(seen) > 3 and all(row.tobytes() in train for X in seen for row in X)
    # were it fitted on the tracks to be tested as well, a strange one among them would move what is learned
    moved = table.vectors.copy()
    moved[table.rows(split.test)] += 50
    kept = [table.rows(split.train), names[split.train].to_numpy(), split.groups[split.train].to_numpy()]
    honest, same = (train_probe(vectors[kept[0]], kept[1], groups=kept[2]) for vectors in (table.vectors, moved))
    np.testing.assert_array_equal(honest.weights["matrix0"], same.weights["matrix0"])
    monkeypatch.setattr(StandardScaler, "fit", lambda self, X, *args, **kwargs: whole(self, moved))
    leaking = train_probe(moved[kept[0]], kept[1], groups=kept[2])
    assert not np.allclose(leaking.weights["centre"], honest.weights["centre"])
    asked = moved[table.rows(split.test)]
    assert not np.allclose(leaking.probabilities(asked), honest.probabilities(asked), atol=0.05)


def test_who_knows_the_artist_only_reads_chance():
    "The label is a coin for each artist. Shared out by tracks it is known for certain; by artists, not at all."
    honest, torn = [], []
    for seed in range(4):
        table = planted(artists=24, songs=6, artist=3.0, genre=0.0, classes=("heads", "tails"), seed=seed)
        for found, groups in ((honest, "auto"), (torn, None)):
            scores = report(table, groups=groups, **{"genres.probe": "knn", "genres.seeds": 2}).scores
            found.append(scores.at["probe", "accuracy"])
    assert np.mean(torn) > 0.97
    assert abs(np.mean(honest) - 0.5) < 0.1


def test_shuffled_labels_and_the_most_common_one():
    table = planted(artists=24)
    lopsided = table.tracks["genre"].where(table.tracks["genre"] == "rock", "jazz")
    found = report(make_table(table.vectors, table.ids, labels=table.tracks.assign(genre=lopsided)), **QUICK)
    sides = [split_tracks(table.tracks.assign(genre=lopsided), seed=seed) for seed in range(2)]
    assert found.scores.at["most common", "accuracy"] == pytest.approx(
        np.mean([(lopsided[side.test] == "jazz").mean() for side in sides])
    )
    even = report(planted(artists=60, songs=2), **{"genres.seeds": 5})
    assert even.scores.at["probe", "accuracy"] > 0.6
    assert abs(even.scores.at["labels shuffled", "accuracy"] - 1 / 3) < 0.12
    assert not any("WARNING" in note for note in even.notes)


def test_a_control_that_is_no_control_is_noticed(monkeypatch):
    class Lazy:
        def permutation(self, labels):
            return labels

    table = planted(genre=8.0)
    split = split_tracks(table.tracks)
    monkeypatch.setattr(genres.np.random, "default_rng", lambda seed: Lazy())
    runs = pd.DataFrame(genres._run(split, {"probe": table}, table.tracks["genre"], kind="logistic", seed=0))
    notes = genres._verdict(runs, genres.mean_scores(runs, tracks=12))
    assert any(note.startswith("WARNING: with shuffled labels") for note in notes)


def test_order_means_nothing_and_ids_everything():
    table, rng = planted(artists=30, songs=2), np.random.default_rng(0)
    found = report(table, **QUICK)
    mixed = report(table.take(list(rng.permutation(table.ids))), **QUICK)
    pd.testing.assert_frame_equal(found.runs, mixed.runs)
    pd.testing.assert_frame_equal(found.confusion, mixed.confusion)
    assert found.notes == mixed.notes
    wrong = [
        report(make_table(rng.permutation(table.vectors), table.ids, labels=table.tracks), **QUICK).scores.at[
            "probe", "accuracy"
        ]
        for _ in range(3)
    ]
    assert found.scores.at["probe", "accuracy"] > 0.6 > 0.45 > np.mean(wrong)


def test_what_may_flatter_is_said():
    table = planted()
    found = report(table, **QUICK)
    text = str(found)
    assert "the MFCC floor is missing" in text and "12 groups, by artist; artist known of 48. album not known" in text
    floor = make_table(np.random.default_rng(0).normal(size=(47, 3)), table.ids[1:])
    with_floor = report(table, floors={"mfcc": floor}, **QUICK)
    assert "floor mfcc" in with_floor.scores.index and "MFCC floor is missing" not in str(with_floor)
    assert "1 tracks left out everywhere, since the floor mfcc lacks them (t000, ...)" in with_floor.notes
    albums = make_table(table.vectors, table.ids, labels=pd.DataFrame({"album": table.tracks["artist"]}))
    notes = " ".join(report(albums, "album", **QUICK).notes)
    assert "measures whether albums are recognised again, not genres" in notes and "No artist is known" in notes
    one = report(table, **{"genres.seeds": 1})
    assert "one split says nothing" in str(one) and "±" not in str(one).split("- ")[0]


def test_gtzan_is_known():
    rng = np.random.default_rng(0)
    ids = [f"{genre}/{genre}.{n:05}.wav" for genre in ("jazz", "blues") for n in range(40, 70)]
    vectors = rng.normal(size=(60, 4)).astype(np.float32)
    vectors[1] = vectors[0]
    labels = pd.DataFrame({"genre": [key.split("/")[0] for key in ids]})
    found = report(make_table(vectors, ids, labels=labels), **QUICK)
    notes = " ".join(found.notes)
    assert "jazz/jazz.00054.wav left out" in notes and "looks like GTZAN" in notes and "1 pair of copies kept" in notes
    assert found.classes["tracks"].to_dict() == {"blues": 30, "jazz": 29}


# ---- fit and predict -------------------------------------------------------------------------------------------------


def test_a_probe_is_for_vectors_of_its_recipe(tmp_path):
    table, path = planted(), tmp_path / "genres.safetensors"
    probe = fit(table, path, **QUICK)
    assert probe.facts["measured"]["scores"]["probe"]["accuracy"] < probe.facts["accuracy_in_training"]
    save_table(table, tmp_path / "table.parquet")
    found = predict(path, open_table(tmp_path / "table.parquet"))
    assert list(found.columns) == ["track_id", "genre", "probability", "p(jazz)", "p(polka)", "p(rock)"]
    assert list(found["track_id"]) == table.ids
    np.testing.assert_allclose(found.iloc[:, 3:].to_numpy(), probe.probabilities(table.vectors), atol=1e-12)
    assert (found["probability"] == found.iloc[:, 3:].max(axis=1)).all()
    other = make_table(table.vectors, table.ids, recipe={"embedder": "planted", "settings": {"seed": 1}})
    with pytest.raises(
        SonicError, match="learned from other vectors than those of the table.*settings.seed is None here"
    ):
        predict(path, other)
    shorter = make_table(table.vectors[:, :4], table.ids, recipe={"embedder": "planted"})
    with pytest.raises(SonicError, match="do not fit a probe of 6 numbers"):
        predict(path, shorter)
    save_probe(train_probe(table.vectors, table.tracks["genre"].to_numpy()), path)
    with pytest.raises(SonicError, match="does not say which vectors it learned from"):
        predict(path, table)


def test_labels_that_are_not_there():
    table = planted()
    with pytest.raises(SonicError, match="the table has no column mood; there are artist, genre"):
        report(table, "mood")
    with pytest.raises(SonicError, match="the table has no column label_of"):
        report(table, groups=["label_of"])
    with pytest.raises(SonicError, match="genres.probe=svm must be one of logistic, knn, mlp"):
        report(table, **{"genres.probe": "svm"})
    empty = make_table(table.vectors, table.ids, labels=table.tracks.assign(genre=None))
    with pytest.raises(SonicError, match="nothing to tell apart"):
        report(empty)


def test_importing_is_light():
    heavy = "torch sklearn pandas matplotlib"
    code = f"import sys, sonic.tails.genres; print(*[m for m in {heavy.split()} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
