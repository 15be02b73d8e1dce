# shellcheck shell=bash
# containerd, kubelet and kube-proxy.

# Bounded, since ctr waits without end for a containerd that doesn't answer.
ctr_k8s() { timeout --kill-after=1 "${CTR_SECONDS:-120}" ctr --address "$CONTAINERD_SOCKET" --namespace k8s.io "$@"; }

write_node_config() {
  mkdir -p "$CONFIG/cni"
  # restrict_oom_score_adj: without the capability CAP_SYS_RESOURCE (a machine that is itself a
  # guest) no sandbox starts otherwise, and runc's message doesn't say why. netns_mounts...: a pod's
  # network namespace lies in our folder, where `down` finds it. The opt plugin would make
  # /opt/containerd.
  cat >"$CONFIG/containerd.toml" <<Y
version = 2
root = "$STATE/containerd"
state = "$RUNTIME/containerd"
[grpc]
  address = "$CONTAINERD_SOCKET"
[plugins."io.containerd.internal.v1.opt"]
  path = "$STATE/opt"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  sandbox_image = "$PAUSE_IMAGE"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$CONFIG/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "$RUNTIME/runc"
Y
  # ptp and not bridge: each pod has a route of its own, so the answers of a pod to its neighbour
  # pass the node's rules too (on a bridge they pass only with the kernel module br_netfilter, and
  # without it Services fail between pods).
  cat >"$CONFIG/cni/10-pods.conflist" <<Y
{ "cniVersion": "0.4.0", "name": "$NAME", "plugins": [
  { "type": "ptp", "ipMasq": false, "ipam": { "type": "host-local", "dataDir": "$STATE/cni",
    "ranges": [[{ "subnet": "$POD_CIDR" }]], "routes": [{ "dst": "0.0.0.0/0" }] } },
  { "type": "portmap", "capabilities": { "portMappings": true } } ] }
Y
  # cgroupRoot: see lib/cgroups.sh. No disk eviction and no collection of images: an image that was
  # loaded can't be pulled again. resolvConf empty: the pods' DNS is the cluster's alone.
  cat >"$CONFIG/kubelet.yaml" <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failSwapOn: false
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /$NAME
containerRuntimeEndpoint: unix://$CONTAINERD_SOCKET
authentication: { anonymous: { enabled: false }, webhook: { enabled: true }, x509: { clientCAFile: $PKI/ca.crt } }
authorization: { mode: Webhook }
tlsCertFile: $PKI/kubelet.crt
tlsPrivateKeyFile: $PKI/kubelet.key
clusterDNS: [$NODE_IP]
clusterDomain: $CLUSTER_DOMAIN
resolvConf: ""
podLogsDir: $STATE/pod-logs
volumePluginDir: $STATE/volume-plugins
evictionHard: { memory.available: 100Mi }
imageGCHighThresholdPercent: 100
localStorageCapacityIsolation: false
maxPods: 250
serializeImagePulls: false
eventRecordQPS: 0
kubeAPIQPS: 100
kubeAPIBurst: 200
syncFrequency: 10s
nodeStatusUpdateFrequency: 5s
Y
}

start_containerd() {
  write_node_config
  # The socket of one that was killed would take connections that nobody answers.
  daemon_pid containerd >/dev/null || rm -f "$CONTAINERD_SOCKET" "$CONTAINERD_SOCKET.ttrpc"
  daemon containerd containerd --config "$CONFIG/containerd.toml"
  CTR_SECONDS=5 ready containerd 60 ctr_k8s version
}

start_node() {
  daemon kubelet "$KUBERNETES/kubelet" --kubeconfig="$CONFIG/kubelet.kubeconfig" --config="$CONFIG/kubelet.yaml" \
    --root-dir="$STATE/kubelet" --cert-dir="$STATE/kubelet/pki" --hostname-override="$NODE" --node-ip="$NODE_IP"
  # nftables: what runs out of the box on a present kernel. The conntrack settings are the
  # machine's, which this program leaves alone (kube-proxy stops where it may not write them).
  daemon kube-proxy "$KUBERNETES/kube-proxy" --kubeconfig="$CONFIG/proxy.kubeconfig" --hostname-override="$NODE" \
    --proxy-mode=nftables --cluster-cidr="$POD_CIDR" --bind-address="$NODE_IP" --metrics-bind-address=127.0.0.1:10249 \
    --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0s --conntrack-tcp-timeout-close-wait=0s
  ready kube-proxy 60 inside curl -sf --max-time 5 http://127.0.0.1:10256/livez
  ready kubelet 60 inside curl -sf --max-time 5 http://127.0.0.1:10248/healthz
  await 90 node_is_ready || {
    kubectl_admin describe node "$NODE" | sed -n '/^Conditions/,/^Addresses/p' >"$LOGS/node.txt" 2>&1
    fail "waiting 90 s for the node to be Ready" "the message of its Ready condition says what kubelet misses; kubelet's log is $LOGS/kubelet.log" "$LOGS/node.txt"
  }
  step "node $NODE is Ready"
}

node_is_ready() {
  [[ $(kubectl_admin --request-timeout=5s get node "$NODE" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}') == True ]]
}
