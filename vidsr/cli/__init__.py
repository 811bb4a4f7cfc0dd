"""The command line: arguments into a Job, an error into one line and an exit code, nothing else."""

from __future__ import annotations

import sys
from typing import Any

from vidsr.cli.signals import Terminated, catch_signals, ignore_signals
from vidsr.cli.streams import mend_streams, silence_stdout

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with one of the README's codes."""
    mend_streams()
    catch_signals()
    code = _run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:
        silence_stdout()
        code = code or 1
    ignore_signals()  # the work is over, one way or the other, and the code says which
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    try:
        return _invoke(arguments)
    except Terminated:
        _complain("terminated; what is finished stays, and the same command continues")
        return 143
    except KeyboardInterrupt:
        _complain("interrupted; what is finished stays, and the same command continues")
        return 130
    except BrokenPipeError:
        silence_stdout()
        return 1
    except Exception as error:
        from vidsr.cli.endings import ending

        line, code = ending(error)
        _complain(line)
        return code


def _invoke(arguments: list[str]) -> int:
    import typer.main

    from vidsr.cli.app import app
    from vidsr.cli.hosts import add_hosts

    add_hosts(app, arguments)
    command = typer.main.get_command(app)
    usage_error: Any = typer.BadParameter.__mro__[1]  # click's, or that of typer's own copy of click
    try:
        # Not `command.main`: typer makes 130 of every KeyboardInterrupt, without a word.
        with command.make_context("vidsr", arguments) as context:
            command.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    except usage_error as error:
        if type(error).__name__ != "NoArgsIsHelpError":  # whose help has been printed
            text = " ".join(error.format_message().split()).rstrip(".")
            where = "vidsr" if error.ctx is None else error.ctx.command_path
            _complain(f"{text}; '{where} --help' tells more")
        return 2
    return 0


def _complain(text: str) -> None:
    try:
        sys.stderr.write(f"vidsr: {text}\n")
        sys.stderr.flush()
    except OSError:  # nobody listens; the exit code still tells
        pass
