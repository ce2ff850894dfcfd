"""The table remembers when checks were last made, and whoever looks is told when nobody makes
them any more."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from namespaces import in_namespace, read

from nftlbc import pipeline
from nftlbc.plan import by_hand, in_use, planning
from nftlbc.plan.running import Running
from nftlbc.probe import once
from nftlbc.states import NOT_YET
from nftlbc.status.look import look
from nftlbc.status.verdict import verdict

FARMS = """
farm web {
    listen 203.0.113.10 tcp port 80
    backend app1 127.0.0.1 port 1
    backend app2 127.0.0.2 port 1
    check exec { command "/bin/true" }
}
"""


@in_namespace
def test_it_stands_in_the_table_until_there_are_no_checks(tmp_path: Path) -> None:
    file = tmp_path / "farms.lb"
    file.write_text(FARMS)
    farms, _ = pipeline.read(str(file))
    planning.apply([replace(farms[0], checks=())])
    assert in_use.probed(read()) is None
    planning.apply(farms)
    assert in_use.probed(read()) == NOT_YET
    by_hand.hold(["web/app1"], "drain", "root")
    by_hand.hold(["web/app1"], None, "root")
    assert planning.plan(farms).empty
    begin = int(time.time())
    once.probe(farms, once.Options())
    made = in_use.probed(read())
    assert made is not None
    assert made >= begin
    # Others leave it as it is.
    by_hand.hold(["web/app2"], "drain", "root")
    assert planning.plan(farms).empty
    weights = tuple(replace(each, weight=3) for each in farms[0].backends[:1])
    planning.apply([replace(farms[0], backends=(*weights, *farms[0].backends[1:]))])
    assert in_use.probed(read()) == made
    # A loop writes it without the rest.
    running = Running.of(read(), planning.apply(farms).farms)
    plan = running.probed(made + 5)
    assert plan is not None
    planning.changing.send(plan.transaction)
    running.changed(plan)
    assert in_use.probed(read()) == in_use.probed(running.kernel) == made + 5
    planning.apply([replace(farms[0], checks=())])
    assert in_use.probed(read()) is None


@in_namespace
def test_who_looks_is_told_when_nobody_checks(tmp_path: Path) -> None:
    file = tmp_path / "farms.lb"
    file.write_text(FARMS)
    farms, _ = pipeline.read(str(file))
    planning.apply(farms)
    for farm in (None, "web"):
        snapshot = look(farm)
        assert snapshot is not None
        assert verdict(snapshot) == (
            False,
            "nftlbc: no checks were made yet: who is up is not known; does nftlbc probe run?",
        )
    running = Running.of(read(), planning.apply(farms).farms)
    for ago, well in ((60, True), (3 * 3600, False)):
        plan = running.probed(int(time.time()) - ago)
        assert plan is not None
        planning.changing.send(plan.transaction)
        running.changed(plan)
        for farm in (None, "web"):
            snapshot = look(farm)
            assert snapshot is not None
            assert verdict(snapshot)[0] == well
            assert ("no checks for 3h 0m" in verdict(snapshot)[1]) != well
