"""What tests of the site share: the course's own site, built once, and a repository so small that it builds quickly."""

from pathlib import Path

import pytest
from nbformat import v4

from course_utils.notebooks import ipynb
from course_utils.site import build
from course_utils.site.contents import DOCUMENTS

ROOT = Path(__file__).parents[2]
README = """# Course

Words.

## Start

```bash
make run
```

## The lessons

| | lesson | you will build | CPU minutes | |
|---|---|---|---|---|
| 02 | [Gates](notebooks/02_gates.ipynb) | a memory | 3 | |

## Studying

Read. [Data](data/README.md), [licence](LICENSE).

## Teaching

[Grade](docs/grading.md#points), and see [this lesson](notebooks/02_gates.ipynb).
"""
PROJECT = (
    '[project]\nname = "generative-networks-course"\n[project.urls]\nrepository = "https://github.com/OWNER/NAME"\n'
)
OPENING = "# 02 · Gates: kept\n\n**You need** lesson 00.\n\n**Time**: about two hours with the exercises."
CARD = "## 1 · Gates\n\n### Exercise 2.1 · Four gates\n*10 minutes · 2 points*\n\nCompute $x^2$."
STUB = "@exercise\ndef lstm_gates(x):\n    raise NotImplementedError"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> build.Built:
    """The site of this repository."""
    return build.build(ROOT, tmp_path_factory.mktemp("course") / "site")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A course of one lesson with one exercise and one figure."""
    root = tmp_path / "repository"
    for name in DOCUMENTS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"# {name}\n\n## Points\n\nText.\n")
    (root / "README.md").write_text(README)
    (root / "LICENSE").write_text("MIT\n")
    (root / "pyproject.toml").write_text(PROJECT)
    (root / "notebooks").mkdir()
    picture = v4.new_output("display_data", {"image/png": PIXEL, "text/plain": "[figure]"})
    picture["metadata"] = {"image/png": {"alt": "A dot."}}
    cells = [
        v4.new_markdown_cell(OPENING),
        v4.new_code_cell('PROFILE = "auto"', metadata={"tags": ["parameters"]}),
        v4.new_markdown_cell(CARD),
        v4.new_code_cell(STUB),
        v4.new_markdown_cell("Below the exercise. [The first lines](../README.md)"),
        v4.new_code_cell("plot()", outputs=[picture]),
    ]
    meta = {"kernelspec": ipynb.KERNELSPEC, "language_info": ipynb.LANGUAGE}
    ipynb.write(v4.new_notebook(cells=cells, metadata=meta), root / "notebooks" / "02_gates.ipynb")
    return root
