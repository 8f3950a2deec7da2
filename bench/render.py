"""What rendering costs, beside decoding alone and beside what one would write with other libraries; SONIC's goals.

python bench/render.py                        everything, on files that it makes itself: eight minutes
python bench/render.py --short                the same with few files and rounds: two or three
python bench/render.py --music FOLDER         on your music: whole files, figures for 30 seconds of sound
python bench/render.py --only decode png      a few contenders (the names of render_rival.py; also: command, cold)

Every round runs each contender once over the same files, in turn: in one process, then in two that start together.
Processes are warm and stay; each has one thread and the libraries of one family of contenders. Ratios are medians of
each round's ratio, with the lowest and the highest round: for one process of CPU time, since the machine may be busy,
for two of time on the clock. Then whole commands: `sonic render` of many tracks, with the start of its pool and the
memory of its workers, and from a cold start of one. Essentia, audioFlux and torchaudio take part where installed.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)

import argparse
import json
import platform
import statistics
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import repeat
from pathlib import Path
from typing import Any

from render_rival import CONTENDERS, HEIGHT, WIDTH
from render_rounds import SECONDS, Figures, cold, compete, many

RESULTS = Path(__file__).parent / "results" / "render.json"
RATES = {128: 0.65, 160: 0.55, 192: 0.45, 256: 0.2, 320: 0.0}  # kbps, and what libsndfile calls it
LIBRARIES = (
    "numpy scipy numba soundfile soxr opencv-python-headless librosa matplotlib torch torchaudio essentia audioflux"
)

# ---- the files -------------------------------------------------------------------------------------------------------


def make_music(folder: Path, *, each: int) -> list[str]:
    "Songs of 30 seconds, stereo, 44.1 kHz, MP3, so many of each bitrate; those that are there stay."
    import soundfile

    from sonic.cream.artists import plan
    from sonic.cream.music import VERSION, synthesise

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, song in enumerate(plan(each * len(RATES))):
        rate = list(RATES)[number % len(RATES)]
        path = folder / f"{VERSION}-{each}-{number:02}-{rate}.mp3"
        if not path.exists():
            how = {"compression_level": RATES[rate], "bitrate_mode": "CONSTANT"}
            partial = path.with_suffix(".part")
            with soundfile.SoundFile(partial, "w", 44100, 2, "MPEG_LAYER_III", format="MP3", **how) as file:
                file.write(synthesise(song))
            assert abs(partial.stat().st_size * 8 / SECONDS / 1000 / rate - 1) < 0.03, "not the bitrate asked for"
            partial.replace(path)
        paths.append(str(path))
    return paths


# ---- what came out ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ratio:
    "The median of the rounds, the lowest and the highest."

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:6.2f} ({self.low:.2f} to {self.high:.2f})"


def ratio(above: list[float], below: list[float] | None = None) -> Ratio:
    each = [a / b for a, b in zip(above, below or repeat(1.0))]  # noqa: B905 - repeat has no end
    return Ratio(statistics.median(each), min(each), max(each))


GOALS = [  # what, the bar, and two measurements: the first over the second is at least (>) or at most (<) the bar
    ("PNG: times the librosa script", ">", 3.5, "script-png:cpu 1", "png:cpu 1"),
    ("JPEG: times the librosa script", ">", 3.5, "script-jpeg:cpu 1", "jpeg:cpu 1"),
    ("PNG, two processes: times the librosa script", ">", 3.5, "script-png:wall 2", "png:wall 2"),
    ("JPEG, two processes: times the librosa script", ">", 3.5, "script-jpeg:wall 2", "jpeg:wall 2"),
    ("PNG: cost, in decodings", "<", 1.7, "png:cpu 1", "decode:cpu 1"),
    ("times the original's way", ">", 45, "original:cpu 1", "png:cpu 1"),
    ("chroma_cqt: times the librosa script with it", ">", 3.5, "script-cqt:cpu 1", "cqt:cpu 1"),
    ("two warm processes: times one", ">", 1.85, "png:wall 1", "png:wall 2"),
    ("... CPU time of a track alone: beside another", ">", 1.85 / 2, "png:cpu 1", "png:cpu 2"),  # were the cores free
    ("the whole command with two processes: times one", ">", 1.85, "command:jobs 0", "command:jobs 2"),
    ("views without decoding: times librosa's four calls", ">", 9, "calls:cpu 1", "views:cpu 1"),
    ("peak memory of a worker, MB", "<", 300, "command:worker MB", ""),
    ("cold start: share of the librosa script's time", "<", 1, "cold:sonic", "cold:librosa"),
    ("... of its CPU time", "<", 1, "cold:sonic, CPU", "cold:librosa, CPU"),
    (
        "... of its CPU time, both with empty caches",
        "<",
        1,
        "cold:sonic, empty cache, CPU",
        "cold:librosa, empty cache, CPU",
    ),
    ("sonic --help, s", "<", 0.5, "cold:help", ""),
]


def goals(figures: Figures) -> list[dict[str, Any]]:
    "What was to be reached, and what was, as far as it was measured."
    found = []
    for what, side, bar, above, below in GOALS:
        names = [where.split(":") for where in (above, below) if where]
        lists = [figures.get(name, {}).get(kind, []) for name, kind in names]
        if all(lists):
            reached = ratio(*lists)
            met = reached.median >= bar if side == ">" else reached.median <= bar
            found.append({"goal": what, "bar": f"{'≥≤'[side == '<']} {bar:g}", **asdict(reached), "met": met})
    return found


def standings(figures: Figures) -> list[dict[str, Any]]:
    "A row a contender."
    rows = []
    for name, found in figures.items():
        if name not in CONTENDERS:
            continue
        row: dict[str, Any] = {
            "name": name,
            "label": CONTENDERS[name].label,
            "ms": 1000 * statistics.median(found["cpu 1"]),
        }
        for column, other, kind in (("decodings", "decode", "cpu 1"), ("script", "script-png", "wall 2")):
            if other in figures and found[kind]:
                pair = (found[kind], figures[other][kind])
                row[column] = asdict(ratio(*(pair if column == "decodings" else pair[::-1])))
        if found["wall 2"]:
            row["tracks/s"] = 1 / statistics.median(found["wall 2"])
        rows.append(row)
    return rows


def machine() -> dict[str, Any]:
    "Where this was measured, and with what."
    found: dict[str, Any] = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        found["processor"] = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        found["processor"] = platform.processor() or platform.machine()
    for name in ("sonic-recsys", *LIBRARIES.split()):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def show(told: dict[str, Any]) -> None:
    "The tables."
    print(f"{told['files']}, {told['rounds']} rounds; {told['machine']['processor']}, {told['machine']['cores']} cores")
    print(f"four pictures of {WIDTH} x {HEIGHT} for 30 s of sound; ratios: median of the rounds (lowest to highest)\n")
    if told["contenders"]:
        print(f"{'':34}{'one process, CPU time':34}two processes, on the clock")
        print(f"{'':34}{'ms':>8}{'x decoding':>24}  {'tracks/s':>10}{'x librosa script, PNG':>26}")
    for row in told["contenders"]:
        cells = [str(Ratio(**row[name])) if name in row else "" for name in ("decodings", "script")]
        rate = f"{row['tracks/s']:.1f}" if "tracks/s" in row else ""
        print(f"{row['label']:34}{row['ms']:8.1f}{cells[0]:>24}  {rate:>10}{cells[1]:>26}")
    for name, why in told["absent"].items():
        print(f"{CONTENDERS[name].label:34} left out: {why}")
    for name, found in told["commands"].items():
        print(f"\n{name}: " + ", ".join(f"{what} {value:.2f}" for what, value in found.items()))
    if told["memory"]:
        print("\nmost memory of a process, MB: " + ", ".join(f"{k} {v:.0f}" for k, v in told["memory"].items()))
    print(f"\n{'goal':54}{'bar':>8}  {'measured':26}met")
    for row in told["goals"]:
        reached = Ratio(row["median"], row["low"], row["high"])
        print(f"{row['goal']:54}{row['bar']:>8}  {str(reached):26}{'yes' if row['met'] else 'no'}")


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--music", metavar="FOLDER", help="your files instead of those that it makes")
    parser.add_argument("--files", type=int, metavar="N", help="how many; default 10, short 5")
    parser.add_argument("--rounds", type=int, metavar="N", help="default 5, short 2")
    parser.add_argument("--tracks", type=int, metavar="N", help="of the whole command; default 300, short 100")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=[*CONTENDERS, "command", "cold"], help="what to run"
    )
    parser.add_argument("--short", action="store_true", help="few files and rounds")
    parser.add_argument(
        "--json", default=str(RESULTS), metavar="FILE", help="where all figures go; bench/results/ if not given"
    )
    parser.add_argument("--brief", action="store_true", help="leave the single rounds out of it")
    given = parser.parse_args(arguments)
    count, rounds, tracks = (5, 2, 100) if given.short else (10, 5, 300)
    count, rounds, tracks = given.files or count, given.rounds or rounds, given.tracks or tracks
    only = given.only or [*CONTENDERS, "command", "cold"]
    if given.music:
        from sonic.cream.layouts import open_collection

        files = list(open_collection(given.music)["path"])
        files = files[:: max(1, len(files) // count)][:count]
    else:
        from sonic.files import user_cache

        files = make_music(user_cache("bench"), each=max(1, count // len(RATES)))
    figures, memory, absent = compete([name for name in CONTENDERS if name in only], files, rounds=rounds)
    figures |= many(files, tracks=tracks, rounds=min(rounds, 3)) if "command" in only else {}
    figures |= cold(files[len(files) // 2], rounds=rounds) if "cold" in only else {}
    told = {
        "machine": machine(),
        "files": f"{len(files)} files" + ("" if given.music else " of 30 s, MP3 of 128 to 320 kbps"),
        "rounds": rounds,
        "contenders": standings(figures),
        "absent": absent,
        "memory": memory,
        "commands": {
            name: {what: statistics.median(each) for what, each in figures[name].items()}
            for name in ("command", "cold")
            if name in figures
        },
        "goals": goals(figures),
    }
    told |= {} if given.brief else {"figures": figures}  # seconds (and MB), every round
    show(told)
    Path(given.json).parent.mkdir(parents=True, exist_ok=True)
    Path(given.json).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return told


if __name__ == "__main__":
    main()
