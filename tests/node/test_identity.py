"""Keys, certificates, signatures and tokens: a site is its key, and each proof counts once."""

import base64
import dataclasses
import datetime
import hashlib
import stat
import subprocess
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from hypothesis import given
from hypothesis import strategies as st
from wire import new_key

from syncnode.identity.credentials import (
    COUNTER_MAX,
    PROOF_HEADER,
    WINDOW_WIDTH,
    CounterWindow,
    Token,
    certificate_of,
    create_key,
    decode_token,
    encode_token,
    load_key,
    read_proof,
    signed_headers,
    site_id_of_certificate,
)
from syncproto.errors import ConfigError, MalformedMessageError
from syncproto.identity import SiteId, site_text

TOKEN = Token(
    network=b"network!",
    site=SiteId(bytes(range(16))),
    url="https://kigali.example:8470",
    secret=b"secretsecretsecr",
    expires_ms=1_700_000_000_000,
)


# --- Keys ---


def test_a_key_is_stored_for_its_owner_alone_and_loads_as_the_same_site(tmp_path):
    path = tmp_path / "site.key"
    made = create_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    loaded = load_key(path)
    assert (loaded.site, loaded.public) == (made.site, made.public)
    assert made.site == hashlib.sha256(made.public).digest()[:16]
    assert "private" not in repr(made)


def test_a_key_is_never_overwritten(tmp_path):
    path = tmp_path / "site.key"
    create_key(path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="exists already"):
        create_key(path)
    assert path.read_bytes() == before


def test_a_key_that_others_can_read_is_closed_to_them(tmp_path):
    path = tmp_path / "site.key"
    create_key(path)
    path.chmod(0o644)
    load_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_no_key_is_refused_in_one_sentence(tmp_path):
    path = tmp_path / "site.key"
    with pytest.raises(ConfigError, match="there is no key at"):
        load_key(path)
    with pytest.raises(ConfigError, match="cannot be written"):
        create_key(tmp_path / "missing" / "site.key")
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    other = ec.generate_private_key(ec.SECP256R1())
    for content, reason in [
        (b"", "holds no readable key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no readable key"),
        (other.private_bytes(*plain, serialization.NoEncryption()), "another kind"),
        (
            new_key().private.private_bytes(*plain, serialization.BestAvailableEncryption(b"x")),
            "no readable key",
        ),
        (
            x25519.X25519PrivateKey.generate().private_bytes(*plain, serialization.NoEncryption()),
            "another kind",
        ),
    ]:
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(ConfigError, match=reason):
            load_key(path)


# --- Certificates ---


def test_a_certificate_names_its_site_and_holds_under_every_clock():
    key = new_key()
    certificate = x509.load_pem_x509_certificate(certificate_of(key))
    der = certificate.public_bytes(serialization.Encoding.DER)
    assert site_id_of_certificate(der) == key.site
    assert certificate.subject.rfc4514_string() == f"CN={site_text(key.site)[:8]}"
    assert len(der) <= 240
    assert certificate.not_valid_before_utc == datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    assert certificate.not_valid_after_utc.year == 9999


@given(st.binary(max_size=200))
def test_bytes_that_are_no_certificate_are_malformed(der):
    with pytest.raises(MalformedMessageError):
        site_id_of_certificate(der)


def test_the_commands_that_need_no_network_do_not_import_it():
    program = "import sys, syncnode.identity; print({'trio', 'httpx', 'ssl'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("set()\n", "")


# --- Requests ---

CLINIC, HOSPITAL = new_key(), new_key()
REQUEST = {"method": "POST", "path": "/exchange", "body": b"changes"}
SIGNED = signed_headers(CLINIC, **REQUEST, peer=HOSPITAL.site, session=b"8 bytes!", counter=7)


def test_a_signed_request_is_verified_by_the_public_key():
    proof = read_proof([(b"host", b"hospital"), *SIGNED])
    assert proof.signed_by(CLINIC.public, **REQUEST, peer=HOSPITAL.site)
    assert proof.site == CLINIC.site
    assert (proof.session, proof.counter) == (b"8 bytes!", 7)


def test_a_change_to_anything_that_is_signed_is_noticed():
    proof = read_proof(SIGNED)
    request = {**REQUEST, "peer": HOSPITAL.site}
    assert not proof.signed_by(HOSPITAL.public, **request)
    assert not proof.signed_by(b"short", **request)
    for name, value in [
        ("method", "PUT"),
        ("path", "/exchang"),
        ("body", b"change"),
        ("peer", CLINIC.site),
    ]:
        assert not proof.signed_by(CLINIC.public, **{**request, name: value})
    for changed in [
        {"site": HOSPITAL.site},
        {"session": b"another!"},
        {"counter": 8},
        {"signature": bytes(64)},
    ]:
        tampered = dataclasses.replace(proof, **changed)
        assert not tampered.signed_by(CLINIC.public, **request)


def test_a_proof_takes_few_bytes_of_a_thin_link():
    ((name, value),) = SIGNED
    assert len(name) + len(value) <= 128


def test_a_missing_or_repeated_proof_is_malformed():
    with pytest.raises(MalformedMessageError, match="no proof"):
        read_proof([])
    with pytest.raises(MalformedMessageError, match="two proofs"):
        read_proof([*SIGNED, *SIGNED])


@pytest.mark.parametrize("counter", [0, 1, 255, 256, COUNTER_MAX])
def test_every_counter_comes_back(counter):
    headers = signed_headers(
        CLINIC, **REQUEST, peer=HOSPITAL.site, session=b"8 bytes!", counter=counter
    )
    assert read_proof(headers).counter == counter


@given(value=st.binary(max_size=140))
def test_whatever_a_header_holds_it_is_read_or_malformed(value):
    try:
        proof = read_proof([(PROOF_HEADER, value)])
    except MalformedMessageError as error:
        assert str(error).isprintable()  # noqa: PT017 - either outcome is allowed
    else:
        assert 0 <= proof.counter <= COUNTER_MAX


@given(proof=st.binary(min_size=80, max_size=100))
def test_any_bytes_in_their_one_spelling_are_read_or_malformed(proof):
    text = base64.urlsafe_b64encode(proof).rstrip(b"=")
    try:
        found = read_proof([(PROOF_HEADER, text)])
    except MalformedMessageError:
        fits = 88 <= len(proof) <= 96
        assert not fits or proof[88:89] == b"\0" or int.from_bytes(proof[88:]) > COUNTER_MAX
    else:
        assert found.site + found.session + found.signature == proof[:88]


# --- Counters ---


@given(st.lists(st.integers(0, 40) | st.integers(0, 3 * WINDOW_WIDTH), max_size=60))
def test_no_counter_is_accepted_twice_and_only_old_or_used_ones_are_refused(counters):
    window, used, highest = CounterWindow(), {0}, 0
    for counter in counters:
        fresh = counter not in used and counter > highest - WINDOW_WIDTH
        assert window.accept(counter) is fresh
        if fresh:
            used.add(counter)
            highest = max(highest, counter)
    assert window.highest == highest


def test_the_highest_counter_of_all_takes_no_memory():
    window = CounterWindow()
    assert window.accept(COUNTER_MAX)
    assert not window.accept(1)
    assert window._seen.bit_length() <= WINDOW_WIDTH


# --- Tokens ---


@given(
    st.builds(
        Token,
        network=st.binary(min_size=8, max_size=8),
        site=st.binary(min_size=16, max_size=16).map(SiteId),
        secret=st.binary(min_size=16, max_size=16),
        url=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60),
        expires_ms=st.integers(0, 2**63 - 1),
    )
)
def test_a_token_is_one_plain_line_and_reads_back(token):
    text = encode_token(token)
    assert text.isascii()
    assert text.replace("-", "").replace("_", "").isalnum()
    assert decode_token(text) == token


def test_a_token_survives_the_line_breaks_of_mail():
    text = encode_token(TOKEN)
    assert decode_token(f"  {text[:40]}\r\n {text[40:]}\n") == TOKEN


def test_every_single_mistyped_character_is_noticed_and_the_secret_not_repeated():
    text = encode_token(TOKEN)
    for position, character in enumerate(text):
        wrong = "A" if character != "A" else "B"
        with pytest.raises(ConfigError, match="token") as caught:
            decode_token(text[:position] + wrong + text[position + 1 :])
        assert text[20:40] not in str(caught.value)
    for mistyped in [text[:-1], text + "A", text[:30], text[:50] + "ä" + text[51:]]:
        with pytest.raises(ConfigError, match="this token was mistyped: "):
            decode_token(mistyped)


def test_a_token_of_another_version_and_something_else_are_told_apart():
    with pytest.raises(ConfigError, match="another version"):
        decode_token("syncnode2-" + encode_token(TOKEN).removeprefix("syncnode1-"))
    with pytest.raises(ConfigError, match="this is no token"):
        decode_token("https://kigali.example:8470")
    with pytest.raises(ConfigError, match="this is no token"):
        decode_token("")


def test_the_secret_of_a_token_is_not_shown():
    assert "secretsecret" not in repr(TOKEN)


def test_an_address_that_fits_no_token_is_refused():
    for url in ["", "https://" + "x" * 600, "https://kigalï.example"]:
        with pytest.raises(ConfigError, match="the address"):
            encode_token(dataclasses.replace(TOKEN, url=url))
