"""Arithmetic coding: what is written is read back, as long as promised, and as lesson 03a's coder writes it."""

import math
from typing import Any

import pytest
import torch

from course_utils import coder
from course_utils.notebooks import lesson_code


def message(seed: int) -> tuple[list[int], list[list[int]]]:
    """Symbols, and the tables of counts, of different sizes, from which they were drawn."""
    generator = torch.Generator().manual_seed(seed)
    tables = [torch.randint(1, 50, (n,), generator=generator).tolist() for n in (2, 7, 1, 30)] * 40
    return [int(torch.multinomial(torch.tensor(table).float(), 1, generator=generator)) for table in tables], tables


@pytest.mark.parametrize("seed", range(5))
def test_what_is_written_is_read_back_symbol_by_symbol_and_as_long_as_promised(seed: int) -> None:
    symbols, tables = message(seed)
    bits, promised = coder.write(symbols, tables), 0.0
    reader = coder.Reader(bits)
    for symbol, table in zip(symbols, tables, strict=True):
        assert reader.symbol(table) == symbol
        promised -= math.log2(table[symbol] / sum(table))
    assert promised <= len(bits) + 1e-6 and len(bits) < promised + 3


@pytest.mark.parametrize("seed", range(3))
def test_the_bits_are_those_of_lesson_03as_coder(seed: int) -> None:
    whole: dict[str, Any] = {"FULL": coder.FULL, "HALF": coder.HALF, "QUARTER": coder.QUARTER}
    lesson = lesson_code.load("03a", "shares", "write", "read", **whole)
    symbols, tables = message(seed)
    assert coder.write(symbols, tables) == lesson.write(symbols, tables)


def test_the_rarest_and_the_most_frequent_are_read_back() -> None:
    table = [1, 2**20, 1]
    for symbols in ([0] * 20, [1] * 500, [2] * 20, [0, 1, 2] * 7):
        reader = coder.Reader(coder.write(symbols, [table] * len(symbols)))
        assert [reader.symbol(table) for _ in symbols] == symbols


@pytest.mark.parametrize(("symbol", "table"), [(1, [3, 0, 2]), (3, [1, 1, 1]), (-1, [1, 1]), (0, [2**30, 1])])
def test_a_symbol_without_a_share_is_refused(symbol: int, table: list[int]) -> None:
    with pytest.raises(ValueError, match="has no share"):
        coder.write([symbol], [table])


def test_symbols_and_tables_are_as_many() -> None:
    with pytest.raises(ValueError):
        coder.write([0, 1], [[1, 1]])
