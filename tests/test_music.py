"The synthetic music: whole, even, repeatable, and true to its plan."

from __future__ import annotations

import mutagen
import numpy as np
import pytest
import soundfile
import soxr

from sonic.cream.artists import SCALES, STYLES, hand, plan
from sonic.cream.audio import Clip
from sonic.cream.composition import compose
from sonic.cream.instruments import DRUMS, VOICES
from sonic.cream.key import key
from sonic.cream.music import FORMATS, synthesise, write_song
from sonic.cream.spectrum import Spectrum
from sonic.cream.tempo import tempo


def level(sound: np.ndarray) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(np.square(sound)))))


@pytest.mark.parametrize("genre", STYLES)
def test_every_style_sounds_at_every_length(genre):
    levels = []
    for seconds in (1, 2.5, 7, 40):
        song = next(song for song in plan(8, seconds=seconds) if song.genre == genre)
        sound = synthesise(song)
        assert sound.dtype == np.float32 and sound.shape == (round(seconds * 44100), 2)
        assert np.abs(sound).max() == pytest.approx(10 ** (-1 / 20), abs=1e-4)
        assert np.abs(sound.mean(axis=0)).max() < 0.005  # no offset
        assert np.abs(sound[-20:]).max() < 0.02  # it does not break off
        levels.append(level(sound))
    assert max(levels) - min(levels) < 5


def test_tracks_are_about_equally_loud():
    levels = [level(synthesise(song)) for song in plan(16, seconds=6, seed=2)]
    assert max(levels) - min(levels) < 5 and -18 < np.mean(levels) < -11


def test_same_seed_same_bytes_other_seed_other_sound():
    first, again, other = (plan(3, seed=seed, seconds=3) for seed in (4, 4, 5))
    sounds = [synthesise(song).tobytes() for song in first + again + other]
    assert sounds[:3] == sounds[3:6] and len(set(sounds)) == 6


def test_the_planted_truth_is_in_the_sound():
    songs, tempi, octaves, keys = plan(16, seed=11, seconds=20), 0, 0, 0
    for song in songs:
        mono = soxr.resample(synthesise(song).mean(axis=1), 44100, 22050)
        spectrum = Spectrum(Clip(mono, 22050))
        ratio = (tempo(spectrum).bpm or 1.0) / song.tempo
        tempi += abs(ratio - 1) < 0.04
        octaves += any(abs(ratio / octave - 1) < 0.04 for octave in (0.5, 1, 2))
        keys += key(spectrum).name == song.key
    assert tempi >= 12 and octaves >= 15 and keys >= 13, (tempi, octaves, keys)


def test_patterns_name_what_exists():
    for style in STYLES.values():
        assert style.drums.keys() <= DRUMS.keys()
        assert {voice for several in style.voices.values() for voice in several} <= VOICES.keys()


def test_an_artist_sounds_alike():
    songs = [song for song in plan(64, seed=6) if song.genre == "lo-fi"]
    by_artist: dict[str, list] = {}
    for song in songs:
        by_artist.setdefault(song.artist, []).append(song)
    hands = {artist: hand(artist, genre="lo-fi") for artist in by_artist}
    assert len({(own.brightness, own.room) for own in hands.values()}) == len(hands) >= 2
    for artist, several in by_artist.items():
        assert {song.tonic for song in several} <= set(hands[artist].tonics)


def test_notes_belong_to_the_key():
    for song in plan(32, seed=9):
        played = [note for note in compose(song) if note.pitch]
        scale = {(song.tonic + step) % 12 for step in SCALES[song.mode]}
        inside = sum(note.seconds for note in played if note.pitch % 12 in scale)
        assert inside > 0.9 * sum(note.seconds for note in played)
        assert all(24 <= note.pitch <= 100 and note.start < song.seconds for note in played)


@pytest.mark.parametrize("format", FORMATS)
def test_files_decode_and_carry_their_tags(tmp_path, format):
    song = plan(4, seconds=2.5)[3]
    path = write_song(song, tmp_path, format=format)
    samples, rate = soundfile.read(path)
    assert samples.shape == (round(2.5 * rate), 2)
    tags = mutagen.File(path, easy=True)
    assert (tags["title"], tags["artist"], tags["genre"]) == ([song.title], [song.artist], [song.genre])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # nothing temporary is left
