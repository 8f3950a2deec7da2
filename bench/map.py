"""How well four layouts keep neighbours, how long they take, and how a map of ten thousand tracks moves in a browser.

python bench/map.py layouts [TABLE.parquet]     each method in a process of its own, twice: the first call compiles
python bench/map.py browser                     bytes sent, time to show, frames while it is dragged and zoomed

Times of layouts are those of the processor, since the machine may be busy; of the browser they are seen from outside.
Without a table, ten thousand vectors are laid out that mix each of 210 with one of its neighbours.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd

from sonic.explore.layout import METHODS, layout
from sonic.tails.index import Index, make_index
from sonic.tails.table import Table, make_table, open_table

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))


def ten_thousand(count: int = 10_000) -> Table:
    "Vectors in sixty clumps of sixteen dimensions, each mixed with a neighbour."
    rng = np.random.default_rng(0)
    first = np.repeat(3 * rng.normal(size=(60, 16)), 4, axis=0)[:210] + rng.normal(size=(210, 16))
    near = np.argsort(np.linalg.norm(first[:, None] - first, axis=2), axis=1)[:, :6]
    one = rng.integers(0, 210, count)
    other, share = near[one, rng.integers(0, 6, count)], rng.random((count, 1))
    vectors = share * first[one] + (1 - share) * first[other] + rng.normal(0, 0.3, (count, 16))
    labels = pd.DataFrame({"title": [f"Some track with a title {k}" for k in range(count)]})
    labels["artist"], labels["path"] = [f"The Artist {k % 700}" for k in range(count)], "/nowhere.mp3"
    labels["genre"], labels["year"] = [f"genre {k % 9}" for k in one], 1960 + one % 60
    return make_table(vectors, [f"{k:05}" for k in range(count)], labels=labels)


def trust(index: Index, places: np.ndarray) -> str:
    "Trustworthiness, where that is affordable: it needs the distances of all pairs."
    from sklearn.manifold import trustworthiness

    return f"{trustworthiness(index.vectors, places, n_neighbors=10):.3f}" if len(index) <= 3000 else "-"


def one_layout(method: str, path: str) -> None:
    index = make_index(open_table(path) if path else ten_thousand())
    times = []
    for _ in range(2):
        start = time.process_time()
        made = layout(index, method=method)
        times.append(time.process_time() - start)
    print(
        f"{method:7} {len(index):6} tracks  first {times[0]:5.1f} s  again {times[1]:5.1f} s  "
        f"trustworthiness {trust(index, made.places[: len(index)])}  kept {made.kept:.2f}",
        flush=True,
    )


SHOWN = """() => {
    const {left, top} = document.querySelector('.sonic.map .cover').getBoundingClientRect()
    return [Number(document.querySelector('.sonic.map canvas').dataset.painted) > 0, left, top]
}"""
FRAMES = """async what => {  // ms between frames, for three seconds
    const {stage} = document.querySelector('.sonic.map').chart, {cover} = stage, box = cover.getBoundingClientRect()
    cover.setPointerCapture = () => {}
    const at = (x, y) => ({pointerId: 1, clientX: box.x + x, clientY: box.y + y, bubbles: true, cancelable: true})
    const point = (name, x, y) => cover.dispatchEvent(new PointerEvent(name, {...at(x, y), pointerType: 'mouse'}))
    const gaps = [], start = performance.now()
    stage.seeAll()
    cover.focus()
    if (what === 'dragged') point('pointerdown', 300, 200)
    for (let last = start, k = 1; last - start < 3000; k++) {
        if (what === 'dragged') point('pointermove', 300 + 120 * Math.sin(k / 20), 200 + 60 * Math.cos(k / 23))
        else cover.dispatchEvent(new WheelEvent('wheel', {...at(300, 200), deltaY: k % 120 < 60 ? -20 : 20}))
        await new Promise(requestAnimationFrame)
        const now = performance.now()
        gaps.push(now - last)
        last = now
    }
    if (what === 'dragged') point('pointerup', 300, 200)
    return gaps.sort((a, b) => a - b)
}"""


def browser() -> None:
    import lab

    from sonic.tails.table import save_table

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "table.parquet")
        save_table(ten_thousand(), file)
        cells = ["from sonic.explore import music_map", f"shown = music_map({str(file)!r}, method='pca')", "shown"]
        lab.write_notebook(Path(folder, "one.ipynb"), cells)
        with lab.server(Path(folder)) as server, lab.browser() as chromium, closing(lab.Tab(chromium)) as tab:
            tab.open(server, "one.ipynb")
            before, start = tab.traffic(), time.perf_counter()
            tab.run_all()
            tab.page.locator(".sonic.map .cover").wait_for()
            while not tab.page.evaluate(SHOWN)[0]:
                tab.page.wait_for_timeout(10)
            received = (tab.traffic() - before)["bytes_received"]
            print(
                f"imported, laid out by PCA and shown in {time.perf_counter() - start:.1f} s; {received / 1e6:.2f} MB"
            )
            for what in ("dragged", "zoomed"):
                gaps = tab.page.evaluate(FRAMES, what)
                late = gaps[int(0.95 * len(gaps))]
                print(f"{what}: {len(gaps) / sum(gaps) * 1000:.0f} frames a second, 95 % within {late:.0f} ms")
            assert not tab.errors


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["browser"]:
            browser()
        case ["layouts", *path]:
            for method in METHODS:
                subprocess.run([sys.executable, __file__, "one", method, *(path or [""])], check=True)
        case ["one", method, path]:
            one_layout(method, path)
        case _:
            print(__doc__)
