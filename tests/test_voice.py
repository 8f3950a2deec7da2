"One voice: the program, the library and the documentation use the same words, flags, settings and defaults."

import ast
import inspect
import json
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
import typer

import sonic
import sonic.explore
from sonic.cli import app
from sonic.config import Config, SonicError, make_config, setting_names, setting_rows

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(path for path in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
MODULES = sorted(path for path in (ROOT / "sonic").rglob("*.py") if path.stem not in ("__init__", "_modidx"))
PROGRAM = typer.main.get_command(app)
DEFAULTS = {name: value for name, value, *_ in setting_rows()}


def named(path):
    return path.relative_to(ROOT).as_posix()


def leaves(command, words=()):
    "Each command with the words that call it: `tune run`."
    for word, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, (*words, word))
    if not hasattr(command, "commands"):
        yield " ".join(words), command


COMMANDS = dict(leaves(PROGRAM))


def flags_of(command):
    return {flag for option in command.params for flag in option.opts if flag.startswith("-")}


FLAGS = {"-h", "--help", "--debug", "--version"}.union(*map(flags_of, COMMANDS.values()))


# ---- texts -----------------------------------------------------------------------------------------------------------


def cells(path, kind):
    book = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == kind]


def strings(path):
    "Every text in a module, an f-string with a mark where something is put in."
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def texts():
    "What people read: where it stands, and the text."
    for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "Makefile"):
        yield name, (ROOT / name).read_text(encoding="utf-8")
    for path in NOTEBOOKS:
        yield named(path), "\n\n".join(cells(path, "markdown"))
    for path in MODULES:
        yield named(path), "\n".join(strings(path))
    for path in sorted((ROOT / "bench").glob("*.py")):
        yield named(path), path.read_text(encoding="utf-8").split('"""')[1]


TEXTS = dict(texts())


# ---- flags, commands and settings that texts name --------------------------------------------------------------------


def calls(text):
    "The command lines in a text, each as words: in backticks, or a line of their own."
    found = re.findall(r"`(sonic [^`]+)`", text)
    found += re.findall(r"^\s*(?:\$ |@)?(?:\.venv/bin/|\$\(BIN\)/)?(sonic [a-z].*)$", text, re.MULTILINE)
    for line in found:
        line = re.split(r"\s#|[|;>&]|\s\(| -- ", line)[0]
        try:
            yield shlex.split(line)[1:]
        except ValueError:
            continue  # a sentence with an apostrophe


def command_of(words):
    "The command that words call, and what follows."
    for size in (2, 1):
        if (name := " ".join(words[:size])) in COMMANDS:
            return name, words[size:]
    return "", words


def mistakes(text):
    "What is wrong with the command lines of a text."
    for words in calls(text):
        words = [word.rstrip(",.:") for word in words]
        name, rest = command_of(words)
        if not name:
            group = PROGRAM.commands.get(words[0]) if words else None
            if words and group is None and words[0] not in FLAGS and re.fullmatch("[a-z]+", words[0]):
                yield f"sonic {words[0]}: no such command"
            continue
        for word, value in zip(rest, [*rest[1:], ""], strict=False):
            flag = word.partition("=")[0]
            if re.match(r"--?[a-z]", word) and flag not in flags_of(COMMANDS[name]) | {"-h", "--help", "--debug"}:
                yield f"sonic {name}: no flag {flag}"
            if word == "--set" and "=" in value and not re.search(r"=(…|\.\.\.|[A-Z]+$)", value):
                try:
                    make_config({value.partition("=")[0]: value.partition("=")[2]})
                except SonicError as error:
                    yield str(error)


def test_command_lines_that_are_shown_would_be_taken():
    assert not {place: wrong for place, text in TEXTS.items() if (wrong := [*mistakes(text)])}


def test_a_wrong_command_line_would_be_noticed():
    assert sum(len([*calls(text)]) for text in TEXTS.values()) > 150
    text = "`sonic rendr a b`, `sonic render a b --shard 9`, `sonic embed a b --set mel.mels=3`\n    sonic tune ron out"
    assert [re.sub(r" \(.*", "", line) for line in mistakes(text)] == [
        "sonic rendr: no such command",
        "sonic render: no flag --shard",
        "no setting is called mel.mels; did you mean mel.n_mels?",
    ]


# flags of other programs that our texts name
FOREIGN = set("--index-url --only-binary --no-deps --no-input --dest --disable-pip-version-check".split())  # pip
FOREIGN |= set("--allow-root --ip --nthreads --logdir".split())  # JupyterLab, Dask, TensorBoard


def flags_in(place, text):
    "The flags that a text names."
    if place.endswith((".md", ".ipynb")):
        return re.findall(r"`(--[a-z][a-z-]+)", text)
    if place.startswith("sonic"):  # messages say them bare; CSS has names with -- too
        return re.findall(r"(?<![\w(-])--[a-z][a-z-]+[a-z](?!\w*:)", text)
    return []


def test_flags_that_texts_name_exist():
    found = {place: set(flags_in(place, text)) for place, text in TEXTS.items()}
    assert sum(map(len, found.values())) > 100
    assert not {place: odd for place, flags in found.items() if (odd := flags - FLAGS - FOREIGN)}


SECTIONS = "|".join(Config.model_fields)
ENDINGS = set("py png html svg parquet md ipynb toml safetensors mp3 csv npy log wav".split())


def test_settings_that_texts_name_exist():
    "In backticks, or with a value: `mel.n_mels`, mel.n_mels=96."
    found = {}
    for place, text in TEXTS.items():
        names = re.findall(rf"`((?:{SECTIONS})\.[a-z_0-9]+)`", text)
        names += re.findall(rf"(?<![\w./-])((?:{SECTIONS})\.[a-z_0-9]+)=(?!=)", text)
        found[place] = {name for name in names if name.partition(".")[2] not in ENDINGS}
    assert sum(map(len, found.values())) > 100
    assert not {place: odd for place, names in found.items() if (odd := names - set(setting_names()))}


# ---- defaults --------------------------------------------------------------------------------------------------------

# command: the function that does its work, and options that are called otherwise there
WORK = {
    "render": ("cream.render.render", {}),
    "show": ("cream.figure.show", {"out": "save"}),
    "demo": ("cream.demo.demo", {}),
    "lab": ("explore.lab.open_lab", {}),
    "embed": ("tails.together.embed", {}),
    "export": ("tails.exports.export_table", {}),
    "similar": ("tails.neighbours.neighbours", {"count": "k", "unlike": "negatives"}),
    "index": ("tails.index.make_index", {}),
    "train": ("tails.training.train", {}),
    "genres report": ("tails.genres.report", {"floor": "floors"}),
    "genres fit": ("tails.genres.fit", {}),
    "genres predict": ("tails.genres.predict", {}),
    "weights fetch": ("tails.weights.fetch", {"wheel": "source"}),
    "weights verify": ("tails.weights.verify", {}),
    "recommend": ("rouge.recommender.Recommender.recommend", {"count": "k"}),
    "bench": ("rouge.benchrun.run_demo", {"embeddings": "tables"}),
    "tune run": ("shadow.tune.begin_demo", {}),
    "tune resume": ("shadow.tune.tune", {}),
    "tune report": ("shadow.tune.report", {}),
}
# of the program alone
OWN = {"render": {"views"}, "demo": {"out"}, "genres report": {"out"}, "genres predict": {"out"}}


def function(path):
    "A function of SONIC by its dotted name."
    parts = path.split(".")
    thing = import_module(f"sonic.{'.'.join(parts[:2])}")
    for part in parts[2:]:
        thing = getattr(thing, part)
    return thing


def plain(default):
    "A default as it counts: nothing given is nothing given."
    nothing = default is inspect.Parameter.empty or default is None or default in ((), [], False)
    return None if nothing else default


def odd_defaults(command, path, names, own=frozenset()):
    "Options whose default is not that of the library."
    there = inspect.signature(function(path)).parameters
    for option in COMMANDS[command].params:
        name = names.get(option.name, option.name)
        if isinstance(option, typer.core.TyperOption) and name in there and option.name not in own:
            if plain(option.default) != plain(there[name].default):
                yield f"{command} {option.opts[0]}: {option.default}, but {path}({name}={there[name].default})"


@pytest.mark.parametrize("command", WORK)
def test_defaults_of_the_program_are_those_of_the_library(command):
    assert not [*odd_defaults(command, *WORK[command], OWN.get(command, frozenset()))]


def test_other_defaults_would_be_noticed():
    assert [*odd_defaults("similar", "explore.alike.similar", {"count": "k"})]  # whose pages hold twelve cards
    assert set(COMMANDS) - set(WORK) == {"info", "config", "playlist", "weights list", "tune ablate", "tune dashboard"}
    compared = [
        option.name
        for command, (path, names) in WORK.items()
        for option in COMMANDS[command].params
        if names.get(option.name, option.name) in inspect.signature(function(path)).parameters
    ]
    assert len(compared) > 60


def test_options_that_are_settings_leave_the_default_to_the_settings():
    for command, option in {
        "render": "size",
        "embed": "with_",
        "recommend": "with_",
        "tune run": "objective",
    }.items():
        assert next(each for each in COMMANDS[command].params if each.name == option).default is None
    for option in ("label", "trials"):
        assert next(each for each in COMMANDS["tune run"].params if each.name == option).default is None
    assert next(each for each in COMMANDS["render"].params if each.name == "format").default is None


def test_views_of_render_are_those_of_the_library():
    from sonic.cream.views import VIEWS

    assert next(each for each in COMMANDS["render"].params if each.name == "views").default == ",".join(VIEWS)
    assert DEFAULTS["network.views"] == ",".join(VIEWS)


@pytest.mark.parametrize(
    ("path", "parameter", "setting"),
    [
        ("cream.audio.load", "sample_rate", "audio.sample_rate"),
        ("cream.audio.load", "offset", "audio.offset"),
        ("cream.audio.load", "duration", "audio.duration"),
        ("cream.batch.batch_views", "sample_rate", "audio.sample_rate"),
        ("tails.genres.report", "label", "train.label"),
        ("tails.genres.fit", "label", "tune.label"),
        ("tails.probes.train_probe", "kind", "genres.probe"),
        ("tails.splits.split_tracks", "share", "genres.test"),
        ("shadow.sealed.seal_tracks", "share", "tune.test"),
        ("rouge.recommender.Recommender.recommend", "k", "tune.k"),
        ("tails.neighbours.neighbours", "k", "tune.k"),
    ],
)
def test_defaults_of_functions_are_those_of_the_settings(path, parameter, setting):
    assert str(inspect.signature(function(path)).parameters[parameter].default).lower() == DEFAULTS[setting].lower()


def option_help(command, name):
    return next(each for each in COMMANDS[command].params if each.name == name).help


def test_numbers_in_help_are_those_of_the_code():
    from sonic.rouge.playlists import continue_playlist, from_history, from_seeds
    from sonic.rouge.playlists import path as way

    picture = Config().picture
    assert f"{picture.width}x{picture.height} if not given" in option_help("render", "size")
    counts = [inspect.signature(each).parameters["k"].default for each in (from_seeds, from_history)]
    assert set(counts) == {int(re.search(r"; (\d+), or", option_help("playlist", "count"))[1])}
    counts = [inspect.signature(each).parameters["k"].default for each in (way, continue_playlist)]
    assert set(counts) == {int(re.search(r"or (\d+) on a way", option_help("playlist", "count"))[1])}
    embed = inspect.getsource(function("tails.embed.embed"))
    assert re.search(r"batch or \((\d+) if .* else (\d+)\)", embed).groups() == tuple(
        re.search(r"; (\d+), or (\d+) on", option_help("embed", "batch")).groups()
    )


def test_numbers_in_the_readme_are_those_of_the_code():
    readme, picture = TEXTS["README.md"], Config().picture
    told = re.findall(r"(\d+) ?[x×] ?(\d+) pixels", readme)
    assert told and set(told) == {(str(picture.width), str(picture.height))}
    demo = inspect.signature(function("cream.demo.demo")).parameters
    told = re.findall(r"(\d+) synthetic tracks", readme)
    assert told and set(told) == {str(demo["tracks"].default)}


# ---- words -----------------------------------------------------------------------------------------------------------

# what a name must not be made of, and what to call it instead
SLIPS = {
    "song": "track",
    "songs": "tracks",
    "spectogram": "view",
    "spectrogram": "view",
    "spectrograms": "views",
    "thumbnail": "picture",
    "plot": "figure",
    "feature": "view, or vector",
    "features": "views, or vectors",
    "vec": "vector",
    "catalog": "collection",
    "experiment": "study",
    "hyperparameter": "setting",
    "hyperparameters": "settings",
    "iteration": "turn, or trial",
    "playcount": "plays",
    "listens": "plays",
    "rating": "plays",
    "ratings": "plays",
    "neighbor": "neighbour",
    "neighbors": "neighbours",
    "color": "colour",
    "colors": "colours",
    "center": "centre",
    "normalize": "normalise",
    "standardize": "standardise",
    "visualize": "draw",
    "visualise": "draw",
    "analyze": "measure",
    "cfg": "config",
    "conf": "config",
    "fname": "path",
    "filename": "path",
    "idx": "index",
    "df": "what the table holds",
    "arr": "what the array holds",
    "util": "what it does",
    "utils": "what it does",
    "helper": "what it does",
    "helpers": "what it does",
    "manager": "what it does",
    "image": "picture",
    "images": "pictures",
}
ALLOWED = {
    "ImageSet": "the folder that render writes",
    "ImageDataset": "the same, as PyTorch calls it",
    "open_images": "opens an image set",
    "images": "an image set",
    "images_in": "opens an image set if there is one",
    "Song": "what the demo composes, before it is a recording",
    "write_song": "the same",
    "song": "the same",
    "song_keys": "what recordings of one title and artist have in common",
    "song_of": "the same",
}


def words(name):
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def public_names(path):
    "Names that a reader of the documentation meets: functions, classes, parameters, fields."
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name
            if isinstance(node, ast.FunctionDef):
                arguments = node.args
                yield from (each.arg for each in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs])
            else:
                fields = (each.target for each in node.body if isinstance(each, ast.AnnAssign))
                yield from (field.id for field in fields if isinstance(field, ast.Name))


def slips(names):
    "Names that are made of other words than ours, with ours."
    return {name: SLIPS[word] for name in names if name not in ALLOWED for word in words(name) if word in SLIPS}


def test_names_use_our_words():
    assert not {named(path): odd for path in MODULES if (odd := slips(public_names(path)))}


def test_flags_columns_and_settings_use_our_words():
    from sonic.cream.manifest import COLUMNS
    from sonic.rouge.rows import log_schema

    names = [*FLAGS, *COMMANDS, *setting_names(), *COLUMNS, *log_schema(names=True).names, *dir(sonic)]
    names += [option.name for command in COMMANDS.values() for option in command.params]
    assert not slips(names)


def test_a_slip_would_be_noticed():
    assert slips(["drawSongPicture", "n_neighbors", "mel_spectrogram", "--image-size", "track_id", "ImageSet"]) == {
        "drawSongPicture": "track",
        "n_neighbors": "neighbours",
        "mel_spectrogram": "view",
        "--image-size": "picture",
    }
    assert re.findall(SPELT, "A spectogram of normalized colors.", re.IGNORECASE)


SPELT = r"\b(spectogram\w*|neighbor\w*|colors?|colored|centered|normaliz\w+|analyz\w+|hyper-?parameters?|behavior\w*)\b"
# others' words: titles of papers and proper names
QUOTED = r"`[^`]*`|\[[^\]]*\]\([^)]*\)|\"[^\"]*\"|\*[^*\n]+\*|```.*?```|Hyperparameter Analysis"


def test_texts_are_in_one_spelling():
    read = {place: text for place, text in TEXTS.items() if place.endswith((".md", ".ipynb"))}
    bare = {place: re.sub(QUOTED, "", text, flags=re.DOTALL) for place, text in read.items()}
    assert not {place: odd for place, text in bare.items() if (odd := re.findall(SPELT, text, re.IGNORECASE))}


# ---- help ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shown():
    "The help of every command, as a terminal of a hundred columns shows it."
    from typer.testing import CliRunner

    runner = CliRunner(env={"COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1", "TERM": "dumb"})
    found = {name: runner.invoke(app, [*name.split(), "--help"]) for name in ["", *COMMANDS]}
    assert all(result.exit_code == 0 for result in found.values())
    return {name: result.output for name, result in found.items()}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_a_summary_and_an_example(command):
    summary, _, rest = inspect.cleandoc(COMMANDS[command].help).partition("\n")
    assert rest.startswith("\n") and summary.endswith((".", "?")) and len(summary) <= 120
    assert summary[0].isupper()
    assert f"`sonic {command}" in rest.partition("Example")[2]
    assert not [option.name for option in COMMANDS[command].params if not getattr(option, "help", "x")]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_its_terminal_and_names_every_flag(shown, command):
    assert max(map(len, shown[command].splitlines())) <= 100
    for option in COMMANDS[command].params:
        for flag in option.opts:
            assert flag in shown[command] or not flag.startswith("-")


def test_each_option_is_described_in_one_way():
    "The same flag says the same, or says what is different."
    helps = {}
    for command, each in COMMANDS.items():
        for option in each.params:
            for flag in option.opts:
                if flag in ("--set", "--config", "--jobs", "--retry", "--backend", "--scheduler", "--where"):
                    helps.setdefault(flag, {}).setdefault(option.help, []).append(command)
    assert {flag: told for flag, told in helps.items() if len(told) > 1} == {}


# ---- exit codes and statuses -----------------------------------------------------------------------------------------


def family(kind):
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


def test_exit_codes_are_those_that_are_documented():
    for path in MODULES:
        import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    codes = {0, 2, 3, 130} | {kind.exit_code for kind in family(SonicError) if hasattr(kind, "exit_code")}
    given = {
        code.value
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("typer.Exit", "sys.exit") and node.args
        for code in ast.walk(node.args[0])
        if isinstance(code, ast.Constant) and isinstance(code.value, int)
    }
    assert given == {0, 2, 3, 130}
    for command in ("render", "embed"):
        (told,) = re.findall(r"Exit codes: (.*)\.", COMMANDS[command].help)
        assert {int(code) for code in re.findall(r"\b(\d+) ", told)} == codes
    page = TEXTS["nbs/architecture.ipynb"]
    table = re.search(r"\| code \| meaning \|\n\|.*\n((?:\|.*\n)+)", page)[1]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == codes | {1}


def test_statuses_are_those_that_are_documented():
    from sonic.cream.manifest import FAILED

    page = TEXTS["nbs/architecture.ipynb"]
    table = re.search(r"\| status \| what happened \|\n\|.*\n((?:\|.*\n)+)", page)[1]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == ["done", "warned", *FAILED]


# ---- the public surface ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", [sonic, sonic.explore], ids=lambda package: package.__name__)
def test_what_is_offered_is_what_the_stub_says_and_the_page_lists(package):
    stub = ast.parse(Path(package.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    names = [alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(names) == sorted(set(names)) == sorted(package.__all__) == sorted(dir(package))
    for name in names:
        assert getattr(package, name).__doc__
    book = json.loads((ROOT / "nbs" / "reference.ipynb").read_text(encoding="utf-8"))
    outputs = [
        "".join(output["data"].get("text/markdown", ""))
        for cell in book["cells"]
        for output in cell.get("outputs", [])
        if "data" in output
    ]
    (listing,) = (text for text in outputs if f"| with `{package.__name__}.` |" in text)
    assert sorted(re.findall(r"^\| \[`(\w+)`\]", listing, re.MULTILINE)) == sorted(names)
    (listing,) = (text for text in outputs if text.startswith("| command |"))
    assert sorted(re.findall(r"^\| \[`sonic ([a-z ]+)`\]", listing, re.MULTILINE)) == sorted(COMMANDS)
