"""Train detour 09a's GPT on one process or many: `course train-gpt`, or torchrun when there are several machines.

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
import io
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from course_utils import data, display, evaluate, files, gpt, runtime, training
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
        size, recipe = len(text.vocabulary), gpt.RECIPES.get(self.profile, gpt.RECIPES["cpu"])
        recipe = dataclasses.replace(recipe, vocabulary_size=size, bigram=recipe.bigram and size <= MOST_FOR_PAIRS)
        return dataclasses.replace(recipe, steps=self.steps) if self.steps else recipe

    def precision_on(self, device: torch.device) -> str:
        """The precision of matrix products on `device`: "bf16" or "fp32"."""
        if self.precision != "auto":
            return self.precision
        return "bf16" if runtime.multiplies_bf16_fast(device) else "fp32"

    def checkpoint(self, steps: int | str) -> Path:
        """Where a run of that many steps is kept until it has ended: each number of steps has a file of its own."""
        return self.out.resolve() / f"unfinished-{self.profile}-{steps}.pt"

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

    After Ctrl-C the step that is under way is finished and saved; then KeyboardInterrupt is raised. Raises, before anything
    is started, CourseError for a device that is not there, a corpus that cannot be read, a batch that cannot be shared
    equally, more processes than GPUs and a directory that cannot be written, and OSError for one that cannot be made.
    """
    display.make_printable()
    if "RANK" in os.environ:
        with contextlib.suppress(KeyboardInterrupt):  # it has been said; torchrun would show a traceback
            train(settings)
        _leave()
    if processes == 1:
        train(settings)
        return
    _prepare(settings, processes)
    if runtime.pick_device().type == "cuda" and processes > torch.cuda.device_count():
        raise CourseError(f"--processes {processes}: this machine has {torch.cuda.device_count()} GPUs, one a process.")
    threads = max(1, (os.cpu_count() or 1) // processes)
    torchrun = [sys.executable, "-m", __name__, "--standalone", f"--nproc-per-node={processes}"]
    command = [*torchrun, "-m", "course_utils", "train-gpt", *settings.arguments()]
    code = _wait_for(command, {"OMP_NUM_THREADS": str(threads)} | os.environ)
    if code:
        raise CourseError(f"a process failed (exit code {code}): its own message stands above.")


def _wait_for(command: list[str], environment: dict[str, str]) -> int:
    """Run a command and return its exit code. After Ctrl-C wait until it has ended, then raise KeyboardInterrupt."""
    process, interrupted = subprocess.Popen(command, env=environment), False
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            if not interrupted:
                with contextlib.suppress(ValueError):  # Windows tells every process of a console by itself
                    process.send_signal(signal.SIGINT)  # it takes one alone, this or the terminal's
            interrupted = True
        else:
            break
    if interrupted or code == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    return code


def _torchrun(arguments: list[str]) -> None:
    """torchrun that ends in silence after Ctrl-C: it hands that on to its processes, and waits until they have ended."""
    os.environ.setdefault("LOGLEVEL", "ERROR")  # torchrun has two ways of logging; neither is to tell of the signal
    logging.getLogger("torch.distributed.elastic").setLevel(logging.ERROR)
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException

    def hand_on(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise SignalException("Ctrl-C", sigval=signal.SIGINT)

    signal.signal(signal.SIGINT, hand_on)
    try:
        run.main(["--signals-to-handle=SIGTERM,SIGHUP,SIGQUIT", *arguments])
    except SignalException as error:
        sys.exit(128 + error.sigval)


def _leave() -> NoReturn:
    """End this process at once, without the interpreter's clean-up.

    DistributedDataParallel's reducer keeps the process group's threads alive beyond `destroy_process_group` (seen with
    torch 2.15 and gloo); a normal exit then ends, now and then, in "terminate called without an active exception".
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


class Group:
    """The processes that train together: the `rank` of this one, their number `size`, and the `device` of this one.

    An object, since `training.steps` would take numbers for settings of the run, and these differ between processes.
    """

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        self.rank, self.size, self.device = rank, size, device

    def share(self, batch: Tensor) -> Tensor:
        """This process's rows of a batch, on its device."""
        return batch[self.rank :: self.size].to(self.device)

    def agree(self, step: int, loss: Tensor, stop: bool) -> tuple[Tensor, bool]:
        """The mean of all processes' losses, and whether one of them is to stop.

        Raises CourseError when they are not at the same step.
        """
        if self.size == 1:
            return loss, stop
        told = torch.stack([loss, loss.new_tensor(float(stop)), loss.new_tensor(float(step))])
        dist.all_reduce(told)
        if round(told[2].item()) != step * self.size:
            raise CourseError(
                f"the processes are not at the same step ({step} here): they do not all see one checkpoint. Let --out be "
                "a directory that all machines share."
            )
        return told[0] / self.size, bool(told[1] > 0)


def train(settings: Settings) -> None:
    """Train in this process, together with those that torchrun started beside it; the first one shows and writes.

    After Ctrl-C the step that is under way is finished and saved; then KeyboardInterrupt is raised.
    """
    with _group() as group:
        text, recipe = _prepare(settings, group.size)
        if group.rank == 0:
            _say_what_stays(settings, recipe)
        torch.manual_seed(settings.seed)
        model = gpt.GPT(recipe, torch.Generator().manual_seed(settings.seed)).to(group.device)
        history = _train(model, recipe, text.train, settings, group)
        if group.rank == 0:
            _write(model, recipe, history, settings)
            _show(model.eval(), recipe, text, history, settings)


def _train(model: gpt.GPT, recipe: gpt.Recipe, tokens: Tensor, settings: Settings, group: Group) -> training.History:
    local = [group.device] if group.device.type == "cuda" else None
    parallel = DistributedDataParallel(model, device_ids=local) if group.size > 1 else model
    optimisers = gpt.optimisers(model, recipe)
    windows = training.batches(tokens.unfold(0, recipe.context + 1, 1), size=recipe.batch_size, seed=settings.seed)
    precision = settings.precision_on(group.device)
    run = training.steps(
        windows,
        recipe.steps,
        title=f"GPT, {group.size} process{'es' if group.size > 1 else ''}",
        keep={"model": model, "optimisers": optimisers},
        checkpoint=settings.checkpoint(recipe.steps),
        every=settings.save_every,
        lead=group.rank == 0,
        reuse=True,  # until the weights are written
    )
    model.train()
    with _noted_interrupts() as interrupts:
        for step, (batch,) in run:
            # Each process has its own dropout.
            torch.manual_seed((settings.seed * recipe.steps + step) * group.size + group.rank)
            mine = group.share(batch)  # (batch_size / size, context + 1)
            with torch.autocast(group.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
                logits = parallel(mine[:, :-1])  # (batch_size / size, context, vocabulary)
            loss = F.cross_entropy(logits.flatten(0, 1), mine[:, 1:].flatten())
            loss.backward()
            mean, stop = group.agree(step, loss.detach(), bool(interrupts))
            gpt.update(optimisers, step, recipe)
            run.log(loss=mean)
            if stop:
                run.stop()
    return run.history


@contextlib.contextmanager
def _noted_interrupts() -> Iterator[list[int]]:
    """Note that Ctrl-C was pressed, instead of interrupting; pressed again, it interrupts."""
    noted: list[int] = []

    def note(number: int, _: object) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    if threading.current_thread() is not threading.main_thread():  # the others get no signals
        yield noted
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def _write(model: gpt.GPT, recipe: gpt.Recipe, history: training.History, settings: Settings) -> None:
    """Write the curve and the weights; then the checkpoint has served. Raises CourseError where that cannot be."""
    curve, weights, checkpoint = (
        settings.out / "loss.csv",
        settings.out / "weights.pt",
        settings.checkpoint(recipe.steps),
    )
    table = io.StringIO(newline="")
    csv.writer(table).writerows([("step", "loss"), *enumerate(history["loss"])])
    try:
        with files.replacing(weights) as partial, partial.open("wb") as file:
            torch.save(model.state_dict(), file)
        files.write_text(table.getvalue(), curve)
    except (OSError, RuntimeError) as error:
        size = sum(tensor.nbytes for tensor in model.state_dict().values())
        then = f" Then start the same command again: it goes on from {checkpoint}." if checkpoint.exists() else ""
        raise CourseError(
            f"the result is not written: {files.trouble(error, weights, size)}. Make room.{then}"
        ) from None
    with contextlib.suppress(OSError):
        checkpoint.unlink(missing_ok=True)
    print(f"Written: {curve}, {weights}")


def load(settings: Settings) -> tuple[gpt.GPT, data.Text]:
    """What a finished run with these settings has trained, on the CPU and ready to write, and the text that it read.

    `gpt.generate(model, text.encode("O king")[None], 300, generator)` goes on with a beginning, `text.decode` makes
    letters of it. Raises CourseError where no weights lie in `settings.out`, or those of another recipe.
    """
    text, weights = settings.text(), settings.out / "weights.pt"
    model = gpt.GPT(settings.recipe(text)).eval()
    try:
        model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    except FileNotFoundError:
        raise CourseError(f"there is no {weights}: `course train-gpt` writes it when it has ended") from None
    except RuntimeError as error:
        told = str(error).splitlines()[0]
        raise CourseError(f"{weights} was trained with another profile or another text ({told})") from None
    return model, text


def _show(model: gpt.GPT, recipe: gpt.Recipe, text: data.Text, history: training.History, settings: Settings) -> None:
    """Measure on the validation part, and show a sample."""
    device = next(model.parameters()).device
    loss = evaluate.text_loss(model, text.validation.to(device), recipe.context)
    count = sum(p.numel() for p in model.parameters())
    characters = recipe.steps * recipe.batch_size * recipe.context / history.seconds
    print(
        f"{text.source}: validation loss {loss:.4f} nats/character; {count:,} parameters, {characters:,.0f} characters/s"
    )
    start = text.validation[:1].view(1, 1).to(device)
    generator = torch.Generator(device).manual_seed(settings.seed)
    print(text.decode(gpt.generate(model, start, 300, generator, temperature=0.8)[0]))


@contextlib.contextmanager
def _group() -> Iterator[Group]:
    """This process in the group that torchrun describes; alone without it."""
    rank, size, local = (
        int(os.environ.get(*place)) for place in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
    )
    device = runtime.pick_device()
    if device.type == "cuda":
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    if size > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Group(rank, size, device)
    finally:
        if size > 1:
            dist.destroy_process_group()


def _prepare(settings: Settings, processes: int) -> tuple[data.Text, gpt.Recipe]:
    """The text and the recipe, checked for that many processes, and the directory for what is written."""
    runtime.pick_device()
    text = settings.text()
    recipe = settings.recipe(text)
    if recipe.batch_size % processes:
        raise CourseError(f"a batch of {recipe.batch_size} windows cannot be shared equally by {processes} processes.")
    settings.out.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=settings.out):
            pass
    except OSError as error:
        raise CourseError(f"{files.trouble(error, settings.out)}: give another directory with --out.") from None
    return text, recipe


def _say_what_stays(settings: Settings, recipe: gpt.Recipe) -> None:
    """Say why unfinished runs with another number of steps are not gone on with."""
    mine = settings.checkpoint(recipe.steps)
    others = [path for path in sorted(mine.parent.glob(settings.checkpoint("*").name)) if path != mine]
    if others and not mine.exists():
        other = others[-1].stem.rpartition("-")[2]
        print(
            f"This run of {recipe.steps} steps starts from step 0. {others[-1].name} stays, and goes on with --steps "
            f"{other}: the learning rate falls over the last {100 * recipe.warm_down:.0f} % of a run, so that another number of "
            "steps is another training."
        )


if __name__ == "__main__":
    _torchrun(sys.argv[1:])
