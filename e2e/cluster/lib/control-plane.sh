# shellcheck shell=bash
# etcd and the three programs of the control plane. Each listens inside the network namespace only.

kubectl_admin() { inside "$KUBERNETES/kubectl" --kubeconfig "$CONFIG/admin.kubeconfig" "$@"; }

start_control_plane() {
  # No fsync: this cluster is thrown away, and a machine that crashes takes it along anyway.
  daemon etcd "$KUBERNETES/etcd" --data-dir "$STATE/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380
  ready etcd 30 inside curl -sf --max-time 5 http://127.0.0.1:2379/readyz

  local issuer=https://kubernetes.default.svc.$CLUSTER_DOMAIN
  # Authorization and admission as in an ordinary cluster. Aggregator routing: webhooks and
  # metrics-server are called at their endpoints, not through kube-proxy. The issuer's key set is
  # named by the issuer's own address, which pods resolve (the default is the node's).
  daemon kube-apiserver "$KUBERNETES/kube-apiserver" \
    --etcd-servers=http://127.0.0.1:2379 --etcd-prefix=/registry \
    --advertise-address="$NODE_IP" --bind-address=0.0.0.0 --secure-port=6443 \
    --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" --client-ca-file="$PKI/ca.crt" \
    --service-account-issuer="$issuer" --service-account-jwks-uri="$issuer/openid/v1/jwks" \
    --service-account-key-file="$PKI/service-account.key" --service-account-signing-key-file="$PKI/service-account.key" \
    --service-cluster-ip-range="$SERVICE_CIDR" --allow-privileged=true \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --kubelet-client-certificate="$PKI/apiserver-kubelet-client.crt" --kubelet-client-key="$PKI/apiserver-kubelet-client.key" \
    --kubelet-certificate-authority="$PKI/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --requestheader-client-ca-file="$PKI/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --proxy-client-cert-file="$PKI/front-proxy.crt" --proxy-client-key-file="$PKI/front-proxy.key" \
    --enable-aggregator-routing=true --profiling=false
  ready kube-apiserver 90 inside curl -sf --max-time 5 --cacert "$PKI/ca.crt" "https://$NODE_IP:6443/readyz"

  # HPA's clocks are short so that a test sees one act: a look each 5 s, and no wait of 5 minutes
  # before a young pod's CPU counts.
  daemon kube-controller-manager "$KUBERNETES/kube-controller-manager" \
    --kubeconfig="$CONFIG/controller-manager.kubeconfig" --leader-elect=false --bind-address=127.0.0.1 \
    --authentication-kubeconfig="$CONFIG/controller-manager.kubeconfig" --authorization-kubeconfig="$CONFIG/controller-manager.kubeconfig" \
    --use-service-account-credentials --service-account-private-key-file="$PKI/service-account.key" --root-ca-file="$PKI/ca.crt" \
    --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key" \
    --horizontal-pod-autoscaler-sync-period=5s --horizontal-pod-autoscaler-cpu-initialization-period=10s \
    --horizontal-pod-autoscaler-initial-readiness-delay=5s
  ready kube-controller-manager 60 inside curl -skf --max-time 5 https://127.0.0.1:10257/healthz

  daemon kube-scheduler "$KUBERNETES/kube-scheduler" \
    --kubeconfig="$CONFIG/scheduler.kubeconfig" --leader-elect=false --bind-address=127.0.0.1 \
    --authentication-kubeconfig="$CONFIG/scheduler.kubeconfig" --authorization-kubeconfig="$CONFIG/scheduler.kubeconfig"
  ready kube-scheduler 60 inside curl -skf --max-time 5 https://127.0.0.1:10259/healthz
}
