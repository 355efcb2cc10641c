"""What the cache of keys and values buys: core-seconds to write 500 characters with and without it.

    .venv/bin/python benchmarks/kv_cache.py

The lesson's model with a context of 512 and random weights, in float32 on one thread; the two ways take turns, and each
one's best CPU time of three counts. Then one text of 512 characters is read at once and a character at a time: the
logits must agree to 1e-5.
"""

from __future__ import annotations

import dataclasses
import time

import torch

from course_utils import gpt

LENGTH, CONTEXT, ROUNDS = 500, 512, 3


def reader() -> gpt.GPT:
    """The lesson's model, its weights moved away from their start, where every branch is silent."""
    generator = torch.Generator().manual_seed(0)
    model = gpt.GPT(dataclasses.replace(gpt.RECIPES["cpu"], context=CONTEXT), generator).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.02 * torch.randn(weight.shape, generator=generator))
    return model


def seconds(model: gpt.GPT, cached: bool) -> tuple[float, torch.Tensor]:
    """Core-seconds of writing LENGTH characters after one, and the text (1, 1 + LENGTH)."""
    start = time.process_time()
    text = gpt.generate(
        model, torch.zeros(1, 1, dtype=torch.int64), LENGTH, torch.Generator().manual_seed(1), cached=cached
    )
    return time.process_time() - start, text


@torch.no_grad()
def largest_difference(model: gpt.GPT) -> float:
    """Between the logits of a whole window and those of its characters read one by one."""
    generator = torch.Generator().manual_seed(2)
    text, cache = torch.randint(model.recipe.vocabulary_size, (1, CONTEXT), generator=generator), gpt.Cache()
    pieces = torch.cat([model(token, cache) for token in text.split(1, dim=1)], dim=1)
    return (pieces - model(text)).abs().max().item()


def main() -> None:
    """Print both costs, their ratio and the largest difference of the logits."""
    torch.set_num_threads(1)
    model = reader()
    rounds = [(seconds(model, True), seconds(model, False)) for _ in range(ROUNDS)]
    (with_cache, text), (without, same) = (min(ways, key=lambda way: way[0]) for ways in zip(*rounds, strict=True))
    print(f"{LENGTH} characters, context {CONTEXT}: {with_cache:.2f} core-s with the cache, {without:.2f} without")
    print(f"ratio {without / with_cache:.1f}; the same text: {torch.equal(text, same)}")
    print(f"largest difference of a logit, one by one against all at once: {largest_difference(model):.1e}")


if __name__ == "__main__":
    main()
