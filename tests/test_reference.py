"The API reference is complete: what each public function takes and gives, in which shape, and when it refuses."

import ast
import inspect
import re
import textwrap
from importlib import import_module
from pathlib import Path

import pytest
from fastcore.docments import docments

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "sonic").rglob("*.py")
    if path.stem not in ("__init__", "_modidx") and path.parent.name != "cli"  # whose reference is --help
)
# how a comment says what shape an array has
SHAPE = re.compile(
    r"shape|\brows?\b|\bcolumns?\b|\bvectors?\b|\bmatrix\b|\bone dimension|\beach\b|"
    r"\b(an?|one|two) \w+ (a|for each|per) \w+|"
    r"\w+ x \w+|\bsamples\b|\bpixels?\b|\bscalar\b|\bany\b|\bas long as\b|\bper \w+",
    re.IGNORECASE,
)
ARRAYS = re.compile(r"\b(ndarray|NDArray|Tensor)\b")
# types of a return that say it all together with the docstring: a text, a place, yes or no, a thing with a page
PLAIN = re.compile(r"None|str|bool|bytes|Path|Self|[A-Z]\w*(\.[A-Z]\w*)?")


def public(module):
    "Functions and methods that a reader of the reference meets: name, function."
    there = import_module(module)
    for name in getattr(there, "__all__", ()):
        thing = getattr(there, name)
        if inspect.isclass(thing):
            yield name, thing
            for key, member in vars(thing).items():
                if isinstance(member, staticmethod | classmethod):
                    member = member.__func__
                above = any(hasattr(base, key) for base in thing.__mro__[1:])  # described there
                if inspect.isfunction(member) and not key.startswith("_") and member.__module__ == module and not above:
                    yield f"{name}.{key}", member
        elif inspect.isfunction(inspect.unwrap(thing)) and thing.__module__ == module:
            yield name, inspect.unwrap(thing)


def refuses(function):
    "Whether it raises SonicError itself."
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    raised = (node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise))
    return any(isinstance(it, ast.Call) and ast.unparse(it.func) == "SonicError" for it in raised)


def starred(function, key):
    "The comment behind `**key`, which docments does not read."
    found = re.search(rf"\*{key}\b[^#\n]*#(.+)", inspect.getsource(function))
    return found[1] if found else ""


def missing(name, thing):
    "What the reference lacks about this name."
    text = (vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__) or ""
    if not text.strip() or "\n" in text.strip():
        yield f"{name}: a docstring of one line"
    if inspect.isclass(thing):
        return
    if refuses(thing) and "SonicError" not in text:
        yield f"{name}: when it raises `SonicError`"
    told = docments(thing, full=True)
    for key, about in told.items():
        kind = about["anno"] if isinstance(about["anno"], str) else inspect.formatannotation(about["anno"])
        kind = kind.strip("'")
        if key in ("self", "cls") or (key == "return" and PLAIN.fullmatch(kind) and not ARRAYS.search(kind)):
            if kind not in ("DataFrame", "Series", "Any", "Dict", "List"):
                continue
        if not (about["docment"] or starred(thing, key)).strip():
            yield f"{name}: a comment on {key}"
        elif ARRAYS.search(kind) and not SHAPE.search(about["docment"] or starred(thing, key)):
            yield f"{name}: the shape of {key} ({about['docment']})"


@pytest.mark.parametrize("module", MODULES)
def test_the_reference_is_complete(module):
    assert not [line for name, thing in public(module) for line in missing(name, thing)]


def test_what_is_missing_is_noticed():
    import numpy as np

    from sonic.config import SonicError

    def bare(a, b: int = 1) -> np.ndarray:
        """Two

        lines."""
        raise SonicError("no")

    def full(
        values: np.ndarray,  # rows x columns, dB
    ) -> np.ndarray:  # the same shape
        "Says it all. Raises `SonicError` always."
        raise SonicError("no")

    def nothing() -> None:
        "Gives nothing."

    assert [line.split(": ")[1] for line in missing("bare", bare)] == [
        "a docstring of one line",
        "when it raises `SonicError`",
        "a comment on a",
        "a comment on b",
        "a comment on return",
    ]
    assert not [*missing("full", full), *missing("nothing", nothing)]
