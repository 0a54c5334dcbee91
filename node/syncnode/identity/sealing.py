"""Sealing for sites: the age format (age-encryption.org/v1), to the keys that name them.

A site's Ed25519 key, by which it signs and which names it, is also a recipient of age's type
ssh-ed25519; so nothing has to be exchanged before a file can be sealed for a member, and any tool
that reads age opens it with that key.
"""

import base64
from collections.abc import Callable, Iterable

import pyrage
from cryptography.hazmat.primitives import serialization

from syncnode.identity.credentials import SiteKey
from syncproto.errors import MalformedMessageError

_KIND = b"ssh-ed25519"

Seal = Callable[[bytes], bytes]


def sealing_for(public_keys: Iterable[bytes]) -> Seal:
    """What seals bytes so that the holder of any of these raw public keys can open them."""
    recipients = [pyrage.ssh.Recipient.from_str(_line(public)) for public in public_keys]

    def seal(plain: bytes) -> bytes:
        sealed: bytes = pyrage.encrypt(plain, recipients)
        return sealed

    return seal


def opening_with(key: SiteKey) -> Seal:
    """What opens bytes that were sealed for this key.

    Raises (the function):
        MalformedMessageError: They were sealed for others, or are damaged.
    """
    pem = key.private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    identities = [pyrage.ssh.Identity.from_buffer(pem)]

    def opened(sealed: bytes) -> bytes:
        try:
            plain: bytes = pyrage.decrypt(sealed, identities)
        except pyrage.DecryptError as error:
            raise MalformedMessageError(
                "it cannot be opened with the key of this site: it was sealed for others"
            ) from error
        return plain

    return opened


def _line(public: bytes) -> str:
    """A public key as OpenSSH writes it."""
    parts = (_KIND, public)
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return f"{_KIND.decode()} {base64.b64encode(blob).decode()}"
