"""What the library offers, as its source says it: a signature as it is written, with the comments in it.

Nothing is imported for this but the program and its settings: the source is read. Methods come along, which nbdev
leaves out, and a command shows its arguments and options instead of the function behind it.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from textwrap import dedent, indent
from typing import Any

from project import REPOSITORY, ROOT, SITE

SHOWN = {"property", "cached_property", "staticmethod", "classmethod"}  # decorators that change how a method is used
SPECIAL = {"__call__", "__getitem__", "__iter__", "__len__", "__contains__"}  # shown where they say what they do
# how nbdev begins the description of a function or class; it leaves the link out where it does not find the source
DESCRIBED = re.compile(r"---\s+(?:\[source\]\S+\s.*?)?### (\S+)\s+```python\n.*?\n```", re.DOTALL)


@dataclass(frozen=True)
class Symbol:
    "A function, class, method or command."

    name: str  # as its anchor says it: `neighbours`, `Table.where`
    kind: str
    shown: str  # as a reader writes it: `sonic similar` for the function behind it
    signature: str  # of Python, or the usage of a command
    line: str  # what it is, in one line of Markdown
    at: int  # line of the source


# ---- from the source -------------------------------------------------------------------------------------------------


def _lines(source: list[str], first: int, last: int) -> str:
    "Lines of the source, counted from one, without what is meant for ruff and mypy."
    text = dedent("\n".join(source[first - 1 : last]))
    return re.sub(r"[ \t]*# (noqa|type:)\S*.*$", "", text, flags=re.MULTILINE).rstrip()


def _signature(node: ast.FunctionDef, source: list[str]) -> str:
    "All of a function but its body."
    first = node.body[0]
    used = [f"@{ast.unparse(it)}" for it in node.decorator_list if ast.unparse(it) in SHOWN]
    if first.lineno == node.lineno:  # def all(self) -> int: ...
        written = source[node.lineno - 1][node.col_offset : first.col_offset].rstrip()
    else:
        written = _lines(source, node.lineno, first.lineno - 1)
    return "\n".join([*used, written])


def _fields(node: ast.ClassDef, source: list[str]) -> str:
    "What a class holds, or what it is made from."
    written = []
    for it in node.body:
        target = it.target if isinstance(it, ast.AnnAssign) else it.targets[0] if isinstance(it, ast.Assign) else None
        if isinstance(target, ast.Name) and not target.id.startswith("_"):
            written.append(_lines(source, it.lineno, it.end_lineno or it.lineno))
        elif isinstance(it, ast.FunctionDef) and it.name == "__init__":
            written.append(("\n" if written else "") + _signature(it, source))
    return "\n".join(written)


def _line(node: ast.FunctionDef | ast.ClassDef) -> str:
    return (ast.get_docstring(node) or "").split("\n")[0]


@cache
def read_symbols(module: str) -> dict[str, Symbol]:
    "The public functions and classes of a module and their public methods, by name, in the order of the source."
    text = (ROOT / module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
    source, body = text.splitlines(), ast.parse(text).body
    public = next((ast.literal_eval(it.value) for it in body if _assigns(it, "__all__")), [])
    behind = commands() if module.startswith("sonic.cli.") else {}
    found = []
    for it in body:
        if not isinstance(it, ast.FunctionDef | ast.ClassDef) or it.name not in public:
            continue
        if command := behind.get((module, it.name)):
            found.append(Symbol(it.name, "command", command[0], command[1], _line(it), it.lineno))
        elif isinstance(it, ast.FunctionDef):
            found.append(Symbol(it.name, "function", it.name, _signature(it, source), _line(it), it.lineno))
        else:
            bases = f"({', '.join(map(ast.unparse, it.bases))})" if it.bases else ""
            fields = _fields(it, source)
            written = f"class {it.name}{bases}" + (f":\n{indent(fields, '    ')}" if fields else "")
            found.append(Symbol(it.name, "class", it.name, written, _line(it), it.lineno))
            found += [
                Symbol(name, "method", name, _signature(of, source), _line(of), of.lineno)
                for of in it.body
                if isinstance(of, ast.FunctionDef)
                and _line(of)
                and (of.name in SPECIAL or not of.name.startswith("_"))
                and (name := f"{it.name}.{of.name}")
            ]
    return {symbol.name: symbol for symbol in found}


def _assigns(node: ast.stmt, name: str) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name


# ---- the program -----------------------------------------------------------------------------------------------------


@cache
def commands() -> dict[tuple[str, str], tuple[str, str]]:
    "Module and function of every command, with its name (`sonic similar`) and usage."
    import typer

    app = typer.main.get_command(importlib.import_module("sonic.cli").app)

    def below(group: Any, path: str) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from below(command, f"{path} {name}")
            elif not command.hidden:
                run = getattr(command.callback, "__wrapped__", command.callback)
                yield (run.__module__, run.__name__), (f"{path} {name}", _usage(command, f"{path} {name}"))

    return dict(below(app, "sonic"))


def _usage(command: Any, name: str) -> str:
    "How a command is written, and what its arguments and options are, in Markdown."
    rows, written = [], [name]
    for it in command.params:
        if it.hidden:
            continue
        word = it.metavar or it.name.upper()
        if it.param_type_name == "argument":
            written.append(word if it.required else f"[{word}]")
        else:
            word = ", ".join([*it.opts, *it.secondary_opts]) + ("" if it.is_flag else f" {word}")
        told = (it.help or "").replace("|", "\\|")
        plain = isinstance(it.default, str | int | float) and not isinstance(it.default, bool)
        rows.append(f"| `{word}` | {told}{f' Default: `{it.default}`.' if plain and it.default != '' else ''} |")
    if any(it.param_type_name == "option" for it in command.params):
        written.insert(1, "[OPTIONS]")
    table = "\n".join(["| argument or option | what it is |", "|---|---|", *rows])
    return f"```sh\n{' '.join(written)}\n```\n\n{table if rows else ''}"


# ---- in a page -------------------------------------------------------------------------------------------------------


def source_link(module: str, symbol: Symbol) -> str:
    "Where the source is read, in Markdown; the title of the link is the anchor that the description shall have."
    return f'[source]({REPOSITORY}/{module.replace(".", "/")}.py#L{symbol.at} "{symbol.name}")'


def described(text: str, module: str) -> tuple[str, int]:
    """What nbdev says of a function or class, with the signature as the source has it, and with the methods; its line.

    nbdev looks the source up by the bare name, which is wrong where two modules have the same name.
    """
    found = DESCRIBED.match(text)
    symbol = read_symbols(module).get(found[1]) if module and found else None
    if not symbol:
        return text, 0
    assert found is not None
    rest = text[found.end() :]
    top = f"---\n\n{source_link(module, symbol)}\n\n### {symbol.shown}\n\n"
    if symbol.kind == "command":  # usage, what it does, then its options
        usage, _, table = symbol.signature.partition("\n\n")
        return f"{top}{usage}{rest}\n\n{table}", symbol.at
    parts = [f"{top}```python\n{symbol.signature}\n```{rest}"]
    for other in read_symbols(module).values():
        if other.kind == "method" and other.name.startswith(f"{symbol.name}."):
            top = f"---\n\n{source_link(module, other)}\n\n#### {other.name}"
            line = re.sub(r"(`\w+`)", rf"[\1]({SITE}/)", other.line)  # as nbdev does: where to, tree.linked says
            parts.append(f"{top}\n\n```python\n{other.signature}\n```\n\n*{line}*")
    return "\n\n".join(parts), symbol.at
