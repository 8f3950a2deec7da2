"itemknn, als, ease and elsa: the numbers of their definitions and of peers, for anybody's history, in any order."

import importlib.util
import io
import os
import warnings
from pathlib import Path

import implicit.utils
import numpy as np
import pandas as pd
import pytest
import torch
from elsa import ELSA
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_info, threadpool_limits

from sonic.config import Config, SonicError
from sonic.rouge import recommender
from sonic.rouge.als import Als, chance_level, fold_in
from sonic.rouge.itemknn import ItemKnn
from sonic.rouge.linear import Ease, Elsa
from sonic.rouge.plays import Plays, for_tracks, for_users, make_plays

KINDS = [ItemKnn, Als, Ease, Elsa]
SETTINGS = {"factors": 8, "iterations": 10, "regularisation": 0.5, "confidence": 4.0, "penalty": 20.0, "neighbours": 12}
CIRCLES = ("jazz", "metal")


def fitted(kind, plays, *, seed=0, **settings):
    config = Config().replace(**{f"recommend.{name}": value for name, value in {**SETTINGS, **settings}.items()})
    return kind(config, seed=seed, device="cpu").fit(plays)


def drawn(*, users=80, each=9, seed=0, strays=0.1) -> Plays:
    "Two circles of listeners, with twenty tracks each; three tracks that nobody has played stand between them."
    rng = np.random.default_rng(seed)
    own = [[f"{circle} {n}" for n in range(20)] for circle in CIRCLES]
    rows = [
        (f"u{row}", rng.choice(own[row % 2 if rng.random() > strays else 1 - row % 2]))
        for row in range(users)
        for _ in range(each)
    ]
    catalogue = [*own[0], "new a", "new b", "new c", *own[1]]
    return make_plays(pd.DataFrame(rows, columns=["user_id", "track_id"]), tracks=catalogue)


@pytest.fixture(scope="module")
def plays() -> Plays:
    return drawn()


def history(plays, *tracks, user="somebody"):
    return make_plays(pd.DataFrame({"user_id": user, "track_id": tracks}), users=[user], tracks=plays.tracks)


def binary(plays):
    return (plays.matrix.toarray() > 0).astype(float)


# ---- what all of them must do ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("circle", CIRCLES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_stranger_is_offered_what_their_circle_plays(plays, kind, circle):
    stranger = history(plays, f"{circle} 1", f"{circle} 2", f"{circle} 5")
    best = fitted(kind, plays).recommend(stranger, k=10).frame()["track_id"]
    assert best.str.startswith(circle).sum() >= 9


@pytest.mark.parametrize("kind", KINDS)
def test_a_history_counts_and_not_whose_it_is(plays, kind):
    made = fitted(kind, plays)
    known = for_users(plays, [3])
    stranger = Plays(["nobody knows me"], *(getattr(known, name) for name in list(known.__dataclass_fields__)[1:]))
    np.testing.assert_array_equal(made.scores(stranger), made.scores(known))
    np.testing.assert_allclose(made.scores(stranger)[0], made.scores(plays)[3], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_track_without_plays_scores_nothing_and_changes_nothing(plays, kind):
    made, new = fitted(kind, plays), np.array([name.startswith("new") for name in plays.tracks])
    assert new.sum() == 3
    assert not made.scores(plays)[:, new].any()
    played = for_tracks(plays, [name for name in plays.tracks if not name.startswith("new")])
    np.testing.assert_array_equal(fitted(kind, played).scores(played), made.scores(plays)[:, ~new])


@pytest.mark.parametrize("kind", KINDS)
def test_a_track_of_a_history_that_was_never_learned_says_nothing(plays, kind):
    made = fitted(kind, plays)
    without_it, with_it = (history(plays, "jazz 4", *more) for more in ([], ["new b"]))
    others = np.arange(len(plays.tracks)) != plays.tracks.index("new b")
    np.testing.assert_allclose(made.scores(with_it)[:, others], made.scores(without_it)[:, others], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_learned_is_plain_arrays_from_a_file(plays, kind):
    made, file = fitted(kind, plays), io.BytesIO()
    assert all(isinstance(part, np.ndarray) and part.dtype.kind in "fi" for part in made.state.values())
    np.savez(file, **made.state)
    file.seek(0)
    read = kind(made.config)
    with np.load(file, allow_pickle=False) as arrays:
        read.state, read.tracks = dict(arrays), made.tracks
    np.testing.assert_array_equal(read.scores(plays), made.scores(plays))


@pytest.mark.parametrize("kind", KINDS)
def test_neither_order_nor_names_of_columns_of_users_matter(plays, kind):
    made = fitted(kind, plays)
    rows = np.random.default_rng(1).permutation(len(plays.users))
    again = fitted(kind, for_users(plays, rows))
    for name, part in made.state.items():
        np.testing.assert_array_equal(again.state[name], part)
    idle = make_plays(pd.DataFrame({"user_id": [], "track_id": []}, dtype=str), users=["idle"], tracks=plays.tracks)
    more = Plays([*plays.users, *idle.users], *(getattr(plays, name) for name in list(plays.__dataclass_fields__)[1:]))
    for name, part in fitted(kind, more).state.items():
        np.testing.assert_array_equal(made.state[name], part)


@pytest.mark.parametrize("kind", [ItemKnn, Ease])
def test_the_order_of_the_catalogue_does_not_matter(plays, kind):
    order = np.random.default_rng(1).permutation(len(plays.tracks))
    other = for_tracks(plays, [plays.tracks[column] for column in order])
    everything = {"neighbours": 100}
    there, here = (fitted(kind, each, **everything).scores(each) for each in (other, plays))
    np.testing.assert_allclose(there, here[:, order], atol=1e-6)


@pytest.mark.parametrize("kind", [Als, Elsa])
def test_chance_is_the_seed_and_nothing_else(plays, kind):
    torch.manual_seed(3)
    first = fitted(kind, plays, seed=5).state["factors"]
    torch.manual_seed(4)
    before = torch.get_rng_state()
    np.testing.assert_array_equal(fitted(kind, plays, seed=5).state["factors"], first)
    assert torch.equal(before, torch.get_rng_state())
    assert (fitted(kind, plays, seed=6).state["factors"] != first).any()


@pytest.mark.parametrize("kind", KINDS)
def test_lists_do_not_depend_on_how_many_are_asked_at_once(plays, kind, monkeypatch):
    made = fitted(kind, plays)
    whole = made.recommend(plays, k=5)
    monkeypatch.setattr(recommender, "_BLOCK", 7 * 4 * len(plays.tracks))
    parts = made.recommend(plays, k=5)
    np.testing.assert_array_equal(parts.columns, whole.columns)
    np.testing.assert_allclose(parts.scores, whole.scores, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_only_als_asks_how_often_somebody_played(plays, kind):
    often = Plays(plays.users, plays.tracks, plays.user, plays.track, 5 * plays.count, plays.first, plays.last)
    same = np.allclose(fitted(kind, plays).scores(plays), fitted(kind, often).scores(often), atol=1e-7)
    assert same == (kind is not Als)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("everybody", [True, False], ids=["everybody plays everything", "one play in all"])
def test_logs_that_teach_nothing_do_no_harm(kind, everybody):
    names = [(f"u{n}", f"t{m}") for n in range(4) for m in range(3)] if everybody else [("u0", "t0")]
    small = make_plays(pd.DataFrame(names, columns=["user_id", "track_id"]), tracks=["t0", "t1", "t2", "t3"])
    made = fitted(kind, small)
    assert np.isfinite(made.scores(small)).all() and made.scores(small).dtype == np.float32


def test_learning_is_quiet(plays, monkeypatch, capfd):
    "No warning of any library, no progress, nothing printed; implicit would warn of threads within threads."
    with threadpool_limits(2, "blas"), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for kind in KINDS:
            monkeypatch.setattr(implicit.utils, "_checked_blas_config", False)  # it warns once a process
            fitted(kind, plays).recommend(plays)
        assert [str(each.message) for each in told] == []
        assert capfd.readouterr() == ("", "")
        monkeypatch.setattr(implicit.utils, "_checked_blas_config", False)
        AlternatingLeastSquares()
        threads = [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]
        assert any("threads" in str(each.message) for each in told) == any(count > 1 for count in threads)


@pytest.mark.parametrize("kind", [ItemKnn, Als, Elsa])
def test_a_bar_is_shown_to_those_who_want_one(plays, kind, capfd):
    kind(device="cpu").fit(plays, progress=True)
    shown = capfd.readouterr()
    assert shown.out == "" and "100%" in shown.err


# ---- itemknn ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("neighbours", [1, 5, 100])
def test_itemknn_is_a_sum_of_cosines(neighbours):
    plays = drawn(users=61, each=7, seed=3)  # no two cosines of a track are the same, or the choice would be open
    users = binary(plays) / np.sqrt(binary(plays).sum(axis=1, keepdims=True))
    length = np.linalg.norm(users, axis=0)
    cosine = users.T @ users / np.maximum(np.outer(length, length), 1e-12)
    np.fill_diagonal(cosine, 0)
    floor = -np.sort(-cosine, axis=1)[:, [neighbours - 1]] if neighbours < 40 else 0
    clear = ((cosine >= floor - 1e-12) & (cosine > 0)).sum(axis=1) <= neighbours
    scores = binary(plays) @ np.where(cosine >= floor - 1e-12, cosine, 0).T
    assert clear.sum() > 25
    made = fitted(ItemKnn, plays, neighbours=neighbours)
    np.testing.assert_allclose(made.scores(plays)[:, clear], scores[:, clear], atol=1e-5)
    kept = np.bincount(made.state["track"], minlength=len(plays.tracks))
    assert kept.max() <= neighbours + 1 and (kept[clear] <= neighbours).all()


def test_which_of_two_equal_neighbours_is_kept_does_not_depend_on_the_order_of_users():
    rng = np.random.default_rng(0)
    for _ in range(20):  # sums of the same numbers in another order differ, but not often enough to cross a tie
        user = np.repeat(np.arange(40), rng.integers(2, 6, 40))
        rows = {
            "user_id": [f"u{row:03d}" for row in user],
            "track_id": [f"t{n:02d}" for n in rng.integers(0, 30, len(user))],
        }
        plays = make_plays(pd.DataFrame(rows))
        made, other = (
            fitted(ItemKnn, each, neighbours=4).state for each in (plays, for_users(plays, rng.permutation(40)))
        )
        for name, part in made.items():
            np.testing.assert_array_equal(other[name], part)


def test_who_plays_everything_says_little():
    "Without dividing by how much somebody plays, c would be as near to a as b is."
    rows = [("x", "a"), ("x", "b"), *(("y", name) for name in "acdefghij"), ("z", "b"), ("z", "c")]
    plays = make_plays(pd.DataFrame(rows, columns=["user_id", "track_id"]))
    scores = fitted(ItemKnn, plays).scores(history(plays, "a"))[0]
    assert scores[plays.tracks.index("b")] > 1.5 * scores[plays.tracks.index("c")] > 0


# ---- als -------------------------------------------------------------------------------------------------------------


def weights_of(plays, confidence):
    weights = plays.matrix
    weights.data = (1 + confidence * np.log1p(weights.data)).astype(np.float32)
    return weights


def test_als_is_implicit_with_one_thread_or_many(plays):
    "Its own loop from the same start gives the same bytes: cores do not matter, and we change nothing else."
    made, warm = fitted(Als, plays), plays.listeners > 0
    ordered = for_users(plays, np.argsort(plays.users))
    weights = csr_matrix(weights_of(ordered, 4.0)[:, np.flatnonzero(warm)])
    assert made.state["penalty"] == pytest.approx(0.5 * chance_level(weights))
    for threads in (1, 2, 4):
        with threadpool_limits(1, "blas"):
            peer = AlternatingLeastSquares(
                8, 0.5 * chance_level(weights), iterations=10, random_state=0, num_threads=threads
            )
            peer.user_factors = np.zeros((len(plays.users), 8), np.float32)
            peer.fit(weights, show_progress=False)
        np.testing.assert_array_equal(made.state["factors"][warm], peer.item_factors)
    theirs = peer.recalculate_user(np.arange(80), weights) @ peer.item_factors.T
    np.testing.assert_allclose(made.scores(ordered)[:, warm], theirs, atol=1e-4)


def test_anybody_is_folded_in_exactly(plays):
    rng = np.random.default_rng(2)
    factors, weights = rng.normal(size=(len(plays.tracks), 5)), weights_of(plays, 7.0)
    found = fold_in(factors, weights, penalty=0.3)
    heard, counted = binary(plays), np.where(binary(plays) > 0, weights.toarray().astype(float), 1)
    for row in range(0, 80, 9):
        root = np.sqrt(counted[row])[:, None]
        left = np.concatenate([root * factors, np.sqrt(0.3) * np.eye(5)])  # least squares, with a row for each cost
        right = np.concatenate([root[:, 0] * heard[row], np.zeros(5)])
        np.testing.assert_allclose(found[row], np.linalg.lstsq(left, right)[0], atol=1e-9)


def test_als_finds_the_minimum_of_its_loss():
    plays = drawn(users=30, each=5, seed=4)
    settings = {"factors": 2, "confidence": 2.0, "regularisation": 0.4}

    def loss(iterations):
        made = fitted(Als, plays, iterations=iterations, **settings)
        items, penalty = made.state["factors"].astype(float), float(made.state["penalty"])
        users = fold_in(items, weights_of(plays, 2.0), penalty=penalty)
        counted = np.where(binary(plays) > 0, weights_of(plays, 2.0).toarray(), 1)
        missed = (counted * (binary(plays) - users @ items.T) ** 2).sum()
        return missed + penalty * ((users**2).sum() + (items**2).sum())

    losses = [loss(iterations) for iterations in (1, 5, 50, 200)]
    assert losses[0] > losses[1] > losses[2] - 1e-6
    assert losses[2] == pytest.approx(losses[3], rel=1e-4)


def test_what_length_costs_is_relative(plays):
    "A direction weaker than its cost is given up; at 1 that is the strongest direction of chance."
    weights = weights_of(plays, 4.0)
    assert chance_level(3 * weights) == pytest.approx(3 * chance_level(weights))
    for rows, columns, share in ((400, 300, 0.1), (50, 900, 0.3)):
        chance = csr_matrix(np.random.default_rng(0).normal(size=(rows, columns)))
        chance.data *= np.random.default_rng(1).random(chance.nnz) < share
        chance.eliminate_zeros()
        largest = np.linalg.norm(chance.toarray(), 2)
        assert chance_level(chance) == pytest.approx(largest, rel=0.1)
    strongest = np.linalg.norm(weights.toarray(), 2) / chance_level(weights)
    longest = [
        np.abs(fitted(Als, plays, regularisation=factor * strongest, iterations=100).state["factors"]).max()
        for factor in (0.9, 1.1)
    ]
    assert longest[0] > 0.1 > 1e-3 > longest[1]


# ---- ease and elsa ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", [0.1, 20.0, 1e5])
def test_ease_is_a_ridge_regression_for_each_track(plays, penalty):
    made = fitted(Ease, plays, penalty=penalty)
    heard = binary(plays)[:, made.state["played"]]
    for column in (0, 7, 39):
        others = np.delete(np.arange(40), column)
        left = np.concatenate([heard[:, others], np.sqrt(penalty) * np.eye(39)])
        ridge = np.linalg.lstsq(left, np.concatenate([heard[:, column], np.zeros(39)]))[0]
        np.testing.assert_allclose(made.state["weights"][others, column], ridge, atol=2e-6)
    assert not np.diag(made.state["weights"]).any()
    np.testing.assert_allclose(
        made.scores(plays)[:, made.state["played"]], heard @ made.state["weights"], atol=1e-5, rtol=1e-5
    )


def test_ease_counts_only_what_is_played_and_refuses_too_much(plays):
    wide = for_tracks(plays, [*plays.tracks, *(f"never {n}" for n in range(25_000))])
    assert fitted(Ease, wide).state["weights"].shape == (40, 40)
    many = make_plays(pd.DataFrame({"user_id": "ann", "track_id": [f"{n:05d}" for n in range(30_000)]}))
    with pytest.raises(
        SonicError, match=r"14 GB of memory .* any two of 30,000 tracks; elsa .*: recommend\.kind=elsa, or"
    ):
        fitted(Ease, many)


def test_elsa_learns_as_its_authors_do():
    "All users in one step: then their loop and ours do the same sums."
    plays = drawn(users=30, seed=2)
    made, warm = fitted(Elsa, plays, iterations=5), plays.listeners > 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        peer = ELSA(int(warm.sum()), 8, device=torch.device("cpu"))
    heard = binary(plays)[:, warm].astype(np.float32)
    peer.fit(heard, batch_size=30, epochs=5, verbose=False)
    theirs = torch.nn.functional.normalize(peer.get_items_embeddings(), dim=-1).numpy()
    np.testing.assert_allclose(made.state["factors"][warm], theirs, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(made.state["factors"][warm], axis=1), 1, atol=1e-6)
    forward = peer(torch.from_numpy(heard)).detach().numpy()
    np.testing.assert_allclose(made.scores(plays)[:, warm], forward, atol=5e-3)


def test_what_a_track_says_for_itself_does_not_count(plays):
    for kind in (ItemKnn, Ease, Elsa):
        alone = history(plays, "jazz 3")
        assert abs(fitted(kind, plays).scores(alone)[0, plays.tracks.index("jazz 3")]) < 1e-6


# ---- MovieLens-100K --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def movielens():
    spec = importlib.util.spec_from_file_location(
        "movielens", Path(__file__).resolve().parents[1] / "bench" / "movielens.py"
    )
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    try:
        frame = bench.ratings()
    except SonicError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no MovieLens-100K: {error}")
    return bench, bench.Trial(*bench.split_all(frame))


def test_a_published_figure_comes_out_to_the_last_digit(movielens):
    bench, trial = movielens
    recall, ndcg = trial.judge(bench.written_again(trial))
    assert (round(recall.mean(), 4), round(ndcg.mean(), 4)) == bench.PUBLISHED["80/20"]["ItemKNN"]


def test_ours_do_better_than_what_was_published(movielens):
    bench, trial = movielens
    best = max(ndcg for _, ndcg in bench.PUBLISHED["80/20"].values())
    settings = {"regularisation": 0.6, "confidence": 4.0}
    found = {kind: trial.judge(trial.ours(kind, settings)[0])[1].mean() for kind in (ItemKnn, Als, Ease)}
    assert found[ItemKnn] > best + 0.01 and found[Als] > best + 0.04 and found[Ease] > best + 0.05
    assert max(found.values()) < 0.5  # a leak would
