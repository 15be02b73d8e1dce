# shellcheck shell=bash
# Taking everything away, whatever is left of the cluster. Everything is found by what marks it as
# ours: its cgroup, its network namespace, its folder.

kill_everything() {
  local pids killed=0 deadline=$((SECONDS + 30))
  while :; do
    pids=$({
      cgroup_processes
      # What a person runs in the namespace (`e2e/cluster/run`) would keep it alive.
      ip netns pids "$NAME" 2>/dev/null || true
    } | sort -un)
    [[ -n $pids ]] || break
    ((SECONDS < deadline)) || fail "killing the cluster's processes for 30 s" \
      "these remain, see what holds them (ps -o pid,stat,wchan,args): $(tr '\n' ' ' <<<"$pids")"
    ((killed)) || killed=$(wc -w <<<"$pids")
    # shellcheck disable=SC2086  # one word a pid
    kill -KILL $pids 2>/dev/null || true
    sleep 0.1
  done
  step "processes: $killed killed"
}

# shellcheck disable=SC2153  # STATE is set in settings.sh
our_mounts() {
  awk -v one="$STATE/" -v other="$RUNTIME/" \
    'index($5, one) == 1 || index($5, other) == 1 { print $5 }' /proc/self/mountinfo | sort -r
}

remove_mounts() {
  local mount count=0
  # mountinfo writes a space as \040; what is mounted here has none.
  while read -r mount; do
    umount "$mount" 2>/dev/null || umount -l "$mount" 2>/dev/null || true
    count=$((count + 1))
  done < <(our_mounts)
  [[ -z $(our_mounts) ]] || fail "unmounting what the cluster had mounted" "these are still mounted: $(our_mounts | tr '\n' ' ')"
  step "mounts: $count unmounted"
}

remove_network() {
  local state="was gone already"
  if [[ -e $NETNS ]]; then
    ip netns del "$NAME" 2>/dev/null || { umount -l "$NETNS" 2>/dev/null || true; rm -f "$NETNS"; }
    state="deleted, and every veth with it"
  fi
  [[ ! -e $NETNS ]] || fail "deleting the network namespace $NAME" "see who holds it: ip netns pids $NAME"
  step "network namespace: $state"
}

# The few places outside of our folders that containerd and kubelet write to and that no setting
# moves. A folder that something else uses too stays.
remove_strays() {
  local file
  for file in /var/log/containers/* /var/log/pods/*; do
    if [[ -L $file && $(readlink "$file") == "$STATE"/* ]]; then rm -f "$file"; fi
  done
  # The sockets of containerd's shims: those that nobody listens on any more.
  for file in /run/containerd/s/*; do
    if [[ -S $file ]] && ! grep -qF "$file" /proc/net/unix; then rm -f "$file"; fi
  done
  for file in "$STATE"/containerd/io.containerd.grpc.v1.cri/sandboxes/*; do
    rm -f /var/lib/cni/results/*-"${file##*/}"-*
  done
  # kubelet's socket for device plugins. Where another kubelet runs, it is that one's.
  grep -qF /var/lib/kubelet/device-plugins/kubelet.sock /proc/net/unix || rm -rf /var/lib/kubelet/device-plugins
  rmdir /var/log/containers /var/log/pods /run/containerd/s /run/containerd /var/lib/cni/results /var/lib/cni \
    /var/lib/kubelet 2>/dev/null || true
}

remove_folders() {
  local checkout
  if [[ -f $STATE/checkouts ]]; then
    while read -r checkout; do [[ $checkout != */.run ]] || rm -rf "$checkout"; done <"$STATE/checkouts"
  fi
  rm -rf "$RUN_DIR"
  remove_strays
  # One file system: should something be mounted in there after all, it is not what is emptied.
  rm -rf --one-file-system "$STATE" "$RUNTIME"
  step "folders: $STATE, $RUNTIME and .run removed"
}

take_down() {
  kill_everything
  remove_mounts
  remove_network
  await 20 remove_cgroups ||
    fail "removing the cgroups named $NAME" "see which processes are in them: find /sys/fs/cgroup -path '*/$NAME*' -name cgroup.procs -exec cat {} +"
  step "cgroups: removed"
  remove_folders
}
