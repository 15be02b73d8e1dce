# shellcheck shell=bash
# Every process of the cluster is in a cgroup of its name: the daemons (and so containerd's shims)
# in NAME/daemons of one hierarchy, the pods in NAME/kubepods of all of them (kubelet's cgroupRoot).
# So `down` finds them all, also after a crash, without looking for names of processes.

# The hierarchies, as folders: one with cgroup v2; several with v1, a v2 one without controllers
# often among them.
cgroup_hierarchies() { awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/mounts | sort -u; }

# Where the daemons are kept. A v2 hierarchy where there is one, since on a v1 machine it has no
# controllers: being there limits nothing.
daemons_cgroup() {
  local mount
  mount=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
  [[ -n $mount ]] || mount=$(awk '$3 == "cgroup" && $4 ~ /(^|,)pids(,|$)/ { print $2; exit }' /proc/mounts)
  [[ -n $mount ]] || fail "looking for a cgroup hierarchy in /proc/mounts" "mount cgroup2 on /sys/fs/cgroup"
  echo "$mount/$NAME/daemons"
}

make_cgroups() {
  local hierarchy folder file
  for hierarchy in $(cgroup_hierarchies); do
    folder=$hierarchy/$NAME
    mkdir -p "$folder"
    # A new cpuset of v1 is empty, and no process can enter it until it is given its CPUs.
    for file in cpuset.cpus cpuset.mems; do
      if [[ -e $folder/$file && ! -e $folder/cgroup.controllers && -z $(<"$folder/$file") ]]; then
        cat "$hierarchy/$file" >"$folder/$file"
      fi
    done
  done
  mkdir -p "$(daemons_cgroup)"
}

# Pids in the cluster's cgroups, those of pods included.
cgroup_processes() {
  local hierarchy
  for hierarchy in $(cgroup_hierarchies); do
    [[ -d $hierarchy/$NAME ]] || continue
    find "$hierarchy/$NAME" -name cgroup.procs -exec cat {} + 2>/dev/null || true
  done | sort -un
}

remove_cgroups() {
  local hierarchy
  for hierarchy in $(cgroup_hierarchies); do
    [[ -d $hierarchy/$NAME ]] || continue
    find "$hierarchy/$NAME" -depth -type d -exec rmdir {} + 2>/dev/null || true
    [[ ! -d $hierarchy/$NAME ]] || return 1
  done
}
