"""How a command that made a network ends: measured on the validation part, written as a bundle."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from rsprune_lib.data import Dataset
    from rsprune_lib.pruning import Plan

__all__ = ["finish"]


def finish(
    out: Path, model: "nn.Module", title: str, data: "Dataset", *, seed: int, extra: dict,
    plan: "Plan | None" = None, profile: str | None = None, limit: int | None = None, half: bool = False,
    exits: dict | None = None,
) -> dict:  # fmt: skip
    """Measures a network on the validation part and writes it as a bundle; only ``rsprune eval`` opens the test part.

    Args:
        out: Folder of the bundle.
        model: The finished network.
        title: Name of its row in tables.
        data: What it was made with.
        seed: Seed of the run.
        extra: What else belongs to the provenance.
        plan: What was pruned.
        profile: Name of the profile.
        limit: Validation images at most, and training images behind the gate statistics of a network with SE blocks.
        half: Store weights in half precision; the numbers are those of the stored weights.
        exits: Rule and costs of a network with exits, see `rsprune_lib.bundle.save_bundle`.

    Returns:
        The measured row with its provenance.
    """
    from rsprune_lib.bundle import save_bundle, to_half
    from rsprune_lib.data import Batches, measuring_batch
    from rsprune_lib.device import pick_device
    from rsprune_lib.measure import measure
    from rsprune_lib.pruning import gate_statistics
    from rsprune_lib.pruning.criteria.gates import gated_norms

    device = pick_device()
    model = (to_half(model) if half else model).to(device)
    train, val = (Batches(data, part, measuring_batch(data), limit=limit, device=device) for part in ("train", "val"))
    gates = gate_statistics(model, train) if gated_norms(model) else None
    row = measure(title, model, val, seed=seed, profile=profile).to_dict()
    provenance = row.pop("provenance") | extra
    about = {"data": data.info(), "provenance": provenance, "measured": row}
    save_bundle(
        out,
        model.cpu(),
        plan=plan,
        gates=gates,
        exits=exits,
        half=half,
        command=" ".join(["rsprune", *sys.argv[1:]]),
        **about,
    )
    return row | {"provenance": provenance}
