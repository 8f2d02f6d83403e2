#include "cni-plugin/agent_status.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "base/fd.h"
#include "base/strings.h"
#include "cni-plugin/call.h"

namespace fairlead::cni {
namespace {

std::string message_of(const Status& status) { return status ? "" : status.error().message(); }

TEST(AgentAnswer, Ok200IsYes) { EXPECT_TRUE(read_agent_answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")); }

TEST(AgentAnswer, A503IsNoForItsReason) {
  const Status no = read_agent_answer("HTTP/1.1 503 Service Unavailable\r\n\r\nNode \"n\" has no spec.podCIDRs\n");
  ASSERT_FALSE(no);
  EXPECT_EQ(no.error().code(), code::kNotAvailable);
  EXPECT_EQ(no.error().message(), "fairlead-agent: Node \"n\" has no spec.podCIDRs");
}

TEST(AgentAnswer, AnythingElseIsNoToo) {
  EXPECT_EQ(message_of(read_agent_answer("HTTP/1.1 404 Not Found\r\n\r\n")), "fairlead-agent: answered 404");
  EXPECT_EQ(message_of(read_agent_answer("HTTP/1.1 503 x\r\n\r\n")), "fairlead-agent: answered 503");
  for (const char* garbage : {"", "HTTP/1.1", "HTTP/1.1 two", "SSH-2.0-x 200", "\r\n\r\n"}) {
    EXPECT_EQ(message_of(read_agent_answer(garbage)), "fairlead-agent: what answers is no HTTP server") << garbage;
  }
}

TEST(AgentStatus, WithoutAnAgentPodsAreWiredAllTheSame) {
  EXPECT_TRUE(agent_status("/run/fairlead-nobody/agent.sock"));
  EXPECT_EQ(agent_status(std::string(200, 'x')).error().code(), code::kInvalidConfig);
}

TEST(AgentStatus, AsksTheSocket) {
  const std::string path = base::cat("/tmp/fairlead-agent-status-", ::getpid(), ".sock");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  const base::Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  std::string asked(4096, '\0');
  std::thread agent([&] {
    const base::Fd client(::accept(listener.get(), nullptr, nullptr));
    asked.resize(static_cast<std::size_t>(std::max<ssize_t>(0, ::recv(client.get(), asked.data(), asked.size(), 0))));
    constexpr std::string_view kAnswer = "HTTP/1.1 200 OK\r\n\r\n";
    (void)!::send(client.get(), kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL);
  });
  EXPECT_TRUE(agent_status(path));
  agent.join();
  ::unlink(path.c_str());
  EXPECT_TRUE(asked.starts_with("GET /v1/pod-network HTTP/1.0\r\n")) << asked;
}

}  // namespace
}  // namespace fairlead::cni
