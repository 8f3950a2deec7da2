"Chance beside enumeration, simulation and published figures; floors in their place; controls that find faults."

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, permutations

import numpy as np
import pytest

from sonic.config import Config
from sonic.rouge import recommender as module
from sonic.rouge.chance import chance_metrics, count_candidates, expected
from sonic.rouge.floors import Canary, Oracle, Popular, Random, Recent, Shuffled, _mix
from sonic.rouge.intervals import mean_interval
from sonic.rouge.metrics import coverage, rank_metrics
from sonic.rouge.plays import Plays, for_users, without
from sonic.sections import SonicError

USERS, TRACKS, CUTS = 400, 150, (5, 20)
DAY = 86_400


def plays_of(chosen, last=None):
    "Plays of a table of yes and no, shape (users, tracks)."
    user, track = (part.astype(np.int32) for part in np.nonzero(chosen))
    names = [f"u{n:05}" for n in range(len(chosen))], [f"t{n:03}" for n in range(chosen.shape[1])]
    last = np.zeros(len(user), np.int64) if last is None else last
    return Plays(*names, user, track, np.ones(len(user), np.float32), np.minimum(last, 0), last)


@pytest.fixture(scope="module")
def split():
    "Histories, of which some are empty, and targets among the rest, unevenly popular."
    rng = np.random.default_rng(0)
    fame = 0.7 / np.arange(1, TRACKS + 1) ** 0.7
    known = rng.random((USERS, TRACKS)) < 0.6 * fame
    known[:10] = False
    targets = (rng.random((USERS, TRACKS)) < fame) & ~known
    targets[np.arange(USERS), (~known).argmax(axis=1)] = True
    mixed = rng.permutation(TRACKS)
    return plays_of(known[:, mixed]), plays_of(targets[:, mixed])


def metrics_of(recommender, split, *, where=None, **settings):
    history, targets = split
    lists = recommender.fit(history).recommend(history, max(CUTS), where=where, **settings)
    return rank_metrics(lists.columns, targets, cuts=CUTS)


# ---- chance ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 5, 6])
def test_chance_is_the_mean_over_all_rankings(size):
    orders = np.array(list(permutations(range(size))), np.int32)
    cuts = tuple(range(1, size + 1))
    for n in range(1, size + 1):
        targets = plays_of(np.tile(np.arange(size) < n, (len(orders), 1)))
        counted = rank_metrics(orders, targets, cuts=cuts)
        for name, values in chance_metrics([n], [size], cuts=cuts).items():
            assert values[0] == pytest.approx(counted[name].mean(), abs=1e-12), (name, n)


def test_chance_of_a_list_that_is_longer_than_there_are_tracks_is_that_of_all_tracks():
    short = chance_metrics([3], [7], cuts=(7,))
    long = chance_metrics([3], [7], cuts=(50,))
    for name in ("hitrate", "recall", "mrr", "ndcg"):
        assert long[name, 50] == pytest.approx(short[name, 7], abs=1e-15)
    assert long["hitrate", 50][0] == pytest.approx(1, abs=1e-15)
    assert long["recall", 50][0] == 1


def test_chance_is_the_mean_of_drawn_lists_for_users_who_differ(split):
    history, targets = split
    free = np.ones((USERS, TRACKS), bool)
    free[history.user, history.track] = False
    wanted, sizes = np.diff(targets.starts), count_candidates(history)
    np.testing.assert_array_equal(sizes, free.sum(axis=1))
    chances, rng, sums = chance_metrics(wanted, sizes, cuts=CUTS), np.random.default_rng(1), {}
    for _ in range(60):
        columns = np.where(free, rng.random(free.shape), 2).argsort(axis=1)[:, : max(CUTS)].astype(np.int32)
        for name, values in rank_metrics(columns, targets, cuts=CUTS).items():
            sums.setdefault(name, []).append(values - chances[name])
    for name, apart in sums.items():
        each = np.mean(apart, axis=0)
        assert abs(each.mean()) < 4 * each.std() / np.sqrt(USERS), name
        assert chances[name].std() > 0 or name[0] == "recall"


def test_the_published_floors_of_589_new_tracks():
    cuts = (20, 50)
    assert expected([1], [589], cuts=cuts)["recall", 50] == pytest.approx(50 / 589)
    assert round(expected([3], [589], cuts=cuts)["recall", 50], 3) == 0.085
    assert round(expected([3], [589], cuts=cuts)["recall", 20], 3) == 0.034
    rates = {n: expected([n], [589], cuts=cuts) for n in (4, 5)}
    for cut, measured in ((20, 0.149), (50, 0.309)):
        assert rates[4]["hitrate", cut] < measured < rates[5]["hitrate", cut]
    n = np.arange(1, 300)
    weights = (1 - 1 / 4.95) ** (n - 1)
    mixed = chance_metrics(n, np.full(len(n), 589), cuts=cuts)
    geometric = {cut: np.average(mixed["hitrate", cut], weights=weights) for cut in cuts}
    assert geometric[20] == pytest.approx(0.149, abs=1e-3) and geometric[50] == pytest.approx(0.316, abs=1e-3)
    assert expected([27], [55_262], cuts=(50,))["hitrate", 50] == pytest.approx(0.024, abs=1e-3)  # all tracks


# ---- random ----------------------------------------------------------------------------------------------------------


def test_mixing_is_that_of_splitmix64():
    state = np.array([1_234_567 + n * 0x9E3779B97F4A7C15 for n in (1, 2, 3)], object) % 2**64
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert _mix(state.astype(np.uint64)).tolist() == published


def test_random_is_chance(split):
    history, targets = split
    some = np.flatnonzero(np.diff(history.starts) > 0)
    chances = chance_metrics(np.diff(targets.starts), count_candidates(history), cuts=CUTS)
    found = [metrics_of(Random(seed=seed), split) for seed in range(5)]
    for name, chance in chances.items():
        _, low, high = mean_interval(np.array([each[name][some] for each in found]))
        assert low < chance[some].mean() < high, name
        assert high - low < 0.06


def test_random_says_the_same_in_any_block_and_order(split, monkeypatch):
    history, _ = split
    whole = Random(seed=3).fit(history).recommend(history, 20)
    monkeypatch.setattr(module, "_BLOCK", 7 * 4 * TRACKS)
    mixed = np.random.default_rng(2).permutation(USERS)
    again = Random(seed=3).fit(history).recommend(for_users(history, mixed), 20)
    np.testing.assert_array_equal(again.columns, whole.columns[mixed])
    assert (Random(seed=4).fit(history).recommend(history, 20).columns != whole.columns).mean() > 0.9
    assert coverage(whole.columns, np.ones(TRACKS, bool), cut=20) == 1


def test_random_goes_by_the_history_not_by_who_has_it_or_when(split):
    history, _ = split
    fitted = Random().fit(history)
    one = for_users(history, [50])
    backwards = replace(one, users=["somebody"], track=one.track[::-1].copy())
    np.testing.assert_array_equal(fitted.scores(one), fitted.scores(backwards))
    less = without(one, np.arange(len(one)) == 0)
    assert abs(np.corrcoef(fitted.scores(one)[0], fitted.scores(less)[0])[0, 1]) < 0.35


def test_random_is_random_also_for_those_who_have_played_nothing(split):
    history, _ = split
    new = for_users(history, range(10))
    assert len(new) == 0
    found = [Random(seed=seed).fit(history).recommend(new, 20).columns for seed in range(40)]
    assert all((each == each[0]).all() for each in found)  # they have the same history
    assert len(np.unique([each[0] for each in found])) == TRACKS
    assert (Popular().fit(history).recommend(new, 20).columns[0] != found[0][0]).mean() > 0.8


def test_random_lives_in_its_state(split):
    history, _ = split
    fitted, opened = Random(seed=8).fit(history), Random()
    opened.tracks, opened.state = fitted.tracks, fitted.state
    np.testing.assert_array_equal(opened.scores(history), fitted.scores(history))


# ---- popular and recent ----------------------------------------------------------------------------------------------


def test_popular_counts_listeners_and_recent_those_of_late():
    chosen = np.array([[1, 1, 0], [1, 0, 1], [1, 0, 0]], bool)
    plays = plays_of(chosen, last=np.array([10, 70, 9, 100, 8]) * DAY)  # track 0 by all, long ago
    assert Popular().fit(plays).scores(plays)[1].argmax() == 0
    np.testing.assert_array_equal(Recent().fit(plays).scores(plays), [[0, 1, 1]] * 3)  # 70 is thirty days before 100
    days = Config.model_validate({"recommend": {"recent": 29}})
    np.testing.assert_array_equal(Recent(days).fit(plays).scores(plays), [[0, 0, 1]] * 3)


@pytest.mark.parametrize("kind", [Popular, Recent])
def test_who_the_users_are_says_nothing_to_those_that_give_all_the_same(split, kind):
    history, _ = split
    mixed = np.random.default_rng(3).permutation(USERS)
    one, two = kind().fit(history), kind().fit(for_users(history, mixed))
    np.testing.assert_array_equal(one.scores(history), two.scores(history))
    assert (one.scores(history) == one.scores(history)[0]).all()


# ---- controls --------------------------------------------------------------------------------------------------------


def test_the_canary_is_at_the_top(split):
    found = metrics_of(Canary(split[1]), split)  # ten users have no history
    wanted = np.diff(split[1].starts)
    for (name, cut), values in found.items():
        np.testing.assert_allclose(values, np.minimum(cut, wanted) / wanted if name == "recall" else 1, atol=1e-12)


def test_the_canary_finds_what_is_wrong_with_a_test(split):
    history, targets = split
    right = metrics_of(Canary(targets), split)["ndcg", 20].mean()
    slipped = replace(targets, track=(targets.track + 1) % TRACKS)
    faults = {
        "columns are off by one": metrics_of(Canary(targets), (history, slipped)),
        "targets are excluded": metrics_of(Canary(targets), split, exclude=targets),
        "targets may not be listed": metrics_of(Canary(targets), split, where=np.arange(TRACKS) % 2 == 0),
        "users are mixed up": metrics_of(Canary(replace(targets, users=targets.users[::-1])), split),
    }
    assert right == pytest.approx(1)
    for fault, found in faults.items():
        assert found["ndcg", 20].mean() < 0.8, fault


@pytest.mark.parametrize("cold", [False, True])
def test_the_canary_under_wrong_names_is_chance(split, cold):
    history, targets = split
    where = np.arange(TRACKS) >= 90 if cold else np.ones(TRACKS, bool)
    targets = without(targets, ~where[targets.track])
    rows = np.flatnonzero(np.diff(targets.starts) > 0)[:60]
    history, targets = for_users(history, rows), for_users(targets, rows)
    chances = expected(np.diff(targets.starts), count_candidates(history, where), cuts=CUTS)
    deals = [metrics_of(Shuffled(targets, where=where, seed=n), (history, targets), where=where) for n in range(200)]
    for name, chance in chances.items():
        means = np.array([deal[name].mean() for deal in deals])
        assert abs(means.mean() - chance) < 4 * means.std() / np.sqrt(len(means)), name
        assert means.std() / np.sqrt(len(means)) < 0.05 * chance


def test_no_list_for_all_finds_more_than_the_oracle():
    rng = np.random.default_rng(4)
    targets = plays_of(rng.random((30, 8)) < rng.random(8))
    targets = for_users(targets, np.flatnonzero(np.diff(targets.starts) > 0))
    nothing = without(targets, np.ones(len(targets), bool))
    best = Oracle(targets).fit(targets).recommend(nothing, 3).columns
    listeners = targets.listeners
    assert listeners[best[0]].sum() == max(listeners[list(some)].sum() for some in combinations(range(8), 3))
    assert (best == best[0]).all()


def test_controls_refuse_what_does_not_fit(split):
    history, targets = split
    with pytest.raises(SonicError, match="user u00003 has no targets"):
        Canary(for_users(targets, [0, 1, 2])).fit(history).scores(for_users(history, [0, 3]))
    with pytest.raises(SonicError, match="the targets count other tracks"):
        Oracle(replace(targets, tracks=targets.tracks[::-1])).fit(history)
