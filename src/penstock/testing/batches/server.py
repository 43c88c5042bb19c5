"""A script for an emulator that takes batches, of Anthropic's API and of OpenAI's, and lets them go wrong by choice.

async with Emulator(BatchServer(DemoModel(), failure="a line is missing")) as emulator:
    provider = AnthropicProvider(ProviderConfig(model_id="m", api_key="k", base_url=emulator.url))
"""

from __future__ import annotations

import time
from collections.abc import Callable

from penstock.testing.batches.anthropic import MessageBatchesApi
from penstock.testing.batches.failures import BatchFailure
from penstock.testing.batches.openai import FileBatchesApi
from penstock.testing.batches.world import Model, World
from penstock.testing.demo.model import DemoModel
from penstock.testing.emulator import Request, ServerReply

__all__ = ["BatchServer"]


class BatchServer(World):
    """Answers requests for batches and their files, and hands all others on to a model, which does the jobs too.

    A batch gets on each time it is looked at, and has ended at the third; with `step` after so many seconds each, by
    the clock. Results come in another order than the jobs. Batches and files are kept as long as it lives.

    model: what answers one request, a DemoModel where none is given; each job is asked without `stream`.
    failure: what goes wrong, or its name in BATCH_FAILURES; another may be set at any time.
    clock: tells the time in seconds since 1970, which batches say they were made at.
    """

    def __init__(
        self,
        model: Model | None = None,
        failure: str | BatchFailure = BatchFailure(),  # noqa: B008 - it cannot change
        *,
        clock: Callable[[], float] = time.time,
        step: float | None = None,
    ) -> None:
        """Raises ConfigError for an unknown failure."""
        super().__init__(model or DemoModel(), failure, clock, step)
        self._apis = MessageBatchesApi(self), FileBatchesApi(self)

    def __call__(self, request: Request) -> ServerReply:
        """Answer one request."""
        found = ((api, route) for api in self._apis if (route := api.route(request)) is not None)
        api, (kind, act) = next(found, (self._apis[0], ("", lambda: self._model(request))))
        failure = self.failure
        if failure.on not in (kind, "any") or not kind or self._left < 1:
            return act()
        self._left -= 1
        made = act() if failure.works else ServerReply()
        return api.error(failure.status, "played by the emulator") if failure.status else failure.spoil(made)
