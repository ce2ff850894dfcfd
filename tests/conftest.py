"""What all tests share: golden files, and what those with the mark ``kernel`` need."""

from __future__ import annotations

import difflib
import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run, here and in CI, and no verdict by the clock.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.load_profile("suite")

# Begun in the background by a shell (`make test &`) this ignores Ctrl-C, and so would the programs
# that the tests begin and then interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

Golden = Callable[[Path, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="rewrite the golden files with what the program says now; read their diff",
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """``golden(file, text)``: the text is what the file holds (or will, with --update-golden)."""
    update = request.config.getoption("--update-golden")

    def compare(file: Path, text: str) -> None:
        known = file.read_text("utf-8") if file.exists() else ""
        if text == known and file.exists():
            return
        if update:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8", newline="\n")
            return
        difference = difflib.unified_diff(
            known.splitlines(keepends=True),
            text.splitlines(keepends=True),
            f"{file.name} (golden)",
            f"{file.name} (now)",
        )
        pytest.fail(
            f"{file} differs; pytest --update-golden rewrites it\n{''.join(difference)}",
            pytrace=False,
        )

    return compare


@functools.cache
def why_no_kernel() -> str | None:
    """What keeps this machine from running tests with the mark ``kernel``; None: nothing."""
    from nftlbc.sandbox import Layout, Sandbox, SandboxError

    try:
        with Sandbox(Layout(listeners=("10.3.0.1",), backends=("10.2.0.1",))) as sandbox:
            done = sandbox.load("add table inet nftlbc_trial\n")
    except SandboxError as problem:
        return str(problem)
    return f"nft refuses a table: {done.stderr.strip()}" if done.returncode else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("kernel") is None:
        return
    reason = why_no_kernel()
    if reason is None:
        return
    if os.environ.get("NFTLBC_REQUIRE_SANDBOX") == "1":
        pytest.fail(f"NFTLBC_REQUIRE_SANDBOX=1, but {reason}", pytrace=False)
    pytest.skip(reason)
