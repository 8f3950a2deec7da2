"What a trial is worth: planted truths, closed forms, and a spy that nothing sealed is looked at."

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from sonic.chain import TuneSettings
from sonic.config import Config, fingerprint
from sonic.cream.artists import plan
from sonic.rouge.intervals import paired
from sonic.rouge.log import make_log
from sonic.rouge.recommender import hear
from sonic.rouge.rounds import System, play_round
from sonic.rouge.simulator import simulate
from sonic.sections import SonicError
from sonic.shadow import tested
from sonic.shadow.judges import barred_artists, macro_f1, some_of
from sonic.shadow.objectives import Problem
from sonic.shadow.result import Pruned
from sonic.shadow.sealed import Seal, open_test, openings, seal_log, seal_tracks, search_log
from sonic.shadow.verdict import Judged, compare
from sonic.tails.measures import precision_at
from sonic.tails.table import make_table

HALF = Config().replace(**{"bench.train": 100, "bench.test": 30, "bench.cold": 0.2, "recommend.kind": "content"})


def bands(count, base=HALF):
    "The planted setting: the more, the better."
    return base.replace(**{"mel.n_mels": count})


def quiet(step, value):
    "Nobody listens to the reports."


class Planted:
    "Vectors that tell the genre, the better the more mel bands there are; it knows what it was asked."

    def __init__(self, tracks, *, sealed=(), broken=()):
        self.tracks, self.sealed, self.broken, self.asked = tracks, set(sealed), set(broken), []

    def table(self, ids, *, config):
        assert not self.sealed & set(ids), "a sealed track was listened to"
        self.asked.append(list(ids))
        kept = [key for key in ids if key not in self.broken]
        return make_table(np.stack([self.vector(key, config) for key in kept]), kept, labels=self.tracks.loc[kept])

    def vector(self, key, config):
        "Depends on the track alone, and the settings."
        rng = np.random.default_rng([*key.encode()])
        genre = np.random.default_rng([*str(self.tracks.at[key, "genre"]).encode()]).normal(0, 1, 24)
        return genre + 200 / config.mel.n_mels * rng.normal(0, 1, 24)

    def price(self, ids, *, config):
        assert not self.sealed & set(ids)
        return SimpleNamespace(seconds=config.mel.n_mels / 1000, bytes=96.0, memory=50.0)


@pytest.fixture(scope="module")
def many():
    "Four hundred tracks, at least two artists of each genre among the sealed ones."
    songs = [(s.track_id, s.artist, s.genre, s.tempo) for s in plan(400)]
    frame = pd.DataFrame(songs, columns=["track_id", "artist", "genre", "tempo"]).set_index("track_id").sort_index()
    return frame.astype(object)


@pytest.fixture(scope="module")
def tracks(many):
    songs = [s.track_id for s in plan(240)]
    return many.loc[sorted(songs)]


@pytest.fixture(scope="module")
def seal(tracks):
    return seal_tracks(tracks)


@pytest.fixture(scope="module")
def log(tracks):
    return simulate(tracks.assign(tempo=tracks["tempo"].astype(float)), users=80, days=200, plays=50).log


@pytest.fixture(scope="module")
def shut(log, tracks):
    return seal_log(log, list(tracks.index), config=HALF)


TWO = TuneSettings(splits=2)


def by_label(tracks, seal, *names, tune=TWO, **how):
    "A problem of tracks alone."
    chain = Planted(tracks, sealed=seal.test, **how)
    return Problem(names or ("similarity", "genre"), "genre", chain, seal, None, tune)


# ---- truth -----------------------------------------------------------------------------------------------------------


def test_better_settings_are_worth_more(tracks, seal):
    problem = by_label(tracks, seal)
    values = [problem(bands(count), quiet).values for count in (32, 96, 256)]
    for name in ("similarity", "genre"):
        assert values[0][name] + 0.1 < values[1][name] < values[2][name] - 0.1, name
    assert values[0]["similarity"] < 0.25 and values[2]["genre"] > 0.9


def test_similarity_by_hand():
    "Two tracks of one genre beside each other, one of another far off: two of three have one of two neighbours right."
    labels = pd.DataFrame({"genre": ["a", "a", "b"]}, index=pd.Index(list("xyz"), name="track_id"))
    vectors = {"x": [1, 0], "y": [1, 0.1], "z": [-1, 0.3]}
    chain = Planted(labels)
    chain.vector = lambda key, config: np.array(vectors[key])
    result = Problem(("similarity",), "genre", chain, Seal(("x", "y", "z"), (), 0, ""), None, TuneSettings())
    assert result(Config(), quiet).values["similarity"] == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    nearest = Problem(("similarity",), "genre", chain, Seal(("x", "y", "z"), (), 0, ""), None, TuneSettings(k=1))
    assert nearest(Config(), quiet).values["similarity"] == pytest.approx(2 / 3)


def test_it_is_the_precision_of_the_measures(tracks, seal):
    problem = by_label(tracks, seal, "similarity")
    table = problem.chain.table(seal.search, config=bands(128))
    found = precision_at(table, "genre", k=10, exclude_same="artist", config=bands(128))
    assert problem(bands(128), quiet).values["similarity"] == pytest.approx(found.value)


def test_recommendations_are_those_of_the_bench(tracks, shut):
    seal, left = shut
    problem = Problem(
        ("warm", "cold"), "genre", Planted(tracks, sealed=seal.test), seal, left, TuneSettings(splits=1), HALF
    )
    values = problem(bands(128), quiet).values
    split, table = problem.log_splits[0], problem.chain.table(seal.search, config=bands(128))
    sounds = {"planted": hear(table, split.train.tracks, config=HALF)}
    users = play_round(split, [System("content", "planted")], sounds, config=HALF, cuts=[10]).users
    users = users[(users["recommender"] == "content") & (users["embedding"] == "planted")]
    assert users.groupby("regime")["ndcg@10"].mean().to_dict() == pytest.approx(dict(values), abs=1e-6)
    assert values["cold"] > 0


def test_names_of_artists_count_only_where_they_can(tracks):
    assert barred_artists(tracks, label="genre") == "artist"
    assert barred_artists(tracks.assign(artist=tracks["genre"]), label="genre") is None
    few = tracks.assign(artist=tracks["artist"].where(tracks["genre"].isin(sorted(set(tracks["genre"]))[:3]), "x"))
    assert barred_artists(few, label="genre") is None
    assert barred_artists(tracks, label="artist") is None


# ---- what fails, what is limited -------------------------------------------------------------------------------------


def test_a_track_that_fails_is_not_left_out(tracks, seal):
    whole, holes = by_label(tracks, seal), by_label(tracks, seal, broken=seal.search[::3])
    config = bands(400)
    good, bad = whole(config, quiet), holes(config, quiet)
    assert bad.facts["failed"] == len(seal.search[::3])
    assert bad.values["similarity"] <= 2 / 3 < 0.9 < good.values["similarity"]
    assert bad.values["genre"] < good.values["genre"] - 0.1


def test_a_label_that_is_not_told_lowers_its_own_recall_alone():
    assert macro_f1(list("aabb"), ["a", "a", "b", ""]) == pytest.approx((1 + 2 / 3) / 2)
    assert macro_f1(list("aabb"), ["", "", "", ""]) == 0


def test_limits_are_passed_by_what_is_above_them(tracks, seal):
    tune = TuneSettings(max_seconds=0.1, max_bytes=96, max_memory=60, max_hubs=0.5)
    result = by_label(tracks, seal, "similarity", tune=tune)(bands(128), quiet)
    assert dict(result.limits) == pytest.approx(
        {
            "tune.max_seconds": 0.028,
            "tune.max_bytes": 0,
            "tune.max_memory": -10,
            "tune.max_hubs": result.facts["hubs"] - 0.5,
        }
    )
    assert by_label(tracks, seal, "genre", tune=tune)(bands(128), quiet).limits == result.limits


def test_costs_are_what_the_chain_says(tracks, seal):
    result = by_label(tracks, seal, "genre", "memory", "seconds", "bytes")(bands(128), quiet)
    assert list(result.values) == ["genre", "memory", "seconds", "bytes"]
    assert list(result.values.values())[1:] == [50, 0.128, 96]


def test_a_recommender_that_does_not_hear_is_not_played_to(tracks, shut):
    seal, left = shut
    chain = Planted(tracks, sealed=seal.test)
    tune = TuneSettings(splits=1, max_bytes=10, max_hubs=1)
    problem = Problem(("warm", "seconds"), "genre", chain, seal, left, tune, HALF)
    deaf = problem(HALF.replace(**{"recommend.kind": "itemknn"}), quiet)
    assert chain.asked == [] and deaf.values["seconds"] == 0 and deaf.limits["tune.max_bytes"] == -10
    hears = problem(bands(128), quiet)
    assert chain.asked == [list(seal.search)] and hears.values["seconds"] == 0.128
    assert set(hears.limits) == set(deaf.limits)


def test_a_trial_cannot_choose_how_it_is_judged(tracks, shut):
    seal, left = shut
    problem = Problem(
        ("cold", "genre"), "genre", Planted(tracks, sealed=seal.test), seal, left, TuneSettings(splits=1), HALF
    )
    easy = {"bench.cold": 0.5, "bench.test": 60, "genres.test": 0.05, "genres.seeds": 1, "tune.k": 1, "tune.splits": 9}
    assert problem(HALF, quiet).values == problem(HALF.replace(**easy), quiet).values


def test_what_is_not_there_is_told(tracks, seal):
    with pytest.raises(SonicError, match="tune.objective=warm needs a listening history"):
        Problem(("similarity", "warm"), "genre", Planted(tracks), seal, None, TuneSettings())
    with pytest.raises(SonicError, match="no column mood"):
        Problem(("similarity",), "mood", Planted(tracks), seal, None, TuneSettings())(Config(), quiet)
    with pytest.raises(SonicError, match="names no benefit"):
        Problem(("seconds",), "genre", Planted(tracks), seal, None, TuneSettings())


# ---- the spy ---------------------------------------------------------------------------------------------------------


def test_sealed_tracks_can_be_anything(tracks, seal):
    "Their labels and artists are garbage, and whoever asks for their vectors is caught."
    garbage = tracks.copy()
    garbage.loc[list(seal.test)] = ["nonsense", "rock", 0.0]
    for tune in (TuneSettings(), TuneSettings(pruning="hyperband", max_hubs=1)):
        told, seen = [], []
        for table, reports in ((tracks, told), (garbage, seen)):
            result = by_label(table, seal, tune=tune)(
                bands(128), lambda step, value, to=reports: to.append((step, value))
            )
            reports.append(result)
        assert told == seen


def test_sealed_plays_can_be_anything(tracks, log, shut):
    "Plays after the date and of sealed tracks are garbage, and the vectors of sealed tracks are out of reach."
    seal, left = shut
    frame, rng = log.source.to_pandas().astype({"user_id": object, "track_id": object}), np.random.default_rng(0)
    off = frame["track_id"].isin(seal.test) | (frame["time"] >= seal.begins)
    fake = pd.concat([frame[off]] * 3, ignore_index=True)
    fake["user_id"] = rng.permutation(fake["user_id"].to_numpy())
    late = fake["time"] >= seal.begins
    fake.loc[late, "track_id"] = rng.choice(tracks.index.to_numpy(object), late.sum())
    changed = search_log(make_log(pd.concat([frame[~off], fake], ignore_index=True)), seal)
    results = []
    for some in (left, changed):
        chain = Planted(tracks, sealed=seal.test)
        problem = Problem(("warm", "cold", "similarity"), "genre", chain, seal, some, TuneSettings(splits=2), HALF)
        results.append(problem(bands(128), quiet))
    assert results[0] == results[1]


def test_the_order_of_tracks_and_of_plays_says_nothing(tracks, log, shut):
    seal, left = shut
    frame = left.source.to_pandas().sample(frac=1, random_state=0).astype({"user_id": object, "track_id": object})
    results = []
    for some, table in ((left, tracks), (make_log(frame), tracks.sample(frac=1, random_state=1))):
        chain = Planted(table, sealed=seal.test)
        problem = Problem(("cold", "similarity", "genre"), "genre", chain, seal, some, TuneSettings(splits=1), HALF)
        results.append(problem(bands(128), quiet))
    assert results[0] == results[1]


# ---- parts -----------------------------------------------------------------------------------------------------------


def test_parts_are_nested_and_keep_the_share_of_each_label(tracks, seal):
    problem = by_label(tracks, seal, "similarity", tune=TuneSettings(pruning="hyperband"))
    told = []
    problem(bands(128), lambda step, value: told.append(step))
    parts = [set(ids) for ids in problem.chain.asked]
    assert told == [1, 2, 3] and parts[0] < parts[1] < parts[2] == set(seal.search)
    counts = [tracks.loc[sorted(part), "genre"].value_counts() for part in parts]
    for share, count in zip((1 / 9, 1 / 3), counts, strict=False):
        assert (count - np.maximum(np.ceil(counts[2] * share - 1e-9), 2)).abs().max() == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_larger_part_holds_the_smaller(seed):
    ids, labels = [f"t{n}" for n in range(50)], ["a"] * 31 + ["b"] * 18 + ["c"]
    parts = [some_of(ids, labels, share=share, seed=seed) for share in (0.01, 0.1, 0.4, 1)]
    assert all(set(one) < set(other) for one, other in itertools.pairwise(parts)) and parts[-1] == sorted(ids)
    assert [sum(labels[ids.index(key)] == name for key in parts[2]) for name in "abc"] == [13, 8, 1]


def test_a_trial_that_is_given_up_does_no_more(tracks, seal):
    problem = by_label(tracks, seal, tune=TuneSettings(pruning="hyperband"))

    def give_up(step, value):
        if step == 2:
            raise Pruned

    with pytest.raises(Pruned):
        problem(bands(128), give_up)
    assert len(problem.chain.asked) == 2


def test_recommenders_begin_with_fewer_listeners(tracks, shut):
    seal, left = shut
    tune, told = TuneSettings(splits=1, pruning="hyperband"), []
    problem = Problem(("cold",), "genre", Planted(tracks, sealed=seal.test), seal, left, tune, HALF)
    result = problem(bands(128), lambda step, value: told.append(value))
    assert len(told) == 3 and told[-1] == result.values["cold"] and len(set(told)) == 3


# ---- the test --------------------------------------------------------------------------------------------------------


class Watched(Planted):
    "Gives vectors of sealed tracks only after it was written down that somebody looks."

    def __init__(self, tracks, seal, book):
        super().__init__(tracks)
        self.shut, self.book = set(seal.test), book

    def table(self, ids, *, config):
        assert not self.shut & set(ids) or openings(self.book), "sealed tracks before an opening"
        return super().table(ids, config=config)


def test_the_test_is_written_down_before_anything_is_heard(many, tmp_path):
    tracks, seal = many, seal_tracks(many)
    book, configs = tmp_path / "book", {"default": bands(96), "best": bands(192)}
    problem = Problem(("similarity", "genre"), "genre", Watched(tracks, seal, book), seal, None, TuneSettings())
    searched = tested.search_values(problem, configs)
    assert (
        openings(book) == [] and searched["similarity"].mean("best") == problem(bands(192), quiet).values["similarity"]
    )
    opened = open_test(seal, book, configs=configs, purpose="report")
    judged = tested.sealed_values(problem, opened, configs)
    assert openings(book)[0].configs["best"] == fingerprint(bands(192))
    found = compare(judged).set_index("objective")
    assert (found["low"] > 0).all() and (found["p"] < 0.05).all()
    table = Planted(tracks).table(seal.test, config=bands(192))
    precision = precision_at(table, "genre", exclude_same="artist", config=bands(192)).value
    assert found.at["similarity", "value"] == pytest.approx(precision)


def test_where_a_label_has_one_artist_left_its_tracks_may_be_neighbours(tracks, seal, tmp_path):
    few = tracks["artist"].where(tracks.index.isin(seal.search), "the one of " + tracks["genre"])
    tracks = tracks.assign(artist=few)
    problem = Problem(("similarity",), "genre", Planted(tracks), seal, None, TuneSettings(k=3))
    configs = {"default": bands(64), "best": bands(400)}
    opened = open_test(seal, tmp_path / "book", configs=configs, purpose="report")
    judged = tested.sealed_values(problem, opened, configs)
    assert problem.barred == "artist" and judged["similarity"].mean("best") > 0.8
    assert compare(judged)["how"][0].endswith("neighbours by the same artist count")


def test_an_opening_serves_for_its_own_settings_and_tracks(tracks, seal, tmp_path):
    problem = Problem(("similarity",), "genre", Planted(tracks), seal, None, TuneSettings())
    opened = open_test(seal, tmp_path / "book", configs={"default": Config()}, purpose="report")
    with pytest.raises(SonicError, match="other tracks or settings"):
        tested.sealed_values(problem, opened, {"default": bands(64)})
    other = open_test(seal_tracks(tracks, seed=3), tmp_path / "book", configs={"default": Config()}, purpose="report")
    with pytest.raises(SonicError, match="other tracks or settings"):
        tested.sealed_values(problem, other, {"default": Config()})


def test_labels_are_asked_of_unheard_artists_alone(tracks, shut, tmp_path):
    "A log seals tracks whatever their artist; most of those artists were heard in the search."
    seal, left = shut
    lone = tracks.copy()
    fresh = list(seal.test[:12])
    lone.loc[fresh, "artist"] = [f"unheard {n}" for n in range(12)]
    problem = Problem(("genre",), "genre", Planted(lone), seal, left, TuneSettings(), HALF)
    configs = {"default": bands(256)}
    judged = tested.sealed_values(problem, open_test(seal, tmp_path / "b", configs=configs, purpose="x"), configs)
    assert judged["genre"].truth.tolist() == lone.loc[fresh, "genre"].tolist()


def test_the_sealed_split_is_the_one_that_was_sealed(tracks, log, shut, tmp_path):
    seal, left = shut
    chain = Planted(tracks)
    chain.table = lambda ids, *, config, table=chain.table: replace(table(ids, config=config), tracks=bare.loc[ids])
    chain.tracks, bare = tracks, tracks[["artist"]]  # no label is needed
    problem = Problem(("warm", "cold"), "none", chain, seal, left, TuneSettings(splits=1), HALF)
    configs = {"default": bands(64), "best": bands(512)}
    opened = open_test(seal, tmp_path / "book", configs=configs, purpose="report")
    judged = tested.sealed_values(problem, opened, configs, log=log)
    assert judged["cold"].values["best"].shape == (1, len(log.users()))
    assert judged["cold"].mean("best") > judged["cold"].mean("default")
    cold = compare(judged).set_index("objective").loc["cold"]
    assert (cold["difference"], cold["p"]) == pytest.approx(
        tuple(paired(judged["cold"].values["best"], judged["cold"].values["default"])[n] for n in (0, 3))
    )
    for wrong in (left, None):
        with pytest.raises(SonicError, match="log"):
            tested.sealed_values(problem, opened, configs, log=wrong)


# ---- luck ------------------------------------------------------------------------------------------------------------


def test_intervals_know_that_tracks_of_an_artist_are_alike():
    "No difference in truth; artists of 1 to 12 tracks share half of their luck. Few may be found."
    rng, found, naive = np.random.default_rng(0), [], []
    for _ in range(200):
        groups = np.repeat(np.arange(30), rng.integers(1, 13, 30))
        luck = rng.normal(0, 1, 30)[groups] + rng.normal(0, 1, len(groups))
        values = {"default": np.zeros(len(groups)), "best": luck}
        for each, into in ((groups, found), (np.arange(len(groups)), naive)):
            row = compare({"x": Judged("tracks", values, each)}, draws=200).iloc[0]
            into.append(not row["low"] <= 0 <= row["high"])
    assert np.mean(found) < 0.1 and np.mean(naive) > 0.25


def test_exchanges_are_those_of_all_that_are_possible():
    "Five groups can be exchanged in 32 ways."
    rng = np.random.default_rng(1)
    truth, groups = rng.choice(list("abc"), 40).astype(object), np.repeat(np.arange(5), 8)
    ours, theirs = (np.where(rng.random(40) < share, truth, "a") for share in (0.8, 0.4))
    judged = Judged("tracks", {"default": theirs, "best": ours}, groups, truth)
    gain, same = judged.mean("best") - judged.mean("default"), []
    for ways in itertools.product([False, True], repeat=5):
        swap = np.array(ways)[groups]
        one, other = np.where(swap, theirs, ours), np.where(swap, ours, theirs)
        same.append(abs(macro_f1(truth, one) - macro_f1(truth, other)) >= abs(gain) - 1e-9)
    row = compare({"genre": judged}, draws=20_000).iloc[0]
    assert row["p"] == pytest.approx(np.mean(same), abs=0.01)
    assert row["difference"] == pytest.approx(gain) and row["low"] < gain < row["high"]


def test_no_difference_is_told_from_nothing():
    values = {"default": np.array([0.1, 0.5, 0.9]), "same": np.array([0.1, 0.5, 0.9])}
    row = compare({"x": Judged("splits", values, ratio=1 / 3)}).iloc[0]
    assert (row["difference"], row["low"], row["high"], row["p"]) == (0, 0, 0, 1)
    one = compare({"x": Judged("splits", {name: each[:1] for name, each in values.items()})}).iloc[0]
    assert np.isnan(one["low"]) and np.isnan(one["p"])
