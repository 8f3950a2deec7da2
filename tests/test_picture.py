"""Pictures: files that any reader reads, colours that are Matplotlib's, pixels that are the view's."""

import fnmatch
import io
import struct
import subprocess
import sys
import tomllib
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import colormaps
from matplotlib.colors import ListedColormap
from PIL import Image, JpegImagePlugin

from sonic.config import Config, PictureSettings, SonicError
from sonic.cream.picture import _fill, encode, fit, palette, picture, read_levels, to_levels, to_values
from sonic.cream.resize import resize, spread, spread_of
from sonic.cream.spectrum import Axis, View
from sonic.cream.tempogram import on_bpm_axis

ROOT = Path(__file__).parents[1]
RNG = np.random.default_rng(0)


def smooth(height, width):
    "Levels that change slowly, with noise on top, as those of a view do."
    y, x = np.mgrid[:height, :width]
    return (110 + 90 * np.sin(y / 40 + x / 90) + RNG.integers(0, 30, (height, width))).astype(np.uint8)


def view(name, values, *, unit="", step=512 / 22050):
    rows, columns = values.shape
    axis = Axis("row", "" if name == "chroma" else "s", np.arange(rows) * step)  # without unit, rows are names
    return View(name, values, unit, axis, Axis("time", "s", np.arange(columns)))


SIZES = st.one_of(
    st.tuples(st.integers(1, 30), st.integers(1, 40)),
    st.tuples(st.just(1), st.integers(1, 400)),
    st.tuples(st.integers(1, 400), st.just(1)),
)


@settings(max_examples=60, deadline=None)
@given(
    size=SIZES,
    seed=st.integers(0, 99),
    top=st.sampled_from([1, 2, 256]),
    format=st.sampled_from(["png", "grey"]),
    upside_down=st.booleans(),
)
def test_every_reader_gets_the_levels_back(tmp_path_factory, size, seed, top, format, upside_down):
    levels = np.random.default_rng(seed).integers(0, top, size, dtype=np.uint8)
    levels = levels[::-1] if upside_down else levels
    file = encode(levels, settings=PictureSettings(format=format, colormap="viridis"))
    with Image.open(io.BytesIO(file)) as image:
        image.verify()  # checksums
    with Image.open(io.BytesIO(file)) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "P" if format == "png" else "L", size[::-1])
        assert (np.asarray(image) == levels).all()
        seen = np.asarray(image.convert("RGB"))
    shown = palette("viridis")[levels] if format == "png" else np.repeat(levels[..., None], 3, axis=2)
    assert (seen == shown).all()
    assert (cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)[..., ::-1] == shown).all()
    path = tmp_path_factory.getbasetemp() / "picture.png"
    path.write_bytes(file)
    assert (read_levels(path, colormap="magma") == levels).all()  # a palette is not asked for


def chunks(file):
    "The chunks of a PNG by name, read from the specification."
    assert file[:8] == b"\x89PNG\r\n\x1a\n"
    at, found = 8, {}
    while at < len(file):
        (length,) = struct.unpack(">I", file[at : at + 4])
        name, data = file[at + 4 : at + 8], file[at + 8 : at + 8 + length]
        assert struct.unpack(">I", file[at + 8 + length : at + 12 + length]) == (zlib.crc32(name + data),)
        found[name.decode()] = data
        at += 12 + length
    return found


def test_a_png_by_the_specification():
    levels = smooth(244, 488)
    found = chunks(encode(levels, settings=PictureSettings()))
    assert list(found) == ["IHDR", "PLTE", "IDAT", "IEND"]
    assert found["IHDR"] == struct.pack(">IIBBBBB", 488, 244, 8, 3, 0, 0, 0)
    assert found["PLTE"] == palette("magma").tobytes()
    rows = np.frombuffer(zlib.decompress(found["IDAT"]), np.uint8).reshape(244, 489)
    assert (rows[:, 0] == 2).all()
    assert (np.add.accumulate(rows[:, 1:], dtype=np.uint8) == levels).all()
    assert list(chunks(encode(levels, settings=PictureSettings(format="grey")))) == ["IHDR", "IDAT", "IEND"]


def test_the_same_picture_is_the_same_file():
    levels = smooth(244, 488)
    files = {encode(levels, settings=PictureSettings()) for _ in range(5)}
    files.add(encode(np.asfortranarray(levels), settings=PictureSettings()))
    assert len(files) == 1


def test_a_png_is_smaller_than_pillows():
    levels, file = smooth(244, 488), io.BytesIO()
    image = Image.fromarray(levels)
    image.putpalette(palette("magma").tobytes())
    image.save(file, format="PNG", compress_level=1)
    assert len(encode(levels, settings=PictureSettings())) < len(file.getvalue())


@pytest.mark.parametrize("quality", [1, 60, 95, 100])
def test_jpeg_is_what_pillow_would_write(quality):
    levels, file = smooth(100, 201), io.BytesIO()
    Image.fromarray(palette("plasma")[levels]).save(file, format="JPEG", quality=quality)
    ours = encode(levels[::-1], settings=PictureSettings(format="jpeg", colormap="plasma", quality=quality))
    with Image.open(io.BytesIO(ours)) as image, Image.open(file) as expected:
        assert image.quantization == expected.quantization
        assert JpegImagePlugin.get_sampling(image) == JpegImagePlugin.get_sampling(expected) == 2  # 4:2:0
        difference = np.asarray(image).astype(int)[::-1] - np.asarray(expected)
        tolerance = np.abs(np.asarray(expected).astype(int) - palette("plasma")[levels]).mean()
    assert np.abs(difference).mean() < max(2, 2 * tolerance)


def test_every_colour_map_is_matplotlibs():
    with np.load(ROOT / "sonic" / "cream" / "palettes.npz") as kept:
        names = kept["names"].tolist()
    assert (ROOT / "sonic" / "cream" / "palettes.npz").stat().st_size < 100_000
    assert len(names) == len(set(names)) >= 180
    assert {"magma", "viridis", "gray", "Greys_r", "twilight", "tab10", "Spectral_r", "cividis"} <= set(names)
    known = [name for name in names if name in colormaps]  # an older Matplotlib knows fewer
    assert len(known) >= 170
    for name in known:
        table = colormaps[name].resampled(256)(np.arange(256), bytes=True)[:, :3]
        made = palette.__wrapped__(name)
        assert made.shape == (256, 3) and made.dtype == np.uint8 and not made.flags.writeable
        assert (made == table).all(), name


def test_a_colour_map_of_ones_own():
    colormaps.register(ListedColormap([(0, 0, 0), (1, 0, 0)], name="red and black"))
    try:
        assert (
            palette.__wrapped__("red and black")[[0, 127, 128, 255]] == [[0] * 3, [0] * 3, [255, 0, 0], [255, 0, 0]]
        ).all()
    finally:
        colormaps.unregister("red and black")
    with pytest.raises(SonicError, match="picture.colormap=virids is no Matplotlib colour map; did you mean viridis?"):
        palette("virids")
    with pytest.raises(SonicError, match="is no Matplotlib colour map; take one such as magma or gray$"):
        palette("-" * 40)


def test_the_file_of_colours_is_part_of_the_package():
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = tables["tool"]["setuptools"]["package-data"]["sonic.cream"]
    assert any(fnmatch.fnmatch("palettes.npz", pattern) for pattern in patterns)


def test_a_png_needs_no_other_library():
    code = """
import sys
import numpy as np
from sonic.cream.audio import Clip
from sonic.cream.picture import encode, picture
from sonic.cream.views import views

seen = views(Clip(np.random.default_rng(0).normal(0, 0.1, 22050).astype(np.float32), 22050))
for each in map(picture, seen.values()):
    assert encode(each.levels, settings=each.settings)[:4] == b"\\x89PNG"
print(*sorted({"PIL", "matplotlib", "torch", "librosa", "scipy.signal"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("", 0), done.stderr


def narrowed(values, low, high, *, width):
    "Time averaged by OpenCV, after values are cut to the range of the picture."
    rows, columns = values.shape
    shrinks = cv2.INTER_AREA if columns > width else cv2.INTER_LINEAR
    return cv2.resize(np.clip(values, low, high), (width, rows), interpolation=shrinks)


def close(levels, expected):
    "The same levels, but for the rare one that a rounding tips."
    off = np.abs(levels.astype(int) - expected)
    return off.max() <= 1 and (off > 0).mean() < 1e-3


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("columns", [1, 3, 200, 488, 1292, 5000])
@pytest.mark.parametrize(("width", "height"), [(488, 244), (100, 64), (60, 12)])
def test_pixels_are_those_of_opencv(columns, width, height, order):
    config = Config().replace(**{"picture.width": width, "picture.height": height})
    mel = RNG.normal(-40, 30, (128, columns)).astype(np.float32, order=order)
    low, high = max(mel.max(), 0) - 80, max(mel.max(), 0)
    rows = cv2.INTER_AREA if height < 128 else cv2.INTER_LINEAR
    expected = cv2.resize(narrowed(mel, low, high, width=width), (width, height), interpolation=rows)
    levels = picture(view("mel", mel, unit="dB"), config=config).levels[::-1]
    assert close(levels, np.rint((expected - low) * 255 / 80))

    chroma = RNG.uniform(0, 1, (12, columns)).astype(np.float32, order=order)
    narrow = narrowed(chroma, 0, 1, width=width)
    expected = cv2.resize(narrow, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    assert close(picture(view("chroma", chroma), config=config).levels[::-1], np.rint(expected * 255))

    tempogram = RNG.uniform(0, 1, (384, columns)).astype(np.float32, order=order)
    expected = narrowed(on_bpm_axis(view("tempogram", tempogram), rows=height).values, 0, 1, width=width)
    assert close(picture(view("tempogram", tempogram), config=config).levels[::-1], np.rint(expected * 255))


def test_a_moment_of_silence_weighs_no_more_than_black():
    values = np.tile(np.float32([0, -300]), (8, 100))
    half = picture(view("mel", values, unit="dB"), **{"picture.width": 100, "picture.height": 8})
    assert (half.values == to_values(np.uint8([[128]]), low=-80, high=0)).all()  # not white less 150 dB


def test_tempi_slower_than_the_window_are_black():
    values = RNG.uniform(0, 1, (384, 900)).astype(np.float32)
    slow = picture(view("tempogram", values), **{"tempogram.bpm_min": 1.0, "tempogram.bpm_max": 5.0})
    assert slow.levels.shape == (244, 488) and slow.levels.max() == 0


@settings(max_examples=60, deadline=None)
@given(old=st.integers(1, 60), new=st.integers(1, 60), repeat=st.booleans(), seed=st.integers(0, 99))
def test_an_axis_by_definition(old, new, repeat, seed):
    values = np.random.default_rng(seed).normal(0, 1, (old, 3))
    if old > new:
        expected = values.repeat(new, axis=0).reshape(new, old, 3).mean(axis=1)
    elif repeat:
        expected = values.repeat(new, axis=0)[old * np.arange(new) + old // 2]
    else:
        at = (np.arange(new) + 0.5) * old / new - 0.5
        expected = np.stack([np.interp(at, np.arange(old), column) for column in values.T], axis=1)
    assert resize(values, rows=spread(old, new, repeat=repeat)) == pytest.approx(expected, abs=1e-5)
    both = fit(values, height=new, width=5, repeat_rows=repeat)
    assert both == pytest.approx(resize(expected, rows=spread(new, new), columns=spread(3, 5)), abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(new=st.integers(1, 30), old=st.integers(1, 40), taps=st.integers(0, 5), seed=st.integers(0, 99))
def test_a_spread_is_a_matrix_product(new, old, taps, seed):
    rng = np.random.default_rng(seed)
    weights = np.zeros((new, old))
    for row in weights:
        start = rng.integers(0, old)
        row[start : start + taps] = rng.normal(0, 1, len(row[start : start + taps]))
    values = rng.normal(0, 1, (old, 7))
    how = spread_of(weights)
    assert resize(values, rows=how) == pytest.approx(weights @ values, abs=1e-5)
    assert resize(values, rows=how, columns=spread(7, 7)) == pytest.approx(weights @ values, abs=1e-5)
    assert resize(values.T, rows=spread(7, 7), columns=how) == pytest.approx((weights @ values).T, abs=1e-5)


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="9 rows, not 10"):
        resize(np.zeros((9, 4)), rows=spread(10, 4))
    with pytest.raises(ValueError, match="3 rows, not 10"):
        resize(np.zeros((10, 3)), rows=spread(10, 4), columns=spread(10, 4))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_levels_are_rounded_to_the_nearest(dtype):
    values = RNG.uniform(-100, 20, (50, 60)).astype(dtype)
    for part in (values, values.T, values[::-1, ::2]):
        levels = to_levels(part, low=-80, high=0)
        exact = (np.clip(part.astype(float), -80, 0) + 80) * 255 / 80
        assert levels.dtype == np.uint8 and levels.shape == part.shape
        assert np.abs(levels - exact).max() <= 0.5 + 1e-4
    assert to_levels(np.float32([[-80, -79.9, 0, 1e9, -1e9]]), low=-80, high=0).tolist() == [[0, 0, 255, 255, 0]]


@pytest.mark.parametrize("height", [1, 2, 99, 244, 8192])
def test_a_curve_is_filled_from_below(height):
    levels = np.arange(256, dtype=np.uint8)
    filled = _fill(levels, height)
    assert filled.dtype == np.uint8 and filled.shape == (height, 256)
    assert (filled[-1] == levels).all()
    tall = (filled > 0).sum(axis=0)
    assert (tall == np.ceil(levels * (height / 255))).all()
    assert all((filled[height - count :, level] == level).all() for level, count in enumerate(tall))
