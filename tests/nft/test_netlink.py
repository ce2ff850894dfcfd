"""The kernel's table read over netlink: against what was written, and against nft's own listing."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from listing import as_listed, assert_same, listed
from netlink_namespace import NFTS, in_namespace, kernel_table, load, table_of

from nftlbc.nft import netlink
from nftlbc.nft.script import write
from nftlbc.table.model import Destination, Note

FARMS = """
define www = { 203.0.113.10, 2001:db8::10 }

farm web {
    listen $www tcp port 80
    listen $www tcp port 443-8443
    persist source-ip for 5m
    backend app1 10.0.0.11 port 8080
    backend app2 10.0.0.12 port 8080 weight 3
    backend app3 10.0.0.13 port 8080 state drain
    backend app4 10.0.0.14 port 8080 state down
    backend six1 2001:db8:1::11 port 8080
    backend six2 2001:db8:1::a00:1 port 8080 weight 2
}
farm own {
    listen 203.0.113.20 udp, tcp, sctp port 53
    listen 203.0.113.20 tcp port 8000-8099 to 9000
    listen 203.0.113.20 tcp port 99 to 9001
    balance random
    hairpin
    persist source-ip/24, destination-port for 90s
    backend d1 10.0.1.1
    backend d2 10.0.1.2 port 5353
}
farm replaced {
    listen 203.0.113.30, 2001:db8::30 tcp port 5432
    balance hash source-ip, source-port
    forward snat to 203.0.113.31, 2001:db8::31
    backend r1 10.0.2.1
    backend r2 10.0.2.2 weight 5
    backend r3 2001:db8:2::1
    backend r4 2001:db8:2::2
}
farm long-key {
    listen 203.0.113.40 tcp port 1
    forward masquerade
    persist source-ip, source-port, destination-ip, destination-port for 30m size 4096
    backend l1 10.0.3.1 port 1
}
farm dead {
    listen 203.0.113.50 tcp port 1
    backend gone 10.0.4.1 port 1 state down
}
"""


@pytest.mark.parametrize("nft", NFTS)
@in_namespace
def test_what_was_written_is_read(nft: str, tmp_path: Path) -> None:
    table = table_of(FARMS, tmp_path)
    kinds = {each.name.rstrip("0123456789").rstrip("_") for each in table.maps}
    assert {"ranges", "own", "ports", "slots"} <= kinds  # else the farms above are of no use
    assert any(each.name.startswith("hairpins4") for each in table.maps)
    assert any(each.name.startswith("snat6") for each in table.maps)
    load(table, nft)
    found = kernel_table()
    assert_same(found, table)
    assert not found.dormant
    assert found.generation == netlink.generation()


@in_namespace
def test_a_large_table(tmp_path: Path) -> None:
    """More than one datagram of each kind, and comments and names of many lengths."""
    text = "".join(
        f"farm f{'x' * (n % 9)}{n} {{ listen 203.0.113.{n + 1} tcp port 80\n"
        + "".join(
            f"backend b{'y' * (each * n % 7)}{each} 10.0.{n}.{each + 1} port 80 weight {each + 1}\n"
            for each in range(6)
        )
        + "}\n"
        for n in range(120)
    )
    table = table_of(text, tmp_path)
    load(table)
    assert_same(kernel_table(), table)


LONG = "a longer comment, " + "x" * 100
BY_HAND = f"""
table inet nftlbc {{{{
    map live4 {{{{ typeof meta priority . ip saddr : ct mark; flags dynamic,timeout; size 64; }}}}
    map live6 {{{{ typeof meta priority . ip6 saddr : ct mark; flags timeout; size 64; timeout 1m; }}}}
    map cut4 {{{{ typeof meta priority . th dport . ip saddr : ct mark; flags timeout; size 64; }}}}
    map hashed4 {{{{ typeof meta priority : ct mark; flags dynamic,timeout; size 64; }}}}
    set states {{{{ type mark; }}}}
}}}}
add element inet nftlbc {{backends4}} {{{{
    0x80000001 counter packets 7 bytes 420 comment "a/b" : 10.9.9.9 . 1,
    0x80000002 counter packets 0 bytes {1 << 60} : 10.9.9.9 . 65535,
    0xffffffff counter packets {1 << 40} bytes 1 comment "{LONG}" : 0.0.0.0 . 0 }}}}
add element inet nftlbc {{addresses6}} {{{{
    0x80000001 counter packets 1 bytes 2 comment "a" : 2001:db8::7 }}}}
add element inet nftlbc {{slots}} {{{{ 0 : 4294967295 }}}}
add element inet nftlbc {{services4}} {{{{ 10.1.1.1 . tcp . 1 : jump refuse, 10.1.1.1 . 253 . 0 : goto refuse }}}}
add element inet nftlbc ranges4 {{{{ 10.1.1.1 . udp . 0-65535 comment "all" : goto refuse }}}}
add element inet nftlbc own4 {{{{ 10.1.1.3-10.1.1.77 . tcp . 7 }}}}
add element inet nftlbc live4 {{{{
    1:2 . 10.5.5.5 timeout 1h expires 30m : 0x80000001,
    1:3 . 10.5.5.5 : 0x80000003,
    ffff:ffff . 255.255.255.255 timeout 100s : 0x80000002 }}}}
add element inet nftlbc live6 {{{{ 1:2 . 2001:db8:: timeout 90s : 0x80000001, 1:2 . ::1 : 0x80000001 }}}}
add element inet nftlbc cut4 {{{{ 1:2 . 53 . 10.0.0.0 timeout 90s : 0x80000001 }}}}
add element inet nftlbc hashed4 {{{{ 7fff:fffe timeout 1d : 0x80000001 }}}}
add element inet nftlbc states {{{{ 0x80000001 comment "hand down 1", 0x80000002 }}}}
"""


@pytest.mark.parametrize("nft", NFTS)
@in_namespace
def test_nfts_listing_says_the_same(nft: str, tmp_path: Path) -> None:
    table = table_of(FARMS, tmp_path)
    load(table, nft)
    names = {
        word: next(name for name in table.map if name.startswith(word))
        for word in ("backends4", "addresses6", "services4", "slots")
    }
    load(BY_HAND.format(**names), nft)
    found = kernel_table()
    listing = subprocess.run(
        [nft, "-j", "list", "table", "inet", "nftlbc"], capture_output=True, text=True, check=True
    )
    objects = json.loads(listing.stdout)["nftables"]
    for its in found.maps.values():
        mine, theirs = as_listed(its), listed(objects, its)
        assert mine == theirs, its.name
    maps = {o[kind]["name"] for o in objects for kind in ("map", "set") if kind in o}
    assert maps == set(found.maps)
    chains = {o["chain"]["name"]: o["chain"] for o in objects if "chain" in o}
    assert set(chains) == set(found.chains)
    for name, chain in found.chains.items():
        assert chain.handle == chains[name]["handle"]
        if chain.hook is None:
            assert "hook" not in chains[name]
        else:
            its_chain = chains[name]
            assert chain.hook[:3] == (its_chain["hook"], its_chain["prio"], its_chain["type"])
            assert chain.hook.accepts == (its_chain["policy"] == "accept")
        handles = [
            o["rule"]["handle"] for o in objects if "rule" in o and o["rule"]["chain"] == name
        ]
        assert [rule.handle for rule in chain.rules] == handles
    # What nft's listing leaves out or rounds.
    lease = found.maps["live4"].leases[0x10002, "10.5.5.5"]
    assert lease.timeout == 3_600_000
    assert 0 < lease.left <= 1_800_000
    assert found.maps["live6"].leases[0x10002, "::1"].timeout == 60_000
    assert (0x10003, "10.5.5.5") not in found.maps["live4"].leases
    assert found.maps["states"].elements == {0x80000001: Note("hand down 1"), 0x80000002: None}
    assert found.maps["states"].comments == {0x80000001: "hand down 1"}
    assert found.maps[names["backends4"]].elements[0xFFFFFFFF] == Destination("0.0.0.0", 0, LONG)
    assert found.maps[names["addresses6"]].elements[0x80000001] == Destination(
        "2001:db8::7", None, "a"
    )


@in_namespace
def test_what_packets_leave_behind(tmp_path: Path) -> None:
    for command in (
        "link set lo up",
        "route add local 10.0.0.0/8 dev lo",
        "addr add 10.9.9.9/32 dev lo",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    table = table_of(
        "farm a { listen 10.3.0.1 udp port 80\npersist source-ip for 7m\n"
        "backend one 10.0.0.11 port 8080\nbackend two 10.0.0.12 port 8080\n}\n",
        tmp_path,
    )
    load(table)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("0.0.0.0", 8080))
        for client in range(1, 6):
            for port in (5000, 5001):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                    sender.bind((f"10.5.0.{client}", port))
                    sender.sendto(b"?", ("10.3.0.1", 80))
    found = kernel_table()
    backends = next(its for name, its in found.maps.items() if name.startswith("backends4"))
    sticky = next(its for name, its in found.maps.items() if name.startswith("sticky4"))
    assert sorted(its.packets for its in backends.counters.values()) == [4, 6]
    assert all(its.bytes == its.packets * 29 for its in backends.counters.values())
    assert len(sticky.elements) == 5
    assert {key[1] for key in sticky.elements} == {f"10.5.0.{n}" for n in range(1, 6)}  # type: ignore[index]
    assert set(sticky.elements.values()) == set(backends.elements)
    assert set(sticky.leases) == set(sticky.elements)
    for lease in sticky.leases.values():
        assert lease.timeout == 420_000
        assert 400_000 < lease.left <= 420_000
    table_map = table.map[backends.name]
    assert dict(backends.elements) == dict(table_map.elements)


@in_namespace
def test_no_table_and_foreign_tables() -> None:
    assert netlink.read() is None
    load(
        "table ip nftlbc { map m { type mark : mark; elements = { 1 : 2 }; }; chain c { accept; }; }"
    )
    load(
        "table inet other { map m { type mark : mark; elements = { 1 : 2 }; }; chain c { accept; }; }"
    )
    load("table inet nftlbc2 { chain d { accept; }; }")
    assert netlink.read() is None
    load("table inet nftlbc { map m { type mark : mark; elements = { 3 : 4 }; }; chain e { }; }")
    found = kernel_table()
    assert list(found.maps) == ["m"]
    assert found.maps["m"].elements == {3: 4}
    assert list(found.chains) == ["e"]
    assert found.chains["e"].rules == ()
    load("delete table inet nftlbc")
    assert netlink.read() is None


@in_namespace
def test_what_somebody_added_by_hand_is_there(tmp_path: Path) -> None:
    table = table_of(FARMS, tmp_path)
    load(table)
    before = kernel_table()
    load(
        """
        table inet nftlbc {
            comment "hands off"
            map mine { type ipv4_addr : ipv4_addr; flags interval; comment "of my own"; elements = { 10.0.0.0/8 : 1.1.1.1 }; }
            map strange { typeof ct state : verdict; elements = { new : accept }; }
            map wide { type ipv4_addr . ipv4_addr . ipv6_addr . mark : mark; }
            set full { typeof ct mark; timeout 5m; counter; elements = { 5 comment "five" }; }
            map rest { type mark : verdict; elements = { 1 : drop, * : accept }; }
            counter total { packets 1 bytes 2; }
            map counts { type mark : counter; elements = { 1 : "total" }; }
            chain mine { type filter hook forward priority filter + 5; policy drop; }
        }
        add rule inet nftlbc pick counter comment "let me see"
        insert rule inet nftlbc pick meta mark 5 return
        """
    )
    found = kernel_table()
    assert set(found.maps) - set(before.maps) == {
        "mine",
        "strange",
        "wide",
        "full",
        "rest",
        "counts",
    }
    assert not found.maps["mine"].readable
    assert found.maps["mine"].comment == "of my own"
    assert not found.maps["strange"].readable
    assert found.maps["strange"].data == "verdict"
    with pytest.raises(LookupError, match="strange"):
        _ = found.maps["strange"].elements
    assert found.maps["wide"].key == "ipv4_addr . ipv4_addr . ipv6_addr . mark"
    assert found.maps["wide"].elements == {}
    assert found.maps["full"].timeout == 300_000
    assert found.maps["full"].counter
    assert found.maps["full"].counters == {5: (0, 0)}
    assert found.maps["full"].comments == {5: "five"}
    assert found.maps["full"].leases[5].timeout == 300_000
    assert found.maps["rest"].elements == {1: "drop", netlink.CATCH_ALL: "accept"}
    assert found.maps["counts"].data == "object"
    assert found.maps["counts"].elements == {1: "total"}
    assert found.chains["mine"].hook == ("forward", 5, "filter", False)
    pick = found.chains["pick"].rules
    assert len(pick) == len(before.chains["pick"].rules) + 2
    assert pick[1:2] == before.chains["pick"].rules
    assert pick[2].comment == "let me see"
    assert {name: its for name, its in found.chains.items() if name not in ("pick", "mine")} == {
        name: its for name, its in before.chains.items() if name != "pick"
    }
    load("add table inet nftlbc { flags dormant; }")
    assert kernel_table().dormant


@pytest.mark.parametrize("nft", NFTS)
@in_namespace
def test_digests_tell_rules_apart_and_nothing_else(nft: str, tmp_path: Path) -> None:
    def digests() -> dict[str, list[bytes]]:
        return {name: [r.digest for r in its.rules] for name, its in kernel_table().chains.items()}

    script = write(table_of(FARMS, tmp_path))
    load(script, nft)
    first = digests()
    load(script, nft)
    again = digests()
    assert first == again
    rule = script.split("chain deliver4 {\n")[1].split("    }\n")[0].splitlines()[-1]
    assert "{ tcp, udp, sctp }" in rule
    replace = "replace rule inet nftlbc deliver4 handle {handle} "
    # Two hundred sets more, so that the kernel gives the next one a name of another length.
    more = "".join(f"add rule inet nftlbc c meta mark {{ {n}, 999 }}\n" for n in range(200))
    load("add chain inet nftlbc c\n" + more, nft)
    handle = kernel_table().chains["deliver4"].rules[-1].handle
    load(replace.format(handle=handle) + rule, nft)
    after = digests()
    del after["c"]
    assert first == after
    handle = kernel_table().chains["deliver4"].rules[-1].handle
    load(replace.format(handle=handle) + rule.replace("sctp", "dccp"), nft)
    replaced = digests()
    assert replaced["deliver4"][:-1] == first["deliver4"][:-1]
    assert replaced["deliver4"][-1] != first["deliver4"][-1]
    same = {name: its for name, its in replaced.items() if name not in ("deliver4", "c")}
    assert same == {name: its for name, its in first.items() if name != "deliver4"}


@in_namespace
def test_only_what_is_asked_for() -> None:
    load(
        "table inet nftlbc { map a { type mark : mark; elements = { 1 : 2 }; }; "
        "map b { type mark : mark; elements = { 1 : 2 }; }; chain c { accept; }; }"
    )
    found = netlink.read(elements=lambda each: each.name == "b", program=False)
    assert found is not None
    assert found.maps["b"].elements == {1: 2}
    assert found.maps["a"].contents is None
    assert found.chains == {}


@in_namespace
def test_without_the_right() -> None:
    load("table inet nftlbc { }")
    asked = """
from nftlbc.nft import netlink
from nftlbc.nft.program import NftError
for ask in (netlink.generation, netlink.read, netlink.Events):
    try:
        ask()
    except NftError as error:
        print(error.message, error.remedy)
"""
    # Another user namespace has no rights over this network namespace.
    done = subprocess.run(
        ["unshare", "-U", sys.executable, "-c", asked], capture_output=True, text=True, check=False
    )
    assert done.stdout.count("CAP_NET_ADMIN") == 3, done.stdout + done.stderr
