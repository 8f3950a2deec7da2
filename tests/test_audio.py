"Reading sound: the same samples as librosa, bounded memory, and one line for whatever is wrong."

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import av
import librosa
import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from sonic.config import SonicError
from sonic.cream import decode
from sonic.cream.audio import Clip, info, load
from sonic.cream.decode import AUDIO_SUFFIXES

SHARED = Path(__file__).resolve().parents[2] / "shared"
RATE = 44100
KINDS = {
    "mp3": {},
    "flac": {},
    "wav": {"subtype": "PCM_24"},
    "aiff": {},
    "ogg": {},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "w64": {},
    "caf": {},
    "au": {},
}


def sound(seconds=3.0, channels=2, rate=RATE, seed=0):
    "A chord in noise, each channel a little different."
    time = np.arange(int(seconds * rate)) / rate
    notes = sum(np.sin(2 * np.pi * f * time[:, None] + np.arange(channels)) for f in (220, 277.2, 1661.2)) * 0.15
    return (notes + np.random.default_rng(seed).normal(0, 0.03, (len(time), channels))).astype(np.float32)


def encode(path, codec, demuxer, samples, rate=RATE):
    "Write what libsndfile cannot."
    with av.open(str(path), "w", format=demuxer) as box:
        stream = box.add_stream(codec, rate=rate, layout="stereo")
        names = {"format": stream.codec_context.format.name, "layout": "stereo", "rate": rate}
        convert = av.AudioResampler(**names, frame_size=1024)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="stereo")
        frame.rate, frame.pts = rate, 0
        for part in [*convert.resample(frame), *convert.resample(None), None]:
            box.mux(stream.encode(part))


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    "The same three seconds in every format."
    folder = tmp_path_factory.mktemp("music")
    for suffix, options in KINDS.items():
        rate = 48000 if suffix == "opus" else RATE
        sf.write(folder / f"a.{suffix}", sound(rate=rate), rate, **options)
    encode(folder / "a.m4a", "aac", "ipod", sound())
    encode(folder / "a.aac", "aac", "adts", sound())
    encode(folder / "a.webm", "libopus", "webm", sound(rate=48000), 48000)
    encode(folder / "alac.m4a", "alac", "ipod", sound())
    encode(folder / "a.mka", "flac", "matroska", sound())
    encode(folder / "a.oga", "flac", "ogg", sound())
    return folder


def fault(path, *args, **options):
    "The one line that reading the file ends in."
    with pytest.raises(SonicError) as caught:
        load(path, *args, **options)
    line = str(caught.value)
    assert line.isprintable() and line.startswith(decode.one_line(Path(path).name) + ": ")
    return line


# the same samples


@pytest.mark.parametrize("suffix", KINDS)
@settings(max_examples=5, deadline=None, derandomize=True)
@given(
    rate=st.sampled_from([None, 8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000, 22051]),
    offset=st.floats(0, 2.5),
    duration=st.none() | st.floats(0.001, 3),
)
def test_samples_are_librosas(music, suffix, rate, offset, duration):
    expected, expected_rate = librosa.load(music / f"a.{suffix}", sr=rate, offset=offset, duration=duration)
    clip = load(music / f"a.{suffix}", rate, offset, duration)
    assert clip.sample_rate == expected_rate and clip.samples.dtype == np.float32
    np.testing.assert_array_equal(clip.samples, expected)
    assert not clip.notes


@pytest.mark.parametrize("channels", range(1, 9))
def test_channels_are_mixed_as_librosa_does(tmp_path, channels):
    sf.write(tmp_path / "a.wav", sound(1, channels), RATE)
    np.testing.assert_array_equal(load(tmp_path / "a.wav").samples, librosa.load(tmp_path / "a.wav")[0])


@pytest.mark.parametrize("length", [1, 2, 3, 5, 100, 441])
@pytest.mark.parametrize("native", [8000, 44100, 48000, 96000])
def test_short_stretches_have_librosas_length(tmp_path, native, length):
    sf.write(tmp_path / "all.wav", sound(1, 1), native)
    sf.write(tmp_path / "a.wav", sound(1, 1)[:length], native)
    clip = load(tmp_path / "all.wav", duration=(length + 0.5) / native)
    np.testing.assert_array_equal(clip.samples, librosa.load(tmp_path / "a.wav")[0])


@pytest.mark.parametrize("suffix", ["mp3", "flac", "ogg", "opus", "m4a", "webm"])
def test_blocks_leave_no_seams(music, monkeypatch, suffix):
    whole = load(music / f"a.{suffix}", 16000, offset=0.3)
    monkeypatch.setattr(decode, "BLOCK", 777)
    np.testing.assert_array_equal(load(music / f"a.{suffix}", 16000, offset=0.3).samples, whole.samples)


# what PyAV reads


@pytest.mark.parametrize("name", ["alac.m4a", "a.mka", "a.oga"])
def test_lossless_files_of_pyav_hold_what_was_written(music, name):
    for offset in (0.5, 2.2):  # in the first block and behind it
        expected = load(music / "a.flac", None, offset, 0.7).samples
        np.testing.assert_allclose(load(music / name, None, offset, 0.7).samples, expected, atol=1 / 32768)


@pytest.mark.parametrize("name", ["a.m4a", "a.aac", "a.webm"])
def test_lossy_files_of_pyav_resemble_what_was_written(music, name):
    clip, original = load(music / name), load(music / "a.wav").samples
    assert abs(clip.seconds - 3) < 0.1 and not clip.notes
    chunk = clip.samples[22050:33075]
    match = np.correlate(original[20000:36000], chunk, "valid").max() / np.sum(chunk**2)
    assert match > 0.8
    assert info(music / name).channels == 2 and info(music / name).sample_rate in (44100, 48000)


@pytest.mark.parametrize("name", ["a.m4a", "a.webm", "a.oga"])
def test_a_missing_pyav_is_named(music, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "av", None)
    assert fault(music / name).endswith('needs PyAV: pip install "sonic-recsys[av]"')


@pytest.mark.parametrize("text", ["ffconcat version 1.0\nfile a.wav\n", "#EXTM3U\n#EXTINF:3,\na.wav\n"])
def test_a_playlist_is_never_followed(music, text):
    (music / "list.m4a").write_text(text)
    assert "no audio format" in fault(music / "list.m4a")


def test_a_damaged_packet_costs_only_itself(music, tmp_path):
    data = bytearray((music / "a.m4a").read_bytes())
    data[20000:20400] = bytes(value ^ 0x5A for value in data[20000:20400])
    (tmp_path / "a.m4a").write_bytes(data)
    clip = load(tmp_path / "a.m4a")
    assert clip.seconds > 2.5 and any("left out" in note for note in clip.notes)


# names and places


@pytest.mark.parametrize("name", [b"caf\xe9", "日本語 🎵".encode(), b"-rf", b"a\nb", b"x" * 240, b" a.", b"%s'\"$(x)"])
@pytest.mark.parametrize("suffix", ["mp3", "m4a"])
def test_any_name_will_do(music, tmp_path, name, suffix):
    path = tmp_path / os.fsdecode(name + b"." + suffix.encode())
    path.write_bytes((music / f"a.{suffix}").read_bytes())
    np.testing.assert_array_equal(load(path).samples, load(music / f"a.{suffix}").samples)
    assert load(str(path), duration=1).seconds == 1
    path.write_bytes(b"")
    assert fault(path).endswith(": empty file")


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp3")  # opening it would wait for ever
    (tmp_path / "loop.mp3").symlink_to(tmp_path / "loop.mp3")
    assert "not a regular file" in fault(tmp_path / "pipe.mp3")
    assert "no such file" in fault(tmp_path / "loop.mp3")
    assert "no such file" in fault(tmp_path / "gone.mp3")
    assert "a folder" in fault(tmp_path)
    assert "File name too long" in fault(tmp_path / ("x" * 300 + ".mp3"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_locked_file_is_named(music, tmp_path):
    (tmp_path / "a.wav").write_bytes((music / "a.wav").read_bytes())
    (tmp_path / "a.wav").chmod(0)
    assert "Permission denied" in fault(tmp_path / "a.wav")


def test_the_content_decides_not_the_name(music, tmp_path):
    (tmp_path / "a.m4a").write_bytes((music / "a.flac").read_bytes())
    (tmp_path / "b").write_bytes((music / "a.flac").read_bytes())
    assert load(tmp_path / "a.m4a").notes == ("named .m4a but holds FLAC",)
    assert load(tmp_path / "b").notes == ()


def test_padding_before_an_mp3_is_passed_over(music, tmp_path):
    (tmp_path / "a.mp3").write_bytes(bytes(5000) + (music / "a.mp3").read_bytes())
    np.testing.assert_array_equal(load(tmp_path / "a.mp3").samples, load(music / "a.mp3").samples)


# what is missing is noticed


@pytest.mark.parametrize("suffix", ["mp3", "flac", "wav", "aiff", "ogg", "opus"])
@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_a_cut_file_is_noticed(tmp_path, suffix, share):
    rate = 48000 if suffix == "opus" else RATE
    sf.write(tmp_path / f"whole.{suffix}", sound(10, rate=rate), rate, **KINDS[suffix])
    data = (tmp_path / f"whole.{suffix}").read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(data[: int(len(data) * share)])
    clip, whole = load(cut), load(tmp_path / f"whole.{suffix}")
    assert whole.notes == () and clip.notes
    assert 0.3 < clip.seconds / whole.seconds < 0.97
    same = clip.samples[:-2000] == whole.samples[: len(clip.samples) - 2000]
    assert same.mean() > 0.99
    assert load(cut, duration=1).notes == ()


@pytest.mark.parametrize("suffix", ["mp3", "flac", "wav", "aiff", "ogg", "opus", "m4a", "aac"])
@pytest.mark.parametrize("size", [500, 40_000_000])  # the second is more than is kept
def test_a_tag_before_the_sound_is_passed_over(music, tmp_path, suffix, size):
    path = tmp_path / f"a.{suffix}"
    with open(path, "wb") as file:
        file.write(b"ID3\4\0\0" + bytes(size >> 7 * place & 127 for place in (3, 2, 1, 0)))
        file.seek(size, os.SEEK_CUR)
        file.write((music / f"a.{suffix}").read_bytes())
    clip = load(path)
    expected = load(music / f"a.{suffix}").samples[: len(clip.samples)]
    assert clip.notes == () and abs(clip.seconds - 3) < 0.1
    np.testing.assert_allclose(clip.samples, expected, atol=2e-4)  # Opus by FFmpeg
    assert load(path, duration=0.5, offset=1).seconds == 0.5


def test_sound_behind_a_wrong_length_is_noticed(music, tmp_path):
    first, second = (music / "a.mp3").read_bytes(), (music / "a.mp3").read_bytes()
    (tmp_path / "two.mp3").write_bytes(first + second)  # the header counts only the first
    assert "the decoder stopped after 5" in load(tmp_path / "two.mp3").notes[0]


def streaminfo(data, frames):
    "A FLAC file that claims that many frames, in the 36 bits that RFC 9639, 8.2 keeps for them."
    word = int.from_bytes(data[21:26], "big") >> 36 << 36 | frames
    return data[:21] + word.to_bytes(5, "big") + data[26:]


def test_a_flac_of_unknown_length_is_read_whole(music, tmp_path):
    (tmp_path / "a.flac").write_bytes(streaminfo((music / "a.flac").read_bytes(), 0))
    assert info(tmp_path / "a.flac").seconds is None
    np.testing.assert_array_equal(load(tmp_path / "a.flac").samples, load(music / "a.flac").samples)
    assert "no sound can be decoded from 10 s on" in fault(tmp_path / "a.flac", offset=10)


def test_a_flac_in_which_one_cannot_seek_is_read_whole(music, tmp_path):
    data = bytearray((music / "a.flac").read_bytes())
    data[10:12] = (4608).to_bytes(2, "big")  # the longest block, RFC 9639, 8.2: a fixed size becomes a varying one
    (tmp_path / "a.flac").write_bytes(data)
    with sf.SoundFile(tmp_path / "a.flac") as file, pytest.raises(sf.LibsndfileError):
        file.seek(100000)
    for offset in (0, 0.5, 2.5):
        expected = load(music / "a.flac", offset=offset).samples
        np.testing.assert_array_equal(load(tmp_path / "a.flac", offset=offset).samples, expected)


def test_a_lying_header_allocates_nothing(music, tmp_path):
    (tmp_path / "a.flac").write_bytes(streaminfo((music / "a.flac").read_bytes(), (1 << 36) - 1))
    for duration in (None, 3600):
        tracemalloc.start()
        clip = load(tmp_path / "a.flac", duration=duration)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert clip.seconds < 3.1 and peak < 10e6
        assert clip.notes and "of the 1558264.78 s declared" in clip.notes[0]


def test_a_header_that_might_be_true_is_believed(music, tmp_path):
    (tmp_path / "a.flac").write_bytes(streaminfo((music / "a.flac").read_bytes(), 10 * 3600 * RATE))
    assert "lasts 10.0 h, more than 3 h" in fault(tmp_path / "a.flac")
    assert load(tmp_path / "a.flac", longest=11 * 3600).seconds < 3.1


def test_more_bytes_than_sound_can_take_are_refused(music, tmp_path):
    path = tmp_path / "a.mp3"
    path.write_bytes((music / "a.mp3").read_bytes())
    os.truncate(path, 30 * 10**9)  # a hole: it takes no space
    assert "30.0 GB, more than 3 h of sound can take" in fault(path)
    assert load(path, duration=2).seconds == 2


def test_a_wav_that_claims_ten_hours_is_short(tmp_path):
    sf.write(tmp_path / "a.wav", sound(0.2), RATE)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[4:8] = data[40:44] = (1_800_000_000).to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(data)
    clip = load(tmp_path / "a.wav")
    assert clip.seconds < 0.21 and clip.notes[0].startswith("decoded 0.20 s of the")


def test_a_damaged_flac_keeps_its_beginning(tmp_path):
    sf.write(tmp_path / "a.flac", sound(10), RATE)
    whole, data = load(tmp_path / "a.flac", None).samples, (tmp_path / "a.flac").read_bytes()
    for place in np.random.default_rng(1).integers(len(data) // 10, len(data) - 9000, 8):
        (tmp_path / "b.flac").write_bytes(data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :])
        clip = load(tmp_path / "b.flac", None)
        changed = clip.samples != whole[: len(clip.samples)]
        assert clip.notes[0].startswith("damaged: decoded") and not clip.samples[changed].any()
        assert changed.sum() <= 4096 and abs(len(clip.samples) / len(whole) - place / len(data)) < 0.05


def test_long_files_are_not_held_whole(tmp_path):
    with sf.SoundFile(tmp_path / "a.flac", "w", 96000, 2) as file:
        for _ in range(20):
            file.write(np.zeros((96000 * 6, 2), np.float32))  # 92 MB as float32
    tracemalloc.start()
    clip = load(tmp_path / "a.flac", 8000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert clip.seconds == 120 and peak < 2 * clip.samples.nbytes + 4e6


def test_a_bomb_stops_at_the_cap(music, tmp_path):
    (tmp_path / "a.flac").write_bytes(streaminfo((music / "a.flac").read_bytes(), 0))
    for path in (tmp_path / "a.flac", music / "a.flac"):  # found while decoding, and in the header
        says = fault(path, longest=1)
        assert says.endswith("say how much to read with duration, or allow more with limits.hours")
    assert load(music / "a.flac", longest=3.1).seconds == 3
    assert load(music / "a.flac", duration=2).seconds == 2


# what is refused


@pytest.mark.parametrize(
    ("samples", "rate", "says"),
    [
        (np.array([0, np.nan]), RATE, "not finite"),
        (np.array([0, -np.inf]), RATE, "not finite"),
        (np.array([[1e30, -1e30]]), RATE, "1e+30 times full scale"),
        (np.array([[0.0, 17.0]]), RATE, "17 times full scale"),
        (np.zeros((5, 9)), RATE, "9 channels"),
        (np.zeros(5), 1, "sample rate of 1 Hz"),
        (np.zeros(5), 400000, "sample rate of 400000 Hz"),
        (np.zeros(0), RATE, "no sound can be decoded"),
        (np.zeros(2204), 22050, "only 0.100 s of sound; a track has at least 0.1 s"),
        (np.zeros(1), RATE, "only 0.000 s of sound"),
    ],
)
def test_what_is_no_music_is_refused(tmp_path, samples, rate, says):
    sf.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    assert says in fault(tmp_path / "a.wav")
    assert info(tmp_path / "a.wav").sample_rate == rate  # its header can still be read


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        (np.full(5000, 0.06), ("off centre: its samples are +0.06 of full scale on average",)),
        (np.sign(np.sin(np.arange(5000))), ("clipped: 100% of its samples are at full scale",)),
        (np.where(np.arange(5000) % 25, 0, 1.0), ()),  # 4 % at full scale, as no master has
        (np.sin(np.arange(5000)), ()),
        (np.zeros(5000), ()),
    ],
)
def test_odd_levels_are_said(tmp_path, samples, says):
    sf.write(tmp_path / "a.wav", samples, 22050, subtype="FLOAT")
    assert load(tmp_path / "a.wav").notes == says


def test_silence_and_full_scale_are_music(tmp_path):
    for level in (0.0, 1.0, -1.0):
        sf.write(tmp_path / "a.wav", np.full(2205, level), 22050, subtype="FLOAT")
        assert (load(tmp_path / "a.wav").samples == level).all()


@pytest.mark.parametrize(
    "options",
    [{"sample_rate": 7999}, {"sample_rate": 0}, {"offset": -1}, {"offset": float("nan")}, {"duration": 0}]
    + [{"duration": float("nan")}, {"duration": float("inf")}, {"offset": float("inf")}],
)
def test_wrong_arguments_are_named(music, options):
    (name,) = options
    with pytest.raises(SonicError, match=f"^{name}=.* must be "):
        load(music / "a.wav", **options)


@pytest.mark.parametrize("suffix", ["mp3", "flac", "ogg", "opus", "wav", "m4a", "webm"])
def test_whatever_is_flipped_the_end_is_a_clip_or_one_line(music, tmp_path, suffix):
    data, random = (music / f"a.{suffix}").read_bytes()[:30000], np.random.default_rng(5)
    for _ in range(25):
        broken = bytearray(data)
        for place in random.integers(0, len(data), random.integers(1, 60)):
            broken[place] ^= 1 << random.integers(8)
        if random.random() < 0.5:  # a header, too
            broken[random.integers(200)] = random.integers(256)
        path = tmp_path / f"a.{suffix}"
        path.write_bytes(broken)
        try:
            clip = load(path, duration=4)
        except SonicError as error:
            assert str(error).isprintable() and str(error).startswith(f"a.{suffix}: ")
        else:
            assert isinstance(clip, Clip) and len(clip.samples) and np.isfinite(clip.samples).all()


def test_importing_is_light():
    heavy = "librosa torch matplotlib pandas scipy av numba cv2"
    code = f"import sys, sonic.cream.audio; print([name for name in '{heavy}'.split() if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


# real files


@pytest.mark.skipif(not (SHARED / "audio").is_dir(), reason="no recordings beside the project")
def test_real_recordings_are_librosas():
    files = [path for path in sorted((SHARED / "audio").iterdir()) if path.suffix in AUDIO_SUFFIXES]
    assert files
    for path in files:
        clip = load(path, duration=20)
        np.testing.assert_array_equal(clip.samples, librosa.load(path, duration=20)[0])
        assert clip.notes == () or abs(clip.samples.mean()) > 0.3  # one of them, of a whale, is off centre


@pytest.mark.skipif(not (SHARED / "broken").is_dir(), reason="no broken files beside the project")
def test_broken_files_end_as_a_clip_or_one_line():
    for path in sorted((SHARED / "broken").glob("*/*")):
        try:
            clip = load(path)
        except SonicError as error:
            assert str(error).isprintable() and str(error).startswith(path.name + ": ")
        else:
            assert len(clip.samples) and np.isfinite(clip.samples).all() and all(map(str.isprintable, clip.notes))
