"""Sliders over the shape of a loss: value, slope and pull of the mining loss and the focal loss beside cross-entropy.

Drawing takes a fraction of a second, so a move is answered within its own event, without a worker thread; the figure is
drawn without pyplot and arrives as PNG bytes.
"""

import ipywidgets as widgets
import numpy as np

from rsprune_lib.plots import Picture, loss_views, png
from rsprune_lib.training import LossCurve, loss_curve, make_loss

__all__ = ["LOSS_PRESETS", "LossPanel", "loss_sentence", "shaped_losses"]

LOSS_PRESETS: dict[str, dict[str, float | str]] = {
    "paper's figure": {"distance": "tv", "r1": 1.0, "r2": 0.4, "gamma": 2.0, "classes": 10},
    "paper's code": {"distance": "mean", "r1": 1.0, "r2": 1.0, "gamma": 2.0, "classes": 10},
    "cross-entropy": {"distance": "tv", "r1": 0.0, "r2": 1.0, "gamma": 0.0, "classes": 10},
}
_P = np.linspace(0.005, 0.995, 100)


def shaped_losses(
    distance: str = "tv", r1: float = 1.0, r2: float = 0.4, gamma: float = 2.0, classes: int = 10
) -> dict[str, LossCurve]:
    """Computes the curves of cross-entropy, the mining loss and the focal loss for one setting of the sliders.

    Args:
        distance: ``"tv"`` or ``"mean"``, see `rsprune_lib.training.MiningLoss`.
        r1: Weight of the exponential term.
        r2: Weight of the cross-entropy term.
        gamma: Of the focal loss.
        classes: Number of classes; only ``"mean"`` depends on it.
    """
    return {
        "cross-entropy": loss_curve(make_loss("ce"), _P, classes),
        "mining": loss_curve(make_loss("mining", distance=distance, r1=r1, r2=r2), _P, classes),
        f"focal, γ = {gamma:g}": loss_curve(make_loss("focal", gamma=gamma), _P, classes),
    }


def loss_sentence(curves: dict[str, LossCurve]) -> str:
    """Says in words at which samples the mining loss pulls harder than cross-entropy does."""
    ratio = curves["mining"].pull / curves["cross-entropy"].pull
    at = {p: float(np.interp(p, _P, ratio)) for p in (0.02, 0.3, 0.95)}
    text = ", ".join(f"{value:.2f} times at p = {p:.0%}" for p, value in at.items())
    if max(at.values()) - min(at.values()) < 0.02:
        return f"Here the mining loss is cross-entropy times a constant; it pulls {text}."
    peak = _P[ratio.argmax()]
    where = "hopeless" if peak < 0.05 else "hard" if peak < 0.6 else "already easy"
    return f"Mining pulls, compared with cross-entropy, {text}: it favours samples that are {where}."


class LossPanel(widgets.VBox):
    """Sliders for ``distance``, ``r1``, ``r2``, ``gamma`` and the number of classes, with three views of the losses.

    Args:
        preset: A key of `LOSS_PRESETS` to start with.

    Example:
        >>> LossPanel().r1.value
        1.0
    """

    def __init__(self, preset: str = "paper's figure") -> None:
        start = LOSS_PRESETS[preset]
        self.distance = widgets.ToggleButtons(
            options=[("½ Σ |p − y|", "tv"), ("mean |p − y|", "mean")],
            description="distance",
            value=start["distance"],
            tooltips=("total variation, as in the paper's figure", "mean over the classes, as in the published code"),
            style={"description_width": "70px", "button_width": "110px"},
        )
        self.r1 = _slider("r1", start["r1"], 0, 2, 0.1, "Weight of exp(d + d²)")
        self.r2 = _slider("r2", start["r2"], 0, 2, 0.1, "Weight of cross-entropy in the mining loss")
        self.gamma = _slider("γ", start["gamma"], 0, 5, 0.25, "Focal loss: how fast easy samples are let go")
        self.classes = _slider("classes", start["classes"], 2, 50, 1, "Classes K; the mean distance shrinks with them")
        self.presets = [
            widgets.Button(description=name, tooltip=f"Set all sliders to: {name}", layout={"width": "130px"})
            for name in LOSS_PRESETS
        ]
        self.sentence, self.picture, self._quiet = widgets.HTML(), widgets.Image(format="png"), False
        for button in self.presets:
            button.on_click(lambda button: self.set(button.description))
        for control in self.controls.values():
            control.observe(lambda _change: self.draw(), "value")
        sliders = widgets.HBox([widgets.VBox([self.r1, self.r2]), widgets.VBox([self.gamma, self.classes])])
        super().__init__([widgets.HBox(self.presets), self.distance, sliders, self.sentence, self.picture])
        self.draw()

    @property
    def controls(self) -> dict[str, widgets.Widget]:
        """The controls by the name of what they set."""
        return {name: getattr(self, name) for name in ("distance", "r1", "r2", "gamma", "classes")}

    @property
    def setting(self) -> dict[str, float | str]:
        """Where the controls stand; the arguments of `shaped_losses`."""
        return {name: control.value for name, control in self.controls.items()}

    def set(self, preset: str) -> None:
        """Moves all controls to a preset and draws once."""
        self._quiet = True
        try:
            for name, value in LOSS_PRESETS[preset].items():
                self.controls[name].value = value
        finally:
            self._quiet = False
        self.draw()

    def figure(self) -> Picture:
        """The figure of the present setting."""
        return loss_views(shaped_losses(**self.setting))

    def draw(self) -> None:
        """Answers a move: figure and sentence."""
        if self._quiet:
            return
        curves = shaped_losses(**self.setting)
        self.picture.value = png(loss_views(curves), dpi=90)
        self.sentence.value = loss_sentence(curves)


def _slider(name: str, value: float, low: float, high: float, step: float, tooltip: str) -> widgets.Widget:
    """A slider that tells its value when it is let go; whole numbers where the step is one."""
    kind = widgets.IntSlider if isinstance(value, int) else widgets.FloatSlider
    style = {"description_width": "70px"}
    return kind(value, min=low, max=high, step=step, description=name, tooltip=tooltip, style=style,
                continuous_update=False)  # fmt: skip
