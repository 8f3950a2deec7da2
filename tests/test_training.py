"Our own network and its training: what it learns, from whom, and that it can be stopped anywhere."

import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sonic.config import Config
from sonic.cream.audio import load
from sonic.cream.imageset import open_images
from sonic.cream.render import render
from sonic.sections import SonicError
from sonic.tails import crops as crops_module
from sonic.tails import learner as learner_module
from sonic.tails import training
from sonic.tails.crops import Crops, read_crops
from sonic.tails.learner import Learner, make_task
from sonic.tails.network import Network, Sonic, make, open_checkpoint
from sonic.tails.objectives import nt_xent
from sonic.tails.table import make_table
from sonic.tails.training import train

TINY = {
    "network.rows": 16, "network.columns": 16, "network.channels": 4, "network.blocks": 2, "network.size": 16,
    "train.batch": 8, "train.epochs": 4, "train.learning_rate": 0.01,
}  # fmt: skip
WRITTEN = ("network.safetensors", "state.safetensors", "losses.csv", "losses.png", "tracks.csv")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def no_curves(request, monkeypatch):
    "To draw them takes longer than so small a training; where bytes are compared they are drawn."
    if request.function is not test_the_seed_decides_everything:

        def draw(out, history, *, objective):
            (out / "losses.png").write_text(f"{objective} {[sorted(row.items()) for row in history]}")

        monkeypatch.setattr(training, "_write_losses", draw)


def planted(tracks=24, *, classes=3, each=3, seed=0, labels=None, **settings):
    "Noise with a bright stripe, at the same height in all crops of a track; a class has a third of the heights."
    rng = np.random.default_rng(seed)
    kind = np.arange(tracks) % classes
    levels = rng.integers(0, 90, (tracks * each, 4, 16, 16), np.uint8)
    for crop, track in enumerate(np.repeat(np.arange(tracks), each)):
        levels[crop, :, kind[track] * 5 + (track // classes) % 4] += 140
    table = pd.DataFrame({"genre": np.array(list("abcdef"))[kind]}, index=pd.Index([f"t{n}" for n in range(tracks)]))
    table.index.name = "track_id"
    table = table.assign(**(labels or {}))
    return Crops(levels, np.repeat(np.arange(tracks), each), table, Config().replace(**{**TINY, **settings}), table[:0])


def files(folder):
    return {name: (folder / name).read_bytes() for name in WRITTEN}


# ---- what is learned -------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 9), size=st.integers(1, 12), temperature=st.floats(0.05, 5), seed=st.integers(0, 99))
def test_the_contrast_is_that_of_the_paper(n, size, temperature, seed):
    one, other = np.random.default_rng(seed).normal(size=(2, n, size))
    z = [v / np.linalg.norm(v) for v in [*one, *other]]
    total = 0.0
    for i in range(2 * n):
        j = i + n if i < n else i - n
        terms = [np.exp(z[i] @ z[k] / temperature) for k in range(2 * n) if k != i]
        total -= np.log(np.exp(z[i] @ z[j] / temperature) / sum(terms))
    found = float(nt_xent(torch.tensor(one), torch.tensor(other), temperature=temperature))
    assert found == pytest.approx(total / (2 * n), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("objective", ["contrast", "labels"])
def test_a_batch_can_be_learned_by_heart(objective):
    crops = planted(8, **{"train.objective": objective, "train.mask": 0, "train.gain": 0, "train.epochs": 40})
    rows = np.arange(8)
    pupil = Learner(crops, make_task(crops), teach=rows, validate=rows, device="cpu")
    first = pupil.validate()
    for epoch in range(1, 41):
        pupil.teach(epoch)
    loss, score = pupil.validate()
    assert score == 1 and loss < first[0] / 4, (first, loss, score)


def test_labels_are_told_of_tracks_not_met_and_only_if_they_are_theirs(tmp_path):
    crops = planted(36, **{"train.objective": "labels", "train.epochs": 10})
    right = train(crops, tmp_path / "right", progress=False)
    assert right.history.loc[right.best, "score"] >= 0.95
    for odd in (  # rows of levels and of labels that do not belong together
        replace(crops, track=np.random.default_rng(0).permutation(crops.track)),
        replace(crops, tracks=crops.tracks.assign(genre=np.random.default_rng(0).permutation(crops.tracks["genre"]))),
    ):
        wrong = train(odd, tmp_path / f"wrong{id(odd)}", progress=False)
        assert wrong.history.loc[wrong.best, "score"] < 0.75


def test_planted_factors_are_met_by_sound_alone(tmp_path):
    rng = np.random.default_rng(1)
    hidden = rng.uniform(-1, 1, (48, 2))
    crops = planted(48, **{"train.objective": "factors", "train.epochs": 20, "train.patience": 20, "train.gain": 0})
    levels = rng.integers(0, 60, crops.levels.shape).astype(float)
    for half in (0, 1):  # how bright the upper and the lower half are
        levels[:, :, half * 8 : half * 8 + 8] += 90 * (1 + hidden[crops.track, half])[:, None, None, None]
    crops = replace(crops, levels=levels.clip(0, 255).astype(np.uint8))
    mixture = np.float32(hidden @ rng.normal(size=(2, 5)) * 7 + 3)  # five factors, a linear mixture of the two
    ids = list(crops.tracks.index)
    met = train(crops, tmp_path / "met", factors=make_table(mixture, ids), progress=False)
    shuffled = make_table(mixture[rng.permutation(48)], ids)
    chance = train(crops, tmp_path / "chance", factors=shuffled, progress=False)
    assert met.history["validation"].min() < 0.15 and met.history.loc[met.best, "score"] > 0.9
    assert chance.history["validation"].min() > 0.7 and chance.history.loc[chance.best, "score"] < 0.6

    other = rng.permutation(48)  # the same table in another order is the same table
    table = make_table(mixture[other], [ids[row] for row in other])
    train(crops, tmp_path / "ordered", factors=table, progress=False)
    assert files(tmp_path / "ordered") == files(tmp_path / "met")

    embedder = Sonic(open_checkpoint(tmp_path / "met"), layer="head")
    found = embedder.embed_prepared(list(crops.levels[::3]))
    assert embedder.contract.parts[4] == ("factor 4", 1)
    assert np.corrcoef(found.ravel(), mixture.ravel())[0, 1] > 0.95  # in the units of the table
    assert np.abs(found - mixture).mean() < 0.25 * np.abs(mixture - mixture.mean(axis=0)).mean()


def test_probabilities_of_classes_by_name(tmp_path):
    crops = planted(36, **{"train.objective": "labels", "train.epochs": 10})
    train(crops, tmp_path, progress=False)
    embedder = Sonic(open_checkpoint(tmp_path), layer="head")
    told = embedder.embed_prepared(list(crops.levels))
    assert embedder.contract.parts == (("a", 1), ("b", 1), ("c", 1))
    assert told.sum(axis=1) == pytest.approx(np.ones(len(told)), abs=1e-5)
    assert np.mean(np.array(list("abc"))[told.argmax(axis=1)] == crops.tracks["genre"].to_numpy()[crops.track]) > 0.95


# ---- from whom -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["contrast", "labels"])
def test_no_track_that_validates_is_ever_taught(tmp_path, monkeypatch, objective):
    crops = planted(24, labels={"artist": [f"artist {n // 3 // 2}" for n in range(24)]})
    crops = replace(
        crops, config=crops.config.replace(**{"train.objective": objective, "train.mask": 0, "train.gain": 0})
    )
    crops.levels[:] = np.arange(72, dtype=np.uint8)[:, None, None, None] * 3  # each crop has a level of its own
    seen = {True: set(), False: set()}
    forward = Network.forward

    def spy(network, pictures):
        levels = pictures[:, 0].mean(dim=(1, 2)) * pupil[0].std[0] + pupil[0].mean[0]
        seen[network.training] |= {round(float(level) / 3) // 3 for level in levels}
        return forward(network, pictures)

    pupil = []
    monkeypatch.setattr(Network, "forward", spy)
    monkeypatch.setattr(
        Learner, "__init__", lambda self, *a, init=Learner.__init__, **k: (init(self, *a, **k), pupil.append(self))[0]
    )
    train(crops, tmp_path, progress=False)
    roles = pd.read_csv(tmp_path / "tracks.csv").set_index("track_id")["role"]
    taught, held = ({int(name[1:]) for name in roles.index[roles == role]} for role in ("teaches", "validates"))
    assert seen == {True: taught, False: held}
    assert not taught & held and len(held) >= 2
    artists = [{n // 3 // 2 for n in rows} for rows in (taught, held)]
    assert not artists[0] & artists[1]
    counts = np.bincount(crops.levels[np.isin(crops.track, list(taught))].ravel(), minlength=256)
    assert pupil[0].mean[0] == pytest.approx(counts @ np.arange(256) / counts.sum())  # nor do they set the scale


def test_tracks_kept_for_tests_are_touched_by_nobody(tmp_path):
    split = ["training", "validation", "test"] * 8
    crops = planted(24, labels={"split": split})
    blank = np.where(np.isin(crops.track, np.arange(2, 24, 3))[:, None, None, None], 0, crops.levels).astype(np.uint8)
    train(crops, tmp_path / "one", progress=False)
    train(replace(crops, levels=blank), tmp_path / "other", progress=False)
    name = "network.safetensors"
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    roles = pd.read_csv(tmp_path / "one" / "tracks.csv").set_index("track_id")
    assert roles["role"].value_counts().to_dict() == {"teaches": 8, "validates": 8, "left out": 8}
    assert set(roles["reason"].dropna()) == {"kept for tests"}


def test_of_a_view_that_is_the_same_in_all_crops_only_one_is_shown(tmp_path, monkeypatch):
    crops = replace(planted(), whole=("fft",))
    pairs, ask = [], learner_module.contrast_loss

    def spy(network, pictures, *, settings, whole):
        assert list(whole) == [2]
        pairs.append((pictures != 0).any(dim=3).any(dim=2).reshape(2, -1, 4))
        return ask(network, pictures, settings=settings, whole=whole)

    monkeypatch.setattr(learner_module, "contrast_loss", spy)
    train(crops, tmp_path, progress=False)
    shown = torch.cat(pairs, dim=1)
    assert (shown[:, :, 2].sum(dim=0) == 1).all() and shown[:, :, [0, 1, 3]].all()
    assert 0.2 < shown[0, :, 2].float().mean() < 0.8


# ---- the same again --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["contrast", "labels"])
def test_the_seed_decides_everything(tmp_path, objective):
    crops = planted(**{"train.objective": objective})
    torch.manual_seed(1)
    train(crops, tmp_path / "one", progress=False)
    torch.manual_seed(2)  # what others do to the seed of PyTorch does not matter
    before = torch.random.get_rng_state()
    train(crops, tmp_path / "again", progress=False)
    assert (torch.random.get_rng_state() == before).all()  # nor is it touched
    train(crops, tmp_path / "other", progress=False, **{"train.seed": 1})
    assert files(tmp_path / "one") == files(tmp_path / "again")
    assert files(tmp_path / "one")["network.safetensors"] != files(tmp_path / "other")["network.safetensors"]


@pytest.mark.parametrize("moment", ["step", "validate", "save_checkpoint", "_write_state", "after"])
def test_stopped_anywhere_it_ends_with_the_same_bytes(tmp_path, monkeypatch, moment):
    crops = planted(**{"train.epochs": 5})
    train(crops, tmp_path / "straight", progress=False)
    owner, name = {
        "step": (torch.optim.AdamW, "step"), "validate": (Learner, "validate"), "after": (pd.DataFrame, "to_csv"),
    }.get(moment, (training, moment))  # fmt: skip
    calls, plain = [0], getattr(owner, name)

    def stop(*args, **kwargs):
        calls[0] += 1
        if calls[0] == {"step": 8, "save_checkpoint": 2}.get(moment, 4):
            raise KeyboardInterrupt
        return plain(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, stop)
        with pytest.raises(KeyboardInterrupt, match=r"stopped after epoch \d of 5; .*; the same command goes on"):
            train(crops, tmp_path / "stopped", progress=False)
    assert make(Config().replace(**{"network.weights": str(tmp_path / "stopped")})).contract.size == 16  # usable
    train(crops, tmp_path / "stopped", progress=False)
    assert files(tmp_path / "stopped") == files(tmp_path / "straight")


SCRIPT = """
import numpy as np, pandas as pd
from sonic.config import Config
from sonic.tails.crops import Crops
from sonic.tails.training import train
names = pd.DataFrame(index=pd.Index([str(n) for n in range(12)], name="track_id"))
noise = np.random.default_rng(0).integers(0, 256, (24, 4, 16, 16), np.uint8)
try:
    train(Crops(noise, np.arange(24) // 2, names, Config().replace(**{settings}), names[:0]), {out!r}, progress=False)
except KeyboardInterrupt as stopped:
    print(stopped)
"""


def test_a_real_ctrl_c(tmp_path):
    code = SCRIPT.format(settings={**TINY, "train.epochs": 400, "train.patience": 400}, out=str(tmp_path))
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "network.safetensors").exists():
        assert run.poll() is None and time.monotonic() < deadline, run.communicate()
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    told, complaint = run.communicate(timeout=60)
    assert "the same command goes on" in told and "of 400" in told, (told, complaint)
    assert open_checkpoint(tmp_path).config.train.epochs == 400
    assert not [path for path in tmp_path.iterdir() if path.name not in WRITTEN]  # nothing half written


def test_processes_and_their_order_do_not_matter(tmp_path, monkeypatch):
    music = tmp_path / "music"
    music.mkdir()
    for number in range(6):  # the first takes longest
        sound = np.random.default_rng(number).normal(0, 0.1, 22050 * (8 if number == 0 else 3))
        soundfile.write(music / f"{number}.wav", sound * np.linspace(0.1, 1, len(sound)), 22050)
    small = {**TINY, "network.window": 1, "train.epochs": 2, "train.validation": 0.4, "train.crops": 4}
    for jobs in (1, 2):
        train(music, tmp_path / str(jobs), jobs=jobs, progress=False, **small)
    assert files(tmp_path / "1") == files(tmp_path / "2")

    one, run = read_crops(music, jobs=0, progress=False, **small), crops_module.run
    monkeypatch.setattr(crops_module, "run", lambda *args, **more: reversed([*run(*args, **more)]))
    other = read_crops(music, jobs=0, progress=False, **small)  # the last comes first
    for row in range(6):
        assert (one.levels[one.of([row])[0]] == other.levels[other.of([row])[0]]).all()
    train(music, tmp_path / "3", jobs=0, progress=False, **small)
    assert files(tmp_path / "1") == files(tmp_path / "3")


# ---- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_ends_it_and_what_was_learned_stays(tmp_path, monkeypatch):
    crops, ask, calls = planted(**{"train.epochs": 3}), learner_module.contrast_loss, [0]

    def spoilt(*args, **kwargs):
        calls[0] += 1
        loss, score = ask(*args, **kwargs)
        return (loss * torch.nan, score) if calls[0] > 12 else (loss, score)

    with monkeypatch.context() as patch:
        patch.setattr(learner_module, "contrast_loss", spoilt)
        with pytest.raises(SonicError, match="the loss is nan: .*smaller train.learning_rate than 0.01"):
            train(crops, tmp_path, progress=False)
    assert all(torch.isfinite(each).all() for each in open_checkpoint(tmp_path).tensors.values())
    assert len(pd.read_csv(tmp_path / "losses.csv")) >= 2


def test_it_ends_when_nothing_gets_better(tmp_path, monkeypatch):
    losses = iter([5.0, 4, 3, 2, 2.5, 2.6, 2.7, 1])
    monkeypatch.setattr(Learner, "validate", lambda self: (next(losses), 0.5))
    done = train(planted(**{"train.epochs": 7, "train.patience": 3}), tmp_path, progress=False)
    assert (done.best, len(done.history) - 1) == (3, 6)


def test_the_best_network_is_kept_and_not_the_last(tmp_path, monkeypatch):
    crops, kept = planted(**{"train.epochs": 4}), []
    losses = iter([5.0, 4, 3, 3.5, 3.6])
    monkeypatch.setattr(
        Learner,
        "validate",
        lambda self: (
            kept.append(
                self.checkpoint().tensors["head.weight" if self.network.head else "join.0.weight"].clone().cpu()
            ),
            (next(losses), 0.5),
        )[1],
    )
    train(crops, tmp_path, progress=False)
    found = open_checkpoint(tmp_path).tensors["join.0.weight"]
    assert [bool((found == each).all()) for each in kept] == [False, False, True, False, False]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            {"train.objective": "labels", "train.label": "mood"},
            "train.label=mood is no column of the tracks; there are genre",
        ),
        ({"train.objective": "factors"}, "needs a table of factors"),
        ({"network.size": 18}, "network.size=18 must be a multiple of the number of views, 4"),
        ({"network.rows": 32}, "network.rows=32, but the crops were made with 16"),
        ({"network.views": "mel,fft"}, "network.views=mel,fft, but the crops were made with"),
    ],
)
def test_what_cannot_be_trained_is_said(tmp_path, change, complaint):
    with pytest.raises(SonicError, match=complaint):
        train(planted(), tmp_path / "new", progress=False, **change)
    assert not (tmp_path / "new").exists()


def test_few_tracks_and_lost_files_are_said(tmp_path):
    with pytest.raises(SonicError, match="3 tracks are too few to teach and to validate"):
        train(planted(3), tmp_path, progress=False)
    crops = planted()
    lost = pd.DataFrame({"reason": ["no sound"]}, index=pd.Index(["gone"], name="track_id"))
    train(replace(crops, failed=lost), tmp_path, progress=False)
    assert pd.read_csv(tmp_path / "tracks.csv").set_index("track_id").loc["gone"].tolist() == ["left out", "no sound"]


def test_a_spoilt_state_is_said_and_can_be_left_behind(tmp_path):
    crops = planted()
    train(crops, tmp_path, progress=False)
    before = files(tmp_path)
    (tmp_path / "state.safetensors").write_bytes(before["state.safetensors"][:-50])
    with pytest.raises(SonicError, match="state.safetensors cannot be read"):
        train(crops, tmp_path, progress=False)
    train(crops, tmp_path, progress=False, resume=False)
    assert files(tmp_path) == before


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(SonicError, match="taken.* cannot be written"):
        train(planted(), tmp_path / "taken", progress=False)


def test_the_bar_shows_the_loss(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    train(planted(), tmp_path, progress=True)
    told = capsys.readouterr().err
    assert "Training, loss" in told and "epoch 4" in told


# ---- one way of seeing -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    "Six sounds of two seconds, drawn in the network's own size and in another, and a network trained on them."
    folder = tmp_path_factory.mktemp("songs")
    time_, rng = np.arange(44100) / 22050, np.random.default_rng(0)
    (folder / "music").mkdir()
    for number in range(6):
        tone = sum(np.sin(2 * np.pi * 220 * 2 ** (number / 6) * k * time_) / k for k in (1, 2, 3))
        pulse = (time_ % (0.2 + 0.05 * number) < 0.04) * rng.normal(0, 1, len(time_))
        soundfile.write(folder / "music" / f"{number}.wav", 0.1 * tone + 0.3 * pulse, 22050)
    config = Config().replace(
        **{**TINY, "network.window": 2, "network.rows": 24, "network.columns": 32, "train.validation": 0.4}
    )
    for name, width, height in (("own", 32, 24), ("large", 160, 96)):
        render(
            folder / "music",
            folder / name,
            jobs=0,
            progress=False,
            **{"picture.width": width, "picture.height": height},
        )
    train(folder / "own", folder / "network", config=config, jobs=0, progress=False)
    return folder, config


def test_sound_and_pictures_give_one_vector(songs):
    folder, _ = songs
    embedder = make(Config().replace(**{"network.weights": str(folder / "network")}))
    own, large = open_images(folder / "own"), open_images(folder / "large")
    heard, vectors = [], {"own": [], "large": []}
    for track_id, row in own.tracks.iterrows():
        heard.append(embedder.embed(load(row["path"])))
        for name, images in (("own", own), ("large", large)):
            levels = {view: images.levels(view, track_id) for view in images.views}
            vectors[name].append(embedder.embed_pictures(levels, seconds=row["seconds"]))
            turned = embedder.embed_pictures(dict(reversed(levels.items())), seconds=row["seconds"])
            assert (turned == vectors[name][-1]).all()  # views go by their names
            odd = {**levels, "mel": levels["chroma"], "chroma": levels["mel"]}
            assert np.abs(embedder.embed_pictures(odd, seconds=row["seconds"]) - turned).max() > 0.01
    heard = np.array(heard)
    assert np.abs(np.array(vectors["own"]) - heard).max() < 1e-5
    middle = heard.mean(axis=0)
    a, b = (v - middle for v in (np.array(vectors["large"]), heard))
    alike = (a @ b.T) / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
    assert (alike.argmax(axis=1) == np.arange(6)).all() and alike.diagonal().min() > 0.7


def test_crops_of_sound_and_of_pictures_are_the_same(songs):
    folder, config = songs
    heard = read_crops(folder / "music", config=config, jobs=0, progress=False)
    drawn = read_crops(folder / "own", config=config, jobs=0, progress=False)
    assert (heard.levels == drawn.levels).all() and (heard.track == drawn.track).all()
    assert list(heard.tracks.index) == list(drawn.tracks.index)
    assert (heard.whole, drawn.whole) == ((), ("fft",))


def test_a_vector_is_the_mean_over_windows_to_the_very_end(songs):
    folder, config = songs
    embedder = make(config.replace(**{"network.weights": str(folder / "network"), "network.stride": 1}))
    sound = np.random.default_rng(0).normal(0, 0.1, 5 * 22050 + 11025).astype(np.float32)
    sound[-11025:] = 0.5 * np.sin(np.arange(11025) / 5)  # something new in the last half second
    clip = replace(load(folder / "music" / "0.wav"), samples=sound)
    starts = [0, 1, 2, 3, 3.5]
    each = [embedder.embed(replace(clip, samples=sound[int(at * 22050) : int((at + 2) * 22050)])) for at in starts]
    assert embedder.embed(clip) == pytest.approx(np.average(each, axis=0, weights=[1, 1, 1, 1, 0.5]), abs=1e-5)
