"The program, run as a user would."

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

COMMANDS = "render show info lab demo config embed similar index playlist export train recommend bench".split()


def sonic(*arguments: object, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    settings = os.environ | {"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"} | more
    command = [str(Path(sys.executable).with_name("sonic")), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=settings, cwd=cwd)


@pytest.fixture(scope="module")
def song(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("music") / "song.mp3"
    time = np.arange(6 * 44100) / 44100
    notes = sum(np.sin(2 * np.pi * f * time) for f in (220, 261.63, 329.63)) * np.exp(-8 * (time % 0.5))
    soundfile.write(path, 0.2 * notes, 44100)
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps_with_an_example(command):
    done = sonic(command, "--help")
    assert done.returncode == 0 and f"sonic {command}" in done.stdout.split("Example", 1)[1]


def test_help_loads_nothing_heavy():
    heavy = "('numpy', 'pydantic', 'pandas', 'torch')"
    program = f"import sys; from sonic.cli import app; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"
    for command in COMMANDS:
        assert command in sonic("--help").stdout


def test_render_end_to_end(song, tmp_path):
    done = sonic(
        "render", song.parent, tmp_path / "out", "--size", "224x200", "--set", "mel.n_mels=64", "--arrays", "-j", 1
    )
    assert done.returncode == 0, done.stderr
    assert "1 tracks: 1 done" in done.stdout
    manifest = pd.read_parquet(tmp_path / "out" / "manifest.parquet")
    assert {
        "track_id",
        "path",
        "status",
        "reason",
        "seconds",
        "sample_rate",
        "mel",
        "chroma",
        "fft",
        "tempogram",
    } <= set(manifest)
    assert np.load(tmp_path / "out" / "arrays" / Path(manifest["mel"][0]).with_suffix(".npy")).shape[0] == 64
    again = sonic(
        "render", song.parent, tmp_path / "out", "--size", "224x200", "--set", "mel.n_mels=64", "--arrays", "-j", 1
    )
    assert "Drew 0" in again.stdout and "kept 1" in again.stdout


def test_failures_are_said_and_exit_3(song, tmp_path):
    music = tmp_path / "music"
    music.mkdir()
    (music / "good.mp3").write_bytes(song.read_bytes())
    (music / "bad.mp3").write_bytes(b"\0" * 2000)
    done = sonic("render", music, tmp_path / "out", "--views", "mel", "-j", 1)
    assert done.returncode == 3
    assert "Failed:" in done.stdout and "bad.mp3" in done.stdout and "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "mel.n_mels=0"], "mel.n_mels=0 must be a whole number between 1 and 1024 bands"),
        (["--set", "mel.nmels=9"], "did you mean mel.n_mels?"),
        (["--set", "mel.n_mels"], "NAME=VALUE"),
        (["--size", "224"], "WIDTHxHEIGHT"),
        (["--size", "0x10"], "picture.width=0 must be"),
        (["--views", "mel,cromagram"], "no view is called cromagram"),
        (["--format", "gif"], "one of png, grey, jpeg, webp"),
        (["--set", "picture.colormap=magna"], "did you mean magma?"),
        (["--jobs", "-1"], "jobs=-1 must be at least 0"),
        (["--folders", "mood"], "no column mood"),
    ],
)
def test_a_wrong_setting_is_one_line(song, tmp_path, arguments, said):
    done = sonic("render", song.parent, tmp_path / "out", *arguments)
    assert done.returncode == 2 and said in done.stderr and len(done.stderr.splitlines()) == 1
    assert "Traceback" in sonic("render", song.parent, tmp_path / "out", *arguments, "--debug").stderr


def test_settings_of_the_folder_are_used(song, tmp_path):
    (tmp_path / "sonic.toml").write_text("[mel]\nn_mels = 40\n")
    assert sonic("render", song, "out", "--arrays", "--views", "mel", cwd=tmp_path).returncode == 0
    (array,) = (tmp_path / "out" / "arrays" / "mel").glob("*.npy")
    assert len(np.load(array)) == 40
    assert sonic("config", "--config", tmp_path / "nowhere.toml").returncode == 2


def test_show_and_info(song, tmp_path):
    done = sonic("show", song, cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "song.png").stat().st_size > 20000
    assert sonic("show", song, "--out", "song.html", cwd=tmp_path).returncode == 0
    page = (tmp_path / "song.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "T2dnUw" in page  # OggS: the sound is in it
    facts = sonic("info", song).stdout
    assert "44100 Hz" in facts and "A minor" in facts and "120" in facts
    assert sonic("info", tmp_path / "none.mp3").returncode == 2


@pytest.fixture
def jupyterlab_stand_in(tmp_path) -> str:
    "A folder with a jupyterlab that only says what it was told."
    module = tmp_path / "modules" / "jupyterlab" / "__main__.py"
    module.parent.mkdir(parents=True)
    module.with_name("__init__.py").touch()
    module.write_text("import sys; print(*sys.argv[1:], sep='|'); sys.exit(7)")
    return str(module.parents[1])


def test_lab_opens_a_notebook_and_never_overwrites_one(song, tmp_path, jupyterlab_stand_in):
    arguments = ("lab", song.parent, "--no-browser", "--port", 9000, "--", "--browser=firefox")
    done = sonic(*arguments, cwd=tmp_path, PYTHONPATH=jupyterlab_stand_in)
    notebook = tmp_path / "sonic-lab.ipynb"
    told = done.stdout.strip().split("|")
    assert told[0] == str(notebook) and told[2:] == ["--no-browser", "--port=9000", "--browser=firefox"]
    assert (done.returncode, done.stderr) == (7, "")  # JupyterLab's own exit code
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    assert f"studio({str(song.parent)!r})" in "".join(cells[1]["source"])
    notebook.write_text("mine")
    done = sonic("lab", cwd=tmp_path, PYTHONPATH=jupyterlab_stand_in)
    assert notebook.read_text() == "mine" and "is there already" in done.stderr
    assert sonic("lab", tmp_path / "nowhere", cwd=tmp_path, PYTHONPATH=jupyterlab_stand_in).returncode == 2


def test_lab_runs_no_program_that_lies_in_the_folder(tmp_path, jupyterlab_stand_in):
    (tmp_path / "jupyterlab.py").write_text("print('from here')")
    assert "from here" not in sonic("lab", cwd=tmp_path, PYTHONPATH=jupyterlab_stand_in).stdout


def test_real_recordings_all_become_pictures(recordings, tmp_path):
    done = sonic("render", recordings[0].parent, tmp_path / "out", "--set", "audio.duration=5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((tmp_path / "out" / "mel").glob("*.png"))) == len(recordings)


@pytest.mark.slow
def test_broken_files_cost_a_row_each(tmp_path):
    broken = Path(__file__).resolve().parents[2] / "shared" / "broken"
    if not broken.exists():
        pytest.skip(f"no {broken}")
    done = sonic("render", broken, tmp_path / "out", "--size", "64x48")
    assert done.returncode == 3 and "Traceback" not in done.stdout + done.stderr and "unexpected" not in done.stdout
    manifest = pd.read_parquet(tmp_path / "out" / "manifest.parquet")
    assert set(manifest["status"]) <= {"done", "warned", "failed"}
    assert manifest.loc[manifest["status"] == "failed", "reason"].str.len().min() > 5
