"""Settings of operations in params.yaml: schedules, servers, notifications, monitor. No stage reads them."""

from __future__ import annotations

from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, field_validator

from components.core.config.cron import check_cron
from components.core.config.params import Params
from components.core.config.strict import SettingsError, Strict, named, parse

Port = Annotated[int, Field(ge=1, le=65535)]


class Schedules(Strict):
    """Schedules as cron strings of five fields, in ``time_zone``; a flow without one is not scheduled."""

    time_zone: str = Field(default="UTC", description="of the cron strings, as in Europe/Berlin")
    pipeline: str = Field(default="", description="run pipeline.runs")
    monitor: str = Field(default="", description="watch new champions (promote.watch), check new images (block monitor)")

    @field_validator("time_zone")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError(f"no time zone {name!r}; as in Europe/Berlin or UTC")
        return str(ZoneInfo(name))

    @field_validator("pipeline", "monitor")
    @classmethod
    def _cron(cls, text: str) -> str:
        if text:
            check_cron(text)
        return text


class Servers(Strict):
    """Servers that ``up`` starts. They have no password: any ``host`` but loopback opens them to the network."""

    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on; the default: this machine alone")
    prefect_port: Port = Field(default=4200, description="of Prefect's server")
    mlflow_port: Port = Field(default=5000, description="of MLflow's server")
    scoring: dict[str, Port] = Field(default_factory=dict, description="run -> port on which its champion answers")

    def ports(self) -> dict[str, int]:
        """Return key in params.yaml -> port."""
        own = {"servers.prefect_port": self.prefect_port, "servers.mlflow_port": self.mlflow_port}
        return own | {f"servers.scoring.{run}": port for run, port in self.scoring.items()}


class Notify(Strict):
    """Apprise addresses (https://github.com/caronc/apprise/wiki); ``${NAME}`` is replaced from the environment."""

    on_failure: tuple[str, ...] = Field(default=(), description="addresses that hear of a failed pipeline")
    on_promotion: tuple[str, ...] = Field(default=(), description="addresses that hear of promotions and requests for approval")
    on_drift: tuple[str, ...] = Field(default=(), description="addresses that hear of drift")


class Monitor(Strict):
    """Drift monitor of one run. ``folder``: folder of images, or text file with one path per line.

    ``least``: minimum number of new images in a report; ``alarm``: false-alarm rate per report; ``psi``: population stability
    index from which a difference is drift; ``retrain``: whether drift starts the run's pipeline.
    """

    folder: str = Field(min_length=1)
    least: int = Field(default=100, ge=20)
    alarm: float = Field(default=0.01, gt=0, lt=1)
    psi: float = Field(default=0.1, ge=0)
    retrain: bool = False


def schedules(params: Params) -> Schedules:
    """Parse the block ``schedules``; without a block ``monitor`` or a run with ``promote.watch`` its schedule is dropped."""
    block = parse(Schedules, params.schedules, "schedules")
    used = params.monitor or any(is_watched(params, run) for run in params.runs)
    return block if used else block.model_copy(update={"monitor": ""})


def is_watched(params: Params, run: str) -> bool:
    """Return whether new champions of the run are watched."""
    return isinstance(params.runs[run].promote, dict) and bool(params.runs[run].promote.get("watch"))


def servers(params: Params) -> Servers:
    """Parse the block ``servers``; SettingsError unless scoring names runs and all ports differ."""
    block = parse(Servers, params.servers, "servers")
    for run in block.scoring:
        named(params.runs, run, f"servers.scoring.{run}")
    keys: dict[int, str] = {}
    for key, port in block.ports().items():
        if port in keys:
            raise SettingsError(f"{key}: port {port} is taken by {keys[port]}; each server needs its own")
        keys[port] = key
    return block


def notifications(params: Params) -> Notify:
    """Parse the block ``notify``."""
    return parse(Notify, params.notify, "notify")


def monitors(params: Params) -> dict[str, Monitor]:
    """Parse the block ``monitor``: run -> its monitor."""
    for run in params.monitor:
        named(params.runs, run, f"monitor.{run}")
    return {run: parse(Monitor, block, f"monitor.{run}") for run, block in params.monitor.items()}
