"""Executed notebook files: what went wrong in them, and what to strip before one is committed."""

import base64
import io
import re

import nbformat
from PIL import Image

from rsprune_lib.course.headless.stills import still

__all__ = ["cell_errors", "strip", "widget_errors"]

WIDGETS = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def widget_errors(notebook: nbformat.NotebookNode) -> list[str]:
    """Returns the errors that callbacks left inside ``Output`` widgets; a headless run exits 0 in spite of them.

    Args:
        notebook: An executed notebook that holds its widget state.
    """
    state = notebook.metadata.get("widgets", {}).get(WIDGETS, {}).get("state", {})
    found = []
    for widget in state.values():
        for output in widget.get("state", {}).get("outputs") or ():
            if output.get("output_type") == "error":
                found.append(f"widget callback raised {output.get('ename')}: {output.get('evalue')}")
    return found


def cell_errors(notebook: nbformat.NotebookNode) -> list[str]:
    """Returns the errors of cells that were not meant to raise (no tag ``raises-exception``)."""
    found = []
    for cell in notebook.cells:
        if "raises-exception" in cell.metadata.get("tags", []):
            continue
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                found.append(f"In [{cell.execution_count}] raised {output.ename}: {_ANSI.sub('', output.evalue)}")
    return found


def strip(notebook: nbformat.NotebookNode, hide: dict[str, str], colours: int | None = None) -> nbformat.NotebookNode:
    """Returns a copy that is fit to be committed: figures and text stay, everything that differs by run or place goes.

    Of a widget a still is left, see `rsprune_lib.course.headless.stills`.

    Args:
        notebook: An executed notebook.
        hide: Paths of this machine -> what to write in their place.
        colours: Reduce PNG figures to this many colours to save space.
    """
    notebook = nbformat.from_dict(notebook)
    state = notebook.metadata.get("widgets", {}).get(WIDGETS, {}).get("state", {})
    for key in ("widgets", "papermill"):
        notebook.metadata.pop(key, None)
    notebook.cells = [c for c in notebook.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    for cell in notebook.cells:
        kept = {key: cell.metadata[key] for key in ("tags", "jupyter", "collapsed") if cell.metadata.get(key)}
        cell.metadata = nbformat.from_dict(kept)
        if cell.cell_type == "code":
            seen = [_stilled(output, state) for output in cell.outputs]
            cell.outputs = [_clean(output, hide, colours) for output in seen if not _transient(output)]
    for number, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), 1):
        cell.execution_count = number
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number
    return notebook


def _stilled(output: nbformat.NotebookNode, state: dict) -> nbformat.NotebookNode:
    """An output with a still in the place of a widget's view."""
    view = output.get("data", {}).get(VIEW)
    drawn = still(view["model_id"], state) if view else ""
    if drawn:
        output.data = nbformat.from_dict({"text/html": drawn, "text/plain": "A panel; run the notebook to move it."})
    return output


def _transient(output: nbformat.NotebookNode) -> bool:
    """Tells outputs that mean nothing on a page: views without a still, and all of stderr (progress, warnings)."""
    return VIEW in output.get("data", {}) or output.get("name") == "stderr"


def _clean(output: nbformat.NotebookNode, hide: dict[str, str], colours: int | None) -> nbformat.NotebookNode:
    data = output.get("data", {})
    for holder, key in [(output, "text"), *((data, k) for k in data if k.startswith("text/"))]:
        if isinstance(holder.get(key), str):
            for path, word in hide.items():
                holder[key] = holder[key].replace(path, word)
    if colours and "image/png" in data:
        data["image/png"] = _fewer_colours(data["image/png"], colours)
    return output


def _fewer_colours(encoded: str, colours: int) -> str:
    picture = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")
    small, buffer = picture.quantize(colours, dither=Image.Dither.NONE), io.BytesIO()
    small.save(buffer, "PNG", optimize=True)
    shorter = base64.b64encode(buffer.getvalue()).decode("ascii")
    return shorter if len(shorter) < len(encoded) else encoded
