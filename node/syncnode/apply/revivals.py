"""Which deletes give way to rows that refer to what they deleted: that goes on record.

A deleted row comes back, or stays, while a living row refers to it (rule A4). Where the deleter
did not know of that row somebody's wish is not done, and may not be forgotten in silence. What
counts is decided in the protocol (`merge.outlived`); here the rows are found that it is about:
from a row that arrives upwards to the deleted ones above it, and from a delete that arrives
downwards to the living ones below.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from syncnode.apply.writing import Wanted, Writer
from syncnode.store.hidden import DEAD, HELD
from syncnode.store.table import Key, Table
from syncproto.delta import Block
from syncproto.frontier import Frontier
from syncproto.identity import RowKey
from syncproto.merge import outlived
from syncproto.row import Reference, Row

REFERRERS_MAX = 1_000  # of one deleted row looked at; the latest write of them is named

Node = tuple[int, RowKey]


class Revivals(Writer):
    """Finds deletes that give way; see `Writer` for what it is made of."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._claim: Frontier | None = None
        self._referring: set[Node] = set()  # arrived, and refer to rows that are deleted
        self._fallen: set[Node] = set()  # deleted by a delete that has arrived

    # What arrives

    def _note_block(self, table: Table, block: Block) -> None:
        """Remember which new rows refer to deleted ones."""
        if self._parents_hidden(table):
            found = self._refer_to_dead(table, block.columns, block.values)
            self._referring.update((table.number, block.keys[index]) for index in found)

    def _note_merged(self, table: Table, rows: Iterable[Wanted], arrived: Iterable[RowKey]) -> None:
        """Remember which of the rows that stood here matter now."""
        keys = set(arrived)
        living = [wanted for wanted in rows if wanted.row.alive and wanted.key in keys]
        if living and self._parents_hidden(table):
            lines = [self._line(table, wanted.row) for wanted in living]
            found = self._refer_to_dead(table, table.columns, lines)
            self._referring.update((table.number, living[index].key) for index in found)
        mine = self._sidecar.frontier.vector(table.name)
        for wanted in rows:
            delete = wanted.row.delete
            if delete is None or wanted.row.alive or wanted.key not in keys:
                continue
            if not all(map(mine.covers, delete.stamps)):
                self._fallen.add((table.number, wanted.key))

    def _parents_held(self, table: Table) -> bool:
        """Whether a row that this table refers to may be deleted and held."""
        return any(self._hidden.some_held(parent.number) for parent in self._parents(table))

    def _parents_hidden(self, table: Table) -> bool:
        return any(self._hidden.some(parent.number) for parent in self._parents(table))

    def _parents(self, table: Table) -> Iterator[Table]:
        for target in set(table.references.values()):
            yield self._by_name[target]
        for key in self._referrers.by_value(table):
            if key.table in self._by_name:
                yield self._by_name[key.table]

    # Upwards

    def _refer_to_dead(
        self, table: Table, columns: Sequence[str], lines: Sequence[Sequence[Any]]
    ) -> set[int]:
        """Indices of the rows, with values as they travel, that refer to deleted ones."""
        asked: dict[int, dict[RowKey, list[int]]] = {}
        for parent, index, key in self._named_parents(table, columns, lines):
            asked.setdefault(parent.number, {}).setdefault(key, []).append(index)
        return {
            index
            for number, indices in asked.items()
            for key, hidden in self._hidden.get(number, sorted(indices)).items()
            if hidden.place in (DEAD, HELD)
            for index in indices[key]
        }

    def _named_parents(
        self, table: Table, columns: Sequence[str], lines: Sequence[Sequence[Any]]
    ) -> Iterator[tuple[Table, int, RowKey]]:
        """The parents of rows by their keys, as far as some may be hidden: table, index, key.

        A parent that is named by another unique column has no key that could be told from that.
        """
        for name, target in table.references.items():
            parent = self._by_name[target]
            if name in columns and self._hidden.some(parent.number):
                place = list(columns).index(name)
                for index, line in enumerate(lines):
                    if isinstance(line[place], bytes):
                        yield parent, index, RowKey(line[place])
        for key in self._referrers.by_value(table):
            by_value = self._by_name.get(key.table)
            if (
                by_value is None
                or set(key.target_columns) != set(by_value.plan.key_columns)
                or not all(name in columns for name in key.columns)
                or not self._hidden.some(by_value.number)
            ):
                continue
            places = [list(columns).index(name) for name in key.columns]
            for index, line in enumerate(lines):
                values = [line[place] for place in places]
                if None not in values:
                    yield by_value, index, by_value.key_by(key.target_columns, values)

    def _line(self, table: Table, row: Row) -> list[Any]:
        values = [row.cells[name].value if name in row.cells else None for name in table.columns]
        return [value.key if isinstance(value, Reference) else value for value in values]

    def _dead_above(self, table: Table, row: Row) -> set[Node]:
        """The deleted rows that a row refers to, also by way of each other."""
        found: set[Node] = set()
        todo = [(table, row)]
        while todo:
            below, state = todo.pop()
            line = self._line(below, state)
            for parent, _, key in self._named_parents(below, below.columns, [line]):
                node = (parent.number, key)
                if node in found:
                    continue
                above = self._ours(parent, [key])[key].row
                if above.delete is not None and not above.alive:
                    found.add(node)
                    todo.append((parent, above))
        return found

    # Downwards

    def _living_below(self, table: Table, pk: Key) -> Iterator[tuple[Reference, Row]]:
        """The living rows that refer to a deleted one, also by way of other deleted ones."""
        todo, seen = [(table.number, pk)], {(table.number, pk)}
        while todo:
            number, above = todo.pop()
            for node in self._referrers.named(self._tx, self._tables[number], above, REFERRERS_MAX):
                if node in seen or not node[1]:
                    continue
                seen.add(node)
                child = self._tables[node[0]]
                for stored in child.by_pk(self._tx, [node[1]], self._origins):
                    if stored.clock is None:
                        continue
                    row = self._ours(child, [stored.clock.key])[stored.clock.key].row
                    if row.alive:
                        yield Reference(child.name, stored.clock.key), row
                    else:
                        todo.append(node)

    # What goes on record

    def _record_outlived(self) -> None:
        claim = self._claim
        if claim is None:
            return
        referrers: dict[Node, list[tuple[Reference, Row]]] = {}
        for number, key in sorted(self._referring):
            table = self._tables[number]
            row = self._ours(table, [key])[key].row
            if row.alive:
                for node in self._dead_above(table, row):
                    referrers.setdefault(node, []).append((Reference(table.name, key), row))
        for number, key in sorted(self._fallen):
            wanted = self._ours(self._tables[number], [key])[key]
            if wanted.shown is not None and not wanted.row.alive:
                below = self._living_below(self._tables[number], wanted.shown.pk)
                referrers.setdefault((number, key), []).extend(below)
        mine = self._sidecar.frontier
        for (number, key), found in referrers.items():
            table = self._tables[number]
            self._conflicts += outlived(
                table.name,
                key,
                self._ours(table, [key])[key].row,
                found,
                we_saw=lambda scope: mine.vector(scope).covers,
                they_saw=lambda scope: claim.vector(scope).covers,
            )
        self._referring.clear()
        self._fallen.clear()
