"""Firefox as Debian has it, driven by WebDriver BiDi (W3C), as far as the page's tests go.

Playwright drives only a Firefox of its own, which no registry has. Names and meanings here are Playwright's.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

_PREFERENCES = {
    "media.autoplay.default": 0,  # 0: allowed
    "media.volume_scale": "0.2",
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#",
}
_KEYS = {"Home": "\ue011", "ArrowRight": "\ue014", "ArrowLeft": "\ue012"}
_START_S = 60.0
_ANSWER_S = 60.0


class Firefox:
    """A running Firefox and its one connection."""

    def __init__(self, socket: Any) -> None:
        self._socket, self._ids = socket, count(1)
        self.listeners: list[Callable[[dict[str, Any]], None]] = []
        self.send("session.new", capabilities={})
        self.send("session.subscribe", events=["log.entryAdded"])

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Give a command; return its result. Events that come meanwhile go to the listeners."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(timeout=_ANSWER_S))
            if answer.get("type") == "event":
                for listener in self.listeners:
                    listener(answer)
            elif answer.get("id") == number:
                if answer["type"] == "error":
                    raise RuntimeError(f"{method}: {answer['error']}: {answer['message'][:500]}")
                result: dict[str, Any] = answer["result"]
                return result

    @contextmanager
    def new_context(self, *, viewport: dict[str, int]) -> Iterator[Context]:
        """A profile of its own, as Playwright's."""
        user = self.send("browser.createUserContext")["userContext"]
        context = Context(self, user, viewport)
        try:
            yield context
        finally:
            context.close()
            self.send("browser.removeUserContext", userContext=user)


class Context:
    def __init__(self, firefox: Firefox, user: str, viewport: dict[str, int]) -> None:
        self._firefox, self._user, self._viewport = firefox, user, viewport
        self._pages: list[Page] = []

    def new_page(self) -> Page:
        made = self._firefox.send("browsingContext.create", type="tab", userContext=self._user)["context"]
        self._firefox.send("browsingContext.setViewport", context=made, viewport=self._viewport)
        self._pages.append(Page(self._firefox, made))
        return self._pages[-1]

    def close(self) -> None:
        for page in self._pages:
            page.close()


class Page:
    """A tab."""

    def __init__(self, firefox: Firefox, context: str) -> None:
        self._firefox, self._context = firefox, context
        self._wrong: list[Callable[[str], None]] = []
        self.keyboard, self.mouse = Keyboard(self), Mouse(self)
        firefox.listeners.append(self._hear)

    def close(self) -> None:
        self._firefox.listeners.remove(self._hear)
        self.send("browsingContext.close")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        return self._firefox.send(method, context=self._context, **params)

    def on(self, event: str, listener: Callable[[str], None]) -> None:
        assert event == "pageerror"
        self._wrong.append(listener)

    def _hear(self, event: dict[str, Any]) -> None:
        entry = event["params"]
        if entry.get("type") == "javascript" and entry["level"] == "error":
            for listener in self._wrong:
                listener(entry["text"])

    def add_init_script(self, script: str) -> None:
        declaration = f"() => {{ {script} }}"
        self._firefox.send(
            "script.addPreloadScript", functionDeclaration=declaration, contexts=[self._context]
        )

    def goto(self, address: str, *, wait_until: str = "load") -> None:
        self.send(
            "browsingContext.navigate", url=address, wait={"commit": "none", "load": "complete"}[wait_until]
        )

    def evaluate(self, script: str, argument: Any = None) -> Any:
        """Return what an expression, or a function of one argument, gives; it must fit into JSON."""
        script = script.strip()
        if re.match(r"(async\s*)?\([^()]*\)\s*=>", script):
            script = f"({script})({json.dumps(argument)})"
        result = self._firefox.send(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({script}) ?? null))()",
            target={"context": self._context},
            awaitPromise=True,
        )
        if result["type"] == "exception":
            raise RuntimeError(result["exceptionDetails"]["text"])
        return json.loads(result["result"]["value"])

    def wait_for_timeout(self, milliseconds: float) -> None:
        time.sleep(milliseconds / 1000)

    def inner_text(self, selector: str) -> str:
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def select_option(self, selector: str, value: str) -> None:
        self.evaluate(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
            f" one.value = {json.dumps(value)};"
            " one.dispatchEvent(new Event('input', { bubbles: true }));"
            " one.dispatchEvent(new Event('change', { bubbles: true })); })()"
        )

    def click(self, selector: str) -> None:
        box = self.locator(selector).bounding_box()
        deadline = time.monotonic() + _ANSWER_S
        while not box["width"]:
            assert time.monotonic() < deadline, f"{selector} is not shown"
            box = self.locator(selector).bounding_box()
        self.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        self.mouse.down()
        self.mouse.up()

    def get_by_text(self, text: str) -> Text:
        return Text(self, text)

    def locator(self, selector: str) -> Located:
        return Located(self, selector)

    def screenshot(self, *, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.send("browsingContext.captureScreenshot")["data"]))


class Text:
    def __init__(self, page: Page, text: str) -> None:
        self._page, self._text = page, text

    def wait_for(self, *, timeout: float = 30_000) -> None:
        deadline = time.monotonic() + timeout / 1000
        while self._text not in self._page.inner_text("body"):
            assert time.monotonic() < deadline, f"{self._text!r} does not appear"
            time.sleep(0.05)


class Located:
    def __init__(self, page: Page, selector: str) -> None:
        self._page, self._selector = page, selector

    def bounding_box(self) -> dict[str, float]:
        box: dict[str, float] = self._page.evaluate(
            f"document.querySelector({json.dumps(self._selector)}).getBoundingClientRect().toJSON()"
        )
        return box


class Keyboard:
    def __init__(self, page: Page) -> None:
        self._page = page

    def press(self, key: str) -> None:
        value = _KEYS.get(key, key)
        actions = [{"type": kind, "value": value} for kind in ("keyDown", "keyUp")]
        self._page.send("input.performActions", actions=[{"type": "key", "id": "keys", "actions": actions}])


class Mouse:
    def __init__(self, page: Page) -> None:
        self._page, self._at = page, (0, 0)

    def move(self, x: float, y: float, *, steps: int = 1) -> None:
        (x0, y0), self._at = self._at, (round(x), round(y))
        for step in range(1, steps + 1):
            share = step / steps
            place = {"x": round(x0 + (x - x0) * share), "y": round(y0 + (y - y0) * share)}
            self._do({"type": "pointerMove", **place})

    def down(self) -> None:
        self._do({"type": "pointerDown", "button": 0})

    def up(self) -> None:
        self._do({"type": "pointerUp", "button": 0})

    def wheel(self, x: float, y: float) -> None:
        at = {"x": self._at[0], "y": self._at[1]}
        action = {"type": "scroll", **at, "deltaX": round(x), "deltaY": round(y)}
        self._page.send(
            "input.performActions", actions=[{"type": "wheel", "id": "wheel", "actions": [action]}]
        )

    def _do(self, action: dict[str, Any]) -> None:
        source = {
            "type": "pointer",
            "id": "mouse",
            "parameters": {"pointerType": "mouse"},
            "actions": [action],
        }
        self._page.send("input.performActions", actions=[source])


@contextmanager
def speakers() -> Iterator[dict[str, str]]:
    """PulseAudio with speakers that nobody hears, without which Firefox makes no sound; what names it."""
    with tempfile.TemporaryDirectory(prefix="vidsr-sound-") as folder:
        socket = f"{folder}/native"
        modules = ("module-null-sink", f"module-native-protocol-unix socket={socket} auth-anonymous=1")
        words = ["pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1"]
        words += [word for module in modules for word in ("-L", module)]
        own = os.environ | {"HOME": folder, "XDG_RUNTIME_DIR": folder}
        with subprocess.Popen(words, env=own, stderr=subprocess.DEVNULL) as process:
            try:
                deadline = time.monotonic() + _START_S
                while not Path(socket).exists():
                    assert process.poll() is None, "pulseaudio does not start"
                    assert time.monotonic() < deadline, "pulseaudio does not listen"
                    time.sleep(0.05)
                yield {"PULSE_SERVER": f"unix:{socket}"}
            finally:
                process.terminate()


@contextmanager
def launched(program: str) -> Iterator[Firefox]:
    """Start a Firefox without a window; end it afterwards."""
    with speakers() as named:
        yield from _launched(program, named)


def _launched(program: str, named: dict[str, str]) -> Iterator[Firefox]:
    from websockets.sync.client import connect

    with tempfile.TemporaryDirectory(prefix="vidsr-firefox-") as profile:
        told = "".join(f'user_pref("{k}", {json.dumps(v)});\n' for k, v in _PREFERENCES.items())
        (Path(profile) / "user.js").write_text(told)
        log = Path(profile) / "said"
        words = [program, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"]
        with (
            log.open("w") as said,
            subprocess.Popen(words, env=os.environ | named, stdout=said, stderr=said) as process,
        ):
            try:
                address = _address(log, process)
                with connect(f"{address}/session", max_size=1 << 28, compression=None) as socket:
                    yield Firefox(socket)
            finally:
                process.terminate()
                process.wait(timeout=20)


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"WebDriver BiDi listening on (ws://\S+)", log.read_text()):
            return found[1]
        time.sleep(0.05)
    raise RuntimeError(f"Firefox does not listen: {log.read_text()[-2000:]}")
