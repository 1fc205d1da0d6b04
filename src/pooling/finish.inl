// How the sums of a piece begin, and what becomes of them. Included once per instruction set, inside a namespace,
// behind floats.inl and what stands for it in an instruction set. Columns are those of kVectors vectors, from byte
// `first` of a row on.

/// Writes words of a row's columns from byte `offset` on; where these are fewer than a vector, no more.
template <bool kIsWhole, class Words>
inline __attribute__((always_inline)) void store_words(std::byte* row, std::uint64_t offset, std::uint64_t row_bytes,
                                                       Words words) {
  if constexpr (kIsWhole) {
    stillbit::store(row + offset, words);
  } else {
    __builtin_memcpy(row + offset, &words, row_bytes - offset);
  }
}

/// The sums that a piece begins with: what is known of its bag.
template <class Element, unsigned kVectors>
inline __attribute__((always_inline)) void begin_sums(const Batch& batch, const Piece& piece, std::uint64_t first,
                                                      typename Element::Sums (&sums)[kVectors][Element::kParts]) {
  using Sums = typename Element::Sums;
  constexpr unsigned kParts = Element::kParts;
  const std::byte* const state = batch.state + first * kParts;
#pragma GCC unroll 16
  for (unsigned v = 0; v < kVectors; ++v)
#pragma GCC unroll 2
    for (unsigned p = 0; p < kParts; ++p)
      sums[v][p] = piece.begins ? Sums{} : stillbit::load<Sums>(state + (v * kParts + p) * sizeof(Sums));
}

/// Writes the result where the bag ends; keeps the sums where it does not. kIsWhole says that the columns do not reach
/// beyond the row.
template <class Element, unsigned kVectors, bool kIsWhole>
inline __attribute__((always_inline)) void finish_sums(const Batch& batch, const Piece& piece, std::uint64_t first,
                                                       typename Element::Sums (&sums)[kVectors][Element::kParts]) {
  using Sums = typename Element::Sums;
  using Words = typename Element::Words;
  constexpr unsigned kParts = Element::kParts;
  std::byte* const state = batch.state + first * kParts;
  if (!piece.ends) {
#pragma GCC unroll 16
    for (unsigned v = 0; v < kVectors; ++v)
#pragma GCC unroll 2
      for (unsigned p = 0; p < kParts; ++p) stillbit::store(state + (v * kParts + p) * sizeof(Sums), sums[v][p]);
    return;
  }
  const bool halves_up = batch.arithmetic == Arithmetic::kFused;
#pragma GCC unroll 16
  for (unsigned v = 0; v < kVectors; ++v) {
    Words words = Element::narrow(sums[v], halves_up);
    if (piece.divisor != 0) {
#pragma GCC unroll 2
      for (unsigned p = 0; p < kParts; ++p) sums[v][p] = Element::widen(words, p) / Element::rounded(piece.divisor);
      words = Element::narrow(sums[v], false);
    }
    store_words<kIsWhole>(piece.out, first + v * sizeof(Words), batch.row_bytes, words);
  }
}
