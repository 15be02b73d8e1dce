# shellcheck shell=bash disable=SC2034
# Where the cluster lives and what it is called: read by every other file, does nothing.

# shellcheck source=../versions.env
source "$CLUSTER_DIR/versions.env"

NAME=pitwall-e2e
NODE=node0
NODE_IP=10.66.0.1
SERVICE_CIDR=10.67.0.0/16
API_SERVICE_IP=10.67.0.1
POD_CIDR=10.68.0.0/16
CLUSTER_DOMAIN=cluster.local

# On the host, over 127.0.0.1. Both can be moved when something else has the port.
API_PORT=${PITWALL_E2E_API_PORT:-16443}
S3_HOST_PORT=${PITWALL_E2E_S3_PORT:-18333}
S3_PORT=8333

# Fixed and short: a socket's path must stay under 108 bytes, wherever the checkout is. One
# cluster a machine, for the same reason that there is one namespace of this name.
STATE=/var/lib/$NAME
RUNTIME=/run/$NAME
NETNS=/run/netns/$NAME
LOCK=/run/lock/$NAME.lock
LOGS=$STATE/logs
PKI=$STATE/pki
CONFIG=$STATE/config

# What users of the cluster read. It belongs to the checkout, the cluster does not.
RUN_DIR=$CLUSTER_DIR/.run
# The programs there are for people: a wrapper that this script writes must not find itself.
PATH=$(tr : '\n' <<<"$PATH" | grep -vxF "$RUN_DIR/bin" | paste -sd :)

CACHE=${PITWALL_CACHE:-$HOME/.cache/pitwall}

CONTAINERD_SOCKET=$RUNTIME/containerd.sock
IMAGE_DOMAIN=pitwall.local
PAUSE_IMAGE=$IMAGE_DOMAIN/pause:1
TOOLS_IMAGE=$IMAGE_DOMAIN/tools:1
S3_BUCKET=pitwall
S3_REGION=us-east-1
