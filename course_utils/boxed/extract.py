"""Find the exercises of a notebook by name, and what they need, in code that nobody has vetted.

This runs in the box: even to parse a student's code is to run it through a large program. Of all the statements at the
top level of the cells, `definitions` keeps those that an exercise needs and that are cheap by their kind:

* imports (each imported name for itself: one that fails does not take the others along),
* functions and classes,
* assignments, unless their value calls something that was imported from this course (`session = runtime.start()`),
* `if` and `try`, with what they hold of these.

Everything else is left out: loops, `with`, bare calls, so training and figures. The **last** function of an exercise's
name counts. Global names that it uses (and what these use in turn) are taken as they stood there: from all the
statements before it that bind them or, if there are none, from those behind it. So each exercise comes with a small
program of its own, in the notebook's order, and unrelated cells play no part, whatever is in them.

The name of another exercise always means its last function, as it will in the notebook's next run. An exercise whose
function stands in something that is left out, such as a loop, and one that misses a name, comes with all statements
(`Extract.whole`), for which there is little time.

Prompts that were copied along are taken off. Magics are cut out of cells that are no Python without that; a cell that
still is none is lost, alone.
"""

from __future__ import annotations
import __future__

import ast
import contextlib
import dis
import importlib.util
import linecache
import os
import re
import sys
import time
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from course_utils.boxed.deadline import deadline

CELLS = 2_000  # of a notebook that are looked at
SOURCE = 1_000_000  # characters of all cells together
ATTEMPTS = 10  # to get rid of a cell's magics one by one; then all lines go that look like one
NODES = 50_000  # of the syntax tree of one cell
NESTING = 300  # levels of that tree
NOTES = 50  # notes that are kept
COURSE = "course_utils"
DECORATOR = "exercise"  # of the course; in the box it would do nothing but import
MAGIC = re.compile(r"(\s*)(?:[%!?].*|.*\?\s*|[\w, ]+=\s*[%!].*)$")
CELL_MAGIC = re.compile(r"\s*%%(?:time|timeit|capture|prun)\b.*$")
OTHER_LANGUAGE = re.compile(r"\s*%%\w")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
PROMPTS = (  # as IPython takes them off: the first one, and any of a block that one of the first two lines begins
    (re.compile(r">>>(?: |$)"), re.compile(r"(?:>>>|\.\.\.)(?: |$)")),
    (re.compile(r"In \[\d+\]: ?"), re.compile(r"(?:In \[\d+\]: ?|\s*\.\.\.+: ?)")),
)
LATER = __future__.annotations.compiler_flag  # hints are not looked at: their packages may be missing
WHOLE_SECONDS = 10.0  # of computing for all statements of a notebook
ALTERNATIVES = 5  # functions of one name of which the last that comes to be counts


@dataclass(frozen=True)
class Statement:
    """One statement at the top level of a cell: where it stands, which names it binds, and which it needs."""

    cell: int  # counted from 1, among the code cells
    node: ast.stmt
    binds: frozenset[str]
    needs: frozenset[str]
    code: types.CodeType
    kept: bool = True  # whether it is of a kind that is run for every exercise that needs it


@dataclass(frozen=True)
class Program:
    """What must be run to have one exercise's function: statements in the notebook's order.

    `lost` says why there is none, for a function in a cell that cannot be read: (message, line number, line). `earlier`
    is what counts if the name is not bound in the end: the function may stand in an `if` that does not apply.
    """

    name: str
    cell: int
    statements: tuple[Statement, ...] = ()
    earlier: Program | None = None
    lost: tuple[str, int, str] | None = None


@dataclass
class Extract:
    """The programs of the exercises that were found, the cells' source as it was parsed, and what to tell a reader."""

    programs: dict[str, Program] = field(default_factory=dict)
    sources: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)

    def whole(self, program: Program) -> Program:
        """A program of all statements of the notebook, with the same function."""
        return replace(program, statements=tuple(self.statements), earlier=None)

    def note(self, text: str) -> None:
        """Keep a remark, unless there are too many."""
        if len(self.notes) < NOTES:
            self.notes.append(text)


def filename(cell: int) -> str:
    """The name under which a cell is compiled."""
    return f"<cell {cell}>"


def definitions(cells: Sequence[str], names: Sequence[str]) -> Extract:
    """Find the functions called `names` in the code cells of a notebook, each with what it needs. Never raises for
    what the cells contain."""
    found, lost = Extract(), dict[int, tuple[str, int, str]]()
    scope = _Scope()
    for number, source in enumerate(_bounded(cells, found), start=1):
        try:
            found.sources[number], tree = _parse(source)
        except _Unreadable as error:
            lost[number] = (error.message, error.number, error.line)
            where = f" (line {error.number})" if error.number else ""
            found.note(f"cell {number} is left out: {error.message}{where}")
            continue
        for node in tree.body:
            found.statements += _statements(node, number, scope)
    for name in dict.fromkeys(names):
        program = _program(name, set(names), found) or _in_lost_cell(name, cells, lost) or _elsewhere(name, found)
        if program:
            found.programs[name] = program
    return found


def _bounded(cells: Sequence[str], found: Extract) -> Iterator[str]:
    left = SOURCE
    for number, cell in enumerate(cells):
        if number >= CELLS or len(cell) > left:
            found.note(f"only the first {number} of {len(cells)} cells are looked at: it is too much code")
            return
        left -= len(cell)
        yield cell


# -- reading cells -----------------------------------------------------------------------------------------------


class _Unreadable(Exception):  # noqa: N818
    """A cell is no Python, or cannot be compiled."""

    def __init__(self, message: str, number: int = 0, line: str = "") -> None:
        super().__init__(message)
        self.message, self.number, self.line = message, number, line


def _parse(source: str) -> tuple[str, ast.Module]:
    """The cell without its magics, which leave their lines behind, and its syntax tree. Raises _Unreadable."""
    lines = _lines(source)
    if lines and CELL_MAGIC.match(lines[0]):
        lines[0] = ""
    attempts = 0
    while True:
        try:
            tree = ast.parse("\n".join(lines) + "\n")
        except SyntaxError as error:
            if lines and OTHER_LANGUAGE.match(lines[0]):
                raise _Unreadable("it is in another language") from None
            attempts += 1
            number = error.lineno or 0
            if attempts > ATTEMPTS or not _cut_magics(lines, None if attempts == ATTEMPTS else number - 1):
                line = lines[number - 1].strip() if 0 < number <= len(lines) else ""
                raise _Unreadable(f"{type(error).__name__}: {error.msg}", number, line[:500]) from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise _Unreadable(f"{type(error).__name__}: {str(error)[:100]}") from None
        else:
            _measure(tree)
            return "\n".join(lines), tree


def _lines(source: str) -> list[str]:
    """The lines that Python sees in a cell, all without the indent of the first one that is not blank, as in Jupyter.

    Other characters that end a line elsewhere, such as the form feed, may stand in comments and texts.
    """
    lines = re.split(r"\r\n|\r|\n", source)
    first = next((line for line in lines if line.strip()), "")
    lines = [line.removeprefix(first[: len(first) - len(first.lstrip(" \t"))]) for line in lines]
    begin = [line for line in lines if line.strip()][:2]
    for initial, prompt in PROMPTS:
        if begin and (initial.match(begin[0]) or any(initial.match(line) for line in begin)):
            return [prompt.sub("", line, count=1) if prompt.match(line) else line for line in lines]
    return lines


def _cut_magics(lines: list[str], at: int | None) -> bool:
    """Replace the magic in line `at`, or all of them, and the lines that continue one, by `pass`; False without any."""
    found, going_on, indent = False, False, ""
    for place, line in enumerate(lines):
        match = MAGIC.match(line) if not going_on and at in (None, place) else None
        if match:
            found, indent = True, match[1]
        if match or going_on:
            lines[place], going_on = f"{indent}pass", line.endswith("\\")
    return found


def _measure(tree: ast.Module) -> None:
    """Raise _Unreadable for a syntax tree that is too large or too deep to be compiled safely."""
    pending, nodes = [(tree, 0)], 0
    while pending:
        node, depth = pending.pop()
        nodes += 1
        if depth > NESTING or nodes > NODES:
            raise _Unreadable("it is nested too deeply, or too long")
        pending += [(child, depth + 1) for child in ast.iter_child_nodes(node)]


# -- statements and what they need -------------------------------------------------------------------------------


@dataclass
class _Scope:
    """What is known at this point of the notebook: names that came from the course, and the compiler's flags."""

    course: set[str] = field(default_factory=set)
    flags: int = 0


def _statements(node: ast.stmt, cell: int, scope: _Scope) -> Iterator[Statement]:
    """The statements to keep of one at the top level: none or itself or, of an import, one for each name."""
    for part in _parts(node):
        for inner in ast.walk(part):
            if isinstance(inner, FUNCTIONS):
                inner.decorator_list = [mark for mark in inner.decorator_list if not _is_the_courses(mark)]
        if isinstance(part, ast.ImportFrom) and part.module == "__future__":
            scope.flags |= getattr(getattr(__future__, part.names[0].name, None), "compiler_flag", 0)
        kept = _is_cheap(part, scope.course)
        try:
            code = compile(ast.Module([part], []), filename(cell), "exec", scope.flags | LATER, dont_inherit=True)
            binds, needs = _names(compile(ast.Module([part], []), "", "exec", scope.flags, dont_inherit=True))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue  # `return` outside of a function, say: the notebook could not run it either
        binds |= {root for target in _targets(part) if (root := _root(target))}
        if _from_course(part):
            scope.course |= binds
        elif isinstance(part, (ast.Import, ast.ImportFrom, *FUNCTIONS)):
            scope.course -= binds
        yield Statement(cell, part, frozenset(binds), frozenset(needs), code, kept)


def _parts(node: ast.stmt) -> list[ast.stmt]:
    if not isinstance(node, (ast.Import, ast.ImportFrom)):
        return [node]
    where = {"lineno": node.lineno, "col_offset": node.col_offset}
    if isinstance(node, ast.Import):
        return [ast.Import([alias], **where) for alias in node.names]
    return [ast.ImportFrom(node.module, [alias], node.level, **where) for alias in node.names]


def _is_the_courses(decorator: ast.expr) -> bool:
    decorator = decorator.func if isinstance(decorator, ast.Call) else decorator
    name = decorator.attr if isinstance(decorator, ast.Attribute) else getattr(decorator, "id", "")
    return name == DECORATOR


def _from_course(node: ast.stmt) -> bool:
    modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    return any(module.split(".")[0] == COURSE for module in modules)


def _is_cheap(node: ast.stmt, course: set[str]) -> bool:
    """Whether a statement is of a kind that is kept: see the top of this file. What is not goes from the inside of it."""
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.ClassDef, ast.Pass, *FUNCTIONS)):
        return True
    if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        return node.value is not None and _calls_nothing_of(course, node.value)
    if isinstance(node, ast.If) and _calls_nothing_of(course, node.test):
        node.body, node.orelse = (_cheap_ones(part, course) for part in (node.body, node.orelse))
        return True
    if isinstance(node, ast.Try):
        node.body, node.orelse, node.finalbody = (
            _cheap_ones(part, course) for part in (node.body, node.orelse, node.finalbody)
        )
        for handler in node.handlers:
            handler.body = _cheap_ones(handler.body, course)
        return True
    return False


def _cheap_ones(block: list[ast.stmt], course: set[str]) -> list[ast.stmt]:
    """The statements of a block that are kept; at least one, unless there were none."""
    kept = [node for node in block if _is_cheap(node, course)]
    return kept or [ast.copy_location(ast.Pass(), node) for node in block[:1]]


def _calls_nothing_of(course: set[str], value: ast.expr) -> bool:
    """Whether an expression calls nothing that came from the course, and waits for nothing."""
    for node in ast.walk(value):
        if isinstance(node, (ast.Await, ast.Yield, ast.YieldFrom)):
            return False
        if isinstance(node, ast.Call) and _root(node.func) in course:
            return False
    return True


def _root(node: ast.expr) -> str:
    """The name that an expression begins with: `torch` of `torch.ones(3)[0].sum`; "" if it begins with none."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call, ast.Starred)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _targets(node: ast.stmt) -> list[ast.expr]:
    """What an assignment assigns to: also `table["x"] = 1` changes what `table` means."""
    found = list(node.targets) if isinstance(node, ast.Assign) else []
    if isinstance(node, (ast.AugAssign, ast.AnnAssign)):
        found.append(node.target)
    for target in found:
        if isinstance(target, (ast.Tuple, ast.List)):
            found += target.elts
    return found


def _names(code: types.CodeType) -> tuple[set[str], set[str]]:
    """The global names that code binds, at its top level or by `global`, and those that it looks up anywhere."""
    binds, needs, pending = set[str](), set[str](), [code]
    while pending:
        part = pending.pop()
        for step in dis.get_instructions(part):
            if step.opname == "STORE_GLOBAL" or (part is code and step.opname == "STORE_NAME"):
                binds.add(step.argval)
            elif step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_CLASSDEREF"):
                needs.add(step.argval)
        pending += [constant for constant in part.co_consts if isinstance(constant, types.CodeType)]
    return binds, needs


# -- programs ----------------------------------------------------------------------------------------------------


def _program(name: str, exercises: set[str], found: Extract) -> Program | None:
    """The last function of this name, or else the last assignment to it, with what it needs."""
    statements = found.statements
    binding = [place for place in _binders(name, statements) if statements[place].kept]
    functions = [place for place in binding if _defines(name, statements[place].node)]
    assigned = [place for place in binding if isinstance(statements[place].node, (ast.Assign, ast.AnnAssign))]
    if len(functions) > 1:
        cell = statements[functions[-1]].cell
        found.note(f"{name} is defined {len(functions)} times; the last one counts (cell {cell})")
    program = None
    for place in functions[-ALTERNATIVES:] or assigned[-1:]:
        needed = _needed(place, name, exercises, statements)
        program = Program(name, statements[place].cell, needed, earlier=program)
    return program


def _needed(place: int, name: str, exercises: set[str], statements: list[Statement]) -> tuple[Statement, ...]:
    """The statement at this place, which defines `name`, and before it all that it needs."""
    wanted, pending, known = {place}, [place], {name}
    wanted |= {at for at, statement in enumerate(statements) if _brings_all(statement.node)}
    while pending:
        needing = pending.pop()
        for need in statements[needing].needs - known:
            known.add(need)
            binders = [at for at in _binders(need, statements) if statements[at].kept]
            functions = [at for at in binders if need in exercises and _defines(need, statements[at].node)]
            new = set(functions or [at for at in binders if at < max(place, needing)] or binders) - wanted
            wanted |= new
            pending += new
    order = [*sorted(wanted - {place}), place]  # itself last, for what it only needs from behind it
    return tuple(statements[at] for at in order)


def _binders(name: str, statements: list[Statement]) -> list[int]:
    return [place for place, statement in enumerate(statements) if name in statement.binds]


def _elsewhere(name: str, found: Extract) -> Program | None:
    """The last function of this name in a statement that is left out otherwise, such as a loop, with all statements."""
    for place in reversed(_binders(name, found.statements)):
        if _defines(name, found.statements[place].node):
            return found.whole(Program(name, found.statements[place].cell))
    return None


def _defines(name: str, node: ast.stmt) -> bool:
    return any(isinstance(part, FUNCTIONS) and part.name == name for part in ast.walk(node))


def _brings_all(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.names[0].name == "*" and not _from_course(node)


def lacking(program: Program) -> list[str]:
    """The packages that an exercise's statements import and that are not here, be it inside of a function."""
    parts = [part for statement in program.statements for part in ast.walk(statement.node)]
    modules = [alias.name for part in parts if isinstance(part, ast.Import) for alias in part.names]
    modules += [part.module for part in parts if isinstance(part, ast.ImportFrom) and part.module and not part.level]
    return [package for package in dict.fromkeys(name.split(".")[0] for name in modules) if not _is_here(package)]


def _is_here(package: str) -> bool:
    try:
        return package == COURSE or importlib.util.find_spec(package) is not None
    except ValueError:  # of __main__
        return True


def _in_lost_cell(name: str, cells: Sequence[str], lost: dict[int, tuple[str, int, str]]) -> Program | None:
    for number in sorted(lost, reverse=True):
        if re.search(rf"\bdef\s+{re.escape(name)}\s*\(", cells[number - 1]):
            return Program(name, number, lost=lost[number])
    return None


def run(extract: Extract, program: Program) -> tuple[Any, list[str]]:
    """Run a program in a namespace of its own, one statement after the other; what it prints is thrown away.

    Returns the exercise's function and remarks on statements that failed. Raises what the definition itself raises.
    """
    module = types.ModuleType("notebook")
    sys.modules["notebook"] = module
    module.__dict__["display"] = lambda *_, **__: None
    module.__dict__["__name__"] = "__main__"  # as in a notebook
    for cell, source in extract.sources.items():
        lines = [f"{line}\n" for line in source.split("\n")]
        linecache.cache[filename(cell)] = (len(source), None, lines, filename(cell))
    remarks, failure, end = list[str](), None, time.process_time() + WHOLE_SECONDS
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        for statement in program.statements:
            try:
                with contextlib.nullcontext() if statement.kept else deadline(max(end - time.process_time(), 0.0)):
                    exec(statement.code, module.__dict__)
                failure = None if program.name in statement.binds else failure
            except BaseException as error:
                if program.name in statement.binds:
                    failure = error
                else:
                    remarks.append(f"cell {statement.cell}, line {statement.node.lineno}: {type(error).__name__}")
    if failure is not None:
        raise failure
    if program.name not in module.__dict__ and program.earlier is not None:
        return run(extract, program.earlier)
    return module.__dict__[program.name], remarks
