"""Patch DVC to write an entry only if it agrees with the stage's record of its inputs (``components.core.inputs``).

DVC hashes a stage's inputs after its command has ended, or after its result was restored from the run cache. Here they are
compared with the record, which is one of the stage's outs, before anything is saved. A wrong entry that bare DVC left in
dvc.lock or in the run cache is ignored, as if the stage had never run. Stages without a record are left to DVC.

Patches private names of DVC 3.67.1; installed by ``entries``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.inputs.lock import remove_run
from components.core.inputs.record import CHANGED, contradicts, differences, record_path, recorded_stage

if TYPE_CHECKING:
    from dvc.stage import PipelineStage
    from dvc.stage.cache import StageCache

NAMED = 4  # changed inputs in a message

_originals: dict[str, Callable[..., Any]] = {}  # methods that ``install`` replaced


def install() -> None:
    """Let DVC in this process neither save nor use an entry that contradicts its record."""
    from dvc.stage import PipelineStage
    from dvc.stage.cache import StageCache
    from dvc.stage.loader import StageLoader

    _originals.setdefault("save_outs", PipelineStage.save_outs)
    _originals.setdefault("fill_from_lock", StageLoader.fill_from_lock)
    _originals.setdefault("load_cache", StageCache._load_cache)
    PipelineStage.save_outs = _save_outs
    StageLoader.fill_from_lock = staticmethod(_fill_from_lock)
    StageCache._load_cache = _load_cache


def _save_outs(stage: PipelineStage, **kwargs: Any) -> None:
    """Replace ``Stage.save_outs``, which DVC calls after hashing the deps of a stage that ran or was restored."""
    from dvc.exceptions import DvcException
    from dvc.stage.serialize import to_single_stage_lockfile

    path = Path(stage.wdir) / record_path(stage.name or "")
    if path.is_file() and any(Path(out.fs_path) == path for out in stage.outs):
        changed = differences(path.read_bytes(), to_single_stage_lockfile(stage))
        if changed:
            more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
            raise DvcException(f"{stage.name} is not recorded, its {CHANGED}: {', '.join(changed[:NAMED])}{more}")
    _originals["save_outs"](stage, **kwargs)


def _fill_from_lock(stage: PipelineStage, lock_data: dict[str, Any] | None = None) -> None:
    """Replace ``StageLoader.fill_from_lock``: ignore an entry that contradicts its record."""
    if lock_data and (name := recorded_stage(lock_data)) and contradicts(name, lock_data):
        return
    _originals["fill_from_lock"](stage, lock_data)


def _load_cache(cache: StageCache, key: str, value: str) -> dict[str, Any] | None:
    """Replace ``StageCache._load_cache``: remove a run of the run cache that contradicts its record."""
    entry: dict[str, Any] | None = _originals["load_cache"](cache, key, value)
    if entry and (name := recorded_stage(entry)) and contradicts(name, entry):
        remove_run(Path(cache._get_cache_path(key, value)))
        return None
    return entry
