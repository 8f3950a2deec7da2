"Models for sound: tiny ones of the real architectures, with random weights, and every known way to feed them wrongly."

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from sonic.config import Config, SonicError
from sonic.cream.audio import Clip
from sonic.tails import hub, hubfiles

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "initializer_range": 0.2,  # so that every block does something
}
FRAMES = {
    "data2vec-audio": transformers.Data2VecAudioModel,
    "hubert": transformers.HubertModel,
    "wav2vec2": transformers.Wav2Vec2Model,
    "wavlm": transformers.WavLMModel,
}


pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture(autouse=True)
def quiet():
    with hub._quietly():
        yield


def saved(model, folder, extractor=None, **changes):
    "A folder such as a hub would hold."
    model.save_pretrained(folder)
    if extractor:
        extractor.save_pretrained(folder)
    about = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(about | changes))
    return folder


def frames(kind, folder, rate=16000, changes=(), **settings):
    torch.manual_seed(0)
    cls = FRAMES[kind]
    model = cls(cls.config_class(**(SMALL | settings))).eval()
    return model, saved(model, folder, transformers.Wav2Vec2FeatureExtractor(sampling_rate=rate), **dict(changes))


def clap(folder, fused=False):
    torch.manual_seed(0)
    text = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "vocab_size": 50,
    }
    audio = {"spec_size": 128, "num_mel_bins": 32, "patch_embeds_hidden_size": 16, "depths": [1, 1], "window_size": 4}
    audio |= {"num_attention_heads": [2, 2], "hidden_size": 32, "projection_dim": 24, "num_hidden_layers": 2}
    audio |= {"enable_fusion": fused, "fusion_type": "aff_2d" if fused else None}
    how = {"truncation": "fusion" if fused else "rand_trunc", "sampling_rate": 16000, "max_length_s": 2}
    extractor = transformers.ClapFeatureExtractor(
        feature_size=32, hop_length=160, fft_window_size=1024, frequency_max=8000, **how
    )
    config = transformers.ClapConfig(text_config=text, audio_config=audio, projection_dim=24)
    return saved(transformers.ClapModel(config).eval(), folder, extractor)


def codec(folder, **settings):
    torch.manual_seed(0)
    small = {"num_filters": 4, "hidden_size": 16, "codebook_size": 16, "codebook_dim": 16, "num_lstm_layers": 1}
    model = transformers.EncodecModel(transformers.EncodecConfig(**small, **settings)).eval()
    extractor = transformers.EncodecFeatureExtractor(
        sampling_rate=model.config.sampling_rate, feature_size=model.config.audio_channels
    )
    return model, saved(model, folder, extractor)


def made(folder, window=1.0, **changes):
    return hub.make(Config().replace(hub={"model": str(folder), "window": window, "stride": window, **changes}))


def noise(seconds, rate=16000):
    return (np.random.default_rng(0).normal(size=round(seconds * rate)) * 0.1).astype(np.float32)


def apart(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(a)


# ---- frames ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FRAMES)
def test_the_vector_is_the_mean_over_time_of_the_layer(kind, tmp_path):
    "transformers' own feature extractor and model are the oracle."
    model, folder = frames(kind, tmp_path)
    extractor, sound = transformers.AutoFeatureExtractor.from_pretrained(folder), noise(1)
    with torch.inference_mode():
        heard = extractor(sound, sampling_rate=16000, return_tensors="pt").input_values
        states = model(heard, output_hidden_states=True).hidden_states
    for layer in (0, 2, 3, -1, -4):
        embedder = made(folder, layer=layer)
        assert embedder.contract.frames == states[0].shape[1] and embedder.contract.size == 32
        np.testing.assert_allclose(embedder.embed(Clip(sound, 16000)), states[layer][0].mean(0), atol=1e-5)
    assert apart(made(folder, layer=0).embed(Clip(sound, 16000)), made(folder).embed(Clip(sound, 16000))) > 0.1


@pytest.mark.parametrize("kind", FRAMES)
def test_swapped_axes_are_refused(kind, tmp_path):
    embedder = made(frames(kind, tmp_path)[1])
    hear = embedder.hear
    embedder.hear = lambda sound: hear(sound).transpose(1, 2)
    with pytest.raises(SonicError, match=r"must give the axes \(window 1, time 49, size 32\), not an array of shape"):
        embedder.embed(Clip(noise(1), 16000))


def test_loudness_counts_only_where_the_model_says_so(tmp_path):
    _, folder = frames("wavlm", tmp_path)
    sound = noise(1)
    loud, soft = (made(folder).embed(Clip(sound * gain, 16000)) for gain in (1, 0.1))
    np.testing.assert_allclose(loud, soft, atol=1e-3)
    extractor = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor | {"do_normalize": False}))
    loud, soft = (made(folder).embed(Clip(sound * gain, 16000)) for gain in (1, 0.1))
    assert apart(loud, soft) > 0.01


def test_a_chord_at_another_rate(tmp_path):
    "Resampled it is the same chord; taken as it is, it would be a fifth higher."
    embedder = made(frames("wavlm", tmp_path, rate=16000)[1], window=2)

    def chord(rate):
        time = np.arange(2 * rate) / rate
        return (0.2 * sum(np.sin(2 * np.pi * f * time) for f in (220, 277.2, 329.6))).astype(np.float32)

    here = embedder.embed(Clip(chord(16000), 16000))
    for rate in (24000, 44100, 48000):
        mistaken = embedder.embed(Clip(chord(rate), 16000))
        assert apart(here, embedder.embed(Clip(chord(rate), rate))) < 0.1 * apart(here, mistaken)


@pytest.mark.parametrize("kind", FRAMES)
def test_a_clip_over_and_over_is_the_same_vector(kind, tmp_path):
    embedder, sound = made(frames(kind, tmp_path)[1]), noise(0.5)
    once = embedder.embed(Clip(sound, 16000))
    for times in (2, 4, 6):
        np.testing.assert_allclose(embedder.embed(Clip(np.tile(sound, times), 16000)), once, atol=1e-5)
    assert (embedder.embed(Clip(noise(3.3), 16000)) == embedder.embed(Clip(noise(3.3), 16000))).all()


# ---- MERT ------------------------------------------------------------------------------------------------------------


def mert(folder, rate=24000, **changes):
    "As it is published: HuBERT's arrays, settings and a class of its own."
    own = {"AutoConfig": "configuration_MERT.MERTConfig", "AutoModel": "modeling_MERT.MERTModel"}
    about = {"model_type": "mert_model", "auto_map": own, "sample_rate": rate, "feature_extractor_cqt": False}
    about |= {"deepnorm": False, "attention_relax": -1.0, "architectures": ["MERTModel"]}
    (folder / "modeling_MERT.py").write_text("raise SystemExit('this must not run')")
    return frames("hubert", folder, rate=rate, changes=about | changes)


def test_mert_is_hubert(tmp_path):
    model, folder = mert(tmp_path)
    embedder, sound = made(folder), noise(1, 24000)
    with torch.inference_mode():
        expected = model(torch.from_numpy((sound - sound.mean()) / sound.std())[None]).last_hidden_state[0].mean(0)
    np.testing.assert_allclose(embedder.embed(Clip(sound, 24000)), expected, atol=1e-4)
    assert embedder.contract.sample_rate == 24000


def test_mert_with_deepnorm(tmp_path):
    "The factor folded into the weights, against blocks that apply it to what passes them by."
    model, folder = mert(tmp_path, deepnorm=True, attention_relax=32.0)
    alpha, sound = (2 * 3) ** 0.25, noise(1, 24000)

    def block(layer):
        def forward(x, attention_mask=None, **_):
            x = layer.layer_norm(x * alpha + layer.attention(x)[0])
            return layer.final_layer_norm(x * alpha + layer.feed_forward(x))

        return forward

    for layer in model.encoder.layers:
        layer.forward = block(layer)
    with torch.inference_mode():
        expected = model(torch.from_numpy((sound - sound.mean()) / sound.std())[None]).last_hidden_state[0].mean(0)
    with_it = made(folder).embed(Clip(sound, 24000))
    np.testing.assert_allclose(with_it, expected, atol=1e-4)
    _, folder = mert(tmp_path)  # the same weights without it
    assert apart(with_it, made(folder).embed(Clip(sound, 24000))) > 0.01


def test_mert_with_a_constant_q_transform_is_refused(tmp_path):
    _, folder = mert(tmp_path, feature_extractor_cqt=True)
    with pytest.raises(SonicError, match="hears a constant-Q transform besides"):
        made(folder)


# ---- CLAP and EnCodec ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fused", [False, True])
def test_clap_gives_one_vector_and_always_the_same(tmp_path, fused):
    embedder, sound = made(clap(tmp_path, fused), window=10), noise(5.5)
    assert embedder.contract.window == 2 * 16000  # no more than it takes at once
    assert embedder.contract.axes == ("window", "size") and embedder.contract.size == 24
    vectors = []
    for seed in range(3):
        np.random.seed(seed)  # noqa: NPY002 (the feature extractor draws from it)
        heard = embedder.windows_of(Clip(sound, 16000))
        np.testing.assert_allclose(np.linalg.norm(heard.vectors, axis=1), 1, atol=1e-5)
        vectors.append(heard.mean)
    assert (vectors[0] == vectors[1]).all() and (vectors[0] == vectors[2]).all()
    for batch in (1, 2):
        np.testing.assert_allclose(embedder.embed(Clip(sound, 16000), batch=batch), vectors[0], atol=1e-5)
    model = transformers.ClapAudioModelWithProjection.from_pretrained(tmp_path).eval()
    extractor, window = transformers.ClapFeatureExtractor.from_pretrained(tmp_path), sound[: 2 * 16000]
    features = extractor(window, sampling_rate=16000, return_tensors="pt")["input_features"].float()
    with torch.inference_mode():  # a window that fits is not one of a longer clip, whatever the extractor draws
        expected, other = (
            model(features, is_longer=torch.tensor([[longer]])).audio_embeds[0] for longer in (False, True)
        )
    found = embedder.windows_of(Clip(sound, 16000)).vectors[0]
    np.testing.assert_allclose(found, expected / expected.norm(), atol=1e-5)
    assert (apart(found, (other / other.norm()).numpy()) > 1e-3) == fused
    with pytest.raises(SonicError, match="has no layers to choose from"):
        made(tmp_path, layer=2)


def test_clap_that_contradicts_itself(tmp_path):
    folder = clap(tmp_path)
    extractor = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor | {"truncation": "fusion"}))
    with pytest.raises(SonicError, match="contradicts itself: its model is fused, or its extractor"):
        made(folder)


def test_codec_frames(tmp_path):
    model, folder = codec(tmp_path)
    embedder, sound = made(folder), noise(1, 24000)
    with torch.inference_mode():
        expected = model.encoder(torch.from_numpy(sound)[None, None])
    assert embedder.contract.axes == ("window", "size", "time")
    assert (embedder.contract.size, embedder.contract.frames) == tuple(expected.shape[1:])
    np.testing.assert_allclose(embedder.embed(Clip(sound, 24000)), expected[0].mean(1), atol=1e-5)
    embedder.hear = lambda sound: model.encoder(sound[:, None]).transpose(1, 2)
    with pytest.raises(SonicError, match=r"must give the axes \(window 1, size 16, time 75\)"):
        embedder.embed(Clip(sound, 24000))


def test_codec_in_stereo_that_takes_a_second(tmp_path):
    "Made like encodec_48khz: two channels, levelled, in chunks."
    how = {"sampling_rate": 48000, "audio_channels": 2, "normalize": True, "chunk_length_s": 1.0, "overlap": 0.01}
    model, folder = codec(tmp_path, norm_type="time_group_norm", use_causal_conv=False, **how)
    embedder, sound = made(folder, window=10), noise(2, 48000)
    assert embedder.contract.window == embedder.contract.stride == 48000
    with torch.inference_mode():
        level = np.sqrt(np.mean(sound[:48000] ** 2)) + 1e-8
        expected = model.encoder(torch.from_numpy(sound[:48000] / level).expand(1, 2, -1))[0].mean(1)
    np.testing.assert_allclose(embedder.windows_of(Clip(sound, 48000)).vectors[0], expected, atol=1e-5)


# ---- files -----------------------------------------------------------------------------------------------------------


def test_what_a_file_lacks_is_not_made_up(tmp_path):
    _, folder = frames("wavlm", tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layers.1.feed_forward.output_dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SonicError, match="lacks 1 arrays, such as encoder.layers.1.feed_forward.output_dense.weight"):
        made(folder)
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(SonicError, match="cannot be loaded"):
        made(folder)


def test_the_names_that_weight_norm_had(tmp_path):
    "Published files still say weight_g and weight_v."
    _, folder = frames("hubert", tmp_path)
    before, weights = made(folder).embed(Clip(noise(1), 16000)), load_file(folder / "model.safetensors")
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    for new, name in old.items():
        weights = {key.replace(new, name): value for key, value in weights.items()}
    assert any(key.endswith("weight_g") for key in weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    np.testing.assert_allclose(made(folder).embed(Clip(noise(1), 16000)), before, atol=1e-6)


def test_half_precision_is_widened(tmp_path):
    model, folder = frames("wavlm", tmp_path)
    before = made(folder).contract.weights
    model.half().save_pretrained(folder)
    embedder = made(folder)
    assert {parameter.dtype for parameter in embedder.model.parameters()} == {torch.float32}
    assert embedder.contract.weights != before  # other weights, and so another recipe
    assert embedder.embed(Clip(noise(1), 16000)).dtype == np.float32


def test_a_pickle_is_rewritten_first(tmp_path):
    model, folder = frames("data2vec-audio", tmp_path / "a")
    before = made(folder).embed(Clip(noise(1), 16000))
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(SonicError, match="a pickle that could run code"):
        made(folder)
    again = made(hubfiles.to_safetensors(folder, tmp_path / "b"))
    np.testing.assert_allclose(again.embed(Clip(noise(1), 16000)), before, atol=1e-6)


def test_rates_are_not_guessed(tmp_path):
    _, folder = frames("wavlm", tmp_path)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(SonicError, match="says nowhere which sample rate it takes"):
        made(folder)
    _, folder = mert(tmp_path, rate=16000, sample_rate=24000)
    with pytest.raises(
        SonicError, match=r"contradicts itself: 16000 Hz in preprocessor_config.json, 24000 Hz in config.json"
    ):
        made(folder)


def test_code_of_a_model_is_not_run(tmp_path):
    for about in ({"model_type": "musicfm", "auto_map": {"AutoModel": "evil.Model"}}, {}):
        (tmp_path / "config.json").write_text(json.dumps(about))
        (tmp_path / "evil.py").write_text("raise SystemExit('this must not run')")
        with pytest.raises(SonicError, match="code of the model's own is not run"):
            made(tmp_path)


@pytest.mark.parametrize(
    ("model", "licence"),
    [
        ("m-a-p/MERT-v1-330M", "CC-BY-NC-4.0, no commercial use"),
        ("facebook/encodec_24khz", "unknown, read the model card"),
        ("laion/larger_clap_music", "Apache-2.0"),
    ],
)
def test_the_licence_is_told_before_anything_is_fetched(model, licence):
    with pytest.raises(SonicError, match=f"{model} is not on this machine. Its licence: {licence}. To fetch it"):
        hub.make(Config().replace(hub={"model": model}))
    with pytest.raises(SonicError, match="name the commit: hub.revision"):
        hub.make(Config().replace(hub={"model": model, "download": "yes", "revision": "main"}))


def test_a_model_is_fetched_by_its_commit(tmp_path, monkeypatch):
    _, folder = frames("wavlm", tmp_path)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    asked = []

    def snapshot(model, **how):
        asked.append((model, how["revision"], how["local_files_only"]))
        return folder

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    wanted = {"model": "a/b", "window": 1, "stride": 1}
    offline = hub.make(Config().replace(hub=wanted))
    online = hub.make(Config().replace(hub=wanted | {"download": "yes", "revision": "0" * 40}))
    assert asked == [("a/b", None, True), ("a/b", "0" * 40, False)]
    assert offline.contract == online.contract and online.contract.licence == "mit"
