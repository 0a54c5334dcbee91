"""What the members of all rival rules have in common."""

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Protocol, Self, TypeVar

from syncproto.row import Value
from syncsim.history import History
from syncsim.member import Member, Place, Refused
from syncsim.rules.port import Setting
from syncsim.rules.rows import Ledger, Losses, Rows


class Database(Protocol):
    """All that a site remembers, in one place: a crash costs nothing, and a backup has it all.

    Attributes:
        rows: What people see.
    """

    rows: Rows

    def copied(self) -> Self: ...


D = TypeVar("D", bound=Database)


class Rival:
    """The part of `port.Rule` that all of them share.

    A rival has no identity beside its database: that it was restored from a backup it cannot
    notice, nor can a peer tell it, whether an anchor was kept or not.
    """

    anchored = False

    def __init__(self) -> None:
        self.ledger = Ledger()

    def losses(self, members: Sequence[Member], history: History) -> Losses:
        """What gave way in silence, as `Ledger.lost` counts it."""
        rows = [member.rows for member in members if isinstance(member, RivalMember)]
        return self.ledger.lost(history, rows)

    def lost_updates(self, members: Sequence[Member], history: History) -> int:
        losses = self.losses(members, history)
        return losses.everywhere + losses.in_part


class RivalMember(Generic[D]):
    """The part of `member.Member` that all of them share."""

    def __init__(self, number: int, setting: Setting, database: D) -> None:
        self.number = number
        self.database = database
        self._setting = setting
        self._version = 0

    @property
    def rows(self) -> Rows:
        return self.database.rows

    @property
    def waits(self) -> bool:
        """Something is under way that may change what a site shows."""
        return False

    # What the world asks

    @property
    def version(self) -> int:
        return self._version

    @property
    def idle(self) -> bool:
        return True

    @property
    def conflicts(self) -> int:
        return 0

    @property
    def seen(self) -> int:
        return self.rows.seen

    @property
    def incarnation(self) -> int:
        return 1

    def parked(self) -> int:
        return 0

    def holds(self) -> Mapping[str, object]:
        """What the tables show; while something is under way, no other site holds the same."""
        waiting = self.number if self.waits else None
        return {table: (total, waiting) for table, total in self.rows.sums.items()}

    def latest_ms(self) -> int:
        """No rival waits for a stamp of the future."""
        return 0

    def visible(self) -> Mapping[Place, Mapping[str, Value]]:
        return self.rows.visible()

    # Misfortunes

    def restarted(self) -> None:
        """What the process knew was in the database as well."""

    def backup(self) -> Callable[[bool], None]:
        kept = self.database.copied()

        def restore(_anchor: bool) -> None:
            self.put_back(kept)

        return restore

    def put_back(self, database: D) -> None:
        self.database = database
        self._version += 1

    def lacks_own(self, _other: Self) -> bool:
        return False

    def twin(self, _number: int) -> Self:
        raise Refused("a second machine with the same identity is unknown to this rule")
