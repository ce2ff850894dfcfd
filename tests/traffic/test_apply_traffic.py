"""apply by difference while clients connect: not one refused, none moved without need."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest
from farms import VIP, VIP6, Balancer, balancing

import nftlbc
from nftlbc.sandbox import Request

pytestmark = pytest.mark.kernel

APPLYING = Path(__file__).parent / "applying.py"


def apply(lb: Balancer, folder: Path, texts: Sequence[str], pause: float = 0) -> int:
    """Applies each text by difference, and returns how many of them changed something."""
    import lark

    library = ":".join(str(Path(each.__file__).parent.parent) for each in (nftlbc, lark))
    files = []
    for number, text in enumerate(texts):
        file = folder / f"{number}.lb"
        file.write_text(text)
        files.append(str(file))
    argv = (sys.executable, str(APPLYING), library, str(pause), *files)
    done = lb.box.run("balancer", argv, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout)


def farms(number: int) -> str:
    """Weights, ports and backends that change, other farms that come and go; the sticky farms
    keep their backends."""
    listen = f"listen {VIP}, {VIP6}"
    sticky = "".join(
        f"    backend {name}{n}  10.0.1.{n} port 8080 weight {1 + (n + number) % 3}"
        f"{' state drain' if n == number % 6 else ''}\n"
        f"    backend {name}{n}6 2001:db8:1::{n} port 8080 weight {1 + (n * number) % 4}\n"
        for n, name in zip(range(1, 4), "xyz" if number % 2 else "rst", strict=True)
    )
    times = ("", "for 10m", "for 7m size 4096", "for 2h")
    text = f"""
farm web {{
    {listen} tcp port 80
    {listen} tcp port 1000-1999
    {"balance hash source-ip" if number % 4 == 1 else ""}
    {"hairpin" if number % 5 == 1 else ""}
    backend a  10.0.0.1 port {8080 + number % 2} weight {1 + number % 3}
    backend b  10.0.0.2 port 8080 weight {1 + number % 4} {"state drain" if number % 5 == 3 else ""}
    backend a6 2001:db8:1::1 port {8080 + number % 2} weight {1 + number % 5}
    backend b6 2001:db8:1::2 port 8080
    {"backend c 10.0.0.3 port 8080" if number % 2 else ""}
    {"backend d 10.0.0.4 port 8080 state down" if number % 3 else ""}
}}
farm udp {{
    {listen} udp port 53 {"to 8080" if number % 3 else "to 8081"}
    {"forward masquerade" if number % 2 else ""}
    backend d  10.0.0.4
    backend d6 2001:db8:1::4
}}
farm sticky {{
    {listen} tcp port 443
    persist source-ip {times[number // 3 % 4]}
{sticky}}}
farm hashed {{
    {listen} tcp port 444
    persist source-ip, source-port {times[number // 4 % 4]}
{sticky}}}
"""
    return text + "".join(
        f"""
farm other{n} {{
    {listen} tcp port {5000 + n} {"to 99" if n % 2 else ""}
    {"persist source-ip size 64" if n % 3 == 0 else ""}
    backend x 10.0.9.1 port 8080 {"state down" if (n + number) % 4 == 0 else ""}
    backend x6 2001:db8:9::1 port 8080
}}
"""
        for n in range(number % 7, 9)
    )


@pytest.mark.timeout(600)
def test_a_hundred_applies_under_load_cost_no_connection(tmp_path: Path) -> None:
    sets = [farms(number) for number in range(100)]
    with balancing(sets[0], *sets[1:24]) as lb:
        traffic = [lb.box.start(requests, parallel=8) for requests in _requests(lb)]
        assert apply(lb, tmp_path, sets, 0.02) == 99
        answers = [answer for each in traffic for answer in each.stop()]
        assert len(answers) > 3000
        failed = [answer for answer in answers if answer.outcome != "answered"]
        assert not failed, failed[:5]
        homes: defaultdict[tuple[object, ...], set[str | None]] = defaultdict(set)
        for answer in answers:
            if answer.request.port in (443, 444):
                key = (answer.request.source, answer.request.address, answer.request.port)
                homes[key].add(answer.backend)
        assert len(homes) == 120
        moved = {key: backends for key, backends in homes.items() if len(backends) != 1}
        assert not moved
        assert len({backend for backends in homes.values() for backend in backends}) == 6


def _requests(lb: Balancer) -> list[list[Request]]:
    changing, staying = [], []
    for family, vip in ((4, VIP), (6, VIP6)):
        clients = [lb.client(number, family) for number in range(30)]
        changing += [
            Request("clients", client, vip, port)
            for client in clients
            for port in (80, 1000, 1500, 1999)
        ]
        changing.append(Request("clients", None, vip, 53, "udp"))
        staying += [Request("clients", client, vip, 443) for client in clients]
        # One source port each, so that the client is the same every time.
        staying += [
            Request("clients", client, vip, 444, source_port=40000 + number)
            for number, client in enumerate(clients)
        ]
    return [changing, staying]


def steady(state: str = "", weight: int = 1, name: str = "b", more: str = "") -> str:
    return f"""
farm web {{
    listen {VIP} tcp port 80
    listen {VIP} udp port 53
    backend a 10.0.0.1 port 8080
    backend {name} 10.0.0.2 port 8080 weight {weight} {state}
    {more}
}}
farm still {{
    listen {VIP} tcp port 81
    backend x 10.0.0.5 port 8080
    backend y 10.0.0.6 port 8080
    backend z 10.0.0.7 port 8080
}}
"""


def test_open_connections_and_round_robins_go_on(tmp_path: Path) -> None:
    """Whatever happens to a backend, its open connections stay, with their marks; the farm that
    is not changed takes its turns as if nothing had been."""
    texts = [
        steady("state drain"),
        steady(weight=3),
        steady(name="renamed"),
        steady("state down"),
        steady(),
        steady(more="backend c 10.0.0.3 port 8080"),
        steady().replace("    backend b 10.0.0.2 port 8080 weight 1 \n", ""),
        steady(),
    ]
    with balancing(steady(), *texts) as lb:
        apply(lb, tmp_path, [steady()])
        held = lb.box.ask([Request("clients", None, VIP, 80, hold=True)] * 6)
        homes = [answer.backend for answer in held]
        assert Counter(homes) == {"10.0.0.1": 3, "10.0.0.2": 3}
        marks = _marks(lb)
        turns = lb.named(lb.ask(1, VIP, 81))
        for text in texts:
            assert apply(lb, tmp_path, [text]) == 1
            assert [answer.backend for answer in lb.box.talk(held)] == homes
            assert _marks(lb) >= marks
            turns += lb.named(lb.ask(1, VIP, 81))
        assert turns == ["x", "y", "z"] * 3


def _marks(lb: Balancer) -> Counter[str]:
    done = lb.box.run("balancer", ("cat", "/proc/net/nf_conntrack"))
    if done.returncode != 0:
        done = lb.box.run("balancer", ("conntrack", "-L", "-p", "tcp", "--state", "ESTABLISHED"))
    lines = [line for line in done.stdout.splitlines() if "ESTABLISHED" in line]
    return Counter(word for line in lines for word in line.split() if word.startswith("mark="))


def test_counters_survive_drain_down_and_up(tmp_path: Path) -> None:
    with balancing(steady()) as lb:
        lb.ask(10)
        for text in (
            steady("state drain"),
            steady("state down"),
            steady(weight=5),
            steady(name="other"),
        ):
            apply(lb, tmp_path, [text])
        listing = lb.nft("list", "map", "inet", "nftlbc", "backends4_1024")
        assert 'counter packets 5 bytes 300 comment "web/a"' in listing
        assert 'counter packets 5 bytes 300 comment "web/other"' in listing
        lb.ask(6)
        listing = lb.nft("list", "map", "inet", "nftlbc", "backends4_1024")
        assert 'packets 8 bytes 480 comment "web/other"' in listing
