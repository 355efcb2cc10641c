"""Pages from templates: escaped, complete, and in the palette that all share."""

import re
from pathlib import Path

import jinja2
import pytest

from course_utils import display, templates
from course_utils.exercises import notebook

PALETTE = (templates.SHARED / "palette.css").read_text(encoding="utf-8")
LIGHT, DARK = (dict(re.findall(r"--(\w+): (#\w+)", part)) for part in PALETTE.split("@media"))


def rendered(folder: Path, source: str, **values: object) -> str:
    (folder / "page.html").write_text(source, encoding="utf-8")
    return templates.render(folder, "page.html", **values)


def test_values_are_escaped_and_files_of_the_course_are_not(tmp_path: Path) -> None:
    page = rendered(tmp_path, '<style>{% include "palette.css" %}</style>{{ x }}', x="<b> & \"'")
    assert page == f"<style>{PALETTE}</style>&lt;b&gt; &amp; &#34;&#39;"


def test_numbers_are_written_as_everywhere(tmp_path: Path) -> None:
    page = rendered(tmp_path, "{% for x in xs %}{{ x | number }} {% endfor %}", xs=[0.123456, 98765.4, None])
    assert page == "0.1235 98,765 not a number "


def test_a_value_that_is_not_given_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(jinja2.UndefinedError, match="'x' is undefined"):
        rendered(tmp_path, "{{ x }}")


def test_the_palette_has_the_same_colours_in_the_dark_and_those_of_messages_in_the_light() -> None:
    assert LIGHT.keys() == DARK.keys()
    inks = [LIGHT[name] for name in ("right", "nearly", "wrong", "open", "review")]
    assert inks == [display.RIGHT, display.NEARLY, display.WRONG, display.OPEN, display.REVIEW]


def test_the_site_shows_messages_in_the_dark_in_the_colours_of_the_dark_palette() -> None:
    site = (templates.SHARED.parent / "site" / "static" / "course.css").read_text(encoding="utf-8")
    shown = dict(re.findall(r'html\[data-theme="dark"\] \.text_html span\[style\*="(#\w+)"\] { color: (#\w+)', site))
    assert shown == {LIGHT[name]: DARK[name] for name in ("right", "nearly", "wrong", "open", "review")}


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (WCAG 2), 1 to 21."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("ink", sorted(set(notebook.COLOURS.values())))
def test_every_mark_under_a_cell_is_legible_in_light_and_dark_notebooks(ink: str) -> None:
    """4.5 is WCAG's bound for text, 3 that for bold signs: JupyterLab's dark theme has a ground of #111111."""
    assert contrast(ink, "#ffffff") >= 4.5 and contrast(ink, "#111111") >= 3


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_every_ink_is_legible_on_paper_and_in_boxes(theme: dict[str, str]) -> None:
    inks = theme.keys() - {"paper", "box", "line"}
    ratios = {(ink, ground): contrast(theme[ink], theme[ground]) for ink in inks for ground in ("paper", "box")}
    assert {pair: ratio for pair, ratio in ratios.items() if ratio < 4.5} == {}
