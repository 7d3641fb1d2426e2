"""Which networks and data sets are at hand, and a studio on one of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rsprune_lib.bundle import Bundle, load_bundle
from rsprune_lib.data import Dataset, at_hand, card_names, get_card, is_card, load_again
from rsprune_lib.errors import ModelError, RspruneError, unknown, visible
from rsprune_lib.files import read_json
from rsprune_lib.places import absolute, bundles_folder, project_root
from rsprune_studio.engine.code import Origin
from rsprune_studio.engine.studio import Studio

__all__ = ["Choice", "Opened", "bundles", "choice_of", "data_sets", "favourite", "open_studio"]


@dataclass(frozen=True)
class Choice:
    """A bundle that can be opened.

    Attributes:
        name: of its folder.
        path: the folder.
        data: what the data set is called, to load it.
        title: a line for a list.
        key: what opens exactly this one: its name, or its folder where another bundle has the same name.
    """

    name: str
    path: Path
    data: str
    title: str
    key: str = ""


@dataclass(frozen=True)
class Opened:
    """A studio with what it was made from."""

    bundle: Bundle
    data: Dataset
    studio: Studio


def bundles() -> list[Choice]:
    """Bundles of the project and of its ``runs`` folder, unpruned ones first; other folders are left out."""
    folders = {}
    for folder in (bundles_folder(), project_root() / "runs"):
        folders |= {path.parent.resolve(): path.parent for path in sorted(folder.glob("*/config.json"))}
    found = [choice for choice in map(choice_of, folders.values()) if choice is not None]
    found = sorted(found, key=lambda choice: "pruned" in choice.title)
    count = Counter(choice.name for choice in found)
    return [choice if count[choice.name] == 1 else _told_apart(choice) for choice in found]


def _told_apart(choice: Choice) -> Choice:
    """A bundle that shares its name with another: opened by its folder, and listed with it."""
    name = visible(choice.name)
    title = choice.title.replace(name, f"{name} (in {visible(choice.path.parent.name)})", 1)
    return replace(choice, key=str(choice.path), title=title)


def choice_of(folder: Path) -> Choice | None:
    """A bundle's line in the list; None where the folder holds none."""
    try:
        config = read_json(folder / "config.json", "the description of a bundle")
        data, model = config["data"] or {}, config["model"]["name"]
        source = str(data.get("source") or data.get("name") or "")
        pruned = "plan.json" in config["files"]
        params = config.get("measured", {}).get("params")
    except (RspruneError, KeyError, TypeError, AttributeError):
        return None
    title = f"{folder.name}: {model}{', pruned' if pruned else ''} on {data.get('title') or source or 'unknown data'}"
    title += f", {params / 1e6:.2f} M parameters" if isinstance(params, int | float) else ""
    return Choice(folder.name, folder, source, visible(title), folder.name)


def data_sets() -> list[str]:
    """Names of the data sets that can be opened without a download; synthetic scenes always can."""
    cards = [get_card(name) for name in card_names()]
    return [card.name for card in cards if card.synthetic or at_hand(card)]


def favourite(choices: list[Choice]) -> Choice:
    """The bundle to begin with: EuroSAT where its images are at hand, else synthetic scenes.

    Raises:
        ModelError: there is no bundle for either.
    """
    order = ["eurosat", "synthetic"] if at_hand(get_card("eurosat")) else ["synthetic"]
    for data in order:
        for choice in choices:
            if choice.data == data:
                return choice
    raise ModelError(
        f"Found no trained network for {' or '.join(order)} in {bundles_folder()}; restore the folder from the "
        "repository, or train one with rsprune train."
    )


def open_studio(bundle: str | Path | None = None, data: str | Path | None = None, **options: Any) -> Opened:  # noqa: ANN401
    """Opens a trained network on a data set.

    Args:
        bundle: name of one of `bundles`, or any bundle's folder; None takes the `favourite`.
        data: name or folder of a data set; None takes the one the network was trained on.
        **options: of `Studio`.

    Raises:
        RspruneError: there is no such bundle or data set, it is damaged, or they do not fit together.

    Example:
        >>> opened = open_studio("synthetic_resnet18_se")
        >>> opened.studio.final(Setting(ratio=0.5)).sentence()
    """
    found = bundles()
    choices = {choice.name: choice for choice in reversed(found)}  # of two with one name, the first in the list
    if bundle is None:
        path = favourite(found).path
    elif str(bundle) in choices:
        path = choices[str(bundle)].path
    else:
        path = absolute(bundle)
        if not path.is_dir():
            raise unknown("bundle", str(bundle), choices)
    loaded = load_bundle(path)
    info = loaded.config.get("data") or {}
    images = load_again(info, data, progress=False)
    _check_classes(path.name, info.get("classes"), images)
    named = data is None or is_card(str(data))
    origin = Origin(path, data and str(data if named else absolute(data).resolve()))
    studio = Studio(loaded.model, images, gates=loaded.gates, progress=False, origin=origin, **options)
    return Opened(loaded, images, studio)


def _check_classes(name: str, classes: list[str] | None, data: Dataset) -> None:
    if classes and list(data.classes) != list(classes):
        raise ModelError(
            f"The network {name} knows the classes {', '.join(classes[:3])} …, but {data.name} has "
            f"{', '.join(data.classes[:3])} …; choose the data set it was trained on."
        )
