# shellcheck shell=bash
# Images without a registry and without a builder: an OCI archive is a few JSON files and a tar of
# each layer, so they are written here, and containerd imports them.

sha256_of() { sha256sum "$1" | cut -d' ' -f1; }

# pack_layer FOLDER FILE [TAR-OPTION...]: everything in it, readable for every uid, owned by root. Two
# packings of the same content are the same bytes, so an image that didn't change costs nothing.
pack_layer() {
  tar --create --file "$2" --directory "$1" --sort=name --owner=0 --group=0 --numeric-owner \
    --mtime=@0 --mode=a+rX "${@:3}" .
}

# json_strings ARGUMENT...: a JSON list of strings.
json_strings() {
  local separator='' text
  printf '['
  for text in "$@"; do
    text=${text//\\/\\\\}
    printf '%s"%s"' "$separator" "${text//\"/\\\"}"
    separator=,
  done
  printf ']'
}

# import_image TAG CONFIG LAYER...: CONFIG is the JSON of the image's settings ("config"). A LAYER is
# a tar, or `sha256:DIGEST:SIZE` of one that containerd has already (it is then kept for the image
# that brought it), which spares a node image from being copied at every change of a script.
import_image() {
  local tag=$1 config=$2 folder blobs layer digest size layers='' diffs='' separator=''
  shift 2
  folder=$(mktemp -d "$STATE/image.XXXXXX")
  blobs=$folder/blobs/sha256
  mkdir -p "$blobs"
  for layer in "$@"; do
    if [[ $layer == sha256:* ]]; then
      IFS=: read -r _ digest size <<<"$layer"
    else
      digest=$(sha256_of "$layer")
      size=$(stat -c %s "$layer")
      ln "$layer" "$blobs/$digest" 2>/dev/null || cp "$layer" "$blobs/$digest"
    fi
    # An uncompressed layer's digest is its diff id too.
    layers+="$separator{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"sha256:$digest\",\"size\":$size}"
    diffs+="$separator\"sha256:$digest\""
    separator=,
  done
  printf '{"architecture":"amd64","os":"linux","config":%s,"rootfs":{"type":"layers","diff_ids":[%s]}}' \
    "$config" "$diffs" >"$folder/config"
  add_blob "$folder/config" "$blobs"
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[%s]}' \
    "$BLOB_DIGEST" "$BLOB_SIZE" "$layers" >"$folder/manifest"
  add_blob "$folder/manifest" "$blobs"
  printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"platform":{"architecture":"amd64","os":"linux"},"annotations":{"io.containerd.image.name":"%s"}}]}' \
    "$BLOB_DIGEST" "$BLOB_SIZE" "$tag" >"$folder/index.json"
  printf '{"imageLayoutVersion":"1.0.0"}' >"$folder/oci-layout"
  if ! tar --create --directory "$folder" oci-layout index.json blobs | ctr_k8s images import - >"$folder/log" 2>&1; then
    cp "$folder/log" "$LOGS/import.txt"
    rm -rf "$folder"
    fail "importing the image $tag into containerd" "is the cluster up? e2e/cluster/up brings it up or mends it" "$LOGS/import.txt"
  fi
  rm -rf "$folder"
  # containerd's Kubernetes side learns of an import by an event, a moment later; a pod that came
  # before that would find no image, or the one that had this name. When it has handled an event it
  # puts a label on the image. Taking the label off makes another event, and events are handled one
  # by one: when the label is back, the import was seen.
  if ! { await 20 image_is "$tag" io.cri-containerd.image=managed &&
    ctr_k8s images label "$tag" io.cri-containerd.image= >/dev/null &&
    await 20 image_is "$tag" io.cri-containerd.image=managed; }; then
    fail "waiting for Kubernetes to know the image $tag" "read the log of containerd" "$LOGS/containerd.log"
  fi
}

add_blob() {
  BLOB_DIGEST=$(sha256_of "$1")
  BLOB_SIZE=$(stat -c %s "$1")
  mv "$1" "$2/$BLOB_DIGEST"
}

check_tag() {
  [[ $1 =~ ^pitwall\.local/[a-z0-9._/-]+:[A-Za-z0-9._-]+$ ]] ||
    fail "using $1 as an image's name" "name it $IMAGE_DOMAIN/NAME:TAG: no registry has that name, so nothing can be pulled by mistake"
}

need_cluster() {
  if [[ ! -S $CONTAINERD_SOCKET ]] || ! CTR_SECONDS=60 ctr_k8s version >/dev/null 2>&1; then
    fail "talking to the cluster's containerd at $CONTAINERD_SOCKET" "bring the cluster up first: e2e/cluster/up"
  fi
}

# image_is TAG LABEL=VALUE: whether containerd has the image with that label.
image_is() { [[ $(ctr_k8s images ls "name==$1" 2>/dev/null) == *"$2"* ]]; }

# What an image was made from is remembered on it, so that it isn't made twice.
remember_image() { ctr_k8s images label "$1" "pitwall.made-from=$2" >/dev/null; }

# copy_libraries FOLDER PROGRAM: what the dynamic linker would load for it, at the same paths.
copy_libraries() {
  local library
  while read -r library; do
    install -D -m 755 "$library" "$1$library"
  done < <(ldd "$2" 2>/dev/null | grep -o '/[^ ]*')
}

# A folder with what programs expect of any system: users, a hosts order for glibc, /tmp, and a
# shell, as the images have that people run Node from.
make_base() {
  mkdir -p "$1"/{bin,etc,tmp,app,root,home/node,usr/bin,usr/local/bin,var/tmp}
  chmod 1777 "$1/tmp" "$1/var/tmp"
  printf 'root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000:node:/home/node:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' >"$1/etc/passwd"
  printf 'root:x:0:\nnode:x:1000:\nnogroup:x:65534:\n' >"$1/etc/group"
  echo 'hosts: files dns' >"$1/etc/nsswitch.conf"
  install -m 755 /bin/busybox "$1/bin/busybox"
  local applet
  for applet in $(/bin/busybox --list); do
    [[ $applet == busybox ]] || ln -s busybox "$1/bin/$applet"
  done
}

# A digest that changes when the layers that are made here would.
what_base_is_made_of() {
  { cat /bin/busybox && declare -f pack_layer make_base copy_libraries; } | sha256sum | cut -d' ' -f1
}

# The images that `up` loads: pause, and the tools, with processes that aren't Node: busybox and a
# real python3 with its standard library.
load_own_images() {
  local folder made_from
  made_from=$(sha256_of "$KUBERNETES/pause")
  if ! image_is "$PAUSE_IMAGE" "pitwall.made-from=$made_from"; then
    folder=$(mktemp -d "$STATE/image.XXXXXX")
    install -D -m 755 "$KUBERNETES/pause" "$folder/root/pause"
    pack_layer "$folder/root" "$folder/layer"
    import_image "$PAUSE_IMAGE" '{"User":"65535:65535","Entrypoint":["/pause"]}' "$folder/layer"
    remember_image "$PAUSE_IMAGE" "$made_from"
    rm -rf "$folder"
  fi
  made_from=$({ what_base_is_made_of && cat /usr/bin/python3 && declare -f make_tools_layer; } | sha256sum | cut -d' ' -f1)
  if ! image_is "$TOOLS_IMAGE" "pitwall.made-from=$made_from"; then
    make_tools_layer "$made_from"
    import_image "$TOOLS_IMAGE" '{"User":"1000:1000","WorkingDir":"/","Env":["PATH=/usr/local/bin:/usr/bin:/bin"],"Cmd":["sleep","infinity"]}' "$TOOLS_LAYER"
    remember_image "$TOOLS_IMAGE" "$made_from"
  fi
  step "images $PAUSE_IMAGE, $TOOLS_IMAGE"
}

make_tools_layer() {
  local folder python module
  TOOLS_LAYER=$CACHE/tools-${1:0:12}.tar
  [[ ! -s $TOOLS_LAYER ]] || return 0
  rm -f "$CACHE"/tools-*.tar
  folder=$(mktemp -d "$STATE/image.XXXXXX")
  make_base "$folder"
  python=$(readlink -f /usr/bin/python3)
  install -m 755 "$python" "$folder$python"
  ln -s "$(basename "$python")" "$folder/usr/bin/python3"
  copy_libraries "$folder" "$python"
  mkdir -p "$folder/usr/lib"
  tar --create --directory /usr/lib --exclude=__pycache__ --exclude=test --exclude=dist-packages --exclude='config-*' \
    "$(basename "$python")" | tar --extract --directory "$folder/usr/lib"
  for module in "$folder/usr/lib/$(basename "$python")"/lib-dynload/*.so; do copy_libraries "$folder" "$module"; done
  pack_layer "$folder" "$TOOLS_LAYER.new"
  mv "$TOOLS_LAYER.new" "$TOOLS_LAYER"
  rm -rf "$folder"
}
