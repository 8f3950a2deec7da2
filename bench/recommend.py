"""How fast recommenders learn and answer, beside implicit: python bench/recommend.py [USERS TRACKS [ROUNDS]]

One million users, a hundred thousand tracks, the top 50 for each by default. Both sides get the same histories and the
same factors, fold every history in anew and leave out what it holds. Rounds alternate on 20,000 of the users, and the
ratio is the median of theirs; then ours answers all of them once, and says how much memory that took on top.
"""

import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from sonic.config import Config
from sonic.rouge.als import Als
from sonic.rouge.plays import Plays, for_users

K, PLAYED, SOME, FACTORS = 50, 30, 20_000, 64
CONFIG = Config().replace(**{"recommend.factors": FACTORS})


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


def held(what):
    "Memory, MB: VmRSS is what is held now, VmHWM the most since that was forgotten. Linux only."
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(what))


def timed(work):
    "Seconds, and what came out."
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def told(ratios):
    return f"{median(ratios):.2f} times implicit's speed ({min(ratios):.2f} to {max(ratios):.2f})"


def learn(rounds):
    "Fit both on a smaller log, in turns."
    from implicit.cpu.als import AlternatingLeastSquares

    plays = histories(20_000, 5_000)
    weights = csr_matrix(Als(CONFIG)._weights(plays))

    def theirs():
        with threadpool_limits(1, "blas"):
            how = {"factors": FACTORS, "iterations": CONFIG.recommend.iterations, "random_state": 0}
            AlternatingLeastSquares(**how).fit(weights, show_progress=False)

    ratios = [timed(theirs)[0] / timed(lambda: Als(CONFIG).fit(plays))[0] for _ in range(rounds)]
    print(f"learn, 20,000 users x 5,000 tracks: {told(ratios)}; it is implicit that learns")


def serve(users, tracks, rounds):
    "Answer with both, in turns, and then everybody."
    from implicit.cpu.als import AlternatingLeastSquares

    plays, rng = histories(users, tracks), np.random.default_rng(1)
    factors = rng.normal(0, 0.1, (tracks, FACTORS)).astype(np.float32)
    made, gram = Als(CONFIG), factors.T.astype(float) @ factors
    made.tracks, made.state = plays.tracks, {"factors": factors, "gram": gram, "penalty": np.array(0.05)}
    peer = AlternatingLeastSquares(factors=FACTORS, regularization=0.05, random_state=0)
    peer.item_factors, peer.user_factors = factors, np.zeros((users, FACTORS), np.float32)

    some = for_users(plays, np.arange(min(SOME, users)))
    weights = csr_matrix(made._weights(some))
    blocks = [weights[start : start + 1000] for start in range(0, weights.shape[0], 1000)]

    def theirs():
        how = {"N": K, "filter_already_liked_items": True, "recalculate_user": True}
        return np.concatenate([peer.recommend(np.arange(block.shape[0]), block, **how)[0] for block in blocks])

    ratios = []
    for number in range(rounds):
        (ours, mine), (their, other) = timed(lambda: made.recommend(some, K).columns), timed(theirs)
        same = np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(mine, other, strict=True)])
        print(f"  round {number + 1}: ours {ours:.1f} s, implicit {their:.1f} s, {same:.1%} of the tracks are the same")
        ratios.append(their / ours)
    print(f"answer, {len(some.users):,} users x {tracks:,} tracks, top {K}: {told(ratios)}")

    Path("/proc/self/clear_refs").write_text("5")  # forget the most so far
    before = held("VmRSS")
    seconds, lists = timed(lambda: made.recommend(plays, K))
    kept = (lists.columns.nbytes + lists.scores.nbytes) / 2**20
    print(f"answer, {users:,} users x {tracks:,} tracks: {seconds:.0f} s, {1e6 * seconds / users:.0f} us a user")
    print(f"held {held('VmHWM') - before:.0f} MB more than before at most, of which {kept:.0f} MB are the lists")


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    users, tracks, rounds = (*given, *(1_000_000, 100_000, 3)[len(given) :])
    learn(rounds)
    serve(users, tracks, rounds)
