"""What a graphics card is worth: embedding by the processor with all its cores, and by the processor and the card.

python bench/device.py [ROUNDS [TRACKS [OUT.json [FOLDER]]]]      default 5 rounds, 1,600 tracks

Tracks of 30 seconds, MP3: copies of 16 songs that it makes itself, or of the files of FOLDER. `embed` runs on all cores
with device="cpu" and with device="cuda", in turns; the figures are medians of each round's ratio. What starting costs
is told by itself: the rate is that of the tracks after the first quarter. Then how alike the vectors are, and where the
time goes, in ms a window, a track at a time: one core prepares (decodes, draws); this process then checks and
normalises, sends, computes and fetches. A core of the processor does all but the sending. OUT.json takes every number.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import batched
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits

from sonic.cream.artists import plan
from sonic.cream.jobs import run
from sonic.cream.layouts import open_collection
from sonic.cream.music import write_song
from sonic.tails import embed as module
from sonic.tails.embedder import Heard
from sonic.tails.registry import make_embedder

CARD, SONGS = "cuda", 16
NAMES = ("vision", "musicnn")


def seconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    if CARD == "cuda":
        torch.cuda.synchronize()
    return perf_counter() - start


def copies(paths: list[str], count: int) -> pd.DataFrame:
    "A collection of that many tracks."
    rows = [(f"{number:05}", paths[number % len(paths)]) for number in range(count)]
    return pd.DataFrame(rows, columns=["track_id", "path"])


def finished(name: str, table: pd.DataFrame, device: str) -> np.ndarray:  # s, shape (tracks,)
    "When each track of a run was done."
    times, settle = [], module._settled

    def noting(*given: Any) -> Any:
        times.append(perf_counter())
        return settle(*given)

    start, module._settled = perf_counter(), noting
    try:
        assert len(module.embed(table, with_=name, device=device, progress=False)) == len(table)
    finally:
        module._settled = settle
    return np.array(times) - start


def turns(name: str, paths: list[str], *, rounds: int, tracks: int, windows: float) -> dict[str, Any]:
    "Processor and card in turn."
    table, early = copies(paths, tracks), tracks // 4
    found: dict[str, Any] = {"cpu": [], CARD: [], "starting": {"cpu": [], CARD: []}}
    for _ in range(rounds):
        for device in ("cpu", CARD):
            times = finished(name, table, device)
            rate = (tracks - early) / (times[-1] - times[early - 1])
            found[device].append(rate)
            found["starting"][device].append(times[-1] - tracks / rate)
    ratios = [ours / theirs for ours, theirs in zip(found[CARD], found["cpu"], strict=True)]
    there, here = (statistics.median(found[device]) for device in ("cpu", CARD))
    start = {device: statistics.median(each) for device, each in found["starting"].items()}
    print(
        f"{name:8} {statistics.median(ratios):5.2f} times the processor ({min(ratios):.2f} to {max(ratios):.2f}): "
        f"{here:.1f} and {there:.1f} clips/s, {here * windows:.0f} and {there * windows:.0f} windows/s; "
        f"starting up {start[CARD]:.1f} and {start['cpu']:.1f} s",
        flush=True,
    )
    return found | {"ratios": ratios}


def alike(name: str, paths: list[str]) -> dict[str, float]:
    "How far the vectors are apart."
    table = copies(paths, len(paths))
    there, here = (module.embed(table, with_=name, device=device, progress=False).vectors for device in ("cpu", CARD))
    cosine = (there * here).sum(axis=1) / np.linalg.norm(there, axis=1) / np.linalg.norm(here, axis=1)
    far = np.abs(there - here).max() / np.sqrt((there**2).mean())
    print(f"{name:8} cosine of both vectors of a track {cosine.min():.7f} or more; numbers {far:.1e} apart at most")
    return {"cosine": float(cosine.min()), "apart": float(far)}


def middle(works: list[Callable[[], object]], *, rounds: int) -> float:
    "The median of the rounds, s, for all of the works."
    return statistics.median(seconds(lambda: [work() for work in works]) for _ in range(rounds))


@contextmanager
def one_thread() -> Iterator[None]:
    "As a worker has it."
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


def parts(name: str, paths: list[str], *, rounds: int) -> dict[str, float]:
    "Where the time goes, ms a window."
    there, here = (make_embedder(name, device=device) for device in ("cpu", CARD))

    def shown() -> list[list[np.ndarray]]:
        return [list(there.shown(path, Heard())) for path in paths]

    with one_thread():
        some = shown()
        few = [list(each) for windows in some for each in batched(windows, 8)]
        stacks = [np.stack(each).astype(np.float32) for each in some]  # what is sent is of this size and type
        sent = [torch.from_numpy(stack) for stack in stacks]
        for each in some[:4]:
            here.embed_prepared(each)
        spent = {
            "prepare": seconds(shown),
            "all of it": middle([partial(here.embed_prepared, each) for each in some], rounds=rounds),
            "forward": middle([partial(here.forward, stack) for stack in stacks], rounds=rounds),
            "send": middle([partial(each.to, CARD) for each in sent], rounds=rounds),
            "processor": middle([partial(there.embed_prepared, each) for each in few], rounds=1),
        }
    spent = {part: 1000 * each / sum(map(len, some)) for part, each in spent.items()}
    spent |= {"check": spent.pop("all of it") - spent["forward"], "compute": spent.pop("forward") - spent["send"]}
    print(
        f"{name:8} a core prepares {spent['prepare']:.2f} ms; this process checks and normalises {spent['check']:.3f}, "
        f"sends {spent['send']:.3f}, computes and fetches {spent['compute']:.3f}; "
        f"a core instead of the card {spent['processor']:.2f}",
        flush=True,
    )
    return spent


def _write(work: tuple[object, str]) -> Path:
    return write_song(*work, format="mp3")  # type: ignore[arg-type]


def main(rounds: int = 5, tracks: int = 1600, out: str = "", folder: str = "") -> None:
    if not torch.cuda.is_available():
        print("no graphics card: there is nothing to measure")
        return
    card = torch.cuda.get_device_name()
    print(f"{card}, and {os.cpu_count()} cores; PyTorch {torch.__version__}", flush=True)
    told: dict[str, Any] = {"card": card, "cores": os.cpu_count(), "torch": torch.__version__, "tracks": tracks}
    with tempfile.TemporaryDirectory() as made:
        if not folder:
            songs = [(song, made) for song in plan(SONGS)]
            assert all(outcome.status == "done" for outcome in run(_write, songs, progress=False))
        paths = list(open_collection(folder or made)["path"])[:tracks]
        for name in NAMES:
            embedder = make_embedder(name)
            windows = [sum(1 for _ in embedder.shown(path, Heard())) for path in paths]
            told[name] = {"windows": windows, "alike": alike(name, paths)}
            told[name] |= turns(name, paths, rounds=rounds, tracks=tracks, windows=float(np.mean(windows)))
            told[name]["ms a window"] = parts(name, paths, rounds=rounds)
            if out:
                Path(out).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *sys.argv[3:5])
