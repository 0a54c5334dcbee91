"""When people do something: a Poisson process whose rate follows the day and the week.

Drawn by thinning (Lewis and Shedler, "Simulation of Nonhomogeneous Poisson Processes by
Thinning", 1979). `Scenario.scale` thins it further: there are fewer events, none is smaller.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random

from syncsim.scenario import DAY_MS, Profile, Scenario

MORNING = 1.5  # the rate at opening, by the day's mean; it falls steadily to 0.5 at closing
SATURDAY = 5


def arrivals(
    scenario: Scenario, profile: Profile, events_a_day: float, rng: Random
) -> Iterator[int]:
    """Moments of the working days, in ascending order, until the quiet begins.

    Args:
        events_a_day: On a day that is no weekend, at full scale.
    """
    opens_ms, closes_ms = profile.hours_ms
    length_ms = closes_ms - opens_ms
    if events_a_day <= 0 or length_ms <= 0:
        return
    peak = MORNING * events_a_day * scenario.scale / length_ms
    midnight_ms = scenario.start_unix_ms % DAY_MS
    weekday = datetime.fromtimestamp(scenario.start_unix_ms // 1000, UTC).weekday()
    at = 0.0
    while True:
        day, time_of_day = divmod(midnight_ms + at, DAY_MS)
        if time_of_day < opens_ms:
            at += opens_ms - time_of_day
            continue
        at += rng.expovariate(peak)
        if at >= scenario.faults_ms:
            return
        since_opening = midnight_ms + at - day * DAY_MS - opens_ms
        if since_opening >= length_ms:
            # The process has no memory: it may begin anew tomorrow.
            at = (day + 1) * DAY_MS - midnight_ms
            continue
        share = 1 - (2 - 2 / MORNING) * since_opening / length_ms
        if (weekday + day) % 7 >= SATURDAY:
            share *= profile.weekend
        if rng.random() < share:
            yield int(at)
