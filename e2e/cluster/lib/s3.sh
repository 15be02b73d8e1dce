# shellcheck shell=bash
# SeaweedFS: a real S3 over TLS with a private CA, on the node's address, so that pods, the host
# (through lib/network.sh) and `run` reach it with the same credentials.

# As S3 does it, the tests' identity has no right beyond its bucket; above all not Admin, which
# SeaweedFS lets create a bucket by writing to it.
write_s3_config() {
  if [[ ! -s $CONFIG/s3.json ]]; then
    local admin_secret secret
    admin_secret=$(openssl rand -hex 20)
    secret=$(openssl rand -hex 20)
    (
      umask 077
      cat >"$CONFIG/s3.json.new" <<Y
{ "identities": [
  { "name": "admin", "credentials": [{ "accessKey": "e2e-admin", "secretKey": "$admin_secret" }],
    "actions": ["Admin", "Read", "Write", "List", "Tagging"] },
  { "name": "pitwall", "credentials": [{ "accessKey": "pitwall", "secretKey": "$secret" }],
    "actions": ["Read:$S3_BUCKET", "Write:$S3_BUCKET", "List:$S3_BUCKET", "Tagging:$S3_BUCKET"] } ] }
Y
      mv "$CONFIG/s3.json.new" "$CONFIG/s3.json"
    )
  fi
}

s3_secret() { sed -n "s/.*\"accessKey\": \"$1\", \"secretKey\": \"\([^\"]*\)\".*/\1/p" "$CONFIG/s3.json"; }

# s3_admin PATH CURL-OPTION...: prints the status.
s3_admin() {
  inside curl -s -o /dev/null -w '%{http_code}' --max-time 10 --cacert "$PKI/s3-ca.crt" \
    --aws-sigv4 "aws:amz:$S3_REGION:s3" --user "e2e-admin:$(s3_secret e2e-admin)" \
    "${@:2}" "https://$NODE_IP:$S3_PORT$1"
}

s3_bucket_is_there() { [[ $(s3_admin "/$S3_BUCKET" --head) == 200 ]]; }

s3_make_bucket() { s3_bucket_is_there || { s3_admin "/$S3_BUCKET" -X PUT && s3_bucket_is_there; }; }

# SeaweedFS is several servers in one process. All but S3 listen on the namespace's 127.0.0.1. It
# puts sockets of fixed names into /tmp and leaves them there, so it gets a /tmp of its own.
start_s3() {
  write_s3_config
  mkdir -p "$STATE/s3" "$RUNTIME/s3-tmp"
  # shellcheck disable=SC2016  # for the inner shell
  daemon s3 unshare --mount -- sh -c 'mount --bind "$0" /tmp && exec "$@"' "$RUNTIME/s3-tmp" "$WEED" -logtostderr=true server -dir="$STATE/s3" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
    -master.volumeSizeLimitMB=512 -volume.max=40 -filer \
    -s3 -s3.ip.bind="$NODE_IP" -s3.port="$S3_PORT" -s3.config="$CONFIG/s3.json" \
    -s3.cert.file="$PKI/s3.crt" -s3.key.file="$PKI/s3.key" -s3.port.iceberg=0 -s3.port.lance=0 -s3.autoCreateBucket=false
}

finish_s3() {
  ready s3 60 s3_make_bucket
}
