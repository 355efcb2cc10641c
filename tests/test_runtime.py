"""The session: profile, device, reports with goals, and random seeds that nobody else notices."""

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from course_utils import conventions, data, evaluate, plots, runtime, training, widgets
from course_utils.errors import CourseError

NO_DATA: list[dict[str, Any]] = []


@pytest.fixture
def session(shown: list[Any], monkeypatch: pytest.MonkeyPatch) -> runtime.Session:
    """A session of profile cpu in a process that has loaded no data."""
    monkeypatch.setattr(runtime, "sources_in_use", lambda: NO_DATA)
    started = runtime.start("cpu", seed=5)
    shown.clear()
    return started


def report_of(shown: list[Any]) -> dict[str, Any]:
    return shown[-1].bundle[conventions.REPORT_TYPE]


# --- start ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked, environment, profile",
    [
        ("auto", None, "cpu"),
        ("auto", "smoke", "smoke"),
        ("auto", "gpu", "gpu"),
        ("auto", "night", "night"),
        ("cpu", "smoke", "cpu"),
        ("gpu", None, "gpu"),
    ],
)
def test_auto_follows_the_environment_and_a_named_profile_does_not(
    asked: str, environment: str | None, profile: str, monkeypatch: pytest.MonkeyPatch, shown: list[Any]
) -> None:
    if environment:
        monkeypatch.setenv("COURSE_PROFILE", environment)
    session = runtime.start(asked)
    assert session.profile == profile
    assert session.choose(smoke="smoke", cpu="cpu", gpu="gpu", night="night") == profile
    assert runtime.session_profile() == profile


def test_what_has_no_size_for_the_night_has_that_of_profile_cpu(shown: list[Any]) -> None:
    session = runtime.start("night")
    assert session.choose(smoke=1, cpu=2, gpu=3) == 2
    assert session.choose(smoke=1, cpu=2, gpu=3, night=0) == 0
    assert "sizes for a night where a headline needs them" in shown[-1].text


def test_an_unknown_profile_is_refused_and_its_origin_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="PROFILE is 'fast'; it must be 'auto' or one of smoke, cpu, night, gpu"):
        runtime.start("fast")
    monkeypatch.setenv("COURSE_PROFILE", "slow")
    with pytest.raises(ValueError, match="COURSE_PROFILE is 'slow'"):
        runtime.start("auto")


def test_the_session_line_says_what_it_runs_on_and_carries_it_as_data(shown: list[Any]) -> None:
    session = runtime.start("smoke", seed=3)
    (output,) = shown
    assert output.text.startswith(f"Profile smoke on {session.device.type} (")
    assert output.text.endswith("seed 3.") and "\n" not in output.text
    assert set(output.bundle[conventions.SESSION_TYPE]) == {
        "profile",
        "device",
        "threads",
        "precision",
        "torch",
        "seed",
    }


def test_a_device_can_be_forced(monkeypatch: pytest.MonkeyPatch, shown: list[Any]) -> None:
    monkeypatch.setenv("COURSE_DEVICE", "cpu")
    assert runtime.start("cpu").device == torch.device("cpu")


@pytest.mark.parametrize("device", ["mps", "tpu", "cuda:7"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setenv("COURSE_DEVICE", device)
    with pytest.raises(RuntimeError, match=f"COURSE_DEVICE is '{device}', which is not on this machine; there is: cpu"):
        runtime.start("cpu")
    with pytest.raises(CourseError, match=r"Set it to one of these, or unset it, and start again\.$"):
        runtime.pick_device()


@pytest.mark.parametrize("written", ["CPU", " cpu ", "cpu"])
def test_a_device_is_understood_however_it_is_written(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_DEVICE", written)
    assert runtime.pick_device() == torch.device("cpu")


@pytest.mark.parametrize(
    ("profile", "device", "caution"),
    [
        ("smoke", "cpu", "sizes for a trial (the numbers in the text are those of profile cpu), seed 0."),
        ("gpu", "cpu", "sizes for a GPU (there is none here), seed 0."),
        ("gpu", "meta", ""),
        ("cpu", "cpu", ""),
    ],
)
def test_the_session_line_warns_of_sizes_that_fit_neither_text_nor_machine(
    profile: str, device: str, caution: str, monkeypatch: pytest.MonkeyPatch, shown: list[Any]
) -> None:
    monkeypatch.setattr(runtime, "pick_device", lambda: torch.device(device))
    runtime.start(profile)
    assert shown[-1].text.endswith(caution or f"torch {torch.__version__.split('+')[0]}, seed 0.")


def test_the_best_device_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert runtime.pick_device() == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert runtime.pick_device() == torch.device("cuda")


def test_exercises_are_checked_on_the_session_device(monkeypatch: pytest.MonkeyPatch, shown: list[Any]) -> None:
    monkeypatch.setattr(runtime, "_device", torch.device("meta"))
    session = runtime.start("cpu")
    assert runtime.session_device() == session.device


def test_mixed_precision_is_used_only_where_it_was_detected(shown: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_DEVICE", "cpu")
    for fast, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(runtime, "multiplies_bf16_fast", lambda device, fast=fast: fast)
        session = runtime.start("cpu")
        with session.autocast():
            assert nn.Linear(3, 2)(torch.ones(1, 3)).dtype == dtype
        assert session.precision == ("bf16" if fast else "fp32")


@pytest.mark.parametrize("flags, fast", [("fpu avx512_bf16", True), ("amx_bf16 fma", True), ("fpu avx2 bmi", False)])
def test_the_processors_flags_decide_about_bf16(flags: str, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.sys, "platform", "linux")
    monkeypatch.setattr(Path, "read_text", lambda self, **_: f"flags : {flags}\n")
    assert runtime.multiplies_bf16_fast(torch.device("cpu")) is fast


@pytest.mark.parametrize(
    "device, precision, onednn, layout",
    [
        ("cpu", "fp32", True, torch.channels_last),
        ("cpu", "bf16", True, torch.channels_last),
        ("cpu", "fp32", False, torch.contiguous_format),
        ("cuda", "bf16", True, torch.channels_last),
        ("cuda", "fp32", True, torch.contiguous_format),
        ("mps", "fp32", True, torch.contiguous_format),
    ],
)
def test_device_and_precision_decide_about_the_layout_of_images(
    device: str, precision: str, onednn: bool, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: onednn)
    session = runtime.Session("cpu", torch.device(device), 0, precision, torch.Generator())
    assert session.memory_format == layout


def test_a_model_and_its_input_take_the_sessions_layout(shown: list[Any]) -> None:
    session = runtime.start("smoke")
    net = nn.Conv2d(2, 4, 3).to(memory_format=session.memory_format)
    x = torch.rand(3, 2, 8, 8, generator=session.generator)
    laid_out = x.contiguous(memory_format=session.memory_format)
    assert net.weight.is_contiguous(memory_format=session.memory_format)
    torch.testing.assert_close(net(laid_out), nn.functional.conv2d(x, net.weight.contiguous(), net.bias))


def test_the_sessions_generator_follows_its_seed(shown: list[Any]) -> None:
    draws = [torch.rand(3, generator=runtime.start("cpu", seed).generator).tolist() for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


# --- reports ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, goal, met",
    [
        (0.5, "<= 0.5", True),
        (0.5001, "<= 0.5", False),
        (97, ">= 97", True),
        (96.9, ">= 97", False),
        (math.nan, "<= 0.5", False),
        (math.nan, ">= 0.5", False),
        (math.inf, "<= 1e9", False),
        (3.0, None, None),
    ],
)
def test_goals_are_judged_on_real_data(
    value: float, goal: str | None, met: bool | None, session: runtime.Session, shown: list[Any]
) -> None:
    session.report("loss", value, unit="nats", goal=goal)
    result = report_of(shown)
    assert (result["met"], result["judged"], result["why"]) == (met, met is not None, "")
    assert result["value"] == (value if math.isfinite(value) else None)
    assert ("reached" in shown[-1].text, "missed" in shown[-1].text) == (met is True, met is False)


def test_a_report_tells_what_its_training_cost_where_it_is_known(session: runtime.Session, shown: list[Any]) -> None:
    session.report("loss", 0.25, core_seconds=7200.0)
    assert report_of(shown)["core_seconds"] == 7200.0


def test_a_report_carries_all_that_is_needed_to_record_it(session: runtime.Session, shown: list[Any]) -> None:
    session.report("loss", torch.tensor(0.25, requires_grad=True), unit="nats", goal="<= 1")
    expected = {"name": "loss", "value": 0.25, "unit": "nats", "goal": "<= 1", "met": True, "judged": True, "why": ""}
    assert report_of(shown) == expected | {"seed": 5, "profile": "cpu", "device": session.device.type, "data": []}
    assert session.reports == [report_of(shown)]


def test_smoke_is_never_judged_and_says_so(session: runtime.Session, shown: list[Any]) -> None:
    session.profile = "smoke"
    session.report("loss", 99, goal="<= 1")
    assert (report_of(shown)["met"], report_of(shown)["why"]) == (None, "profile smoke")
    assert "not judged (profile smoke)" in shown[-1].text


def test_stand_in_data_are_never_judged_and_named(
    session: runtime.Session, shown: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [{"name": "digits", "source": "digits", "real": True}]
    sources += [{"name": "MNIST", "source": "stand-in: glyphs", "real": False}]
    monkeypatch.setattr(runtime, "sources_in_use", lambda: sources)
    session.report("accuracy", 99, goal=">= 97")
    assert (report_of(shown)["met"], report_of(shown)["why"]) == (None, "stand-in: glyphs")
    assert report_of(shown)["data"] == sources


def test_names_are_escaped_on_the_page(session: runtime.Session, shown: list[Any]) -> None:
    session.report("a < b & c", 1.0, unit="<i>")
    assert "a &lt; b &amp; c" in shown[-1].bundle["text/html"] and "<i>" not in shown[-1].bundle["text/html"]


@pytest.mark.parametrize("goal", ["< 0.5", "<=0.5", "0.5", "<= half", ">= ", "", "== 1", "<= nan"])
def test_a_goal_that_cannot_be_read_is_refused_even_in_smoke(goal: str, session: runtime.Session) -> None:
    session.profile = "smoke"
    with pytest.raises(ValueError, match=r"a goal reads '<= 0\.5' or '>= 97', not"):
        session.report("loss", 1.0, goal=goal)


@pytest.mark.parametrize(
    "value, text",
    [
        (0.123456, "0.1235"),
        (1234.56, "1235"),
        (60000, "60,000"),
        (-2e-7, "-2e-07"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_values_are_shown_to_four_digits(value: float, text: str, session: runtime.Session, shown: list[Any]) -> None:
    session.report("value", value)
    assert shown[-1].text == f"value: {text}"


# --- showing, expected errors, places ---------------------------------------------------------------------------


def test_outside_a_notebook_text_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    runtime.show({"text/plain": "a line", "text/html": "<b>a line</b>"})
    assert capsys.readouterr().out == "a line\n"


def test_an_expected_error_is_shown_in_one_line_and_the_lesson_goes_on(shown: list[Any]) -> None:
    with runtime.expect_error(ValueError):
        raise ValueError("too large")
    assert [output.text for output in shown] == ["As expected, ValueError: too large"]


def test_an_expected_error_that_does_not_come_is_an_error() -> None:
    with pytest.raises(AssertionError, match="expected to raise ValueError, and did not"):
        with runtime.expect_error(ValueError):
            pass


def test_another_error_than_the_expected_one_passes_through() -> None:
    with pytest.raises(KeyError, match="lost"):
        with runtime.expect_error(ValueError):
            raise KeyError("lost")


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "new" / "cache"))
    assert conventions.cache_dir() == tmp_path / "new" / "cache"
    assert list(conventions.cache_dir().iterdir()) == []


def test_a_cache_that_cannot_be_written_is_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OSError, match=r"cannot write to .*file/cache\. Set COURSE_CACHE"):
        conventions.cache_dir()


def test_a_repository_that_cannot_be_written_gives_way_to_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COURSE_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for directory in ("checkout/course_utils", "checkout/data"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "checkout" / "pyproject.toml").write_text("")
    monkeypatch.setattr(conventions, "__file__", str(tmp_path / "checkout" / "course_utils" / "conventions.py"))
    assert conventions.cache_dir() == tmp_path / "checkout" / "data"
    (tmp_path / "checkout" / "data").rmdir()
    (tmp_path / "checkout" / "data").write_text("in the way")
    assert conventions.cache_dir() == tmp_path / ".cache" / "generative-networks-course"


# --- seeds ------------------------------------------------------------------------------------------------------


def use_runtime() -> None:
    session = runtime.start("smoke", seed=9)
    session.report("x", 1.0, goal="<= 2")
    conventions.cache_dir()


def use_training() -> None:
    for _, (x,) in (run := training.steps(training.batches(torch.arange(6.0), size=2), 3, title="t")):
        run.log(x=x.sum())
    run.history.smooth("x")


def use_checkpoints() -> None:
    folder = conventions.cache_dir()
    run = training.steps(range(3), 3, title="t", keep={"w": torch.zeros(2)}, checkpoint=folder / "x.pt", every=-1)
    for _ in run:
        run.log(x=1.0)


def use_plots() -> None:
    plots.lines({"a": [1, 2], "b": plots.band([0, 1], torch.ones(3, 2))}, title="t", alt="a")
    plots.images(torch.zeros(3, 4, 4), title="t", alt="a")
    plots.heatmap(torch.ones(2, 3), title="t", alt="a")
    plots.bars({"a": 1.0}, title="t", alt="a")
    plots.scatter(torch.rand(9, 2, generator=torch.Generator()), torch.arange(9), title="t", alt="a")


def use_widgets() -> None:
    widgets.explore(lambda axes, n: axes.plot([n]), panels=[{"n": 1}], title="t", alt="a", n=(0, 3, 1))


def use_evaluate() -> None:
    evaluate.paired_bootstrap(torch.ones(9), torch.zeros(9), resamples=10, seed=1, block=3)
    evaluate.auroc(torch.ones(9), torch.zeros(9))
    evaluate.psnr(torch.ones(9), torch.zeros(9))


def use_data() -> None:
    data.digits()
    data.glyphs(4, seed=1)
    data.mackey_glass(20, seed=1)
    data.temperature()
    data.binarise(torch.full((3, 4), 0.5), torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "use", [use_runtime, use_training, use_checkpoints, use_plots, use_widgets, use_evaluate, use_data]
)
def test_no_helper_touches_a_global_generator(
    use: Callable[[], None], shown: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    use()  # first imports are not the helpers' business
    before = torch.get_rng_state(), random.getstate(), np.random.get_state(legacy=False)
    use()
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    after = np.random.get_state(legacy=False)
    assert all(np.array_equal(before[2]["state"][key], after["state"][key]) for key in ("key", "pos"))


@pytest.mark.parametrize("use", [use_training, use_plots, use_widgets, use_evaluate, use_data])
def test_no_helper_leaves_torchs_defaults_changed(use: Callable[[], None], shown: list[Any]) -> None:
    def defaults() -> tuple:
        return (
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
        )

    before = defaults()
    use()
    assert defaults() == before


@pytest.mark.parametrize("value", ["", "auto", "cpu"])
def test_an_empty_or_automatic_profile_in_the_environment_means_cpu(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_PROFILE", value)
    assert runtime.start("auto").profile == "cpu"


# --- place ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_placed_network_computes_in_the_session_s_precision_and_answers_in_float32(
    precision: str, session: runtime.Session
) -> None:
    session.precision = precision
    first = nn.Conv2d(2, 3, 3, padding=1)
    network = nn.Sequential(first, nn.Flatten(), nn.Linear(3 * 16, 5))
    x = torch.randn(4, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    plain = network(x)
    placed = session.place(network)
    answer = placed(x)
    assert answer.dtype == torch.float32
    assert torch.allclose(answer, plain, atol=0.05)
    assert torch.equal(answer, answer.bfloat16().float()) == (precision == "bf16")
    assert [id(one) for one in placed.parameters()] == [id(one) for one in network.parameters()]
    assert first.weight.is_contiguous(memory_format=session.memory_format)
    placed.eval()
    assert not network.training
