"""Which addresses are refused, whatever they are called. Real connections to a real listener on loopback."""

from ipaddress import ip_network

import pytest

from tests.hooks.receiver import Receiver
from tracker.errors import InvalidField
from tracker.hooks.guard import NOT_ALLOWED, AddressRefused, Guard
from tracker.hooks.sender import Sender

NOWHERE = Guard(())
SPELLINGS_OF_LOOPBACK = [
    "127.0.0.1",
    "127.8.8.8",
    "localhost",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "①②⑦.0.0.1",
    "2130706433",
    "127.1",
    "0x7f000001",
    "0.0.0.0",
]
NOT_PUBLIC = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0:7f00:1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
PUBLIC = ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("host", SPELLINGS_OF_LOOPBACK)
async def test_no_spelling_of_loopback_is_reached(host: str, receiver: Receiver) -> None:
    sender = Sender(NOWHERE)
    answer = await sender.post(receiver.url.replace("127.0.0.1", host), {}, b"{}")
    await sender.close()
    assert answer.status is None
    # The two that aiohttp itself takes for no address at all never come as far as a socket.
    assert answer.error == NOT_ALLOWED or host in ("2130706433", "127.1")
    assert receiver.requests == []


async def test_a_refusal_reads_the_same_whether_somebody_listens_or_not(receiver: Receiver, free_port: int) -> None:
    sender = Sender(NOWHERE)
    answers = [
        await sender.post(url, {}, b"{}")
        for url in (receiver.url, f"http://127.0.0.1:{free_port}/", "http://10.0.0.1/")
    ]
    await sender.close()
    assert {answer.error for answer in answers} == {NOT_ALLOWED}


async def test_listed_networks_are_reached_over_plain_http_on_any_port(receiver: Receiver) -> None:
    sender = Sender(Guard([ip_network("127.0.0.1/32")]))
    for host in ("127.0.0.1", "[::ffff:127.0.0.1]", "localhost"):
        assert (await sender.post(receiver.url.replace("127.0.0.1", host), {}, b'{"type":"hook.test"}')).status == 204
    await sender.close()


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_is_not_public_is_refused_with_and_without_tls(address: str) -> None:
    assert not NOWHERE.permits(address, plain=True)
    assert not NOWHERE.permits(address, plain=False)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_for_tls_only(address: str) -> None:
    assert NOWHERE.permits(address, plain=False)
    assert not NOWHERE.permits(address, plain=True)


def test_a_listed_network_allows_its_addresses_and_no_others() -> None:
    guard = Guard([ip_network("10.1.0.0/16"), ip_network("fd00::/8")])
    assert guard.permits("10.1.2.3", plain=True)
    assert guard.permits("::ffff:10.1.2.3", plain=True)
    assert guard.permits("fd00::1", plain=False)
    assert not guard.permits("10.2.0.1", plain=True)
    assert not guard.permits("127.0.0.1", plain=False)


def test_the_factory_makes_no_socket_for_a_refused_address() -> None:
    make = NOWHERE.socket_factory(plain=False)
    with pytest.raises(AddressRefused):
        make((2, 1, 6, "", ("127.0.0.1", 443)))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/hook",
        "example.com/hook",
        "ftp://example.com/",
        "https://",
        "https:///hook",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://[::1",
        "https://user:secret@example.com/",
        "https://example.com/#part",
        "https://example.com/a b",
        "https://example.com/\n",
        "https://example.com/" + "x" * 2_000,
        "http://127.0.0.1/",
        "https://[::ffff:10.0.0.1]/",
        "https://①②⑦.0.0.1/",
        "http://8.8.8.8/",
    ],
)
def test_urls_that_cannot_be_a_hook_are_refused_when_they_are_given(url: str) -> None:
    with pytest.raises(InvalidField) as caught:
        NOWHERE.check_url(url)
    assert caught.value.field == "url"


@pytest.mark.parametrize(
    "url", ["https://example.com/hook?a=b", "http://example.com/", "https://8.8.8.8:8443/", "https://hö.example/"]
)
def test_a_name_is_judged_when_it_is_connected_to(url: str) -> None:
    assert NOWHERE.check_url(url) == url
