"""nft, the kernel and what it lacks; with stand-ins, because no kernel here lacks anything."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from ground import WEB, examined, inside
from tables import WEB4

from nftlbc import pipeline
from nftlbc.doctor.checks import trial, versions
from nftlbc.doctor.checks.constructs import CONSTRUCTS, SAMPLE
from nftlbc.doctor.finding import Unseen, Verdict
from nftlbc.doctor.machine import Machine
from nftlbc.doctor.situation import Situation
from nftlbc.farms import Backend, Balance, Farm, Listener

NFT = shutil.which("nft", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") or "nft"


def stand_in(folder: Path, name: str, text: str) -> str:
    """A PATH in which a program of this name comes first."""
    program = folder / name
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def refusing(folder: Path, *words: str) -> str:
    """An nft that takes no script with one of these words in it, as a kernel without it would."""
    patterns = " ".join(f"-e '{word}'" for word in words)
    return stand_in(
        folder,
        "nft",
        f'[ "$1" = -f ] || exec {NFT} "$@"\n'
        "script=$(cat)\n"
        f'if line=$(printf "%s\\n" "$script" | grep -n -m1 {patterns}); then\n'
        '    echo "/dev/stdin:${line%%:*}:1-9: Error: Could not process rule:'
        ' No such file or directory" >&2\n    exit 1\nfi\n'
        f'printf "%s\\n" "$script" | {NFT} -f -',
    )


@pytest.mark.kernel
def test_each_construct_loads() -> None:
    report = examined("")
    assert report.verdict("kernel-features") == "ok"
    steps = [
        {"run": f"nft -f - <<'END'\n{each.script}\nEND\nnft flush ruleset"} for each in CONSTRUCTS
    ]
    assert inside(steps) == [""] * len(CONSTRUCTS)


def test_the_sample_uses_each_construct() -> None:
    script = pipeline.script(SAMPLE)
    words = ["numgen inc", "numgen random", "jhash", "vmap @", "flags interval", "delete @"]
    words += ["update @", "masquerade", "snat ip ", "snat ip6 ", "dnat ip addr . port", "counter"]
    words += ["reject with tcp reset", "hook output", "dnat ip6 to", "hairpins", "ports4"]
    assert [word for word in words if word not in script] == []


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("word", "constructs", "module"),
    [
        ("numgen", ["counting"], "nft_numgen"),
        ("reject", ["ending", "refusing"], "nft_reject_inet"),
    ],
)
def test_a_missing_feature_is_named(
    tmp_path: Path, word: str, constructs: list[str], module: str
) -> None:
    report = examined(WEB, path=refusing(tmp_path, word))
    assert report.wrong == {"kernel-features": "problem"}
    found = report.the("kernel-features")
    assert found["affects"] == constructs
    assert found["commands"] == [f"modprobe {module}"]
    assert word in found["what"]


@pytest.mark.kernel
def test_what_no_farm_needs_may_be_missing(tmp_path: Path) -> None:
    path = refusing(tmp_path, "jhash", "masquerade")
    assert examined(WEB, path=path).verdict("kernel-features") == "ok"
    found = examined("", path=path).the("kernel-features")
    assert set(found["affects"]) == {"hashing", "masquerading"}


@pytest.mark.kernel
def test_a_refusal_that_no_construct_explains(tmp_path: Path) -> None:
    report = examined(WEB, path=refusing(tmp_path, "10.0.0.12"))
    found = report.the("kernel-features")
    assert found["verdict"] == "problem"
    assert "farm web" in found["what"]


@pytest.mark.kernel
def test_many_farms_are_tried_by_their_shapes() -> None:
    def farm(number: int) -> Farm:
        place = f"10.{number // 250}.{number % 250}"
        backends = tuple(Backend(f"b{n}", f"{place}.{n}", 80) for n in range(1, 50))
        balance = Balance("random" if number % 2 else "round-robin")
        listener = Listener(f"203.{number // 250}.{number % 250}.1", "tcp", 80, 80)
        return Farm(f"f{number}", (listener,), backends, balance=balance)

    farms = [farm(number) for number in range(2000)]
    (found,) = trial.check(Situation(Machine(), farms))
    assert found.verdict is Verdict.OK


@pytest.mark.kernel
def test_without_namespaces_it_is_not_tried(tmp_path: Path) -> None:
    path = stand_in(
        tmp_path, "unshare", "echo 'unshare failed: Operation not permitted' >&2; exit 1"
    )
    report = examined("", path=path)
    assert report.verdict("kernel-features") == "not checked"
    assert "namespaces" in report.the("kernel-features")["what"]


def test_a_hanging_program_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", stand_in(tmp_path, "ip", "sleep 60"))
    machine = Machine()
    for _ in range(2):  # the second time nobody waits at all
        with pytest.raises(Unseen, match="did not end within"):
            machine.run(["ip", "address"], deadline=0.2)


def test_endless_output_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", stand_in(tmp_path, "ip", "exec cat /dev/zero"))
    with pytest.raises(Unseen, match="more than 64 MiB"):
        Machine().run(["ip", "address"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo 'nftables v0.9.8 (E.D.S.)'", "0.9.8 is too old"),
        ("kill -SEGV $$", "died by SIGSEGV"),
    ],
)
def test_an_nft_that_is_of_no_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    monkeypatch.setenv("PATH", stand_in(tmp_path, "nft", text))
    (found,) = versions.nft(Situation(Machine()))
    assert found.verdict is Verdict.PROBLEM
    assert words in found.what


@pytest.mark.parametrize(
    ("release", "verdict"),
    [
        ("5.9.16-generic", Verdict.PROBLEM),
        ("5.10.0-30-amd64", Verdict.OK),
        ("6.18.44", Verdict.OK),
    ],
)
def test_kernel_versions(tmp_path: Path, release: str, verdict: Verdict) -> None:
    folder = tmp_path / "proc/sys/kernel"
    folder.mkdir(parents=True)
    (folder / "osrelease").write_text(f"{release}\n")
    (found,) = versions.kernel(Situation(Machine(tmp_path)))
    assert found.verdict is verdict
    assert release in found.what


@pytest.mark.kernel
def test_without_nft_nothing_is_claimed_of_tables() -> None:
    gone = (
        "for each in /usr/sbin/nft /sbin/nft /usr/local/sbin/nft /usr/bin/nft; do"
        " [ ! -e $each ] || mount --bind /dev/null $each; done; ! command -v nft"
    )
    report = examined(WEB4, gone)
    assert report.verdict("nft-version") == "problem"
    assert report.the("nft-version")["commands"] == ["apt install nftables"]
    assert report.verdict("foreign-filter") == "not checked"
