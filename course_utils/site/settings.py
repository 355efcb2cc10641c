"""What Sphinx is told: extensions, theme, and what the templates of the side bars show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from course_utils.notebooks.colab import published
from course_utils.site.contents import LessonPage, origins

TEMPLATES = Path(__file__).parent / "templates"
TITLE = "Generative networks, by hand"


def settings(root: Path, sources: Path, pages: list[LessonPage]) -> dict[str, Any]:
    """The configuration of the site of the course in `root`, whose sources lie in `sources`."""
    return {
        "project": TITLE,
        "copyright": "text CC BY 4.0, code MIT",
        "extensions": ["myst_nb", "sphinx_design", "course_utils.site.cards"],
        "exclude_patterns": ["_static", ".doctrees"],
        "nb_execution_mode": "off",
        "nb_merge_streams": True,  # what a cell prints is one text, however often it was flushed
        "myst_enable_extensions": ["dollarmath", "amsmath", "colon_fence"],
        "myst_heading_anchors": 3,
        "mathjax_path": "mathjax/startup.js",
        "mathjax3_config": {
            "loader": {"load": ["core", "input/tex", "output/chtml", "a11y/assistive-mml"]},
            "options": {"enableMenu": False},  # it would ask another host for its parts
        },
        "templates_path": [str(TEMPLATES)],
        "html_context": _shown(root, pages),
    } | _theme(sources)


def _theme(sources: Path) -> dict[str, Any]:
    return {
        "html_theme": "pydata_sphinx_theme",
        "html_title": TITLE,
        "html_static_path": [str(sources / "_static")],
        "html_css_files": ["course.css"],
        "html_js_files": ["course.js"],
        "html_sidebars": {"**": ["course-lessons"]},
        "html_copy_source": False,
        "html_show_sourcelink": False,
        "html_theme_options": {
            "secondary_sidebar_items": ["page-links", "page-toc"],
            "primary_sidebar_end": [],
            "footer_start": ["copyright"],
            "footer_end": [],
            "search_bar_text": "Search the course …",
            "show_toc_level": 2,
        },
    }


def _shown(root: Path, pages: list[LessonPage]) -> dict[str, Any]:
    """What templates show, beside what Sphinx gives them."""
    repository = published(root)
    owner_and_name, ref = repository or ("", "")
    return {
        "default_mode": "auto",  # light or dark, as the reader's system has it
        "course_lessons": pages,
        "course_origins": origins(pages),
        "course_edit": repository and f"https://github.com/{owner_and_name}/edit/{ref}",
        "course_colab": repository and f"https://colab.research.google.com/github/{owner_and_name}/blob/{ref}",
    }
