"Tempogram, tempo and key: parity with librosa, planted truth, properties, and real recordings with known answers."

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonic.config import Config, SonicError
from sonic.cream.audio import Clip, load
from sonic.cream.chroma import PITCH_CLASSES
from sonic.cream.key import key
from sonic.cream.mel import mel_view
from sonic.cream.spectrum import Axis, Spectrum, View
from sonic.cream.tempo import tempo
from sonic.cream.tempogram import on_bpm_axis, onset_strength, tempogram_view

AUDIO = Path(__file__).resolve().parents[2] / "shared" / "audio"
RATE = 22050
few = settings(max_examples=15, deadline=None, derandomize=True)

# A beat is two characters, but for the last two, where it is three and four. An x is a hit.
GROOVES = {
    "clicks": (1, {"click": "x"}),
    "rock": (2, {"kick": "x...x...", "snare": "..x...x.", "hat": "xxxxxxxx"}),
    "four on the floor": (2, {"kick": "x.x.x.x.", "snare": "..x...x.", "hat": ".x.x.x.x"}),
    "waltz": (2, {"kick": "x.....", "snare": "..x.x.", "hat": "xxxxxx"}),
    "shuffle": (3, {"kick": "x.....x.....", "snare": "...x.....x..", "hat": "x.xx.xx.xx.x"}),
    "son clave": (4, {"kick": "x...............", "click": "x..x..x...x.x...", "hat": "x...x...x...x..."}),
}


def sounds(seed: int, rate: int) -> dict[str, np.ndarray]:
    "A quarter of a second of each drum."
    time = np.arange(rate // 4) / rate
    noise = np.random.default_rng(seed).normal(0, 0.3, len(time))
    return {
        "kick": np.sin(2 * np.pi * (50 * time + 3 * (1 - np.exp(-40 * time)))) * np.exp(-20 * time),
        "snare": noise * np.exp(-25 * time),
        "hat": 0.5 * np.diff(noise, append=0) * np.exp(-80 * time),
        "click": 0.5 * np.sin(2 * np.pi * 1200 * time) * np.exp(-60 * time),
    }


def drums(
    groove: str,
    bpm: float,
    *,
    seconds: float = 10,
    seed: int = 0,
    start: float = 0.0,
    rough: float = 0.0,
    rate: int = RATE,
) -> Clip:
    "A drum loop whose hits are `rough` seconds off the beat and vary in strength by a tenth."
    rng = np.random.default_rng(seed)
    steps, lines = GROOVES[groove]
    samples = np.zeros(int((seconds + 1) * rate))
    for name, line in lines.items():
        sound = sounds(seed, rate)[name]
        for step, moment in enumerate(np.arange(start, seconds, 60 / bpm / steps)):
            if line[step % len(line)] == "x":
                first = max(0, int((moment + rng.normal(0, rough)) * rate))
                samples[first : first + len(sound)] += sound * rng.normal(1, 0.1)
    return Clip((samples[: int(seconds * rate)] * 0.4).astype(np.float32), rate)


# --- tempogram ------------------------------------------------------------------------------------------------------


@few
@given(
    n_fft=st.sampled_from([64, 500, 1024, 2048]),
    hop=st.integers(50, 3000),
    win_length=st.integers(2, 500),
    length=st.integers(1, 40000),
    rate=st.sampled_from([8000, 22050, 44100]),
    gain=st.sampled_from([1e-7, 0.01, 1.0]),
)
def test_tempogram_is_librosas(n_fft: int, hop: int, win_length: int, length: int, rate: int, gain: float) -> None:
    rng = np.random.default_rng(length)
    samples = (gain * rng.normal(0, 0.3, length) * (1 + np.sin(np.arange(length) / 900))).astype(np.float32)
    samples[length // 3 : length // 2] *= np.float32(1e-5)  # a rise from there counts for 80 dB at most
    changes = {
        "audio.sample_rate": rate,
        "stft.n_fft": n_fft,
        "stft.hop_length": hop,
        "tempogram.win_length": win_length,
    }
    spectrum = Spectrum(Clip(samples, rate), Config().replace(**changes))
    with warnings.catch_warnings(action="ignore"):  # of empty bands and of clips shorter than a frame
        onsets = librosa.onset.onset_strength(y=samples, sr=rate, n_fft=n_fft, hop_length=hop)
        expected = librosa.feature.tempogram(onset_envelope=onsets, sr=rate, hop_length=hop, win_length=win_length)
    np.testing.assert_allclose(onset_strength(spectrum), onsets, atol=1e-5 * max(1, onsets.max()))
    view = tempogram_view(spectrum)
    np.testing.assert_allclose(view.values, expected, atol=1e-5)
    assert view.values.dtype == np.float32 and view.values.shape == (win_length, len(spectrum.times))
    np.testing.assert_allclose(view.row_axis.values, np.arange(win_length) * hop / rate)


def test_settings_of_other_views_leave_the_tempogram_alone() -> None:
    clip = drums("rock", 110, seconds=3)
    plain = tempogram_view(Spectrum(clip, Config().replace(**{"stft.n_fft": 512})))
    changes = {"stft.n_fft": 512, "mel.n_mels": 512, "mel.scale": "htk", "mel.fmin": 300, "picture.top_db": 20}
    other = Spectrum(clip, Config().replace(**changes))
    np.testing.assert_array_equal(tempogram_view(other).values, plain.values)
    with pytest.raises(SonicError, match="take fewer bands"):  # the mel view itself refuses such bands
        mel_view(other)


def lags(values: np.ndarray, *, step: float = 0.02) -> View:
    "A tempogram with these values, a lag a row."
    rows, columns = values.shape
    axes = Axis("lag", "s", np.arange(rows) * step), Axis("time", "s", np.arange(columns) * 0.02)
    return View("tempogram", values.astype(np.float32), "", *axes)


@few
@given(rows=st.integers(1, 900), low=st.floats(20, 100), octaves=st.floats(0.2, 3))
def test_bpm_rows_are_means_over_their_lags(rows: int, low: float, octaves: float) -> None:
    high = low * 2**octaves
    edges = np.geomspace(low, high, rows + 1)
    ramp = np.tile(np.arange(200)[:, None] * 0.02, (1, 3))
    view = on_bpm_axis(lags(ramp), bpm_min=low, bpm_max=high, rows=rows)
    np.testing.assert_allclose(view.values[:, 1], (60 / edges[:-1] + 60 / edges[1:]) / 2, rtol=1e-4)
    assert view.row_axis.name == "tempo" and view.row_axis.unit == "BPM"
    assert ((edges[:-1] < view.row_axis.values) & (view.row_axis.values < edges[1:])).all()  # slowest in row 0
    flat = on_bpm_axis(lags(np.full((200, 2), 0.7)), bpm_min=low, bpm_max=high, rows=rows)
    np.testing.assert_allclose(flat.values, 0.7, rtol=1e-4)


def test_bpm_rows_lose_no_ridge_and_commute_with_averaging_over_time() -> None:
    rng = np.random.default_rng(0)
    view = lags(rng.random((300, 40)), step=0.005)
    few_rows = on_bpm_axis(view, rows=30)  # many lags a row at the bottom
    pairs = on_bpm_axis(lags(view.values.reshape(300, 20, 2).mean(axis=2), step=0.005), rows=30)
    np.testing.assert_allclose(few_rows.values.reshape(30, 20, 2).mean(axis=2), pairs.values, atol=1e-6)
    for lag in range(50, 290):  # a ridge one lag wide shows, and nowhere but at its tempo
        ridge = on_bpm_axis(lags(np.eye(300)[:, [lag]], step=0.005), rows=30)
        assert ridge.values.max() > 0.03
        assert abs(np.log2(ridge.row_axis.values[ridge.values[:, 0].argmax()] / (12000 / lag))) < 0.12


def test_a_tempo_of_more_than_a_beat_a_frame_is_refused() -> None:
    slow = Spectrum(drums("rock", 110, seconds=3), Config().replace(**{"stft.hop_length": 8192}))
    with pytest.raises(SonicError, match=r"tempogram.bpm_max=300 must be at most 161.5 BPM.*stft.hop_length"):
        on_bpm_axis(tempogram_view(slow))


# --- tempo ----------------------------------------------------------------------------------------------------------


def octave_error(bpm: float | None, planted: float) -> float:
    "How far a tempo is from the nearest of the planted one, its half and its double, as a share."
    return min(abs((bpm or 0) / (planted * factor) - 1) for factor in (0.5, 1, 2))


@few
@given(
    groove=st.sampled_from(["clicks", "rock", "four on the floor", "waltz", "shuffle"]),
    bpm=st.floats(70, 160),
    start=st.floats(0, 0.5),
    rough=st.sampled_from([0.0, 0.005]),
    rate=st.sampled_from([16000, 22050, 44100]),
    seed=st.integers(0, 99),
)
def test_planted_tempo(groove: str, bpm: float, start: float, rough: float, rate: int, seed: int) -> None:
    found = tempo(Spectrum(drums(groove, bpm, start=start, rough=rough, rate=rate, seed=seed)))
    plain = groove == "clicks" or 75 <= bpm <= 145  # beyond, drums with hits between the beats have two readings
    assert (abs((found.bpm or 0) / bpm - 1) if plain else octave_error(found.bpm, bpm)) < 0.02
    assert found.strength > 0.2


@few
@given(groove=st.sampled_from(sorted(GROOVES)), bpm=st.floats(60, 180), seed=st.integers(0, 99))
def test_planted_tempo_up_to_an_octave(groove: str, bpm: float, seed: int) -> None:
    assert octave_error(tempo(Spectrum(drums(groove, bpm, seed=seed))).bpm, bpm) < 0.02


def test_clicks_are_read_finer_than_a_frame() -> None:
    for bpm in (75, 92, 107, 113, 120, 131, 143):
        for start in (0, 0.009, 0.017):
            found = tempo(Spectrum(drums("clicks", bpm, seconds=8, start=start)))
            assert found.bpm == pytest.approx(bpm, rel=0.003)  # a frame of lag is 3 % at 75 BPM


def test_more_tempi_are_right_than_librosas() -> None:
    ours, theirs = [], []
    for groove in GROOVES:
        for bpm in (72, 85, 98, 111, 124, 137, 150):
            clip = drums(groove, bpm, seed=bpm)
            ours.append(abs((tempo(Spectrum(clip)).bpm or 0) / bpm - 1) < 0.02)
            theirs.append(abs(librosa.feature.tempo(y=clip.samples, sr=RATE)[0] / bpm - 1) < 0.04)  # a lag is 5 %
    assert sum(ours) >= 0.9 * len(ours)
    assert sum(ours) >= sum(theirs) + 5


def test_tempo_ignores_loudness_and_follows_the_clock() -> None:
    clip = drums("rock", 100)
    bpm = tempo(Spectrum(clip)).bpm
    assert bpm is not None
    assert tempo(Spectrum(Clip(clip.samples * np.float32(0.02), RATE))).bpm == pytest.approx(bpm, rel=1e-3)
    faster = tempo(Spectrum(Clip(clip.samples, int(RATE * 1.2))))  # the same samples, played faster
    assert faster.bpm == pytest.approx(bpm * 1.2, rel=0.005)


def test_what_a_tempo_was_weighed_against() -> None:
    found = tempo(Spectrum(drums("rock", 95)))
    assert found.bpm is not None
    assert sorted(round(bpm / found.bpm, 3) for bpm, _ in found.others) == [0.333, 0.5, 0.667, 1.5, 2, 3]
    shares = [share for _, share in found.others]
    assert shares == sorted(shares, reverse=True) and 0 <= shares[-1] and 0.2 < shares[0] <= 1


@few
@given(
    seed=st.integers(0, 10000),
    seconds=st.floats(0.01, 12),
    kind=st.sampled_from(["noise", "tone", "one hit", "silence"]),
)
def test_no_beat_no_tempo(seed: int, seconds: float, kind: str) -> None:
    rng = np.random.default_rng(seed)
    length = max(1, int(seconds * RATE))
    samples = np.zeros(length)
    if kind == "noise":
        samples = rng.normal(0, 0.1, max(length, 2 * RATE))  # a second of noise may repeat by chance
    elif kind == "tone":
        samples = np.sin(np.arange(max(length, RATE)) * rng.uniform(0.01, 2))
    elif kind == "one hit":
        samples[rng.integers(length) :] = 0.5
    assert tempo(Spectrum(Clip(samples.astype(np.float32), RATE))).bpm is None


# --- key ------------------------------------------------------------------------------------------------------------

SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
DEGREES = {  # what each chord is built on, from 0; the fifth of minor has its leading note
    "major": [(0, 3, 4, 0), (0, 5, 3, 4), (0, 3, 0, 4)],
    "minor": [(0, 3, 4, 0), (0, 5, 3, 4), (0, 3, 0, 4)],
}


def song(
    tonic: int, mode: str, *, progression: int = 0, roll: float = 1.0, bass: float = 1.5, hiss: float = 0.0
) -> Clip:
    "Four chords of half a second with a bass; overtones fall as 1 / k ** roll."
    time = np.arange(RATE // 2) / RATE

    def note(semitones: int, gain: float = 1.0) -> np.ndarray:
        hertz = 440 * 2 ** ((semitones + tonic - 9) / 12)
        return gain * np.exp(-2 * time) * sum(np.sin(2 * np.pi * hertz * k * time) / k**roll for k in range(1, 7))

    def chord(degree: int) -> list[int]:
        notes = [SCALES[mode][(degree + k) % 7] + 12 * ((degree + k) // 7) for k in (0, 2, 4)]
        return [7, 11, 14] if degree == 4 else notes

    chords = [chord(degree) for degree in DEGREES[mode][progression]]
    samples = np.concatenate([sum(map(note, notes)) + note(notes[0] - 24, bass) for notes in chords])
    samples = samples / np.abs(samples).max() + np.random.default_rng(0).normal(0, hiss, len(samples))
    return Clip((0.5 * samples).astype(np.float32), RATE)


@pytest.mark.parametrize("mode", ["major", "minor"])
@pytest.mark.parametrize("tonic", range(12))
def test_all_24_keys(tonic: int, mode: str) -> None:
    for progression in range(3):
        for sound in ({"roll": 0.8}, {"roll": 1.5, "bass": 0.0}, {"hiss": 0.1}):
            found = key(Spectrum(song(tonic, mode, progression=progression, **sound)))
            assert found.name == f"{PITCH_CLASSES[tonic]} {mode}", (progression, sound)
            assert found.correlation > max(fit for _, fit in found.others) > 0


@few
@given(
    tonic=st.integers(0, 11),
    up=st.integers(0, 11),
    mode=st.sampled_from(["major", "minor"]),
    progression=st.integers(0, 2),
    bass=st.floats(0, 2),
    roll=st.floats(0.7, 2),
)
def test_transposing_moves_the_key(tonic: int, up: int, mode: str, progression: int, bass: float, roll: float) -> None:
    before, after = (
        key(Spectrum(song(start, mode, progression=progression, bass=bass, roll=roll))) for start in (tonic, tonic + up)
    )
    assert before.tonic is not None and after.tonic is not None
    assert (PITCH_CLASSES.index(after.tonic) - PITCH_CLASSES.index(before.tonic)) % 12 == up
    assert after.mode == before.mode


@pytest.mark.parametrize("seconds", [0.01, 1, 8])
def test_no_notes_no_key(seconds: float) -> None:
    length = int(seconds * RATE)
    found = key(Spectrum(Clip(np.zeros(length, np.float32), RATE)))
    assert (found.tonic, found.mode, found.name, found.correlation, found.others) == (None, None, None, 0.0, ())
    noise = np.random.default_rng(0).normal(0, 0.1, max(length, RATE)).astype(np.float32)
    assert key(Spectrum(Clip(noise, RATE))).tonic is None
    assert key(Spectrum(drums("rock", 120, seconds=max(seconds, 4)))).tonic is None


# --- real recordings, and what is imported --------------------------------------------------------------------------


def recording(name: str) -> Spectrum:
    "One of the real recordings, if they are here."
    if not (AUDIO / name).exists():
        pytest.skip(f"{AUDIO / name} is not here")
    return Spectrum(load(AUDIO / name, duration=30))


@pytest.mark.parametrize(
    "name, beats", [("amen_full", 16), ("garzul", 16), ("compus", 8), ("tabla", 16), ("breakbeat", 8)]
)
def test_tempo_of_real_loops(name: str, beats: int) -> None:
    spectrum = recording(f"loop_{name}.flac")
    planted = 60 * beats / spectrum.clip.seconds  # a loop is a whole number of beats long
    assert tempo(spectrum).bpm == pytest.approx(planted, rel=0.005)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("tchaikovsky-sugar-plum-fairy.ogg", "E minor"),
        ("brahms-hungarian-dance-5.ogg", "G minor"),
        ("guit_em9.flac", "E minor"),
    ],
)
def test_key_of_real_recordings(name: str, expected: str) -> None:
    assert key(recording(name)).name == expected


def test_heavy_libraries_are_not_imported() -> None:
    code = "import sys, sonic.cream.tempogram, sonic.cream.tempo, sonic.cream.key; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"librosa", "matplotlib", "torch", "pandas", "scipy.signal", "scipy.stats"}
