"""Patch DVC to fail if a result does not reach its cache.

DVC logs "failed to transfer" (a full disk, an unwritable cache), records the stage nevertheless and exits with 0: dvc.lock
then names an object that exists nowhere. Here the stage fails with the path and the reason, and is not recorded.

Patches private names of DVC 3.67.1; installed by ``entries``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

LOGGER = "dvc_data.hashfile.transfer"

_originals: dict[str, Callable[..., Any]] = {}  # functions that ``install`` replaced


def install() -> None:
    """Let DVC in this process raise DvcException if objects were not transferred into the cache."""
    from dvc import output

    _originals.setdefault("transfer", output.otransfer)
    output.otransfer = _transfer


def _transfer(source: Any, goal: Any, objects: Any, *arguments: Any, **options: Any) -> Any:
    """Replace ``dvc_data.hashfile.transfer.transfer`` as ``dvc.output`` uses it."""
    from dvc.exceptions import DvcException

    with _reasons() as reasons:
        result = _originals["transfer"](source, goal, objects, *arguments, **options)
    if result.failed:
        why = "; ".join(dict.fromkeys(reasons)) or "no reason given"
        raise DvcException(f"failed to transfer {len(result.failed)} objects to {goal.path}: {why}; the stage is not recorded")
    return result


@contextmanager
def _reasons() -> Iterator[list[str]]:
    """Collect the exceptions that DVC logs."""
    reasons: list[str] = []
    collector = logging.Handler(logging.ERROR)
    collector.emit = lambda record: reasons.append(str(record.exc_info[1]) if record.exc_info else record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger(LOGGER)
    logger.addHandler(collector)
    try:
        yield reasons
    finally:
        logger.removeHandler(collector)
