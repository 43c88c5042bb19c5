"""Books every attempt in a ledger, and lets none begin that a budget could not pay."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any, Final

import anyio.lowlevel
import msgspec

from penstock.core.bounds import Worst, check_window, worst_case
from penstock.core.chunks import EXACT, Chunk, ReasoningChunk, StopChunk, TextChunk, ToolCallChunk, UsageChunk
from penstock.core.closing import aclosing, owed
from penstock.core.cost import cache_savings
from penstock.core.errors import ConfigError, LedgerError, ProviderError
from penstock.core.messages import Message, Options, ResponseHead
from penstock.core.provider import BaseProvider, Send
from penstock.core.scope import Scope, in_scope
from penstock.core.tokens import History
from penstock.meter.budget import Budget, bucket_of, tidy
from penstock.meter.entries import State
from penstock.meter.events import BudgetOverrun, LedgerBehind, MaxTokensSet
from penstock.meter.ledger import Ledger
from penstock.meter.store import Call, Outcome
from penstock.middleware.events import Listener, Refused, Waiting
from penstock.middleware.listeners import Telling, check_listener
from penstock.middleware.wrapper import Wrapper, hearing

__all__ = ["Metered"]

_UNSEEN: Final = 2_000
"""Tokens that a model may have written, and bills, after its caller has left; those of a call that is lost, too."""
_CHARACTERS: Final = 3
"""Of an answer, that are taken for one token: fewer than there mostly are, so that what came is counted too high."""
_NONE: Final = Decimal(0)


class Metered(Wrapper):
    """Books each attempt of each call in *ledger*, and begins none that one of *budgets* could not pay at its worst.

    It may stand anywhere around Retry, Fallback, RateLimit and the others: what is booked, and held, is each request by
    itself, from when it is sent. ledger: a Ledger, or the path of one, which is then closed with this provider.

    A call without `max_tokens` gets one where there are budgets, see Budget. Before anything is sent it raises
    BudgetExceededError; TokenLimitError for a prompt that surely does not fit the model; LedgerError where the
    ledger cannot be written and there is a budget; and ConfigError for a call whose price is not known, whose cost has
    no bound, or that lacks a budget's tag, where the budget does not allow it.
    """

    def __init__(
        self,
        inner: BaseProvider,
        ledger: Ledger | str | os.PathLike[str],
        *,
        budgets: Sequence[Budget] = (),
        listener: Listener | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budgets = tuple(budgets)
        """What it holds its calls to."""
        super().__init__(inner, budgets=self.budgets or None)
        self.ledger = ledger if isinstance(ledger, Ledger) else Ledger(ledger)
        """Where it books."""
        self._owns = self.ledger is not ledger
        if any(isinstance(each, Metered) and each.ledger.is_same(self.ledger) for each in inner.nested()):
            raise ConfigError(
                f"{self.ledger!r} books the calls of the provider inside already, and would book them twice: give all "
                "budgets to one Metered, or leave `ledger` out of models.json"
            )
        for budget in self.budgets:
            if not isinstance(budget, Budget):
                raise ConfigError(f"`budgets` has a {type(budget).__name__}, expected Budget(...)")
        self._listener = None if listener is None else check_listener(listener)
        self._clock = clock

    def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        given = Options() if options is None else options
        if self._inner.forwards:
            return self._through(system_prompt, messages, given)
        return self._call(self._inner, self._inner.create_message, system_prompt, messages, given)

    async def aclose(self) -> None:
        """Close the provider inside, and write what is left."""
        try:
            await self._inner.aclose()
        finally:
            with suppress(LedgerError):
                await (self.ledger.aclose() if self._owns else self.ledger.flush())

    async def _through(
        self, system_prompt: str, messages: Sequence[Message], options: Options
    ) -> AsyncGenerator[Chunk, None]:
        """Through the middlewares inside, to each leaf that they ask."""
        options, scope = in_scope(options)
        reached = False

        def around(leaf: BaseProvider, send: Send, *call: Any) -> AsyncGenerator[Chunk, None]:
            nonlocal reached
            reached = True
            return self._call(leaf, send, *call)

        metered = msgspec.structs.replace(scope, around=(around, *scope.around))
        options = msgspec.structs.replace(options, scope=metered)
        async with aclosing(self._inner.create_message(system_prompt, messages, options)) as chunks:
            async for chunk in chunks:
                if not reached:
                    raise ConfigError(
                        "this call cannot be metered: a provider inside hands on other Options than it got, without "
                        "their `scope`; change options with msgspec.structs.replace(options, ...)"
                    )
                yield chunk

    async def _call(
        self, leaf: BaseProvider, send: Send, system_prompt: str, messages: Sequence[Message], options: Options
    ) -> AsyncGenerator[Chunk, None]:
        """One request to a leaf."""
        options, scope = in_scope(options)
        with suppress(TypeError, ValueError, AttributeError, LookupError, RecursionError):  # the leaf says it better
            messages = History(messages)  # as it is now: who waits for the answer may go on with the list
            for _ in leaf.tokens.measured(messages):
                await anyio.lowlevel.checkpoint()
        call = self.planned(leaf, system_prompt, messages, options, scope)
        tell = Telling(self._listener, scope, leaf).tell
        options = await self._opened(leaf, call, options, tell)
        row = _Row(self.ledger, call, leaf, self._clock)
        try:
            async with aclosing(send(system_prompt, messages, hearing(options, row.heard))) as chunks:
                async for chunk in chunks:
                    if type(chunk) is TextChunk and row.first is not None:  # most are, and each pays for what is asked
                        row.came += len(chunk.text)
                    elif type(chunk) is UsageChunk:
                        row.usage += chunk
                    else:
                        row.saw(chunk)
                        if type(chunk) is StopChunk:
                            row.settle("done", chunk)
                    yield chunk
        except Exception as error:
            row.failed(error)
            raise
        except BaseException as gone:
            row.usage += owed(gone)
            raise
        finally:
            # Without an await: it runs also where nothing can wait any more.
            row.settle("left")
            if row.state == "done" and not leaf.tokens.is_fed:
                leaf.tokens.remember(system_prompt, messages, options, row.usage)
            if self.budgets and row.usage.known_cost.is_finite() and row.usage.known_cost > call.needed:
                tell(BudgetOverrun, held=call.needed, cost=row.usage.known_cost)

    async def _opened(self, leaf: BaseProvider, call: Call, options: Options, tell: Callable[..., object]) -> Options:
        """Write the row of a call, once its budgets allow it; its options, with the `max_tokens` that they leave."""
        try:
            longest = max((each.max_wait for each in self.budgets), default=0.0)
            await self.ledger.open(call, longest, lambda: tell(Waiting, on="budget"))
        except ProviderError as error:
            tell(Refused, error=error)
            raise
        if (fault := self.ledger.fault) is not None:
            tell(LedgerBehind, error=fault, kept=self.ledger.behind, given_up=self.ledger.given_up)
        if not call.budgets or call.max_tokens == options.max_tokens or not leaf.tokens.row.takes_max_tokens:
            return options
        tell(MaxTokensSet, max_tokens=call.max_tokens, asked=options.max_tokens)
        return msgspec.structs.replace(options, max_tokens=call.max_tokens)

    def planned(
        self, leaf: BaseProvider, system_prompt: str, messages: Sequence[Message], options: Options, scope: Scope
    ) -> Call:
        """The row of a call, with what it may cost. Raises ConfigError for what a budget does not allow."""
        check_window(leaf, system_prompt, messages, options)
        model = leaf.get_model().id
        call = Call(
            call=scope.call, attempt=scope.attempt, run=scope.run, alias=leaf.alias, vendor=leaf.vendor, model=model,
            tags=tidy(scope.tags, self.budgets),
        )  # fmt: skip
        worst = worst_case(leaf, system_prompt, messages, options)
        if not self.budgets or not isinstance(messages, History):  # no provider takes that, and each says why
            if worst is not None:
                call.worst = worst
                call.estimated = worst.cost(min(options.max_tokens or _UNSEEN, _UNSEEN))
            return call
        call.budgets = self.budgets
        call.worst = self._bounded(worst, leaf)
        longest = min((worst and worst.most_output) or 2**31, *(each.max_output for each in self.budgets))
        call.max_tokens = longest if options.max_tokens is None else options.max_tokens
        thinks = options.reasoning if isinstance(options.reasoning, int) else 0
        call.least = max(each.least for each in self.budgets) + thinks
        if not leaf.tokens.row.takes_max_tokens:  # the answer is as long as the model likes
            call.max_tokens = call.least = call.worst.most_output or call.max_tokens
        for budget in self.budgets:
            if budget.missing == "refuse" and bucket_of(budget.per, budget.by, call.facts) is None:
                raise ConfigError(
                    f"not sent: {budget!r} refuses calls without {budget.by or 'a run'}; give the call "
                    "Options(tags={...}), or begin it in `with tags(...)` or `with run()`"
                )
        return call

    def _bounded(self, worst: Worst | None, leaf: BaseProvider) -> Worst:
        """What is held at worst, in dollars that are known."""
        model = leaf.get_model().id
        if leaf.calculate_cost(UsageChunk(input_tokens=1, output_tokens=1)) is None or (
            worst and worst.cost(0) is None
        ):
            if any(each.unpriced == "refuse" for each in self.budgets):
                raise ConfigError(
                    f"not sent: the price of {model} is not known, so that no budget can be kept; give its `modelInfo` "
                    'in models.json prices, or allow it: Budget(..., unpriced="allow")'
                )
            return _held(_NONE, worst)
        holds = [each.unbounded for each in self.budgets if each.unbounded is not None]
        hold = max(holds) if len(holds) == len(self.budgets) else None
        if worst is None and hold is None:
            raise ConfigError(
                f"not sent: nothing bounds what this call of {model} may cost, as with tools that the vendor runs, "
                "with an `extra` that lengthens the answer, and at a server that takes no `max_tokens`; "
                'say how many dollars to hold: Budget(..., unbounded="0.50")'
            )
        if worst is not None and (hold is None or not worst.searches or worst.fixed is None or worst.fixed < hold):
            return worst
        return _held(hold or _NONE, worst)


def _held(dollars: Decimal, worst: Worst | None) -> Worst:
    """So many dollars, whatever the call costs."""
    most = None if worst is None else worst.most_output
    return Worst(prompt_tokens=0, fixed=dollars, per_output_token=_NONE, reserve_tokens=0, most_output=most)


class _Row:
    """What is seen of a call until it is settled, which happens once, at the latest when nobody knows it any more."""

    def __init__(self, ledger: Ledger, call: Call, leaf: BaseProvider, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._call = call
        self._leaf = leaf
        self._clock = clock
        self._start = clock()
        self._process = os.getpid()
        self._request_id: str | None = None
        self.came = 0
        """Characters that have come."""
        self.first: float | None = None
        """Seconds until the first chunk that is not usage, None as long as there was none."""
        self.usage = UsageChunk()
        self.state: State = "open"

    def heard(self, head: ResponseHead) -> None:
        """An answer or a refusal begins."""
        self._request_id = head.request_id

    def saw(self, chunk: Chunk) -> None:
        """A chunk came that is not usage."""
        if self.first is None:
            self.first = self._clock() - self._start
        if type(chunk) is TextChunk or type(chunk) is ReasoningChunk:
            self.came += len(chunk.text)
        elif type(chunk) is ToolCallChunk:
            self.came += len(chunk.arguments)

    def failed(self, error: Exception) -> None:
        """The call raised an error, which knows best what is billed."""
        if isinstance(error, ProviderError):
            self.usage = error.usage if error.usage != UsageChunk() else self.usage
            self._request_id = error.request_id or self._request_id
        self.settle("failed", error=type(error).__name__)

    def settle(self, state: State, stop: StopChunk | None = None, error: str | None = None) -> None:
        """Book it, if it is not booked yet."""
        if self.state != "open" or os.getpid() != self._process:  # a fork drops its parent's streams
            return
        self.state = state
        outcome = Outcome(
            state=state,
            usage=self.usage,
            estimated=self._estimated(state) if self.usage.unsettled > 0 else None,
            saved=cache_savings(self.usage, self._leaf.calculate_cost),
            answered=None if stop is None else stop.model,
            reason=None if stop is None else stop.reason,
            error=error,
            request_id=self._request_id,
            first_chunk=self.first,
            seconds=self._clock() - self._start,
        )
        self._ledger.settle(self._call, outcome)

    def __del__(self) -> None:
        # A stream that outlives its event loop is never closed: this is all that is left of it.
        self.settle("left")

    def _estimated(self, state: State) -> Decimal | None:
        """Dollars that may be billed beyond what is known; None where a price is not known."""
        call, usage = self._call, self.usage
        worst = call.worst
        if worst.fixed is None or worst.per_output_token is None:
            return None
        if self.first is None and not usage.prompt_tokens:
            return call.estimated
        more = self.came // _CHARACTERS + (0 if state == "done" else _UNSEEN) - usage.output_tokens
        prompt = _NONE if usage.prompt_tokens else worst.fixed
        beyond = EXACT.add(prompt, EXACT.multiply(worst.per_output_token, max(0, more)))
        return max(_NONE, min(beyond, EXACT.subtract(call.needed, usage.known_cost))) if call.budgets else beyond
