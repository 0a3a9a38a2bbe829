"""Launch several training processes on this machine by torchrun's launcher, with this process as the agent.

Unlike ``torchrun --standalone`` it opens no port (torch's store would listen on every address and unpickle any message): the
rendezvous uses files that only this user can read, and communication uses the loopback interface. Rank 0 shares our output;
the other ranks write to files, whose last lines are shown if they fail.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.stages.train.processes import LAUNCHER, MEETING

LINES = 12  # of a failed process's output: with DVC's own they stay within the last lines that a flow shows
STOPPED = 128 + signal.SIGTERM
PATIENCE = 3600  # seconds to write a checkpoint after SIGTERM


def launch(command: list[str], processes: int) -> int:
    """Run ``python <command>`` in ``processes`` processes; return the exit code of the one that failed, or 0.

    SIGTERM and SIGINT are forwarded to all as SIGTERM; the exit code is then 128 + signal. The processes end with this one.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    silence("torch.distributed.elastic")  # `report_failure` reports instead
    with tempfile.TemporaryDirectory(prefix="darkroom-train-") as name, first_signal() as signals:
        folder = Path(name)
        with environment(folder):
            try:
                elastic_launch(configuration(folder, processes), sys.executable)(*command)
            except ChildFailedError as error:
                return report_failure(error.failures, processes, folder)
            except SignalException:
                return 128 + signals[0]
    return 0


def silence(package: str) -> None:
    """Silence all loggers of a package; torch's agent sets the level of each at import."""
    for name in [package, *logging.root.manager.loggerDict]:
        if name.startswith(package):
            logging.getLogger(name).setLevel(logging.CRITICAL)


def configuration(folder: Path, processes: int) -> Any:
    """Return the equivalent of ``torchrun --nnodes 1 --nproc-per-node <processes> --max-restarts 0``; the flow restarts."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
    from torch.distributed.launcher.api import LaunchConfig

    others = dict.fromkeys(range(1, processes), Std.ALL)
    return LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id="training",
        max_restarts=0,
        rdzv_backend="c10d",
        rdzv_endpoint=str(folder / "rendezvous"),
        rdzv_configs={"store_type": "file", "keep_alive_interval": PATIENCE},  # each keep-alive makes the file longer
        local_addr="127.0.0.1",
        logs_specs=DefaultLogsSpecs(log_dir=str(folder / "logs"), redirects=others),
        signals_to_handle="SIGQUIT",  # the others are handled by `first_signal`
        shutdown_timeout=PATIENCE,
    )


@contextmanager
def environment(folder: Path) -> Iterator[None]:
    """Set the environment variables of agent and processes inside the block."""
    before = dict(os.environ)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    os.environ |= {MEETING: str(folder / "meeting"), LAUNCHER: str(os.getpid()), "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def first_signal() -> Iterator[list[int]]:
    """Shut down the processes on the first SIGTERM, SIGINT or SIGHUP; yield the list of received signals.

    Later signals, of the process guard or of the kernel if DVC ends first, must not interrupt the wait for the checkpoint.
    """
    from torch.distributed.elastic.multiprocessing import SignalException

    received: list[int] = []

    def stop(number: int, _: Any) -> None:
        received.append(number)
        if len(received) == 1:
            raise SignalException(f"signal {number}", signal.SIGTERM)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def report_failure(failures: Mapping[int, Any], processes: int, folder: Path) -> int:
    """Print which process failed first and its last output; return its exit code, 128 + signal if it was killed.

    ``failures``: torch's, by rank. The other processes end as a consequence: with the code of a lost process, or of SIGTERM,
    which the agent sends them.
    """
    from components.core.errors import EXIT

    follows = (EXIT, STOPPED, -signal.SIGTERM)
    # Prefer a process's own error, then a signal, then the lowest rank: all may have failed for the same reason.
    rank, first = min(failures.items(), key=lambda item: (item[1].exitcode in follows, item[1].exitcode < 0, item[0]))
    if first.exitcode == STOPPED:
        return STOPPED
    if rank > 0:
        for path in folder.glob(f"logs/*/attempt_0/{rank}/stderr.log"):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            print(*lines[-LINES:], sep="\n", file=sys.stderr)
    how = f"(pid {first.pid}) was killed by {first.signal_name()}" if first.exitcode < 0 else "failed"
    print(f"\nprocess {rank} of {processes} {how}; the others were ended", file=sys.stderr)
    return int(first.exitcode) if first.exitcode > 0 else 128 - int(first.exitcode)
