"""The house as its imports draw it: who imports whom, on which floor each module stands, and which stand in a circle.

    python tests/structure.py [REPOSITORY]

prints rooms, floors and circles, lines by part, and the largest modules and functions of `course_utils`.

An arrow is an import at any depth of the code, a name that is imported for types alone included, and a module's name in a
text (`sys.modules["course_utils.x"]`, `python -m course_utils.x`), but not in what an exercise is to be written without.
A module stands one floor above the highest that it imports. That a package's `__init__` hands on what its modules define is
no arrow back: nothing imports its own package.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAME = "course_utils"
IN_TEXT = re.compile(rf"(?<![\w./]){NAME}(?:\.\w+)+")
CALLED_BY_NAME = {
    "exercises.catalogue": "exercises.lessons.l"
}  # imported as found in the folder, under no name of theirs


def modules(root: Path = ROOT) -> dict[str, Path]:
    """The modules of the course by their dotted names below `course_utils`; a package bears its folder's name."""
    found = {}
    for path in sorted((root / NAME).rglob("*.py")):
        name = ".".join(path.relative_to(root / NAME).with_suffix("").parts).removesuffix("__init__").rstrip(".")
        found[name] = path
    found.pop("")
    return found


@functools.cache
def arrows(root: Path = ROOT) -> dict[str, set[str]]:
    """For each module those of the course that it imports."""
    known = modules(root)
    drawn = {name: set(_imported(name, path, known)) - {name} for name, path in known.items()}
    for name, others in CALLED_BY_NAME.items():
        if name in drawn:
            drawn[name] |= {other for other in known if other.startswith(others)}
    return drawn


def _imported(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    keywords = (node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "forbidden")
    prose |= {id(part) for keyword in keywords for part in ast.walk(keyword.value)}
    for node in ast.walk(tree):
        said: list[str] = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == NAME:
            said = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            said = [alias.name for alias in node.names if alias.name.startswith(f"{NAME}.")]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            said = IN_TEXT.findall(node.value)
        for dotted in said:
            parts = dotted.split(".")[1:]
            longest = next((".".join(parts[:n]) for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in known), "")
            if longest and not name.startswith(f"{longest}."):
                yield longest


def circles(drawn: Mapping[str, set[str]]) -> list[list[str]]:
    """The groups of modules that reach each other (strongly connected components of two or more)."""
    reached = {name: _reach(name, drawn) for name in drawn}
    found = {tuple(sorted(other for other in reached[name] if name in reached[other])) for name in drawn}
    return [list(group) for group in sorted(found) if len(group) > 1]


def _reach(name: str, drawn: Mapping[str, set[str]]) -> set[str]:
    seen, pending = set[str](), [name]
    while pending:
        for other in drawn[pending.pop()] - seen:
            seen.add(other)
            pending.append(other)
    return seen


def floors(drawn: Mapping[str, set[str]]) -> dict[str, int]:
    """The floor of each module, 1 for one that imports nothing. Raises RecursionError where there is a circle."""
    found: dict[str, int] = {}

    def floor(name: str) -> int:
        if name not in found:
            found[name] = 1 + max((floor(other) for other in drawn[name]), default=0)
        return found[name]

    for name in drawn:
        floor(name)
    return found


def functions(path: Path) -> Iterator[tuple[int, str]]:
    """Length in lines and name of every function of a module, from `def` to its last line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield (node.end_lineno or node.lineno) - node.lineno + 1, node.name


def length(path: Path) -> int:
    """The lines of a file."""
    return len(path.read_text(encoding="utf-8").splitlines())


def main(root: Path) -> None:
    """Print the measures."""
    known, drawn = modules(root), arrows(root)
    rings = circles(drawn)
    tall = max(floors(drawn).values()) if not rings else None
    print(f"{len(known)} modules, {sum(map(len, drawn.values()))} arrows, {tall or 'no'} floors, {len(rings)} circles")
    for ring in rings:
        print("  circle:", " ↔ ".join(ring))
    parts = Counter[str]()
    for name, path in known.items():
        parts[name.partition(".")[0] if "." in name or path.name == "__init__.py" else "(top)"] += length(path)
    parts["tests/"] = sum(length(path) for path in (root / "tests").rglob("*.py"))
    print("lines:", ", ".join(f"{part} {lines}" for part, lines in parts.most_common()))
    sizes = sorted(((length(path), name) for name, path in known.items()), reverse=True)
    print("largest modules:", ", ".join(f"{name} {lines}" for lines, name in sizes[:14]))
    bodies = sorted((size, f"{name}.{body}") for name, path in known.items() for size, body in functions(path))
    print("largest functions:", ", ".join(f"{name} {size}" for size, name in bodies[:-6:-1]))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
