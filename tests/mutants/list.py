"""Deliberate breaks of the shipped code, each with the test that must go red.

A mutant names one place in one module: `old` stands there exactly once and is replaced by
`new`. `test` is what `pytest` is given, from the root of the repository.
"""

from typing import NamedTuple


class Mutant(NamedTuple):
    """One break.

    Attributes:
        name: What is broken, in a few words.
        module: The file, from the root of the repository.
        old: Text that stands in it once.
        new: What stands there instead.
        test: The test that catches it.
    """

    name: str
    module: str
    old: str
    new: str
    test: str


MERGE = "protocol/syncproto/merge.py"
ROW = "protocol/syncproto/row.py"
CLOCK = "protocol/syncproto/clock.py"
FRONTIER = "protocol/syncproto/frontier.py"
DELTA = "protocol/syncproto/delta.py"
SESSION = "protocol/syncproto/session.py"
KEYS = "protocol/syncproto/keys.py"
SUMS = "protocol/syncproto/sums.py"
MEMORY = "protocol/syncproto/memory.py"

NODE_SEAL = "node/syncnode/seal.py"
NODE_ARRIVALS = "node/syncnode/arrivals.py"
NODE_SETTLING = "node/syncnode/settling.py"
NODE_WRITING = "node/syncnode/writing.py"
NODE_REPLICA = "node/syncnode/replica.py"
NODE_READING = "node/syncnode/reading.py"
HIDDEN = "node/syncnode/hidden.py"

SEEDS = "tests/protocol/test_seeds.py::test_any_run_converges_and_loses_nothing"


def of(file: str, test: str) -> str:
    return f"tests/protocol/test_{file}.py::test_{test}"


def on_sqlite(test: str) -> str:
    return f"tests/node/test_replication_sqlite.py::test_{test}"


MUTANTS = (
    Mutant(
        "the last arrival wins", MERGE,
        "mine is None or mine.stamp < cell.stamp", "mine is None or mine.stamp != cell.stamp",
        of("merge", "each_cell_goes_to_its_greater_stamp"),
    ),
    Mutant(
        "a tie of readings is not broken", MERGE,
        "mine is None or mine.stamp < cell.stamp",
        "mine is None or mine.stamp.hlc < cell.stamp.hlc",
        of("merge", "equal_readings_are_ordered_by_origin_then_by_number"),
    ),
    Mutant(
        "of two deletes the later one forgets what the other had seen", MERGE,
        "tuple(sorted({*one.stamps, *other.stamps})), union_seen(one.seen, other.seen)",
        "tuple(sorted({*one.stamps, *other.stamps})), max(one, other).seen",
        of("merge", "what_either_of_two_deleters_had_seen_is_dead"),
    ),
    Mutant(
        "deletes that were deleted over stay", MERGE,
        "tuple(stamp for stamp in both.stamps if not both.saw(stamp))", "both.stamps",
        of("merge", "a_delete_that_had_seen_another_takes_its_place"),
    ),
    Mutant(
        "what the sender had seen is a conflict too", MERGE,
        "and not they_saw(mine) and", "and",
        of("merge", "what_one_author_had_seen_is_no_conflict"),
    ),
    Mutant(
        "only the latest delete that an edit undid is named", MERGE,
        "for stamp in delete.stamps:", "for stamp in delete.stamps[-1:]:",
        of("merge", "every_delete_that_an_edit_undoes_is_named"),
    ),
    Mutant(
        "stamps decide between an edit and a delete", ROW,
        "return any(not self.delete.saw(cell.stamp) for cell in self.cells.values())",
        "return any(cell.stamp > self.delete.stamp for cell in self.cells.values())",
        of("merge", "an_edit_that_no_deleter_had_seen_survives_an_earlier_and_a_later_delete"),
    ),
    Mutant(
        "a delete does not know the deletes before it", ROW,
        "seen: dict[Origin, int] = dict(row.delete.seen) if row.delete else {}",
        "seen: dict[Origin, int] = {}",
        SEEDS,
    ),
    Mutant(
        "a write bears the time of its line and no more", CLOCK,
        "return max(hlc_at(wall_ms), seen_hlc + 1)", "return hlc_at(wall_ms) + 0 * seen_hlc",
        of("memory", "a_write_beats_the_value_that_its_author_had_seen_whatever_the_clocks"),
    ),
    Mutant(
        "off by one in what a vector covers", FRONTIER,
        "return entry is not None and entry.seq >= stamp.seq",
        "return entry is not None and entry.seq + 1 >= stamp.seq",
        of("frontier", "a_vector_covers_up_to_its_number_and_nothing_of_strangers"),
    ),
    Mutant(
        "the digest does not cover the nonce", FRONTIER,
        "(origin.incarnation, *entry)", "(origin.incarnation, entry.seq, 0)",
        of("frontier", "the_digest_covers_the_nonce"),
    ),
    Mutant(
        "a join takes what it was given last", FRONTIER,
        "(mine is None or mine[0] < entry[0])", "(mine is None or mine[0] != entry[0])",
        of("frontier", "a_join_includes_both_and_nothing_more"),
    ),
    Mutant(
        "a frontier takes up scopes that the site does not keep", FRONTIER,
        "in self.vectors.items():\n            theirs",
        "in {**other.vectors, **self.vectors}.items():\n            theirs",
        of("frontier", "a_scope_that_a_site_does_not_keep_never_enters_its_frontier"),
    ),
    Mutant(
        "a delete of two sites travels only while both are new", DELTA,
        "all(map(base.covers, delete.stamps))", "any(map(base.covers, delete.stamps))",
        of("delta", "two_deletes_in_one_travel_until_both_are_known"),
    ),
    Mutant(
        "a delta starts at the last arrival instead of the first", DELTA,
        "(start is None or lsn < start)", "(start is None or lsn > start)",
        of("delta", "a_delta_starts_at_the_first_arrival_that_the_base_lacks"),
    ),
    Mutant(
        "the table of which the base knows most decides where a delta starts", DELTA,
        "least[origin] = min((vector", "least[origin] = max((vector",
        of("delta", "a_delta_starts_at_the_first_arrival_that_the_base_lacks"),
    ),
    Mutant(
        "odd stamps are lost in a block", DELTA,
        "if stamp != base}", "if stamp > base}",
        of("delta", "rows_come_out_of_blocks_as_they_went_in"),
    ),
    Mutant(
        "another network is not refused", SESSION,
        "if turn.network != standing.network:", "if not turn.network:",
        of("session", "a_site_of_another_network_is_refused"),
    ),
    Mutant(
        "anybody may speak for anybody", SESSION,
        "if turn.origin.site != peer:", "if not turn.origin.site:",
        of("session", "a_site_that_speaks_as_somebody_else_is_refused"),
    ),
    Mutant(
        "a fork is looked for only where numbers differ", SESSION,
        "return known.seq == 0 or known.nonce == latest.nonce", "return True",
        of("session", "a_branch_written_before_the_site_knew_goes_on_beside_the_shared_one"),
    ),
    Mutant(
        "a longer branch is taken for plain news", SESSION,
        "return nonces.get(known.seq, known.nonce) == known.nonce", "return True",
        of("session", "a_branch_written_before_the_site_knew_goes_on_beside_the_shared_one"),
    ),
    Mutant(
        "nobody brings the lineage that is asked for", SESSION,
        "if not restored and turn.lineage != TELL_LINEAGE and _agrees",
        "if not restored and _agrees",
        of("session", "a_branch_written_before_the_site_knew_goes_on_beside_the_shared_one"),
    ),
    Mutant(
        "an exchange is complete when we have all", SESSION,
        "if pushed and pulled and not answer.more:", "if pulled and not answer.more:",
        of("session", "a_session_that_gets_nowhere_is_given_up"),
    ),
    Mutant(
        "an exchange is complete when the peer has all", SESSION,
        "pulled = standing.frontier.includes(self._wanted.within(standing.frontier.scopes))",
        "pulled = True",
        SEEDS,
    ),
    Mutant(
        "an exchange without progress goes on", SESSION,
        "if self._idle >= IDLE_TURNS_MAX:", "if self._idle >= 1_000_000:",
        of("session", "a_session_that_gets_nowhere_is_given_up"),
    ),
    Mutant(
        "unequal sums raise no alarm", SESSION,
        "and standing.sums[table] != total", "and standing.sums[table] is None",
        of("session", "equal_frontiers_with_unequal_sums_raise_the_alarm"),
    ),
    Mutant(
        "a sum does not tell a delete from a cell", SUMS,
        "total += (name ^ stamp_hash(delete) ^ SUM_MASK) * 3", "total += name ^ stamp_hash(delete)",
        of("sums", "a_delete_and_a_cell_of_one_changeset_count_differently"),
    ),
    Mutant(
        "a row's sum does not know its key", SUMS,
        "total += name ^ value", "total += value",
        of("sums", "the_same_changeset_in_another_row_counts_differently"),
    ),
    Mutant(
        "apply: a claim is taken without its base (A9)", MEMORY,
        "if not self.frontier.includes(chunk.base) or chunk.after", "if chunk.after",
        of("delta", "a_claim_without_its_base_is_refused"),
    ),
    Mutant(
        "apply: a late part ends a newer delta", MEMORY,
        "chunk.after not in (0, reached)", "chunk.after > reached",
        of("delta", "a_late_part_of_an_older_delta_does_not_end_a_newer_one"),
    ),
    Mutant(
        "apply: another life of the sender goes on in the old stage", MEMORY,
        "if stage is not None and stage.cursor.sender != chunk.sender:", "if False:",
        of("delta", "a_sender_under_a_new_origin_starts_its_delta_again"),
    ),
    Mutant(
        "apply: parts are applied as they come (A1, A7)", MEMORY,
        "        if chunk.claim is None:\n            return Receipt(taken=True, applied=False)",
        "        if chunk.claim is None:\n            self._apply([chunk], self.frontier)\n"
        "            return Receipt(taken=True, applied=False)",
        of("delta", "nothing_is_applied_or_claimed_before_the_delta_is_complete"),
    ),
    Mutant(
        "delta: each chunk claims the sender's whole frontier (A1)", MEMORY,
        "claim=self.frontier.within(base.scopes) if not left else None",
        "claim=self.frontier.within(base.scopes)",
        of("delta", "a_dead_relay_takes_nothing_with_it"),
    ),
    Mutant(
        "apply: losers are on no record (A13)", MEMORY,
        "self._record(found, stamp)\n            joined", "joined",
        of("memory", "the_loser_is_on_record_where_it_was_lost_and_where_it_was_written"),
    ),
    Mutant(
        "apply: a stamp of the future is merged at once (A8)", MEMORY,
        "now, later = (row, None) if hlc <= limit else parted(row, limit)",
        "now, later = row, None",
        of("memory", "a_stamp_of_the_future_displaces_nothing_until_its_time_comes"),
    ),
    Mutant(
        "apply: what is kept aside is not passed on (A8)", MEMORY,
        "for row in (self.rows.get(name, EMPTY), *self.aside.get(name, ())):",
        "for row in (self.rows.get(name, EMPTY),):",
        of("memory", "a_stamp_of_the_future_displaces_nothing_until_its_time_comes"),
    ),
    Mutant(
        "apply: conflicts with what is kept aside are not looked for", MEMORY,
        "for kept in self.aside.get(place, ()):", "for kept in ():",
        of("memory", "a_write_over_a_row_with_a_hidden_future_is_a_conflict_on_record"),
    ),
    Mutant(
        "apply: the journal is sealed after the rows have come in (A10)", MEMORY,
        "        self.seal()\n        sender = chunk.sender.site",
        "        sender = chunk.sender.site",
        of("memory", "a_line_of_the_journal_is_not_raised_above_what_arrives_with_the_seal"),
    ),
    Mutant(
        "seal: what comes due comes in before the journal (A10)", MEMORY,
        "        if self.journal:\n            self._seal_journal()\n        self._release_aside()",
        "        self._release_aside()\n        if self.journal:\n            self._seal_journal()",
        of("memory", "what_comes_due_does_not_raise_the_stamps_of_lines_that_had_not_seen_it"),
    ),
    Mutant(
        "seal: a line is sealed twice", MEMORY,
        "        self.journal.clear()\n", "",
        of("memory", "several_transactions_sealed_together_are_one_changeset"),
    ),
    Mutant(
        "seal: rows are read before the journal is sealed (A6)", MEMORY,
        "        self.seal()\n        if after > self.lsn:", "        if after > self.lsn:",
        of("delta", "a_chunk_with_rows_changed_meanwhile_is_from_its_own_moment"),
    ),
    Mutant(
        "renew: the branch keeps the numbers of the old incarnation", MEMORY,
        "return Stamp(candidate.hlc, *dot) if fork(candidate) else candidate",
        "return candidate",
        of("memory", "renew_writes_a_forked_branch_again_and_keeps_its_readings"),
    ),
    Mutant(
        "renew: a delete forgets the branch that it had seen", MEMORY,
        "        stamps.add(Stamp(seen_hlc + 1, *dot))", "        pass",
        of("memory", "renew_leaves_a_row_dead_that_another_site_deleted_on_the_branch"),
    ),
    Mutant(
        "SQLite seal: a line bears its time and no more (A10)", NODE_SEAL,
        "stamp = Stamp(stamped_after(row.hlc, wall_ms=touched.ms), dot.origin, dot.seq)\n"
        "        cells = {name: Cell(stamp, row.cells[name].value) for name in changed}",
        "stamp = Stamp(stamped_after(0, wall_ms=touched.ms), dot.origin, dot.seq)\n"
        "        cells = {name: Cell(stamp, row.cells[name].value) for name in changed}",
        on_sqlite("who_writes_over_a_value_that_he_saw_wins_whatever_the_clocks_say"),
    ),
    Mutant(
        "SQLite seal: an edit before a delete bears an older dot", NODE_SEAL,
        "return row, merged(row, Row(changed)) if changed else row", "return row, row",
        on_sqlite("a_row_edited_and_then_deleted_takes_its_last_values_along"),
    ),
    Mutant(
        "SQLite seal: a row that moved gets a new name", NODE_SEAL,
        "left = step.left.get(line[5])", "left = None",
        on_sqlite("a_row_known_by_its_number_alone_keeps_its_name_when_the_number_changes"),
    ),
    Mutant(
        "SQLite seal: a number used again is the old row", NODE_SEAL,
        "if touched.inserted or (changed_key and", "if changed_key and (",
        on_sqlite("a_number_deleted_and_used_again_at_once_is_two_rows"),
    ),
    Mutant(
        "SQLite seal: copies are counted up to the first gap", NODE_SEAL,
        "copies.free[copies.count] = hidden.row", "return copies",
        on_sqlite("copies_are_counted_across_a_gap_that_a_delete_has_left"),
    ),
    Mutant(
        "SQLite apply: a parent is deleted under its children (A12)", NODE_SETTLING,
        "if alone and self._referrers.refers(self._tx, table, pk):", "if False:",
        on_sqlite("cascades_and_set_null_are_changes_like_others"),
    ),
    Mutant(
        "SQLite apply: circles of deleted rows hold each other", NODE_SETTLING,
        "progress = self._delete_circles()", "progress = False",
        on_sqlite("tables_that_refer_to_each_other_in_a_circle"),
    ),
    Mutant(
        "SQLite apply: parked circles wait for each other", NODE_SETTLING,
        "progress = self._show_circles() or progress", "progress = progress or False",
        on_sqlite("tables_that_refer_to_each_other_in_a_circle"),
    ),
    Mutant(
        "SQLite apply: rows that exchange unique values stay parked", NODE_SETTLING,
        "return self._exchange_values() or progress", "return progress",
        on_sqlite("values_of_a_unique_column_may_be_exchanged"),
    ),
    Mutant(
        "SQLite apply: a row that a trigger refused is not tried again", NODE_SETTLING,
        'limit=RETRIED_ROWS_MAX, reason="trigger"', 'limit=RETRIED_ROWS_MAX, reason="never"',
        on_sqlite("a_trigger_that_raises_parks_the_row_until_it_agrees"),
    ),
    Mutant(
        "SQLite apply: a unique clash is not tried again", NODE_SETTLING,
        'tables=tables, reason="unique clash"', 'tables=tables, reason="never"',
        on_sqlite("a_unique_clash_parks_the_other_row_at_both_until_one_gives_way"),
    ),
    Mutant(
        "SQLite apply: a row with two stamps of one dot counts twice (B11)", NODE_ARRIVALS,
        "total += row_sum(key, used)", "total += sum(key_hash(key) ^ stamp_hash(s) for s in used)",
        on_sqlite("a_new_row_with_two_stamps_of_one_changeset_counts_once"),
    ),
    Mutant(
        "SQLite apply: a dead copy stays parked", NODE_WRITING,
        "HiddenRow(SHOWN if was else DEAD, wanted.row)",
        "HiddenRow(SHOWN if was else (wanted.hidden.place if wanted.hidden else DEAD), wanted.row)",
        on_sqlite("a_parked_copy_that_is_deleted_where_it_was_written_is_parked_no_more"),
    ),
    Mutant(
        "SQLite replica: a database behind its anchor is taken for whole (A11)", NODE_REPLICA,
        "            self.renew(highest + 1, seq, why=why)\n", "",
        on_sqlite("a_restored_older_database_is_noticed_by_its_anchor_and_gets_its_changes_back"),
    ),
    Mutant(
        "SQLite delta: hidden rows do not travel (A6)", NODE_READING,
        "part = uncovered(row, base.vector(table.name))", "part = None",
        on_sqlite("equal_copies_are_counted"),
    ),
    Mutant(
        "SQLite delta: what is kept aside is not passed on (A8)", HIDDEN,
        "AND place<>'held' ORDER BY lsn", "AND place NOT IN ('held', 'aside') ORDER BY lsn",
        on_sqlite("a_stamp_of_the_future_is_kept_aside_passed_on_and_merged_when_due"),
    ),
    Mutant(
        "SQLite apply: a plain edit takes over what its author had not seen (A13)", NODE_ARRIVALS,
        " or not theirs.covers(base)", "",
        on_sqlite("an_edit_of_one_column_against_one_of_all_columns_is_on_record"),
    ),
    Mutant(
        "SQLite seal: an edit's stamp is not raised above what the row carried (A10)", NODE_SEAL,
        "hlc = stamped_after(base.hlc, wall_ms=ms)", "hlc = stamped_after(0, wall_ms=ms)",
        on_sqlite("who_writes_over_a_value_that_he_saw_wins_whatever_the_clocks_say"),
    ),
    Mutant(
        "keys: names are compared without case", KEYS,
        '_hashed(_TEXT, table, text.encode("utf-8", _ODD))',
        '_hashed(_TEXT, table, text.lower().encode("utf-8", _ODD))',
        of("keys", "text_is_compared_exactly"),
    ),
    Mutant(
        "keys: rows whose key is taken are told apart as keys are", KEYS,
        '_hashed(_VARIANT_OF, table, kinds + b":" +',
        '_hashed(_VARIANT_OF, table, b":" +',
        of("keys", "a_row_whose_key_is_taken_is_named_by_what_tells_the_two_apart"),
    ),
    Mutant(
        "what a site does not show is not told", SESSION,
        "        unshown=standing.unshown,\n",
        "",
        of("session", "each_side_hears_how_many_rows_the_other_does_not_show"),
    ),
    Mutant(
        "a delete that gives way to a child goes in silence", MEMORY,
        "        found += self._outlived(arrived, claim)\n",
        "",
        of("memory", "a_delete_that_gives_way_to_a_child_is_on_record_at_every_site"),
    ),
    Mutant(
        "SQLite apply: a delete that gives way to a child goes in silence", NODE_SETTLING,
        "        self._record_outlived()\n",
        "",
        "tests/node/test_revivals.py::test_what_two_other_sites_bring_together_is_one_record",
    ),
    Mutant(
        "SQLite apply: a deleted parent named by values does not come back", NODE_WRITING,
        "shown = self._hold(target, parent, hidden)", "shown = False",
        "tests/node/test_parents_by_value.py"
        "::test_a_parent_named_by_another_unique_column_is_held_too[sqlite-sqlite]",
    ),
    Mutant(
        "SQLite apply: a value that rows refer to changes under them", NODE_SETTLING,
        "            if not self._take_back_renamed():\n                break",
        "            break",
        "tests/node/test_parents_by_value.py"
        "::test_a_value_that_children_refer_to_and_another_site_changes_holds_nothing_up"
        "[sqlite-sqlite]",
    ),
    Mutant(
        "SQLite apply: a row renamed in case alone waits for its old name", NODE_SETTLING,
        "        progress = self._take_places() or progress\n",
        "",
        "tests/node/test_row_names.py"
        "::test_a_name_that_changes_in_case_alone_changes_under_its_children[sqlite-sqlite]",
    ),
)  # fmt: skip
