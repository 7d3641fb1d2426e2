"""A panel over class maps: image, class, layer, method and share removed; dense beside pruned, with a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape

import ipywidgets as widgets
import numpy as np
import torch
from torch import Tensor, nn

from rsprune_lib.data import Dataset
from rsprune_lib.errors import RspruneError, visible
from rsprune_lib.explain import METHODS, ClassMapper, map_agreement
from rsprune_lib.latest_wins import LatestWins, Turn
from rsprune_lib.plots import Picture, class_map_grid, png

__all__ = ["ClassMapPanel", "MapView"]


@dataclass(frozen=True)
class MapView:
    """What is looked at.

    Attributes:
        image: number of the image among those of the panel.
        label: class that the maps are for; None: what the dense network says.
        layer: name from `cam_layers`.
        method: key of `METHODS`.
        ratio: share of the channels that is removed.
    """

    image: int = 0
    label: int | None = None
    layer: str = ""
    method: str = "gradcam"
    ratio: float = 0.7


class ClassMapPanel:
    """Class maps of a dense and a pruned network, for any image, class, layer, method and share removed.

    Maps are made on a worker thread; of many moves in a row only the last is answered. Networks are kept by ratio.

    Args:
        dense: the trained network.
        pruned: gives the network at a share removed; called once for each.
        data: the data set.
        indices: (N,) numbers of the images in it.
        images: (N, 3, H, W) the same images, normalised.
        ratios: shares to choose from.
        hard: numbers of images (among the N) to reach with one click, and what to call them.
        start: what is shown first.

    Attributes:
        words: the sentence below the picture.
    """

    def __init__(
        self,
        dense: nn.Module,
        pruned: Callable[[float], nn.Module],
        data: Dataset,
        indices: np.ndarray,
        images: Tensor,
        *,
        ratios: Sequence[float],
        hard: Mapping[str, int] | None = None,
        start: MapView | None = None,
    ) -> None:
        self.data, self.indices, self.images, self._pruned = data, indices, images, pruned
        size = (int(images.shape[2]), int(images.shape[3]))
        self._networks: dict[float | None, tuple[nn.Module, ClassMapper]] = {None: (dense, ClassMapper(dense, size))}
        layers = self._networks[None][1].layers
        start = start or MapView(ratio=ratios[len(ratios) // 2])
        self.start = start if start.layer else replace(start, layer=self._networks[None][1].layer)
        self._make_controls(layers, ratios, hard or {})
        self.picture = widgets.Image(format="png", layout={"max_width": "100%", "align_self": "flex-start"})
        self.words, self._quiet = widgets.HTML(), False
        self._worker: LatestWins[MapView] = LatestWins(self._answer)
        for control in (self.image, self.label, self.layer, self.method, self.ratio):
            control.observe(lambda _change: self._moved(), "value")
        rows = [(self.image, self.label), (self.layer, self.method), (self.ratio, self.reset), tuple(self.hard)]
        boxes = [widgets.HBox(row, layout={"flex_flow": "row wrap"}) for row in rows if row]
        self.widget = widgets.VBox([*boxes, self.picture, self.words])
        self.go(self.start)

    def _make_controls(
        self, layers: Mapping[str, tuple[int, int]], ratios: Sequence[float], hard: Mapping[str, int]
    ) -> None:
        style, start, names = {"description_width": "64px"}, self.start, self.data.classes
        self.image = widgets.IntSlider(
            start.image, min=0, max=len(self.indices) - 1, description="image", style=style, continuous_update=False,
            tooltip="Number of the validation image",
        )  # fmt: skip
        self.label = widgets.Dropdown(
            options=[("what the dense network says", -1), *((visible(name), k) for k, name in enumerate(names))],
            value=_shown(start.label), description="class", style=style, tooltip="What the maps speak for",
        )  # fmt: skip
        self.layer = widgets.Dropdown(
            options=[(f"{name} ({h} x {w})", name) for name, (h, w) in layers.items()], value=start.layer,
            description="layer", style=style, tooltip="Whose output is weighted: early, fine; late, knows more",
        )  # fmt: skip
        self.method = widgets.Dropdown(
            options=[(entry.title, name) for name, entry in METHODS.items()], value=start.method,
            description="method", style=style, tooltip="How channels and positions are weighted",
        )  # fmt: skip
        self.ratio = widgets.SelectionSlider(
            options=[(f"{ratio:.0%}", ratio) for ratio in ratios], value=start.ratio, description="removed",
            style=style, continuous_update=False, tooltip="Share of the channels that is removed",
        )  # fmt: skip
        self.reset = widgets.Button(description="Reset", icon="refresh", tooltip="Back to where it started")
        self.reset.on_click(lambda _button: self.go(self.start))
        self.hard = []
        for name, number in hard.items():
            button = widgets.Button(description=name, tooltip=f"Look at image {number}: hard for the pruned network")
            button.on_click(lambda _button, number=number: self.go(replace(self.view, image=number, label=None)))
            self.hard.append(button)

    @property
    def view(self) -> MapView:
        """Where the controls stand."""
        label = self.label.value if self.label.value >= 0 else None
        return MapView(self.image.value, label, self.layer.value, self.method.value, self.ratio.value)

    def go(self, view: MapView) -> None:
        """Moves all controls at once and asks for the maps."""
        self._quiet = True
        try:
            self.image.value, self.label.value, self.ratio.value = view.image, _shown(view.label), view.ratio
            self.layer.value, self.method.value = view.layer, view.method
        finally:
            self._quiet = False
        self._moved()

    def settle(self) -> None:
        """Waits until the picture is up to date, and raises what went wrong."""
        self._worker.settle()

    def figure(self, view: MapView | None = None) -> tuple[Picture, str]:
        """The figure of a view, by default of the present one, and what it says in words."""
        view = view or self.view
        x = self.images[view.image : view.image + 1]
        (dense, first), (pruned, second) = self._network(None), self._network(view.ratio)
        with torch.no_grad():
            says = [network(x)[0].softmax(0) for network in (dense, pruned)]
        label = int(says[0].argmax()) if view.label is None else view.label
        one, other = (m.maps(x, label, method=view.method, layer=view.layer) for m in (first, second))
        maps = {"dense": one, f"{view.ratio:.0%} removed": other}
        row, names = int(self.indices[view.image]), self.data.classes
        picture = class_map_grid(
            self.data.images[row][None], maps, [f"{names[self.data.labels[row]]}; maps for {names[label]}"],
            difference=tuple(maps), synthetic=self.data.synthetic,
            title=f"{METHODS[view.method].title} at {view.layer}",
        )  # fmt: skip
        answers = [f"{names[int(p.argmax())]} ({p.max():.0%})" for p in says]
        alike = float(map_agreement(one, other)[0])
        moved = "one of the maps is blank" if np.isnan(alike) else f"the maps correlate by {alike:.2f}"
        return picture, f"It is {names[self.data.labels[row]]}. Dense: {answers[0]}, pruned: {answers[1]}; {moved}."

    def _network(self, ratio: float | None) -> tuple[nn.Module, ClassMapper]:
        if ratio not in self._networks:
            network = self._pruned(ratio).eval()
            self._networks[ratio] = network, ClassMapper(network, self._networks[None][1].size)
        return self._networks[ratio]

    def _moved(self) -> None:
        if not self._quiet:
            self._worker.submit(self.view)

    def _answer(self, turn: Turn[MapView]) -> None:
        try:
            picture, words = self.figure(turn.job)
            content = png(picture, dpi=120)
        except RspruneError as error:
            if not turn.stale():
                self.words.value = escape(visible(str(error)))
            raise
        if not turn.stale():
            self.picture.value, self.words.value = content, escape(visible(words))

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)


def _shown(label: int | None) -> int:
    """The value of the menu: None would leave it empty."""
    return -1 if label is None else label
