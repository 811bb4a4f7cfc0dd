"""The command line: arguments into a Job, an error into one line and an exit code, nothing else."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

__all__ = ["main"]


class _Terminated(KeyboardInterrupt):
    """SIGTERM, handled like Ctrl-C but for the exit code."""


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 terminated."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    import typer.main

    from vidsr.cli.app import app
    from vidsr.errors import VidsrError

    command = typer.main.get_command(app)
    usage_error: Any = typer.BadParameter.__mro__[1]  # click's, or that of typer's own copy of click
    try:
        # Not `command.main`: typer makes 130 of every KeyboardInterrupt, without a word.
        with command.make_context("vidsr", arguments) as context:
            command.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    except VidsrError as error:
        _complain(str(error))
        return error.exit_code
    except usage_error as error:
        if type(error).__name__ != "NoArgsIsHelpError":  # whose help has been printed
            text = " ".join(error.format_message().split()).rstrip(".")
            where = "vidsr" if error.ctx is None else error.ctx.command_path
            _complain(f"{text}; '{where} --help' tells more")
        return 2
    except _Terminated:
        _complain("terminated; what is finished stays, and the same command continues")
        return 143
    except KeyboardInterrupt:
        _complain("interrupted; what is finished stays, and the same command continues")
        return 130
    except BrokenPipeError:
        return 1
    return 0


def _complain(text: str) -> None:
    sys.stderr.write(f"vidsr: {text}\n")


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated
