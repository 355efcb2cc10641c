"""What kept activations buy: detour 08a's cached sampler against one pass of the net for every pixel, 64 images of 28 × 28.

    .venv/bin/python benchmarks/cached_sampler.py [THREADS]

The net has the shape of profile cpu, and random weights, in float32 and channels_last. Both samplers draw from the same
uniform numbers. The slow one runs all of its 784 passes, which takes minutes; after each row the cached one draws all 64
images, and one pass is timed that leaves out the rows below. Core-seconds with one thread (the default), seconds on the
clock with more. Then both draw two images in float64, from nothing and with the upper half known.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.notebooks import lesson_code

IMAGES, SIDE, CHANNELS, DILATIONS = 64, 28, 32, (1, 2, 4, 8) * 2
CODE = ("gate", "GatedLayer", "GatedPixelCNN", "draw", "toss", "draw_slowly")


def random_net(lesson: SimpleNamespace) -> nn.Module:
    """The lesson's net, its weights larger than at the start, where every logit is nearly 0."""
    torch.manual_seed(0)
    net = lesson.GatedPixelCNN(CHANNELS, DILATIONS).to(memory_format=torch.channels_last)
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(1.5)
    return net


def race(lesson: SimpleNamespace, net: nn.Module, clock: Callable[[], float]) -> tuple[dict[str, float], Tensor, Any]:
    """Seconds for drawing IMAGES images each way; the slow one's images; the cached one's, and their logits."""
    uniforms = torch.rand(IMAGES, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    nothing, known = torch.zeros(IMAGES, 1, SIDE, SIDE), torch.zeros(SIDE, SIDE, dtype=torch.bool)
    choose, cached = lesson.toss(uniforms), []
    spent: dict[str, float] = {"slow": 0.0, "cropped": 0.0, "cached": 0.0}

    def timed(name: str, times: float, run: Callable[..., Any], *arguments: Any) -> Any:
        start = clock()
        result = run(*arguments)
        spent[name] += times * (clock() - start)
        return result

    image = nothing.clone()
    for row in range(SIDE):
        rows = image[:, :, : row + 1].contiguous()
        with torch.no_grad():
            timed("cropped", SIDE, net, rows)
        cached[:] = timed("cached", 1 / SIDE, lesson.draw, net, nothing, known, choose)
        line = torch.ones(SIDE, SIDE, dtype=torch.bool)
        line[row] = False
        image = timed("slow", 1, lesson.draw_slowly, net, image, line, choose)
    return spent, image, tuple(cached)


def largest_difference(net: nn.Module, images: Tensor, logits: Tensor) -> float:
    """Between logits and those of one pass over the finished images, as a share of the largest."""
    with torch.no_grad():
        one_pass = net(images)
    return ((logits - one_pass).abs().max() / one_pass.abs().max()).item()


def compare_in_double(lesson: SimpleNamespace, net: nn.Module, rows: int) -> tuple[int, float]:
    """For two images with `rows` known rows: how many pixels differ, and by how much the logits do."""
    generator = torch.Generator().manual_seed(2)
    uniforms = torch.rand(2, SIDE, SIDE, generator=generator, dtype=torch.float64)
    image = torch.randint(0, 2, (2, 1, SIDE, SIDE), generator=generator).double()
    known = (torch.arange(SIDE) < rows).unsqueeze(1).expand(SIDE, SIDE)
    slow = lesson.draw_slowly(net, image, known, lesson.toss(uniforms))
    cached, logits = lesson.draw(net, image, known, lesson.toss(uniforms))
    return int((slow != cached).sum()), largest_difference(net, cached, logits)


def main(threads: int = 1) -> None:
    """Print the seconds of both, their ratio, and how far the results differ."""
    torch.set_num_threads(threads)
    lesson = lesson_code.load("08a", *CODE)
    net = random_net(lesson)
    spent, slow, (cached, logits) = race(lesson, net, time.process_time if threads == 1 else time.perf_counter)
    print(f"{IMAGES} images of {SIDE} × {SIDE}, {CHANNELS} channels, dilations {DILATIONS}, threads: {threads}")
    print(f"cached {spent['cached']:.3f} s, mean of {SIDE}")
    for name, what in {"slow": "a pass for each pixel", "cropped": "the same without the rows below"}.items():
        print(f"{what} {spent[name]:.1f} s: {spent[name] / spent['cached']:.0f} × as long")
    gap = largest_difference(net, cached, logits)
    print(
        f"float32: {int((slow != cached).sum())} of {slow.numel()} pixels differ; a logit by at most {gap:.1e} of the largest"
    )
    net.double()
    for rows in (0, SIDE // 2):
        differ, gap = compare_in_double(lesson, net, rows)
        print(
            f"float64, two images, {rows} rows known: {differ} pixels differ; a logit by at most {gap:.1e} of the largest"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
