"""Cards, sources, splits, decoded images and batches."""

from rsprune_lib.data.batches import Augment, Batches, measuring_batch
from rsprune_lib.data.cards import Card, Source
from rsprune_lib.data.catalogue import card_names, get_card, is_card
from rsprune_lib.data.dataset import Dataset
from rsprune_lib.data.fetch import data_root, fetch, find, verify
from rsprune_lib.data.load import at_hand, load_again, load_data
from rsprune_lib.data.minority import minority_classes
from rsprune_lib.data.split import Split, SplitRule

__all__ = [
    "Augment",
    "Batches",
    "Card",
    "Dataset",
    "Source",
    "Split",
    "SplitRule",
    "at_hand",
    "card_names",
    "data_root",
    "fetch",
    "find",
    "get_card",
    "is_card",
    "load_again",
    "load_data",
    "measuring_batch",
    "minority_classes",
    "verify",
]
