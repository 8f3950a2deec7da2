"An index: the same whatever the order of the rows, whole or not at all in its folder, and unwilling to mix."

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sonic.config import Config
from sonic.sections import SonicError
from sonic.tails.hubs import spread_of
from sonic.tails.index import Index, add, make_index
from sonic.tails.indexfile import open_index, save_index
from sonic.tails.neighbours import neighbours
from sonic.tails.space import fit_space
from sonic.tails.table import Table, make_table, open_table, save_table

RECIPE = {"embedder": "planted", "settings": {"window": 10}}


def planted(count: int = 400, *, seed: int = 0, first: int = 0, size: int = 24, **recipe: object) -> Table:
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 8, count)
    made = np.random.default_rng(99).normal(0, 1, (8, size))[kind] + rng.normal(0, 1, (count, size)) + 2
    labels = pd.DataFrame({"title": [f"Song {n + first}" for n in range(count)], "genre": [f"kind {k}" for k in kind]})
    return make_table(made, [f"id {n + first:05}" for n in range(count)], labels=labels, recipe=RECIPE | recipe)


def same(one: Index, other: Index) -> None:
    "Nothing differs, to the last bit."
    np.testing.assert_array_equal(one.vectors, other.vectors)
    np.testing.assert_array_equal(one.crowd, other.crowd)
    for name in ("middle", "width"):
        np.testing.assert_array_equal(getattr(one.spread, name), getattr(other.spread, name))
    assert list(one.tracks.index) == list(other.tracks.index) and one.recipe == other.recipe


def test_the_order_of_the_rows_does_not_matter():
    table = planted()
    order = np.random.default_rng(1).permutation(400)
    same(make_index(table), make_index(table.take([table.ids[row] for row in order])))


def test_a_table_of_parts_is_compared_part_by_part():
    "The cosine of the whole is the weighted mean of the cosines of the parts."
    parts, weights = [["left", 20], ["right", 4]], {"left": 1.0, "right": 3.0}
    table = planted(parts=parts, weights=weights)
    units = make_index(table).vectors
    left, right = (fit_space(columns).apply(columns) for columns in np.split(table.vectors, [20], axis=1))
    np.testing.assert_allclose(units @ units.T, (left @ left.T + 3 * (right @ right.T)) / 4, atol=1e-5)


@pytest.mark.parametrize("graph", [False, True])
def test_an_opened_index_answers_as_the_one_in_memory(tmp_path: Path, graph: bool):
    table = planted()
    index = make_index(table, graph=graph, **{"neighbours.whiten": 10})
    save_index(index, tmp_path / "deep" / "index")
    opened = open_index(tmp_path / "deep" / "index", table=table)
    same(index, opened)
    assert opened.settings == index.settings and (opened.graph is None) != graph
    for seeds, how in (
        ("id 00003", {}),
        (["Song 5", "id 00009"], {"negatives": "id 00001", "where": {"genre": "kind 2"}}),
    ):
        pd.testing.assert_frame_equal(neighbours(index, seeds, **how), neighbours(opened, seeds, **how))


def test_the_same_index_is_the_same_bytes(tmp_path: Path):
    table = planted()
    for name in ("one", "two"):
        save_index(make_index(table, graph=True), tmp_path / name)
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize("graph", [False, True])
def test_adding_is_as_if_they_had_been_there(tmp_path: Path, graph: bool):
    "In the space and before the crowd of the first ones."
    first, more = planted(300), planted(100, seed=5, first=300)
    index = make_index(first, graph=graph)
    save_index(index, tmp_path)
    for start in (index, open_index(tmp_path)):
        grown = add(add(start, more.take(more.ids[:60])), more.take(more.ids[60:]))
        units = index.space.apply(np.concatenate([first.vectors, more.vectors]))
        np.testing.assert_allclose(grown.vectors, units, atol=1e-6)
        expected = spread_of(units[300:], units[:300])
        np.testing.assert_allclose(grown.spread.width[300:], expected.width, atol=1e-5)
        np.testing.assert_array_equal(grown.spread.width[:300], index.spread.width)
        assert list(grown.tracks["title"]) == [f"Song {n}" for n in range(400)]
        found = neighbours(grown, "id 00301", k=200)
        assert {key >= "id 00300" for key in found["track_id"]} == {True, False}
        assert len(index) == 300 and (index.graph is None or len(index.graph) == 300)  # the first one is as it was
        save_index(grown, tmp_path / "grown")
        same(grown, open_index(tmp_path / "grown"))


def test_recipes_do_not_mix(tmp_path: Path):
    index = make_index(planted())
    save_index(index, tmp_path)
    other = planted(10, first=900, settings={"window": 5})
    for refused in (lambda: add(index, other), lambda: open_index(tmp_path, table=other)):
        with pytest.raises(SonicError, match=r"settings\.window is 10 here, 5 there"):
            refused()
    with pytest.raises(SonicError, match="id 00007 .and 2 more. is in the index already"):
        add(index, planted(3, first=7))


def test_a_table_from_its_file_makes_the_same_index(tmp_path: Path):
    save_table(planted(), tmp_path / "table.parquet")
    same(make_index(planted()), make_index(open_table(tmp_path / "table.parquet")))


class Stop(Exception):
    pass


@pytest.mark.parametrize("step", range(6))
def test_a_save_that_is_cut_off_leaves_the_old_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int):
    "The process dies before any of the files gets its name."
    old, new = make_index(planted()), make_index(planted(seed=3), graph=True)
    save_index(old, tmp_path)
    count, replace = 0, os.replace

    def dying(source, target):
        nonlocal count
        if count == step:
            raise Stop
        count += 1
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dying)
        with pytest.raises(Stop):
            save_index(new, tmp_path)
    same(old, open_index(tmp_path))
    save_index(new, tmp_path)
    same(new, open_index(tmp_path))
    assert len(list(tmp_path.iterdir())) == 6  # nothing of the old one, or of the attempt, is left


def test_an_index_can_be_replaced_while_it_is_read(tmp_path: Path):
    "Whoever has it open goes on with what was there."
    index = make_index(planted())
    save_index(index, tmp_path)
    opened, wrong = open_index(tmp_path), []
    expected = neighbours(index, "id 00003")

    def ask():
        for _ in range(20):
            if not neighbours(opened, "id 00003").equals(expected):
                wrong.append(1)

    asking = threading.Thread(target=ask)
    asking.start()
    for seed in range(5):
        save_index(make_index(planted(seed=seed)), tmp_path)
    asking.join()
    assert not wrong


@pytest.mark.parametrize("name", ["vectors", "shares", "space", "tracks", "graph", "index"])
@pytest.mark.parametrize("damage", ["gone", "short", "flipped"])
def test_a_damaged_folder_is_refused(tmp_path: Path, name: str, damage: str):
    save_index(make_index(planted(), graph=True), tmp_path)
    (path,) = tmp_path.glob(f"{name}*")
    data = path.read_bytes()
    middle = len(data) // 2
    changed = {"short": data[:middle], "flipped": data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]}
    path.unlink() if damage == "gone" else path.write_bytes(changed[damage])
    if (name, damage) == ("vectors", "flipped"):
        return  # mapped, not read: a flipped bit among many numbers is the file system's to notice
    with pytest.raises(SonicError):
        open_index(tmp_path)


def test_no_file_outside_of_the_folder_is_opened(tmp_path: Path):
    save_index(make_index(planted()), tmp_path / "index")
    said = json.loads((tmp_path / "index" / "index.json").read_text())
    said["files"]["vectors.npy"] = "../secret.npy"
    np.save(tmp_path / "secret.npy", np.zeros((400, 24), np.float32))
    (tmp_path / "index" / "index.json").write_text(json.dumps(said))
    with pytest.raises(SonicError, match=r"cannot be opened as an index: \.\./secret\.npy"):
        open_index(tmp_path / "index")


def test_a_graph_gives_nearly_the_same_neighbours():
    table = planted(3000)
    exact, quick = make_index(table), make_index(table, graph=True)
    shared = [
        len({*neighbours(exact, key)["track_id"]} & {*neighbours(quick, key)["track_id"]}) / 10
        for key in table.ids[:40]
    ]
    assert np.mean(shared) > 0.95
    rare = table.tracks["genre"].iloc[0]  # too few candidates of it: all tracks are looked at
    only = {"where": {"genre": rare}, "k": 300}
    pd.testing.assert_frame_equal(
        neighbours(exact, "id 00000", **only), neighbours(quick, "id 00000", **only), atol=1e-6
    )


def test_an_index_is_asked_with_the_settings_it_was_made_with():
    index = make_index(planted(), **{"neighbours.centre": "no", "neighbours.per_artist": 3})
    assert len(neighbours(index, "id 00001")) == 10
    assert len(neighbours(index, "id 00001", **{"neighbours.hubs": "none"})) == 10
    with pytest.raises(SonicError, match="made with neighbours.centre=no; for yes, make one"):
        neighbours(index, "id 00001", config=Config())


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(SonicError, match="cannot be written"):
        save_index(make_index(planted(50)), tmp_path / "file" / "index")
