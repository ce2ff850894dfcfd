#!/usr/bin/env python3
"""Writes what bash, zsh and fish complete nftlbc by into a folder: typer's own scripts.

scripts/completion.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from typer.completion import get_completion_script

NAMES = {"bash": "nftlbc", "zsh": "_nftlbc", "fish": "nftlbc.fish"}
"""As the shells look for them in their folders."""


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for shell, name in NAMES.items():
        text = get_completion_script(
            prog_name="nftlbc", complete_var="_NFTLBC_COMPLETE", shell=shell
        )
        if shell == "zsh":
            # In a folder of $fpath this is the body of a function, which is first called for a
            # completion: having defined itself it has to make that one, too.
            text += '\n\n_nftlbc_completion "$@"'
            # typer doubles the apostrophes of its descriptions within single quotes.
            head = "_nftlbc_completion() {\n"
            text = text.replace(head, f"{head}  setopt local_options rc_quotes\n")
        (folder / name).write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
