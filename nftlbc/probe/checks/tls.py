"""``check tls``: a TLS handshake, and what ``check https`` needs of TLS."""

from __future__ import annotations

import ssl

from nftlbc.farms import CheckValue
from nftlbc.probe.attempt import Attempt
from nftlbc.probe.checks import certificate
from nftlbc.probe.checks.connection import Connection, connected, tls_failure
from nftlbc.probe.result import Failure, Finding
from nftlbc.probe.target import Target


async def check(target: Target, attempt: Attempt) -> Finding:
    async with connected(target, attempt) as connection:
        warning = await secure(connection, target, attempt)
        return Finding("TLS handshake done", warning=warning)


async def secure(connection: Connection, target: Target, attempt: Attempt) -> str | None:
    """TLS from now on; what is to be said about the certificate."""
    options = dict(target.check.options)
    ca, verify = options.get("ca"), options.get("verify") != "off"
    context = attempt.shared.get(("tls", ca, verify), lambda: _context(ca, verify))
    attempt.step = "no TLS handshake"
    try:
        tls = await connection.handshake(context, _name(target, options, verify))
    except ssl.SSLError as problem:
        raise tls_failure(problem) from None
    except ValueError:
        raise Failure("server-name", "TLS: the server name can't be one", silent=True) from None
    attempt.step = "no answer"
    within = options.get("expires-within")
    soon = within if isinstance(within, int) else certificate.SOON
    return certificate.warning(tls.getpeercert(binary_form=True), soon)


def _name(target: Target, options: dict[str, CheckValue], verify: bool) -> str | None:
    """What is asked for, and must be in the certificate."""
    given = options.get("server-name")
    if given is None and target.check.kind == "https":
        host = options.get("host")
        given = str(host).rsplit(":", 1)[0] if host and "[" not in str(host) else None
    return str(given) if given else (target.address if verify else None)


def _context(ca: CheckValue | None, verify: bool) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
    except OSError as problem:  # SSLError, of a file without certificates, is one too
        text = f"{ca} can't be used: {problem.strerror or 'no certificates in it'}"
        raise Failure("ca-file", text, silent=True) from None
    # Python 3.13 sets it; the service's clients don't, and authorities of one's own often lack
    # an extension that nobody else misses.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        # Whatever the server speaks: an old one is asked whether it lives, not trusted.
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.set_ciphers("ALL:@SECLEVEL=0")
    return context
