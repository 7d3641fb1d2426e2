"""Makes bundles that come with the course: every command of a sweep, then the test part.

    python benchmarks/ship_bundles.py benchmarks/sweeps/bundles_segmentation.json synthetic_aerial_unet1

A sweep names bundles and the commands of ``rsprune`` that make each, in order; ``{NAME}`` is the run of a bundle of
the sweep, ``{cut}`` what a step leaves for the next one. Runs lie in ``runs/bundles``: one that has ended is not made
again, one that was stopped goes on. A finished network is then measured on the test part, which chose nothing, and
written to ``bundles/`` with its plan and history.
"""

import argparse
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from rsprune_lib.bundle import load_bundle, save_bundle
from rsprune_lib.data import Batches, load_again, measuring_batch
from rsprune_lib.files import read_json
from rsprune_lib.measure import measure
from rsprune_lib.training import CHECKPOINT

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "runs" / "bundles"


def steps(sweep: dict, name: str) -> list[tuple[Path, list[str]]]:
    """Folder and command of each step of a bundle; the last folder is the bundle's run."""
    found = []
    for number, text in enumerate(commands := sweep["bundles"][name], 1):
        out = RUNS / (name if number == len(commands) else f"{name}_step{number}")
        places = {other: str((RUNS / other).relative_to(ROOT)) for other in sweep["bundles"]}
        places["cut"] = str(found[-1][0].relative_to(ROOT)) if found else ""
        found.append((out, [*shlex.split(text.format(**places)), "--out", str(out.relative_to(ROOT))]))
    return found


def make(sweep: dict, name: str) -> Path:
    """Runs the steps of a bundle that have not ended; returns the folder of its run."""
    for out, command in steps(sweep, name):
        if not (out / "config.json").exists():
            again = ["--resume"] if (out / CHECKPOINT).exists() else []
            subprocess.run([sys.executable, "-m", "rsprune_lib.cli", *command, *again], check=True, cwd=ROOT)
    return out


def ship(run: Path, target: Path) -> dict:
    """Measures a finished run on the test part and writes it as a bundle of the course; returns the row."""
    bundle = load_bundle(run)
    data = load_again(bundle.config["data"], None)
    name = bundle.config["measured"]["name"]
    row = measure(name, bundle.model, Batches(data, "test", measuring_batch(data)), progress=False).to_dict()
    del row["provenance"]  # of the measurement; the run's own says more
    save_bundle(
        target, bundle.model, plan=bundle.plan, data=bundle.config["data"], provenance=bundle.config["provenance"],
        measured=row, gates=bundle.gates, half=True, command=bundle.config["command"],
    )  # fmt: skip
    if (run / "history.json").exists():  # what was only pruned has none
        shutil.copyfile(run / "history.json", target / "history.json")
    return row


def main() -> None:
    """Makes and ships what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("bundles", nargs="*", metavar="NAME", help="by default all of the sweep")
    args = parser.parse_args()
    sweep = read_json(args.sweep, "a sweep")
    for name in args.bundles or sweep["bundles"]:
        row = ship(make(sweep, name), ROOT / "bundles" / name)
        found = row.get("metrics") or {"accuracy": row["accuracy"]}
        numbers = ", ".join(f"{key} {value:.4f}" for key, value in found.items() if value is not None)
        print(f"{name}: {row['params']:,} parameters, {row['macs'] / 1e6:.1f} M MACs, test {numbers}", flush=True)


if __name__ == "__main__":
    main()
