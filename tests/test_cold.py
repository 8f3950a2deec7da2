"A cold start: nothing heavy is imported, kernels are compiled once on a machine, and without a cache it goes as well."

from __future__ import annotations

import os
import pty
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sonic import Config
from sonic.cream import jobs, long
from sonic.cream.track import Track, render_track
from sonic.cream.views import VIEWS

HEAVY = {"torch", "librosa", "matplotlib", "scipy.signal", "pandas", "rich"}
SMALL = {"picture.width": 64, "picture.height": 48}


def write_music(folder: Path, count: int) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    t = np.arange(44100) / 22050
    paths = [str(folder / f"track{number}.flac") for number in range(count)]
    for number, path in enumerate(paths):
        soundfile.write(path, 0.3 * np.sin(2 * np.pi * 220 * (1 + number / 5) * t) * (np.sin(12 * t) > 0), 22050)
    return paths


def python(*code: str, **environment: str) -> str:
    command = [sys.executable, "-c", *code]
    run = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120)
    assert not run.returncode, run.stderr
    return run.stdout


def draw_and_list(item: tuple[str, str, float], *, out: Path) -> tuple[int, str, set[str]]:
    path, kind, longest = item
    long.LONG = longest
    track = Track(path, path, {name: f"{name}/{Path(path).stem}.png" for name in VIEWS})
    row = render_track(track, out=out, config=Config().replace(**{"chroma.kind": kind}), arrays=False)
    return os.getpid(), row["status"], set(sys.modules)


def test_a_worker_imports_nothing_heavy(tmp_path):
    cases = [("stft", 300.0), ("cqt", 300.0), ("stft", 1.0), ("cqt", 1.0)]  # a track of 2 s, held whole and in blocks
    paths = write_music(tmp_path / "music", len(cases))
    items = [(path, *case) for path, case in zip(paths, cases, strict=True)]
    outcomes = list(jobs.run(partial(draw_and_list, out=tmp_path / "out"), items, jobs=2, progress=False))
    assert {outcome.status for outcome in outcomes} == {"done"}, outcomes
    for pid, status, modules in (outcome.value for outcome in outcomes):
        assert pid != os.getpid() and status == "done" and "sonic.cream.long" in modules
        assert not HEAVY & modules


def test_one_track_is_drawn_without_the_machinery_for_many(tmp_path):
    [path] = write_music(tmp_path / "music", 1)
    code = "import sys, sonic.cli; sys.argv[0] = 'sonic'\ntry: sonic.cli.main()\nfinally: print(*sys.modules)"
    shown = python(code, "render", path, str(tmp_path / "out"), "--quiet").splitlines()
    assert "1 done" in shown[0] and len(list((tmp_path / "out").rglob("*.png"))) == 4
    loaded = set(shown[-1].split())
    assert "sonic.cream.jobs" in loaded and not {*HEAVY - {"pandas"}, "joblib"} & loaded


def test_kernels_are_compiled_once_and_before_the_workers(tmp_path):
    write_music(tmp_path / "music", 6)
    places = f"{str(tmp_path / 'music')!r}, {str(tmp_path / 'out')!r}"
    code = f"from sonic import render; print(*render({places}, jobs=2, progress=False, **{SMALL})['status'])"
    told = {"NUMBA_DEBUG_CACHE": "1", "PYTHONUNBUFFERED": "1"}  # Numba says what it does, and at once
    lines = python(code, SONIC_CACHE=str(tmp_path / "cache"), NUMBA_CACHE_DIR="", **told).splitlines()
    assert lines[-1].split() == ["done"] * 6
    saved = [n for n, line in enumerate(lines) if "data saved to" in line]
    loaded = [n for n, line in enumerate(lines) if "data loaded from" in line]  # by the workers
    assert len(saved) == len(list((tmp_path / "cache").rglob("*.nbc"))) >= 8
    assert len(loaded) >= len(saved) and max(saved) < min(loaded)


KERNEL = "import numpy as np; from sonic.cream.mono import to_mono; print(to_mono(np.ones((4, 2), np.float32)).sum())"


def terminal(code: str, **environment: str) -> str:
    "What a terminal shows of the errors."
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as screen:
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=screen,
            check=True,
        )
        screen.write("end")
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    return shown.removesuffix("end").strip()


def test_who_waits_for_compilation_is_told_once(tmp_path):
    place = {"SONIC_CACHE": str(tmp_path), "NUMBA_CACHE_DIR": ""}
    code = f"import sonic.cream.resize; {KERNEL}"
    assert terminal(code, **place) == "sonic: compiling, once on this machine"
    assert terminal(code, **place) == ""


@pytest.mark.parametrize("filled", [False, True])
def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path, filled):
    place = {"SONIC_CACHE": str(tmp_path / "cache"), "NUMBA_CACHE_DIR": ""}
    if filled:
        python(KERNEL, **place)
    (tmp_path / "cache").mkdir(exist_ok=True)
    for folder in ((tmp_path / "cache"), *(tmp_path / "cache").rglob("*/")):
        folder.chmod(0o555)
    locked = """import tempfile
def locked(*_, **__):  # whom permissions do not stop, such as root
    raise PermissionError(13, "locked")
tempfile.TemporaryFile = locked
"""
    assert python(locked + KERNEL, **place) == "4.0\n"


def test_a_torn_cache_and_a_user_without_a_home_are_no_obstacle(tmp_path):
    "Kernels are compiled anew."
    code = "import sonic.cream.mono; import numpy as np; print(sonic.cream.mono.to_mono(np.ones((3, 2), np.float32)))"
    homeless = """
import pathlib
def no_home(cls): raise RuntimeError("Could not determine home directory.")
pathlib.Path.home = classmethod(no_home)
"""
    environment = {name: value for name, value in os.environ.items() if name not in ("SONIC_CACHE", "XDG_CACHE_HOME")}

    def run(code, **more):
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment | more, capture_output=True, text=True, timeout=120
        )
        assert done.stdout == "[1. 1. 1.]\n", done.stderr

    run(code, SONIC_CACHE=str(tmp_path))
    for kind in ("nbc", "nbi"):
        (kept,) = tmp_path.rglob(f"*.{kind}")
        kept.write_bytes(kept.read_bytes()[:40])
        run(code, SONIC_CACHE=str(tmp_path))
    run(homeless + code)
