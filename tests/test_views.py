"The views against librosa, over settings, lengths and rates; known sounds land where they must, in numbers and pixels."

from __future__ import annotations

import subprocess
import sys
import warnings

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonic import Clip, Config, SonicError, load, picture, views
from sonic.cream.mono import to_mono
from sonic.cream.picture import curve_axis, encode, to_levels
from sonic.cream.views import VIEWS, spectrum_of

TOLERANCE = {"mel": 1e-3, "chroma": 1e-5, "fft": 1e-5, "tempogram": 1e-5}


def expected(samples, rate, *, n_fft=2048, hop=512, window="hann", tuning=None, **mel):
    "What librosa says, on the same settings."
    stft = {"n_fft": n_fft, "hop_length": hop, "window": window}
    with warnings.catch_warnings(action="ignore"):  # of clips shorter than a frame, and of silence
        onsets = librosa.onset.onset_strength(y=samples, sr=rate, **stft)
        power = librosa.feature.melspectrogram(y=samples, sr=rate, **stft, **mel)
        return {
            "mel": librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None),
            "chroma": librosa.feature.chroma_stft(y=samples, sr=rate, tuning=tuning, **stft),
            "fft": np.abs(librosa.stft(samples, **stft)).mean(axis=1, keepdims=True),
            "tempogram": librosa.feature.tempogram(onset_envelope=onsets, sr=rate, hop_length=hop),
        }


def compare(samples: np.ndarray, rate: int, ours: dict, theirs: dict) -> None:
    for name, view in ours.items():
        scale = max(1.0, np.abs(theirs["fft"]).max()) if name == "fft" else 1.0  # relative to the peak
        assert view.values.dtype == np.float32
        assert view.values.shape == theirs[name].shape
        assert np.abs(view.values - theirs[name]).max() / scale <= TOLERANCE[name], name


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**16),
    length=st.integers(1, 40000),
    rate=st.sampled_from([8000, 16000, 22050, 44100]),
    n_fft=st.sampled_from([1024, 2048, 2400, 4096]),
    hop=st.integers(100, 1500),
    window=st.sampled_from(["hann", "hamming", "blackman"]),
    n_mels=st.integers(1, 40),
    htk=st.booleans(),
    fmin=st.sampled_from([0.0, 60.0]),
)
def test_views_equal_librosa(seed, length, rate, n_fft, hop, window, n_mels, htk, fmin):
    random = np.random.default_rng(seed)
    time = np.arange(length) / rate
    pitch = random.uniform(60, 3000)
    samples = random.normal(0, 10 ** random.uniform(-4, -1), length)
    samples += 0.3 * np.sin(2 * np.pi * pitch * time) * (np.sin(2 * np.pi * 2 * time) > 0)
    samples = samples.astype(np.float32)
    changes = {"stft.n_fft": n_fft, "stft.hop_length": hop, "stft.window": window}
    changes |= {"mel.n_mels": n_mels, "mel.scale": "htk" if htk else "slaney", "mel.fmin": fmin}
    try:
        ours = views(Clip(samples, rate), **changes)
    except SonicError as error:  # bands that librosa would leave empty are refused
        assert "without any frequency" in str(error)
        return
    theirs = expected(samples, rate, n_fft=n_fft, hop=hop, window=window, n_mels=n_mels, htk=htk, fmin=fmin)
    compare(samples, rate, ours, theirs)


def test_views_of_real_music_equal_librosa(recordings):
    for path in recordings[:: max(1, len(recordings) // 5)]:
        clip = load(path, duration=10)
        compare(clip.samples, 22050, views(clip), expected(clip.samples, 22050))


EDGES = [np.zeros(5000), np.ones(5000), np.zeros(1), np.ones(100), np.eye(1, 9000, 4000)[0]]


@pytest.mark.parametrize("samples", EDGES)
def test_edges_equal_librosa(samples):
    samples = samples.astype(np.float32)
    # tuning given: the flat spectrum of a click has no peaks to estimate it from but those of rounding
    ours = views(Clip(samples, 22050), **{"chroma.tuning": 0})
    compare(samples, 22050, ours, expected(samples, 22050, tuning=0.0))


@pytest.mark.parametrize("samples", [np.zeros(0), np.array([0, np.nan]), np.array([np.inf]), np.zeros((2, 100))])
def test_what_has_no_spectrum_is_refused(samples):
    with pytest.raises(SonicError):
        views(Clip(samples.astype(np.float32), 22050))


def test_known_sounds_land_where_they_must():
    rate = 22050
    time = np.arange(10 * rate) / rate
    sine = views(Clip((0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32), rate))
    assert abs(sine["mel"].row_axis.values[sine["mel"].values.mean(axis=1).argmax()] - 440) < 15
    assert sine["chroma"].values.mean(axis=1).argmax() == 9  # A
    assert abs(sine["fft"].row_axis.values[sine["fft"].values.argmax()] - 440) < rate / 2048
    edges = curve_axis(picture_config().fft, nyquist=rate / 2, width=488)
    top = picture(sine["fft"]).levels[-1].argmax()
    assert edges[top] < 440 + rate / 2048 and edges[top + 1] > 440 - rate / 2048
    assert abs(picture(sine["chroma"]).values.mean(axis=1).argmax() / 244 * 12 - 9.5) <= 0.5

    chord = sum(np.sin(2 * np.pi * f * time) for f in (261.63, 329.63, 392.0)) / 4
    strong = np.argsort(views(Clip(chord.astype(np.float32), rate), ["chroma"])["chroma"].values.mean(axis=1))[-3:]
    assert set(strong) == {0, 4, 7}  # C, E, G

    sweep = np.sin(2 * np.pi * 100 * (80 ** (time / 10) - 1) * 10 / np.log(80)).astype(np.float32)
    rows = picture(views(Clip(sweep, rate), ["mel"])["mel"]).values[:, 5:-5].argmax(axis=0)
    assert (np.diff(rows) >= 0).all() and rows[0] < 15 and rows[-1] > 180

    clicks = np.zeros(10 * rate, np.float32)
    for start in range(0, len(clicks), rate // 2):  # 120 BPM
        clicks[start : start + 200] = np.random.default_rng(0).normal(0, 0.3, 200)
    beat = views(Clip(clicks, rate), ["tempogram"])["tempogram"]
    lags = beat.row_axis.values
    mean = beat.values.mean(axis=1)
    peak = lags[(lags > 0.3) & (lags < 0.7)][mean[(lags > 0.3) & (lags < 0.7)].argmax()]
    assert abs(peak - 0.5) < 0.012  # half a frame
    drawn = picture(beat).values.mean(axis=1)
    tempi = np.geomspace(30, 300, 244)
    assert abs(np.log2(tempi[drawn.argmax()] / 120)) % 1 < 0.02  # 120 BPM, or an octave below
    assert drawn[np.abs(tempi - 120).argmin()] > 5 * np.median(drawn)


def picture_config():
    from sonic import Config

    return Config()


def test_rendering_needs_neither_librosa_nor_torch():
    program = """
import sys, numpy as np
from sonic.cream.render import _rehearse
from sonic import Config
_rehearse(Config(), ["mel", "chroma", "fft", "tempogram"])
_rehearse(Config().replace(**{"chroma.kind": "cqt"}), ["chroma"])
print([name for name in ("librosa", "torch", "scipy.signal", "matplotlib") if name in sys.modules])
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("changes", [{}, {"chroma.kind": "cens", "stft.n_fft": 1000}, {"tempogram.axis": "lag"}])
def test_what_may_not_be_written_to_can_be_drawn(changes):
    "Arrays out of a cache, a memory map or a frozen table."
    config = Config().replace(**changes)
    samples = np.random.default_rng(0).normal(0, 0.1, (30000, 2)).astype(np.float32)
    samples.setflags(write=False)
    mono = to_mono(samples)
    mono.setflags(write=False)
    spectrum = spectrum_of(Clip(mono, 22050), config=config)
    spectrum.power.setflags(write=False)
    for view in (draw(spectrum) for draw in VIEWS.values()):
        view.values.setflags(write=False)
        drawn = picture(view, config=config)
        drawn.levels.setflags(write=False)
        assert encode(drawn.levels, settings=config.picture).startswith(b"\x89PNG")
        assert to_levels(view.values, low=0, high=1).shape == view.values.shape
