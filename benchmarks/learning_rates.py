"""Which learning rates the contestants of lesson 02 are given: the best of one grid for all.

    .venv/bin/python benchmarks/learning_rates.py [hold] [adding]

Networks and training loops are the lesson's own. Rates are chosen with other seeds than it reports on.
"""

import math
import statistics
import sys
from collections.abc import Callable
from types import SimpleNamespace

import torch

from course_utils.notebooks import lesson_code

GRID = 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064
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
        "sample and hold, error in the last 100 of 1000 steps, mean of seeds 10 and 11", contestants, score, GRID[1:-1]
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

    table(f"adding problem, T = {length}, error on new sequences, seed 10", contestants, score, GRID[::2])


def main() -> None:
    """Print the tables that are asked for, or all."""
    torch.set_num_threads(1)
    parts = {"hold": hold, "adding": adding}
    for name in sys.argv[1:] or parts:
        parts[name]()


if __name__ == "__main__":
    main()
