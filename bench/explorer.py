"""The explorer beside the widget that a user would write today, both in a real JupyterLab.

python bench/explorer.py [ROUNDS] [STEPS] [OUT.json]      default 3 rounds of 50 steps

A round measures both, one after the other, on the same song of 30 seconds; a ratio is the median of the rounds, for
the machine may be busy. What only the explorer does (reading, seeking, playing in step) is measured by itself. Bytes
are those of websocket messages as a browser receives them, 1 kB is 1000 bytes.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

import lab
from explorer_rival import kernel_memory, measure, page_memory, rival

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PREPARE = "from sonic.explore import explore"
FMAX = 'input[type=range][aria-label^="fmax"]'
# a picture is there when its canvas has been painted, which the explorer counts in an attribute
WATCH = """() => {
    window.pressed = []
    window.drawn = []
    document.addEventListener('keydown', () => pressed.push(performance.now()), true)
    new MutationObserver(() => drawn.push(performance.now()))
        .observe(document.body, {subtree: true, attributeFilter: ['data-painted']})
}"""
SEEKS = """async node => {
    const {explorer} = node, audio = explorer.sound.audio, pane = explorer.panes.values().next().value, times = []
    const rect = pane.cover.getBoundingClientRect(), box = pane.box
    for (let k = 0; k < 40; k++) {
        const x = rect.x + box.x + (.05 + .9 * ((k * 7) % 40) / 40) * box.width
        const at = {clientX: x, clientY: rect.y + box.y + 50, bubbles: true, pointerId: 1}
        const heard = new Promise(done => audio.addEventListener('seeked', done, {once: true}))
        const start = performance.now()
        pane.cover.setPointerCapture = () => {}
        pane.cover.dispatchEvent(new PointerEvent('pointerdown', at))
        pane.cover.dispatchEvent(new PointerEvent('pointerup', at))
        await heard
        times.push(performance.now() - start)
    }
    return times
}"""
PLAYING = """async node => {
    const {explorer} = node, {sound, look} = explorer, gaps = []
    sound.seek(1)
    await sound.play()
    await new Promise(done => setTimeout(done, 500))
    const start = performance.now()
    while (performance.now() - start < 5000) {
        await new Promise(requestAnimationFrame)  // called after the explorer's own, in the same frame
        await 0
        gaps.push(1000 * Math.abs(sound.audio.currentTime + sound.start - look.cursor))
    }
    sound.pause()
    return gaps
}"""


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


def opened(tab: lab.Tab, server: lab.Server) -> None:
    "A fresh notebook in which the explorer has been imported."
    path = lab.write_notebook(server.folder / "ours.ipynb", [PREPARE])
    tab.open(server, path.name)
    tab.run_all()


def ours(chromium: Browser, server: lab.Server, clip: Path, *, steps: int) -> dict[str, float]:
    "The explorer measured as its rival is."
    with closing(lab.Tab(chromium)) as tab:
        opened(tab, server)
        return measure(tab, f"e = explore({str(clip)!r}, fmax=6000); e", steps=steps, slider=FMAX, watch=WATCH)


def alone(chromium: Browser, server: lab.Server, clip: Path, *, changes: int) -> dict[str, float]:
    "What only the explorer does."
    with closing(lab.Tab(chromium)) as tab:
        opened(tab, server)
        tab.page.evaluate(WATCH)
        tab.run(f"e = explore({str(clip)!r}, fmax=6000); e")
        tab.page.wait_for_function("drawn.length > 0")
        tab.settle()
        widget = tab.page.locator(".sonic-explorer")
        sent, times = tab.traffic()["frames_sent"], []
        for label, key in (
            ("Darkest level", "ArrowRight"),
            ("Brightest level", "ArrowLeft"),
            ("Colour map", "ArrowDown"),
        ):
            widget.get_by_label(label).focus()
            for _ in range(4 if label == "Colour map" else 40):
                count = tab.page.evaluate("drawn.length")
                tab.page.keyboard.press(key)
                tab.page.wait_for_function("count => drawn.length > count", arg=count)
                times.append(tab.page.evaluate("count => drawn[count] - pressed.at(-1)", count))
        told: dict[str, float] = {"look_p50_ms": statistics.median(times), "look_p95_ms": p95(times)}
        seeks, gaps = widget.evaluate(SEEKS), widget.evaluate(PLAYING)
        told |= {"look_messages": tab.traffic()["frames_sent"] - sent}
        told |= {"seek_p50_ms": statistics.median(seeks), "seek_p95_ms": p95(seeks)}
        told |= {"cursor_p95_ms": p95(gaps), "cursor_max_ms": max(gaps), "frames_per_s": len(gaps) / 5}
        memory = kernel_memory(tab), page_memory(tab)
        widget.locator(FMAX).focus()
        for k in range(changes):
            tab.page.keyboard.press("ArrowLeft" if k % 2 else "ArrowRight")
            tab.settle()
        told |= {"changes": changes, "kernel_growth_MB": kernel_memory(tab) - memory[0]}
        told |= {"page_growth_MB": page_memory(tab) - memory[1]}
        page = server.folder / "page.html"
        tab.run(f"e.to_html({str(page)!r})")
    with closing(lab.Tab(chromium)) as tab:
        tab.page.goto(page.as_uri())
        tab.page.locator("canvas.cover").wait_for()
        away = [url for url in tab.requests if not url.startswith(("file:", "blob:", "data:"))]
        return told | {"static_kB": page.stat().st_size / 1000, "static_requests": len(away)}


def ratio(rounds: list[tuple[dict[str, float], dict[str, float]]], name: str) -> float:
    "How many times more the rival takes: the median of the rounds."
    return statistics.median(theirs[name] / mine[name] for mine, theirs in rounds)


def report(rounds: list[tuple[dict[str, float], dict[str, float]]], told: dict[str, float]) -> None:
    "The numbers as a table, each with what it should be."

    def row(what: str, mine: Any, theirs: Any = "", times: Any = "", goal: str = "") -> None:
        print(f"{what:<44}{mine:>12}{theirs:>12}{times:>10}   {goal}")

    row("", "SONIC", "interact", "ratio", "goal")
    goals = {
        "p50_ms": "",
        "p95_ms": "ratio at least 5; at most 100 ms on a quiet machine",
        "change_kB": "at most 170 kB",
    }
    goals |= {"first_kB": "at most 450 kB", "first_ms": "at most 1500 ms"}
    names = {
        "p50_ms": "setting to picture, median, ms",
        "p95_ms": "setting to picture, 95 %, ms",
        "change_kB": "a change, kB",
    }
    names |= {"first_kB": "first display with 30 s of sound, kB", "first_ms": "first display, ms"}
    for name, what in names.items():
        mine, theirs = (statistics.median(each[side][name] for each in rounds) for side in (0, 1))
        row(what, f"{mine:.0f}", f"{theirs:.0f}", f"{ratio(rounds, name):.1f}", goals[name])
    growth = [
        f"{statistics.median(e[s]['kernel_after_MB'] - e[s]['kernel_before_MB'] for e in rounds):.0f}" for s in (0, 1)
    ]
    row("kernel's growth over the steps, MB", *growth)
    row("range or colours to picture, 95 %, ms", f"{told['look_p95_ms']:.1f}", goal="at most 16 ms")
    row("messages to the kernel for that", f"{told['look_messages']:.0f}", goal="0")
    row("click to sound, 95 %, ms", f"{told['seek_p95_ms']:.1f}", goal="below 50 ms")
    row("cursor against the sound's clock, 95 %, ms", f"{told['cursor_p95_ms']:.1f}", goal="below 5 ms")
    row("frames a second while playing", f"{told['frames_per_s']:.0f}", goal="at least 50")
    row(
        f"kernel's growth over {told['changes']:.0f} changes, MB",
        f"{told['kernel_growth_MB']:.1f}",
        goal="at most 40 MB",
    )
    row("page's growth over them, MB", f"{told['page_growth_MB']:.1f}", goal="at most 5 MB")
    row("page from disk, kB", f"{told['static_kB']:.0f}", goal="at most 600 kB")
    row("requests of that page", f"{told['static_requests']:.0f}", goal="0")


def main(rounds: int = 3, steps: int = 50, out: str = "") -> None:
    from sonic.cream.artists import plan
    from sonic.cream.music import write_song

    if reason := lab.missing():
        sys.exit(reason)
    with tempfile.TemporaryDirectory() as folder:
        clip = write_song(plan(tracks=8, seconds=30)[4], Path(folder), format="ogg")
        with lab.server(Path(folder)) as server, lab.browser() as chromium:
            pairs = []
            for k in range(rounds):
                order = (ours, rival) if k % 2 == 0 else (rival, ours)
                measured = {each: each(chromium, server, clip, steps=steps) for each in order}
                pairs.append((measured[ours], measured[rival]))
            told = alone(chromium, server, clip, changes=4 * steps)
    report(pairs, told)
    if out:
        Path(out).write_text(json.dumps({"rounds": pairs, "alone": told}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *sys.argv[3:])
