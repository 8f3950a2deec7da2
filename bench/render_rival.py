"""Who draws four pictures of a track in bench/render.py: SONIC, and what a competent user writes with other libraries.

python bench/render_rival.py FILE FOLDER      the librosa script, by itself: what it costs from a cold start

All pictures are of 488 x 244 pixels. Each contender imports what it needs when it is made, so that a process holds the
libraries of one of them. The views are the same four, but not equal where a library has no equal: Essentia gives pitch
class profiles of peaks, audioFlux chroma and mel bands of its own, PyTorch does not estimate the tuning.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

WIDTH, HEIGHT = 488, 244  # pixels
RATE, N_FFT, HOP, MELS, LAGS = 22050, 2048, 512, 128, 384  # librosa's defaults


class Work(NamedTuple):
    "What is timed: `run` on what `ready` makes of the files, with a folder for the pictures."

    run: Callable[[Any, Path], None]
    ready: Callable[[list[str]], Any] = list


@dataclass(frozen=True)
class Contender:
    "A way to draw the pictures, or a part of it."

    label: str
    family: str  # those of one family share a process
    make: Callable[[], Work]
    needs: list[str] = field(default_factory=list)  # modules that SONIC does not bring along
    tracks: int = 1  # at least so many a call, if need be the same files again: for those with little to do
    few: bool = False  # one file a round, each round another: for those with much to do
    alone: bool = False  # only in one process


def each(draw: Callable[[str, Path], None]) -> Work:
    "File by file."

    def run(files: list[str], out: Path) -> None:
        for number, file in enumerate(files):
            draw(file, out / f"{number}")

    return Work(run)


# ---- SONIC -----------------------------------------------------------------------------------------------------------


def sonic_render(**settings: Any) -> Work:
    "The call that `sonic render` makes, with all it does for a collection: journal, manifest, recipe."
    import pandas as pd

    from sonic.config import Config
    from sonic.cream.render import render

    config = Config().replace(**settings)

    def run(files: list[str], out: Path) -> None:
        tracks = pd.DataFrame({"track_id": [f"{number}" for number in range(len(files))], "path": files})
        manifest = render(tracks, out / "set", jobs=0, config=config, progress=False)
        assert manifest["status"].isin(["done", "warned"]).all(), manifest["reason"].tolist()

    return Work(run)


def sonic_views() -> Work:
    from sonic import load, views
    from sonic.cream.worker import one_thread

    def run(clips: list[Any], out: Path) -> None:
        with one_thread():
            for clip in clips:
                views(clip)

    return Work(run, lambda files: [load(file) for file in files])


# ---- decoding alone --------------------------------------------------------------------------------------------------


def decode() -> Work:
    import soundfile

    return each(lambda file, stem: soundfile.read(file, dtype="float32") and None)


# ---- pictures by OpenCV, for all but SONIC and the original ----------------------------------------------------------


def write_pictures(levels: dict[str, Any], stem: Path, suffix: str) -> None:
    "Levels in [0, 1] by name, low rows first, as coloured pictures."
    import cv2
    import numpy as np

    quality = [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix == ".jpg" else []
    for name, values in levels.items():
        values = cv2.resize(np.ascontiguousarray(values, np.float32), (WIDTH, HEIGHT))
        pixels = (np.clip(values, 0, 1) * 255).astype(np.uint8)[::-1]
        cv2.imwrite(f"{stem}-{name}{suffix}", cv2.applyColorMap(pixels, cv2.COLORMAP_MAGMA), quality)


def spectrum_levels(magnitude: Any) -> Any:
    "A curve of magnitude over log frequency, filled below, 80 dB high."
    import numpy as np

    level = 20 * np.log10(np.maximum(magnitude, 1e-5))
    frequencies = np.linspace(0, RATE / 2, len(level))
    curve = np.interp(np.geomspace(20, RATE / 2, WIDTH), frequencies, (level - level.max() + 80) / 80)
    return (np.linspace(0, 1, HEIGHT)[:, None] <= curve) * curve


def decibels(power: Any) -> Any:
    "Below the loudest point, at most 80."
    import numpy as np

    level = 10 * np.log10(np.maximum(power, 1e-10))
    return np.maximum(level, level.max() - 80)


def rises(level: Any) -> Any:
    "Onset strength from dB, shape (bands, frames)."
    import numpy as np

    rise = np.maximum(np.diff(level, axis=1), 0).mean(axis=0)
    return np.pad(rise, (1 + N_FFT // (2 * HOP), 0))[: level.shape[1]]


def autocorrelations(strength: Any) -> Any:
    "A tempogram, for libraries without: SciPy, all frames in one call."
    import numpy as np
    import scipy.fft

    padded = np.pad(strength.astype(np.float32), LAGS // 2, mode="linear_ramp")
    frames = np.lib.stride_tricks.sliding_window_view(padded, LAGS)[: len(strength)]
    shape = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(LAGS) / LAGS)).astype(np.float32)
    spectra = scipy.fft.rfft(frames * shape, n=2 * LAGS, axis=1)
    lags = scipy.fft.irfft(spectra.real**2 + spectra.imag**2, n=2 * LAGS, axis=1)[:, :LAGS].T
    return lags / np.maximum(lags.max(axis=0), 1e-10)


def mono(file: str) -> Any:
    "Samples at 22,050 Hz: the fast way, without `mean(axis=1)`."
    import soundfile
    import soxr

    block, rate = soundfile.read(file, dtype="float32", always_2d=True)
    samples = block.T.sum(axis=0) / block.shape[1] if block.shape[1] != 2 else (block[:, 0] + block[:, 1]) / 2
    return samples if rate == RATE else soxr.resample(samples, rate, RATE)


# ---- librosa ---------------------------------------------------------------------------------------------------------


def librosa_script(*, suffix: str = ".png", chroma: str = "chroma_stft", shared: bool = False) -> Work:
    "librosa's defaults, a call a view; shared: one transform, given to all by `S=`."
    import cv2
    import librosa
    import numpy as np

    cv2.setNumThreads(1)

    def separate(y: Any, rate: int) -> tuple[Any, Any, Any, Any]:
        mel = librosa.power_to_db(librosa.feature.melspectrogram(y=y, sr=rate), ref=np.max)
        pitches = getattr(librosa.feature, chroma)(y=y, sr=rate)
        return mel, pitches, np.abs(librosa.stft(y)).mean(axis=1), librosa.feature.tempogram(y=y, sr=rate)

    def together(y: Any, rate: int) -> tuple[Any, Any, Any, Any]:
        magnitude = np.abs(librosa.stft(y))
        power = magnitude**2
        mel = librosa.power_to_db(librosa.feature.melspectrogram(S=power, sr=rate), ref=np.max)
        strength = librosa.onset.onset_strength(S=mel, sr=rate)
        pitches = librosa.feature.chroma_stft(S=power, sr=rate)
        tempogram = librosa.feature.tempogram(onset_envelope=strength, sr=rate)
        return mel, pitches, magnitude.mean(axis=1), tempogram

    def draw(file: str, stem: Path) -> None:
        mel, pitches, spectrum, tempogram = (together if shared else separate)(*librosa.load(file))
        levels = {"mel": (mel + 80) / 80, "chroma": pitches, "fft": spectrum_levels(spectrum), "tempogram": tempogram}
        write_pictures(levels, stem, suffix)

    return each(draw)


def librosa_calls() -> Work:
    "The four calls on samples, and nothing else."
    import librosa
    import numpy as np

    def run(clips: list[Any], out: Path) -> None:
        for y in clips:
            librosa.power_to_db(librosa.feature.melspectrogram(y=y), ref=np.max)
            librosa.feature.chroma_stft(y=y)
            np.abs(librosa.stft(y)).mean(axis=1)
            librosa.feature.tempogram(y=y)

    return Work(run, lambda files: [librosa.load(file)[0] for file in files])


# ---- the original ----------------------------------------------------------------------------------------------------


def original() -> Work:
    "The native rate, frames 128 samples apart, constant-Q chroma, Matplotlib, JPEG; decoded once, not once a view."
    import librosa
    import librosa.display
    import matplotlib

    matplotlib.use("agg")
    import numpy as np
    from matplotlib import pyplot as plt
    from PIL import Image

    def save(fill: Callable[[Any], object], path: str) -> None:
        figure = plt.figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100)
        axes = figure.add_axes((0, 0, 1, 1))
        fill(axes)
        axes.axis("off")
        figure.canvas.draw()
        pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
        Image.fromarray(pixels).save(path, quality=95, optimize=True)
        plt.close(figure)

    def draw(file: str, stem: Path) -> None:
        y, rate = librosa.load(file, sr=None)
        mel = librosa.feature.melspectrogram(y=y, sr=rate, hop_length=128)
        mel = librosa.power_to_db(mel, ref=np.max)
        pitches = librosa.feature.chroma_cqt(y=y, sr=rate, hop_length=128)
        strength = librosa.onset.onset_strength(y=y, sr=rate)
        tempogram = librosa.feature.tempogram(onset_envelope=strength, sr=rate, hop_length=128)
        spectrum = np.abs(np.fft.fft(y))[: len(y) // 2]
        frequencies = np.fft.fftfreq(len(y), 1 / rate)[: len(y) // 2]
        show = partial(librosa.display.specshow, sr=rate, hop_length=128, x_axis="time")
        save(lambda axes: show(mel, y_axis="mel", vmin=-80, vmax=0, ax=axes), f"{stem}-mel.jpg")
        save(lambda axes: show(pitches, y_axis="chroma", ax=axes), f"{stem}-chroma.jpg")
        save(lambda axes: axes.plot(frequencies, spectrum), f"{stem}-fft.jpg")
        save(lambda axes: show(tempogram, y_axis="tempo", ax=axes), f"{stem}-tempogram.jpg")

    return each(draw)


# ---- PyTorch ---------------------------------------------------------------------------------------------------------


def torch_script(*, audio: bool = False) -> Work:
    "One torch.stft for all; mel and chroma are matrix products. With torchaudio: its transforms for spectrum and mel."
    import cv2
    import librosa
    import numpy as np
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    chroma_bank = torch.from_numpy(librosa.filters.chroma(sr=RATE, n_fft=N_FFT, tuning=0.0))
    window, lag_window = torch.hann_window(N_FFT), torch.hann_window(LAGS)
    if audio:
        import torchaudio

        power_of = torchaudio.transforms.Spectrogram(N_FFT, hop_length=HOP, pad_mode="constant")
        kinds = {"norm": "slaney", "mel_scale": "slaney"}
        mel_of = torchaudio.transforms.MelScale(MELS, RATE, n_stft=N_FFT // 2 + 1, **kinds)
        level_of = torchaudio.transforms.AmplitudeToDB("power", 80)
    else:
        mel_bank = torch.from_numpy(librosa.filters.mel(sr=RATE, n_fft=N_FFT))

        def power_of(y: Any) -> Any:
            spectra = torch.stft(y, N_FFT, HOP, window=window, pad_mode="constant", return_complex=True)
            return spectra.real**2 + spectra.imag**2

        def mel_of(power: Any) -> Any:
            return mel_bank @ power

        def level_of(mel: Any) -> Any:
            level = 10 * torch.log10(mel.clamp(min=1e-10))
            return level.clamp(min=float(level.max()) - 80)

    def lags_of(level: Any) -> Any:
        rise = torch.relu(level[:, 1:] - level[:, :-1]).mean(dim=0).numpy()
        strength = np.pad(rise, (1 + N_FFT // (2 * HOP), 0))[: level.shape[1]]
        padded = torch.from_numpy(np.pad(strength, LAGS // 2, mode="linear_ramp"))
        frames = padded.unfold(0, LAGS, 1)[: len(strength)] * lag_window
        spectra = torch.fft.rfft(frames, n=2 * LAGS)
        lags = torch.fft.irfft(spectra.real**2 + spectra.imag**2, n=2 * LAGS)[:, :LAGS].T
        return lags / lags.amax(dim=0).clamp(min=1e-10)

    @torch.inference_mode()
    def draw(file: str, stem: Path) -> None:
        power = power_of(torch.from_numpy(mono(file)))
        level = level_of(mel_of(power))
        pitches = chroma_bank @ power
        pitches = pitches / pitches.amax(dim=0).clamp(min=1e-10)
        spectrum = spectrum_levels(power.sqrt().mean(dim=1).numpy())
        levels = {"mel": ((level - level.max() + 80) / 80).numpy(), "chroma": pitches.numpy(), "fft": spectrum}
        write_pictures(levels | {"tempogram": lags_of(level).numpy()}, stem, ".png")

    return each(draw)


# ---- Essentia and audioFlux ------------------------------------------------------------------------------------------


def essentia_script() -> Work:
    "Essentia's own loader and resampler, and one spectrum a frame for all."
    import cv2
    import essentia
    import numpy as np
    from essentia import standard

    essentia.log.infoActive = essentia.log.warningActive = False
    cv2.setNumThreads(1)
    window, spectrum = standard.Windowing(type="hann", normalized=False), standard.Spectrum(size=N_FFT)
    how = {"normalize": "unit_tri", "warpingFormula": "slaneyMel", "weighting": "linear"}
    bands = standard.MelBands(sampleRate=RATE, numberBands=MELS, highFrequencyBound=RATE / 2, **how)
    peaks = standard.SpectralPeaks(sampleRate=RATE, minFrequency=40, maxFrequency=5000, maxPeaks=60)
    profile = standard.HPCP(sampleRate=RATE, size=12)

    def draw(file: str, stem: Path) -> None:
        samples = standard.MonoLoader(filename=file, sampleRate=RATE)()
        spectra, mels, pitches = [], [], []
        for frame in standard.FrameGenerator(samples, frameSize=N_FFT, hopSize=HOP):
            magnitude = spectrum(window(frame))
            spectra.append(magnitude)
            mels.append(bands(magnitude))
            pitches.append(profile(*peaks(magnitude)))
        level = decibels(np.array(mels).T)
        levels = {"mel": (level - level.max() + 80) / 80, "chroma": np.array(pitches).T}
        levels |= {"fft": spectrum_levels(np.mean(spectra, axis=0)), "tempogram": autocorrelations(rises(level))}
        write_pictures(levels, stem, ".png")

    return each(draw)


def audioflux_script() -> Work:
    "A call a view; the tempogram by SciPy."
    import audioflux
    import cv2
    import numpy as np

    cv2.setNumThreads(1)
    how = {"radix2_exp": 11, "samplate": RATE, "slide_length": HOP}

    def draw(file: str, stem: Path) -> None:
        samples = mono(file)
        mel, _ = audioflux.mel_spectrogram(samples, num=MELS, **how)
        pitches = audioflux.chroma_linear(samples, high_fre=RATE / 2, **how)
        magnitude, _ = audioflux.linear_spectrogram(samples, data_type=audioflux.type.SpectralDataType.MAG, **how)
        level = decibels(np.abs(mel))
        levels = {"mel": (level - level.max() + 80) / 80, "chroma": pitches / np.maximum(pitches.max(axis=0), 1e-10)}
        spectrum = spectrum_levels(np.abs(magnitude).mean(axis=1))
        write_pictures(levels | {"fft": spectrum, "tempogram": autocorrelations(rises(level))}, stem, ".png")

    return each(draw)


# ---- all of them -----------------------------------------------------------------------------------------------------

CQT = {"chroma.kind": "cqt"}
JPEG = {"picture.format": "jpeg"}
CONTENDERS = {
    "decode": Contender("soundfile.read alone", "decode", decode, tracks=20),
    "png": Contender("SONIC, PNG", "sonic", sonic_render, tracks=60),
    "jpeg": Contender("SONIC, JPEG", "sonic", partial(sonic_render, **JPEG), tracks=60),
    "cqt": Contender("SONIC, chroma_cqt", "sonic", partial(sonic_render, **CQT), tracks=40),
    "script-png": Contender("librosa script, PNG", "librosa", librosa_script, ["librosa"]),
    "script-jpeg": Contender("librosa script, JPEG", "librosa", partial(librosa_script, suffix=".jpg"), ["librosa"]),
    "script-cqt": Contender(
        "librosa script, chroma_cqt", "librosa", partial(librosa_script, chroma="chroma_cqt"), ["librosa"]
    ),
    "shared": Contender("librosa script, one STFT by S=", "librosa", partial(librosa_script, shared=True), ["librosa"]),
    "original": Contender("the original's way", "original", original, ["librosa"], few=True),
    "torch": Contender("PyTorch script", "torch", torch_script, ["librosa"]),
    "torchaudio": Contender(
        "PyTorch script, torchaudio", "torchaudio", partial(torch_script, audio=True), ["librosa", "torchaudio"]
    ),
    "essentia": Contender("Essentia script", "essentia", essentia_script, ["essentia"]),
    "audioflux": Contender("audioFlux script", "audioflux", audioflux_script, ["audioflux"]),
    "views": Contender("SONIC, four views of samples", "sonic", sonic_views, tracks=20, alone=True),
    "calls": Contender("librosa, four calls on samples", "librosa", librosa_calls, ["librosa"], alone=True),
}


if __name__ == "__main__":
    librosa_script().run([sys.argv[1]], Path(sys.argv[2]))
