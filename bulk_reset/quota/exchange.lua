-- PermitLedger.exchange of permit_ledger.py, step by step, in one atomic call.
-- Numbers become text by %.0f: the default keeps 14 digits, and a time has 16.
-- KEYS: meta (hash), leases (hash holder -> fields), cooling (sorted set at -> "at:count")
-- ARGV: clock ("" for the server's), holder, call, epoch, seen, generation, granted, answered,
--   want, batch, weight, reserve, lease, timeout, slot, exclusive, can_be_new, waited, rejected,
--   doubted, label, limits "50,1000", windows "1000000,60000000", ages "..."
local ASKS_FOR, LONGEST_WAIT, TURN_WAIT, LEASED_WAIT = 500000, 250000, 5000, 20000
local TURN_SCALE, QUIET_FRACTION, KEEP = 1000, 30, 60000000
local FIELDS = {'generation', 'since', 'call', 'granted', 'answered', 'deadline', 'timeout',
  'weight', 'want', 'asked', 'turn', 'reserve', 'exclusive', 'waited', 'rejected'}

local function text(number) return string.format('%.0f', number) end

local function numbers(list)
  local found = {}
  for part in string.gmatch(list, '[^,]+') do found[#found + 1] = tonumber(part) end
  return found
end

local holder = ARGV[2]
local r = {call = tonumber(ARGV[3]), epoch = tonumber(ARGV[4]), seen = tonumber(ARGV[5]),
  generation = tonumber(ARGV[6]), granted = tonumber(ARGV[7]), answered = tonumber(ARGV[8]),
  want = tonumber(ARGV[9]), batch = tonumber(ARGV[10]), weight = tonumber(ARGV[11]),
  reserve = tonumber(ARGV[12]), lease = tonumber(ARGV[13]), timeout = tonumber(ARGV[14]),
  slot = tonumber(ARGV[15]), exclusive = tonumber(ARGV[16]), can_be_new = ARGV[17] == '1',
  waited = tonumber(ARGV[18]), rejected = tonumber(ARGV[19]), doubted = tonumber(ARGV[20]),
  label = ARGV[21], limits = numbers(ARGV[22]), windows = numbers(ARGV[23]),
  ages = numbers(ARGV[24])}
local longest = r.windows[#r.windows]

-- State
local meta = {}
for place, name in ipairs({'epoch', 'sequence', 'last', 'offset', 'closed', 'epochs',
  'rejected'}) do
  meta[name] = tonumber(redis.call('HGET', KEYS[1], name) or '0')
end
local leases, names = {}, {}
local stored = redis.call('HGETALL', KEYS[2])
for i = 1, #stored, 2 do
  local fixed, limits, label = string.match(stored[i + 1], '^([^;]*);([^;]*);(.*)$')
  local lease, values = {limits = numbers(limits), label = label}, numbers(fixed)
  for place, name in ipairs(FIELDS) do lease[name] = values[place] end
  leases[stored[i]] = lease
  names[#names + 1] = stored[i]
end
table.sort(names)

local function out_of(lease) return lease.granted - lease.answered end

local function cool(at, count)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], text(at), text(at))) do
    count = count + tonumber(string.match(member, ':(%d+)$'))
    redis.call('ZREM', KEYS[3], member)
  end
  redis.call('ZADD', KEYS[3], text(at), text(at) .. ':' .. text(count))
end

local function used_since(at)
  local count = 0
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. text(at), '+inf')) do
    count = count + tonumber(string.match(member, ':(%d+)$'))
  end
  return count
end

-- When so many permits had been answered after a time; nil for fewer.
local function first_since(at, wanted)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. text(at), '+inf')) do
    local answered_at, count = string.match(member, '^(%d+):(%d+)$')
    wanted = wanted - tonumber(count)
    if wanted <= 0 then return tonumber(answered_at) end
  end
end

local function bury(lease)
  if out_of(lease) > 0 then cool(lease.deadline + lease.timeout, out_of(lease)) end
end

-- The clock
local clock = tonumber(ARGV[1])
if not clock then
  local parts = redis.call('TIME')
  clock = tonumber(parts[1]) * 1000000 + tonumber(parts[2])
end
local now = clock + meta.offset
if now < meta.last then
  meta.offset = meta.offset + meta.last - now
  now = meta.last
end
meta.last = now

-- The memory
local is_older = r.epoch > meta.epoch or (r.epoch == meta.epoch and r.seen > meta.sequence)
local is_replaced = r.epoch > 0 and r.epoch < meta.epoch and meta.closed == 0
if meta.epoch == 0 or is_older or is_replaced or r.doubted == meta.epoch then
  local is_new = r.can_be_new and r.epoch == 0 and meta.epoch == 0
  meta.epoch = math.max(now, meta.epoch + 1, r.epoch + 1)
  meta.sequence = 0
  if not is_new then
    meta.epochs = meta.epochs + 1
    meta.closed = now + longest + r.timeout + r.lease
  end
  leases, names = {}, {}
  redis.call('DEL', KEYS[2])
end
meta.sequence = meta.sequence + 1

-- Leases of dead holders
for _, name in ipairs(names) do
  if leases[name].deadline <= now then
    bury(leases[name])
    leases[name] = nil
    redis.call('HDEL', KEYS[2], name)
  end
end

-- Each epoch numbers its own leases.
local function knows(lease) return r.epoch == meta.epoch and r.generation == lease.generation end

local lease = leases[holder]
if not lease or not knows(lease) then
  if lease then bury(lease) end
  leases[holder] = nil
  lease = {generation = meta.sequence, since = now, call = 0, granted = 0, answered = 0,
    asked = 0, turn = 0, rejected = r.rejected}
  leases[holder] = lease
end

local used, wait, cause, grant = {}, 0, 'stale', 0
local is_stale = r.call <= lease.call

local function free_of(one, out, releases)
  local least
  for place, count in ipairs(used) do
    local free = (one.limits[place] or one.limits[#one.limits]) - count - out
    if place == #used and not releases then free = free - one.reserve end
    least = math.min(least or free, free)
  end
  return least
end

local function is_quiet(out)
  if out > 0 or used[1] > 0 then return false end
  local first = first_since(now - longest, 1)
  return not first or first + longest - now <= math.floor(longest / QUIET_FRACTION)
end

local function window_wait(out)
  local found, why = 0, 'leased'
  for place, window in ipairs(r.windows) do
    local reserve = place == #r.windows and lease.reserve or 0
    local missing = 1 + used[place] + out + reserve - r.limits[place]
    local last = missing > 0 and first_since(now - window, math.min(missing, used[place]))
    if last and last + window - now > found then
      found, why = last + window - now, 'window ' .. text(place - 1)
    end
  end
  if found == 0 then found = LEASED_WAIT end
  return 0, found, why
end

local function decide()
  if now < meta.closed then return 0, meta.closed - now, 'lost' end
  local out = 0
  for _, one in pairs(leases) do
    out = out + out_of(one)
    if one.generation < lease.generation and one.exclusive + lease.exclusive > 0 then
      return 0, LONGEST_WAIT, 'exclusive'
    end
  end
  if r.want <= 0 then return 0, LONGEST_WAIT, '' end
  local quiet = is_quiet(out)
  local free = free_of(lease, out, quiet)
  if free <= 0 then return window_wait(out) end
  local most, first, weights = math.min(free, r.want, r.batch), nil, lease.weight
  for _, one in pairs(leases) do
    if one ~= lease and one.want > 0 and one.asked >= now - ASKS_FOR
      and not (one.exclusive == 1 and one.generation > lease.generation)
      and free_of(one, out, quiet) > 0 then
      first = math.min(first or one.turn, one.turn)
      weights = weights + one.weight
    end
  end
  if first then
    if lease.turn > first then return 0, TURN_WAIT, 'turn' end
    most = math.min(most, math.ceil(free * lease.weight / weights))
  end
  return most, 0, ''
end

if not is_stale then
  if knows(lease) then
    lease.granted = math.min(lease.granted, r.granted)
    local new = math.min(r.answered - lease.answered, #r.ages)
    local slots = {}
    for place = #r.ages - new + 1, #r.ages do
      local at = math.ceil((now - math.max(0, r.ages[place])) / r.slot) * r.slot
      slots[at] = (slots[at] or 0) + 1
    end
    for at, count in pairs(slots) do cool(at, count) end
    lease.answered = math.max(lease.answered, r.answered)
  end
  if lease.asked < now - ASKS_FOR then
    local first
    for _, one in pairs(leases) do
      if one ~= lease and one.want > 0 and one.asked >= now - ASKS_FOR then
        first = math.min(first or one.turn, one.turn)
      end
    end
    lease.turn = math.max(lease.turn, first or 0)
  end
  lease.call, lease.want, lease.asked = r.call, r.want, now
  lease.deadline, lease.timeout = now + r.lease, r.timeout
  lease.weight, lease.reserve, lease.limits = r.weight, r.reserve, r.limits
  lease.exclusive, lease.label = r.exclusive, r.label
  meta.rejected = meta.rejected + math.max(0, r.rejected - lease.rejected)
  lease.waited, lease.rejected = r.waited, r.rejected
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', text(now - math.max(KEEP, longest)))
  for place, window in ipairs(r.windows) do used[place] = used_since(now - window) end
  grant, wait, cause = decide()
  lease.granted = lease.granted + grant
  lease.turn = lease.turn + math.floor(grant * TURN_SCALE / lease.weight)
  local fixed, limits = {}, {}
  for place, name in ipairs(FIELDS) do fixed[place] = text(lease[name]) end
  for place, limit in ipairs(lease.limits) do limits[place] = text(limit) end
  redis.call('HSET', KEYS[2], holder,
    table.concat(fixed, ',') .. ';' .. table.concat(limits, ',') .. ';' .. lease.label)
end
redis.call('HSET', KEYS[1], 'epoch', text(meta.epoch), 'sequence', text(meta.sequence),
  'last', text(meta.last), 'offset', text(meta.offset), 'closed', text(meta.closed),
  'epochs', text(meta.epochs), 'rejected', text(meta.rejected))

local others, counts = 0, {}
for name, _ in pairs(leases) do if name ~= holder then others = others + 1 end end
for place, count in ipairs(used) do counts[place] = text(count) end
return {text(meta.epoch), text(meta.sequence), text(lease.generation), text(lease.granted),
  text(wait), cause, table.concat(counts, ','), text(others), text(meta.epochs), text(meta.last)}
