"""Find the project's own interpreter: people and ``dvc repro`` start commands with the ``python`` of whatever environment.

Standard library only, and syntax of old versions, since any Python may read it.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("pydantic", "ruamel.yaml", "numpy")  # packages without which no stage starts
RESTARTED = "DARKROOM_RESTARTED"  # set for the second interpreter, which starts no third


def use_project_interpreter(package: str) -> None:
    """Start ``python -m <package>`` again with ``.venv/bin/python`` if this interpreter lacks the project's packages.

    Exit code 2, and what to do in one line, if that one is missing or lacks them, too.
    """
    missing = next((name for name in NEEDED if not _is_installed(name)), None)
    if missing is None and sys.version_info >= (3, 11):
        return
    # Experiments of `dvc queue` run in a copy of the clone, .dvc/tmp/exps/<copy>, which has no environment of its own.
    places = [folder / ".venv" / "bin" / "python" for folder in (ROOT, *ROOT.parents[3:4])]
    own = next((place for place in places if place.exists()), None)
    if own and RESTARTED not in os.environ:
        os.environ[RESTARTED] = "1"
        os.execv(own, [str(own), "-m", package, *sys.argv[1:]])  # noqa: S606
    version = ".".join(map(str, sys.version_info[:2]))
    fault = f"{sys.executable} (Python {version}) lacks {missing}" if missing else f"{sys.executable} is Python {version}"
    sys.stderr.write(f"error: {fault}; `make plan` makes .venv with Python 3.11 or newer and all packages\n")
    sys.exit(2)


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of the package that holds it
        return False
