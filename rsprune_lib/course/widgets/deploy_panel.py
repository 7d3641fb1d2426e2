"""A network at work, chosen with a few controls: where it lies among accuracy, time and size; a budget picks."""

from collections.abc import Mapping, Sequence
from html import escape

import ipywidgets as widgets

from rsprune_lib.plots import Picture, deployed_front, png

__all__ = ["DeployPanel", "within_budget"]


def within_budget(rows: Sequence[Mapping], budget_ms: float, batch: str) -> Mapping | None:
    """The most accurate row that takes at most so many milliseconds a batch; of equals, the one with the smaller file.

    Args:
        rows: `rsprune_lib.deploy.BenchRow.to_dict` of each, with ``score``.
        budget_ms: milliseconds a batch.
        batch: batch size, as a key of ``times``.

    Returns:
        The row; None where none fits.
    """
    fitting = [row for row in rows if took(row, batch) <= budget_ms]
    return max(fitting, key=lambda row: (row["score"], -row["bytes"]), default=None)


def took(row: Mapping, batch: str) -> float:
    """Milliseconds a batch; those of computing where other programs had the processor."""
    time = row["times"][batch]
    return time["own_ms"] if time["busy"] else time["ms"]


class DeployPanel(widgets.VBox):
    """Network, runtime, batch and threads as controls, a budget that picks, one figure and one sentence.

    Args:
        tables: number of threads -> rows of a bench, see `rsprune_lib.deploy.BenchRow.to_dict`; all with the same
            networks, runtimes and batch sizes.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Example:
        >>> DeployPanel({1: rows}).pick(0.5)  # doctest: +SKIP
    """

    def __init__(self, tables: Mapping[int, Sequence[Mapping]], title: str = "", synthetic: bool = False) -> None:
        self.tables, self.title, self.synthetic, self._quiet = dict(tables), title, synthetic, False
        first = next(iter(self.tables.values()))
        style = {"description_width": "70px"}
        titles = {row["title"]: row["runtime"] for row in first}
        self.network = widgets.Dropdown(
            options=list(dict.fromkeys(row["network"] for row in first)), description="network", style=style,
            tooltip="Which network",
        )  # fmt: skip
        self.runtime = widgets.Dropdown(
            options=list(titles.items()), description="runtime", style=style, tooltip="What runs it"
        )
        self.batch = _buttons("batch", list(first[0]["times"]), "Images at once")
        self.threads = _buttons("threads", list(self.tables), "CPU threads")
        slowest = [took(row, batch) for rows in self.tables.values() for row in rows for batch in row["times"]]
        self.budget = widgets.FloatLogSlider(
            value=max(slowest), min=-1.5, max=4, step=0.02, description="budget, ms", readout_format=".2f",
            continuous_update=False, style=style, tooltip="At most so many milliseconds a batch",
            layout={"width": "420px"},
        )  # fmt: skip
        self.sentence, self.picture = widgets.HTML(), widgets.Image(format="png")
        for control in (self.network, self.runtime, self.batch, self.threads):
            control.observe(lambda _change: self.draw(), "value")
        self.budget.observe(lambda change: self.pick(change["new"]), "value")
        choice = widgets.VBox([self.network, self.runtime]), widgets.VBox([self.batch, self.threads])
        super().__init__([widgets.HBox(choice), self.budget, self.sentence, self.picture])
        self.draw()

    @property
    def rows(self) -> Sequence[Mapping]:
        """The rows of the chosen number of threads."""
        return self.tables[self.threads.value]

    @property
    def chosen(self) -> Mapping | None:
        """The row that the controls stand for; None where it was not measured."""
        wanted = (self.network.value, self.runtime.value)
        return next((row for row in self.rows if (row["network"], row["runtime"]) == wanted), None)

    def pick(self, budget_ms: float) -> None:
        """Moves the controls to what `within_budget` picks."""
        row = within_budget(self.rows, budget_ms, self.batch.value)
        if row is None:
            least = min(self.rows, key=lambda one: took(one, self.batch.value))
            self.sentence.value = (
                f"Nothing fits into {budget_ms:.3g} ms; the fastest takes {took(least, self.batch.value):.3g} ms."
            )
            return
        self._quiet = True
        try:
            self.network.value, self.runtime.value = row["network"], row["runtime"]
        finally:
            self._quiet = False
        self.draw(f"Within {budget_ms:.3g} ms the most accurate is ")

    def figure(self) -> Picture:
        """The figure of the present setting; the chosen row has a ring."""
        return deployed_front(self.rows, title=self.title, synthetic=self.synthetic, chosen=self.chosen)

    def draw(self, lead: str = "") -> None:
        """Answers a move: figure and sentence."""
        if self._quiet:
            return
        row = self.chosen
        self.picture.value = png(self.figure(), dpi=90)
        self.sentence.value = escape(lead) + (_words(row, self.batch.value) if row else "This pair was not measured.")


def _buttons(name: str, values: list, tooltip: str) -> widgets.ToggleButtons:
    style = {"description_width": "70px", "button_width": "60px"}
    options = [(str(value), value) for value in values]
    return widgets.ToggleButtons(options=options, description=name, style=style, tooltips=[tooltip] * len(values))


def _words(row: Mapping, batch: str) -> str:
    images = "an image" if batch == "1" else f"{batch} images"
    text = f"{escape(row['network'])} in {row['title']}: {took(row, batch):.3g} ms for {images}, "
    return f"{text}{row['bytes'] / 1e6:.2f} MB, accuracy {row['score']:.1%}."
