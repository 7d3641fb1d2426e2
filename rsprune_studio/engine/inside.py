"""A look inside the pruned network, without a single widget: what it answers, what it lost, what its channels do."""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rsprune_lib.errors import DataError, unknown
from rsprune_lib.measure import lean
from rsprune_lib.models import hooked, placement, units
from rsprune_lib.pruning.groups import Group
from rsprune_lib.pruning.layers import KINDS, kind_of
from rsprune_studio.engine.comparison import Answer, Comparison
from rsprune_studio.engine.mask_answers import MaskAnswer, MaskComparison
from rsprune_studio.engine.setting import Snapshot
from rsprune_studio.engine.studio import Studio
from rsprune_studio.engine.threads import UNWATCHED, Watch

__all__ = ["Channels", "Inside", "channel_order", "network_key"]

Key = tuple[str, str, float | None]
_KEPT = 32  # comparisons, 80 KB each at 1,000 images of 10 classes
_SAID = 8_000_000  # bytes of the dense network's answers to single images


@dataclass(frozen=True, eq=False)
class Channels:
    """Some channels of a group, by falling score.

    Attributes:
        group: name of the group, which is that of its root layer.
        size: channels of the whole group.
        kept_of_all: how many of them stay.
        first: rank of the first channel here; 0 is the highest score.
        number: (n,) original channel numbers.
        score: (n,) normalised scores.
        kept: (n,) bool, what the plan keeps.
        filters: (n, h, w, 3) weights of a root that reads RGB images, else (n, h, w) mean absolute weights over the
            inputs.
        maps: (n, h, w) what the dense network makes of the image in these channels, behind the root's norm.
        filter_scale: 98th percentile of the absolute values of all the group's filters.
        map_scale: the same of its maps.
    """

    group: str
    size: int
    kept_of_all: int
    first: int
    number: np.ndarray
    score: np.ndarray
    kept: np.ndarray
    filters: np.ndarray
    maps: np.ndarray
    filter_scale: float
    map_scale: float


class Inside:
    """Answers to questions about the networks behind a snapshot. Any thread may ask.

    The dense network is looked at through twins that share its weights: hooks that other work puts on the network
    itself (collecting Gram matrices) must not see these images, nor the other way round.

    Args:
        studio: the state of the live tool.

    Attributes:
        dense: the trained network, to look at.

    Example:
        >>> inside = Inside(studio)
        >>> snapshot = studio.final(Setting("l2", ratio=0.5))
        >>> inside.compare(snapshot).agreement
        >>> inside.answer(snapshot, inside.compare(snapshot).hardest()[0]).top(3)
    """

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.dense, self._hooked = _twin(studio.model), _twin(studio.model)
        self._lock, self._making = threading.Lock(), threading.Lock()
        self._compared: OrderedDict[Key, Comparison | MaskComparison] = OrderedDict()
        self._dense_said: OrderedDict[int, np.ndarray] = OrderedDict()  # of the images that were looked at last
        self.masks = studio.data.masks is not None
        self._kind = (MaskAnswer, MaskComparison) if self.masks else (Answer, Comparison)

    def images(self, label: int | None = None) -> np.ndarray:
        """Numbers of the validation images in a random order that is always the same.

        Args:
            label: only images of this class, or whose mask shows it.
        """
        data, order = self.studio.data, np.random.default_rng(0).permutation(self.studio.validation.indices)
        if label is None:
            return order
        return order[data.pixels_of(order)[:, label] > 0 if self.masks else data.labels[order] == label]

    def picture(self, image: int | np.ndarray) -> np.ndarray:
        """The pixels of an image: (H, W, 3) uint8 at the data's size.

        Args:
            image: number of a validation image in the data set, or the pixels of another image.

        Raises:
            DataError: it is none of the validation images that the studio uses, or of another shape or type.
        """
        data = self.studio.data
        if isinstance(image, np.ndarray):
            if image.shape != data.images.shape[1:] or image.dtype != np.uint8:
                raise DataError(
                    f"Got pixels of shape {image.shape} and type {image.dtype}, expected {data.images.shape[1:]} and "
                    "uint8; read_upload makes such an image of any file."
                )
            return image
        if image not in self.studio.validation.indices:
            raise DataError(
                f"Image {image} is none of the {len(self.studio.validation.indices)} validation images at hand; choose "
                "one of them, or upload an image."
            )
        return np.asarray(data.images[image])

    def answer(self, snapshot: Snapshot, image: int | np.ndarray, watch: Watch = UNWATCHED) -> Answer | MaskAnswer:
        """What both networks say about an image; milliseconds once the pruned network is at hand.

        Args:
            snapshot: says which pruned network.
            image: number of a validation image in the data set, or (H, W, 3) uint8 pixels of another image.
            watch: of the work, where the pruned network has to be made anew.

        Raises:
            DataError: see `picture`.
            Stopped: it is no longer wanted.
        """
        number = None if isinstance(image, np.ndarray) else int(image)
        known = None if number is None else self.known(snapshot)
        if isinstance(known, Comparison) and number in known.images:
            return known.answer(number)
        x, pruned = self.tensor(image), self.pruned(snapshot, watch)
        dense = None if number is None else self._dense_said.get(number)
        if dense is None:
            dense = self._says(self.dense, x)
            self._remember(number, dense)
        return self._kind[0].of(dense, self._says(pruned, x), self.studio.data, number)

    def _remember(self, image: int | None, said: np.ndarray) -> None:
        """Keeps what the dense network says of an image of the data set, as long as there is room."""
        if image is not None:
            self._dense_said[image] = said
            while sum(one.nbytes for one in self._dense_said.values()) > _SAID:
                self._dense_said.popitem(last=False)

    def _says(self, network: nn.Module, x: Tensor) -> np.ndarray:
        """What is kept of a network's answer to one image (1, 3, H, W)."""
        worker = lean(network, fuse=self.masks)
        with torch.inference_mode():
            return self._kind[0].taken(self.studio.task.final(worker(x.to(placement(worker)[1])))[0])

    def known(self, snapshot: Snapshot) -> Comparison | MaskComparison | None:
        """The comparison of a snapshot if it has been made before."""
        return self._compared.get(network_key(snapshot))

    def compare(self, snapshot: Snapshot, watch: Watch = UNWATCHED) -> Comparison | MaskComparison:
        """What both networks say about all validation images of the studio; the dense one is asked only once.

        Raises:
            Stopped: it is no longer wanted.
        """
        found = self.known(snapshot)
        if found is None:
            with self._making:
                dense, pruned = self.studio.measuring.records(snapshot, watch)
            images, task = self.studio.validation.indices, self.studio.task
            labels = torch.as_tensor(self.studio.data.labels[images]).long()
            found = self._kind[1].of(images, labels, dense, pruned, task)
            with self._lock:
                self._compared[network_key(snapshot)] = found
                while len(self._compared) > _KEPT:
                    self._compared.popitem(last=False)
        return found

    def channels(
        self, snapshot: Snapshot, group: str, image: int | np.ndarray, *, first: int = 0, limit: int = 32
    ) -> Channels:
        """Filters, feature maps and scores of a group's channels; the pruned network is not needed.

        Args:
            snapshot: says what is kept, and which criterion orders the channels.
            group: name of a group.
            image: number of a validation image in the data set, or (H, W, 3) uint8 pixels of another image.
            first: rank of the first channel that is wanted; 0 is the highest score.
            limit: most channels to return.

        Raises:
            RspruneError: there is no such group.
            DataError: see `picture`.
        """
        found = next((one for one in self.studio.groups if one.name == group), None)
        if found is None:
            raise unknown("group", group, [one.name for one in self.studio.groups])
        scores = self.studio.scoring.values_of(snapshot.setting)[group]
        order = np.argsort(-scores, kind="stable")[first : first + limit]
        filters, maps = self._filters(found), self._maps(found, self.tensor(image))
        large = [float(np.quantile(np.abs(values), 0.98)) for values in (filters, maps)]
        keep = snapshot.plan.keep[group]
        stays = np.isin(order, keep)
        return Channels(
            group, found.size, len(keep), first, order, scores[order], stays, filters[order], maps[order], *large
        )

    def pruned(self, snapshot: Snapshot, watch: Watch = UNWATCHED) -> nn.Module:
        """The pruned network; two threads that want the same one do not both make it."""
        with self._making:
            return self.studio.networks.recovered(snapshot, watch)

    def tensor(self, image: int | np.ndarray) -> Tensor:
        """(1, 3, H, W) normalised exactly as the batches are, on the network's device."""
        batches = self.studio.validation
        pixels = torch.tensor(self.picture(image), device=batches.device).float()  # (H, W, 3)
        x = torch.addcmul(batches.offset, pixels, batches.scale).permute(2, 0, 1)[None]
        return x.to(*placement(self.dense))

    def _filters(self, group: Group) -> np.ndarray:
        """(size, h, w, 3) where the root reads RGB images, else (size, h, w)."""
        root = self.dense.get_submodule(group.root)
        weight = root.weight.detach().movedim(KINDS[kind_of(root)].out["weight"], 0).float().cpu()
        weight = weight[group.members[0].index[:, 0]]  # (size, inputs, h, w), or (size, inputs) of a linear layer
        weight = weight[:, :, None, None] if weight.dim() == 2 else weight
        reads_images = group.root == units(self.dense)[0].layer and weight.shape[1] == 3
        return (weight.movedim(1, -1) if reads_images else weight.abs().mean(1)).numpy()

    def _maps(self, group: Group, x: Tensor) -> np.ndarray:
        """(size, h, w) behind the root's norm, before gate and nonlinearity."""
        unit = next(unit for unit in units(self._hooked) if unit.layer == group.root)
        seen: list[Tensor] = []
        watched = self._hooked.get_submodule(unit.norm or unit.layer)
        with self._lock, torch.inference_mode():
            # a copy, because a ReLU behind may work in place
            with hooked([(watched, lambda _module, _x, out: seen.append(out[0].float().cpu().clone()))]):
                self._hooked(x)
        value = seen[0].movedim(-1, 0) if group.members[0].axis == -1 else seen[0]
        maps = value[group.members[0].index[:, 0]]  # (size, h, w), or (size,) of a linear layer, (size, n) of tokens
        maps = maps[:, :, None] if maps.dim() == 2 else maps
        return maps.reshape(len(maps), *(maps.shape[1:] or (1, 1))).numpy()


def network_key(snapshot: Snapshot) -> Key:
    """Tells pruned networks apart. A plan can be fine-tuned twice, which shows in the likelihood of its answers."""
    recovery = snapshot.setting.recovery
    nll = snapshot.quality.nll if snapshot.final and recovery == "tuned" else None
    return snapshot.plan.hash, recovery, nll


def channel_order(snapshot: Snapshot) -> tuple:
    """What the order of the channels and the marks on them depend on."""
    setting = snapshot.setting
    return snapshot.plan.hash, setting.criterion, (setting.normalise, *sorted(setting.options.items()))


def _twin(model: nn.Module) -> nn.Module:
    """A copy of the modules that shares all tensors and starts without hooks, in evaluation mode."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    for module in model.modules():  # copied empty, even while other work is putting hooks on
        shared |= {id(hooks): OrderedDict() for hooks in (module._forward_hooks, module._forward_pre_hooks)}
    return copy.deepcopy(model, shared).eval()
