"""Pages: what they say and where, and nothing that a student can inject."""

import re
from html.parser import HTMLParser

import msgspec
import pytest
from samples import HOSTILE, hostile_result, mark, result

from course_utils import templates
from course_utils.grading import pages, reports
from course_utils.grading.cohort import feedback_name, students
from course_utils.grading.result import STATES
from course_utils.grading.text import LINE_LIMIT, LINES, plain

VOID = {"meta", "br"}
ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "section", "span", "code", "br", "ul"),
    *("li", "a", "div", "table", "tr", "th", "td", "svg", "rect", "figure", "figcaption", "i"),
}


class Walk(HTMLParser):
    """Checks that tags are known, nested and closed; keeps attributes and text."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.open, self.attributes, self.text = [], [], []
        self.feed(page)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        assert tag in ALLOWED, tag
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), (tag, names)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag == "rect", "only SVG closes tags at once"
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


def check_page(page):
    walked = Walk(page)
    for tag, name, value in walked.attributes:
        assert not name.startswith("on") and name not in ("src", "srcset", "style", "action"), (tag, name)
        if name == "href":
            assert re.fullmatch(r"feedback/[a-z0-9-]+\.html", value), value
    assert page.startswith("<!doctype html>") and page.count("<style>") == 1
    assert "default-src 'none'" in page.split("<title>")[0]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page)
    return " ".join(walked.text)


def all_pages(text):
    """Both pages, with this text wherever a template puts one in."""
    hostile = hostile_result(text)
    others = [msgspec.structs.replace(hostile, key=status, status=status) for status in STATES]
    places = {mark.name: pages.Place(text, text, text) for mark in hostile.marks}
    for each in (hostile, *others):
        yield pages.student_page(each, places, text)
    names = {each.key: feedback_name(each) for each in (hostile, *others)}
    for results in ([hostile, *others], others[:1]):
        yield pages.cohort_page(results, students(results), names, text, absent=[text], ignored=[text])


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_markup_on_a_page(text):
    for page in all_pages(text):
        check_page(page)


def test_no_field_of_a_result_reaches_a_page_as_it_is():
    """In every text at once: a script, the ends of attributes in both kinds of quotes, and what turns a line round."""
    for page in all_pages("\"'><script>alert(1)</script>\" onload='x' onload=\"x\u202e"):
        walked = Walk(page)
        assert "<script" not in page and "\u202e" not in page
        assert not [name for _, name, _ in walked.attributes if name.startswith("on")]
        assert "alert(1)" in "".join(walked.text), "it can be read all the same"


def test_templates_have_no_way_round_escaping():
    sources = [path.read_text(encoding="utf-8") for path in pages.TEMPLATES.glob("*.html")]
    assert len(sources) == 3
    for source in sources:
        assert not re.search(r"\|\s*safe\b|\bautoescape\b", source)
        assert not re.search(r'="[^"]*\|\s*message\b', source), "markup of its own is no attribute's value"


def test_a_text_without_end_is_cut():
    for page in all_pages("x" * 100_000):
        assert "x" * (LINE_LIMIT - 1) in page and "x" * LINE_LIMIT not in page


def test_what_is_escaped_is_still_readable():
    text = check_page(pages.student_page(hostile_result('a < b & `c` "d"'), {}, "Lesson"))
    assert "a < b & " in text and "c" in text and '"d"' in text


def test_the_feedback_page_says_what_and_where():
    page = pages.student_page(
        result(late=True, deadline="2026-05-31T21:59:00+00:00"),
        pages.places({"02"}),
        "Lesson 02",
    )
    text = check_page(page)
    assert "2 of 3 points" in text and "handed in late (deadline 2026-05-31 21:59:00 UTC)" in text
    assert "2 · Gates that a network can work" in text and "hint(lstm_update)" in text
    assert "hint(lstm_gates)" not in text, "what is right need not be read again"
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page


def test_an_unreadable_file_is_said_once_with_what_to_do():
    unreadable = result(status="unreadable", reason="no notebook", marks=[mark(status="missing", points=0)] * 3)
    text = check_page(pages.student_page(unreadable, {}, "Lesson 02"))
    assert text.count("no notebook") == 1 and "download it as a notebook" in text and "hint(" not in text


def test_every_exercise_has_a_place_in_its_lesson():
    from lesson_numbers import lesson_numbers

    from course_utils.exercises.catalogue import names

    place_of = pages.places(lesson_numbers())
    assert set(place_of) == set(names())
    assert all(place.section and place.lesson for place in place_of.values())


def test_messages_keep_their_lines_and_code():
    assert pages.message("use `x.T`\n    line 1: a < b") == (
        'use <code>x.T</code><span class="in">line 1: a &lt; b</span>'
    )
    assert plain("\n".join("abcdefghijklmnop")).count("\n") == LINES - 1


def test_the_cohort_page_counts_right():
    wrong = mark("lstm_gates", "diagnosed", 0, 2, message="the order is i, f, g, o", mistake="candidate_first")
    results = [
        result("Ada_1", "k1"),
        result("Ben_2", "k2", marks=[wrong, mark("lstm_update", points=1, most=1)]),
        result("Cy_3", "k3", marks=[wrong, mark("lstm_update", "infra_error", 0, 1)], status="infra_error"),
    ]
    names = {entry.key: feedback_name(entry) for entry in results}
    page = pages.cohort_page(results, students(results), names, "Lesson 02")
    text = re.sub(r"\s+", " ", check_page(page))
    assert "3 submissions of 3 students, median 1.5 points" in text
    assert "2 graded, 1 infra error; 0 late" in text
    assert re.search(r"lstm_gates 33% 1 of 3", text) and re.search(r"lstm_update 50% 1 of 2", text)
    assert re.search(r"2 lstm_gates the order is i, f, g, o", text) and "<title>2 submissions</title>" in page
    assert "1 without a grade until" in text and "2 submissions: from 3.2 to 3.2 seconds" in text


def test_a_nearly_right_answer_has_its_own_sign_and_share_and_is_counted_as_a_mistake():
    message = "nearly right, except where the value is 0: you skip it."
    nearly = mark("open_forget_gate", "nearly right", 0.5, 1, message=message, mistake="generic:edge:the value is 0")
    half = result(marks=[nearly])
    student = check_page(pages.student_page(half, {}, "Lesson 02"))
    assert "◐ nearly right: all but edge cases · 0.5 of 1 points" in re.sub(r"\s+", " ", student)
    assert "Read again" in student
    page = pages.cohort_page([half], students([half]), {half.key: feedback_name(half)}, "Lesson 02")
    text = re.sub(r"\s+", " ", check_page(page))
    assert "median 0.5 points" in text and f"1 open_forget_gate {message}" in text
    assert 'class="state nearly"' in page and 'class="nearly" x="0.000"' in page


def test_who_waits_for_a_person_is_shown_with_what_to_look_at_even_if_a_process_ended(tmp_path):
    marks = [mark(status="needs_review", points=0, message="right, but it uses `nn.LSTM`."), mark("other", "error", 0)]
    waits = result(status="needs_review", marks=marks, reason="other: its process was killed")
    fails = result("Ben_2", "k2", "infra_error", marks, reason="no box could be started")
    reports.write([waits, fails], tmp_path)
    table = (tmp_path / "index.html").read_text(encoding="utf-8").split("Waiting for a person")[1].split("</table>")[0]
    assert "lstm_gates: right, but it uses <code>nn.LSTM</code>." in table and "was killed" not in table
    assert "no box could be started" in table


def test_the_segments_of_a_bar_fill_it():
    results = [
        result(f"student_{n}", f"k{n}", marks=[mark("x", status, 0)])
        for n, status in enumerate(("right", "nearly right", "diagnosed", "wrong"))
    ]
    page = pages.cohort_page(results, students(results), {entry.key: feedback_name(entry) for entry in results}, "L")
    bar = page.partition('aria-label="x: ')[2].partition("</svg>")[0]
    assert bar.startswith('1 right, 1 nearly right: all but edge cases, 1 a known mistake, 1 wrong or an error"')
    segments = [tuple(map(float, drawn)) for drawn in re.findall(r' x="([\d.]+)" y="0" width="([\d.]+)"', bar)]
    assert [start for start, _ in segments] == pytest.approx([0, 25, 50, 75])
    assert sum(width + pages.GAP for _, width in segments) == pytest.approx(100, abs=0.01)


def test_a_histogram_loses_no_value():
    figure = pages.histogram([0, 1, 5, 10, 10], 10, "points", "students")
    assert sum(column.count for column in figure.columns) == 5
    for most in range(1, 21):
        figure = pages.histogram(range(most + 1), most, "points", "students", most + 1)
        assert [column.count for column in figure.columns] == [1] * (most + 1), (
            "each number of points has its own column"
        )


def test_a_page_has_the_colours_that_all_pages_share():
    """Whose contrasts `test_templates.py` measures."""
    page = pages.student_page(result(), {}, "Lesson 02")
    assert (templates.SHARED / "palette.css").read_text(encoding="utf-8") in page
    own = (pages.TEMPLATES / "pages.css").read_text(encoding="utf-8")
    assert own in page and set(re.findall(r"#[0-9a-f]{3,6}\b", own)) == {"#d9902f"}, "a bar's amber, which no text has"


def test_who_handed_in_nothing_is_listed(tmp_path):
    page = reports.write([result()], tmp_path, absent=["Zoe <b>_9"])[0].read_text(encoding="utf-8")
    assert "Nothing handed in" in check_page(page) and "Zoe &lt;b&gt;<" in page


def test_files_that_are_no_notebooks_are_listed(tmp_path):
    files = ["ben <b>.pdf", *(f"{n}.png" for n in range(pages.FILES + 1))]
    page = reports.write([result()], tmp_path, ignored=files)[0].read_text(encoding="utf-8")
    assert "Files that were not graded" in check_page(page) and "ben &lt;b&gt;.pdf<" in page
    assert f"{pages.FILES}.png" not in page and "… and 2 more." in page
    assert "Files that were not graded" not in reports.write([result()], tmp_path)[0].read_text(encoding="utf-8")


def test_what_to_do_about_several_files_is_not_to_decide_on_points(tmp_path):
    two = [result("Ben_2", "k2"), result("Ben_2", "k3", marks=[mark(points=0)])]
    page = reports.write(two, tmp_path)[0].read_text(encoding="utf-8")
    assert pages.SEVERAL in page and "decisions.csv" not in page
    assert "k2.ipynb: 2 points" in page and "k3.ipynb: 0 points" in page
    waits = result(status="needs_review", marks=[mark(status="needs_review", points=0)])
    page = reports.write([waits], tmp_path)[0].read_text(encoding="utf-8")
    assert "decisions.csv" in page and pages.SEVERAL not in page


def test_notes_on_a_file_stand_on_the_page_about_the_cohort(tmp_path):
    noted = result(reason="it ended itself", notes=("is <b> enrolled?",))
    page = reports.write([noted], tmp_path)[0].read_text(encoding="utf-8")
    assert "k1.ipynb<br>it ended itself<br>is &lt;b&gt; enrolled?</td>" in page
