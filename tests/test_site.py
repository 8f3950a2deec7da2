"The documentation is found, read and looked up, also on a phone and from a folder."

import json
import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STYLE = ROOT / "tools" / "docs"


def modules():
    "What docs.py is made of; to be called after it was loaded."
    import checks
    import findable
    import menu
    import symbols
    import tree

    return checks, findable, menu, symbols, tree


def cell(text, kind="markdown", **more):
    return {"cell_type": kind, "id": f"c{abs(hash(text)) % 10**8}", "metadata": {}, "source": text} | more


def told(docs, module):
    "What nbdev would say of the functions and classes of a module, in its own words."
    _, _, _, symbols, _ = modules()
    return [
        cell(
            f'---\n\n[source](https://x.org/sonic/elsewhere.py#L9){{target="_blank"}}\n\n### {it.name}\n\n'
            f"```python\ndef {it.name}(\n    nbdev:says\n)->so:\n```\n\n*{it.line}*"
        )
        for it in symbols.read_symbols(module).values()
        if it.kind != "method"
    ]


@pytest.fixture(scope="module")
def site(docs, tmp_path_factory):
    "A site of a few pages, with all that could be wider than a phone."
    from sonic.config import setting_rows

    folder = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "nbs" / "images" / "pictures.png", folder / "wide.png")
    rows = "\n".join(f"| `{name}` | {value} | {what} | {line} |" for name, value, what, line in setting_rows())
    wide = "| " + " | ".join(f"column{i}" for i in range(20)) + " |\n" + "|---" * 20 + "|\n" + "| 12345 " * 20 + "|"
    long = "x = " + " + ".join(f"a_long_name_{i}" for i in range(60))
    texts = {
        "index.ipynb": [
            cell("![A wide picture](wide.png)"),
            cell("## Two commands\n\n```sh\nmake demo\n```"),
            cell(f"`{'a' * 300}`"),
        ],
        "tutorials/01_first_track.ipynb": [cell(wide), cell(long, "code", outputs=[], execution_count=1)],
        "cream/03_mel.ipynb": [
            cell("## The scale\n\n$$" + " + ".join(f"x_{{{i}}}" for i in range(60)) + "$$"),
            *told(docs, "sonic.cream.mel"),
        ],
        "02_config.ipynb": [
            cell("## About\n\nSee " + f"[`MelSettings`]({docs.SITE}/sections.html#melsettings)."),
            *told(docs, "sonic.config"),
            cell(f"| setting | default | allowed | what |\n|---|---|---|---|\n{rows}"),
        ],
    }
    said = {"index.ipynb": "SONIC", "tutorials/01_first_track.ipynb": "Your first track", "cream/03_mel.ipynb": "Mel"}
    pages = []
    for source, cells in texts.items():
        html = re.sub(r"\d+_", "", source).replace(".ipynb", ".html")
        section = {"tutorials": "Tutorials", "cream": "CREAM"}.get(source.split("/")[0], "")
        page = docs.Page(source, html, said.get(source, "Configuration"), "One `line`.", section, {})
        notebook = {"cells": docs.in_order(cells, page.module), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        pages.append(docs.Page(source, html, page.title, page.lead, section, notebook))
    docs.write_site(pages, folder)
    return folder


# ---- what is said of a function --------------------------------------------------------------------------------------

SOURCE = """
__all__ = ["draw", "Pen"]

def draw(
    what: str,  # what to draw
    *,
    wide: float = 1.0,  # mm  # noqa: B006
) -> bytes:  # PNG
    "Draw something."
    return b""

def _hidden() -> None:
    "Nobody's business."

class Pen(Tool):
    "To draw with."

    colour: str  # by name
    _ink = 3

    def __init__(self, colour: str) -> None:
        self.colour = colour

    @property
    def left(self) -> float:  # ml
        "Ink that is left."
        return 1.0

    def line(self) -> None: ...

    def fill(
        self,
        amount: float,  # ml
    ) -> None:
        "Fill it."

    def _leak(self) -> None:
        "Alas."
"""


@pytest.fixture
def planted(docs, tmp_path, monkeypatch):
    _, _, _, symbols, _ = modules()
    (tmp_path / "sonic").mkdir()
    (tmp_path / "sonic" / "planted_for_site.py").write_text(SOURCE)
    monkeypatch.setattr(symbols, "ROOT", tmp_path)
    yield symbols.read_symbols("sonic.planted_for_site")
    symbols.read_symbols.cache_clear()


def test_signatures_are_those_of_the_source(planted):
    assert [*planted] == ["draw", "Pen", "Pen.left", "Pen.fill"]
    assert planted["draw"].signature == (
        "def draw(\n    what: str,  # what to draw\n    *,\n    wide: float = 1.0,  # mm\n) -> bytes:  # PNG"
    )
    assert planted["Pen"].signature == (
        "class Pen(Tool):\n    colour: str  # by name\n\n    def __init__(self, colour: str) -> None:"
    )
    assert planted["Pen.left"].signature == "@property\ndef left(self) -> float:  # ml"
    assert (planted["Pen.fill"].kind, planted["Pen.fill"].line, planted["Pen"].line) == (
        "method",
        "Fill it.",
        "To draw with.",
    )


def test_a_description_gets_signature_methods_and_the_right_source(docs, planted):
    _, _, _, symbols, _ = modules()
    code = "```python\ndef Pen(\n    x\n)\n```"
    nbdev = f"---\n\n[source](https://x.org/other.py#L7){{a=b}}\n\n### Pen\n\n{code}\n\n*Said.*\n\nMore."
    text, line = symbols.described(nbdev, "sonic.planted_for_site")
    assert line == planted["Pen"].at
    assert "colour: str  # by name" in text and "def Pen(" not in text and "*Said.*\n\nMore." in text
    assert f'/sonic/planted_for_site.py#L{line} "Pen")' in text and "other.py" not in text
    assert text.count("#### Pen.") == 2
    assert symbols.described("Just words.", "sonic.planted_for_site") == ("Just words.", 0)
    assert symbols.described(nbdev, "") == (nbdev, 0)


def test_commands_say_how_they_are_written(docs):
    _, _, _, symbols, _ = modules()
    similar = symbols.read_symbols("sonic.cli.similar")["similar"]
    assert (similar.kind, similar.shown) == ("command", "sonic similar")
    assert similar.signature.startswith("```sh\nsonic similar [OPTIONS] TABLE TRACK...\n```")
    assert "| `--count, -k N` |" in similar.signature and "Default: `10`" in similar.signature
    assert {"sonic tune run", "sonic weights fetch", "sonic render"} <= {
        name for name, _ in symbols.commands().values()
    }


def test_every_public_name_can_be_looked_up(docs):
    "Each function, class, command and setting; those of `sonic` itself are marked."
    from sonic.config import setting_names

    _, findable, _, symbols, _ = modules()
    pages = []
    for path in sorted((ROOT / "sonic").rglob("*.py")):
        if path.stem not in ("__init__", "_modidx"):
            html = path.relative_to(ROOT / "sonic").with_suffix(".html").as_posix()
            pages.append(docs.Page("x.ipynb", html, "", "", "", {}))
    names = findable.public_names(pages)
    found = {it.name for it in names}
    assert set(setting_names()) <= found
    assert {name for name, _ in symbols.commands().values()} <= found
    assert {"Table.where", "SonicError", "hz_to_mel"} <= found
    at = {page.html: page.module for page in pages}
    assert findable.top_level() <= {(at[it.html], it.name) for it in names if it.where == "sonic"}
    assert not [it.name for it in names if not it.line], "each has its one line"


# ---- links and headings ----------------------------------------------------------------------------------------------


def test_a_name_in_code_leads_to_what_is_meant_here(docs):
    "`report` is a function of several modules: the one that is imported, or none."
    *_, tree = modules()
    of = {"genres": "tails/18_genres", "tune": "shadow/12_tune", "mel": "cream/03_mel", "table": "tails/01_table"}
    pages = {
        f"{source}.ipynb": docs.Page(f"{source}.ipynb", f"{source.split('/')[0]}/{name}.html", "", "", "", {})
        for name, source in of.items()
    }
    page = pages["cream/03_mel.ipynb"]

    def link(name):
        node = {
            "t": "Link",
            "c": [["", [], []], [{"t": "Code", "c": [["", [], []], name]}], [f"{docs.SITE}/wrong.html#x", ""]],
        }
        found = tree.linked(node, page, pages)
        return found["c"][2][0].removeprefix(docs.SITE) if isinstance(found, dict) else None

    assert link("hz_to_mel") == "/cream/mel.html#hz_to_mel"
    assert link("Table.where") == "/tails/table.html#Table.where"
    assert link("report") is None and link("nobody") is None
    tree.imported.cache_clear()
    known = tree.imported("shadow/12_tune.ipynb")
    assert all(module.startswith("sonic.") for module in known.values()) and known["Config"] == "sonic.config"
    assert tree.exact("nbs/tails/01_table.ipynb", "#table", pages) == "#Table"
    assert tree.exact("nbs/tails/01_table.ipynb", "#on-disk", pages) == "#on-disk"


def test_a_link_in_a_link_is_untangled(docs):
    "nbdev makes links of names in code, also where an author made one."
    *_, tree = modules()
    made = f"[`Looker`]({docs.SITE}/tails/looker.html#looker)"
    assert tree.untangled(f"A [{made}](../tails/x.ipynb).") == "A [`Looker`](../tails/x.ipynb)."
    assert tree.untangled(f"[the {made} of {made}](x) and {made}") == f"[the `Looker` of `Looker`](x) and {made}"
    for text in (f"See {made}, [more](y).", "| [a](b) | `x[1]` | [`c`](d) |", "no [link] (here)"):
        assert tree.untangled(text) == text


def test_headings_have_one_anchor_each_and_leave_no_level_out(docs):
    *_, tree = modules()

    def head(level, name, *classes):
        return {"t": "Header", "c": [level, [name, [*classes], []], []]}

    blocks = [
        head(3, "first", "symbol"),
        head(2, "similar"),
        head(3, "similar", "symbol"),
        head(4, "x", "symbol"),
        head(2, "similar"),
    ]
    tree.settle(blocks)
    assert [(it["c"][0], it["c"][1][0]) for it in blocks] == [
        (2, "first"),
        (2, "similar-1"),
        (3, "similar"),
        (4, "x"),
        (2, "similar-1-1"),
    ]


# ---- the way from page to page ---------------------------------------------------------------------------------------


def test_newcomers_find_the_tutorials_first(docs):
    sections = list(dict.fromkeys(section for section, _ in docs.reading_order()))
    assert sections[:3] == ["", "Tutorials", docs.BUILT]
    gallery = [source for _, source in docs.reading_order() if "gallery" in source]
    assert len(gallery) == 2


def test_the_list_is_folded_but_for_where_the_reader_is(docs):
    _, _, menu, _, _ = modules()
    pages = [
        docs.Page(source, html, title, "", section, {})
        for source, html, title, section in [
            ("index.ipynb", "index.html", "SONIC", ""),
            ("tutorials/a.ipynb", "tutorials/a.html", "A", "Tutorials"),
            ("cream/b.ipynb", "cream/b.html", "B <b>", "CREAM"),
        ]
    ]
    for page, opened in zip(pages, ("Tutorials", "Tutorials", "CREAM"), strict=True):
        text = menu.side_bar(pages, page)
        assert re.findall(r"<details open>\n<summary>(\w+)", text) == [opened]
        assert text.count("<a ") == 3 and text.count('aria-current="page"') == 1
    assert 'href="../tutorials/a.html"' in text and "B &lt;b&gt;" in text
    assert menu.top_bar(pages, pages[0]).count("<a ") == 1  # no link to what is not there


# ---- the site --------------------------------------------------------------------------------------------------------


def test_a_site_without_faults(docs, site):
    checks, *_ = modules()
    assert checks.all_faults(site) == []
    names = (site / "names.html").read_text()
    assert 'href="cream/mel.html#hz_to_mel"' in names and 'href="config.html#mel.n_mels"' in names
    mel = (site / "cream" / "mel.html").read_text()
    assert 'id="hz_to_mel"' in mel and "nbdev:says" not in mel and "elsewhere.py" not in mel
    assert not re.search(r'(src|href)="https?://(?!github\.com|x\.org)', mel), "nothing is fetched from elsewhere"


def test_faults_are_found(docs, site, tmp_path):
    checks, *_ = modules()
    broken = tmp_path / "site"
    shutil.copytree(site, broken)
    text = (broken / "names.html").read_text()
    (broken / "lost.html").write_text("<p id='a'>x</p><p id='a'>a ](b)</p><code>c](d)</code>")
    (broken / "names.html").write_text(text + "<!--" + "x" * checks.HEAVIEST + "-->")
    data = (broken / "search-data.js").read_text()
    (broken / "search-data.js").write_text(data.replace('"hz_to_mel"', '"hz_to_nowhere"'))
    assert [line.split(":")[0] for line in checks.all_faults(broken)] == [
        "lost.html",
        "lost.html",
        "lost.html",
        "names.html",
        "search-data.js",
    ]
    (broken / "search-data.js").unlink()
    assert "search-data.js: 0 bytes" in checks.heavy_pages(broken)


def test_the_data_of_the_search_is_a_script(site):
    text = (site / "search-data.js").read_text()
    data = json.loads(text[text.index("{") :])
    assert text.splitlines()[1].startswith("var SEARCH_DATA = {")
    assert [data["pages"][0][0], len(data["pages"])] == ["index.html", 5]
    assert any(name == "mel.n_mels" for name, *_ in data["names"])
    mel = [page[1] for page in data["pages"]].index("Mel")
    assert ["The scale", mel, "the-scale"] in data["headings"]
    assert all(anchor not in ("hz_to_mel", "Config") for _, _, anchor in data["headings"]), "each is found once"


@pytest.mark.parametrize("name", ["search.js", "page.js", "style.css", "page.html"])
def test_what_a_page_loads_is_plain_and_its_own(name):
    text = (STYLE / name).read_text(encoding="utf-8")
    assert not re.search(r"https?:|//cdn|@import|\bfetch\(|\bimport\b|sourceMappingURL", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|localStorage", text)
    assert name == "style.css" or max(map(len, text.splitlines())) <= 120


# ---- in a browser ----------------------------------------------------------------------------------------------------


def test_a_phone_reads_and_searches_a_copy_in_a_folder(browser, site):
    "Nothing is wider than the screen; `/`, a word and Enter open the page; no request leaves the folder."
    page = browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True)
    errors, asked = [], []
    page.on("pageerror", lambda it: errors.append(str(it)))
    page.on("console", lambda it: errors.append(it.text) if it.type == "error" else None)
    page.on("request", lambda it: asked.append(it.url))
    for path in sorted(site.rglob("*.html")):
        page.goto(path.as_uri())
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 390, path
        assert page.evaluate("[...document.images].every(it => it.naturalWidth && it.alt)"), path
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("/")
    page.keyboard.type("mel")
    page.wait_for_selector("#site-hits [role=option]")
    shown = page.evaluate(
        """() => {
            const box = document.querySelector("#site-search"), list = document.querySelector("#site-hits")
            const {left, right} = list.getBoundingClientRect()
            return [box.ariaExpanded, box.getAttribute("aria-activedescendant"), left >= 0 && right <= 390]
        }"""
    )
    assert shown == ["true", "site-hit-0", True]
    page.keyboard.press("ArrowDown")
    assert page.locator("#site-hits [aria-selected=true]").get_attribute("id") == "site-hit-1"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_url("**/cream/mel.html")
    page.keyboard.press("/")
    page.keyboard.type("mel.n_mels")
    page.wait_for_selector("#site-hits [role=option]")
    page.keyboard.press("Escape")
    assert page.locator("#site-hits").is_hidden()
    page.keyboard.press("Enter")
    page.wait_for_url("**/config.html#mel.n_mels")
    page.click("header button")  # all pages, folded but for the section
    assert page.locator("#site-pages").is_visible()
    assert not errors and all(url.startswith(("file:", "data:")) for url in asked)


def test_code_is_copied(browser, site):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto((site / "index.html").as_uri())
    page.hover("main div.sourceCode")
    page.click(".copy")
    page.wait_for_selector(".copy:has-text('Copied')")
    assert page.evaluate("navigator.clipboard.readText()").strip() == "make demo"
    assert not page.locator("header button").is_visible()
