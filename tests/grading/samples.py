"""Results as tests of grading need them, and what a student might put into every text that he has a hand in."""

import msgspec

from course_utils.grading.result import Mark, Result

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'); alert(1); //",
    "' onmouseover='alert(1)",
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


def mark(name="lstm_gates", status="right", points=2, most=2, lesson="02", message="right.", mistake=None):
    return Mark(
        name=name,
        lesson=lesson,
        points=points,
        max_points=most,
        status=status,
        mistake=mistake,
        message=message,
        seconds=0.5,
    )


def result(student="Ada Example_1001", key="k1", status="graded", marks=None, **fields):
    marks = [mark(), mark("lstm_update", "wrong", 0, 1, message="no.")] if marks is None else marks
    given = {
        **{"file": f"{key}.ipynb", "reason": "", "late": False, "course_version": "v1", "seconds": 3.2, "notes": ()},
        **fields,
    }
    return Result(key=key, student=student, status=status, marks=tuple(marks), peak_memory=500_000_000, **given)


def hostile_result(text, student=None, key="k1"):
    """A result with this text in every field that holds one, save the statuses and the key."""
    texts = {field.name: text for field in msgspec.structs.fields(Mark) if field.type is str and field.name != "status"}
    marks = [
        mark(message=text),
        mark("lstm_update", "diagnosed", 0, 2, message=text, mistake="generic:edge:" + text),
        Mark(**texts, status="needs_review", points=0, max_points=2),
    ]
    fields = {field.name: text for field in msgspec.structs.fields(Result) if field.type is str}
    fields |= {"student": text if student is None else student, "key": key, "status": "needs_review"}
    return result(**fields, marks=marks, late=True, notes=(text,))
