"""What the parts of a modern GPT buy: core-seconds to the loss of a plain one, and the loss at the plain one's cost.

    .venv/bin/python benchmarks/gpt_time_to_loss.py

The plain one is the recipe that nanoGPT (Karpathy, 2022) gives for CPUs, written anew from its description: a GPT-2 of
4 layers, 128 wide, on windows of 64 characters of tiny Shakespeare, trained by AdamW in float32 for 2000 steps. Both
trainings take turns in one process, a fiftieth of each at a time, so that the machine's noise hits both; then a third
one gets the core-seconds that the first has used. One thread, CPU time (`time.process_time`); measuring the validation
loss, over all targets in windows of the model's own length, is not counted. A settings search used only the last 5 %
of the training part.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils import data, evaluate, gpt, runtime

TURNS = 50
SPRINT = gpt.Recipe(context=64, n_heads=3, width=96, batch_size=12, steps=200, other_rate=0.02, momentum=0.9)
MARATHON = gpt.RECIPES["cpu"]  # the lesson's; its number of steps is what the plain training's time buys

CONTEXT, LAYERS, HEADS, WIDTH, BATCH, STEPS = 64, 4, 4, 128, 12, 2000  # nanoGPT's recipe for CPUs
PEAK, LAST, WARM_UP = 1e-3, 1e-4, 100


class PlainBlock(nn.Module):
    """GPT-2's layer (Radford et al., 2019), without biases: attention and a GELU MLP, each after a LayerNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH, bias=False) for _ in range(2))
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The residual stream x (B, T, C) after this layer."""
        q, k, v = self.qkv(self.norms[0](x)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, heads, T, d)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norms[1](x))))


class PlainGPT(nn.Module):
    """GPT-2 with learned positions and an output matrix tied to the embedding; tokens (B, T) to logits (B, T, V)."""

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.embedding, self.positions = nn.Embedding(vocabulary_size, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(PlainBlock() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH, bias=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                writes = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * LAYERS) if writes else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, T, V) for tokens (B, T)."""
        x = self.embedding(tokens) + self.positions.weight[: tokens.shape[1]]
        return F.linear(self.norm(self.blocks(x)), self.embedding.weight)


class Training:
    """One training, a few steps at a time; `seconds` counts its CPU time."""

    def __init__(
        self, model: nn.Module, update: Callable[[int], None], tokens: Tensor, size: tuple[int, int], bf16: bool
    ):
        self.model, self.update, self.tokens, self.size, self.bf16 = model, update, tokens, size, bf16
        self.generator = torch.Generator().manual_seed(1)
        self.step, self.seconds = 0, 0.0

    def precision(self) -> contextlib.AbstractContextManager:
        """bf16 for the matrix products, if this training uses it."""
        return torch.autocast("cpu", dtype=torch.bfloat16) if self.bf16 else contextlib.nullcontext()

    def run(self, steps: int) -> None:
        """That many more steps, each on random windows of the training text."""
        start = time.process_time()
        windows = self.tokens.unfold(0, self.size[1] + 1, 1)  # (N - context, context + 1), a view
        for _ in range(steps):
            window = windows[
                torch.randint(len(windows), self.size[:1], generator=self.generator)
            ]  # (batch, context + 1)
            with self.precision():
                logits = self.model(window[:, :-1])
            F.cross_entropy(logits.flatten(0, 1).float(), window[:, 1:].flatten()).backward()
            self.update(self.step)
            self.step += 1
        self.seconds += time.process_time() - start

    def loss(self, tokens: Tensor) -> float:
        """Mean nats per character on `tokens` (N,), in windows of the model's own length."""
        self.model.eval()
        with self.precision():
            return evaluate.text_loss(self.model, tokens, self.size[1])


def plain(text: data.Text) -> Training:
    """nanoGPT's recipe for CPUs."""
    torch.manual_seed(0)
    model = PlainGPT(len(text.vocabulary))
    matrices, others = ([p for p in model.parameters() if (p.dim() == 2) is wanted] for wanted in (True, False))
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, lr=PEAK, betas=(0.9, 0.99))

    def update(step: int) -> None:
        done = (step - WARM_UP) / (STEPS - WARM_UP)
        rate = (
            LAST + (PEAK - LAST) * (1 + math.cos(math.pi * done)) / 2
            if done >= 0
            else PEAK * (step + 1) / (WARM_UP + 1)
        )
        for group in adam.param_groups:
            group["lr"] = rate
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        adam.zero_grad()

    return Training(model, update, text.train, (BATCH, CONTEXT), bf16=False)


def modern(text: data.Text, recipe: gpt.Recipe) -> Training:
    """The course's GPT."""
    torch.manual_seed(0)  # dropout
    model = gpt.GPT(recipe, torch.Generator().manual_seed(0))
    optimisers = gpt.optimisers(model, recipe)
    bf16 = runtime.multiplies_bf16_fast(torch.device("cpu"))
    size = (recipe.batch_size, recipe.context)
    return Training(model, lambda step: gpt.update(optimisers, step, recipe), text.train, size, bf16)


def shares(steps: int) -> Iterator[int]:
    """`steps` in TURNS nearly equal parts."""
    for turn in range(TURNS):
        yield steps * (turn + 1) // TURNS - steps * turn // TURNS


def steps_for(seconds: float, text: data.Text) -> int:
    """How many steps of MARATHON that many core-seconds buy, from 30 steps after 10 to warm up."""
    trial = modern(text, MARATHON)
    trial.run(10)
    before = trial.seconds
    trial.run(30)
    return int(30 * seconds / (trial.seconds - before))


def show(name: str, training: Training, loss: float, anchor: Training) -> None:
    """One line of the table."""
    count = sum(p.numel() for p in training.model.parameters())
    cost = f"{training.seconds:8.1f} core-s = 1/{anchor.seconds / training.seconds:.2f} of the plain one's"
    print(f"{name:24} {count:10,} parameters {training.step:6} steps {loss:8.4f} nats/character {cost}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the three trainings and print the table."""
    torch.set_num_threads(1)
    text = data.shakespeare()
    anchor, sprint = plain(text), modern(text, dataclasses.replace(SPRINT, vocabulary_size=len(text.vocabulary)))
    for a, b in zip(shares(STEPS), shares(SPRINT.steps), strict=True):
        anchor.run(a)
        sprint.run(b)
    show("plain (nanoGPT's recipe)", anchor, anchor.loss(text.validation), anchor)
    show("modern, to that loss", sprint, sprint.loss(text.validation), anchor)
    recipe = dataclasses.replace(MARATHON, steps=steps_for(anchor.seconds, text))
    marathon = modern(text, recipe)
    marathon.run(recipe.steps)
    show("modern, at that cost", marathon, marathon.loss(text.validation), anchor)


if __name__ == "__main__":
    main()
