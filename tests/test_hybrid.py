"""content and hybrid: closed forms, planted worlds, and controls in which sound says nothing."""

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from sonic.config import Config
from sonic.rouge import content, hybrid
from sonic.rouge.als import Als, fold_in
from sonic.rouge.content import Content
from sonic.rouge.floors import Random
from sonic.rouge.hybrid import Hybrid
from sonic.rouge.plays import for_users, make_plays, without
from sonic.rouge.recommender import Recommender, Sound
from sonic.rouge.registry import open_recommender, save_recommender
from sonic.rouge.simulator import simulate
from sonic.rouge.soundmap import map_sound
from sonic.rouge.splits import split_log
from sonic.sections import SonicError

TRACKS, USERS = 400, 200


def set_(**settings):
    return Config().replace(**{f"recommend.{name}": value for name, value in settings.items()})


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@cache
def world(seed=0, noise=0.7, **settings):
    "Listeners of a planted taste, tracks that nobody has played yet, vectors that know what is planted."
    rng = np.random.default_rng(seed)
    artist, genre = rng.integers(0, 80, TRACKS), rng.integers(0, 6, 80)
    labels = pd.DataFrame({"genre": genre[artist].astype(str), "artist": artist.astype(str)})
    labels.index = [f"t{n:03d}" for n in range(TRACKS)]
    made = simulate(labels, users=USERS, new=0, seed=seed, plays=200, **settings)
    split = split_log(made.log, tracks=list(labels.index), config=Config().replace(**{"bench.cold": 0.2}), seed=seed)
    row = labels.index.get_indexer(split.train.tracks)
    vectors = (rng.normal(size=(6, 24))[genre] + 0.7 * rng.normal(size=(80, 24)))[artist[row]]
    vectors = unit(vectors - vectors.mean(axis=0) + noise * rng.normal(size=vectors.shape))
    sound = Sound(vectors, np.ones(TRACKS, bool), list(labels["artist"].iloc[row]))
    true = made.chances(split.train.users, at=split.begins, until=split.ends, tracks=split.train.tracks).astype(float)
    nameless = replace(sound, artists=[None] * TRACKS)
    shuffled = replace(nameless, vectors=vectors[rng.permutation(TRACKS)])
    return SimpleNamespace(train=split.train, cold=split.cold, sound=sound, nameless=nameless, shuffled=shuffled,
                           true=true, genre=genre[artist[row]])  # fmt: skip


@cache
def fitted(kind, sound="sound", seed=0, base="ease"):
    "Fitted once for all tests; nobody changes it."
    here = world(seed)
    return kind(set_(base=base)).fit(here.train, sound=getattr(here, sound))


def share(here, scores, where, k):
    "How much of what the best list of k unknown tracks is worth is in the list by these scores; the mean listener."
    open_ = where & (here.train.matrix.toarray() == 0)
    worth = here.true / here.true.sum(axis=0) if not (where & ~here.cold).any() else here.true
    worth, scores = np.where(open_, worth, 0), np.where(open_, scores, -np.inf)
    lists = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return (np.take_along_axis(worth, lists, axis=1).sum(axis=1) / np.sort(worth, axis=1)[:, -k:].sum(axis=1)).mean()


def cold_share(here, made):
    return share(here, made.scores(here.train), here.cold, 15)


def warm_share(here, made):
    return share(here, made.scores(here.train), ~here.cold, 40)


def alone(made, plays):
    "The base of a hybrid, fitted by itself."
    return made._base().fit(plays)


# ---- content ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nearest", [1, 3, 1000])
def test_content_is_the_mean_of_the_nearest(nearest):
    here = world()
    scores = Content(set_(nearest=nearest)).fit(here.train, sound=here.sound).scores(here.train)
    vectors, starts = here.sound.vectors.astype(float), here.train.starts
    for user in range(0, USERS, 40):
        cosines = np.sort(vectors @ vectors[here.train.track[starts[user] : starts[user + 1]]].T, axis=1)
        assert np.allclose(scores[user], cosines[:, -nearest:].mean(axis=1), atol=1e-6)


def test_content_does_not_depend_on_blocks(monkeypatch):
    here, made = world(), fitted(Content)
    whole = made.scores(here.train)
    monkeypatch.setattr(content, "_CELLS", 1000)
    assert np.allclose(made.scores(here.train), whole, atol=1e-6)


def test_content_puts_what_it_cannot_hear_last():
    here = world()
    known = np.arange(TRACKS) % 3 > 0
    deaf = replace(here.sound, known=known, vectors=here.sound.vectors * known[:, None])
    made = Content().fit(here.train, sound=deaf)
    scores = made.scores(here.train)
    assert scores[:, ~known].max() < scores[:, known].min()
    unheard = without(here.train, known[here.train.track])
    assert (made.scores(unheard) == made.state["popularity"]).all()  # nothing that they played is known


def test_content_finds_what_is_planted_and_nothing_in_shuffled_vectors():
    here = world()
    floor = cold_share(here, Random().fit(here.train))
    assert cold_share(here, fitted(Content)) > 2 * floor
    assert abs(cold_share(here, fitted(Content, "shuffled")) - floor) < 0.1


# ---- the map ---------------------------------------------------------------------------------------------------------


def oracle(sound, listeners, ridge):
    "scikit-learn's ridge regression with the same penalty, for tracks with a vector, in directions from their middle."
    known, weights = sound.known, listeners / (listeners + 10)
    vectors = sound.vectors[known] - np.average(sound.vectors[known], axis=0, weights=weights[known])
    spread = np.einsum("td,t,td->", vectors, weights[known], vectors) / vectors.shape[1]
    return Ridge(alpha=ridge * spread, fit_intercept=False), vectors, weights


@pytest.mark.parametrize("ridge", [0.01, 1, 100])
def test_the_map_is_a_ridge_regression(ridge):
    here, rng = world(), np.random.default_rng(1)
    known = np.arange(TRACKS) % 5 > 0
    sound = replace(here.sound, known=known, vectors=here.sound.vectors * known[:, None])
    scores = rng.normal(size=(7, TRACKS)).astype(np.float32)
    chart = map_sound(sound, here.train.listeners, ridge=ridge)
    peer, vectors, weights = oracle(sound, here.train.listeners, ridge)
    targets = (scores / chart.fame).T
    middle = np.average(targets, axis=0, weights=weights)
    expected = np.tile(middle, (TRACKS, 1))  # tracks without a vector lie in the middle
    expected[known] += peer.fit(vectors, targets[known], sample_weight=weights[known]).predict(vectors)
    assert np.allclose(chart.expect(scores, doubt=np.inf), expected.T * chart.fame, atol=1e-4)


def test_for_als_it_maps_content_to_factors():
    here = world()
    made = Als().fit(here.train)
    factors, listeners = made.state["factors"].astype(float), here.train.listeners
    chart = map_sound(here.sound, listeners, ridge=0.5)
    peer, vectors, weights = oracle(here.sound, listeners, 0.5)
    targets = factors / chart.fame[:, None]
    mapped = peer.fit(vectors, targets, sample_weight=weights).predict(vectors)
    mapped += np.average(targets, axis=0, weights=weights)  # a vector for each track, cold ones too
    users = fold_in(factors, made._weights(here.train), penalty=float(made.state["penalty"]))
    expected = chart.expect(made.scores(here.train), doubt=np.inf)
    assert np.allclose(expected[:, here.cold], users @ mapped[here.cold].T, atol=1e-4)


def test_an_infinite_penalty_leaves_the_mean():
    here = world()
    chart = map_sound(here.sound, here.train.listeners, ridge=np.inf)
    scores = np.random.default_rng(0).random((3, TRACKS)).astype(np.float32)
    over = chart.expect(scores, doubt=np.inf) / chart.fame
    weights = here.train.listeners / (here.train.listeners + 10)
    assert np.allclose(over, ((scores / chart.fame) @ weights / weights.sum())[:, None], atol=1e-5)


def test_what_nobody_plays_teaches_nothing():
    here = world()
    scores = np.random.default_rng(0).random((3, TRACKS)).astype(np.float32)
    absurd = np.where(here.cold, np.float32(1e4), scores)
    chart = map_sound(here.sound, here.train.listeners, ridge=1)
    one, other = (chart.blend(each, doubt=3, trust=30) for each in (scores, absurd))
    assert np.allclose(one, other, atol=1e-4)


def test_an_artist_is_the_mean_beyond_what_was_expected():
    listeners = np.array([10, 10, 10, 10, 0, 0])
    sound = Sound(np.zeros((6, 2), np.float32), np.zeros(6, bool), ["a", "a", "b", None, "a", "c"])
    chart = map_sound(sound, listeners, ridge=1)
    scores = np.array([[4, 2, 1, 1, 0, 0]], np.float32)
    assert np.allclose(chart.fame, 1)
    found = chart.expect(scores, doubt=2)  # the mean is 2; each known track weighs 1/2
    assert np.allclose(found, [[2 + 1 / 3, 2 + 1 / 3, 2 - 0.5 / 2.5, 2, 2 + 1 / 3, 2]], atol=1e-6)
    assert np.allclose(chart.expect(scores, doubt=np.inf), 2)


def test_fame_is_taken_out_and_put_back():
    here = world()
    chart = map_sound(here.sound, here.train.listeners, ridge=1)
    scores = np.outer([1.0, 2.0], chart.fame).astype(np.float32)  # fame is all there is
    assert np.isclose(chart.fame[~here.cold].mean(), 1, atol=1e-5) and (chart.fame[here.cold] == 1).all()
    assert np.allclose(chart.expect(scores, doubt=3), scores, atol=1e-4)


def test_the_blend_goes_from_sound_to_listening():
    here = world()
    base, listeners = alone(fitted(Hybrid), here.train).scores(here.train), here.train.listeners
    chart = map_sound(here.sound, listeners, ridge=1)
    expected = chart.expect(base, doubt=3)
    assert np.allclose(chart.blend(base, doubt=3, trust=0)[:, ~here.cold], base[:, ~here.cold], atol=1e-6)
    assert np.array_equal(chart.blend(base, doubt=3, trust=50)[:, here.cold], expected[:, here.cold])
    assert np.allclose(chart.blend(base, doubt=3, trust=1e6), expected, atol=1e-3)
    half = listeners == np.median(listeners[~here.cold])
    mixed = chart.blend(base, doubt=3, trust=np.median(listeners[~here.cold]))
    assert half.any() and np.allclose(mixed[:, half], (base + expected)[:, half] / 2, atol=1e-6)


# ---- the hybrid ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_it_finds_cold_tracks_and_is_no_worse_on_warm_ones(seed):
    here, made = world(seed), fitted(Hybrid, seed=seed)
    base = alone(made, here.train)
    floor, heard = cold_share(here, Random().fit(here.train)), cold_share(here, fitted(Content, seed=seed))
    assert cold_share(here, made) > max(2 * floor, heard + 0.03)
    assert warm_share(here, made) > warm_share(here, base) - 0.005
    everything = np.ones(TRACKS, bool)
    one, other = (share(here, each.scores(here.train), everything, 40) for each in (made, base))
    assert one > other + 0.03  # in a list of both, cold tracks find their places


@pytest.mark.parametrize("base", ["als", "itemknn"])
def test_every_base_will_do(base):
    here, made = world(), fitted(Hybrid, base=base)
    assert cold_share(here, made) > 0.95 * cold_share(here, fitted(Content))
    assert warm_share(here, made) > warm_share(here, alone(made, here.train)) - 0.01


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_useless_vectors_are_ignored(seed):
    here, made = world(seed), fitted(Hybrid, "shuffled", seed=seed)
    assert made.chosen["trust"] == 0
    base, scores = alone(made, here.train).scores(here.train), made.scores(here.train)
    assert np.allclose(scores[:, ~here.cold], base[:, ~here.cold], atol=1e-5)
    assert cold_share(here, made) < cold_share(here, Random().fit(here.train)) + 0.15


def test_where_sound_says_everything_it_is_near_the_optimum():
    here = world(3, 0.05, sharpness=10, drift=0)
    made = Hybrid().fit(here.train, sound=here.sound)
    assert cold_share(here, made) > 0.9


def test_artists_help_where_the_sound_is_noise():
    here = world()
    named = replace(here.shuffled, artists=here.sound.artists)
    made = Hybrid().fit(here.train, sound=named)
    assert np.isfinite(made.chosen["doubt"])
    assert cold_share(here, made) > cold_share(here, fitted(Hybrid, "shuffled")) + 0.2
    strange = replace(here.nameless, artists=list(np.random.default_rng(0).permutation(here.sound.artists)))
    assert np.isinf(Hybrid().fit(here.train, sound=strange).chosen["doubt"])  # names that say nothing


def test_cold_tracks_without_a_vector_are_average():
    here = world()
    known = ~here.cold | (np.arange(TRACKS) % 2 > 0)
    sound = replace(here.nameless, known=known, vectors=here.sound.vectors * known[:, None])
    scores = Hybrid().fit(here.train, sound=sound).scores(here.train)
    lost = scores[:, ~known]
    assert np.isfinite(scores).all() and np.allclose(lost, lost[:, :1], atol=1e-5)
    heard = scores[:, here.cold & known]
    assert ((heard.min(axis=1) < lost[:, 0]) & (lost[:, 0] < heard.max(axis=1))).mean() > 0.95


def test_a_history_of_cold_tracks_is_answered_by_what_sounds_like_them():
    here, made = world(), fitted(Hybrid)
    genre = here.genre[here.cold][0]
    ids = [
        id for id, cold, kind in zip(here.train.tracks, here.cold, here.genre, strict=True) if cold and kind == genre
    ]
    frame = pd.DataFrame({"user_id": "new", "track_id": ids})
    warm = pd.DataFrame({"user_id": "old", "track_id": np.array(here.train.tracks)[~here.cold][:5]})
    asks = make_plays(pd.concat([frame, warm]), tracks=here.train.tracks)
    found = made.recommend(asks, 20, where=~here.cold).columns[0]
    assert (here.genre[found] == genre).mean() > 0.7
    known = here.train.listeners > 0
    stood = hybrid._stand_in(asks, made.state["like"], known=known)
    assert known[stood.track].all() and len(np.unique(stood.track[stood.user == 0])) == (stood.user == 0).sum()
    one, other = (for_users(each, [1]) for each in (stood, asks))
    assert np.array_equal(one.track, other.track) and np.array_equal(one.count, other.count)
    for each in np.flatnonzero(here.cold)[:5]:  # by brute force
        cosines = np.where(known, here.sound.vectors @ here.sound.vectors[each], -9)
        assert set(made.state["like"][each]) == set(np.argsort(-cosines)[:5])


# ---- what it chooses by ----------------------------------------------------------------------------------------------


def test_what_is_held_back_is_not_learned_from():
    plays = world().train
    hidden, rest, history, targets = hybrid._hold_back(plays, seed=0)
    heard = plays.listeners > 0
    assert hidden.sum() == round(0.15 * heard.sum()) and not hidden[rest.track].any() and heard[hidden].all()
    seen, held = rest.matrix.toarray() > 0, targets.matrix.toarray() > 0
    asked = [plays.users.index(user) for user in targets.users]
    assert history.users == targets.users and not (seen[asked] & held).any()
    assert np.array_equal(seen[asked] | held, plays.matrix.toarray()[asked] > 0)  # and nothing else is lost
    last, first = (np.full(len(asked), edge) for edge in (0, np.iinfo(np.int64).max))
    late = without(targets, hidden[targets.track])
    np.maximum.at(last, history.user, history.first)
    np.minimum.at(first, late.user, late.first)
    assert (last <= first).all() and len(late) > 0.15 * len(history)


def test_plays_without_a_time_are_held_back_at_random():
    plays = world().train
    timeless = replace(plays, first=np.zeros_like(plays.first), last=np.zeros_like(plays.last))
    _, _, history, targets = hybrid._hold_back(timeless, seed=0)
    assert len(np.unique(targets.track)) > 0.9 * (plays.listeners > 0).sum()  # not always the same tracks


def test_gains_are_those_of_a_definition():
    plays = world().train
    hidden, _, history, targets = hybrid._hold_back(plays, seed=0)
    scores = np.random.default_rng(0).random((len(history.users), TRACKS))
    found = []
    for user in range(len(history.users)):
        goal = {t for t in targets.track[targets.user == user] if hidden[t]}
        order = [t for t in np.argsort(-scores[user]) if hidden[t]][:50]
        gain = sum(1 / np.log2(place + 2) for place, t in enumerate(order) if t in goal)
        if goal:
            found.append(gain / sum(1 / np.log2(place + 2) for place in range(min(len(goal), 50))))
    assert np.allclose(hybrid._gains(scores, history, targets, hidden), found)


def test_settings_are_obeyed_and_few_listeners_choose_nothing():
    here = world()
    made = Hybrid(set_(ridge=7, trust=12)).fit(here.train, sound=here.sound)
    assert (made.chosen["ridge"], made.chosen["trust"]) == (7, 12)
    few = for_users(here.train, range(8))
    assert Hybrid().fit(few, sound=here.sound).chosen == {"ridge": 1.0, "doubt": np.inf, "trust": 0.0}
    one = for_users(without(few, np.arange(len(few)) > 0), [0])
    for base in ("ease", "als", "itemknn"):
        assert np.isfinite(Hybrid(set_(base=base)).fit(one, sound=here.sound).scores(here.train)).all()


# ---- as every recommender --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Content, Hybrid])
def test_it_is_the_same_every_time_in_any_order_and_from_a_file(kind, tmp_path):
    here, made = world(), fitted(kind)
    order = np.random.default_rng(5).permutation(USERS if len(here.train.users) == USERS else len(here.train.users))
    other = kind().fit(for_users(here.train, order), sound=here.sound)
    for name, part in made.state.items():
        assert type(part) is np.ndarray and part.dtype.kind in "biuf", name
        assert np.array_equal(part, other.state[name]), name
    scores = made.scores(here.train)
    assert scores.dtype == np.float32
    assert np.allclose(other.scores(for_users(here.train, order)), scores[order], atol=1e-5)
    save_recommender(made, tmp_path / "made.safetensors")
    again, _ = open_recommender(tmp_path / "made.safetensors")
    assert np.array_equal(again.scores(here.train), scores)
    if kind is Hybrid:
        assert again.chosen == made.chosen


@pytest.mark.parametrize("kind", [Content, Hybrid])
def test_lists_do_not_depend_on_blocks(kind, monkeypatch):
    here, made = world(), fitted(kind)
    whole = made.recommend(here.train, 10)
    monkeypatch.setattr(
        Recommender, "_blocks", lambda self, users: (np.arange(n, min(n + 7, users)) for n in range(0, users, 7))
    )
    parts = made.recommend(here.train, 10)
    assert np.allclose(parts.scores, whole.scores, atol=1e-5) and (parts.columns == whole.columns).mean() > 0.999


@pytest.mark.parametrize("kind", [Content, Hybrid])
def test_it_needs_vectors(kind):
    with pytest.raises(SonicError, match="needs the vectors of the tracks"):
        kind().fit(world().train)
