"""`python -m course_utils` is the command `course`, for where that is not on the path (under torchrun, say)."""

from course_utils.command.cli import app

app()
