"Studies are kept where several processes can open them at once, whatever was killed before."

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from pathlib import Path
from threading import BrokenBarrierError
from typing import Any

import optuna
import pytest

from sonic.sections import SonicError
from sonic.shadow.storage import open_storage, without_password

SPAWN = multiprocessing.get_context("spawn")
PLACES = ("study.db", "study.journal")


def add(where: str, count: int) -> optuna.Study:
    "Some trials in a study that may be there or not."
    study = optuna.create_study(study_name="mine", storage=open_storage(where), load_if_exists=True)
    for _ in range(count):
        study.tell(study.ask(), 1.0)
    return study


def open_all(folder: str, count: int, barrier: Any, results: Any) -> None:
    "Open one new storage after the other, each at the same moment as the other process."
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        for number in range(count):
            for name in PLACES:
                barrier.wait(30)
                add(f"{folder}/{number}-{name}", 1)
        results.put("fine")
    except BrokenBarrierError:
        results.put("the other one broke")
    except BaseException as error:
        barrier.abort()
        results.put(repr(error))


def test_two_processes_may_open_a_new_storage_at_once(tmp_path: Path) -> None:
    "Optuna alone crashes within ten times: both write the version of the tables."
    barrier, results = SPAWN.Barrier(2), SPAWN.Queue()
    both = [SPAWN.Process(target=open_all, args=(str(tmp_path), 10, barrier, results)) for _ in range(2)]
    for process in both:
        process.start()
    assert [results.get(timeout=50) for _ in both] == ["fine", "fine"]
    for process in both:
        process.join()
    for path in tmp_path.glob("*-*"):
        assert [trial.number for trial in add(str(path), 0).trials] == [0, 1]
    assert {path.name.partition("-")[2] for path in tmp_path.iterdir()} == set(PLACES)  # and no lock is left behind


def test_a_journal_torn_anywhere_in_its_last_line_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(str(tmp_path / "whole.journal"), 2)
    lines = (tmp_path / "whole.journal").read_bytes().splitlines(keepends=True)
    for cut in (1, 2, 11, len(lines[-1]) // 2, len(lines[-1]) - 2, len(lines[-1]) - 1):
        torn = tmp_path / "torn.journal"
        torn.write_bytes(b"".join([*lines[:-1], lines[-1][:cut]]))
        states = [trial.state.name for trial in add(str(torn), 1).trials]
        assert states == ["COMPLETE", "RUNNING", "COMPLETE"]  # the last line said that the second was complete
        assert f"torn.journal: the last line was torn; its {cut} bytes are taken off" in capsys.readouterr().err
        assert all(json.loads(line) for line in torn.read_bytes().splitlines())


def test_a_line_torn_while_others_are_at_work_costs_only_itself(tmp_path: Path) -> None:
    "A storage that is open already mends, too."
    where = tmp_path / "study.journal"
    study = add(str(where), 1)
    with where.open("ab") as file:  # a process that was killed in the middle of its line
        file.write(b'{"op_code":4,"wor')
    study.tell(study.ask(), 2.0)
    assert [trial.value for trial in study.trials] == [1.0, 2.0]
    assert [trial.value for trial in add(str(where), 0).trials] == [1.0, 2.0]


@pytest.mark.filterwarnings("ignore:This process")
def test_a_journal_can_be_written_at_once_after_a_kill_with_the_lock_held(tmp_path: Path) -> None:
    "A lock of Optuna's own would be waited for, for thirty seconds."
    where = str(tmp_path / "study.journal")
    add(where, 1)
    pid = os.fork()
    if pid == 0:
        open_storage(where)._backend._lock.acquire()  # type: ignore[attr-defined]
        os._exit(0)
    os.waitpid(pid, 0)
    assert len(add(where, 1).trials) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["study.journal"]


def test_the_same_place_by_path_and_by_address(tmp_path: Path) -> None:
    for scheme, name in zip(("sqlite", "journal"), PLACES, strict=True):
        add(str(tmp_path / "deep" / name), 1)
        assert len(add(f"{scheme}:///{tmp_path}/deep/{name}", 0).trials) == 1


def test_braces_in_a_path_are_no_template(tmp_path: Path) -> None:
    add(str(tmp_path / "{SCHEMA_VERSION} 100 %.db"), 1)
    assert [path.name for path in tmp_path.iterdir()] == ["{SCHEMA_VERSION} 100 %.db"]


def test_what_cannot_be_opened_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("no database " * 100)
    (tmp_path / "notes.log").write_text("Monday: rain")
    (tmp_path / "file").write_text("")
    refused = {
        "notes.db": "cannot be opened: the file is no database of SQLite",
        "notes.log": "is no journal of a study",
        "file/study.db": "cannot be opened: ",
        "notes.txt": "is no place for a study: give a file that ends in .db or .journal, or postgresql://",
    }
    for name, words in refused.items():
        with pytest.raises(SonicError, match=words) as error:
            open_storage(str(tmp_path / name))
        assert "\n" not in str(error.value)
    assert (tmp_path / "notes.log").read_text() == "Monday: rain"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    for name in PLACES:
        with pytest.raises(SonicError, match="cannot be opened: "):
            open_storage(str(tmp_path / name))


def test_no_password_is_told() -> None:
    for url in (
        "postgresql://ann:s3cret@127.0.0.1:1/music",
        "postgres://ann:s3c@ret@127.0.0.1:1/x",
        "mysql://a:s3cret@h/x",
    ):
        with pytest.raises(SonicError) as error:
            open_storage(url)
        assert "s3c" not in str(error.value) and "s3c" not in without_password(url)
        assert "***@" in str(error.value)


def test_a_missing_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(SonicError, match=r'needs a driver: pip install "sonic-recsys\[postgres\]"'):
        open_storage("postgresql://ann@127.0.0.1:1/music")
