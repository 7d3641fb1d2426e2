"""Rules for leaving early: features by hand, the same images leave in a real pass, and promises that are kept."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from rsprune_lib.errors import ModelError, RspruneError
from rsprune_lib.measure.early_exit import (
    Outcome,
    conformal_level,
    oracle,
    outcome,
    promise,
    sweep,
    tuned_to,
)
from rsprune_lib.measure.exit_rules import EXIT_RULES, ExitRule, exit_features
from rsprune_lib.models import add_exits, create_model, run_early

COSTS = (1.0, 2.0, 4.0)


def drawn(n, seed=0, classes=5):
    """Records of two exits and a final classifier that grow surer and better, with their labels."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (n,), generator=random)
    easy = torch.rand(n, generator=random)[:, None, None]
    truth = torch.nn.functional.one_hot(labels, classes)[:, None]
    strength = torch.tensor([2.0, 4.0, 6.0])[None, :, None]
    noise = torch.randn(n, 3, classes, generator=random)
    return strength * easy * truth + 1.2 * noise, labels


@pytest.fixture(scope="module")
def records():
    return drawn(600)


def test_features_against_scipy():
    logits = torch.randn(7, 6, dtype=torch.float64)
    p = logits.softmax(1).numpy()
    q = p**2 / (p**2).sum(1, keepdims=True)
    two = np.sort(p, axis=1)[:, ::-1]
    wanted = np.stack([two[:, 0], entropy(p.T) / math.log(6), two[:, 0] - two[:, 1], entropy(q.T) / math.log(6)], 1)
    assert np.allclose(exit_features(logits).numpy(), wanted, atol=1e-6)
    assert torch.equal(exit_features(logits)[2:3], exit_features(logits[2:3]))


def test_features_of_a_certain_answer_are_finite_and_carry_no_gradient():
    logits = torch.tensor([[1e4, 0.0, 0.0]], requires_grad=True)
    found = exit_features(logits)
    assert found.tolist() == [[1.0, 0.0, 1.0, 0.0]] and not found.requires_grad


@pytest.mark.parametrize("kind", EXIT_RULES)
def test_a_real_pass_lets_the_same_images_leave(kind):
    model = add_exits(create_model("resnet18", 5, width=0.125, seed=0), ["layer1", "layer2", "layer3"]).eval()
    for head in model.exits.heads:
        head.fc.weight.data *= 20
    images = torch.randn(40, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    images += 3 * torch.randn(40, 3, 1, 1, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        found = torch.stack(model(images), 1)
    gates = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)) if kind == "gate" else None
    cuts = (2.0, 2.0, 3.0)
    if kind != "patience":
        bare = ExitRule("max_probability" if kind == "conformal" else kind, cuts, gates)
        cuts = tuple(float(bare.readiness(number, found[:, number]).median()) for number in range(3))
    rule = ExitRule(kind, cuts, gates)
    left = rule.exits(found)
    assert len(set(left.tolist())) > 1
    early = run_early(model, images, rule.leave())
    assert torch.equal(early.exit, left)
    assert torch.equal(early.logits.argmax(1), found[torch.arange(40), left].argmax(1))


def test_patience_by_hand():
    """Answers 0 0 | 1 of the first image, 1 0 | 0 of the second: the first leaves at the second exit."""
    found = torch.tensor([[[2.0, 0], [2, 0], [0, 2]], [[0, 2.0], [2, 0], [2, 0]]])
    assert ExitRule("patience", (2, 2)).exits(found).tolist() == [1, 2]
    assert ExitRule("patience", (1, 2)).exits(found).tolist() == [0, 0]


def test_outcome_by_hand():
    found = torch.tensor([[[3.0, 0], [0, 3], [3, 0]], [[0, 1.0], [0, 3], [0, 3]], [[1.0, 0], [1, 0], [0, 3]]])
    labels = torch.tensor([0, 1, 1])
    result = outcome(found, labels, COSTS, ExitRule("max_probability", (0.9, 0.9)))
    assert result.rates == pytest.approx((1 / 3, 1 / 3, 1 / 3)) and result.accuracy == 1 and result.lost == 0
    assert result.cost == pytest.approx((1 + 2 + 4) / 4 / 3)
    everyone = outcome(found, labels, COSTS, torch.zeros(3, dtype=torch.int64))
    assert everyone.accuracy == pytest.approx(2 / 3) and everyone.lost == pytest.approx(1 / 3)
    assert everyone.accuracies[0] == pytest.approx(2 / 3) and math.isnan(everyone.accuracies[1])
    assert oracle(found, labels).tolist() == [0, 0, 2]
    assert oracle(found[:1], torch.tensor([1])).tolist() == [1] and oracle(
        found[1:2, ::2], torch.tensor([0])
    ).tolist() == [1]


@pytest.mark.parametrize("kind", ["max_probability", "entropy", "margin", "patience"])
def test_strict_to_loose(records, kind):
    found = sweep(*records, COSTS, kind)
    assert (found[0].rates[-1] > 0.99 and found[0].lost == 0) or kind == "patience"
    assert all(one.cost >= other.cost - 1e-12 for one, other in itertools.pairwise(found))
    assert found[-1].rates[0] > 0.95
    assert found[0].accuracy == outcome(*records, COSTS, torch.full((600,), 2)).accuracy


def test_thresholds_for_an_accuracy_and_for_a_cost(records):
    found = sweep(*records, COSTS)
    aim = found[0].accuracy - 0.01
    best = tuned_to(found, accuracy=aim)
    assert best.accuracy >= aim and best.cost == min(one.cost for one in found if one.accuracy >= aim)
    assert tuned_to(found, cost=0.5).cost <= 0.5
    with pytest.raises(RspruneError, match=r"No threshold reaches .*the best is"):
        tuned_to(found, accuracy=0.9999)
    with pytest.raises(RspruneError, match="the least is 0.2"):
        tuned_to(found, cost=0.1)
    with pytest.raises(RspruneError, match="either"):
        tuned_to(found)


@pytest.mark.parametrize("kind", ["max_probability", "entropy"])
def test_a_promise_is_kept_as_often_as_it_says(kind):
    """Of 120 calibration draws, at most one in ten (and a little luck) breaks the promise on the whole population."""
    population, labels = drawn(6_000, seed=3)
    random, broken, saved = np.random.default_rng(0), 0, []
    for _ in range(120):
        part = torch.from_numpy(random.choice(6_000, 500))
        kept = promise(population[part], labels[part], COSTS, lost=0.02, confidence=0.9, kind=kind)
        whole = outcome(population, labels, COSTS, kept.rule)
        broken += whole.lost > 0.02
        saved.append(1 - whole.cost)
    assert broken <= 20  # 12 are allowed; the 99 % quantile of a binomial draw of 120 at .1 is 20
    assert np.mean(saved) > 0.05  # and it is no empty promise


def test_without_the_bound_the_promise_would_break():
    """The threshold that looks right on the calibration images breaks it about every other time."""
    population, labels = drawn(6_000, seed=3)
    random, broken = np.random.default_rng(0), 0
    for _ in range(40):
        part = torch.from_numpy(random.choice(6_000, 500))
        good = [one for one in sweep(population[part], labels[part], COSTS) if one.lost <= 0.02]
        broken += outcome(population, labels, COSTS, min(good, key=lambda one: one.cost).rule).lost > 0.02
    assert broken > 10


def test_a_promise_that_cannot_be_kept_says_what_can():
    found, labels = drawn(100)
    with pytest.raises(RspruneError, match=r"With 100 calibration images .* 0\.50%.*best promise .* is 2\.28%"):
        promise(found, labels, COSTS, lost=0.005, confidence=0.9)
    with pytest.raises(RspruneError, match="no calibration images"):
        promise(found[:0], labels[:0], COSTS)
    with pytest.raises(RspruneError, match="shares between 0 and 1"):
        promise(found, labels, COSTS, lost=0.0)


def of_two(*exits, final=None):
    """Records of two classes from the probability of class 0 at each exit, (N,) each; the final answer is class 0."""
    first = torch.tensor([*exits, final or [0.99] * len(exits[0])], dtype=torch.float64).T
    return torch.stack([first, 1 - first], 2).log()


@pytest.mark.parametrize(("confidence", "lost"), [(0.97, 0), (0.95, 1), (0.9, 1), (0.88, 2)])
def test_a_promise_by_hand(confidence, lost):
    """Of 100 images the exit has four wrong, ever less sure. The chance to see 0, 1, 2 lost ones if one in twenty is
    lost is .006, .037, .118."""
    found, labels = of_two([0.01, 0.1, 0.2, 0.3] + [0.6] * 96), torch.zeros(100, dtype=torch.int64)
    kept = promise(found, labels, (1, 4), lost=0.05, confidence=confidence)
    assert kept.lost == pytest.approx(lost / 100) and kept.rates[0] == kept.lost
    looser = next(one for one in sweep(found, labels, (1, 4)) if one.rule.thresholds < kept.rule.thresholds)
    assert looser.lost == pytest.approx((lost + 1) / 100), "the loosest that can be promised"


def test_the_first_threshold_that_cannot_be_promised_ends_the_search():
    """Six images are lost at the second exit as long as they pass the first; a loose threshold catches them before."""
    found = of_two([0.7] * 6 + [0.55] * 94, [0.05] * 6 + [0.55] * 94)
    kept = promise(found, torch.zeros(100, dtype=torch.int64), (1, 2, 4), lost=0.05)
    assert kept.lost == 0 and kept.rule.thresholds[0] > 0.95


def test_a_promise_of_gates_is_about_these_gates():
    found, labels = drawn(400)
    gates = torch.tensor([[4.0, 0, 0, 0, -2], [0.0, -6, 0, 0, 3]])
    kept = promise(found, labels, COSTS, lost=0.05, kind="gate", gates=gates)
    assert kept.rule.kind == "gate" and torch.equal(kept.rule.gates, gates)


def test_of_two_as_cheap_the_better_and_of_two_as_good_the_cheaper():
    one, other, third = (Outcome(a, c, (), (), 0.0) for a, c in ((0.8, 0.5), (0.9, 0.5), (0.9, 0.4)))
    assert tuned_to([one, other], accuracy=0.8) is other and tuned_to([one, third], accuracy=0.9) is third
    assert tuned_to([other, third, one], cost=0.5) is third and tuned_to([one, other], cost=0.5) is other


@pytest.mark.parametrize(
    ("n", "alpha", "rank"), [(19, 0.1, 18), (20, 0.1, 19), (99, 0.1, 90), (9, 0.1, 9), (99, 0.41, 59)]
)
def test_a_conformal_level_by_hand(n, alpha, rank):
    """The rank is ceil((n + 1) (1 - alpha)) among the probabilities of the truth, largest first."""
    sure = torch.linspace(0.2, 0.95, n, dtype=torch.float64)
    found = of_two(sure.flip(0).tolist())
    (level,) = conformal_level(found, torch.zeros(n, dtype=torch.int64), alpha)
    assert level == pytest.approx(float(sure.flip(0)[rank - 1]))


def test_too_few_images_for_a_conformal_level_let_none_leave():
    found = of_two([0.9] * 8)
    levels = conformal_level(found, torch.zeros(8, dtype=torch.int64), 0.1)
    assert levels == (0.0,) and ExitRule("conformal", levels).exits(found).tolist() == [1] * 8


def test_conformal_sets_hold_the_truth():
    found, labels = drawn(4000, seed=5)
    levels = conformal_level(found[:2000], labels[:2000], 0.1)
    for number, level in enumerate(levels):
        p = found[2000:, number].softmax(1)
        inside = (p.gather(1, labels[2000:, None]).squeeze(1) >= level).float().mean()
        assert 0.87 < inside < 0.93
    left = ExitRule("conformal", levels).exits(found[2000:])
    sizes = (found[2000:, 0].softmax(1) >= levels[0]).sum(1)
    assert torch.equal(left == 0, sizes == 1)


def test_rules_that_do_not_fit_are_refused(records):
    with pytest.raises(RspruneError, match="did you mean 'entropy'"):
        ExitRule("entropie", (0.5,))
    with pytest.raises(ModelError, match="needs 2 x 5 weights"):
        ExitRule("gate", (0.5, 0.5))
    with pytest.raises(ModelError, match="3 thresholds, but the network has 2 exits"):
        ExitRule("margin", (0.5,) * 3).exits(records[0])


@pytest.mark.parametrize(("kind", "column"), [("max_probability", 0), ("entropy", 1), ("margin", 2)])
def test_rules_go_by_the_features_that_they_name(kind, column):
    logits = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)) * 3
    wanted = exit_features(logits)[:, column]
    found = ExitRule(kind, (0.5,)).readiness(0, logits)
    torch.testing.assert_close(found, 1 - wanted if kind == "entropy" else wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cuts", [["nan", 0.5], [0.5, float("inf")], [1e308, 0.5], "ab", [None, 0.5], 3])
def test_thresholds_from_a_file_are_finite_numbers(cuts):
    with pytest.raises(ModelError, match="no rule for leaving early"):
        ExitRule.from_dict({"kind": "margin", "thresholds": cuts})
    assert ExitRule.from_dict({"kind": "patience", "thresholds": [3, 3]}).thresholds == (3.0, 3.0)
