"""Checkpoints: after a kill at any moment a run goes on from its last whole epoch and ends with the same numbers.

What a checkpoint says of its run is not checked by a schema (pydantic): it must equal what the resuming run says of
itself, which is stricter, and the first field that differs is named.
"""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from rsprune_lib.errors import TrainingError
from rsprune_lib.files import atomic

__all__ = ["CHECKPOINT", "restore_checkpoint", "save_checkpoint"]

CHECKPOINT = "checkpoint/state.pt"


def save_checkpoint(out: Path, run: dict, state: dict[str, Any]) -> Path:
    """Writes the state of a run after a whole epoch; the file is the old one or the new one, never half of one.

    Args:
        out: Folder of the run.
        run: What makes the run what it is, see `rsprune_lib.training.run_identity`; compared when it is resumed.
        state: Tensors, numbers, lists and dicts only.

    Returns:
        The file.

    Raises:
        RspruneError: It cannot be written, e.g. because the disk is full; the last one is still there.
    """
    path = Path(out) / CHECKPOINT
    with atomic(path) as temporary, open(temporary, "wb") as file:
        try:
            torch.save({"run": run, **state}, file)
        except RuntimeError as error:  # torch hides the reason behind a failed assertion of its own
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None
    return path


def restore_checkpoint(out: Path, run: dict, restore: Callable[[dict[str, Any]], None]) -> None:
    """Reads the checkpoint of a run, if there is one, and puts its state back; runs no code from the file.

    Args:
        out: Folder of the run.
        run: The run that wants to go on; it must be the one that was interrupted.
        restore: Takes the saved state.

    Raises:
        TrainingError: The file is broken, or belongs to another run (named by what differs).
    """
    path = Path(out) / CHECKPOINT
    if not path.exists():
        return
    again = "delete it to start anew"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        saved = dict(state["run"])
    except PermissionError as error:
        raise TrainingError(f"Cannot read the checkpoint {path} ({error.strerror}); change its permissions.") from None
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, EOFError, pickle.UnpicklingError):
        raise TrainingError(f"The checkpoint {path} is damaged, cut off, or none of ours; {again}.") from None
    for key in run | saved:
        if saved.get(key) != run.get(key):
            theirs, ours = _differing(saved.get(key), run.get(key))
            verb = "are" if key in ("start weights", "limits") else "is"
            raise TrainingError(
                f"The checkpoint in {path.parent} belongs to another run: its {key} {verb} {theirs}, this run's {verb} "
                f"{ours}; resume with the same settings or choose another folder."
            )
    try:
        restore(state)
    except (KeyError, RuntimeError, TypeError, ValueError, AttributeError):
        raise TrainingError(f"The checkpoint {path} does not fit its own run: a part is missing; {again}.") from None


def _differing(one: object, other: object) -> tuple[str, str]:
    """Two settings in words; of two that have parts only the parts that differ, at most four."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return _short(one), _short(other)
    keys = [key for key in one | other if one.get(key) != other.get(key)]
    keys = ([key for key in keys if key[0] != "_"] or keys)[
        :4
    ]  # what stands behind an underscore follows from the rest
    sides = (", ".join(f"{key.strip('_')}={_short(side[key])}" for key in keys if key in side) for side in (one, other))
    return tuple(side or "without" for side in sides)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]} … {text[-16:]}"
