"""Bugs planted in the protocol."""

from typing import NamedTuple


class Bug(NamedTuple):
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
SUMS = "protocol/syncproto/sums.py"
MEMORY = "protocol/syncproto/memory.py"


def B(name, module, old, new, rule="", checker="", seed=0):
    return Bug(name, rule, module, old, new, checker, seed)


BUGS = (
    B("m1 last arrival wins", MERGE, "mine is None or mine.stamp < cell.stamp", "mine is None or mine.stamp != cell.stamp"),
    B("m2 tie not broken", MERGE, "mine is None or mine.stamp < cell.stamp", "mine is None or mine.stamp.hlc < cell.stamp.hlc"),
    B("m2b first arrival wins", MERGE, "if mine is None or mine.stamp < cell.stamp:", "if mine is None:"),
    B("m3 conflict record: sender had seen", MERGE, "and not they_saw(mine) and", "and"),
    B("m4 equal-kind conflict missed always", MERGE, "        if not same_value(mine.value, cell.value):", "        if False:"),
    B("m5 edit undoes delete unrecorded", MERGE, "            if edits and not had_seen_delete(stamp):", "            if False:"),
    B("m6 only latest delete undone is named", MERGE, "for stamp in delete.stamps:", "for stamp in delete.stamps[-1:]:"),
    B("m7 merged delete keeps latest seen", MERGE, "union_seen(one.seen, other.seen))", "max(one, other, key=lambda d: d.stamp).seen)"),
    B("m8 last delete wins", MERGE, "        return one or other\n    both", "        return one or other\n    if one != other:\n        return other\n    both"),
    B("m9 deletes deleted over stay", MERGE, "tuple(stamp for stamp in both.stamps if not both.saw(stamp))", "both.stamps"),
    B("m10 origin.site", MERGE, "return mine.origin != yours.origin and", "return mine.origin.site != yours.origin.site and"),
    B("m11 newer-than-delete check per any", MERGE, "        if _newer_than_delete(deleted, delete):\n            continue\n", ""),
    B("m12 conflicts missed when we saw sender", MERGE, "not they_saw(mine) and not we_saw(yours)", "not they_saw(mine) and not they_saw(yours)"),
    B("r1 stamps decide alive", ROW, "return any(not self.delete.saw(cell.stamp) for cell in self.cells.values())", "return any(cell.stamp > self.delete.stamp for cell in self.cells.values())"),
    B("r2 delete forgets earlier delete's seen", ROW, "seen: dict[Origin, int] = dict(row.delete.seen) if row.delete else {}", "seen: dict[Origin, int] = {}"),
    B("r3 delete sees only the latest cell", ROW, "    for standing in row.stamps():\n        if standing.dot != stamp.dot", "    for standing in [max(row.stamps())]:\n        if standing.dot != stamp.dot"),
    B("r4 delete in same changeset", ROW, "(mine.seq, mine.hlc) > (stamp.seq, stamp.hlc)", "mine.seq > stamp.seq"),
    B("r5 union takes last", ROW, "        if seq > seen.get(origin, 0):\n            seen[origin] = seq\n    return seen", "        seen[origin] = seq\n    return seen"),
    B("r6 hlc ignores deletes", ROW, "            greatest = max(greatest, *[stamp.hlc for stamp in self.delete.stamps])\n", "            pass\n"),
    B("r7 hlc least of cells", ROW, "                if stamp[0] > greatest:", "                if not greatest or stamp[0] < greatest:"),
    B("r8 delete sees whole origin", ROW, "        return self.seen.get(stamp.origin, 0) >= stamp.seq or any(", "        return stamp.origin in self.seen or any("),
    B("c1 HLC never learns", CLOCK, "return max(hlc_at(wall_ms), seen_hlc + 1)", "return hlc_at(wall_ms) + 0 * seen_hlc"),
    B("c2 counter not raised", CLOCK, "return max(hlc_at(wall_ms), seen_hlc + 1)", "return max(hlc_at(wall_ms), seen_hlc)"),
    B("c3 counter masked", CLOCK, "return max(hlc_at(wall_ms), seen_hlc + 1)", "return max(hlc_at(wall_ms), seen_hlc >> COUNTER_BITS << COUNTER_BITS)"),
    B("f1 covers off by one", FRONTIER, "return entry is not None and entry.seq >= stamp.seq", "return entry is not None and entry.seq + 1 >= stamp.seq"),
    B("f1b covers strict", FRONTIER, "return entry is not None and entry.seq >= stamp.seq", "return entry is not None and entry.seq > stamp.seq"),
    B("f2 join takes what is given last", FRONTIER, "if mine is not entry and (mine is None or mine[0] < entry[0]):", "if mine is not entry and (mine is None or mine[0] != entry[0]):"),
    B("f3 digest ignores nonce", FRONTIER, "hasher.update(_ENTRY.pack(origin.incarnation, *entry))", "hasher.update(_ENTRY.pack(origin.incarnation, entry.seq, 0))"),
    B("f4 digest ignores seq", FRONTIER, "hasher.update(_ENTRY.pack(origin.incarnation, *entry))", "hasher.update(_ENTRY.pack(origin.incarnation, 0, 0))"),
    B("f5 digest ignores incarnation", FRONTIER, "hasher.update(_ENTRY.pack(origin.incarnation, *entry))", "hasher.update(_ENTRY.pack(0, *entry))"),
    B("f6 digest carried over wrongly", FRONTIER, "- (entry_hash(origin, mine) if mine else 0)", ""),
    B("f7 scopes not named in digest", FRONTIER, 'hasher.update(len(encoded).to_bytes(4, "big") + encoded)', 'hasher.update(len(encoded).to_bytes(4, "big"))'),
    B("f8 frontier takes scopes not kept", FRONTIER, "in self.vectors.items():\n            theirs", "in {**other.vectors, **self.vectors}.items():\n            theirs"),
    B("f9 within ignored", FRONTIER, "        if self.vectors.keys() <= scopes:\n            return self\n", "        if scopes:\n            return self\n"),
    B("f10 includes any", FRONTIER, "return all(mine.includes(theirs)", "return any(mine.includes(theirs)"),
    B("f11 join misses new origins", FRONTIER, "(mine is None or mine[0] < entry[0])", "(mine is not None and mine[0] < entry[0])"),
    B("f12 join mixes scopes", FRONTIER, "            pair = (id(vector), id(theirs))\n            if pair not in shared:", "            pair = (id(vector), 0)\n            if pair not in shared:"),
    B("d1 uncovered off by one", DELTA, "covered = entry is not None and entry[0] >= stamp[2]", "covered = entry is not None and entry[0] + 1 >= stamp[2]"),
    B("d2 first cell decides", DELTA, "        if cell[0] is not stamp:", "        if stamp is None:"),
    B("d3 deletes do not travel with cells", DELTA, "if delete is not None and all(map(base.covers, delete.stamps)):", "if delete is not None and (lacking or all(map(base.covers, delete.stamps))):"),
    B("d4 delete any", DELTA, "all(map(base.covers, delete.stamps))", "any(map(base.covers, delete.stamps))"),
    B("d5 delete without cells does not travel", DELTA, "    if not lacking and delete is None:", "    if not lacking:"),
    B("d6 only latest stamp", DELTA, "all(map(base.covers, delete.stamps))", "base.covers(delete.stamp)"),
    B("l1 ledger start at last arrival", MEMORY, "start = lsn if start is None or lsn < start else start", "start = lsn if start is None or lsn > start else start"),
    B("l2 ledger off by one", MEMORY, "                if seq < seqs[-1]:", "                if seq + 1 < seqs[-1]:"),
    B("l3 ledger line after", MEMORY, "bisect_right(seqs, seq) :])", "min(bisect_right(seqs, seq) + 1, len(seqs) - 1) :])"),
    B("l4 ledger order after fork", MEMORY, "lsn = min(self._lsns[origin][bisect_right(seqs, seq) :])", "lsn = self._lsns[origin][bisect_right(seqs, seq)]"),
    B("l5 ledger appended", MEMORY, "place = bisect_left(seqs, dot.seq)", "place = len(seqs)"),
    B("k1 after + 2", MEMORY, "max(start, after + 1)", "max(start, after + 2)"),
    B("k1b after + 2 only when after", MEMORY, "max(start, after + 1)", "max(start, after + (2 if after else 1))"),
    B("k2 upto off by one", MEMORY, "upto, left = lsn - 1, len(self._order) - place", "upto, left = lsn, len(self._order) - place"),
    B("k3 claims before end", MEMORY, "claim=self.frontier.within(base.scopes) if not left else None", "claim=self.frontier.within(base.scopes)"),
    B("k4 base not checked", MEMORY, "if not self.frontier.includes(chunk.base) or chunk.after", "if chunk.after"),
    B("k5 late part", MEMORY, "chunk.after not in (0, reached)", "chunk.after > reached"),
    B("k5b any part", MEMORY, "if not self.frontier.includes(chunk.base) or chunk.after not in (0, reached):", "if not self.frontier.includes(chunk.base):"),
    B("k6 other life same stage", MEMORY, "if stage is not None and stage.cursor.sender != chunk.sender:", "if False:"),
    B("k7 records not carried", MEMORY, "                    records.append(item)", "                    pass"),
    B("k8 aside not carried", MEMORY, "for row in (self.rows.get(name, EMPTY), *self.aside.get(name, ())):", "for row in (self.rows.get(name, EMPTY),):"),
    B("k9 after > lsn unguarded", MEMORY, "        if after > self.lsn:\n            after = 0\n", ""),
    B("k10 stage begun anew keeps old chunks", MEMORY, "if stage is None or chunk.after == 0:", "if stage is None:"),
    B("k11 only last chunk applied", MEMORY, "self._apply(stage.chunks, chunk.claim)", "self._apply(stage.chunks[-1:], chunk.claim)"),
    B("k12 shared stage", MEMORY, "        sender = chunk.sender.site\n", "        sender = self.origin.site\n"),
    B("a1 apply as come", MEMORY, "        if chunk.claim is None:\n            return Receipt(taken=True, applied=False)", "        if chunk.claim is None:\n            self._apply([chunk], self.frontier)\n            return Receipt(taken=True, applied=False)"),
    B("a2 losers unrecorded", MEMORY, "self._record(found, stamp)\n            joined", "joined"),
    B("a3 record not touched", MEMORY, "                self.conflicts[conflict.name] = RecordedConflict(conflict, stamp)\n                self._touch(conflict.name)", "                self.conflicts[conflict.name] = RecordedConflict(conflict, stamp)"),
    B("a4 received records not passed on", MEMORY, "                    self.conflicts[record.conflict.name] = record\n                    self._touch(record.conflict.name)", "                    self.conflicts[record.conflict.name] = record"),
    B("a5 future at once", MEMORY, "now, later = (row, None) if hlc <= limit else parted(row, limit)", "now, later = row, None"),
    B("a6 future thrown away", MEMORY, "                if later is not None:\n                    self._put_aside(place, later)\n", ""),
    B("a7 aside conflicts not looked", MEMORY, "for kept in self.aside.get(place, ()):", "for kept in ():"),
    B("a8 aside before journal", MEMORY, "        if self.journal:\n            self._seal_journal()\n        self._release_aside()", "        self._release_aside()\n        if self.journal:\n            self._seal_journal()"),
    B("a9 aside never released", MEMORY, "        if limit < self._aside_hlc:\n            return", "        if limit < self._aside_hlc or self.hlc:\n            return"),
    B("a10 aside all due", MEMORY, "            due = [row for row in kept if row.hlc <= limit]\n", "            due = list(kept)\n"),
    B("a11 aside restamped", MEMORY, "            for row in due:\n                self._merge(place, row)", "            for row in due:\n                now = stamped_after(0, wall_ms=self._wall_ms())\n                cells = {n: Cell(c.stamp._replace(hlc=now), c.value) for n, c in row.cells.items()}\n                self._merge(place, Row(cells, row.delete))"),
    B("a12 aside released w/o delete", MEMORY, "            for row in due:\n                self._merge(place, row)", "            for row in due:\n                self._merge(place, Row(row.cells))"),
    B("a13 tear changeset", MEMORY, "    ahead = {stamp.dot for stamp in row.stamps() if stamp.hlc > limit}\n    now = {n: c for n, c in row.cells.items() if c.stamp.dot not in ahead}\n    later = {n: c for n, c in row.cells.items() if c.stamp.dot in ahead}\n    waits = row.delete is not None and any(stamp.dot in ahead for stamp in row.delete.stamps)", "    now = {n: c for n, c in row.cells.items() if c.stamp.hlc <= limit}\n    later = {n: c for n, c in row.cells.items() if c.stamp.hlc > limit}\n    waits = row.delete is not None and row.delete.stamp.hlc > limit"),
    B("a14 future delete at once", MEMORY, "    waits = row.delete is not None and any(stamp.dot in ahead for stamp in row.delete.stamps)", "    waits = False"),
    B("a15 ledger start after", MEMORY, "self._advance(joined, start)", "self._advance(joined, self.lsn + 1)"),
    B("a16 seal ledger start after", MEMORY, "self._advance(self.frontier.advanced(self.origin, self._entry(dot)), start)", "self._advance(self.frontier.advanced(self.origin, self._entry(dot)), self.lsn)"),
    B("a17 record's dot not claimed", MEMORY, "            joined = joined.advanced(self.origin, self._entry(dot))\n", ""),
    B("a18 saws swapped", MEMORY, "yield from lost(*place, ours, row, we_saw=mine.covers, they_saw=theirs.covers)", "yield from lost(*place, ours, row, we_saw=theirs.covers, they_saw=mine.covers)"),
    B("a19 first loser only", MEMORY, "        for conflict in found:\n            if conflict.name not in self.conflicts:\n                self.conflicts[conflict.name] = Rec", "        for conflict in list(found)[:1]:\n            if conflict.name not in self.conflicts:\n                self.conflicts[conflict.name] = Rec"),
    B("a20 claim not joined but taken", MEMORY, "joined = self.frontier.joined(claim)", "joined = claim"),
    B("a21 claim taken only for rows' tables", MEMORY, "        joined = self.frontier.joined(claim)\n", "        tables = {block.table for chunk in chunks for block in chunk.blocks}\n        joined = self.frontier.joined(claim.within(tables))\n"),
    B("a22 write all columns", MEMORY, "        changed = {n: v for n, v in values.items() if n not in now or now[n] != v}\n        if changed:\n            self.journal", "        changed = dict(values)\n        if changed:\n            self.journal"),
    B("a23 seal: only last line of a row", MEMORY, "                row = merged(row, part)\n            found", "                row = merged(row, part) if row.delete is None else Row(part.cells, row.delete)\n            found"),
    B("a24 sum not subtracted", MEMORY, "change = sum_of(key, row) - (sum_of(key, old) if old is not None else 0)", "change = sum_of(key, row)"),
    B("a25 settled always", MEMORY, "settled=not self.aside,", "settled=True,"),
    B("a26 hlc not remembered", MEMORY, "            self.hlc = hlc\n", "            pass\n"),
    B("a27 nonce redrawn", MEMORY, "            self._remember(dot, entry.nonce)\n", "            self._remember(dot, self._nonce())\n"),
    B("w1 own not written again", MEMORY, "        if self.frontier.seq(old) > common_seq:", "        if False:"),
    B("w2 frontier keeps fork", MEMORY, "kept = forgotten(self.frontier, old, common_seq, nonces.get(common_seq))", "kept = self.frontier"),
    B("w3 branch keeps numbers", MEMORY, "return Stamp(candidate.hlc, *dot) if fork(candidate) else candidate", "return candidate"),
    B("w4 delete forgets branch", MEMORY, "        stamps.add(Stamp(seen_hlc + 1, *dot))", "        pass"),
    B("w5 readings raised", MEMORY, "return Stamp(candidate.hlc, *dot) if fork(candidate) else candidate", "return Stamp(candidate.hlc + 1, *dot) if fork(candidate) else candidate"),
    B("w6 nonces kept", MEMORY, "            del nonces[seq]\n        kept", "            nonces[seq] = nonces[seq]\n        kept"),
    B("w7 records keep old dot", MEMORY, "                self.conflicts[name] = record._replace(stamp=stamp)\n", "                self.conflicts[name] = record\n"),
    B("w8 incarnation used again", MEMORY, "Origin(old.site, max(incarnation, old.incarnation + 1))", "Origin(old.site, old.incarnation + 1)"),
    B("w9 rewritten rows not touched by ledger", MEMORY, "self._advance(kept.advanced(self.origin, self._entry(dot)), start)", "self._advance(kept.advanced(self.origin, self._entry(dot)), self.lsn + 1)"),
    B("w10 seen of old kept", MEMORY, "    seen = {origin: seq for origin, seq in delete.seen.items() if origin != old}\n", "    seen = dict(delete.seen)\n"),
    B("w11 old known", MEMORY, "        for origin in reversed(self._origins_of.get(site, ())):", "        for origin in self._origins_of.get(site, ()):"),
    B("w14 later incarnation: all common", SESSION, "        common = _common(turn.lineage, standing.nonces)", "        common = standing.latest.seq"),
    B("w15 lineage of the latest incarnation is told", SESSION, "return standing.peer_nonces.get(incarnation) or NOTHING_COMMON", "return standing.peer_nonces.get(known.incarnation) or NOTHING_COMMON"),
    B("k13 later parts of a row held aside", MEMORY, "            if len(name) == 2 and name not in self.aside:", "            if len(name) == 2:"),
    B("w12 renew off by one", MEMORY, "return stamp.origin == old and stamp.seq > common_seq\n\n        start", "return stamp.origin == old and stamp.seq > common_seq + 1\n\n        start"),
    B("w13 forgotten all claims drop nonce", MEMORY, "        if entry is not None and entry.seq > seq:\n            del entries[origin]", "        if entry is not None and entry.seq > seq + 1:\n            del entries[origin]"),
    B("s1 restored never noticed", SESSION, "    if known is None or known.incarnation < standing.origin.incarnation:\n        return None", "    if known is None or known.incarnation <= standing.origin.incarnation:\n        return None"),
    B("s2 peer knows more: fine", SESSION, "    if known.seq > latest.seq:\n        return False", "    if known.seq > latest.seq:\n        return True"),
    B("s3 same number other nonce", SESSION, "return known.seq == 0 or known.nonce == latest.nonce", "return True"),
    B("s4 longer branch", SESSION, "return nonces.get(known.seq, known.nonce) == known.nonce", "return True"),
    B("s5 common too far", SESSION, "return max((seq for seq, nonce in lineage.items() if nonces.get(seq) == nonce), default=0)", "return max((seq for seq in lineage if seq in nonces), default=0)"),
    B("s5b common nothing", SESSION, "return max((seq for seq, nonce in lineage.items() if nonces.get(seq) == nonce), default=0)", "return 0"),
    B("s6 lineage not told", SESSION, "if not restored and turn.lineage != TELL_LINEAGE and _agrees", "if _agrees"),
    B("s7 complete when we have all", SESSION, "if pushed and pulled and not answer.more:", "if pulled and not answer.more:"),
    B("s8 complete when peer has all", SESSION, "pulled = standing.frontier.includes(self._wanted.within(standing.frontier.scopes))", "pulled = True"),
    B("s9 caller hears itself", SESSION, "                effects.append(Hear(told))\n", "                effects.append(Hear(standing.frontier))\n"),
    B("s10 answer hears itself", SESSION, "                effects.append(Hear(turn.frontier))\n", "                effects.append(Hear(standing.frontier))\n"),
    B("s11 answer cursor of anyone", SESSION, "after = cursor.lsn if cursor and cursor.sender == standing.origin else 0", "after = cursor.lsn if cursor else 0"),
    B("s12 call cursor of anyone", SESSION, "ours = cursor is not None and cursor.sender == standing.origin", "ours = cursor is not None"),
    B("s13 restart delta each time", SESSION, "return [*effects, Cut(told, self._peer_cursor_lsn)]", "return [*effects, Cut(told, 0)]"),
    B("s13b answer restarts delta", SESSION, "after = cursor.lsn if cursor and cursor.sender == standing.origin else 0", "after = 0"),
    B("s14 joined over", SESSION, "return Frontier({**peer.vectors, **ours.vectors})", "return ours"),
    B("s15 shared digest whole", SESSION, "    return frontier.within(peer_frontier.scopes).digest()", "    return frontier.digest()"),
    B("s16 answer believes digest", SESSION, "            if ours.digest() == turn.digest:", "            if turn.digest:"),
    B("s17 answer never sends when peer is ahead", SESSION, "        if not self._frontier.includes(standing.frontier):\n            cursor", "        if standing.frontier.includes(self._frontier) and not self._frontier.includes(standing.frontier):\n            cursor"),
    B("s18 base is own frontier at start", SESSION, "            return [Cut(told, 0)]\n", "            return [Cut(self._target or told, 0)]\n"),
    B("s20 idle give up at once", SESSION, "IDLE_TURNS_MAX = 3", "IDLE_TURNS_MAX = 0"),
    B("s21 chunk of an answer thrown away", SESSION, "        self._answer = turn\n        self._pending = turn.chunk\n        self._trouble", "        self._answer = turn\n        self._pending = turn.chunk if turn.chunk and turn.chunk.claim else None\n        self._trouble"),
    B("s22 answer takes no chunk of several", SESSION, "        self._turn = turn\n        self._pending = turn.chunk\n", "        self._turn = turn\n        self._pending = turn.chunk if turn.chunk and turn.chunk.after == 0 else None\n"),
)
