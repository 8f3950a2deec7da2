"Logs: answers beside plain pandas, every source in its true form, faults counted, memory bounded, names matched."

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from sonic.rouge import rows as rows_module
from sonic.rouge.cells import read_times
from sonic.rouge.log import Log, make_log, open_log, save_log
from sonic.rouge.matching import match_log
from sonic.rouge.plays import make_plays
from sonic.rouge.rows import log_schema, write_rows
from sonic.rouge.sources import read_log
from sonic.sections import SonicError

DATA = Path(__file__).parent / "data" / "logs"
ODD = [
    "it's",
    'say "hi"',
    "two\nlines",
    "tab\there",
    "😀",
    "日本",
    "a\0b",
    "'; DROP TABLE log; --",
    "%s ? $1",
    "\\",
    "é",
    "é",
]


def random_frame(seed: int, count: int = 3000, *, odd: bool = False) -> pd.DataFrame:
    "Plays at random; times are few, so that many are equal."
    rng = np.random.default_rng(seed)
    names = ODD if odd else [f"id {n}" for n in range(40)]
    columns = {f"{name}_id": np.array(names, object)[rng.integers(0, len(names), count)] for name in ("user", "track")}
    return pd.DataFrame(columns | {"time": rng.integers(1, 500, count), "plays": rng.integers(1, 9, count) / 4})


def grouped(frame: pd.DataFrame) -> pd.DataFrame:
    "Pairs as pandas counts them."
    pairs = frame.groupby(["user_id", "track_id"])
    found = pairs["time"].agg(first="min", last="max").join(pairs["plays"].sum().rename("count")).reset_index()
    return found.sort_values(["user_id", "first", "track_id"], ignore_index=True)


def said(plays) -> pd.DataFrame:
    "Pairs as a log counts them."
    ids = {
        "user_id": [plays.users[row] for row in plays.user],
        "track_id": [plays.tracks[column] for column in plays.track],
    }
    return pd.DataFrame(ids | {name: getattr(plays, name) for name in ("first", "last", "count")})


def told(log: Log) -> list[tuple]:
    "User, track, time and plays of every row."
    every = [row for batch in log.batches() for row in batch.to_pylist()]
    return [(row["user_id"], row["track_id"], row["time"], row["plays"]) for row in every]


# ---- asked -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["memory", "disk"])
@pytest.mark.parametrize("odd", [False, True])
def test_answers_are_those_of_pandas(tmp_path, where, odd):
    for seed in range(4):
        frame, rng = random_frame(seed, odd=odd), np.random.default_rng(seed)
        log = make_log(frame)
        if where == "disk":
            write_rows(log.source.to_batches(max_chunksize=700), tmp_path / "log.parquet")
            log = open_log(tmp_path / "log.parquet")
        since, until = sorted(int(time) for time in rng.integers(1, 500, 2))
        some = frame[(frame["time"] >= since) & (frame["time"] < until)]
        columns = ["user_id", "track_id", "first", "last", "count"]
        plays = log.plays(since=since, until=until)
        pd.testing.assert_frame_equal(said(plays), grouped(some)[columns], check_dtype=False)
        assert plays.users == sorted(some["user_id"].unique()) == log.users(since=since, until=until)
        assert plays.tracks == sorted(some["track_id"].unique()) == log.tracks(since=since, until=until)
        users = [*rng.permutation(frame["user_id"].unique())[:7], "nobody"]
        tracks = ["nothing", *rng.permutation(frame["track_id"].unique())[:9]]
        given = log.plays(users=users, tracks=tracks)
        kept = frame[frame["user_id"].isin(users) & frame["track_id"].isin(tracks)]
        wanted = make_plays(grouped(kept).rename(columns={"count": "plays"}), users=users, tracks=tracks)
        assert (given.users, given.tracks) == (users, tracks)
        for name in ("user", "track", "count", "first", "last"):
            np.testing.assert_array_equal(getattr(given, name), getattr(wanted, name))
            assert getattr(given, name).dtype == getattr(wanted, name).dtype
        assert log.plays(users=users).tracks == sorted(frame[frame["user_id"].isin(users)]["track_id"].unique())


def test_a_window_holds_its_first_second_and_not_its_last():
    log = make_log(pd.DataFrame({"user_id": ["a", "b", "c"], "track_id": "t", "time": [10, 20, 30]}))
    assert log.users(since=10, until=30) == ["a", "b"]
    assert log.users(since=10.5, until=30.5) == ["b", "c"]  # times are whole: 10.5 is after 10
    assert log.users(since=11, until=20) == log.users(since=20, until=20) == []
    assert len(log.plays(since=31)) == len(log.plays(until=10)) == 0
    assert log.plays(since=31).matrix.shape == (0, 0)
    assert log.plays(since=31, users=["a"], tracks=["t"]).matrix.shape == (1, 1)
    assert log.users(until=31) == log.users() == ["a", "b", "c"]
    cuts = [0, 11, 20, 21, 40]
    parts = [log.plays(since=a, until=b).count.sum() for a, b in zip(cuts, cuts[1:], strict=False)]
    assert sum(parts) == log.plays().count.sum() == 3


def test_a_log_without_times_is_not_cut():
    log = make_log(pd.DataFrame({"user_id": ["a"], "track_id": ["t"], "plays": [2.5]}))
    assert log.span == (0, 0) and not log.timed
    assert log.plays().count.tolist() == [2.5] and log.plays().first.tolist() == [0]
    for ask in (log.plays, log.users, log.tracks):
        for window in ({"since": 0}, {"until": 9}):
            with pytest.raises(SonicError, match="has no times, only counts"):
                ask(**window)


def test_a_small_memory_goes_to_disk_and_leaves_nothing(tmp_path, monkeypatch):
    rng, count, path = np.random.default_rng(0), 1_000_000, tmp_path / "log.parquet"
    pairs = pa.table({"user_id": np.arange(count) // 500, "track_id": rng.integers(0, 30_000, count)})
    pairs = pairs.append_column("time", pa.array(rng.integers(1, 10**6, count)))
    write_rows(pairs.append_column("plays", pa.array(np.ones(count))).cast(log_schema(names=False)).to_batches(), path)
    plenty = open_log(path).plays()
    (tmp_path / "spill").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "spill"))
    monkeypatch.setattr(rows_module.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(rows_module, "MEMORY", "50MB")
    little = open_log(path).plays()
    for name in ("user", "track", "count", "first", "last"):
        np.testing.assert_array_equal(getattr(little, name), getattr(plenty, name))
    assert not list((tmp_path / "spill").iterdir())
    with pytest.raises(SonicError, match="MEMORY='50MB' is too little"), rows_module.ask_rows(path) as base:
        base.execute("SET max_temp_directory_size = '0KB'")  # it was needed
        base.execute("SELECT user_id, track_id, min(time) FROM log GROUP BY ALL ORDER BY 1, 3, 2").fetchnumpy()


def test_what_cannot_be_meant_is_refused():
    frame = random_frame(0, 10)
    for wrong, words in {
        "user_id": "no user_id",
        "track_id": "no track_id",
    }.items():
        for empty in (None, np.nan, "", "  "):
            with pytest.raises(SonicError, match=f"1 of 10 rows have {words}"):
                make_log(frame.assign(**{wrong: [empty, *frame[wrong][1:]]}))
    for plays in (0, -1, np.nan, np.inf):
        with pytest.raises(SonicError, match="plays that are no number above 0"):
            make_log(frame.assign(plays=plays))
    for time in (-1, 10**12, np.nan, np.inf, -1e300):
        with pytest.raises(SonicError, match="not in seconds since 1970"):
            make_log(frame.assign(time=time))
    with pytest.raises(SonicError, match="cannot be read as a log"):
        make_log(frame.assign(user_id=pd.Series(["half \ud83d"] * 10, dtype=object)))
    with pytest.raises(SonicError, match="user_id ann stands twice"):
        make_log(frame).plays(users=["ann", "bob", "ann"])
    assert make_log(frame.assign(time=pd.Timestamp("2020-04-06 12:00", tz="Europe/Berlin"))).span == (1586167200,) * 2


def test_the_name_that_was_played_most_is_the_name():
    frame = pd.DataFrame({"user_id": "a", "track_id": ["x", "x", "x", "y", "z"], "title": ["A", "B", "B", "C", None]})
    log = make_log(frame.assign(artist=["Z", "Z", "Z", "Y", None], plays=[1, 1, 1, 1, 1]))
    assert log.names["title"].to_dict() == {"x": "B", "y": "C"}
    assert make_log(frame.assign(plays=[3, 1, 1, 1, 1])).names["title"]["x"] == "A"
    assert make_log(frame[["user_id", "track_id"]]).names is None


# ---- kept ------------------------------------------------------------------------------------------------------------


def test_a_log_comes_back_as_it_was(tmp_path):
    log = make_log(random_frame(1, odd=True).assign(title="T", artist=None, album="A"))
    for name in ("plain.parquet", "it's [a] *?.parquet", "日本.parquet"):
        save_log(log, tmp_path / "deep" / name)
        again = open_log(tmp_path / "deep" / name)
        assert told(again) == told(log) and again.span == log.span and repr(again) == repr(log)
        assert again.names.equals(log.names)
        assert len(again.plays()) == len(log.plays())
    assert len(list((tmp_path / "deep").iterdir())) == 3
    save_log(open_log(tmp_path / "deep" / "plain.parquet"), tmp_path / "deep" / "plain.parquet")  # onto itself
    assert told(open_log(tmp_path / "deep" / "plain.parquet")) == told(log)


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "log.parquet"
    save_log(make_log(random_frame(0)), path)
    before = path.read_bytes()

    def torn():
        yield from make_log(random_frame(1)).batches()
        raise SonicError("the source broke")

    with pytest.raises(SonicError, match="the source broke"):
        write_rows(torn(), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["log.parquet"]
    with pytest.raises(SonicError, match="cannot be written"):
        save_log(make_log(random_frame(0)), path / "below.parquet")


def test_other_files_are_not_taken_for_logs(tmp_path):
    path = tmp_path / "x.parquet"
    with pytest.raises(SonicError, match="cannot be read as a log"):
        open_log(path)
    for data in (b"", b"PAR1", b"text"):
        path.write_bytes(data)
        with pytest.raises(SonicError, match="cannot be read as a log"):
            open_log(path)
    random_frame(0).to_parquet(path)
    with pytest.raises(SonicError, match="is no log that SONIC wrote"):
        open_log(path)
    save_log(make_log(random_frame(0)), path)
    log = open_log(path)
    path.unlink()
    with pytest.raises(SonicError, match=r"x\.parquet cannot be read"):
        log.plays()


# ---- sources ---------------------------------------------------------------------------------------------------------

ROADS, JOGA = "portishead - roads", "björk - joga"
SOURCES = {
    "music4all": [
        ("user_007XIjOr", "DaTQ53TUmfP93FSr", 1550665680, 1),
        ("user_007XIjOr", "dGeyvi5WCOjDU7da", 1550666100, 1),
        ("user_qZnsZfVQ", "DaTQ53TUmfP93FSr", 1546300800, 1),
    ],
    "onion": [
        ("0", "0aKmGfkHK3OPmWTj", 1501877532, 1),
        ("0", "0aKmGfkHK3OPmWTj", 1501920000, 1),
        ("33004", "ZZx1qvO4IJMkEUZ1", 1584662399, 1),
    ],
    "onion/userid_trackid_count.tsv": [("0", "0aKmGfkHK3OPmWTj", 0, 2), ("33004", "ZZx1qvO4IJMkEUZ1", 0, 1)],
    "lastfm-to-csv.csv": [
        ("me", "joni mitchell - river", 1586175000, 1),
        ("me", "earth, wind & fire - boogie wonderland with the emotions", 1586175240, 1),
    ],
    "lastfmstats-ann.csv": [
        ("ann", "björk - hyperballad", 1586175300, 1),
        ("ann", "björk - joga live", 1586175000, 1),
    ],
    "ghan.csv": [("me", "björk - hyperballad", 1586175300, 1)],
    "recenttracks.json": [("ann", "björk - hunter", 1586175000, 1)],
    "userid-timestamp-artid-artname-traid-traname.tsv": [
        ("user_000001", "坂本龍一 - composition 0919 live 2009 4 15", 1241445250, 1),
        ("user_001000", '"weird al" yankovic - eat it', 1155481199, 1),
    ],
    "listens.jsonl": [("me", ROADS, 1586175000, 1), ("me", ROADS, 1586175300, 1)],
    "4.listens": [("rob", ROADS, 1586175000, 1), ("mayhem", JOGA, 1586175001, 1)],
    "small.inter": [("196", "242", 881250949, 3), ("186", "302", 891717742, 2.5)],
}
KINDS = {"music4all": "music4all", "listens.jsonl": "listenbrainz", "4.listens": "listenbrainz"}
KINDS |= dict.fromkeys(["onion", "onion/userid_trackid_count.tsv", "small.inter"], "table")


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_is_found_out_and_read(name, tmp_path):
    log = read_log(DATA / name)
    assert told(log) == SOURCES[name]
    assert told(read_log(DATA / name, kind=KINDS.get(name, "lastfm"), out=tmp_path / "log.parquet")) == SOURCES[name]
    assert told(read_log(tmp_path / "log.parquet")) == SOURCES[name]  # what was written is known again
    assert not any("could not" in note or "rows have" in note for note in log.notes)
    wrong = "table" if KINDS.get(name, "lastfm") != "table" else "lastfm"
    if name != "music4all":  # whose log is a table, too
        with pytest.raises(SonicError, match="holds no listening history"):
            read_log(DATA / name, kind=wrong)


def packed(form: str, path: Path, inside: str) -> Path:
    "A file in another wrapping."
    data = path.read_bytes()
    out = path.parent / f"{path.name}.{form}"
    plain = {"bz2": bz2.compress, "gz": gzip.compress, "xz": lzma.compress}
    if form in plain:
        out.write_bytes(plain[form](data[:50]) + plain[form](data[50:]))  # in two streams, as parallel packers write
    elif form == "zst":
        with pa.CompressedOutputStream(str(out), "zstd") as file:
            file.write(data)
    elif form == "zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("README.txt", "not a log")
            archive.writestr("listens/", "")
            archive.writestr(inside, data)
    else:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for member, text in (("dump/COPYING", b"CC0\n"), (f"dump/{inside}", data)):
                info = tarfile.TarInfo(member)
                info.size = len(text)
                tar.addfile(info, io.BytesIO(text))
        path.write_bytes(buffer.getvalue())
        return path if form == "tar" else packed(form.removeprefix("tar."), path, inside)
    return out


@pytest.mark.parametrize("form", ["bz2", "gz", "xz", "zst", "zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst"])
def test_every_wrapping_is_taken_off(form, tmp_path):
    for name in ("onion/userid_trackid_timestamp.tsv", "4.listens", "lastfmstats-ann.csv"):
        path = tmp_path / Path(name).name
        shutil.copy(DATA / name, path)
        log = read_log(packed(form, path, f"listens/2020/{path.name}"))
        assert told(log) == SOURCES.get(name, SOURCES["onion"])
        assert any("left aside: " in note for note in log.notes) == (form == "zip" or "tar" in form)


def test_parquet_in_a_file_and_in_an_archive(tmp_path):
    when = pd.to_datetime(["2020-04-06 12:10", "2020-04-06 12:15"])
    spark = pd.DataFrame({"listened_at": when, "user_id": [7, 9], "artist_name": ["Portishead", "Björk"]})
    spark = spark.assign(release_name=None, recording_name=["Roads", "Jóga"], recording_mbid=[None, "x"])
    want = [("7", ROADS, 1586175000, 1), ("9", JOGA, 1586175300, 1)]
    spark.to_parquet(tmp_path / "0.parquet")
    assert told(read_log(tmp_path / "0.parquet")) == told(read_log(tmp_path, kind="listenbrainz")) == want
    assert told(read_log(packed("tar.zst", tmp_path / "0.parquet", "0.parquet"))) == want
    plain = pd.DataFrame({"userId": ["a", "b"], "itemId": [1, 2], "ts": [1586175000_000, 1586175300_000], "x": [0, 1]})
    plain.astype({"userId": "category"}).to_parquet(tmp_path / "plain.parquet")
    assert told(read_log(tmp_path / "plain.parquet")) == [("a", "1", 1586175000, 1), ("b", "2", 1586175300, 1)]


def test_music4all_brings_names():
    log = read_log(DATA / "music4all")
    assert log.names.loc["dGeyvi5WCOjDU7da"].tolist() == ["Roads", "Portishead", "Dummy"]
    assert told(read_log(DATA / "music4all" / "listening_history.csv")) == told(log)
    assert read_log(DATA / "music4all", kind="table").names is None


def test_the_log_of_onion_is_read_and_not_the_counts_made_from_it(tmp_path):
    for file in (DATA / "onion").iterdir():
        (tmp_path / f"{file.name}.bz2").write_bytes(bz2.compress(file.read_bytes()))
    (tmp_path / "id_essentia.tsv.bz2").write_bytes(bz2.compress(b"id\tx\n1\t2\n"))
    assert told(read_log(tmp_path)) == SOURCES["onion"]


def test_a_folder_is_read_whole_and_says_what_was_left_aside(tmp_path):
    page = json.loads((DATA / "recenttracks.json").read_text())
    for number in (1, 2):
        page["recenttracks"]["track"][1]["date"]["uts"] = str(1586175000 + number)
        (tmp_path / f"page{number}.json").write_text(json.dumps(page))
    shutil.copy(DATA / "listens.jsonl", tmp_path)  # of another kind
    (tmp_path / "torn.json").write_text('{"recenttracks": ')
    (tmp_path / ".hidden.json").write_text("{")
    log = read_log(tmp_path, kind="lastfm")
    assert [row[2] for row in told(log)] == [1586175001, 1586175002]
    assert log.notes[0].startswith("1 of 3 rows could not be read; the first: torn.json is no whole JSON")
    assert log.notes[1:] == ["1 files were left aside: listens.jsonl"]


def test_who_is_not_named_is_me_and_that_is_said():
    assert read_log(DATA / "ghan.csv").notes == ["the source names no listener: all plays are those of one, called me"]
    assert read_log(DATA / "lastfmstats-ann.csv").notes == []


@pytest.mark.parametrize(
    ("name", "bad", "words"),
    [
        ("onion/userid_trackid_timestamp.tsv", b"0\ttorn", "line 3 of .* has 2 cells instead of 3"),
        ("onion/userid_trackid_timestamp.tsv", b"0\tx\t2017-13-40 20:00:00", "1 of 4 rows have no time"),
        ("onion/userid_trackid_timestamp.tsv", b"0\tx\t1970-01-01 00:00:00", "1 of 4 rows have no time"),
        ("onion/userid_trackid_timestamp.tsv", b"\xff\tx\t2017-08-04 20:12:12", "1 of 4 rows are not UTF-8"),
        ("onion/userid_trackid_timestamp.tsv", b"\xff torn", "could not be read"),
        ("onion/userid_trackid_timestamp.tsv", b"\tx\t2017-08-04 20:12:12", "1 of 4 rows have no user_id"),
        ("onion/userid_trackid_count.tsv", b"0\tx\t-3", "1 of 3 rows have plays that are no number above 0"),
        ("onion/userid_trackid_count.tsv", b"0\tx\tmany", "1 of 3 rows have plays that are no number above 0"),
        ("lastfm-to-csv.csv", b"Joni Mitchell,Blue,River,soon", "1 of 3 rows have no time"),
        ("lastfm-to-csv.csv", b",Blue,River,06 Apr 2020 12:10", "1 of 3 rows have no track_id"),
        ("listens.jsonl", b'{"listened_at": 1586175000, "track_me', "line 2 of listens.jsonl"),
        ("listens.jsonl", b"\xff\xfe", "line 2 of listens.jsonl"),
        ("listens.jsonl", b"[1]", "line 2 of listens.jsonl"),
        (
            "listens.jsonl",
            b'{"listened_at": null, "track_metadata": {"artist_name": "a", "track_name": "b"}}',
            "no time",
        ),
        ("listens.jsonl", b'{"listened_at": 1586175000, "track_metadata": {"artist_name": "a"}}', "no track_id"),
        ("listens.jsonl", b'{"listened_at": 1586175000, "track_metadata": 3}', "no time"),
    ],
)
def test_a_bad_line_costs_a_line_and_is_counted(name, bad, words, tmp_path):
    lines = (DATA / name).read_bytes().splitlines(keepends=True)
    place = 1 if name.endswith("l") or "lastfm" in name else 2
    (tmp_path / Path(name).name).write_bytes(b"".join([*lines[:place], bad + b"\n", *lines[place:]]))
    log = read_log(tmp_path / Path(name).name)
    assert told(log) == SOURCES.get(name, SOURCES["onion"])
    assert pd.Series(log.notes).str.contains(words).sum() == 1


def test_no_damage_is_a_traceback(tmp_path):
    rng = random.Random(0)
    names = ["onion/userid_trackid_timestamp.tsv", "lastfmstats-ann.csv", "4.listens", "recenttracks.json"]
    sources = {name: (DATA / name).read_bytes() for name in names}
    spoiled = tmp_path / "x.parquet"
    random_frame(0, 50).to_parquet(spoiled)
    sources |= {"x.parquet": spoiled.read_bytes(), "x.bz2": bz2.compress(sources[names[0]] * 9)}
    for form in ("zip", "tar.zst", "tar.gz"):
        shutil.copy(DATA / "4.listens", tmp_path / "4.listens")
        sources[f"x.{form}"] = packed(form, tmp_path / "4.listens", "4.listens").read_bytes()
    read = 0
    for name, data in sources.items():
        for turn in range(12):
            some = bytearray(data[: rng.randrange(len(data))] if turn % 2 else data)
            for _ in range(turn % 3):
                if some:
                    some[rng.randrange(len(some))] = rng.randrange(256)
            path = tmp_path / Path(name).name
            path.write_bytes(some)
            try:
                read += len(read_log(path)) > 0
            except SonicError as error:
                assert "\n" not in str(error) and len(str(error)) < 900
    assert read > 20  # much is still read


def test_what_is_no_history_is_one_plain_line(tmp_path):
    texts = {"labels.csv": "track_id,title,artist\n1,a,b\n", "empty.csv": "", "words.txt": "one two\n", "x.json": "{}"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(SonicError, match="holds no listening history; expected a table"):
            read_log(tmp_path / name, out=tmp_path / "out" / "log.parquet")
    with pytest.raises(SonicError, match="4 files were left aside"):
        read_log(tmp_path)
    with pytest.raises(SonicError, match="is not there"):
        read_log(tmp_path / "none")
    assert not list(tmp_path.glob("**/*.parquet")) and not list(tmp_path.glob("**/.*"))
    (tmp_path / "bad.tsv").write_text("user\tsong\ttimestamp\na\tb\tnever\n")
    with pytest.raises(SonicError, match="1 of 1 rows have no time"):
        read_log(tmp_path / "bad.tsv")


def test_times_of_one_batch_may_have_many_forms():
    cells = [
        "2020-04-06 12:00:00",
        "x",
        "2020-04-06T14:00:00+02:00",
        "06 Apr 2020 12:00",
        "1586174400",
        "",
        "1586174400000",
    ]
    mixed = cells * 50
    np.random.default_rng(0).shuffle(mixed)
    got = dict(zip(mixed, read_times(pa.array(mixed)).to_pylist(), strict=True))
    assert got == {cell: None if cell in ("x", "") else 1586174400 for cell in cells}


def test_reading_holds_a_part_and_not_the_whole(tmp_path):
    peaks = []
    for count in (300_000, 1_200_000):
        rng = np.random.default_rng(0)
        table = pa.table({name: rng.integers(0, 10**6, count) for name in ("user_id", "track_id")})
        table = table.append_column("timestamp", pa.array(rng.integers(1, 10**9, count).astype("datetime64[s]")))
        options = pa.csv.WriteOptions(delimiter="\t", quoting_style="none", quoting_header="none")
        pa.csv.write_csv(table, tmp_path / "log.tsv", options)
        del table
        pool, before = pa.proxy_memory_pool(pa.default_memory_pool()), pa.default_memory_pool()
        pa.set_memory_pool(pool)
        try:
            assert len(read_log(tmp_path / "log.tsv", out=tmp_path / "log.parquet")) == count
        finally:
            pa.set_memory_pool(before)
        peaks.append(pool.max_memory())
    assert peaks[1] < 1.5 * peaks[0]  # of four times the rows


# ---- matched ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_what_was_planted_is_found(where, tmp_path):
    rng = np.random.default_rng(0)
    songs = [(f"Song {word}", f"Band {word[:2]}") for word in ("".join(rng.choice([*"abcdef"], 6)) for _ in range(60))]
    songs = list(dict.fromkeys(songs))[:50]
    here = pd.DataFrame(songs[:30], columns=["title", "artist"], index=[f"file {n}" for n in range(30)])
    spellings = ["{} (Live)", "{} - Remastered 2009", "{}", "{} feat. Somebody"]
    played = [(f"u{rng.integers(5)}", int(rng.integers(50)), spellings[rng.integers(4)]) for _ in range(2000)]
    frame = pd.DataFrame(
        {
            "user_id": [user for user, _, _ in played],
            "track_id": [f"file {n}" if n < 10 else f"row {row % 7} of {n}" for row, (_, n, _) in enumerate(played)],
            "title": [how.format(songs[n][0].upper()) for _, n, how in played],
            "artist": [songs[n][1] for _, n, _ in played],
            "time": range(1, 2001),
        }
    )
    number = np.array([n for _, n, _ in played])
    log, out = make_log(frame), tmp_path / "out.parquet" if where == "disk" else None
    if where == "disk":
        save_log(log, tmp_path / "log.parquet")
        log = open_log(tmp_path / "log.parquet")
    match = match_log(log, here, out=out)
    assert np.isclose(match.by_id, (number < 10).mean()) and np.isclose(match.share, (number < 30).mean())
    want = frame.assign(track_id=[f"file {n}" for n in number])[number < 30]
    pd.testing.assert_frame_equal(
        said(match.log.plays()).drop(columns="count"),
        grouped(want.assign(plays=1)).drop(columns="count"),
        check_dtype=False,
    )
    most = frame[number >= 30].groupby("track_id").size().max()
    assert match.missing["plays"].iloc[0] == most and len(match.missing) == 20
    assert (match.missing["plays"].diff().dropna() <= 0).all()
    assert f"{match.share:.1%} of the plays were found" in repr(match)


def test_matching_by_id_alone_and_not_at_all():
    log = make_log(pd.DataFrame({"user_id": "a", "track_id": ["1", "2", "2"]}))
    match = match_log(log, pd.DataFrame(index=[2, 3]))
    assert (match.by_id, match.by_name) == (2 / 3, 0) and match.log.tracks() == ["2"]
    assert "most missed: 1 (1)" in repr(match)
    with pytest.raises(
        SonicError,
        match="no track of the log is in the collection; its ids look like '2', those of the collection like '9'",
    ):
        match_log(log, pd.DataFrame({"title": ["x"], "artist": ["y"]}, index=["9"]))


def test_versions_share_the_plays_of_the_plainest():
    log = make_log(
        pd.DataFrame({"user_id": "a", "track_id": ["k"], "title": ["Blue - Live"], "artist": ["Joni Mitchell"]})
    )
    titles = ["Blue (Live at the Isle of Wight)", "Blue", "Blue (Demo)", None]
    match = match_log(log, pd.DataFrame({"title": titles, "artist": "Joni Mitchell"}, index=["w", "x", "y", "z"]))
    assert match.log.tracks() == ["x"]
    assert match.log.notes[1] == "2 tracks are other versions of a song and have no plays of their own"


def test_a_log_without_rows_is_a_log(tmp_path):
    write_rows([], tmp_path / "none.parquet")
    log = open_log(tmp_path / "none.parquet")
    assert len(log) == 0 and not log.timed and log.users() == [] and len(log.plays()) == 0
    assert log.source.exists() and log.schema.names == log_schema(names=False).names


@pytest.mark.parametrize(
    "head", [b"", b"a\rb,c\n", b"\x00,\x00\n", b"{", b"[[[", b"PAR1", b"fLaC", b"OggS", b"\x1f\x8b", b"PK"]
)
def test_what_is_no_history_costs_one_line(head, tmp_path):
    "Whatever it begins with, and whatever comes then."
    rng = np.random.default_rng(len(head))
    for number in range(20):
        path = tmp_path / f"{number}.bin"
        path.write_bytes(head + rng.bytes(int(rng.integers(0, 4000))))
        with pytest.raises(SonicError) as caught:
            read_log(path)
        assert "\n" not in str(caught.value)


def test_a_folder_of_music_is_no_history(tmp_path):
    (tmp_path / "song.flac").write_bytes(b"fLaC\0\0\0\x22\rnot,a\rtable\n")
    (tmp_path / "notes.md").write_text("# Credits\n")
    with pytest.raises(SonicError, match="holds no listening history"):
        read_log(tmp_path)
