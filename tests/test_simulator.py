"Planted taste: the log follows it, its chances are true, and no order of tracks finds more than theirs."

import numpy as np
import pandas as pd
import pytest

from sonic.cream.artists import plan
from sonic.rouge.simulator import simulate
from sonic.rouge.taste import place_tracks, plant_taste
from sonic.sections import SonicError

WEEK = 7 * 86400


def songs(count):
    "Synthetic tracks and their labels."
    rows = [(s.track_id, s.artist, s.genre, s.tempo, s.key) for s in plan(count)]
    return pd.DataFrame(rows, columns=["track_id", "artist", "genre", "tempo", "key"]).set_index("track_id")


@pytest.fixture(scope="module")
def world():
    "Three hundred users and tracks, for half a year."
    return simulate(songs(300), users=300, days=182, plays=200)


def rows_of(made):
    "The plays as rows and columns, with their week."
    frame = made.log.source.to_pandas()
    user = pd.Index(made.users, dtype=object).get_indexer(frame["user_id"].astype(object))
    track = pd.Index(made.tracks.index, dtype=object).get_indexer(frame["track_id"].astype(object))
    return user, track, ((frame["time"] - made.start) // WEEK).to_numpy()


# ---- where tracks lie ------------------------------------------------------------------------------------------------


def test_labels_decide_where_a_track_lies_and_nothing_else():
    tracks = songs(80)
    places = place_tracks(tracks)
    turned = tracks.iloc[::-1]
    assert np.abs(place_tracks(turned)[::-1] - places).max() < 1e-6  # order of rows
    assert (place_tracks(tracks.assign(path="x", title="y")) == places).all()  # other columns
    assert all(
        (place_tracks(tracks[[name]], seed=1) != place_tracks(tracks[[name]])).any() for name in ("genre", "tempo")
    )
    named = tracks[["genre", "artist"]]
    assert (place_tracks(named.iloc[:7]) == place_tracks(named)[:7]).all()  # other tracks


def test_likeness_is_the_share_of_weight_that_tracks_have_in_common():
    tracks = pd.DataFrame({"game": ["a", "a", "b", None], "album": ["x", "y", "x", None]}, index=list("pqrs"))
    alone = place_tracks(tracks, weights={"game": 1})
    assert np.allclose(np.linalg.norm(alone, axis=1), [1, 1, 1, 0])  # no label, no place
    assert np.allclose(alone[0], alone[1])
    own = place_tracks(pd.DataFrame({"game": "a"}, index=range(1000)), weights={"game": 2, "track_id": 1})
    likeness = (own @ own.T)[~np.eye(1000, dtype=bool)]
    assert likeness.mean() == pytest.approx(4 / 5, abs=0.05)  # 2² of 2² + 1², and what random directions share


def test_tempo_counts_in_octaves():
    tempo = place_tracks(pd.DataFrame({"tempo": [60, 120, 240, np.nan]}, index=list("abcd")), weights={"tempo": 1})
    assert np.allclose(tempo[0], -tempo[2], atol=1e-6)
    assert np.abs(tempo[[1, 3]]).max() < 1e-6  # the mean, and what is unknown
    assert np.linalg.norm(tempo[2]) == pytest.approx(np.sqrt(1.5), rel=1e-5)  # one of three points of spread 1
    same = place_tracks(pd.DataFrame({"tempo": [90.0, 90.0], "genre": "a"}, index=list("ab")))
    assert np.isfinite(same).all()


# ---- what is planted -------------------------------------------------------------------------------------------------


def test_everything_comes_from_the_seed_whatever_was_drawn_before(world):
    np.random.seed(7)  # noqa: NPY002
    simulate(songs(30), users=3, days=20)
    again = simulate(songs(300).sample(frac=1, random_state=3), users=300, days=182, plays=200)
    assert again.log.source.equals(world.log.source)
    assert again.tracks.equals(world.tracks)
    other = simulate(songs(300), users=300, days=182, plays=200, seed=1)
    assert not other.log.source.equals(world.log.source)


def test_nobody_plays_before_release(world):
    _, track, week = rows_of(world)
    assert (world.truth.released > 0).sum() == 90
    assert (week >= world.truth.released[track]).all()
    assert (world.tracks["released"] == world.start + WEEK * world.truth.released).all()
    first = world.chances(world.users[:20], at=world.start)
    assert (first[:, world.truth.released > 0] == 0).all()
    assert (first[:, world.truth.released == 0] > 0).all()
    soon = world.truth.released >= world.truth.weeks - 4
    assert 5 < soon.sum() < 30  # naturally cold, if the last month is tested


def test_a_track_is_found_as_often_as_its_chance_says():
    made = simulate(songs(150), users=1, days=70, plays=200_000, repeats=0, drift=1)
    ids = list(made.tracks.index)
    for at, until in ((made.start, made.end), (made.start + 5 * 86400, made.start + 12 * 86400)):
        counts = made.log.plays(since=at, until=until, tracks=ids).matrix.toarray()[0]
        chances = made.chances(made.users, at=at, until=until)[0].astype(float)
        hoped = chances * counts.sum()
        some = hoped > 5
        square = ((counts - hoped)[some] ** 2 / hoped[some]).sum()
        assert abs(square - some.sum()) < 4 * np.sqrt(2 * some.sum())
        wrong = np.roll(chances, 1)[some] * counts.sum()
        assert ((counts[some] - wrong) ** 2 / np.maximum(wrong, 1)).sum() > 100 * some.sum()


def test_the_chance_of_a_window_is_the_mean_of_its_moments(world):
    at, until = world.start + 3 * 86400, world.start + 20 * 86400
    hours = np.arange(at, until, 6 * 3600)
    moments = np.mean([world.chances(world.users[:5], at=hour) for hour in hours], axis=0)
    assert np.allclose(world.chances(world.users[:5], at=at, until=until), moments, atol=1e-6)
    ids = list(world.tracks.index[[5, 2]])
    named = world.chances(world.users[4:2:-1], at=at, tracks=ids)
    assert np.allclose(named, world.chances(world.users, at=at)[[[4], [3]], [5, 2]], rtol=1e-5, atol=0)


def test_without_taste_popularity_is_zipfs():
    for alpha in (0, 1.0):
        made = simulate(songs(300), users=100, days=182, plays=1000, sharpness=0, repeats=0, new=0, popularity=alpha)
        counts = made.log.plays(tracks=list(made.tracks.index)).matrix.sum(axis=0)
        slope = np.polyfit(np.log(made.truth.rank), np.log(counts), 1)[0]
        assert slope == pytest.approx(-alpha, abs=0.04)
        genre = pd.factorize(made.tracks["genre"])[0]
        ranks = [made.truth.rank[genre == number].mean() for number in range(8)]
        assert np.ptp(ranks) < 100  # fame has nothing to do with the sound: 8 means of about 150, spread 14 each


def test_users_play_what_fits_their_anchors(world):
    user, track, _ = rows_of(world)
    fit = world.truth.anchors[0] @ world.truth.places.T
    best = np.where(world.truth.shares[:, :, None] > 0, fit, -1).max(axis=1)  # some anchors have no share
    own, others = best[user, track].mean(), best[(user + 1) % 300, track].mean()
    assert own > others + 0.2
    dull = simulate(songs(300), users=300, days=182, plays=200, sharpness=1)
    user, track, _ = rows_of(dull)
    assert best[user, track].mean() < own - 0.2  # the same anchors, hardly sought


def test_drift_can_be_measured_from_the_plays_alone():
    moved = {}
    for drift in (0.0, 0.8):
        made = simulate(songs(300), users=300, plays=200, drift=drift, new=0, anchors=1)
        user, track, week = rows_of(made)
        halves = []
        for some in (week < 10, week >= made.truth.weeks - 10):
            centre = np.zeros((300, 32))
            np.add.at(centre, user[some], made.truth.places[track[some]])
            halves.append(centre / np.maximum(np.linalg.norm(centre, axis=1, keepdims=True), 1e-9))
        moved[drift] = np.median((halves[0] * halves[1]).sum(axis=1))
    assert moved[0.0] > 0.85 > moved[0.8] + 0.2


def test_repeats_are_as_many_as_planted_and_follow_earlier_ones():
    tracks = pd.DataFrame({"genre": "one"}, index=[f"t{n}" for n in range(6000)])
    for share in (0.0, 0.5):
        made = simulate(tracks, users=20, days=7, plays=200, sharpness=0, popularity=0, repeats=share, new=0)
        plays = made.log.plays()
        assert len(plays) / len(made.log) == pytest.approx(1 - share, abs=0.04)
    assert plays.count.max() > 10  # Simon's process: a few are played very often, most once
    assert np.median(plays.count) == 1


def test_users_differ_in_how_much_they_play():
    made = simulate(songs(50), users=2000, days=30, plays=100)
    counts = np.diff(made.log.plays(users=made.users).starts)
    played = np.bincount(rows_of(made)[0], minlength=2000)
    assert played.mean() == pytest.approx(100, rel=0.1)
    assert np.log(np.maximum(played, 1)).std() == pytest.approx(0.8, abs=0.06)
    assert (counts <= 50).all()


# ---- the best that is possible ---------------------------------------------------------------------------------------


def test_no_order_finds_more_than_that_of_the_chances(world):
    cut, ids = world.end - 30 * 86400, list(world.tracks.index)
    before = world.log.plays(until=cut, users=world.users, tracks=ids).matrix.toarray() > 0
    wanted = (world.log.plays(since=cut, users=world.users, tracks=ids).matrix.toarray() > 0) & ~before
    truth = world.chances(world.users, at=cut, until=world.end)

    def found(order):
        lists = np.argsort(np.where(before, -np.inf, order), axis=1)[:, -20:]
        return np.take_along_axis(wanted, lists, axis=1).sum()

    best, rng = found(truth), np.random.default_rng(0)
    popular = np.tile(before.sum(axis=0), (300, 1))
    assert found(rng.random(truth.shape)) < found(popular) < 0.8 * best
    assert found(np.roll(truth, 1, axis=0)) < 0.7 * best  # somebody else's taste
    assert all(found(truth[:, rng.permutation(300)]) < 0.5 * best for _ in range(5))
    assert found(world.chances(world.users, at=world.start)) < 0.9 * best  # an old taste
    for noise in (0.5, 1, 2):
        assert all(found(truth * np.exp(rng.normal(0, noise, truth.shape))) < best for _ in range(5))
    expected = np.sort(np.where(before, 0, truth), axis=1)[:, -20:].sum() / np.where(before, 0, truth).sum()
    assert best / wanted.sum() == pytest.approx(expected, abs=0.15)  # the share that the chances promise


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"users": 0}, "users=0 must be between 1 and"),
        ({"days": 0}, "days=0 must be between 1 and"),
        ({"repeats": 1.0}, "repeats=1.0 must be between 0 and 0.99"),
        ({"new": 1}, "new=1 must be between 0 and 0.99"),
        ({"drift": -0.1}, "drift=-0.1 must be between 0 and 1"),
        ({"sharpness": float("nan")}, "sharpness=nan must be between"),
        ({"weights": {"mood": 1.0}}, "no label to plant a taste in, such as mood"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, told):
    with pytest.raises(SonicError, match=told):
        simulate(songs(10), **settings)


def test_tracks_that_cannot_be_told_apart_are_refused(world):
    twice = songs(5).iloc[[0, 1, 1]]
    with pytest.raises(SonicError, match="track demo-0002 stands for two rows"):
        simulate(twice)
    with pytest.raises(SonicError, match="there are no tracks"):
        simulate(twice.iloc[:0])
    with pytest.raises(SonicError, match="user eve is not in the simulation"):
        world.chances(["eve"], at=world.start)
    with pytest.raises(SonicError, match="track x is not in the simulation"):
        world.chances(world.users, at=world.start, tracks=["x"])
    for at, until in ((world.start - 1, None), (world.end, None), (world.start + 9, world.start + 9)):
        with pytest.raises(SonicError, match="must follow each other between"):
            world.chances(world.users, at=at, until=until)


def test_the_smallest_worlds_work():
    made = simulate(songs(1), users=1, days=1, plays=5, new=0.99)
    assert made.chances(made.users, at=made.start).tolist() == [[1.0]]
    taste = plant_taste(place_tracks(songs(9)), users=2, weeks=1)
    assert taste.chances(np.array([0, 1]), weeks=[0]).sum(axis=1) == pytest.approx([1, 1])
