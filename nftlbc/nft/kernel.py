"""Changing the kernel's table inet nftlbc. No other table is touched."""

from __future__ import annotations

from nftlbc.nft import netlink, program, refusal
from nftlbc.nft.program import NftError
from nftlbc.nft.transaction import Transaction

TABLE = "inet nftlbc"


def load(script: str, nft: str | None = None) -> None:
    """Sends a script in one transaction: all of it or nothing.

    Raises NftError with the reason and a remedy.
    """
    nft = nft or program.find()
    program.version(nft)
    answer = program.run(nft, ["-f", "-"], script)
    if answer.status != 0:
        raise refusal.explain(answer, script)


def send(transaction: Transaction, nft: str | None = None) -> None:
    """Makes the change, then clears away what nothing points to any more.

    Raises NftError where the change was refused. Clearing may fail without harm: what it leaves
    does nothing, and the next change tries again.
    """
    if transaction.change:
        load(transaction.change, nft)
    if transaction.clearing:
        try:
            load(transaction.clearing, nft)
        except NftError:
            return


def there() -> bool:
    """Whether there is a table, however large. Raises NftError where that can't be read."""
    return netlink.read(elements=lambda _: False, program=False) is not None


def remove(nft: str | None = None) -> None:
    """Takes the table away, or does nothing where there is none."""
    # Declaring it first makes deleting it right whether or not it is there, without a listing.
    load(f"table {TABLE} {{\n}}\ndelete table {TABLE}\n", nft)
