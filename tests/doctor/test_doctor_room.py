"""Tables that fill up, and what becomes of connections that the kernel lost sight of."""

from __future__ import annotations

import re

import pytest
from ground import HEALTHY, Report, examined, inside, mended
from tables import WEB4

pytestmark = pytest.mark.kernel

STICKY = WEB4.replace("listen", "persist source-ip for 5m size 64\n    listen")
SHARED = WEB4.replace("listen", "persist source-ip for 5m\n    listen")


def most(number: int) -> str:
    """The limit is the whole machine's, so it is only covered up here."""
    return (
        f"mount -t tmpfs none /mnt; echo {number} > /mnt/most;"
        " mount --bind /mnt/most /proc/sys/net/netfilter/nf_conntrack_max"
    )


FRAMES = [f"clients 198.51.100.7 {40000 + number} 203.0.113.10 80 syn" for number in range(8)]


@pytest.mark.parametrize(
    ("limit", "verdict"), [(100, "ok"), (10, "warning"), (8, "problem"), (0, "ok")]
)
def test_the_connection_table_fills_up(limit: int, verdict: str) -> None:
    steps = [{"run": HEALTHY}, {"apply": WEB4}, *({"frame": each} for each in FRAMES)]
    report = inside([*steps, {"run": most(limit)}, {"doctor": WEB4}])[-1]
    assert isinstance(report, Report)
    assert report.verdict("connection-table") == verdict
    found = report.the("connection-table")
    assert "8" in found["what"]
    if verdict in ("warning", "problem"):
        assert found["commands"] == [f"sysctl -w net.netfilter.nf_conntrack_max={2 * limit}"]


def test_tcp_loose() -> None:
    """Seen with traffic: with 0, every open connection is reset once the kernel forgot it; with
    1 they go on."""
    off = "echo 0 > /proc/sys/net/netfilter/nf_conntrack_tcp_loose"
    before, after = mended(WEB4, "tcp-loose", off)
    assert before.wrong == {"tcp-loose": "warning"}
    assert after.wrong == {}


def filled(farms: str, count: int) -> Report:
    """The report once so many clients are in the sticky map."""
    elements = ", ".join(
        f"0:1 . 198.51.100.{number} : 0x80000001" for number in range(1, count + 1)
    )
    fill = (
        "map=$(nft list maps inet | grep -o 'sticky4[^ ]*');"
        f'nft "add element inet nftlbc $map {{ {elements} }}"'
    )
    return inside([{"run": HEALTHY}, {"apply": farms}, {"run": fill}, {"doctor": farms}])[-1]  # type: ignore[no-any-return]


@pytest.mark.parametrize(("count", "verdict"), [(1, "ok"), (60, "warning"), (64, "problem")])
def test_a_sticky_map_fills_up(count: int, verdict: str) -> None:
    report = filled(STICKY, count)
    assert report.verdict("sticky-maps") == verdict
    if verdict != "ok":
        found = report.the("sticky-maps")
        assert f"{count} of 64" in found["what"]
        assert found["affects"] == ["farm web"]
        assert found["statements"] == ["persist source-ip for 300s size 128"]


def test_the_statement_that_mends_it_does() -> None:
    report = filled(STICKY.replace("for 5m size 64", "for 300s size 128"), 60)
    assert report.verdict("sticky-maps") == "ok"


def test_the_map_that_farms_share_has_room() -> None:
    assert filled(SHARED, 60).verdict("sticky-maps") == "ok"


def test_without_our_table_there_is_nothing_to_fill() -> None:
    assert "not loaded" in examined(STICKY).the("sticky-maps")["what"]


CHECKED = WEB4.replace("backend", 'check exec { command "/bin/true" }\n    backend')
PROBED = (
    "set=$(nft list sets inet | grep -o 'states[^ ]*');"
    ' nft "delete element inet nftlbc $set { 0 };'
    ' add element inet nftlbc $set { 0 comment \\"probed=$(date +%s)\\" }"'
)


def test_checks_that_nobody_makes() -> None:
    steps = [{"run": HEALTHY}, {"apply": CHECKED}, {"doctor": CHECKED}, {"run": PROBED}]
    before, after = (
        each for each in inside([*steps, {"doctor": CHECKED}]) if isinstance(each, Report)
    )
    assert before.verdict("checks-made") == "warning"
    assert before.the("checks-made")["what"] == "nobody has made the checks yet"
    assert before.the("checks-made")["affects"] == ["farm web"]
    assert after.verdict("checks-made") == "ok"
    assert re.match(r"last \ds ago", after.the("checks-made")["what"])
    assert examined(WEB4).the("checks-made")["what"] == "no farm has checks"
