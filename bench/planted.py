"""What each embedder hears: tempo, key or timbre, asked of music in which each was planted.

python bench/planted.py [COPIES]      default 2

Songs in every combination of three tempos, three keys and three voices, COPIES of each, with notes of their own. For
each embedder and each factor: of as many nearest tracks as there are others with the same tempo (key, voice), the share
that has it, with the 95 % interval of a bootstrap over tracks. Guessing finds about a third. Last, our own network: as
it is before any training, and after it was trained on the same songs without any label (two crops of a track attract).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from sonic.cream.planted import plant
from sonic.tails.embed import embed
from sonic.tails.index import make_index
from sonic.tails.measures import interval
from sonic.tails.table import Table, make_table
from sonic.tails.training import train

FACTORS = ("timbre", "key", "tempo")


def shares_found(table: Table, factor: str) -> np.ndarray:
    "R-precision of each track."
    index = make_index(table)
    labels = index.tracks[factor].to_numpy()
    alike = (labels[:, None] == labels) & ~np.eye(len(labels), dtype=bool)
    cosines = np.where(np.eye(len(labels), dtype=bool), -np.inf, index.vectors @ index.vectors.T)
    order = np.argsort(-cosines, axis=1, kind="stable")
    return np.array([alike[row, order[row, : alike[row].sum()]].mean() for row in range(len(labels))])


def line(name: str, table: Table) -> None:
    cells = []
    for factor in FACTORS:
        found = shares_found(table, factor)
        low, high = interval(found)
        cells.append(f"{found.mean():.2f} [{low:.2f}, {high:.2f}]")
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main(copies: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tracks = plant(Path(folder, "music"), copies=copies, jobs=None)
        print(f"{len(tracks)} songs\n\n| embedder | {' | '.join(FACTORS)} |\n|---|---|---|---|")
        for name in ("mfcc", "musicnn"):
            line(name, embed(tracks, with_=name, progress=False))
        views = embed(tracks, with_="views", progress=False)
        line("views", views)
        for part, columns in views.parts.items():
            line(f"views, {part}", make_table(views.vectors[:, columns], views.ids, labels=views.tracks))
        for view in ("mel", "chroma", "fft", "tempogram"):
            line(f"vision, {view}", embed(tracks, with_="vision", progress=False, **{"vision.view": view}))
        small = {"network.window": 4.0, "network.rows": 48, "network.columns": 64, "network.channels": 8}
        for epochs in (1, 30):
            out = Path(folder, f"network-{epochs}")
            rate = {"train.learning_rate": 1e-7} if epochs == 1 else {}  # as good as untrained
            train(tracks, out, progress=False, **small, **rate, **{"train.epochs": epochs, "train.patience": 30})
            settings = {**small, "network.weights": str(out)}
            own = embed(tracks, with_="sonic", progress=False, **settings)
            line(f"sonic, {'trained' if epochs > 1 else 'untrained'}", own)
            for part, columns in own.parts.items() if epochs > 1 else ():
                line(f"sonic, {part}", make_table(own.vectors[:, columns], own.ids, labels=own.tracks))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
