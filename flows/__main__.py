"""``python -m flows <command>``: the commands of the pipeline. Prefect, MLflow and torch are imported only when there is work.

Exit codes: 0 done; 1 a stage failed, the others went on, or a candidate was refused; 2 nothing was started, since a setting or
an argument is wrong; 3 nothing was started, since another pipeline run holds the workspace; 4 the monitor found drift;
130, 143 stopped by signal; 141 the reader of the output, such as `head`, closed the pipe.
"""

from __future__ import annotations

import argparse
import importlib
import os
import select
import signal
import sys
from typing import Any

from components.core.config.strict import SettingsError
from components.core.errors import redacted
from flows.cli import COMMANDS
from flows.project import AnotherRun


def main(words: list[str], **answers: Any) -> int:
    """Run the command and return its exit code. ``answers``: test doubles, passed on to the command."""
    arguments = parser().parse_args(words)
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        code: int = arguments.main(arguments, **answers)
        return code
    except SettingsError as error:
        print(f"error: {redacted(str(error))}", file=sys.stderr)
        return 2
    except AnotherRun as other:
        print(f"{other}; nothing was started", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        if not _pipe_is_closed():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would raise again at exit
        return 141
    finally:
        signal.signal(signal.SIGTERM, before)


def parser() -> argparse.ArgumentParser:
    """Build the parser: a subparser for each of ``COMMANDS``."""
    top = argparse.ArgumentParser(prog="python -m flows", description="Train, evaluate and publish image models.")
    commands = top.add_subparsers(dest="command", required=True, metavar="command")
    for name, (place, summary) in COMMANDS.items():
        module = importlib.import_module(place)
        main = getattr(module, name)
        command = commands.add_parser(name, help=summary, description=main.__doc__)
        getattr(module, f"{name}_arguments")(command)
        command.set_defaults(main=main)
    return top


def _pipe_is_closed() -> bool:
    """Whether standard output is a pipe whose reader is gone."""
    output = select.poll()
    output.register(sys.stdout.fileno(), select.POLLERR)
    return bool(output.poll(0))


def _terminate(number: int, frame: object) -> None:
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
