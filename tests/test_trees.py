"The bytes of an output folder depend on the music and the settings, and on nothing else."

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from injection import RATE, SONIC, tree, write_track

import sonic

OPTIONS = ["-q", "--size", "48x32", "--arrays"]


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "Five tracks that can be drawn, one that is silent and one that is none; names that sort differently by locale."
    folder = tmp_path_factory.mktemp("trees") / "music"
    for number, name in enumerate(["b.wav", "A.wav", "é.wav", "a b.wav", "_.wav"]):
        write_track(folder / name, number, seconds=1 + number / 4)
    soundfile.write(folder / "silent.wav", np.zeros(RATE), RATE)
    (folder / "none.mp3").write_text("no music")
    return folder


def render(source: Path | str, out: Path | str, *more: str, jobs: int = 1, cwd: Path | None = None, **env: str) -> None:
    "In a process of its own. One track fails, so the exit code is 3."
    command = [SONIC, "render", str(source), str(out), *OPTIONS, "-j", str(jobs), *more]
    found = subprocess.run(command, env=os.environ | env, cwd=cwd, capture_output=True, text=True)
    assert found.returncode == 3 and "Traceback" not in found.stderr, found.stderr


def render_here(source: Path | pd.DataFrame, out: Path, *, jobs: int = 0, **more: Any) -> pd.DataFrame:
    "The same in this process."
    size = {"picture.width": 48, "picture.height": 32}
    return sonic.render(source, out, jobs=jobs, arrays=True, progress=False, **size, **more)


@pytest.fixture(scope="module")
def expected(music: Path) -> dict[str, str]:
    "What one worker leaves."
    render(music, music.parent / "expected", TZ="UTC", LC_ALL="C.UTF-8", PYTHONHASHSEED="0")
    found = tree(music.parent / "expected")
    assert len(found) == 2 + 4 + 2 * 4 * 6  # recipe and manifest; a table a view; pictures and arrays
    return found


@pytest.mark.parametrize("jobs", [0, 2, 4])
def test_the_number_of_workers(music, expected, tmp_path, jobs):
    (render if jobs else render_here)(music, tmp_path / "out", jobs=jobs)
    assert tree(tmp_path / "out") == expected


OTHERS = [
    {"LC_ALL": "C"},
    {"TZ": "Pacific/Auckland"},
    {"PYTHONHASHSEED": "4711"},
    {"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3", "MKL_NUM_THREADS": "3"},
]


@pytest.mark.parametrize("env", OTHERS, ids=lambda env: "-".join(env))
def test_the_environment(music, expected, tmp_path, env):
    render(music, tmp_path / "out", **env)
    assert tree(tmp_path / "out") == expected


def test_the_working_directory(music, expected, tmp_path):
    (music.parent / "elsewhere").mkdir()
    render("../music", tmp_path / "out", cwd=music.parent / "elsewhere")
    assert tree(tmp_path / "out") == expected


@pytest.fixture(scope="module")
def table(music: Path) -> pd.DataFrame:
    "The music as a table."
    names = sorted(os.listdir(music))
    return pd.DataFrame({"track_id": names, "path": [str(music / name) for name in names]})


def test_the_order_of_the_collection(music, expected, table, tmp_path):
    "Pictures and recipe are the same bytes; manifest and labels hold the same rows, in the order of the collection."
    render_here(table, tmp_path / "sorted")
    shuffled = table.sample(frac=1, random_state=1)
    manifest = render_here(shuffled, tmp_path / "shuffled", jobs=2)
    assert tree(tmp_path / "sorted", ordered=False) == tree(tmp_path / "shuffled", ordered=False)
    assert list(manifest["track_id"]) == list(shuffled["track_id"]) != list(table["track_id"])
    files = {name: digest for name, digest in expected.items() if name.endswith((".png", ".npy", ".toml"))}
    assert files.items() <= tree(tmp_path / "shuffled").items()


def test_running_again(music, expected, tmp_path):
    "Nothing is written anew, and what is drawn after a part of it comes to the same."
    part = tmp_path / "part"
    part.mkdir()
    for name in ("b.wav", "none.mp3"):
        os.link(music / name, part / name)
    render_here(part, tmp_path / "out")
    render_here(music, tmp_path / "out")
    assert tree(tmp_path / "out") == expected
    drawn = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    render_here(music, tmp_path / "out")
    render_here(music, tmp_path / "out", verify=True)
    assert tree(tmp_path / "out") == expected
    assert drawn == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
