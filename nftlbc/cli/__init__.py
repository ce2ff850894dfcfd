"""The command line: read, call, print; nothing else."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Runs the command of this process's arguments and exits with its status."""
    from nftlbc.cli.app import run

    run()
