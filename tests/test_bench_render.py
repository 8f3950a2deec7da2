"The bench of rendering: every contender draws the same four pictures, and a run leaves a table and its figures."

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile

BENCH = Path(__file__).parents[1] / "bench"
sys.path.insert(0, str(BENCH))

import render  # noqa: E402
from render_rival import CONTENDERS, HEIGHT, WIDTH  # noqa: E402
from render_rounds import peak_memory  # noqa: E402

DRAWING = [name for name, contender in CONTENDERS.items() if not contender.alone and name != "decode"]


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    "Two seconds of clicks and a tone, twice."
    folder = tmp_path_factory.mktemp("music")
    t = np.arange(2 * 44100) / 44100
    sound = 0.3 * np.sin(2 * np.pi * 440 * t) + 0.5 * (t % 0.25 < 0.01) * np.random.default_rng(0).normal(size=len(t))
    for name in ("a", "b"):
        soundfile.write(folder / f"{name}.mp3", np.stack([sound, 0.5 * sound], axis=1), 44100)
    return folder


@pytest.mark.filterwarnings("ignore:n_fft=1024 is too large")  # librosa's constant-Q, of so short a clip
@pytest.mark.parametrize("name", DRAWING)
def test_every_contender_draws_four_pictures_of_one_size(name, music, tmp_path):
    for module in CONTENDERS[name].needs:
        if not importlib.util.find_spec(module):
            pytest.skip(f"{module} is not installed")
    work = CONTENDERS[name].make()
    work.run(work.ready([str(music / "a.mp3"), str(music / "b.mp3")]), tmp_path)
    paths = [path for path in tmp_path.rglob("*") if path.suffix in (".png", ".jpg", ".jpeg")]
    assert len(paths) == 8
    assert {path.suffix == ".png" for path in paths} == {"jpeg" not in name and name != "original"}
    pictures = [cv2.imread(str(path)) for path in paths]
    assert all(picture.shape == (HEIGHT, WIDTH, 3) for picture in pictures)
    assert all(picture.std() > 1 for picture in pictures)  # none is blank


def test_a_run_prints_a_table_and_leaves_figures(music, tmp_path):
    command = [
        sys.executable,
        BENCH / "render.py",
        "--music",
        music,
        "--rounds",
        "1",
        "--json",
        tmp_path / "a" / "b.json",
    ]
    run = subprocess.run([*command, "--only", "decode", "png"], capture_output=True, text=True, check=True)
    told = json.loads((tmp_path / "a" / "b.json").read_text())
    assert told["files"] == "2 files"
    assert [row["name"] for row in told["contenders"]] == ["decode", "png"]
    assert [row["goal"] for row in told["goals"]][:2] == ["PNG: cost, in decodings", "two warm processes: times one"]
    spent = told["figures"]["png"]["cpu 1"][0] / told["figures"]["decode"]["cpu 1"][0]
    assert told["goals"][0]["median"] == spent > 1
    assert told["goals"][0]["met"] == (spent <= 1.7)
    assert all(set(found) == {"cpu 1", "cpu 2", "wall 1", "wall 2"} for found in told["figures"].values())
    for words in ("soundfile.read alone", "SONIC, PNG", "PNG: cost, in decodings"):
        assert words in run.stdout


def test_goals_are_medians_of_each_rounds_ratio():
    figures = {
        "decode": {"cpu 1": [1.0, 2.0, 4.0]},
        "png": {"cpu 1": [1.5, 3.2, 20.0]},
        "cold": {"help": [0.4, 0.6, 0.7]},
    }
    cost, told = render.goals(figures)
    assert (cost["median"], cost["low"], cost["high"], cost["met"]) == (1.6, 1.5, 5.0, True)
    assert (told["goal"], told["median"], told["met"]) == ("sonic --help, s", 0.6, False)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell")
def test_the_highest_memory_of_a_process_is_seen():
    code = "import os, sys; b = b'x' * 200_000_000; del b; print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert 200 < peak_memory(process.pid) < 240
        process.stdin.close()
