"""What the calls until now made readable from a vendor's cache, conversation by conversation.

A call belongs to the conversation with which its messages share the longest beginning; where they share none, to one
whose last two blocks it holds, as after its oldest turns were dropped. It goes on with that conversation if it holds
all of its blocks, or its last one, with a change before it. If not, it is a branch, which is remembered beside it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.middleware.cache_watch.blocks import Block, Chain, common

__all__ = ["Call", "Conversation", "Expected", "Memory"]

_CALLS: Final = 256
"""Calls of a conversation that are remembered, to know what a branch can read."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A call that is over. length: of its chain. readable: tokens that it left in the cache, as far as is known.

    prompt: all tokens of its prompt. begun: when, by the clock. lifetime: seconds, None where it is not known.
    asked, answered: the model. small: it was below the least that is cached.
    """

    length: int
    readable: int
    prompt: int
    begun: float
    lifetime: float | None
    asked: str
    answered: str | None
    small: bool


class Conversation:
    """A chain, what is kept of its blocks, and the calls that made them readable."""

    def __init__(self, chain: Chain, blocks: list[Block], calls: Sequence[Call]) -> None:
        self.chain = chain
        self.blocks = blocks
        self.calls = deque(calls, _CALLS)
        self.told_small = False


class Expected(msgspec.Struct, frozen=True):
    """What a call may read.

    shared: how many blocks both it and the conversation begin with. since: the call that made that readable, None if
    none is known. touched: when that was written or read last. tokens: how many may be read. estimated: whether they
    are a guess, by the length of what was kept. branch: whether it does not go on with the conversation. seen: the
    conversation's chain when it was asked.
    """

    conversation: Conversation
    seen: Chain
    shared: int
    since: Call | None
    touched: float
    tokens: int
    estimated: bool
    branch: bool

    @property
    def changed(self) -> bool:
        """Whether something changed before what the call before had last."""
        return not self.branch and self.shared < len(self.seen.hashes)


class Memory:
    """The conversations that were asked last, at most *most* of them."""

    def __init__(self, most: int) -> None:
        self._conversations: deque[Conversation] = deque(maxlen=most)

    def chains(self) -> list[Chain]:
        """Those of all conversations."""
        return [each.chain for each in self._conversations]

    def expect(self, chain: Chain, *, everywhere: bool) -> Expected | None:
        """What a call with this chain may read, None for a new conversation.

        everywhere: whether the cache can be read up to any block, not just to where a call ended.
        """
        found = self._find(chain)
        if found is None:
            return None
        seen = found.chain
        shared = common(seen.hashes, chain.hashes)
        last = found.calls[-1]
        if shared == len(seen.hashes):
            return Expected(found, seen, shared, last, last.begun, last.readable, False, False)
        rest = set(chain.hashes[shared:])
        branch = seen.hashes[-1] not in rest
        reached = [call for call in found.calls if call.length <= shared]
        since = reached[-1] if reached else None
        tokens = since.readable if since else 0
        if branch and not everywhere:
            touched = found.calls[min(len(reached), len(found.calls) - 1)]  # the call that went on from there read it
            return Expected(found, seen, shared, since, touched.begun, tokens, False, True)
        begin = since.length if since else 0
        sizes = [block.size for block in found.blocks[begin:]]
        again = [
            size
            for number, size in enumerate(sizes, begin)
            if (everywhere and number < shared) or (number >= shared and not branch and seen.hashes[number] in rest)
        ]
        tokens += (last.readable - tokens) * sum(again) // max(1, sum(sizes))
        return Expected(found, seen, shared, last, last.begun, tokens, True, branch)

    def remember(self, chain: Chain, new: Sequence[Block], call: Call, expected: Expected | None) -> None:
        """Keep what a call has left, with the conversation that it belongs to. new: the blocks that are not shared."""
        if expected is None:
            conversation = Conversation(chain, [*new], [call])
        else:
            blocks = [*expected.conversation.blocks[: expected.shared], *new]
            earlier = [each for each in expected.conversation.calls if each.length <= expected.shared]
            conversation = Conversation(chain, blocks, [*earlier, call])
            conversation.told_small = expected.conversation.told_small
            # Another call may have gone on meanwhile: then this one is a branch.
            if not expected.branch and expected.conversation.chain is expected.seen:
                self._forget(expected.conversation)
        self._conversations.append(conversation)

    def _forget(self, conversation: Conversation) -> None:
        if conversation in self._conversations:
            self._conversations.remove(conversation)

    def _find(self, chain: Chain) -> Conversation | None:
        messages = chain.hashes[chain.start :]
        best, longest = None, (0, False)
        for each in reversed(self._conversations):  # the newest first
            theirs = each.chain.hashes
            if not messages or len(theirs) == each.chain.start or theirs[each.chain.start] != messages[0]:
                continue
            head = theirs[: each.chain.start] == chain.hashes[: chain.start]
            length = common(theirs[each.chain.start :], messages), head
            if length > longest:
                best, longest = each, length
        if best is not None:
            return best
        known = set(messages)
        for each in reversed(self._conversations):
            last = each.chain.hashes[each.chain.start :][-2:]
            if len(last) == 2 and known.issuperset(last):
                return each
        return None
