"""Stills of widgets: what a panel showed when the notebook was saved, as HTML that needs no kernel and no script.

A committed notebook holds no widget state, so a reader on a web page would see nothing where a panel stands.
"""

import math
from collections.abc import Iterable, Mapping
from html import escape

__all__ = ["still"]

State = Mapping[str, Mapping]  # of a notebook's widgets: model id -> model_name, state, buffers

_ROW = "display:flex;flex-wrap:wrap;gap:6px 12px;align-items:center"
_COLUMN = "display:flex;flex-direction:column;gap:4px"
_BOXES = {"VBoxModel": _COLUMN, "BoxModel": _ROW, "HBoxModel": _ROW, "GridBoxModel": _ROW}
_FIELD = "border:1px solid #9aa5b1;border-radius:3px;padding:0 6px"
_CHOSEN = "background:#0B6FB8;color:#fff;border:1px solid #0B6FB8;border-radius:3px;padding:1px 8px"
_FREE = "background:#eef1f4;color:#1f2933;border:1px solid #c3ccd5;border-radius:3px;padding:1px 8px"
_TRACK = "display:inline-block;position:relative;width:160px;height:3px;background:#9aa5b1;margin-right:8px"
_HANDLE = "position:absolute;top:-5px;width:12px;height:12px;border-radius:6px;background:#0B6FB8"


def still(model_id: str, state: State) -> str:
    """Returns a widget as it stood, or an empty text where it shows nothing but progress.

    Args:
        model_id: Of the widget.
        state: Of all widgets, as the notebook's metadata keep it.
    """
    body = _drawn(model_id, state)
    note = "A still of the panel; run the notebook to move it."
    return f'<div style="{_COLUMN};max-width:960px">{body}<small>{note}</small></div>' if body else ""


def _drawn(model_id: str, state: State) -> str:
    model = state.get(model_id.removeprefix("IPY_MODEL_"), {})
    name, own = model.get("model_name", ""), model.get("state", {})
    if _hidden(own, state) or "ProgressModel" in name:
        return ""
    if name in _BOXES:
        return _wrapped([_drawn(child, state) for child in own.get("children", ())], _BOXES[name])
    if name in ("TabModel", "AccordionModel"):
        return _tabs(own, state)
    if name == "HTMLModel":
        return _described(own, str(own.get("value", "")))
    if name == "LabelModel":
        return escape(str(own.get("value", "")))
    if name == "ImageModel":
        return _image(model)
    if name == "OutputModel":
        return _wrapped([_output(output) for output in own.get("outputs", ())], _COLUMN)
    return _control(name, own)


def _hidden(own: Mapping, state: State) -> bool:
    layout = state.get(str(own.get("layout", "")).removeprefix("IPY_MODEL_"), {}).get("state", {})
    return layout.get("display") == "none" or layout.get("visibility") == "hidden"


def _wrapped(parts: Iterable[str], style: str) -> str:
    shown = [part for part in parts if part]
    return f'<div style="{style}">{"".join(f"<div>{part}</div>" for part in shown)}</div>' if shown else ""


def _tabs(own: Mapping, state: State) -> str:
    """Titles in a row, and what the chosen one holds."""
    children, chosen = own.get("children", ()), own.get("selected_index") or 0
    titles = own.get("titles") or [f"{number + 1}" for number in range(len(children))]
    row = "".join(_button(title, on=number == chosen) for number, title in enumerate(titles))
    inside = _drawn(children[chosen], state) if chosen < len(children) else ""
    return f'<div style="{_ROW}">{row}</div><div>{inside}</div>'


def _image(model: Mapping) -> str:
    for buffer in model.get("buffers", ()):
        if buffer.get("path") == ["value"] and buffer.get("encoding") == "base64" and buffer.get("data"):
            kind = escape(str(model["state"].get("format", "png")))
            return f'<img alt="" style="max-width:100%" src="data:image/{kind};base64,{buffer["data"]}">'
    return ""


def _output(output: Mapping) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        return f'<img alt="" style="max-width:100%" src="data:image/png;base64,{data["image/png"]}">'
    if "text/html" in data:
        return "".join(data["text/html"])
    return f"<pre>{escape(''.join(data.get('text/plain', output.get('text', ''))))}</pre>"


def _control(name: str, own: Mapping) -> str:
    """What can be moved: its description and its value."""
    if name in ("ButtonModel", "FileUploadModel"):
        return _button(str(own.get("description", "")), on=False)
    if name == "ToggleButtonModel":
        return _button(str(own.get("description", "")), on=bool(own.get("value")))
    if name == "ToggleButtonsModel":
        options = own.get("_options_labels", ())
        return _described(own, " ".join(_button(t, on=n == own.get("index")) for n, t in enumerate(options)))
    if name == "CheckboxModel":
        return f"{'☑' if own.get('value') else '☐'} {escape(str(own.get('description', '')))}"
    if "_options_labels" in own and isinstance(own.get("index"), int):
        return _described(own, _field(own["_options_labels"][own["index"]]) + ("" if "Slider" in name else " ▾"))
    if "Slider" in name and {"min", "max"} <= set(own):
        return _described(own, _slider(own))
    return _described(own, _field(own["value"])) if own.get("value") not in (None, "") else ""


def _slider(own: Mapping) -> str:
    """A track with its handles, and the value."""
    low, high, value = own["min"], own["max"], own.get("value")
    ends = [end for end in (value if isinstance(value, list | tuple) else [value]) if isinstance(end, int | float)]
    base = own.get("base")  # of a logarithmic one, whose ends are exponents
    places = [100 * ((math.log(end, base) if base else end) - low) / ((high - low) or 1) for end in ends]
    handles = "".join(f'<span style="{_HANDLE};left:{place:.0f}%"></span>' for place in places)
    readout = " to ".join(f"{end:.4g}" for end in ends) if own.get("readout") else ""
    return f'<span style="{_TRACK}">{handles}</span> &nbsp; {readout}'


def _described(own: Mapping, shown: str) -> str:
    said = escape(str(own.get("description", "")))
    return f"{said} {shown}" if said else shown


def _field(value: object) -> str:
    return f'<span style="{_FIELD}">{escape(str(value))}</span>'


def _button(text: str, *, on: bool) -> str:
    return f'<span style="{_CHOSEN if on else _FREE}">{escape(text)}</span>' if text else ""
