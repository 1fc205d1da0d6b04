#pragma once

#include "codecs/codec.hpp"
#include "format/payload.hpp"
#include "packings/row_reader.hpp"

#include <functional>
#include <span>

namespace stillbit {

/// Fails, naming the first one, when an index is negative or not below `num_rows`.
template <class Index>
Result<void> check_indices(std::span<const Index> index, std::uint64_t num_rows);

/// Expands rows of one payload: the packing finds them, the codec expands them. Refers to, and does not own, both.
struct Decoder {
  const format::PayloadHeader& header;
  const RowCodec& codec;
  const packing::RowReader& reader;

  /// The whole tensor into `dst`.
  Result<void> expand(std::byte* dst, unsigned num_threads) const;

  /// Rows index[0], index[1] …; fails before anything is written when one is out of range.
  template <class Index>
  Result<void> gather(std::span<const Index> index, std::byte* dst, unsigned num_threads) const;

  /// Expands the whole tensor piece by piece on several threads, hands each piece with its offset to `consume`, and
  /// returns the checksum of all pieces. Holds a piece of a few MB per thread.
  using Consume = std::function<Result<void>(std::uint64_t offset, Bytes piece)>;
  Result<std::uint64_t> expand_in_pieces(unsigned num_threads, const Consume& consume) const;

  /// The same, and fails when the checksum is not the header's.
  Result<void> expand_verified(unsigned num_threads, const Consume& consume) const;

  /// The whole tensor into `dst`; fails when what is there then does not have the header's checksum.
  Result<void> expand_verified(std::byte* dst, unsigned num_threads) const;

 private:
  /// Rows of one task. `is_large`: of many bytes in all, which are to pass the caches.
  template <class Index>
  Result<void> expand_rows(std::span<const Index> index, std::byte* dst, bool is_large) const;

  Result<void> check(std::uint64_t checksum) const;
  Result<std::uint64_t> expand_in_pieces(std::byte* dst, unsigned num_threads, const Consume& consume) const;
};

}  // namespace stillbit
