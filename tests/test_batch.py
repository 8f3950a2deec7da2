"A batch of clips on a device: the engine's numbers and librosa's, whatever the settings, the company and the card."

from __future__ import annotations

import warnings

import librosa
import numpy as np
import pytest
import soxr
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sonic.config import Config, SonicError
from sonic.cream import batch, ondevice
from sonic.cream.audio import Clip
from sonic.cream.batch import batch_views
from sonic.cream.chroma import peak_tuning, tuning_of
from sonic.cream.constantq import constant_q
from sonic.cream.octaves import batch_constant_q, halve
from sonic.cream.ondevice import batch_power, batch_tunings, full_precision
from sonic.cream.views import views

TOLERANCE = {"mel": 1e-3, "chroma": 1e-5, "fft": 1e-5, "tempogram": 1e-5}
RATE = 22050
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no card"))]
on_each = pytest.mark.parametrize("device", DEVICES)
few = settings(max_examples=25, deadline=None, derandomize=True, phases=[Phase.generate])


def band(clips=4, seconds=2.0, rate=RATE, seed=0):
    "Clips that differ: some notes with overtones, some noise, a beat."
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    made = []
    for _ in range(clips):
        hz = 440 * 2 ** ((rng.integers(-24, 12, 4) + rng.uniform(-0.4, 0.4)) / 12)
        sound = sum(np.sin(2 * np.pi * f * k * time) / k for f in hz for k in (1, 2, 3)) * 0.1
        sound *= 0.2 + np.exp(-6 * (time % rng.uniform(0.3, 0.6)))
        made.append(sound + rng.normal(0, 10 ** rng.uniform(-4, -1.5), len(time)))
    return np.array(made, np.float32)


def agree(ours, samples, rate, only=None, **changes):
    "Every clip of the batch is what the engine makes of it alone."
    for number, clip in enumerate(samples):
        for name, view in views(Clip(clip, rate), only, **changes).items():
            mine = ours[name][number]
            assert mine.dtype == torch.float32 and mine.shape == view.values.shape
            scale = max(1.0, np.abs(view.values).max()) if name == "fft" else 1.0
            assert np.abs(mine.cpu().numpy() - view.values).max() / scale <= TOLERANCE[name], (name, number)


@on_each
@few
@given(
    seed=st.integers(0, 999),
    rate=st.sampled_from([8000, 16000, 22050, 44100]),
    length=st.integers(1, 30000),
    n_fft=st.sampled_from([64, 1000, 1023, 2048, 4096]),
    hop=st.integers(60, 1500),
    window=st.sampled_from(["hann", "hamming", "blackman", "blackmanharris", "ones"]),
    n_mels=st.integers(1, 40),
    scale=st.sampled_from(["slaney", "htk"]),
    tuning=st.sampled_from([None, 0.0, -0.31]),
    fft=st.sampled_from(["mean", "clip"]),
    win_length=st.sampled_from([2, 17, 384]),
)
def test_any_settings_give_the_engines_numbers(
    device, seed, rate, length, n_fft, hop, window, n_mels, scale, tuning, fft, win_length
):
    samples = band(3, rate=rate, seed=seed)[:, :length]
    changes = {"stft.n_fft": n_fft, "stft.hop_length": hop, "stft.window": window, "mel.n_mels": n_mels}
    changes |= {"mel.scale": scale, "chroma.tuning": tuning, "fft.kind": fft, "tempogram.win_length": win_length}
    try:
        expected = views(Clip(samples[0], rate), **changes)
    except SonicError as error:  # the batch refuses what the engine refuses
        with pytest.raises(SonicError, match="without any frequency"):
            batch_views(torch.tensor(samples, device=device), sample_rate=rate, **changes)
        assert "without any frequency" in str(error)
        return
    ours = batch_views(torch.tensor(samples, device=device), sample_rate=rate, **changes)
    assert list(ours) == list(expected) and all(view.device.type == device for view in ours.values())
    agree(ours, samples, rate, **changes)


@on_each
def test_default_views_are_librosas(device):
    samples = band(3, seconds=4)
    ours = batch_views(torch.tensor(samples, device=device))
    for number, y in enumerate(samples):
        mel = librosa.feature.melspectrogram(y=y, sr=RATE)
        onsets = librosa.onset.onset_strength(y=y, sr=RATE)
        theirs = {
            "mel": librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=None),
            "chroma": librosa.feature.chroma_stft(y=y, sr=RATE),
            "fft": np.abs(librosa.stft(y)).mean(axis=1, keepdims=True),
            "tempogram": librosa.feature.tempogram(onset_envelope=onsets, sr=RATE),
        }
        for name, values in theirs.items():
            scale = max(1.0, values.max()) if name == "fft" else 1.0
            assert np.abs(ours[name][number].cpu().numpy() - values).max() / scale <= TOLERANCE[name], name


@on_each
@pytest.mark.parametrize("rate, hop", [(RATE, 512), (RATE, 441), (RATE, 128), (44100, 512), (96000, 1024)])
def test_constant_q_chroma_is_the_engines_and_librosas(device, rate, hop):
    samples = band(3, seconds=1.5, rate=rate)
    for kind in ("cqt", "cens"):
        changes = {"chroma.kind": kind, "stft.hop_length": hop}
        ours = batch_views(torch.tensor(samples, device=device), ["chroma"], sample_rate=rate, **changes)
        agree(ours, samples, rate, ["chroma"], **changes)
    cqt = batch_views(
        torch.tensor(samples[:1], device=device), ["chroma"], sample_rate=rate,
        **{"chroma.kind": "cqt", "stft.hop_length": hop},
    )["chroma"][0]  # fmt: skip
    with warnings.catch_warnings(action="ignore"):  # of clips shorter than a frame
        theirs = librosa.feature.chroma_cqt(y=samples[0], sr=rate, hop_length=hop)
    np.testing.assert_allclose(cqt.cpu().numpy(), theirs, rtol=0, atol=1e-5)


@on_each
def test_constant_q_by_many_tunings_at_once(device):
    tunings = np.linspace(-0.5, 0.49, 6).tolist()
    samples = np.random.default_rng(0).normal(0, 0.1, (6, 12000)).astype(np.float32)
    for rate in (RATE, 33300):  # at the second rate, the tunings need different steps
        ours = batch_constant_q(torch.tensor(samples, device=device), sample_rate=rate, tunings=tunings)
        for clip, tuning, mine in zip(samples, tunings, ours.cpu().numpy(), strict=True):
            theirs = constant_q(clip, sample_rate=rate, tuning=tuning)
            assert abs(len(theirs) - len(mine)) <= 1
            np.testing.assert_allclose(mine, theirs[: len(mine)], rtol=0, atol=1e-6 * theirs.max())


@on_each
@pytest.mark.parametrize("times", [1, 2, 3])
def test_half_the_rate_is_soxrs(device, times):
    samples = np.random.default_rng(0).normal(0, 0.1, (2, 20001)).astype(np.float32)
    samples[:, :50] += 1  # the beginning is where soxr's stages show
    for length in (20001, 20000, 333, 1):
        ours = halve(torch.tensor(samples[:, :length], device=device), times=times).cpu().numpy()
        assert ours.shape[1] == -(-length // 2**times)
        for mine, clip in zip(ours, samples[:, :length], strict=True):
            theirs = soxr.resample(clip, 2**times, 1, quality="soxr_hq") * 2 ** (times / 2)
            np.testing.assert_allclose(mine[: len(theirs)], theirs, rtol=0, atol=1e-6)


@on_each
def test_near_silence_differs_by_the_resamplers_noise_alone(device):
    samples = band(2, seconds=3)
    samples[0, RATE:] *= np.float32(1e-3)  # breaks off, by 60 dB
    samples[1, RATE:] = 0
    changes = {"chroma.kind": "cqt", "chroma.tuning": 0.0}
    ours = batch_views(torch.tensor(samples, device=device), ["chroma"], **changes)["chroma"].cpu().numpy()
    for mine, clip in zip(ours, samples, strict=True):
        apart = np.abs(mine - views(Clip(clip, RATE), ["chroma"], **changes)["chroma"].values).max(axis=0)
        assert apart[:40].max() <= 1e-5  # as far as it is loud
    assert np.isfinite(ours).all() and ours.max() == 1


@on_each
def test_tunings_are_the_engines_to_the_last_digit(device):
    time = np.arange(RATE) / RATE
    tones = [np.sin(2 * np.pi * f * time) for f in (440, 220, 445.3, 3000)]  # 440 and 220 lie on an edge of the bins
    flat = [0 * time, 0 * time + 0.5, np.random.default_rng(0).normal(0, 0.1, RATE)]
    samples = np.concatenate([np.array(tones + flat, np.float32), band(6, seconds=1)])
    power = batch_power(torch.tensor(samples, device=device), settings=Config().stft)
    for levels, bins in [(power, 12), (power.sqrt(), 36)]:
        expected = [peak_tuning(each.cpu().numpy(), sample_rate=RATE, bins_per_octave=bins) for each in levels]
        assert batch_tunings(levels, sample_rate=RATE, bins_per_octave=bins) == expected
    assert len(set(expected)) > 4


def test_a_vote_that_rounding_decides_is_counted_by_the_engine(monkeypatch):
    edges = 27.5 * 2 ** ((36 + np.linspace(-0.5, 0.5, 101)[10:90]) / 12)
    pitch = np.nextafter(edges.astype(np.float32), np.float32(9e9))
    place = [(12 * np.log2(p / p.dtype.type(27.5)) % 1 * 100).astype(int) for p in (pitch, pitch.astype(float))]
    pitch = pitch[place[0] != place[1]][:1].repeat(9)  # float32 and float64 put it into different bins
    assert len(pitch) == 9
    height = np.ones(9, np.float32)
    found = torch.zeros(9, dtype=torch.int64), torch.tensor(pitch), torch.tensor(height)
    monkeypatch.setattr(ondevice, "_peaks", lambda *_, **__: found)
    assert batch_tunings(torch.zeros(1, 1, 3), sample_rate=RATE) == [tuning_of(pitch, height)]


@pytest.mark.parametrize("seed", range(4))
def test_tunings_of_plateaus_and_ties(seed):
    levels = np.random.default_rng(seed).integers(0, 4, (5, 20, 257)).astype(np.float32)
    expected = [peak_tuning(each, sample_rate=RATE) for each in levels]
    assert batch_tunings(torch.tensor(levels), sample_rate=RATE) == expected


def test_planted_tunings_are_found_each_in_its_clip():
    planted = [-0.4, 0.3, 0.0, -0.1]
    time = np.arange(RATE // 8) / RATE
    notes = [[np.sin(2 * np.pi * 440 * 2 ** ((k + off) / 12) * time) for k in range(24)] for off in planted]
    power = batch_power(torch.tensor(np.array(notes, np.float32)).flatten(1), settings=Config().stft)
    assert batch_tunings(power, sample_rate=RATE) == pytest.approx(planted, abs=0.025)


def test_a_median_is_numpys_for_odd_and_even_and_none():
    rng = np.random.default_rng(0)
    counts = [1, 2, 0, 5, 8, 0]
    clip = np.repeat(np.arange(6), counts)
    order = rng.permutation(len(clip))
    values = rng.uniform(0, 1, len(clip)).astype(np.float32)
    found = ondevice._medians(torch.tensor(values[order]), torch.tensor(clip[order]), clips=6)
    for number, count in enumerate(counts):
        if count:
            assert found[number] == np.median(values[clip == number])


@on_each
@pytest.mark.parametrize("kind", ["stft", "cqt"])
def test_a_clip_does_not_depend_on_its_company(device, kind, monkeypatch):
    samples = torch.tensor(band(5, seconds=1.5), device=device)
    whole = batch_views(samples, **{"chroma.kind": kind})
    alone = batch_views(samples[3:4], **{"chroma.kind": kind})
    monkeypatch.setattr(batch, "ROOM", 130 * 1025)  # two clips a piece
    monkeypatch.setattr(batch, "CACHED_ROOM", 130 * 1025)
    monkeypatch.setattr(ondevice, "BLOCK", 2048 * 7)
    monkeypatch.setattr(ondevice, "CACHED", 2048 * 7)
    pieces = batch_views(samples.flip(0), **{"chroma.kind": kind})
    for name, view in whole.items():
        scale = max(1.0, float(view.max())) if name == "fft" else 1.0
        assert (alone[name][0] - view[3]).abs().max() <= TOLERANCE[name] * scale / 5
        assert (pieces[name].flip(0) - view).abs().max() <= TOLERANCE[name] * scale / 5


@on_each
def test_the_power_of_a_piece_is_bounded(device, monkeypatch):
    held = []

    def noting(samples, *, settings):
        power = batch_power(samples, settings=settings)
        held.append(power.numel())
        return power

    monkeypatch.setattr(batch, "batch_power", noting)
    monkeypatch.setattr(batch, "ROOM", 10**6)
    monkeypatch.setattr(batch, "CACHED_ROOM", 10**6)
    samples = torch.tensor(band(24, seconds=1), device=device)
    assert len(batch_views(samples, ["mel", "fft"])["mel"]) == 24
    assert len(held) == 2 and max(held) <= 10**6 and sum(held) == 24 * 44 * 1025
    held.clear()
    batch_views(samples[:2], ["mel"], **{"stft.hop_length": 16})  # a clip that is too large by itself comes alone
    assert len(held) == 2


@on_each
@pytest.mark.parametrize("kind", ["stft", "cqt"])
def test_precision_for_the_network_is_not_that_of_the_views(device, kind):
    samples = torch.tensor(band(2, seconds=1), device=device)
    exact = batch_views(samples, **{"chroma.kind": kind})
    before = torch.get_float32_matmul_precision()
    try:
        for precision in ("high", "medium"):
            torch.set_float32_matmul_precision(precision)
            with torch.autocast(device, dtype=torch.bfloat16):
                loose = batch_views(samples, **{"chroma.kind": kind})
            assert torch.get_float32_matmul_precision() == precision  # given back
            for name, view in exact.items():
                assert loose[name].dtype == torch.float32
                torch.testing.assert_close(loose[name], view, rtol=1e-6, atol=1e-6)
    finally:
        torch.set_float32_matmul_precision(before)


def test_precision_is_given_back_after_an_error_and_as_it_was_said():
    owners = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    if not hasattr(owners[0], "fp32_precision"):
        pytest.skip("since PyTorch 2.9")
    first = [owner.fp32_precision for owner in owners]
    try:
        owners[0].fp32_precision, owners[1].fp32_precision = "tf32", "bf16"
        with pytest.raises(KeyError), full_precision(torch.device("cpu")):
            assert [owner.fp32_precision for owner in owners] == ["ieee", "ieee"]
            raise KeyError
        assert [owner.fp32_precision for owner in owners] == ["tf32", "bf16"]
    finally:
        owners[0].fp32_precision, owners[1].fp32_precision = first


@on_each
def test_a_network_learns_from_views(device):
    samples = torch.tensor(band(6, seconds=0.5), device=device, requires_grad=True)
    seen = batch_views(samples, ["mel"])["mel"]
    assert not seen.requires_grad
    layer = torch.nn.Linear(128, 1).to(device)
    layer(seen.mean(2)).sum().backward()
    assert layer.weight.grad.abs().sum() > 0 and samples.grad is None


@on_each
@pytest.mark.parametrize("fill", [0.0, 0.5])
@pytest.mark.parametrize("length", [1, 100, 5000])
def test_silence_and_a_constant(device, fill, length):
    samples = np.full((2, length), fill, np.float32)
    changes = {"chroma.tuning": 0.0}
    with warnings.catch_warnings(action="error"):
        ours = batch_views(torch.tensor(samples, device=device), **changes)
    agree(ours, samples, RATE, **changes)


def test_what_is_no_batch_is_refused():
    samples = torch.tensor(band(2, seconds=0.2))
    for wrong, words in [
        (samples[0], r"\(clips, n\), not a tensor of shape \(4410,\)"),
        (samples[:0], r"\(clips, n\)"),
        (samples[:, :0], r"\(clips, n\)"),
        (samples.double(), r"torch.float64; convert them with samples.float\(\)"),
        (samples * torch.tensor([[1.0], [torch.inf]]), "clip 1 of the batch"),
    ]:
        with pytest.raises(SonicError, match=words):
            batch_views(wrong)
    for changes, words in [
        ({"only": ["sgram"]}, "no view is called sgram"),
        ({"only": []}, "name at least one view"),
        ({"mel.n_mels": 0}, "mel.n_mels=0 must be"),
        ({"sample_rate": 8000, "chroma.kind": "cqt"}, "8000 Hz is too low .* or chroma.kind=stft"),
        ({"sample_rate": 7000}, "audio.sample_rate=7000 must be"),
    ]:
        with pytest.raises(SonicError, match=words):
            batch_views(samples, **changes)
    with pytest.raises(SonicError, match="take cpu or cuda"), full_precision(torch.device("mps")):
        pass
