"""What tests of grading share."""

import pytest

from course_utils.grading.sandbox import tightness
from course_utils.grading.sandbox.box import Box, Limits
from course_utils.grading.sandbox.mounts import NoBox


@pytest.fixture(scope="session")
def box_is_possible():
    """Skips where no box can be made, be it tight or not."""
    try:
        with Box(Limits(), "") as box:
            box.wait(10)
    except NoBox as error:
        pytest.skip(f"no box can be made here: {error}")


@pytest.fixture(scope="session")
def boxes(box_is_possible):
    """Real boxes; skips where the machine gives none that is tight.

    What can be read in a box is the course's own choice on every machine: such a leak is for the tests to find.
    """
    leaks = [tried for tried in tightness.examine() if not tried.holds]
    if leaks and all(leak.name != "files" for leak in leaks):
        pytest.skip(f"a box on this machine is not tight: {'; '.join(leak.text for leak in leaks)}")
