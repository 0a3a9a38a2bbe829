"""``doctor --container``: try what a night run in a container needs, in seconds. At most empty folders are left."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from components.core import settings
from components.core.config.strict import SettingsError
from flows import environment
from flows.environment import PROXIES
from flows.pipeline.place import check_place
from flows.project import Project, for_children
from flows.services.running import running
from flows.settings import servers
from flows.upkeep.storage import TIMEOUT, Unfit, disk, folders, shared_memory, write_and_lock

EARLIEST = 1_700_000_000.0  # seconds since 1970; a clock before is not set: certificates and schedules fail
STEP = 0.05  # seconds by which both clocks may differ over ``PAUSE``
PAUSE = 0.5


@dataclass(frozen=True)
class Trial:
    """One line of the answer: ``fault`` is None if it is as it should be."""

    name: str
    what: str
    fault: str | None = None


def try_all(project: Project) -> list[Trial]:
    """Make every trial, in the order of ``TRIALS``."""
    return [_tried(name, trial, project) for name, trial in TRIALS.items()]


def _tried(name: str, trial: Callable[[Project], str], project: Project) -> Trial:
    try:
        return Trial(name, trial(project))
    except (Unfit, SettingsError, OSError, subprocess.TimeoutExpired) as error:
        return Trial(name, "", " ".join(str(error).split()))


def place(project: Project) -> str:
    """The clone's path, and ``outputs`` within it."""
    check_place(project.root, project.study)
    return str(project.folder)


def name(project: Project) -> str:
    """A user with a name; without one LOGNAME is set for our own processes alone."""
    user = getpass.getuser()
    if user == f"uid{os.getuid()}":
        return f"{user}: the user id has no name; flows set LOGNAME, bare dvc needs `export LOGNAME={user}`"
    return user


def home(project: Project) -> str:
    """A home folder that can be written: caches of torch and fonts."""
    folder = Path.home()
    folder.mkdir(parents=True, exist_ok=True)
    write_and_lock(folder)
    return str(folder)


def ports(project: Project) -> str:
    """The servers' ports are free, and a process of its own can be asked on loopback, whatever proxy is set."""
    from flows.services.definitions import bind

    up = running(project.root)
    for listening in ({} if up else bind(servers(project.params))).values():
        listening.close()
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
        probe.close()
        command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", folder, str(port)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, **quiet) as server:  # type: ignore[call-overload]
            try:
                _ask(f"http://127.0.0.1:{port}/")
            finally:
                server.terminate()
    return f"{'used by up' if up else 'free'}; a server on 127.0.0.1 answers"


def _ask(address: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            with urllib.request.urlopen(address, timeout=TIMEOUT):  # noqa: S310
                return
        except urllib.error.URLError as error:
            if time.monotonic() > deadline:
                raise Unfit(f"a server of our own on loopback does not answer: {error.reason}") from None
            time.sleep(0.1)


def clock(project: Project) -> str:
    """A clock that is set, runs evenly, and agrees with the times of files."""
    start, steady = time.time(), time.monotonic()
    time.sleep(PAUSE)
    drift = (time.time() - start) - (time.monotonic() - steady)
    if start < EARLIEST:
        raise Unfit(f"the clock says {time.strftime('%Y-%m-%d', time.gmtime(start))}: set it; certificates and schedules fail")
    if abs(drift) > STEP:
        raise Unfit(f"the clock jumped by {drift:.2f} s within {PAUSE} s")
    with tempfile.NamedTemporaryFile(dir=settings.WORK) as file:
        ahead = os.stat(file.name).st_mtime - time.time()
    if abs(ahead) > 2.0:
        raise Unfit(f"{settings.WORK}: times of files differ by {ahead:.1f} s from the clock")
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(start))


def proxy(project: Project) -> str:
    """Each proxy of the environment has an address that can be reached."""
    set_here = {key: value for key in PROXIES if (value := os.environ.get(key))}
    for key, value in set_here.items():
        at = urlsplit(value if "://" in value else f"http://{value}")
        try:
            socket.create_connection((at.hostname or "", at.port or 80), timeout=5).close()
        except (OSError, ValueError) as error:
            raise Unfit(f"{key}: {at.hostname}:{at.port} cannot be reached: {error}; downloads would fail") from None
    return ", ".join(set_here) if set_here else "none is set"


def processes(project: Project) -> str:
    """A guarded process ends with its parent: the kernel's signal works here."""
    from flows.processes import guarded

    command = guarded([sys.executable, "-S", "-c", "print('started')"], 1.0)
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.stdout.strip() != "started":
        raise Unfit(f"a guarded process does not start: {done.stderr.strip() or done.returncode}")
    return "a guarded process starts and ends"


def dvc(project: Project) -> str:
    """DVC opens the repository, with its hashes at the place that is set."""
    command = [sys.executable, "-m", "dvc", "version"]
    env, folder = for_children(project), project.folder
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, encoding="utf-8", timeout=3 * TIMEOUT, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise Unfit(errors[0] if errors else f"`dvc version` ends with exit code {done.returncode}")
    return f"opens; its own files are in {os.environ.get(environment.SITE) or 'the folder that its configuration names'}"


TRIALS: dict[str, Callable[[Project], str]] = {
    "place": place,
    "name": name,
    "home": home,
    "folders": folders,
    "disk": disk,
    "shared memory": shared_memory,
    "processes": processes,
    "clock": clock,
    "proxy": proxy,
    "ports": ports,
    "dvc": dvc,
}
