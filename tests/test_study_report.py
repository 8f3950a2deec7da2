"What a study reports: importances, the front, pictures, the page, and a walk through its trials."

from __future__ import annotations

import re

import numpy as np
import optuna
import pandas as pd
import pytest
import soundfile

from sonic.config import Config, SonicError
from sonic.configfile import config_text, read_config
from sonic.cream.audio import Clip
from sonic.shadow.drawn import drawn_figure, views_of
from sonic.shadow.figures import front_figure, history_figure, slice_figure
from sonic.shadow.importances import importance_figure, importances
from sonic.shadow.report import write_report
from sonic.shadow.sealed import Opening
from sonic.shadow.space import make_space
from sonic.shadow.told import compared, params_of, seal_line, settings_table, study_text
from sonic.shadow.trials import extremes, front, setting_text, value_text, wall_seconds, was_asked
from sonic.shadow.walk import walk

HOSTILE = "<img src=x onerror=alert(1)>"
BOTH = ["similarity", "seconds"]
SPACE = make_space(
    {
        "embed.with": ["vision", "mfcc"],
        "vision.view": ["mel", "chroma", "tempogram"],
        "mel.n_mels": (16, 256),
        "mfcc.n_mfcc": (4, 104),
        "picture.top_db": (20, 100),
        "neighbours.whiten": ["none", 16, 64],
    },
    objectives=BOTH,
)


def made_up(turns: int = 60, *, seed: int = 0, matters: str = "mel.n_mels") -> pd.DataFrame:
    "A study in which one setting, numbered from 0 to 1 in its range, decides."
    rng, rows = np.random.default_rng(seed), []
    for turn in range(turns):
        who, shares = ("vision", "mfcc")[rng.integers(2)], rng.uniform(size=4)
        row = {"embed.with": who, "mel.n_mels": int(16 * 16 ** shares[0]), "picture.top_db": 20 + 80 * shares[1]}
        row |= {"neighbours.whiten": (None, 16, 64)[rng.integers(3)]}
        row |= {"vision.view": ("mel", "chroma", "tempogram")[int(3 * shares[2])]} if who == "vision" else {}
        row |= {"mfcc.n_mfcc": int(4 * 26 ** shares[3])} if who == "mfcc" else {}
        known = {"mel.n_mels": shares[0], "picture.top_db": shares[1], "embed.with": float(who == "vision")}
        known |= {"mfcc.n_mfcc": shares[3] if who == "mfcc" else 0.0}
        state = str(rng.choice(["done", "pruned", "refused", "failed"], p=[0.85, 0.05, 0.05, 0.05]))
        values = [0.3 + 0.4 * known[matters] + rng.normal(0, 0.02), float(rng.lognormal(-2, 1))]
        told = dict(zip(BOTH, values if state == "done" else [np.nan, np.nan], strict=True))
        told |= {"state": state, "reason": "" if state == "done" else f"{state} {HOSTILE}", "feasible": state == "done"}
        rows.append({"turn": turn, **told, "wall": 10.0, "hits": 3, "misses": 1, "facts": {}, **row})
    kinds = dict.fromkeys([*BOTH, "wall"], float) | {"feasible": bool, "hits": int, "misses": int}
    return pd.DataFrame(rows, dtype=object).set_index("turn").astype(kinds)  # a None stays one, as in `read_trials`


@pytest.fixture(scope="module")
def trials() -> pd.DataFrame:
    return made_up()


@pytest.fixture(scope="module")
def found(trials) -> pd.DataFrame:
    return importances(trials, "similarity", space=SPACE)


@pytest.fixture(scope="module")
def clip() -> Clip:
    time = np.arange(22050 * 2) / 22050
    return Clip((0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32), 22050)


def comparison(low: float, high: float, *, objective: str = "similarity") -> pd.DataFrame:
    row = (objective, 0.5, 0.4, (low + high) / 2, low, high, 0.04, 31, "artists")
    return pd.DataFrame([row], columns="objective one other difference low high p units what".split())


# ---- what mattered -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("matters", ["mel.n_mels", "picture.top_db", "embed.with", "mfcc.n_mfcc"])
def test_the_planted_setting_is_found(matters):
    found = importances(made_up(80, seed=1, matters=matters), "similarity", space=SPACE).set_index("setting")
    assert found.importance[matters] > found.chance[matters]
    if matters != "mfcc.n_mfcc":  # among all trials it also matters who listens, if only one of them asks it
        assert found.index[0] == matters


def test_what_costs_less_is_better():
    trials = made_up(80, seed=1).assign(seconds=lambda table: -table["similarity"])
    up, down = (importances(trials, name, space=SPACE) for name in BOTH)
    pd.testing.assert_frame_equal(up, down)


def test_a_conditional_setting_is_judged_where_it_was_asked(trials, found):
    found = found.set_index("setting")
    done = trials[trials.state == "done"]
    assert found.trials["vision.view"] == (done["embed.with"] == "vision").sum()
    assert found.trials["neighbours.whiten"] == len(done)  # none is an answer
    assert ((found.importance >= 0) & (found.importance <= 1)).all()


def test_nothing_is_said_of_few_trials(trials):
    few = trials[trials.state == "done"][:9]
    found = importances(few, "similarity", space=SPACE)
    assert found.importance.isna().all() and found.chance.isna().all()
    assert "nothing can be said" in importance_figure(found, "similarity").axes[0].texts[0].get_text()
    assert "Too few trials" in study_text(few, ["similarity"], space=SPACE, importances=found)


def test_noise_rarely_stands_out():
    told = 0
    for seed in range(4):
        trials = made_up(60, seed=seed)
        trials["similarity"] = np.where(trials.state == "done", np.random.default_rng(seed).normal(size=60), np.nan)
        found = importances(trials, "similarity", space=SPACE)
        told += int((found.importance > found.chance).sum())
    assert told <= 4  # of 24; 1.2 are expected, and 5 or more come once in 120


# ---- the best, and the front ---------------------------------------------------------------------------------------


def brute(trials: pd.DataFrame, objectives: list[str]) -> set[int]:
    signs = [-1 if name == "similarity" else 1 for name in objectives]
    rows = {
        t: [s * trials[n][t] for s, n in zip(signs, objectives, strict=True)] for t in trials.index[trials.feasible]
    }
    beats = lambda a, b: all(x <= y for x, y in zip(a, b, strict=True)) and a != b  # noqa: E731
    return {turn for turn, mine in rows.items() if not any(beats(other, mine) for other in rows.values())}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("objectives", [["similarity"], BOTH, [*BOTH, "bytes"]])
def test_the_front_is_that_of_brute_force(objectives, seed):
    rng = np.random.default_rng(seed)
    trials = made_up(seed=seed).assign(bytes=rng.integers(1, 5, 60) * 100.0)
    trials["similarity"] = trials["similarity"].round(1)  # many are equal
    trials["feasible"] &= rng.random(60) < 0.8
    found = front(trials, objectives)
    assert set(found) == brute(trials, objectives) and len(found) == len(set(found))
    assert list(trials.similarity[found]) == sorted(trials.similarity[found], reverse=True)


def test_the_front_is_optunas(trials):
    study = optuna.create_study(directions=["maximize", "minimize"])
    for turn, row in trials[trials.feasible].iterrows():
        study.add_trial(optuna.trial.create_trial(values=[row.similarity, row.seconds], user_attrs={"turn": turn}))
    assert set(front(trials, BOTH)) == {trial.user_attrs["turn"] for trial in study.best_trials}


def test_the_best_keeps_the_limits(trials):
    first = extremes(trials, "similarity")["best"]
    assert trials.similarity[first] == trials.similarity.max()
    without = trials.assign(feasible=trials.feasible & (trials.index != first))
    assert trials.similarity[extremes(without, "similarity")["best"]] == trials.similarity.drop(first).max()
    assert extremes(trials.assign(feasible=False), "similarity")["best"] == first  # none keeps them
    assert extremes(trials, "seconds")["best"] == trials.seconds.idxmin()
    assert extremes(trials, "seconds")["worst"] == trials.seconds.idxmax()


def test_the_middle_is_a_trial(trials):
    values = trials.similarity.dropna()
    turn = extremes(trials, "similarity")["median"]
    assert abs((values > values[turn]).sum() - (values < values[turn]).sum()) <= 1


def test_units_stand_beside_numbers():
    assert value_text("seconds", 0.12345) == "0.1235 s a track"
    assert [setting_text("audio.sample_rate", 22050), setting_text("stft.hop_length", 512.0)] == [
        "22050 Hz",
        "512 samples",
    ]
    assert list(was_asked(pd.Series([None, np.nan, 0.0, "x"], dtype=object))) == [True, False, True, True]
    assert wall_seconds(pd.DataFrame({"wall": [1.5, np.nan]})).tolist() == [1.5, 0.0]


# ---- pictures ------------------------------------------------------------------------------------------------------


def test_the_line_is_the_best_so_far(trials):
    for against, last in (("turn", 59), ("seconds", 10.0)):  # 60 turns of 10 s are 10 min
        lines = {line.get_label(): line for line in history_figure(trials, "similarity", against=against).axes[0].lines}
        best = lines["best so far"]
        assert np.array_equal(best.get_ydata()[:-1], trials.similarity.dropna().cummax())
        assert best.get_xdata()[-1] == pytest.approx(last)
        for state in ("pruned", "refused", "failed"):
            count = int((trials.state == state).sum())
            assert len(lines[f"{state} ({count})"].get_xdata()) == count


def test_slices_show_every_trial_that_was_asked(trials):
    drawn = slice_figure(trials, "similarity", space=SPACE)
    for ax, dimension in zip(drawn.axes, SPACE.dimensions, strict=True):
        asked = trials[(trials.state == "done") & was_asked(trials[dimension.name])]
        points = max((line for line in ax.lines if line.get_marker() == "o"), key=lambda line: len(line.get_xdata()))
        assert sorted(points.get_ydata()) == sorted(asked.similarity)
        assert f"({len(asked)} trials)" in ax.get_title("left")
        assert ax.get_xscale() == ("log" if dimension.log else "linear")


def test_the_front_is_drawn_as_steps(trials):
    (ax,) = front_figure(trials, BOTH).axes
    (steps,) = [line for line in ax.lines if line.get_drawstyle().startswith("steps")]
    assert list(steps.get_ydata()) == sorted(trials.similarity[front(trials, BOTH)])
    assert list(steps.get_xdata()) == sorted(steps.get_xdata()) and steps.get_drawstyle() == "steps-post"


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        ({"embed.with": "vision", "vision.view": "fft"}, ["fft"]),
        ({"embed.with": "views"}, ["mel", "chroma", "fft", "tempogram"]),
        ({"embed.with": "mfcc"}, ["mel"]),
        ({"embed.with": "vision + musicnn", "vision.view": "tempogram"}, ["mel", "tempogram"]),
        ({"embed.with": "sonic", "network.views": "chroma"}, ["chroma"]),
    ],
)
def test_a_track_is_drawn_in_the_views_that_are_looked_at(settings, seen, clip):
    config = Config().replace(**settings)
    assert views_of(config) == seen
    drawn = drawn_figure(clip, {f"one {HOSTILE} $x$": config})
    assert len([ax for ax in drawn.axes if ax.get_title("left")]) == len(seen)
    words = " ".join(text.get_text() for text in drawn.findobj(lambda it: hasattr(it, "get_text")))
    assert ("heard as sound" in words) == bool({"mfcc", "musicnn"} & set(settings["embed.with"].split(" + ")))


def test_settings_reach_the_picture(clip):
    rows = []
    for bands in (24, 96):
        drawn = drawn_figure(clip, {"x": Config().replace(**{"mel.n_mels": bands, "audio.sample_rate": 8000})})
        rows.append(drawn.axes[0].images[0].get_array().shape[0])
    assert rows == [24, 96]


# ---- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "objective", "said"),
    [
        (0.01, 0.07, "similarity", "better"),
        (-0.01, 0.07, "similarity", "proves no difference"),
        (-0.07, -0.01, "similarity", "worse"),
        (-0.07, -0.01, "seconds", "better"),
        (0.01, 0.07, "seconds", "worse"),
        (0.0, 0.07, "similarity", "proves no difference"),
    ],
)
def test_an_interval_that_holds_zero_proves_no_difference(low, high, objective, said):
    (line,) = compared(comparison(low, high, objective=objective))
    assert line.endswith(f": {said}") and "over 31 artists" in line and "p = 0.04" in line


@pytest.mark.parametrize("missing", [np.nan, None])
def test_without_an_interval_nothing_is_proved(missing):
    (line,) = compared(comparison(0.01, 0.07).astype({"low": object}).assign(low=missing))
    assert line.endswith(": proves nothing") and "better" not in line


def test_every_opening_is_told():
    one = Opening("2026-01-02T03:04:05+00:00", "0" * 12, {}, "report")
    assert "not opened" in seal_line([]) and "once" in seal_line([one])
    assert "3 times" in seal_line([one] * 3) and "too much" in seal_line([one] * 3)


def test_the_text_holds_what_was_found(trials, found):
    said = study_text(trials, BOTH, comparison(-0.1, 0.2), space=SPACE, importances=found)
    counts = trials.state.value_counts()
    for part in (*(f"{count} {state}" for state, count in counts.items()), "75 % of 240 stages", "10 min of work"):
        assert part in said
    assert "proves no difference" in said and "better" not in said
    assert f"in turn {extremes(trials, 'similarity')['best']}" in said
    for turn in front(trials, BOTH):
        assert re.search(rf"^{turn} .*s a track$", said, re.M)


def test_only_what_differs_is_told():
    assert settings_table(Config(), Config()).empty
    table = settings_table(Config().replace(**{"neighbours.whiten": 64}), Config())
    assert table.iloc[0].tolist()[:3] == ["neighbours.whiten", "none", "64 directions"]


def test_the_best_settings_come_back_from_their_file(trials, tmp_path):
    for turn in extremes(trials, "similarity").values():
        config = SPACE.config(params_of(trials, turn, space=SPACE))
        (tmp_path / "best.toml").write_text(config_text(config, recipe={"study": f'"{HOSTILE}" \n', "turn": turn}))
        assert read_config(tmp_path / "best.toml") == config != SPACE.base


# ---- the page ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(trials, found, clip, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    facts = {"importances": found, "comparison": comparison(-0.1, 0.2), "notes": [f"precision@10 {HOSTILE}"]}
    words = {"title": f"A study {HOSTILE}", "lead": f"of {HOSTILE}"}
    write_report(path, trials=trials, space=SPACE, objectives=BOTH, clip=clip, **words, **facts)
    return path


def test_the_page_holds_every_fact(page, trials):
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == 6
    assert "proves no difference" in text and "not opened" in text and "75 % of 240 stages" in text
    rows = re.findall(r"<tr>(.*?)</tr>", text.partition('id="trials"')[2])
    assert len(rows) == len(trials) + 1
    for turn, row in zip(trials.index, rows[1:], strict=True):
        assert f'<td data-value="{turn}">' in row and trials.state[turn] in row
        if trials.state[turn] == "done":
            assert f'data-value="{trials.similarity[turn]}"' in row
    for name in (each.name for each in SPACE.dimensions):
        assert name in rows[0]


def test_the_page_escapes_and_loads_nothing(page):
    text = page.read_text(encoding="utf-8")
    assert "<img src=x" not in text and text.count("&lt;img src=x onerror=alert(1)&gt;") >= 4
    assert not re.search(r"https?://|src=\"(?!data:)|<link|@import", text)
    assert "default-src 'none'" in text


def test_a_study_without_a_result_still_has_a_page(trials, clip, tmp_path):
    failed = trials[trials.state != "done"]
    words = {"title": "x", "lead": "y"}
    write_report(tmp_path / "report.html", trials=failed, space=SPACE, objectives=BOTH, clip=clip, **words)
    assert "No trial was done" in (tmp_path / "report.html").read_text()


def test_the_page_sorts_in_a_browser(browser, page, trials):
    tab, trouble = browser.new_page(viewport={"width": 390, "height": 800}), []
    tab.on("console", lambda it: trouble.append(it.text))
    tab.on("pageerror", lambda it: trouble.append(str(it)))
    tab.goto(page.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") == 390  # what is wide scrolls by itself
    values = "[...document.querySelectorAll('#trials tbody tr')].map(row => row.cells[2].dataset.value)"
    button = tab.locator("#trials th button", has_text="similarity")
    for order in (1, -1):
        button.click()
        shown = [float(value) for value in tab.evaluate(values) if value]
        assert shown == sorted(trials.similarity.dropna(), key=lambda value: order * value)
        assert tab.evaluate(values)[len(shown) :] == [""] * (len(trials) - len(shown))
    assert tab.evaluate("document.querySelectorAll('[onerror]').length") == 0 and not trouble
    tab.close()


# ---- the walk ------------------------------------------------------------------------------------------------------


@pytest.fixture
def tracks(tmp_path, clip):
    soundfile.write(tmp_path / "one.wav", clip.samples, clip.sample_rate)
    return pd.DataFrame({"path": [str(tmp_path / "one.wav")] * 2, "title": [HOSTILE, None]})


def test_the_walk_goes_through_every_trial():
    trials = made_up(9, seed=4)
    walked = walk(trials, SPACE)
    order, previous, following, best = walked.children[0].children
    assert walked.turn == extremes(trials, "similarity")["best"]
    walked.turn = 0
    previous.click()
    assert walked.turn == 0
    pictures = set()
    for turn in range(1, 6):
        following.click()
        assert walked.turn == turn and f"Turn {turn}<" in walked._table.value
        pictures.add(walked._history.value)
    assert len(pictures) == 5
    order.value = "by value"
    assert walked.turn == 5
    best.click()
    previous.click()
    assert walked.turn == extremes(trials, "similarity")["best"]
    seen = []
    for _ in trials.index:
        seen.append(walked.turn)
        following.click()
    assert sorted(seen) == list(trials.index) and list(trials.similarity[seen].dropna()) == sorted(
        trials.similarity.dropna(), reverse=True
    )


def test_the_walk_shows_trials_that_went_wrong(trials, tracks):
    odd = trials.copy()
    wrong = {state: int(trials.index[trials.state == state][0]) for state in ("refused", "failed", "pruned")}
    odd.loc[wrong["refused"], "mel.n_mels"] = 5000
    walked = walk(odd, SPACE, tracks=tracks)
    for state, turn in wrong.items():
        walked.turn = turn
        assert (
            state in walked._table.value
            and "&lt;img src=x" in walked._table.value
            and "<img" not in walked._table.value
        )
        assert bool(walked._picture.value) == (state != "refused")
    walked.turn = wrong["refused"]
    assert "mel.n_mels=5000 must be" in walked._note.value


def test_the_walk_draws_the_track_that_was_chosen(trials, tracks):
    gone = tracks.assign(path=[tracks.path[0], tracks.path[0] + ".gone"])
    walked = walk(trials, SPACE, tracks=gone)
    assert bytes(walked._picture.value[:4]) == b"\x89PNG"
    walked._track.index = 2
    assert not walked._picture.value and "one.wav.gone" in walked._note.value
    walked._track.index = 0
    assert not walked._picture.value and not walked._note.value


def test_the_walk_marks_what_differs(trials):
    odd = trials.copy()
    odd.loc[0, "picture.top_db"] = 80.0
    walked = walk(odd, SPACE)
    walked.turn = 0
    assert (
        "font-weight: 600" not in re.findall(r"<tr[^>]*>(?:(?!</tr>).)*picture.top_db.*?</tr>", walked._table.value)[0]
    )
    assert "font-weight: 600" in re.findall(r"<tr[^>]*>(?:(?!</tr>).)*mel.n_mels.*?</tr>", walked._table.value)[0]


def test_there_must_be_something_to_walk_through(trials):
    with pytest.raises(SonicError, match="nothing to walk through"):
        walk(trials[:0], SPACE)
    with pytest.raises(SonicError, match="turn=99 is not in this study"):
        walk(trials, SPACE).turn = 99
    assert len(walk(trials[trials.state != "done"], SPACE).children) == 4
