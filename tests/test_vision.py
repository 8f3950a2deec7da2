"Pictures seen by networks: oracles of the weights, the mistakes that must show, nothing unseen, nothing fetched."

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images

from sonic.config import Config, SonicError
from sonic.cream.audio import Clip
from sonic.cream.views import VIEWS
from sonic.models import VisionSettings
from sonic.tails import vision, zoo
from sonic.tails.backbone import pooled
from sonic.tails.lite0 import open_lite0
from sonic.tails.weights import load_weights

PALACE, DAISY = 698, 985  # of ImageNet
RATE = 22050


def settings(**changes):
    return Config().replace(vision=changes)


@pytest.fixture(scope="module")
def eyes():
    return vision.make(Config())


@pytest.fixture(scope="module")
def small():
    "A small network, two seconds at a time."
    return vision.make(settings(backbone="test_convnext", weights="random", window=2, stride=2))


def noise(seconds, seed=0):
    return (np.random.default_rng(seed).normal(size=round(seconds * RATE)) * 0.1).astype(np.float32)


# ---- the weights are what they claim to be ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photographs():
    "A palace and a daisy, levels from 0 to 255."
    found = []
    for photo in map(Image.fromarray, load_sample_images().images):
        left = (photo.width - photo.height) // 2
        found.append(np.asarray(photo.crop((left, 0, left + photo.height, photo.height)).resize((224, 224))))
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).float()


def classes(pictures):
    "What the network and the head that it came with see, and how surely."
    head = load_weights("efficientnet-lite0")
    with torch.inference_mode():
        places, token = open_lite0().model(pictures, 7)
    seen = pooled(places, token, pooling="mean")
    shares = torch.softmax(seen @ torch.from_numpy(head["_fc.weight"]).T + torch.from_numpy(head["_fc.bias"]), 1)
    return shares.argmax(1).tolist(), shares.amax(1).tolist()


def test_a_palace_and_a_daisy(photographs):
    network = open_lite0()
    found, shares = classes((photographs - network.mean[0]) / network.std[0])
    assert found == [PALACE, DAISY]
    assert min(shares) > 0.2


@pytest.mark.parametrize(
    "wrong",
    [
        lambda levels: levels,  # not normalised
        lambda levels: (levels / 255 - 127) / 128,  # from 0 to 1
        lambda levels: (levels - 255 * 0.449) / (255 * 0.226),  # the mean and deviation of other networks
        lambda levels: ((levels - 127) / 128).flip(2),  # upside down
        lambda levels: ((levels - 127) / 128 - 127) / 128,  # normalised twice
    ],
)
def test_shown_wrongly_they_are_something_else(photographs, wrong):
    found, _ = classes(wrong(photographs))
    assert found != [PALACE, DAISY]


def test_folding_changes_nothing(photographs):
    "The network of timm, filled from the same file, with its normalisations."
    theirs = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    arrays = {name: value for name, value in load_weights("efficientnet-lite0").items() if "num_batches" not in name}
    names = [name for name in theirs.state_dict() if "num_batches" not in name]
    values = [torch.from_numpy(value) for name, value in arrays.items() if not name.startswith("_fc")]
    theirs.load_state_dict(dict(zip(names, values, strict=True)), strict=False)
    pictures = (torch.cat([photographs, photographs.flip(3), torch.full((1, 3, 224, 224), 127.0)]) - 127) / 128
    with torch.inference_mode():
        expected = theirs(pictures)
        seen = pooled(*open_lite0().model(pictures, 7), pooling="mean")
    torch.testing.assert_close(seen, expected, atol=1e-4, rtol=0)


# ---- what is shown ---------------------------------------------------------------------------------------------------


def test_the_default_brings_in_no_timm():
    code = (
        "import sys; from sonic.config import Config; from sonic.tails import vision; vision.make(Config()); "
        "print(*{'timm', 'torchvision', 'transformers', 'librosa', 'matplotlib', 'sklearn', 'pandas'} & {*sys.modules})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


@pytest.mark.parametrize("name", VIEWS)
def test_only_the_view_that_is_wanted_is_computed(small, name, monkeypatch):
    def forbidden(spectrum):
        raise AssertionError("nobody asked for this view")

    for other in VIEWS.keys() - {name}:
        monkeypatch.setitem(VIEWS, other, forbidden)
    one = vision.Vision(small.backbone, config=settings(view=name, window=2, stride=2))
    shown = one.prepare(noise(2))
    assert shown.shape == (3, 160, 160) and shown.dtype == np.uint8
    assert (shown[0] == shown[1]).all() and (shown[0] == shown[2]).all() and shown.max() > 100


def test_pictures_are_those_of_the_picture_room(small):
    from sonic.cream.picture import picture
    from sonic.cream.views import mel

    drawn = picture(mel(Clip(noise(2), RATE)), **{"picture.width": 160, "picture.height": 160})
    assert (small.prepare(noise(2))[1] == drawn.levels).all()


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_a_tone_is_the_same_at_every_rate(small, rate):
    def heard(rate, hertz=440.0):
        time = np.arange(4 * rate) / rate
        return small.embed(Clip((0.3 * np.sin(2 * np.pi * hertz * time) * np.exp(-time)).astype(np.float32), rate))

    here, there, other = heard(RATE), heard(rate), heard(RATE, hertz=660.0)
    assert np.linalg.norm(here - there) < 0.2 * np.linalg.norm(here - other)


# ---- nothing is unseen -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [1.2, 2.0, 3.1, 4.9, 6.0])
@pytest.mark.parametrize("stride", [0.7, 1.0, 2.0])
def test_every_part_of_the_sound_is_seen(small, seconds, stride):
    embedder = vision.Vision(small.backbone, config=settings(window=2, stride=stride))
    quiet, total = noise(seconds) * 0.01, round(seconds * RATE)
    before = embedder.windows_of(Clip(quiet, RATE))
    assert before.starts[-1] + 2 == pytest.approx(max(seconds, 2.0), abs=1e-3)
    for at in np.linspace(0, total - 400, 5).astype(int):
        loud = quiet.copy()
        loud[at : at + 400] += noise(400 / RATE, seed=1) * 5
        assert np.abs(embedder.windows_of(Clip(loud, RATE)).vectors - before.vectors).max() > 1e-3, at


@pytest.mark.parametrize("width", [40, 159, 160, 161, 240, 488])
def test_every_part_of_a_picture_is_seen(small, width):
    levels = np.random.default_rng(0).integers(0, 100, (160, width)).astype(np.uint8)
    before = small.embed_pictures({"mel": levels})
    for at in np.linspace(0, width - 8, 6).astype(int):
        changed = levels.copy()
        changed[:, at : at + 8] = 255
        assert np.abs(small.embed_pictures({"mel": changed}) - before).max() > 1e-4, at


def test_pictures_of_any_height_fill_the_network(small):
    for height in (64, 160, 244):
        parts = small.prepare_pictures(
            {"mel": np.full((height, 3 * height), 80, np.uint8), "fft": np.zeros((2, 2), np.uint8)}
        )
        assert {part.shape for _, part in parts} == {(3, 160, 160)}
        assert {int(level) for _, part in parts for level in np.unique(part)} == {80}
        assert [weight for weight, _ in parts] == [1.0] * 5  # every half of a square


def test_batches_change_nothing(eyes):
    clip = Clip(noise(47), RATE)
    alone = eyes.embed(clip, batch=1)
    for batch in (2, 3, 16):
        np.testing.assert_allclose(eyes.embed(clip, batch=batch), alone, atol=1e-5)
    assert (eyes.embed(clip, batch=8) == eyes.embed(clip, batch=8)).all()


# ---- networks of timm ------------------------------------------------------------------------------------------------

TINY = {"img_size": 32, "embed_dim": 24, "depth": 3, "num_heads": 2}


def tiny(name):
    "A transformer of timm made small."
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0, pretrained_cfg_overlay={"input_size": (3, 32, 32)}, **TINY).eval()
    return zoo._timm(name, model, "", ""), model


@pytest.mark.parametrize(("name", "extra"), [("vit_tiny_patch16_224", 1), ("vit_small_patch16_dinov3", 5)])
def test_tokens_and_places_of_a_transformer(name, extra):
    "Against hooks on timm's own blocks. Tokens that stand for no place are left out of the mean."
    backbone, model = tiny(name)
    pictures, seen = torch.randn(2, 3, 32, 32), {}
    for number, block in enumerate(model.blocks):
        block.register_forward_hook(lambda _, __, answer, number=number: seen.update({number: answer}))
    with torch.inference_mode():
        seen[3] = model.forward_features(pictures)
        assert backbone.sizes == (24,) * 4 and backbone.layer(-1) == 3
        for layer in range(4):
            places, token = backbone.model(pictures, layer)
            torch.testing.assert_close(places.flatten(1, 2), seen[layer][:, extra:])
            torch.testing.assert_close(token, seen[layer][:, 0])
            assert places.shape[1:3] == (2, 2)


def test_layers_and_poolings_differ():
    backbone, _ = tiny("vit_tiny_patch16_224")
    vectors = {}
    for layer in (0, 1, -1):
        for pooling in ("rows", "mean", "max", "meanmax", "token"):
            embedder = vision.Vision(backbone, config=settings(window=2, stride=2, layer=layer, pooling=pooling))
            vectors[layer, pooling] = embedder.embed(Clip(noise(2), RATE))
            assert vectors[layer, pooling].shape == (48 if pooling in ("meanmax", "rows") else 24,)
    for layer in (0, 1, -1):
        both = np.concatenate([vectors[layer, "mean"], vectors[layer, "max"]])
        np.testing.assert_allclose(vectors[layer, "meanmax"], both, atol=1e-5)
        np.testing.assert_allclose(vectors[layer, "rows"].reshape(2, 24).mean(0), vectors[layer, "mean"], atol=1e-5)
    distinct = [vector for vector in vectors.values() if len(vector) == 24]
    assert all(np.abs(a - b).max() > 1e-3 for n, a in enumerate(distinct) for b in distinct[:n])


@pytest.mark.parametrize("name", sorted(set(timm.list_models("test_*")) - {"test_vit4", "test_vit3", "test_maxvit"}))
def test_networks_of_every_make(name):
    "What timm says of channels is what comes out, first or last, and so every layer can be taken."
    backbone = zoo.open_timm(VisionSettings(backbone=name, weights="random"))
    assert len(backbone.mean) == 3 and 100 < backbone.mean[0] < 130 and 50 < backbone.std[0] < 130  # of levels to 255
    pictures = torch.randn(1, 3, *backbone.pixels)
    with torch.inference_mode():
        for layer in (0, len(backbone.sizes) - 1):
            places, _ = backbone.model(pictures, layer)
            assert places.shape[1::2] == (backbone.rows[layer], backbone.sizes[layer]) and torch.isfinite(places).all()


def test_swapped_axes_are_refused():
    backbone, _ = tiny("vit_tiny_patch16_224")
    for shape in ((1, 24, 4), (1, 2, 24, 2), (1, 3, 24), (1, 24, 3, 3)):
        with pytest.raises(SonicError, match="are not 2 rows of 24 numbers each"):
            zoo._places(torch.zeros(shape), 2, 24)
    embedder = vision.Vision(backbone, config=settings(window=2, stride=2, pooling="mean"))
    forward = embedder.model.forward
    embedder.model.forward = lambda pictures, layer: (forward(pictures, layer)[0].transpose(1, 3), None)
    with pytest.raises(SonicError, match=r"must give the axes \(window 1, size 24\)"):
        embedder.embed(Clip(noise(2), RATE))


def test_normalisation_of_another_network_shows():
    "The contract takes mean and deviation from timm; with others the vector is another."
    backbone = zoo.open_timm(VisionSettings(backbone="test_efficientnet", weights="random"))
    right = vision.Vision(backbone, config=settings(window=2, stride=2))
    assert right.contract.mean == pytest.approx([255 * value for value in (0.485, 0.456, 0.406)])
    wrong = vision.Vision(backbone, config=settings(window=2, stride=2))
    object.__setattr__(wrong.contract, "mean", (127.0,))
    assert np.abs(right.embed(Clip(noise(2), RATE)) - wrong.embed(Clip(noise(2), RATE))).max() > 1e-3


# ---- where weights come from -----------------------------------------------------------------------------------------


def test_nothing_is_fetched_unasked(offline):
    vision.make(Config()).embed(Clip(noise(1), RATE))
    for name in ("resnet18", "vit_small_patch16_224.dino", "vit_small_patch14_dinov2.lvd142m"):
        with pytest.raises(
            SonicError, match=r"is not on this machine. Its licence: apache-2.0. To fetch it, set vision.revision"
        ):
            vision.make(settings(backbone=name))


def test_names_and_files_that_are_not_there(tmp_path):
    for changes, told in (
        ({"backbone": "tf_efficientnet_lite00"}, "did you mean tf_efficientnet_lite0"),
        ({"backbone": "dinov2"}, "timm has no network vision.backbone=dinov2"),
        ({"backbone": "test_vit", "weights": str(tmp_path)}, "holds no weights"),
        (
            {"backbone": "test_vit", "weights": "model.pth"},
            "must be a .safetensors file, a folder that holds one, or random",
        ),
        ({"backbone": "resnet18", "download": "yes"}, "name the commit: vision.revision"),
        ({"backbone": "test_vit", "weights": "random", "layer": 7}, "test_vit has 7 layers"),
        ({"pooling": "token"}, "has no class token"),
    ):
        with pytest.raises(SonicError, match=told):
            vision.make(settings(**changes))


def test_pickles_are_not_opened(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(SonicError, match="a pickle that could run code"):
        vision.make(settings(backbone="test_vit", weights=str(tmp_path)))


def test_weights_of_ones_own(tmp_path):
    "From a file, with a head that is left out; the hash is that of the file, and vectors follow the weights."
    state = timm.create_model("test_resnet").state_dict()
    state = {name: value.contiguous() for name, value in state.items()}
    assert any(name.startswith("fc.") for name in state)
    vectors, hashes = [], set()
    for number in (1.0, 1.1):
        save_file(
            {name: value * number if value.is_floating_point() else value for name, value in state.items()},
            tmp_path / "w.safetensors",
        )
        embedder = vision.make(
            settings(backbone="test_resnet", weights=str(tmp_path / "w.safetensors"), window=2, stride=2)
        )
        vectors.append(embedder.embed(Clip(noise(2), RATE)))
        hashes.add(embedder.contract.weights)
    assert len(hashes) == 2 and np.abs(vectors[0] - vectors[1]).max() > 1e-4
    (tmp_path / "w.safetensors").write_bytes(b"not weights")
    with pytest.raises(SonicError, match="w.safetensors"):
        vision.make(settings(backbone="test_resnet", weights=str(tmp_path / "w.safetensors")))
