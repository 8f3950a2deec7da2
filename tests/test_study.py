"The same seed gives the same study: with one worker and with four, in one go and in two, with workers killed or not."

from __future__ import annotations

import functools
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState, create_trial

from sonic.config import Config
from sonic.sections import SonicError
from sonic.shadow.outcomes import read_trials
from sonic.shadow.plan import Plan
from sonic.shadow.proposals import propose
from sonic.shadow.result import Objective, Pruned, Report, Result
from sonic.shadow.space import make_space
from sonic.shadow.storage import open_storage
from sonic.shadow.study import open_study, run_study

SPACE = make_space(
    {
        "embed.with": ["mfcc", "musicnn"],
        "mel.n_mels": (104, 512),
        "mel.fmin": (0, 4000),
        "mel.fmax": (1000, 11025),
        "musicnn.layer": None,
    }
)
PLAIN = Plan("mine", ("similarity",), SPACE, seed=6, batch=4)
PRUNED = replace(PLAIN, pruning="hyperband", steps=9)
COUNT = 16
PLANS = {"none": PLAIN, "hyperband": PRUNED}
SPAWN = multiprocessing.get_context("spawn")


def judge(config: Config, report: Report) -> Result:
    "Branches, refusals, failures, limits, and a time that differs each time."
    time.sleep(0.1 * int.from_bytes(os.urandom(1)) / 255)
    if config.embed.with_ == "mfcc" and config.mel.n_mels % 3 == 1:
        raise ArithmeticError("not that one")
    if config.embed.with_ == "musicnn" and config.musicnn.layer == "taggram":
        raise SonicError("musicnn.layer=taggram is not to be had today")
    value = len(config.musicnn.layer) / 40 if config.embed.with_ == "musicnn" else 1 - config.mel.n_mels / 400
    for step in (1, 3, 9):
        report(step, value - 0.1 / step)
    return Result({"similarity": value}, {"tune.max_bytes": value - 0.3}, {"hits": 1, "misses": 2})


def ordinary() -> Objective:
    return judge


def patient(folder: str) -> Objective:
    "Waits in turn after turn, until there is a file that says go, and says which process waits."

    def objective(config: Config, report: Report) -> Result:
        Path(folder, f"{os.getpid()}.waits").touch()
        until = time.monotonic() + 30
        while not Path(folder, "go").exists() and time.monotonic() < until:
            time.sleep(0.02)
        return judge(config, report)

    return objective


def poisonous() -> Objective:
    "Ends the process for some settings."

    def objective(config: Config, report: Report) -> Result:
        if config.embed.with_ == "musicnn":
            os._exit(7)
        return judge(config, report)

    return objective


def unable() -> Objective:
    raise SonicError("there is no music in this folder")


def unborn() -> Objective:
    os._exit(9)


def join(where: str, plan: Plan, make: Callable[[], Objective], trials: int, jobs: int) -> None:
    "What a second shell does."
    try:
        run_study(where, plan, make, trials=trials, jobs=jobs)
    except KeyboardInterrupt:
        sys.exit(130)


def known(study: optuna.Study) -> pd.DataFrame:
    "All that must be the same, whoever worked."
    table = read_trials(study).drop(columns=["number", "wall", "begun", "worker"])
    assert not any(trial.state == TrialState.RUNNING for trial in study.trials)
    done = [
        t.user_attrs["turn"] for t in study.trials if t.user_attrs["outcome"] in ("done", "pruned", "refused", "failed")
    ]
    assert sorted(done) == sorted(set(done))  # each turn settled once
    return table


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def wait_for(happened: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


@pytest.fixture(scope="module", params=[PLAIN, PRUNED], ids=["plain", "hyperband"])
def plan(request: pytest.FixtureRequest) -> Plan:
    return request.param


@functools.cache
def by_one(plan_name: str) -> pd.DataFrame:
    "What one worker makes of it, undisturbed."
    with tempfile.TemporaryDirectory() as folder:
        return known(run_study(f"{folder}/study.db", PLANS[plan_name], ordinary, trials=COUNT))


@pytest.fixture
def alone(plan: Plan) -> pd.DataFrame:
    return by_one(plan.pruning)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    "A PostgreSQL of our own, with a password."
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb") or (programs[-1] if programs else None)
    if not found:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    as_other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="sonic-") as folder, closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        Path(folder, "password").write_text("s3cret")
        if as_other:
            shutil.chown(folder, "postgres")
        data, programs_of = f"{folder}/data", Path(found).parent

        def call(program: str, *words: str) -> None:
            subprocess.run(
                [*as_other, str(programs_of / program), *words], check=True, stdout=subprocess.DEVNULL, cwd=folder
            )

        call("initdb", "-D", data, "-U", "ann", "-A", "scram-sha-256", "--pwfile", f"{folder}/password", "--no-sync")
        options = f"-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        call("pg_ctl", "-D", data, "-o", options, "-l", f"{folder}/log", "-w", "start")
        try:
            yield f"postgresql://ann:s3cret@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "-D", data, "-m", "immediate", "stop")


def test_the_example_has_every_kind_of_end(alone: pd.DataFrame, plan: Plan) -> None:
    states = set(alone["state"])
    assert {"done", "refused", "failed"} <= states and ("pruned" in states) == (plan.pruning == "hyperband")
    assert not alone.loc[alone["state"] == "done", "feasible"].all()
    assert alone["mel.n_mels"].isna().any() and alone["musicnn.layer"].isna().any()  # what a branch does not ask


def test_several_workers_make_the_same_study(alone: pd.DataFrame, plan: Plan, tmp_path: Path) -> None:
    name, jobs = ("study.db", 4) if plan.pruning == "hyperband" else ("study.journal", 2)
    same(known(run_study(str(tmp_path / name), plan, ordinary, trials=COUNT, jobs=jobs)), alone)


def test_two_shells_on_one_study_make_the_same_study(tmp_path: Path) -> None:
    where = str(tmp_path / "study.db")
    shells = [SPAWN.Process(target=join, args=(where, PLAIN, ordinary, COUNT, 1)) for _ in range(2)]
    for shell in shells:
        shell.start()
    for shell in shells:
        shell.join(60)
        assert shell.exitcode == 0
    study = open_study(where, PLAIN)
    same(known(study), by_one("none"))
    assert read_trials(study)["worker"].nunique() == 2


def test_another_seed_makes_another_study(alone: pd.DataFrame, plan: Plan, tmp_path: Path) -> None:
    other = known(run_study(str(tmp_path / "study.journal"), replace(plan, seed=7), ordinary, trials=COUNT))
    assert (other["embed.with"] != alone["embed.with"]).any()


def test_in_two_goes_as_in_one(alone: pd.DataFrame, plan: Plan, tmp_path: Path) -> None:
    where = str(tmp_path / "study.journal")
    same(known(run_study(where, plan, ordinary, trials=7)), alone.head(7))
    same(known(run_study(where, plan, ordinary, trials=COUNT)), alone)


def kill_one(where: str, folder: Path, plan: Plan, jobs: int) -> optuna.Study:
    "Run a study with several workers, of which one is killed in the middle of its turn."
    waiting = functools.partial(patient, str(folder))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run_study, where, plan, waiting, trials=COUNT, jobs=jobs)
        wait_for(lambda: len([*folder.glob("*.waits")]) == jobs)
        os.kill(int(next(folder.glob("*.waits")).stem), signal.SIGKILL)
        wait_for(lambda: len([*folder.glob("*.waits")]) == jobs + 1)  # another has taken its place
        (folder / "go").touch()
        study = running.result(60)
    assert [t.user_attrs["reason"] for t in study.trials if t.user_attrs["outcome"] == "died"] == ["its process died"]
    return study


def test_a_killed_worker_changes_nothing(tmp_path: Path) -> None:
    same(known(kill_one(str(tmp_path / "study.db"), tmp_path, PRUNED, 2)), by_one("hyperband"))


def test_postgres_makes_the_same_study_with_four_workers_of_which_one_is_killed(postgres: str, tmp_path: Path) -> None:
    same(known(kill_one(postgres, tmp_path, PLAIN, 4)), by_one("none"))


def open_empty(where: str) -> str:
    try:
        open_storage(where)
    except BaseException as error:
        return repr(error)
    return "fine"


def test_postgres_may_be_opened_by_several_at_once_and_never_tells_its_password(postgres: str) -> None:
    import psycopg

    with psycopg.connect(postgres, autocommit=True) as connection:
        for number in range(3):
            connection.execute(f"CREATE DATABASE empty{number}")  # type: ignore[arg-type]
    with ThreadPoolExecutor(2) as pool:
        for number in range(3):
            where = f"{postgres.rpartition('/')[0]}/empty{number}"
            assert [*pool.map(open_empty, [where] * 2)] == ["fine", "fine"]
    with pytest.raises(SonicError, match="password authentication failed") as error:
        open_storage(postgres.replace("s3cret", "wr0ng"))
    assert "wr0ng" not in str(error.value) and "\n" not in str(error.value)


def test_a_turn_that_ends_its_process_is_given_up_and_the_rest_is_done(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    study = run_study(str(tmp_path / "study.db"), replace(PLAIN, batch=2, seed=8), poisonous, trials=2, jobs=2)
    table = read_trials(study)
    poison = table["embed.with"] == "musicnn"
    assert poison.any() and not poison.all()
    assert set(table.loc[poison, "reason"]) == {"its process died three times"}
    assert set(table.loc[poison, "state"]) == {"failed"}
    assert not table.loc[~poison, "reason"].str.contains("died").any()
    deaths = sum(t.user_attrs["outcome"] == "died" for t in study.trials)
    assert deaths == 3 * poison.sum()
    assert (
        capfd.readouterr().err.count("a worker ended with exit code 7; another takes its place") >= 2
    )  # the last may end it all


def test_ctrl_c_stops_all_and_the_study_can_go_on(tmp_path: Path) -> None:
    where = str(tmp_path / "study.db")
    shell = SPAWN.Process(target=join, args=(where, PLAIN, functools.partial(patient, str(tmp_path)), COUNT, 2))
    shell.start()
    wait_for(lambda: len([*tmp_path.glob("*.waits")]) == 2)
    os.kill(shell.pid or 0, signal.SIGINT)
    shell.join(10)
    assert shell.exitcode == 130
    assert {t.user_attrs["outcome"] for t in open_study(where, PLAIN).trials} == {"stopped"}
    same(known(run_study(where, PLAIN, ordinary, trials=8)), by_one("none").head(8))


def test_workers_end_with_the_one_who_started_them(tmp_path: Path) -> None:
    where = str(tmp_path / "study.journal")
    shell = SPAWN.Process(target=join, args=(where, PLAIN, functools.partial(patient, str(tmp_path)), COUNT, 2))
    shell.start()
    wait_for(lambda: len([*tmp_path.glob("*.waits")]) == 2)
    shell.kill()
    shell.join()
    pids = [int(path.stem) for path in tmp_path.glob("*.waits")]
    wait_for(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids), seconds=5)
    assert {t.user_attrs["outcome"] for t in open_study(where, PLAIN).trials} == {"stopped"}


def test_workers_that_cannot_work_say_why(tmp_path: Path) -> None:
    with pytest.raises(SonicError, match="there is no music in this folder"):
        run_study(str(tmp_path / "study.db"), PLAIN, unable, trials=4, jobs=2)
    with pytest.raises(SonicError, match="a worker ended with exit code 9 before it could begin"):
        run_study(str(tmp_path / "study.db"), PLAIN, unborn, trials=4, jobs=2)


def test_another_plan_under_the_same_name_is_refused(tmp_path: Path) -> None:
    where = str(tmp_path / "study.db")
    open_study(where, PLAIN)
    others = [
        (replace(PLAIN, seed=9), "seed was 6 and is 9"),
        (replace(PLAIN, pruning="hyperband"), "pruning was none and is hyperband"),
        (replace(PLAIN, objectives=("genre",)), r"objectives was \['similarity'\] and is \['genre'\]"),
        (replace(PLAIN, data={"hash": "9f"}), "data.hash was absent and is 9f"),
    ]
    for other, words in others:
        with pytest.raises(SonicError, match=words):
            run_study(where, other, ordinary, trials=1)


def play(turns: int, judge: Callable[[Config, Report], float], **options: object) -> list[optuna.trial.FrozenTrial]:
    "A study in memory, turn by turn."
    history: list[optuna.trial.FrozenTrial] = []
    for turn in range(turns):
        known_: dict[str, object] = {"turn": turn, "batch": 4, "history": history[: turn // 4 * 4], **options}
        idea = propose(SPACE, objectives=["similarity"], **known_)  # type: ignore[arg-type]
        reports: dict[int, float] = {}

        def report(step: int, value: float, idea: object = idea, reports: dict[int, float] = reports) -> None:
            reports[step] = value
            if idea.report(step, value):  # type: ignore[attr-defined]
                raise Pruned

        came: dict[str, object] = {"state": TrialState.PRUNED, "user_attrs": {"outcome": "refused"}}
        if idea.config:
            try:
                came = {"value": judge(idea.config, report), "user_attrs": {"rungs": idea.rungs()}}
            except Pruned:
                came["user_attrs"] = {"outcome": "pruned", "rungs": idea.rungs()}
        known_ = {"params": idea.params, "distributions": idea.distributions, "intermediate_values": reports, **came}
        history.append(create_trial(**known_))  # type: ignore[arg-type]
    return history


def grown(config: Config, report: Report) -> float:
    "Bad settings are bad on few tracks already."
    value = -abs(config.mel.n_mels - 200) / 100 - len(config.musicnn.layer) / 10
    for step in (1, 3, 9):
        report(step, value)
    return value


def test_hyperband_saves_work_and_keeps_the_best() -> None:
    gone, left = list[float](), list[float]()
    for seed in (0, 1, 2):
        plain = play(40, grown, seed=seed)
        pruned = play(40, grown, seed=seed, pruning="hyperband", steps=9)
        works = [sum(max(t.intermediate_values, default=0) for t in trials) for trials in (plain, pruned)]
        assert works[1] < 0.85 * works[0]
        gone += [max(t.intermediate_values.items())[1] for t in pruned if t.user_attrs.get("outcome") == "pruned"]
        values = [t.value for t in pruned if t.value is not None]
        assert max(values) > max(t.value for t in plain if t.value is not None) - 0.05
        left += values
    assert sum(gone) / len(gone) < sum(left) / len(left) - 0.3


def test_refused_settings_are_avoided() -> None:
    refused = {
        sampler: sum(
            t.state == TrialState.PRUNED for seed in (0, 1, 2) for t in play(40, grown, seed=seed, sampler=sampler)[12:]
        )
        for sampler in ("tpe", "random")
    }
    assert refused["tpe"] < 0.5 * refused["random"]
