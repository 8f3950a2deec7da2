"""Which embedder is worth its time on your own music: neighbours with the same label, hubs, tracks a second, memory.

python bench/embedders.py COLLECTION [LABEL [FOLDER]]      default label genre; FOLDER keeps the tables

COLLECTION is anything that `sonic embed` takes. Every embedder hears the middle 15 seconds of each track, then all of
it; MusiCNN also the first 3 seconds, which is what some published studies gave it without knowing. Then come fusions
of the tables. For each: the share of the ten nearest with the same label, the accuracy of a vote of the five nearest,
both with the 95 % interval of a bootstrap over tracks, and the skewness of how often tracks are given, before hubs are
held back and after. At the end, what fusion gains over MFCC and over its best part, track by track, with the interval.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
import soundfile

from sonic import open_collection
from sonic.cream.audio import load
from sonic.tails.embed import embed
from sonic.tails.fuse import fuse
from sonic.tails.hubs import around
from sonic.tails.measures import report
from sonic.tails.neighbours import ready
from sonic.tails.table import Table

VIEWS = ("mel", "chroma", "fft", "tempogram")
EMBEDDERS = {"mfcc": ("mfcc", {}), "views": ("views", {}), "musicnn": ("musicnn", {})}
EMBEDDERS |= {f"vision {view}": ("vision", {"vision.view": view}) for view in VIEWS}
FUSIONS = {
    "four views by vision": {f"vision {view}": 1 for view in VIEWS},
    "musicnn + vision": {"musicnn": 1, "vision mel": 1},
    "all": {"musicnn": 2, "vision mel": 1, "views": 1, "mfcc": 1},
}
MEMORY = """
import re, sys
from sonic import open_collection
from sonic.tails.embed import embed
few = open_collection(sys.argv[1]).head(4).reset_index(drop=True)
embed(few, with_=sys.argv[2], jobs=0, device="cpu", progress=False)
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024)
"""


def middle(tracks: pd.DataFrame, folder: Path, *, seconds: float = 15.0) -> pd.DataFrame:
    "The same tracks, cut to their middle."
    paths = []
    for number, path in enumerate(tracks["path"]):
        clip = load(path, None)
        size = round(seconds * clip.sample_rate)
        start = max(0, (len(clip.samples) - size) // 2)
        paths.append(str(folder / f"{number}.flac"))
        soundfile.write(paths[-1], np.clip(clip.samples[start : start + size], -1, 1), clip.sample_rate)
    return tracks.assign(path=paths)


def kept(folder: Path | None, name: str) -> Path | None:
    return folder / f"{name.replace(' ', '-')}.parquet" if folder else None


def line(name: str, table: Table, label: str, rest: str = "") -> None:
    "A row of the table."
    found = report(table, label)
    accuracy, precision, skew = (found.loc[row] for row in ("5-NN accuracy", "precision@10", "hubness"))
    told = [f"{each['value']:.3f} [{each['low']:.3f}, {each['high']:.3f}]" for each in (accuracy, precision)]
    print(f"| {name} | {told[0]} | {told[1]} | {skew['before']:.2f} | {skew['value']:.2f} | {rest} |", flush=True)


def memory(source: str, name: str) -> float:
    told = subprocess.run([sys.executable, "-c", MEMORY, source, name], capture_output=True, text=True, check=True)
    return float(told.stdout.split()[-1])


def track_scores(table: Table, label: str) -> pd.Series:
    "The share of the ten nearest with the same label, track by track."
    index, _ = ready(table)
    found, labels = around(index.vectors, k=10, spread=index.spread)[0], index.tracks[label].to_numpy()
    return pd.Series((labels[found] == labels[:, None]).mean(axis=1), index.tracks.index)


def gains(tables: dict[str, Table], label: str) -> None:
    "What the fusions gain, track by track."
    scores = {name: track_scores(table, label) for name, table in tables.items()}
    best = max(EMBEDDERS, key=lambda name: scores[name].mean())
    for name in (*FUSIONS, "musicnn"):
        for other in dict.fromkeys(other for other in ("mfcc", best) if other != name):
            gain = (scores[name] - scores[other]).to_numpy()
            draws = np.random.default_rng(0).choice(gain, (2000, len(gain))).mean(axis=1)
            low, high = np.quantile(draws, [0.025, 0.975])
            print(f"precision@10 of {name} minus {other}: {gain.mean():+.3f} [{low:+.3f}, {high:+.3f}]")


def run(title: str, source: object, label: str, *, out: Path | None, names: dict, said: dict[str, str]) -> None:
    "One section."
    heading = ("embedder", "5-NN accuracy", "precision@10", "skew", "without hubs", "tracks/s, memory")
    print(f"\n{title}\n\n| {' | '.join(heading)} |\n|{'---|' * len(heading)}")
    tables: dict[str, Table] = {}
    for name, (with_, settings) in names.items():
        start = perf_counter()
        tables[name] = embed(source, kept(out, name), with_=with_, progress=False, **settings)
        count, seconds = tables[name].tracks.attrs["embedded"], perf_counter() - start
        rate = f"{count / seconds:.1f}/s" if count else "kept"
        line(name, tables[name], label, f"{rate}{said.get(with_, '')}")
    for name, weights in FUSIONS.items() if len(names) > 1 else ():
        tables[name] = fuse({each: tables[each] for each in weights}, weights=weights)
        line(name, tables[name], label)
    if len(names) > 1:
        print()
        gains(tables, label)


def main(source: str, label: str = "genre", folder: str | None = None) -> None:
    tracks, base = open_collection(source), Path(folder) if folder else None
    most = tracks[label].value_counts(normalize=True).iloc[0]
    print(f"{len(tracks)} tracks, {tracks[label].nunique()} values of {label}, the most frequent {most:.3f} of them")
    said = {name: f", {memory(source, name):.0f} MB" for name in ("mfcc", "views", "musicnn", "vision")}
    with tempfile.TemporaryDirectory() as scratch:
        cut = middle(tracks, Path(scratch))
        run("The middle 15 s", cut, label, out=base and base / "middle", names=EMBEDDERS, said=said)
    run("The whole track", tracks, label, out=base and base / "whole", names=EMBEDDERS, said=said)
    few = {"musicnn": ("musicnn", {"audio.duration": 3.0})}
    run("The first 3 s", tracks, label, out=base and base / "first", names=few, said=said)


if __name__ == "__main__":
    main(*sys.argv[1:4])
