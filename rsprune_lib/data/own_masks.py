"""A folder (or archive) of images and masks of the user's, decoded like a public set."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from rsprune_lib.data.archives import folder_files, read_members
from rsprune_lib.data.arrays import Arrays
from rsprune_lib.data.decode import quiet, taken_bands
from rsprune_lib.data.legend import FILES
from rsprune_lib.data.meanings import ADVICE, TEXTS, find_legend, meaning_of
from rsprune_lib.data.pairs import Pairs
from rsprune_lib.data.segmentation import Frame, Paired, decode_pairs
from rsprune_lib.data.sizes import Size, shown_size, sides, size_text

__all__ = ["PairedFolder", "legend_files"]

WHOLE = 512  # pixels: images of one size, none of whose sides is longer, are kept whole
WINDOW = 256


def legend_files(source: Path) -> list[tuple[str, Path]]:
    """(relative name, path) of the files in a folder that may list its classes."""
    return [(name, path) for name, path in folder_files(source, TEXTS) if PurePosixPath(name).name.lower() in FILES]


class PairedFolder:
    """Images and masks of a folder, looked at but not decoded.

    Args:
        path: folder or archive, as the user named it.
        pairs: of its images and masks.
        bands: which bands to take.

    Attributes:
        paired: the pairs, with the coding of their masks.
        legend: name of the list of classes, or None.
        meaning: classes, palette, and what was decided about them.

    Raises:
        DataError: if the masks do not fit their images, or their values cannot be classes.
    """

    def __init__(self, path: Path, pairs: Pairs, bands: str | None) -> None:
        source = path.resolve()

        def members() -> Iterator[tuple[str, bytes]]:
            return read_members(source)

        self.path, self._bands = path, bands
        with quiet():
            legend = find_legend(source)
            self.legend = legend and legend[0]
            self.meaning = meaning_of(pairs.masks, members, legend, str(path))
        self.paired = Paired(pairs, members, self.meaning.coding, ADVICE, bands, failed={})
        self._sizes = self.paired.sizes()

    def usual(self) -> Size:
        """The size of the images if it is one and small enough, else windows of 256 pixels."""
        common = self._common()
        return shown_size(*common) if common and max(common) <= WHOLE else WINDOW

    def decode(self, size: Size, folder: Path, about: dict, progress: bool) -> Arrays:
        """Decode images and masks.

        Args:
            size: of rows: whole images where they are of one size of at most 512 pixels a side, else windows; of
                rasters always windows, as a scene is later seen at its own scale.
            folder: of the arrays.
            about: of the index.
            progress: show bars.

        Raises:
            DataError: naming what cannot be read or has no meaning.
        """
        common = self._common()
        whole = common and max(common) <= WHOLE and not self.paired.pairs.images[0].lower().endswith((".tif", ".tiff"))
        frame = Frame(size, None if whole or common == sides(size) else 1.0)
        paired = replace(self.paired, pairs=replace(self.paired.pairs, notes=self._notes(frame)))
        about = about | {"classes": self.meaning.classes, "palette": self.meaning.palette, "origin": str(self.path)}
        about |= {"beside": paired.pairs.lonely, "bands": self._taken(), "legend": self.legend}
        return decode_pairs(paired, self._sizes, frame, folder, about, progress)

    def _common(self) -> tuple[int, int] | None:
        """Height and width that all images have, or None."""
        found = {self._sizes[name] for name in self.paired.pairs.images if name in self._sizes}
        return found.pop() if len(found) == 1 else None

    def _taken(self) -> str | None:
        """A sentence on the bands that are taken, from the first image."""
        first = self.paired.pairs.images[0]
        content = next(content for name, content in self.paired.members() if name == first)
        with quiet():
            return taken_bands(content, first, self._bands)

    def _notes(self, frame: Frame) -> tuple[str, ...]:
        return (*self.paired.pairs.notes, *self.meaning.notes, *_framed(self._sizes, self.paired.pairs.images, frame))


def _framed(sizes: Mapping[str, tuple[int, int]], images: Sequence[str], frame: Frame) -> list[str]:
    """How images become rows, in a sentence, where it is not as they are."""
    height, width = sides(frame.size)
    found = [sizes[name] for name in images if name in sizes]
    if frame.scale is None:
        small = shown_size(*found[0]) if found else frame.size
        return (
            [] if small == frame.size else [f"images of {size_text(small)} pixels resized to {size_text(frame.size)}."]
        )
    short = sum(own[0] < height or own[1] < width for own in found)
    notes = [f"images cut into windows of {size_text(frame.size)} pixels, those of an image in one part."]
    if short:
        notes.append(f"{short:,} images are smaller than a window: what they lack is black, and of no class.")
    return notes
