"""Real processes over a link that is cut again and again: what has crossed is not sent again."""

import pytest
from benchmarks.relay import Line, Relay
from processes import ProcessSite, eventually

ROWS = 2_500
THIN = Line(20_000, 0.01)
CUTS, CUT_AFTER_BYTES = 3, 10_000


@pytest.fixture
def centre(tmp_path):
    made = [ProcessSite(tmp_path, "hub").init(), ProcessSite(tmp_path, "centre").init()]
    yield made
    for site in made:
        site.close()


def fill(site):
    site.sql("BEGIN")
    for number in range(ROWS):
        site.add_patient(f"patient {number}")
    site.sql("COMMIT")


def test_rows_come_across_a_link_that_breaks_all_the_time(centre):
    hub, clinic = centre
    port = int(hub.listen.rpartition(":")[2])
    with hub.serving(), Relay(port) as link:
        hub.admit(clinic, "--url", f"https://127.0.0.1:{link.port}")
        clinic.run("sync")
        fill(clinic)
        link.shape(up=THIN, down=THIN)
        began = link.up_bytes
        with clinic.serving():
            for number in range(1, CUTS + 1):
                link.cut_after(CUT_AFTER_BYTES)
                eventually(lambda number=number: link.cuts == number)
                assert len(hub.patients()) < ROWS, "there was more to come"
            eventually(lambda: len(hub.patients()) == ROWS)
            crossed, began = link.up_bytes - began, link.up_bytes
            fill(clinic)
            eventually(lambda: len(hub.patients()) == 2 * ROWS)
            whole = link.up_bytes - began
        assert hub.patients() == clinic.patients()
    # What crossed before each cut was not sent again, but for what was on the line, a record and a
    # handshake.
    assert crossed < whole + 0.7 * CUTS * CUT_AFTER_BYTES
