"""Whether `sonic render` goes on as it began: the pace, the memory and the open files from the first hundred tracks to
the last, and the memory that a mix of hours takes.

python bench/scale.py                              2,000 tracks and a mix of 3 hours, which it makes itself: ten minutes
python bench/scale.py --short                      200 tracks and a mix of 20 minutes
python bench/scale.py --music FOLDER --hours 0     your music, and no mix
python bench/scale.py --tracks 0 --hours 1         a mix of an hour alone

The tracks are a hundred songs of 15 seconds, each in as many versions as it takes (begun elsewhere, at another level),
so that every hundred is the same work; they stay in the user's cache, 0.3 MB each. The command runs as anyone would
run it, and is watched from outside: memory is what all its processes have resident, and what they share is counted in
each. Mixes (72 MB an hour, not kept) are drawn one after the other, each by a command of its own: one that lasts a
little less than five minutes is held whole, longer ones are drawn in blocks.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import psutil
import soundfile

from sonic.cream.artists import Song, plan
from sonic.cream.jobs import run
from sonic.cream.music import RATE, VERSION, synthesise
from sonic.files import user_cache, write_file

RESULTS = Path(__file__).parent / "results" / "scale.json"
SONGS, SECONDS = 100, 15.0

# ---- the files -------------------------------------------------------------------------------------------------------


def _mp3(sound: np.ndarray) -> bytes:
    "A stereo MP3 of 160 kbps."
    file = io.BytesIO()
    how: dict[str, Any] = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "CONSTANT"}
    soundfile.write(file, sound, RATE, compression_level=0.55, **how)
    return file.getvalue()


def _write_versions(work: tuple[int, Song], folder: Path, versions: int) -> None:
    "One song, begun at other places and at other levels."
    number, song = work
    paths = [folder / f"{version:03}-{number:03}.mp3" for version in range(versions)]
    if all(path.exists() for path in paths):
        return
    sound = synthesise(song)
    for version, path in enumerate(paths):
        if not path.exists():
            write_file(path, _mp3(np.roll(sound, version * RATE // 3, axis=0) * (1 - 0.5 * version / versions)))


def make_tracks(count: int) -> Path:
    "A folder of that many tracks, or a few more; those that are there stay."
    songs = min(SONGS, count)
    versions = -(-count // songs)
    folder = user_cache("bench") / f"scale-{VERSION}-{songs}x{versions}"
    write = partial(_write_versions, folder=folder, versions=versions)
    for outcome in run(write, list(enumerate(plan(songs, seconds=SECONDS))), progress="Making music"):
        assert outcome.status == "done", outcome.reason
    return folder


def make_mix(path: Path, minutes: float) -> None:
    "An MP3 of about that length: the frames of songs, one after the other, without those that say how long a song is."
    songs = [song.read_bytes() for song in sorted(make_tracks(40).glob("*.mp3"))]
    with open(path, "wb") as file:
        for number in range(int(minutes * 60 / (SECONDS + 0.1)) - 1):  # each ends with a little padding
            song = songs[number % len(songs)]
            head = 144 * 160_000 // RATE + (song[2] >> 1 & 1)  # ISO 11172-3, 2.4.3.1
            assert b"Info" in song[:head] and song[head] == 0xFF, "not the frames that were expected"
            file.write(song[head:])


# ---- the watch -------------------------------------------------------------------------------------------------------


@dataclass
class Seen:
    "All processes of a command at one moment."

    seconds: float  # since it began
    done: int  # tracks
    parent: float  # MB
    workers: list[float]  # MB, each of the others
    handles: int  # open files and sockets

    @property
    def memory(self) -> float:
        return self.parent + sum(self.workers)


def _look(command: psutil.Popen, start: float, pictures: Path) -> Seen:
    "What the processes of a command hold now."
    workers, handles = [], _handles(command)
    for other in command.children(recursive=True):
        with suppress(psutil.Error):  # it may just have ended
            workers.append(other.memory_info().rss / 1e6)
            handles += _handles(other)
    done = sum(name.endswith(".png") for name in os.listdir(pictures)) if pictures.exists() else 0
    return Seen(time.perf_counter() - start, done, command.memory_info().rss / 1e6, workers, handles)


def _handles(process: psutil.Process) -> int:
    return process.num_handles() if os.name == "nt" else process.num_fds()


def watch(music: Path, out: Path, *, jobs: int, every: float) -> tuple[list[Seen], float]:
    "Render, and look every so many seconds; what was seen, and how long it took."
    sonic = str(Path(sys.executable).with_name("sonic"))
    start, seen = time.perf_counter(), []
    with open(out.with_suffix(".log"), "w") as log:
        command = psutil.Popen([sonic, "render", str(music), str(out), "-q", "-j", str(jobs)], stdout=log, stderr=log)
    while command.poll() is None:
        with suppress(psutil.Error):
            seen.append(_look(command, start, out / "mel"))
        time.sleep(every)
    if command.returncode:
        sys.exit(f"sonic render ended with {command.returncode}: {out.with_suffix('.log').read_text()}")
    return seen, time.perf_counter() - start


# ---- many tracks -----------------------------------------------------------------------------------------------------


def many(music: Path, *, jobs: int) -> dict[str, Any]:
    "The pace of every part of a collection, and what was held meanwhile."
    with tempfile.TemporaryDirectory() as folder:
        seen, seconds = watch(music, Path(folder) / "out", jobs=jobs, every=0.2)
        times = sorted(path.stat().st_mtime for path in (Path(folder) / "out" / "mel").glob("*.png"))
    part = max(20, len(times) // 20)
    marks = range(part, len(times) - part // 2, part)  # the first part begins with its first picture: no cold start
    edges = [0, *marks, len(times) - 1]
    rates = [(b - a) / (times[b] - times[a]) for a, b in zip(edges, edges[1:], strict=False)]
    busy, rows = [look for look in seen if 0 < look.done < len(times)], []
    for rate, a, b in zip(rates, edges, edges[1:], strict=False):
        here = [look for look in busy if a <= look.done <= b] or [min(busy, key=lambda look: abs(look.done - b))]
        median = {key: float(np.median([getattr(look, key) for look in here])) for key in ("memory", "handles")}
        rows.append({"tracks": b + (b == len(times) - 1), "rate": rate, **median})
    warm = [look for look in busy if look.done > 0.1 * len(times)]
    slope = np.polyfit([look.done for look in warm], [look.memory for look in warm], 1)[0] * 1000
    ends = [rows[0], rows[-1]]
    return {
        "tracks": len(times),
        "jobs": jobs,
        "seconds": seconds,
        "rows": rows,
        "pace, last part over first": rates[-1] / rates[0],
        "pace, change in % per 1000 tracks": 1e5 * np.polyfit(edges[1:], rates, 1)[0] / float(np.mean(rates)),
        "memory, MB per 1000 tracks": float(slope),
        "memory, most of all processes": max(look.memory for look in seen),
        "memory, most of the parent": max(look.parent for look in seen),
        "memory, most of a worker": max((max(look.workers, default=0) for look in seen), default=0),
        "handles, last part less first": ends[1]["handles"] - ends[0]["handles"],
        "seen": [asdict(look) for look in seen],
    }


def _bar(value: float, most: float, width: int = 24) -> str:
    return "█" * round(width * value / most)


def tell_many(figures: dict[str, Any]) -> None:
    "Both curves, and what they come to."
    rows = figures["rows"]
    most = {key: max(row[key] for row in rows) for key in ("rate", "memory")}
    print(f"\n{figures['tracks']} tracks, {figures['jobs']} processes, {figures['seconds']:.0f} s")
    print(f"{'tracks':>7} {'a second':>9} {'':24} {'MB':>6} {'':24} {'open files':>10}")
    for row in rows:
        bars = {key: _bar(row[key], most[key]) for key in most}
        print(
            f"{row['tracks']:7} {row['rate']:9.1f} {bars['rate']:24} {row['memory']:6.0f} {bars['memory']:24} "
            f"{row['handles']:10.0f}"
        )
    for key, value in figures.items():
        if "," in key:
            print(f"{key + ':':36} {value:8.2f}")


# ---- a long one ------------------------------------------------------------------------------------------------------


def long(minutes: float) -> dict[str, Any]:
    "Time and memory of one mix."
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "mix.mp3", Path(folder) / "out"
        make_mix(path, minutes)
        seen, seconds = watch(path, out, jobs=0, every=0.05)
        row = pandas.read_parquet(out / "manifest.parquet").iloc[0]
        assert row["status"] == "done" and abs(row["seconds"] / 60 - minutes) < 1, row
        megabytes = path.stat().st_size / 1e6
    return {
        "minutes": float(row["seconds"]) / 60,
        "file, MB": megabytes,
        "seconds": seconds,
        "memory, MB": max(look.memory for look in seen),
    }


def tell_long(rows: list[dict[str, Any]]) -> None:
    print(f"\n{'mix, minutes':>12} {'file, MB':>9} {'seconds':>8} {'memory, MB':>11}")
    for row in rows:
        print(f"{row['minutes']:12.1f} {row['file, MB']:9.0f} {row['seconds']:8.1f} {row['memory, MB']:11.0f}")
    print(f"memory of the longest over that of {rows[1]['minutes']:.0f} minutes: ", end="")
    print(f"{rows[-1]['memory, MB'] / rows[1]['memory, MB']:.2f}")


def draw(figures: dict[str, Any], path: Path) -> None:
    "The curves as a picture."
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    tracks = [row["tracks"] for row in figures["rows"]]
    figure, axes = plt.subplots(3, 1, sharex=True, figsize=(7, 5), layout="constrained")
    for ax, key, unit in zip(
        axes, ("rate", "memory", "handles"), ("tracks a second", "memory (MB)", "open files"), strict=True
    ):
        values = [row[key] for row in figures["rows"]]
        ax.plot(tracks, values, ".-", color="#51127c")
        ax.set(ylabel=unit, ylim=(0, 1.2 * max(values)))
    axes[-1].set_xlabel("tracks drawn")
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--music", type=Path, metavar="FOLDER", help="your files instead of those that it makes")
    parser.add_argument("--tracks", type=int, metavar="N", help="how many it makes; default 2000, short 200; 0: none")
    parser.add_argument("--hours", type=float, metavar="H", help="of the mix, at most 3; default 3, short 1/3; 0: none")
    parser.add_argument("--jobs", type=int, default=psutil.cpu_count(logical=False) or 1, help="default one a core")
    parser.add_argument("--short", action="store_true", help="few tracks and a short mix")
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FILE", help=f"default {RESULTS.name}")
    parser.add_argument("--png", type=Path, metavar="FILE", help="the curves as a picture too")
    options = parser.parse_args()
    tracks = options.tracks if options.tracks is not None else 200 if options.short else 2000
    hours = options.hours if options.hours is not None else 1 / 3 if options.short else 3
    results: dict[str, Any] = {}
    if options.music or tracks:
        results["many"] = many(options.music or make_tracks(tracks), jobs=options.jobs)
        tell_many(results["many"])
        if options.png:
            draw(results["many"], options.png)
    if hours:
        results["long"] = [long(minutes) for minutes in sorted({4.5, 20.0, 60.0 * hours})]
        tell_long(results["long"])
    write_file(options.json, json.dumps(results, indent=1).encode())
    print(f"\nwritten to {options.json}")


if __name__ == "__main__":
    main()
