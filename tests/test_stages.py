"A stage reads no setting that its key does not hold, gives what `embed` gives, and tells its price once."

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from sonic.config import Config
from sonic.cream.audio import load
from sonic.sections import Section, SonicError
from sonic.shadow import keys, stages
from sonic.shadow.cache import Cache
from sonic.shadow.keys import Keys, own_settings
from sonic.shadow.reads import drawing_reads, view_reads
from sonic.tails.registry import make_embedder

LISTENERS = {
    "mfcc": {},
    "vision of a whole spectrum": {
        "vision.view": "fft",
        "fft.kind": "clip",
        "fft.unit": "amplitude",
        "fft.axis": "linear",
    },
    "vision of constant-Q": {"vision.view": "chroma", "chroma.kind": "cqt"},
    "vision of lags": {"vision.view": "tempogram", "tempogram.axis": "lag"},
    "views": {},
    "vision": {},
    "vision of chroma": {"vision.view": "chroma"},
    "vision of the spectrum": {"vision.view": "fft"},
    "vision of the tempogram": {"vision.view": "tempogram"},
    "musicnn": {},
}


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    path = tmp_path_factory.mktemp("music") / "song.wav"
    time = np.arange(int(12.5 * 22050)) / 22050
    sound = np.sin(2 * np.pi * 330 * time) * (time % 0.5 < 0.2) + 0.1 * np.random.default_rng(0).normal(size=len(time))
    soundfile.write(path, 0.3 * sound, 22050)
    return str(path)


# some views use the default transform or mel bands whatever the settings say: what is asked for here differs from both
ODD = {"mel.n_mels": 120, "stft.hop_length": 400}
FIXED = {"mel": dict(Config().mel), "stft": dict(Config().stft)}


@pytest.fixture
def reads(monkeypatch):
    "Every setting that is looked at, as section and name, while a stage works."
    seen: list[tuple[str, str]] = []
    sections = {type(field.default): name for name, field in Config.model_fields.items()}
    plain, checking = Section.__getattribute__, []

    def spied(self, name):
        if not checking and type(self) in sections and name in type(self).model_fields:
            if plain(self, "__dict__") != FIXED.get(sections[type(self)]):
                seen.append((sections[type(self)], name))
        return plain(self, name)

    def unseen(method):  # what is looked at to check a configuration is not used
        def wrapped(*args, **kwargs):
            checking.append(1)
            try:
                return method(*args, **kwargs)
            finally:
                checking.pop()

        return wrapped

    monkeypatch.setattr(Section, "__getattribute__", spied)
    monkeypatch.setattr(Config, "model_validate", unseen(Config.model_validate))
    monkeypatch.setattr(Config, "__init__", unseen(Config.__init__))
    for name in ("view_reads", "drawing_reads", "values_of"):  # nor what is looked at to make a key
        monkeypatch.setattr(keys, name, unseen(getattr(keys, name)))
    return seen


@pytest.mark.parametrize(
    "listener", [name for name in LISTENERS if name != "musicnn"]
)  # it has mel settings of its own
def test_a_stage_reads_what_its_key_holds_and_nothing_else(song, tmp_path, reads, listener, monkeypatch):
    name, config = listener.split()[0], Config().replace(**LISTENERS[listener], **ODD)
    track = stages._Track(song, name, config, Cache(tmp_path / "cache"))
    found: dict[str, set[str]] = {}

    def spying(stage, method):
        def made(*given):
            start = len(reads)
            result = method(*given)
            found.setdefault(stage, set()).update(f"{a}.{b}" for a, b in reads[start:])
            del reads[start:]  # a stage within another does not count for that one
            return result

        return made

    for stage, method in {"decode": "_decode", "views": "_look", "pictures": "_draw", "embeddings": "_embed"}.items():
        monkeypatch.setattr(track, method, spying(stage, getattr(track, method)))
    track.vector()
    embedder = Keys(song, name, config).embedder
    looks, drawn = embedder.looks, embedder.contract.dtype == "uint8"
    allowed = {
        "decode": {"audio.sample_rate", "audio.offset", "audio.duration"},
        # a view checks itself against the rate that it is given; sizes of pictures stand in the contract
        "views": {"audio.sample_rate"}.union(*(view_reads(view, config) for view in looks)),
        "pictures": {"audio.sample_rate", "picture.width", "picture.height", "vision.view"}.union(
            *(drawing_reads(view, config, drawn=drawn) for view in looks)
        ),
        "embeddings": set(own_settings(name, config=config)),
    }
    for stage, names in found.items():
        assert names <= allowed[stage], stage
    assert {*found} == {"decode", "views", "pictures", "embeddings"}


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("changes", [{}, {"audio.offset": 1.0, "audio.duration": 9.0}, {"stft.hop_length": 1024}])
def test_the_vector_is_that_of_embed(song, tmp_path, listener, changes, request):
    name, config = listener.split()[0], Config().replace(**LISTENERS[listener], **changes)
    if name == "musicnn":
        request.getfixturevalue("musicnn_weights")
    embedder = make_embedder(name, config=config)
    clip = load(song, embedder.contract.sample_rate, config.audio.offset, config.audio.duration)
    first = stages.heard(song, name, config=config, cache=Cache(tmp_path / "cache"))
    again = stages.heard(song, name, config=config, cache=Cache(tmp_path / "cache"))
    nowhere = stages.heard(song, name, config=config, cache=Cache(None))
    assert (first.vector == embedder.embed(clip)).all()
    assert (first.vector == again.vector).all() and (first.vector == nowhere.vector).all()
    assert (first.cost, first.memory, first.seconds) == (again.cost, again.memory, again.seconds)


CHANGES = {  # what works again when a setting changes, for `vision` of the mel spectrogram
    "vision.layer=3": {"embeddings"},
    "vision.pooling=max": {"embeddings"},
    "picture.top_db=60": {"pictures", "embeddings"},
    "mel.n_mels=64": {"views", "pictures", "embeddings"},
    "stft.n_fft=1024": {"views", "pictures", "embeddings"},
    "vision.window=5": {"views", "pictures", "embeddings"},
    "audio.sample_rate=16000": {"decode", "views", "pictures", "embeddings"},
    "chroma.kind=cqt": set(),
    "tempogram.win_length=200": set(),
    "fft.unit=amplitude": set(),
    "neighbours.whiten=8": set(),
    "mfcc.n_mfcc=20": set(),
    "picture.width=100": set(),
    "vision.download=yes": set(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_only_what_reads_a_setting_works_again(song, tmp_path, change):
    cache, config = Cache(tmp_path / "cache"), Config().replace(**{"vision.stride": 5})
    stages.heard(song, "vision", config=config, cache=cache)
    cache.take_counts()
    name, _, value = change.partition("=")
    stages.heard(song, "vision", config=config.replace(**{name: value}), cache=cache)
    assert {stage for stage, count in cache.take_counts().items() if count.misses} == CHANGES[change]


@pytest.mark.parametrize(
    "listener, change",
    [
        ("vision of constant-Q", {"stft.n_fft": 4096, "stft.window": "hamming", "picture.top_db": 60}),
        (
            "vision of a whole spectrum",
            {"stft.n_fft": 4096, "stft.hop_length": 256, "picture.top_db": 60, "fft.fmin": 40},
        ),
        ("vision of lags", {"tempogram.bpm_min": 40, "picture.top_db": 60}),
    ],
)
def test_what_a_kind_of_view_does_not_read_makes_nothing_work_again(song, tmp_path, listener, change):
    cache, config = Cache(tmp_path / "cache"), Config().replace(**LISTENERS[listener])
    before = stages.heard(song, "vision", config=config, cache=cache)
    cache.take_counts()
    after = stages.heard(song, "vision", config=config.replace(**change), cache=cache)
    assert not any(count.misses for count in cache.take_counts().values())
    fresh = stages.heard(song, "vision", config=config.replace(**change), cache=Cache(None))
    assert (fresh.vector == after.vector).all() and (fresh.vector == before.vector).all()


def test_a_renderer_that_draws_otherwise_works_again(song, tmp_path, monkeypatch):
    cache = Cache(tmp_path / "cache")
    stages.heard(song, "mfcc", config=Config(), cache=cache)
    cache.take_counts()
    monkeypatch.setattr(keys, "RENDERER", keys.RENDERER + 1)
    stages.heard(song, "mfcc", config=Config(), cache=cache)
    assert {name for name, count in cache.take_counts().items() if count.misses} == {"views", "pictures", "embeddings"}


def test_views_share_one_transform_and_one_price(song, tmp_path, monkeypatch):
    made = []
    plain = stages.spectrum_of
    monkeypatch.setattr(stages, "spectrum_of", lambda *args, **kwargs: made.append(1) or plain(*args, **kwargs))
    cache = Cache(tmp_path / "cache")
    whole = stages.heard(song, "views", config=Config(), cache=cache)
    assert len(made) == 1  # one window, four views
    counts = cache.take_counts()
    assert whole.cost == pytest.approx(sum(count.spent for count in counts.values()))


def test_a_damaged_cache_changes_nothing(song, tmp_path):
    cache = Cache(tmp_path / "cache")
    before = stages.heard(song, "views", config=Config(), cache=cache)
    files = sorted((tmp_path / "cache").rglob("*.safetensors"))
    assert len(files) == 7  # sound, four views, what is shown, the vector
    for place, path in enumerate(files):
        data = bytearray(path.read_bytes())
        data[(place * 7919) % len(data)] ^= 0xFF
        path.write_bytes(bytes(data) if place % 2 else bytes(data[: len(data) // 2]))
    after = stages.heard(song, "views", config=Config(), cache=cache)
    assert (before.vector == after.vector).all()


def test_no_sound_is_said_in_a_line(tmp_path):
    path = tmp_path / "noise.mp3"
    path.write_bytes(b"\0" * 5000)
    with pytest.raises(SonicError):
        stages.heard(str(path), "mfcc", config=Config(), cache=Cache(tmp_path / "cache"))
    with pytest.raises(OSError):
        stages.heard(str(tmp_path / "gone.mp3"), "mfcc", config=Config(), cache=Cache(tmp_path / "cache"))
