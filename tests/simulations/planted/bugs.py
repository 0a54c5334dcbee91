"""Bugs planted in the protocol, each with the checker that finds it and a seed that shows it.

A bug names one place in one module: `old` stands there exactly once and is replaced by `new`.
Each is a mistake that somebody could make: a comparison the other way round, a line forgotten, a
number off by one, a rule of the design left out.
"""

from typing import NamedTuple


class Bug(NamedTuple):
    """One bug.

    Attributes:
        name: What goes wrong, in plain words.
        rule: What of the design it breaks.
        module: The file, from the root of the repository.
        old: Text that stands in it once.
        new: What stands there instead.
        checker: The checker that finds it: a name of `syncsim.checkers.CHECKERS`, or "alarm"
            where two sites find by their sums that they differ.
        seed: Of a world of the swarm in which it is found, one of the quickest.
    """

    name: str
    rule: str
    module: str
    old: str
    new: str
    checker: str
    seed: int


MERGE = "protocol/syncproto/merge.py"
ROW = "protocol/syncproto/row.py"
CLOCK = "protocol/syncproto/clock.py"
FRONTIER = "protocol/syncproto/frontier.py"
DELTA = "protocol/syncproto/delta.py"
SESSION = "protocol/syncproto/session.py"
MEMORY = "protocol/syncproto/memory.py"

GREATER_STAMP = "of two writes of a cell the greater stamp stays"
ON_RECORD = "what gives way is on record, with both authors (A13)"
SEEN_ONLY = "a delete undoes what its author had seen, and nothing else (B1)"
WINS = "where deletes win only who knew of one brings the row back"
ABOVE_SEEN = "a write is stamped above all that its author had seen in the row (A10)"
FRONTIER_TRUE = "a frontier claims what is here, and nothing else"
DIGEST = "two digests are equal exactly when the frontiers are"
DELTA_WHOLE = "a delta is every row that its base does not cover"
CLAIM_LAST = "the frontier moves when one sender's delta is complete (A1, A7)"
ON_ITS_BASE = "a claim is taken only by who covers its base (A9)"
FUTURE_ASIDE = "a stamp of the future is kept aside, passed on, and merged when it is due (A8)"
STAMPS_FINAL = "a stamp is final with its dot (A8)"
DOT_ONCE = "a number names one changeset (A11)"
FORK_AGAIN = "what a restored site cannot prove to be shared it writes again (A11)"
BOTH_HAVE = "an exchange is complete when each side has what the other had"
RESUMES = "a broken delta goes on where it stopped"
SUMS = "equal frontiers, equal sums (B11)"
REAL_CHANGES = "only what changed is a change"

BUGS = (
    # The merge
    Bug(
        "the last arrival wins", GREATER_STAMP, MERGE,
        "mine is None or mine.stamp < cell.stamp",
        "mine is None or mine.stamp != cell.stamp",
        "oracle", 39,
    ),
    Bug(
        "the first arrival wins", GREATER_STAMP, MERGE,
        "mine is None or mine.stamp < cell.stamp",
        "mine is None",
        "causality", 16,
    ),
    Bug(
        "a tie of readings is not broken", GREATER_STAMP, MERGE,
        "mine is None or mine.stamp < cell.stamp",
        "mine is None or mine.stamp.hlc < cell.stamp.hlc",
        "state", 18,
    ),
    Bug(
        "two values that differ are taken for equal", ON_RECORD, MERGE,
        "if not same_value(mine.value, cell.value):",
        "if isinstance(mine.value, bytes):",
        "lost-writes", 27,
    ),
    Bug(
        "the same question is asked twice: had they seen ours, had they seen theirs", ON_RECORD,
        MERGE,
        "not they_saw(mine) and not we_saw(yours)",
        "not they_saw(mine) and not they_saw(yours)",
        "lost-writes", 27,
    ),
    Bug(
        "two lives of one site have no conflicts", ON_RECORD, MERGE,
        "return mine.origin != yours.origin and",
        "return mine.origin.site != yours.origin.site and",
        "lost-writes", 27,
    ),
    Bug(
        "a delete that an edit undoes is on no record", ON_RECORD, MERGE,
        "if edits and not had_seen_delete(stamp):",
        "if edits and not stamp:",
        "lost-writes", 16,
    ),
    Bug(
        "an edit that a delete kills is on no record", ON_RECORD, MERGE,
        "if had_seen(stamp):", "if stamp:",
        "lost-writes", 26,
    ),
    Bug(
        "an edit brings back what a delete had won", WINS, ROW,
        "        if self.delete.wins:\n            return False\n", "",
        "oracle", 26,
    ),
    Bug(
        "who writes a row again does not take back that it was deleted", WINS, ROW,
        "if delete is not None and delete.wins:", "if delete is not None and not stamp:",
        "oracle", 4,
    ),
    Bug(
        "a delete that wins is one that does not after it met another", WINS, MERGE,
        "(one.wins | other.wins).intersection(stamps)", "(one.wins & other.wins)",
        "state", 26,
    ),
    Bug(
        "of two deletes the last arrival wins", SEEN_ONLY, MERGE,
        "        return one or other\n",
        "        return one or other\n    if one != other:\n        return other\n",
        "state", 5,
    ),
    Bug(
        "two deletes in one know only what the later had seen", SEEN_ONLY, MERGE,
        "union_seen(one.seen, other.seen))",
        "max(one, other, key=lambda delete: delete.stamp).seen)",
        "oracle", 103,
    ),
    Bug(
        "deletes that were deleted over stay", SEEN_ONLY, MERGE,
        "tuple(stamp for stamp in both.stamps if not both.saw(stamp))",
        "both.stamps",
        "state", 26,
    ),
    # Rows and deletes
    Bug(
        "stamps decide between an edit and a delete", SEEN_ONLY, ROW,
        "any(not self.delete.saw(cell.stamp) for",
        "any(cell.stamp > self.delete.stamp for",
        "oracle", 9,
    ),
    Bug(
        "a delete does not know the deletes before it", SEEN_ONLY, ROW,
        "seen: dict[Origin, int] = dict(row.delete.seen) if row.delete else {}",
        "seen: dict[Origin, int] = {}",
        "state", 26,
    ),
    Bug(
        "a delete has seen the latest write only", SEEN_ONLY, ROW,
        "for standing in row.stamps():\n        if standing.dot != stamp.dot",
        "for standing in [max(row.stamps())]:\n        if standing.dot != stamp.dot",
        "oracle", 41,
    ),
    Bug(
        "a delete forgets the edits of its own changeset", SEEN_ONLY, ROW,
        "(mine.seq, mine.hlc) > (stamp.seq, stamp.hlc)",
        "mine.seq > stamp.seq",
        "oracle", 5,
    ),
    Bug(
        "a union takes what it was given last", SEEN_ONLY, ROW,
        "        if seq > seen.get(origin, 0):\n            seen[origin] = seq\n    return seen",
        "        seen[origin] = seq\n    return seen",
        "state", 103,
    ),
    Bug(
        "an insert does not look at the delete before it", ABOVE_SEEN, ROW,
        "stamp.hlc for stamp in self.delete.stamps",
        "0 for stamp in self.delete.stamps",
        "causality", 41,
    ),
    Bug(
        "a write is raised above the oldest cell of its row", ABOVE_SEEN, ROW,
        "if stamp[0] > greatest:",
        "if not greatest or stamp[0] < greatest:",
        "causality", 16,
    ),
    # Clocks
    Bug(
        "a clock never learns from others", ABOVE_SEEN, CLOCK,
        "return max(hlc_at(wall_ms), seen_hlc + 1)",
        "return max(hlc_at(wall_ms), seen_hlc * 0)",
        "causality", 16,
    ),
    Bug(
        "the counter of a reading does not count", ABOVE_SEEN, CLOCK,
        "return max(hlc_at(wall_ms), seen_hlc + 1)",
        "return max(hlc_at(wall_ms), seen_hlc)",
        "causality", 16,
    ),
    # Frontiers
    Bug(
        "off by one in what a vector covers", FRONTIER_TRUE, FRONTIER,
        "return entry is not None and entry.seq >= stamp.seq",
        "return entry is not None and entry.seq + 1 >= stamp.seq",
        "state", 16,
    ),
    Bug(
        "a join takes what it was given last", FRONTIER_TRUE, FRONTIER,
        "(mine is None or mine[0] < entry[0])",
        "(mine is None or mine[0] != entry[0])",
        "log", 16,
    ),
    Bug(
        "a join leaves out whom it did not know", FRONTIER_TRUE, FRONTIER,
        "(mine is None or mine[0] < entry[0])",
        "(mine is not None and mine[0] < entry[0])",
        "oracle", 16,
    ),
    Bug(
        "a frontier includes another if it does so for one table", FRONTIER_TRUE, FRONTIER,
        "return all(mine.includes(theirs)",
        "return any(mine.includes(theirs)",
        "oracle", 15,
    ),
    Bug(
        "a digest knows who has written, not how much", DIGEST, FRONTIER,
        "_ENTRY.pack(origin.incarnation, *entry)",
        "_ENTRY.pack(origin.incarnation, 0, 0)",
        "log", 16,
    ),
    Bug(
        "a digest that is carried on keeps what it stood for before", DIGEST, FRONTIER,
        "- (entry_hash(origin, mine) if mine else 0)",
        "- 0",
        "bound", 16,
    ),
    # Deltas
    Bug(
        "off by one in what a peer lacks", DELTA_WHOLE, DELTA,
        "covered = entry is not None and entry[0] >= stamp[2]",
        "covered = entry is not None and entry[0] + 1 >= stamp[2]",
        "oracle", 16,
    ),
    Bug(
        "the first cell of a row decides for all", DELTA_WHOLE, DELTA,
        "        if cell[0] is not stamp:",
        "        if stamp is None:",
        "causality", 16,
    ),
    Bug(
        "a delete does not travel with cells", DELTA_WHOLE, DELTA,
        "if delete is not None and all(map(base.covers, delete.stamps)):",
        "if delete is not None and (lacking or all(map(base.covers, delete.stamps))):",
        "state", 16,
    ),
    Bug(
        "a delete travels only with cells", DELTA_WHOLE, DELTA,
        "    if not lacking and delete is None:",
        "    if not lacking:",
        "lost-writes", 48,
    ),
    Bug(
        "a delete of two sites travels only while both are new", DELTA_WHOLE, DELTA,
        "all(map(base.covers, delete.stamps))",
        "any(map(base.covers, delete.stamps))",
        "state", 26,
    ),
    Bug(
        "a delta starts at the last arrival instead of the first", DELTA_WHOLE, MEMORY,
        "start = lsn if start is None or lsn < start else start",
        "start = lsn if start is None or lsn > start else start",
        "oracle", 27,
    ),
    Bug(
        "the ledger is not asked for the last changeset", DELTA_WHOLE, MEMORY,
        "if seq < seqs[-1]:",
        "if seq + 1 < seqs[-1]:",
        "oracle", 16,
    ),
    Bug(
        "the ledger notes an arrival behind its rows", DELTA_WHOLE, MEMORY,
        "self._advance(joined, start)",
        "self._advance(joined, self.lsn + 1)",
        "oracle", 17,
    ),
    Bug(
        "the ledger notes a seal at its last row", DELTA_WHOLE, MEMORY,
        "self._advance(self.frontier.advanced(self.origin, self._entry(dot)), start)",
        "self._advance(self.frontier.advanced(self.origin, self._entry(dot)), self.lsn)",
        "oracle", 16,
    ),
    Bug(
        "a delta that goes on skips a row", RESUMES, MEMORY,
        "max(start, after + 1)",
        "max(start, after + (2 if after else 1))",
        "oracle", 16,
    ),
    Bug(
        "a chunk says it reached the row that did not fit", RESUMES, MEMORY,
        "upto, left = lsn - 1,",
        "upto, left = lsn,",
        "oracle", 16,
    ),
    Bug(
        "a delta that the callee sends begins anew with each chunk", RESUMES, SESSION,
        "after = cursor.lsn if cursor and cursor.sender == standing.origin else 0",
        "after = 0",
        "bound", 27,
    ),
    Bug(
        "a delta that the caller sends begins anew with each chunk", RESUMES, SESSION,
        "return [*effects, link.cut(self._peer_cursor_lsn)]",
        "return [*effects, link.cut(0)]",
        "bound", 16,
    ),
    Bug(
        "each chunk claims the sender's whole frontier", CLAIM_LAST, MEMORY,
        "if not left else None",
        "",
        "oracle", 16,
    ),
    Bug(
        "parts of a delta are applied as they come", CLAIM_LAST, MEMORY,
        "        if chunk.claim is None:\n",
        "        if chunk.claim is None:\n            self._apply([chunk], self.frontier)\n",
        "oracle", 44,
    ),
    Bug(
        "of a delta only the last chunk is applied", CLAIM_LAST, MEMORY,
        "self._apply(stage.chunks, chunk.claim)",
        "self._apply(stage.chunks[-1:], chunk.claim)",
        "oracle", 16,
    ),
    Bug(
        "any part of a delta goes onto what is staged", CLAIM_LAST, MEMORY,
        "or chunk.after not in (0, reached):",
        "and reached < 0:",
        "state", 15,
    ),
    Bug(
        "chunks of all senders go onto one stage", CLAIM_LAST, MEMORY,
        "sender = chunk.sender.site\n",
        "sender = self.origin.site\n",
        "bound", 27,
    ),
    Bug(
        "a claim takes the place of what was seen before", FRONTIER_TRUE, MEMORY,
        "joined = self.frontier.joined(claim)",
        "joined = claim",
        "log", 12,
    ),
    Bug(
        "a claim counts only for tables of which rows came", FRONTIER_TRUE, MEMORY,
        "joined = self.frontier.joined(claim)",
        "joined = self.frontier.joined(claim.within(t for c in chunks for t, _, _ in c.rows()))",
        "bound", 16,
    ),
    Bug(
        "a claim is taken without its base", ON_ITS_BASE, MEMORY,
        "if not self.frontier.includes(chunk.base) or chunk.after",
        "if chunk.after",
        "oracle", 15,
    ),
    # Conflicts
    Bug(
        "losers of a merge are on no record", ON_RECORD, MEMORY,
        "self._record(found, stamp)\n            joined",
        "joined",
        "lost-writes", 16,
    ),
    Bug(
        "of the losers of a delta only the first is on record", ON_RECORD, MEMORY,
        "for conflict in found:\n            if conflict.name not in self.conflicts:\n"
        "                self.conflicts",
        "for conflict in list(found)[:1]:\n            if conflict.name not in self.conflicts:\n"
        "                self.conflicts",
        "lost-writes", 27,
    ),
    Bug(
        "records of conflicts stay where they were made", ON_RECORD, MEMORY,
        "records.append(item)",
        "continue",
        "lost-writes", 27,
    ),
    Bug(
        "records of conflicts go one step and no further", ON_RECORD, MEMORY,
        "self.conflicts[record.conflict.name] = record\n"
        "                    self._touch(record.conflict.name)",
        "self.conflicts[record.conflict.name] = record",
        "state", 27,
    ),
    Bug(
        "the changeset of a conflict is not claimed", ON_RECORD, MEMORY,
        "            joined = joined.advanced(self.origin, self._entry(dot))\n",
        "",
        "state", 9,
    ),
    # Stamps of the future
    Bug(
        "a stamp of the future is thrown away", FUTURE_ASIDE, MEMORY,
        "self._put_aside(place, later)",
        "continue",
        "oracle", 16,
    ),
    Bug(
        "what is kept aside is not passed on", FUTURE_ASIDE, MEMORY,
        "for row in (self.rows.get(name, EMPTY), *self.aside.get(name, ())):",
        "for row in (self.rows.get(name, EMPTY),):",
        "oracle", 49,
    ),
    Bug(
        "conflicts with what is kept aside are not looked for", ON_RECORD, MEMORY,
        "for kept in self.aside.get(place, ()):",
        "for kept in ():",
        "lost-writes", 24,
    ),
    Bug(
        "what comes due comes in before the journal", ABOVE_SEEN, MEMORY,
        "        if self.journal:\n            self._seal_journal()\n        self._release_aside()",
        "        self._release_aside()\n        if self.journal:\n            self._seal_journal()",
        "oracle", 92,
    ),
    Bug(
        "what is kept aside never comes in", FUTURE_ASIDE, MEMORY,
        "if limit < self._aside_hlc:",
        "if limit < self._aside_hlc + self.hlc:",
        "state", 16,
    ),
    Bug(
        "what comes due is stamped anew", STAMPS_FINAL, MEMORY,
        "            for row in due:\n",
        "            for row in due:\n"
        "                now = stamped_after(0, wall_ms=self._wall_ms())\n"
        "                cells = {n: Cell(c.stamp._replace(hlc=now), c.value)\n"
        "                         for n, c in row.cells.items()}\n"
        "                row = Row(cells, row.delete)\n",
        "oracle", 16,
    ),
    Bug(
        "deletes that come due are forgotten", FUTURE_ASIDE, MEMORY,
        "            for row in due:\n",
        "            for row in due:\n                row = Row(row.cells)\n",
        "state", 5,
    ),
    # Numbers used twice: restored and copied databases
    Bug(
        "a restored site is not noticed", DOT_ONCE, SESSION,
        "if known is None or known.incarnation < standing.origin.incarnation:",
        "if known is None or known.incarnation <= standing.origin.incarnation:",
        "log", 31,
    ),
    Bug(
        "a peer that knows more of us than we do is no news", DOT_ONCE, SESSION,
        "    if known.seq > latest.seq:\n        return False",
        "    if known.seq > latest.seq:\n        return True",
        "bound", 31,
    ),
    Bug(
        "a longer branch is taken for plain news", DOT_ONCE, SESSION,
        "return nonces.get(known.seq, known.nonce) == known.nonce",
        "return True",
        "log", 146,
    ),
    Bug(
        "nobody brings the lineage that is asked for", DOT_ONCE, SESSION,
        "if not restored and turn.lineage != TELL_LINEAGE and _agrees",
        "if not restored and _agrees",
        "log", 146,
    ),
    Bug(
        "the common past is looked for by numbers alone", DOT_ONCE, SESSION,
        "nonces.get(seq) == nonce",
        "seq in nonces and nonce",
        "log", 24,
    ),
    Bug(
        "below a later incarnation everything counts as common past", DOT_ONCE, SESSION,
        "common = _common(turn.lineage, standing.nonces)",
        "common = standing.latest.seq",
        "log", 24,
    ),
    Bug(
        "a peer is known by its first incarnation", DOT_ONCE, MEMORY,
        "for origin in reversed(self._origins_of.get(site, ())):",
        "for origin in self._origins_of.get(site, ()):",
        "bound", 31,
    ),
    Bug(
        "a forked branch is not written again", FORK_AGAIN, MEMORY,
        "if self.frontier.seq(old) > common_seq:",
        "if self.frontier.seq(old) < common_seq:",
        "log", 24,
    ),
    Bug(
        "a forked branch keeps its old numbers", FORK_AGAIN, MEMORY,
        "return Stamp(candidate.hlc, *dot) if fork(candidate) else candidate",
        "return candidate",
        "oracle", 24,
    ),
    Bug(
        "a forked branch that is written again gets later readings", STAMPS_FINAL, MEMORY,
        "return Stamp(candidate.hlc, *dot) if fork(candidate) else candidate",
        "return Stamp(candidate.hlc + 1, *dot) if fork(candidate) else candidate",
        "oracle", 24,
    ),
    Bug(
        "the frontier goes on claiming the other branch", FORK_AGAIN, MEMORY,
        "kept = forgotten(self.frontier, old, common_seq, nonces.get(common_seq))",
        "kept = self.frontier",
        "state", 24,
    ),
    Bug(
        "off by one in what is forgotten of a branch", FORK_AGAIN, MEMORY,
        "if entry is not None and entry.seq > seq:",
        "if entry is not None and entry.seq > seq + 1:",
        "state", 24,
    ),
    Bug(
        "the nonces of a forked branch are kept", DOT_ONCE, MEMORY,
        "            del nonces[seq]\n        kept",
        "            pass\n        kept",
        "log", 24,
    ),
    # Sessions
    Bug(
        "an exchange is complete when the caller has all", BOTH_HAVE, SESSION,
        "if pushed and pulled and not answer.more:",
        "if pulled and not answer.more:",
        "bound", 16,
    ),
    Bug(
        "an exchange is complete when the callee has all", BOTH_HAVE, SESSION,
        "pulled = standing.frontier.includes(wanted.within(standing.frontier.scopes))",
        "pulled = True",
        "bound", 15,
    ),
    # Writes and sums
    Bug(
        "a write stamps every column that it names", REAL_CHANGES, MEMORY,
        "changed = {n: v for n, v in values.items() if n not in now or now[n] != v}",
        "changed = dict(values)",
        "oracle", 16,
    ),
    Bug(
        "a sum keeps what a row was before", SUMS, MEMORY,
        "change = sum_of(key, row) - (sum_of(key, old) if old is not None else 0)",
        "change = sum_of(key, row) - (sum_of(key, row) if old is not None else 0)",
        "alarm", 16,
    ),
    Bug(
        "sums are compared while something is kept aside", SUMS, MEMORY,
        "settled=not self.aside,",
        "settled=True,",
        "alarm", 16,
    ),
)  # fmt: skip
