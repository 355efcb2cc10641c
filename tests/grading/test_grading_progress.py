"""How far a run is, as a table shows it."""

import io

from rich.console import Console
from samples import mark, result

from course_utils.grading.progress import Progress, table


def test_the_table_shows_counts_and_takes_file_names_for_what_they_are():
    progress = Progress(10, kept=2)
    progress.counts.update(graded=3, infra_error=1)
    progress.last.append("[red]evil[/red].ipynb: graded, 1 of 2")
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table(progress))
    text = console.export_text()
    assert "6 of 10" in text and "[red]evil[/red].ipynb" in text and "infra_error" in text


def test_a_result_is_counted_with_its_points_and_one_that_failed_is_no_zero():
    progress = Progress(3, kept=1)
    progress.add(result("Ada", marks=[mark(points=1.5)]))
    progress.add(result("Ben", "k2", "infra_error", [mark(status="infra_error", points=0)]))
    assert (progress.done, progress.points, progress.max_points) == (3, 1.5, 4)
    assert list(progress.last) == ["k1.ipynb: graded, 1.5 of 2", "k2.ipynb: infra_error, no grade yet"]
