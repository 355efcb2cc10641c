"""Exercises of lesson 04: transposed convolution, seen from four sides."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.exercises.define import Case, define, edge, randn

LIBRARY = ("F.conv_transpose2d", "nn.ConvTranspose2d")  # what the exercises rebuild

# -- 4.1 -----------------------------------------------------------------------------------------------------------


@define(lesson="04", points=2, outputs="y", forbidden=LIBRARY)
def stamp(x, weight, stride):
    """Transposed convolution as a stamp: each input pixel prints the kernel, times its value; overlaps add.

    x: (C_in, H, W). weight: (C_in, C_out, k, k), one kernel for every pair of an input and an output channel.
    stride: the distance, in output pixels, between the prints of neighbouring input pixels.
    Returns y, (C_out, (H - 1) * stride + k, (W - 1) * stride + k): no padding, nothing is cut off.
    """
    _, height, width = x.shape
    _, c_out, k, _ = weight.shape
    y = x.new_zeros(c_out, (height - 1) * stride + k, (width - 1) * stride + k)
    for row in range(height):
        for column in range(width):
            top, left = row * stride, column * stride
            y[:, top : top + k, left : left + k] += torch.einsum("i,iokl->okl", x[:, row, column], weight)
    return y


def _print_job(generator: torch.Generator, c_in: int, c_out: int, height: int, width: int, k: int, stride: int) -> dict:
    x, weight = randn(generator, c_in, height, width), randn(generator, c_in, c_out, k, k)
    return dict(x=x, weight=weight, stride=stride)


@stamp.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for sizes in ((2, 3, 3, 4, 3, 2), (3, 2, 4, 3, 5, 2), (4, 3, 2, 5, 4, 3), (3, 4, 5, 2, 3, 2)):
        yield _print_job(generator, *sizes)
    yield edge(
        "the stride is larger than the kernel, so that gaps remain",
        stated="larger than the kernel, so that gaps remain",
        **_print_job(generator, 2, 3, 3, 2, 2, 4),
    )
    yield edge("the stride is 1", stated="for every stride, be it 1", **_print_job(generator, 3, 2, 3, 5, 2, 1))
    yield edge(
        "the input is a single pixel",
        stated="for an input of a single pixel",
        **_print_job(generator, 2, 3, 1, 1, 3, 2),
    )
    yield edge(
        "the kernel is a single weight",
        stated="for a kernel of a single weight",
        **_print_job(generator, 3, 2, 2, 4, 1, 2),
    )


@stamp.typical
def _(generator: torch.Generator) -> dict:
    return _print_job(generator, 8, 4, 14, 14, 4, 2)


def _stamped(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """What `stamp` makes, without its loops."""
    (_, height, width), (_, c_out, k, _) = x.shape, weight.shape
    prints = torch.einsum("ihw,iokl->oklhw", x, weight).reshape(c_out * k * k, height * width)
    return F.fold(prints, ((height - 1) * stride + k, (width - 1) * stride + k), k, stride=stride)


@stamp.mistake(
    "where two stamps overlap, the later one wipes out the earlier. Ink adds: every output pixel is the sum of all the "
    "stamps that reach it. Write `+=` instead of `=`."
)
def overwriting(x, weight, stride):
    _, height, width = x.shape
    k = weight.shape[2]
    y = torch.zeros_like(_stamped(x, weight, stride))
    for row in range(height):
        for column in range(width):
            top, left = row * stride, column * stride
            y[:, top : top + k, left : left + k] = torch.einsum("i,iokl->okl", x[:, row, column], weight)
    return y


@stamp.mistake(
    "your kernel is turned by 180°. A stamp prints the kernel as it is: the pixel's value times weight [0, 0] lands in "
    "the upper left corner of its print. (The turning belongs to another view of the same operation, later on.)"
)
def turned_stamp(x, weight, stride):
    return _stamped(x, weight.flip(2, 3), stride)


@stamp.mistake(
    "rows and columns of your kernel have changed places. A stamp prints the kernel as it is: weight [row, column] lands that "
    "many rows down and that many columns to the right of the print's upper left corner."
)
def kernel_on_its_side(x, weight, stride):
    return _stamped(x, weight.transpose(2, 3), stride)


@stamp.mistake(
    "you reshape the weights to (C_out, C_in, k, k). That deals the kernels to the wrong pairs of channels. The weights "
    "come as (C_in, C_out, k, k): `weight[i, o]` leads from input channel i to output channel o."
)
def channels_dealt_anew(x, weight, stride):
    c_in, c_out, k, _ = weight.shape
    return _stamped(x, weight.reshape(c_out, c_in, k, k).transpose(0, 1), stride)


@stamp.mistake(
    "only the first input channel prints. Every input channel has a kernel for every output channel, and an output "
    "channel is the sum over all of them."
)
def one_channel_prints(x, weight, stride):
    return _stamped(x[:1], weight[:1], stride)


@stamp.mistake(
    "you sum the input channels first and print the result with the first channel's kernels. Each input channel has "
    "kernels of its own: multiply before you sum."
)
def summed_too_soon(x, weight, stride):
    return _stamped(x.sum(0, keepdim=True), weight[:1], stride)


@stamp.mistake(
    "all stamps stand one pixel apart: the stride only enlarges the canvas. Input pixel (row, column) prints at "
    "(row * stride, column * stride)."
)
def prints_too_close(x, weight, stride):
    y = torch.zeros_like(_stamped(x, weight, stride))
    dense = _stamped(x, weight, 1)
    y[:, : dense.shape[1], : dense.shape[2]] = dense
    return y


@stamp.mistake(
    "your canvas is too large: H * stride + k. Between H stamps lie only H − 1 strides, and the last stamp needs k pixels."
)
def one_stride_too_many(x, weight, stride):
    return F.pad(_stamped(x, weight, stride), (0, stride, 0, stride))


@stamp.mistake(
    "your canvas is cut to H * stride by W * stride, and the last stamps are clipped. Nothing is cut off here: the last "
    "stamp begins at (H − 1) * stride and needs k pixels from there."
)
def clipped_to_a_multiple(x, weight, stride):
    _, height, width = x.shape
    y = _stamped(x, weight, stride)
    grown = F.pad(y, (0, stride, 0, stride))
    return grown[:, : height * stride, : width * stride]


stamp.hints(
    "Begin with an empty canvas of the right size. Between the first and the last of H stamps lie H − 1 strides, and the "
    "last stamp itself needs k pixels.",
    "Two loops, over rows and columns of the input. The pixel at (row, column) has C_in values; its print has shape "
    "(C_out, k, k): for each output channel, the sum over input channels i of x[i, row, column] * weight[i, o].",
    '`torch.einsum("i,iokl->okl", x[:, row, column], weight)` is the print. Add it, with `+=`, to '
    "`y[:, top : top + k, left : left + k]` with top = row * stride, left = column * stride.",
)

# -- 4.2 -----------------------------------------------------------------------------------------------------------


@define(lesson="04", points=1, outputs="size_out")
def output_size(size, kernel, stride, padding, output_padding, dilation):
    """How many pixels a transposed convolution makes of `size` pixels, along one dimension.

    kernel: its number of weights. stride: distance between stamps. padding: cut from both ends.
    output_padding: cut less at the far end. dilation: distance between the kernel's weights. All are ints.
    Returns an int.
    """
    return (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 + output_padding


def _settings(generator: torch.Generator, **fixed: int) -> dict:
    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    stride = fixed.get("stride", draw(2, 5))
    dilation = fixed.get("dilation", draw(2, 4))
    drawn = dict(size=draw(5, 12), kernel=draw(2, 7), stride=stride, padding=draw(1, 2))
    drawn |= dict(
        output_padding=draw(1, max(stride, dilation) - 1) if max(stride, dilation) > 1 else 0, dilation=dilation
    )
    return drawn | fixed


@output_size.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for _ in range(8):
        yield _settings(generator)
    yield edge(
        "there is no dilation (dilation = 1)", stated="no dilation (`dilation = 1`)", **_settings(generator, dilation=1)
    )
    yield edge("there is no padding", stated="no padding", **_settings(generator, padding=0))
    yield edge("there is no output padding", stated="no output padding", **_settings(generator, output_padding=0))
    yield edge("the stride is 1", stated="a stride of 1", **_settings(generator, stride=1))
    yield edge("the kernel has a single weight", stated="a kernel of a single weight", **_settings(generator, kernel=1))
    yield edge("the input is a single pixel", stated="a single pixel", **_settings(generator, size=1, kernel=6))


@output_size.mistake(
    "you use the size of an ordinary convolution, which divides by the stride. A transposed convolution goes the other "
    "way: H stamps, a stride apart, multiply."
)
def ordinary_convolution(size, kernel, stride, padding, output_padding, dilation):
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


@output_size.mistake(
    "the dilation is missing. A kernel of k weights that lie `dilation` apart covers dilation * (k − 1) + 1 pixels, not k."
)
def without_dilation(size, kernel, stride, padding, output_padding, dilation):
    return (size - 1) * stride - 2 * padding + kernel + output_padding


@output_size.mistake(
    "you count dilation * k pixels for a stamp. Between k weights lie only k − 1 gaps: dilation * (k − 1) + 1."
)
def a_gap_too_many(size, kernel, stride, padding, output_padding, dilation):
    return (size - 1) * stride - 2 * padding + dilation * kernel + output_padding


@output_size.mistake(
    "you count size * stride. Between `size` stamps lie only size − 1 strides: try a single pixel, whose stamp is as wide "
    "as the kernel whatever the stride."
)
def a_stride_too_many(size, kernel, stride, padding, output_padding, dilation):
    return size * stride - 2 * padding + dilation * (kernel - 1) + 1 + output_padding


@output_size.mistake(
    "the padding is added. In a transposed convolution padding *cuts*: it undoes the zeros that the forward convolution "
    "put around its input."
)
def padding_added(size, kernel, stride, padding, output_padding, dilation):
    return (size - 1) * stride + 2 * padding + dilation * (kernel - 1) + 1 + output_padding


@output_size.mistake("the padding is cut from one end only. It is cut from both: 2 * padding.")
def cut_once(size, kernel, stride, padding, output_padding, dilation):
    return (size - 1) * stride - padding + dilation * (kernel - 1) + 1 + output_padding


@output_size.mistake(
    "the output padding is counted at both ends. Unlike `padding` it stands at the far end alone, so it counts once."
)
def output_padding_twice(size, kernel, stride, padding, output_padding, dilation):
    return (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 + 2 * output_padding


@output_size.mistake(
    "the output padding is missing. It chooses among the sizes that a strided convolution would have mapped to the same "
    "result: add it."
)
def without_output_padding(size, kernel, stride, padding, output_padding, dilation):
    return (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1


@output_size.mistake("the output padding is subtracted. It makes the result larger: less is cut at the far end.")
def output_padding_cuts(size, kernel, stride, padding, output_padding, dilation):
    return (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 - output_padding


@output_size.mistake(
    "one pixel is missing. A kernel of k weights has k − 1 gaps, but it covers one pixel more than that: + 1. Test it with "
    "a kernel of a single weight and a stride of 1, which change nothing."
)
def a_pixel_short(size, kernel, stride, padding, output_padding, dilation):
    return (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding


output_size.hints(
    "Without padding and dilation: the last stamp begins (size − 1) * stride pixels after the first, and is `kernel` wide.",
    "With dilation a stamp covers dilation * (kernel − 1) + 1 pixels instead. Then cut and add: padding from both ends, "
    "output padding once.",
    "`(size - 1) * stride + dilation * (kernel - 1) + 1 - 2 * padding + output_padding`.",
)

# -- 4.3 -----------------------------------------------------------------------------------------------------------


@define(lesson="04", points=2, outputs="C")
def convolution_matrix(kernel, height, width, stride):
    """The matrix of a convolution: C @ x.flatten() is conv2d(x, kernel, stride), flattened. No padding.

    kernel: (k, k). The image x has shape (height, width), at least (k, k), and is flattened row by row.
    Returns C, (number of output pixels, height * width): one row for every place where the kernel fits, in the
    order of the output's pixels, row by row. As everywhere in torch, the kernel is not flipped.
    """
    k, rows = len(kernel), []
    for top in range(0, height - k + 1, stride):
        for left in range(0, width - k + 1, stride):
            image = kernel.new_zeros(height, width)
            image[top : top + k, left : left + k] = kernel
            rows.append(image.flatten())
    return torch.stack(rows)


def _image_of(generator: torch.Generator, k: int, height: int, width: int, stride: int) -> dict:
    return dict(kernel=randn(generator, k, k), height=height, width=width, stride=stride)


@convolution_matrix.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for sizes in ((3, 7, 5, 2), (4, 7, 10, 3), (3, 4, 6, 1), (2, 6, 4, 2), (3, 5, 9, 2)):
        yield _image_of(generator, *sizes)
    yield edge(
        "the last rows and columns of the image are never reached",
        stated="where the last rows and columns of the image are never reached",
        **_image_of(generator, 3, 6, 8, 2),
    )
    yield edge(
        "the kernel fits in one place only", stated="it may fit in one place only", **_image_of(generator, 3, 3, 3, 2)
    )
    yield edge("the kernel is a single weight", stated="the kernel a single weight", **_image_of(generator, 1, 3, 4, 2))
    yield edge(
        "the stride is larger than the kernel",
        stated="The stride may be larger than the kernel",
        **_image_of(generator, 2, 8, 6, 3),
    )


@convolution_matrix.typical
def _(generator: torch.Generator) -> dict:
    return _image_of(generator, 3, 28, 28, 2)


def _matrix(kernel: Tensor, height: int, width: int, stride: int) -> Tensor:
    """Column j is what the convolution makes of an image that is 1 at pixel j and 0 elsewhere."""
    pixels = torch.eye(height * width, dtype=kernel.dtype).view(-1, 1, height, width)
    return F.conv2d(pixels, kernel[None, None], stride=stride).flatten(1).T


@convolution_matrix.mistake(
    "your kernel is flipped, as in a mathematician's convolution. What the networks' world calls a convolution slides the "
    "kernel as it is (a *cross-correlation*): weight [0, 0] meets the upper left pixel."
)
def mathematicians_convolution(kernel, height, width, stride):
    return _matrix(kernel.flip(0, 1), height, width, stride)


@convolution_matrix.mistake(
    "you return the transpose. C maps the image to the smaller output, so it has one *row* for each output pixel and one "
    "column for each input pixel. The transpose is what this lesson is about, but it comes next."
)
def already_transposed(kernel, height, width, stride):
    return _matrix(kernel, height, width, stride).T


@convolution_matrix.mistake(
    "the output's pixels come column by column. `flatten` reads row by row: the kernel's place moves along a row first, "
    "so the loop over columns is the inner one."
)
def outputs_by_column(kernel, height, width, stride):
    places = (height - len(kernel)) // stride + 1
    matrix = _matrix(kernel, height, width, stride)
    return matrix.unflatten(0, (places, -1)).transpose(0, 1).flatten(0, 1)


@convolution_matrix.mistake(
    "the image's pixels come column by column. `flatten` reads row by row: pixel (row, column) is entry row * width + column."
)
def inputs_by_column(kernel, height, width, stride):
    matrix = _matrix(kernel, height, width, stride)
    return matrix.unflatten(1, (height, width)).transpose(1, 2).flatten(1)


@convolution_matrix.mistake(
    "the stride is ignored: the kernel moves one pixel at a time. It jumps `stride` pixels, both to the right and down."
)
def one_pixel_at_a_time(kernel, height, width, stride):
    return _matrix(kernel, height, width, 1)


@convolution_matrix.mistake("the kernel jumps to the right, but goes down one row at a time. Both steps are `stride`.")
def stride_to_the_right_only(kernel, height, width, stride):
    rows = _matrix(kernel, height, width, 1).unflatten(0, (height - len(kernel) + 1, -1))
    return rows[:, ::stride].flatten(0, 1)


@convolution_matrix.mistake("the kernel jumps down, but goes one column at a time. Both steps are `stride`.")
def stride_down_only(kernel, height, width, stride):
    rows = _matrix(kernel, height, width, 1).unflatten(0, (height - len(kernel) + 1, -1))
    return rows[::stride].flatten(0, 1)


@convolution_matrix.mistake(
    "places are missing at the lower and right edge: the kernel also fits where it just touches the edge. The last place "
    "is height − k, so a range must end at height − k + 1 (the same for the width)."
)
def edge_places_lost(kernel, height, width, stride):
    k = len(kernel)
    down, right = (height - k) // stride + 1, (width - k) // stride + 1
    kept = [len(range(0, size - k, stride)) for size in (height, width)]
    rows = _matrix(kernel, height, width, stride).unflatten(0, (down, right))
    return rows[: kept[0], : kept[1]].flatten(0, 1)


@convolution_matrix.mistake(
    "you jump over places, but put the kernel at neighbouring ones: output pixel (row, column) looks at the image from "
    "(row * stride, column * stride) on."
)
def places_not_apart(kernel, height, width, stride):
    down, right = ((size - len(kernel)) // stride + 1 for size in (height, width))
    rows = _matrix(kernel, height, width, 1).unflatten(0, (height - len(kernel) + 1, -1))
    return rows[:down, :right].flatten(0, 1)


@convolution_matrix.mistake(
    "you write the k² weights into the row in one run. In the flattened image the kernel's rows do not touch: from one to the "
    "next it is `width` entries. Put the kernel into an image of zeros, and flatten that."
)
def kernel_in_one_run(kernel, height, width, stride):
    rows = []
    for top in range(0, height - len(kernel) + 1, stride):
        for left in range(0, width - len(kernel) + 1, stride):
            row, start = kernel.new_zeros(height * width), top * width + left
            row[start : start + kernel.numel()] = kernel.flatten()
            rows.append(row)
    return torch.stack(rows)


@convolution_matrix.mistake(
    "rows and columns of your kernel have changed places: weight [row, column] meets the pixel that many rows down and that "
    "many columns to the right of where the kernel begins."
)
def kernel_across(kernel, height, width, stride):
    return _matrix(kernel.T, height, width, stride)


convolution_matrix.hints(
    "Each row of C belongs to one output pixel, that is to one place of the kernel on the image. What does the row look "
    "like if you fold it back into an image?",
    "It is an image of zeros with the kernel in it, at that place. Loop over the places, top before left, make that image, "
    "flatten it, and stack the rows.",
    "Places: `range(0, height - k + 1, stride)` and `range(0, width - k + 1, stride)`. The image: "
    "`kernel.new_zeros(height, width)` with `image[top : top + k, left : left + k] = kernel`.",
)

# -- 4.4 -----------------------------------------------------------------------------------------------------------


@define(lesson="04", points=1, outputs="y")
def insert_zeros(x, stride):
    """Spread an image out: put stride - 1 zeros between neighbouring pixels, and none around them.

    x: (C, H, W). Returns y, (C, (H - 1) * stride + 1, (W - 1) * stride + 1).
    """
    channels, height, width = x.shape
    y = x.new_zeros(channels, (height - 1) * stride + 1, (width - 1) * stride + 1)
    y[:, ::stride, ::stride] = x
    return y


@insert_zeros.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for channels, height, width, stride in ((2, 3, 5, 2), (3, 4, 2, 3), (1, 2, 4, 4), (4, 5, 3, 2)):
        yield dict(x=randn(generator, channels, height, width), stride=stride)
    yield edge(
        "the stride is 1, and nothing is inserted",
        stated="With a stride of 1 nothing is inserted",
        x=randn(generator, 2, 3, 4),
        stride=1,
    )
    yield edge(
        "the image is a single pixel", stated="a single pixel is an image, too", x=randn(generator, 3, 1, 1), stride=3
    )
    yield edge(
        "the image is a single row",
        stated="a single row or a single pixel is an image, too",
        x=randn(generator, 2, 1, 5),
        stride=2,
    )


@insert_zeros.typical
def _(generator: torch.Generator) -> dict:
    return dict(x=randn(generator, 16, 14, 14), stride=2)


def _spread(x: Tensor, stride: int, after: int) -> Tensor:
    """x spread out, with `after` zeros behind every pixel that are cut behind the last one of the given stride."""
    channels, height, width = x.shape
    y = x.new_zeros(channels, height * (after + 1), width * (after + 1))
    y[:, :: after + 1, :: after + 1] = x
    return y


@insert_zeros.mistake(
    "there are zeros behind the last pixel, too: your result is H * stride high. Zeros stand *between* pixels, so the last "
    "one has none behind it: (H − 1) * stride + 1."
)
def zeros_behind_the_last(x, stride):
    return _spread(x, stride, stride - 1)


@insert_zeros.mistake(
    "you insert `stride` zeros between neighbours. Then they stand stride + 1 apart. Between pixels that are `stride` apart "
    "there is room for stride − 1 zeros."
)
def one_zero_too_many(x, stride):
    return _spread(x, stride, stride)[:, : x.shape[1] * (stride + 1) - stride, : x.shape[2] * (stride + 1) - stride]


@insert_zeros.mistake(
    "you repeat the pixels instead of inserting zeros. That is nearest-neighbour upsampling: it fills the gaps with copies. "
    "Here the gaps stay empty, and filling them is the kernel's work."
)
def pixels_repeated(x, stride):
    return x.repeat_interleave(stride, 1).repeat_interleave(stride, 2)


@insert_zeros.mistake(
    "the zeros stand between rows only. Columns are spread out as well: `y[:, ::stride, ::stride] = x`."
)
def rows_only(x, stride):
    y = x.new_zeros(x.shape[0], (x.shape[1] - 1) * stride + 1, x.shape[2])
    y[:, ::stride] = x
    return y


@insert_zeros.mistake(
    "the zeros stand between columns only. Rows are spread out as well: `y[:, ::stride, ::stride] = x`."
)
def columns_only(x, stride):
    y = x.new_zeros(x.shape[0], x.shape[1], (x.shape[2] - 1) * stride + 1)
    y[:, :, ::stride] = x
    return y


@insert_zeros.mistake(
    "the zeros stand before each pixel, so that there are some in front of the first. Zeros stand between pixels only: the "
    "first pixel stays at [0, 0], and the result is (H − 1) * stride + 1 high."
)
def zeros_in_front(x, stride):
    y = x.new_zeros(x.shape[0], x.shape[1] * stride, x.shape[2] * stride)
    y[:, stride - 1 :: stride, stride - 1 :: stride] = x
    return y


@insert_zeros.mistake(
    "you fill the gaps by interpolation. Here they stay empty, exactly 0: what stands between the pixels is decided by the "
    "kernel that comes next."
)
def interpolated(x, stride):
    size = [(n - 1) * stride + 1 for n in x.shape[1:]]
    return F.interpolate(x.unsqueeze(0), size=size, mode="bilinear", align_corners=True).squeeze(0)


insert_zeros.hints(
    "Begin with zeros of the right size. How far is it from the first pixel to the last, if neighbours stand `stride` apart?",
    "A slice with a step picks every stride-th entry, and one can also write into it.",
    "`y = x.new_zeros(C, (H - 1) * stride + 1, (W - 1) * stride + 1)`, then `y[:, ::stride, ::stride] = x`.",
)

# -- 4.5 -----------------------------------------------------------------------------------------------------------


@define(lesson="04", points=3, outputs="y", gradients=("x", "weight"), forbidden=LIBRARY)
def transposed_convolution(x, weight, stride, padding, output_padding):
    """The whole layer, without its bias: what conv_transpose2d makes of one image.

    x: (C_in, H, W). weight: (C_in, C_out, k, k). padding: pixels cut from every side of the stamped image; it may
    be larger than k - 1. output_padding, smaller than stride: pixels added at the bottom and at the right, by cutting
    less there. Returns y, (C_out, (H - 1) * stride - 2 * padding + k + output_padding, the same for W).
    """
    channels, height, width = x.shape
    spread = x.new_zeros(channels, (height - 1) * stride + 1, (width - 1) * stride + 1)
    spread[:, ::stride, ::stride] = x
    near = weight.shape[2] - 1 - padding
    far = near + output_padding
    return F.conv2d(F.pad(spread, (near, far, near, far)), weight.flip(2, 3).transpose(0, 1))


def _layer(generator: torch.Generator, sizes: tuple[int, ...], padding: int, output_padding: int) -> dict:
    return _print_job(generator, *sizes) | dict(padding=padding, output_padding=output_padding)


@transposed_convolution.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    # (C_in, C_out, H, W, k, stride), padding, output padding
    yield _layer(generator, (2, 3, 3, 4, 3, 2), 1, 1)
    yield _layer(generator, (3, 2, 4, 3, 5, 2), 1, 1)
    yield _layer(generator, (4, 3, 3, 5, 4, 3), 2, 1)
    yield _layer(generator, (3, 4, 5, 3, 3, 3), 1, 2)
    yield _layer(generator, (2, 4, 4, 5, 4, 2), 2, 1)
    yield _layer(generator, (3, 2, 2, 4, 3, 4), 1, 3)
    yield edge(
        "there is no output padding", stated="without output padding", **_layer(generator, (3, 2, 3, 4, 4, 2), 1, 0)
    )
    yield edge(
        "there is no padding", stated="It must hold without padding", **_layer(generator, (2, 3, 4, 3, 3, 2), 0, 1)
    )
    yield edge(
        "there is neither padding nor output padding",
        stated="without both",
        **_layer(generator, (3, 2, 3, 5, 3, 2), 0, 0),
    )
    yield edge(
        "padding is larger than k − 1",
        stated="for a padding larger than $k - 1$",
        **_layer(generator, (2, 3, 4, 5, 2, 3), 3, 1),
    )
    yield edge("the stride is 1", stated="for a stride of 1", **_layer(generator, (3, 2, 4, 5, 3, 1), 1, 0))
    yield edge(
        "the stride is larger than the kernel",
        stated="for one larger than the kernel",
        **_layer(generator, (2, 3, 3, 4, 2, 4), 0, 3),
    )
    yield edge(
        "the input is a single pixel",
        stated="for an input of a single pixel",
        **_layer(generator, (3, 2, 1, 1, 5, 2), 1, 1),
    )


@transposed_convolution.typical
def _(generator: torch.Generator) -> dict:
    return _layer(generator, (16, 8, 14, 14, 4, 2), 1, 0)


def _transposed(x: Tensor, weight: Tensor, stride: int, padding: int, output_padding: int) -> Tensor:
    return _cropped(_stamped(x, weight, stride), padding, padding - output_padding)


def _cropped(full: Tensor, near: int, far: int) -> Tensor:
    """`near` pixels cut from the top and the left, `far` from the bottom and the right; a negative number adds zeros."""
    return F.pad(full, (-near, -far, -near, -far))


@transposed_convolution.mistake(
    "the kernel is not flipped. A pixel's stamp reaches to the right and down; a convolution asks each output pixel what lies "
    "to *its* right. Looking back along the same wire turns the kernel by 180°: `weight.flip(2, 3)`."
)
def kernel_not_flipped(x, weight, stride, padding, output_padding):
    return _transposed(x, weight.flip(2, 3), stride, padding, output_padding)


@transposed_convolution.mistake(
    "you transpose the kernel's rows and columns, where it should be turned by 180°: rows and columns both reversed, "
    "`weight.flip(2, 3)`."
)
def kernel_transposed(x, weight, stride, padding, output_padding):
    return _transposed(x, weight.flip(2, 3).transpose(2, 3), stride, padding, output_padding)


@transposed_convolution.mistake(
    "the kernel is flipped from left to right only. Turn it by 180°: rows, too, are reversed."
)
def mirrored_sideways(x, weight, stride, padding, output_padding):
    return _transposed(x, weight.flip(2), stride, padding, output_padding)


@transposed_convolution.mistake(
    "you reshape the weights to (C_out, C_in, k, k). Reshaping keeps the order of the numbers and so deals kernels to the wrong "
    "pairs of channels. `weight.transpose(0, 1)` exchanges the two dimensions."
)
def channels_reshaped(x, weight, stride, padding, output_padding):
    c_in, c_out, k, _ = weight.shape
    return _transposed(x, weight.reshape(c_out, c_in, k, k).transpose(0, 1), stride, padding, output_padding)


@transposed_convolution.mistake(
    "you hand `padding` to the convolution, as zeros around the spread-out image. In a transposed convolution padding cuts. "
    "The uncut result needs k − 1 zeros on every side; cutting p pixels leaves k − 1 − p."
)
def padding_as_in_a_convolution(x, weight, stride, padding, output_padding):
    k = weight.shape[2]
    return _cropped(_stamped(x, weight, stride), k - 1 - padding, k - 1 - padding - output_padding)


@transposed_convolution.mistake(
    "you hand `padding` to the convolution, as zeros around the spread-out image, and leave output_padding out. In a "
    "transposed convolution padding cuts: of the k − 1 zeros that the uncut result needs on every side, k − 1 − p are left. "
    "At the bottom and the right there are output_padding more."
)
def padding_of_a_convolution_alone(x, weight, stride, padding, output_padding):
    full, cut = _stamped(x, weight, stride), weight.shape[2] - 1 - padding
    return full[:, max(cut, 0) : full.shape[1] - cut, max(cut, 0) : full.shape[2] - cut]


@transposed_convolution.mistake(
    "the stride is used twice: the pixels are spread out by it, and then the kernel jumps by it as well. Spreading out *is* "
    "the stride; the kernel then slides one pixel at a time."
)
def stride_used_twice(x, weight, stride, padding, output_padding):
    return _transposed(x, weight, stride, padding, output_padding)[:, ::stride, ::stride]


@transposed_convolution.mistake(
    "where output_padding is larger than padding, your slice ends with the canvas, and rows and columns are missing. A slice "
    "cannot reach beyond the end: add the zeros there (`F.pad` takes both signs)."
)
def slice_beyond_the_canvas(x, weight, stride, padding, output_padding):
    full, far = _stamped(x, weight, stride), output_padding - padding
    return full[:, padding : full.shape[1] + far, padding : full.shape[2] + far]


@transposed_convolution.mistake(
    "padding makes your result larger. Here padding *cuts*: p pixels from every side of what the stamps have printed."
)
def padding_adds(x, weight, stride, padding, output_padding):
    return _cropped(_stamped(x, weight, stride), -padding, -padding - output_padding)


@transposed_convolution.mistake("padding is ignored: nothing is cut off. Cut `padding` pixels from every side.")
def nothing_cut(x, weight, stride, padding, output_padding):
    return _cropped(_stamped(x, weight, stride), 0, -output_padding)


@transposed_convolution.mistake(
    "that is the whole canvas: neither padding nor output_padding has any effect. Cut `padding` pixels from every side, and "
    "`output_padding` fewer at the bottom and at the right."
)
def untrimmed(x, weight, stride, padding, output_padding):
    return _stamped(x, weight, stride)


@transposed_convolution.mistake(
    "nothing is left where padding is 0: `full[padding:-padding]` ends at −0, which is the beginning. Count the end from the "
    "front: `full[padding : size - padding]`."
)
def sliced_to_minus_zero(x, weight, stride, padding, output_padding):
    full = _cropped(_stamped(x, weight, stride), 0, -output_padding)
    return full[:, padding:-padding, padding:-padding]


@transposed_convolution.mistake(
    "output_padding is added on both sides. It stands at the bottom and at the right alone: its only purpose is to tell apart "
    "sizes that a strided convolution maps to the same size."
)
def output_padding_on_both_sides(x, weight, stride, padding, output_padding):
    near = padding - output_padding
    return _cropped(_stamped(x, weight, stride), near, near)


@transposed_convolution.mistake(
    "output_padding is added at the top and the left. It belongs to the bottom and the right, the ends that a strided "
    "convolution may fail to reach."
)
def output_padding_at_the_near_ends(x, weight, stride, padding, output_padding):
    return _cropped(_stamped(x, weight, stride), padding - output_padding, padding)


@transposed_convolution.mistake("output_padding is ignored. Cut that many pixels less at the bottom and at the right.")
def output_padding_ignored(x, weight, stride, padding, output_padding):
    return _transposed(x, weight, stride, padding, 0)


@transposed_convolution.mistake(
    "you cut first and then add output_padding as rows and columns of zeros. What stood there was cut off by `padding`; "
    "output_padding leaves it standing. Cut `padding - output_padding` at the far ends; zeros come only where that is below 0."
)
def zeros_where_ink_was(x, weight, stride, padding, output_padding):
    return F.pad(_transposed(x, weight, stride, padding, 0), (0, output_padding, 0, output_padding))


transposed_convolution.hints(
    "There are two ways. Stamp the whole image and cut what is too much; or spread the pixels out with zeros and slide the "
    "turned kernel over them. Both use only what you have written in this lesson, once more.",
    "Stamping: cut `padding` at the top and left, `padding - output_padding` at the bottom and right (if that is negative, "
    "zeros are added). Sliding: the spread image gets k − 1 − padding zeros at the top and left, and output_padding more at "
    "the bottom and right.",
    "`F.pad(spread, (near, far, near, far))` takes negative numbers and then cuts; near = k - 1 - padding, far = near + "
    "output_padding. Then `F.conv2d` with `weight.flip(2, 3).transpose(0, 1)`.",
)
