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
def boxes():
    """Real boxes; skips where grading would refuse to start."""
    try:
        tightness.require()
    except NoBox as error:
        pytest.skip(str(error))
