"""Pruning of segmentation networks: what speaks for which class, which rule keeps what, soft pruning, repair."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rsprune_lib.data import Batches, minority_classes
from rsprune_lib.errors import RspruneError
from rsprune_lib.models import create_model
from rsprune_lib.pruning import Live, Scores, apply, choose, class_scores, find_groups, prune, score, sequential
from rsprune_lib.pruning.criteria.classes import RULES, channel_scores
from rsprune_lib.pruning.recovery.least_squares import accumulate, solve
from rsprune_lib.pruning.recovery.positions import Positions, unrolled
from rsprune_lib.tasks import IGNORE, TASKS


@pytest.fixture
def model():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 1)).eval()
    net[1].bias.data.uniform_(-0.5, 0.5)
    net.task = "segmentation"
    return net


@pytest.fixture
def batch():
    """Five images of 6 x 6 px; class 3 has two pixels in all, and the last image is unknown but for one pixel."""
    images, masks = torch.randn(5, 3, 6, 6, generator=torch.Generator().manual_seed(1)), torch.zeros(5, 6, 6).long()
    masks[:, 3:], masks[1:3, 0], masks[3:, 0, :2] = 1, 2, IGNORE
    masks[0, 0, 0] = masks[2, 5, 5] = 3
    masks[4], masks[4, 2, 2] = IGNORE, 1
    return images, masks


def _by_hand(model, images, masks, number):
    """|d loss / d factor on the channel| of one class, averaged over the images that show it."""
    norm, rows = model[1], []
    for image, mask in zip(images, masks, strict=True):
        if (mask == number).any():
            loss = F.cross_entropy(model(image[None])[0].movedim(0, -1)[mask == number], mask[mask == number])
            by_gamma, by_beta = torch.autograd.grad(loss, [norm.weight, norm.bias])
            rows.append((norm.weight * by_gamma + norm.bias * by_beta).abs().detach())
    return torch.stack(rows).mean(0)


def test_class_scores_are_the_derivatives_of_each_classs_own_loss(model, batch, monkeypatch):
    groups, before = find_groups(model, 6), {k: v.clone() for k, v in model.state_dict().items()}
    table = class_scores(model, groups, [batch], per_image=None, progress=False)["0"]
    assert table.shape == (4, 6)
    for number in range(4):
        torch.testing.assert_close(table[number], _by_hand(model, *batch, number), rtol=1e-3, atol=1e-7)
    monkeypatch.setattr("rsprune_lib.pruning.criteria.gradients._PIXELS", 80)  # two images of 6 x 6 at a time
    split = class_scores(model, groups, [batch], per_image=None, progress=False)["0"]
    torch.testing.assert_close(split, table, rtol=1e-4, atol=1e-7)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items()) and not model[0].weight.grad


def test_few_backward_passes_go_to_the_rare_classes_first(model, batch, monkeypatch):
    passes, grad = [], torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: passes.append(1) or grad(*a, **k))
    images, masks = (part.repeat(3, *[1] * (part.dim() - 1)) for part in batch)
    single = [(image[None], mask[None]) for image, mask in zip(images, masks, strict=True)]
    groups = find_groups(model, 6)
    few = class_scores(model, groups, single, per_image=1, progress=False)["0"]
    assert len(passes) == len(images), "one backward pass for an image"
    monkeypatch.undo()
    every = class_scores(model, groups, single, per_image=None, progress=False)["0"]
    assert few.any(1).all() and not torch.equal(few, every)
    absent = class_scores(model, groups, [(images, masks.clamp_max(2))], progress=False)["0"]
    assert not absent[3].any() and absent[:3].any(1).all()


def test_the_legacy_loss_lets_other_pixels_agree_with_the_network(model, batch):
    images, masks = batch
    found = class_scores(model, find_groups(model, 6), [batch], per_image=None, legacy=True, progress=False)["0"][2]
    norm, rows = model[1], []
    for image, mask in zip(images[1:3], masks[1:3], strict=True):
        logits = model(image[None])
        loss = F.cross_entropy(logits, torch.where(mask == 2, mask, logits.argmax(1)[0])[None])
        by_gamma, by_beta = torch.autograd.grad(loss, [norm.weight, norm.bias])
        rows.append((norm.weight * by_gamma + norm.bias * by_beta).abs().detach())
    torch.testing.assert_close(found, torch.stack(rows).mean(0), rtol=1e-3, atol=1e-7)


def test_class_balanced_counts_every_class_of_an_image_the_same(model, batch):
    images, masks = (part[2:3] for part in batch)
    norm, logits = model[1], model(images)
    each = [F.cross_entropy(logits[0].movedim(0, -1)[masks[0] == c], masks[0][masks[0] == c]) for c in range(4)]
    by_gamma, by_beta = torch.autograd.grad(torch.stack(each).mean(), [norm.weight, norm.bias])
    found = score(model, find_groups(model, 6), "class_balanced", data=[(images, masks)], progress=False).values["0"]
    torch.testing.assert_close(
        found, (norm.weight * by_gamma + norm.bias * by_beta).abs().detach(), rtol=1e-3, atol=1e-7
    )
    unknown = [(images, masks), (images, torch.full_like(masks, IGNORE))]
    halved = score(model, find_groups(model, 6), "class_balanced", data=unknown, progress=False).values["0"]
    torch.testing.assert_close(halved, found / 2)


def test_heads_that_only_serve_a_loss_matter_to_no_class():
    net = create_model("ued_bes", 3, width=0.1, seed=0).eval()
    images, masks = torch.randn(2, 3, 32, 32), torch.arange(2 * 32 * 32).view(2, 32, 32) % 3
    groups = [group for group in find_groups(net, 32) if group.name in ("edge_head.0.0", "encoder.conv_stem")]
    table = class_scores(net, groups, [(images, masks)], progress=False)
    assert len(groups) == 2 and table["encoder.conv_stem"].any(1).all() and not table["edge_head.0.0"].any()


# rows are classes, columns are channels; class 2 is the rarest, and channel 4 is its own
TABLE = torch.tensor([[9.0, 8, 7, 6, 0, 5], [5.0, 9, 8, 7, 0, 6], [3.0, 1, 2, 1, 9, 0]])


def _kept(scores, size):
    class One:
        name, signature = "g", ()

    One.size = len(scores)
    return choose(Scores("class_taylor", {"g": scores}), [One], ratio=1 - size / len(scores)).keep["g"]


@pytest.mark.parametrize(("rule", "classes", "named"), [
    ("minority_group", [2], [4, 0, 2, 1, 3, 5]),
    ("minority_group", [2, 1], [4, 1, 0, 2, 3, 5]),
    ("all_classes", [2, 1, 0], [4, 1, 0, 2, 3, 5]),
    ("borda", [0, 1, 2], [1, 0, 2, 3, 4, 5]),  # 11, 10, 10, 6, 5 and 3 points
])  # fmt: skip
def test_rules_keep_the_first_distinct_filters_exactly(rule, classes, named):
    scores = channel_scores(TABLE, classes, rule)
    for size in range(1, 7):
        assert set(_kept(scores, size)) == set(named[:size])
    assert torch.equal(scores, channel_scores(TABLE, classes, rule)) and 0 < scores.min() <= scores.max() <= 1


def test_only_the_minority_rules_save_the_filter_of_a_rare_class():
    kept = {rule: _kept(channel_scores(TABLE, [2, 1, 0], rule), 1) for rule in RULES}
    assert kept == {"minority_group": (4,), "all_classes": (4,), "borda": (1,)}
    without = TABLE.clone()
    without[2] = 0  # no image shows it: it has no say
    assert _kept(channel_scores(without, [2, 1, 0], "all_classes"), 1) == (1,)
    assert channel_scores(torch.zeros(3, 6), [2, 1, 0], "borda").unique().numel() == 1


def test_minority_classes_have_the_fewest_training_pixels(tiny_data, batch):
    assert minority_classes([batch]) == (3, 2) and minority_classes([batch], 3) == (3, 2, 0)
    assert minority_classes([batch], [0, 3]) == (3, 0)
    masks = np.zeros((len(tiny_data.labels), 4, 4), dtype=np.uint8)
    masks[:, 0], masks[tiny_data.split.val] = 1, 2  # class 2 has many pixels, none of them for training
    masks[tiny_data.split.test] = 1  # where class 0 is the rare one
    masks[:, 3] = 255
    data = dataclasses.replace(tiny_data, masks=masks)
    assert minority_classes(data, 4) == (1, 0) and minority_classes(Batches(data, "train", 8)) == (1, 0)
    labels = np.ones_like(tiny_data.labels)  # of all images class 0 is rarest, of the training images class 1
    labels[tiny_data.split.train[: round(0.55 * len(tiny_data.split.train))]] = 0
    assert minority_classes(dataclasses.replace(tiny_data, labels=labels), 1) == (1,)
    with pytest.raises(RspruneError, match="5 minority classes; expected a whole number from 1 to 4"):
        minority_classes(dataclasses.replace(data, name="camvid"))  # whose usual number is 5
    with pytest.raises(RspruneError, match=r"\[2\] are not among those with training pixels, \[0, 1\]"):
        minority_classes(data, [1, 2])


def test_class_taylor_is_a_criterion_with_options(model, batch, tiny_se, tiny_data):
    groups = find_groups(model, 6)
    given = {"data": [batch], "progress": False}
    table = class_scores(model, groups, **given)["0"]
    for options, classes in (({}, (3, 2)), ({"minority": 1}, (3,)), ({"rule": "borda"}, (3, 2, 0, 1))):
        found = score(model, groups, "class_taylor", **given, **options).values["0"]
        assert torch.equal(found, channel_scores(table, classes, options.get("rule", "minority_group")))
    with pytest.raises(RspruneError, match="Unknown rule of criterion class_taylor 'bord'; did you mean 'borda'"):
        score(model, groups, "class_taylor", rule="bord", **given)
    with pytest.raises(RspruneError, match="leave minority out"):
        score(model, groups, "class_taylor", rule="borda", minority=2, **given)
    how = {"criterion": "class_taylor", "options": {"minority": [3]}, "recovery": "none", "progress": False}
    assert prune(tiny_se, tiny_data, ratio=0.5, images=16, **how).plan.widths["conv1"] == 4  # a classifier, too


def test_tmm_removes_the_densest_filter_again_and_again(model):
    rows = torch.tensor([0.0, 1.0, 1.1, 5.0, 9.0, 9.5])  # filters on a line
    model[0].weight.data.zero_()[:, 0, 0, 0] = rows
    scores = score(model, find_groups(model, 6), "tmm").values["0"]
    # of the pair (1, 1.1) the second is nearer to all; then 9; then 1; then 5; of the last two 0 is nearer to all
    assert (6 * scores).tolist() == pytest.approx([5, 3, 1, 4, 2, 6])
    with pytest.raises(RspruneError, match="k of criterion tmm is 1"):
        score(model, find_groups(model, 6), "tmm", k=1)


@pytest.mark.parametrize("layer", [
    nn.Conv2d(6, 8, 3, padding=1, stride=2),
    nn.Conv2d(6, 8, 3, padding=1, groups=2, bias=False),
    nn.Conv2d(6, 6, (5, 3), padding=2, groups=6),
    nn.ConvTranspose2d(6, 4, 2, 2),
])  # fmt: skip
def test_rows_at_drawn_places_give_a_layer_back(layer):
    x = torch.randn(2, 6, 22, 20, generator=torch.Generator().manual_seed(0))
    target = layer(x).detach()
    places = Positions([torch.zeros(2, 44, 40).long()], "uniform", most=100)
    worker, rows = places.fitted(layer, target)
    sample = next(iter(rows([(x, target, 2 * target)])))
    assert sample[1].shape == (2, layer.out_channels, 100, 1) and torch.equal(sample[2], 2 * sample[1])
    moments = accumulate(None, worker, *sample[:2]).moments(layer.bias is not None)
    found = unrolled(solve(moments, worker, 1e-9), layer)
    torch.testing.assert_close(found.weight, layer.weight.double(), atol=1e-5, rtol=1e-4, check_dtype=False)
    with torch.no_grad():
        torch.testing.assert_close(worker(sample[0]).shape, sample[1].shape)


def test_balanced_places_show_every_class_of_an_image_as_often():
    mask = torch.zeros(1, 30, 40).long()
    mask[0, :2], mask[0, 5, 5], mask[0, 20:] = 1, 2, IGNORE
    coordinates = torch.stack(torch.meshgrid(torch.arange(30.0), torch.arange(40.0), indexing="ij"))[
        None
    ]  # (1, 2, H, W)
    shares = {}
    for how in ("uniform", "balanced"):
        _, rows = (places := Positions([mask], how, most=900)).fitted(nn.Conv2d(2, 2, 1), coordinates)
        _, seen, _ = next(iter(rows([(coordinates, coordinates, None)])))
        row, column = seen[0, :, :, 0].long()
        found = mask[0, row, column]
        shares[how] = [(found == number).float().mean().item() for number in (0, 1, 2, IGNORE)]
        assert torch.equal(places._drawn[0], Positions([mask], how, most=900)._drawn[0])
    assert shares["balanced"] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0], abs=0.05)
    assert shares["uniform"] == pytest.approx([0.6, 1 / 15, 0, 1 / 3], abs=0.05)
    small = torch.zeros(1, 2, 30, 30)
    assert Positions([mask], "uniform", most=900).fitted(layer := nn.Conv2d(2, 2, 1), small)[0] is layer
    assert Positions([torch.zeros(1).long()], "balanced").fitted(layer, coordinates)[0] is layer  # labels, no masks
    with pytest.raises(RspruneError, match="Unknown way to draw positions 'balancd'"):
        Positions([mask], "balancd")


@pytest.mark.parametrize("positions", ["all", "uniform", "balanced"])
def test_a_segmenter_is_repaired_at_few_places(model, positions, monkeypatch):
    monkeypatch.setattr("rsprune_lib.pruning.recovery.sequential.Positions", partial(Positions, most=60))
    monkeypatch.setattr("rsprune_lib.pruning.recovery.live.Positions", partial(Positions, most=60))
    for tensor in (model[0].weight, model[0].bias, model[1].weight, model[1].bias):
        tensor.data[3:] = tensor.data[:3]  # three channels say the same as the other three
    generator = torch.Generator().manual_seed(0)
    images, masks = (
        torch.randn(4, 3, 12, 10, generator=generator),
        torch.randint(0, 4, (4, 12, 10), generator=generator),
    )
    groups, data = find_groups(model, 12), [(images, masks)]
    plan = choose(Scores("by hand", {"0": torch.arange(6, 0, -1.0)}), groups, ratio=0.5)
    raw, wanted = apply(model, plan, groups), model(images)
    live = Live(model, groups, data, positions=positions, progress=False)
    for small in (
        sequential(model, raw, plan, data, groups=groups, positions=positions, progress=False),
        live.solve(plan),
    ):
        assert (small(images) - wanted).abs().mean() < 1e-3 < (raw(images) - wanted).abs().mean()


def test_prune_hands_the_way_to_draw_positions_on(tiny_data):
    masks = np.random.default_rng(0).choice(3, (len(tiny_data.labels), 32, 32), p=(0.7, 0.28, 0.02)).astype(np.uint8)
    scenes = dataclasses.replace(
        tiny_data,
        images=tiny_data.images[:, :32, :32],
        masks=masks,
        classes=("a", "b", "c"),
        task=TASKS["segmentation"],
    )
    model = create_model("unet1", scenes.num_classes, width=0.125, seed=0).eval()
    given = {"criterion": "l1", "ratio": 0.5, "images": 4, "progress": False}
    found = {how: prune(model, scenes, repairing={"positions": how}, **given) for how in ("uniform", "balanced")}
    default, one = prune(model, scenes, **given), next(iter(Batches(scenes, "train", 4)))[0]
    assert torch.equal(default.model(one), found["balanced"].model(one))
    assert not torch.equal(default.model(one), found["uniform"].model(one))
    with pytest.raises(RspruneError, match="Unknown option of recovery bn 'positions'. Known: none"):
        prune(model, scenes, recovery="bn", repairing={"positions": "all"}, **given)


@pytest.mark.parametrize("positions", ["uniform", "balanced"])
def test_norms_have_the_statistics_of_pixels_wherever_the_fit_looked(model, positions):
    masks = torch.zeros(4, 40, 50).long()
    masks[:, :2] = 1  # one pixel in twenty, and very bright
    images = torch.randn(4, 3, 40, 50, generator=torch.Generator().manual_seed(0)) + 5 * masks[:, None]
    fitted = sequential(model, model, None, [(images, masks)], positions=positions, progress=False)
    out = fitted[0](images).transpose(0, 1).flatten(1)  # (6, pixels)
    torch.testing.assert_close(fitted[1].running_mean, out.mean(1), atol=0.1, rtol=0.1)
    torch.testing.assert_close(fitted[1].running_var, out.var(1), atol=0.1, rtol=0.2)
    assert (fitted(images) - model(images)).abs().mean() < 0.01
