"Chroma, constant-Q and tuning against librosa, over settings, edge cases and real recordings."

import subprocess
import sys
import warnings
from pathlib import Path

import librosa
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sonic.config import Config, SonicError
from sonic.cream.audio import Clip
from sonic.cream.chroma import PITCH_CLASSES, chroma_bank, chroma_view, estimate_tuning, peak_tuning
from sonic.cream.constantq import C1, constant_q, pitches
from sonic.cream.spectrum import Spectrum

AUDIO = Path(__file__).resolve().parents[2] / "shared" / "audio"
RECORDINGS = ["tchaikovsky-sugar-plum-fairy.ogg", "humpback.ogg", "vibe-ace.ogg", "loop_compus.flac", "speech.ogg"]
KINDS = ["stft", "cqt", "cens"]
few = settings(  # not shrunk: an example takes too long for that
    max_examples=25,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)


def tones(*midi, rate=22050, seconds=1.0, detune=0.0):
    "Notes one after another, each with two overtones."
    time = np.arange(int(rate * seconds)) / rate
    hz = [440 * 2 ** ((m + detune - 69) / 12) for m in midi]
    notes = [sum(np.sin(2 * np.pi * k * f * time) / k**2 for k in (1, 2, 3)) for f in hz]
    return (np.concatenate(notes) * 0.2).astype(np.float32)


def sound(what, length, rate, seed):
    "Samples of one of several characters."
    rng = np.random.default_rng(seed)
    time = np.arange(length) / rate
    if what == "noise":
        samples = rng.normal(0, 0.1, length)
    elif what == "notes":
        samples = sum(np.sin(2 * np.pi * 440 * 2 ** (n / 12) * time) for n in rng.uniform(-36, 36, 4)) * 0.2
    elif what == "late":  # silence, then a note
        samples = np.where(np.arange(length) < length // 2, 0, np.sin(2 * np.pi * 220 * time))
    else:
        samples = np.full(length, {"constant": 0.5, "silence": 0.0}[what])
    return samples.astype(np.float32)


def ours(samples, rate, **changes):
    return chroma_view(Spectrum(Clip(samples, rate), Config().replace(**changes))).values


def theirs(samples, rate, kind, tuning=None, hop=512, **stft):
    function = getattr(librosa.feature, f"chroma_{kind}")
    if kind != "stft":  # there, librosa counts the tuning in thirds of a semitone
        tuning, stft = tuning if tuning is None else 3 * tuning, {}
    with warnings.catch_warnings(action="ignore"):
        return function(y=samples, sr=rate, hop_length=hop, tuning=tuning, **stft)


@few
@given(
    kind=st.sampled_from(KINDS),
    what=st.sampled_from(["noise", "notes", "late", "constant", "silence"]),
    rate=st.sampled_from([16000, 22050, 44100]),
    length=st.integers(4, 30000),
    hop=st.sampled_from([128, 300, 441, 512, 1024, 2048]),
    n_fft=st.sampled_from([512, 1000, 2048, 4096]),
    window=st.sampled_from(["hann", "hamming", "blackman", "ones"]),
    tuning=st.floats(-0.5, 0.5),
    seed=st.integers(0, 99),
)
def test_agrees_with_librosa(kind, what, rate, length, hop, n_fft, window, tuning, seed):
    samples = sound(what, length, rate, seed)
    chroma, stft = {"kind": kind, "tuning": tuning}, {"hop_length": hop, "n_fft": n_fft, "window": window}
    values = ours(samples, rate, chroma=chroma, stft=stft)
    expected = theirs(samples, rate, kind, tuning, hop, n_fft=n_fft, window=window)
    assert values.shape == expected.shape and values.dtype == np.float32
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-5)


@few
@given(
    what=st.sampled_from(["noise", "notes", "late", "constant", "silence"]),
    rate=st.sampled_from([8000, 16000, 22050, 44100, 192000]),
    length=st.integers(1, 30000),
    n_fft=st.sampled_from([32, 512, 1000, 2048, 4096]),
    bins=st.sampled_from([12, 36]),
    seed=st.integers(0, 99),
)
def test_tuning_is_librosas_number(what, rate, length, n_fft, bins, seed):
    spectrum = Spectrum(Clip(sound(what, length, rate, seed), rate), Config().replace(**{"stft.n_fft": n_fft}))
    for levels in (spectrum.power, np.sqrt(spectrum.power)):
        with warnings.catch_warnings(action="ignore"):
            expected = librosa.estimate_tuning(S=levels.T, sr=rate, bins_per_octave=bins)
        assert peak_tuning(levels, sample_rate=rate, bins_per_octave=bins) == expected


@pytest.mark.parametrize("seed", range(5))
def test_tuning_of_plateaus_is_librosas_number(seed):
    levels = np.random.default_rng(seed).integers(0, 4, (20, 257)).astype(np.float32)  # many neighbours are equal
    assert peak_tuning(levels, sample_rate=22050) == librosa.estimate_tuning(S=levels.T, sr=22050)


@few
@given(
    rate=st.sampled_from([8400, 11025, 16000, 22050, 48000, 96000]),
    length=st.integers(64, 12000),
    hop=st.sampled_from([64, 101, 300, 512, 1024]),
    tuning=st.floats(-0.5, 0.0),
    seed=st.integers(0, 99),
)
def test_constant_q_agrees_with_librosa(rate, length, hop, tuning, seed):
    samples = sound("noise", length, rate, seed)
    with warnings.catch_warnings(action="ignore"):
        args = dict(n_bins=252, bins_per_octave=36, tuning=3 * tuning)
        expected = np.abs(librosa.cqt(samples, sr=rate, hop_length=hop, **args)).T
    values = constant_q(samples, sample_rate=rate, hop_length=hop, tuning=tuning)
    assert values.shape == expected.shape
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-6 * max(1, expected.max()))


@pytest.mark.parametrize("name", RECORDINGS)
def test_recordings(name):
    if not (AUDIO / name).exists():
        pytest.skip(f"{AUDIO / name} is not here")
    samples, rate = librosa.load(AUDIO / name, duration=5)
    for kind in KINDS:  # the tuning is estimated on both sides
        expected = theirs(samples, rate, kind)
        np.testing.assert_allclose(ours(samples, rate, **{"chroma.kind": kind}), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_note_has_its_row(kind):
    for row in range(12):
        chroma = ours(tones(60 + row), 22050, **{"chroma.kind": kind})
        assert chroma.mean(axis=1).argmax() == row
    assert PITCH_CLASSES[9] == "A" and len(PITCH_CLASSES) == 12


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("root", [0, 4, 9])
def test_a_triad_has_three_strong_rows(kind, root):
    chord = sum(tones(60 + root + step, seconds=2) for step in (0, 4, 7)) / 3
    rows = np.argsort(ours(chord, 22050, **{"chroma.kind": kind}).mean(axis=1))[-3:]
    assert set(rows) == {(root + step) % 12 for step in (0, 4, 7)}


@pytest.mark.parametrize("detune", [-0.4, -0.2, 0.2, 0.3, 0.4])
def test_planted_tuning_is_found(detune):
    scale = tones(*range(69, 93), seconds=0.5, detune=detune)
    spectrum = Spectrum(Clip(scale, 22050))
    assert estimate_tuning(spectrum) == pytest.approx(detune, abs=0.02)
    in_tune = ours(tones(*range(69, 93), seconds=0.5), 22050)
    right, wrong = (np.abs(ours(scale, 22050, **{"chroma.tuning": t}) - in_tune).mean() for t in (None, 0.0))
    assert right < wrong / 2  # with the tuning estimated, the detuned scale looks like the one in tune


def test_view_is_described():
    view = chroma_view(Spectrum(Clip(tones(60), 22050)))
    assert (view.name, view.unit, view.row_axis.name) == ("chroma", "", "pitch class")
    assert view.row_axis.values.tolist() == list(range(12))
    assert view.values.shape == (12, len(view.column_axis.values)) and view.values.flags.c_contiguous
    assert view.column_axis.values[43] == pytest.approx(43 * 512 / 22050)
    assert view.values.max() == 1 and view.values.min() >= 0


def test_columns_are_named_where_librosa_has_one_more():
    samples = sound("noise", 2047, 44100, 0)  # halving the rate first rounds the length up
    view = chroma_view(
        Spectrum(Clip(samples, 44100), Config().replace(chroma={"kind": "cqt"}, stft={"hop_length": 128}))
    )
    assert view.values.shape[1] == len(view.column_axis.values) == theirs(samples, 44100, "cqt", hop=128).shape[1]


def test_no_tuning_means_that_of_the_default_transform():
    samples = tones(*range(60, 72), seconds=0.3, detune=0.12)
    values = ours(samples, 22050, chroma={"kind": "cqt"}, stft={"n_fft": 512, "hop_length": 256, "window": "ones"})
    np.testing.assert_allclose(values, theirs(samples, 22050, "cqt", hop=256), rtol=0, atol=1e-5)


def test_refusals_name_the_remedy():
    low = Clip(sound("noise", 9000, 8000, 0), 8000)
    for kind in ("cqt", "cens"):
        with pytest.raises(SonicError, match="8000 Hz is too low .* take at least 83.. Hz, or chroma.kind=stft"):
            chroma_view(Spectrum(low, Config().replace(**{"chroma.kind": kind})))
    with pytest.raises(SonicError, match="1 samples at 44100 Hz are too short .* at least 2, or chroma.kind=stft"):
        constant_q(np.ones(1, np.float32), sample_rate=44100)
    assert ours(low.samples, 8000).shape == (12, 18)
    constant_q(low.samples, sample_rate=8334)  # the remedy helps


def test_banks_are_remembered_and_safe():
    bank = chroma_bank(0.1, sample_rate=22050, n_fft=2048)
    assert chroma_bank(0.1, sample_rate=22050, n_fft=2048) is bank
    with pytest.raises(ValueError):
        bank[0] = 0
    assert pitches()[0] == pytest.approx(C1) == pytest.approx(librosa.note_to_hz("C1"))


def test_the_library_needs_neither_librosa_nor_scipy_signal():
    heavy = ("librosa", "scipy.signal", "matplotlib", "torch")
    code = f"import sys, sonic.cream.chroma; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
