"What all of tools/docs.py knows: where things lie, and what a page is."

from __future__ import annotations

import posixpath
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STYLE = Path(__file__).resolve().parent
ROOT = STYLE.parents[1]
NBS, PROC, DOCS = ROOT / "nbs", ROOT / "_proc", ROOT / "_docs"
URLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
SITE, REPOSITORY = URLS["Documentation"].rstrip("/"), URLS["Repository"].rstrip("/") + "/blob/main"


@dataclass(frozen=True)
class Page:
    "One notebook and the page that it becomes; the page of names, which has no notebook."

    source: str  # path below nbs/
    html: str  # path below _docs/
    title: str
    lead: str  # the line below the title
    section: str  # heading in the sidebar; empty at the top
    notebook: dict[str, Any]  # as nbdev processed it, without its first cell

    @property
    def module(self) -> str:
        "The module that its notebook exports; empty if it exports none."
        path = "sonic/" + self.html.removesuffix(".html")
        return path.replace("/", ".") if (ROOT / f"{path}.py").is_file() else ""


def relative(path: str, here: Page) -> str:
    "The way to a file of the site from one of its pages."
    return posixpath.relpath(path, posixpath.dirname(here.html) or ".")
