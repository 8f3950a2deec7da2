"""How fast recommenders learn and answer, beside implicit: python bench/recommend.py [USERS TRACKS [ROUNDS]]

One million users, a hundred thousand tracks, the top 50 for each by default. Both sides get the same histories and the same
factors, fold every history in anew and leave out what it holds. Rounds alternate on 20,000 of the users, and the ratio is the
median of theirs; then ours answers all of them once, and says how much memory that took beyond what went in and came out.
"""

import resource
import sys
import time
from statistics import median

import numpy as np
from threadpoolctl import threadpool_limits

from sonic.config import Config
from sonic.rouge.als import Als
from sonic.rouge.plays import Plays, for_users

K, PLAYED, SOME, FACTORS = 50, 30, 20_000, 64


def histories(users, tracks, seed=0):
    "Users who have each played about thirty tracks, the popular ones more often."
    rng = np.random.default_rng(seed)
    count = rng.poisson(PLAYED, users) + 1
    user = np.repeat(np.arange(users, dtype=np.int32), count)
    track = (tracks * rng.random(len(user)) ** 3).astype(np.int32)
    pairs = np.unique(user.astype(np.int64) * tracks + track)
    user, track = (part.astype(np.int32) for part in np.divmod(pairs, tracks))
    none = np.zeros(len(user), np.int64)
    names = [f"u{n}" for n in range(users)], [f"t{n}" for n in range(tracks)]
    return Plays(*names, user, track, np.ones(len(user), np.float32), none, none)


def peak():
    "Most memory that was held so far, MB."
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def learn(rounds):
    "Fit both on a smaller log, in turns."
    from implicit.cpu.als import AlternatingLeastSquares

    plays = histories(20_000, 5_000)
    config = Config().replace(**{"recommend.factors": FACTORS})
    weights = Als(config)._weights(plays)
    ratios = []
    for _ in range(rounds):
        peer = AlternatingLeastSquares(factors=FACTORS, iterations=config.recommend.iterations, random_state=0)
        with threadpool_limits(1, "blas"):
            theirs = timed(lambda peer=peer: peer.fit(weights, show_progress=False))
        ours = timed(lambda: Als(config).fit(plays))
        ratios.append(theirs / ours)
    print(f"learn, 20,000 users x 5,000 tracks, {FACTORS} factors: {median(ratios):.2f} times implicit's speed "
          f"({min(ratios):.2f} to {max(ratios):.2f}); it is implicit that learns")  # fmt: skip


def serve(users, tracks, rounds):
    "Answer both, in turns, and then all."
    from implicit.cpu.als import AlternatingLeastSquares

    plays = histories(users, tracks)
    made = Als(Config().replace(**{"recommend.factors": FACTORS}))
    rng = np.random.default_rng(1)
    factors = rng.normal(0, 0.1, (tracks, FACTORS)).astype(np.float32)
    made.tracks, made.state = plays.tracks, made.from_factors(factors, penalty=0.05)
    made.state["popularity"] = np.log1p(plays.listeners).astype(np.float32)
    peer = AlternatingLeastSquares(factors=FACTORS, regularization=0.05, random_state=0)
    peer.item_factors, peer.user_factors = factors, np.zeros((users, FACTORS), np.float32)

    some = for_users(plays, np.arange(min(SOME, users)))
    weights, rows = made._weights(some), np.arange(1000)
    blocks = [weights[start : start + len(rows)] for start in range(0, len(some.users), len(rows))]
    ratios = []
    for number in range(rounds):
        found = {}
        ours = timed(lambda: found.update(ours=made.recommend(some, K)))
        how = {"filter_already_liked_items": True, "recalculate_user": True}
        theirs = timed(
            lambda: found.update(
                theirs=[peer.recommend(rows[: block.shape[0]], block, N=K, **how)[0] for block in blocks]
            )
        )
        ratios.append(theirs / ours)
        same = np.mean([len(np.intersect1d(a, b)) / K for a, b in
                        zip(found["ours"].columns, np.concatenate(found["theirs"]), strict=True)])  # fmt: skip
        print(f"  round {number + 1}: ours {ours:.1f} s, implicit {theirs:.1f} s, {same:.1%} of the lists are the same")
    print(f"answer, {len(some.users):,} users x {tracks:,} tracks, top {K}: {median(ratios):.2f} times implicit's speed "
          f"({min(ratios):.2f} to {max(ratios):.2f})")  # fmt: skip

    before = peak()
    start = time.perf_counter()
    lists = made.recommend(plays, K)
    seconds, kept = time.perf_counter() - start, (lists.columns.nbytes + lists.scores.nbytes) / 2**20
    print(f"answer, {users:,} users x {tracks:,} tracks: {seconds:.0f} s, {1e6 * seconds / users:.0f} us a user; "
          f"{peak() - before:.0f} MB more than before, of which {kept:.0f} MB are the lists")  # fmt: skip


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    users, tracks, rounds = (*given, *(1_000_000, 100_000, 3)[len(given) :])
    learn(rounds)
    serve(users, tracks, rounds)
