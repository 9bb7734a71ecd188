"""A machine whose first process is systemd: this one's files below an overlay, its own /run and
processes, and the network of a namespace of the world.  Nothing of it is left when it ends."""
import os
import subprocess

from world import wait_for

CGROUP = "cgroup2"
BOOT = r"""
set -e
dir=$1 unit=$2
mount --make-rprivate /
mount -t tmpfs tmpfs "$dir/mnt"
mkdir "$dir"/mnt/{upper,work,root}
cp -a "$dir/files/." "$dir/mnt/upper"
root=$dir/mnt/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/mnt/upper,workdir=$dir/mnt/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -o remount,bind,ro "$root/sys"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount --rbind /dev "$root/dev"
mkdir -p "$root/etc/egret"
mount --bind "$dir/etc" "$root/etc/egret"
: >"$root/etc/fstab"
cd "$root"
pivot_root . mnt
umount -l /mnt
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system \
	--unit="$unit" --log-target=null --show-status=false
"""


def _mounted():
    with open("/proc/self/mounts", encoding="utf-8") as file:
        return next((line.split()[1] for line in file if line.split()[2] == CGROUP), None)


class Machine:
    """`directory`: `files` go over those of this machine, `etc` is its /etc/egret."""

    def __init__(self, namespace, directory, unit):
        self._cgroup = os.path.join(_mounted(), f"egret-{os.getpid()}")
        os.mkdir(self._cgroup)
        os.makedirs(os.path.join(directory, "mnt"))
        enter = ('echo $$ >"$0/cgroup.procs"; '
                 'exec unshare -mpfCiu --kill-child bash -c "$1" boot "$2" "$3"')
        self.process = namespace.start("bash", "-c", enter, self._cgroup, BOOT, directory, unit)

    @staticmethod
    def possible():
        return os.path.exists("/lib/systemd/systemd") and _mounted() is not None

    def run(self, *argv):
        """A command in it."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children",
                  encoding="ascii") as file:
            pid = file.read().split()[0]
        return subprocess.run(["nsenter", "-t", pid, "-m", "-p", "-n", "-r", "-w", *argv],
                              capture_output=True, text=True, timeout=40, check=False)

    def close(self):
        self.process.kill()
        self.process.wait(30)
        wait_for("its processes to be gone", self._remove_cgroup)

    def _remove_cgroup(self):
        try:
            for directory, _, _ in os.walk(self._cgroup, topdown=False):
                os.rmdir(directory)
        except OSError:
            return False
        return True
