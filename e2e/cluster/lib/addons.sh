# shellcheck shell=bash
# Cluster DNS, metrics-server and the StorageClass. All run as plain processes on the node, as the
# cluster's admin: they have no pod, no image and no service account.

start_addons() {
  # Names outside of the cluster don't exist in here. Saying so at once is what the search path of
  # a pod needs; without the last block they would time out.
  cat >"$CONFIG/Corefile" <<Y
$CLUSTER_DOMAIN:53 in-addr.arpa:53 {
  bind $NODE_IP
  errors
  kubernetes $CLUSTER_DOMAIN in-addr.arpa {
    kubeconfig $CONFIG/admin.kubeconfig
    pods insecure
  }
  cache 5
}
.:53 {
  bind $NODE_IP
  health 127.0.0.1:8181
  template ANY ANY {
    rcode NXDOMAIN
  }
}
Y
  printf 'nameserver %s\nsearch svc.%s %s\noptions ndots:5\n' "$NODE_IP" "$CLUSTER_DOMAIN" "$CLUSTER_DOMAIN" >"$CONFIG/resolv.conf"
  daemon coredns "$KUBERNETES/coredns" -conf "$CONFIG/Corefile"
  ready coredns 30 inside curl -sf --max-time 5 http://127.0.0.1:8181/health

  # The kubelet's timeout has to be below the resolution, or metrics-server refuses to start.
  daemon metrics-server "$METRICS_SERVER" --kubeconfig="$CONFIG/admin.kubeconfig" \
    --authentication-kubeconfig="$CONFIG/admin.kubeconfig" --authorization-kubeconfig="$CONFIG/admin.kubeconfig" \
    --bind-address="$NODE_IP" --secure-port=10350 --tls-cert-file="$PKI/metrics-server.crt" --tls-private-key-file="$PKI/metrics-server.key" \
    --kubelet-certificate-authority="$PKI/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --requestheader-client-ca-file="$PKI/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy \
    --metric-resolution=10s --kubelet-request-timeout=5s
  daemon volumes "$KUBERNETES/volumes" "$CONFIG/admin.kubeconfig" standard "$NODE" "$STATE/volumes"
  ready volumes 10 daemon_pid volumes

  apply_addons
  ready metrics-server 60 inside curl -skf --max-time 5 "https://$NODE_IP:10350/livez"
}

# metrics-server has no pod that its Service could select, so its endpoint is written by hand.
apply_addons() {
  kubectl_admin --request-timeout=30s apply --server-side --force-conflicts -f - >"$LOGS/addons.txt" 2>&1 <<Y ||
apiVersion: v1
kind: Service
metadata: { name: metrics-server, namespace: kube-system }
spec: { ports: [{ port: 443, targetPort: 10350 }] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: metrics-server, namespace: kube-system, labels: { kubernetes.io/service-name: metrics-server } }
addressType: IPv4
ports: [{ port: 10350 }]
endpoints: [{ addresses: ["$NODE_IP"], conditions: { ready: true } }]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: { name: v1beta1.metrics.k8s.io }
spec:
  service: { name: metrics-server, namespace: kube-system }
  group: metrics.k8s.io
  version: v1beta1
  caBundle: $(base64 -w0 "$PKI/ca.crt")
  groupPriorityMinimum: 100
  versionPriority: 100
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: { name: standard, annotations: { storageclass.kubernetes.io/is-default-class: "true" } }
provisioner: pitwall.dev/folder
reclaimPolicy: Delete
volumeBindingMode: Immediate
Y
    fail "kubectl apply of the addons" "see whether the API server is well: $LOGS/kube-apiserver.log" "$LOGS/addons.txt"
  step "StorageClass standard, metrics API"
}

# Last of all, since it takes a while: kubelet has to be scraped twice.
await_metrics() {
  await 120 kubectl_admin --request-timeout=5s top nodes ||
    fail "waiting 120 s for kubectl top nodes" "look at the APIService: kubectl describe apiservice v1beta1.metrics.k8s.io" "$LOGS/metrics-server.log"
  step "kubectl top answers"
}
