"""The modern GPT of detour 09a: model, recipes, optimisers and sampling, shared by the notebook, `course train-gpt` and
the benchmarks.

A decoder-only transformer (Vaswani et al., 2017; Radford et al., 2018) with the parts that have proved themselves since:
RMSNorm (Zhang & Sennrich, 2019), rotary positions (Su et al., "RoFormer", 2021), normalised queries and keys (Henry et
al., 2020), squared ReLU (So et al., "Primer", 2021), matrices that start at zero where a branch meets the residual
stream, a cap on the logits (Gemma Team, "Gemma 2", 2024), and Muon for the hidden matrices (Jordan et al., 2024). A
cache of keys and values (Shazeer, "Fast Transformer Decoding", 2019) makes sampling cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CAP = 15.0  # logits stay within -CAP and CAP
ROTARY_BASE = 1000.0  # the slowest pair of channels turns by about context / ROTARY_BASE radians over a window


@dataclass(frozen=True)
class Recipe:
    """Everything that a training run needs: the model's sizes, then the batches, then the optimisers' settings.

    `steps` updates, each on `batch_size` windows of `context` characters. Muon moves the hidden matrices at
    `matrix_rate`, with `momentum` and `weight_decay`; AdamW moves embeddings, head and gains at `other_rate`. Both rates
    rise linearly over the first `warm_up` steps and fall linearly to zero over the last share `warm_down` of the steps.
    Raises ValueError, with the value, for sizes that do not fit together.
    """

    vocabulary_size: int = 65
    context: int = 128
    n_layers: int = 4
    n_heads: int = 4
    width: int = 128
    dropout: float = 0.0
    bigram: bool = True

    batch_size: int = 16
    steps: int = 1000

    matrix_rate: float = 0.02
    other_rate: float = 0.015
    momentum: float = 0.95
    weight_decay: float = 0.0
    warm_up: int = 10
    warm_down: float = 0.6

    def __post_init__(self) -> None:
        for name in ("vocabulary_size", "context", "n_layers", "n_heads", "width", "batch_size", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.width % self.n_heads:
            raise ValueError(f"width {self.width} cannot be shared equally by n_heads = {self.n_heads} heads")
        if self.width // self.n_heads % 2:
            raise ValueError(
                f"rotary positions turn pairs of channels: width / n_heads = {self.width} / {self.n_heads} = "
                f"{self.width // self.n_heads} must be even"
            )
        for name in ("dropout", "warm_down"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, not {getattr(self, name)}")


RECIPES = {  # settings of "cpu" chosen on Text.inner_split; those of "gpu" by analogy, not measured
    "smoke": Recipe(context=32, n_layers=2, n_heads=2, width=32, batch_size=16, steps=40),
    "cpu": Recipe(batch_size=12, steps=1600, other_rate=0.003, weight_decay=0.1),
    "gpu": Recipe(
        context=256,
        n_layers=6,
        n_heads=6,
        width=384,
        dropout=0.3,
        batch_size=64,
        steps=1500,
        other_rate=0.005,
        weight_decay=0.1,
        warm_up=50,
    ),
}


class Cache:
    """What the model needs to know of the tokens it has read: the last one, and all keys and values of each layer."""

    def __init__(self) -> None:
        self.length = 0
        self.last: Tensor | None = None  # (B, 1), the token that the next one forms a pair with
        self.layers: list[tuple[Tensor, Tensor]] = []  # per layer: keys and values, each (B, heads, context, d)

    def extend(self, layer: int, k: Tensor, v: Tensor, context: int) -> tuple[Tensor, Tensor]:
        """Append k and v (B, heads, T, d) to a layer's memory of `context` places; returns all keys and values so far."""
        if layer == len(self.layers):
            batch, heads, _, d = k.shape
            self.layers.append((k.new_empty(batch, heads, context, d), v.new_empty(batch, heads, context, d)))
        keys, values = self.layers[layer]
        end = self.length + k.shape[2]
        keys[:, :, self.length : end], values[:, :, self.length : end] = k, v
        return keys[:, :, :end], values[:, :, :end]


def rms_norm(x: Tensor) -> Tensor:
    """x / root mean square of x over the last axis (Zhang & Sennrich, 2019), without a gain."""
    return F.rms_norm(x, x.shape[-1:])


def rotary_angles(context: int, d: int) -> Tensor:
    """Angles (context, d / 2) by which rotary positions turn each pair of channels: position x frequency (Su et al., eq. 15)."""
    frequencies = ROTARY_BASE ** -(torch.arange(0, d, 2) / d)  # from 1 down to about 1 / ROTARY_BASE
    return torch.outer(torch.arange(context).float(), frequencies)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the channel pairs (i, i + d / 2) of x (B, heads, T, d) by the angles whose cosine and sine (T, d / 2) are given.

    A query turned by its position times a key turned by its position depends on the difference of the positions alone.
    """
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention (B, heads, S, d): the queries (B, heads, S, d) belong to the last S of T keys and values.

    torch's fused attention is used except in bf16 on a CPU, where its backward pass is slower than the formula's.
    """
    new, known = q.shape[2], k.shape[2]
    written_out = q.dtype == torch.bfloat16 and q.device.type == "cpu"
    if new in (1, known) and not written_out:  # one query, the last, sees everything
        return F.scaled_dot_product_attention(q, k, v, is_causal=new > 1, scale=1.0)
    future = torch.full((new, known), -torch.inf, dtype=q.dtype, device=q.device).triu(known - new + 1)
    if not written_out:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=future, scale=1.0)
    return torch.softmax(q @ k.mT + future, dim=-1) @ v


class Attention(nn.Module):
    """Causal self-attention with rotary positions and normalised queries and keys."""

    def __init__(self, recipe: Recipe, layer: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.layer, self.n_heads, self.context = layer, recipe.n_heads, recipe.context
        self.c_attn = _linear(recipe.width, 3 * recipe.width, generator)
        self.c_proj = _zero_linear(recipe.width, recipe.width)
        d = recipe.width // recipe.n_heads  # q . k = gain * d * cos(angle between them): at first within [-10, 10]
        self.gain = nn.Parameter(torch.full((recipe.n_heads, 1, 1), 10 / d))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, cache: Cache | None) -> Tensor:
        """x (B, T, C) to (B, T, C)."""
        qkv = self.c_attn(x).unflatten(-1, (3, self.n_heads, -1))  # (B, T, 3, heads, d)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, T, d)
        q = rotate(rms_norm(q), cos, sin) * self.gain.to(q.dtype)
        k = rotate(rms_norm(k), cos, sin)
        if cache is not None:
            k, v = cache.extend(self.layer, k, v, self.context)
        y = attend(q, k, v)
        return self.c_proj(y.transpose(1, 2).flatten(2))  # (B, T, heads * d)


class Block(nn.Module):
    """One layer: attention, then an MLP with squared ReLU; each reads the normalised stream and adds to it."""

    def __init__(self, recipe: Recipe, layer: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.attention = Attention(recipe, layer, generator)
        self.c_fc = _linear(recipe.width, 4 * recipe.width, generator)
        self.c_proj = _zero_linear(4 * recipe.width, recipe.width)
        self.dropout = nn.Dropout(recipe.dropout)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, cache: Cache | None) -> Tensor:
        """The residual stream x (B, T, C) after this layer."""
        x = x + self.dropout(self.attention(rms_norm(x), cos, sin, cache))
        return x + self.dropout(self.c_proj(F.relu(self.c_fc(rms_norm(x))).square()))


class GPT(nn.Module):
    """Logits of the next token, for every prefix of each sequence.

    `generator` (on the CPU) draws the initial weights, by default torch's global one. All matrices that write to the
    residual stream and the head start at zero: an untrained model gives every token the same probability.
    """

    def __init__(self, recipe: Recipe, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.recipe = recipe
        letters = torch.empty(recipe.vocabulary_size, recipe.width).normal_(generator=generator)
        self.embedding = nn.Embedding.from_pretrained(letters, freeze=False)
        if recipe.bigram:  # one more vector for each pair of neighbours
            pairs = torch.zeros(recipe.vocabulary_size**2, recipe.width)
            self.pairs = nn.Embedding.from_pretrained(pairs, freeze=False)
        self.blocks = nn.ModuleList(Block(recipe, layer, generator) for layer in range(recipe.n_layers))
        self.head = _zero_linear(recipe.width, recipe.vocabulary_size)
        self.dropout = nn.Dropout(recipe.dropout)
        angles = rotary_angles(recipe.context, recipe.width // recipe.n_heads)
        self.cos = nn.Buffer(angles.cos(), persistent=False)
        self.sin = nn.Buffer(angles.sin(), persistent=False)

    def forward(self, tokens: Tensor, cache: Cache | None = None) -> Tensor:
        """Logits (B, T, V), float32 or wider, for tokens (B, T) int64.

        With a cache the tokens continue those that it has read, and are added to it: the logits are those of the whole
        text. Raises ValueError for another shape, and when there are more tokens than the context holds.
        """
        start = cache.length if cache is not None else 0
        end = start + tokens.shape[-1]
        if tokens.dim() != 2 or not start < end <= self.recipe.context:
            known = f" after the {start} in the cache" if start else ""
            raise ValueError(
                f"tokens must be (B, T) with T from 1 to {self.recipe.context - start}{known}, not {tuple(tokens.shape)}"
            )
        x = self.embedding(tokens)  # (B, T, C)
        if self.recipe.bigram:
            x = x + self.pairs(self._pair_ids(tokens, cache))
        x = self.dropout(rms_norm(x))
        for block in self.blocks:
            x = block(x, self.cos[start:end], self.sin[start:end], cache)
        if cache is not None:
            cache.length, cache.last = end, tokens[:, -1:]
        logits = self.head(rms_norm(x))  # (B, T, V)
        return CAP * torch.tanh(logits.to(self.head.weight.dtype) / CAP)

    def _pair_ids(self, tokens: Tensor, cache: Cache | None) -> Tensor:
        """The number (B, T) of each (previous token, token); the first token of a text counts as its own predecessor."""
        before = cache.last if cache is not None and cache.last is not None else tokens[:, :1]
        return torch.cat([before, tokens[:, :-1]], dim=1) * self.recipe.vocabulary_size + tokens


def optimisers(model: GPT, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al., 2024) for the hidden matrices, AdamW (Loshchilov & Hutter, 2019) for everything else."""
    matrices = [p for p in model.blocks.parameters() if p.dim() == 2]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    muon = torch.optim.Muon(matrices, lr=recipe.matrix_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    adam = torch.optim.AdamW(others, lr=recipe.other_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    for optimiser in (muon, adam):
        for group in optimiser.param_groups:
            group["peak"] = group["lr"]
    return [muon, adam]


def learning_rate(step: int, recipe: Recipe) -> float:
    """The share of the peak learning rate that step 0 ... steps - 1 uses: linear up, flat, linear down to zero."""
    up = (step + 1) / (recipe.warm_up + 1)
    down = (recipe.steps - step) / max(1.0, recipe.warm_down * recipe.steps)
    return max(0.0, min(1.0, up, down))


def update(optimisers: Sequence[torch.optim.Optimizer], step: int, recipe: Recipe) -> None:
    """One step of every optimiser at this step's learning rate; then the gradients are cleared."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * learning_rate(step, recipe)
        optimiser.step()
        optimiser.zero_grad()


@torch.no_grad()
def generate(
    model: GPT,
    prompt: Tensor,
    length: int,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
    filter: Callable[[Tensor], Tensor] | None = None,
    cached: bool = True,
) -> Tensor:
    """Continue prompt (B, T0) int64 by `length` tokens; returns (B, T0 + length).

    Each token is drawn by `generator` (on the prompt's device) from softmax(filter(logits) / temperature), where
    `filter` maps logits (B, V) to logits; temperature 0 takes the likeliest. Of a longer prompt the model sees the last
    `context` tokens. When the context is full, the model goes on from its latter half: so a cache is filled anew only
    once in context / 2 tokens, and `cached=False`, which recomputes the window for every token, gives the same logits.
    Puts the model into eval mode and back. Raises ValueError for an empty prompt, a token outside the vocabulary, a
    negative length or temperature.
    """
    _check_prompt(model, prompt, length, temperature)
    context, training = model.recipe.context, model.training
    model.eval()
    text, seen, cache = prompt, min(prompt.shape[1], context), Cache()
    for _ in range(length):
        if seen > context:
            seen, cache = max(1, context // 2), Cache()
        known = cache.length if cached else 0
        logits = model(text[:, text.shape[1] - seen + known :], cache if cached else None)[:, -1]  # (B, V)
        logits = logits if filter is None else filter(logits)
        if temperature == 0:
            token = logits.argmax(dim=-1, keepdim=True)
        else:
            token = torch.multinomial(F.softmax(logits / temperature, dim=-1), 1, generator=generator)
        text, seen = torch.cat([text, token], dim=1), seen + 1
    model.train(training)
    return text


def _check_prompt(model: GPT, prompt: Tensor, length: int, temperature: float) -> None:
    if prompt.dim() != 2 or prompt.dtype != torch.int64:
        raise ValueError(f"the prompt must be tokens (B, T) int64, not {tuple(prompt.shape)} {prompt.dtype}")
    if prompt.numel() == 0:
        raise ValueError(r'the prompt is empty: give at least one character, for example "\n"')
    low, high, size = prompt.min().item(), prompt.max().item(), model.recipe.vocabulary_size
    if not 0 <= low <= high < size:
        raise ValueError(f"tokens lie between 0 and {size - 1}; the prompt's run from {low} to {high}")
    if length < 0 or not temperature >= 0:
        raise ValueError(f"length and temperature must not be negative: got {length} and {temperature}")


def _linear(inputs: int, outputs: int, generator: torch.Generator | None) -> nn.Linear:
    """A linear layer without bias that keeps the mean square of its inputs."""
    layer = _zero_linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=inputs**-0.5, generator=generator)
    return layer


def _zero_linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer without bias whose weights are zero; draws no random numbers."""
    layer = nn.Linear(inputs, outputs, bias=False, device="meta").to_empty(device="cpu")
    nn.init.zeros_(layer.weight)
    return layer
