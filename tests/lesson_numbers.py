"""The lessons that have exercises."""

from course_utils.exercises.catalogue import definition, names


def lesson_numbers() -> list[str]:
    """The numbers of the lessons that have exercises, in order: "00", "01", …, detours such as "02a" among them."""
    return sorted({definition(name).lesson for name in names()})
