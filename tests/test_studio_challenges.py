"""Challenges: limits that fit the network, a verdict that only what was measured gives, and the best so far."""

import json
from dataclasses import replace

import numpy as np
import pytest

from rsprune_lib.errors import RspruneError
from rsprune_lib.measure import Cost, Latency, Quality, Speed
from rsprune_lib.pruning import Plan
from rsprune_studio import Dense, Setting, Snapshot
from rsprune_studio.draw.challenge import challenge_box
from rsprune_studio.engine.challenges import Attempt, Challenge, Challenges, challenges_for
from rsprune_studio.engine.goals import Goal
from rsprune_studio.engine.history import History

PLAN = Plan({}, {"a": (0,)}, {"a": 4})


def quality(score, classes=(0.9, 0.95), **metrics):
    named = {"metric": "mIoU", "metrics": {"mIoU": score, **metrics}} if metrics else {}
    return Quality(score, (score, score), classes, 0.0, 0.5, 100, np.eye(2, dtype=np.int64), **named)


def latency(ms):
    return Latency(ms, 0.0, 1, 1, "pretended", 3, (ms, ms, ms))


DENSE = Dense(Cost(11_000_000, 148_225_536), latency(8.1), quality(0.974))
START = Setting("l2", recovery="live")


def shown(macs=15_000_000, ms=1.0, score=0.96, **changes):
    """A complete snapshot."""
    speed = Speed(8.1 / ms, 8 / ms, 8.2 / ms)
    made = Snapshot(START, PLAN, Cost(1000, macs), DENSE, latency(ms), speed, quality(score), "live", True, True)
    return replace(made, **changes)


@pytest.fixture
def known():
    return {one.name: one for one in challenges_for(DENSE, START)}


def test_limits_are_round_and_fit_the_network(known):
    assert known["budget"].goals == (Goal("macs", 15_000_000), Goal("lost", 0.02))
    assert known["budget"].title.startswith("15 M MACs")
    assert known["time"].goals[0] == Goal("ms", 1.5)
    assert known["class"].goals == (Goal("class", 0.85), Goal("macs", 44_000_000))  # worst 90 %, less two points
    small = Dense(Cost(1000, 39_000), latency(0.31), quality(0.5, (0.04, 0.9)))
    limits = {one.name: one.goals[0].limit for one in challenges_for(small, START)}
    assert limits == {"budget": 3900, "time": 0.05}  # a class that is not recognised asks for nothing


def test_a_time_of_a_busy_machine_makes_no_challenge():
    for took in (None, replace(latency(60), busy=True)):
        names = [one.name for one in challenges_for(replace(DENSE, latency=took), START)]
        assert names == ["budget", "class"]


def test_a_segmenter_is_asked_for_its_rare_classes():
    dense = replace(DENSE, metric="mIoU", quality=quality(0.7, minority=0.0, **{"minority mIoU": 0.63}))
    rare = {one.name: one for one in challenges_for(dense, START)}["rare"]
    assert rare.goals[0] == Goal("minority", 0.55)
    now = shown(dense=dense, quality=quality(0.6, **{"minority mIoU": 0.56}))
    assert rare.goals[0].standing(now).met is True


def test_nothing_pending_is_reached(known):
    budget = known["budget"]
    assert budget.reached(shown()) is True
    assert budget.reached(None) is None
    assert budget.reached(shown(final=False)) is None  # a first estimate
    assert budget.reached(shown(quality=None, final=False)) is None
    assert budget.reached(shown(macs=16_000_000, final=False)) is False  # what is known is enough to miss it
    assert budget.reached(shown(score=0.95)) is False
    assert "Measuring" in challenge_box(budget, shown(final=False), None)
    assert "✓ Reached" in challenge_box(budget, shown(), None) and "Not yet" not in challenge_box(budget, shown(), None)


def test_a_time_that_is_not_clear_is_not_reached(known):
    unclear = shown(speed=Speed(6, 0.5, 9))
    assert known["time"].reached(shown()) is True
    assert known["time"].reached(unclear) is False and "not clear yet" in challenge_box(known["time"], unclear, None)
    assert known["time"].reached(shown(speed=None)) is False
    assert known["time"].reached(shown(latency=None, speed=None)) is None
    assert Attempt.of(known["time"], unclear) is None


def test_the_worst_class_counts_and_one_that_no_image_shows_does_not(known):
    assert known["class"].reached(shown(quality=quality(0.9, (0.85, np.nan)))) is True
    assert known["class"].reached(shown(quality=quality(0.9, (0.84, 1.0)))) is False


def test_the_best_is_the_nearest_and_then_the_one_with_the_prize(known):
    state = Challenges()
    state.offer(known.values())
    assert not state.record(shown())  # none is open
    state.choose("budget")
    assert state.record(shown(macs=60_000_000, score=0.9)) and not state.best["budget"].reached
    assert not state.record(shown(macs=120_000_000, score=0.9))  # farther away
    assert state.record(shown(macs=15_000_000, score=0.96)) and state.best["budget"].reached
    assert not state.record(shown(macs=15_000_000, score=0.97))  # reached alike: the first stays
    assert not state.record(shown(macs=9_000_000, score=0.9))  # small, but missed
    assert state.record(shown(macs=14_000_000, score=0.955))
    assert state.best["budget"].values == {"macs": 14_000_000, "lost": pytest.approx(0.019)}
    state.choose("time")
    assert state.record(shown(ms=1.5, score=0.93)) and state.record(shown(ms=1.5, score=0.95))
    assert state.best["time"].device == "pretended" and "timed on pretended" in challenge_box(
        known["time"], None, state.best["time"]
    )


def test_they_go_into_the_session_and_come_back(known):
    history = History(START)
    history.challenges.offer(known.values())
    history.challenges.choose("budget")
    history.record(shown())
    back = History.from_dict(json.loads(json.dumps(history.to_dict())))
    assert back.challenges.open == known["budget"] and back.challenges.best == history.challenges.best
    slower = {**known["budget"].__dict__, "goals": (Goal("macs", 1.0),)}
    back.challenges.offer([Challenge(**slower), known["time"]])  # of another machine
    assert back.challenges.known["budget"] == known["budget"] and "time" in back.challenges.known
    old = {key: value for key, value in history.to_dict().items() if key != "challenges"}
    assert History.from_dict(old).challenges.open is None  # sessions from before there were challenges


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw["best"]["budget"]["values"].update(macs=-1),
        lambda raw: raw["best"]["budget"]["values"].update(lost=float("inf")),
        lambda raw: raw["best"]["budget"]["values"].pop("lost"),
        lambda raw: raw["challenges"][0].update(goals=[["taste", 1]]),
        lambda raw: raw["challenges"][0].update(title=3),
        lambda raw: raw.update(open="nowhere"),
        lambda raw: raw.update(best=[]),
        lambda raw: raw["challenges"][0].update(goals=[["macs", 10**400]]),
        lambda raw: raw.update(challenges=raw["challenges"] * 100),
    ],
)
def test_a_damaged_one_is_a_sentence(known, spoil):
    history = History(START)
    history.challenges.offer(known.values())
    history.challenges.choose("budget")
    history.record(shown())
    raw = history.to_dict()
    spoil(raw["challenges"])
    with pytest.raises(RspruneError, match="take a session that the app wrote"):
        History.from_dict(raw)


def test_a_claim_of_a_file_is_checked_against_its_own_numbers(known):
    history = History(START)
    history.challenges.offer(known.values())
    history.challenges.choose("budget")
    history.record(shown(score=0.9))
    raw = history.to_dict()
    raw["challenges"]["best"]["budget"] |= {"reached": True, "missed": 0.0}
    assert not History.from_dict(raw).challenges.best["budget"].reached
