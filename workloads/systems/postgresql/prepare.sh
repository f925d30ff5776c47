# Makes the primary's files, or copies them to a standby as soon as the primary serves.
set -e
bin=/usr/lib/postgresql/15/bin
if [ {index} = 1 ]; then
    "$bin/initdb" -D {data}/db -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync
    echo "host all all all trust" >> {data}/db/pg_hba.conf
    echo "host replication all all trust" >> {data}/db/pg_hba.conf
    exit
fi
tries=0
until "$bin/pg_basebackup" -D {data}/db -h {first} -p {port} -U postgres -R -X stream -c fast \
    -d "application_name={name}"; do
    tries=$((tries + 1))
    [ $tries -lt 60 ]
    rm -rf {data}/db
    sleep 0.5
done
