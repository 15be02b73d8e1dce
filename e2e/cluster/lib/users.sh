# shellcheck shell=bash
# .run in the checkout: what people and tests read.

write_run_dir() {
  mkdir -p "$RUN_DIR/bin"
  # `down` removes it in every checkout that has one.
  touch "$STATE/checkouts"
  grep -qxF "$RUN_DIR" "$STATE/checkouts" || echo "$RUN_DIR" >>"$STATE/checkouts"
  write_kubeconfig "$RUN_DIR/kubeconfig" admin "https://127.0.0.1:$API_PORT"
  install -m 600 "$CONFIG/admin.kubeconfig" "$RUN_DIR/kubeconfig.inside"
  cp "$PKI/s3-ca.crt" "$RUN_DIR/s3-ca.pem"
  cat >"$RUN_DIR/s3.env" <<Y
S3_ENDPOINT=https://$NODE_IP:$S3_PORT
S3_ENDPOINT_ON_HOST=https://127.0.0.1:$S3_HOST_PORT
S3_REGION=$S3_REGION
S3_BUCKET=$S3_BUCKET
S3_ACCESS_KEY_ID=pitwall
S3_SECRET_ACCESS_KEY=$(s3_secret pitwall)
S3_CA_FILE=$RUN_DIR/s3-ca.pem
Y
  chmod 600 "$RUN_DIR/s3.env"
  ln -sfn "$LOGS" "$RUN_DIR/logs"
  ln -sf "$KUBERNETES/kubectl" "$RUN_DIR/bin/kubectl"
  ln -sf "$HELM" "$RUN_DIR/bin/helm"
  cat >"$RUN_DIR/bin/ctr" <<Y
#!/bin/sh
exec $(command -v ctr) --address $CONTAINERD_SOCKET --namespace k8s.io "\$@"
Y
  chmod 755 "$RUN_DIR/bin/ctr"
}
