# shellcheck shell=bash
# A network namespace of its own: nothing of the host's network changes, nothing can leave, and one
# `ip netns del` takes it all away. It is entered with nsenter, never with `ip netns exec`: that
# mounts /sys anew and hides the cgroups from kubelet.

inside() { nsenter --net="$NETNS" -- "$@"; }

make_network() {
  local made=was
  if ! inside true 2>/dev/null; then
    # A file without a namespace behind it is what a reboot leaves on a /run that is on disk.
    ip netns del "$NAME" 2>/dev/null || true
    ip netns add "$NAME"
    made=is
  fi
  inside ip link set lo up
  if ! inside ip link show node0 >/dev/null 2>&1; then
    # A veth pair stands in for a network card: not every kernel has the dummy device. Both ends
    # stay in here. The default route is there because programs look for it to learn the node's
    # address; nothing answers behind it.
    inside ip link add node0 type veth peer name node0-peer
    inside ip link set node0-peer up
    inside ip addr add "$NODE_IP/24" dev node0
    inside ip link set node0 up
    inside ip route add default dev node0
  fi
  inside sysctl -qw net.ipv4.ip_forward=1
  step "network namespace $NAME $made made: node $NODE_IP, pods $POD_CIDR, services $SERVICE_CIDR"
}

# The API server and S3 on the host's 127.0.0.1.
start_loopback() {
  host_daemon loopback "$KUBERNETES/loopback" "$NETNS" \
    "127.0.0.1:$API_PORT=$NODE_IP:6443" "127.0.0.1:$S3_HOST_PORT=$NODE_IP:$S3_PORT"
  ready loopback 20 curl -sf --max-time 5 --cacert "$PKI/ca.crt" "https://127.0.0.1:$API_PORT/readyz"
}
