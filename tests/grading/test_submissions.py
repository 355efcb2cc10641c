"""Hostile and merely odd files: each is one unreadable submission at worst, and never harms its neighbours."""

import json
import os
import stat
import time
import unicodedata
import zipfile

import pytest

from course_utils.conventions import OUTCOME_TYPE
from course_utils.grading import submissions, untrusted
from course_utils.grading.submissions import collect, identify
from course_utils.grading.text import printable
from course_utils.grading.untrusted import Refused, SubmissionError


def notebook(*sources):
    cells = [{"cell_type": "code", "source": source, "metadata": {}, "outputs": []} for source in sources]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        data = text if isinstance(text, bytes) else text.encode()
        (folder / f"{name}.ipynb").write_bytes(data)
    return folder


def read(source, manifest=None):
    return {s.file: s for s in (entry.read() for entry in collect(source, manifest).entries)}


def zipped(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members:
            archive.writestr(member, data)
    return path


def test_code_cells_are_read_in_order_and_other_cells_are_not(tmp_path):
    page = json.loads(notebook("x = 1", ["y = 2\n", "z = 3"]))
    page["cells"].insert(1, {"cell_type": "markdown", "source": "text"})
    (submission,) = read(write(tmp_path / "in", alice=json.dumps(page))).values()
    assert submission.cells == ("x = 1", "y = 2\nz = 3")
    assert (submission.student, submission.reason, submission.late) == ("alice", "", False)


def test_format_3_is_read_too(tmp_path):
    page = {"nbformat": 3, "worksheets": [{"cells": [{"cell_type": "code", "input": ["a = 1"]}]}]}
    (submission,) = read(write(tmp_path / "in", old=json.dumps(page))).values()
    assert submission.cells == ("a = 1",)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"hello", "damaged"),
        (notebook("x = 1")[:-20], "damaged"),
        (b'{"a": 1}', "no list of cells"),
        (b"[1, 2]", "no list of cells"),
        (b'{"cells": 3}', "no list of cells"),
        (b"[" * 1_000_000, "nested too deeply"),
        (b'{"cells": [], "a": ' + b"[" * 300_000 + b"]" * 300_000 + b"}", "nested too deeply"),
        (b"\xff\xfe\x00\x01", "not UTF-8"),
        (b'{"cells": [' + b"[]," * 2_000_000 + b"[]]}", "values"),
        (b'{"cells": [' + b"1" * 10_000 + b"]}", "damaged"),
    ],
    ids=[
        "empty",
        "blank",
        "text",
        "truncated",
        "object",
        "list",
        "number",
        "deep",
        "deep-closed",
        "binary",
        "wide",
        "integer",
    ],
)
def test_what_is_no_notebook_is_unreadable_with_the_reason_and_its_neighbour_is_not(tmp_path, data, reason):
    found = read(write(tmp_path / "in", bad=data, good=notebook("x = 1")))
    assert found["bad.ipynb"].cells is None
    assert reason in found["bad.ipynb"].reason
    assert found["good.ipynb"].cells == ("x = 1",)


def test_a_sparse_file_of_five_gigabytes_is_not_read(tmp_path):
    folder = write(tmp_path / "in")
    with open(folder / "huge.ipynb", "wb") as file:
        file.truncate(5_000_000_000)
    start = time.perf_counter()
    (submission,) = read(folder).values()
    assert "5000000000 bytes" in submission.reason
    assert time.perf_counter() - start < 2


def test_a_file_that_grows_while_it_is_read_is_capped(monkeypatch):
    monkeypatch.setattr(untrusted, "FILE_LIMIT", 1000)
    with open("/dev/zero", "rb") as endless:
        data = untrusted._read_capped(endless)
    assert len(data) == 1001
    with pytest.raises(Refused, match="1000 bytes"):
        submissions._parse(data)


def special(folder):
    """One of each kind of thing that is no plain file; making a device takes root."""
    secret = folder.parent / "secret.ipynb"
    secret.write_text(notebook("secret = 1"))
    (folder / "link.ipynb").symlink_to(secret)
    os.link(secret, folder / "hard.ipynb")
    os.mkfifo(folder / "pipe.ipynb")
    (folder / "directory.ipynb").mkdir()
    (folder / "loop.ipynb").symlink_to("loop.ipynb")
    words = {
        "link": "symbolic link",
        "hard": "hard link",
        "pipe": "pipe",
        "directory": "folder",
        "loop": "symbolic link",
    }
    try:
        os.mknod(folder / "device.ipynb", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
        words["device"] = "device"
    except OSError:
        pass
    return words


def test_links_pipes_devices_and_folders_are_refused_without_waiting(tmp_path):
    folder = write(tmp_path / "in", good=notebook("x = 1"))
    words = special(folder)
    start = time.perf_counter()
    found = read(folder)
    assert time.perf_counter() - start < 2
    assert found.pop("good.ipynb").cells == ("x = 1",)
    assert found.keys() == {f"{name}.ipynb" for name in words}
    for name, word in words.items():
        assert found[f"{name}.ipynb"].cells is None
        assert word in found[f"{name}.ipynb"].reason


def test_a_linked_folder_is_not_entered(tmp_path):
    write(tmp_path / "elsewhere", bob=notebook("y = 2"))
    folder = write(tmp_path / "in", alice=notebook("x = 1"))
    (folder / "more").symlink_to(tmp_path / "elsewhere")
    collection = collect(folder)
    assert [entry.student for entry in collection.entries] == ["alice"]
    assert collection.ignored == ("more",)


def test_a_file_replaced_by_a_link_after_it_was_listed_is_refused(tmp_path):
    folder = write(tmp_path / "in", alice=notebook("x = 1"))
    secret = tmp_path / "secret"
    secret.write_text(notebook("secret = 1"))
    (entry,) = collect(folder).entries
    (folder / "alice.ipynb").unlink()
    (folder / "alice.ipynb").symlink_to(secret)
    assert "symbolic link" in entry.read().reason


def test_a_folder_replaced_by_a_link_after_it_was_listed_is_refused(tmp_path):
    write(tmp_path / "secret", work=notebook("secret = 1"))
    write(tmp_path / "in" / "alice", work=notebook("x = 1"))
    (entry,) = collect(tmp_path / "in").entries
    (tmp_path / "in" / "alice").rename(tmp_path / "gone")
    (tmp_path / "in" / "alice").symlink_to(tmp_path / "secret")
    submission = entry.read()
    assert submission.cells is None
    assert "cannot be opened" in submission.reason


def test_odd_names_are_graded_and_shown_safely(tmp_path):
    folder = write(tmp_path / "in")
    names = ["=cmd()|'x'", "a\nb", "\x1b[31mred", "\u202egnp", "ünï 中文", "x" * 200, "..", "-rf", "$(id)"]
    for name in names:
        (folder / f"{name}.ipynb").write_text(notebook("x = 1"))
    with open(os.fsencode(folder) + b"/\xff\xfe.ipynb", "w") as file:
        file.write(notebook("x = 1"))
    entries = collect(folder).entries
    assert len(entries) == len(names) + 1
    for entry in entries:
        submission = entry.read()
        assert submission.cells == ("x = 1",)
        assert submission.student.isprintable() and submission.file.isprintable()
        assert len(submission.student) <= 150
        submission.student.encode()
        assert set(submission.key) <= set("0123456789abcdef-")
    assert len({entry.read().key for entry in entries}) == len(entries)


def test_a_zip_is_read_without_unpacking(tmp_path):
    path = zipped(tmp_path / "all.zip", ("alice.ipynb", notebook("x = 1")), ("sub/readme.txt", "hello"))
    collection = collect(path)
    assert [entry.read().cells for entry in collection.entries] == [("x = 1",)]
    assert collection.ignored == ("sub/readme.txt",)
    assert os.listdir(tmp_path) == ["all.zip"]


def link(name):
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


def test_zip_slips_links_bombs_and_encryption_are_refused_and_the_neighbour_is_not(tmp_path):
    slips = ["../up.ipynb", "/etc/root.ipynb", "a/../../b.ipynb", "..\\back.ipynb", "C:/disk.ipynb"]
    path = zipped(
        tmp_path / "all.zip",
        ("good.ipynb", notebook("x = 1")),
        *((name, notebook("evil = 1")) for name in slips),
        (link("link.ipynb"), "/etc/passwd"),
        ("bomb.ipynb", b" " * 40_000_000),
    )
    found = read(path)
    assert found.pop("good.ipynb").cells == ("x = 1",)
    assert all(found[name].cells is None and "out of the zip" in found[name].reason for name in slips)
    assert "link" in found["link.ipynb"].reason
    assert "40000000 bytes" in found["bomb.ipynb"].reason
    assert os.listdir(tmp_path) == ["all.zip"]


def test_a_zip_member_that_lies_about_its_size_is_unreadable(tmp_path):
    path = zipped(tmp_path / "all.zip", ("bomb.ipynb", b" " * 40_000_000), ("good.ipynb", notebook("x = 1")))
    data = path.read_bytes()
    path.write_bytes(data.replace((40_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    found = read(path)
    assert found["bomb.ipynb"].cells is None
    assert found["good.ipynb"].cells == ("x = 1",)


def test_a_damaged_or_unusual_member_costs_only_itself(tmp_path):
    path = zipped(tmp_path / "all.zip", ("a.ipynb", notebook("x = 1" * 100)), ("b.ipynb", notebook("y = 2")))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_LZMA) as archive:
        archive.writestr("c.ipynb", notebook("z = 3"))
    data = bytearray(path.read_bytes())
    data[50] ^= 0xFF  # inside the first member's data
    path.write_bytes(data)
    found = read(path)
    assert "damaged" in found["a.ipynb"].reason
    assert found["b.ipynb"].cells == ("y = 2",)
    assert "method 14" in found["c.ipynb"].reason


@pytest.mark.parametrize("count", [50_000, 70_000], ids=["zip", "zip64"])
def test_a_zip_with_a_huge_table_of_contents_is_refused_before_it_is_read(tmp_path, count, monkeypatch):
    end = b"PK\5\6" + b"\0" * 4 + min(count, 0xFFFF).to_bytes(2, "little") * 2 + b"\xff" * 8 + b"\0\0"
    record = b"PK\6\6" + b"\0" * 20 + count.to_bytes(8, "little") * 2 + (2**33).to_bytes(8, "little") + b"\0" * 8
    locator = b"PK\6\7" + b"\0" * 12 + b"\1\0\0\0"
    (tmp_path / "all.zip").write_bytes((record + locator if count > 0xFFFF else b"") + end)
    monkeypatch.setattr(untrusted.zipfile, "ZipFile", None)
    with pytest.raises(SubmissionError, match=f"{count} files"):
        collect(tmp_path / "all.zip")


def test_a_zip_of_a_later_version_is_refused_with_its_name(tmp_path):
    path = zipped(tmp_path / "all.zip", ("a.ipynb", notebook("x")))
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 6] = 99  # the version needed to extract it
    path.write_bytes(data)
    with pytest.raises(SubmissionError, match=r"all\.zip.*9\.9"):
        collect(path)


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"PK\5\6", b"PK\5\6" + b"\1" * 30], ids=["empty", "text", "cut", "junk"]
)
def test_what_is_no_zip_is_refused_with_its_name(tmp_path, data):
    (tmp_path / "all.zip").write_bytes(data)
    with pytest.raises(SubmissionError, match=r"all\.zip"):
        collect(tmp_path / "all.zip")
    with pytest.raises(SubmissionError, match=r"nowhere: there is no such folder or zip"):
        collect(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("path", "student", "late"),
    [
        ("doejane_12345_67890_02_LSTM.ipynb", "doejane_12345", False),
        ("doejane_LATE_12345_67890_02_LSTM-1.ipynb", "doejane_12345", True),
        ("doejane_12345_67890_bob_99_88_x.ipynb", "doejane_12345", False),
        ("Jane Doe_12345_assignsubmission_file_/02 LSTM.ipynb", "Jane Doe_12345", False),
        ("Jane Doe_12345_assignsubmission_file_/bob_99_88_x.ipynb", "Jane Doe_12345", False),
        ("Jane Doe_12345_assignsubmission_file/Bob_99_assignsubmission_file_/x.ipynb", "Jane Doe_12345", False),
        ("Jane Doe_12345_assignsubmission_file_02.ipynb", "Jane Doe_12345", False),
        ("jane/week 2/bob_99_88_x.ipynb", "jane", False),
        ("Copy of 02_LSTM.ipynb", "Copy of 02_LSTM", False),
        ("van_der_berg_LATE_1003_5003_lstm.ipynb", "van_der_berg_1003", True),
        ("van_der_1003_5003_x_1002_assignsubmission_file_y.ipynb", "van_der_1003", False),
        ("Ben Example_1002_assignsubmission_file_x_1001_1_y.ipynb", "Ben Example_1002", False),
        ("submission_30001/02_lstm.ipynb", "submission 30001", False),
        (
            "Eve_1002_assignsubmission_file_1003_assignsubmission_file_/x.ipynb",
            "Eve_1002_assignsubmission_file_1003",
            False,
        ),
        (f"{'x' * 300}_1003_5003_y.ipynb", f"{'x' * 129}…_1003", False),
        ("eve_\u0663_\u0663_y.ipynb", "eve_\u0663_\u0663_y", False),
    ],
)
def test_names_tell_the_student_and_a_file_name_cannot_claim_another(path, student, late):
    assert identify(path) == (student, late)


def test_the_folder_that_all_have_in_common_is_no_student(tmp_path):
    write(tmp_path / "in" / "week 2" / "alice", work=notebook("x = 1"))
    write(tmp_path / "in" / "week 2" / "bob", work=notebook("x = 2"))
    assert [entry.student for entry in collect(tmp_path / "in").entries] == ["alice", "bob"]
    assert [entry.student for entry in collect(tmp_path / "in" / "week 2").entries] == ["alice", "bob"]


def test_the_manifest_decides_identity_and_lateness(tmp_path):
    folder = write(tmp_path / "in", a=notebook("x"), b=notebook("x"), c=notebook("x"), d=notebook("x"))
    os.utime(folder / "b.ipynb", (2_000_000_000, 2_000_000_000))
    os.utime(folder / "c.ipynb", (2_000_000_000, 2_000_000_000))
    (folder / "manifest.csv").write_text(
        "\ufefffile,student,deadline,submitted\n"
        "a.ipynb,Ann,2030-01-01T00:00+00:00,2030-01-01T00:00:01+00:00\n"
        "b.ipynb,Ben,2030-01-01T00:00+00:00,\n"
        "c.ipynb,Cleo,2030-01-01T00:00+00:00,2029-12-31T23:59+00:00\n"
        "missing.ipynb,Mia,,\n"
    )
    collection = collect(folder)
    found = {s.student: s for s in (entry.read() for entry in collection.entries)}
    nobody = "not in the manifest: d.ipynb"
    assert {student: s.late for student, s in found.items()} == {"Ann": True, "Ben": True, "Cleo": False, nobody: False}
    assert found["Ann"].deadline == "2030-01-01T00:00:00+00:00"
    assert found["Ann"].notes == ("late: handed in at 2030-01-01 00:00:01 UTC, says the manifest",)
    assert "the file's date" in found["Ben"].notes[0]
    assert "belongs to nobody" in found[nobody].notes[0]
    assert (collection.absent, collection.ignored) == (("Mia",), ())


def test_a_file_that_the_manifest_does_not_name_is_nobody_s_whatever_it_is_called(tmp_path):
    folder = write(
        tmp_path / "in", a=notebook("x"), **{"Ada Example_1001": notebook("x"), "Ben_1002_1_y": notebook("x")}
    )
    (folder / "manifest.csv").write_text("file,student\na.ipynb,Ada Example_1001\nb.ipynb,Ben_1002\n")
    collection = collect(folder)
    assert [entry.student for entry in collection.entries] == [
        "not in the manifest: Ada Example_1001.ipynb",
        "not in the manifest: Ben_1002_1_y.ipynb",
        "Ada Example_1001",
    ]
    assert collection.absent == ("Ben_1002",)


def test_folders_that_one_student_nested_too_deeply_are_named_and_cost_nobody_else_anything(tmp_path):
    folder = write(tmp_path / "in", ann=notebook("x"))
    write(folder / "/".join(["deep"] * 9), ben=notebook("x"))
    collection = collect(folder)
    assert [entry.file for entry in collection.entries] == ["ann.ipynb"]
    assert collection.ignored == (f"{'/'.join(['deep'] * 9)} (folders nested more than 8 deep)",)


def test_a_folder_that_cannot_be_opened_is_named_and_costs_nobody_else_anything(tmp_path, monkeypatch):
    folder, real = write(tmp_path / "in", ann=notebook("x")), os.open
    write(folder / "closed", ben=notebook("x"))

    def closed(path, *arguments, **options):
        if path == "closed":
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", closed)
    collection = collect(folder)
    assert [entry.file for entry in collection.entries] == ["ann.ipynb"]
    assert collection.ignored == ("closed (a folder that cannot be opened: Permission denied)",)


def test_names_in_a_zip_from_a_mac_are_read_as_they_are_meant(tmp_path):
    """Its UTF-8 is not marked as such, and beside each file lies one that begins with ._"""
    name = "L\u00e9a Example_1012.ipynb".encode()
    path = zipped(tmp_path / "all.zip", ("L__a Example_1012.ipynb", notebook("x")), ("__MACOSX/._b.ipynb", "x"))
    path.write_bytes(path.read_bytes().replace(b"L__a Example_1012.ipynb", name))
    collection = collect(path)
    assert [(entry.student, entry.read().cells) for entry in collection.entries] == [("L\u00e9a Example_1012", ("x",))]
    assert collection.ignored == ()


def test_what_the_saved_outputs_show_as_right_is_read(tmp_path):
    page = json.loads(notebook("a", "b", "c", "d"))

    def shows(cell, name, status):
        data = {"text/plain": "", OUTCOME_TYPE: {"exercise": name, "status": status}}
        page["cells"][cell]["outputs"].append({"output_type": "display_data", "data": data})

    shows(0, "relu_backward", "right")
    shows(1, "truncate", "wrong")
    shows(2, "rnn_step", "right")
    shows(3, "rnn_step", "error")
    shows(3, "lstm_gates", "nearly right")
    page["cells"][3]["outputs"] += [None, {"data": [1]}, {"data": {OUTCOME_TYPE: {"exercise": 3}}}]
    (submission,) = read(write(tmp_path / "in", ann=json.dumps(page))).values()
    assert submission.shown == ("relu_backward", "lstm_gates")


def test_several_files_of_one_student_are_each_graded_and_noted(tmp_path):
    folder = write(tmp_path / "in", a=notebook("x = 1"), b=notebook("x = 1"), c=notebook("x = 1"))
    (tmp_path / "list.csv").write_text("file,student\na.ipynb,Ann\nb.ipynb,Ann\nc.ipynb,Cleo\n")
    found = read(folder, tmp_path / "list.csv")
    assert "one of 2 files" in found["a.ipynb"].notes[0] and "one of 2 files" in found["b.ipynb"].notes[0]
    assert found["c.ipynb"].notes == ()
    assert len({s.key for s in found.values()}) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,who\na,b\n", "columns file and student"),
        ("file,student\na.ipynb,\n", "row 2: both"),
        ("file,student\na.ipynb,A\na.ipynb,B\n", "row 3: a.ipynb stands there twice"),
        ("file,student,deadline\na.ipynb,A,tomorrow\n", "row 2: 'tomorrow' is no time"),
        ("file,student,deadline\na.ipynb,A,9999-12-31T23:59:59-23:59\n", "row 2: '9999.*is no time"),
        ("file;student\na.ipynb;A\n", "comma between"),
        ("file,student\n", "names no file"),
        ("file,student\n\xe4.ipynb,A\n".encode("latin-1"), "no UTF-8 text .* with commas"),
    ],
)
def test_an_unusable_manifest_is_refused_with_the_row(tmp_path, text, message):
    (tmp_path / "manifest.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    write(tmp_path / "in", a=notebook("x"))
    with pytest.raises(SubmissionError, match=message):
        collect(tmp_path / "in")


@pytest.mark.parametrize("there", ["NFC", "NFD"])
def test_a_manifest_finds_files_however_an_accent_is_written(tmp_path, there):
    """Files that were zipped on a Mac have an é of two characters."""
    listed = {"NFC": "NFD", "NFD": "NFC"}[there]
    folder = write(tmp_path / "in", **{unicodedata.normalize(there, "né"): notebook("x"), "b": notebook("x")})
    lines = f"file,student\n{unicodedata.normalize(listed, 'né.ipynb')},Ann\n./b.ipynb,Ben\n"
    (folder / "manifest.csv").write_text(lines)
    collection = collect(folder)
    assert {entry.student for entry in collection.entries} == {"Ann", "Ben"} and collection.absent == ()


def test_the_key_follows_from_student_path_and_content(tmp_path):
    folder = write(tmp_path / "in", a=notebook("x = 1"), b=notebook("x = 1"))
    first = {name: s.key for name, s in read(folder).items()}
    assert first == {name: s.key for name, s in read(folder).items()}
    assert first["a.ipynb"] != first["b.ipynb"]
    write(folder, a=notebook("x = 2"))
    assert read(folder)["a.ipynb"].key != first["a.ipynb"]


def test_much_code_is_bounded_and_damaged_cells_are_left_out_with_a_note(tmp_path):
    page = json.loads(notebook("x = 1"))
    page["cells"] += [
        None,
        {"cell_type": "code"},
        {"cell_type": "code", "source": [1]},
        {"cell_type": "code", "source": "#" * 200_000},
    ]
    page["cells"].append({"cell_type": "code", "source": "lone = '\ud800'"})
    folder = write(
        tmp_path / "in", odd=json.dumps(page), long=notebook(*["#" * 90_000] * 4), many=notebook(*["x"] * 3001)
    )
    found = read(folder)
    assert found["odd.ipynb"].cells == ("x = 1", "lone = '?'")
    assert [note.split(" and ")[0] for note in found["odd.ipynb"].notes] == [
        "cell 2 is damaged", "cell 3 is damaged", "cell 4 is damaged", "cell 5 has 200000 characters",
    ]  # fmt: skip
    assert "360000 characters" in found["long.ipynb"].reason
    assert "3001 code cells" in found["many.ipynb"].reason


def test_names_that_would_move_a_terminal_or_turn_text_around_are_made_plain():
    assert printable("\x1b]0;x\x07a\u202eb\r\n\tc") == "�]0;x�a�b���c"
    assert printable("e\u0301") == "é"
    assert len(printable("x" * 1000)) == 150


def test_names_that_take_long_to_bring_into_normal_form_are_cut_first(tmp_path):
    """Marks above and below a letter are sorted, which takes the square of their number."""
    name = "a" + "\u0301\u0327" * 15_000
    path = zipped(tmp_path / "all.zip", *((f"{name}{number}.ipynb"[:32_000], notebook("x")) for number in range(4)))
    start = time.process_time()
    entries = collect(path).entries
    assert [printable(name * 20, 300) for _ in range(3)]
    assert time.process_time() - start < 1 and len(entries) == 4


def test_empty_rows_that_a_spreadsheet_leaves_behind_are_no_rows(tmp_path):
    (tmp_path / "manifest.csv").write_text("file,student,deadline\n,,\na.ipynb,Ada,\n,,,\n , ,\n")
    (tmp_path / "a.ipynb").write_text(notebook("x = 1"))
    (entry,) = submissions.collect(tmp_path).entries
    assert (entry.student, entry.notes) == ("Ada", ())


def test_a_zip_is_opened_once_however_many_notebooks_it_holds(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for number in range(20):
            archive.writestr(f"student{number}.ipynb", notebook(f"x = {number}"))
    opened, real = [], zipfile.ZipFile.__init__
    monkeypatch.setattr(zipfile.ZipFile, "__init__", lambda self, *a, **k: opened.append(1) or real(self, *a, **k))
    read = [entry.read() for entry in submissions.collect(tmp_path / "all.zip").entries]
    assert len({submission.cells for submission in read}) == 20 and len(opened) == 1


# -- Gradescope's list of who handed in what ----------------------------------------------------------------------

LISTED = """\
submission_30001:
  :submitters:
  - :name: "\\u00c1da Example"
    :sid: '1001'
    :email: ada@example.org
  :created_at: 2026-05-31 21:59:00.000000000 Z
  :score: 0.0
submission_30002:
  :submitters:
  - :name: Bo Example
    :sid:
    :email: bo@example.org
  - :name: Cy Example
    :sid: '0017'
"""


def students(source):
    return sorted((entry.file, entry.student) for entry in submissions.collect(source).entries)


@pytest.mark.parametrize("folder", ["", "assignment_7_export/"])
def test_gradescopes_own_list_tells_who_handed_in_what(tmp_path, folder):
    files = [f"{folder}submission_{number}/02.ipynb" for number in (30001, 30002, 30003)]
    path = zipped(
        tmp_path / "all.zip", (f"{folder}submission_metadata.yml", LISTED), *((file, notebook("x")) for file in files)
    )
    told = ("Áda Example_1001", "Bo Example_bo@example.org", "Cy Example_0017", "submission 30003")
    assert students(path) == list(zip([files[0], files[1], files[1], files[2]], told, strict=True))
    assert submissions.collect(path).ignored == ()
    notes = [entry.notes for entry in submissions.collect(path).entries]
    assert [any("2 students together" in note for note in of) for of in notes] == [False, True, True, False]


def test_a_manifest_is_believed_rather_than_gradescopes_list(tmp_path):
    (tmp_path / "manifest.csv").write_text("file,student\nsubmission_30001/02.ipynb,Somebody_1\n")
    path = zipped(tmp_path / "all.zip", ("submission_metadata.yml", "[{"), ("submission_30001/02.ipynb", notebook("x")))
    assert students(path) == [("submission_30001/02.ipynb", "Somebody_1")]


@pytest.mark.parametrize(
    "place",
    [
        "submission_30002/submission_metadata.yml",  # beside the notebook, in Gradescope's export
        "submission_30002/inner/submission_metadata.yml",  # with a folder named like somebody else's below it
    ],
)
def test_a_list_that_a_student_hands_in_makes_nobody_somebody_else(tmp_path, place):
    forged = LISTED.replace("submission_30002", "submission_30009")
    path = zipped(
        tmp_path / "all.zip",
        ("submission_metadata.yml", LISTED),
        (place, forged),
        ("submission_30002/inner/submission_30001/02.ipynb", notebook("x")),
        ("submission_30001/02.ipynb", notebook("x")),
    )
    assert students(path) == [
        ("submission_30001/02.ipynb", "Áda Example_1001"),
        ("submission_30002/inner/submission_30001/02.ipynb", "Bo Example_bo@example.org"),
        ("submission_30002/inner/submission_30001/02.ipynb", "Cy Example_0017"),
    ]
    assert submissions.collect(path).ignored == (place,)


def test_a_list_of_gradescopes_form_is_not_believed_among_moodles_folders(tmp_path):
    own = "Bo Example_1002_assignsubmission_file_"
    path = zipped(
        tmp_path / "all.zip",
        (f"{own}/submission_metadata.yml", LISTED),
        (f"{own}/submission_30001/02.ipynb", notebook("x")),
        ("Ada Example_1001_assignsubmission_file_/02.ipynb", notebook("x")),
    )
    assert {student for _, student in students(path)} == {"Bo Example_1002", "Ada Example_1001"}


@pytest.mark.parametrize(
    "text",
    ["[{", "", "7", "submission_30001: 3", "submission_30001: {}", "submission_30001: {':submitters': [x]}", "\x00"],
)
def test_a_list_that_cannot_be_read_is_refused_with_what_to_do(tmp_path, text):
    path = zipped(tmp_path / "all.zip", ("submission_metadata.yml", text), ("submission_30001/02.ipynb", notebook("x")))
    with pytest.raises(SubmissionError, match=r"^submission_metadata\.yml does not say .* make a manifest"):
        submissions.collect(path)
