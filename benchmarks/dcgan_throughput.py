"""How many images a second does lesson 06's DCGAN train on, against its own fp32, contiguous form?

    COURSE_DATA=/somewhere .venv/bin/python benchmarks/dcgan_throughput.py [steps] [seeds] [batch]

All of it is the lesson's own code, `play_digits` with the sizes of profile cpu, save the scores that it logs on the way.
First all forms take turns, `TURN` steps of a new training each, on one thread, in core-seconds. Then the lesson's form
(`session.autocast()` and `session.memory_format`) and the plain one train for `steps` steps with the same batches, first
weights and noise, and the course's ruler measures 10 000 images of each against the validation images: precision and
layout should cost nothing that chance does not. An image counts once for each step that it is part of.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import sys
import time
from typing import Any

import torch
from torch import Tensor

from course_utils import data, ruler, runtime
from course_utils.notebooks import lesson_code

SIZES = {"normals": 76, "FACES": 4, "width": 32, "size": 32, "rate": 2e-3}  # the lesson's, in profile cpu
ROUNDS, TURN = 9, 40
DEFAULTS = 1000, 2, SIZES["size"]


class Contiguous(runtime.Session):
    """A session that leaves images in torch's ordinary layout."""

    memory_format = torch.contiguous_format  # type: ignore[assignment]


def train(session: runtime.Session, real: Tensor, batch: int, steps: int, seed: int) -> tuple[Any, float]:
    """Lesson 06's training in the session's precision and layout; what draws n images, and the core-seconds."""
    names = "generator_step", "Generator", "Discriminator", "players", "draw_noise", "draw", "play_digits"
    given: dict[str, Any] = {"session": session, "real_images": real}
    chance = torch.Generator().manual_seed(seed)
    lesson = lesson_code.load("06", *names, chance=chance, **given, **SIZES | {"size": batch})
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        generator, _, _ = lesson.play_digits("DCGAN", steps, seed=seed)
    spent = time.process_time() - start
    return lambda n: lesson.draw(generator, lesson.draw_noise(n, SIZES["FACES"])), spent


def forms(session: runtime.Session) -> dict[str, runtime.Session]:
    """The sessions that are compared, by name: the plain one first, the lesson's last."""
    settings: dict[str, Any] = {field.name: getattr(session, field.name) for field in dataclasses.fields(session)}
    found: dict[str, runtime.Session] = {}
    for precision in dict.fromkeys(("fp32", session.precision)):
        for kind in (Contiguous, runtime.Session):
            made = dataclasses.replace(kind(**settings), precision=precision)
            found[f"{precision}, {str(made.memory_format).removeprefix('torch.').removesuffix('_format')}"] = made
    return found


def speeds(compared: dict[str, runtime.Session], real: Tensor, batch: int) -> Tensor:
    """Images per core-second (rounds, forms); the forms take turns, another first in each round; the first is not counted."""
    sessions = list(compared.values())
    found = torch.zeros(ROUNDS + 1, len(sessions))
    for turn in range(ROUNDS + 1):
        for place in range(len(sessions)):
            form = (turn + place) % len(sessions)
            found[turn, form] = TURN * batch / train(sessions[form], real, batch, TURN, turn)[1]
    return found[1:]


def quality(name: str, seed: int, judge: ruler.Ruler, draw: Any, seconds: float) -> None:
    """Print what became of a training."""
    score = judge.score(draw(10_000), against="validation")
    print(
        f"{seed:4}  {name:22}{seconds:10.1f}{score.ratio:15.1f} x{score.precision:11.2f}{score.recall:9.2f}"
        f"{100 * score.shares.min().item():14.1f} %",
        flush=True,
    )


def main() -> None:
    """Print images a second and the ratios to the plain form, medians over rounds; then quality after equal steps."""
    torch.set_num_threads(1)
    steps, seeds, batch = (int(given) for given in (*sys.argv[1:], *DEFAULTS[len(sys.argv) - 1 :]))
    session, images = runtime.start("cpu"), data.mnist()
    real = (2 * images.train.images.unsqueeze(1) - 1).to(session.device)
    compared = forms(session)
    found = speeds(compared, real, batch)
    print(f"\n{f'batches of {batch}':28}images/core-s     ratio (least to most of {ROUNDS} rounds)")
    for name, speed in zip(compared, found.unbind(1), strict=True):
        ratio = speed / found[:, 0]
        print(f"{name:28}{speed.median():13,.0f}{ratio.median():8.2f} x  ({ratio.min():.2f} to {ratio.max():.2f})")
    with contextlib.redirect_stderr(io.StringIO()):
        judge = ruler.load(session)
    print(f"\nseed  after {steps:5} steps        core-s  Fréchet / floor  precision   recall  smallest share")
    for seed in range(seeds):
        for name in (next(iter(compared)), list(compared)[-1]):
            quality(name, seed, judge, *train(compared[name], real, batch, steps, seed))


if __name__ == "__main__":
    main()
