"""What can be looked up: every public name, every page and heading, for the page of names and for the search box.

The search box is the reader's own browser at work (search.js): no server is asked, so it also works on a copy of the
site in a folder. Its data is a script, since a page that was opened from a folder may not fetch.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from functools import cache
from itertools import groupby

from menu import plain_html
from project import ROOT, Page
from symbols import read_symbols

KINDS = ("page", "command", "setting", "class", "function", "method", "heading")
SETTINGS = "sonic.config"  # whose page has the table of all settings


@dataclass(frozen=True)
class Name:
    "Something that a reader may look for by its name."

    name: str  # as it is written: `Table.where`, `mel.n_mels`, `sonic similar`
    kind: str
    line: str  # what it is, in one line of Markdown
    html: str  # its page, below _docs/
    anchor: str  # its place there
    where: str  # the module it is imported from; empty for commands and settings


@cache
def top_level() -> set[tuple[str, str]]:
    "Module and name of what `import sonic` gives by itself."
    tree = ast.parse((ROOT / "sonic" / "__init__.pyi").read_text(encoding="utf-8"))
    return {
        (f"sonic.{it.module}", alias.name) for it in tree.body if isinstance(it, ast.ImportFrom) for alias in it.names
    }


def settings() -> dict[str, str]:
    "What every setting does."
    from sonic.config import setting_rows

    return {row[0]: row[3] for row in setting_rows()}


def public_names(pages: list[Page]) -> list[Name]:
    "Every public name of the library, as people sort them."
    first, found = top_level(), []
    for page in pages:
        for it in read_symbols(page.module).values() if page.module else ():
            where = "sonic" if (page.module, it.name.split(".")[0]) in first else page.module
            where = "" if it.kind == "command" else where
            found.append(Name(it.shown, it.kind, it.line, page.html, it.name, where))
        if page.module == SETTINGS:
            found += [Name(key, "setting", line, page.html, key, "") for key, line in settings().items()]
    return sorted(found, key=lambda it: (it.name.lower(), it.name, it.where))


# ---- the page of names -----------------------------------------------------------------------------------------------


def names_page(section: str) -> Page:
    "The page that lists them; no notebook is behind it."
    lead = "Every public function, class, method, setting and command from A to Z, what it is, and where it stands."
    return Page("", "names.html", "Names", lead, section, {})


def names_html(names: list[Name]) -> list[tuple[str, str]]:
    "For every letter the HTML of its names."
    found = []
    for letter, of in groupby(names, key=lambda it: it.name[0].upper()):
        rows = [
            f'<dt><a href="{it.html}#{it.anchor}"><code>{plain_html(it.name)}</code></a> '
            f"<small>{it.kind}{f' of {it.where}' if it.where else ''}</small></dt>"
            f"<dd>{plain_html(it.line)}</dd>"
            for it in of
        ]
        found.append((letter, '<dl class="names">\n' + "\n".join(rows) + "\n</dl>"))
    return found


# ---- the data of the search box --------------------------------------------------------------------------------------


def search_data(pages: list[Page], names: list[Name], headings: dict[str, list[tuple[str, str]]]) -> str:
    "A script that defines what can be found: pages (address, title, lead, section), names and headings of them."
    at = {page.html: i for i, page in enumerate(pages)}
    own = {(it.html, it.anchor) for it in names}
    data = {
        "kinds": KINDS,
        "pages": [[page.html, page.title, page.lead, page.section] for page in pages],
        "names": [
            [
                it.name,
                KINDS.index(it.kind),
                it.line,
                at[it.html],
                it.anchor if it.anchor != it.name else "",
                int(it.where == "sonic"),  # what most people use
            ]
            for it in names
        ],
        "headings": [
            [text, at[html], anchor]
            for html, of in headings.items()
            for text, anchor in of
            if (html, anchor) not in own
        ],
    }
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"// made by tools/docs.py\nvar SEARCH_DATA = {text}\n"
