"The view `onsets`: where in time, and how high, something begins to sound."

import numpy as np

from sonic.cream.spectrum import Axis, Spectrum, View


def onsets(spectrum: Spectrum) -> View:
    "How much louder each third of an octave is than it was 50 ms before."
    edges = 60 * 2 ** (np.arange(3 * np.log2(spectrum.frequencies[-1] / 60)) / 3)  # Hz, to half the sample rate
    bands = np.add.reduceat(spectrum.power, np.searchsorted(spectrum.frequencies, edges), axis=1)[:, :-1]
    levels = 10 * np.log10(bands + 1)  # dB; what is softer than 1, far below any music, counts as 1
    back = max(1, round(0.05 / (spectrum.times[1] if spectrum.frames > 1 else 1)))
    before = np.concatenate([levels[:1].repeat(back, axis=0), levels])[: len(levels)]
    rises = np.maximum(levels - before, 0).T.astype(np.float32)
    pitch = Axis("frequency", "Hz", np.sqrt(edges[:-1] * edges[1:]))
    return View("onsets", rises, "dB", pitch, spectrum.time_axis, range=(0, 30))
