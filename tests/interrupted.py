"""Loops that are interrupted, and cells that run as in a notebook."""

import linecache
from typing import Any


class Interrupts:
    """Raises KeyboardInterrupt at these steps, once each: no plain value, so no setting of the run."""

    def __init__(self, *steps: int) -> None:
        self.steps = set(steps)

    def __call__(self, step: int) -> None:
        if step in self.steps:
            self.steps.remove(step)
            raise KeyboardInterrupt


def run_cell(source: str, scope: dict[str, Any], name: str) -> None:
    """Run code as a notebook does: its source can be found, its names are global."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    exec(compile(source, name, "exec"), scope)


class Notebook:
    """Cells that share their names, as in IPython: `In` has the text of each that was run."""

    def __init__(self, **names: Any) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__", "In": [""], **names}

    def run(self, source: str) -> None:
        """Run a cell. Its exceptions are raised."""
        self.names["In"].append(source)
        run_cell(source, self.names, f"<cell {id(self)} {len(self.names['In'])}>")
