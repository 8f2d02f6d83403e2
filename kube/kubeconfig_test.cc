#include "kube/kubeconfig.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include "base/file.h"
#include "base/strings.h"
#include "kube/token.h"

namespace fairlead::kube {
namespace {

using base::cat;
using namespace std::chrono_literals;

class Folder {
 public:
  Folder() {
    char name[] = "/tmp/fairlead-kubeconfig-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string operator/(std::string_view name) const { return cat(path_, "/", name); }
  void write(std::string_view name, std::string_view text) const {
    EXPECT_TRUE(base::write_file_atomically(*this / name, text));
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string config_of(std::string_view cluster, std::string_view user) {
  return cat(
      "apiVersion: v1\nkind: Config\ncurrent-context: here\n"
      "contexts:\n- name: here\n  context: {cluster: c, user: u}\n"
      "clusters:\n- name: c\n  cluster:\n",
      cluster, "users:\n- name: u\n  user:\n", user);
}

constexpr std::string_view kServer = "    server: https://10.0.0.1:6443\n";
constexpr std::string_view kToken = "    token: secret\n";
// "-----BEGIN X-----" in base64.
constexpr std::string_view kPemData = "LS0tLS1CRUdJTiBYLS0tLS0=";

Result<ClientConfig> parse(std::string_view cluster, std::string_view user) {
  return parse_kubeconfig(config_of(cluster, user), "/etc/fl/kubeconfig");
}
std::string error_of(std::string_view cluster, std::string_view user) {
  const auto config = parse(cluster, user);
  return config ? "no error" : config.error().message();
}

TEST(Kubeconfig, ReadsServerAuthorityCertificateAndKeyFromFilesRelativeToItsFolder) {
  const auto config = parse(cat(kServer, "    certificate-authority: pki/ca.crt\n"),
                            "    client-certificate: /abs/client.crt\n    client-key: client.key\n");
  ASSERT_TRUE(config) << config.error().message();
  ClientConfig expected;
  expected.server = "https://10.0.0.1:6443";
  expected.ca.file = "/etc/fl/pki/ca.crt";
  expected.client_certificate.file = "/abs/client.crt";
  expected.client_key.file = "/etc/fl/client.key";
  EXPECT_EQ(*config, expected);
}

TEST(Kubeconfig, DataGoesBeforeFiles) {
  const auto config = parse(
      cat(kServer, "    certificate-authority: ca.crt\n    certificate-authority-data: ", kPemData, "\n"), kToken);
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->ca, (Pem{.data = "-----BEGIN X-----", .file = {}}));
}

TEST(Kubeconfig, ReadsTokensServerNameAndProxy) {
  const auto config = parse(cat(kServer, "    tls-server-name: kubernetes\n    proxy-url: socks5://127.0.0.1:1080\n"),
                            "    token: abc\n    tokenFile: token\n");
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->tls_server_name, "kubernetes");
  EXPECT_EQ(config->proxy_url, "socks5://127.0.0.1:1080");
  EXPECT_EQ(config->token, "abc");
  EXPECT_EQ(config->token_file, "/etc/fl/token");
}

TEST(Kubeconfig, AContextAndAServerCanBeChosenOnTheCommandLine) {
  const std::string text =
      "contexts: [{name: one, context: {cluster: c1}}, {name: two, context: {cluster: c2}}]\n"
      "clusters: [{name: c1, cluster: {server: https://one}}, {name: c2, cluster: {server: https://two}}]\n";
  EXPECT_EQ(parse_kubeconfig(text, "k", {.context = "two", .server = {}})->server, "https://two");
  EXPECT_EQ(parse_kubeconfig(text, "k", {.context = "one", .server = "https://[fd00::1]:6443"})->server,
            "https://[fd00::1]:6443");
  EXPECT_EQ(parse_kubeconfig(text, "k").error().message(),
            "k: line 1: current-context: is missing, and no context was chosen");
}

TEST(Kubeconfig, JsonIsYamlToo) {
  const auto config = parse_kubeconfig(
      R"({"current-context":"x","contexts":[{"name":"x","context":{"cluster":"c"}}],
          "clusters":[{"name":"c","cluster":{"server":"http://127.0.0.1:8001","insecure-skip-tls-verify":true}}]})",
      "k");
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_TRUE(config->insecure_skip_tls_verify);
}

TEST(Kubeconfig, ErrorsNameFileLineFieldAndValue) {
  EXPECT_EQ(error_of("    server: 10.0.0.1\n", kToken),
            "/etc/fl/kubeconfig: line 10: clusters[0].cluster.server: \"10.0.0.1\" is not a server URL "
            "(https://host[:port][/path]): it begins with neither https:// nor http://");
  EXPECT_EQ(error_of(cat(kServer, "    certificate-authority-data: '%%%'\n"), kToken),
            "/etc/fl/kubeconfig: line 11: clusters[0].cluster.certificate-authority-data: is not base64");
  EXPECT_EQ(error_of(cat(kServer, "    certificate-authority-data: aGVsbG8=\n"), kToken),
            "/etc/fl/kubeconfig: line 11: clusters[0].cluster.certificate-authority-data: holds no PEM block "
            "(-----BEGIN ...)");
  EXPECT_EQ(error_of(cat(kServer, "    insecure-skip-tls-verify: maybe\n"), kToken),
            "/etc/fl/kubeconfig: line 11: clusters[0].cluster.insecure-skip-tls-verify: is a string where true or "
            "false is expected");
  EXPECT_EQ(error_of(cat(kServer, "    proxy-url: ftp://x\n"), kToken),
            "/etc/fl/kubeconfig: line 11: clusters[0].cluster.proxy-url: \"ftp://x\" is not a proxy URL "
            "(http, https, socks5 or socks5h)");
  EXPECT_EQ(error_of(cat(kServer, "    insecure-skip-tls-verify: true\n    certificate-authority: ca\n"), kToken),
            "/etc/fl/kubeconfig: line 11: clusters[0].cluster.insecure-skip-tls-verify: is true although a "
            "certificate-authority is given; remove one of them");
  EXPECT_EQ(error_of(kServer, "    client-certificate: crt\n"),
            "/etc/fl/kubeconfig: line 14: users[0].user: client-certificate is given without client-key");
}

TEST(Kubeconfig, ExecPluginsAreRefusedByName) {
  EXPECT_EQ(error_of(kServer, "    exec: {command: aws}\n"),
            "/etc/fl/kubeconfig: line 14: users[0].user.exec: credential plugins are not supported; use token, "
            "tokenFile or a client certificate");
  EXPECT_EQ(error_of(kServer, "    username: admin\n"),
            "/etc/fl/kubeconfig: line 14: users[0].user.username: this field is not supported; use token, tokenFile "
            "or a client certificate");
}

TEST(Kubeconfig, AnEntryThatIsMissingIsNamedTogetherWithThoseThatAreThere) {
  const std::string text =
      "current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\nclusters:\n- {name: x, cluster: {}}\n";
  EXPECT_EQ(parse_kubeconfig(text, "k").error().message(),
            "k: line 4: clusters: no entry is named \"c\"; there are: x");
}

TEST(Kubeconfig, WhatIsNoKubeconfigIsAnError) {
  for (const std::string_view text : {"", "- 1", "just text", "kind: Pod", "{", "a: b\n---\nc: d"}) {
    EXPECT_FALSE(parse_kubeconfig(text, "k")) << text;
  }
  EXPECT_EQ(load_kubeconfig("/no/such/file").error().message(), "kubeconfig: /no/such/file: No such file or directory");
}

TEST(ServerUrl, IsTakenApart) {
  EXPECT_EQ(*parse_server_url("https://h"), (ServerUrl{.tls = true, .host = "h", .port = 443, .path = ""}));
  EXPECT_EQ(*parse_server_url("http://[::1]:80/k8s/c-1/"),
            (ServerUrl{.tls = false, .host = "::1", .port = 80, .path = "/k8s/c-1"}));
  for (const std::string_view text : {"https://", "https://h:0", "https://h:65536", "https://::1", "https://[::1",
                                      "https://[x]", "https://h?x", "https://u@h", "ftp://h", "https://[::1]x"}) {
    EXPECT_FALSE(parse_server_url(text)) << text;
  }
}

TEST(ProxyUrl, IsShownWithoutItsCredentials) {
  EXPECT_EQ(without_credentials("http://me:secret@h:3128"), "http://h:3128");
  EXPECT_EQ(without_credentials("socks5://me:s@cret@h:1080/x@y"), "socks5://h:1080/x@y");
  EXPECT_EQ(without_credentials("http://[::1]:3128/a@b"), "http://[::1]:3128/a@b");
}

PodEnvironment pod(const Folder& folder, std::map<std::string, std::string> variables) {
  return {.directory = folder.path(),
          .variable = [variables = std::move(variables)](const char* name) -> std::optional<std::string> {
            const auto found = variables.find(name);
            return found == variables.end() ? std::nullopt : std::optional(found->second);
          }};
}

TEST(InCluster, TakesServerFromTheEnvironmentAndFilesFromTheFolder) {
  const Folder folder;
  folder.write("token", "abc\n");
  folder.write("ca.crt", "-----BEGIN CERTIFICATE-----");
  const auto config =
      in_cluster_config(pod(folder, {{"KUBERNETES_SERVICE_HOST", "fd00::1"}, {"KUBERNETES_SERVICE_PORT", "443"}}));
  ASSERT_TRUE(config) << config.error().message();
  ClientConfig expected;
  expected.server = "https://[fd00::1]:443";
  expected.ca.file = folder / "ca.crt";
  expected.token_file = folder / "token";
  EXPECT_EQ(*config, expected);
}

TEST(InCluster, SaysWhatIsMissing) {
  const Folder folder;
  EXPECT_EQ(in_cluster_config(pod(folder, {})).error().message(),
            "in-cluster identity: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not both set; outside a pod "
            "give --kubeconfig");
  const auto environment = pod(folder, {{"KUBERNETES_SERVICE_HOST", "10.0.0.1"}, {"KUBERNETES_SERVICE_PORT", "443"}});
  EXPECT_EQ(in_cluster_config(environment).error().message(),
            cat("in-cluster identity: ", folder / "ca.crt", ": No such file or directory"));
  folder.write("ca.crt", "-----BEGIN CERTIFICATE-----");
  folder.write("token", "\n");
  EXPECT_EQ(in_cluster_config(environment).error().message(),
            cat("in-cluster identity: ", folder / "token", " is empty"));
}

class TokenTest : public testing::Test {
 protected:
  // The file's own clock is set, so that no test depends on how fine a file system's time is.
  void write(std::string_view text, std::time_t modified) {
    folder.write("token", text);
    const timespec times[2] = {{modified, 0}, {modified, 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, (folder / "token").c_str(), times, 0), 0);
  }
  TokenSource source(std::string fixed = {}) {
    config.token = std::move(fixed);
    config.token_file = folder / "token";
    return TokenSource(config, clock, 60s);
  }
  Folder folder;
  ClientConfig config;
  base::FakeClock clock;
};

TEST_F(TokenTest, AFixedTokenStaysAndNoTokenIsNoError) {
  config.token = "fixed";
  EXPECT_EQ(*TokenSource(config, clock, 60s).token(), "fixed");
  EXPECT_EQ(*TokenSource(ClientConfig{}, clock, 60s).token(), "");
}

TEST_F(TokenTest, ARotatedFileIsReadAtTheNextRequest) {
  write("first\n", 1000);
  TokenSource tokens = source();
  EXPECT_EQ(*tokens.token(), "first");
  write("second\n", 1001);
  EXPECT_EQ(*tokens.token(), "second");
}

TEST_F(TokenTest, AFileWithAnUnchangedTimeIsReadAgainAfterAMinute) {
  write("first", 1000);
  TokenSource tokens = source();
  EXPECT_EQ(*tokens.token(), "first");
  write("second", 1000);
  clock.advance(59s);
  EXPECT_EQ(*tokens.token(), "first");
  clock.advance(1s);
  EXPECT_EQ(*tokens.token(), "second");
}

TEST_F(TokenTest, TheFileGoesBeforeTheFixedTokenWhichFillsInForIt) {
  TokenSource tokens = source("fixed");
  EXPECT_EQ(*tokens.token(), "fixed");
  write("rotated", 1000);
  EXPECT_EQ(*tokens.token(), "rotated");
}

TEST_F(TokenTest, AFileThatVanishesOrIsEmptyLeavesTheLastTokenInUse) {
  write("first", 1000);
  TokenSource tokens = source();
  EXPECT_EQ(*tokens.token(), "first");
  write("", 1001);
  EXPECT_EQ(*tokens.token(), "first");
  ::unlink((folder / "token").c_str());
  EXPECT_EQ(*tokens.token(), "first");
}

TEST_F(TokenTest, WithoutAnyTokenTheFileIsNamed) {
  TokenSource tokens = source();
  EXPECT_EQ(tokens.token().error().message(), cat("bearer token: ", folder / "token", ": No such file or directory"));
  write(" \n", 1000);
  EXPECT_EQ(tokens.token().error().message(), cat("bearer token: ", folder / "token", " is empty"));
}

}  // namespace
}  // namespace fairlead::kube
