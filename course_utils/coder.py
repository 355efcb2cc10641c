"""Arithmetic coding: symbols to bits and back, each symbol with a table of counts that writer and reader share.

Lesson 03a builds this coder. Here reading goes symbol by symbol, so that a table may depend on what was read before.
Source: Witten, Neal and Cleary, "Arithmetic coding for data compression", Communications of the ACM, 1987.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

FULL, HALF, QUARTER = 1 << 32, 1 << 31, 1 << 30


class Interval:
    """The part [low, high] of all 32-bit numbers that is left; each symbol takes its share of it."""

    def __init__(self) -> None:
        self.low, self.high = 0, FULL - 1

    def narrow(self, counts: Sequence[int], symbol: int) -> None:
        """Keep the share of one symbol. Raises ValueError for a symbol that the table does not allow."""
        whole, size = sum(counts), self.high - self.low + 1
        if not 0 <= symbol < len(counts) or counts[symbol] < 1 or whole > QUARTER:
            raise ValueError(
                f"symbol {symbol} has no share: give each of the symbols a count of at least 1, 2^30 in all"
            )
        below = sum(counts[:symbol])
        start = self.low
        self.low, self.high = start + size * below // whole, start + size * (below + counts[symbol]) // whole - 1

    def stretch(self) -> Iterable[int]:
        """Double the interval while its first bit is settled (yields that bit) or lies around the middle (yields 2)."""
        while True:
            if self.high < HALF or self.low >= HALF:
                bit = int(self.low >= HALF)
                off = HALF * bit
            elif self.low >= QUARTER and self.high < 3 * QUARTER:
                bit, off = 2, QUARTER
            else:
                return
            self.low, self.high = 2 * (self.low - off), 2 * (self.high - off) + 1
            yield bit


def write(symbols: Iterable[int], tables: Iterable[Sequence[int]]) -> list[int]:
    """The bits that name the symbols; `tables` has, for each symbol, a whole-number count of at least 1 for every one."""
    interval, waiting, bits = Interval(), 0, []
    for symbol, counts in zip(symbols, tables, strict=True):
        interval.narrow(counts, symbol)
        for bit in interval.stretch():
            if bit == 2:
                waiting += 1
            else:
                bits += [bit] + [1 - bit] * waiting
                waiting = 0
    last = int(interval.low >= QUARTER)
    return [*bits, last, *[1 - last] * (waiting + 1)]


class Reader:
    """Reads what `write` wrote, one symbol for each table; bits beyond the end count as 0."""

    def __init__(self, bits: Iterable[int]) -> None:
        self._stream = itertools.chain(bits, itertools.repeat(0))
        self._interval = Interval()
        self._value = int("".join(str(next(self._stream)) for _ in range(32)), 2)

    def symbol(self, counts: Sequence[int]) -> int:
        """The next symbol, given the table with which it was written."""
        interval = self._interval
        place = ((self._value - interval.low + 1) * sum(counts) - 1) // (interval.high - interval.low + 1)
        symbol = next(n for n, until in enumerate(itertools.accumulate(counts)) if place < until)
        interval.narrow(counts, symbol)
        for bit in interval.stretch():
            self._value = 2 * (self._value - (QUARTER if bit == 2 else HALF * bit)) + next(self._stream)
        return symbol
