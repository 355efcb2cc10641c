"""Pages from templates (jinja2): what is put into one is escaped, and all share the colours of `palette.css`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_utils.display import number

if TYPE_CHECKING:
    from jinja2 import Environment

SHARED = Path(__file__).parent


def environment(folder: Path, **settings: Any) -> Environment:
    """What makes pages of the templates in `folder`, with further settings of jinja2's.

    A template includes files of its folder and of this one (`{% include "palette.css" %}`) and writes numbers as the
    course does (`{{ value | number }}`). A value that it names and does not get raises jinja2's UndefinedError.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader([folder, SHARED]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **settings,
    )
    made.filters["number"] = number
    return made


def render(folder: Path, name: str, **values: Any) -> str:
    """The page that the template `name` in `folder` makes of `values`, which are escaped as HTML wherever they stand."""
    return environment(folder).get_template(name).render(values)
