"""Services of ``up``: command, environment and health check of each server."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass

from components.core.config.strict import SettingsError
from components.registry.record.published import database, store, tracking_uri
from flows.project import Project, for_children
from flows.settings import Servers

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  an address to listen on -> one to ask
OWN_SERVER = "DARKROOM_OWN_SERVER"  # set for the deployments if `up` started the Prefect server
LOOPBACK = ("localhost", "127.0.0.1", "::1")
MLFLOW = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # LLM judges: eight more processes, twice the startup time
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
# The default keeps leases in memory: a restart of the server would cancel running flows.
LEASES = {"PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem"}


@dataclass(frozen=True)
class Service:
    """A service. ``health``: URL that answers 200 when it is up; without one it writes a line to ``--ready N``."""

    name: str
    command: list[str]
    env: dict[str, str]
    health: str = ""


@dataclass(frozen=True)
class Addresses:
    """Addresses of the servers for clients on this machine; ``own_prefect``, ``own_mlflow``: whether ``up`` starts them."""

    prefect_api: str
    mlflow_uri: str
    own_prefect: bool
    own_mlflow: bool


def addresses(servers: Servers) -> Addresses:
    """Return the addresses in the environment, else those of the servers that ``up`` starts."""
    host = url_host(ANYWHERE.get(servers.host, servers.host))
    api, uri = os.environ.get("PREFECT_API_URL"), os.environ.get("MLFLOW_TRACKING_URI")
    own_api, own_uri = f"http://{host}:{servers.prefect_port}/api", f"http://{host}:{servers.mlflow_port}"
    return Addresses(api or own_api, uri or own_uri, not api, not uri)


def url_host(host: str) -> str:
    """Format the host for a URL: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host


def services(project: Project, servers: Servers) -> list[Service]:
    """Return all services except scoring, in start order."""
    at = addresses(servers)
    servers_to_start = [prefect_server(project, servers, at)] if at.own_prefect else []
    servers_to_start += [mlflow_server(project, servers, at)] if at.own_mlflow else []
    own = {OWN_SERVER: "1"} if at.own_prefect else {}
    serve = for_children(project, PREFECT_API_URL=at.prefect_api, **own)
    return [*servers_to_start, Service("serve", [sys.executable, "-m", "flows", "serve"], serve)]


def prefect_server(project: Project, servers: Servers, at: Addresses) -> Service:
    """Return Prefect's server with UI and scheduler."""
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", servers.host, "--port", str(servers.prefect_port)]
    # A remote browser cannot use the local address; a relative one works.
    ui = {} if servers.host in LOOPBACK else {"PREFECT_UI_API_URL": os.environ.get("PREFECT_UI_API_URL", "/api")}
    env = for_children(project, PREFECT_API_URL=at.prefect_api, **LEASES, **ui)
    return Service("prefect", command, env, f"{at.prefect_api}/health")


def mlflow_server(project: Project, servers: Servers, at: Addresses) -> Service:
    """Return MLflow's server over the local database; it proxies artifacts for remote clients."""
    local_database = database()
    assert local_database is not None
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    command += ["--host", servers.host, "--port", str(servers.mlflow_port)]
    command += ["--backend-store-uri", tracking_uri(), "--artifacts-destination", str(store() / "artifacts")]
    command += allowed_hosts(servers)
    return Service("mlflow", command, for_children(project, **MLFLOW), f"{at.mlflow_uri}/health")


def allowed_hosts(servers: Servers) -> list[str]:
    """Restrict a server on loopback to loopback host names, against DNS rebinding by web pages.

    Elsewhere MLflow's own rule holds (private addresses); ``MLFLOW_SERVER_ALLOWED_HOSTS`` names more.
    """
    if servers.host not in LOOPBACK or os.environ.get("MLFLOW_SERVER_ALLOWED_HOSTS"):
        return []
    names = [f"{url_host(name)}{port}" for name in LOOPBACK for port in ("", f":{servers.mlflow_port}")]
    return ["--allowed-hosts", ",".join(names)]


def scoring_server(project: Project, run: str, listening: socket.socket) -> Service:
    """Return the scoring server of the run's champion on the socket."""
    name = project.workspace.registered_name(run)
    command = [sys.executable, "-m", "components.registry.scoring", name, "--fd", str(listening.fileno())]
    return Service(f"scoring-{name}", command, for_children(project))


def bind(servers: Servers) -> dict[str, socket.socket]:
    """Check that all ports are free, and return run -> bound socket of its scoring server; SettingsError names a port in use.

    The other servers bind their ports themselves; these are released again.
    """
    at, bound = addresses(servers), {}
    own = {"servers.prefect_port": at.own_prefect, "servers.mlflow_port": at.own_mlflow}
    try:
        for key, port in servers.ports().items():
            if own.get(key, True):
                bound[key] = _bind(servers.host, port, key)
    except BaseException:
        for listening in bound.values():
            listening.close()
        raise
    for key in own.keys() & bound.keys():
        bound.pop(key).close()
    return {key.removeprefix("servers.scoring."): listening for key, listening in bound.items()}


def _bind(host: str, port: int, key: str) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise SettingsError(f"servers.host: {host!r} is no address of this machine: {error}") from None
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise SettingsError(f"{key}: port {port} of {host} cannot be used: {error.strerror}; name another one") from None
    return listening


def needs_database() -> bool:
    """Whether the local tracking database must be created first: concurrent migrations of a new one would all fail."""
    local_database = database()
    return local_database is not None and not local_database.is_file()


def make_database_command() -> list[str]:
    """Return the command that creates it, so that the supervisor does not import MLflow."""
    return [sys.executable, "-c", "from components.registry.tracking import connect; connect()"]
