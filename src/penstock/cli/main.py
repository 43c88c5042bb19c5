"""The command line, one file a command.

The answer goes to standard output and nothing else does; what is said about it goes to standard error.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from penstock.cli import BEGAN, batch, chat, doctor, guide, init, keys, models, spend, trust
from penstock.cli.terminal import safe_terminal
from penstock.core.errors import ConfigError, ProviderError

__all__ = ["main"]

_SELDOM: Final = 100_000
"""New objects after which they are looked through: nearly all are of modules, and stay."""
_COMMANDS = (chat, batch, models, spend, init, doctor, trust, keys, guide)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the result is the exit status: 1 when a call failed, 2 when the configuration is wrong.

    argv: None for the process's own arguments, and then the process is this command's, from its start to its end.
    """
    if argv is None:
        gc.set_threshold(_SELDOM)
    with safe_terminal():
        status = _run(argv)
    if argv is None:
        gc.freeze()  # what there is goes with the process: to look through it all, an SDK's above all, takes 0.3 s
    return status


def _run(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    arguments.began = BEGAN if argv is None else time.monotonic()
    try:
        status: int = arguments.run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except ConfigError as error:
        print(f"penstock: {error}", file=sys.stderr)
        return 2
    except ProviderError as error:
        print(f"penstock: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read the answer has had enough; without this, Python complains once more while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"penstock: cannot write the answer: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *rest: Any) -> None:
        from importlib.metadata import version  # a third of the command's own start

        print(version("penstock"))
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="penstock", description="Ask a language model, and see what it costs.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show program's version number and exit")
    # Python 3.14 would colour its help and errors with the sequences that a terminal does not get from us.
    vars(parser)["color"] = False
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return parser
