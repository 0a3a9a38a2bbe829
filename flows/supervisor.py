"""The one process behind ``up``: it keeps the servers, the deployments and the scoring servers running, and ends with them.

All of them hang on leashes of its main thread: should it be killed, the kernel tells the leashes, and nothing is left.
"""

from __future__ import annotations

import fcntl
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from components.core.errors import redacted
from components.core.files import is_gone, this_process
from flows.child import Child
from flows.environment import for_children
from flows.kept import Broken, Kept
from flows.project import Project
from flows.running import RENEWAL, State, in_force, lock_file, read_state, state_file, write_state
from flows.scoring import Scoring
from flows.services import (
    ANYWHERE,
    addresses,
    bind,
    make_database_command,
    needs_database,
    scoring_server,
    services,
    url_host,
)
from flows.settings import Servers

POLL = 0.1  # seconds between two looks at the children
LINGER = 60.0  # seconds in which what a killed supervisor left ends on its leashes

log = logging.getLogger("up")


class AlreadyUp(Exception):
    """Another supervisor is at work here."""


class Supervisor:
    """Servers by name, tended one after the other."""

    def __init__(self, project: Project, servers: Servers) -> None:
        self._at = addresses(servers)
        self._project = project
        self._settings = in_force(project)
        self._looked = time.monotonic()
        sockets = bind(servers)
        self._kept = [Kept(service, project.root) for service in services(project, servers)]
        self._scoring = {}
        for run, listening in sockets.items():
            name = project.workspace.registered_name(run)
            url = f"http://{url_host(ANYWHERE.get(servers.host, servers.host))}:{servers.scoring[run]}"
            service = scoring_server(project, run, listening)
            self._scoring[name] = Scoring(name, service, listening, url, project.root)

    @property
    def ready(self) -> bool:
        """Whether everything has answered once, or is known not to (a model without a champion)."""
        return all(kept.ready for kept in self._kept) and all(scoring.settled for scoring in self._scoring.values())

    def run(self) -> None:
        """Until SIGTERM or Ctrl-C, which come as exceptions; Broken if a server does not come up."""
        try:
            if needs_database():
                make_database(self._project)
            while True:
                changed = [kept.tend() for kept in self._all]
                if any(changed) or self._note_is_lost():
                    self._note()
                time.sleep(POLL)
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            self._stop()

    def _note(self) -> None:
        processes = {child.identity: child.name for child in self._children}
        scoring = {name: entry.state for name, entry in self._scoring.items()}
        at, root = self._at, str(self._project.root)
        uri = redacted(at.mlflow_uri)
        write_state(State(this_process(), root, at.prefect_api, uri, self.ready, scoring, processes, self._settings))

    def _note_is_lost(self) -> bool:
        """Whether somebody has taken or changed the note, by which ``down`` and a promotion find this process."""
        if time.monotonic() - self._looked < RENEWAL:
            return False
        self._looked = time.monotonic()
        state = read_state()
        return state is None or state.supervisor != this_process()

    @property
    def _children(self) -> list[Child]:
        return [child for kept in self._all for child in kept.children]

    @property
    def _all(self) -> list[Kept | Scoring]:
        return [*self._kept, *self._scoring.values()]

    def _stop(self) -> None:
        """First the deployments, whose flow runs still have something to tell the servers; then all the others at once."""
        end_all([child for child in self._children if child.name == "serve"])
        end_all(self._children)
        state_file().unlink(missing_ok=True)


def end_all(children: Sequence[Child]) -> None:
    """Ask, wait, and in the end have the leashes do it."""
    for child in children:
        child.ask()
    while any(child.code is None for child in children):
        for child in children:
            child.end_if_late()
        time.sleep(POLL)


def make_database(project: Project) -> None:
    """The tracking database, made by a process of its own."""
    done = subprocess.run(
        make_database_command(), cwd=project.root, env=for_children(project), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Broken(f"the tracking database could not be made:\n{done.stderr.strip()}")


def supervise(project: Project, servers: Servers) -> None:
    """Run a supervisor in this process. AlreadyUp, SettingsError (a port that is taken) or Broken say why not."""
    with alone():
        wait_for_remains()
        Supervisor(project, servers).run()


@contextmanager
def alone() -> Iterator[None]:
    """One supervisor a state folder; the kernel frees the lock with its holder."""
    path = lock_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyUp from None
        yield


def wait_for_remains() -> None:
    """What a killed supervisor had started ends by itself, within its grace; until then it holds its ports."""
    state = read_state()
    deadline = time.monotonic() + LINGER
    while state and time.monotonic() < deadline and any(is_gone(process) is False for process in state.processes):
        time.sleep(POLL)
    state_file().unlink(missing_ok=True)


def to_stderr() -> None:
    """What the supervisor does, with the time, on stderr: its log, or the terminal."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
