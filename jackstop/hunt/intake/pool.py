"""Processes that normalise batches, each one at a time, over a pipe; they end with the process that started them."""

from __future__ import annotations

import gc
import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Self

import pyarrow as pa

from jackstop.errors import UserError
from jackstop.hunt.intake.normalise import Task, Told, normalise
from jackstop.hunt.intake.parts import Reading

_TELL_BYTES = 1 << 20
_TELL_RECORDS = 8_192
_KILLED = "take fewer processes (--jobs 1) if the memory did not suffice, and begin again: what was read is kept"

Done = tuple[int, list[Reading]]
"""The number of a task, and what was read."""


def run(tasks: Sequence[Task], jobs: int, told: Told) -> Iterator[Done]:
    """Do the tasks, in no order, in so many processes; with one, in this. Raises UserError."""
    if min(jobs, len(tasks)) < 2:
        for number, task in enumerate(tasks):
            yield number, normalise(task, told)
        return
    with _Pool(min(jobs, len(tasks))) as pool:
        yield from pool.run(tasks, told)


class _Pool:
    def __init__(self, jobs: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._workers: dict[Connection, BaseProcess] = {}
        for _ in range(jobs):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self._workers[ours] = process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        for ours, process in self._workers.items():
            ours.close()
            process.terminate()
            process.join()

    def run(self, tasks: Sequence[Task], told: Told) -> Iterator[Done]:
        waiting = deque(enumerate(tasks))
        busy: dict[Connection, int] = {}
        for ours in self._workers:
            number, task = waiting.popleft()
            ours.send(task)
            busy[ours] = number
        while busy:
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                try:
                    answer: Any = ready.recv()
                except (EOFError, OSError):
                    raise UserError("a process that reads was killed", _KILLED) from None
                if isinstance(answer, tuple):
                    told(*answer)
                elif isinstance(answer, UserError):
                    raise answer
                else:
                    yield busy.pop(ready), answer
                    if waiting:
                        number, task = waiting.popleft()
                        ready.send(task)
                        busy[ready] = number


def _work(pipe: Connection) -> None:
    # A terminal's Ctrl-C reaches the whole group; the parent ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Rows hold no cycles, and looking for some takes a tenth of the time.
    gc.disable()
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    try:
        while True:
            _answer(pipe, pipe.recv())
            gc.collect()
    except (EOFError, BrokenPipeError):
        pass  # the parent is done, or gone


def _answer(pipe: Connection, task: Task) -> None:
    held = [0, 0]

    def tell() -> None:
        pipe.send((held[0], held[1]))
        held[:] = [0, 0]

    def told(size: int, records: int) -> None:
        held[0] += size
        held[1] += records
        if held[0] >= _TELL_BYTES or held[1] >= _TELL_RECORDS:
            tell()

    try:
        done: list[Reading] | UserError = normalise(task, told)
    except UserError as error:
        done = UserError(error.problem, error.remedy, error.status)
    except Exception as error:
        done = UserError(f"reading failed: {type(error).__name__}", f"read {task.inputs[0].name} and its like apart")
    tell()
    pipe.send(done)
