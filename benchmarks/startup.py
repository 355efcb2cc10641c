"""Where the seconds go before a lesson computes: importing, the kernel, papermill, and what torch loads at first use.

    .venv/bin/python benchmarks/startup.py        # a minute
    .venv/bin/python benchmarks/startup.py 00     # and what the whole of a lesson takes in profile smoke

CPU seconds, children included, the best of three; what is indented comes on top of the line above it that is not.
The notebook of two cells is run in a process of its own, by papermill as `course run` does it, and by nbclient without
papermill around it.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from course_utils.notebooks import ipynb
from course_utils.notebooks.find import find_lessons, find_root

HELPERS = "import course_utils; from course_utils import data, evaluate, exercises, plots, runtime, training"
FIGURE = "import io, matplotlib; matplotlib.use('agg'); import matplotlib.pyplot as p; p.plot([1, 2]); p.savefig(io.BytesIO())"
OPTIMISER = "import torch; w = torch.ones(2, requires_grad=True); torch.optim.Adam([w])"
GRADIENT = "import torch; w = torch.ones(2, requires_grad=True); torch.autograd.grad(w * 2, w, torch.ones(2))"
TORCH = (("the helpers", HELPERS), ("the first figure", FIGURE), ("the first optimiser", OPTIMISER))
TORCH += (("the first gradient of several results", GRADIENT),)
LEAN = "import sys; sys.modules['rfc3987_syntax'] = None; "  # as the worker does: nobody needs that parser of addresses
NBCLIENT = """
import sys; sys.modules["rfc3987_syntax"] = None
import nbclient, nbformat
notebook = nbformat.read({source!r}, 4)
nbclient.NotebookClient(notebook, kernel_name="python3").execute()
nbformat.write(notebook, {target!r})
"""


def cpu_seconds(*command: str) -> float:
    """CPU seconds of a Python process and its children: the least of three runs. Raises CalledProcessError."""
    return min(_once([sys.executable, *command]) for _ in range(3))


def _once(command: list[str]) -> float:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return usage.ru_utime + usage.ru_stime


def worker(source: Path, directory: Path, html: bool = False) -> tuple[str, ...]:
    """The command that runs a notebook as `course run --profile smoke` does, to a file in `directory`."""
    job = {"source": str(source), "target": str(directory / "run.ipynb"), "directory": str(source.parent)}
    job |= {"profile": "smoke", "timeout": 300, "html": html}
    (directory / "job.json").write_text(json.dumps(job), encoding="utf-8")
    return "-P", "-m", "course_utils.running.worker", str(directory / "job.json")


def small(path: Path) -> Path:
    """A notebook that does nothing, in two cells."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in ('PROFILE = "auto"', "1 + 1")]
    )
    notebook.cells[0].metadata["tags"] = ["parameters"]
    ipynb.write(notebook, path)
    return path


def show(name: str, seconds: float) -> None:
    """One line of the table."""
    print(f"{name:50}{seconds:8.2f} s", flush=True)


def main(lessons: list[str]) -> None:
    """Print the table."""
    python = cpu_seconds("-c", "")
    torch = cpu_seconds("-c", "import torch")
    show("Python", python)
    show("import torch", torch - python)
    for name, code in TORCH:
        show(f"    {name}", cpu_seconds("-c", f"import torch; {code}") - torch)
    nbclient = cpu_seconds("-c", LEAN + "import nbclient")
    show("import nbclient, without rfc3987_syntax", nbclient - python)
    show("    with it", cpu_seconds("-c", "import nbclient") - nbclient)
    show("    papermill", cpu_seconds("-c", LEAN + "import nbclient, papermill") - nbclient)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        source = small(directory / "small.ipynb")
        code = NBCLIENT.format(source=str(source), target=str(directory / "run.ipynb"))
        show("a notebook of two cells, by nbclient", cpu_seconds("-c", code))
        show("the same, by papermill and the course's worker", cpu_seconds(*worker(source, directory)))
        show("the same, with its page", cpu_seconds(*worker(source, directory, html=True)))
        for lesson in find_lessons(lessons, find_root()) if lessons else ():
            show(f"{lesson.path.stem} in smoke, with its page", cpu_seconds(*worker(lesson.path, directory, html=True)))


if __name__ == "__main__":
    main(sys.argv[1:])
