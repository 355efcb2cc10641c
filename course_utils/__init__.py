"""Helpers for the course's notebooks: runtime, data, training, plots, widgets, evaluate, exercises."""

import os

# A thread of OpenMP that waits for others keeps its core busy by default. Beside a browser or a video call, whose work
# the others then wait for, small steps take ten times as long (`benchmarks/busy.py`, `benchmarks/spinning.py`). GCC's
# runtime reads the first name, LLVM's and Intel's the second, when torch is imported; who has set them is heard.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # 0 makes small steps 1.5 times slower where nothing else runs
os.environ.setdefault("KMP_BLOCKTIME", "0")
