"""`invite` and `join`, on both sides: how a site enters a network.

The joining site asks before it changes anything: it compares what both sides hold, and only
then uses the invitation up. The inviter writes the new peer down and marks the invitation used
in one transaction, so a token lets one site in, once; the same site may repeat its request, for
the answer may have been lost.
"""

import hashlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from syncnode.comparing.answers import Answers
from syncnode.identity.credentials import (
    SECRET_BYTES,
    SiteKey,
    Token,
    decode_token,
    encode_token,
    fits,
    load_key,
    site_id_of_key,
)
from syncnode.links.peers import Peer, put_peer, read_peers
from syncnode.machine import THIS_MACHINE, Machine
from syncnode.operations.adopting import Adoption
from syncnode.operations.comparing import (
    EXAMPLES,
    Asking,
    compared_tables,
    near_pairs,
    other_namings,
)
from syncnode.operations.foretelling import foretold
from syncnode.operations.site import open_replica
from syncnode.operations.vouching import issued, refuse_revoked, take_certificate, vouch
from syncnode.reports import Invitation, JoinPreview, JoinReport
from syncnode.schema.naming import how_to_mend
from syncnode.texts import utc_text
from syncproto.directions import EVERY_WAY
from syncproto.errors import (
    ConfigError,
    RefusedError,
    UnexpectedMessageError,
)
from syncproto.identity import SiteId
from syncproto.joining import (
    COMPARE,
    JOIN,
    JoinAnswer,
    JoinRequest,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
    signed_part,
)

if TYPE_CHECKING:
    from syncnode.clash_report import ForetoldClashes
    from syncnode.replica import DatabaseReplica
    from syncnode.settings.config import Settings
    from syncnode.store.database import Transaction

INVITATION_MS = 7 * 86_400_000
TOO_MANY_STATUS = 429
TURN_PAUSE_S = 5.0
CHILD, PARENT, PEER = "child", "parent", "peer"

Progress = Callable[[str], None]
Confirm = Callable[[JoinPreview], bool]
Send = Callable[[bytes], bytes]


def invite(
    settings: "Settings",
    name: str,
    *,
    role: str,
    url: str | None,
    machine: Machine = THIS_MACHINE,
) -> Invitation:
    """A one-time token that lets the site `name` join as our child, or as a peer.

    Raises:
        ConfigError: It would not know where to call, or the name is taken.
    """
    url = (url or settings.url or "").rstrip("/")
    if not url:
        raise ConfigError(
            "the token needs the address where the other site calls this one: name it with "
            "--url https://host:port, or set `listen` or `url` in " + str(settings.path)
        )
    replica = open_replica(settings, machine=machine)
    try:
        secret = machine.entropy(SECRET_BYTES)
        now_ms = machine.wall_ms()
        expires_ms = now_ms + INVITATION_MS
        with replica.database.write() as tx:
            _refuse_taken(name, settings.name, read_peers(tx))
            network = tx.value("SELECT value FROM syncnode_setting WHERE name='network'")
            m = tx.mark
            tx.execute(
                "INSERT INTO syncnode_invite (secret, name, role, expires_ms, used_ms) "
                f"VALUES ({m}, {m}, {m}, {m}, NULL)",
                (_hidden(secret), name, role, expires_ms),
            )
    finally:
        replica.close()
    site = load_key(settings.key).site
    token = Token(bytes.fromhex(network), site, url, secret, expires_ms)
    return Invitation(encode_token(token), name, role, url, utc_text(expires_ms))


def _hidden(secret: bytes) -> bytes:
    """What the database keeps of a secret: enough to know it again, not to use it."""
    return hashlib.sha256(secret).digest()[:SECRET_BYTES]


def _refuse_taken(name: str, own: str, peers: Iterable[Peer], site: SiteId | None = None) -> None:
    if name == own:
        raise ConfigError(f"{name} is the name of this site; give the other one its own")
    for peer in peers:
        if peer.name == name and peer.site != site:
            raise ConfigError(
                f"there is a {peer.role} named {name} already; give the other site its own name, "
                f"or, if {name} was made anew, run `syncnode forget {name}` first"
            )


# --- The joining side ----------------------------------------------------------------------


def join(
    settings: "Settings",
    token: str,
    *,
    confirm: Confirm,
    progress: Progress,
    dry_run: bool = False,
    values: bool = False,
) -> JoinReport:
    """Enter the network of whoever made the token.

    Where this site holds rows, they are compared with the inviter's before anything is written.
    `confirm` is shown what was found if rows differ, if either side holds rows that the other
    does not, or if rows might be the same under two names; False changes nothing, and leaves the
    token as it was.

    Args:
        dry_run: Compare only.
        values: Examples of rows that differ show values.

    Raises:
        ConfigError: The token is none, or does not fit this site.
        SyncError: The inviter refuses, or cannot be reached.
    """
    import trio

    from syncnode.operations.join_link import over_https

    found = decode_token(token)
    joining = partial(
        join_by,
        settings,
        found,
        confirm=confirm,
        progress=progress,
        dry_run=dry_run,
        values=values,
    )
    return trio.run(over_https, found, load_key(settings.key), progress, joining)


def join_by(
    settings: "Settings",
    token: Token,
    send: Send,
    *,
    confirm: Confirm,
    progress: Progress,
    machine: Machine = THIS_MACHINE,
    dry_run: bool = False,
    values: bool = False,
) -> JoinReport:
    """`join`, with requests that `send` carries to the inviter."""
    replica = open_replica(settings, machine=machine)
    try:
        key = load_key(settings.key)
        with replica.database.read() as tx:
            _check_fits(tx, token, key)
        joining = _Joining(settings, token, key, replica, send, progress, machine)
        return joining.run(confirm, dry_run=dry_run, values=values)
    finally:
        replica.close()


def _check_fits(tx: "Transaction", token: Token, key: SiteKey) -> None:
    """
    Raises:
        ConfigError: This site cannot use the token.
    """
    if token.site == key.site:
        raise ConfigError("this site made that token itself; it is for another site")
    peers = read_peers(tx)
    for peer in peers:
        if peer.site == token.site:
            raise ConfigError(
                f"this site has joined {peer.name} already; there is nothing to do, unless "
                f"{peer.name} has forgotten it: then run `syncnode forget {peer.name}` here first"
            )
    network = tx.value("SELECT value FROM syncnode_setting WHERE name='network'")
    invited = tx.value("SELECT 1 FROM syncnode_invite LIMIT 1") is not None
    if network != token.network.hex() and (peers or invited):
        raise ConfigError(
            f"the token is for the network {token.network.hex()}, this site belongs to "
            f"{network} already; a site can be in one network only"
        )


class _Joining:
    """One attempt to join."""

    def __init__(
        self,
        settings: "Settings",
        token: Token,
        key: SiteKey,
        replica: "DatabaseReplica",
        send: Send,
        progress: Progress,
        machine: Machine,
    ) -> None:
        self._settings = settings
        self._token = token
        self._key = key
        self._replica = replica
        self._send = send
        self._progress = progress
        self._machine = machine
        self._adoption: Adoption | None = None
        self._directions = EVERY_WAY  # what of the link stays back by our rules

    def run(self, confirm: Confirm, *, dry_run: bool, values: bool) -> JoinReport:
        self._refuse_other_names()
        self._progress("counting the rows here")
        self._replica.seal()
        with self._replica.database.read() as tx:
            any_row = any(
                tx.value(f"SELECT 1 FROM {table.quoted} LIMIT 1") is not None
                for table in self._replica.tables.values()
            )
        preview = None
        if any_row or dry_run:
            preview = self._preview(values, foretelling=dry_run)
            if dry_run or (preview.doubtful and not confirm(preview)):
                return self._report(False, preview.inviter, "", preview.network or "", preview)
        self._progress("joining")
        answer = self._ask(self._request(JOIN))
        role = answer.role
        taken = self._adoption.run() if self._adoption is not None else None
        with self._replica.database.write() as tx:
            m = tx.mark
            tx.execute(
                f"UPDATE syncnode_setting SET value={m} WHERE name='network'",
                (self._token.network.hex(),),
            )
            put_peer(
                tx,
                Peer(self._token.site, answer.name, role, self._token.url, answer.public_key),
            )
            take_certificate(tx, self._key, answer)
            if taken is not None:
                taken.commit(tx)
        return self._report(True, answer.name, role, answer.network, preview)

    def _report(
        self, joined: bool, inviter: str, role: str, network: str, preview: JoinPreview | None
    ) -> JoinReport:
        ours = {PARENT: CHILD, PEER: PEER}.get(role, role)
        return JoinReport(joined, inviter, self._token.url, ours, network or None, preview)

    def _request(self, kind: str, question: bytes = b"") -> JoinRequest:
        return JoinRequest(
            kind=kind,
            network=self._token.network,
            inviter=self._token.site,
            secret=self._token.secret,
            public_key=self._key.public,
            name=self._settings.name,
            url=self._settings.url or "",
            question=question,
        )

    def _ask(self, request: JoinRequest) -> JoinAnswer:
        body = encode_request(request, self._key.signature(signed_part(request)))
        while True:
            try:
                answered = self._send(body)
                break
            except RefusedError as error:
                if error.status != TOO_MANY_STATUS:
                    raise
            self._progress("many sites join there just now: waiting for a turn")
            self._machine.pause(TURN_PAUSE_S)
        answer = decode_answer(answered)
        if site_id_of_key(answer.public_key) != self._token.site:
            raise UnexpectedMessageError("the inviter's key is not the one that the token names")
        return answer

    # What both sides hold

    def _refuse_other_names(self) -> None:
        """
        Raises:
            ConfigError: The two sites name the rows of a table by something else.
        """
        told: list[JoinAnswer] = []

        def ask(question: bytes) -> bytes:
            told.append(self._ask(self._request(COMPARE, question)))
            return told[-1].finding

        otherwise = other_namings(self._replica, ask, self._machine.entropy)
        self._directions = self._replica.words.by_rules(
            told[0].name, told[0].role, self._replica.plan.by_name
        )
        if otherwise:
            raise ConfigError(
                f"not joined, nothing was changed: {how_to_mend(otherwise, told[0].name)}"
            )

    def _preview(self, values: bool, *, foretelling: bool) -> JoinPreview:
        told: list[JoinAnswer] = []

        def ask(question: bytes) -> bytes:
            told.append(self._ask(self._request(COMPARE, question)))
            return told[-1].finding

        rules = self._directions
        asking = Asking(
            self._replica,
            ask,
            entropy=self._machine.entropy,
            progress=self._progress,
            without=rules.unsent | rules.unreceived,
        )
        comparison = asking.compare()
        self._adoption = Adoption(
            *(self._replica, asking, comparison, self._token.site),
            unreceived=rules.unreceived,
            progress=self._progress,
        )
        rows = asking.differing(comparison.tables, examples=EXAMPLES)
        plan = self._replica.plan
        tables = compared_tables(comparison, asking.ours, plan, rows, examined=False, values=values)
        drawn = [
            table.name
            for table in self._replica.tables.values()
            if table.plan.key_kind == "random"
            and (found := comparison.tables.get(table.name)) is not None
            and found.only_here
            and found.only_there
        ]
        both = [table for table in tables if table.unknown_to is None]
        near = tuple(near_pairs(asking, comparison, sorted(drawn)))
        clashes: tuple[ForetoldClashes, ...] = ()
        if foretelling:  # for which whole rows must be fetched
            clashes = tuple(foretold(self._replica, asking, comparison, values=values))
        return JoinPreview(
            network=told[0].network or None,
            inviter=told[0].name,
            same=sum(table.same for table in both),
            only_here=sum(table.only_here for table in both),
            only_there=sum(table.only_there for table in both),
            different=sum(table.different for table in both),
            unnamed=tuple(sorted(drawn)),
            tables=tables,
            near_pairs=near,
            clashes=clashes,
            bytes_sent=asking.bytes_sent,
            bytes_received=asking.bytes_received,
        )


# --- The inviting side ---------------------------------------------------------------------


def answer_join(
    replica: "DatabaseReplica",
    key: SiteKey,
    settings: "Settings",
    body: bytes,
    *,
    machine: Machine = THIS_MACHINE,
) -> bytes:
    """The answer to a request to join; blocking.

    Raises:
        PeerError: It is malformed, tampered with, or the invitation does not hold.
    """
    request, role = heard_join(replica, key, settings, body, machine=machine)
    finding = b""
    if request.kind == COMPARE:
        replica.seal()
        finding = Answers(replica).answer(request.question, kept_back(replica, request, role))
    chain = issued(replica.database, request)
    return encode_answer(join_answer(settings, key, role, finding, chain))


def heard_join(
    replica: "DatabaseReplica",
    key: SiteKey,
    settings: "Settings",
    body: bytes,
    *,
    machine: Machine = THIS_MACHINE,
) -> tuple[JoinRequest, str]:
    """A request whose invitation holds, carried out if it is one to join; and what we are to the
    site then. A question is yet to be answered. Blocking.

    Raises:
        PeerError: It is malformed, tampered with, or the invitation does not hold.
    """
    request, signature = decode_request(body)
    if request.inviter != key.site:
        raise UnexpectedMessageError("this request to join is meant for another site")
    if not fits(signature, signed_part(request), request.public_key):
        raise UnexpectedMessageError("the signature does not fit this request to join")
    site = site_id_of_key(request.public_key)
    commit = request.kind == JOIN
    database = replica.database
    with database.write() if commit else database.read() as tx:
        now_ms = machine.wall_ms()
        refuse_revoked(tx, key, request.public_key)
        role = _admitted(tx, request, site, settings.name, now_ms, commit=commit)
        if commit:
            vouch(tx, key, request.public_key)
    return request, role


def kept_back(replica: "DatabaseReplica", request: JoinRequest, role: str) -> frozenset[str]:
    """Tables of which nothing is told to a site that asks to join, by our rules; `role`: what we
    are to it then."""
    theirs = CHILD if role == PARENT else PEER
    return replica.words.by_rules(request.name, theirs, replica.plan.by_name).unsent


def _admitted(
    tx: "Transaction", request: JoinRequest, site: SiteId, own: str, now_ms: int, *, commit: bool
) -> str:
    """Check the invitation, and with `commit` use it up; what we are to the site then.

    Raises:
        UnexpectedMessageError: The invitation does not hold.
    """
    m = tx.mark
    network = tx.value("SELECT value FROM syncnode_setting WHERE name='network'")
    if request.network.hex() != network:
        raise UnexpectedMessageError("this token is for another network")
    invitation = tx.row(
        f"SELECT name, role, expires_ms, used_ms FROM syncnode_invite WHERE secret={m}",
        (_hidden(request.secret),),
    )
    if invitation is None:
        raise UnexpectedMessageError("this token is not known here; ask for a new one")
    name, role, expires_ms, used_ms = invitation
    ours = PARENT if role == CHILD else PEER
    peers = read_peers(tx)
    known = next((peer for peer in peers if peer.site == site), None)
    if used_ms is not None:
        if known is not None and known.name == name:
            return ours  # its answer was lost
        raise UnexpectedMessageError("this token was used already; ask for a new one")
    if expires_ms < now_ms:
        raise UnexpectedMessageError(
            f"this token expired on {utc_text(expires_ms)}; ask for a new one"
        )
    try:
        _refuse_taken(name, own, peers, site)
    except ConfigError as error:
        raise UnexpectedMessageError(str(error)) from error
    if commit:
        tx.execute(
            f"UPDATE syncnode_invite SET used_ms={m} WHERE secret={m}",
            (now_ms, _hidden(request.secret)),
        )
        put_peer(tx, Peer(site, name, role, request.url.rstrip("/"), request.public_key))
    return ours


def join_answer(
    settings: "Settings", key: SiteKey, role: str, finding: bytes, chain: bytes = b""
) -> JoinAnswer:
    """What a site that wants to join is told of us."""
    network = settings.topology.network if settings.topology else None
    return JoinAnswer(
        name=settings.name,
        network=network or "",
        role=role,
        public_key=key.public,
        finding=finding,
        chain=chain,
    )
