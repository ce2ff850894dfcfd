"""Taking sticky entries away: those that were chosen, and no others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from nftlbc.nft import kernel, words
from nftlbc.nft.elements import key_texts
from nftlbc.nft.program import NftError
from nftlbc.nft.script import TABLE
from nftlbc.sessions.choice import Choice
from nftlbc.sessions.entries import Group, Sessions, read
from nftlbc.table.model import Map

_TRIES: Final = 3


def delete(choice: Choice) -> Sessions:
    """Deletes the entries that are meant, in one transaction, and returns them.

    Where the table changed between reading and sending (a client was given another backend) it
    is read again. Raises NftError where it is refused all the same, and what ``read`` raises.
    Hold ``nft.lock``.
    """
    refused: NftError | None = None
    for _ in range(_TRIES):
        found = read(choice, twice=True)
        change = script(found.groups)
        try:
            if change:
                kernel.load(change)
        except NftError as refusal:
            refused = refusal
        else:
            return found
    assert refused is not None
    raise refused


def script(groups: Sequence[Group]) -> str:
    """The transaction; empty where there is nothing to delete.

    Naming an entry that has ended would make all of it fail, and clients' entries end at any
    moment. So each is added first as it was seen, which changes nothing where it is, and makes
    one that ended, for nobody to see. One that has another backend by now refuses the whole.
    """
    return "".join(f"{line}\n" for group in groups for line in _commands(group))


def _commands(group: Group) -> Iterator[str]:
    each = group.map
    if group.form.kind == "damaged":
        raise NftError(
            f"map {each.name} is not as nftlbc makes it: it can't be told what is in it",
            "nftlbc apply FILE makes the table whole",
        )
    # The kernel names types, a declaration the fields that are of them.
    key = each.key.replace("classid", "meta priority")
    texts = key_texts(Map(each.name, f"typeof {key}", "ct mark"), group.keys)
    name = words.name(each.name)
    seen = [f"{key} : {words.mark(mark)}" for key, mark in zip(texts, group.marks, strict=True)]
    for verb, some in (("add", seen), ("delete", texts)):
        yield f"{verb} element {TABLE} {name} {{\n" + ",\n".join(some) + "\n}"
