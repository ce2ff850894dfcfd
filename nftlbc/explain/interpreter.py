"""Walks a table as the kernel would, for the first packet of a connection.

What it follows of nft's ways: a rule ends where a lookup finds nothing, and the next one goes
on; ``jump`` comes back to the rule after it, ``goto`` does not; translating an address ends the
hook; ``update`` never overwrites what a map holds. What it does not model: that time passes
(entries given to it are alive), and other tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from nftlbc.explain.loaded import InterpreterError, Loaded
from nftlbc.explain.outcome import (
    Entered,
    NotOurs,
    Packet,
    Share,
    Spread,
    Step,
    Sticky,
    Sure,
    Walk,
)
from nftlbc.explain.state import State
from nftlbc.explain.statements import Draw, Ends, Machine
from nftlbc.table.model import NO_PRIORITY, Counter, Goto, Jump, Table

__all__ = ["Draw", "Interpreter", "InterpreterError", "in_turn", "walk"]

_DEEPEST = 16
"""Jumps within jumps that the kernel allows."""
_LONGEST = 10_000
"""Rules of one walk: a table that goes round in circles is refused by the kernel."""


def walk(
    table: Table, packet: Packet, *, sticky: Sticky | None = None, draw: Draw | None = None
) -> Walk:
    """One packet's way through a table; see Interpreter.walk."""
    return Interpreter(table).walk(packet, sticky=sticky, draw=draw)


def in_turn() -> Callable[[Counter], int]:
    """Counts for each ``numgen inc`` as the kernel does after loading: from 0, round and round."""
    counts: dict[Counter, int] = {}

    def draw(counter: Counter) -> int:
        number = counts.get(counter, 0)
        counts[counter] = (number + 1) % counter.modulus
        return number

    return draw


class Interpreter:
    """A table, ready to be walked many times."""

    def __init__(self, table: Table) -> None:
        self._loaded = Loaded(table)

    def walk(
        self, packet: Packet, *, sticky: Sticky | None = None, draw: Draw | None = None
    ) -> Walk:
        """Where the connection ends.

        ``draw`` gives the numbers of ``numgen``; without it (and without a source port, where
        one is hashed) every number is followed, and the outcome is a Spread unless all end alike.
        ``sticky`` is what the kernel remembers. It is changed as the kernel would change it; by
        a Spread, which could change it in many ways, it is not.

        Raises InterpreterError for a table that no kernel would have.
        """
        sticky = {} if sticky is None else sticky
        shared, ends = self._ends(State(packet), sticky, draw)
        shares = _merged(ends, shared)
        if len(shares) > 1:
            return Walk(packet, Spread(shares), tuple(ends[0].steps[:shared]))
        for (map, key), mark in ends[0].remembered.items():
            if mark is None:
                sticky.get(map, {}).pop(key, None)
            else:
                sticky.setdefault(map, {})[key] = mark
        return Walk(packet, shares[0].outcome, tuple(ends[0].steps))

    def _ends(self, state: State, sticky: Sticky, draw: Draw | None) -> tuple[int, list[State]]:
        """All the ways in which it can end, and how many steps they have in common."""
        machine = Machine(self._loaded, sticky, draw)
        state.waiting = self._loaded.base_chains(state.packet.hook)
        shared = 0
        undecided, ends = [state], []
        while undecided:
            state = undecided.pop()
            forks = self._run(machine, state)
            if not forks:
                ends.append(state)
                continue
            shared = shared or len(state.steps)
            undecided += reversed(forks)
        return shared, ends

    def _run(self, machine: Machine, state: State) -> list[State]:
        """Follows one state to its end (then there is nothing more to follow) or to a fork."""
        for _ in range(_LONGEST):
            if state.chain is None:
                if not self._next_chain(state):
                    return []
                continue
            if state.rule == len(state.chain.rules):
                state.chain, state.rule = state.stack.pop() if state.stack else (None, 0)
                continue
            effect = machine.run_rule(state, state.chain.rules[state.rule])
            if isinstance(effect, list):
                return effect
            if isinstance(effect, Jump | Goto):
                self._move(state, effect)
            elif effect is Ends.HOOK:
                self._leave_hook(state)
            else:
                state.rule += 1
            state.statement = 0
        raise InterpreterError("the table goes round in circles")

    def _move(self, state: State, move: Jump | Goto) -> None:
        state.note(Entered(move.chain, "jump" if isinstance(move, Jump) else "goto"))
        if isinstance(move, Jump):
            if len(state.stack) == _DEEPEST or state.chain is None:
                raise InterpreterError(f"{_DEEPEST} jumps are the kernel's limit")
            state.stack.append((state.chain, state.rule + 1))
        state.chain, state.rule = self._loaded.chain(move.chain), 0

    def _next_chain(self, state: State) -> bool:
        """Enters the next base chain; no more of them and no more hooks: False."""
        if state.outcome is not None:
            return False
        if not state.waiting:
            state.outcome = state.delivered or NotOurs()
            return False
        state.chain, *waiting = state.waiting
        state.waiting, state.rule = tuple(waiting), 0
        state.note(Entered(state.chain.name, "hook"))
        return True

    def _leave_hook(self, state: State) -> None:
        """After a verdict: a translated destination goes on to the hook for sources."""
        state.chain, state.waiting = None, ()
        state.stack.clear()
        if state.delivered is not None and not state.routed:
            state.routed = True
            state.packet = replace(
                state.packet, destination=state.delivered.address, port=state.delivered.port
            )
            state.priority = NO_PRIORITY
            state.waiting = self._loaded.base_chains("postrouting")


def _merged(ends: list[State], shared: int) -> tuple[Share, ...]:
    """Equal ends as one, with the sum of their shares."""
    shares: dict[Sure, Fraction] = {}
    steps: dict[Sure, tuple[Step, ...]] = {}
    for state in ends:
        outcome = state.outcome or NotOurs()
        shares[outcome] = shares.get(outcome, Fraction(0)) + state.share
        steps.setdefault(outcome, tuple(state.steps[shared:]))
    return tuple(Share(share, outcome, steps[outcome]) for outcome, share in shares.items())
