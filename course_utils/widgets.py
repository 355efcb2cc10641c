"""Controls that a lesson can live without: a static figure always stands, sliders and boxes are added where they work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from course_utils import display, plots

Control = tuple[float, float, float] | list[Any] | str


def explore(
    draw: Callable[..., None],
    *,
    panels: Sequence[Mapping[str, Any]],
    title: str,
    alt: str,
    width: float = 9.0,
    height: float = 3.0,
    **controls: Control,
) -> None:
    """Show `draw(axes, **values)` for each of `panels` side by side, then controls for trying other values.

    Each control is (low, high, step) for a slider, a list of choices, or a string for a text box, which shows that
    string while it is empty (with a newline in it, or in the first panel's text, the box takes several lines). The
    panels are the static fallback: they are what a headless run, GitHub or a printed page shows, and the controls
    start at the first of them. `draw` is called for the panels outside any widget, so an error in it stops the cell;
    one that a control's value causes is shown in one line below the controls.
    Raises ValueError when there is no panel, or one that the controls cannot show.
    """
    _check(panels, controls)
    with plots.figure(title=title, alt=alt, width=width, height=height, columns=len(panels)) as axes:
        for place, panel in enumerate(panels):
            cell = axes if len(panels) == 1 else axes[place]
            draw(cell, **panel)
            cell.set_title(_title(panel, controls))
    _sliders(draw, panels[0], controls, alt)


def _check(panels: Sequence[Mapping[str, Any]], controls: Mapping[str, Control]) -> None:
    if not panels:
        raise ValueError("explore needs at least one panel for its static figure")
    for panel in panels:
        if set(panel) != set(controls):
            raise ValueError(f"a panel gives {sorted(panel)}, the controls are {sorted(controls)}")
        for name, control in controls.items():
            value = panel[name]
            if not _can_show(control, value):
                raise ValueError(f"a panel gives {name} = {value!r}, which its control {control} cannot show")


def _can_show(control: Control, value: Any) -> bool:
    if isinstance(control, str):
        return isinstance(value, str)
    return value in control if isinstance(control, list) else control[0] <= value <= control[1]


def _sliders(draw: Callable[..., None], first: Mapping[str, Any], controls: Mapping[str, Control], alt: str) -> None:
    try:
        import ipywidgets
    except ImportError:
        return
    from IPython import display as ipython

    made = {name: _widget(ipywidgets, name, control, first[name]) for name, control in controls.items()}

    def redraw(**values: Any) -> None:
        try:
            described = f"{alt} Here: {_caption(values, controls)}."
            with plots.figure(title=_title(values, controls), alt=described, width=6.0) as axes:
                draw(axes, **values)
        except Exception as error:  # ipywidgets would show its own stack around the student's mistake
            display.show({"text/plain": " ".join(f"{type(error).__name__}: {error}".split())})

    output = ipywidgets.interactive_output(redraw, made)
    ipython.display(ipywidgets.VBox([*made.values(), output]))


def _widget(ipywidgets: Any, name: str, control: Control, value: Any) -> Any:
    label = {"description": name.replace("_", " "), "style": {"description_width": "initial"}}
    if isinstance(control, str):
        kind = ipywidgets.Textarea if "\n" in control + value else ipywidgets.Text
        return kind(value=value, placeholder=control, continuous_update=False, **label)
    if isinstance(control, list):
        return ipywidgets.SelectionSlider(options=control, value=value, continuous_update=False, **label)
    low, high, step = control
    if all(isinstance(number, int) for number in control):
        kind, extra = ipywidgets.IntSlider, {}
    else:
        digits = max(-int(Decimal(str(number)).normalize().as_tuple().exponent) for number in (low, step, 0))
        kind, extra = ipywidgets.FloatSlider, {"readout_format": f".{digits}f"}
    return kind(value=value, min=low, max=high, step=step, continuous_update=False, **extra, **label)


def _caption(values: Mapping[str, Any], controls: Mapping[str, Control]) -> str:
    """The values in words; free text in quotes, with its newlines as \\n, and cut when it is long."""
    words = []
    for name, value in values.items():
        if isinstance(controls[name], str):
            value = repr(value if len(value) <= 40 else f"{value[:39]}…")
        words.append(f"{name.replace('_', ' ')} = {value}")
    return ", ".join(words)


def _title(values: Mapping[str, Any], controls: Mapping[str, Control]) -> str:
    return _caption(values, controls).replace("$", r"\$")  # to matplotlib, $ starts a formula
