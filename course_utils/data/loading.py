"""Sets that are downloads: read once, kept in memory, and replaced by a stand-in where they cannot be had."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from course_utils import runtime
from course_utils.data import download

kept: dict[str, Any] = {}  # the sets that have been loaded in this process, by `key`


def find(dataset: download.Dataset, read: Callable[[Path], Any], stand_in: Callable[[], Any], fallback: str) -> Any:
    """A set that is a download: read it, or say once that it is out of reach and make its stand-in."""
    name = dataset.name
    place = key(name)
    if place not in kept:
        try:
            kept[place] = read(download.find_or_fetch(dataset))
        except download.UnavailableError as error:
            download.say_once(
                f"{name} is not on this machine and could not be downloaded ({error}): using {fallback}, in its place. "
                "Set COURSE_DATA or connect to the internet, and restart."
            )
            kept[place] = stand_in()
    return kept[place]


def key(name: str) -> str:
    """Under which a set is kept in memory: other places to look for it may hold other data."""
    places = "COURSE_DATA", "COURSE_CACHE", "COURSE_OFFLINE"
    return f"{name} " + "|".join(os.environ.get(place, "") for place in places)


def note(name: str, loaded: Any) -> Any:
    """Enter a loaded set among the sources in use, and hand it on."""
    runtime.note_source(name, loaded.source, loaded.real)
    return loaded
