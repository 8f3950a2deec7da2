"A page as pandoc's tree, and what is changed in it before it is written."

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pypandoc
from findable import top_level
from project import NBS, ROOT, SITE, Page
from symbols import read_symbols

Block = dict[str, Any]


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


def raw(html: str) -> Block:
    "HTML as it stands, as a block of the tree."
    return {"t": "RawBlock", "c": ["html", html]}


def said(inlines: list[Block]) -> str:
    "The text of a heading or link."
    words: list[str] = []

    def note(node: dict) -> dict:
        if node["t"] in ("Code", "Math"):
            words.append(node["c"][1])
        elif node["t"] in ("Str", "Space", "SoftBreak"):
            words.append(node.get("c", " "))
        return node

    walk(inlines, note)
    return "".join(words)


def to_tree(page: Page, media: Path | None = None) -> dict[str, Any]:
    "The page as pandoc's tree; pictures that it holds are written below the folder `media`."
    options = ["--ipynb-output=all", *([f"--extract-media={media.name}"] if media else [])]
    notebook, here = json.dumps(page.notebook), str(media.parent if media else ROOT)
    text = pypandoc.convert_text(notebook, "json", "ipynb", options, verify_format=False, cworkdir=here)
    tree = json.loads(text)
    tree["blocks"] = walk(walk(tree["blocks"], unwrapped), as_shown)
    settle(tree["blocks"])
    return tree


def tree_of(blocks: list[Block]) -> dict[str, Any]:
    "A tree of blocks."
    return json.loads(pypandoc.convert_text("", "json", "markdown")) | {"blocks": blocks}


# ---- boxes, pictures and headings ------------------------------------------------------------------------------------


def unwrapped(node: Block) -> Any:
    "What a Markdown cell says; a description of a function, which begins with a rule and a link, in a box."
    if node["t"] != "Div" or "markdown" not in node["c"][0][1]:
        return node
    blocks = node["c"][1]  # without their Div, for pandoc would lift the headings in it to the top of the contents
    if [block["t"] for block in blocks[:3]] != ["HorizontalRule", "Para", "Header"]:
        return blocks
    first, *methods = ([*of] for rule, of in groupby(blocks, lambda block: block["t"] == "HorizontalRule") if not rule)
    inside = [block for of in methods for block in (raw('<div class="member">'), *_box(of), raw("</div>"))]
    return [raw('<div class="symbol">'), *_box(first), *inside, raw("</div>")]


def _box(blocks: list[Block]) -> list[Block]:
    "Link to the source, name and description; the title of the link is the anchor."
    link, head, *rest = blocks
    link["c"] = link["c"][:1]  # what follows are attributes meant for Quarto
    level, (name, _, _), text = head["c"]
    head["c"] = [level, [link["c"][0]["c"][2][1] or name, ["symbol"], []], text]
    link["c"][0]["c"][2][1] = ""
    return [raw('<div class="source">'), link, raw("</div>"), head, *rest]


def as_shown(node: Block) -> Any:
    "A picture that a cell drew says so to those who cannot see it; code that is not shown leaves no empty box."
    if node["t"] == "Image" and not node["c"][1]:
        node["c"][1] = [{"t": "Str", "c": "Drawn by the code above"}]
    elif node["t"] == "CodeBlock" and not node["c"][1].strip():
        return []
    elif node["t"] in ("RawBlock", "RawInline") and node["c"][0] == "html":
        node["c"][1] = re.sub(r"<img(?![^>]*\balt=)", '<img alt="Drawn by the code above"', node["c"][1])
    return node


def settle(blocks: list[Block]) -> None:
    "No two headings with one anchor, where that of a function is sure to keep it; and no level of headings left out."
    heads = [block["c"] for block in blocks if block["t"] == "Header"]
    taken = {head[1][0] for head in heads if "symbol" in head[1][1]}
    section = 1
    for head in heads:
        name, classes, _ = head[1]
        if "symbol" in classes:
            head[0] = min(section, 2) + (1 if head[0] < 4 else 2)
            continue
        section = head[0]
        while head[1][0] in taken:
            head[1][0] += "-1"
        taken.add(head[1][0])


def headings(tree: dict[str, Any]) -> list[tuple[str, str]]:
    "Text and anchor of every heading but the names of functions."
    heads = (block["c"] for block in tree["blocks"] if block["t"] == "Header")
    return [(said(text), name) for _, (name, classes, _), text in heads if "symbol" not in classes]


# ---- links -----------------------------------------------------------------------------------------------------------


MADE = r"\[(?P<code>`[^`\n]+`)\]\(" + re.escape(SITE) + r"[^)\s]*\)"  # a link that nbdev made of a name in code
HELD = re.compile(r"\[((?:[^\[\]\n]|" + MADE.replace("?P<code>", "?:") + r")*)\]\(")  # the text of a link


def untangled(text: str) -> str:
    "Markdown in which nbdev made a link of a name in the text of a link, without the inner one."
    return HELD.sub(lambda found: f"[{re.sub(MADE, r'\g<code>', found[1])}](", text)


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


@cache
def imported(source: str) -> dict[str, str]:
    "The module of every name that a notebook imports from SONIC, in whichever cell."
    notebook = json.loads((NBS / source).read_text(encoding="utf-8"))
    code = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    found = {}
    for module, names in re.findall(r"^from (sonic\.[\w.]+) import (\([^)]*\)|.*)", code, re.MULTILINE):
        found |= {name: module for name in re.findall(r"\w+", re.sub(r"#.*| as \w+", "", names))}
    return found


def meant(name: str, page: Page, pages: dict[str, Page]) -> Page | None:
    """The page of the function that is called so; none if that cannot be known.

    A plain word such as `genre` is more often a column or a value than a function of some module far away.
    """
    of = [it for it in pages.values() if it.module and name in read_symbols(it.module)]
    first, known = name.split(".")[0], imported(page.source) if page.source else {}
    for kind in (
        lambda it: it is page,
        lambda it: known.get(first) == it.module,
        lambda it: (it.module, first) in top_level(),
        lambda it: len(of) == 1 and not re.fullmatch("[a-z]+", name),
    ):
        if found := [it for it in of if kind(it)]:
            return found[0] if len(found) == 1 else None
    return None


def linked(node: Block, page: Page, pages: dict[str, Page]) -> Any:
    """A link that nbdev made of a name in code, to the place of the function that is meant here.

    nbdev knows one place a name; where several modules have the name, or none in public, no link beats a wrong one.
    """
    if node["t"] != "Link" or [it["t"] for it in node["c"][1]] != ["Code"] or not node["c"][2][0].startswith(SITE):
        return node
    name = node["c"][1][0]["c"][1].removesuffix("()")
    if not (of := meant(name, page, pages)):
        return node["c"][1]
    node["c"][2][0] = f"{SITE}/{of.html}#{name}"
    return node


def exact(path: str, rest: str, pages: dict[str, Page]) -> str:
    "An anchor in the case that the function has: `#Table` for `#table`."
    page, wanted = pages.get(path.removeprefix("nbs/")), rest.removeprefix("#")
    names = read_symbols(page.module) if page and page.module and wanted else {}
    return rest if wanted in names else next((f"#{name}" for name in names if name.lower() == wanted), rest)


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
