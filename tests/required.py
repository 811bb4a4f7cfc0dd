"""What a test needs and this machine may lack."""

from __future__ import annotations

import os

import pytest

__all__ = ["require"]


def require(name: str, why: str) -> None:
    """Skip the running test, or fail it where VIDSR_REQUIRE (comma separated) lists `name`.

    A machine that is there to test a part must not pass by skipping it.

    Args:
        name: The part that is absent: data, compiler, gpu, ffmpeg, ...
        why: What is absent and how to provide it, one line.
    """
    if name in os.environ.get("VIDSR_REQUIRE", "").replace(" ", "").split(","):
        pytest.fail(f"VIDSR_REQUIRE asks for '{name}': {why}", pytrace=False)
    pytest.skip(why)
