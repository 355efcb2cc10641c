"""What is trained once and then read: states of networks and numbers, in the cache, in files named by what they depend on.

A file's name ends in a sum of its content, so that a damaged one is known and passed over.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from course_utils.conventions import cache_dir
from course_utils.files import trouble, write_bytes


def once(name: str, stem: str, depends: Any, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `make` returns, tensors and plain values, made once and read from the cache's folder `name` ever after.

    `depends`, of texts, numbers, lists and dicts of them, is all that the result follows from: with another it is made anew.
    Where the cache cannot be written, it is made and not kept, and a line says so.
    """
    place, full = folder(name, stem), f"{stem.replace(' ', '-')}-{key(depends)}"
    found: dict[str, Any] = {}
    if place and read(place, full, stem, found.update):
        return found
    made = make()
    if place:
        write(made, place, full, stem)
    return made


def key(*parts: Any) -> str:
    """A hash of everything that a training depends on: texts, numbers, lists and dicts of them."""
    return _sum(json.dumps(parts).encode())


def folder(name: str, title: str) -> Path | None:
    """A folder of the cache; None, and a line that says so, where nothing can be written."""
    try:
        place = cache_dir() / name
        place.mkdir(exist_ok=True)
        return place
    except OSError as error:
        print(f"{title}: it will not be kept ({error}).")
        return None


def read(place: Path, stem: str, title: str, use: Callable[[dict[str, Any]], None]) -> bool:
    """Hand what is kept under `stem` to `use`; False if there is no file that is whole and of use, each named in a line."""
    for path in place.glob(f"{stem}-*.pt"):
        try:
            content = path.read_bytes()
            if not path.stem.endswith(_sum(content)):
                raise ValueError("its content does not match its name")
            use(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
        except Exception as error:
            print(f"{title}: {path.name} is damaged and passed over ({type(error).__name__}: {error}).")
            continue
        return True
    return False


def write(state: dict[str, Any], place: Path, stem: str, title: str) -> None:
    """Keep a state under `stem`, whole or not at all, in the place of damaged ones; a line says where that cannot be."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path = place / f"{stem}-{_sum(buffer.getvalue())}.pt"
    try:
        write_bytes(buffer.getvalue(), path)
        for other in set(place.glob(f"{stem}-*.pt")) - {path}:
            other.unlink(missing_ok=True)
    except OSError as error:
        print(f"{title}: it is not kept, since {trouble(error, path, len(buffer.getvalue()))}.")


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
