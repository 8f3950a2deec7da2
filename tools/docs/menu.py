"How a reader gets from page to page: the bar at the top, and all pages at the side."

from __future__ import annotations

import re
from html import escape
from itertools import groupby
from typing import Any

import yaml
from project import NBS, ROOT, Page, relative


def _website() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))["website"]


def reading_order() -> list[tuple[str, str]]:
    "Section and notebook of every page, as the sidebar of _quarto.yml lists them."
    listed = []
    for entry in _website()["sidebar"]["contents"]:
        section, globs = (entry["section"], entry["contents"]) if isinstance(entry, dict) else ("", entry)
        for glob in [globs] if isinstance(globs, str) else globs:
            listed += [(section, path.relative_to(NBS).as_posix()) for path in sorted(NBS.glob(glob))]
    return listed


def top_bar(pages: list[Page], here: Page) -> str:
    "The few pages that everybody looks for, as the navbar of _quarto.yml lists them, those of them that are there."
    by_source = {page.source: page for page in pages}
    wanted = [(entry["text"], by_source.get(entry["href"])) for entry in _website()["navbar"]["left"]]
    wanted += [("Names", next((page for page in pages if not page.source), None))]  # a page that Quarto does not make
    return "\n".join(f"<li>{_link(text, page, here)}</li>" for text, page in wanted if page)


def side_bar(pages: list[Page], here: Page) -> str:
    "All pages; a section is folded unless the page is in it, and the first is open where there is none."
    lines = []
    folded = [section for section, _ in groupby(pages, key=lambda page: page.section) if section]
    for section, of in groupby(pages, key=lambda page: page.section):
        items = "\n".join(f"<li>{_link(page.title, page, here)}</li>" for page in of)
        if not section:
            lines.append(f"<ul>\n{items}\n</ul>")
            continue
        shown = " open" if section == (here.section or folded[0]) else ""
        lines.append(f"<details{shown}>\n<summary>{escape(section)}</summary>\n<ul>\n{items}\n</ul>\n</details>")
    return "\n".join(lines)


def _link(text: str, page: Page, here: Page) -> str:
    current = ' aria-current="page"' if page is here else ""
    return f'<a href="{relative(page.html, here)}"{current}>{plain_html(text)}</a>'


def plain_html(text: str) -> str:
    "A line of Markdown whose only markup is code."
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
