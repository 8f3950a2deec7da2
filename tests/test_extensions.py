"What another package brings: installed by pip, used by its name everywhere; and its faults, in one line."

import importlib.metadata
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sonic.config import Config
from sonic.cream.audio import Clip
from sonic.cream.demo import make_collection
from sonic.rouge.log import make_log
from sonic.rouge.plays import make_plays
from sonic.rouge.recommender import Sound
from sonic.rouge.registry import (
    RECOMMENDERS,
    check_recommender,
    make_recommender,
    open_recommender,
    recommender_class,
    recommender_entry,
    save_recommender,
)
from sonic.sections import SonicError
from sonic.shadow.cache import Cache
from sonic.shadow.chain import Chain
from sonic.shadow.keys import Keys
from sonic.shadow.reads import read_settings
from sonic.shadow.space import make_space
from sonic.tails.embed import embed
from sonic.tails.registry import EMBEDDERS, check_embedder, embedder_entry, make_embedder
from sonic.tails.table import open_table, same_recipe
from sonic.tails.together import embed as embed_together

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "sonic-example"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    "A folder in which pip has installed the example."
    copy = shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("source") / "sonic-example")  # pip builds where it lies
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    done = run(*pip, "--no-build-isolation", "--target", target, copy)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def installed(site, monkeypatch):
    "The example, in this process."
    monkeypatch.syspath_prepend(site)
    return site


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    return make_collection(tmp_path_factory.mktemp("music"), tracks=6, seconds=3, jobs=0, progress=False)


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    "Two camps of listeners, who play their own ten tracks each."
    rng, rows = np.random.default_rng(0), []
    for user in range(40):
        tracks = rng.choice(10, 6, replace=False) + 10 * (user % 2)
        rows += [(f"u{user}", f"t{track}", 10**9 + 10**6 * place) for place, track in enumerate(tracks)]
    path = tmp_path_factory.mktemp("log") / "log.csv"
    pd.DataFrame(rows, columns=["user_id", "track_id", "timestamp"]).to_csv(path, index=False)
    return path


def run(*command, path=None, **kwargs):
    paths = filter(None, [str(path) if path else None, os.environ.get("PYTHONPATH")])
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "COLUMNS": "300"}
    return subprocess.run(
        [str(each) for each in command], capture_output=True, text=True, timeout=120, env=env, **kwargs
    )


def sonic(*words, path=None):
    return run(Path(sys.executable).with_name("sonic"), *words, path=path)


def bring(folder, code, *, version="1.0", name="odd", group="sonic.embedders", value=None, package="odd-sounds"):
    "A package as pip would leave it: a module, and what it says of itself."
    module = f"{package.replace('-', '_')}_{abs(hash(str(folder))) % 10**9}"
    about = folder / f"{package.replace('-', '_')}-{version}.dist-info"
    about.mkdir(parents=True)
    (folder / f"{module}.py").write_text(code)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    (about / "entry_points.txt").write_text(f"[{group}]\n{name} = {value or f'{module}:Odd'}\n")
    return folder


# ---- as a user meets it ----------------------------------------------------------------------------------------------


def test_everything_that_listens_takes_its_names(site, music, tmp_path):
    done = sonic("render", music, tmp_path / "pictures", "--views", "mel,onsets", "--jobs", "0", "-q", path=site)
    assert done.returncode == 0, done.stderr
    assert len([*(tmp_path / "pictures" / "onsets").glob("*.png")]) == 6
    out = tmp_path / "brightness.parquet"
    done = sonic("embed", music, out, "--with", "brightness", "--jobs", "2", "-q", path=site)  # workers find it
    assert done.returncode == 0 and "6 tracks, 6 numbers each, by brightness" in done.stdout, done.stderr
    alone = open_table(out)
    assert alone.recipe["package"] == "sonic-example 0.1.0" and alone.recipe["embedder"] == "brightness"
    assert np.ptp(alone.vectors[:, 0]) > 0.1  # octaves, of the centroid
    done = sonic("similar", out, alone.ids[0], "-k", "2", path=site)
    assert done.returncode == 0 and len(done.stdout.splitlines()) >= 2, done.stderr


def test_everything_that_recommends_takes_its_names(site, history, tmp_path):
    model = tmp_path / "model.safetensors"
    words = ["recommend", history, "--user", "u2", "-k", "4", "-q"]
    done = sonic(*words, "--with", "userknn", "--save", model, path=site)
    assert done.returncode == 0, done.stderr
    listed = [line.split()[2] for line in done.stdout.splitlines() if line.strip()[:1].isdigit()]
    assert len(listed) == 4 and all(int(track[1:]) < 10 for track in listed)  # of the listener's own camp
    done = sonic(*words, "--model", model)
    assert (
        done.returncode == 2
        and "was learned by userknn of sonic-example 0.1.0, which here is not installed" in done.stderr
    )
    quick = ("--set", "bench.seeds=1", "--set", "bench.train=6", "--set", "bench.test=6", "--set", "bench.cold=0", "-q")
    done = sonic("bench", tmp_path / "out", "--log", history, "--with", "userknn", *quick, path=site)
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0] for line in (tmp_path / "out" / "table.txt").read_text().splitlines() if line.strip()}
    assert {"userknn", "popular", "random"} <= rows


def test_uninstalled_it_is_gone_and_said_to_be(music, tmp_path):
    for words, told in {
        ("embed", str(music), str(tmp_path / "no.parquet"), "--with", "brightness"): "no embedder is called brightness",
        ("config", "--set", "recommend.kind=userknn"): "no recommender is called userknn",
    }.items():
        done = sonic(*words)
        assert done.returncode == 2 and told in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_the_example_passes_its_own_tests(installed):
    tests = {
        name: test for name, test in runpy.run_path(EXAMPLE / "tests" / "test_example.py").items() if "test_" in name
    }
    assert len(tests) == 3
    for test in tests.values():
        test()


def test_it_is_as_short_as_it_says():
    for path in (EXAMPLE / "sonic_example").glob("[!_]*.py"):
        code = [line for line in path.read_text().splitlines() if line.strip() and "import" not in line]
        assert len(code) <= 25, path.name


# ---- as the library meets it -----------------------------------------------------------------------------------------


def test_an_embedder_hears_where_the_energy_lies(installed):
    made, rate, time = make_embedder("brightness"), 22050, np.arange(22050) / 22050
    low, high = (made.embed(Clip(np.sin(2 * np.pi * f * time).astype(np.float32), rate)) for f in (250, 4000))
    assert low[0] == pytest.approx(-2, abs=0.1) and high[0] == pytest.approx(2, abs=0.1)  # octaves from 1 kHz
    hiss = made.embed(Clip(np.random.default_rng(0).normal(scale=0.1, size=rate).astype(np.float32), rate))
    assert hiss[2] > -1.5 > -10 > low[2]  # log2 of the flatness: that of hiss is exp(-0.577)
    check_embedder(made)


def test_a_recommender_is_the_nearest_listeners(installed):
    "The oracle: dense arithmetic, a listener at a time."
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"user_id": rng.integers(0, 30, 500), "track_id": rng.integers(0, 20, 500), "first": 0})
    plays = make_plays(frame)
    made = make_recommender("userknn", **{"recommend.neighbours": 5}).fit(plays)
    known = plays.matrix.toarray() > 0
    for row in (0, 11, 29):
        likeness = (known & known[row]).sum(axis=1) / np.sqrt(known.sum(axis=1))
        near = likeness >= np.sort(likeness)[-5]
        expected = (likeness * near) @ known
        assert made.scores(plays)[row] == pytest.approx(expected, rel=1e-4)
    check_recommender(recommender_class("userknn"))


def test_only_what_is_declared_is_read(installed, music):
    how = {"with_": "brightness", "jobs": 0, "progress": False}
    plain, mel, stft = (embed(music, **how, **each) for each in ({}, {"mel.n_mels": 32}, {"stft.n_fft": 512}))
    same_recipe(plain.recipe, mel.recipe)
    assert np.array_equal(plain.vectors, mel.vectors)
    with pytest.raises(SonicError, match="two recipes do not mix: .*stft.n_fft"):
        same_recipe(plain.recipe, stft.recipe)
    assert not np.array_equal(plain.vectors, stft.vectors)
    made = make_embedder("brightness", **{"mel.n_mels": 32, "stft.n_fft": 512})
    assert (made.config.mel.n_mels, made.config.stft.n_fft) == (Config().mel.n_mels, 512)
    chosen = make_recommender("userknn", **{"recommend.neighbours": 7, "recommend.penalty": 9}).config.recommend
    assert (chosen.neighbours, chosen.penalty) == (7, Config().recommend.penalty)


CODE = """
from dataclasses import replace
import numpy as np
from sonic.tails.statistics import Mfcc
class Odd(Mfcc):
    "Cepstral coefficients, under another name."
    settings = ("mel", "mfcc")
    def __init__(self, config, *, device="cpu"):
        super().__init__(config)
        self.contract = replace(self.contract, name="odd")
"""


def test_versions_do_not_mix(music, tmp_path, monkeypatch):
    out, how = tmp_path / "odd.parquet", {"with_": "odd", "jobs": 0, "progress": False}
    with monkeypatch.context() as patched:
        patched.syspath_prepend(bring(tmp_path / "one", CODE))
        one = embed(music, out, **how)
        keys = [Keys(one.tracks["path"].iloc[0], "odd", Config()).picture_facts]
    monkeypatch.syspath_prepend(bring(tmp_path / "two", CODE, version="2.0"))
    with pytest.raises(SonicError, match="of another recipe: .*package is odd-sounds 1.0 here, odd-sounds 2.0 there"):
        embed(music, out, **how)
    two = embed(music, **how)
    assert one.recipe["fingerprint"] != two.recipe["fingerprint"] and np.array_equal(one.vectors, two.vectors)
    keys.append(Keys(one.tracks["path"].iloc[0], "odd", Config()).picture_facts)
    assert [each["package"] for each in keys] == ["odd-sounds 1.0", "odd-sounds 2.0"]


def test_a_saved_recommender_wants_its_version(installed, history, tmp_path, monkeypatch):
    plays = make_log(pd.read_csv(history)).plays()
    file = tmp_path / "model.safetensors"
    save_recommender(make_recommender("userknn").fit(plays), file, facts={"log": "camps"})
    made, facts = open_recommender(file)
    assert facts == {"log": "camps"} and np.array_equal(
        made.scores(plays), make_recommender("userknn").fit(plays).scores(plays)
    )
    newer = tmp_path / "newer"
    shutil.copytree(installed, newer)
    (newer / "sonic_example-0.1.0.dist-info").rename(newer / "sonic_example-0.2.0.dist-info")
    about = newer / "sonic_example-0.2.0.dist-info" / "METADATA"
    about.write_text(about.read_text().replace("Version: 0.1.0", "Version: 0.2.0"))
    monkeypatch.setattr(sys, "path", [str(newer), *(each for each in sys.path if each != str(installed))])
    with pytest.raises(SonicError, match="userknn of sonic-example 0.1.0, which here is sonic-example 0.2.0: install"):
        open_recommender(file)


def test_a_study_knows_what_they_read(installed, music, tmp_path):
    config = Config().replace(**{"embed.with": "brightness", "recommend.kind": "userknn"})
    assert read_settings(config, ["warm"]) == {"recommend.kind", "recommend.neighbours"}
    heard = read_settings(config, ["similarity"])
    assert {"stft.n_fft", "audio.sample_rate", "neighbours.centre"} <= heard
    assert not {name for name in heard if name.startswith(("mel.", "fuse."))}
    space = make_space({"embed.with": ["brightness", "mfcc"], "mfcc.n_mfcc": [8, 16]}, objectives=["similarity"])
    assert "brightness" in str(space)
    table = embed(music, with_="brightness", jobs=0, progress=False)
    chain = Chain(table.tracks, Cache(tmp_path / "cache"))
    assert np.allclose(chain.table(table.ids, config=config).vectors, table.vectors, atol=1e-6)
    same_recipe(chain.table(table.ids, config=config).recipe, table.recipe)
    keys = {
        chain.key(table.ids, config=config.replace(**each)) for each in ({}, {"mel.n_mels": 30}, {"stft.n_fft": 1024})
    }
    assert len(keys) == 2


LOOKS = """
import numpy as np
from sonic.tails.contract import Contract
from sonic.tails.looker import Looker
class Odd(Looker):
    "How often something begins."
    looks = ("onsets",)
    def __init__(self, config, *, device="cpu"):
        self.config, rate = config, config.audio.sample_rate
        self.contract = Contract("odd", 1, rate, rate, rate, (23,), 0, 200, 23, short="take")
    def show(self, seen):
        return np.resize(seen["onsets"].values.mean(axis=1), 23).astype(np.float32)
    def forward(self, batch):
        return batch
"""


def test_an_embedder_may_look_at_another_package_s_view(installed, music, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(bring(tmp_path / "looks", LOOKS))
    entry = embedder_entry("odd")
    assert entry.package == "odd-sounds 1.0, sonic-example 0.1.0" and "stft" in entry.settings
    table = embed(music, with_="odd", jobs=0, progress=False)
    chain = Chain(table.tracks, Cache(tmp_path / "cache"))
    found = chain.table(table.ids, config=Config().replace(**{"embed.with": "odd"}))
    assert np.allclose(found.vectors, table.vectors, atol=1e-5) and np.ptp(table.vectors) > 0


def test_together_with_ours_it_counts_once(installed, music):
    table = embed_together(music, with_="views+brightness", jobs=0, progress=False)
    assert table.recipe["weights"]["brightness"] == 1 and "views.mel" in table.recipe["weights"]


# ---- what is built in ------------------------------------------------------------------------------------------------


def test_nothing_is_looked_up_for_a_name_of_ours(monkeypatch):
    def refuse(**_):
        raise AssertionError("entry points were read")

    monkeypatch.setattr("sonic.extensions.entry_points", refuse)
    for name in RECOMMENDERS:
        make_recommender(name)
        Config().replace(**{"recommend.kind": name})
    for name in EMBEDDERS:
        embedder_entry(name)
    make_embedder("mfcc")
    with pytest.raises(AssertionError, match="were read"):
        embedder_entry("odd")


def test_recipes_of_ours_are_what_they_were(music):
    table = embed(music, with_="mfcc", jobs=0, progress=False)
    assert "package" not in table.recipe
    assert {"embedder", "contract", "settings", "parts", "from", "versions", "fingerprint"} == set(table.recipe)


# ---- what can be wrong with a package --------------------------------------------------------------------------------

WRONG = {
    "cannot be imported from .*ZeroDivisionError": "1 / 0",
    "cannot be imported from .*AttributeError": "",
    "must be a subclass of Embedder, and .* is 3": "Odd = 3",
    "must be a subclass of Embedder, and .* is <class": "class Odd: ...",
    "lacks forward and prepare": "from sonic.tails.embedder import Embedder\nclass Odd(Embedder): ...",
    "cannot be made .TypeError: .*device": "from sonic.tails.statistics import Mfcc\nclass Odd(Mfcc): ...",
    "must have a Contract of that name, not mfcc": CODE.replace('name="odd"', 'name="mfcc"'),
    "must have a Contract of that name, not None": CODE.replace("self.contract = ", "self.contract = None #"),
    "says that it reads mell, which is no setting": CODE.replace('("mel", ', '("mell", '),
}


@pytest.mark.parametrize("told", WRONG)
def test_an_embedder_that_is_none_is_refused_in_one_line(told, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(bring(tmp_path, WRONG[told]))
    with pytest.raises(SonicError, match=f"odd of odd-sounds 1.0 {told}") as caught:
        make_embedder("odd")
    assert "\n" not in str(caught.value)


TASTE = """
from sonic.rouge.floors import Popular
class Odd(Popular):
    name = "odd"
"""
BAD_TASTE = {
    "cannot be imported": "import nowhere_to_be_found",
    "must be a subclass of Recommender, and .* is <function": "def Odd(): ...",
    "must bear that name, and its class has name='popular'": TASTE.replace('name = "odd"', "..."),
    "says that it reads mel.n_mels, which is no setting of": TASTE + '    settings = ("mel.n_mels",)',
    "says that it reads recommend.x, which is no setting of": TASTE + '    settings = ("recommend.x",)',
    "lacks learn and score": TASTE.replace("floors", "recommender").replace("Popular", "Recommender"),
    "cannot be made .TypeError": TASTE + "    def __init__(self): ...",
}


@pytest.mark.parametrize("told", BAD_TASTE)
def test_a_recommender_that_is_none_is_refused_in_one_line(told, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(bring(tmp_path, BAD_TASTE[told], group="sonic.recommenders"))
    with pytest.raises(SonicError, match=f"odd of odd-sounds 1.0 {told}") as caught:
        make_recommender("odd")
    assert "\n" not in str(caught.value)


def test_a_name_of_ours_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(bring(tmp_path / "a", TASTE, group="sonic.recommenders", name="ease"))
    assert recommender_entry("ease").package == ""  # ours, as ever
    with pytest.raises(SonicError, match="odd-sounds 1.0 brings ease .*, a name that SONIC itself has"):
        make_recommender("odd")


@pytest.mark.parametrize(
    ("told", "scores"),
    {
        r"must give float32 scores of shape \(40, 20\), a row a user, not float32 of shape \(20,\)": "found[0]",
        "must give float32 scores .* not int64": "found.astype(int)",
        "gave scores that are no numbers": "found * float('nan')",
    }.items(),
)
def test_scores_that_are_none_are_refused(told, scores, history, tmp_path, monkeypatch):
    code = TASTE + f"    def score(self, history):\n        found = super().score(history)\n        return {scores}\n"
    monkeypatch.syspath_prepend(bring(tmp_path, code, group="sonic.recommenders"))
    plays = make_log(pd.read_csv(history)).plays()
    with pytest.raises(SonicError, match=f"odd {told}"):
        make_recommender("odd").fit(plays).recommend(plays)


def test_the_listeners_hear_too(tmp_path, monkeypatch):
    "A recommender that hears is refused without vectors, and shuffled with them by the bench."
    from sonic.rouge.rounds import line_up

    code = TASTE + "    hears = True\n"
    monkeypatch.syspath_prepend(bring(tmp_path, code, group="sonic.recommenders"))
    plays = make_plays(pd.DataFrame({"user_id": ["a", "b"], "track_id": ["x", "y"]}))
    with pytest.raises(SonicError, match="odd needs the vectors of the tracks"):
        make_recommender("odd").fit(plays)
    make_recommender("odd").fit(plays, sound=Sound(np.eye(2, dtype=np.float32), np.ones(2, bool), [None, None]))
    assert [str(each) for each in line_up(["odd"], ["mfcc"])] == ["odd + mfcc", "odd + shuffled"]


def test_the_example_says_the_version_of_its_metadata(installed):
    assert importlib.metadata.version("sonic-example") == "0.1.0"
