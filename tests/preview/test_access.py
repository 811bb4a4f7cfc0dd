"""Who gets an answer, and what is left of those who come and go."""

from __future__ import annotations

import gc
import http.client
import os
import socket
import threading
import time
from collections.abc import Callable

import pytest
from previewing import TOKEN
from waiting import until

import vidsr.preview.serving as serving
from vidsr.errors import OptionsError
from vidsr.preview.access import Access, parse_listen
from vidsr.preview.server import Preview


def refused(access: Access, *, token: str = "t", method: str = "GET", **headers: str) -> str:
    named = {name.replace("_", "-"): value for name, value in {"host": "127.0.0.1:80", **headers}.items()}
    return access.refused(token, method, named)


@pytest.mark.parametrize("host", ["127.0.0.1:80", "localhost:9", "LOCALHOST", "[::1]:80", "127.0.0.1"])
def test_this_machine_by_any_of_its_names_and_ports(host: str) -> None:
    assert refused(Access(token="t"), host=host) == ""
    assert refused(Access(token="t"), host=host, origin=f"http://{host}") == ""


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "evil.example:80",
        "",
        "user@localhost",
        "localhost:x",
        "10.0.0.1",
    ],
)
def test_other_hosts_are_refused(host: str) -> None:
    assert "host" in refused(Access(token="t"), host=host)


@pytest.mark.parametrize(
    "origin", ["null", "http://evil.example", "http://127.0.0.1:81", "https://localhost:80"]
)
def test_other_origins_are_refused(origin: str) -> None:
    assert "site" in refused(Access(token="t"), origin=origin)


def test_another_sites_request_is_refused_by_what_the_browser_says_of_it() -> None:
    assert "site" in refused(Access(token="t"), sec_fetch_site="cross-site")
    assert refused(Access(token="t"), sec_fetch_site="same-origin") == ""


def test_a_change_needs_an_origin() -> None:
    assert "Origin" in refused(Access(token="t"), method="POST")
    assert refused(Access(token="t"), method="POST", origin="http://127.0.0.1:80") == ""


@pytest.mark.parametrize("token", ["", "T", "tt", "\u00e4"])
def test_wrong_tokens(token: str) -> None:
    assert "address" in refused(Access(token="t"), token=token)


def test_tokens_are_long_and_never_the_same() -> None:
    assert len({Access().token for _ in range(20)}) == 20
    assert len(Access().token) >= 32


def test_listening_for_others_takes_bare_addresses_but_no_names() -> None:
    access = Access("0.0.0.0", token="t")
    assert refused(access, host="192.168.1.9:80") == ""
    assert refused(access, host=socket.gethostname()) == ""
    assert "host" in refused(access, host="evil.example")


def test_listen_is_a_host_and_maybe_a_port() -> None:
    assert parse_listen("0.0.0.0") == ("0.0.0.0", 0)
    assert parse_listen("[::]:8000") == ("::", 8000)
    assert parse_listen("::1") == ("::1", 0)
    for wrong in ("", "a/b", "host:x", "host:99999", "u@host"):
        with pytest.raises(OptionsError):
            parse_listen(wrong)


def get(
    port: int, path: str, *, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, bytes]:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        link.request(method, path, body, {name.replace("_", "-"): v for name, v in headers.items()})
        answer = link.getresponse()
        return answer.status, answer.read()
    finally:
        link.close()


def test_what_the_server_answers(preview: Preview, server: Callable) -> None:
    with server(preview) as port:
        assert get(port, f"/{TOKEN}/")[0] == 200
        assert b"Mp4Player" in get(port, f"/{TOKEN}/media.js")[1]
        assert get(port, "/wrong/")[0] == 403
        assert get(port, "/")[0] == 403
        assert get(port, f"/{TOKEN}/info", Host="evil.example")[0] == 403
        assert get(port, f"/{TOKEN}/info", Origin="http://evil.example")[0] == 403
        assert get(port, f"/{TOKEN}/export", method="POST", body=b"{}")[0] == 403
        for trick in (
            "../server.py",
            "..%2fserver.py",
            "%2e%2e/server.py",
            "/etc/passwd",
            "page/player.js",
            "player.js/",
            "....//server.py",
            "player.js%00",
            "export.py",
        ):
            assert get(port, f"/{TOKEN}/{trick}")[0] in (403, 404, 307), trick
        for query in (
            "model=/etc/passwd",
            "model=../x.onnx",
            "scale=9",
            "scale=x",
            "at=nan",
            "at=-1",
            "at=inf",
            "count=2",
            "form=avi",
        ):
            assert get(port, f"/{TOKEN}/stream?{query}")[0] in (409, 400), query


def test_a_hundred_tabs_that_come_and_go_leave_nothing(preview: Preview, server: Callable) -> None:
    with server(preview) as port:
        preview.prepare()

        def visit(number: int) -> None:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
                place = f"/{TOKEN}/stream?at=0" if number % 3 else f"/{TOKEN}/"
                link.sendall(f"GET {place} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
                if number % 2:
                    link.recv(100)

        def state() -> tuple[int, int]:
            names = [t for t in threading.enumerate() if t.name.startswith("vidsr-preview")]
            return len(names), len(os.listdir("/proc/self/fd"))  # noqa: PTH208

        visit(0)
        time.sleep(0.3)
        before = state()
        for number in range(100):
            visit(number)

        def as_before() -> bool:
            gc.collect()
            threads, files = state()
            return preview.plays == threads == 0 and files <= before[1]

        until(as_before)
        assert get(port, f"/{TOKEN}/")[0] == 200


def test_a_reader_that_takes_nothing_is_given_up(
    preview: Preview, server: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "STALLED_S", 0.3)
    endless = iter(lambda: b"x" * 100_000, None)

    class Slow:
        closed = False

        def __init__(self) -> None:
            self.chunks = endless

        def close(self) -> None:
            self.closed = True

    play = Slow()
    monkeypatch.setattr(preview, "begin", lambda wish: play)
    with server(preview) as port, socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall(f"GET /{TOKEN}/stream HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        until(lambda: play.closed)


def test_more_than_some_at_once_are_asked_to_wait(preview: Preview) -> None:
    from vidsr.preview.server import MOST_PLAYS

    wish = preview._wish({})
    plays = [preview.begin(wish) for _ in range(MOST_PLAYS)]
    with pytest.raises(OptionsError, match="watching already"):
        preview.begin(wish)
    for play in plays:
        preview.end(play)
    assert preview.plays == 0
