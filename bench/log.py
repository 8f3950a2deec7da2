"""A long listening history: read, and added up.

python bench/log.py [MILLIONS ...]      default 2 8; takes some minutes

Rows like those of Music4All-Onion, as text with tabs: 2,100 plays a user, five of each track that a user knows. Each
step runs in a process of its own, whose highest memory counts, Python and libraries included; CPU seconds are those of
all threads together. The peer reads the same file with pandas and groups it, which is what one would write. The file is
also read packed with bzip2, as it is published.
"""

from __future__ import annotations

import bz2
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

PLAYS, KNOWN, TRACKS, BEGIN, YEARS = 2100, 420, 56512, 1262304000, 10
STEPS = ("read", "read packed", "plays", "plays of a month", "pandas")


def write(path: Path, rows: int) -> None:
    "A history as text, a million rows at a time."
    import pyarrow as pa
    import pyarrow.csv

    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        file.write(b"user_id\ttrack_id\ttimestamp\n")
        for start in range(0, rows, 10**6):
            user = rng.integers(0, max(rows // PLAYS, 1), min(10**6, rows - start))
            known = (KNOWN * rng.random(len(user)) ** 2).astype(np.int64)
            track = (user * 7919 + known * 104729 + known**2) % TRACKS
            when = BEGIN + rng.integers(0, YEARS * 365 * 86400, len(user))
            ids = pa.array(np.char.add("track0000000", track.astype(str)))
            table = pa.table({"user": user, "track": ids, "when": when.astype("datetime64[s]")})
            options = pa.csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
            pa.csv.write_csv(table, file, options)


def step(name: str, folder: Path) -> int:
    "One step; returns how many rows or pairs came out."
    if name == "pandas":
        import pandas as pd

        frame = pd.read_csv(folder / "log.tsv", sep="\t", dtype={"user_id": str}, parse_dates=["timestamp"])
        return len(frame.groupby(["user_id", "track_id"])["timestamp"].agg(["size", "min", "max"]))
    from sonic.rouge.log import open_log
    from sonic.rouge.sources import read_log

    if name == "read packed":
        return len(read_log(folder / "log.tsv.bz2", out=folder / "packed.parquet"))
    if name == "read":
        return len(read_log(folder / "log.tsv", out=folder / "log.parquet"))
    middle = BEGIN + 5 * 365 * 86400
    month = {"since": middle, "until": middle + 30 * 86400} if name == "plays of a month" else {}
    return len(open_log(folder / "log.parquet").plays(**month))


def highest() -> float:
    "The most memory that this process ever held, in MB."
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


def main() -> None:
    print(f"{'rows':>12}  {'step':18}{'s':>8}{'CPU s':>8}{'rows/CPU s':>12}{'MB':>8}   came out")
    for millions in map(float, sys.argv[1:] or ("2", "8")):
        rows = int(millions * 10**6)
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder) / "log.tsv"
            write(plain, rows)
            with plain.open("rb") as file, bz2.open(f"{plain}.bz2", "wb", compresslevel=9) as packed:
                while block := file.read(1 << 20):
                    packed.write(block)
            for name in STEPS:
                done = subprocess.run(
                    [sys.executable, __file__, "--step", name, folder], capture_output=True, text=True
                )
                if done.returncode:
                    raise SystemExit(done.stderr)
                seconds, busy, memory, out = json.loads(done.stdout)
                print(
                    f"{rows:12,}  {name:18}{seconds:8.1f}{busy:8.1f}{rows / busy:12,.0f}{memory:8.0f}   {out:,}",
                    flush=True,
                )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        start = perf_counter()
        came = step(sys.argv[2], Path(sys.argv[3]))
        print(json.dumps([perf_counter() - start, process_time(), highest(), came]))
    else:
        main()
