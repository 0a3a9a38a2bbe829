"""Compare the installed packages with requirements.lock, for a flow and for a stage that bare ``dvc repro`` starts."""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from components.core.config.strict import SettingsError

LOCK = "requirements.lock"
MATTERS = ("prefect", "fastapi", "sqlalchemy", "dvc", "mlflow", "torch", "albumentations")  # wrong ones fail late or silently
PYTHON = (3, 11)


def check_versions(root: Path) -> None:
    """Check Python and the installed packages against requirements.lock; SettingsError names package and versions."""
    if sys.version_info < PYTHON:
        raise SettingsError(f"Python {'.'.join(map(str, PYTHON))} or newer is needed, this is {sys.version.split()[0]}")
    wrong = wrong_versions(root / LOCK, MATTERS)
    if wrong:
        raise SettingsError("\n".join([f"the installation is not what {LOCK} says:", *(f"  {line}" for line in wrong)]))


def wrong_versions(path: Path, names: tuple[str, ...] = ()) -> list[str]:
    """Return one line per pin of the lock file (of ``names``, if given) that differs from the installed version."""
    pins = {name: pin for name, pin in _locked(path).items() if name in names or not names}
    installed = {name: _installed(name) for name in pins}
    return [f"{name}: {pin} is wanted, {installed[name]} is installed" for name, pin in pins.items() if installed[name] != pin]


def _locked(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file") from None
    return {name.lower().replace("_", "-"): _public(pin) for name, pin in re.findall(r"(?m)^([\w.-]+)==([^\s;#]+)", text)}


def _installed(name: str) -> str:
    try:
        return _public(version(name))
    except PackageNotFoundError:
        return "none"


def _public(pin: str) -> str:
    """Strip a local tag such as ``+cpu``, which only names the build of a release."""
    return pin.partition("+")[0]
