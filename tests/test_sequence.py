"Networks that recommend: what they must find, what they must not see, and which epoch is kept."

import io
import math

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from sonic.config import Config
from sonic.rouge import encoder, epochs, sequence
from sonic.rouge import shallow as shallow_module
from sonic.rouge.encoder import Tracks, any_tracks, guess_loss, last_tracks
from sonic.rouge.epochs import gains, make_lessons
from sonic.rouge.plays import for_users, make_plays, without
from sonic.rouge.recommender import Sound
from sonic.rouge.sequence import GAP, NOTHING, Bert4Rec, Reader, SasRec
from sonic.rouge.shallow import Bag, Shallow
from sonic.sections import SonicError

RING = [f"t{n:02}" for n in range(60)]
KINDS = (SasRec, Bert4Rec, Shallow)


def small(**changes):
    settings = {"size": 32, "length": 20, "layers": 1, "batch": 32, "learning_rate": 0.01, "dropout": 0.1, "epochs": 4}
    return Config().replace(**{f"sequence.{name}": value for name, value in (settings | changes).items()})


def histories(lists, *, tracks=RING, users=None):
    "Plays of lists of columns, in their order."
    users = [f"u{n:03}" for n in range(len(lists))] if users is None else users
    frame = pd.DataFrame({"user_id": np.repeat(users, [len(one) for one in lists])})
    frame["track_id"] = np.array(tracks)[np.concatenate(lists)]
    frame["first"] = np.concatenate([np.arange(len(one)) for one in lists])
    return make_plays(frame, tracks=tracks, users=users)


def ring(count, seed):
    "Four pieces of five tracks of a ring for each user, and the track that comes next."
    rng = np.random.default_rng(seed)
    heads = np.array([rng.permutation(10)[:4] * 6 for _ in range(count)]) + rng.integers(0, 6, (count, 1))
    lists = (heads[:, :, None] + np.arange(5)).reshape(count, 20) % 60
    return lists, (lists[:, -1] + 1) % 60


def on_ring(known=None):
    "The sound of a track is where it stands."
    angle = 2 * np.pi * np.arange(60)[:, None] / 60 * np.arange(1, 5)
    vectors = np.hstack([np.cos(angle), np.sin(angle)]).astype(np.float32) / 2
    known = np.ones(60, bool) if known is None else known
    return Sound(vectors * known[:, None], known, [None] * 60)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def world():
    return histories(ring(300, 0)[0])


@pytest.fixture(scope="module")
def made(world):
    "One of each, which has learned a little, and SASRec, which has learned the ring."
    short = {kind.name: kind(small(), device="cpu").fit(world, sound=on_ring()) for kind in (Bert4Rec, Shallow)}
    return short | {"sasrec": SasRec(small(epochs=8), device="cpu").fit(world)}


# ---- what they find --------------------------------------------------------------------------------------------------


def test_order_is_read_where_a_bag_of_tracks_cannot(made):
    lists, following = ring(200, 1)
    strangers = histories(lists)
    hit = {name: (each.recommend(strangers, k=1).columns[:, 0] == following).mean() for name, each in made.items()}
    assert hit["sasrec"] > 0.9
    assert hit["shallow"] < 0.4


def test_the_order_of_a_history_changes_what_a_reader_says(made):
    forth, back = histories([[3, 9, 27, 40]]), histories([[40, 27, 9, 3]])
    for name, each in made.items():
        change = np.abs(each.scores(forth) - each.scores(back)).max()
        assert change < 1e-6 if name == "shallow" else change > 1e-2, name


def test_what_stands_beside_a_history_changes_nothing(made):
    lists = [[3, 4, 5], list(range(10, 30)), [50, 2], [7]]
    together = histories(lists)
    for each in made.values():
        whole = each.scores(together)
        for row in range(len(lists)):
            np.testing.assert_allclose(each.scores(for_users(together, [row]))[0], whole[row], atol=1e-4)
        np.testing.assert_allclose(each.scores(for_users(together, [2, 0, 3, 1])), whole[[2, 0, 3, 1]], atol=1e-4)


def test_blocks_do_not_matter(world, made):
    some = for_users(world, np.arange(40))
    for each in made.values():
        other = type(each)(each.config.replace(**{"sequence.batch": 7}), device="cpu")
        other.state, other.tracks = each.state, each.tracks
        np.testing.assert_allclose(other.scores(some), each.scores(some), atol=1e-4)


def test_only_the_last_tracks_are_read(made):
    long, longer = list(range(30, 49)), [1, 2, *range(30, 49)]
    for kind, reach in (("sasrec", 19), ("bert4rec", 19)):
        config = made[kind].config.replace(**{"sequence.length": reach + (kind == "bert4rec")})
        each = type(made[kind])(config, device="cpu")
        places = made[kind].state["reader.places.weight"][: config.sequence.length]
        each.state, each.tracks = made[kind].state | {"reader.places.weight": places}, RING
        np.testing.assert_allclose(each.scores(histories([long])), each.scores(histories([longer])), atol=1e-6)


def test_whoever_has_the_same_history_gets_the_same(made):
    twins = histories([[3, 4, 5], [3, 4, 5]], users=["known", "stranger"])
    for each in made.values():
        scores = each.scores(twins)
        np.testing.assert_allclose(scores[0], scores[1], atol=1e-6)


# ---- what they must not see ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_a_causal_reader_looks_back_only(causal, training):
    torch.manual_seed(0)
    reader = Reader(small(layers=2, dropout=0).sequence, causal=causal).train(training)
    vectors = torch.randn(8, 32, requires_grad=True)
    said = reader(vectors, torch.arange(8)[None])[0]
    seen = [
        torch.autograd.grad(said[place, 0], vectors, retain_graph=True)[0].abs().sum(dim=1) > 0 for place in range(8)
    ]
    expected = torch.ones(8, 8).tril() > 0 if causal else torch.ones(8, 8) > 0
    assert torch.equal(torch.stack(seen), expected)


@pytest.mark.parametrize("causal", [True, False])
def test_learning_and_answering_compute_the_same(causal):
    torch.manual_seed(0)
    reader, vectors = Reader(small(layers=2, dropout=0).sequence, causal=causal), torch.randn(8, 32)
    lists = torch.tensor([[0, 1, 2, GAP], [3, GAP, NOTHING, NOTHING]])
    taught = reader.train()(vectors, lists).detach()
    with torch.inference_mode():
        said = reader.eval()(vectors, lists)
        alone = reader(vectors, lists[1:, :2])
    there = lists != NOTHING
    torch.testing.assert_close(said[there], taught[there], atol=1e-5, rtol=0)
    torch.testing.assert_close(alone[0], taught[1, :2], atol=1e-5, rtol=0)
    assert torch.isfinite(taught).all()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_found_where_there_is_nothing(kind):
    rng = np.random.default_rng(0)
    plays = histories([rng.permutation(60)[:12] for _ in range(150)])
    each = kind(small(epochs=6, patience=6, length=12), device="cpu").fit(plays, sound=on_ring())
    chance = np.mean(1 / np.log2(np.arange(2, 49 + 2)))
    assert max(row["validation"] for row in each.curve) < chance + 0.07
    if kind is not Shallow:  # nobody can know more than that a track does not come twice
        assert each.curve[-1]["loss"] > math.log(60 - 12)


def test_sasrec_answers_are_what_comes_next():
    plays = histories([[5, 6, 7, 8, 9, 10, 11], [3, 2], [1, 4, 0]])
    each = SasRec(small(length=4))
    for seed in range(9):
        lists, right = each.lesson(plays, np.array([0, 1, 2]), np.random.default_rng(seed))
        assert lists.shape == right.shape == (3, 4)
        assert (lists[0, 1:] == right[0, :-1]).all() and (right[0] == lists[0] + 1).all()
        assert lists[1:].tolist() == [[3, NOTHING, NOTHING, NOTHING], [1, 4, NOTHING, NOTHING]]
        assert right[1:].tolist() == [[2, NOTHING, NOTHING, NOTHING], [4, 0, NOTHING, NOTHING]]


def test_bert4rec_hides_what_it_asks(world):
    each = Bert4Rec(small(mask=0.3))
    short = histories([[4, 5], *ring(50, 2)[0][:, :7]])
    for plays in (world, short):
        rows = np.arange(len(plays.users))
        lists, right = each.lesson(plays, rows, np.random.default_rng(0))
        whole, there = last_tracks(plays, 20), last_tracks(plays, 20) >= 0
        assert ((lists == GAP) == (right >= 0)).all() and not (lists[~there] == GAP).any()
        np.testing.assert_array_equal(np.where(lists == GAP, right, lists), whole)
        last = there.sum(axis=1) - 1
        assert (lists[rows, last] == GAP).all()
    assert abs((each.lesson(world, np.arange(300), np.random.default_rng(0))[0][:, :-1] == GAP).mean() - 0.3) < 0.03
    asked = each.question(short)
    assert asked[0].tolist() == [4, 5, GAP, *[NOTHING] * 5] and (asked[1:, -1] == GAP).all()


def test_shallow_does_not_look_at_the_track_it_is_asked_for():
    torch.manual_seed(0)
    bag = Bag(Tracks(np.ones(60, bool), 8, sound=on_ring()), 8).eval()
    columns, user = torch.tensor([0, 1, 2, 3, 4]), torch.tensor([0, 0, 1, 1, 1])
    listener = bag.others(columns, user)
    for pair in range(5):
        (change,) = torch.autograd.grad(listener[pair].sum(), bag.tracks.own.weight, retain_graph=True)
        others = {n for n in range(5) if user[n] == user[pair] and n != pair}
        assert set(np.flatnonzero(change.abs().sum(dim=1).numpy() > 1e-9)) <= others
    alone = bag.others(columns[:2], user[:2])
    torch.testing.assert_close(alone, listener[:2])


def test_what_is_held_out_is_in_no_lesson(monkeypatch, world):
    seen, lessons = [], make_lessons(world, seed=0)
    held = set(zip(lessons.asked.users, lessons.answers, strict=True))
    for kind in KINDS:
        loss = kind.loss
        monkeypatch.setattr(kind, "loss", lambda *given, loss=loss: (seen.append(given[2]), loss(*given))[1])
        kind(small(epochs=1), device="cpu").fit(world, sound=on_ring())
    for plays in seen:
        pairs = {(plays.users[user], track) for user, track in zip(plays.user, plays.track, strict=True)}
        assert len(held) == 150 and not held & pairs


# ---- what they compare with ------------------------------------------------------------------------------------------


def test_negatives_come_from_all_that_is_played_and_from_nothing_else(monkeypatch, world):
    drawn = []

    def draw(pool, negatives, rng):
        drawn.append(draw_before(pool, negatives, rng))
        return drawn[-1]

    draw_before = encoder.draw_tracks
    cold = np.isin(world.track, [17, 31])
    for kind, module in ((SasRec, sequence), (Bert4Rec, sequence), (Shallow, shallow_module)):
        drawn.clear()
        monkeypatch.setattr(module, "draw_tracks", draw)
        kind(small(epochs=2, negatives=20), device="cpu").fit(without(world, cold), sound=on_ring())
        assert all(len(each) == len(set(each)) == 20 for each in drawn)
        assert set(np.concatenate(drawn)) == set(range(60)) - {17, 31}


def test_the_loss_is_that_of_the_whole_catalogue():
    rng = np.random.default_rng(0)
    vectors, states = torch.randn(50, 8, dtype=torch.float64), torch.randn(20, 8, dtype=torch.float64)
    right = rng.integers(0, 50, 20)
    whole = torch.nn.functional.cross_entropy(states @ vectors.T, torch.from_numpy(right))
    order = rng.permutation(50)
    same = torch.from_numpy(right[:, None] == order)
    torch.testing.assert_close(guess_loss(states, vectors[right], vectors[order], same, tracks=50), whole)

    rivals, guesses = [], 4000  # of one guess, the mean weight of its rivals is that of all others
    for _ in range(guesses):
        some = rng.choice(50, 5, replace=False)
        same = torch.from_numpy(right[:1, None] == some)
        loss = guess_loss(states[:1], vectors[right[:1]], vectors[some], same, tracks=50)
        rivals.append((math.exp(loss) - 1) * math.exp(states[0] @ vectors[right[0]]))
    others = torch.exp(states[0] @ vectors.T).sum() - torch.exp(states[0] @ vectors[right[0]])
    assert abs(np.mean(rivals) - float(others)) < 4 * np.std(rivals) / math.sqrt(guesses)


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_learns_and_the_sound_does_not(kind, world):
    sound, each = on_ring(), kind(small(), device="cpu")
    torch.manual_seed(0)
    network = each.make(np.ones(60, bool), sound=sound).train()
    each.loss(network, world, np.arange(40), np.random.default_rng(0)).backward()
    still = {name for name, weights in network.named_parameters() if weights.grad is None or not weights.grad.any()}
    assert still == ({"reader.gap"} if kind is SasRec else set())  # which only the other one reads
    assert not any("heard" in name for name, _ in network.named_parameters())


def test_what_a_listener_played_is_no_rival():
    "All have played all, so there is nothing to tell apart; one who has not has something to learn."
    same, other = [[0, 1, 2, 3]] * 4, [[0, 1, 2, 3]] * 3 + [[0, 1]]
    each = Shallow(small())
    for lists, lacks in ((same, False), (other, True)):
        network = each.make(np.arange(60) < 4, sound=on_ring())
        assert bool(each.loss(network, histories(lists), np.arange(4), np.random.default_rng(0)) > 0) == lacks


# ---- which epoch is kept ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_epoch_is_kept_though_worse_ones_follow(kind, world, monkeypatch):
    steps, loss = [], kind.loss

    def spoilt(self, *given):
        "From the third epoch on it learns to be wrong."
        steps.append(1)
        return loss(self, *given) * (1 if len(steps) <= 2 * -(-300 // 32) else -5)

    monkeypatch.setattr(kind, "loss", spoilt)
    each = kind(small(epochs=5, patience=9), device="cpu").fit(world, sound=on_ring())
    values, lessons = [row["validation"] for row in each.curve], make_lessons(world, seed=0)
    assert len(values) == 5 and max(values[:2]) == max(values) > values[-1] + 0.05
    found = gains(each.scores(lessons.asked), lessons.asked, lessons.answers)
    assert found.mean() == pytest.approx(max(values), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_has_nothing_left_out(kind, world, monkeypatch):
    export, kept = kind.export, []

    def twice(self, network):
        kept.append([export(self, network)["tracks"] for _ in range(2)])
        return export(self, network)

    monkeypatch.setattr(kind, "export", twice)
    kind(small(epochs=2), device="cpu").fit(world, sound=on_ring())
    assert len(kept) == 2 and all((one == other).all() for one, other in kept)


def test_it_stops_when_nothing_gets_better(world, monkeypatch):
    monkeypatch.setattr(epochs, "gains", lambda scores, asked, answers: np.full(len(answers), 0.5))
    each = Shallow(small(epochs=9, patience=2), device="cpu").fit(world, sound=on_ring())
    first = Shallow(small(epochs=9, patience=1), device="cpu").fit(world, sound=on_ring())
    assert [row["epoch"] for row in each.curve] == [1, 2, 3]
    assert all((each.state[name] == first.state[name]).all() for name in each.state)  # of equal ones the first


def test_gain_is_that_of_the_place():
    plays = histories([[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 8, 7]])
    lessons = make_lessons(plays, seed=0)
    rng = np.random.default_rng(0)
    scores = rng.random((2, 60)).astype(np.float32)
    found = gains(scores, lessons.asked, lessons.answers)
    for row, answer in enumerate(lessons.answers):
        known = lessons.asked.track[lessons.asked.user == row]
        order = [column for column in np.argsort(-scores[row]) if column not in known]
        assert found[row] == pytest.approx(1 / math.log2(order.index(answer) + 2))
    same = gains(np.zeros((2, 60), np.float32), lessons.asked, lessons.answers)
    np.testing.assert_allclose(same, 1 / math.log2(28.5 + 2))  # in the middle of 58


# ---- the same again --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_everything(kind, world):
    config = small(epochs=1)
    torch.manual_seed(7)
    one = kind(config, seed=3, device="cpu").fit(world, sound=on_ring())
    after = torch.rand(3)
    torch.manual_seed(7)
    assert torch.equal(after, torch.rand(3))  # the draws of whoever calls are as if nothing had been
    other = kind(config, seed=4, device="cpu").fit(world, sound=on_ring())
    rows = np.random.default_rng(0).permutation(len(world.users))
    again = kind(config, seed=3, device="cpu").fit(for_users(world, rows), sound=on_ring())
    assert one.state.keys() == again.state.keys()
    assert all((one.state[name] == again.state[name]).all() for name in one.state)
    assert not (one.state["tracks"] == other.state["tracks"]).any()


def test_the_state_is_all_that_answers(made, world):
    for each in made.values():
        file = io.BytesIO()
        np.savez(file, **each.state)
        file.seek(0)
        fresh = type(each)(each.config, device="cpu")
        with np.load(file, allow_pickle=False) as arrays:
            fresh.state = dict(arrays)
        fresh.tracks = each.tracks
        assert all(type(array) is np.ndarray and array.dtype == np.float32 for array in each.state.values())
        some = for_users(world, np.arange(20))
        np.testing.assert_array_equal(fresh.scores(some), each.scores(some))


def test_learning_again_forgets_what_was(world):
    each = SasRec(small(epochs=1), device="cpu").fit(world)
    before = each.scores(world)
    each.fit(histories(ring(300, 5)[0][:, ::-1]))
    assert np.abs(each.scores(world) - before).max() > 1e-2
    assert len(each.curve) == 1


# ---- new tracks, strangers, and what nothing is known of -------------------------------------------------------------


def test_a_new_track_is_placed_by_its_sound_alone(world):
    new = np.array([17, 43])
    lists = [[each - 4, each - 3, each - 2, each - 1] for each in new]
    past, asked = without(world, np.isin(world.track, new)), histories(lists)
    for kind, count in ((SasRec, 8), (Bert4Rec, 12), (Shallow, 4)):
        each = kind(small(epochs=count), device="cpu").fit(past, sound=on_ring())
        scores = each.scores(asked)
        scores[asked.user, asked.track] = -np.inf
        places = (scores > scores[[0, 1], new][:, None]).sum(axis=1)
        assert (places < 9).all(), (kind.name, places)
    deaf = SasRec(small(epochs=1), device="cpu").fit(past).scores(asked)
    assert (deaf[:, new].max(axis=1) < np.delete(deaf, new, axis=1).min(axis=1)).all()


def test_what_nothing_is_known_of_is_not_read(world):
    known = np.arange(60) != 17
    past = without(world, np.isin(world.track, [17, 18]))  # 18 is new, but can be heard
    for kind in KINDS:
        each = kind(small(epochs=1), device="cpu").fit(past, sound=on_ring(known))
        with_it, without_it, new = (each.scores(histories([one])) for one in ([2, 17, 3], [2, 3], [2, 18, 3]))
        np.testing.assert_allclose(with_it, without_it, atol=1e-6)
        assert np.abs(new - without_it).max() > 1e-4
        assert np.isfinite(with_it).all() and with_it[0].argmin() == 17
        np.testing.assert_array_equal(each.scores(histories([[17]]))[0], each.state["popularity"])


def test_a_track_that_cannot_be_heard_is_last_for_shallow_though_it_was_played(world):
    known = np.arange(60) % 2 == 0
    scores = Shallow(small(epochs=1), device="cpu").fit(world, sound=on_ring(known)).scores(world)
    assert (scores[:, ~known].max(axis=1) < scores[:, known].min(axis=1)).all()


def test_lessons_reach_all_of_a_long_history():
    plays, rng = histories([range(40), [50, 51]]), np.random.default_rng(0)
    cut = [any_tracks(plays, np.array([0, 1]), 10, rng) for _ in range(300)]
    assert {int(lists[0, 0]) for lists in cut} == set(range(31))
    assert all((np.diff(lists[0]) == 1).all() and lists[1].tolist() == [50, 51, *[-1] * 8] for lists in cut)


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_what_cannot_be_learned_is_said(world):
    with pytest.raises(SonicError, match="has played two tracks"):
        SasRec(small()).fit(histories([[1], [2]]))
    with pytest.raises(SonicError, match=r"sequence.size=32 must be a multiple of sequence.heads=5"):
        SasRec(small(heads=5)).fit(world)
    with pytest.raises(SonicError, match="shallow needs the vectors"):
        Shallow(small()).fit(world)
    with pytest.raises(SonicError, match="none of the tracks that are played has a vector"):
        Shallow(small()).fit(histories([[1, 2], [2, 1]]), sound=on_ring(np.arange(60) > 50))


@pytest.mark.parametrize("broken", ["loss", "export"])
def test_a_training_that_runs_away_is_stopped(world, monkeypatch, broken):
    loss, export = SasRec.loss, SasRec.export
    if broken == "loss":
        monkeypatch.setattr(SasRec, "loss", lambda *given: loss(*given) * math.nan)
    else:
        monkeypatch.setattr(SasRec, "export", lambda *given: {n: each * math.nan for n, each in export(*given).items()})
    torch.manual_seed(7)
    with pytest.raises(
        SonicError, match=r"sasrec has run away; take a smaller sequence.learning_rate than 0.01"
    ) as told:
        SasRec(small(), device="cpu").fit(world)
    assert told.tb  # while the error is still being looked at, the generator is already as it was
    after = torch.rand(3)
    torch.manual_seed(7)
    assert torch.equal(after, torch.rand(3))


def test_a_bar_tells_how_far_it_is(world, monkeypatch):
    told = io.StringIO()
    monkeypatch.setattr(epochs, "Console", lambda **_: Console(file=told, force_terminal=True, width=120))
    Shallow(small(epochs=2), device="cpu").fit(world, sound=on_ring(), progress=True)
    assert "shallow, epoch 2, loss 0." in told.getvalue() and ", gain 0." in told.getvalue()


def test_two_listeners_of_two_tracks_are_enough():
    for kind in KINDS:
        each = kind(small(epochs=1), device="cpu").fit(histories([[1, 2], [3, 4]]), sound=on_ring())
        assert np.isfinite(each.scores(histories([[1], [9, 8]]))).all()
