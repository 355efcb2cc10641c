"""What tests of grading share."""

import pytest

from course_utils.grading import probe
from course_utils.grading.layout import NoBox


@pytest.fixture(scope="session")
def boxes():
    """Real boxes; skips where grading would refuse to start."""
    try:
        probe.require()
    except NoBox as error:
        pytest.skip(str(error))
