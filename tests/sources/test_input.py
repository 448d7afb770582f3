"""What an input lists, what it refuses, and how it opens a source."""

from __future__ import annotations

import os
import pickle
import resource
import tempfile
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.csv import write_csv

from tests.sources.web_server import answer
from vpdata.errors import ConfigError, Reason, RejectItem, StorageError
from vpdata.records import Source, is_valid_id, video_id
from vpdata.sources import HostCredential, Input, SourceSettings

DEFAULTS = SourceSettings()
ODD_NAMES = ["a b.mp4", "quote'\".mov", "new\nline.mkv", "ünï 中文.webm", "back\\slash.mp4", "[x]*?.mp4", "-.mp4"]


def write(folder, *names, data=b"video"):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def uris_of(uri, settings=DEFAULTS):
    return [source.uri for source in Input(str(uri), settings).sources()]


def opened(input_, source) -> bytes:
    with input_.local_file(source) as path:
        return path.read_bytes()


def rejected(input_, source) -> RejectItem:
    with pytest.raises(RejectItem) as error, input_.local_file(source):
        pass
    return error.value


def listed(folder, *rows, header="uri", settings=DEFAULTS) -> Input:
    (folder / "list.csv").write_text("\n".join([header, *rows]) + "\n")
    return Input(str(folder / "list.csv"), settings)


@pytest.mark.parametrize("name", ["list.txt", "list.JSONL", "*.json", "list.tsv"])
def test_a_list_that_is_neither_csv_nor_parquet_is_no_video(tmp_path, name):
    write(tmp_path, "list.txt", "list.JSONL", "list.json", "list.tsv", data=b"a.mp4\n")
    with pytest.raises(ConfigError, match="wanted videos, or a list that is a CSV or a Parquet file"):
        Input(str(tmp_path / name), DEFAULTS).sources()


def test_a_folder_may_be_called_like_a_list(tmp_path):
    write(tmp_path, "clips.txt/a.mp4")
    assert uris_of(tmp_path / "clips.txt") == ["a.mp4"]


def test_a_folder_gives_its_videos_at_any_depth_sorted_by_relative_path(tmp_path, caplog):
    write(
        tmp_path, "b.mp4", "a/z.MKV", "a/deep/er/c.webm", "notes.txt", "a/b.txt", "a/cover.jpg", "README", ".DS_Store"
    )
    sources = Input(str(tmp_path), DEFAULTS).sources()
    assert [source.uri for source in sources] == ["a/deep/er/c.webm", "a/z.MKV", "b.mp4"]
    assert [source.id for source in sources] == [video_id(source.uri) for source in sources]
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    what = "2 .txt, 1 .jpg, 1 without a suffix, such as 'README'"
    assert record.message == f"{tmp_path.name}: passed over what is no video: {what}"


def test_a_folder_of_videos_and_hidden_files_is_no_news(tmp_path, caplog):
    write(tmp_path, "a.mp4", ".complete", ".git/config")
    Input(str(tmp_path), DEFAULTS).sources()
    assert not caplog.records


RUN = ["run.yaml", "0-source/part-00000.parquet", "report/media/p.mp4"]


@pytest.mark.parametrize("pattern", ["", "/**/*.mp4"])
def test_the_clips_of_a_report_in_the_input_are_no_sources(tmp_path, caplog, pattern):
    write(tmp_path, "v/a.mp4", "v/run.yaml", "v/own/run.yaml", "v/own/b.mp4")
    write(tmp_path, *(f"v/{run}/{name}" for run in ("deep/out", "out") for name in RUN))
    assert uris_of(f"{tmp_path}/v{pattern}") == ["a.mp4", "own/b.mp4"]
    assert "passed over 2 folder(s) that hold a run of vpdata, such as 'deep/out'" in caplog.text
    assert "parquet" not in caplog.text


def test_the_clips_of_a_report_that_is_named_itself_are_sources(tmp_path):
    write(tmp_path, *RUN)
    for uri in (tmp_path, tmp_path / "report", tmp_path / "report" / "*" / "*.mp4"):
        assert len(uris_of(uri)) == 1


def test_the_id_of_a_file_does_not_depend_on_where_the_folder_is(tmp_path):
    write(tmp_path, "here/a.mp4", "there/a.mp4")
    assert Input(str(tmp_path / "here"), DEFAULTS).sources() == Input(str(tmp_path / "there"), DEFAULTS).sources()


def test_odd_names_are_kept_and_open(tmp_path):
    write(tmp_path, *ODD_NAMES)
    folder = Input(str(tmp_path), DEFAULTS)
    sources = folder.sources()
    assert [source.uri for source in sources] == sorted(ODD_NAMES)
    assert all(is_valid_id(source.id) for source in sources)
    assert all(opened(folder, source) == b"video" for source in sources)


def test_a_name_that_is_no_utf8_is_escaped_and_opens(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.mp4")).write_bytes(b"coffee")
    folder = Input(str(tmp_path), DEFAULTS)
    (source,) = folder.sources()
    assert source.uri == "caf\\xe9.mp4"
    assert opened(folder, source) == b"coffee"


def test_a_glob_is_relative_to_its_fixed_part_and_takes_any_suffix(tmp_path):
    write(tmp_path, "v/a/1.mp4", "v/b/2.mp4", "v/b/3.dat", "v/4.mp4")
    assert uris_of(tmp_path / "v" / "*" / "*.mp4") == ["a/1.mp4", "b/2.mp4"]
    assert uris_of(tmp_path / "v" / "**" / "*.mp4") == ["4.mp4", "a/1.mp4", "b/2.mp4"]
    assert uris_of(tmp_path / "v" / "b" / "*") == ["2.mp4", "3.dat"]
    pattern = Input(str(tmp_path / "v" / "*" / "*.mp4"), DEFAULTS)
    assert opened(pattern, pattern.sources()[0]) == b"video"


def test_a_single_file_is_an_input(tmp_path):
    write(tmp_path, "one.dat", "v[1]*.mp4")
    assert uris_of(tmp_path / "one.dat") == ["one.dat"]
    assert uris_of(tmp_path / "v[1]*.mp4") == ["v[1]*.mp4"]
    assert uris_of(f"file://{tmp_path}/one.dat") == ["one.dat"]


@pytest.mark.parametrize("uri", ["nothing-here", "nothing/*.mp4", "empty"])
def test_an_input_without_a_video_says_so(tmp_path, monkeypatch, uri):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"no such file|no video found"):
        Input(uri, DEFAULTS).sources()


def test_a_relative_input_is_the_same_folder_for_a_worker_elsewhere(tmp_path, monkeypatch):
    write(tmp_path, "v/a.mp4")
    monkeypatch.chdir(tmp_path)
    folder = Input("v", DEFAULTS)
    (source,) = folder.sources()
    monkeypatch.chdir("/")
    assert opened(pickle.loads(pickle.dumps(folder)), source) == b"video"


def test_an_input_pickles_small_after_it_has_listed_its_sources(tmp_path):
    folder = listed(tmp_path, *(f"{number}.mp4" for number in range(2000)))
    assert len(folder.sources()) == 2000
    assert len(pickle.dumps(folder)) < 2000


def test_a_list_gives_its_own_ids_and_texts(tmp_path):
    write(tmp_path, "a.mp4", "sub/b.mp4")
    csv = listed(
        tmp_path,
        "sub/b.mp4,pexels-7,CC0,Ann,A dog runs.",
        f"{tmp_path}/a.mp4,,,,",
        "https://me:pw@example.org/c.mp4?token=t,,,,",
        "s3://bucket/d.mp4,,,,",
        header="uri,id,licence,attribution,caption",
    )
    remote = "https://example.org/c.mp4"
    assert csv.sources() == [
        Source(id=video_id("a.mp4"), uri="a.mp4"),
        Source(id=video_id(remote), uri=remote),
        Source(id=video_id("s3://bucket/d.mp4"), uri="s3://bucket/d.mp4"),
        Source(id="pexels-7", uri="sub/b.mp4", licence="CC0", attribution="Ann", caption="A dog runs."),
    ]
    assert opened(csv, csv.sources()[3]) == b"video"


def test_a_row_repeated_in_full_counts_once_and_is_logged(tmp_path, caplog):
    csv = listed(tmp_path, "a.mp4", "./a.mp4", "b.mp4", "a.mp4")
    assert [source.uri for source in csv.sources()] == ["a.mp4", "b.mp4"]
    assert "list.csv: 2 rows repeat an earlier row" in caplog.text


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("uri,licence", ["a.mp4,CC0", "a.mp4,CC-BY"], r"row 2: got the same uri as list\.csv, row 1"),
        ("uri,id", ["a.mp4,7", "b.mp4,7"], r"row 2: got the same id as list\.csv, row 1"),
        ("uri,id", ["a.mp4,7", "a.mp4,8"], "row 2: got the same uri"),
        (
            "uri",
            ["https://h.org/a.mp4?token=planted1", "https://h.org/a.mp4?token=planted2"],
            "row 2: got the same uri",
        ),
    ],
)
def test_rows_that_clash_are_refused_by_number(tmp_path, header, rows, message):
    with pytest.raises(ConfigError, match=message) as error:
        listed(tmp_path, *rows, header=header).sources()
    assert "planted" not in str(error.value)


@pytest.mark.parametrize(
    "row",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "../secret.mp4",
        "sub/../../secret.mp4",
        "file:///tmp/../etc/passwd",
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1/a.mp4",
        "http://127.1/a.mp4",
        "http://2130706433/a.mp4",
        "http://[::1]/a.mp4",
        "http://[::ffff:10.0.0.1]/a.mp4",
        "ftp://me:planted@example.org/a.mp4",
        "simplecache::https://example.org/a.mp4",
        "zip://a.mp4::https://example.org/a.zip",
        "data://text",
        "s3://key:planted@bucket/a.mp4",
    ],
)
def test_a_list_that_names_something_forbidden_is_refused_by_row(tmp_path, row):
    write(tmp_path, "good.mp4")
    with pytest.raises(ConfigError, match=r"list\.csv, row 2: got .*wanted") as error:
        listed(tmp_path, "good.mp4", row).sources()
    assert "planted" not in str(error.value)


@pytest.mark.parametrize("row", ["../videos/a.mp4", "/videos/a.mp4"])
def test_a_list_that_names_files_elsewhere_says_where_to_put_it(tmp_path, row):
    with pytest.raises(ConfigError, match="put it into a folder that holds all of them"):
        listed(tmp_path, row).sources()


def test_private_addresses_are_listed_where_they_are_allowed(tmp_path, settings):
    csv = listed(tmp_path, "http://10.0.0.1/a.mp4", settings=settings)
    assert [source.uri for source in csv.sources()] == ["http://10.0.0.1/a.mp4"]


def test_a_link_out_of_the_input_folder_is_refused_unless_allowed(tmp_path):
    write(tmp_path, "secret.mp4", "v/a.mp4")
    (tmp_path / "v" / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (tmp_path / "v" / "inner.mp4").symlink_to("a.mp4")
    with pytest.raises(ConfigError, match=r"link\.mp4.* give --set source\.allow_outside_links=true"):
        uris_of(tmp_path / "v")
    assert uris_of(tmp_path / "v", SourceSettings(allow_outside_links=True)) == ["a.mp4", "inner.mp4", "link.mp4"]


def test_a_folder_linked_out_of_the_list_folder_is_refused(tmp_path):
    write(tmp_path, "outside/a.mp4", "v/b.mp4")
    (tmp_path / "v" / "sub").symlink_to(tmp_path / "outside")
    with pytest.raises(ConfigError, match="row 1"):
        listed(tmp_path / "v", "sub/a.mp4").sources()
    assert uris_of(tmp_path / "v") == ["b.mp4"], "a linked folder is not entered"


def test_a_folder_linked_out_is_passed_over_by_name_and_read_once_where_that_is_allowed(tmp_path, caplog):
    write(tmp_path, "outside/sub/b.mp4", "outside/c.mp4", "v/a.mp4", "v/own/d.mp4")
    for link, target in {"z": "../outside", "y": "../outside/sub", "in": "own", "up": "..", "me": "."}.items():
        (tmp_path / "v" / link).symlink_to(target)
    assert uris_of(tmp_path / "v") == ["a.mp4", "own/d.mp4"]
    said = "5 linked folder, such as 'in/'; --set source.allow_outside_links=true has those read that lead out"
    assert said in caplog.text
    (tmp_path / "v" / "up").unlink()
    allowed = Input(str(tmp_path / "v"), SourceSettings(allow_outside_links=True))
    sources = allowed.sources()
    assert [source.uri for source in sources] == ["a.mp4", "own/d.mp4", "y/b.mp4", "z/c.mp4"]
    assert all(opened(allowed, source) == b"video" for source in sources)
    (tmp_path / "outside" / "back").symlink_to("../v")
    (tmp_path / "outside" / "again").symlink_to("../outside")
    assert uris_of(tmp_path / "v", SourceSettings(allow_outside_links=True)) == [source.uri for source in sources]


def test_a_link_that_is_turned_outside_after_the_listing_is_blocked_when_opened(tmp_path):
    write(tmp_path, "secret.mp4", "v/a.mp4")
    folder = Input(str(tmp_path / "v"), DEFAULTS)
    (source,) = folder.sources()
    (tmp_path / "v" / "a.mp4").unlink()
    (tmp_path / "v" / "a.mp4").symlink_to(tmp_path / "secret.mp4")
    assert rejected(folder, source).reason is Reason.BLOCKED_ADDRESS


def test_a_folder_reached_through_a_link_is_an_ordinary_input(tmp_path):
    write(tmp_path, "real/a.mp4")
    (tmp_path / "link").symlink_to("real")
    assert uris_of(tmp_path / "link") == ["a.mp4"]
    (tmp_path / "real" / "list.csv").write_text(f"uri\n{tmp_path}/real/a.mp4\n")
    assert uris_of(tmp_path / "link" / "list.csv") == ["a.mp4"]


def test_a_loop_of_links_is_no_endless_walk(tmp_path):
    write(tmp_path, "a.mp4")
    (tmp_path / "again").symlink_to(".")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    folder = Input(str(tmp_path), DEFAULTS)
    sources = folder.sources()
    assert [source.uri for source in sources] == ["a.mp4", "loop.mp4"]
    assert rejected(folder, sources[1]).reason is Reason.SOURCE_GONE


@pytest.mark.parametrize("bad", [f"{'n' * 300}.mp4", "/".join(["deep"] * 1000) + ".mp4", "a.mp4/b.mp4"])
def test_a_path_of_a_list_that_no_file_can_have_is_one_sources_fault(tmp_path, bad):
    write(tmp_path, "a.mp4")
    csv = listed(tmp_path, "a.mp4", bad)
    by_uri = {source.uri: source for source in csv.sources()}
    assert opened(csv, by_uri["a.mp4"]) == b"video"
    assert rejected(csv, by_uri[bad]).reason is Reason.SOURCE_GONE


def test_a_source_that_vanishes_is_gone_and_one_that_was_never_a_file_is_no_video(tmp_path):
    write(tmp_path, "a.mp4", "b.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    folder = Input(str(tmp_path), DEFAULTS)
    gone, kept, pipe = folder.sources()
    (tmp_path / "a.mp4").unlink()
    assert rejected(folder, gone).reason is Reason.SOURCE_GONE
    assert opened(folder, kept) == b"video"
    assert rejected(folder, pipe).reason is Reason.NOT_VIDEO


@pytest.mark.parametrize("name", ["a.mp4", "\udcff.mp4"])
@pytest.mark.parametrize("pattern", ["", "/*.mp4"])
def test_an_input_folder_that_vanishes_as_a_whole_is_no_sources_fault(tmp_path, name, pattern):
    write(tmp_path, f"v/{name}")
    used = Input(str(tmp_path / "v") + pattern, DEFAULTS)
    (source,) = used.sources()
    inputs = [used, pickle.loads(pickle.dumps(used))]  # a worker may see it for the first time when it is gone
    (tmp_path / "v").rename(tmp_path / "w")
    for mount_point in (None, tmp_path / "v"):
        if mount_point:
            mount_point.mkdir()
        for one in inputs:
            with pytest.raises(StorageError, match="is gone, or its folder is empty"), one.local_file(source):
                pass
    (tmp_path / "v").rmdir()
    (tmp_path / "w").rename(tmp_path / "v")
    assert [opened(one, source) for one in inputs] == [b"video"] * 2


def test_a_list_that_vanishes_with_its_files_is_no_sources_fault(tmp_path):
    write(tmp_path, "v/a.mp4", "v/b.mp4")
    used = listed(tmp_path / "v", "a.mp4", "b.mp4")
    first, second = used.sources()
    assert opened(used, first) == b"video"
    (tmp_path / "v").rename(tmp_path / "w")
    write(tmp_path, "v/lost+found")
    for one in (used, pickle.loads(pickle.dumps(used))):
        with pytest.raises(StorageError, match=r"'list\.csv' is gone"), one.local_file(second):
            pass


def test_a_local_file_over_the_limit_is_rejected(tmp_path):
    write(tmp_path, "a.mp4", data=b"x" * 11)
    folder = Input(str(tmp_path), SourceSettings(max_bytes=10))
    (source,) = folder.sources()
    assert rejected(folder, source).reason is Reason.TOO_MANY_BYTES


def test_a_source_no_longer_in_the_list_is_gone(tmp_path):
    write(tmp_path, "a.mp4", "b.mp4")
    (source,) = listed(tmp_path, "a.mp4").sources()
    assert rejected(listed(tmp_path, "b.mp4"), source).reason is Reason.SOURCE_GONE


def test_sources_of_a_long_list_open_in_any_order(tmp_path):
    last = 25_000
    long = listed(
        tmp_path, *(f"{number}.mp4,{number:05d}" for number in range(last + 1) if number != 7), header="uri,id"
    )
    write(tmp_path, "0.mp4", "12345.mp4", f"{last}.mp4")
    worker = pickle.loads(pickle.dumps(long))
    for number in (12345, 0, last, 12345):
        assert opened(worker, Source(id=f"{number:05d}", uri=f"{number}.mp4")) == b"video"
    for id in ("00007", "99999"):
        assert rejected(worker, Source(id=id, uri=f"{id}.mp4")).detail == "the input no longer names it"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_worker_does_not_hold_a_long_list(tmp_path, suffix):
    """Of 30 MB of captions, for a worker's memory is set by its videos."""
    write(tmp_path, "0.mp4")
    table = pa.table({"uri": [f"{number}.mp4" for number in range(15_000)], "caption": ["long " * 400] * 15_000})
    (write_csv if suffix == "csv" else pq.write_table)(table, tmp_path / f"list.{suffix}")
    worker, source = Input(str(tmp_path / f"list.{suffix}"), DEFAULTS), Source(id=video_id("0.mp4"), uri="0.mp4")
    tracemalloc.start()
    try:
        assert opened(worker, source) == b"video"
        assert tracemalloc.get_traced_memory()[1] < 15e6
    finally:
        tracemalloc.stop()


def test_a_download_lives_as_long_as_the_block_and_keeps_the_suffix(web, settings):
    web.routes["/v/a.mp4"] = answer(body=b"video")
    remote = Input(f"{web.url}/v/a.mp4?token=planted", settings)
    (source,) = remote.sources()
    assert source.uri == f"{web.url}/v/a.mp4"
    with remote.local_file(source) as path:
        assert path.read_bytes() == b"video"
        assert path.suffix == ".mp4"
    assert not path.parent.exists()
    assert web.asked[0][0] == "/v/a.mp4?token=planted"


def test_a_failing_block_removes_its_download_too(web, settings):
    web.routes["/a.mp4"] = answer(body=b"video")
    remote = Input(f"{web.url}/a.mp4", settings)
    with pytest.raises(KeyError), remote.local_file(remote.sources()[0]) as path:
        raise KeyError("the reader's own error")
    assert not path.parent.exists()


def test_a_worker_finds_the_signed_address_again_from_the_list(web, tmp_path, settings):
    web.routes["/a.mp4"] = answer(body=b"video")
    csv = listed(tmp_path, f"{web.url}/a.mp4?X-Amz-Signature=planted", settings=settings)
    (source,) = csv.sources()
    assert "planted" not in repr(source)
    assert opened(pickle.loads(pickle.dumps(csv)), source) == b"video"
    assert "planted" in web.asked[0][0]


def test_a_host_name_that_resolves_to_loopback_is_blocked_when_opened(web, tmp_path):
    csv = listed(tmp_path, f"http://localhost:{web.server_port}/a.mp4")
    assert rejected(csv, csv.sources()[0]).reason is Reason.BLOCKED_ADDRESS
    assert web.asked == []


def test_a_temporary_folder_that_is_full_stops_the_run(web, tmp_path, settings, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    web.routes["/a.mp4"] = answer(body=bytes(100_000))
    remote = Input(f"{web.url}/a.mp4", settings)
    (source,) = remote.sources()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # the nearest thing to a full disk without root
    try:
        with pytest.raises(StorageError, match="cannot store the download"), remote.local_file(source):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == [], "the broken download must not stay"


def test_neither_home_nor_secret_shows_in_names_and_sources(tmp_path):
    write(tmp_path, "planted-home/v/a.mp4")
    folder = Input(str(tmp_path / "planted-home" / "v"), DEFAULTS)
    url = Input("https://me:planted@example.org/a.mp4?token=planted#planted", DEFAULTS)
    assert "planted" not in repr((folder, folder.name, folder.sources(), url, url.name, url.sources()))


def test_a_list_over_http_is_refused_with_what_to_do():
    with pytest.raises(ConfigError, match="download it"):
        Input("https://example.org/list.csv?token=planted", DEFAULTS)


@pytest.mark.parametrize("uri", ["ftp://example.org/", "memory://x", "simplecache::s3://b/x"])
def test_an_input_of_another_scheme_is_refused(uri):
    with pytest.raises(ConfigError, match="the input: got"):
        Input(uri, DEFAULTS)


def test_a_missing_key_is_named_before_the_first_download(tmp_path):
    write(tmp_path, "a.mp4")
    settings = SourceSettings(credentials=(HostCredential(host="h.org", env="NO_SUCH_KEY"),))
    with pytest.raises(ConfigError, match="NO_SUCH_KEY"):
        Input(str(tmp_path), settings).sources()


@pytest.mark.parametrize("wrong", [{"max_bytes": 0}, {"timeout_s": -1.0}, {"retries": -1}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="wanted"):
        SourceSettings(**wrong)


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9/a.mp4", "https://example.com/a.mp4", "s3://bucket/a.mp4"])
def test_what_a_record_names_elsewhere_is_not_asked_for(tmp_path, uri):
    write(tmp_path, "a.mp4")
    elsewhere = Source(id=video_id("a.mp4"), uri=uri)
    error = rejected(Input(str(tmp_path), SourceSettings(allow_private_hosts=True)), elsewhere)
    assert (error.reason, error.detail) == (Reason.SOURCE_GONE, "the input does not name it")
