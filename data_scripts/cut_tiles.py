"""Cut large georeferenced images into square tiles: into class folders, or together with their masks.

Images are read window by window, so they may be larger than the memory. Tiles keep their bands, bit depth and position.
With ``--labels`` a tile goes to the class that covers at least ``--share`` of it; without, all go to ``OUT/tiles``.
With ``--masks`` tiles of image and mask go to ``OUT/images`` and ``OUT/masks`` under one name, as ``--data OUT`` reads
them: the whole scene, and no pixel with a class twice; tiles without any are left out. Image and mask may be folders
of scenes, paired by name.

Example:
    python data_scripts/cut_tiles.py scene.tif own --size 64 --labels cover.tif --names water,forest,town
    python data_scripts/cut_tiles.py scenes own --size 512 --masks labels
"""

import argparse
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window
from tqdm.auto import tqdm

from rsprune_lib.data.archives import RAW, folder_files
from rsprune_lib.data.mask_folders import folder_pairs
from rsprune_lib.data.windows import places
from rsprune_lib.errors import RspruneError
from rsprune_lib.run_folder import RunFolder

UNKNOWN = 255  # of masks that state no nodata


def class_of(labels: np.ndarray, share: float) -> int | None:
    """The label that covers at least this share of a tile, or None."""
    values, counts = np.unique(labels, return_counts=True)
    return int(values[counts.argmax()]) if counts.max() >= share * labels.size else None


def cut(options: argparse.Namespace, out: Path) -> int:
    """Write the tiles of one image into a folder; returns their number."""
    written, size = 0, options.size
    with rasterio.open(options.image) as image:
        cover = rasterio.open(options.labels) if options.labels else None
        if cover:
            check(image, cover)
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
                save(folder / f"{options.image.stem}_{row}_{column}.tif", image, window, image.read(window=window))
                written += 1
    return written


def check(image: rasterio.DatasetReader, other: rasterio.DatasetReader) -> None:
    """Refuse a raster that does not lie on the image, pixel by pixel."""
    if other.shape != image.shape:
        sys.exit(f"{other.name} has {other.shape} pixels, expected {image.shape} as {image.name}.")
    if image.crs and other.crs and (other.crs != image.crs or not other.transform.almost_equals(image.transform)):
        sys.exit(
            f"{other.name} does not lie where {image.name} lies; bring both to the same pixels (gdalwarp -te -tr)."
        )


def save(path: Path, like: rasterio.DatasetReader, window: Window, values: np.ndarray, **profile: object) -> None:
    """Write a tile with the place, bands, depth and colours of the raster that it is cut from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    how = {"driver": "GTiff", "count": like.count, "dtype": like.dtypes[0], "crs": like.crs, "nodata": like.nodata}
    how |= {"height": values.shape[1], "width": values.shape[2], "transform": like.window_transform(window)}
    with rasterio.open(path, "w", **(how | profile)) as tile:
        tile.colorinterp = like.colorinterp  # four bands of 8 bits would else be written as RGB and alpha
        tile.descriptions = like.descriptions
        tile.write(values)
        if like.colorinterp[0].name == "palette":
            tile.write_colormap(1, like.colormap(1))


def cut_pairs(options: argparse.Namespace, out: Path) -> int:
    """Write tiles of images and masks into a folder; returns their number."""
    return sum(cut_pair(image, mask, options, out) for image, mask in pairs(options.image, options.masks))


def pairs(image: Path, mask: Path) -> list[tuple[Path, Path]]:
    """The scenes of two folders that belong together by name, or the two files."""
    if not image.is_dir():
        return [(image, mask)]
    found = {
        f"{word}/{name}": path
        for word, folder in (("images", image), ("masks", mask))
        for name, path in folder_files(folder, RAW)
    }
    matched = folder_pairs(list(found), f"{image} and {mask}")
    if matched is None:
        sys.exit(f"No raster in {mask} is named like one in {image}; give each mask its image's name.")
    return [(found[own], found[partner]) for own, partner in zip(matched.images, matched.masks, strict=True)]


def cut_pair(image_path: Path, mask_path: Path, options: argparse.Namespace, out: Path) -> int:
    """Write the tiles of one scene and its mask; returns their number."""
    written = 0
    with rasterio.open(image_path) as image, rasterio.open(mask_path) as mask:
        check(image, mask)
        for window, twice in tqdm(list(windows(image.shape, options)), unit="tile", leave=False):
            labels, nodata = mask.read(window=window), UNKNOWN if mask.nodata is None else mask.nodata
            gone = image.dataset_mask(window=window) == 0
            gone[: twice[0]] = gone[:, : twice[1]] = True
            if mask.count == 1:
                labels[:, gone] = nodata
            elif any(twice):
                continue  # colours have no value for pixels that count elsewhere
            if gone.all() or (mask.count == 1 and (labels == nodata).all()):
                continue
            name = f"{image_path.stem}_{window.row_off}_{window.col_off}.tif"
            save(out / "images" / name, image, window, image.read(window=window))
            save(out / "masks" / name, mask, window, labels, **({"nodata": nodata} if mask.count == 1 else {}))
            written += 1
    return written


def windows(shape: tuple[int, int], options: argparse.Namespace) -> Iterator[tuple[Window, tuple[int, int]]]:
    """Windows of a scene, and how many rows and columns of each are in an earlier one already."""
    size = options.size
    if options.stride:  # wanted to overlap
        for row, column in product(*(range(0, side - size + 1, options.stride) for side in shape)):
            yield Window(column, row, size, size), (0, 0)
        return
    nominal = product(*(range(0, side, size) for side in shape))
    for (top, left), (row, column) in zip(places(*shape, size), nominal, strict=True):
        height, width = (min(size, side) for side in shape)
        yield Window(left, top, width, height), (row - top, column - left)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path, help="image that rasterio can read; with --masks also a folder of them")
    parser.add_argument("out", type=Path, help="new folder for the tiles")
    parser.add_argument("--size", type=int, default=64, help="pixels a side (default: 64)")
    parser.add_argument("--stride", type=int, help="pixels from tile to tile (default: the size)")
    parser.add_argument("--labels", type=Path, help="raster of class numbers, pixel by pixel as the image")
    parser.add_argument("--names", type=lambda text: text.split(","), default=[], help="class names of 0, 1, 2 …")
    parser.add_argument("--masks", type=Path, help="raster of class numbers or colours (or a folder) to cut as well")
    parser.add_argument("--share", type=float, default=0.8, help="least cover of a tile's class (default: 0.8)")
    parser.add_argument("--force", action="store_true", help="replace the tiles of an earlier run")
    options = parser.parse_args()
    if options.masks and options.labels:
        sys.exit(
            "Give one of --labels, which sorts tiles into class folders, and --masks, which cuts masks beside them."
        )
    inputs = [path for path in (options.image, options.labels, options.masks) if path]
    run = RunFolder(options.out, "data", force=options.force, inputs=inputs)
    with run.open(resumable=False), run.making("") as folder:
        count = (cut_pairs if options.masks else cut)(options, folder)
    print(f"{count} tiles of {options.size} px in {options.out}")


if __name__ == "__main__":
    try:
        main()
    except RspruneError as error:
        sys.exit(str(error))
