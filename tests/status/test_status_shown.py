"""A Snapshot as text, JSON and metrics, and monitoring's line."""

from __future__ import annotations

import re
from dataclasses import replace

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from nftlbc import __version__
from nftlbc.farms import Listener
from nftlbc.status import document, metrics
from nftlbc.status.columns import View, short
from nftlbc.status.model import BackendStatus, PoolStatus, Snapshot, StickyMap, Traffic
from nftlbc.status.rates import rates
from nftlbc.status.text import lines
from nftlbc.status.verdict import verdict

NOW = 1_800_000_000


def backend(name: str = "app1", **changes: object) -> BackendStatus:
    plain = BackendStatus(
        name=name,
        address="10.0.0.1",
        port=8080,
        backup=False,
        weight=1,
        live_weight=1.0,
        share=0.5,
        state="up",
        cause="file",
        since=None,
        by="",
        reason="",
        hand=None,
        new=12,
        open=3,
        flows=0,
        sticky=None,
        traffic=None,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def pool(farm: str = "web", *backends: BackendStatus, **changes: object) -> PoolStatus:
    plain = PoolStatus(
        farm=farm,
        family=4,
        listeners=(Listener("203.0.113.10", "tcp", 80, 80),),
        balance="round-robin",
        persist="",
        quorum=1,
        taking=sum(each.share > 0 for each in backends),
        sticky=None,
        counted=any(each.traffic for each in backends),
        backends=backends,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def snapshot(*pools: PoolStatus, **changes: object) -> Snapshot:
    plain = Snapshot(float(NOW), "0123456789abcdef", False, pools, 0, 0, "")
    return replace(plain, **changes)  # type: ignore[arg-type]


def shown(found: Snapshot, **view: object) -> str:
    return "\n".join(lines(found, View(**view)))  # type: ignore[arg-type]


DISABLED = backend(
    "app2",
    state="disabled",
    cause="hand",
    since=NOW - 7260,
    by="ann",
    hand="disable",
    share=0.0,
    live_weight=0.0,
)
FAILED = backend(
    "app3",
    state="down",
    cause="check",
    since=NOW - 5,
    reason="status-503",
    hand="drain",
    share=0.0,
    new=1_234_567,
)


def test_who_is_not_up_is_told_with_since_when_by_whom_and_why() -> None:
    text = shown(snapshot(pool("web", backend(), DISABLED, FAILED)))
    assert text.startswith("1 farm, 3 backends: 1 up, 1 down, 1 disabled\n")
    assert re.search(r"app2 +disabled .*\n    since .*\(2 h\), by ann, by hand\n", text)
    assert re.search(
        r"app3 +down .* 1\.2M .*\n    since .*\(5 s\), check: status-503, drain ", text
    )
    assert "app1" in text and "by the farms file" not in text


def test_traffic_is_a_dash_where_it_is_not_counted() -> None:
    counted = backend("a", traffic=Traffic(1500, 2_000_000, 7, 999))
    text = shown(snapshot(pool("web", counted, backend("b"))))
    assert re.search(r"a +up .* 1\.5k/7 +2\.0M/999\n", text)
    assert re.search(r"b +up .* 12 +3 +- +- +-$", text)


def test_connections_to_removed_backends_are_told() -> None:
    text = shown(snapshot(pool("web", backend()), gone=3))
    assert "3 connections are open to backends that were removed: apply --cut ends them" in text
    assert "1 connection is open" in shown(snapshot(pool("web", backend()), gone=1))
    assert "removed" not in shown(snapshot(pool("web", backend())))


def test_a_farm_below_its_quorum_and_one_without_anybody_say_so() -> None:
    backups = pool("web", backend("a", share=0.0), backend("b", backup=True, share=1.0), taking=0)
    nobody = pool("mail", backend("c", share=0.0, state="down"))
    text = shown(snapshot(nobody, backups))
    assert "below their quorum: mail, web\n" in text
    assert "nobody takes new clients in: mail\n" in text
    assert "BELOW ITS QUORUM: 0 of 1 take new clients, and its backups\n" in text
    assert text.count("NOBODY TAKES NEW CLIENTS") == 1


def test_how_full_the_sticky_map_is() -> None:
    known = StickyMap("sticky4_source-ip_300s_64", 3, 60, 64)
    found = pool("web", backend(sticky=3), persist="source-ip for 300s", sticky=known)
    line = "  persist source-ip for 300s: 3 clients; map 93.8% full (60 of 64)"
    assert line in shown(snapshot(found)).splitlines()
    assert f"\x1b[33m{line}\x1b[0m" in shown(snapshot(found), paint=True).splitlines()


def test_two_thousand_farms_are_a_line_each_and_who_is_not_up() -> None:
    pools = [pool(f"farm{n}", backend(), backend("app2")) for n in range(1, 2000)]
    found = snapshot(pool("farm0", backend(), FAILED), *pools)
    text = shown(found).splitlines()
    assert text[0] == "2000 farms, 4000 backends: 3999 up, 1 down"
    assert len(text) == 2000 + 4
    assert [line for line in text if "app" in line] == [text[4]]
    assert re.match(r"    app3 down since .*check: status-503", text[4])
    assert re.match(r"  farm1999 +2/2 +24 +6 +-", text[-1])
    assert len(shown(found, everything=True).splitlines()) > 8000


@settings(max_examples=40)
@given(
    st.integers(40, 160),
    st.lists(
        st.builds(
            backend,
            st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True),
            address=st.ip_addresses().map(str),
            port=st.none() | st.integers(1, 65535),
            new=st.none() | st.integers(0, 2**64),
            open=st.none() | st.integers(0, 2**32),
            weight=st.integers(0, 65535),
            share=st.floats(0, 1),
            live_weight=st.floats(0, 1e6),
            state=st.sampled_from(["up", "draining", "down", "disabled"]),
            traffic=st.none() | st.builds(Traffic, *[st.integers(0, 2**64)] * 4),
        ),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)
def test_no_line_is_wider_than_the_terminal(
    width: int, backends: list[BackendStatus], watched: bool
) -> None:
    found = snapshot(pool("f" * 30, *backends, persist="source-ip for 300s"))
    moved = rates(found, replace(found, time=NOW + 2.0)) if watched else None
    for line in lines(found, View(width, rates=moved)):
        assert len(line) <= width, line


@given(st.integers(0, 10**14) | st.floats(0, 10**14))
def test_a_short_number_has_four_characters(number: float) -> None:
    text = short(number)
    assert len(text) <= 4
    unit = text[-1] if text[-1] in "kMGT" else ""
    value = float(text.removesuffix(unit)) * 1000 ** " kMGT".index(unit or " ")
    assert value == pytest.approx(number, rel=0.06, abs=0.06)


def test_what_stands_in_the_table_does_not_reach_the_terminal_raw() -> None:
    odd = backend("a\x1b[31mb", state="draining", cause="hand", by="x\ny\x07", hand="drain")
    text = shown(snapshot(pool("w\x1b]0;t\x07", odd)))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    assert "x\ny" not in text


def test_colours_are_for_who_asks() -> None:
    found = snapshot(pool("web", backend(), FAILED))
    painted = shown(found, paint=True)
    assert "\x1b[31mdown" in painted and "\x1b[32mup" in painted
    assert re.sub(r"\x1b\[\d+m", "", painted) == shown(found)


def test_open_connections_that_are_not_known() -> None:
    found = snapshot(pool("web", backend(open=None, flows=None)), unknown="no right")
    assert "open connections are not known: no right" in shown(found)
    assert re.search(r"app1 +up +1 +50% +12 +- ", shown(found))
    assert "open_connections" not in metrics.text(found)
    assert document.as_json(found)["connections"] is False


def test_rates_are_each_second_and_begin_anew_with_the_counters() -> None:
    before = snapshot(pool("web", backend(new=10, traffic=Traffic(1, 100, 1, 5000))))
    after = replace(
        snapshot(pool("web", backend(new=16, traffic=Traffic(9, 2100, 9, 1000)), backend("new"))),
        time=NOW + 2.0,
    )
    moved = rates(before, after)
    [(who, rate)] = moved.items()
    assert who[0] == "web" and rate == (3.0, 1000.0, 500.0)
    assert rates(after, after) == {}
    assert "NEW/S" in shown(after, rates=moved) and "1.0k/500" in shown(
        after, rates=moved, width=90
    )
    found = document.as_json(after, moved)
    jsonschema.validate(found, document.schema())
    assert found["farms"][0]["pools"][0]["backends"][0]["rates"]["new"] == 3.0


def test_the_schema_refuses_what_is_not_status() -> None:
    jsonschema.Draft202012Validator.check_schema(document.schema())
    found = document.as_json(snapshot(pool("web", backend(), DISABLED, FAILED)))
    jsonschema.validate(found, document.schema())
    found["farms"][0]["pools"][0]["backends"][0]["state"] = "sideways"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found, document.schema())


def test_metrics_are_read_by_prometheus() -> None:
    odd = 'we"b\\n\n'
    counted = backend("a", traffic=Traffic(1, 2, 3, 4), sticky=5)
    known = StickyMap("sticky4_x", 5, 6, 64)
    found = snapshot(pool(odd, counted, sticky=known), pool("web", backend(), DISABLED, quorum=2))
    text = metrics.text(found)
    families = {each.name: each for each in text_string_to_metric_families(text)}
    assert text.count("# TYPE") == text.count("# HELP") == len(families)
    samples = [sample for each in families.values() for sample in each.samples]

    def value(name: str, **labels: str) -> float:
        [found] = [each.value for each in samples if (each.name, each.labels) == (name, labels)]
        return found

    at = {"backend": "a", "family": "ipv4", "farm": odd}
    app2 = {"backend": "app2", "family": "ipv4", "farm": "web"}
    assert value("nftlbc_backend_bytes_total", direction="out", **at) == 4
    assert value("nftlbc_backend_packets_total", direction="in", **at) == 1
    assert value("nftlbc_backend_new_connections_total", **at) == 12
    assert value("nftlbc_backend_sticky_clients", **at) == 5
    assert value("nftlbc_backend_state", state="disabled", **app2) == 1
    assert value("nftlbc_backend_state", state="up", **app2) == 0
    assert value("nftlbc_backend_since_timestamp_seconds", **app2) == NOW - 7260
    assert value("nftlbc_pool_below_quorum", family="ipv4", farm="web") == 1
    assert value("nftlbc_sticky_map_entries", map="sticky4_x") == 6
    assert value("nftlbc_config_info", digest=found.digest, version=__version__) == 1
    assert families["nftlbc_backend_new_connections"].type == "counter"
    assert families["nftlbc_backend_open_connections"].type == "gauge"


def test_monitoring_is_told_in_one_line() -> None:
    assert verdict(snapshot(pool("web", backend(), FAILED))) == (
        True,
        "nftlbc: 1 farm at quorum, 1 of 2 backends up: web/app3 down",
    )
    below = [pool(f"farm{n}", backend(), quorum=2) for n in range(9)]
    well, line = verdict(snapshot(*below, pool("web", backend())))
    assert not well
    assert line.startswith("nftlbc: 9 of 10 farms below quorum: farm0 (1 of 2), farm1 (1 of 2)")
    assert line.endswith(" and 4 more") and "\n" not in line
    assert not verdict(snapshot(pool("web", backend()), asleep=True))[0]
