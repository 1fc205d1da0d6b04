#pragma once

#include "api/decoder.hpp"
#include "codecs/codec.hpp"
#include "core/buffer.hpp"
#include "format/payload.hpp"
#include "packings/row_reader.hpp"

#include <stillbit/tensor.hpp>

#include <memory>

namespace stillbit {

/// A payload in memory, or in a mapped file. Sections that are owned lie in buffers of their own, so that rows and
/// overflow can grow.
struct CompressedTensor::Impl {
  format::PayloadHeader header;
  std::shared_ptr<const RowCodec> codec;
  std::vector<CodecPrice> prices;  ///< of the codecs that were considered, where that is known

  Buffer map;
  Buffer index;
  Buffer rows;
  Buffer overflow;

  /// The payload in a file, and what keeps it mapped; empty when the buffers above are in use.
  Bytes mapped;
  std::shared_ptr<const void> mapping;

  /// The payload is as it was when header.data_checksum was taken.
  bool is_unchanged = true;

  /// Bytes of the overflow area that no slot names any more.
  std::uint64_t unused_overflow_bytes = 0;

  [[nodiscard]] format::Payload sections() const;
  [[nodiscard]] packing::RowReader reader() const;
};

/// Opens a payload that lies in a mapped file: validates the header and the plan, touches nothing else.
Result<CompressedTensor> open_mapped(Bytes payload, std::shared_ptr<const void> mapping,
                                     std::vector<CodecPrice> prices = {});

/// Another tensor on the same mapped payload.
CompressedTensor share_mapped(const CompressedTensor& tensor);

/// Copies a payload into memory of its own and checks its checksums.
Result<CompressedTensor> open_copied(Bytes payload, unsigned num_threads);

/// What the tails of all slots of a slotted tensor in memory take.
std::uint64_t total_tail_bytes(const CompressedTensor::Impl& impl);

/// Gives every tail of a slotted tensor in memory a place of its own, without gaps between. Precondition: all rows can
/// be expanded.
void compact_overflow(CompressedTensor::Impl& impl);

/// Compares the payload's bytes with the checksum in its header.
Result<void> check_payload(Bytes payload, std::uint64_t payload_checksum, unsigned num_threads);

/// Calls `body` with a decoder for the tensor.
template <class Body>
auto with_decoder(const CompressedTensor::Impl& impl, const Body& body) {
  const packing::RowReader reader = impl.reader();
  return body(Decoder{impl.header, *impl.codec, reader});
}

}  // namespace stillbit
