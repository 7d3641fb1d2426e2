"""Class maps of the dense and the pruned network for one image, without a single widget."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rsprune_lib.explain import ClassMapper, ClassMaps, map_agreement
from rsprune_studio.engine.inside import Inside, network_key
from rsprune_studio.engine.setting import Snapshot
from rsprune_studio.engine.threads import UNWATCHED, Watch

__all__ = ["MapChoice", "MapPair", "MapRoom"]

_KEPT = 4  # mappers of pruned networks: copies of modules that share the weights
_TEXT = "Making class maps"


@dataclass(frozen=True)
class MapChoice:
    """What the maps are of.

    Attributes:
        method: key of `rsprune_lib.explain.METHODS`.
        layer: name of a layer with a map; None: the one that `cam_layer` takes.
        label: class; None: what the dense network says.
        labelled: of a segmenter, ask for the pixels that carry the class in the mask, where there are any, instead of
            those that each network gives to it.
    """

    method: str = "gradcam"
    layer: str | None = None
    label: int | None = None
    labelled: bool = False


@dataclass(frozen=True, eq=False)
class MapPair:
    """The maps of both networks.

    Attributes:
        pixels: (H, W, 3) uint8, the image.
        dense, pruned: one map each, for the same class at the same layer.
        agreement: their correlation; NaN where one is blank.
        labelled: whether the pixels of the mask were asked for.
    """

    pixels: np.ndarray
    dense: ClassMaps
    pruned: ClassMaps
    agreement: float
    labelled: bool

    @property
    def label(self) -> int:
        """The class that both maps are for."""
        return int(self.dense.classes[0])


class MapRoom:
    """Makes pairs of class maps; any thread may ask. Networks and their gradients stay as they are.

    Args:
        inside: where the networks and images come from.

    Example:
        >>> room = MapRoom(Inside(studio))
        >>> room.pair(studio.final(Setting(ratio=0.7)), 12, MapChoice("layercam")).agreement
    """

    def __init__(self, inside: Inside) -> None:
        self.inside = inside
        self._lock = threading.Lock()
        self._mappers: OrderedDict[tuple | None, tuple[nn.Module, ClassMapper]] = OrderedDict()

    @property
    def layers(self) -> dict[str, tuple[int, int]]:
        """Layers to choose from, and the height and width of their maps."""
        with self._lock:
            return dict(self._mapper(None, self.inside.dense).layers)

    def pair(self, snapshot: Snapshot, image: int | np.ndarray, choice: MapChoice, watch: Watch = UNWATCHED) -> MapPair:
        """The maps for an image; some ten milliseconds once the pruned network is at hand.

        Args:
            snapshot: says which pruned network.
            image: number of a validation image in the data set, or (H, W, 3) uint8 pixels of another image.
            choice: what the maps are of.
            watch: of the work.

        Raises:
            RspruneError: there is no such layer, method, class or image.
            Stopped: it is no longer wanted.
        """
        pruned, x = self.inside.pruned(snapshot, watch), self.inside.tensor(image)
        options = {"method": choice.method, "layer": choice.layer}
        with self._lock:
            watch.check(_TEXT, 0.0)
            first = self._mapper(None, self.inside.dense)
            options["layer"] = choice.layer or first.layer
            where = self._labelled(image, choice)
            dense = first.maps(x, choice.label, pixels=where, **options)
            watch.check(_TEXT, 0.5)
            other = self._mapper(network_key(snapshot), pruned).maps(x, dense.classes.tolist(), pixels=where, **options)
        alike = float(map_agreement(dense, other)[0])
        return MapPair(self.inside.picture(image), dense, other, alike, where is not None)

    def _mapper(self, key: tuple | None, network: nn.Module) -> ClassMapper:
        """The mapper of a network, kept with it: a fine-tuned network may take the place of one of the same plan."""
        kept = self._mappers.get(key)
        if kept is None or kept[0] is not network:
            height, width = self.inside.studio.data.images.shape[1:3]
            self._mappers[key] = kept = network, ClassMapper(network, (height, width))
        self._mappers.move_to_end(key)
        while len(self._mappers) > _KEPT:
            oldest = next(k for k in self._mappers if k is not None)
            del self._mappers[oldest]
        return kept[1]

    def _labelled(self, image: int | np.ndarray, choice: MapChoice) -> Tensor | None:
        """(H, W) bool, the pixels of the class in the mask; None where there are none, or they are not wanted."""
        masks = self.inside.studio.data.masks
        if not choice.labelled or choice.label is None or masks is None or isinstance(image, np.ndarray):
            return None
        where = torch.from_numpy(np.asarray(masks[image]) == choice.label)
        return where if where.any() else None
