"A study from end to end: what is sealed stays sealed, the same seed finds the same, and what it writes is taken."

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sonic.config import Config
from sonic.configfile import read_config
from sonic.cream.demo import make_collection
from sonic.cream.layouts import open_collection
from sonic.rouge.log import make_log
from sonic.rouge.simulator import simulate
from sonic.sections import SonicError
from sonic.shadow.cache import Cache
from sonic.shadow.folder import begin, objective_of, open_tuning
from sonic.shadow.sealed import openings
from sonic.shadow.tune import report, told, tune

SPACE = {
    "embed.with": ["mfcc", "views"],
    "mel.n_mels": [104, 128],
    "neighbours.hubs": ["mutual", "none"],
    "neighbours.whiten": ["none", 4, 8],
    "fuse.tempogram": (0.0, 2.0),
}
TIMES = ["number", "wall", "begun", "worker", "hits", "misses", "facts"]  # of a trial, not of what it found


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    return make_collection(tmp_path_factory.mktemp("music"), tracks=30, seconds=3, jobs=0, progress=False)


def config(**changes):
    return Config().replace(**{"tune.k": 3, "tune.trials": 12, "tune.splits": 2, **changes})


def found(trials):
    return trials.drop(columns=TIMES)


def sonic(*arguments, cwd=None):
    settings = os.environ | {"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb", "OMP_NUM_THREADS": "1"}
    command = [str(Path(sys.executable).with_name("sonic")), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=settings, cwd=cwd)


# ---- what is sealed --------------------------------------------------------------------------------------------------


def test_a_study_never_opens_a_sealed_file(music, tmp_path):
    whole = tune(begin(tmp_path / "whole", music, space=SPACE, config=config()).out, jobs=1, progress=False)
    shutil.copytree(music.parent, tmp_path / "music")
    tuning = begin(tmp_path / "spied", tmp_path / "music" / "tracks.csv", space=SPACE, config=config())
    for path in tuning.tracks.loc[list(tuning.seal.test), "path"]:
        Path(path).unlink()  # whoever looks for a sealed track finds nothing
    spied = tune(tuning.out, jobs=1, progress=False)
    pd.testing.assert_frame_equal(found(spied), found(whole))
    assert not openings(tmp_path / "spied" / "openings.jsonl")
    with pytest.raises(SonicError, match="could be embedded"):  # the report does look there
        report(tmp_path / "spied")
    assert len(openings(tmp_path / "spied" / "openings.jsonl")) == 1  # and that it did is written down


def test_a_study_never_reads_a_sealed_play(music, tmp_path):
    tracks = open_collection(music).set_index("track_id")
    plays = simulate(tracks, users=60, seed=1).log.source.to_pandas()
    space = {"embed.with": ["mfcc", "views"], "recommend.kind": ["hybrid", "content"], "recommend.nearest": [1, 10]}
    settings = config(**{"tune.objective": "cold,warm", "tune.trials": 5, "bench.cold": 0.2})
    first = begin(tmp_path / "a", music, log=make_log(plays), space=space, config=settings)
    late = (plays["time"] >= first.seal.begins).to_numpy()
    rng, other = np.random.default_rng(0), plays.copy()
    last = plays["time"].idxmax()  # when a log ends says when its test begins
    for column in ("user_id", "track_id"):
        mixed = rng.permutation(plays.loc[late, column].to_numpy())
        other.loc[late, column] = mixed
    other.loc[last] = plays.loc[last]
    assert not other.equals(plays)
    second = begin(tmp_path / "b", music, log=make_log(other), space=space, config=settings)
    hidden = set(first.seal.test) & set(second.seal.test)
    assert len(hidden) >= 3 and first.seal.begins == second.seal.begins
    searched = [pd.read_parquet(tmp_path / name / "search.parquet") for name in "ab"]
    assert searched[0]["time"].max() < first.seal.begins
    assert not set(searched[0]["track_id"]) & set(first.seal.test)
    if first.seal == second.seal:
        pd.testing.assert_frame_equal(*searched)
        tables = [tune(tuning.out, jobs=1, progress=False) for tuning in (first, second)]
        pd.testing.assert_frame_equal(found(tables[0]), found(tables[1]))
        assert set(tables[0]["state"]) == {"done"}
    else:
        pytest.fail("what is hidden must depend on the past alone")


def test_the_test_is_opened_once_for_one_question(music, tmp_path):
    tuning = begin(tmp_path / "study", music, space=SPACE, config=config())
    trials = tune(tuning.out, jobs=1, progress=False)
    text = report(tuning.out)
    assert report(tuning.out) == text and "opened once" in text
    report(tuning.out, pick=int(trials["similarity"].idxmin()))
    assert "opened 2 times" in report(tuning.out)


# ---- the same seed finds the same ------------------------------------------------------------------------------------


def test_workers_and_caches_change_nothing(music, tmp_path):
    alone = tune(begin(tmp_path / "alone", music, space=SPACE, config=config()).out, jobs=1, progress=False)
    crowd = begin(tmp_path / "crowd", music, space=SPACE, config=config())
    pd.testing.assert_frame_equal(found(tune(crowd.out, jobs=3, progress=False)), found(alone))
    assert len(set(alone["similarity"].dropna())) > 3  # they do differ
    shutil.rmtree(crowd.out / "cache")
    problem, tuning = crowd.problem(), open_tuning(crowd.out)
    for turn in (0, 5, 11):
        asked = {name: alone[name][turn] for name in SPACE if alone[name][turn] == alone[name][turn]}
        result = problem(tuning.space.config(asked), lambda step, value: None)
        assert result.values["similarity"] == alone["similarity"][turn]
    other = begin(tmp_path / "other", music, space=SPACE, config=config(**{"tune.seed": 1}))
    assert not found(tune(other.out, jobs=1, progress=False)).equals(found(alone))


def test_a_killed_worker_loses_nothing(music, tmp_path):
    whole = tune(begin(tmp_path / "whole", music, space=SPACE, config=config()).out, jobs=1, progress=False)
    tuning = begin(tmp_path / "killed", music, space=SPACE, config=config())
    call = f"tune({str(tuning.out)!r}, jobs=2, progress=False)"
    program = f"from sonic.shadow.tune import tune\nif __name__ == '__main__':\n    {call}\n"
    (tmp_path / "run.py").write_text(program)
    run = subprocess.Popen([sys.executable, tmp_path / "run.py"], env=os.environ | {"OMP_NUM_THREADS": "1"})
    killed = False
    while run.poll() is None:
        children = [int(pid) for pid in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()]
        workers = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        begun = (tuning.out / "study.db").exists() and any((tuning.out / "cache").rglob("*.safetensors"))
        if not killed and begun and workers:
            os.kill(workers[0], signal.SIGKILL)
            killed = True
        time.sleep(0.02)
    assert killed and run.returncode == 0
    after = tune(tuning.out, jobs=1, progress=False)  # nothing is left to do
    pd.testing.assert_frame_equal(found(after), found(whole))
    assert not (after["state"] == "running").any()


# ---- what is remembered ----------------------------------------------------------------------------------------------


def test_a_trial_that_changes_only_the_last_stage_renders_nothing(music, tmp_path):
    tuning = begin(tmp_path / "study", music, space=SPACE, config=config())
    objective, base = objective_of(str(tuning.out)), tuning.base.replace(**{"embed.with": "views"})
    first = objective(base, lambda step, value: None)
    assert first.facts["cache"]["embeddings"] == [0, len(tuning.seal.search), 0.0]
    later = objective(base.replace(**{"neighbours.whiten": 8}), lambda step, value: None)
    assert set(later.facts["cache"]) == {"scores", "embeddings"}
    assert later.facts["cache"]["embeddings"][:2] == [len(tuning.seal.search), 0]
    assert objective(base, lambda step, value: None).values == first.values


def test_what_pruning_was_told_is_told_again(music, tmp_path):
    tuning = begin(tmp_path / "study", music, space=SPACE, config=config(**{"tune.pruning": "hyperband"}))
    told: list[list[tuple[int, float]]] = []
    for _ in range(2):
        told.append([])
        objective_of(str(tuning.out))(
            tuning.base.replace(**{"embed.with": "mfcc"}), lambda s, v: told[-1].append((s, v))
        )
    assert told[0] == told[1] and [step for step, _ in told[0]] == [1, 2, 3]


def test_the_cache_keeps_its_limit(music, tmp_path):
    settings = config(**{"tune.cache": 0.01, "tune.trials": 6})
    tuning = begin(tmp_path / "study", music, space=SPACE, config=settings)
    tune(tuning.out, jobs=1, progress=False)
    assert Cache(tuning.out / "cache", limit=1e7).size() <= 1.1e7


# ---- the program -----------------------------------------------------------------------------------------------------


def test_what_is_found_is_taken_by_render_and_embed(music, tmp_path):
    vary = ["--vary", "embed.with=mfcc,mfcc+views", "--vary", "mel.n_mels=104,128"]
    few = ["--set", "tune.k=3", "--set", "audio.duration=2", "--trials", 4, "-j", 1, "-q"]
    done = sonic("tune", "run", "out", "--music", music, *vary, *few, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {"study.db", "best.toml", "report.html", "trials.csv"} <= {*os.listdir(tmp_path / "out")}
    best = read_config(tmp_path / "out" / "best.toml")
    assert (
        sonic("embed", music, tmp_path / "v.parquet", "--config", tmp_path / "out" / "best.toml", "-q").returncode == 0
    )
    assert pd.read_parquet(tmp_path / "v.parquet")["seconds"].max() == pytest.approx(2, abs=0.01)
    assert (tmp_path / "v.mfcc.parquet").exists() == ("+" in best.embed.with_)
    rendered = sonic(
        "render", music, tmp_path / "pictures", "--config", tmp_path / "out" / "best.toml", "-q", "--views", "mel"
    )
    assert rendered.returncode == 0, rendered.stderr
    assert "Traceback" not in done.stdout + done.stderr and "[I 20" not in done.stderr


WRONG = {
    ("run", "out"): "give music with --music, or let some be made with --demo",
    ("run", "out", "--demo", "--music", "x"): "not both",
    ("run", "out", "--music", "nowhere"): "nowhere",
    ("run", "out", "--music", "MUSIC", "--label", "mood"): "no column mood",
    ("run", "out", "--music", "MUSIC", "--objective", "speed"): "tune.objective=speed must be one of",
    ("run", "out", "--music", "MUSIC", "--objective", "cold"): "needs a listening history",
    ("run", "out", "--music", "MUSIC", "--vary", "mel.n_mells"): "did you mean mel.n_mels?",
    ("run", "out", "--music", "MUSIC", "--vary", "mel.n_mels=9..1"): "mel.n_mels",
    ("run", "out", "--music", "MUSIC", "--vary", "mel.n_mels=a..b"): "must be of the form NAME=LOW..HIGH",
    ("run", "out", "--music", "MUSIC", "--vary", "tune.seed"): "tune.seed",
    ("run", "out", "--music", "MUSIC", "--vary", "mel.n_mels", "--set", "embed.with=musicnn"): "read by nothing here",
    ("run", "out", "--music", "MUSIC", "--storage", "ftp://x"): "is no place for a study",
    ("run", "out", "--music", "MUSIC", "--log", "MUSIC", "--objective", "cold"): "",
    ("resume", "out"): "out holds no study; begin one with: sonic tune run out",
    ("report", "out"): "out holds no study",
    ("ablate", "out"): "out holds no study",
    ("dashboard", "out"): "out holds no study",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_mistakes_are_told_in_one_line(words, music, tmp_path, capsys, monkeypatch):
    from sonic.cli import main

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["tune", *(str(music) if word == "MUSIC" else word for word in words)])
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert stop.value.code == 2 and said.startswith("sonic: ") and WRONG[words] in said


def test_a_folder_of_another_study_is_refused(music, tmp_path):
    begin(tmp_path / "study", music, space=SPACE, config=config())
    with pytest.raises(SonicError, match="holds another study .*its settings"):
        begin(tmp_path / "study", music, space=SPACE, config=config(**{"tune.seed": 3}))
    (tmp_path / "study" / "study.json").write_text("{}")
    with pytest.raises(SonicError, match="holds no study that this SONIC can read"):
        open_tuning(tmp_path / "study")


def test_tracks_that_cannot_be_heard_are_told(music, tmp_path):
    shutil.copytree(music.parent, tmp_path / "music")
    table = tmp_path / "music" / "tracks.csv"
    tuning = begin(tmp_path / "study", table, space=SPACE, config=config(**{"tune.trials": 4}))
    for path in tuning.tracks.loc[list(tuning.seal.search)[:3], "path"]:
        Path(path).write_bytes(b"no music at all")
    trials = tune(tuning.out, jobs=1, progress=False)
    assert set(trials["state"]) == {"done"}
    assert f"3 of {len(tuning.seal.search)} tracks cannot be heard" in told(tuning, trials)
    (tuning.out / "test.json").write_text("nonsense")
    with pytest.raises(SonicError, match="does not hold answers"):
        report(tuning.out)
    assert not openings(tuning.out / "openings.jsonl")  # before anything is opened


def test_the_usual_space_leaves_out_who_has_no_weights(music, tmp_path, monkeypatch):
    monkeypatch.setenv("SONIC_CACHE", str(tmp_path / "nothing"))
    space = begin(tmp_path / "study", music, config=config()).space
    (who,) = [each for each in space.dimensions if each.name == "embed.with"]
    assert who.choices == ("mfcc", "views", "vision")
    assert not [each.name for each in space.dimensions if "musicnn" in each.name]


def test_another_log_does_not_touch_the_study_that_is_there(music, tmp_path):
    tracks = open_collection(music).set_index("track_id")
    one, other = (simulate(tracks, users=60, seed=seed).log for seed in (1, 2))
    settings = config(**{"tune.objective": "warm", "tune.trials": 4})
    space = {"recommend.kind": ["popular", "itemknn"]}
    tuning = begin(tmp_path / "study", music, log=one, space=space, config=settings)
    tune(tuning.out, jobs=1, progress=False)
    files = {path: path.read_bytes() for path in tuning.out.rglob("*") if path.is_file()}
    with pytest.raises(SonicError, match="holds another study .*who played what"):
        begin(tmp_path / "study", music, log=other, space=space, config=settings)
    assert {path: path.read_bytes() for path in tuning.out.rglob("*") if path.is_file()} == files
    assert begin(tmp_path / "study", music, log=one, space=space, config=settings).data == tuning.data
    assert len(tune(tuning.out, trials=6, jobs=1, progress=False)) == 6


def test_scores_of_other_labels_are_not_taken_from_the_cache(music, tmp_path):
    tracks = open_collection(music)
    objective = objective_of(str(begin(tmp_path / "study", tracks, space=SPACE, config=config()).out))
    (tmp_path / "study" / "study.json").unlink()
    other = tracks.assign(genre=tracks["genre"].map(lambda name: "loud" if name in ("rock", "house") else "soft"))
    begin(tmp_path / "study", other, space=SPACE, config=config())
    again = objective_of(str(tmp_path / "study"))
    asked = Config().replace(**{"embed.with": "mfcc", "tune.k": 3})
    values = [each(asked, lambda step, value: None).values["similarity"] for each in (objective, again)]
    assert values[1] > values[0]  # two labels are easier to meet than eight


def test_benefit_and_cost_make_a_front(music, tmp_path):
    space = {"embed.with": ["mfcc", "views", "mfcc+views"], "mfcc.n_mfcc": [8, 104]}
    settings = config(**{"tune.objective": "similarity,bytes", "tune.max_bytes": 800})
    tuning = begin(tmp_path / "study", music, space=space, config=settings)
    trials = tune(tuning.out, jobs=1, progress=False)
    size = {"mfcc": trials["mfcc.n_mfcc"], "views": 177, "mfcc+views": 177 + trials["mfcc.n_mfcc"]}
    for turn, row in trials.iterrows():
        numbers = size[row["embed.with"]]
        assert row["bytes"] == 4 * (numbers if isinstance(numbers, int) else numbers[turn])
        assert row["feasible"] == (row["bytes"] <= 800)
    assert not trials["feasible"].all() and trials["feasible"].any()
    best = trials[trials["feasible"]]["similarity"].max()
    chosen = read_config(tuning.out / "best.toml")
    turn = trials[trials["feasible"] & (trials["similarity"] == best)].index[0]
    assert chosen == tuning.space.config(
        {name: trials[name][turn] for name in space if trials[name][turn] == trials[name][turn]}
    )
    assert "On the front of similarity, bytes" in told(tuning, trials)


def test_another_trial_than_the_best_can_be_picked(music, tmp_path):
    tuning = begin(tmp_path / "study", music, space=SPACE, config=config())
    trials = tune(tuning.out, jobs=1, progress=False)
    turn = int(trials["similarity"].idxmin())
    text = report(tuning.out, pick=turn)
    assert f"are of turn {turn}, as asked" in text
    assert f"are of turn {turn}, as asked" in (tuning.out / "report.html").read_text()
    assert read_config(tuning.out / "best.toml").embed.with_ == trials["embed.with"][turn]


def test_ablation_and_dashboard_from_a_shell(music, tmp_path, monkeypatch, capsys):
    import importlib.util

    import optuna_dashboard

    from sonic.cli import main

    tuning = begin(tmp_path / "study", music, space=SPACE, config=config())
    with pytest.raises(SystemExit) as stop:
        main(["tune", "ablate", str(tuning.out)])
    assert stop.value.code == 0 and "without tempogram" in capsys.readouterr().out
    rows = pd.read_csv(tuning.out / "ablation.csv")
    assert len(rows) == 8 and (tuning.out / "ablation.png").stat().st_size > 10_000
    assert not openings(tuning.out / "openings.jsonl")
    tune(tuning.out, trials=2, jobs=1, progress=False)
    served = []
    monkeypatch.setattr(optuna_dashboard, "run_server", lambda storage, **how: served.append((storage, how)))
    with pytest.raises(SystemExit):
        main(["tune", "dashboard", str(tuning.out), "--port", "8123"])
    ((storage, how),) = served
    assert how == {"host": "127.0.0.1", "port": 8123} and len(storage.get_all_studies()) == 1
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        main(["tune", "dashboard", str(tuning.out)])
    assert 'pip install "sonic-recsys[dashboard]"' in capsys.readouterr().err
