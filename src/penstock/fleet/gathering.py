"""Many prompts in one process: results as they come, a journal of what is done, and how far it is.

Nothing is yielded inside a task group or a cancel scope: the jobs run in a task that belongs to no group, and the
generator only reads what comes out of it, and ends it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import anyio
import anyio.lowlevel

from penstock.agent.alone import start_alone
from penstock.agent.collect import Reply, collect, history_of
from penstock.core.chunks import UsageChunk
from penstock.core.closing import Stream, owed
from penstock.core.errors import ConfigError, LedgerError, ProviderError, said_by
from penstock.core.messages import Message, Options
from penstock.core.provider import BaseProvider, check_provider
from penstock.core.validation import check_count
from penstock.fleet.jobs import Job, JobResult, Jobs, Progress, each_job, stops_all, total_of
from penstock.fleet.journal import Journal, Met, check_options, key_of
from penstock.fleet.tally import Tally

__all__ = ["gather"]


def gather(
    provider: BaseProvider,
    jobs: Jobs,
    *,
    concurrency: int = 10,
    options: Options | None = None,
    journal: str | os.PathLike[str] | None = None,
    progress: Callable[[Progress], object] | None = None,
) -> AsyncGenerator[JobResult, None]:
    """Ask each of many prompts, and yield what becomes of each as it comes, in the order of their ends.

    jobs: Jobs or prompts, of any iterable or async iterable; it is read when there is room, never more than twice
        *concurrency* ahead of the reader.
    concurrency: how many are asked at once. Where the provider has a limit of its own the lower one counts; what it
        does besides, as trying again, is left to it.
    options: of the jobs that have none.
    journal: a file that remembers what is done. The next run with it yields those results again, asks nothing for them,
        and asks again what failed or was cut off. A result is in it before it is yielded.
    progress: called when something has changed, ten times a second at most, and at the end.

    A job that fails is a result with an `error`. What would fail for all the others too ends the run, once what has
    begun is done and yielded, and has `progress`: AuthenticationError, PermissionDeniedError, QuotaExceededError,
    BudgetExceededError, LedgerError, StoreError, CircuitOpenError, NotFoundError before the first answer, and
    ConfigError for all but the content of a job. So does ConfigError for two jobs with one id that are not the same,
    and what *jobs* raises. Leaving the generator cancels what runs.
    """
    run = _Run(provider, jobs, concurrency, options, journal, progress)
    return Stream(run.results(), lambda: run.usage)


class _Run:
    """One run: the task in which the jobs are asked, and what comes out of it."""

    def __init__(
        self,
        provider: BaseProvider,
        jobs: Jobs,
        concurrency: int,
        options: Options | None,
        journal: str | os.PathLike[str] | None,
        progress: Callable[[Progress], object] | None,
    ) -> None:
        self._provider = check_provider("provider", provider)
        self._tally = Tally(total_of(jobs), progress)
        self._jobs = jobs
        self._at_once = check_count("concurrency", concurrency)
        self._options = options
        self._keeps = journal is not None
        self._journal = Journal(journal, kind="gather", vendor=provider.vendor, model=provider.get_model().id)
        check_options(provider, options)
        self._answered = 0
        self._error: Exception | None = None

    @property
    def usage(self) -> UsageChunk:
        """See Progress."""
        return self._tally.usage

    async def results(self) -> AsyncGenerator[JobResult, None]:
        """The generator."""
        self._scope = anyio.CancelScope()
        self._reading = anyio.CancelScope()
        self._over = anyio.Event()
        self._places = anyio.Semaphore(self._at_once)
        self._send, receive = anyio.create_memory_object_stream[JobResult](self._at_once)
        self._task = start_alone(self._own)
        try:
            async for result in receive:
                yield result
        finally:
            self._scope.cancel()
            with anyio.CancelScope(shield=True):
                await self._over.wait()
            receive.close()
        if self._error is not None:
            raise self._error

    async def _own(self) -> None:
        """All that runs beside the reader. It raises nothing."""
        try:
            with self._scope:
                async with self._journal:
                    self._tally.usage = self._journal.usage
                    self._tally.tell()
                    await self._ask_all()
                    unmatched = await self._journal.unmatched() if self._keeps and self._error is None else 0
                    last = self._tally.end(self._journal.path, unmatched)
                    if isinstance(self._error, ProviderError):
                        self._error.progress = last
        except Exception as error:  # noqa: BLE001 - the reader raises it
            self._stop(error)
        finally:
            self._send.close()
            self._over.set()

    def _stop(self, error: Exception) -> None:
        """Begin no other job; the first error is the one that is raised."""
        self._error = self._error or error
        self._reading.cancel()

    async def _ask_all(self) -> None:
        async with anyio.create_task_group() as group:
            try:
                with self._reading:
                    async with aclosing(each_job(self._jobs)) as jobs:
                        await self._places.acquire()
                        async for place, job in jobs:
                            self._tally.running += 1
                            group.start_soon(self._do, place, job)
                            await self._places.acquire()
            except Exception as error:  # noqa: BLE001 - of the iterable: the reader raises it
                self._stop(error)

    async def _do(self, place: int, job: Job) -> None:
        result = None
        try:
            result = await self._result(place, job)
        except Exception as error:  # noqa: BLE001 - the reader raises it
            self._stop(error)
        finally:
            self._tally.running -= 1
        if result is not None:
            self._tally.count(result)
            self._tally.tell()
            await self._send.send(result)
        self._places.release()

    async def _result(self, place: int, job: Job) -> JobResult:
        """What becomes of a job. Raises what stops all."""
        name = str(place) if job.id is None else job.id
        options = self._options if job.options is None else job.options
        met = Met(b"", None, UsageChunk())
        try:
            messages = history_of(job.prompt)
            base = key_of(self._provider, job.system_prompt, messages, options, job.id) if self._is_known(job) else None
        except ProviderError as error:
            return JobResult(job=job, id=name, reply=None, error=error, usage=UsageChunk())
        if base is not None:
            met = await self._journal.meet(base, place, job.id)
        if met.reply is not None:
            return JobResult(job=job, id=name, reply=met.reply, error=None, usage=met.usage, resumed=True)
        stream = self._provider.create_message(job.system_prompt, messages, options)
        try:
            reply = await collect(stream)
        except ProviderError as error:
            usage = await self._book(met, job, error.usage, error=error)
            if stops_all(error, self._answered) and not self._is_of(job, messages, options, error):
                raise
            return JobResult(job=job, id=name, reply=None, error=error, usage=usage)
        except BaseException as left:
            spent = (stream.usage if isinstance(stream, Stream) else UsageChunk()) + owed(left)
            if spent != UsageChunk():
                await self._book(met, job, spent, error=left)
            raise
        self._answered += 1
        return await self._answer(met, job, name, reply)

    def _is_known(self, job: Job) -> bool:
        """Whether anything depends on what job it is."""
        return self._keeps or job.id is not None

    async def _answer(self, met: Met, job: Job, name: str, reply: Reply) -> JobResult:
        try:
            usage = await self._book(met, job, reply.usage, reply=reply)
        except LedgerError as error:
            self._stop(error)  # the answer is paid, and whoever reads still gets it
            usage = met.usage + reply.usage
        except ConfigError as error:  # it could not be read again
            error.partial = reply
            usage = await self._book(met, job, reply.usage, error=error)
            return JobResult(job=job, id=name, reply=None, error=error, usage=usage)
        return JobResult(job=job, id=name, reply=reply, error=None, usage=usage)

    async def _book(
        self, met: Met, job: Job, usage: UsageChunk, *, reply: Reply | None = None, error: BaseException | None = None
    ) -> UsageChunk:
        """Write it into the journal, if there is one; what the job has cost in all."""
        spent = met.usage + usage
        if self._keeps:
            said = None if error is None else said_by(error)
            spent = await self._journal.finish(met.key, usage, name=job.id, reply=reply, error=said)
        self._tally.usage += usage
        return spent

    def _is_of(self, job: Job, messages: list[Message], options: Options | None, error: ProviderError) -> bool:
        """Whether an error comes from what a job wants, and not from how the provider was made."""
        if not isinstance(error, ConfigError):
            return False
        for leaf in self._provider.leaves():
            if type(leaf).request_body is not BaseProvider.request_body:
                try:
                    leaf.request_body(job.system_prompt, messages, options)
                except ProviderError:
                    return True
        return False
