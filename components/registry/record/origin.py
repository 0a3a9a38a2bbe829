"""Origin of a registered version: data, parameters, code, training. Read-only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from components.core.config.strict import SettingsError
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
    """Origin of a version. ``facts``: name -> value, as far as known.

    ``stages``: entries of dvc.lock, data first, None without a lineage. ``carried``: proofs by which results were accepted for
    newer code.
    """

    title: str
    version: int
    facts: dict[str, str]
    params: dict[str, str]
    stages: dict[str, Any] | None
    tags: dict[str, str]
    carried: list[dict[str, Any]]


def find_origin(client: MlflowClient, name: str, version_or_alias: str | None) -> Origin:
    """Return the origin of a version, by number or alias (default: champion, else candidate); SettingsError if unknown."""
    aliases = registry.aliases(client, name)
    version = find_version(client, name, version_or_alias or ("champion" if "champion" in aliases else "candidate"))
    number = int(version.version)
    standing = ", ".join(alias for alias, at in sorted(aliases.items()) if at == number)
    run = registry.find_run(client, version.run_id)
    tags = run.data.tags if run else {}
    known = {title: tags[tag] for title, tag in FACTS.items() if tag in tags}
    registered = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).isoformat(timespec="seconds")
    facts = {
        "registered": registered,
        "export (key)": version.tags.get(registry.KEY, "unknown"),
        "MLflow run": version.run_id or "none",
    }
    stages = lineage(client, version) if run else None
    return Origin(
        title=f"{name} version {number}" + (f" ({standing})" if standing else ""),
        version=number,
        facts=facts | known,
        params=dict(sorted(run.data.params.items())) if run else {},
        stages={stage: stages[stage] for stage in sorted(stages, key=_position)} if stages else None,
        tags=dict(version.tags),
        carried=carried_proofs(client, version) if run else [],
    )


def find_version(client: MlflowClient, name: str, version_or_alias: str) -> ModelVersion:
    """Return a version by number or alias; SettingsError names what is registered."""
    aliases = registry.aliases(client, name)
    number = int(version_or_alias) if version_or_alias.isdigit() else aliases.get(version_or_alias)
    known = {int(version.version): version for version in registry.versions(client, name)}
    if number not in known:
        numbers, names = ", ".join(map(str, known)), ", ".join(sorted(aliases)) or "none"
        choices = f"versions {numbers}, aliases {names}" if known else "nothing"
        raise SettingsError(f"VERSION: {name} has no {version_or_alias!r}; registered: {choices}")
    return known[number]


def _position(stage: str) -> tuple[int, str]:
    kind = stage.partition("@")[0]
    return (ORDER.index(kind) if kind in ORDER else len(ORDER)), stage
