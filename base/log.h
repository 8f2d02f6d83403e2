// log: key=value lines to stderr (or JSON). Library code returns Errors and does not log above debug; the agent does.
// The sink is process-wide by nature (stderr); level and format are set once in main.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace fairlead::base::log {

enum class Level { Debug, Info, Warn, Error };
enum class Format { Text, Json };

using Field = std::pair<std::string_view, std::string_view>;
using Fields = std::initializer_list<Field>;

void configure(Level minimum, Format format);

// level=warn msg="cannot apply" service=ns/name err="..."
void write(Level level, std::string_view message, Fields fields);

inline void debug(std::string_view message, Fields fields = {}) { write(Level::Debug, message, fields); }
inline void info(std::string_view message, Fields fields = {}) { write(Level::Info, message, fields); }
inline void warn(std::string_view message, Fields fields = {}) { write(Level::Warn, message, fields); }
inline void error(std::string_view message, Fields fields = {}) { write(Level::Error, message, fields); }

}  // namespace fairlead::base::log
