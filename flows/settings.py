"""What params.yaml says of operations: schedules, servers, notifications. No stage reads it."""

from __future__ import annotations

from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, field_validator

from components.core.params import Params
from components.core.strict import SettingsError, Strict, named, parse

Port = Annotated[int, Field(ge=1, le=65535)]


class Schedules(Strict):
    """Cron strings of five fields, in ``time_zone``; a flow without one has no schedule."""

    time_zone: str = "UTC"
    pipeline: str = Field(default="", description="the runs of pipeline.runs")
    monitor: str = Field(default="", description="new images against the champion, where there is a monitor")

    @field_validator("time_zone")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError(f"no time zone {name!r}; as in Europe/Berlin or UTC")
        return str(ZoneInfo(name))

    @field_validator("pipeline", "monitor")
    @classmethod
    def _cron(cls, text: str) -> str:
        if text and len(text.split()) != 5:
            raise ValueError(f"{text!r} is no cron string of five fields: minute hour day month weekday")
        return text


class Servers(Strict):
    """What ``up`` starts. ``host`` other than loopback opens the servers, which ask for no password, to the network."""

    host: str = Field(default="127.0.0.1", min_length=1)
    prefect_port: Port = 4200
    mlflow_port: Port = 5000
    scoring: dict[str, Port] = Field(default_factory=dict, description="run -> port on which its champion answers")

    def ports(self) -> dict[str, int]:
        """Key in params.yaml -> port."""
        own = {"servers.prefect_port": self.prefect_port, "servers.mlflow_port": self.mlflow_port}
        return own | {f"servers.scoring.{run}": port for run, port in self.scoring.items()}


class Notify(Strict):
    """Apprise addresses (https://github.com/caronc/apprise/wiki). ``${NAME}`` in one is taken from the environment."""

    on_failure: tuple[str, ...] = ()
    on_promotion: tuple[str, ...] = ()
    on_drift: tuple[str, ...] = ()


class Monitor(Strict):
    """How the new images of one run are watched. ``folder``: of images, or a text file that lists one path a line.

    ``least``: smallest number of new images that is judged; ``alarm``: false-alarm rate of one report; ``psi``: population
    stability index from which a difference counts; ``retrain``: whether drift starts the run's pipeline.
    """

    folder: str = Field(min_length=1)
    least: int = Field(default=100, ge=20)
    alarm: float = Field(default=0.01, gt=0, lt=1)
    psi: float = Field(default=0.1, ge=0)
    retrain: bool = False


def schedules(params: Params) -> Schedules:
    """The block ``schedules``; without a block ``monitor`` there is nothing to look after by the clock."""
    found = parse(Schedules, params.schedules, "schedules")
    return found if params.monitor else found.model_copy(update={"monitor": ""})


def servers(params: Params) -> Servers:
    """The block ``servers``: each scoring entry is a run, no two servers share a port."""
    found = parse(Servers, params.servers, "servers")
    for run in found.scoring:
        named(params.runs, run, f"servers.scoring.{run}")
    taken: dict[int, str] = {}
    for key, port in found.ports().items():
        if port in taken:
            raise SettingsError(f"{key}: port {port} is taken by {taken[port]}; each server needs its own")
        taken[port] = key
    return found


def notifications(params: Params) -> Notify:
    """The block ``notify``."""
    return parse(Notify, params.notify, "notify")


def monitors(params: Params) -> dict[str, Monitor]:
    """The block ``monitor``: run -> how its new images are watched."""
    for run in params.monitor:
        named(params.runs, run, f"monitor.{run}")
    return {run: parse(Monitor, block, f"monitor.{run}") for run, block in params.monitor.items()}
