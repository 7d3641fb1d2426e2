"""2,000 random actions on the live tool, from several threads: whatever is done, the numbers agree."""

import dataclasses
import itertools
import json
import random
import threading
import time
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from rsprune_lib.errors import RspruneError
from rsprune_lib.models import create_model
from rsprune_lib.pruning import masked, plan_cost
from rsprune_studio import Setting, Studio
from rsprune_studio.engine.explorer import Explorer
from rsprune_studio.engine.history import History, pareto
from rsprune_studio.engine.presets import PRESETS, fits_macs

GROUPS = ("conv1", "layer1.0.conv1", "layer2.1.conv1", "layer3.0.conv1", "layer4.1.conv1")
SHARES = st.integers(0, 95).map(lambda percent: percent / 100)


class Screen:
    """Holds every answer to the setting that is wanted at that moment."""

    def __init__(self):
        self.explorer, self.said, self.error = None, "", None

    def moved(self, setting, answered):
        assert setting == self.explorer.setting
        shown = self.explorer.snapshot
        assert (shown is not None) == answered and (shown is None or shown.setting == setting)
        self.error = None

    def draw(self, snapshot, before):
        assert snapshot.setting == self.explorer.setting, "an answer to another setting was drawn"
        assert snapshot is self.explorer.snapshot
        kept = {name: len(indices) for name, indices in snapshot.plan.keep.items()}
        assert kept == snapshot.plan.widths
        wanted = snapshot.setting.recovery
        own = {wanted, "bn"} if wanted.startswith("live") else {wanted}  # a live repair that is worse gives way
        assert not snapshot.final or snapshot.recovered in own

    def say(self, text, share):
        assert share is None or 0 <= share <= 1
        self.said = text

    def fail(self, error):
        assert isinstance(error, RspruneError), repr(error)
        self.error = error


@pytest.fixture(scope="module")
def studio(tiny_data):
    model = create_model("resnet18_se", 4, width=0.125, seed=0).eval()
    studio = Studio(model, tiny_data, images=16, val_images=24, first=8, batch_size=24, progress=False)
    for criterion in ("l2", "attention", "bn_scale", "random"):
        studio.scoring.scores(criterion)
    studio.measuring.measure_dense()
    return studio


def machine_of(studio):
    """The state machine on one studio; its memory of numbers outlives single runs, so runs must agree, too."""
    numbers = {}

    class Walk(RuleBasedStateMachine):
        @initialize(criterion=st.sampled_from(["l2", "attention"]))
        def begin(self, criterion):
            self.screen = Screen()
            start = Setting(criterion, recovery="none")
            self.explorer = self.screen.explorer = Explorer(studio, start, self.screen)
            self.points = []
            self.explorer.begin()

        def change(self, **changes):
            self.explorer.go(replace(self.explorer.setting, **changes))

        @rule(ratio=SHARES)
        def drag(self, ratio):
            self.change(amount="ratio", ratio=ratio)

        @rule(ratio=SHARES, other=SHARES)
        def drag_on_two_threads(self, ratio, other):
            moves = [threading.Thread(target=self.drag, args=(share,)) for share in (ratio, other)]
            for move in moves:
                move.start()
            for move in moves:
                move.join()

        @rule(share=st.integers(1, 100))
        def budget(self, share):
            self.change(amount="macs", macs=share / 100)

        @rule(ratio=SHARES)
        def cut(self, ratio):
            self.change(amount="threshold", ratio=ratio, threshold=None)

        @rule(group=st.sampled_from(GROUPS), ratio=SHARES)
        def own(self, group, ratio):
            self.change(amount="ratio", scope="local", own={**self.explorer.setting.own, group: ratio})

        @rule(group=st.sampled_from(GROUPS))
        def lock(self, group):
            now = set(self.explorer.setting.locked)
            self.change(locked=tuple(now ^ {group}))

        @rule(criterion=st.sampled_from(["l2", "attention", "bn_scale", "random"]))
        def criterion(self, criterion):
            self.change(criterion=criterion, threshold=None)

        @rule(scope=st.sampled_from(["local", "global", "isomorphic"]))
        def scope(self, scope):
            self.change(scope=scope)

        @rule(recovery=st.sampled_from(["none", "bn", "live", "tuned"]))
        def recover(self, recovery):
            self.change(recovery=recovery)

        @rule()
        def undo(self):
            self.explorer.undo()

        @rule()
        def redo(self):
            self.explorer.redo()

        @rule()
        def reset(self):
            self.explorer.reset()

        @rule(ratio=SHARES)
        def load_plan(self, ratio):
            plan = studio.apply(Setting("random", ratio=ratio)).plan
            self.change(amount="plan", given=plan)

        @rule(name=st.sampled_from(["uniform", "global", "attention", "sensitivity"]))
        def preset(self, name):
            if self.explorer.snapshot is not None:
                snapshot = self.explorer.snapshot
                self.explorer.find(lambda watch: PRESETS[name].make(studio, snapshot))

        @rule(mmacs=st.floats(0.001, 3))
        def fits(self, mmacs):
            setting = self.explorer.setting
            self.explorer.find(lambda watch: fits_macs(studio, setting, mmacs))

        @precondition(lambda self: self.points)
        @rule(place=st.integers(0, 10_000))
        def back(self, place):
            self.explorer.go(self.points[place % len(self.points)].setting)

        @rule()
        def store_and_restore(self):
            with self.explorer.lock:  # a preset that was searched for may arrive now
                history = self.explorer.history
                again = History.from_dict(history.to_dict())
                assert (again.points, again.now, again.can_undo, again.can_redo) == (
                    history.points, history.now, history.can_undo, history.can_redo,
                )  # fmt: skip
            self.explorer.replay(again)

        @rule(exact=st.integers(0, 3))
        def wait(self, exact):
            try:
                snapshot = self.explorer.settle(60)
            except RspruneError:
                assert self.screen.error is not None
                return
            assert self.screen.error is None and self.screen.said == ""
            assert snapshot.complete and snapshot.setting == self.explorer.setting
            measured = snapshot.plan.hash, snapshot.cost, snapshot.quality  # an unclear time may change
            assert numbers.setdefault(json.dumps(snapshot.setting.to_dict()), measured) == measured
            assert snapshot.cost == plan_cost(studio.trained.costs, studio.groups, snapshot.plan.keep)
            if exact == 0:
                self.exact(snapshot)

        def exact(self, snapshot):
            small = studio.network(snapshot.plan)
            widths = {group.name: small.get_submodule(group.name).weight.shape[0] for group in studio.groups}
            assert widths == snapshot.plan.widths
            assert sum(p.numel() for p in small.parameters()) == snapshot.cost.params
            images, _ = next(iter(studio.validation))
            with torch.no_grad(), masked(studio.plain, snapshot.plan, studio.groups):
                silenced = studio.plain(images[:2])
            with torch.no_grad():
                assert torch.allclose(silenced, small(images[:2]), atol=1e-4)

        @invariant()
        def history_only_grows(self):
            if not hasattr(self, "explorer"):
                return
            with self.explorer.lock:
                points = list(self.explorer.history.points)
            # a time that was not clear is measured again, and replaced
            points = [dataclasses.replace(point, latency_ms=None, clear=True) for point in points]
            assert points[: len(self.points)] == self.points
            assert len({point.key for point in points}) == len(points)
            front = [points[i] for i in pareto(points)]
            assert all(a.macs <= b.macs and a.score < b.score for a, b in itertools.pairwise(front))
            self.points = points

        def teardown(self):
            if hasattr(self, "explorer"):
                self.wait(0)

    return Walk


def test_two_thousand_random_actions_keep_the_numbers_together(studio):
    walk = machine_of(studio)
    checks = settings(
        max_examples=40, stateful_step_count=50, deadline=None, derandomize=True, print_blob=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(walk, settings=checks)


def test_hammering_from_many_threads_ends_where_the_last_move_points(studio):
    screen = Screen()
    explorer = screen.explorer = Explorer(studio, Setting("l2", recovery="bn"), screen)
    explorer.begin()

    def hammer(seed):
        draw = random.Random(seed)
        for _ in range(50):
            act = draw.random()
            if act < 0.6:
                explorer.go(replace(explorer.setting, amount="ratio", ratio=draw.randrange(90) / 100))
            else:
                draw.choice([explorer.undo, explorer.redo, explorer.reset])()
            time.sleep(draw.random() / 200)

    threads = [threading.Thread(target=hammer, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last = explorer.settle()
    assert last.setting == explorer.setting and last.complete
    alone = studio.final(explorer.setting)
    assert (alone.plan, alone.cost, alone.quality) == (last.plan, last.cost, last.quality)
