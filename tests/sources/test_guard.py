"""Which addresses are refused, and that a name cannot change its answer after it was checked."""

from __future__ import annotations

import socket

import httpx
import pytest

from tests.sources.web_server import answer
from vpdata.errors import Reason, RejectItem
from vpdata.sources.guard import GuardedTransport, is_public, literal_address


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.100.100.200",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fec0::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::10.0.0.1",
        "2002:7f00:1::",
    ],
)
def test_private_loopback_link_local_and_multicast_addresses_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::6810:84e5", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_ordinary_addresses_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1"])
def test_every_spelling_of_an_address_is_recognised(host):
    assert literal_address(host) == "127.0.0.1"


def test_a_name_spells_out_no_address():
    assert literal_address("example.org") is None
    assert literal_address("exämple.org") is None


def _resolver(*answers: list[str]):
    """Gives the first list of addresses to the first caller, the next to the next, and counts."""
    calls = []

    def resolve(host, port, **_):
        calls.append(host)
        addresses = answers[min(len(calls), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return resolve, calls


def _client(resolve, *, allow_private=False, secret_headers=None):
    transport = GuardedTransport(allow_private=allow_private, secret_headers=secret_headers or {}, resolve=resolve)
    return httpx.Client(transport=transport, trust_env=False, follow_redirects=True, timeout=5)


def test_one_private_address_among_public_ones_blocks_the_host():
    resolve, _ = _resolver(["93.184.216.34", "127.0.0.1"])
    with _client(resolve) as client, pytest.raises(RejectItem) as error:
        client.get("http://video.example/a.mp4")
    assert error.value.reason is Reason.BLOCKED_ADDRESS
    assert "allow_private_hosts" in error.value.detail


def test_a_name_that_resolves_to_loopback_is_blocked(web):
    with _client(socket.getaddrinfo) as client, pytest.raises(RejectItem) as error:
        client.get(f"http://localhost:{web.server_port}/a.mp4")
    assert error.value.reason is Reason.BLOCKED_ADDRESS
    assert web.asked == []


def test_a_name_server_that_changes_its_answer_gains_nothing(web):
    # The second answer is what a rebinding attack would connect to; the name must be asked for only once.
    resolve, calls = _resolver(["127.0.0.1"], ["192.0.2.1"])
    web.routes["/a.mp4"] = answer(body=b"abc")
    with _client(resolve, allow_private=True) as client:
        got = client.get(f"http://video.example:{web.server_port}/a.mp4")
    assert got.content == b"abc"
    assert calls == ["video.example"]
    assert web.asked[0][1]["host"] == f"video.example:{web.server_port}"


def test_the_next_address_is_tried_when_one_does_not_answer(web):
    resolve, _ = _resolver(["127.0.0.3", "127.0.0.1"])  # the web server listens on 127.0.0.1 alone
    web.routes["/a.mp4"] = answer(body=b"abc")
    with _client(resolve, allow_private=True) as client:
        assert client.get(f"http://video.example:{web.server_port}/a.mp4").content == b"abc"


def test_a_secret_header_is_not_sent_over_plain_http_nor_to_another_host(web):
    resolve, _ = _resolver(["127.0.0.1"])
    web.routes["/a.mp4"] = answer(body=b"abc")
    secrets = {"video.example": ("Authorization", "planted-secret")}
    with _client(resolve, allow_private=True, secret_headers=secrets) as client:
        client.get(f"http://video.example:{web.server_port}/a.mp4")
    assert "authorization" not in web.asked[0][1]
