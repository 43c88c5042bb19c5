"""What Redis does in one step: a script for rates, and one for places. Both have the same head.

KEYS: what is counted, who counts, and who has waited longest; all three under one hash tag, so a cluster has them in
one place. ARGV[1]: a JSON object. `me`: the process. `now`: milliseconds, where Redis may not say the time itself.
`limits`: requests and tokens, or places and -1; -1 for no limit. `seq`: how many of this process's charges the store
should know. Where others of the name have smaller limits, those hold.

The answer is a list of whole numbers: a state (see State), how many charges of this process the store knows, the time
in milliseconds, and, where it was done: a cell, milliseconds to wait, milliseconds held, processes that count, the two
limits that hold, and what is spent of them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

__all__ = ["CELLS", "PLACES", "RATE", "State"]


class State(IntEnum):
    """What a script has done."""

    NO_CLOCK = -1
    """Nothing: the server does not say the time in scripts."""
    WAIT = 0
    """All but what was asked for: there is no room."""
    DONE = 1
    """All."""
    APART = 2
    """Nothing: it knows of more or fewer charges than the process thinks."""


CELLS: Final = 60
"""Into how many cells a window is divided. What was charged counts until its whole cell is older than the window, so
that no window has more than the limit, wherever it begins; for that one part in 61 stays unused.
"""

_HEAD: Final = """
local a = cjson.decode(ARGV[1])
local now = a.now
if not now then
  local time = redis.pcall('TIME')
  if time.err then return {-1, 0, 0} end
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local processes, known, first, second = 1, 0, a.limits[1], a.limits[2]
local function smaller(one, other)
  if one < 0 then return other elseif other < 0 then return one end
  return math.min(one, other)
end
local all = redis.call('HGETALL', KEYS[2])
for i = 1, #all, 2 do
  local till, seq, one, other = string.match(all[i + 1], '^(%d+) (%d+) (-?%d+) (-?%d+)$')
  if not till or tonumber(till) <= now then
    redis.call('HDEL', KEYS[2], all[i])
  elseif all[i] == a.me then
    known = tonumber(seq)
  else
    processes = processes + 1
    first, second = smaller(first, tonumber(one)), smaller(second, tonumber(other))
  end
end
local function register(seq, lives)
  redis.call('HSET', KEYS[2], a.me, string.format('%.0f %.0f %.0f %.0f', now + lives, seq, a.limits[1], a.limits[2]))
  redis.call('PEXPIRE', KEYS[2], lives + 1000)
end
-- What one who has waited longer, and still asks, asks for: it is not overtaken.
local function ahead()
  local who, since, amount = string.match(redis.call('GET', KEYS[3]) or '', '^(%w+) (%d+) (%d+)$')
  if not who or who == a.me or tonumber(since) >= now - a.waited then return 0, 0 end
  return 1, tonumber(amount)
end
local function wait_in_line(amount, lasts)
  if ahead() == 0 then
    redis.call('SET', KEYS[3], string.format('%s %.0f %.0f', a.me, now - a.waited, amount), 'PX', lasts)
  end
end
local function leave_line()
  if string.match(redis.call('GET', KEYS[3]) or '', '^%w+') == a.me then redis.call('DEL', KEYS[3]) end
end
"""

RATE: Final = (
    _HEAD
    + """
-- `window`: milliseconds. `fix`: cells of this process with what of their tokens is given back. `post`: charges that
-- the store does not know, each with its age, requests and tokens. `upto`: how many it knows with them. `hold`,
-- `settle`: milliseconds from now for which nothing is sent: the vendor's word, and time for all others to post.
-- `ask`: tokens of a request that wants to be sent; missing for none. `waited`: how long it has.
if known ~= a.seq then return {2, known, now} end
local window, cell = a.window, a.window / 60
local lives = window + cell
for _, each in ipairs(a.fix) do
  local field = string.format('t%.0f', each[1])
  if redis.call('HEXISTS', KEYS[1], field) == 1 then redis.call('HINCRBY', KEYS[1], field, 0 - each[2]) end
end
for _, each in ipairs(a.post) do
  local id = math.floor((now - each[1]) / cell)
  redis.call('HINCRBY', KEYS[1], string.format('r%.0f', id), each[2])
  redis.call('HINCRBY', KEYS[1], string.format('t%.0f', id), each[3])
end
local stops, spent, cells = {hold = now + a.hold, settle = now + a.settle}, {r = 0, t = 0}, {r = {}, t = {}}
all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local field, value = all[i], tonumber(all[i + 1])
  local kind, id = string.match(field, '^([rt])(%d+)$')
  if stops[field] then
    stops[field] = math.max(stops[field], value)
  elseif kind then
    local till = (tonumber(id) + 1) * cell + window
    if till <= now then
      redis.call('HDEL', KEYS[1], field)
    else
      spent[kind] = spent[kind] + value
      table.insert(cells[kind], {till, value})
    end
  end
end
local lasts = lives
for field, till in pairs(stops) do
  if till > now then redis.call('HSET', KEYS[1], field, string.format('%.0f', till)) end
  lasts = math.max(lasts, till - now)
end
local function until_room(kind, limit, amount)
  if limit < 0 then return 0 end
  local excess = spent[kind] + math.min(amount, limit) - limit
  if excess <= 0 then return 0 end
  table.sort(cells[kind], function(one, other) return one[1] < other[1] end)
  for _, each in ipairs(cells[kind]) do
    excess = excess - each[2]
    if excess <= 0 then return each[1] - now end
  end
  return cell
end
local wait, seq, done, this = 0, a.upto, 1, math.floor(now / cell)
if a.ask then
  local requests, tokens = ahead()
  wait = math.max(0, stops.hold - now, stops.settle - now,
    until_room('r', first, 1 + requests), until_room('t', second, a.ask + tokens))
  if wait > 0 then
    done = 0
    wait_in_line(a.ask, 1500)
  else
    seq = seq + 1
    redis.call('HINCRBY', KEYS[1], string.format('r%.0f', this), 1)
    redis.call('HINCRBY', KEYS[1], string.format('t%.0f', this), a.ask)
    spent.r, spent.t = spent.r + 1, spent.t + a.ask
    leave_line()
  end
end
register(seq, lives)
redis.call('PEXPIRE', KEYS[1], math.ceil(lasts) + 1000)
local held = math.max(0, stops.hold - now)
return {done, seq, now, this, math.ceil(wait), held, processes, first, second, spent.r, spent.t}
"""
)

PLACES: Final = (
    _HEAD
    + """
-- `lease`: milliseconds. `keep`, `free`: places of this process. `take`: the name of one that it wants; missing for
-- none. `waited`: how long. A place that is kept is taken anew where its lease has ended: a stream is never cut.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
for _, each in ipairs(a.free) do redis.call('ZREM', KEYS[1], each) end
for _, each in ipairs(a.keep) do redis.call('ZADD', KEYS[1], now + a.lease, each) end
local taken, wait, done = redis.call('ZCARD', KEYS[1]), 0, 1
if a.take then
  if taken + ahead() < first then
    redis.call('ZADD', KEYS[1], now + a.lease, a.take)
    taken = taken + 1
    leave_line()
  else
    wait, done = 250, 0
    wait_in_line(1, 600)
  end
end
register(0, a.lease * 2)
if taken > 0 then redis.call('PEXPIRE', KEYS[1], a.lease + 1000) end
return {done, 0, now, 0, wait, 0, processes, first, second, taken, 0}
"""
)
