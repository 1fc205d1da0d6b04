#pragma once

#include "api/encoder.hpp"
#include "core/buffer.hpp"
#include "cpu/copy.hpp"

#include <cstring>

namespace stillbit {

/// The sections of a payload in memory. Its plan is kept by the codec.
struct SectionBuffers {
  Buffer& map;
  Buffer& index;
  Buffer& rows;
  Buffer& overflow;
};

/// Puts the sections of a payload into buffers, which have room for them.
class BufferSink final : public SectionSink {
 public:
  explicit BufferSink(const SectionBuffers& buffers) : buffers_(buffers) {}

  /// Gives each section the size that a header says.
  void renew(const format::PayloadHeader& header) {
    buffers_.map.renew(header.map_bytes());
    buffers_.index.renew(header.index_bytes);
    renew_rows(header.rows_bytes);
    buffers_.overflow.renew(header.overflow_bytes);
  }
  void renew_rows(std::uint64_t num_bytes) { has_new_rows_ = buffers_.rows.renew(num_bytes); }

  Result<void> write(format::Section section, std::uint64_t offset, Bytes bytes) override {
    write_some(section, offset, bytes);
    cpu::finish_copies();
    return {};
  }

  /// As `write`; the thread waits with `cpu::finish_copies` for all that it has written so. To wait for each few KB
  /// takes longer than to copy them.
  void write_some(format::Section section, std::uint64_t offset, Bytes bytes) {
    if (section == format::Section::kPlan || bytes.empty()) return;
    Buffer& buffer = buffer_of(section);
    // The system has just cleared new memory, and left it in the caches.
    const bool is_in_caches = section == format::Section::kRows && has_new_rows_;
    if (buffer.size() >= cpu::kPastCachesBytes && !is_in_caches) {
      cpu::copy_past_caches(bytes, buffer.data() + offset);
    } else {
      std::memcpy(buffer.data() + offset, bytes.data(), bytes.size());
    }
  }

 private:
  [[nodiscard]] Buffer& buffer_of(format::Section section) const noexcept {
    switch (section) {
      case format::Section::kMap:
        return buffers_.map;
      case format::Section::kIndex:
        return buffers_.index;
      case format::Section::kRows:
        return buffers_.rows;
      default:
        return buffers_.overflow;
    }
  }

  SectionBuffers buffers_;
  bool has_new_rows_ = false;
};

}  // namespace stillbit
