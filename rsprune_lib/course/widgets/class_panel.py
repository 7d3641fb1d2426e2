"""Sliders over a segmentation network: how much stays, and which classes decide what."""

from __future__ import annotations

import html
from dataclasses import replace

import ipywidgets as widgets

from rsprune_lib.course.widgets.class_pruning import RULE_NAMES, ClassPruning, ClassSetting, ClassView
from rsprune_lib.errors import Stopped
from rsprune_lib.latest_wins import LatestWins, Turn
from rsprune_lib.plots import png

__all__ = ["ClassPanel"]

_STYLE = {"description_width": "130px"}
_WIDE = {"width": "450px", "max_width": "100%"}


class ClassPanel(widgets.VBox):
    """Controls, a sentence, the IoU of each class, and one image with its truth, both answers and the mistakes.

    A move is answered on a worker thread; a newer move takes its place.

    Args:
        pruning: what computes.

    Example:
        >>> ClassPanel(ClassPruning(dense, groups, train, val)).settle()  # doctest: +SKIP
    """

    def __init__(self, pruning: ClassPruning) -> None:
        start = pruning.usual()
        self.pruning, self.view, self._quiet = pruning, None, False
        self.keep = _slider("channels that stay", start.keep, 0.1, 1.0, 0.05, "Share of the channels of each layer")
        self.left = _slider("left of the rest", start.left, 0.0, 1.0, 0.1,
                            "Soft mask: what the other channels still send on; 0 removes them")  # fmt: skip
        self.rule = widgets.Dropdown(
            options=[(name, key) for key, name in RULE_NAMES.items()], value=start.rule, description="who decides",
            tooltip="Which classes choose the channels that stay", style=_STYLE, layout=_WIDE,
        )  # fmt: skip
        self.minority = _slider("rare classes", start.minority, 1, len(pruning.order.names), 1,
                                "How many of the rarest classes have a say")  # fmt: skip
        self.repair = widgets.Checkbox(
            value=start.repair, description="closed form after the cut", style=_STYLE, layout=_WIDE,
            tooltip="Refit every layer to what the dense network sends on, without labels",
        )  # fmt: skip
        self.image = _slider("image", start.image, 0, pruning.images - 1, 1, "Which validation image is shown")
        self.reset = widgets.Button(description="Reset", tooltip="Back to the first setting", icon="undo")
        self.sentence = widgets.HTML("measuring …")
        self.curves, self.pictures = (widgets.Image(format="png", layout={"max_width": "100%"}) for _ in range(2))
        self._worker: LatestWins[ClassSetting] = LatestWins(self._work)
        for control in self.controls.values():
            control.observe(lambda _change: self.ask(), "value")
        self.reset.on_click(lambda _button: self.set(pruning.usual()))
        left, right = ((self.keep, self.rule, self.minority), (self.left, self.repair, self.image))
        sliders = widgets.HBox([widgets.VBox(left), widgets.VBox(right)], layout={"flex_flow": "row wrap"})
        super().__init__([sliders, self.reset, self.sentence, self.pictures, self.curves])
        self.ask()

    @property
    def controls(self) -> dict[str, widgets.Widget]:
        """The controls by the name of the field of `ClassSetting` that they set."""
        return {name: getattr(self, name) for name in ("keep", "rule", "minority", "left", "repair", "image")}

    @property
    def setting(self) -> ClassSetting:
        """Where the controls stand."""
        return ClassSetting(**{name: control.value for name, control in self.controls.items()})

    def set(self, setting: ClassSetting) -> None:
        """Moves all controls and asks once."""
        self._quiet = True
        try:
            for name, control in self.controls.items():
                control.value = getattr(setting, name)
        finally:
            self._quiet = False
        self.ask()

    def ask(self) -> None:
        """Has the setting computed; what it replaces is dropped."""
        if not self._quiet:
            self.minority.disabled = self.rule.value != "minority_group"
            self.repair.disabled = self.left.value > 0
            self._worker.submit(replace(self.setting))

    def settle(self, timeout: float = 120.0) -> ClassPanel:
        """Waits until the last move is answered, and returns the panel.

        Raises:
            TimeoutError: it takes longer than ``timeout`` seconds.
        """
        self._worker.settle(timeout)
        return self

    def _work(self, turn: Turn[ClassSetting]) -> None:
        def check() -> None:
            if turn.stale():
                raise Stopped("A newer move takes the place of this one.")

        try:
            view = self.pruning.apply(turn.job, check)
            pictures, curves = (png(figure(view), dpi=100) for figure in (self.pruning.pictures, self.pruning.curves))
            check()
        except Stopped:
            return
        except Exception as error:  # shown where the answer would stand; settle() raises it too
            self.sentence.value = f"<b>{html.escape(str(error))}</b>"
            raise
        self.view: ClassView | None = view
        self.sentence.value = html.escape(self.pruning.sentence(view))
        self.pictures.value, self.curves.value = pictures, curves


def _slider(name: str, value: float, low: float, high: float, step: float, tooltip: str) -> widgets.Widget:
    """A slider that tells its value when it is let go; whole numbers where the step is one."""
    kind = widgets.IntSlider if isinstance(step, int) else widgets.FloatSlider
    shown = "d" if isinstance(step, int) else ".0%"
    return kind(value, min=low, max=high, step=step, description=name, tooltip=tooltip, style=_STYLE, layout=_WIDE,
                readout_format=shown, continuous_update=False)  # fmt: skip
