"The explorer as a user has it: a real JupyterLab, a real browser, sounds whose truth is known."

import re
import shutil
from pathlib import Path

import lab
import numpy as np
import pytest
import soundfile

from sonic.explore import compare, explore

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]
RATE = 22050
IMPORT = "from sonic.explore import compare, explore, gallery"
STATE = """node => {
  const {look, sound} = node.explorer, {cursor, window, loop, regions} = look
  const painted = Number(node.dataset.painted)
  return {cursor, window, loop, regions, painted, playing: sound.playing, side: sound.side}
}"""
# the brightest place of the first picture, in px of the page: of an image in its middle column, of a curve its top
BRIGHTEST = """node => {
  const {explorer} = node, pane = explorer.panes.values().next().value, box = pane.box, ratio = devicePixelRatio;
  const context = pane.canvas.getContext("2d"), rect = pane.cover.getBoundingClientRect(), light = (x, y) => {
    const [r, g, b, a] = context.getImageData(Math.round(x * ratio), Math.round(y * ratio), 1, 1).data;
    return a ? .3 * r + .59 * g + .11 * b : 0;
  };
  let best = [-1, 0, 0];
  if (pane.picture.kind === "image") {
    const x = box.x + box.width / 2, rows = [];
    for (let y = box.y; y < box.y + box.height; y++) rows.push([light(x, y), y]);
    const most = Math.max(...rows.map(row => row[0])), ys = rows.filter(row => row[0] > most - 1).map(row => row[1]);
    best = [most, x, (ys[0] + ys[ys.length - 1]) / 2];
  } else {
    const [, levels] = [0, pane.picture.levels], k = levels.indexOf(Math.max(...levels));
    best = [0, box.x + pane.place(pane.scale().value((k + .5) / levels.length), explorer.look) * box.width, box.y + 20];
  }
  return [rect.x + best[1], rect.y + best[2]];
}"""


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    "A tone of 440 Hz, clicks at 120 BPM, and a glide, as files."
    folder = tmp_path_factory.mktemp("sounds")
    time = np.arange(12 * RATE) / RATE
    clicks = np.zeros(12 * RATE, np.float32)
    for beat in range(24):
        at = beat * RATE // 2
        clicks[at : at + 400] = np.random.default_rng(beat).normal(0, 0.3, 400) * np.exp(-np.arange(400) / 80)
    made = {
        "tone": 0.5 * np.sin(2 * np.pi * 440 * time),
        "clicks": clicks,
        "glide": 0.5 * np.sin(2 * np.pi * 100 * (80 ** (time / 12) - 1) * 12 / np.log(80)),
    }
    for name, samples in made.items():
        soundfile.write(folder / f"{name}.wav", samples, RATE)
    return folder


@pytest.fixture
def shown(notebook):
    "Called with a line of Python that ends in a widget: its page, and the widget there."

    def run(line, *more):
        tab = notebook(IMPORT, *more, line)
        tab.run_all()
        widget = tab.page.locator(".sonic-explorer").first
        widget.locator("canvas.cover").first.wait_for()
        tab.settle()
        return tab, widget

    return run


def state(widget):
    return widget.evaluate(STATE)


def place(widget, across, up, pane=0):
    "A point of a picture, as shares of its width and height, in px of the page."
    box = widget.evaluate("(node, n) => [...node.explorer.panes.values()][n].box", pane)
    rect = widget.locator("canvas.cover").nth(pane).bounding_box()
    return rect["x"] + box["x"] + across * box["width"], rect["y"] + box["y"] + (1 - up) * box["height"]


def readout(widget):
    return widget.locator(".readout").inner_text()


def cells(tab):
    return tab.page.locator(".jp-Notebook .jp-Cell").count()


# ---- what is seen is true ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["mel", "log", "linear"])
def test_a_tone_is_brightest_at_its_note(shown, sounds, scale):
    tab, widget = shown(f"explore({str(sounds / 'tone.wav')!r}, n_mels=128, scale={scale!r})")
    tab.page.mouse.move(*widget.evaluate(BRIGHTEST))
    hertz = float(re.search(r"([\d.]+) Hz", readout(widget))[1])
    assert abs(hertz - 440) < 24  # a row
    assert re.search(r"A4", readout(widget))


def test_a_tone_in_the_other_views(shown, sounds):
    tab, widget = shown(f"explore({str(sounds / 'tone.wav')!r}, 'fft', n_fft=8192)")
    tab.page.mouse.move(*widget.evaluate(BRIGHTEST))
    assert re.search(r" · A4", readout(widget)), readout(widget)
    widget.get_by_role("button", name="Chroma").click()
    widget.locator('[aria-label^="Chromagram"]').wait_for()
    tab.page.mouse.move(*widget.evaluate(BRIGHTEST))
    assert " · A · 1.00" in readout(widget)


def test_rows_are_not_blurred_where_columns_share_pixels(shown, sounds):
    "Seven columns to three pixels: along time they are averaged, but a pitch class ends where it ends."
    _, widget = shown(f"explore({str(sounds / 'tone.wav')!r}, 'chroma', hop_length=128)")
    steps = widget.evaluate(
        """node => {
          const pane = node.explorer.panes.values().next().value, {box, canvas, picture} = pane
          if (picture.columns < 2 * box.width) return -1
          const [x, y, height] = [box.x + box.width / 2, box.y, box.height].map(px => Math.round(px * devicePixelRatio))
          const column = canvas.getContext("2d").getImageData(x, y, 1, height).data
          let changes = 0
          for (let k = 4; k < column.length; k += 4) changes += column[k] !== column[k - 4]
          return changes
        }"""
    )
    assert 1 <= steps <= 12


def test_clicks_peak_at_their_tempo(shown, sounds):
    tab, widget = shown(f"explore({str(sounds / 'clicks.wav')!r}, 'tempogram', bpm_min=80, bpm_max=200)")
    tab.page.mouse.move(*widget.evaluate(BRIGHTEST))
    bpm = float(re.search(r"([\d.]+) BPM", readout(widget))[1])
    assert abs(bpm - 120) < 2, readout(widget)


def test_what_sounds_is_what_is_shown(shown, sounds):
    "A glide at 6 s: where the picture is brightest under the cursor, there the sound is too."
    tab, widget = shown(f"explore({str(sounds / 'glide.wav')!r}, scale='log')")
    tab.page.mouse.click(*place(widget, 0.5, 0.5))
    assert state(widget)["cursor"] == pytest.approx(6, abs=0.03)
    heard = widget.evaluate(
        """async node => {
          const {sound} = node.explorer, context = new OfflineAudioContext(1, 22050, 22050);
          const data = await context.decodeAudioData(await (await fetch(sound.audio.src)).arrayBuffer());
          const at = Math.round(sound.audio.currentTime * 22050), samples = data.getChannelData(0).slice(at, at + 2205);
          let crossings = 0;
          for (let k = 1; k < samples.length; k++) if (samples[k - 1] < 0 && samples[k] >= 0) crossings++;
          return crossings * 10;
        }"""
    )
    tab.page.mouse.move(*widget.evaluate(BRIGHTEST))
    assert float(re.search(r"([\d.]+) Hz", readout(widget))[1]) == pytest.approx(heard, rel=0.08)
    assert heard == pytest.approx(100 * 80**0.5, rel=0.05)


# ---- hands ---------------------------------------------------------------------------------------------------------


def test_mouse(shown, sounds):
    tab, widget = shown(f"e = explore({str(sounds / 'glide.wav')!r}); e")
    mouse, before = tab.page.mouse, tab.traffic()
    mouse.click(*place(widget, 0.25, 0.5))
    assert state(widget)["cursor"] == pytest.approx(3, abs=0.03)
    widget.get_by_role("button", name="Play", exact=True).click()
    tab.page.wait_for_timeout(1500)
    now = state(widget)
    assert now["playing"] and 3.7 < now["cursor"] < 5.5  # the clock runs
    assert re.match(r"0:0[45]\.\d / 0:12", widget.locator(".time").inner_text())
    widget.get_by_role("button", name="Pause", exact=True).click()

    mouse.move(*place(widget, 0.5, 0.9))  # a box: zoom in time and in frequency
    mouse.down()
    mouse.move(*place(widget, 0.75, 0.3), steps=6)
    mouse.up()
    assert state(widget)["window"] == pytest.approx([6, 9], abs=0.05)
    low, high = widget.evaluate("node => node.explorer.panes.values().next().value.heights")
    assert 100 < low < high < 11025
    strip = widget.locator("canvas.overview").bounding_box()
    mouse.click(strip["x"] + strip["width"] / 4, strip["y"] + 8)  # the part that is seen, along the whole
    assert state(widget)["window"] == pytest.approx([1.5, 4.5], abs=0.1)
    mouse.dblclick(*place(widget, 0.5, 0.5))
    assert state(widget)["window"] == [0, 12]
    assert widget.locator("canvas.overview").is_hidden()
    mouse.wheel(0, -400)  # the picture has the focus
    from_, to = state(widget)["window"]
    assert 0 < from_ < 6 < to < 12
    widget.get_by_role("button", name="All", exact=False).first.click()

    tab.page.keyboard.down("Shift")  # a region
    mouse.move(*place(widget, 0.5, 0.8))
    mouse.down()
    mouse.move(*place(widget, 0.6, 0.4), steps=6)
    mouse.up()
    tab.page.keyboard.up("Shift")
    (region,) = state(widget)["regions"]
    assert [region["start"], region["end"]] == pytest.approx([6, 7.2], abs=0.05) and region["axis"] == "frequency"
    widget.get_by_label("Label of region 1").fill("<b>riff</b>")
    widget.get_by_role("button", name="Play region 1 in a loop").click()
    tab.page.wait_for_timeout(2500)  # longer than the region
    now = state(widget)
    assert now["playing"] and 5.9 < now["cursor"] < 7.4 and now["loop"] == [region["start"], region["end"]]
    assert tab.traffic()["frames_sent"] == before["frames_sent"]  # all that without a word to the kernel
    tab.shot("explorer-region")

    widget.get_by_role("button", name="Pause", exact=True).click()
    mouse.move(2, 2)  # turning away
    tab.settle()
    told = tab.run("print(e.regions_frame().to_csv(index=False), e.cursor, e.loop)")
    assert "<b>riff</b>,6.0" in told and "frequency" in told
    assert not tab.errors and not tab.elsewhere


def test_keyboard_alone(shown, sounds):
    tab, widget = shown(f"e = explore({str(sounds / 'glide.wav')!r}); e")
    press, count = tab.page.keyboard.press, cells(tab)
    widget.locator("canvas.cover").focus()
    sent = tab.traffic()["frames_sent"]
    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowRight"):
        press(key)
    assert state(widget)["cursor"] == pytest.approx(6, abs=0.01)
    press("[")
    for _ in range(4):
        press("ArrowRight")
    press("]")
    assert state(widget)["loop"] == pytest.approx([6, 8], abs=0.01)
    press("Escape")
    assert state(widget)["loop"] is None
    press("r")
    press("ArrowLeft")
    press("r")
    press("m")
    assert [(r["start"], r["end"]) for r in state(widget)["regions"]] == [(7.5, 8.0), (7.5, 7.5)]
    press("Delete")
    assert len(state(widget)["regions"]) == 1
    press("+")
    assert state(widget)["window"] != [0, 12]
    press("0")
    assert state(widget)["window"] == [0, 12]
    press("ArrowUp")
    first = readout(widget)
    press("ArrowUp")
    semitone = [float(re.search(r"([\d.]+) Hz", text)[1]) for text in (first, readout(widget))]
    assert semitone[1] / semitone[0] == pytest.approx(2 ** (1 / 12), rel=1e-3)
    press("c")
    assert widget.evaluate("node => node.explorer.look.colormap") == "viridis"
    press(" ")
    tab.page.wait_for_timeout(700)
    assert state(widget)["playing"]
    press(" ")
    assert not state(widget)["playing"]
    press("?")
    assert widget.locator(".help").is_visible()
    press("Escape")
    assert tab.traffic()["frames_sent"] == sent  # the kernel has heard nothing
    press("2")  # but another view it must draw
    widget.locator('[aria-label^="Chromagram"]').wait_for()
    press("Shift+Digit4")
    widget.locator('canvas[aria-label^="Tempogram"]').wait_for()
    assert widget.locator("canvas.cover").count() == 2
    for key in (
        "x",
        "a",
        "b",
        "d",
        "d",
        "c",
        "v",
        "ArrowDown",
        "End",
    ):  # which cut, add and delete cells of the notebook
        press(key)
    assert cells(tab) == count
    assert widget.evaluate("node => node.contains(document.activeElement)")
    widget.get_by_label("Brightest level").focus()  # a slider that has the focus moves by its arrows
    high = widget.locator(".value").last.inner_text(), widget.evaluate("node => node.explorer.look.ranges")
    press("ArrowLeft")
    assert widget.evaluate("node => node.explorer.look.ranges") != high[1]
    assert cells(tab) == count and not tab.errors


def test_a_setting_from_the_page_reaches_the_kernel_and_comes_back(shown, sounds):
    tab, widget = shown(f"e = explore({str(sounds / 'tone.wav')!r}); e")
    canvas = widget.locator("canvas.picture")
    before = canvas.evaluate("node => node.toDataURL()")
    widget.get_by_label("n_fft").select_option("512")
    widget.locator('[aria-label*="frame 512"]').wait_for()
    assert canvas.evaluate("node => node.toDataURL()") != before
    slider = widget.locator('input[aria-label^="fmin"]')
    slider.focus()
    for _ in range(12):
        tab.page.keyboard.press("ArrowRight")
    tab.settle()
    assert tab.run("print(e.settings['stft.n_fft'], e.settings['mel.fmin'])").split() == [
        "512",
        "120.0",
    ]  # the latest won
    widget.get_by_label("n_fft").select_option("256")  # 128 bands do not fit into that
    widget.locator(".said", has_text="bands without any frequency").wait_for()
    assert widget.get_by_label("n_fft").input_value() == "512"  # as it was
    assert tab.run("print(e.settings['stft.n_fft'])").strip() == "512"
    tab.run("e.settings = {'mel.n_mels': 40}; e.window = (2, 4); e.cursor = 3")  # and the other way round
    widget.locator('[aria-label*="40 bands"]').wait_for()
    assert state(widget)["window"] == [2, 4] and state(widget)["cursor"] == pytest.approx(3, abs=0.01)
    assert widget.get_by_label("n_fft").input_value() == "2048"
    assert not tab.errors


def test_another_stretch(shown, sounds):
    tab, widget = shown(f"e = explore({str(sounds / 'glide.wav')!r}, **{{'audio.duration': 5}}); e")
    assert "0:00 – 0:05 of 0:12" in widget.locator(".head").inner_text()
    widget.get_by_role("button", name="Later in the track").click()
    widget.locator(".head", has_text="0:05 – 0:10 of 0:12").wait_for()
    tab.settle()
    now = state(widget)
    assert now["window"] == [5, 10] and now["cursor"] == pytest.approx(5, abs=0.01)
    widget.get_by_role("button", name="Play", exact=True).click()
    tab.page.wait_for_timeout(1000)
    assert 5.3 < state(widget)["cursor"] < 7
    assert not tab.errors


def test_a_loop_goes_on_at_the_end_of_the_sound(shown, sounds):
    tab, widget = shown(f"explore({str(sounds / 'glide.wav')!r}, loop=(11.2, 12), cursor=11.2)")
    tab.page.evaluate("""() => { window.cursors = []; setInterval(() => {
      window.cursors.push(document.querySelector(".sonic-explorer").explorer.sound.time) }, 20) }""")
    widget.get_by_role("button", name="Play", exact=True).click()
    tab.page.wait_for_timeout(2500)
    now, cursors = state(widget), tab.page.evaluate("window.cursors")
    assert now["playing"] and 11.1 < now["cursor"] <= 12
    assert max(cursors) > 11.9 and min(cursors) > 11.1 and np.sum(np.diff(cursors) < -0.5) >= 2
    widget.locator("canvas.cover").focus()
    for key in ("Space", "Home", "]"):  # a loop that would begin before the track
        tab.page.keyboard.press(key)
    assert state(widget)["loop"] == pytest.approx([0, 0.05])
    tab.page.keyboard.press("End")
    tab.page.keyboard.press("[")
    start, end = state(widget)["loop"]
    assert start < end <= 12
    tab.page.mouse.move(2, 2)
    tab.settle()
    assert widget.locator(".said").inner_text() == ""  # the kernel has understood
    assert not tab.errors


def test_what_was_seen_and_is_no_more(shown, sounds):
    "Other settings, a colour map or a window from Python: no zoom, range or list goes on meaning what is gone."
    tab, widget = shown(f"e = explore({str(sounds / 'tone.wav')!r}, ['mel', 'fft']); e")
    finite = "node => [...node.explorer.panes.values()].every(pane => Number.isFinite(pane.place(440)))"
    mouse = tab.page.mouse
    mouse.move(*place(widget, 0.5, 0.9, pane=1))  # straight down in the spectrum: no stretch of frequency
    mouse.down()
    mouse.move(*place(widget, 0.5, 0.2, pane=1), steps=4)
    mouse.up()
    assert widget.evaluate("node => node.explorer.look.heights") == {} and widget.evaluate(finite)
    tab.run("e.heights = {'mel': (4000, 8000)}; e.ranges = {'fft': (-60, -20)}; e.window = (30, 40)")
    assert state(widget)["window"] == [0, 12]  # there is nothing at 30 s
    tab.run("e.settings = {'mel.fmax': 3000.0, 'fft.unit': 'amplitude', 'stft.n_fft': 3000}; e.colormap = 'plasma'")
    widget.locator('[aria-label*="frame 3000"]').first.wait_for()
    assert widget.evaluate(finite)
    assert widget.evaluate("node => node.explorer.look.ranges") == {}  # it was in dB
    assert widget.get_by_label("n_fft").input_value() == "3000"
    assert widget.get_by_label("Colour map").input_value() == "plasma"
    mouse.move(*place(widget, 0.5, 0.5))
    before = readout(widget)
    tab.run("e.settings = {'mel.n_mels': 20}; e.views = ['tempogram', 'mel']; e.heights = {'tempogram': (80, 160)}")
    widget.locator('[aria-label*="20 bands"]').wait_for()
    assert readout(widget) != before  # another picture under the same pointer
    tab.run("e.settings = {'tempogram.axis': 'lag'}")
    widget.locator('canvas[aria-label^="Tempogram"]').hover()
    assert "lag" in readout(widget)
    assert "tempogram" not in widget.evaluate("node => node.explorer.look.heights")  # those were tempi
    tab.run("e.views = ['chroma']")
    assert readout(widget) == ""
    assert not tab.errors


def test_quick_hands(shown, sounds):
    "What is wished before the kernel has answered builds on what is wished already."
    tab, widget = shown(f"e = explore({str(sounds / 'glide.wav')!r}, 'chroma', **{{'audio.duration': 5}}); e")
    widget.get_by_label("Speed").select_option("0.5")
    page, press = tab.page, tab.page.keyboard.press
    widget.locator("canvas.cover").focus()
    later = widget.get_by_role("button", name="Later in the track")
    later.evaluate("node => { node.click(); node.click(); }")
    widget.locator(".head", has_text="0:07 – 0:12 of 0:12").wait_for()
    assert widget.evaluate("node => node.explorer.sound.audio.playbackRate") == 0.5
    widget.locator("canvas.cover").focus()
    press("Shift+Digit1")
    press("Shift+Digit3")
    widget.locator("canvas.cover").nth(2).wait_for()
    shown_views = "node => [...node.explorer.panes.values()].map(pane => pane.view)"
    assert widget.evaluate(shown_views) == ["mel", "chroma", "fft"]  # as they stand on the page
    assert widget.evaluate("node => node.querySelector('.grid').contains(document.activeElement)")
    tab.settle()
    count = tab.traffic()["frames_sent"]
    press("m")
    press("ArrowRight")
    press("m")
    widget.get_by_role("button", name="Remove region 1").focus()
    press("Enter")
    assert page.evaluate("document.activeElement.title") == "Remove region 1"  # of what was the second
    press("Enter")
    assert widget.evaluate("node => node.contains(document.activeElement)") and state(widget)["regions"] == []
    widget.locator("canvas.cover").first.focus()
    press("+")
    before = state(widget)["window"]
    widget.locator("canvas.cover").first.scroll_into_view_if_needed()
    page.mouse.move(*place(widget, 0.5, 0.5))
    page.keyboard.down("Shift")
    page.mouse.wheel(100, 0)  # what browsers make of a wheel with shift
    page.keyboard.up("Shift")
    page.wait_for_function(
        "before => document.querySelector('.sonic-explorer').explorer.look.window[0] > before", arg=before[0]
    )
    after = state(widget)["window"]
    assert after[1] - after[0] == pytest.approx(before[1] - before[0])
    assert tab.traffic()["frames_sent"] == count
    assert not tab.errors


# ---- two of them ---------------------------------------------------------------------------------------------------


def test_compare(shown, sounds):
    tone, glide = str(sounds / "tone.wav"), str(sounds / "glide.wav")
    tab, widget = shown(f"compare({tone!r}, {glide!r})")
    rects = [widget.locator("canvas.cover").nth(k).bounding_box() for k in (0, 1)]
    assert rects[0]["y"] == rects[1]["y"] and rects[1]["x"] > rects[0]["x"] + 300  # side by side
    tab.page.mouse.click(*place(widget, 0.5, 0.5))
    tab.page.keyboard.press(" ")
    tab.page.wait_for_timeout(600)
    before = state(widget)
    tab.page.keyboard.press("b")
    tab.page.wait_for_timeout(300)
    after = state(widget)
    assert (before["side"], after["side"]) == (0, 1) and after["playing"]
    assert 0.2 < after["cursor"] - before["cursor"] < 1  # the same place
    players = "node => node.explorer.sound.players.map(each => !each.audio.paused)"
    assert widget.evaluate(players) == [False, True]  # one at a time
    tab.page.keyboard.press("+")
    windows = [widget.evaluate("(node, n) => node.explorer.look.window", n) for n in (0, 1)]
    assert windows[0] == windows[1] != [0, 12]
    tab.page.keyboard.press(" ")
    widget.get_by_role("button", name="Play", exact=True).wait_for()
    tab.shot("explorer-compare")
    assert not tab.errors


def test_two_displays_of_one_explorer(notebook, sounds):
    "They show the same, ask for themselves, and never play at once."
    from playwright.sync_api import expect

    tab = notebook(IMPORT, f"e = explore({str(sounds / 'glide.wav')!r}); e", "e")
    tab.run_all()
    one, two = (tab.page.locator(".sonic-explorer").nth(k) for k in (0, 1))
    two.locator("canvas.cover").wait_for()
    tab.settle()
    one.get_by_role("button", name="Play", exact=True).click()
    one.get_by_label("Colour map").select_option("viridis")
    tab.page.wait_for_timeout(300)
    tab.page.mouse.move(2, 2)  # what was done in the one is told
    tab.run("assert e.playing and e.colormap == 'viridis'")
    assert [state(each)["playing"] for each in (one, two)] == [True, False]
    assert two.get_by_label("Colour map").input_value() == "viridis"
    one.get_by_role("button", name="Pause", exact=True).click()
    for asks, other in ((one, two), (two, one)):  # the same wish from both
        asks.get_by_label("n_fft").select_option("512")
        asks.locator('[aria-label*="frame 512"]').wait_for()
        other.locator('[aria-label*="frame 512"]').wait_for()
        expect(other.get_by_label("n_fft")).to_have_value("512")
        tab.run("e.settings = {}")
        for each in (one, two):
            each.locator('[aria-label*="frame 2048"]').wait_for()
            expect(each.get_by_label("n_fft")).to_have_value("2048")
        tab.settle()
    assert not tab.errors


# ---- beyond the notebook -------------------------------------------------------------------------------------------


def test_a_page_from_disk_plays_without_network(tab, sounds, tmp_path):
    page = tmp_path / "page.html"
    explore(sounds / "glide.wav", title="</script><img src=x onerror=\"document.title='hacked'\">").to_html(page)
    assert page.stat().st_size <= 600_000
    tab.page.context.set_offline(True)
    tab.page.goto(page.as_uri())
    widget = tab.page.locator(".sonic-explorer")
    widget.locator("canvas.cover").wait_for()
    assert widget.locator(".title").inner_text().startswith("</script><img")
    assert widget.locator("img").count() == 0 and tab.page.title() != "hacked"
    tab.page.mouse.click(*place(widget, 0.5, 0.5))
    tab.page.keyboard.press(" ")
    tab.page.wait_for_timeout(1200)
    now = state(widget)
    assert now["playing"] and 6.6 < now["cursor"] < 8
    tab.page.keyboard.press(" ")
    painted = now["painted"]
    widget.get_by_label("Darkest level").fill("-20")
    assert state(widget)["painted"] > painted
    tab.page.mouse.move(*widget.evaluate(BRIGHTEST))
    assert "Hz" in readout(widget)
    assert widget.get_by_label("n_fft").count() == 0  # which only a kernel could change
    painted = state(widget)["painted"]
    tab.page.emulate_media(color_scheme="dark")
    tab.page.wait_for_function(
        "painted => document.querySelector('.sonic-explorer').dataset.painted > painted", arg=painted
    )
    assert not tab.errors
    assert [url for url in tab.requests if not url.startswith(("file:", "blob:", "data:"))] == []


def test_a_comparison_from_disk(tab, sounds, tmp_path):
    page = tmp_path / "pair.html"
    compare(sounds / "glide.wav", {"n_fft": 512}).to_html(page)
    tab.page.goto(page.as_uri())
    widget = tab.page.locator(".sonic-explorer")
    widget.locator("canvas.cover").nth(1).focus()
    tab.page.keyboard.press("b")
    assert state(widget)["side"] == 1
    assert not tab.errors


def test_a_saved_notebook_shows_a_picture(notebook, sounds, jupyterlab):
    "Opened again without its kernel, untrusted as a downloaded notebook is."
    tab = notebook(IMPORT, f"explore({str(sounds / 'tone.wav')!r})")
    tab.run_all()
    tab.page.locator(".sonic-explorer canvas.cover").wait_for()
    tab.page.evaluate("jupyterapp.commands.execute('docmanager:save')")
    path = jupyterlab.folder / "test_a_saved_notebook_shows_a_picture.ipynb"
    tab.page.wait_for_timeout(500)
    text = path.read_text(encoding="utf-8")
    assert "image/jpeg" in text
    other = jupyterlab.folder / "downloaded.ipynb"
    other.write_text(text.replace("tone.wav", "t0ne.wav"), encoding="utf-8")  # another notebook: not trusted
    tab.open(jupyterlab, other.name)
    image = tab.page.locator(".jp-OutputArea img")
    image.wait_for()
    assert image.evaluate("node => node.complete && node.naturalWidth") > 300


def test_titles_are_text_and_messages_are_checked(shown, sounds):
    line = f"e = explore({str(sounds / 'tone.wav')!r}, title='<img src=x onerror=\"window.hacked=1\">'); e"
    tab, widget = shown(line)
    assert widget.locator(".title").inner_text().startswith("<img src=x")
    assert widget.locator("img").count() == 0 and tab.page.evaluate("window.hacked") is None
    bad = {"_request": {"seq": 99, "settings": {"picture.width": 8192}}, "_a_mel": {"rows": 1}, "cursor": "x"}
    widget.evaluate(
        """(node, bad) => {
          const {model} = node.explorer
          for (const [name, value] of Object.entries(bad)) model.set(name, value)
          model.save_changes()
        }""",
        bad,
    )
    widget.locator(".said", has_text=re.compile("does not offer|is not what it must be")).wait_for()
    assert tab.run("print(e._a_mel['rows'], e.cursor, e.settings)").strip() == "128 0.0 {}"


def test_nothing_is_left_behind(notebook, sounds):
    "Addresses of sounds are given back, and the widget's listeners go, when its cell is run again."
    tab = notebook(IMPORT, f"e = explore({str(sounds / 'tone.wav')!r}); e")
    tab.page.evaluate(
        """() => {
          window.urls = new Set();
          const {createObjectURL, revokeObjectURL} = URL;
          URL.createObjectURL = blob => {
            const url = createObjectURL.call(URL, blob);
            if (blob.type === "audio/ogg") window.urls.add(url);
            return url;
          };
          URL.revokeObjectURL = url => { window.urls.delete(url); revokeObjectURL.call(URL, url); };
        }"""
    )
    for _ in range(4):
        tab.run_all()
        tab.page.locator(".sonic-explorer canvas.cover").wait_for()
    tab.page.wait_for_function("document.querySelectorAll('.sonic-explorer').length === 1")
    assert tab.page.evaluate("window.urls.size") == 1
    tab.run("e.close()")
    tab.page.wait_for_function("document.querySelectorAll('.sonic-explorer').length === 0")
    assert tab.page.evaluate("window.urls.size") == 0


def test_every_control_has_a_name(shown, sounds):
    tab, widget = shown(f"explore({str(sounds / 'tone.wav')!r}, regions=[{{'label': 'a', 'start': 1, 'end': 2}}])")
    nameless = widget.evaluate(
        """node => [...node.querySelectorAll("button, input, select, canvas.cover, output")].filter(each =>
          !(each.getAttribute("aria-label") || each.labels?.length || each.className === "value"))
          .map(each => each.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
    keys = widget.evaluate("""node => [...node.querySelectorAll("button, input, select, canvas.cover")]
      .filter(each => !each.hasAttribute("data-lm-suppress-shortcuts")).length""")
    assert keys == 0  # JupyterLab would take the keys of such an element


def test_narrow_and_dark(shown, sounds):
    tab, widget = shown(f"compare({str(sounds / 'glide.wav')!r}, {{'n_fft': 512}})")
    tab.page.set_viewport_size({"width": 900, "height": 900})
    tab.page.evaluate("jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    tab.page.locator('body[data-jp-theme-light="false"]').wait_for(state="attached")
    tab.settle()
    rects = [widget.locator("canvas.cover").nth(k).bounding_box() for k in (0, 1)]
    assert rects[1]["y"] > rects[0]["y"] + 200  # below each other
    root = widget.bounding_box()
    assert rects[0]["x"] + rects[0]["width"] <= root["x"] + root["width"] + 1  # nothing is cut off
    paper, ink = (
        widget.evaluate("(node, what) => getComputedStyle(node)[what]", what) for what in ("backgroundColor", "color")
    )
    light = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (paper, ink)]
    assert light[0] < 200 and light[1] > 500
    tab.shot("explorer-narrow-dark")
    tab.page.evaluate("jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Light'})")
    tab.page.locator('body[data-jp-theme-light="true"]').wait_for(state="attached")


def test_the_tutorial_runs_in_jupyterlab(tab, jupyterlab):
    shutil.copy(ROOT / "nbs" / "tutorials" / "02_explore.ipynb", jupyterlab.folder / "tutorial.ipynb")
    tab.open(jupyterlab, "tutorial.ipynb")
    tab.run_all()
    widget = tab.page.locator(".sonic-explorer").first
    widget.scroll_into_view_if_needed()
    canvas = widget.locator("canvas.picture").first
    before = canvas.evaluate("node => node.toDataURL()")
    widget.get_by_label("Colour map").select_option("cividis")
    assert canvas.evaluate("node => node.toDataURL()") != before
    assert not tab.errors and not tab.elsewhere
    assert lab.missing() == ""
