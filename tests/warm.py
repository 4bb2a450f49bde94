"""Commands of Python in a process that has imported torch already, which alone takes seconds of a processor.

The tests run some hundred commands. `command("evenbit")` and `command("python")` are programs that do what those of the
environment do, but in a fork of one server for each process of the tests.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import io
import json
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

IMPORTED = (
    *("torch._dynamo", "torch._functorch.aot_autograd", "matplotlib.pyplot", "scipy.stats", "sklearn.datasets"),
    *("evenbit.cli", "evenbit.deploy", "evenbit.report", "evenbit.train"),
    *("onnxruntime.quantization", "onnxscript"),
)
# Starts in milliseconds: only what sends the request, and passes signals on to who works on it.
CLIENT = """
import json, os, signal, socket, sys
folder, name = os.path.split(sys.argv[0])
with socket.socket(socket.AF_UNIX) as server:
    server.connect(os.path.join(folder, "socket"))
    request = {"command": [name, *sys.argv[1:]], "folder": os.getcwd(), "environment": dict(os.environ)}
    text = json.dumps(request).encode()
    socket.send_fds(server, [len(text).to_bytes(8, "little")], [0, 1, 2])
    server.sendall(text)
    answer = server.makefile()
    process = int(answer.readline())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: os.kill(process, number))
    status = answer.readline()
sys.exit(int(status or 1))
"""


def command(name: str) -> str:
    """The program `evenbit` or `python`; the environment's own where coverage is measured, in processes that end."""
    if any(key.startswith("COVERAGE") for key in os.environ):
        return str(Path(sys.executable).with_name(name))
    return str(_programs() / name)


@functools.cache
def _programs() -> Path:
    """Starts the server and returns the folder of its clients."""
    folder = Path(tempfile.mkdtemp(prefix="evenbit-warm-"))
    for name in ("evenbit", "python"):
        (folder / name).write_text(f"#!{sys.executable} -IS\n{CLIENT}")
        (folder / name).chmod(0o755)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "socket"))
    listener.listen()
    server = subprocess.Popen([sys.executable, __file__, str(listener.fileno())], pass_fds=[listener.fileno()])
    listener.close()
    atexit.register(shutil.rmtree, folder)
    atexit.register(server.wait)
    atexit.register(server.kill)
    return folder


def _serve(listener: socket.socket) -> None:
    """Forks for each request."""
    # Here, since the tests import this file, too, to start a server.
    import numpy as np
    from torch import nn

    from evenbit import bench
    from evenbit.bench.peers import to_onnx

    bench.REST_SECONDS = 0  # no test looks at times that are worth a rest
    for name in IMPORTED:
        importlib.import_module(name)
    # The first export of a process also reads torch's tables of operators.
    to_onnx(nn.Conv2d(1, 1, 1).eval(), np.zeros((1, 1, 1, 1), np.float32))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            with connection:
                _answer(connection)
            os._exit(0)
        connection.close()


def _answer(connection: socket.socket) -> None:
    """Does what one request asks, in its folder and environment, on its standard streams."""
    length, streams, _, _ = socket.recv_fds(connection, 8, 3)
    connection.sendall(f"{os.getpid()}\n".encode())
    with connection.makefile("rb") as stream:
        request = json.loads(stream.read(int.from_bytes(length, "little")))
    for number, stream_number in enumerate(streams):
        os.dup2(stream_number, number)
        os.close(stream_number)
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(number, "w", closefd=False)) for number in (1, 2))
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    status = _status(request["command"])
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    atexit._run_exitfuncs()
    connection.sendall(f"{status}\n".encode())


def _status(arguments: list[str]) -> int:
    """Runs a command of the environment and returns its exit status."""
    program, *rest = arguments
    if program == "evenbit":
        rest = ["-m", "evenbit", *rest]
    try:
        if rest[0] == "-u":  # what is printed need not be seen at once
            rest = rest[1:]
        if rest[0] == "-m":
            sys.argv = rest[1:]
            runpy.run_module(rest[1], run_name="__main__")
        elif rest[0] == "-c":
            sys.path.insert(0, "")
            sys.argv = ["-c", *rest[2:]]
            main: dict[str, Any] = {"__name__": "__main__"}
            exec(compile(rest[1], "<string>", "exec"), main)
        else:
            sys.path.insert(0, str(Path(rest[0]).resolve().parent))
            sys.argv = rest
            runpy.run_path(rest[0], run_name="__main__")
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of the tests
    _serve(socket.socket(fileno=int(sys.argv[1])))
