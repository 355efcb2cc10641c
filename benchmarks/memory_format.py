"""Do small convolutional nets run faster in channels_last, and in bf16, on this CPU?

    .venv/bin/python benchmarks/memory_format.py [batch]

Core-seconds of a forward and a backward pass over images of 28x28 pixels on one thread: the median of rounds in which
all forms take turns. The last line is what `session.memory_format` chooses here.
"""

import sys
import time
from collections.abc import Callable

import torch
from torch import nn

from course_utils import runtime
from course_utils.notebooks import lesson_code

ROUNDS = 9
FORMATS = torch.contiguous_format, torch.channels_last


def convolutions(width: int) -> nn.Module:
    """Padded 3x3 convolutions at the full size."""
    return nn.Sequential(
        *(nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 1, 3, padding=1)),
    )


def pooling(width: int) -> nn.Module:
    """Convolution and max pooling down to 7x7, and transposed convolution up again."""
    return nn.Sequential(
        *(nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(width, 1, 4, 2, 1)),
    )


def lesson_03(width: int) -> nn.Module:
    """The autoencoder of lesson 03, with its dense layers and its bottleneck."""
    return lesson_code.load("03", "ConvolutionalAutoencoder").ConvolutionalAutoencoder(32, width, 256)


def normalised(width: int) -> nn.Module:
    """Strided convolutions down to 7x7 and transposed ones up again, with batch normalisation, as a DCGAN has them."""
    return nn.Sequential(
        *(nn.Conv2d(1, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
        *(nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU()),
        *(nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
        nn.ConvTranspose2d(width, 1, 4, 2, 1),
    )


def step(build: Callable[[int], nn.Module], width: int, batch: int, bf16: bool, form: torch.memory_format):
    """A function that runs one forward and backward pass of a net in this precision and layout."""
    images = torch.rand(batch, 1, 28, 28, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=form)
    net = build(width).to(memory_format=form)

    def run() -> None:
        net.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            output = net(images)
        (output.float() - images).square().mean().backward()

    return run


def core_seconds(candidates: list[Callable[[], None]]) -> list[float]:
    """The median core-seconds of each candidate over rounds in which they take turns; the first round is not counted."""
    times = torch.empty(ROUNDS + 1, len(candidates))
    for row in times:
        for place, candidate in enumerate(candidates):
            start = time.process_time()
            candidate()
            row[place] = time.process_time() - start
    return times[1:].median(0).values.tolist()


def main() -> None:
    """Print the table: time contiguous over time in channels_last, for both precisions; and of fp32 over bf16."""
    torch.set_num_threads(1)
    batch = int(sys.argv[1]) if len(sys.argv) > 1 else 128
    print(f"batch {batch}; ratios of core-seconds, above 1: the second form is faster\n")
    print(
        f"{'net':14}{'channels':>9}{'fp32':>12}{'channels_last':>16}{'... in bf16':>14}{'best bf16 for best fp32':>26}"
    )
    for build in (convolutions, pooling, normalised, lesson_03):
        for width in (16, 32, 64):
            forms = [step(build, width, batch, bf16, form) for bf16 in (False, True) for form in FORMATS]
            fp32, fp32_last, bf16, bf16_last = core_seconds(forms)
            print(
                f"{build.__name__:14}{width:9}{1000 * fp32:9.0f} ms{fp32 / fp32_last:14.2f} x{bf16 / bf16_last:12.2f} x"
                f"{min(fp32, fp32_last) / min(bf16, bf16_last):24.2f} x"
            )
    chosen = runtime.start("cpu")
    print(f"\nsession.precision {chosen.precision}, session.memory_format {chosen.memory_format}")


if __name__ == "__main__":
    main()
