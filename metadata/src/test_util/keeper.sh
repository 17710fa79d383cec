# Keeps the server of a test cluster until no test needs it, then stops it. Arguments: the folder of
# the cluster, the file with its lease, the server's process id file, the process id of the test runner.
exec 3>>"$1/keeper.lock" 4>>"$1/users.lock" 5>>"$2"
flock --nonblock 3 || exit 0
# Like every user of the cluster: the last user stops the server.
flock --shared 4
while :; do
    sleep 1
    [ -d "$1" ] || exit 0
    idle=$(($(date +%s) - $(stat --format %Y "$2")))
    if [ ! -d "/proc/$4" ] || [ "$idle" -gt 60 ]; then
        flock --nonblock 5 && break
    fi
done
# The lease is held, so no test takes the cluster before the server has exited; a test that finds
# this file waits for that.
touch "$1/stopping"
pid=$(head --lines 1 "$3") && kill -INT "$pid" && while kill -0 "$pid"; do sleep 0.1; done
