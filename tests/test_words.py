"""Computed sentences: one thing, several things."""

import numpy as np
import pytest

from rsprune_lib.course.answers import confused_pairs
from rsprune_lib.words import counted


def test_numbers_agree_with_their_nouns():
    assert [counted(n, "gate") for n in (0, 1, 2, 1000)] == ["0 gates", "1 gate", "2 gates", "1,000 gates"]
    assert (counted(1, "class", "classes"), counted(2, "class", "classes")) == ("1 class", "2 classes")


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        ([[90, 10, 0], [0, 100, 0], [0, 0, 100]], "The intervals of 0 other pairs reach that share."),
        ([[90, 10, 0], [8, 92, 0], [0, 0, 100]], "The interval of 1 other pair reaches that share, b → a."),
        ([[82, 10, 8], [8, 92, 0], [0, 0, 100]], "The intervals of 2 other pairs reach that share, a → c among them."),
    ],
)
def test_one_pair_is_one_pair(matrix, words):
    assert confused_pairs(np.array(matrix), ["a", "b", "c"])[2].endswith(words)
