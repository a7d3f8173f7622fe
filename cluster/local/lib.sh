# What the scripts of the local cluster share: messages, the cluster's settings, and finding its processes.
#
# A process counts as ours only if its command line names a file below the cluster's own folder. Pid files are
# written for people to read; nothing is ever killed because of a number in a file, since pids are reused.

# shellcheck shell=bash disable=SC2034,SC2119,SC2120 # used by the scripts that source this file; all arguments optional
set -euo pipefail

REPOSITORY=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
readonly REPOSITORY
readonly USAGE_EXIT=64
readonly STOP_SECONDS=15
readonly DEFAULT_DIRECTORY=$REPOSITORY/.local-cluster

say() { printf '%s\n' "$*"; }
step() { printf '==> %s\n' "$*"; }
warn() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

fail() {
    warn "$*"
    exit 1
}

usage_error() {
    warn "$*"
    warn "see: $0 --help"
    exit "$USAGE_EXIT"
}

# The value of an option: option_value "$@" where $1 is the option and $2 its value.
option_value() {
    if [[ $# -lt 2 || -z $2 ]]; then usage_error "$1 needs a value"; fi
    printf '%s' "$2"
}

# Sets DIR to the absolute path of the cluster's folder.
use_directory() {
    DIR=$(realpath -m -- "${1:-$DEFAULT_DIRECTORY}")
    if [[ $DIR == *[[:space:]\'\"\\#]* ]]; then
        usage_error "the cluster's folder must not contain spaces, quotes, backslashes or #: $DIR"
    fi
}

# Node names: 1, n1 and node-1 mean the same node. Sets NODE to the number; needs the settings.
use_node() {
    local number=${1#node-}
    number=${number#n}
    if [[ ! $number =~ ^[1-9][0-9]?$ ]]; then usage_error "not a node: '$1' (say 1, n1 or node-1)"; fi
    if ((number > NODES)); then usage_error "no node $number: this cluster has nodes 1 to $NODES"; fi
    NODE=$number
}

# Sets ENDPOINT; needs the settings.
use_endpoint() {
    local name
    for name in "${ENDPOINTS[@]}"; do
        if [[ $name == "$1" ]]; then
            ENDPOINT=$1
            return
        fi
    done
    usage_error "no endpoint '$1': this cluster has ${ENDPOINTS[*]}"
}

# The settings that `up` chose when it made the cluster: BASE_PORT, NODES, ENDPOINTS and BIN.
save_settings() {
    local joined
    joined=$(IFS=,; printf '%s' "${ENDPOINTS[*]}")
    printf '%s\n' "base_port=$BASE_PORT" "nodes=$NODES" "endpoints=$joined" "bin=$BIN" >"$DIR/settings.new"
    mv -- "$DIR/settings.new" "$DIR/settings"
}

have_settings() { [[ -f $DIR/settings ]]; }

load_settings() {
    local key value
    if ! have_settings; then
        fail "there is no cluster in $DIR; cluster/local/up --dir $DIR makes one"
    fi
    BASE_PORT='' NODES='' BIN='' ENDPOINTS=()
    while IFS='=' read -r key value; do
        case $key in
            base_port) BASE_PORT=$value ;;
            nodes) NODES=$value ;;
            endpoints) IFS=, read -r -a ENDPOINTS <<<"$value" ;;
            bin) BIN=$value ;;
            *) fail "$DIR/settings: unknown line '$key'" ;;
        esac
    done <"$DIR/settings"
    if [[ ! $BASE_PORT =~ ^[0-9]+$ || ! $NODES =~ ^[1-9]$ || ${#ENDPOINTS[@]} -eq 0 ]]; then
        fail "$DIR/settings is damaged; cluster/local/down --wipe --dir $DIR removes this cluster"
    fi
    BIN=${HSMCLUSTER_BIN:-$BIN}
}

peers_port() { printf '%s' "$((BASE_PORT + $1))"; }
api_port() { printf '%s' "$((BASE_PORT + 100 + $1))"; }
node_configuration() { printf '%s' "$DIR/node-$1/node.yaml"; }

# Reads the arguments of process $1 into ARGUMENTS; fails when it is gone or a zombie (no command line left).
read_arguments() {
    ARGUMENTS=()
    { mapfile -d '' -t ARGUMENTS <"/proc/$1/cmdline"; } 2>/dev/null || return 1
    [[ ${#ARGUMENTS[@]} -gt 0 ]]
}

# Prints the pids of the processes of program $1 that have an argument matching the extended regular
# expression $2 after "$DIR/node-" (a '/./' inside the argument counts as '/').
pids_of() {
    local program=$1 expression=$2 path argument
    for path in /proc/[0-9]*; do
        read_arguments "${path#/proc/}" || continue
        [[ ${ARGUMENTS[0]##*/} == "$program" ]] || continue
        for argument in "${ARGUMENTS[@]:1}"; do
            argument=${argument#*=}
            argument=${argument//\/.\//\/}
            if [[ $argument == "$DIR/node-"* && ${argument#"$DIR/node-"} =~ ^${expression}$ ]]; then
                printf '%s\n' "${path#/proc/}"
                break
            fi
        done
    done
}

# $1: a node's number, or nothing for all nodes.
node_pids() { pids_of hsmclusterd "${1:-[0-9]+}/node\\.yaml"; }

# $1: an endpoint's name, or '' for all; $2: a node's number, or nothing for all nodes.
token_host_pids() {
    pids_of hsmtokend "${2:-[0-9]+}/endpoints/${1:-[a-z0-9-]+}/configuration\\.cbor"
}

all_pids() {
    node_pids
    token_host_pids ''
}

# Sends signal $1 to the processes that the rest of the arguments, a command, prints. Sets SIGNALLED to how many.
signal() {
    local name=$1 pid
    local -a pids
    shift
    SIGNALLED=0
    mapfile -t pids < <("$@")
    for pid in "${pids[@]}"; do
        if kill -s "$name" -- "$pid" 2>/dev/null; then
            SIGNALLED=$((SIGNALLED + 1))
        elif [[ -d /proc/$pid ]] && read_arguments "$pid"; then
            fail "may not signal process $pid (it runs as another user)"
        fi
    done
}

# Kills with SIGKILL until the command prints no pid twice in a row: a node may have started a replacement
# meanwhile, and a process that is just starting has no command line yet. Sets KILLED to how many there were.
kill_all() {
    local round quiet=0
    KILLED=0
    for ((round = 0; round < 50; round++)); do
        signal KILL "$@"
        KILLED=$((KILLED + SIGNALLED))
        quiet=$((SIGNALLED == 0 ? quiet + 1 : 0))
        if ((quiet == 2)); then return; fi
        sleep 0.05
    done
    fail "processes keep coming back: $("$@" | tr '\n' ' ')"
}

# Waits until the command prints no pid, at most $1 seconds.
wait_until_gone() {
    local deadline=$((SECONDS + $1))
    shift
    while [[ -n $("$@") ]]; do
        if ((SECONDS >= deadline)); then return 1; fi
        sleep 0.1
    done
}

# The running state of process $1 in words.
process_state() {
    local line
    { line=$(<"/proc/$1/stat"); } 2>/dev/null || { printf 'gone'; return; }
    line=${line##*) }
    case ${line%% *} in
        T | t) printf 'frozen' ;;
        Z | X) printf 'dead' ;;
        *) printf 'running' ;;
    esac
}

# Who listens on TCP port $1; nothing when it is free.
port_owner() {
    local line
    line=$(ss -Hltnp "sport = :$1" | head -n 1)
    if [[ -z $line ]]; then return; fi
    if [[ $line =~ users:\(\(\"([^\"]*)\",pid=([0-9]+) ]]; then
        printf '%s (process %s)' "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
        # Most likely a node of another local cluster; its configuration file says which.
        if read_arguments "${BASH_REMATCH[2]}" && [[ ${ARGUMENTS[0]##*/} == hsmclusterd ]]; then
            printf ', the node of %s' "${ARGUMENTS[-1]}"
        fi
    else
        printf 'a process of another user'
    fi
}

check_ports_free() {
    local port owner
    for port in "$@"; do
        owner=$(port_owner "$port")
        if [[ -n $owner ]]; then
            fail "port $port is taken by $owner; stop it, or choose other ports with --base-port"
        fi
    done
}

# Runs the hsmcluster command against this cluster, bounded in time.
cluster_command() {
    HSMCLUSTER_CONFIG=$DIR/client/client.yaml timeout 60 "$BIN/hsmcluster" "$@"
}

check_programs() {
    local program
    for program in hsmclusterd hsmtokend hsmcluster; do
        if [[ ! -x $BIN/$program ]]; then
            fail "no program $program in '$BIN'; cluster/local/up --dir $DIR builds it, --bin names another folder"
        fi
    done
}

# The last lines of a node's log, for error messages.
show_log() {
    local file=$DIR/node-$1/log
    if [[ -s $file ]]; then
        warn "the last lines of $file:"
        tail -n "${2:-15}" -- "$file" | sed 's/^/    /' >&2
    else
        warn "$file is empty"
    fi
}

# Closes what the caller left open besides the standard three: a node that held a pipe or a lock of somebody
# else would make them wait for it.
close_descriptors() {
    local path
    for path in "/proc/$BASHPID/fd/"*; do
        if ((${path##*/} > 2)); then eval "exec ${path##*/}>&-"; fi
    done
}

# Starts node $1 and waits until it listens. The node gets a session of its own, so that a Ctrl-C on the
# script's terminal does not reach it, and none of the script's descriptors.
start_node() {
    local number=$1 pid deadline
    check_ports_free "$(peers_port "$number")" "$(api_port "$number")"
    (
        cd -- "$DIR"
        close_descriptors
        PATH=$BIN:$PATH exec setsid -- "$BIN/hsmclusterd" --config "$(node_configuration "$number")" \
            </dev/null >>"$DIR/node-$number/log" 2>&1
    ) &
    pid=$!
    printf '%s\n' "$pid" >"$DIR/node-$number/pid"
    disown "$pid"
    deadline=$((SECONDS + 20))
    until [[ -n $(ss -Hltn "sport = :$(api_port "$number")") ]]; do
        # Not by its command line, which is empty for a moment while a program starts.
        if [[ $(process_state "$pid") == @(gone|dead) ]]; then
            show_log "$number"
            fail "node $number stopped while starting"
        fi
        if ((SECONDS >= deadline)); then
            show_log "$number"
            fail "node $number does not listen on port $(api_port "$number") after 20 seconds"
        fi
        sleep 0.1
    done
}

# Stops nodes and their token hosts: politely first, then with SIGKILL. A frozen process can't hear the polite
# request before it is thawed. $1: a node's number, or nothing for all.
stop_nodes() {
    signal TERM node_pids "${1:-}"
    signal CONT node_pids "${1:-}"
    signal CONT token_host_pids '' "${1:-}"
    if ! wait_until_gone "$STOP_SECONDS" node_pids "${1:-}"; then
        warn "some nodes did not stop within $STOP_SECONDS seconds; killing them"
        kill_all node_pids "${1:-}"
    fi
    # Token hosts may outlive their node (a restarted node finds them again); here they must not.
    signal TERM token_host_pids '' "${1:-}"
    if ! wait_until_gone "$STOP_SECONDS" token_host_pids '' "${1:-}"; then
        kill_all token_host_pids '' "${1:-}"
    fi
}
