#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

namespace fairlead::base::log {
namespace {

// One logger per process, as there is one stderr; everything that has a choice takes its dependencies as arguments.
struct Sink {
  std::shared_ptr<spdlog::logger> logger =
      std::make_shared<spdlog::logger>("fairlead", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  Format format = Format::Text;
  Sink() { logger->set_pattern("ts=%Y-%m-%dT%H:%M:%S.%eZ %v", spdlog::pattern_time_type::utc); }
};

Sink& sink() {
  static Sink instance;
  return instance;
}

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::Debug: return spdlog::level::debug;
    case Level::Info: return spdlog::level::info;
    case Level::Warn: return spdlog::level::warn;
    case Level::Error: return spdlog::level::err;
  }
  return spdlog::level::info;
}

std::string_view name_of(Level level) {
  constexpr std::string_view kNames[] = {"debug", "info", "warn", "error"};
  return kNames[static_cast<std::size_t>(level)];
}

void append_quoted(std::string& out, std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  out.push_back('"');
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (c == '\n') {
      out.append("\\n");
    } else if (byte < 0x20) {
      out.append("\\u00").push_back(kHex[byte >> 4]);
      out.push_back(kHex[byte & 15]);
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
}

void append_value(std::string& out, std::string_view text) {
  const bool plain = !text.empty() && text.find_first_of(" \"=\\\n\t") == text.npos;
  if (plain) {
    out.append(text);
  } else {
    append_quoted(out, text);
  }
}

}  // namespace

void configure(Level minimum, Format format) {
  sink().format = format;
  sink().logger->set_level(to_spdlog(minimum));
  if (format == Format::Json) {
    sink().logger->set_pattern("{\"ts\":\"%Y-%m-%dT%H:%M:%S.%eZ\",%v}", spdlog::pattern_time_type::utc);
  }
}

void write(Level level, std::string_view message, Fields fields) {
  Sink& out = sink();
  if (!out.logger->should_log(to_spdlog(level))) return;
  const bool json = out.format == Format::Json;
  std::string line(json ? "\"level\":\"" : "level=");
  line.append(name_of(level)).append(json ? "\",\"msg\":" : " msg=");
  append_quoted(line, message);
  for (const auto& [key, value] : fields) {
    if (json) {
      line.push_back(',');
      append_quoted(line, key);
      line.push_back(':');
      append_quoted(line, value);
    } else {
      line.append(" ").append(key).push_back('=');
      append_value(line, value);
    }
  }
  out.logger->log(to_spdlog(level), "{}", line);
}

}  // namespace fairlead::base::log
