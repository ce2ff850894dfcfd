"""The farms of a file, with what the running table remembers of their backends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from nftlbc.farms import Backend, Farm
from nftlbc.nft.netlink import KernelTable
from nftlbc.plan.in_use import marks
from nftlbc.plan.recall import recall, remembered
from nftlbc.states import NOTHING, Remembered, Seconds
from nftlbc.table.numbers import known_as


def overlay(kernel: KernelTable, farms: Sequence[Farm], now: Seconds) -> tuple[Farm, ...]:
    """The same farms, each backend with its record, found by its number.

    What was done by hand and what checks found goes on; when the file's own state has changed,
    the record says since when.
    """
    records = remembered(kernel)
    changed = _filed(kernel, farms, records, now)
    if not records and not changed:
        return tuple(farms)
    numbers = marks(kernel)
    of_farm: dict[str, dict[str, Remembered]] = {}
    known = {text: records[mark] for text, mark in numbers.items() if mark in records} | changed
    for text, record in known.items():
        of_farm.setdefault(text.partition(" ")[0], {})[text] = record
    return tuple(
        _with_records(farm, of_farm[farm.name]) if farm.name in of_farm else farm for farm in farms
    )


def _with_records(farm: Farm, records: Mapping[str, Remembered]) -> Farm:
    backends = []
    for each in farm.backends:
        record = records.get(known_as(farm.name, each.address, each.port), NOTHING)
        if each.state == "up" and record.filed is not None:
            record = replace(record, filed=None)
        if not farm.checks and record.check is not None:
            record = replace(record, check=None)  # nobody would ever bring it back
        if not farm.moving and record.measured is not None:
            record = replace(record, measured=None)
        backends.append(replace(each, remembered=NOTHING if record == NOTHING else record))
    return replace(farm, backends=tuple(backends))


def _filed(
    kernel: KernelTable, farms: Sequence[Farm], records: Mapping[int, Remembered], now: Seconds
) -> dict[str, Remembered]:
    """The records of backends whose file says another state than it did: since now."""
    stating = {farm.name for farm in farms if any(each.state != "up" for each in farm.backends)}
    if not stating:
        return {}
    before = recall(kernel, stating)
    old: dict[str, tuple[Farm, Backend]] = {
        known_as(farm.name, each.address, each.port): (farm, each)
        for farm in before.farms
        for each in farm.backends
    }
    found = {}
    for farm in farms:
        if farm.name not in stating:
            continue
        for each in farm.backends:
            text = known_as(farm.name, each.address, each.port)
            if each.state == "up" or text not in old or old[text][1].state == each.state:
                continue
            record = records.get(before.mark(*old[text]), NOTHING)
            found[text] = replace(record, filed=now)
    return found
