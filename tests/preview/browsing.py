"""``vidsr preview`` as a process, and a browser's page of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from firefox import launched


@contextmanager
def started(name: str, program: str) -> Iterator[Any]:
    """A browser without a window: Chromium is driven by Playwright, Firefox by BiDi."""
    if name == "firefox":
        with launched(program) as firefox:
            yield firefox
        return
    from playwright.sync_api import sync_playwright

    # What it keeps in files for a while is no test's.
    temporary = TemporaryDirectory(prefix="vidsr-chromium-", ignore_cleanup_errors=True)
    with temporary as folder, sync_playwright() as driver:
        flags = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        surroundings: dict[str, str | float | bool] = {**os.environ, "TMPDIR": folder}
        chromium = driver.chromium.launch(
            executable_path=program, args=flags, headless=True, env=surroundings
        )
        yield chromium
        chromium.close()


@contextmanager
def command(clip: Path, *options: str) -> Iterator[str]:
    """Run ``vidsr preview``; yield its address."""
    words = [sys.executable, "-m", "vidsr", "preview", str(clip), "--no-browser", *options]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            found = re.search(r"http://\S+", line)
            assert found, line + process.stderr.read()
            yield found.group()
        finally:
            process.send_signal(2)
            said = process.communicate(timeout=60)[1]
        assert (process.returncode, said) == (0, "")


@contextmanager
def page(browser: Any, address: str, *, script: str = "") -> Iterator[Any]:
    with browser.new_context(viewport={"width": 1280, "height": 860}) as context:
        opened = context.new_page()
        wrong: list[str] = []
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        if script:
            opened.add_init_script(script)
        opened.goto(address, wait_until="commit")
        yield opened
        assert wrong == []


def until(opened: Any, condition: str, seconds: float = 45) -> None:
    deadline = time.monotonic() + seconds
    while not opened.evaluate(f"!!(window.vidsr && ({condition}))"):
        assert time.monotonic() < deadline, (condition, opened.inner_text("#note"))
        opened.wait_for_timeout(20)
