"Only the settings that it reads: a spy on every setting that is looked at, and changes to all that are not."

from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import cache

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from sonic.config import Config, about, make_config, setting_names
from sonic.cream.audio import Clip
from sonic.cream.mel import mel_bank
from sonic.cream.views import VIEWS
from sonic.models import NetworkSettings
from sonic.rouge.plays import make_plays
from sonic.rouge.recommender import hear
from sonic.rouge.registry import RECOMMENDERS, make_recommender, recommender_class
from sonic.sections import Section, SonicError
from sonic.shadow.reads import DECIDERS, embedder_reads, read_settings
from sonic.tails import musicnn, vision
from sonic.tails.embed import embed
from sonic.tails.genres import report
from sonic.tails.measures import precision_at
from sonic.tails.network import Checkpoint, Network, save_checkpoint
from sonic.tails.registry import EMBEDDERS, make_embedder
from sonic.tails.table import make_table
from sonic.tails.together import weigh

SECTIONS = {type(field.default): name for name, field in Config.model_fields.items()}
HEARD = {"audio.offset", "audio.duration"}  # read by whoever opens the file, not by the embedder

# No value is a default where another will do: then a value that is looked at tells whose it is.
ODD = {
    "audio.sample_rate": 16000, "audio.offset": 0.25, "audio.duration": 5.0,
    "stft.n_fft": 1024, "stft.hop_length": 300, "stft.window": "hamming",
    "mel.n_mels": 48, "mel.fmin": 60.0, "mel.fmax": 6000.0, "mel.scale": "htk", "mfcc.n_mfcc": 30,
    "chroma.tuning": 0.1, "fft.fmin": 40.0,
    "tempogram.win_length": 150, "tempogram.bpm_min": 40.0, "tempogram.bpm_max": 240.0,
    "picture.width": 300, "picture.height": 150, "picture.format": "jpeg", "picture.colormap": "viridis",
    "picture.quality": 80, "picture.top_db": 50.0, "picture.floor_db": 60.0,
    "vision.window": 1.0, "vision.stride": 0.6, "vision.layer": 2, "vision.pooling": "mean",
    "musicnn.layer": "taggram", "musicnn.stride": 90,
    "neighbours.standardise": "no", "neighbours.hubs": "none", "genres.probe": "knn",
    "genres.test": 0.5, "genres.seeds": 2,
    "recommend.recent": 5.0, "recommend.neighbours": 5, "recommend.factors": 6, "recommend.iterations": 3,
    "recommend.regularisation": 0.3, "recommend.confidence": 2.0, "recommend.penalty": 20.0, "recommend.nearest": 2,
    "recommend.ridge": 1.0, "recommend.trust": 10.0,
    "sequence.size": 8, "sequence.length": 6, "sequence.layers": 1, "sequence.heads": 1, "sequence.dropout": 0.3,
    "sequence.mask": 0.4, "sequence.negatives": 5, "sequence.epochs": 2, "sequence.patience": 7, "sequence.batch": 9,
    "sequence.learning_rate": 0.01, "sequence.weight_decay": 0.1,
    "fuse.mel": 0.5, "fuse.chroma": 2.0, "fuse.mfcc": 3.0, "fuse.views": 0.7,
}  # fmt: skip
OTHER = {
    "audio.sample_rate": 18000,
    "stft.n_fft": 2048,
    "sequence.size": 10,
    "sequence.heads": 2,
    "recommend.recent": 60.0,
    "recommend.base": "als",
}


def odd(**settings):
    return make_config(ODD | {name.replace("__", "."): value for name, value in settings.items()})


def value_of(config, name):
    section, _, key = name.partition(".")
    return config.model_dump()[section][key]


def other(config, name):
    "Another value of a setting, that is allowed."
    what, now = about(name), value_of(config, name)
    if name in OTHER and now != OTHER[name]:
        return OTHER[name]
    if what.choices:
        return next(choice for choice in what.choices if choice != now)
    if what.low is None:
        return "mel" if name == "network.views" else f"{now}x"
    if now is None:
        return what.low
    moved = now + 1 if what.whole else now * 1.25 or 0.5
    return moved if moved <= what.high else now - 1 if what.whole else now / 1.25


@contextmanager
def spied(config):
    "The settings of this configuration that are looked at, but for the check that they go together."
    values, seen, plain = config.model_dump(), set(), Section.__getattribute__
    mel_bank.cache_clear()  # what is remembered is not looked at again

    def look(self, key):
        value = plain(self, key)
        section = SECTIONS.get(type(self))
        if section and key in type(self).model_fields and sys._getframe(1).f_code.co_name != "_agree":
            key = type(self).model_fields[key].alias or key
            if values[section][key] == value:
                seen.add(f"{section}.{key}")
        return value

    Section.__getattribute__ = look
    try:
        yield seen
    finally:
        del Section.__getattribute__


@pytest.fixture(scope="module", autouse=True)
def quick():
    "One thread, and the weights of a network are read once."
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vision, "open_lite0", cache(vision.open_lite0))
        patch.setattr(musicnn, "load_weights", cache(musicnn.load_weights))
        yield
    torch.set_num_threads(before)


def music(seconds=2.2, rate=22050):
    "Chords, strokes and noise: every view has something to see."
    rng, time = np.random.default_rng(0), np.arange(round(seconds * rate)) / rate
    chord = sum(np.sin(2 * np.pi * pitch * time) / n for n, pitch in enumerate((220, 277.2, 329.6, 1200, 5000), 1))
    strokes = rng.normal(size=len(time)) * np.exp(-20 * (time % 0.31))
    return Clip((0.2 * chord + 0.3 * strokes + 0.01 * rng.normal(size=len(time))).astype(np.float32), rate)


CLIP, LONG = music(), music(4.0)  # MusiCNN hears three seconds at once
CASES = {
    "mfcc": ("mfcc", {}),
    "views": ("views", {}),
    "views of a constant-Q chromagram and a whole spectrum": ("views", {"chroma__kind": "cqt", "fft__kind": "clip"}),
    "vision, mel": ("vision", {}),
    "vision, chroma": ("vision", {"vision__view": "chroma"}),
    "vision, CENS": ("vision", {"vision__view": "chroma", "chroma__kind": "cens"}),
    "vision, constant-Q, tuning estimated": (
        "vision",
        {"vision__view": "chroma", "chroma__kind": "cqt", "chroma__tuning": None},
    ),
    "vision, fft": ("vision", {"vision__view": "fft"}),
    "vision, fft, linear": ("vision", {"vision__view": "fft", "fft__axis": "linear", "fft__unit": "amplitude"}),
    "vision, fft of the whole": ("vision", {"vision__view": "fft", "fft__kind": "clip"}),
    "vision, tempogram": ("vision", {"vision__view": "tempogram"}),
    "vision, lags": ("vision", {"vision__view": "tempogram", "tempogram__axis": "lag"}),
    "musicnn": ("musicnn", {}),
}  # fmt: skip


def vector(name, config):
    return make_embedder(name, config=config).embed(LONG if name == "musicnn" else CLIP)


@pytest.fixture(autouse=True)
def weights(request):
    "Those of MusiCNN, for the tests of it."
    if "musicnn" in request.node.name:
        request.getfixturevalue("musicnn_weights")


@pytest.mark.parametrize("case", CASES)
def test_an_embedder_looks_at_what_is_listed_and_at_nothing_else(case):
    name, settings = CASES[case]
    config = odd(**settings)
    with spied(config) as seen:
        vector(name, config)
    listed = embedder_reads(name, config)
    assert seen <= listed
    assert listed - seen <= HEARD | {"vision.revision"}  # that of weights of a hub, of which there are none here


@pytest.mark.parametrize("case", CASES)
def test_vectors_depend_on_what_is_listed_and_on_nothing_else(case):
    name, settings = CASES[case]
    config = odd(**settings)
    listed, plain = embedder_reads(name, config), vector(name, config)
    rest = [setting for setting in setting_names() if setting not in listed]
    assert len(rest) > 100
    changed = config.replace(**{setting: other(config, setting) for setting in rest})
    np.testing.assert_array_equal(vector(name, changed), plain, strict=True)
    weights = {"vision.backbone", "vision.weights", "vision.revision", "musicnn.weights"}  # of which there is one here
    for setting in listed - HEARD - weights:
        moved = vector(name, config.replace(**{setting: other(config, setting)}))
        assert moved.shape != plain.shape or (moved != plain).any(), setting


def test_the_stretch_that_is_heard_is_read_by_all(tmp_path):
    soundfile.write(tmp_path / "a.wav", CLIP.samples, CLIP.sample_rate)
    config = odd(audio__duration=1.0)
    plain, *moved = (
        embed(tmp_path, with_="mfcc", config=each, jobs=0, progress=False).vectors
        for each in (config, *(config.replace(**{name: other(config, name)}) for name in sorted(HEARD)))
    )
    assert all((each != plain).any() for each in moved)
    assert all(HEARD <= embedder_reads(name, config) for name in EMBEDDERS)


def test_our_own_network_is_as_it_was_trained(tmp_path):
    shape = {"views": "mel,chroma", "rows": 16, "columns": 16, "channels": 2, "blocks": 2, "size": 8, "window": 1.0}
    config = odd(**{f"network__{name}": value for name, value in shape.items()})
    torch.manual_seed(0)
    network = Network(NetworkSettings(**shape))
    checkpoint = Checkpoint(config, network.state_dict(), (100.0,) * 2, (50.0,) * 2)
    save_checkpoint(checkpoint, tmp_path / "network.safetensors")
    config = config.replace(**{"network.weights": str(tmp_path), "network.stride": 0.6})
    plain, listed = vector("sonic", config), embedder_reads("sonic", config)
    for setting in ("network.layer", "network.stride"):
        assert (
            setting in listed and (vector("sonic", config.replace(**{setting: other(config, setting)})) != plain).any()
        )
    kept, refused = {"audio", "picture", "network", *EMBEDDERS["sonic"].settings}, 0
    rest = {
        name: other(config, name) for name in setting_names() if name not in listed and name.split(".")[0] not in kept
    }
    np.testing.assert_array_equal(vector("sonic", config.replace(**rest)), plain)
    for setting in setting_names():
        if setting.split(".")[0] in kept and setting not in listed:
            try:  # a network that was trained under other settings is refused; it never gives another vector
                np.testing.assert_array_equal(
                    vector("sonic", config.replace(**{setting: other(config, setting)})), plain
                )
            except SonicError as error:
                assert setting in str(error) and "was trained with" in str(error)
                refused += 1
    assert refused > 10


# What is done with vectors


IDS = [f"t{n:02}" for n in range(60)]


def a_table(name, size, parts=None, seed=0):
    rng = np.random.default_rng([seed, size])
    kinds = rng.integers(0, 4, 60)
    vectors = rng.normal(3, 1, (60, size)) * np.geomspace(0.3, 3, size) + rng.normal(size=(4, size))[kinds]
    labels = pd.DataFrame(
        {"genre": [f"g{kind}" for kind in rng.integers(0, 3, 60)], "artist": [f"a{n // 3}" for n in range(60)]}
    )
    recipe = {"embedder": name, "fingerprint": name} | ({"parts": parts} if parts else {})
    return make_table(vectors, IDS, labels=labels, recipe=recipe)


PARTS = [["mel", 5], ["fft", 4], ["chroma", 3], ["tempogram", 2]]
TABLES = {"mfcc": a_table("mfcc", 8), "views": a_table("views", 14, PARTS)}
FUSED = {"fuse.views", "fuse.mfcc", "fuse.mel", "fuse.chroma", "fuse.fft", "fuse.tempogram"}


def alike(config):
    "How many neighbours have the same label, and how the tracks lie to each other."
    table = weigh({name: TABLES[name] for name in config.embed.with_.split("+")}, config=config)
    sound = hear(table, IDS, config=config)
    return [precision_at(table, "genre", k=5, config=config).value], sound.vectors @ sound.vectors.T


def beyond_sound(config, objective):
    "What is read of all but the embedders."
    names = config.embed.with_.split("+")
    return read_settings(config, [objective]) - {"embed.with"}.union(*(embedder_reads(name, config) for name in names))


@pytest.mark.parametrize("with_", ["mfcc", "views", "mfcc+views"])
@pytest.mark.parametrize("whiten", [None, 5])
def test_neighbours_depend_on_what_is_listed_and_on_nothing_else(with_, whiten):
    config = odd(embed__with=with_, neighbours__whiten=whiten)
    listed = beyond_sound(config, "similarity")
    assert listed >= {"neighbours.whiten", "neighbours.hubs"}
    assert ("neighbours.standardise" in listed) == (with_ != "mfcc+views")
    assert ("neighbours.centre" in listed) == (whiten is None)
    parts = {"mfcc": set(), "views": FUSED - {"fuse.views", "fuse.mfcc"}, "mfcc+views": FUSED}[with_]
    assert {name for name in listed if name.startswith("fuse.")} == (parts if whiten is None else set())
    moot = {"neighbours.standardise"} - listed  # of what joining has standardised, which leaves rounding
    rest = {name: other(config, name) for name in setting_names() if name not in listed | moot | {"embed.with"}}
    plain, same = alike(config), alike(config.replace(**rest))
    np.testing.assert_array_equal(same[0], plain[0])
    np.testing.assert_array_equal(same[1], plain[1])
    for name in moot:
        same = alike(config.replace(**{name: other(config, name)}))
        np.testing.assert_array_equal(same[0], plain[0])
        np.testing.assert_allclose(same[1], plain[1], atol=1e-6)
    for name in listed:
        if name == "neighbours.standardise" and with_ == "views":  # parts of unlike weight are standardised anyway
            config = config.replace(**{f"fuse.{view}": 1.0 for view in VIEWS})
            plain = alike(config)
        moved = alike(config.replace(**{name: other(config, name)}))
        assert moved[0] != plain[0] if name == "neighbours.hubs" else (moved[1] != plain[1]).any(), name


def test_neighbours_and_genres_are_spied_on():
    for with_ in ("mfcc", "views", "mfcc+views"):
        config = odd(embed__with=with_)
        with spied(config) as seen:
            alike(config)
        moot = {"neighbours.standardise"} if "+" in with_ else set()
        assert seen - {"embed.with"} - moot == beyond_sound(config, "similarity") - FUSED  # which is looked at whole
    config = odd(embed__with="mfcc")
    with spied(config) as seen:
        report(TABLES["mfcc"], config=config, groups=None)
    assert seen == beyond_sound(config, "genre") | {"genres.test", "genres.seeds"}  # how it is measured


def test_a_limit_on_hubs_makes_neighbours_matter():
    plain = odd(embed__with="mfcc")
    limited = plain.replace(**{"tune.max_hubs": 3.0})
    assert beyond_sound(plain, "genre") == {"genres.probe"}
    assert beyond_sound(limited, "genre") == {"genres.probe"} | beyond_sound(plain, "similarity")
    deaf = limited.replace(**{"recommend.kind": "ease"})
    assert read_settings(deaf, ["warm", "seconds"]) == {"recommend.kind", "recommend.penalty"}


# Recommenders


def some_plays():
    rng = np.random.default_rng(0)
    rows = [(f"u{user:02}", IDS[track]) for user in range(40) for track in rng.permutation(50)[: rng.integers(4, 12)]]
    frame = pd.DataFrame(rows, columns=["user_id", "track_id"])
    frame["first"] = rng.integers(0, 90 * 86_400, len(frame))
    frame["plays"] = rng.integers(1, 9, len(frame))
    return make_plays(frame, tracks=IDS)


PLAYS = some_plays()


def scores(config):
    hears = recommender_class(config.recommend.kind).hears
    sound = hear(TABLES["mfcc"], IDS, config=config) if hears else None
    return make_recommender(config=config, seed=0, device="cpu").fit(PLAYS, sound=sound).scores(PLAYS)


@pytest.mark.parametrize(
    "kind", [*(kind for kind in RECOMMENDERS if kind != "hybrid"), "ease+", "als+", "elsa+", "itemknn+"]
)
def test_a_recommender_reads_what_is_listed_and_nothing_else(kind):
    base = (
        {"recommend__base": kind[:-1], "recommend__kind": "hybrid"} if kind.endswith("+") else {"recommend__kind": kind}
    )
    config = odd(embed__with="mfcc", **base)
    hears = recommender_class(config.recommend.kind).hears
    whole = read_settings(config, ["warm"])
    listed = beyond_sound(config, "warm")
    assert whole == read_settings(config, ["cold"]) == read_settings(config, ["warm", "seconds"])
    assert hears == ("embed.with" in whole) and (hears or whole == listed)
    with spied(config) as seen:
        plain = scores(config)
    assert seen == listed
    same = config.replace(**{name: other(config, name) for name in setting_names() if name not in whole})
    np.testing.assert_array_equal(scores(same), plain, strict=True)
    luck = {"sequence.epochs", "sequence.patience"}  # the best epoch may be the same one
    for name in listed - luck - {"recommend.kind"}:
        assert (scores(config.replace(**{name: other(config, name)})) != plain).any(), name


# What decides about what is read


def test_only_deciders_change_what_is_read_and_each_of_them_does():
    rng = np.random.default_rng(0)
    objectives = ["similarity", "genre", "warm"]
    choices = {name: about(name).choices or (None, 8) for name in DECIDERS if name != "embed.with"}
    choices["embed.with"] = ("mfcc", "views", "vision", "musicnn", "hub", "sonic", "mfcc+views", "vision+musicnn")
    deciding = set()
    for _ in range(30):
        decided = {name: values[rng.integers(len(values))] for name, values in choices.items()}
        config = odd().replace(**decided)
        read = read_settings(config, objectives)
        for name, values in choices.items():
            if any(read_settings(config.replace(**{name: value}), objectives) != read for value in values):
                deciding.add(name)
        rest = {n: other(config, n) for n in setting_names() if n not in DECIDERS and not n.startswith("tune.")}
        assert read_settings(config.replace(**rest), objectives) == read
    assert deciding == set(DECIDERS)


def test_never_more_than_the_registries_say():
    for name, entry in EMBEDDERS.items():
        for setting in embedder_reads(name, Config()):
            assert setting in entry.settings or setting.partition(".")[0] in entry.settings
    for kind, entry in RECOMMENDERS.items():
        for setting in beyond_sound(make_config({"recommend.kind": kind, "embed.with": "mfcc"}), "warm"):
            known = (*entry.settings, "recommend.kind", *(("neighbours",) if recommender_class(kind).hears else ()))
            assert setting in known or setting.partition(".")[0] in known
