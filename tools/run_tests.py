#!/usr/bin/env python3
"""Runs the checks, the unit tests and the datapath tests of a build directory, in parallel, and counts.

Closes with "N passed, N failed, N skipped"; exit 1 when anything failed or nothing ran. A skip is printed with its
reason. What a test leaves behind (namespaces, cgroups, mounts) is itself a failed test.
"""
import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TIMEOUT_S = 600
# The scenario table costs a start of agents per dataplane and operator's setup, so it is cut by dataplane first.
SCENARIO_SHARDS = 2  # of each
OTHER_SHARDS = 2  # of the rest of that program
LONG = {"cni_kill_tests": 4}  # programs that take minutes, most of them waiting: in how many parts
# What the kernel of most test machines lacks runs in a virtual machine: tests of these names, a program, with these modules.
VM_TESTS = "*Sctp*"
VM_PROGRAM = "cni_vm_tests"
VM_MODULES = "sctp,8021q,ipvlan,macvlan"


@dataclasses.dataclass
class Job:
    name: str
    command: list[str]
    environment: dict[str, str]
    gtest: bool = True
    in_vm: bool = False


@dataclasses.dataclass
class Outcome:
    name: str
    seconds: float
    passed: int = 0
    skipped: list[str] = dataclasses.field(default_factory=list)
    failed: list[str] = dataclasses.field(default_factory=list)
    output: str = ""


def run(job: Job) -> Outcome:
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as out:
        report = pathlib.Path(out, "report.json")
        command = job.command + ([f"--gtest_output=json:{'/.vm/report.json' if job.in_vm else report}"] if job.gtest else [])
        if job.in_vm:
            command = ["tools/vm.py", "--modules", VM_MODULES, "--out", out, "--"] + command
        # A group of its own, so that a test which hangs is ended together with what it started.
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **job.environment}, text=True, errors="replace",
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        try:
            output, _ = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output = process.communicate()[0] + f"\nkilled after {TIMEOUT_S} s\n"
        output = output.replace("\r", "")  # a serial line's
        outcome = Outcome(job.name, time.monotonic() - start, output=output)
        text = report.read_text() if job.gtest and report.exists() else ""
    if not job.gtest:
        if process.returncode == 0:
            outcome.passed = 1
        else:
            outcome.failed = [job.name]
        return outcome
    for suite in json.loads(text)["testsuites"] if text else []:
        for case in suite["testsuite"]:
            count(outcome, f'{suite["name"]}.{case["name"]}', case)
    if process.returncode != 0 and not outcome.failed:
        unfinished = last_started(output) or job.name
        outcome.failed.append(f"{unfinished} (process ended with {process.returncode})")
    return outcome


def count(outcome: Outcome, name: str, case: dict) -> None:
    if case["status"] != "RUN":
        return  # another shard's, or filtered out
    if case.get("failures"):
        outcome.failed.append(name)
    elif case["result"] == "SKIPPED":
        reason = re.search(rf"\[ RUN      \] {re.escape(name)}\n(.*?)\[  SKIPPED \]", outcome.output, re.S)
        outcome.skipped.append(f"{name}: " + " ".join((reason.group(1) if reason else "no reason given").split()))
    else:
        outcome.passed += 1


def last_started(output: str) -> str | None:
    started = re.findall(r"\[ RUN      \] (\S+)", output)
    return started[-1] if started else None


def names(binary: pathlib.Path, chosen: list[str], pattern: str = r"^  (\w+)") -> list[str]:
    """Of the tests of a program that the flags `chosen` leave."""
    listed = subprocess.run([str(binary.resolve()), "--gtest_list_tests", *chosen], capture_output=True, text=True, check=True)
    return re.findall(pattern, listed.stdout, re.M)


def dataplanes(binary: pathlib.Path) -> list[str]:
    """Those that the scenario table of a test program is played on."""
    return names(binary, [], r"^Scenarios/(\w+)\.$")


def jobs_of(build: pathlib.Path, wanted: str) -> list[Job]:
    found: list[Job] = []

    def only(binary: pathlib.Path) -> list[str]:
        if not wanted or wanted in binary.name:
            return []
        return ["--gtest_filter=" + (wanted if "*" in wanted else f"*{wanted}*")]

    # A sanitizer's report is a failure, also in a program that a test starts.
    sanitizers = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99", "UBSAN_OPTIONS": "print_stacktrace=1",
                  "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1:suppressions="
                  + str(ROOT / "tests" / "datapath" / "tsan.supp"),
                  "FAIRLEAD_BUILD_DIR": str(build.resolve())}
    emulated = build.name not in ("asan", "tsan")  # sanitizers, emulated as well, take minutes
    here = not emulated or has_sctp()
    for binary in sorted((build / "tests" / "datapath").glob("*_tests")):
        if binary.name == VM_PROGRAM and emulated and not has_links():
            if not wanted or names(binary, only(binary)):
                found.insert(0, Job(f"{binary.name} in a VM", [str(binary.resolve()), *only(binary)], {}, in_vm=True))
            continue
        parts = [(binary.name, "*", 1 if wanted else LONG.get(binary.name, 1))]
        if binary.name == "datapath_tests" and not wanted:
            parts = [(f"scenarios {name}", f"Scenarios/{name}.*", SCENARIO_SHARDS) for name in dataplanes(binary)]
            parts.append((binary.name, "*-Scenarios/*", OTHER_SHARDS))
        for part, pattern, shards in parts:
            if not here:
                pattern += f"{':' if '-' in pattern else '-'}{VM_TESTS}"
            for shard in range(shards):
                name = f"{part} {shard + 1}/{shards}" if shards > 1 else part
                split = {"GTEST_TOTAL_SHARDS": str(shards), "GTEST_SHARD_INDEX": str(shard)}
                chosen = only(binary) if wanted else [f"--gtest_filter={pattern}"]
                found.append(Job(name, [str(binary.resolve()), *chosen], {**sanitizers, **split}))
        if binary.name == "datapath_tests" and not here and not wanted:
            found.insert(0, Job("datapath_tests in a VM", [str(binary.resolve()), f"--gtest_filter={VM_TESTS}"], {}, in_vm=True))
    for binary in sorted((build / "tests" / "unit").glob("*_tests")):
        found.append(Job(binary.name, [str(binary.resolve()), *only(binary)], sanitizers))
    demo = str((build / "bin" / "fairlead-demo").resolve())
    if not wanted:
        found.append(Job("demo", [demo], sanitizers, gtest=False))
        found.append(Job("demo --api", [demo, "--api"], sanitizers, gtest=False))
        found.append(Job("floors", ["tools/check_floors.py"], {}, gtest=False))
        found.append(Job("docs", ["tools/check_docs.py"], {}, gtest=False))
        found.append(Job("shell", ["shellcheck", "dev", ".ci/run"], {}, gtest=False))
    return found


def has_sctp() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        return False
    return True


def has_links() -> bool:
    """Bridges that filter VLANs, 802.1Q, ipvlan: asked for in a namespace that goes."""
    links = ("ip link add a0 type veth peer name a1 && ip link add a2 type bridge vlan_filtering 1 && "
             "ip link add a3 link a0 type vlan id 5 && ip link add a4 link a0 type ipvlan")
    return subprocess.run(["unshare", "--net", "sh", "-c", links], capture_output=True).returncode == 0


def footprint() -> set[str]:
    """What tests could leave behind on this machine. What a living testbed or demo ("fl-<pid>-<n>") holds is its own."""
    def foreign(name: str) -> bool:
        owner = re.search(r"fl-(\d+)-", name)
        return owner is not None and pathlib.Path("/proc", owner[1]).exists()

    def listed(kind: str, folder: str) -> set[str]:
        return {f"{kind} {path.name}" for path in pathlib.Path(folder).glob("*") if not foreign(path.name)}

    mounts = {line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()}
    unified = "/sys/fs/cgroup/unified" if pathlib.Path("/sys/fs/cgroup/unified").is_dir() else "/sys/fs/cgroup"
    groups = {item for item in listed("cgroup", unified) if pathlib.Path(unified, item.split(" ", 1)[1]).is_dir()}
    return (listed("namespace", "/run/netns") | listed("link", "/sys/class/net") | groups
            | {f"mount {path}" for path in mounts if not foreign(path)})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    parser.add_argument("filter", nargs="?", default="", help="only tests, or test programs, whose name contains this")
    arguments = parser.parse_args()

    before = footprint()
    jobs = jobs_of(arguments.build, arguments.filter)
    outcomes: list[Outcome] = []
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for done in concurrent.futures.as_completed([pool.submit(run, job) for job in jobs]):
            outcome = done.result()
            outcomes.append(outcome)
            mark = "FAIL" if outcome.failed else "ok  "
            if outcome.failed:
                print(outcome.output[-20000:])
            print(f"[{len(outcomes):2}/{len(jobs)}] {mark} {outcome.name:28} {outcome.passed:4} passed "
                  f"{len(outcome.failed):3} failed {len(outcome.skipped):3} skipped {outcome.seconds:7.1f} s", flush=True)

    left = sorted(footprint() - before)
    if left:
        outcomes.append(Outcome("footprint", 0, failed=[f"left behind: {item}" for item in left]))
    elif not arguments.filter:
        outcomes.append(Outcome("footprint", 0, passed=1))
    for line in sorted({line for outcome in outcomes for line in outcome.skipped}):
        print(f"SKIPPED {line}")
    failed = [name for outcome in outcomes for name in outcome.failed]
    for name in failed:
        print(f"FAILED  {name}")
    passed = sum(outcome.passed for outcome in outcomes)
    skipped = sum(len(outcome.skipped) for outcome in outcomes)
    print(f"{passed} passed, {len(failed)} failed, {skipped} skipped", flush=True)
    return 1 if failed or passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
