"""Every error that a peer, an operator or a caller may meet, sorted by whose turn it is.

A broken invariant of our own is no error here: it is an `assert`, and no layer catches it.
"""


class SyncError(Exception):
    """What syncnode raises on purpose: the text says what happened, to what, and what to do."""


class PeerError(SyncError):
    """The peer's operator must act; this exchange ends, others go on."""


class MalformedMessageError(PeerError):
    """Bytes that are no message of this protocol."""


class LimitExceededError(MalformedMessageError):
    """A message that asks for more than a limit allows; refused before memory is taken."""


class UnexpectedMessageError(PeerError):
    """A well-formed message that does not belong here, such as one of another network."""


class IncompatiblePeerError(PeerError):
    """The peer speaks a version of the protocol that this node does not."""


class ForkError(PeerError):
    """One sequence number names two changesets: a database was restored or cloned."""


class TransportError(SyncError):
    """The link failed; trying again is harmless.

    Attributes:
        definite: The peer surely did not act on the request.
    """

    def __init__(self, text: str, *, definite: bool = False) -> None:
        super().__init__(text)
        self.definite = definite


class PeerUnreachableError(TransportError):
    """No connection could be made, so the peer did not act."""

    def __init__(self, text: str) -> None:
        super().__init__(text, definite=True)


class ExchangeInterruptedError(TransportError):
    """The link broke after the request had left; the peer may have acted."""


class RefusedError(TransportError):
    """The peer answered, and said no.

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, text: str, *, status: int) -> None:
        super().__init__(text, definite=True)
        self.status = status


class StoreError(SyncError):
    """The database's operator must act, unless the error is transient.

    Attributes:
        transient: The same work may succeed when it is tried again.
    """

    def __init__(self, text: str, *, transient: bool = False) -> None:
        super().__init__(text)
        self.transient = transient


class ConfigError(SyncError):
    """Our operator must act: the text names the setting and a value that would do."""


class UsageError(ConfigError):
    """What was typed on the command line cannot be meant, whatever the site looks like."""
