// Screen: what the operator reads: one line per step with the time since the start, tables, and a verdict per promise.
//
// Colours only on a terminal. A promise is one line, kept or broken; the last line of the program counts them.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace fairlead::demo {

enum class Align : std::uint8_t { Left, Right };

// Columns are as wide as their widest cell. Cells are plain ASCII.
class Table {
 public:
  struct Column {
    std::string title;
    Align align = Align::Right;
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void add(std::vector<std::string> cells);  // as many as there are columns
  std::vector<std::string> lines() const;    // the first is the header

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

class Screen {
 public:
  Screen();

  void step(std::string_view text);   // "[ 0.31s] three nodes, six pods, one client"
  void title(std::string_view text);  // above a table
  void table(const Table& table);
  void note(std::string_view text);      // indented, below a step or table
  void verbatim(std::string_view text);  // another program's output, indented
  void promise(bool kept, std::string_view text);

  std::size_t promises() const { return promises_; }
  const std::vector<std::string>& broken() const { return broken_; }
  std::chrono::duration<double> elapsed() const { return std::chrono::steady_clock::now() - start_; }
  std::string good(std::string_view text) const { return paint("32", text); }
  std::string bad(std::string_view text) const { return paint("1;31", text); }
  std::string strong(std::string_view text) const { return paint("1", text); }

 private:
  std::string paint(std::string_view code, std::string_view text) const;
  std::chrono::steady_clock::time_point start_;
  bool colour_;
  std::size_t promises_ = 0;
  std::vector<std::string> broken_;
};

std::string fixed(double value, int digits);                         // "12.30"
std::string milliseconds_text(std::chrono::duration<double> value);  // "3.2 ms"

}  // namespace fairlead::demo
