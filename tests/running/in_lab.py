"""Notebooks open in a JupyterLab of their own, in a browser: what the tests do there."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "out" / "browser"
SECONDS = 240
SETTINGS = {"notebook-extension/tracker": {"windowingMode": "none"}}  # every cell is on the page, also out of sight
READY = """async () => {
  const panel = jupyterapp.shell.currentWidget;
  await panel.context.ready;
  await panel.sessionContext.ready;
}"""
RUN_ALL = "async () => { await jupyterapp.commands.execute('notebook:run-all-cells'); }"
RESTART = "async () => { await jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart(); }"
SHUT_DOWN = "async () => { await jupyterapp.shell.currentWidget.sessionContext.shutdown(); }"
SAVE = """async name => {
  await jupyterapp.commands.execute('docmanager:save');
  return (await jupyterapp.serviceManager.contents.get(name)).content;
}"""
CELLS = "() => jupyterapp.shell.currentWidget.content.model.sharedModel.cells.map(cell => cell.toJSON())"
RUN = """async ([index, source]) => {
  const notebook = jupyterapp.shell.currentWidget.content;
  notebook.deselectAll();
  notebook.activeCellIndex = index;
  if (source !== null) notebook.widgets[index].model.sharedModel.source = source;
  await jupyterapp.commands.execute('notebook:run-cell');
}"""
CUT_OFF = """() => [...document.querySelectorAll('.jp-CodeCell .cm-editor')]
  .map(editor => editor.querySelector('.cm-scroller'))
  .filter(code => code.clientWidth === 0 || code.scrollWidth > code.clientWidth)
  .map(code => code.innerText.slice(0, 60))"""
UNWRAPPED = """() => {
  const notebook = jupyterapp.shell.currentWidget.content, chosen = notebook.editorConfig;
  notebook.editorConfig = {...chosen, code: {...chosen.code, lineWrap: false}};
}"""
EDITORS = "() => document.querySelectorAll('.jp-CodeCell .cm-editor').length"
NARROW = {"width": 1024, "height": 768}
IDLE = "() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'"


@contextmanager
def jupyter_lab(place: Path, notebooks: Iterable[Path], theme: str = "JupyterLab Light") -> Iterator[str]:
    """What `course lab` starts in a repository with these `notebooks`, without settings from outside; its address, in
    which {} is a file's name."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "pyproject.toml", place)
    for path in notebooks:
        folder = place / ("notebooks" if path.parent.name == "notebooks" else "work")  # of a lesson, it makes a copy
        folder.mkdir(exist_ok=True)
        shutil.copy(path, folder)
    for name, chosen in (SETTINGS | {"apputils-extension/themes": {"theme": theme}}).items():
        file = place / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(chosen))
    private = {name: str(place / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")}
    private |= {"JUPYTERLAB_SETTINGS_DIR": str(place / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(place / "spaces")}
    course = {"COURSE_PROFILE": "smoke", "COURSE_OFFLINE": "1", "COURSE_CACHE": str(place / "cache")}
    port, log = _free_port(), place / "log"
    command = [
        sys.executable,
        "-m",
        "course_utils",
        "lab",
        "--no-browser",
        f"--port={port}",
        "--ServerApp.port_retries=0",
    ]
    command += ["--allow-root", "--IdentityProvider.token=test", "--LabApp.expose_app_in_browser=True"]
    with log.open("w") as output:
        server = subprocess.Popen(
            command, cwd=place, env=os.environ | private | course, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _wait_until_it_answers(f"http://127.0.0.1:{port}/api/status?token=test", server, log)
        yield f"http://127.0.0.1:{port}/lab/tree/{{}}?token=test&reset"
    finally:
        server.terminate()
        server.wait(30)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _wait_until_it_answers(url: str, server: subprocess.Popen, log: Path) -> None:
    for _ in range(SECONDS * 5):
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            assert server.poll() is None, f"JupyterLab ended: {log.read_text()[-2000:]}"
            time.sleep(0.2)
    raise AssertionError(f"JupyterLab does not answer: {log.read_text()[-2000:]}")


def opened(browser: Any, address: str) -> Any:
    """The notebook at `address` in a page of its own, with its kernel waiting."""
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    page.set_default_timeout(SECONDS * 1000)
    page.goto(address)
    page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.context")
    page.evaluate(READY)
    return page


def run_all(page: Any) -> Any:
    """Run every cell; returns the page."""
    page.evaluate(RUN_ALL)
    return page


def run(page: Any, index: int, source: str | None = None) -> Any:
    """Run one cell, with another source if there is one; returns the cell on the screen."""
    page.evaluate(RUN, [index, source])
    page.wait_for_function(IDLE)
    return cell_at(page, index)


def cells(page: Any) -> list[dict[str, Any]]:
    """The notebook's cells as they are now, with their outputs."""
    return page.evaluate(CELLS)


def index_of(page: Any, start: str) -> int:
    """The first cell whose source begins with `start`."""
    return next(index for index, cell in enumerate(cells(page)) if cell["source"].startswith(start))


def cell_at(page: Any, index: int) -> Any:
    """The cell on the screen, scrolled into view."""
    cell = page.locator(".jp-Notebook-cell").nth(index)
    cell.scroll_into_view_if_needed()
    return cell


def cut_off(page: Any) -> list[str]:
    """The beginnings of the cells whose code does not fit on a narrow screen."""
    code = [cell for cell in cells(page) if cell["cell_type"] == "code"]
    before = page.viewport_size
    page.set_viewport_size(NARROW)
    page.wait_for_function(f"count => ({EDITORS})() === count", arg=len(code))
    found = page.evaluate(CUT_OFF)
    page.set_viewport_size(before)
    return found


def unfinished(page: Any) -> list[str]:
    """What is wrong after all cells were run: the code that was not, and the errors."""
    code = [cell for cell in cells(page) if cell["cell_type"] == "code"]
    idle = [f"not run: {cell['source'][:60]}" for cell in code if cell["execution_count"] is None]
    outputs = [output for cell in code for output in cell["outputs"] if output["output_type"] == "error"]
    return idle + [f"{output['ename']}: {output['evalue']}" for output in outputs]
