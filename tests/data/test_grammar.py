"""The grammar of the plays: unambiguous, with the entropy that it says, and fast."""

import itertools
import math
import time

import numpy as np
import pytest
import torch

from course_utils import data
from course_utils.data import grammar

HALF_A_WINDOW = 64  # characters, of the 128 that the lessons' models see


@pytest.fixture(scope="module")
def play() -> str:
    return grammar.generate(300_000, seed=3)


# --- one derivation for each text -------------------------------------------------------------------------------


def test_no_string_of_a_state_begins_with_another() -> None:
    for state, choices in grammar.chain().items():
        texts = sorted(choice.text for choice in choices)
        assert all(texts), state
        assert not [(a, b) for a, b in itertools.pairwise(texts) if b.startswith(a)], state


def test_probabilities_sum_to_one_and_every_state_is_reached() -> None:
    chain = grammar.chain()
    for state, choices in chain.items():
        assert math.fsum(choice.probability for choice in choices) == pytest.approx(1, abs=1e-12), state
        assert min(choice.probability for choice in choices) > 0
    reached, found = {grammar.START}, [grammar.START]
    while found:
        following = {choice.next for choice in chain[found.pop()]} - reached
        reached |= following
        found += following
    assert reached == chain.keys()


def all_derivations(text: str) -> list[float]:
    """The probability of every derivation that writes exactly `text`, found by trying every choice at every place."""
    found, open_ones = [], [(grammar.START, 0, 1.0)]
    while open_ones:
        state, place, probability = open_ones.pop()
        if place == len(text):
            found.append(probability)
            continue
        for choice in grammar.chain()[state]:
            if text.startswith(choice.text, place):
                open_ones.append((choice.next, place + len(choice.text), probability * choice.probability))
    return found


@pytest.mark.parametrize("seed", range(10))
def test_every_text_has_one_derivation_and_it_is_the_one_that_wrote_it(seed: int) -> None:
    choices = list(itertools.islice(grammar.derive(seed), 60))
    text = "".join(choice.text for choice in choices)
    (probability,) = all_derivations(text)
    assert probability == pytest.approx(math.prod(choice.probability for choice in choices), rel=1e-9)


def begin_at(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `surprise` know that a text begins in `state`."""
    monkeypatch.setattr(grammar, "_first", lambda letter: grammar._read({(state, ""): 1.0}, letter))


def test_the_sum_over_all_derivations_is_the_probability_of_the_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The forward algorithm, which adds up all derivations, begun in the state in which the text was begun."""
    choices = list(itertools.islice(grammar.derive(5), 3000))
    text = "".join(choice.text for choice in choices)
    begin_at(grammar.START, monkeypatch)
    one = -math.fsum(math.log(choice.probability) for choice in choices)
    assert grammar.surprise(text).sum().item() == pytest.approx(one, rel=1e-9)


def test_the_forward_algorithm_adds_up_several_derivations(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a grammar that is ambiguous: "aa" is a + a (1/4) or aa (1/2)."""
    choices = [grammar.Choice("a", 0.5, "s"), grammar.Choice("aa", 0.5, "s")]
    monkeypatch.setattr(grammar, "_prefixes", grammar._prefixes.__wrapped__)
    monkeypatch.setattr(grammar, "chain", lambda: {"s": choices})
    begin_at("s", monkeypatch)
    assert grammar.surprise("aaa").tolist() == [0.0, 0.0, 0.0]
    choices[1] = grammar.Choice("ab", 0.5, "s")
    assert grammar.surprise("aab").exp().tolist() == pytest.approx([1, 2, 2])  # a|a..., then b: "a", "ab"


# --- entropy ----------------------------------------------------------------------------------------------------


def test_the_entropy_of_a_grammar_that_can_be_solved_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """From s: "x" back to s, or "yyy" to t, each with 1/2; from t: "zz" to s. Shares 2/3 and 1/3."""
    chain = {
        "s": [grammar.Choice("x", 0.5, "s"), grammar.Choice("yyy", 0.5, "t")],
        "t": [grammar.Choice("zz", 1.0, "s")],
    }
    monkeypatch.setattr(grammar, "chain", lambda: chain)
    monkeypatch.setattr(grammar, "stationary", grammar.stationary.__wrapped__)
    assert grammar.stationary() == pytest.approx({"s": 2 / 3, "t": 1 / 3})
    assert grammar.entropy() == pytest.approx((2 / 3 * math.log(2)) / (2 / 3 * 2 + 1 / 3 * 2))


def test_stationary_shares_do_not_change_with_another_draw() -> None:
    shares = grammar.stationary()
    after = dict.fromkeys(shares, 0.0)
    for state, choices in grammar.chain().items():
        for choice in choices:
            after[choice.next] += shares[state] * choice.probability
    assert after == pytest.approx(shares, abs=1e-13)
    assert math.fsum(shares.values()) == pytest.approx(1, abs=1e-12) and min(shares.values()) > 0


@pytest.mark.parametrize("seed", range(2))
def test_the_surprise_of_long_texts_agrees_with_the_entropy(seed: int) -> None:
    """Within four standard errors, from batches of 5 000 characters, and the standard error is below 0.4 %."""
    surprise = grammar.surprise(grammar.generate(400_000, seed))
    batches = surprise.view(-1, 5000).mean(1)
    error = (batches.std() / len(batches) ** 0.5).item()
    assert error < 0.004 * grammar.entropy()
    assert abs(surprise.mean().item() - grammar.entropy()) < 4 * error


def test_half_a_window_tells_all_that_matters(play: str) -> None:
    """To one who has read only 64 characters or more, the next one is as surprising as to one who has read more."""
    generator, everything = torch.Generator().manual_seed(0), grammar.surprise(play[:50_000])
    for start in torch.randint(200, 49_000, (20,), generator=generator).tolist():
        seen = grammar.surprise(play[start : start + 2 * HALF_A_WINDOW])
        more = everything[start : start + 2 * HALF_A_WINDOW]
        torch.testing.assert_close(seen[HALF_A_WINDOW:], more[HALF_A_WINDOW:], rtol=0, atol=1e-9)
        assert seen.sum() > more.sum()


# --- texts ------------------------------------------------------------------------------------------------------


def test_a_million_characters_take_less_than_three_seconds() -> None:
    grammar.chain.cache_clear()
    begun = time.process_time()
    assert len(grammar.generate(1_000_000, seed=0)) == 1_000_000
    assert time.process_time() - begun < 3


def test_the_same_seed_writes_the_same_play_and_longer_ones_begin_alike(play: str) -> None:
    for length in (1, 999, 12_345):
        assert grammar.generate(length, seed=3) == play[:length]
    assert grammar.generate(1000, seed=4) != play[:1000]


def test_the_vocabulary_is_the_grammars_whatever_the_text(play: str) -> None:
    assert set(play) <= set(grammar.vocabulary()) and "".join(sorted(set(grammar.vocabulary()))) == grammar.vocabulary()
    short, other = data.verse(1000), data.verse(2000, seed=9)
    assert short.vocabulary == other.vocabulary == grammar.vocabulary()


def test_it_looks_like_a_play(play: str) -> None:
    speeches = play[: play.rindex("\n\n")].split("\n\n")
    names = {name.upper(): "nobles" for name in grammar.NOBLES} | {
        name.upper(): "commoners" for name in grammar.COMMONERS
    }
    spoken = [speech.split("\n") for speech in speeches if not speech.startswith("[")]
    assert len(spoken) > 1500
    groups = [names[lines[0].removesuffix(":")] for lines in spoken]
    assert all(a != b for a, b in itertools.pairwise(groups))
    assert all(line[0].isupper() and line[-1] in ".!?,;" for lines in spoken for line in lines[1:])
    assert max(len(line) for lines in spoken for line in lines) < 80


def test_echoes_rhyme_verbs_agree_and_the_called_answer(play: str) -> None:
    rhymes = {word: kind for kind, words in enumerate(grammar.RHYMES) for word in words.split()}
    lines = play.split("\n")
    echoed = [(a, b) for a, b in itertools.pairwise(lines) if a.endswith((",", ";"))]
    ends = [(a.split()[-1].rstrip(",;"), b.split()[-1].rstrip(".!")) for a, b in echoed]
    assert len(ends) > 1000 and all(a != b and rhymes[a] == rhymes[b] for a, b in ends)
    assert "hou followest " in play and "e follow " in play and "hou follow " not in play
    called = [
        (line.split(", ")[1][:-1], lines[i + 2]) for i, line in enumerate(lines[:-2]) if line.startswith("Speak, ")
    ]
    assert len(called) > 50 and all(answer == f"{name.upper()}:" for name, answer in called)


def test_what_no_play_says_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no play has 'x[^']*' after '[^']*king'"):
        grammar.surprise("The kingxyz")
    assert grammar.surprise("").shape == (0,)


def test_words_are_frequent_as_their_place_in_the_list_says() -> None:
    choices = {choice.text: choice.probability for choice in grammar.chain()["commoners: good"]}
    weights = np.array([1 / (i + 8) for i in range(len(grammar.GOODS.split()))])
    assert list(choices.values()) == pytest.approx(list(weights / weights.sum()))
