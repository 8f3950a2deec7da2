"The space of a study: whatever is asked is allowed, and is read; nothing depends on how the wishes were written down."

from __future__ import annotations

import json
import tomllib

import numpy as np
import optuna
import pytest
from optuna.trial import FixedTrial

from sonic.config import Config, about, make_config, setting_names
from sonic.configfile import config_text, read_config
from sonic.cream.audio import Clip
from sonic.sections import SonicError
from sonic.shadow.dimension import Dimension, make_dimension
from sonic.shadow.reads import DECIDERS, read_settings
from sonic.shadow.space import Space, make_space, read_space
from sonic.tails.backbone import vector_size
from sonic.tails.lite0 import open_lite0
from sonic.tails.registry import make_embedder

optuna.logging.set_verbosity(optuna.logging.WARNING)

OBJECTIVES = (
    ["similarity"],
    ["genre"],
    ["warm"],
    ["cold", "seconds"],
    ["similarity", "genre", "warm", "cold", "memory"],
)
TOGETHER = ("must be at most half of audio.sample_rate", "must be below")  # what only several settings break


def tunable():
    for name in setting_names():
        try:
            yield make_dimension(name).name
        except SonicError:
            continue


TUNABLE = sorted(tunable())


def draw(space, count, seed=0):
    "Trials by chance: what was asked, and the configuration; none if it was refused, and why."
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in range(count):
        trial = study.ask()
        try:
            config, why = space.ask(trial), ""
        except SonicError as error:
            config, why = None, str(error)
        yield trial.params, config, why


def value_of(config, name):
    section, _, key = name.partition(".")
    return config.model_dump()[section][key]


def names_of(space):
    return {each.name for each in space.dimensions}


def readable(objectives):
    "What is read under some decision or other."
    rng, choices = np.random.default_rng(0), {name: make_dimension(name).choices or (None, 8) for name in DECIDERS}
    decided = ({name: values[rng.integers(len(values))] for name, values in choices.items()} for _ in range(200))
    return set(TUNABLE).intersection(set().union(*(read_settings(make_config(each), objectives) for each in decided)))


@pytest.mark.parametrize("objectives", OBJECTIVES, ids=lambda names: "+".join(names))
def test_whatever_is_asked_is_allowed_and_read(objectives):
    rng = np.random.default_rng(0)
    known = sorted(readable(objectives))
    deciders = [name for name in DECIDERS if name in known]
    refused = 0
    for seed in range(3):
        chosen = [name for name in known if name not in DECIDERS and rng.random() < 0.5]
        wanted = dict.fromkeys([*deciders, *chosen])
        if "neighbours.whiten" in wanted:
            wanted["neighbours.whiten"] = ["none", 8, 16]  # its own range leaves none out
        space = make_space(wanted, objectives=objectives)
        for params, config, why in draw(space, 12, seed):
            if config is None:
                assert any(reason in why for reason in TOGETHER), why
                refused += 1
                continue
            assert set(params) == names_of(space) & read_settings(config, objectives)
            assert config == space.config(params) == space.ask(FixedTrial(params))
            for name, value in params.items():
                assert value_of(config, name) == value and type(value_of(config, name)) is type(value)
            assert config.replace(**{name: value_of(Config(), name) for name in params}) == Config()
    assert refused < 30


@pytest.mark.parametrize("objectives", OBJECTIVES, ids=lambda names: "+".join(names))
def test_the_order_of_wishes_does_not_matter(objectives):
    space = make_space(None, objectives=objectives)
    wanted = {each.name: list(each.choices) if each.choices else (each.low, each.high) for each in space.dimensions}
    rng = np.random.default_rng(0)
    for _ in range(3):
        mixed = {name: wanted[name] for name in rng.permutation(list(wanted))}
        again = make_space(mixed, objectives=objectives)
        assert again == space
        assert [params for params, *_ in draw(again, 10)] == [params for params, *_ in draw(space, 10)]
    nested: dict = {}
    for name in rng.permutation(list(wanted)):
        section, _, key = name.partition(".")
        nested.setdefault(section, {})[key] = wanted[name]
    assert make_space(nested, objectives=objectives) == space


@pytest.mark.parametrize("objectives", OBJECTIVES, ids=lambda names: "+".join(names))
def test_a_space_survives_json_and_begins_at_the_defaults(objectives):
    base = make_config({"mel.fmin": 30, "tune.seed": 3})
    space = make_space(None, base=base, objectives=objectives)
    again = Space.from_json(json.loads(json.dumps(space.to_json())))
    assert again == space and str(again) == str(space)
    assert space.ask(FixedTrial({name: value_of(base, name) for name in names_of(space)})) == base
    assert len(str(space).splitlines()) == len(space.dimensions) + 1


def test_the_table_says_when_something_is_asked():
    space = make_space(None)
    rows = {row.split()[0]: row for row in str(space).splitlines()}
    drawn = [params for params, *_ in draw(space, 200)]
    for name in names_of(space):
        always = all(name in params for params in drawn)
        assert rows[name].endswith("always") == always
        assert any(name in params for params in drawn)
    for params in drawn:
        with_, view = params["embed.with"].split("+"), params.get("vision.view")
        assert ("musicnn.layer" in params) == ("musicnn" in with_)
        assert ("mel.n_mels" in params) == (not {"mfcc", "views"}.isdisjoint(with_) or view == "mel")
        assert ("picture.top_db" in params) == (view in ("mel", "fft"))
        assert ("fuse.mel" in params) == ("views" in with_ and params["neighbours.whiten"] is None)
        assert ("fuse.vision" in params) == (
            "vision" in with_ and len(with_) > 1 and params["neighbours.whiten"] is None
        )
    assert rows["mel.n_mels"].endswith("or vision or musicnn+vision (vision.view is mel)")
    assert rows["fuse.mel"].endswith("embed.with is views or musicnn+views+vision (neighbours.whiten is none)")


def test_branches_of_joined_embedders():
    wanted = {
        "embed.with": ["mfcc", "vision+musicnn"],
        "musicnn.layer": None,
        "fuse.musicnn": (0.5, 2.0),
        "neighbours.whiten": None,
    }
    space = make_space({**wanted, "neighbours.whiten": ["none", 8]})
    for params, *_ in draw(space, 40):
        joined = params["embed.with"] != "mfcc"
        assert ("musicnn.layer" in params) == joined
        assert ("fuse.musicnn" in params) == (joined and params["neighbours.whiten"] is None)
    with pytest.raises(SonicError, match="fuse.musicnn is read by nothing here: .*neighbours.whiten is 2"):
        make_space(wanted)  # a range without none: whitened in every trial


def test_everything_in_the_default_space_can_be_embedded():
    space = make_space(None)
    choices = {each.name: each.choices for each in space.dimensions}
    clip = Clip(np.random.default_rng(0).normal(0, 0.1, 22050).astype(np.float32), 22050)
    for n_fft in choices["stft.n_fft"]:
        for hop in choices["stft.hop_length"]:
            for bands in choices["mel.n_mels"]:
                config = make_config({"stft.n_fft": n_fft, "stft.hop_length": hop, "mel.n_mels": bands})
                for size in choices["mfcc.n_mfcc"]:
                    try:
                        found = make_embedder("mfcc", config=config, **{"mfcc.n_mfcc": size}).embed(clip)
                        assert found.shape == (size,)
                    except SonicError as error:
                        assert size == 104 and bands < 104 and "must be at most mel.n_mels" in str(error)
            assert np.isfinite(make_embedder("views", config=config).embed(clip)).all()
    most, lite0 = max(each for each in choices["neighbours.whiten"] if each), open_lite0()
    for layer in choices["vision.layer"]:
        for pooling in choices["vision.pooling"]:
            assert vector_size(lite0, layer=lite0.layer(layer), pooling=pooling) >= most
    assert min(choices["mfcc.n_mfcc"]) >= most


def test_own_ranges_are_those_of_the_sections():
    for name in TUNABLE:
        made, what = make_dimension(name), about(name)
        if made.choices:
            assert name == "embed.with" or made.choices == what.choices
        else:
            assert (made.low, made.high, made.log, made.whole) == (what.low, what.high, what.log, what.whole)
            assert type(made.low) is type(made.high) is (int if what.whole else float)
    assert {"mel.n_mels", "audio.duration", "vision.backbone"} - set(TUNABLE) == {"vision.backbone"}  # which is text
    assert make_dimension("vision.backbone", ["a", "b"]) == Dimension("vision.backbone", ("a", "b"))
    purposes = ("tune.", "bench.", "train.", "picture.w", "picture.h", "picture.f", "picture.c", "picture.q")
    assert not [name for name in TUNABLE if name.startswith(purposes) and name != "picture.floor_db"]


REFUSED = {
    "stft.n_fft: 8 to 64 goes beyond": {"stft.n_fft": (8, 64)},
    "mel.n_mels: 64 to 64 is no range": {"mel": {"n_mels": {"low": 64, "high": 64}}},
    "mel.fmin: log=True must be true or false, and true only": {"mel.fmin": {"low": 0.0, "high": 50.0, "log": True}},
    "mel.n_mels: heigh says nothing about a range": {"mel": {"n_mels": {"low": 4, "heigh": 64}}},
    "mel.n_mels=2000 must be a whole number between 1 and 1024 bands": {"mel.n_mels": [64, 2000]},
    "neighbours.hubs=no must be one of none, mutual": {"neighbours.hubs": ["no"]},
    "picture.quality cannot be tuned": {"picture.quality": None},
    "train.epochs cannot be tuned: a study trains no network": {"train": {"epochs": [1, 2]}},
    "network.weights cannot be tuned: it says which network": {"network.weights": ["a", "b"]},
    "hub.revision cannot be tuned: it says where": {"hub.revision": ["a"]},
    "no setting is called mels": {"mels": {"low": 1}},
    "no embedder is called ears": {"embed.with": ["mfcc+ears"]},
    "neighbours.twins is read by nothing here": {"neighbours.twins": None},
    "musicnn.layer is read by nothing here: embed.with is mfcc": {"embed.with": ["mfcc"], "musicnn.layer": None},
    "mel.n_mels is read by nothing here: embed.with is musicnn": {"embed.with": ["musicnn"], "mel.n_mels": None},
    "network.rows is read by nothing here": {"embed.with": ["sonic"], "network.rows": None},
    "the space is empty": {},
}  # fmt: skip


@pytest.mark.parametrize("says", REFUSED)
def test_wishes_that_cannot_be_met_are_refused_in_one_line(says):
    with pytest.raises(SonicError) as caught:
        make_space(REFUSED[says])
    assert str(caught.value).startswith(says) and "\n" not in str(caught.value)


def test_a_space_stands_in_a_file_beside_the_settings(tmp_path):
    file = tmp_path / "sonic.toml"
    plain = make_config({"mel.n_mels": 96, "embed.with": "musicnn"})
    text = config_text(plain)
    assert "space" not in tomllib.loads(text)
    file.write_text(text + "\n[space]\nmusicnn.layer = {}\n[space.musicnn2]\n", encoding="utf-8")
    assert read_config(file) == plain
    file.write_text(text + "\n[space]\nmusicnn.layer = {}\nneighbours.whiten = ['none', 8]\n", encoding="utf-8")
    assert read_config(file) == plain
    space = make_space(read_space(file), base=read_config(file))
    assert names_of(space) == {"musicnn.layer", "neighbours.whiten"} and space.base == plain
    file.write_text(text, encoding="utf-8")
    assert read_space(file) is None
