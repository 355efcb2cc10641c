"""What Python's and torch's own words leave out, by a part of an exception's message: where to look, and what to do."""

from __future__ import annotations

import builtins
import difflib
import math
import re
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F

# Messages about shapes; the shapes of the arguments are shown beside these.
ABOUT_SHAPES = {
    "shapes cannot be multiplied": (
        "In a matrix product `a @ b` the last size of a must be the first one of b. Is a transpose (`.T`) missing, or one "
        "too many, or are the two the other way round?"
    ),
    "Expected size for first two dimensions of batch2": (
        "In a product `a @ b` of batches of matrices the last size of a must be the last but one of b: `.mT` transposes each "
        "matrix."
    ),
    "size mismatch, got input": "In `matrix @ vector` the last size of the matrix must be the length of the vector.",
    "inconsistent tensor size": "A dot product wants two vectors of one length.",
    "must match the size of tensor b": (
        "Shapes are laid against each other from the right; two sizes must be equal there, or one of them 1. `keepdim=True`, "
        "`.unsqueeze(...)` or `[:, None]` puts in a 1, `.T` exchanges two dimensions."
    ),
    "must match the existing size": (
        "What is put in a place must have the shape of that place, or sizes of 1 that can be repeated."
    ),
    "cannot be broadcast to indexing result": (
        "What is put in a place must have the shape of that place, or sizes of 1 that can be repeated."
    ),
    "is invalid for input of size": (
        "`reshape` and `view` keep all entries: the new sizes must multiply to as many. One of them may be −1."
    ),
    "don't multiply up to the size": "`unflatten` splits one dimension: the new sizes must multiply to its size.",
    "Dimension out of range": "There is no such dimension: they count from 0, and −1 is the last one.",
    "is out of bounds for dimension": "Indices count from 0: the last one is the size minus 1.",
    "stack expects each tensor to be equal size": (
        "`torch.stack` puts tensors of one shape beside each other; `torch.cat` joins them along a dimension that is there "
        "already. Is a slice shorter at an end?"
    ),
    "Sizes of tensors must match except in dimension": "`torch.cat` wants tensors that differ in the joined dimension only.",
    "zero-dimensional tensor": "`torch.cat` joins along a dimension, and numbers have none: `torch.stack` makes one.",
    "must be the same as input size": "Both arguments of a loss must have the same shape.",
    "to match target batch_size": "Logits and targets must have as many rows: flatten both alike.",
    "selected index k out of range": "There are fewer entries than k to choose from: take `min(k, x.shape[-1])`.",
}
ADVICE = ABOUT_SHAPES | {
    "Boolean value of Tensor with more than one value is ambiguous": (
        "A tensor has many truths, `if` wants one: multiply by a mask (`x > 0`), or use `torch.where`."
    ),
    "does not require grad and does not have a grad_fn": (
        "No graph leads here. Was it computed under `torch.no_grad()`, or cut off by `.detach()` or `.item()`? If it "
        "only depends on arguments, which carry no graph: compute the gradient yourself, or build a graph from copies."
    ),
    "One of the differentiated Tensors does not require grad": (
        "Gradients are taken only with respect to tensors that want one: `x.requires_grad_()` before x is used."
    ),
    "appears to not have been used in the graph": (
        "What is differentiated was not computed from this tensor, but from another one: a copy, or what it was before."
    ),
    "grad can be implicitly created only for scalar outputs": (
        "Only a number has a gradient: `.sum()` of what is differentiated adds up the gradients of its entries."
    ),
    "backward through the graph a second time": (
        "A graph can be walked once. Keep it with `retain_graph=True` (or `create_graph=True`, to differentiate the gradient "
        "itself), or cut off what belongs to an earlier step by `.detach()`."
    ),
    "a leaf Variable that requires grad is being used in an in-place": (
        "Parameters are changed under `torch.no_grad()` only; anything else is made anew: `x = x + 1`, not `x += 1`."
    ),
    "has been modified by an inplace operation": (
        "The way back needs a value that has been overwritten since: make a new tensor (`x = x + 1`, no `…_()`)."
    ),
    "on Tensor that requires grad": (
        "numpy knows no gradients. Stay in torch: its functions have the same names, and keep the graph."
    ),
    "to have the same dtype, but got": (
        "Two precisions meet. New tensors get the dtype of x by `x.new_zeros(...)`, `torch.zeros_like(x)` or `dtype=x.dtype`."
    ),
    "expected scalar type": (
        "Two precisions meet. New tensors get the dtype of x by `x.new_zeros(...)`, `torch.zeros_like(x)` or `dtype=x.dtype`."
    ),
    "can't be cast to the desired output type": (
        "An operation in place keeps the dtype: make a new tensor (`x = x + 1`), or make the first one of floats."
    ),
    "could not infer output dtype": "Truths and whole numbers have no mean: `.double()` or `.float()` turns them into numbers.",
    "on a bool tensor is not supported": "`~` negates truths; to calculate with them, make them numbers by `.to(x.dtype)`.",
    "with a bool tensor is not supported": "`~` negates truths; to calculate with them, make them numbers by `.to(x.dtype)`.",
    "only supports boolean masks": "A mask is made of truths: a comparison, or `.bool()`.",
    "tensors used as indices must be": "Indices are whole numbers (`.long()`) or truths.",
    "torch.return_types.": (
        "`max`, `min`, `sort` and `topk` along a dimension return two tensors, `.values` and `.indices`: take the one you "
        "mean, or use `amax` and `amin`."
    ),
    "must be Tensor, not float": "torch's functions take tensors; for plain numbers there is `math`.",
    "must be Tensor, not int": "torch's functions take tensors; for plain numbers there is `math`.",
    "cannot be converted to Scalar": "Only a tensor with one entry can become a number: reduce it first (`.sum()`, `.mean()`).",
    "only one element tensors can be converted": (
        "Only a tensor with one entry can become a number; `torch.stack` makes one tensor of several."
    ),
    "iteration over a 0-d tensor": "This tensor is a single number. Has a sum or a mean been taken over all dimensions?",
    "len() of a 0-d tensor": "This tensor is a single number. Has a sum or a mean been taken over all dimensions?",
    "view size is not compatible": "After a transpose the entries lie elsewhere in memory: use `.reshape(...)` or `.flatten(...)`.",
    "probability tensor contains either": (
        "Some probabilities are NaN or negative: on the way a number overflows, or 0 is divided by 0. `torch.softmax` takes "
        "care of large logits."
    ),
    "Expected target size": (
        "`cross_entropy` wants the classes in dimension 1: flatten batch and time into one dimension first."
    ),
    "'NoneType' object has no attribute": (
        "Something is None here that was taken for a tensor: what a function without `return` gives, or the part of a layer "
        "that has none, as `bias` in one with `bias=False`."
    ),
}


def advised_part(message: str) -> str:
    """The part of an exception's message for which there is advice."""
    return next((part for part in ADVICE if part in message), "")


NAME = re.compile(r"^name '(\w+)' is not defined")
ATTRIBUTE = re.compile(r"^(?:module '([\w.]+)'|'(Tensor)' object) has no attribute '(\w+)'")
OWNERS = {"Tensor": torch.Tensor, "torch": torch, "torch.nn.functional": F, "torch.nn": torch.nn, "math": math}


def name_meant(message: str, arguments: Sequence[str]) -> str:
    """The name that may be meant, where an exception's message speaks of one that there is not: one of the function's
    `arguments`, of Python's own, or of torch's; or nothing."""
    known: Iterable[str] = ()
    if name := NAME.match(message):
        known = (*arguments, "torch", "math", *dir(builtins))
    elif (name := ATTRIBUTE.match(message)) and (owner := OWNERS.get(name[1] or name[2])):
        known = (word for word in dir(owner) if not word.startswith("_"))
    return next(iter(difflib.get_close_matches(name[name.lastindex or 1], known, 1, 0.75)), "") if name else ""
