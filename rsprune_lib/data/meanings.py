"""What the values in a user's masks mean: by the list of classes beside them, else each value is a class."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rsprune_lib.colours import distinct
from rsprune_lib.data.archives import read_members
from rsprune_lib.data.leftovers import plain
from rsprune_lib.data.legend import FILES, Entry, read_legend
from rsprune_lib.data.masks import Coding, counted, mask_kind, read_mask
from rsprune_lib.data.threads import in_threads
from rsprune_lib.errors import DataError

__all__ = ["ADVICE", "Meaning", "find_legend", "meaning_of"]

TEXTS = (".txt", ".json", ".csv")
MOST = 64  # values that are taken for classes without a list
LOOKED = 16  # masks that are looked at where there is a list
USUAL = 255  # stands for no class in most data sets of numbered classes
ADVICE = (
    "Say what they mean in the list of classes (classes.txt beside the folders, one class in each line: road 128 64 "
    "128, or 3 road; a class called unknown stands for none), or mend the masks."
)
Members = Callable[[], Iterator[tuple[str, bytes]]]


@dataclass(frozen=True)
class Meaning:
    """Classes of masks, and their coding.

    Args:
        coding: from values to classes.
        classes: names in label order.
        palette: a colour for each.
        notes: what was decided, a sentence each.
    """

    coding: Coding
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    notes: tuple[str, ...] = ()


def find_legend(source: Path) -> tuple[str, tuple[Entry, ...]] | None:
    """The list of classes in a folder or archive with its name: the one that lies highest; None if there is none.

    Raises:
        DataError: if it cannot be read.
    """
    names = [name for name, _ in read_members(source, TEXTS, contents=False)]
    known = [name for name in names if PurePosixPath(name).name.lower() in FILES]
    if not known:
        return None
    best = min(known, key=lambda name: (name.count("/"), FILES.index(PurePosixPath(name).name.lower()), name))
    content = next(content for name, content in read_members(source, TEXTS) if name == best)
    return best, read_legend(best, content)


def meaning_of(
    masks: Sequence[str], members: Members, legend: tuple[str, tuple[Entry, ...]] | None, origin: str
) -> Meaning:
    """Find out what the values of masks mean.

    Args:
        masks: names of the mask files.
        members: opens all files anew: (name, content).
        legend: as `find_legend` returns it.
        origin: name of the folder, for the errors.

    Raises:
        DataError: if the values cannot be classes, or the list lacks the colours of coloured masks.
    """
    wanted = set(masks if legend is None else masks[:: -(-len(masks) // LOOKED)])
    kinds, numbers = _values(wanted, members, colours=False)
    if legend is not None:
        return _listed(*legend, kinds, numbers)
    if "colours" not in kinds:
        return _numbered(numbers, origin)
    _, colours = _values(wanted, members, colours=True)
    return _coloured(colours, origin)


def _values(wanted: set[str], members: Members, colours: bool) -> tuple[set[str], Counter]:
    """Kinds of masks, and pixels of each value (of coloured ones only where colours are asked for)."""
    kinds, pixels, failed = set(), Counter(), {}  # what cannot be read is named when it is decoded

    def look(content: bytes, name: str) -> tuple[str, Counter]:
        kind = mask_kind(content, name)
        if kind == "colours" and not colours:
            return kind, Counter()
        return kind, counted(read_mask(content, name, colours))

    chosen = ((name, content) for name, content in members() if name in wanted)
    for _, (kind, found) in in_threads(chosen, look, failed):
        kinds.add(kind)
        pixels.update(found)
    return kinds, pixels


def _listed(name: str, entries: Sequence[Entry], kinds: set[str], numbers: Counter) -> Meaning:
    """Classes of a list; in masks that are numbers with colours, the numbers count if the list knows them."""
    values, in_colours = {entry.value for entry in entries}, entries[0].colour is not None
    coloured = "colours" in kinds or ("palette" in kinds and in_colours and not set(numbers) - {-1, USUAL} <= values)
    if coloured and not in_colours:
        raise DataError(
            f"The masks are in colours, but the list of classes {plain(name)} gives none; expected lines such as: road "
            f"128 64 128."
        )
    known, void = [entry for entry in entries if not entry.void], [entry for entry in entries if entry.void]
    codes, unknown = ([e.colour if coloured else e.value for e in part] for part in (known, void))
    unknown += [] if coloured or USUAL in values else [USUAL]
    palette = [_rgb(entry.colour) for entry in known] if in_colours else distinct(len(known))
    note = f"classes by {plain(name)}, found in the masks by their {'colours' if coloured else 'numbers'}."
    coding = Coding.of([[code] for code in codes], unknown, coloured)
    return Meaning(coding, tuple(entry.name for entry in known), tuple(palette), (note,))


def _numbered(pixels: Counter, origin: str) -> Meaning:
    values = sorted(value for value in pixels if value >= 0)
    unknown = [USUAL] if USUAL in values and len(values) > 2 else []
    values = [value for value in values if value not in unknown]
    classes = tuple(f"class {value}" for value in values)
    note = _told(values, pixels, str, origin) + (f"; {USUAL} stands for no class" if unknown else "")
    return Meaning(Coding.of([[v] for v in values], unknown), classes, distinct(len(values)), (f"{note}.",))


def _coloured(pixels: Counter, origin: str) -> Meaning:
    values = sorted(value for value in pixels if value >= 0)
    note = _told(values, pixels, lambda value: f"#{value:06X}", origin)
    classes = tuple(f"#{value:06X}" for value in values)
    return Meaning(Coding.of([[v] for v in values], (), True), classes, tuple(map(_rgb, values)), (f"{note}.",))


def _told(values: Sequence[int], pixels: Counter, text: Callable[[int], str], origin: str) -> str:
    """The values with their pixels.

    Raises:
        DataError: if they are too few or too many for classes.
    """
    most = sorted(values, key=lambda value: -pixels[value])[:8]
    shown = ", ".join(f"{text(value)} ({pixels[value]:,} pixels)" for value in most)
    shown += f" and {len(values) - 8:,} more" if len(values) > 8 else ""
    if len(values) < 2:
        raise DataError(f"The masks of {origin} hold one value only ({shown or 'none'}); expected two classes or more.")
    if len(values) > MOST:
        raise DataError(
            f"The masks of {origin} hold {len(values):,} different values, more than the {MOST} that are taken for "
            f"classes by themselves: {shown}. List the classes in classes.txt beside the folders (road 128 64 128, or "
            f"3 road); JPEG changes values: save masks as PNG or GeoTIFF."
        )
    return f"no list of classes (classes.txt) was found: each value in the masks is a class: {shown}"


def _rgb(code: int) -> tuple[int, int, int]:
    return code >> 16, code >> 8 & 255, code & 255
