"""Tables, plots and the page: what they show is what the results hold, for any name and size."""

import base64
import csv
import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from handmade_runs import handmade, tree_scenario
from hypothesis import given
from hypothesis import strategies as st

from syncsim.events import Mishap
from syncsim.report import tables as tables_module
from syncsim.report.curves import curves
from syncsim.report.layout import positions
from syncsim.report.packing import packed_columns, packed_sets
from syncsim.report.page import page
from syncsim.report.tables import frames, tables, write_csv, write_parquet
from syncsim.report.text import columns, duration, number, parse_moment_ms, share, size
from syncsim.scenario import DAY_MS, HOUR_MS, Link, Scenario, Site

SCENARIO = tree_scenario(2, 3)
PAGE_BYTES_MAX = 2_000_000  # 2,300 sites and 200 samples, sent by e-mail


# Words


@pytest.mark.parametrize(
    ("length_ms", "text"),
    [
        (0, "0s"),
        (850, "850ms"),
        (1_500, "1.5s"),
        (59_000, "59s"),
        (125_000, "2m 5s"),
        (3 * DAY_MS + 4 * HOUR_MS, "3d 4h"),
        (7 * DAY_MS, "7d"),
        (DAY_MS + 1_000, "1d"),
        (-60_000, "-1m"),
        (None, "-"),
    ],
)
def test_lengths_of_time_are_written_in_two_units(length_ms, text):
    assert duration(length_ms) == text


@pytest.mark.parametrize(
    ("text", "moment_ms"),
    [
        ("3d4h", 3 * DAY_MS + 4 * HOUR_MS),
        ("1d 12h", DAY_MS + 12 * HOUR_MS),
        ("90s", 90_000),
        ("250ms", 250),
        ("4", None),
        ("4h4h", None),
        ("h", None),
        ("-4h", None),
        ("", None),
    ],
)
def test_moments_are_read(text, moment_ms):
    assert parse_moment_ms(text) == moment_ms


def test_figures_are_written_for_people():
    assert [number(value) for value in (0, 1234567, 0.5, 1234.56)] == [
        "0",
        "1,234,567",
        "0.5",
        "1,234.6",
    ]
    assert [size(value) for value in (12, 1_250, 3_400_000, 38.2e9)] == [
        "12 B",
        "1.25 kB",
        "3.4 MB",
        "38.2 GB",
    ]
    # What is nearly all is not all, nor a little nothing.
    assert [share(value) for value in (0, 0.00001, 0.5, 0.99999, 1)] == [
        "0 %",
        "<0.1 %",
        "50 %",
        ">99.9 %",
        "100 %",
    ]


def test_a_table_escapes_what_a_terminal_would_act_upon():
    text = columns(("site", "lacks"), [("a\x1b[2J", "1"), ("bb", "200")])
    assert text == "site      lacks\na\\x1b[2J      1\nbb          200"


# Tables


def test_csv_holds_what_the_results_hold(tmp_path):
    results = handmade(SCENARIO)
    for name, table in tables(results).items():
        write_csv(tmp_path / f"{name}.csv", table)
    with (tmp_path / "sites.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["site"] for row in rows] == list(SCENARIO.names())
    assert [row["parent"] for row in rows][:2] == ["", "hub"]
    assert [int(row["staleness_p90_ms"]) for row in rows] == [
        site.staleness_ms[1] for site in results.sites
    ]
    with (tmp_path / "behind.csv").open() as file:
        behind = [[int(row[name]) for name in SCENARIO.names()] for row in csv.DictReader(file)]
    assert behind == list(results.behind)
    with (tmp_path / "series.csv").open() as file:
        series = list(csv.DictReader(file))
    assert [int(row["time_ms"]) for row in series] == list(results.times_ms)
    assert [float(row["current"]) for row in series] == list(results.series["current"])


def test_frames_are_lists_where_pandas_is_not(monkeypatch):
    monkeypatch.setattr(tables_module, "find_spec", lambda _: None)
    results = handmade(SCENARIO)
    found = frames(results)
    assert set(found) == {"series", "sites", "links", "ages", "behind"}
    assert found["links"]["bytes_up"] == [link.bytes_up for link in results.links]
    assert found["series"]["time_ms"] == list(results.times_ms)


def test_frames_are_pandas_where_it_is():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: syncnode[tables]")
    results = handmade(SCENARIO)
    found = frames(results)
    assert isinstance(found["sites"], pandas.DataFrame)
    assert found["sites"]["writes"].sum() == sum(site.writes for site in results.sites)
    assert list(found["behind"].columns) == ["time_ms", *SCENARIO.names()]


def test_parquet_holds_the_same_as_csv(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: syncnode[tables]")
    from pyarrow import parquet

    for name, table in tables(handmade(SCENARIO)).items():
        assert write_parquet(tmp_path / "table.parquet", table), name
        read = parquet.read_table(tmp_path / "table.parquet").to_pydict()
        assert read == {column: list(values) for column, values in table.items()}


# Plots


def test_plots_have_the_same_bytes_each_time(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: syncnode[plots]")
    from syncsim.report.plots import write_plots

    contents = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        names = write_plots(tmp_path / name, handmade(SCENARIO))
        contents.append([(tmp_path / name / written).read_bytes() for written in names])
    assert contents[0] == contents[1]
    assert {Path(written).stem for written in names} == {
        *("convergence", "behind", "staleness", "bytes", "conflicts")
    }
    assert {Path(written).suffix for written in names} == {".png", ".svg"}
    assert all(len(content) > 5_000 for content in contents[0])


# Layout


def tree(*fanout: int) -> tuple[list[int | None], list[tuple[int, int]]]:
    index = {name: place for place, name in enumerate(tree_scenario(*fanout).names())}
    parents = [index[site.parent] if site.parent else None for site in tree_scenario(*fanout).sites]
    return parents, [(site, parent) for site, parent in enumerate(parents) if parent is not None]


def least_distance(points: list[tuple[float, float]]) -> float:
    in_order = sorted(points)
    least = 2.0
    for place, (x, y) in enumerate(in_order):
        for other_x, other_y in in_order[place + 1 :]:
            if other_x - x >= least:
                break
            least = min(least, math.dist((x, y), (other_x, other_y)))
    return least


@pytest.mark.parametrize(
    ("fanout", "apart"), [((44,), 0.12), ((4, 10), 0.12), ((30, 75), 0.014), ((5, 6, 7), 0.02)]
)
def test_no_two_sites_of_a_tree_lie_on_each_other(fanout, apart):
    points = positions(*tree(*fanout))
    assert least_distance(points) > apart
    assert all(-1 <= x <= 1 and -1 <= y <= 1 for x, y in points)


def test_a_ring_is_drawn_as_a_ring_whatever_the_order_of_its_sites():
    order = [0, 5, 2, 7, 4, 1, 6, 3]
    links = [(order[place], order[(place + 1) % 8]) for place in range(8)]
    points = positions([None] * 8, links)
    lengths = {round(math.dist(points[one], points[other]), 3) for one, other in links}
    assert len(lengths) == 1
    assert lengths.pop() < 0.9


@given(
    st.integers(1, 30).flatmap(
        lambda count: st.lists(
            st.one_of(st.none(), st.integers(0, count - 1)), min_size=count, max_size=count
        )
    )
)
def test_any_network_can_be_drawn_also_a_senseless_one(parents):
    links = [(site, parent) for site, parent in enumerate(parents) if parent not in (None, site)]
    points = positions(parents, links)
    assert len(points) == len(parents)
    assert all(-1.0001 <= x <= 1.0001 and -1.0001 <= y <= 1.0001 for x, y in points)
    assert points == positions(parents, links)


def test_a_chain_of_thousands_of_sites_can_be_drawn():
    points = positions([None, *range(4_999)], [(site, site - 1) for site in range(1, 5_000)])
    assert len(set(points)) == 5_000


# The page


class Parts(HTMLParser):
    """What of a page matters here: elements, attributes, and the text of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] == "script" and data.strip():
            self.scripts.append(data)


def unpacked(text: str) -> list[int]:
    numbers, value, weight = [], 0, 1
    for byte in base64.b64decode(text):
        value += (byte & 127) * weight
        weight *= 128
        if byte < 128:
            numbers.append(value)
            value, weight = 0, 1
    return numbers


def unpacked_columns(text: str, rows: int, count: int) -> list[list[int]]:
    numbers = iter(unpacked(text))
    found = []
    for _ in range(count):
        column: list[int] = []
        value = 0
        while len(column) < rows:
            code = next(numbers)
            if code == 0:
                column += [value] * next(numbers)
            else:
                value += -(code + 1) // 2 if code % 2 else code // 2
                column.append(value)
        found.append(column)
    assert list(numbers) == []
    return [list(row) for row in zip(*found, strict=True)]


def unpacked_sets(text: str, rows: int) -> list[list[int]]:
    numbers = iter(unpacked(text))
    found, now = [], set()
    for _ in range(rows):
        member = 0
        for _ in range(next(numbers)):
            member += next(numbers)
            now ^= {member}
        found.append(sorted(now))
    assert list(numbers) == []
    return found


@given(
    st.integers(1, 6).flatmap(
        lambda width: st.lists(
            st.lists(st.integers(0, 400), min_size=width, max_size=width), min_size=1, max_size=12
        )
    )
)
def test_a_packed_matrix_is_read_back(matrix):
    assert unpacked_columns(packed_columns(matrix), len(matrix), len(matrix[0])) == matrix


@given(st.lists(st.sets(st.integers(0, 300), max_size=9), max_size=12))
def test_packed_sets_are_read_back(sets):
    assert unpacked_sets(packed_sets(sets), len(sets)) == [sorted(members) for members in sets]


def data_of(text: str) -> dict:
    return json.loads(Parts(text).scripts[0])


def test_the_page_holds_the_whole_matrix_and_the_links_that_were_down():
    results = handmade(SCENARIO)
    data = data_of(page(results, SCENARIO))
    assert unpacked_columns(data["behind"], 40, len(SCENARIO.sites)) == list(results.behind)
    assert unpacked_sets(data["links_down"], 40) == list(results.links_down)
    assert any(results.links_down)
    assert data["sites"]["name"] == list(SCENARIO.names())
    assert data["times_ms"] == list(results.times_ms)


def test_the_page_stays_small_and_quick_for_a_country_of_facilities():
    scenario = tree_scenario(30, 75)
    assert len(scenario.sites) == 2_281
    text = page(handmade(scenario, points=200), scenario)
    assert len(text) < PAGE_BYTES_MAX
    data = data_of(text)
    assert len(data["x"]) == 2_281
    assert 2 * data["dot"] < least_distance(list(zip(data["x"], data["y"], strict=True))) * 1.3


def test_the_page_asks_nothing_of_the_network():
    parts = Parts(page(handmade(SCENARIO), SCENARIO))
    policy = [attributes for tag, attributes in parts.elements if tag == "meta"]
    assert any("default-src 'none'" in (meta.get("content") or "") for meta in policy)
    tags = {tag for tag, _ in parts.elements}
    assert not tags & {"link", "img", "iframe", "object", "embed", "audio", "video", "base"}
    assert not {"src", "href"} & {name for _, attributes in parts.elements for name in attributes}
    urls = re.findall(r"https?://[^\s\"'<]+", page(handmade(SCENARIO), SCENARIO))
    assert set(urls) <= {"http://www.w3.org/2000/svg"}


EVIL = "</script><script>alert(1)</script><!--\u2028&{{story}}"


def test_no_name_can_break_out_of_the_page():
    sites = (Site(EVIL), Site("b", EVIL))
    scenario = tree_scenario(
        1, title=EVIL, story=EVIL, sites=sites, links=(Link("b", EVIL, "vsat"),)
    )
    results = handmade(scenario, verdicts={EVIL: EVIL}, faults={EVIL: 3})
    mishap = Mishap(0, EVIL, 1_000, (0,))
    parts = Parts(page(results, scenario, [mishap]))
    assert len([tag for tag, _ in parts.elements if tag == "script"]) == 2
    assert data_of(page(results, scenario))["sites"]["name"][0] == EVIL
    assert "alert(1)" not in parts.scripts[1]


def test_the_page_says_what_scale_means_and_what_failed():
    scenario = tree_scenario(2, scale=0.01)
    text = page(handmade(scenario, verdicts={"log": "two changes have one name"}), scenario)
    assert "multiplied by 1/scale = 100" in text
    assert '<p class="outcome bad">' in text
    assert "two changes have one name" in text
    assert "A satellite is all they have." in text
    full = page(handmade(SCENARIO), SCENARIO)
    assert "1/scale" not in full
    assert '<p class="outcome good">' in full


def test_a_run_of_one_site_without_links_has_a_page_too():
    scenario = Scenario("Alone", (Site("only"),), (), {}, {})
    results = handmade(
        scenario,
        times_ms=(0,),
        behind=[[0]],
        links_down=[[]],
        series={
            name: [0]
            for name in (
                "writes",
                "behind",
                "current",
                "bytes",
                "rounds",
                "conflicts",
                "parked",
                "cut",
            )
        },
    )
    data = data_of(page(results, scenario))
    assert data["x"] == [0.0]
    assert curves(results)[0].title.startswith("Staleness")


def test_every_curve_of_the_results_is_drawn_within_its_frame():
    from syncsim.report.curves import BOTTOM, LEFT, RIGHT, TOP, svg

    drawn = curves(handmade(SCENARIO))
    assert len(drawn) == 8
    for curve in drawn:
        text = svg(curve, quiet_ms=SCENARIO.faults_ms)
        lines = re.findall(r'<polyline class="line line\d" points="([^"]*)"', text)
        assert len(lines) == len(curve.lines)
        for x, y in (point.split(",") for line in lines for point in line.split()):
            assert LEFT - 0.1 <= float(x) <= RIGHT + 0.1
            assert TOP - 0.1 <= float(y) <= BOTTOM + 0.1


def test_a_browser_draws_the_network_and_follows_the_slider(tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("chromium is not installed: the page's script is not run")
    scenario = tree_scenario(3, 4)
    results = handmade(scenario)
    totals = [sum(sample) for sample in results.behind]
    # Where sites lack less than at the sample before, though they still lack something.
    chosen = next(sample for sample in range(1, 40) if 0 < totals[sample] < totals[sample - 1] / 2)
    moved = f"""<script>
        const slider = document.getElementById("time");
        slider.value = {chosen};
        slider.dispatchEvent(new Event("input"));
    </script></body>"""
    text = page(results, scenario).replace("</body>", moved)
    (tmp_path / "report.html").write_text(text)
    done = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            *(f"--user-data-dir={tmp_path / 'profile'}", f"file://{tmp_path / 'report.html'}"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    elements = Parts(done.stdout).elements
    dots = [attributes for tag, attributes in elements if tag == "circle"]
    most = max(map(max, results.behind))
    factor = next(factor for factor in (2, 3, 5, 10) if factor**4 > most)
    levels = [
        f"lack{sum(lacks >= step for step in (1, factor, factor**2, factor**3))}"
        for lacks in results.behind[chosen]
    ]
    assert [dot["class"] for dot in dots] == levels
    assert len(set(levels)) > 1
    off = [attributes.get("class") for tag, attributes in elements if tag == "line"]
    drawn_off = [
        link
        for link, words in enumerate(words for words in off if words in ("off", ""))
        if words == "off"
    ]
    assert drawn_off == results.links_down[chosen]
    assert f"{sum(results.behind[chosen]) / len(dots):.2f}".rstrip("0") in done.stdout
    rows = done.stdout.split('<table id="sites">')[1].split("</table>")[0]
    assert rows.count("<tr>") == 1 + len(scenario.sites)
