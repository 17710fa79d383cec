# Keeps the server of a test cluster until no test needs it, then stops it. Arguments: the folder of
# the cluster, the file with its lease, the server's process id file, the process id of the test runner.
exec 3>>"$1/keeper.lock" 4>>"$1/users.lock" 5>>"$2"
# A process that forks at this moment has the lock of the test that starts this script, until it
# executes its program.
flock --timeout 5 3 || exit 0
# Like every user of the cluster: the last user stops the server.
flock --shared 4
data=$(readlink --canonicalize-existing "$(dirname "$3")") || exit 0
pid=
# A process that has exited has no working directory, and another process with its id has another.
runs() {
    case $(readlink "/proc/$pid/cwd") in
        "$data" | "$data (deleted)") ;;
        *) return 1 ;;
    esac
}
while :; do
    # The file may disappear with the folder.
    line=$(head --lines 1 "$3") && pid=${line:-$pid}
    sleep 1
    # Without its files the server is of no use.
    [ -d "$1" ] && used=$(stat --format %Y "$2") || break
    if [ ! -d "/proc/$4" ] || [ $(($(date +%s) - used)) -gt 60 ]; then
        # From here on the lease is held, so no test takes the cluster before the server has exited;
        # a test that finds this file waits for that.
        flock --nonblock 5 && { touch "$1/stopping"; break; }
    fi
done
runs && kill -INT "$pid" && while runs; do sleep 0.1; done
