"""Links between the repository's files become links between pages."""

import pytest

from course_utils.site.links import Links

PAGES = {
    "docs/grading.md": "docs/grading.md",
    "README.md": "index.md",
    "notebooks/02_gates.ipynb": "notebooks/02_gates.ipynb",
}


@pytest.mark.parametrize(
    ("text", "origin", "page", "expected"),
    [
        ("[a](docs/grading.md)", "README.md", "teaching.md", "[a](docs/grading.md)"),
        ("[a](docs/grading.md#points)", "README.md", "docs/x.md", "[a](grading.md#points)"),
        ("[a](../README.md)", "docs/grading.md", "docs/grading.md", "[a](../index.md)"),
        ("[a](02_gates.ipynb)", "notebooks/03_x.ipynb", "notebooks/03_x.ipynb", "[a](02_gates.ipynb)"),
        ("[a](#here)", "README.md", "index.md", "[a](#here)"),
        ("[a](https://example.org/x.md)", "README.md", "index.md", "[a](https://example.org/x.md)"),
        ("see [the `code`](course_utils/files.py), or", "README.md", "index.md", "see the `code`, or"),
        ("![alt](docs/x.png)", "README.md", "index.md", "![alt](docs/x.png)"),
        ("[![Open](https://h/b.svg)](https://colab.x/github/OWNER/NAME)!", "README.md", "index.md", "!"),
    ],
)
def test_a_link_leads_to_the_page_of_its_file_or_nowhere(text: str, origin: str, page: str, expected: str) -> None:
    assert Links(PAGES, None).rewrite(text, origin, page) == expected


def test_a_file_without_a_page_is_shown_by_the_published_repository() -> None:
    links = Links(PAGES, "https://github.com/jane/course/blob/main")
    assert links.rewrite("[a](../LICENSE#x)", "docs/grading.md", "docs/grading.md") == (
        "[a](https://github.com/jane/course/blob/main/LICENSE#x)"
    )
