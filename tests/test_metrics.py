"Metrics beside two libraries and plain loops; intervals and tests beside simulation and enumeration."

from __future__ import annotations

import numpy as np
import pytest
import ranx
import rs_metrics
from scipy.stats import binomtest, permutation_test

from sonic.rouge.intervals import holm, mean_interval, paired, sign_flip
from sonic.rouge.metrics import artist_diversity, coverage, popularity, rank_metrics
from sonic.rouge.plays import Plays, for_users
from sonic.sections import SonicError

CUTS, CASES, TRACKS, WIDTH = (10, 20, 50), 10_000, 200, 50


def plays_of(chosen):
    "Plays of a table of yes and no, shape (users, tracks)."
    user, track = (part.astype(np.int32) for part in np.nonzero(chosen))
    names = [f"u{n:05}" for n in range(len(chosen))], [f"t{n:03}" for n in range(chosen.shape[1])]
    zeros = np.zeros(len(user), np.int64)
    return Plays(*names, user, track, np.ones(len(user), np.float32), zeros, zeros)


@pytest.fixture(scope="module")
def cases():
    "Ten thousand lists, some shorter than asked and some empty, and from 1 to 120 targets each."
    rng = np.random.default_rng(0)
    columns = rng.random((CASES, TRACKS)).argsort(axis=1)[:, :WIDTH].astype(np.int32)
    columns[np.arange(WIDTH) >= rng.integers(0, 90, (CASES, 1))] = -1
    wanted = np.minimum(1 + rng.geometric(rng.choice([0.5, 0.1, 0.02], CASES)) - 1, 120)
    targets = plays_of(rng.random((CASES, TRACKS)).argsort(axis=1).argsort(axis=1) < wanted[:, None])
    assert (columns[:, 0] < 0).sum() > 50 and (wanted > WIDTH).sum() > 500 and (wanted == 1).sum() > 500
    return columns, targets


@pytest.fixture(scope="module")
def ours(cases):
    return rank_metrics(*cases, cuts=CUTS)


# ---- two libraries ---------------------------------------------------------------------------------------------------


def as_ranx(columns, targets):
    "Arrays of ids and scores, as ranx reads them, filled up with ids that are in no list and no target."
    run = np.stack([columns, np.broadcast_to(-np.arange(columns.shape[1]), columns.shape)], axis=2).astype(float)
    run[..., 0][columns < 0] = -1
    wanted = np.diff(targets.starts)
    truth = np.zeros((len(columns), wanted.max(), 2))
    truth[..., 0] = -2 - np.arange(wanted.max())
    truth[targets.user, np.arange(len(targets)) - targets.starts[targets.user]] = np.stack(
        [targets.track, np.ones(len(targets))], axis=1
    )
    return truth, run


@pytest.mark.filterwarnings("ignore::Warning")  # of numba
def test_ten_thousand_random_users_are_those_of_ranx(cases, ours):
    theirs = {"hitrate": "hit_rate", "recall": "recall", "ndcg": "ndcg", "mrr": "mrr"}
    names = {(name, cut): f"{theirs[name]}@{cut}" for name, cut in ours}
    found = ranx.evaluate(*as_ranx(*cases), list(names.values()), return_mean=False)
    for name, values in ours.items():
        np.testing.assert_allclose(values, found[names[name]], rtol=0, atol=1e-12, err_msg=str(name))
        assert 0 < values.mean() < 1


@pytest.mark.parametrize("name", ["hitrate", "recall", "ndcg", "mrr"])
def test_ten_thousand_random_users_are_those_of_rs_metrics(cases, ours, name):
    columns, targets = cases
    true = dict(enumerate(np.split(targets.track, targets.starts[1:-1])))
    given = {row: each[each >= 0] for row, each in enumerate(columns)}
    if name == "ndcg":  # looks tracks up in a set
        true, given = ({row: each.tolist() for row, each in some.items()} for some in (true, given))
    for cut in CUTS:
        theirs = getattr(rs_metrics, name)(true, given, k=cut, apply_mean=False)
        np.testing.assert_allclose(ours[name, cut], theirs, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore::Warning")
def test_where_a_library_answers_something_else_there_is_an_error():
    truth, true, targets = np.array([[[3.0, 1], [4.0, 1]]]), {0: [3, 4]}, plays_of(np.arange(6)[None] // 3 > 2)
    targets = plays_of(np.isin(np.arange(6), [3, 4])[None])
    run = np.array([[[3.0, 9], [3.0, 8], [1.0, 7]]])  # the same track twice
    assert ranx.evaluate(truth, run, "recall@3") == 1.0 and rs_metrics.recall(true, {0: [3, 3, 1]}, k=3) == 0.5
    assert ranx.evaluate(truth, run, "ndcg@3") == rs_metrics.ndcg(true, {0: [3, 3, 1]}, k=3) == 1.0
    with pytest.raises(SonicError, match="list 0 names a track twice"):
        rank_metrics(np.array([[3, 3, 1]]), targets, cuts=(3,))
    assert ranx.evaluate(truth, run[:, :1], "recall@50") == rs_metrics.recall(true, {0: [3]}, k=50) == 0.5
    with pytest.raises(SonicError, match="a metric at 50 needs lists of 50 tracks; these have 1"):
        rank_metrics(np.array([[3]]), targets, cuts=(50,))
    assert ranx.evaluate(truth * [1, 0], run, "ndcg@3") == 0
    with pytest.raises(SonicError, match="user u00000 has no targets"):
        rank_metrics(np.array([[3, 1]]), plays_of(np.zeros((1, 6), bool)), cuts=(2,))
    graded = np.array([[[3.0, 5], [4.0, 1]]])  # ranx weighs by grade; ours are played or not
    assert ranx.evaluate(graded, np.array([[[4.0, 9]]]), "ndcg@2") < ranx.evaluate(
        truth, np.array([[[4.0, 9]]]), "ndcg@2"
    )


# ---- what holds for any list -----------------------------------------------------------------------------------------


def test_metrics_keep_their_bounds(cases, ours):
    wanted = np.diff(cases[1].starts)
    for (name, cut), values in ours.items():
        top = np.minimum(cut, wanted) / wanted if name == "recall" else 1
        assert (values >= 0).all() and (values <= top + 1e-12).all()
        assert ((values > 0) == (ours["hitrate", cut] == 1)).all()
    for low, high in ((10, 20), (20, 50)):
        for name in ("hitrate", "recall", "mrr"):
            assert (ours[name, low] <= ours[name, high]).all()


def test_a_longer_list_changes_nothing_within_the_cut(cases, ours):
    columns, targets = cases
    cut_first = rank_metrics(columns[:, :20], targets, cuts=(20, 10))
    for name, values in cut_first.items():
        np.testing.assert_array_equal(values, ours[name])


def test_the_order_of_users_says_nothing(cases, ours):
    columns, targets = cases
    mixed = np.random.default_rng(1).permutation(CASES)
    for name, values in rank_metrics(columns[mixed], for_users(targets, mixed), cuts=CUTS).items():
        np.testing.assert_array_equal(values, ours[name][mixed])


def test_an_empty_place_is_not_a_target_of_the_user_before():
    chosen = np.zeros((2, 5), bool)
    chosen[0, 4] = chosen[1, 0] = True  # -1 counted from the second user's row would be the first one's last track
    assert rank_metrics(np.array([[-1, -1], [-1, -1]]), plays_of(chosen), cuts=(2,))["hitrate", 2].tolist() == [0, 0]


def test_what_is_listed_is_counted_as_in_plain_loops(cases):
    rng, columns = np.random.default_rng(2), cases[0][:300]
    listeners, where = rng.integers(0, 9, TRACKS), rng.random(TRACKS) < 0.8
    columns = np.where(where[columns], columns, -1)
    artists = [None if n % 7 == 0 else f"a{n % 40}" for n in range(TRACKS)]
    known = np.flatnonzero(where)
    below = {t: (listeners[known] < listeners[t]).mean() for t in known}
    share = {t: below[t] + (listeners[known] == listeners[t]).mean() / 2 for t in known}  # ties count half
    for row, each in enumerate(columns[:, :20]):
        listed = [int(t) for t in each if t >= 0]
        shares = popularity(columns, listeners, cut=20, where=where), artist_diversity(columns, artists, cut=20)
        found = [some[row] for some in shares]
        told = [artists[t] for t in listed if artists[t]]
        expected = [
            np.mean([share[t] for t in listed]) if listed else np.nan,
            len(set(told)) / len(told) if told else np.nan,
        ]
        np.testing.assert_allclose(found, expected, atol=1e-12)
        if row > 40:
            break
    seen = {int(t) for t in columns[:, :2].ravel() if t >= 0}
    assert coverage(columns, where, cut=2) == len(seen) / where.sum() < 1


# ---- intervals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("users", "share"), [(100, 0.05), (400, 0.02), (400, 0.5)])
def test_the_interval_of_a_hit_rate_holds_the_truth_95_times_of_100(users, share):
    rng = np.random.default_rng(3)
    held = [low <= share <= high for _, low, high in (mean_interval(rng.random(users) < share) for _ in range(800))]
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("of_seeds", [0.0, 0.01, 0.06])
def test_the_interval_over_seeds_holds_the_truth_95_times_of_100(of_seeds):
    rng, held = np.random.default_rng(4), []
    for _ in range(600):
        values = 0.5 + rng.normal(0, 0.1, 150) + rng.normal(0, of_seeds, (5, 1)) + rng.normal(0, 0.1, (5, 150))
        values[rng.random(values.shape) < 0.1] = np.nan
        _, low, high = mean_interval(np.clip(values, 0, 1))
        held.append(low <= 0.5 <= high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.025)


@pytest.mark.parametrize("shape", [(1,), (3,)])
def test_users_who_are_all_alike_are_no_certainty(shape):
    for users in range(2, 300):
        mean, low, high = mean_interval(np.ones((*shape, users)))
        assert (mean, high) == pytest.approx((1, 1)) and low < 1 - 1 / users
        mean, low, high = mean_interval(np.zeros((*shape, users)))
        assert (mean, low) == pytest.approx((0, 0)) and high > 1 / users


def test_five_copies_of_a_split_say_no_more_than_one():
    one, two = np.random.default_rng(5).random((2, 200))
    five = np.tile(one, (5, 1)), np.tile(two, (5, 1))
    assert mean_interval(five[0]) == pytest.approx(mean_interval(one), abs=1e-9)
    assert paired(*five) == pytest.approx(paired(one, two), abs=1e-9)
    assert mean_interval(five[0].ravel())[1] > mean_interval(one)[1] + 0.02  # what counting users five times would say


def test_five_seeds_that_differ_weigh_as_five():
    values = np.tile(np.array([0.1, 0.2, 0.3, 0.4, 0.5])[:, None], (1, 2000))
    mean, low, high = mean_interval(values)
    reach = 2.776 * np.std([0.1, 0.2, 0.3, 0.4, 0.5], ddof=1) / np.sqrt(5)  # t with four degrees of freedom
    assert paired(values, values * 0)[1:3] == pytest.approx((0.3 - reach, 0.3 + reach), abs=1e-3)
    assert low < 0.15 and high > 0.45 and mean == pytest.approx(0.3)


def test_luck_that_is_neither_of_users_nor_of_seeds_is_counted_once():
    rng, reach = np.random.default_rng(8), []
    for _ in range(200):
        values = rng.random((5, 150))
        _, low, high = paired(values, values * 0 + 0.5, draws=1)[:3]
        reach.append((high - low) / 2)
    assert np.mean(reach) == pytest.approx(
        1.96 * np.sqrt(1 / 12 / 750), rel=0.2
    )  # as of 750 values; twice would be 1.5


# ---- comparisons -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_flipped_signs_are_those_of_scipy(seed):
    differences = np.random.default_rng(seed).choice([-1, -0.5, 0, 0, 0.25, 1, 1], 11)
    exact = permutation_test(
        (differences,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", vectorized=True
    )
    assert sign_flip(differences) == pytest.approx(exact.pvalue, abs=1e-12)
    drawn = sign_flip(
        differences, draws=2 ** np.count_nonzero(differences) - 1, seed=seed
    )  # one too few to go through all
    assert drawn == pytest.approx(exact.pvalue, abs=0.12)


def test_for_hits_flipped_signs_are_the_sign_test():
    won, lost = 60, 38
    differences = np.repeat([1.0, -1.0, 0.0], [won, lost, 500])
    assert sign_flip(differences, draws=40_000) == pytest.approx(binomtest(won, won + lost).pvalue, abs=0.004)
    assert sign_flip(differences) == sign_flip(np.random.default_rng(0).permutation(differences))


def test_nothing_is_found_where_nothing_is_and_something_where_something_is():
    rng = np.random.default_rng(6)
    same, better = [], []
    for _ in range(150):
        user, luck = rng.normal(0.5, 0.1, 80), rng.normal(0, 0.03, (2, 5, 1))  # of users, and of two networks' seeds
        one, two = user + luck + rng.normal(0, 0.1, (2, 5, 80))
        same.append(paired(one, two, draws=400)[3] < 0.05)
        better.append(paired(one + 0.1, two, draws=400)[3] < 0.05)
    assert np.mean(same) < 0.09  # 0.05, give or take
    assert np.mean(better) > 0.9


def test_holm_is_the_step_down_procedure():
    rng = np.random.default_rng(7)
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    for _ in range(100):
        ps, level = rng.random(6) ** 3, rng.random()
        rejected = set[int]()
        for left, place in zip(range(6, 0, -1), np.argsort(ps), strict=True):
            if ps[place] > level / left:
                break
            rejected.add(int(place))
        assert set(np.flatnonzero(holm(ps) <= level)) == rejected


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(SonicError, match="same users and seeds"):
        paired(np.array([0.1, np.nan, 0.3]), np.array([0.1, 0.2, 0.3]))
    with pytest.raises(SonicError, match="between 0 and 1"):
        mean_interval(np.array([-0.1, 0.3]))
