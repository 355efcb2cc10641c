"""How long a thread that waits should spin before it sleeps: a transformer's small training step, alone and beside others.

    .venv/bin/python benchmarks/spinning.py     # half a minute, on a quiet machine

`course_utils` sets `GOMP_SPINCOUNT`. Each count is measured in a process of its own, with one thread a core: alone, and
beside as many endless loops as there are cores. "unset" is OpenMP's own choice.
"""

import os
import subprocess
import sys

from busy import busy_cores

COUNTS = ("0", "100", "1000", "10000", "unset")
PROGRAM = """
import time

import torch
from torch import nn

torch.manual_seed(0)
layer = nn.TransformerEncoderLayer(128, 4, 512, batch_first=True)
optimizer = torch.optim.AdamW(layer.parameters())
x = torch.randn(12, 64, 128)
times = []
for _ in range(150):
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16):
        loss = layer(x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    times.append(time.perf_counter() - start)
print(1000 * sum(times[30:]) / len(times[30:]))
"""


def milliseconds(count: str) -> float:
    """Wall time of a step where waiting threads spin `count` times; the mean of 120."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_NUM_THREADS")
    }
    if count != "unset":
        environment["GOMP_SPINCOUNT"] = count
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Print a table."""
    print(f"{'spin count':>10}{'alone':>12}{'beside busy programs':>24}")
    for count in COUNTS:
        alone = milliseconds(count)
        with busy_cores():
            print(f"{count:>10}{alone:9.1f} ms{milliseconds(count):21.1f} ms")


if __name__ == "__main__":
    main()
