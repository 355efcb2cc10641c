"""The Mackey-Glass delay differential equation, solved by a fourth-order Runge-Kutta method."""

import math

import numpy as np


def solve(history: float, tau: float, step: float, steps: int) -> np.ndarray:
    """The solution at times 0, step, …, steps * step: (steps + 1,) float64, from the constant `history`; step <= tau.

    It advances in blocks that are no longer than the delay: within one, all delayed values are known beforehand.
    """
    x = np.full(steps + 1, history)
    slope = np.zeros(steps + 1)
    block = max(1, math.floor(round(tau / step, 9)))
    for start in range(0, steps, block):
        stop = min(start + block, steps)
        times = np.arange(2 * start, 2 * stop + 1) / 2 - tau / step  # delayed, in steps: nodes and midpoints
        delayed = _hermite(x[: start + 1], slope[: start + 1], times, step, history)
        growth = 0.2 * delayed / (1 + delayed**10)
        x[start + 1 : stop + 1] = _runge_kutta(x[start], growth.tolist(), step)
        slope[start : stop + 1] = growth[::2] - 0.1 * x[start : stop + 1]
    return x


def _runge_kutta(x: float, growth: list[float], step: float) -> list[float]:
    """Classical Runge-Kutta steps of dx/dt = growth(t) - 0.1 x; `growth` is given at nodes and midpoints in turn."""
    path = []
    for i in range(0, len(growth) - 1, 2):
        at_start, at_middle, at_end = growth[i : i + 3]
        k1 = at_start - 0.1 * x
        k2 = at_middle - 0.1 * (x + step / 2 * k1)
        k3 = at_middle - 0.1 * (x + step / 2 * k2)
        k4 = at_end - 0.1 * (x + step * k3)
        x += step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        path.append(x)
    return path


def _hermite(x: np.ndarray, slope: np.ndarray, times: np.ndarray, step: float, history: float) -> np.ndarray:
    """The solution at `times` (in steps) by cubic Hermite interpolation of its known nodes; `history` before time 0."""
    node = np.clip(np.floor(times).astype(int), 0, max(len(x) - 2, 0))
    after = np.minimum(node + 1, len(x) - 1)
    s = np.clip(times - node, 0.0, 1.0)
    left = (1 + 2 * s) * x[node] + s * step * slope[node]
    right = (3 - 2 * s) * x[after] - (1 - s) * step * slope[after]
    between = (1 - s) ** 2 * left + s**2 * right
    return np.where(times <= 0, history, between)
