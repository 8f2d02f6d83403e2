#include "tests/demo/screen.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "base/strings.h"

namespace fairlead::demo {
namespace {

using base::cat;

std::string padded(const std::string& text, std::size_t width, Align align) {
  const std::string blanks(width - std::min(width, text.size()), ' ');
  return align == Align::Left ? text + blanks : blanks + text;
}

std::string without_trailing_blanks(std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

}  // namespace

void Table::add(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  rows_.push_back(std::move(cells));
}

std::vector<std::string> Table::lines() const {
  std::vector<std::size_t> widths;
  std::vector<std::string> header;
  for (const Column& column : columns_) header.push_back(column.title);
  std::vector<std::vector<std::string>> all{header};
  all.insert(all.end(), rows_.begin(), rows_.end());
  std::vector<std::string> lines(all.size());
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    std::size_t width = 0;
    for (const auto& row : all) width = std::max(width, row[c].size());
    for (std::size_t r = 0; r < all.size(); ++r) {
      lines[r] += (c == 0 ? "" : "  ") + padded(all[r][c], width, columns_[c].align);
    }
  }
  for (std::string& line : lines) line = without_trailing_blanks(std::move(line));
  return lines;
}

// https://no-color.org
Screen::Screen()
    : start_(std::chrono::steady_clock::now()),
      colour_(::isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr) {}

std::string Screen::paint(std::string_view code, std::string_view text) const {
  if (!colour_) return std::string(text);
  return cat("\033[", code, "m", text, "\033[0m");
}

void Screen::step(std::string_view text) {
  std::string time = fixed(elapsed().count(), 2);
  time.insert(0, 5 - std::min<std::size_t>(5, time.size()), ' ');
  std::cout << paint("2", cat("[", time, "s]")) << " " << text << std::endl;
}

void Screen::title(std::string_view text) { std::cout << "\n  " << strong(text) << std::endl; }

void Screen::table(const Table& table) {
  bool header = true;
  for (const std::string& line : table.lines()) {
    std::cout << "    " << (header ? paint("2", line) : line) << "\n";
    header = false;
  }
  std::cout << std::endl;
}

void Screen::note(std::string_view text) { std::cout << "          " << text << std::endl; }

void Screen::verbatim(std::string_view text) {
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  for (const std::string_view line : base::split(text, '\n')) std::cout << "    " << line << "\n";
  std::cout << std::endl;
}

void Screen::promise(bool kept, std::string_view text) {
  ++promises_;
  std::cout << "          " << (kept ? good("kept   ") : bad("BROKEN ")) << text << std::endl;
  if (!kept) broken_.emplace_back(text);
}

std::string fixed(double value, int digits) {
  char buffer[64];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed, digits);
  return error == std::errc() ? std::string(buffer, end) : std::string("?");
}

std::string milliseconds_text(std::chrono::duration<double> value) {
  const double ms = value.count() * 1000;
  return cat(fixed(ms, ms < 10 ? 1 : 0), " ms");
}

}  // namespace fairlead::demo
