"""The colours of Matplotlib's colour maps as data, so that drawing a picture needs no Matplotlib.

python tools/palettes.py    matplotlib's colour maps -> sonic/cream/palettes.npz

Run it again when a release of Matplotlib brings new maps. A table's neighbours differ by little, so it is kept as steps
from level to level, which pack into a tenth; the sum of the steps, modulo 256, gives the table back.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import colormaps

PALETTES = Path(__file__).parents[1] / "sonic" / "cream" / "palettes.npz"


def main() -> None:
    "Write the file."
    names, levels = sorted(colormaps), np.arange(256)
    tables = np.stack([colormaps[name].resampled(256)(levels, bytes=True)[:, :3] for name in names])
    np.savez_compressed(PALETTES, names=np.array(names), steps=np.diff(tables, axis=1, prepend=np.uint8(0)))
    print(f"{len(names)} colour maps, {PALETTES.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
