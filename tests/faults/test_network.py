"""Nothing but files is opened unless --allow-network says so, and then a server may stall without a hang."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from command import Command, Whole, finished
from synth import make_clip

from vidsr.cli import _run
from vidsr.errors import DecodeError, ProbeError, SourceError
from vidsr.job import Job
from vidsr.sources import is_address, named_after, parse_source
from vidsr.video import opening
from vidsr.video.probe import probe
from vidsr.video.reader import Reader


class Server:
    """Serves one folder with ranges; counts connections; may stall after some bytes of a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[str] = []
        self.stall_after: int | None = None
        self.released = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                outer.answer(self)

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def answer(self, handler: Any) -> None:
        wanted = handler.headers.get("Range")
        self.requests.append(f"{handler.path} {wanted}")
        path = self.folder / unquote(handler.path).lstrip("/").partition("?")[0]
        if not path.is_file():
            handler.send_error(404)
            return
        data = path.read_bytes()
        first = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        handler.send_response(206 if wanted else 200)
        handler.send_header("Accept-Ranges", "bytes")
        handler.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(len(data) - first))
        handler.end_headers()
        try:
            if self.stall_after is None or first >= self.stall_after:
                handler.wfile.write(data[first:])
                return
            handler.wfile.write(data[first : self.stall_after])
            handler.wfile.flush()
            self.released.wait(20)
        except OSError:  # the client has what it wants
            pass

    def close(self) -> None:
        self.released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server(tmp_path: Path, whole: Whole) -> Iterator[Server]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "clip one.mp4").write_bytes(whole.source.read_bytes())
    made = Server(folder)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://host/a.mp4", True),
        ("HTTPS://host/a.mp4", True),
        ("hls+http://host/a", True),
        ("http:a.mp4", False),
        ("a:b.mp4", False),
        ("./http://host/a.mp4", False),
        ("C:/a.mp4", False),
        ("data:text/plain,x", False),
        ("concat:a.mp4|b.mp4", False),
    ],
)
def test_what_is_an_address(text: str, address: bool) -> None:
    assert is_address(parse_source(text)) == address
    assert isinstance(Job(source=text).source, str) == address
    assert Job(source=text).source == (text if address else Path(text))


def test_a_file_address_is_a_file() -> None:
    assert parse_source("file:///a/b.mp4") == Path("/a/b.mp4")


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("http://h/a/b.mp4?x=1/2", "b.mp4"),
        ("http://h/a%20b.mp4", "a b.mp4"),
        ("http://h/", "video"),
        ("http://h", "video"),
        ("http://h/..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("http://h/%2E%2E", "video"),
    ],
)
def test_default_names_stay_in_the_current_folder(address: str, name: str) -> None:
    assert named_after(address) == Path(name)


def test_jobs_in_toml_keep_addresses(tmp_path: Path) -> None:
    job = Job(source="http://host/a.mp4", allow_network=True)
    (tmp_path / "job.toml").write_text(job.to_toml())
    assert Job.load(tmp_path / "job.toml") == job


def test_addresses_are_refused(command: Command, server: Server) -> None:
    command.source = f"{server.address}/clip%20one.mp4"
    line = command.failed(command.run(), "add --allow-network", code=2)
    assert "vidsr stays off networks" in line
    assert server.requests == []


@pytest.mark.parametrize("protocol", ["https", "tcp", "udp", "rtmp", "rtsp", "ftp", "gopher", "foo", "unix"])
def test_no_protocol_passes(protocol: str) -> None:
    with pytest.raises(Exception, match="add --allow-network"):
        probe(f"{protocol}://127.0.0.1:9/a.mp4")


def test_other_protocols_are_refused_with_the_permission_too() -> None:
    for protocol in ("rtmp", "gopher", "unix", "subfile", "foo"):
        with pytest.raises(ProbeError, match="cannot open this as video"):
            probe(f"{protocol}://127.0.0.1:9/a.mp4", network=True)


PLAYLISTS = {
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{address}/clip.ts\n#EXT-X-ENDLIST\n",
    "master.m3u8": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{address}/list.m3u8\n",
    "key.m3u8": '#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXT-X-KEY:METHOD=AES-128,URI="{address}/k"\n#EXTINF:3,\n'
    "a.ts\n#EXT-X-ENDLIST\n",
    "list.ffconcat": "ffconcat version 1.0\nfile '{address}/clip.ts'\n",
    "list.mp4": "ffconcat version 1.0\nfile {address}/clip.ts\n",
    "list.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"'
    ' mediaPresentationDuration="PT3S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1"'
    ' bandwidth="1"><BaseURL>{address}/clip.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "list.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
}


@pytest.mark.clock
@pytest.mark.parametrize("name", PLAYLISTS)
def test_playlists_do_not_reach_the_network(tmp_path: Path, server: Server, name: str) -> None:
    make_clip(server.folder / "clip.ts")
    make_clip(tmp_path / "a.ts")
    playlist = tmp_path / name
    port = server.address.rpartition(":")[2]
    playlist.write_text(PLAYLISTS[name].format(address=server.address, port=port))
    began = time.monotonic()
    with pytest.raises(SourceError):
        probe(playlist, timeout=3)
    assert server.requests == []
    assert time.monotonic() - began < 15
    if name == "list.m3u8":  # the test can see it: with the permission they are asked for
        assert probe(playlist, timeout=3, network=True).width == 64
        assert server.requests


@pytest.mark.parametrize("entry", ["../secret.ts", "{folder}/secret.ts", "/etc/passwd"])
def test_concat_lists_stay_in_their_folder(tmp_path: Path, entry: str) -> None:
    """FFmpeg's own rule, safe=1: no absolute paths, nothing above."""
    make_clip(tmp_path / "secret.ts")
    folder = tmp_path / "list"
    folder.mkdir()
    make_clip(folder / "fine.ts")
    (folder / "a.ffconcat").write_text(f"ffconcat version 1.0\nfile '{entry.format(folder=tmp_path)}'\n")
    with pytest.raises(ProbeError):
        probe(folder / "a.ffconcat")
    (folder / "a.ffconcat").write_text("ffconcat version 1.0\nfile fine.ts\n")
    assert probe(folder / "a.ffconcat").width == 64


def test_what_comes_from_a_network_names_no_file_of_this_machine(tmp_path: Path, server: Server) -> None:
    secret = make_clip(tmp_path / "secret.ts")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nfile://{secret}\n#EXT-X-ENDLIST\n"
    (server.folder / "list.m3u8").write_text(playlist)
    with pytest.raises(SourceError):
        probe(f"{server.address}/list.m3u8", network=True, timeout=3)
    (tmp_path / "list.m3u8").write_text(playlist)
    assert probe(tmp_path / "list.m3u8").width == 64, "as a file's playlist it would have been found"


def test_a_job_from_a_server_goes_on_after_an_interruption(
    command: Command, server: Server, whole: Whole
) -> None:
    command.source = f"{server.address.replace('//', '//user:secret@')}/clip%20one.mp4"
    process = command.held("--allow-network")
    process.terminate()
    command.failed(finished(process), code=143)
    plan = json.loads((command.work / "plan.json").read_text())
    assert plan["source"]["name"] == f"{server.address}/clip%20one.mp4", "without the password"
    assert plan["source"]["bytes"] == len(whole.source.read_bytes())
    server.requests.clear()
    command.finishes(whole, "--allow-network")
    assert any("bytes=" in request for request in server.requests)


def test_the_default_name_of_an_address(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    address = f"{server.address}/clip%20one.mp4?token=1"
    usual = ["--frames", "2", "--backend", "nearest", "--no-progress", "--json"]
    assert _run(["upscale", address, "--allow-network", *usual]) == 0
    assert json.loads(capsys.readouterr().out)["output"] == "clip one_2x.mp4"
    assert (tmp_path / "clip one_2x.mp4").is_file()
    assert _run(["probe", address]) == 1
    assert "add --allow-network" in capsys.readouterr().err
    assert _run(["probe", address, "--allow-network"]) == 0
    assert "clip one_2x.mp4" in capsys.readouterr().out


def long_clip(server: Server) -> tuple[str, int]:
    """A clip so long that FFmpeg asks for its end instead of reading on to it."""
    path = make_clip(server.folder / "long.mp4", size=(320, 240), times=60, options={"crf": "1"})
    assert path.stat().st_size > 1 << 19
    return f"{server.address}/long.mp4", path.stat().st_size


@pytest.mark.clock
def test_a_server_that_stalls(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_NETWORK_WAIT_S", 0.5)
    address, size = long_clip(server)
    info = probe(address, network=True)
    server.stall_after = size // 2
    with Reader(info) as reader, pytest.raises(DecodeError, match="nothing came for too long"):
        list(reader)
    server.stall_after = 20
    with pytest.raises(ProbeError, match="nothing came for too long"):
        probe(address, network=True)


@pytest.mark.clock
def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_NETWORK_WAIT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/a.mp4"
        began = time.monotonic()
        with pytest.raises(ProbeError, match="nothing came for too long"):
            probe(address, network=True)
        assert time.monotonic() - began < 10


def test_a_server_that_breaks_off(server: Server) -> None:
    address, size = long_clip(server)
    info = probe(address, network=True)
    server.stall_after = size // 2
    server.released.set()  # it closes the connection instead of waiting
    with Reader(info) as reader, pytest.raises(DecodeError):
        list(reader)
