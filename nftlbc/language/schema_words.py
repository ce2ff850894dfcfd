"""What the schema says of each thing: titles and descriptions."""

from __future__ import annotations

from collections.abc import Mapping

TITLES: Mapping[str, str] = {
    "file": "a farms file",
    "farm": "a farm",
    "defaults": "the defaults",
    "listener": "a listener",
    "backend": "a backend",
    "check": "a check",
    "comment": "a comment",
    "forward": "a forward",
    "balance": "a balance",
    "persist": "a persist",
    "text": "a quoted text",
}

MEMBERS: Mapping[str, str] = {
    "file": "A farms file of nftlbc. Where a value may stand, $NAME of a define may stand too.",
    "file.$schema": "Where this schema is found; for editors.",
    "file.include": "Other farms files, by path or pattern (* ? [...]), relative to this one. "
    "They are read in the order of their names; a file is included once.",
    "file.define": "Names for values: $NAME stands for them in all the files, from any place.",
    "file.defaults": "What holds for all farms of this file that don't say otherwise. "
    "A file without defaults takes those of the file that includes it.",
    "file.farms": "The farms.",
    "file.comments": "The comments of the file in its other form (farms.lb). They mean nothing; "
    "nftlbc fmt --to lb puts them back.",
    "defaults": "Any member of a farm but its name, listeners and backends.",
    "text.text": "The text. In a define, what looks like an address, a number, a time or a word "
    "stands for itself, and everything else is a text; this is a text whatever it looks like.",
    "farm": "A service that is spread over backends.",
    "farm.name": "Its name, unique in all files: a letter, then letters, digits, - and _.",
    "farm.listen": "Where clients connect to.",
    "farm.backends": "The servers. An IPv6 listener uses the IPv6 backends, an IPv4 one the IPv4 "
    "backends.",
    "forward": "How packets reach a backend. dnat keeps the client's address, so that backends "
    "route their answers through the balancer; masquerade replaces it by the balancer's, and snat "
    "by an address of yours. direct, stateless and tunnel are not there yet. dnat if it is left "
    "out.",
    "forward.snat": "The address in place of the client's; at most one of each family.",
    "balance": "Who gets the next client. round-robin and random by weight; hash gives one client "
    "to one backend; consistent too, and moves few clients when backends come and go; "
    "least-connections, least-response and least-cpu follow what is measured; custom what is set. "
    "round-robin if it is left out.",
    "balance.hash": "What a client is known by: source-ip, source-ip/PREFIX, source-port, "
    "destination-ip, destination-port. For a farm of both families: source-ip/24/56.",
    "balance.consistent": "What a client is known by, as for hash.",
    "balance.slots": "How many parts the clients are divided into, best a prime of a hundred "
    "times as many as there are backends.",
    "persist": "A client that comes back within a time gets the backend that it had.",
    "persist.keys": "What a client is known by, as for balance.",
    "persist.for": "How long it is remembered after its last connection: 30s, 5m, 1h30m.",
    "persist.size": "How many clients are remembered, in a map of this farm's own.",
    "quorum": "How many backends that are no backups must take new clients; below that, the "
    "backups join.",
    "hairpin": "Backends may themselves connect to the farm.",
    "on-down": "What becomes of the open TCP connections of a backend that goes down.",
    "when-all-down": "With no backend up: refuse clients, or keep the last ones that were up.",
    "slow-start": "How long a backend that is back takes to climb to its weight.",
    "count": "traffic: packets and bytes of each backend are counted, which costs a rule on every "
    "packet. Otherwise new connections are.",
    "on-change": "A command (an absolute path) and its arguments, to exec when a backend's state "
    "or the quorum changes.",
    "listener": "Every address with every protocol and every port.",
    "listener.address": "Addresses of this machine, IPv4 or IPv6.",
    "listener.protocol": "tcp, udp or sctp.",
    "listener.port": "Ports and ranges of ports: 80, 8000-8099.",
    "listener.to": "The port of the backends; it comes before a backend's own.",
    "backend": "A server.",
    "backend.name": "Its name, unique in the farm: a letter, then letters, digits, - and _.",
    "backend.address": "Its address.",
    "backend.port": "Its port; without one, the port that the client asked for.",
    "backend.weight": "Its share of new clients beside the others' weights; 0 takes none. "
    "1 if it is left out.",
    "backend.backup": "It is used when fewer than the quorum of the others are up.",
    "backend.state": "drain takes no new clients, down none at all. up if it is left out.",
    "check": "How it is found out whether a backend works. A farm's checks replace the defaults'.",
    "check.kind": "What is done: the other members depend on it.",
    "comment": "A comment of the file in its other form.",
    "comment.at": "What it stands by: a JSON pointer such as /farms/0/backends/2, or nothing for "
    "the whole file.",
    "comment.place": "above it, beside its beginning, at the end of what is in it, or after it.",
    "comment.text": "The comment without its #. It may have several lines.",
}
"""By the object and its member; a member of a farm that defaults have too by its name alone."""

OPTIONS: Mapping[str, str] = {
    "port": "The port that is asked, if not the backend's.",
    "source": "The address that the check comes from.",
    "interval": "The time between the beginnings of two checks. 5s if it is left out.",
    "timeout": "How long an answer is waited for, at most the interval. 2s if it is left out.",
    "fall": "After so many failures in a row it is down. 3 if it is left out.",
    "rise": "After so many successes in a row it is up. 2 if it is left out.",
    "server-name": "The name that is asked for in TLS, and held against the certificate.",
    "verify": "Whether the certificate is verified. on if it is left out.",
    "ca": "The file with the authorities to trust.",
    "expires-within": "A certificate that ends within this time gets a warning. 14d if it is left "
    "out.",
    "method": "The method of the request.",
    "path": "What is requested.",
    "host": "The Host of the request.",
    "header": "Further headers of the request, each a name and a value.",
    "http.expect": "The statuses of a success: 200, 200-299.",
    "https.expect": "The statuses of a success: 200, 200-299.",
    "body": "What must be in the body: a text that it contains, or an expression that it matches.",
    "follow-redirects": "A redirection is followed, on the same backend.",
    "dns.name": "The name that is asked for.",
    "dns.type": "The type of record that is asked for.",
    "dns.expect": "The response code of a success.",
    "dns.answer": "What must be among the answers.",
    "dns.over": "The protocol of the question.",
    "send": "What is sent; each character is a byte.",
    "udp.expect": "What must be in the answer; each character is a byte.",
    "hello": "The name that the balancer gives.",
    "command": "The program and its arguments.",
    "version": "The version of SNMP.",
    "community": "The community: in a file, or in an environment variable.",
    "user": "The user.",
    "auth": "How the user is authenticated.",
    "auth-key": "The user's key: in a file, or in an environment variable.",
    "privacy": "How the messages are encrypted.",
    "privacy-key": "The key for that: in a file, or in an environment variable.",
}
"""Of checks, by option, or by kind and option where kinds differ."""


def of_option(kind: str, name: str) -> str:
    return OPTIONS.get(f"{kind}.{name}") or OPTIONS[name]
