"""Notebooks are read and written without loss."""

import subprocess
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell

from course_utils.notebooks import ipynb


def test_writing_and_reading_keep_a_normalised_notebook_byte_for_byte(root: Path) -> None:
    path = root / "notebooks" / "01_one.ipynb"
    before = path.read_bytes()
    ipynb.write(ipynb.read(path), path)
    assert path.read_bytes() == before


def test_an_old_notebook_without_ids_is_read(root: Path) -> None:
    path = root / "notebooks" / "02_two.ipynb"
    notebook = nbformat.v4.new_notebook(cells=[new_code_cell("1"), new_code_cell("1")])
    for cell in notebook.cells:
        del cell["id"]
    notebook["nbformat_minor"] = 4
    path.write_text(nbformat.writes(notebook, version=nbformat.NO_CONVERT))
    ids = [[cell.id for cell in ipynb.read(path).cells] for _ in range(2)]
    assert ids[0] == ids[1] and ids[0][0] != ids[0][1]


def test_reading_a_notebook_loads_no_parser_of_addresses(tmp_path: Path) -> None:
    """It would take three quarters of the seconds of every command that reads one, and jsonschema does without it."""
    ipynb.write(nbformat.v4.new_notebook(), tmp_path / "x.ipynb")
    code = "import pathlib, sys; from course_utils.notebooks import ipynb; ipynb.read(pathlib.Path(sys.argv[1])); "
    code += "print('jsonschema' in sys.modules, sys.modules.get('rfc3987_syntax'), 'lark' in sys.modules)"
    command = [sys.executable, "-c", code, str(tmp_path / "x.ipynb")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == [
        "True",
        "None",
        "False",
    ]
