"""The documentation without Quarto, and README.md, both from the notebooks.

python tools/docs.py build         nbs/ -> _proc/ -> _docs/, then `check`
python tools/docs.py check         every link, picture and anchor of _docs/ leads somewhere
python tools/docs.py readme        nbs/index.ipynb -> README.md
python tools/docs.py check-readme  README.md is what `readme` would write, and its links lead somewhere

nbdev does its part first (`proc_nbs`: hidden cells go, signatures come in), then pandoc writes each page. Which pages
there are and in which order they read stands in _quarto.yml, which Quarto reads when it publishes the same notebooks.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import shutil
import sys
import tomllib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from html import escape
from html.parser import HTMLParser
from itertools import groupby, repeat
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pypandoc
import yaml
from nbdev.quarto import refresh_quarto_yml
from nbdev.serve import proc_nbs

ROOT = Path(__file__).resolve().parents[1]
NBS, PROC, DOCS, STYLE = ROOT / "nbs", ROOT / "_proc", ROOT / "_docs", ROOT / "tools" / "docs"
URLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
SITE, REPOSITORY = URLS["Documentation"].rstrip("/"), URLS["Repository"].rstrip("/") + "/blob/main"
WORKERS = min(4, os.cpu_count() or 1)
# of what a cell puts out in several forms, the first of these
RICHEST = ("text/markdown", "text/html", "image/svg+xml", "image/png", "image/jpeg", "text/plain")
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Page:
    "One notebook and the page that it becomes."

    source: str  # path below nbs/
    html: str  # path below _docs/
    title: str
    lead: str  # the line below the title
    section: str  # heading in the sidebar; empty at the top
    notebook: dict[str, Any]  # as nbdev processed it, without its first cell


# ---- which pages there are -------------------------------------------------------------------------------------------


def reading_order() -> list[tuple[str, str]]:
    "Section and notebook of every page, as the sidebar of _quarto.yml lists them."
    contents = yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))["website"]["sidebar"]["contents"]
    listed = []
    for entry in contents:
        section, globs = (entry["section"], entry["contents"]) if isinstance(entry, dict) else ("", entry)
        for glob in [globs] if isinstance(globs, str) else globs:
            listed += [(section, path.relative_to(NBS).as_posix()) for path in sorted(NBS.glob(glob))]
    there = {
        path.relative_to(NBS).as_posix() for path in NBS.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts
    }
    if missing := there - {source for _, source in listed}:
        sys.exit(f"the sidebar of _quarto.yml lacks {', '.join(sorted(missing))}")
    return listed


def read_page(section: str, source: str, html: bool) -> Page:
    "A processed notebook; its first cell holds what nbdev knows of it."
    notebook = json.loads((PROC / source).read_text(encoding="utf-8"))
    front, *cells = notebook["cells"]
    facts = yaml.safe_load("".join(front["source"]).strip().strip("-"))
    address = posixpath.join(posixpath.dirname(source), facts["output-file"])
    notebook["cells"] = in_order([ready for cell in cells for ready in ready_for_pandoc(cell, html)])
    return Page(source, address, facts["title"], facts.get("description", ""), section, notebook)


def ready_for_pandoc(cell: dict[str, Any], html: bool) -> list[dict[str, Any]]:
    "A cell as pandoc shows it best: one form of each output, Markdown as Markdown, no terminal colours, no directives."
    if cell["cell_type"] != "code":
        return [cell | {"metadata": {}}]
    source = "".join(cell["source"])
    told = re.findall(r"^#\|\s*(.+?)\s*$", source, re.MULTILINE)
    kept, written = [], []
    for output in [] if "output: false" in told else cell["outputs"]:
        forms = output.get("data", {})
        best = next((form for form in RICHEST if form in forms and (html or form != "text/html")), None)
        if best == "text/markdown":
            written.append({"cell_type": "markdown", "id": cell["id"], "metadata": {}, "source": forms[best]})
        elif best:
            kept.append({"output_type": "display_data", "metadata": {}, "data": {best: forms[best]}})
        elif "text" in output:
            kept.append(output | {"text": COLOURS.sub("", "".join(output["text"]))})
    shown = "" if "echo: false" in told else re.sub(r"^#\|.*\n?", "", source, flags=re.MULTILINE)
    code = cell | {"metadata": {}, "execution_count": 1, "source": shown, "outputs": kept}  # pandoc takes no null
    return ([code] if shown or kept else []) + written


def in_order(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    "The cells, where nbdev describes several functions one after the other in the order that the module defines them."

    def line(cell: dict[str, Any]) -> int:
        found = re.match(r"---\s+\[source\]\(\S+#L(\d+)\)", "".join(cell["source"]))
        return int(found[1]) if found else 0

    runs = groupby(cells, key=lambda cell: line(cell) > 0)
    return [cell for described, run in runs for cell in (sorted(run, key=line) if described else run)]


def process(html: bool) -> list[Page]:
    "All pages in reading order, freshly processed where their notebook has changed."
    os.chdir(ROOT)
    order = reading_order()
    refresh_quarto_yml()
    try:
        proc_nbs(n_workers=WORKERS)
    except Exception as error:  # whatever a cell raised; its worker's traceback is about nbdev
        sys.exit(f"docs: {error}")
    return [read_page(section, source, html) for section, source in order]


# ---- pandoc's tree ---------------------------------------------------------------------------------------------------


def walk(node: Any, change: Callable[[dict], Any]) -> Any:
    "The tree with every element replaced by what `change` says: an element, or a list to stand in its place."
    if isinstance(node, dict):
        return {key: walk(value, change) for key, value in node.items()}
    if not isinstance(node, list):
        return node
    changed = []
    for child in (walk(child, change) for child in node):
        new = change(child) if isinstance(child, dict) and "t" in child else child
        changed += new if isinstance(new, list) and isinstance(child, dict) else [new]
    return changed


def raw(html: str) -> dict[str, Any]:
    "HTML as it stands, as a block of the tree."
    return {"t": "RawBlock", "c": ["html", html]}


def unwrapped(node: dict) -> Any:
    "What a Markdown cell says; a description of a function, which nbdev begins with a rule and a link, in a box."
    if node["t"] != "Div" or "markdown" not in node["c"][0][1]:
        return node
    blocks = node["c"][1]  # without their Div, for pandoc would lift the headings in it to the top of the contents
    if [block["t"] for block in blocks[:3]] != ["HorizontalRule", "Para", "Header"]:
        return blocks
    link, *rest = blocks[1:]
    link["c"] = link["c"][:1]  # what follows are attributes meant for Quarto
    return [raw('<div class="symbol"><div class="source">'), link, raw("</div>"), *rest, raw("</div>")]


def described(node: dict) -> dict:
    "A picture that a cell drew says so to those who cannot see it."
    if node["t"] == "Image" and not node["c"][1]:
        node["c"][1] = [{"t": "Str", "c": "Drawn by the code above"}]
    return node


def to_tree(page: Page, media: Path | None = None) -> dict[str, Any]:
    "The page as pandoc's tree; pictures that it holds are written below the folder `media`."
    options = ["--ipynb-output=all", *([f"--extract-media={media.name}"] if media else [])]
    notebook, here = json.dumps(page.notebook), str(media.parent if media else ROOT)
    text = pypandoc.convert_text(notebook, "json", "ipynb", options, verify_format=False, cworkdir=here)
    tree = json.loads(text)
    tree["blocks"] = walk(walk(tree["blocks"], unwrapped), described)
    return tree


def target(url: str, page: Page, pages: dict[str, Page]) -> tuple[str, str]:
    "What a link means: a path from the root of the repository and the rest; the path is empty if the link leads away."
    if url.startswith(SITE):
        path, _, anchor = url.removeprefix(SITE).strip("/").partition("#")
        source = next((page.source for page in pages.values() if page.html == (path or "index.html")), path)
        return f"nbs/{source}", f"#{anchor}" if anchor else ""
    parts = urlsplit(url)
    if parts.scheme or parts.netloc or not parts.path:
        return "", url
    path = posixpath.normpath(posixpath.join("nbs", posixpath.dirname(page.source), unquote(parts.path)))
    return path, f"#{parts.fragment}" if parts.fragment else ""


def relink(tree: dict[str, Any], place: Callable[[str], str]) -> None:
    "Every address in links, pictures and raw HTML goes through `place`."

    def change(node: dict) -> dict:
        if node["t"] in ("Link", "Image"):
            node["c"][2][0] = place(node["c"][2][0])
        elif node["t"] in ("RawInline", "RawBlock") and node["c"][0] == "html":
            node["c"][1] = re.sub(
                r'\b(href|src|srcset)="([^"]+)"', lambda found: f'{found[1]}="{place(found[2])}"', node["c"][1]
            )
        return node

    tree["blocks"] = walk(tree["blocks"], change)


# ---- the site --------------------------------------------------------------------------------------------------------


def sidebar(pages: list[Page], here: Page) -> str:
    "The list of all pages, as seen from one of them."
    lines, section = ["<ul>"], ""
    for page in pages:
        if page.section != section:
            section = page.section
            lines.append(f"</ul>\n<h2>{escape(section)}</h2>\n<ul>")
        current = ' aria-current="page"' if page is here else ""
        lines.append(f'<li><a href="{relative(page.html, here)}"{current}>{escape(page.title)}</a></li>')
    return "\n".join([*lines, "</ul>"])


def relative(path: str, here: Page) -> str:
    "The way to a file of the site from one of its pages."
    return posixpath.relpath(path, posixpath.dirname(here.html) or ".")


def write_page(here: Page, pages: list[Page]) -> None:
    "One page of the site, with the pictures of its notebook in a folder beside it."
    by_source = {page.source: page for page in pages}
    out = DOCS / here.html
    tree = to_tree(here, out.parent / f"{out.stem}_files")
    drawn = f"{out.stem}_files/"

    def place(url: str) -> str:
        path, rest = ("", url) if url.startswith(drawn) else target(url, here, by_source)
        if not path:
            return rest
        inside = path.removeprefix("nbs/")
        if inside == path:  # of the repository, but no part of the site
            return f"{REPOSITORY}/{path}{rest}"
        return relative(by_source[inside].html if inside in by_source else inside, here) + rest

    relink(tree, place)
    at = pages.index(here)
    values = {
        "root": relative(".", here) + "/",
        "lead": re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(here.lead)),
        "summary": escape(here.lead.replace("`", "")),
        "sidebar": sidebar(pages, here),
        "notebook": f"{REPOSITORY}/nbs/{here.source}",
        "source": f"nbs/{here.source}",
    }
    for name, i in (("previous", at - 1), ("next", at + 1)):
        if 0 <= i < len(pages):
            values |= {name: relative(pages[i].html, here), f"{name}title": escape(pages[i].title)}
    options = [f"--variable={name}={value}" for name, value in values.items()]
    options += [f"--metadata=title={here.title}", f"--template={STYLE / 'page.html'}", "--standalone"]
    options += ["--toc", "--toc-depth=3", "--mathml", "--wrap=none"]
    html = pypandoc.convert_text(json.dumps(tree), "html5", "json", options, verify_format=False)
    out.write_text(html, encoding="utf-8")


def build() -> int:
    "The whole site, anew."
    pages = process(html=True)
    shutil.rmtree(DOCS, ignore_errors=True)
    # what the notebooks lie beside (pictures, sounds) goes along
    shutil.copytree(PROC, DOCS, ignore=shutil.ignore_patterns("*.ipynb", "*.yml", ".*"))
    shutil.copy(STYLE / "style.css", DOCS)
    with ProcessPoolExecutor(WORKERS) as pool:  # no threads: pypandoc changes the working folder for pictures
        list(pool.map(write_page, pages, repeat(pages)))
    return check()


# ---- links -----------------------------------------------------------------------------------------------------------


class Anchors(HTMLParser):
    "The addresses that a page names, and the places in it that others may name."

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src", "poster") and value:
                self.links.append(value)
            elif name == "id" and value:
                self.ids.add(value)


def broken_links(folder: Path) -> list[str]:
    "One line for every link within the site that leads nowhere."
    read = {path: Anchors(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    broken = []
    for path, anchors in read.items():
        for url in dict.fromkeys(anchors.links):
            parts = urlsplit(url)
            if (parts.scheme or parts.netloc) and not url.startswith(SITE):
                continue
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            lost = parts.fragment and to in read and unquote(parts.fragment) not in read[to].ids
            if url.startswith(SITE) or not to.is_file() or lost:
                broken.append(f"{path.relative_to(folder)}: {url} leads nowhere")
    return broken


def check() -> int:
    "Say how many pages there are and which links are broken."
    broken = broken_links(DOCS)
    print(*broken, sep="\n", end="\n" if broken else "")
    print(f"{len(list(DOCS.rglob('*.html')))} pages in {DOCS.name}/, {len(broken)} broken links")
    return 1 if broken else 0


# ---- README.md -------------------------------------------------------------------------------------------------------


def plain(node: dict) -> Any:
    "A block as GitHub shows it best: no wrappers, output as text that is named so."
    if node["t"] == "Div":
        return node["c"][1]
    if node["t"] == "CodeBlock" and not node["c"][0][1]:
        node["c"][0][1] = ["text"]
    elif node["t"] == "CodeBlock":
        node["c"][0] = ["", node["c"][0][1], []]
    return node


def readme_text() -> tuple[str, list[str]]:
    "README.md as nbs/index.ipynb has it, and one line for every link of it that leads nowhere."
    pages = {page.source: page for page in process(html=False)}
    index = pages["index.ipynb"]
    tree = to_tree(index)
    broken: list[str] = []

    def place(url: str) -> str:
        path, rest = target(url, index, pages)
        if path and not (ROOT / path).exists():
            broken.append(f"README.md: {url} leads nowhere (pictures of the index belong into nbs/images/)")
        # GitHub draws notebooks without anchors
        return (path + ("" if path.endswith(".ipynb") else rest)) if path else rest

    tree["blocks"] = walk(tree["blocks"], plain)
    relink(tree, place)
    body = pypandoc.convert_text(json.dumps(tree), "gfm", "json", ["--wrap=none"], verify_format=False)
    body = re.sub(r"<!-- WARNING: THIS FILE WAS AUTOGENERATED.*?-->\s*", "", body)
    head = "<!-- Made from nbs/index.ipynb by `make readme`: edit the notebook. -->\n\n"
    return f"{head}# {index.title}\n\n{index.lead}\n\n" + body.replace("\r", ""), broken


def readme() -> int:
    "Write README.md."
    text, broken = readme_text()
    (ROOT / "README.md").write_text(text, encoding="utf-8")
    print(*broken, f"README.md: {len(text.splitlines())} lines", sep="\n")
    return 1 if broken else 0


def check_readme() -> int:
    "Say whether README.md is up to date."
    text, broken = readme_text()
    if (ROOT / "README.md").read_text(encoding="utf-8") != text:
        broken.append("README.md is not what nbs/index.ipynb says: run `make readme`")
    print(*broken or ["README.md is up to date"], sep="\n")
    return 1 if broken else 0


if __name__ == "__main__":  # nbdev's workers import this file
    verbs = {"build": build, "check": check, "readme": readme, "check-readme": check_readme}
    if len(sys.argv) != 2 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    sys.exit(verbs[sys.argv[1]]())
