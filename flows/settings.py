"""What params.yaml says of operations: schedules, servers, notifications. No stage reads it."""

from __future__ import annotations

from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, field_validator

from components.settings import Params
from components.strict import Strict, parse


class Schedules(Strict):
    """Cron strings of five fields, in ``time_zone``; a flow whose string is empty has no schedule."""

    time_zone: str = "UTC"
    pipeline: str = Field(default="0 2 * * *", description="the runs of pipeline.runs")
    monitor: str = Field(default="0 * * * *", description="new images against the champion, where there is a monitor")

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

    host: str = "127.0.0.1"
    prefect_port: int = Field(default=4200, ge=1, le=65535)
    mlflow_port: int = Field(default=5000, ge=1, le=65535)
    scoring: dict[str, int] = Field(default_factory=dict, description="run -> port on which its champion answers")


class Notify(Strict):
    """Apprise addresses (https://github.com/caronc/apprise/wiki). ``${NAME}`` in one is taken from the environment."""

    on_failure: tuple[str, ...] = ()
    on_promotion: tuple[str, ...] = ()


def schedules(params: Params) -> Schedules:
    """The block ``schedules``."""
    return parse(Schedules, params.schedules, "schedules")


def servers(params: Params) -> Servers:
    """The block ``servers``."""
    return parse(Servers, params.servers, "servers")


def notifications(params: Params) -> Notify:
    """The block ``notify``."""
    return parse(Notify, params.notify, "notify")
