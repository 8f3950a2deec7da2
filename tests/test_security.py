"What the library may not call, what names and tags may not do, what reaches the network, what the lock file says."

from __future__ import annotations

import ast
import configparser
import csv
import io
import json
import os
import re
import socket
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sonic.cli import main
from sonic.cream.decode import FORMATS
from sonic.cream.render import render
from sonic.files import write_file
from sonic.rouge.playlistfile import open_playlist, save_playlist
from sonic.sections import SonicError
from sonic.tails.exports import export_table
from sonic.tails.table import make_table, save_table

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(path for path in (ROOT / "sonic").rglob("*.py") if path.name != "_modidx.py")
PROGRAMS = sorted([*(ROOT / "tools").glob("*.py"), *(ROOT / "bench").glob("*.py")])
STATIC = sorted((ROOT / "sonic" / "explore" / "static").glob("*.js"))


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# ---- what Python may not call ----------------------------------------------------------------------------------------

# what runs the code that it reads, or reaches out
MODULE_RULES = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "requests", "httpx", "aiohttp", "urllib3"}
MODULE_RULES |= {"ftplib", "telnetlib", "smtplib", "http.client", "http.server", "socketserver", "xmlrpc"}
CALL_RULES = set("eval exec compile __import__ os.system os.popen os.startfile subprocess.getoutput".split())
CALL_RULES |= set("subprocess.getstatusoutput asyncio.create_subprocess_shell runpy.run_path runpy.run_module".split())
CALL_RULES |= set("yaml.load yaml.full_load yaml.unsafe_load joblib.load joblib.Memory pandas.read_pickle".split())
CALL_RULES |= set("torch.hub.load torch.package.PackageImporter shutil.unpack_archive tempfile.mktemp".split())
CALL_RULES |= set("hashlib.md5 hashlib.sha1 urllib.request.urlopen urllib.request.urlretrieve".split())
CALL_RULES |= {"ssl._create_unverified_context", "os.umask"}
# argument -> the only value that it may have; None: none at all
ARGUMENT_RULES = {"shell": False, "allow_pickle": False, "weights_only": True, "trust_remote_code": False}
ARGUMENT_RULES |= dict.fromkeys(["pickle_module"])
# what shows its text as HTML in a notebook
SINKS = {"HTML", "HTMLMath", "Markdown", "Javascript", "display_html"}
# what has to be told to be careful
CAREFUL = {"torch.load": "weights_only"}


def full_names(tree: ast.AST) -> dict[str, str]:
    "What names stand for after the imports: `np` for numpy, `load` for torch.load."
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def raw(node: ast.JoinedStr) -> Iterator[str]:
    "The pieces of a text that came from elsewhere and were not escaped."
    for part in node.values:
        if isinstance(part, ast.FormattedValue) and not part.format_spec:
            called = isinstance(part.value, ast.Call) and ast.unparse(part.value.func) in ("str", "repr")
            if called or isinstance(part.value, ast.Attribute | ast.Subscript):
                yield ast.unparse(part.value)


def dangers(source: str, *, program: bool = False) -> Iterator[str]:
    "What in the code could run somebody else's code, show their text as more than text, or reach out to the network."
    tree = ast.parse(source)
    names = full_names(tree)

    def full(node: ast.expr) -> str:
        first, dot, rest = ast.unparse(node).partition(".")
        return f"{names.get(first, first)}{dot}{rest}"

    for node in ast.walk(tree):
        modules: set[str] = set()
        if isinstance(node, ast.Import):
            modules = {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules = {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call):
            function = full(node.func)
            yield from [function] if function in CALL_RULES else []
            given = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
            for argument, only in ARGUMENT_RULES.items():
                if argument in given and ast.unparse(given[argument]) != repr(only):
                    yield f"{function}({argument}={ast.unparse(given[argument])})"
            if "verify" in given and ast.unparse(given["verify"]) == "False":  # of a certificate
                yield f"{function}(verify=False)"
            if function in CAREFUL and CAREFUL[function] not in given:
                yield f"{function} without {CAREFUL[function]}"
            if function.startswith("subprocess.") and node.args and _text(node.args[0]):
                yield f"{function} of a text, not a list"
            if function.endswith((".extract", ".extractall")) and "tar" in function.lower() and "filter" not in given:
                yield f"{function} without filter"
            if function == "hashlib.new" and re.search("md5|sha1", ast.unparse(node)):
                yield ast.unparse(node)
            if function.rpartition(".")[2] in SINKS and any(_mixed(argument) for argument in node.args):
                yield f"{function} of names that are not escaped"
            if not program and function.endswith(".to_csv"):
                yield f"{function}: sonic.text.sheet is safe in a spreadsheet"
        elif isinstance(node, ast.JoinedStr):
            words = "".join(part.value for part in node.values if isinstance(part, ast.Constant))
            if re.search(r"</?[a-z]", words):
                yield from (f"{piece} in HTML, not escaped" for piece in raw(node))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from (word for word in ("0.0.0.0", "--ip=") if word in node.value)
        yield from sorted(name for name in modules if {name, name.partition(".")[0]} & MODULE_RULES)
        if any(name.endswith(".*") for name in modules):
            yield f"from {min(modules)} import *"


def _text(node: ast.expr) -> bool:
    "Whether an expression is a text rather than a list."
    if isinstance(node, ast.BinOp):
        return _text(node.left)
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _mixed(node: ast.expr) -> bool:
    "Whether a text is put together here of pieces that are not all escaped."
    if isinstance(node, ast.JoinedStr):
        pieces = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
        return any(not (isinstance(piece, ast.Call) and "escape" in ast.unparse(piece.func)) for piece in pieces)
    if isinstance(node, ast.BinOp):
        return any(not isinstance(side, ast.Constant) for side in (node.left, node.right))
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format"


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_the_library_runs_no_foreign_code(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    allowed = {"sonic/text.py": ".to_csv", "sonic/shadow/folder.py": ".to_csv"}.get(
        named(path)
    )  # safe; for a hash alone
    assert [found for found in dangers(text) if not allowed or allowed not in found] == []


@pytest.mark.parametrize("path", PROGRAMS, ids=named)
def test_tools_and_benches_run_no_foreign_code(path: Path) -> None:
    assert [*dangers(path.read_text(encoding="utf-8"), program=True)] == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "def f():\n    import shelve",
        "from xmlrpc.client import ServerProxy",
        "from http import server",
        "import dill as d",
        "from numpy import *",
        "eval('1')",
        "exec(text)",
        "compile(text, '', 'exec')",
        "__import__(name)",
        "import os\nos.system('ls')",
        "from os import system\nsystem('ls')",
        "import os as o\no.popen(line)",
        "import os\nos.umask(0)",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "import subprocess\nsubprocess.run(line, shell=flag)",
        "import subprocess as sp\nsp.Popen(f'ffmpeg -i {name}')",
        "from subprocess import run\nrun('ls ' + name)",
        "import subprocess\nsubprocess.getoutput('ls')",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "from numpy import load\nload(path, allow_pickle=wanted)",
        "import torch\ntorch.load(path)",
        "from torch import load\nload(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "import torch as t\nt.load(path, weights_only=safe)",
        "import torch\ntorch.hub.load('a/b', 'c')",
        "import yaml\nyaml.load(text)",
        "from joblib import load\nload(path)",
        "import joblib\njoblib.Memory('cache')",
        "import pandas as pd\npd.read_pickle(path)",
        "from transformers import AutoModel\nAutoModel.from_pretrained(name, trust_remote_code=True)",
        "import tempfile\ntempfile.mktemp()",
        "from hashlib import md5\nmd5(data)",
        "import hashlib\nhashlib.new('sha1', data)",
        "import tarfile\nwith tarfile.open(path) as tar:\n    tar.extractall(folder)",
        "import shutil\nshutil.unpack_archive(path)",
        "import urllib.request\nurllib.request.urlopen(url)",
        "from urllib.request import urlopen\nurlopen(url)",
        "session.get(url, verify=False)",
        "HTML(f'<b>{track}</b>')",
        "widgets.HTML('<b>' + title)",
        "display(Markdown('# {}'.format(title)))",
        "from IPython.display import HTML as H\ndisplay(H('<b>%s</b>' % title))",
        "note.value = f'<b>{track.title}</b>'",
        "note.value = f'<b>{row[\"title\"]}</b>'",
        "def _repr_html_(self):\n    return f'<i>{str(error)}</i>'",
        "app.run(host='0.0.0.0')",
        "command += ['--ip=*']",
        "frame.to_csv(path)",
    ],
)
def test_the_scan_sees(source: str) -> None:
    assert [*dangers(source)]


@pytest.mark.parametrize(
    "source",
    [
        "model.eval()",
        "import re\nre.compile('a')",
        "import numpy as np\nnp.load(path, allow_pickle=False)",
        "import torch\ntorch.load(path, weights_only=True)",
        "import subprocess\nsubprocess.run(['ls', name])\nsubprocess.Popen([*command, *options])",
        "import tarfile\ntar.extractall(folder, filter='data')",
        "HTML(f'<b>{escape(track)}</b>')",
        "HTML(page)",
        "note.value = f'<b>{escape(track.title)}</b> {count:d}'",
        "f'{track.title} < {row[0]}'",
        "import hashlib\nhashlib.sha256(data)",
    ],
)
def test_the_scan_lets_pass(source: str) -> None:
    assert [*dangers(source)] == []


def test_the_program_prints_through_one_door() -> None:
    "`say` shows names as text; a print beside it would not."
    for path in (ROOT / "sonic" / "cli").glob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        printed = [
            ast.unparse(call) for call in calls if ast.unparse(call.func) in ("print", "typer.echo", "rich.print")
        ]
        assert len(printed) == (path.name == "program.py"), printed


# ---- what JavaScript may not call ------------------------------------------------------------------------------------

SCRIPT_RULES = r"""\b(?:inner|outer)HTML\b|insertAdjacentHTML|document\.write|\beval\s*\(|new\s+Function\b|srcdoc
|createContextualFragment|setHTMLUnsafe|javascript:|setAttribute\(\s*["'`]on|setTimeout\(\s*["'`]|\bimport\(\s*["'`]?http
|\bfetch\s*\(|XMLHttpRequest|sendBeacon|new\s+WebSocket|localStorage""".replace("\n", "")


def test_scripts_write_text_and_nothing_else() -> None:
    pages = [path for path in MODULES if "<script" in path.read_text(encoding="utf-8")]
    assert len(STATIC) > 20 and len(pages) >= 3
    for path in [*STATIC, *pages]:
        found = re.findall(SCRIPT_RULES, path.read_text(encoding="utf-8"))
        assert not found, f"{named(path)}: {found}"


@pytest.mark.parametrize(
    "line",
    [
        "node.innerHTML = title",
        "x.outerHTML=y",
        "a.insertAdjacentHTML('beforeend', b)",
        "document.write(x)",
        "eval (x)",
        "new Function(x)",
        "frame.srcdoc = x",
        "node.setAttribute('onclick', x)",
        "setTimeout('x()', 1)",
        "fetch(url)",
        "await import('https://a.example/b.js')",
        "link.href = 'javascript:x'",
    ],
)
def test_the_scan_of_scripts_sees(line: str) -> None:
    assert re.search(SCRIPT_RULES, line)


def test_every_page_says_what_it_may_load() -> None:
    pages = [path for path in MODULES if "<!doctype html" in path.read_text(encoding="utf-8").lower()]
    assert len(pages) >= 4
    for path in pages:
        text = path.read_text(encoding="utf-8")
        assert "Content-Security-Policy" in text and "default-src 'none'" in text, named(path)


# ---- no network ------------------------------------------------------------------------------------------------------

ELSEWHERE = "192.0.2.1"  # an address that documentation is given, and nobody has (RFC 5737)


@pytest.fixture
def forgiven(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    "A try that is meant is taken down in a file of its own."
    monkeypatch.setenv("SONIC_TEST_TRIES", str(tmp_path / "tries"))
    return tmp_path / "tries"


def test_nothing_reaches_beyond_this_machine(forgiven: Path) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((ELSEWHERE, 80), timeout=0.1)
    with pytest.raises(ConnectionRefusedError):
        socket.getaddrinfo("host.example", 80)
    with pytest.raises(ConnectionRefusedError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.sendto(b"x", (ELSEWHERE, 53))
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=1).close()
    assert [line.split(" by ")[0] for line in forgiven.read_text().splitlines()] == [
        f"{ELSEWHERE}:80",
        "host.example",
        f"{ELSEWHERE}:53",
    ]


def test_nor_do_processes_that_tests_start(forgiven: Path) -> None:
    code = f"import socket; print(socket.socket().connect_ex(('{ELSEWHERE}', 80)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ConnectionRefusedError: tests have no network" in done.stderr
    assert forgiven.read_text().startswith(f"{ELSEWHERE}:80 by -c")


def test_one_door_only_leads_out() -> None:
    files = [path for path in (ROOT / "tests").rglob("*.py") if path.name != "test_security.py"]
    doors = {path.name: path.read_text(encoding="utf-8").count('SONIC_TEST_NETWORK", "allowed"') for path in files}
    assert {name: count for name, count in doors.items() if count} == {"conftest.py": 1}


@pytest.mark.parametrize(
    "text",
    [
        f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://{ELSEWHERE}/a.ts\n",
        f"ffconcat version 1.0\nfile http://{ELSEWHERE}/a.mp3\nfile /etc/hostname\n",
        f'<?xml version="1.0"?><MPD><BaseURL>http://{ELSEWHERE}/</BaseURL></MPD>',
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
    ],
)
@pytest.mark.parametrize("ending", [".mp3", ".m4a", ".wma", ".webm"])
def test_a_file_that_names_others_opens_none(tmp_path: Path, text: str, ending: str) -> None:
    "FFmpeg would follow such lists; SONIC tells it which container it has, and none of them is a list."
    (tmp_path / f"song{ending}").write_text(text * 30)
    with pytest.raises(SonicError, match="no audio format|damaged"):
        from sonic.cream.audio import load

        load(tmp_path / f"song{ending}")


def test_containers_that_are_lists_are_never_asked_for() -> None:
    lists = {"hls", "concat", "dash", "sdp", "rtsp", "rtp", "image2", "lavfi", "webm_dash_manifest", "applehttp", ""}
    asked = {kind.demuxer for kind in FORMATS.values() if kind.demuxer}
    assert asked and not {part for name in asked for part in name.split(",")} & lists


# ---- names and tags are data -----------------------------------------------------------------------------------------

ODD = {
    "emoji": "🎵 fam\u200dily.wav",
    "newline": "two\nlines.wav",
    "dash": "-rf.wav",
    "option": "--output=x.wav",
    "quotes": 'it\'s "it".wav',
    "long": "x" * 251 + ".wav",
    "dot": "end. .wav",
    "spaces": "  in  .wav",
    "composed": unicodedata.normalize("NFC", "café.wav"),
    "decomposed": unicodedata.normalize("NFD", "café.wav"),
    "bytes": os.fsdecode(b"b\xff.wav"),
    "other bytes": os.fsdecode(b"b\xfe.wav"),
    "spelt out": r"b\udcff.wav",
    "one ending": "twin.wav",
    "another ending": "twin.aiff",
    "small": "case.wav",
    "capital": "Case.wav",
    "escapes": "\x1b[2J\x1b]0;owned\x07.wav",
    "formula": "=cmd('calc')!A0.wav",
    "html": "<img src=x onerror=alert(1)>.wav",
    "right to left": "\u202egnp.wav",
    "shell": "$(touch owned);`id`|&.wav",
    "percent": "%2e%2e%2f%s{0}.wav",
    "backslashes": "up\\..\\..\\up.wav",
    "device": "CON.wav",
}


def name_of(track_id: str) -> str:
    "The name of the file that an id stands for."
    pattern = r"\\(\\|udc[0-9a-f]{2})"
    return re.sub(pattern, lambda found: "\\" if found[1] == "\\" else chr(int(found[1][1:], 16)), track_id)


def blip(path: Path, pitch: float = 440.0) -> Path:
    "Half a second of a note."
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(11025) / 22050
    with open(path, "wb") as file:  # libsndfile takes no such names
        soundfile.write(file, 0.5 * np.sin(2 * np.pi * pitch * time), 22050, format=path.suffix[1:].upper())
    return path


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "A folder of good music under odd names, two of which are one recording."
    folder = tmp_path_factory.mktemp("odd")
    for number, name in enumerate(ODD.values()):
        blip(folder / name, 200.0 + 10 * (number // 2))
    return folder


@pytest.fixture(scope="module")
def drawn(odd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    "What they are drawn as."
    out = tmp_path_factory.mktemp("drawn")
    render(odd, out, views=["mel"], jobs=0, progress=False)
    return out


@pytest.fixture(scope="module")
def manifest(drawn: Path) -> pd.DataFrame:
    return pd.read_parquet(drawn / "manifest.parquet")


@pytest.mark.parametrize("name", ODD.values(), ids=ODD)
def test_every_name_is_drawn_and_comes_back(odd: Path, drawn: Path, manifest: pd.DataFrame, name: str) -> None:
    names = [name_of(track_id) for track_id in manifest["track_id"]]
    row = manifest.iloc[names.index(name)]
    assert row["status"] == "done", row["reason"]
    assert (odd / name_of(row["track_id"])).is_file()
    assert re.fullmatch(r"mel/[A-Za-z0-9_.-]{1,90}\.png", row["mel"]) and (drawn / row["mel"]).is_file()
    assert not Path(row["mel"]).name.startswith((".", "-"))


def test_no_two_names_share_a_row_or_a_picture(drawn: Path, manifest: pd.DataFrame) -> None:
    assert sorted(map(name_of, manifest["track_id"])) == sorted(ODD.values())
    assert manifest["mel"].str.lower().nunique() == len(ODD)  # on disks that know no capitals too
    there = {path.relative_to(drawn).as_posix() for path in (drawn / "mel").glob("*.png")}
    assert there == set(manifest["mel"])


def test_one_recording_twice_is_two_pictures_with_the_same_bytes(drawn: Path, manifest: pd.DataFrame) -> None:
    path = {name_of(row.track_id): drawn / row.mel for row in manifest.itertuples()}
    one, two = path[ODD["composed"]], path[ODD["decomposed"]]
    assert one != two and one.read_bytes() == two.read_bytes()


def test_nothing_is_drawn_twice_for_its_name(odd: Path, drawn: Path) -> None:
    assert render(odd, drawn, views=["mel"], jobs=0, progress=False).attrs["drawn"] == 0


def test_labels_of_pictures_are_read_as_they_are(odd: Path, drawn: Path) -> None:
    "By the reader for which they are written: Hugging Face's imagefolder."
    (listed,) = (drawn / "mel").glob("metadata.*")
    assert listed.suffix == ".jsonl"  # in a CSV, an id such as =cmd() is a formula
    rows = [json.loads(line) for line in listed.read_text(encoding="utf-8").splitlines()]
    assert sorted(name_of(row["track_id"]) for row in rows) == sorted(ODD.values())
    assert all((drawn / "mel" / row["file_name"]).is_file() for row in rows)


def controls(text: str) -> set[str]:
    "Letters that act on a terminal, or on the letters around them."
    return {c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - {
        "\u200c",
        "\u200d",
    }


TAGS = {
    "title": "\x1b[31mred\x1b]0;owned\x07",
    "artist": "<img src=x onerror=alert(1)>\u202egnp",
    "album": "=HYPERLINK(A1)\r\nsonic: all is well",
    "genre": "x" * 10_000,
}


@pytest.fixture
def tagged(tmp_path: Path) -> Path:
    "Good music with hostile tags, under a hostile name, beside a broken file and one that draws a warning."
    folder = tmp_path / "music"
    path = blip(folder / "\x1b[2Jgood.flac")
    import mutagen

    audio = mutagen.File(path)
    audio.update({**TAGS, "date": "2001\x1b[2J"})
    audio.save()
    (folder / "\x1b[2Jbad\u202e.mp3").write_bytes(bytes(4000))
    whole = blip(folder / "\x1b[2Jcut.wav")
    whole.write_bytes(whole.read_bytes()[:9000])
    (folder / "\x1b]0;x\x07.txt").touch()
    return folder


def told(capfd: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    "What the program prints."
    try:
        main([str(argument) for argument in arguments])
        left = 0
    except SystemExit as end:
        left = end.code or 0
    text = "".join(capfd.readouterr())
    assert left == code, text
    assert "Traceback" not in text and not controls(text), [line for line in text.splitlines() if controls(line)]
    return text


def test_a_render_says_names_as_text(tagged: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = told(capfd, "render", tagged, tmp_path / "out", "--views", "mel", "-j", 1, "-q", code=3)
    assert "bad" in text and "cut" in text and "1 failed" in text
    rows = pd.read_parquet(tmp_path / "out" / "manifest.parquet").set_index("track_id")
    good = rows.loc["\x1b[2Jgood.flac"]
    assert all(good[name] == value for name, value in TAGS.items())  # in the manifest they are what they are
    assert not any(controls(reason) for reason in rows["reason"])


def test_a_file_says_its_tags_as_text(
    tagged: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = told(capfd, "info", tagged / "\x1b[2Jgood.flac")
    assert "[31mred" in text and "<img src=x" in text and "=HYPERLINK" in text
    assert len(text.splitlines()) == len({line.split()[0] for line in text.splitlines()})  # no line was forged
    assert max(map(len, text.splitlines())) < 300
    monkeypatch.chdir(tmp_path)
    told(capfd, "show", tagged / "\x1b[2Jgood.flac")
    told(capfd, "show", tagged / "\x1b[2Jgood.flac", "--out", tmp_path / "\x1b[2Jpage.html")
    page = (tmp_path / "\x1b[2Jpage.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page


@pytest.mark.parametrize(
    "arguments",
    [
        ["info", "\x1b[2Jnone.mp3"],
        ["info", os.fsdecode(b"\xff\x1b[2J.mp3")],
        ["render", "\x1b[2Jnone", "out"],
        ["similar", "\x1b[2Jnone.parquet", "x"],
        ["render", ".", "out", "--set", "mel.n_mels=\x1b[2J"],
        ["render", ".", "out", "--views", "\x1b[2J"],
    ],
)
def test_an_error_says_names_as_text(
    arguments: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(told(capfd, *arguments, code=2).splitlines()) == 1


def test_a_terminal_without_the_letters_of_a_name_is_no_fault(tmp_path: Path) -> None:
    blip(tmp_path / "Motörhead 🎵.wav")
    program = [str(Path(sys.executable).with_name("sonic")), "info", "Motörhead 🎵.wav"]
    done = subprocess.run(program, cwd=tmp_path, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True)
    assert done.returncode == 0 and rb"Mot\xf6rhead" in done.stdout


@pytest.fixture
def table(tmp_path: Path) -> Path:
    "An embedding table of ten tracks with hostile ids and labels."
    ids = [f"{name}{number}" for number in range(2) for name in ("-rf", "=cmd()", "\x1b[2J", "two\nlines", "\u202e3pm")]
    labels = pd.DataFrame({name: [f"{value[:500]}{i}" for i in range(10)] for name, value in TAGS.items()})
    labels["path"] = [f"/music/{number}.mp3" for number in range(10)]
    labels["genre"] = ["\x1b[2Jrock"] * 5 + ["=jazz\nforged"] * 5
    vectors = np.random.default_rng(0).normal(size=(10, 4))
    save_table(make_table(vectors, ids, labels=labels), tmp_path / "vectors.parquet")
    return tmp_path / "vectors.parquet"


def test_neighbours_and_playlists_are_said_as_text(table: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = told(capfd, "similar", table, "-k", 3, "--", "-rf0")
    assert len(text.splitlines()) == 3 and "<img src=x" in text and "forged" not in text.split("(")[0]
    text = told(capfd, "playlist", table, "--like", "=cmd()0", "-k", 3)
    assert len(text.splitlines()) == 3
    assert len(told(capfd, "similar", table, "\x1b[2Jnobody", code=2).splitlines()) == 1


def test_tables_are_safe_in_a_spreadsheet_and_come_back(table: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = table.with_name("\x1b[2Jlist.csv")
    told(capfd, "similar", table, "=cmd()0", "-k", 9, "--out", out)
    cells = [cell for row in csv.reader(io.StringIO(out.read_text(encoding="utf-8"), newline="")) for cell in row]
    assert any(cell.startswith("'=") for cell in cells) and any(cell.startswith("'-rf") for cell in cells)
    assert not any(re.match(r"[=+@\t\r]|-[^\d]", cell) for cell in cells)
    from sonic.tails.table import open_table

    opened = open_table(table)
    ids, lost = open_playlist(out, opened.tracks)
    assert lost == [] and {"-rf0", "=cmd()1"} & {*ids}
    save_playlist(pd.DataFrame({"track_id": opened.ids}), opened.tracks, out)
    assert open_playlist(out, opened.tracks) == (opened.ids, [])
    export_table(opened, table.parent / "csv", format="csv")
    sheet = (table.parent / "csv" / "vectors.csv").read_text(encoding="utf-8")
    cells = [cell for row in csv.reader(io.StringIO(sheet, newline="")) for cell in row]
    assert not any(re.match(r"[=+@\t\r]|-[^\d]", cell) for cell in cells)


@pytest.mark.parametrize("ending", ["m3u8", "csv"])
def test_a_list_here_names_any_file_but_writes_nothing_beside_the_output(tmp_path: Path, ending: str) -> None:
    "A list is a wish of its reader; where pictures go is not for it to say."
    blip(tmp_path / "elsewhere" / "a.wav")
    (tmp_path / "lists").mkdir()
    entries = ["../elsewhere/a.wav", f"{tmp_path}/elsewhere/../elsewhere/b.wav", "../../../../../../etc/hostname"]
    text = "\n".join(["path", *entries] if ending == "csv" else [*entries, "http://192.0.2.1/a.mp3"])
    (tmp_path / "lists" / f"l.{ending}").write_text(text + "\n")
    out = tmp_path / "deep" / "out"
    before = {path for path in tmp_path.rglob("*")}
    rows = render(tmp_path / "lists" / f"l.{ending}", out, views=["mel"], jobs=0, progress=False)
    assert rows["status"].tolist() == ["done", "failed", "failed"]  # what is no sound is not shown either
    written = {path for path in tmp_path.rglob("*")} - before - {out.parent}
    assert written and all(path.is_relative_to(out) for path in written)


def test_files_have_the_rights_that_the_user_chose(tmp_path: Path) -> None:
    for mask, rights in ((0o022, 0o644), (0o077, 0o600)):
        old = os.umask(mask)
        try:
            write_file(tmp_path / f"{mask}", b"x")
        finally:
            os.umask(old)
        assert (tmp_path / f"{mask}").stat().st_mode & 0o777 == rights


# ---- the lock file ---------------------------------------------------------------------------------------------------


def locked() -> dict[str, dict[str, Any]]:
    "Version, marker and hashes of each package of requirements.lock."
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if line and not line.startswith(("#", "-")):
            wanted, *hashes = line.split("--hash=")
            one = Requirement(wanted.strip())
            (pin,) = one.specifier
            assert pin.operator == "==" and "*" not in pin.version, line[:80]
            found[canonicalize_name(one.name)] = {"version": pin.version, "marker": one.marker, "hashes": hashes}
    return found


def test_the_lock_has_all_that_settings_ini_asks_for() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "settings.ini", encoding="utf-8")
    lines = {key: value.split("\n") for key, value in parser["DEFAULT"].items() if key.endswith("requirements")}
    wanted = [Requirement(line) for key in ("requirements", "dev_requirements") for line in lines[key] if line]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (torch,) = re.findall(r"^TORCH \?= (.+)$", makefile, re.MULTILINE)
    wanted += map(Requirement, torch.split())
    there = locked()
    for one in wanted:
        pin = there.get(canonicalize_name(one.name))
        assert pin, f"{one} is not in requirements.lock: make lock"
        assert one.specifier.contains(pin["version"], prereleases=True), f"{one}: {pin['version']} is locked: make lock"
        assert pin["marker"] is None, one


def test_every_file_of_the_lock_is_checked_and_none_is_built() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "--only-binary :all:" in text  # a source package would run its own code to be built
    assert not re.search(r"://|--(?:extra-)?index-url|--find-links|--trusted-host|@ ", text)
    pins = locked()
    assert len(pins) > 100
    for name, pin in pins.items():
        assert pin["hashes"] and all(re.fullmatch(r"sha256:[0-9a-f]{64}\s*", one) for one in pin["hashes"]), name


def test_continuous_integration_installs_from_the_lock() -> None:
    assert "make test LOCK=requirements.lock" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        text = path.read_text(encoding="utf-8")
        for command in re.findall(r"run: (make .+)", text):
            assert "LOCK=requirements.lock" in command, f"{path.name}: {command}"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "--require-hashes --requirement $(LOCK)" in makefile and "--no-deps --no-build-isolation" in makefile


def test_a_known_flaw_passes_for_a_while_and_for_a_reason() -> None:
    lines = (ROOT / ".github" / "known-flaws.txt").read_text(encoding="utf-8").splitlines()
    for line in lines:
        assert not line or line.startswith("#") or re.fullmatch(r"[A-Z]+-[\w-]+ \d{4}-\d\d-\d\d \w.{10,}", line), line
