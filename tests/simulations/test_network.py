"""The network: what becomes of messages, when links are closed, and what the quiet heals."""

import statistics
from collections.abc import Sequence

import pytest

from syncsim.events import Mishap
from syncsim.network import LATE_FACTOR, PACKET_BYTES, Delivery, Network, drawn
from syncsim.scenario import (
    DAY_MS,
    HOUR_MS,
    Delay,
    Link,
    LinkClass,
    Meetings,
    Scenario,
    Site,
    generator,
)

LOW, HIGH = 0, 1  # the clinic and its hub
MIDNIGHT_UNIX_MS = 1_767_571_200_000  # 2026-01-05 00:00 UTC


def network(kind: LinkClass, seed: int = 1, faults_ms: int = DAY_MS) -> Network:
    scenario = Scenario(
        "a link",
        (Site("clinic", "hub"), Site("hub")),
        (Link("clinic", "hub", kind.name),),
        {kind.name: kind},
        {},
        start_unix_ms=MIDNIGHT_UNIX_MS,
        faults_ms=faults_ms,
    )
    return Network(scenario, seed)


def sent(link: Network, size: int, count: int, *, twins: bool = False) -> Sequence[Delivery]:
    """Messages a minute apart, so that none waits for another."""
    return [link.send(LOW, HIGH, size, 60_000 * n, twins=twins) for n in range(count)]


def test_a_message_takes_the_delay_and_its_length():
    link = network(LinkClass("line", delay=Delay("fixed", 40.0), up_bytes_s=1_000))
    assert link.send(LOW, HIGH, 500, 0) == Delivery(540)


def test_messages_of_one_direction_wait_for_each_other():
    link = network(LinkClass("line", delay=Delay("fixed", 40.0), up_bytes_s=1_000))
    arrivals = [link.send(LOW, HIGH, 500, now_ms).arrives_ms for now_ms in (0, 100, 5_000)]
    assert arrivals == [540, 1_040, 5_540]


def test_the_two_directions_have_rates_of_their_own_and_do_not_wait_for_each_other():
    link = network(LinkClass("line", delay=Delay("fixed", 0.0), up_bytes_s=100, down_bytes_s=1_000))
    assert link.send(LOW, HIGH, 1_000, 0).arrives_ms == 10_000
    assert link.send(HIGH, LOW, 1_000, 0).arrives_ms == 1_000


def test_without_a_bound_only_the_delay_counts():
    link = network(LinkClass("line", delay=Delay("fixed", 25.0)))
    assert [d.arrives_ms for d in sent(link, 10**9, 3)] == [25, 60_025, 120_025]


def test_loss_makes_messages_late_and_breaks_some_connections():
    kind = LinkClass("radio", delay=Delay("fixed", 50.0), loss=0.4, up_bytes_s=10_000)
    link = network(kind)
    deliveries = sent(link, 3 * PACKET_BYTES, 1_000)
    broken = [delivery for delivery in deliveries if delivery.arrives_ms is None]
    # A packet is given up after six losses: 0.4 ** 6 = 0.4 %, three times a message.
    assert 3 <= len(broken) <= 30
    assert link.lost == len(broken)
    ideal_ms = 50 + 3 * PACKET_BYTES / 10
    took = [d.arrives_ms - 60_000 * n for n, d in enumerate(deliveries) if d.arrives_ms]
    assert min(took) == round(ideal_ms)
    assert statistics.mean(took) > 1.5 * ideal_ms


def test_packets_that_are_sent_again_take_up_the_line_again():
    link = network(LinkClass("radio", delay=Delay("fixed", 0.0), loss=0.2, up_bytes_s=100_000))
    sizes = [10 * PACKET_BYTES for _ in range(500)]
    arrivals = [link.send(LOW, HIGH, size, 0).arrives_ms for size in sizes]
    line_ms = max(arrival for arrival in arrivals if arrival is not None)
    # A packet is sent 1 / (1 - 0.2) times; the last message waits for its own losses, too.
    assert line_ms == pytest.approx(sum(sizes) / 100 * 1.25, rel=0.06)


def test_a_longer_message_is_more_likely_to_be_lost():
    kind = LinkClass("radio", loss=0.4)
    short = sum(d.arrives_ms is None for d in sent(network(kind), PACKET_BYTES, 500))
    long = sum(d.arrives_ms is None for d in sent(network(kind), 50 * PACKET_BYTES, 500))
    assert long > 5 * max(short, 1)


def test_a_message_without_a_body_can_be_lost_too():
    deliveries = sent(network(LinkClass("radio", loss=0.5)), 0, 1_000)
    assert 5 <= sum(delivery.arrives_ms is None for delivery in deliveries) <= 40


def test_requests_come_twice_or_a_copy_comes_late():
    kind = LinkClass("odd", delay=Delay("fixed", 100.0), duplication=0.2, reordering=0.25)
    link = network(kind)
    deliveries = sent(link, 100, 1_000, twins=True)
    later = [d.twin_ms - d.arrives_ms for d in deliveries if d.twin_ms is not None]
    assert later.count(100) == link.twins
    assert later.count(round(100 * LATE_FACTOR)) == link.late
    assert len(later) == link.twins + link.late
    assert 150 <= link.twins <= 250
    assert 150 <= link.late <= 250  # a quarter of those that did not come twice


def test_answers_never_come_twice():
    link = network(LinkClass("odd", duplication=1.0, reordering=1.0))
    assert {delivery.twin_ms for delivery in sent(link, 100, 50)} == {None}


def test_a_link_is_closed_outside_its_hours():
    link = network(LinkClass("sea", open_ms=((8 * HOUR_MS, 12 * HOUR_MS),)))
    works = [hour for hour in range(24) if link.works(LOW, HIGH, hour * HOUR_MS)]
    assert works == [8, 9, 10, 11]
    assert not link.works(HIGH, LOW, 12 * HOUR_MS)
    assert link.send(LOW, HIGH, 1, 3 * HOUR_MS).arrives_ms is None
    assert link.links_down(3 * HOUR_MS) == [0]
    assert link.links_down(9 * HOUR_MS) == []


def test_hours_are_those_of_the_day_not_of_the_run():
    kind = LinkClass("sea", open_ms=((8 * HOUR_MS, 12 * HOUR_MS),))
    scenario = Scenario(
        "begins at ten",
        (Site("clinic", "hub"), Site("hub")),
        (Link("clinic", "hub", "sea"),),
        {"sea": kind},
        {},
        start_unix_ms=MIDNIGHT_UNIX_MS + 10 * HOUR_MS,
        faults_ms=3 * DAY_MS,
    )
    link = Network(scenario, 1)
    works = [hour for hour in range(48) if link.works(LOW, HIGH, hour * HOUR_MS)]
    assert works == [0, 1, 22, 23, 24, 25, 46, 47]


def test_a_message_that_is_under_way_at_closing_time_is_lost():
    kind = LinkClass("sea", up_bytes_s=1.0, open_ms=((0, HOUR_MS),), delay=Delay("fixed", 0.0))
    link = network(kind)
    assert link.send(LOW, HIGH, 3_000, 0).arrives_ms == 3_000_000
    assert link.send(LOW, HIGH, 3_000, 0).arrives_ms is None


def test_sites_that_meet_by_chance_are_apart_most_of_the_time():
    kind = LinkClass("road", meetings=Meetings(gap_ms=6 * HOUR_MS, length_ms=HOUR_MS))
    link = network(kind, faults_ms=100 * DAY_MS)
    minutes = range(0, 100 * DAY_MS, 60_000)
    share = sum(link.works(LOW, HIGH, minute) for minute in minutes) / len(minutes)
    assert 0.11 < share < 0.18  # one hour in seven
    assert all(
        link.works(LOW, HIGH, minute) == link.works(HIGH, LOW, minute) for minute in minutes[:999]
    )


def test_in_the_quiet_everything_works():
    kind = LinkClass(
        "worst",
        delay=Delay("fixed", 10.0),
        loss=0.9,
        duplication=1.0,
        reordering=1.0,
        open_ms=((0, 1),),
        meetings=Meetings(10**9, 1),
    )
    link = network(kind, faults_ms=HOUR_MS)
    assert not link.works(LOW, HIGH, HOUR_MS - 1)
    quiet = [link.send(LOW, HIGH, 10**6, HOUR_MS + n, twins=True) for n in range(100)]
    assert quiet == [Delivery(HOUR_MS + n + 10) for n in range(100)]


def test_a_cut_goes_one_way_if_it_is_told_so_and_heals():
    link = network(LinkClass("line", delay=Delay("fixed", 10.0)))
    mishap = Mishap(0, "partition", 1_000, (HIGH,), frozenset({(LOW, HIGH)}))
    link.cut(mishap)
    assert not link.works(LOW, HIGH, 0)
    assert link.works(HIGH, LOW, 0)
    assert link.send(LOW, HIGH, 1, 5) == Delivery(None, 5)
    assert link.links_down(0) == [0]
    link.cut(mishap)  # a second partition over the same link
    link.heal(mishap)
    assert not link.works(LOW, HIGH, 0)
    link.heal(mishap)
    assert link.send(LOW, HIGH, 1, 5) == Delivery(15)


def test_where_there_is_no_link_nothing_arrives():
    link = network(LinkClass("line"))
    assert link.link_of(LOW, HIGH) == link.link_of(HIGH, LOW) == 0
    assert link.link_of(LOW, 7) is None
    assert not link.works(LOW, 7, 0)
    assert link.send(LOW, 7, 1, 0).arrives_ms is None


@pytest.mark.parametrize(
    ("delay", "mean_ms"),
    [
        (Delay("fixed", 100.0), 100),
        (Delay("uniform", 100.0, 0.5), 100),
        (Delay("exponential", 100.0), 100),
        (Delay("lognormal", 100.0, 0.5), 113),  # median 100, mean exp(sigma² / 2) of it
    ],
)
def test_delays_follow_their_distribution(delay, mean_ms):
    rng = generator(1, "delays")
    values = [drawn(delay, rng) for _ in range(20_000)]
    assert statistics.mean(values) == pytest.approx(mean_ms, rel=0.03)
    assert min(values) >= 0
    if delay.kind == "uniform":
        assert 50 <= min(values) < 51
        assert 149 < max(values) <= 150
    if delay.kind == "lognormal":
        assert statistics.median(values) == pytest.approx(100, rel=0.03)


def test_the_same_seed_gives_the_same_fate_to_every_message_and_another_seed_another():
    kind = LinkClass(
        "odd", delay=Delay("lognormal", 100.0, 0.5), loss=0.2, duplication=0.1, reordering=0.1
    )
    fates = [sent(network(kind, seed), 5_000, 200, twins=True) for seed in (1, 1, 2)]
    assert fates[0] == fates[1] != fates[2]


def test_the_two_directions_have_fates_of_their_own():
    link = network(LinkClass("odd", delay=Delay("exponential", 100.0)))
    there = [link.send(LOW, HIGH, 1, 0).arrives_ms for _ in range(20)]
    back = [link.send(HIGH, LOW, 1, 0).arrives_ms for _ in range(20)]
    assert there != back


def test_what_one_direction_draws_shifts_nothing_in_the_other():
    kind = LinkClass("odd", delay=Delay("exponential", 100.0), loss=0.2)
    alone, busy = network(kind), network(kind)
    expected = sent(alone, 2_000, 50)
    for n in range(500):
        busy.send(HIGH, LOW, 2_000, n)
    assert sent(busy, 2_000, 50) == expected
