"""How bench/render.py measures: contenders in processes that stay, in rounds; and whole commands."""

from __future__ import annotations

import gc
import importlib.util
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any

from render_rival import CONTENDERS

SECONDS = 30  # of sound: what is called a track
Figures = dict[str, dict[str, list[float]]]  # a number a round, by who or what, and which

# ---- a process that stays --------------------------------------------------------------------------------------------


def peak_memory(pid: int | str) -> float:
    "MB that a process has had at most; 0 where the system does not tell."
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1000
    except (OSError, IndexError):
        return 0.0


def serve(pipe: Any, barrier: Any) -> None:
    "Do what is asked, and send the seconds: CPU, clock."
    works: dict[str, Any] = {}
    while order := pipe.recv():
        name, files, together = order
        if name == "memory":
            pipe.send(peak_memory("self"))
            continue
        try:
            work = works[name] = works.get(name) or CONTENDERS[name].make()
            given = work.ready(files)
            with tempfile.TemporaryDirectory() as out:
                gc.collect()
                if together:
                    barrier.wait(60)
                clock, cpu = perf_counter(), process_time()
                work.run(given, Path(out))
                pipe.send((process_time() - cpu, perf_counter() - clock))
        except Exception as error:
            if together:
                barrier.abort()
            pipe.send(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


class Pair:
    "Two processes for the contenders of one family."

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        ends, self.barrier = [context.Pipe() for _ in range(2)], context.Barrier(2)
        self.pipes = [own for own, _ in ends]
        self.processes = [context.Process(target=serve, args=(end, self.barrier), daemon=True) for _, end in ends]
        for process in self.processes:
            process.start()
        for _, end in ends:
            end.close()  # so that a process that dies is noticed

    def ask(self, name: str, files: list[str], processes: int, *, together: bool) -> list[Any]:
        for pipe in self.pipes[:processes]:
            pipe.send((name, files, together))
        return [pipe.recv() for pipe in self.pipes[:processes]]

    def close(self) -> None:
        for pipe in self.pipes:
            pipe.send(None)
        for process in self.processes:
            process.join()


# ---- rounds ----------------------------------------------------------------------------------------------------------


def compete(names: list[str], files: list[str], *, rounds: int) -> tuple[Figures, dict[str, float], dict[str, str]]:
    "Seconds for 30 s of sound; MB by family; why some did not take part."
    import soundfile

    lengths = {file: soundfile.info(file).duration for file in files}
    absent: dict[str, str] = {}
    pairs: dict[str, Pair] = {}
    for name in names:
        missing = [module for module in CONTENDERS[name].needs if not importlib.util.find_spec(module)]
        if missing:
            absent[name] = f"{', '.join(missing)} not installed"
            continue
        if CONTENDERS[name].family not in pairs:
            pairs[CONTENDERS[name].family] = Pair()
        told = pairs[CONTENDERS[name].family].ask(name, files[:1], 2, together=False)  # import, compile, fill caches
        if faults := [each for each in told if isinstance(each, str)]:
            absent[name] = faults[0]
    kinds = ("cpu 1", "cpu 2", "wall 1", "wall 2")  # and the number of processes
    figures: Figures = {name: {kind: [] for kind in kinds} for name in names if name not in absent}
    for turn in range(rounds):
        start = perf_counter()
        for name, found in figures.items():
            contender = CONTENDERS[name]
            some = [files[(turn * 3 + 2) % len(files)]] if contender.few else files
            some = some * math.ceil(contender.tracks / len(some))
            tracks = sum(lengths[file] for file in some) / SECONDS
            for processes in (1,) if contender.alone else (1, 2):
                told = pairs[contender.family].ask(name, some, processes, together=processes > 1)
                if fault := [each for each in told if isinstance(each, str)]:
                    sys.exit(f"{contender.label}: {fault[0]}")
                found[f"cpu {processes}"].append(sum(cpu for cpu, _ in told) / tracks / processes)
                found[f"wall {processes}"].append(max(wall for _, wall in told) / tracks / processes)
        print(f"round {turn + 1} of {rounds}: {perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    peaks = {family: max(pair.ask("memory", [], 2, together=False)) for family, pair in pairs.items()}
    for pair in pairs.values():
        pair.close()
    return figures, {family: peak for family, peak in peaks.items() if peak}, absent


# ---- whole commands --------------------------------------------------------------------------------------------------

RIVAL = Path(__file__).with_name("render_rival.py")
SONIC = [sys.executable, "-c", "from sonic.cli import main; main()"]


def spend(command: list[str], watch: Callable[[int], None] | None = None, **environment: str) -> tuple[float, float]:
    "Seconds that a command takes: CPU, with its own processes, and clock."
    start, before = perf_counter(), os.times()
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "env": os.environ | environment}
    with subprocess.Popen(command, **quiet) as process:
        while watch and process.poll() is None:
            watch(process.pid)
            sleep(0.1)
        _, told = process.communicate()
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed: {told.decode()[-2000:]}")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, perf_counter() - start


def many(files: list[str], *, tracks: int, rounds: int) -> Figures:
    "`sonic render` of many tracks in one process and with two workers, s; then the most memory of a worker, MB."
    import psutil

    found: dict[str, list[float]] = {"jobs 0": [], "jobs 2": []}  # 0: in the program itself
    peaks = [0.0]

    def watch(pid: int) -> None:
        peaks.extend(peak_memory(child.pid) for child in psutil.Process(pid).children())

    with tempfile.TemporaryDirectory() as folder:
        rows = [f'{number},"{files[number % len(files)]}"' for number in range(tracks)]
        table = Path(folder, "tracks.csv")
        table.write_text("\n".join(["track_id,path", *rows]), encoding="utf-8")
        command = [*SONIC, "render", str(table), "--quiet", "--jobs"]
        for turn in range(rounds):
            for jobs in (0, 2):
                found[f"jobs {jobs}"].append(spend([*command, str(jobs), f"{folder}/{turn}-{jobs}"])[1])
        spend([*command, "2", f"{folder}/watched"], watch)  # by itself, since watching takes time
    return {"command": found | ({"worker MB": [max(peaks)]} if max(peaks) else {})}


def cold(file: str, *, rounds: int) -> Figures:
    "A new process, s: its pictures with compiled kernels that were kept, and with none; its help."
    found: dict[str, list[float]] = {}
    for turn in range(rounds + 1):  # the first warms the disk
        with tempfile.TemporaryDirectory() as folder:
            ours = [*SONIC, "render", file, "--quiet"]
            theirs, kernels = [sys.executable, str(RIVAL), file, folder], f"{folder}/kernels"
            seconds = {
                "sonic": spend([*ours, f"{folder}/kept"]),
                "librosa": spend(theirs),
                "help": spend([*SONIC, "--help"]),
                "sonic, empty cache": spend([*ours, f"{folder}/empty"], SONIC_CACHE=kernels, NUMBA_CACHE_DIR=""),
                "librosa, empty cache": spend(theirs, NUMBA_CACHE_DIR=kernels),
            }
        for name, (cpu, clock) in seconds.items() if turn else ():
            found.setdefault(name, []).append(clock)
            found.setdefault(f"{name}, CPU", []).append(cpu)
    return {"cold": found}
