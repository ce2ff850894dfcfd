"""The examples with checks, in front of real servers that fail: probe judges them rightly."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from namespaces import in_namespace
from serving import Place, addresses, answering, mail, names, processes, secure, speaking

from nftlbc import pipeline
from nftlbc.farms import Backend, Farm
from nftlbc.plan import planning, recall
from nftlbc.probe import once
from nftlbc.status.look import look

EXAMPLES = Path(__file__).parents[2] / "examples"


class Example:
    """An example that is loaded, its backends' addresses on the loopback."""

    def __init__(self, name: str, folder: Path, **replaced: str) -> None:
        text = (EXAMPLES / f"{name}.lb").read_text()
        for old, new in replaced.items():
            assert old in text
            text = text.replace(old, new)
        file = folder / f"{name}.lb"
        file.write_text(text)
        self.farms, _ = pipeline.read(str(file))
        self.backends: dict[str, Backend] = {
            each.name: each for farm in self.farms for each in farm.backends
        }
        addresses(sorted({each.address for each in self.backends.values()}))
        planning.apply(self.farms)

    def probe(self, times: int = 1) -> list[str]:
        """What so many runs of ``nftlbc probe`` find worth telling."""
        said = []
        for _ in range(times):
            run = once.probe(self.farms, once.Options())
            assert list(once.called(run)) == []
            said += [f"{each.farm}/{each.backend} {each.text}" for each in run.decision.events]
        return said

    def down(self) -> dict[str, str]:
        """Who does not take new clients by its checks, by farm/backend, and why."""
        return {
            f"{farm.name}/{each.name}": each.remembered.check.why
            for farm in self._known()
            for each in farm.backends
            if each.remembered.check is not None and each.remembered.check.state != "up"
        }

    def shares(self) -> dict[str, float]:
        """Of new clients, by backend; the farm has one family."""
        seen = look()
        assert seen is not None
        return {each.name: each.share for pool in seen.pools for each in pool.backends}

    @staticmethod
    def _known() -> tuple[Farm, ...]:
        kernel = planning.read()
        assert kernel is not None
        return recall.recall(kernel).farms


@contextlib.contextmanager
def ending(places: dict[str, Place]) -> Iterator[None]:
    try:
        yield
    finally:
        for place in places.values():
            place.end()


@in_namespace
def test_kubernetes(tmp_path: Path) -> None:
    api = Example("kubernetes", tmp_path)
    masters = {
        name: secure(each.address, 6443, tmp_path)
        for name, each in api.backends.items()
        if each.port in (6443, 22623)
    }
    with ending(masters):
        for place in masters.values():
            place.says[:] = [b"/readyz", b"/livez"]
        assert api.probe() == []
        # It shuts down: it lives, and is not ready. Both farms leave it alone.
        masters["master2"].says.remove(b"/readyz")
        api.probe()
        assert api.down() == {"api/master2": "status-500", "machine-config/master2": "status-500"}
        masters["master2"].says.append(b"/readyz")
        api.probe(2)
        assert api.down() == {}
        masters.pop("master3").end()
        api.probe()
        assert api.down() == {"api/master3": "refused", "machine-config/master3": "refused"}


@in_namespace
def test_anycast(tmp_path: Path) -> None:
    """The address goes when the quorum is missed, and is back when it is met."""
    command = tmp_path / "anycast"
    command.symlink_to(EXAMPLES / "anycast")
    site = Example("anycast", tmp_path, **{"/etc/nftlbc/anycast": str(command)})
    for line in (
        "link add anycast0 type veth peer name router",
        "link set anycast0 up",
        "address add 203.0.113.153/32 dev anycast0",
    ):
        subprocess.run(["ip", *line.split()], check=True)
    with processes() as start:
        servers = {
            name: start(each.address, 53, *names(each.address))
            for name, each in site.backends.items()
        }
        assert site.probe() == []
        servers["ns1"].kill()
        servers["ns1"].wait()
        site.probe()
        assert site.down() == {"resolver/ns1": "refused"}
        assert _announced()
        servers["ns3"].kill()
        servers["ns3"].wait()
        said = site.probe()
        assert any("below its quorum" in line for line in said), said
        assert not _announced()
        # What comes until routers know it is still served.
        assert site.shares() == {"ns1": 0, "ns2": 1, "ns3": 0}
        where = site.backends["ns1"].address
        start(where, 53, *names(where))
        site.probe(9)
        assert not _announced()
        site.probe()
        assert site.down() == {"resolver/ns3": "refused"}
        assert _announced()


def _announced() -> bool:
    shown = subprocess.run(
        ["ip", "-o", "address", "show", "dev", "anycast0"], capture_output=True, check=True
    )
    return b"203.0.113.153/32" in shown.stdout


def test_anycast_is_announced_by_a_script_that_can_be_run() -> None:
    assert os.access(EXAMPLES / "anycast", os.X_OK)


@in_namespace
def test_mail(tmp_path: Path) -> None:
    farm = Example("mail", tmp_path)
    stores = {
        name: secure(farm.backends[name].address, 993, tmp_path) for name in ("store1", "store2")
    }
    with ending(stores), processes() as start:
        servers = {
            name: start(farm.backends[name].address, 25, *mail(farm.backends[name].address))
            for name in ("mx1", "mx2", "mx3")
        }
        assert farm.probe() == []
        servers["mx3"].kill()
        servers["mx3"].wait()
        stores.pop("store1").end()
        # A port that is open says nothing of who listens there.
        stores["plain"] = speaking(farm.backends["store1"].address, 993)
        stores["plain"].says[0] = b"* OK ready\r\n"
        farm.probe()
        down = farm.down()
        assert down.pop("smtp/mx3") == "refused"
        assert list(down) == ["imap/store1"]


@in_namespace
def test_games(tmp_path: Path) -> None:
    farm = Example("games", tmp_path)
    question = b"\xff\xff\xff\xffTSource Engine Query\0"
    arenas = {name: answering(each.address, 27000) for name, each in farm.backends.items()}
    with ending(arenas):
        for place in arenas.values():
            place.says[:] = [question, b"\xff\xff\xff\xffI arena"]
        assert farm.probe() == []
        arenas["arena1"].says[1] = b"what?"
        arenas.pop("arena2").end()
        farm.probe()
        assert farm.down() == {"games/arena1": "answer", "games/arena2": "refused"}


@in_namespace
def test_mqtt(tmp_path: Path) -> None:
    farm = Example("mqtt", tmp_path)
    brokers = {name: speaking(each.address, 8883) for name, each in farm.backends.items()}
    with ending(brokers):
        assert farm.probe() == []
        brokers.pop("broker3").end()
        farm.probe()
        assert farm.down() == {"mqtt/broker3": "refused"}
        brokers["broker3"] = speaking(farm.backends["broker3"].address, 8883)
        farm.probe(2)
        assert farm.down() == {}
        # It begins with a tenth of its half, and climbs.
        assert farm.shares()["broker3"] < 0.2


@in_namespace
def test_replicas(tmp_path: Path) -> None:
    pool = Example("replicas", tmp_path)
    places = {
        (name, port): speaking(each.address, port)
        for name, each in pool.backends.items()
        for port in (5432, 9999)
    }
    agents = {name: place for (name, port), place in places.items() if port == 9999}
    with ending({f"{name}:{port}": place for (name, port), place in places.items()}):
        for place in agents.values():
            place.says[0] = b"up 90%\n"
        pool.probe()
        assert pool.down() == {}
        agents["replica1"].says[0] = b"up 5%\n"
        pool.probe(8)
        shares = pool.shares()
        assert shares["replica1"] < 0.6 * shares["replica2"]
        assert shares["primary"] == 0
        # It lags: no new readers, and it is not dead.
        agents["replica2"].says[0] = b"drain\n"
        agents["replica3"].says[0] = b"down # being restored\n"
        pool.probe()
        assert set(pool.down()) == {"replicas/replica2", "replicas/replica3"}
        agents["replica1"].says[0] = b"drain\n"
        pool.probe()
        assert pool.shares()["primary"] == 1
