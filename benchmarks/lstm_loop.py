"""How far are detour 02a's hand-written LSTM loops from `torch.nn.LSTM`, and what does indexing inside one cost?

    .venv/bin/python benchmarks/lstm_loop.py

Core-seconds of a forward and a backward pass in fp32 on one thread: the median of rounds in which the contestants take
turns. The loops are the lesson's own (`slow_lstm`, `fast_lstm`, `HandLSTM`), read from the notebook. "products" are the
matrix products of `HandLSTM` alone, as torch does them: what no loop around them can get below.
"""

import torch

from course_utils.notebooks import lesson_code

SIZES = ((64, 32, 64, 256), (100, 64, 256, 256), (200, 64, 256, 256), (150, 32, 64, 32))  # steps, batch, inputs, hidden
NAMES = "update", "slow_lstm", "fast_lstm", "HandLSTM", "core_seconds", "compare", "ready", "matrix_products"


def main() -> None:
    """Print the table of ratios, and how the cost of a step grows with the length of the sequence."""
    torch.set_num_threads(1)
    through = dict(through_sigmoid=torch.ops.aten.sigmoid_backward, through_tanh=torch.ops.aten.tanh_backward)
    lesson = lesson_code.load("02a", *NAMES, **through)
    loops = lesson.slow_lstm, lesson.fast_lstm, lesson.HandLSTM.apply
    print(
        f"{'steps, batch, inputs, hidden':30}{'nn.LSTM':>10}{'x[t]':>10}{'autograd':>10}{'by hand':>10}{'products':>10}"
    )
    for steps, batch, inputs, hidden in SIZES:
        contestants = lesson.ready(torch.nn.LSTM(inputs, hidden), loops, steps, batch)
        contestants.append(lesson.matrix_products(steps, batch, inputs, hidden))
        *own, library, products = lesson.compare(contestants, 7)
        ratios = "".join(f"{value / library:8.2f} x" for value in (*own, products))
        print(f"{(steps, batch, inputs, hidden)!s:30}{1000 * library:7.1f} ms{ratios}")
    print("\ncore-µs per step, batch 32, 64 inputs, 32 hidden units")
    for steps in (100, 200, 400, 800):
        times = lesson.compare(lesson.ready(torch.nn.LSTM(64, 32), loops, steps, 32), 3)
        slow, fast, by_hand, library = (1e6 * seconds / steps for seconds in times)
        print(
            f"{steps:5} steps: x[t] {slow:7.0f}   unbind {fast:7.0f}   by hand {by_hand:7.0f}   nn.LSTM {library:7.0f}"
        )


if __name__ == "__main__":
    main()
