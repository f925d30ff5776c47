-- What a node says of itself. Usage: tarantool word.lua ready|role
local node = require('net.box').connect('{address}:{port}', {connect_timeout = 1})
if not node:ping({timeout = 1}) then
    os.exit(1)
end
if arg[1] == 'role' then
    local read_only = node:eval('return box.info.ro', {}, {timeout = 1})
    print(read_only and 'replica' or 'master')
    os.exit(0)
end
-- It has the space, and can be followed or follows.
local serves = [[
    if box.space.kv == nil or rawget(_G, 'append') == nil then return false end
    for _, peer in pairs(box.info.replication) do
        local stream = peer.upstream
        if stream ~= nil and stream.status == 'follow' then return true end
    end
    return false
]]
os.exit(node:eval(serves, {}, {timeout = 1}) and 0 or 1)
