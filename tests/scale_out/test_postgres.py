"""The pipeline with Prefect and MLflow on a real PostgreSQL."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from workbench import free_ports, run

from tests.scale_out.conftest import Yard, wait_for

NOBODY = "postgres"  # PostgreSQL refuses to run as root; Debian's package makes this user


def programs() -> Path:
    """The folder of PostgreSQL's programs; skips where there are none, or nobody who may run them."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3].partition(".")[0]))
    place = found[-1] if found else shutil.which("initdb")
    if place is None:
        pytest.skip("PostgreSQL is not installed: there is no initdb (Debian: apt-get install postgresql)")
    if os.geteuid() == 0 and not (shutil.which("runuser") and f"{NOBODY}:" in Path("/etc/passwd").read_text()):
        pytest.skip(f"PostgreSQL does not run as root, and there is no runuser or no user {NOBODY!r}")
    return Path(place).resolve().parent


def unprivileged(*command: str) -> list[str]:
    return ["runuser", "-u", NOBODY, "--", *command] if os.geteuid() == 0 else list(command)


@contextmanager
def owned_folder() -> Iterator[Path]:
    """A folder of the user who runs PostgreSQL; not below pytest's, which are for their owner alone."""
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        if os.geteuid() == 0:
            shutil.chown(folder, NOBODY)
        yield Path(folder)


@contextmanager
def postgres() -> Iterator[str]:
    """A cluster of its own on loopback, with the databases prefect and mlflow; host, port and user as in an address."""
    with owned_folder() as folder:
        yield from cluster(folder)


def cluster(folder: Path) -> Iterator[str]:
    """It lives as long as the iterator."""
    place, data, port = programs(), folder / "data", str(free_ports(1)[0])
    options = ["--username=test", "--auth=trust", "--encoding=UTF8", "--no-sync"]
    subprocess.run(unprivileged(str(place / "initdb"), "-D", str(data), *options), cwd="/", check=True, capture_output=True)
    serve = [str(place / "postgres"), "-D", str(data), "-p", port, "-h", "127.0.0.1", "-k", str(folder), "-F"]
    ask = ["-h", "127.0.0.1", "-p", port, "-U", "test"]
    with (folder / "postgres.log").open("wb") as log:
        server = subprocess.Popen(unprivileged(*serve), cwd="/", stdout=log, stderr=log, start_new_session=True)
    try:
        ready = [str(place / "pg_isready"), *ask]
        wait_for(lambda: subprocess.run(ready, capture_output=True, check=False).returncode == 0, "PostgreSQL")
        for name in ("prefect", "mlflow"):
            subprocess.run([str(place / "createdb"), *ask, name], check=True)
        yield f"test@127.0.0.1:{port}"
    finally:
        server.terminate()  # through runuser: a smart shutdown
        stop = [str(place / "pg_ctl"), "-D", str(data), "stop", "-m", "fast"]
        subprocess.run(unprivileged(*stop), cwd="/", check=False, capture_output=True)
        server.wait(60)


def count(place: Path, address: str, database: str, query: str) -> int:
    user, _, host = address.partition("@")
    command = [
        str(place / "psql"),
        "-h",
        host.partition(":")[0],
        "-p",
        host.partition(":")[2],
        "-U",
        user,
        "-d",
        database,
        "-tAc",
    ]
    return int(subprocess.run([*command, query], check=True, capture_output=True, text=True).stdout)


@pytest.mark.slow
def test_the_pipeline_passes_on_postgres(yard: Yard) -> None:
    place, folder = programs(), yard.origin(None)
    with postgres() as address:
        database = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{address}/prefect"}
        with yard.prefect(**database) as api, yard.mlflow(f"postgresql+psycopg2://{address}/mlflow") as uri:
            places = yard.env(folder, PREFECT_API_URL=api, MLFLOW_TRACKING_URI=uri, PREFECT_HOME=str(yard.folder / "client"))
            first = run(sys.executable, "-m", "flows", "run", cwd=folder, **places)
            assert re.search(r"^evaluate@toy +ran", first.stdout, re.MULTILINE), first.stdout
            assert "nothing to do" in run(sys.executable, "-m", "flows", "run", cwd=folder, **places).stdout
            assert count(place, address, "prefect", "select count(*) from flow_run where state_type = 'COMPLETED'") == 1
            assert count(place, address, "prefect", "select count(*) from task_run where state_type <> 'COMPLETED'") == 0
            assert count(place, address, "mlflow", "select count(*) from runs where status = 'FINISHED'") == 2
            assert count(place, address, "mlflow", "select count(*) from model_versions where name = 'toy'") == 1
    assert not [path for name in ("prefect.db", "mlflow.db") for path in yard.folder.rglob(name)]
