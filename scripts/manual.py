#!/usr/bin/env python3
"""Writes the manual pages nftlbc(1) and farms.lb(5) into a folder.

    scripts/manual.py FOLDER

The first is docs/manual.md with what the commands say of themselves (``--help``) in it, the second
docs/language.md. What of Markdown those two have is understood here: headings, paragraphs, lists,
tables, fenced blocks, code, emphasis, links. The result is man(7), for groff and mandoc alike.
SOURCE_DATE_EPOCH is the date of the pages, where it is set.
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from typer.main import get_command  # noqa: E402

from nftlbc import __version__  # noqa: E402
from nftlbc.cli import app as cli  # noqa: E402

COMMANDS = "<!-- commands -->"
ABOUT = {
    "nftlbc.1": "layer-4 load balancer that compiles farms to nftables",
    "farms.lb.5": "farms file of the load balancer nftlbc",
}
SEE_ALSO = {
    "nftlbc.1": ("farms.lb(5)", "nft(8)", "systemd.service(5)", "systemctl(1)"),
    "farms.lb.5": ("nftlbc(1)", "nft(8)"),
}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    manual = (ROOT / "docs" / "manual.md").read_text("utf-8").partition("\n")[2]
    before, found, after = manual.partition(COMMANDS)
    assert found, f"docs/manual.md has no {COMMANDS}"
    synopsis = ".SY nftlbc\n.I COMMAND\n.RI [ OPTIONS ]\n.RI [ ARGUMENTS ]\n.YS\n"
    body = [f".SH SYNOPSIS\n{synopsis}", *roff(before), *commands(), *roff(after)]
    write(folder / "nftlbc.1", body)
    language = (ROOT / "docs" / "language.md").read_text("utf-8").partition("\n")[2]
    introduction, _, rest = language.partition("\n- [")
    rest = rest[rest.index("\n## ") :]  # a manual page has no links for a table of contents
    write(folder / "farms.lb.5", [".SH DESCRIPTION\n", *roff(introduction), *roff(rest)])


def write(path: Path, body: Sequence[str]) -> None:
    name, _, section = path.name.rpartition(".")
    date = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))
    day = time.strftime("%Y-%m-%d", date)
    links = [re.sub(r"(.+)\((\d)\)", r".BR \1 (\2)", each) for each in SEE_ALSO[path.name]]
    text = [
        f'.TH {name.upper()} {section} {day} "nftlbc {__version__}"\n',
        f".SH NAME\n{name} \\- {escaped(ABOUT[path.name])}\n",
        *body,
        ".SH SEE ALSO\n" + " ,\n".join(links) + "\n",
    ]
    whole = re.sub(r"^(\.S[HS] .*\n)\.PP\n", r"\1", "".join(text), flags=re.MULTILINE)
    path.write_text(whole, encoding="utf-8")


# --- the commands ------------------------------------------------------------------


def commands() -> Iterator[str]:
    """What ``--help`` tells of each command, in the program's order."""
    if not any(each.callback.__name__ == "compile" for each in cli.app.registered_commands):
        cli._commands()
    known: dict[str, Any] = get_command(cli.app).commands  # type: ignore[attr-defined]
    ordered = [each.name or each.callback.__name__ for each in cli.app.registered_commands]
    yield ".SH COMMANDS\nEach tells its options with\n.BR \\-\\-help ;\n"
    yield ".B nftlbc \\-\\-version\ntells the version.\n"
    for name in sorted(known, key=lambda name: ordered.index(name) if name in ordered else -1):
        command = known[name]
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        options = [each for each in command.params if each.param_type_name == "option"]
        yield f".SS nftlbc {name}\n"
        shown = " ".join(f"\\fI{escaped(placed(each))}\\fR" for each in arguments)
        yield f"\\fBnftlbc {escaped(name)}\\fR [\\fIOPTIONS\\fR] {shown}".rstrip() + "\n.PP\n"
        yield f"{sentence(command.help)}\n"
        for each in arguments:
            yield f".TP\n\\fI{escaped(bare(each))}\\fR\n{told(each)}\n"
        for each in options:
            names = ", ".join(f"\\fB{escaped(opt)}\\fR" for opt in each.opts)
            value = "" if each.is_flag else f" \\fI{escaped(bare(each))}\\fR"
            yield f".TP\n{names}{value}\n{told(each)}\n"


def bare(parameter: Any) -> str:
    """``FARM`` of a metavar ``[FARM]``, whatever the version of typer puts around it."""
    return re.sub(r"[\[\]{}.]", "", parameter.metavar or parameter.name.upper())


def placed(argument: Any) -> str:
    """As in a synopsis."""
    name = bare(argument) + ("..." if argument.nargs == -1 else "")
    optional = not argument.required and bare(argument) in ("FILE", "FARM")
    return f"[{name}]" if optional else name


def default(parameter: Any) -> str:
    value = parameter.default
    if isinstance(value, bool) or value is None or callable(value) or not parameter.show_default:
        return ""
    if isinstance(value, (list, tuple)) or "Sentinel" in type(value).__name__:
        return ""
    return f" Without it: {value}."


def told(parameter: Any) -> str:
    return sentence(
        f"{parameter.help}" + ("" if parameter.help.endswith(".") else ".") + default(parameter)
    )


def sentence(text: str | None) -> str:
    text = " ".join((text or "").split())
    return wrapped(escaped(text if text.endswith((".", "!", "?")) else f"{text}."))


# --- Markdown ----------------------------------------------------------------------


def roff(markdown: str) -> Iterator[str]:
    """man(7) for the text of a document."""
    lines = iter(markdown.split("\n"))
    pending: list[str] = []

    for line in lines:
        fence = re.match(r"\s*```", line)
        special = fence or re.match(r"#+ |- |\||\s*$", line)
        if special and pending:
            yield paragraph(pending)
            pending = []
        if fence:
            yield block(lines, len(fence[0]) - 3)
        elif heading := re.match(r"(#+) (.*)", line):
            title = plain(heading[2])
            big = len(heading[1]) == 2
            yield f".SH {title.upper()}\n" if big else f".SS {title}\n"
        elif line.startswith("|"):
            rows = [line]
            for line in lines:
                if not line.startswith("|"):
                    break
                rows.append(line)
            yield from table(rows)
        elif line.strip():
            pending.append(line)
    if pending:
        yield paragraph(pending)


def paragraph(lines: Sequence[str]) -> str:
    text = " ".join(line.strip() for line in lines)
    if not text.startswith("- "):
        return f".PP\n{filled(text)}\n"
    tagged = re.match(r"- (\*\*[^*]+\*\*): (.*)", text)
    if tagged:
        return f".TP\n{inline(tagged[1])}\n{filled(tagged[2])}\n"
    return f".IP \\(bu 2\n{filled(text[2:])}\n"


def block(lines: Iterator[str], indent: int) -> str:
    """What stands in a fence, as it stands there."""
    found = []
    for line in lines:
        if line.strip() == "```":
            break
        found.append(guarded(escaped(line[indent:])))
    return ".PP\n.RS 4\n.nf\n" + "".join(f"{line}\n" for line in found) + ".fi\n.RE\n"


def table(rows: Sequence[str]) -> Iterator[str]:
    """Each row as a tag, its first cell, and the rest under the names of their columns."""
    cells = [
        [each.strip().replace("\\|", "|") for each in re.split(r"(?<!\\)\|", row.strip("| "))]
        for row in rows
    ]
    names = cells[0]
    for row in cells[2:]:
        tag = inline(row[0]) if row[0] else "\\(em"
        rest = [(name, cell) for name, cell in zip(names[1:], row[1:], strict=False) if cell]
        told = [
            filled(f"{name}: {cell}" if len(names) > 2 and name else cell) for name, cell in rest
        ]
        yield f".TP\n{guarded(tag)}\n" + "\n.br\n".join(told or ["\\&"]) + "\n"


def filled(text: str) -> str:
    return wrapped(inline(text))


def plain(text: str) -> str:
    return escaped(re.sub(r"[`*]", "", text))


def inline(text: str) -> str:
    """Code and what is strong in bold, what is stressed in italics, of links their text."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    found = []
    for part in re.split(r"(``.+?``|`[^`]+`|\*\*.+?\*\*|(?<![\w*])\*[^*\s][^*]*\*(?!\w))", text):
        if part.startswith("`"):
            found.append(f"\\fB{escaped(part.strip('`'))}\\fR")
        elif part.startswith("**"):
            inner = escaped(re.sub(r"`", "", part[2:-2]))
            found.append(f"\\fB{inner}\\fR")
        elif part.startswith("*") and len(part) > 2:
            found.append(f"\\fI{escaped(part[1:-1])}\\fR")
        else:
            found.append(escaped(part))
    return "".join(found)


def escaped(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga")
    return text.replace("^", "\\(ha").replace("~", "\\(ti").replace("'", "\\(aq")


def wrapped(text: str) -> str:
    """In short lines; where they end says nothing."""
    lines = textwrap.wrap(text, 78, break_long_words=False, break_on_hyphens=False)
    return "\n".join(guarded(line) for line in lines)


def guarded(line: str) -> str:
    """No text is a request."""
    return f"\\&{line}" if line.startswith((".", "'")) else line


if __name__ == "__main__":
    main(Path(sys.argv[1]))
