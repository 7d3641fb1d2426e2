"""The baselines do what their papers say: on networks where their assumption holds, nothing is lost."""

import numpy as np
import recovery_rivals
import torch
from pruning_toys import course_model

from rsprune_lib.pruning import Plan, find_groups


def _noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _in_pairs(model, groups):
    """Makes channel 2i + 1 of every group a copy of channel 2i."""
    for group in groups:
        for member in group.members:
            if member.side == "out":
                layer, rows = model.get_submodule(member.layer), torch.as_tensor(member.index[:, 0])
                for name in ("weight", "bias", "running_mean", "running_var"):
                    if (value := getattr(layer, name, None)) is not None:
                        value.data[rows[1::2]] = value.data[rows[::2]]
    return model


def test_folding_merges_equal_channels_without_loss():
    model = course_model("resnet18")
    groups = find_groups(model, 32)
    _in_pairs(model, groups)
    small = recovery_rivals.fold_channels(model, groups, {group.name: group.size // 2 for group in groups})
    x = _noise(8, 3, 32, 32)
    assert small.conv1.out_channels == 4
    small.train(), model.train()  # norms by the batch, in both
    torch.testing.assert_close(small(x), model(x), rtol=1e-3, atol=1e-3)


def test_clusters_are_the_near_points_and_none_is_empty():
    points = np.concatenate([np.zeros((4, 2)), np.full((4, 2), 5.0), np.full((1, 2), 9.0)])
    labels = recovery_rivals._clusters(points, 3, seed=0)
    assert [len(set(labels[:4])), len(set(labels[4:8])), len(set(labels))] == [1, 1, 3]
    assert set(recovery_rivals._clusters(np.zeros((6, 2)), 4, seed=0)) == {0, 1, 2, 3}


def test_readers_are_refitted_to_what_the_removed_channels_said():
    model = course_model("resnet18")
    groups = find_groups(model, 32)
    _in_pairs(model, groups)
    keep = {group.name: tuple(range(0, group.size, 2)) for group in groups}
    plan = Plan(getattr(groups, "model", {}), keep, {group.name: group.size for group in groups}, {})
    x = _noise(16, 3, 32, 32)
    small = recovery_rivals.consumer_ridge(model, groups, plan, [(x, None)], ridge=1e-9)
    torch.testing.assert_close(small(x), model(x), rtol=1e-3, atol=1e-3)
    assert torch.equal(small.conv1.weight, model.conv1.weight[::2]), "what makes channels stays as it is"
    loose = recovery_rivals.consumer_ridge(model, groups, plan, [(x, None)], ridge=10.0)
    assert (loose(x) - model(x)).abs().max() > 0.1, "the ridge counts"
