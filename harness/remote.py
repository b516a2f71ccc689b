"""An object in a process of its own, so that its work does not disturb other timings."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

START_TIMEOUT_SECONDS = 30.0
IDLE_INTERVAL_SECONDS = 0.2  # between two calls of the object's `idle`


class RemoteError(Exception):
    """A call raised in the other process; the message is the traceback."""


class Remote:
    """Calls methods of the object that `factory(*args)` creates in another process."""

    def __init__(self, factory: Callable[..., Any], *args: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, factory, args), daemon=True)
        self._process.start()
        theirs.close()
        self.finish(START_TIMEOUT_SECONDS)

    @property
    def pid(self) -> int:
        assert self._process.pid
        return self._process.pid

    def call(self, method: str, *args: Any, timeout: float = 60.0, **options: Any) -> Any:
        self.begin(method, *args, **options)
        return self.finish(timeout)

    def begin(self, method: str, *args: Any, **options: Any) -> None:
        """Start a call whose result `finish` returns."""
        self._pipe.send((method, args, options))

    def is_finished(self) -> bool:
        """Whether `finish` would return at once."""
        return self._pipe.poll(0)

    def finish(self, timeout: float = 60.0) -> Any:
        if not self._pipe.poll(timeout):
            raise TimeoutError(f"No result within {timeout:g} seconds")
        succeeded, result = self._pipe.recv()
        if not succeeded:
            raise RemoteError(result)
        return result

    def close(self) -> None:
        self._pipe.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _serve(pipe: Connection, factory: Callable[..., Any], args: tuple[Any, ...]) -> None:
    import traceback

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops this process
    try:
        target = factory(*args)
    except Exception:
        pipe.send((False, traceback.format_exc()))
        return
    pipe.send((True, None))
    idle = getattr(target, "idle", lambda: time.sleep(0))
    while True:
        try:
            while not pipe.poll(IDLE_INTERVAL_SECONDS):
                idle()
            method, call_args, options = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer = (True, getattr(target, method)(*call_args, **options))
        except Exception:
            answer = (False, traceback.format_exc())
        try:
            pipe.send(answer)
        except OSError:
            return
