"""Batches: whole-batch arithmetic equals the plain per-image way, and every epoch can be replayed."""

import dataclasses
from itertools import combinations

import numpy as np
import pytest
import torch

from rsprune_lib.data import Augment, Batches
from rsprune_lib.data.batches import _draw, balanced
from rsprune_lib.errors import DataError, RspruneError
from rsprune_lib.tasks import IGNORE, TASKS

ALL = Augment(dihedral=True, shift=5, brightness=0.2, contrast=0.3)


def plain(data, index, element=0, shift=(0, 0), light=1.0, contrast=1.0):
    """One image, step by step, with numpy."""
    image = np.asarray(data.images[index])
    size = len(image)
    image = np.rot90(image, element % 4)
    image = image[:, ::-1] if element >= 4 else image
    if any(shift):
        padded = np.pad(image, ((8, 8), (8, 8), (0, 0)), mode="reflect")
        image = padded[8 + shift[0] : 8 + shift[0] + size, 8 + shift[1] : 8 + shift[1] + size]
    x = image.astype(np.float64) / 255
    x = light * (contrast * (x - x.mean()) + x.mean())
    return ((x - data.mean) / data.std).transpose(2, 0, 1)


def test_plain_batches(tiny_data):
    batches = Batches(tiny_data, "test", 10)
    assert len(batches) == 3 and batches.size == 28 and (batches.indices == tiny_data.split.test).all()
    seen = [(images, labels) for images, labels in batches]
    assert [len(labels) for _, labels in seen] == [10, 10, 8]
    images, labels = seen[1]
    assert images.shape == (10, 3, 32, 32) and images.dtype == torch.float32 and labels.dtype == torch.int64
    assert images.is_contiguous(memory_format=torch.channels_last)
    for image, label, index in zip(images, labels, tiny_data.split.test[10:20], strict=True):
        assert label == tiny_data.labels[index]
        assert np.allclose(image, plain(tiny_data, index), atol=1e-5)


@pytest.mark.parametrize("augment", [Augment(dihedral=True), Augment(shift=7), Augment(brightness=0.2), ALL])
def test_augmented_batches_equal_the_plain_way(tiny_data, augment):
    batches = Batches(tiny_data, "train", 24, augment=augment, seed=3)
    for step, (images, _) in enumerate(batches.epoch(2)):
        draws = _draw(augment, len(images), np.random.default_rng([3, 2, step + 1]))
        for i, index in enumerate(tiny_data.split.train[step * 24 :][: len(images)]):
            own = {name: values[i] for name, values in draws.items()}
            # shifting first and turning the coordinates afterwards is one gather; the plain way turns, then shifts
            assert np.allclose(images[i], plain(tiny_data, index, **own), atol=1e-4), (step, i, own)


def test_all_eight_elements_come_up_and_differ(tiny_data):
    index = tiny_data.split.train[:1]
    batches = Batches(tiny_data, np.repeat(index, 200), 200, augment=Augment(dihedral=True))
    images, _ = next(iter(batches))
    distinct = torch.unique(images.flatten(1), dim=0)
    assert len(distinct) == 8
    assert torch.allclose(distinct.mean(1), distinct.mean(1)[:1].expand(8), atol=1e-5)


def test_images_with_an_upside_are_only_mirrored(tiny_data):
    index = tiny_data.part("train")[:1]
    upright = dataclasses.replace(tiny_data, upright=True)
    batches = Batches(upright, np.repeat(index, 200), 200, augment=Augment(dihedral=True))
    images, _ = next(iter(batches))
    found = {image.numpy().tobytes() for image in images}
    image = next(iter(Batches(tiny_data, index)))[0][0]
    assert found == {image.numpy().tobytes(), image.flip(2).numpy().tobytes()}


def test_epochs_replay_and_differ(tiny_data):
    batches = Batches(tiny_data, "train", 16, augment=ALL, shuffle=True, seed=1)
    first, again, other = (list(batches.epoch(n)) for n in (4, 4, 5))
    assert all(torch.equal(a, b) and torch.equal(x, y) for (a, x), (b, y) in zip(first, again, strict=True))
    assert not torch.equal(first[0][1], other[0][1]) or not torch.equal(first[0][0], other[0][0])
    assert not torch.equal(first[0][0], next(iter(Batches(tiny_data, "train", 16, shuffle=True, seed=2)))[0])
    state = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - that it is left alone
    list(batches.epoch(0))
    assert torch.equal(torch.random.get_rng_state(), state[0])
    assert (np.random.get_state()[1] == state[1]).all()  # noqa: NPY002


def test_every_epoch_and_every_seed_has_its_own_order(tiny_data):
    orders = []
    for seed, epoch in ((1, 4), (1, 5), (2, 4)):
        batches = Batches(tiny_data, "train", 1000, shuffle=True, seed=seed)
        orders.append(torch.cat([images for images, _ in batches.epoch(epoch)]))
    assert all(torch.equal(*(x.flatten(1).sum(1).sort().values for x in (orders[0], other))) for other in orders[1:])
    assert not any(torch.equal(a, b) for a, b in combinations(orders, 2))


def test_shuffling_shows_every_image_once(tiny_data):
    labels = torch.cat([labels for _, labels in Batches(tiny_data, "train", 10, shuffle=True)])
    assert torch.bincount(labels).tolist() == np.bincount(tiny_data.labels[tiny_data.split.train]).tolist()


@pytest.mark.parametrize("world", [2, 3])
def test_shards_are_slices_of_the_whole_batch(tiny_data, world):
    options = {"augment": ALL, "shuffle": True, "seed": 5}
    whole = list(Batches(tiny_data, "train", 12, **options).epoch(1))
    shards = [list(Batches(tiny_data, "train", 12, shard=(rank, world), **options).epoch(1)) for rank in range(world)]
    for step, (images, labels) in enumerate(whole):
        for rank in range(world):
            assert torch.equal(shards[rank][step][1], labels[rank::world])
            assert torch.allclose(shards[rank][step][0], images[rank::world], atol=1e-6)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_a_training_batch_has_two_images_for_every_process(tiny_data, world):
    """Batch norm has no statistics of one image: a last batch that is too small joins the one before it."""
    for size in range(40):
        indices = tiny_data.split.train[:size]
        shards = [Batches(tiny_data, indices, 8, shuffle=True, seed=1, shard=(rank, world)) for rank in range(world)]
        labels = [[part for _, part in batches.epoch(3)] for batches in shards]
        assert sum(len(part) for own in labels for part in own) == size, "every image once"
        assert all(len(own) == len(batches) for own, batches in zip(labels, shards, strict=True))
        if size >= 2 * world:
            assert min(len(part) for own in labels for part in own) >= 2


def test_only_a_last_batch_that_is_too_small_joins(tiny_data):
    def counts(size, **options):
        return [len(labels) for _, labels in Batches(tiny_data, tiny_data.split.train[:size], 16, **options)]

    assert counts(17, shuffle=True) == [17] and counts(33, shuffle=True) == [16, 17]
    assert (
        counts(18, shuffle=True) == [16, 2] and counts(32, shuffle=True) == [16, 16] and counts(1, shuffle=True) == [1]
    )
    assert counts(17) == [16, 1], "an evaluation takes them as they come"
    assert counts(18, shuffle=True, shard=(1, 2)) == [9] and counts(17, shard=(1, 2)) == [8, 0]


def test_limit_is_balanced_and_always_the_same(tiny_data):
    batches = Batches(tiny_data, "train", 8, limit=10)
    assert batches.size == 10 and set(batches.indices) <= set(tiny_data.split.train)
    assert sorted(np.bincount(tiny_data.labels[batches.indices]).tolist()) == [2, 2, 3, 3]
    assert (batches.indices == Batches(tiny_data, "train", 4, limit=10, seed=9).indices).all()
    assert Batches(tiny_data, "val", limit=1000).size == len(tiny_data.split.val)
    uneven = balanced(np.array([0] * 50 + [1] * 3), np.arange(53), 20)
    assert np.bincount(np.array([0] * 50 + [1] * 3)[uneven]).tolist() == [17, 3]
    assert uneven.tolist() == sorted(uneven) and uneven[16] > 16, "in order, and not merely the first"


def test_a_check_comes_before_every_batch_and_the_other_batches_have_none(tiny_data):
    checked = []
    batches = Batches(tiny_data, "val", 4)
    watched = batches.watched(lambda: checked.append(len(seen)))
    seen = []
    for _ in watched:
        seen.append(None)
    assert checked == [0, 1] and len(list(batches)) == 2 and len(checked) == 2


def test_wrong_arguments(tiny_data):
    for options in ({"batch_size": 0}, {"shard": (2, 2)}, {"limit": 0}, {"augment": Augment(shift=32)}):
        with pytest.raises(DataError):
            Batches(tiny_data, "train", **options)
    for values in ({"shift": -1}, {"brightness": 1.0}, {"contrast": -0.1}):
        with pytest.raises(DataError):
            Augment(**values)
    with pytest.raises(RspruneError, match="'tset'.*'test'"):
        Batches(tiny_data, "tset")


def test_shrunken_images_are_the_means_of_their_pixels(tiny_data):
    batches = Batches(tiny_data, "train", 8, augment=ALL, seed=1)
    whole, labels = next(batches.epoch(2))
    half, same = next(batches.epoch(2, shrink=2))
    assert half.shape[-1] == whole.shape[-1] // 2 and torch.equal(labels, same)
    assert half.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(half[:, :, 0, 0], whole[:, :, :2, :2].mean((2, 3)), atol=1e-5)


@pytest.fixture(scope="module")
def masked(tiny_data):
    """Images of 20 x 28 pixels whose mask is their own red channel, so that a mask that goes another way shows."""
    rng = np.random.default_rng(5)
    masks = rng.integers(0, 4, (len(tiny_data.labels), 20, 28), dtype=np.uint8)
    images = np.stack([masks * 60, masks, 255 - masks], axis=-1)
    masks = np.where(rng.random(masks.shape) < 0.1, 255, masks).astype(np.uint8)
    return dataclasses.replace(tiny_data, images=images, masks=masks, task=TASKS["segmentation"])


@pytest.mark.parametrize("augment", [None, Augment(dihedral=True), Augment(shift=6), Augment(dihedral=True, shift=6)])
@pytest.mark.parametrize("upright", [False, True])
def test_masks_go_with_their_images(masked, augment, upright):
    data, seen = dataclasses.replace(masked, upright=upright), set()
    for images, masks in Batches(data, "train", 16, augment=augment, shuffle=True).epoch(1):
        assert images.shape[2:] == masks.shape[1:] == (20, 28) and masks.dtype == torch.int64
        red = images[:, 0] * data.std[0] * 255 + data.mean[0] * 255
        known = masks != IGNORE
        assert torch.equal(torch.round(red / 60)[known].long(), masks[known]) and not known.all()
        seen.add(masks.numpy().tobytes())
    assert len(seen) > 1


def test_only_the_elements_that_keep_the_sides_move_an_oblong_image(masked):
    index = masked.split.train[:1]
    images, _ = next(iter(Batches(masked, np.repeat(index, 100), 100, augment=Augment(dihedral=True))))
    assert len(torch.unique(images.flatten(1), dim=0)) == 4


def test_smaller_images_have_smaller_masks(masked):
    (images, masks), (whole, targets) = (next(Batches(masked, "train", 8).epoch(0, shrink=shrink)) for shrink in (3, 1))
    assert images.shape[2:] == masks.shape[1:] == (6, 9) and whole.shape[2:] == (20, 28)
    assert torch.equal(masks, targets[:, 1:18:3, 1:27:3])
