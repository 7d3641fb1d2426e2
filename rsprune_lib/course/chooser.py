"""A drop-down that shows one figure at a time: more pictures than a page should hold."""

from collections.abc import Callable, Mapping

import ipywidgets as widgets
from matplotlib.figure import Figure

from rsprune_lib.plots import png

__all__ = ["Chooser"]


class Chooser:
    """Draws the figure that is chosen, when it is chosen.

    The widget gets PNG bytes of a figure that was drawn without pyplot, so it may be updated from any thread.

    Args:
        figures: Name of an entry -> function without arguments that draws its figure.
        description: What stands before the drop-down.
        tooltip: What it is for, in one sentence.

    Example:
        >>> Chooser({"Forest": lambda: contact_sheet(data.images[:20])}, "class")  # doctest: +SKIP
    """

    def __init__(self, figures: Mapping[str, Callable[[], Figure]], description: str, tooltip: str = "") -> None:
        self.figures = dict(figures)
        self.menu = widgets.Dropdown(options=list(self.figures), description=description, tooltip=tooltip)
        self.picture = widgets.Image(format="png")
        self.widget = widgets.VBox([self.menu, self.picture])
        self.menu.observe(self.draw, "value")
        self.draw()

    def draw(self, _change: object = None) -> None:
        """Shows the figure of the entry that is chosen now."""
        if self.menu.value is not None:
            self.picture.value = png(self.figures[self.menu.value](), dpi=90)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)
