"""Grade books, Gradescope's files and pages: exact columns, sums that add up, and nothing that a student can inject."""

import csv
import io
import json
import re
import zipfile
from html.parser import HTMLParser

import pytest

from course_utils.errors import CourseError
from course_utils.grading import pages, reports

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'); alert(1); //",
    "</style></title><svg onload=alert(1)>",
    "`<b>`</code><iframe src=//example.invalid>",
    '=HYPERLINK("http://example.invalid","A")',
    "a;=1+1;@SUM(1)",
    "+1",
    "-1+1|calc",
    "\t=1",
    "\r\n=1,2",
    "＝1",
    "\x1b[31mred\x1b[0m\x07\x9b2J",
    "\u202eevil\u2066\u200b",
    "{{ 7 * 7 }} %s {0} $name",
    "&lt;script&gt;",
    "\ud800half",
    "Points Possible",
    "x" * 5_000,
]
VOID = {"meta", "br"}
ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "section", "span", "code", "br", "ul"),
    *("li", "a", "div", "table", "tr", "th", "td", "svg", "rect", "figure", "figcaption", "i"),
}


def mark(name="lstm_gates", status="right", points=2, most=2, lesson="02", message="right.", mistake=None):
    return {
        **{"name": name, "lesson": lesson, "points": points, "max_points": most, "status": status},
        **{"mistake": mistake, "message": message, "seconds": 0.5},
    }


def result(student="Ada Example_1001", key="k1", status="graded", exercises=None, **more):
    marks = [mark(), mark("lstm_update", "wrong", 0, 1, message="no.")] if exercises is None else exercises
    return {
        **{"version": 1, "key": key, "student": student, "file": f"{key}.ipynb", "status": status, "reason": ""},
        **{"late": False, "deadline": "", "course_version": "v1", "seconds": 3.2, "peak_memory": 5e8, "notes": []},
        **{"exercises": marks, **more},
    }


def rows(text):
    return list(csv.reader(io.StringIO(text, newline="")))


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


# -- injection ---------------------------------------------------------------------------------------------------


def hostile_result(text, key="k1"):
    exercises = [
        mark(message=text),
        mark("lstm_update", "diagnosed", 0, 2, message=text, mistake="generic:edge:" + text),
    ]
    fields = {"file": text + ".ipynb", "reason": text, "notes": [text], "deadline": text, "course_version": text}
    return result(text, key, "needs_review", exercises, **fields)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_markup_on_a_page(text):
    hostile = hostile_result(text)
    places = {"lstm_gates": pages.Place(text, text, text)}
    check_page(pages.student_page(hostile, places, text))
    cohort = reports.students([hostile])
    check_page(pages.cohort_page([hostile], cohort, {"k1": reports.feedback_name(hostile)}, text))


def test_what_is_escaped_is_still_readable():
    text = check_page(pages.student_page(hostile_result('a < b & `c` "d"'), {}, "Lesson"))
    assert "a < b & " in text and "c" in text and '"d"' in text


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_no_cell_is_a_formula_whatever_separates_the_columns(text, delimiter):
    cohort = reports.students(
        [hostile_result(text), {**hostile_result(text, "k2"), "status": "graded", "student": text + "_12"}]
    )
    for table in (reports.grades_csv(cohort), reports.canvas_csv(cohort, text), reports.moodle_csv(cohort)):
        for row in csv.reader(io.StringIO(table, newline=""), delimiter=delimiter):
            for cell in row:
                if delimiter == "," and cell == "-":
                    continue  # Moodle's own sign for no date
                bad = re.match(r"[\s\"]*[=+@|%＝＋＠\-－−]", cell)
                assert bad is None or cell.startswith("'"), repr(cell)
        assert not re.search(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]", table)


def test_a_name_cannot_add_rows_or_columns():
    cohort = reports.students([result('a","9"\r\n"b;\n'), result("c", "k2")])
    table = rows(reports.canvas_csv(cohort, "Lesson 02"))
    assert [len(row) for row in table] == [6] * 4


def test_a_student_called_points_possible_does_not_set_the_maximum():
    table = rows(reports.canvas_csv(reports.students([result("points POSSIBLE_7")]), "Lesson 02"))
    assert sum("points possible" in row[0].lower() for row in table) == 1
    assert table[2][0] == "points_possible" and table[2][1] == "7"


def test_terminal_codes_do_not_reach_gradescope():
    text = json.dumps(reports.gradescope(hostile_result("\x1b[31mred\x07\u202e")), ensure_ascii=False)
    assert "red" in text and not re.search(r"\\u00|[\x00-\x1f\x7f-\x9f\u202e]", text)


# -- tables ------------------------------------------------------------------------------------------------------


def test_canvas_gets_its_columns_in_its_order():
    cohort = reports.students([result("Ada Example_1001"), result("ben", "k2")])
    assert rows(reports.canvas_csv(cohort, "Lesson 02")) == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Lesson 02"],
        ["    Points Possible", "", "", "", "", "3"],
        ["Ada Example", "1001", "", "", "", "2"],
        ["ben", "", "", "ben", "", "2"],
    ]


def test_moodle_gets_its_columns_and_only_participants():
    cohort = reports.students([result("Ada Example_1001"), result("ben", "k2")])
    assert rows(reports.moodle_csv(cohort)) == [
        ["Identifier", "Full name", "Grade", "Maximum Grade", "Last modified (grade)", "Feedback comments"],
        ["Participant 1001", "Ada Example", "2", "3", "-", "Right: lstm_gates. Not yet: lstm_update."],
    ]


def test_moodle_gets_the_pages_of_those_who_have_a_grade_under_names_that_last(tmp_path):
    waits = result("Bo_1002", "k2", "needs_review", [mark(status="needs_review", points=0)])
    many = [result("Zoë van der Ä_x_1003", key) for key in ("k3", "k4")]
    reports.write([result(), waits, result("ben", "k5"), *many], tmp_path)
    with zipfile.ZipFile(tmp_path / "feedback-moodle.zip") as archive:
        pages_of = {name: archive.read(name) for name in archive.namelist()}
    sent = {name: page in pages_of.values() for name, page in feedback(tmp_path).items()}
    assert sent == {"ada-example": True, "bo": False, "ben": False, "zoe-van-der-a-x": True}
    folders = "ada-example_1001_assignsubmission_file", "zoe-van-der-a-x_1003_assignsubmission_file"
    wanted = [f"{folders[0]}/feedback.html", f"{folders[1]}/feedback.html", f"{folders[1]}/feedback-2.html"]
    assert list(pages_of) == wanted
    for name in wanted:  # as Moodle reads them
        _, number, kind, plugin = name.split("/")[0].split("_", 4)
        assert number.isdecimal() and (kind, plugin) == ("assignsubmission", "file")
    reports.write([result(key="another", status="unreadable", exercises=[mark(status="missing", points=0)])], tmp_path)
    with zipfile.ZipFile(tmp_path / "feedback-moodle.zip") as archive:
        assert archive.namelist() == wanted[:1] and archive.read(wanted[0]) != pages_of[wanted[0]]


def feedback(out):
    """The pages by the plain names of their students."""
    return {path.stem.rpartition("-")[0]: path.read_bytes() for path in (out / "feedback").glob("*.html")}


def test_the_overview_has_a_column_an_exercise_and_the_points_add_up():
    unreadable = result("Cid_3", "k3", "unreadable", [mark(status="missing", points=0)], reason="no notebook")
    cohort = reports.students([result(), result("Ben_2", "k2", late=True), unreadable])
    head, *lines = rows(reports.grades_csv(cohort))
    assert tuple(head) == (*reports.OVERVIEW_COLUMNS, "02 lstm_gates", "02 lstm_update")
    for line in lines:
        row = dict(zip(head, line, strict=True))
        exercises = [float(row[name]) for name in head[-2:] if row[name]]
        assert float(row["Points"]) == float(row["Grade"]) == sum(exercises)
    assert [line[head.index("Late")] for line in lines] == ["", "late", ""]
    assert [line[head.index("Notes")] for line in lines] == ["", "", "no notebook"]


@pytest.mark.parametrize("status", ["needs_review", "infra_error"])
def test_an_open_submission_has_no_grade_rather_than_zero(status):
    cohort = reports.students([result(status=status)])
    assert cohort[0].points is None
    assert len(rows(reports.canvas_csv(cohort, "L"))) == 2, "Canvas would take an empty cell for: take the grade away"
    assert len(rows(reports.moodle_csv(cohort))) == 1
    head, line = rows(reports.grades_csv(cohort))
    assert (line[head.index("Grade")], line[head.index("Why no grade")]) == ("", status)


def test_two_names_with_one_number_are_one_line_of_a_grade_book():
    """Of two lines with one number a grade book would take the last, whoever had put that number into a name."""
    cohort = reports.students([result(), result("zed_1001", key="k2", exercises=[mark(points=0)])])
    assert [(row.identifier, row.points, row.why) for row in cohort] == [
        ("1001", None, "2 files with different points")
    ]
    assert rows(reports.canvas_csv(cohort, "L"))[2:] == []
    others = reports.students([result("Ada"), result("Ben", key="k2"), result("Ada_1", key="k3")])
    assert [(row.login, row.identifier) for row in others] == [("Ada", ""), ("", "1"), ("Ben", "")]


def test_two_files_of_a_student_need_the_same_points():
    same = reports.students([result(), result(key="k2")])
    assert len(same) == 1 and same[0].points == 2
    differ = reports.students(
        [result(), result(key="k2", exercises=[mark()]), result(key="k3", exercises=[mark(points=0)])]
    )
    assert differ[0].points is None and differ[0].why == "3 files with different points"


def test_points_are_written_without_superfluous_digits():
    assert [pages.number(value) for value in (2, 2.0, 0, 0.5, 1.255, 100)] == ["2", "2", "0", "0.5", "1.25", "100"]


# -- Gradescope --------------------------------------------------------------------------------------------------


def test_gradescope_gets_one_test_an_exercise():
    content = reports.gradescope(result(notes=["a note"], reason="the reason"))
    assert set(content) == {
        *(
            "score",
            "execution_time",
            "output",
            "output_format",
            "visibility",
            "stdout_visibility",
            "tests",
            "extra_data",
        )
    }
    assert content["score"] == sum(test["score"] for test in content["tests"]) == 2
    assert content["output"] == "the reason\na note"
    assert content["tests"][1] == {
        **{"name": "02 lstm_update", "score": 0, "max_score": 1, "status": "failed", "output": "no."},
        **{"output_format": "text", "name_format": "text", "visibility": "visible"},
    }


def test_gradescope_gets_no_score_for_what_was_not_graded():
    with pytest.raises(ValueError, match="was not graded"):
        reports.gradescope(result(status="infra_error"))


# -- pages -------------------------------------------------------------------------------------------------------


def test_the_feedback_page_says_what_and_where():
    page = pages.student_page(
        result(late=True, deadline="2026-05-31T21:59:00+00:00"),
        pages.places({"02"}),
        "Lesson 02",
    )
    text = check_page(page)
    assert "2 of 3 points" in text and "handed in late (deadline 2026-05-31 21:59:00 UTC)" in text
    assert "2 · Doors that a network can work" in text and "hint(lstm_update)" in text
    assert "hint(lstm_gates)" not in text, "what is right need not be read again"
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page


def test_an_unreadable_file_is_said_once_with_what_to_do():
    unreadable = result(status="unreadable", reason="no notebook", exercises=[mark(status="missing", points=0)] * 3)
    text = check_page(pages.student_page(unreadable, {}, "Lesson 02"))
    assert text.count("no notebook") == 1 and "download it as a notebook" in text and "hint(" not in text


def test_every_exercise_has_a_place_in_its_lesson():
    from course_utils.exercises.catalogue import lesson_numbers, names

    found = pages.places(lesson_numbers())
    assert set(found) == set(names())
    assert all(place.section and place.lesson for place in found.values())


def test_messages_keep_their_lines_and_code():
    assert pages.rich("use `x.T`\n    line 1: a < b") == (
        'use <code>x.T</code><span class="in">line 1: a &lt; b</span>'
    )
    assert pages.plain("\n".join("abcdefghijklmnop")).count("\n") == pages.LINES - 1


def test_the_cohort_page_counts_right():
    wrong = mark("lstm_gates", "diagnosed", 0, 2, message="the order is i, f, g, o", mistake="candidate_first")
    results = [
        result("Ada_1", "k1"),
        result("Ben_2", "k2", exercises=[wrong, mark("lstm_update", points=1, most=1)]),
        result("Cy_3", "k3", exercises=[wrong, mark("lstm_update", "infra_error", 0, 1)], status="infra_error"),
    ]
    names = {entry["key"]: reports.feedback_name(entry) for entry in results}
    page = pages.cohort_page(results, reports.students(results), names, "Lesson 02")
    text = re.sub(r"\s+", " ", check_page(page))
    assert "3 submissions of 3 students, median 1.5 points" in text
    assert "2 graded, 1 infra error; 0 late" in text
    assert re.search(r"lstm_gates 33% 1 of 3", text) and re.search(r"lstm_update 50% 1 of 2", text)
    assert re.search(r"2 lstm_gates the order is i, f, g, o", text)
    assert "1 without a grade until" in text and "2 submissions: from 3.2 to 3.2 seconds" in text


def test_who_waits_for_a_person_is_shown_with_what_to_look_at_even_if_a_process_ended(tmp_path):
    marks = [mark(status="needs_review", points=0, message="right, but it uses `nn.LSTM`."), mark("other", "error", 0)]
    waits = result(status="needs_review", exercises=marks, reason="other: its process was killed")
    fails = result("Ben_2", "k2", "infra_error", marks, reason="no box could be started")
    reports.write([waits, fails], tmp_path)
    table = (tmp_path / "index.html").read_text(encoding="utf-8").split("Waiting for a person")[1].split("</table>")[0]
    assert "lstm_gates: right, but it uses <code>nn.LSTM</code>." in table and "was killed" not in table
    assert "no box could be started" in table


def test_the_segments_of_a_bar_fill_it():
    bar = pages._bar("x", {"right": 1, "known": 1, "wrong": 1})
    segments = [tuple(map(float, found)) for found in re.findall(r' x="([\d.]+)" y="0" width="([\d.]+)"', bar)]
    assert [start for start, _ in segments] == pytest.approx([0, 33.333, 66.667])
    assert sum(width + pages.GAP for _, width in segments) == pytest.approx(100, abs=0.01)
    assert 'aria-label="x: 1 right, 1 a known mistake, 1 wrong or an error"' in bar


def test_a_histogram_loses_no_value():
    figure = pages._histogram([0, 1, 5, 10, 10], 10, "points", "students")
    assert sum(int(count) for count in re.findall(r"<title>(\d+) students", figure)) == 5
    for most in range(1, 21):
        figure = pages._histogram(range(most + 1), most, "points", "students", most + 1)
        assert figure.count("<title>1 students") == most + 1, "each number of points has its own column"


def test_colours_can_be_read_on_their_background():
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = pages.STYLE.split("@media (prefers-color-scheme: dark)")
    for sheet in (light, dark):
        colours = {name: value for name, value in re.findall(r"--(\w+): (#[0-9a-f]{3,6})", sheet)}
        colours = {n: "#" + "".join(c * 2 for c in v[1:]) if len(v) == 4 else v for n, v in colours.items()}
        for name in ("ink", "soft", "right", "known", "wrong", "open", "review"):
            for ground in ("paper", "box"):
                pair = sorted((luminance(colours[name]), luminance(colours[ground])))
                assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (name, ground)


# -- files -------------------------------------------------------------------------------------------------------


def test_all_reports_are_written_and_linked(tmp_path):
    results = [result(), result("Ben_2", "k2", "infra_error"), result(HOSTILE[0], "../../k3")]
    paths = reports.write(results, tmp_path, "Lesson 02")
    assert paths[0] == tmp_path / "index.html" and all(path.is_file() for path in paths)
    assert all(tmp_path in path.resolve().parents for path in paths)
    links = re.findall(r'href="([^"]+)"', paths[0].read_text(encoding="utf-8"))
    assert links and all((tmp_path / link).is_file() for link in links)
    assert len(list(tmp_path.glob("feedback/*.html"))) == 3
    assert len(list(tmp_path.glob("gradescope/*/results.json"))) == 2, "none for the one that was not graded"
    before = {path: path.read_bytes() for path in paths}
    assert {path: path.read_bytes() for path in reports.write(results, tmp_path, "Lesson 02")} == before


def test_feedback_of_an_earlier_run_does_not_stay(tmp_path):
    reports.write([result(), result("Ben_2", "k2")], tmp_path)
    mine = tmp_path / "feedback" / "read-me.html"
    mine.write_text("the instructor's own", encoding="utf-8")
    reports.write([result(key="handed in again")], tmp_path)
    left = {path.name for path in tmp_path.glob("feedback/*")}
    assert left == {mine.name, reports.feedback_name(result(key="handed in again"))}
    assert len(list(tmp_path.glob("gradescope/*"))) == 1


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
    two = [result("Ben_2", "k2"), result("Ben_2", "k3", exercises=[mark(points=0)])]
    page = reports.write(two, tmp_path)[0].read_text(encoding="utf-8")
    assert pages.SEVERAL in page and "decisions.csv" not in page
    assert "k2.ipynb: 2 points" in page and "k3.ipynb: 0 points" in page
    waits = result(status="needs_review", exercises=[mark(status="needs_review", points=0)])
    page = reports.write([waits], tmp_path)[0].read_text(encoding="utf-8")
    assert "decisions.csv" in page and pages.SEVERAL not in page


def test_notes_on_a_file_stand_on_the_page_about_the_cohort(tmp_path):
    noted = result(reason="it ended itself", notes=["is <b> enrolled?"])
    page = reports.write([noted], tmp_path)[0].read_text(encoding="utf-8")
    assert "k1.ipynb<br>it ended itself<br>is &lt;b&gt; enrolled?</td>" in page


def test_excel_is_told_that_the_overview_is_utf_8_and_the_grade_books_stay_plain(tmp_path):
    reports.write([result("Zoë_1")], tmp_path)
    starts = {path.name: path.read_bytes()[:3] for path in tmp_path.glob("*.csv")}
    assert starts == {"grades.csv": b"\xef\xbb\xbf", "grades-canvas.csv": b"Stu", "grades-moodle.csv": b"Ide"}


def test_feedback_files_are_never_the_same_and_have_plain_names():
    names = {reports.feedback_name(result(student, f"k{i}")) for i, student in enumerate(HOSTILE)}
    assert len(names) == len(HOSTILE)
    assert all(re.fullmatch(r"[a-z0-9-]{1,60}\.html", name) for name in names)


def test_results_are_read_back_in_order(tmp_path):
    for entry in (result("b", "k1"), result("a", "k2")):
        (tmp_path / f"{entry['key']}.json").write_text(json.dumps(entry), encoding="utf-8")
    assert [entry["student"] for entry in reports.load(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "version 1"),
        ({"status": "fine"}, "the status is 'fine'"),
        ({"student": None}, "student is None"),
        ({"exercises": [mark(points=3)]}, "3 of 2 points"),
        ({"exercises": [mark(points=float("nan"))]}, "nan of 2"),
        ({"exercises": [mark(status="great")]}, "'great'"),
        ({"exercises": ["x"]}, "no object"),
    ],
)
def test_a_file_that_is_no_result_is_named(tmp_path, change, said):
    (tmp_path / "r.json").write_text(json.dumps({**result(), **change}), encoding="utf-8")
    with pytest.raises(CourseError, match=re.escape(said)) as error:
        reports.load(tmp_path)
    assert "r.json" in str(error.value) and "grade again" in str(error.value)


def test_a_folder_without_results_is_said(tmp_path):
    with pytest.raises(CourseError, match="no results"):
        reports.load(tmp_path)
