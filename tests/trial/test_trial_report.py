"""The JSON form says what its documentation says, with the same keys whatever was found."""

import json
import re
from dataclasses import replace

import pytest
from imagined import down, trial_of, tried

from nftlbc.farms import Backend, Balance, Farm, Key, Listener
from nftlbc.trial import report
from nftlbc.trial.report import as_json

WEB = Farm(
    "web",
    (Listener("203.0.113.10", "tcp", 80, 80),),
    (Backend("app1", "10.0.0.11", 8080, 2), Backend("app2", "10.0.0.12", 8080)),
)
KINDS = [
    WEB,
    replace(WEB, balance=Balance("random")),
    replace(WEB, balance=Balance("hash", (Key("source-ip"),))),
    down(WEB, "app1", "app2"),
]


def documented():
    """The keys of the documentation."""
    return set(re.findall(r'"(\w+)":', report.__doc__))


def keys(value):
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


def test_a_trial_that_is_right():
    document = json.loads(as_json(trial_of(tried(WEB), farms=9), "farms.lb"))
    assert document["format"] == 1
    assert (document["as_promised"], document["farms"], document["tried"]) == (True, 9, 1)
    [phase] = document["phases"]
    assert phase["down"] == []
    [pool] = phase["pools"]
    assert (pool["farm"], pool["family"], pool["connections"], pool["others"]) == ("web", 4, 60, 1)
    assert pool["targets"] == ["203.0.113.10:80/tcp"]
    assert [(each["names"], each["got"], each["due"]) for each in pool["backends"]] == [
        (["app1"], 40, 40.0),
        (["app2"], 20, 20.0),
    ]
    assert {each["check"]: each["as_promised"] for each in pool["checks"]} == {
        "source": True,
        "balancer": True,
    }


def test_a_trial_that_is_wrong():
    def seen(connection, answer):
        return replace(answer, seen="192.0.2.1") if connection.counted else answer

    document = json.loads(as_json(trial_of(tried(WEB, seen)), "farms.lb"))
    assert document["as_promised"] is False
    [pool] = document["phases"][0]["pools"]
    assert pool["as_promised"] is False
    [check] = [each for each in pool["checks"] if each["as_promised"] is False]
    assert check["check"] == "source"
    assert len(check["details"]) == 60
    assert "farms.lb" in check["idea"]
    assert "FILE" not in check["idea"]


@pytest.mark.parametrize("farm", KINDS)
def test_every_key_is_documented_and_always_there(farm):
    document = json.loads(as_json(trial_of(tried(farm)), "farms.lb"))
    assert keys(document) == documented()


def test_it_is_the_same_each_time():
    assert as_json(trial_of(tried(WEB)), "f") == as_json(trial_of(tried(WEB)), "f")
