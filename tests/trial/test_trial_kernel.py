"""Trials by the kernel: the examples keep what they promise, and scripts that don't are caught."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from imagined import farms_of, got, named, wrong

from nftlbc import pipeline
from nftlbc.nft import script
from nftlbc.nft.program import NftError
from nftlbc.sandbox import SandboxError
from nftlbc.trial import Options, try_farms

pytestmark = pytest.mark.kernel

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.lb"))
NFT = os.environ.get("NFTLBC_NFTS", "").split(":")[0] or None
SCTP = """
farm diameter {
    listen 203.0.113.2, 2001:db8::2 sctp port 3868
    backend a 10.0.0.1
    backend b 10.0.0.2 port 3869
    backend c 2001:db8:1::1
}
"""
ALL_KINDS = """
farm rr {
    listen 203.0.113.1, 2001:db8::1 tcp port 80, 8000-8099
    listen 203.0.113.1 udp port 443 to 8443
    persist source-ip for 5m
    hairpin
    quorum 2
    backend a 10.0.0.1 port 8080 weight 3
    backend b 10.0.0.2 port 8080
    backend c 10.0.0.3
    backend spare 10.0.0.9 backup
    backend d 2001:db8:1::1
    backend e 2001:db8:1::2 weight 2
}
farm cache {
    listen 203.0.113.3 tcp, udp port 53
    balance consistent source-ip, source-port
    backend a 10.0.0.1
    backend b 10.0.0.2
    backend c 10.0.0.3 weight 4
}
farm net {
    listen 2001:db8::5 tcp, udp port 53
    persist source-ip/64 for 5m size 64
    balance random
    backend d 2001:db8:1::1
    backend e 2001:db8:1::2
}
farm wide {
    listen 203.0.113.6 tcp, udp port 53
    persist source-ip/16, destination-port for 5m
    forward masquerade
    backend a 10.0.0.1
    backend b 10.0.0.2
}
farm ports {
    listen 203.0.113.7 tcp, udp port 53
    persist source-ip, source-port, destination-ip, destination-port
    backend a 10.0.0.1
    backend b 10.0.0.2
}
farm nobody {
    listen 203.0.113.8 tcp, udp, sctp port 80
    backend a 10.0.0.1 state drain
    backend b 10.0.0.2 weight 0
}
"""


def tried(farms, write=script.write, **options):
    return try_farms(farms, Options(**options), nft=NFT, write=write)


def pool(trial, name="web", phase=0, family=4):
    [found] = [
        each
        for each in trial.phases[phase].pools
        if (each.plan.pool.farm.name, each.plan.pool.family) == (name, family)
    ]
    return found


def broken(trial):
    return {
        (each.plan.pool.farm.name, name)
        for phase in trial.phases
        for each in phase.pools
        for name in wrong(each)
    }


def example(name):
    files = [*EXAMPLES, *Path(__file__).parent.glob("*.lb")]
    farms, _ = pipeline.read(str(next(each for each in reversed(files) if each.stem == name)))
    return farms


def doctored(pattern, replacement, count=1):
    """Writes scripts in which something is wrong; that there was something to change is part of
    the test."""

    def write(table):
        whole = re.sub(r' comment "[0-9a-f]{8}"$', "", script.write(table), flags=re.MULTILINE)
        text, changed = re.subn(pattern, replacement, whole, flags=re.MULTILINE)
        assert changed >= count, script.write(table)
        return text

    return write


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_keeps_its_promise(path):
    farms, diagnostics = pipeline.read(str(path))
    assert not diagnostics
    trial = tried(farms)
    assert trial.ok, broken(trial)
    assert trial.tried == len(farms)
    assert all(each.counted for each in trial.phases[0].pools)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_keeps_it_when_a_backend_goes_down(path):
    farms, _ = pipeline.read(str(path))
    gone = tuple((farm.name, farm.backends[0].name) for farm in farms)
    trial = tried(farms, down=gone)
    assert trial.ok, broken(trial)
    for farm in farms:
        family = farm.backends[0].family
        before = pool(trial, farm.name, 0, family)
        after = pool(trial, farm.name, 1, family)
        assert got(before.rows)[farm.backends[0].name] > 0
        assert got(after.rows)[farm.backends[0].name] == 0
        if any(each.protocol == "tcp" for each in farm.listeners):
            assert named(after.checks, "open").ok


def test_all_kinds_in_both_phases(tmp_path):
    farms = farms_of(tmp_path, ALL_KINDS + SCTP)
    gone = (("rr", "a"), ("rr", "b"), ("cache", "c"), ("net", "d"), ("wide", "a"), ("ports", "a"))
    trial = tried(farms, down=(*gone, ("diameter", "a")))
    assert trial.ok, broken(trial)
    assert got(pool(trial, "rr", 0).rows)["spare"] == 0
    assert got(pool(trial, "rr", 1).rows)["spare"] > 0
    assert named(pool(trial, "nobody").checks, "refused").ok
    assert {
        each.target.listener.protocol
        for wave in pool(trial, "diameter").plan.waves
        for each in wave
    } == {"sctp"}


def test_web_is_exact():
    assert got(pool(tried(example("web"))).rows) == {"app1": 24, "app2": 12, "app3": 12, "app4": 12}


def test_it_is_the_same_each_time():
    farms = (*example("mail"), *example("cache"))
    assert [[got(each.rows) for each in tried(farms).phases[0].pools] for _ in range(2)] == [
        [got(each.rows) for each in tried(farms).phases[0].pools] for _ in range(2)
    ]


# Scripts that are not what the file promises


def test_a_slot_of_another_backend(tmp_path):
    """The last slot of the farm becomes its neighbour's."""
    wrong_slot = doctored(
        r"(: 0x[0-9a-f]{8})(,\n +\d+|,\n +0x[0-9a-f]+) : 0x[0-9a-f]{8}\n\}", r"\1\2\1\n}"
    )
    assert broken(tried(example("web"), wrong_slot)) == {("web", "shares")}


def test_a_turn_that_is_too_short():
    shorter = doctored(r"numgen inc mod 5", "numgen inc mod 4")
    assert broken(tried(example("web"), shorter)) == {("web", "shares")}


def test_a_random_balance_in_place_of_turns():
    # Of 60 draws, 1 in 400 times the shares would be exact by chance.
    trial = tried(example("web"), doctored("numgen inc", "numgen random"), connections=6000)
    assert broken(trial) == {("web", "shares")}


def test_a_backend_at_a_wrong_address():
    elsewhere = doctored(r"10\.0\.0\.11 \. 8080", "10.0.0.12 . 8080")
    assert broken(tried(example("web"), elsewhere)) == {("web", "shares")}


def test_a_backend_at_a_wrong_port():
    closed = doctored(r"10\.0\.0\.11 \. 8080", "10.0.0.11 . 8081")
    names = {name for _, name in broken(tried(example("web"), closed))}
    # The balancer's own connection is the first of its turn.
    assert names == {"answered", "shares", "balancer"}


def test_a_listener_without_its_own_port():
    """465 arrives at 465: nobody is there."""
    forgotten = doctored(r"(203\.0\.113\.25 \. tcp \. 465) : 10465", r"\1 : 993")
    assert ("mail", "port") in broken(tried(example("mail"), forgotten))


def test_a_listener_that_is_missing():
    gone = doctored(r"^ +203\.0\.113\.25 \. tcp \. 143 : goto farm-mail-4,\n", "")
    assert ("mail", "answered") in broken(tried(example("mail"), gone))


def test_clients_that_are_not_remembered():
    """A round robin after whole turns would give each its own backend again, in the same order."""
    forgetful = doctored(r"^ +update @sticky4.* : ct mark \}\n", "")
    assert broken(tried(example("mail"), forgetful)) == {("mail", "persistence")}


def test_a_hash_with_another_seed():
    other = doctored(r"seed 0x[0-9a-f]+", "seed 0x1")
    assert broken(tried(example("cache"), other)) == {("cache", "hash"), ("cache", "shares")}


def test_a_masquerade_that_does_not():
    bare = doctored(r"^ +masquerade\n", "")
    assert ("wiki", "source") in broken(tried(example("onearm"), bare))


def test_a_snat_to_another_address():
    other = doctored(r": 203\.0\.113\.59", ": 203.0.113.50")
    assert broken(tried(example("onearm"), other)) == {("database", "source")}


def test_a_drained_backend_that_gets_new_clients():
    farms = example("sticky")
    eager = [
        replace(farm, backends=tuple(replace(each, state="up") for each in farm.backends))
        for farm in farms
    ]
    script_of_eager = pipeline.script(eager)
    trial = tried(farms, lambda table: script_of_eager, connections=300)
    assert ("shop", "takers") in broken(trial)


def test_the_balancer_that_is_no_client():
    deaf = doctored(
        r"type nat hook output priority -100;\n.*\n", "type nat hook output priority -100;\n"
    )
    assert broken(tried(example("web"), deaf)) == {("web", "balancer")}


def test_a_pool_without_takers_that_drops():
    farms = [
        replace(farm, backends=tuple(replace(each, state="drain") for each in farm.backends))
        for farm in example("web")
    ]
    silent = doctored(r"^( +)meta l4proto tcp reject with tcp reset", r"\1meta l4proto tcp drop")
    assert broken(tried(farms, silent)) == {("web", "refused")}


def test_a_down_backend_that_still_gets_clients():
    farms = example("web")
    first = pipeline.script(farms)
    trial = tried(farms, lambda table: first, down=(("web", "app2"),))
    assert {name for _, name in broken(trial)} == {"shares", "takers"}
    assert trial.phases[0].ok


CUTTER = """
table inet cutter {
    chain cut {
        type filter hook forward priority 0;
        tcp dport 8080 tcp flags & (syn | fin | rst) == 0 meta length > 52 drop
    }
}
"""


def test_open_connections_that_a_reload_cuts():
    """What is said on them is lost; new ones, on which clients say nothing, are as before."""
    loads = []

    def write(table):
        loads.append(table)
        return script.write(table) + (CUTTER if len(loads) == 2 else "")

    trial = tried(example("web"), write, down=(("web", "app2"),))
    assert broken(trial) == {("web", "open")}
    check = named(pool(trial, phase=1).checks, "open")
    assert check.text == "open connections: 0 of 40 went on"


def test_sticky_clients_that_are_forgotten_by_a_reload():
    flushed = doctored(r"\Atable", "table", 0)

    def write(table):
        text = flushed(table)
        return f"add table inet nftlbc\ndelete table inet nftlbc\n{text}"

    trial = tried(example("mail"), write, down=(("mail", "mx1"),))
    assert ("mail", "moved") in broken(trial)
    assert trial.phases[0].ok


def test_where_nothing_answers_no_more_is_sent_than_it_takes_to_know():
    lost = doctored(r"^( +)jump deliver4\S*$", r"\1drop")
    trial = tried((*example("web"), *example("mail")), lost)
    assert {name for _, name in broken(trial)} == {"answered", "shares"}
    assert [pool(trial, name).connections for name in ("web", "mail")] == [60, 20]


def test_a_timeout_that_is_over_before_the_second_visit_is_not_judged():
    [farm] = example("mail")
    short = replace(farm, persistence=replace(farm.persistence, timeout=1))
    trial = tried([short])
    assert trial.ok
    assert [check.ok for check in pool(trial, "mail").checks if check.name == "shares"] == [None]
    assert {row.ok for row in pool(trial, "mail").rows} == {None}


# What can't be tried


def test_a_script_that_nft_refuses():
    with pytest.raises(NftError, match=r"nft refused.*farm web"):
        tried(example("web"), doctored(r"numgen inc mod", "numgen inc mood"))


def test_a_backend_that_is_a_listener_too(tmp_path):
    farms = list(example("web"))
    listener = farms[0].listeners[0].address
    twice = replace(farms[0], backends=(replace(farms[0].backends[0], address=listener),))
    with pytest.raises(SandboxError, match=r"can't be tried in a sandbox: 203\.0\.113\.10 is both"):
        tried([twice])


# Many farms


def many(count):
    [farm] = example("web")
    return [
        replace(
            farm,
            name=f"f{n:03}",
            listeners=(replace(farm.listeners[0], address=f"203.0.{n // 250}.{n % 250 + 1}"),),
        )
        for n in range(count)
    ]


def test_of_many_farms_as_many_are_tried_as_the_budget_allows():
    trial = tried(many(300))
    assert trial.ok
    assert trial.farms == 300
    assert 90 <= trial.tried < 100
    assert trial.notes[-1] == f"tried {trial.tried} of 300 farms; --connections raises it"
    names = [each.plan.pool.farm.name for each in trial.phases[0].pools]
    assert names == sorted(names)
    assert tried(many(300), connections=600).tried < 12
    assert tried(many(300), connections=30_000).tried == 300


def test_a_farm_that_goes_down_is_tried_however_many_there_are():
    trial = tried(many(300), connections=61, down=(("f217", "app3"),))
    assert trial.ok
    assert [each.plan.pool.farm.name for each in trial.phases[0].pools] == ["f217"]


def test_where_one_transaction_is_too_small_less_is_loaded():
    """Without root, a script of many farms is refused as too long."""
    loaded = []

    def write(table):
        loaded.append(len(table.chain) - len(few.chain) + 3)
        return script.write(table)

    few = pipeline.table(many(3))
    farms = many(300)
    real = __import__("nftlbc.sandbox.sandbox", fromlist=["Sandbox"]).Sandbox.load

    def refusing(box, text, **options):
        done = real(box, text, **options)
        if text.count("chain farm-") > 20:
            done.returncode = 1
            done.stderr = "netlink: Error: Could not process rule: Message too long"
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nftlbc.sandbox.sandbox.Sandbox.load", refusing)
        trial = tried(farms, write)
    assert trial.ok
    assert loaded == [300, 98, 49, 24, 12]
    assert trial.tried == 12
    assert any("all but root" in note for note in trial.notes)
