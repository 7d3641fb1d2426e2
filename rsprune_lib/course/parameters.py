"""What the parameters of a notebook may be; papermill puts anything in their place."""

from collections.abc import Callable, Sequence
from numbers import Real

from rsprune_lib.course.own_images import course_data
from rsprune_lib.course.profiles import PROFILES, Profile, profile
from rsprune_lib.data import Dataset, at_hand, get_card, is_card, load_data
from rsprune_lib.errors import RspruneError
from rsprune_lib.pruning import CRITERIA
from rsprune_lib.training import LOSSES, RECIPES

__all__ = ["begin"]


def begin(
    profile_name: str | None, data_name: str, *, masks: bool = False, **others: object
) -> tuple[Profile, Dataset]:
    """Returns the profile and the data of a notebook, after a check of all its parameters.

    Args:
        profile_name: A profile; None means that of the environment.
        data_name: A data set or a folder, see `rsprune_lib.data.load_data`.
        masks: The notebook needs a class for every pixel. Where the data set has none, another one takes its place:
            synthetic aerial scenes for synthetic data, else CamVid if it is at hand.
        **others: The other parameters by name.

    Raises:
        RspruneError: At least one parameter has a wrong type or value; all of them are named.

    Example:
        >>> begin("smoke", "synthetic", seed="zero")
        Traceback (most recent call last):
        rsprune_lib.errors.RspruneError: Got seed = 'zero'; expected a whole number from 0 to 4294967295.
    """
    rules, given = _rules(), {"profile_name": profile_name, "data_name": data_name, **others}
    wrong = [f"Got {n} = {v!r:.60}; expected {rules[n][0]}." for n, v in given.items() if not rules[n][1](v)]
    if wrong:
        raise RspruneError(" ".join(wrong))
    choice = profile(profile_name)
    return choice, _with_masks(data_name) if masks else course_data(data_name, choice)


def _with_masks(name: str) -> Dataset:
    """The data set of that name or folder if it has masks, else the one that takes its place."""
    if is_card(name):
        if (card := get_card(name)).task != "segmentation":
            name = "synthetic_aerial" if card.synthetic else "auto"
    elif name != "auto":
        if (loaded := load_data(name)).masks is not None:
            return loaded
        name = "auto"
    if name == "auto":
        name = "camvid" if at_hand(get_card("camvid")) else "synthetic_aerial"
    return load_data(name)


def _rules() -> dict[str, tuple[str, Callable[[object], bool]]]:
    """Name of a parameter -> what is expected in words, and the check."""

    def number(value: object, least: float, most: float, whole: bool = False) -> bool:
        return isinstance(value, int if whole else Real) and not isinstance(value, bool) and least <= value <= most

    def some(values: object, good: Callable[[object], bool]) -> bool:
        return isinstance(values, Sequence) and not isinstance(values, str) and bool(values) and all(map(good, values))

    def share(value: object) -> bool:
        return number(value, 0, 0.99)

    def one_of(names: Sequence[str]) -> Callable[[object], bool]:
        return lambda value: isinstance(value, str) and value in names

    profiles, recipes, criteria, losses = map(list, (PROFILES, RECIPES, CRITERIA, LOSSES))
    return {
        "profile_name": (f"None or one of {', '.join(profiles)}", lambda v: v is None or one_of(profiles)(v)),
        "data_name": ("the name of a data set or a folder as text", lambda v: isinstance(v, str) and bool(v)),
        "seed": ("a whole number from 0 to 4294967295", lambda v: number(v, 0, 2**32 - 1, whole=True)),
        "ratio": ("a share of the channels from 0 to 0.99", share),
        "ratios": ("a list of shares from 0 to 0.99", lambda v: some(v, share)),
        "threshold": ("a share of equal bits from 0.05 to 1", lambda v: number(v, 0.05, 1)),
        "images": ("a whole number of images from 1 on", lambda v: number(v, 1, 2**31, whole=True)),
        "layer": ("the name of a layer as text", lambda v: isinstance(v, str)),
        "recipe_name": (f"one of {', '.join(recipes)}", one_of(recipes)),
        "criteria": (f"a list of some of {', '.join(criteria)}", lambda v: some(v, one_of(criteria))),
        "losses": (
            f"a list that begins with ce, of some of {', '.join(losses)}",
            lambda v: some(v, one_of(losses)) and v[0] == "ce",
        ),
    }
