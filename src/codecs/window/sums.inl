// The loops that expand and add rows of 16-bit floats in one. Included inside a namespace, behind floats.inl,
// finish.inl and lanes_avx512.inl. Sums stay in registers, so that of a row as many columns are worked on as there is
// room for, for all rows of a batch; then the next ones.

using Lanes16 = Lanes<std::uint16_t>;

/// The number of each byte, twice: from byte n on, modulo 64, what moves bytes to the front.
alignas(64) constexpr auto kMoves = [] {
  struct {
    std::uint8_t from[128];
  } moves{};
  for (unsigned i = 0; i < 128; ++i) moves.from[i] = static_cast<std::uint8_t>(i % 64);
  return moves;
}();

/// Where slots have what belongs to kVectors vectors of words. Loads never reach beyond the slot, unless it is shorter
/// than a vector: what lies behind it was not requested.
template <unsigned kVectors>
struct Places {
  std::uint64_t fields_at[kVectors];
  __m512i from_byte[kVectors];

  Places(const RowLayout& layout, std::uint64_t last_load, std::uint64_t first_vector) {
    const __m512i common = _mm512_loadu_si512(layout.unpacking.from_byte);
#pragma GCC unroll 8
    for (unsigned v = 0; v < kVectors; ++v) {
      const std::uint64_t begin = (first_vector + v) * layout.unpacking.plane_bytes;
      fields_at[v] = begin < last_load ? begin : last_load;
      from_byte[v] = _mm512_add_epi8(common, _mm512_set1_epi8(static_cast<char>(begin - fields_at[v])));
    }
  }
};

/// Whether the exceptions of every row lie within the last 64 bytes of its slot.
enum class Exceptions { kNear, kAnywhere };

template <class Element, bool kDropsNone, Exceptions kExceptions, unsigned kVectors, bool kIsWhole>
void sum_columns(const RowLayout& layout, const SlotBatch& batch, std::uint64_t first_vector, std::uint32_t* taken) {
  const std::uint64_t first = first_vector * kVectorBytes;
  const std::uint64_t slot_bytes = batch.slot_bytes;
  const std::uint64_t last_load = slot_bytes < kVectorBytes ? 0 : slot_bytes - kVectorBytes;
  const Places<kVectors> places(layout, last_load, first_vector);
  const __m512i from_bit = _mm512_loadu_si512(layout.unpacking.from_bit);
  const __m512i field_places = Lanes16::set(layout.field_places);
  const __m512i marker = Lanes16::set(layout.marker);
  const __m512i magnitude = Lanes16::set(~layout.dropped);
  const unsigned sign_shift = 15 - layout.dropped_bits;
  const std::uint64_t base_step = layout.has_column_bases ? kVectorBytes : 0;
  const std::byte* const bases = layout.bases + first_vector * base_step;
  const std::uint64_t plane_bytes = layout.plane_bytes;
  const auto last_lanes = static_cast<Lanes16::Mask>(
      kIsWhole ? ~std::uint64_t{0} : (std::uint64_t{1} << (batch.row_bytes % kVectorBytes / 2)) - 1);
  const bool requests = first_vector == 0;

  using Sums = typename Element::Sums;
  using Words = typename Element::Words;
  std::uint64_t r = 0;
  for (std::uint64_t i = 0; i < batch.num_pieces; ++i) {
    const Piece piece = batch.pieces[i];
    Sums sums[kVectors][Element::kParts];
    begin_sums<Element, kVectors>(batch, piece, first, sums);
    const auto add = [&](unsigned v, __m512i words) __attribute__((always_inline)) {
#pragma GCC unroll 2
      for (unsigned p = 0; p < Element::kParts; ++p) sums[v][p] += Element::widen(reinterpret_cast<Words>(words), p);
    };
    for (const std::uint64_t end = r + piece.num_rows; r < end; ++r) {
      if (requests && r < batch.num_coming) pooling::request_slot(batch.coming[r], slot_bytes, batch.num_requests);
      const std::byte* const row = batch.rows[r];
      if ((batch.expanded >> r & 1) != 0) {
#pragma GCC unroll 8
        for (unsigned v = 0; v < kVectors; ++v) add(v, _mm512_loadu_si512(row + first + v * kVectorBytes));
        continue;
      }
      const __m512i last = _mm512_loadu_si512(row + last_load);
      std::uint64_t exceptions_at = plane_bytes + taken[r];
#pragma GCC unroll 8
      for (unsigned v = 0; v < kVectors; ++v) {
        const __m512i packed =
            _mm512_permutexvar_epi8(places.from_byte[v], _mm512_loadu_si512(row + places.fields_at[v]));
        const __m512i field = _mm512_and_si512(_mm512_multishift_epi64_epi8(from_bit, packed), field_places);
        auto found = Lanes16::equal(field, marker);
        if (!kIsWhole && v == kVectors - 1) found &= last_lanes;
        const __m512i value = Lanes16::add(field, _mm512_loadu_si512(bases + v * base_step));
        __m512i word;
        if constexpr (kDropsNone) {
          word = Lanes16::rotate_right(value);
        } else {
          constexpr int kFirstUnderSecondOrThird = 0xEA;  // (a & b) | c
          word = _mm512_ternarylogic_epi64(Lanes16::shift_right(value, 1), magnitude,
                                           Lanes16::shift_left(value, sign_shift), kFirstUnderSecondOrThird);
        }
        std::uint64_t load_at = last_load;
        __m512i bytes = last;
        if constexpr (kExceptions == Exceptions::kAnywhere) {
          load_at = exceptions_at < last_load ? exceptions_at : last_load;
          bytes = _mm512_loadu_si512(row + load_at);
        }
        const __m512i move = _mm512_loadu_si512(kMoves.from + (exceptions_at - load_at) % 64);
        const __m512i next = _mm512_permutexvar_epi8(move, bytes);
        exceptions_at += 2 * static_cast<unsigned>(__builtin_popcount(found));
        add(v, Lanes16::expand(word, found, next));
      }
      taken[r] = static_cast<std::uint32_t>(exceptions_at - plane_bytes);
    }
    finish_sums<Element, kVectors, kIsWhole>(batch, piece, first, sums);
  }
}

/// Calls body(std::integral_constant number of vectors, whether they are whole, first vector) for all columns.
template <class Body>
inline __attribute__((always_inline)) void for_each_columns(std::uint64_t row_bytes, const Body& body) {
  const std::uint64_t num_vectors = row_bytes / kVectorBytes;
  std::uint64_t first = 0;
  for (; first + kMostVectors <= num_vectors; first += kMostVectors)
    body(std::integral_constant<unsigned, kMostVectors>(), std::true_type(), first);
  if (first + 4 <= num_vectors) {
    body(std::integral_constant<unsigned, 4>(), std::true_type(), first);
    first += 4;
  }
  if (first + 2 <= num_vectors) {
    body(std::integral_constant<unsigned, 2>(), std::true_type(), first);
    first += 2;
  }
  if (first < num_vectors) body(std::integral_constant<unsigned, 1>(), std::true_type(), first++);
  if (row_bytes % kVectorBytes != 0) body(std::integral_constant<unsigned, 1>(), std::false_type(), first);
}

template <class Element, bool kDropsNone>
std::uint64_t sum_rows(const RowLayout& shared_layout, const SlotBatch& shared_batch) {
  const RowLayout layout = shared_layout;
  const SlotBatch batch = shared_batch;
  const std::uint64_t row_bytes = batch.slot_bytes - format::kSlotTagBytes;
  if (row_bytes < layout.plane_bytes) return 0;
  std::uint32_t taken[SlotBatch::kMostRows] = {};
  const bool is_near = layout.plane_bytes + kVectorBytes >= batch.slot_bytes;
  for_each_columns(layout.row_bytes, [&](auto num_vectors, auto is_whole,
                                         std::uint64_t first) __attribute__((always_inline)) {
    is_near
        ? sum_columns<Element, kDropsNone, Exceptions::kNear, num_vectors(), is_whole()>(layout, batch, first, taken)
        : sum_columns<Element, kDropsNone, Exceptions::kAnywhere, num_vectors(), is_whole()>(layout, batch, first,
                                                                                             taken);
  });
  for (std::uint64_t r = batch.num_rows; r < batch.num_coming; ++r)
    pooling::request_slot(batch.coming[r], batch.slot_bytes, batch.num_requests);
  const std::uint64_t most = row_bytes - layout.plane_bytes;
  for (std::uint64_t r = 0; r < batch.num_rows; ++r)
    if (taken[r] > most) return r;
  return batch.num_rows;
}
