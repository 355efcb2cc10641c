"""Which learning rates the contestants of lessons 01, 02 and 02a are given: the best of one grid for all.

    .venv/bin/python benchmarks/learning_rates.py [hold] [adding] [text]

Networks and training loops are the lessons' own. Rates are chosen on data that the lessons neither train nor report on:
other seeds, and for text the part of the training text that is held back.
"""

import math
import statistics
import sys
from collections.abc import Callable
from types import SimpleNamespace

import torch

from course_utils import data
from course_utils.notebooks import lesson_code

GRID = 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256
CPU = SimpleNamespace(device=torch.device("cpu"))


def table(title: str, contestants: dict, score: Callable[..., float], grid: tuple[float, ...]) -> None:
    """Print the score of each contestant at each rate, and its best rate."""
    print(f"\n{title}\n{'rate':30}" + "".join(f"{rate:9}" for rate in grid))
    for name, contestant in contestants.items():
        scores = [score(contestant, rate) for rate in grid]
        best = grid[min(range(len(grid)), key=scores.__getitem__)]
        print(f"{name:30}" + "".join(f"{value:9.4f}" for value in scores) + f"   best at {best}", flush=True)


def hold() -> None:
    """Lesson 02, section 3: the error in the last 100 of 1000 steps, mean of two seeds."""
    own = lesson_code.load("02", "new_rnn", "new_lstm", "sample_and_hold")
    streams, truth = own.sample_and_hold(1000, 50, torch.Generator().manual_seed(98))
    lesson = lesson_code.load(
        "02", "Sequence", "train", "sample_and_hold", "hold", session=CPU, streams=streams, hold_steps=600
    )

    def score(make: Callable, rate: float) -> float:
        errors = [(lesson.hold(make, rate, seed) - truth)[-100:].square().mean().item() for seed in (10, 11)]
        return statistics.mean(errors)

    contestants = {
        "LSTM, 32 units": lambda: own.new_lstm(2, 32, forget=1.0),
        "RNN, 32 units": lambda: own.new_rnn(2, 32),
        "RNN, 67 units": lambda: own.new_rnn(2, 67),
    }
    table(
        "sample and hold, error in the last 100 of 1000 steps, mean of seeds 10 and 11", contestants, score, GRID[1:6]
    )


def adding(length: int = 150) -> None:
    """Lesson 02, section 6: the error on new sequences."""
    given = dict(session=CPU, length=length, add_steps=500)
    lesson = lesson_code.load(
        "02", "Sequence", "new_rnn", "new_lstm", "train", "sums", "error_at_the_end", "add", **given
    )
    opened = math.log(length)
    contestants = {
        "RNN": lambda: lesson.new_rnn(2, 32),
        "LSTM, forget bias 1": lambda: lesson.new_lstm(2, 32, forget=1.0),
        "LSTM, forget gates open": lambda: lesson.new_lstm(2, 32, forget=opened),
        "LSTM, input gates shut": lambda: lesson.new_lstm(2, 32, forget=1.0, write=-opened),
        "LSTM, open and shut": lambda: lesson.new_lstm(2, 32, forget=opened, write=-opened),
        "GRU": lambda: torch.nn.GRU(2, 32),
    }

    def score(make: Callable, rate: float) -> float:
        return lesson.add(make, rate, seed=10)[0]

    table(f"adding problem, T = {length}, error on new sequences, seed 10", contestants, score, GRID[:7:2])


def text() -> None:
    """Lesson 01, section 9, and detour 02a, section 5: the loss after 600 chunks on text held back from training."""
    plays = data.shakespeare()
    train, held_back = plays.inner_split()
    size = len(plays.vocabulary)
    part = SimpleNamespace(train=train, vocabulary=plays.vocabulary)
    names = "Recurrent", "CharacterRNN", "CharacterWindow", "fit_characters", "validation_loss"
    lesson = lesson_code.load("01", *names, text=part, V=size, unseen=held_back)
    detour = lesson_code.load("02a", "CharacterLSTM", "fit_lstm", "loss_on", text=part, V=size)

    def as_in_lesson_01(make: Callable) -> Callable[[float], float]:
        return lambda rate: lesson.validation_loss(lesson.fit_characters(make, rate, 10, 600))

    contestants = {
        "RNN, 256 units": as_in_lesson_01(lambda: lesson.CharacterRNN(size, 256, size)),
        "LSTM, 118 units": lambda rate: detour.loss_on(held_back, detour.fit_lstm(rate, 10, 600)),
        "window of 8": as_in_lesson_01(lambda: lesson.CharacterWindow(8, 16, 512)),
    }
    table("characters, nats, seed 10", contestants, lambda loss, rate: loss(rate), GRID[2:])


def main() -> None:
    """Print the tables that are asked for, or all."""
    torch.set_num_threads(1)
    parts = {"hold": hold, "adding": adding, "text": text}
    for name in sys.argv[1:] or parts:
        parts[name]()


if __name__ == "__main__":
    main()
