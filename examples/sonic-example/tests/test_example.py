"All three, tried by SONIC itself: `pip install -e . pytest`, then `pytest`."

import numpy as np

from sonic.cream.audio import Clip
from sonic.cream.views import views
from sonic.rouge.registry import check_recommender, recommender_class
from sonic.tails.registry import check_embedder, make_embedder


def test_brightness() -> None:
    check_embedder(make_embedder("brightness"))


def test_userknn() -> None:
    check_recommender(recommender_class("userknn"))


def test_onsets_are_where_a_sound_begins() -> None:
    sound = np.zeros(22050, np.float32)
    sound[11025:] = np.sin(2 * np.pi * 440 / 22050 * np.arange(11025))
    onsets = views(Clip(sound, 22050), ["onsets"])["onsets"]
    assert 0.4 < onsets.column_axis.values[onsets.values.sum(axis=0).argmax()] < 0.6
