"""The command line: `penstock chat`, `penstock models`, `penstock init`, `penstock doctor`.

The answer goes to standard output and nothing else does; what is said about it goes to standard error.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from penstock.cli import chat, doctor, init, models
from penstock.core.errors import ConfigError, ProviderError

__all__ = ["main"]

_COMMANDS = (chat, models, init, doctor)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the result is the exit status: 1 when a call failed, 2 when the configuration is wrong."""
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="penstock", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--version", action="version", version=version("penstock"))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return parser
