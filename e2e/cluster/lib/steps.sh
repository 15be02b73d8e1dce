# shellcheck shell=bash
# How a command tells what it does, waits, and fails.

STARTED=$EPOCHREALTIME
STEP_STARTED=$EPOCHREALTIME

seconds_since() { awk -v now="$EPOCHREALTIME" -v then="$1" 'BEGIN { printf "%.1f", now - then }'; }

# The last line of a command.
finish() {
  STEP_STARTED=$STARTED
  step "in all: $*"
}

# One line a step, when it is done, with the seconds since the last one.
step() {
  printf '%7s s  %s\n' "$(seconds_since "$STEP_STARTED")" "$*"
  STEP_STARTED=$EPOCHREALTIME
}

# For steps long enough that silence would look like a hang.
begin() { printf '%7s    %s ...\n' '' "$*"; }

# fail WHAT-WAS-TRIED WHAT-TO-DO [FILE whose end says what was seen]
fail() {
  printf '\nfailed: %s\n' "$1" >&2
  if [[ -n ${3:-} && -s $3 ]]; then
    printf 'seen (the end of %s):\n' "$3" >&2
    tail -n 15 "$3" | cut -c1-400 | sed 's/^/    /' >&2
  elif [[ -n ${3:-} ]]; then
    printf 'seen: nothing was written to %s\n' "$3" >&2
  fi
  printf 'to do: %s\n' "$2" >&2
  exit 1
}

# await SECONDS COMMAND...: polls until the command succeeds; false when the time is over.
await() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}

need_root() {
  ((EUID == 0)) || fail "$(basename "$0") as $(id -un)" "run it as root: it makes a network namespace, mounts and cgroups"
}

# `up`, `down` and the builds exclude each other. The descriptor is closed for every daemon that is
# started (lib/daemons.sh), or it would hold the lock for ever.
take_lock() {
  mkdir -p "$(dirname "$LOCK")"
  while :; do
    exec 9>"$LOCK"
    if ! flock -n 9; then
      begin "waiting for another up or down to finish"
      flock -w 1200 9 || fail "waiting 20 minutes for the lock $LOCK" "see which process holds it: fuser -v $LOCK"
    fi
    # `down` removes the file as its last act: who has waited for it may hold one that is gone.
    [[ ! $LOCK -ef /proc/self/fd/9 ]] || break
  done
}
