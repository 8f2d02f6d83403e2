#include "net/dbus.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "base/strings.h"

namespace fairlead::net::dbus {
namespace {

using base::cat;

constexpr std::size_t kMaxMessage = 1U << 20;  // the bus itself allows 128 MiB
constexpr std::size_t kFixed = 16;             // header up to and with the length of its fields
constexpr std::uint8_t kCall = 1, kReturn = 2, kError = 3;
enum Field : std::uint8_t { Path = 1, Interface, Member, ErrorName, ReplySerial, Destination, Sender, Signature };

class Writer {
 public:
  void pad(std::size_t to) { bytes_.resize((bytes_.size() + to - 1) / to * to, '\0'); }
  void number(std::uint32_t value) {
    pad(4);
    for (int i = 0; i < 4; ++i) bytes_ += static_cast<char>(value >> (8 * i) & 0xff);
  }
  void text(const std::string& value) {
    number(static_cast<std::uint32_t>(value.size()));
    bytes_ += value;
    bytes_ += '\0';
  }
  void signature(const std::string& value) {
    bytes_ += static_cast<char>(value.size());
    bytes_ += value;
    bytes_ += '\0';
  }
  void field(Field code, const char* type, const std::string& value) {
    pad(8);
    bytes_ += static_cast<char>(code);
    signature(type);
    if (*type == 'g') {
      signature(value);
    } else {
      text(value);
    }
  }
  std::string& bytes() { return bytes_; }

 private:
  std::string bytes_;
};

// Reads past the end give zeros and are remembered.
class Reader {
 public:
  Reader(std::string_view bytes, bool big) : bytes_(bytes), big_(big) {}
  bool ok() const { return ok_; }
  std::size_t at() const { return at_; }
  void go_to(std::size_t at) { at_ = at; }
  void pad(std::size_t to) { at_ = (at_ + to - 1) / to * to; }
  std::uint8_t byte() {
    if (at_ >= bytes_.size()) ok_ = false;
    return ok_ ? static_cast<std::uint8_t>(bytes_[at_++]) : std::uint8_t{0};
  }
  std::uint32_t number() {
    pad(4);
    std::uint32_t value = 0;
    for (unsigned i = 0; i < 4; ++i) value |= std::uint32_t{byte()} << 8 * (big_ ? 3 - i : i);
    return value;
  }
  std::string text(std::size_t size) {
    if (!ok_ || size >= bytes_.size() - std::min(at_, bytes_.size())) ok_ = false;
    if (!ok_) return {};
    std::string out(bytes_.substr(at_, size));
    at_ += size + 1;
    return out;
  }
  std::string text() {
    const std::uint32_t size = number();
    return text(size);
  }
  std::string signature() {
    const std::size_t size = byte();
    return text(size);
  }

 private:
  std::string_view bytes_;
  bool big_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

// The fields of a header that a reply needs: each a code and a value with its type.
bool read_fields(Reader& reader, std::size_t end, Message& message, std::string& signature) {
  while (reader.ok() && reader.at() < end) {
    reader.pad(8);
    const std::uint8_t code = reader.byte();
    const std::string type = reader.signature();
    if (type == "u") {
      const std::uint32_t value = reader.number();
      if (code == ReplySerial) message.reply_to = value;
    } else if (type == "s" || type == "o") {
      std::string value = reader.text();
      if (code == ErrorName) message.error = std::move(value);
    } else if (type == "g") {
      std::string value = reader.signature();
      if (code == Signature) signature = std::move(value);
    } else {
      return false;
    }
  }
  return reader.ok() && reader.at() == end;
}

base::Fd connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return {};
  path.copy(address.sun_path, path.size());
  if (path[0] == '@') address.sun_path[0] = '\0';
  base::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) return {};
  return fd;
}

Status wait_for(int fd, short what, std::chrono::steady_clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return Error("D-Bus: no answer in time", ETIMEDOUT);
    pollfd ready{.fd = fd, .events = what, .revents = 0};
    const int n = ::poll(&ready, 1, static_cast<int>(left.count()));
    if (n > 0) return {};
    if (n < 0 && errno != EINTR) return Error::from_errno("D-Bus", errno);
  }
}

const Method kHello{"org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello"};

}  // namespace

std::string encode_call(std::uint32_t serial, const Method& method, const std::vector<std::string>& arguments) {
  Writer body;
  for (const std::string& argument : arguments) body.text(argument);
  Writer fields;
  fields.field(Path, "o", method.path);
  fields.field(Destination, "s", method.service);
  fields.field(Interface, "s", method.interface);
  fields.field(Member, "s", method.name);
  if (!arguments.empty()) fields.field(Signature, "g", std::string(arguments.size(), 's'));
  Writer out;
  out.bytes() = std::string{'l', static_cast<char>(kCall), '\0', '\1'};
  out.number(static_cast<std::uint32_t>(body.bytes().size()));
  out.number(serial);
  out.number(static_cast<std::uint32_t>(fields.bytes().size()));
  out.bytes() += fields.bytes();  // begins at 16, a multiple of 8, as it did by itself
  out.pad(8);
  return out.bytes() + body.bytes();
}

Result<std::optional<Message>> decode(std::string_view bytes) {
  if (bytes.size() < kFixed) return std::optional<Message>();
  if (bytes[0] != 'l' && bytes[0] != 'B') return Error("D-Bus: what came is no message");
  Reader reader(bytes, bytes[0] == 'B');
  reader.go_to(4);
  const std::size_t body = reader.number();
  reader.go_to(12);
  const std::size_t fields = reader.number();
  if (body > kMaxMessage || fields > kMaxMessage) return Error("D-Bus: a message of more than 1 MiB");
  const std::size_t begin = (kFixed + fields + 7) / 8 * 8;
  Message message;
  message.size = begin + body;
  if (bytes.size() < message.size) return std::optional<Message>();
  reader = Reader(bytes.substr(0, message.size), bytes[0] == 'B');
  reader.go_to(kFixed);
  std::string signature;
  const auto type = static_cast<std::uint8_t>(bytes[1]);
  if (type != kReturn && type != kError) return std::optional(message);
  if (!read_fields(reader, kFixed + fields, message, signature)) return Error("D-Bus: a header that cannot be read");
  if (type == kError && message.error.empty()) message.error = "error";
  reader.go_to(begin);
  if (signature.starts_with("s")) message.text = reader.text();
  if (signature.starts_with("b")) message.truth = reader.number() != 0;
  if (!reader.ok()) return Error("D-Bus: an answer that is cut off");
  return std::optional(message);
}

std::vector<std::string> system_bus_paths(const char* address) {
  if (address == nullptr || *address == '\0') return {"/run/dbus/system_bus_socket", "/var/run/dbus/system_bus_socket"};
  std::vector<std::string> out;
  for (const std::string_view one : base::split(address, ';')) {
    if (one.substr(0, 5) != "unix:") continue;
    for (const std::string_view pair : base::split(one.substr(5), ',')) {
      if (pair.substr(0, 5) == "path=") out.emplace_back(pair.substr(5));
      if (pair.substr(0, 9) == "abstract=") out.push_back(cat("@", pair.substr(9)));
    }
  }
  return out;
}

Result<std::optional<Bus>> Bus::open(const std::vector<std::string>& paths, std::chrono::milliseconds limit) {
  for (const std::string& path : paths) {
    base::Fd fd = connect_to(path);
    if (!fd) continue;
    Bus bus(std::move(fd), std::chrono::steady_clock::now() + limit);
    TRY_CONTEXT(bus.authenticate(), path);
    TRY_CONTEXT(bus.call(kHello, {}), path);
    return std::optional(std::move(bus));
  }
  return std::optional<Bus>();
}

Status Bus::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n > 0) bytes.remove_prefix(static_cast<std::size_t>(n));
    if (n < 0 && errno != EAGAIN && errno != EINTR) return Error::from_errno("D-Bus", errno);
    if (n < 0) TRY(wait_for(socket_.get(), POLLOUT, deadline_));
  }
  return {};
}

Status Bus::receive() {
  TRY(wait_for(socket_.get(), POLLIN, deadline_));
  char buffer[4096];
  const ssize_t n = ::recv(socket_.get(), buffer, sizeof buffer, 0);
  if (n == 0) return Error("D-Bus: the bus has closed the connection", ECONNRESET);
  if (n < 0 && errno != EAGAIN && errno != EINTR) return Error::from_errno("D-Bus", errno);
  if (n > 0) received_.append(buffer, static_cast<std::size_t>(n));
  return {};
}

// "EXTERNAL": the kernel says who we are; the user id in hex digits of its decimal ones.
Status Bus::authenticate() {
  std::string id;
  for (const char c : cat(::geteuid())) id += cat("3", c);
  TRY(send(std::string("\0", 1) + cat("AUTH EXTERNAL ", id, "\r\n")));
  std::size_t end = std::string::npos;
  while ((end = received_.find("\r\n")) == std::string::npos && received_.size() < 4096) TRY(receive());
  if (end == std::string::npos || !received_.starts_with("OK ")) return Error("D-Bus: the bus does not let us in");
  received_.erase(0, end + 2);
  return send("BEGIN\r\n");
}

Result<Message> Bus::call(const Method& method, const std::vector<std::string>& arguments) {
  const std::uint32_t serial = ++serial_;
  TRY(send(encode_call(serial, method, arguments)));
  for (;;) {
    const auto message = TRY(decode(received_));
    if (!message) {
      TRY(receive());
      continue;
    }
    received_.erase(0, message->size);
    if (message->reply_to == serial) return *message;
  }
}

Result<bool> Bus::has_owner(const std::string& service) {
  Method method = kHello;
  method.name = "NameHasOwner";
  const Message answer = TRY(call(method, {service}));
  if (!answer.error.empty()) return Error(cat("D-Bus: ", answer.error, ": ", answer.text));
  return answer.truth;
}

}  // namespace fairlead::net::dbus
