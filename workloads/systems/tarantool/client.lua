-- A client of Tarantool in Tarantool's own Lua: it writes at the master, the first node.
local json = require('json')
local net = require('net.box')

-- A write that was rolled back, one behind it that had to be too, and one that a replica refuses.
local REFUSED = {
    [box.error.SYNC_QUORUM_TIMEOUT] = true, [box.error.SYNC_ROLLBACK] = true,
    [box.error.READONLY] = true,
}
local PATIENCE = 10
local master, own, reads

-- The connection to an address, which is made when it is needed.
local open = {}
local function at(address)
    local conn = open[address]
    if conn == nil or not conn:is_connected() then
        conn = net.connect(address, {connect_timeout = 1})
        if not conn:is_connected() then
            error({refused = 'connecting: ' .. tostring(conn.error)})
        end
        open[address] = conn
    end
    return conn
end

local calls = {}

function calls.read(key)
    local conn = at(reads == 'master' and master or own)
    local found = conn:eval('return box.space.kv:get(...)', {key}, {timeout = PATIENCE})
    return {value = found and found[2] or json.NULL}
end

function calls.write(key, value)
    at(master):eval('box.space.kv:replace{...}', {key, value}, {timeout = PATIENCE})
    return {}
end

function calls.cas(key, value)
    if at(master):call('compare', {key, value[1], value[2]}, {timeout = PATIENCE}) then
        return {}
    end
    return {type = 'fail', error = 'conflict: it had another value'}
end

function calls.append(key, value)
    at(master):call('append', {key, value}, {timeout = PATIENCE})
    return {}
end

local function perform(asked)
    local call = calls[asked.f]
    if call == nil then
        return {type = 'fail', code = 10, error = 'there is no ' .. asked.f}
    end
    local well, answer = pcall(call, asked.key, asked.value)
    if well then
        return answer
    end
    if type(answer) == 'table' and answer.refused then
        return {type = 'fail', error = 'refused: ' .. answer.refused}
    end
    local code = type(answer) == 'cdata' and answer.code or nil
    return {type = REFUSED[code] and 'fail' or 'info', error = 'unavailable: ' .. tostring(answer)}
end

for line in io.lines() do
    local asked = json.decode(line)
    local answer
    if asked.f == 'init' then
        master, own = asked.nodes.n1 .. ':' .. asked.port, asked.address .. ':' .. asked.port
        reads = asked.params.reads
        answer = {offers = {'read', 'write', 'cas', 'append'}}
    else
        answer = perform(asked)
    end
    answer.id, answer.type = asked.id, answer.type or 'ok'
    io.write(json.encode(answer), '\n')
    io.flush()
end
os.exit(0)
