"""The browser that tests use, if this machine has one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATH = os.environ.get("COURSE_CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), "")
needed = pytest.mark.skipif(not PATH, reason=f"no browser: none of {', '.join(NAMES)} is installed")


@contextmanager
def browsing(sync_api: Any) -> Iterator[Any]:
    """A browser without a window, as long as the block runs; `sync_api` is playwright's."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PATH, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()
