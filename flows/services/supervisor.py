"""The supervisor behind ``up``: start the servers, the deployments and the scoring servers, restart them, stop them together.

The main thread starts them behind process guards, which end them if the supervisor is killed.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from components.core.errors import redacted
from components.core.files import is_gone, locked, this_process
from flows.project import Project, for_children
from flows.services.child import Child, RestartedService, ServiceFailed
from flows.services.definitions import (
    ANYWHERE,
    addresses,
    bind,
    make_database_command,
    needs_database,
    scoring_server,
    services,
    url_host,
)
from flows.services.notify import notify_failure
from flows.services.running import RENEWAL, ServersState, lock_file, read_state, settings_in_force, state_file, write_state
from flows.services.scoring import ScoringServer
from flows.settings import Servers

POLL = 0.1  # seconds between checks of the children
LINGER = 60.0  # seconds for the process guards to end the children of a killed supervisor

log = logging.getLogger("up")


class AlreadyUp(Exception):
    """Another supervisor is running here."""


class Supervisor:
    """Start the services, check them in a loop, and write the state file."""

    def __init__(self, project: Project, servers: Servers) -> None:
        self._at = addresses(servers)
        self._project = project
        self._settings = settings_in_force(project)
        self._last_check = time.monotonic()
        sockets = bind(servers)
        self._services = [RestartedService(service, project.root) for service in services(project, servers)]
        self._scoring = {}
        for run, listening in sockets.items():
            name = project.workspace.registered_name(run)
            url = f"http://{url_host(ANYWHERE.get(servers.host, servers.host))}:{servers.scoring[run]}"
            service = scoring_server(project, run, listening)
            tell = partial(self._tell, name)
            self._scoring[name] = ScoringServer(name, service, listening, url, project.root, on_give_up=tell)

    @property
    def ready(self) -> bool:
        """Whether every service was ready once, or cannot be (a model without a champion)."""
        return all(service.ready for service in self._services) and all(scoring.settled for scoring in self._scoring.values())

    def run(self) -> None:
        """Run until SIGTERM or Ctrl-C, which raise exceptions; ServiceFailed if a server does not start."""
        try:
            if needs_database():
                make_database(self._project)
            while True:
                changed = [service.update() for service in self._all]
                if any(changed) or self._state_is_lost():
                    self._write_state()
                time.sleep(POLL)
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            self._stop()

    def _tell(self, name: str, words: str) -> None:
        """Notify of a champion that does not load, beside the loop: an address may take its time."""
        title = f"{name}: the scoring server does not load the champion"
        threading.Thread(target=notify_failure, args=(self._project, title, words), daemon=True).start()

    def _write_state(self) -> None:
        processes = {child.identity: child.name for child in self._children}
        scoring = {name: entry.state for name, entry in self._scoring.items()}
        at, root = self._at, str(self._project.root)
        uri = redacted(at.mlflow_uri)
        write_state(ServersState(this_process(), root, at.prefect_api, uri, self.ready, scoring, processes, self._settings))

    def _state_is_lost(self) -> bool:
        """Whether the state file, by which ``down`` and promotions find this process, was removed or changed."""
        if time.monotonic() - self._last_check < RENEWAL:
            return False
        self._last_check = time.monotonic()
        state = read_state()
        return state is None or state.supervisor != this_process()

    @property
    def _children(self) -> list[Child]:
        return [child for service in self._all for child in service.children]

    @property
    def _all(self) -> list[RestartedService | ScoringServer]:
        return [*self._services, *self._scoring.values()]

    def _stop(self) -> None:
        """Stop the deployments first, since their flow runs report to the servers; then the others together."""
        stop_all([child for child in self._children if child.name == "serve"])
        stop_all(self._children)
        state_file().unlink(missing_ok=True)


def stop_all(children: Sequence[Child]) -> None:
    """Request a stop and wait; the process guards kill what does not end in time."""
    for child in children:
        child.request_stop()
    while any(child.code is None for child in children):
        for child in children:
            child.stop_if_late()
        time.sleep(POLL)


def make_database(project: Project) -> None:
    """Create the tracking database in a separate process."""
    result = subprocess.run(
        make_database_command(), cwd=project.root, env=for_children(project), capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise ServiceFailed(f"the tracking database could not be created:\n{result.stderr.strip()}")


def supervise(project: Project, servers: Servers) -> None:
    """Run a supervisor in this process. Raises AlreadyUp, SettingsError (a port is in use) or ServiceFailed."""
    with alone():
        wait_for_old_children()
        Supervisor(project, servers).run()


@contextmanager
def alone() -> Iterator[None]:
    """Lock the state folder for one supervisor; AlreadyUp if there is another."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(lock_file(), wait=False))
        except BlockingIOError:
            raise AlreadyUp from None
        yield


def wait_for_old_children() -> None:
    """Wait for the children of a killed supervisor to release their ports."""
    state = read_state()
    deadline = time.monotonic() + LINGER
    while state and time.monotonic() < deadline and any(is_gone(process) is False for process in state.processes):
        time.sleep(POLL)
    state_file().unlink(missing_ok=True)


def to_stderr() -> None:
    """Send the supervisor's log to stderr: its log file, or the terminal."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
