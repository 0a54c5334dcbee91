"""Who a site is: its key, its certificate, its signatures, and the tokens that invite it.

A site is named by the hash of its Ed25519 public key, so nobody has to vouch for a name: who
holds the key is the site. That one key serves three ends:

- the server proves itself in the TLS handshake, with a certificate it signed itself; a client
  looks only at the key inside (`client.py`), so there is no certificate authority to set up;
- a client signs each request; the server knows the public keys of its members;
- a token carries the SiteId of the inviter, so that also the first contact is to the right one.

**Freshness without clocks.** Sites have wrong clocks, so no time takes part in authentication.
A request names the boot nonce of the server's process and a counter. The server accepts each
counter once, in a sliding window per site (`CounterWindow`), and forgets all of it when it
ends, since its next process has another nonce and so refuses whatever was signed before.
"""

import base64
import binascii
import hashlib
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from syncproto.errors import ConfigError, MalformedMessageError, UsageError
from syncproto.identity import SITE_ID_BYTES, SiteId, site_text

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
BOOT_NONCE_BYTES = 8
COUNTER_MAX = 2**63 - 1  # what every language on the other side can hold

# Requests of one site may overtake each other, on several connections and from several
# processes. 4096 is far more than are ever under way, and costs 512 bytes a site.
WINDOW_WIDTH = 4096

NO_SESSION = b"\0" * BOOT_NONCE_BYTES
"""What a client names as the session as long as it does not know the server's."""


# --- The key -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SiteKey:
    """The key pair of a site.

    Attributes:
        private: Signs; never leaves the process but into its own file.
        public: The raw public key, 32 bytes.
        site: The SiteId that follows from `public`.
    """

    private: Ed25519PrivateKey = field(repr=False)
    public: bytes
    site: SiteId

    def signature(self, message: bytes) -> bytes:
        return self.private.sign(message)


def site_id_of_key(public: bytes) -> SiteId:
    """The SiteId of a raw public key."""
    return SiteId(hashlib.sha256(public).digest()[:SITE_ID_BYTES])


def fits(signature: bytes, message: bytes, public: bytes) -> bool:
    """Whether the holder of this raw public key signed the message."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def new_key() -> SiteKey:
    """A key that no site has; it is in memory only."""
    return _site_key(Ed25519PrivateKey.generate())


def create_key(path: Path) -> SiteKey:
    """Make a new key and store it; as `store_key`."""
    return store_key(path, Ed25519PrivateKey.generate())


def store_key(path: Path, private: Ed25519PrivateKey) -> SiteKey:
    """Store a key durably at `path`, readable by its owner alone.

    Raises:
        ConfigError: There is a file already (a key is never overwritten: with it the site
            would lose its name), or it cannot be written.
    """
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise ConfigError(
            f"{path} exists already and is not overwritten: it may be the key of a site; "
            "name another file, or move this one away"
        ) from error
    except OSError as error:
        raise ConfigError(f"the key cannot be written to {path}: {error.strerror}") from error
    try:
        with open(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(path.parent)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ConfigError(f"the key cannot be written to {path}: {error.strerror}") from error
    return _site_key(private)


def load_key(path: Path) -> SiteKey:
    """The key stored at `path`. Permissions that let others read it are mended.

    Raises:
        ConfigError: There is no such file, it holds no Ed25519 key, or others can read it and
            that cannot be changed.
    """
    try:
        pem = path.read_bytes()
        _close_to_others(path)
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no key at {path}; put it back from a backup, or run `syncnode init`"
        ) from error
    except OSError as error:
        raise ConfigError(f"the key at {path} cannot be read: {error.strerror}") from error
    try:
        private = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{path} holds no readable key (it is damaged, encrypted or something else); "
            "put the site's key back from a backup"
        ) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigError(f"{path} holds a key of another kind; a site's key is an Ed25519 key")
    return _site_key(private)


def _site_key(private: Ed25519PrivateKey) -> SiteKey:
    public = private.public_key().public_bytes_raw()
    return SiteKey(private, public, site_id_of_key(public))


def _close_to_others(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name != "posix" or not mode & 0o077:
        return
    try:
        path.chmod(0o600)
    except OSError as error:
        raise ConfigError(
            f"the key at {path} can be read by others (mode {mode:o}) and that could not be "
            f"changed ({error.strerror}); run `chmod 600` on it as its owner"
        ) from error


def _sync_directory(path: Path) -> None:
    """Make the name of a new file durable, not only its content."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- The certificate -----------------------------------------------------------------------


def certificate_of(key: SiteKey) -> bytes:
    """A new self-signed certificate (PEM) for the key; only the key in it means anything.

    It is short, since every connection over a thin link begins with it. It is valid from 1970 to
    9999 (RFC 5280's "no well-defined expiration date"), so that also a machine whose clock starts
    at 1970 can serve, and other tools that do check dates agree.
    """
    # Imported here: of all commands only `serve` makes a certificate.
    import datetime

    from cryptography import x509

    name = x509.Name(
        [x509.NameAttribute(x509.NameOID.COMMON_NAME, site_text(key.site)[:8])],
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.private.public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(1970, 1, 1))
        .not_valid_after(datetime.datetime(9999, 12, 31, 23, 59, 59))
        .sign(key.private, algorithm=None)
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def site_id_of_certificate(der: bytes) -> SiteId:
    """The SiteId of the key in a certificate; nothing else in it is looked at.

    Raises:
        MalformedMessageError: This is no certificate, or one for a key of another kind.
    """
    from cryptography import x509

    try:
        public = x509.load_der_x509_certificate(der).public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MalformedMessageError("the server's certificate cannot be read") from error
    if not isinstance(public, Ed25519PublicKey):
        raise MalformedMessageError("the server's certificate is not that of a syncnode site")
    return site_id_of_key(public.public_bytes_raw())


# --- Signed requests -----------------------------------------------------------------------

PROOF_HEADER = b"syncnode"
"""Site, session, signature and counter, in base64: one short header, since every request pays for
it and links are thin. For whom it is meant is signed and not said: the server knows who it is."""
SESSION_HEADER = b"syncnode-session"
COUNTER_HEADER = b"syncnode-counter"

# What is signed begins with this, so that no signature made for another end, now or later,
# can ever be taken for that of a request.
_DOMAIN = b"syncnode request 1"

_COUNTER_BYTES = 8
_PROOF_PLACES = (
    0,
    SITE_ID_BYTES,
    SITE_ID_BYTES + BOOT_NONCE_BYTES,
    SITE_ID_BYTES + BOOT_NONCE_BYTES + SIGNATURE_BYTES,
)
_PROOF_BYTES = _PROOF_PLACES[-1]  # and the counter, without zeros in front

_SESSION = re.compile(rb"[0-9a-f]{%d}" % (2 * BOOT_NONCE_BYTES))
_COUNTER = re.compile(rb"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Proof:
    """What the headers of a request claim, not yet verified.

    Attributes:
        site: Who says it sent the request.
        session: The boot nonce of the server's process, 8 bytes.
        counter: Never used before by `site` in this session.
        signature: 64 bytes over all of these, the request and the server it was meant for, so
            that no server can pass it on to another.
    """

    site: SiteId
    session: bytes
    counter: int
    signature: bytes

    def signed_by(
        self, public: bytes, *, method: str, path: str, body: bytes, peer: SiteId
    ) -> bool:
        """Whether the holder of this public key made this very request, for `peer`."""
        message = _signed_message(method, path, body, self.site, peer, self.session, self.counter)
        return fits(self.signature, message, public)


def signed_headers(
    key: SiteKey,
    *,
    method: str,
    path: str,
    body: bytes,
    peer: SiteId,
    session: bytes,
    counter: int,
) -> list[tuple[bytes, bytes]]:
    """The header that proves to `peer` that we send this request, once."""
    message = _signed_message(method, path, body, key.site, peer, session, counter)
    counted = counter.to_bytes((counter.bit_length() + 7) // 8, "big")
    proof = key.site + session + key.signature(message) + counted
    return [(PROOF_HEADER, _base64_text(proof).encode("ascii"))]


def read_proof(headers: Iterable[tuple[bytes, bytes]]) -> Proof:
    """The proof that a request carries in its header (names in lower case, as ASGI has them).

    Raises:
        MalformedMessageError: It is missing, repeated or not well formed.
    """
    values = [value for name, value in headers if name == PROOF_HEADER]
    if len(values) != 1:
        raise MalformedMessageError(
            "the request bears no proof of who sent it" if not values else "two proofs are none"
        )
    proof = _base64_bytes(values[0].decode("ascii", "replace"))
    if proof is None or not 0 <= len(proof) - _PROOF_BYTES <= _COUNTER_BYTES:
        raise MalformedMessageError(f"the header {_shown(PROOF_HEADER)} is not well formed")
    site, session, signature, counter = (
        proof[start:end]
        for start, end in zip(_PROOF_PLACES, [*_PROOF_PLACES[1:], None], strict=True)
    )
    if counter[:1] == b"\0" or int.from_bytes(counter, "big") > COUNTER_MAX:
        raise MalformedMessageError(f"the header {_shown(PROOF_HEADER)} is not well formed")
    return Proof(SiteId(site), session, int.from_bytes(counter, "big"), signature)


def read_session(value: bytes) -> bytes:
    """A boot nonce from its header.

    Raises:
        MalformedMessageError: It is not 16 hexadecimal digits.
    """
    if not _SESSION.fullmatch(value):
        raise MalformedMessageError(f"the header {_shown(SESSION_HEADER)} is not well formed")
    return bytes.fromhex(value.decode("ascii"))


def read_counter(value: bytes) -> int:
    """A counter from its header.

    Raises:
        MalformedMessageError: It is no number from 0 to `COUNTER_MAX`.
    """
    if not _COUNTER.fullmatch(value) or int(value) > COUNTER_MAX:
        raise MalformedMessageError(f"the header {_shown(COUNTER_HEADER)} is not well formed")
    return int(value)


class CounterWindow:
    """Accepts each counter once, within `WINDOW_WIDTH` below the highest so far.

    As in RFC 4303 (IPsec ESP), section 3.4.3: what is too old to remember is refused.

    Attributes:
        highest: The highest counter accepted; 0 when there was none.
    """

    def __init__(self) -> None:
        self.highest = 0
        self._seen = 1  # bit n: `highest - n` was used; 0 counts as used

    def accept(self, counter: int) -> bool:
        """Whether `counter` is fresh; from now on it is not."""
        ahead = counter - self.highest
        if ahead > 0:
            # A leap beyond the window leaves nothing to remember, and must not make a huge int.
            kept = self._seen << ahead if ahead < WINDOW_WIDTH else 0
            self._seen = (kept | 1) & ((1 << WINDOW_WIDTH) - 1)
            self.highest = counter
            return True
        if -ahead >= WINDOW_WIDTH or self._seen >> -ahead & 1:
            return False
        self._seen |= 1 << -ahead
        return True


def _signed_message(
    method: str,
    path: str,
    body: bytes,
    site: bytes,
    peer: bytes,
    session: bytes,
    counter: int,
) -> bytes:
    parts = (
        _DOMAIN,
        method.encode("ascii"),
        path.encode("ascii", "surrogateescape"),
        hashlib.sha256(body).digest(),
        site,
        peer,
        session,
        counter.to_bytes(8, "big"),
    )
    # Lengths in front, so that no two requests give one message.
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _shown(name: bytes) -> str:
    # Only our own header names and those that follow our prefix arrive here.
    return ascii(name.decode("latin-1"))[1:41].rstrip("'")


# --- Tokens --------------------------------------------------------------------------------

TOKEN_PREFIX = "syncnode1-"
NETWORK_BYTES = 8
SECRET_BYTES = 16
URL_BYTES_MAX = 512

_CHECKSUM_BYTES = 4
_EXPIRES_BYTES = 8
_FIXED_BYTES = NETWORK_BYTES + SITE_ID_BYTES + SECRET_BYTES + _EXPIRES_BYTES
_OTHER_VERSION = re.compile(r"syncnode[0-9]+-")


@dataclass(frozen=True, slots=True)
class Token:
    """An invitation: whoever holds it may join once.

    Attributes:
        network: Names the network, 8 bytes.
        site: The inviter, which the first contact checks.
        url: Where the inviter listens.
        secret: What proves the invitation, 16 bytes.
        expires_ms: When the inviter stops to accept it, by the inviter's clock.
    """

    network: bytes
    site: SiteId
    url: str
    secret: bytes = field(repr=False)
    expires_ms: int


def encode_token(token: Token) -> str:
    """One line of letters, digits, `-` and `_`, which survives mail, chat and paper.

    Raises:
        ConfigError: The address is too long or holds something but plain characters.
    """
    assert len(token.network) == NETWORK_BYTES
    assert len(token.site) == SITE_ID_BYTES
    assert len(token.secret) == SECRET_BYTES
    try:
        url = token.url.encode("ascii")
    except UnicodeEncodeError as error:
        raise ConfigError(f"the address {token.url!r} must be plain ASCII") from error
    if not 0 < len(url) <= URL_BYTES_MAX:
        raise ConfigError(f"the address must have 1 to {URL_BYTES_MAX} characters")
    payload = (
        token.network
        + token.site
        + token.secret
        + token.expires_ms.to_bytes(_EXPIRES_BYTES, "big")
        + url
    )
    return TOKEN_PREFIX + _base64_text(payload + _checksum(payload))


def decode_token(text: str) -> Token:
    """The inverse of `encode_token`; blanks and line breaks, as mail adds them, do not matter.

    Raises:
        UsageError: The text is no token, of another version, or was mistyped. The message
            never repeats the token, which is a secret.
    """
    text = "".join(text.split())
    if not text.startswith(TOKEN_PREFIX):
        if _OTHER_VERSION.match(text):
            raise UsageError(
                "this token was made by another version of syncnode; use the same version on "
                "both sites, and ask for a new token"
            )
        raise UsageError(
            f"this is no token: one begins with {TOKEN_PREFIX!r}; copy the whole line that "
            "`syncnode invite` printed"
        )
    framed = _base64_bytes(text.removeprefix(TOKEN_PREFIX))
    if framed is None:
        raise _mistyped("it holds a character that no token has, or lacks some")
    payload, checksum = framed[:-_CHECKSUM_BYTES], framed[-_CHECKSUM_BYTES:]
    if not 0 < len(payload) - _FIXED_BYTES <= URL_BYTES_MAX:
        raise _mistyped(f"it is too {'short' if len(payload) <= _FIXED_BYTES else 'long'}")
    if _checksum(payload) != checksum:
        raise _mistyped("its checksum does not fit")
    network, rest = payload[:NETWORK_BYTES], payload[NETWORK_BYTES:]
    site, rest = rest[:SITE_ID_BYTES], rest[SITE_ID_BYTES:]
    secret, rest = rest[:SECRET_BYTES], rest[SECRET_BYTES:]
    expires, url = rest[:_EXPIRES_BYTES], rest[_EXPIRES_BYTES:]
    return Token(
        network=network,
        site=SiteId(site),
        url=url.decode("ascii", "replace"),
        secret=secret,
        expires_ms=int.from_bytes(expires, "big"),
    )


def _mistyped(how: str) -> UsageError:
    return UsageError(
        f"this token was mistyped: {how}; copy the whole line that `syncnode invite` printed"
    )


def _checksum(payload: bytes) -> bytes:
    return hashlib.sha256(b"syncnode token 1" + payload).digest()[:_CHECKSUM_BYTES]


def _base64_text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode("ascii").rstrip("=")


def _base64_bytes(text: str) -> bytes | None:
    """The bytes that `_base64_text` gives this very text for, or None."""
    try:
        value = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    # Base64 has several spellings for some bytes; a signature or token has just one.
    return value if _base64_text(value) == text else None
