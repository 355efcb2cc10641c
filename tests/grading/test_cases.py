"""The list of cases cannot rot: its tests exist, its weakenings still meet the code, and each case has been proven."""

import ast
from functools import cache

import pytest
from cases import CASES, GROUPS
from weakenings import ROOT, WEAKENINGS, path_of


@cache
def functions(module):
    """The test functions of a module, by name."""
    tree = ast.parse(path_of(module).read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def weakened_boxes():
    """The boxes in `test_box.py` that lack something."""
    found = {"Box"}
    for node in ast.parse(path_of("box").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and found & {getattr(base, "id", "") for base in node.bases}:
            found.add(node.name)
    return found - {"Box"}


def meets_a_weakened_box(test):
    module, name = test.split("::")
    if module != "box" or name not in functions(module):
        return False
    return any(isinstance(part, ast.Name) and part.id in weakened_boxes() for part in ast.walk(functions(module)[name]))


def test_no_case_stands_in_two_groups():
    assert len(CASES) == sum(map(len, GROUPS.values()))


@pytest.mark.parametrize("name", CASES)
def test_the_tests_of_a_case_exist(name):
    outcome, *tests = CASES[name]
    assert outcome and tests and len(set(tests)) == len(tests)
    assert [test for test in tests if test.split("::")[1] not in functions(test.split("::")[0])] == []


@pytest.mark.parametrize("name", CASES)
def test_a_case_is_proven_by_a_weakened_box_or_by_a_weakening_of_its_own(name):
    weakened = [weakening for weakening in WEAKENINGS if weakening.case == name]
    assert weakened or any(map(meets_a_weakened_box, CASES[name][1:])), "nothing shows that its tests can fail"
    assert [weakening.test for weakening in weakened if weakening.test.partition("[")[0] not in CASES[name][1:]] == []


@pytest.mark.parametrize("weakening", WEAKENINGS, ids=str)
def test_a_weakening_still_meets_the_code(weakening):
    assert weakening.case in CASES
    changed = weakening.applied((ROOT / weakening.file).read_text(encoding="utf-8"))
    compile(changed, weakening.file, "exec")
