"""Downloads from servers that break, lie, redirect, stall and refuse."""

from __future__ import annotations

import datetime
import logging
import socket
import ssl
import time
from dataclasses import replace

import pytest

from tests.sources.web_server import answer, hang_up, send_head
from vpdata.errors import ConfigError, Reason, RejectItem, StorageError
from vpdata.sources import HostCredential, SourceSettings
from vpdata.sources.download import fetch

BODY = bytes(range(256)) * 400


def download(url, tmp_path, settings, **options):
    target = tmp_path / "download"
    fetch(url, target, name="the-source", settings=settings, **options)
    return target.read_bytes()


def rejected(url, tmp_path, settings, **options) -> RejectItem:
    with pytest.raises(RejectItem) as error:
        download(url, tmp_path, settings, **options)
    return error.value


def in_pieces(*sizes, tag='"v1"', body=BODY):
    """An answer that breaks off after sizes[k] further bytes in the k-th request, and honours Range and If-Range."""
    left = list(sizes)

    def send(handler):
        start = int(handler.headers.get("Range", "bytes=0-")[6:-1])
        if start and handler.headers["If-Range"] == tag:
            content_range = f"bytes {start}-{len(body) - 1}/{len(body)}"
            send_head(handler, 206, content_length=len(body) - start, content_range=content_range, etag=tag)
        else:
            start = 0
            send_head(handler, 200, content_length=len(body), etag=tag)
        stop = start + left.pop(0) if left else len(body)
        handler.wfile.write(body[start:stop])
        if stop < len(body):
            hang_up(handler)

    return send


def test_a_whole_answer_is_the_file(web, tmp_path, settings):
    web.routes["/a.mp4"] = answer(body=BODY, content_type="video/mp4; codecs=avc1")
    assert download(f"{web.url}/a.mp4", tmp_path, settings) == BODY


def test_a_broken_download_goes_on_where_it_stopped(web, tmp_path, settings):
    web.routes["/a.mp4"] = in_pieces(1000, 5000)
    assert download(f"{web.url}/a.mp4", tmp_path, settings) == BODY
    ranges = [headers.get("range") for _, headers in web.asked]
    assert ranges == [None, "bytes=1000-", "bytes=6000-"]


def test_a_file_that_changed_in_between_is_downloaded_from_the_start(web, tmp_path, settings):
    other = BODY[::-1]
    answers = [in_pieces(1000), in_pieces(tag='"v2"', body=other)]
    web.routes["/a.mp4"] = lambda handler: answers.pop(0)(handler)
    assert download(f"{web.url}/a.mp4", tmp_path, settings) == other


def test_a_weak_tag_is_not_trusted_for_resuming(web, tmp_path, settings):
    web.routes["/a.mp4"] = in_pieces(1000, tag='W/"v1"')
    assert download(f"{web.url}/a.mp4", tmp_path, settings) == BODY
    assert [headers.get("range") for _, headers in web.asked] == [None, None]


def test_a_range_other_than_the_one_asked_for_is_not_glued_together(web, tmp_path, settings):
    def wrong_range(handler):
        send_head(handler, 206, content_length=10, content_range=f"bytes 0-9/{len(BODY)}", etag='"v1"')
        handler.wfile.write(BODY[:10])

    answers = [in_pieces(1000), wrong_range, in_pieces()]
    web.routes["/a.mp4"] = lambda handler: answers.pop(0)(handler)
    assert download(f"{web.url}/a.mp4", tmp_path, settings) == BODY
    assert [headers.get("range") for _, headers in web.asked] == [None, "bytes=1000-", None]


def test_a_range_that_cannot_be_satisfied_starts_over(web, tmp_path, settings):
    answers = [in_pieces(1000), answer(416), in_pieces()]
    web.routes["/a.mp4"] = lambda handler: answers.pop(0)(handler)
    assert download(f"{web.url}/a.mp4", tmp_path, settings) == BODY


def test_a_server_that_promises_more_than_it_sends_is_given_up(web, tmp_path, settings):
    def short(handler):
        send_head(handler, 200, content_length=len(BODY) + 1)
        handler.wfile.write(BODY)

    web.routes["/a.mp4"] = short
    assert rejected(f"{web.url}/a.mp4", tmp_path, settings).reason is Reason.FETCH_FAILED
    assert len(web.asked) == settings.retries + 1


def test_a_chunked_answer_that_stops_half_way_is_given_up(web, tmp_path, settings):
    def half(handler):
        send_head(handler, 200, transfer_encoding="chunked")
        handler.wfile.write(b"10\r\n0123456789abcdef\r\n")

    web.routes["/a.mp4"] = half
    assert rejected(f"{web.url}/a.mp4", tmp_path, settings).reason is Reason.FETCH_FAILED


def test_an_answer_longer_than_its_length_says_is_cut_there(web, tmp_path, settings):
    def longer(handler):
        send_head(handler, 200, content_length=10)
        handler.wfile.write(BODY)

    web.routes["/a.mp4"] = longer
    assert download(f"{web.url}/a.mp4", tmp_path, settings) == BODY[:10]


def test_too_large_by_its_header_is_refused_before_a_byte_is_kept(web, tmp_path, settings):
    web.routes["/a.mp4"] = answer(body=BODY)
    error = rejected(f"{web.url}/a.mp4", tmp_path, replace(settings, max_bytes=len(BODY) - 1))
    assert error.reason is Reason.TOO_MANY_BYTES
    assert (tmp_path / "download").read_bytes() == b""


def test_too_large_without_a_header_is_stopped_at_the_limit(web, tmp_path, settings):
    def endless(handler):
        send_head(handler, 200, transfer_encoding="chunked")
        while True:
            handler.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    web.routes["/a.mp4"] = endless
    error = rejected(f"{web.url}/a.mp4", tmp_path, replace(settings, max_bytes=300_000))
    assert error.reason is Reason.TOO_MANY_BYTES
    assert (tmp_path / "download").stat().st_size <= 300_000


def test_a_server_that_dribbles_passes_the_time_limit(web, tmp_path, settings):
    def dribble(handler):
        send_head(handler, 200, content_length=10**6)
        for _ in range(100):
            handler.wfile.write(b"x" * 1000)
            handler.wfile.flush()
            time.sleep(0.05)

    web.routes["/a.mp4"] = dribble
    error = rejected(f"{web.url}/a.mp4", tmp_path, replace(settings, timeout_s=0.3))
    assert error.reason is Reason.FETCH_TIMEOUT


def test_a_server_that_stalls_in_the_body_is_a_timeout(web, tmp_path, settings):
    def stall(handler):
        send_head(handler, 200, content_length=100)
        handler.wfile.write(b"x" * 10)
        handler.wfile.flush()
        time.sleep(0.5)

    web.routes["/a.mp4"] = stall
    error = rejected(f"{web.url}/a.mp4", tmp_path, replace(settings, stall_s=0.1, retries=1))
    assert error.reason is Reason.FETCH_TIMEOUT


@pytest.mark.parametrize("kind", ["text/html", "text/html; charset=utf-8", "image/png", "application/json"])
def test_what_is_no_video_by_its_content_type_is_rejected(web, tmp_path, settings, kind):
    web.routes["/a.mp4"] = answer(body=b"<html>", content_type=kind)
    error = rejected(f"{web.url}/a.mp4", tmp_path, settings)
    assert error.reason is Reason.WRONG_CONTENT_TYPE
    assert error.got == kind.partition(";")[0]


@pytest.mark.parametrize("kind", ["video/x-matroska", "APPLICATION/OCTET-STREAM", "binary/octet-stream", ""])
def test_video_types_and_unknown_bytes_are_taken(web, tmp_path, settings, kind):
    web.routes["/a"] = answer(body=BODY, content_type=kind)
    assert download(f"{web.url}/a", tmp_path, settings) == BODY


def test_a_compressed_answer_is_rejected_since_it_was_not_asked_for(web, tmp_path, settings):
    web.routes["/a.mp4"] = answer(body=b"xx", content_encoding="gzip")
    assert rejected(f"{web.url}/a.mp4", tmp_path, settings).reason is Reason.WRONG_CONTENT_TYPE
    assert web.asked[0][1]["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("status", "reason"),
    [(404, Reason.SOURCE_GONE), (410, Reason.SOURCE_GONE), (401, Reason.FETCH_FAILED), (403, Reason.FETCH_FAILED)],
)
def test_a_refusal_is_final(web, tmp_path, settings, status, reason):
    web.routes["/a.mp4"] = answer(status)
    error = rejected(f"{web.url}/a.mp4", tmp_path, settings)
    assert (error.reason, error.got) == (reason, f"HTTP {status}")
    assert len(web.asked) == 1


def test_a_server_error_of_one_file_is_that_files_fault(web, tmp_path, settings):
    web.routes["/a.mp4"] = answer(500)
    assert rejected(f"{web.url}/a.mp4", tmp_path, settings).reason is Reason.FETCH_FAILED
    assert len(web.asked) == settings.retries + 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_an_overloaded_server_is_no_sources_fault(web, tmp_path, settings, status):
    web.routes["/a.mp4"] = answer(status)
    with pytest.raises(StorageError, match=r"the-source.*unreachable after 3 attempts.*Run the same command again"):
        download(f"{web.url}/a.mp4", tmp_path, settings)


def test_a_server_that_recovers_delivers(web, tmp_path, settings):
    answers = [answer(503, retry_after="0"), hang_up, answer(body=BODY)]
    web.routes["/a.mp4"] = lambda handler: answers.pop(0)(handler)
    assert download(f"{web.url}/a.mp4", tmp_path, settings) == BODY


def test_a_server_that_asks_for_a_longer_wait_than_is_left_is_not_asked_again(web, tmp_path, settings):
    web.routes["/a.mp4"] = answer(503, retry_after="3600")
    with pytest.raises(StorageError, match="unreachable after 1 attempts: HTTP 503"):
        download(f"{web.url}/a.mp4", tmp_path, settings=replace(settings, timeout_s=600))
    assert len(web.asked) == 1


def test_a_wait_that_the_server_asks_for_is_kept(web, tmp_path, settings):
    times_s = []

    def busy_once(handler):
        times_s.append(time.monotonic())
        (answer(429, retry_after="1") if len(times_s) == 1 else answer(body=BODY))(handler)

    web.routes["/a.mp4"] = busy_once
    assert download(f"{web.url}/a.mp4", tmp_path, settings) == BODY
    assert times_s[1] - times_s[0] >= 1


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_server_that_is_down_stops_the_run_unless_told_to_reject(tmp_path, settings):
    url = f"http://127.0.0.1:{_free_port()}/a.mp4"
    with pytest.raises(StorageError, match=r"source\.unreachable=reject"):
        download(url, tmp_path, settings)
    error = rejected(url, tmp_path, replace(settings, unreachable="reject"))
    assert error.reason is Reason.FETCH_FAILED


def test_a_name_that_does_not_resolve_is_an_unreachable_server(tmp_path, settings):
    def resolve(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(StorageError, match="Name or service not known"):
        download("http://video.example/a.mp4", tmp_path, settings, resolve=resolve)


def test_a_redirect_is_followed(web, tmp_path, settings):
    web.routes["/a.mp4"] = answer(302, location="/b.mp4")
    web.routes["/b.mp4"] = answer(body=BODY)
    assert download(f"{web.url}/a.mp4", tmp_path, settings) == BODY


def test_a_redirect_to_a_private_address_is_blocked(web, tmp_path, settings, monkeypatch):
    # The first hop must be public: the network of this test leads one public address to the web server.
    public = "93.184.216.34"
    connect = socket.create_connection

    def routed(address, *args, **kwargs):
        assert address[0] == public
        return connect(("127.0.0.1", web.server_port), *args, **kwargs)

    monkeypatch.setattr(socket, "create_connection", routed)
    web.routes["/a.mp4"] = answer(302, location="http://169.254.169.254/latest/meta-data")
    error = rejected(f"http://{public}/a.mp4", tmp_path, replace(settings, allow_private_hosts=False))
    assert error.reason is Reason.BLOCKED_ADDRESS
    assert "169.254.169.254" in error.got
    assert len(web.asked) == 1


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://example.org/a.mp4", "gopher://127.0.0.1/"])
def test_a_redirect_to_another_scheme_is_blocked(web, tmp_path, settings, location):
    web.routes["/a.mp4"] = answer(302, location=location)
    assert rejected(f"{web.url}/a.mp4", tmp_path, settings).reason is Reason.BLOCKED_ADDRESS


def test_a_redirect_loop_ends(web, tmp_path, settings):
    web.routes["/a.mp4"] = answer(302, location="/a.mp4")
    assert rejected(f"{web.url}/a.mp4", tmp_path, settings).reason is Reason.FETCH_FAILED
    assert len(web.asked) == 6


def test_proxies_of_the_environment_are_not_used(web, tmp_path, settings, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{_free_port()}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{_free_port()}")
    web.routes["/a.mp4"] = answer(body=BODY)
    assert download(f"{web.url}/a.mp4", tmp_path, settings) == BODY


def test_a_signed_url_shows_in_no_message_and_no_log(web, tmp_path, settings, caplog):
    caplog.set_level(logging.DEBUG)
    url = f"http://me:planted-password@127.0.0.1:{web.server_port}/a.mp4?X-Amz-Signature=planted-signature"
    messages = []
    for status in (404, 403, 500, 503):
        web.routes["/a.mp4"] = answer(status)
        with pytest.raises((RejectItem, StorageError)) as error:
            download(url, tmp_path, settings)
        messages.append(repr(error.value) + repr(getattr(error.value, "got", "")))
    web.routes["/a.mp4"] = answer(302, location="ftp://planted-host/?token=planted-token")
    messages.append(str(rejected(url, tmp_path, settings)))
    assert "planted-signature" in web.asked[0][0], "the server itself must be given the signature"
    assert "authorization" in web.asked[0][1]
    assert "planted" not in " ".join(messages) + caplog.text


def test_a_full_disk_is_an_os_error_for_the_caller_to_name(web, settings, tmp_path):
    web.routes["/a.mp4"] = answer(body=BODY)
    (tmp_path / "download").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        download(f"{web.url}/a.mp4", tmp_path, settings)


def _certificate(host: str) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return certificate.public_bytes(serialization.Encoding.PEM) + private


def _to_loopback(host, port, **_):
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@pytest.fixture
def tls(web, tmp_path, monkeypatch):
    """The web server behind TLS, with a certificate for `video.example` that SSL_CERT_FILE trusts."""
    pem = tmp_path / "server.pem"
    pem.write_bytes(_certificate("video.example"))
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    web.socket = context.wrap_socket(web.socket, server_side=True)
    return web


def test_tls_verifies_the_name_although_the_connection_goes_to_an_address(tls, tmp_path, settings):
    tls.routes["/a.mp4"] = answer(body=BODY)
    url = f"https://video.example:{tls.server_port}/a.mp4"
    assert download(url, tmp_path, settings, resolve=_to_loopback) == BODY
    error = rejected(url.replace("video.example", "other.example"), tmp_path, settings, resolve=_to_loopback)
    assert error.reason is Reason.FETCH_FAILED
    assert "certificate" in error.detail


def test_a_key_from_the_environment_goes_to_its_own_host_alone(tls, tmp_path, settings, monkeypatch):
    monkeypatch.setenv("VIDEO_KEY", "planted-key")
    credentials = (HostCredential(host="video.example", env="VIDEO_KEY"),)
    tls.routes["/a.mp4"] = answer(302, location="/b.mp4")
    tls.routes["/b.mp4"] = answer(302, location=f"http://video.example:{_free_port()}/c.mp4")
    settings = replace(settings, credentials=credentials, retries=0)
    with pytest.raises(StorageError) as error:
        download(f"https://video.example:{tls.server_port}/a.mp4", tmp_path, settings, resolve=_to_loopback)
    assert [headers.get("authorization") for _, headers in tls.asked] == ["planted-key", "planted-key"]
    assert "planted-key" not in str(error.value)


def test_a_key_that_is_not_set_is_named_before_anything_is_opened(tmp_path):
    settings = SourceSettings(credentials=(HostCredential(host="video.example", env="NO_SUCH_KEY"),))
    with pytest.raises(ConfigError, match="NO_SUCH_KEY"):
        download("https://video.example/a.mp4", tmp_path, settings)
