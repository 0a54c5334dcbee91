"""Sites on a LAN find each other: zeroconf on loopback, and real daemons in network namespaces."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import trio
from lan_sites import PORT, LanSite, all_hold
from processes import eventually

from syncnode import operations
from syncnode.__main__ import main
from syncnode.links import lan as lan_module
from syncnode.links.lan import (
    Announcement,
    Own,
    Sighting,
    announced_addresses,
    discover,
    is_near,
    usable,
)
from syncnode.settings.config import read_settings
from syncnode.settings.lan_settings import Lan
from syncproto.errors import ConfigError
from syncproto.identity import SiteId
from syncproto.messages import PROTOCOL_VERSION

LOOPBACK = Lan(True, ("127.0.0.1",))
HERE, THERE = (SiteId(bytes((number,)) * 16) for number in (1, 2))
NETWORK = b"network1"

# Settings


def settings(folder, text):
    path = folder / "syncnode.toml"
    path.write_text(f'name = "kigali"\ndatabase = "sqlite:///site.db"\n{text}')
    return read_settings(path).lan


def test_discovery_is_off_unless_it_is_asked_for(tmp_path):
    assert settings(tmp_path, "") == Lan(False, ())
    assert settings(tmp_path, '[lan]\ninterfaces = ["eth0"]\n') == Lan(False, ("eth0",))
    assert settings(tmp_path, "[lan]\ndiscover = true\n") == Lan(True, ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('discover = "yes"', "write true or false"),
        ("interfaces = []", "name one, such as"),
        ("discovery = true", "did you mean discover"),
    ],
)
def test_wrong_settings_are_named_with_their_line(tmp_path, text, said):
    with pytest.raises(ConfigError, match=rf"syncnode\.toml:4: .*{said}"):
        settings(tmp_path, f"[lan]\n{text}\n")


# Addresses


def test_only_interfaces_with_private_addresses_are_used():
    found = [
        Own("lo", "127.0.0.1"),
        Own("eth0", "192.168.7.2"),
        Own("eth1", "41.186.9.1"),
        Own("eth2", "10.0.0.5"),
        Own("eth2", "41.186.9.2"),  # a public address beside: not a LAN of ours alone
        Own("wlan0", "169.254.3.3"),
        Own("cgn0", "100.64.0.7"),
    ]
    assert usable(Lan(True), found) == ["169.254.3.3", "192.168.7.2"]
    assert usable(Lan(True, ("eth0",)), found) == ["192.168.7.2"]
    assert usable(Lan(True, ("127.0.0.1", "169.254.3.3")), found) == ["127.0.0.1", "169.254.3.3"]
    # Also when they are named.
    assert usable(Lan(True, ("eth1", "eth2", "41.186.9.1", "cgn0")), found) == []


def test_nobody_is_called_at_a_public_address():
    assert [is_near(one) for one in ("10.1.2.3", "192.168.0.9", "8.8.8.8", "224.0.0.251")] == [
        True,
        True,
        False,
        False,
    ]


def test_a_site_is_announced_where_it_listens():
    both = ["10.0.0.5", "192.168.7.2"]
    assert announced_addresses("0.0.0.0", both) == both
    assert announced_addresses("10.0.0.5", both) == ["10.0.0.5"]
    assert announced_addresses("127.0.0.1", both) == []


# zeroconf on loopback


class Ear:
    def __init__(self):
        self.sightings = {}
        self.gone = []
        self.notices = []

    def heard(self, site, sighting):
        if sighting is None:
            self.gone.append(site)
            self.sightings.pop(site, None)
        else:
            self.sightings[site] = sighting

    async def until(self, ask):
        with trio.fail_after(20):
            while not ask(self):
                await trio.sleep(0.01)


def announcement(site, port):
    return Announcement(site, NETWORK, PROTOCOL_VERSION, "127.0.0.1", port)


async def test_two_sites_hear_of_each_other_of_an_end_and_of_a_return():
    threads = set(threading.enumerate())
    one, other = Ear(), Ear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(discover, announcement(HERE, 8470), LOOPBACK, one.heard, print)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as inner:
                inner.start_soon(discover, announcement(THERE, 8471), LOOPBACK, other.heard, print)
                await one.until(lambda ear: THERE in ear.sightings)
                await other.until(lambda ear: HERE in ear.sightings)
                scope.cancel()
        expected = Sighting(HERE, NETWORK, PROTOCOL_VERSION, ("https://127.0.0.1:8470",))
        assert other.gone == [HERE]  # who looks no more sees nobody
        await one.until(lambda ear: ear.gone == [THERE])
        nursery.start_soon(discover, announcement(THERE, 8472), LOOPBACK, other.heard, print)
        await one.until(lambda ear: THERE in ear.sightings)
        assert one.sightings[THERE].urls == ("https://127.0.0.1:8472",)
        await other.until(lambda ear: ear.sightings == {HERE: expected})
        nursery.cancel_scope.cancel()
    left = {thread.name for thread in set(threading.enumerate()) - threads}
    assert not {name for name in left if not name.startswith("Trio thread")}


async def test_a_machine_that_has_slept_is_announced_anew(monkeypatch):
    asleep_s = [0.0]
    monkeypatch.setattr(lan_module, "CHECK_S", 0.05)
    monkeypatch.setattr(lan_module, "_asleep_s", lambda: asleep_s[0])
    one, other = Ear(), Ear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(discover, announcement(HERE, 8470), LOOPBACK, one.heard, print)
        nursery.start_soon(discover, announcement(THERE, None), LOOPBACK, other.heard, print)
        await other.until(lambda ear: HERE in ear.sightings)
        asleep_s[0] = 3_600.0
        await other.until(lambda ear: HERE in ear.gone)
        await other.until(lambda ear: HERE in ear.sightings)
        assert one.sightings == {}  # the other one only looks
        nursery.cancel_scope.cancel()


async def test_without_an_interface_discovery_waits_and_says_so(monkeypatch):
    monkeypatch.setattr(lan_module, "CHECK_S", 0.05)
    ear = Ear()
    with trio.move_on_after(0.5):
        nowhere = Lan(True, ("nosuch0",))
        await discover(announcement(HERE, 1), nowhere, ear.heard, ear.notices.append)
    assert ear.notices == ["LAN discovery waits: no interface with a private address among nosuch0"]


ASKING = """
import itertools, socket, sys
from zeroconf import DNSOutgoing, DNSQuestion, const
ids = itertools.count(1)  # a question that was just asked is not answered again
def ask(source, target, wait_s):
    out = DNSOutgoing(const._FLAGS_QR_QUERY, multicast=False, id_=next(ids))
    out.add_question(DNSQuestion("_syncnode._tcp.local.", const._TYPE_PTR, const._CLASS_IN))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.bind((source, 0))
        asking.settimeout(wait_s)
        asking.sendto(out.packets()[0], (target, 5353))
        try:
            return asking.recv(9000)
        except TimeoutError:
            return b""
near, public = sys.argv[1:3], sys.argv[3:5]
assert any(ask(*near, 0.5) for _ in range(40)), "not announced"
assert not ask(*public, 1.0)
assert ask(*near, 5.0)
"""
ANNOUNCING = """
import trio
from syncnode.links.lan import *
site = Announcement(SiteId(bytes(16)), bytes(8), 1, "0.0.0.0", 8470)
trio.run(discover, site, Lan(True), lambda *_: None, print)
"""


@pytest.mark.lan
def test_who_asks_from_a_public_address_gets_no_answer(lan):
    """zeroconf hears at every address of the machine; the internet must not learn of a site."""
    here, there = lan.machine(), lan.machine()
    here.join_to(there, "41.186.9.1", "41.186.9.2")
    announcing = subprocess.Popen(here.inside(sys.executable, "-c", ANNOUNCING))
    try:
        addresses = [there.address, here.address, "41.186.9.2", "41.186.9.1"]
        there.run(sys.executable, "-c", ASKING, *map(str, addresses))
    finally:
        announcing.terminate()
        announcing.wait()


# Daemons on machines of their own


@pytest.fixture
def site(lan, tmp_path):
    """Makes sites, each on a machine of its own, that end with the test."""
    made = []

    def make(name, **options):
        made.append(LanSite(tmp_path, name, lan.machine(), **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def start(*sites):
    for one in sites:
        one.launch()
    for one in sites:
        one.await_start()


@pytest.mark.lan
def test_sites_of_a_network_converge_without_an_address_and_strangers_get_nothing(site, capsys):
    kigali, rwinkwavu, kirehe, lusaka = map(site, ("kigali", "rwinkwavu", "kirehe", "lusaka"))
    kigali.let_in(rwinkwavu)
    rwinkwavu.let_in(kirehe)  # never heard of by kigali
    ours = [kigali, rwinkwavu, kirehe]
    for one in (*ours, lusaka):
        one.add_patient(one.name)
    lusaka.machine.count_calls(PORT)
    start(*ours, lusaka)
    names = {one.name for one in ours}
    eventually(all_hold(ours, names))
    eventually(lambda: kigali.sees(kirehe) and kirehe.sees(kigali))
    assert {name: peer.role for name, peer in kigali.peers().items()} == {
        "rwinkwavu": "child",
        "kirehe": "member",
    }

    # The stranger is listed, and nobody has called it.
    eventually(lambda: all(one.sees(lusaka, "another network") for one in ours))
    listed = {one.site: one for one in operations.lan(kigali.settings)}
    assert (listed[lusaka.id].name, listed[lusaka.id].standing) == (None, "another network")
    assert main(["peers", "--config", str(kigali.config)]) == 0
    assert f"{lusaka.id}  https://{lusaka.machine.address}:{PORT}" in capsys.readouterr().out
    assert lusaka.machine.calls() == 0
    assert set(lusaka.patients().values()) == {"lusaka"}

    # Another address: what is written there still arrives, and what is written elsewhere, there.
    kirehe.machine.move("10.77.7.77")
    kirehe.add_patient("after the move")
    kigali.add_patient("to the new address")
    eventually(all_hold(ours, names | {"after the move", "to the new address"}))
    moved = f"https://10.77.7.77:{PORT}"
    eventually(lambda: kigali.seen().get(kirehe.id) == (moved, "peer"))

    # Goodbye.
    assert rwinkwavu.stop() == 0
    assert lusaka.stop() == 0
    eventually(lambda: kigali.seen().keys() == {kirehe.id}, within_s=10)
    assert "Traceback" not in "".join(one.log() for one in (*ours, lusaka))
    kirehe.add_patient("without the middle")
    eventually(lambda: "without the middle" in kigali.patients().values())


@pytest.mark.lan
def test_an_impostor_gets_no_data_and_a_revoked_member_gets_no_more(site, lan, tmp_path):
    kigali, rwinkwavu, kirehe = map(site, ("kigali", "rwinkwavu", "kirehe"))
    absent = site("butaro")
    kigali.let_in(rwinkwavu)
    kigali.let_in(absent)
    start(kigali)
    # By the real command, so that what the daemon answers holds a certificate.
    url = f"https://{kigali.machine.address}:{PORT}"
    token = operations.invite(kigali.settings, "kirehe", role="child", url=url).token
    kirehe.run("join", token, "--yes")
    thief = lan.machine()
    ((network,),) = kigali.sql("SELECT value FROM syncnode_setting WHERE name='network'")
    said = tmp_path / "impostor.txt"
    program = [sys.executable, str(Path(__file__).parents[1] / "lan_impostor.py")]
    arguments = [absent.id, network, str(thief.address), str(PORT)]
    with said.open("w") as out:
        impostor = subprocess.Popen(thief.inside(*program, *arguments), stdout=out, stderr=out)
    try:
        start(rwinkwavu, kirehe)
        kirehe.add_patient("Ann")
        eventually(all_hold([kigali, rwinkwavu, kirehe], {"Ann"}))
        eventually(lambda: kigali.sees(absent, "who answers there is"))
        assert "called" in said.read_text()
        assert "got" not in said.read_text()
    finally:
        impostor.terminate()
        impostor.wait()

    eventually(lambda: rwinkwavu.sees(kirehe) and kirehe.sees(rwinkwavu))
    assert main(["revoke", "kirehe", "--config", str(kigali.config)]) == 0
    eventually(lambda: "kirehe" not in rwinkwavu.peers() and "kirehe" not in kigali.peers())
    eventually(lambda: kigali.sees(kirehe, "was revoked") and rwinkwavu.sees(kirehe, "was revoked"))
    kigali.add_patient("Ben")
    kirehe.add_patient("Cid")
    eventually(all_hold([kigali, rwinkwavu], {"Ann", "Ben"}))
    eventually(lambda: "not known here" in kirehe.peers()["kigali"].trouble)
    assert set(kirehe.patients().values()) == {"Ann", "Cid"}
