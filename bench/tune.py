"""What tuning is worth: how soon a planted optimum is found, and what the cache of stages saves.

python bench/tune.py [seeds] [trials] [tracks]

The first part searches an objective whose best settings are known, in the real space of settings with its branches, by
TPE and by chance, with as many seeds each. The second runs the same study twice, on music that it makes itself: once
with the cache of stages and once without.
"""

from __future__ import annotations

import math
import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import sys
import tempfile
import time
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState, create_trial

from sonic.config import Config
from sonic.cream.demo import make_collection
from sonic.sections import SonicError
from sonic.shadow.cache import Cache
from sonic.shadow.chain import Chain
from sonic.shadow.folder import begin
from sonic.shadow.proposals import propose
from sonic.shadow.remembered import Remembered, remembered_fit
from sonic.shadow.space import make_space

PLANTED = {
    "embed.with": ["mfcc", "views", "vision", "musicnn"],
    "mel.n_mels": (32, 256),
    "picture.top_db": (40.0, 120.0),
    "vision.view": ["mel", "chroma", "fft", "tempogram"],
    "vision.layer": [1, 2, 3, 4, 5, 6, 7],
    "musicnn.layer": ["penultimate", "mean_pool", "max_pool", "taggram"],
    "neighbours.hubs": ["mutual", "none"],
}


def worth(config: Config) -> float:
    "1 at the planted settings (vision, the mel view of 96 bands, 70 dB, layer 4, no hubs), less elsewhere."
    base = {"vision": 0.6, "musicnn": 0.5, "views": 0.4, "mfcc": 0.2}[config.embed.with_]
    found = base + 0.1 * (config.neighbours.hubs == "mutual")
    if config.embed.with_ == "musicnn":
        return found + 0.1 * (config.musicnn.layer == "mean_pool")
    if config.embed.with_ != "vision" or config.vision.view == "mel":
        found += 0.1 * math.exp(-((math.log2(config.mel.n_mels / 96) / 0.5) ** 2))
    if config.embed.with_ == "vision":
        found += 0.1 * (config.vision.view == "mel") - 0.03 * abs((config.vision.layer or 4) - 4)
        if config.vision.view in ("mel", "fft"):
            found += 0.1 * math.exp(-(((config.picture.top_db - 70) / 20) ** 2))
    return found


def search(sampler: str, seed: int, trials: int) -> np.ndarray:
    "The best found so far, after each trial."
    space = make_space(PLANTED)
    history, values = [], []
    for turn in range(trials):
        known = history[: turn // 4 * 4]
        asked = propose(space, seed=seed, turn=turn, batch=4, history=known, objectives=["similarity"], sampler=sampler)
        values.append(worth(asked.config) if asked.config else 0.0)
        history.append(create_trial(params=asked.params, distributions=asked.distributions, value=values[-1]))
    return np.maximum.accumulate(values)


def planted(seeds: int, trials: int) -> None:
    "How many trials it takes to come within 10, 5 and 3 % of the best there is."
    curves = {name: np.array([search(name, seed, trials) for seed in range(seeds)]) for name in ("tpe", "random")}
    print(f"planted optimum of 1.0, {seeds} seeds, {trials} trials\n")
    print(f"{'within':<10}{'TPE':>22}{'random':>22}   fewer trials by TPE")
    for share in (0.10, 0.05, 0.03):
        firsts = {}
        for name, found in curves.items():
            there = found >= 1 - share
            firsts[name] = np.where(there.any(axis=1), there.argmax(axis=1) + 1, trials + 1)
        cells = [f"{np.median(each):.0f} ({np.mean(each <= trials):.0%} of seeds)" for each in firsts.values()]
        wins, losses = (firsts["tpe"] < firsts["random"]).sum(), (firsts["tpe"] > firsts["random"]).sum()
        print(f"{share:<10.0%}{cells[0]:>22}{cells[1]:>22}   in {wins} seeds, more in {losses}")
    print(f"\n{'after':<10}{'TPE':>22}{'random':>22}   mean of the best")
    for count in sorted({trials // 4, trials // 2, trials}):
        cells = [f"{each[:, count - 1].mean():.3f} ± {each[:, count - 1].std():.3f}" for each in curves.values()]
        print(f"{count:<10}{cells[0]:>22}{cells[1]:>22}")


LATER = {  # what is searched behind the pictures, with one setting of the pictures
    "embed.with": ["vision", "musicnn", "musicnn+vision"],
    "mel.n_mels": [96, 128],
    "vision.layer": ["none", 3, 5],
    "vision.pooling": ["rows", "mean", "meanmax"],
    "fuse.vision": (0.25, 4.0),
    "neighbours.standardise": ["yes", "no"],
    "neighbours.whiten": ["none", 8],
    "neighbours.hubs": ["mutual", "none"],
}


def cached(trials: int, tracks: int, space: dict[str, Any] | None, what: str) -> None:
    "The same study with the cache of stages and without, trial by trial side by side."
    with tempfile.TemporaryDirectory() as folder:
        music = make_collection(f"{folder}/music", tracks=tracks, seconds=10, progress=False)
        tuning = begin(f"{folder}/study", music, space=space, config=Config().replace(**{"tune.k": 5}))
        problem, ids = tuning.problem(), list(tuning.seal.search)
        chains = {
            name: Chain(tuning.tracks.loc[ids], Cache(place))
            for name, place in (("with", f"{folder}/cache"), ("without", None))
        }
        spent, history, counts = dict.fromkeys(chains, 0.0), [], (0, 0)
        for turn in range(trials):
            known = history[: turn // 4 * 4]
            asked = propose(tuning.space, seed=0, turn=turn, batch=4, history=known, objectives=["similarity"])
            found = {}
            for name, chain in chains.items():
                objective = Remembered(
                    replace(problem, chain=chain, fit=remembered_fit(chain.cache)), chain, data=tuning.data
                )
                start = time.perf_counter()
                try:
                    found[name] = objective(asked.config, lambda step, value: None) if asked.config else None
                except SonicError:  # settings that do not go together
                    found[name] = None
                spent[name] += time.perf_counter() - start
            values = [each and dict(each.values) for each in found.values()]
            assert values[0] == values[1]
            if found["with"]:
                counts = counts[0] + found["with"].facts["hits"], counts[1] + found["with"].facts["misses"]
            state = {"value": values[0]["similarity"]} if values[0] else {"state": TrialState.PRUNED}
            history.append(create_trial(params=asked.params, distributions=asked.distributions, **state))
        size = chains["with"].cache.size()
    print(f"\n{what}: {trials} trials on {len(ids)} tracks of 10 s, the same values with the cache and without")
    print(f"with {spent['with']:.0f} s, without {spent['without']:.0f} s: {spent['without'] / spent['with']:.1f} times")
    print(f"{counts[0] / sum(counts):.0%} of {sum(counts)} results of stages were there; {size / 1e6:.0f} MB on disk")


if __name__ == "__main__":
    seeds, trials, tracks = (int(word) for word in (*sys.argv[1:], *("20", "100", "40")[len(sys.argv) - 1 :]))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    planted(seeds, trials)
    cached(50, tracks, LATER, "mostly what lies behind the pictures is searched")
    cached(50, tracks, None, "everything is searched, rendering too")
