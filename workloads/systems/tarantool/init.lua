-- One node. The first one makes the space and is the only one that takes writes.
local is_master = {index} == 1

box.cfg{
    listen = '{address}:{port}',
    work_dir = '{data}',
    read_only = not is_master,
    replication = { {list.replicas} },
    replication_timeout = 1,
    -- Who comes back does not wait for those who are cut off.
    replication_connect_timeout = 10,
    replication_connect_quorum = 1,
    replication_synchro_quorum = 2,
    replication_synchro_timeout = {param.synchro-timeout},
}

if is_master then
    box.once('schism', function()
        box.schema.user.grant('guest', 'read,write,execute,create', 'universe')
        local kv = box.schema.space.create('kv', {is_sync = '{param.synchronous}' == 'on'})
        kv:create_index('key', {parts = {1, 'string'}})
    end)
end

-- Called by clients. What is returned first: whether the condition held.
function compare(key, from, to)
    local found = box.space.kv:get(key)
    local before = found and found[2]
    if before ~= from then
        return false
    end
    box.space.kv:replace{key, to}
    return true
end

function append(key, element)
    local found = box.space.kv:get(key)
    local list = found and found[2] or {}
    table.insert(list, element)
    box.space.kv:replace{key, list}
end
