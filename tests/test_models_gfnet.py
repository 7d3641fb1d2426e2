"""GFNet: published sizes, the filter as FFT, products and circular convolution, other image sizes."""

import pytest
import torch

from rsprune_lib.errors import ModelError, RspruneError
from rsprune_lib.models import create_model
from rsprune_lib.models.gfnet import GFNET_SIZES, GFNet, GlobalFilter, Size, resize_filter
from rsprune_lib.pruning import apply, choose, find_groups, masked, score


def parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    "image_size, classes, exits, total",
    [(256, 45, 69_320, 16_005_365), (256, 21, 32_360, 15_959_165), (256, 38, 58_540, 15_991_890),
     (128, 10, 15_420, 14_905_798)],
)  # fmt: skip
def test_parameters_of_the_published_networks(image_size, classes, exits, total):
    with torch.device("meta"):
        assert parameters(GFNet(classes, size=GFNET_SIZES["gfnet_xs"], image_size=image_size)) + exits == total


@pytest.mark.parametrize(
    "name, millions",
    [("gfnet_ti", 7), ("gfnet_xs", 16), ("gfnet_s", 25), ("gfnet_b", 43), ("gfnet_h_ti", 15), ("gfnet_h_s", 32),
     ("gfnet_h_b", 54)],
)  # fmt: skip
def test_parameters_in_millions_as_the_paper_prints_them(name, millions):
    with torch.device("meta"):
        assert abs(parameters(GFNet(1000, size=GFNET_SIZES[name])) / 1e6 - millions) < 0.7


@pytest.fixture
def tokens():
    return torch.randn(2, 6, 9, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("grid", [(6, 9), (8, 8), (7, 4), (1, 5), (3, 1)])
def test_products_equal_the_fft(grid):
    torch.manual_seed(1)
    layer, x = GlobalFilter(5, grid), torch.randn(3, *grid, 5)
    other = GlobalFilter(5, grid, "dft")
    other.load_state_dict(layer.state_dict())
    one = layer(x).detach()
    assert torch.allclose(one, other(x), atol=1e-6 * float(one.abs().max()) + 1e-7)


def test_the_filter_is_a_circular_convolution(tokens):
    layer = GlobalFilter(5, (6, 9))
    kernel = torch.fft.irfft2(torch.view_as_complex(layer.weight.detach()), s=(6, 9), dim=(0, 1), norm="backward")
    wanted = torch.zeros_like(tokens)
    for i in range(6):
        for j in range(9):
            wanted += kernel[i, j] * tokens.roll((i, j), dims=(1, 2))
    assert torch.allclose(layer(tokens), wanted, atol=1e-5)


def test_the_filter_stays_in_float32_under_autocast(tokens):
    layer = GlobalFilter(5, (6, 9))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(tokens)
    assert torch.equal(found, layer(tokens))


@pytest.mark.parametrize("mode", ["bicubic", "bilinear", "spatial"])
def test_resizing_to_the_same_grid_changes_nothing(mode):
    weight = torch.randn(6, 5, 3, 2)
    assert torch.equal(resize_filter(weight, (6, 9), (6, 9), mode), weight)
    assert resize_filter(weight, (6, 9), (8, 12), mode).shape == (8, 7, 3, 2)


@pytest.mark.parametrize("old, new", [((6, 9), (10, 13)), ((8, 8), (12, 10)), ((5, 6), (8, 9))])
def test_a_small_kernel_keeps_its_reach_when_padded(old, new):
    """A kernel of 3 x 3 tokens does the same on a larger grid, away from the borders."""
    kernel = torch.zeros(*old, 1)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            kernel[i, j] = 1 + i + 3 * j
    weight = torch.view_as_real(torch.fft.rfft2(kernel, dim=(0, 1), norm="backward"))
    layers = GlobalFilter(1, old), GlobalFilter(1, new)
    layers[0].weight.data, layers[1].weight.data = weight, resize_filter(weight, old, new, "spatial")
    x = torch.zeros(1, *new, 1)
    x[:, 1 : old[0] - 1, 1 : old[1] - 1] = torch.randn(1, old[0] - 2, old[1] - 2, 1)
    inner = layers[0](x[:, : old[0], : old[1]])
    assert torch.allclose(layers[1](x)[:, : old[0], : old[1]], inner, atol=1e-4)


def test_takes_other_sizes_and_refuses_what_the_patch_does_not_divide():
    model = GFNet(4, size=Size((8,), (2,)), image_size=(32, 48), patch=8).eval()
    assert model(torch.zeros(2, 3, 32, 48)).shape == (2, 4) and model(torch.zeros(2, 3, 48, 64)).shape == (2, 4)
    with pytest.raises(ModelError, match="multiples of 8, but an image has 36 x 48"):
        model(torch.zeros(1, 3, 36, 48))
    with pytest.raises(ModelError, match="multiples of 32"):
        GFNet(4, size=GFNET_SIZES["gfnet_h_ti"], image_size=48)
    with pytest.raises(RspruneError, match="Unknown transform"):
        GlobalFilter(4, (4, 4), "dct")


def test_a_smooth_image_looks_the_same_at_another_size():
    """Filters and positions of 64 px, resized on the fly: a smooth image at 96 px gets nearly the same logits."""
    torch.manual_seed(0)
    model = GFNet(6, size=Size((16,), (3,)), image_size=64, patch=8).eval()
    ramp = torch.linspace(-1, 1, 64)
    small = torch.stack([ramp.expand(64, 64), ramp.expand(64, 64).T, ramp.expand(64, 64).flip(1)])[None]
    large = torch.nn.functional.interpolate(small, size=96, mode="bilinear", align_corners=True)
    with torch.no_grad():
        one, other = model(small), model(large)
    assert one.argmax() == other.argmax() and torch.cosine_similarity(one, other) > 0.95


def test_dropped_branches_only_in_training():
    torch.manual_seed(0)
    model = GFNet(3, size=Size((8,), (4,), drop_path=0.9), image_size=16, patch=8)
    x = torch.randn(4, 3, 16, 16)
    assert not torch.equal(model.train()(x), model(x))
    assert torch.equal(model.eval()(x), model(x))


@pytest.mark.parametrize(
    "name, options", [("gfnet_ti", {"patch": 8, "image_size": 32}), ("gfnet_h_ti", {"image_size": 64})]
)
def test_tokens_norms_and_filters_are_pruned_together(name, options):
    """Masked equals applied, and filters, positions and norms lose the channels of their stage."""
    model = create_model(name, 5, width=0.125, seed=0, **options).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    groups = find_groups(model, options["image_size"])
    plan = choose(score(model, groups, "l2"), groups, ratio=0.5)
    small, images = apply(model, plan, groups), torch.randn(3, 3, options["image_size"], options["image_size"])
    with torch.no_grad(), masked(model, plan, groups):
        silenced = model(images)
    with torch.no_grad():
        assert torch.allclose(small(images), silenced, atol=1e-5 * float(silenced.abs().max()))
    width = plan.widths["stages.0.patches.conv"]
    assert width < plan.sizes["stages.0.patches.conv"]
    assert small.stages[0].block0.filter.weight.shape[2] == small.stages[0].positions.weight.shape[-1] == width
    assert create_model(**model.config).config == model.config
