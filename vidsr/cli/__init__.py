"""The command line: arguments into a Job, an error into one line and an exit code, nothing else."""

from __future__ import annotations

import signal
import sys
from types import FrameType

__all__ = ["main"]


class _Terminated(KeyboardInterrupt):
    """SIGTERM, handled like Ctrl-C but for the exit code."""


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 terminated."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    import click
    import typer.main

    from vidsr.cli.app import app
    from vidsr.errors import VidsrError

    command = typer.main.get_command(app)
    try:
        result = command.main(arguments, prog_name="vidsr", standalone_mode=False)
    except VidsrError as error:
        _complain(str(error))
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except _Terminated:
        _complain("terminated; what is finished stays, and the same command continues")
        return 143
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted; what is finished stays, and the same command continues")
        return 130
    except BrokenPipeError:
        return 1
    return result if isinstance(result, int) else 0


def _complain(text: str) -> None:
    sys.stderr.write(f"vidsr: {text}\n")


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated
