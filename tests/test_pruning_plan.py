import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pruning_toys import course_model

from rsprune_lib.errors import PlanError
from rsprune_lib.models import create_model
from rsprune_lib.pruning import Change, Plan, apply, diff, find_groups, full_plan

MODEL = {"name": "resnet18", "num_classes": 4, "in_channels": 3, "width": 0.125, "stem": "small"}
PLAN = Plan(MODEL, {"a": (0, 2), "b": (1,)}, {"a": 4, "b": 2}, {"criterion": "l2", "ratio": 0.5})


def changed(**entries):
    return json.dumps(json.loads(PLAN.to_json()) | entries)


def test_json_and_back(tmp_path):
    assert Plan.from_json(PLAN.to_json()) == PLAN
    assert Plan.load(PLAN.save(tmp_path / "plan.json")) == PLAN
    raw = json.loads(PLAN.to_json())
    assert (raw["schema"], raw["version"]) == ("rsprune-plan", 1)
    assert raw["keep"] == {"a": [0, 2], "b": [1]} and raw["how"]["ratio"] == 0.5
    assert '  "a": [0, 2],\n' in PLAN.to_json()  # one line a group, to be read and edited


kept_sets = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.integers(1, 40).flatmap(
        lambda size: st.tuples(st.just(size), st.sets(st.integers(0, size - 1), min_size=1).map(tuple))
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=50, deadline=None)
@given(kept_sets)
def test_any_plan_survives_json(groups):
    plan = Plan(MODEL, {n: kept for n, (_, kept) in groups.items()}, {n: size for n, (size, _) in groups.items()})
    again = Plan.from_json(plan.to_json())
    assert again == plan and again.hash == plan.hash
    assert list(again.sizes) == list(plan.sizes)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 5) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["schema", "version", "fingerprint", "model", "sizes", "keep", "how"]), json_values)
def test_wrong_entries_are_refused_or_harmless(key, value):
    text = changed(**{key: value})
    try:
        plan = Plan.from_json(text)
    except PlanError:
        return
    assert all(0 <= i < plan.sizes[name] for name, kept in plan.keep.items() for i in kept)
    assert (plan.model, plan.sizes) == (PLAN.model, PLAN.sizes)  # the fingerprint holds


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no valid JSON"),
        (PLAN.to_json()[:-10], "no valid JSON"),
        ("[" * 100_000, "no valid JSON"),
        ("[1, 2]", "no pruning plan"),
        ('{"version": 1}', "no pruning plan"),
        ('{"schema": "rsprune-bundle", "version": 1}', "no pruning plan"),
        (changed(version=2), "schema version 2, but this library reads 1"),
        (changed(version=True), "schema version True"),
        ('{"schema": "rsprune-plan", "version": 1, "model": {}}', "lacks sizes, keep, how, fingerprint"),
        (changed(keep=[[0]]), "'keep' must be an object"),
        (changed(keep={"a": [0], "b": "1"}), "'keep' for 'b' must be a list of whole numbers"),
        (changed(keep={"a": [0], "b": [1.0]}), "'keep' for 'b' must be a list of whole numbers"),
        (changed(keep={"a": [True], "b": [1]}), "'keep' for 'a' must be a list of whole numbers"),
        (changed(keep={"a": [0, 4], "b": [1]}), "keeps channel 4 of 'a', which has only the channels 0 to 3"),
        (changed(keep={"a": [-1], "b": [1]}), "keeps channel -1 of 'a'"),
        (changed(keep={"a": [2, 0, 2], "b": [1]}), "names a channel of 'a' twice"),
        (changed(keep={"a": [], "b": [1]}), "would empty 'a'; keep at least one of its 4"),
        (changed(keep={"a": [0]}), "b is in one only"),
        (changed(keep={"a": [0], "b": [1], "c": [0]}), "c is in one only"),
        (changed(sizes={"a": 0, "b": 2}), "gives 'a' the size 0"),
        (changed(sizes={"a": 5, "b": 2}), "fingerprint does not match"),
        (changed(model=MODEL | {"width": 1.0}), "fingerprint does not match"),
        (changed(how=None), "'how' must be an object"),
        *((changed(how={"steps": steps}), "must list its steps") for steps in ([], ["l1"], {"a": {}}, None)),
        (PLAN.to_json().replace('"b": [1]', '"a": [1]'), "stands twice"),
        (changed(sizes={"\ud800": 1}, keep={"\ud800": [0]}), "fingerprint does not match"),
        (PLAN.to_json().replace("0.5", "NaN"), "NaN is not a JSON number"),
        (PLAN.to_json().replace("0.5", "1e999"), "1e999 is not a JSON number"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(text, sentence):
    with pytest.raises(PlanError, match=sentence) as caught:
        Plan.from_json(text)
    assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)


def test_hand_edited_indices_are_put_in_order():
    assert Plan.from_json(changed(keep={"a": [3, 0, 1], "b": [0]})).keep["a"] == (0, 1, 3)


def test_files_that_are_no_plan_are_named(tmp_path):
    with pytest.raises(PlanError, match="Found no plan at"):
        Plan.load(tmp_path / "none.json")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(PlanError, match="Cannot read .*image.png"):
        Plan.load(tmp_path / "image.png")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(PlanError, match=r"other.json: The JSON is no pruning plan"):
        Plan.load(tmp_path / "other.json")


def test_saving_what_is_no_json_leaves_the_old_file(tmp_path):
    path = PLAN.save(tmp_path / "plan.json")
    for how in ({"scores": torch.ones(2)}, {"ratio": float("nan")}):
        with pytest.raises(PlanError, match="cannot be written as JSON"):
            Plan(MODEL, PLAN.keep, PLAN.sizes, how).save(path)
    assert Plan.load(path) == PLAN
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


def test_numpy_indices_become_plain_numbers():
    plan = Plan(MODEL, {"a": list(np.array([2, 0]))}, {"a": 4})
    assert plan.keep == {"a": (0, 2)} and Plan.from_json(plan.to_json()) == plan


def test_hash_tells_plans_apart_but_not_how_they_were_made():
    assert PLAN.hash == Plan(MODEL, PLAN.keep, PLAN.sizes, {"by": "hand"}).hash
    assert PLAN.hash != Plan(MODEL, PLAN.keep | {"b": (0,)}, PLAN.sizes).hash
    assert PLAN.hash != Plan(MODEL | {"num_classes": 9}, PLAN.keep, PLAN.sizes).hash
    assert PLAN.fingerprint == Plan(MODEL, PLAN.keep | {"b": (0,)}, PLAN.sizes).fingerprint


def test_widths():
    assert PLAN.widths == {"a": 2, "b": 1}


def test_diff_names_what_came_and_went():
    other = Plan(MODEL, {"a": (0, 1, 3), "b": (1,)}, PLAN.sizes)
    assert diff(PLAN, other) == {"a": Change(added=(1, 3), removed=(2,))}
    assert diff(PLAN, PLAN) == {}
    with pytest.raises(PlanError, match="different networks"):
        diff(PLAN, Plan(MODEL, {"a": (0,)}, {"a": 4}))


def test_a_plan_fits_its_network_with_and_without_se():
    plain, live = (create_model(name, 4, width=0.125) for name in ("resnet18", "resnet18_se"))
    plan = full_plan(find_groups(plain))
    for target in (plain, live, find_groups(plain), find_groups(live)):
        plan.check(target)
    assert plan.fingerprint == full_plan(find_groups(live)).fingerprint


def test_a_plan_for_another_network_is_refused():
    model = course_model("resnet18")
    groups = find_groups(model)
    plan = full_plan(groups)
    other = create_model("vgg16", 4, width=0.125)
    for target in (other, find_groups(other)):
        with pytest.raises(PlanError, match="made for a network with name 'resnet18', but this one has 'vgg16'"):
            plan.check(target)
    with pytest.raises(PlanError, match="num_classes 4, but this one has 5"):
        plan.check(create_model("resnet18", 5, width=0.125, stem="small"))
    with pytest.raises(PlanError, match=r"knows 8 channels for 'conv1', but the network has 4.*unpruned"):
        plan.check(apply(model, Plan(groups.model, plan.keep | {"conv1": (0, 1, 2, 3)}, plan.sizes), groups))
    with pytest.raises(PlanError, match="knows 0 channels for 'layer4.1.conv1', but the network has 64"):
        short = {name: size for name, size in plan.sizes.items() if name != "layer4.1.conv1"}
        Plan({}, {name: plan.keep[name] for name in short}, short).check(groups)


def test_the_full_plan_keeps_everything():
    groups = find_groups(create_model("resnet18", 4, width=0.125))
    assert full_plan(groups).widths == groups.sizes()
