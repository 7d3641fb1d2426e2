"""The files of a bundle: names, a description that is checked before use, and files of others that stay."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rsprune_lib.errors import ModelError, RspruneError
from rsprune_lib.files import committed, read_json, sha256
from rsprune_lib.records import entry_of
from rsprune_lib.run_mark import ours

__all__ = [
    "CONFIG",
    "FILES",
    "GATES",
    "PLAN",
    "SCHEMA",
    "VERSION",
    "WEIGHTS",
    "read_config",
    "refuse_foreign",
    "verified",
]

SCHEMA, VERSION = "rsprune-bundle", 1
CONFIG, WEIGHTS, PLAN, GATES = FILES = ("config.json", "model.safetensors", "plan.json", "gates.safetensors")
_PICKLES = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt")
LARGEST = 10_000_000  # bytes of a description; one with a thousand classes has 50,000


class _Part(BaseModel):
    """What the library reads of an object in a description; other entries are only kept."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Network(_Part):
    name: str = ""


_Side = Annotated[int, Field(ge=1, le=4096)]  # pixels


_Share = Annotated[float, Field(allow_inf_nan=False, ge=-10, le=10)]  # of the largest value of a pixel
_Spread = Annotated[float, Field(allow_inf_nan=False, gt=1e-6, le=10)]
_Colour = Annotated[list[Annotated[int, Field(ge=0, le=255)]], Field(min_length=3, max_length=3)]
_Three = Field(min_length=3, max_length=3)


class _Data(_Part):
    name: str | None = None
    title: str | None = None
    source: str | None = None
    bands: str | None = None
    task: str | None = None
    synthetic: bool = False
    content_hash: str | None = None
    split_hash: str | None = None
    classes: list[str] | None = None
    mean: Annotated[list[_Share], _Three] | None = None
    std: Annotated[list[_Spread], _Three] | None = None
    palette: list[_Colour] | None = None
    rare: list[Annotated[int, Field(ge=0)]] | None = None
    image_size: _Side | Annotated[list[_Side], Field(min_length=2, max_length=2)] | None = None

    @model_validator(mode="after")
    def _classes_agree(self) -> Self:
        names = self.classes or []
        if len(set(names)) < len(names):
            raise ValueError("two classes have one name")
        if names and self.palette and len(self.palette) != len(names):
            raise ValueError(f"{len(self.palette)} colours for {len(names)} classes")
        if names and self.rare and max(self.rare) >= len(names):
            raise ValueError(f"class {max(self.rare)} is rare, but there are {len(names)} classes")
        return self


class _Measured(_Part):
    name: str | None = None
    params: Annotated[int, Field(ge=0, le=10**12)] | None = None
    macs: Annotated[int, Field(ge=0, le=10**18)] | None = None


class _Description(_Part):
    kind: Literal[SCHEMA] = Field(alias="schema")
    version: Annotated[int, Field(ge=VERSION, le=VERSION)]
    model: _Network
    data: _Data | None = None
    provenance: dict[str, Any] = {}
    measured: _Measured = _Measured()
    command: str = ""
    exits: dict[str, Any] = {}
    files: dict[Literal[WEIGHTS, PLAN, GATES], str]


def refuse_foreign(folder: Path) -> None:
    """Refuses to overwrite files of other programs, which keep networks under the same names.

    Raises:
        ModelError: there is such a file, and neither a bundle nor our mark names it.
    """
    taken = [name for name in FILES if (folder / name).exists() and name not in ours(folder)]
    if not taken:
        return
    try:
        mine = read_json(committed(folder, CONFIG), "the description of a bundle").get("schema") == SCHEMA
    except RspruneError:
        mine = False
    if not mine:
        raise ModelError(f"{folder / taken[0]} belongs to no bundle, so it is not overwritten; choose another folder.")


def read_config(folder: Path) -> dict[str, Any]:
    """Reads the description of a bundle.

    Raises:
        ModelError: there is no bundle, or the description is not one that this library wrote.
    """
    path = committed(folder, CONFIG)
    if not path.is_file():
        pickles = [folder] if folder.is_file() else [p for p in folder.glob("*") if p.suffix in _PICKLES]
        if pickles:
            raise ModelError(
                f"{pickles[0]} is no bundle, and pickled networks are not loaded because they can run any code; make "
                "the network with create_model, load a state dict with weights_only=True, and use save_bundle."
            )
        raise ModelError(
            f"Found no bundle in {folder} (no {CONFIG}); give a folder that train, prune, finetune or exits wrote."
        )
    if path.stat().st_size > LARGEST:
        raise ModelError(
            f"{path} has {path.stat().st_size:,} bytes, too many for a description; take the original one."
        )
    try:
        config = read_json(path, "the description of a bundle")
        _Description.model_validate(config)
    except RecursionError:
        raise ModelError(f"{path} is nested too deeply to be the description of a bundle; make it again.") from None
    except ValidationError as error:
        fault = error.errors()[0]
        raise ModelError(
            f"{path} is no description of a bundle that this library reads: {entry_of(fault) or 'it'} is "
            f"{fault['input']!r:.60} ({fault['msg']}); take the original bundle, or make it again."
        ) from None
    except RspruneError as error:
        raise ModelError(str(error)) from None
    if WEIGHTS not in config["files"]:
        raise ModelError(f"{path} does not name {WEIGHTS}; copy the bundle again or make it again.")
    return config


def verified(folder: Path, name: str, digest: str) -> Path:
    """Returns the path of a file of a bundle.

    Raises:
        ModelError: the file is missing, or its SHA-256 is not this one.
    """
    path = committed(folder, name)
    if not path.is_file():
        raise ModelError(f"The bundle {folder} lacks {name}; copy it again whole, or make it again.")
    if sha256(path) != digest:
        raise ModelError(
            f"{path} is not the file that the bundle was written with (SHA-256 differs), so it is damaged or replaced; "
            "copy the bundle again whole, or make it again."
        )
    return path
