"""Faults to order: decoders that crash, hang or eat memory, a disk that fails at the N-th write; and what is then left.

A decoder's fault is set off by the content of a file, in every process that `environment` was given to:

    write_track(music / "bad.wav", fault="segfault")
    subprocess.run([SONIC, "render", ...], env=environment())
"""

from __future__ import annotations

import builtins
import errno
import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psutil
import pyarrow.parquet

SONIC = str(Path(sys.executable).with_name("sonic"))
INJECTED = Path(__file__).parent / "injected"
RATE = 22050
# segfault; sigkill, as the kernel does when memory runs out; exit: os._exit(3); raise: RuntimeError;
# hang: sleeps; stuck: computes, and no thread or signal handler runs beside it; memory: takes up to 4 GB.
# Others are "sleep=0.5", after which all is well, and "once-sigkill", which happens once only
FAULTS = ("segfault", "sigkill", "exit", "raise", "hang", "stuck", "memory")


def write_track(
    path: Path,
    number: int = 0,  # another number, another sound
    *,
    seconds: float = 0.5,
    fault: str = "",  # one of `FAULTS`, "sleep=SECONDS", or "once-" and one of them
) -> Path:
    "A WAV of beating tones. With a fault it is as good as without for whoever has not been given `environment`."
    t = np.arange(int(RATE * seconds)) / RATE
    sound = 0.3 * np.sin(2 * np.pi * 110 * 2 ** (number % 60 / 12) * t) * (1 + np.sin((8 + number % 7) * t)) / 2
    noise = np.random.default_rng(number).normal(scale=0.01, size=len(t))
    data = ((sound + noise) * 32767).astype("<i2").tobytes()
    chunks = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    if fault:
        mark = f"SONIC-FAULT:{fault};".encode().ljust(64)
        chunks += b"note" + struct.pack("<I", len(mark)) + mark
    chunks += b"data" + struct.pack("<I", len(data)) + data
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks)
    return path


def environment(
    *,
    log: Path | None = None,  # takes a line for each file of `watch` that is opened; see `openings`
    watch: Path | None = None,  # a folder of music
    once: Path | None = None,  # a folder that remembers which "once-" faults have happened
    full: Path | None = None,  # while this file exists, the disk is full
    slow: float | None = None,  # s that each renaming takes
    tag: str = "",  # by which `processes` finds all that were started with this environment, directly or not
) -> dict[str, str]:
    "The environment of processes in which faults happen."
    paths = [str(INJECTED), os.environ.get("PYTHONPATH", "")]
    more: dict[str, Any] = {
        "SONIC_FAULT_LOG": log,
        "SONIC_FAULT_WATCH": watch,
        "SONIC_FAULT_ONCE": once,
        "SONIC_FAULT_FULL": full,
    }
    more |= {"SONIC_FAULT_SLOW": slow, "SONIC_FAULT_TAG": tag or None}
    given = {name: str(value) for name, value in more.items() if value is not None}
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | given


def openings(
    log: Path,
    *,
    but: int | None = None,  # process id: one that does not count, such as the parent, which reads tags
) -> Counter[str]:
    "How many processes opened a track, by its name below the folder watched."
    lines = log.read_text().splitlines() if log.exists() else []
    return Counter(name for pid, name in {tuple(json.loads(line)) for line in lines} if pid != but)


# ---- what is left ----------------------------------------------------------------------------------------------------


def tree(
    folder: Path,
    *,
    ordered: bool = True,  # whether the order of rows counts
) -> dict[str, str]:  # digest by name
    "All files of an output folder."
    files = sorted(path for path in folder.rglob("*") if not path.is_dir())
    return {str(path.relative_to(folder)): _digest(path, ordered) for path in files}


def _digest(path: Path, ordered: bool) -> str:
    data = path.read_bytes()
    if not ordered and path.suffix == ".parquet":
        rows = pyarrow.parquet.read_table(io.BytesIO(data)).to_pylist()
        data = "\n".join(sorted(json.dumps(row, default=str) for row in rows)).encode()
    elif not ordered and path.suffix == ".jsonl":
        data = b"\n".join(sorted(data.splitlines()))
    return hashlib.sha256(data).hexdigest()


def tree_hash(folder: Path, *, ordered: bool = True) -> str:
    "One digest of all files of an output folder, names and bytes."
    return hashlib.sha256(json.dumps(tree(folder, ordered=ordered)).encode()).hexdigest()


def leftovers(folder: Path) -> list[str]:
    "Temporary and hidden files: a run that is over has none."
    return sorted(name for name in tree(folder) if name.endswith(".tmp") or Path(name).name.startswith("."))


def rows(out: Path) -> dict[str, dict[str, Any]]:
    "The rows of a manifest, by track."
    return {row["track_id"]: row for row in pyarrow.parquet.read_table(out / "manifest.parquet").to_pylist()}


# ---- processes -------------------------------------------------------------------------------------------------------


class Program(subprocess.Popen[bytes]):
    "The program `sonic`, in a process group of its own, as a terminal would start it."

    def __init__(self, *arguments: str | Path, env: dict[str, str]) -> None:
        self.text = tempfile.TemporaryFile()  # no pipe, which workers that outlive it would keep open
        command = [SONIC, *map(str, arguments)]
        super().__init__(command, env=env, stdout=self.text, stderr=self.text, start_new_session=True)

    def said(self, seconds: float = 60) -> str:
        "All that it printed, once it is over, which takes at most so long."
        self.wait(seconds)
        self.text.seek(0)
        return self.text.read().decode()


def processes(tag: str) -> list[psutil.Process]:
    "All that live with that tag in their environment."
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get("SONIC_FAULT_TAG") == tag and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def wait_until(true: Any, seconds: float = 30, *, process: Program | None = None) -> float:
    "Wait for something; how long it took. Fails if it takes longer, or the process ends before."
    begin = time.monotonic()
    while not true():
        assert time.monotonic() - begin < seconds, f"not within {seconds} s"
        assert process is None or process.poll() is None, f"ended too early with {process.returncode}"
        time.sleep(0.01)
    return time.monotonic() - begin


# ---- a disk that fails -----------------------------------------------------------------------------------------------


class Disk:
    """Counts what is done to files below a folder: creating, writing, renaming, syncing.

    The operation number `fails`, and with `for_good` all after it, ends in an error; without an error, in a kill.
    """

    def __init__(
        self, folder: Path, fails: int | None = None, *, error: int | None = errno.ENOSPC, for_good: bool = False
    ):
        self.folder, self.fails, self.error, self.for_good = str(folder), fails, error, for_good
        self.done: list[str] = []  # what was asked for, in order
        self.descriptors: dict[int, str] = {}

    def step(self, what: str, half: Callable[[], Any] = lambda: None) -> None:
        "Count an operation; if it is its turn, do half of it and fail: a disk that fills up takes what still fits."
        self.done.append(what)
        at = len(self.done) - 1
        if self.fails is not None and (at == self.fails or self.for_good and at > self.fails):
            half()
            if self.error is None:
                os._exit(9)
            raise OSError(self.error, os.strerror(self.error), what)

    def has(self, path: Any) -> bool:
        return not isinstance(path, int) and os.path.abspath(os.fsdecode(path)).startswith(self.folder)

    @contextmanager
    def patched(self) -> Iterator[Disk]:
        "Within this process."
        disk, real = self, {"open": builtins.open, "os_open": os.open, "write": os.write, "close": os.close}
        real |= {"fsync": os.fsync, "replace": os.replace, "rename": os.rename}

        class Raw(io.FileIO):
            def write(self, data: Any) -> int:
                name = self.name if isinstance(self.name, str) else disk.descriptors.get(self.name, "")
                whole = bytes(data)
                disk.step(f"write {name}", lambda: super(Raw, self).write(whole[: len(whole) // 2]))
                return super().write(data)

        def fake_open(
            file: Any,
            mode: str = "r",
            buffering: int = -1,
            encoding: Any = None,
            errors: Any = None,
            newline: Any = None,
            closefd: bool = True,
            opener: Any = None,
        ) -> Any:
            ours = disk.has(file) or isinstance(file, int) and file in disk.descriptors
            if not ours or not set(mode) & set("wax+"):
                return real["open"](file, mode, buffering, encoding, errors, newline, closefd, opener)
            if not isinstance(file, int):
                file = os.fsdecode(file)
                disk.step(f"create {file}")
            raw = Raw(file, mode.replace("b", "").replace("t", ""), closefd, opener)
            if buffering == 0:
                return raw
            binary = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            if "b" in mode:
                return binary
            return io.TextIOWrapper(binary, encoding, errors, newline, line_buffering=buffering == 1)

        def fake_os_open(path: Any, flags: int, *args: Any, **more: Any) -> int:
            ours = disk.has(path) and flags & (os.O_WRONLY | os.O_RDWR)
            if ours:
                disk.step(f"create {os.fsdecode(path)}")
            descriptor = real["os_open"](path, flags, *args, **more)
            if ours:
                disk.descriptors[descriptor] = os.fsdecode(path)
            return descriptor

        def fake_close(descriptor: int) -> None:
            disk.descriptors.pop(descriptor, None)
            real["close"](descriptor)

        def fake_write(descriptor: int, data: Any) -> int:
            if descriptor in disk.descriptors:
                half = bytes(data)[: len(data) // 2]
                disk.step(f"write {disk.descriptors[descriptor]}", lambda: real["write"](descriptor, half))
            return real["write"](descriptor, data)

        def fake_fsync(descriptor: Any) -> None:
            disk.step("fsync")
            real["fsync"](descriptor)

        def renaming(name: str) -> Any:
            def fake(source: Any, target: Any, **more: Any) -> None:
                if disk.has(target):
                    disk.step(f"rename {os.fsdecode(target)}")
                real[name](source, target, **more)

            return fake

        patches = [(builtins, "open", fake_open), (io, "open", fake_open), (os, "open", fake_os_open)]
        patches += [(os, "close", fake_close), (os, "write", fake_write), (os, "fsync", fake_fsync)]
        patches += [(os, "replace", renaming("replace")), (os, "rename", renaming("rename"))]
        with ExitStack() as stack:
            for module, name, fake in patches:
                stack.enter_context(mock.patch.object(module, name, fake))
            yield self
