"""Shares that the interpreter finds in built tables, for any weights."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from nftlbc.explain.interpreter import Interpreter, walk
from nftlbc.explain.outcome import Delivered, Outcome, Packet, Spread
from nftlbc.farms import Backend, Balance, Farm, Key, Listener
from nftlbc.table.build import build

WEIGHTS = st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(any)


def farm(weights: list[int], balance: Balance) -> Farm:
    backends = tuple(
        Backend(f"b{n}", f"10.1.0.{n + 1}", 80, weight) for n, weight in enumerate(weights)
    )
    return Farm("web", (Listener("10.3.0.1", "tcp", 80, 80),), backends, balance=balance)


def shares(outcome: Outcome) -> dict[str | None, Fraction]:
    if isinstance(outcome, Delivered):
        return {outcome.name: Fraction(1)}
    assert isinstance(outcome, Spread)
    return {each.name: each.share for each in outcome.shares}


@given(WEIGHTS, st.sampled_from([Balance("round-robin"), Balance("random")]))
def test_shares_are_the_weights(weights: list[int], balance: Balance) -> None:
    packet = Packet("10.5.0.1", 1, "10.3.0.1", 80, "tcp")
    assert shares(walk(build((farm(weights, balance),)), packet).outcome) == {
        f"web/b{n}": Fraction(weight, sum(weights)) for n, weight in enumerate(weights) if weight
    }


@given(WEIGHTS, st.sampled_from(["hash", "consistent"]))
def test_a_hashed_client_is_always_sure_of_its_backend(weights: list[int], scheduler: str) -> None:
    balance = Balance(scheduler, (Key("source-ip"),), 251)  # type: ignore[arg-type]
    interpreter = Interpreter(build((farm(weights, balance),)))
    for n in range(20):
        outcome = interpreter.walk(Packet(f"10.5.0.{n}", None, "10.3.0.1", 80, "tcp")).outcome
        assert isinstance(outcome, Delivered)
        assert weights[int(outcome.name.removeprefix("web/b"))] > 0
