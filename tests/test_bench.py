"The bench: it notices when it is broken, goes on where it was stopped, and measures what is planted."

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sonic.config import Config, SonicError
from sonic.rouge import bench as bench_module
from sonic.rouge import rounds
from sonic.rouge.bench import bench
from sonic.rouge.benchpage import write_bench
from sonic.rouge.benchrun import run_demo, with_mfcc
from sonic.rouge.recommender import hear
from sonic.rouge.rounds import System, line_up, play_round, shuffled
from sonic.rouge.simulator import simulate
from sonic.rouge.splits import split_log
from sonic.tails.table import make_table

PRICES = ["fit_s", "ask_ms"]


@pytest.fixture(scope="module")
def world():
    "People with a planted taste, and vectors that know genre and artist."
    rng = np.random.default_rng(5)
    labels = pd.DataFrame({"genre": rng.choice(list("abcd"), 300), "artist": rng.choice(list("ABCDEFGHIJ"), 300)})
    labels = labels.set_axis([f"t{number:03d}" for number in range(300)])
    heard = np.concatenate([pd.get_dummies(labels[name]).to_numpy(float) for name in labels], axis=1)
    table = make_table(heard + rng.normal(0, 0.3, heard.shape), labels.index, labels=labels)
    return simulate(labels, users=150), table


@pytest.fixture(scope="module")
def split(world):
    simulation, table = world
    made = split_log(simulation.log, tracks=table.ids)
    return made, {"labels": hear(table, made.train.tracks)}


def played(split, names=("ease",), **how):
    made, sounds = split
    return play_round(made, line_up(names, list(sounds)), sounds, config=Config(), **how)


# ---- it notices when it is broken ------------------------------------------------------------------------------------


def test_lists_in_the_wrong_order_are_noticed(split, monkeypatch):
    real = rounds.rank_metrics
    monkeypatch.setattr(rounds, "rank_metrics", lambda columns, *a, **k: real(columns[:, ::-1], *a, **k))
    with pytest.raises(SonicError, match="the bench is broken: given the answers"):
        played(split)


def test_answers_that_belong_to_other_users_are_noticed(split, monkeypatch):
    real = rounds.rank_metrics
    monkeypatch.setattr(rounds, "rank_metrics", lambda columns, *a, **k: real(columns[::-1], *a, **k))
    with pytest.raises(SonicError, match="the bench is broken"):
        played(split)


def test_chance_is_what_random_lists_give(split):
    "The row of the closed form, and a recommender that draws lots, over several seeds."
    rows = [played(split, ["random"], seed=seed).users for seed in range(6)]
    for regime in ("warm", "cold"):
        some = [row[(row["regime"] == regime) & (row["recommender"] == "random")] for row in rows]
        closed = some[0].groupby("user_id")["recall@20"].first().mean()
        drawn = np.mean([row.groupby("user_id")["recall@20"].last().mean() for row in some])
        assert drawn == pytest.approx(closed, abs=0.02)


def test_every_system_is_asked_the_same(split):
    users = played(split, ["ease", "content"]).users
    for _, some in users.groupby("regime"):
        asked = some.groupby(["recommender", "embedding"])["user_id"].agg(tuple)
        assert asked.nunique() == 1


def test_what_a_user_knows_is_never_listed(split, monkeypatch):
    made, sounds = split
    seen = []
    real = rounds.Recommender.recommend

    def spied(self, history, *a, **how):
        seen.append((real(self, history, *a, **how), how))
        return seen[-1][0]

    monkeypatch.setattr(rounds.Recommender, "recommend", spied)
    played(split, ["ease", "content", "hybrid"])
    assert len(seen) > 10
    for lists, how in seen:
        known = how["exclude"].matrix.toarray() > 0
        row, place = np.nonzero(lists.columns >= 0)
        assert not known[row, lists.columns[row, place]].any()
        assert how["where"][lists.columns[row, place]].all()


# ---- controls --------------------------------------------------------------------------------------------------------


def test_shuffled_vectors_are_the_same_vectors_of_other_tracks(split):
    _, sounds = split
    sound = replace(sounds["labels"], known=np.arange(300) % 7 > 0)
    mixed, named = shuffled(sound, seed=3), shuffled(sound, seed=3, artists=True)
    assert (mixed.vectors[~sound.known] == sound.vectors[~sound.known]).all()
    assert sorted(map(tuple, mixed.vectors)) == sorted(map(tuple, sound.vectors))
    assert (mixed.vectors != sound.vectors).any(axis=1)[sound.known].mean() > 0.95
    assert set(mixed.artists) == {None} and named.artists == sound.artists
    assert (named.vectors == mixed.vectors).all()


def test_sound_helps_with_new_tracks_and_shuffled_sound_does_not(world):
    simulation, table = world
    made = bench(simulation.log, {"labels": table}, recommenders=["content", "hybrid"], **{"bench.seeds": 3})
    cold = made.summary("cold")["ndcg@10"]
    for name in ("content", "hybrid"):
        assert cold[name, "labels"] > 1.5 * cold[name, "shuffled"]
        assert cold[name, "labels"] > 1.5 * cold["popular", "none"]
    warm = made.summary("warm")["ndcg@10"]
    assert warm["hybrid", "labels"] > 0.95 * warm["hybrid", "shuffled"]


def test_the_optimum_is_the_best_that_does_not_know_the_answers(world, tmp_path):
    _, table = world
    how = {"recommenders": ["itemknn", "ease", "hybrid"], "progress": False}
    made, _ = run_demo(tmp_path, {"labels": table}, users=150, config=Config().replace(**{"bench.seeds": 2}), **how)
    for regime in made.regimes:
        scores = made.summary(regime)["ndcg@20"].drop(index="oracle", level=0)
        assert scores.idxmax() == ("optimum", "none")


# ---- rounds ----------------------------------------------------------------------------------------------------------


def test_a_bench_that_was_stopped_goes_on_and_comes_out_the_same(world, tmp_path, monkeypatch):
    simulation, table = world
    how = {"recommenders": ["ease", "content"], "bench.seeds": 3}
    whole = bench(simulation.log, {"labels": table}, **how)
    real, calls = bench_module.play_round, []

    def dies(split, *a, seed, **k):
        calls.append(seed)
        if seed == 1 and len(calls) == 2:
            raise KeyboardInterrupt
        return real(split, *a, seed=seed, **k)

    monkeypatch.setattr(bench_module, "play_round", dies)
    with pytest.raises(KeyboardInterrupt):
        bench(simulation.log, {"labels": table}, out=tmp_path, **how)
    assert not (tmp_path / "results.parquet").exists()
    again = bench(simulation.log, {"labels": table}, out=tmp_path, **how)
    assert calls == [0, 1, 1, 2]
    pd.testing.assert_frame_equal(again.users, whole.users)
    pd.testing.assert_frame_equal(again.systems.drop(columns=PRICES), whole.systems.drop(columns=PRICES))


def test_a_round_that_is_half_written_does_not_count(world, tmp_path):
    simulation, table = world
    how = {"recommenders": ["ease"], "bench.seeds": 1, "out": tmp_path}
    first = bench(simulation.log, **how)
    half = tmp_path / "rounds" / "seed-0"
    half.rename(half.with_name("seed-0.part"))
    (tmp_path / "rounds" / "seed-0.part" / "users.parquet").write_bytes(b"torn")
    pd.testing.assert_frame_equal(bench(simulation.log, **how).users, first.users)
    assert sorted(path.name for path in (tmp_path / "rounds").iterdir()) == ["bench.json", "seed-0"]


@pytest.mark.parametrize("change", ["log", "vectors", "settings", "systems"])
def test_rounds_of_something_else_are_refused_and_kept(world, tmp_path, change):
    simulation, table = world
    how = {"recommenders": ["ease"], "bench.seeds": 1, "out": tmp_path}
    bench(simulation.log, {"labels": table}, **how)
    before = (tmp_path / "rounds" / "bench.json").read_bytes()
    log, tables = simulation.log, {"labels": table}
    if change == "log":
        log = simulate(table.tracks, users=151).log
    if change == "vectors":
        tables = {"labels": make_table(table.vectors, table.ids, recipe={"embedder": "other"})}
    if change == "settings":
        how |= {"recommend.penalty": 7.0}
    if change == "systems":
        how |= {"recommenders": ["als"]}
    with pytest.raises(SonicError, match="holds the rounds of another bench"):
        bench(log, tables, **how)
    assert (tmp_path / "rounds" / "bench.json").read_bytes() == before
    assert (tmp_path / "rounds" / "seed-0").is_dir()


# ---- what is written -------------------------------------------------------------------------------------------------


def test_results_agree_with_the_scores_of_the_users(world, tmp_path):
    simulation, table = world
    made = bench(simulation.log, {"labels": table}, recommenders=["ease", "hybrid"], out=tmp_path, **{"bench.seeds": 2})
    rows = pd.read_parquet(tmp_path / "results.parquet")
    assert list(rows) == ["recommender", "embedding", "regime", "metric", "k", "seed", "value", "low", "high"]
    keys = ["recommender", "embedding", "regime", "seed"]
    means = made.users.groupby(keys)["recall@20"].mean()
    found = rows[(rows["metric"] == "recall") & (rows["k"] == 20)].set_index(keys)
    np.testing.assert_allclose(found["value"], means[found.index], rtol=1e-6)
    assert found["low"].le(found["value"]).all() and found["value"].le(found["high"]).all()
    metrics = set(zip(rows["metric"], rows["k"], strict=True))
    names = ("hitrate", "recall", "ndcg", "mrr", "coverage", "popularity", "artists")
    wanted = {(name, k) for name in names for k in (10, 20, 50)}
    assert wanted | {("fit_s", 0), ("ask_ms", 0), ("model_mb", 0)} == metrics


def test_names_cannot_break_the_page(world, tmp_path):
    simulation, table = world
    evil = '<script>alert("x")</script>'
    made = bench(simulation.log, {evil: table}, recommenders=["content"], **{"bench.seeds": 1})
    write_bench(tmp_path / "report.html", made, lead=evil)
    text = (tmp_path / "report.html").read_text()
    assert evil not in text and "&lt;script&gt;" in text
    assert 'src="http' not in text and "href=" not in text


def test_mfcc_is_a_floor_whatever_its_table_is_called(world, tmp_path):
    _, table = world
    mine = make_table(table.vectors, table.ids, recipe={"embedder": "mfcc"})
    tables, notes = with_mfcc({"mine": mine, "other": table}, tmp_path)
    assert list(tables) == ["mfcc", "other"] and not notes
    tables, notes = with_mfcc({"other": table}, tmp_path)
    assert list(tables) == ["other"] and "no floor of MFCC" in notes[0]


def test_mfcc_is_computed_where_the_files_are(tmp_path):
    sounds = sorted((Path(__file__).parent / "data" / "musicnn").glob("*.wav"))
    labels = pd.DataFrame({"path": [str(sound) for sound in sounds]})
    mine = make_table(np.eye(len(sounds)), [sound.stem for sound in sounds], labels=labels)
    tables, notes = with_mfcc({"mine": mine}, tmp_path, jobs=0, progress=False)
    assert list(tables) == ["mine", "mfcc"] and not notes
    assert tables["mfcc"].ids == mine.ids and tables["mfcc"].recipe["embedder"] == "mfcc"
    assert (tmp_path / "mfcc.parquet").exists()


def test_who_is_compared_is_named_once():
    found = line_up(["hybrid", "hybrid"], ["a"])
    assert [str(each) for each in found] == ["hybrid + a", "hybrid + shuffled", "hybrid + artists"]
    assert [str(each) for each in line_up(["hybrid"], ["a"], artists=False)] == ["hybrid + a", "hybrid + shuffled"]
    assert str(System("ease")) == "ease"
    with pytest.raises(SonicError, match="no recommender is called magic"):
        line_up(["magic"], [])


@pytest.mark.slow
def test_the_demo_needs_nothing(tmp_path):
    "Music is made, heard, played by people, and recommended."
    how = "bench --demo out --tracks 50 --users 60 --set bench.seeds=1 --with ease,hybrid --quiet"
    command, settings = [Path(sys.executable).with_name("sonic"), *how.split()], os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=settings)
    assert done.returncode == 0, done.stderr
    assert "hybrid + vision" in done.stdout and "hybrid + mfcc" in done.stdout and "optimum" in done.stdout
    for name in ("results.parquet", "table.txt", "figure.png", "report.html", "log.parquet", "mfcc.parquet"):
        assert (tmp_path / "out" / name).stat().st_size > 0
    assert json.loads((tmp_path / "out" / "rounds" / "bench.json").read_text())["cuts"] == [10, 20, 50]
