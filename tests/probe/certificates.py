"""Certificates, good and bad, made when they are needed."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)


class Authority:
    """Signs certificates, and writes each with its key into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name("Authority of the test")
        own = _builder(self.name, self.name, self.key, -DAY, 3650 * DAY).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.file = folder / "authority.pem"
        self.file.write_bytes(_pem(own.sign(self.key, hashes.SHA256())))

    def sign(
        self,
        file: str,
        name: str = "www.example.org",
        *,
        begin: datetime.timedelta = -90 * DAY,
        end: datetime.timedelta = 365 * DAY,
        by_itself: bool = False,
    ) -> x509.Certificate:
        """For the name and 127.0.0.1; FILE.pem and FILE.key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name)
        issuer = subject if by_itself else self.name
        names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = _builder(subject, issuer, key, begin, end).add_extension(
            x509.SubjectAlternativeName(names), critical=False
        )
        made = builder.sign(key if by_itself else self.key, hashes.SHA256())
        (self.folder / f"{file}.pem").write_bytes(_pem(made))
        (self.folder / f"{file}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return made


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    begin: datetime.timedelta,
    end: datetime.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + begin)
        .not_valid_after(NOW + end)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)
