#include "ctl/tables.h"

#include <gtest/gtest.h>

namespace fairlead::ctl {
namespace {

base::Value json(std::string_view text) {
  auto value = base::parse_json(text);
  EXPECT_TRUE(value) << (value ? "" : value.error().message());
  return value ? *value : base::Value();
}

TEST(AgeText, ShowsTheTwoLargestUnits) {
  EXPECT_EQ(age_text(0), "0s");
  EXPECT_EQ(age_text(45), "45s");
  EXPECT_EQ(age_text(192), "3m12s");
  EXPECT_EQ(age_text(5 * 3600 + 4 * 60 + 9), "5h4m");
  EXPECT_EQ(age_text(3 * 86400 + 2 * 3600), "3d2h");
}

constexpr std::string_view kServices = R"([
  {"namespace": "default", "name": "web", "type": "NodePort", "age_seconds": 192, "last_error": "",
   "endpoints": {"local": 1, "ready": 2, "total": 3},
   "frontends": [
     {"address": "10.96.0.10", "port": 80, "protocol": "TCP"},
     {"address": "", "port": 30080, "protocol": "TCP", "family": "IPv4"},
     {"address": "fd00::10", "port": 80, "protocol": "TCP"},
     {"address": "", "port": 30080, "protocol": "TCP", "family": "IPv6"}]},
  {"namespace": "shop", "name": "empty", "type": "ClusterIP", "age_seconds": 1, "last_error": "",
   "endpoints": {"local": 0, "ready": 0, "total": 2},
   "frontends": [{"address": "10.96.0.11", "port": 53, "protocol": "UDP"}]},
  {"namespace": "shop", "name": "outside", "type": "ExternalName", "age_seconds": 7, "last_error": "",
   "endpoints": {"local": 0, "ready": 0, "total": 0}, "frontends": []},
  {"namespace": "shop", "name": "sick", "type": "ClusterIP", "age_seconds": 5, "last_error": "map is full",
   "endpoints": {"local": 0, "ready": 1, "total": 1},
   "frontends": [{"address": "10.96.0.12", "port": 80, "protocol": "TCP"}]}])";

TEST(ServicesTable, HasOneLinePerFrontendAndAlignedColumns) {
  EXPECT_EQ(services_table(json(kServices), Colour::Off),
            "NAMESPACE/NAME  TYPE          ADDRESS:PORT/PROTO  LOCAL/READY/TOTAL  AGE    LAST-ERROR\n"
            "default/web     NodePort      10.96.0.10:80/TCP   1/2/3              3m12s  -\n"
            "                              node:30080/TCP\n"
            "                              [fd00::10]:80/TCP\n"
            "shop/empty      ClusterIP     10.96.0.11:53/UDP   0/0/2              1s     no endpoints\n"
            "shop/outside    ExternalName  -                   0/0/0              7s     -\n"
            "shop/sick       ClusterIP     10.96.0.12:80/TCP   0/1/1              5s     map is full\n");
}

TEST(ServicesTable, HighlightsNoEndpointsAndErrorsOnATerminalOnly) {
  const std::string text = services_table(json(kServices), Colour::On);
  EXPECT_NE(text.find("\033[33mno endpoints\033[0m"), std::string::npos);
  EXPECT_NE(text.find("\033[31mmap is full\033[0m"), std::string::npos);
  EXPECT_EQ(services_table(json(kServices), Colour::Off).find('\033'), std::string::npos);
}

TEST(StatusText, SaysWhatRunsAndWhatIsWrong) {
  EXPECT_EQ(status_text(json(R"({
      "version": "0.1.0", "instance": "fairlead", "node": "node1", "pid": 42, "uptime_seconds": 61,
      "rss_bytes": 15060992, "dataplane": "nftables",
      "probes": [{"dataplane": "ebpf", "usable": false, "reason": "no bpffs"},
                 {"dataplane": "nftables", "usable": true, "reason": "maps, numgen"}],
      "source": {"kind": "api", "where": "https://10.0.0.1:6443", "connected": false, "errors": ["Service: refused"]},
      "synced": true, "services": 2, "endpoints": 3, "generation": 7, "applied": 6, "pending": 1,
      "last_apply_us": 1320, "kernel_writes": {"total": 70, "first_sync": 60, "last": 4},
      "first_sync": {"apply_us": 1320, "since_start_ms": 59},
      "failing": 2, "failures": [{"object": "shop/sick", "error": "map is full", "attempts": 3, "age_seconds": 2}],
      "error": "", "metrics_address": "127.0.0.1:10249", "healthz_address": ""})"),
                        Colour::Off),
            "agent         0.1.0 on node node1, instance fairlead, pid 42, up 1m1s, 15.0 MB\n"
            "              ebpf unusable: no bpffs\n"
            "dataplane     nftables: maps, numgen\n"
            "source        api https://10.0.0.1:6443, NOT CONNECTED: the last known state stays in force\n"
            "              Service: refused\n"
            "services      2 with 3 endpoints\n"
            "first sync    59 ms after the start, 1.3 ms of it in the kernel\n"
            "changes       7 batches, 6 applied, 1 pending; the last took 1.3 ms\n"
            "kernel writes 70 since the start, 60 by the first sync, 4 by the last change\n"
            "listens       metrics 127.0.0.1:10249, health off\n"
            "failing       2\n"
            "              shop/sick: map is full (3 attempts in 2s)\n"
            "              and 1 more\n");
}

TEST(StatusText, SaysWhatTheNodeIsAndWhatItsHealthCheckPortsDo) {
  const std::string text = status_text(json(R"({
      "node_state": {"pods": ["10.244.0.0/16"], "pod_interface": "", "service_cidrs": ["10.96.0.0/12", "fd00::/108"],
                     "node_port_addresses": ["192.0.2.0/24", "::/0"]},
      "health_check_ports": 2,
      "health_check_ports_failing": [{"service": "shop/web", "port": 30100, "error": "cannot listen on [::]:30100"}]})"),
                                       Colour::Off);
  for (const char* line : {"pods          10.244.0.0/16\n", "node ports    on 192.0.2.0/24 ::/0\n",
                           "service CIDRs 10.96.0.0/12 fd00::/108\n", "health checks 2 node ports\n",
                           "              shop/web: cannot listen on [::]:30100, trying again\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << " is not in\n" << text;
  }
}

TEST(StatusText, SaysThatPodsCannotBeToldFromStrangers) {
  const std::string text = status_text(json(R"({"node_state": {"pods": [], "pod_interface": ""}})"), Colour::Off);
  EXPECT_NE(text.find("pods          not told from strangers\n"), std::string::npos) << text;
}

TEST(StatusText, BeforeTheFirstSyncSaysSo) {
  const std::string text = status_text(json(R"({"synced": false, "dataplane": ""})"), Colour::Off);
  EXPECT_NE(text.find("dataplane     not chosen yet\n"), std::string::npos) << text;
  EXPECT_NE(text.find("first sync    not done yet\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace fairlead::ctl
