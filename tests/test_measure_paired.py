"""McNemar's test against values worked out by hand."""

import pytest
import torch

from rsprune_lib.errors import ModelError
from rsprune_lib.measure import Paired, compare


def answers(*right):
    """Logits of two classes: the label is always 0, an entry says whether it is answered right."""
    return torch.tensor([[1.0, 0.0] if r else [0.0, 1.0] for r in right])


def test_only_images_that_differ_count():
    first, second = answers(1, 1, 1, 0, 0, 0, 0), answers(1, 1, 0, 1, 1, 1, 0)
    found = compare(first, second, torch.zeros(7, dtype=torch.int64))
    assert found == Paired(gained=3, lost=1, p_value=pytest.approx(2 * (1 + 4) / 16))


def test_equal_answers_are_no_evidence():
    same = answers(1, 0, 1)
    assert compare(same, same, torch.zeros(3, dtype=torch.int64)).p_value == 1.0


def test_order_turns_the_sign_not_the_evidence():
    first, second, labels = answers(*[0] * 12), answers(*[1] * 12), torch.zeros(12, dtype=torch.int64)
    there, back = compare(first, second, labels), compare(second, first, labels)
    assert (there.gained, there.lost) == (back.lost, back.gained) == (12, 0)
    assert there.p_value == back.p_value == pytest.approx(2 / 2**12)


def test_many_images_do_not_overflow():
    first, second = answers(*[0] * 2500, *[1] * 1500), answers(*[1] * 2500, *[0] * 1500)
    assert 0 <= compare(first, second, torch.zeros(4000, dtype=torch.int64)).p_value < 1e-50


def test_other_images_are_refused():
    with pytest.raises(ModelError, match="same images"):
        compare(answers(1, 0), answers(1), torch.zeros(2, dtype=torch.int64))
