"The browser's half in Node: every module parses, also joined as widgets send it, and the arithmetic is right."

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sonic.explore import inspector, page

ROOT = Path(__file__).resolve().parents[1]
STATIC = ROOT / "sonic" / "explore" / "static"
MODULES = sorted(STATIC.glob("*.js"))
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(not NODE and not os.environ.get("CI"), reason="the tests of JavaScript need node")


def widgets():
    "The scripts and styles of every widget: modules that hold `SCRIPTS` and `STYLES`."
    from sonic.explore import cards, catalogue, map

    return {module.__name__: module for module in (inspector, cards, catalogue, map)}


def node(*words):
    return subprocess.run([NODE, *words], capture_output=True, text=True, timeout=120, cwd=ROOT)


@needs_node
@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_parses(path):
    told = node("--check", str(path))
    assert told.returncode == 0, told.stderr


@needs_node
@pytest.mark.parametrize("name", ["inspector", "cards", "catalogue", "map"])
def test_the_modules_of_a_widget_can_be_joined(name, tmp_path):
    "Names that two modules define clash only when they are joined."
    widget = widgets()[f"sonic.explore.{name}"]
    joined = tmp_path / "joined.mjs"
    joined.write_text(page.script(*widget.SCRIPTS), encoding="utf-8")
    told = node(
        "--input-type=module", "--eval", f"console.log(typeof (await import('{joined.as_uri()}')).default.render)"
    )
    assert told.stdout.strip() == "function", told.stderr


@needs_node
def test_the_arithmetic():
    told = node("--test", *map(str, sorted((ROOT / "tests" / "js").glob("*.test.js"))))
    assert told.returncode == 0, told.stdout[-4000:]
    assert int(re.search(r"^# pass (\d+)$", told.stdout, re.MULTILINE)[1]) >= 20


@pytest.mark.parametrize("path", [*MODULES, *sorted(STATIC.glob("*.css"))], ids=lambda path: path.name)
def test_a_static_file_is_plain_and_its_own(path):
    "No address of a network, nothing built, no markup made from text."
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"https?:|//cdn|@import|\brequire\(|sourceMappingURL", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)
    imported = re.findall(r'from "([^"]+)"', text)
    assert all((STATIC / name).is_file() for name in imported)


@pytest.mark.parametrize("path", [*MODULES, *sorted(STATIC.glob("*.css"))], ids=lambda path: path.name)
def test_a_static_file_can_be_read(path):
    "One idea a module, which fits on a few screens."
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 300
    assert max(map(len, lines)) <= 120, [n for n, line in enumerate(lines, 1) if len(line) > 120]


def test_the_explorer_is_small():
    assert len(page.script(*inspector.SCRIPTS).encode()) <= 72_000
    assert len(page.style(*inspector.STYLES).encode()) <= 8_000
