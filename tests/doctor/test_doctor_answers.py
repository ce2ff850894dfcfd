"""Answers that pass this machine by: what networks and routes tell, and the connections that
really got none.
"""

from __future__ import annotations

import pytest
from ground import HEALTHY, Report, after, examined, inside
from tables import WEB4, post

pytestmark = pytest.mark.kernel

ONE_ARMED = """\
farm web {
    listen 192.0.2.10 tcp port 80
    backend app1 192.0.2.11 port 8080
}
"""
HERE = "ip address add 192.0.2.10/32 dev clients"
ASKED = "clients 198.51.100.7 40000 192.0.2.10 80 syn"
ANSWERED = "clients 192.0.2.11 8080 198.51.100.7 40000 syn-ack"
PAST = WEB4.replace("10.0.0.11", "172.16.0.11")


def ask(listener: str) -> str:
    """This machine's own process tries to connect to a farm."""
    return f"""\
python3 - <<'END'
import socket
with socket.socket() as asking:
    asking.settimeout(0.2)
    try:
        asking.connect(("{listener}", 80))
    except OSError:
        pass
END
"""


def masquerading(farms: str) -> str:
    return farms.replace("listen", "forward masquerade\n    listen")


def test_backends_in_the_clients_network() -> None:
    """Whether their default gateway is this machine can't be seen from here."""
    report = examined(ONE_ARMED, HERE)
    assert report.wrong == {"one-armed": "warning"}
    found = report.the("one-armed")
    assert found["statements"] == ["forward masquerade"]
    assert found["affects"] == ["web/app1"]
    assert "192.0.2.2" in found["why"]
    assert examined(masquerading(ONE_ARMED), HERE).wrong == {}


def test_it_is_a_problem_once_nobody_was_answered() -> None:
    report = after(ONE_ARMED, ASKED, change=HERE)
    assert report.wrong == {"one-armed": "problem"}


def test_it_is_well_once_somebody_was_answered() -> None:
    report = after(ONE_ARMED, ASKED, ANSWERED, change=HERE)
    assert report.wrong == {}


def test_this_machine_s_own_connections_prove_nothing() -> None:
    steps = [{"run": HEALTHY}, {"run": HERE}, {"apply": ONE_ARMED}, {"run": ask("192.0.2.10")}]
    report = inside([*steps, {"doctor": ONE_ARMED}])[-1]
    assert isinstance(report, Report)
    assert report.wrong == {"one-armed": "warning", "own-connections": "warning"}


def test_backends_behind_the_clients_own_gateway() -> None:
    report = examined(PAST)
    assert report.wrong == {"one-armed": "problem"}
    assert report.the("one-armed")["statements"] == ["forward masquerade"]
    assert examined(masquerading(PAST)).wrong == {}


def test_backends_behind_another_gateway_of_the_clients_network() -> None:
    route = "ip route add 172.16.0.0/12 via 192.0.2.253"
    assert examined(PAST, route).wrong == {"one-armed": "warning"}


def test_somebody_else_s_masquerading_makes_it_well() -> None:
    assert examined(PAST, post('oifname "clients" masquerade')).wrong == {}
    only_udp = post('oifname "clients" meta l4proto udp masquerade')
    assert examined(PAST, only_udp).wrong == {"one-armed": "problem"}


def test_ipv6_too() -> None:
    farms = ONE_ARMED.replace("192.0.2.10", "2001:db8:1::10").replace(
        "192.0.2.11", "2001:db8:1::11"
    )
    here = "ip address add 2001:db8:1::10/128 dev clients nodad"
    assert examined(farms, here).wrong == {"one-armed": "warning"}


def test_two_arms_are_well() -> None:
    assert examined(WEB4).verdict("one-armed") == "ok"


BOTH = WEB4.replace("}", "    backend app2 10.0.0.12 port 8080 state drain\n}")
FROM_BACKEND = "servers 10.0.0.12 40000 203.0.113.10 80 syn"


def test_a_backend_that_asks_its_own_farm_in_vain() -> None:
    report = after(BOTH, FROM_BACKEND)
    assert report.wrong == {"hairpin": "problem"}
    found = report.the("hairpin")
    assert found["statements"] == ["hairpin"]
    assert found["affects"] == ["10.0.0.12"]


def test_a_backend_of_another_farm_that_asks_in_vain() -> None:
    other = "farm db {\n    listen 203.0.113.10 tcp port 5432\n    backend db1 10.0.0.12\n}\n"
    report = after(WEB4 + other, FROM_BACKEND)
    assert report.wrong == {"hairpin": "problem"}
    assert report.the("hairpin")["statements"] == ["forward masquerade"]


def test_a_farm_with_a_hairpin() -> None:
    with_hairpin = BOTH.replace("listen", "hairpin\n    listen")
    assert after(with_hairpin, FROM_BACKEND).verdict("hairpin") == "ok"


def test_a_client_without_an_answer_is_no_hairpin() -> None:
    report = after(BOTH, "clients 198.51.100.7 40000 203.0.113.10 80 syn")
    assert report.wrong == {}


def test_this_machine_s_own_connections_without_an_answer() -> None:
    steps = [{"run": HEALTHY}, {"apply": WEB4}, {"run": ask("203.0.113.10")}, {"doctor": WEB4}]
    report = inside(steps)[-1]
    assert isinstance(report, Report)
    assert report.wrong == {"own-connections": "warning"}
    found = report.the("own-connections")
    assert found["affects"] == ["web/app1"]
    assert "203.0.113.10" in found["why"]


def test_what_backends_have_to_route_back_is_named() -> None:
    assert "203.0.113.10" in examined(WEB4).the("own-connections")["what"]
