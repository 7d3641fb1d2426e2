"""How fast the studio answers: 200 random moves of its controls, from the event to the changed trait; and its memory.

``make bench`` includes the moves. The memory of ten minutes of dragging is a run of its own:

    python benchmarks/studio_bench.py --bundle eurosat_resnet18_se --minutes 10

It writes ``results/studio_memory.json``.
"""

import argparse
import gc
import os
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil

from rsprune_lib.device import settle_memory
from rsprune_lib.files import write_json
from rsprune_lib.measure import evaluate, provenance
from rsprune_lib.pruning import apply, choose, find_groups
from rsprune_studio import PruningPanel, Setting, Studio, lesson_panel
from rsprune_studio.engine.open_bundle import open_studio
from rsprune_studio.engine.setting import Snapshot
from rsprune_studio.views.app import StudioApp

RESULTS = Path(__file__).resolve().parents[1] / "results"
MOVES = 200
STAGES = {
    "structure, parameters, MACs": 50.0,
    "latency of the pruned network": 300.0,
    "first estimate of the accuracy": 250.0,
    "final accuracy": 1000.0,
}


class Clock:
    """Writes down when each stage of an answer has reached the traits on the screen."""

    def __init__(self, panel: PruningPanel) -> None:
        self.panel, self.start, self.seen = panel, 0.0, {}
        draw = panel.draw

        def timed(snapshot: Snapshot, before: Snapshot | None) -> None:
            draw(snapshot, before)
            now = 1000 * (time.perf_counter() - self.start)
            reached = [True, snapshot.latency is not None, snapshot.quality is not None, snapshot.complete]
            for stage, there in zip(STAGES, reached, strict=True):
                if there:
                    self.seen.setdefault(stage, now)

        panel.draw = timed

    def move(self, draw: random.Random) -> dict[str, float]:
        """Makes a random move, waits for its whole answer, and returns the milliseconds of every stage."""
        self.panel.settle()
        before, self.seen = self.panel.setting, {}
        while self.panel.setting == before:
            self.start = time.perf_counter()
            random_move(self.panel, draw)
        self.panel.settle()
        return dict(self.seen)


def random_move(panel: PruningPanel, draw: random.Random) -> None:
    """Drags the common slider, most often; else a group's own slider, or another scope or criterion."""
    controls, kind = panel.controls, draw.random()
    if kind < 0.7:
        slider = getattr(controls, panel.setting.amount)
        slider.value = round(draw.uniform(0.3, 0.9), 2)
    elif kind < 0.85 and not controls.own["conv1"].disabled:
        controls.own[draw.choice(list(controls.own))].value = round(draw.uniform(0.0, 0.9), 2)
    elif kind < 0.93:
        controls.scope.value = draw.choice(["local", "global", "isomorphic"])
    else:
        controls.criterion.value = draw.choice(["l1", "l2", "bn_scale"])


def studio_rows(bundle: str | None = None, moves: int = MOVES) -> Iterator[dict]:
    """Measures the studio against doing the same without it: a new graph and surgery, the dense network's accuracy."""
    # a thread that ran PyTorch keeps its helper threads, which would slow the worker's: open elsewhere, as the app does
    with ThreadPoolExecutor(1) as pool:
        studio = pool.submit(_opened, bundle).result()
    began = time.perf_counter()
    panel = PruningPanel(studio, Setting("l2", ratio=0.5), criteria=["l1", "l2", "bn_scale"])
    panel.settle(600)
    first = time.perf_counter() - began
    settle_memory()  # as the app does
    clock, draw = Clock(panel), random.Random(0)
    times = [clock.move(draw) for _ in range(moves)]
    plan_anew = _milliseconds(lambda: apply(studio.plain, choose(studio.scoring.scores("l2"), find_groups(
        studio.plain, studio.data.image_size), ratio=0.5)))  # fmt: skip
    dense = _milliseconds(lambda: evaluate(studio.model, studio.validation, progress=False), 3)
    latency = _milliseconds(lambda: studio.measuring.time([studio.model]), 3)
    against = dict(zip(STAGES, (
        ("graph and surgery anew", plan_anew), ("timing the dense network alike", latency),
        ("dense network in float32, all images", dense), ("dense network in float32, same images", dense),
    ), strict=True))  # fmt: skip
    for stage, budget in STAGES.items():
        p50, p95 = np.percentile([t[stage] for t in times], [50, 95])
        note, baseline = against[stage]
        yield {"name": f"studio, {stage}, ms, p95 of {moves} moves (median {p50:.0f})", "ours": float(p95),
               "baseline": baseline, "against": note, "ratio": baseline / float(p95), "budget": budget}  # fmt: skip
    live = studio.live()
    plan = studio.apply(Setting("l2", ratio=0.5)).plan
    solve = _milliseconds(lambda: live.solve(plan), 5)
    yield {"name": f"studio, live closed form at ratio 0.5, ms (first answer after opening: {first:.1f} s)",
           "ours": solve, "baseline": dense, "against": "dense network, 1,000 images", "ratio": dense / solve,
           "budget": 1000.0}  # fmt: skip


def studio_table() -> list[dict]:
    """`studio_rows` on the app's own choice of network, all at once."""
    return list(studio_rows())


def _opened(bundle: str | None) -> Studio:
    studio = open_studio(bundle, val_images=1000).studio
    for criterion in ("l1", "bn_scale"):
        studio.scoring.scores(criterion)
    return studio


def _milliseconds(function: object, repeats: int = 5) -> float:
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        function()
        times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times[1:]))


def memory_growth(bundle: str | None, minutes: float) -> dict:
    """Drags at random without waiting for answers, and tells by how many MB the process grew, at rest."""
    app = StudioApp(bundle)
    app.panel = lesson_panel(app.opened.studio)
    panel, draw, process = app.panel, random.Random(1), psutil.Process()
    panel.settle(600)
    begin, moves, marks = time.monotonic(), 0, []
    while (passed := (time.monotonic() - begin) / 60) < minutes:
        random_move(panel, draw)
        moves += 1
        time.sleep(draw.uniform(0.02, 0.6))
        if moves % 50 == 0:
            panel.settle(600)
            gc.collect()
            time.sleep(3)  # a short rest, in which the app gives back what it does not need
            marks.append((passed, process.memory_info().rss / 2**20))
            print(f"{passed:5.1f} min  {moves:5d} moves  {marks[-1][1]:7.0f} MB", flush=True)
    panel.settle(600)
    warm = [size for passed, size in marks if passed >= 0.1 * minutes] or [marks[-1][1]]
    origin = provenance(app.opened.studio.data.info(), seed=1)
    return {
        "minutes": minutes, "moves": moves, "grown_mb": round(max(warm[-3:]) - warm[0]), "mb": round(warm[-1]),
        "arenas": os.environ["MALLOC_ARENA_MAX"], "points": len(panel.past),
        "bundle": app.opened.bundle.path.name, "budget_mb": 100, "provenance": origin,
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", default=None, help="name or folder; by default the app's own choice")
    parser.add_argument("--minutes", type=float, default=0.0, help="measure memory over this time of dragging")
    parser.add_argument("--moves", type=int, default=MOVES)
    arguments = parser.parse_args()
    if "MALLOC_ARENA_MAX" not in os.environ:  # as `make app` starts it; the C library reads it at the start only
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"MALLOC_ARENA_MAX": "1"})
    if arguments.minutes:
        found = memory_growth(arguments.bundle, arguments.minutes)
        write_json(RESULTS / "studio_memory.json", found)
        print(found)
    else:
        for line in studio_rows(arguments.bundle, arguments.moves):
            against = f"{line['against']} {line['baseline']:.1f}"
            print(f"{line['name']}: {line['ours']:.1f} (budget {line['budget']:g}; {against})", flush=True)
