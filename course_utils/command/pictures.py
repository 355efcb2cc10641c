"""The pictures of README: what lessons have made, as their notebooks store it."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from course_utils.errors import CourseError
from course_utils.notebooks.find import lessons
from course_utils.notebooks.ipynb import read
from course_utils.site.notebook_page import cover

A_PICTURE = re.compile(r"\]\((docs/made/(\d\d[a-z]?)\.png)\)")  # README's links choose the lessons


def write_pictures(root: Path) -> list[Path]:
    """Write the cover of every lesson that README shows (below `docs/made/`); returns what changed.

    The cover is the picture of the cell with the tag `cover`, as on the site. Raises CourseError for a lesson that does
    not exist or has no picture.
    """
    text = (root / "README.md").read_text(encoding="utf-8")
    notebooks = {lesson.number: lesson.path for lesson in lessons(root)}
    changed = []
    for name, number in A_PICTURE.findall(text):
        picture = cover(read(notebooks[number])) if number in notebooks else None
        if not picture:
            raise CourseError(f"README.md shows {name}, but there is no lesson {number} with a stored picture")
        path, content = root / name, base64.b64decode(picture[0])
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            changed.append(path)
    return changed
