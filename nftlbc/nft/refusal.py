"""Why nft refused a script, in one line: which farm, which construct, what it means."""

from __future__ import annotations

import re

from nftlbc.diagnostics import printable
from nftlbc.nft.program import Answer, NftError

_ERROR = re.compile(r"^[^:\n]*:(\d+):(\d+)(?:-\d+)?: Error: ([^\n]*)", re.MULTILINE)
_SECTION = re.compile(r"# (?:farm )?([A-Za-z][A-Za-z0-9_-]*)(?:, IPv[46]:|$)")
_COMMAND = re.compile(r"^(?:add element inet nftlbc |\s+(?:chain|map|set) )(\S+)")

_MEANINGS: tuple[tuple[str, str, str | None], ...] = (
    (
        "Operation not permitted",
        "this user may not change the kernel's tables",
        "run it as root, or with the capability CAP_NET_ADMIN",
    ),
    (
        "Message too long",
        "the script is larger than one transaction of an unprivileged namespace may be",
        "raise net.core.wmem_max on the host, or run it as root",
    ),
    (
        "File exists",
        "something of that name and of another kind is already in table inet nftlbc",
        "take the table away first: nftlbc remove",
    ),
    (
        "No such file or directory",
        "the kernel lacks what this line needs",
        "is this kernel older than 5.10, or built without nf_tables' nat, numgen or hash?",
    ),
    ("Operation not supported", "the kernel does not support this", "a newer kernel may"),
    (
        "Invalid argument",
        "the kernel does not take this",
        "a newer kernel may: 5.10 is the oldest",
    ),
    ("Too many open files in system", "a map is full", None),
    ("Cannot allocate memory", "the kernel has no memory left for it", None),
    (
        "Device or resource busy",
        "something that is to go is still in use",
        "an older kernel frees it a moment later: try again",
    ),
)


def explain(answer: Answer, script: str) -> NftError:
    """The refusal as one error. ``script`` is what nft was given."""
    match = _ERROR.search(answer.errors)
    reason = printable(match.group(3)) if match else printable(answer.errors.strip()[:200])
    where = _where(script.split("\n"), int(match.group(1))) if match else ""
    for words, meaning, remedy in _MEANINGS:
        if words in answer.errors:
            if words == "Operation not permitted":
                where = ""
            return NftError(f"nft refused{where}: {meaning}", remedy)
    return NftError(
        f"nft refused{where}: {reason or f'exit status {answer.status}'}",
        "is this nft older than 1.0.2? nftlbc compile prints the script",
    )


def _where(lines: list[str], number: int) -> str:
    """Which farm and which construct stand at a line of the script."""
    farm = command = None
    for line in reversed(lines[:number]):
        if farm is None and command is None and (found := _SECTION.search(line)):
            farm = found.group(1)
        if found := _COMMAND.match(line):
            if command is None:
                command = found.group(1)
                chain = re.match(r"farm-(.+)-[46]\Z", command)
                if chain:
                    farm = chain.group(1)
            break
    parts = [f" farm {farm}" if farm else "", f" in {command}" if command else ""]
    return "".join(parts)
