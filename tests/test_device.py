"""Networks on a graphics card: the vectors of the processor, one row for a fault, and learning that is as good.

PyTorch lets a card convolve with 10 of a number's 23 binary digits (TF32) unless it is told not to. On an H100, in
units of a vector's root mean square, numbers are then up to 2e-2 (vision), 6e-3 (musicnn) and 5e-4 (sonic) away from
the processor's, and others in each size of batch; in half precision 4e-2, 2e-2 and 2e-3, and as bfloat16 0.35 (vision)
and 1e-2 (sonic). With all digits it is 6e-6 at most; but musicnn, whose filters are as large as its pictures, then
seems to take a hundred times as long, so it keeps to TF32.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import nullcontext

import numpy as np
import pytest

CARD, RATE = "cuda", 22050
NAMES = ("vision", "musicnn", "sonic")
NEAR, COSINE = {"musicnn": 1e-2}, 0.9999  # of a root mean square, at most, and 1e-4 for others; at least
READERS = ("sasrec", "bert4rec", "shallow")


def driver_is_there():
    "Whether asking PyTorch, which takes seconds to answer, is worth it."
    try:
        return bool(ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"))
    except OSError:
        return False


@pytest.fixture(scope="module", autouse=True)
def torch():
    if not driver_is_there():
        pytest.skip("no graphics card")
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no graphics card")
    return torch


@pytest.fixture(scope="module")
def made(torch, tmp_path_factory):
    "Called with a name and a device: that embedder, which is the same on every device."
    from sonic.config import Config
    from sonic.tails import vision
    from sonic.tails.musicnn import Musicnn
    from sonic.tails.network import Checkpoint, Network, make, save_checkpoint
    from sonic.tails.tagger import Tagger, arrays_of

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network, tagger = Network(Config().network), Tagger()
        for norm in tagger.norms:
            norm.running_mean.normal_(std=0.1)
            norm.running_var.uniform_(0.5, 2)
    weights = tmp_path_factory.mktemp("network") / "network.safetensors"
    save_checkpoint(Checkpoint(Config(), network.state_dict(), (60.0,) * 4, (50.0,) * 4), weights)
    own, arrays = Config().replace(**{"network.weights": str(weights)}), arrays_of(tagger)
    makers = {
        "vision": lambda device: vision.make(Config(), device=device),
        "musicnn": lambda device: Musicnn(arrays=arrays, device=device),
        "sonic": lambda device: make(own, device=device),
    }
    return lambda name, device: makers[name](device)


def song(seconds, seed):
    "Four tones that come and go, and some noise."
    rng, time = np.random.default_rng(seed), np.arange(round(seconds * RATE)) / RATE
    tones = 110 * 2 ** (rng.integers(0, 48, 4) / 12)
    sound = sum(
        np.sin(2 * np.pi * hertz * time) * np.sin(np.pi * time * rate) ** 4
        for hertz, rate in zip(tones, rng.uniform(0.2, 3, 4), strict=True)
    )
    return (0.1 * sound + 0.01 * rng.normal(size=len(time))).astype(np.float32)


@pytest.fixture(scope="module")
def music(torch, tmp_path_factory):
    "Nine tracks from one second to forty-seven, one of which is silent, and one file that is none."
    import soundfile

    folder = tmp_path_factory.mktemp("music")
    for number, seconds in enumerate((1, 3.2, 10, 12.5, 47, 25, 31, 6)):
        soundfile.write(folder / f"{number}.wav", song(seconds, number), RATE)
    soundfile.write(folder / "silent.wav", np.zeros(4 * RATE), RATE)
    (folder / "none.wav").write_bytes(b"no sound at all")
    return folder


def run(music, embedder, **how):
    from sonic.tails.embed import embed

    return embed(music, with_=embedder, **{"device": CARD, "jobs": 1, "progress": False} | how)


def near(found, wanted, name=""):
    "Whether vectors are the same, but for rounding."
    cosines = (found * wanted).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)
    far = np.abs(found - wanted).max() / np.sqrt((wanted**2).mean())
    assert cosines.min() > COSINE and far < NEAR.get(name, 1e-4), (cosines.min(), far)


# ---- vectors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_card_gives_the_vectors_of_the_processor(made, music, name):
    there = run(music, made(name, "cpu"), device="cpu")
    here = run(music, made(name, CARD))
    assert here.ids == there.ids and len(here) == 9 and list(here.failed.index) == list(there.failed.index)
    assert (here.tracks[["status", "reason", "seconds"]] == there.tracks[["status", "reason", "seconds"]]).all(
        axis=None
    )
    assert here.recipe == there.recipe  # so that a run may go on elsewhere
    near(here.vectors, there.vectors, name)


@pytest.mark.parametrize("name", ["vision", "sonic"])
@pytest.mark.parametrize("allowed", [True, False])
def test_numbers_keep_their_digits_whatever_others_allow(torch, made, name, allowed, monkeypatch):
    from sonic.cream.audio import Clip

    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
    near(*(made(name, device).windows_of(Clip(song(47, 0), RATE)).vectors for device in (CARD, "cpu")))
    assert torch.backends.cudnn.allow_tf32 == allowed  # what they have set is theirs


@pytest.mark.parametrize("name", NAMES)
def test_the_same_bytes_again_in_any_company_and_by_any_number_of_processes(made, music, name):
    embedder = made(name, CARD)
    whole = run(music, embedder)
    for again in (run(music, embedder), run(music, embedder, jobs=3), run(music, made(name, CARD))):
        assert again.ids == whole.ids and again.vectors.tobytes() == whole.vectors.tobytes()
    for key in ("4", "silent"):
        (row,) = [row for row, name in enumerate(whole.ids) if key in name]
        alone = run(whole.tracks.reset_index()[["track_id", "path"]].iloc[[row]], embedder)
        assert alone.vectors.tobytes() == whole.vectors[row].tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_batches_change_nothing_but_rounding(made, music, name):
    embedder = made(name, CARD)
    whole = run(music, embedder)
    for batch in (1, 3, 1000):
        other = run(music, embedder, batch=batch)
        assert other.ids == whole.ids
        near(other.vectors, whole.vectors, name)


@pytest.mark.parametrize("name", ["vision", "sonic"])
def test_pictures_are_seen_alike(made, music, name, tmp_path):
    from sonic.cream.render import render

    render(music, tmp_path, jobs=0, progress=False)
    near(run(tmp_path, made(name, CARD)).vectors, run(tmp_path, made(name, "cpu"), device="cpu").vectors)


def test_by_name_it_runs_on_the_card(torch, music, tmp_path):
    from sonic.tails.embed import embed
    from sonic.tails.registry import find_device

    assert find_device() == CARD
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.max_memory_allocated()
    table = embed(music, tmp_path / "vectors.parquet", with_="vision", jobs=2, progress=False)
    assert len(table) == 9 and torch.cuda.max_memory_allocated() > before + 10e6
    again = embed(music, tmp_path / "vectors.parquet", with_="vision", jobs=2, device="cpu", progress=False)
    assert again.tracks.attrs["kept"] == 9 and (again.vectors == table.vectors).all()


# ---- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch", [1, 64])
def test_a_fault_on_the_card_costs_one_row(torch, made, music, name, batch):
    embedder = made(name, CARD)
    straight, forward = run(music, embedder, batch=batch), embedder.forward

    def memory_runs_out(windows):
        "Where the silent track is among the windows, there is more to hold than any card can."
        if np.ptp(windows, axis=(-2, -1)).reshape(len(windows), -1).max(axis=1).min() == 0:
            torch.empty(1 << 46, dtype=torch.uint8, device=CARD)
        return forward(windows)

    embedder.forward = memory_runs_out
    table = run(music, embedder, batch=batch)
    assert set(table.failed.index) - set(straight.failed.index) == set(straight.ids) - set(table.ids)
    assert len(table) == 8 and "silent" not in " ".join(table.ids)
    assert sum("memory" in reason for reason in table.failed["reason"]) == 1
    near(table.vectors, straight.vectors[[straight.ids.index(key) for key in table.ids]], name)


# ---- learning --------------------------------------------------------------------------------------------------------


def generators(torch, *, begin=True):
    "The states of what PyTorch draws from, which are odd ones at the beginning."
    if begin:
        torch.manual_seed(99)
        torch.rand(3, device=CARD)
    return [each.tolist() for each in (torch.get_rng_state(), torch.cuda.get_rng_state())]


def test_opening_networks_draws_nothing_of_others(torch, made):
    from sonic.tails.lite0 import _has_onednn

    _has_onednn.cache_clear()
    before = generators(torch)
    made("vision", "cpu").forward(np.zeros((1, 3, 224, 224), np.float32))
    assert generators(torch, begin=False) == before


def test_likeness_is_not_halved(torch):
    "Learning on a card is in bfloat16, which knows a cosine to two digits."
    from sonic.tails.objectives import known_again, nt_xent

    one = torch.randn(256, 32, device=CARD)
    other = one + 0.8 * torch.randn_like(one)
    told = []
    for half in (False, True):
        with torch.autocast(CARD, torch.bfloat16, enabled=half):
            told.append((float(nt_xent(one, other, temperature=0.1)), float(known_again(one, other))))
    assert told[0] == told[1]


@pytest.mark.parametrize("objective", ["contrast", "labels", "factors"])
def test_our_network_learns_as_well(torch, objective, tmp_path):
    from test_training import planted

    from sonic.tails.network import Sonic, open_checkpoint
    from sonic.tails.table import make_table
    from sonic.tails.training import train

    crops = planted(48, **{"train.objective": objective, "train.epochs": 12, "train.patience": 12})
    kinds = np.eye(3, dtype=np.float32)[np.arange(48) % 3]
    factors = make_table(kinds * 4 + 1, list(crops.tracks.index)) if objective == "factors" else None
    before = generators(torch)
    how = {"factors": factors, "progress": False}
    there, here = (train(crops, tmp_path / name, device=device, **how) for name, device in (("p", "cpu"), ("c", CARD)))
    assert generators(torch, begin=False) == before  # what others draw is left to them
    first, best = (here.history["validation"].loc[epoch] for epoch in (0, here.best))
    gained = there.history["validation"].loc[0] - there.history["validation"].loc[there.best]
    assert first == pytest.approx(there.history["validation"].loc[0], abs=0.05)
    assert first - best > 0.7 * gained > 0, (here.history, there.history)
    shown = list(crops.levels[:32])
    found, wanted = (
        Sonic(open_checkpoint(tmp_path / "c"), device=device).embed_prepared(shown) for device in (CARD, "cpu")
    )
    near(found, wanted)


def test_a_training_goes_on_wherever_it_was_begun(tmp_path):
    from test_training import planted

    from sonic.tails.training import train

    crops = planted(24)
    for number, devices in enumerate([("cpu", CARD), (CARD, "cpu"), (CARD, CARD)]):
        for device, stopped in zip(devices, (True, False), strict=True):
            last = None
            with pytest.raises(KeyboardInterrupt) if stopped else nullcontext():
                with pytest.MonkeyPatch.context() as patch:
                    if stopped:
                        stop_after(2, patch)
                    last = train(crops, tmp_path / str(number), device=device, progress=False)
        assert list(last.history.index) == [0, 1, 2, 3, 4] and np.isfinite(last.history["validation"]).all()


def stop_after(epochs, patch):
    "Somebody stops the training in its next epoch."
    from sonic.tails.learner import Learner

    teach = Learner.teach

    def once(self, epoch, told):
        if epoch > epochs:
            raise KeyboardInterrupt
        return teach(self, epoch, told)

    patch.setattr(Learner, "teach", once)


@pytest.mark.parametrize("name", [*READERS, "elsa"])
def test_recommenders_learn_as_well(torch, name):
    from test_sequence import histories, on_ring, ring, small

    from sonic.rouge.registry import recommender_class

    world, (lists, following) = histories(ring(300, 0)[0]), ring(200, 1)
    strangers, hits, kind = histories(lists), {}, recommender_class(name)
    config = small(epochs=16).replace(**{"recommend.factors": 16, "recommend.iterations": 20})
    for device in ("cpu", CARD):
        before = generators(torch)
        each = kind(config, seed=1, device=device).fit(world, sound=on_ring() if name != "elsa" else None)
        assert generators(torch, begin=False) == before
        hits[device] = (each.recommend(strangers, k=5).columns == following[:, None]).any(axis=1).mean()
    assert hits[CARD] > hits["cpu"] - (0.3 if name == "shallow" else 0.1), hits  # which is 0.5 to 0.8 by its seed
    assert hits[CARD] > 0.35  # by chance: 5 of 40
    assert all(isinstance(part, np.ndarray) for part in each.state.values())
    moved = kind(config, device="cpu")
    moved.state, moved.tracks = each.state, each.tracks
    np.testing.assert_allclose(moved.scores(strangers), each.scores(strangers), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", [*READERS, "elsa"])
def test_chance_is_the_seed_on_the_card_too(torch, name):
    from test_sequence import histories, on_ring, ring, small

    from sonic.rouge.registry import recommender_class

    world, states = histories(ring(100, 0)[0]), []
    for noise in (1, 2):
        torch.manual_seed(noise)
        config = small(epochs=2).replace(**{"recommend.iterations": 3})
        made = recommender_class(name)(config, seed=1, device=CARD)
        states.append(made.fit(world, sound=on_ring() if name != "elsa" else None).state)
    for part in states[0]:
        np.testing.assert_allclose(states[0][part], states[1][part], atol=1e-3, err_msg=part)
