"The embedder `brightness`: where the energy of a sound lies, how wide it is spread, and how noisy it is."

import numpy as np

from sonic.config import Config
from sonic.cream.audio import Clip
from sonic.cream.views import spectrum_of
from sonic.tails.contract import Contract
from sonic.tails.embedder import Embedder


class Brightness(Embedder):
    "Mean and deviation of the spectral centroid, spread and flatness."

    settings = ("audio", "stft")  # what its vectors depend on: it is given these, and defaults for the rest

    def __init__(self, config: Config, *, device: str = "cpu"):
        self.config, rate = config, config.audio.sample_rate
        self.contract = Contract("brightness", 1, rate, 10 * rate, 10 * rate, (6,), -100, 20, 6, short="take")

    def prepare(self, sound: np.ndarray) -> np.ndarray:
        spectrum = spectrum_of(Clip(sound, self.contract.sample_rate), config=self.config)
        power = spectrum.power[:, 1:].astype(np.float64) + 1e-12  # shape (frames, bins); silence is flat
        octaves = np.log2(spectrum.frequencies[1:] / 1000)  # from 1 kHz
        shares = power / power.sum(axis=1, keepdims=True)
        centroid = shares @ octaves
        spread = np.sqrt(np.maximum(shares @ octaves**2 - centroid**2, 0))
        flatness = np.log2(power).mean(axis=1) - np.log2(power.mean(axis=1))
        frames = np.stack([centroid, spread, flatness])
        return np.concatenate([frames.mean(axis=1), frames.std(axis=1)]).astype(np.float32)

    def forward(self, batch: np.ndarray) -> np.ndarray:
        return batch
