"""A widget that shows the gates of any layer for any image or class, over what they are on average."""

from dataclasses import dataclass

import ipywidgets as widgets
import numpy as np

from rsprune_lib.data import Dataset
from rsprune_lib.errors import visible
from rsprune_lib.explain import GateValues
from rsprune_lib.plots import Picture, gate_profile, png
from rsprune_studio.engine.threads import LatestWins, Turn

__all__ = ["GateBrowser", "GateView", "draw_gates"]


@dataclass(frozen=True)
class GateView:
    """What is looked at.

    Attributes:
        norm: batch norm before the gates, which names the layer.
        kind: ``"class"`` (mean gates of a class) or ``"image"`` (gates of one image).
        number: of the class, or of the image among those that were collected.
    """

    norm: str
    kind: str = "class"
    number: int = 0


def draw_gates(view: GateView, gates: GateValues, data: Dataset, indices: np.ndarray) -> Picture:
    """Draws a view; nothing is computed by the network, so it takes some ten milliseconds.

    Args:
        view: What to look at.
        gates: Gates of the images.
        data: Their data set.
        indices: (N,) the images' indices in it.
    """
    values, labels = gates.values[view.norm].double(), gates.labels.numpy()
    if view.kind == "class":
        members = np.flatnonzero(labels == view.number)
        mine, shown = gates.by_class(view.norm, data.num_classes)[view.number], members[:4]
        caption = f"{data.classes[view.number]}, mean of {len(members)} images"
    else:
        mine, shown = values[view.number], np.array([view.number])
        caption = data.classes[labels[view.number]]
    deviation = values.std(0, correction=0)
    away = ((mine - values.mean(0)).abs() / deviation.clamp_min(1e-12)).mean()
    title = f"{view.norm}: on average {away:.1f} deviations from the mean gate"
    return gate_profile(
        data.images[indices[shown]],
        mine,
        values.mean(0),
        deviation,
        caption=caption,
        title=title,
        synthetic=data.synthetic,
    )


class GateBrowser:
    """Controls for a layer, a class or an image, and the figure that belongs to them.

    Drawing happens on a worker thread; of many moves in a row only the last is drawn.

    Args:
        gates: Gates of some images, in the order of ``indices``.
        data: Their data set.
        indices: (N,) the images' indices in it, e.g. ``Batches(...).indices``.
        start: What is shown first; by default the first layer's gates for the first class.

    Example:
        >>> GateBrowser(gates, data, batches.indices)  # doctest: +SKIP
    """

    def __init__(self, gates: GateValues, data: Dataset, indices: np.ndarray, start: GateView | None = None) -> None:
        self.gates, self.data, self.indices = gates, data, indices
        start = start or GateView(next(iter(gates.values)))
        present = [(visible(data.classes[k]), k) for k in gates.labels.unique().tolist()]
        style = {"description_width": "48px"}
        self.norm = widgets.Dropdown(
            options=list(gates.values), value=start.norm, description="layer", style=style,
            tooltip="The batch norm whose output these gates scale",
        )  # fmt: skip
        self.kind = widgets.ToggleButtons(
            options=["class", "image"], value=start.kind, description="show", style={**style, "button_width": "72px"},
            tooltips=["Mean gates of one class", "Gates of one image"],
        )  # fmt: skip
        self.label = widgets.Dropdown(
            options=present, description="class", style=style, tooltip="Whose mean gates are drawn",
            value=start.number if start.kind == "class" else present[0][1],
        )  # fmt: skip
        self.image = widgets.IntSlider(
            min=0, max=len(gates.labels) - 1, description="image", style=style, continuous_update=False,
            value=start.number if start.kind == "image" else 0, tooltip="Number of the validation image",
        )  # fmt: skip
        self.reset = widgets.Button(description="Reset", icon="refresh", tooltip="Back to where it started")
        self.picture = widgets.Image(format="png", value=png(self._figure(start), dpi=90))
        self.words = widgets.HTML()
        self.start, self._quiet = start, False
        self._worker: LatestWins[GateView] = LatestWins(self._draw)
        for control in (self.norm, self.kind, self.label, self.image):
            control.observe(lambda _change: self._moved(), "value")
        self.reset.on_click(lambda _button: self.go(self.start))
        self._enable()
        top = widgets.HBox([self.norm, self.kind, self.reset], layout={"flex_flow": "row wrap"})
        self.widget = widgets.VBox([top, widgets.HBox([self.label, self.image]), self.picture, self.words])

    @property
    def view(self) -> GateView:
        """What the controls ask for."""
        number = self.label.value if self.kind.value == "class" else self.image.value
        return GateView(self.norm.value, self.kind.value, number)

    def go(self, view: GateView) -> None:
        """Moves all controls at once and draws."""
        self._quiet = True
        try:
            self.norm.value, self.kind.value = view.norm, view.kind
            (self.label if view.kind == "class" else self.image).value = view.number
        finally:
            self._quiet = False
        self._moved()

    def settle(self) -> None:
        """Waits until the picture is up to date, and raises what drawing raised."""
        self._worker.settle()

    def _enable(self) -> None:
        self.label.disabled, self.image.disabled = self.kind.value != "class", self.kind.value != "image"

    def _moved(self) -> None:
        if not self._quiet:
            self._enable()
            self._worker.submit(self.view)

    def _figure(self, view: GateView) -> Picture:
        return draw_gates(view, self.gates, self.data, self.indices)

    def _draw(self, turn: Turn[GateView]) -> None:
        try:
            picture, words = png(self._figure(turn.job), dpi=90), ""
        except Exception as error:
            if not turn.stale():
                self.words.value = f"This view could not be drawn: {type(error).__name__}."
            raise
        if not turn.stale():
            self.picture.value, self.words.value = picture, words

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)
