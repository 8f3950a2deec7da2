"Hubs: the measure beside SciPy, mutual proximity beside plain loops, and what it does to planted hubs."

from __future__ import annotations

from math import erf, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.stats import norm, skew

from sonic.tails import hubs as module
from sonic.tails.hubs import Spread, around, closeness, crowd_of, hubness, mutual_exact, occurrence, spread_of
from sonic.tails.space import unit

SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 40), st.integers(1, 6), SEEDS)
def test_hubness_is_the_skewness_of_how_often_each_is_given(tracks, k, seed):
    rows = np.random.default_rng(seed).integers(-1, tracks, (tracks, k))
    what, counts = hubness(rows, tracks), [int((rows == track).sum()) for track in range(tracks)]
    assert occurrence(rows, tracks).tolist() == counts
    assert what.biggest == max(counts) and what.orphans == counts.count(0) / tracks
    assert what.skew == pytest.approx(float(skew(counts)) if len({*counts}) > 1 else 0.0, abs=1e-9)


def test_counting_is_what_the_paper_says():
    angles = np.random.default_rng(0).normal(0, 1, (25, 25))
    angles = angles + angles.T
    found = mutual_exact(angles)
    for x in range(25):
        for y in range(25):
            others = [j for j in range(25) if j not in (x, y)]
            both = sum(angles[x, j] < angles[x, y] and angles[y, j] < angles[x, y] for j in others)
            assert x == y or found[x, y] == pytest.approx(both / 25)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 60), st.integers(1, 60), SEEDS)
def test_the_gaussian_goes_through_the_median_and_the_tail(tracks, members, seed):
    rng = np.random.default_rng(seed)
    vectors = unit(rng.normal(0, 1, (tracks, 5)))
    crowd = rng.choice(tracks, min(members, tracks), replace=False)
    own = np.full(tracks, -1)
    own[crowd] = np.arange(len(crowd))
    spread = spread_of(vectors, vectors[crowd], own=own)
    for row in range(tracks):
        cosines = [vectors[row] @ vectors[other] for other in crowd if other != row]
        if cosines:
            share = max(0.75, 1 - module.NEAR / len(cosines))
            low, high = np.quantile(cosines, [0.5, share])
            assert spread.middle[row] == pytest.approx(low, abs=1e-5)
            assert spread.width[row] == pytest.approx(max((high - low) / norm.ppf(share), 1e-5), abs=2e-5)
    assert np.isfinite(spread.middle).all() and (spread.width > 0).all()


def test_closeness_is_the_chance_of_being_less_alike_on_both_sides():
    rng = np.random.default_rng(0)
    ours, theirs = (Spread(rng.normal(0, 0.2, n), rng.uniform(0.1, 0.3, n)) for n in (4, 6))
    cosines = rng.uniform(-1, 1, (4, 6))
    found = closeness(cosines, ours, theirs)
    for x in range(4):
        for y in range(6):
            sides = ((ours.middle[x], ours.width[x]), (theirs.middle[y], theirs.width[y]))
            chances = [(1 + erf((cosines[x, y] - middle) / width / 2**0.5)) / 2 for middle, width in sides]
            assert found[x, y] == pytest.approx(log(chances[0]) + log(chances[1]), rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 150), st.integers(1, 12), SEEDS, st.sampled_from([0.0, 0.3]))
def test_the_handful_that_is_looked_at_holds_the_answer(tracks, k, seed, bar):
    "Even if the middles and widths are anything, and half of the tracks twice there."
    rng = np.random.default_rng(seed)
    vectors = unit(rng.normal(0, 1, (tracks, 4)))
    vectors[: tracks // 2] = vectors[tracks - tracks // 2 :]
    spread = Spread(rng.uniform(-1, 1, tracks), 10 ** rng.uniform(-3, 1, tracks))
    barred = rng.random((tracks, tracks)) < bar
    rows, scores = around(vectors, k=k, spread=spread, barred=csr_array(barred) if bar else None)
    full = closeness(np.clip(vectors @ vectors.T, -1, 1), spread, spread)
    full[np.eye(tracks, dtype=bool) | (barred & bool(bar))] = -np.inf
    best = -np.sort(-full, axis=1)[:, : min(k, tracks)]
    np.testing.assert_allclose(scores, best, rtol=1e-4, atol=1e-6)
    there = rows >= 0
    np.testing.assert_allclose(full[np.nonzero(there)[0], rows[there]], scores[there], rtol=1e-4, atol=1e-6)
    assert ((best == -np.inf) == ~there).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=5), unique=True, min_size=1, max_size=40), st.integers(1, 40), st.randoms())
def test_a_crowd_does_not_depend_on_the_order(names, size, random):
    shuffled = names[:]
    random.shuffle(shuffled)
    crowd, other = crowd_of(names, size=size), crowd_of(shuffled, size=size)
    assert len(crowd) == min(size, len(names)) and (np.diff(crowd) > 0).all()
    assert {names[row] for row in crowd} == {shuffled[row] for row in other}


def test_a_crowd_hardly_changes_when_a_track_comes():
    names = [f"track {n}" for n in range(500)]
    before, after = (
        {all_of_them[row] for row in crowd_of(all_of_them, size=50)} for all_of_them in (names, ["new", *names])
    )
    assert len(before & after) >= 49


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("centre", [False, True])
def test_planted_hubs_are_held_back_and_classes_still_found(seed, centre):
    "High-dimensional Gaussians of twelve kinds, away from the origin."
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 12, 700)
    made = 0.6 * rng.normal(0, 1, (12, 120))[kind] + rng.normal(0, 1, (700, 120)) + rng.normal(0, 1, 120)
    vectors = unit(made - made.mean(axis=0) if centre else made)
    before = around(vectors, k=10)[0]
    after = around(vectors, k=10, spread=spread_of(vectors, vectors, own=np.arange(700)))[0]
    assert hubness(before, 700).skew > 0.8
    assert hubness(after, 700).skew < hubness(before, 700).skew / 2
    assert hubness(after, 700).orphans <= hubness(before, 700).orphans
    precision = [np.mean(kind[rows] == kind[:, None]) for rows in (before, after)]
    assert precision[1] > precision[0] - 0.005


def test_a_wallpaper_is_nobodys_neighbour_any_more():
    "One track lies in the middle of all others, and is the nearest of nearly all of them."
    rng = np.random.default_rng(0)
    made = rng.normal(0, 1, (500, 60)) + 1.0
    made[7] = 1.0
    vectors = unit(made)
    before = occurrence(around(vectors, k=10)[0], 500)
    spread = spread_of(vectors, vectors, own=np.arange(500))
    after = occurrence(around(vectors, k=10, spread=spread)[0], 500)
    assert before[7] > 450 and after[7] < 30
