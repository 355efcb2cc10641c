"""Sliders that a lesson can live without: a static figure always stands, the slider is added where it works."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from course_utils import plots

Control = tuple[float, float, float] | list[Any]


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
    """Show `draw(axes, **values)` for each of `panels` side by side, then sliders for trying other values.

    Each control is (low, high, step) for a slider or a list of choices. The panels are the static fallback: they
    are what a headless run, GitHub or a printed page shows, and they start the sliders at the first panel. `draw`
    is called for them outside any widget, so an error in it stops the cell instead of vanishing.
    Raises ValueError when there is no panel, or one that the controls cannot show.
    """
    _check(panels, controls)
    with plots.figure(title=title, alt=alt, width=width, height=height, columns=len(panels)) as axes:
        for place, panel in enumerate(panels):
            cell = axes if len(panels) == 1 else axes[place]
            draw(cell, **panel)
            cell.set_title(_caption(panel))
    _sliders(draw, panels[0], controls, alt)


def _check(panels: Sequence[Mapping[str, Any]], controls: Mapping[str, Control]) -> None:
    if not panels:
        raise ValueError("explore needs at least one panel for its static figure")
    for panel in panels:
        if set(panel) != set(controls):
            raise ValueError(f"a panel gives {sorted(panel)}, the controls are {sorted(controls)}")
        for name, control in controls.items():
            value = panel[name]
            if value not in control if isinstance(control, list) else not control[0] <= value <= control[1]:
                raise ValueError(f"a panel gives {name} = {value!r}, which its control {control} cannot show")


def _sliders(draw: Callable[..., None], first: Mapping[str, Any], controls: Mapping[str, Control], alt: str) -> None:
    try:
        import ipywidgets
    except ImportError:
        return
    from IPython.display import display

    made = {name: _slider(ipywidgets, name, control, first[name]) for name, control in controls.items()}

    def redraw(**values: Any) -> None:
        with plots.figure(title=_caption(values), alt=f"{alt} Here: {_caption(values)}.", width=6.0) as axes:
            draw(axes, **values)

    output = ipywidgets.interactive_output(redraw, made)
    display(ipywidgets.VBox([*made.values(), output]))


def _slider(ipywidgets: Any, name: str, control: Control, value: Any) -> Any:
    label = {"description": name.replace("_", " "), "style": {"description_width": "initial"}}
    if isinstance(control, list):
        return ipywidgets.SelectionSlider(options=control, value=value, continuous_update=False, **label)
    low, high, step = control
    if all(isinstance(number, int) for number in control):
        kind, extra = ipywidgets.IntSlider, {}
    else:
        digits = max(-int(Decimal(str(number)).normalize().as_tuple().exponent) for number in (low, step, 0))
        kind, extra = ipywidgets.FloatSlider, {"readout_format": f".{digits}f"}
    return kind(value=value, min=low, max=high, step=step, continuous_update=False, **extra, **label)


def _caption(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} = {value}" for name, value in values.items())
