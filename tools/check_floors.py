#!/usr/bin/env python3
"""Holds every #include to the floors of docs/architecture.md, and every heavy header to its one home.

A folder may include only folders of lower floors, and itself. Exit 1 names each offence.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

FLOORS = {
    "base": 0,
    "net": 1,
    "kube": 2,
    "ipam": 2,
    "bgp": 2,
    "bpf": 2,
    "proxy/model": 3,
    "proxy/conntrack": 4,
    "proxy/dataplane": 4,
    "routing": 4,
    "policy": 4,
    "agent": 5,
    "cni-plugin": 5,
    "ctl": 5,
    "tests": 6,
}
# The CNI binary is static and small: it may not reach past these.
ONLY = {"cni-plugin": {"base", "net", "ipam"}}

# Heavy or awkward libraries, and the only files that may see them ("/" at the end: any file of that folder).
HEAVY = {
    "nlohmann/": ["base/json.cc"],
    "spdlog/": ["base/log.cc"],
    "yaml-cpp/": ["kube/yaml.cc"],
    "CLI/": ["ctl/options.cc"],
    "curl/": ["kube/http.cc", "ctl/http.cc", "tests/runtimes/grpc.cc"],
    "event2/": ["base/loop.cc", "agent/http_server.cc", "tests/apiserver/"],
    "prometheus/": ["agent/metrics.cc"],
    "nghttp2/": ["tests/apiserver/"],
    "libnftnl/": ["net/nft/"],
    "libmnl/": ["net/nft/", "net/conntrack/"],
    "openssl/": ["proxy/dataplane/iptables/names.cc", "tests/apiserver/"],
    "bpf/libbpf.h": ["proxy/dataplane/ebpf/", "net/bpf/"],
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def folder_of(path: str) -> str | None:
    """The longest folder of FLOORS that `path` lies in."""
    fits = [f for f in FLOORS if path == f or path.startswith(f + "/")]
    return max(fits, key=len) if fits else None


def offences(path: pathlib.Path) -> list[str]:
    name = path.relative_to(ROOT).as_posix()
    own = folder_of(name)
    if own is None:
        return [f"{name}: lies in no folder of tools/check_floors.py"]
    # Tests stand beside their code and may use what tests/ offers.
    is_test = name.endswith(("_test.cc", "_test.h"))
    found = []
    for kind, header in INCLUDE.findall(path.read_text()):
        for library, homes in HEAVY.items():
            if header.startswith(library) and not is_test and name not in homes:
                if not any(home.endswith("/") and name.startswith(home) for home in homes):
                    found.append(f"{name}: includes <{header}>, which belongs to {', '.join(homes)} alone")
        if kind != '"':
            continue
        other = folder_of(header)
        if other is None or other == own or (is_test and other == "tests"):
            continue
        if FLOORS[other] >= FLOORS[own]:
            found.append(f"{name}: floor {FLOORS[own]} ({own}) includes {header} of floor {FLOORS[other]} ({other})")
        elif own in ONLY and other not in ONLY[own]:
            found.append(f"{name}: {own} may include only {', '.join(sorted(ONLY[own]))}, not {header}")
    return found


def main() -> int:
    files = [p for folder in FLOORS for p in (ROOT / folder).rglob("*") if p.suffix in {".h", ".cc", ".c"}]
    found = [line for path in sorted(set(files)) for line in offences(path)]
    print("\n".join(found) if found else f"floors: {len(set(files))} files in order")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
