"""The one thread that writes the store: short jobs share a transaction and its sync, long ones have their own."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection

from jackstop.store.engine import Store

MAX_BATCH = 256

T = TypeVar("T")


class _Job(NamedTuple):
    act: Callable[[Connection], Any] | None
    alone: Callable[[], Any] | None
    future: asyncio.Future[Any]


class Scribe:
    """Runs jobs in the order in which they were given; a job's result is known only after its commit."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="scribe", daemon=True)
        self.loop: asyncio.AbstractEventLoop

    def start(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """Finish what was given, then end."""
        self._jobs.put(None)
        self._thread.join()

    async def do(self, act: Callable[[Connection], T]) -> T:
        """Run `act` in a transaction that it may share with others. It may be run again if another one fails."""
        return await self.give(act)

    def give(self, act: Callable[[Connection], T]) -> asyncio.Future[T]:
        """As `do`, without waiting: what is given later runs after it."""
        future: asyncio.Future[T] = self.loop.create_future()
        self._jobs.put(_Job(act, None, future))
        return future

    async def alone(self, act: Callable[[], T]) -> T:
        """Run `act`, which opens transactions of its own."""
        future: asyncio.Future[T] = self.loop.create_future()
        self._jobs.put(_Job(None, act, future))
        return await future

    def _work(self) -> None:
        ending = False
        while not ending:
            batch = [self._jobs.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < MAX_BATCH and batch[-1] is not None and batch[-1].alone is None:
                    batch.append(self._jobs.get_nowait())
            ending = batch[-1] is None
            given = [job for job in batch if job is not None]
            self._together([job for job in given if job.act is not None])
            for job in given:
                if job.alone is not None:
                    self._settle(job, job.alone)

    def _together(self, jobs: list[_Job]) -> None:
        if not jobs:
            return
        try:
            with self._store.begin() as conn:
                results = [job.act(conn) for job in jobs if job.act is not None]
        except Exception:
            if len(jobs) == 1:
                self._settle(jobs[0], lambda: self._one(jobs[0]))
                return
            for job in jobs:
                self._settle(job, lambda job=job: self._one(job))  # type: ignore[misc]
            return
        for job, result in zip(jobs, results, strict=True):
            self._answer(job.future, result, None)

    def _one(self, job: _Job) -> Any:
        assert job.act is not None
        with self._store.begin() as conn:
            return job.act(conn)

    def _settle(self, job: _Job, act: Callable[[], Any]) -> None:
        try:
            result = act()
        except Exception as error:
            self._answer(job.future, None, error)
        else:
            self._answer(job.future, result, None)

    def _answer(self, future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
        def deliver() -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(deliver)
