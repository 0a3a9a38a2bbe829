"""Which failures ask for another try, and what the flow is told of them."""

from __future__ import annotations

import errno
import io
import socket
import sqlite3
import urllib.error
from email.message import Message
from pathlib import Path

import pytest

from components.command import run_command
from components.core.errors import EXIT, Unavailable, is_transient, redacted
from components.registry.tracking import TrackingRefused, TrackingUnavailable
from components.stages.fetch.downloads import bring as download
from components.stages.fetch.downloads.bring import bring
from components.stages.fetch.downloads.published import Published


def http(code: int) -> urllib.error.HTTPError:
    return urllib.error.HTTPError("http://x", code, "words", Message(), io.BytesIO())


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


PASSING = {408, 425, 429, 500, 502, 503, 504}  # too slow, too early, too many, and a server's own faults


def test_the_answers_of_a_server_that_can_pass() -> None:
    assert {code for code in range(400, 600) if is_transient(http(code))} == PASSING


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("x"),
        ConnectionRefusedError("x"),
        TimeoutError("x"),
        OSError(errno.ENETUNREACH, "x"),
        OSError(errno.EAGAIN, "x"),
        socket.gaierror(socket.EAI_AGAIN, "x"),
        urllib.error.URLError(socket.gaierror(socket.EAI_NONAME, "Name or service not known")),
        urllib.error.URLError(ConnectionRefusedError("x")),
        Unavailable("x"),
        RuntimeError("DataLoader worker (pid 4711) is killed by signal: Killed. "),
        TrackingUnavailable("x"),
        caused(ValueError("nothing can be had"), caused(OSError("the server answers 503"), http(503))),
    ],
    ids=repr,
)
def test_these_can_pass(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "x"),
        FileNotFoundError(errno.ENOENT, "x"),
        PermissionError(errno.EACCES, "x"),
        ValueError("the sum is wrong"),
        MemoryError(),
        RuntimeError("Caught RuntimeError in DataLoader worker process 0."),
        RuntimeError("CUDA error"),
        http(404),
        caused(OSError("the server answers 404"), http(404)),
        socket.gaierror(socket.EAI_FAMILY, "x"),
        urllib.error.URLError("unknown url type"),
        sqlite3.OperationalError("no such table"),
        TrackingRefused("x"),
    ],
    ids=repr,
)
def test_these_stay(error: Exception) -> None:
    assert not is_transient(error)


@pytest.mark.parametrize(("code", "passes"), [(5, True), (6, True), (6 | 1 << 8, True), (4, False), (7, False), (13, False)])
def test_a_database_that_is_held_can_pass_and_a_full_one_stays(code: int, passes: bool) -> None:
    """Codes of sqlite.org/rescode.html: busy, locked, locked by a shared cache; aborted, out of memory, disk full."""
    error = sqlite3.OperationalError("x")
    error.sqlite_errorcode = code
    assert is_transient(error) is passes


def test_a_database_that_another_process_writes_to_can_pass(tmp_path: Path) -> None:
    """Also as SQLAlchemy wraps it."""
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import OperationalError

    holder = sqlite3.connect(tmp_path / "held.db")
    holder.execute("create table t (x)")
    holder.execute("insert into t values (1)")  # and no commit
    engine = create_engine(f"sqlite:///{tmp_path}/held.db", connect_args={"timeout": 0})
    with engine.connect() as other, pytest.raises(OperationalError, match="locked") as caught:
        other.execute(text("insert into t values (2)"))
    assert is_transient(caught.value)
    engine.dispose()
    holder.close()


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ConnectionResetError("the line went dead"), EXIT, "a retry may succeed"),
        (OSError(errno.ENOSPC, "no space left"), 2, "error: [Errno 28] no space left"),
        (TrackingUnavailable("http://me:pass@host does not answer"), EXIT, "error: http://me:***@host does not answer"),
        (ValueError("wrong"), 2, "error: wrong"),
    ],
)
def test_a_stage_ends_with_its_code(error: Exception, code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        run_command(main)
    assert ended.value.code == code
    told = capsys.readouterr().err
    assert words in told
    assert ("a retry" in told) == (code == EXIT)


def test_what_is_ours_keeps_its_traceback() -> None:
    def main() -> None:
        raise KeyError("ours")

    with pytest.raises(KeyError):
        run_command(main)


def test_a_download_that_no_place_can_give_now_can_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATA_MIRROR", raising=False)
    faults = {"one": OSError("one: the server answers 404"), "two": caused(OSError("two: the server answers 503"), http(503))}

    def refuse(url: str, *_: object) -> None:
        raise faults[url]

    monkeypatch.setattr(download, "download", refuse)
    for urls, passing in {("one", "two"): True, ("one",): False, (): False}.items():
        with pytest.raises(ValueError, match="cannot be had") as caught:
            bring(Published("set", "file.bin", "0" * 32, urls), tmp_path / "file.bin")
        assert is_transient(caught.value) is passing


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:p@ss:w0rd@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("to http://:pw@h/ and s3://k:v@b", "to http://:***@h/ and s3://k:***@b"),
        ("https://h/x?a=1&access_token=abc&b=2", "https://h/x?a=1&access_token=***&b=2"),
        *(
            (f"https://h/x?{key}=abc;b=2", f"https://h/x?{key}=***;b=2")
            for key in ("client_secret", "passwd", "pwd", "api-key", "TOKEN")
        ),
        ("postgresql://h/db?user=me&password=abc'", "postgresql://h/db?user=me&password=***'"),
        ("sqlite:////a/b.db and http://127.0.0.1:5000/x?y=1", "sqlite:////a/b.db and http://127.0.0.1:5000/x?y=1"),
        ("a: b@c, 12:30 me@example.org", "a: b@c, 12:30 me@example.org"),
    ],
)
def test_passwords_in_addresses_are_not_shown(text: str, shown: str) -> None:
    assert redacted(text) == shown
