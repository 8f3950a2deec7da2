"Each turn is done once, whoever is slow, dead, or back from the dead."

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from sonic.config import Config
from sonic.sections import SonicError
from sonic.shadow import claims
from sonic.shadow.claims import DEATHS, Claim, Queue, open_turns, settled_turns
from sonic.shadow.proposals import propose
from sonic.shadow.result import Report, Result
from sonic.shadow.space import Space, make_space
from sonic.shadow.storage import open_storage
from sonic.shadow.turns import carry_out

OBJECTIVES = ["similarity"]


@pytest.fixture(params=["study.db", "study.journal"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / request.param)


@pytest.fixture(scope="module")
def space() -> Space:
    return make_space({"mel.n_mels": (16, 256), "mel.fmin": (0, 100)})


def enter(where: str, *, trials: int = 4, batch: int = 2, beat: float = 10.0, patience: float = 60.0) -> Queue:
    "A worker's own view of a study, through a storage of its own."
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(where)
    known = {"study_name": "mine", "storage": storage, "sampler": optuna.samplers.RandomSampler(0)}
    study = optuna.create_study(direction="maximize", load_if_exists=True, **known)
    return Queue(study, storage, trials=trials, batch=batch, beat=beat, patience=patience)


def do(queue: Queue, claim: Claim, space: Space, objective: Callable[[Config, Report], Result]) -> None:
    options = {"seed": 0, "batch": queue.batch, "objectives": OBJECTIVES, "pruning": "hyperband", "steps": 2}
    idea = propose(space, turn=claim.turn, history=claim.history, **options)
    carry_out(queue, claim, idea, objective, objectives=OBJECTIVES)


def good(config: Config, report: Report) -> Result:
    return Result({"similarity": 0.5}, {}, {"hits": 2})


def ends(queue: Queue) -> list[tuple[int | None, str, str]]:
    return [(t.user_attrs.get("turn"), t.user_attrs["outcome"], t.state.name) for t in queue.study.trials]


def test_many_workers_do_each_turn_once(where: str, space: Space) -> None:
    enter(where)
    done: list[int] = []

    def work() -> None:
        queue = enter(where, trials=12, batch=5)
        while queue.left(queue.look()):
            with queue.turn() as claim:
                if claim:
                    assert [t.user_attrs["turn"] for t in claim.history] == list(range(claim.turn // 5 * 5))
                    do(queue, claim, space, good)
                    done.append(claim.turn)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(done) == list(range(12))
    assert {state for _, _, state in ends(enter(where))} <= {"COMPLETE", "FAIL"}


def test_a_batch_opens_when_the_one_before_is_settled(where: str, space: Space) -> None:
    queues = [enter(where) for _ in range(3)]
    with queues[0].turn() as first, queues[1].turn() as second, queues[2].turn() as third:
        assert first and second and (first.turn, second.turn, third) == (0, 1, None)
        do(queues[1], second, space, good)
        with queues[2].turn() as third:
            assert third is None  # turn 2 has to know what turn 0 gave
        do(queues[0], first, space, good)
        with queues[2].turn() as third:
            assert third and third.turn == 2 and [t.user_attrs["turn"] for t in third.history] == [0, 1]


class Clock:
    "The time of the watchers, which goes on only when it is told to: a busy machine changes nothing."

    sleep = staticmethod(time.sleep)

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(claims, "time", made)
    return made


def test_a_beat_that_stops_frees_the_turn_and_the_sleeper_changes_nothing(
    where: str, space: Space, clock: Clock
) -> None:
    sleeper, other = enter(where, beat=3600), enter(where, patience=60)
    with sleeper.turn() as mine:
        assert mine and mine.turn == 0
        other.look()
        clock.now += 59
        with other.turn() as theirs:
            assert theirs and theirs.turn == 1  # not yet dead
            do(other, theirs, space, good)
        clock.now += 2
        with other.turn() as theirs:
            assert theirs and theirs.turn == 0
            do(other, theirs, space, good)
        do(sleeper, mine, space, lambda *_: Result({"similarity": 9.0}))
    assert ends(sleeper) == [(0, "died", "FAIL"), (1, "done", "COMPLETE"), (0, "done", "COMPLETE")]
    assert [t.value for t in sleeper.study.trials] == [None, 0.5, 0.5]


def test_a_long_trial_that_beats_is_left_alone(where: str, space: Space, clock: Clock) -> None:
    slow, other = enter(where, beat=0.02), enter(where, patience=60)

    def beats() -> int:
        return other.study.get_trials(deepcopy=False)[0].user_attrs["beat"]

    with slow.turn() as mine:
        assert mine
        for _ in range(5):
            other.look()
            before = beats()
            while beats() == before:
                time.sleep(0.01)
            clock.now += 59
        do(slow, mine, space, good)
    assert ends(slow) == [(0, "done", "COMPLETE")]


def test_who_died_before_taking_a_turn_holds_nobody_up(where: str) -> None:
    queue = enter(where, patience=0.2)
    queue.study.add_trial(create_trial(state=TrialState.RUNNING))  # born, and never heard of again
    with queue.turn() as claim:
        assert claim and (claim.number, claim.turn) == (1, 0)


def test_a_turn_that_kills_is_given_up(where: str, space: Space) -> None:
    queue = enter(where, trials=2)
    for _ in range(DEATHS):
        with queue.turn() as claim:
            assert claim and claim.turn == 0
            queue.end(claim.number, "died", "its process died")
    with queue.turn() as claim:
        assert claim and claim.turn == 1
        do(queue, claim, space, good)
    assert queue.left(queue.look()) == []


def test_being_stopped_is_no_death(where: str) -> None:
    queue = enter(where)
    for _ in range(DEATHS + 1):
        with pytest.raises(KeyboardInterrupt), queue.turn() as claim:
            assert claim and claim.turn == 0
            raise KeyboardInterrupt
    assert ends(queue) == [(0, "stopped", "FAIL")] * (DEATHS + 1)


def test_what_a_trial_leaves_behind(where: str, space: Space) -> None:
    "As any study of Optuna's would have it, for dashboards and importances."

    def objective(config: Config, report: Report) -> Result:
        report(1, 0.25)
        return Result({"similarity": 0.5}, {"tune.max_bytes": 12.0}, {"hits": 2})

    queue = enter(where)
    with queue.turn() as claim:
        assert claim
        do(queue, claim, space, objective)
    trial = enter(where).study.trials[0]
    idea = propose(space, seed=0, turn=0, batch=2, history=[], objectives=OBJECTIVES)
    assert (trial.params, trial.distributions) == (idea.params, idea.distributions)
    assert (trial.intermediate_values, trial.values) == ({1: 0.25}, [0.5])
    assert (trial.constraints, trial.user_attrs["facts"]) == ({"tune.max_bytes": 12.0}, {"hits": 2})
    assert trial.user_attrs["rungs"] == {"completed_rung_0": 0.25}  # what Hyperband has to find again
    assert trial.user_attrs["wall"] >= 0


def test_how_objectives_may_end(where: str, space: Space) -> None:
    def refuse(*_: object) -> Result:
        raise SonicError("mel.n_mels=1 must be more")

    def break_(*_: object) -> Result:
        raise ZeroDivisionError("division\nby zero")

    endings = {
        "refused mel.n_mels=1 must be more": refuse,
        "failed unexpected ZeroDivisionError: division by zero": break_,
        "failed similarity=inf is no number to compare with others": lambda *_: Result({"similarity": float("inf")}),
        "failed unexpected TypeError: Object of type set is not JSON serializable": lambda *_: Result(
            {"similarity": 1.0}, {}, {"facts": {1}}
        ),
    }
    queue = enter(where, trials=4, batch=4)
    for objective in endings.values():
        with queue.turn() as claim:
            assert claim
            do(queue, claim, space, objective)
    told = [f"{t.user_attrs['outcome']} {t.user_attrs['reason']}" for t in queue.study.trials]
    assert told == list(endings)
    assert "in break_" in queue.study.trials[1].user_attrs["trace"]
    assert queue.left(queue.look()) == []


def test_trouble_with_the_storage_is_no_fault_of_the_settings(
    where: str, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    "The turn is done again."

    def away(*_: object) -> None:
        raise ConnectionError("the database is away")

    def objective(config: Config, report: Report) -> Result:
        report(1, 0.5)
        return Result({"similarity": 0.5})

    queue = enter(where)
    with monkeypatch.context() as patch, pytest.raises(ConnectionError), queue.turn() as claim:
        assert claim
        patch.setattr(queue.storage, "set_trial_intermediate_value", away)
        do(queue, claim, space, objective)
    with queue.turn() as claim:
        assert claim and claim.turn == 0


def test_batches_and_settled_turns_by_hand() -> None:
    def put(turn: int | None, outcome: str) -> FrozenTrial:
        return create_trial(state=TrialState.FAIL, user_attrs={"turn": turn, "outcome": outcome})

    trials = [put(None, "idle"), put(1, "failed"), put(0, "died"), put(0, "stopped"), put(0, "died")]
    assert set(settled_turns(trials)) == {1}
    assert set(settled_turns([*trials, put(0, "died")])) == {0, 1}
    one = put(0, "failed")
    assert open_turns({}, trials=5, batch=2) == range(0, 2)
    assert open_turns({0: one, 1: one, 3: one}, trials=5, batch=2) == range(2, 4)
    assert open_turns({turn: one for turn in range(4)}, trials=5, batch=2) == range(4, 5)
    assert len(open_turns({turn: one for turn in range(5)}, trials=5, batch=2)) == 0
