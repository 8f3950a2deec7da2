"The space that angles are measured in, beside scikit-learn, and the exact search, beside plain loops."

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array
from sklearn.covariance import ledoit_wolf
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from sonic.sections import SonicError
from sonic.tails import space as module
from sonic.tails.space import cosine, fit_space, nearest, open_space, save_space, shrinkage, unit

RNG = np.random.default_rng(0)
MADE = (RNG.normal(0, [5, 4, 3, 2, 1], (300, 5)) @ np.linalg.qr(RNG.normal(0, 1, (5, 5)))[0] + 40).astype(np.float32)


def test_standardising_is_that_of_scikit_learn():
    expected = StandardScaler().fit_transform(MADE.astype(np.float64))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(fit_space(MADE).apply(MADE), expected, atol=2e-5)


def test_whitening_is_a_principal_component_analysis_with_a_shrunk_covariance():
    space = fit_space(MADE, whiten=3, standardise=False)
    from_mean = MADE - MADE.mean(axis=0, dtype=np.float64)
    covariance = from_mean.T @ from_mean / len(MADE)
    fourth = float(np.mean(np.square(from_mean).sum(axis=1) ** 2))
    share, level = shrinkage(covariance, fourth=fourth, count=len(MADE))
    assert share == pytest.approx(ledoit_wolf(from_mean, assume_centered=True)[1], rel=1e-9)
    pca = PCA(3).fit(from_mean)
    values = (1 - share) * pca.explained_variance_ * (len(MADE) - 1) / len(MADE) + share * level
    expected = pca.transform(from_mean) / np.sqrt(values)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    units = space.apply(MADE)
    np.testing.assert_allclose(units @ units.T, expected @ expected.T, atol=1e-4)


def test_a_covariance_of_few_tracks_is_shrunk_more_than_one_of_many():
    few, many = (RNG.normal(0, 1, (count, 40)) for count in (20, 5000))
    shares = [
        shrinkage(one.T @ one / len(one), fourth=float(np.mean(np.square(one).sum(axis=1) ** 2)), count=len(one))[0]
        for one in (few * np.arange(1, 41), many * np.arange(1, 41))
    ]
    assert shares[0] > 5 * shares[1] > 0


numbers = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
tables = arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(1, 6)), elements=numbers | st.just(0.0))
hows = st.fixed_dictionaries({"centre": st.booleans(), "standardise": st.booleans()})


@settings(max_examples=150, deadline=None)
@given(tables, hows, st.booleans(), st.sampled_from([1e-15, 1.0, 1e15]))
def test_no_table_gives_anything_but_unit_vectors_and_zeros(vectors, how, whiten, size):
    space = fit_space(vectors * np.float32(size), whiten=max(1, vectors.shape[1] // 2) if whiten else None, **how)
    lengths = np.linalg.norm(space.apply(vectors * np.float32(size)), axis=1)
    assert ((np.abs(lengths - 1) < 1e-5) | (lengths == 0)).all()
    assert not space.apply(np.zeros((1, vectors.shape[1]))).any()


@settings(max_examples=50, deadline=None)
@given(tables, hows)
def test_a_space_comes_back_from_its_file(tmp_path_factory, vectors, how):
    path = tmp_path_factory.mktemp("space") / "space.npz"
    space = fit_space(vectors, **how)
    save_space(space, path)
    assert (open_space(path).apply(vectors) == space.apply(vectors)).all()


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no archive", b"\x93NUMPY\x01\x00"])
def test_other_files_are_no_spaces(tmp_path: Path, data: bytes):
    (tmp_path / "space.npz").write_bytes(data)
    with pytest.raises(SonicError, match="cannot be read as a space"):
        open_space(tmp_path / "space.npz")


def test_pickled_arrays_are_not_read(tmp_path: Path):
    with (tmp_path / "space.npz").open("wb") as file:
        np.savez(file, middle=np.array([{}], object), scale=np.ones(1), ends=np.ones(1), weights=np.ones(1))
    with pytest.raises(SonicError, match="cannot be read as a space"):
        open_space(tmp_path / "space.npz")


def test_the_wrong_axis_is_refused():
    with pytest.raises(SonicError, match="two axes: tracks, and 5"):
        fit_space(MADE).apply(MADE.T)


# ---- the exact search ------------------------------------------------------------------------------------------------


def by_hand(queries, vectors, k, own, barred):
    "One query and one track at a time; of equals the earlier comes first."
    found = []
    for q, query in enumerate(queries):
        scored = [
            (-min(1.0, float(query @ v)), row) for row, v in enumerate(vectors) if row != own[q] and not barred[q, row]
        ]
        found.append(([row for _, row in sorted(scored)] + [-1] * k)[:k])
    return np.array(found)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 2**32 - 1), st.sampled_from([1, 40, 1 << 22]))
def test_the_search_finds_what_a_loop_finds(count, k, seed, block):
    rng = np.random.default_rng(seed)
    vectors = unit(rng.integers(-2, 3, (count, 3)).astype(np.float32))  # with many equals, and zeros
    vectors = np.round(vectors * 4) / 4  # so that sums are exact
    own, barred = np.where(rng.random(count) < 0.7, np.arange(count), -1), rng.random((count, count)) < 0.2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        rows, scores = nearest(vectors, vectors, k=k, own=own, barred=csr_array(barred))
    k = min(k, count)
    assert (rows == by_hand(vectors, vectors, k, own, barred)[:, :k]).all()
    there = rows >= 0
    np.testing.assert_array_equal(scores[there], cosine(vectors, vectors)[np.nonzero(there)[0], rows[there]])
    assert (scores[~there] == -np.inf).all()


def test_the_search_needs_little_memory_at_a_time(monkeypatch):
    "A block of cosines is all there is."
    sizes = []
    vectors = unit(RNG.normal(0, 1, (500, 8)))

    def choose(cosines, rows, k):
        sizes.append(cosines.size)
        return module.best(cosines, rows, k)

    monkeypatch.setattr(module, "_BLOCK", 5000)
    nearest(vectors, vectors, k=3, choose=choose)
    assert len(sizes) == 50 and max(sizes) <= 5000
