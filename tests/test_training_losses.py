import math

import pytest
import torch
from torch.nn import functional as F

from rsprune_lib.errors import RspruneError
from rsprune_lib.tasks import IGNORE, TASKS
from rsprune_lib.training import FocalLoss, MiningLoss, losses_for, make_loss


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(16, 10, generator=generator) * 2, torch.randint(0, 10, (16,), generator=generator)


def _logits(p_t: float, classes: int = 10) -> torch.Tensor:
    """Logits whose softmax gives class 0 the probability p_t and the others equal shares."""
    rest = (1 - p_t) / (classes - 1)
    return torch.tensor([[p_t] + [rest] * (classes - 1)], dtype=torch.float64).log().float()


@pytest.mark.parametrize("distance", ["mean", "tv"])
def test_exponential_term_is_one_for_a_perfect_prediction(distance):
    logits = torch.tensor([[80.0, 0, 0]])
    assert MiningLoss(distance).exponential(logits, torch.tensor([0])).item() == pytest.approx(1)


def test_distance_at_uniform_prediction():
    term = MiningLoss("mean").exponential(torch.zeros(1, 10), torch.tensor([3])).item()
    d = 2 / 10 * (1 - 1 / 10)
    assert term == pytest.approx(math.exp(d + d * d))


def test_code_preset_is_almost_flat_and_figure_preset_is_not():
    target = torch.tensor([0])
    worst = {name: make_loss(name).exponential(_logits(1e-6), target).item() for name in ("mining", "mining_code")}
    assert worst["mining_code"] == pytest.approx(math.exp(0.2 + 0.04), rel=1e-4)  # the most it can ever reach
    assert worst["mining"] == pytest.approx(math.exp(2), rel=1e-4)


def test_figure_preset_reproduces_the_digitised_curve():
    """d loss / d p_t at the points read off the authors' figure, within their 2 %."""
    for d, expected in ((0.4, 3.85), (0.6, 6.81), (0.7, 9.24), (0.8, 12.97), (0.9, 19.31)):
        p = torch.tensor(1 - d, dtype=torch.float64, requires_grad=True)
        (torch.exp((1 - p) + (1 - p) ** 2) - 0.4 * p.log()).backward()
        assert -p.grad.item() == pytest.approx(expected, rel=0.02)
        loss = make_loss("mining")(_logits(1 - d), torch.tensor([0])).item()
        assert loss == pytest.approx(math.exp(d + d * d) - 0.4 * math.log(1 - d), rel=1e-4)


def test_soft_targets_agree_with_classes(batch):
    logits, target = batch
    for distance in ("mean", "tv"):
        loss = MiningLoss(distance)
        assert loss(logits, F.one_hot(target, 10).float()).item() == pytest.approx(
            loss(logits, target).item(), rel=1e-6
        )


def test_smoothing_enters_both_terms(batch):
    logits, target = batch
    soft = F.one_hot(target, 10) * 0.9 + 0.01
    expected = MiningLoss("tv").exponential(logits, soft).mean() + 0.4 * F.cross_entropy(logits, soft)
    assert MiningLoss("tv", label_smoothing=0.1)(logits, target).item() == pytest.approx(expected.item(), rel=1e-6)


def test_focal_without_gamma_is_cross_entropy(batch):
    logits, target = batch
    for smoothing in (0.0, 0.1):
        expected = F.cross_entropy(logits, target, label_smoothing=smoothing).item()
        assert FocalLoss(0, smoothing)(logits, target).item() == pytest.approx(expected, rel=1e-5)


def test_focal_leaves_unknown_pixels_out(batch):
    logits, target = batch
    half = torch.where(torch.arange(16) < 8, target, IGNORE)
    for smoothing in (0.0, 0.1):
        loss = FocalLoss(2, smoothing)
        assert loss(logits, half).item() == pytest.approx(loss(logits[:8], target[:8]).item(), rel=1e-5)


def test_focal_discounts_easy_samples():
    easy, hard = (FocalLoss(2)(_logits(p), torch.tensor([0])).item() for p in (0.9, 0.1))
    assert easy == pytest.approx(0.1**2 * -math.log(0.9), rel=1e-4)
    assert hard == pytest.approx(0.9**2 * -math.log(0.1), rel=1e-4)


@pytest.mark.parametrize("name", losses_for(TASKS["classification"]))
def test_every_loss_is_finite_with_gradients_at_the_extremes_and_under_autocast(name):
    logits = torch.tensor([[60.0, -60.0], [-60.0, 60.0]], requires_grad=True)
    options = {"weights": (1.0, 1.5)} if name.startswith("weighted") else {}
    with torch.autocast("cpu", torch.bfloat16):
        loss = make_loss(name, **options)(logits, torch.tensor([0, 0]))
    loss.backward()
    assert loss.dtype == torch.float32 and torch.isfinite(loss) and torch.isfinite(logits.grad).all()


def test_unknown_names_offer_the_nearest():
    with pytest.raises(RspruneError, match="did you mean 'mining'"):
        make_loss("minning")
    with pytest.raises(RspruneError, match="Unknown mining distance 'l2'"):
        make_loss("mining", distance="l2")
