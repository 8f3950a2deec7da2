"Figures for people: everything lies where its axis says, titles are only text, and nothing stays open."

import io
import subprocess
import sys
import time
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure
from PIL import Image

from sonic.config import Config, SonicError
from sonic.cream.audio import Clip
from sonic.cream.drawing import TITLES, shrink
from sonic.cream.figure import figure, save, show
from sonic.cream.outline import peaks, third_octaves
from sonic.cream.spectrum import Axis, View
from sonic.cream.ticks import clock, note_name, plain, row_of
from sonic.cream.views import chroma, fft, mel, tempogram, views

RATE = 22050
ONCE = Axis("time", "s", np.zeros(1))  # the only column of a spectrum
AUDIO = Path(__file__).resolve().parents[2] / "shared" / "audio"


def sine(hertz, seconds=1.0, rate=RATE):
    return Clip(np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate).astype(np.float32), rate)


def clicks(bpm, seconds=12):
    samples = np.zeros(seconds * RATE, np.float32)
    for start in np.arange(0, len(samples) - 100, 60 / bpm * RATE).astype(int):
        samples[start : start + 100] = np.random.default_rng(0).uniform(-0.5, 0.5, 100)
    return Clip(samples, RATE)


def ticks(axis):
    "Place of each label of an x or y axis."
    labels = [label.get_text() for label in axis.get_ticklabels()]
    return {label: float(place) for label, place in zip(labels, axis.get_ticklocs(), strict=True)}


def data(ax):
    return np.asarray(ax.images[0].get_array())


def pixels(drawn):
    file = io.BytesIO()
    drawn.savefig(file, format="png")
    return np.asarray(Image.open(file).convert("RGB"))


@pytest.fixture(autouse=True)
def quiet():
    "No figure may warn, when made or when drawn."
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# --- everything where it belongs


@pytest.mark.parametrize("hertz, label", [(200, "200"), (500, "500"), (1000, "1k"), (2000, "2k"), (5000, "5k")])
def test_sine_lies_at_its_tick_in_the_mel_figure(hertz, label):
    ax = figure(mel(sine(hertz))).axes[0]
    brightest = data(ax)[:, 20].argmax()
    assert abs(brightest - ticks(ax.yaxis)[label]) <= 0.6  # a row is as fine as it gets


def test_sine_of_440_lies_between_200_and_500():
    ax = figure(mel(sine(440))).axes[0]
    low, high = ticks(ax.yaxis)["200"], ticks(ax.yaxis)["500"]
    assert abs(data(ax)[:, 20].argmax() - (low + (high - low) * 240 / 300)) <= 0.6  # linear below 1 kHz


@pytest.mark.parametrize("name, hertz", [("C5", 523.25), ("C6", 1046.5), ("C7", 2093.0), ("C8", 4186.0)])
def test_notes_on_the_right_of_the_mel_figure(name, hertz):
    ax = figure(mel(sine(hertz))).axes[0]
    notes = ticks(ax.child_axes[0].yaxis)
    assert abs(data(ax)[:, 20].argmax() - notes[name]) <= 0.6


def test_pixels_of_a_sine_lie_at_its_tick():
    "In the finished picture too, the right way up."
    drawn = figure(mel(sine(1000, seconds=3)), **{"picture.colormap": "gray"})
    seen = pixels(drawn).astype(int)
    ax = drawn.axes[0]
    x, y = ax.transData.transform((1.5, ticks(ax.yaxis)["1k"]))
    column = seen[:, round(x), 0]
    left, bottom = ax.transData.transform((1.5, -0.5))
    inside = column[: len(column) - round(bottom)]
    assert abs(inside[20:].argmax() + 20 - (len(column) - y)) < 4


def test_sweep_rises_from_left_to_right():
    seconds = np.arange(6 * RATE) / RATE
    samples = np.sin(2 * np.pi * 100 * (80 ** (seconds / 6) - 1) * 6 / np.log(80)).astype(np.float32)
    ax = figure(mel(Clip(samples, RATE))).axes[0]
    path = data(ax).argmax(axis=0)[3:-3]
    assert (np.diff(path) >= -1).all() and path[-1] > path[0] + 80
    left, right, _, _ = ax.images[0].get_extent()
    middle = ax.images[0].get_array().shape[1] // 2
    at = left + (right - left) * (middle + 0.5) / data(ax).shape[1]
    expected = row_of(100 * 80 ** (at / 6), axis=mel(Clip(samples, RATE)).row_axis)
    assert abs(data(ax)[:, middle].argmax() - expected) <= 1.5


def test_chroma_from_c_to_b_and_the_tonic_framed():
    ax = figure(chroma(sine(440)), tonic="A").axes[0]
    names = ["C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B"]
    assert ticks(ax.yaxis) == {name: row for row, name in enumerate(names)}
    assert ax.get_ylim() == (-0.5, 11.5)  # C at the bottom
    assert data(ax)[:, 20].argmax() == 9
    assert [line.get_ydata()[0] for line in ax.lines] == [8.5, 9.5]
    assert [label.get_text() for label in ax.get_yticklabels() if label.get_fontweight() == "bold"] == ["A"]


@pytest.mark.parametrize("bpm", [80, 120, 160])
def test_clicks_are_marked_at_their_tempo(bpm):
    ax = figure(tempogram(clicks(bpm)), bpm=bpm).axes[0]
    place = ticks(ax.yaxis)[str(bpm)]
    assert abs(ax.lines[0].get_ydata()[0] - place) < 1e-6
    assert f"{bpm} BPM" in [text.get_text() for text in ax.texts]
    near = slice(int(place) - 20, int(place) + 21)  # a fifth of an octave either way
    assert abs(near.start + data(ax)[near, 250].argmax() - place) <= 3


def test_tempogram_by_lag():
    ax = figure(tempogram(clicks(120)), bpm=120, **{"tempogram.axis": "lag"}).axes[0]
    assert ax.get_ylabel() == "lag (s)"
    row = ax.lines[0].get_ydata()[0]
    assert abs(row - 0.5 * RATE / 512) < 0.01 and abs(row - data(ax)[10:40, 250].argmax() - 10) <= 1


def test_limits_of_tempo_are_labelled():
    assert {"30", "300"} <= ticks(figure(tempogram(clicks(120))).axes[0].yaxis).keys()


@pytest.mark.parametrize("axis", ["log", "linear"])
@pytest.mark.parametrize("kind", ["mean", "clip"])
def test_sine_in_the_spectrum(axis, kind):
    ax = figure(fft(sine(440), kind=kind), **{"fft.axis": axis}).axes[0]
    x, y = ax.lines[0].get_data()
    assert abs(x[np.argmax(y)] - 440) < 12 and ax.get_xscale() == axis
    assert ax.texts[0].get_text() == "A4" and abs(ax.texts[0].xy[0] - 440) < 2
    assert np.isclose(ax.get_ylim()[0], y.max() - 80)


def test_notes_over_the_spectrum():
    ax = figure(fft(sine(440))).axes[0]
    notes = ticks(ax.child_axes[0].xaxis)
    assert np.isclose(notes["C4"], 261.626, atol=0.01) and len(notes) == 9


def test_spectrum_in_amplitude():
    ax = figure(fft(sine(440)), **{"fft.unit": "amplitude"}).axes[0]
    assert ax.get_ylabel() == "amplitude" and ax.get_ylim()[0] == 0
    assert np.isclose(ax.lines[0].get_ydata().max(), fft(sine(440)).values.max())


def test_colour_bars_carry_the_unit():
    clip = clicks(120, seconds=3)
    bars = {name: view for name, view in views(clip).items() if name != "fft"}
    seen = {name: figure(view).axes[1].get_ylabel() for name, view in bars.items()}
    assert seen == {"mel": "dB re power 1", "chroma": "share of the maximum", "tempogram": "share of the maximum"}
    assert figure(fft(clip)).axes[0].get_ylabel() == "dB re amplitude 1"


def test_colours_span_the_range_of_the_picture():
    view = mel(sine(440))
    image = figure(view, **{"picture.top_db": 60}).axes[0].images[0]
    assert np.allclose(image.get_clim(), (view.values.max() - 60, view.values.max()))
    quiet = View(view.name, view.values - 200, view.unit, view.row_axis, view.column_axis)
    assert figure(quiet).axes[0].images[0].get_clim() == (-80, 0)


def test_range_is_that_of_the_view_before_it_was_made_shorter():
    values = np.full((4, 5000), -100, np.float32)
    values[:, 2500] = 40
    view = View(
        "mel", values, "dB", Axis("frequency", "Hz", np.arange(1, 5) * 100.0), Axis("time", "s", np.arange(5000) / 50)
    )
    assert figure(view).axes[0].images[0].get_clim() == (-40, 40)


# --- odd clips


@pytest.mark.parametrize("name", list(TITLES))
def test_silence_is_dark_and_says_so(name):
    drawn = figure(views(Clip(np.zeros(RATE, np.float32), RATE))[name])
    assert "silent" in [text.get_text() for text in drawn.axes[0].texts]
    if name != "fft":
        ax, seen = drawn.axes[0], pixels(drawn)
        x, y = (round(v) for v in ax.transAxes.transform((0.2, 0.3)))
        assert seen[-y, x].sum() < 20


@pytest.mark.parametrize("length, settings", [(2, {"fft.kind": "clip"}), (100, {"fft.axis": "linear"}), (3000, {})])
def test_short_clips(length, settings):
    noise = Clip(np.random.default_rng(0).normal(0, 0.1, length).astype(np.float32), RATE)
    assert pixels(show(noise, **settings)).shape == (448, 800, 3)


@pytest.mark.parametrize("bands", [1, 2, 3, 400])
def test_any_number_of_bands(bands):
    pixels(figure(mel(sine(440), n_mels=bands, n_fft=16384)))


@pytest.mark.parametrize("rate", [8000, 96000])
def test_any_sample_rate(rate):
    pixels(show(sine(440, rate=rate)))


def test_long_clips_are_shortened_by_averaging_power():
    count = 1292 * 20  # ten minutes
    values = np.random.default_rng(0).uniform(-60, 20, (128, count)).astype(np.float32)
    long = View(
        "mel",
        values,
        "dB",
        Axis("frequency", "Hz", np.arange(128) * 80.0),
        Axis("time", "s", np.arange(count) * 512 / RATE),
    )
    short = shrink(long)
    height, columns = short.values.shape
    step = -(-count // 1000)
    assert height == 128 and columns == -(-count // step) <= 1000
    expected = 10 * np.log10((10 ** (values[:, step : 2 * step].astype(float) / 10)).mean(axis=1))
    assert np.allclose(short.values[:, 1], expected, atol=1e-3)
    assert np.isclose(short.column_axis.values[1], long.column_axis.values[step : 2 * step].mean())
    last = values[:, (columns - 1) * step :]  # fewer columns than the others stand for
    assert np.allclose(short.values[:, -1], 10 * np.log10((10 ** (last.astype(float) / 10)).mean(axis=1)), atol=1e-3)

    began = time.perf_counter()
    drawn = figure(long)
    pixels(drawn)
    assert time.perf_counter() - began < 5
    assert data(drawn.axes[0]).shape == (128, columns)
    left, right, _, _ = drawn.axes[0].images[0].get_extent()
    assert abs(left) < step * 512 / RATE and abs(right - long.column_axis.values[-1]) < step * 512 / RATE


def test_short_views_are_not_touched():
    view = mel(sine(440))
    assert shrink(view) is view


# --- text


TITLE = "日本 $\\frac{1}{2}$ <b>\n\t\x00\u202e \udcff 🎵 {0} %s " + "long " * 50


@pytest.mark.parametrize("title", ["$x$", "$\\bad{", "100 % & _^ \\LaTeX", "", " ", "\udcff", "🎵", TITLE])
def test_titles_are_only_text(title):
    drawn = figure(chroma(sine(440)), title=title)
    text = drawn.axes[0].title if drawn.axes[0].title.get_text() else drawn.axes[0]._left_title
    assert not text.get_parse_math() and "\n" not in text.get_text()
    pixels(drawn)


@pytest.mark.parametrize("title", ["ALL CAPITALS " * 20, TITLE])
def test_heading_fits(title):
    drawn = show(sine(440), title=title)
    pixels(drawn)
    assert drawn._suptitle.get_window_extent().x1 < drawn.bbox.width


def test_title_that_looks_like_a_formula_stays_as_it_is():
    assert figure(chroma(sine(440)), title="$x_1$").axes[0].get_title(loc="left") == "$x_1$"


def test_plain():
    assert plain("a\r\nb\x07\u202e\u200bc") == "a b c"
    assert plain("cafe\u0301") == "caf\u00e9"
    assert plain("日" * 100) == "日" * 38 + "…"
    assert plain("x" * 76) == "x" * 76


def test_a_font_that_has_the_letter_is_used(tmp_path):
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen
    from matplotlib import font_manager

    from sonic.cream.ticks import _fonts

    pen = TTGlyphPen(None)
    pen.moveTo((0, 0)), pen.lineTo((0, 700)), pen.lineTo((700, 0)), pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "one"])
    builder.setupCharacterMap({0x10FFF0: "one"})  # a private letter that no font has
    builder.setupGlyf({".notdef": pen.glyph(), "one": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (800, 0), "one": (800, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Sonic Test", "styleName": "Regular"})
    builder.setupOS2(), builder.setupPost()
    builder.save(tmp_path / "test.ttf")
    _fonts.cache_clear()
    assert _fonts("a\U0010fff0") == ("a�", ["DejaVu Sans"])
    known = list(font_manager.fontManager.ttflist)
    try:
        font_manager.fontManager.addfont(tmp_path / "test.ttf")
        _fonts.cache_clear()
        assert _fonts("a\U0010fff0") == ("a\U0010fff0", ["DejaVu Sans", "Sonic Test"])
    finally:
        font_manager.fontManager.ttflist[:] = known
        _fonts.cache_clear()


@pytest.mark.parametrize(
    "seconds, step, text",
    [
        (0, 1, "0:00"),
        (61, 1, "1:01"),
        (3599.9, 1, "1:00:00"),
        (7325, 60, "2:02:05"),
        (0.5, 0.1, "0:00.5"),
        (59.96, 0.1, "1:00.0"),
        (0.0005, 0.0005, "0:00.0005"),
    ],
)
def test_clock(seconds, step, text):
    assert clock(seconds, step=step) == text


@pytest.mark.parametrize(
    "seconds, most", [(0.05, 8), (0.7, 8), (9, 8), (29, 8), (61, 8), (200, 8), (3000, 8), (20000, 8)]
)
def test_time_axis_has_a_few_round_labels(seconds, most):
    times = np.linspace(0, seconds, 50)
    view = View(
        "chroma", np.ones((12, 50), np.float32), "", Axis("pitch class", "", np.arange(12)), Axis("time", "s", times)
    )
    ax = figure(view).axes[0]
    low, high = ax.get_xlim()
    shown = [label for label, place in ticks(ax.xaxis).items() if low <= place <= high]
    assert 3 <= len(shown) <= 8 and "0:00" in shown[0]


# --- numbers that the figures show


def test_note_names():
    assert [note_name(f) for f in (27.5, 261.63, 440, 466.16, 4186)] == ["A0", "C4", "A4", "A#4", "C8"]


def test_third_octaves_of_flat_and_of_known_power():
    bins = np.fft.rfftfreq(2048, 1 / RATE)
    flat = View(
        "fft",
        np.full((1025, 1), 3, np.float32),
        "amplitude",
        Axis("frequency", "Hz", bins),
        ONCE,
    )
    assert np.allclose(third_octaves(flat, at=np.array([100.0, 1000, 10000])), 3)
    ramp = View("fft", np.sqrt(bins)[:, None].astype(np.float32), "amplitude", flat.row_axis, flat.column_axis)
    middle = (2 ** (1 / 6) + 2 ** (-1 / 6)) / 2  # power is the frequency: the mean is that of the band's ends
    assert np.allclose(third_octaves(ramp, at=np.array([200.0, 3000])) ** 2, [200 * middle, 3000 * middle], rtol=1e-4)
    assert np.isnan(third_octaves(flat, at=np.array([50.0]))).all()


def test_peaks_are_found_between_bins():
    tones = sum(sine(hertz).samples * level for hertz, level in ((445.3, 1), (1003.1, 0.5), (3007.7, 0.1)))
    found = list(peaks(fft(Clip(tones, RATE))))[:3]
    assert np.allclose(found, [445.3, 1003.1, 3007.7], atol=1.0)


def test_noise_and_humps_have_no_peaks():
    bins = np.fft.rfftfreq(2048, 1 / RATE)
    hump = 10 ** (-((np.log2(np.maximum(bins, 10) / 500)) ** 2))
    view = View(
        "fft",
        hump[:, None].astype(np.float32),
        "amplitude",
        Axis("frequency", "Hz", bins),
        ONCE,
    )
    assert list(peaks(view)) == []
    noise = np.random.default_rng(0).normal(0, 0.1, 20 * RATE).astype(np.float32)
    assert list(peaks(fft(Clip(noise, RATE)))) == []


# --- four views


def test_show_draws_and_marks_four_views():
    drawn = show(clicks(120), title="Clicks")
    titles = {ax.get_title(loc="left"): ax for ax in drawn.axes if ax.get_title(loc="left")}
    assert list(titles) == list(TITLES.values()) or set(titles) == set(TITLES.values())
    line = titles["Tempogram"].lines[0].get_ydata()[0]
    assert abs(line - ticks(titles["Tempogram"].yaxis)["120"]) < 2
    assert any("120 BPM" in text.get_text() for text in drawn.texts)
    assert "Clicks" in drawn.get_suptitle()


def test_show_takes_settings_and_a_configuration():
    settings = {"mel.n_mels": 40, "stft.n_fft": 1024, "stft.hop_length": 256}
    one, two = show(clicks(120), **settings), show(clicks(120), config=Config().replace(**settings))
    assert data(one.axes[0]).shape[0] == 40 and (pixels(one) == pixels(two)).all()
    assert any("frame 1024, step 256" in text.get_text() for text in one.texts)


def test_show_reads_as_many_hours_as_the_settings_allow(tmp_path):
    soundfile.write(tmp_path / "long.flac", np.zeros(37 * 8000), 8000)
    with pytest.raises(SonicError, match="more than 0.01 h; .* limits.hours"):
        show(tmp_path / "long.flac", **{"limits.hours": 0.01})
    assert show(tmp_path / "long.flac", **{"limits.hours": 0.01, "audio.duration": 1})


def test_show_reads_a_file_and_writes_one(tmp_path):
    path = tmp_path / "$a$ 日 song.wav"
    soundfile.write(path, clicks(120, seconds=6).samples, RATE)
    out = tmp_path / "deep" / "€ 音.png"
    drawn = show(path, save=out, **{"audio.duration": 3, "audio.offset": 1, "audio.sample_rate": 16000})
    assert any("0:03 · 16 kHz" in text.get_text() for text in drawn.texts)
    assert drawn.get_suptitle().startswith("$a$ ")
    with Image.open(out) as image:
        assert image.size == (1600, 896)
    assert [p.name for p in out.parent.iterdir()] == [out.name]  # no temporary file is left


@pytest.mark.parametrize("name", ["vibe-ace.ogg", "robin.ogg"])
def test_real_recordings(name):
    if not (AUDIO / name).exists():
        pytest.skip("the real recordings are not beside the checkout")
    drawn = show(AUDIO / name, **{"audio.duration": 8})
    boxes = [text.get_window_extent() for text in drawn.axes[0].texts if text.get_text()]
    pixels(drawn)
    for ax in drawn.axes:  # no two labels of an axis touch
        for axis in (ax.xaxis, ax.yaxis):
            labels = [label for label in axis.get_ticklabels() if label.get_text()]
            inside = [label.get_window_extent() for label in labels]
            clashes = [(a, b) for i, a in enumerate(inside) for b in inside[i + 1 :] if a.overlaps(b)]
            assert not clashes, (name, ax.get_title(loc="left"), [label.get_text() for label in labels])
    assert all(box.x0 >= 0 for box in boxes)


# --- files and notebooks


@pytest.mark.parametrize("ending", ["png", "svg", "pdf", "PNG"])
def test_same_figure_same_bytes(tmp_path, ending):
    for name in "ab":
        save(figure(mel(sine(440, seconds=0.3)), title="A $title$"), tmp_path / f"{name}.{ending}")
    first, second = (tmp_path / f"{name}.{ending}").read_bytes(), (tmp_path / f"b.{ending}").read_bytes()
    assert first == second and len(first) > 1000
    assert not any(word in first for word in (b"matplotlib.org", b"Matplotlib v", b"CreationDate", b"<dc:date>"))


def test_refusals_are_words(tmp_path):
    drawn = figure(chroma(sine(440)))
    for name in ("x.gif", "x", "png"):
        with pytest.raises(SonicError, match=r"must end in \.png, \.svg or \.pdf"):
            save(drawn, tmp_path / name)
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(SonicError, match="taken.png cannot be written: "):
        save(drawn, tmp_path / "taken.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(SonicError, match="cannot be written"):
        save(drawn, tmp_path / "file" / "x.png")
    with pytest.raises(SonicError, match=r"magmaa is no Matplotlib colour map; did you mean magma\?"):
        figure(chroma(sine(440)), **{"picture.colormap": "magmaa"})
    with pytest.raises(SonicError, match=r"did you mean mel.n_mels\?"):
        show(sine(440), **{"mel.n_mells": 3})


@pytest.mark.parametrize("colormap", ["viridis", "gray_r", "cividis", "twilight"])
def test_any_colour_map(colormap):
    drawn = figure(mel(sine(440)), **{"picture.colormap": colormap})
    assert drawn.axes[0].images[0].get_cmap().name == colormap
    pixels(drawn)


def test_style_of_the_user_neither_matters_nor_changes():
    plain_pixels = pixels(figure(fft(sine(440)), title="x"))
    with matplotlib.rc_context(
        {"text.color": "white", "axes.facecolor": "black", "font.size": 30, "lines.linewidth": 9}
    ):
        before = dict(matplotlib.rcParams)
        drawn = figure(fft(sine(440)), title="x")
        assert dict(matplotlib.rcParams) == before
    assert (pixels(drawn) == plain_pixels).all()


def test_a_view_goes_into_axes_of_ones_own():
    mine = Figure()
    top, bottom = mine.subplots(2)
    assert figure(chroma(sine(440)), ax=bottom) is mine
    assert len(bottom.images) == 1 and not top.images


NOTEBOOK = """
import numpy as np
from sonic.cream.audio import Clip
from sonic.cream.views import chroma
from sonic.cream.figure import figure
view = chroma(Clip(np.ones(9000, np.float32), 22050))
"""


@pytest.mark.parametrize("pyplot", [False, True])
def test_a_notebook_shows_a_figure_once(pyplot):
    "In the shell that runs this project's notebooks."
    from execnb.shell import CaptureShell

    shell = CaptureShell(mpl_format="retina" if pyplot else None)
    shell.run(NOTEBOOK + ("import matplotlib.pyplot as plt" if pyplot else ""))
    outputs = shell.run("figure(view)")
    shell.close()
    assert [output["output_type"] for output in outputs] == ["execute_result"]
    assert len(outputs[0]["data"]["image/png"]) > 1000


@pytest.mark.slow
def test_a_kernel_shows_a_figure_once():
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    sources = [NOTEBOOK, "figure(view)", "import matplotlib.pyplot as plt", "figure(view)"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    with warnings.catch_warnings(action="ignore"):
        nbclient.NotebookClient(book, timeout=60, kernel_name="python3").execute()
    assert [len(cell.outputs) for cell in book.cells] == [0, 1, 0, 1]
    shown = [book.cells[n].outputs[0] for n in (1, 3)]
    assert all(len(output.data["image/png"]) > 1000 for output in shown)
    assert shown[0].metadata["image/png"] == {"width": 560, "height": 240}


def test_nothing_is_imported_or_opened_before_it_is_needed():
    code = """
import sys
import sonic.cream.figure as f
assert not {"matplotlib", "librosa", "torch", "pandas", "scipy.signal"} & set(sys.modules)
import numpy as np
from sonic.cream.audio import Clip
f.show(Clip(np.random.default_rng(0).normal(0, 0.1, 9000).astype(np.float32), 22050))
assert "matplotlib.pyplot" not in sys.modules
import matplotlib.pyplot
assert matplotlib.pyplot.get_fignums() == []
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
