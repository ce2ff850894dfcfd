"""Slots for everyone: whole numbers in proportion to weights."""

from __future__ import annotations

import heapq
from collections.abc import Sequence


def apportion(weights: Sequence[int], slots: int) -> list[int]:
    """How many of the slots each weight gets; they sum to ``slots`` (> 0).

    The counts are those with the least worst error (largest remainders), among all that give
    everyone at least one slot; a tie goes to the first. Where there are fewer slots than
    weights, the smallest remainders get none. Weights are positive.
    """
    total = sum(weights)
    least = 1 if len(weights) <= slots else 0
    counts = [max(least, slots * weight // total) for weight in weights]
    missing = slots - sum(counts)

    def surplus(index: int) -> int:
        """How much more than its share it has, in units of 1 / (slots * total)."""
        return counts[index] * total - slots * weights[index]

    if missing > 0:
        for index in sorted(range(len(weights)), key=surplus)[:missing]:
            counts[index] += 1
    elif missing < 0:
        # Those lifted to one slot are paid for by those with the most to spare.
        heap = [(-surplus(index), -index) for index, count in enumerate(counts) if count > 1]
        heapq.heapify(heap)
        for _ in range(-missing):
            index = -heap[0][1]
            counts[index] -= 1
            if counts[index] > 1:
                heapq.heapreplace(heap, (-surplus(index), -index))
            else:
                heapq.heappop(heap)
    return counts
