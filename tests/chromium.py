"""The browser that tests use, if this machine has one."""

import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATH = os.environ.get("COURSE_CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), "")
needed = pytest.mark.skipif(not PATH, reason=f"no browser: none of {', '.join(NAMES)} is installed")
