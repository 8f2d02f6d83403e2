#!/usr/bin/env python3
"""Runs a command in a small virtual machine: Debian's own kernel with all its modules, this machine's files.

    tools/vm.py --modules sctp -- build/release/tests/datapath/datapath_tests --gtest_filter=*Sctp*

For what the kernel at hand lacks (SCTP, IPVS, dummy, wireguard). The root is this machine's, read-only under a layer in
memory, so the command changes nothing here, except in the folder given by --out, which it sees as /.vm. Emulated: about
ten times slower. Exit code and output are the command's. The kernel comes from Debian's package, unpacked into a cache,
never installed.
"""
import argparse
import gzip
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "fairlead-vm"
# What mounts the root; everything else is loaded from there, by need, which takes a second each. So what every dataplane
# uses is loaded before the command.
USUAL_MODULES = ["nf_tables", "nft_chain_nat", "nft_nat", "nft_masq", "nft_fib_ipv4", "nft_fib_ipv6", "nft_numgen", "nft_ct",
                 "nft_reject_ipv4", "nft_reject_ipv6", "nft_compat", "nf_conntrack_netlink", "veth", "bridge", "cls_bpf",
                 "sch_ingress", "xt_statistic", "xt_recent", "xt_conntrack", "xt_addrtype", "xt_comment", "xt_mark", "xt_nat",
                 "xt_MASQUERADE", "ipt_REJECT", "ip6t_REJECT", "iptable_nat", "ip6table_nat", "iptable_filter",
                 "ip6table_filter", "iptable_mangle", "ip6table_mangle", "tun"]
ROOT_MODULES = ["virtio_pci", "9pnet_virtio", "9p", "overlay"]

INIT = """#!/bin/sh
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod /modules/$module || echo "insmod $module failed"; done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro host /host || poweroff -f
mount -t tmpfs -o size=4g layer /layer; mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work root /root || poweroff -f
mount --move /proc /root/proc; mount --move /sys /root/sys; mount --move /dev /root/dev
mkdir -p /root/.vm; mount -t 9p -o trans=virtio,version=9p2000.L,cache=none out /root/.vm
exec switch_root /root /bin/bash /.vm/start
"""

START = """export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts; mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run; mount -t tmpfs tmp /tmp; mkdir -p /run/netns /run/lock
mount -t cgroup2 cgroup /sys/fs/cgroup; mount -t bpf bpf /sys/fs/bpf
mkdir -p {modules_target}; mount --bind {modules} {modules_target}
ip link set lo up
for module in {load}; do modprobe "$module" || echo "vm: no module $module"; done
dmesg -n 1
cd {directory}
timeout {timeout} {command}
echo $? >/.vm/code
sync; poweroff -f
"""


def kernel() -> tuple[pathlib.Path, pathlib.Path]:
    """(vmlinuz, modules folder) of Debian's current kernel, fetched once."""
    depends = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], check=True, capture_output=True, text=True).stdout
    names = [line.split()[-1] for line in depends.splitlines() if line.strip().startswith("Depends: linux-image-")]
    if not names:
        sys.exit("error: apt-cache knows no linux-image-amd64\nhint: apt-get update")
    folder = CACHE / names[0]
    if not (folder / "boot").is_dir():
        print(f"vm: fetching {names[0]}", file=sys.stderr)
        with tempfile.TemporaryDirectory() as temporary:
            os.chmod(temporary, 0o777)  # apt downloads as a user of its own
            subprocess.run(["apt-get", "download", "-qq", names[0]], check=True, cwd=temporary)
            unpacked = pathlib.Path(temporary, "unpacked")
            subprocess.run(["dpkg", "-x", *map(str, pathlib.Path(temporary).glob("*.deb")), str(unpacked)], check=True)
            modules = next(unpacked.glob("lib/modules/*"))
            subprocess.run(["depmod", "-b", str(unpacked), modules.name], check=True)
            CACHE.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            shutil.move(unpacked, folder)
    return next(folder.glob("boot/vmlinuz-*")), next(folder.glob("lib/modules/*"))


def in_load_order(modules: pathlib.Path) -> list[pathlib.Path]:
    root, version = modules.parents[2], modules.name
    order: dict[pathlib.Path, None] = {}
    for name in ROOT_MODULES:
        shown = subprocess.run(["modprobe", "-d", str(root), "-S", version, "--show-depends", name], check=True,
                               capture_output=True, text=True).stdout
        for line in shown.splitlines():
            if line.startswith("insmod "):
                order[pathlib.Path(line.split()[1])] = None
    return list(order)


def make_initrd(target: pathlib.Path, modules: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        for folder in ["bin", "proc", "sys", "dev", "host", "layer", "root", "modules"]:
            (root / folder).mkdir()
        shutil.copy("/bin/busybox", root / "bin/busybox")
        for applet in ["sh", "mount", "mkdir", "insmod", "cat", "echo", "poweroff", "switch_root"]:
            (root / "bin" / applet).symlink_to("busybox")
        order = in_load_order(modules)
        for module in order:
            shutil.copy(module, root / "modules" / module.name)
        (root / "modules/order").write_text("\n".join(module.name for module in order) + "\n")
        (root / "init").write_text(INIT)
        (root / "init").chmod(0o755)
        files = subprocess.run(["find", ".", "-print0"], cwd=root, check=True, capture_output=True).stdout
        archive = subprocess.run(["/bin/busybox", "cpio", "-o", "-H", "newc", "-0"], cwd=root, input=files, check=True,
                                 capture_output=True).stdout
        target.write_bytes(gzip.compress(archive, 1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--timeout", type=int, default=300, help="seconds for the command (default 300)")
    parser.add_argument("--modules", default="", help="kernel modules to load first, by comma")
    parser.add_argument("--out", type=pathlib.Path, help="a folder the command may write to, as /.vm")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    vmlinuz, modules = kernel()
    with tempfile.TemporaryDirectory(prefix="fairlead-vm-") as temporary:
        out = arguments.out or pathlib.Path(temporary, "out")
        out.mkdir(exist_ok=True)
        initrd = pathlib.Path(temporary, "initrd")
        make_initrd(initrd, modules)
        (out / "start").write_text(START.format(
            modules=modules, modules_target=f"/usr/lib/modules/{modules.name}", directory=shlex.quote(os.getcwd()),
            load=" ".join(USUAL_MODULES + [shlex.quote(name) for name in arguments.modules.split(",") if name]), timeout=arguments.timeout,
            command=shlex.join(arguments.command)))
        machine = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max,la57=off", "-smp", "2", "-m", "6G",
                   "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio", "-kernel", str(vmlinuz),
                   "-initrd", str(initrd), "-append", "console=ttyS0 quiet loglevel=1 panic=-1",
                   "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
                   "-virtfs", f"local,path={out},mount_tag=out,security_model=none"]
        try:
            subprocess.run(machine, stdin=subprocess.DEVNULL, timeout=arguments.timeout + 120, check=False)
        except subprocess.TimeoutExpired:
            print("vm: it did not power off", file=sys.stderr)
            return 124
        code = out / "code"
        return int(code.read_text()) if code.exists() and code.read_text().strip() else 125


if __name__ == "__main__":
    sys.exit(main())
