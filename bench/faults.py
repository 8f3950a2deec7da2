"""Whether `sonic render` loses or repeats anything when it is killed again and again, and some of the music is poison.

python bench/faults.py                             1,000 tracks, 3 % of them poison, killed 20 times: three minutes
python bench/faults.py --tracks 100 --kills 5      less of it
python bench/faults.py --jobs 4 --seed 7           four workers, other poison, other moments
python bench/faults.py --scan 100000               how long it takes to see that 100,000 tracks are finished

The tracks last a second. Poison is bad files of every kind that the tests know (`tests/poison.py`), and decoders that
segfault, are killed, leave, raise, hang, compute for ever, or take all memory (`tests/injection.py`): one of each at
least, if that is no more than every tenth track. The command is killed with SIGKILL at moments drawn by the seed, and
started again at once, while its workers may still be dying, until it has been killed as often as asked for; then it
may finish. What it leaves is compared with what a run leaves that nobody disturbed.

A track is redone if a worker opened it although the run before had entered it in its journal. The tracks that were
being drawn when the run was killed are counted apart. The exit code is 1 if anything was lost, redone or left behind.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from injection import (  # noqa: E402
    FAULTS,
    Program,
    environment,
    leftovers,
    openings,
    processes,
    rows,
    tree,
    tree_hash,
    write_track,
)
from poison import POISON, make_poison  # noqa: E402

from sonic.files import write_file  # noqa: E402
from sonic.journal import open_journal, read_journal  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "faults.json"
LIMITS = ["--set", "limits.deadline=5", "--set", "limits.memory=1", "--set", "limits.hours=0.05"]
OPTIONS = ["-q", "--size", "32x24", *LIMITS]
PATIENCE = 5.0  # s that workers may outlive their parent
SCAN = 5.0  # s that it may take to see that 100,000 tracks are finished

# ---- the files -------------------------------------------------------------------------------------------------------


def make_music(folder: Path, tracks: int, *, poison: float, seed: int) -> dict[str, int]:
    "A folder of that many files; how many there are of each kind."
    random = np.random.default_rng(seed)
    kinds = [*FAULTS, *random.permutation([*POISON])]
    count = round(poison * tracks)
    if poison and 10 * len(kinds) <= tracks:
        count = max(count, len(kinds))
    bad = random.choice(tracks, size=min(count, tracks), replace=False)
    chosen = {int(number): str(kinds[at % len(kinds)]) for at, number in enumerate(bad)}
    for number in range(tracks):
        kind = chosen.get(number, "")
        if kind in POISON:
            make_poison(kind, folder / f"{number:04}.{POISON[kind].suffix}", seed=number)
        else:
            write_track(folder / f"{number:04}.wav", number, seconds=1.0, fault=kind)
    return dict(Counter(chosen.get(number, "music") for number in range(tracks)).most_common())


# ---- one run ---------------------------------------------------------------------------------------------------------


@dataclass
class Killed:
    "A command that was killed, and what of it lives on."

    tag: str
    at: float  # s, monotonic
    pids: list[int]  # of its workers
    outlived: float = 0.0  # s, the last of them
    orphans: int | None = None  # processes alive when patience ended; none: not yet over

    def look(self) -> None:
        "See who is still there."
        spent = time.monotonic() - self.at
        if self.orphans is None:
            if any(_lives(pid, self.tag) for pid in self.pids):
                self.outlived = spent
            if spent >= PATIENCE:
                left = processes(self.tag)
                self.orphans = len(left)
                for process in left:
                    with suppress(psutil.Error):
                        process.kill()


def _lives(pid: int, tag: str) -> bool:
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.environ().get("SONIC_FAULT_TAG") == tag
    except (psutil.Error, OSError):
        return False


@dataclass
class Tally:
    "What has been counted over all runs."

    kills: int = 0
    redone: int = 0
    in_flight: int = 0
    again: int = 0  # tracks opened by two workers of one run: the culprits of a crash, and those that were lost with it
    torn: int = 0  # lines of the journal
    killed: list[Killed] = field(default_factory=list)


def _finished(out: Path) -> set[str]:
    "The tracks that a run has entered."
    done = set(rows(out)) if (out / "manifest.parquet").exists() else set()
    return done | {row["track_id"] for row in read_journal(out / ".journal.jsonl")[0]}


class Run:
    "One command at work."

    def __init__(self, music: Path, out: Path, log: Path, *, jobs: int):
        self.log, self.seen, self.names = log, 0, set[str]()
        self.tag = f"bench-{os.getpid()}-{log.stem}"
        env = environment(log=log, watch=music, tag=self.tag)
        self.process = Program("render", music, out, "-j", str(jobs), *OPTIONS, env=env)

    def begun(self) -> set[str]:
        "The tracks that workers have opened."
        if self.log.exists() and self.log.stat().st_size != self.seen:
            self.seen = self.log.stat().st_size
            self.names = set(openings(self.log, but=self.process.pid))
        return self.names

    def kill(self) -> Killed:
        pids = [child.pid for child in psutil.Process(self.process.pid).children(recursive=True)]
        self.process.kill()
        self.process.wait()
        return Killed(self.tag, time.monotonic(), pids)


def tormented(
    music: Path, out: Path, work: Path, *, tracks: int, kills: int, jobs: int, seed: int
) -> tuple[int, Tally]:
    "Render, with so many kills; the exit code of the run that finished, and what was counted."
    random, tally = np.random.default_rng(seed), Tally()
    marks = [*np.sort(random.integers(0, int(0.95 * tracks), kills)), None]
    finished, runs = set[str](), list[tuple[Run, set[str]]]()
    for number, mark in enumerate(marks):
        run = Run(music, out, work / f"run{number:02}.log", jobs=jobs)
        over = mark is not None and len(finished) >= mark  # before it has drawn anything
        delay = random.uniform(0, 3 if over else 0.3)
        until = time.monotonic() + delay if over else None
        while run.process.poll() is None:
            time.sleep(0.01)
            for killed in tally.killed:
                killed.look()
            if mark is not None and until is None and len(finished | run.begun()) > mark:
                until = time.monotonic() + delay
            if until is not None and time.monotonic() >= until:
                tally.killed.append(run.kill())
                tally.kills += 1
        before, finished = finished, _finished(out)
        runs.append((run, before))
        tally.torn += read_journal(out / ".journal.jsonl")[1]
        if run.process.returncode not in (-9, 0, 3):
            sys.exit(f"sonic render ended with {run.process.returncode}: {run.process.said()}")
    while any(killed.orphans is None for killed in tally.killed):
        time.sleep(0.05)
        for killed in tally.killed:
            killed.look()
    for at, (run, before) in enumerate(runs):
        begun, after = openings(run.log, but=run.process.pid), (*runs, (run, finished))[at + 1][1]
        tally.redone += len(before & begun.keys())
        tally.in_flight += len(begun.keys() - after)
        tally.again += sum(count > 1 for count in begun.values())
    return run.process.returncode, tally


def faults(music: Path, work: Path, *, tracks: int, kills: int, jobs: int, seed: int) -> dict[str, Any]:
    "All figures."
    begin = time.monotonic()
    calm = Run(music, work / "calm", work / "calm.log", jobs=jobs)
    code = calm.process.wait()
    if code not in (0, 3):
        sys.exit(f"sonic render ended with {code}: {calm.process.said()}")
    middle = time.monotonic()
    out = work / "out"
    code, tally = tormented(music, out, work, tracks=tracks, kills=kills, jobs=jobs, seed=seed)
    table = rows(out)
    one, other = tree(work / "calm"), tree(out)
    status = Counter(row["status"] for row in table.values())
    reasons = {row["status"] + ": " + row["reason"] for row in table.values() if row["status"] != "done"}
    return {
        "tracks in": tracks,
        "rows": len(table),
        "rows by status": dict(status.most_common()),
        "exit code": code,
        "kills": tally.kills,
        "redone": tally.redone,
        "in flight at a kill": tally.in_flight,
        "begun twice in one run": tally.again,
        "torn lines of the journal": tally.torn,
        "orphans": sum(killed.orphans or 0 for killed in tally.killed),
        "seconds that workers outlived a kill": max((killed.outlived for killed in tally.killed), default=0.0),
        "temporary files": leftovers(out) + leftovers(work / "calm"),
        "tree equal": one == other,
        "differing files": sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name)),
        "tree": tree_hash(out),
        "seconds, undisturbed": middle - begin,
        "seconds, killed": time.monotonic() - middle,
        "reasons": sorted(reasons),
    }


# ---- 100,000 finished tracks -----------------------------------------------------------------------------------------


def make_finished(work: Path, tracks: int) -> tuple[Path, Path]:
    "Music and pictures of so many finished tracks: all alike, as links to a few files, in folders of a thousand."
    import pyarrow
    import pyarrow.parquet as parquet

    from sonic.files import file_stem

    music, out, first = work / "music", work / "out", work / "first"
    track = write_track(first / "0.wav", seconds=0.5)
    env = environment()
    if Program("render", first, out, *OPTIONS, env=env).wait():
        sys.exit("the first track could not be drawn")
    manifest = parquet.read_table(out / "manifest.parquet")
    [row] = manifest.to_pylist()
    views = ("mel", "chroma", "fft", "tempogram")
    ids = [f"{number // 1000:03}/{number:06}.wav" for number in range(tracks)]
    pictures = {view: [f"{view}/{file_stem(name)}{Path(row[view]).suffix}" for name in ids] for view in views}
    stat = track.stat()
    for view in views:
        source = out / row[view]
        for number, name in enumerate(pictures[view]):
            if number % 1000 == 0:
                here = out / name
                here.write_bytes(source.read_bytes())
            else:
                os.link(here, out / name)
        source.unlink()
    for number, name in enumerate(ids):
        if number % 1000 == 0:
            here = music / name
            here.parent.mkdir(parents=True)
            here.write_bytes(track.read_bytes())
            os.utime(here, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
        else:
            os.link(here, music / name)
    columns = {name: [row[name]] * tracks for name in manifest.column_names}
    columns |= pictures | {"track_id": ids, "path": [str(music / name) for name in ids]}
    table = pyarrow.table({name: pyarrow.array(columns[name], manifest.schema.field(name).type) for name in columns})
    parquet.write_table(table.replace_schema_metadata(manifest.schema.metadata), out / "manifest.parquet")
    return music, out


PARTS = {  # of `sonic.cream.render`
    "open_collection": "find the music, read its tags",
    "_rehearse": "try the settings",
    "read_rows": "read the manifest",
    "plan": "compare with what is there",
    "_write": "write the manifest",
}
TIMED = """
import json, sys, time
start = time.perf_counter()
import sonic.cream.render as module
spent = {"import": time.perf_counter() - start}
def timed(name, function):
    def wrapped(*arguments, **more):
        start = time.perf_counter()
        try:
            return function(*arguments, **more)
        finally:
            spent[name] = spent.get(name, 0) + time.perf_counter() - start
    return wrapped
music, out, *names = sys.argv[1:]
for name in names:
    setattr(module, name, timed(name, getattr(module, name)))
start, cpu = time.perf_counter(), time.process_time()
manifest = module.render(music, out, progress=False, **{"picture.width": 32, "picture.height": 24})
spent |= {"render": time.perf_counter() - start, "cpu": time.process_time() - cpu}
print(json.dumps(spent | {"drawn": manifest.attrs["drawn"], "rows": len(manifest)}))
"""


def scan(work: Path, tracks: int) -> dict[str, Any]:
    "How long it takes to see that all is done, after a run that was finished and after one that was killed at its end."
    begin = time.monotonic()
    music, out = make_finished(work, tracks)
    made = time.monotonic() - begin
    found: dict[str, Any] = {"tracks": tracks, "seconds to make them": made}
    table = rows(out)
    for state in ("manifest", "journal"):
        if state == "journal":
            (out / "manifest.parquet").unlink()
            with open_journal(out / ".journal.jsonl") as write:
                for row in table.values():
                    write(row)
        command = [sys.executable, "-c", TIMED, str(music), str(out), *PARTS]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found[state] = json.loads(said)
    return found


def tell_scan(figures: dict[str, Any]) -> list[str]:
    "What took how long; what was not as it should be."
    states = ("manifest", "journal")
    print(f"{figures['tracks']} finished tracks{'':18} after a manifest   after a journal   (seconds)")
    for name, what in {
        "import": "import sonic",
        **PARTS,
        "render": "all but the import",
        "cpu": "of that on the processor",
    }.items():
        print(f"{what:42} {figures[states[0]].get(name, 0):9.2f} {figures[states[1]].get(name, 0):17.2f}")
    missed = []
    for state in states:
        scanned = figures[state]["render"] - figures[state].get("_write", 0)
        if figures[state]["drawn"] or figures[state]["rows"] != figures["tracks"]:
            missed.append(f"{figures[state]['drawn']} drawn, {figures[state]['rows']} rows")
        if scanned > SCAN:
            missed.append(f"after a {state} {scanned:.1f} s before the writing, more than {SCAN:g} s")
    print(*(f"MISSED: {line}" for line in missed), sep="\n")
    return missed


def tell_faults(figures: dict[str, Any]) -> list[str]:
    "The figures, and the goals that were missed."
    for name, value in figures.items():
        if name not in ("kinds", "reasons", "differing files"):
            print(f"{name:38} {f'{value:.1f}' if isinstance(value, float) else value}")
    print(*(f"    {reason}" for reason in figures["reasons"]), sep="\n")
    missed = [name for name in ("redone", "orphans") if figures[name]]
    missed += [name for name in ("temporary files",) if figures[name]]
    missed += ["rows"] * (figures["rows"] != figures["tracks in"])
    missed += ["tree"] * (not figures["tree equal"])
    print(*(f"MISSED: {name}" for name in missed), sep="\n")
    print(*figures["differing files"][:10], sep="\n")
    return missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=1000, metavar="N", help="default 1000")
    parser.add_argument("--kills", type=int, default=20, metavar="N", help="default 20")
    parser.add_argument(
        "--poison", type=float, default=0.03, metavar="PART", help="of the tracks; default 0.03, and one of every kind"
    )
    parser.add_argument("--jobs", type=int, default=psutil.cpu_count(logical=False) or 1, help="default one a core")
    parser.add_argument("--seed", type=int, default=0, help="other poison, other moments")
    parser.add_argument("--scan", type=int, metavar="N", help="so many finished tracks, and no kills")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FILE", help=f"default {RESULTS.name}")
    options = parser.parse_args()
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        if options.scan:
            results["scan"] = scan(Path(folder), options.scan)
            missed = tell_scan(results["scan"])
        else:
            music, more = Path(folder) / "music", {"tracks": options.tracks, "seed": options.seed}
            kinds = make_music(music, poison=options.poison, **more)
            figures = faults(music, Path(folder), kills=options.kills, jobs=options.jobs, **more)
            results["faults"] = {
                "jobs": options.jobs,
                "seed": options.seed,
                "kinds": kinds,
            } | figures
            missed = tell_faults(results["faults"])
    write_file(options.out, json.dumps(results, indent=1).encode())
    print(f"\nwritten to {options.out}")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
