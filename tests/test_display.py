"""What the course prints can be printed, whatever the output's encoding."""

import os
import subprocess
import sys

import pytest

SYMBOLS = "✔ right ✘ wrong ◐ nearly ≤ 1 … „Übung“ ﬁn 中 \N{GRINNING FACE} \udc80 →"


def printed(encoding: str, text: str, stream: str = "stdout") -> bytes:
    """What a process whose streams have that encoding prints, after `make_printable`."""
    code = f"import sys; from course_utils import display; display.make_printable(); print({text!r}, file=sys.{stream})"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONIOENCODING": encoding}, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    return getattr(done, stream).strip()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "v right x wrong ~ nearly <= 1 … „Übung“ fin ? ? ? ->"),
        ("ascii", 'v right x wrong ~ nearly <= 1 ... "Ubung" fin ? ? ? ->'),
        ("utf-8", SYMBOLS.replace("\udc80", "?")),
    ],
)
def test_what_an_encoding_lacks_becomes_something_like_it(encoding: str, text: str, stream: str) -> None:
    assert printed(encoding, SYMBOLS, stream).decode(encoding) == text


def test_a_way_with_strange_characters_that_the_user_chose_is_kept() -> None:
    assert printed("ascii:backslashreplace", "✔") == b"\\u2714"


def test_streams_that_are_not_files_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from course_utils import display

    for stream in (None, object()):
        monkeypatch.setattr(sys, "stdout", stream)
        display.make_printable()
