"""Errors a person can act on: what was got, what was expected, what to do."""

import difflib
import os
import traceback
from collections.abc import Iterable

__all__ = ["DataError", "ModelError", "PlanError", "RspruneError", "Stopped", "TrainingError", "unknown", "visible"]

_LONGEST = 1000  # characters of a sentence; what was got may be a file of megabytes
_JOINERS = "\n\t\u00a0\u200c\u200d"  # of text as people write it; everything else that prints nothing is shown escaped


def visible(text: str) -> str:
    """Text whose every character can be seen: names from files may hold controls of a terminal or of the direction.

    Args:
        text: Any text; such a character becomes its escape as Python writes it.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _JOINERS else ascii(c)[1:-1] for c in text)


class RspruneError(Exception):
    """Base of every error that the user can mend; its text is one clear sentence.

    A notebook shows the sentence alone; with ``RSPRUNE_DEBUG=1`` the traceback, too. What it quotes may come from
    anybody: it is shown by `visible`, and cut where it is endless.
    """

    def __str__(self) -> str:
        """The sentence."""
        text = visible(super().__str__())
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 4 :]}"

    def _render_traceback_(self) -> list[str]:
        if os.environ.get("RSPRUNE_DEBUG") == "1":
            return traceback.format_exception(self)
        return [f"{type(self).__name__}: {self}"]


class DataError(RspruneError):
    """A data set, archive, image or split is not what it should be."""


class ModelError(RspruneError):
    """A network or a bundle cannot be built or loaded as asked."""


class PlanError(RspruneError):
    """A pruning plan is malformed, impossible, or made for another network."""


class Stopped(RspruneError):
    """Long work ended early because its batches are no longer wanted; nothing was changed."""


class TrainingError(RspruneError):
    """Training cannot go on; the last good state has been kept."""


def unknown(kind: str, name: object, known: Iterable[str]) -> RspruneError:
    """Builds the error for a name nobody knows, with the nearest known ones first.

    Args:
        kind: What the name stands for, e.g. ``"model"``.
        name: The name that was given.
        known: All names that would have been right.

    Returns:
        An error to raise, e.g. ``Unknown model 'resnet81'; did you mean 'resnet18'? Known: resnet18, vgg16.``
    """
    names = [str(k) for k in known]
    near = difflib.get_close_matches(str(name), names, n=2, cutoff=0.5)
    hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else "."
    return RspruneError(f"Unknown {kind} {str(name)!r}{hint} Known: {', '.join(names) or 'none'}.")
