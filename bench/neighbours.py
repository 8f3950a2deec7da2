"""What neighbours cost: all of a collection, one question, and an index from disk, beside scikit-learn.

python bench/neighbours.py [TRACKS]      default 10000

One thread, vectors of 200 numbers in clusters (those of bench/index.py). The fastest of three passes counts.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import sys
import tempfile
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from index import vectors
from sklearn.neighbors import NearestNeighbors

from sonic.tails.hubs import around
from sonic.tails.index import make_index
from sonic.tails.indexfile import open_index, save_index
from sonic.tails.measures import report
from sonic.tails.neighbours import neighbours
from sonic.tails.table import make_table


def seconds(work: Callable[[], Any], passes: int = 3) -> float:
    "The fastest of some passes."
    times = []
    for _ in range(passes):
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return min(times)


def main(count: int) -> None:
    made = vectors(count, seed=1)
    rng = np.random.default_rng(0)
    titles = {
        "title": [f"Song {n}" for n in range(count)],
        "artist": [f"Artist {n}" for n in rng.integers(0, 500, count)],
    }
    labels = pd.DataFrame(titles | {"genre": rng.integers(0, 20, count)})
    table = make_table(made, [f"id {n}" for n in range(count)], labels=labels)
    index = make_index(table)
    with tempfile.TemporaryDirectory() as folder:
        save_index(index, folder)
        opened = seconds(lambda: open_index(folder))
    there = NearestNeighbors(metric="cosine", algorithm="brute").fit(index.vectors)
    theirs = seconds(lambda: there.kneighbors(n_neighbors=10), 1)
    cosine = seconds(lambda: around(index.vectors, k=10), 1)
    mutual = seconds(lambda: around(index.vectors, k=10, spread=index.spread), 1)
    limits = {"neighbours.per_artist": 2}
    one = seconds(lambda: [neighbours(index, f"id {n}", k=10, **limits) for n in range(20)]) / 20
    few = (
        seconds(
            lambda: [neighbours(index, [f"id {n}", "id 99"], negatives="id 50", where={"genre": 3}) for n in range(20)]
        )
        / 20
    )
    print(f"{count} tracks of {made.shape[1]} numbers, one thread")
    print(f"ten neighbours of every track, scikit-learn  {theirs:7.2f} s")
    print(f"ten neighbours of every track, by cosine     {cosine:7.2f} s   {theirs / cosine:.1f} x scikit-learn")
    print(f"... by mutual proximity                      {mutual:7.2f} s   {theirs / mutual:.1f} x scikit-learn")
    made_in = seconds(lambda: make_index(table), 1)
    filtered = seconds(lambda: report(table, "genre", exclude_same="artist"), 1)
    plain = seconds(lambda: report(table, "genre"), 1)
    print(f"an index made from a table                   {made_in:7.2f} s")
    print(f"a report, artist-filtered                    {filtered:7.2f} s")
    print(f"a report                                     {plain:7.2f} s")
    print(f"one question, two tracks an artist           {1000 * one:7.2f} ms")
    print(f"two seeds, one turned down, one genre        {1000 * few:7.2f} ms")
    print(f"an index opened                              {1000 * opened:7.2f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 10_000)
