#include "net/conntrack/entry.h"

#include <ostream>

#include "base/strings.h"

namespace fairlead::net::conntrack {
namespace {

std::string to_string(const Tuple& tuple) {
  return base::cat(host_port(tuple.source, tuple.source_port), " > ",
                   host_port(tuple.destination, tuple.destination_port));
}

}  // namespace

std::string to_string(const Entry& entry) {
  return base::cat(unsigned{entry.protocol}, " ", to_string(entry.original), ", ", to_string(entry.reply));
}

std::ostream& operator<<(std::ostream& out, const Entry& entry) { return out << to_string(entry); }

}  // namespace fairlead::net::conntrack
