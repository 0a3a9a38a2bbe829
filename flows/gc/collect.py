"""Everything that may go, and the conditions under which it may: nobody else is at work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from components.core.settings import PARAMS
from flows.doctor.locks import alive, holds
from flows.gc.cache import is_shared, unused_cache
from flows.gc.leftovers import leftovers
from flows.gc.tracking import has_server, lineage_hashes, unreferenced
from flows.gc.waste import Waste
from flows.project import AnotherRun, Project


@contextmanager
def nobody_at_work(project: Project) -> Iterator[None]:
    """Keep pipeline runs of all workspaces and DVC out; raise AnotherRun where one is in.

    What a running stage has put into the cache stands in no dvc.lock yet.
    """
    from dvc.repo import Repo, lock_repo

    studies = sorted(path.parent.name for path in project.root.glob(f"experiments/*/{PARAMS}"))
    with ExitStack() as stack:
        for study in (None, *studies):
            stack.enter_context(Project(project.root, study).alone())
        stack.enter_context(lock_repo(stack.enter_context(Repo(str(project.root), _wait_for_lock=True))))
        file = project.root / ".dvc" / "tmp" / "rwlock"
        for hold in holds(file):
            if alive(hold, file):
                raise AnotherRun(f"DVC (process {hold.pid}: {hold.command}) is at work in {project.root}")
        yield


def collect(project: Project, days: float) -> Iterator[Waste]:
    """Each thing older than ``days``, as it is found. TrackingUnavailable where the server cannot say what is registered."""
    yield from leftovers(project, days)
    lineages: set[str] = set()
    if has_server():
        from components.registry.tracking import connect, reachable

        with reachable():
            client = connect()
            found, lineages = list(unreferenced(client, days)), lineage_hashes(client)
        yield from found
    if (place := is_shared(project)) is not None:
        yield Waste(
            f"(DVC's cache {place} is shared with other clones, and is left as it is)", 0, "not looked at", lambda: None
        )
        return
    yield from unused_cache(project, days, lineages)
