"The gate before and while a file is decoded: whatever it holds, a true status and a reason, at little memory."

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import soundfile
from poison import (
    FORMATS,
    POISON,
    cut,
    encoded,
    flac_bomb,
    good_track,
    make_all,
    make_poison,
    ogg_page,
    sound,
    tag,
    wav,
)

from sonic.config import Config, SonicError
from sonic.cream.audio import load
from sonic.cream.render import render
from sonic.cream.views import VIEWS

HERE = 0  # jobs: in this very process
BESIDE = Path(__file__).parent
SLOW = {"silent flac bomb"}  # takes 4 s


# ---- what becomes of each kind ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "One file of every kind."
    folder = tmp_path_factory.mktemp("poison")
    make_all(folder, seed=1)
    for kind in SLOW:
        (folder / f"{kind}.{POISON[kind].suffix}").unlink()
    return folder


@pytest.fixture(scope="module")
def out(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    render(folder, out, jobs=HERE, progress=False)
    return out


@pytest.fixture(scope="module")
def manifest(out: Path) -> pd.DataFrame:
    table = pd.read_parquet(out / "manifest.parquet")
    return table.set_index(table["track_id"].str.rsplit(".", n=1).str[0])


@pytest.mark.parametrize("kind", [kind for kind in POISON if kind not in SLOW])
def test_what_becomes_of_it(manifest: pd.DataFrame, out: Path, kind: str) -> None:
    row, poison = manifest.loc[kind], POISON[kind]
    assert row["status"] in poison.statuses.split(), row["reason"]
    assert poison.says in row["reason"]
    assert row["reason"].isprintable() and len(row["reason"]) < 200
    assert bool(row["reason"]) == (row["status"] != "done")
    drawn = row["status"] in ("done", "warned")
    assert [pd.notna(row[view]) and (out / str(row[view])).exists() for view in VIEWS] == [drawn] * 4


def test_none_is_lost_and_nothing_is_left_over(manifest: pd.DataFrame, folder: Path, out: Path) -> None:
    assert len(manifest) == len([*folder.iterdir()]) == len(POISON) - len(SLOW)
    pictures = manifest[[*VIEWS]].stack().dropna()
    others = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} - {*pictures}
    assert {name.split("/")[-1].split(".")[0] for name in others} == {"manifest", "sonic", "metadata"}


def test_the_table_covers_its_rows() -> None:
    assert {poison.row for poison in POISON.values()} == {*range(1, 20)}  # row 20 is about settings


def test_silence_is_black(manifest: pd.DataFrame, out: Path) -> None:
    for kind in ("silent wav", "silent flac", "silent mp3"):
        for view in VIEWS:
            data = np.fromfile(out / str(manifest.loc[kind, view]), np.uint8)
            assert not np.any(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)), (kind, view)


def test_the_factory_repeats_itself(tmp_path: Path) -> None:
    for kind in sorted({*POISON} - SLOW):
        for name, seed in ("a", 3), ("b", 3):
            make_poison(kind, tmp_path / name, seed=seed)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes(), kind
        assert (tmp_path / "a").stat().st_size < 1_000_000, kind
    for name in ("a.mp3", "a.m4a"):
        good_track(tmp_path / name, 5)
        assert load(tmp_path / name).notes == ()


# ---- cut and flipped -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", FORMATS)
def test_cut_anywhere_it_is_noticed(tmp_path: Path, suffix: str) -> None:
    whole = encoded(sound(np.random.default_rng(2), 4.0), suffix)
    path, lengths = tmp_path / f"a.{suffix}", []
    for tenths in range(1, 10):
        path.write_bytes(cut(whole, tenths / 10))
        try:
            clip = load(path)
        except SonicError as error:
            assert str(error).isprintable()
            continue
        assert clip.notes, tenths
        lengths.append(clip.seconds)
    assert lengths == sorted(lengths) and all(seconds < 4 for seconds in lengths)
    assert len(lengths) >= {"m4a": 0, "opus": 5}.get(
        suffix, 8
    )  # the table of an M4A comes last; pages of Opus are long


@pytest.mark.parametrize("end", range(1, 300, 7))
def test_an_ogg_that_lost_its_last_bytes_is_noticed(tmp_path: Path, end: int) -> None:
    data = encoded(sound(np.random.default_rng(2)), "ogg")
    (tmp_path / "a.ogg").write_bytes(data[:-end])
    assert "cut short" in load(tmp_path / "a.ogg").notes[0]


FLIP = """
import sys
from collections import Counter
from pathlib import Path
import numpy as np
from poison import encoded, flipped, sound
from sonic.config import SonicError
from sonic.cream.audio import load
suffix, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
path, whole = Path(sys.argv[4]) / f"a.{suffix}", encoded(sound(np.random.default_rng(0), 1.0), suffix)
found = Counter()
for seed in range(first, last):
    print(seed, end=" ", flush=True)
    path.write_bytes(flipped(whole, np.random.default_rng([seed, 1])))
    try:
        clip = load(path, 22050)
    except SonicError as error:
        assert str(error).isprintable() and str(error).startswith(path.name + ": "), str(error)
        found["failed"] += 1
    else:
        assert len(clip.samples) and np.isfinite(clip.samples).all()
        found["warned" if clip.notes else "done"] += 1
print(dict(found))
"""


def flips(suffix: str, first: int, last: int, folder: Path) -> str:
    "What becomes of flipped files, in a process of its own; if it dies, the last number it said is the seed."
    command = [sys.executable, "-c", FLIP, suffix, str(first), str(last), str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=BESIDE)
    seed = run.stdout.split("{")[0].split()[-1:]
    assert run.returncode == 0, f"{suffix}, seed {seed}: exit {run.returncode}, {run.stderr[-500:]}"
    return run.stdout[run.stdout.index("{") :]


@pytest.mark.parametrize("suffix", ["mp3", "m4a"])
def test_flipped_bits_never_end_a_run(tmp_path: Path, suffix: str) -> None:
    assert "failed" in flips(suffix, 0, 20, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", FORMATS)
def test_five_hundred_times_flipped_bits_never_end_a_run(tmp_path: Path, suffix: str) -> None:
    flips(suffix, 0, 500, tmp_path)


# ---- memory ----------------------------------------------------------------------------------------------------------


DRAW = """
import sys
from functools import partial
from sonic.config import Config, SonicError
from sonic.cream.track import Track, render_track
track = Track("a", sys.argv[1], {view: f"{view}/a.png" for view in ("mel", "chroma", "fft", "tempogram")})
from pathlib import Path
try:
    said = render_track(track, out=Path(sys.argv[2]), config=Config(), arrays=False)["reason"]
except SonicError as error:
    said = str(error)
(most,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(most) // 1024, said)  # not ru_maxrss, which counts what the parent had when it was forked
"""
MOST = 600  # MB
needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")


def drawn(path: Path, folder: Path) -> tuple[int, str]:
    "Megabytes that a process took at most to draw a file, and what it said of it."
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", DRAW, str(path), str(folder / "out")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert run.returncode == 0, run.stderr[-500:]
    taken, _, said = run.stdout.strip().partition(" ")
    return int(taken), said


def hole(path: Path, before: bytes, size: int, after: bytes = b"") -> None:
    "A file with so many zeros in its middle, which take no space."
    with open(path, "wb") as file:
        file.write(before)
        file.seek(size, os.SEEK_CUR)
        file.write(after)
        file.truncate()


def box(kind: bytes, size: int) -> bytes:
    return struct.pack(">I4s", size + 8, kind)


def eight_channels(path: Path) -> None:
    soundfile.write(
        path, np.tile(sound(np.random.default_rng(0), 5, 384_000)[:, :1], (1, 8)), 384_000, subtype="DOUBLE"
    )


def text_tag(path: Path) -> None:
    "A title of 250 MB, which libsndfile would hold twice."
    size = 250_000_000
    frame = b"TIT2" + bytes(size >> 7 * place & 127 for place in (3, 2, 1, 0)) + b"\0\0\3"
    hole(path, tag(size + 10, frame), size - 1, encoded(sound(np.random.default_rng(0)), "mp3"))


def text_tag_between(path: Path) -> None:
    size, music = 250_000_000, encoded(sound(np.random.default_rng(0)), "mp3")
    frame = b"TIT2" + bytes(size >> 7 * place & 127 for place in (3, 2, 1, 0)) + b"\0\0\3"
    hole(path, music + tag(size + 10, frame), size - 1, music)


def aac_cover(path: Path) -> None:
    "A picture of 250 MB before an ADTS stream, which FFmpeg would keep."
    size = 250_000_000
    frame = b"APIC" + bytes(size >> 7 * place & 127 for place in (3, 2, 1, 0)) + b"\0\0" + b"\0image/jpeg\0\3\0"
    hole(path, tag(size + 10, frame), size - 14, b"\xff\xf1\x5c\x80\x01\x3f\xfc" * 50)


def cover(path: Path) -> None:
    "A picture of 400 MB in the table of an M4A."
    music, size = encoded(sound(np.random.default_rng(0)), "m4a"), 400_000_000
    start = music.index(b"moov") - 4
    length = int.from_bytes(music[start : start + 4])
    assert start + length == len(music)
    table = struct.pack(">I", length + size + 56) + music[start + 4 :]
    picture = box(b"udta", size + 48) + box(b"meta", size + 40) + bytes(4)
    picture += (
        box(b"ilst", size + 28 - 0)
        + box(b"covr", size + 16 + 4)
        + box(b"data", size + 12)[:8]
        + struct.pack(">II", 13, 0)
    )
    hole(path, music[:start] + table + picture, size)


def comments(path: Path) -> None:
    "An Ogg file with fourteen million comments, of which libsndfile makes a gigabyte."
    count = 14_000_000
    about = b"OpusHead\1\1" + struct.pack("<HIhB", 312, 48000, 0, 0)
    body = b"OpusTags" + struct.pack("<II", 0, count) + b"\3\0\0\0a=b" * count
    with open(path, "wb") as file:
        file.write(ogg_page(about, bytes([len(about)]), flag=2, position=0, number=0))
        for number, start in enumerate(range(0, len(body), 65025)):
            part = body[start : start + 65025]
            laces = b"\xff" * (len(part) // 255) + (b"" if len(part) == 65025 else bytes([len(part) % 255]))
            file.write(ogg_page(part, laces, flag=number > 0, position=0, number=number + 1))
        for number in range(9):
            file.write(
                ogg_page(b"\x19" * 255, b"\1" * 255, flag=0, position=5760 * 255 * (number + 1), number=9**6 + number)
            )


def element(name: int, body: bytes, size: int | None = None) -> bytes:
    "An element of Matroska (RFC 8794, 4 and 5), its length written with eight bytes."
    return (
        name.to_bytes((name.bit_length() + 7) // 8)
        + (1 << 56 | (len(body) if size is None else size)).to_bytes(8)
        + body
    )


def one_packet(path: Path) -> None:
    "A Matroska file in which a single packet holds 300 MB of samples."
    size = 300_000_000
    shape = element(0xE1, element(0xB5, struct.pack(">d", 48000)) + element(0x9F, b"\1") + element(0x6264, b"\x10"))
    track = (
        element(0xD7, b"\1") + element(0x73C5, b"\1") + element(0x83, b"\2") + element(0x86, b"A_PCM/INT/LIT") + shape
    )
    head = element(0x1A45DFA3, element(0x4282, b"matroska"))
    inside = element(0x1549A966, element(0x2AD7B1, b"\x0f\x42\x40")) + element(0x1654AE6B, element(0xAE, track))
    block = element(0xE7, b"\0") + element(0xA3, b"\x81\0\0\x80", size + 4)
    cluster = element(0x1F43B675, block, len(block) + size)
    hole(path, head + element(0x18538067, inside + cluster, len(inside + cluster) + size), size)


def many_channels(path: Path) -> None:
    soundfile.write(path, np.zeros((9000, 255)), 44100)


def three_hours(path: Path) -> None:
    path.write_bytes(flac_bomb(2.9))


MONSTERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "eight channels at 384 kHz.wav": (eight_channels, ""),
    "255 channels.ogg": (many_channels, "255 channels"),
    "title.mp3": (text_tag, ""),
    "title between.mp3": (text_tag_between, "a tag of more than 32 MB"),
    "cover.aac": (aac_cover, "a sample rate of 0 Hz"),
    "cover.m4a": (cover, "tags and tables of more than 32 MB"),
    "comments.opus": (comments, "a packet of more than 32 MB"),
    "one packet.mka": (one_packet, ""),
    "three hours.flac": (three_hours, ""),
}


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("name", MONSTERS)
def test_memory_has_a_bound(tmp_path: Path, name: str) -> None:
    make, says = MONSTERS[name]
    make(tmp_path / name)
    taken, said = drawn(tmp_path / name, tmp_path)
    assert taken < MOST, said
    assert says in said, said


@needs_proc
@pytest.mark.parametrize("kind", ["packets bomb", "flac bomb"])
def test_a_bomb_takes_no_memory(tmp_path: Path, kind: str) -> None:
    make_poison(kind, tmp_path / f"bomb.{POISON[kind].suffix}")
    taken, said = drawn(tmp_path / f"bomb.{POISON[kind].suffix}", tmp_path)
    assert POISON[kind].says in said and taken < 400


@needs_proc
@pytest.mark.slow
def test_a_bomb_that_says_nothing_is_stopped(tmp_path: Path) -> None:
    make_poison("silent flac bomb", tmp_path / "bomb.flac")
    taken, said = drawn(tmp_path / "bomb.flac", tmp_path)
    assert said.startswith("lasts more than 3 h") and taken < 400


# ---- limits and settings ---------------------------------------------------------------------------------------------


def test_how_long_a_track_may_be_is_a_setting(tmp_path: Path) -> None:
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "long.wav").write_bytes(wav(bytes(2 * 8000 * 40), rate=8000))
    good_track(tmp_path / "music" / "short.wav", 1)

    def drawn(**options: Any) -> tuple[list[str], int]:
        table = render(tmp_path / "music", tmp_path / "out", jobs=HERE, progress=False, retry=True, **options)
        return table["status"].tolist(), table.attrs["drawn"]

    assert drawn(**{"limits.hours": 0.01}) == (["failed", "done"], 2)
    table = pd.read_parquet(tmp_path / "out" / "manifest.parquet")
    assert table["reason"][0].endswith(
        "more than 0.01 h; say how much to read with duration, or allow more with limits.hours"
    )
    assert drawn(**{"limits.hours": 0.02}) == (["warned", "done"], 1)  # of the same recipe: the other one is kept
    assert drawn(**{"limits.hours": 0.01, "audio.duration": 1}) == (["warned", "done"], 2)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"mel.fmax": 12000}, "mel.fmax=12000 must be at most half of audio.sample_rate, 11025 Hz"),
        ({"mel.n_mels": 1024}, "take fewer bands"),
        ({"limits.hours": 0}, "limits.hours=0 must be between 0.01 and 240 h"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_any_work(
    tmp_path: Path, setting: dict[str, Any], says: str
) -> None:
    good_track(tmp_path / "a.wav")
    with pytest.raises(SonicError, match=says):
        render(tmp_path / "a.wav", tmp_path / "out", jobs=HERE, progress=False, **setting)
    assert not (tmp_path / "out").exists()
    assert Config().limits.hours == 3
