"""Files that break programs, made from a seed: cut, damaged, lying, huge, or no sound at all; none is stored.

`make_poison(kind, path)` writes one, `POISON` says what has to become of each kind, `good_track(path)` writes music.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import numpy as np
import soundfile

RATE = 22050
FORMATS = ("wav", "flac", "mp3", "ogg", "opus", "aiff", "m4a")


@dataclass(frozen=True)
class Poison:
    "A kind of file."

    row: int  # of the table of cases in the research
    suffix: str
    statuses: str  # that the manifest may say, with spaces between
    says: str  # what has to be in the reason
    make: Callable[[np.random.Generator], bytes]


# ---- music -----------------------------------------------------------------------------------------------------------


def sound(random: np.random.Generator, seconds: float = 2.0, rate: int = RATE) -> np.ndarray:
    "Plucked notes in a little noise, in stereo: float32, shape (n, 2)."
    time = np.arange(round(seconds * rate)) / rate
    notes = 220 * 2 ** (random.integers(0, 24, int(4 * seconds) + 1) / 12)
    pluck = np.exp(-8 * (4 * time % 1)) * np.sin(2 * np.pi * notes[(4 * time).astype(int)] * time)
    return (0.3 * np.stack([pluck, np.roll(pluck, 20)], 1) + random.normal(0, 0.01, (len(time), 2))).astype(np.float32)


def encoded(samples: np.ndarray, suffix: str, *, rate: int = RATE) -> bytes:
    "A file of that format: shape (n, channels) or (n,)."
    file = io.BytesIO()
    if suffix == "m4a":
        _encode_m4a(file, samples, rate)
    elif suffix == "opus":
        soundfile.write(file, samples, 24000, format="OGG", subtype="OPUS")
    else:
        soundfile.write(file, samples, rate, format=suffix.upper())
    return _renumbered(file.getvalue()) if suffix in ("ogg", "opus") else file.getvalue()


def _renumbered(ogg: bytes) -> bytes:
    "The same pages, of stream 1: libsndfile draws a number at random."
    made, at = b"", 0
    while at < len(ogg):
        flag, position, _, number = struct.unpack("<BqII", ogg[at + 5 : at + 22])
        laces = ogg[at + 27 : at + 27 + ogg[at + 26]]
        at += 27 + len(laces) + sum(laces)
        made += ogg_page(ogg[at - sum(laces) : at], laces, flag=flag, position=position, number=number)
    return made


def _encode_m4a(file: io.BytesIO, samples: np.ndarray, rate: int) -> None:
    with av.open(file, "w", format="ipod") as box:
        stream = box.add_stream("aac", rate=rate, layout="stereo")
        convert = av.AudioResampler(format="fltp", layout="stereo", rate=rate, frame_size=1024)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="stereo")
        frame.rate, frame.pts = rate, 0
        for part in [*convert.resample(frame), *convert.resample(None), None]:
            box.mux(stream.encode(part))


def good_track(path: Path, seed: int = 0, seconds: float = 1.0) -> None:
    "Write music in the format that the name ends in."
    path.write_bytes(encoded(sound(np.random.default_rng(seed), seconds), path.suffix[1:]))


# ---- faults ----------------------------------------------------------------------------------------------------------


def cut(data: bytes, share: float) -> bytes:
    "The beginning of a file."
    return data[: int(len(data) * share)]


def flipped(data: bytes, random: np.random.Generator) -> bytes:
    "A file with up to 200 bits turned over, and every other time one byte of its header as well."
    damaged = bytearray(data)
    for place in random.integers(0, len(data), random.integers(1, 200)):
        damaged[place] ^= 1 << random.integers(8)
    if random.random() < 0.5:
        damaged[random.integers(min(200, len(data)))] = random.integers(256)
    return bytes(damaged)


def streaminfo(data: bytes, frames: int) -> bytes:
    "A FLAC file that claims that many frames, in the 36 bits that RFC 9639, 8.2 keeps for them."
    word = int.from_bytes(data[21:26]) >> 36 << 36 | frames
    return data[:21] + word.to_bytes(5) + data[26:]


def wav(
    body: bytes, *, rate: int = RATE, channels: int = 1, claims: int | None = None, bits: int = 16, kind: int = 1
) -> bytes:
    "A WAV file whose header says what one wants; `claims` bytes of sound."
    long, frame = len(body) if claims is None else claims, channels * bits // 8
    about = struct.pack("<HHIIHH", kind, channels, rate, rate * frame & 0xFFFFFFFF, frame & 0xFFFF, bits)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + long)
        + b"WAVEfmt \x10\0\0\0"
        + about
        + b"data"
        + struct.pack("<I", long)
        + body
    )


def tag(claims: int, body: bytes = b"") -> bytes:
    "An ID3v2 tag that claims that many bytes."
    return b"ID3\4\0\0" + bytes(claims >> 7 * place & 127 for place in (3, 2, 1, 0)) + body


def floats(value: float) -> Callable[[np.random.Generator], bytes]:
    "A WAV file of floats, with one sample of that value."

    def make(random: np.random.Generator) -> bytes:
        samples = sound(random, 0.5)
        samples[random.integers(len(samples)), 0] = value
        return wav(samples.tobytes(), channels=2, bits=32, kind=3)  # libsndfile would write what time it is

    return make


# ---- bombs -----------------------------------------------------------------------------------------------------------


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    "A cyclic check, the highest bit first, as FLAC's frames have it (RFC 9639, 9.1.8 and 9.3)."
    value = 0
    for byte in data:
        value ^= byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial if value >> bits - 1 else value << 1) & (1 << bits) - 1
    return value


@cache
def flac_bomb(hours: float = 10.0, said: bool = True) -> bytes:
    "That much silence at 8 kHz, 14 bytes for eight seconds (RFC 9639, 8.2 and 9); the header may keep it to itself."
    count = int(hours * 3600 * 8000 / 65535)
    rate_and_shape = 8000 << 44 | 0 << 41 | 15 << 36 | (count * 65535 if said else 0)  # 1 channel of 16 bits
    info = struct.pack(">HH", 65535, 65535) + bytes(6) + rate_and_shape.to_bytes(8) + bytes(16)
    frames = bytearray(b"fLaC\x80\0\0\x22" + info)
    for number in range(count):
        head = b"\xff\xf8\x74\x08" + chr(number).encode("utf-8", "surrogatepass") + b"\xff\xfe"
        frame = head + bytes([_crc(head, 0x07, 8)]) + b"\0\0\0"  # one constant subframe
        frames += frame + _crc(frame, 0x8005, 16).to_bytes(2)
    return bytes(frames)


TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def ogg_page(body: bytes, laces: bytes, *, flag: int, position: int, number: int) -> bytes:
    "A page of Ogg; its check is zlib's with the bits turned round, begun at 0 (RFC 3533, 6)."
    head = b"OggS\0" + struct.pack("<BqII", flag, position, 1, number)
    page = head + bytes(4) + bytes([len(laces)]) + laces + body
    check = int(f"{zlib.crc32(page.translate(TURNED), 0xFFFFFFFF) ^ 0xFFFFFFFF:032b}"[::-1], 2)
    return head + struct.pack("<I", check) + page[26:]


@cache
def opus_bomb(hours: float = 10.0) -> bytes:
    "That much silence: packets of one byte for 120 ms (RFC 6716, 3.1: two frames of 60 ms without a byte)."
    about = b"OpusHead\1\1" + struct.pack("<HIhB", 312, 48000, 0, 0)
    pages = [ogg_page(about, bytes([len(about)]), flag=2, position=0, number=0)]
    tags = b"OpusTags" + bytes(8)
    pages.append(ogg_page(tags, bytes([len(tags)]), flag=0, position=0, number=1))
    count = int(hours * 3600 / 0.12 / 255)
    for number in range(count):
        position = (number + 1) * 255 * 5760
        pages.append(
            ogg_page(b"\x19" * 255, b"\1" * 255, flag=4 * (number == count - 1), position=position, number=number + 2)
        )
    return b"".join(pages)


def packets_bomb(m4a: bytes, _: np.random.Generator) -> bytes:
    "An M4A that claims sixty million packets, all in one chunk (ISO/IEC 14496-12, 8.6.1.2, 8.7.3 and 8.7.4)."
    data = bytearray(m4a)
    for name, numbers in (
        (b"stsz", (0, 1, 60_000_000)),
        (b"stts", (0, 1, 60_000_000, 1024)),
        (b"stsc", (0, 1, 1, 60_000_000, 1)),
    ):
        place = data.index(name) + 4
        data[place : place + 4 * len(numbers)] = struct.pack(f">{len(numbers)}I", *numbers)
    return bytes(data)


# ---- all of it -------------------------------------------------------------------------------------------------------


Make = Callable[[np.random.Generator], bytes]


def always(data: bytes) -> Make:
    return lambda random: data


def music(suffix: str, change: Callable[[bytes, np.random.Generator], bytes] = lambda data, random: data) -> Make:
    "Music in that format, with something done to the file."
    return lambda random: change(encoded(sound(random), suffix), random)


def samples(change: Callable[[np.ndarray], np.ndarray], suffix: str = "wav") -> Make:
    "Music with something done to its samples."
    return lambda random: encoded(change(sound(random)), suffix)


def header(size: int = 9000, **says: int) -> Make:
    "A WAV file of so many bytes of noise, and what its header says."
    return lambda random: wav(random.bytes(size), **says)


def _kinds() -> Iterator[tuple[str, Poison]]:
    "Every kind, by name."
    page = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>gone</body></html>"
    sign = "no audio format"
    yield "empty", Poison(1, "mp3", "failed", "empty file", always(b""))
    yield "one byte", Poison(2, "mp3", "failed", sign, lambda random: random.bytes(1))
    yield "header only", Poison(2, "wav", "failed", "only 0.000 s", music("wav", lambda data, _: data[:64]))
    yield "joined mp3", Poison(3, "mp3", "warned", "the decoder stopped after", music("mp3", lambda data, _: data * 2))
    for suffix in ("mp3", "ogg", "opus", "wav", "aiff", "flac"):
        row, says = {"mp3": (3, "decode"), "flac": (5, "damaged: decoded")}.get(suffix, (4, ""))
        shorter = music(suffix, lambda data, random: cut(data, random.uniform(0.6, 0.9)))
        yield f"cut {suffix}", Poison(row, suffix, "warned", says, shorter)
    yield "cut m4a", Poison(4, "m4a", "failed", "damaged or incomplete M4A", music("m4a", lambda data, _: data[:9000]))
    for suffix in FORMATS:
        yield f"flipped {suffix}", Poison(6, suffix, "done warned failed", "", music(suffix, flipped))
    yield "noise", Poison(7, "flac", "failed", sign, lambda random: b"\0" + random.bytes(5000))
    yield "web page", Poison(7, "mp3", "failed", sign, always(page))
    yield "playlist", Poison(7, "m4a", "failed", sign, always(b"ffconcat version 1.0\nfile a.wav\n"))
    yield "other ending", Poison(8, "mp3", "warned", "named .mp3 but holds WAV", music("wav"))
    yield "tag alone", Poison(9, "mp3", "failed", "a tag, but no sound", always(tag(500, bytes(500))))
    yield "tag of 256 MB", Poison(9, "mp3", "failed", "a tag, but no sound", always(tag((1 << 28) - 1, bytes(99))))
    hours = "lasts 10.0 h, more than 3 h"
    yield "flac bomb", Poison(10, "flac", "failed", hours, lambda random: flac_bomb())
    yield "silent flac bomb", Poison(10, "flac", "failed timed_out", "", lambda random: flac_bomb(said=False))
    yield "opus bomb", Poison(10, "opus", "failed", hours, lambda random: opus_bomb())
    yield "packets bomb", Poison(10, "m4a", "failed", "claims 60000000 packets", music("m4a", packets_bomb))
    yield "unknown length", Poison(11, "flac", "done", "", music("flac", lambda data, _: streaminfo(data, 0)))
    forged = music("flac", lambda data, _: streaminfo(data, (1 << 36) - 1))
    yield "forged length", Poison(11, "flac", "warned", "of the 3116529.56 s declared", forged)
    says = "decoded 0.25 s of the"
    yield "ten hours in 10 kB", Poison(12, "wav", "warned", says, header(11025, claims=1_587_600_000))
    for rate in (0, 1, 7999, 4_000_000_000):
        says = "damaged or incomplete WAV" if rate in (0, 4_000_000_000) else f"a sample rate of {rate} Hz"
        yield f"{rate} Hz", Poison(13, "wav", "failed", says, header(rate=rate))
    for channels in (9, 1024, 30000):
        says = "damaged or incomplete WAV" if channels == 30000 else f"{channels} channels"
        yield f"{channels} channels", Poison(14, "wav", "failed", says, header(channels * 10, channels=channels))
    for value in (np.nan, np.inf, 1e30):
        row, says = (16, "1e+30 times full scale") if value == 1e30 else (15, "not finite")
        yield f"{value} sample", Poison(row, "wav", "failed", says, floats(value))
    for suffix in ("wav", "mp3", "flac"):
        yield f"silent {suffix}", Poison(17, suffix, "warned", "the clip is silent", samples(np.zeros_like, suffix))
    yield "off centre", Poison(18, "wav", "warned", "off centre", samples(lambda sound: sound + 0.2))
    yield "clipped", Poison(18, "wav", "warned", "clipped", samples(lambda sound: np.clip(500 * sound, -1, 1)))
    tone = samples(lambda sound: np.sin(np.arange(RATE) * sound.std()) / 2)
    yield "single tone", Poison(18, "wav", "done", "", tone)
    for length, says in (0, "no sound can be decoded"), (1, "only 0.000 s of sound"), (500, "only 0.023 s of sound"):
        shortest = samples(lambda sound, length=length: sound[:length])  # type: ignore[misc]
        yield f"{length} samples", Poison(19, "wav", "failed", says, shortest)


POISON = dict(_kinds())


def make_poison(kind: str, path: Path, *, seed: int = 0) -> None:
    "Write a file of one of the kinds in `POISON`; the same for the same seed."
    path.write_bytes(POISON[kind].make(np.random.default_rng([seed, sum(kind.encode())])))


def make_all(folder: Path, *, seed: int = 0) -> dict[str, Path]:
    "One file of every kind, named after it; where each is."
    paths = {kind: folder / f"{kind}.{poison.suffix}" for kind, poison in POISON.items()}
    for kind, path in paths.items():
        make_poison(kind, path, seed=seed)
    return paths
