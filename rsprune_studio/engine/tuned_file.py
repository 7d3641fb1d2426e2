"""A fine-tuned network inside a session file: its plan, how it was trained, and its weights."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import safetensors.torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from torch import nn

from rsprune_lib.errors import RspruneError
from rsprune_lib.pruning import Plan
from rsprune_studio.engine.setting import recovery_titles
from rsprune_studio.engine.studio import Studio
from rsprune_studio.engine.tune_run import TuneOptions

__all__ = ["MOST_WEIGHTS", "TunedFile"]

MOST_WEIGHTS = 16_000_000  # bytes; more would make a page with the session as a link too slow
_Count = Annotated[int, Field(gt=0, lt=2**31)]


class _Note(BaseModel):
    """How a network was trained, as a file has it; numbers are checked further as those of a new training are."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
    loss: str
    epochs: int
    lr: float
    images: int
    seed: int
    recovery: str
    val_images: _Count = 1
    batch_size: _Count = 1
    decay: float = 0.0


class _Saved(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    plan: dict[str, Any]
    note: _Note
    weights: str


@dataclass(frozen=True)
class TunedFile:
    """What it takes to bring a fine-tuned network back, to the last bit.

    Attributes:
        plan: its widths.
        note: how it was trained; see `rsprune_studio.engine.network_cache.Tuned`.
        weights: its tensors as safetensors.
    """

    plan: Plan
    note: Mapping[str, Any]
    weights: bytes

    @classmethod
    def of(cls, plan: Plan, model: nn.Module, note: Mapping[str, Any]) -> TunedFile | None:
        """Takes a network; None if it is too large for a session file."""
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        weights = safetensors.torch.save(state)
        return (
            None
            if len(weights) > MOST_WEIGHTS
            else cls(plan, {key: note[key] for key in _Note.model_fields if key in note}, weights)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        weights = base64.b64encode(self.weights).decode()
        return {"plan": json.loads(self.plan.to_json()), "note": dict(self.note), "weights": weights}

    @classmethod
    def from_dict(cls, values: object) -> TunedFile:
        """Reads what `to_dict` wrote.

        The note becomes code that a person may copy, so each of its values is checked as one of a new training is.

        Raises:
            RspruneError: it is no fine-tuned network, or a part of it is impossible.
        """
        wrong = RspruneError("The session's fine-tuned network is broken; take a session that the app wrote.")
        try:
            saved = _Saved.model_validate(values)
        except ValidationError:
            raise wrong from None
        note = saved.note.model_dump(exclude_unset=True)
        if note["recovery"] not in recovery_titles(masks=True):
            raise wrong
        options = {key: note[key] for key in ("loss", "epochs", "lr", "images", "seed")}
        TuneOptions(**options, decay=note.get("decay"))
        try:
            return cls(Plan.from_json(json.dumps(saved.plan)), note, base64.b64decode(saved.weights, validate=True))
        except ValueError:  # `binascii.Error` is one
            raise wrong from None

    def restore(self, studio: Studio) -> None:
        """Puts the network back into a studio, for its plan.

        Raises:
            RspruneError: the weights do not fit the plan.
        """
        self.plan.check(studio.groups)
        network = studio.network(self.plan)
        try:
            state = safetensors.torch.load(self.weights)
            network.load_state_dict(state, strict=True)
        except (SafetensorError, RuntimeError) as error:
            raise RspruneError(
                f"The weights of the session's fine-tuned network do not fit its plan ({str(error).splitlines()[0]}); "
                "take a session that the app wrote."
            ) from None
        studio.keep_tuned(self.plan, network, self.note)
