"""Draw synthetic scenes as a folder of class folders, with a few more of the hard ones if wanted.

The folder is a data set like any other (``--data PATH``); its name says that the scenes are synthetic.

Example:
    python data_scripts/draw_synthetic.py /tmp/scenes --count 200 --seed 1 --difficulty 0.8
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from rsprune_lib.data import get_card
from rsprune_lib.data.synthetic import draw_scene
from rsprune_lib.errors import RspruneError
from rsprune_lib.run_folder import RunFolder


def draw(options: argparse.Namespace, out: Path) -> None:
    """Draw the scenes into class folders, the classes in turn."""
    classes = get_card("synthetic").classes
    for i in tqdm(range(options.count), unit="scene", leave=False):
        folder = out / classes[i % len(classes)]
        folder.mkdir(exist_ok=True)
        random = np.random.default_rng([options.seed, i])
        scene = draw_scene(i % len(classes), random, size=options.size, difficulty=options.difficulty)
        Image.fromarray(scene).save(folder / f"synthetic_{i:05d}.png")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="new folder; the scenes go to OUT/synthetic/<class>/")
    parser.add_argument("--count", type=int, default=100, help="scenes (default: 100)")
    parser.add_argument("--size", type=int, default=64, help="pixels a side (default: 64)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other scenes (default: 0)")
    parser.add_argument("--difficulty", type=float, help="0 clear to 1 hard (default: mixed)")
    parser.add_argument("--force", action="store_true", help="replace the scenes of an earlier run")
    options = parser.parse_args()
    run = RunFolder(options.out, "data", force=options.force)
    with run.open(resumable=False), run.making("synthetic") as folder:
        draw(options, folder)
    print(f"{options.count} synthetic scenes in {options.out / 'synthetic'}")


if __name__ == "__main__":
    try:
        main()
    except RspruneError as error:
        sys.exit(str(error))
