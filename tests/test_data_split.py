"""Splits: disjoint, stratified, the same everywhere, and held to the rule that makes them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsprune_lib.data import Split, get_card
from rsprune_lib.data.dataset import SHIPPED
from rsprune_lib.data.split import make_split, together, without_copies
from rsprune_lib.errors import DataError, RspruneError


def listing(counts, suffix=".png"):
    labels = np.repeat(np.arange(len(counts)), counts)
    files = [f"class{label}/{i:03}{suffix}" for label, count in enumerate(counts) for i in range(count)]
    return labels, files, [f"class{label}" for label in range(len(counts))]


@given(counts=st.lists(st.integers(3, 60), min_size=2, max_size=5), seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_parts_are_a_stratified_partition(counts, seed):
    labels, files, classes = listing(counts)
    split = make_split(labels, files, classes, seed=seed)
    together = np.concatenate([split.train, split.val, split.test])
    assert sorted(together.tolist()) == list(range(len(labels)))
    for label, count in enumerate(counts):
        own = [int((labels[getattr(split, part)] == label).sum()) for part in ("val", "test")]
        assert own == [max(1, round(0.1 * count)), max(1, round(0.3 * count))]


def test_order_and_suffix_do_not_matter_but_the_seed_does():
    labels, files, classes = listing([40, 40])
    files = [f"{file[:8]}.{file[8:]}" for file in files]  # class0/0.07.png: a name ends at its last dot
    split, order = make_split(labels, files, classes), np.random.default_rng(0).permutation(len(files))
    again = make_split(labels[order], [files[i].replace("png", "tif") for i in order], classes)
    assert sorted(order[again.test].tolist()) == split.test.tolist()
    assert make_split(labels, files, classes, seed=67).hash != split.hash


@pytest.mark.parametrize("seed", range(8))
def test_identical_images_stay_in_one_part(seed):
    labels, files, classes = listing([20, 20])
    twins = [[0, 5, 9], [3, 30]]  # the second group even crosses classes
    split = make_split(labels, files, classes, seed=seed, twins=twins)
    for group in twins:
        assert sum(bool(set(group) & set(getattr(split, part).tolist())) for part in ("train", "val", "test")) == 1
    assert len(split.train) + len(split.val) + len(split.test) == 40
    pairs = [[i, i + 1] for i in range(0, 20, 2)] + [list(range(20, 28))]  # no part is filled beyond its share
    split = make_split(labels, files, classes, seed=seed, twins=pairs)
    assert np.bincount(labels[split.test], minlength=2).tolist() == [6, 6]
    assert np.bincount(labels[split.val], minlength=2).tolist() == [2, 2] and not set(pairs[-1]) - set(split.train)


def test_class_with_too_few_images_is_named():
    labels, files, classes = listing([20, 2])
    with pytest.raises(DataError, match=r"Class 'class1' has 2 .* at least 3"):
        make_split(labels, files, classes)
    with pytest.raises(DataError, match="Class 'class0'"):  # three copies of one image are one image
        make_split(*listing([3, 9]), twins=[[0, 1, 2]])


def test_published_parts_are_kept_and_validation_comes_from_training():
    labels, files, classes = listing([20, 20])
    fixed = ["test" if i % 4 == 0 else "train" for i in range(40)]
    split = make_split(labels, files, classes, fixed=fixed)
    assert split.test.tolist() == list(range(0, 40, 4))
    assert len(split.val) == 4 and set(labels[split.val]) == {0, 1}
    assert make_split(labels, files, classes, fixed=fixed, seed=67).val.tolist() != split.val.tolist()
    fixed = ["val" if i % 4 == 1 else part for i, part in enumerate(fixed)]
    assert make_split(labels, files, classes, fixed=fixed).val.tolist() == list(range(1, 40, 4))


def test_copies_across_published_parts_stay_in_test_then_in_validation():
    labels, files, classes = listing([20, 20])
    parts = ["test" if i % 4 == 0 else "val" if i % 4 == 1 else "train" for i in range(40)]
    twins = [[0, 2], [1, 3, 6], [4, 5], [8, 12], [10, 11]]  # the last two inside a part
    split = make_split(labels, files, classes, fixed=parts, twins=twins)
    assert {i for i, part in enumerate(parts) if part == "train"} - set(split.train.tolist()) == {2, 3, 6}
    assert {i for i, part in enumerate(parts) if part == "val"} - set(split.val.tolist()) == {5}
    assert split.test.tolist() == list(range(0, 40, 4))
    two = ["test" if part == "test" else "train" for part in parts]
    split = make_split(labels, files, classes, fixed=two, twins=twins)
    assert not {2, 5} & {*split.train.tolist(), *split.val.tolist()} and len(split.val) == 3
    leaky = without_copies(Split(np.array([2, 3, 7]), np.array([1, 9]), np.array([0, 6])), twins)
    assert [leaky.train.tolist(), leaky.val.tolist(), leaky.test.tolist()] == [[7], [9], [0, 6]]


def test_validation_that_copies_test_is_cut_from_train_instead():
    labels, files, classes = listing([20, 20])
    parts = ["test" if i % 4 == 0 else "val" if i % 4 == 1 else "train" for i in range(40)]
    split = make_split(labels, files, classes, fixed=parts, twins=[[i, i + 1] for i in range(0, 40, 4)])
    assert len(split.val) == 2 and all(parts[i] == "train" for i in split.val) and len(split.test) == 10


def test_a_class_without_training_images_is_refused_by_name():
    labels, files, classes = listing([9, 9, 9])
    parts = ["test" if i > 17 or i % 3 == 0 else "val" if i % 3 == 1 else "train" for i in range(27)]
    for fixed in (parts, ["test" if part == "val" else part for part in parts]):
        with pytest.raises(DataError, match=r"no images of class2 \(classes with training images: class0, class1\)"):
            make_split(labels, files, classes, fixed=fixed)
    parts = ["test" if i % 2 else "train" for i in range(27)]
    with pytest.raises(DataError, match="no images of class1 that are not copies"):
        make_split(labels, files, classes, fixed=parts, twins=[[i, i + 1] for i in range(9, 18, 2)] + [[10, 11]])


def test_overlap_and_emptiness_are_refused():
    with pytest.raises(DataError, match="disjoint"):
        Split(np.array([0, 1]), np.array([1]), np.array([2]))
    with pytest.raises(DataError, match="2/0/1"):
        Split(np.array([0, 1]), np.array([], dtype=np.int64), np.array([2]))


def test_index_file_round_trip_and_tampering(tmp_path):
    labels, files, classes = listing([10, 10])
    split = make_split(labels, files, classes)
    path = tmp_path / "split.json"
    split.save(path, files)
    assert Split.load(path, files).hash == split.hash
    with pytest.raises(DataError, match="other files"):
        Split.load(path, [*files[:-1], "class1/new.png"])
    saved = json.loads(path.read_text())
    path.write_text(json.dumps(saved | {"parts": saved["parts"][::-1]}))
    with pytest.raises(DataError, match="does not match its hash"):
        Split.load(path, files)
    path.write_text(json.dumps(saved | {"schema": 0}))
    with pytest.raises(DataError, match="schema"):
        Split.load(path, files)
    path.write_text("{")
    with pytest.raises(RspruneError):
        Split.load(path, files)


def shipped_files(name):
    classes = get_card(name).classes
    if name == "ucmerced":
        return [f"{c}/{c}{i:02}.jpg" for c in classes for i in range(100)]
    counts = dict.fromkeys(classes, 3000) | dict.fromkeys(("Highway", "Industrial", "PermanentCrop", "River"), 2500)
    counts["Pasture"] = 2000
    return [file for c in classes for file in sorted(f"{c}/{c}_{i}.jpg" for i in range(1, counts[c] + 1))]


@pytest.mark.parametrize(("name", "sizes"), [("eurosat", (16_200, 2_700, 8_100)), ("ucmerced", (1_260, 210, 630))])
def test_shipped_split_follows_its_rule(name, sizes):
    files = shipped_files(name)
    classes = get_card(name).classes
    labels = np.array([classes.index(file.split("/")[0]) for file in files])
    twins = (
        [[files.index("airplane/airplane01.jpg"), files.index("airplane/airplane02.jpg")]] if name == "ucmerced" else []
    )
    split = Split.load(SHIPPED / f"{name}-66.json", files)
    assert (len(split.train), len(split.val), len(split.test)) == sizes
    assert split.hash == make_split(labels, files, classes, twins=twins).hash


def test_groups_larger_than_their_share_still_leave_no_part_empty():
    groups = [list(range(start, start + 4)) for start in range(0, 16, 4)]
    files = [f"{i}.png" for i in range(16)]
    split = make_split(np.zeros(16, int), files, ["any"], twins=groups)
    assert sorted(len(getattr(split, part)) for part in ("train", "val", "test")) == [4, 4, 8]
    assert all({i // 4 for i in split.val} & {i // 4 for i in other} == set() for other in (split.train, split.test))


def test_windows_of_one_source_and_twins_stay_together():
    assert together([(1, 2)], None) == [[1, 2]]
    assert together([], [0, 0, 1, 2, 2]) == [[0, 1], [3, 4]]
    assert together([(1, 2)], [0, 0, 1, 2, 2]) == [[0, 1, 2], [3, 4]]  # a twin links two sources
