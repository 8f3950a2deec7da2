"Tables of embeddings and the run that makes them: what a notebook cannot show."

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from sonic.config import Config
from sonic.cream.layouts import open_collection
from sonic.cream.render import render
from sonic.tails.contract import Contract
from sonic.tails.embed import embed
from sonic.tails.embedder import Embedder
from sonic.tails.exports import export_table
from sonic.tails.journal import journal_path
from sonic.tails.table import make_table, open_table


@pytest.fixture(scope="module")
def music(tmp_path_factory) -> Path:
    "Twelve short tracks of noise, each with a colour of its own."
    folder, rng = tmp_path_factory.mktemp("music"), np.random.default_rng(0)
    for number in range(12):
        noise = np.cumsum(rng.normal(size=22050 * 2)) if number % 2 else rng.normal(size=22050 * 2)
        soundfile.write(folder / f"{number:02}.flac", 0.3 * noise / np.abs(noise).max(), 22050)
    return folder


def test_datasets_of_hugging_face_read_the_export(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    table = make_table(np.eye(3), list("abc"), labels=pd.DataFrame({"genre": ["x", "y", "x"]}))
    export_table(table, tmp_path / "out", format="datasets")
    found = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert found["track_id"][:] == ["a", "b", "c"] and found["genre"][:] == ["x", "y", "x"]
    assert np.array_equal(np.array(found["embedding"][:], np.float32), table.vectors)


class Slow(Embedder):
    "Hears how loud a track is, and takes its time."

    contract = Contract("slow", 1, 22050, 22050, 22050, (1,), 0, 16, 1)

    def prepare(self, sound):
        time.sleep(float(os.environ.get("SLOW", "0")))
        return np.abs(sound).mean(keepdims=True)

    def forward(self, batch):
        return batch


def begin(music: Path, out: Path) -> subprocess.Popen[str]:
    "The same run in a process of its own, a fifth of a second a track."
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from test_embed import *; "
    program += f"t = embed({str(music)!r}, {str(out)!r}, with_=Slow(), jobs=0, progress=False); print(t.tracks.attrs)"
    return subprocess.Popen(
        [sys.executable, "-c", program], env=os.environ | {"SLOW": "0.1"}, stderr=subprocess.DEVNULL
    )


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_stopped_goes_on(music, tmp_path, how):
    out = tmp_path / "vectors.parquet"
    started = begin(music, out)
    for _ in range(1200):
        time.sleep(0.02)
        if journal_path(out).exists() and len(journal_path(out).read_text().splitlines()) > 4:
            break
    started.send_signal(how)
    assert started.wait(20) != 0
    assert not out.exists()  # nothing half-written under its name
    table = embed(music, out, with_=Slow(), jobs=0, progress=False)
    assert table.tracks.attrs["embedded"] + table.tracks.attrs["kept"] == 12 and 3 <= table.tracks.attrs["kept"] < 12
    assert not journal_path(out).exists()
    straight = embed(music, with_=Slow(), jobs=0, progress=False)
    assert np.array_equal(open_table(out).vectors, straight.vectors) and open_table(out).ids == straight.ids


class Counting(Embedder):
    "Looks at pictures, and remembers what it was shown."

    contract = Contract("counting", 1, 22050, 22050, 22050, (8, 8), 0, 255, 1, dtype="uint8")

    def prepare(self, sound):
        raise AssertionError("there are pictures")

    def prepare_pictures(self, levels, *, seconds):
        assert seconds == 2.0
        return [(1.0, levels["mel"][:8, :8])]

    def forward(self, batch):
        return batch.mean(axis=(1, 2))[:, None]


def test_pictures_are_embedded_by_their_track(music, tmp_path):
    render(music, tmp_path / "pictures", views=["mel"], jobs=0, progress=False)
    table = embed(tmp_path / "pictures", with_=Counting(), jobs=0, progress=False)
    assert len(table) == 12 and table.recipe["from"].startswith("pictures ")
    other = embed(music, with_="mfcc", jobs=0, progress=False)
    assert sorted(table.ids) == sorted(other.ids)
    assert table.recipe["from"] != other.recipe["from"]
    with pytest.raises(ValueError, match="listens to sound; it cannot embed an image set"):
        embed(tmp_path / "pictures", with_="mfcc", jobs=0, progress=False)


def test_only_the_stretch_asked_for_is_heard(music):
    class Length(Counting):
        contract = Contract("length", 1, 8000, 800, 800, (1,), 0, 1e6, 1)

        def prepare(self, sound):
            return np.full(1, len(sound), np.float32)

        def forward(self, batch):
            return batch

    settings = {"audio.offset": 0.5, "audio.duration": 1.0}
    table = embed(music, with_=Length(), jobs=0, progress=False, **settings)
    assert set(table.tracks["seconds"]) == {1.0}


def test_a_network_gives_the_same_bytes_in_any_number_of_processes_and_batches(music):
    few = open_collection(music).head(3)
    one = embed(few, with_="vision", jobs=0, device="cpu", progress=False)
    for how in ({"jobs": 2}, {"jobs": 1, "batch": 3}):
        assert np.array_equal(embed(few, with_="vision", device="cpu", progress=False, **how).vectors, one.vectors)


def test_settings_of_who_looks_are_kept_for_pictures_that_are_drawn_already(music, tmp_path):
    pictures = tmp_path / "pictures"
    render(music, pictures, jobs=0, progress=False, **{"mel.n_mels": 64})
    asked = Config().replace(**{"vision.view": "chroma", "mel.n_mels": 96})
    table = embed(pictures, with_="vision", jobs=0, progress=False, config=asked)
    settings = table.recipe["settings"]
    assert settings["vision"]["view"] == "chroma"  # how they are looked at is asked
    assert settings["mel"]["n_mels"] == 64  # what they were drawn with is settled
