"""Weights to slots: who gets which of a farm's slots. Pure functions, the same everywhere."""

from nftlbc.schedule.consistent import Member, consistent
from nftlbc.schedule.primes import is_prime, next_prime
from nftlbc.schedule.round_robin import Slots, slots

__all__ = ["Member", "Slots", "consistent", "is_prime", "next_prime", "slots"]
