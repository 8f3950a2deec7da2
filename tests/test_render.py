"Rendering: faults cost one row, runs go on where they stopped, the bytes do not depend on how the work was shared."

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from sonic import SonicError, load, mel, open_images, render

SMALL = {"picture.width": 64, "picture.height": 48}


def write_music(folder: Path, count: int, seconds: float = 0.5) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    t = np.arange(int(22050 * seconds)) / 22050
    for number in range(count):
        sound = 0.3 * np.sin(2 * np.pi * 110 * (1 + number / 7) * t) * (np.sin(12 * t) > 0)
        soundfile.write(folder / f"track{number:03}.flac", sound, 22050)
    return folder


def tree(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_one_bad_file_costs_one_row(tmp_path):
    music = write_music(tmp_path / "music", 3)
    (music / "empty.mp3").touch()
    (music / "text.ogg").write_text("no music")
    soundfile.write(music / "nan.wav", np.array([0, np.nan, 0.5] * 4000), 22050, subtype="FLOAT")
    soundfile.write(music / "silent.wav", np.zeros(22050), 22050)
    manifest = render(music, tmp_path / "out", jobs=2, progress=False, **SMALL).set_index("track_id")
    assert dict(manifest["status"].value_counts()) == {"done": 3, "failed": 3, "warned": 1}
    assert manifest.loc["silent.wav", "reason"] == "the clip is silent"
    for reason in manifest.loc[manifest["status"] == "failed", "reason"]:
        assert reason and "\n" not in reason and "Traceback" not in reason and "unexpected" not in reason
    assert open_images(tmp_path / "out").levels("mel", "silent.wav").max() == 0  # silence is black


def test_odd_names_survive(tmp_path):
    music = write_music(tmp_path / "music", 1)
    sound = (music / "track000.flac").read_bytes()
    names = ["夜曲.flac", "-rf.flac", "new\nline.flac", "x" * 200 + ".flac", "Track000.flac", "a b'c\"d.flac"]
    for name in names:
        (music / name).write_bytes(sound)
    with open(os.fsencode(music) + b"/latin\xe9.flac", "wb") as file:  # no UTF-8
        file.write(sound)
    manifest = render(music, tmp_path / "out", jobs=0, progress=False, **SMALL)
    assert (manifest["status"] == "done").all() and len(manifest) == len(names) + 2
    assert manifest["mel"].nunique() == len(manifest)
    assert len(set((tmp_path / "out" / path).read_bytes() for path in manifest["mel"])) == 1


def test_the_picture_on_disk_gives_back_decibels(tmp_path, recordings):
    files = [path for path in recordings if path.stem in ("robin", "loop_amen_full", "solo-trumpet")]
    for path in files:
        view = mel(load(path))
        rows, columns = view.values.shape
        size = {"picture.width": columns, "picture.height": rows}
        table = pd.DataFrame({"track_id": [path.stem], "path": [str(path)]})
        render(table, tmp_path / path.stem, views=["mel"], jobs=0, progress=False, **size)
        back = open_images(tmp_path / path.stem).values("mel", path.stem)
        peak = view.values.max()
        np.testing.assert_allclose(back, np.maximum(view.values, peak - 80), atol=80 / 255 / 2 + 1e-3)


@pytest.mark.parametrize("format", ["png", "grey", "webp", "jpeg"])
def test_every_format_is_exactly_the_size_asked_for(tmp_path, format):
    from PIL import Image

    music = write_music(tmp_path / "music", 1)
    manifest = render(music, tmp_path / "out", jobs=0, progress=False, **SMALL, **{"picture.format": format})
    for name in ("mel", "chroma", "fft", "tempogram"):
        with Image.open(tmp_path / "out" / manifest[name][0]) as image:
            assert image.size == (64, 48)
            assert image.mode == {"png": "P", "grey": "L", "webp": "RGB", "jpeg": "RGB"}[format]


def test_an_output_that_cannot_be_written_is_refused(tmp_path):
    music = write_music(tmp_path / "music", 1)
    (tmp_path / "file").touch()
    with pytest.raises(SonicError, match="choose another place"):
        render(music, tmp_path / "file" / "out", progress=False)


def test_a_disk_that_fills_up_leaves_nothing_half_written(tmp_path, monkeypatch):
    from sonic.cream import track as module

    music = write_music(tmp_path / "music", 4)
    calls = []

    def full(path, data):
        calls.append(path)
        if len(calls) == 7:
            raise OSError(28, "No space left on device")
        return write_file(path, data)

    write_file = module.write_file
    monkeypatch.setattr(module, "write_file", full)
    with pytest.raises(SonicError, match="no space left on device; mend that, and the same command goes on") as halted:
        render(music, tmp_path / "out", jobs=0, progress=False, **SMALL)
    assert halted.value.exit_code == 4
    assert pd.read_parquet(tmp_path / "out" / "manifest.parquet")["status"].tolist() == ["done"]
    monkeypatch.undo()
    again = render(music, tmp_path / "out", jobs=0, progress=False, **SMALL)
    assert again.attrs["kept"] == 1
    render(music, tmp_path / "clean", jobs=0, progress=False, **SMALL)
    assert tree(tmp_path / "out") == tree(tmp_path / "clean")


def test_pictures_of_a_track_are_of_one_recipe(tmp_path):
    music = write_music(tmp_path / "music", 1)
    sound = (music / "track000.flac").read_bytes()
    render(music, tmp_path / "out", jobs=0, progress=False, arrays=True, **SMALL)
    (music / "track000.flac").write_bytes(b"gone bad")
    failed = render(music, tmp_path / "out", views=["mel"], jobs=0, progress=False, **SMALL, **{"stft.n_fft": 1024})
    assert failed["status"].tolist() == ["failed"]
    assert (tmp_path / "out" / failed["chroma"][0]).exists()  # what was drawn is not thrown away
    assert len(open_images(tmp_path / "out")) == 0  # nor taken for what it is not
    (music / "track000.flac").write_bytes(sound)
    done = render(music, tmp_path / "out", views=["mel"], jobs=0, progress=False, **SMALL, **{"stft.n_fft": 1024})
    array = tmp_path / "out" / "arrays" / Path(done["fft"][0]).with_suffix(".npy")
    assert np.load(array).shape == (513, 1)  # the other views, and their arrays, were drawn anew too


def test_music_that_moved_is_not_drawn_again(tmp_path):
    music = write_music(tmp_path / "music", 2)
    render(music, tmp_path / "out", jobs=0, progress=False, **SMALL)
    music.rename(tmp_path / "elsewhere")
    moved = render(tmp_path / "elsewhere", tmp_path / "out", jobs=0, progress=False, **SMALL)
    assert moved.attrs["kept"] == 2 and "elsewhere" in moved["path"][0]


def test_what_is_rendered_is_what_the_library_draws(tmp_path):
    "Also of the tempogram, of which a render makes only the lags that are seen."
    from sonic import Config, load, picture, views
    from sonic.cream.artists import plan
    from sonic.cream.music import write_song
    from sonic.cream.picture import read_levels

    track = write_song(plan(tracks=1, seconds=12)[0], tmp_path, format="mp3")
    for changes in ({}, {"tempogram.bpm_min": 5, "tempogram.win_length": 200}, {"tempogram.axis": "lag"}):
        config = Config().replace(**changes)
        out = tmp_path / f"out{len(changes)}{config.tempogram.axis}"
        row = render(track, out, config=config, jobs=0, progress=False).iloc[0]
        for name, view in views(load(track), config=config).items():
            levels = read_levels(out / row[name], colormap=config.picture.colormap)
            assert np.array_equal(levels, picture(view, config=config).levels), name
