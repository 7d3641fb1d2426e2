"""The list of classes beside a folder of masks: names, and the values or colours that stand for them."""

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from rsprune_lib.data.leftovers import plain
from rsprune_lib.errors import DataError

__all__ = ["FILES", "VOID", "Entry", "read_legend"]

FILES = tuple(  # where the list is looked for, best first
    f"{stem}{suffix}"
    for stem in ("classes", "class_dict", "palette", "label_colors", "labels", "legend")
    for suffix in (".txt", ".json", ".csv")
)
VOID = frozenset("void unknown ignore ignored unlabelled unlabeled nodata no_data".split())  # stand for no class
HEADS = {"name": "name", "class": "name", "class_name": "name", "label": "name", "title": "name"}
HEADS |= {"value": "value", "id": "value", "index": "value", "code": "value"}
HEADS |= {"r": "red", "red": "red", "g": "green", "green": "green", "b": "blue", "blue": "blue"}
HEADS |= {"color": "colour", "colour": "colour", "hex": "colour", "rgb": "colour"}
MARKS = ",;:=\t"
_APART, _NAME, _VALUE = rf"[\s{MARKS}]+", r"(?P<name>.*[^\W\d].*?)", r"(?P<value>\d+)"
_RGB = _APART.join(rf"(?P<{part}>\d+)" for part in "rgb")
HEXED = re.compile(r"#([0-9A-Fa-f]{6})\b")
BEHIND = re.compile(rf"{_NAME}{_APART}{_RGB}$")
BEFORE = re.compile(rf"(?:{_VALUE}{_APART})?{_RGB}{_APART}{_NAME}$")
VALUED = re.compile(rf"{_VALUE}{_APART}{_NAME}$")
NUMBERED = re.compile(rf"{_NAME}\s*[{MARKS}]\s*{_VALUE}$")


@dataclass(frozen=True)
class Entry:
    """One class of a list.

    Args:
        name: of the class.
        value: its number in the masks, or None.
        colour: 0xRRGGBB in the masks, or None.
    """

    name: str
    value: int | None = None
    colour: int | None = None

    @property
    def void(self) -> bool:
        """Whether it stands for no class."""
        return self.name.lower().replace(" ", "_") in VOID


def read_legend(name: str, content: bytes) -> tuple[Entry, ...]:
    """Read a list of classes.

    A line (or row) is a name with its number and colour where there are any: ``road``, ``3 road``, ``road 128 64 128``,
    ``128 64 128 road``, ``3,road,#804080``. Without numbers the classes count from 0. A first row such as
    ``name,r,g,b`` names the columns. JSON: a list of names or of ``{"name", "value", "color"}``, the same below
    ``"classes"``, or ``{name: value or colour}``. A class called void, unknown, ignore, unlabelled or nodata stands for
    no class.

    Args:
        name: of the file, for its kind and for the error.
        content: the file.

    Raises:
        DataError: naming file and line, if it cannot be read or two classes are the same.
    """
    try:
        text = content.decode("utf-8-sig")
        if PurePosixPath(name).suffix.lower() == ".json":
            found = [_entry(item) for item in _items(json.loads(text))]
        else:
            found = _lines(text)
    except (ValueError, TypeError) as error:
        raise DataError(f"Cannot read the list of classes {plain(name)} ({error}); expected {_EXPECTED}.") from error
    valued = any(entry.value is not None for entry in found)
    if not valued:
        found = [Entry(entry.name, i, entry.colour) for i, entry in enumerate(found)]
    _check(name, found)
    return tuple(found)


_EXPECTED = "one class in each line, such as: road 128 64 128, or 3 road"


def _check(name: str, found: Sequence[Entry]) -> None:
    if sum(not entry.void for entry in found) < 2:
        raise DataError(f"The list of classes {plain(name)} holds fewer than two classes; expected {_EXPECTED}.")
    for words in ("name", "value", "colour"):
        values = [getattr(entry, words) for entry in found if getattr(entry, words) is not None]
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            shown = f"#{twice:06X}" if words == "colour" else twice
            raise DataError(f"The list of classes {plain(name)} gives the {words} {shown} twice; each is of one class.")
        if words != "name" and values and len(values) < len(found):
            without = next(entry.name for entry in found if getattr(entry, words) is None)
            raise DataError(
                f"The list of classes {plain(name)} gives no {words} of {plain(without)}; give all or none."
            )


def _lines(text: str) -> list[Entry]:
    rows = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    rows = [(number, line) for number, line in rows if line and not line.startswith(("//", "# ", "#\t"))]
    heads = [HEADS.get(word.strip().lower()) for word in _cells(rows[0][1])] if rows else []
    if len(heads) > 1 and all(heads):
        return [_entry(dict(zip(heads, _cells(line), strict=False))) for _, line in rows[1:]]
    return [_line(number, line) for number, line in rows]


def _cells(line: str) -> list[str]:
    separator = next((mark for mark in ",;\t" if mark in line), None)
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator))] if separator else line.split()


def _line(number: int, line: str) -> Entry:
    """A name, a number before it or (behind a comma, colon or equals sign) after it, and a colour at either end.

    Raises:
        ValueError: if there is no name, or numbers are left over.
    """
    colour, value, rest = None, None, line
    if found := HEXED.search(line):
        colour, rest = _colour(found[1]), f"{line[: found.start()]} {line[found.end() :]}".strip(f" {MARKS}")
    elif found := BEHIND.match(line) or BEFORE.match(line):
        colour = _colour([found[part] for part in "rgb"])
        rest = f"{found['value']},{found['name']}" if found.groupdict().get("value") else found["name"]
    if found := VALUED.match(rest) or NUMBERED.match(rest):
        value, rest = int(found["value"]), found["name"]
    name = rest.strip(f" {MARKS}\"'")
    if not re.search(r"[^\W\d]", name) or sum(word.isdecimal() for word in name.split()) > 1:
        raise ValueError(f"line {number}: {line[:60]!r}")
    return Entry(name, value, colour)


def _items(found: object) -> Iterable[object]:
    if isinstance(found, Mapping):
        inner = next((found[key] for key in ("classes", "labels", "categories") if key in found), None)
        if isinstance(inner, list | dict):
            return _items(inner)
        return [
            value | {"name": name} if isinstance(value, dict) else {"name": name, "_": value}
            for name, value in found.items()
        ]
    if not isinstance(found, list):
        raise ValueError("neither a list nor an object")
    return found


def _entry(item: object) -> Entry:
    """From a name, or a mapping with one of the usual keys for each thing."""
    if isinstance(item, str):
        return Entry(item)
    if not isinstance(item, Mapping):
        raise ValueError(f"{str(item)[:40]!r} is no class")
    known = {HEADS.get(str(key).lower(), key): value for key, value in item.items()}
    if "_" in known:
        known["value" if isinstance(known["_"], int) else "colour"] = known["_"]
    if not isinstance(known.get("name"), str) or not known["name"].strip():
        raise ValueError(f"{str(dict(item))[:60]} has no name")
    colour = known.get("colour")
    if colour is None and "red" in known:
        colour = [known[part] for part in ("red", "green", "blue")]
    value = known.get("value")
    return Entry(
        known["name"].strip(), None if value in (None, "") else int(value), _colour(colour) if colour else None
    )


def _colour(given: object) -> int:
    if isinstance(given, str):
        text = given.strip().lstrip("#")
        if re.fullmatch(r"[0-9A-Fa-f]{6}", text):
            return int(text, 16)
        given = re.findall(r"\d+", text)
    parts = [int(part) for part in given]
    if len(parts) != 3 or not all(0 <= part <= 255 for part in parts):
        raise ValueError(f"{given!r} is no colour of three numbers from 0 to 255")
    return parts[0] << 16 | parts[1] << 8 | parts[2]
