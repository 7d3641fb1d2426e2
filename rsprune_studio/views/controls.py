"""The widgets that a person moves; together they show one `Setting` and ask for another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

import ipywidgets as widgets
import numpy as np
from traitlets import Bunch

from rsprune_lib.entries import menu
from rsprune_lib.pruning import CRITERIA, SCOPES, SELECTORS
from rsprune_studio.draw import html
from rsprune_studio.engine.by_hand import hand_groups
from rsprune_studio.engine.class_votes import ClassVotes
from rsprune_studio.engine.setting import Setting, Snapshot, recovery_titles
from rsprune_studio.views.vote_controls import VoteControls
from rsprune_studio.views.widgets import PercentSlider, labelled, make_buttons, make_slider, plain, set_range, wide

__all__ = ["CONTROLS", "Controls"]

CONTROLS = ("criterion", "scope", "normalise", "amount", "recovery", "own", "multiple_of")
_AMOUNTS = {"share": "ratio", "cut": "threshold", "MACs": "macs", "plan": "plan"}
_TIPS = ("How many channels go", "Which score is too low", "How much may be left", "What the loaded plan says")
_SCALES = {
    "as the criterion prefers": "",  # a None among the values of a drop-down may show as nothing at all
    "raw scores": "none",
    "by layer mean": "mean",
    "by layer maximum": "max",
    "standardised": "standard",
}
_SCOPE_TIPS = (
    "The same share in every group",
    "All channels of the network compete",
    "Groups of the same shape compete",
)
_MULTIPLES = (("any number", 1), ("multiples of 4", 4), ("multiples of 8", 8), ("multiples of 16", 16))
_STYLE = {"description_width": "76px"}


class Controls(widgets.VBox):
    """All controls of the pruning panel but its buttons.

    Args:
        criteria: criteria to offer.
        groups: group names, for a slider each.
        moved: called with the setting that a person asks for.
        votes: of the classes.
        masks: offer recoveries that look at masks.
        hide: names of `CONTROLS` to leave out.

    Attributes:
        criterion, scope, normalise, recovery, amount, ratio, threshold, macs, selector, multiple_of: one widget for
            each field of a setting.
        own: group name -> slider.
        locks: group name -> button that keeps the group whole.
        votes: which classes have a say.
        groups: the view that holds both.
    """

    def __init__(
        self,
        criteria: Sequence[str],
        groups: Sequence[str],
        moved: Callable[[Setting], None],
        votes: ClassVotes,
        *,
        masks: bool = False,
        hide: Collection[str] = (),
    ) -> None:
        self._ask, self._setting, self._quiet, self._masks = moved, Setting(criterion=criteria[0]), False, masks
        self._make_choices(criteria)
        self.ratio = PercentSlider("remove", "Share of the channels to remove", 0.0, 0.95)
        self.threshold = make_slider("cut at", "Channels with a lower score go", 0.0, 1.0)
        self.macs = PercentSlider(
            "keep", "The most MACs that may be left, as a share of the dense network's", 0.02, 1.0
        )
        self._make_groups(groups)
        self.votes = VoteControls(votes, self._moved)
        self._observe()
        scope, amount = labelled("scope", self.scope), labelled("decided by", self.amount)
        rows = [
            self.criterion, self.votes, self.recovery, scope, amount, self.ratio, self.threshold, self.macs,
            self.selector, self.normalise, self.multiple_of,
        ]  # fmt: skip
        boxes = {"scope": scope, "amount": amount}
        for name in hide:
            if name != "own":
                for box in filter(None, (getattr(self, name), boxes.get(name))):
                    box.layout.display = "none"
        super().__init__(rows)

    def _make_groups(self, groups: Sequence[str]) -> None:
        tip = "This group's own share"
        self.own = {name: PercentSlider(name, tip, 0.0, 0.95, "150px", "340px") for name in groups}
        self.locks = {
            name: widgets.ToggleButton(
                icon="unlock", tooltip=f"Keep {name} whole, whatever is asked for", layout=widgets.Layout(width="40px")
            )
            for name in groups
        }
        self.same = widgets.Button(
            description="Same share for all", icon="align-justify",
            tooltip="Forget the groups' own ratios and unlock all groups", layout=widgets.Layout(width="170px"),
        )  # fmt: skip
        self.same.on_click(lambda _: self._ask(replace(self._setting, own={}, locked=())))
        note = widgets.HTML(
            html.note(
                "A group's own share counts in local scope; otherwise the sliders show what it lost. A locked group "
                "stays whole under every amount."
            )
        )
        pairs = [widgets.HBox([slider, self.locks[name]]) for name, slider in self.own.items()]
        for pair in pairs:
            pair.add_class("rsprune-labelled")
        wall = widgets.Box(pairs, layout=widgets.Layout(flex_flow="row wrap"))
        self.groups = widgets.VBox([note, wall, self.same])

    def _make_choices(self, criteria: Sequence[str]) -> None:
        self.criterion = widgets.Dropdown(
            options=menu(CRITERIA, criteria),
            description="criterion",
            style=_STYLE,
            tooltip="What makes a channel important",
            layout=wide(),
        )
        self.recovery = widgets.Dropdown(
            options=self._recoveries(), description="recovery", style=_STYLE,
            tooltip="What is done after the cut, without labels and without training", layout=wide(),
        )  # fmt: skip
        self.normalise = widgets.Dropdown(
            options=list(_SCALES.items()), description="score scale", style=_STYLE,
            tooltip="How scores of different groups are put on one scale before they compete", layout=wide(),
        )  # fmt: skip
        self.selector = widgets.Dropdown(
            options=menu(SELECTORS), description="selector", style=_STYLE,
            tooltip="Who stays of channels that are alike; scored and core go by the L1 norm", layout=wide(),
        )  # fmt: skip
        self.multiple_of = widgets.Dropdown(
            options=list(_MULTIPLES), description="widths", style=_STYLE, layout=wide(),
            tooltip="Numbers of channels that a group may end at; processors are quick with multiples of 8",
        )  # fmt: skip
        self.scope = make_buttons(SCOPES, _SCOPE_TIPS, "94px")
        self.amount = make_buttons(list(_AMOUNTS.items())[:3], _TIPS, "70px")  # a loaded plan adds a fourth

    def _observe(self) -> None:
        fields = ("criterion", "scope", "normalise", "recovery", "amount", "ratio", "threshold", "macs", "selector")
        fields += ("multiple_of",)
        for name in fields:
            getattr(self, name).observe(partial(self._moved, name), "value")
        for name, slider in self.own.items():
            slider.observe(partial(self._own_moved, name), "value")
        for name, lock in self.locks.items():
            lock.observe(partial(self._lock_moved, name), "value")

    def _moved(self, field: str, change: Bunch) -> None:
        if not self._quiet:
            value = None if field == "normalise" and change.new == "" else plain(change.new)
            self._ask(replace(self._setting, **{field: value}))

    def _own_moved(self, group: str, change: Bunch) -> None:
        if not self._quiet:
            self._ask(replace(self._setting, own=plain({**self._setting.own, group: change.new})))

    def _lock_moved(self, group: str, change: Bunch) -> None:
        if not self._quiet:
            locked = {*self._setting.locked, group} if change.new else {*self._setting.locked} - {group}
            self._ask(replace(self._setting, locked=tuple(locked)))

    def show(self, setting: Setting, *, tuned: bool = False) -> None:
        """Moves all controls to a setting, without asking for anything.

        Args:
            setting: where to.
            tuned: a fine-tuned network is kept for its plan, so that it can be chosen.
        """
        self._setting, self._quiet = setting, True
        try:
            self._offer(setting, tuned)
            for name in ("criterion", "scope", "recovery", "amount", "ratio", "macs", "selector"):
                getattr(self, name).value = getattr(setting, name)
            self.normalise.value = setting.normalise or ""
            self.multiple_of.value = setting.multiple_of
            self.multiple_of.disabled = not setting.takes_multiples
            self.threshold.disabled = setting.threshold is None  # where to cut is not known before the scores are
            if setting.threshold is not None:
                self.threshold.value = setting.threshold
            for name in ("ratio", "threshold", "macs"):
                getattr(self, name).layout.display = "" if name == setting.amount else "none"
            selects = setting.criterion == "similarity" and setting.amount != "plan"
            self.selector.layout.display = "" if selects else "none"
            self.scope.disabled = setting.amount in ("threshold", "plan")
            self.normalise.disabled = setting.amount != "threshold" and setting.scope == "local"
            self.votes.show(setting)
            self._show_groups(setting)
        finally:
            self._quiet = False

    def _show_groups(self, setting: Setting) -> None:
        free = setting.amount == "ratio" and setting.scope == "local"
        given = setting.amount == "plan" and hand_groups(setting) is None
        self.same.disabled = not ((free and setting.own) or setting.locked)
        for name, slider in self.own.items():
            lock, locked = self.locks[name], name in setting.locked
            lock.value, lock.icon, lock.disabled = locked, "lock" if locked else "unlock", given
            slider.disabled = locked or not free
            if free:
                slider.value = 0.0 if locked else setting.own.get(name, setting.ratio)

    def _offer(self, setting: Setting, tuned: bool) -> None:
        """Offers the amount "given plan" and the recovery "fine-tuned" only where there is such a thing."""
        amounts = list(_AMOUNTS.items())[: 3 if setting.given is None else 4]
        if hand_groups(setting) is not None:
            amounts[3] = ("hand", "plan")
        recoveries = self._recoveries(tuned or setting.recovery == "tuned")
        multiples = [*_MULTIPLES]
        if setting.multiple_of not in dict((number, title) for title, number in multiples):  # of a file
            multiples.append((f"multiples of {setting.multiple_of}", setting.multiple_of))
        offers = (self.amount, amounts), (self.recovery, recoveries), (self.multiple_of, multiples)
        for widget, options in offers:
            if list(widget.options) != options:
                widget.options = options

    def follow(self, snapshot: Snapshot, values: Mapping[str, np.ndarray], *, tuned: bool = False) -> None:
        """Fits the range of the cut to the scores; shows in each group's slider what it lost, where it is not set.

        Args:
            snapshot: what is on the screen.
            values: group name -> normalised scores.
            tuned: a fine-tuned network is kept for its plan.
        """
        scores = np.concatenate(list(values.values()))
        cut = snapshot.setting.threshold or 0.0
        low, high = float(min(scores.min(), 0.0, cut)), float(np.quantile(scores, 0.98))
        self._quiet = True
        try:
            set_range(self.threshold, low, max(high, low + 1e-9, cut))
            self.show(snapshot.setting, tuned=tuned)
            self._quiet = True
            for name, slider in self.own.items():
                if slider.disabled:
                    slider.value = 1 - snapshot.plan.widths[name] / snapshot.plan.sizes[name]
        finally:
            self._quiet = False

    def _recoveries(self, tuned: bool = False) -> list[tuple[str, str]]:
        return [(title, name) for name, title in recovery_titles(tuned, self._masks).items()]
