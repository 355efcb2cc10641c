"""The error that people read."""


class CourseError(Exception):
    """Something that the user can put right; the message says what is wrong and what to do."""
