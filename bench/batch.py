"""Clips a second of features: the processor's engine, batches of PyTorch on processor and card, torchaudio, nnAudio."""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")

import argparse
import importlib
import json
import statistics
import warnings
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from sonic import Clip, views
from sonic.cream.artists import plan
from sonic.cream.batch import batch_views
from sonic.cream.music import synthesise

RATE = 22050
ENGINE = "views, one thread"
TASKS: dict[str, tuple[list[str] | None, dict[str, Any]]] = {
    "mel": (["mel"], {}),
    "four": (None, {}),
    "hop128": (None, {"stft.hop_length": 128}),
    "fft4096": (None, {"stft.n_fft": 4096}),
    "cqt": (["chroma"], {"chroma.kind": "cqt"}),
}
HELP = """
The tasks: mel, one view; four, all views by default settings; hop128 and fft4096, all views with a step of 128 or with
frames of 4096 samples; cqt, chroma by constant-Q. Peers compute what they have of it: mel in dB (torchaudio, nnAudio)
and constant-Q magnitudes (nnAudio); they have no tuning by clip, no chroma of it and no tempogram. Those that are not
installed are told and left out.

Each round takes every contender once, in turn; figures are medians over the rounds, the ratio to the engine that of
each round. The first round warms up and does not count. On the processor everything has one thread. Samples are on
the device before the clock starts, and views stay there.

python bench/batch.py                                          5-second clips, all there is to compare
python bench/batch.py --seconds 30 --rounds 7 --out card.json  on a machine with a card
python bench/batch.py --tasks cqt --sizes 64 --devices cuda    one figure
"""


def clips(count: int, seconds: float) -> np.ndarray:  # float32, shape (count, n)
    "Stretches of some songs, no two alike."
    rng, length = np.random.default_rng(0), int(seconds * RATE)
    songs = [synthesise(song, sample_rate=RATE).mean(axis=1) for song in plan(tracks=3)]
    rows = [np.roll(songs[n % 3], -int(rng.integers(len(songs[0]))))[:length] for n in range(count)]
    return np.array(rows, np.float32) * rng.uniform(0.3, 1, (count, 1)).astype(np.float32)


def peers(task: str, device: str) -> dict[str, Callable[[torch.Tensor], object]]:
    "What others offer for a task."
    found: dict[str, Callable[[torch.Tensor], object]] = {}
    if task == "mel" and (audio := there("torchaudio")):
        mel = audio.transforms.MelSpectrogram(RATE, 2048, hop_length=512, n_mels=128, norm="slaney", mel_scale="slaney")
        decibel = audio.transforms.AmplitudeToDB().to(device)
        mel = mel.to(device)
        found["torchaudio"] = lambda samples: decibel(mel(samples))
    if task in ("mel", "cqt") and (audio := there("nnAudio.features")):
        if task == "mel":
            layer = audio.MelSpectrogram(sr=RATE, n_fft=2048, hop_length=512, n_mels=128, verbose=False)
        else:
            layer = audio.CQT(sr=RATE, hop_length=512, n_bins=252, bins_per_octave=36, verbose=False)
        layer = layer.to(device)
        found["nnAudio"] = lambda samples: layer(samples)
    return found


def there(name: str) -> Any:
    "A library, if it is installed and loads."
    try:
        with warnings.catch_warnings(action="ignore"):
            return importlib.import_module(name)
    except (ImportError, OSError, AttributeError):
        return None


def seconds_of(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return perf_counter() - start


def contenders(task: str, samples: np.ndarray, sizes: list[int], devices: list[str]) -> dict[str, tuple[Any, int]]:
    "By name: the work, and on how many clips."
    only, changes = TASKS[task]
    some = [Clip(each, RATE) for each in samples[:8]]
    found: dict[str, tuple[Any, int]] = {ENGINE: (lambda: [views(clip, only, **changes) for clip in some], len(some))}
    for device in devices:
        others = peers(task, device)
        for size in sizes:
            batch = torch.tensor(samples[:size], device=device)
            found[f"batch_views, {device}, {size}"] = (lambda b=batch: batch_views(b, only, **changes)), size
            for name, work in others.items():
                found[f"{name}, {device}, {size}"] = (lambda b=batch, w=work: without_gradient(w, b)), size
    return found


@torch.no_grad()
def without_gradient(work: Callable[[torch.Tensor], object], samples: torch.Tensor) -> object:
    return work(samples)


def measure(task: str, samples: np.ndarray, *, sizes: list[int], devices: list[str], rounds: int) -> dict[str, Any]:
    "Clips a second of every contender, and how many times the engine's that is."
    works = contenders(task, samples, sizes, devices)
    rates: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, (work, count) in works.items():
            spent = seconds_of(work)
            if turn:
                rates[name].append(count / spent)
    told = {}
    for name, found in rates.items():
        ratios = [mine / engine for mine, engine in zip(found, rates[ENGINE], strict=True)]
        told[name] = {"clips a second": statistics.median(found), "times the engine": statistics.median(ratios)}
    return told


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    have = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), metavar="TASK")
    parser.add_argument("--sizes", nargs="+", type=int, default=[1, 8, 32, 64], help="clips in a batch: 1 8 32 64")
    parser.add_argument("--devices", nargs="+", choices=["cpu", "cuda"], default=have, help="cpu, and cuda if there")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a clip: 5")
    parser.add_argument("--rounds", type=int, default=3, help="that count: 3")
    parser.add_argument("--out", type=Path, help="a JSON file for all numbers")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    card = torch.cuda.get_device_name() if "cuda" in have else "no graphics card: its figures stay open"
    print(f"PyTorch {torch.__version__}; {card}; clips of {chosen.seconds:g} s, {chosen.rounds} rounds", flush=True)
    for name in ("torchaudio", "nnAudio.features"):
        if there(name) is None:
            print(f"{name.split('.')[0]} is not installed, or does not load: left out")
    samples, told = clips(max(8, *chosen.sizes), chosen.seconds), {}
    for task in chosen.tasks:
        told[task] = measure(task, samples, sizes=chosen.sizes, devices=chosen.devices, rounds=chosen.rounds)
        print(f"\n{task:28}{'clips/s':>9}{'x engine':>10}")
        for name, row in told[task].items():
            print(f"  {name:26}{row['clips a second']:9.1f}{row['times the engine']:10.2f}", flush=True)
    if "cuda" in chosen.devices:
        print(f"\nmost memory on the card: {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB")
    if chosen.out:
        about = {"card": card, "torch": torch.__version__, "seconds": chosen.seconds, "rounds": chosen.rounds}
        chosen.out.write_text(json.dumps(about | {"tasks": told}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
