"""What the world asks of a site, whatever protocol it runs: the port for merge rules.

A rule is a way to keep databases in step: the shipped protocol (`rules/ours.py`), or a rival.
It makes `Member`s. The world hands them what people write, carries their messages over the
network, and asks at the end what they hold; of the messages it looks at the size alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

from syncproto.identity import RowKey
from syncproto.row import Value
from syncsim.events import Transaction

Place = tuple[str, RowKey]


@dataclass(frozen=True, slots=True)
class Message:
    """What one site says to another.

    Attributes:
        body: For the two of them.
        fixed_bytes: Of the encoded message, without row data.
        row_bytes: Of its row data; grows with the work that is simulated.
        rows: Rows in it.
    """

    body: Any
    fixed_bytes: int
    row_bytes: int = 0
    rows: int = 0


class Conversation(Protocol):
    """The caller's side of one exchange.

    Attributes:
        complete: It came to its end, and each side has what the other had when it began.
        alarms: Tables of which both say that they hold the same, and do not.
    """

    complete: bool
    alarms: tuple[str, ...]

    def start(self) -> Message | None: ...

    def receive(self, answer: Message) -> Message | None:
        """What to say next; None when it is over."""
        ...


class Member(Protocol):
    """One site under some rule."""

    @property
    def version(self) -> int:
        """Another number whenever what the site would say may be another."""
        ...

    @property
    def idle(self) -> bool:
        """Nothing is under way: it says the same until `version` changes, whatever the time."""
        ...

    @property
    def conflicts(self) -> int:
        """Pairs of values on record."""
        ...

    @property
    def seen(self) -> int:
        """The writes that are here, or were overwritten by what is: a bit for each number."""
        ...

    @property
    def incarnation(self) -> int:
        """How often the site found itself restored or cloned; 1 for rules that cannot."""
        ...

    def parked(self) -> int:
        """Rows that are here and are not shown for want of another row."""
        ...

    def execute(self, transaction: Transaction) -> int:
        """People commit; how many rows that changed."""
        ...

    def call(self, peer: int) -> Conversation:
        """Begin an exchange with the site of that index."""
        ...

    def answer(self, peer: int, message: Message) -> Message:
        """What to say to a caller.

        Raises:
            SyncError: The message does not belong here; nothing was changed.
        """
        ...

    def holds(self) -> Mapping[str, object]:
        """For each table what two sites share exactly when they hold the same of it."""
        ...

    def latest_ms(self) -> int:
        """The latest time of which anything here bears the stamp."""
        ...

    def visible(self) -> Mapping[Place, Mapping[str, Value]]:
        """The rows as people see them."""
        ...

    def restarted(self) -> None:
        """The process was killed and is started again."""
        ...

    def backup(self) -> Callable[[bool], None]:
        """Copy the database as it is now.

        What is returned puts that copy in its place; called with False when the identity
        anchor beside the database went back, too.
        """
        ...

    def lacks_own(self, other: Self) -> bool:
        """Whether `other` could tell this site that it was put back to an older state."""
        ...

    def twin(self, number: int) -> Self:
        """A copy on a second machine, as the member of that index.

        Raises:
            Refused: The rule has no answer to that.
        """
        ...


class Refused(Exception):
    """A rule cannot do what a misfortune asks for."""
