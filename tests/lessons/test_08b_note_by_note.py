"""Detour 08b: what its network hears, how it starts and is trained, and what it sings; its exercises in other right ways."""

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from course_utils.causality import before_in_order
from course_utils.data import voices
from course_utils.data.voices import REST
from course_utils.exercises import check
from course_utils.exercises.catalogue import definition
from course_utils.notebooks import lesson_code

WANTED = (
    "to_tokens to_pitches step_before count_notes table_losses mean_of NoteEmbedding FromAbove ChoraleNet hears windows "
    "note_losses sing compose describe crossed"
)
MASK = definition("voice_mask").reference(4)
LOWEST, EDGE = 37, 47  # the stand-in's lowest pitch and number of tokens, with three semitones to spare


@pytest.fixture
def lesson() -> SimpleNamespace:
    torch.manual_seed(0)
    return lesson_code.load("08b", *WANTED.split())


@pytest.fixture
def tunes(lesson: SimpleNamespace) -> list[Tensor]:
    return [lesson.to_tokens(piece, LOWEST) for piece in voices.generate(6)]


@pytest.fixture
def net(lesson: SimpleNamespace, tunes: list[Tensor]) -> Any:
    return lesson.ChoraleNet(lesson.count_notes(tunes, EDGE, 10)[1], hidden=12, width=8, mask=MASK)


@pytest.fixture
def loud(net: Any) -> Any:
    """A network that outvotes its table: what the LSTM remembers, and the clock, decide the notes."""
    torch.nn.init.normal_(net.out.weight, std=20)
    torch.nn.init.normal_(net.earlier.weight)
    return net


def test_tokens_and_pitches_are_each_others_inverse(lesson: SimpleNamespace) -> None:
    piece = torch.tensor([[72, 67, REST, 40], [REST, 67, 60, LOWEST]])
    tokens = lesson.to_tokens(piece, LOWEST)
    assert tokens.tolist() == [[36, 31, 0, 4], [0, 31, 24, 1]]
    assert torch.equal(lesson.to_pitches(tokens, LOWEST), piece)


def test_a_guess_hears_every_earlier_note_and_no_other(lesson: SimpleNamespace, net: Any) -> None:
    for steps in (1, 5, 9):
        for step, voice in itertools.product(range(steps), range(4)):
            heard = lesson.hears(net, steps, step, voice)
            assert torch.equal(heard, before_in_order((steps, 4), step, voice))


def test_what_comes_later_does_not_change_a_guess(net: Any, tunes: list[Tensor]) -> None:
    x, other = tunes[0][None, :20], tunes[1][None, :20]
    net.eval()
    for step, voice in ((0, 0), (0, 3), (7, 2), (19, 1)):
        mixed = torch.cat([x.flatten(1)[:, : 4 * step + voice], other.flatten(1)[:, 4 * step + voice :]], 1).view_as(x)
        torch.testing.assert_close(net(x)[0, step, voice], net(mixed)[0, step, voice], rtol=0, atol=0)


def test_training_starts_at_the_tables_loss(lesson: SimpleNamespace, net: Any, tunes: list[Tensor]) -> None:
    counted = lesson.mean_of(lesson.table_losses(lesson.count_notes(tunes, EDGE, 10)[1], tunes))
    assert lesson.mean_of(lesson.note_losses(net, tunes)) == pytest.approx(counted, abs=0.02)
    often, after = lesson.count_notes(tunes, EDGE, 10)
    for table in (often, after):
        assert table.shape == (4, EDGE + 1, EDGE)
        torch.testing.assert_close(table.exp().sum(2), torch.ones(4, EDGE + 1))


def test_the_loss_of_a_piece_does_not_depend_on_those_beside_it(
    lesson: SimpleNamespace, net: Any, tunes: list[Tensor]
) -> None:
    together, alone = lesson.note_losses(net, tunes), [lesson.note_losses(net, [tune])[0] for tune in tunes]
    assert [loss.shape for loss in together] == [tune.shape for tune in tunes]
    torch.testing.assert_close(torch.cat(together), torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_tokens_outside_the_vocabulary_are_refused(net: Any) -> None:
    for wrong in (-1, EDGE + 1):
        with pytest.raises(ValueError, match=f"tokens lie between 0 and {EDGE}; these run from"):
            net(torch.full((1, 3, 4), wrong))


def test_windows_begin_on_the_bar_and_keep_silence_and_edge(lesson: SimpleNamespace) -> None:
    tune = torch.arange(1, 42).view(-1, 1).expand(-1, 4).clone()
    tune[5] = 0
    cut = lesson.windows([tune], 99, range(-1, 2), length=16)
    assert cut.shape == (3 * 5, 16, 4)  # 41 steps are filled up to 48; in three keys
    assert torch.equal(cut[5], tune[:16]) and torch.equal(cut[0][:5], tune[:5] - 1)
    assert cut[0, 5].tolist() == [0] * 4
    assert torch.equal(cut[-1, 9:], torch.full((7, 4), 99)) and cut[-1, 8].tolist() == [42] * 4


def test_the_same_seed_composes_the_same_pieces(lesson: SimpleNamespace, net: Any) -> None:
    state = torch.random.get_rng_state()
    first = lesson.compose(net, 3, 10, seed=4)
    assert first.shape == (3, 10, 4) and first.min() >= 0 and first.max() < EDGE
    assert torch.equal(first, lesson.compose(net, 3, 10, seed=4))
    assert not torch.equal(first, lesson.compose(net, 3, 10, seed=5))
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_singer_draws_from_the_logits_of_the_whole_network(lesson: SimpleNamespace, loud: Any) -> None:
    """Almost without temperature, each note is the likeliest one given the notes before it, recomputed from scratch."""
    loud.train()
    tune = lesson.compose(loud, 1, 24, seed=0, temperature=1e-4)
    assert torch.equal(loud.eval()(tune).argmax(3), tune)


def test_a_singer_keeps_the_melody_it_is_given(lesson: SimpleNamespace, loud: Any, tunes: list[Tensor]) -> None:
    melody = torch.stack([tune[:16] for tune in tunes[:2]])
    known = torch.zeros(16, 4, dtype=torch.bool)
    known[:, 0] = True
    filled = lesson.sing(loud, melody, known, torch.Generator(), temperature=1e-4)
    assert torch.equal(filled[..., 0], melody[..., 0]) and not torch.equal(filled, melody)
    assert torch.equal(loud(filled).argmax(3)[..., 1:], filled[..., 1:])


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan")])
def test_a_temperature_that_is_none_is_refused(lesson: SimpleNamespace, net: Any, temperature: float) -> None:
    with pytest.raises(ValueError, match="the temperature must be above 0, not"):
        lesson.compose(net, 1, 4, seed=0, temperature=temperature)


def test_descriptions_of_pieces_with_known_shares(lesson: SimpleNamespace) -> None:
    triad = torch.tensor([72, 67, 64, 48]).expand(1, 8, 4).clone()
    triad[:, 4:] = torch.tensor([74, 67, 65, 47])  # on the beat, to a dominant seventh
    held, on_beat, in_key, in_chord = lesson.describe(triad)
    assert (held, on_beat, in_key, in_chord) == (pytest.approx(25 / 28), 1.0, 1.0, 0.5)
    silent = triad.clone()
    silent[:, 4:, 2] = REST  # without its seventh, it is a chord
    assert lesson.describe(silent)[3] == 1.0
    for tenor, share in (
        (63, 1.0),
        (64, 1.0),
        (65, 0.0),
        (REST, 1.0),
    ):  # minor, major, a fourth beside the fifth, neither
        assert lesson.describe(torch.tensor([72, 67, tenor, 48]).expand(1, 8, 4))[3] == share
    chromatic = torch.arange(60, 72).view(1, 12, 1).expand(-1, -1, 4)
    assert lesson.describe(chromatic)[2] == pytest.approx(7 / 12)


def test_ordered_voices_never_cross_and_others_do(lesson: SimpleNamespace, loud: Any) -> None:
    free, ordered = (lesson.compose(loud, 4, 16, seed=0, ordered=ordered) for ordered in (False, True))
    free, ordered = (lesson.to_pitches(tokens, LOWEST) for tokens in (free, ordered))
    assert lesson.crossed(free)[0] > 0 and lesson.crossed(ordered) == (0.0, 0.0)


def test_crossings_are_counted_by_step_and_rests_cross_nobody(lesson: SimpleNamespace) -> None:
    piece = torch.tensor([[72, 67, 60, 48], [72, 74, 60, 48], [72, 67, 47, 48], [72, REST, 60, 48], [60, 60, 60, 60]])
    assert lesson.crossed(piece.unsqueeze(0)) == (pytest.approx(2 / 5), pytest.approx(1 / 5))


def test_deaf_voices_hear_nothing_of_their_step(lesson: SimpleNamespace, tunes: list[Tensor]) -> None:
    torch.manual_seed(0)
    after = lesson.count_notes(tunes, EDGE, 10)[1]
    net = lesson.ChoraleNet(after, hidden=12, width=8, mask=torch.zeros(4, 4).bool())
    for voice in range(4):
        heard = lesson.hears(net, 6, 3, voice)
        assert heard[:3].all() and not heard[3:].any()


def mask_by_comparing(voices: int) -> Tensor:
    order = torch.arange(voices)
    return order.unsqueeze(1) > order


def keep_below_by_a_loop(logits: Tensor, above: Tensor) -> Tensor:
    limited = logits.clone()
    for row, highest in zip(limited, above.tolist(), strict=True):
        if highest:
            row[highest + 1 :] = -torch.inf
    return limited


def keep_below_a_limit(logits: Tensor, above: Tensor) -> Tensor:
    limit = torch.where(above == 0, logits.shape[1], above)
    return torch.where(torch.arange(logits.shape[1]) > limit[:, None], -torch.inf, logits)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("voice_mask", mask_by_comparing),
        ("voice_mask", lambda voices: torch.tensor([[j < i for j in range(voices)] for i in range(voices)])),
        ("keep_below", keep_below_by_a_loop),
        ("keep_below", keep_below_a_limit),
    ],
)
def test_another_right_way_is_right(name: str, answer: Callable) -> None:
    for seed in range(2):
        outcome = check(name, answer, seed)
        assert outcome.status == "right", outcome.message


def closed(forbidden: Callable[[Tensor, Tensor], Tensor], value: float = -torch.inf) -> Callable:
    """An answer to `keep_below` that closes these tokens, with this value."""
    return lambda logits, above: torch.where(forbidden(torch.arange(logits.shape[1]), above[:, None]), value, logits)


@pytest.mark.parametrize(
    ("name", "answer", "mistake"),
    [
        ("keep_below", closed(lambda token, above: (token > above) & (above > 0), -1e9), "very_small"),
        ("keep_below", closed(lambda token, above: token >= above), "all_from_above_on"),
        ("keep_below", closed(lambda token, above: (token > above[0]) & (above[0] > 0)), "first_piece_for_all"),
        (
            "keep_below",
            lambda z, above: z.softmax(-1) * (keep_below_a_limit(z, above) > -torch.inf),
            "probabilities_cut",
        ),
        (
            "voice_mask",
            lambda voices: torch.arange(voices) >= torch.arange(voices)[:, None],
            "turned_around_with_itself",
        ),
        ("voice_mask", lambda voices: torch.diag(torch.ones(voices)) == 1, "itself_alone"),
    ],
)
def test_the_usual_slips_are_told_by_name(name: str, answer: Callable, mistake: str) -> None:
    for seed in range(2):
        outcome = check(name, answer, seed)
        assert outcome.mistake == mistake, outcome.message


def test_what_stands_where_infinity_belongs_is_shown() -> None:
    outcome = check("keep_below", closed(lambda token, above: (token > above) & (above > 0), -1e4))
    assert "that should be −inf are not (the first at" in outcome.message
    assert outcome.message.split("(the first at")[1].split(")")[0].endswith(": yours -1e+04")
