"""What an answer calls: above all, of the calls that its exercise is to be written without. Found by their names.

One search serves the notebook and the grader. It cuts a notebook's code into words and parses nothing, so that no cell,
however hostile, costs it more than time in proportion to its length. Whoever hides a name finds a way (`getattr`, say):
this is for honest misunderstandings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

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
ASSIGNED = re.compile(r"(?<![\w.])(\w++)[ \t]*+=(?!=)")
ATTRIBUTE = re.compile(r"\.\s*(\w+)")
USED = re.compile(r"(?<![\w.])(\w++)[ \t]*+[(.]")
FROM = re.compile(r"^[ \t]*from[ \t]+([\w.]+)[ \t]+import\b[ \t]*(\([^)]{0,2000}\)|[^\n]*)", re.MULTILINE)
IMPORT = re.compile(r"^[ \t]*import[ \t]+([^\n]*)", re.MULTILINE)
IMPORTED = re.compile(r"(?<![\w.])([\w.]+|\*)(?:[ \t]+as[ \t]+(\w+))?")


def calls(forbidden: Sequence[str], name: str, cells: Sequence[str]) -> list[str]:
    """Those of the names `forbidden`, such as "nn.LSTM", that the function `name` uses, as they stand in `cells`.

    The function's last definition counts, and whatever else of the cells it calls. A forbidden name is known by its last
    part, where that is an attribute of anything (`torch.nn.LSTM`) or was imported, also under another name; the answer's
    own functions and variables of that name are its own. Raises nothing.
    """
    words = _used(name, cells)[1] if forbidden else set()
    return [call for call in forbidden if call.rsplit(".", 1)[-1] in words]


def called(name: str, cells: Sequence[str]) -> set[str]:
    """The names that the function `name` calls, itself or by way of other functions of the cells; not its own."""
    return _used(name, cells)[0] - {name}


def _used(name: str, cells: Sequence[str]) -> tuple[set[str], set[str]]:
    """The names that a function calls, and the words that tell which things of modules it uses."""
    statements = [part for cell in cells for part in _statements(cell)]
    meant = {match[1]: part for part in statements if (match := ASSIGNED.match(part))}
    meant |= {own: part for part in statements for own in _defined(part)}
    imported = {alias: path for part in statements for alias, path in _imported(part)}
    words, pending, known = set[str](), [name], {name}
    while pending:
        part = meant.get(pending.pop(), "")
        words |= set(ATTRIBUTE.findall(part))
        for used in set(USED.findall(part)) - set(ASSIGNED.findall(part)) - known:
            known.add(used)
            pending.append(used)
            if used not in meant:
                words |= set(imported.get(used, used if "*" in imported else "").split("."))
    return known, words


def _statements(cell: str) -> list[str]:
    return STATEMENT.split(NO_CODE.sub("", cell).replace("\\\n", " "))


def _defined(statement: str) -> list[str]:
    """The functions and classes that a statement at the top level defines: one, or those in its `if` and `try`."""
    names = DEFINED.findall(statement)
    return names[:1] if DEFINED.match(statement) else names


def _imported(statement: str) -> Iterator[tuple[str, str]]:
    """The names that a statement imports under another one or out of a module, each with its dotted path."""
    for module, names in FROM.findall(statement):
        for name, alias in IMPORTED.findall(names):
            yield alias or name, f"{module}.{name}"
    for names in IMPORT.findall(statement):
        for name, alias in IMPORTED.findall(names):
            if alias:
                yield alias, name
