"""Plays without an author: a random grammar, written for this course, whose entropy is known exactly.

Nobles speak in verse, each line echoed by a short one; commoners speak in prose; and they take turns. The grammar is a
Markov chain: in each of its states it draws one of a few strings, with given probabilities, writes it down and goes to
the state that this choice leads to. What a state has to remember was written a few words before: whose turn it is shows
in the manner of the last line, an echo rhymes with its line, verbs agree with their subjects, and whoever is called by
name answers.

**One derivation for each text.** In no state does one of the strings begin with another. So, from a known state, the
characters that follow tell which string was drawn, hence the next state, and so on to the end: no text can be derived
in two ways, and the probability of a text is the probability of its derivation.

**The entropy.** A string drawn in state s carries H(s) = -sum p log p nats and has L(s) = sum p length characters on
average. If pi(s) is the share of the draws that are made in state s in the long run (the chain's stationary
distribution), the text carries sum pi(s) H(s) / sum pi(s) L(s) nats per character. No model can have a lower expected
loss on an endless text. Source: Cover and Thomas, "Elements of Information Theory", 2006, chapter 4.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch

NOBLES = ("Isaura", "Tancred", "Melior", "Osric", "Yolande", "Gawain")
COMMONERS = ("Crumb", "Nettle", "Widow Pyke", "Tobin", "Thimble", "Old Barley")

# In each list earlier words are more frequent: the i-th of them, from 0, has a weight of 1 / (i + 8).
PEOPLE = (
    "king queen ghost knight stranger maiden moon hunter monk raven wolf star river forest castle thunder "
    "lion page sea pilgrim abbess wind falcon"
)
CROWDS = "soldiers sisters shadows ravens stars waves roses kings widows angels gallows hills wolves bells oaks"
MANNERS = (
    "pale proud silent weary golden wicked gentle cruel cold silver mortal merry ancient bitter blind noble holy swift"
)
DEEDS = (
    "follow forgive fear bury summon betray adore forsake seek wound mourn honour curse bless haunt remember "
    "spare warn scorn obey"
)
MOODS = "tremble wander linger weep vanish dream sing kneel burn perish fall wait"
THINGS = (
    "crown sword heart oath letter dagger soul mirror kingdom prayer secret cup cradle candle harp grave vow wrath heir"
)
RHYMES = (
    "night light sight might knight flight",
    "day way clay bay play ray",
    "flame name fame shame game dame",
    "spring ring wing king string sling",
    "hand land sand band strand wand",
)
ECHOES = ("And not the", "As is the", "So sings the", "But for a", "Nor any", "Without a", "And all for", "Thou little")
PLACES = "in by upon beneath beyond through before against"
KIN = "uncle goose donkey cousin aunt grandmother goat cook landlord parrot barber pig nephew tailor duck"
PRANKS = "stole sold lost kissed painted swallowed married buried borrowed cooked hid washed found broke"
GOODS = "pudding kettle turnip hat cheese barrel pie ladder egg trumpet bucket sausage pillow boot onion spoon"


class Choice(NamedTuple):
    """One of the strings that a state may write, its probability, and the state that follows."""

    text: str
    probability: float
    next: str


Chain = dict[str, list[Choice]]

START = "nobles: enter"


def generate(n_characters: int, seed: int) -> str:
    """The first `n_characters` of the play that `seed` begins."""
    pieces, length = [], 0
    for choice in derive(seed):
        pieces.append(choice.text)
        length += len(choice.text)
        if length >= n_characters:
            break
    return "".join(pieces)[:n_characters]


def derive(seed: int) -> Iterator[Choice]:
    """The choices that `seed` makes, one after the other, without an end."""
    table = {
        state: (list(accumulate(choice.probability for choice in choices))[:-1], choices)
        for state, choices in chain().items()
    }
    generator = torch.Generator().manual_seed(seed)
    state = START
    while True:
        for even in torch.rand(4096, generator=generator, dtype=torch.float64).tolist():
            bounds, choices = table[state]
            choice = choices[bisect(bounds, even)]
            yield choice
            state = choice.next


def vocabulary() -> str:
    """Every character that the grammar can write, in order."""
    return "".join(sorted({letter for choices in chain().values() for choice in choices for letter in choice.text}))


def entropy() -> float:
    """The entropy rate of the plays, in nats per character: exact, from the grammar alone."""
    shares = stationary()
    information = characters = 0.0
    for state, choices in chain().items():
        p = np.array([choice.probability for choice in choices])
        information -= shares[state] * float(p @ np.log(p))
        characters += shares[state] * float(p @ [len(choice.text) for choice in choices])
    return information / characters


@cache
def stationary() -> dict[str, float]:
    """The share of the draws that are made in each state in the long run: the solution of pi = pi P, sum pi = 1."""
    states = list(chain())
    place = {state: i for i, state in enumerate(states)}
    moves = np.zeros((len(states), len(states)))
    for state, choices in chain().items():
        for choice in choices:
            moves[place[state], place[choice.next]] += choice.probability
    equations = moves.T - np.eye(len(states))
    equations[-1] = 1.0  # one of the others is superfluous
    shares = np.linalg.solve(equations, np.eye(len(states))[-1])
    return dict(zip(states, shares.tolist(), strict=True))


def surprise(text: str) -> torch.Tensor:
    """-log p of each character of `text` given those before it, (T,) float64 nats, to one who knows the grammar.

    The text may be any excerpt of a play: the reader does not know what came before it, and begins with the long-run
    frequencies of all places in a play. The forward algorithm adds up all derivations (Rabiner, 1989, "A tutorial on
    hidden Markov models"). Raises ValueError at the first character that no play could have there.
    """
    belief: Belief = {}
    result = np.empty(len(text))
    for i, letter in enumerate(text):
        after = _read(belief, letter) if i else _first(letter)
        total = sum(after.values())
        if not total:
            raise ValueError(f"no play has {text[i : i + 20]!r} after {text[max(0, i - 40) : i]!r}")
        result[i] = -np.log(total)
        belief = {place: weight / total for place, weight in after.items()}
    return torch.from_numpy(result)


Belief = dict[tuple[str, str], float]  # the probabilities of places: a state, and what it has written of its string


def _read(belief: Belief, letter: str) -> Belief:
    """The places after `letter`, each with its probability times that of `letter`."""
    prefixes = _prefixes()
    after: Belief = {}
    for (state, written), weight in belief.items():
        longer = written + letter
        found = prefixes[state].get(longer)
        if found is None:
            continue
        weight /= prefixes[state][written].unfinished
        if found.unfinished:
            after[state, longer] = after.get((state, longer), 0.0) + weight * found.unfinished
        if found.finished:
            after[found.next, ""] = after.get((found.next, ""), 0.0) + weight * found.finished
    return after


@cache
def _first(letter: str) -> Belief:
    """The places after a first `letter`, when nothing is known of what came before it."""
    return _read(_everywhere(), letter)


class _Prefix(NamedTuple):
    """The beginning of a state's strings: the probability of the longer ones, that of itself, and where it leads."""

    unfinished: float
    finished: float
    next: str


@cache
def _prefixes() -> dict[str, dict[str, _Prefix]]:
    """For each state, all beginnings of its strings."""
    result: dict[str, dict[str, _Prefix]] = {}
    for state, choices in chain().items():
        found: dict[str, _Prefix] = {}
        for choice in choices:
            for end in range(len(choice.text)):
                before = found.get(choice.text[:end], _Prefix(0.0, 0.0, ""))
                found[choice.text[:end]] = before._replace(unfinished=before.unfinished + choice.probability)
            before = found.get(choice.text, _Prefix(0.0, 0.0, ""))
            found[choice.text] = before._replace(finished=choice.probability, next=choice.next)
        result[state] = found
    return result


@cache
def _everywhere() -> Belief:
    """How often, in the long run, each place of a play is found."""
    shares = stationary()
    weights = {
        (state, written): shares[state] * prefix.unfinished
        for state, prefixes in _prefixes().items()
        for written, prefix in prefixes.items()
        if prefix.unfinished
    }
    total = sum(weights.values())
    return {place: weight / total for place, weight in weights.items()}


# --- the grammar ------------------------------------------------------------------------------------------------

Option = tuple[str, float, str]  # a string, its weight within its state, and the next state

SUBJECTS: list[Option] = [
    *(("the ", 9, "subject"), ("my ", 5, "subject"), ("thy ", 4, "subject"), ("our ", 3, "subject")),
    *(("this ", 3, "one"), ("each ", 2, "one"), ("all ", 2, "many"), ("these ", 2, "many"), ("those ", 1, "many")),
    *(("I ", 5, "plain"), ("we ", 3, "plain"), ("they ", 2, "plain")),
    *(("thou ", 4, "thou"), ("she ", 3, "third"), ("he ", 2, "third")),
]
OWNERS: list[Option] = [
    *(
        ("my ", 5, "one"),
        ("the miller's ", 2, "one"),
        ("a ", 3, "one"),
        ("our ", 3, "one"),
        ("the bishop's ", 2, "one"),
    ),
    *(("two ", 2, "many"), ("three ", 2, "many"), ("seven ", 1, "many")),
]


@cache
def chain() -> Chain:
    """The grammar: what each state can write, with probabilities that sum to 1."""
    states: dict[str, list[Option]] = {}
    _nobles(states)
    _commoners(states)
    return {state: _normalised(options) for state, options in states.items()}


def _normalised(options: Sequence[Option]) -> list[Choice]:
    total = sum(weight for _, weight, _ in options)
    return [Choice(text, weight / total, then) for text, weight, then in options]


def _draw(words: Sequence[str], weight: float, then: str | Callable[[str], str], after: str = " ") -> list[Option]:
    """The words, each followed by `after`, the earlier ones more frequent, with `weight` for all of them together."""
    ranks = [1 / (i + 8) for i in range(len(words))]
    return [
        (word + after, weight * rank / sum(ranks), then(word) if callable(then) else then)
        for word, rank in zip(words, ranks, strict=True)
    ]


def _capital(options: Sequence[Option]) -> list[Option]:
    return [(text[0].upper() + text[1:], weight, then) for text, weight, then in options]


def _scaled(options: Sequence[Option], weight: float, place: str) -> list[Option]:
    """Options with a total weight of `weight`, whose next states are those of the line at `place`."""
    total = sum(option[1] for option in options)
    return [(text, weight * share / total, f"{place}{then}") for text, share, then in options]


def _nobles(states: dict[str, list[Option]]) -> None:
    at = "nobles: "
    _noble_line(states)
    for rhyme in map(str.split, RHYMES):
        for word in rhyme:
            echo, others = f"{at}echo of {word}", [other for other in rhyme if other != word]
            states[echo] = _draw(ECHOES, 1, f"{echo}, ending")
            states[f"{echo}, ending"] = _draw(others, 3, f"{at}done", ".\n") + _draw(others, 1, f"{at}done", "!\n")
    states[f"{at}done"] = [
        *_scaled(states[f"{at}start"], 0.5, ""),
        ("\n", 0.3, "commoners: enter"),
        *_draw(["Speak", "Come hither", "Be silent", "Farewell"], 0.1, f"{at}call.", ", "),
        *_draw(["What sayest thou", "Is it so", "Dost thou laugh"], 0.1, f"{at}call?", ", "),
    ]
    replies = ["Peace", "Enough", "Hear me", "Away", "Poor fool"]
    states[f"{at}answer"] = [*_scaled(states[f"{at}start"], 0.4, ""), *_draw(replies, 0.6, f"{at}clause", ", ")]
    _meet(states, "nobles", NOBLES, "commoners", COMMONERS)


def _noble_line(states: dict[str, list[Option]]) -> None:
    """A line of verse: perhaps an opener, then subject, verb, perhaps an object, and a place that ends in a rhyme."""
    at, one, many = "nobles: ", PEOPLE.split(), CROWDS.split()
    openers = ["And", "But", "Yet", "Now", "So", "When", "Though", "Then"]
    states[f"{at}start"] = _scaled(_capital(SUBJECTS), 0.75, at) + _draw(openers, 0.25, f"{at}clause")
    states[f"{at}clause"] = _scaled(SUBJECTS, 1, at)
    states[f"{at}subject"] = [
        *_draw(MANNERS.split(), 0.3, f"{at}noun"),
        *_draw(one, 0.45, f"{at}third"),
        *_draw(many, 0.25, f"{at}plain"),
    ]
    states[f"{at}noun"] = _draw(one, 0.65, f"{at}third") + _draw(many, 0.35, f"{at}plain")
    states[f"{at}one"] = _draw(one, 1, f"{at}third")
    states[f"{at}many"] = _draw(many, 1, f"{at}plain")
    for person, helpers in (("plain", "shall must may"), ("third", "shall must may"), ("thou", "shalt must mayst")):
        states[f"{at}{person}"] = [
            *_draw([_verb(deed, person) for deed in DEEDS.split()], 0.6, f"{at}object"),
            *_draw([_verb(mood, person) for mood in MOODS.split()], 0.2, f"{at}place"),
            *_draw(helpers.split(), 0.2, f"{at}bare"),
        ]
    states[f"{at}bare"] = _draw(DEEDS.split(), 0.75, f"{at}object") + _draw(MOODS.split(), 0.25, f"{at}place")
    states[f"{at}object"] = [
        *_draw(["thee", "me", "him", "us", "them"], 0.45, f"{at}place"),
        *_draw(["the", "my", "thy", "no", "his", "her"], 0.55, f"{at}thing"),
    ]
    states[f"{at}thing"] = _draw(THINGS.split(), 1, f"{at}place")
    states[f"{at}place"] = _draw(PLACES.split(), 1, f"{at}whose")
    states[f"{at}whose"] = _draw(["the", "thy", "my", "this", "every", "that"], 1, f"{at}ending")
    states[f"{at}ending"] = [
        option
        for rhyme in map(str.split, RHYMES)
        for mark, weight in ((",\n", 3), (";\n", 1))
        for option in _draw(rhyme, weight, lambda word: f"{at}echo of {word}", mark)
    ]


def _verb(verb: str, person: str) -> str:
    """A regular verb in the present tense: I follow, thou followest, she follows."""
    if person == "plain":
        return verb
    stem = f"{verb[:-1]}i" if verb.endswith("y") and verb[-2] not in "aeiou" else verb
    if person == "thou":
        return f"{stem}st" if stem.endswith("e") else f"{stem}est"
    return f"{stem}es" if stem.endswith(("s", "sh", "i")) else f"{stem}s"


def _commoners(states: dict[str, list[Option]]) -> None:
    at = "commoners: "
    oaths, replies = ["Marry", "Faith", "Alas", "By my boots", "Good heavens"], ["Ay", "Nay", "In truth", "I know not"]
    states[f"{at}start"] = _scaled(_capital(OWNERS), 0.65, at) + _draw(oaths, 0.35, f"{at}clause", ", ")
    states[f"{at}answer"] = _draw(replies, 1, f"{at}clause", ", ")
    states[f"{at}clause"] = _scaled(OWNERS, 1, at)
    states[f"{at}one"] = _draw(KIN.split(), 1, f"{at}deed")
    states[f"{at}many"] = _draw([_plural(word) for word in KIN.split()], 1, f"{at}deed")
    states[f"{at}deed"] = _draw(PRANKS.split(), 1, f"{at}loot")
    states[f"{at}loot"] = [
        *_draw(["my", "the", "a", "his", "your"], 0.7, f"{at}good"),
        *_draw(["two", "three", "nine"], 0.3, f"{at}goods"),
    ]
    goods = GOODS.split()
    states[f"{at}good"] = _draw(goods, 1, f"{at}end", "")
    states[f"{at}goods"] = _draw([_plural(word) for word in goods], 1, f"{at}end", "")
    tails = [".", "!", " at dawn.", " for a penny.", " in the rain.", " again.", " before supper.", " twice a week."]
    states[f"{at}end"] = _draw(tails, 1, f"{at}done", "\n")
    states[f"{at}done"] = [
        *_scaled(states[f"{at}start"], 0.4, ""),
        ("\n", 0.4, "nobles: enter"),
        *_draw(["God save you", "Forgive me", "Be seated"], 0.1, f"{at}call.", ", "),
        *_draw(["Are you well", "Shall I go", "Will you dine"], 0.1, f"{at}call?", ", "),
    ]
    _meet(states, "commoners", COMMONERS, "nobles", NOBLES)


def _plural(word: str) -> str:
    return {"goose": "geese"}.get(word, f"{word}es" if word.endswith("ch") else f"{word}s")


def _meet(
    states: dict[str, list[Option]], group: str, names: Sequence[str], others: str, their_names: Sequence[str]
) -> None:
    """How one of the group comes to speak, perhaps after a stage direction; and how it calls one of the others."""
    at = f"{group}: enter"
    states[at] = [
        *_names(names, 0.88, f"{group}: start", "{NAME}:\n"),
        *_draw(["[Thunder", "[Music", "[A bell rings", "[Enter a ghost"], 0.06, at, ".]\n\n"),
        ("[Here comes ", 0.06, f"{group}: named"),
    ]
    states[f"{group}: named"] = _names(names, 1, f"{group}: start", "{name}.]\n\n{NAME}:\n")
    for mark in ".?":
        states[f"{group}: call{mark}"] = _names(their_names, 1, f"{others}: answer", "{name}" + mark + "\n\n{NAME}:\n")


def _names(names: Sequence[str], weight: float, then: str, form: str) -> list[Option]:
    """The names, as `form` writes them."""
    drawn = _draw(names, weight, then, "")
    return [(form.format(name=name, NAME=name.upper()), share, then) for name, share, _ in drawn]
