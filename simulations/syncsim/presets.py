"""Link classes with figures from the field, and clinics of three sizes.

Sources mostly give round trips: half of one is put down to each way. Where a source gives no
loss, and for the spread of delays, the figure is our estimate, and `source` says so.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeVar

from syncsim.scenario import Delay, LinkClass, Profile

_BITS = 1 / 8  # bytes
_KBIT = 1_000 / 8
_MBIT = 1_000_000 / 8

_WEBPAGETEST = "WebPageTest, connectivity profiles (connectivity.ini)"

_T = TypeVar("_T", LinkClass, Profile)


def _by_name(things: Iterable[_T]) -> Mapping[str, _T]:
    return MappingProxyType({thing.name: thing for thing in things})


LINKS: Mapping[str, LinkClass] = _by_name(
    (
        LinkClass(
            "lan",
            "IEEE 802.3u, 100BASE-TX: 100 Mbit/s; delay of a switch and two hosts estimated",
            Delay("fixed", 1.0),
            up_bytes_s=100 * _MBIT,
            down_bytes_s=100 * _MBIT,
        ),
        LinkClass(
            "cable",
            f"{_WEBPAGETEST}, Cable: 5 Mbit/s down, 1 Mbit/s up, 28 ms round trip",
            Delay("lognormal", 14.0, 0.2),
            up_bytes_s=1 * _MBIT,
            down_bytes_s=5 * _MBIT,
        ),
        LinkClass(
            "adsl",
            f"{_WEBPAGETEST}, DSL: 1.5 Mbit/s down, 384 kbit/s up, 50 ms round trip; "
            "loss of 0.1 % estimated",
            Delay("lognormal", 25.0, 0.3),
            loss=0.001,
            up_bytes_s=384 * _KBIT,
            down_bytes_s=1.5 * _MBIT,
        ),
        LinkClass(
            "gsm-gprs",
            "Firefox Developer Tools, network throttling, GPRS: 50 kbit/s down, 20 kbit/s up, "
            "500 ms round trip; loss of 3 % estimated",
            Delay("lognormal", 250.0, 0.5),
            loss=0.03,
            up_bytes_s=20 * _KBIT,
            down_bytes_s=50 * _KBIT,
        ),
        LinkClass(
            "gsm-edge",
            f"{_WEBPAGETEST}, Mobile Edge: 240 kbit/s down, 200 kbit/s up, 840 ms round trip; "
            "loss of 2 % estimated",
            Delay("lognormal", 420.0, 0.5),
            loss=0.02,
            up_bytes_s=200 * _KBIT,
            down_bytes_s=240 * _KBIT,
        ),
        LinkClass(
            "gsm-3g",
            f"{_WEBPAGETEST}, 3G Slow: 400 kbit/s, 400 ms round trip; Dahunsi and Akinlabi, "
            '"Measuring mobile broadband performance in Nigeria: 2G and 3G", Nigerian Journal of '
            "Technology 2019, found about 450 kbit/s; loss of 1 % estimated",
            Delay("lognormal", 200.0, 0.4),
            loss=0.01,
            up_bytes_s=400 * _KBIT,
            down_bytes_s=400 * _KBIT,
        ),
        LinkClass(
            "lte",
            f"{_WEBPAGETEST}, 4G: 9 Mbit/s, 170 ms round trip; loss of 0.5 % estimated",
            Delay("lognormal", 85.0, 0.3),
            loss=0.005,
            up_bytes_s=9 * _MBIT,
            down_bytes_s=9 * _MBIT,
        ),
        LinkClass(
            "vsat",
            'Zheleva, Schmitt, Vigil and Belding, "Internet Bandwidth Upgrade" (rural Zambia), '
            "ITID: a satellite link of 256 kbit/s; a quarter of it upwards estimated. RFC 2488: "
            "279 ms from ground to ground at the edge of the view, 558 ms round trip. SLAC "
            "PingER: Africa lost up to a few per cent of packets; 2 % taken",
            Delay("lognormal", 300.0, 0.2),
            loss=0.02,
            up_bytes_s=64 * _KBIT,
            down_bytes_s=256 * _KBIT,
        ),
        LinkClass(
            "starlink",
            'Michel et al., "Fact checking Starlink\'s performance figures", APNIC blog 2022: '
            "round trips of 50 ms (40 to 60), 100 to 300 Mbit/s down; 10 Mbit/s up and loss of "
            "1 % estimated",
            Delay("lognormal", 25.0, 0.3),
            loss=0.01,
            up_bytes_s=10 * _MBIT,
            down_bytes_s=100 * _MBIT,
        ),
        LinkClass(
            "inmarsat",
            "Inmarsat, FleetBroadband Best Practices Manual 2009: FB150, up to 150 kbit/s, shared "
            "by all in a beam. RFC 2488: 279 ms from ground to ground; the delay of the network "
            "behind it, and loss of 1 %, estimated",
            Delay("lognormal", 450.0, 0.3),
            loss=0.01,
            up_bytes_s=150 * _KBIT,
            down_bytes_s=150 * _KBIT,
        ),
        LinkClass(
            "iridium",
            "mailasail.com, Iridium Bandwidth: 2,400 bit/s whatever the modem says; "
            "cruisersforum.com, E-mail via Iridium: pings take 2 to 3 s; loss of 1 % estimated",
            Delay("lognormal", 1_250.0, 0.2),
            loss=0.01,
            up_bytes_s=2_400 * _BITS,
            down_bytes_s=2_400 * _BITS,
        ),
        LinkClass(
            "hf-radio",
            'Isode, "Why IP over HF Radio should be Avoided" 2008: typically 1,200 bit/s; '
            '"Performance Measurements of Application using IP over HF Radio": a small message '
            "takes 6 to 20 s; loss of 5 % estimated",
            Delay("uniform", 13_000.0, 0.54),
            loss=0.05,
            up_bytes_s=1_200 * _BITS,
            down_bytes_s=1_200 * _BITS,
        ),
        LinkClass(
            "one-kbit",
            "OpenMRS Sync module, its documentation on Rwanda: 1 kbit/s or less at times; delay "
            "of a second and loss of 5 % estimated",
            Delay("lognormal", 1_000.0, 0.3),
            loss=0.05,
            up_bytes_s=1 * _KBIT,
            down_bytes_s=1 * _KBIT,
        ),
    )
)

# Derived figures, none of them published: visits and new patients a day of an OpenMRS site, at
# 40 rows a visit (as AMPATH's 31 to 36 obs a visit come to) and 8 rows a new patient. In OpenMRS
# a health centre writes 2,100 rows a day then, 0.11 MB compressed.
PEOPLE: Mapping[str, Profile] = _by_name(
    (
        Profile("small health centre", visits_a_day=20, patients_a_day=3),
        Profile("health centre", visits_a_day=50, patients_a_day=8),
        Profile("district hospital", visits_a_day=300, patients_a_day=50),
    )
)
