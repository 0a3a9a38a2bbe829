"""``python -m flows <command>``: the commands of the pipeline. Prefect, MLflow and torch are imported only when there is work.

Exit codes: 0 done; 1 a stage failed, the others went on, or a candidate was refused; 2 nothing was started, since a setting or
an argument is wrong; 3 nothing was started, since another pipeline run holds the workspace; 4 the monitor found drift;
130, 143 stopped by signal; 141 the reader of the output, such as `head`, closed the pipe.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.interpreter import use_project_interpreter

use_project_interpreter("flows")

from components.command import READER_GONE, pipe_is_closed, silence_output  # noqa: E402
from components.core.config.strict import SettingsError  # noqa: E402
from components.core.errors import redacted  # noqa: E402
from components.core.settings import ROOT  # noqa: E402
from flows import environment  # noqa: E402
from flows.cli import COMMANDS  # noqa: E402
from flows.pipeline.place import check_place  # noqa: E402
from flows.project import AnotherRun  # noqa: E402

ANYWHERE = ("doctor", "down", "docs", "graph")  # commands for a clone that lies where nothing else works


def main(words: list[str], **answers: Any) -> int:
    """Run the command and return its exit code. ``answers``: test doubles, passed on to the command."""
    arguments = parser().parse_args(words)
    root = Path(getattr(arguments, "project", ROOT)).resolve()
    environment.prepare(root)
    before = {number: signal.signal(number, handler) for number, handler in _handlers().items()}
    try:
        if arguments.command not in ANYWHERE:
            check_place(root, getattr(arguments, "study", None))
        code: int = arguments.main(arguments, **answers)
        return code
    except SettingsError as error:
        print(f"error: {redacted(str(error))}", file=sys.stderr)
        return 2
    except AnotherRun as other:
        print(f"{other}; nothing was started", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        before.pop(signal.SIGINT, None)  # a second Ctrl-C may come while servers are stopped at exit
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        if not pipe_is_closed():
            raise
        silence_output()
        return READER_GONE
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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


def _handlers() -> dict[signal.Signals, Callable[[int, object], None]]:
    """Return the handlers to install. A background job of a shell ignores Ctrl-C, and goes on ignoring it."""
    interrupted = {signal.SIGINT: _interrupt} if signal.getsignal(signal.SIGINT) is signal.default_int_handler else {}
    return {signal.SIGTERM: _terminate, **interrupted}


def _terminate(number: int, frame: object) -> None:
    sys.exit(143)


def _interrupt(number: int, frame: object) -> None:
    """Raise KeyboardInterrupt at the first Ctrl-C; at the second exit at once, and leave all children to their guards.

    Prefect's own cleanup, interrupted, would end in a traceback.
    """
    signal.signal(signal.SIGINT, _exit_at_once)
    raise KeyboardInterrupt


def _exit_at_once(number: int, frame: object) -> None:
    os.write(2, b"stopped at once; what runs has some seconds to write its checkpoint (`doctor` shows what remains)\n")
    os._exit(130)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
