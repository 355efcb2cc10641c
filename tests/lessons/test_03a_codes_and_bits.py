"""Detour 03a: its coder writes what its tables promise and reads it back, and its exercise accepts other right ways."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from course_utils.exercises import check
from course_utils.exercises.catalogue import definition
from course_utils.notebooks import lesson_code


@pytest.fixture
def coder() -> SimpleNamespace:
    whole: dict[str, Any] = {"FULL": 1 << 32, "HALF": 1 << 31, "QUARTER": 1 << 30}
    return lesson_code.load("03a", "shares", "write", "read", **whole)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_written_is_read_back_and_as_long_as_promised(coder: SimpleNamespace, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    counts = [torch.randint(1, 50, (n,), generator=generator).tolist() for n in (2, 7, 1, 30)]
    tables = counts * 40
    symbols = [int(torch.multinomial(torch.tensor(table).float(), 1, generator=generator)) for table in tables]
    bits = coder.write(symbols, tables)
    assert coder.read(bits, tables) == symbols
    promised = -sum(math.log2(table[symbol] / sum(table)) for symbol, table in zip(symbols, tables, strict=True))
    assert promised <= len(bits) + 1e-6
    assert len(bits) < promised + 3


def test_the_rarest_and_the_most_frequent_are_read_back(coder: SimpleNamespace) -> None:
    table = [1, 100_000, 1]
    for symbols in ([0] * 20, [1] * 500, [2] * 20, [0, 1, 2] * 7):
        assert coder.read(coder.write(symbols, [table] * len(symbols)), [table] * len(symbols)) == symbols


def test_a_code_costs_its_entropy_and_a_little_more() -> None:
    entropy_bits, coding_cost = (definition(name).reference for name in ("entropy_bits", "coding_cost"))
    known, new = torch.randn(2, 5000, 3, generator=torch.Generator().manual_seed(0)).mul(4).round().long()
    new = new.clamp(known.amin(0), known.amax(0))
    assert entropy_bits(new).item() < coding_cost(known, new).item() < entropy_bits(new).item() + 0.1


def cost_by_unique(train_symbols: Tensor, symbols: Tensor) -> Tensor:
    bits = torch.zeros(len(symbols), dtype=torch.float64)
    for known, column in zip(train_symbols.unbind(1), symbols.unbind(1), strict=True):
        size = int(known.max() - known.min()) + 1
        counts = torch.tensor([float((known == value).sum()) for value in column]).double() + 1
        bits -= torch.log2(counts / (len(known) + size))
    return bits.mean()


def test_another_right_way_is_right() -> None:
    for seed in range(2):
        outcome = check("coding_cost", cost_by_unique, seed)
        assert outcome.status == "right", outcome.message
