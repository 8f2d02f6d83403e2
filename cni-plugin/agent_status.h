// The node agent's word on whether pods can be wired: what `type: fairlead` answers to STATUS when its configuration
// names the agent's socket. kubelet has it asked every few seconds, so it is one exchange over a unix socket and no
// lock.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace fairlead::cni {

// Code 50 with the agent's reason. No agent, or one that does not answer, is no reason: pods are wired without it, and
// a node must not become unready because its agent is being restarted. `socket`: "/run/fairlead/agent.sock".
Status agent_status(const std::string& socket);

// An HTTP answer: 200 is yes, 503 no for the reason in its body. Pure.
Status read_agent_answer(std::string_view answer);

}  // namespace fairlead::cni
