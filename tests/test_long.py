"Long tracks: drawn in blocks they are the pictures of the whole, at a memory that does not grow."

from __future__ import annotations

import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from sonic.config import Config, SonicError
from sonic.cream import long
from sonic.cream import render as renderer
from sonic.cream import track as track_module
from sonic.cream.audio import Clip, load
from sonic.cream.blocks import cut
from sonic.cream.long import Drawn, draw_long
from sonic.cream.picture import encode, peak_of, picture
from sonic.cream.spectrum import View
from sonic.cream.views import VIEWS, views

SECONDS = 65.3


def music(rate: int, seconds: float, seed: int = 0) -> np.ndarray:
    "Notes with overtones, drums that change their tempo, and noise that swells; shape (n, 2)."
    rng, t = np.random.default_rng(seed), np.arange(int(seconds * rate)) / rate
    note = rng.integers(-20, 20, int(seconds * 3) + 1)[(3 * t).astype(int)]
    phase = 2 * np.pi * np.cumsum(446 * 2 ** (note / 12)) / rate
    tune = sum(np.sin(k * phase) / k for k in (1, 2, 3)) * np.exp(-2 * (3 * t % 1))
    beat = (1.5 + t / seconds) * t % 1
    drum = rng.normal(size=len(t)) * np.exp(-20 * beat)
    sound = 0.1 * tune + 0.1 * drum + 0.02 * rng.normal(size=len(t)) * np.sin(t / 20) ** 2
    return np.stack([sound, np.roll(sound, rate // 100)], axis=1)


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "track.flac"
    soundfile.write(path, music(22050, SECONDS), 22050)
    return path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    "Whatever lasts more than 20 s is long, and blocks are short."
    monkeypatch.setattr(long, "LONG", 20.0)
    monkeypatch.setattr(long, "cut", partial(cut, size=1 << 18))
    monkeypatch.setattr(long, "SIZE", 1 << 16)


def in_blocks(path: Path, *args: Any, **kwargs: Any) -> Drawn:
    drawn = draw_long(path, *args, **kwargs)
    assert isinstance(drawn, Drawn), "the track is held whole"
    return drawn


def whole(path: Path, config: Config) -> tuple[Clip, dict[str, View]]:
    audio = config.audio
    clip = load(path, audio.sample_rate, audio.offset, audio.duration)
    return clip, views(clip, config=config)


def assert_same(path: Path, config: Config, *, share: float = 1e-4) -> None:
    "That at most this share of the pixels differs, and by no more than a level."
    clip, all_views = whole(path, config)
    drawn = in_blocks(path, config=config)
    assert list(drawn.pictures) == list(VIEWS)
    for name, view in all_views.items():
        expected, made = picture(view, config=config), drawn.pictures[name]
        assert (made.low, made.high) == pytest.approx((expected.low, expected.high), rel=1e-6)
        assert made.unit == expected.unit
        away = np.abs(expected.levels.astype(int) - made.levels)
        assert made.levels.shape == expected.levels.shape
        assert away.max() <= 1 and (away > 0).mean() <= share, (name, away.max(), (away > 0).mean())
    peaks = {name: peak_of(all_views[name], config=config) for name in ("mel", "fft")}
    assert drawn.peaks == pytest.approx(peaks, rel=1e-6)
    assert (drawn.seconds, drawn.sample_rate, drawn.notes) == (clip.seconds, clip.sample_rate, clip.notes)
    assert drawn.silent == (not clip.samples.any())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"stft.hop_length": 441, "tempogram.axis": "lag"},
        {"stft.hop_length": 301, "stft.n_fft": 999, "mel.n_mels": 40, "stft.window": "hamming"},
        {"stft.n_fft": 8192, "stft.hop_length": 1024, "picture.width": 2000, "picture.height": 100},
        {"stft.n_fft": 512, "stft.hop_length": 2000, "mel.n_mels": 40, "tempogram.axis": "lag"},
        {"audio.sample_rate": 16000, "fft.axis": "linear", "fft.unit": "amplitude", "picture.top_db": 40},
        {"audio.offset": 3.21, "audio.duration": 44.4, "fft.kind": "clip", "chroma.tuning": 0.2},
        {"picture.floor_db": 60, "tempogram.win_length": 33},
    ],
    ids=lambda settings: " ".join(map(str, settings.values())),
)
def test_pictures_are_those_of_the_whole(track, small, settings):
    assert_same(track, Config().replace(**settings))


@pytest.mark.parametrize("kind", ["cqt", "cens"])
@pytest.mark.parametrize("settings", [{}, {"stft.hop_length": 500, "stft.n_fft": 1024}, {"chroma.tuning": -0.5}])
def test_constant_q_too(track, small, kind, settings):
    assert_same(track, Config().replace(**{"chroma.kind": kind}, **settings))


def test_native_rate_of_a_file_with_one_channel(tmp_path, small):
    soundfile.write(tmp_path / "mono.wav", music(44100, 31)[:, 0], 44100)
    assert_same(tmp_path / "mono.wav", Config().replace(**{"audio.sample_rate": 44100, "chroma.kind": "cqt"}))


def test_a_block_may_end_anywhere(tmp_path, small):
    for samples in (451_584, 451_585, 452_095, 452_096, 452_608):  # around whole steps of 512
        soundfile.write(tmp_path / "cut.wav", music(22050, 21)[:samples], 22050)
        assert_same(tmp_path / "cut.wav", Config())


def test_silence_and_music_that_begins_late(tmp_path, small):
    soundfile.write(tmp_path / "none.wav", np.zeros(30 * 22050), 22050)
    assert_same(tmp_path / "none.wav", Config())
    assert in_blocks(tmp_path / "none.wav").silent
    soundfile.write(tmp_path / "late.wav", np.concatenate([np.zeros((25 * 22050, 2)), music(22050, 12)]), 22050)
    assert_same(tmp_path / "late.wav", Config())


def test_a_short_track_is_the_clip(track, monkeypatch):
    clip = draw_long(track)
    assert isinstance(clip, Clip)
    np.testing.assert_array_equal(clip.samples, load(track).samples)
    monkeypatch.setattr(long, "LONG", clip.seconds)
    assert isinstance(draw_long(track), Clip)
    monkeypatch.setattr(long, "LONG", clip.seconds - 1 / 22050)
    assert not isinstance(draw_long(track), Clip)


def test_only_what_is_wanted_is_drawn(track, small, monkeypatch):
    everything = in_blocks(track).pictures
    for name in VIEWS:
        drawn = in_blocks(track, [name])
        assert list(drawn.pictures) == [name]
        np.testing.assert_array_equal(drawn.pictures[name].levels, everything[name].levels)
    with pytest.raises(SonicError, match="no view is called mell; did you mean mel"):
        draw_long(track, ["mell"])


def test_arrays_are_the_views(track, small, tmp_path):
    config = Config().replace(**{"stft.hop_length": 600})
    arrays = {name: tmp_path / "arrays" / name / "track.npy" for name in VIEWS}
    draw_long(track, config=config, arrays=arrays)
    for name, view in whole(track, config)[1].items():
        array = np.load(arrays[name])
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, view.values, rtol=1e-5, atol=1e-5)
    assert len([*tmp_path.rglob("*.*")]) == 4  # and nothing half written


def test_a_fault_leaves_no_array(track, small, tmp_path, monkeypatch):
    monkeypatch.setattr(long, "_tempogram", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        draw_long(track, arrays={"mel": tmp_path / "mel.npy"})
    assert not [*tmp_path.iterdir()]


def test_a_broken_file_has_the_same_note(track, small, tmp_path):
    data = bytearray(track.read_bytes())
    data[len(data) * 2 // 3 : len(data) * 2 // 3 + 5000] = bytes(5000)
    (tmp_path / "broken.flac").write_bytes(data)
    assert load(tmp_path / "broken.flac").notes
    assert_same(tmp_path / "broken.flac", Config())


def test_faults_are_told_as_by_load(tmp_path, small):
    (tmp_path / "text.mp3").write_text("no music")
    for name in ("text.mp3", "missing.wav"):
        with pytest.raises(SonicError) as plain:
            load(tmp_path / name)
        with pytest.raises(SonicError) as fault:
            draw_long(tmp_path / name)
        assert str(fault.value) == str(plain.value)
    soundfile.write(tmp_path / "low.wav", music(8000, 30), 8000)
    low = Config().replace(**{"audio.sample_rate": 8000, "chroma.kind": "cqt"})
    with pytest.raises(SonicError, match="8000 Hz is too low for the constant-Q transform"):
        draw_long(tmp_path / "low.wav", config=low)


PROGRAM = """
import sys
from sonic.config import Config
from sonic.cream.long import Drawn, draw_long
draw_long(sys.argv[1], config=Config().replace(**{"audio.sample_rate": 8000}))
"""


def most(path: Path) -> float:
    "Megabytes that a process takes at most while it draws a file."
    run, seen = psutil.Popen([sys.executable, "-c", PROGRAM, path]), 0
    while run.poll() is None:
        with suppress(psutil.Error):
            seen = max(seen, run.memory_info().rss)
        time.sleep(0.01)
    assert run.returncode == 0
    return seen / 1e6


@pytest.mark.slow
def test_memory_does_not_grow(tmp_path):
    rng, taken = np.random.default_rng(0), []
    for minutes in (12, 48):
        with soundfile.SoundFile(tmp_path / "noise.wav", "w", 8000, 1) as file:
            for _ in range(minutes):
                file.write(rng.normal(0, 0.1, 480_000))
        taken.append(most(tmp_path / "noise.wav"))
    assert taken[1] - taken[0] < 25, taken  # held whole it would be more than 200 MB


def test_render_draws_long_tracks_in_blocks(track, small, tmp_path, monkeypatch):
    monkeypatch.setattr(track_module, "_draw_clip", lambda *args, **kwargs: pytest.fail("the track was held whole"))
    monkeypatch.setattr(renderer, "_rehearse", lambda *args: None)  # it draws a clip
    row = renderer.render(track, tmp_path / "out", jobs=0, progress=False, arrays=True).iloc[0]
    drawn = in_blocks(track)
    assert (row["status"], row["mel_peak"], row["fft_peak"]) == ("done", *drawn.peaks.values())
    for name, image in drawn.pictures.items():
        assert (tmp_path / "out" / row[name]).read_bytes() == encode(image.levels, settings=image.settings)
        assert (tmp_path / "out" / "arrays" / row[name]).with_suffix(".npy").exists()
