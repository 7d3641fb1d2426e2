"""What training has made of the SE gates: how far they moved from their start, and whether they see the image.

For each trained bundle, per layer: deviation of the gates over images and over channels, correlation of the mean gates
with those of the untrained network, and the norm of the second SE layer as a share of its start. Writes
``results/NAME.json`` and ``.md``. The gates are looked at on training images only.

Example:
    python benchmarks/gates_table.py old=path/to/decayed_bundle new=bundles/eurosat_resnet18_se
"""

import argparse

import numpy as np
import torch
from rows import RESULTS
from seeds_table import tested

from rsprune_lib.bundle import Bundle, load_bundle
from rsprune_lib.data import Batches, load_data
from rsprune_lib.explain import gate_values
from rsprune_lib.files import write_json
from rsprune_lib.measure import provenance
from rsprune_lib.models import create_model


def layers(bundle: Bundle, images: int) -> list[dict]:
    """One row a gate, in execution order."""
    model, config = bundle.model, bundle.config
    data = load_data(config["data"].get("source") or config["data"]["name"], progress=False)
    start = create_model(**model.config, seed=config["provenance"]["seed"])  # before the first step
    values = gate_values(model, Batches(data, "train", 125, limit=images), progress=False)
    rows = []
    for unit in model.units():
        if unit.gate:
            now, born = model.get_submodule(unit.gate), start.get_submodule(unit.gate)
            spread, mean = values.spread(unit.norm), values.values[unit.norm].double().mean(0)
            first = torch.sigmoid(born.fc2.bias.detach()).double()
            rows.append({
                "layer": unit.norm, "over_images": float(spread.images), "over_channels": float(spread.channels),
                "correlation_with_start": float(np.corrcoef(first, mean)[0, 1]),
                "w2_left": (now.fc2.weight.norm() / born.fc2.weight.norm()).item(),
            })  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", nargs="+", help="name=folder of a trained bundle with SE blocks")
    parser.add_argument("--images", type=int, default=1000, help="training images")
    parser.add_argument("--name", default="se_gates")
    arguments = parser.parse_args()
    tables = []
    for text in arguments.bundles:
        name, folder = text.split("=", 1)
        bundle = load_bundle(folder)
        recipe = bundle.config.get("recipe", {})
        tables.append({
            "name": name, "layers": layers(bundle, arguments.images), "recipe": recipe,
            "test_accuracy": tested(bundle)["accuracy"], "trained": bundle.config["provenance"],
        })  # fmt: skip
    origin = provenance(bundle.config["data"], seed=0)
    write_json(
        RESULTS / f"{arguments.name}.json", {"images": arguments.images, "networks": tables, "provenance": origin}
    )
    lines = ["# What training has made of the SE gates", ""]
    lines += [f"{arguments.images} training images; medians over the layers, and the first layer.", ""]
    lines += ["| network | test | over images | over channels | correlation with start | W₂ left | bn1 over images |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for table in tables:
        keys = ("over_images", "over_channels", "correlation_with_start", "w2_left")
        middle = [float(np.median([row[key] for row in table["layers"]])) for key in keys]
        first = table["layers"][0]["over_images"]
        numbers = f"{middle[0]:.4f} | {middle[1]:.4f} | {middle[2]:.2f} | {middle[3]:.0%} | {first:.4f}"
        lines.append(f"| {table['name']} | {table['test_accuracy']:.2%} | {numbers} |")
    (RESULTS / f"{arguments.name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
