"""What a replica under test must offer, and the plainest one: the replica in memory.

A run knows replicas only by this port. So the same run, record and checkers serve the shipped
replica in memory, replicas beside a database, and rival rules.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from syncproto.frontier import Frontier
from syncproto.identity import Dot, Origin, RowKey
from syncproto.memory import ConflictName, MemoryReplica
from syncproto.replica import Replica
from syncproto.row import Row, Value

Place = tuple[str, RowKey]
"""A row: its table and its key."""

NETWORK = b"network!"  # every site of a run belongs to it


class RefusedWrite(Exception):
    """The database refused what the application asked for; nothing was written."""


class Application(Protocol):
    """What an application does beside the node, in its own connection."""

    @property
    def tables(self) -> tuple[str, ...]: ...

    def transaction(self) -> AbstractContextManager[object]:
        """Writes within it are sealed together or not at all."""
        ...

    def write(self, table: str, key: RowKey, values: Mapping[str, Value]) -> None:
        """Insert the row, with all its columns, or update some columns of it."""
        ...

    def delete(self, table: str, key: RowKey) -> None: ...

    def read(self, table: str, key: RowKey) -> Mapping[str, Value] | None:
        """The row as the application sees it now; None if there is none."""
        ...


class Subject(Protocol):
    """A replica under test, its application, and a look inside for the checkers.

    What a look inside returns may change with the replica: it is for reading at once.

    Attributes:
        seal_each: Each transaction is to be sealed at once, because several of them in one
            journal need not leave the same stamps as they do in memory.
        shows_rows: What is shown is worked out from `rows` and nothing else, so sites that
            hold the same rows show the same.
    """

    @property
    def replica(self) -> Replica: ...

    @property
    def application(self) -> Application: ...

    @property
    def seal_each(self) -> bool: ...

    @property
    def shows_rows(self) -> bool: ...

    def rows(self) -> Mapping[Place, Row]:
        """All replicated rows, deleted ones too, without what is kept aside.

        A rival rule whose stamps say nothing gives every cell the same stamp.
        """
        ...

    def aside(self) -> Mapping[Place, Sequence[Row]]:
        """What is stamped in the future and waits."""
        ...

    def visible(self) -> Mapping[Place, Mapping[str, Value]]:
        """What the application's queries show."""
        ...

    def conflicts(self) -> Set[ConflictName]: ...

    def frontier(self) -> Frontier: ...

    def nonces(self) -> Mapping[Dot, int]:
        """The nonces that the site's ledger still remembers."""
        ...

    def restarted(self) -> "Subject":
        """The same after its process was killed and started again."""
        ...

    def backup(self) -> Callable[[], "Subject"]:
        """Copies the database as it is now; the result puts such a copy in place.

        What peers were heard to hold is not part of a copy: a node forgets it when it finds
        another database than it left.
        """
        ...


class MakeReplica(Protocol):
    """Makes the replica under test for one site of one run."""

    def __call__(
        self,
        site: Origin,
        tables: tuple[str, ...],
        clock: Callable[[], int],
        nonce: Callable[[], int],
        rows_max: int,
    ) -> Subject: ...


@dataclass
class MemoryApplication:
    """Writes to a replica in memory; sealing happens between transactions only."""

    replica: MemoryReplica

    @property
    def tables(self) -> tuple[str, ...]:
        return tuple(sorted(self.replica.frontier.scopes))

    def transaction(self) -> AbstractContextManager[object]:
        return nullcontext()

    def write(self, table: str, key: RowKey, values: Mapping[str, Value]) -> None:
        self.replica.write(table, key, values)

    def delete(self, table: str, key: RowKey) -> None:
        self.replica.delete(table, key)

    def read(self, table: str, key: RowKey) -> Mapping[str, Value] | None:
        return self.replica.read(table, key)


class MemorySubject:
    """A replica in memory: what it holds is durable by definition."""

    seal_each = False
    shows_rows = True

    def __init__(self, replica: MemoryReplica) -> None:
        self.replica = replica
        self.application = MemoryApplication(replica)

    def rows(self) -> Mapping[Place, Row]:
        return self.replica.rows

    def aside(self) -> Mapping[Place, Sequence[Row]]:
        return self.replica.aside

    def visible(self) -> Mapping[Place, Mapping[str, Value]]:
        return self.replica.visible()

    def conflicts(self) -> Set[ConflictName]:
        return self.replica.conflicts.keys()

    def frontier(self) -> Frontier:
        return self.replica.frontier

    def nonces(self) -> Mapping[Dot, int]:
        return self.replica.nonces

    def restarted(self) -> "MemorySubject":
        return MemorySubject(self.replica.copied())

    def backup(self) -> Callable[[], "MemorySubject"]:
        kept = self.replica.copied()
        kept.peers.clear()
        return lambda: MemorySubject(kept.copied())


def memory_subject(
    site: Origin,
    tables: tuple[str, ...],
    clock: Callable[[], int],
    nonce: Callable[[], int],
    rows_max: int,
) -> MemorySubject:
    """The factory of replicas in memory."""
    return MemorySubject(
        MemoryReplica(site, tables, network=NETWORK, wall_ms=clock, nonce=nonce, rows_max=rows_max)
    )
