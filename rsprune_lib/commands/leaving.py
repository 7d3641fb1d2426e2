"""What ``rsprune exits`` does: heads, gates, a threshold that is chosen on images of their own, and a bundle."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsprune_lib.commands.common import needed, say
from rsprune_lib.commands.finish import finish
from rsprune_lib.commands.tracked import TRACKED, keep_artefacts, tracked
from rsprune_lib.errors import RspruneError
from rsprune_lib.run_folder import RunFolder

if TYPE_CHECKING:
    from torch import Tensor, nn

    from rsprune_lib.bundle import Bundle
    from rsprune_lib.course import Profile
    from rsprune_lib.data import Dataset
    from rsprune_lib.measure import Outcome

__all__ = ["Job", "Wish", "described", "leaving_text"]


@dataclass(frozen=True)
class Wish:
    """How the threshold is chosen; by default as cheap as it goes at the accuracy of the whole network.

    Attributes:
        rule: kind of `rsprune_lib.measure.ExitRule`.
        promise: points of the images that may be lost.
        confidence: of the promise.
        accuracy: to be reached.
        cost: mean share of the MACs.
    """

    rule: str = "max_probability"
    promise: float | None = None
    confidence: float = 0.9
    accuracy: float | None = None
    cost: float | None = None

    def choose(self, records: "Tensor", labels: "Tensor", costs: Sequence[float], gates: "Tensor | None") -> "Outcome":
        """The outcome of the chosen threshold."""
        from rsprune_lib.measure import promise, sweep, tuned_to

        if self.promise is not None:
            lost = self.promise / 100
            how = {"lost": lost, "confidence": self.confidence, "kind": self.rule, "gates": gates}
            return promise(records, labels, costs, **how)
        tried = sweep(records, labels, costs, self.rule, gates)
        if self.cost is not None:
            return tuned_to(tried, cost=self.cost)
        whole = (records[:, -1].argmax(1) == labels).double().mean().item()
        return tuned_to(tried, accuracy=whole if self.accuracy is None else self.accuracy)

    def check(self, images: int, costs: Sequence[float]) -> None:
        """Refuses before the work what no threshold can reach, whatever the network learns.

        Args:
            images: number of images that the threshold is chosen on.
            costs: of each exit.
        """
        from rsprune_lib.measure.early_exit import check_promise

        if self.promise is not None:
            check_promise(images, self.promise / 100, self.confidence)
        if self.accuracy is not None and not 0 < self.accuracy <= 1:
            raise RspruneError(f"Got an accuracy of {self.accuracy}; expected a share up to 1, such as 0.95.")
        least = costs[0] / costs[-1]
        if self.cost is not None and not self.cost >= least:
            raise RspruneError(f"No threshold costs {self.cost:.2f} of the network or less; the least is {least:.2f}.")

    def words(self) -> dict[str, Any]:
        """How it was chosen, for the bundle."""
        if self.promise is not None:
            return {"by": "promise", "lost": self.promise / 100, "confidence": self.confidence}
        if self.cost is not None:
            return {"by": "cost", "cost": self.cost}
        return {"by": "accuracy", "accuracy": self.accuracy or "of the whole network"}

    def described(
        self, records: "Tensor", labels: "Tensor", costs: Sequence[float], gates: "Tensor | None" = None
    ) -> dict[str, Any]:
        """The chosen rule and what it does to the images it was chosen on, as a bundle keeps it."""
        found = described(self.choose(records, labels, costs, gates), records, labels)
        return found | {"costs": list(costs), "chosen": self.words() | {"images": len(labels)}}


def described(found: "Outcome", records: "Tensor", labels: "Tensor") -> dict[str, Any]:
    """An outcome as plain values: exit rates, mean cost, and how good each exit is on all images."""
    each = (records.argmax(2) == labels[:, None]).double().mean(0).tolist()
    left = [None if math.isnan(value) else value for value in found.accuracies]
    return {
        "rule": found.rule.to_dict(), "accuracy": found.accuracy, "cost": found.cost, "lost": found.lost,
        "rates": list(found.rates), "accuracies_of_those_that_leave": left, "accuracies": each,
    }  # fmt: skip


def leaving_text(found: dict[str, Any]) -> str:
    """The same for people, one line an exit."""
    rule, lines = found["rule"], []
    for number, (all_images, rate, own) in enumerate(
        zip(found["accuracies"], found["rates"], found["accuracies_of_those_that_leave"], strict=True), 1
    ):
        name = f"exit {number}" if number < len(found["rates"]) else "final"
        cut = f"at {rule['thresholds'][number - 1]:.4g}" if number < len(found["rates"]) else "the rest"
        right = "-" if own is None else f"{own:.1%} of them right"
        lines.append(f"  {name:8} {all_images:7.2%} on all images; {cut}: {rate:6.1%} leave, {right}")
    head = f"Leaving by {rule['kind']}: accuracy {found['accuracy']:.2%}, mean cost {found['cost']:.1%} of the MACs"
    return "\n".join([f"{head}, {found['lost']:.2%} lost against the whole network", *lines])


@dataclass(frozen=True)
class Job:
    """One run of this command."""

    model: "nn.Module"
    bundle: "Bundle"
    data: "Dataset"
    profile: "Profile"
    stages: str
    trade: float
    wish: Wish
    seed: int
    epochs: int | None
    run: RunFolder
    track: bool
    half: bool

    @property
    def folder(self) -> str:
        """Name of the folder of checkpoints."""
        return f"checkpoint_{self.data.name}_{self.trade:g}_confEE"

    def work(self) -> tuple[dict, dict]:
        """Trains, calibrates, writes; returns the measured row and what the exits do."""
        from rsprune_lib.bundle_files import CONFIG, FILES
        from rsprune_lib.measure import exit_costs
        from rsprune_lib.training import CHECKPOINT

        self.say_synthetic()
        costs, names = exit_costs(self.model, self.data.image_size), list(FILES)
        self.wish.check(len(self.halves()[1]), costs)
        if self.stages != "frozen":
            names += [f"{self.folder}/{part}/{name}" for part in ("_warmup", "best") for name in FILES]
            names += [f"{self.folder}/{part}/{CHECKPOINT}" for part in ("_warmup", "last")]
        params = {"stages": self.stages, "trade": self.trade, "rule": self.wish.rule, "seed": self.seed}
        params |= {"model": self.model.config, "profile": self.profile.name}
        title = f"{(self.bundle.config.get('measured') or {}).get('name') or self.model.config['name']}, exits"
        room = needed(self.model, 3 if self.stages == "frozen" else 16)
        with self.run.open([*names, *(TRACKED if self.track else ())], needed=room) as place:
            with tracked(self.track, place, self.run, title, self.data, params, costs) as trackers:
                model, gates = self.trained(place / self.folder, costs, trackers)
                found = self.calibrated(model, gates, costs)
                self.name(trackers, "")
                for tracker in trackers:
                    tracker.log({f"calibration/{key}": found[key] for key in ("accuracy", "cost", "lost")})
            extra = {"stages": self.stages, "trade": self.trade, "parent": str(self.bundle.path.name)}
            row = finish(
                place, model, title, self.data, seed=self.seed, plan=self.bundle.plan, profile=self.profile.name,
                limit=self.profile.val_images, half=self.half, extra=extra, exits=found,
            )  # fmt: skip
            if self.stages != "frozen":
                best = place / self.folder / "best"
                best.mkdir(parents=True, exist_ok=True)
                for name in (name for name in FILES if (place / name).exists()):
                    shutil.copyfile(place / name, best / name)
        keep_artefacts(self.run, trackers, [CONFIG])
        return row, found

    def say_synthetic(self) -> None:
        """Says so, if it is."""
        if self.data.synthetic:
            say("Synthetic data: the images are drawn, and the numbers say nothing about real scenes.")

    def halves(self) -> tuple[Any, Any]:
        """Validation images that something is chosen on while exits are trained, and others for the threshold.

        Where nothing was chosen, all of them are for the threshold.
        """
        from rsprune_lib.data.batches import balanced

        whole = self.data.split.val
        if self.stages == "frozen" and self.wish.rule != "gate":
            return whole[:0], whole
        if len(whole) < 2:
            raise RspruneError(
                f"The validation part has {len(whole)} image(s), but some are needed to train exits and others for the "
                "threshold; give more images."
            )
        first = balanced(self.data.labels, whole, len(whole) // 2)
        return first, whole[[image not in set(first.tolist()) for image in whole.tolist()]]

    def records(self, model: "nn.Module", images: Any) -> "tuple[Tensor, Tensor]":  # noqa: ANN401 - an array
        """Logits of all exits, and labels."""
        from rsprune_lib.data import Batches
        from rsprune_lib.device import pick_device
        from rsprune_lib.measure import predict

        device = pick_device()
        return predict(model.to(device), Batches(self.data, images, 256, device=device))

    def trained(self, folder: Path, costs: Sequence[float], trackers: list) -> "tuple[nn.Module, Tensor | None]":
        """The network with trained heads, and gates if the rule needs some."""
        from rsprune_lib.data import Batches
        from rsprune_lib.device import pick_device
        from rsprune_lib.training import fit_gates, fit_heads

        first, _ = self.halves()
        if self.stages == "frozen":
            device = pick_device()
            batches = Batches(self.data, "train", 256, limit=self.profile.train_images, device=device)
            model = fit_heads(self.model.to(device), batches)
            wanted = self.wish.rule == "gate"
            return model, fit_gates(*self.records(model, first), costs, self.trade) if wanted else None
        return self.staged(folder, costs, trackers, first)

    def staged(self, folder: Path, costs: Sequence[float], trackers: list, first: Any) -> "tuple[nn.Module, Tensor]":  # noqa: ANN401
        """Warm-up and second stage; both go on where they were killed."""
        from rsprune_lib.bundle import save_bundle
        from rsprune_lib.measure import provenance
        from rsprune_lib.training import SecondStage, WarmUp, fit, fit_gates, recipe

        data = replace(self.data, split=replace(self.data.split, val=first))
        how = {"seed": self.seed, "resume": self.run.resume, "limit": self.profile.train_images, "callbacks": trackers}
        few = self.epochs or (None if self.profile.name == "full" else self.profile.finetune_epochs)
        self.name(trackers, "warm_up")
        run = recipe("exits_warmup", epochs=few)
        warm = fit(self.model, data, run, objective=WarmUp(), out=folder / "_warmup", **how).model
        found = Wish().described(*self.records(warm, first), costs)
        about = {"data": self.data.info(), "provenance": provenance(self.data.info(), seed=self.seed), "measured": {}}
        save_bundle(folder / "_warmup", warm.cpu(), plan=self.bundle.plan, exits=found, **about)
        self.name(trackers, "second")
        gates = fit_gates(*self.records(warm, first), costs, self.trade)
        stage = SecondStage(costs, self.stages, trade=self.trade, gates=gates)
        result = fit(warm.cpu(), data, recipe("exits", epochs=few), objective=stage, out=folder / "last", **how)
        return result.model, stage.rule.gates

    @staticmethod
    def name(trackers: list, stage: str) -> None:
        """Puts a stage before the names of numbers."""
        for tracker in trackers:
            tracker.stage = stage

    def calibrated(self, model: "nn.Module", gates: "Tensor | None", costs: Sequence[float]) -> dict[str, Any]:
        """The rule and what it does to the images that it was chosen on; JSON-able."""
        _, images = self.halves()
        records, labels = self.records(model, images)
        return self.wish.described(records, labels, costs, gates if self.wish.rule == "gate" else None)
