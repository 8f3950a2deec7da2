"""What MusiCNN costs, beside the network as one would write it in PyTorch, with librosa before it.

python bench/musicnn.py [ROUNDS]      default 5

One process, one thread, two MP3 files of 60 seconds that it makes itself; random weights, as their values cost nothing.
Every round runs each contender once, in turn; the figures are medians over rounds, of CPU time.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")

import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import process_time

import librosa
import numpy as np
import torch
from torch import nn
from torch.nn.functional import pad

from sonic.cream.artists import plan
from sonic.cream.music import write_song
from sonic.tails.musicnn import FRAMES, Musicnn
from sonic.tails.tagger import Tagger, arrays_of


class Plain(nn.Module):
    "The network, layer by layer as in the paper."

    def __init__(self) -> None:
        super().__init__()
        sizes = [(7, 38, 204), (7, 67, 204), (128, 1, 51), (64, 1, 51), (32, 1, 51)]
        self.first = nn.BatchNorm2d(1)
        self.front = nn.ModuleList(nn.Conv2d(1, count, (height, width)) for height, width, count in sizes)
        self.middle = nn.ModuleList(nn.Conv2d(1, 64, (7, width)) for width in (561, 64, 64))
        self.front_norms = nn.ModuleList(nn.BatchNorm2d(count) for _, _, count in sizes)
        self.middle_norms = nn.ModuleList(nn.BatchNorm2d(64) for _ in range(3))
        self.end = nn.Sequential(nn.BatchNorm1d(1506), nn.Linear(1506, 200), nn.ReLU(), nn.BatchNorm1d(200))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x[:, None])
        parts = []
        for layer, norm in zip(self.front, self.front_norms, strict=True):
            size = layer.kernel_size[0]
            y = norm(torch.relu(layer(pad(x, (0, 0, (size - 1) // 2, size // 2)))))
            parts.append(y.amax(dim=3))
        maps = [torch.cat(parts, dim=1).transpose(1, 2)[:, None]]
        for layer, norm in zip(self.middle, self.middle_norms, strict=True):
            y = norm(torch.relu(layer(pad(maps[-1], (0, 0, 3, 3))))).permute(0, 3, 2, 1)
            maps.append(y + maps[-1] if len(maps) > 1 else y)
        features = torch.cat(maps, dim=3)[:, 0]
        return self.end(torch.stack([features.amax(dim=1), features.mean(dim=1)], dim=2).flatten(1))


def patches(path: Path) -> torch.Tensor:
    "Three seconds each, by librosa."
    y, rate = librosa.load(path, sr=16000)
    mel = librosa.feature.melspectrogram(y=y, sr=rate, n_fft=512, hop_length=256, n_mels=96).T
    levels = np.log10(1 + 10000 * mel)
    count = len(levels) // FRAMES
    return torch.from_numpy(levels[: count * FRAMES].reshape(count, FRAMES, 96))


def main(rounds: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    ours, plain = Musicnn(arrays=arrays_of(Tagger())), Plain().eval()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        songs = [replace(song, seconds=60.0) for song in plan(tracks=2)]
        files = [write_song(song, folder, format="mp3") for song in songs]
        ready = [patches(path) for path in files]
        count = sum(map(len, ready))
        contenders: dict[str, Callable[[], object]] = {
            "network: SONIC": lambda: [ours.forward(some.numpy()) for some in ready],
            "network: PyTorch, patch by patch": lambda: [plain(one[None]) for some in ready for one in some],
            "network: PyTorch, a track at once": lambda: [plain(some) for some in ready],
            "file to vector: SONIC": lambda: [ours.embed(path) for path in files],
            "file to vector: patch by patch": lambda: [
                torch.cat([plain(one[None]) for one in patches(path)]).mean(dim=0) for path in files
            ],
            "file to vector: a track at once": lambda: [plain(patches(path)).mean(dim=0) for path in files],
        }
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for turn in range(rounds + 1):  # the first warms up and is not counted
            for name, work in contenders.items():
                start = process_time()
                work()
                if turn:
                    times[name].append((process_time() - start) / count)
    print(f"{count} patches of 3 s, {rounds} rounds, CPU time, one thread")
    for what in ("network", "file to vector"):
        (first, best), *others = [(name, spent) for name, spent in times.items() if name.startswith(what)]
        print(f"{first:36} {1000 * statistics.median(best):6.1f} ms a patch")
        for name, spent in others:
            ratio = statistics.median(a / b for a, b in zip(spent, best, strict=True))
            print(f"{name:36} {1000 * statistics.median(spent):6.1f} ms a patch   SONIC is {ratio:.1f} times as fast")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 5)
