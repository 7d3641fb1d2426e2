"""A plan: which original channels each group keeps. Plain data to share, edit, compare and replay; it runs nothing.

It is checked where it is made, from a file or not, and without pydantic: most checks compare fields (ascending channels
within the sizes, a fingerprint of both), and as people edit plans by hand, each fault has its own sentence.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from rsprune_lib.errors import PlanError
from rsprune_lib.files import atomic, parse_json
from rsprune_lib.models import plain_name
from rsprune_lib.pruning.groups import Group, Groups
from rsprune_lib.pruning.layers import channels, kind_of

__all__ = ["Change", "Plan", "compose", "diff", "full_plan"]

SCHEMA, VERSION = "rsprune-plan", 1
LARGEST = 50_000_000  # bytes; a plan of a network of ten thousand channels has 60,000
_dump = partial(json.dumps, allow_nan=False)


@dataclass(frozen=True)
class Change:
    """What one plan does differently from another in one group.

    Attributes:
        added: channels that the second plan keeps and the first removes.
        removed: channels that the second plan removes and the first keeps.
    """

    added: tuple[int, ...]
    removed: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """Which channels a network keeps.

    A plan fits a network and the same network with SE blocks alike: their groups have the same names and sizes.

    Attributes:
        model: config of the network it fits (`create_model`'s arguments); ``{}`` fits by sizes alone.
        sizes: group name -> number of channels before pruning.
        keep: group name -> original indices of the channels that stay, ascending, at least one.
        how: how it was decided (criterion, scope, amount ...); only recorded.

    Raises:
        PlanError: on construction, if the parts do not fit together.

    Example:
        >>> plan = choose(scores, groups, ratio=0.7)
        >>> plan.save("plan.json")
        >>> small = apply(model, Plan.load("plan.json"), groups)
    """

    model: dict[str, Any]
    keep: dict[str, tuple[int, ...]]
    sizes: dict[str, int]
    how: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in ("model", "keep", "sizes", "how"):
            _require_object(getattr(self, key), key)
        steps = self.how.get("steps", [{}])
        if not (isinstance(steps, list) and steps and all(isinstance(step, dict) for step in steps)):
            raise PlanError("The plan's 'how' must list its steps as objects, one at least; take an unbroken file.")
        for name, size in self.sizes.items():
            if not _is_count(size) or size < 1:
                raise PlanError(f"The plan gives {name!r} the size {size!r}, but sizes are whole numbers above 0.")
        if self.keep.keys() != self.sizes.keys():
            odd = ", ".join(sorted(self.keep.keys() ^ self.sizes.keys()))
            raise PlanError(f"The plan's 'keep' and 'sizes' must name the same groups, but {odd} is in one only.")
        keep = {name: _indices(name, self.keep[name], size) for name, size in self.sizes.items()}
        object.__setattr__(self, "keep", keep)

    @property
    def widths(self) -> dict[str, int]:
        """Group name -> number of channels that stay."""
        return {name: len(kept) for name, kept in self.keep.items()}

    @property
    def hash(self) -> str:
        """12 hexadecimal digits that depend on the network and the kept channels, not on how they were decided."""
        return _digest([_plain(self.model), self.sizes, self.keep])

    @property
    def fingerprint(self) -> str:
        """12 hexadecimal digits of the network it fits: config (SE or not is all one) and group sizes."""
        return _digest([_plain(self.model), self.sizes])

    def check(self, target: nn.Module | Iterable[Group]) -> None:
        """Makes sure that the plan fits a network, or the groups of one.

        Raises:
            PlanError: it was made for another network, or the network has been pruned already.
        """
        is_model = isinstance(target, nn.Module)
        _check_config(self.model, getattr(target, "config" if is_model else "model", {}))
        found = _layer_sizes(target, self.sizes) if is_model else {group.name: group.size for group in target}
        for name in (*self.sizes, *found):
            planned, got = self.sizes.get(name, 0), found.get(name, 0)
            if planned != got:
                raise PlanError(
                    f"The plan knows {planned} channels for {name!r}, but the network has {got}; "
                    "use the unpruned network that the plan was made for."
                )

    def to_json(self) -> str:
        """The plan as JSON text, one line a group."""
        head = {"schema": SCHEMA, "version": VERSION, "fingerprint": self.fingerprint}
        try:
            rows = [f'"{key}": {_dump(value)}' for key, value in head.items()]
            rows += [f'"{key}": {_dump(getattr(self, key))}' for key in ("model", "how", "sizes")]
        except (TypeError, ValueError) as error:
            raise PlanError(f"The plan cannot be written as JSON ({error}); put plain values into it.") from None
        keep = ",\n".join(f"  {_dump(name)}: {_dump(kept)}" for name, kept in self.keep.items())
        return "{\n " + ",\n ".join([*rows, '"keep": {\n' + keep + "\n }"]) + "\n}\n"

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Reads a plan from JSON text.

        Raises:
            PlanError: the text is no plan of this version, or what it says is impossible.
        """
        try:
            raw = parse_json(text)
        except ValueError as error:
            raise PlanError(f"The text is no valid JSON ({error}); a pruning plan is written by Plan.save.") from None
        if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
            raise PlanError(f'The JSON is no pruning plan (no "schema": "{SCHEMA}"); take a file written by Plan.save.')
        if raw.get("version") != VERSION or isinstance(raw["version"], bool):
            raise PlanError(
                f"The plan has schema version {raw.get('version')!r}, but this library reads {VERSION}; "
                "make the plan again or use the library that wrote it."
            )
        missing = [key for key in ("model", "sizes", "keep", "how", "fingerprint") if key not in raw]
        if missing:
            raise PlanError(f"The plan lacks {', '.join(missing)}; take an unbroken file written by Plan.save.")
        plan = cls(model=raw["model"], keep=raw["keep"], sizes=raw["sizes"], how=raw["how"])
        if raw["fingerprint"] != plan.fingerprint:
            raise PlanError(
                "The plan's fingerprint does not match its own model and sizes, so it was edited for another network; "
                "edit only 'keep', or make a plan for that network."
            )
        return plan

    def save(self, path: str | Path) -> Path:
        """Writes the plan as JSON, whole or not at all. Returns the path."""
        with atomic(path) as temporary:
            temporary.write_text(self.to_json(), encoding="utf-8")
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Reads a plan file.

        Raises:
            PlanError: there is no such file, or it holds no valid plan; the sentence names the file.
        """
        try:
            if Path(path).is_file() and Path(path).stat().st_size > LARGEST:
                raise PlanError(f"The file has {Path(path).stat().st_size:,} bytes, too many for a plan.")
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise PlanError(f"Found no plan at {path}; check the path.") from None
        except (OSError, UnicodeDecodeError) as error:
            raise PlanError(f"Cannot read {path} as a pruning plan ({error}); take a JSON file.") from None
        except PlanError as error:
            raise PlanError(f"{path}: {error}") from None


def full_plan(groups: Groups) -> Plan:
    """The plan that removes nothing."""
    return Plan(groups.model, {g.name: tuple(range(g.size)) for g in groups}, groups.sizes(), {"ratio": 0.0})


def diff(a: Plan, b: Plan) -> dict[str, Change]:
    """Compares two plans for one network: group name -> `Change` from ``a`` to ``b``; groups that agree are left out.

    Raises:
        PlanError: the plans are for different networks.
    """
    if a.fingerprint != b.fingerprint:
        raise PlanError(
            f"The plans are for different networks (fingerprints {a.fingerprint} and {b.fingerprint}); "
            "compare two plans of one network."
        )
    pairs = {name: (set(a.keep[name]), set(b.keep[name])) for name in a.sizes if a.keep[name] != b.keep[name]}
    return {n: Change(tuple(sorted(new - old)), tuple(sorted(old - new))) for n, (old, new) in pairs.items()}


def compose(first: Plan, second: Plan) -> Plan:
    """The plan that does at once what two do one after the other.

    Args:
        first: for the unpruned network.
        second: for the network that the first plan leaves.

    Returns:
        A plan for the unpruned network.

    Raises:
        PlanError: the second plan is not for what the first one leaves.
    """
    if first.widths != second.sizes:
        raise PlanError("The second plan is not for the network that the first one leaves; make it on that network.")
    keep = {name: tuple(first.keep[name][i] for i in kept) for name, kept in second.keep.items()}
    return Plan(first.model, keep, first.sizes, {"steps": [*first.how.get("steps", [first.how]), second.how]})


def _indices(name: str, kept: object, size: int) -> tuple[int, ...]:
    """Checks one group's kept channels and returns them in ascending order."""
    if not isinstance(kept, list | tuple) or not all(_is_count(index) for index in kept):
        raise PlanError(f"The plan's 'keep' for {name!r} must be a list of whole numbers.")
    if not kept:
        raise PlanError(f"The plan would empty {name!r}; keep at least one of its {size} channels.")
    if min(kept) < 0 or max(kept) >= size:
        wrong = next(index for index in kept if not 0 <= index < size)
        raise PlanError(f"The plan keeps channel {wrong} of {name!r}, which has only the channels 0 to {size - 1}.")
    if len(set(kept)) != len(kept):
        raise PlanError(f"The plan names a channel of {name!r} twice; name each channel once.")
    return tuple(sorted(int(index) for index in kept))


def _is_count(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _require_object(value: object, key: str) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise PlanError(f"The plan's {key!r} must be an object with names as keys, but it is a {type(value).__name__}.")


def _check_config(planned: Mapping[str, Any], got: Mapping[str, Any]) -> None:
    """Compares configs, SE or not being all one; where one is empty there is nothing to compare."""
    planned, got = _plain(planned), _plain(got)
    for key in (*planned, *got) if planned and got else ():
        if planned.get(key) != got.get(key):
            raise PlanError(
                f"The plan was made for a network with {key} {planned.get(key)!r:.60}, but this one has "
                f"{got.get(key)!r:.60}; "
                "use the network that the plan was made for."
            )


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    return {**config, "name": plain_name(str(config["name"]))} if "name" in config else dict(config)


def _layer_sizes(model: nn.Module, sizes: Mapping[str, int]) -> dict[str, int]:
    """What the layers say of the groups named after them; a channel of a group can be several of its layer."""
    modules, found = dict(model.named_modules()), {}
    for name, size in sizes.items():
        module = modules.get(name.partition(":")[0])
        if kind_of(module) is not None:
            width = channels(module, "out")
            found[name] = size if width % size == 0 or ":" in name else width
    return found


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
