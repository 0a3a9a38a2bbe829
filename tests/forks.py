"""``python`` for the stages of a test's project: forks of one process with the large packages imported, and nothing of ours.

In such small projects a stage's imports cost many times its work. That interpreters of their own end in the same bytes is held
by the slow tests of tests/test_project.py.
"""

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGES = ("torch._dynamo", "torch.onnx", "onnxscript", "onnxruntime", "albumentations", "scipy.stats", "matplotlib.pyplot")
PACKAGES += ("torch.export._trace", "onnxscript.function_libs.torch_lib.ops", "sqlalchemy.orm", "pydantic", "ruamel.yaml")
PACKAGES += ("mlflow", "mlflow.store.tracking.sqlalchemy_store")

# Anything but `-m components` is left to the real interpreter.
SHIM = """#!{python} -IS
import json, os, socket, sys
if sys.argv[1:3] != ["-m", "components"]:
    os.execv("{python}", ["{python}", *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as server:
    server.connect("{address}")
    request = dict(python="{shim}", arguments=sys.argv[2:], folder=os.getcwd(), environ=dict(os.environ))
    socket.send_fds(server, [json.dumps(request).encode() + b"\\n"], [0, 1, 2])
    code = server.recv(8)
os._exit(int(code or b"70"))
"""


@contextmanager
def forked_stages(folder: Path) -> Iterator[Path]:
    """Yield a folder for the front of PATH, whose ``python -m components`` is a fork; ``folder`` is made for it."""
    folder.mkdir()
    address = folder / "socket"
    shim = folder / "bin" / "python"
    shim.parent.mkdir()
    shim.write_text(SHIM.format(python=sys.executable, shim=shim, address=address))
    shim.chmod(0o700)
    server = subprocess.Popen([sys.executable, __file__, str(address)], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield shim.parent
    finally:
        server.kill()
        server.wait()


def import_packages() -> None:
    """Import the packages in a process that will fork: one thread, since a fork may wait for ever for a lock of another."""
    os.environ |= {"OMP_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1", "NO_ALBUMENTATIONS_UPDATE": "1", "MPLBACKEND": "agg"}
    sys.modules["pyarrow"] = None  # type: ignore[assignment] - it starts a thread, and pandas can do without
    for name in PACKAGES:
        __import__(name)
    del sys.modules["pyarrow"]
    assert len(os.listdir("/proc/self/task")) == 1
    assert not [name for name in sys.modules if name.partition(".")[0] in ("components", "flows")]


def serve(address: str) -> None:
    """Answer every request with a fork that runs it, and its exit code."""
    parent = os.getppid()
    import_packages()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        os.write(1, b"ready\n")
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        listening.settimeout(2.0)
        while os.getppid() == parent:  # killed tests cannot end it
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                continue
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listening.close()
                answer(connection)
            connection.close()


def answer(connection: socket.socket) -> None:
    """Run the request in one more fork, and send its exit code; never returns."""
    text, streams, _, _ = socket.recv_fds(connection, 1 << 16, 3)
    while not text.endswith(b"\n"):
        text += connection.recv(1 << 16)
    child = os.fork()
    if child == 0:
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os._exit(run_module(json.loads(text)))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    connection.sendall(str(code if code >= 0 else 128 - code).encode())
    os._exit(0)


def run_module(request: dict) -> int:
    """As ``python -m <module> <arguments>`` in the folder and environment of the request."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environ"])
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        setattr(sys, name, open(number, mode, buffering=1, closefd=False))  # noqa: SIM115 - the server's remember what its own could do
    sys.executable = request["python"]  # what the stage starts is a fork too
    module, *words = request["arguments"]
    sys.argv[:] = [module, *words]
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:1] = [os.getcwd(), *(str(Path(path).resolve()) for path in paths)]
    code: object = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


if __name__ == "__main__":
    serve(sys.argv[1])
