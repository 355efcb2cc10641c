"""Train lesson 09's GPT on one process or many: `course train-gpt`, or torchrun when there are several machines.

    course train-gpt --profile cpu --processes 2
    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \
        -m course_utils train-gpt --profile gpu

Data parallelism: every process holds the whole model and takes its share of each batch; DistributedDataParallel
averages the gradients while they are computed (Li et al., 2020, "PyTorch Distributed: Experiences on Accelerating Data
Parallel Training", VLDB). The mean over equal shares is the mean over the batch, so that the loss curve is the one of
a single process with the same batch, up to rounding (dropout, where a recipe has it, draws other masks).
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from course_utils import data, evaluate, gpt, runtime, training
from course_utils.errors import CourseError

MOST_FOR_PAIRS = 256  # characters: their pairs then have 65 536 vectors


@dataclass(frozen=True)
class Settings:
    """What to train and how.

    `profile` names a recipe of `gpt.RECIPES`, `corpus` a text file (None: Shakespeare), `steps` replaces the recipe's
    number of steps, `out` is a directory for curve, weights and checkpoint, `precision` is "bf16", "fp32" or "auto"
    (bf16 where the hardware multiplies it fast), `save_every` the seconds between checkpoints.
    """

    profile: str = "cpu"
    corpus: Path | None = None
    steps: int | None = None
    out: Path = Path("out/gpt")
    seed: int = 0
    precision: str = "auto"
    save_every: float = 10.0

    def arguments(self) -> list[str]:
        """These settings as arguments of `course train-gpt`."""
        given = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        return [f"--{name.replace('_', '-')}={value}" for name, value in given if value is not None]

    def recipe(self, text: data.Text) -> gpt.Recipe:
        """The recipe for `text`; the table of character pairs, which grows with the square, only for small alphabets."""
        size, recipe = len(text.vocabulary), gpt.RECIPES[self.profile]
        recipe = dataclasses.replace(recipe, vocabulary_size=size, bigram=recipe.bigram and size <= MOST_FOR_PAIRS)
        return dataclasses.replace(recipe, steps=self.steps) if self.steps else recipe

    def autocast(self, device: torch.device) -> torch.autocast:
        """Mixed precision for the forward pass, if these settings want it on `device`."""
        wanted = self.precision == "bf16" or (self.precision == "auto" and runtime.multiplies_bf16_fast(device))
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=wanted)

    def text(self) -> data.Text:
        """The corpus. Raises CourseError when it cannot be read."""
        if self.corpus is None:
            return data.shakespeare()
        try:
            return data.corpus(self.corpus)
        except (OSError, ValueError) as error:
            raise CourseError(str(error)) from None


def launch(settings: Settings, processes: int) -> None:
    """Train on `processes` processes of this machine, or be one of those that torchrun has started.

    Raises, before anything is started, CourseError for a corpus that cannot be read, a batch that cannot be shared
    equally and more processes than GPUs, and OSError for a directory that cannot be made.
    """
    if "RANK" in os.environ:
        train(settings)
        _leave()
    if processes == 1:
        train(settings)
        return
    _prepare(settings, processes)
    if runtime.pick_device().type == "cuda" and processes > torch.cuda.device_count():
        raise CourseError(f"--processes {processes}: this machine has {torch.cuda.device_count()} GPUs, one a process.")
    threads = max(1, (os.cpu_count() or 1) // processes)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [*torchrun, "-m", "course_utils", "train-gpt", *settings.arguments()]
    done = subprocess.run(command, env={"OMP_NUM_THREADS": str(threads)} | os.environ, check=False)
    if done.returncode:
        raise CourseError(f"a process failed (exit code {done.returncode}): its own message stands above.")


def _leave() -> NoReturn:
    """End this process at once, without the interpreter's clean-up.

    DistributedDataParallel's reducer keeps the process group's threads alive beyond `destroy_process_group` (seen with
    torch 2.15 and gloo); a normal exit then ends, now and then, in "terminate called without an active exception".
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def train(settings: Settings) -> None:
    """Train in this process, together with those that torchrun started beside it; the first one shows and writes."""
    with _group() as (rank, world, device):
        text, recipe = _prepare(settings, world)
        torch.manual_seed(settings.seed)
        model = gpt.GPT(recipe, torch.Generator().manual_seed(settings.seed)).to(device)
        history = _train(model, recipe, text.train, settings, rank, world)
        if rank == 0:
            _finish(model.eval(), recipe, text, history, settings)


def _train(
    model: gpt.GPT, recipe: gpt.Recipe, tokens: Tensor, settings: Settings, rank: int, world: int
) -> training.History:
    device = next(model.parameters()).device
    local = [device] if device.type == "cuda" else None
    parallel = DistributedDataParallel(model, device_ids=local) if world > 1 else model
    optimisers = gpt.optimisers(model, recipe)
    windows = training.batches(tokens.unfold(0, recipe.context + 1, 1), size=recipe.batch_size, seed=settings.seed)
    run = training.steps(
        windows,
        recipe.steps,
        title=f"GPT, {world} process{'es' if world > 1 else ''}",
        keep={"model": model, "optimisers": optimisers},
        checkpoint=settings.out.resolve() / "unfinished.pt",
        every=settings.save_every,
        lead=rank == 0,
    )
    model.train()
    for step, (batch,) in run:
        torch.manual_seed((settings.seed * recipe.steps + step) * world + rank)  # each process has its own dropout
        mine = batch[rank::world].to(device)  # (batch_size / world, context + 1)
        with settings.autocast(device):
            logits = parallel(mine[:, :-1])  # (batch_size / world, context, vocabulary)
        loss = F.cross_entropy(logits.flatten(0, 1), mine[:, 1:].flatten())
        loss.backward()
        gpt.update(optimisers, step, recipe)
        run.log(loss=_mean(loss.detach(), world))
    return run.history


def _finish(model: gpt.GPT, recipe: gpt.Recipe, text: data.Text, history: training.History, settings: Settings) -> None:
    """Measure on the validation part, show a sample, and write the curve and the weights."""
    device = next(model.parameters()).device
    loss = evaluate.text_loss(model, text.validation.to(device), recipe.context)
    count = sum(p.numel() for p in model.parameters())
    characters = recipe.steps * recipe.batch_size * recipe.context / history.seconds
    print(
        f"{text.source}: validation loss {loss:.4f} nats/character; {count:,} parameters, {characters:,.0f} characters/s"
    )
    with open(settings.out / "loss.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("step", "loss"), *enumerate(history["loss"])])
    torch.save(model.state_dict(), settings.out / "weights.pt")
    print(f"Written: {settings.out / 'loss.csv'}, {settings.out / 'weights.pt'}")
    start = text.validation[:1].view(1, 1).to(device)
    generator = torch.Generator(device).manual_seed(settings.seed)
    print(text.decode(gpt.generate(model, start, 300, generator, temperature=0.8)[0]))


@contextlib.contextmanager
def _group() -> Iterator[tuple[int, int, torch.device]]:
    """(rank, number of processes, device) of this process in the group that torchrun describes; alone without it."""
    rank, world, local = (
        int(os.environ.get(*place)) for place in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
    )
    device = runtime.pick_device()
    if device.type == "cuda":
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    if world > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield rank, world, device
    finally:
        if world > 1:
            dist.destroy_process_group()


def _mean(loss: Tensor, world: int) -> Tensor:
    """The mean over the processes of their shares' losses."""
    if world > 1:
        dist.all_reduce(loss)
    return loss / world


def _prepare(settings: Settings, processes: int) -> tuple[data.Text, gpt.Recipe]:
    """The text and the recipe, checked for that many processes, and the directory for what is written."""
    text = settings.text()
    recipe = settings.recipe(text)
    if recipe.batch_size % processes:
        raise CourseError(f"a batch of {recipe.batch_size} windows cannot be shared equally by {processes} processes.")
    settings.out.mkdir(parents=True, exist_ok=True)
    return text, recipe
