"""What params.yaml says of schedules and servers is checked before anything starts."""

import argparse
import calendar
import re
from typing import Any

import pytest
from workbench import free_ports

from components.core.config.cron import check_cron
from components.core.config.strict import SettingsError, read_yaml
from components.core.settings import ROOT, Workspace
from flows.cli import serve
from flows.project import Project
from flows.services.definitions import Addresses, bind, mlflow_server, prefect_server
from flows.settings import schedules, servers


def with_block(name: str, block: dict[str, Any]) -> Any:
    """The root's params.yaml with another block."""
    return Workspace(ROOT).params.model_copy(update={name: block})


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"prefect_port": 4200, "mlflow_port": 4200}, r"servers.mlflow_port: port 4200 is taken by servers.prefect_port"),
        ({"scoring": {"vit_digits": 5000}}, r"servers.scoring.vit_digits: port 5000 is taken by servers.mlflow_port"),
        ({"scoring": {"vit": 5001}}, r"servers.scoring.vit: no block named 'vit'; allowed: .*vit_digits"),
        ({"mlflow_port": 70000}, r"servers.mlflow_port: 70000 is not allowed"),
        ({"port": 1}, r"servers.port: unknown key"),
    ],
)
def test_a_server_that_cannot_be_is_named(block, message):
    with pytest.raises(SettingsError, match=message):
        servers(with_block("servers", block))


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"pipeline": "0 25 * * *"}, r"schedules.pipeline: '0 25 \* \* \*' is not allowed: hour 25 is not within 0 to 23"),
        ({"pipeline": "30 2 31 2 *"}, r"schedules.pipeline: '30 2 31 2 \*' is not allowed: it never comes"),
        ({"monitor": "@hourly"}, r"schedules.monitor: '@hourly' is not allowed"),
        ({"time_zone": "Mars/Olympus"}, r"schedules.time_zone: 'Mars/Olympus' is not allowed: .*no time zone"),
    ],
)
def test_a_schedule_that_cannot_be_is_named(block, message, monkeypatch, tmp_path):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.setattr(Project, "params", with_block("schedules", block))
    with pytest.raises(SettingsError, match=message):
        serve.serve(argparse.Namespace(ready=None))


def test_servers_are_on_loopback_and_answer_to_loopback_names_alone(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    chosen, at = servers(Workspace(ROOT).params), Addresses("http://127.0.0.1:1/api", "http://127.0.0.1:2", True, True)
    for service in (prefect_server(Project(), chosen, at), mlflow_server(Project(), chosen, at)):
        assert service.command[service.command.index("--host") + 1] == "127.0.0.1"
    command = mlflow_server(Project(), chosen, at).command
    names = command[command.index("--allowed-hosts") + 1].split(",")
    assert {name.rpartition(":")[0] or name for name in names if name.endswith(":5000")} == {"localhost", "127.0.0.1", "[::1]"}
    opened = mlflow_server(Project(), chosen.model_copy(update={"host": "0.0.0.0"}), at).command
    assert opened[opened.index("--host") + 1] == "0.0.0.0"


def test_a_port_that_is_taken_is_named_with_its_key(monkeypatch):
    for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    ports = dict(zip(("prefect_port", "mlflow_port"), free_ports(2), strict=True))
    (scoring,) = free_ports(1)
    chosen = servers(with_block("servers", ports | {"scoring": {"vit_digits": scoring}}))
    held = bind(chosen)["vit_digits"]
    held.listen()
    with held, pytest.raises(SettingsError, match=rf"servers.scoring.vit_digits: port {scoring} of 127.0.0.1 cannot be used"):
        bind(chosen)
    bind(chosen)["vit_digits"].close()  # the failed call has given back the other ports


def test_prefect_yaml_says_what_params_yaml_says():
    content, chosen = read_yaml(ROOT / "prefect.yaml"), schedules(Workspace(ROOT).params)
    scheduled = [entry for deployment in content["deployments"] for entry in deployment.get("schedules", [])]
    assert scheduled == [{"cron": chosen.pipeline, "timezone": chosen.time_zone}]
    for deployment in content["deployments"]:
        file, _, flow = deployment["entrypoint"].partition(":")
        assert re.search(rf"(?m)^def {flow}\(", (ROOT / file).read_text()), deployment["entrypoint"]


@pytest.mark.parametrize("text", ["30 2 31 2 *", "0 0 30-31 feb *", "0 0 31 2,4,6,9,11 *", "0 0 31 4-6/2 *"])
def test_a_day_that_no_month_has_is_no_schedule(text):
    with pytest.raises(ValueError, match="it never comes"):
        check_cron(text)


@pytest.mark.parametrize(
    "text", ["30 2 29 2 *", "*/5 * * * *", "0 0 31 2 mon", "0 0 30,31 1-2 *", "0 0 L * *", "0 4 * jan-mar 1-5"]
)
def test_a_day_that_comes_is(text):
    check_cron(text)


@pytest.mark.parametrize(("place", "low", "high"), [(0, 0, 59), (1, 0, 23), (2, 1, 31), (3, 1, 12), (4, 0, 7)])
def test_each_field_of_a_schedule_has_its_range(place, low, high):
    def check(number):
        check_cron(" ".join("*" if field != place else str(number) for field in range(5)))

    check(low)
    check(high)
    for number in (high + 1, *([0] if low else [])):
        with pytest.raises(ValueError, match=rf" {number} is not within {low} to {high}"):
            check(number)


@pytest.mark.parametrize("month", range(1, 13))
def test_the_last_day_of_a_month_comes_and_the_day_after_it_never_does(month):
    last = calendar.monthrange(2024, month)[1]  # a leap year
    check_cron(f"0 0 {last} {month} *")
    with pytest.raises(ValueError, match=r"it never comes|day 32 is not within 1 to 31"):
        check_cron(f"0 0 {last + 1} {month} *")
