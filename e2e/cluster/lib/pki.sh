# shellcheck shell=bash
# Certificates and kubeconfigs, made once and kept as long as the cluster. Keys on P-256: making
# twelve of them takes a quarter of a second.

make_ca() { # NAME
  [[ ! -s $PKI/$1.crt ]] || return 0
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj "/CN=pitwall-e2e-$1" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
    -keyout "$PKI/$1.key" -out "$PKI/$1.crt" 2>/dev/null
}

make_certificate() { # CA NAME SUBJECT ALTERNATIVE-NAMES
  [[ ! -s $PKI/$2.crt ]] || return 0
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "$3" \
    -keyout "$PKI/$2.key" -out "$PKI/$2.csr" 2>/dev/null
  openssl x509 -req -in "$PKI/$2.csr" -CA "$PKI/$1.crt" -CAkey "$PKI/$1.key" -days 365 \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$4") \
    -out "$PKI/$2.crt.new" 2>/dev/null
  rm "$PKI/$2.csr"
  # Last, so that a certificate which is there is whole.
  mv "$PKI/$2.crt.new" "$PKI/$2.crt"
}

# With everything embedded, so that it can be copied anywhere.
write_kubeconfig() { # FILE CERTIFICATE SERVER
  (
    umask 077
    cat >"$1" <<Y
apiVersion: v1
kind: Config
current-context: $NAME
clusters:
  - name: $NAME
    cluster: { server: "$3", certificate-authority-data: $(base64 -w0 "$PKI/ca.crt") }
users:
  - name: $2
    user: { client-certificate-data: $(base64 -w0 "$PKI/$2.crt"), client-key-data: $(base64 -w0 "$PKI/$2.key") }
contexts:
  - name: $NAME
    context: { cluster: $NAME, user: $2 }
Y
  )
}

make_pki() {
  mkdir -p "$PKI"
  chmod 700 "$PKI"
  local api="https://$NODE_IP:6443"
  make_ca ca
  make_ca front-proxy-ca
  make_ca s3-ca
  make_certificate ca apiserver /CN=kube-apiserver \
    "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.$CLUSTER_DOMAIN,DNS:localhost,IP:127.0.0.1,IP:$NODE_IP,IP:$API_SERVICE_IP"
  make_certificate ca apiserver-kubelet-client /O=system:masters/CN=kube-apiserver DNS:kube-apiserver
  make_certificate front-proxy-ca front-proxy /CN=front-proxy DNS:front-proxy
  make_certificate ca admin /O=system:masters/CN=admin DNS:admin
  make_certificate ca controller-manager /CN=system:kube-controller-manager DNS:controller-manager
  make_certificate ca scheduler /CN=system:kube-scheduler DNS:scheduler
  make_certificate ca proxy /CN=system:kube-proxy DNS:proxy
  make_certificate ca kubelet "/O=system:nodes/CN=system:node:$NODE" "DNS:$NODE,IP:$NODE_IP"
  make_certificate ca metrics-server /CN=metrics-server DNS:metrics-server.kube-system.svc
  make_certificate s3-ca s3 /CN=s3 "DNS:localhost,IP:127.0.0.1,IP:$NODE_IP"
  # RSA, since OIDC libraries are sure to read an RS256 key.
  [[ -s $PKI/service-account.key ]] || openssl genrsa -out "$PKI/service-account.key" 2048 2>/dev/null
  local user
  for user in admin controller-manager scheduler proxy kubelet; do
    write_kubeconfig "$CONFIG/$user.kubeconfig" "$user" "$api"
  done
  step "certificates of the cluster and of S3"
}
