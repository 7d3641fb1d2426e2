"""Draw synthetic scenes as a folder of class folders, with a few more of the hard ones if wanted.

The folder is a data set like any other (``--data PATH``); its name says that the scenes are synthetic.

Example:
    python data_scripts/draw_synthetic.py /tmp/scenes --count 200 --seed 1 --difficulty 0.8
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from rsprune_lib.data import get_card
from rsprune_lib.data.synthetic import draw_scene


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder; the scenes go to OUT/synthetic/<class>/")
    parser.add_argument("--count", type=int, default=100, help="scenes (default: 100)")
    parser.add_argument("--size", type=int, default=64, help="pixels a side (default: 64)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other scenes (default: 0)")
    parser.add_argument("--difficulty", type=float, help="0 clear to 1 hard (default: mixed)")
    options = parser.parse_args()
    classes = get_card("synthetic").classes
    for i in tqdm(range(options.count), unit="scene", leave=False):
        name = classes[i % len(classes)]
        folder = options.out / "synthetic" / name
        folder.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng([options.seed, i])
        scene = draw_scene(i % len(classes), random, size=options.size, difficulty=options.difficulty)
        Image.fromarray(scene).save(folder / f"synthetic_{i:05d}.png")
    print(f"{options.count} synthetic scenes in {options.out / 'synthetic'}")


if __name__ == "__main__":
    main()
