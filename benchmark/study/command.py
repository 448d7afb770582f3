"""`python -m benchmark study`: serves a study, renews lost links, and exports what people answered."""

from __future__ import annotations

import argparse
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from benchmark.opening import add_bench_options, bench_of
from vpdata.errors import ConfigError, StorageError
from vpdata.extras import needs

if TYPE_CHECKING:
    from benchmark.bench import Bench
    from benchmark.study.store import Facts, Store

_LOOPBACK = ("127.0.0.1", "localhost")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `study`."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    serve = actions.add_parser(
        "serve", help="make the study where there is none yet, print invitations, serve the page"
    )
    add_bench_options(serve)
    serve.add_argument("--results", metavar="DIR", required=True, help="a folder that `python -m benchmark run` wrote")
    serve.add_argument("--methods", metavar="A,B,...", required=True, help="whose results are compared: 2 to 8")
    serve.add_argument(
        "--participants", metavar="N", type=_positive, default=30, help="more later adds some (default: 30)"
    )
    serve.add_argument(
        "--cases", metavar="N", type=_positive, default=50, help="fewer if there are fewer (default: 50)"
    )
    serve.add_argument("--checks", metavar="N", type=_count, default=3, help="attention checks (default: 3)")
    serve.add_argument("--subsets", metavar="S,...", default="", help="such as S,L or edit-S,edit-L (default: all)")
    serve.add_argument("--seed", metavar="N", type=int, default=0, help="of the draw and of every order")
    serve.add_argument("--short-side", metavar="PX", type=_positive, default=480, help="of the videos (default: 480)")
    serve.add_argument(
        "--show",
        choices=("composited", "raw"),
        default="composited",
        help="results with the known pixels put back, as `vpdata inpaint` does it (default), or as methods gave them",
    )
    serve.add_argument("--output", metavar="DB", required=True, help="the study; a study that is there goes on")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    serve.add_argument("--port", type=_count, default=8600, help="0 picks a free one (default: 8600)")
    serve.add_argument("--public-url", metavar="URL", help="where people reach the page, through your TLS proxy")
    serve.set_defaults(study=_serve)
    links = actions.add_parser("links", help="new links for people who lost theirs: the old ones end, answers stay")
    links.add_argument("study_path", metavar="DB", help="a study; it may be running")
    links.add_argument("--participants", metavar="N,N", type=_numbers, required=True, help="whose")
    links.add_argument(
        "--url", default="http://127.0.0.1:8600", help="where the page is reached (default: %(default)s)"
    )
    links.set_defaults(study=_links)
    export = actions.add_parser("export", help="write what people answered, with intervals and agreement")
    export.add_argument("study_path", metavar="DB", help="a study; it may be running")
    export.add_argument("--output", metavar="DIR", help="default: DB.results")
    export.set_defaults(study=_export)


def main(args: argparse.Namespace) -> int:
    """Run the action."""
    return args.study(args)


def _serve(args: argparse.Namespace) -> int:
    import logging

    with needs("bench", "the study"):
        import uvicorn

        from benchmark.study.server import build_app
    from benchmark.results import open_results
    from benchmark.study.making import check_same, invite, make
    from benchmark.study.store import Store

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    public = _public_url(args)
    bench = bench_of(args)
    study, wanted = Path(args.output), _wanted(args, bench)
    if not study.exists():
        make(study, wanted, bench, open_results(args.results))
    store = Store(study)
    check_same(store, wanted)
    # The port is taken before the first link is given out, which names it.
    try:
        listener = socket.create_server((args.host, args.port), backlog=1024)
    except OSError as error:
        raise StorageError(f"cannot listen on {args.host}, port {args.port}: {error}; try another --port") from error
    url = public or f"http://{args.host}:{listener.getsockname()[1]}"
    _print_study(store, invite(store, up_to=args.participants), url)
    hosts = [*_LOOPBACK, *([urlsplit(public).hostname or ""] if public else [])]
    app = build_app(store, allowed_hosts=hosts)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=1000,
        # Longer than anybody looks at a page: a connection that closes as an answer is sent looks like a lost network.
        timeout_keep_alive=300,
    )
    uvicorn.Server(config).run(sockets=[listener])
    store.close()
    return 0


def _print_study(store: Store, invitations: dict[int, str], url: str) -> None:
    facts = store.facts
    print(
        f"{store.path}: {len(facts.case_ids)} cases, {len(facts.check_ids)} checks, methods {', '.join(facts.methods)}"
    )
    if len(facts.case_ids) < facts.num_cases:
        print(f"warning: {facts.num_cases} cases were asked for; the benchmark has no more")
    for case_id, reason in sorted(facts.left_out.items()):
        print(f"left out: {case_id}: {reason}")
    print(f"{len(store.participants)} participants, {len(invitations)} of them new")
    _print_links(invitations, url)
    if invitations:
        print("keep these links: a link is a participant's way back too, and only hashes of them are stored")
    print(f"serving on {url}; Ctrl-C stops it, and the same command goes on", flush=True)


def _print_links(tokens: dict[int, str], url: str) -> None:
    for number, token in tokens.items():
        print(f"participant {number}: {url}/#{token}")


def _links(args: argparse.Namespace) -> int:
    from benchmark.study.store import Store

    _print_links(Store(args.study_path).invite_again(args.participants), args.url.rstrip("/"))
    return 0


def _export(args: argparse.Namespace) -> int:
    from benchmark.study.export import write_results
    from benchmark.study.store import Store

    folder = Path(args.output or f"{args.study_path}.results")
    print(write_results(Store(args.study_path), folder))
    print(f"{folder}/results.json, results.md and answers.csv")
    return 0


def _wanted(args: argparse.Namespace, bench: Bench) -> Facts:
    from benchmark.running import fingerprint
    from benchmark.study.store import Facts

    return Facts(
        bench=f"{bench.name} ({fingerprint(bench)})",
        subsets=tuple(args.subsets.split(",")) if args.subsets else (),
        seed=args.seed,
        num_cases=args.cases,
        num_checks=args.checks,
        methods=tuple(args.methods.split(",")),
        short_side_px=args.short_side,
        shown=args.show,
        left_out={},
    )


def _public_url(args: argparse.Namespace) -> str | None:
    if args.public_url is None:
        if args.host not in _LOOPBACK:
            raise ConfigError(
                f"got --host {args.host} without --public-url; say by which address people reach the page, such as "
                "https://study.example.org: links and the check of names need it"
            )
        return None
    parts = urlsplit(args.public_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.fragment:
        raise ConfigError(f"--public-url: got {args.public_url}, wanted such as https://study.example.org")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        print("warning: links over plain http can be read on their way; put a TLS proxy before", file=sys.stderr)
    return args.public_url.rstrip("/")


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"got {number}, wanted 0 or more")
    return number


def _numbers(text: str) -> list[int]:
    return [_positive(number) for number in text.split(",")]


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"got {number}, wanted 1 or more")
    return number
