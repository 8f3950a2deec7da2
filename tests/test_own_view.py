"A view that another package brings works like one of the four, and the four stay what they were."

from __future__ import annotations

import io
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from injection import SONIC, tree, write_track
from PIL import Image

import sonic
from sonic.config import Config, SonicError
from sonic.cream import guest, long
from sonic.cream.jobs import _tried
from sonic.cream.recipe import recipe_of
from sonic.cream.shard import array_path
from sonic.cream.track import Track, render_track
from sonic.cream.views import VIEWS, made_by

SIZE = {"picture.width": 48, "picture.height": 32}
# Steps whose every value is known: row r of frame c holds 10 r + (c // 4) % 4; the loudest sample makes no difference
STEPS = """
import numpy as np
from sonic.cream.spectrum import Axis, View

def steps_view(spectrum):
    values = 10.0 * np.arange(4)[:, None] + np.arange(spectrum.frames) // 4 % 4 + {more}
    return View("steps", values, "steps", Axis("stair", "", np.arange(4)), spectrum.time_axis, range=(0, 40))
"""
BAD = """
import numpy as np
from dataclasses import replace
from sonic.cream.spectrum import Axis, View

def raises(spectrum):
    raise ZeroDivisionError("nothing is left")
def array(spectrum):
    return spectrum.power
def lopsided(spectrum):
    return View("x", np.zeros((3, 5)), "", Axis("row", "", np.arange(2)), spectrum.time_axis)
def nan(spectrum):
    return View("x", np.full((2, spectrum.frames), np.nan), "", Axis("row", "", np.arange(2)), spectrum.time_axis)
def wide(spectrum):
    return View("x", np.full((2, spectrum.frames), -3), "m", Axis("row", "", np.arange(2)), spectrum.time_axis)
"""


def install(site: Path, package: str, version: str, points: dict[str, str], **modules: str) -> Path:
    "A package, as pip leaves it."
    info = site / f"{package.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    lines = [f"{name} = {value}\n" for name, value in points.items()]
    (info / "entry_points.txt").write_text("[sonic.views]\n" + "".join(lines))
    for name, text in modules.items():
        (site / f"{name}.py").write_text(text)
    return site


def steps(site: Path, version: str = "1.0", more: float = 0) -> Path:
    return install(
        site, "sonic-steps", version, {"steps": "sonic_steps:steps_view"}, sonic_steps=STEPS.format(more=more)
    )


Visit = Callable[[Path], None]


@pytest.fixture
def visit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Visit]:
    "Have Python look for packages in a folder, and not in the one before, as if it had started anew."
    before = [*sys.path]

    def go(site: Path) -> None:
        sys.modules.pop("sonic_steps", None)
        monkeypatch.setattr(sys, "path", [str(site), *before])

    yield go
    sys.modules.pop("sonic_steps", None)


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "music"
    for number in range(3):
        write_track(folder / f"{number}.wav", number, seconds=1 + number / 4)
    return folder


def drawn(music: Path, out: Path, *views: str, jobs: int = 0, **more: Any) -> pd.DataFrame:
    return sonic.render(music, out, views=views, jobs=jobs, progress=False, **{**SIZE, **more})


def array_of(out: Path, track_id: str) -> np.ndarray:
    "The array of the view behind its picture."
    return np.load(out / array_path(sonic.open_images(out).tracks.at[track_id, "steps"]))


# ---- drawn and read back ---------------------------------------------------------------------------------------------


def test_as_numbers_as_a_picture_and_as_a_figure(visit, tmp_path):
    visit(steps(tmp_path / "site"))
    clip = sonic.load(write_track(tmp_path / "a.wav", seconds=1))
    seen = sonic.views(clip, ["steps", "mel"])
    assert list(seen) == ["mel", "steps"]
    np.testing.assert_array_equal(seen["mel"].values, sonic.mel(clip).values)
    view = seen["steps"]
    assert view.values.dtype == np.float32 and view.values.shape == (4, 44)
    picture = sonic.picture(view, **{"picture.width": 44, "picture.height": 8})
    assert (picture.low, picture.high, picture.unit) == (0, 40, "steps")
    expected = np.rint(np.repeat(view.values, 2, axis=0)[::-1] * 255 / 40)  # rows that are names are not blended
    np.testing.assert_array_equal(picture.levels, expected)
    left, bar = sonic.figure(view).axes
    assert left.get_title(loc="left") == "Steps" and left.get_ylabel() == "stair"
    assert [label.get_text() for label in left.get_yticklabels()] == ["3", "2", "1", "0"]
    assert bar.get_ylabel() == "steps" and bar.get_ylim() == (0, 40)


def test_two_workers_draw_it_and_it_is_read_back(visit, music, tmp_path):
    visit(steps(tmp_path / "site"))
    manifest = drawn(music, tmp_path / "out", "mel", "steps", jobs=2, arrays=True)
    assert manifest["status"].tolist() == ["done"] * 3
    assert manifest["steps"].tolist() == [name.replace("mel/", "steps/") for name in manifest["mel"]]
    assert all((tmp_path / "out" / name).exists() for name in manifest["steps"])
    facts = manifest[["steps_low", "steps_high", "steps_by"]].drop_duplicates().to_numpy().tolist()
    assert facts == [[0, 40, "sonic-steps 1.0"]]
    recipe = tomllib.loads((tmp_path / "out" / "sonic.toml").read_text())["recipe"]
    assert recipe["views"] == {"steps": "sonic-steps 1.0"}
    visit(tmp_path)  # without the package: what is drawn can be read
    images = sonic.open_images(tmp_path / "out")
    assert images.views == ["mel", "steps"]
    for track_id in images.tracks.index:
        whole = array_of(tmp_path / "out", track_id)
        values = images.values("steps", track_id)
        assert values.shape == (32, 48)
        by_row = whole.mean(axis=1)  # each column of the picture is a mean of frames, or between two
        assert np.abs(values.reshape(4, 8, 48).mean(axis=(1, 2)) - by_row).max() < 0.2
        assert values.min() >= -0.1 and values.max() <= 33 + 0.1
    data = sonic.ImageDataset(images)
    assert data[0].shape == (2, 32, 48) and data[0].dtype == torch.float32
    np.testing.assert_array_equal((data[1][1] * 255).round(), images.levels("steps", "1.wav"))


def test_values_within_a_step(visit, music, tmp_path):
    "A picture as wide as the track has frames, each row of the view an eighth of its height: nothing is averaged."
    visit(steps(tmp_path / "site"))
    drawn(music, tmp_path / "out", "steps", arrays=True, **{"picture.width": 44})
    values = sonic.open_images(tmp_path / "out").values("steps", "0.wav")
    whole = array_of(tmp_path / "out", "0.wav")
    assert np.abs(values - np.repeat(whole, 8, axis=0)).max() <= 40 / 255 / 2 + 1e-5


def test_the_same_tree_for_any_number_of_workers_and_the_four_as_without_it(visit, music, tmp_path):
    visit(steps(tmp_path / "site"))
    for name, jobs in {"one": 0, "two": 2}.items():
        drawn(music, tmp_path / name, *VIEWS, "steps", jobs=jobs)
    one = tree(tmp_path / "one")
    assert one == tree(tmp_path / "two")
    drawn(music, tmp_path / "without", *VIEWS)
    without = tree(tmp_path / "without")
    assert {name.split("/")[0] for name in one.keys() - without.keys()} == {"steps"}
    assert len(one) == len(without) + 3 + 1  # pictures, and their labels
    assert {name for name in without if without[name] != one[name]} == {"manifest.parquet", "sonic.toml"}
    plain = pd.read_parquet(tmp_path / "without" / "manifest.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "one" / "manifest.parquet")[list(plain)], plain)


def test_at_the_command_line(music, tmp_path):
    env = os.environ | {"PYTHONPATH": str(steps(tmp_path / "site"))}

    def run(views: str) -> subprocess.CompletedProcess[str]:
        options = ["-q", "-j", "1", "--size", "48x32", "--views", views]
        command = [SONIC, "render", str(music), str(tmp_path / "out"), *options]
        return subprocess.run(command, env=env, capture_output=True, text=True)

    found = run("mel,steps")
    assert found.returncode == 0, found.stderr
    assert sonic.open_images(tmp_path / "out").views == ["mel", "steps"]
    found = run("mel,step")
    assert found.returncode == 2 and "no view is called step; did you mean steps?" in " ".join(found.stderr.split())


def test_a_child_of_a_worker_of_a_cluster_finds_it(visit, music, tmp_path):
    visit(steps(tmp_path / "site"))
    work = partial(render_track, out=tmp_path / "out", config=Config().replace(**SIZE), arrays=False)
    one = Track("0.wav", str(music / "0.wav"), {"steps": "steps/0.png"}, {}, {"steps": "sonic-steps 1.0"})
    (outcome,) = guest.at_worker([(partial(_tried, work), (0, one), {"deadline": 60.0, "memory": 2.0})])
    assert outcome.status == "done", outcome.reason
    assert (tmp_path / "out" / "steps" / "0.png").exists() and outcome.value["steps_high"] == 40
    guest._end_child()


def test_a_worker_with_another_version_or_none_draws_nothing(visit, music, tmp_path):
    visit(steps(tmp_path / "site", "1.1"))
    work = partial(render_track, out=tmp_path / "out", config=Config(), arrays=False)
    one = Track("0.wav", str(music / "0.wav"), {"steps": "steps/0.png"}, {}, {"steps": "sonic-steps 1.0"})
    with pytest.raises(SonicError, match="is of sonic-steps 1.0 where the run began, and of sonic-steps 1.1 here"):
        work(one)
    visit(tmp_path)
    with pytest.raises(SonicError, match="no view is called steps .*; install sonic-steps 1.0 where the workers run"):
        work(one)
    assert not (tmp_path / "out").exists()


# ---- another version -------------------------------------------------------------------------------------------------


def test_another_version_is_drawn_anew_and_nothing_else(visit, music, tmp_path):
    visit(steps(tmp_path / "site"))
    out = tmp_path / "out"
    before = drawn(music, out, "mel", "steps")
    assert drawn(music, out, "mel", "steps").attrs["drawn"] == 0
    times = {path.name: path.stat().st_mtime_ns for path in (out / "mel").glob("*.png")}
    visit(steps(tmp_path / "new", "1.1", more=5))
    assert drawn(music, out, "mel").attrs["drawn"] == 0  # nobody asked for the other
    assert made_by("steps") == "sonic-steps 1.1"
    assert sonic.open_images(out).values("steps", "0.wav").min() < 1
    after = drawn(music, out, "mel", "steps")
    assert after.attrs["drawn"] == 3
    assert set(after["steps_by"]) == {"sonic-steps 1.1"} and (after["steps_hash"] != before["steps_hash"]).all()
    assert (after["mel_hash"] == before["mel_hash"]).all() and (after["recipe"] == before["recipe"]).all()
    assert {path.name: path.stat().st_mtime_ns for path in (out / "mel").glob("*.png")} == times
    assert sonic.open_images(out).values("steps", "0.wav").min() > 4.8
    drawn(music, tmp_path / "fresh", "mel", "steps")
    assert tree(out) == tree(tmp_path / "fresh")


def test_two_versions_are_never_mixed(visit, music, tmp_path):
    out, few = tmp_path / "out", tmp_path / "few"
    visit(steps(tmp_path / "site"))
    drawn(music, out, "mel", "steps")
    write_track(few / "0.wav", 0, seconds=1)
    visit(steps(tmp_path / "new", "1.1"))
    with pytest.raises(SonicError, match="2 tracks of another recipe that are not in this collection"):
        drawn(few, out, "mel", "steps")
    recipe = out / "sonic.toml"
    recipe.write_text(recipe.read_text().replace("sonic-steps 1.0", "sonic-steps 1.1"))
    with pytest.raises(SonicError, match="3 of 3 tracks .* were made with another recipe"):
        sonic.open_images(out)


def test_what_would_need_a_package_that_is_gone(visit, music, tmp_path):
    visit(steps(tmp_path / "site"))
    out = tmp_path / "out"
    drawn(music, out, "mel", "steps")
    before = tree(out)
    visit(tmp_path)
    assert drawn(music, out, "mel").attrs["drawn"] == 0  # nothing needs it
    assert tree(out) == before
    with pytest.raises(SonicError, match="has the view steps of sonic-steps 1.0, which is not installed"):
        drawn(music, out, "mel", **{"mel.n_mels": 40})
    assert tree(out) == before  # refused before anything was written
    visit(steps(tmp_path / "back"))
    after = drawn(music, out, "mel", **{"mel.n_mels": 40})  # all that a track has is drawn with the new settings
    assert after.attrs["drawn"] == 3 and sonic.open_images(out).views == ["mel", "steps"]
    assert set(after["recipe"]) == {recipe_of(Config().replace(**SIZE, **{"mel.n_mels": 40}))}


def test_the_fingerprint_does_not_know_it(visit, music, tmp_path):
    "Whoever adds such a view to an image set keeps the pictures that are there."
    visit(steps(tmp_path / "site"))
    drawn(music, tmp_path / "out", "mel")
    manifest = drawn(music, tmp_path / "out", "mel", "steps")
    assert set(manifest["recipe"]) == {recipe_of(Config().replace(**SIZE))}
    drawn(music, tmp_path / "once", "mel", "steps")
    assert tree(tmp_path / "out") == tree(tmp_path / "once")


# ---- all that pictures go through ------------------------------------------------------------------------------------


def test_packed(visit, music, tmp_path):
    visit(steps(tmp_path / "site"))
    drawn(music, tmp_path / "loose", "mel", "steps", arrays=True)
    drawn(music, tmp_path / "out", "mel", "steps", arrays=True, shards=2)
    loose, packed = (sonic.open_images(tmp_path / name) for name in ("loose", "out"))
    np.testing.assert_array_equal(loose.levels("steps"), packed.levels("steps"))
    np.testing.assert_array_equal(loose.values("steps", "1.wav"), packed.values("steps", "1.wav"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"manifest.parquet", "sonic.toml", "shards"}
    assert drawn(music, tmp_path / "out", "mel", "steps", shards=2).attrs["drawn"] == 0
    visit(steps(tmp_path / "new", "1.1", more=5))
    assert drawn(music, tmp_path / "out", "mel", "steps", shards=2).attrs["drawn"] == 3
    assert set(sonic.open_images(tmp_path / "out").tracks["steps_by"]) == {"sonic-steps 1.1"}
    assert sonic.open_images(tmp_path / "out").values("steps", "1.wav").min() > 4.8


def test_verified(visit, music, tmp_path):
    visit(steps(tmp_path / "site"))
    out = tmp_path / "out"
    drawn(music, out, "mel", "steps")
    before = tree(out)
    path = out / sonic.open_images(out).tracks.at["1.wav", "steps"]
    Image.open(io.BytesIO(path.read_bytes())).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    assert drawn(music, out, "mel", "steps", verify=True).attrs["drawn"] == 1
    assert tree(out) == before


def test_a_long_track_is_drawn_whole(visit, tmp_path, monkeypatch):
    visit(steps(tmp_path / "site"))
    write_track(tmp_path / "music" / "a.wav", seconds=8)
    drawn(tmp_path / "music", tmp_path / "whole", "fft", "steps", arrays=True)
    monkeypatch.setattr(long, "LONG", 3.0)
    drawn(tmp_path / "music", tmp_path / "blocks", "fft", "steps", arrays=True)
    np.testing.assert_array_equal(*(array_of(tmp_path / name, "a.wav") for name in ("whole", "blocks")))
    one, other = (tree(tmp_path / name) for name in ("whole", "blocks"))
    assert {n: one[n] for n in one if n.startswith("steps/")} == {n: other[n] for n in other if n.startswith("steps/")}


def test_a_label_of_the_same_name(visit, music, tmp_path):
    visit(steps(tmp_path / "site"))
    tracks = pd.DataFrame({"track_id": ["a"], "path": [str(music / "0.wav")], "steps": ["../../music/0.wav"]})
    with pytest.raises(SonicError, match="steps is a column already, and the view steps needs it; rename it"):
        drawn(tracks, tmp_path / "out", "steps")
    drawn(tracks, tmp_path / "out", "mel")  # there it is a label like any other, and no path of a picture
    manifest = drawn(tracks.drop(columns="steps"), tmp_path / "out", "steps")
    assert manifest["steps"].str.startswith("steps/a").all() and (music / "0.wav").exists()
    again = drawn(pd.read_parquet(tmp_path / "out" / "manifest.parquet"), tmp_path / "again", "steps")
    assert again["status"].tolist() == ["done"]  # a manifest is a collection


# ---- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, words",
    {
        "raises": "the view raises of sonic-bad 0.1 failed (ZeroDivisionError: nothing is left)",
        "array": "the view array of sonic-bad 0.1 gave ndarray, which is no View with two axes",
        "lopsided": "the view lopsided of sonic-bad 0.1 gave values of shape (3, 5) with axes of shape (2, 44)",
        "nan": "the view nan of sonic-bad 0.1 holds values that are not finite numbers",
        "wide": "the view wide of sonic-bad 0.1 goes from -3 to -3: say what is black and brightest",
        "gone": "gone of sonic-bad 0.1 cannot be imported from no_such_module:view (ModuleNotFoundError",
        "nans": "no view is called nans; did you mean nan? (mel, chroma, fft, tempogram, ",
    }.items(),
)
def test_messages(visit, music, tmp_path, name, words):
    names = ("raises", "array", "lopsided", "nan", "wide")
    points = {each: f"sonic_bad_views:{each}" for each in names} | {"gone": "no_such_module:view"}
    visit(install(tmp_path / "site", "sonic-bad", "0.1", points, sonic_bad_views=BAD))
    for ask in (
        lambda: sonic.views(sonic.load(music / "0.wav"), [name]),
        lambda: drawn(music, tmp_path / "out", "mel", name),
    ):
        with pytest.raises(SonicError) as raised:
            ask()
        assert words.split(" with axes")[0] in str(raised.value) and "\n" not in str(raised.value)
    assert not (tmp_path / "out" / "mel").exists()  # found out before anything was drawn


@pytest.mark.parametrize("name", ["genre", "arrays", "shards", "mel_peak"])
def test_names_that_no_view_can_have(visit, music, tmp_path, name):
    visit(
        install(
            tmp_path / "site", "sonic-odd", "0.1", {name: "sonic_steps:steps_view"}, sonic_steps=STEPS.format(more=0)
        )
    )
    with pytest.raises(SonicError, match=f"{name} is a column already"):
        drawn(music, tmp_path / "out", "mel", name)


def test_a_name_of_ours_cannot_be_taken(visit, music, tmp_path):
    visit(install(tmp_path / "site", "sonic-cuckoo", "0.1", {"mel": "sonic_steps:steps_view"}, sonic_steps=STEPS))
    clip = sonic.load(music / "0.wav")
    assert sonic.views(clip, ["mel"])["mel"].values.shape[0] == 128  # nobody is asked
    with pytest.raises(SonicError, match="sonic-cuckoo 0.1 brings mel .*, a name that SONIC itself has: uninstall"):
        sonic.views(clip, ["steps"])


def test_nothing_is_imported_before_its_name_is_asked_for(tmp_path):
    site = install(
        tmp_path / "site", "sonic-loud", "0.1", {"loud": "sonic_loud:view"}, sonic_loud="raise SystemExit('heard')"
    )
    code = "import numpy as np, sonic; print(list(sonic.views(sonic.Clip(np.ones(999, np.float32), 22050))))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(site)}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "['mel', 'chroma', 'fft', 'tempogram']", done.stderr
