"What a reader would stumble over: links and anchors that lead nowhere, pages that are lost, heavy or listed twice."

from __future__ import annotations

import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from project import SITE

HEAVIEST = 1_500_000  # bytes of a page without its pictures
SEARCH = "search-data.js"
LARGEST = 400_000  # bytes of what the search box loads


class Anchors(HTMLParser):
    "The addresses that a page names, the places in it that others may name, and links that Markdown left as text."

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.listed: list[str] = []  # links of the list of all pages
        self.ids: list[str] = []
        self.torn: list[str] = []
        self._code = 0  # elements of code around the text
        self._listing = self._on_top = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self._code += tag in ("code", "pre")
        self._listing |= tag == "nav" and found.get("id") == "site-pages"
        self._on_top |= tag == "ul" and found.get("class") == "top"  # the main pages once more, for a narrow screen
        for name, value in attrs:
            if name in ("href", "src", "poster") and value:
                self.links.append(value)
                if self._listing and not self._on_top:
                    self.listed.append(value)
            elif name == "id" and value:
                self.ids.append(value)

    def handle_data(self, data: str) -> None:
        if "](" in data and not self._code:
            self.torn.append(" ".join(data.split())[:60])

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag in ("code", "pre")
        self._listing &= tag != "nav"
        self._on_top &= tag != "ul"


def read(folder: Path) -> dict[Path, Anchors]:
    "Every page of a site."
    return {path: Anchors(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}


def broken_links(folder: Path) -> list[str]:
    "One line for every link within the site that leads nowhere."
    pages, broken = read(folder), []
    ids = {path: set(anchors.ids) for path, anchors in pages.items()}
    for path, anchors in pages.items():
        for url in dict.fromkeys(anchors.links):
            parts = urlsplit(url)
            if (parts.scheme or parts.netloc) and not url.startswith(SITE):
                continue
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            lost = parts.fragment and to in pages and unquote(parts.fragment) not in ids[to]
            if url.startswith(SITE) or not to.is_file() or lost:
                broken.append(f"{path.relative_to(folder)}: {url} leads nowhere")
    return broken


def torn_links(folder: Path) -> list[str]:
    "One line for every link that is shown as it was typed."
    return [
        f"{path.relative_to(folder)}: {text} is no link" for path, page in read(folder).items() for text in page.torn
    ]


def lost_pages(folder: Path) -> list[str]:
    "One line for every page that the list of all pages on the start page does not have exactly once."
    pages = read(folder)
    listed = Counter((folder / unquote(url)).resolve() for url in pages[folder / "index.html"].listed)
    return [
        f"{path.relative_to(folder)}: listed {listed[path.resolve()]} times at the side"
        for path in pages
        if listed[path.resolve()] != 1
    ]


def double_ids(folder: Path) -> list[str]:
    "One line for every anchor that stands twice on a page, so that a link to the second arrives at the first."
    return [
        f"{path.relative_to(folder)}: two places are called #{name}"
        for path, anchors in read(folder).items()
        for name, times in Counter(anchors.ids).items()
        if times > 1
    ]


def heavy_pages(folder: Path) -> list[str]:
    "One line for every page that is slow to load for its text alone, and one for the data of the search box."
    heavy = []
    for path in sorted(folder.rglob("*.html")):
        size = len(re.sub(r'"data:[^"]*"', '""', path.read_text(encoding="utf-8")).encode())
        if size > HEAVIEST:
            heavy.append(f"{path.relative_to(folder)}: {size} bytes without pictures")
    size = (folder / SEARCH).stat().st_size if (folder / SEARCH).is_file() else 0
    return heavy + ([f"{SEARCH}: {size} bytes"] if not 0 < size <= LARGEST else [])


def unfound(folder: Path) -> list[str]:
    "One line for everything that the search box finds and whose place is not there."
    there = {path.relative_to(folder).as_posix(): set(anchors.ids) for path, anchors in read(folder).items()}
    text = (folder / SEARCH).read_text(encoding="utf-8") if (folder / SEARCH).is_file() else '{"pages":[]}'
    data = json.loads(text[text.index("{") :])
    pages = [page[0] for page in data["pages"]]
    places = [(pages[at], anchor or name) for name, _, _, at, anchor, _ in data.get("names", ())]
    places += [(pages[at], anchor) for _, at, anchor in data.get("headings", ())]
    lost = [page for page in pages if page not in there]
    lost += [f"{page}#{anchor}" for page, anchor in places if anchor not in there.get(page, ())]
    return [f"{SEARCH}: {place} is not there" for place in lost]


def all_faults(folder: Path) -> list[str]:
    "One line for each."
    checks = (broken_links, torn_links, lost_pages, double_ids, heavy_pages, unfound)
    return [line for check in checks for line in check(folder)]
