"""`nftlbc try` as its users run it."""

import io
import json
import os
import subprocess
import sys

import pytest

from nftlbc.cli import try_ as command

GOOD = """\
farm web {
    listen 203.0.113.10 tcp port 80
    backend App1 10.0.0.11 port 8080
    backend app2 10.0.0.12 port 8080 weight 2
}
farm dns {
    listen 203.0.113.53 udp port 53
    balance hash source-ip
    backend ns1 10.0.0.53
}
"""
ONE_BACKEND_GETS_ALL = """
import nftlbc.table.build as build
right = build.slots_of
build.slots_of = lambda pool, *present: right(pool)[:1] * len(right(pool))
"""
NO_NAMESPACES = """
from nftlbc.sandbox import sandbox
from nftlbc.sandbox.errors import SandboxNotAllowed
def refuse():
    raise SandboxNotAllowed("no namespaces here: sysctl -w something=1")
sandbox.Processes = refuse
"""


def nftlbc(*arguments, stdin="", before="", **environment):
    program = f"{before}\nfrom nftlbc.cli import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        timeout=100,
        check=False,
    )


@pytest.fixture
def farms(tmp_path):
    file = tmp_path / "farms.lb"
    file.write_text(GOOD)
    return str(file)


@pytest.mark.kernel
def test_the_picture_goes_to_standard_output_without_colours(farms):
    done = nftlbc("try", farms)
    assert (done.returncode, done.stderr) == (0, "")
    assert "    app2  10.0.0.12:8080  ██" in done.stdout
    assert done.stdout.endswith("2 farms, 3 backends, 182 connections: all as the file promises\n")
    assert "\x1b" not in done.stdout


@pytest.mark.kernel
def test_an_output_that_knows_no_blocks_gets_ascii(farms):
    done = nftlbc("try", farms, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "    app2  10.0.0.12:8080  ##" in done.stdout


@pytest.mark.kernel
def test_json_is_all_that_is_printed():
    done = nftlbc("try", "-", "--json", "--down", "web/App1", stdin=GOOD)
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert [phase["down"] for phase in document["phases"]] == [[], ["web/App1"]]


@pytest.mark.kernel
def test_clients_and_connections_can_be_chosen(farms):
    done = nftlbc("try", farms, "--clients", "3", "--connections", "300", "--json")
    pools = {each["farm"]: each for each in json.loads(done.stdout)["phases"][0]["pools"]}
    assert pools["web"]["connections"] == 150
    assert pools["dns"]["connections"] == 6


@pytest.mark.kernel
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_what_is_not_as_promised_is_status_4(farms, options):
    done = nftlbc("try", farms, *options, before=ONE_BACKEND_GETS_ALL)
    assert done.returncode == 4
    assert done.stderr == ""
    if options:
        assert json.loads(done.stdout)["as_promised"] is False
    else:
        assert "1 of 2 farms: not as the file promises (182 connections)" in done.stdout


def test_mistakes_are_status_1(tmp_path):
    file = tmp_path / "farms.lb"
    file.write_text(GOOD.replace("8080", "80800"))
    done = nftlbc("try", str(file))
    assert (done.returncode, done.stdout) == (1, "")
    assert "farms.lb:3:33: error:" in done.stderr


def test_a_file_without_farms_is_status_1(tmp_path):
    file = tmp_path / "farms.lb"
    file.write_text("# nothing yet\n")
    assert nftlbc("try", str(file)).returncode == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wbe/App1", "there is no farm 'wbe'; did you mean 'web'?"),
        ("web/APP1", "farm web has no backend 'APP1'; did you mean 'App1'?"),
        ("web/zebra", "farm web has no backend 'zebra'"),
        ("app2", "'app2' is not FARM/BACKEND, such as 'web/app2'"),
    ],
)
def test_an_unknown_backend_is_status_2_with_a_near_word(farms, name, message):
    done = nftlbc("try", farms, "--down", name, COLUMNS="200")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--down: {message}\n" in done.stderr


@pytest.mark.parametrize("option", ["--clients", "--connections"])
def test_less_than_one_is_status_2(farms, option):
    assert nftlbc("try", farms, option, "0").returncode == 2


@pytest.mark.kernel
def test_no_namespaces_are_status_3_with_the_remedy(farms):
    done = nftlbc("try", farms, before=NO_NAMESPACES)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "nftlbc: error: no namespaces here: sysctl -w something=1\n"


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("echo 'nftables v0.9.8 (E.D.S.)'", "nft 0.9.8 is too old"),
        (
            'case "$1" in --version) echo "nftables v1.0.6 (x)";; *) kill -SEGV $$;; esac',
            "nft died by SIGSEGV",
        ),
    ],
)
@pytest.mark.kernel
def test_an_nft_that_is_of_no_use_is_status_3(farms, tmp_path, does, said):
    nft = tmp_path / "bin" / "nft"
    nft.parent.mkdir()
    nft.write_text(f"#!/bin/sh\n{does}\n")
    nft.chmod(0o755)
    done = nftlbc("try", farms, PATH=f"{nft.parent}{os.pathsep}{os.environ['PATH']}")
    assert (done.returncode, done.stdout) == (3, "")
    assert said in done.stderr


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "quiet"), [(Terminal, False), (Terminal, True), (io.StringIO, False)]
)
def test_progress_is_for_terminals_and_gone_at_the_end(monkeypatch, stream, quiet):
    monkeypatch.setattr(command, "_PROGRESS_AFTER", -1)
    monkeypatch.setattr(sys, "stderr", stream())
    with command._progress(quiet=quiet) as show:
        show(60, 600, "web")
        show(120, 600, "dns")
    said = sys.stderr.getvalue()
    if stream is Terminal and not quiet:
        assert "trying farm dns: 120 of 600 connections" in said
        assert said.endswith("\r\x1b[K")
    else:
        assert said == ""


def test_what_is_over_soon_shows_no_progress(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(command, "_PROGRESS_AFTER", 1000)
    with command._progress(quiet=False) as show:
        show(1, 2, "web")
    assert sys.stderr.getvalue() == ""
