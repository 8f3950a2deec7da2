"The map of a collection: the same on every machine; and as a user has it, in JupyterLab and as a page on disk."

from __future__ import annotations

import os
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lab import wait

from sonic.cream.artists import plan
from sonic.cream.music import write_song
from sonic.explore import music_map
from sonic.explore.layout import layout
from sonic.tails.index import make_index
from sonic.tails.table import make_table, save_table

HOSTILE = "<img src=x onerror=window.pwned=1><b>bold</b>"
COUNT = 60
GONE = 7  # the track whose file is not there


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("secret-place")
    return [write_song(song, folder, format="ogg") for song in plan(tracks=4, seconds=11)]


@pytest.fixture(scope="module")
def table(music):
    "Three genres that lie apart, twenty tracks each."
    rng = np.random.default_rng(0)
    genre = np.repeat(["ambient", "house", "rock"], COUNT // 3)
    centres = 3 * rng.normal(size=(3, 12))
    labels = pd.DataFrame({"path": [str(music[k % 4]) for k in range(COUNT)], "artist": "The Planted", "genre": genre})
    labels = labels.assign(title=[f"Song {k}" for k in range(COUNT)], year=1970 + np.arange(COUNT) % 5)
    labels.loc[0, "title"], labels.loc[GONE, "path"] = HOSTILE, "/nowhere/secret/gone.mp3"
    vectors = np.repeat(centres, COUNT // 3, axis=0) + rng.normal(size=(COUNT, 12))
    return make_table(vectors, [f"{k:02}" for k in range(COUNT)], labels=labels)


# ---- the layout


def test_a_layout_is_the_same_whatever_the_order():
    rng = np.random.default_rng(1)
    ids = [f"{k:03}" for k in range(300)]
    vectors = rng.normal(size=(300, 20)).astype(np.float32)
    made = layout(make_table(vectors, ids))
    mixed = rng.permutation(300)
    again = layout(make_table(vectors[mixed], [ids[k] for k in mixed]))
    assert again.tracks.index.tolist() == ids
    np.testing.assert_array_equal(again.places, made.places)
    np.testing.assert_array_equal(again.near, made.near)
    assert not np.array_equal(layout(make_table(vectors[mixed], ids)).places, made.places)  # other tracks


THREADS = """
import numpy as np
from threadpoolctl import threadpool_info
from sonic.explore import layout as room
from sonic.tails.table import make_table
tsne = room.METHODS["tsne"]
def spy(vectors, *, seed):
    made = tsne(vectors, seed=seed)
    print(*sorted({(pool["user_api"], pool["num_threads"]) for pool in threadpool_info()}))
    return made
room.METHODS["tsne"] = spy
room.layout(make_table(np.random.default_rng(0).normal(size=(20, 9)), list("abcdefghijklmnopqrst")))
"""


def test_one_thread_lays_out_also_the_first_time():
    "A limit on threads does nothing to a library that is loaded later."
    env = os.environ | {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, env=env)
    assert done.stdout == "('blas', 1) ('openmp', 1)\n", done.stdout + done.stderr


def test_neighbours_on_the_map_are_of_one_genre(table):
    made = layout(make_index(table))
    nearest = np.argsort(np.linalg.norm(made.places[:, None] - made.places, axis=2), axis=1)[:, 1:4]
    genre = made.tracks["genre"].to_numpy()
    assert np.mean(genre[nearest] == genre[:, None]) > 0.97  # a third by chance
    assert made.kept > 0.5


@pytest.mark.parametrize("name, made", [("umap", "UMAP"), ("pacmap", "PaCMAP")])
def test_the_others_get_the_seed_and_the_space_of_the_neighbours(table, monkeypatch, name, made):
    "They compile for up to a minute, so a stand-in takes their place."
    seen = {}

    class StandIn:
        def __init__(self, **how):
            seen.update(how)

        def fit_transform(self, vectors):
            seen["vectors"] = vectors
            return vectors[:, :2] * [2, 1]

    monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(**{made: StandIn}))
    assert layout(table, method=name, seed=5).method == name
    assert seen["random_state"] == 5
    np.testing.assert_array_equal(seen["vectors"], make_index(table).vectors)
    assert layout(table, method="pca").facts.startswith("PCA; of each track's 6 nearest, ")


def test_no_more_tracks_than_can_be_drawn(monkeypatch, table):
    monkeypatch.setattr("sonic.explore.layout.MOST", 59)
    with pytest.raises(Exception, match="at most 59 tracks, not 60; take a part"):
        layout(table)


# ---- in JupyterLab

LISTEN = """() => {  // which sounds have begun, and which addresses are held
    window.heard = []
    document.addEventListener('sonic-play', event => heard.push(event.detail))
    window.addresses = new Set()
    const { createObjectURL, revokeObjectURL } = URL
    URL.createObjectURL = it => { const url = createObjectURL.call(URL, it); addresses.add(url); return url }
    URL.revokeObjectURL = url => { addresses.delete(url); revokeObjectURL.call(URL, url) }
}"""
WHERE = """index => {  // of a track, in px of the page
    const {stage} = document.querySelector('.sonic.map').chart, box = stage.cover.getBoundingClientRect()
    const [x, y] = stage.where(index)
    return [box.x + x, box.y + y]
}"""
COLOUR = """index => {  // what is painted in the middle of a track
    const {stage} = document.querySelector('.sonic.map').chart, [x, y] = stage.where(index), r = devicePixelRatio
    const data = stage.canvas.getContext('2d').getImageData(Math.round(x * r), Math.round(y * r), 1, 1).data
    return '#' + [...data].slice(0, 3).map(it => it.toString(16).padStart(2, '0')).join('')
}"""
# tracks that no other lies upon: of each genre one, so far from the others that a click is clear
ALONE = """wanted => {
    const {stage, scene} = document.querySelector('.sonic.map').chart, {x, y, count} = scene.places
    const apart = k => Math.min(...[...Array(count).keys()].filter(j => j !== k)
        .map(j => Math.hypot(x[j] - x[k], y[j] - y[k]) * stage.view.scale))
    const ranked = wanted.map(k => [apart(k), k]).sort((a, b) => b[0] - a[0])
    return ranked.filter(it => it[0] > 16).map(it => it[1])
}"""


def hover(tab, index: int) -> None:
    tab.page.mouse.move(*tab.page.evaluate(WHERE, index), steps=2)


@pytest.mark.slow
def test_a_map_in_jupyterlab(notebook, table, tmp_path):
    "One journey: seen, pointed at, heard, filtered, searched, walked through with keys, moved, in the dark, and gone."
    file = tmp_path / "table.parquet"
    save_table(table, file)
    tab = notebook(f"from sonic.explore import music_map\nshown = music_map({str(file)!r})\nshown")
    page = tab.page
    page.evaluate(LISTEN)
    tab.run_all()
    page.locator(".sonic.map .cover").wait_for()
    wait(tab, "() => document.querySelector('.sonic.map canvas').dataset.painted > 0")
    found, tip, note = (page.locator(f".sonic.map {name}") for name in (".found", ".tip", ".player .said"))
    assert found.inner_text() == f"{COUNT} tracks"
    assert tab.traffic()["bytes_received"] < 250_000 and "secret" not in page.locator(".sonic.map").inner_html()

    # pointed at: words that are text, and a picture made for it
    ambient, house = page.evaluate(ALONE, list(range(1, 20))), page.evaluate(ALONE, list(range(20, 40)))
    hover(tab, 0)
    page.locator(".sonic.map .tip img:not([hidden])").wait_for()
    shown = page.evaluate("() => document.querySelector('.sonic.map').chart.scene.at")
    assert tip.locator(".name").inner_text() == (HOSTILE if shown == 0 else f"Song {shown}")
    page.evaluate("() => document.querySelector('.sonic.map').chart.reach(0)")
    assert tip.locator(".name").inner_text() == HOSTILE
    assert page.evaluate("() => [window.pwned, document.querySelectorAll('.sonic.map b').length]") == [None, 0]
    assert tip.inner_text().endswith("The Planted\ngenre: ambient")
    tab.shot("map-tip")

    # pressed: it plays, and the kernel knows
    first = next(k for k in house if k != GONE)
    page.mouse.click(*page.evaluate(WHERE, first))
    wait(tab, "() => heard.length && !heard[0].paused && heard[0].currentTime > 0.2")
    assert page.locator(".sonic.map .player .name").inner_text() == f"Song {first}"
    assert tab.run("print(shown.chosen, shown.row['title'])") == f"{first} Song {first}\n"
    page.mouse.click(*page.evaluate(WHERE, first))
    assert page.evaluate("() => heard[0].paused")

    # the legend filters: what is hidden is faint, and is not meant any more
    light = ["#0064e4", "#d77c4e", "#006a31"]
    other = ambient[0]
    assert [page.evaluate(COLOUR, k) for k in (other, first)] == light[:2]
    button = page.get_by_role("button", name="Show only house: 20 tracks")
    button.click()
    assert (found.inner_text(), button.get_attribute("aria-pressed")) == ("20 of 60", "true")
    wait(tab, f"() => ({COLOUR})({other}) !== '#0064e4'")
    assert page.evaluate(COLOUR, first) == light[1]
    hover(tab, other)
    assert not tip.is_visible() or tip.inner_text().endswith("genre: house")
    tab.shot("map-filter")
    button.click()
    assert found.inner_text() == "60 tracks"

    # searched
    page.get_by_label("Search the tracks").fill("song 41")
    assert found.inner_text() == "1 of 60"
    page.keyboard.press("Enter")
    assert tip.locator(".name").inner_text() == "Song 41"
    assert page.locator(".sonic.map .unseen").inner_text() == "Song 41, The Planted, genre: rock"
    page.keyboard.press("Escape")

    # with the keyboard alone; no key of it reaches JupyterLab
    page.locator(".sonic.map .cover").focus()
    names = set()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowUp", "ArrowLeft", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
        names.add(tip.locator(".name").inner_text())
    assert len(names) >= 4 and page.evaluate("() => document.activeElement.className").startswith("cover")
    page.keyboard.press("Space")
    wait(tab, "() => heard.at(-1).currentTime > 0 && heard.some(audio => !audio.paused)")
    at = page.evaluate("() => document.querySelector('.sonic.map').chart.scene.at")
    page.keyboard.press("n")
    assert page.evaluate("() => document.querySelector('.sonic.map').chart.scene.at") == layout(table).near[at][0]
    page.keyboard.press("Escape")
    assert page.evaluate("() => heard.every(audio => audio.paused)") and tab.run("shown.chosen") == "-1"

    # a file that is gone says so, without its folder
    page.evaluate(f"() => document.querySelector('.sonic.map').chart.choose({GONE})")
    wait(tab, "() => document.querySelector('.sonic.map .player .said').textContent !== ''")
    assert note.inner_text() == "gone.mp3: no such file"

    # moved, zoomed and shown whole again
    box = page.locator(".sonic.map .cover").bounding_box()
    middle = [box["x"] + box["width"] / 2, box["y"] + 30]
    for _ in range(3):
        page.locator(".sonic.map .cover").press("+")
    before = page.evaluate(WHERE, 3)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 40, middle[1] + 25, steps=4)
    page.mouse.up()
    after = page.evaluate(WHERE, 3)
    assert np.allclose(np.subtract(after, before), [40, 25], atol=1)
    assert tab.run("shown.chosen") == str(GONE)  # a drag is no press
    page.get_by_role("button", name="Show all").click()

    # in the dark, by another column
    page.evaluate("jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    page.locator("body[data-jp-theme-light='false']").wait_for(state="attached")
    wait(tab, f"() => ({COLOUR})({other}) === '#5e77e8'")
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    tab.shot("map-dark")
    page.get_by_label("Colour by").select_option(label="year")
    assert page.locator(".sonic.map .legend .label").all_inner_texts() == ["1970", "1971", "1972", "1973", "1974"]
    controls = "document.querySelectorAll('.sonic.map button, .sonic.map input, .sonic.map select')"
    assert page.evaluate(f"() => [...{controls}].filter(it => !it.ariaLabel)") == []
    page.evaluate("jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Light'})")
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    assert page.evaluate("() => addresses.size") >= 3
    page.evaluate("jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    wait(tab, "() => addresses.size === 0")
    assert not tab.errors and not tab.elsewhere


@pytest.mark.slow
def test_a_page_of_the_map_plays_from_disk(tab, table, tmp_path):
    path = tmp_path / "map.html"
    text = music_map(table, seconds=5).to_html(path, heard=5)
    assert path.stat().st_size < 600_000 and "secret" not in text and "nowhere" not in text
    page = tab.page
    page.goto(path.as_uri())
    page.evaluate(LISTEN)
    wait(tab, "() => document.querySelector('.sonic.map canvas').dataset.painted > 0")
    heard = page.evaluate("() => [...document.querySelector('.sonic.map').chart.heard]")
    assert len(heard) == 5 and GONE not in heard
    page.mouse.click(*page.evaluate(WHERE, page.evaluate(ALONE, heard)[0]))
    wait(tab, "() => heard.length && heard[0].currentTime > 0.2")
    page.locator(".sonic.map .tip img:not([hidden])").wait_for()
    page.evaluate("() => document.querySelector('.sonic.map').chart.choose(0)")
    assert page.locator(".sonic.map .player .name").inner_text() == HOSTILE
    assert 0 not in heard and "this page does not hold" in page.locator(".sonic.map .player").inner_text()
    assert page.evaluate("() => heard[0].paused") and not page.get_by_label("Place in the sound").is_visible()
    assert page.evaluate("() => [window.pwned, document.querySelectorAll('.sonic.map b').length]") == [None, 0]
    for width, scheme in ((1400, "dark"), (390, "light")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(150)
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        tab.shot(f"map-page-{width}")
    assert all(re.match("file:|blob:", request) for request in tab.requests) and not tab.errors
