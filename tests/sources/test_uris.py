"""Canonical uris and the schemes that are allowed."""

from __future__ import annotations

import os

import pytest

from vpdata.errors import ConfigError
from vpdata.sources import uris


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("https://example.org/a/b.mp4", "https://example.org/a/b.mp4"),
        ("HTTPS://Example.ORG:443/A.mp4", "https://example.org/A.mp4"),
        ("http://example.org:8080", "http://example.org:8080/"),
        ("https://me:secret@example.org/a.mp4#t=3", "https://example.org/a.mp4"),
        ("https://example.org/a.mp4?v=2&h=720", "https://example.org/a.mp4?v=2&h=720"),
        ("https://example.org/a.mp4?v=2&X-Amz-Signature=ab&X-Amz-Expires=60", "https://example.org/a.mp4?v=2"),
        ("https://example.org/a.mp4?X-Goog-Credential=ab&Expires=5&Signature=cd", "https://example.org/a.mp4"),
        ("https://example.org/a.mp4?Key-Pair-Id=K&Policy=p&Signature=s&id=7", "https://example.org/a.mp4?id=7"),
        ("https://example.org/a.mp4?access_%74oken=t&api-key=k&sessionid=s&id=7", "https://example.org/a.mp4?id=7"),
        ("https://example.org/a.mp4?sv=2022&se=2030&sp=r&sig=xyz", "https://example.org/a.mp4"),
        ("https://example.org/a.mp4?se=swedish&sp=7", "https://example.org/a.mp4?se=swedish&sp=7"),
        ("https://example.org/%C3%BC%20x.mp4", "https://example.org/%C3%BC%20x.mp4"),
        ("http://[2001:DB8::1]:8080/a.mp4", "http://[2001:db8::1]:8080/a.mp4"),
    ],
)
def test_a_canonical_url_keeps_what_names_the_video_and_drops_what_signs_it(url, canonical):
    assert uris.canonical_url(url) == canonical
    assert uris.canonical_url(canonical) == canonical


@pytest.mark.parametrize(
    "url", ["http://", "http:///a", "http://h:99999/", "http://h/a b", "http://h\n/a", "http://a\\@b/"]
)
def test_a_url_that_two_parsers_could_read_differently_is_refused(url):
    with pytest.raises(ConfigError, match=r"wanted"):
        uris.canonical_url(url)


@pytest.mark.parametrize(
    "uri",
    [
        "ftp://example.org/a.mp4",
        "data://a",
        "simplecache::https://example.org/a.mp4",
        "zip://a.mp4::https://example.org/a.zip",
        "filecache::file:///etc/passwd",
        "s3://bucket/a.zip::zip://a.mp4",
        "memory://a.mp4",
        "concat://a|b",
    ],
)
def test_other_schemes_and_chained_ones_are_refused(uri):
    with pytest.raises(ConfigError, match=r"wanted"):
        uris.scheme_of(uri)


def test_a_plain_path_is_a_file_whatever_colons_it_holds():
    assert uris.scheme_of("a::b:c.mp4") == "file"
    assert uris.scheme_of("HTTP://example.org/") == "http"


@pytest.mark.parametrize("uri", ["s3:///a.mp4", "s3://key:secret@bucket/a.mp4", "gs://bucket/../other/a.mp4"])
def test_an_object_needs_a_bucket_and_a_plain_name(uri):
    with pytest.raises(ConfigError) as error:
        uris.canonical_object(uri)
    assert "secret" not in str(error.value)


def test_bytes_that_are_no_utf8_are_escaped_in_a_canonical_path():
    assert uris.canonical_path(os.fsdecode(b"caf\xe9/\xc3\xbc.mp4")) == "caf\\xe9/ü.mp4"


def test_a_file_uri_is_its_decoded_path():
    assert uris.path_of("file:///a%20b/c.mp4") == "/a b/c.mp4"
    with pytest.raises(ConfigError, match="host"):
        uris.path_of("file://server/share/c.mp4")
