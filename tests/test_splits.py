"Splits of a log: nothing later, nobody else's test and no hidden track teaches, and what is asked can be answered."

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sonic.config import Config
from sonic.cream.artists import plan
from sonic.rouge.log import make_log, open_log, save_log
from sonic.rouge.plays import make_plays
from sonic.rouge.simulator import simulate
from sonic.rouge.splits import split_log, split_random
from sonic.sections import SonicError

DAY = 86400
PARTS = ("train", "validation", "test", "heard")


def bench(**changes):
    "Settings of the bench."
    return Config().replace(**{f"bench.{name}": value for name, value in changes.items()})


def told(plays):
    "Pairs with their count, first and last play, by name."
    rows = zip(plays.user, plays.track, plays.count, plays.first, plays.last, strict=True)
    return {
        (plays.users[u], plays.tracks[t]): (float(count), int(first), int(last)) for u, t, count, first, last in rows
    }


def parts(split):
    "All that a split says, by name."
    cold = dict(zip(split.train.tracks, split.cold.tolist(), strict=True))
    return {name: told(getattr(split, name)) for name in PARTS} | {"cold": cold}


@pytest.fixture(scope="module")
def rows():
    "The plays of a simulation."
    labels = pd.DataFrame([(s.track_id, s.genre) for s in plan(250)], columns=["track_id", "genre"])
    frame = simulate(labels.set_index("track_id"), users=120, days=200, plays=80).log.source.to_pandas()
    return frame.astype({"user_id": object, "track_id": object})


@pytest.fixture(scope="module")
def log(rows):
    return make_log(rows)


HALF = bench(train=150, test=40, validation=0.25, cold=0.2)


@pytest.fixture(scope="module")
def split(log):
    return split_log(log, config=HALF)


# ---- against plays told one by one -----------------------------------------------------------------------------------


def by_hand(rows, *, train, test):
    "Which pairs teach and which test, as slowly as it reads; nobody is held out, nothing hidden."
    ends = max(time for _, _, time in rows) + 1
    begins = ends - test * DAY
    taught = {(u, t) for u, t, time in rows if begins - train * DAY <= time < begins}
    return taught, {(u, t) for u, t, time in rows if time >= begins} - taught


def test_a_play_on_the_second_belongs_to_the_test_and_one_before_does_not():
    first, begins = 10**9, 10**9 + 20 * DAY
    frame = [("ann", "old", first), ("ann", "before", begins - 1), ("ann", "at", begins), ("bob", "old", begins)]
    frame += [("bob", "before", begins - 1), ("bob", "last", begins + 5 * DAY - 1), ("ann", "before", begins + 9)]
    whole = split_log(
        make_log(pd.DataFrame(frame, columns=["user_id", "track_id", "time"])),
        config=bench(train=20, test=5, validation=0, cold=0),
    )
    assert (whole.begins, whole.ends) == (begins, begins + 5 * DAY)
    assert set(told(whole.train)) == {("ann", "old"), ("ann", "before"), ("bob", "before")}
    assert set(told(whole.test)) == {("ann", "at"), ("bob", "old"), ("bob", "last")}
    assert told(whole.train)["ann", "before"] == (1, begins - 1, begins - 1)  # not that of the test
    assert {t for t, cold in parts(whole)["cold"].items() if cold} == {"at", "last"}
    assert whole.task("warm").history.users == ["bob"] and set(told(whole.task("warm").targets)) == {("bob", "old")}
    short = split_log(
        make_log(pd.DataFrame(frame, columns=["user_id", "track_id", "time"])),
        config=bench(train=20 - 1 / 86400, test=5, validation=0, cold=0),
    )
    assert ("ann", "old") not in told(short.train)  # a second too old


@pytest.mark.parametrize("seed", range(6))
def test_pairs_are_those_that_a_slow_reading_finds(seed):
    rng = np.random.default_rng(seed)
    train, test = int(rng.integers(3, 8)), int(rng.integers(1, 4))
    plays = zip(rng.choice(list("abcd"), 30), rng.choice(list("uvwxyz"), 30), rng.integers(0, 10, 30), strict=True)
    rows = [(str(user), str(track), int(10**9 + day * DAY)) for user, track, day in plays]
    taught, tested = by_hand(rows, train=train, test=test)
    log = make_log(pd.DataFrame(rows, columns=["user_id", "track_id", "time"]))
    config = bench(train=train, test=test, validation=0, cold=0)
    found = split_log(log, config=config)
    assert set(told(found.train)) == taught and set(told(found.test)) == tested
    assert not len(found.validation) and not len(found.heard)
    with_history, known = {user for user, _ in taught}, {track for _, track in taught}
    for name, of_warm in (("warm", True), ("cold", False)):
        wanted = {(u, t) for u, t in tested if u in with_history and (t in known) == of_warm}
        assert (name in found.regimes) == bool(wanted)
        if wanted:
            assert set(told(found.task(name).targets)) == wanted


# ---- the future ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_nothing_from_the_test_on_changes_what_teaches_or_chooses(rows, split, seed):
    rng, later = np.random.default_rng(seed), (rows["time"] >= split.begins).to_numpy()
    wild = rows.copy()
    wild.loc[later, "user_id"] = rng.choice([*rows["user_id"].unique(), "stranger"], later.sum())
    wild.loc[later, "track_id"] = rng.choice([*rows["track_id"].unique(), "unheard-of"], later.sum())
    wild.loc[later, "time"] = rng.integers(split.begins, split.ends, later.sum())
    wild = pd.concat([wild, pd.DataFrame({"user_id": "z", "track_id": "y", "time": [split.ends - 1]})])
    other = split_log(make_log(wild[["user_id", "track_id", "time"]]), config=HALF)
    assert (other.begins, other.ends) == (split.begins, split.ends)
    was, now = parts(split), parts(other)
    assert all(now[name] == was[name] for name in ("train", "validation", "heard"))
    assert now["test"] != was["test"]
    assert all(cold == was["cold"][track] for track, cold in now["cold"].items() if track in was["cold"])
    order = [track for track in other.train.tracks if track in set(split.train.tracks)]
    assert order == [track for track in split.train.tracks if track in set(other.train.tracks)]


def test_later_plays_of_who_chooses_settings_are_used_nowhere(rows, split):
    chooses = {user for user, _ in told(split.validation)}
    early = split.begins - 40 * DAY
    assert len(chooses) > 10
    assert not chooses & {user for user, _ in told(split.test) | told(split.heard)}
    train, cold = told(split.train), {track for track, cold in parts(split)["cold"].items() if cold}
    for user in chooses:
        mine = rows[rows["user_id"] == user]
        mine = mine[(mine["time"] >= split.begins - 150 * DAY) & (mine["time"] < split.begins)]
        before, then = mine[mine["time"] < early], mine[mine["time"] >= early]
        seen = {track for who, track in train if who == user}
        assert seen <= set(before["track_id"])
        assert max(last for (who, _), (_, _, last) in train.items() if who == user) < early
        asked = {track for who, track in told(split.validation) if who == user}
        assert asked == set(then["track_id"]) - set(before["track_id"]) - cold


def test_as_many_users_and_tracks_are_held_out_as_the_settings_say(rows, log, split):
    since, early = split.begins - 150 * DAY, split.begins - 40 * DAY
    window = rows[(rows["time"] >= since) & (rows["time"] < split.begins)]
    pairs = set(map(tuple, window[["user_id", "track_id"]].to_numpy()))
    hides = split_log(log, config=bench(train=150, test=40, validation=0, cold=0.2))
    taught = set(told(hides.train))
    hidden = {track for _, track in pairs} - {track for _, track in taught}
    assert len(hidden) == round(0.2 * window["track_id"].nunique())
    assert taught == {pair for pair in pairs if pair[1] not in hidden}
    holds = split_log(log, config=bench(train=150, test=40, validation=0.25, cold=0))
    late = set(window[window["time"] >= early]["user_id"])
    teaches_late = {user for (user, _), (_, _, last) in told(holds.train).items() if last >= early}
    held = late - teaches_late
    must = round(0.25 * window["user_id"].nunique())
    assert len(held) <= must <= len(held) + window["user_id"].nunique() - len(late)  # some played nothing late
    before = set(map(tuple, window[window["time"] < early][["user_id", "track_id"]].to_numpy()))
    assert set(told(holds.train)) == {pair for pair in pairs if pair in before or pair[0] not in held}
    assert f"not tested, because they choose settings: {must} users" in holds.notes


def test_hidden_tracks_are_asked_of_those_who_did_not_know_them(rows, split):
    before = rows[rows["time"] < split.begins]
    knows = set(map(tuple, before[before["time"] >= split.begins - 150 * DAY][["user_id", "track_id"]].to_numpy()))
    task = split.task("cold")
    assert not knows & set(told(task.targets))
    cold = {track for track, cold in parts(split)["cold"].items() if cold}
    assert {track for _, track in told(split.heard)} <= cold
    others = set(told(task.exclude)) - set(told(task.history))
    assert others == {(u, t) for u, t in knows if u in set(task.history.users) and t in cold} and others


# ---- order, ids, seeds -----------------------------------------------------------------------------------------------


def test_the_order_of_the_rows_and_the_file_do_not_matter(rows, split, tmp_path):
    shuffled = make_log(rows.sample(frac=1, random_state=1))
    save_log(shuffled, tmp_path / "log.parquet")
    for log in (shuffled, open_log(tmp_path / "log.parquet")):
        again = split_log(log, config=HALF)
        assert again.notes == split.notes and again.train.tracks == split.train.tracks
        for name in PARTS:
            one, other = getattr(again, name), getattr(split, name)
            assert all(
                (getattr(one, each) == getattr(other, each)).all() for each in ("user", "track", "count", "first")
            )


def test_other_names_make_the_same_split_where_nothing_is_drawn(rows):
    config, rng = bench(train=150, test=40, validation=0, cold=0), np.random.default_rng(0)
    users, tracks = rows["user_id"].unique(), rows["track_id"].unique()
    names = (
        dict(zip(users, rng.permutation(users), strict=True)),
        dict(zip(tracks, rng.permutation(tracks), strict=True)),
    )
    renamed = rows.assign(user_id=rows["user_id"].map(names[0]), track_id=rows["track_id"].map(names[1]))
    one, other = split_log(make_log(rows), config=config), split_log(make_log(renamed), config=config)
    for name in PARTS:
        was = {(names[0][user], names[1][track]): facts for (user, track), facts in told(getattr(one, name)).items()}
        assert was == told(getattr(other, name))


def test_another_seed_hides_other_tracks_holds_other_users_and_shuffles_anew(log, split):
    other = split_log(log, config=HALF, seed=1)
    assert sorted(other.train.tracks) == sorted(split.train.tracks) != split.train.tracks != other.train.tracks
    cold = [{track for track, cold in parts(each)["cold"].items() if cold} for each in (split, other)]
    assert len(cold[0] & cold[1]) < 0.7 * len(cold[0])
    held = [{user for user, _ in told(each.validation)} for each in (split, other)]
    assert len(held[0] & held[1]) < 0.7 * len(held[0])
    places = [split.train.tracks.index(track) for track in sorted(split.train.tracks)]
    assert abs(np.corrcoef(places, np.arange(len(places)))[0, 1]) < 0.25  # the order says nothing about the ids


def test_a_catalogue_decides_what_can_be_recommended(rows, log):
    some = sorted(rows["track_id"].unique())[:60]
    found = split_log(log, tracks=[*some, "never played"], config=HALF)
    assert sorted(found.train.tracks) == sorted([*some, "never played"])
    assert {track for _, track in told(found.train)} <= set(some)
    assert found.cold[found.train.tracks.index("never played")]
    assert split_log(log, tracks=[*some[::-1], "never played"], config=HALF).train.tracks == found.train.tracks
    with pytest.raises(SonicError, match="stands twice"):
        split_log(log, tracks=[some[0], some[0]])
    with pytest.raises(SonicError, match=r"no track of the catalogue was played before \d{4}-\d\d-\d\d"):
        split_log(log, tracks=["x"])


# ---- tasks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["warm", "cold", "validation"])
def test_every_target_can_be_listed(split, name):
    task = split.task(name)
    assert task.history.users == task.targets.users == task.exclude.users
    assert task.history.tracks == task.targets.tracks == split.train.tracks
    assert (np.diff(task.history.starts) > 0).all() and (np.diff(task.targets.starts) > 0).all()
    free = np.tile(task.where, (len(task.history.users), 1))
    free[task.exclude.user, task.exclude.track] = False
    assert free[task.targets.user, task.targets.track].all()  # so that a recall of 1 can be reached
    assert (task.where == (split.cold if name == "cold" else ~split.cold)).all()
    train = told(split.train)
    assert told(task.history) == {pair: train[pair] for pair in train if pair[0] in set(task.history.users)}
    whole = told(split.validation if name == "validation" else split.test)
    wanted = {t: w for t, w in zip(split.train.tracks, task.where, strict=True)}
    with_history = {user for user, _ in train}
    assert set(told(task.targets)) == {(u, t) for u, t in whole if wanted[t] and u in with_history}


def test_who_has_no_history_is_counted_and_not_tested():
    frame = pd.DataFrame({"user_id": ["ann", "bob", "new", "ann"], "track_id": list("xyxy"), "time": [0, 0, 9, 9]})
    found = split_log(
        make_log(frame.assign(time=10**9 + frame["time"] * DAY)), config=bench(validation=0, cold=0, test=2)
    )
    assert set(told(found.test)) == {("new", "x"), ("ann", "y")}
    assert found.task("warm").history.users == ["ann"]
    assert "not tested, because nothing can be known of them: 1 of 2 users, who have no history" in found.notes
    assert found.regimes == ["warm"]
    with pytest.raises(SonicError, match="nobody can be asked for cold tracks: learned from"):
        found.task("cold")
    with pytest.raises(SonicError, match="nobody can be asked for validation tracks"):
        found.task("validation")
    with pytest.raises(SonicError, match="task=hot must be warm, cold or validation"):
        found.task("hot")


# ---- faults ----------------------------------------------------------------------------------------------------------


def moved(plays, pair, **changes):
    "Plays in which a pair is another."
    parts = {name: getattr(plays, name).copy() for name in changes}
    for name, value in changes.items():
        parts[name][pair] = value
    return replace(plays, **parts)


def leaks(split):
    "Splits that must not be, each with what is wrong."
    train, test, validation, heard = split.train, split.test, split.validation, split.heard
    chooses = int(np.flatnonzero(np.isin(train.user, validation.user))[0])
    cold = int(np.flatnonzero(split.cold)[0])
    same = {"user": test.user[0], "track": test.track[0]}
    yield "a pair both teaches and tests", {"train": moved(train, 0, **same)}
    yield "a pair that was heard before is tested", {"test": moved(test, 0, user=heard.user[0], track=heard.track[0])}
    yield "counts as cold that is not", {"train": moved(train, 0, track=cold)}
    yield "counts as cold that is not", {"cold": split.cold ^ (np.arange(len(split.cold)) == 3)}
    yield "a cold track chooses settings", {"validation": moved(validation, 0, track=cold)}
    yield "both chooses settings and is tested", {"test": moved(test, 0, user=validation.user[0])}
    yield "is of a track that is not cold", {"heard": moved(heard, 0, track=int(np.flatnonzero(~split.cold)[0]))}
    yield "teaches that came later than the test began", {"train": moved(train, 5, last=split.begins)}
    late = split.begins - 1
    yield "later than the same user's choice of settings", {"train": moved(train, chooses, last=late)}
    yield "chooses settings outside of its time", {"validation": moved(validation, 0, last=split.begins)}
    yield "is tested outside of its time", {"test": moved(test, 0, first=split.begins - 1)}
    yield "is tested outside of its time", {"test": moved(test, 0, last=split.ends)}
    yield "counts as heard that came later", {"heard": moved(heard, 0, last=split.begins)}


@pytest.mark.parametrize("number", range(13))
def test_a_split_with_a_leak_cannot_be_made(split, number):
    fault, changes = list(leaks(split))[number]
    with pytest.raises(SonicError, match=f"the split leaks: .*{fault}"):
        replace(split, **changes)


def test_a_log_that_cannot_be_split_by_date_says_so(rows, log):
    with pytest.raises(SonicError, match="no times"):
        split_log(make_log(rows[["user_id", "track_id"]]))
    with pytest.raises(SonicError, match="played before .*; change bench.test or bench.train"):
        split_log(log, config=bench(test=200))


# ---- by chance -------------------------------------------------------------------------------------------------------


def test_by_chance_every_user_gives_the_same_share():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"user_id": rng.integers(0, 40, 900).astype(str), "track_id": rng.integers(0, 80, 900).astype(str)}
    )
    plays = make_plays(frame.drop_duplicates())
    found = split_random(plays, test=0.2, seed=3)
    assert (np.diff(found.test.starts) == np.floor(0.2 * np.diff(plays.starts))).all()
    assert set(told(found.train)) | set(told(found.test)) == set(told(plays))
    assert not set(told(found.train)) & set(told(found.test))
    assert not len(found.validation) and found.ends == 0
    assert "which flatters" in found.notes[0]
    again = split_random(make_plays(frame.drop_duplicates().sample(frac=1, random_state=0)), seed=3)
    assert parts(again) == parts(found)
    assert parts(split_random(plays, seed=4)) != parts(found)
    tests = [set(told(split_random(plays, seed=seed).test)) for seed in range(40)]
    pairs = [(plays.users[user], plays.tracks[track]) for user, track in zip(plays.user, plays.track, strict=True)]
    often = np.array([sum(pair in each for each in tests) for pair in pairs])  # about 8 of 40 each
    assert (often == 0).mean() < 0.01 and often.max() < 22
    assert often[plays.track < 40].mean() == pytest.approx(often[plays.track >= 40].mean(), rel=0.1)
    with pytest.raises(SonicError, match="test=1 must be between 0 and 1"):
        split_random(plays, test=1)
