"""``check dns``: an answer to a query, over UDP or TCP."""

from __future__ import annotations

import socket

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from nftlbc.probe.attempt import Attempt
from nftlbc.probe.checks.connection import connected
from nftlbc.probe.result import Failure, Finding
from nftlbc.probe.target import Target


async def check(target: Target, attempt: Attempt) -> Finding:
    options = dict(target.check.options)
    kind = dns.rdatatype.from_text(str(options.get("type", "A")))
    query = dns.message.make_query(dns.name.from_text(str(options["name"])), kind)
    over_tcp = options.get("over") == "tcp"
    answer = await (_over_tcp if over_tcp else _over_udp)(target, attempt, query)
    if answer.flags & dns.flags.TC and "answer" in options and not over_tcp:
        answer = await _over_tcp(target, attempt, query)
    code = dns.rcode.to_text(answer.rcode()).lower()
    wanted = str(options.get("expect", "noerror"))
    if code != wanted:
        return Finding(f"answers {code}", code, passed=False)
    if "answer" in options and not _has(answer, kind, str(options["answer"])):
        return Finding(f"no {options['answer']} in the answer", "answer", passed=False)
    return Finding(f"answers {code}")


async def _over_udp(
    target: Target, attempt: Attempt, query: dns.message.Message
) -> dns.message.Message:
    async with connected(target, attempt, socket.SOCK_DGRAM) as connection:
        await connection.send(query.to_wire())
        return _read(query, await connection.receive())


async def _over_tcp(
    target: Target, attempt: Attempt, query: dns.message.Message
) -> dns.message.Message:
    async with connected(target, attempt) as connection:
        wire = query.to_wire()
        await connection.send(len(wire).to_bytes(2, "big") + wire)
        found = b""
        while len(found) < 2 or len(found) < 2 + int.from_bytes(found[:2], "big"):
            more = await connection.receive()
            if not more:
                raise Failure("closed", "connection closed before an answer")
            found += more
        return _read(query, found[2 : 2 + int.from_bytes(found[:2], "big")])


def _read(query: dns.message.Message, wire: bytes) -> dns.message.Message:
    try:
        answer = dns.message.from_wire(wire, one_rr_per_rrset=False, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        raise Failure("no-dns", "no DNS message") from None
    if not query.is_response(answer):
        raise Failure("no-dns", "the answer to another query")
    return answer


def _has(answer: dns.message.Message, kind: dns.rdatatype.RdataType, text: str) -> bool:
    """Whether a record is among the answers; of TXT its text, in however many strings."""
    records = [each for group in answer.answer if group.rdtype == kind for each in group]
    if kind == dns.rdatatype.TXT:
        return any(b"".join(each.strings) == text.encode() for each in records)
    try:
        wanted = dns.rdata.from_text(dns.rdataclass.IN, kind, text, dns.name.root, relativize=False)
    except dns.exception.DNSException:
        raise Failure("answer", "the answer expected is no such record", silent=True) from None
    return wanted in records
