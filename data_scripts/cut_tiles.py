"""Cut a large georeferenced image into square tiles, sorted into class folders by a label raster if there is one.

The image is read window by window, so it may be larger than the memory. Tiles keep their bands, bit depth and position.
With ``--labels`` a tile goes to the class that covers at least ``--share`` of it; without, all go to ``OUT/tiles``.

Example:
    python data_scripts/cut_tiles.py scene.tif own --size 64 --labels cover.tif --names water,forest,town
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window
from tqdm.auto import tqdm

from rsprune_lib.errors import RspruneError
from rsprune_lib.run_folder import RunFolder


def class_of(labels: np.ndarray, share: float) -> int | None:
    """The label that covers at least this share of a tile, or None."""
    values, counts = np.unique(labels, return_counts=True)
    return int(values[counts.argmax()]) if counts.max() >= share * labels.size else None


def cut(options: argparse.Namespace, out: Path) -> int:
    """Write the tiles into a folder; returns their number."""
    written, size = 0, options.size
    with rasterio.open(options.image) as image:
        cover = rasterio.open(options.labels) if options.labels else None
        if cover and cover.shape != image.shape:
            sys.exit(f"{options.labels} has {cover.shape} pixels, expected {image.shape} as {options.image}.")
        rows = range(0, image.height - size + 1, options.stride or size)
        for row in tqdm(rows, unit="row", leave=False):
            for column in range(0, image.width - size + 1, options.stride or size):
                window = Window(column, row, size, size)
                if not image.dataset_mask(window=window).all():
                    continue  # a part lies outside the scene
                label = class_of(cover.read(1, window=window), options.share) if cover else None
                if cover and (label is None or not 0 <= label < len(options.names)):
                    continue
                folder = out / (options.names[label] if cover else "tiles")
                folder.mkdir(parents=True, exist_ok=True)
                shape = {"height": size, "width": size, "transform": image.window_transform(window)}
                profile = {"driver": "GTiff", "count": image.count, "dtype": image.dtypes[0], "crs": image.crs}
                profile |= shape | {"nodata": image.nodata}
                with rasterio.open(folder / f"{options.image.stem}_{row}_{column}.tif", "w", **profile) as tile:
                    tile.colorinterp = image.colorinterp  # four bands of 8 bits would else be written as RGB and alpha
                    tile.descriptions = image.descriptions
                    tile.write(image.read(window=window))
                written += 1
    return written


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path, help="image that rasterio can read")
    parser.add_argument("out", type=Path, help="new folder for the class folders")
    parser.add_argument("--size", type=int, default=64, help="pixels a side (default: 64)")
    parser.add_argument("--stride", type=int, help="pixels from tile to tile (default: the size)")
    parser.add_argument("--labels", type=Path, help="raster of class numbers, pixel by pixel as the image")
    parser.add_argument("--names", type=lambda text: text.split(","), default=[], help="class names of 0, 1, 2 …")
    parser.add_argument("--share", type=float, default=0.8, help="least cover of a tile's class (default: 0.8)")
    parser.add_argument("--force", action="store_true", help="replace the tiles of an earlier run")
    options = parser.parse_args()
    inputs = [path for path in (options.image, options.labels) if path]
    run = RunFolder(options.out, "data", force=options.force, inputs=inputs)
    with run.open(resumable=False), run.making("") as folder:
        count = cut(options, folder)
    print(f"{count} tiles of {options.size} px in {options.out}")


if __name__ == "__main__":
    try:
        main()
    except RspruneError as error:
        sys.exit(str(error))
