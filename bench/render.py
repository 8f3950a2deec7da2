"""What rendering costs, beside decoding alone and beside a script of librosa and OpenCV.

python bench/render.py [ROUNDS]      default 5

One process, one thread, eight MP3 files of 30 seconds that it makes itself. Every round runs each contender once over
all files, in turn; the figures are medians over rounds of each round's ratio to `soundfile.read` of the same files.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")

import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time

import cv2
import librosa
import numpy as np
import soundfile

from sonic import Config, load, picture, views
from sonic.cream.artists import plan
from sonic.cream.music import write_song
from sonic.cream.picture import encode

CONFIG = Config()


def decode(path: Path, out: Path) -> None:
    soundfile.read(path, dtype="float32")


def sonic_four(path: Path, out: Path) -> None:
    for name, view in views(load(path), config=CONFIG).items():
        drawn = picture(view, config=CONFIG)
        (out / f"{path.stem}-{name}.png").write_bytes(encode(drawn.levels, settings=CONFIG.picture))


def librosa_four(path: Path, out: Path) -> None:
    "What a competent user writes: librosa's defaults, pictures of the same size by OpenCV."
    y, rate = librosa.load(path)
    mel = librosa.power_to_db(librosa.feature.melspectrogram(y=y, sr=rate), ref=np.max)
    drawn = {
        "mel": (mel + 80) / 80,
        "chroma": librosa.feature.chroma_stft(y=y, sr=rate),
        "tempogram": librosa.feature.tempogram(y=y, sr=rate),
    }
    level = librosa.amplitude_to_db(np.abs(librosa.stft(y)).mean(axis=1), ref=np.max)
    curve = np.interp(np.geomspace(20, rate / 2, 488), librosa.fft_frequencies(sr=rate), (level + 80) / 80)
    drawn["fft"] = (np.linspace(0, 1, 244)[:, None] <= curve) * curve
    for name, values in drawn.items():
        pixels = (np.clip(cv2.resize(values.astype(np.float32), (488, 244)), 0, 1) * 255).astype(np.uint8)
        cv2.imwrite(str(out / f"{path.stem}-{name}.png"), cv2.applyColorMap(pixels[::-1], cv2.COLORMAP_MAGMA))


CONTENDERS: dict[str, Callable[[Path, Path], None]] = {
    "soundfile.read alone": decode,
    "SONIC, four pictures": sonic_four,
    "librosa and OpenCV, four pictures": librosa_four,
}


def main(rounds: int) -> None:
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        files = [write_song(song, folder, format="mp3") for song in plan(tracks=8)]
        times: dict[str, list[float]] = {name: [] for name in CONTENDERS}
        for turn in range(rounds + 1):  # the first warms up and is not counted
            for name, work in CONTENDERS.items():
                start = process_time()
                for path in files:
                    work(path, Path(folder))
                if turn:
                    times[name].append((process_time() - start) / len(files))
    floor = times["soundfile.read alone"]
    print(f"{len(files)} MP3 files of 30 s, {rounds} rounds, CPU time, one thread")
    for name, spent in times.items():
        ratio = statistics.median(a / b for a, b in zip(spent, floor, strict=True))
        print(f"{name:36} {1000 * statistics.median(spent):7.1f} ms a track   {ratio:5.2f} x decoding")
    ratio = statistics.median(a / b for a, b in zip(*list(times.values())[:0:-1], strict=True))
    print(f"SONIC is {ratio:.2f} times as fast as the librosa script")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 5)
