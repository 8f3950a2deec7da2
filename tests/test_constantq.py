"The constant-Q transform against librosa over steps, rates, lengths and sounds, next to silence too; what it costs."

from __future__ import annotations

import subprocess
import sys
import tracemalloc
import warnings

import librosa
import numpy as np
import pytest
import scipy.fft
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sonic.cream import constantq
from sonic.cream.constantq import OCTAVES, constant_q, pitches
from sonic.cream.filters import BINS, SPREAD, octave_filters
from sonic.cream.sliding import framed, sliding

RATE = 22050
SOUNDS = ["noise", "notes", "late", "fade", "sixteen bits", "click", "offset", "constant", "rumble", "hiss", "faint"]


def sound(what, length, rate=RATE, seed=0):
    "Samples of one of several characters, most of which leave some octave with next to nothing."
    rng = np.random.default_rng(seed)
    t = np.arange(length) / rate
    notes = sum(np.sin(2 * np.pi * 440 * 2 ** (n / 12) * t) for n in rng.uniform(-36, 36, 4)) * 0.2
    samples = {
        "noise": rng.normal(0, 0.1, length),
        "notes": notes,
        "late": np.where(np.arange(length) < length // 2, 0, notes),
        "fade": notes * np.exp(-30 * t),
        "sixteen bits": np.round(notes * np.exp(-8 * t) * 32768) / 32768,
        "click": (np.arange(length) == length // 2) * 1.0,
        "offset": 0.3 + notes * 1e-3,
        "constant": np.full(length, 0.5),
        "rumble": np.sin(2 * np.pi * 15 * t),
        "hiss": np.sin(2 * np.pi * 0.45 * rate * t),
        "faint": notes * 1e-22,  # its squares vanish in float32
    }[what]
    return samples.astype(np.float32)


def theirs(samples, *, rate=RATE, hop=512, tuning=0.0):
    with warnings.catch_warnings(action="ignore"):  # of clips shorter than a frame
        bins = librosa.cqt(samples, sr=rate, hop_length=hop, n_bins=252, bins_per_octave=36, tuning=3 * tuning)
    return np.abs(bins).T


def shares(values):
    "Of the loudest of each frame."
    loudest = values.max(axis=1, keepdims=True)
    return values / np.where(loudest > 0, loudest, 1)


def count_framed(monkeypatch):
    "How many frames are computed one by one, octave by octave, from now on."
    counts = []

    def counted(samples, *, which, **kwargs):
        counts.append(len(which))
        framed(samples, which=which, **kwargs)

    monkeypatch.setattr(constantq, "framed", counted)
    return counts


@settings(
    max_examples=35,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    what=st.sampled_from(SOUNDS),
    rate=st.sampled_from([8400, 11025, 16000, 22050, 44100, 48000]),
    length=st.one_of(st.integers(8, 3000), st.integers(3000, 30000)),
    hop=st.sampled_from([32, 64, 101, 128, 256, 300, 512, 1000, 1024, 2048, 4096]),
    tuning=st.floats(-0.5, 0.0),
    seed=st.integers(0, 99),
)
def test_agrees_with_librosa_in_every_frame(what, rate, length, hop, tuning, seed):
    samples = sound(what, length, rate, seed)
    expected = theirs(samples, rate=rate, hop=hop, tuning=tuning)
    values = constant_q(samples, sample_rate=rate, hop_length=hop, tuning=tuning)
    assert values.shape == expected.shape and values.dtype == np.float32
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-6 * expected.max())
    np.testing.assert_allclose(shares(values), shares(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize("length", [1, 2, 31, 511, 512, 513, 1024])
@pytest.mark.parametrize("hop", [64, 512, 777])
def test_very_short_clips(length, hop):
    samples = sound("noise", length)
    expected = theirs(samples, hop=hop)
    np.testing.assert_allclose(constant_q(samples, sample_rate=RATE, hop_length=hop), expected, rtol=0, atol=1e-6)


def test_silence_is_silent():
    assert not constant_q(np.zeros(30000, np.float32), sample_rate=RATE).any()
    before = np.concatenate([np.zeros(400000, np.float32), sound("notes", 20000)])
    expected, values = theirs(before), constant_q(before, sample_rate=RATE)
    silent = ~expected.any(axis=1)
    assert silent.sum() > 300 and not values[silent].any() and values[-10:].all()


@pytest.mark.parametrize("what", ["late", "constant", "hiss"])
def test_doubtful_frames_need_the_second_look(what, monkeypatch):
    samples = sound(what, 60000)
    expected = shares(theirs(samples))
    again = count_framed(monkeypatch)
    assert np.abs(shares(constant_q(samples, sample_rate=RATE)) - expected).max() < 5e-6
    assert len(again) == OCTAVES and 10 < again[0] <= len(expected)
    monkeypatch.setattr(constantq, "DOUBTFUL", 0.0)
    assert np.abs(shares(constant_q(samples, sample_rate=RATE)) - expected).max() > 1e-5
    assert len(again) == OCTAVES


@pytest.mark.parametrize("hop", [64, 512, 2048])
def test_music_slides(hop, monkeypatch):
    again = count_framed(monkeypatch)
    for what in ("notes", "noise"):
        constant_q(sound(what, 60000), sample_rate=RATE, hop_length=hop)
    assert not again
    constant_q(sound("notes", 60000), sample_rate=RATE, hop_length=300)  # no power of two
    assert len(again) == OCTAVES


@pytest.mark.parametrize("hop", [1, 2, 16, 1024, 4096])
def test_sliding_and_framed_answers_agree(hop):
    samples = sound("noise", 3000)
    n_fft, first, values, weights, spans, _ = octave_filters(pitches()[-BINS] / RATE)
    shared = {"hop_length": hop, "n_fft": n_fft, "first": first, "spans": spans}
    slid, again = np.empty((2, BINS, 1 + len(samples) // hop), np.float32)
    frames = np.arange(slid.shape[1])
    energy = sliding(samples, weights=weights, out=slid, **shared)
    framed(samples, values=values, which=frames, out=again, **shared)
    np.testing.assert_allclose(slid, again, rtol=0, atol=1e-6 * again.max())
    expected = [np.sum(np.pad(samples, 512)[hop * n : hop * n + 1024].astype(float) ** 2) for n in frames]
    np.testing.assert_allclose(energy, expected, rtol=1e-5)


@pytest.mark.parametrize("tuning", [-0.5, 0.0, 0.37])
def test_filters_are_librosas(tuning):
    pitch = pitches(tuning)[-BINS:]
    waves, lengths = librosa.filters.wavelet(freqs=pitch, sr=RATE, filter_scale=1, pad_fft=True, alpha=SPREAD)
    n_fft = waves.shape[1]
    basis = scipy.fft.fft(waves * lengths[:, None] / n_fft, axis=1)[:, : n_fft // 2 + 1]
    expected = librosa.util.sparsify_rows(basis, quantile=0.01, dtype=np.complex64).toarray()
    filters = octave_filters(pitch[0] / RATE)
    values = np.zeros_like(expected)
    values[:, filters.first : filters.first + filters.values.shape[1]] = filters.values
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-7)
    assert filters.n_fft == n_fft and filters.slide
    for row, (first, stop) in zip(filters.values, filters.spans, strict=True):
        assert row[first] and row[stop - 1] and not row[:first].any() and not row[stop:].any()


def test_a_filter_off_centre_does_not_slide():
    lengths = [n for n in range(520, 1000, 2) if 1 / (SPREAD * (1 / (SPREAD * n))) == n]  # even, to the last bit
    assert lengths and not octave_filters(1 / (SPREAD * lengths[0])).slide
    assert octave_filters(1 / (SPREAD * (lengths[0] + 0.5))).slide


def test_samples_stay_as_they_are_and_may_be_read_only():
    samples = sound("notes", 9000)
    samples.setflags(write=False)
    before = samples.copy()
    expected = constant_q(before, sample_rate=RATE)
    for same in (samples, samples.astype(np.float64), np.stack([samples, samples], axis=1)[:, 0]):
        np.testing.assert_array_equal(constant_q(same, sample_rate=RATE), expected)
    np.testing.assert_array_equal(samples, before)


def test_memory_is_that_of_the_result_and_the_halved_sound():
    samples = sound("notes", 60 * RATE)
    constant_q(samples[:9000], sample_rate=RATE)  # filters
    tracemalloc.start()
    try:
        values = constant_q(samples, sample_rate=RATE)
        assert tracemalloc.get_traced_memory()[1] < values.nbytes + 1.2 * samples.nbytes + 4e6
    finally:
        tracemalloc.stop()


def test_only_what_is_needed_is_imported():
    heavy = ("librosa", "scipy.signal", "scipy.sparse", "matplotlib", "torch")
    program = (
        "import sys, numpy as np; from sonic.cream.constantq import constant_q; "
        "constant_q(np.ones(9000, np.float32), sample_rate=22050); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
