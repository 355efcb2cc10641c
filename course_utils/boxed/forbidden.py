"""What an answer calls: above all, of the calls that its exercise is to be written without. Found by their names.

One search serves the notebook and the grader, for which a box makes it before any of the notebook's code runs. It cuts
the code into words and parses nothing, so that no cell, however hostile, costs more than time in proportion to its
length. Whoever hides a name finds a way (`getattr`, say): `operators.py` sees what is called under any name.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

# Strings and comments; one that does not end reaches to the end of the line or, with three quotes, of the text.
NO_CODE = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*+(?:"""|\\?\Z)'
    r"|'''(?:[^'\\]|\\.|'(?!''))*+(?:'''|\\?\Z)"
    r'|"(?:[^"\\\n]|\\.)*+"?'
    r"|'(?:[^'\\\n]|\\.)*+'?"
    r"|\#[^\n]*",
    re.DOTALL,
)
STATEMENT = re.compile(r"^(?=[^\s)\]}])", re.MULTILINE)  # where one begins at the top level: in the first column
DEFINED = re.compile(r"^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)", re.MULTILINE)
ASSIGNED = re.compile(r"(?<![\w.])(\w++)[ \t]*+(?::[^=\n]{0,200})?=(?!=)")
ALIAS = re.compile(r"(?<![\w.])(\w++)[ \t]*+=[ \t]*+([\w.]++)[ \t]*+$", re.MULTILINE)
PATH = re.compile(r"(?<![\w.])[^\W\d]\w*+(?:\s*+\.\s*+[^\W\d]\w*+)*+")  # torch.nn.LSTM
METHOD = re.compile(r"[)\]]\s*+\.\s*+(\w++)")  # of what a call or an index gives
USED = re.compile(r"(?<![\w.])(\w++)[ \t]*+[(.]")
ASKED = re.compile(
    r"\b(?:isinstance|issubclass)[ \t]*+\((?:[^()]|\([^()]{0,200}+\)){0,200}+\)"
)  # names a class, and makes nothing of it
FROM = re.compile(r"^[ \t]*from[ \t]+([\w.]+)[ \t]+import\b[ \t]*(\([^)]{0,2000}\)|[^\n]*)", re.MULTILINE)
IMPORT = re.compile(r"^[ \t]*import[ \t]+([^\n]*)", re.MULTILINE)
IMPORTED = re.compile(r"(?<![\w.])([\w.]+|\*)(?:[ \t]+as[ \t]+(\w+))?")
PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,59}")
DEFINITIONS = 500  # functions and classes of a notebook that are listed
# What these names mean where a notebook does not say; forbidden calls are named with them.
USUAL = {name: name for name in ("torch", "sklearn", "course_utils")}
USUAL |= {"nn": "torch.nn", "F": "torch.nn.functional", "Tensor": "torch.Tensor"}


def calls(forbidden: Sequence[str], name: str, cells: Sequence[str]) -> list[str]:
    """Those of the names `forbidden`, such as "nn.LSTM", that the function `name` uses, as they stand in `cells`.

    The function's last definition counts, and whatever else of the cells it calls. A forbidden name is known by its last
    part, in what comes of its library (`torch.nn.LSTM`, an import, also under another name): the notebook's own functions,
    variables, attributes and methods of that name are its own, and `isinstance` makes no use of a class. A method of
    tensors ("Tensor.backward") is known by its name, where the answer uses no class of its own that has it. Raises nothing.
    """
    if not forbidden:
        return []
    use = _used(name, cells)
    return [call for call in forbidden if _is_used(call, use)]


def called(name: str, cells: Sequence[str]) -> set[str]:
    """The names that the function `name` calls, itself or by way of other functions of the cells; not its own."""
    return _used(name, cells).names - {name}


def defined(cells: Sequence[str]) -> list[str]:
    """The names of the functions and classes that the cells define, the first `DEFINITIONS` of them that are plain."""
    found = (own for cell in cells for own in DEFINED.findall(NO_CODE.sub("", cell)))
    return list(dict.fromkeys(own for own in found if PLAIN_NAME.fullmatch(own)))[:DEFINITIONS]


@dataclass
class _Use:
    """What a function uses: names of functions, dotted `paths` into libraries, and `methods` of anything else; `own` are
    the functions and methods that the notebook defines on the way."""

    names: set[str]
    paths: set[str] = field(default_factory=set)
    methods: set[str] = field(default_factory=set)
    own: set[str] = field(default_factory=set)


def _is_used(call: str, use: _Use) -> bool:
    root, last = call.split(".")[0], call.rsplit(".", 1)[-1]
    library = USUAL.get(root, root).split(".")[0]
    if any(last in parts[1:] for parts in (path.split(".") for path in use.paths) if parts[0] == library):
        return True
    return root == "Tensor" and last in use.methods - use.own


@dataclass(frozen=True)
class _Cells:
    """The statements of a notebook, what names mean in it that come from libraries, and in which statement others get
    their meaning."""

    statements: list[str]
    libraries: dict[str, str]
    meant: dict[str, int]


@functools.lru_cache(maxsize=1)
def _cells(sources: tuple[str, ...]) -> _Cells:
    statements = [part for source in sources for part in _statements(source)]
    libraries = USUAL | {alias: path for part in statements for alias, path in _imported(part)}
    meant: dict[str, int] = {}
    for place, part in enumerate(statements):
        renamed = ALIAS.fullmatch(part.strip())
        if renamed and (path := _resolved(renamed[2], libraries)):
            libraries[renamed[1]] = path
        elif match := ASSIGNED.match(part):
            meant[match[1]] = place
    meant |= {own: place for place, part in enumerate(statements) for own in _defined(part)}
    for own in meant.keys() & libraries.keys():
        del libraries[own]
    return _Cells(statements, libraries, meant)


def _used(name: str, sources: Sequence[str]) -> _Use:
    """What a function uses, itself or by way of other statements of the cells, each of which is read once."""
    cells = _cells(tuple(sources))
    use, pending, read = _Use({name}), [name], set[int]()
    while pending:
        place = cells.meant.get(pending.pop(), -1)
        if place < 0 or place in read:
            continue
        read.add(place)
        new = _read(cells.statements[place], use, cells.libraries, cells.meant)
        pending += new - use.names
        use.names |= new
    return use


def _read(part: str, use: _Use, libraries: dict[str, str], meant: Mapping[str, int]) -> set[str]:
    """Add to `use` the paths and methods that stand in a statement; returns the names that it calls or looks into.

    `libraries` tells what names mean there, `meant` which mean something in the notebook.
    """
    local = set(ASSIGNED.findall(part))
    inside = dict(_imported(part))
    for alias, path in ALIAS.findall(part):
        if path := _resolved(path, inside) or _resolved(path, libraries):
            inside[alias] = path
    use.own |= set(DEFINED.findall(part))
    use.methods |= set(METHOD.findall(part))
    for found in set(PATH.findall(ASKED.sub("", part))):
        root, *rest = (word.strip() for word in found.split("."))
        path = _resolved(".".join([root, *rest]), inside if root in local or root in inside else libraries)
        if path:
            use.paths.add(path)
        elif rest:
            use.methods |= set(rest)
        elif "*" in libraries and root not in local and root not in meant:
            use.paths.add(f"{libraries['*']}.{root}")
    return set(USED.findall(part)) - local


def _resolved(path: str, libraries: Mapping[str, str]) -> str:
    """The path from its library on, or "" where it leads into none."""
    root, dot, rest = path.partition(".")
    return f"{libraries[root]}{dot}{rest}" if root in libraries else ""


def _statements(cell: str) -> list[str]:
    return STATEMENT.split(NO_CODE.sub("", cell).replace("\\\n", " "))


def _defined(statement: str) -> list[str]:
    """The functions and classes that a statement at the top level defines: one, or those in its `if` and `try`."""
    names = DEFINED.findall(statement)
    return names[:1] if DEFINED.match(statement) else names


def _imported(statement: str) -> Iterator[tuple[str, str]]:
    """The names that a statement imports, each with its dotted path; "*" with the module."""
    for module, names in FROM.findall(statement):
        for name, alias in IMPORTED.findall(names):
            yield alias or name, module if name == "*" else f"{module}.{name}"
    for names in IMPORT.findall(statement):
        for name, alias in IMPORTED.findall(names):
            if alias:
                yield alias, name
