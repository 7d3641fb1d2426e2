"""What of a folder or archive is left out, and why: counted, and said in one line."""

from collections import defaultdict
from collections.abc import Sequence

from rsprune_lib.errors import visible

__all__ = ["Left", "listed", "plain", "set_aside"]

SYSTEM = frozenset(
    "@eadir @recycle #recycle #snapshot @recently-snapshot $recycle.bin recycler recycled lost+found found.000 thumbs "
    "thumbnails __macosx".split()
) | {"system volume information"}
WORDS = {  # in the order of the line: one, several
    "beside": ("image in no class folder", "images in no class folder"),
    "lonely": ("image or mask without its partner", "images or masks without their partner"),
    "system": ("file in a folder of thumbnails or deleted files", "files in folders of thumbnails or deleted files"),
    "hidden": ("hidden file or folder", "hidden files or folders"),
    "runs": ("folder that rsprune wrote", "folders that rsprune wrote"),
    "other": ("file that is no image", "files that are no images"),
    "special": ("pipe or device", "pipes or devices"),
    "empty": ("empty file", "empty files"),
    "twice": ("second file of the same name", "second files of the same name"),
    "unreadable": ("unreadable file or folder", "unreadable files or folders"),
    "links": ("second link to a folder", "second links to folders"),
    "bare": ("folder without images", "folders without images"),
}


def set_aside(name: str) -> str | None:
    """Why a path is left out whatever it holds: ``"hidden"``, ``"system"``, or None."""
    parts = name.split("/")
    if any(part.lower() in SYSTEM for part in parts):
        return "system"
    return "hidden" if any(part.startswith(".") for part in parts) else None


class Left:
    """Names of what was left out, by reason; see `WORDS`."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = defaultdict(list)
        self._folders: set[str] = set()

    def add(self, reason: str, name: str) -> None:
        """Note one file or folder."""
        self.names[reason].append(name)

    def taken(self, name: str | None) -> None:
        """Strike out a file that is no image but was read."""
        for names in self.names.values():
            if name in names:
                names.remove(name)

    def folder(self, name: str) -> None:
        """Note that this folder is there; `bare` finds out whether anything of it was taken."""
        self._folders.add(name)

    def bare(self, taken: list[str]) -> None:
        """Note the folders of which nothing was taken, without the folders in them."""
        used = {"/".join(parts[:i]) for parts in (name.split("/") for name in taken) for i in range(1, len(parts))}
        known = self._folders | {name.rpartition("/")[0] for names in self.names.values() for name in names}
        bare = {name for name in known if name and name not in used and not set_aside(name)}
        bare -= set(self.names["unreadable"]) | set(self.names["links"])
        self.names["bare"] = sorted(name for name in bare if not any(name.startswith(f"{b}/") for b in bare))

    def line(self) -> str | None:
        """One line that counts all of it, with a name each; None if nothing was left out."""
        told = []
        for reason, (one, several) in WORDS.items():
            names = self.names.get(reason)
            if names:
                shown = ", ".join(plain(name) for name in sorted(names)[: 5 if reason == "bare" else 1])
                more = ", …" if len(names) > shown.count(", ") + 1 else ""
                told.append(f"{len(names):,} {one if len(names) == 1 else several} ({shown}{more})")
        return "; ".join(told) or None


def plain(name: str) -> str:
    """A name for a line of text: every character can be seen, on one line, and it is not endless."""
    name = visible(name.replace("\n", "\\n"))
    return name if len(name) <= 80 else f"…{name[-79:]}"


def listed(names: Sequence[str]) -> str:
    """Names for a line of text, at most 50 of them."""
    return ", ".join(plain(name) for name in names[:50]) + (", …" if len(names) > 50 else "")
