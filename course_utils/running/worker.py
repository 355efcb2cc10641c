"""Run one notebook with papermill in a process of its own: `python -m course_utils.running.worker JOB.json`.

The parent (`runner`) reads one JSON event a line from standard output; everything else that the process or its
kernel writes goes to a log file. The last event holds the whole result, so that a worker that dies is noticed.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from course_utils import files
from course_utils.errors import CourseError
from course_utils.notebooks import headlines, ipynb, normalise, solve
from course_utils.running import failures
from course_utils.running.outcomes import collect
from course_utils.running.watch import Job, Watch


def main(job_file: str) -> None:
    """Run the job, sending events to what was standard output when the process started."""
    job = Job(**json.loads(Path(job_file).read_text(encoding="utf-8")))
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    log = os.open(Path(job.target).with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    watch = Watch(events, parent=job.parent)
    try:
        result = run_job(job, watch)
    except CourseError as error:
        result = {"reasons": [str(error)]}
    watch.send(event="end", **result)


def run_job(job: Job, watch: Watch) -> dict[str, Any]:
    """Prepare, execute, judge, clean and save one notebook; returns the fields of the last event."""
    notebook = ipynb.read(Path(job.source))
    if job.solved and any(map(ipynb.exercise_function, ipynb.code_cells(notebook))):
        notebook = solve.solve(notebook)  # a lesson without exercises is solved as it is
    if job.headlines:
        notebook = headlines.only_headlines(notebook)
    cells = len(ipynb.code_cells(notebook))
    watch.send(event="start", cells=cells)
    reasons = failures.preflight(notebook)
    if reasons:
        return {"reasons": reasons}
    notebook.metadata["kernelspec"] = dict(ipynb.KERNELSPEC)  # papermill wants both
    notebook.metadata["language_info"] = dict(ipynb.LANGUAGE)
    target, remark = Path(job.target), ""
    begin = time.perf_counter()
    ipynb.write(notebook, target)
    fatal = execute(job, watch)
    if watch.lost:  # it happens to any notebook, and seldom: once more
        remark, watch = f"started twice: {fatal}", watch.again()
        watch.send(event="again", cell=0, label=remark)
        ipynb.write(notebook, target)
        fatal = execute(job, watch)
    seconds = time.perf_counter() - begin
    executed = ipynb.read(target)
    normalise.remove_scaffolding(executed)
    reasons = failures.find_failures(executed, watch.findings, fatal)
    if job.solved and not reasons:
        reasons = failures.unsolved_exercises(executed)
    ipynb.renumber(executed)
    ipynb.write(executed, target)
    reports, session = collect(ipynb.code_cells(executed))
    result = {"reasons": reasons, "seconds": seconds, "peak_gb": watch.peak, "reports": reports, "session": session}
    result["remark"] = remark
    return result | {"html": to_html(executed, target) if job.html else None}


def execute(job: Job, watch: Watch) -> str:
    """Execute the notebook in place with papermill; returns why it broke off, or "" (also for errors in cells)."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    from course_utils.running import client  # noqa: F401  # registers itself with papermill as "course"

    thread = threading.Thread(target=watch.follow, daemon=True)
    thread.start()
    try:
        papermill.execute_notebook(
            job.target,
            job.target,
            {"PROFILE": job.profile},
            engine_name="course",
            kernel_name="python3",
            cwd=job.directory,
            progress_bar=False,
            start_timeout=120,
            execution_timeout=job.timeout,
            autosave_cell_every=0,
            watch=watch,
        )
    except PapermillExecutionError:
        return ""
    except DeadKernelError:
        if watch.lost:
            place = f"at {watch.label}" if watch.label else "in its first seconds"
            return f"the kernel lost a message {place}, and slept for good"
        return f"the kernel died in {watch.label or 'its first seconds'}: killed, crashed or out of memory"
    except CellTimeoutError:
        return f"{watch.label} ran longer than {job.timeout} s (--timeout)"
    except Exception as error:
        return watch.problem or f"the run broke off: {failures.error_text(type(error).__name__, str(error))}"
    finally:
        watch.done.set()
        thread.join()
    return ""


def to_html(notebook: Any, target: Path) -> str | None:
    """Save the executed notebook as HTML where nbconvert is installed; returns the file's name."""
    try:
        from nbconvert import HTMLExporter
    except ImportError:
        return None
    try:
        page, _ = HTMLExporter(template_name="classic").from_notebook_node(notebook)  # the one that writes alt text
    except Exception as error:  # the index then links to the notebook itself
        print(f"no HTML version: {type(error).__name__}: {error}", file=sys.stderr)
        return None
    files.write_text(page, target.with_suffix(".html"))
    return target.with_suffix(".html").name


if __name__ == "__main__":
    main(sys.argv[1])
