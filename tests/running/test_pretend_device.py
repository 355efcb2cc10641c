"""The way onto a GPU, on machines that have none: a device that refuses what a GPU refuses, and every lesson on it."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from course_utils.notebooks import find
from course_utils.notebooks.find import Lesson
from course_utils.running.runner import run_lessons
from course_utils.running.runs import Options

TESTS = Path(__file__).parents[1]
LESSONS = find.lessons(TESTS.parent)
QUICK = ("02a", "07a")  # recurrences and convolutions: these run in `make test-unit`, too

# Each is run beside `here` and `there`, both (3, 4), and generators `mine` of the CPU and `its` of the device.
REFUSED = {
    "here + there": "Expected all tensors to be on the same device, but found at least two devices, pretend:0 and cpu!",
    "torch.cat([there, here])": "same device",
    "there @ here.T": "same device",
    "there.add_(here)": "same device",
    "torch.where(there > 0, there, here)": "same device",
    "nn.Linear(4, 2)(there)": "same device",
    "there[torch.tensor([0])] = here[:1]": "same device",
    "here[torch.tensor([0], device=DEVICE)]": "indices should be either on cpu or on the same device",
    "torch.randn(3, generator=mine, device=DEVICE)": "Expected a 'pretend' device type for generator but found 'cpu'",
    "torch.randn(3, generator=its)": "Expected a 'cpu' device type for generator but found 'pretend'",
    "there.normal_(generator=mine)": "generator",
    "torch.bernoulli(here.abs().clamp(max=1), generator=its)": "generator",
    "there.numpy()": "can't convert pretend:0 device type tensor to numpy. Use Tensor.cpu()",
    "np.asarray(there)": "can't convert",
}
ALLOWED = {
    "there + torch.tensor(2.0)": "a tensor without dimensions may lie on the CPU",
    "there[torch.tensor([0, 2])]": "indices may, too",
    "there.copy_(here).cpu() + here": "copying is how to get there and back",
    "torch.randn(3, generator=its, device=DEVICE) + there[0, 0]": "its own generator",
    "there.cpu().numpy()": "numbers are fetched first",
    "print(f'{there.sum():.2f}', there.tolist(), there.max().item())": "as numbers, they come by themselves",
    "torch.zeros_like(there, device='cpu') + here": "made on the CPU in the likeness of one there",
}
EQUAL = {
    "linear": "nn.Linear(4, 2), x",
    "lstm": "nn.LSTM(4, 5, batch_first=True), x.unsqueeze(0)",
    "gru": "nn.GRU(4, 5), x.unsqueeze(1)",
    "cells": "nn.LSTMCell(4, 5), x",
    "convolution": "nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 3, 2, padding=1), nn.BatchNorm2d(3)), x",
    "attention": "nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True), x.unsqueeze(0)",
}
SCRIPT = """
import copy, io, json, sys
import numpy as np
import torch
from torch import nn
sys.path.insert(0, sys.argv[1])
import pretend_device
from course_utils import runtime, training
pretend_device.serve_lessons()
DEVICE = pretend_device.DEVICE
refused, allowed, equal = json.loads(sys.argv[2])

def outcome(code):
    torch.manual_seed(0)
    here = torch.randn(3, 4)
    names = dict(here=here, there=here.to(DEVICE), mine=torch.Generator().manual_seed(0), np=np, nn=nn, torch=torch)
    names |= dict(its=torch.Generator(DEVICE).manual_seed(0), DEVICE=DEVICE, print=lambda *texts: None)
    try:
        exec(code, names)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""

def trained(code, device):
    "What three steps of gradient descent make of a network's weights, on a device."
    torch.manual_seed(0)
    network, x = eval(code, dict(nn=nn, x=torch.randn(3, 4)))
    network, x = network.to(device), x.to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, fused=True)
    for _ in range(3):
        results = network(x)
        results = results if isinstance(results, tuple) else (results,)
        optimizer.zero_grad()
        results[0].square().sum().backward()
        optimizer.step()
    return torch.cat([p.detach().cpu().flatten() for p in network.parameters()])

def interrupted(path):
    "Whether a training on the device that was interrupted, and goes on with new objects, ends like one that was not."
    ends = []
    for at in (None, 3):
        for attempt in (at, None):
            torch.manual_seed(0)
            network = nn.Linear(4, 1).to(DEVICE)
            optimizer = torch.optim.AdamW(network.parameters(), fused=True)
            chance = torch.Generator(DEVICE).manual_seed(0)
            keep = {"network": network, "optimizer": optimizer, "chance": chance}
            run = training.steps(range(6), 6, "there", keep, path if at else None, every=-1)
            try:
                for step, _ in run:
                    loss = network(torch.randn(3, 4, generator=chance, device=DEVICE)).square().mean()
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    if step == attempt:
                        raise KeyboardInterrupt
                    run.log(loss=loss)
            except KeyboardInterrupt:
                training._LEFT.clear()
                continue
            break
        ends.append(network.weight.detach().cpu())
    return torch.equal(*ends)

found = {
    "refused": {code: outcome(code) for code in refused},
    "allowed": {code: outcome(code) for code in allowed},
    "equal": {name: (trained(code, "cpu") - trained(code, DEVICE)).abs().max().item() for name, code in equal.items()},
    "copy": str(copy.deepcopy(nn.Linear(2, 2).to(DEVICE)).weight.device),
    "session": str(runtime.start("smoke").device),
    "interrupted": interrupted(sys.argv[3]),
}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What the device does, in a process of its own, since it cannot be taken out of one."""
    cases = json.dumps([list(REFUSED), list(ALLOWED), EQUAL])
    path = tmp_path_factory.mktemp("there") / "run.pt"
    command = [sys.executable, "-c", SCRIPT, str(TESTS), cases, str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("code", REFUSED)
def test_what_a_gpu_refuses_is_refused(code: str, found: dict) -> None:
    assert found["refused"][code] and REFUSED[code] in found["refused"][code]


@pytest.mark.parametrize("code", ALLOWED)
def test_what_a_gpu_allows_is_done(code: str, found: dict) -> None:
    assert found["allowed"][code] == "", ALLOWED[code]


@pytest.mark.parametrize("name", EQUAL)
def test_networks_are_trained_as_on_the_cpu(name: str, found: dict) -> None:
    assert found["equal"][name] < 1e-5


def test_a_copy_of_a_network_stays_there_and_sessions_begin_there(found: dict) -> None:
    assert (found["copy"], found["session"]) == ("pretend:0", "pretend:0")


def test_a_training_there_goes_on_as_if_it_had_not_been_interrupted(found: dict) -> None:
    assert found["interrupted"]


def _marked(lesson: Lesson) -> object:
    return pytest.param(lesson, marks=() if lesson.number in QUICK else pytest.mark.nightly, id=lesson.path.stem)


@pytest.mark.parametrize("lesson", map(_marked, LESSONS))
def test_a_lesson_runs_on_a_device_that_is_strict(
    lesson: Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    startup = tmp_path / "ipython" / "profile_default" / "startup" / "device.py"
    startup.parent.mkdir(parents=True)
    startup.write_text(  # it leaves no name behind that the lesson might have forgotten to import
        f"__import__('course_utils')\n__import__('sys').path.append({str(TESTS)!r})\n"
        "__import__('pretend_device').serve_lessons()\n"
    )
    settings = {"IPYTHONDIR": tmp_path / "ipython", "COURSE_CACHE": tmp_path, "COURSE_DATA": "", "COURSE_OFFLINE": "1"}
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    (run,) = run_lessons([lesson], Options("smoke", out=tmp_path / "out", html=False), Console(file=io.StringIO()))
    assert run.reasons == []
    assert run.session["device"] == "pretend"
