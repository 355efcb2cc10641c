"""How far is lesson 02's hand-written LSTM loop from `torch.nn.LSTM`, and what does indexing inside it cost?

    .venv/bin/python benchmarks/lstm_loop.py

Core-seconds of a forward and a backward pass in fp32 on one thread: the median of rounds in which the candidates take
turns. The loops are the lesson's own (`fast_lstm`, `slow_lstm`), read from the notebook. "products" are the loop's
matrix products alone, as `@` does them: what a loop around `@` cannot get below.
"""

import lesson_code
import torch

SIZES = ((64, 32, 64, 256), (100, 64, 256, 256), (200, 64, 256, 256), (150, 32, 64, 32))  # steps, batch, inputs, hidden
NAMES = "slow_lstm", "fast_lstm", "one_layer", "core_seconds", "compare", "loops", "matrix_products"


def main() -> None:
    """Print the table of ratios, and how the cost of a step grows with the length of the sequence."""
    torch.set_num_threads(1)
    lesson = lesson_code.load("02", *NAMES)
    print(f"{'steps, batch, inputs, hidden':32}{'nn.LSTM':>10}{'fast loop':>12}{'slow loop':>12}{'products':>12}")
    for size in SIZES:
        slow, fast, library, products = lesson.compare([*lesson.loops(*size), lesson.matrix_products(*size)], 7)
        ratios = "".join(f"{value / library:10.2f} x" for value in (fast, slow, products))
        print(f"{size!s:32}{1000 * library:7.1f} ms{ratios}")
    print("\ncore-µs a step, batch 32, 64 inputs, 32 hidden units")
    for steps in (100, 200, 400, 800):
        slow, fast, library = (1e6 * t / steps for t in lesson.compare(lesson.loops(steps, 32, 64, 32), 3))
        print(f"{steps:5} steps: indexing {slow:7.0f}   unbind and hoisting {fast:7.0f}   nn.LSTM {library:7.0f}")


if __name__ == "__main__":
    main()
