"""Curves that grow while a network trains in a notebook, with a button that stops it.

The widget gets PNG bytes of a figure that was drawn without pyplot, so it may be updated from any thread.
"""

import time

import ipywidgets as widgets
from torch import nn

from rsprune_lib.plots import png, training_curves
from rsprune_lib.training import Callback, StopTraining

__all__ = ["LiveCurves"]


class LiveCurves(Callback):
    """A callback of `rsprune_lib.training.fit` that shows progress, loss and accuracy as they come.

    Args:
        epochs: Length of the run, for the horizontal axis.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Example:
        >>> live = LiveCurves(epochs=10, title="Training resnet18_se")  # doctest: +SKIP
        >>> display(live); fit(model, data, recipe, callbacks=[live])  # doctest: +SKIP
    """

    def __init__(self, epochs: int, title: str = "", synthetic: bool = False) -> None:
        self.epochs, self.title, self.synthetic = epochs, title, synthetic
        self.stopping, self._told = False, 0.0
        self.bar = widgets.IntProgress(0, 0, 1, layout={"width": "320px"})
        self.status = widgets.HTML("waiting for the first batch")
        self.stop = widgets.Button(description="Stop", icon="stop", tooltip="End training now and keep the best epoch")
        self.picture = widgets.Image(format="png", value=self._draw([]))
        self.stop.on_click(self.ask_to_stop)
        self.widget = widgets.VBox([widgets.HBox([self.bar, self.stop, self.status]), self.picture])

    def ask_to_stop(self, _button: widgets.Button | None = None) -> None:
        """Ends training at the next look at the loss."""
        self.stopping = True
        self.stop.disabled = True
        self.status.value = "stopping …"

    def on_step(self, done: int, total: int, loss: float) -> None:
        """Moves the bar, at most five times a second; raises `StopTraining` once the button was pressed."""
        if self.stopping:
            self.status.value = "stopped; the best epoch so far is kept"
            raise StopTraining
        if done == total or time.monotonic() - self._told > 0.2:
            self._told = time.monotonic()
            self.bar.max, self.bar.value = total, done
            self.status.value = (
                f"epoch {min(self.epochs, done * self.epochs // total + 1)} of {self.epochs} · loss {loss:.3f}"
            )

    def on_epoch(self, history: list[dict], model: nn.Module) -> None:
        """Draws the curves anew."""
        self.picture.value = self._draw(history)
        if len(history) >= self.epochs:
            self.stop.disabled = True
            self.bar.bar_style = "success"
            best = max(row["val_accuracy"] for row in history)
            self.status.value = f"done: best validation accuracy {best:.1%}"

    def _draw(self, history: list[dict]) -> bytes:
        return png(training_curves(history, epochs=self.epochs, title=self.title, synthetic=self.synthetic), dpi=90)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)
