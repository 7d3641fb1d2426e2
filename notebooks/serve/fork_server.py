"""Starts kernels in a second or two: a process that has imported all modules once is copied (Linux only).

PyTorch and what comes with it take 5 to 10 s of processor time to import, so that a page would wait 16 to 24 s for its
kernel on two cores. Two programs in one file, of the standard library alone:

``serve FD`` imports the app, then makes a copy of itself (`os.fork`) for every connection to the socket FD.
``ask SOCKET ARGUMENT...`` is what Jupyter starts in place of a kernel: it has a copy run the kernel with its own
arguments, environment, folder and streams, hands signals on, and lives as long as the kernel does. If there is nothing
to copy, it becomes an ordinary kernel itself.
"""

import gc
import json
import os
import runpy
import signal
import socket
import sys
import threading

__all__ = ["ask", "serve"]

_KERNEL = "ipykernel_launcher"
# ipywidgets registers itself with the kernel when it is imported; here that was before there was one
_EXTENSION = ["--InteractiveShellApp.extra_extensions=ipywidgets"]
_MOST = 1 << 20  # bytes of a request: arguments and environment


def serve(listener: socket.socket) -> None:
    """Imports the app and copies this process for every connection, until the parent process has gone."""
    sys.path.pop(0)  # this folder, where a file is called as the package voila is
    os.environ["JPY_PARENT_PID"] = str(os.getpid())  # read when ipykernel is imported: copies end with this process
    import ipykernel.kernelapp  # noqa: F401 - this and the next are what the copies begin with

    import rsprune_studio.views.app  # noqa: F401

    parent = os.getppid()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # copies that have ended leave nothing behind
    gc.collect()
    gc.freeze()  # the copies share these objects; a collection would write to each
    listener.settimeout(2.0)
    while os.getppid() == parent:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        if os.fork() == 0:
            listener.close()
            _become_kernel(connection)
        connection.close()


def _become_kernel(connection: socket.socket) -> None:
    """Runs in the copy: takes over what `ask` has sent, and never returns."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        connection.settimeout(None)
        message, streams, _, _ = socket.recv_fds(connection, _MOST, 3)
        while not message.endswith(b"\n"):
            message += connection.recv(_MOST)
        wanted = json.loads(message)
        os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(wanted["folder"])
        os.environ.clear()
        os.environ.update(wanted["environment"])
        sys.argv = [_KERNEL, *wanted["arguments"], *_EXTENSION]
        connection.sendall(b"%d\n" % os.getpid())
        threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
        runpy.run_module(_KERNEL, run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end_with(connection: socket.socket) -> None:
    """Ends this kernel as soon as the process that asked for it has ended."""
    connection.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


def ask(path: str, arguments: list[str]) -> None:
    """Has a kernel started, and returns when it has ended."""
    environment = dict(os.environ)
    try:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        wanted = {"arguments": arguments, "environment": environment, "folder": os.getcwd()}
        socket.send_fds(connection, [json.dumps(wanted).encode() + b"\n"], [0, 1, 2])
        kernel = int(connection.makefile().readline())
    except (OSError, ValueError):
        os.execve(sys.executable, [sys.executable, "-m", _KERNEL, *arguments], environment)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(kernel, number))
    connection.recv(1)  # ends when the kernel does


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(socket.socket(fileno=int(sys.argv[2])))
    else:
        ask(sys.argv[2], sys.argv[3:])
