#include "cli/progress_bar.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace stillbit::cli {
namespace {

constexpr auto kInterval = std::chrono::milliseconds(100);
constexpr std::size_t kWidth = 30;

}  // namespace

ProgressBar::ProgressBar(std::string what, std::uint64_t total_bytes)
    : what_(std::move(what)),
      total_bytes_(total_bytes),
      is_terminal_(::isatty(STDERR_FILENO) == 1),
      start_(std::chrono::steady_clock::now()),
      last_drawn_(start_) {}

ProgressBar::~ProgressBar() {
  finish();
}

Progress ProgressBar::callback() {
  if (!is_terminal_) return {};
  return [this](std::uint64_t num_bytes) { add(num_bytes); };
}

void ProgressBar::add(std::uint64_t num_bytes) {
  const std::uint64_t done = done_ += num_bytes;
  const std::unique_lock lock(mutex_, std::try_to_lock);
  const auto now = std::chrono::steady_clock::now();
  if (!lock || now - last_drawn_ < kInterval) return;
  last_drawn_ = now;
  is_drawn_ = true;
  draw(done);
}

void ProgressBar::draw(std::uint64_t done) const {
  const double share =
      total_bytes_ == 0 ? 1.0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total_bytes_));
  const double seconds = std::chrono::duration<double>(last_drawn_ - start_).count();
  const auto filled = static_cast<std::size_t>(share * kWidth);
  const std::string bar = std::string(filled, '#') + std::string(kWidth - filled, '.');
  const double left = share > 0 ? seconds / share - seconds : 0;
  std::fprintf(stderr, "\r%s [%s] %3.0f %%  %.0f s left \x1b[K", what_.c_str(), bar.c_str(), 100 * share, left);
}

void ProgressBar::finish() {
  const std::lock_guard lock(mutex_);
  if (is_drawn_) std::fputs("\r\x1b[K", stderr);
  is_drawn_ = false;
}

}  // namespace stillbit::cli
