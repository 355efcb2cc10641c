"""Lesson 11's picture of all families says how often each network is evaluated, and how large it is."""

import pytest

from course_utils import family_diagrams

WEIGHTS = dict.fromkeys(family_diagrams.FAMILIES, 1000)


def test_all_families_are_drawn_with_their_evaluations(alts: list[str]) -> None:
    family_diagrams.families(dict.fromkeys(family_diagrams.FAMILIES, 1) | {"PixelCNN": 784}, WEIGHTS)
    assert (
        "VAE: code z ~ N(0, I), decoder, a coin per pixel, trained by a bound of log p(x), network evaluated once"
        in alts[0]
    )
    assert "PixelCNN: pixels so far" in alts[0] and "network evaluated 784 times" in alts[0]
    assert not set("$\\{}") & set(alts[0])


def test_the_trade_names_the_nearest_family_by_the_middle_seed_and_the_slowest(alts: list[str]) -> None:
    ratios = {"VAE": [1.0, 30.0, 31.0], "PixelCNN": [20.0, 21.0, 25.0]}
    times = {"VAE": 0.05, "PixelCNN": 20.0}
    family_diagrams.trade(ratios, times, [(0.5, 40.0), (4.0, 22.0)], (0.7, 1.8), 100)
    assert "The PixelCNN lies lowest, the VAE on the left, the PixelCNN on the right." in alts[0]
    assert "VAE 1 to 31; PixelCNN 20 to 25" in alts[0]


@pytest.mark.parametrize(("evaluations", "weights"), [({"transformer": 1}, WEIGHTS), ({"VAE": 1}, {})])
def test_a_family_that_is_not_known_is_named(evaluations: dict[str, int], weights: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(evaluations))):
        family_diagrams.families(evaluations, weights)
