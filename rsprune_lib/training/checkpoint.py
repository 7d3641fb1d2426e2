"""Checkpoints: after a kill at any moment a run goes on from its last whole epoch and ends with the same numbers."""

import pickle
from pathlib import Path
from typing import Any

import torch

from rsprune_lib.errors import TrainingError
from rsprune_lib.files import atomic

__all__ = ["load_checkpoint", "save_checkpoint"]

_FILE = "checkpoint/state.pt"


def save_checkpoint(out: Path, run: dict, state: dict[str, Any]) -> Path:
    """Writes the state of a run after a whole epoch; the file is the old one or the new one, never half of one.

    Args:
        out: Folder of the run.
        run: What makes the run what it is (model, data, recipe, seed, loss); compared when it is resumed.
        state: Tensors, numbers, lists and dicts only.

    Returns:
        The file.
    """
    path = Path(out) / _FILE
    with atomic(path) as temporary:
        torch.save({"run": run, **state}, temporary)
    return path


def load_checkpoint(out: Path, run: dict) -> dict[str, Any] | None:
    """Reads the checkpoint of a run; runs no code from the file.

    Args:
        out: Folder of the run.
        run: The run that wants to go on; it must be the one that was interrupted.

    Returns:
        The saved state, or None if there is no checkpoint yet.

    Raises:
        TrainingError: The file is broken, or belongs to another run (named by what differs).
    """
    path = Path(out) / _FILE
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        saved = state["run"]
    except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrainingError(f"Cannot read the checkpoint {path} ({first}); delete it to start anew.") from None
    for key in run:
        if saved.get(key) != run[key]:
            raise TrainingError(
                f"The checkpoint in {path.parent} belongs to another run: its {key} is {saved.get(key)!r}, "
                f"this run's is {run[key]!r}; resume with the same settings or choose another folder."
            )
    return state
