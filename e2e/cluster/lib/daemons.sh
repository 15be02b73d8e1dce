# shellcheck shell=bash
# Starting the cluster's programs, and knowing which of them run.

# Names, each between spaces, for what `ready` prints.
NEWLY_STARTED=

daemon_pid() {
  local pid
  pid=$(cat "$RUNTIME/$1.pid" 2>/dev/null) || return 1
  # A pid may be another process by now, after a crash or a reboot: ours are in our cgroup.
  grep -qx "$pid" "$(daemons_cgroup)/cgroup.procs" 2>/dev/null && echo "$pid"
}

# What a daemon was started with: its arguments and the files of configuration that these name.
daemon_stamp() {
  {
    printf '%s\n' "$@"
    local argument
    for argument in "$@"; do
      argument=${argument#*=}
      if [[ $argument == "$CONFIG"/* && -f $argument ]]; then cat "$argument"; fi
    done
  } | sha256sum
}

# daemon NAME COMMAND...: runs it in the cluster's network namespace, unless it runs already with
# these same arguments.
daemon() { start_daemon "$1" "nsenter --net=$NETNS --" "${@:2}"; }

# The one that begins on the host (lib/network.sh).
host_daemon() { start_daemon "$1" "" "${@:2}"; }

start_daemon() {
  local name=$1 enter=$2 stamp pid
  shift 2
  stamp=$(daemon_stamp "$@")
  if pid=$(daemon_pid "$name"); then
    [[ $stamp == "$(cat "$RUNTIME/$name.stamp" 2>/dev/null)" ]] && return
    stop_daemon "$name" "$pid"
  fi
  [[ ! -f $LOGS/$name.log ]] || mv "$LOGS/$name.log" "$LOGS/$name.log.1"
  (
    echo "$BASHPID" >"$(daemons_cgroup)/cgroup.procs"
    exec 9>&- </dev/null >"$LOGS/$name.log" 2>&1
    cd /
    # A clean environment: what a person has set (proxies, GO*, KUBECONFIG) must not decide how a
    # cluster behaves. setsid: closing the terminal must not end it.
    # shellcheck disable=SC2086  # $enter is a command of several words, or none
    exec setsid env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin $enter "$@"
  ) &
  # Again from here: what asks for the daemon next must find it in its cgroup already.
  echo $! >"$(daemons_cgroup)/cgroup.procs" 2>/dev/null || true
  echo $! >"$RUNTIME/$name.pid"
  echo "$stamp" >"$RUNTIME/$name.stamp"
  NEWLY_STARTED+=" $name "
}

stop_daemon() {
  kill "$2" 2>/dev/null || true
  await 20 daemon_is_gone "$1" || kill -KILL "$2" 2>/dev/null || true
  await 5 daemon_is_gone "$1" || fail "stopping $1 (pid $2)" "run e2e/cluster/down, then up" "$LOGS/$1.log"
}

daemon_is_gone() { ! daemon_pid "$1" >/dev/null; }

# ready NAME SECONDS COMMAND...: waits until the command succeeds. A daemon that has ended is told
# at once, not when the time is over.
ready() {
  local name=$1 limit=$2 state
  shift 2
  if ! await "$limit" answers_or_ended "$name" "$@" || daemon_is_gone "$name"; then
    state="has ended"
    daemon_is_gone "$name" || state="runs, but isn't ready after $limit s ($*)"
    fail "starting $name: it $state" "read all of $LOGS/$name.log; e2e/cluster/down and up begin afresh" "$LOGS/$name.log"
  fi
  if [[ $NEWLY_STARTED == *" $name "* ]]; then step "$name started"; else step "$name was running"; fi
}

answers_or_ended() {
  local name=$1
  shift
  "$@" || daemon_is_gone "$name"
}
