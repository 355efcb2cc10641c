"""Exercises as cards: what Sphinx does to a lesson's page after reading it."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform


class ExerciseCards(SphinxTransform):
    """Puts a frame around each exercise: from below its heading to the hint under its cell."""

    default_priority = 700

    def apply(self, **kwargs: Any) -> None:
        """Frame the exercises of one document, in place."""
        for cell in [node for node in self.document.findall(nodes.container) if "tag_exercise" in node["classes"]]:
            section = cell.parent
            last = section.index(cell) + 1  # the hint, folded
            card = nodes.container(classes=["exercise"])
            card += section.children[1 : last + 1]
            section[1 : last + 1] = [card]
            section["classes"].append("has-exercise")


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls to load this module as an extension."""
    app.add_transform(ExerciseCards)
    return {"parallel_read_safe": True}
