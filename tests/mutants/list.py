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

NODE_SEAL = "node/syncnode/capture/seal.py"
UNDOING = "node/syncnode/capture/undoing.py"
NODE_ARRIVALS = "node/syncnode/apply/arrivals.py"
NODE_SETTLING = "node/syncnode/apply/settling.py"
NODE_WRITING = "node/syncnode/apply/writing.py"
NODE_REPLICA = "node/syncnode/replica.py"
NODE_READING = "node/syncnode/store/reading.py"
HIDDEN = "node/syncnode/store/hidden.py"
UNIQUENESS = "protocol/syncproto/uniqueness.py"
CLASHES = "node/syncnode/apply/clashes.py"
CLAIMS = "node/syncnode/apply/claims.py"
COPIES = "node/syncnode/apply/copies.py"
LADDER = "node/syncnode/apply/ladder.py"
POSTGRESQL = "node/syncnode/dialects/postgresql.py"

DIRECTIONS = "protocol/syncproto/directions.py"

SEEDS = "tests/protocol/test_seeds.py::test_any_run_converges_and_loses_nothing"
KEEPING = "node/syncnode/store/keeping.py"


def of(file: str, test: str) -> str:
    return f"tests/protocol/test_{file}.py::test_{test}"


def received(test: str) -> str:
    return f"tests/node/test_receive_only.py::test_{test}"


def files(test: str) -> str:
    return f"tests/node/test_files.py::test_{test}"


def kept(test: str) -> str:
    return f"tests/node/test_keeping.py::test_{test}"


def on_sqlite(test: str) -> str:
    return f"tests/node/test_replication_sqlite.py::test_{test}"


def by_merge(test: str) -> str:
    return f"tests/node/test_clashes_by_merge.py::test_{test}"


def on_clash(test: str) -> str:
    return f"tests/node/test_unique_clashes.py::test_{test}"


def on_postgresql(file: str, test: str) -> str:
    return f"tests/node/test_{file}_postgresql.py::test_{test}"


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
        "an edit that a winning delete killed gave way to a value that is gone, too", MERGE,
        "if (name, mine.stamp) in dead or (name, cell.stamp) in dead:", "if not dead <= dead:",
        of("merge", "a_killed_edit_did_not_give_way_to_what_the_deleter_wrote_before"),
    ),
    Mutant(
        "an edit that gave way to a later value undid its delete", MERGE,
        "return mine is not None and mine.stamp >= cell.stamp",
        "return mine is not None and mine.stamp == cell.stamp",
        of("merge", "an_edit_that_gives_way_to_a_value_undoes_no_delete_that_saw_it"),
    ),
    Mutant(
        "a comparison takes a uuid in capitals for another", "node/syncnode/comparing/contents.py",
        "return uuid_text(key) if key is not None else value", "return value",
        "tests/node/test_verifying.py::test_a_uuid_is_the_same_in_any_case_and_no_other_text_is",
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
        "pulled = standing.frontier.includes(wanted.within(standing.frontier.scopes))",
        "pulled = True",
        SEEDS,
    ),
    Mutant(
        "rules: a table is sent against the peer's rule", SESSION,
        "return Cut(self.told.without(self.agreed.unsent), after)", "return Cut(self.told, after)",
        of("directions", "a_table_stays_where_either_side_keeps_it_back"),
    ),
    Mutant(
        "rules: what is not received is taken when it comes", DIRECTIONS,
        "if not refused:", "if True:",
        of("directions", "what_a_peer_sends_against_a_rule_is_neither_taken_nor_claimed"),
    ),
    Mutant(
        "rules: the end of a delta claims a table that its beginning left out", MEMORY,
        "if stage.chunks and stage.chunks[0].base.scopes != chunk.base.scopes:", "if False:",
        of("directions", "a_table_let_through_in_the_middle_of_a_delta_is_not_claimed_by_its_end"),
    ),
    Mutant(
        "rules: a round compares what only comes with the peer's", SESSION,
        "return Frontier({**within.vectors, **theirs}) if theirs else within", "return within",
        of("directions", "a_quiet_round_is_as_small_with_rules_as_without"),
    ),
    Mutant(
        "rules: a word that the peer has not heard yet stays unheard", DIRECTIONS,
        "hasher = hashlib.sha256(frontier_digest)", "return frontier_digest",
        of("directions", "each_site_holds_exactly_what_its_rules_let_through"),
    ),
    Mutant(
        "rules: what comes one way is compared by sums though both hold different changes", SESSION,
        "both = told.without(link.agreed.unsent | link.agreed.unreceived)", "both = told",
        of("directions", "each_site_holds_exactly_what_its_rules_let_through"),
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
        "        values = {name: shown[name] for name in changed}\n"
        "        if hidden",
        "stamp = Stamp(stamped_after(0, wall_ms=touched.ms), dot.origin, dot.seq)\n"
        "        values = {name: shown[name] for name in changed}\n"
        "        if hidden",
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
        "return self._show_circles() or progress", "return progress",
        on_sqlite("tables_that_refer_to_each_other_in_a_circle"),
    ),
    Mutant(
        "SQLite apply: rows that exchange unique values are written one by one", CLASHES,
        "if len(changes) > 1 and all(", "if len(changes) < 0 and all(",
        on_sqlite("values_of_a_unique_column_may_be_exchanged"),
    ),
    Mutant(
        "SQLite apply: a row that a trigger refused is not tried again", NODE_SETTLING,
        'limit=RETRIED_ROWS_MAX, reason="trigger"', 'limit=RETRIED_ROWS_MAX, reason="never"',
        on_sqlite("a_trigger_that_raises_parks_the_row_until_it_agrees"),
    ),
    Mutant(
        "unique clash: the first to arrive keeps the value", UNIQUENESS,
        "sorted(claims, key=lambda one: (not one.alive, one.stamp, one.key))", "list(claims)",
        on_clash("the_later_row_shows_a_mark_and_both_stay_at_every_site"),
    ),
    Mutant(
        "unique clash: a deleted row that is held goes before the living", UNIQUENESS,
        "(not one.alive, one.stamp, one.key)", "(one.stamp, one.key)",
        on_clash("a_deleted_row_that_others_refer_to_gives_way"),
    ),
    Mutant(
        "unique clash: it is not decided again when a row changes", NODE_WRITING,
        "        self._stirred.add(table.number)\n", "",
        on_clash("random_clashes_end_as_the_replicated_state_says"),
    ),
    Mutant(
        "unique clash: the mark leaves as the value", NODE_READING,
        "if hidden.place in STATE_HERE", 'if hidden.place == "parked"',
        on_clash("the_mark_goes_when_the_first_gives_the_value_up"),
    ),
    Mutant(
        "unique clash: an edit beside the mark seals the mark", NODE_SEAL,
        "if hidden is not None and hidden.place in STATE_HERE:\n            self._update_parked",
        'if hidden is not None and hidden.place == "parked":\n            self._update_parked',
        on_clash("an_edit_of_another_column_leaves_the_replicated_value"),
    ),
    Mutant(
        "unique clash: who waits for one that waits asks for nothing", CLASHES,
        "return True  # a deleted row comes back for others unless its values are taken",
        "return False",
        on_clash("stories_that_taught_something"),
    ),
    Mutant(
        "merge: what refers to a merged row is shown as it is replicated", NODE_WRITING,
        "if other != value.key:", "if False:",
        on_clash("what_was_merged_parts_when_the_reason_goes"),
    ),
    Mutant(
        "merge: unique values are compared with the references as they are replicated", CLASHES,
        "name: reference for name, reference in there.items() if name not in own", "",
        by_merge("rows_whose_keys_meet_are_one_and_others_give_way_as_their_keys_say"),
    ),
    Mutant(
        "merge: rows are one because they were one until now", CLAIMS,
        "while name in claimant.own and (one := claimants.get(value)) and one.into is not None:",
        "while (one := claimants.get(value)) and one.wanted.hidden and one.wanted.hidden.waits:\n"
        "            value = one.wanted.hidden.waits[1]\n"
        "        while False:",
        by_merge("rows_that_refer_to_each_other_are_one_only_if_that_follows_from_nothing"),
    ),
    Mutant(
        "merge: a line that is shown otherwise is not known when it is deleted", NODE_SEAL,
        "copies.altered = altered.get(name, [])", "copies.altered = []",
        by_merge("a_line_that_is_shown_otherwise_is_deleted_and_edited_like_others"),
    ),
    Mutant(
        "merge: where a mark is nothing, the row that stands for another is shown", NODE_WRITING,
        "{**there, **wanted.instead}", "{**wanted.instead, **there}",
        by_merge("a_reference_gives_way_where_no_other_column_can"),
    ),
    Mutant(
        "SQLite apply: a row with two stamps of one dot counts twice (B11)", NODE_ARRIVALS,
        "total += row_sum(key, used)", "total += sum(key_hash(key) ^ stamp_hash(s) for s in used)",
        on_sqlite("a_new_row_with_two_stamps_of_one_changeset_counts_once"),
    ),
    Mutant(
        "SQLite apply: a dead copy stays parked", COPIES,
        "elif not wanted.row.alive:\n            self._put_hidden(table, wanted, HiddenRow(DEAD,",
        "elif not wanted.row.alive:\n            self._put_hidden(table, wanted, "
        "HiddenRow(hidden.place if hidden else DEAD,",
        on_sqlite("a_parked_copy_that_is_deleted_where_it_was_written_is_parked_no_more"),
    ),
    Mutant(
        "SQLite replica: a database behind its anchor is taken for whole (A11)", NODE_REPLICA,
        "            self.renew(highest + 1, seq, why=why)\n", "",
        on_sqlite("a_restored_older_database_is_noticed_by_its_anchor_and_gets_its_changes_back"),
    ),
    Mutant(
        "SQLite delta: hidden rows do not travel (A6)", NODE_READING,
        "part = uncovered(row, base.vector(name))", "part = None",
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
        "SQLite apply: a row renamed in case alone waits for its old name", LADDER,
        "found = [Step(unique, None) for unique in _primary_key(table)]", "found = []",
        "tests/node/test_row_names.py"
        "::test_a_name_that_changes_in_case_alone_changes_under_its_children[sqlite-sqlite]",
    ),
    Mutant(
        "deciding: a third write that had seen neither value decides",
        "node/syncnode/operations/records.py",
        "return None if (*_cell(conflict), stamp) in winners else OVERWRITTEN",
        "return OVERWRITTEN",
        "tests/node/test_deciding.py::test_a_third_write_that_had_seen_neither_decides_nothing",
    ),
    Mutant(
        "deciding: an older value is taken over a newer one unasked",
        "node/syncnode/apply/taking.py",
        "if rewritten and not force:", "if False:",
        "tests/node/test_deciding.py"
        "::test_a_value_that_was_written_again_since_is_overwritten_by_force_only",
    ),
    Mutant(
        "deciding: a row is deleted under those that refer to it", "node/syncnode/apply/taking.py",
        "if named or self.referrers.refers(tx, table, pk):", "if False:",
        "tests/node/test_deciding.py::test_taking_a_lost_delete_deletes_unless_rows_refer",
    ),
    Mutant(
        "deciding: a row that was dismissed once never counts again",
        "node/syncnode/store/dismissals.py",
        "d.tbl=r.tbl AND d.row_key=r.row_key AND d.since_ms=r.since_ms", "d.row_key=r.row_key",
        "tests/node/test_deciding.py::test_a_dismissed_row_is_written_when_its_obstacle_goes"
        "_and_counts_when_parked_anew",
    ),
    Mutant(
        "hooks: what changed while it was told is forgotten", "node/syncnode/hooks/queue.py",
        "AND row_key={m} AND lsn={m}", "AND row_key={m} AND {m}>0",
        "tests/node/test_hooks.py::test_a_row_that_changes_while_it_is_told_is_told_again",
    ),
    Mutant(
        "hooks: what comes to rest after an edit of one's own is not told", NODE_REPLICA,
        "                applier.take_due()\n                applier.settle(touched)\n"
        "            finally:\n                applier.finish()\n"
        "            self._queue_hooks(book, before)\n",
        "                applier.take_due()\n                applier.settle(touched)\n"
        "            finally:\n                applier.finish()\n",
        "tests/node/test_hooks.py::test_what_comes_to_rest_after_an_edit_of_ones_own_is_told",
    ),
    Mutant(
        "hooks: the steps of a catch-up are not told", NODE_REPLICA,
        "                    applier.finish()\n                self._queue_hooks(book, before)\n"
        "                tx.execute(",
        "                    applier.finish()\n                tx.execute(",
        "tests/node/test_hooks.py::test_a_catch_up_in_steps_is_told_whole",
    ),
    Mutant(
        "cloning: the original becomes its own clone", "node/syncnode/operations/cloning.py",
        "if not begun and (anchor := anchor_at_home(found.settings, tx, database)):", "if False:",
        "tests/node/test_cloning.py::test_nothing_but_a_copy_is_made_a_clone",
    ),
    Mutant(
        "cloning: a copy keeps the identity of its original", "node/syncnode/operations/cloning.py",
        '    book.set("site", site.hex())\n', "",
        "tests/node/test_cloning.py::test_a_clone_has_all_and_transfers_nothing[sqlite]",
    ),
    Mutant(
        "comparing: nothing and a row whose hash is 0 are one",
        "protocol/syncproto/fingerprints.py",
        "(self.total + self.rows * _COUNTED)", "self.total",
        "tests/protocol/test_comparing.py::test_exactly_the_rows_that_differ_are_named",
    ),
    Mutant(
        "comparing: a row's hash does not cover its columns", "protocol/syncproto/fingerprints.py",
        "blake2b(dumped(names), digest_size=8)", "blake2b(digest_size=8)",
        "tests/protocol/test_comparing.py::"
        "test_a_row_s_hash_covers_its_key_its_columns_and_its_values_and_no_null",
    ),
    Mutant(
        "comparing: ranges are those of the keys themselves", "protocol/syncproto/fingerprints.py",
        'int.from_bytes(blake2b(key, digest_size=8).digest(), "big")',
        'int.from_bytes(key[:8], "big")',
        "tests/protocol/test_comparing.py::test_keys_that_were_counted_are_spread_over_the_line",
    ),
    Mutant(
        "comparing: a huge table is sent whole against a small one",
        "protocol/syncproto/fingerprints.py",
        "DEPTH_MIN = 12", "DEPTH_MIN = 0",
        "tests/protocol/test_comparing.py::test_a_huge_table_against_a_small_one_is_not_sent_whole",
    ),
    Mutant(
        "comparing: ranges deeper than was told are answered", "protocol/syncproto/comparing.py",
        "if split.depth + split.bits > ours.depth(where.table):", "if False:",
        "tests/protocol/test_comparing.py::test_a_question_about_what_is_not_here_is_refused",
    ),
    Mutant(
        "verify: what the table shows counts, not what is replicated (A6)",
        "node/syncnode/comparing/contents.py",
        "sorted({*KEPT, HELD})", "sorted({HELD})",
        "tests/node/test_verifying.py::test_renamed_rows_are_compared_by_what_is_replicated",
    ),
    Mutant(
        "verify: rows held for others count", "node/syncnode/comparing/contents.py",
        "sorted({*KEPT, HELD})", "sorted(KEPT)",
        "tests/node/test_verifying.py::test_deleted_rows_that_others_hold_do_not_count",
    ),
    Mutant(
        "verify: what was not exchanged yet is a difference",
        "node/syncnode/operations/comparing.py",
        "return any(not there.covers(stamp) for stamp in leaving) or any(",
        "return any(False for stamp in one.here.stamps()) and any(",
        "tests/node/test_verifying.py::"
        "test_what_was_not_exchanged_yet_is_on_the_way_and_not_different",
    ),
    Mutant(
        "verify: rows written while one looks are a fault", "node/syncnode/capture/local_check.py",
        "            found[name].confirm(one)\n", "            pass\n",
        "tests/node/test_verifying.py::test_rows_written_while_one_looks_are_no_fault",
    ),
    Mutant(
        "verify: the second row of one uuid is a fault", "node/syncnode/capture/local_check.py",
        "if key not in doubles and", "if",
        "tests/node/test_verifying.py::test_two_rows_of_one_uuid_are_no_fault",
    ),
    Mutant(
        "verify: a row that vanished leaves no dots to delete",
        "node/syncnode/capture/local_check.py",
        "{name: Cell(stamp, None) for name, stamp in stamps.items() if stamp is not None}", "{}",
        "tests/node/test_verifying.py::test_what_no_trigger_saw_is_found_and_made_a_change_of",
    ),
    Mutant(
        "verify: a repair deletes nothing", "node/syncnode/apply/repairing.py",
        "    if one.values is None:\n", "    if False:\n",
        "tests/node/test_verifying.py::test_rows_of_one_side_alone_are_repaired_too",
    ),
    Mutant(
        "join: questions are answered without an invitation",
        "node/syncnode/operations/membership.py",
        "role = _admitted(tx, request, site, settings.name, now_ms, commit=commit)",
        "role = _admitted(tx, request, site, settings.name, now_ms, commit=commit) "
        "if commit else PARENT",
        "tests/node/test_membership.py::"
        "test_without_an_invitation_that_holds_no_question_is_answered",
    ),
    Mutant(
        "join: who proves an invitation may ask ten times", "node/syncnode/links/gateway.py",
        "        self._join_rate.forget(address)\n", "",
        "tests/node/test_gateway.py::test_who_proves_an_invitation_may_ask_as_often_as_it_takes",
    ),
    Mutant(
        "join: rows on either side alone are joined unasked", "node/syncnode/reports.py",
        "self.different or self.unnamed or (self.only_here and self.only_there)",
        "self.different or self.unnamed",
        "tests/node/test_membership.py::"
        "test_where_each_side_has_rows_of_its_own_somebody_is_asked",
    ),
    Mutant(
        "init: a row may say that it was changed in the future",
        "node/syncnode/capture/modified.py",
        "min(stated([values[place] for place in places]), latest)",
        "stated([values[place] for place in places])",
        "tests/node/test_modified.py::"
        "test_a_write_after_the_installation_wins_over_any_older_row",
    ),
    Mutant(
        "init: rows bear no times of the application", "node/syncnode/capture/modified.py",
        "    if not places:\n", "    if True:\n",
        "tests/node/test_modified.py::test_the_later_edit_stands_wherever_it_was_made",
    ),
    Mutant(
        "presets: declared references hold nothing", "node/syncnode/store/references.py",
        "for inbound in _declared(schema) if schema is not None else ():", "for inbound in ():",
        "tests/node/test_presets.py::TestDeclaredReferences::"
        "test_hold_a_deleted_parent_that_only_they_refer_to[sqlite-sqlite]",
    ),
    Mutant(
        "presets: 0 is a reference to nobody", "node/syncnode/apply/writing.py",
        "        if key is None or table.zeros.get(name) != key:\n", "        if True:\n",
        "tests/node/test_presets.py::TestDeclaredReferences::"
        "test_of_0_stay_0_where_no_row_has_that_number[sqlite-sqlite]",
    ),
    Mutant(
        "presets: a type that changes its mind tells nobody", NODE_SEAL,
        "        self._redecide(table, rows, step)\n", "",
        "tests/node/test_presets.py::TestReferencesByCondition::"
        "test_follow_when_their_type_changes_its_mind[sqlite-sqlite]",
    ),
    Mutant(
        "presets: a number that leads nowhere leads to any row", NODE_WRITING,
        "            if name in table.conditional and self._leads_elsewhere(table, row, name):\n",
        "            if False:\n",
        "tests/node/test_presets.py::TestReferencesByCondition::"
        "test_that_lead_nowhere_stay_as_they_are_where_they_lead_nowhere_too[sqlite-sqlite]",
    ),
    Mutant(
        "presets: rows that stay are taken from peers in bulk", NODE_ARRIVALS,
        "                and not table.plan.local_rows\n", "",
        "tests/node/test_presets.py::TestRowsThatStay::"
        "test_of_a_peer_without_the_rule_wait_and_hurt_nobody[sqlite-sqlite]",
    ),
    Mutant(
        "presets: what refers to a table that is left out stays", "node/syncnode/schema/choice.py",
        "        if child is None:\n            return found\n", "        return found\n",
        "tests/node/test_rules.py::"
        "test_what_refers_to_a_table_that_a_preset_leaves_out_is_left_out_with_it",
    ),
    Mutant(
        "tables: one that is taken up again claims what was written in its earlier life",
        "node/syncnode/operations/tables.py",
        "            replica.renew(book.origin.incarnation + 1, seq, why=TABLES)\n", "",
        "tests/node/test_table_choice.py::TestATable::"
        "test_that_an_edit_here_came_from_is_known_as_ones_own_no_more[sqlite-sqlite]",
    ),
    Mutant(
        "tables: what peers said of other scopes is believed", NODE_REPLICA,
        "        self._told.clear()  # scopes", "        # scopes",
        "tests/node/test_table_choice.py::TestATable::"
        "test_that_the_preset_leaves_out_can_be_taken_in[sqlite-sqlite]",
    ),
    Mutant(
        "PostgreSQL: an apply learns of deferred constraints at the commit only", POSTGRESQL,
        " SET CONSTRAINTS ALL IMMEDIATE", " SELECT 1",
        on_postgresql("values", "deferred_constraints_of_the_application_are_told_row_by_row"),
    ),
    Mutant(
        "PostgreSQL: a seal sees what is committed while it works (A5, A6)", POSTGRESQL,
        "REPEATABLE READ READ WRITE", "READ COMMITTED READ WRITE",
        "tests/node/test_races_mariadb.py::test_no_value_leaves_under_an_older_dot",
    ),
    Mutant(
        "PostgreSQL: the node waits long enough to get the application killed (A12)", POSTGRESQL,
        "STATEMENT_LOCK_WAIT_MS = 500", "STATEMENT_LOCK_WAIT_MS = 15_000",
        "tests/node/test_races_mariadb.py"
        "::test_in_a_deadlock_the_application_is_never_the_one_that_is_killed",
    ),
    Mutant(
        "PostgreSQL: numbers that arrive are above their sequence", POSTGRESQL,
        "if column.automatic and column.name != table.local_key:", "if False:",
        on_postgresql("values", "numbers_that_the_application_draws_next_are_free"),
    ),
    Mutant(
        "PostgreSQL: TRUNCATE is not written down", "node/syncnode/capture/postgresql.py",
        'f" INSERT INTO {self._trash} SELECT gone.syncnode_line{images} FROM gone;"',
        'f" INSERT INTO {self._trash} SELECT gone.syncnode_line{images} FROM gone WHERE false;"',
        on_postgresql("capture", "truncate_writes_every_row_down"),
    ),
    Mutant(
        "kept rows: what went lost is on no record", KEEPING,
        "            for rival in (old, *asides):\n                pairs = lost(name, key",
        "            for rival in ():\n                pairs = lost(name, key",
        kept("what_two_sites_wrote_apart_is_on_record_at_the_one_between_them"),
    ),
    Mutant(
        "kept rows: what came due is forgotten", "node/syncnode/apply/batches.py",
        "                self._keeper.take_due(number, key, row)\n", "",
        kept("a_value_from_the_future_waits_there_too_and_is_not_forgotten"),
    ),
    Mutant(
        "kept rows: they are in no sum", KEEPING,
        "book.add_sum(name, sum_of(key, row) - sum_of(key, before.get(key, EMPTY)))", "pass",
        kept("rows_of_an_unknown_table_pass_through_and_stand_after_the_upgrade"),
    ),
    Mutant(
        "kept rows: a table that came claims them before they are written", KEEPING,
        "book.frontier = Frontier({**book.frontier.vectors, table.name: VersionVector({})})",
        "pass",
        kept("what_a_migration_put_there_gives_way_and_is_on_record"),
    ),
    Mutant(
        "kept rows: once written they are claimed no more", KEEPING,
        "            book.advance(book.frontier.joined(claim), rewriting.wall_ms, sender=None)\n",
        "",
        kept("they_are_written_though_nobody_is_left_who_has_them"),
    ),
    Mutant(
        "session: who hears of more tables answers before it looks again", SESSION,
        "            return [Hear(unknown, turn.directions), Look()]\n", "",
        kept("rows_of_an_unknown_table_pass_through_and_stand_after_the_upgrade"),
    ),
    Mutant(
        "schema: what may have been renamed is taken for a drop", "node/syncnode/schema/follow.py",
        "    if any(_unclear(table, found, went) for table in before.tables):\n"
        "        return Followed(before)\n", "",
        "tests/node/test_renamed.py::test_a_column_that_went_while_another_came_is_let_go_of_when_"
        "somebody_says_so",
    ),
    Mutant(
        "schema: a renamed table is another one for the network", "node/syncnode/schema/renamed.py",
        "            found[new] = before\n", "            found[new] = new\n",
        "tests/node/test_renamed.py::test_a_new_site_with_the_new_names_names_its_rows_as_the_"
        "others_do",
    ),
    Mutant(
        "schema: a deleter has not seen the column that is gone",
        "node/syncnode/capture/dropped.py",
        "seen=union_seen(delete.seen, claimed)", "seen=delete.seen",
        "tests/node/test_migrations.py::test_a_delete_at_a_site_without_the_column_deletes_for_"
        "those_who_have_it",
    ),
    Mutant(
        "PostgreSQL: the schema is followed beside who writes", "node/syncnode/operations/"
        "recapturing.py",
        "IN SHARE ROW EXCLUSIVE MODE", "IN ACCESS SHARE MODE",
        "tests/node/test_following.py::test_a_transaction_that_is_open_while_the_schema_changes_"
        "loses_nothing[engines0]",
    ),
    Mutant(
        "join: a row keeps the reading that it had", "node/syncnode/comparing/adopting.py",
        "moves.add(line, Stamp(hlc, stamp.origin, stamp.seq))",
        "moves.add(line, Stamp(line.hlc, stamp.origin, stamp.seq))",
        "tests/node/test_adopting.py::test_times_that_the_rule_does_not_say_are_told",
    ),
    Mutant(
        "join: stamps that were given up are claimed", "node/syncnode/comparing/adopting.py",
        'book.set(RENEWAL_DUE, "1")', "pass",
        "tests/node/test_adopting.py::test_a_copy_of_the_joining_site_that_comes_later_ends_equal",
    ),
    Mutant(
        "join: rows are told that changed since they were compared",
        "node/syncnode/comparing/pages.py",
        "line.lsn <= reading.lsn and line.cells is None", "line.cells is None",
        "tests/node/test_adopting.py::test_writes_on_both_sides_at_every_step_of_a_join",
    ),
    Mutant(
        "join: what changed here meanwhile is not fetched", "node/syncnode/operations/adopting.py",
        "page.of.wanted += [*left, *unsure]", "page.of.wanted += left",
        "tests/node/test_adopting.py::test_writes_on_both_sides_at_every_step_of_a_join",
    ),
    Mutant(
        "join: the inviter goes on behind what is half fetched",
        "node/syncnode/operations/adopting.py",
        "part = replace(chunk, base=base, after=0, upto=0, claim=None)",
        "part = replace(chunk, base=base, after=0, claim=None)",
        "tests/node/test_adopting.py::test_a_site_that_is_killed_while_it_takes_over_ends_equal",
    ),
    Mutant(
        "join: what is claimed next does not reach back", "node/syncnode/store/sidecar.py",
        "1 if settings.get(ADOPTED) else loaded.lsn + 1", "loaded.lsn + 1",
        "tests/node/test_adopting.py::test_who_meets_the_site_before_the_inviter_gets_everything",
    ),
    Mutant(
        "join: the rest lacks rows of which something is beside", "node/syncnode/store/table.py",
        "(c.syncnode_cells IS NOT NULL OR EXISTS", "(c.syncnode_cells IS NOT NULL AND EXISTS",
        "tests/node/test_adopting.py::test_rows_that_are_the_same_and_not_plain_come_with_the_rest",
    ),
    Mutant(
        "bundles: a claim is taken without its base (A9)", "protocol/syncproto/bundle_rules.py",
        "if not held.includes(base):", "if False:",
        "tests/node/test_bundles.py::test_a_bundle_without_its_base_waits_and_claims_nothing",
    ),
    Mutant(
        "couriers: a claim is taken without its base (A9)", "protocol/syncproto/bundle_rules.py",
        "if not held.includes(base):", "if held is base:",
        "tests/protocol/test_couriers.py",
    ),
    Mutant(
        "bundles: a claim is taken without all parts", "protocol/syncproto/bundle_rules.py",
        "    if not whole:", "    if not whole and held is base:",
        "tests/protocol/test_couriers.py",
    ),
    Mutant(
        "bundles: another process has applied it", "node/syncnode/replica.py",
        "if bundle is None or in_steps(tx):", "if in_steps(tx):",
        "tests/node/test_bundles.py::test_what_another_process_has_taken_is_not_taken_again",
    ),
    Mutant(
        "bundles: what waits is not taken after an exchange", "node/syncnode/replica.py",
        "        if receipt.applied:\n            self.take_bundles()\n", "",
        "tests/node/test_bundles.py::test_what_waits_for_its_base_is_taken_when_an_exchange_brings_"
        "that",
    ),
    Mutant(
        "bundles: what is not received is claimed", "node/syncnode/operations/importing.py",
        "scopes = (letter.base.scopes & held.scopes) - ways.unreceived",
        "scopes = letter.base.scopes & held.scopes",
        "tests/node/test_bundle_members.py::test_what_a_reader_does_not_receive_is_neither_shown_"
        "nor_claimed",
    ),
    Mutant(
        "join: rows are told before the anchor knows", "node/syncnode/replica.py",
        "        self._raise_anchor(origin.incarnation, seq, lsn, hlc, lsn)\n", "",
        "tests/node/test_adopting.py::test_what_is_told_is_never_told_under_that_number_again",
    ),
    Mutant(
        "received only: a later image counts", NODE_SEAL,
        "undoing.undo({pk: one for pk, one in rows.items() if pk not in seen})",
        "undoing.undo(rows)",
        received("the_first_image_of_a_journal_counts_however_it_is_cut"),
    ),
    Mutant(
        "received only: rows without a key stand", NODE_SEAL,
        "undo_copies(self, table, [line for line, _, _ in lines])", "pass",
        received("random_writes_are_undone_and_each_is_on_record_once"),
    ),
    Mutant(
        "received only: what went is not on record", UNDOING,
        "undone_delete(self.table.name, clock.key, state, self._stamp(state, touched.ms))",
        "*()", received("rows_come_back_under_their_local_keys_and_what_a_cascade_took_is_gone"),
    ),
    Mutant(
        "received only: another local key", UNDOING,
        "local = self.table.local_of(pk)", "local = None",
        received("rows_come_back_under_their_local_keys_and_what_a_cascade_took_is_gone"),
    ),
    Mutant(
        "received only: rows that refer to each other are read before they have names", UNDOING,
        "here = self._here(rows)  # these", "pass  # these",
        received("rows_that_refer_to_each_other_are_on_record_by_their_names"),
    ),
    Mutant(
        "received only: after a restart nothing is due", NODE_REPLICA,
        "name='{DUE}' AND value<>'' LIMIT 1", "name='{DUE}' AND value='' LIMIT 1",
        received("what_is_not_written_back_yet_is_told_to_nobody_and_comes_back_after_a_restart"),
    ),
    Mutant(
        "received only: an inserted row has cells for ever", "node/syncnode/apply/restoring.py",
        "wanted.row = Row({}, Delete((stamp,), {}))",
        "from syncproto.row import Cell; wanted.row = Row({'note': Cell(stamp, 'x')}, "
        "Delete((stamp._replace(hlc=stamp.hlc + 1),), {}))",
        received("a_row_that_was_inserted_here_stays_as_long_as_rows_refer_to_it"),
    ),
    Mutant(
        "received only: what children send counts", "node/syncnode/store/link_words.py",
        "FROM syncnode_peer WHERE role<>'{CHILD}'", "FROM syncnode_peer WHERE role<>''",
        received("a_peers_word_makes_a_table_only_received_and_what_children_get_does_not_count"),
    ),
    Mutant(
        "received only: one way out does not count", "node/syncnode/store/link_words.py",
        "frozenset(received - sent)", "frozenset(received & {*tables} if sent else received)",
        received("a_peers_word_makes_a_table_only_received_and_what_children_get_does_not_count"),
    ),
    Mutant(
        "received only: what was written before is undone, too",
        "node/syncnode/operations/guarding.py",
        "        _sealer(tx, book, before).seal()\n", "",
        received("what_was_written_before_a_table_was_only_received_stays_and_is_named"),
    ),
    Mutant(
        "received only: forgotten when the schema changes", "node/syncnode/schema/follow.py",
        "        received_only=before.received_only,\n", "",
        received("a_column_that_comes_later_is_undone_like_others"),
    ),
    Mutant(
        "received only: a column that came later stays", "node/syncnode/apply/restoring.py",
        "            _write_bare(settler, table, rows)\n", "",
        received("a_column_that_comes_later_is_undone_like_others"),
    ),
    Mutant(
        "received only: a row keeps what another needs back", "node/syncnode/apply/restoring.py",
        "            _give_way(settler, table, rows)\n", "",
        received("a_row_that_took_the_place_of_two_gives_both_back"),
    ),
    Mutant(
        "received only: images lose their parents between two steps", UNDOING,
        "        self.sealer.vacant.append((self.table, pk))\n        local",
        "        self.table.delete_clocks(self.sealer._tx, [pk])\n        local",
        received("images_of_later_steps_know_the_rows_that_went_before"),
    ),
    Mutant(
        "received only: the value that lost is taken", "node/syncnode/apply/taking.py",
        "if table.plan.received_only:", "if False:",
        received("the_record_says_why_and_the_value_cannot_be_taken_here"),
    ),
    Mutant(
        "files: content goes before rows", "node/syncnode/files/supply.py",
        "        if link.told is None or link.behind:\n            return None\n", "",
        files("files_wait_until_all_rows_are_exchanged"),
    ),
    Mutant(
        "files: what came is not compared with its hash", "node/syncnode/files/folder.py",
        "return self.digest(f\"{PARTS}/{content.digest.hex()}\", stat_of(found)) == content.digest",
        "return True",
        files("wrong_content_is_refused_and_named_and_taken_from_another_site"),
    ),
    Mutant(
        "files: names lead out of the directory", "node/syncnode/files/names.py",
        'if any(part in ("", ".", "..") for part in parts):', "if False:",
        files("names_that_lead_elsewhere_are_followed_by_nobody"),
    ),
    Mutant(
        "files: what came is taken for a change of ours", "node/syncnode/files/catalogue.py",
        "digest in (before.digest, before.coming)", "digest == before.digest",
        files("a_process_that_is_killed_while_it_puts_a_file_repeats_nobodys_past"),
    ),
    Mutant(
        "files: the loser of a conflict goes to the trash", "node/syncnode/files/catalogue.py",
        "keep = known is not None and (entry.key, known.digest) in self._losers", "keep = False",
        files("two_sites_that_write_one_name_both_keep_what_they_wrote"),
    ),
    Mutant(
        "files: an edit before an arrival gives way", "node/syncnode/files/catalogue.py",
        "        return self.folder.is_as_known(known)\n\n    def _take_away",
        "        return True\n\n    def _take_away",
        files("what_was_written_between_look_and_arrival_stays"),
    ),
    Mutant(
        "files: a fetch begins anew", "node/syncnode/files/supply.py",
        "if offset >= content.size or self._must_begin_anew(content.digest):", "if offset:",
        files("a_fetch_that_is_cut_anywhere_goes_on_from_there"),
    ),
    Mutant(
        "files: a rule keeps back the manifest alone", "node/syncnode/files/supply.py",
        "if one.table not in unsent]", "]",
        files("content_is_not_given_where_a_rule_keeps_the_manifest_back"),
    ),
    Mutant(
        "files: links are followed", "node/syncnode/files/folder.py",
        '_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)',
        "_FOLDER = os.O_RDONLY",
        files("a_link_in_the_way_is_not_followed"),
    ),
    Mutant(
        "files: times are a conflict", KEEPING,
        'if not manifest or one.column in ("", "content")', "if True",
        files("equal_files_of_two_sites_are_no_conflict"),
    ),
)  # fmt: skip
