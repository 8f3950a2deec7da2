"""What a spectrogram with a slider costs in JupyterLab when it is written with today's usual means.

python bench/explorer_rival.py [STEPS]      default 20

ipywidgets.interact over librosa and Matplotlib, with the player of IPython, on a song of 30 seconds. Each step is a key
pressed on the slider; its time ends when the page has decoded the new picture. bench/explorer.py sets it beside SONIC.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

import lab

if TYPE_CHECKING:
    from playwright.sync_api import Browser

RATE = 22_050  # Hz
SLIDER = ".widget-slider .noUi-handle"

PREPARE = """
import ipywidgets
import librosa
import librosa.display
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Audio, display

y, rate = librosa.load({path!r}, sr={rate}, duration=30)
"""

SHOW = """
def draw(fmax):
    mel = librosa.power_to_db(librosa.feature.melspectrogram(y=y, sr=rate, fmax=fmax), ref=np.max)
    figure, axes = plt.subplots(figsize=(9, 3.5))
    image = librosa.display.specshow(mel, sr=rate, fmax=fmax, x_axis="time", y_axis="mel", ax=axes)
    figure.colorbar(image, ax=axes, format="%+2.0f dB")
    plt.show()

ipywidgets.interact(draw, fmax=ipywidgets.IntSlider(value=6000, min=2000, max=11000, step=100))
display(Audio({path!r}))
"""

# When keys went down, and when pictures were there. The load of an image comes to document, never to window.
WATCH = """() => {
    window.pressed = []
    window.drawn = []
    document.addEventListener('keydown', () => pressed.push(performance.now()), true)
    document.addEventListener('load', async event => {
        if (!event.target.matches?.('.jp-OutputArea img')) return
        await event.target.decode()
        drawn.push(performance.now())
    }, true)
}"""


def cells(
    clip: Path,  # a sound file
) -> tuple[str, str]:
    "What a notebook needs to begin with; and the cell that shows slider, picture and player."
    prepare, show = (text.format(path=str(clip), rate=RATE).strip() for text in (PREPARE, SHOW))
    return prepare, show


def kernel_memory(tab: lab.Tab) -> float:
    "MB that the notebook's kernel holds."
    return float(tab.run("import psutil; print(psutil.Process().memory_info().rss / 1e6)"))


def page_memory(tab: lab.Tab) -> float:
    "MB of JavaScript objects in the page, after its garbage is collected."
    chromium = tab.page.context.new_cdp_session(tab.page)
    chromium.send("HeapProfiler.collectGarbage")
    used = chromium.send("Runtime.getHeapUsage")["usedSize"]
    chromium.detach()
    return used / 1e6


def measure(
    tab: lab.Tab,  # a notebook whose cells have been run
    show: str,  # the cell that shows a picture with a slider
    *,
    steps: int = 20,  # presses of the key
    slider: str = SLIDER,  # what hears the key
    key: str = "ArrowRight",
    watch: str = WATCH,  # JavaScript that keeps window.pressed and window.drawn, in ms of the page's clock
) -> dict[str, float]:  # ms, kB (1000 bytes of websocket messages) and MB
    "Times, bytes and memory of a first picture, then of one more a step; each step waits for the one before."
    page = tab.page
    page.evaluate(watch)
    before, start = tab.traffic(), page.evaluate("performance.now()")
    tab.run(show)
    page.wait_for_function("drawn.length > 0")
    tab.settle()
    first = page.evaluate("drawn[0]") - start, (tab.traffic() - before)["bytes_received"] / 1000
    memory = kernel_memory(tab), page_memory(tab)
    handle = page.locator(slider).first
    handle.focus()
    times, sizes = [], []
    for _ in range(steps):
        tab.settle()
        before, count = tab.traffic(), page.evaluate("drawn.length")
        handle.press(key)
        page.wait_for_function("count => drawn.length > count", arg=count)
        tab.settle()
        times.append(page.evaluate("count => drawn[count] - pressed.at(-1)", count))
        sizes.append((tab.traffic() - before)["bytes_received"] / 1000)
    return {
        "steps": steps,
        "first_ms": first[0],
        "first_kB": first[1],
        "p50_ms": statistics.median(times),
        "p95_ms": statistics.quantiles(times, n=20, method="inclusive")[-1],
        "max_ms": max(times),
        "change_kB": statistics.median(sizes),
        "kernel_before_MB": memory[0],
        "kernel_after_MB": kernel_memory(tab),
        "page_before_MB": memory[1],
        "page_after_MB": page_memory(tab),
    }


def rival(
    chromium: Browser,
    server: lab.Server,
    clip: Path,
    *,
    steps: int = 20,
) -> dict[str, float]:
    "The numbers of `measure` for the widget above, in a fresh notebook."
    prepare, show = cells(clip)
    path = lab.write_notebook(server.folder / "rival.ipynb", [prepare])
    with closing(lab.Tab(chromium)) as tab:
        tab.open(server, path.name)
        tab.run_all()
        return measure(tab, show, steps=steps)


def main(steps: int) -> None:
    from sonic.cream.artists import plan
    from sonic.cream.music import write_song

    if reason := lab.missing():
        sys.exit(reason)
    with tempfile.TemporaryDirectory() as name, lab.browser() as chromium, lab.server(Path(name)) as server:
        numbers = rival(chromium, server, write_song(plan(tracks=1)[0], name), steps=steps)
    for what, number in numbers.items():
        print(f"{what.replace('_', ' '):20} {number:8.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 20)
