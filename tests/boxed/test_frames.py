"""Frames and the channel between grader and box: what is hostile is refused, and nobody is waited for in vain."""

import json
import math
import os
import pickle
import random
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from course_utils.boxed import frames, wire
from course_utils.boxed.frames import Channel, Closed, Late, Malformed
from course_utils.boxed.observe import observe
from course_utils.exercises.catalogue import definition

# -- hostile frames -----------------------------------------------------------------------------------------------


def file(header: Any, data: bytes = b"") -> bytes:
    """A safetensors file with this header, true or not."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def lying(data: bytes = bytes(8), **entry: Any) -> bytes:
    """A file with one float32 tensor of two entries, except for what `entry` says."""
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | entry
    return file({"__metadata__": {"message": "{}"}, "t": entry}, data)


def saying(text: str) -> bytes:
    """A file whose message is this text."""
    return file({"__metadata__": {"message": text}})


def explode() -> None:
    EXPLODED.append(True)


EXPLODED: list[bool] = []


class Bomb:
    def __reduce__(self) -> Any:
        return explode, ()


HOSTILE = {
    "nothing": (b"", "no safetensors file"),
    "short": (b"1234567", "no safetensors file"),
    "header beyond the frame": (file({})[:8] + b"", "a header of 2 bytes"),
    "header of 2^64 bytes": (b"\xff" * 8 + b"{}", "a header of 18446744073709551615 bytes"),
    "pickle": (pickle.dumps(Bomb()), "a header of"),
    "pickle as data": (file({"__metadata__": {"message": "{}"}}, pickle.dumps(Bomb())), "no safetensors"),
    "pickle as message": (saying(pickle.dumps(Bomb(), 0).decode()), "no JSON"),
    "not UTF-8": (file(b"\xff\xfe{}"), "not UTF-8"),
    "no message": (file({}), "no message"),
    "message of another type": (file({"__metadata__": {"message": {}}}), "no message"),
    "more metadata": (file({"__metadata__": {"message": "{}", "more": ""}}), "no message"),
    "message that is a list": (saying("[]"), "a list, not an object"),
    "message that is a number": (saying("1"), "a int, not an object"),
    "deep list": (saying('{"a":' + "[" * 100_000 + "]" * 100_000 + "}"), "nested too deeply"),
    "rather deep list": (saying('{"a":' + "[" * 30 + "]" * 30 + "}"), "nested more than"),
    "deep object": (saying('{"a":' * 100_000 + "1" + "}" * 100_000), "nested too deeply"),
    "deep header": (file(b'{"a":' * 50_000 + b"1" + b"}" * 50_000), "nested too deeply"),
    "many values": (saying('{"a":[' + "0," * 150_000 + "0]}"), "more than"),
    "NaN": (saying('{"a":NaN}'), "the number NaN"),
    "infinity": (saying('{"a":-Infinity}'), "the number -Infinity"),
    "infinity in disguise": (saying('{"a":1e999}'), "the number inf"),
    "number of a million digits": (saying('{"a":' + "9" * 900_000 + "}"), "no JSON"),
    "number of 4000 digits": (saying('{"a":' + "9" * 4000 + "}"), "a whole number of"),
    "same key twice": (saying('{"a":1,"a":2}'), "same key twice"),
    "half a character": (saying('{"a":"\\ud800"}'), "half a character"),
    "unknown dtype": (lying(dtype="F31"), "does not travel"),
    "dtype that is no text": (lying(dtype=[]), "does not travel"),
    "complex": (lying(dtype="C64", data_offsets=[0, 16], data=bytes(16)), "does not travel"),
    "more data than announced": (lying(bytes(12)), "no safetensors"),
    "less data than announced": (lying(bytes(4)), "no safetensors"),
    "shape larger than its data": (lying(shape=[3]), "no safetensors"),
    "huge shape": (lying(shape=[2**40]), "has shape"),
    "shape that overflows": (lying(shape=[2**32, 2**32]), "has shape"),
    "huge shape beside a zero": (lying(b"", shape=[0, 10**12], data_offsets=[0, 0]), "has shape"),
    "product of many": (lying(shape=[1000, 1000, 1000]), "has shape"),
    "negative shape": (lying(shape=[-2]), "has shape"),
    "fractional shape": (lying(shape=[2.0]), "has shape"),
    "true as shape": (lying(b"1234", shape=[True], data_offsets=[0, 4]), "has shape"),
    "nine dimensions": (lying(shape=[1] * 8 + [2]), "has shape"),
    "negative offsets": (lying(data_offsets=[-8, 0]), "no safetensors"),
    "huge offsets": (lying(data_offsets=[0, 2**63]), "no safetensors"),
    "missing offsets": (
        file({"__metadata__": {"message": "{}"}, "t": {"dtype": "F32", "shape": []}}),
        "strange header",
    ),
    "header entry that is no object": (file({"__metadata__": {"message": "{}"}, "t": 5}), "strange header"),
    "too many tensors": (
        file(
            {"__metadata__": {"message": "{}"}}
            | {str(i): {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]} for i in range(300)},
            bytes(300),
        ),
        "300 tensors",
    ),
    "tensors that overlap": (
        file(
            {"__metadata__": {"message": "{}"}}
            | {name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for name in "ab"},
            bytes(8),
        ),
        "no safetensors",
    ),
    "longer than a frame": (bytes(frames.LIMIT + 1), "a frame of 1000001 bytes"),
}


@pytest.mark.parametrize(("data", "reason"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_frames_are_refused(data: bytes, reason: str):
    start = time.perf_counter()
    with pytest.raises(Malformed, match=reason):
        frames.unpack(data)
    assert time.perf_counter() - start < 2
    assert not EXPLODED


def test_random_damage_is_refused_or_harmless():
    """A thousand frames with bytes changed, cut or doubled: unpacked, or Malformed, and nothing else."""
    draw = random.Random(5)
    trial = definition("lstm_update").trials(3)[0]
    whole = frames.pack(*wire.observation_to_wire(observe(definition("lstm_update").reference, trial)))
    refused = 0
    for _ in range(1000):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(data))
            data[at : at + draw.randint(0, 3)] = draw.randbytes(draw.randint(0, 3))
        try:
            wire.observation_from_wire(*frames.unpack(bytes(data)), trial)
        except Malformed:
            refused += 1
    assert 500 < refused <= 1000


def test_every_truncation_is_refused():
    whole = frames.pack({"a": 1}, {"t": torch.ones(3)})
    assert frames.unpack(whole)[0] == {"a": 1}
    for length in range(len(whole)):
        with pytest.raises(Malformed):
            frames.unpack(whole[:length])


def test_memory_for_a_hostile_frame_is_bounded():
    import tracemalloc

    data = saying('{"a":[' + "[]," * 300_000 + "0]}")
    tracemalloc.start()
    try:
        with pytest.raises(Malformed, match="more than"):
            frames.unpack(data)
        assert tracemalloc.get_traced_memory()[1] < 64 * frames.LIMIT
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("message", "tensors"),
    [({"a": math.nan}, {}), ({"a": object()}, {}), ({}, {"t": torch.tensor(1j)}), ({}, {"t": torch.zeros(1_000_000)})],
)
def test_what_would_be_refused_is_not_sent(message: dict, tensors: dict):
    with pytest.raises(Malformed):
        frames.pack(message, tensors)


# -- the channel --------------------------------------------------------------------------------------------------


class Pair:
    """A channel, and the raw ends of its pipes: what a hostile box would hold."""

    def __init__(self) -> None:
        reader, self.out = os.pipe()
        self.into, writer = os.pipe()
        self.channel = Channel(reader, writer)

    def write(self, data: bytes) -> None:
        os.write(self.out, data)

    def close(self) -> None:
        self.channel.close()
        for end in (self.out, self.into):
            try:
                os.close(end)
            except OSError:
                continue


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.close()


def soon(seconds: float = 0.3) -> float:
    return time.monotonic() + seconds


def test_frames_pass_in_order(pair: Pair):
    other = Channel(pair.into, pair.out)
    for number in range(3):
        other.send({"n": number}, {"t": torch.full((2,), float(number))})
    for number in range(3):
        message, tensors = pair.channel.receive(soon())
        assert message == {"n": number}
        assert tensors["t"].tolist() == [number, number]


def test_a_frame_larger_than_the_pipe_passes(pair: Pair):
    other = Channel(pair.into, pair.out)
    big = torch.randn(100_000)
    writer = threading.Thread(target=other.send, args=({}, {"t": big}))
    writer.start()
    assert torch.equal(pair.channel.receive(soon(10))[1]["t"], big)
    writer.join()


def test_a_length_of_4_gb_is_refused_before_anything_is_read(pair: Pair):
    pair.write(b"\xff\xff\xff\xff")
    with pytest.raises(Malformed, match="4294967295 bytes is announced; at most 1000000"):
        pair.channel.receive(soon())


def test_the_limit_of_a_channel_holds_both_ways(pair: Pair):
    pair.channel.limit = 1000
    pair.write(struct.pack(">I", 1001))
    with pytest.raises(Malformed, match="1001 bytes is announced"):
        pair.channel.receive(soon())
    with pytest.raises(Malformed, match="at most 1000 are allowed"):
        pair.channel.send({"text": "x" * 2000})


def test_silence_ends_at_the_deadline(pair: Pair):
    start = time.monotonic()
    with pytest.raises(Late):
        pair.channel.receive(soon(0.2))
    assert 0.2 <= time.monotonic() - start < 2


def test_dribbled_bytes_do_not_move_the_deadline(pair: Pair):
    over = threading.Event()

    def dribble() -> None:
        pair.write(struct.pack(">I", 300))
        while not over.wait(0.01):
            pair.write(b"x")

    writer = threading.Thread(target=dribble)
    writer.start()
    start = time.monotonic()
    try:
        with pytest.raises(Late):
            pair.channel.receive(soon(0.3))
        assert time.monotonic() - start < 2
    finally:
        over.set()
        writer.join()


def test_a_box_that_does_not_read_does_not_hold_the_grader(pair: Pair):
    start = time.monotonic()
    with pytest.raises(Late):
        pair.channel.send({}, {"t": torch.zeros(100_000)}, soon(0.2))
    assert 0.2 <= time.monotonic() - start < 2


@pytest.mark.parametrize("sent", [b"", b"\x00\x00", struct.pack(">I", 100) + b"half"])
def test_the_end_of_the_box_is_told(pair: Pair, sent: bytes):
    pair.write(sent)
    os.close(pair.out)
    with pytest.raises(Closed, match="is gone"):
        pair.channel.receive(soon())


def test_sending_to_a_box_that_is_gone_is_told(pair: Pair):
    os.close(pair.into)
    with pytest.raises(Closed, match="does not read any more"):
        pair.channel.send({"a": 1}, deadline=soon())


def test_a_closed_channel_is_closed(pair: Pair):
    pair.channel.close()
    pair.channel.close()
    with pytest.raises(OSError):
        os.fstat(pair.channel.reader)
