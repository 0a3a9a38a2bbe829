"""A registered version and all that is known of how it was made. Reads, and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from components.core.strict import SettingsError
from components.registry import model_registry as registry
from components.registry.record.lineage import carried_proofs, lineage

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

FACTS = {
    "commit": "mlflow.source.git.commit",
    "files differed from the commit": "darkroom.git_dirty",
    "dvc.lock (SHA-256)": "darkroom.dvc_lock",
    "view": "darkroom.view",
    "view (digest)": "darkroom.view_digest",
    "recipe": "darkroom.recipe",
    "study": "darkroom.study",
    "training (fingerprint)": "darkroom.fingerprint",
}
ORDER = ("fetch", "augment", "wire", "link", "train", "detect", "export")


@dataclass(frozen=True)
class Origin:
    """``facts``: name -> value, as far as known; ``stages``: dvc.lock's entries, data first, None where they were not kept.

    ``carried``: proofs by which a stage's result stands under code that is younger than it.
    """

    title: str
    facts: dict[str, str]
    params: dict[str, str]
    stages: dict[str, Any] | None
    tags: dict[str, str]
    carried: list[dict[str, Any]]


def find_origin(client: MlflowClient, name: str, wanted: str | None) -> Origin:
    """Of the version, given as a number or an alias (default: the champion, else the candidate); SettingsError for none."""
    aliases = registry.aliases(client, name)
    version = _find(client, name, wanted or ("champion" if "champion" in aliases else "candidate"), aliases)
    number = int(version.version)
    standing = ", ".join(alias for alias, at in sorted(aliases.items()) if at == number)
    run = registry.find_run(client, version.run_id)
    tags = run.data.tags if run else {}
    known = {title: tags[tag] for title, tag in FACTS.items() if tag in tags}
    made = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).isoformat(timespec="seconds")
    facts = {
        "registered": made,
        "export (key)": version.tags.get(registry.KEY, "unknown"),
        "MLflow run": version.run_id or "none",
    }
    stages = lineage(client, version) if run else None
    return Origin(
        title=f"{name} version {number}" + (f" ({standing})" if standing else ""),
        facts=facts | known,
        params=dict(sorted(run.data.params.items())) if run else {},
        stages={stage: stages[stage] for stage in sorted(stages, key=_position)} if stages else None,
        tags=dict(version.tags),
        carried=carried_proofs(client, version) if run else [],
    )


def _find(client: MlflowClient, name: str, wanted: str, aliases: dict[str, int]) -> ModelVersion:
    number = int(wanted) if wanted.isdigit() else aliases.get(wanted)
    known = {int(version.version): version for version in registry.versions(client, name)}
    if number not in known:
        there = f"versions {', '.join(map(str, known))}, aliases {', '.join(sorted(aliases)) or 'none'}" if known else "nothing"
        raise SettingsError(f"VERSION: {name} has no {wanted!r}; registered: {there}")
    return known[number]


def _position(stage: str) -> tuple[int, str]:
    kind = stage.partition("@")[0]
    return (ORDER.index(kind) if kind in ORDER else len(ORDER)), stage
