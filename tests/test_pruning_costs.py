import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pruning_toys import NETWORKS, groups_of, network, random_plan

from rsprune_lib.errors import PlanError
from rsprune_lib.measure import Cost, cost, layer_costs
from rsprune_lib.models import create_model
from rsprune_lib.pruning import CostModel, apply, find_groups, full_plan, plan_cost


@pytest.mark.parametrize("name", NETWORKS)
def test_counted_equals_measured(name):
    (model, size), groups = network(name), groups_of(name)
    costs = layer_costs(model, size)
    for ratio in (0.0, 0.3, 0.7, 0.999):
        plan = random_plan(groups, ratio)
        assert plan_cost(costs, groups, plan.keep) == cost(apply(model, plan, groups), size)
        assert plan_cost(costs, groups, plan.widths) == plan_cost(costs, groups, plan.keep)
    assert plan_cost(costs, groups, full_plan(groups).keep) == cost(model, size)


def test_the_published_size():
    model = create_model("resnet18", 10)
    groups, costs = find_groups(model), layer_costs(model, 64)
    assert CostModel(costs, groups)([19] * 3 + [38] * 3 + [76] * 3 + [153] * 3) == Cost(999_552, 15_096_454)


MODEL, SIZE = network("resnet18_se")
GROUPS, COSTS = groups_of("resnet18_se"), layer_costs(MODEL, SIZE)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_channel_less_never_costs_more(data):
    count = CostModel(COSTS, GROUPS)
    widths = [data.draw(st.integers(2, group.size)) for group in GROUPS]
    fewer = list(widths)
    fewer[data.draw(st.integers(0, len(GROUPS) - 1))] -= 1
    assert count(fewer).params < count(widths).params and count(fewer).macs < count(widths).macs


def test_what_does_not_fit_is_refused():
    keep = dict(GROUPS.sizes())
    for wrong in (0, 9):
        with pytest.raises(PlanError, match=f"'conv1' cannot keep {wrong} channels; give a number from 1 to 8"):
            plan_cost(COSTS, GROUPS, keep | {"conv1": wrong})
    with pytest.raises(PlanError, match="'conv1' cannot keep 0"):
        plan_cost(COSTS, GROUPS, {})
    other, size = network("vgg16")
    with pytest.raises(PlanError, match=r"no row for 'conv1'"):
        plan_cost(layer_costs(other, size), GROUPS, keep)
