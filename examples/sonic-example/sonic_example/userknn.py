"The recommender `userknn`: what those play who play the same as you."

import numpy as np
from scipy.sparse import csr_array

from sonic.rouge.plays import Plays
from sonic.rouge.recommender import Recommender, Sound, best_columns


class UserKnn(Recommender):
    "Asks the listeners whose tracks are most like those of a history, each for as much as theirs are."

    name = "userknn"
    settings = ("recommend.neighbours",)  # what it reads: it is given this, and defaults for the rest

    def learn(self, plays: Plays, *, sound: Sound | None, progress: bool) -> dict[str, np.ndarray]:
        return {"track": plays.track, "starts": plays.starts}

    def score(self, history: Plays) -> np.ndarray:
        track, starts = self.state["track"], self.state["starts"]
        shape = len(starts) - 1, len(self.tracks)
        known = csr_array((np.ones(len(track), np.float32), track, starts), shape=shape)
        shared = (history.matrix.sign() @ known.T).toarray()
        likeness = shared / np.sqrt(np.maximum(np.diff(starts), 1), dtype=np.float32)
        nearest = best_columns(likeness, min(self.config.recommend.neighbours, shape[0]))[1]
        return np.asarray(np.where(likeness >= nearest[:, -1:], likeness, 0) @ known)
