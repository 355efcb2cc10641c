"""Exercises of lesson 09: the next-token loss, attention, heads, a cache of keys and values, and sampling."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from course_utils.exercises.define import Case, define, edge, randn

# -- 9.1 -----------------------------------------------------------------------------------------------------------


@define(lesson="09", points=2, outputs="loss", gradients=("logits",))
def next_token_loss(logits, tokens):
    """The mean surprise, in nats, of a text under a model that has read it from the left.

    logits: (B, T, V); logits[:, t] was computed from tokens[:, : t + 1] and is a prediction for tokens[:, t + 1].
    tokens: (B, T) of int64, T >= 2. Returns the mean of -log p over all B * (T - 1) predictions that can be checked,
    a tensor of shape ().
    """
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


def _predictions(generator: torch.Generator, batch: int, time: int, vocabulary: int, loud: float = 1.0) -> dict:
    return dict(
        logits=randn(generator, batch, time, vocabulary) * loud,
        tokens=torch.randint(0, vocabulary, (batch, time), generator=generator),
    )


@next_token_loss.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for batch, time, vocabulary in ((3, 5, 7), (4, 6, 3), (2, 9, 5), (5, 4, 11)):
        yield _predictions(generator, batch, time, vocabulary)
    yield edge("the batch holds one text", stated="A batch may hold one text", **_predictions(generator, 1, 6, 4))
    yield edge("the text has two tokens", stated="a text may have two tokens", **_predictions(generator, 4, 2, 5))
    yield edge(
        "the logits are as large as 1000",
        stated="logits may be as large as 1000",
        **_predictions(generator, 2, 4, 5, loud=700.0),
    )


@next_token_loss.typical
def _(generator: torch.Generator) -> dict:
    return _predictions(generator, 16, 64, 65)


@next_token_loss.mistake(
    "you compare the prediction at t with the token at t, which the model has just read. It can score perfectly by "
    "repeating what it sees, and will never learn to continue a text. The prediction at t belongs to tokens[:, t + 1]."
)
def the_token_just_read(logits, tokens):
    return F.cross_entropy(logits.flatten(0, 1), tokens.flatten())


@next_token_loss.mistake(
    "you shifted the wrong way: the prediction at t is compared with the token at t − 1, which the model has read "
    "long ago. Leave out the *last* prediction, whose answer is not in the text, and the *first* token, which nobody predicted."
)
def the_token_before(logits, tokens):
    return F.cross_entropy(logits[:, 1:].flatten(0, 1), tokens[:, :-1].flatten())


@next_token_loss.mistake(
    "`roll` moves the tokens in a circle: the last prediction is compared with the *first* token of the text. What "
    "comes after the end is unknown; leave the last prediction out."
)
def round_in_a_circle(logits, tokens):
    return F.cross_entropy(logits.flatten(0, 1), tokens.roll(-1, 1).flatten())


@next_token_loss.mistake(
    "you filled up the shifted tokens with 0, so the last prediction is compared with token 0, which is a character like "
    "any other. What comes after the end is unknown; leave the last prediction out."
)
def filled_up_with_zero(logits, tokens):
    return F.cross_entropy(logits.flatten(0, 1), F.pad(tokens[:, 1:], (0, 1)).flatten())


@next_token_loss.mistake(
    "there is no softmax: you take the logits for log-probabilities. They are any numbers; a model could lower such a "
    "loss without end by raising them all. `cross_entropy` normalises, `nll_loss` does not."
)
def logits_as_log_probabilities(logits, tokens):
    return F.nll_loss(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


@next_token_loss.mistake(
    "you shifted along the batch: each text is asked to predict its neighbour in the batch. The first dimension counts "
    "texts, the second time; it is time that is shifted."
)
def the_next_text(logits, tokens):
    return F.cross_entropy(logits[:-1].flatten(0, 1), tokens[1:].flatten())


@next_token_loss.mistake(
    "you lay all texts end to end and shift that. So the last prediction of each text has to answer for the *first* token of "
    "the next one, which has nothing to do with it. Shift every text by itself, `logits[:, :-1]` and `tokens[:, 1:]`, and "
    "flatten afterwards."
)
def across_texts(logits, tokens):
    return F.cross_entropy(logits.flatten(0, 1)[:-1], tokens.flatten()[1:])


@next_token_loss.mistake(
    "you cut the last place off logits *and* tokens, so that they still stand side by side: the prediction at t is compared "
    "with the token at t, which the model has just read. Of the tokens leave out the *first*: `tokens[:, 1:]`."
)
def both_cut_alike(logits, tokens):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, :-1].flatten())


@next_token_loss.mistake(
    "you return the sum over all predictions. Then a longer text or a larger batch looks worse, and the learning rate "
    "would have to change with it: take the mean."
)
def summed(logits, tokens):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction="sum")


@next_token_loss.mistake(
    "you add up over time and average over the batch. That is the surprise of a whole text; asked is the mean over all "
    "predictions, so that long and short windows can be compared."
)
def summed_over_time(logits, tokens):
    return _nll(logits[:, :-1], tokens[:, 1:]).sum(1).mean()


@next_token_loss.mistake(
    "you divide by B · T, but there are only B · (T − 1) predictions that can be checked: the last token of each text "
    "has no successor."
)
def divided_by_all_tokens(logits, tokens):
    return _nll(logits[:, :-1], tokens[:, 1:]).sum() / tokens.numel()


@next_token_loss.mistake(
    "only the last prediction of each text counts. Every position predicts its successor: that is why one window of T "
    "tokens gives T − 1 lessons at the price of one."
)
def last_prediction_only(logits, tokens):
    return F.cross_entropy(logits[:, -2], tokens[:, -1])


@next_token_loss.mistake(
    "`cross_entropy` wants the classes in dimension 1, and you brought them there with `view` or `reshape`. That cuts "
    "the numbers anew without moving them, so that logits of different positions are mixed. Use `transpose(1, 2)`, or "
    "flatten batch and time into one dimension."
)
def reshaped_instead_of_transposed(logits, tokens):
    batch, time, vocabulary = logits.shape
    return F.cross_entropy(logits[:, :-1].reshape(batch, vocabulary, time - 1), tokens[:, 1:])


@next_token_loss.mistake(
    "softmax is taken twice: `cross_entropy` does it itself, and it expects logits. Fed with probabilities it can never "
    "become small, and its gradients are faint."
)
def softmax_twice(logits, tokens):
    return F.cross_entropy(torch.softmax(logits[:, :-1], -1).flatten(0, 1), tokens[:, 1:].flatten())


@next_token_loss.mistake(
    "right for small logits, but `softmax` rounds the probability of an unlikely token to 0, and log 0 is −inf. Take "
    "`log_softmax`, or `cross_entropy`, which never leave the logarithm."
)
def log_of_zero(logits, tokens):
    return -torch.softmax(logits[:, :-1], -1).gather(2, tokens[:, 1:, None]).log().mean()


def _constant_in_the_logarithm(constant: float) -> None:
    """The mistake of writing log(p + constant), so that log 0 does not occur."""

    def wrong(logits, tokens):
        return -(torch.softmax(logits[:, :-1], -1).gather(2, tokens[:, 1:, None]) + constant).log().mean()

    wrong.__name__ = f"logarithm_of_p_plus_{constant:.0e}"
    next_token_loss.mistake(
        f"you add {constant:.0e} to the probability before you take its logarithm. That keeps it finite, but changes every "
        f"value a little, and no surprise can be larger than −log {constant:.0e} = {-math.log(constant):.1f} nats: a token "
        "that the model rules out costs no more than that, and its gradient vanishes. Take `log_softmax`, or "
        "`cross_entropy`: they need no constant."
    )(wrong)


for _constant in (1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12):
    _constant_in_the_logarithm(_constant)


def _probability_kept_above(constant: float) -> None:
    """The mistake of cutting p off at a constant, so that log 0 does not occur."""

    def kept_above(logits, tokens):
        p = torch.softmax(logits[:, :-1], -1).gather(2, tokens[:, 1:, None])
        return -p.clamp(min=constant).log().mean()

    kept_above.__name__ = f"p_kept_above_{constant:.0e}"
    next_token_loss.mistake(
        f"right for small logits, but you keep the probability above {constant:.0e}: no surprise can be larger than −log "
        f"{constant:.0e} = {-math.log(constant):.1f} nats, and the gradient of a token that the model rules out vanishes. Take "
        "`log_softmax`, or `cross_entropy`, which never leave the logarithm."
    )(kept_above)


for _constant in (1e-6, 1e-7, 1e-8):  # smaller ones do what log(p + constant) does
    _probability_kept_above(_constant)


@next_token_loss.mistake(
    "the logarithm is missing: you average the probabilities of the right tokens. A model that gives one token "
    "probability 0 must be punished without limit; −log does that, −p does not."
)
def probability_without_log(logits, tokens):
    return -torch.softmax(logits[:, :-1], -1).gather(2, tokens[:, 1:, None]).mean()


@next_token_loss.mistake(
    "you return the perplexity, exp of the mean surprise. It is a fine number to tell people; the loss is its logarithm."
)
def perplexity(logits, tokens):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).exp()


@next_token_loss.mistake(
    "the softmax runs over time instead of over the vocabulary. At each position the probabilities of all *tokens* sum to 1."
)
def softmax_over_time(logits, tokens):
    return -torch.log_softmax(logits[:, :-1], 1).gather(2, tokens[:, 1:, None]).mean()


def _nll(logits: Tensor, targets: Tensor) -> Tensor:
    """(B, T): the surprise of each target."""
    return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")


next_token_loss.hints(
    "Write the tokens of a short text in a row, and below each the token that the model should have said there. Which "
    "prediction has no answer? Which token is nobody's answer?",
    "The predictions are `logits[:, :-1]`, the answers `tokens[:, 1:]`: now both are (B, T − 1, …). "
    "`torch.nn.functional.cross_entropy` does softmax, logarithm and mean, if you give it (N, V) and (N,).",
    "Flatten batch and time into one dimension: `logits[:, :-1].flatten(0, 1)` and `tokens[:, 1:].flatten()`.",
)

# -- 9.2 -----------------------------------------------------------------------------------------------------------


@define(
    lesson="09",
    points=3,
    outputs="out",
    gradients=("q", "k", "v"),
    forbidden=("F.scaled_dot_product_attention", "nn.MultiheadAttention", "F.multi_head_attention_forward"),
)
def causal_attention(q, k, v):
    """Each position asks all positions up to itself, and takes home a weighted mean of what they offer.

    q, k, v: (B, heads, T, d): queries, keys and values. The scores are q·k / sqrt(d); position t may look at the
    positions 0 … t. Returns out, (B, heads, T, d).
    """
    scores = q @ k.mT / q.shape[-1] ** 0.5  # (B, heads, T, T): row = who asks, column = who is asked
    future = torch.ones_like(scores, dtype=torch.bool).triu(1)
    weights = torch.softmax(scores.masked_fill(future, -math.inf), dim=-1)
    return weights @ v


def _attention(generator: torch.Generator, batch: int, heads: int, time: int, d: int, lift: float = 0.0) -> dict:
    """`lift` is added to all entries of all keys: it lifts or lowers all scores of a query alike, about so much."""
    q, k, v = (randn(generator, batch, heads, time, d) for _ in range(3))
    return dict(q=q, k=k + lift, v=v)


@causal_attention.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for batch, heads, time, d in ((2, 3, 5, 4), (3, 2, 4, 6), (2, 5, 7, 3), (4, 2, 6, 9)):
        yield _attention(generator, batch, heads, time, d)
    yield edge(
        "there is one text and one head",
        stated="One text, one head and one position are allowed",
        **_attention(generator, 1, 1, 6, 5),
    )
    yield edge(
        "there is a single position",
        stated="One text, one head and one position are allowed",
        **_attention(generator, 3, 2, 1, 4),
    )
    yield edge(
        "the scores are as large as 150",
        stated="as large as 150 in either direction",
        **_attention(generator, 2, 3, 5, 7, lift=80.0),
    )
    zero = _attention(generator, 3, 2, 4, 5)
    yield edge(
        "some scores are exactly 0",
        stated="Scores may be exactly 0",
        **(zero | dict(q=zero["q"] * (torch.arange(4) % 2).view(-1, 1))),
    )
    yield edge(
        "each score is larger by 800 than the one before",
        stated="larger by 800 from each place to the next",
        **_growing_scores(generator, 1, 2, 3, 256),
    )


def _growing_scores(generator: torch.Generator, batch: int, heads: int, time: int, d: int) -> dict:
    """Every key scores about 800 more than the one before it, whoever asks: too much for any exp.

    Queries and keys share this out, and the values are small, for with all of them grows the rounding of a gradient, which
    is 0 here.
    """
    q, k, v = (randn(generator, batch, heads, time, d) for _ in range(3))
    steps = torch.arange(time) - time + 1
    return dict(q=10 + 0.1 * q, k=0.1 * k + 800 / (10 * d**0.5) * steps.view(-1, 1), v=0.05 * v)


@causal_attention.typical
def _(generator: torch.Generator) -> dict:
    return _attention(generator, 8, 4, 64, 32)


def _weighted(
    q: Tensor, k: Tensor, v: Tensor, scale: float | None = None, future: Tensor | None = None, fill: float = -math.inf
) -> Tensor:
    """The reference with another scale, another mask or another thing to fill it with."""
    scores = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    mask = _ones(scores).triu(1) if future is None else future
    return torch.softmax(scores.masked_fill(mask, fill), -1) @ v


def _ones(scores: Tensor) -> Tensor:
    return torch.ones(scores.shape[-2], scores.shape[-2], dtype=torch.bool, device=scores.device)


@causal_attention.mistake(
    "the scores are not divided by √d. A sum of d products grows like √d; without the division the softmax of a wide "
    "head is nearly one-hot from the start, and its gradient nearly zero."
)
def unscaled(q, k, v):
    return _weighted(q, k, v, scale=1.0)


@causal_attention.mistake(
    "you divide by d; it should be √d. The *variance* of a dot product grows like d, its typical size like √d. Divided "
    "by d the scores are too small, and every position looks at everything alike."
)
def scaled_by_d(q, k, v):
    return _weighted(q, k, v, scale=1 / q.shape[-1])


@causal_attention.mistake(
    "you multiply by √d where you should divide: the scores become d times too large, and the softmax picks one "
    "position instead of weighing them."
)
def scaled_up(q, k, v):
    return _weighted(q, k, v, scale=q.shape[-1] ** 0.5)


@causal_attention.mistake(
    "you divide by √d after the softmax. It is the *scores* that grow like √d and make the softmax nearly one-hot; divided "
    "afterwards, the weights of a query sum to 1/√d instead of 1. Divide before the softmax."
)
def scaled_after_softmax(q, k, v):
    return unscaled(q, k, v) / q.shape[-1] ** 0.5


@causal_attention.mistake(
    "you divide by √T, the length of the text. What makes a score large is the number of products in its sum, and "
    "that is d, the last dimension of q."
)
def scaled_by_time(q, k, v):
    return _weighted(q, k, v, scale=q.shape[-2] ** -0.5)


@causal_attention.mistake(
    "you divide by √(heads · d), the width of the whole model. Each head forms its scores from its own d numbers."
)
def scaled_by_width(q, k, v):
    return _weighted(q, k, v, scale=(q.shape[1] * q.shape[-1]) ** -0.5)


@causal_attention.mistake(
    "there is no mask: every position sees the future, the very tokens that it is to predict. In training the loss "
    "looks wonderful; in generation, where there is no future yet, the model is lost."
)
def future_seen(q, k, v):
    scores = q @ k.mT
    return _weighted(q, k, v, future=torch.zeros_like(scores, dtype=torch.bool))


@causal_attention.mistake(
    "two things are missing. The scores are not divided by √d, and there is no mask: every position sees the future, "
    "the very tokens that it is to predict."
)
def unscaled_and_unmasked(q, k, v):
    return torch.softmax(q @ k.mT, -1) @ v


@causal_attention.mistake(
    "`k.T` turns *all* dimensions round, batch and heads as well. Exchange the last two only: `k.mT`, or "
    "`k.transpose(-2, -1)`."
)
def all_dimensions_turned(q, k, v):
    scores = q @ k.permute(3, 2, 1, 0) / q.shape[-1] ** 0.5
    return torch.softmax(scores.masked_fill(_ones(scores).triu(1), -math.inf), -1) @ v


@causal_attention.mistake(
    "you masked the wrong triangle: each position sees itself and what comes *after* it. In the (T, T) scores the row "
    "asks and the column is asked; the future is where the column is larger, above the diagonal."
)
def past_masked(q, k, v):
    return _weighted(q, k, v, future=_ones(q).tril(-1))


@causal_attention.mistake(
    "you masked the wrong triangle, and the diagonal with it: each position sees only what comes after it, and the last "
    "one sees nothing (a softmax over nothing is NaN). The future is above the diagonal, and the present is allowed."
)
def past_and_present_masked(q, k, v):
    return _weighted(q, k, v, future=_ones(q).tril())


@causal_attention.mistake(
    "the diagonal is masked too: no position may look at itself, and the first sees nothing at all (a softmax over "
    "nothing is NaN). The token at t is known when t + 1 is predicted; mask from the first diagonal above, `triu(1)`."
)
def present_masked(q, k, v):
    return _weighted(q, k, v, future=_ones(q).triu())


@causal_attention.mistake(
    "your mask begins one place too late: each position sees one step into the future, exactly the token that it is to "
    "predict. The first forbidden diagonal is number 1, right above the main one."
)
def one_step_of_future(q, k, v):
    return _weighted(q, k, v, future=_ones(q).triu(2))


@causal_attention.mistake(
    "you fill the future with 0 (or something as small: 1e-9 is not −1e9). A score of 0 is no prohibition: its weight is "
    "exp(0) = 1 before normalising. Only a score of −∞ has weight 0."
)
def filled_with_zero(q, k, v):
    return _weighted(q, k, v, fill=0.0)


@causal_attention.mistake(
    "you mask after the softmax. The future has then already taken its share, and the weights that are left no longer "
    "sum to 1: early positions get next to nothing. Set the *scores* to −∞, before."
)
def masked_after_softmax(q, k, v):
    return torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1).tril() @ v


@causal_attention.mistake(
    "you put −∞ into the *weights*, after the softmax. There 0 means that nothing is taken, and −∞ times a value is infinite. "
    "It is the scores that become −∞, before the softmax, which then makes 0 of them."
)
def infinities_after_softmax(q, k, v):
    weights = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1)
    return weights.masked_fill(_ones(weights).triu(1), -math.inf) @ v


@causal_attention.mistake(
    "right while scores are tame: the future takes part in the softmax (or in the largest score that is subtracted before "
    "`exp`), is cut out afterwards, and the rest is made to sum to 1 again. But where a future score is far larger than those "
    "of the past, the past rounds to 0, and 0/0 is NaN. Forbid the future first, and nothing has to be repaired."
)
def cut_out_and_renormalised(q, k, v):
    weights = masked_after_softmax(q, k, torch.eye(k.shape[-2]).to(k))
    return weights / weights.sum(-1, keepdim=True) @ v


@causal_attention.mistake(
    "right until a score is exactly 0: you multiply the scores by the mask and then forbid whatever is 0. A score that is "
    "allowed may be 0 too, and a query of zeros is then forbidden everything (a softmax over nothing is NaN). Let the mask "
    "say what is forbidden, not the score: `masked_fill(future, -math.inf)`."
)
def zeros_taken_for_forbidden(q, k, v):
    scores = (q @ k.mT / q.shape[-1] ** 0.5).tril()
    return torch.softmax(scores.masked_fill(scores == 0, -math.inf), -1) @ v


@causal_attention.mistake(
    "the softmax runs over the wrong axis: over those who ask (dim −2). Every *query* distributes one unit of attention "
    "over the keys, so each row of the (T, T) matrix must sum to 1."
)
def softmax_over_queries(q, k, v):
    return torch.softmax(_masked(q, k), -2) @ v


@causal_attention.mistake(
    "the softmax runs over the heads (dim 1). With four dimensions count from the end: the keys are dim −1."
)
def softmax_over_heads(q, k, v):
    return torch.softmax(_masked(q, k), 1) @ v


@causal_attention.mistake(
    "keys and queries have changed places: `k @ q.mT` has a row for each key. The row is the one who asks: q @ k.mT."
)
def keys_ask(q, k, v):
    return _weighted(k, q, v)


@causal_attention.mistake(
    "there is no softmax: the scores themselves serve as weights. They can be negative and sum to anything; a weighted "
    "mean needs weights that are positive and sum to 1."
)
def without_softmax(q, k, v):
    return (q @ k.mT / q.shape[-1] ** 0.5).tril() @ v


@causal_attention.mistake(
    "you return the weights, (B, heads, T, T). They say how much each position listens to each other; what it hears "
    "are the values: multiply by v."
)
def weights_returned(q, k, v):
    return torch.softmax(_masked(q, k), -1)


@causal_attention.mistake(
    "the idea is right, but `exp` overflows for large scores, and inf/inf is NaN. `torch.softmax` subtracts each row's "
    "largest score first; use it, or do the same."
)
def exponentials_overflow(q, k, v):
    powers = _masked(q, k).exp()
    return powers / powers.sum(-1, keepdim=True) @ v


def _masked(q: Tensor, k: Tensor) -> Tensor:
    scores = q @ k.mT / q.shape[-1] ** 0.5
    return scores.masked_fill(_ones(scores).triu(1), -math.inf)


causal_attention.hints(
    "Four steps, as in the text: scores, mask, softmax, weighted mean. What shape has each of them? `@` multiplies the "
    "last two dimensions and leaves the others alone; `k.mT` exchanges the last two.",
    "Scores (B, heads, T, T): row t asks, column s is asked, so the future is where s > t, above the diagonal. Put −∞ "
    "there *before* the softmax; exp(−∞) is 0, and the rest still sums to 1.",
    "`future = torch.ones(T, T, dtype=torch.bool, device=q.device).triu(1)`, then "
    "`scores.masked_fill(future, -math.inf)`, then a softmax over dim −1, then `@ v`.",
)

# -- 9.3 -----------------------------------------------------------------------------------------------------------


@define(lesson="09", points=1, outputs="y", gradients=("x",))
def split_heads(x, n_heads):
    """Cut the channels into heads, each of which will attend on its own.

    x: (B, T, C). n_heads: int, divides C. Head h gets the channels h·C/n_heads … (h + 1)·C/n_heads − 1.
    Returns y, (B, n_heads, T, C / n_heads).
    """
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2)


@split_heads.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for batch, time, heads, d in ((2, 5, 3, 4), (3, 4, 2, 5), (4, 6, 5, 2), (2, 3, 4, 6)):
        yield dict(x=randn(generator, batch, time, heads * d), n_heads=heads)
    yield edge("there is one head", stated="One head is allowed", x=randn(generator, 3, 5, 4), n_heads=1)
    yield edge("every channel is a head", stated="a head for every channel", x=randn(generator, 2, 4, 3), n_heads=3)


@split_heads.typical
def _(generator: torch.Generator) -> dict:
    return dict(x=randn(generator, 16, 64, 128), n_heads=4)


@split_heads.mistake(
    "the shape is right, the contents are not: `view` (or `reshape`) straight to (B, heads, T, …) cuts the numbers anew "
    "without moving them, so a head gets pieces of different *positions*. Cut the channels first, (B, T, heads, …), "
    "then exchange time and heads with `transpose`."
)
def reshaped_only(x, n_heads):
    batch, time, channels = x.shape
    return x.reshape(batch, n_heads, time, channels // n_heads)


@split_heads.mistake(
    "the shape is right, the contents are not: you exchange time and *channels*, and then cut the numbers anew, so a "
    "row holds one channel at several positions. Cut the channels first, (B, T, heads, …), then exchange time and heads."
)
def transposed_before_cutting(x, n_heads):
    batch, time, channels = x.shape
    return x.transpose(1, 2).reshape(batch, n_heads, time, channels // n_heads)


@split_heads.mistake(
    "time still comes before the heads, (B, T, heads, d). Attention multiplies the last two dimensions, so every head "
    "needs its own (T, d) matrix there: exchange dimensions 1 and 2."
)
def not_transposed(x, n_heads):
    return x.unflatten(-1, (n_heads, -1))


@split_heads.mistake(
    "your heads take turns, like a hand of cards: head 0 gets the channels 0, n_heads, 2·n_heads … A head should get "
    "neighbours: cut the channels into (n_heads, d), in this order, not into (d, n_heads)."
)
def dealt_like_cards(x, n_heads):
    return x.unflatten(-1, (-1, n_heads)).permute(0, 3, 1, 2)


@split_heads.mistake(
    "number and size of the heads have changed places: you return C / n_heads heads with n_heads channels each."
)
def number_for_size(x, n_heads):
    return x.unflatten(-1, (-1, n_heads)).transpose(1, 2)


@split_heads.mistake(
    "the heads come first, (heads, B, T, d): that is what stacking the pieces along dimension 0 gives. The batch stays "
    "in front; stack along dimension 1."
)
def heads_before_batch(x, n_heads):
    return torch.stack(x.chunk(n_heads, dim=-1))


@split_heads.mistake(
    "time and channels of each head have changed places, (B, heads, d, T). Every head needs a (T, d) matrix: a row for "
    "each position."
)
def time_last(x, n_heads):
    return x.unflatten(-1, (n_heads, -1)).permute(0, 2, 3, 1)


@split_heads.mistake(
    "batch and heads are merged into one dimension, (B · heads, T, d). Older code did that; here they stay apart, "
    "(B, heads, T, d)."
)
def heads_in_the_batch(x, n_heads):
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2).flatten(0, 1)


@split_heads.mistake(
    "you cut *time* into heads: each of them gets a part of the text with all channels. Every head reads the whole "
    "text, in a part of the channels."
)
def time_cut(x, n_heads):
    rest = x.shape[1] - x.shape[1] % n_heads
    return x[:, :rest].unflatten(1, (n_heads, -1))


split_heads.hints(
    "Take T = 2, C = 4, two heads, and write down the four numbers of each position. Which of them go to head 0?",
    "Two steps. Cut the last dimension: (B, T, C) → (B, T, heads, d). Then exchange the two in the middle.",
    "`x.view(B, T, n_heads, C // n_heads)` (or `x.unflatten(-1, (n_heads, -1))`), then `.transpose(1, 2)`.",
)

# -- 9.4 -----------------------------------------------------------------------------------------------------------


@define(lesson="09", points=1, outputs="x", gradients=("y",))
def merge_heads(y):
    """Lay the results of all heads side by side: the way back from split_heads.

    y: (B, heads, T, d). Returns x, (B, T, heads·d); head 0 fills the first d channels of each position.
    """
    return y.transpose(1, 2).flatten(2)


@merge_heads.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for batch, heads, time, d in ((2, 3, 5, 4), (3, 2, 4, 5), (4, 5, 6, 2), (2, 4, 3, 6)):
        yield dict(y=randn(generator, batch, heads, time, d))
    yield edge("there is one head", stated="for one head", y=randn(generator, 3, 1, 5, 4))
    yield edge("a head has one channel", stated="for heads of one channel too", y=randn(generator, 2, 4, 3, 1))


@merge_heads.typical
def _(generator: torch.Generator) -> dict:
    return dict(y=randn(generator, 16, 4, 64, 32))


@merge_heads.mistake(
    "the shape is right, the contents are not: reshaping (B, heads, T, d) straight to (B, T, heads · d) puts pieces of "
    "different *positions* into one row. Exchange heads and time first, then join."
)
def joined_without_transposing(y):
    batch, heads, time, d = y.shape
    return y.reshape(batch, time, heads * d)


@merge_heads.mistake(
    "the shape is right, the contents are not: you exchange time and *channels*, and then cut the numbers anew. Exchange "
    "heads and time, dimensions 1 and 2, and join the last two."
)
def wrong_pair_transposed(y):
    batch, heads, time, d = y.shape
    return y.transpose(2, 3).reshape(batch, time, heads * d)


@merge_heads.mistake(
    "the heads' channels alternate: channel 0 of every head, then channel 1 … Each head's d channels should stay "
    "together, head 0 first, as split_heads cut them."
)
def shuffled_like_cards(y):
    return y.permute(0, 2, 3, 1).flatten(2)


@merge_heads.mistake(
    "you add the heads up. What they found is then mixed beyond recovery; laid side by side, the next linear layer can "
    "choose how to combine them."
)
def heads_added(y):
    return y.sum(1)


@merge_heads.mistake(
    "you average the heads. What they found is then mixed beyond recovery; laid side by side, the next linear layer can "
    "choose how to combine them."
)
def heads_averaged(y):
    return y.mean(1)


@merge_heads.mistake(
    "the heads are joined along time, (B, heads · T, d): a text that is n_heads times as long. They are joined along the "
    "channels."
)
def joined_along_time(y):
    return y.flatten(1, 2)


@merge_heads.mistake(
    "positions and heads are in one dimension, (B, T · heads, d). Time keeps a dimension of its own: join the last two."
)
def joined_with_time(y):
    return y.transpose(1, 2).flatten(1, 2)


@merge_heads.mistake(
    "heads and time are exchanged, but not yet joined: (B, T, heads, d). The last two dimensions become one."
)
def not_joined(y):
    return y.transpose(1, 2)


@merge_heads.mistake(
    "channels come before time, (B, C, T). That is how images and convolutions have it; here a row is a position: (B, T, C)."
)
def channels_first(y):
    return y.transpose(2, 3).flatten(1, 2)


merge_heads.hints(
    "It is split_heads backwards: undo its last step first.",
    "Exchange dimensions 1 and 2, then join the last two. After `transpose` the numbers no longer lie in order in "
    "memory, so `view` refuses; `flatten` and `reshape` copy where they must.",
    "`y.transpose(1, 2)` is (B, T, heads, d); `.flatten(2)` joins everything from dimension 2 on.",
)

# -- 9.5 -----------------------------------------------------------------------------------------------------------


@define(
    lesson="09",
    points=2,
    outputs=("out", "keys", "values"),
    forbidden=("F.scaled_dot_product_attention", "nn.MultiheadAttention", "F.multi_head_attention_forward"),
)
def cached_attention(q, k, v, past_k, past_v):
    """Causal attention of S new places of a text whose first P places have been read before.

    q, k, v: (B, heads, S, d): queries, keys and values of the new places. past_k, past_v: (B, heads, P, d): keys and
    values of the places before them. Returns (out, keys, values): out (B, heads, S, d) for the new places; keys and
    values (B, heads, P + S, d), in the order of the text: what the next call gets as its past.
    """
    keys, values = torch.cat([past_k, k], dim=2), torch.cat([past_v, v], dim=2)  # (B, heads, P + S, d)
    scores = q @ keys.mT / q.shape[-1] ** 0.5  # (B, heads, S, P + S): row i asks from place P + i
    future = torch.ones_like(scores, dtype=torch.bool).triu(past_k.shape[2] + 1)
    weights = torch.softmax(scores.masked_fill(future, -math.inf), dim=-1)
    return weights @ values, keys, values


def _continued(generator: torch.Generator, batch: int, heads: int, past: int, new: int, d: int) -> dict:
    q, k, v = (randn(generator, batch, heads, new, d) for _ in range(3))
    past_k, past_v = (randn(generator, batch, heads, past, d) for _ in range(2))
    return dict(q=q, k=k, v=v, past_k=past_k, past_v=past_v)


@cached_attention.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for batch, heads, past, new, d in ((2, 3, 5, 4, 6), (3, 2, 4, 3, 5), (2, 4, 7, 2, 3), (4, 2, 3, 5, 7)):
        yield _continued(generator, batch, heads, past, new, d)
    yield edge("the past is empty", stated="the past may be empty", **_continued(generator, 2, 3, 0, 4, 5))
    yield edge(
        "there is one new place", stated="Usually there is one new place", **_continued(generator, 3, 2, 6, 1, 4)
    )
    yield edge(
        "there is one text and one head",
        stated="one text and one head are allowed",
        **_continued(generator, 1, 1, 4, 3, 5),
    )


@cached_attention.typical
def _(generator: torch.Generator) -> dict:
    return _continued(generator, 1, 4, 255, 1, 32)


def _looked_up(q: Tensor, keys: Tensor, values: Tensor, first_forbidden: int, scale: float | None = None) -> Tensor:
    """The reference's look-up with another first forbidden diagonal, or another scale."""
    scores = q @ keys.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    future = torch.ones_like(scores, dtype=torch.bool).triu(first_forbidden)
    return torch.softmax(scores.masked_fill(future, -math.inf), -1) @ values


def _whole(k: Tensor, v: Tensor, past_k: Tensor, past_v: Tensor) -> tuple[Tensor, Tensor]:
    return torch.cat([past_k, k], 2), torch.cat([past_v, v], 2)


@cached_attention.mistake(
    "your mask counts the new places from 0, as if nothing stood before them: new place i then sees only the first i + 1 "
    "places of the text. It is place P + i, and may see all P old places and the new ones up to itself: the first forbidden "
    "diagonal is number P + 1."
)
def counted_from_zero(q, k, v, past_k, past_v):
    keys, values = _whole(k, v, past_k, past_v)
    return _looked_up(q, keys, values, 1), keys, values


@cached_attention.mistake(
    "there is no mask. With one new place none is needed, for nothing stands after it; but with several, as when a prompt is "
    "read, the first of them sees the others, which are its future."
)
def new_ones_unmasked(q, k, v, past_k, past_v):
    keys, values = _whole(k, v, past_k, past_v)
    return _looked_up(q, keys, values, keys.shape[2]), keys, values


@cached_attention.mistake(
    "the new keys and values stand *before* the old ones. The text's order is past, then new; the mask and the next call "
    "rely on it."
)
def new_before_old(q, k, v, past_k, past_v):
    keys, values = _whole(past_k, past_v, k, v)
    return _looked_up(q, keys, values, past_k.shape[2] + 1), keys, values


@cached_attention.mistake(
    "the new places look at the past only, and neither at themselves nor at the new ones before them. Join old and new keys "
    "first, and let the queries ask all of them."
)
def past_only(q, k, v, past_k, past_v):
    keys, values = _whole(k, v, past_k, past_v)
    return _looked_up(q, past_k, past_v, past_k.shape[2]), keys, values


@cached_attention.mistake(
    "the new places look at one another and never at the past: a text that is always just beginning. The scores run over all "
    "P + S keys."
)
def past_ignored(q, k, v, past_k, past_v):
    return _looked_up(q, k, v, 1), *_whole(k, v, past_k, past_v)


@cached_attention.mistake(
    "`out` is right, but you hand back the new keys and values alone. The next call would know nothing of what came before: "
    "return the old and the new ones together."
)
def only_the_new_handed_back(q, k, v, past_k, past_v):
    return cached_attention(q, k, v, past_k, past_v)[0], k, v


@cached_attention.mistake(
    "`out` is right, but you hand back the past as it came. The new places would be forgotten by the next call: return the old "
    "and the new ones together."
)
def only_the_past_handed_back(q, k, v, past_k, past_v):
    return cached_attention(q, k, v, past_k, past_v)[0], past_k, past_v


@cached_attention.mistake(
    "the scores are not divided by √d. It is the same attention as without a cache: every number must be the same."
)
def cached_unscaled(q, k, v, past_k, past_v):
    keys, values = _whole(k, v, past_k, past_v)
    return _looked_up(q, keys, values, past_k.shape[2] + 1, scale=1.0), keys, values


@cached_attention.mistake(
    "your mask begins one place too late: each new place sees one step into the future. The first forbidden diagonal is number "
    "P + 1."
)
def one_step_too_far(q, k, v, past_k, past_v):
    keys, values = _whole(k, v, past_k, past_v)
    return _looked_up(q, keys, values, past_k.shape[2] + 2), keys, values


@cached_attention.mistake(
    "the new places do not see themselves: the mask begins one diagonal too early. Place P + i may see P + i; the first "
    "forbidden diagonal is number P + 1."
)
def itself_unseen(q, k, v, past_k, past_v):
    keys, values = _whole(k, v, past_k, past_v)
    return _looked_up(q, keys, values, past_k.shape[2]), keys, values


@cached_attention.mistake(
    "you mask as if there were as many new places as old ones: the first forbidden diagonal is that of S, the new places, not "
    "of P, the old ones."
)
def new_for_old(q, k, v, past_k, past_v):
    keys, values = _whole(k, v, past_k, past_v)
    return _looked_up(q, keys, values, q.shape[2] + 1), keys, values


@cached_attention.mistake(
    "there is no mask, and the scores are not divided by √d. It is the same attention as without a cache, for places P, P + 1, …: "
    "every number must be the same."
)
def cached_unscaled_and_unmasked(q, k, v, past_k, past_v):
    keys, values = _whole(k, v, past_k, past_v)
    return _looked_up(q, keys, values, keys.shape[2], scale=1.0), keys, values


@cached_attention.mistake(
    "you divide by √d after the softmax, so that the weights of a query sum to 1/√d instead of 1. Divide the scores, before."
)
def cached_scaled_after_softmax(q, k, v, past_k, past_v):
    keys, values = _whole(k, v, past_k, past_v)
    return _looked_up(q, keys, values, past_k.shape[2] + 1, scale=1.0) / q.shape[-1] ** 0.5, keys, values


@cached_attention.mistake(
    "you mask after the softmax. The future has then already taken its share, and the weights that are left no longer sum to 1: "
    "set the *scores* to −∞, before."
)
def cached_masked_after_softmax(q, k, v, past_k, past_v):
    keys, values = _whole(k, v, past_k, past_v)
    weights = torch.softmax(q @ keys.mT / q.shape[-1] ** 0.5, -1).tril(past_k.shape[2])
    return weights @ values, keys, values


@cached_attention.mistake(
    "you fill the future with 0. A score of 0 is no prohibition: its weight is exp(0) = 1 before normalising. Only a score of −∞ "
    "has weight 0."
)
def cached_filled_with_zero(q, k, v, past_k, past_v):
    keys, values = _whole(k, v, past_k, past_v)
    scores = (q @ keys.mT / q.shape[-1] ** 0.5).tril(past_k.shape[2])
    return torch.softmax(scores, -1) @ values, keys, values


cached_attention.hints(
    "Take P = 2 old places and S = 2 new ones, and draw the table: two rows that ask, four columns that are asked. Which one "
    "cell is forbidden?",
    "`torch.cat([past_k, k], dim=2)` joins the keys, and the values likewise. Then it is your causal attention with rows that "
    "begin at place P: the first forbidden diagonal moves from 1 to P + 1.",
    "`future = torch.ones_like(scores, dtype=torch.bool).triu(past_k.shape[2] + 1)`; fill those scores with −∞, take the "
    "softmax, multiply by the joined values; return the result with the joined keys and values.",
)

# -- 9.6 -----------------------------------------------------------------------------------------------------------


@define(lesson="09", points=1, outputs="filtered")
def top_k_filter(logits, k):
    """Forbid all but the k likeliest tokens.

    logits: (…, V), with any number of dimensions in front. k: int, at least 1; from V on, everything is kept.
    Returns logits of the same shape in which all that are smaller than the k-th largest of their row are -inf; ties
    with the k-th are kept. The argument stays as it is.
    """
    kth = logits.topk(min(k, logits.shape[-1])).values[..., -1:]
    return logits.masked_fill(logits < kth, -math.inf)


@top_k_filter.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape, k in (((4, 7), 3), ((2, 9), 5), ((3, 5), 2), ((6, 4), 3), ((2, 3, 8), 4)):
        yield dict(logits=randn(generator, *shape) * 2, k=k)
    yield dict(logits=randn(generator, 5, 6) - 4, k=2)
    yield edge(
        "the row stands alone, without a batch",
        stated="with any number of dimensions in front",
        logits=randn(generator, 8),
        k=3,
    )
    yield edge("k is 1", stated="k: int, at least 1", logits=randn(generator, 3, 6), k=1)
    yield edge(
        "k is the size of the vocabulary", stated="from V on, everything is kept", logits=randn(generator, 2, 5), k=5
    )
    yield edge(
        "k is larger than the vocabulary",
        stated="What if $k$ exceeds the vocabulary?",
        logits=randn(generator, 3, 4),
        k=9,
    )
    tied = torch.tensor([3.0, 1.0, 2.0, 2.0, 0.0, 2.0])
    places = torch.rand(2, 6, generator=generator).argsort(1)
    yield edge(
        "several logits tie with the k-th", stated="What if two are equal at the border?", logits=tied[places], k=2
    )


@top_k_filter.typical
def _(generator: torch.Generator) -> dict:
    return dict(logits=randn(generator, 16, 65), k=10)


def _kth(logits: Tensor, k: int) -> Tensor:
    """(…, 1): the k-th largest entry of each row, or its smallest where there are fewer."""
    size = logits.shape[-1]
    return logits.sort(dim=-1).values[..., size - min(k, size)].unsqueeze(-1)


@top_k_filter.mistake(
    "right, except that of several tokens that tie with the k-th you keep some and drop others, by an accident of "
    "sorting. Compare every logit with the k-th largest instead, and keep the equal ones."
)
def ties_dropped(logits, k):
    values, places = logits.topk(min(k, logits.shape[-1]))
    return torch.full_like(logits, -math.inf).scatter(-1, places, values)


@top_k_filter.mistake(
    "the k-th token itself is gone: only those *above* it are kept, k − 1 of them. Drop what is smaller than the k-th "
    "largest, `<`, not `<=`."
)
def kth_dropped(logits, k):
    return logits.masked_fill(logits <= _kth(logits, k), -math.inf)


@top_k_filter.mistake(
    "you keep one token too many. Counted from zero the k-th largest stands at place k − 1 of the row, sorted downwards."
)
def one_too_many(logits, k):
    return logits.masked_fill(logits < _kth(logits, k + 1), -math.inf)


@top_k_filter.mistake(
    "the forbidden logits are 0. That is a logit like any other, often a likely one: its weight is exp(0) = 1. Only −∞ "
    "has probability 0."
)
def zeroed(logits, k):
    return logits.masked_fill(logits < _kth(logits, k), 0.0)


@top_k_filter.mistake(
    "the forbidden logits are very small, but finite. −inf is asked for: its probability is exactly 0 in every "
    "precision, and two filters in a row keep meaning what they say."
)
def very_small(logits, k):
    return logits.masked_fill(logits < _kth(logits, k), -1e9)


@top_k_filter.mistake("you keep the k *smallest* logits: the tokens that the model thinks least likely.")
def smallest_kept(logits, k):
    return logits.masked_fill(logits > -_kth(-logits, k), -math.inf)


@top_k_filter.mistake(
    "you look for the k largest of the whole tensor. Every row is a prediction of its own and keeps its own k tokens."
)
def one_set_for_all_rows(logits, k):
    return logits.masked_fill(logits < _kth(logits.flatten(), k), -math.inf)


@top_k_filter.mistake(
    "you go down the columns (dim 0): tokens compete with the same token of other rows. Each row, the last dimension, "
    "is one prediction."
)
def down_the_columns(logits, k):
    return logits.masked_fill(logits < _kth(logits.movedim(0, -1), k).movedim(-1, 0), -math.inf)


@top_k_filter.mistake(
    "you rank by absolute value, so that very negative logits, the least likely of all, count as large. Rank the logits "
    "as they are."
)
def ranked_by_size(logits, k):
    return logits.masked_fill(logits.abs() < _kth(logits.abs(), k), -math.inf)


@top_k_filter.mistake(
    "you return probabilities; logits are asked for, so that a temperature or another filter can still follow. Return "
    "the logits themselves, with −inf for the forbidden ones."
)
def probabilities_returned(logits, k):
    return torch.softmax(logits.masked_fill(logits < _kth(logits, k), -math.inf), -1)


@top_k_filter.mistake(
    "you return the k largest logits alone, and which tokens they belong to is lost. The result has a place for every "
    "token of the vocabulary."
)
def values_only(logits, k):
    return logits.topk(min(k, logits.shape[-1])).values


@top_k_filter.mistake(
    "the result is right, but you changed the logits that you were given. The lesson still draws them: return a new "
    "tensor (`masked_fill`, not `masked_fill_` or `logits[…] = …`)."
)
def filtered_in_place(logits, k):
    return logits.masked_fill_(logits < _kth(logits, k), -math.inf)


@top_k_filter.mistake(
    "the order is lost: you return the logits sorted, so the likeliest token is always number 0 of the vocabulary. Every logit "
    "keeps its place."
)
def left_in_order_of_size(logits, k):
    ordered = logits.sort(dim=-1, descending=True).values
    return ordered.masked_fill(ordered < _kth(logits, k), -math.inf)


@top_k_filter.mistake(
    "you return log-probabilities of what is left. The logits themselves are asked for, as they were, with −inf for the others."
)
def normalised_anew(logits, k):
    return logits.masked_fill(logits < _kth(logits, k), -math.inf).log_softmax(-1)


top_k_filter.hints(
    "One number decides for a whole row: its k-th largest logit. What happens to all that are smaller?",
    "`logits.topk(k).values` is sorted downwards, so the k-th largest is its last column; keep that dimension "
    "(`[..., -1:]`) and the comparison works row by row. topk refuses a k beyond V: ask for `min(k, V)`.",
    "`logits.masked_fill(logits < kth, -math.inf)` with kth (…, 1).",
)

# -- 9.7 -----------------------------------------------------------------------------------------------------------


@define(lesson="09", points=2, outputs="filtered")
def top_p_filter(logits, p):
    """Keep the nucleus: the smallest set of likeliest tokens whose probabilities sum to at least p.

    logits: (…, V), with any number of dimensions in front. p: 0 < p <= 1. Returns logits of the same shape and order
    with -inf outside the set. At least one token is always kept; p = 1 keeps them all. The argument stays as it is.
    Source: Holtzman et al., The Curious Case of Neural Text Degeneration (2020), section 3.1.
    """
    ordered, order = logits.sort(descending=True)
    probabilities = torch.softmax(ordered, dim=-1)
    before = probabilities.cumsum(-1) - probabilities  # the mass of all that are likelier
    outside = (before >= p) & (p < 1)  # at p = 1 no rounding may drop the rarest
    return logits.scatter(-1, order, ordered.masked_fill(outside, -math.inf))


@top_p_filter.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape, p in (((4, 7), 0.7), ((2, 9), 0.5), ((3, 5), 0.9), ((6, 4), 0.6), ((2, 3, 8), 0.8)):
        yield dict(logits=randn(generator, *shape) * 1.5, p=p)
    yield dict(logits=randn(generator, 5, 6) - 4, p=0.35)
    yield edge(
        "the row stands alone, without a batch",
        stated="with any number of dimensions in front",
        logits=randn(generator, 9),
        p=0.75,
    )
    yield edge("p is tiny", stated="At least one token is always kept", logits=randn(generator, 4, 6), p=0.01)
    yield edge(
        "one token is nearly certain",
        stated="At least one token is always kept",
        logits=_certain(generator, 3, 6),
        p=0.95,
    )
    yield edge("p is 1", stated="p = 1 keeps them all", logits=randn(generator, 3, 7), p=1.0)
    yield edge(
        "p is 1 and one token is nearly certain",
        stated="even where one is nearly certain",
        logits=_certain(generator, 2, 5, gap=60.0),
        p=1.0,
    )


def _certain(generator: torch.Generator, batch: int, vocabulary: int, gap: float = 9.0) -> Tensor:
    logits = randn(generator, batch, vocabulary)
    return logits.scatter(1, torch.randint(0, vocabulary, (batch, 1), generator=generator), gap)


@top_p_filter.typical
def _(generator: torch.Generator) -> dict:
    return dict(logits=randn(generator, 16, 65), p=0.9)


def _nucleus(logits: Tensor, p: float, likeliest_first: bool = True) -> Tensor:
    """Which tokens belong to it, in the logits' own order: those with less than p before them. p = 1 is not special."""
    rank = logits if likeliest_first else -logits
    earlier = rank.unsqueeze(-2) > rank.unsqueeze(-1)
    return (earlier * torch.softmax(logits, -1).unsqueeze(-2)).sum(-1) < p


def _sums(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The mass of each token and all that are likelier, in the logits' own order; and its place in the ranking."""
    ordered, order = logits.sort(descending=True)
    sums = torch.softmax(ordered, -1).cumsum(-1)
    rank = order.argsort(-1)
    return sums.gather(-1, rank), rank


@top_p_filter.mistake(
    "the token with which the sum crosses p is missing: you keep those whose running sum is still below p, and together "
    "they do not reach it. When the first token alone has more than p, nothing is left at all. Ask for the mass "
    "*before* a token: if that is below p, the token is still needed."
)
def stops_short(logits, p):
    sums, _ = _sums(logits)
    return logits.masked_fill(sums > p, -math.inf)


@top_p_filter.mistake(
    "you keep the tokens whose running sum is below p (`cumsum < p`). Together they have less than p: the token with which "
    "the sum crosses p is needed too, and at p = 1 it is the last one of all. Ask for the mass *before* a token: if that is "
    "below p, the token is still needed."
)
def sums_below_p(logits, p):
    sums, _ = _sums(logits)
    return logits.masked_fill(sums >= p, -math.inf)


@top_p_filter.mistake(
    "the first token is safe, but otherwise the one with which the sum crosses p is missing: the set you keep does not "
    "reach p. Ask for the mass *before* a token: if that is below p, the token is still needed."
)
def stops_short_but_keeps_one(logits, p):
    sums, rank = _sums(logits)
    return logits.masked_fill((sums > p) & (rank > 0), -math.inf)


@top_p_filter.mistake(
    "right, until p is 1 and one token is nearly certain. Then the running sum is rounded to 1 before the list ends, and "
    "tokens that are rare, but allowed, are dropped. p = 1 means: keep them all, whatever rounding says."
)
def rounded_away(logits, p):
    sums, rank = _sums(logits)
    before = sums - torch.softmax(logits, -1)
    return logits.masked_fill((before >= p) & (rank > 0), -math.inf)


@top_p_filter.mistake(
    "the order is lost: you return the logits sorted, so the likeliest token is always number 0 of the vocabulary. Put "
    "every logit back in its place (`scatter` with the sorting's indices)."
)
def left_sorted(logits, p):
    return _only(logits, _nucleus(logits, p)).sort(dim=-1, descending=True).values


@top_p_filter.mistake(
    "you put the logits back with `gather` (or `[order]`), which sorts a second time instead of undoing the sorting. "
    "Entry i of the sorted row came from place order[i] and must go back *to* it: `scatter`, or gather with "
    "`order.argsort()`."
)
def sorted_twice(logits, p):
    ordered, order = logits.sort(descending=True)
    return _only(ordered, _nucleus(ordered, p)).gather(-1, order)


@top_p_filter.mistake(
    "the mask is in sorted order, the logits are not: you forbid whoever happens to stand in those places. Carry the "
    "mask back to the tokens first (`scatter` with the sorting's indices)."
)
def mask_left_sorted(logits, p):
    probabilities = torch.softmax(logits.sort(descending=True).values, -1)
    return logits.masked_fill(probabilities.cumsum(-1) - probabilities >= p, -math.inf)


@top_p_filter.mistake(
    "you sorted upwards: the set is filled from the least likely tokens. Start with the likeliest, "
    "`sort(descending=True)`."
)
def filled_from_below(logits, p):
    return _only(logits, _nucleus(logits, p, likeliest_first=False))


@top_p_filter.mistake(
    "you compare the probability of each single token with p. It is their running *sum*, from the likeliest down, that "
    "has to reach p."
)
def each_by_itself(logits, p):
    return _only(logits, torch.softmax(logits, -1) >= p)


@top_p_filter.mistake("you keep 1 − p of the mass and drop p of it. p says how much stays.")
def the_rest_kept(logits, p):
    return _only(logits, _nucleus(logits, 1 - p))


@top_p_filter.mistake(
    "you compare with 1 − p where p belongs: you keep the first token and others with together about 1 − p, and drop the rest. "
    "p says how much stays. (Sorted upwards, it is the tokens up to a sum of 1 − p that go; downwards, those that come after "
    "a sum of p.)"
)
def the_rest_kept_and_the_first(logits, p):
    _, rank = _sums(logits)
    return _only(logits, _nucleus(logits, 1 - p) | (rank == 0))


@top_p_filter.mistake(
    "the forbidden logits are 0. That is a logit like any other, often a likely one: its weight is exp(0) = 1. Only −∞ "
    "has probability 0."
)
def zeroed_outside(logits, p):
    return logits.masked_fill(~_nucleus(logits, p), 0.0)


@top_p_filter.mistake(
    "the forbidden logits are very small, but finite. −inf is asked for: its probability is exactly 0 in every "
    "precision, and two filters in a row keep meaning what they say."
)
def very_small_outside(logits, p):
    return logits.masked_fill(~_nucleus(logits, p) & (p < 1), -1e9)


@top_p_filter.mistake(
    "you add up the probabilities in the vocabulary's order, so the first tokens of the alphabet win, likely or not. "
    "Sort downwards first: the sum runs from the likeliest token."
)
def summed_unsorted(logits, p):
    probabilities = torch.softmax(logits, -1)
    return logits.masked_fill((probabilities.cumsum(-1) - probabilities >= p) & (p < 1), -math.inf)


@top_p_filter.mistake(
    "you return probabilities; logits are asked for, so that another filter or the sampler's own softmax can follow. "
    "Use the probabilities to decide, and return the logits themselves."
)
def nucleus_probabilities(logits, p):
    return torch.softmax(_only(logits, _nucleus(logits, p)), -1)


@top_p_filter.mistake(
    "you return the probabilities with those outside set to 0. Logits are asked for, with −inf outside: whoever samples "
    "takes their softmax, and exp(0) is not 0."
)
def probabilities_cut(logits, p):
    return torch.softmax(logits, -1) * _nucleus(logits, p)


@top_p_filter.mistake(
    "you add up the logits, not the probabilities. Logits can be negative and sum to anything; take the softmax first."
)
def logits_summed(logits, p):
    ordered, order = logits.sort(descending=True)
    inside = (ordered.cumsum(-1) - ordered < p) | (p >= 1)
    return logits.scatter(-1, order, _only(ordered, inside))


@top_p_filter.mistake(
    "the result is right, but you changed the logits that you were given. The lesson still draws them: return a new tensor."
)
def nucleus_in_place(logits, p):
    return logits.copy_(top_p_filter(logits, p))


def _only(logits: Tensor, inside: Tensor) -> Tensor:
    return logits.masked_fill(~inside, -math.inf)


top_p_filter.hints(
    "Take the probabilities 0.5, 0.3, 0.15, 0.05 and p = 0.7. Which tokens belong to the set, and which of them made the "
    "sum reach p?",
    "Sort downwards, take the softmax, then the running sum (`cumsum`). A token belongs to the set if the sum *before* "
    "it, without its own share, is still below p. Decide that in sorted order, then carry the logits back to their "
    "places.",
    "With `ordered, order = logits.sort(descending=True)` and `before = probabilities.cumsum(-1) - "
    "probabilities`: mask where `before >= p` (but nothing when p is 1), and return `logits.scatter(-1, order, masked)`.",
)
