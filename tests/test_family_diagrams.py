"""Lesson 11's picture of all families says how often each asks, and how large it is."""

import pytest

from course_utils import family_diagrams

WEIGHTS = dict.fromkeys(family_diagrams.FAMILIES, 1000)


def test_all_families_are_drawn_with_what_they_ask(alts: list[str]) -> None:
    family_diagrams.families(dict.fromkeys(family_diagrams.FAMILIES, 1) | {"PixelCNN": 784}, WEIGHTS)
    assert (
        "VAE: code z ~ N(0, I), decoder, a coin per pixel, taught by a bound of log p(x), network asked once" in alts[0]
    )
    assert "PixelCNN: pixels so far" in alts[0] and "network asked 784 times" in alts[0]
    assert not set("$\\{}") & set(alts[0])


@pytest.mark.parametrize(("asked", "weights"), [({"transformer": 1}, WEIGHTS), ({"VAE": 1}, {})])
def test_a_family_that_is_not_known_is_named(asked: dict[str, int], weights: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(asked))):
        family_diagrams.families(asked, weights)
