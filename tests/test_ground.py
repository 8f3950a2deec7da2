"The project as a whole: what is packaged, who imports whom, what a notebook may hold, what the tools notice."

import ast
import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(path for path in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)

# room -> rooms that it may import; the modules at the top, config and files, are the ground
ROOMS = {
    "ground": set(),
    "cream": {"ground"},
    "tails": {"ground", "cream"},
    "rouge": {"ground", "cream", "tails"},
    "shadow": {"ground", "cream", "tails", "rouge"},
    "explore": {"ground", "cream", "tails", "rouge"},
    "cli": {"ground", "cream", "tails", "rouge", "shadow", "explore"},
}


# of a notebook: what a reader gets through in ten minutes, and a page loads at once
CELLS, BYTES, LINES = 60, 300_000, 170
MODULE = 300  # lines of an exported module, with all that is around the code


def named(path):
    return path.relative_to(ROOT).as_posix()


def cells_of(path, kind="code"):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in cells if cell["cell_type"] == kind]


def code_of(source):
    "A cell's syntax tree; lines for IPython alone are left out."
    return ast.parse("\n".join(line for line in source.splitlines() if not line.startswith(("%", "!"))))


def directives(source):
    return re.findall(r"^#\|\s*(\S+)", source, re.MULTILINE)


def exported(path):
    return [
        cell["source"] for cell in cells_of(path) if {"export", "exports", "exporti"} & {*directives(cell["source"])}
    ]


def module_of(path):
    for cell in cells_of(path):
        if found := re.search(r"^#\|\s*default_exp\s+(\S+)", cell["source"], re.MULTILINE):
            return found[1]
    return None


def run(*command, **kwargs):
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **kwargs)


# ---- the package -----------------------------------------------------------------------------------------------------


def settings():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "settings.ini", encoding="utf-8")
    return {key: value.split() if key.endswith("requirements") else value for key, value in parser["DEFAULT"].items()}


def test_the_wheel_says_what_settings_ini_says(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    wants = [Requirement(line) for line in metadata.get_all("Requires-Dist")]
    keys = [key for key in settings() if key.endswith("requirements")]
    assert {"requirements", "av_requirements", "hub_requirements", "dev_requirements"} <= set(keys)
    for key in keys:
        extra = key.removesuffix("requirements").removesuffix("_") or None
        there = {
            f"{want.name}{want.specifier}"
            for want in wants
            if (want.marker is None if extra is None else want.marker and want.marker.evaluate({"extra": extra}))
        }
        assert there == {f"{want.name}{want.specifier}" for want in map(Requirement, settings()[key])}, key
    assert metadata["Summary"] == settings()["description"]
    assert metadata["Name"] == "sonic-recsys"
    assert metadata["Requires-Python"] == ">=3.12"


def test_the_wheel_holds_the_library_and_nothing_else(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    assert {"sonic/__init__.py", "sonic/__init__.pyi", "sonic/py.typed", "sonic/cream/views.py"} <= set(names)
    static = {path.relative_to(ROOT).as_posix() for path in (ROOT / "sonic" / "explore" / "static").iterdir()}
    assert len(static) > 10 and static | {"sonic/explore/__init__.pyi"} <= set(names)
    assert {name.split("/")[0] for name in names} == {"sonic"}


def test_the_source_distribution_can_be_installed(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"setup.py", "settings.ini", "pyproject.toml"} <= names  # setup.py cannot run without the other two


def test_commands():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    commands = {point.name: point for point in entry_points(group="console_scripts")}
    for name, value in scripts.items():
        assert commands[name].value == value
        assert callable(commands[name].load())
    # the name that nbdev 2 had
    assert commands["nbdev_test"].load() is commands["nbdev-test"].load()


def test_importing_sonic_is_light():
    heavy = {"torch", "librosa", "matplotlib", "pandas", "cv2", "scipy", "numpy", "soundfile", "joblib", "pyarrow"}
    code = "import sys, sonic; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = set(run(sys.executable, "-c", code, cwd=ROOT).stdout.split())
    assert "sonic" in loaded
    assert not heavy & loaded


# ---- who imports whom ------------------------------------------------------------------------------------------------


def room_of(module):
    first, _, rest = module.partition(".")
    return first if rest or first in ROOMS else "ground"


def places():
    "Number and room of every exported module."
    found = ((module_of(path), path) for path in NOTEBOOKS)
    return {module: (room_of(module), int(path.name.split("_")[0])) for module, path in found if module}


def imports_of(source):
    "Modules of ours that the code imports, at its top or inside a function."
    found = set()
    for node in ast.walk(code_of(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
    return {name for name in found if name.split(".")[0] in ("", "sonic")}


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if module_of(path)], ids=named)
def test_imports_go_one_way(path):
    known = places()
    room, number = known[module_of(path)]
    for source in exported(path):
        for name in imports_of(source) - {"sonic"}:  # which alone is its version and names that wait to be used
            module = name.removeprefix("sonic.")
            assert module in known, f"{name}: import the module itself, by its full name"
            other, its_number = known[module]
            if other == room:
                assert its_number < number, f"{named(path)} imports {module}, which comes after it"
            else:
                assert other in ROOMS[room], f"{room} may not import {other}: {named(path)} imports {module}"


def test_the_direction_is_the_one_that_the_architecture_page_shows():
    "Words of the page and of this file; the page computes the rest from the code."
    (told,) = (
        ast.literal_eval(node.value)
        for cell in cells_of(ROOT / "nbs" / "architecture.ipynb")
        for node in code_of(cell["source"]).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ROOMS"
    )
    assert {room: set(may) for room, (*_, may) in told.items()} == ROOMS
    rooms = list(told)
    for room, may in ROOMS.items():  # whose order makes "above" a word
        assert all(rooms.index(other) < rooms.index(room) for other in may)
    shown = json.dumps([cell["outputs"] for cell in cells_of(ROOT / "nbs" / "architecture.ipynb")])
    modules = [room for room, _ in places().values()]
    for room in ROOMS:
        count = re.search(rf"\| `{room}`[^|]*\|[^|]*\| (\d+) \|", shown)
        assert int(count[1]) == modules.count(room), "run nbs/architecture.ipynb again"


def test_no_module_is_long():
    paths = [path for path in (ROOT / "sonic").rglob("*.py") if path.name != "_modidx.py"]
    long = {named(path): n for path in paths if (n := len(path.read_text(encoding="utf-8").splitlines())) > MODULE}
    assert len(paths) > 200 and not long, "split it by idea"


def test_one_decode_and_one_transform_a_track(tmp_path, monkeypatch):
    "All four pictures come from one reading of the file and one power spectrogram."
    import numpy as np
    import soundfile

    from sonic.cream import audio, spectrum
    from sonic.cream.render import render

    seconds = np.arange(3 * 22050) / 22050
    soundfile.write(tmp_path / "tone.wav", 0.3 * np.sin(2 * np.pi * 440 * seconds), 22050)
    seen = []

    def counted(module, name):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, **kwargs: (seen.append(name), real(*args, **kwargs))[1])

    render(tmp_path / "tone.wav", tmp_path / "warm", jobs=0, progress=False)  # rehearses on silence, as every run does
    counted(audio, "opened")
    counted(spectrum, "frame_power")
    manifest = render(tmp_path / "tone.wav", tmp_path / "out", jobs=0, progress=False)
    assert manifest["status"].item() == "done"
    assert seen.count("opened") == 1
    assert seen.count("frame_power") == 2  # one of them of the rehearsal


# ---- what a notebook may hold ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_no_text_reads_like_a_mail_address(path):
    "`NDCG@10` outside of code becomes a link that writes a mail."
    for cell in cells_of(path, "markdown"):
        plain = re.sub(r"```.*?```|`[^`]*`", "", cell["source"], flags=re.DOTALL)
        assert not re.search(r"\w@\d", plain), "write it as code, or as NDCG at 10"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_a_notebook_is_small_and_clean(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(ids) <= CELLS
    assert len(set(ids)) == len(ids)
    assert path.stat().st_size <= BYTES
    lines = [line for source in exported(path) for line in source.splitlines() if re.search(r"\w", line)]
    code = [line for line in lines if not line.strip().startswith(("#", '"', "from ", "import "))]
    assert len(code) <= LINES, "split it by idea"
    assert "".join(notebook["cells"][0]["source"]).startswith("# "), "the first cell is the title"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_outputs_are_worth_keeping(path):
    for cell in cells_of(path):
        assert cell["execution_count"] is None
        for output in cell["outputs"]:
            shown = json.dumps(output)
            assert output["output_type"] != "error", shown[:300]
            assert output.get("name") != "stderr", f"a warning is shown: {shown[:300]}"
            assert "_GeneratorContextManager" not in shown, (
                "`expect_fail` belongs into a `with`; alone it tests nothing"
            )
            # a path of the machine on which the notebook ran
            assert not re.search(r"site-packages|/home/\w|/Users/\w|/root/|/work/|[A-Z]:\\\\\\\\", shown), shown[:300]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_imports_stand_in_cells_of_their_own(path):
    "nbdev runs every cell with an import when it builds the documentation."

    def imports(node):
        return isinstance(node, ast.Import | ast.ImportFrom) or (
            isinstance(node, ast.If) and all(imports(inner) for inner in node.body)
        )

    for cell in cells_of(path):
        body = code_of(cell["source"]).body
        assert all(map(imports, body)) or not any(map(imports, body)), cell["source"]
        stars = [node for node in body if isinstance(node, ast.ImportFrom) and node.names[0].name == "*"]
        assert not stars and not any(node.level for node in body if isinstance(node, ast.ImportFrom))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_names_for_types_exist_when_documented(path):
    "nbdev looks up every annotation: what only a type checker imports, a hidden cell must import too."

    def names(nodes):
        imports = [
            inner for node in nodes for inner in ast.walk(node) if isinstance(inner, ast.Import | ast.ImportFrom)
        ]
        return {alias.asname or alias.name.split(".")[0] for node in imports for alias in node.names}

    top = {cell["id"]: code_of(cell["source"]).body for cell in cells_of(path)}
    checked = names(node for body in top.values() for node in body if isinstance(node, ast.If))
    there = names(node for body in top.values() for node in body if isinstance(node, ast.Import | ast.ImportFrom))
    assert not checked - there, "import them in the hidden cell of imports"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_tests_in_notebooks_test_something(path):
    "`expect_fail` is a context manager: called by itself it runs nothing. `test_fail` takes a function."
    for cell in cells_of(path):
        tree = code_of(cell["source"])
        held = {id(item.context_expr) for node in ast.walk(tree) if isinstance(node, ast.With) for item in node.items}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "expect_fail" or id(node) in held, ast.unparse(node)
                called = node.func.id == "test_fail" and isinstance(node.args[0], ast.Call)
                assert not called or ast.unparse(node.args[0].func) == "partial", ast.unparse(node)


# ---- the tools -------------------------------------------------------------------------------------------------------


def test_broken_links_are_found(docs, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a picture.png").touch()
    (tmp_path / "index.html").write_text(
        '<h2 id="here">x</h2><a href="deep/page.html#there">y</a><a href="#here">z</a>'
    )
    good = '<h2 id="there">x</h2><a href="../index.html#here">y</a><img src="a%20picture.png"><a href="https://a.b/c">z</a>'
    (tmp_path / "deep" / "page.html").write_text(good)
    assert docs.broken_links(tmp_path) == []
    bad = ["../none.html", "../index.html#nowhere", "#lost", "gone.png", f"{docs.SITE}/config.html", "."]
    (tmp_path / "deep" / "page.html").write_text(good + "".join(f'<a href="{url}">x</a>' for url in bad))
    assert [line.split()[1] for line in docs.broken_links(tmp_path)] == bad


def test_links_between_notebooks_become_links_between_pages(docs):
    mel = docs.Page("cream/03_mel.ipynb", "cream/mel.html", "Mel", "", "CREAM", {})
    config = docs.Page("02_config.ipynb", "config.html", "Configuration", "", "", {})
    pages = {page.source: page for page in (mel, config)}
    for url, expected in {
        "../02_config.ipynb#mel": ("nbs/02_config.ipynb", "#mel"),
        f"{docs.SITE}/config.html#mel": ("nbs/02_config.ipynb", "#mel"),
        "../../CONTRIBUTING.md": ("CONTRIBUTING.md", ""),
        "../images/mel.png": ("nbs/images/mel.png", ""),
        "https://a.b/c": ("", "https://a.b/c"),
        "#the-scale": ("", "#the-scale"),
    }.items():
        assert docs.target(url, mel, pages) == expected
    assert docs.relative(config.html, mel) == "../config.html"
    assert docs.relative(mel.html, config) == "cream/mel.html"


def test_every_page_has_its_place(docs):
    listed = [source for _, source in docs.reading_order()]
    assert listed[0] == "index.ipynb"
    assert sorted(listed) == sorted(path.relative_to(ROOT / "nbs").as_posix() for path in NOTEBOOKS)


def make(folder, *words):
    "Run make there, taking the environment for installed."
    return run("make", "-o", ".venv/.installed", "-o", ".venv/.installed-dev", *words, cwd=folder)


needs_make = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


@needs_make
def test_an_edit_of_the_exported_library_is_noticed(tmp_path):
    for name in ("Makefile", "pyproject.toml", "settings.ini"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "nbs").mkdir()
    (tmp_path / "sonic").mkdir()
    shutil.copy(ROOT / "nbs" / "02_config.ipynb", tmp_path / "nbs")
    for name in ("__init__.py", "config.py"):
        shutil.copy(ROOT / "sonic" / name, tmp_path / "sonic")
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parents[1])
    make(tmp_path, "fresh")  # writes the index of this smaller library
    assert make(tmp_path, "fresh").returncode == 0
    module = tmp_path / "sonic" / "config.py"
    before = module.read_text()
    module.write_text(before + "\nedited = True\n")
    told = make(tmp_path, "fresh")
    assert told.returncode != 0
    assert "sonic/config.py" in told.stdout
    assert module.read_text() == before
    notebook = tmp_path / "nbs" / "02_config.ipynb"
    notebook.write_text(notebook.read_text().replace('"execution_count": null', '"execution_count": 7', 1))
    assert "nbs/02_config.ipynb" in make(tmp_path, "fresh").stdout
    assert make(tmp_path, "fresh").returncode == 0


@needs_make
def test_make_says_what_it_can_do():
    told = make(ROOT).stdout
    for target in ("demo", "test", "lab", "docs", "check", "bench", "clean"):
        assert re.search(rf"^make {target} +\w", told, re.MULTILINE), target


def test_examples_are_held_to_the_same_rules():
    "What others are to copy is formatted, checked and typed as the rest is."
    examples = sorted((ROOT / "examples").glob("*/"))
    if not examples:
        pytest.skip("there are no examples")
    for tool in (["ruff", "format", "--check"], ["ruff", "check"], ["mypy"]):
        for example in examples:
            done = run(sys.executable, "-m", *tool, str(example), cwd=ROOT)
            assert done.returncode == 0, done.stdout


@needs_make
def test_make_test_ends_with_pytest():
    steps = make(ROOT, "-n", "test").stdout
    order = [
        steps.index(word) for word in ("ruff check", "mypy", "nbdev-export", "nbdev_test", "docs.py build", "-m pytest")
    ]
    assert order == sorted(order)
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
