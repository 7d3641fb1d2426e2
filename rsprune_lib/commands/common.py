"""What the commands share: options with their help, data and networks by name, output for people and scripts."""

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperCommand

from rsprune_lib.errors import RspruneError, visible
from rsprune_lib.places import absolute

if TYPE_CHECKING:
    from torch import nn

    from rsprune_lib.bundle import Bundle
    from rsprune_lib.data import Dataset

__all__ = [
    "Bands",
    "BundleFolder",
    "Data",
    "Force",
    "Half",
    "HelpWithNames",
    "Json",
    "Options",
    "Out",
    "RecoveryOptions",
    "Resume",
    "Seed",
    "amount",
    "data_paths",
    "emit",
    "named_options",
    "needed",
    "say",
]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, nothing else.")]
Out = Annotated[
    Path, typer.Option("--out", help="Folder to write, apart from all inputs; new or empty.", show_default=False)
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace the files of an earlier run in --out, once the new ones are whole.")
]
Half = Annotated[bool, typer.Option("--half", help="Store weights in half precision: half the size.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run in --out.")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Seed of everything random.")]
BundleFolder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder that train, prune or finetune wrote.")]
Data = Annotated[
    str | None,
    typer.Option(
        "--data", help="Data set or folder (class folders, or images and masks); by default what the network saw."
    ),
]
Bands = Annotated[
    str | None,
    typer.Option(
        "--bands",
        help="Of a folder whose images have more than three bands: which are red, green and blue (or one for grey), by "
        "number or name, e.g. 8,4,3; by default what the files name, B4,B3,B2 of Sentinel-2, or the first three.",
    ),
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="NAME=VALUE",
        help="Of the criterion, such as rule=borda, minority=5 or minority=[2,7]; may be given several times.",
    ),
]
RecoveryOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--recovery-option",
        metavar="NAME=VALUE",
        help="Of the recovery, such as ridge=1e-2, or, with masks, positions=uniform: pixels as likely, not classes.",
    ),
]
_SIZES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}


class HelpWithNames(TyperCommand):
    """A command whose help names what the registries hold, such as ``{criteria}``; they are only loaded for help."""

    def format_help(self, ctx: typer.Context, formatter: object) -> None:
        """Writes the help with the names in place."""
        for parameter in self.params:
            if "{" in (getattr(parameter, "help", None) or ""):
                parameter.help = parameter.help.format_map(_known_names())
        super().format_help(ctx, formatter)


def _known_names() -> dict[str, str]:
    from rsprune_lib.deploy import RUNTIMES
    from rsprune_lib.explain import METHODS
    from rsprune_lib.measure import EXIT_RULES
    from rsprune_lib.models import NETWORKS
    from rsprune_lib.pruning import CRITERIA, RECOVERIES, SCOPES, SELECTORS
    from rsprune_lib.training import LOSSES, RECIPES

    known = {
        "networks": NETWORKS, "criteria": CRITERIA, "scopes": SCOPES, "selectors": SELECTORS, "recoveries": RECOVERIES,
        "losses": LOSSES, "recipes": RECIPES, "rules": EXIT_RULES, "runtimes": RUNTIMES, "maps": METHODS,
    }  # fmt: skip
    return {kind: ", ".join(names) for kind, names in known.items()}


def say(line: str) -> None:
    """Tells a person something, on standard error, where it does not disturb scripts."""
    print(visible(line), file=sys.stderr, flush=True)


def emit(result: Mapping[str, object], as_json: bool, text: str) -> None:
    """Prints the result of a command on standard output: JSON for scripts, or text for people.

    Names in it may come from the files of others: nothing in them moves the cursor of a terminal.
    """
    from rsprune_lib.files import json_text

    print(json_text(result) if as_json else visible(text))


def amount(text: str) -> float:
    """Reads a count with a unit: ``"15M"``, ``"1.5 G"``, ``"15e6"``.

    Raises:
        typer.BadParameter: It is no such count.
    """
    found = re.fullmatch(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([kmg]?)\s*", text.lower())
    try:
        return float(found[1]) * _SIZES[found[2]]
    except (TypeError, ValueError):
        raise typer.BadParameter(f"got {text!r}; expected a count like 15M, 1.5G or 15000000") from None


def data_paths(name: str | None) -> list[Path]:
    """Returns the folder or archive that ``--data`` names, as a list; an empty one for a data set's name."""
    from rsprune_lib.data import is_card

    return [] if name is None or name == "auto" or is_card(name) else [absolute(name)]


def needed(model: "nn.Module", copies: int) -> int:
    """Returns the bytes that so many copies of a network's weights take on disk, with a little room for the rest."""
    return copies * sum(t.numel() * t.element_size() for t in model.state_dict().values()) + 1_000_000


def open_run(folder: Path, data: str | None = None, bands: str | None = None) -> "tuple[Bundle, Dataset]":
    """Loads a bundle and the data it was made with, or other data with the same classes.

    Args:
        folder: Of the bundle.
        data: A name or folder in place of the bundle's own data.
        bands: Bands in place of the bundle's own.

    Raises:
        RspruneError: Either is not there, or the classes differ.
    """
    from rsprune_lib.bundle import load_bundle
    from rsprune_lib.data import load_again
    from rsprune_lib.data.leftovers import listed

    bundle = load_bundle(folder)
    info = bundle.config.get("data") or {}
    loaded = load_again(info, data, bands=bands)
    if info.get("classes") and list(loaded.classes) != list(info["classes"]):
        raise RspruneError(
            f"{folder} knows the classes {listed(info['classes'])}; {loaded.source} has "
            f"{listed(loaded.classes)}: pass --data with the data set it was trained on."
        )
    if info.get("content_hash") not in (None, loaded.content_hash):
        say(f"Note: {loaded.source} holds other images than those that {folder} was made with.")
    return bundle, loaded


def row_text(row: Mapping[str, object]) -> str:
    """Returns one result as a table in plain text."""
    from rsprune_lib.course.tables import closing_table

    return closing_table([row])


def named_options(given: Iterable[str] | None, flag: str = "--option") -> dict[str, object]:
    """Reads ``NAME=VALUE`` of `Options` or `RecoveryOptions`; a value that is no JSON is text.

    Raises:
        typer.BadParameter: One has no name or no value.
    """
    from rsprune_lib.files import parse_json

    found: dict[str, object] = {}
    examples = {"--option": "rule=borda", "--parameter": "ratio=0.5"}
    example = examples.get(flag, "positions=uniform")
    for text in given or ():
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"{flag} must be NAME=VALUE, such as {example}, not {text!r}")
        try:
            found[name] = parse_json(value)
        except ValueError:
            found[name] = value
    return found
