"What the tests share."

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import lab
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
OFFLINE = Path(__file__).parent / "offline"


def pytest_configure() -> None:
    "From here on nothing reaches beyond this machine, in this process or in those that it starts."
    if "SONIC_TEST_NETWORK" not in os.environ:
        os.environ["SONIC_TEST_NETWORK"] = "refused"
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH")]))
    if not hasattr(sys.modules.get("sitecustomize"), "refuse"):  # workers of pytest-xdist have it from their start
        sys.path.insert(0, str(OFFLINE))
        sys.modules.pop("sitecustomize", None)
        import_module("sitecustomize")
        sys.path.remove(str(OFFLINE))


@pytest.fixture(scope="session")
def tries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    "A file with a line for each try to reach beyond this machine."
    file = tmp_path_factory.mktemp("network") / "tries"
    file.touch()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SONIC_TEST_TRIES", str(file))
        yield file


@pytest.fixture(autouse=True)
def nobody_calls_out(tries: Path) -> Iterator[None]:
    "A test fails if it, or a process that it started, tried to reach beyond this machine, even if nothing came of it."
    before = tries.read_text()
    yield
    assert tries.read_text() == before, "the network was touched"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "A folder with a source distribution and a wheel that was built from it, of a copy of what they are made of."
    copy = tmp_path_factory.mktemp("package")
    for name in "settings.ini setup.py pyproject.toml MANIFEST.in README.md CHANGELOG.md CITATION.cff LICENSE".split():
        shutil.copy(ROOT / name, copy)
    shutil.copytree(ROOT / "sonic", copy / "sonic", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return copy / "dist"


@pytest.fixture(scope="session")
def docs() -> Iterator[ModuleType]:
    "The program that makes the documentation, as a module."
    spec = spec_from_file_location("docs", ROOT / "tools" / "docs.py")
    assert spec and spec.loader
    module = sys.modules["docs"] = module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["docs"]


@pytest.fixture(scope="session")
def recordings() -> list[Path]:
    "Real recordings, where the checkout has them beside it."
    files = sorted((SHARED / "audio").glob("*.*g")) + sorted((SHARED / "audio").glob("*.flac"))
    if not files:
        pytest.skip(f"no recordings in {SHARED / 'audio'}")
    return files


@pytest.fixture(scope="module")
def musicnn_weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    "The weights of MusiCNN: the user's, or fetched for these tests, which is all that any test takes from outside."
    from sonic.sections import SonicError
    from sonic.tails import weights

    if all(state.state == "there" for state in weights.states("musicnn")):
        yield
        return
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SONIC_CACHE", str(tmp_path_factory.mktemp("cache")))
        try:
            with pytest.MonkeyPatch.context() as opened:
                opened.setenv("SONIC_TEST_NETWORK", "allowed")
                weights.fetch("musicnn")
        except SonicError as error:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no weights of MusiCNN: {error}")
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    "Browser tests come last: they are the dearest, and playwright's event loop stays with the thread it began in."
    items.sort(key=lambda item: "browser" in getattr(item, "fixturenames", ()))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    "A machine without a network, which notices every try."

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    "One Chromium for all tests; where there is none, tests skip, or fail on a machine that is there to test."
    if reason := lab.missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with lab.browser() as started:
        yield started


@pytest.fixture(scope="session")
def jupyterlab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[lab.Server]:
    "One JupyterLab for all tests, over an empty folder."
    with lab.server(tmp_path_factory.mktemp("notebooks")) as started:
        yield started


@pytest.fixture
def tab(
    request: pytest.FixtureRequest, browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[lab.Tab]:
    "A fresh page; if the test fails, a screenshot is named after it."
    monkeypatch.setenv("SONIC_SHOTS", os.environ.get("SONIC_SHOTS") or str(tmp_path))
    failed = request.session.testsfailed
    with closing(lab.Tab(browser)) as fresh:
        yield fresh
        if request.session.testsfailed > failed:
            print("screenshot:", fresh.shot(request.node.name))


@pytest.fixture
def notebook(request: pytest.FixtureRequest, tab: lab.Tab, jupyterlab: lab.Server) -> Callable[..., lab.Tab]:
    "Called with the sources of its cells: a fresh notebook, open in a fresh page, that has not been run."

    def write_and_open(*cells: str) -> lab.Tab:
        path = lab.write_notebook(jupyterlab.folder / f"{request.node.name}.ipynb", cells)
        tab.open(jupyterlab, path.name)
        return tab

    return write_and_open
